'use strict';

// The messages that one worker holds, as the database sees it: claims, outcomes, leases.

const clock = require('../base/clock');
const { Batcher } = require('./batcher');
const { StoreError } = require('./store-errors');

const COUNT = 500;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 2000;
// Two claims of the same key: one is rejected, or both wait for each other (deadlock).
const CROSSED = new Set(['23505', '40P01']);
const CROSSINGS_MAX = 10;
const UNKNOWN_AFTER_MS = 3_600_000;
// While a transaction keeps a snapshot, dead entries stay in the indexes, and claims slow down.
const SNAPSHOT_MS_MAX = 300_000;

const byId = (items, valueOf) => Object.fromEntries(items.map(item => [item.id, valueOf(item)]));

class Leases {
  #database;
  #sql;
  #channels;
  #leaseMs;
  #onError;
  #keepsAlive;
  #sent = new Batcher(items => this.#writeSent(items), { count: COUNT });
  #unsent = new Batcher(items => this.#writeUnsent(items), { count: COUNT });

  /**
   * @param {{ database: object, sql: object, channels: Map<string, object>, owner: string,
   *   leaseMs: number, onError: (error: Error) => void, keepsAlive: () => boolean }} parts
   *   `channels`: all that the outbox knows; `onError` hears of outcomes that could not be written;
   *   `keepsAlive`: whether the process waits for another try
   */
  constructor ({ database, sql, channels, owner, leaseMs, onError, keepsAlive }) {
    this.#database = database;
    this.#sql = sql;
    this.#channels = channels;
    this.owner = owner;
    this.#leaseMs = leaseMs;
    this.#onError = onError;
    this.#keepsAlive = keepsAlive;
  }

  // ---- Claims ----------------------------------------------------------------------------------

  /**
   * @param {object} claim of the scheduler
   * @returns {Promise<object>} as Scheduler.claimed() wants it
   */
  async claim (claim) {
    const { rows } = await this.#queryAgain(this.#statement(claim));
    const { settled, lastKey } = rows[0] ?? {};
    // Where nothing was claimed there may be one row all the same, for what else it tells.
    if (rows[0]?.id === null) rows.pop();
    if (rows.length > 0) this.#sql.grow(rows[0].id);
    return { messages: rows.map(messageOf), settled, lastKey };
  }

  #statement ({ channel, token, room, behind, suspects, ordered, key, sent }) {
    const lease = [channel, this.owner, token, this.#leaseMs, room];
    if (behind === undefined) return this.#sql.claim(...lease, suspects, ordered, key);
    const place = [behind.urgency, behind.time, behind.id];
    if (sent === undefined) return this.#sql.claimFurther(...lease, ...place);
    const { job, providerId } = sent;
    return this.#sql.exchange(...lease, ...place, job.message.id, job.token, providerId);
  }

