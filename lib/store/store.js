'use strict';

// The store: one database and all that is kept in it.

const Emitter = require('../base/emitter');
const { invalidOption } = require('../base/errors');
const { func, is } = require('../base/options');
const { DATABASE_OPTIONS, openDatabase, prove } = require('./database');
const { createDeadLetters } = require('./dead-letters');
const { createDeliveries } = require('./deliveries');
const { createFleet } = require('./fleet');
const { IDEMPOTENCY_OPTIONS, createIdempotency } = require('./idempotency');
const { migrate } = require('./migrate');
const { OUTBOX_OPTIONS, createOutbox } = require('./outbox');
const { PAYMENT_OPTIONS, createPayments } = require('./payments');
const { cleanUp } = require('./retention');

const OPTIONS = DATABASE_OPTIONS.with({
  ...OUTBOX_OPTIONS.entries,
  migrate: is.boolean('whether to bring the schema up to date when opening, or to reject one ' +
    'that is not', { default: true }),
  idempotency: is.table('of its runs', IDEMPOTENCY_OPTIONS),
  payments: is.table('of all orders', PAYMENT_OPTIONS),
});

// PostgreSQL cuts longer names, and then nobody hears what is notified.
const CHANNEL_BYTES_MAX = 63;

const isChannel = value => typeof value === 'string' && value !== '' &&
  Buffer.byteLength(value) <= CHANNEL_BYTES_MAX;

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
      database, options: payments, outbox: this.outbox, idempotency: this.idempotency,
    });
    this.fleet = createFleet({ database });
  }

  get engine () { return this.#database.engine; }

  get schema () { return this.#database.schema; }

  async transaction (work) { return this.#database.transaction(func('work', work)); }

  async query (text, values) {
    const { rows, rowCount } = await this.#database.query(text, values);
    return { rows, rowCount };
  }

  async listen (channel, onPayload, onReconnect) {
    if (!isChannel(channel)) throw invalidOption('channel', 'a name of 1 to 63 bytes', channel);
    func('onPayload', onPayload);
    if (onReconnect !== undefined) func('onReconnect', onReconnect);
    return this.#database.listen(channel, onPayload, onReconnect);
  }

  async migrate () { return migrate(this.#database); }

  async health () { return this.#database.health(); }

  async cleanUp (options) { return cleanUp(this.#database, options); }

  async close () {
    await this.fleet.close();
    await this.payments.close();
    await this.outbox._close();
    await this.#database.close();
  }
}

/** Brings the schema up to date, as its owner. Another role may open the store then. */
async function migrateStore (options) {
  const { migrate: _, channels, idempotency, payments, ...where } = OPTIONS.read(options);
  const database = await openDatabase(where);
  try {
    await prove(database);
    return await migrate(database);
  } finally {
    await database.close();
  }
}

/** Opens the store, and brings its schema up to date. */
async function openStore (options) {
  const settings = OPTIONS.read(options);
  const { migrate: isMigrated, channels, idempotency, payments, ...where } = settings;
  let store;
  const early = [];
  const database = await openDatabase({
    ...where, onWarning: error => (store ? store.emit('warning', error) : early.push(error)),
  });
  try {
    await prove(database);
    await migrate(database, { dryRun: !isMigrated });
    store = new Store(database, { channels, idempotency, payments });
  } catch (error) {
    await database.close();
    throw error;
  }
  // By then the caller has the store, and can listen.
  if (early.length > 0) setImmediate(() => early.forEach(error => store.emit('warning', error)));
  return store;
}

module.exports = { migrateStore, openStore };
