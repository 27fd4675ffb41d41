'use strict';

// Metrics of breakers, of which there may be thousands.
//
// Each process counts its own calls, from events. So the counts of all processes add up, also for
// shared breakers.

const clock = require('../base/clock');
const Emitter = require('../base/emitter');
const { isBreakerError } = require('../base/errors');
const { read } = require('../base/foreign');
const { guarded } = require('../base/warn');
const { Distribution } = require('../primitives/stats');
const { eachInTurns, entryOf } = require('./metrics-registry');

const MS_PER_SECOND = 1000;
// Upper bounds of the histogram.
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const LATENCY_BOUNDS = SECONDS.map(seconds => seconds * MS_PER_SECOND);
const RESULTS = ['success', 'failure', 'timeout', 'rejected'];
const WHYS = ['open', 'timeout', 'busy', 'failure'];

// New breakers are found within this time.
const SCAN_MS = 1000;
// The members of larger groups are customers or instances, which are too many for labels.
const MEMBERS_MAX = 100;
const REASONS = { EOPENBREAKER: 'open', ETIMEDOUT: 'timeout', ESEMLOCKED: 'busy' };

/** The name of a breaker; for a member of a large group, the name of the group. */
function nameOf (breaker) {
  return breaker._group?.max > MEMBERS_MAX ? breaker._group.name : breaker.name;
}

const stateOf = breaker => (breaker.opened ? 2 : Number(breaker.halfOpen));

const reasonOf = error =>
  (isBreakerError(error) && REASONS[read(error, 'code')]) || 'failure';

/** What is counted under one name. */
class Counts {
  constructor () {
    this.results = Object.fromEntries(RESULTS.map(result => [result, 0]));
    this.fallbacks = Object.fromEntries(WHYS.map(why => [why, 0]));
    this.latencies = new Distribution(LATENCY_BOUNDS);
  }

  end (result, ms) {
    this.results[result] += 1;
    this.latencies.add(ms);
  }

  get failures () { return this.results.failure + this.results.timeout; }

  get activations () { return Object.values(this.fallbacks).reduce((sum, n) => sum + n, 0); }

  /** Adds what a breaker counted before we listened. */
  add ({ successes, failures, timeouts, rejects, semaphoreRejections, fallbacks }) {
    this.results.success += successes;
    this.results.failure += failures - timeouts;
    this.results.timeout += timeouts;
    this.results.rejected += rejects + semaphoreRejections;
    this.fallbacks.failure += fallbacks;
  }
}

/** Listeners of a group. Its events begin with the key; they count into `countsOf(key)`. */
function listenersOf (countsOf) {
  // A call that timed out or was rejected also emits 'failure', right after its own event.
  let previous;
  return {
    success: (key, value, ms) => countsOf(key).end('success', ms),
    timeout: (key, error) => { previous = { error, result: 'timeout' }; },
    semaphoreLocked: (key, error) => { previous = { error, result: 'rejected' }; },
    failure: (key, error, ms) => {
      // An error may be undefined.
      const isSame = previous !== undefined && previous.error === error;
      const result = isSame ? previous.result : 'failure';
      previous = undefined;
      if (result === 'rejected') countsOf(key).results.rejected += 1;
      else countsOf(key).end(result, ms);
    },
    reject: key => { countsOf(key).results.rejected += 1; },
    fallback: (key, result, error) => { countsOf(key).fallbacks[reasonOf(error)] += 1; },
  };
}

class BreakerMetrics {
  #list;
  #labels;
  // Counts by label.
  #counts = new Map();
  // The listeners of breakers and groups; members of groups have none. It keeps none of them alive.
  #followed = new WeakMap();
  #timer = undefined;
  #isClosed = false;

