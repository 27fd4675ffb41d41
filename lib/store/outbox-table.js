'use strict';

// The table of the outbox, as all statements on it see it: its columns, which messages a filter
// means, and the names of statements.

const { textOf } = require('../base/foreign');

/** Not over: in such a status a message keeps its dedupeKey, and its place in its orderKey. */
const WAITING = "('PENDING', 'SENDING', 'RETRYING')";
const CLAIMABLE = "('PENDING', 'RETRYING')";
/** Messages that one scan of the index outbox_ready finds; the condition is the index's own. */
const READY = `status IN ${CLAIMABLE} AND crash_count = 0 AND order_key IS NULL`;

// A row under the names of StoredMessage.
const FIELDS = {
  id: 'id', channel: 'channel', recipient: 'recipient', subject: 'subject', body: 'body',
  html: 'html', template: 'body_template', data: 'body_data', status: 'status',
  attemptCount: 'attempt_count', maxAttempts: 'max_attempts', nextRetryAt: 'next_retry_at',
  lastError: 'last_error', errorHistory: 'error_history', dedupeKey: 'dedupe_key',
  orderKey: 'order_key', priority: 'urgency', providerMessageId: 'provider_message_id',
  createdAt: 'created_at', sentAt: 'sent_at',
};
const LETTER_FIELDS = {
  ...FIELDS, reason: 'dead_reason', kind: 'dead_kind', diedAt: 'died_at',
};

const listed = fields => Object.entries(fields).map(([name, column]) =>
  `${name === 'priority' ? '-' : ''}o.${column} AS "${name}"`).join(', ');

const COLUMNS = listed(FIELDS);
const LETTER_COLUMNS = listed(LETTER_FIELDS);

const ID = /^\d{1,19}$/;
const ID_MAX = 2n ** 63n - 1n;

/** Ids are decimal texts; nothing else is an id. */
const isId = id => typeof id === 'string' && ID.test(id) && BigInt(id) <= ID_MAX;

/**
 * A WHERE clause that is built part by part.
 * @param {{ channel?: unknown, search?: unknown, before?: unknown, after?: string }} filter
 * @returns {{ text: string, values: unknown[], add: (text: string, ...values: unknown[]) => void }}
 *   `add`: each ? in the text stands for a value
 */
function conditions ({ channel, search, before, after }) {
  const parts = ['true'];
  const values = [];
  const add = (text, ...given) => {
    let next = values.length;
    values.push(...given);
    parts.push(text.replaceAll('?', () => `$${++next}`));
  };
  if (channel !== undefined) add('channel = ?', textOf(channel));
  if (before !== undefined) add('id < ?', isId(before) ? before : '0');
  if (after !== undefined) add('id > ?', after);
  if (search !== undefined && search !== '') {
    const like = `%${textOf(search).replace(/[\\%_]/g, '\\$&')}%`;
    add('(recipient ILIKE ? OR subject ILIKE ? OR last_error ILIKE ?)', like, like, like);
  }
  return { add, values, get text () { return parts.join(' AND '); } };
}

// From here on no plan is better than one that uses the indexes.
const LARGE = 65_536;

/** How large a table with this id is, in steps of four times as large. */
const sizeOf = id => Math.floor(Math.log2(Math.min(Number(id), LARGE)) / 2);

class OutboxTable {
  #size = 0;

  /** @param {string} schema */
  constructor (schema) {
    /** With its schema. */
    this.name = `${schema}.notification_outbox`;
  }

  /** The table has a row with this id. */
  grow (id) { this.#size = Math.max(this.#size, sizeOf(id)); }

  /**
   * Prepared statements. The database keeps the plan of a statement with its name, and for a table
   * that was all but empty that plan is to read all of it. So the names change while the table
   * grows, however long it takes until something analyzes it.
   * @param {Record<string, (table: string) => string>} texts by key
   * @returns {Record<string, (...values: unknown[]) =>
   *   { name: string, text: string, values: unknown[] }>}
   */
  statements (texts) {
    return Object.fromEntries(Object.entries(texts).map(([key, write]) => {
      const text = write(this.name).trim();
      return [key, (...values) => ({ name: `outbox_${key}_${this.#size}`, text, values })];
    }));
  }
}

module.exports = {
  CLAIMABLE, COLUMNS, LETTER_COLUMNS, OutboxTable, READY, WAITING, conditions, isId,
};
