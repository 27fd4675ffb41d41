'use strict';

// The messages that one worker holds: claims them, writes their outcomes, extends their leases. All
// times in the SQL are the database's.

const clock = require('../base/clock');
const { read } = require('../base/foreign');
const { Batcher } = require('./batcher');
const {
  CLAIMABLE, CLAIMED_COLUMNS, LETTER_COLUMNS, OMITTED, OUTCOME_COLUMNS, READY, WAITING,
  WAITING_KINDS,
} = require('./outbox-table');
const { StoreError } = require('./store-errors');

const COUNT = 500;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 2000;
// Two claims of the same key: one is rejected, or both wait for each other (deadlock).
const CROSSED = new Set(['23505', '40P01']);
const CROSSINGS_MAX = 10;
const UNKNOWN_AFTER_MS = 3_600_000;
const UNKNOWN_BYTES = 4 * 1024 * 1024;
// While a transaction keeps a snapshot, dead entries stay in the indexes, and claims slow down.
const SNAPSHOT_MS_MAX = 300_000;
// Keys whose heads one claim looks at.
const HEADS_MAX = 10_000;
// Errors that a message keeps: those of as many attempts as it may have.
const HISTORY_MAX = 100;

// ---- SQL: claims --------------------------------------------------------------------------------

/**
 * A parameter that the planner cannot see. Otherwise it might think that a plan for this very value
 * is better than the general one, and plan each claim, which takes longer than the claim.
 */
const value = (i, type) => `(SELECT $${i}::${type})`;

const CHANNEL = value(1, 'text');
const ROOM = value(5, 'bigint');

/**
 * About how many bytes a message takes up here. Lengths of texts are known without reading them;
 * JSON is read, unless it takes up little room where it is stored.
 */
const BYTES = `(1024 + coalesce(octet_length(body), 0) + coalesce(octet_length(html), 0) +
    coalesce(octet_length(body_template), 0) + coalesce(CASE WHEN pg_column_size(body_data) < 256
    THEN 256 ELSE octet_length(body_data::text) END, 0) + CASE WHEN pg_column_size(error_history)
    < 256 THEN 0 ELSE octet_length(error_history::text) END)`;
const CANDIDATE = `id, ${BYTES} AS bytes`;

/** $i bytes: the first candidates, up to the one with which they have that many. */
const within = (candidates, i) => `
      SELECT id FROM (
        SELECT id, sum(bytes) OVER (ROWS UNBOUNDED PRECEDING) - bytes AS bytes_before
        FROM (${candidates}) AS c) AS c
      WHERE bytes_before < ${value(i, 'bigint')}`;

const READY_HERE = `channel = ${CHANNEL} AND ${READY}`;

/**
 * Messages without a key. `lane` steps from urgency to urgency: messages of one urgency that are
 * due later must not hide those of the next.
 */
const fresh = table => `
  lane (urgency) AS (
    (SELECT urgency FROM ${table} WHERE ${READY_HERE} ORDER BY urgency LIMIT 1)
    UNION ALL
    SELECT (SELECT urgency FROM ${table} WHERE ${READY_HERE} AND urgency > lane.urgency
      ORDER BY urgency LIMIT 1)
    FROM lane WHERE lane.urgency IS NOT NULL
  ), fresh AS MATERIALIZED (
    SELECT f.* FROM lane, LATERAL (
      SELECT ${CANDIDATE} FROM ${table}
      WHERE ${READY_HERE} AND urgency = lane.urgency AND next_retry_at <= now()
      ORDER BY next_retry_at, id LIMIT ${ROOM} FOR UPDATE SKIP LOCKED) f
    LIMIT ${ROOM}
  )`;

/**
 * Messages behind one that was claimed, and of its urgency. It is a single scan of an index, and it
 * skips the dead entries in front, which stay there while any transaction keeps an old snapshot.
 */
const further = table => `
  further AS MATERIALIZED (
    SELECT ${CANDIDATE} FROM ${table} WHERE ${READY_HERE} AND urgency = ${value(6, 'smallint')}
      AND (next_retry_at, id) > (${value(7, 'timestamptz')}, ${value(8, 'bigint')})
      AND next_retry_at <= now()
    ORDER BY next_retry_at, id LIMIT ${ROOM} FOR UPDATE SKIP LOCKED
  )`;

