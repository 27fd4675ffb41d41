'use strict';

// Metrics for Prometheus, by prom-client.

const Emitter = require('../base/emitter');
const { invalidOption } = require('../base/errors');
const { isA, read } = require('../base/foreign');
const { NAMES, is, optionsOf } = require('../base/options');
const { requirePeer } = require('../base/peer');
const { Probe } = require('../gateway/health');
const { heldPayments } = require('../gateway/report');
const { Policy } = require('../primitives/policy');
const { DELAYS, DELAY_BOUNDS } = require('../primitives/retry-run');
const { Distribution } = require('../primitives/stats');
const { breakersOption } = require('./breaker-views');
const { BreakerMetrics } = require('./metrics-breakers');
const { answer, routerOf } = require('./metrics-page');
const { addPolicies } = require('./metrics-policies');
const { Factory, Labels, entryOf } = require('./metrics-registry');

const MS_PER_SECOND = 1000;
// The store is asked now and then, however often metrics are read.
const STORE = { timeout: 5000, cacheMs: 15_000 };

const HEALTH = { healthy: 1, degraded: 0.5, unhealthy: 0 };
// Upper bounds of histograms.
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
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
  policies: is.record('by label', is.where('whose parts count something', 'a policy',
    value => isA(value, Policy)), { names: NAMES, default: {} }),
  fallbacks: is.having("emits 'fallback': a gateway", ['on', 'off']),
  cluster: is.boolean("answers the primary process's createClusterMetrics", { default: false }),
});

class Metrics {
  #factory;
  #breakers;
  #maxNames;
  #undo = [];

  constructor (options) {
    const {
      prefix, registry, breakers, maxNames, store, degradation, health, retries, fallbacks, worker,
      cluster, policies
    } = OPTIONS.read(options);
    const client = requirePeer('prom-client', 'createMetrics');
    this.registry = registry ?? new client.Registry();
    if (cluster && this.registry.contentType !== client.Registry.PROMETHEUS_CONTENT_TYPE) {
      throw invalidOption('registry', 'a registry in the format of Prometheus, as cluster is true',
        this.registry.contentType);
    }
    this.#factory = new Factory(client, this.registry, prefix);
    this.#maxNames = maxNames;
    this.#breakers = new BreakerMetrics(this.#factory, new Labels(maxNames), breakers);
    this.#listen(fallbacks, {
      fallback: ({ name, error }) => this.#breakers.addFallback(name, error),
    });
    this.#addRetries(retries, worker);
    addPolicies(this.#factory, policies);
    this.#addHealth(health);
    this.#addDegradation(degradation);
    this.#addLetters(read(store, 'deadLetters'));
    this.#addDeliveries(read(store, 'deliveries'));
    this.#addPayments(store);
    if (read(store, 'outbox') !== undefined) this.#addOutbox(store.outbox);
    if (cluster) {
      this.#undo.push(require('./metrics-cluster').answerPrimary(
        () => this.#factory.page(), () => this.#factory.aggregators));
    }
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
  handler = (req, res) =>
    answer(req, res, () => this.#factory.page(), () => this.registry.contentType);

  /** An Express router with GET /metrics. */
  router (options) { return routerOf(this.handler, 'metrics.router', options); }

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

const createMetrics = options => new Metrics(options);

module.exports = { createMetrics };
