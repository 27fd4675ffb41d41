'use strict';

// Whether connections are those of a session. A pooler may give every transaction, or every
// statement, another connection to the server. Then nobody hears what LISTEN asks for, and prepared
// statements and settings are found on connections of others.

const { StoreError } = require('./store-errors');

// Even if each answer came from one of two connections by chance, one opening in sixteen million
// would be taken for a session.
const ROUNDS = 12;

/** Who answers: a number of a process alone could be one of several servers. */
const WHO = `SELECT pg_catalog.pg_backend_pid() AS pid, (SELECT backend_start::text
  FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())) AS began`;

/**
 * The number that a server gives at the start is its process's. A pooler gives one of its own.
 * @param {object} client
 * @param {(client: object, statement: object) => Promise<{ rows: object[] }>} run
 */
async function isDirect (client, run) {
  const { rows: [{ pid }] } = await run(client, { text: WHO });
  return client.processID === pid;
}

/**
 * A session has a connection to the server as long as it lasts. So `a` is answered by the same one
 * always, and `b` never by that one. It is asked twice in a row, since a pooler may take the one
 * that was free for longest, and once each, as it may take the one that was used last.
 * @throws {StoreError} ERR_STORE_POOLER
 */
async function checkSessions (a, b, run) {
  const ask = async client => {
    const { rows: [{ pid, began }] } = await run(client, { text: WHO });
    return `${pid} ${began}`;
  };
  const home = await ask(a);
  for (let round = 0; round < ROUNDS; round++) {
    if (await ask(a) !== home || await ask(a) !== home || await ask(b) === home) throw refusal();
  }
}

const refusal = () => new StoreError('ERR_STORE_POOLER', 'The database is behind a pooler, such ' +
  'as PgBouncer, in transaction or statement mode, but the store needs sessions. Use the ' +
  'pooler in session mode, or the direct address of the database (Supabase: port 5432 ' +
  'instead of 6543; Neon: the host without -pooler)');

module.exports = { checkSessions, isDirect };
