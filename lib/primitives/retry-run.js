'use strict';

// One call that is tried again: its options (RetryPlan), its attempts from the first to the one
// that settles it (tryOnce and RetryRun), and the figures of many calls (RetryStats).

const clock = require('../base/clock');
const { inheritDeadline, msUntilDeadline } = require('../base/deadline');
const { invalidOption, timedOut } = require('../base/errors');
const { isList, isPlainPromise, promiseOf, read, reasonOf, textOf } = require('../base/foreign');
const { is, optionsOf, readable } = require('../base/options');
const { guarded } = require('../base/warn');
const { EXHAUSTED, NOT_RETRYABLE, SERIES, Series, amount, decide, readDelays } =
  require('./backoff');
const { judgeBy, retryAfterMs } = require('./classify');
const { Distribution } = require('./stats');

// ---- Options -----------------------------------------------------------------------------------

/** An option for which each falsy value stands for none, as in async-retry. */
const optional = option =>
  ({ ...option, check: (name, value) => (value ? option.check(name, value) : undefined) });

const ATTEMPT_TIMEOUT = optionsOf({
  initial: amount('of the first attempt', { min: 1, unit: 'ms', required: true }),
  increment: amount('how much longer each retry may take', { min: 0, default: 0, unit: 'ms' }),
  max: amount('no attempt may take longer', { min: 1, default: Infinity, unit: 'ms' }),
});
const FIXED_TIMEOUT = amount('how long one attempt may take', { min: 1, unit: 'ms' });

function readAttemptTimeout (option, value) {
  if (value === null || value === false || value === 0) return undefined;
  if (typeof value === 'object') return ATTEMPT_TIMEOUT.read(value, option);
  return { initial: FIXED_TIMEOUT.check(option, value), increment: 0, max: Infinity };
}

/** The option shouldRetry as a function; it is given as a function, or as options of retryOn(). */
function readShouldRetry (value, option = 'shouldRetry') {
  if (typeof value === 'function') return value;
  if (typeof value === 'object' && !isList(value)) return judgeBy(value, option);
  throw invalidOption(option, 'a function, or lists as retryOn() takes them', value);
}

/** Without shouldRetry, every error is retried, unless its `retryable` is false. */
const mayPass = error => read(error, 'retryable') !== false;

const OPTIONS = optionsOf({
  ...SERIES,
  unref: is.any('whether the process may end while a call waits', { default: false }),
  onRetry: optional(is.func('told of each failure that will be followed by another attempt')),
  shouldRetry: optional({
    doc: 'false ends the call with this error',
    check: (option, value) => readShouldRetry(value, option),
  }),
  attemptTimeout: { ...FIXED_TIMEOUT, check: readAttemptTimeout },
  maxRetryAfter: amount('how long a Retry-After makes a delay at most; 0 ignores it',
    { min: 0, default: 60_000, unit: 'ms' }),
  signal: is.signal('ends the call with its reason'),
  budget: is.having('no retry without its leave', ['tryWithdraw', 'deposit'],
    { expected: 'a RetryBudget (with tryWithdraw and deposit)', or: [null] }),
});

/**
 * Set among the options, has onRetry told of the delay, too. async-retry tells it of the error and
 * the attempt only, and some functions mind further arguments.
 */
const WITH_DELAY = Symbol('with delay');

class RetryPlan {
  constructor (options) {
    const values = readable('options', 'options that can be read', options,
      () => this._read(options));
    this.options = options;
    this.series = values.series;
    this.withDelay = options[WITH_DELAY] === true;
    this.retries = values.retries;
    this.maxRetryTime = values.maxRetryTime;
    this.maxRetryAfter = values.maxRetryAfter;
    this.attemptTimeout = values.attemptTimeout;
    this.onRetry = values.onRetry;
    this.shouldRetry = values.shouldRetry;
    this.signal = values.signal;
    this.budget = values.budget ?? undefined;
    this.unref = Boolean(values.unref);
  }

  /** The values of the options, and their series of delays. The drop-in overrides this. */
  _read (options) {
    const isList = Array.isArray(options);
    const values = isList ? OPTIONS.readKnown(options) : OPTIONS.read(options);
    const { jitter, strategy } = options;
    const randomize = 'randomize' in options
      ? Boolean(options.randomize)
      : strategy === undefined && jitter === undefined;
    const series = isList
      ? Series.ofList(readDelays(options), values)
      : Series.of(values, randomize);
    return { ...values, series, shouldRetry: values.shouldRetry ?? mayPass };
  }

