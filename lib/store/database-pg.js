'use strict';

// PostgreSQL through pg. Whatever happens to a connection becomes a rejection or a warning: pg
// emits 'error' on idle clients, which would end the process.

const { clearTimer, setTimer } = require('../base/clock');
const { invalidOption } = require('../base/errors');
const { requirePeer } = require('../base/peer');
const { Listener } = require('./database-listener');
const { BEGIN_AS_GUEST, GuestSession, checkSessions, takeOver } = require('./database-session');
const { BEGIN, Database, IDLE_MS, SqlClient, readerOf } = require('./sql-client');
const { breaksConnection, storeError } = require('./store-errors');

const FEATURE = 'sekering/store on PostgreSQL';

const TYPES = { getTypeParser: readerOf };

/** Our own pool. An idle connection keeps no process alive. One more than asked for listens. */
function makePool ({ url, connections, timeout }) {
  const { Client, Pool } = requirePeer('pg', FEATURE);
  const options = {
    connectionString: url,
    max: connections + 1,
    connectionTimeoutMillis: timeout,
    keepAlive: true,
    allowExitOnIdle: true,
    application_name: 'sekering',
  };
  try {
    // A client reads the address at once, a pool only at its first use.
    new Client(options);
  } catch {
    // The error of pg has the password in it.
    throw invalidOption('url', 'an address that pg can read', {});
  }
  return new Pool(options);
}

class PgDatabase extends Database {
  engine = 'postgresql';
  #pool;
  #isOwn;
  #listener;
  #watched = new WeakSet();
  /** Clients of our own pool whose sessions are set up. */
  #taken = new WeakSet();
  /** GuestSessions by client of the user's. */
  #guests = new WeakMap();
  #leases = new Set();

  constructor (options) {
    super(options);
    const { pool, timeout, onWarning } = options;
    this.#isOwn = pool === undefined;
    this.#pool = pool ?? makePool(options);
    this.#pool.on('error', this.#onPoolError);
    this.#listener = new Listener({
      connect: () => this.#connect(), timeout, onWarning,
      disconnect: client => this.#release(client, true),
    });
  }

  #onError = error => this._onWarning(storeError(error));
  // The errors of an idle client are emitted by both.
  #onPoolError = (error, client) => { if (!this.#watched.has(client)) this.#onError(error); };

  async query (query, values, isLate) {
    const statement = this._statement(query, values);
    return this.#use(async lease => {
      if (this.#isOwn || await this.#isPlain(lease)) return this.#run(lease, statement);
      return this.#transaction(lease, client => client.query(query, values));
    }, isLate);
  }

  async transaction (work, { timeout = this._timeout } = {}) {
    return this.#use(lease => this.#transaction(lease, async client => {
      if (timeout !== this._timeout) {
        await client.query(`SET LOCAL statement_timeout = ${timeout}`);
      }
      return work(client);
    }, timeout));
  }

  #transaction (lease, work, timeout) {
    return this._transact(statement => this.#run(lease, statement, timeout), work,
      this.#isOwn ? BEGIN : BEGIN_AS_GUEST);
  }

  async #isPlain (lease) {
    try {
      return await this.#guest(lease.client).isPlain();
    } catch (error) {
      lease.isBroken = true;
      throw error;
    }
  }

  #guest (client) {
    if (!this.#guests.has(client)) {
      this.#guests.set(client, new GuestSession(client, statement => this.#ask(client, statement)));
    }
    return this.#guests.get(client);
  }

  _wrap (client) {
    // Pools have a count, and stores have `query` but not `connect`.
    const isClient = typeof client?.query === 'function' && typeof client.connect === 'function' &&
      client.totalCount === undefined;
    if (!isClient) throw invalidOption('client', 'a client of pg or of store.transaction', client);
    const lease = { client };
    return new SqlClient(this, statement =>
      this.#guest(client).within(statement, it => this.#run(lease, it)));
  }

  async listen (channel, onPayload, onReconnect) {
    this._checkOpen();
    return this.#listener.listen(channel, onPayload, onReconnect);
  }

  /**
   * Makes sure that connections are sessions, before any is changed that may be somebody else's.
   * @throws {StoreError} ERR_STORE_POOLER
   */
  async checkSessions () {
    const clients = [];
    let isBroken = true;
    try {
      await checkSessions(async () => {
        clients.push(await this.#lease());
        return clients.at(-1);
      }, (client, statement) => this.#ask(client, statement));
      isBroken = false;
    } finally {
      for (const client of clients) this.#release(client, isBroken);
    }
  }

  async _retire () { return this.#listener.close(); }

  async _close () {
    if (this.#isOwn) {
      // What is still under way has as long as any statement, and is then cut off.
      const timer = setTimer(() => {
        for (const { client } of this.#leases) client.connection.stream.destroy();
      }, this._timeout);
      await this.#pool.end();
      clearTimer(timer);
    } else {
      this.#pool.off('error', this.#onPoolError);
    }
  }

  /** A client whose session is as it has to be. */
  async #connect (isLate) {
    const client = await this.#lease(isLate);
    if (!this.#isOwn || this.#taken.has(client)) return client;
    try {
      await takeOver(statement => this.#ask(client, statement), {
        statement_timeout: this._timeout,
        // For a process that has vanished. A living one is watched by `_transact`.
        idle_in_transaction_session_timeout: 2 * IDLE_MS,
      });
    } catch (error) {
      this.#release(client, true);
      throw error;
    }
    this.#taken.add(client);
    return client;
  }

  /** A client as the pool has it. */
  async #lease (isLate) {
    this._checkOpen(isLate);
    let client;
    try {
      client = await this.#pool.connect();
    } catch (error) {
      throw storeError(error, true);
    }
    if (!this.#watched.has(client)) {
      this.#watched.add(client);
      client.on('error', this.#onError);
    }
    return client;
  }

  #release (client, isBroken) {
    client.release(isBroken);
    // A peer that no longer answers would not even answer the end of the connection.
    if (isBroken) client.connection?.stream?.destroy();
  }

  async #use (work, isLate) {
    const lease = { client: await this.#connect(isLate), isBroken: false };
    this.#leases.add(lease);
    try {
      return await work(lease);
    } finally {
      this.#leases.delete(lease);
      this.#release(lease.client, lease.isBroken);
    }
  }

  async #run (lease, statement, timeout) {
    try {
      return await this.#ask(lease.client, statement, timeout);
    } catch (error) {
      // A transaction that cannot be rolled back must not go back to the pool.
      lease.isBroken ||= breaksConnection(error) || statement.text === 'ROLLBACK';
      throw error;
    }
  }

  async #ask (client, { name, text, values }, timeout = this._timeout) {
    try {
      const answer = await client.query({
        name, text, values, types: TYPES, query_timeout: timeout,
      });
      // Of several statements the last one's answer counts.
      const { rows, rowCount, command } = Array.isArray(answer) ? answer.at(-1) : answer;
      return { rows, rowCount: rowCount ?? 0, command };
    } catch (cause) {
      throw storeError(cause);
    }
  }
}

module.exports = { PgDatabase };
