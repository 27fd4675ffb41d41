'use strict';

// `sekering/async-retry`, the drop-in. Like retry() of `sekering`, but with the options of
// async-retry, which are not checked. Unknown options are ignored.

const { invalidOption } = require('../base/errors');
const { readable } = require('../base/options');
const { Series } = require('./backoff');
const operations = require('./operation');
const { RetryPlan, RetryRun, tryOnce } = require('./retry-run');

/** The options as they are now, inherited ones, too. onRetry is read when it is needed. */
function snapshotOf (options) {
  const own = Array.isArray(options) ? Array.from(options) : {};
  own.randomize = true;
  for (const name in options) own[name] = options[name];
  own.onRetry = (error, attempt) => options.onRetry && options.onRetry(error, attempt);
  return own;
}

class Plan extends RetryPlan {
  _read (options) {
    const { retries, forever, unref, maxRetryTime, onRetry } = options;
    return {
      series: Series.asGiven(operations.timeouts(options),
        { forever: forever || retries === Infinity, maxRetryTime }),
      onRetry, unref, maxRetryAfter: 0, maxRetryTime: maxRetryTime || Infinity,
    };
  }
}

/** Calls `fn` until it succeeds. */
function asyncRetry (fn, options) {
  try {
    if (typeof fn !== 'function') throw invalidOption('fn', 'a function', fn);
    if (!options) return tryOnce(fn, NO_OPTIONS, Plan);
    if (Object(options) !== options) throw invalidOption('options', 'an object', options);
    const own = readable('options', 'options that can be read', options,
      () => snapshotOf(options));
    const { minTimeout = 1000, maxTimeout = Infinity, maxRetryTime } = own;
    const canWait = !maxRetryTime && !(minTimeout > maxTimeout);
    return canWait ? tryOnce(fn, own, Plan) : new RetryRun(fn, new Plan(own)).start();
  } catch (error) {
    return Promise.reject(error);
  }
}

const NO_OPTIONS = Object.freeze({ randomize: true });

module.exports = asyncRetry;
