'use strict';

// Mustache templates of messages. They come from outside, so they must not take more time than
// their length justifies, or read anything except the data of their message.

const { LRUCache } = require('lru-cache');
const mustache = require('mustache');

const { messageOf } = require('../base/foreign');
const { StoreError } = require('./store-errors');

// Our own, because a program may have changed those of the library.
const TAGS = ['{{', '}}'];

// The library takes quadratic time to find the end of a tag.
const TAG_MAX = 255;
const DEPTH_MAX = 32;
// Nested loops may take long without writing anything.
const STEPS_MAX = 100_000;
// The same long value may be named any number of times.
const FILLED_MAX = 1 << 20;
const NAMES_SHOWN_MAX = 10;
const NAME_SHOWN_MAX = 100;

// Parsed templates, with the sum of their lengths.
const parsed = new LRUCache({ maxSize: 1 << 18, sizeCalculation: (_, text) => text.length + 1 });

const wrong = why => new StoreError('ERR_OUTBOX_TEMPLATE', why);
const shown = name => `{{${name.slice(0, NAME_SHOWN_MAX)}}}`;

const tooLarge = () => new StoreError('ERR_OUTBOX_TOO_LARGE',
  `Expected a template that gives at most ${FILLED_MAX} characters, but this one gives more`);

/** The tag that begins at a place: its kind, its text, and where it ends. */
function tagAt (template, start) {
  const at = `The template's {{ at character ${start + 1}`;
  const end = template.indexOf('}}', start + 2);
  if (end < 0) throw wrong(`${at} is never closed: add }}`);
  if (end - start - 2 > TAG_MAX) throw wrong(`${at} has more than ${TAG_MAX} characters before }}`);
  const text = template.slice(start + 2, end).trim();
  const [kind] = text;
  if (kind === '=') throw wrong(`${at} changes the delimiters, which is not allowed`);
  if (kind === '>') throw wrong(`${at} includes another template, which is not allowed`);
  if (kind !== '{') return { kind, text, end: end + 2 };
  if (template[end + 2] !== '}') throw wrong(`${at} is a {{{ that is never closed: add }}}`);
  return { kind, text: `${text}}`, end: end + 3 };
}

/** Rejects what would take the library too long, or what it would misread. */
function checkTags (template) {
  let depth = 0;
  for (let at = template.indexOf('{{'); at >= 0;) {
    const { kind, text, end } = tagAt(template, at);
    if (kind === '#' || kind === '^') depth++;
    if (kind === '/') depth--;
    if (depth > DEPTH_MAX) {
      throw wrong(`The template's ${shown(text)} is nested more than ${DEPTH_MAX} sections deep`);
    }
    at = template.indexOf('{{', end);
  }
}

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
    if (name === '.') return this.view;
    const path = name.split('.');
    for (let { view, parent } = this; ; { view, parent } = parent) {
      this.#filling.step();
      if (has(view, path[0])) {
        return path.reduce((value, part) => (has(value, part) ? value[part] : undefined), view);
      }
      if (parent === undefined) return undefined;
    }
  }
}

/** Fills in one template. */
class Filling extends mustache.Writer {
  #escape;
  #steps = 0;
  #length = 0;
  #missing = new Set();

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

  step () {
    if (++this.#steps <= STEPS_MAX) return;
    throw new StoreError('ERR_OUTBOX_TOO_LARGE',
      `Expected a template that takes at most ${STEPS_MAX} steps, but this one takes more`);
  }

  // ---- For the library -------------------------------------------------------------------------

  parse (template) {
    let tokens = parsed.get(template);
    if (tokens === undefined) {
      checkTags(template);
      try {
        tokens = super.parse(template, TAGS);
      } catch (error) {
        throw wrong(`The template's sections do not match: ${messageOf(error)}`);
      }
      parsed.set(template, tokens);
    }
    return tokens;
  }

  rawValue ([, text]) { return this.#take(text); }
  unescapedValue ([, name], view) { return this.#take(this.#textOf(name, view)); }
  escapedValue ([, name], view) { return this.#take(this.#escape(this.#textOf(name, view))); }

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

const ENTITIES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

const escapeHtml = text => text.replace(/[&<>"']/g, char => ENTITIES[char]);

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
