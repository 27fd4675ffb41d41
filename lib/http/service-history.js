'use strict';

// What the whole service does: orders, messages and errors of each minute, for a day. Every process
// keeps its counts of messages and errors in the store, a row for each minute in which it did
// something. Orders are in the store anyway.

const { randomUUID } = require('node:crypto');

const clock = require('../base/clock');
const Emitter = require('../base/emitter');
const { failuresOf } = require('./breaker-views');

const MINUTE_MS = 60_000;
const STEP_MINUTES = 5;
const STEPS = 24 * 60 / STEP_MINUTES;
// While the store is away, the counts of this many minutes wait for it.
const WAITING_MAX = 60;
const STEP_MS = STEP_MINUTES * MINUTE_MS;
const COUNTS = ['messages', 'errors'];

const nothing = () => ({ messages: 0, errors: 0 });
const isNothing = counts => COUNTS.every(name => counts[name] === 0);

class ServiceHistory {
  #store;
  #breakers;
  #table;
  #gateway = randomUUID();
  // The counts of minutes that are not in the store yet.
  #waiting = new Map();
  #undo;
  #timer;
  #seen = new WeakMap();
  #writing = Promise.resolve();
  // How many orders came in each step that is over, by its beginning.
  #orders = new Map();

  constructor ({ store, worker, breakers }) {
    this.#store = store;
    this.#breakers = breakers;
    this.#table = `${store.schema}.service_minutes`;
    this.#undo = Emitter.follow(worker, { sent: () => { this.#now().messages += 1; } });
    this.#wait();
  }

  /** The counts of this minute. */
  #now () {
    const minute = Math.floor(clock.wall() / MINUTE_MS) * MINUTE_MS;
    let counts = this.#waiting.get(minute);
    if (counts === undefined) {
      counts = nothing();
      this.#waiting.set(minute, counts);
      while (this.#waiting.size > WAITING_MAX) {
        this.#waiting.delete(this.#waiting.keys().next().value);
      }
    }
    return counts;
  }

  #wait () {
    const untilNext = MINUTE_MS - clock.wall() % MINUTE_MS;
    this.#timer = clock.setTimer(() => {
      this.#wait();
      this.flush();
    }, untilNext, false);
  }

  /** Calls of breakers that have failed since the last look. */
  #countErrors () {
    for (const breaker of this.#breakers()) {
      const failures = failuresOf(breaker);
      const news = failures - (this.#seen.get(breaker) ?? 0);
      this.#seen.set(breaker, failures);
      if (news > 0) this.#now().errors += news;
    }
  }

  /** Writes what was counted. It never rejects: what cannot be written now waits. */
  flush () {
    this.#writing = this.#writing.then(() => this.#write()).catch(() => {});
    return this.#writing;
  }

  async #write () {
    this.#countErrors();
    const rows = [...this.#waiting].filter(([, counts]) => !isNothing(counts))
      .map(([minute, counts]) => ({ minute: new Date(minute), ...counts }));
    this.#waiting.clear();
    if (rows.length === 0) return;
    try {
      await this.#store.query(`INSERT INTO ${this.#table} AS s
        (minute, gateway, messages, errors)
        SELECT minute, $2, messages, errors FROM json_to_recordset($1)
          AS given (minute timestamptz, messages integer, errors integer)
        ON CONFLICT (minute, gateway) DO UPDATE SET
          messages = s.messages + excluded.messages, errors = s.errors + excluded.errors`,
      [JSON.stringify(rows), this.#gateway]);
    } catch (error) {
      this.#takeBack(rows);
      throw error;
    }
  }

  #takeBack (rows) {
    const later = this.#waiting;
    this.#waiting = new Map(rows.map(({ minute, ...counts }) => [minute.getTime(), counts]));
    for (const [minute, counts] of later) {
      const known = this.#waiting.get(minute) ?? nothing();
      for (const name of COUNTS) known[name] += counts[name];
      this.#waiting.set(minute, known);
    }
    for (const minute of this.#waiting.keys()) {
      if (this.#waiting.size <= WAITING_MAX) break;
      this.#waiting.delete(minute);
    }
  }

  /** How many orders came in each of these steps. Steps that are over are counted once. */
  async #countOrders (at) {
    const begin = at.find(step => !this.#orders.has(step));
    const { rows } = await this.#store.query(`SELECT count(*)::float8 AS count,
        floor(extract(epoch FROM created_at) * 1000 / $2) * $2 AS step
      FROM ${this.#store.schema}.payment_orders
      WHERE created_at >= to_timestamp($1::float8 / 1000) GROUP BY step`, [begin, STEP_MS]);
    const found = new Map(rows.map(({ step, count }) => [Number(step), count]));
    const counts = at.map(step => found.get(step) ?? this.#orders.get(step) ?? 0);
    // An order may be committed a while after it came.
    const over = clock.wall() - MINUTE_MS - STEP_MS;
    this.#orders = new Map(at.map((step, i) => [step, counts[i]]).filter(([step]) => step <= over));
    return counts;
  }

  /** The last 24 hours of all processes, in means of five minutes, each as a rate per minute. */
  async read () {
    await this.flush();
    const first = (Math.floor(clock.wall() / STEP_MS) - STEPS + 1) * STEP_MS;
    const at = Array.from({ length: STEPS }, (_, i) => first + i * STEP_MS);
    const { rows } = await this.#store.query(`SELECT
        floor((extract(epoch FROM minute) * 1000 - $1) / $2)::int AS step,
        sum(messages)::float8 AS messages, sum(errors)::float8 AS errors
      FROM ${this.#table} WHERE minute >= to_timestamp($1::float8 / 1000)
      GROUP BY step`, [first, STEP_MS]);
    const byStep = new Map(rows.map(row => [row.step, row]));
    const lines = {
      orders: await this.#countOrders(at),
      ...Object.fromEntries(COUNTS.map(name =>
        [name, at.map((_, i) => byStep.get(i)?.[name] ?? 0)])),
    };
    const entries = Object.entries(lines);
    return {
      stepMs: STEP_MS,
      at,
      ...Object.fromEntries(entries.map(([name, counts]) =>
        [name, counts.map(count => count / STEP_MINUTES)])),
      totals: Object.fromEntries(entries.map(([name, counts]) =>
        [name, counts.reduce((sum, count) => sum + count, 0)])),
    };
  }

  close () {
    clock.clearTimer(this.#timer);
    this.#undo();
  }
}

const createServiceHistory = parts => new ServiceHistory(parts);

module.exports = { createServiceHistory };
