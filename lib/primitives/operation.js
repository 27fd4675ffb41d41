'use strict';

// The interface of the `retry` package: retries by hand, for functions that take callbacks.

const clock = require('../base/clock');
const { Backoff, amount, planDelays } = require('./backoff');
const { mainError, remember } = require('./failures');

/**
 * The delays that an operation with these options waits, in ms, in ascending order.
 * @param {object|number[]} [options] retries (10), factor (2), minTimeout (1000 ms), maxTimeout
 *   (Infinity), randomize (false), and strategy and jitter as in createBackoff; an array of delays
 *   is copied as it is. At most 1,000 delays are written down: an operation with more retries
 *   repeats the last one.
 * @returns {number[]}
 * @throws {RangeError} 'minTimeout is greater than maxTimeout'
 * @throws {TypeError|RangeError} ERR_INVALID_OPTION
 */
function timeouts (options) {
  return planDelays(options || {}, false).list;
}

/**
 * One delay.
 * @param {number} attempt counts from 0
 * @param {object} [options] as for timeouts
 * @returns {number} ms
 */
function createTimeout (attempt, options) {
  return new Backoff(options || {}, false).delay(attempt);
}

/**
 * Something to be tried until it succeeds.
 * @param {object|number[]} [options] those of `timeouts`, and: forever (false), unref (false: the
 *   timers keep the process alive), maxRetryTime (Infinity, ms: no retry begins after it)
 * @returns {RetryOperation}
 */
function operation (options) {
  const given = options || {};
  const { list, further, beyond } = planDelays(given, false);
  const { unref, maxRetryTime } = given;
  const made = new RetryOperation(list, { forever: further === Infinity, unref, maxRetryTime });
  made._further = made._originalFurther = further;
  made._beyond = beyond;
  return made;
}

class RetryOperation {
  /**
   * @param {number[]} timeouts the delays, ms
   * @param {{ forever?: boolean, unref?: boolean, maxRetryTime?: number }|boolean} [options]
   *   a boolean stands for `forever`
   */
  constructor (timeouts, options) {
    const given = typeof options === 'boolean' ? { forever: options } : options || {};
    this._originalTimeouts = timeouts.slice();
    this._timeouts = timeouts.slice();
    this._options = given;
    this._maxRetryTime = amount('maxRetryTime', given.maxRetryTime || Infinity, 0, { min: 0 });
    this._further = given.forever ? Infinity : 0;
    this._originalFurther = this._further;
    const last = timeouts.length > 0 ? timeouts[timeouts.length - 1] : 1;
    this._beyond = () => last;
    this._fn = null;
    this._errors = [];
    this._attempts = 1;
    this._operationTimeout = null;
    this._operationTimeoutCb = null;
    this._timeout = undefined;
    this._operationStart = null;
    this._timer = undefined;
  }

  /** Calls `fn(attempt)` now, and again for each retry. */
  attempt (fn, timeoutOps) {
    this._fn = fn;
    if (timeoutOps) {
      if (timeoutOps.timeout) this._operationTimeout = timeoutOps.timeout;
      if (timeoutOps.cb) this._operationTimeoutCb = timeoutOps.cb;
    }
    this._watch();
    this._operationStart = clock.wall();
    this._fn(this._attempts);
  }

  /**
   * Plans the next attempt if there was an error and retries are left.
   * @returns {boolean} false when the caller has to go on by itself
   */
  retry (error) {
    clock.clearTimer(this._timeout);
    if (!error) return false;
    if (clock.wall() - this._operationStart >= this._maxRetryTime) {
      remember(this._errors, error);
      this._errors.unshift(new Error('RetryOperation timeout occurred'));
      return false;
    }
    remember(this._errors, error);
    const delay = this._nextDelay();
    if (delay === undefined) return false;
    this._timer = clock.setTimer(() => {
      this._attempts++;
      this._watch();
      this._fn(this._attempts);
    }, delay, !this._options.unref);
    return true;
  }

  /** No further attempt is made. */
  stop () {
    clock.clearTimer(this._timeout);
    clock.clearTimer(this._timer);
    this._timeouts = [];
    this._further = 0;
  }

  /** Makes all retries available again. */
  reset () {
    this._attempts = 1;
    this._timeouts = this._originalTimeouts.slice();
    this._further = this._originalFurther;
  }

  /** The errors so far, oldest first: the last 1,000, or only the last one if retrying forever. */
  errors () {
    return this._errors;
  }

  /** How many attempts have been made. */
  attempts () {
    return this._attempts;
  }

  /** The most frequent error by its message, the last one of several; null without errors. */
  mainError () {
    return this._errors.length === 0 ? null : mainError(this._errors);
  }

  _nextDelay () {
    if (this._timeouts.length > 0) return this._timeouts.shift();
    if (this._further <= 0) return undefined;
    this._further--;
    if (this._further === Infinity) this._errors.splice(0, this._errors.length - 1);
    return this._beyond();
  }

  _watch () {
    if (!this._operationTimeoutCb) return;
    this._timeout = clock.setTimer(() => this._operationTimeoutCb(this._attempts),
      this._operationTimeout ?? 1, !this._options.unref);
  }
}

// The two old names of attempt().
for (const name of ['try', 'start']) {
  RetryOperation.prototype[name] = function (fn) {
    process.emitWarning(`RetryOperation.${name}() is deprecated: use attempt()`,
      'DeprecationWarning', 'SEKERING_RETRY_START');
    this.attempt(fn);
  };
}

/** The names of the functions that an object has, its own and inherited ones. */
function methodNames (object) {
  const names = [];
  for (const name in object) if (typeof object[name] === 'function') names.push(name);
  return names;
}

/**
 * Replaces methods whose last argument is a callback(error, …) by ones that retry.
 * @param {object} object
 * @param {object|string[]} [options] those of `operation`, or the names of the methods
 * @param {string[]} [methods] all of them unless given
 */
function wrap (object, options, methods) {
  const names = Array.isArray(options) ? options : methods || methodNames(object);
  const given = Array.isArray(options) ? null : options;
  for (const name of names) {
    const original = object[name];
    function retryWrapper (...args) {
      const op = operation(given);
      const callback = args.pop();
      const done = function (error, ...rest) {
        if (op.retry(error)) return;
        // As many arguments as came, so that the callback can count them.
        if (error) callback.call(this, op.mainError(), ...rest);
        else callback.apply(this, arguments);
      };
      op.attempt(() => original.apply(object, [...args, done]));
    }
    object[name] = Object.assign(retryWrapper.bind(object), { options: given });
  }
}

module.exports = { operation, timeouts, createTimeout, wrap, RetryOperation };
