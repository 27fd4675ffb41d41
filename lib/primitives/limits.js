'use strict';

// Limits on the way to an upstream: how many calls at once (Bulkhead), or as many as its latency
// allows (AdaptiveLimiter), how many per stretch of time (RateLimiter), how many retries the
// successes of late have paid for (RetryBudget), and how long each attempt may take (Timeout).

const { clearTimer, now, setTimer } = require('../base/clock');
const { msUntilDeadline, withDeadline } = require('../base/deadline');
const { SekeringError, invalidOption } = require('../base/errors');
const { reasonOf } = require('../base/foreign');
const native = require('../base/native');
const { func, is, number, optionsOf } = require('../base/options');
const { PLACE, attachPlace, checkPlace, inScope, isShared } = require('../base/regions');
const { asked, warn } = require('../base/warn');
const { isOverload } = require('./classify');
const { Permits, SharedPermits, Waiters, own } = require('./permits');

// Native token buckets hold these without rounding.
const LIMIT_MAX = 1e9;
const INTERVAL_MS_MAX = 2 ** 31 - 1;
const RESERVE_MAX = 1e6;

// As AdaptiveRules of native/core/adaptive_limit.h.
const ADAPTIVE_MAX = 1e6;
const TOLERANCE_MAX = 1000;

const lineOf = (maxQueue, queueTimeout) => ({
  maxQueue: is.integer('calls that may wait for a place', { min: 0, default: maxQueue }),
  queueTimeout: is.ms('that a call may wait', { min: 1, default: queueTimeout }),
});
const BULKHEAD = optionsOf({
  maxConcurrent: is.integer('calls that may run at once', { min: 1, required: true }),
  ...lineOf(0, Infinity),
  ...PLACE,
});
const ADAPTIVE_LIMITER = optionsOf({
  initial: is.integer('calls that may run at once, at first; default: 20, within min and max',
    { min: 1, max: ADAPTIVE_MAX }),
  min: is.integer('that may always run', { min: 1, max: ADAPTIVE_MAX, default: 1 }),
  max: is.integer('that may ever run; default: 200, or min if that is more',
    { min: 1, max: ADAPTIVE_MAX }),
  tolerance: is.number('how many times its latency under little load is not too slow',
    { min: 1, max: TOLERANCE_MAX, default: 1.25 }),
  isOverload: is.func('whether an error says that the upstream is overloaded: (error)',
    { default: isOverload }),
  // While the latency under little load is measured, calls should wait and not be rejected.
  ...lineOf(100, 1000),
});
const INITIAL = 20;
const MAX = 200;
const RATE_LIMITER = optionsOf({
  limit: is.integer('tokens that arrive per interval, evenly',
    { min: 1, max: LIMIT_MAX, required: true }),
  interval: is.ms('in which they arrive', { min: 1, max: INTERVAL_MS_MAX, required: true }),
  burst: is.integer('tokens that may be saved up; default: limit', { min: 1, max: LIMIT_MAX }),
  // It bounds the line as well: a call that would wait longer is rejected at once.
  maxWait: is.ms('that a call may wait for its tokens', { max: INTERVAL_MS_MAX, default: 0 }),
  ...PLACE,
});
const RETRY_BUDGET = optionsOf({
  ratio: is.number('tokens that a deposit earns: one retry per ten successes',
    { min: 0, max: 1000, default: 0.1 }),
  reservePerSecond: is.number('tokens that arrive by themselves',
    { min: 0, max: RESERVE_MAX, default: 10 }),
  max: is.number('earned tokens that are kept', { min: 0, max: LIMIT_MAX, default: 100 }),
  ...PLACE,
});
const SIGNAL = is.signal('takes a waiting call out of the line');
const EXECUTE = optionsOf({
  signal: {
    ...SIGNAL,
    check (option, value) {
      if (value === null) throw invalidOption(option, SIGNAL.expected, value);
      return SIGNAL.check(option, value);
    },
  },
});
const PRIORITY_MAX = 9;
const PRIORITY = is.integer('of waiting calls, the highest begins first, and the lowest is ' +
  'rejected first', { min: 0, max: PRIORITY_MAX, default: 5 });
const ENTER = EXECUTE.with({ priority: PRIORITY });
const AS_USUAL = ENTER.read();
// Most calls have no options, and should not pay for reading them.
const readEnter = options => (options === undefined ? AS_USUAL : ENTER.read(options));
const TAKE = EXECUTE.with({
  tokens: is.any('that the call costs', { default: 1 }), // Checked against the limiter's burst.
});

