'use strict';

// The SQL of the outbox. Every time in it is the database's.

const WAITING = "('PENDING', 'SENDING', 'RETRYING')";
const CLAIMABLE = "('PENDING', 'RETRYING')";

// Keys whose heads one claim looks at.
const HEADS_MAX = 10_000;

// Errors that a message keeps.
const HISTORY_MAX = 20;

// A row under the names of StoredMessage.
const FIELDS = {
  id: 'id', channel: 'channel', recipient: 'recipient', subject: 'subject', body: 'body',
  template: 'body_template', data: 'body_data', status: 'status', attemptCount: 'attempt_count',
  maxAttempts: 'max_attempts', nextRetryAt: 'next_retry_at', lastError: 'last_error',
  errorHistory: 'error_history', dedupeKey: 'dedupe_key', orderKey: 'order_key',
  priority: 'urgency', providerMessageId: 'provider_message_id', createdAt: 'created_at',
  sentAt: 'sent_at',
};
const LETTER_FIELDS = {
  ...FIELDS, reason: 'dead_reason', kind: 'dead_kind', diedAt: 'died_at',
};

const listed = fields => Object.entries(fields).map(([name, column]) =>
  `${name === 'priority' ? '-' : ''}o.${column} AS "${name}"`).join(', ');

const COLUMNS = listed(FIELDS);
const LETTER_COLUMNS = listed(LETTER_FIELDS);

const GIVEN = `channel, recipient, subject, body, body_template, body_data, dedupe_key, order_key,
    urgency, max_attempts`;
const givenRows = i => `json_to_recordset($${i}) AS given (channel text, recipient text,
    subject text, body text, body_template text, body_data jsonb, dedupe_key text, order_key text,
    urgency smallint, delay bigint, max_attempts smallint)`;

/**
 * Takes rows in. The time is in whole ms: nothing finer comes back from JavaScript, and a claim
 * goes on where the last one ended.
 */
const takeIn = (table, rows) => `
  INSERT INTO ${table} (${GIVEN}, next_retry_at)
  SELECT ${GIVEN}, date_trunc('milliseconds', now()) + delay * interval '1 ms' FROM ${rows}
  ON CONFLICT (dedupe_key) WHERE dedupe_key IS NOT NULL AND status IN ${WAITING}
  DO NOTHING`;

/** $1 rows as JSON. Ids come in the order of the rows. */
const enqueue = table =>
  `${takeIn(table, givenRows(1))} RETURNING id, dedupe_key AS "dedupeKey"`;

/** As a part of another statement: $i rows as JSON, taken in where a condition on them holds. */
const enqueueAlong = (table, i, condition) => takeIn(table, `${givenRows(i)} WHERE ${condition}`);

/** $1 rows as JSON, $2 kind, $3 reason. Messages that are dead from the start. */
const bury = table => `
  INSERT INTO ${table} AS o (${GIVEN}, status, died_at, dead_kind, dead_reason)
  SELECT ${GIVEN}, 'DLQ', now(), $2, $3 FROM ${givenRows(1)}
  RETURNING ${LETTER_COLUMNS}`;

/** $1 keys. Their messages that are not final. */
const waitingFor = table => `
  SELECT id, dedupe_key AS "dedupeKey" FROM ${table}
  WHERE dedupe_key = ANY ($1::text[]) AND status IN ${WAITING}`;

/**
 * A parameter that the planner cannot look at: so a plan made for a value is no better than the one
 * for all values, and is not made anew each time, which would take longer than the claim.
 */
const value = (i, type) => `(SELECT $${i}::${type})`;

const CHANNEL = value(1, 'text');
const ROOM = value(5, 'bigint');

/** What a scan of outbox_ready looks at; the condition is the index's own. */
const READY_ANY = `status IN ${CLAIMABLE} AND crash_count = 0 AND order_key IS NULL`;
const READY = `channel = ${CHANNEL} AND ${READY_ANY}`;

// Fewer claims without an outcome than this prove nothing: others were claimed together with it.
const CRASHED = 'crash_count >= greatest(max_attempts, 3)';

/**
 * Messages without a key: `lane` steps from urgency to urgency, so that messages of one that are
 * due only later keep nobody from those of the next.
 */
