'use strict';

// How many messages there are, by channel and status, in a bounded time. Those that were sent or
// cancelled may be any number and are counted in a sample of the table. What waits or is dead is
// found by indexes, group by group. A group with few is counted exactly, one with many in the
// sample as well.

const { CLAIMABLE, WAITING_KINDS } = require('./outbox-table');

const STATUSES = ['PENDING', 'SENDING', 'RETRYING', 'SENT', 'DLQ', 'CANCELLED'];
const OVER = ['SENT', 'DLQ', 'CANCELLED'];

// Pages of the table that are a sample: 6 MiB.
const SAMPLE_PAGES = 768;
// So many are counted by each index.
const COUNTED_MAX = 10_000;
// Of each group, even if there are so many that it is more in all.
const COUNTED_MIN = 10;

/** What share of the table a sample is, in percent. */
const sampleShare = table => `
  SELECT least(100, ${SAMPLE_PAGES} * 100.0 * current_setting('block_size')::int /
    greatest(pg_relation_size('${table}'), 1))::float8 AS share`;

const DUE_MS = '(extract(epoch FROM now() - min(next_retry_at)) * 1000)::float8';

/** Each message is of one kind. Of what is over there is a sample, of the others an index. */
const KIND = `CASE WHEN status IN ('SENT', 'CANCELLED') THEN 'over' WHEN status = 'DLQ' THEN 'dead'
  WHEN status = 'SENDING' THEN 'sending' WHEN crash_count > 0 THEN 'suspect'
  WHEN order_key IS NULL THEN 'ready' ELSE 'ordered' END`;

/** $1 percent of the table, the same pages each time. */
const sample = table => `
  SELECT ${KIND} AS kind, channel, status, round(count(*) * 100 / $1::float8) AS count,
    CASE WHEN status IN ${CLAIMABLE} THEN ${DUE_MS} END AS age, true AS "isSample", false AS "isCut"
  FROM ${table} TABLESAMPLE SYSTEM ($1::float8) REPEATABLE (0) GROUP BY 1, channel, status`;

/**
 * What an index holds that begins with `by`, expressions by name: one group after the other is
 * found, and of each so many rows are counted, in the order of the index. `isCut`: there may be
 * more.
 */
const grouped = (table, { kind, holds = WAITING_KINDS[kind], by, then, columns = '' }) => {
  const names = Object.keys(by);
  const key = Object.values(by).join(', ');
  const find = where => `SELECT ${names.map(name => `${by[name]} AS ${name}`)} FROM ${table}
    WHERE ${holds} ${where} ORDER BY ${key} LIMIT 1`;
  const group = names.map(name => `g.${name}`);
  return `
    WITH RECURSIVE groups AS (
      (${find('')})
      UNION ALL
      SELECT n.* FROM groups g, LATERAL (${find(`AND (${key}) > (${group})`)}) n
    ), caps AS (
      SELECT greatest(${COUNTED_MIN}, ${COUNTED_MAX} / greatest(count(*), 1)) AS cap FROM groups
    )
    SELECT '${kind}' AS kind, g.channel, c.status, c.count, c.age, false AS "isSample",
      c.seen >= caps.cap AS "isCut" ${columns}
    FROM groups g, caps, LATERAL (
      SELECT status, count(*) FILTER (WHERE ${KIND} = '${kind}')::float8 AS count,
        CASE WHEN status IN ${CLAIMABLE} THEN ${DUE_MS} END AS age, sum(count(*)) OVER () AS seen
      FROM (SELECT status, crash_count, order_key, next_retry_at FROM ${table}
        WHERE ${holds} AND (${key}) = (${group}) ORDER BY ${[key, ...then]} LIMIT caps.cap) r
      GROUP BY status
    ) c`;
};

const DEAD = {
  kind: 'dead', holds: "status = 'DLQ'", then: ['id'],
  by: { channel: 'channel', dead_kind: "coalesce(dead_kind, '')" },
};

/** Those that are being sent are never many. */
const sending = table => `
  SELECT 'sending', channel, status, count(*)::float8, NULL::float8, false, false
  FROM ${table} WHERE status = 'SENDING' GROUP BY channel, status`;

