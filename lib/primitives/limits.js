'use strict';

// Limits on the way to an upstream: how many calls at once (Bulkhead), how many per stretch of time
// (RateLimiter), and how many retries the successes of late have paid for (RetryBudget).

const { clearTimer, setTimer } = require('../base/clock');
const { SekeringError, invalidOption } = require('../base/errors');
const { own } = require('../base/handle');
const native = require('../base/native');
const { bag, func, number } = require('../base/options');
const { Permits, SharedPermits } = require('../base/permits');
const { readSignal, reasonOf } = require('../base/signal');
const { Waiters } = require('../base/waiters');
const { attachPlace, checkScope, isShared } = require('./scope');

// Native token buckets hold these without rounding.
const LIMIT_MAX = 1e9;
const INTERVAL_MS_MAX = 2 ** 31 - 1;
const RESERVE_MAX = 1e6;

const PLACE = ['scope', 'namespace', 'name'];
const BULKHEAD = ['maxConcurrent', 'maxQueue', 'queueTimeout', ...PLACE];
const RATE_LIMITER = ['limit', 'interval', 'burst', 'maxWait', ...PLACE];
const RETRY_BUDGET = ['ratio', 'reservePerSecond', 'max', ...PLACE];

// How often a line asks for permits that other environments may have given back, in ms: soon at
// first, and then less and less often. Nobody asks while nobody waits.
const ASK_MS_MIN = 1;
const ASK_MS_MAX = 16;
// After a permit was left to the lines of others, those are to ask before one's own does.
const YIELD_MS = 2 * ASK_MS_MAX;

/**
 * A native handle: of one's own, or of the place in a region that `options` name.
 * @param {string} kind of thing, in words
 * @param {Record<string, number>} config the options that all who share it must agree on
 */
function handleOf (kind, options, config, create, attach) {
  checkScope(options, options.name);
  const names = Object.keys(config);
  const values = Object.values(config);
  if (!isShared(options)) return create(...values);
  return attachPlace(kind, options, Float64Array.from(values), attach,
    (one, other) => names.filter((_, i) => one[i] !== other[i]));
}

function abortSignal (value) {
  if (value === null) throw invalidOption('signal', 'an AbortSignal', value);
  return readSignal(value);
}

/** Waits for its turn, if it has to, and lets nobody pass who has aborted meanwhile. */
async function turn (waiting, signal, giveBack) {
  await waiting;
  if (!signal?.aborted) return;
  giveBack?.();
  throw reasonOf(signal);
}

/**
 * At most so many calls at once; more wait in a line of bounded length, or are rejected.
 *
 * With a scope, that many in all the threads or processes that share its namespace and name. The
 * places of one that has ended, however it did, are free again when somebody else asks. Each
 * environment has a line of its own, first come first served; a place that is given back goes to
 * the line of the same environment, and now and then to those of others, so that all get on.
 */
class Bulkhead {
  #permits;
  #shared;
  #line = new Waiters(() => this.#rest());
  #maxQueue;
  #queueTimeout;
  #timer = undefined;

  /**
   * @param {object} options
   * @param {number} options.maxConcurrent calls that may run at once, from 1
   * @param {number} [options.maxQueue] calls that may wait for a place, first come first served;
   *   default 0: none
   * @param {number} [options.queueTimeout] ms that a call may wait, from 1; default Infinity
   * @param {'instance' | 'process' | 'host'} [options.scope] who shares it: nobody, the threads of
   *   this process, or the processes of this user on the host; default 'instance'
   * @param {string} [options.namespace] at most 64 letters, digits, dots, dashes or underscores;
   *   default 'default'
   * @param {string} [options.name] 1 to 255 bytes; sharers have the same
   * @throws {TypeError | RangeError} ERR_INVALID_OPTION
   * @throws {SekeringError} with a scope: ERR_OPTIONS_MISMATCH when it exists with other
   *   maxConcurrent; ERR_NAME_TAKEN by another kind of thing;
   *   ERR_SCOPE_UNSUPPORTED; ERR_REGION_…
   */
  constructor (options) {
    const given = bag('options', options, BULKHEAD);
    const { maxConcurrent, maxQueue = 0, queueTimeout = Infinity } = given;
    number('maxConcurrent', maxConcurrent, { min: 1, integer: true });
    this.#maxQueue = number('maxQueue', maxQueue, { min: 0, integer: true });
    this.#queueTimeout = number('queueTimeout', queueTimeout, { min: 1, unit: 'ms' });
    this.#shared = isShared(given);
    const place = handleOf('bulkhead', given, { maxConcurrent }, () => 0, native.attachBulkhead);
    this.#permits = this.#shared
      ? new SharedPermits(given.name, maxConcurrent, place)
      : new Permits(maxConcurrent);
  }

