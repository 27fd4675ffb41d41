'use strict';

// Work that is done once for each key, however often and by how many processes it is asked for. A
// row holds each key: while the work is being done, with a lock that its holder extends; later,
// with the result.

const { hash } = require('node:crypto');

const clock = require('../base/clock');
const { invalidOption } = require('../base/errors');
const { isA, messageOf, read, textOf } = require('../base/foreign');
const { func, is, optionsOf } = require('../base/options');
const { Batcher } = require('./batcher');
const { canonical, jsonFault } = require('./json');
const { arraysOf, rowsOf, sortedBy } = require('./rows');
const { StoreError } = require('./store-errors');

const TTL_MS_MAX = 366 * 86_400_000;
// A shorter lock could expire while a living process collects garbage or waits for a processor;
// then the work would be done twice.
const LOCK_MS_MIN = 1000;
const LOCK_MS_MAX = 86_400_000;

const OPTIONS = optionsOf({
  ttl: is.ms('that a result is kept', { min: 1, max: TTL_MS_MAX, default: 3_600_000 }),
  lockTimeout: is.ms('after which the key of a process that died is free',
    { min: LOCK_MS_MIN, max: LOCK_MS_MAX, default: 60_000 }),
  wait: is.ms('to wait for the same key in flight', { max: LOCK_MS_MAX, default: 0 }),
  storeFailures: is.boolean('whether a rejection is stored and replayed', { default: false }),
});

const CALL_OPTIONS = OPTIONS.with({
  payload: is.any('what the request says, as JSON'),
  transaction: is.boolean('whether the work runs in a transaction that commits its result, too',
    { default: false }),
});

const KEY_CHARACTERS_MAX = 512;
const RESULT_CHARACTERS_MAX = 4 << 20;

// Calls that come together share a statement up to this. While one waits, another can go on.
const GROUP = { count: 100, weight: 1024 * 1024, writers: 2 };

// How often a waiter looks: soon at first, since most work is short.
const LOOK_MS_MIN = 10;
const LOOK_MS_MAX = 250;

// A lock is extended this often in its lifetime: two attempts may fail.
const EXTENSIONS = 3;
const STORE_DELAY_MS_MIN = 50;
const STORE_DELAY_MS_MAX = 1000;

const pause = ms => new Promise(resolve => { clock.setTimer(resolve, ms); });

function checkKey (key) {
  const fits = typeof key === 'string' && key !== '' && key.length <= KEY_CHARACTERS_MAX &&
    !key.includes('\0');
  if (!fits) throw invalidOption('key', `a text of 1 to ${KEY_CHARACTERS_MAX} characters`, key);
}

/** SHA-256 of a value, in hexadecimal; the order of members does not matter. */
function hashOf (value) {
  const text = value === undefined ? '' : canonical('payload', value);
  return hash('sha256', text);
}

// ---- Results -----------------------------------------------------------------------------------