  constructor (factory, labels, list) {
    this.#list = list;
    this.#labels = labels;
    const counts = async () => {
      await this.#scan();
      return this.#counts;
    };
    const one = [{ labels: name => ({ name }) }];
    factory.family({
      name: 'circuit_breaker_requests_total', type: 'counter',
      help: 'Calls by result: success, failure, timeout, rejected', read: counts,
      rows: RESULTS.map(result => ({ labels: name => ({ name, result }) })),
      valuesOf: ({ results }) => Object.values(results),
    });
    factory.family({
      name: 'circuit_breaker_failures_total', type: 'counter',
      help: 'Calls that failed or timed out', read: counts, rows: one,
      valuesOf: ({ failures }) => [failures],
    });
    factory.family({
      name: 'circuit_breaker_response_time', type: 'histogram',
      help: 'Duration of calls that were let through, in seconds', read: counts,
      rows: [
        ...[...SECONDS, '+Inf'].map(le =>
          ({ labels: name => ({ le, name }), suffix: '_bucket' })),
        { labels: name => ({ name }), suffix: '_sum' },
        { labels: name => ({ name }), suffix: '_count' },
      ],
      valuesOf: ({ latencies }) => histogramOf(latencies),
    });
    factory.family({
      name: 'circuit_breaker_state', type: 'gauge', aggregator: 'max',
      help: '0 closed, 1 half open, 2 open; the worst of those with the same name',
      read: () => this.#states(), rows: one, valuesOf: state => [state],
    });
    factory.family({
      name: 'fallback_activations', type: 'counter', help: 'Calls of a fallback', read: counts,
      rows: one, valuesOf: ({ activations }) => [activations],
    });
    factory.family({
      name: 'fallback_usage_total', type: 'counter',
      help: 'Calls of a fallback by reason: open, timeout, busy, failure', read: counts,
      rows: WHYS.map(reason => ({ labels: name => ({ name, reason }) })),
      valuesOf: ({ fallbacks }) => Object.values(fallbacks),
    });
    this.#watch();
  }

  /** Counts a fallback of something that is not a breaker of ours. */
  addFallback (name, error) {
    this.#countsOf(name).fallbacks[whyOf(error)] += 1;
  }

  close () {
    this.#isClosed = true;
    clock.clearTimer(this.#timer);
    for (const breaker of this.#list()) {
      this.#followed.get(breaker._group ?? breaker)?.();
    }
  }

  #watch () {
    const scan = this.#scan();
    guarded('A breaker of createMetrics could not be read', () => scan);
    this.#timer = clock.setTimer(() => this.#watch(), SCAN_MS, false);
  }

  /** Follows new breakers; the first of them at once. */
  #scan () {
    return eachInTurns(this.#list(), breaker => {
      if (this.#isClosed || this.#followed.has(breaker)) return;
      const { stats } = breaker;
      const counts = this.#countsOf(nameOf(breaker));
      counts.add(stats.local ?? stats);
      if (breaker._group === undefined) {
        this.#follow(breaker, listenersOf(() => counts), [breaker.name]);
      } else {
        this.#followed.set(breaker, () => {});
        this.#followGroup(breaker._group);
      }
    });
  }

  #countsOf (name) {
    return entryOf(this.#counts, this.#labels.of(name), () => new Counts());
  }

  /** One set of listeners for all members, which may be thousands. */
  #followGroup (group) {
    if (this.#followed.has(group)) return;
    this.#follow(group, listenersOf(key =>
      this.#countsOf(nameOf({ _group: group, name: `${group.name}/${String(key)}` }))), []);
  }

  #follow (emitter, listeners, key) {
    const bound = Object.entries(listeners).map(([event, listener]) =>
      [event, listener.bind(undefined, ...key)]);
    this.#followed.set(emitter, Emitter.follow(emitter, Object.fromEntries(bound)));
  }

  async #states () {
    const states = new Map();
    await eachInTurns(this.#list(), breaker => {
      const name = this.#labels.of(nameOf(breaker));
      states.set(name, Math.max(states.get(name) ?? 0, stateOf(breaker)));
    });
    return states;
  }
}

/** The rows of a histogram of seconds: up to each bound, sum and count. */
function histogramOf ({ counts, sum }) {
  let count = 0;
  const buckets = counts.map(more => (count += more));
  return [...buckets, sum / MS_PER_SECOND, count];
}

/** Why a fallback was called instead of something that is not a breaker of ours. */
const whyOf = error => REASONS[read(error, 'code')] ?? 'failure';

module.exports = { BreakerMetrics };
