'use strict';

// The gateway: the clients, store, worker, degradation, health and schedule of one configuration. A
// shop uses it to take orders that are never lost, and to send messages.

const clock = require('../base/clock');
const Emitter = require('../base/emitter');
const { SekeringError, invalidOption } = require('../base/errors');
const { read } = require('../base/foreign');
const { bag, is, optionsOf } = require('../base/options');
const { checkPeers } = require('../base/peer');
const { guarded } = require('../base/warn');
const { LoadShedder } = require('../primitives/load-shedder');
const { retry } = require('../primitives/retry');
const { openStore } = require('../store');
const { PAYMENT_OPTIONS } = require('../store/payments');
const { readConfig } = require('./config');
const { createDegradation, createSharedLevel } = require('./degradation');
const { createHealth, healthChecks } = require('./health');
const { createLogger } = require('./logger');
const { packagesOf } = require('./packages');
const { makeReport, reportPage } = require('./report');
const { Schedule, jobsOf } = require('./schedule');
const {
  channelDefinition, channelDefinitions, channelsOf, makeClients, makeUpstreams, withoutUndefined,
} = require('./services');

const PARTS = optionsOf({
  env: is.object('where `env:NAME` is looked up; default: process.env'),
  logger: is.object("with pino's methods, in place of pino"),
  pool: is.object('of pg, in place of the section store'),
  hooks: PAYMENT_OPTIONS.entries.hooks,
  senders: is.record('by channel', is.where('a channel of a worker', 'a function or an object',
    value => typeof value === 'function' || (typeof value === 'object' && value !== null)),
  { default: {} }),
  sessions: is.having('a SessionPool', ['on', 'off']),
  checks: is.object('see createHealth'),
  recovery: is.object('strategies of dead letters, by kind'),
  fallbacks: is.record('by upstream', is.func('answers when neither a copy nor a default does')),
  signal: is.signal('ends the wait for the database'),
});

const CREATE_ORDER = optionsOf({ signal: is.signal('of the caller') });
const REPORT = optionsOf({
  format: is.oneOf('data or a page', ['json', 'html'], { default: 'json' }),
});
const STOP = optionsOf({
  timeout: is.ms('for messages that are being sent; default: server.shutdownTimeout'),
});

const STOPPED = 'This gateway has been stopped: create another one';
const RESUMED_MAX = 1000;
const RESUME_MS = 1000;
const RESUME_MS_MAX = 300_000;
const OPENING = { minTimeout: 200, maxTimeout: 5000, factor: 2, randomize: true };

/** The options of openStore. */
function placeOf ({ url, directUrl, directory, memory, startTimeout: _, ...others }, pool) {
  const embedded = memory ? { memory } : { url, directUrl, directory };
  const place = pool === undefined ? embedded : { pool };
  return withoutUndefined({ ...place, ...others });
}

/** Opens the store. While the database cannot be reached, logs a warning and waits for it. */
function openPatiently (options, wait, { log, signal }) {
  const open = async () => {
    const store = await openStore(options);
    // Nobody waits for it any more.
    if (signal?.aborted) await store.close();
    return store;
  };
  return retry(open, {
    ...wait === 0 ? { retries: 0 } : { forever: true, maxRetryTime: wait },
    ...OPENING,
    ...signal !== undefined && { signal },
    shouldRetry: error => read(error, 'retryable') === true &&
      ['ERR_STORE_UNREACHABLE', 'ERR_STORE_READ_ONLY'].includes(read(error, 'code')),
    onRetry: (err, attempt) =>
      log.warn({ err, attempt }, 'The database cannot be reached: trying again'),
  });
}

/** The answer about an order that has its page. */
const made = ({ orderId, state, token, redirectUrl }) =>
  ({ queued: false, orderId, state, token, redirectUrl });

class Gateway extends Emitter {
  #parts;
  #channels;
  #startedAt = clock.wall();
  #opened = {};
  #upstreams;
  #sharedLevel;
  #running = false;
  #stopping;
  #resuming;
  #resumeNow;
  #resumeTimer;
  #isMidtransBack = false;

  /** @param {object} made config, log, store, clients, breakers, upstreams; see createGateway */
  constructor ({ config, log, store, clients, breakers, upstreams, parts }) {
    super();
    this.#parts = parts;
    this.#upstreams = upstreams;
    Object.assign(this, { config, log, store, clients, breakers });
    this.sessions = parts.sessions;
    const { maxLoopDelay: maxDelay } = config.server;
    this.shedder = maxDelay === false ? undefined : new LoadShedder({ maxDelay });
    this.retries = { ...clients, ...upstreams.retries };
    this.degradation = this.#makeDegradation();
    this.#sharedLevel = createSharedLevel({ store, degradation: this.degradation });
    this.worker = this.#makeWorker();
    this.health = this.#makeHealth();
    this.schedule = new Schedule({
      store, timezone: config.schedule.timezone, jobs: jobsOf(this, parts.recovery),
      onDone: done => this.#jobDone(done),
    });
    this.payments = {
      createOrder: (body, options, joint) => this.#createOrder(body, options, joint),
    };
    this.#listen();
  }

