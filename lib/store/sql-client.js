'use strict';

// SQL as all parts of the store use it, on both engines: values, statements, transactions. Values
// travel as text in both directions and are read here, so that they look the same whatever the
// engine, and whatever types the user has set for pg.

const { createHash } = require('node:crypto');

const { clearTimer, now, setTimer } = require('../base/clock');
const { isA, messageOf, promiseOf, read } = require('../base/foreign');
const { is, optionsOf, readable } = require('../base/options');
const { guarded } = require('../base/warn');
const { StoreError } = require('./store-errors');

// ---- Values ------------------------------------------------------------------------------------

/** An identifier as it stands in SQL. */
const quote = name => `"${name.replaceAll('"', '""')}"`;

/** A value as a parameter: text or null. */
function toParameter (value) {
  if (typeof value === 'string') return value;
  if (value === null || value === undefined) return null;
  if (typeof value !== 'object') return String(value);
  if (Array.isArray(value)) return `{${value.map(toElement).join(',')}}`;
  if (value instanceof Uint8Array) {
    return `\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}`;
  }
  // Dates of another realm are no instances of our Date.
  return typeof value.toISOString === 'function' ? value.toISOString() : JSON.stringify(value);
}

function toElement (value) {
  const text = toParameter(value);
  if (text === null) return 'NULL';
  return Array.isArray(value) ? text : `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}

const ISO = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(\.\d+)?([+-]\d\d)(:\d\d)?(:\d\d)?$/;
const BEYOND = /^(-?infinity|\d{5,}-\d\d-\d\d .*|\d{4,}-\d\d-\d\d .* BC)$/;

const HOUR_MS = 3_600_000;
const ZERO = '0'.charCodeAt(0);
// Date.UTC takes years before that for years of the 20th century.
const YEAR_MIN = 100;

/** NaN if there is no digit at this place. */
function digit (text, at) {
  const value = text.charCodeAt(at) - ZERO;
  return value >= 0 && value < 10 ? value : NaN;
}

const twoDigits = (text, at) => 10 * digit(text, at) + digit(text, at + 1);

/** The whole milliseconds of a fraction such as `.123456`, of which there may be none. */
function fractionMs (text, at, end) {
  if (at === end) return 0;
  if (text[at] !== '.' || at + 1 === end) return NaN;
  let ms = 0;
  for (let place = at + 1, weight = 100; place < end; place++, weight /= 10) {
    ms += (place - at <= 3 ? weight : 0) * digit(text, place);
  }
  return ms;
}

/**
 * Reads the usual form, `2026-11-30 18:49:21.123456+07`, digit by digit, which takes a third of the
 * time of a regular expression; NaN for any other.
 */
function usualTime (text) {
  const zone = text.length - 3;
  const sign = text[zone];
  const isUsual = (sign === '+' || sign === '-') && text[4] === '-' && text[7] === '-' &&
    text[10] === ' ' && text[13] === ':' && text[16] === ':';
  if (!isUsual) return NaN;
  const year = 100 * twoDigits(text, 0) + twoDigits(text, 2);
  const [month, day] = [twoDigits(text, 5), twoDigits(text, 8)];
  const [hours, minutes, seconds] =
    [twoDigits(text, 11), twoDigits(text, 14), twoDigits(text, 17)];
  const isTime = year >= YEAR_MIN && month >= 1 && month <= 12 && day >= 1 && day <= 31 &&
    hours < 24 && minutes < 60 && seconds < 60;
  if (!isTime) return NaN;
  const local = Date.UTC(year, month - 1, day, hours, minutes, seconds,
    fractionMs(text, 19, zone));
  const offset = twoDigits(text, zone + 1);
  if (offset >= 24) return NaN;
  return sign === '+' ? local - offset * HOUR_MS : local + offset * HOUR_MS;
}

/** Reads a timestamptz. Infinity and years without four digits fit into no Date and stay text. */
function toDate (text) {
  const usual = usualTime(text);
  if (!Number.isNaN(usual)) return new Date(usual);
  const parts = ISO.exec(text);
  if (parts === null) {
    if (BEYOND.test(text)) return text;
    throw new StoreError('ERR_STORE_VALUE',
      `Cannot read the time ${text}: set the DateStyle of this database session to ISO`);
  }
  const [, day, time, fraction = '', hours, minutes = ':00', seconds] = parts;
  const date = new Date(`${day}T${time}${fraction.slice(0, 4)}${hours}${minutes}`);
  if (seconds === undefined) return date;
  // Time zones of earlier centuries have seconds, which JavaScript does not parse.
  const ms = 1000 * seconds.slice(1);
  return new Date(hours.startsWith('-') ? date.getTime() + ms : date.getTime() - ms);
}

const OCTAL = /\\(\\|[0-7]{3})/g;

/** Reads a bytea. Only the hexadecimal form begins with \x: the other doubles its backslashes. */
function toBytes (text) {
  if (text.startsWith('\\x')) return Buffer.from(text.slice(2), 'hex');
  return Buffer.from(text.replace(OCTAL, (all, code) =>
    (code === '\\' ? code : String.fromCharCode(parseInt(code, 8)))), 'latin1');
}

const asText = text => text;

// By the type's number in pg_type. Others stay text, above all int8, which no number can hold.
const READERS = new Map([
  [16, text => text === 't'],                         // bool
  [17, toBytes],                                      // bytea
  [21, Number], [23, Number], [26, Number],           // int2, int4, oid
  [700, Number], [701, Number],                       // float4, float8
  [114, JSON.parse], [3802, JSON.parse],              // json, jsonb
  [1184, toDate],                                     // timestamptz
]);

/** The function that reads the text of a value of this type. */
const readerOf = type => READERS.get(type) ?? asText;

// ---- Statements --------------------------------------------------------------------------------

const STATEMENT = optionsOf({
  text: is.text('the SQL', { required: true, expected: 'SQL' }),
  values: is.where('one for each $n', 'an array', Array.isArray, { or: [null] }),
  name: is.text('prepares the statement once for each connection'),
});

/** What keeps the names of one schema apart from those of another on the same connection. */
const prefixOf = schema => `${createHash('sha256').update(schema).digest('hex').slice(0, 8)}_`;

// How long a transaction may go without a statement.
const IDLE_MS = 60_000;

/** Stricter levels would make single statements conflict with each other. */
const BEGIN = 'BEGIN ISOLATION LEVEL READ COMMITTED';

const refused = message => new StoreError('ERR_STORE_QUERY', message);

/** Whether the session can only read. Behind it, the server may be another one by the next time. */
const READ_ONLY = `SELECT pg_catalog.pg_is_in_recovery()
  OR pg_catalog.current_setting('transaction_read_only')::boolean AS "isReadOnly"`;

function checkWritable ({ rows: [{ isReadOnly }] }) {
  if (isReadOnly) throw new StoreError('ERR_STORE_READ_ONLY');
}

/** A connection for as long as a transaction lasts. */
class SqlClient {
  #run;
  #hasEnded = false;
  #afterCommit;

  /**
   * @param {Database} database
   * @param {(statement: object) => Promise<{ rows: object[], rowCount: number }>} run
   * @param {Array<() => void>} [afterCommit] if the transaction is ours
   */
  constructor (database, run, afterCommit) {
    this.database = database;
    this.#run = run;
    this.#afterCommit = afterCommit;
  }

  /** As Database.query, within the transaction. */
  async query (query, values) {
    if (this.#hasEnded) throw refused('This transaction has ended');
    return this.#run(this.database._statement(query, values));
  }

  /** Runs several statements without values at once. */
  async script (text) {
    await this.#run({ text });
  }

  /**
   * Calls back once the transaction is committed.
   * @returns {boolean} false if we cannot know when that is, as the transaction is the user's
   */
  onCommit (callback) {
    this.#afterCommit?.push(callback);
    return this.#afterCommit !== undefined;
  }

  end () { this.#hasEnded = true; }
}

/** Notices when a transaction has run no statement for too long: its locks stop all others. */
class Idleness {
  #timer;
  #inFlight = 0;
  #since = now();

  constructor () {
    this.promise = new Promise((resolve, reject) => { this.reject = reject; });
    // The work may have ended by then.
    this.promise.catch(() => {});
    this.#wait(IDLE_MS);
  }

  /** Sets the timer for the earliest moment at which it can be true: one per statement costs. */
  #wait (ms) {
    this.#timer = setTimer(() => {
      const idleMs = this.#inFlight > 0 ? 0 : now() - this.#since;
      if (idleMs < IDLE_MS) this.#wait(IDLE_MS - idleMs);
      else {
        this.reject(refused('A transaction was rolled back because it had run no statement for ' +
          `${IDLE_MS} ms`));
      }
    }, ms, false);
  }

  async during (promise) {
    this.#inFlight++;
    try {
      return await promise;
    } finally {
      this.#inFlight--;
      this.#since = now();
    }
  }

  stop () { clearTimer(this.#timer); }
}

/**
 * What both engines have in common. An engine adds `engine`, `query`, `transaction`, `listen`,
 * `checkSessions`, `checkWritable`, and `_wrap`, `_retire` and `_close`, which `wrap` and `close`
 * call.
 */
class Database {
  /** Whether a pooler may use another session for each transaction. */
  isPooled = false;
  #closing;
  #ending;
  #holds = 0;

  constructor ({ schema, timeout, onWarning }) {
    this.schemaName = schema;
    this.schema = quote(schema);
    this.prefix = prefixOf(schema);
    this._timeout = timeout;
    this._onWarning = onWarning;
  }

  /** A client of this database for one that is in a transaction of the user's. */
  wrap (client) {
    if (isA(client, SqlClient) && client.database === this) return client;
    return readable('client', 'a client that is in a transaction', client,
      () => this._wrap(client));
  }

  /** How the database is, as StoreHealth says. Never rejects. */
  async health () {
    const began = performance.now();
    const answer = { ok: true, engine: this.engine, ...this.isPooled && { pooled: true } };
    try {
      await this.checkWritable();
    } catch (error) {
      const code = read(error, 'code');
      Object.assign(answer, { ok: false, code, error: messageOf(error) });
    }
    return { ...answer, latencyMs: performance.now() - began };
  }

  /**
   * Keeps the connections of a closed database for work that has begun. Other processes would
   * repeat that work if its outcome were lost. It does not keep the process alive. Its queries pass
   * `isLate`.
   * @returns {() => void} releases the connections
   */
  hold () {
    this._checkOpen();
    this.#holds++;
    return () => {
      this.#holds--;
      if (this.#holds === 0 && this._isClosing) this.#end().catch(this._onWarning);
    };
  }

  /** Rejects new calls from now on. Held connections are closed when they are released. */
  async close () {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close () {
    await this._retire();
    if (this.#holds === 0) await this.#end();
  }

  #end () { return (this.#ending ??= this._close()); }

  get _isClosing () { return this.#closing !== undefined; }

  /** @param {boolean} [isLate] whether the call belongs to work for which hold() was called */
  _checkOpen (isLate = false) {
    if (isLate ? this.#ending !== undefined : this._isClosing) {
      throw new StoreError('ERR_STORE_CLOSED');
    }
  }

  /** @param {string|object} query SQL, or an object as STATEMENT */
  _statement (query, values) {
    const statement = typeof query === 'string' ? { text: query, values } : query;
    const { name, text, values: parameters } = STATEMENT.read(statement, 'query');
    const asText = () => parameters?.map(toParameter);
    return {
      name: name && this.prefix + name, text,
      values: readable('values', 'parameters that can be read', parameters, asText),
    };
  }

  /**
   * Runs `work` between BEGIN and COMMIT.
   * @param {(statement: object) => Promise<{ command: string }>} run
   * @param {(client: SqlClient) => Promise} work
   * @param {string} [begin] the statement that begins it
   */
  async _transact (run, work, begin = BEGIN) {
    const afterCommit = [];
    const idleness = new Idleness();
    const client = new SqlClient(this, statement => idleness.during(run(statement)), afterCommit);
    let result;
    try {
      await run({ text: begin });
      result = await Promise.race([promiseOf(work(client)), idleness.promise]);
      client.end();
      const { command } = await run({ text: 'COMMIT' });
      // After a failed statement the database rolls back, and does not call that an error.
      if (command === 'ROLLBACK') {
        throw refused('Nothing was committed because a statement of the transaction had failed');
      }
    } catch (error) {
      client.end();
      // The connection may be lost, and the transaction with it: the first error is what matters.
      await run({ text: 'ROLLBACK' }).catch(() => {});
      throw error;
    } finally {
      idleness.stop();
    }
    for (const callback of afterCommit) guarded('A callback after a commit failed', callback);
    return result;
  }
}

module.exports = {
  BEGIN, Database, IDLE_MS, READ_ONLY, SqlClient, checkWritable, prefixOf, quote, readerOf,
};
