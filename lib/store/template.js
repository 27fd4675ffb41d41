'use strict';

// Mustache templates of messages. They come from outside, so they must not take more time than
// their length justifies, or read anything except the data of their message.

const { LruMap } = require('../base/lru');
const { requirePeer } = require('../base/peer');
const { StoreError } = require('./store-errors');

const mustache = requirePeer('mustache', 'A template');

const TAG_MAX = 255;
// A template of nothing but tags costs a hundred times as much as one of text.
const TAGS_MAX = 10_000;
const DEPTH_MAX = 32;
// Nested loops may take long without writing anything.
const STEPS_MAX = 100_000;
// The same long value may be named any number of times.
const FILLED_MAX = 1 << 20;
const NAMES_SHOWN_MAX = 10;
const NAME_SHOWN_MAX = 100;

// Parsed templates, with the sum of their lengths.
const parsed = new LruMap(1 << 18, (_, text) => text.length + 1);

const wrong = why => new StoreError('ERR_OUTBOX_TEMPLATE', why);
const wrongAt = (start, why) => wrong(`The template's {{ at character ${start + 1} ${why}`);
const shown = name => `{{${name.slice(0, NAME_SHOWN_MAX)}}}`;

const tooLarge = () => new StoreError('ERR_OUTBOX_TOO_LARGE',
  `Expected a template that gives at most ${FILLED_MAX} characters, but this one gives more`);

/** The tag that begins at a place: its kind, its name, its text, and where it ends. */
function tagAt (template, start) {
  const end = template.indexOf('}}', start + 2);
  if (end < 0) throw wrongAt(start, 'is never closed: add }}');
  if (end - start - 2 > TAG_MAX) {
    throw wrongAt(start, `has more than ${TAG_MAX} characters before }}`);
  }
  const text = template.slice(start + 2, end).trim();
  const kind = KINDS.has(text[0]) ? text[0] : 'name';
  if (kind === 'name') return { kind, name: text, text, end: end + 2 };
  if (kind === '=') throw wrongAt(start, 'changes the delimiters, which is not allowed');
  if (kind === '>') throw wrongAt(start, 'includes another template, which is not allowed');
  const name = text.slice(1).trim();
  if (kind !== '{') return { kind, name, text, end: end + 2 };
  if (template[end + 2] !== '}') throw wrongAt(start, 'is a {{{ that is never closed: add }}}');
  return { kind: '&', name, text: `${text}}`, end: end + 3 };
}

const KINDS = new Set(['#', '^', '/', '&', '{', '!', '=', '>']);
// These write something, so their line stays.
const WRITES = new Set(['name', '&']);

/**
 * Reads a template into the tokens that the library's Writer takes: [kind, text or name], of a text
 * also whether only a comment divides it from the one before it, and of a section also its tokens,
 * as the fifth member. The library's own parser makes a token of each character before it joins
 * them, and takes quadratic time to find the end of a tag.
 */
class Reader {
  #tokens = [];
  /** Sections that are open, with the tokens around each. */
  #open = [];
  // Of the line: its white space, as [token, characters, at the token's beginning].
  #blanks = [];
  #hasTag = false;
  #isBlank = true;

  read (template) {
    let at = 0;
    let tags = 0;
    for (let start; (start = template.indexOf('{{', at)) >= 0;) {
      if (++tags > TAGS_MAX) throw wrong(`The template has more than ${TAGS_MAX} tags`);
      if (start > at) this.#text(template.slice(at, start));
      const tag = tagAt(template, start);
      this.#tag(tag);
      at = tag.end;
    }
    if (at < template.length) this.#text(template.slice(at));
    this.#endLine();
    if (this.#open.length > 0) throw unmatched(`${shown(this.#open.at(-1).text)} is never closed`);
    return this.#tokens;
  }

  /** What is between two tags: the rest of a line, perhaps more lines, and the beginning of one. */
  #text (text) {
    const isDivided = this.#tokens.at(-1)?.[0] === 'text';
    const token = ['text', text, isDivided];
    this.#tokens.push(token);
    const first = text.indexOf('\n');
    if (first < 0) {
      this.#part(token, text, true);
      return;
    }
    this.#part(token, text.slice(0, first + 1), true);
    this.#endLine();
    const rest = text.slice(text.lastIndexOf('\n') + 1);
    if (rest !== '') this.#part(token, rest, false);
  }

