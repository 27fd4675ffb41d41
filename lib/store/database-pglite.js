'use strict';

// PGlite: PostgreSQL within the process, in a folder or in memory, for one process. It runs in a
// thread (./pglite-worker), and has one session, so transactions and statements take turns.
//
// Deadlines here are real time even under a virtual clock, as the database lives in real time.

const fs = require('node:fs');
const path = require('node:path');
const { Worker } = require('node:worker_threads');

const { setTimer } = require('../base/clock');
const { SekeringError, invalidOption } = require('../base/errors');
const { isA, messageOf, read } = require('../base/foreign');
const { Channels } = require('./database-listener');
const { takeOver } = require('./database-session');
const { lockDirectory } = require('./pglite-lock');
const { Database, READ_ONLY, checkWritable, quote, readerOf } = require('./sql-client');
const { StoreError, storeError } = require('./store-errors');

// The very first start makes an empty database.
const START_TIMEOUT_MS = 120_000;

const LISTEN_AGAIN_MS = 500;

const gone = (message, cause) =>
  new StoreError('ERR_STORE_UNREACHABLE', message, { retryable: true, cause });

// ---- The thread --------------------------------------------------------------------------------

const WORKER = path.join(__dirname, 'pglite-worker.js');
// The id of the worker's first answer, which says that PGlite has started.
const START = 0;

// The engine, compiled once for all threads of this process, as that takes longer than all else.
let compiled;

/** The rows of the worker's answer as objects. */
function toResult ({ names, types, rows, tag }) {
  const readers = types.map(readerOf);
  const words = tag.split(' ');
  return {
    rows: rows.map(fields => {
      const row = {};
      for (let i = 0; i < names.length; i++) {
        row[names[i]] = fields[i] === null ? null : readers[i](fields[i]);
      }
      return row;
    }),
    rowCount: Number(words.at(-1)) || 0,
    command: words[0],
  };
}

/** One life of PGlite, in a thread of its own. */
class PgliteThread {
  #worker;
  #pending = new Map();
  #lastId = START;
  #end;

  /**
   * @param {{ directory?: string, onNotification: (message: object) => void,
   *   onEnd: () => void }} options
   */
  constructor ({ directory, onNotification, onEnd }) {
    this.#worker = new Worker(WORKER, {
      workerData: { directory, engine: compiled },
      // The user's --require and --import have no place there.
      execArgv: [],
    });
    /** Fulfils when PGlite has started. */
    this.ready = this.#answerTo(START);
    this.#worker.on('message', message => {
      if (message.channel !== undefined) onNotification(message);
      else this.#settle(message);
    });
    this.#worker.on('error', error => {
      this.#end ??= failure(error, !this.#pending.has(START));
    });
    this.#worker.on('exit', () => {
      this.#end ??= ended('its thread has ended');
      for (const { reject } of this.#pending.values()) reject(this.#end);
      this.#pending.clear();
      onEnd();
    });
  }

  get hasEnded () { return this.#end !== undefined; }

  #answerTo (id) {
    return new Promise((resolve, reject) => { this.#pending.set(id, { resolve, reject }); });
  }

  #settle ({ id, engine, fault, ...answer }) {
    compiled ??= engine;
    const call = this.#pending.get(id);
    this.#pending.delete(id);
    // Like an idle connection, an idle thread keeps no process alive.
    if (this.#pending.size === 0) this.#worker.unref();
    if (fault !== undefined) call.reject(Object.assign(new Error(fault.message), fault));
    else call.resolve(answer.names && toResult(answer));
  }

  async #post (message) {
    if (this.hasEnded) throw this.#end;
    this.#lastId++;
    const answer = this.#answerTo(this.#lastId);
    if (this.#pending.size === 1) this.#worker.ref();
    this.#worker.postMessage({ id: this.#lastId, ...message });
    return answer;
  }

  /** @param {{ name?: string, text: string, values?: Array<string|null> }} statement */
  run (statement) { return this.#post({ statement }); }

  /** Ends PGlite in good order, and the thread. */
  async close () {
    await this.#post({ close: true }).catch(() => {});
    await this.#worker.terminate();
  }

  /** Ends the thread, whatever it is doing. */
  async terminate (why) {
    this.#end ??= ended(why);
    await this.#worker.terminate();
  }
}

/** What ended the thread. Errors lose their class on the way out of it. */
function failure (error, hasStarted) {
  const code = read(error, 'code');
  if (code === 'ERR_MISSING_PEER') return new SekeringError(code, messageOf(error));
  if (hasStarted) return ended(messageOf(error), error);
  return new StoreError('ERR_STORE_UNREACHABLE',
    `The embedded database does not start: ${messageOf(error)}`, { cause: error });
}

const ended = (why, cause) => gone(`The embedded database stopped: ${why}`, cause);

// ---- Turns -------------------------------------------------------------------------------------

/** One at a time, first come, first served. */
class Turns {
  #isTaken = false;
  #line = new Set();

  /**
   * Fulfils when it is the caller's turn, which ends by `give`.
   * @param {number} timeout ms to wait for it
   * @param {() => Error} onTimeout makes the rejection
   */
  take (timeout, onTimeout) {
    if (!this.#isTaken) {
      this.#isTaken = true;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const waiter = () => {
        clearTimeout(timer);
        resolve();
      };
      this.#line.add(waiter);
      const timer = setTimeout(() => {
        this.#line.delete(waiter);
        reject(onTimeout());
      }, timeout);
    });
  }

  give () {
    const [next] = this.#line;
    if (next === undefined) {
      this.#isTaken = false;
      return;
    }
    this.#line.delete(next);
    next();
  }
}