  // ---- What a shop does ------------------------------------------------------------------------

  /**
   * Stores an order and makes its payment page. If that is not possible now, the worker makes it
   * later. Answers as soon as either is certain: at once while the breaker is open, otherwise
   * within `maxWait`. That is a time limit of the request, so the breaker counts a failure. If we
   * aborted a signal instead, it would never open on a Midtrans that hangs.
   * @param {object} [joint] of Idempotency: a key that is claimed and settled with the order
   */
  async #createOrder (body, options, joint) {
    const { signal } = CREATE_ORDER.read(options);
    const { midtrans } = this.clients;
    if (midtrans === undefined) throw new SekeringError('ERR_GATEWAY_NO_CLIENT');
    const isOpen = midtrans.breaker.opened;
    const { order, queued, error } = await this.#stored(() => (isOpen
      ? this.#defer(body, joint)
      : this.store.payments.open(body, { signal, timeout: this.config.retry.fallback.maxWait },
        joint?.after(opened => made(opened.order)))));
    if (!queued) return made(order);
    const { orderId, state } = order;
    this.emit('queued', order, error);
    this.emit('fallback', { name: 'midtrans', by: 'queue', error });
    return { queued: true, orderId, state, error };
  }

  async #defer (body, joint) {
    const error = new SekeringError('EOPENBREAKER');
    const order = await this.store.payments.defer(body, { reason: error }, joint);
    // An earlier call may have made it.
    return { order, queued: order.token === null, error };
  }

  /**
   * Puts messages into the outbox. They are durable when it resolves. Channels without a sender are
   * rejected, because their messages would wait for ever. So are the channels of payments: a forged
   * message there could mark an order as paid.
   */
  async notify (messages, options) {
    return this.#stored(() => this.store.outbox.enqueue(messages, options, this.#channels));
  }

  /** Protects a function as the section [upstreams.name] says. */
  upstream (name, fn, options) {
    return this.#upstreams.wrap(name, fn, options);
  }

  /** The reliability report, as data or as a page. */
  async report (options) {
    const { format } = REPORT.read(options);
    const report = await makeReport(this, { startedAt: this.#startedAt, opened: this.#opened });
    return format === 'html' ? reportPage(report) : report;
  }

  /** While the database is known to be down, nobody waits for it. */
  async #stored (work) {
    const { database } = this.breakers;
    // The probe is a quick query: an order also waits for Midtrans, and would hold up all others.
    if (database.halfOpen) await database.fire(() => this.store.query('SELECT 1'));
    return database.fire(work);
  }

  // ---- Life ------------------------------------------------------------------------------------

  get running () { return this.#running; }

  async start () {
    if (this.#running) return;
    if (this.#stopping !== undefined) throw new SekeringError('ESHUTDOWN', STOPPED);
    this.#running = true;
    if (this.config.retry.circuitBreaker.scope === 'fleet') {
      for (const breaker of Object.values(this.breakers)) {
        const { namespace } = breaker.options;
        await this.store.fleet.join(breaker, { namespace });
      }
    }
    await this.#sharedLevel.start();
    await this.degradation.start();
    await this.worker.start();
    this.schedule.start();
    this.#resuming = this.#resume();
    this.log.info({ profile: this.config.profile, engine: this.store.engine }, 'Gateway started');
  }

  /**
   * An embedded database has one process, so the one that was making an order before this one has
   * died, and need not be waited for. Asks until Midtrans has answered about all of them: after
   * growing waits, and soon after its breaker has closed.
   */
  async #resume () {
    if (this.store.engine !== 'pglite' || this.clients.midtrans === undefined) return;
    const { breaker } = this.clients.midtrans;
    const onClose = () => { this.#isMidtransBack = true; };
    breaker.on('close', onClose);
    const { maxWait } = this.config.retry.fallback;
    // An order that was looked up has to be older than maxWait before it can be looked up again.
    const pauseMs = maxWait + RESUME_MS;
    let waitMs = pauseMs;
    let isDone = await this.#lookUp(clock.wall() - this.#startedAt);
    while (this.#running && !isDone) {
      let waitedMs = 0;
      do {
        await this.#pause(pauseMs);
        waitedMs += pauseMs;
      } while (this.#running && !this.#isMidtransBack && waitedMs < waitMs);
      waitMs = this.#isMidtransBack ? pauseMs : Math.min(waitMs * 2, RESUME_MS_MAX);
      this.#isMidtransBack = false;
      // What this process itself is making is younger.
      isDone = this.#running && await this.#lookUp(maxWait);
    }
    breaker.off('close', onClose);
  }

  /** @returns {Promise<boolean>} whether Midtrans has answered about all such orders */
  async #lookUp (olderThan) {
    try {
      const { failed } = await this.store.payments.reconcile({ olderThan, limit: RESUMED_MAX });
      return failed === 0;
    } catch (error) {
      this.log.warn({ err: error }, 'Orders of an earlier run are looked up later');
      return false;
    }
  }

  /** Stopping ends it early. */
  #pause (ms) {
    return new Promise(resolve => {
      this.#resumeNow = resolve;
      this.#resumeTimer = clock.setTimer(resolve, ms, false);
    });
  }

  /** Finishes what is in flight, and closes everything. */
  stop (options) {
    const { timeout = this.config.server.shutdownTimeout } = STOP.read(options);
    this.#stopping ??= this.#stop(timeout);
    return this.#stopping;
  }

  async #stop (timeout) {
    this.#running = false;
    clock.clearTimer(this.#resumeTimer);
    this.#resumeNow?.();
    this.health.drain();
    await Promise.all([this.schedule.stop(timeout), this.worker.stop({ timeout }), this.#resuming]);
    this.degradation.stop();
    guarded('The sessions could not be left',
      () => this.sessions?.off('alert', this.#onSessionAlert));
    await this.#sharedLevel.stop();
    for (const client of Object.values(this.clients)) await client.close();
    await this.#parts.orders?.close();
    // Closing the clients may have ended their last attempts; the worker records that.
    await this.worker.stop({ timeout: 0 });
    for (const breaker of Object.values(this.breakers)) breaker.shutdown();
    await this.store.close();
    this.log.info({}, 'Gateway stopped');
  }

  // ---- Making ----------------------------------------------------------------------------------

  #makeDegradation () {
    const { scheme, interval, hysteresis, features } = this.config.degradation;
    const database = async () => (await this.store.health()).ok;
    const breakers = Object.entries(this.clients).map(([name, { breaker }]) => [name, breaker]);
    const services = { database, ...Object.fromEntries(breakers) };
    return createDegradation({ scheme, interval, hysteresis, features, services });
  }

  #makeWorker () {
    const { concurrency, batchSize, heldBytes, leaseMs, pollInterval } = this.config.outbox;
    const channels = {
      ...channelsOf(this.config, this.clients, this.store.deliveries),
      ...this.#parts.senders,
    };
    this.#channels = Object.keys(channels);
    return this.store.outbox.createWorker({
      channels: { ...this.#paymentSenders(), ...channels },
      concurrency, batchSize, heldBytes, leaseMs, pollInterval,
    });
  }

  /** Without a client orders wait, because no attempt could succeed. */
  #paymentSenders () {
    const { MIDTRANS_ORDER, ...others } = this.store.payments.senders();
    return this.clients.midtrans === undefined ? others : { MIDTRANS_ORDER, ...others };
  }

  /** `health.critical` changes the status only, not readiness: an order needs no mail relay. */
  #makeHealth () {
    const { strict, critical } = this.config.health;
    const checks = { ...this.#checks(), ...bag('checks', this.#parts.checks) };
    for (const [i, name] of critical.entries()) {
      if (!Object.hasOwn(checks, name)) {
        throw invalidOption(`health.critical[${i}]`,
          `the name of a check (${Object.keys(checks).join(', ')})`, name, RangeError);
      }
      const check = checks[name];
      checks[name] = typeof check === 'function'
        ? { check, critical: true, ready: false }
        : { ready: check.critical ?? false, ...check, critical: true };
    }
    return createHealth({ checks, strict });
  }

  #checks () {
    const { midtrans, smtp, whatsapp } = this.clients;
    return {
      database: healthChecks.database(this.store),
      worker: healthChecks.worker(this.worker),
      breakers: healthChecks.breakers(() => Object.values(this.breakers)),
      ...midtrans && { midtrans: healthChecks.ping(midtrans) },
      ...smtp && { smtp: healthChecks.smtp(smtp) },
      ...whatsapp && { whatsapp: healthChecks.ping(whatsapp) },
    };
  }

  #jobDone ({ job, durationMs, result, error }) {
    if (error === undefined) this.log.debug({ job, durationMs }, 'Job finished');
    else this.log.error({ job, err: error }, 'Job failed');
    this.emit('job', { job, durationMs, result, error });
  }

  /** Logs what operators should know, and emits it to the user. */
  #listen () {
    const { log, store, worker, degradation, health } = this;
    for (const [name, breaker] of Object.entries(this.breakers)) this.#watch(name, breaker);
    for (const [name, client] of Object.entries(this.clients)) {
      client.on('alert', ({ error, ...about }) => {
        log.error({ service: name, ...about, err: error },
          `Needs attention: check the credentials and the account of ${name}`);
        this.emit('alert', { service: name, ...about, error });
      });
    }
    this.#upstreams.events.on('fallback', details => this.emit('fallback', details));
    degradation.on('level', change => {
      log.warn({ change }, `Degradation level: ${change.to}`);
      this.emit('level', change);
    });
    health.on('check', ({ name, status }) => {
      if (name !== 'database') return;
      const isDown = degradation.conditionOf(name) === 'down';
      if (isDown !== (status === 'unhealthy')) degradation.look();
    });
    health.on('status', change => log.warn({ change }, `Health: ${change.to}`));
    const warn = text => error => log.warn({ err: error }, text);
    this.#sharedLevel.on('warning', warn('The shared degradation level is not in sync'));
    store.on('warning', warn('Store warning'));
    store.payments.on('warning', warn('Payments warning'));
    store.deadLetters.on('warning', warn('A dead letter could not be recovered'));
    worker.on('warning', warn('Worker warning'));
    store.payments.on('held', ({ id, orderId }, reason) => {
      log.error({ event: id, orderId, reason }, 'A payment notification needs a review');
      this.emit('alert', { service: 'payments', kind: 'held', orderId, reason });
    });
    store.payments.on('released', ({ orderId }) =>
      log.info({ orderId }, 'A held payment no longer needs review: Midtrans has settled it'));
    store.deadLetters.on('arrival', ({ id, channel, kind, reason, lastError }) => {
      log.error({ letter: id, channel, kind, reason, lastError }, 'Dead letter');
      this.emit('alert', { service: 'outbox', kind: 'dead-letter', id, channel });
    });
    store.deliveries.on('failed', ({ id, channel, errorCode, error }) => {
      log.warn({ message: id, channel, code: errorCode, reason: error },
        'A message was not delivered');
      this.emit('alert', { service: 'outbox', kind: 'undelivered', id, channel, code: errorCode });
    });
    this.sessions?.on('alert', this.#onSessionAlert);
    worker.on('retry', ({ id, channel }, error, delayMs) =>
      log.info({ message: id, channel, delayMs, err: error }, 'A message will be retried'));
  }

  #onSessionAlert = ({ kind, id, message }) => {
    this.log.error({ instance: id, kind }, message);
    this.emit('alert', { service: 'sessions', kind, id, message });
  };

  #watch (name, breaker) {
    breaker.on('open', () => {
      this.#opened[name] = (this.#opened[name] ?? 0) + 1;
      this.log.error({ breaker: name }, 'Breaker opened');
      this.emit('breaker', { name, state: 'open' });
    });
    breaker.on('halfOpen', () => this.emit('breaker', { name, state: 'half-open' }));
    breaker.on('close', () => {
      this.log.info({ breaker: name }, 'Breaker closed');
      this.emit('breaker', { name, state: 'closed' });
    });
  }
}

