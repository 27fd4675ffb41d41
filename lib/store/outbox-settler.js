'use strict';

// Writes what became of messages: many in one statement, again and again while the database is
// away, and only while the worker still holds them.

const clock = require('../base/clock');
const { Batcher } = require('./batcher');

const COUNT = 500;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 2000;

const byId = (items, valueOf) => Object.fromEntries(items.map(item => [item.id, valueOf(item)]));

class Settler {
  #database;
  #sql;
  #owner;
  #onError;
  #keepsAlive;
  #sent;
  #unsent;

  /**
   * @param {{ database: object, sql: object, owner: string, onError: (error: Error) => void,
   *   keepsAlive: () => boolean }} parts `keepsAlive`: whether the process waits for another try
   */
  constructor ({ database, sql, owner, onError, keepsAlive }) {
    this.#database = database;
    this.#sql = sql;
    this.#owner = owner;
    this.#onError = onError;
    this.#keepsAlive = keepsAlive;
    this.#sent = new Batcher(items => this.#writeSent(items), { count: COUNT });
    this.#unsent = new Batcher(items => this.#writeUnsent(items), { count: COUNT });
  }

  /**
   * @param {boolean} [again] it may have been written already, and the answer lost
   * @returns {Promise<boolean>} whether the message was still ours
   */
  sent (job, providerId, again = false) {
    return this.#sent.add({ id: job.message.id, token: job.token, providerId, again });
  }

  /** @returns {Promise<object | undefined>} the row, or undefined when it was no longer ours */
  unsent (job, verdict) {
    return this.#unsent.add({ id: job.message.id, token: job.token, verdict });
  }

  async #writeSent (items) {
    const statement = this.#sql.settleSent(...this.#heldOf(items),
      JSON.stringify(byId(items.filter(({ providerId }) => providerId !== null),
        ({ providerId }) => providerId)));
    const found = await this.#persist(statement, items);
    return items.map(item => found(item) !== undefined);
  }

  async #writeUnsent (items) {
    const statement = this.#sql.settleUnsent(...this.#heldOf(items),
      JSON.stringify(byId(items, ({ verdict }) => verdict)));
    return items.map(await this.#persist(statement, items));
  }

  /** What `held` of outbox-sql asks for. */
  #heldOf (items) {
    const tokens = JSON.stringify(byId(items, ({ token }) => token));
    return [this.#owner, items.map(({ id }) => id), tokens];
  }

  /**
   * @returns {Promise<(item: object) => object | undefined>} gives an item's row, if it was settled
   */
  async #persist (statement, items) {
    const { rows, again } = await this.#try(statement);
    const found = new Map(rows.map(row => [row.id, row]));
    if (found.size < items.length && (again || items.some(item => item.again))) {
      // An earlier try may have been committed although its answer was lost.
      const earlier = await this.#try(this.#sql.settledBefore(...this.#heldOf(items)));
      for (const row of earlier.rows) if (!found.has(row.id)) found.set(row.id, row);
    }
    // A message that came back to this worker is settled by its last claim only.
    const last = new Map(items.map(item => [item.id, item]));
    return item => (last.get(item.id) === item ? found.get(item.id) : undefined);
  }

  async #try (statement) {
    for (let failures = 0; ; failures++) {
      try {
        const { rows } = await this.#database.query(statement);
        return { rows, again: failures > 0 };
      } catch (error) {
        this.#onError(error);
        if (!error.retryable) throw error;
        const delay = Math.min(RETRY_MS_MIN * 2 ** failures, RETRY_MS_MAX);
        await new Promise(resolve => { clock.setTimer(resolve, delay, this.#keepsAlive()); });
      }
    }
  }
}

module.exports = { Settler };