  #part (token, part, isFirst) {
    if (/\S/.test(part)) this.#isBlank = false;
    else this.#blanks.push([token, part.length, isFirst]);
  }

  /** A line that has only sections, ends of them and comments writes nothing, not even its end. */
  #endLine () {
    if (this.#hasTag && this.#isBlank) {
      for (const [token, length, isFirst] of this.#blanks) {
        token[1] = isFirst ? token[1].slice(length) : token[1].slice(0, -length);
      }
    }
    this.#blanks.length = 0;
    this.#hasTag = false;
    this.#isBlank = true;
  }

  #tag ({ kind, name, text }) {
    this.#hasTag = true;
    if (WRITES.has(kind)) {
      this.#isBlank = false;
      this.#tokens.push([kind, name]);
    } else if (kind === '/') {
      const { name: opened, text: opening, around } = this.#open.pop() ?? {};
      if (around === undefined) throw unmatched(`${shown(text)} ends none`);
      if (opened !== name) throw unmatched(`${shown(opening)} is ended by ${shown(text)}`);
      this.#tokens = around;
    } else if (kind !== '!') {
      const tokens = [];
      this.#tokens.push([kind, name, 0, 0, tokens]);
      this.#open.push({ name, text, around: this.#tokens });
      if (this.#open.length > DEPTH_MAX) {
        throw wrong(`The template's ${shown(text)} is nested more than ${DEPTH_MAX} sections deep`);
      }
      this.#tokens = tokens;
    }
  }
}

const unmatched = why => wrong(`The template's sections do not match: ${why}`);

const has = (value, name) =>
  value !== null && typeof value === 'object' && Object.hasOwn(value, name);

/** The data; inside a section, the part of it that the section is about. */
class View extends mustache.Context {
  #filling;

  constructor (data, parent, filling) {
    super(data, parent);
    this.#filling = filling;
  }

  push (data) {
    this.#filling.step();
    return new View(data, this, this.#filling);
  }

  /** The value at a path such as `customer.name`. Only own properties count. */
  lookup (name) {
    const path = this.#filling.pathOf(name);
    this.#filling.step(path.length);
    if (name === '.') return this.view;
    for (let { view, parent } = this; ; { view, parent } = parent) {
      if (has(view, path[0])) {
        return path.reduce((value, part) => (has(value, part) ? value[part] : undefined), view);
      }
      if (parent === undefined) return undefined;
      this.#filling.step();
    }
  }
}

/** Fills in one template. */
class Filling extends mustache.Writer {
  #escape;
  #steps = 0;
  #length = 0;
  #missing = new Set();
  #paths = new Map();

  constructor (escape) {
    super();
    // The library's own has no limit.
    this.templateCache = undefined;
    this.#escape = escape;
  }

  /** @returns {string} */
  of (template, data) {
    const text = this.render(template, new View(data, undefined, this));
    const names = [...this.#missing];
    if (names.length === 0) return text;
    const list = names.slice(0, NAMES_SHOWN_MAX).map(shown).join(', ');
    throw wrong(`The template's ${list} ${names.length === 1 ? 'has' : 'have'} no value`);
  }

  /** The parts of a name. They are kept, since new texts would have to be hashed at each use. */
  pathOf (name) {
    let path = this.#paths.get(name);
    if (path === undefined) {
      path = name === '.' ? [name] : name.split('.');
      this.#paths.set(name, path);
    }
    return path;
  }

  step (count = 1) {
    this.#steps += count;
    if (this.#steps <= STEPS_MAX) return;
    throw new StoreError('ERR_OUTBOX_TOO_LARGE',
      `Expected a template that takes at most ${STEPS_MAX} steps, but this one takes more`);
  }

  // ---- For the library -------------------------------------------------------------------------

  parse (template) {
    let tokens = parsed.get(template);
    if (tokens === undefined) {
      tokens = new Reader().read(template);
      parsed.set(template, tokens);
    }
    return tokens;
  }

  rawValue ([, text, isDivided]) {
    // Empty texts add no length, so only their steps can end a loop of them. Comments may divide a
    // text into any number of parts.
    if (text === '' || isDivided) this.step();
    return this.#take(text);
  }
  unescapedValue ([, name], view) { return this.#take(this.#textOf(name, view)); }
  escapedValue ([, name], view) {
    const text = this.#textOf(name, view);
    // It would only get longer.
    if (this.#length + text.length > FILLED_MAX) throw tooLarge();
    return this.#take(this.#escape(text));
  }

  #textOf (name, view) {
    const value = view.lookup(name);
    if (value === undefined || value === null) {
      this.#missing.add(name);
      return '';
    }
    if (typeof value === 'object') throw wrong(`The template's ${shown(name)} is not text`);
    return String(value);
  }

  #take (text) {
    this.#length += text.length;
    if (this.#length > FILLED_MAX) throw tooLarge();
    return text;
  }
}

// One replacement after the other: a function that is called for each character takes longer.
const escapeHtml = text => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  .replaceAll('>', '&gt;').replaceAll('"', '&quot;').replaceAll("'", '&#39;');

/**
 * Fills in a template of plain text: nothing is escaped.
 * @param {string} template
 * @param {unknown} data JSON
 * @returns {string}
 * @throws {StoreError} ERR_OUTBOX_TEMPLATE if it cannot be parsed or has no value for a name;
 *   ERR_OUTBOX_TOO_LARGE if the result has more than 1,048,576 characters or takes too many steps
 */
const fill = (template, data) => new Filling(text => text).of(template, data);

/** Like fill, but for HTML: values are escaped, except {{{name}}}. */
const fillHtml = (template, data) => new Filling(escapeHtml).of(template, data);

module.exports = { fill, fillHtml };