  get maxConcurrent () { return this.#permits.capacity; }

  get maxQueue () { return this.#maxQueue; }

  /** How many calls are running, everywhere that it is shared. */
  get active () { return this.#permits.inUse; }

  /** Figures of this environment alone. */
  get local () { return { active: this.#permits.held }; }

  /** How many calls of this environment wait for a place. */
  get queued () { return this.#line.size; }

  /**
   * Calls `fn({ signal })` when there is a place for it.
   * @param {(context: { signal?: AbortSignal }) => unknown} fn
   * @param {{ signal?: AbortSignal }} [options] aborting takes a waiting call out of the line
   * @returns {Promise<unknown>} what fn returns. Rejects with code EBULKHEADFULL when there is
   *   neither a place nor room in the line, or when queueTimeout has passed; with the signal's
   *   reason when that aborts before fn is called.
   */
  async execute (fn, options) {
    func('fn', fn);
    const signal = abortSignal(bag('options', options).signal);
    signal?.throwIfAborted();
    const waiting = this.#enter(signal);
    if (waiting !== undefined) await turn(waiting, signal, () => this.#leave());
    try {
      return await fn({ signal });
    } finally {
      this.#leave();
    }
  }

  #enter (signal) {
    const line = this.#line;
    if (line.size === 0 && this.#permits.acquire()) return undefined;
    if (line.size >= this.#maxQueue) throw new SekeringError('EBULKHEADFULL', 'Bulkhead is full');
    const timeout = this.#queueTimeout;
    const timedOut = () => new SekeringError('EBULKHEADFULL',
      `Bulkhead is full: no place within ${timeout}ms`);
    const waiting = line.join({ timeout, timedOut, signal });
    if (this.#shared && line.size === 1) this.#askIn(ASK_MS_MIN);
    return waiting;
  }

  // The first in the line is handed the place as it is, so that no newcomer comes first.
  #leave () {
    const line = this.#line;
    if (line.size > 0 && !(this.#shared && this.#permits.mustYield())) {
      line.serve();
      this.#rest();
      return;
    }
    this.#permits.release();
    if (line.size > 0) this.#askIn(YIELD_MS);
  }

  // Of places that are given back elsewhere nobody tells.
  #askIn (ms) {
    clearTimer(this.#timer);
    this.#timer = setTimer(() => this.#ask(ms), ms);
  }

  #ask (waited) {
    const line = this.#line;
    let ms = Math.min(2 * waited, ASK_MS_MAX);
    while (line.size > 0 && this.#permits.acquireForLine()) {
      line.serve();
      ms = ASK_MS_MIN;
    }
    if (line.size > 0) this.#askIn(ms);
  }

  #rest () {
    if (this.#line.size > 0) return;
    clearTimer(this.#timer);
    this.#timer = undefined;
  }
}

/**
 * At most so many calls per stretch of time; more wait for a bounded time, or are rejected.
 *
 * With a scope, that many in all the threads or processes that share its namespace and name. Each
 * environment has a line of its own, and tokens go to whoever asks first when they are there.
 */
class RateLimiter {
  #handle;
  #shared;
  #burst;
  #maxWait;
  #line = new Waiters(() => this.#schedule());
  #timer = undefined;

  /**
   * @param {object} options
   * @param {number} options.limit tokens that arrive per interval, 1 to 1e9. They arrive evenly,
   *   not all at once at its end.
   * @param {number} options.interval ms, 1 to 2147483647
   * @param {number} [options.burst] tokens that may be saved up, 1 to 1e9; default: limit
   * @param {number} [options.maxWait] ms that a call may wait for its tokens, 0 to 2147483647;
   *   default 0: not at all. It bounds the line as well: nobody is let in who would wait longer.
   * @param {'instance' | 'process' | 'host'} [options.scope] who shares it: nobody, the threads of
   *   this process, or the processes of this user on the host; default 'instance'
   * @param {string} [options.namespace] at most 64 letters, digits, dots, dashes or underscores;
   *   default 'default'
   * @param {string} [options.name] 1 to 255 bytes; sharers have the same
   * @throws {TypeError | RangeError} ERR_INVALID_OPTION
   * @throws {SekeringError} with a scope: ERR_OPTIONS_MISMATCH when it exists with other
   *   limit, interval or burst; ERR_NAME_TAKEN by another kind of thing;
   *   ERR_SCOPE_UNSUPPORTED; ERR_REGION_…
   */
  constructor (options) {
    const given = bag('options', options, RATE_LIMITER);
    const { limit, interval, burst = limit, maxWait = 0 } = given;
    number('limit', limit, { min: 1, max: LIMIT_MAX, integer: true });
    number('interval', interval, { min: 1, max: INTERVAL_MS_MAX, unit: 'ms' });
    this.#burst = number('burst', burst, { min: 1, max: LIMIT_MAX, integer: true });
    this.#maxWait = number('maxWait', maxWait, { min: 0, max: INTERVAL_MS_MAX, unit: 'ms' });
    this.#shared = isShared(given);
    this.#handle = own(this, handleOf('rate limiter', given, { limit, interval, burst },
      native.createTokenBucket, native.attachTokenBucket), native.destroyTokenBucket);
  }

  get burst () { return this.#burst; }

  /** Tokens that are there now, with fractions. */
  get available () { return native.tokensAvailable(this.#handle); }

  /** How many calls of this environment wait for tokens. */
  get queued () { return this.#line.size; }

  /**
   * Takes `tokens` at once if they are there and nobody waits for them.
   * @param {number} [tokens] 1 to burst, default 1
   * @returns {boolean} whether they were taken
   */
  tryTake (tokens = 1) {
    this.#check(tokens);
    return this.#line.size === 0 && native.takeTokens(this.#handle, tokens) === 0;
  }

  /**
   * Calls `fn({ signal })` when its tokens are there.
   * @param {(context: { signal?: AbortSignal }) => unknown} fn
   * @param {{ signal?: AbortSignal, tokens?: number }} [options] aborting takes a waiting call out
   *   of the line; a call costs `tokens`, default 1
   * @returns {Promise<unknown>} what fn returns. Rejects with code ERATELIMITED, and `retryAfterMs`
   *   on the error, when the wait would be longer than maxWait; with the signal's reason when that
   *   aborts before fn is called.
   */
  async execute (fn, options) {
    func('fn', fn);
    const { signal, tokens = 1 } = bag('options', options);
    this.#check(tokens);
    abortSignal(signal)?.throwIfAborted();
    const waiting = this.#take(tokens, signal);
    if (waiting !== undefined) await turn(waiting, signal);
    return fn({ signal });
  }

  #check (tokens) {
    number('tokens', tokens, { min: 1, max: this.#burst, integer: true });
  }

  #take (tokens, signal) {
    const line = this.#line;
    const wait = line.size === 0
      ? native.takeTokens(this.#handle, tokens)
      : native.waitForTokens(this.#handle, line.weight + tokens);
    if (wait === 0 && line.size === 0) return undefined;
    if (wait > this.#maxWait) throw rateLimited(wait);
    const waiting = line.join({ weight: tokens, signal, ...this.#patience(tokens) });
    if (line.size === 1) this.#schedule();
    return waiting;
  }

  // Other environments may take the tokens that somebody waits for, so the wait has an end of its
  // own: a millisecond late, as tokens that come at the last moment are in time.
  #patience (tokens) {
    if (!this.#shared) return undefined;
    const timedOut = () => rateLimited(native.waitForTokens(this.#handle, tokens));
    return { timeout: this.#maxWait + 1, timedOut };
  }

  // One timer, for the first in the line.
  #schedule () {
    clearTimer(this.#timer);
    this.#timer = undefined;
    const { first } = this.#line;
    if (first === undefined) return;
    const wait = native.waitForTokens(this.#handle, first.weight);
    this.#timer = setTimer(() => this.#serve(), Math.ceil(wait));
  }

  #serve () {
    const line = this.#line;
    while (line.size > 0 && native.takeTokens(this.#handle, line.first.weight) === 0) line.serve();
    this.#schedule();
  }
}

function rateLimited (wait) {
  const ms = Math.ceil(wait);
  const error = new SekeringError('ERATELIMITED', `Rate limit reached: retry in ${ms}ms`);
  error.retryAfterMs = ms;
  return error;
}

/**
 * Keeps retries in proportion to the successes, so that they cannot become a storm.
 *
 * With a scope, the successes of all the threads or processes that share its namespace and name
 * pay for the retries of all.
 */
class RetryBudget {
  #handle;

  /**
   * @param {object} [options]
   * @param {number} [options.ratio] tokens that a deposit earns, 0 to 1000; default 0.1: one retry
   *   per ten successes
   * @param {number} [options.reservePerSecond] tokens that arrive by themselves, 0 to 1e6 per
   *   second, so that a quiet caller may retry too; default 10. One second's worth is kept, at
   *   least one token.
   * @param {number} [options.max] earned tokens that are kept at most, 0 to 1e9; default 100
   * @param {'instance' | 'process' | 'host'} [options.scope] who shares it: nobody, the threads of
   *   this process, or the processes of this user on the host; default 'instance'
   * @param {string} [options.namespace] at most 64 letters, digits, dots, dashes or underscores;
   *   default 'default'
   * @param {string} [options.name] 1 to 255 bytes; sharers have the same
   * @throws {TypeError | RangeError} ERR_INVALID_OPTION
   * @throws {SekeringError} with a scope: ERR_OPTIONS_MISMATCH when it exists with other
   *   ratio, reservePerSecond or max; ERR_NAME_TAKEN by another kind of thing;
   *   ERR_SCOPE_UNSUPPORTED; ERR_REGION_…
   */
  constructor (options) {
    const given = bag('options', options, RETRY_BUDGET);
    const { ratio = 0.1, reservePerSecond = 10, max = 100 } = given;
    number('ratio', ratio, { min: 0, max: 1000 });
    number('reservePerSecond', reservePerSecond, { min: 0, max: RESERVE_MAX });
    number('max', max, { min: 0, max: LIMIT_MAX });
    this.#handle = own(this, handleOf('retry budget', given, { ratio, reservePerSecond, max },
      native.createRetryBudget, native.attachRetryBudget), native.destroyRetryBudget);
  }

  /** Earns `ratio` tokens: call it once per success, or once per first attempt. */
  deposit () {
    native.depositRetryBudget(this.#handle);
  }

  /** @returns {boolean} whether a token was left for a retry; it is spent */
  tryWithdraw () {
    return native.withdrawRetryBudget(this.#handle);
  }

  /** @returns {number} tokens left, with fractions */
  balance () {
    return native.retryBudgetBalance(this.#handle);
  }
}

module.exports = { Bulkhead, RateLimiter, RetryBudget };