/** Whether any message of a key is being sent, older or younger. */
const isSending = (table, channel, key) => `EXISTS (SELECT FROM ${table} s
      WHERE s.channel = ${channel} AND s.order_key = ${key} AND s.order_key IS NOT NULL
        AND s.status = 'SENDING')`;

/**
 * Messages with a key. Only the first of a key can be claimed, and only while none of it is being
 * sent: a message that was retried or committed late may be older than the one that is being sent.
 * `head` steps from key to key. A claim cannot see another that is under way; then the unique index
 * outbox_sending rejects one of them.
 */
const ordered = table => `
  head (order_key, id, next_retry_at, depth) AS (
    (SELECT order_key, id, next_retry_at, 1 FROM ${table}
      WHERE channel = ${CHANNEL} AND order_key > ${value(8, 'text')} AND status IN ${WAITING}
      ORDER BY order_key, id LIMIT 1)
    UNION ALL
    SELECT n.order_key, n.id, n.next_retry_at, depth + 1 FROM head, LATERAL (
      SELECT order_key, id, next_retry_at FROM ${table}
      WHERE channel = ${CHANNEL} AND order_key > head.order_key AND status IN ${WAITING}
      ORDER BY order_key, id LIMIT 1) n
    WHERE depth < ${HEADS_MAX}
  ), ordered AS MATERIALIZED (
    SELECT l.* FROM head, LATERAL (
      SELECT ${CANDIDATE} FROM ${table}
      WHERE id = head.id AND status IN ${CLAIMABLE} AND crash_count = 0
        AND next_retry_at <= now() AND NOT ${isSending(table, CHANNEL, 'head.order_key')}
      FOR UPDATE SKIP LOCKED) l
    LIMIT ${ROOM}
  )`;

/** Messages whose worker died, by the same rules for keys. */
const died = (table, condition, limit) => `
    SELECT ${CANDIDATE} FROM ${table} m
    WHERE channel = ${CHANNEL} AND status IN ${CLAIMABLE} AND ${condition}
      AND next_retry_at <= now()
      AND NOT EXISTS (SELECT FROM ${table} e WHERE e.channel = m.channel
        AND e.order_key = m.order_key AND e.id < m.id AND e.status IN ${WAITING})
      AND NOT ${isSending(table, 'm.channel', 'm.order_key')}
    ORDER BY crash_count, id LIMIT ${limit} FOR UPDATE SKIP LOCKED`;

/**
 * Suspects. One crash may be a coincidence: those messages are tried together. Of those that saw
 * two or more, one is claimed, and nothing else with it: if this worker dies, it is the cause.
 */
const suspect = table => `
  company AS MATERIALIZED (${died(table, 'crash_count = 1', value(6, 'bigint'))}
  ), again AS MATERIALIZED (${died(table, 'crash_count > 1 AND NOT EXISTS (SELECT FROM company)',
    `least(${value(6, 'bigint')}, 1)`)}
  )`;

/** What goes alone is charged when it begins, and not for a death of the worker before that. */
const lease = (table, crashes = 1) => `
  UPDATE ${table} o SET status = 'SENDING', lease_owner = $2, lease_token = $3,
    lease_until = now() + $4 * interval '1 ms', crash_count = crash_count + ${crashes}`;

/** When the next message is due that no look can claim yet. */
const due = table => `
  least((SELECT min(next_retry_at) FROM head WHERE next_retry_at > now()),
    (SELECT min(d.next_retry_at) FROM lane, LATERAL (
      SELECT next_retry_at FROM ${table}
      WHERE ${READY_HERE} AND urgency = lane.urgency AND next_retry_at > now()
      ORDER BY next_retry_at LIMIT 1) d))`;

const SENT = `status = 'SENT', sent_at = now(), attempt_count = attempt_count + 1,
    crash_count = 0`;

const CLAIMED = `RETURNING ${CLAIMED_COLUMNS}, crash_count AS "crashCount", ${BYTES} AS bytes`;

/**
 * Looks at everything. $1 channel, $2 owner, $3 token, $4 lease in ms, $5 messages at most, $6 of
 * them suspects at most, $7 messages with a key that come before others, $8 begins behind this key,
 * $9 bytes.
 * Each row has `lastKey`: the key behind which the next look begins, if this one saw HEADS_MAX keys
 * and could claim nothing from any; and `dueIn`, if it claimed all that was due: ms until the next
 * message is. Where nothing was claimed there is one row without an id.
 */
