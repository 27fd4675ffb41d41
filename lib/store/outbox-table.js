'use strict';

// The table of the outbox, as all statements on it see it: its columns, which messages a filter
// means, and the names of statements.

const { textOf } = require('../base/foreign');
const { is } = require('../base/options');
const { Conditions, timeOption } = require('./pages');

/** Not over: in such a status a message keeps its dedupeKey, and its place in its orderKey. */
const WAITING = "('PENDING', 'SENDING', 'RETRYING')";
const CLAIMABLE = "('PENDING', 'RETRYING')";
/** Messages that one scan of the index outbox_ready finds; the condition is the index's own. */
const READY = `status IN ${CLAIMABLE} AND crash_count = 0 AND order_key IS NULL`;

/**
 * What each index of waiting messages holds; all of them begin with the channel. Every message that
 * waits and is not being sent is in one of them.
 */
const WAITING_KINDS = {
  ready: READY,
  suspect: `status IN ${CLAIMABLE} AND crash_count > 0`,
  ordered: `order_key IS NOT NULL AND status IN ${WAITING}`,
};

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

const listed = (fields, of = column => `o.${column}`) => Object.entries(fields).map(
  ([name, column]) => `${name === 'priority' ? '-' : ''}${of(column)} AS "${name}"`).join(', ');

const COLUMNS = listed(FIELDS);
/** Of messages that were just claimed: what all of them have alike is not asked for. */
const { channel, status, sentAt, ...unlike } = FIELDS;
const CLAIMED_COLUMNS = listed(unlike);
const LETTER_COLUMNS = listed(LETTER_FIELDS);

const CONTENT = new Set(['body', 'html', 'body_template', 'body_data', 'error_history']);
/** Of rows of any status: what is large is there only of letters, which are few. */
const OUTCOME_COLUMNS = listed(LETTER_FIELDS, column =>
  (CONTENT.has(column) ? `CASE WHEN o.status = 'DLQ' THEN o.${column} END` : `o.${column}`));

/** How many errors of a message have left its history: the newest entry says so. */
const OMITTED = "coalesce((error_history -> -1 ->> 'omitted')::int, 0)";

/** Of a list that leaves out what is large: `errors` says how many there were. */
const summaryOf = fields => `${listed(Object.fromEntries(
  Object.entries(fields).filter(([, column]) => !CONTENT.has(column))))},
  coalesce(jsonb_array_length(o.error_history), 0) + ${OMITTED} AS errors`;
const SUMMARY_COLUMNS = summaryOf(FIELDS);
const LETTER_SUMMARY_COLUMNS = summaryOf(LETTER_FIELDS);

/** About how many bytes the content of a row takes up. */
const BYTES = ['body', 'html', 'body_template', 'body_data::text', 'error_history::text']
  .map(column => `coalesce(octet_length(o.${column}), 0)`).join(' + ');

const ID = /^\d{1,19}$/;
const ID_MAX = 2n ** 63n - 1n;

/** Ids are decimal texts; nothing else is an id. */
const isId = id => typeof id === 'string' && ID.test(id) && BigInt(id) <= ID_MAX;

/** What lists of messages are filtered by, besides what only one of them has. */
const FILTER = {
  channel: is.any('of the messages'),
  search: is.any('part of a recipient, a subject or the last error'),
  since: timeOption('that came then or later'),
  until: timeOption('that came before that'),
  before: is.any('an id: older messages than that'),
  limit: is.integer('messages of a page', { min: 1, max: 1000, default: 100 }),
  content: is.boolean('whether with texts, data and errors', { default: true }),
};

/** @returns {Conditions} that any statement on messages `o` may have */
function conditions ({ channel, search }) {
  const where = new Conditions();
  if (channel !== undefined) where.sought('o.channel = ?', textOf(channel));
  return where.contains(search === undefined ? undefined : textOf(search),
    'o.recipient', 'o.subject', 'o.last_error');
}

/** Adds to the conditions what part of a list is meant. */
async function withinSpan (where, database, table, { since, until, before }) {
  const [first, end] = await Promise.all([since, until].map(time =>
    (time === undefined ? undefined : messageAt(database, table, time))));
  if (first !== undefined) where.within('o.id >= ?', first);
  if (end !== undefined) where.within('o.id < ?', end);
  if (before !== undefined) where.within('o.id < ?', isId(before) ? before : '0');
  return where;
}

/**
 * The id of the first message that came at this time or later, or what it would be. Ids grow with
 * time, so it is found by halving, and needs no index of times. Undefined: there are no messages.
 */
async function messageAt (database, table, time) {
  const { rows: [row] } = await database.query(`
    WITH RECURSIVE search (low, high) AS (
      SELECT low, high + 1 FROM (
        SELECT (SELECT min(id) FROM ${table}), (SELECT max(id) FROM ${table})
      ) AS ends (low, high) WHERE low IS NOT NULL
      UNION ALL
      SELECT CASE WHEN m.created_at < $1 THEN m.id + 1 ELSE s.low END,
        CASE WHEN m.created_at < $1 THEN s.high ELSE (s.low + s.high) / 2 END
      FROM search s, LATERAL (SELECT id, created_at FROM ${table}
        WHERE id >= (s.low + s.high) / 2 ORDER BY id LIMIT 1) m
      WHERE s.low < s.high
    )
    SELECT low::text AS id FROM search ORDER BY high - low LIMIT 1`, [new Date(time)]);
  return row?.id;
}

// From here on no plan is better than one that uses the indexes.
const LARGE = 65_536;

/** How large a table with this id is, in steps of four times as large. */
const sizeOf = id => Math.floor(Math.log2(Math.min(Number(id), LARGE)) / 2);

/**
 * Adds a condition for one status. Each has an index in the order of ids, except SENT: all that are
 * over become that, and an index would grow with history.
 */
function hasStatus (where, status) {
  const is = `o.status = '${status}'`;
  if (status === 'SENT') where.sought(is);
  else where.within(is);
}

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
  BYTES, CLAIMABLE, CLAIMED_COLUMNS, COLUMNS, FILTER, LETTER_COLUMNS, LETTER_SUMMARY_COLUMNS,
  OUTCOME_COLUMNS, OMITTED, OutboxTable, READY, SUMMARY_COLUMNS, WAITING, WAITING_KINDS, conditions,
  hasStatus, isId, withinSpan,
};
