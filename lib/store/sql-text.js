'use strict';

// Values on their way to the database and back. All of them travel as text, and are read here, so
// that they look the same whatever the engine and whatever types the user has set for pg.

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

const DATE_STYLE = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(\.\d+)?([+-]\d\d)(:\d\d)?$/;

/** timestamptz; infinity and years of more than four digits are no Date and stay text. */
function toDate (text) {
  const parts = DATE_STYLE.exec(text);
  if (parts === null) return text;
  const [, day, time, fraction = '', hours, minutes = ':00'] = parts;
  return new Date(`${day}T${time}${fraction.slice(0, 4)}${hours}${minutes}`);
}

const asText = text => text;

// By the type's number in pg_type. Others stay text: int8 above all, which no number holds.
const READERS = new Map([
  [16, text => text === 't'],                         // bool
  [17, text => Buffer.from(text.slice(2), 'hex')],    // bytea
  [21, Number], [23, Number], [26, Number],           // int2, int4, oid
  [700, Number], [701, Number],                       // float4, float8
  [114, JSON.parse], [3802, JSON.parse],              // json, jsonb
  [1184, toDate],                                     // timestamptz
]);

/** What makes a value of the text of one type. */
const readerOf = type => READERS.get(type) ?? asText;

module.exports = { quote, readerOf, toParameter };