  /** Whether something has to be done for a call that succeeds at once. */
  get watches () {
    return this.signal !== undefined || this.attemptTimeout !== undefined ||
      this.budget !== undefined || this.maxRetryTime !== Infinity;
  }

  /** How long attempt number `attempt` may take, ms; it counts from 1. */
  timeoutOf (attempt) {
    const { initial, increment, max } = this.attemptTimeout;
    return Math.min(initial + increment * (attempt - 1), max);
  }
}

// ---- Errors ------------------------------------------------------------------------------------

// The oldest errors beyond this are forgotten.
const ERRORS_MAX = 1000;

/** Adds an error to the list. */
function remember (errors, error) {
  errors.push(error);
  if (errors.length > ERRORS_MAX) errors.shift();
}

/** Keeps the last error only: a series without an end reports no other. */
function keepLast (errors) {
  errors.splice(0, errors.length - 1);
}

/**
 * The most frequent error by its message: what went wrong, rather than what went wrong last. Of
 * several that are equally frequent, the last one.
 */
function mainError (errors) {
  const counts = new Map();
  let found;
  let most = 0;
  for (const error of errors) {
    const message = textOf(read(error, 'message'));
    const count = (counts.get(message) ?? 0) + 1;
    counts.set(message, count);
    if (count >= most) {
      found = error;
      most = count;
    }
  }
  return found;
}

// ---- Attempts ----------------------------------------------------------------------------------

/** What the function gets besides `bail` and the number of the attempt. */
class AttemptContext {
  #controller;
  #outer;

  constructor (outer, own) {
    this.#outer = outer;
    if (!own) return;
    this.#controller = new AbortController();
    inheritDeadline(this.#controller.signal, outer);
  }

  /** Aborted when the attempt takes too long, and when the caller aborts. */
  get signal () {
    return this.#controller === undefined ? this.#outer : this.#controller.signal;
  }

  abort (reason) {
    this.#controller?.abort(reason);
  }
}

const NO_DELAYS = new Float64Array(0);

// Where the promise that is made next leaves its handles: cheaper than a closure for each.
let resolveNext;
let rejectNext;
const takeHandles = (resolve, reject) => {
  resolveNext = resolve;
  rejectNext = reject;
};

class RetryRun {
  constructor (fn, plan, stats) {
    this.fn = fn;
    this.plan = plan;
    this.stats = stats;
    this.promise = new Promise(takeHandles); // Of the whole call.
    this.resolve = resolveNext;
    this.reject = rejectNext;
    this.bail = undefined;
    this.attempt = 0; // The number of the last attempt, which is `running` unless that is 0.
    this.running = 0;
    this.settled = false;
    this.startedAt = 0;
    this.delays = NO_DELAYS; // Drawn at the first failure.
    this.errors = undefined;
    this.timer = undefined; // Of the pause, or of the attempt.
    this.context = undefined;
    this.onAbort = undefined;
  }

  /** Makes the first attempt; the others follow by themselves. */
  start () {
    this.bail = reason => this.stop(reason);
    this.stats?.call();
    if (this.plan.watches) this.watch();
    if (!this.settled) this.run();
    return this.promise;
  }

  /** Goes on after a first attempt that was made outside. `bail` is what it was given. */
  goOn (error, bail) {
    this.bail = bail;
    this.attempt = this.running = 1;
    this.fail(error, 1);
    return this.promise;
  }

  watch () {
    const { signal, maxRetryTime } = this.plan;
    if (maxRetryTime !== Infinity) this.startedAt = clock.wall();
    if (signal === undefined) return;
    if (signal.aborted) {
      this.finish(reasonOf(signal));
      return;
    }
    this.onAbort = () => {
      const reason = reasonOf(signal);
      const { context } = this;
      this.finish(reason);
      context?.abort(reason);
    };
    signal.addEventListener('abort', this.onAbort, { once: true });
  }

  /** Makes one attempt. Never throws. */
  run () {
    const { fn, plan } = this;
    const attempt = ++this.attempt;
    this.running = attempt;
    this.stats?.begin(attempt);
    const plain = plan.signal === undefined && plan.attemptTimeout === undefined;
    try {
      const result = plain ? fn(this.bail, attempt) : fn(this.bail, attempt, this.enter(attempt));
      promiseOf(result).then(value => this.succeed(value, attempt),
        error => this.fail(error, attempt));
    } catch (error) {
      this.fail(error, attempt);
    }
  }

