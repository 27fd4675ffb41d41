'use strict';

// The database under the store: one dialect of SQL, two engines, the same answers from both.

const { invalidOption } = require('../base/errors');
const { bag, func, number } = require('../base/options');

const TIMEOUT_MS = 10_000;
const CONNECTIONS = 10;
const SCHEMA_LENGTH_MAX = 63;
const DIRECTORY = 'sekering-data';

const PLACES = ['url', 'pool', 'directory', 'store'];

/** Which of the four ways to name a database was taken. */
function readPlace (options) {
  const given = PLACES.filter(name => options[name] !== undefined);
  if (given.length > 1) {
    throw invalidOption(given[1], `none, as ${given[0]} is given`, {}, TypeError);
  }
  const [place = 'directory'] = given;
  const value = options[place] ?? DIRECTORY;
  if (place === 'url') checkUrl(value);
  if (place === 'pool') checkPool(value);
  if (place === 'directory' && (typeof value !== 'string' || value === '')) {
    throw invalidOption('directory', 'a path', value);
  }
  if (place === 'store' && value !== 'memory') throw invalidOption('store', "'memory'", value);
  return { [place]: value };
}

/** The text itself is never shown, as it may have a password in it. */
function checkUrl (value) {
  if (typeof value === 'string' && /^postgres(ql)?:\/\/./.test(value)) return;
  throw invalidOption('url', 'an address postgres://user:password@host:port/database',
    typeof value === 'string' ? {} : value);
}

function checkPool (value) {
  if (typeof value?.connect !== 'function' || typeof value.on !== 'function') {
    throw invalidOption('pool', 'a pool of pg', value);
  }
  if (value.options?.max < 2) {
    throw invalidOption('pool', 'a pool of at least 2 connections, one of which listens', value);
  }
}

function readSchema (value) {
  const isName = typeof value === 'string' && value !== '' && !value.includes('\0') &&
    Buffer.byteLength(value) <= SCHEMA_LENGTH_MAX && !value.startsWith('pg_');
  if (!isName) throw invalidOption('schema', 'a name of 1 to 63 bytes, not of pg_', value);
  return value;
}

/**
 * Opens a database. Nothing is asked of PostgreSQL until its first use.
 * @param {{ url?: string, pool?: object, directory?: string, store?: 'memory', schema?: string,
 *   connections?: number, timeout?: number, onWarning?: (error: Error) => void }} options
 *   as StoreOptions; `onWarning` hears of faults that heal by themselves
 * @returns {Promise<object>} with `engine`, `schema` (quoted), `query`, `transaction`, `wrap`,
 *   `listen`, `health`, `close`
 */
async function openDatabase (options) {
  const given = bag('options', options);
  const { schema = 'sekering', timeout = TIMEOUT_MS, connections = CONNECTIONS } = given;
  const { onWarning = () => {} } = given;
  const place = readPlace(given);
  readSchema(schema);
  number('timeout', timeout, { min: 100, max: 600_000, integer: true, unit: 'ms' });
  number('connections', connections, { min: 1, max: 1000, integer: true });
  func('onWarning', onWarning);
  const settings = { ...place, schema, timeout, connections, onWarning };
  if (place.url === undefined && place.pool === undefined) {
    return require('./database-pglite').openPglite(settings);
  }
  const { PgDatabase } = require('./database-pg');
  return new PgDatabase(settings);
}

module.exports = { openDatabase };
