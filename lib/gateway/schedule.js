'use strict';

// Scheduled jobs. Each scheduled run happens in exactly one process: all processes have the same
// schedule, the database tells the time, and it decides who takes a run. A job never runs twice at
// once, in the whole fleet. The process that runs it renews its lease, so a crash delays the job by
// a minute at most.

const clock = require('../base/clock');
const { SekeringError, timedOut } = require('../base/errors');
const { read } = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { GATEWAY, requirePeer } = require('../base/peer');
const { stateOf } = require('../primitives/stats');
const { clean } = require('../store/outbox-verdict');

const { Cron } = requirePeer('croner', 'sekering/gateway', GATEWAY);

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
const CODE_MAX = 100;
// The database is asked for the time at least this often: a host that was suspended is late by no
// more than that.
const LOOK_MS = MINUTE_MS;
// And this soon after it could not be asked.
const LOOK_AGAIN_MS = 5000;

const OPTIONS = optionsOf({
  store: is.object('of openStore', { required: true }),
  jobs: is.record('{ pattern: a cron pattern or false, run: gets { signal } }',
    is.object('a job'), { required: true }),
  timezone: is.text('of the patterns', { required: true }),
  onDone: is.func('gets { job, durationMs, result, error }', { required: true }),
  leaseMs: is.ms('that a job belongs to its process', { min: 1, default: 60_000 }),
  renewMs: is.ms('after which the lease is renewed', { min: 1, default: 15_000 }),
});

/**
 * The slot of a scheduled run is its time in the schedule, so each is taken once. A run on demand
 * brings none: the database gives it one after the last run. A slot that is far in the future is
 * none: it would keep its job from running until then.
 */
const TAKE = schema => `INSERT INTO ${schema}.schedule_jobs AS j
    (job, slot, busy_until, started_at)
  VALUES ($1, coalesce($2::timestamptz, date_trunc('milliseconds', now())),
    now() + $3::float8 * interval '1 ms', now())
  ON CONFLICT (job) DO UPDATE
    SET slot = CASE WHEN $2::timestamptz IS NULL
        THEN greatest(excluded.slot, j.slot + interval '1 ms') ELSE excluded.slot END,
      busy_until = excluded.busy_until, started_at = now(), duration_ms = NULL, error = NULL
    WHERE ($2::timestamptz IS NULL OR j.slot < excluded.slot
      OR j.slot > now() + interval '1 day') AND j.busy_until <= now()
  RETURNING slot`;

const RENEW = schema => `UPDATE ${schema}.schedule_jobs
  SET busy_until = now() + $3::float8 * interval '1 ms'
  WHERE job = $1 AND slot = $2::timestamptz`;

const END = schema => `UPDATE ${schema}.schedule_jobs
  SET busy_until = now(), duration_ms = $3, error = $4
  WHERE job = $1 AND slot = $2::timestamptz`;

/**
 * The first time of a pattern after a time, ms; Infinity if there is none. In the hour that a zone
 * has twice, the library may give one of the first time round, which is over.
 */
function nextAfter (cron, time) {
  for (let from = time; ; from += MINUTE_MS) {
    const next = cron.nextRun(new Date(Math.floor(from)))?.getTime() ?? Infinity;
    if (next > time) return next;
  }
}

/** The last time of a pattern from one of its times up to another time, ms. */
function lastSince (cron, slot, time) {
  let [low, high] = [slot, time];
  // Its times are whole seconds.
  while (high - low >= 1000) {
    const middle = (low + high) / 2;
    const next = nextAfter(cron, middle);
    if (next > time) high = middle;
    else low = next;
  }
  return low;
}

/** The database's time, ms. */
async function timeOf (store) {
  const { rows: [{ time }] } = await store.query('SELECT now() AS time');
  return time.getTime();
}

class Schedule {
  #store;
  #jobs;
  /** By job, of those that have a pattern. They only calculate times. */
  #crons;
  /** Between start and stop: its timer, and the next slot of each job. */
  #watch = undefined;
  /** What is to be added to our own clock to have the database's time; undefined: not known yet. */
  #offsetMs = undefined;
  /** What runs: { job, began, ended }. */
  #running = new Set();
  #ending = new AbortController();
  #lease;
  #onDone;

