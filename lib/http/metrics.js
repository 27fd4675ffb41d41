'use strict';

// Metrics for Prometheus, by prom-client.

const clock = require('../base/clock');
const Emitter = require('../base/emitter');
const { isBreakerError } = require('../base/errors');
const { read } = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { requirePeer } = require('../base/peer');
const { Probe } = require('../gateway/health');
const { heldPayments } = require('../gateway/report');
const { DELAYS, DELAY_BOUNDS } = require('../primitives/retry-run');
const { Distribution } = require('../primitives/stats');
const { PAGE_OPTIONS, createPageAccess } = require('./admin-auth');
const { breakersOption } = require('./breaker-views');
const { problem } = require('./problem');

const MS_PER_SECOND = 1000;
// The store is asked now and then, however often metrics are read.
const STORE = { timeout: 5000, cacheMs: 15_000 };

const HEALTH = { healthy: 1, degraded: 0.5, unhealthy: 0 };
// Upper bounds of histograms.
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const LATENCY_BOUNDS = SECONDS.map(seconds => seconds * MS_PER_SECOND);
const BATCH_SECONDS = [0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300];

const isEmitter = source => typeof source?.on === 'function';

const OPTIONS = optionsOf({
  prefix: is.text('of all names', {
    pattern: /^([a-zA-Z_:][\w:]*)?$/, expected: 'letters, digits and underscores', default: '',
  }),
  registry: is.having('of prom-client; default: one of its own',
    ['registerMetric', 'removeSingleMetric', 'metrics']),
  breakers: breakersOption,
  maxNames: is.integer('values of a label', { min: 1, max: 10_000, default: 200 }),
  store: is.object('of openStore, or parts of one'),
  degradation: is.having('of createDegradation', ['on', 'off']),
  health: is.having('of createHealth', ['check', 'on', 'off']),
  worker: is.having('of the outbox', ['on', 'off']),
  retries: is.record('by label', is.where('counts its retries',
    'a retryable function or a client',
    source => isEmitter(source) || source?.stats?.retries >= 0)),
  fallbacks: is.having("emits 'fallback': a gateway", ['on', 'off']),
});

const ROUTER = optionsOf(PAGE_OPTIONS);

/** The entry of a map, which is made if there is none. */
function entryOf (map, key, make) {
  if (!map.has(key)) map.set(key, make());
  return map.get(key);
}

class Metrics {
  #factory;
  #breakers;
  #maxNames;
  #undo = [];

