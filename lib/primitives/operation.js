'use strict';

// The interface of the `retry` package: retries by hand, for functions that take callbacks.

const clock = require('../base/clock');
const { optionsOf } = require('../base/options');
const { BACKOFF_OPTIONS, OUT_OF_TIME, SERIES, Series, decide, delayOf, readDelays, rulesOf } =
  require('./backoff');
const { keepLast, mainError, remember } = require('./retry-run');

// As in the `retry` package, other names are ignored.
const OPTIONS = optionsOf(SERIES);

function seriesOf (options) {
  const values = OPTIONS.readKnown(options);
  return Array.isArray(options)
    ? Series.ofList(readDelays(options), values)
    : Series.of(values, Boolean(values.randomize));
}

/** Delays in ascending order, 1,000 at most: with more retries, the last one repeats itself. */
function timeouts (options) {
  return Array.from(seriesOf(options || {}).draw());
}

/** One delay; `attempt` counts from 0. */
function createTimeout (attempt, options) {
  const values = BACKOFF_OPTIONS.readKnown(options || {});
  return delayOf(rulesOf(values, Boolean(values.randomize)), attempt);
}

/** Something to be tried until it succeeds. */
function operation (options) {
  return new RetryOperation(seriesOf(options || {}), options);
}

class RetryOperation {
  constructor (timeouts, options) {
    this._options = typeof options === 'boolean' ? { forever: options } : options || {};
    this._series = timeouts instanceof Series ? timeouts
      : Series.ofList(timeouts, OPTIONS.readKnown(this._options));
    this._delays = this._series.draw();
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

  // What programs may read, as the `retry` package has it.
  get _timeouts () { return Array.from(this._delays.subarray(this._retries)); }
  get _originalTimeouts () { return Array.from(this._delays); }
  get _maxRetryTime () { return this._options.maxRetryTime || Infinity; }

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
    if (this._series.endless && attempt > this._delays.length) keepLast(this._errors);
    this._retries = attempt;
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
    this._retries = Infinity;
  }

  /** Makes all retries available again. */
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

/** Replaces methods whose last argument is a callback(error, …) by ones that retry. */
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