/** A result as text; null for no value. */
function resultToText (value) {
  if (value === undefined) return null;
  const fault = jsonFault(value, 'result');
  const text = fault === undefined ? JSON.stringify(value) : undefined;
  if (text?.length <= RESULT_CHARACTERS_MAX) return text;
  throw new StoreError('ERR_IDEMPOTENCY_RESULT', 'The result of the work cannot be stored: ' +
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

function replay ({ response, failed }) {
  if (failed) throw errorOf(response);
  return { value: response === null ? undefined : JSON.parse(response), replayed: true };
}

// ---- Statements --------------------------------------------------------------------------------

/** The columns of a claim. */
const CLAIMED = {
  key: ['text', ({ key }) => key],
  fingerprint: ['text', ({ fingerprint }) => fingerprint],
  ttl: ['float8', ({ ttl }) => ttl],
  lock_timeout: ['float8', ({ lockTimeout }) => lockTimeout],
};

/** The columns of a result. */
const SETTLED = {
  key: ['text', ({ key }) => key],
  token: ['bigint', ({ token }) => token],
  response: ['text', ({ response }) => response],
  failed: ['boolean', ({ failed }) => failed],
  ttl: ['float8', ({ ttl }) => ttl],
};

const fromNow = ms => `clock_timestamp() + ${ms} * interval '1 millisecond'`;

/**
 * SQL that claims keys that are new. It waits for nobody who holds a key, so a statement of many
 * claims takes no longer than its own time.
 * @param {string} table
 * @param {number} [first] the number of the first parameter
 */
const claimNew = (table, first) => `INSERT INTO ${table}
    (key, fingerprint, status, created_at, expires_at, locked_until)
  SELECT key, fingerprint, 'in_progress', clock_timestamp(), ${fromNow('ttl')},
    ${fromNow('lock_timeout')}
  FROM ${rowsOf(CLAIMED, 'given', first)}
  ON CONFLICT (key) DO NOTHING RETURNING key, token`;

/**
 * SQL that stores results. It skips keys that another statement has locked.
 * @param {string} table
 * @param {{ columns?: object, first?: number, where?: string, returning?: string }} [along] of a
 *   statement that also writes something else: all columns of a result, as `g` in `where`; the
 *   number of the first parameter; which results are stored
 */
const settleAll = (table, {
  columns = SETTLED, first = 1, where = 'true', returning = 'held.token'
} = {}) => `UPDATE ${table} AS held
  SET status = 'done', response = g.response, failed = g.failed, expires_at = ${fromNow('g.ttl')}
  FROM (SELECT given.*, free.place FROM ${rowsOf(columns, 'given', first)},
    LATERAL (SELECT ctid AS place FROM ${table}
      WHERE key = given.key AND token = given.token AND status = 'in_progress'
      FOR UPDATE SKIP LOCKED) free) g
  WHERE held.ctid = g.place AND ${where}
  RETURNING ${returning}`;

/**
 * SQL that frees the key $1. Its row stays until a clean-up: the next holder draws its token after
 * it has locked the row. The token of a new row is drawn before. If that claim has to wait, others
 * with larger tokens could take and free the key meanwhile.
 */
const free = table => `UPDATE ${table} SET status = 'done', failed = false, response = NULL,
  expires_at = '-infinity' WHERE key = $1`;

const done = () => new StoreError('ERR_IDEMPOTENCY_DONE');

// ---- A key that is held ------------------------------------------------------------------------

/**
 * A key while its work is being done. Its lock is extended as long as it lives. Every change
 * carries the holder's token: if a process stood still, and another one has taken the key, the
 * first one changes nothing.
 */
class HeldKey {
  #database;
  #table;
  #key;
  #fingerprint;
  #token;
  #call;
  #claim;
  #settle;
  #onWarning;
  #taking;
  #timer;
  #extendedAt;
  #isStoring = false;
  #isOver = false;
  #isLost = false;
  #abortController;
  #value;
  /** What others get for this key, once it is known. */
  row;

  /**
   * @param {{ database: object, table: string, key: string, fingerprint: string, call: object,
   *   claim: (isKnown: boolean) => Promise<object>, settle: (row: object) => Promise<boolean>,
   *   onWarning: (error: Error) => void }} settings call: of `run`. claim: takes the key, or finds
   *   its result. settle: stores a result together with others, unless the key is locked or no
   *   longer held
   */
  constructor ({ database, table, key, fingerprint, call, claim, settle, onWarning }) {
    this.#database = database;
    this.#table = table;
    this.#key = key;
    this.#fingerprint = fingerprint;
    this.#call = call;
    this.#claim = claim;
    this.#settle = settle;
    this.#onWarning = onWarning;
  }

  /** Made when it is first needed: most keys are held for a short time. */
  get #controller () { return (this.#abortController ??= new AbortController()); }

  get isHeld () { return this.#token !== undefined; }

  /**
   * Takes the key, if that has not been tried before.
   * @param {boolean} [isKnown] whether the key is known to be there
   * @throws if somebody else has it, has done the work (then `row` is set) or has used it otherwise
   */
  take (isKnown = false) { return (this.#taking ??= this.#take(isKnown)); }

  async #take (isKnown) {
    const { token, claimedAt, row } = await this.#claim(isKnown);
    this.row = row;
    if (row !== undefined) throw done();
    this.hold(token, claimedAt);
  }

  /**
   * @param {string} token
   * @param {number} claimedAt when the key was asked for. The database may have been slow to
   *   answer, and the lock lasts from then
   */
  hold (token, claimedAt) {
    this.#token = token;
    this.#extendedAt = claimedAt;
    if (!this.#isOver) this.#schedule(claimedAt);
  }

  /** The key as a statement claims it, which also writes something else. */
  claim () {
    const claimedAt = clock.now();
    const { ttl, lockTimeout } = this.#call;
    return {
      key: this.#key, fingerprint: this.#fingerprint, ttl, lockTimeout,
      hold: token => this.hold(token, claimedAt),
    };
  }

  /** The result as a statement stores it, which also writes something else. */
  settlement (value) {
    this.#isStoring = true;
    this.#value = value;
    const row = this.#settled(resultToText(value), false);
    const { response, failed } = row;
    return { ...row, settled: () => { this.row = { response, failed }; } };
  }

  #settled (response, failed) {
    const { ttl } = this.#call;
    return {
      key: this.#key, token: this.#token, response, failed, ttl, weight: response?.length,
    };
  }

  /** What work gets. */
  #context (client) {
    if (!this.isHeld) return { joint: new Joint(this) };
    const { signal } = this.#controller;
    const context = { signal, token: this.#token, confirm: () => this.#confirm(client) };
    return client === undefined ? context : { ...context, client };
  }

  /** Does the work, stores its result, and returns it. */
  async run (work) {
    try {
      return await (this.#call.transaction ? this.#runInTransaction(work) : this.#run(work));
    } finally {
      this.#isOver = true;
      this.#stop();
    }
  }

  async #run (work) {
    let value;
    try {
      value = await work(this.#context());
      // There was nothing to write it along with.
      if (!this.isHeld) await this.take();
    } catch (error) {
      if (!this.isHeld || this.row !== undefined) throw error;
      // That the lock was lost is no result of the work.
      const { aborted, reason } = this.#controller.signal;
      await this.#fail(error, this.#call.storeFailures && !(aborted && error === reason));
      throw error;
    }
    // What is stored is what all get.
    if (this.row !== undefined && value !== this.#value) throw done();
    if (this.row !== undefined) return value;
    let response;
    try {
      response = resultToText(value);
    } catch (error) {
      // The work was done. It must not be done again because its result cannot be stored.
      await this.#fail(error, true);
      throw error;
    }
    await this.#store(response);
    return value;
  }

  /** The work's changes and its result are committed together, or not at all. */
  async #runInTransaction (work) {
    try {
      return await this.#database.transaction(async client => {
        const value = await work(this.#context(client));
        await this.#store(resultToText(value), { client });
        return value;
      });
    } catch (error) {
      // An error of the store says nothing about the work: it was rolled back.
      await this.#fail(error, this.#call.storeFailures && !isA(error, StoreError));
      throw error;
    }
  }

  /** Stores an error, or frees the key as if nothing had been asked for. */
  async #fail (error, isStored) {
    if (isStored) return this.#store(errorToText(error), { failed: true });
    this.#stop();
    // If this fails, the lock ends by itself; the caller has to know the work's error.
    await this.#database.query(`${free(this.#table)} AND token = $2::bigint
      AND status = 'in_progress'`, [this.#key, this.#token], true)
      .catch(() => {});
    return undefined;
  }

  /** Stores the result, in the work's transaction if there is one. */
  async #store (response, { failed = false, client } = {}) {
    this.#isStoring = true;
    const isStored = client === undefined
      ? await this.#insist(() => this.#writeInGroup(response, failed))
      : await this.#write(client, response, failed);
    if (!isStored) throw this.#lose();
  }

  async #writeInGroup (response, failed) {
    return await this.#settle(this.#settled(response, failed)) ||
      this.#write(this.#database, response, failed);
  }

  async #write (client, response, failed) {
    const { rowCount } = await client.query(`UPDATE ${this.#table}
      SET status = 'done', response = $3, failed = $4::boolean,
        expires_at = ${fromNow('$5::float8')}
      WHERE key = $1 AND token = $2::bigint AND status = 'in_progress'`,
    [this.#key, this.#token, response, failed, this.#call.ttl], true);
    return rowCount === 1 || this.#isWritten(client, response);
  }

  /** Whether an earlier attempt succeeded, and only its answer was lost. */
  async #isWritten (client, response) {
    const { rowCount } = await client.query(`SELECT FROM ${this.#table}
      WHERE key = $1 AND token = $2::bigint AND status = 'done'
        AND response IS NOT DISTINCT FROM $3::text`, [this.#key, this.#token, response], true);
    return rowCount === 1;
  }

  /** A short outage of the database is no reason to do the work twice. */
  async #insist (write) {
    for (let delay = STORE_DELAY_MS_MIN; ; delay = Math.min(2 * delay, STORE_DELAY_MS_MAX)) {
      try {
        return await write();
      } catch (error) {
        if (!read(error, 'retryable') || this.#age() + delay >= this.#call.lockTimeout) throw error;
      }
      await pause(delay);
    }
  }

  /** Warns as well: the caller may get the next holder's value, and not learn of this. */
  #lose () {
    const error = new StoreError('ERR_IDEMPOTENCY_LOST');
    if (!this.#isLost) this.#onWarning(error);
    this.#isLost = true;
    return error;
  }

  // ---- The lock --------------------------------------------------------------------------------

  #age () { return clock.now() - this.#extendedAt; }

  #schedule (from) {
    const due = from + this.#call.lockTimeout / EXTENSIONS;
    this.#timer =
      clock.setTimer(() => this.#extend(), Math.max(0, due - clock.now()), false);
  }

  #stop () {
    clock.clearTimer(this.#timer);
    this.#timer = undefined;
  }

  /**
   * Extends the lock. In the work's transaction, nobody else can take the key until that ends.
   * @throws {StoreError} ERR_IDEMPOTENCY_LOST if the key is not ours any more
   */
  async #confirm (client) {
    const { signal } = this.#controller;
    signal.throwIfAborted();
    const began = clock.now();
    const { rowCount } = await (client ?? this.#database).query(`UPDATE ${this.#table}
      SET locked_until = ${fromNow('$3::float8')}
      WHERE key = $1 AND token = $2::bigint AND status = 'in_progress'`,
    [this.#key, this.#token, this.#call.lockTimeout], true);
    if (rowCount === 0) this.#abort();
    signal.throwIfAborted();
    if (rowCount === 0) throw new StoreError('ERR_IDEMPOTENCY_LOST');
    this.#extendedAt = began;
    if (client !== undefined) this.#stop();
  }

  async #extend () {
    const { lockTimeout } = this.#call;
    const began = clock.now();
    if (this.#age() >= lockTimeout) this.#onWarning(late(this.#age(), lockTimeout));
    const limit = this.#limit();
    try {
      await this.#confirm();
    } catch {
      // The next extension tries again, if there is time left.
      if (this.#age() >= lockTimeout) this.#abort();
    } finally {
      limit.end();
    }
    if (this.#timer !== undefined && !this.#controller.signal.aborted) this.#schedule(began);
  }

  /** Aborts the work if the lock expires before the database answers the extension. */
  #limit () {
    const { lockTimeout } = this.#call;
    let isAnswered = false;
    const patience = Math.max(lockTimeout - this.#age(), lockTimeout / EXTENSIONS);
    const timer = clock.setTimer(() => {
      // If the process stood still, the answer may be there and is read first.
      setImmediate(() => { if (!isAnswered) this.#abort(); });
    }, patience, false);
    return {
      end () {
        isAnswered = true;
        clock.clearTimer(timer);
      },
    };
  }

  /** Aborts the work, unless it has ended: its result may be stored by now. */
  #abort () {
    const { signal } = this.#controller;
    if (this.#timer === undefined || this.#isStoring || signal.aborted) return;
    this.#controller.abort(this.#lose());
  }
}

const late = (age, lockTimeout) => new StoreError('ERR_IDEMPOTENCY_LATE',
  `The lock of an idempotency key lasts ${lockTimeout} ms, but it was extended only after ` +
  `${Math.round(age)} ms, since this process or the database stalled: others could have taken ` +
  'the key and done the work again. Increase lockTimeout');

/**
 * A key for a function that writes: its statements claim the key and store the result along with
 * what else they write. Until the key is claimed, the function must not have done anything.
 */
class Joint {
  #key;
  #resultOf;

  constructor (key, resultOf = value => value) {
    this.#key = key;
    this.#resultOf = resultOf;
  }

  /** The same key for another function, whose value becomes this one's by `fn`. */
  after (fn) { return new Joint(this.#key, value => this.#resultOf(fn(value))); }

  get isHeld () { return this.#key.isHeld; }

  get isSettled () { return this.#key.row !== undefined; }

  /** Takes a key that no statement could claim, because it is there. @throws if it is not free */
  async take () { await this.#key.take(true); }

  /** A claim for `claiming` of Idempotency; `hold` tells that the statement got the key. */
  claim () { return this.#key.claim(); }

  /**
   * A result for `settling` of Idempotency; `settled` tells that the statement stored it.
   * @returns {object | undefined} undefined if it has to be stored later
   */
  settlement (value) {
    const result = this.#resultOf(value);
    return result === undefined ? undefined : this.#key.settlement(result);
  }
}

// ---- Idempotency -------------------------------------------------------------------------------

/**
 * SQL: whether a key can be taken, because its result has expired or its holder has died. A holder
 * that died may have begun the work, so until its result would have expired only the same request
 * gets the key.
 */
const isFree = fingerprint => `(
  CASE held.status WHEN 'done' THEN held.expires_at <= clock_timestamp()
  ELSE held.locked_until <= clock_timestamp() AND
    (held.fingerprint = ${fingerprint} OR held.expires_at <= clock_timestamp()) END)`;

class Idempotency {
  #database;
  #table;
  #callOptions;
  #onWarning;
  #claims = new Batcher(claims => this.#claimNew(claims), GROUP);
  #results = new Batcher(results => this.#settleAll(results), GROUP);

  constructor ({ database, options, onWarning = () => {} }) {
    this.#database = database;
    this.#onWarning = onWarning;
    this.#table = `${database.schema}.idempotency_store`;
    this.#callOptions = CALL_OPTIONS.withDefaults(OPTIONS.read(options, 'idempotency'));
  }

  keyOf (payload) { return hashOf(payload); }

  /**
   * Calls `work` once for all calls with this key.
   * @returns {Promise<{ value: unknown, replayed: boolean }>}
   */
  async run (key, work, options) { return this.#start(key, work, options, false); }

  /**
   * As `run`, but work is called before the key is claimed, and gets `joint`. It may be called
   * although the key is taken, so it must do nothing before it has the key by `joint`.
   */
  async runJointly (key, work, options) { return this.#start(key, work, options, true); }

  async #start (key, work, options, isJoint) {
    checkKey(key);
    func('work', work);
    const call = this.#callOptions.read(options);
    const fingerprint = hashOf(call.payload);
    // If the store closes meanwhile, the key stays locked until the work has ended.
    const release = this.#database.hold();
    try {
      // As the database will return it.
      return await this.#runHeld(key.toWellFormed(), fingerprint, work, call, isJoint);
    } finally {
      release();
    }
  }

  async #runHeld (key, fingerprint, work, call, isJoint) {
    const held = new HeldKey({
      database: this.#database, table: this.#table, key, fingerprint, call,
      claim: isKnown => this.#take(key, fingerprint, call, isKnown),
      settle: row => this.#results.add(row), onWarning: this.#onWarning,
    });
    try {
      if (!isJoint) await held.take();
      return { value: await held.run(work), replayed: false };
    } catch (error) {
      if (held.row !== undefined) return replay(held.row);
      if (read(error, 'code') !== 'ERR_IDEMPOTENCY_LOST') throw error;
      // If the next holder is done, all callers get its result.
      const next = await this.#read(key, fingerprint);
      const isDone = next?.status === 'done' && !next.free && next.fingerprint === fingerprint;
      if (!isDone) throw error;
      return replay(next);
    }
  }

  /**
   * Claims for a statement that also writes something else.
   * @param {object[]} claims of Joint, each of another key
   * @param {number} first the number of the first parameter
   * @returns {{ text: string, values: unknown[] }} text: an INSERT that returns `key` and `token`
   */
  claiming (claims, first) {
    return {
      text: claimNew(this.#table, first),
      values: arraysOf(CLAIMED, sortedBy(({ key }) => key, claims)),
    };
  }

  /**
   * Results for a statement that also writes something else.
   * @param {object[]} results of Joint
   * @param {object} along of `settleAll`; columns: further ones
   * @returns {{ size: number, text: string, values: unknown[] }} text: an UPDATE. size: belongs
   *   into the name of the statement, so that it is planned again when the table has grown
   */
  settling (results, { columns: more, ...along }) {
    const columns = { ...SETTLED, ...more };
    // Tokens count all claims that there have been.
    return {
      size: results[0].token.length, text: settleAll(this.#table, { ...along, columns }),
      values: arraysOf(columns, results),
    };
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

  /** Returns whether there was such a key. Work that is under way can no longer be stored. */
  async forget (key) {
    checkKey(key);
    const { rowCount } = await this.#database.query(`${free(this.#table)}
      AND (status = 'in_progress' OR expires_at > clock_timestamp())`, [key]);
    return rowCount > 0;
  }

  /**
   * Takes a key, or finds its result.
   * @returns {Promise<{ token?: string, claimedAt?: number, row?: object }>} the key's token, and
   *   when it was asked for; or the row with the result
   */
  async #take (key, fingerprint, { ttl, lockTimeout, wait }, isKnown) {
    const until = clock.now() + wait;
    const claim = { key, fingerprint, ttl, lockTimeout };
    let delay = LOOK_MS_MIN;
    let row = isKnown ? await this.#read(key, fingerprint) : undefined;
    for (;;) {
      if (row === undefined || row.free) {
        const claimedAt = clock.now();
        const token = await (row === undefined ? this.#claims.add(claim) : this.#claimFree(claim));
        if (token !== undefined) return { token, claimedAt };
      } else {
        if (row.fingerprint !== fingerprint) throw new StoreError('ERR_IDEMPOTENCY_MISMATCH');
        if (row.status === 'done') return { row };
        const left = until - clock.now();
        if (left <= 0) throw inProgress(Number(row.lock_ms));
        await pause(Math.min(delay, left));
        delay = Math.min(2 * delay, LOOK_MS_MAX);
      }
      row = await this.#read(key, fingerprint);
    }
  }

  /** @returns {Promise<Array<string | undefined>>} the token of each; undefined if it is known */
  async #claimNew (claims) {
    const { rows } = await this.#database.query({
      name: 'idempotency_claim', ...this.claiming(claims, 1),
    });
    const tokens = new Map(rows.map(({ key, token }) => [key, token]));
    // Of several claims of one key the first one gets it.
    return claims.map(({ key }) => {
      const token = tokens.get(key);
      tokens.delete(key);
      return token;
    });
  }

  /** Claims a key that was found free. */
  async #claimFree ({ key, fingerprint, ttl, lockTimeout }) {
    const { rows } = await this.#database.query({
      name: 'idempotency_claim_free',
      text: `INSERT INTO ${this.#table} AS held
          (key, fingerprint, status, created_at, expires_at, locked_until)
        VALUES ($1, $2, 'in_progress', clock_timestamp(), ${fromNow('$3::float8')},
          ${fromNow('$4::float8')})
        ON CONFLICT (key) DO UPDATE SET
          fingerprint = EXCLUDED.fingerprint, status = EXCLUDED.status, failed = false,
          response = NULL, token = DEFAULT, created_at = EXCLUDED.created_at,
          expires_at = EXCLUDED.expires_at, locked_until = EXCLUDED.locked_until
        WHERE ${isFree('EXCLUDED.fingerprint')}
        RETURNING token`,
      values: [key, fingerprint, ttl, lockTimeout],
    });
    return rows[0]?.token;
  }

  /** @returns {Promise<boolean[]>} which of them are stored */
  async #settleAll (results) {
    const { size, text, values } = this.settling(results, {});
    const { rows } = await this.#database.query(
      { name: `idempotency_settle_${size}`, text, values }, undefined, true);
    const tokens = new Set(rows.map(({ token }) => token));
    return results.map(({ token }) => tokens.has(token));
  }

  /** Has no name: the plan for a table that was all but empty would be kept. */
  async #read (key, fingerprint) {
    const { rows } = await this.#database.query({
      text: `SELECT status, fingerprint, failed, response, ${isFree('$2')} AS free,
          greatest(extract(epoch FROM locked_until - clock_timestamp()) * 1000, 0) AS lock_ms
        FROM ${this.#table} AS held WHERE key = $1`,
      values: [key, fingerprint],
    });
    return rows[0];
  }
}

function inProgress (retryAfterMs) {
  const error = new StoreError('ERR_IDEMPOTENCY_IN_PROGRESS');
  error.retryAfterMs = retryAfterMs;
  return error;
}

const createIdempotency = settings => new Idempotency(settings);

module.exports = { IDEMPOTENCY_OPTIONS: OPTIONS, createIdempotency };
