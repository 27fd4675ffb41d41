'use strict';

// retry(), a drop-in for async-retry, and retryable(), the same as a wrapper.

const { invalidOption } = require('../base/errors');
const { func } = require('../base/options');
const { RetryPlan, canWait } = require('./retry-plan');
const { RetryRun } = require('./retry-run');
const { RetryStats } = require('./retry-stats');

// Where the promise that is made next leaves its handles: cheaper than a closure for each.
let resolveNext;
let rejectNext;
const takeHandles = (resolve, reject) => {
  resolveNext = resolve;
  rejectNext = reject;
};

/** What goes on after a first failure; undefined if the options have become unusable since. */
function takeOver (fn, options, reject) {
  try {
    return new RetryRun(fn, new RetryPlan(options || {}));
  } catch (error) {
    reject(error);
    return undefined;
  }
}

/**
 * Nearly all calls succeed at once, so until the first failure there is no RetryRun, no plan and
 * no list of delays. There has to be a promise beside that of the function, because bail() ends
 * the call even if the function's own promise never settles.
 */
function tryOnce (fn, options) {
  const promise = new Promise(takeHandles);
  const resolve = resolveNext;
  const reject = rejectNext;
  let ended = false;
  let run;
  const bail = reason => {
    ended = true;
    if (run === undefined) reject(reason || new Error('Aborted'));
    else run.stop(reason);
  };
  const fail = error => {
    if (ended || run !== undefined) return;
    run = takeOver(fn, options, reject);
    if (run !== undefined) resolve(run.goOn(error, bail));
  };
  try {
    const result = fn(bail, 1);
    if (result instanceof Promise) result.then(resolve, fail);
    else Promise.resolve(result).then(resolve, fail);
  } catch (error) {
    fail(error);
  }
  return promise;
}

/**
 * Calls `fn` until it succeeds, as async-retry does.
 *
 *     const body = await retry(async bail => {
 *       const response = await fetch(url);
 *       if (response.status === 403) return bail(new Error('Forbidden'));
 *       return response.json();
 *     }, { retries: 5 });
 *
 * @template T
 * @param {(bail: (reason?: any) => void, attempt: number, context?: { signal: AbortSignal }) =>
 *   T | PromiseLike<T>} fn `bail` ends the call with its argument; `attempt` counts from 1;
 *   `context` is there with the options signal and attemptTimeout
 * @param {object|number[]} [options] or an array of delays in ms
 * @param {number} [options.retries=10] how often at most; Infinity is allowed
 * @param {boolean} [options.forever=false] no end of retries, with the delay that `retries` leads
 *   to
 * @param {number} [options.minTimeout=1000] the first delay, ms
 * @param {number} [options.maxTimeout=Infinity] no delay is longer, ms
 * @param {number} [options.factor=2] by which delays grow
 * @param {boolean} [options.randomize] multiplies each delay by 1 to 2; true unless strategy or
 *   jitter are given
 * @param {string} [options.strategy] 'exponential', 'linear', 'fixed', 'fibonacci', 'decorrelated'
 * @param {string|number} [options.jitter] 'none', 'full', 'equal', or p from 0 to 1 for ±p
 * @param {number} [options.maxRetryTime=Infinity] no retry is planned after so many ms
 * @param {boolean} [options.unref=false] whether the process may end while a call waits
 * @param {(error: any, attempt: number) => void} [options.onRetry] told of each failure that will
 *   be followed by another attempt; if it throws, that ends the call
 * @param {(error: any, attempt: number) => boolean} [options.shouldRetry] false ends the call with
 *   this error; a promise is waited for
 * @param {number|{ initial: number, increment?: number, max?: number }} [options.attemptTimeout]
 *   how long one attempt may take, ms (no limit); it fails with ETIMEDOUT. With `increment`, each
 *   retry may take so much longer
 * @param {number} [options.maxRetryAfter=60000] how long a delay is made at most, in ms, because
 *   the error carries a Retry-After; 0 ignores those
 * @param {AbortSignal} [options.signal] ends the call with its reason
 * @param {{ tryWithdraw(): boolean, deposit(): void }} [options.budget] a RetryBudget: no retry
 *   without its leave
 * @returns {Promise<T>} rejects with the most frequent error (the last one of several); with what
 *   `bail` was given; at once with an error that has a true `bail` property, as NonRetryableError
 *   has; or with ERR_INVALID_OPTION
 */
function retry (fn, options) {
  if (typeof fn !== 'function') return Promise.reject(invalidOption('fn', 'a function', fn));
  if (options && !canWait(options)) {
    try {
      return new RetryRun(fn, new RetryPlan(options)).start();
    } catch (error) {
      return Promise.reject(error);
    }
  }
  return tryOnce(fn, options);
}

/**
 * A function that calls `fn` with its arguments, and again until that succeeds.
 * @template {(...args: any[]) => any} F
 * @param {F} fn
 * @param {object|number[]} [options] those of retry()
 * @returns {F & { stats: object, options: object }} `stats` holds the figures so far: calls,
 *   successes, failures, successRate (0 to 1, 1 without calls), attempts, retries,
 *   successfulRetries, failedRetries, maxRetriesReached, delays, totalDelay and
 *   averageDelay (ms)
 * @throws {TypeError|RangeError} ERR_INVALID_OPTION
 */
function retryable (fn, options) {
  func('fn', fn);
  const plan = new RetryPlan(options || {});
  const stats = new RetryStats();
  function retried (...args) {
    return new RetryRun(() => fn.apply(this, args), plan, stats).start();
  }
  return Object.defineProperties(retried, {
    name: { value: fn.name, configurable: true },
    length: { value: fn.length, configurable: true },
    stats: { get: () => stats.toJSON(), enumerable: true },
    options: { value: options || {}, enumerable: true },
  });
}

module.exports = retry;
module.exports.retry = retry;
module.exports.retryable = retryable;
