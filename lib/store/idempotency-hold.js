'use strict';

// A key while its work is being done. The holder extends its lock, and whatever it changes carries
// its token: one that was stopped for too long, and whose key somebody else has taken meanwhile,
// changes nothing.

const clock = require('../base/clock');
const { StoreError } = require('./store-errors');

// So often within the life of a lock is it extended: two attempts may fail.
const EXTENSIONS = 3;
const SETTLE_DELAY_MS_MIN = 50;
const SETTLE_DELAY_MS_MAX = 1000;

const pause = ms => new Promise(resolve => { clock.setTimer(resolve, ms); });

class Hold {
  #database;
  #table;
  #timer;
  #extendedAt;
  #onWarning;
  #isSettling = false;
  #isLost = false;
  #controller = new AbortController();

  /**
   * @param {{ database: object, key: string, token: string, lockTimeout: number,
   *   claimedAt: number, onWarning: (error: Error) => void }} claim `claimedAt` is when the key was
   *   asked for: the database may have been slow to answer, and its lock lasts from then
   */
  constructor ({ database, key, token, lockTimeout, claimedAt, onWarning }) {
    this.#database = database;
    this.#table = `${database.schema}.idempotency_store`;
    this.#extendedAt = claimedAt;
    this.#onWarning = onWarning;
    this.key = key;
    this.token = token;
    this.lockTimeout = lockTimeout;
    this.#schedule(claimedAt);
  }

  /** Aborts when the lock is lost. */
  get signal () { return this.#controller.signal; }

  stop () {
    clock.clearTimer(this.#timer);
    this.#timer = undefined;
  }

  /**
   * Stores what the work has come to, in a transaction of the work's if there is one.
   * @param {{ response: string | null, failed: boolean, ttl: number }} outcome
   */
  async settle (outcome, client) {
    this.#isSettling = true;
    const stored = client === undefined
      ? await this.#insist(() => this.#store(this.#database, outcome))
      : await this.#store(client, outcome);
    if (!stored) throw this.#lose();
  }

  /** Gives the key back as if nothing had been asked for. */
  async release () {
    await this.#database.query(`DELETE FROM ${this.#table}
      WHERE key = $1 AND token = $2::bigint AND status = 'in_progress'`, [this.key, this.token]);
  }

  /** Warns as well: the caller may get the other holder's value, and not learn of this. */
  #lose () {
    const error = new StoreError('ERR_IDEMPOTENCY_LOST',
      'The lock of this idempotency key expired, and another process may have the key', {
        retryable: true,
      });
    if (!this.#isLost) this.#onWarning(error);
    this.#isLost = true;
    return error;
  }

  async #store (client, { response, failed, ttl }) {
    const { rowCount } = await client.query(`UPDATE ${this.#table}
      SET status = 'done', response = $3, failed = $4::boolean,
        expires_at = clock_timestamp() + $5::float8 * interval '1 millisecond'
      WHERE key = $1 AND token = $2::bigint AND status = 'in_progress'`,
    [this.key, this.token, response, failed, ttl]);
    return rowCount === 1 || this.#isStored(client, response);
  }

  /** Whether an earlier attempt got through of which only the answer was lost. */
  async #isStored (client, response) {
    const { rowCount } = await client.query(`SELECT FROM ${this.#table}
      WHERE key = $1 AND token = $2::bigint AND status = 'done'
        AND response IS NOT DISTINCT FROM $3::text`, [this.key, this.token, response]);
    return rowCount === 1;
  }

  /** A database that is away for a moment is no reason to do the work twice. */
  async #insist (store) {
    for (let delay = SETTLE_DELAY_MS_MIN; ; delay = Math.min(2 * delay, SETTLE_DELAY_MS_MAX)) {
      try {
        return await store();
      } catch (error) {
        if (!error.retryable || this.#age() + delay >= this.lockTimeout) throw error;
      }
      await pause(delay);
    }
  }

  #age () { return clock.now() - this.#extendedAt; }

  #schedule (from) {
    const due = from + this.lockTimeout / EXTENSIONS;
    this.#timer =
      clock.setTimer(() => this.#extend(), Math.max(0, due - clock.now()), false);
  }

  async #extend () {
    const began = clock.now();
    if (this.#age() >= this.lockTimeout) this.#onWarning(late(this.#age(), this.lockTimeout));
    const limit = this.#limit();
    try {
      const { rowCount } = await this.#database.query(`UPDATE ${this.#table}
        SET locked_until = clock_timestamp() + $3::float8 * interval '1 millisecond'
        WHERE key = $1 AND token = $2::bigint AND status = 'in_progress'`,
      [this.key, this.token, this.lockTimeout]);
      if (rowCount === 1) this.#extendedAt = began;
      else this.#abort();
    } catch {
      // Tried again in time, if there is any left.
      if (this.#age() >= this.lockTimeout) this.#abort();
    } finally {
      limit.end();
    }
    if (this.#timer !== undefined && !this.signal.aborted) this.#schedule(began);
  }

  /** The lock expires while the database does not answer the request to extend it. */
  #limit () {
    let isAnswered = false;
    const patience = Math.max(this.lockTimeout - this.#age(), this.lockTimeout / EXTENSIONS);
    const timer = clock.setTimer(() => {
      // A process that stood still reads first what has come meanwhile.
      setImmediate(() => { if (!isAnswered) this.#abort(); });
    }, patience, false);
    return {
      end () {
        isAnswered = true;
        clock.clearTimer(timer);
      },
    };
  }

  /** Work that is over is told nothing: what it has come to may be stored by now. */
  #abort () {
    if (this.#timer === undefined || this.#isSettling || this.signal.aborted) return;
    this.#controller.abort(this.#lose());
  }
}

const late = (age, lockTimeout) => new StoreError('ERR_IDEMPOTENCY_LATE',
  `The lock of an idempotency key lasts ${lockTimeout} ms, but it was extended only after ` +
  `${Math.round(age)} ms, since this process or the database stalled: others could have taken ` +
  'the key and done the work again. Increase lockTimeout', { retryable: true });

module.exports = { Hold };