const fresh = table => `
  lane (urgency) AS (
    (SELECT urgency FROM ${table} WHERE ${READY} ORDER BY urgency LIMIT 1)
    UNION ALL
    SELECT (SELECT urgency FROM ${table} WHERE ${READY} AND urgency > lane.urgency
      ORDER BY urgency LIMIT 1)
    FROM lane WHERE lane.urgency IS NOT NULL
  ), fresh AS MATERIALIZED (
    SELECT f.id FROM lane, LATERAL (
      SELECT id FROM ${table} WHERE ${READY} AND urgency = lane.urgency AND next_retry_at <= now()
      ORDER BY next_retry_at, id LIMIT ${ROOM} FOR UPDATE SKIP LOCKED) f
    LIMIT ${ROOM}
  )`;

/**
 * Those behind one that was claimed, and of its urgency: a single scan, which is spared the dead
 * entries in front, that nothing can remove while somebody elsewhere holds an old snapshot.
 */
const further = table => `
  further AS MATERIALIZED (
    SELECT id FROM ${table} WHERE ${READY} AND urgency = ${value(6, 'smallint')}
      AND (next_retry_at, id) > (${value(7, 'timestamptz')}, ${value(8, 'bigint')})
      AND next_retry_at <= now()
    ORDER BY next_retry_at, id LIMIT ${ROOM} FOR UPDATE SKIP LOCKED
  )`;

/** Whether a message of a key is being sent, be it an older one or not. */
const isSending = (table, channel, key) => `EXISTS (SELECT FROM ${table} s
      WHERE s.channel = ${channel} AND s.order_key = ${key} AND s.order_key IS NOT NULL
        AND s.status = 'SENDING')`;

/**
 * Messages with a key, of which only the first can be claimed, and that only while none is being
 * sent: one that was retried, or committed late, comes before a later one that is. `head` steps
 * from key to key. A claim that does not see what another is just claiming meets the index
 * outbox_sending.
 */
const ordered = table => `
  head (order_key, id, depth) AS (
    (SELECT order_key, id, 1 FROM ${table}
      WHERE channel = ${CHANNEL} AND order_key > ${value(8, 'text')} AND status IN ${WAITING}
      ORDER BY order_key, id LIMIT 1)
    UNION ALL
    SELECT n.order_key, n.id, depth + 1 FROM head, LATERAL (
      SELECT order_key, id FROM ${table}
      WHERE channel = ${CHANNEL} AND order_key > head.order_key AND status IN ${WAITING}
      ORDER BY order_key, id LIMIT 1) n
    WHERE depth < ${HEADS_MAX}
  ), ordered AS MATERIALIZED (
    SELECT l.id FROM head, LATERAL (
      SELECT id FROM ${table} WHERE id = head.id AND status IN ${CLAIMABLE} AND crash_count = 0
        AND next_retry_at <= now() AND NOT ${isSending(table, CHANNEL, 'head.order_key')}
      FOR UPDATE SKIP LOCKED) l
    LIMIT ${ROOM}
  )`;

/** Messages whose worker died. Of those with a key the same holds. */
const died = (table, condition, limit) => `
    SELECT id FROM ${table} m
    WHERE channel = ${CHANNEL} AND status IN ${CLAIMABLE} AND ${condition}
      AND next_retry_at <= now()
      AND NOT EXISTS (SELECT FROM ${table} e WHERE e.channel = m.channel
        AND e.order_key = m.order_key AND e.id < m.id AND e.status IN ${WAITING})
      AND NOT ${isSending(table, 'm.channel', 'm.order_key')}
    ORDER BY crash_count, id LIMIT ${limit} FOR UPDATE SKIP LOCKED`;

/**
 * Once may be bad company, so those are tried together. Of those it happened to again one is
 * claimed, and nothing else with it: what dies next is the cause.
 */
const suspect = table => `
  company AS MATERIALIZED (${died(table, 'crash_count = 1', value(6, 'bigint'))}
  ), again AS MATERIALIZED (${died(table, 'crash_count > 1 AND NOT EXISTS (SELECT FROM company)',
    `least(${value(6, 'bigint')}, 1)`)}
  )`;

