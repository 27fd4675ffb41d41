'use strict';

// The breaker's options: their checks and their defaults.

const { invalidOption } = require('../base/errors');
const { bag, finite, func, number } = require('../base/options');
const { BUCKETS_MAX, errorThreshold } = require('./breaker-config');

const PROBES_MAX = 16;
const SLIDING_WINDOW_MAX = 10000;
const COUNT_MAX = 2 ** 32 - 1;
const FACTOR_MAX = 1000;
const TIME = { min: 0, unit: 'ms' };

// Kept from opossum: what is printed for an option that it retired long ago.
const DEPRECATED = 'options.maxFailures is deprecated. Please use options.errorThresholdPercentage';

const ABSENT = value => value === undefined || value === null;

/** Checks `options[name]` if it was given; null counts as not given, as in opossum. */
function given (options, name, check, ...rest) {
  if (!ABSENT(options[name])) check(name, options[name], ...rest);
}

function flag (name, value) {
  if (typeof value !== 'boolean') throw invalidOption(name, 'true or false', value);
}

function text (name, value) {
  if (typeof value !== 'string') throw invalidOption(name, 'a string', value);
}

function object (name, value, ...methods) {
  const fits = typeof value === 'object' && methods.every(m => typeof value[m] === 'function');
  if (!fits) throw invalidOption(name, `an object with ${methods.join(', ')}`, value);
}

function timeout (name, value) {
  if (value === false) return;
  if (value === true) throw invalidOption(name, 'a number of ms, or false for none', value);
  finite(name, value, TIME);
}

/** A fixed time, or one that grows with every trip. */
function resetTimeout (name, value) {
  if (typeof value !== 'object') {
    finite(name, value, TIME);
    return;
  }
  finite(`${name}.initial`, value.initial, TIME);
  if (!ABSENT(value.factor)) number(`${name}.factor`, value.factor, { min: 1, max: FACTOR_MAX });
  if (!ABSENT(value.max)) number(`${name}.max`, value.max, { min: value.initial, unit: 'ms' });
}

function checkOpossum (options) {
  given(options, 'timeout', timeout);
  given(options, 'resetTimeout', resetTimeout);
  given(options, 'rollingCountTimeout', finite, TIME);
  given(options, 'rollingCountBuckets', finite, { min: 0, max: BUCKETS_MAX, integer: true });
  given(options, 'errorThresholdPercentage', finite, { min: 0, max: 100, unit: '%' });
  given(options, 'volumeThreshold', number, { min: 0, max: COUNT_MAX, integer: true });
  if (options.capacity !== Infinity) {
    given(options, 'capacity', number, { min: 0, max: Number.MAX_SAFE_INTEGER, integer: true });
  }
  given(options, 'cacheTTL', finite, TIME);
  if (options.coalesceTTL !== false) given(options, 'coalesceTTL', finite, TIME);
  for (const name of ['cacheSize', 'coalesceSize']) {
    if (options[name] !== Infinity) given(options, name, number, { min: 1, integer: true });
  }
  for (const name of ['errorFilter', 'cacheGetKey']) given(options, name, func);
  for (const name of ['name', 'group']) given(options, name, text);
  for (const name of [
    'rollingPercentilesEnabled', 'enabled', 'allowWarmUp', 'cache', 'coalesce', 'enableSnapshots',
    'autoRenewAbortController'
  ]) {
    given(options, name, flag);
  }
  given(options, 'rotateBucketController', object, 'on', 'removeListener', 'listeners');
  given(options, 'status', bag);
  given(options, 'state', bag);
  if (!ABSENT(options.coalesceResetOn) && !Array.isArray(options.coalesceResetOn)) {
    throw invalidOption('coalesceResetOn', 'an array of strings', options.coalesceResetOn);
  }
  checkCollaborators(options);
}

