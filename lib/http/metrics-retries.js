'use strict';

// Metrics of retries: of functions that count them themselves, of workers, and of clients that tell
// of each.

const { invalidOption } = require('../base/errors');
const { bag } = require('../base/options');
const { MS_PER_SECOND } = require('./metrics-breakers');

const isEmitter = source => typeof source?.on === 'function';

/** @throws {TypeError} ERR_INVALID_OPTION */
function checkSources (retries) {
  for (const [name, source] of Object.entries(bag('retries', retries))) {
    if (isEmitter(source) || source?.stats?.retries >= 0) continue;
    throw invalidOption(`retries.${name}`, 'a retryable function or a client', source);
  }
}

/** Sums made of events. */
class Sums {
  constructor () {
    this.calls = 0;
    this.successes = 0;
    this.retries = 0;
    this.delays = 0;
    this.totalDelay = 0;
  }

  get failures () { return this.calls - this.successes; }
}

const FAMILIES = {
  retry_calls_total: ['counter', 'Calls that could be retried', ({ calls }) => calls],
  retry_attempts_total: ['counter', 'Attempts after the first one', ({ retries }) => retries],
  retry_success_rate: ['gauge', 'Share of the calls that succeeded in the end, 0 to 1', rateOf,
    'average'],
};

function rateOf ({ successes, failures }) {
  return successes + failures === 0 ? 1 : successes / (successes + failures);
}

class RetryMetrics {
  #labels;
  // Name to what has { calls, successes, failures, retries, delays, totalDelay }.
  #sources = new Map();
  #heard = new Map();

  constructor (factory, labels, { retries, worker }, listen) {
    this.#labels = labels;
    for (const [name, source] of Object.entries(retries ?? {})) {
      if (isEmitter(source)) this.#hear(name, source, listen);
      else this.#sources.set(labels.of(name), () => source.stats);
    }
    if (worker !== undefined) this.#follow(worker, listen);
    for (const [name, [type, help, read, ...aggregator]] of Object.entries(FAMILIES)) {
      factory[type](name, ['name'], help, ...aggregator, metric => this.#fill(metric, read));
    }
    factory.made('summary', 'retry_delay_seconds', 'Time waited before retries',
      () => this.#delays());
  }

  #sumsOf (name) {
    const label = this.#labels.of(name);
    let sums = this.#heard.get(label);
    if (sums === undefined) {
      sums = new Sums();
      this.#heard.set(label, sums);
      this.#sources.set(label, () => sums);
    }
    return sums;
  }

  /** A client tells of its retries and of nothing else. */
  #hear (name, client, listen) {
    const sums = { retries: 0, delays: 0, totalDelay: 0 };
    this.#sources.set(this.#labels.of(name), () => sums);
    // That of a pool of sessions begins with the id.
    listen(client, 'retry', (...details) => {
      sums.retries += 1;
      const delay = details.at(-1)?.delay;
      if (!(delay >= 0)) return;
      sums.delays += 1;
      sums.totalDelay += delay;
    });
  }

  /** Of a worker's messages each is a call. */
  #follow (worker, listen) {
    const sumsOf = message => this.#sumsOf(`outbox/${message.channel}`);
    listen(worker, 'sent', message => {
      const sums = sumsOf(message);
      sums.calls += 1;
      sums.successes += 1;
    });
    listen(worker, 'dead', message => { sumsOf(message).calls += 1; });
    listen(worker, 'retry', (message, error, delayMs) => {
      const sums = sumsOf(message);
      sums.retries += 1;
      sums.delays += 1;
      sums.totalDelay += delayMs;
    });
  }

  #fill (metric, read) {
    metric.reset();
    for (const [name, statsOf] of this.#sources) {
      const value = read(statsOf());
      if (!Number.isFinite(value)) continue;
      if (metric.set === undefined) metric.inc({ name }, value);
      else metric.set({ name }, value);
    }
  }

  #delays () {
    return [...this.#sources].flatMap(([name, statsOf]) => {
      const { delays, totalDelay } = statsOf();
      if (delays === undefined) return [];
      return [
        [{ name }, totalDelay / MS_PER_SECOND, '_sum'],
        [{ name }, delays, '_count'],
      ];
    });
  }
}

module.exports = { RetryMetrics, checkSources };
