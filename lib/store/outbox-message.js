'use strict';

// Checks messages before they are enqueued, and says all that is wrong with them.

const { createHash } = require('node:crypto');

const { invalidOption } = require('../base/errors');
const { isList, messageOf, read } = require('../base/foreign');
const { canonical } = require('./json');
const { StoreError } = require('./store-errors');

// Loaded with the first template, since it needs a package.
const fill = (template, data) => require('./template').fill(template, data);
const fillHtml = (template, data) => require('./template').fillHtml(template, data);

const TEXT_BYTES_MAX = 256 * 1024;
const RECIPIENT_MAX = 512;
const RECIPIENTS_MAX = 1000;
const SUBJECT_MAX = 1000;
const KEY_MAX = 255;
const DELAY_MS_MAX = 10 * 365 * 24 * 3600 * 1000;
const ROWS_MAX = 10_000;
const CALL_BYTES_MAX = 64 * 1024 * 1024;
const FAULTS_MAX = 100;
const NAME_SHOWN = 50;

const FIELDS = new Set(['channel', 'recipient', 'subject', 'body', 'html', 'template', 'data',
  'dedupeKey', 'orderKey', 'priority', 'delay', 'maxAttempts']);

// In a protocol, one of these would begin another header, or end a command.
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;
// The database cannot hold these in a text.
const UNSTORABLE = /\0|\p{Surrogate}/u;
const UNSTORABLE_JSON = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89ab][0-9a-f]{2}|d[c-f][0-9a-f]{2})/;

/** Collects what is wrong with the messages of one call. */
class Faults {
  #list = [];
  #codes = new Set();
  #prefix = '';
  /** Fields of the present message that have one. */
  fields = new Set();

