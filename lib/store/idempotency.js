'use strict';

// Work that is done once for each key, whoever asks for it and however often.

const clock = require('../base/clock');
const { invalidOption } = require('../base/errors');
const { isA, messageOf, read, textOf } = require('../base/foreign');
const { bag, boolean, func, number } = require('../base/options');
const { Hold } = require('./idempotency-hold');
const { faultOf, hashOf } = require('./idempotency-json');
const { StoreError } = require('./store-errors');

const DEFAULTS = {
  ttl: 3_600_000, lockTimeout: 60_000, wait: 0, storeFailures: false, transaction: false,
};
const OPTIONS = [...Object.keys(DEFAULTS), 'payload'];
const TTL_MS_MAX = 366 * 86_400_000;
// A shorter lock runs out while a living process collects garbage, or waits for a processor; then
// the work is done twice.
const LOCK_MS_MIN = 1000;
const LOCK_MS_MAX = 86_400_000;

const KEY_CHARACTERS_MAX = 512;
const RESULT_CHARACTERS_MAX = 4 << 20;

// How often a waiter looks: soon at first, since most work is short.
const LOOK_MS_MIN = 10;
const LOOK_MS_MAX = 250;

const pause = ms => new Promise(resolve => { clock.setTimer(resolve, ms); });

function readOptions (option, value, defaults) {
  const given = bag(option, value, OPTIONS);
  const options = { ...defaults };
  for (const name of OPTIONS) if (given[name] !== undefined) options[name] = given[name];
  number('ttl', options.ttl, { min: 1, max: TTL_MS_MAX, unit: 'ms' });
  number('lockTimeout', options.lockTimeout, { min: LOCK_MS_MIN, max: LOCK_MS_MAX, unit: 'ms' });
  number('wait', options.wait, { min: 0, max: LOCK_MS_MAX, unit: 'ms' });
  boolean('storeFailures', options.storeFailures);
  boolean('transaction', options.transaction);
  return options;
}

function checkKey (key) {
  const fits = typeof key === 'string' && key !== '' && key.length <= KEY_CHARACTERS_MAX &&
    !key.includes('\0');
  if (!fits) throw invalidOption('key', `a text of 1 to ${KEY_CHARACTERS_MAX} characters`, key);
}

/** The result as text; null for no value. */
function toText (value) {
  if (value === undefined) return null;
  const fault = faultOf(value, 'result');
  const text = fault === undefined ? JSON.stringify(value) : undefined;
  if (text?.length <= RESULT_CHARACTERS_MAX) return text;
  throw new StoreError('ERR_IDEMPOTENCY_RESULT', 'The result of the work cannot be stored, as ' +
    (fault ?? `it is longer than ${RESULT_CHARACTERS_MAX} characters`));
}

/** What is kept of an error. */
function errorToText (error) {
  const code = read(error, 'code');
  return JSON.stringify({
    name: textOf(read(error, 'name') ?? 'Error'),
    message: messageOf(error),
    code: typeof code === 'string' || typeof code === 'number' ? code : undefined,
  });
}

function errorOf (text) {
  const { name, message, code } = JSON.parse(text);
  const error = new Error(message);
  error.name = name;
  if (code !== undefined) error.code = code;
  return error;
}

class Idempotency {
  #database;
  #table;
  #options;
  #onWarning;

  constructor ({ database, options, onWarning = () => {} }) {
    this.#database = database;
    this.#onWarning = onWarning;
    this.#table = `${database.schema}.idempotency_store`;
    for (const name of ['payload', 'transaction']) {
      const value = options?.[name];
      if (value !== undefined) throw invalidOption(name, 'an option of run', value);
    }
    this.#options = readOptions('idempotency', options, DEFAULTS);
  }

  keyOf (payload) { return hashOf(payload); }

