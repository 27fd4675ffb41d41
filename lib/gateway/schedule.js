'use strict';

// What is done from time to time. Every process of the fleet has the same schedule; each time of
// each job is taken by one of them, and no job begins while it runs anywhere. The database decides,
// in one row for each job. Whoever runs one renews its lease; so one that has died in it keeps the
// others from it for a minute at most.

const { Cron } = require('croner');

const clock = require('../base/clock');
const { SekeringError } = require('../base/errors');
const { read, textOf } = require('../base/foreign');

const LEASE_MS = 60_000;
const RENEW_MS = 15_000;

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
  #options;
  #crons = [];
  #running = new Set();
  #ending = new AbortController();
  #lease;
  #onDone;

  /**
   * @param {object} parts
   * @param {object} parts.store
   * @param {Record<string, { pattern: string | false, run: Function }>} parts.jobs `run` gets
   *   `{ signal }`
   * @param {string} parts.timezone
   * @param {(event: { job: string, durationMs: number, result?: unknown, error?: Error }) => void}
   *   parts.onDone
   * @param {number} [parts.leaseMs=60000] for which a job is its taker's
   * @param {number} [parts.renewMs=15000] after which that begins anew
   */
  constructor ({ store, jobs, timezone, onDone, leaseMs = LEASE_MS, renewMs = RENEW_MS }) {
    this.#store = store;
    this.#lease = { leaseMs, renewMs };
    this.#jobs = jobs;
    this.#options = { timezone, unref: true, protect: true, catch: true };
    this.#onDone = onDone;
  }

  start () {
    if (this.#crons.length > 0) return;
    this.#ending = new AbortController();
    this.#crons = Object.entries(this.#jobs)
      .filter(([, { pattern }]) => pattern !== false)
      .map(([name, { pattern }]) => new Cron(pattern, this.#options,
        cron => this.#tick(name, cron.previousRuns(1, new Date(clock.wall() + 1))[0])));
  }

  /** Begins no more, and waits for those that run. */
  async stop () {
    for (const cron of this.#crons.splice(0)) cron.stop();
    this.#ending.abort(new SekeringError('ESHUTDOWN', 'The schedule has been stopped'));
    await Promise.allSettled(this.#running);
  }

  /** The times that come, by job; null for those that never do. */
  next () {
    return Object.fromEntries(Object.entries(this.#jobs).map(([name, { pattern }]) => [
      name, pattern === false ? null : new Cron(pattern, { ...this.#options, paused: true })
        .nextRun()
    ]));
  }

  /** What each job did last, wherever it ran. */
  async last () {
    const { rows } = await this.#store.query(`SELECT job, slot, started_at AS "startedAt",
      duration_ms AS "durationMs", error FROM ${this.#store.schema}.schedule_jobs ORDER BY job`);
    return rows;
  }

  /** Runs a job now, unless it runs already. Whether it did. */
  async run (name) {
    if (!Object.hasOwn(this.#jobs, name)) return false;
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

  /** Renews the lease of a job until the function that is returned is called. */
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
        // While the database is away nobody else can take the job either.
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

module.exports = { Schedule };
