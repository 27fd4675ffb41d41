'use strict';

// PostgreSQL through pg. Whatever happens to a connection becomes a rejection or a warning: pg
// emits 'error' on a client that nobody is using, which would end the process.

const { clearTimer, setTimer } = require('../base/clock');
const { invalidOption } = require('../base/errors');
const { requirePeer } = require('../base/peer');
const { Listener } = require('./database-listener');
const {
  IDLE_MS, SqlClient, healthOf, prefixOf, runTransaction, toStatement,
} = require('./sql-client');
const { quote, readerOf } = require('./sql-text');
const { StoreError, breaksConnection, storeError } = require('./store-errors');

const FEATURE = 'sekering/store on PostgreSQL';

const invalidUrl = () =>
  invalidOption('url', 'an address postgres://user:password@host:port/database', {});

const TYPES = { getTypeParser: readerOf };

/** A pool of our own. An idle connection keeps no process alive; one more than told listens. */
function makePool ({ url, connections, timeout }) {
  const { Client, Pool } = requirePeer('pg', FEATURE);
  const options = {
    connectionString: url,
    max: connections + 1,
    connectionTimeoutMillis: timeout,
    statement_timeout: timeout,
    // Of a process that has vanished; a living one is watched in runTransaction.
    idle_in_transaction_session_timeout: 2 * IDLE_MS,
    keepAlive: true,
    allowExitOnIdle: true,
    application_name: 'sekering',
  };
  try {
    // Reads the address, which a pool does only later.
    new Client(options);
  } catch {
    // What pg throws here has the password in it.
    throw invalidUrl();
  }
  return new Pool(options);
}

class PgDatabase {
  engine = 'postgresql';
  #pool;
  #isOwn;
  #timeout;
  #onWarning;
  #listener;
  #closing;
  #watched = new WeakSet();
  #leases = new Set();

  constructor ({ url, pool, connections, schema, timeout, onWarning }) {
    this.schemaName = schema;
    this.schema = quote(schema);
    this.prefix = prefixOf(schema);
    this.#timeout = timeout;
    this.#onWarning = onWarning;
    this.#isOwn = pool === undefined;
    this.#pool = pool ?? makePool({ url, connections, timeout });
    this.#pool.on('error', this.#onPoolError);
    this.#listener = new Listener({
      connect: () => this.#connect(), timeout, onWarning,
      disconnect: client => this.#release(client, true),
    });
  }

  #onError = error => this.#onWarning(storeError(error));
  // Of an idle client both emit it.
  #onPoolError = (error, client) => { if (!this.#watched.has(client)) this.#onError(error); };

  async query (text, values) {
    const statement = toStatement(text, values, this.prefix);
    return this.#use(lease => this.#run(lease, statement));
  }

  async transaction (work, { timeout = this.#timeout } = {}) {
    return this.#use(lease => runTransaction(this,
      statement => this.#run(lease, statement, timeout), async client => {
        if (timeout !== this.#timeout) {
          await client.query(`SET LOCAL statement_timeout = ${timeout}`);
        }
        return work(client);
      }));
  }

  /** The same face round a client that is inside a transaction of the user's. */
  wrap (client) {
    if (client instanceof SqlClient && client.database === this) return client;
    // Pools have a count, and stores have a query but nothing to connect.
    const isClient = typeof client?.query === 'function' && typeof client.connect === 'function' &&
      client.totalCount === undefined;
    if (!isClient) {
      throw invalidOption('client', 'a client of pg or what store.transaction gives', client);
    }
    return new SqlClient(this, statement => this.#run({ client }, statement));
  }

  async listen (channel, onPayload, onReconnect) {
    this.#checkOpen();
    return this.#listener.listen(channel, onPayload, onReconnect);
  }

  async health () { return healthOf(this); }

  async close () {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close () {
    await this.#listener.close();
    if (this.#isOwn) {
      // Whoever still works gets as long as any statement, and is then cut off.
      const timer = setTimer(() => {
        for (const { client } of this.#leases) client.connection.stream.destroy();
      }, this.#timeout);
      await this.#pool.end();
      clearTimer(timer);
    } else {
      this.#pool.off('error', this.#onPoolError);
    }
  }

  #checkOpen () {
    if (this.#closing !== undefined) {
      throw new StoreError('ERR_STORE_CLOSED', 'The store has been closed');
    }
  }

  async #connect () {
    this.#checkOpen();
    let client;
    try {
      client = await this.#pool.connect();
    } catch (error) {
      throw storeError(error);
    }
    if (!this.#watched.has(client)) {
      this.#watched.add(client);
      client.on('error', this.#onError);
    }
    return client;
  }

  #release (client, isBroken) {
    client.release(isBroken);
    // Of a peer that no longer answers, not even the end of a connection would arrive.
    if (isBroken) client.connection?.stream?.destroy();
  }

  async #use (work) {
    const lease = { client: await this.#connect(), isBroken: false };
    this.#leases.add(lease);
    try {
      return await work(lease);
    } finally {
      this.#leases.delete(lease);
      this.#release(lease.client, lease.isBroken);
    }
  }

  async #run (lease, { name, text, values }, timeout = this.#timeout) {
    try {
      const answer = await lease.client.query({
        name, text, values, types: TYPES, query_timeout: timeout,
      });
      // Of several statements the last one's counts.
      const { rows, rowCount, command } = Array.isArray(answer) ? answer.at(-1) : answer;
      return { rows, rowCount: rowCount ?? 0, command };
    } catch (cause) {
      const error = storeError(cause);
      // A transaction that cannot be rolled back must not go back to the pool.
      lease.isBroken ||= breaksConnection(error) || text === 'ROLLBACK';
      throw error;
    }
  }
}

module.exports = { PgDatabase };