  /** Looks again where another claim was quicker: by then it sees what that one has claimed. */
  async #queryAgain (statement) {
    for (let crossings = 1; ; crossings++) {
      try {
        return await this.#database.query(statement);
      } catch (error) {
        if (!CROSSED.has(error.sqlState) || crossings === CROSSINGS_MAX) throw error;
      }
    }
  }

  // ---- Outcomes --------------------------------------------------------------------------------

  /**
   * Writes what became of a message: many in one statement, again and again while the database is
   * away, and only if it is still ours.
   * @param {object} job of the scheduler, with its outcome
   * @param {boolean} isRepeated it may have been written already, and the answer lost
   * @returns {Promise<object | undefined>} the row; undefined if the message was no longer ours
   */
  settle ({ message: { id }, token, outcome }, isRepeated) {
    const batcher = outcome.outcome === 'sent' ? this.#sent : this.#unsent;
    return batcher.add({ id, token, outcome, isRepeated });
  }

  async #writeSent (items) {
    const named = items.filter(({ outcome }) => outcome.providerId !== null);
    return this.#persist(items, this.#sql.settleSent(...this.#heldOf(items),
      JSON.stringify(byId(named, ({ outcome }) => outcome.providerId))));
  }

  async #writeUnsent (items) {
    return this.#persist(items, this.#sql.settleUnsent(...this.#heldOf(items),
      JSON.stringify(byId(items, ({ outcome: { cause, ...given } }) => given))));
  }

  /** What `held` of outbox-sql asks for. */
  #heldOf (items) {
    const tokens = JSON.stringify(byId(items, ({ token }) => token));
    return [this.owner, items.map(({ id }) => id), tokens];
  }

  /** @returns {Promise<Array<object | undefined>>} each item's row, if it was settled */
  async #persist (items, statement) {
    const { rows, isRepeated } = await this.#try(statement);
    const found = new Map(rows.map(row => [row.id, row]));
    if (found.size < items.length && (isRepeated || items.some(item => item.isRepeated))) {
      // An earlier try may have been committed although its answer was lost.
      const earlier = await this.#try(this.#sql.settledBefore(...this.#heldOf(items)));
      for (const row of earlier.rows) if (!found.has(row.id)) found.set(row.id, row);
    }
    // A message that came back to this worker is settled by its last claim only.
    const last = new Map(items.map(item => [item.id, item]));
    return items.map(item => (last.get(item.id) === item ? found.get(item.id) : undefined));
  }

  async #try (statement) {
    for (let failures = 0; ; failures++) {
      try {
        const { rows } = await this.#database.query(statement);
        return { rows, isRepeated: failures > 0 };
      } catch (error) {
        this.#onError(error);
        if (!error.retryable) throw error;
        const delay = Math.min(RETRY_MS_MIN * 2 ** failures, RETRY_MS_MAX);
        await new Promise(resolve => { clock.setTimer(resolve, delay, this.#keepsAlive()); });
      }
    }
  }

  // ---- Leases ----------------------------------------------------------------------------------

  /** @returns {Promise<string[]>} the ids of those that are still ours */
  async extend ({ jobs }) {
    const ids = jobs.map(({ message }) => message.id);
    const { rows } = await this.#database.query(this.#sql.extend(this.owner, ids, this.#leaseMs));
    return rows.map(({ id }) => id);
  }

  /** @returns {Promise<string>} the database's time, as `before` of sweep */
  async readTime () {
    const { rows: [{ now }] } =
      await this.#database.query('SELECT clock_timestamp()::text AS now');
    return now;
  }

  /** Takes back, from any worker, messages whose leases had ended by then. */
  async sweep ({ limit, before }) {
    return (await this.#database.query(this.#sql.sweep(limit, before))).rows;
  }

  /** Messages of channels that this program does not know die when they are long overdue. */
  async buryUnknown () {
    const known = [...this.#channels.keys()];
    return (await this.#database.query(this.#sql.buryUnknown(known, UNKNOWN_AFTER_MS))).rows;
  }

  /** @returns {Promise<StoreError | undefined>} a warning */
  async findSnapshot () {
    const { rows: [{ age }] } = await this.#database.query(this.#sql.oldSnapshot(SNAPSHOT_MS_MAX));
    return age === null ? undefined : new StoreError('ERR_STORE_OLD_SNAPSHOT',
      `A transaction has been open for ${Math.round(age / 1000)} s: until it ends the outbox ` +
      'gets slower', { retryable: true });
  }
}

/** A row that was claimed: the message, and how often a worker died while it held it. */
function messageOf ({ crashCount, settled, lastKey, ...message }) {
  message.reference = referenceOf(message);
  return { message, crashes: crashCount - 1 };
}

/**
 * Names a message at its provider, whatever the number of attempts. A time that no Date can hold is
 * a text, and must not keep the other messages of its claim from being sent.
 */
const referenceOf = ({ id, createdAt }) =>
  `${id}.${typeof createdAt === 'string' ? createdAt : createdAt.getTime().toString(36)}`;

module.exports = { Leases, referenceOf };
