'use strict';

// Who changed what, when and why. Kept in memory for a while, in the store for good if there is
// one, and told to a logger.

const { wall } = require('../base/clock');
const { bag, func, number } = require('../base/options');
const { guarded, warn } = require('../base/warn');

const SIZE = 1000;
const SIZE_MAX = 100_000;
const LIST_MAX = 1000;
const COLUMNS = 'id, at, actor, role, address, action, target, reason, result, detail';

/** Text as it may stand in a log: one line, and nothing that a terminal would obey. */
function printable (text) {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu,
    character => `\\u{${character.codePointAt(0).toString(16)}}`);
}

const clean = value => typeof value === 'string' ? printable(value) : value ?? null;

function toEntry (given) {
  const { actor, action, target, reason, result, detail } = given;
  return {
    actor: clean(actor.name),
    role: actor.role,
    address: clean(actor.address),
    action,
    target: clean(target),
    reason: clean(reason),
    result,
    detail: detail ?? null,
  };
}

class Audit {
  #store;
  #log;
  #size;
  #entries = [];
  #count = 0;

  constructor ({ store, log, size }) {
    this.#store = store;
    this.#log = log;
    this.#size = size;
  }

  /**
   * Fulfils when the entry is kept as well as it can be. A change that was made is not undone
   * because its entry could not be stored: it stays in memory and in the log, and is warned of.
   */
  async record (given) {
    const entry = toEntry(given);
    const local = { id: String(++this.#count), at: new Date(wall()), ...entry };
    this.#entries.push(local);
    if (this.#entries.length > this.#size) this.#entries.shift();
    guarded('The audit log failed', () => this.#log?.(local));
    if (this.#store === undefined) return local;
    try {
      const { actor, role, address, action, target, reason, result, detail } = entry;
      await this.#store.query(`INSERT INTO ${this.#store.schema}.admin_audit
        (actor, role, address, action, target, reason, result, detail)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8::jsonb)`,
      [actor, role, address, action, target, reason, result,
        detail === null ? null : JSON.stringify(detail)]);
    } catch (error) {
      warn('An entry of the audit log could not be stored', error);
    }
    return local;
  }

  /** Newest first. Without the database, what this process remembers, marked as such. */
  async list ({ before, limit = 100 } = {}) {
    number('limit', limit, { min: 1, max: LIST_MAX, integer: true });
    if (this.#store !== undefined) {
      try {
        const { rows } = await this.#store.query(`SELECT ${COLUMNS}
          FROM ${this.#store.schema}.admin_audit WHERE $1::bigint IS NULL OR id < $1::bigint
          ORDER BY id DESC LIMIT $2::int`, [before ?? null, limit]);
        return { stored: true, entries: rows };
      } catch (error) {
        if (error?.retryable !== true) throw error;
      }
    }
    const entries = this.#entries
      .filter(({ id }) => before === undefined || Number(id) < Number(before));
    return { stored: false, entries: entries.slice(-limit).reverse() };
  }
}

/**
 * @param {object} [options]
 * @param {object} [options.store] of openStore; entries are kept in its table admin_audit
 * @param {(entry: object) => void} [options.log]
 * @param {number} [options.size=1000] entries kept in memory
 */
function createAudit (options) {
  const { store, log, size = SIZE } = bag('options', options);
  if (log !== undefined) func('log', log);
  number('size', size, { min: 1, max: SIZE_MAX, integer: true });
  return new Audit({ store, log, size });
}

module.exports = { createAudit, printable };