/** $1 percent of the table are its sample. */
const counts = table => [
  sample(table),
  grouped(table, {
    kind: 'ready', by: { channel: 'channel', urgency: 'urgency' }, then: ['next_retry_at', 'id'],
  }),
  grouped(table, { kind: 'suspect', by: { channel: 'channel' }, then: ['crash_count', 'id'] }),
  grouped(table, { kind: 'ordered', by: { channel: 'channel' }, then: ['order_key', 'id'] }),
  grouped(table, DEAD),
  sending(table),
].map(text => `(${text})`).join(' UNION ALL ');

const deadCounts = table => `
  ${grouped(table, { ...DEAD, columns: ', g.dead_kind AS "deadKind"' })}
  ORDER BY g.channel, g.dead_kind`;

const deadSample = table => `
  SELECT channel, coalesce(dead_kind, '') AS "deadKind",
    round(count(*) * 100 / $1::float8) AS count
  FROM ${table} TABLESAMPLE SYSTEM ($1::float8) REPEATABLE (0)
  WHERE status = 'DLQ' GROUP BY 1, 2`;

const STATEMENTS = { sampleShare, sample, counts, deadCounts, deadSample };

class OutboxCounts {
  #database;
  #sql;

  /** @param {OutboxTable} table */
  constructor (database, table) {
    this.#database = database;
    this.#sql = table.statements(STATEMENTS);
  }

  async #rows (statement) { return (await this.#database.query(statement)).rows; }

  async #share () {
    const [{ share }] = await this.#rows(this.#sql.sampleShare());
    return share;
  }

  /** @param {string[]} names channels that are there even without messages */
  async stats (names, exact) {
    const share = exact ? 100 : await this.#share();
    // A sample of all pages is everything.
    const rows = share === 100 ? await this.#rows(this.#sql.sample(100))
      : bestOf(await this.#rows(this.#sql.counts(share)));
    const none = () => Object.fromEntries(STATUSES.map(status => [status, 0]));
    const channels = Object.fromEntries(names.map(name => [name, none()]));
    let waiting = 0;
    let oldestMs = 0;
    for (const { channel, status, count, age } of rows) {
      (channels[channel] ??= none())[status] += count;
      if (!OVER.includes(status)) waiting += count;
      oldestMs = Math.max(oldestMs, age ?? 0);
    }
    return { channels, waiting, oldestMs, sampled: share < 100 };
  }

  /** Dead letters by channel and kind, in this order. */
  async summary () {
    const groups = await this.#rows(this.#sql.deadCounts());
    if (groups.some(({ isCut }) => isCut)) {
      const keyOf = ({ channel, deadKind }) => JSON.stringify([channel, deadKind]);
      const sampled = new Map((await this.#rows(this.#sql.deadSample(await this.#share())))
        .map(row => [keyOf(row), row.count]));
      for (const group of groups.filter(({ isCut }) => isCut)) {
        group.count = Math.max(group.count, sampled.get(keyOf(group)) ?? 0);
      }
    }
    return groups.map(({ channel, deadKind, count }) => ({ channel, kind: deadKind, count }));
  }
}

/** What was counted, and of what was not all of it was: what the sample has, if that is more. */
function bestOf (rows) {
  const groupOf = ({ kind, channel }) => JSON.stringify([kind, channel]);
  const cut = new Set(rows.filter(({ isCut }) => isCut).map(groupOf));
  const best = { true: new Map(), false: new Map() };
  for (const row of rows) {
    if (row.isSample && row.kind !== 'over' && !cut.has(groupOf(row))) continue;
    const key = JSON.stringify([row.kind, row.channel, row.status]);
    const { count = 0, age = 0 } = best[row.isSample].get(key) ?? {};
    best[row.isSample]
      .set(key, { ...row, count: count + row.count, age: Math.max(age, row.age ?? 0) });
  }
  for (const [key, sampled] of best.true) {
    const { count = 0, age = 0 } = best.false.get(key) ?? {};
    best.false.set(key,
      { ...sampled, count: Math.max(count, sampled.count), age: Math.max(age, sampled.age) });
  }
  return best.false.values();
}

module.exports = { OutboxCounts, STATUSES };