  /**
   * Calls `work` once for all calls with this key.
   * @returns {Promise<{ value: unknown, replayed: boolean }>}
   */
  async run (key, work, options) {
    checkKey(key);
    func('work', work);
    const call = readOptions('options', options, this.#options);
    const fingerprint = hashOf(call.payload);
    const { token, claimedAt, row } = await this.#take(key, fingerprint, call);
    if (row !== undefined) return replay(row);
    const { lockTimeout } = call;
    const hold = new Hold({
      database: this.#database, key, token, lockTimeout, claimedAt, onWarning: this.#onWarning,
    });
    try {
      const value = call.transaction
        ? await this.#workInTransaction(hold, work, call)
        : await this.#work(hold, work, call);
      return { value, replayed: false };
    } catch (error) {
      if (read(error, 'code') !== 'ERR_IDEMPOTENCY_LOST') throw error;
      // Whoever took the key over may be done: then all callers get the same.
      const other = await this.#read(key, fingerprint);
      if (other?.status !== 'done' || other.fingerprint !== fingerprint) throw error;
      return replay(other);
    } finally {
      hold.stop();
    }
  }

  async get (key) {
    checkKey(key);
    const { rows } = await this.#database.query(`SELECT status, failed, response, created_at,
      expires_at FROM ${this.#table} WHERE key = $1
      AND (status = 'in_progress' OR expires_at > clock_timestamp())`, [key]);
    if (rows.length === 0) return undefined;
    const [{ status, failed, response, created_at: createdAt, expires_at: expiresAt }] = rows;
    return {
      status, failed, response: response === null ? undefined : JSON.parse(response), createdAt,
      expiresAt,
    };
  }

  /** Whether there was such a key. Work that is being done under it can no longer be stored. */
  async forget (key) {
    checkKey(key);
    const { rowCount } = await this.#database.query(
      `DELETE FROM ${this.#table} WHERE key = $1`, [key]);
    return rowCount > 0;
  }

  // ---- The key ---------------------------------------------------------------------------------

  /**
   * @returns {Promise<{ token?: string, claimedAt?: number, row?: object }>} the key's token, and
   *   when it was asked for, or what is stored
   */
  async #take (key, fingerprint, { ttl, lockTimeout, wait }) {
    const until = clock.now() + wait;
    let delay = LOOK_MS_MIN;
    let row;
    for (;;) {
      if (row === undefined || row.free) {
        const claimedAt = clock.now();
        const token = await this.#claim(key, fingerprint, ttl, lockTimeout);
        if (token !== undefined) return { token, claimedAt };
      } else {
        if (row.fingerprint !== fingerprint) throw mismatch();
        if (row.status === 'done') return { row };
        const left = until - clock.now();
        if (left <= 0) throw inProgress(Number(row.lock_ms));
        await pause(Math.min(delay, left));
        delay = Math.min(2 * delay, LOOK_MS_MAX);
      }
      row = await this.#read(key, fingerprint);
    }
  }

  async #claim (key, fingerprint, ttl, lockTimeout) {
    const { rows } = await this.#database.query({
      name: 'idempotency_claim',
      text: `INSERT INTO ${this.#table} AS held
          (key, fingerprint, status, created_at, expires_at, locked_until)
        VALUES ($1, $2, 'in_progress', clock_timestamp(),
          clock_timestamp() + $3::float8 * interval '1 millisecond',
          clock_timestamp() + $4::float8 * interval '1 millisecond')
        ON CONFLICT (key) DO UPDATE SET
          fingerprint = EXCLUDED.fingerprint, status = EXCLUDED.status, failed = false,
          response = NULL, token = EXCLUDED.token, created_at = EXCLUDED.created_at,
          expires_at = EXCLUDED.expires_at, locked_until = EXCLUDED.locked_until
        WHERE ${free('EXCLUDED.fingerprint')}
        RETURNING token`,
      values: [key, fingerprint, ttl, lockTimeout],
    });
    return rows[0]?.token;
  }

  async #read (key, fingerprint) {
    const { rows } = await this.#database.query({
      name: 'idempotency_read',
      text: `SELECT status, fingerprint, failed, response, ${free('$2')} AS free,
          greatest(extract(epoch FROM locked_until - clock_timestamp()) * 1000, 0) AS lock_ms
        FROM ${this.#table} AS held WHERE key = $1`,
      values: [key, fingerprint],
    });
    return rows[0];
  }

  // ---- The work --------------------------------------------------------------------------------

  async #work (hold, work, { ttl, storeFailures }) {
    let value;
    try {
      value = await work({ signal: hold.signal, token: hold.token });
    } catch (error) {
      if (storeFailures) await hold.settle({ response: errorToText(error), failed: true, ttl });
      else await this.#giveBack(hold);
      throw error;
    }
    await hold.settle({ response: await this.#textOf(value, hold, ttl), failed: false, ttl });
    return value;
  }

  /** What was done must not be done again because its result cannot be stored. */
  async #textOf (value, hold, ttl) {
    try {
      return toText(value);
    } catch (error) {
      await hold.settle({ response: errorToText(error), failed: true, ttl });
      throw error;
    }
  }

  /** The work's changes and its result are committed together, or not at all. */
  async #workInTransaction (hold, work, { ttl, storeFailures }) {
    try {
      return await this.#database.transaction(async client => {
        const value = await work({ signal: hold.signal, token: hold.token, client });
        await hold.settle({ response: toText(value), failed: false, ttl }, client);
        return value;
      });
    } catch (error) {
      const isOurs = isA(error, StoreError);
      if (storeFailures && !isOurs) {
        await hold.settle({ response: errorToText(error), failed: true, ttl });
      } else {
        await this.#giveBack(hold);
      }
      throw error;
    }
  }

  /** The lock ends by itself if this fails; what the caller has to know is the work's error. */
  async #giveBack (hold) {
    hold.stop();
    await hold.release().catch(() => {});
  }
}

/**
 * Whether a key can be taken: its result has expired, or its holder has died. A holder that died
 * may have begun, so that for as long as its result would have been kept only the same request
 * gets the key.
 */
const free = fingerprint => `(
  CASE held.status WHEN 'done' THEN held.expires_at <= clock_timestamp()
  ELSE held.locked_until <= clock_timestamp() AND
    (held.fingerprint = ${fingerprint} OR held.expires_at <= clock_timestamp()) END)`;

function replay ({ response, failed }) {
  if (failed) throw errorOf(response);
  return { value: response === null ? undefined : JSON.parse(response), replayed: true };
}

const mismatch = () => new StoreError('ERR_IDEMPOTENCY_MISMATCH',
  'This idempotency key was used for another request');

function inProgress (retryAfterMs) {
  const error = new StoreError('ERR_IDEMPOTENCY_IN_PROGRESS',
    'The work under this idempotency key is being done', { retryable: true });
  error.retryAfterMs = retryAfterMs;
  return error;
}

const createIdempotency = settings => new Idempotency(settings);

module.exports = { createIdempotency };
