'use strict';

// PostgreSQL through pg. Whatever happens to a connection becomes a rejection or a warning: pg
// emits 'error' on a client that nobody is using, which would end the process.

const { clearTimer, setTimer } = require('../base/clock');
const { invalidOption } = require('../base/errors');
const { requirePeer } = require('../base/peer');
const { Listener } = require('./database-listener');
const { checkSessions, isDirect } = require('./database-pooler');
const { BEGIN, BEGIN_AS_GUEST, GuestSession, mendPath, takeOver } = require('./database-session');
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
  /** Clients of our own pool whose sessions are as they have to be. */
  #taken = new WeakSet();
  /** By client of the user's. */
  #guests = new WeakMap();
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
    return this.#use(async lease => {
      if (this.#isOwn || await this.#isPlain(lease)) return this.#run(lease, statement);
      return this.#transact(lease, client => client.query(text, values));
    });
  }

  async transaction (work, { timeout = this.#timeout } = {}) {
    return this.#use(lease => this.#transact(lease, async client => {
      if (timeout !== this.#timeout) {
        await client.query(`SET LOCAL statement_timeout = ${timeout}`);
      }
      return work(client);
    }, timeout));
  }

  async #transact (lease, work, timeout = this.#timeout) {
    return runTransaction(this, statement => this.#run(lease, statement, timeout), work,
      this.#isOwn ? BEGIN : BEGIN_AS_GUEST);
  }

  async #isPlain (lease) {
    try {
      return await this.#guest(lease).isPlain();
    } catch (error) {
      lease.isBroken = true;
      throw error;
    }
  }

  #guest (lease) {
    const { client } = lease;
    if (!this.#guests.has(client)) {
      this.#guests.set(client, new GuestSession(client, statement => this.#ask(client, statement)));
    }
    return this.#guests.get(client);
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
    const lease = { client };
    return new SqlClient(this, statement =>
      this.#guest(lease).within(statement, it => this.#run(lease, it)));
  }

  async listen (channel, onPayload, onReconnect) {
    this.#checkOpen();
    return this.#listener.listen(channel, onPayload, onReconnect);
  }

  /**
   * Makes sure that connections are sessions, before any is changed that may be somebody else's.
   * @throws {StoreError} ERR_STORE_POOLER
   */
  async checkSessions () {
    const clients = [];
    const ask = (client, statement) => this.#ask(client, statement);
    let isBroken = true;
    try {
      clients.push(await this.#lease());
      if (!await isDirect(clients[0], ask)) {
        clients.push(await this.#lease());
        await checkSessions(...clients, ask);
      }
      isBroken = false;
    } finally {
      for (const client of clients) this.#release(client, isBroken);
    }
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
    const client = await this.#lease();
    if (this.#isOwn && !this.#taken.has(client)) {
      try {
        await this.#takeOver(client);
      } catch (error) {
        this.#release(client, true);
        throw error;
      }
    }
    return client;
  }

  async #takeOver (client) {
    const { rows: [{ path }] } = await this.#ask(client, { text: takeOver({
      statement_timeout: this.#timeout,
      // Of a process that has vanished; a living one is watched in runTransaction.
      idle_in_transaction_session_timeout: 2 * IDLE_MS,
    }) });
    const mended = mendPath(path, quote);
    if (mended !== undefined) await this.#ask(client, { text: mended });
    this.#taken.add(client);
  }

  /** A client of the pool as it is there. */
  async #lease () {
    this.#checkOpen();
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

  async #run (lease, statement, timeout) {
    try {
      return await this.#ask(lease.client, statement, timeout);
    } catch (error) {
      // A transaction that cannot be rolled back must not go back to the pool.
      lease.isBroken ||= breaksConnection(error) || statement.text === 'ROLLBACK';
      throw error;
    }
  }

  async #ask (client, { name, text, values }, timeout = this.#timeout) {
    try {
      const answer = await client.query({
        name, text, values, types: TYPES, query_timeout: timeout,
      });
      // Of several statements the last one's counts.
      const { rows, rowCount, command } = Array.isArray(answer) ? answer.at(-1) : answer;
      return { rows, rowCount: rowCount ?? 0, command };
    } catch (cause) {
      throw storeError(cause);
    }
  }
}

module.exports = { PgDatabase };
