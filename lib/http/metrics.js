'use strict';

// Metrics for Prometheus, by prom-client: of health, the level, the store and retries here, of
// breakers in ./metrics-breakers.

const { is, optionsOf } = require('../base/options');
const { requirePeer } = require('../base/peer');
const { Probe } = require('../gateway/health');
const { heldPayments } = require('../gateway/report');
const { breakersOption } = require('./breaker-views');
const { BreakerMetrics, MS_PER_SECOND, SECONDS } = require('./metrics-breakers');
const { Factory, Labels } = require('./metrics-registry');
const { problem } = require('./problem');

// The store is asked now and then, however often metrics are read.
const STORE = { timeout: 5000, cacheMs: 15_000 };

const HEALTH = { healthy: 1, degraded: 0.5, unhealthy: 0 };
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

class Metrics {
  #factory;
  #breakers;
  #undo = [];

  constructor (options) {
    const {
      prefix, registry, breakers, maxNames, store, degradation, health, retries, fallbacks, worker
    } = OPTIONS.read(options);
    const client = requirePeer('prom-client', 'createMetrics');
    this.registry = registry ?? new client.Registry();
    this.#factory = new Factory(client, this.registry, prefix);
    const listen = (emitter, event, listener) => {
      emitter.on(event, listener);
      this.#undo.push(() => emitter.off(event, listener));
    };
    this.#breakers = new BreakerMetrics(this.#factory, new Labels(maxNames), breakers);
    if (fallbacks !== undefined) {
      listen(fallbacks, 'fallback', ({ name, error }) => this.#breakers.addFallback(name, error));
    }
    new RetryMetrics(this.#factory, new Labels(maxNames), { retries, worker }, listen);
    this.#addHealth(health, listen);
    this.#addDegradation(degradation, listen);
    this.#addLetters(store?.deadLetters, new Labels(maxNames), listen);
    this.#addDeliveries(store?.deliveries, new Labels(maxNames), listen);
    this.#addPayments(store, listen);
    if (store?.outbox !== undefined) this.#addOutbox(store.outbox, new Labels(maxNames));
  }

  #addHealth (health, listen) {
    const duration = this.#factory.histogram('health_check_duration_seconds', ['check'],
      'Duration of health checks, in seconds', SECONDS);
    const status = this.#factory.gauge('health_check_status', ['check'],
      // Reading runs the checks; otherwise old results would stand beside those of other processes.
      '1 healthy, 0.5 degraded, 0 unhealthy', 'min', () => { health?.check().catch(() => {}); });
    if (health === undefined) return;
    listen(health, 'check', ({ name, status: found, responseTimeMs }) => {
      duration.observe({ check: name }, responseTimeMs / MS_PER_SECOND);
      status.set({ check: name }, HEALTH[found]);
    });
  }

  #addDegradation (degradation, listen) {
    this.#factory.gauge('system_degradation_level', [], '0 is normal, more is worse', 'max',
      gauge => gauge.set(degradation?.level.index ?? 0));
    const events = this.#factory.counter('degradation_events_total', ['to', 'by'],
      'Changes of the level, by the new level and whether it was set by a rule or by hand');
    if (degradation === undefined) return;
    listen(degradation, 'level', ({ to, by }) => {
      events.inc({ to, by: by === 'automatic' ? by : 'manual' });
    });
  }

  #addLetters (deadLetters, kinds, listen) {
    const probe = deadLetters && new Probe(() => deadLetters.summary(), STORE);
    this.#factory.gauge('dlq_messages_total', ['channel', 'kind'],
      'Dead letters in the store', 'max', gauge => readInto(gauge, probe,
        rows => rows.map(({ channel, kind, count }) =>
          [{ channel: kinds.of(channel), kind: kinds.of(kind) }, count])));
    const added = this.#factory.counter('dlq_messages_added_total', ['channel', 'kind'],
      'Messages that became dead letters');
    const batches = this.#factory.histogram('dlq_processing_duration_seconds', [],
      'Duration of batches of dead letters, in seconds', BATCH_SECONDS);
    if (deadLetters === undefined) return;
    listen(deadLetters, 'arrival', ({ channel, kind }) => {
      added.inc({ channel: kinds.of(channel), kind: kinds.of(kind) });
    });
    listen(deadLetters, 'processed', ({ durationMs }) => {
      batches.observe(durationMs / MS_PER_SECOND);
    });
  }

  #addDeliveries (deliveries, codes, listen) {
    const failures = this.#factory.counter('message_delivery_failures_total', ['channel', 'code'],
      'Messages that a provider accepted and could not deliver');
    if (deliveries === undefined) return;
    listen(deliveries, 'failed', ({ channel, errorCode }) => {
      failures.inc({ channel: codes.of(channel ?? 'none'), code: codes.of(errorCode ?? 'none') });
    });
  }

  #addPayments (store, listen) {
    const notifications = this.#factory.counter('payment_notifications_total', ['outcome'],
      'Payment notifications, by outcome');
    if (store?.payments !== undefined) {
      listen(store.payments, 'notification', outcome => notifications.inc({ outcome }));
    }
    const probe = store?.payments && new Probe(() => heldPayments(store), STORE);
    this.#factory.gauge('payments_held', [],
      'Payment notifications that wait for a review', 'max',
      gauge => readInto(gauge, probe, ({ held }) => [[{}, held]]));
  }

  #addOutbox (outbox, channels) {
    const probe = new Probe(() => outbox.stats(), STORE);
    this.#factory.gauge('outbox_messages', ['channel', 'status'],
      'Messages in the outbox', 'max', gauge => readInto(gauge, probe,
        ({ channels: counts }) => Object.entries(counts).flatMap(([channel, statuses]) =>
          Object.entries(statuses).map(([status, count]) =>
            [{ channel: channels.of(channel), status }, count]))));
    this.#factory.gauge('outbox_oldest_message_seconds', [],
      'How long the oldest message has been due, in seconds', 'max', gauge => readInto(gauge, probe,
        ({ oldestMs }) => [[{}, oldestMs / MS_PER_SECOND]]));
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
  router () {
    const router = requirePeer('express', 'metrics.router').Router();
    router.get('/metrics', this.handler);
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

/** Sums of what events tell. */
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
  retry_calls_total: ['counter', 'Calls that may be retried', ({ calls }) => calls],
  retry_attempts_total: ['counter', 'Attempts after the first one', ({ retries }) => retries],
  retry_success_rate: ['gauge', 'Share of calls that succeeded in the end, 0 to 1', rateOf,
    'average'],
};