const TIMEOUT = is.ms('for one attempt; Infinity for no limit', { min: 1, required: true });
const GROWING_TIMEOUT = optionsOf({
  initial: TIMEOUT,
  increment: is.ms('more for each further attempt', { default: 0 }),
  max: is.ms('at most', { min: 1, default: Infinity }),
});
const ATTEMPT = optionsOf({
  signal: is.signal('ends the attempt'),
  attempt: is.integer('number of the attempt', { min: 1, default: 1 }),
});

// How often a line asks for permits that other environments may have given back, in ms: soon at
// first, then less and less often. It does not ask while it is empty.
const ASK_MS_MIN = 1;
const ASK_MS_MAX = 16;
// After a permit was left to the lines of others, they should ask before ours does.
const YIELD_MS = 2 * ASK_MS_MAX;

/**
 * A native handle: of one's own, or of the place in a region that `options` name. All who share it
 * must have the same `config`. `options` get the scope that it has.
 */
function handleOf (kind, options, config, create, attach) {
  checkPlace(options, options.name);
  const values = Object.values(config);
  return inScope(kind, options.name, options, () => (isShared(options)
    ? attachPlace(kind, options, Object.keys(config), Float64Array.from(values), attach)
    : create(...values)));
}

/**
 * Waits for a place in turn, and gives it back if the caller has aborted meanwhile. Resolves with
 * what the line was served.
 */
async function turn (waiting, signal, giveBack) {
  const served = await waiting;
  if (!signal?.aborted) return served;
  giveBack?.(served);
  throw reasonOf(signal);
}

/**
 * Joins a line of bounded length. If that is full, a call of lower priority is rejected. `what` is
 * full.
 */
function joinLine (line, what, { maxQueue, queueTimeout: timeout }, { signal, priority }) {
  const full = (why = '') => new SekeringError('EBULKHEADFULL', `${what} is full${why}`);
  const lower = line.size < maxQueue ? null : line.lastBelow(priority);
  if (line.size >= maxQueue && lower === null) throw full();
  const timedOut = () => full(`: no place within ${timeout}ms`);
  const waiting = line.join({ priority, timeout, timedOut, signal });
  if (lower !== null) line.leave(lower, full(': a call of higher priority waits instead'));
  return waiting;
}

/**
 * At most so many calls at once; more wait in a line of bounded length, or are rejected.
 *
 * With a scope, that many in all the threads or processes that share its namespace and name. The
 * places of a thread or process that has ended are free again when another one asks. Each
 * environment has a line of its own, first come first served. A place that is given back goes to
 * the line of the same environment, and now and then to those of others, so that nobody starves.
 */
class Bulkhead {
  #permits;
  #scope;
  #line = new Waiters(() => this.#rest());
  #bounds;
  #timer = undefined;

  constructor (options) {
    const given = BULKHEAD.read(options);
    const { maxConcurrent } = given;
    this.#bounds = given;
    const place = handleOf('bulkhead', given, { maxConcurrent }, () => 0, native.attachBulkhead);
    this.#scope = given.scope;
    this.#permits = this.#shared
      ? new SharedPermits(given.name, maxConcurrent, place)
      : new Permits(maxConcurrent);
  }

  get #shared () { return this.#scope !== 'instance'; }

