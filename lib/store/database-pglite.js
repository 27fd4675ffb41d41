'use strict';

// PGlite: PostgreSQL within the process, in a folder or in memory, for one process. It has one
// session, so transactions and statements take turns.

const fs = require('node:fs');
const path = require('node:path');

const { setTimer } = require('../base/clock');
const { invalidOption } = require('../base/errors');
const { guarded } = require('../base/warn');
const { takeOver } = require('./database-session');
const { lockDirectory } = require('./pglite-lock');
const { PgliteThread } = require('./pglite-thread');
const { Upkeep } = require('./pglite-upkeep');
const { SqlClient, healthOf, prefixOf, runTransaction, toStatement } = require('./sql-client');
const { quote } = require('./sql-text');
const { StoreError, storeError } = require('./store-errors');
const { Turns } = require('./turns');

// A first start ever makes an empty database.
const START_TIMEOUT_MS = 120_000;

const LISTEN_AGAIN_MS = 500;

class PgliteDatabase {
  engine = 'pglite';
  #directory;
  #timeout;
  #onWarning;
  #lock;
  #thread;
  #starting;
  #closing;
  #turns = new Turns();
  /** channel → the set of those who listen. */
  #channels = new Map();
  #upkeep = new Upkeep(this, (text, timeout) =>
    this.#inTurn(thread => this.#run(thread, { text }, timeout)));

  constructor ({ directory, schema, timeout, onWarning, lock }) {
    this.schemaName = schema;
    this.schema = quote(schema);
    this.prefix = prefixOf(schema);
    this.#directory = directory;
    this.#timeout = timeout;
    this.#onWarning = onWarning;
    this.#lock = lock;
  }

  async query (text, values) {
    const statement = toStatement(text, values, this.prefix);
    return this.#inTurn(thread => this.#run(thread, statement));
  }

