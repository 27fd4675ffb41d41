'use strict';

// Proves, when a store is opened, that values go to the database and come back as they were.

const { isDeepStrictEqual } = require('node:util');

const { StoreError } = require('./store-errors');

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
 * @param {object} database
 * @throws {StoreError} ERR_STORE_POOLER, ERR_STORE_VALUE
 */
async function prove (database) {
  await database.checkSessions();
  const expected = { ...VALUES, 'text[]': LIST };
  const { rows: [row] } = await database.query(TEXT, Object.values(expected));
  const wrong = Object.keys(expected).find(type => !isDeepStrictEqual(row[type], expected[type]));
  if (wrong === undefined) return;
  throw new StoreError('ERR_STORE_VALUE',
    `The database does not return a value of type ${wrong} as it was sent: check the type ` +
    'parsers and settings of the pool');
}

module.exports = { prove };
