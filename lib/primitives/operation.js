'use strict';

// `sekering/retry`, the drop-in for the `retry` package: retries by hand, for functions that take
// callbacks. As in that package, options are not checked, and unknown ones are ignored.

const clock = require('../base/clock');
const { optionError } = require('../base/errors');
const { CONTRADICTION, OUT_OF_TIME, Series, decide, toDelay } = require('./backoff');
const { keepLast, mainError, remember } = require('./retry-run');

const DEFAULTS = {
  retries: 10, factor: 2, minTimeout: 1000, maxTimeout: Infinity, randomize: false,
};
// After this number of delays, an endless series repeats the last one. Delays no longer grow by
// then.
const ENDLESS_DELAYS = 100;
const DELAYS_MAX = 100_000;

/** One delay; `attempt` counts from 0. There are no defaults, and values are not checked. */
function createTimeout (attempt, { factor, minTimeout, maxTimeout, randomize }) {
  const spread = randomize ? 1 + Math.random() : 1;
  const delay = Math.round(spread * Math.max(minTimeout, 1) * Math.pow(factor, attempt));
  return Math.min(delay, maxTimeout);
}

/** All delays, in ascending order; for an array, a copy. */
function timeouts (options) {
  if (Array.isArray(options)) return Array.from(options);
  const own = { ...DEFAULTS };
  for (const name in options) own[name] = options[name]; // Inherited options count, too.
  const { retries, minTimeout, maxTimeout } = own;
  if (minTimeout > maxTimeout) throw optionError(Error, 'minTimeout', CONTRADICTION);
  // Programs may replace createTimeout, which changes all delays.
  const delayOf = this?.createTimeout ?? module.exports.createTimeout;
  const count = retries === Infinity ? ENDLESS_DELAYS : DELAYS_MAX;
  const delays = [];
  for (let i = 0; i < retries && i < count; i++) delays.push(delayOf(i, own));
  if (delays.length === 0 && options?.forever) delays.push(delayOf(0, own));
  return delays.sort((a, b) => a - b);
}

/** Something to be tried until it succeeds. */
function operation (options) {
  return new RetryOperation(module.exports.timeouts(options), {
    forever: options?.forever || options?.retries === Infinity,
    unref: options?.unref,
    maxRetryTime: options?.maxRetryTime,
  });
}

class RetryOperation {
  constructor (delays, options) {
    this._options = options;
    this._series = Series.asGiven(delays, options);
    this._delays = this._series.draw();
    this._originalTimeouts = delays;
    this._maxRetryTime = options.maxRetryTime || Infinity;
    this._retries = 0; // Since the beginning, or since reset(). Infinity once it is stopped.
    this._fn = null;
    this._errors = [];
    this._attempts = 1;
    this._operationTimeout = null;
    this._operationTimeoutCb = null;
    this._timeout = undefined;
    this._operationStart = null;
    this._timer = undefined;
  }

  /** The remaining delays, which some programs read. */
  get _timeouts () { return this._originalTimeouts.slice(this._retries); }

  /** Calls `fn(attempt)` now, and again for each retry. */
  attempt (fn, timeoutOps) {
    this._fn = fn;
    if (timeoutOps?.timeout) this._operationTimeout = timeoutOps.timeout;
    if (timeoutOps?.cb) this._operationTimeoutCb = timeoutOps.cb;
    // As in `retry`: the first time without the number of the attempt, and not unref'd.
    this._watch(() => this._operationTimeoutCb(), true);
    this._operationStart = clock.wall();
    this._fn(this._attempts);
  }

  /** Plans the next attempt if there was an error and retries are left. */
  retry (error) {
    clock.clearTimer(this._timeout);
    if (!error) return false;
    const attempt = this._retries + 1;
    const elapsed = clock.wall() - this._operationStart;
    const delay = decide(this._series, this._delays, { attempt, elapsed });
    remember(this._errors, error);
    if (delay === OUT_OF_TIME) {
      this._errors.unshift(new Error('RetryOperation timeout occurred'));
    }
    if (delay < 0) return false;
    if (attempt > this._delays.length) keepLast(this._errors);
    this._retries = attempt;
    const keepsAlive = !this._options.unref;
    this._timer = clock.setTimer(() => {
      this._attempts++;
      this._watch(() => this._operationTimeoutCb(this._attempts), keepsAlive);
      this._fn(this._attempts);
    }, delay, keepsAlive);
    return true;
  }

  /** No further attempt is made. */
  stop () {
    clock.clearTimer(this._timeout);
    clock.clearTimer(this._timer);
    this._series.end();
    this._retries = Infinity;
  }

  /** Makes all retries available again; after stop(), an endless series has an end. */
  reset () {
    this._attempts = 1;
    this._retries = 0;
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

  _watch (callback, keepsAlive) {
    if (!this._operationTimeoutCb) return;
    this._timeout = clock.setTimer(callback, toDelay(this._operationTimeout), keepsAlive);
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

/** Replaces methods whose last argument is a callback(error, …) by ones that retry. */
function wrap (object, options, methods) {
  const names = Array.isArray(options) ? options : methods || methodNames(object);
  const given = Array.isArray(options) ? null : options;
  for (const name of Array.from(names)) {
    const original = object[name];
    function retryWrapper (...args) {
      const op = module.exports.operation(given);
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

module.exports = { operation, timeouts, createTimeout, wrap };