  /** What an attempt needs that can be ended from outside. */
  enter (attempt) {
    const { signal, attemptTimeout, unref } = this.plan;
    this.context = new AttemptContext(signal, attemptTimeout !== undefined);
    if (attemptTimeout !== undefined) {
      const ms = this.plan.timeoutOf(attempt);
      this.timer = clock.setTimer(() => this.expire(attempt, ms), ms, !unref);
    }
    return this.context;
  }

  expire (attempt, ms) {
    const { context } = this;
    const error = timedOut(ms);
    this.fail(error, attempt);
    context.abort(error);
  }

  succeed (value, attempt) {
    if (this.settled || this.running !== attempt) return;
    this.release();
    const { budget } = this.plan;
    if (budget !== undefined) guarded('budget.deposit failed', () => budget.deposit());
    this.stats?.succeed(attempt);
    this.resolve(value);
  }

  /** An attempt has failed. What an abandoned attempt does later is ignored. */
  fail (error, attempt) {
    if (this.settled || this.running !== attempt) return;
    this.running = 0;
    this.context = undefined;
    clock.clearTimer(this.timer);
    this.stats?.failAttempt(error);
    try {
      this.judge(error);
    } catch (thrown) {
      this.finish(thrown);
    }
  }

  /** Finds out whether the error is worth a retry. */
  judge (error) {
    const { shouldRetry } = this.plan;
    const verdict = !read(error, 'bail') &&
      (shouldRetry === undefined || shouldRetry(error, this.attempt));
    if (typeof read(verdict, 'then') !== 'function') {
      this.proceed(error, Boolean(verdict));
      return;
    }
    promiseOf(verdict).then(value => this.proceed(error, Boolean(value)))
      .catch(thrown => this.finish(thrown));
  }

  /** Does what the core decides: ends the call, or plans the next attempt. */
  proceed (error, retryable) {
    if (this.settled) return; // By what shouldRetry did.
    const delay = this.decide(error, retryable);
    if (delay === NOT_RETRYABLE) {
      this.finish(error);
      return;
    }
    const errors = this.errors ??= [];
    remember(errors, error);
    if (delay < 0) {
      if (delay === EXHAUSTED) this.stats?.exhaust();
      this.finish(mainError(errors));
      return;
    }
    if (this.plan.series.endless && this.attempt > this.delays.length) keepLast(errors);
    this.timer = clock.setTimer(() => this.run(), delay, !this.plan.unref);
    this.stats?.pause(delay);
    this.notify(error, delay);
  }

  decide (error, retryable) {
    const { series, budget, maxRetryAfter, signal } = this.plan;
    if (retryable && this.errors === undefined) this.delays = series.draw();
    return decide(series, this.delays, {
      attempt: this.attempt,
      elapsed: clock.wall() - this.startedAt,
      retryable,
      retryAfter: retryable && maxRetryAfter > 0 ? retryAfterMs(error) : undefined,
      left: msUntilDeadline(signal),
      budget,
    });
  }

  notify (error, delay) {
    const { onRetry, options, withDelay } = this.plan;
    if (onRetry === undefined) return;
    const result = withDelay
      ? onRetry.call(options, error, this.attempt, delay)
      : onRetry.call(options, error, this.attempt);
    if (typeof read(result, 'then') === 'function') {
      promiseOf(result).catch(thrown => this.finish(thrown));
    }
  }

  /** What the user's bail() does. */
  stop (reason) {
    this.finish(finalError(reason));
  }

  /** Ends the call with an error. */
  finish (error) {
    if (this.settled) return;
    this.release();
    this.stats?.fail();
    this.reject(error);
  }

