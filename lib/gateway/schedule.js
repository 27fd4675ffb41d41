'use strict';

// Scheduled jobs. Each scheduled run happens in exactly one process: all processes have the same
// schedule, and the database decides who takes a run. A job never runs twice at once, in the whole
// fleet. The process that runs it renews its lease, so a crash delays the job by a minute at most.

const { Cron } = require('croner');

const clock = require('../base/clock');
const { SekeringError } = require('../base/errors');
const { read, textOf } = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { stateOf } = require('../primitives/stats');

const DAY_MS = 86_400_000;

const OPTIONS = optionsOf({
  store: is.object('of openStore', { required: true }),
  jobs: is.record('{ pattern: a cron pattern or false, run: gets { signal } }',
    is.object('a job'), { required: true }),
  timezone: is.text('of the patterns', { required: true }),
  onDone: is.func('gets { job, durationMs, result, error }', { required: true }),
  leaseMs: is.ms('that a job belongs to its process', { min: 1, default: 60_000 }),
  renewMs: is.ms('after which the lease is renewed', { min: 1, default: 15_000 }),
});

const TAKE = schema => `INSERT INTO ${schema}.schedule_jobs AS j
    (job, slot, busy_until, started_at)
  VALUES ($1, $2::timestamptz, now() + $3::float8 * interval '1 ms', now())
  ON CONFLICT (job) DO UPDATE
    SET slot = excluded.slot, busy_until = excluded.busy_until, started_at = now(),
      duration_ms = NULL, error = NULL
    WHERE j.slot < excluded.slot AND j.busy_until <= now()
  RETURNING slot`;

const RENEW = schema => `UPDATE ${schema}.schedule_jobs
  SET busy_until = now() + $3::float8 * interval '1 ms'
  WHERE job = $1 AND slot = $2::timestamptz`;

const END = schema => `UPDATE ${schema}.schedule_jobs
  SET busy_until = now(), duration_ms = $3, error = $4
  WHERE job = $1 AND slot = $2::timestamptz`;

class Schedule {
  #store;
  #jobs;
  #cronOptions;
  #crons = [];
  #running = new Set();
  #ending = new AbortController();
  #lease;
  #onDone;

  constructor (options) {
    const { store, jobs, timezone, onDone, leaseMs, renewMs } = OPTIONS.read(options);
    this.#store = store;
    this.#lease = { leaseMs, renewMs };
    this.#jobs = jobs;
    this.#cronOptions = { timezone, unref: true, protect: true, catch: true };
    this.#onDone = onDone;
  }

