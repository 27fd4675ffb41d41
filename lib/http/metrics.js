'use strict';

// Metrics for Prometheus, by prom-client.

const { invalidOption } = require('../base/errors');
const { bag, func, number } = require('../base/options');
const { requirePeer } = require('../base/peer');
const { problem } = require('../base/problem');
const { heldPayments } = require('../gateway/report');
const { Probe } = require('../gateway/probe');
const { breakers: liveBreakers } = require('../primitives/breaker');
const { BreakerMetrics, MS_PER_SECOND, SECONDS } = require('./metrics-breakers');
const { Factory } = require('./metrics-factory');
const { Labels } = require('./metrics-labels');
const { RetryMetrics, checkSources } = require('./metrics-retries');

const NAMES_MAX = 200;
const PREFIX = /^([a-zA-Z_:][\w:]*)?$/;
// The store is asked now and then, however often metrics are read.
const STORE = { timeout: 5000, cacheMs: 15_000 };

const HEALTH = { healthy: 1, degraded: 0.5, unhealthy: 0 };
const BATCH_SECONDS = [0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300];

function readOptions (options) {
  const {
    prefix = '', registry, breakers = liveBreakers, maxNames = NAMES_MAX, ...parts
  } = bag('options', options);
  if (typeof prefix !== 'string' || !PREFIX.test(prefix)) {
    throw invalidOption('prefix', 'letters, digits and underscores', prefix);
  }
  func('breakers', breakers);
  number('maxNames', maxNames, { min: 1, max: 10_000, integer: true });
  checkSources(parts.retries);
  return { prefix, registry, breakers, maxNames, ...parts };
}

class Metrics {
  #factory;
  #breakers;
  #undo = [];

  constructor (options) {
    const {
      prefix, registry, breakers, maxNames, store, degradation, health, retries, fallbacks, worker
    } = readOptions(options);
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
      'How long health checks took', SECONDS);
    const status = this.#factory.gauge('health_check_status', ['check'],
      // Else what one has seen long ago would stand beside what others see now.
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
      'Changes of the level: to which one, and whether by a rule or by hand');
    if (degradation === undefined) return;
    listen(degradation, 'level', ({ to, by }) => {
      events.inc({ to, by: by === 'automatic' ? by : 'manual' });
    });
  }

  #addLetters (deadLetters, kinds, listen) {
    const probe = deadLetters && new Probe(() => deadLetters.summary(), STORE);
    this.#factory.gauge('dlq_messages_total', ['channel', 'kind'],
      'Dead letters that wait, of all processes', 'max', gauge => readInto(gauge, probe,
        rows => rows.map(({ channel, kind, count }) =>
          [{ channel: kinds.of(channel), kind: kinds.of(kind) }, count])));
    const added = this.#factory.counter('dlq_messages_added_total', ['channel', 'kind'],
      'Dead letters that came in');
    const batches = this.#factory.histogram('dlq_processing_duration_seconds', [],
      'How long batches of dead letters took', BATCH_SECONDS);
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
      'Messages that a provider took in and could not deliver');
    if (deliveries === undefined) return;
    listen(deliveries, 'failed', ({ channel, errorCode }) => {
      failures.inc({ channel: codes.of(channel ?? 'none'), code: codes.of(errorCode ?? 'none') });
    });
  }

  #addPayments (store, listen) {
    const notifications = this.#factory.counter('payment_notifications_total', ['outcome'],
      'Notifications of payments, by outcome');
    if (store?.payments !== undefined) {
      listen(store.payments, 'notification', outcome => notifications.inc({ outcome }));
    }
    const probe = store?.payments && new Probe(() => heldPayments(store), STORE);
    this.#factory.gauge('payments_held', [],
      'Notifications of payments that wait for a person, of all processes', 'max',
      gauge => readInto(gauge, probe, ({ held }) => [[{}, held]]));
  }

  #addOutbox (outbox, channels) {
    const probe = new Probe(() => outbox.stats(), STORE);
    this.#factory.gauge('outbox_messages', ['channel', 'status'],
      'Messages in the outbox, of all processes', 'max', gauge => readInto(gauge, probe,
        ({ channels: counts }) => Object.entries(counts).flatMap(([channel, statuses]) =>
          Object.entries(statuses).map(([status, count]) =>
            [{ channel: channels.of(channel), status }, count]))));
    this.#factory.gauge('outbox_oldest_message_seconds', [],
      'Age of the oldest message that is due', 'max', gauge => readInto(gauge, probe,
        ({ oldestMs }) => [[{}, oldestMs / MS_PER_SECOND]]));
  }

  /** Answers a request with all metrics of the registry; for Express or node:http. */
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

  /** Stops listening, and takes its metrics out of the registry. */
  close () {
    this.#breakers.close();
    for (const undo of this.#undo.splice(0)) undo();
    this.#factory.removeAll();
  }
}

/** Without an answer of the store there are no values: better than old ones. */
async function readInto (gauge, probe, valuesOf) {
  const answer = await probe?.get();
  gauge.reset();
  // A gauge without labels is 0 now, which is a value too.
  if (gauge.labelNames.length === 0) gauge.remove({});
  if (answer === undefined || !answer.ok) return;
  const sums = new Map();
  for (const [labels, value] of valuesOf(answer.value)) {
    const key = JSON.stringify(labels);
    sums.set(key, { labels, value: (sums.get(key)?.value ?? 0) + value });
  }
  for (const { labels, value } of sums.values()) gauge.set(labels, value);
}

/** Options as the types describe them. */
const createMetrics = options => new Metrics(options);

module.exports = { createMetrics };
