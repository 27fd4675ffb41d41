'use strict';

// Checks messages before they are enqueued, and says all that is wrong with them.

const { invalidOption } = require('../base/errors');
const { isList, messageOf, read } = require('../base/foreign');
const { canonical } = require('./json');
const { StoreError } = require('./store-errors');
const { fill, parse } = require('./template');

const TEXT_BYTES_MAX = 256 * 1024;
const RECIPIENT_MAX = 512;
const SUBJECT_MAX = 1000;
const KEY_MAX = 255;
const DELAY_MS_MAX = 10 * 365 * 24 * 3600 * 1000;
const FAULTS_MAX = 100;

const FIELDS = new Set(['channel', 'recipient', 'subject', 'body', 'template', 'data',
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

/** A copy of a message, whose members are read once; undefined if they cannot be. */
function membersOf (message) {
  try {
    if (message === null) return undefined;
    const members = { ...message };
    for (const name of FIELDS) {
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
    const shown = name.slice(0, 50);
    faults.add(shown,
      `Expected only known members in a message but received ${JSON.stringify(shown)}`);
  }
}

const hasAny = (faults, ...fields) => fields.some(field => faults.fields.has(field));

/** The body as it will be sent: if the template cannot be filled in now, it never can. */
function bodyOf (faults, { body, template }, data) {
  if (typeof template !== 'string' || hasAny(faults, 'template', 'data')) return body;
  try {
    parse(template);
    return fill(template, data === undefined ? undefined : JSON.parse(data));
  } catch (error) {
    faults.add('template', messageOf(error), read(error, 'code'));
    return body;
  }
}

function channelOf (faults, name, channels) {
  const channel = channels.get(name);
  if (channel !== undefined) return channel;
  const known = [...channels.keys()].map(known => `'${known}'`).join(', ');
  faults.add('channel', `Expected one of ${known} for channel but received ${
    typeof name === 'string' ? JSON.stringify(name.slice(0, 100)) : typeof name}`,
  'ERR_OUTBOX_CHANNEL');
  return {};
}

/** Adds faults that the channel's own check finds, in fields that have none yet. */
function validate (faults, check, message, body) {
  const isKnown = hasAny(faults, 'body', 'template', 'data');
  try {
    check(message, { body: isKnown ? undefined : body ?? '' });
  } catch (error) {
    const found = read(error, 'faults');
    if (!isList(found)) throw error;
    for (const { path, message: why } of found) {
      if (!faults.fields.has(path)) faults.add(path, why);
    }
  }
}

/**
 * Checks a message.
 * @param {object} given as OutboxMessage
 * @param {Map<string, object>} channels by name
 * @param {Faults} faults
 * @returns {{ json: string, weight: number, channel: string, dedupeKey: string | null }} `json` is
 *   the row to insert; of no use when there are faults
 */
function rowOf (given, channels, faults) {
  const message = typeof given === 'object' ? membersOf(given) : undefined;
  if (message === undefined) {
    faults.refuse('message', 'an object', given);
    return undefined;
  }
  checkFields(faults, message);
  const { channel: name, body, template, data } = message;
  const channel = channelOf(faults, name, channels);
  const { maxAttempts = 1 } = channel;
  if (body !== undefined && body !== null && template !== undefined && template !== null) {
    faults.refuse('template', 'no value (body is given)', template);
  }
  const dedupeKey = optional(message.dedupeKey, value => line(faults, 'dedupeKey', value, KEY_MAX));
  const row = {
    channel: name,
    recipient: line(faults, 'recipient', message.recipient, RECIPIENT_MAX),
    subject: optional(message.subject, value => line(faults, 'subject', value, SUBJECT_MAX, 0)),
    body: optional(body, value => text(faults, 'body', value)),
    body_template: optional(template, value => text(faults, 'template', value)),
    dedupe_key: dedupeKey,
    order_key: optional(message.orderKey, value => line(faults, 'orderKey', value, KEY_MAX)),
    urgency: -integer(faults, 'priority', message.priority ?? 0, -100, 100),
    delay: integer(faults, 'delay', message.delay ?? 0, 0, DELAY_MS_MAX, ' (ms)'),
    max_attempts: integer(faults, 'maxAttempts', message.maxAttempts ?? maxAttempts, 1, 100),
  };
  const dataJson = data === undefined ? undefined : json(faults, data);
  const filled = bodyOf(faults, message, dataJson);
  if (channel.validate !== undefined) validate(faults, channel.validate, message, filled);
  if (faults.any) return undefined;
  const written = JSON.stringify(row);
  const whole = dataJson === undefined
    ? written : `${written.slice(0, -1)},"body_data":${dataJson}}`;
  return { json: whole, weight: whole.length, channel: name, dedupeKey };
}

/**
 * Checks messages. If any has a fault, all are rejected, with all faults of all messages.
 * @param {object[]} messages as OutboxMessage
 * @param {Map<string, object>} channels by name
 * @param {boolean} [isList] whether the faults say which message they are of
 * @returns {object[]} what rowOf() answers
 * @throws {StoreError} ERR_OUTBOX_MESSAGE, ERR_OUTBOX_CHANNEL, ERR_OUTBOX_TOO_LARGE,
 *   ERR_OUTBOX_TEMPLATE, with `faults: [{ path, message }]`
 */
function toRows (messages, channels, isList = false) {
  const faults = new Faults();
  const rows = messages.map((message, i) => {
    faults.begin(isList ? `[${i}].` : '');
    return rowOf(message, channels, faults);
  });
  if (faults.any) throw faults.error(isList);
  return rows;
}

module.exports = { toRows };