const lease = table => `
  UPDATE ${table} o SET status = 'SENDING', lease_owner = $2, lease_token = $3,
    lease_until = now() + $4 * interval '1 ms', crash_count = crash_count + 1`;

const SENT = `status = 'SENT', sent_at = now(), attempt_count = attempt_count + 1,
    crash_count = 0`;

const CLAIMED = `RETURNING ${COLUMNS}, crash_count AS "crashCount"`;

/**
 * Looks at everything. $1 channel, $2 owner, $3 token, $4 lease in ms, $5 how many at most, $6 how
 * many suspects, $7 how many ordered ones before others, $8 behind which key these are looked for.
 * `lastKey`, in each row, tells behind which key to go on where none of so many can be claimed.
 * When nothing was claimed there is one row with no id.
 */
const claim = table => `
  WITH RECURSIVE ${suspect(table)}, ${ordered(table)}, ${fresh(table)}
  , claimed AS (
    ${lease(table)}
    WHERE id = ANY (ARRAY(
      SELECT id FROM again
      UNION ALL SELECT id FROM company
      UNION ALL (SELECT id FROM ordered LIMIT ${value(7, 'bigint')})
      UNION ALL SELECT id FROM fresh
      UNION ALL (SELECT id FROM ordered OFFSET ${value(7, 'bigint')})
      LIMIT CASE WHEN EXISTS (SELECT FROM again) THEN 1 ELSE ${ROOM} END))
    ${CLAIMED}
  )
  SELECT claimed.*, h."lastKey" FROM (SELECT CASE WHEN NOT EXISTS (SELECT FROM ordered) THEN
    (SELECT max(order_key) FROM head HAVING count(*) = ${HEADS_MAX}) END AS "lastKey") AS h
  LEFT JOIN claimed ON true`;

/** $1 to $5 as of claim; $6 urgency, $7 time and $8 id of the message behind which it looks. */
const claimFurther = table => `
  WITH ${further(table)}
  ${lease(table)}
  WHERE id = ANY (ARRAY(SELECT id FROM further))
  ${CLAIMED}`;