  constructor (options) {
    const {
      prefix, registry, breakers, maxNames, store, degradation, health, retries, fallbacks, worker
    } = OPTIONS.read(options);
    const client = requirePeer('prom-client', 'createMetrics');
    this.registry = registry ?? new client.Registry();
    this.#factory = new Factory(client, this.registry, prefix);
    this.#maxNames = maxNames;
    this.#breakers = new BreakerMetrics(this.#factory, new Labels(maxNames), breakers);
    this.#listen(fallbacks, {
      fallback: ({ name, error }) => this.#breakers.addFallback(name, error),
    });
    this.#addRetries(retries, worker);
    this.#addHealth(health);
    this.#addDegradation(degradation);
    this.#addLetters(read(store, 'deadLetters'));
    this.#addDeliveries(read(store, 'deliveries'));
    this.#addPayments(store);
    if (read(store, 'outbox') !== undefined) this.#addOutbox(store.outbox);
  }

  #listen (emitter, listeners) { this.#undo.push(Emitter.follow(emitter, listeners)); }

  #addRetries (retries = {}, worker) {
    const metrics = new RetryMetrics(this.#factory, new Labels(this.#maxNames));
    for (const [name, source] of Object.entries(retries)) {
      if (isEmitter(source)) this.#listen(source, metrics.listenersOfClient(name));
      else metrics.add(name, () => source.stats);
    }
    this.#listen(worker, metrics.listenersOfWorker());
  }

  #addHealth (health) {
    const duration = this.#factory.histogram('health_check_duration_seconds', ['check'],
      'Duration of health checks, in seconds', SECONDS);
    const status = this.#factory.gauge('health_check_status', ['check'],
      // Reading runs the checks; otherwise old results would stand beside those of other processes.
      '1 healthy, 0.5 degraded, 0 unhealthy', 'min', () => { health?.check().catch(() => {}); });
    const checks = this.#factory.counter('health_check_total', ['check', 'status'],
      'Health checks that ran, by result: healthy, degraded, unhealthy');
    this.#listen(health, {
      check: ({ name, status: found, responseTimeMs }) => {
        checks.inc({ check: name, status: found });
        duration.observe({ check: name }, responseTimeMs / MS_PER_SECOND);
        status.set({ check: name }, HEALTH[found]);
      },
    });
  }

  #addDegradation (degradation) {
    this.#factory.gauge('system_degradation_level', [], '0 is normal, more is worse', 'max',
      gauge => gauge.set(degradation?.level.index ?? 0));
    const events = this.#factory.counter('degradation_events_total', ['to', 'by'],
      'Changes of the level, by the new level and whether it was set by a rule or by hand');
    this.#listen(degradation, {
      level: ({ to, by }) => events.inc({ to, by: by === 'automatic' ? by : 'manual' }),
    });
  }

  /** A gauge of what the store answers: `valuesOf` makes pairs of labels and value of it. */
  #addStoreGauge (name, labelNames, help, probe, valuesOf) {
    this.#factory.gauge(name, labelNames, help, 'max', gauge => readInto(gauge, probe, valuesOf));
  }

  #addLetters (deadLetters) {
    const labels = new Labels(this.#maxNames);
    const labelsOf = ({ channel, kind }) =>
      ({ channel: labels.of(channel), kind: labels.of(kind) });
    const probe = deadLetters && new Probe(() => deadLetters.summary(), STORE);
    this.#addStoreGauge('dlq_messages_total', ['channel', 'kind'], 'Dead letters in the store',
      probe, rows => rows.map(row => [labelsOf(row), row.count]));
    const added = this.#factory.counter('dlq_messages_added_total', ['channel', 'kind'],
      'Messages that became dead letters');
    const batches = this.#factory.histogram('dlq_processing_duration_seconds', [],
      'Duration of batches of dead letters, in seconds', BATCH_SECONDS);
    this.#listen(deadLetters, {
      arrival: letter => added.inc(labelsOf(letter)),
      processed: ({ durationMs }) => batches.observe(durationMs / MS_PER_SECOND),
    });
  }

  #addDeliveries (deliveries) {
    const labels = new Labels(this.#maxNames);
    const failures = this.#factory.counter('message_delivery_failures_total', ['channel', 'code'],
      'Messages that a provider accepted and could not deliver');
    this.#listen(deliveries, {
      failed: ({ channel, errorCode }) => failures.inc(
        { channel: labels.of(channel ?? 'none'), code: labels.of(errorCode ?? 'none') }),
    });
  }

  #addPayments (store) {
    const notifications = this.#factory.counter('payment_notifications_total', ['outcome'],
      'Payment notifications, by outcome');
    const payments = read(store, 'payments');
    this.#listen(payments, { notification: outcome => notifications.inc({ outcome }) });
    const probe = payments && new Probe(() => heldPayments(store), STORE);
    this.#addStoreGauge('payments_held', [], 'Payment notifications that wait for a review',
      probe, ({ held }) => [[{}, held]]);
  }

  #addOutbox (outbox) {
    const labels = new Labels(this.#maxNames);
    const probe = new Probe(() => outbox.stats(), STORE);
    this.#addStoreGauge('outbox_messages', ['channel', 'status'], 'Messages in the outbox', probe,
      ({ channels }) => Object.entries(channels).flatMap(([channel, statuses]) =>
        Object.entries(statuses).map(([status, count]) =>
          [{ channel: labels.of(channel), status }, count])));
    this.#addStoreGauge('outbox_oldest_message_seconds', [],
      'How long the oldest message has been due, in seconds', probe,
      ({ oldestMs }) => [[{}, oldestMs / MS_PER_SECOND]]);
  }

  /** Answers a request with all metrics of the registry, for Express or node:http. */
  handler = async (req, res) => {
    let text;
    try {
      text = await this.registry.metrics();
    } catch {
      problem(res, 500);
      return;
    }
    res.statusCode = 200;
    res.setHeader('Content-Type', this.registry.contentType);
    res.setHeader('Cache-Control', 'no-store');
    res.end(req.method === 'HEAD' ? undefined : text);
  };

  /** An Express router with GET /metrics. */
  router (options) {
    const { guard } = createPageAccess(ROUTER.read(options));
    const router = requirePeer('express', 'metrics.router').Router();
    if (guard !== undefined) router.get('/metrics', guard, this.handler);
    return router;
  }

  /** Stops listening, and removes its metrics from the registry. */
  close () {
    this.#breakers.close();
    for (const undo of this.#undo.splice(0)) undo();
    this.#factory.removeAll();
  }
}