// ---- Upkeep ------------------------------------------------------------------------------------

// Changed rows after which the tables of the schema are vacuumed.
const CHANGES_PER_VACUUM = 20_000;
// Every so often the catalogs are, too: their transaction numbers must not get too old.
const VACUUMS_PER_ROUND = 100;
// Changed rows, where a statement counts for many, between looks at the length of the log.
const WORK_PER_LOOK = 4000;
const WORK_PER_STATEMENT = 20;
const LOG_BYTES_MAX = 64 * 1024 * 1024;

const UPKEEP_TIMEOUT_MS = 600_000;

const LOG_BYTES = {
  name: 'log_bytes',
  text: 'SELECT (pg_current_wal_lsn() - redo_lsn)::float8 AS bytes FROM pg_control_checkpoint()',
};

/**
 * Does what a server's background processes do: it vacuums, and cuts the log, all of which is read
 * after a kill.
 */
class Upkeep {
  #database;
  #run;
  #changes = 0;
  #work = 0;
  #vacuums = 0;
  #isRunning = false;

  /**
   * @param {PgliteDatabase} database
   * @param {(text: string) => Promise<object>} run takes a turn of its own, with time enough
   */
  constructor (database, run) {
    this.#database = database;
    this.#run = run;
  }

  /** Notes the result of a statement. */
  note ({ command, rowCount }) {
    if (command === 'SELECT') return;
    this.#changes += rowCount;
    this.#work += rowCount + WORK_PER_STATEMENT;
  }

  get isDue () {
    return !this.#isRunning &&
      (this.#changes >= CHANGES_PER_VACUUM || this.#work >= WORK_PER_LOOK);
  }

  async run () {
    this.#isRunning = true;
    try {
      if (this.#changes >= CHANGES_PER_VACUUM) await this.#vacuum();
      if (this.#work >= WORK_PER_LOOK) await this.#cutLog();
    } finally {
      this.#isRunning = false;
    }
  }

  async #vacuum () {
    this.#changes = 0;
    this.#vacuums++;
    const { schema } = this.#database;
    const { rows } = await this.#database.query(
      `SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace($1) AND relkind = 'r'`,
      [schema]);
    // Table by table, so that others have their turns in between.
    for (const { relname } of rows) await this.#run(`VACUUM (ANALYZE) ${schema}.${quote(relname)}`);
    if (this.#vacuums % VACUUMS_PER_ROUND === 0) await this.#run('VACUUM');
  }

  async #cutLog () {
    this.#work = 0;
    const { rows: [{ bytes }] } = await this.#database.query(LOG_BYTES);
    if (bytes >= LOG_BYTES_MAX) await this.#run('CHECKPOINT');
  }
}

// ---- The database ------------------------------------------------------------------------------

class PgliteDatabase extends Database {
  engine = 'pglite';
  #directory;
  #lock;
  #thread;
  #starting;
  #turns = new Turns();
  #channels = new Channels();
  #upkeep = new Upkeep(this, text =>
    this.#inTurn(thread => this.#run(thread, { text }, UPKEEP_TIMEOUT_MS)));

