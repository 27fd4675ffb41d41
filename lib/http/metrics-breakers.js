'use strict';

// Metrics of breakers. What is counted is what happens in this environment, heard from events; so
// the counts of all processes add up, whoever shares a breaker with whom.

const clock = require('../base/clock');
const CircuitBreaker = require('../primitives/breaker');
const { nameOf } = require('./metrics-labels');

const MS_PER_SECOND = 1000;
// Breakers come and go; the new ones are looked for this often.
const SCAN_MS = 1000;
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const REASONS = { EOPENBREAKER: 'open', ETIMEDOUT: 'timeout', ESEMLOCKED: 'busy' };

const stateOf = breaker => (breaker.opened ? 2 : Number(breaker.halfOpen));
const codeOf = error => (CircuitBreaker.isOurError(error) ? error.code : undefined);

class BreakerMetrics {
  #list;
  #labels;
  #families;
  // Breakers and groups that are listened to; the listeners by object, for the end.
  #followed = new WeakSet();
  #undo = new Set();
  #timer = undefined;

  constructor (factory, labels, list) {
    this.#list = list;
    this.#labels = labels;
    this.#families = {
      // The first of all to be read: whatever is new is followed before.
      requests: factory.counter('circuit_breaker_requests_total', ['name', 'result'],
        'Calls by their end: success, failure, timeout, rejected', () => this.#scan()),
      failures: factory.counter('circuit_breaker_failures_total', ['name'],
        'Calls that have failed, or timed out'),
      latency: factory.histogram('circuit_breaker_response_time', ['name'],
        'Seconds until calls that were let through ended', SECONDS),
      state: factory.gauge('circuit_breaker_state', ['name'],
        '0 closed, 1 half open, 2 open; of several with one name the worst', 'max',
        gauge => this.#readStates(gauge)),
      activations: factory.counter('fallback_activations', ['name'], 'Calls of a fallback'),
      usage: factory.counter('fallback_usage_total', ['name', 'reason'],
        'Calls of a fallback by why: open, timeout, busy, failure'),
    };
    this.#watch();
  }

  close () {
    clock.clearTimer(this.#timer);
    for (const undo of this.#undo) undo();
    this.#undo.clear();
  }

  #watch () {
    this.#scan();
    this.#timer = clock.setTimer(() => this.#watch(), SCAN_MS, false);
  }

  #scan () {
    for (const breaker of this.#list()) {
      if (this.#followed.has(breaker)) continue;
      this.#followed.add(breaker);
      this.#takeOver(breaker);
      const group = breaker._group;
      if (group === undefined) this.#follow(breaker, listener => listener, () => breaker);
      else if (!this.#followed.has(group)) this.#followGroup(group);
    }
  }

  /** Thousands of members need no listeners of their own. */
  #followGroup (group) {
    this.#followed.add(group);
    this.#follow(group, listener => (key, ...args) => listener(...args, key),
      key => ({ _group: group, name: `${group.name}/${String(key)}` }));
  }

  /** What a breaker has counted before anybody listened. */
  #takeOver (breaker) {
    const { requests, failures, activations, usage } = this.#families;
    const { stats } = breaker;
    const counts = stats.local ?? stats;
    const name = this.#labels.of(nameOf(breaker));
    const add = (result, count) => { if (count > 0) requests.inc({ name, result }, count); };
    add('success', counts.successes);
    add('failure', counts.failures - counts.timeouts);
    add('timeout', counts.timeouts);
    add('rejected', counts.rejects + counts.semaphoreRejections);
    failures.inc({ name }, counts.failures);
    activations.inc({ name }, counts.fallbacks);
    if (counts.fallbacks > 0) usage.inc({ name, reason: 'failure' }, counts.fallbacks);
  }

  #follow (emitter, adapt, breakerOf) {
    const { requests, failures, latency, activations, usage } = this.#families;
    const named = key => this.#labels.of(nameOf(breakerOf(key)));
    const ended = (name, result, ms) => {
      requests.inc({ name, result });
      if (result !== 'rejected') latency.observe({ name }, ms / MS_PER_SECOND);
      if (result === 'failure' || result === 'timeout') failures.inc({ name });
    };
    // A call that timed out, or found no place, is told of as a failure besides.
    let told;
    const listeners = {
      success: (value, ms, key) => ended(named(key), 'success', ms),
      timeout: error => { told = { error, result: 'timeout' }; },
      semaphoreLocked: error => { told = { error, result: 'rejected' }; },
      failure: (error, ms, args, key) => {
        ended(named(key), told?.error === error ? told.result : 'failure', ms);
        told = undefined;
      },
      reject: (error, key) => ended(named(key), 'rejected'),
      fallback: (result, error, key) => {
        const name = named(key);
        activations.inc({ name });
        usage.inc({ name, reason: REASONS[codeOf(error)] ?? 'failure' });
      },
    };
    for (const [event, listener] of Object.entries(listeners)) {
      this.#listen(emitter, event, adapt(listener));
    }
  }

  /** Holds no breaker that nobody else holds. */
  #listen (emitter, event, listener) {
    emitter.on(event, listener);
    const reference = new WeakRef(emitter);
    this.#undo.add(() => reference.deref()?.off(event, listener));
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

module.exports = { BreakerMetrics, MS_PER_SECOND, SECONDS };
