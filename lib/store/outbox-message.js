'use strict';

// Messages at the outbox's door: what is wrong with one is said before anything is written.

const { invalidOption } = require('../base/errors');
const { canonical } = require('./idempotency-json');
const { StoreError } = require('./store-errors');

const TEXT_BYTES_MAX = 256 * 1024;
const RECIPIENT_MAX = 512;
const SUBJECT_MAX = 1000;
const KEY_MAX = 255;
const DELAY_MS_MAX = 10 * 365 * 24 * 3600 * 1000;

const FIELDS = new Set(['channel', 'recipient', 'subject', 'body', 'template', 'data',
  'dedupeKey', 'orderKey', 'priority', 'delay', 'maxAttempts']);

// They would start another header, or end a command, of whatever protocol the text goes into.
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;
// What no text of the database can hold.
const UNSTORABLE = /\0|\p{Surrogate}/u;
const UNSTORABLE_JSON = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89ab][0-9a-f]{2}|d[c-f][0-9a-f]{2})/;

/** Texts are not shown: they are long, or somebody's own. */
function refuse (field, expected, value) {
  const message = typeof value === 'string'
    ? `Expected ${expected} for ${field} but received a text of ${value.length} characters`
    : invalidOption(field, expected, value).message;
  return new StoreError('ERR_OUTBOX_MESSAGE', message);
}

function tooLarge (field, bytes) {
  return new StoreError('ERR_OUTBOX_TOO_LARGE',
    `Expected at most ${TEXT_BYTES_MAX} bytes for ${field} but received ${bytes}`);
}

/** A text of one line, within bounds. */
function line (field, value, max, min = 1) {
  const isFit = typeof value === 'string' && value.length >= min && value.length <= max &&
    !CONTROL.test(value) && !UNSTORABLE.test(value);
  if (!isFit) {
    throw refuse(field, `${min} to ${max} characters without line breaks or control characters`,
      value);
  }
  return value;
}

const optional = (value, check) => (value === undefined || value === null ? null : check(value));

function text (field, value) {
  if (typeof value !== 'string' || UNSTORABLE.test(value)) {
    throw refuse(field, 'a text without null characters or halves of characters', value);
  }
  const bytes = Buffer.byteLength(value);
  if (bytes > TEXT_BYTES_MAX) throw tooLarge(field, bytes);
  return value;
}

function integer (field, value, min, max, unit = '') {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw refuse(field, `an integer from ${min} to ${max}${unit}`, value);
  }
  return value;
}

/** Data as JSON. */
function json (value) {
  let written;
  try {
    written = canonical('data', value);
  } catch (error) {
    throw new StoreError('ERR_OUTBOX_MESSAGE', error.message, { cause: error });
  }
  const bytes = Buffer.byteLength(written);
  if (bytes > TEXT_BYTES_MAX) throw tooLarge('data', bytes);
  if (UNSTORABLE_JSON.test(written)) {
    throw refuse('data', 'texts without null characters or halves of characters', value);
  }
  return written;
}

/** Checks that there is nothing in it that would be left out silently. */
function checkFields (message) {
  if (message === null || typeof message !== 'object') {
    throw refuse('message', 'an object', message);
  }
  for (const name of Object.keys(message)) {
    if (!FIELDS.has(name)) {
      throw new StoreError('ERR_OUTBOX_MESSAGE',
        `Expected no ${JSON.stringify(name.slice(0, 50))} in a message`);
    }
  }
}

/**
 * Checks a message.
 * @param {object} message as OutboxMessage
 * @param {Map<string, object>} channels by name
 * @returns {{ json: string, weight: number, channel: string, dedupeKey: string | null }} `json` is
 *   the row for `ENQUEUE` of outbox-sql
 * @throws {StoreError} ERR_OUTBOX_MESSAGE, ERR_OUTBOX_CHANNEL, ERR_OUTBOX_TOO_LARGE
 */
function toRow (message, channels) {
  checkFields(message);
  const { channel: name, body, template, data } = message;
  const channel = channels.get(name);
  if (channel === undefined) {
    const known = [...channels.keys()].map(known => `'${known}'`).join(', ');
    throw new StoreError('ERR_OUTBOX_CHANNEL',
      `Expected one of ${known} for channel but received ${
        typeof name === 'string' ? JSON.stringify(name.slice(0, 100)) : typeof name}`);
  }
  channel.validate?.(message);
  if (body !== undefined && body !== null && template !== undefined && template !== null) {
    throw refuse('template', 'none beside body', template);
  }
  const dedupeKey = optional(message.dedupeKey, value => line('dedupeKey', value, KEY_MAX));
  const row = JSON.stringify({
    channel: name,
    recipient: line('recipient', message.recipient, RECIPIENT_MAX),
    subject: optional(message.subject, value => line('subject', value, SUBJECT_MAX, 0)),
    body: optional(body, value => text('body', value)),
    body_template: optional(template, value => text('template', value)),
    dedupe_key: dedupeKey,
    order_key: optional(message.orderKey, value => line('orderKey', value, KEY_MAX)),
    urgency: -integer('priority', message.priority ?? 0, -100, 100),
    delay: integer('delay', message.delay ?? 0, 0, DELAY_MS_MAX, ' (ms)'),
    max_attempts: integer('maxAttempts', message.maxAttempts ?? channel.maxAttempts, 1, 100),
  });
  const written = data === undefined ? row : `${row.slice(0, -1)},"body_data":${json(data)}}`;
  return { json: written, weight: written.length, channel: name, dedupeKey };
}

module.exports = { toRow };