// These two keep opossum's messages, which its users may know.
function checkCollaborators ({ cache, cacheTransport, abortController }) {
  if (cache && cacheTransport !== undefined) {
    const fits = typeof cacheTransport === 'object' && cacheTransport?.get &&
      cacheTransport.set && cacheTransport.flush;
    if (!fits) {
      throw withCode(new TypeError(
        'options.cacheTransport should be an object with `get`, `set` and `flush` methods'));
    }
  }
  if (abortController && typeof abortController.abort !== 'function') {
    throw withCode(new TypeError('AbortController does not contain `abort()` method'));
  }
}

function withCode (error) {
  error.code = 'ERR_INVALID_OPTION';
  return error;
}

function checkOurs (options) {
  given(options, 'consecutiveFailures', number, { min: 1, max: COUNT_MAX, integer: true });
  given(options, 'failureCount', number, { min: 1, max: COUNT_MAX, integer: true });
  given(options, 'slidingWindowSize', number, { min: 1, max: SLIDING_WINDOW_MAX, integer: true });
  given(options, 'minimumCalls', number, { min: 1, max: SLIDING_WINDOW_MAX, integer: true });
  given(options, 'slowCallDuration', number, { min: 0.001, unit: 'ms' });
  given(options, 'slowCallThresholdPercentage', number, { min: 0, max: 100, unit: '%' });
  given(options, 'halfOpenProbes', number, { min: 1, max: PROBES_MAX, integer: true });
  given(options, 'successThreshold', number, { min: 1, max: COUNT_MAX, integer: true });
  given(options, 'rampUp', number, TIME);
  if (!ABSENT(options.fallback) && typeof options.fallback?.fire !== 'function') {
    func('fallback', options.fallback);
  }
  checkTogether(options);
}

function checkTogether (options) {
  const needs = (name, other) => {
    if (!ABSENT(options[name]) && ABSENT(options[other])) {
      throw invalidOption(other, `a value, as ${name} is set,`, options[other]);
    }
  };
  needs('minimumCalls', 'slidingWindowSize');
  needs('slowCallThresholdPercentage', 'slowCallDuration');
  if (options.minimumCalls > options.slidingWindowSize) {
    throw invalidOption('minimumCalls', `at most slidingWindowSize (${options.slidingWindowSize})`,
      options.minimumCalls, RangeError);
  }
}

/**
 * Checks the options of a breaker.
 * @throws {TypeError | RangeError} ERR_INVALID_OPTION
 */
function check (options) {
  checkOpossum(options);
  checkOurs(options);
  if (options.maxFailures) console.error(DEPRECATED);
}

/** Undefined for a rule that is off. */
const percentageOrNone = threshold => (threshold < 0 ? undefined : threshold);

/** opossum's options with their defaults, and ours as they were given. */
function resolve (options) {
  const duration = options.timeout ?? 10000;
  return {
    ...options,
    timeout: duration,
    resetTimeout: options.resetTimeout ?? 30000,
    errorThresholdPercentage: percentageOrNone(errorThreshold(options)),
    rollingCountTimeout: options.rollingCountTimeout ?? 10000,
    rollingCountBuckets: options.rollingCountBuckets ?? 10,
    rollingPercentilesEnabled: options.rollingPercentilesEnabled !== false,
    capacity: Number.isInteger(options.capacity) ? options.capacity : Number.MAX_SAFE_INTEGER,
    volumeThreshold: options.volumeThreshold ?? 0,
    errorFilter: options.errorFilter ?? (() => false),
    cache: options.cache ?? false,
    cacheTTL: options.cacheTTL ?? 0,
    cacheGetKey: options.cacheGetKey ?? defaultKey,
    enableSnapshots: options.enableSnapshots !== false,
    rotateBucketController: options.rotateBucketController,
    coalesce: options.coalesce === true,
    coalesceTTL: options.coalesceTTL ?? duration,
    coalesceResetOn: coalesceResetOn(options)
  };
}

const defaultKey = (...args) => JSON.stringify(args);

const coalesceResetOn = options =>
  (options.coalesceResetOn ?? []).filter(o => ['error', 'success', 'timeout'].includes(o));

module.exports = { check, coalesceResetOn, defaultKey, resolve };