/** If the store does not answer there are no values, which is better than old ones. */
async function readInto (gauge, probe, valuesOf) {
  const answer = await probe?.get();
  gauge.reset();
  // reset() leaves a gauge without labels at 0, which would be a value.
  if (gauge.labelNames.length === 0) gauge.remove({});
  if (answer === undefined || !answer.ok) return;
  const sums = new Map();
  for (const [labels, value] of valuesOf(answer.value)) {
    const key = JSON.stringify(labels);
    sums.set(key, { labels, value: (sums.get(key)?.value ?? 0) + value });
  }
  for (const { labels, value } of sums.values()) gauge.set(labels, value);
}

// ---- Retries -----------------------------------------------------------------------------------

const FAMILIES = {
  retry_calls_total: ['counter', 'Calls that may be retried', ({ calls }) => calls],
  retry_attempts_total: ['counter', 'Attempts after the first one', ({ retries }) => retries],
  retry_success_rate: ['gauge', 'Share of calls that succeeded in the end, 0 to 1', rateOf,
    'average'],
};

function rateOf ({ successes, failures }) {
  return successes + failures === 0 ? 1 : successes / (successes + failures);
}

/** Figures of retries, counted from events. */
const newSums = () => ({ retries: 0, [DELAYS]: new Distribution(DELAY_BOUNDS) });

function addRetry (sums, delay) {
  sums.retries += 1;
  if (delay >= 0) sums[DELAYS].add(delay);
}

/**
 * The delays in the figures of retries. Figures from elsewhere have only the number and the sum of
 * the delays.
 */
function delaysOf ({ [DELAYS]: known, delays, totalDelay }) {
  return known ?? (delays >= 0 ? { bounds: [], counts: [delays], sum: totalDelay } : undefined);
}

class RetryMetrics {
  #labels;
  // By label: a function that returns { calls, successes, failures, retries } and the delays.
  #sources = new Map();

  constructor (factory, labels) {
    this.#labels = labels;
    for (const [name, [type, help, read, ...aggregator]] of Object.entries(FAMILIES)) {
      factory[type](name, ['name'], help, ...aggregator, metric => this.#fill(metric, read));
    }
    factory.made('histogram', 'retry_delay_seconds', 'Delays before retries, in seconds',
      () => [...this.#sources].flatMap(([name, statsOf]) => {
        const delays = delaysOf(statsOf());
        return delays === undefined ? [] : histogramOf(name, delays);
      }));
  }

