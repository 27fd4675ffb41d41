'use strict';

// What operators write down: notes about breakers, messages and orders, and breakers that are
// silenced for a while. Both are in the store, so all processes show them.

// Silences that are over are deleted when a new one is set, so there are never many.
const SILENCES_MAX = 500;
const NOTES_MAX = 100;

class OperatorNotes {
  #store;
  #notes;
  #silences;

  constructor (store) {
    this.#store = store;
    this.#notes = `${store.schema}.operator_notes`;
    this.#silences = `${store.schema}.operator_silences`;
  }

  async add ({ actor, about, target, note }) {
    const { rows: [row] } = await this.#store.query(`INSERT INTO ${this.#notes}
      (actor, about, target, note) VALUES ($1, $2, $3, $4) RETURNING id, at, actor, note`,
    [actor, about, target, note]);
    return row;
  }

  /** The last notes, newest first: all, or those about one kind of things, or about one thing. */
  async list ({ about, target }) {
    const wanted = Object.entries({ about, target }).filter(([, value]) => value !== undefined);
    const where = wanted.map(([column], i) => `${column} = $${i + 1}`).join(' AND ') || 'true';
    const { rows } = await this.#store.query(`SELECT id, at, actor, about, target, note
      FROM ${this.#notes} WHERE ${where} ORDER BY id DESC LIMIT ${NOTES_MAX}`,
    wanted.map(([, value]) => value));
    return rows;
  }

  /** Silences a breaker for some minutes; 0 ends that. */
  async silence ({ name, minutes, actor, reason }) {
    await this.#store.query(`DELETE FROM ${this.#silences} WHERE until <= now() OR name = $1`,
      [name]);
    if (minutes === 0) return { name, until: null };
    const { rows: [row] } = await this.#store.query(`INSERT INTO ${this.#silences} AS s
      (name, until, actor, reason) VALUES ($1, now() + $2 * interval '1 minute', $3, $4)
      ON CONFLICT (name) DO UPDATE SET until = excluded.until, actor = excluded.actor,
        reason = excluded.reason
      RETURNING name, until, actor, reason`, [name, minutes, actor, reason]);
    return row;
  }

  /** The silences that hold now. */
  async silences () {
    const { rows } = await this.#store.query(`SELECT name, until, actor, reason
      FROM ${this.#silences} WHERE until > now() ORDER BY name LIMIT ${SILENCES_MAX}`);
    return rows;
  }
}

const createOperatorNotes = store => new OperatorNotes(store);

module.exports = { createOperatorNotes };
