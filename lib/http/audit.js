'use strict';

// The audit log: who changed what, when and why. Entries go to a logger, stay in memory for a
// while, and are kept in the store if there is one.

const { wall } = require('../base/clock');
const { copyOf, read, textOf } = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { guarded, warn } = require('../base/warn');

const OPTIONS = optionsOf({
  store: is.having('of openStore; entries go into its table admin_audit', ['query']),
  log: is.func('gets each entry'),
  size: is.integer('entries kept in memory', { min: 1, max: 100_000, default: 1000 }),
});

const LIST = optionsOf({
  before: is.text('an id; only older entries'),
  limit: is.integer('entries', { min: 1, max: 1000, default: 100 }),
});

const COLUMNS = 'id, at, actor, role, address, action, target, reason, result, detail';

/** Text that is safe in a log: one line, without anything that a terminal would obey. */
function printable (text) {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu,
    character => `\\u{${character.codePointAt(0).toString(16)}}`);
}

const clean = value =>
  (value === undefined || value === null ? null : printable(textOf(value)));

function toEntry (change) {
  const { actor, action, target, reason, result, detail } = copyOf(change);
  const { name, role, address } = copyOf(actor);
  return {
    actor: clean(name),
    role: clean(role),
    address: clean(address),
    action: clean(action),
    target: clean(target),
    reason: clean(reason),
    result: clean(result),
    detail: detail ?? null,
  };
}

class Audit {
  #store;
  #log;
  #size;
  #entries = [];
  #count = 0;

  constructor (options) {
    const { store, log, size } = OPTIONS.read(options);
    this.#store = store;
    this.#log = log;
    this.#size = size;
  }

  /**
   * Resolves when the entry is stored. It never rejects, because the change has already been made:
   * without the database the entry stays in memory and in the log, and a warning tells so.
   */
  async record (change) {
    const entry = toEntry(change);
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

  /** Newest first. Without the database, only what this process remembers: `stored` is false. */
  async list (filter) {
    const { before, limit } = LIST.read(filter, 'filter');
    if (this.#store !== undefined) {
      try {
        const { rows } = await this.#store.query(`SELECT ${COLUMNS}
          FROM ${this.#store.schema}.admin_audit WHERE $1::bigint IS NULL OR id < $1::bigint
          ORDER BY id DESC LIMIT $2::int`, [before ?? null, limit]);
        return { stored: true, entries: rows };
      } catch (error) {
        if (read(error, 'retryable') !== true) throw error;
      }
    }
    const entries = this.#entries
      .filter(({ id }) => before === undefined || Number(id) < Number(before));
    return { stored: false, entries: entries.slice(-limit).reverse() };
  }
}

const createAudit = options => new Audit(options);

module.exports = { createAudit, printable };
