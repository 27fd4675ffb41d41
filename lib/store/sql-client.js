'use strict';

// The small face of a connection that all parts of the store write SQL to.

const { createHash } = require('node:crypto');

const { invalidOption } = require('../base/errors');
const { toParameter } = require('./sql-text');
const { StoreError } = require('./store-errors');

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
  #ended = false;

  /**
   * @param {object} database that it belongs to
   * @param {(statement: object) => Promise<{ rows: object[], rowCount: number }>} run
   */
  constructor (database, run) {
    this.database = database;
    this.#run = run;
  }

  /** As `query` of the database, within the transaction. */
  async query (text, values) {
    if (this.#ended) {
      throw new StoreError('ERR_STORE_QUERY', 'This transaction has ended already');
    }
    return this.#run(toStatement(text, values, this.database.prefix));
  }

  /** Several statements at once, without values. */
  async script (text) {
    await this.#run({ text, script: true });
  }

  end () { this.#ended = true; }
}

/**
 * Runs `work` between BEGIN and COMMIT.
 * @param {(statement: object) => Promise<{ command: string }>} run
 */
async function runTransaction (database, run, work) {
  const client = new SqlClient(database, run);
  await run({ text: 'BEGIN' });
  try {
    const result = await work(client);
    client.end();
    const { command } = await run({ text: 'COMMIT' });
    // The database commits nothing after a statement has failed, and does not call that an error.
    if (command === 'ROLLBACK') {
      throw new StoreError('ERR_STORE_QUERY',
        'Nothing was committed, as a statement of the transaction had failed');
    }
    return result;
  } catch (error) {
    client.end();
    // The connection may be gone, and the transaction with it; what matters is the first error.
    await run({ text: 'ROLLBACK' }).catch(() => {});
    throw error;
  }
}

module.exports = { SqlClient, prefixOf, runTransaction, toStatement };