  add (name, statsOf) { this.#sources.set(this.#labels.of(name), statsOf); }

  /** A client emits its retries and nothing else. */
  listenersOfClient (name) {
    const sums = newSums();
    this.add(name, () => sums);
    // A pool of sessions puts the id of the session first.
    return { retry: (...details) => addRetry(sums, details.at(-1)?.delay) };
  }

  /** Each message of a worker is a call. */
  listenersOfWorker () {
    const known = new Map();
    const sumsOf = ({ channel }) => entryOf(known, this.#labels.of(`outbox/${channel}`), () => {
      const sums = { calls: 0, successes: 0, failures: 0, ...newSums() };
      this.add(`outbox/${channel}`, () => sums);
      return sums;
    });
    const end = result => message => {
      const sums = sumsOf(message);
      sums.calls += 1;
      sums[result] += 1;
    };
    return {
      sent: end('successes'),
      dead: end('failures'),
      retry: (message, error, delayMs) => addRetry(sumsOf(message), delayMs),
    };
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
}

// ---- Breakers ----------------------------------------------------------------------------------
//
// Each process counts its own calls, from events. So the counts of all processes add up, also for
// shared breakers.

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
    this.results = { success: 0, failure: 0, timeout: 0, rejected: 0 };
    this.fallbacks = { open: 0, timeout: 0, busy: 0, failure: 0 };
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
      'Duration of calls that were let through, in seconds',
      () => this.#each((name, { latencies }) => histogramOf(name, latencies)));
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
      this.#followed.get(breaker._group ?? breaker)?.();
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
        this.#followed.set(breaker, () => {});
        this.#followGroup(breaker._group);
      }
    }
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

/** Converts a Distribution of ms to a histogram of seconds. */
function histogramOf (name, { bounds, counts, sum }) {
  let count = 0;
  const buckets = counts.map((more, i) => {
    count += more;
    const le = i < bounds.length ? bounds[i] / MS_PER_SECOND : '+Inf';
    return [{ le, name }, count, '_bucket'];
  });
  return [...buckets, [{ name }, sum / MS_PER_SECOND, '_sum'], [{ name }, count, '_count']];
}

// ---- The registry ------------------------------------------------------------------------------

const LABEL_MAX = 100;
const OTHER = 'other';

/** Makes metrics, and removes them again. */
class Factory {
  #client;
  #registry;
  #prefix;
  #names = [];

  constructor (client, registry, prefix) {
    this.#client = client;
    this.#registry = registry;
    this.#prefix = prefix;
  }

  counter (name, labelNames, help, read) {
    return new this.#client.Counter(this.#options(name, labelNames, help, read));
  }

  /** @param {string} aggregator over processes: 'max' if all of them see the same value */
  gauge (name, labelNames, help, aggregator, read) {
    return new this.#client.Gauge({ ...this.#options(name, labelNames, help, read), aggregator });
  }

  histogram (name, labelNames, help, buckets) {
    return new this.#client.Histogram({ ...this.#options(name, labelNames, help), buckets });
  }

  /** A metric that we count ourselves, which costs a fraction of prom-client's counters. */
  made (type, name, help, read) {
    const full = this.#add(name);
    const get = async () => ({
      name: full, help, type, aggregator: 'sum',
      values: read().map(([labels, value, suffix = '']) =>
        ({ metricName: full + suffix, labels, value })),
    });
    this.#registry.registerMetric({ name: full, get, reset () {} });
  }

  removeAll () {
    for (const name of this.#names.splice(0)) this.#registry.removeSingleMetric(name);
  }

  #options (name, labelNames, help, read) {
    const collect = read && function collect () { return read(this); };
    return { name: this.#add(name), help, labelNames, registers: [this.#registry], collect };
  }

  #add (name) {
    const full = this.#prefix + name;
    this.#names.push(full);
    return full;
  }
}

/** The first `max` values become labels. All later ones share the label 'other'. */
class Labels {
  #known = new Map();
  #max;

  constructor (max) {
    this.#max = max;
  }

  of (value) {
    const text = String(value);
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    if (this.#known.size >= this.#max) return OTHER;
    // A name may be a URL with a password.
    const label = text.replace(/\/\/[^/\s]*@/g, '//').replace(/[?#].*/s, '').slice(0, LABEL_MAX);
    this.#known.set(text, label);
    return label;
  }
}

const createMetrics = options => new Metrics(options);

module.exports = { createMetrics };
