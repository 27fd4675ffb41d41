'use strict';

// Reading the core's counts in opossum's shape, and what a window is configured with.

const native = require('../base/native');
const { finite } = require('../base/options');
const { answer } = require('../base/recorder');

// In the order of `Counter` in native/core/window.h.
const COUNTERS = [
  'failures', 'fallbacks', 'successes', 'rejects', 'fires', 'timeouts', 'cacheHits', 'cacheMisses',
  'coalesceCacheHits', 'coalesceCacheMisses', 'semaphoreRejections'
];
const COUNTER = Object.freeze(Object.fromEntries(COUNTERS.map((name, index) => [name, index])));
const WITH_LATENCY = new Set(['successes', 'failures', 'timeouts']);

// Where native.stats puts things: 13 counters (two are the core's own), mean, 9 percentiles, latencies.
const MEAN = 13;
const PERCENTILES = 14;
const LATENCIES = 23;
// A latency and how often it was seen, in one number: ms * COUNT_LIMIT + count.
const COUNT_LIMIT = 2 ** 31;

const WINDOW_MS = 10000;
const BUCKETS = 10;
const BUCKETS_MAX = 1000;

/** The array that opossum keeps: every latency, ascending. */
function expand (latencies) {
  const times = [];
  for (const latency of latencies) {
    const ms = Math.floor(latency / COUNT_LIMIT);
    for (let n = latency % COUNT_LIMIT; n > 0; n--) times.push(ms);
  }
  return times;
}

class Stamp {
  constructor (object) { return object; }
}

/** Gives plain statistics a hidden field with the histogram that `latencyTimes` is made from. */
class Histogram extends Stamp {
  #latencies;

  constructor (stats, latencies) {
    super(stats);
    this.#latencies = latencies;
  }

  static timesOf (stats) { return expand(stats.#latencies); }
}

function becomeValue (stats, value) {
  Object.defineProperty(stats, 'latencyTimes', {
    value, writable: true, enumerable: true, configurable: true
  });
  return value;
}

// One accessor for all: an own one for each object would cost more than all the rest of it.
const LATENCY_TIMES = {
  get () { return becomeValue(this, Histogram.timesOf(this)); },
  set (value) { becomeValue(this, value); },
  enumerable: true,
  configurable: true
};

/** The histogram that native code left behind the counts. */
function copyLatencies (count) {
  const latencies = new Array(count);
  for (let i = 0; i < count; i++) latencies[i] = answer[LATENCIES + i];
  return latencies;
}

function percentilesFrom (first) {
  return {
    0: answer[first],
    0.25: answer[first + 1],
    0.5: answer[first + 2],
    0.75: answer[first + 3],
    0.9: answer[first + 4],
    0.95: answer[first + 5],
    0.99: answer[first + 6],
    0.995: answer[first + 7],
    1: answer[first + 8]
  };
}

const NO_PERCENTILES = Object.freeze({
  0: -1, 0.25: -1, 0.5: -1, 0.75: -1, 0.9: -1, 0.95: -1, 0.99: -1, 0.995: -1, 1: -1
});

/** Builds the object from what native.stats just answered. */
function build (latencyCount, latencyMean, percentiles) {
  const stats = {
    failures: answer[0],
    fallbacks: answer[1],
    successes: answer[2],
    rejects: answer[3],
    fires: answer[4],
    timeouts: answer[5],
    cacheHits: answer[6],
    cacheMisses: answer[7],
    coalesceCacheHits: answer[8],
    coalesceCacheMisses: answer[9],
    semaphoreRejections: answer[10],
    percentiles,
    latencyMean
  };
  Object.defineProperty(stats, 'latencyTimes', LATENCY_TIMES);
  new Histogram(stats, copyLatencies(latencyCount));
  return stats;
}

/** The totals of the window of native breaker `id`. */
function readStats (id, percentilesEnabled) {
  const count = native.stats(id, -1);
  return percentilesEnabled
    ? build(count, answer[MEAN], percentilesFrom(PERCENTILES))
    : build(0, -1, { ...NO_PERCENTILES });
}

function readBucket (id, age) {
  const bucket = build(native.stats(id, age), 0, {});
  delete bucket.latencyMean;
  return bucket;
}

/** Adds exported statistics (of `stats` or of a `Status`) to the present bucket. */
function importStats (id, stats) {
  for (const name of COUNTERS) {
    const count = stats[name];
    if (Number.isInteger(count) && count > 0) native.count(id, COUNTER[name], count);
  }
  for (const ms of stats.latencyTimes ?? []) native.addLatency(id, ms, 1);
}

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
  warmUp: 0
};

module.exports = {
  BUCKETS,
  COUNTER,
  NO_RULES,
  WINDOW_MS,
  WITH_LATENCY,
  importStats,
  readBucket,
  readStats,
  windowConfig
};
