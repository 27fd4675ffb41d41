'use strict';

// The store: one database and all that is kept in it.

const Emitter = require('../base/emitter');
const { bag, boolean } = require('../base/options');
const { openDatabase } = require('./database');
const { prove } = require('./database-proof');
const { createDeadLetters } = require('./dead-letters');
const { createDeliveries } = require('./deliveries');
const { createFleet } = require('./fleet');
const { createIdempotency } = require('./idempotency');
const { migrate } = require('./migrate');
const { createOutbox } = require('./outbox');
const { createPayments } = require('./payments');
const { cleanUp } = require('./retention');

const OPTIONS = ['url', 'pool', 'directory', 'store', 'schema', 'migrate', 'connections', 'timeout',
  'channels', 'idempotency', 'payments'];

class Store extends Emitter {
  #database;

  constructor (database, { channels, idempotency, payments }) {
    super();
    this.#database = database;
    this.outbox = createOutbox({ database, options: { channels } });
    this.deadLetters = createDeadLetters({ database, outbox: this.outbox });
    this.deliveries = createDeliveries({ database });
    this.idempotency = createIdempotency({
      database, options: idempotency, onWarning: error => this.emit('warning', error),
    });
    this.payments = createPayments({
      database, options: payments, outbox: this.outbox, deadLetters: this.deadLetters,
    });
    this.fleet = createFleet({ database });
  }

  get engine () { return this.#database.engine; }

  get schema () { return this.#database.schema; }

  async transaction (work) { return this.#database.transaction(work); }

  async query (text, values) {
    const { rows, rowCount } = await this.#database.query(text, values);
    return { rows, rowCount };
  }

  async listen (channel, onPayload, onReconnect) {
    return this.#database.listen(channel, onPayload, onReconnect);
  }

  async migrate () { return migrate(this.#database); }

  async health () { return this.#database.health(); }

  async cleanUp (options) { return cleanUp(this.#database, options); }

  async close () {
    await this.fleet.close();
    await this.payments.close();
    await this.#database.close();
  }
}

function checkOptions (options) {
  if (options.migrate !== undefined) boolean('migrate', options.migrate);
}

/** Opens the store as the options say, and brings its schema up to date. */
async function openStore (options) {
  const given = bag('options', options, OPTIONS);
  checkOptions(given);
  let store;
  const early = [];
  const database = await openDatabase({
    ...given, onWarning: error => (store ? store.emit('warning', error) : early.push(error)),
  });
  try {
    await prove(database);
    await migrate(database, { dryRun: given.migrate === false });
    store = new Store(database, given);
  } catch (error) {
    await database.close();
    throw error;
  }
  // Whoever waits for the store can listen by then.
  if (early.length > 0) setImmediate(() => early.forEach(error => store.emit('warning', error)));
  return store;
}

module.exports = { openStore };