  constructor (options) {
    super(options);
    this.#directory = options.directory;
    this.#lock = options.lock;
    if (this.#lock !== undefined) this.#lock.onLost = () => this.#loseFolder();
  }

  /**
   * This process was suspended, and another one has taken the folder: nothing more may be written.
   */
  #loseFolder () {
    this.#thread?.terminate('another process uses its folder');
    this._onWarning(this.#lock.error);
  }

  async query (query, values, isLate) {
    const statement = this._statement(query, values);
    return this.#inTurn(thread => this.#run(thread, statement), isLate);
  }

  async transaction (work, { timeout = this._timeout } = {}) {
    return this.#inTurn(thread => this._transact(
      statement => this.#run(thread, statement, timeout), work));
  }

  /** There is one session, so nobody else can be in a transaction. */
  _wrap (client) {
    throw invalidOption('client', 'a client of store.transaction', client);
  }

  async listen (channel, onPayload, onReconnect) {
    this._checkOpen();
    const listener = { onPayload, onReconnect };
    const isFirst = this.#channels.add(channel, listener);
    if (isFirst && !await this.#hear(channel)) this.#hearLater(channel);
    return async () => {
      if (!this.#channels.remove(channel, listener) || this._isClosing) return;
      // If this fails, there are notifications that nobody gets.
      await this.query(`UNLISTEN ${quote(channel)}`).catch(() => {});
    };
  }

  /** @returns {Promise<boolean>} false if it is worth another attempt, as on PostgreSQL */
  async #hear (channel) {
    try {
      await this.query(`LISTEN ${quote(channel)}`);
      return true;
    } catch (error) {
      this._onWarning(error);
      return !read(error, 'retryable');
    }
  }

  #hearLater (channel) {
    setTimer(async () => {
      if (!this.#channels.has(channel) || this._isClosing) return;
      if (await this.#hear(channel)) this.#channels.reconnected([channel]);
      else this.#hearLater(channel);
    }, LISTEN_AGAIN_MS, false);
  }

  /** There is one session, and nothing in between. */
  async checkSessions () {}

  async checkWritable () { checkWritable(await this.query(READ_ONLY)); }

  /** No listener gets notifications any more. */
  async _retire () { this.#channels = new Channels(); }

  /** What is still under way has as long as any statement, and is then cut off. */
  async _close () {
    await this.#turns.take(this._timeout, () => new StoreError('ERR_STORE_CLOSED')).catch(() => {});
    // A database in memory is gone anyway.
    if (this.#directory === undefined) await this.#thread.terminate('it was closed');
    else await this.#within(this.#thread, this.#thread.close(), this._timeout).catch(() => {});
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
      onNotification: message => this.#channels.notify(message),
      onEnd: () => { this.#onEnd(thread); },
    });
    try {
      await this.#within(thread, thread.ready, START_TIMEOUT_MS);
      // A folder may have settings of its own.
      await takeOver(statement => thread.run(statement));
      for (const channel of this.#channels.names) {
        await thread.run({ text: `LISTEN ${quote(channel)}` });
      }
    } catch (error) {
      await thread.terminate('it did not start');
      throw error;
    }
    this.#thread = thread;
    this.#channels.reconnected();
  }

  #onEnd (thread) {
    if (this.#thread !== thread || this._isClosing || this.#lock?.isLost) return;
    this._onWarning(gone(this.#directory === undefined
      ? 'The embedded database stopped, and what was in memory is lost'
      : 'The embedded database stopped, and starts again'));
  }

  #checkFolder () {
    if (this.#lock?.isLost) throw this.#lock.error;
  }

  async #inTurn (work, isLate) {
    this._checkOpen(isLate);
    await this.#turns.take(this._timeout, busy);
    try {
      this._checkOpen(isLate);
      this.#checkFolder();
      if (this.#thread.hasEnded) await this.#restart();
      return await work(this.#thread);
    } finally {
      this.#turns.give();
      if (this.#upkeep.isDue && !this._isClosing) this.#keepUp();
    }
  }

  async #restart () {
    if (this.#directory === undefined) {
      throw new StoreError('ERR_STORE_UNREACHABLE',
        'The embedded database has stopped, and what was in memory is lost');
    }
    try {
      // Never two in one folder: the one that was cut off may still be writing.
      await this.#thread.terminate();
      await this.start();
    } catch (cause) {
      // It has started before, and will again, for instance once there is room on the disk.
      throw new StoreError(read(cause, 'code'), messageOf(cause), { cause, retryable: true });
    }
  }

  async #run (thread, statement, timeout = this._timeout) {
    // The process may have been suspended within a transaction.
    this.#checkFolder();
    try {
      const result = await this.#within(thread, thread.run(statement), timeout);
      this.#upkeep.note(result);
      return result;
    } catch (error) {
      throw storeError(error);
    }
  }

  /** A busy thread cannot be asked to stop, so it is ended. What it has not committed is undone. */
  async #within (thread, promise, timeout) {
    let timer;
    const late = new Promise((resolve, reject) => {
      timer = setTimeout(() => {
        reject(gone(`The embedded database took longer than ${timeout} ms`));
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
      if (!this._isClosing) this._onWarning(error);
    }
  }
}

const busy = () => gone('The embedded database was busy for too long. Within store.transaction, ' +
  'use its client');

// ---- Opening -----------------------------------------------------------------------------------

function warnInProduction () {
  if (process.env.NODE_ENV !== 'production') return;
  process.emitWarning('sekering/store runs on the embedded PGlite, which is for one process on ' +
    'one host. Pass the url of a PostgreSQL when there are more.',
  { type: 'SekeringWarning', code: 'SEKERING_PGLITE' });
}

/** Makes the folder if there is none, and makes sure that no other process uses it. */
async function takeDirectory (directory) {
  try {
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    return await lockDirectory(directory);
  } catch (cause) {
    if (isA(cause, StoreError)) throw cause;
    throw new StoreError('ERR_STORE_UNREACHABLE',
      `Cannot use the folder ${directory}: ${read(cause, 'code')}`, { cause });
  }
}

/**
 * @param {{ directory?: string }} settings of openDatabase; without a directory it is in memory
 * @returns {Promise<PgliteDatabase>}
 */
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
