'use strict';

// PostgreSQL through pg. Whatever happens to a connection becomes a rejection or a warning: pg
// emits 'error' on idle clients, which would end the process.

const { clearTimer, setTimer } = require('../base/clock');
const { invalidOption } = require('../base/errors');
const { messageOf } = require('../base/foreign');
const { requirePeer } = require('../base/peer');
const { renewing, unreadableIn } = require('./database-certificates');
const { Listener, Poller } = require('./database-listener');
const {
  GuestSession, beginAsGuest, beginPooled, haveSessions, readCommitted, takeOver
} = require('./database-session');
const {
  BEGIN, Database, IDLE_MS, READ_ONLY, SqlClient, checkWritable, readerOf
} = require('./sql-client');
const { StoreError, breaksConnection, storeError } = require('./store-errors');

const FEATURE = 'sekering/store on PostgreSQL';

const TYPES = { getTypeParser: readerOf };

// PgBouncer's error in statement mode.
const NO_TRANSACTIONS = /statement pooling mode/;

// One for LISTEN, and one to check that it is a session.
const DIRECT_CONNECTIONS = 2;

/** What pg would encode, but twice if there are escapes already. */
const encoded = url => url.replace(/%(?![\da-f]{2})/gi, '%25').replaceAll(' ', '%20');

/** A pool of ours. Idle connections do not keep the process alive. */
function makePool (option, url, connections, timeout) {
  const { Client: PgClient, Pool } = requirePeer('pg', FEATURE);
  const Client = renewing(PgClient);
  const options = {
    connectionString: encoded(url),
    max: connections,
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
    throw invalidOption(option, `an address that pg can parse${unreadableIn(url)}`, {});
  }
  return new Pool({ ...options, Client });
}

class PgDatabase extends Database {
  engine = 'postgresql';
  #pool;
  #isOwn;
  /** Connections that bypass a pooler, for LISTEN. */
  #direct;
  #listener;
  #watched = new WeakSet();
  /** Clients of our own pool whose sessions are set up. */
  #taken = new WeakSet();
  /** GuestSessions by client of the user's. */
  #guests = new WeakMap();
  #leases = new Set();

  constructor (options) {
    super(options);
    const { url, directUrl, pool, connections, timeout, onWarning } = options;
    this.#isOwn = pool === undefined;
    // One more than requested: it is used for LISTEN.
    this.#pool = pool ?? makePool('url', url, connections + 1, timeout);
    this.#pool.on('error', this.#onPoolError);
    this.#direct = directUrl && makePool('directUrl', directUrl, DIRECT_CONNECTIONS, timeout);
    this.#direct?.on('error', this.#onPoolError);
    this.#listener = new Listener({
      connect: () => (this.#direct ? this.#connectTo(this.#direct) : this.#connect()),
      timeout, onWarning, disconnect: client => this.#release(client, true),
    });
  }

  /** Settings that the store's own sessions need besides the format of values. */
  get #limits () {
    return {
      statement_timeout: this._timeout,
      // For a process that has vanished. `_transact` watches those of a living process.
      idle_in_transaction_session_timeout: 2 * IDLE_MS,
    };
  }

  #onError = error => this._onWarning(storeError(error));
  // The errors of an idle client are emitted by both.
  #onPoolError = (error, client) => { if (!this.#watched.has(client)) this.#onError(error); };

  async query (query, values, isLate) {
    const statement = this._statement(query, values);
    return this.#use(async lease => {
      const isReady = !this.isPooled && (this.#isOwn || await this.#isPlain(lease));
      if (isReady) return this.#run(lease, statement);
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
    return this._transact(statement => this.#run(lease, statement, timeout), work, this.#begin);
  }

  get #begin () {
    if (this.isPooled) return beginPooled(this.#limits);
    return this.#isOwn ? BEGIN : beginAsGuest(this.#limits);
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
      this.#guests.set(client, new GuestSession(client,
        statement => this.#ask(client, statement), this._timeout));
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
   * Finds out whether connections are sessions, before it changes one that others may share.
   * @throws {StoreError} ERR_STORE_POOLER in a pooler's statement mode
   */
  async checkSessions () {
    this.isPooled = !await this.#haveSessions(this.#pool);
    if (this.#direct !== undefined && !await this.#haveSessions(this.#direct)) {
      throw invalidOption('directUrl', 'an address that bypasses the pooler', {});
    }
    if (!this.isPooled) return;
    try {
      await this.transaction(client => client.query('SELECT 1'));
    } catch (error) {
      if (NO_TRANSACTIONS.test(messageOf(error))) throw new StoreError('ERR_STORE_POOLER');
      throw error;
    }
    if (this.#direct !== undefined) return;
    const deaf = new StoreError('ERR_STORE_DEAF');
    this.#listener = new Poller(() => this._onWarning(deaf));
  }

  /**
   * A connection that can only read is given up: the next one may lead to a server that was
   * promoted meanwhile.
   * @throws {StoreError} ERR_STORE_READ_ONLY
   */
  async checkWritable () {
    return this.#use(async lease => {
      lease.isBroken = true;
      checkWritable(await this.#ask(lease.client, { text: readCommitted(READ_ONLY) }));
      lease.isBroken = false;
    });
  }

  async #haveSessions (pool) {
    const clients = [];
    let isBroken = true;
    try {
      const answer = await haveSessions(async () => {
        clients.push(await this.#lease(pool));
        return clients.at(-1);
      }, (client, statement) => this.#ask(client, statement));
      isBroken = false;
      return answer;
    } finally {
      for (const client of clients) this.#release(client, isBroken);
    }
  }

  async _retire () { return this.#listener.close(); }

  async _close () {
    await this.#direct?.end();
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
    return this.#isOwn && !this.isPooled ? this.#connectTo(this.#pool, isLate)
      : this.#lease(this.#pool, isLate);
  }

  /** A client whose session belongs to us. */
  async #connectTo (pool, isLate) {
    const client = await this.#lease(pool, isLate);
    if (this.#taken.has(client)) return client;
    try {
      await takeOver(statement => this.#ask(client, statement), this.#limits);
    } catch (error) {
      this.#release(client, true);
      throw error;
    }
    this.#taken.add(client);
    return client;
  }

  /** A client as the pool has it. */
  async #lease (pool, isLate) {
    this._checkOpen(isLate);
    let client;
    try {
      client = await this.#take(pool);
    } catch (error) {
      throw storeError(error, true);
    }
    return client;
  }

  /**
   * A client that is watched from the first moment. Its connection may end with the same data that
   * begins it, before a promise is handled; an error that nobody hears ends the process.
   */
  #take (pool) {
    return new Promise((resolve, reject) => {
      const onClient = client => {
        if (!this.#watched.has(client)) {
          this.#watched.add(client);
          client.on('error', this.#onError);
        }
        resolve(client);
      };
      const promise = pool.connect((error, client) => (error ? reject(error) : onClient(client)));
      // Another kind of pool may have promises only.
      promise?.then(onClient, reject);
    });
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
        // The next session does not know what another one has prepared.
        name: this.isPooled ? undefined : name,
        text, values, types: TYPES, query_timeout: timeout,
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