/** Makes a gateway, and opens its store. Nothing runs before start(). */
async function createGateway (config, parts) {
  const own = PARTS.read(parts, 'parts');
  const checked = readConfig(config, { env: own.env });
  checkPeers(packagesOf(checked, own), 'createGateway');
  const log = createLogger(checked, own.logger);
  const upstreams = makeUpstreams(checked, own.fallbacks);
  const { clients, orders, breakers: breakersOfClients } = makeClients(checked);
  const breakers = { ...breakersOfClients, ...upstreams.breakers };
  const definition = channelDefinition(checked);
  const ownChannels = Object.keys(own.senders).map(name => [name, definition]);
  let store;
  try {
    store = await openPatiently({
      ...placeOf(checked.store, own.pool),
      channels: { ...channelDefinitions(checked, clients), ...Object.fromEntries(ownChannels) },
      ...orders !== undefined && {
        payments: {
          midtrans: orders, hooks: own.hooks, irisMerchantKey: checked.midtrans.irisMerchantKey,
        },
      },
    }, checked.store.startTimeout, { log, signal: own.signal });
    return new Gateway({
      config: checked, log, store, clients, upstreams, breakers, parts: { ...own, orders },
    });
  } catch (error) {
    for (const breaker of Object.values(breakers)) breaker.shutdown();
    await store?.close();
    throw error;
  }
}

module.exports = { createGateway, placeOf };