const claim = table => `
  WITH RECURSIVE ${suspect(table)}, ${ordered(table)}, ${fresh(table)}
  , claimed AS (
    ${lease(table, 'CASE WHEN EXISTS (SELECT FROM again) THEN 0 ELSE 1 END')}
    WHERE id = ANY (ARRAY(${within(`
      SELECT * FROM again
      UNION ALL SELECT * FROM company
      UNION ALL (SELECT * FROM ordered LIMIT ${value(7, 'bigint')})
      UNION ALL SELECT * FROM fresh
      UNION ALL (SELECT * FROM ordered OFFSET ${value(7, 'bigint')})
      LIMIT CASE WHEN EXISTS (SELECT FROM again) THEN 1 ELSE ${ROOM} END`, 9)}))
    ${CLAIMED}
  )
  SELECT claimed.*, EXISTS (SELECT FROM again) AS "goesAlone", h."lastKey", h."dueIn"
  FROM (SELECT CASE WHEN NOT EXISTS (SELECT FROM ordered) THEN
    (SELECT max(order_key) FROM head HAVING count(*) = ${HEADS_MAX}) END AS "lastKey",
    CASE WHEN (SELECT count(*) FROM claimed) < ${ROOM} THEN
      (extract(epoch FROM ${due(table)} - now()) * 1000)::float8 END AS "dueIn") AS h
  LEFT JOIN claimed ON true`;

/**
 * $1 to $5 and $9 as in `claim`; $6 urgency, $7 time and $8 id of the message behind which it
 * begins.
 */
const claimFurther = table => `
  WITH ${further(table)}
  ${lease(table)}
  WHERE id = ANY (ARRAY(${within('SELECT * FROM further', 9)}))
  ${CLAIMED}`;

/**
 * As claimFurther, and settles one message as sent, in the same transaction: $10 its id, $11 its
 * token, $12 the provider's id. Each row has `settled`: whether that message was still held. Where
 * nothing was claimed there is one row without an id.
 */
const exchange = table => `
  WITH settled AS (
    UPDATE ${table} o SET ${SENT}, provider_message_id = $12
    WHERE id = $10 AND lease_owner = $2 AND lease_token = $11 AND status = 'SENDING'
    RETURNING id
  ), ${further(table)}, claimed AS (
    ${lease(table)}
    WHERE id = ANY (ARRAY(${within('SELECT * FROM further', 9)}))
    ${CLAIMED}
  )
  SELECT claimed.*, s.settled FROM (SELECT count(*) = 1 AS settled FROM settled) AS s
  LEFT JOIN claimed ON true`;

// ---- SQL: outcomes ------------------------------------------------------------------------------

