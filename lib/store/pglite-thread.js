'use strict';

// The near end of the thread in which PGlite runs.

const path = require('node:path');
const { Worker } = require('node:worker_threads');

const { SekeringError } = require('../base/errors');
const { readerOf } = require('./sql-text');
const { StoreError } = require('./store-errors');

const WORKER = path.join(__dirname, 'pglite-worker.js');

/** The rows as objects. */
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

// Shared by all threads of this process, as compiling it takes longer than all else.
let compiled;

class PgliteThread {
  #worker;
  #pending = new Map();
  #lastId = 0;
  #end;

  /**
   * @param {{ directory?: string, onNotification: (message: object) => void,
   *   onEnd: () => void }} options
   */
  constructor ({ directory, onNotification, onEnd }) {
    this.#worker = new Worker(WORKER, {
      workerData: { directory, engine: compiled },
      // What the user wants to be loaded first has no place there.
      execArgv: [],
    });
    /** Fulfils when PGlite has started. */
    this.ready = new Promise((resolve, reject) => {
      this.#pending.set('ready', { resolve, reject });
    });
    this.#worker.on('message', message => {
      if (message.channel !== undefined) onNotification(message);
      else this.#settle(message);
    });
    this.#worker.on('error', error => {
      this.#end ??= failure(error, !this.#pending.has('ready'));
    });
    this.#worker.on('exit', () => {
      this.#end ??= ended('its thread has ended');
      for (const { reject } of this.#pending.values()) reject(this.#end);
      this.#pending.clear();
      onEnd();
    });
  }

  get hasEnded () { return this.#end !== undefined; }

  #settle ({ isReady, engine, id = isReady && 'ready', fault, ...answer }) {
    compiled ??= engine;
    const call = this.#pending.get(id);
    this.#pending.delete(id);
    // Like an idle connection, an idle thread keeps no process alive.
    if (this.#pending.size === 0) this.#worker.unref();
    if (fault !== undefined) call.reject(Object.assign(new Error(fault.message), fault));
    else call.resolve(isReady || answer.names === undefined ? undefined : toResult(answer));
  }

  #post (message) {
    return new Promise((resolve, reject) => {
      if (this.hasEnded) {
        reject(this.#end);
        return;
      }
      this.#lastId++;
      this.#pending.set(this.#lastId, { resolve, reject });
      if (this.#pending.size === 1) this.#worker.ref();
      this.#worker.postMessage({ id: this.#lastId, ...message });
    });
  }

  /** @param {{ name?: string, text: string, values?: Array<string|null> }} statement */
  run (statement) { return this.#post({ statement }); }

  /** Ends PGlite in good order, and the thread. */
  async close () {
    await this.#post({ close: true }).catch(() => {});
    await this.#worker.terminate();
  }

  /** Ends the thread whatever it does. */
  async terminate (why) {
    this.#end ??= ended(why);
    await this.#worker.terminate();
  }
}

/** What the thread threw at its end, which has lost its class on the way. */
function failure (error, hasStarted) {
  if (error.code === 'ERR_MISSING_PEER') return new SekeringError(error.code, error.message);
  if (hasStarted) return ended(error.message, error);
  return new StoreError('ERR_STORE_UNREACHABLE',
    `The embedded database does not start: ${error.message}`, { cause: error });
}

const ended = (why, cause) => new StoreError('ERR_STORE_UNREACHABLE',
  `The embedded database stopped: ${why}`, { retryable: true, cause });

module.exports = { PgliteThread };
