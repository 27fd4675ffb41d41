'use strict';

// The small face of a connection that all parts of the store write SQL to.

const { createHash } = require('node:crypto');

const { clearTimer, now, setTimer } = require('../base/clock');
const { invalidOption } = require('../base/errors');
const { guarded } = require('../base/warn');
const { BEGIN } = require('./database-session');
const { toParameter } = require('./sql-text');
const { StoreError } = require('./store-errors');

// How long a transaction may go without a statement.
const IDLE_MS = 60_000;

/**
 * Reads what `query` was given: text and values, or an object with them and a name. Names are made
 * those of one schema, since a connection may serve two stores.
 */
function toStatement (given, values, prefix) {
  if (typeof given === 'string') return { text: given, values: values?.map(toParameter) };
  const { name, text, values: own } = given;
  if (typeof text !== 'string') throw invalidOption('query', 'SQL', given);
  return {
    name: name === undefined ? undefined : prefix + name, text, values: own?.map(toParameter),
  };
}

const prefixOf = schema => `${createHash('sha256').update(schema).digest('hex').slice(0, 8)}_`;

/** A connection for as long as a transaction lasts. */
class SqlClient {
  #run;
  #isEnded = false;
  #afterCommit;

  /**
   * @param {object} database that it belongs to
   * @param {(statement: object) => Promise<{ rows: object[], rowCount: number }>} run
   * @param {Array<() => void>} [afterCommit] where the transaction is ours
   */
  constructor (database, run, afterCommit) {
    this.database = database;
    this.#run = run;
    this.#afterCommit = afterCommit;
  }

  /** As `query` of the database, within the transaction. */
  async query (text, values) {
    if (this.#isEnded) throw refusal('This transaction has ended already');
    return this.#run(toStatement(text, values, this.database.prefix));
  }

  /** Several statements at once, without values. */
  async script (text) {
    await this.#run({ text });
  }

  /**
   * Calls back once the transaction is committed.
   * @returns {boolean} false if that is not known here, as the transaction is the user's
   */
  onCommit (callback) {
    this.#afterCommit?.push(callback);
    return this.#afterCommit !== undefined;
  }

  end () { this.#isEnded = true; }
}

const refusal = message => new StoreError('ERR_STORE_QUERY', message);

/** Tells when nothing has been asked for too long: a transaction keeps locks from all others. */
class Idleness {
  #timer;
  #inFlight = 0;
  #since = now();

  constructor () {
    this.promise = new Promise((resolve, reject) => { this.reject = reject; });
    // It may come when nobody listens any more.
    this.promise.catch(() => {});
    this.#wait(IDLE_MS);
  }

  /** Looks again when it could be so at the earliest: a timer per statement would cost more. */
  #wait (ms) {
    this.#timer = setTimer(() => {
      const idleMs = this.#inFlight > 0 ? 0 : now() - this.#since;
      if (idleMs < IDLE_MS) this.#wait(IDLE_MS - idleMs);
      else {
        this.reject(refusal('A transaction was rolled back, as it had not asked anything for ' +
          `${IDLE_MS} ms`));
      }
    }, ms, false);
  }

  async during (promise) {
    this.#inFlight++;
    try {
      return await promise;
    } finally {
      this.#inFlight--;
      this.#since = now();
    }
  }

  stop () { clearTimer(this.#timer); }
}

/**
 * Runs `work` between BEGIN and COMMIT.
 * @param {(statement: object) => Promise<{ command: string }>} run
 * @param {string} [begin] the statement that begins it
 */
async function runTransaction (database, run, work, begin = BEGIN) {
  const afterCommit = [];
  const idleness = new Idleness();
  const client = new SqlClient(database,
    statement => idleness.during(run(statement)), afterCommit);
  let result;
  try {
    await run({ text: begin });
    result = await Promise.race([work(client), idleness.promise]);
    client.end();
    const { command } = await run({ text: 'COMMIT' });
    // The database commits nothing after a statement has failed, and does not call that an error.
    if (command === 'ROLLBACK') {
      throw refusal('Nothing was committed, as a statement of the transaction had failed');
    }
  } catch (error) {
    client.end();
    // The connection may be gone, and the transaction with it; what matters is the first error.
    await run({ text: 'ROLLBACK' }).catch(() => {});
    throw error;
  } finally {
    idleness.stop();
  }
  for (const callback of afterCommit) guarded('A callback after a commit failed', callback);
  return result;
}

/** How a database does, as StoreHealth says. Never rejects. */
async function healthOf (database) {
  const began = performance.now();
  const answer = { ok: true, engine: database.engine };
  try {
    await database.query('SELECT 1');
  } catch (error) {
    Object.assign(answer, { ok: false, error: error.message });
  }
  return { ...answer, latencyMs: performance.now() - began };
}

module.exports = { IDLE_MS, SqlClient, healthOf, prefixOf, runTransaction, toStatement };
