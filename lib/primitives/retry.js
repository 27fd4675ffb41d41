'use strict';

// retry(), which replaces async-retry, and retryable(), the same as a wrapper.

const { invalidOption } = require('../base/errors');
const { likeFunction } = require('../base/foreign');
const { func } = require('../base/options');
const { RetryPlan, RetryRun, RetryStats } = require('./retry-run');

// As in async-retry, names that mean nothing to it are ignored.
const makePlan = options => new RetryPlan(options || {}, { ignoreUnknown: true });

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
  if (typeof options !== 'object' || Array.isArray(options)) return false;
  for (const name in options) {
    const value = options[name];
    const type = LATER[name];
    if (type === undefined || typeof value !== type) return false;
    if (type === 'number' && !(value >= 0)) return false;
  }
  const { maxTimeout } = options;
  return maxTimeout === undefined || (options.minTimeout ?? 1000) <= maxTimeout;
}

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
    return new RetryRun(fn, makePlan(options));
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

/** Calls `fn` until it succeeds, as async-retry does. */
function retry (fn, options) {
  if (typeof fn !== 'function') return Promise.reject(invalidOption('fn', 'a function', fn));
  if (options && !canWait(options)) {
    try {
      return new RetryRun(fn, makePlan(options)).start();
    } catch (error) {
      return Promise.reject(error);
    }
  }
  return tryOnce(fn, options);
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