  start () {
    if (this.#crons.length > 0) return;
    this.#ending = new AbortController();
    this.#crons = Object.entries(this.#jobs)
      .filter(([, { pattern }]) => pattern !== false)
      .map(([name, { pattern }]) => new Cron(pattern, this.#cronOptions,
        cron => this.#tick(name, cron.previousRuns(1, new Date(clock.wall() + 1))[0])));
  }

  /** Starts no more jobs, and waits for those that run. */
  async stop () {
    for (const cron of this.#crons.splice(0)) cron.stop();
    this.#ending.abort(new SekeringError('ESHUTDOWN', 'The schedule has been stopped'));
    await Promise.allSettled(this.#running);
  }

  /** The next run of each job; null for a job without one. */
  next () {
    return Object.fromEntries(Object.entries(this.#jobs).map(([name, { pattern }]) => [
      name, pattern === false ? null : new Cron(pattern, { ...this.#cronOptions, paused: true })
        .nextRun()
    ]));
  }

  /** The last run of each job, in any process. */
  async last () {
    const { rows } = await this.#store.query(`SELECT job, slot, started_at AS "startedAt",
      duration_ms AS "durationMs", error FROM ${this.#store.schema}.schedule_jobs ORDER BY job`);
    return rows;
  }

  /** Runs a job now, unless it is running. @returns {Promise<boolean>} whether it ran */
  async run (name) {
    if (typeof name !== 'string' || !Object.hasOwn(this.#jobs, name)) return false;
    return this.#tick(name, new Date(clock.wall()));
  }

  #tick (name, slot) {
    const running = this.#take(name, slot).catch(error => {
      this.#onDone({ job: name, durationMs: 0, error });
      return false;
    });
    this.#running.add(running);
    running.finally(() => this.#running.delete(running));
    return running;
  }

  async #take (name, slot) {
    const { schema } = this.#store;
    const at = slot.toISOString();
    const { rows } = await this.#store.query(TAKE(schema), [name, at, this.#lease.leaseMs]);
    if (rows.length === 0) return false;
    const began = clock.now();
    const release = this.#keep(name, at);
    let result;
    let error;
    try {
      result = await this.#jobs[name].run({ signal: this.#ending.signal });
    } catch (thrown) {
      error = thrown;
    }
    await release();
    const durationMs = clock.now() - began;
    this.#onDone({ job: name, durationMs, result, error });
    const failure = error === undefined ? null
      : textOf(read(error, 'code') ?? read(error, 'name') ?? 'Error');
    await this.#store.query(END(schema), [name, at, durationMs, failure]);
    return true;
  }

  /** Renews the lease of a job until the returned function is called. */
  #keep (name, at) {
    const { leaseMs, renewMs } = this.#lease;
    let isOver = false;
    let timer;
    let wake;
    const renew = async () => {
      for (;;) {
        await new Promise(resolve => {
          wake = resolve;
          timer = clock.setTimer(resolve, renewMs, false);
        });
        if (isOver) return;
        // While the database is down, nobody else can take the job either.
        await this.#store.query(RENEW(this.#store.schema), [name, at, leaseMs]).catch(() => {});
      }
    };
    const renewing = renew();
    return () => {
      isOver = true;
      clock.clearTimer(timer);
      wake();
      return renewing;
    };
  }
}

// ---- The jobs of a gateway ---------------------------------------------------------------------

const LETTERS_MAX = 500;
// Midtrans is asked about orders that had no news for this long.
const RECONCILE_MS = 600_000;
// Dead letters are retried for a day; then an operator decides.
const RECOVER_MS_MAX = DAY_MS;

const OUTAGES = new Set(['ECONNREFUSED', 'ECONNRESET', 'ETIMEDOUT', 'EPIPE', 'EAI_AGAIN',
  'ENOTFOUND', 'ECONNECTION', 'ESOCKET', 'EDNS', 'TimeoutError']);
const OUTAGE_PATTERN = /^ERR_.*_(TIMEOUT|NETWORK|SERVER|RATE_LIMITED|UNAVAILABLE)$/;

const isOutage = kind => OUTAGES.has(kind) || OUTAGE_PATTERN.test(kind);

/** The client that sends a channel's messages. */
const CLIENTS = { EMAIL: 'smtp', WHATSAPP: 'whatsapp', MIDTRANS_ORDER: 'midtrans' };

/**
 * Dead letters caused by a past outage are retried with a fresh attempt count, unless the message
 * has arrived.
 */
function retryAfterOutage (clients, deliveries) {
  return async letter => {
    const age = clock.wall() - letter.createdAt.getTime();
    const breaker = clients[CLIENTS[letter.channel]]?.breaker;
    const isBack = breaker === undefined || breaker.closed;
    if (!isOutage(letter.kind) || !isBack || age >= RECOVER_MS_MAX) return 'keep';
    const delivery = (await deliveries.of([letter])).get(letter.id);
    return delivery === undefined || delivery.status === 'failed' ? 'retry' : 'keep';
  };
}

/** `strategies` of dead letters, by kind, come before ours. */
function jobsOf (gateway, strategies) {
  const { config, store, breakers, clients, log } = gateway;
  const { schedule } = config;
  const keep = schedule.retentionDays * DAY_MS;
  const audit = schedule.auditRetentionDays * DAY_MS;
  const runs = {
    deadLetters: () => store.deadLetters.recover(
      { '*': retryAfterOutage(clients, store.deliveries), ...strategies },
      { limit: LETTERS_MAX }),
    breakers: () => {
      const states = Object.fromEntries(
        Object.entries(breakers).map(([name, breaker]) => [name, stateOf(breaker)]));
      const areClosed = Object.values(states).every(state => state === 'closed');
      if (!areClosed) log.warn({ states }, 'Some breakers are not closed');
      return states;
    },
    health: async () => {
      const { status } = await gateway.health.check();
      return { status };
    },
    report: async () => {
      const report = await gateway.report();
      log.info({ report }, 'Reliability report');
      return report;
    },
    cleanUp: () => store.cleanUp({
      sent: keep, dead: keep, deliveries: keep, foreignEvents: keep, audit
    }),
    ...config.midtrans !== undefined && {
      reconcile: () => store.payments.reconcile({ olderThan: RECONCILE_MS })
    },
  };
  return Object.fromEntries(Object.entries(runs)
    .map(([name, run]) => [name, { pattern: schedule[name], run }]));
}

module.exports = { Schedule, jobsOf };