  /** Who shares it. */
  get scope () { return this.#scope; }

  get maxConcurrent () { return this.#permits.capacity; }

  get maxQueue () { return this.#bounds.maxQueue; }

  /** How many calls are running, everywhere that it is shared. */
  get active () { return this.#permits.inUse; }

  /** Figures of this environment alone. */
  get local () { return { active: this.#permits.held }; }

  /** How many calls of this environment wait for a place. */
  get queued () { return this.#line.size; }

  /** Calls `fn({ signal })` when there is a place for it. */
  async execute (fn, options) {
    func('fn', fn);
    const given = readEnter(options);
    const { signal } = given;
    signal?.throwIfAborted();
    const waiting = this.#enter(given);
    if (waiting !== undefined) await turn(waiting, signal, () => this.#leave());
    try {
      return await fn({ signal });
    } finally {
      this.#leave();
    }
  }

  #enter (given) {
    const line = this.#line;
    if (line.size === 0 && this.#permits.acquire()) return undefined;
    const waiting = joinLine(line, 'Bulkhead', this.#bounds, given);
    if (this.#shared && line.size === 1) this.#askIn(ASK_MS_MIN);
    return waiting;
  }

  // The place goes straight to the first in the line, so that no newcomer takes it.
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

  // Nothing tells us when other environments give places back.
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

/** How a call ended, as CallEnd of native/core/adaptive_limit.h. */
const ENDS = { success: 0, drop: 1, ignored: 2 };
const REFUSED = -1;

/**
 * As many calls at once as the upstream can do without getting slow, which the core finds out from
 * their latency (native/core/adaptive_limit.h). More wait in a line of bounded length, or are
 * rejected.
 */
class AdaptiveLimiter {
  #handle;
  #line = new Waiters();
  #given;

  constructor (options) {
    const given = ADAPTIVE_LIMITER.read(options);
    const { min, tolerance } = given;
    given.max ??= Math.max(MAX, min);
    const { max } = given;
    if (max < min) {
      throw invalidOption('max', `an integer of at least min (${min})`, max, RangeError);
    }
    const { initial = Math.min(Math.max(INITIAL, min), max) } = given;
    if (initial < min || initial > max) {
      throw invalidOption('initial', `an integer from min (${min}) to max (${max})`, initial,
        RangeError);
    }
    this.#given = given;
    this.#handle = own(this, native.createAdaptiveLimit(initial, min, max, tolerance),
      native.destroyAdaptiveLimit);
  }

  /** How many calls may run at once, as found so far. */
  get limit () { return native.adaptiveLimit(this.#handle); }

  get min () { return this.#given.min; }

  get max () { return this.#given.max; }

  get maxQueue () { return this.#given.maxQueue; }

  /** The latency under little load, ms; undefined while it is unknown. */
  get baseLatency () { return native.adaptiveBaseLatency(this.#handle) || undefined; }

  /** How many calls are running. */
  get active () { return native.adaptiveActive(this.#handle); }

  /** How many calls wait for a place. */
  get queued () { return this.#line.size; }

  /** Calls `fn({ signal })` when there is a place for it. */
  async execute (fn, options) {
    func('fn', fn);
    const given = readEnter(options);
    const { signal } = given;
    signal?.throwIfAborted();
    let ticket = this.#enter(given);
    if (typeof ticket !== 'number') {
      ticket = await turn(ticket, signal, served => this.#leave(served, ENDS.ignored, 0));
    }
    // Most calls of a busy limit have the ticket 0: their end says nothing.
    const began = ticket === 0 ? 0 : now();
    let end = ENDS.ignored;
    try {
      const value = await fn({ signal });
      end = ENDS.success;
      return value;
    } catch (error) {
      if (ticket !== 0 && this.#isOverload(error)) end = ENDS.drop;
      throw error;
    } finally {
      this.#leave(ticket, end, ticket === 0 ? 0 : now() - began);
    }
  }

  // A ticket, or a promise of one. While others wait there is no place: #leave has handed out all.
  #enter (given) {
    const ticket = native.beginAdaptive(this.#handle);
    if (ticket !== REFUSED) return ticket;
    return joinLine(this.#line, 'Adaptive limiter', this.#given, given);
  }

  // The limit may have risen or fallen.
  #leave (ticket, end, latency) {
    native.endAdaptive(this.#handle, ticket, end, latency);
    while (this.#line.size > 0) {
      const next = native.beginAdaptive(this.#handle);
      if (next === REFUSED) return;
      this.#line.serve(next);
    }
  }

  // The caller gets the call's own error, whatever becomes of this.
  #isOverload (error) {
    try {
      return asked('isOverload failed', () => this.#given.isOverload(error)) === true;
    } catch (failure) {
      warn('isOverload failed', failure);
      return false;
    }
  }
}

/**
 * At most so many calls per stretch of time; more wait for a bounded time, or are rejected.
 *
 * With a scope, that many in all the threads or processes that share its namespace and name. Each
 * environment has a line of its own, and tokens go to the first who asks once they are there.
 */
class RateLimiter {
  #handle;
  #scope;
  #burst;
  #maxWait;
  #line = new Waiters(() => this.#schedule());
  #timer = undefined;

  constructor (options) {
    const given = RATE_LIMITER.read(options);
    const { limit, interval, burst = limit, maxWait } = given;
    this.#burst = burst;
    this.#maxWait = maxWait;
    this.#handle = own(this, handleOf('rate limiter', given, { limit, interval, burst },
      native.createTokenBucket, native.attachTokenBucket), native.destroyTokenBucket);
    this.#scope = given.scope;
  }

  /** Who shares it. */
  get scope () { return this.#scope; }

  get burst () { return this.#burst; }

  /** Tokens that are there now, with fractions. */
  get available () { return native.tokensAvailable(this.#handle); }

  /** How many calls of this environment wait for tokens. */
  get queued () { return this.#line.size; }

  /** Takes `tokens` at once if they are there and nobody waits for them. */
  tryTake (tokens = 1) {
    this.#check(tokens);
    return this.#line.size === 0 && native.takeTokens(this.#handle, tokens) === 0;
  }

  /** Calls `fn({ signal })` when its tokens are there. */
  async execute (fn, options) {
    func('fn', fn);
    const { signal, tokens } = TAKE.read(options);
    this.#check(tokens);
    signal?.throwIfAborted();
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
    if (wait > this.#maxWait || wait >= msUntilDeadline(signal)) throw rateLimited(wait);
    const waiting = line.join({ weight: tokens, signal, ...this.#patience(tokens) });
    if (line.size === 1) this.#schedule();
    return waiting;
  }

  // Other environments may take the tokens that a call waits for, so the wait has a limit of its
  // own. It is a millisecond longer than maxWait: tokens that come at the last moment are in time.
  #patience (tokens) {
    if (this.#scope === 'instance') return undefined;
    const timedOut = () => rateLimited(native.waitForTokens(this.#handle, tokens));
    return { timeout: this.#maxWait + 1, timedOut };
  }

  // One timer, for the first in the line.
  #schedule () {
    clearTimer(this.#timer);
    this.#timer = undefined;
    const { first } = this.#line;
    if (first === null) return;
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
  #scope;

  constructor (options) {
    const given = RETRY_BUDGET.read(options);
    const { ratio, reservePerSecond, max } = given;
    this.#handle = own(this, handleOf('retry budget', given, { ratio, reservePerSecond, max },
      native.createRetryBudget, native.attachRetryBudget), native.destroyRetryBudget);
    this.#scope = given.scope;
  }

  /** Who shares it. */
  get scope () { return this.#scope; }

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

/**
 * A RateLimiter for each key, made when the key is first used. A key that was idle for a while is
 * forgotten; with too many keys, the least recently used one is. `idleMs` must be at least the time
 * in which a bucket fills up.
 */
class KeyedRateLimiter {
  // Key to { limiter, usedAt }, the least recently used first.
  #entries = new Map();
  #options;
  #keysMax;
  #idleMs;

  constructor ({ keysMax, idleMs, ...options }) {
    this.#options = options;
    this.#keysMax = keysMax;
    this.#idleMs = idleMs;
  }

  /** Whether a key is in use. */
  has (key) {
    const entry = this.#entries.get(key);
    return entry !== undefined && !this.#isIdle(entry);
  }

  /** As RateLimiter.execute, with the tokens of this key. */
  execute (key, fn, options) {
    const entry = this.has(key) ? this.#entries.get(key) : this.#add(key);
    return entry.limiter.execute(context => {
      this.#use(key, entry);
      return fn(context);
    }, options);
  }

  /** Empties the bucket of a key, unless calls wait for its tokens: those do. */
  drain (key) {
    if (this.#entries.get(key)?.limiter.queued > 0) return;
    const { limiter } = this.#add(key);
    limiter.tryTake(limiter.burst);
  }

  #add (key) {
    const entry = { limiter: new RateLimiter(this.#options), usedAt: now() };
    this.#entries.delete(key);
    this.#forget();
    this.#entries.set(key, entry);
    return entry;
  }

  #use (key, entry) {
    if (this.#entries.get(key) !== entry) return;
    entry.usedAt = now();
    this.#entries.delete(key);
    this.#entries.set(key, entry);
  }

  #isIdle ({ limiter, usedAt }) {
    return limiter.queued === 0 && now() - usedAt >= this.#idleMs;
  }

  /** Makes room for another key. */
  #forget () {
    for (const [key, entry] of this.#entries) {
      if (this.#entries.size < this.#keysMax && !this.#isIdle(entry)) return;
      this.#entries.delete(key);
    }
  }
}

/** Ends attempts that take too long, each of them alone. */
class Timeout {
  constructor (limit) {
    const isGrowing = typeof limit === 'object' && limit !== null;
    const { initial, increment, max } = isGrowing
      ? GROWING_TIMEOUT.read(limit, 'timeout')
      : { initial: TIMEOUT.check('timeout', limit), increment: 0, max: Infinity };
    this.initial = initial;
    this.increment = increment;
    this.max = max;
  }

  /** How long attempt number `attempt` may take, ms; it counts from 1. */
  limitOf (attempt) {
    number('attempt', attempt);
    return Math.min(this.initial + this.increment * (attempt - 1), this.max);
  }

  /** Calls `fn({ signal, attempt })` and waits for it as long as the attempt may take. */
  async execute (fn, options) {
    func('fn', fn);
    const { signal, attempt } = ATTEMPT.read(options);
    signal?.throwIfAborted();
    return withDeadline(signal, this.limitOf(attempt), own => fn({ signal: own, attempt }));
  }
}

module.exports = {
  AdaptiveLimiter, Bulkhead, KeyedRateLimiter, PRIORITY, RateLimiter, RetryBudget, Timeout,
};