  release () {
    this.settled = true;
    clock.clearTimer(this.timer);
    if (this.onAbort !== undefined) {
      this.plan.signal.removeEventListener('abort', this.onAbort);
      this.onAbort = undefined;
    }
  }
}

// Errors that the user has passed to bail(): another attempt is useless.
const final = new WeakSet();

const hasBailed = error => final.has(error);

/** The error with which bail() ends a call. */
function finalError (reason) {
  const error = reason || new Error('Aborted');
  if (typeof error === 'object') final.add(error);
  return error;
}

// ---- The first attempt -------------------------------------------------------------------------

/**
 * The RetryRun that continues after a first failure; undefined if the options have become invalid
 * meanwhile.
 */
function takeOver (fn, options, Plan, reject) {
  try {
    return new RetryRun(fn, new Plan(options));
  } catch (error) {
    reject(error);
    return undefined;
  }
}

/**
 * Nearly all calls succeed at once, so until the first failure there is no RetryRun, no plan and no
 * list of delays. A second promise beside that of the function is needed, because bail() ends the
 * call even if the function's own promise never settles.
 */
function tryOnce (fn, options, Plan) {
  const promise = new Promise(takeHandles);
  const resolve = resolveNext;
  const reject = rejectNext;
  let ended = false;
  let run;
  const bail = reason => {
    ended = true;
    if (run === undefined) reject(finalError(reason));
    else run.stop(reason);
  };
  const fail = error => {
    if (ended || run !== undefined) return;
    run = takeOver(fn, options, Plan, reject);
    if (run !== undefined) resolve(run.goOn(error, bail));
  };
  try {
    const result = fn(bail, 1);
    if (isPlainPromise(result)) result.then(resolve, fail);
    else promiseOf(result).then(resolve, fail);
  } catch (error) {
    fail(error);
  }
  return promise;
}

// ---- Figures -----------------------------------------------------------------------------------

// For a histogram of the delays, ms.
const DELAY_BOUNDS = [50, 100, 250, 500, 1000, 2000, 5000, 10_000, 20_000, 30_000, 60_000, 120_000,
  300_000];

/** The key under which the figures have the Distribution of the delays, for metrics. */
const DELAYS = Symbol('delays');

/**
 * A value that identifies the open period of a breaker that a failed attempt ran into or caused;
 * undefined if there is none. It may be the error: all calls that a breaker rejects in one period
 * get the same one.
 */
function openPeriodOf (breaker, error) {
  if (typeof breaker?._period === 'function') return breaker.opened ? breaker._period() : undefined;
  return read(error, 'code') === 'EOPENBREAKER' ? error : undefined;
}

/** What a retryable function has done so far. */
class RetryStats {
  /** `breaker`: the breaker that each attempt goes through, if it is known. */
  constructor (breaker) {
    this.breaker = breaker;
    this.calls = 0;
    this.attempts = 0;
    this.successes = 0;
    this.failures = 0;
    this.retries = 0;
    this.successfulRetries = 0;
    this.exhausted = 0;
    this.trips = 0;
    this.openPeriod = undefined; // The last one that was counted.
    this.pauses = new Distribution(DELAY_BOUNDS);
  }

  call () { this.calls++; }

  begin (attempt) {
    this.attempts++;
    if (attempt > 1) this.retries++;
  }

  succeed (attempt) {
    this.successes++;
    if (attempt > 1) this.successfulRetries++;
  }

  /** Counts each open period of a breaker once, however many attempts run into it. */
  failAttempt (error) {
    const period = openPeriodOf(this.breaker, error);
    if (period === undefined || period === this.openPeriod) return;
    this.openPeriod = period;
    this.trips++;
  }

  fail () { this.failures++; }

  exhaust () { this.exhausted++; }

  pause (ms) { this.pauses.add(ms); }

  /** The figures at this moment, as a plain object. */
  toJSON () {
    const settled = this.successes + this.failures;
    const { count: delays, sum: totalDelay } = this.pauses;
    const figures = {
      calls: this.calls,
      successes: this.successes,
      failures: this.failures,
      successRate: settled === 0 ? 1 : this.successes / settled,
      attempts: this.attempts,
      retries: this.retries,
      successfulRetries: this.successfulRetries,
      failedRetries: this.retries - this.successfulRetries,
      maxRetriesReached: this.exhausted,
      circuitBreakerTrips: this.trips,
      delays,
      totalDelay,
      averageDelay: delays === 0 ? 0 : totalDelay / delays,
    };
    return Object.defineProperty(figures, DELAYS, { value: this.pauses });
  }
}

module.exports = {
  DELAYS, DELAY_BOUNDS, RetryPlan, RetryRun, RetryStats, WITH_DELAY, hasBailed, keepLast, mainError,
  mayPass, readShouldRetry, remember, tryOnce,
};