const ISO_NOW = `to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

/**
 * Whoever settles still holds the message; `tokens` is JSON, by id. A join with a list of what is
 * to be settled would be nearer, but then the planner, which cannot know how long the list is,
 * compares every message that is leased with every one that is to be settled.
 */
const held = tokens => `o.id = ANY ($2::bigint[]) AND o.lease_owner = $1
    AND o.lease_token = (${tokens} ->> o.id::text)::integer`;

/**
 * As claimFurther, and writes down that one message was sent, so that both take one transaction:
 * $9 its id, $10 its token, $11 the provider's id. `settled` tells whether it was
 * still held, in each row, of which there is one with no id when nothing was claimed.
 */
const exchange = table => `
  WITH settled AS (
    UPDATE ${table} o SET ${SENT}, provider_message_id = $11
    WHERE id = $9 AND lease_owner = $2 AND lease_token = $10 AND status = 'SENDING'
    RETURNING id
  ), ${further(table)}, claimed AS (
    ${lease(table)}
    WHERE id = ANY (ARRAY(SELECT id FROM further))
    ${CLAIMED}
  )
  SELECT claimed.*, s.settled FROM (SELECT count(*) = 1 AS settled FROM settled) AS s
  LEFT JOIN claimed ON true`;

/** $1 owner, $2 ids, $3 tokens by id, $4 the provider's ids by id. */
const settleSent = table => `
  UPDATE ${table} o SET ${SENT}, provider_message_id = $4::jsonb ->> id::text
  WHERE ${held('$3::jsonb')} AND status = 'SENDING'
  RETURNING o.id`;

const said = (field, type) => `(s.given -> o.id::text ->> '${field}')::${type}`;

/**
 * $1 owner, $2 ids, $3 tokens by id, $4 what became of them, by id. `outcome` is retry, dead, or
 * release, which gives a message back as though it had not been claimed.
 */
const settleUnsent = table => `
  UPDATE ${table} o SET
    status = CASE WHEN ${said('outcome', 'text')} = 'dead' THEN 'DLQ'
      WHEN ${said('outcome', 'text')} = 'retry' OR attempt_count > 0 THEN 'RETRYING'
      ELSE 'PENDING' END,
    attempt_count = attempt_count + ${said('attempts', 'smallint')},
    crash_count = CASE WHEN ${said('outcome', 'text')} = 'release'
      THEN greatest(crash_count - 1, 0) ELSE 0 END,
    next_retry_at = coalesce(
      now() + ${said('delay', 'float8')} * interval '1 ms', next_retry_at),
    last_error = coalesce(${said('error', 'text')}, last_error),
    error_history = CASE WHEN s.given -> o.id::text -> 'entry' IS NULL THEN error_history
      ELSE (CASE WHEN jsonb_array_length(error_history) < ${HISTORY_MAX} THEN error_history
        ELSE error_history - 0 END) || jsonb_build_array(
        (s.given -> o.id::text -> 'entry') || jsonb_build_object('at', ${ISO_NOW})) END,
    died_at = CASE WHEN ${said('outcome', 'text')} = 'dead' THEN now() END,
    dead_kind = ${said('kind', 'text')}, dead_reason = ${said('reason', 'text')}
  FROM (SELECT $4::jsonb AS given) AS s
  WHERE ${held('$3::jsonb')} AND status = 'SENDING'
  RETURNING ${LETTER_COLUMNS}`;

/**
 * $1 owner, $2 ids, $3 tokens by id. Which of them this owner has settled already: what was taken
 * from it keeps its crashes.
 */
const settledBefore = table => `
  SELECT ${LETTER_COLUMNS} FROM ${table} o
  WHERE ${held('$3::jsonb')} AND status <> 'SENDING' AND crash_count = 0`;

/** $1 owner, $2 ids, $3 ms. */
const extend = table => `
  UPDATE ${table} o SET lease_until = now() + $3 * interval '1 ms'
  WHERE id = ANY ($2::bigint[]) AND lease_owner = $1 AND status = 'SENDING'
  RETURNING id`;

/**
 * $1 how many at most, $2 a time by the database. Takes messages back from those whose lease had
 * ended by then: at their next claim they are suspects, and those that were that often enough die.
 */
const sweep = table => `
  WITH lapsed AS MATERIALIZED (
    SELECT id FROM ${table} WHERE status = 'SENDING' AND lease_until < $2::timestamptz
    ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
  )
  UPDATE ${table} o SET next_retry_at = now(),
    status = CASE WHEN ${CRASHED} THEN 'DLQ' ELSE 'RETRYING' END,
    died_at = CASE WHEN ${CRASHED} THEN now() END,
    dead_kind = CASE WHEN ${CRASHED} THEN 'ERR_OUTBOX_CRASHED' END,
    dead_reason = CASE WHEN ${CRASHED} THEN format(
      'Workers died, or lost their lease, %s times while they held this message', crash_count) END
  WHERE id = ANY (ARRAY(SELECT id FROM lapsed))
  RETURNING ${LETTER_COLUMNS}`;

/** What each of the indexes of waiting messages holds; all of them begin with the channel. */
const WAITING_KINDS = Object.entries({
  ready: READY_ANY,
  suspect: `status IN ${CLAIMABLE} AND crash_count > 0`,
  ordered: `order_key IS NOT NULL AND status IN ${WAITING}`,
});

/** Steps from channel to channel of one index, and finds what is overdue in the unknown ones. */
const overdue = (table, kind, holds) => `
  ${kind}_channel (name) AS (
    (SELECT channel FROM ${table} WHERE ${holds} ORDER BY channel LIMIT 1)
    UNION ALL
    SELECT (SELECT channel FROM ${table} WHERE ${holds} AND channel > name
      ORDER BY channel LIMIT 1)
    FROM ${kind}_channel WHERE name IS NOT NULL
  ), ${kind} AS MATERIALIZED (
    SELECT u.id FROM ${kind}_channel, LATERAL (
      SELECT id FROM ${table} WHERE channel = name AND ${holds} AND status IN ${CLAIMABLE}
        AND next_retry_at < now() - $2 * interval '1 ms'
      LIMIT 1000 FOR UPDATE SKIP LOCKED) u
    WHERE name <> ALL ($1::text[])
  )`;

/** $1 known channels, $2 ms. What nobody here could ever send, and has been due for that long. */
const buryUnknown = table => `
  WITH RECURSIVE ${WAITING_KINDS.map(([kind, holds]) => overdue(table, kind, holds)).join(',')}
  UPDATE ${table} o SET status = 'DLQ', died_at = now(), dead_kind = 'ERR_OUTBOX_CHANNEL',
    dead_reason = format('There is no channel %s', channel)
  WHERE id = ANY (ARRAY(
    ${WAITING_KINDS.map(([kind]) => `SELECT id FROM ${kind}`).join(' UNION ALL ')}))
  RETURNING ${LETTER_COLUMNS}`;

// Of pages of history, as many are read to count it: 16 MiB.
const SAMPLE_PAGES = 2048;

/** What share of the table, in percent, so many pages are. */
const sampleShare = table => `
  SELECT least(100, ${SAMPLE_PAGES} * 100.0 * current_setting('block_size')::int /
    greatest(pg_relation_size('${table}'), 1)) AS share`;

const count = (table, holds, age) => `
  SELECT channel, status, count(*)::float8 AS count, ${age} AS age FROM ${table}
  WHERE ${holds} GROUP BY channel, status`;
const DUE_MS = '(extract(epoch FROM now() - min(next_retry_at)) * 1000)::float8';

/**
 * $1 percent of the table. What is not over is found by the indexes, and counted; what is over and
 * could be any number is counted in that share of the pages, which are the same each time.
 */
const stats = table => `
  ${count(table, READY_ANY, DUE_MS)}
  UNION ALL ${count(table, `status IN ${CLAIMABLE} AND crash_count > 0`, DUE_MS)}
  UNION ALL ${count(table, `order_key IS NOT NULL AND status IN ${WAITING}
    AND status <> 'SENDING' AND crash_count = 0`, DUE_MS)}
  UNION ALL ${count(table, "status = 'SENDING'", 'NULL')}
  UNION ALL ${count(table, "status = 'DLQ'", 'NULL')}
  UNION ALL SELECT channel, status, round(count(*) * 100 / $1::float8), NULL
  FROM ${table} TABLESAMPLE SYSTEM ($1::float8) REPEATABLE (0)
  WHERE status IN ('SENT', 'CANCELLED') GROUP BY channel, status`;

/** $1 ms. For how long somebody has kept a snapshot that is older, in ms. */
const oldSnapshot = () => `
  SELECT (extract(epoch FROM max(now() - xact_start)) * 1000)::float8 AS age FROM pg_stat_activity
  WHERE datname = current_database() AND backend_xmin IS NOT NULL
    AND xact_start < now() - $1 * interval '1 ms'`;

const STATEMENTS = {
  enqueue, bury, waitingFor, claim, claimFurther, exchange, settleSent, settleUnsent,
  settledBefore, extend, sweep, buryUnknown, sampleShare, stats, oldSnapshot,
};

// From here on no plan is better than one that uses the indexes.
const LARGE = 65_536;

/** How large a table with this id is, in steps of four times as large. */
const sizeOf = id => Math.floor(Math.log2(Math.min(Number(id), LARGE)) / 2);

/**
 * The statements for the tables of one schema, each a function of its values; and `grow`, which is
 * told of ids. The database keeps the plan of a statement with its name, and for a table that was
 * all but empty that plan is to read all of it. So the names change while the table grows, however
 * long it takes until somebody analyzes it.
 * @returns {Record<string, (...values: unknown[]) =>
 *   { name: string, text: string, values: unknown[] }> & { grow: (id: string) => void }}
 */
function outboxSql (schema) {
  const table = `${schema}.notification_outbox`;
  let size = 0;
  const statements = Object.entries(STATEMENTS).map(([key, write]) => {
    const text = write(table).trim();
    return [key, (...values) => ({ name: `outbox_${key}_${size}`, text, values })];
  });
  const grow = id => { size = Math.max(size, sizeOf(id)); };
  return { ...Object.fromEntries(statements), grow };
}

module.exports = { COLUMNS, LETTER_COLUMNS, enqueueAlong, outboxSql };
