'use strict';

// The breaker's options: their checks, their defaults, and the configuration that the core gets.

const { invalidOption } = require('../base/errors');
const { bag, finite, func, number } = require('../base/options');
const { TICKS_PER_MS } = require('../base/recorder');
const { NO_RULES, WINDOW_MS, windowConfig } = require('./stats');

const PROBES_MAX = 16;
const SLIDING_WINDOW_MAX = 10000;
const COUNT_MAX = 2 ** 32 - 1;
const FACTOR_MAX = 1000;
const TICKS_MAX = 2 ** 31 - 1;
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

/** opossum's options with their defaults, and ours as they were given. */
function resolve (options) {
  const duration = options.timeout ?? 10000;
  return {
    ...options,
    timeout: duration,
    resetTimeout: options.resetTimeout ?? 30000,
    errorThresholdPercentage: options.errorThresholdPercentage ?? 50,
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

/** The share of failures that trips, or -1: a rule by count replaces opossum's default of 50 %. */
function errorThreshold (options) {
  const byCount = !ABSENT(options.consecutiveFailures) || !ABSENT(options.failureCount);
  const byDefault = byCount && ABSENT(options.slidingWindowSize) ? -1 : 50;
  return options.errorThresholdPercentage ?? byDefault;
}

/** The share of slow calls that trips, or -1 where no call is slow. */
function slowCallThreshold ({ slowCallDuration, slowCallThresholdPercentage }) {
  return ABSENT(slowCallDuration) ? -1 : slowCallThresholdPercentage ?? 100;
}

function resetConfig (value = 30000) {
  if (typeof value === 'number') return { resetInitial: value, resetFactor: 1, resetMax: value };
  const { initial, factor, max } = value;
  return { resetInitial: initial, resetFactor: factor ?? 2, resetMax: max ?? Infinity };
}

/** How long a probe may keep others from probing: a little longer than it can take. */
function probeLease (options, reset) {
  const duration = options.timeout ?? 10000;
  return duration > 0 ? duration + 1000 : Math.max(reset.resetInitial, 1);
}

/** What native.createBreaker takes. */
function nativeConfig (options) {
  const size = options.slidingWindowSize ?? 0;
  const reset = resetConfig(options.resetTimeout ?? undefined);
  const warming = options.allowWarmUp === true || Boolean(options.state?.warmUp);
  return {
    ...NO_RULES,
    ...windowConfig(options),
    ...reset,
    errorThresholdPercentage: errorThreshold(options),
    slowCallThresholdPercentage: slowCallThreshold(options),
    slowCall: options.slowCallDuration ?? Infinity,
    volumeThreshold: options.volumeThreshold ?? 0,
    consecutiveFailures: options.consecutiveFailures ?? 0,
    failureCount: options.failureCount ?? 0,
    slidingWindowSize: size,
    minimumCalls: options.minimumCalls ?? Math.min(10, size),
    halfOpenProbes: options.halfOpenProbes ?? 1,
    successThreshold: options.successThreshold ?? 1,
    probeLease: probeLease(options, reset),
    rampUp: options.rampUp ?? 0,
    warmUp: warming ? options.rollingCountTimeout || WINDOW_MS : 0
  };
}

/** Above which latency a success may trip. A small integer, as every call is compared with it. */
const slowTicks = ms => (ms > 0 ? Math.min(Math.floor(ms * TICKS_PER_MS), TICKS_MAX) : TICKS_MAX);

module.exports = { check, coalesceResetOn, defaultKey, nativeConfig, resolve, slowTicks };
