'use strict';

// What a breaker shows: its state in a word, and the core's counts in opossum's shape. Also the
// counts of histograms for metrics.

const native = require('../base/native');
const { readable } = require('../base/options');
const { COUNTER, answer } = require('../base/recorder');

const WITH_LATENCY = new Set(['successes', 'failures', 'timeouts']);

// Where native.stats puts things: 13 counters (two are the core's own), mean, percentiles, then the
// latencies.
const MEAN = 13;
const PERCENTILES = 14;
const LATENCIES = 23;
// A latency and how often it was seen, in one number: ms * COUNT_LIMIT + count.
const COUNT_LIMIT = 2 ** 31;

// An engine ends the process when an array grows too large; a host's window may hold more calls.
const TIMES_MAX = 2 ** 22;

/** The array that opossum keeps: every latency, ascending; of very many, a like share of each. */
function expand (latencies) {
  let total = 0;
  for (const latency of latencies) total += latency % COUNT_LIMIT;
  const each = Math.max(total / TIMES_MAX, 1);
  const times = [];
  for (const latency of latencies) {
    const ms = Math.floor(latency / COUNT_LIMIT);
    for (let n = Math.ceil(latency % COUNT_LIMIT / each); n > 0; n--) times.push(ms);
  }
  return times;
}

/** How often values were within each of some bounds, in ascending order, and their sum. */
class Distribution {
  sum = 0;

  constructor (bounds) {
    this.bounds = bounds;
    // Each value counts at the first bound that it is within. The last count is of larger ones.
    this.counts = new Array(bounds.length + 1).fill(0);
  }

  get count () { return this.counts.reduce((sum, count) => sum + count, 0); }

  add (value) {
    this.sum += value;
    let i = 0;
    while (i < this.bounds.length && value > this.bounds[i]) i += 1;
    this.counts[i] += 1;
  }
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

const WINDOW = -1;
const LOCAL_WINDOW = -2;

/**
 * The totals of the window of native breaker `id`; with `local`, of what this environment alone has
 * counted of a shared one.
 */
function readStats (id, percentilesEnabled, local = false) {
  const count = native.stats(id, local ? LOCAL_WINDOW : WINDOW);
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
  readable('stats', 'the counts of a breaker', stats, () => {
    for (const name of Object.keys(COUNTER)) {
      const count = stats[name];
      if (Number.isInteger(count) && count > 0) native.count(id, COUNTER[name], count);
    }
    for (const ms of stats.latencyTimes ?? []) native.addLatency(id, ms, 1);
  });
}

/** Notes in `holder._marks` that the circuit has opened or closed in the present bucket. */
function markBucket (holder, id, open, buckets) {
  const present = native.epoch(id);
  const marks = (holder._marks ??= new Map()).set(present, open);
  for (const epoch of marks.keys()) {
    if ((present - epoch) >>> 0 < buckets) return; // Epochs are 32 bits and wrap.
    marks.delete(epoch);
  }
}

/** The state of a breaker as reports and pages name it. */
function stateOf (breaker) {
  if (breaker.opened) return 'open';
  return breaker.halfOpen ? 'half-open' : 'closed';
}

module.exports = {
  Distribution, WITH_LATENCY, importStats, markBucket, readBucket, readStats, stateOf,
};
