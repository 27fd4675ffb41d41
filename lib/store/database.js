'use strict';

// The database under the store: one dialect of SQL, two engines, the same answers from both.

const { isDeepStrictEqual } = require('node:util');

const { invalidOption } = require('../base/errors');
const { is, optionsOf } = require('../base/options');
const { StoreError } = require('./store-errors');

const SCHEMA_BYTES_MAX = 63;
const DIRECTORY = 'sekering-data';

const ADDRESS = 'an address postgres://user:password@host:port/database';

const SCHEME = /^postgres(ql)?:\/\//;
// Those that pg understands. To it, others would mean sslmode=verify-full.
const SSL_MODES = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify'];
// What the store does anyway: it needs a database that takes writes.
const TARGETS = ['any', 'read-write', 'primary'];

/** What is wrong with the parameters of an address; undefined if nothing is. */
function faultOfParameters (query) {
  const parameters = new URLSearchParams(query);
  const [mode, target] = ['sslmode', 'target_session_attrs'].map(name => parameters.get(name));
  if (['host', 'port'].some(name => parameters.get(name)?.includes(','))) return 'one host only';
  if (mode !== null && !SSL_MODES.includes(mode)) return `sslmode=${SSL_MODES.join(' or ')}`;
  if (target !== null && !TARGETS.includes(target)) {
    return `target_session_attrs=${TARGETS.join(' or ')}: the store writes`;
  }
  return undefined;
}

/** What an address of PostgreSQL should be instead of what it is; undefined if it is fine. */
function faultOfAddress (address) {
  const rest = address.replace(SCHEME, '');
  if (rest === address || rest === '') return ADDRESS;
  const [authority] = rest.split(/[/?#]/, 1);
  const tail = rest.slice(authority.length);
  // A host that is cut out of a password would show a part of it in errors of the resolver.
  if (/[@#]/.test(tail)) {
    return `${ADDRESS}, in which @ / ? # of names and passwords are percent-encoded, as %40 %2F ` +
      '%3F %23';
  }
  if (authority.slice(authority.lastIndexOf('@') + 1).includes(',')) {
    return 'one host only (of several, name the one that a failover moves, such as that of a ' +
      'proxy or a virtual address)';
  }
  // Behind a user there may be no host: it is a parameter then.
  if (!URL.canParse(address.replace('@/', '@host/'))) return ADDRESS;
  return faultOfParameters(tail.split('?').slice(1).join('?'));
}

/** Checks an address of PostgreSQL. The error never shows it: it may have a password in it. */
function checkUrl (option, value) {
  if (typeof value !== 'string') throw invalidOption(option, ADDRESS, value);
  const fault = faultOfAddress(value);
  if (fault === undefined) return value;
  throw invalidOption(option, fault, {});
}

const isPool = value => typeof value?.connect === 'function' && typeof value.on === 'function' &&
  !(value.options?.max < 2);

// Half a character has no form in UTF-8, and would be sent as another one.
const HALF = /\p{Surrogate}/u;

const isSchema = value => typeof value === 'string' && value !== '' && !value.includes('\0') &&
  !HALF.test(value) && Buffer.byteLength(value) <= SCHEMA_BYTES_MAX && !/^pg_/.test(value) &&
  value !== 'information_schema';

const DATABASE_OPTIONS = optionsOf({
  url: { doc: 'of PostgreSQL', expected: ADDRESS, check: checkUrl },
  directUrl: {
    doc: 'of the same database past a pooler, for LISTEN', expected: ADDRESS, check: checkUrl,
  },
  pool: is.where('of pg, which stays the caller\'s',
    'a pool of pg with at least 2 connections, one of which listens', isPool),
  directory: is.text('of an embedded database', { pattern: /^[^]/, expected: 'a path' }),
  memory: is.boolean('whether an embedded database is gone when it is closed', { default: false }),
  schema: is.where('of all tables',
    'a name of 1 to 63 bytes that PostgreSQL does not reserve (pg_…, information_schema)',
    isSchema, { default: 'sekering' }),
  connections: is.integer('of the pool that is made for url', { min: 1, max: 1000, default: 10 }),
  timeout: is.ms('for a connection or a statement',
    { min: 100, max: 600_000, integer: true, default: 10_000 }),
});

const SETTINGS = DATABASE_OPTIONS.with({
  onWarning: is.func('hears of faults that heal by themselves', { default: () => {} }),
});

const PLACES = ['url', 'pool', 'directory', 'memory'];

function checkPlace (settings) {
  const [first, second] = PLACES.filter(name => ![undefined, false].includes(settings[name]));
  if (second !== undefined) {
    throw invalidOption(second, `no value (${first} is set)`, settings[second]);
  }
  if (settings.directUrl !== undefined && first !== 'url' && first !== 'pool') {
    throw invalidOption('directUrl', 'no value (neither url nor pool is set)', {});
  }
}

/**
 * Opens a database. PostgreSQL is not asked anything until the first use.
 * @param {object} options as SETTINGS; `directory` unless another place is named
 * @returns {Promise<import('./sql-client').Database>}
 */
async function openDatabase (options) {
  const settings = SETTINGS.read(options);
  checkPlace(settings);
  const { url, pool, memory } = settings;
  if (url !== undefined || pool !== undefined) {
    const { PgDatabase } = require('./database-pg');
    return new PgDatabase(settings);
  }
  const { openPglite } = require('./database-pglite');
  const { directory = memory ? undefined : DIRECTORY } = settings;
  return openPglite({ ...settings, directory });
}

// ---- Proof -------------------------------------------------------------------------------------

const VALUES = {
  timestamptz: new Date('2026-02-03T04:05:06.789Z'),
  bytea: Buffer.from([0, 0x27, 0x5c, 0x78, 0xff]),
  jsonb: { a: ['"\\\'', 0.1, null] }, bigint: '9007199254740993', numeric: '1.50', float8: 0.1,
  integer: -7, boolean: true, text: '\\x \'"',
};
const LIST = ['', 'NULL', '{"a\\', null];

const TYPES = Object.keys(VALUES);
const TEXT = `SELECT ${TYPES.map((type, i) => `$${i + 1}::${type} AS "${type}"`).join(', ')},
  to_json($${TYPES.length + 1}::text[]) AS "text[]"`;

/**
 * Finds out whether connections are sessions, and proves that the database takes writes and that
 * values come back as they were sent.
 * @param {import('./sql-client').Database} database
 * @throws {StoreError} ERR_STORE_POOLER, ERR_STORE_READ_ONLY, ERR_STORE_VALUE
 */
async function prove (database) {
  await database.checkSessions();
  await database.checkWritable();
  const expected = { ...VALUES, 'text[]': LIST };
  const { rows: [row] } = await database.query(TEXT, Object.values(expected));
  const wrong = Object.keys(expected).find(type => !isDeepStrictEqual(row[type], expected[type]));
  if (wrong === undefined) return;
  throw new StoreError('ERR_STORE_VALUE',
    `The database does not return a value of type ${wrong} as it was sent: check the type ` +
    'parsers and settings of the pool');
}

module.exports = { DATABASE_OPTIONS, DIRECTORY, faultOfAddress, openDatabase, prove };