const ISO_NOW = `to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

/**
 * The errors of a message, and one more. When they are too many, the oldest leaves, and the new one
 * says how many have left.
 */
const historyWith = entry => `(CASE WHEN jsonb_array_length(error_history) < ${HISTORY_MAX}
    THEN error_history ELSE error_history - 0 END) ||
    jsonb_build_array((${entry}) || jsonb_build_object('at', ${ISO_NOW}) ||
      CASE WHEN jsonb_array_length(error_history) < ${HISTORY_MAX} THEN '{}'
        ELSE jsonb_build_object('omitted', ${OMITTED} + 1) END)`;

/**
 * Messages that are still held by who settles them; `tokens` is JSON, by id. It is no join with the
 * list of what to settle: the planner does not know how long that is, and would compare each
 * message of the list with each that is leased.
 */
const held = tokens => `o.id = ANY ($2::bigint[]) AND o.lease_owner = $1
    AND o.lease_token = (${tokens} ->> o.id::text)::integer`;

/** $1 owner, $2 ids, $3 tokens by id, $4 the provider's ids by id. */
const settleSent = table => `
  UPDATE ${table} o SET ${SENT}, provider_message_id = $4::jsonb ->> id::text
  WHERE ${held('$3::jsonb')} AND status = 'SENDING'
  RETURNING o.id`;

const said = (field, type) => `(s.given -> o.id::text ->> '${field}')::${type}`;

/**
 * $1 owner, $2 ids, $3 tokens by id, $4 outcomes by id, of verdictOn(): `outcome` is 'retry',
 * 'dead', or 'release', which gives a message back as if it had not been claimed.
 */
const settleUnsent = table => `
  UPDATE ${table} o SET
    status = CASE WHEN ${said('outcome', 'text')} = 'dead' THEN 'DLQ'
      WHEN ${said('outcome', 'text')} = 'retry' OR attempt_count > 0 THEN 'RETRYING'
      ELSE 'PENDING' END,
    attempt_count = attempt_count + ${said('attempts', 'smallint')},
    crash_count = CASE WHEN ${said('outcome', 'text')} = 'release'
      THEN ${said('crashes', 'smallint')} ELSE 0 END,
    next_retry_at = coalesce(
      now() + ${said('delay', 'float8')} * interval '1 ms', next_retry_at),
    last_error = coalesce(${said('error', 'text')}, last_error),
    error_history = CASE WHEN s.given -> o.id::text -> 'entry' IS NULL THEN error_history
      ELSE ${historyWith("s.given -> o.id::text -> 'entry'")} END,
    died_at = CASE WHEN ${said('outcome', 'text')} = 'dead' THEN now() END,
    dead_kind = ${said('kind', 'text')}, dead_reason = ${said('reason', 'text')}
  FROM (SELECT $4::jsonb AS given) AS s
  WHERE ${held('$3::jsonb')} AND status = 'SENDING'
  RETURNING ${OUTCOME_COLUMNS}`;

/**
 * $1 owner, $2 ids, $3 tokens by id. Those that this owner has settled before. What was taken away
 * from it is not among them: that still has its crashes.
 */
const settledBefore = table => `
  SELECT ${OUTCOME_COLUMNS} FROM ${table} o
  WHERE ${held('$3::jsonb')} AND status <> 'SENDING' AND crash_count = 0`;

// ---- SQL: leases --------------------------------------------------------------------------------

/** $1 owner, $2 ids, $3 ms. */
const extend = table => `
  UPDATE ${table} o SET lease_until = now() + $3 * interval '1 ms'
  WHERE id = ANY ($2::bigint[]) AND lease_owner = $1 AND status = 'SENDING'
  RETURNING id`;

/**
 * $1 owner, $2 id, $3 token, $4 crashes. A message that goes alone begins: it is charged before it
 * can do harm.
 */
const mark = table => `
  UPDATE ${table} o SET crash_count = $4
  WHERE id = $2 AND lease_owner = $1 AND lease_token = $3 AND status = 'SENDING'
  RETURNING id`;

/**
 * $1 id, $2 error, $3 its entry. What is known of a message that another worker has taken. Its
 * status stays as it is.
 */
const note = table => `
  UPDATE ${table} o SET last_error = $2, error_history = ${historyWith('$3::jsonb')}
  WHERE id = $1 AND status NOT IN ('SENT', 'CANCELLED')`;

// Fewer crashes prove nothing: other messages were claimed together with this one. More would only
// end more processes: by then it was the only one that was sent.
const CRASHES_MIN = 3;
const CRASHES_MAX = 5;
// Of which it was not always the only one; or attempts that failed lie between them.
const LAPSES_MAX = 10;

const LAPSED = 'The process died, or lost its lease, while it held this message';
const LAPSED_ENTRY = `jsonb_build_object('attempt', attempt_count + 1, 'name', 'StoreError',
    'message', '${LAPSED}', 'code', 'ERR_OUTBOX_CRASHED')`;
// Of its present life: since it was last retried from the dead letters.
const LAPSES = `(SELECT 1 + count(*) FILTER (WHERE entry ->> 'code' = 'ERR_OUTBOX_CRASHED'
      AND place > coalesce(born, 0))
    FROM (SELECT entry, place, max(place) FILTER (WHERE entry ? 'retried') OVER () AS born
      FROM jsonb_array_elements(error_history) WITH ORDINALITY AS h (entry, place)) AS history)`;
const CRASHED = `(crash_count >= least(greatest(max_attempts - attempt_count, ${CRASHES_MIN}),
    ${CRASHES_MAX}) OR ${LAPSES} >= ${LAPSES_MAX})`;

/**
 * $1 messages at most, $2 a time by the database. Takes back messages whose leases had ended by
 * then: they are suspects from now on, and die after enough crashes. Each row has `time`, that of
 * the database; where nothing was taken back there is one row without an id.
 */
const sweep = table => `
  WITH lapsed AS MATERIALIZED (
    SELECT id FROM ${table} WHERE status = 'SENDING' AND lease_until < $2::timestamptz
    ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
  ), taken AS (
    UPDATE ${table} o SET next_retry_at = now(), last_error = '${LAPSED}',
      error_history = ${historyWith(LAPSED_ENTRY)},
      status = CASE WHEN ${CRASHED} THEN 'DLQ' ELSE 'RETRYING' END,
      died_at = CASE WHEN ${CRASHED} THEN now() END,
      dead_kind = CASE WHEN ${CRASHED} THEN 'ERR_OUTBOX_CRASHED' END,
      dead_reason = CASE WHEN ${CRASHED} THEN format(
        'Workers died, or lost their lease, %s times while they held this message',
        greatest(crash_count, ${LAPSES})) END
    WHERE id = ANY (ARRAY(SELECT id FROM lapsed))
    RETURNING ${OUTCOME_COLUMNS}
  )
  SELECT taken.*, t.time FROM (SELECT clock_timestamp()::text AS time) AS t
  LEFT JOIN taken ON true`;

const KINDS = Object.entries(WAITING_KINDS);

/** Steps through the channels of one index; the last step is NULL. */
const channelsOf = (table, kind) => `
  ${kind}_channel (name) AS (
    (SELECT channel FROM ${table} WHERE ${WAITING_KINDS[kind]} ORDER BY channel LIMIT 1)
    UNION ALL
    SELECT (SELECT channel FROM ${table} WHERE ${WAITING_KINDS[kind]} AND channel > name
      ORDER BY channel LIMIT 1)
    FROM ${kind}_channel WHERE name IS NOT NULL
  )`;

/**
 * In which channels a claim may find something, and in how many ms. It steps from channel to
 * channel, and from urgency to urgency, so it costs nothing where nothing waits. What has a key, or
 * was held when a worker died, may be due whenever there is any: only a claim can tell.
 */
const peek = table => `
  WITH RECURSIVE lane (channel, urgency) AS (
    (SELECT channel, urgency FROM ${table} WHERE ${READY} ORDER BY channel, urgency LIMIT 1)
    UNION ALL
    SELECT n.channel, n.urgency FROM lane, LATERAL (
      SELECT channel, urgency FROM ${table}
      WHERE ${READY} AND (channel, urgency) > (lane.channel, lane.urgency)
      ORDER BY channel, urgency LIMIT 1) n
  ), ${channelsOf(table, 'suspect')}, ${channelsOf(table, 'ordered')}
  SELECT channel, (extract(epoch FROM min(due) - now()) * 1000)::float8 AS "dueIn" FROM (
    SELECT lane.channel, d.due FROM lane, LATERAL (
      SELECT next_retry_at AS due FROM ${table}
      WHERE ${READY} AND channel = lane.channel AND urgency = lane.urgency
      ORDER BY next_retry_at LIMIT 1) d
    UNION ALL SELECT name, now() FROM suspect_channel
    UNION ALL SELECT name, now() FROM ordered_channel) AS w
  WHERE channel IS NOT NULL GROUP BY channel`;

/** Finds what is overdue in unknown channels. */
const overdue = (table, kind, holds) => `
  ${channelsOf(table, kind)}, ${kind} AS MATERIALIZED (
    SELECT u.* FROM ${kind}_channel, LATERAL (
      SELECT ${CANDIDATE} FROM ${table} WHERE channel = name AND ${holds} AND status IN ${CLAIMABLE}
        AND next_retry_at < now() - $2 * interval '1 ms'
      LIMIT 1000 FOR UPDATE SKIP LOCKED) u
    WHERE name <> ALL ($1::text[])
  )`;

/**
 * $1 known channels, $2 ms, $3 bytes. Messages of other channels that have been due for that long
 * die.
 */
const buryUnknown = table => `
  WITH RECURSIVE ${KINDS.map(([kind, holds]) => overdue(table, kind, holds)).join(',')}
  UPDATE ${table} o SET status = 'DLQ', died_at = now(), dead_kind = 'ERR_OUTBOX_CHANNEL',
    dead_reason = format('There is no channel %s', channel)
  WHERE id = ANY (ARRAY(${within(
    KINDS.map(([kind]) => `SELECT * FROM ${kind}`).join(' UNION ALL '), 3)}))
  RETURNING ${LETTER_COLUMNS}`;

/** $1 ms. The age of the oldest snapshot that a transaction keeps, if it is older than that. */
const oldSnapshot = () => `
  SELECT (extract(epoch FROM max(now() - xact_start)) * 1000)::float8 AS age FROM pg_stat_activity
  WHERE datname = current_database() AND backend_xmin IS NOT NULL
    AND xact_start < now() - $1 * interval '1 ms'`;

/** @param {OutboxTable} table */
const leaseStatements = table => table.statements({
  claim, claimFurther, exchange, settleSent, settleUnsent, settledBefore, extend, mark, note, sweep,
  buryUnknown, oldSnapshot, peek,
});

// ---- The calls ----------------------------------------------------------------------------------

const byId = (items, valueOf) => Object.fromEntries(items.map(item => [item.id, valueOf(item)]));

class Leases {
  #database;
  #table;
  #sql;
  #channels;
  #leaseMs;
  #onError;
  #keepsAlive;
  #sent = new Batcher(items => this.#writeSent(items), { count: COUNT });
  #unsent = new Batcher(items => this.#writeUnsent(items), { count: COUNT });

  /**
   * @param {{ database: object, table: OutboxTable, channels: Map<string, object>, owner: string,
   *   leaseMs: number, onError: (error: Error) => void, keepsAlive: () => boolean }} parts
   *   `channels`: all that the outbox knows; `onError` is told of outcomes that could not be
   *   written; `keepsAlive`: whether the process waits for another try
   */
  constructor ({ database, table, channels, owner, leaseMs, onError, keepsAlive }) {
    this.#database = database;
    this.#table = table;
    this.#sql = leaseStatements(table);
    this.#channels = channels;
    this.owner = owner;
    this.#leaseMs = leaseMs;
    this.#onError = onError;
    this.#keepsAlive = keepsAlive;
  }

  /**
   * @param {object} claim of the scheduler
   * @returns {Promise<object>} as Scheduler.claimed() wants it
   */
  async claim (claim) {
    const { rows } = await this.#queryAgain(this.#statement(claim));
    const { settled, lastKey, dueIn } = rows[0] ?? {};
    // Where nothing was claimed there may be one row all the same, for what else it tells.
    if (rows[0]?.id === null) rows.pop();
    if (rows.length > 0) this.#table.grow(rows[0].id);
    const messages = rows.map(row => messageOf(row, claim.channel));
    return { messages, settled, lastKey, dueIn: dueIn ?? Infinity };
  }

  /** @returns {Promise<Map<string, number>>} as Scheduler.peeked() wants it */
  async peek () {
    const { rows } = await this.#query(this.#sql.peek());
    return new Map(rows.map(({ channel, dueIn }) => [channel, dueIn]));
  }

  #statement ({ channel, token, room, bytes, behind, suspects, ordered, key, sent }) {
    const lease = [channel, this.owner, token, this.#leaseMs, room];
    if (behind === undefined) return this.#sql.claim(...lease, suspects, ordered, key, bytes);
    const place = [behind.urgency, behind.time, behind.id, bytes];
    if (sent === undefined) return this.#sql.claimFurther(...lease, ...place);
    const { job, providerId } = sent;
    return this.#sql.exchange(...lease, ...place, job.id, job.token, providerId);
  }

  /** Messages that a worker holds are still settled after the store was closed. */
  #query (statement) { return this.#database.query(statement, undefined, true); }

  /** Looks again where another claim was quicker: by then it sees what that one has claimed. */
  async #queryAgain (statement) {
    for (let crossings = 1; ; crossings++) {
      try {
        return await this.#query(statement);
      } catch (error) {
        if (!CROSSED.has(read(error, 'sqlState')) || crossings === CROSSINGS_MAX) throw error;
      }
    }
  }

  /**
   * Writes what became of a message: many in one statement, again and again while the database is
   * away, and only if it is still ours.
   * @param {object} job of the scheduler, with its outcome
   * @param {boolean} isRepeated it may have been written already, and the answer lost
   * @returns {Promise<object | undefined>} the row; undefined if the message was no longer ours
   */
  settle ({ id, token, crashes, outcome }, isRepeated) {
    const batcher = outcome.outcome === 'sent' ? this.#sent : this.#unsent;
    return batcher.add({ id, token, crashes, outcome, isRepeated });
  }

  async #writeSent (items) {
    const named = items.filter(({ outcome }) => outcome.providerId !== null);
    return this.#persist(items, this.#sql.settleSent(...this.#heldOf(items),
      JSON.stringify(byId(named, ({ outcome }) => outcome.providerId))));
  }

  async #writeUnsent (items) {
    return this.#persist(items, this.#sql.settleUnsent(...this.#heldOf(items),
      JSON.stringify(byId(items, ({ crashes, outcome: { cause, ...given } }) =>
        ({ ...given, crashes })))));
  }

  /** The values that `held` needs. */
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
        const { rows } = await this.#query(statement);
        return { rows, isRepeated: failures > 0 };
      } catch (error) {
        this.#onError(error);
        if (!read(error, 'retryable')) throw error;
        const delay = Math.min(RETRY_MS_MIN * 2 ** failures, RETRY_MS_MAX);
        await new Promise(resolve => { clock.setTimer(resolve, delay, this.#keepsAlive()); });
      }
    }
  }

  /** @returns {Promise<string[]>} the ids of those that are still ours */
  async extend ({ jobs }) {
    const ids = jobs.map(({ id }) => id);
    const { rows } = await this.#query(this.#sql.extend(this.owner, ids, this.#leaseMs));
    return rows.map(({ id }) => id);
  }

  /** Charges a message that begins alone. @returns {Promise<boolean>} whether it is still ours */
  async mark ({ id, token, crashes }) {
    const { rows } = await this.#query(this.#sql.mark(this.owner, id, token, crashes + 1));
    return rows.length === 1;
  }

  /** Adds an error to a message that is no longer ours. */
  async note ({ id }, entry) {
    await this.#query(this.#sql.note(id, entry.message, JSON.stringify(entry)));
  }

  /**
   * Takes back, from any worker, messages whose leases had ended by `before`.
   * @param {string} [action.before] the `time` of an earlier call; without it nothing is taken back
   * @returns {Promise<{ rows: object[], time: string }>} `time` is the database's
   */
  async sweep ({ limit, before = null }) {
    const { rows } = await this.#query(this.#sql.sweep(limit, before));
    return { time: rows[0].time, rows: rows.filter(({ id }) => id !== null) };
  }

  /** Messages of channels that this program does not know die when they are long overdue. */
  async buryUnknown () {
    const known = [...this.#channels.keys()];
    return (await this.#query(this.#sql.buryUnknown(known, UNKNOWN_AFTER_MS, UNKNOWN_BYTES))).rows;
  }

  /** @returns {Promise<StoreError | undefined>} a warning */
  async findSnapshot () {
    const { rows: [{ age }] } = await this.#query(this.#sql.oldSnapshot(SNAPSHOT_MS_MAX));
    return age === null ? undefined : new StoreError('ERR_STORE_OLD_SNAPSHOT',
      `A transaction has been open for ${Math.round(age / 1000)} s: the outbox gets slower until ` +
      'it ends');
  }
}

/**
 * A row that was claimed: the message, its size, and how often a worker died while it held it. Of
 * each message there is such a copy, and to leave members out of a copy takes as long as the rest.
 */
function messageOf (row, channel) {
  const { crashCount, bytes, goesAlone } = row;
  const message = {
    id: row.id, channel, recipient: row.recipient, subject: row.subject,
    body: row.body, html: row.html, template: row.template, data: row.data, status: 'SENDING',
    attemptCount: row.attemptCount, maxAttempts: row.maxAttempts, nextRetryAt: row.nextRetryAt,
    lastError: row.lastError, errorHistory: row.errorHistory, dedupeKey: row.dedupeKey,
    orderKey: row.orderKey, priority: row.priority, providerMessageId: row.providerMessageId,
    createdAt: row.createdAt, sentAt: null, reference: referenceOf(row),
  };
  return { message, bytes, crashes: goesAlone ? crashCount : crashCount - 1 };
}

/**
 * Names a message at its provider, whatever the number of attempts. A time that no Date can hold is
 * a text, and must not keep the other messages of its claim from being sent.
 */
const referenceOf = ({ id, createdAt }) =>
  `${id}.${typeof createdAt === 'string' ? createdAt : createdAt.getTime().toString(36)}`;

module.exports = { Leases, leaseStatements, referenceOf };
