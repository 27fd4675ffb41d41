'use strict';

// retry(), which does more than async-retry and rejects unknown options. retryable() does the same
// as a wrapper.

const { invalidOption } = require('../base/errors');
const { likeFunction } = require('../base/foreign');
const { func } = require('../base/options');
const { RetryPlan, RetryRun, RetryStats, tryOnce } = require('./retry-run');

// Options that matter only when an attempt has failed, and the type that they usually have.
const LATER = {
  __proto__: null,
  retries: 'number', factor: 'number', minTimeout: 'number', maxTimeout: 'number',
  randomize: 'boolean', forever: 'boolean', unref: 'boolean',
  onRetry: 'function', shouldRetry: 'function',
};

/**
 * A quick look at the options: true if they are valid and none of them matters before the first
 * failure. False says nothing.
 */
function canWait (options) {
  try {
    if (typeof options !== 'object' || Array.isArray(options)) return false;
    for (const name in options) {
      const value = options[name];
      const type = LATER[name];
      if (type === undefined || typeof value !== type) return false;
      if (type === 'number' && !(value >= 0)) return false;
    }
    const { maxTimeout } = options;
    return maxTimeout === undefined || (options.minTimeout ?? 1000) <= maxTimeout;
  } catch {
    return false;
  }
}

/** Calls `fn` until it succeeds. */
function retry (fn, options) {
  if (typeof fn !== 'function') return Promise.reject(invalidOption('fn', 'a function', fn));
  if (options && !canWait(options)) {
    try {
      return new RetryRun(fn, new RetryPlan(options)).start();
    } catch (error) {
      return Promise.reject(error);
    }
  }
  return tryOnce(fn, options || {}, RetryPlan);
}

/** A function that calls `fn` with its arguments, and again until that succeeds. */
function retryable (fn, options) {
  func('fn', fn);
  const plan = new RetryPlan(options || {});
  const stats = new RetryStats();
  function retried (...args) {
    return new RetryRun(() => fn.apply(this, args), plan, stats).start();
  }
  return Object.defineProperties(likeFunction(retried, fn), {
    stats: { get: () => stats.toJSON(), enumerable: true },
    options: { value: options || {}, enumerable: true },
  });
}

module.exports = retry;
module.exports.retry = retry;
module.exports.retryable = retryable;