  constructor (options) {
    const { store, jobs, timezone, onDone, leaseMs, renewMs } = OPTIONS.read(options);
    this.#store = store;
    this.#lease = { leaseMs, renewMs };
    this.#jobs = jobs;
    this.#crons = new Map(Object.entries(jobs).filter(([, { pattern }]) => pattern !== false)
      .map(([name, { pattern }]) => [name, new Cron(pattern, { timezone, paused: true })]));
    this.#onDone = onDone;
  }

  start () {
    if (this.#watch !== undefined) return;
    this.#ending = new AbortController();
    this.#watch = { timer: undefined, next: new Map() };
    if (this.#crons.size > 0) this.#look(this.#watch);
  }

  /**
   * Takes the slots that are due, and looks again when the next one is. Hosts' clocks differ, so
   * only the database's time counts; our own clock only measures how long to wait. While the
   * database cannot be asked, no job could be taken: its last slot is taken late.
   */
  async #look (watch) {
    const time = await this.#readTime();
    if (this.#watch !== watch) return;
    let waitMs = LOOK_AGAIN_MS;
    if (time !== undefined) {
      waitMs = LOOK_MS;
      for (const [name, cron] of this.#crons) {
        let next = watch.next.get(name) ?? nextAfter(cron, time);
        if (next <= time) {
          this.#tick(name, new Date(lastSince(cron, next, time)));
          next = nextAfter(cron, time);
        }
        watch.next.set(name, next);
        waitMs = Math.min(waitMs, next - time);
      }
    }
    watch.timer = clock.setTimer(() => this.#look(watch), waitMs, false);
  }

  /** The database's time; undefined while it cannot be asked. */
  async #readTime () {
    try {
      const time = await timeOf(this.#store);
      // It was read earlier than this, so whoever waits for a time does not wake too early.
      this.#offsetMs = time - clock.now();
      return time;
    } catch {
      return undefined;
    }
  }

  /**
   * Starts no more jobs, and waits for those that run.
   * @param {number} [timeout] ms; those that run then are left behind, and have failed
   */
  async stop (timeout) {
    clock.clearTimer(this.#watch?.timer);
    this.#watch = undefined;
    this.#ending.abort(new SekeringError('ESHUTDOWN', 'The schedule has been stopped'));
    const runs = [...this.#running];
    let timer;
    const isOver = timeout !== undefined &&
      new Promise(resolve => { timer = clock.setTimer(resolve, timeout, true); });
    const ended = Promise.all(runs.map(({ ended }) => ended));
    await (isOver ? Promise.race([ended, isOver]) : ended);
    clock.clearTimer(timer);
    for (const run of runs) if (this.#running.has(run)) this.#leave(run, timeout);
  }

  #leave (run, timeout) {
    this.#running.delete(run);
    this.#onDone({ job: run.job, durationMs: clock.now() - run.began, error: timedOut(timeout) });
  }

  /** The next run of each job; null for a job without one. */
  next () {
    const time = this.#offsetMs === undefined ? clock.wall() : clock.now() + this.#offsetMs;
    return Object.fromEntries(Object.keys(this.#jobs).map(name => {
      const next = this.#crons.has(name) ? nextAfter(this.#crons.get(name), time) : Infinity;
      return [name, next === Infinity ? null : new Date(next)];
    }));
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
    return this.#tick(name, null);
  }

  #tick (name, slot) {
    const run = { job: name, began: clock.now(), ended: undefined };
    this.#running.add(run);
    run.ended = this.#take(run, slot).catch(error => {
      this.#end(run, { durationMs: 0, error });
      return false;
    }).finally(() => this.#running.delete(run));
    return run.ended;
  }

  /** Tells what came of a run, unless it was left behind. */
  #end (run, result) {
    if (this.#running.has(run)) this.#onDone({ job: run.job, ...result });
  }

  async #take (run, slot) {
    const { job: name } = run;
    const { schema } = this.#store;
    const { rows: [taken] } =
      await this.#store.query(TAKE(schema), [name, slot, this.#lease.leaseMs]);
    if (taken === undefined) return false;
    const at = taken.slot;
    const began = clock.now();
    const release = this.#keep(run, at);
    let result;
    let error;
    try {
      result = await this.#jobs[name].run({ signal: this.#ending.signal });
    } catch (thrown) {
      // Without an error it would count as finished.
      error = thrown === undefined ? new SekeringError('ERR_GATEWAY_JOB') : thrown;
    }
    await release();
    const durationMs = clock.now() - began;
    this.#end(run, { durationMs, result, error });
    const failure = error === undefined ? null
      : clean(read(error, 'code') ?? read(error, 'name') ?? 'Error', CODE_MAX);
    await this.#store.query(END(schema), [name, at, durationMs, failure]);
    return true;
  }

  /** Renews the lease of a run until the returned function is called, or it is left behind. */
  #keep (run, at) {
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
        if (isOver || !this.#running.has(run)) return;
        // While the database is down, nobody else can take the job either.
        await this.#store.query(RENEW(this.#store.schema), [run.job, at, leaseMs])
          .catch(() => {});
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
 * @param {object} clients
 * @param {object} deliveries
 * @param {number} time the database's, as the times of letters are
 */
function retryAfterOutage (clients, deliveries, time) {
  return async letter => {
    const age = time - letter.createdAt.getTime();
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
    deadLetters: async () => {
      const ours = retryAfterOutage(clients, store.deliveries, await timeOf(store));
      return store.deadLetters.recover({ '*': ours, ...strategies }, { limit: LETTERS_MAX });
    },
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
