'use strict';

// A breaker's configuration in the core's terms, made of checked options.

const { TICKS_PER_MS } = require('../base/recorder');
const { finite } = require('../base/options');

const WINDOW_MS = 10000;
const BUCKETS = 10;
const BUCKETS_MAX = 1000;
const TICKS_MAX = 2 ** 31 - 1;

// In the order of native/binding/breaker_config.cc, each with the option that it comes from.
const FIELDS = {
  bucketLength: 'rollingCountTimeout',
  buckets: 'rollingCountBuckets',
  percentiles: 'rollingPercentilesEnabled',
  errorThresholdPercentage: 'errorThresholdPercentage',
  slowCallThresholdPercentage: 'slowCallThresholdPercentage',
  volumeThreshold: 'volumeThreshold',
  consecutiveFailures: 'consecutiveFailures',
  failureCount: 'failureCount',
  slidingWindowSize: 'slidingWindowSize',
  minimumCalls: 'minimumCalls',
  slowCall: 'slowCallDuration',
  halfOpenProbes: 'halfOpenProbes',
  successThreshold: 'successThreshold',
  probeLease: 'timeout',
  resetInitial: 'resetTimeout',
  resetFactor: 'resetTimeout',
  resetMax: 'resetTimeout',
  rampUp: 'rampUp',
  warmUp: 'allowWarmUp',
  tripWitnesses: 'shareTrip'
};
const NAMES = Object.keys(FIELDS);

/** What native code takes. */
const pack = config => Float64Array.from(NAMES, name => config[name]);

/** The options in which two packed configurations differ. */
function differences (one, other) {
  const fields = NAMES.filter((_, i) => one[i] !== other[i]);
  return [...new Set(fields.map(field => FIELDS[field]))];
}

const ABSENT = value => value === undefined || value === null;

/** 0 stands for the default too, as in opossum. */
function orDefault (value, standard) {
  return value === undefined || value === null || value === 0 ? standard : value;
}

/** The part of a native breaker's configuration that describes its window. */
function windowConfig (options) {
  const length = orDefault(options.rollingCountTimeout, WINDOW_MS);
  const buckets = orDefault(options.rollingCountBuckets, BUCKETS);
  finite('rollingCountTimeout', length, { min: 1, unit: 'ms' });
  finite('rollingCountBuckets', buckets, { min: 1, max: BUCKETS_MAX, integer: true });
  return {
    bucketLength: options.rotateBucketController ? 0 : Math.max(Math.floor(length / buckets), 1),
    buckets,
    percentiles: options.rollingPercentilesEnabled === false ? 0 : 1
  };
}

// A window of its own, for a Status that no breaker owns: no rule is on.
const NO_RULES = {
  errorThresholdPercentage: -1,
  slowCallThresholdPercentage: -1,
  volumeThreshold: 0,
  consecutiveFailures: 0,
  failureCount: 0,
  slidingWindowSize: 0,
  minimumCalls: 0,
  slowCall: Infinity,
  halfOpenProbes: 1,
  successThreshold: 1,
  probeLease: 1,
  resetInitial: 1,
  resetFactor: 1,
  resetMax: 1,
  rampUp: 0,
  warmUp: 0,
  tripWitnesses: 1
};

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
    warmUp: warming ? options.rollingCountTimeout || WINDOW_MS : 0,
    tripWitnesses: options.shareTrip?.processes ?? 1
  };
}

/** Above which latency a success may trip. A small integer, as every call is compared with it. */
const slowTicks = ms => (ms > 0 ? Math.min(Math.floor(ms * TICKS_PER_MS), TICKS_MAX) : TICKS_MAX);

module.exports = {
  BUCKETS,
  BUCKETS_MAX,
  NO_RULES,
  WINDOW_MS,
  differences,
  errorThreshold,
  nativeConfig,
  pack,
  slowTicks,
  windowConfig,
};
