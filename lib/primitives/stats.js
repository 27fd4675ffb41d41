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

function becomeValue (stats, name, value) {
  Object.defineProperty(stats, name, {
    value, writable: true, enumerable: true, configurable: true
  });
  return value;
}

// One accessor for all: an own one for each object would cost more than all the rest of it.
const LATENCY_TIMES = {
  get () { return becomeValue(this, 'latencyTimes', Histogram.timesOf(this)); },
  set (value) { becomeValue(this, 'latencyTimes', value); },
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

/** A number as a count of the core. */
const countOf = number => Math.min(Math.max(Math.floor(number) || 0, 0), 2 ** 32 - 1);

/**
 * A bucket of a window. Its counts are those of the core, to read and to write, as long as the
 * window has the bucket; after that they are those that were last seen.
 */
class Bucket extends Stamp {
  #buckets;
  #epoch;
  #seen = {};

  constructor (buckets, epoch) {
    super(Object.defineProperties({}, BUCKET));
    this.#buckets = buckets;
    this.#epoch = epoch;
  }

  /** Its place in the window; undefined once it has left that. */
  static #age (bucket) {
    const age = (native.epoch(bucket.#buckets.id) - bucket.#epoch) >>> 0;
    return age < bucket.#buckets.length ? age : undefined;
  }

  static read (bucket, name) {
    const age = Bucket.#age(bucket);
    if (age === undefined) return bucket.#seen[name] ?? 0;
    return (bucket.#seen[name] = native.bucketCount(bucket.#buckets.id, COUNTER[name], age));
  }

  static write (bucket, name, value) {
    const count = countOf(Number(value));
    const age = Bucket.#age(bucket);
    bucket.#seen[name] = count;
    if (age !== undefined) native.setBucketCount(bucket.#buckets.id, COUNTER[name], age, count);
  }

  static timesOf (bucket) {
    const age = Bucket.#age(bucket);
    return age === undefined ? [] : expand(copyLatencies(native.stats(bucket.#buckets.id, age)));
  }
}

const BUCKET = Object.fromEntries(Object.keys(COUNTER).map(name => [name, {
  get () { return Bucket.read(this, name); },
  set (value) { Bucket.write(this, name, value); },
  enumerable: true,
  configurable: true
}]));
BUCKET.percentiles = {
  get () { return becomeValue(this, 'percentiles', {}); },
  set (value) { becomeValue(this, 'percentiles', value); },
  enumerable: true,
  configurable: true
};
BUCKET.latencyTimes = { ...LATENCY_TIMES, get () { return Bucket.timesOf(this); } };
// Printed as the numbers that it has.
BUCKET[Symbol.for('nodejs.util.inspect.custom')] = { value () { return { ...this }; } };

/** Adds exported statistics (of `stats` or of a `Status`) to the present bucket. */
function importStats (id, stats) {
  readable('stats', 'the counts of a breaker', stats, () => {
    for (const name of Object.keys(COUNTER)) {
      const count = stats[name];
      if (Number.isInteger(count)) native.count(id, COUNTER[name], countOf(count));
    }
    for (const ms of stats.latencyTimes ?? []) native.addLatency(id, ms, 1);
  });
}

/** The live buckets of a native window, newest first. */
class Buckets {
  #byEpoch = new Map();

  constructor (id, length) {
    this.id = id;
    this.length = length;
  }

  /** The bucket of that epoch: one object for as long as the window has it. */
  at (epoch) {
    let bucket = this.#byEpoch.get(epoch);
    if (bucket === undefined) this.#byEpoch.set(epoch, bucket = new Bucket(this, epoch));
    return bucket;
  }

  /** All of them, newest first. */
  list () {
    const present = this.#present();
    return Array.from({ length: this.length }, (_, age) => this.at((present - age) >>> 0));
  }

  /** Notes in the newest that the circuit has opened or closed. */
  mark (isOpen) {
    this.at(this.#present()).isCircuitBreakerOpen = isOpen;
  }

  /** The newest epoch. Drops the buckets that have left the window. */
  #present () {
    const present = native.epoch(this.id);
    // Epochs are 32 bits and wrap.
    for (const epoch of this.#byEpoch.keys()) {
      if ((present - epoch) >>> 0 >= this.length) this.#byEpoch.delete(epoch);
    }
    return present;
  }
}

/** The state of a breaker as reports and pages name it. */
function stateOf (breaker) {
  if (breaker.opened) return 'open';
  return breaker.halfOpen ? 'half-open' : 'closed';
}

module.exports = { Buckets, Distribution, WITH_LATENCY, importStats, readStats, stateOf };
