'use strict';

// Values on their way to the database and back. All of them travel as text, and are read here, so
// that they look the same whatever the engine and whatever types the user has set for pg.

const { StoreError } = require('./store-errors');

/** An identifier as it stands in SQL. */
const quote = name => `"${name.replaceAll('"', '""')}"`;

/** A value as a parameter: text or null. */
function toParameter (value) {
  if (typeof value === 'string') return value;
  if (value === null || value === undefined) return null;
  if (typeof value !== 'object') return String(value);
  if (Array.isArray(value)) return `{${value.map(toElement).join(',')}}`;
  if (value instanceof Uint8Array) {
    return `\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}`;
  }
  // A Date of another realm is one all the same.
  return typeof value.toISOString === 'function' ? value.toISOString() : JSON.stringify(value);
}

function toElement (value) {
  const text = toParameter(value);
  if (text === null) return 'NULL';
  return Array.isArray(value) ? text : `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}

const ISO = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(\.\d+)?([+-]\d\d)(:\d\d)?(:\d\d)?$/;
const BEYOND = /^(-?infinity|\d{5,}-\d\d-\d\d .*|\d{4,}-\d\d-\d\d .* BC)$/;

/** timestamptz; infinity and years of more or less than four digits are no Date and stay text. */
function toDate (text) {
  const parts = ISO.exec(text);
  if (parts === null) {
    if (BEYOND.test(text)) return text;
    throw new StoreError('ERR_STORE_VALUE', `The time ${text} cannot be read: set the DateStyle ` +
      'of this database session to ISO');
  }
  const [, day, time, fraction = '', hours, minutes = ':00', seconds] = parts;
  const date = new Date(`${day}T${time}${fraction.slice(0, 4)}${hours}${minutes}`);
  if (seconds === undefined) return date;
  // Zones of earlier centuries are so precise; JavaScript is not.
  const ms = 1000 * seconds.slice(1);
  return new Date(hours.startsWith('-') ? date.getTime() + ms : date.getTime() - ms);
}

const OCTAL = /\\(\\|[0-7]{3})/g;

/** bytea in either form: what is not hexadecimal has no \x, as each backslash in it is doubled. */
function toBytes (text) {
  if (text.startsWith('\\x')) return Buffer.from(text.slice(2), 'hex');
  return Buffer.from(text.replace(OCTAL, (all, code) =>
    (code === '\\' ? code : String.fromCharCode(parseInt(code, 8)))), 'latin1');
}

const asText = text => text;

// By the type's number in pg_type. Others stay text: int8 above all, which no number holds.
const READERS = new Map([
  [16, text => text === 't'],                         // bool
  [17, toBytes],                                      // bytea
  [21, Number], [23, Number], [26, Number],           // int2, int4, oid
  [700, Number], [701, Number],                       // float4, float8
  [114, JSON.parse], [3802, JSON.parse],              // json, jsonb
  [1184, toDate],                                     // timestamptz
]);

/** What makes a value of the text of one type. */
const readerOf = type => READERS.get(type) ?? asText;

module.exports = { quote, readerOf, toParameter };