  get any () { return this.#list.length > 0; }

  /** Further faults belong to this message. */
  begin (prefix) {
    this.#prefix = prefix;
    this.fields.clear();
  }

  add (field, message, code = 'ERR_OUTBOX_MESSAGE') {
    this.fields.add(field);
    this.#codes.add(code);
    if (this.#list.length < FAULTS_MAX) this.#list.push({ path: this.#prefix + field, message });
  }

  /** Texts are not shown: they may be long or private. */
  refuse (field, expected, value) {
    this.add(field, typeof value === 'string'
      ? `Expected ${expected} for ${field} but received a text of ${value.length} characters`
      : invalidOption(field, expected, value).message);
  }

  tooLarge (field, bytes) {
    this.add(field, `Expected at most ${TEXT_BYTES_MAX} bytes for ${field} but received ${bytes}`,
      'ERR_OUTBOX_TOO_LARGE');
  }

  /** The error with all faults; for a list it names each message. */
  error (isList) {
    const [code] = this.#codes.size === 1 ? this.#codes : ['ERR_OUTBOX_MESSAGE'];
    const words = this.#list.map(({ path, message }) => (isList ? `${path}: ${message}` : message));
    return Object.assign(new StoreError(code, words.join('; ')), { faults: this.#list });
  }
}

const tooMuch = why => new StoreError('ERR_OUTBOX_TOO_LARGE', why);

/**
 * What one call amounts to. A short text may become a large one for each of many recipients, so
 * this ends the call before the rows are checked or written.
 */
class Load {
  #rows = 0;
  #bytes = 0;

  addRows (count) {
    this.#rows += count;
    if (this.#rows > ROWS_MAX) throw tooMuch(`Expected at most ${ROWS_MAX} messages at once`);
  }

  addBytes (count) {
    this.#bytes += count;
    if (this.#bytes > CALL_BYTES_MAX) {
      throw tooMuch(`Expected messages of at most ${CALL_BYTES_MAX} bytes together`);
    }
  }
}

/** A text of one line, within bounds. */
function line (faults, field, value, max, min = 1) {
  const isFit = typeof value === 'string' && value.length >= min && value.length <= max &&
    !CONTROL.test(value) && !UNSTORABLE.test(value);
  if (!isFit) {
    faults.refuse(field, `${min} to ${max} characters without line breaks or control characters`,
      value);
  }
  return value;
}

const optional = (value, check) => (value === undefined || value === null ? null : check(value));

function text (faults, field, value) {
  if (typeof value !== 'string' || UNSTORABLE.test(value)) {
    faults.refuse(field, 'a text without null characters or lone surrogates', value);
    return value;
  }
  const bytes = Buffer.byteLength(value);
  if (bytes > TEXT_BYTES_MAX) faults.tooLarge(field, bytes);
  return value;
}

function integer (faults, field, value, min, max, unit = '') {
  if (!Number.isInteger(value) || value < min || value > max) {
    faults.refuse(field, `an integer from ${min} to ${max}${unit}`, value);
    return min;
  }
  return value;
}

/** Data as JSON; undefined if it cannot be that. */
function json (faults, value) {
  let written;
  try {
    written = canonical('data', value);
  } catch (error) {
    faults.add('data', messageOf(error));
    return undefined;
  }
  const bytes = Buffer.byteLength(written);
  if (bytes > TEXT_BYTES_MAX) faults.tooLarge('data', bytes);
  if (UNSTORABLE_JSON.test(written)) {
    faults.refuse('data', 'texts without null characters or lone surrogates', value);
  }
  return written;
}

/** A copy of a message or its template: members are read once. undefined if they cannot be. */
function membersOf (message, names) {
  try {
    if (message === null) return undefined;
    const members = { ...message };
    for (const name of names) {
      const value = message[name];
      if (value !== undefined) members[name] = value;
    }
    return members;
  } catch {
    return undefined;
  }
}

/** Unknown fields are rejected. */
function checkFields (faults, message) {
  for (const name of Object.keys(message)) {
    if (FIELDS.has(name)) continue;
    const shown = name.slice(0, NAME_SHOWN);
    faults.add(shown,
      `Expected only known members in a message but received ${JSON.stringify(shown)}`);
  }
}

const hasAny = (faults, ...fields) => fields.some(field => faults.fields.has(field));

const isGiven = value => value !== undefined && value !== null;

/** Fills in a template. If that fails now, it would fail later too: that is a fault. */
function filled (faults, path, template, data, how) {
  if (hasAny(faults, path, 'data')) return undefined;
  try {
    return how(template, data === undefined ? undefined : JSON.parse(data));
  } catch (error) {
    faults.add(path, messageOf(error), read(error, 'code'));
    return undefined;
  }
}

/** Fills in a subject, which has to be one line afterwards too. */
function filledLine (faults, path, template, data) {
  const value = filled(faults, path, template, data, fill);
  return value === undefined ? undefined : line(faults, path, value, SUBJECT_MAX, 0);
}

// What each part of a template becomes, and how it is filled in.
const PARTS = {
  subject: { field: 'subject', how: fill }, text: { field: 'body', how: fill },
  html: { field: 'html', how: fillHtml },
};

/** The texts of a template's parts, filled in. */
function textsOfParts (faults, message, data) {
  const parts = membersOf(message.template, Object.keys(PARTS));
  if (parts === undefined || !Object.values(parts).some(isGiven)) {
    faults.refuse('template', `a text, or an object with ${Object.keys(PARTS).join(', ')}`,
      message.template);
    return {};
  }
  const texts = {};
  for (const [name, template] of Object.entries(parts)) {
    if (!isGiven(template)) continue;
    const path = `template.${name.slice(0, NAME_SHOWN)}`;
    if (!Object.hasOwn(PARTS, name)) {
      faults.add(path, `Expected only ${Object.keys(PARTS).join(', ')} in a template`);
      continue;
    }
    const { field, how } = PARTS[name];
    if (isGiven(message[field])) faults.refuse(path, `no value (${field} is given)`, template);
    text(faults, path, template);
    texts[field] = name === 'subject' ? filledLine(faults, path, template, data)
      : filled(faults, path, template, data, how);
  }
  return texts;
}

/**
 * The texts of a message: `row` has them as they are stored, `body` is the one that will be sent.
 * A template that is a string is filled in when it is sent; one with parts, and the subject beside
 * either, are filled in now.
 */
function textsOf (faults, message, data) {
  const { template } = message;
  const row = {
    subject: optional(message.subject, value => line(faults, 'subject', value, SUBJECT_MAX, 0)),
    body: optional(message.body, value => text(faults, 'body', value)),
    html: optional(message.html, value => text(faults, 'html', value)),
    body_template: null,
  };
  if (!isGiven(template)) return { row, body: row.body };
  if (isGiven(row.subject)) row.subject = filledLine(faults, 'subject', row.subject, data);
  if (typeof template === 'object') {
    Object.assign(row, textsOfParts(faults, message, data));
    return { row, body: row.body };
  }
  if (isGiven(message.body)) faults.refuse('template', 'no value (body is given)', template);
  row.body_template = text(faults, 'template', template);
  return { row, body: filled(faults, 'template', template, data, fill) };
}

function channelOf (faults, name, channels) {
  const channel = channels.get(name);
  if (channel !== undefined) return channel;
  const known = [...channels.keys()].map(known => `'${known}'`).join(', ') || 'none';
  faults.add('channel', `Expected one of ${known} for channel but received ${
    typeof name === 'string' ? JSON.stringify(name.slice(0, 100)) : typeof name}`,
  'ERR_OUTBOX_CHANNEL');
  return {};
}

const TEXTS = ['body', 'html', 'subject', 'data'];

/** Whether the texts of a message have a fault. */
const haveFaults = ({ fields }) =>
  [...fields].some(field => TEXTS.includes(field) || field.startsWith('template'));

/**
 * Adds the faults that the channel's own check finds in fields that have none yet. Faults of the
 * recipient get the path `path`.
 */
function validate (faults, check, message, { row, body }, path) {
  const isKnown = haveFaults(faults);
  const { subject, html } = row;
  try {
    check(message, { body: isKnown ? undefined : body ?? '', ...!isKnown && { subject, html } });
  } catch (error) {
    const found = read(error, 'faults');
    if (!isList(found)) throw error;
    for (const { path: field, message: why } of found) {
      const own = field === 'recipient' ? path : field;
      if (!faults.fields.has(own)) faults.add(own, why);
    }
  }
}

/**
 * A recipient as it is stored: within its bounds, and in its channel's normal form. `identity` is
 * the same for all spellings of it.
 */
function recipientOf (faults, path, value, { normalize, identify }) {
  line(faults, path, value, RECIPIENT_MAX);
  if (faults.fields.has(path)) return { path, recipient: value, identity: undefined };
  const recipient = normalize === undefined
    ? value : line(faults, path, normalize(value), RECIPIENT_MAX);
  const identity = identify === undefined || faults.fields.has(path)
    ? recipient : line(faults, path, identify(recipient), RECIPIENT_MAX);
  return { path, recipient, identity };
}

/**
 * The recipients of a message: each gets a message of its own.
 * @returns {Array<{ path: string, recipient: string, identity: string }>}
 */
function recipientsOf (faults, given, channel) {
  if (!isList(given)) {
    return [recipientOf(faults, 'recipient', given, channel)];
  }
  const list = Object.values(membersOf(given, []) ?? []);
  if (list.length === 0 || list.length > RECIPIENTS_MAX) {
    faults.refuse('recipient', `1 to ${RECIPIENTS_MAX} recipients`, list.length);
    return [];
  }
  const known = new Map();
  return list.map((value, i) => {
    const entry = recipientOf(faults, `recipient[${i}]`, value, channel);
    const { path, identity } = entry;
    const first = identity === undefined ? undefined : known.get(identity);
    if (first === undefined) known.set(identity, path);
    else faults.add(path, `Expected each recipient once, but ${path} is the same as ${first}`);
    return entry;
  });
}

/** The dedupeKey of one of several recipients. The recipient is hashed to limit the length. */
const keyFor = (key, identity) =>
  `${key}#${createHash('sha256').update(identity).digest('base64url').slice(0, 22)}`;

/**
 * The end of each row of a message as JSON, which is the same for all recipients; none if its texts
 * have a fault. What it adds for each recipient counts before anything is done for each.
 */
function endOfRows (faults, load, recipients, { row, body }, data) {
  if (haveFaults(faults)) return { end: '', endBytes: 0 };
  const written = JSON.stringify(row).slice(1);
  const end = data === undefined ? written : `${written.slice(0, -1)},"body_data":${data}}`;
  const endBytes = Buffer.byteLength(end);
  // What is filled in when it is sent is checked now, for each recipient.
  load.addBytes(recipients.length * Math.max(endBytes, Buffer.byteLength(body ?? '')));
  return { end, endBytes };
}

/** A row. V8 joins its parts without a copy, so that all recipients share the long one. */
function rowOf (load, common, { end, endBytes }) {
  const begin = `${JSON.stringify(common).slice(0, -1)},`;
  const beginBytes = Buffer.byteLength(begin);
  load.addBytes(beginBytes);
  return { json: begin + end, weight: beginBytes + endBytes };
}

/**
 * Checks a message.
 * @param {object} given as OutboxMessage
 * @param {Map<string, object>} channels by name
 * @param {Faults} faults
 * @param {Load} load of its call
 * @returns {Array<{ json: string, weight: number, channel: string, dedupeKey: string | null }>} one
 *   for each recipient. `json` is the row to insert, of `weight` bytes; do not use it when there
 *   are faults
 */
function rowsOf (given, channels, faults, load) {
  const message = typeof given === 'object' ? membersOf(given, FIELDS) : undefined;
  if (message === undefined) {
    faults.refuse('message', 'an object', given);
    return [];
  }
  checkFields(faults, message);
  const { channel: name, data } = message;
  const channel = channelOf(faults, name, channels);
  const { maxAttempts = 1 } = channel;
  const recipients = recipientsOf(faults, message.recipient, channel);
  load.addRows(recipients.length);
  const dedupeKey = optional(message.dedupeKey, value => line(faults, 'dedupeKey', value, KEY_MAX));
  const common = {
    channel: name,
    order_key: optional(message.orderKey, value => line(faults, 'orderKey', value, KEY_MAX)),
    urgency: -integer(faults, 'priority', message.priority ?? 0, -100, 100),
    delay: integer(faults, 'delay', message.delay ?? 0, 0, DELAY_MS_MAX, ' (ms)'),
    max_attempts: integer(faults, 'maxAttempts', message.maxAttempts ?? maxAttempts, 1, 100),
  };
  const dataJson = data === undefined ? undefined : json(faults, data);
  const texts = textsOf(faults, message, dataJson);
  const rest = endOfRows(faults, load, recipients, texts, dataJson);
  if (channel.validate !== undefined) {
    for (const { path, recipient } of recipients) {
      validate(faults, channel.validate, { ...message, recipient }, texts, path);
    }
  }
  if (faults.any) return [];
  const isOne = !isList(message.recipient);
  return recipients.map(({ recipient, identity }) => {
    const key = dedupeKey === null || isOne ? dedupeKey : keyFor(dedupeKey, identity);
    const row = rowOf(load, { ...common, recipient, dedupe_key: key }, rest);
    return { ...row, channel: name, dedupeKey: key, isOne };
  });
}

/**
 * Checks messages. If any has a fault, all are rejected, with all faults of all messages; if they
 * are too many or too large together, at once.
 * @param {object[]} messages as OutboxMessage
 * @param {Map<string, object>} channels by name
 * @param {boolean} [isList] whether the faults say which message they are of
 * @returns {object[]} the results of rowsOf()
 * @throws {StoreError} ERR_OUTBOX_MESSAGE, ERR_OUTBOX_CHANNEL, ERR_OUTBOX_TOO_LARGE,
 *   ERR_OUTBOX_TEMPLATE, with `faults: [{ path, message }]`
 */
function toRows (messages, channels, isList = false) {
  // Those that have a fault make no rows.
  new Load().addRows(messages.length);
  const faults = new Faults();
  const load = new Load();
  const rows = messages.flatMap((message, i) => {
    faults.begin(isList ? `[${i}].` : '');
    return rowsOf(message, channels, faults, load);
  });
  if (faults.any) throw faults.error(isList);
  return rows;
}

/** Limits of a message. */
const MESSAGE_BOUNDS = {
  DELAY_MS_MAX, KEY_MAX, RECIPIENTS_MAX, RECIPIENT_MAX, SUBJECT_MAX, TEXT_BYTES_MAX,
};

module.exports = { FIELDS, MESSAGE_BOUNDS, toRows };