  async transaction (work, { timeout = this.#timeout } = {}) {
    return this.#inTurn(thread => runTransaction(this,
      statement => this.#run(thread, statement, timeout), work));
  }

  /** There is one session, so nobody else can be in a transaction. */
  wrap (client) {
    if (client instanceof SqlClient && client.database === this) return client;
    throw invalidOption('client', 'what store.transaction gives', client);
  }

  async listen (channel, onPayload, onReconnect) {
    const entry = { onPayload, onReconnect };
    const others = this.#channels.get(channel);
    if (others === undefined) this.#channels.set(channel, new Set([entry]));
    else others.add(entry);
    if (this.#closing !== undefined) throw closed();
    if (others === undefined && !await this.#hear(channel)) this.#hearLater(channel);
    return async () => {
      const entries = this.#channels.get(channel);
      if (!entries?.delete(entry) || entries.size > 0) return;
      this.#channels.delete(channel);
      if (this.#closing !== undefined) return;
      // Nobody is told of what is heard all the same.
      await this.query(`UNLISTEN ${quote(channel)}`).catch(() => {});
    };
  }

  /** As on PostgreSQL: others follow a first attempt that has failed. */
  async #hear (channel) {
    try {
      await this.query(`LISTEN ${quote(channel)}`);
      return true;
    } catch (error) {
      this.#onWarning(error);
      return !error.retryable;
    }
  }

  #hearLater (channel) {
    setTimer(async () => {
      const entries = this.#channels.get(channel);
      if (entries === undefined || this.#closing !== undefined) return;
      if (await this.#hear(channel)) tellAll([entries]);
      else this.#hearLater(channel);
    }, LISTEN_AGAIN_MS, false);
  }

  /** There is one session, and nothing in between. */
  async checkSessions () {}

  async health () { return healthOf(this); }

  async close () {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Whoever still works gets as long as any statement, and is then cut off. */
  async #close () {
    await this.#turns.take(this.#timeout, closed).catch(() => {});
    // What is in memory needs no good order.
    if (this.#directory === undefined) await this.#thread.terminate('it was closed');
    else await this.#within(this.#thread, this.#thread.close(), this.#timeout).catch(() => {});
    this.#lock?.release();
  }

  /** Starts PGlite, again if it has ended. */
  async start () {
    this.#starting ??= this.#start().finally(() => { this.#starting = undefined; });
    return this.#starting;
  }

  async #start () {
    const thread = new PgliteThread({
      directory: this.#directory,
      onNotification: message => this.#tell(message),
      onEnd: () => { this.#onEnd(thread); },
    });
    try {
      await this.#within(thread, thread.ready, START_TIMEOUT_MS);
      // A folder may have settings of its own.
      await thread.run({ text: takeOver() });
      for (const channel of this.#channels.keys()) {
        await thread.run({ text: `LISTEN ${quote(channel)}` });
      }
    } catch (error) {
      await thread.terminate('it did not start');
      throw error;
    }
    this.#thread = thread;
    tellAll([...this.#channels.values()]);
  }

  #onEnd (thread) {
    if (this.#thread !== thread || this.#closing !== undefined) return;
    this.#onWarning(new StoreError('ERR_STORE_UNREACHABLE', this.#directory === undefined
      ? 'The embedded database stopped, and what was in memory is lost'
      : 'The embedded database stopped, and starts again', { retryable: true }));
  }

  #tell ({ channel, payload }) {
    for (const { onPayload } of this.#channels.get(channel) ?? []) {
      guarded('A listener of the database failed', () => onPayload(payload));
    }
  }

  async #inTurn (work) {
    if (this.#closing !== undefined) throw closed();
    await this.#turns.take(this.#timeout, busy);
    try {
      if (this.#closing !== undefined) throw closed();
      if (this.#thread.hasEnded) await this.#restart();
      return await work(this.#thread);
    } finally {
      this.#turns.give();
      if (this.#upkeep.isDue && this.#closing === undefined) this.#keepUp();
    }
  }

  async #restart () {
    if (this.#directory === undefined) {
      throw new StoreError('ERR_STORE_UNREACHABLE',
        'The embedded database has stopped, and what was in memory is lost');
    }
    try {
      // Never two in one folder: the one that was cut off may still be in the midst of a write.
      await this.#thread.terminate();
      await this.start();
    } catch (cause) {
      // It could once, and will when there is room on the disk again, say.
      throw new StoreError(cause.code, cause.message, { cause, retryable: true });
    }
  }

  async #run (thread, statement, timeout = this.#timeout) {
    try {
      const result = await this.#within(thread, thread.run(statement), timeout);
      this.#upkeep.note(result);
      return result;
    } catch (error) {
      throw storeError(error);
    }
  }

  /** A thread that is at work cannot be asked to stop; what it has not committed is undone. */
  async #within (thread, promise, timeout) {
    let timer;
    const late = new Promise((resolve, reject) => {
      timer = setTimeout(() => {
        reject(new StoreError('ERR_STORE_UNREACHABLE',
          `The embedded database took longer than ${timeout} ms`, { retryable: true }));
        if (this.#directory !== undefined) thread.terminate('a statement took too long');
      }, timeout);
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #keepUp () {
    try {
      await this.#upkeep.run();
    } catch (error) {
      if (this.#closing === undefined) this.#onWarning(error);
    }
  }
}

/** Something may have been missed. */
function tellAll (sets) {
  for (const { onReconnect } of sets.flatMap(set => [...set])) {
    if (onReconnect) guarded('A listener of the database failed', onReconnect);
  }
}

const closed = () => new StoreError('ERR_STORE_CLOSED', 'The store has been closed');

const busy = () => new StoreError('ERR_STORE_UNREACHABLE', 'The embedded database was busy for ' +
  'too long; what is done within store.transaction goes through its client', { retryable: true });

function warnInProduction () {
  if (process.env.NODE_ENV !== 'production') return;
  process.emitWarning('sekering/store runs on the embedded PGlite: for one process and one host ' +
    'only. Give it the url of a PostgreSQL when there are more.',
  { type: 'SekeringWarning', code: 'SEKERING_PGLITE' });
}

/** Makes the folder, if it is one, and makes sure that it is ours alone. */
async function takeDirectory (directory) {
  try {
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    return await lockDirectory(directory);
  } catch (cause) {
    if (cause instanceof StoreError) throw cause;
    throw new StoreError('ERR_STORE_UNREACHABLE',
      `The folder ${directory} cannot be used: ${cause.code}`, { cause });
  }
}

/** @param {{ directory?: string }} settings without a directory it is in memory */
async function openPglite (settings) {
  warnInProduction();
  const directory = settings.directory && path.resolve(settings.directory);
  const lock = directory && await takeDirectory(directory);
  const database = new PgliteDatabase({ ...settings, directory, lock });
  try {
    await database.start();
  } catch (error) {
    lock?.release();
    throw error;
  }
  return database;
}

module.exports = { openPglite };
