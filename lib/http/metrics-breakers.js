'use strict';

// Metrics of breakers. Each process counts its own calls, from events. So the counts of all
// processes add up, also for shared breakers.

const clock = require('../base/clock');
const { read } = require('../base/foreign');
const CircuitBreaker = require('../primitives/breaker');

const MS_PER_SECOND = 1000;
// New breakers are found within this time.
const SCAN_MS = 1000;
// The members of larger groups are customers or instances, which are too many for labels.
const MEMBERS_MAX = 100;
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const BOUNDS_MS = SECONDS.map(seconds => seconds * MS_PER_SECOND);
const REASONS = { EOPENBREAKER: 'open', ETIMEDOUT: 'timeout', ESEMLOCKED: 'busy' };

/** The name of a breaker; for a member of a large group, the name of the group. */
function nameOf (breaker) {
  return breaker._group?.max > MEMBERS_MAX ? breaker._group.name : breaker.name;
}

const stateOf = breaker => (breaker.opened ? 2 : Number(breaker.halfOpen));

const reasonOf = error =>
  (CircuitBreaker.isOurError(error) && REASONS[error.code]) || 'failure';

/** What is counted under one name. */
class Counts {
  constructor () {
    this.results = { success: 0, failure: 0, timeout: 0, rejected: 0 };
    this.fallbacks = { open: 0, timeout: 0, busy: 0, failure: 0 };
    // Calls by the first bound that they were within; the last element counts all slower ones.
    this.latencies = new Array(SECONDS.length + 1).fill(0);
    this.latencyMs = 0;
  }

  end (result, ms) {
    this.results[result] += 1;
    this.latencyMs += ms;
    let i = 0;
    while (i < BOUNDS_MS.length && ms > BOUNDS_MS[i]) i += 1;
    this.latencies[i] += 1;
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
      const result = previous?.error === error ? previous.result : 'failure';
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

  constructor (factory, labels, list) {
    this.#list = list;
    this.#labels = labels;
    factory.made('counter', 'circuit_breaker_requests_total',
      'Calls by result: success, failure, timeout, rejected', () => {
        // This metric is read first, so new breakers are followed before all others are read.
        this.#scan();
        return this.#each((name, { results }) => Object.entries(results)
          .map(([result, count]) => [{ name, result }, count]));
      });
    factory.made('counter', 'circuit_breaker_failures_total',
      'Calls that failed or timed out',
      () => this.#each((name, { failures }) => [[{ name }, failures]]));
    factory.made('histogram', 'circuit_breaker_response_time',
      'Duration of calls that were let through, in seconds', () => this.#each(histogramOf));
    factory.gauge('circuit_breaker_state', ['name'],
      '0 closed, 1 half open, 2 open; the worst of those with the same name', 'max',
      gauge => this.#readStates(gauge));
    factory.made('counter', 'fallback_activations', 'Calls of a fallback',
      () => this.#each((name, { activations }) => [[{ name }, activations]]));
    factory.made('counter', 'fallback_usage_total',
      'Calls of a fallback by reason: open, timeout, busy, failure',
      () => this.#each((name, { fallbacks }) => Object.entries(fallbacks)
        .map(([reason, count]) => [{ name, reason }, count])));
    this.#watch();
  }

  /** Counts a fallback of something that is not a breaker of ours. */
  addFallback (name, error) {
    this.#countsOf(name).fallbacks[REASONS[read(error, 'code')] ?? 'failure'] += 1;
  }

  close () {
    clock.clearTimer(this.#timer);
    for (const breaker of this.#list()) {
      const emitter = breaker._group ?? breaker;
      for (const [event, listener] of this.#followed.get(emitter) ?? []) {
        emitter.off(event, listener);
      }
    }
  }

  #each (read) { return [...this.#counts].flatMap(([name, counts]) => read(name, counts)); }

  #watch () {
    this.#scan();
    this.#timer = clock.setTimer(() => this.#watch(), SCAN_MS, false);
  }

  #scan () {
    for (const breaker of this.#list()) {
      if (this.#followed.has(breaker)) continue;
      const { stats } = breaker;
      const counts = this.#countsOf(nameOf(breaker));
      counts.add(stats.local ?? stats);
      if (breaker._group === undefined) {
        this.#follow(breaker, listenersOf(() => counts), [breaker.name]);
      } else {
        this.#followed.set(breaker, []);
        this.#followGroup(breaker._group);
      }
    }
  }

  #countsOf (name) {
    const label = this.#labels.of(name);
    let counts = this.#counts.get(label);
    if (counts === undefined) {
      counts = new Counts();
      this.#counts.set(label, counts);
    }
    return counts;
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
    this.#followed.set(emitter, bound);
    for (const [event, listener] of bound) emitter.on(event, listener);
  }

  #readStates (gauge) {
    const states = new Map();
    for (const breaker of this.#list()) {
      const name = this.#labels.of(nameOf(breaker));
      states.set(name, Math.max(states.get(name) ?? 0, stateOf(breaker)));
    }
    gauge.reset();
    for (const [name, state] of states) gauge.set({ name }, state);
  }
}

function histogramOf (name, { latencies, latencyMs }) {
  let sum = 0;
  const values = latencies.map((count, i) => {
    sum += count;
    return [{ le: SECONDS[i] ?? '+Inf', name }, sum, '_bucket'];
  });
  return [...values, [{ name }, latencyMs / MS_PER_SECOND, '_sum'], [{ name }, sum, '_count']];
}

module.exports = { BreakerMetrics, MS_PER_SECOND, SECONDS };
