'use strict';

// What is done from time to time. Every process of the fleet has the same schedule; each time of
// each job is taken by one of them, and no job begins while it runs anywhere. The database decides,
// in one row for each job.

const { Cron } = require('croner');

const clock = require('../base/clock');
const { SekeringError } = require('../base/errors');

// A job may take this long. Whoever has died in one keeps it from the others no longer.
const BUSY_MS_MAX = 600_000;

const TAKE = schema => `INSERT INTO ${schema}.schedule_jobs AS j
    (job, slot, busy_until, started_at)
  VALUES ($1, $2::timestamptz, now() + $3::float8 * interval '1 ms', now())
  ON CONFLICT (job) DO UPDATE
    SET slot = excluded.slot, busy_until = excluded.busy_until, started_at = now(),
      duration_ms = NULL, error = NULL
    WHERE j.slot < excluded.slot AND j.busy_until <= now()
  RETURNING slot`;

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
  #onDone;

  /**
   * @param {object} parts
   * @param {object} parts.store
   * @param {Record<string, { pattern: string | false, run: Function }>} parts.jobs `run` gets
   *   `{ signal }`
   * @param {string} parts.timezone
   * @param {(event: { job: string, durationMs: number, result?: unknown, error?: Error }) => void}
   *   parts.onDone
   */
  constructor ({ store, jobs, timezone, onDone }) {
    this.#store = store;
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
    const { rows } = await this.#store.query(TAKE(schema), [name, at, BUSY_MS_MAX]);
    if (rows.length === 0) return false;
    const began = clock.now();
    let result;
    let error;
    try {
      result = await this.#jobs[name].run({ signal: this.#ending.signal });
    } catch (thrown) {
      error = thrown;
    }
    const durationMs = clock.now() - began;
    this.#onDone({ job: name, durationMs, result, error });
    const failure = error === undefined ? null : String(error?.code ?? error?.name ?? 'Error');
    await this.#store.query(END(schema), [name, at, durationMs, failure]);
    return true;
  }
}

module.exports = { Schedule };
