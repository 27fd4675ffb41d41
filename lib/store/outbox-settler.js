'use strict';

// Writes what became of messages: many in one statement, again and again while the database is
// away, and only while the worker still holds them.

const clock = require('../base/clock');
const { Batcher } = require('./batcher');

const COUNT = 500;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 2000;

class Settler {
  #database;
  #sql;
  #owner;
  #onError;
  #sent;
  #unsent;
  #isOver = false;

  /**
   * @param {{ database: object, sql: object, owner: string,
   *   onError: (error: Error) => void }} parts
   */
  constructor ({ database, sql, owner, onError }) {
    this.#database = database;
    this.#sql = sql;
    this.#owner = owner;
    this.#onError = onError;
    this.#sent = new Batcher(items => this.#writeSent(items), { count: COUNT });
    this.#unsent = new Batcher(items => this.#writeUnsent(items), { count: COUNT });
  }

  /** @returns {Promise<boolean>} whether the message was still ours */
  sent (job, providerId) {
    return this.#sent.add({ id: job.message.id, token: job.token, providerId });
  }

  /** @returns {Promise<object | undefined>} the row, or undefined when it was no longer ours */
  unsent (job, verdict) {
    return this.#unsent.add({ id: job.message.id, token: job.token, ...verdict });
  }

  /** From now on nothing is tried again. */
  end () { this.#isOver = true; }

  async #writeSent (items) {
    const ids = items.map(({ id }) => id);
    const tokens = items.map(({ token }) => token);
    const statement = this.#sql.settleSent(
      this.#owner, ids, tokens, items.map(({ providerId }) => providerId));
    const { rows, again } = await this.#persist(statement);
    const held = new Set(rows.map(({ id }) => id));
    if (again && held.size < ids.length) await this.#addEarlier(held, ids, tokens);
    return ids.map(id => held.has(id));
  }

  async #writeUnsent (items) {
    const { rows, again } = await this.#persist(
      this.#sql.settleUnsent(this.#owner, JSON.stringify(items)));
    const found = new Map(rows.map(row => [row.id, row]));
    if (again && found.size < items.length) {
      const earlier = new Set();
      await this.#addEarlier(earlier,
        items.map(({ id }) => id), items.map(({ token }) => token));
      for (const id of earlier) if (!found.has(id)) found.set(id, { id });
    }
    return items.map(({ id }) => found.get(id));
  }

  /** A first try may have been committed although its answer was lost. */
  async #addEarlier (held, ids, tokens) {
    const { rows } = await this.#persist(this.#sql.settledBefore(this.#owner, ids, tokens));
    for (const { id } of rows) held.add(id);
  }

  async #persist (statement) {
    for (let failures = 0; ; failures++) {
      try {
        const { rows } = await this.#database.query(statement);
        return { rows, again: failures > 0 };
      } catch (error) {
        this.#onError(error);
        if (this.#isOver || !error.retryable) throw error;
        const delay = Math.min(RETRY_MS_MIN * 2 ** failures, RETRY_MS_MAX);
        await new Promise(resolve => { clock.setTimer(resolve, delay); });
      }
    }
  }
}

module.exports = { Settler };