function rateOf ({ successes, failures }) {
  return successes + failures === 0 ? 1 : successes / (successes + failures);
}

class RetryMetrics {
  #labels;
  // By label: a function that returns { calls, successes, failures, retries, delays, totalDelay }.
  #sources = new Map();
  #sums = new Map();

  constructor (factory, labels, { retries, worker }, listen) {
    this.#labels = labels;
    for (const [name, source] of Object.entries(retries ?? {})) {
      if (isEmitter(source)) this.#followClient(name, source, listen);
      else this.#sources.set(labels.of(name), () => source.stats);
    }
    if (worker !== undefined) this.#followWorker(worker, listen);
    for (const [name, [type, help, read, ...aggregator]] of Object.entries(FAMILIES)) {
      factory[type](name, ['name'], help, ...aggregator, metric => this.#fill(metric, read));
    }
    factory.made('summary', 'retry_delay_seconds', 'Time waited before retries',
      () => this.#delays());
  }

  #sumsOf (name) {
    const label = this.#labels.of(name);
    let sums = this.#sums.get(label);
    if (sums === undefined) {
      sums = new Sums();
      this.#sums.set(label, sums);
      this.#sources.set(label, () => sums);
    }
    return sums;
  }

  /** A client emits its retries and nothing else. */
  #followClient (name, client, listen) {
    const sums = { retries: 0, delays: 0, totalDelay: 0 };
    this.#sources.set(this.#labels.of(name), () => sums);
    // A pool of sessions puts the id of the session first.
    listen(client, 'retry', (...details) => {
      sums.retries += 1;
      const delay = details.at(-1)?.delay;
      if (!(delay >= 0)) return;
      sums.delays += 1;
      sums.totalDelay += delay;
    });
  }

  /** Each message of a worker is a call. */
  #followWorker (worker, listen) {
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

/** Options as the types describe them. */
const createMetrics = options => new Metrics(options);

module.exports = { createMetrics };
