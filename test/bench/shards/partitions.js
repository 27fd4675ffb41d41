'use strict';

// A trial, and no part of the product: the outbox as it is, beside the same table in partitions by
// ranges of ids, of which retention could drop the oldest. What do statements cost then?

const { Client } = require('pg');

const { openDatabase } = require('../../../lib/store/database');
const { migrate } = require('../../../lib/store/migrate');
const { leaseStatements } = require('../../../lib/store/outbox-leases');
const { OutboxTable } = require('../../../lib/store/outbox-table');
const { startPostgres } = require('../../support/postgres');
const { summary } = require('../measure');
const { walBytes } = require('../gateway/fleet');

const CHANNEL = 'JOB';
const OWNER = 'bench';
const LEASE_MS = 60_000;
const BATCH = 50;
const BYTES_MAX = 2 ** 24;
const PLANNED = 5;
const WARM_ROUNDS = 10;

const tableOf = schema => `${schema}.notification_outbox`;

/** The table of the schema `sekering` once more, in partitions. */
async function makeParted (client, schema, { partitions, history }) {
  await client.query(`CREATE SCHEMA ${schema}`);
  const table = tableOf(schema);
  await client.query(`CREATE TABLE ${table} (LIKE sekering.notification_outbox
    INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING IDENTITY) PARTITION BY RANGE (id)`);
  const { rows: [{ options }] } = await client.query(`SELECT array_to_string(reloptions, ', ')
    AS options FROM pg_class WHERE oid = 'sekering.notification_outbox'::regclass`);
  const step = Math.ceil(history / partitions);
  for (let i = 0; i < partitions; i++) {
    const from = i === 0 ? 'MINVALUE' : i * step + 1;
    const to = i === partitions - 1 ? 'MAXVALUE' : (i + 1) * step + 1;
    await client.query(`CREATE TABLE ${schema}.part_${i} PARTITION OF ${table}
      FOR VALUES FROM (${from}) TO (${to}) WITH (${options})`);
  }
  await client.query(`ALTER TABLE ${table} ADD PRIMARY KEY (id)`);
  const { rows } = await client.query(`SELECT indexdef AS text FROM pg_indexes
    WHERE schemaname = 'sekering' AND tablename = 'notification_outbox'
      AND indexname NOT LIKE '%_pkey'`);
  // A unique index would have to contain the id here, so none of these can be one.
  for (const { text } of rows) {
    await client.query(text.replace(' UNIQUE', '').replace(' ON sekering.', ` ON ${schema}.`));
  }
}

/** What was sent, and what waits: the latter is in the last partition. */
async function fill (client, table, { history, waiting }) {
  await client.query(`INSERT INTO ${table} (channel, recipient, subject, body, status, sent_at)
    SELECT '${CHANNEL}', 'customer-' || i || '@example.com', 'Order ' || i, 'Thank you', 'SENT',
      now() FROM generate_series(1, ${history}) AS i`);
  await client.query(`INSERT INTO ${table} (channel, recipient, subject, body, next_retry_at)
    SELECT '${CHANNEL}', 'customer-' || i || '@example.com', 'Order ' || i, 'Thank you',
      date_trunc('milliseconds', now())
    FROM generate_series(1, ${waiting}) AS i`);
}

/** A table, and what is asked of it on a connection of its own. */
class Subject {
  #token = 0;
  #held;
  #behind;

  async open (url, schema) {
    this.client = new Client({ connectionString: url });
    await this.client.connect();
    // Without the disk's part in a commit.
    await this.client.query('SET synchronous_commit = off');
    this.schema = schema;
    this.table = tableOf(schema);
    this.sql = leaseStatements(new OutboxTable(schema));
    return this;
  }

  #lease () {
    this.#token += 1;
    return [CHANNEL, OWNER, this.#token, LEASE_MS, BATCH];
  }

  /** The statement that looks at everything. */
  look () { return this.sql.claim(...this.#lease(), 10, 25, '', BYTES_MAX); }

  /** The one that goes on behind the last message that was claimed. */
  further () {
    const { priority, nextRetryAt, id } = this.#behind;
    return this.sql.claimFurther(...this.#lease(), -priority, nextRetryAt, id, BYTES_MAX);
  }

  settle () {
    const tokens = Object.fromEntries(this.#held.map(({ id }) => [id, this.#token]));
    return this.sql.settleSent(OWNER, this.#held.map(({ id }) => id), JSON.stringify(tokens), '{}');
  }

  enqueue () {
    return {
      name: 'enqueue', values: [CHANNEL, 'a@example.com'],
      text: `INSERT INTO ${this.table} (channel, recipient, subject, body, next_retry_at)
        VALUES ($1, $2, 'Order', 'Thank you', date_trunc('milliseconds', now()))`,
    };
  }

  /** ms that a statement takes; remembers what it claimed. */
  async run (kind) {
    const statement = this[kind]();
    const began = performance.now();
    const { rows, rowCount } = await this.client.query(statement);
    const ms = performance.now() - began;
    if (kind === 'look' || kind === 'further') {
      this.#held = rows;
      this.#behind = rows.toSorted((a, b) => a.nextRetryAt - b.nextRetryAt || a.id - b.id).at(-1);
      if (rows.length !== BATCH) throw new Error(`${rows.length} messages were claimed`);
    } else if (kind === 'settle' && rowCount !== BATCH) {
      throw new Error(`${rowCount} messages were settled`);
    }
    return ms;
  }

  /** Which locks of tables and indexes a statement takes, and how many of them on the slow way. */
  async locksOf (kind) {
    await this.client.query('BEGIN');
    await this.run(kind);
    const { rows: [locks] } = await this.client.query(`SELECT count(*)::int AS all,
        count(*) FILTER (WHERE NOT fastpath)::int AS slow
      FROM pg_locks JOIN pg_class ON pg_class.oid = relation
      WHERE pid = pg_backend_pid() AND relnamespace <> 'pg_catalog'::regnamespace`);
    await this.client.query('COMMIT');
    return locks;
  }

  /** ms to plan a statement that is not prepared. */
  async planningOf (kind) {
    const times = [];
    for (let i = 0; i < PLANNED; i++) {
      const { text, values } = this[kind]();
      const { rows: [row] } = await this.client.query({
        text: `EXPLAIN (SUMMARY, FORMAT JSON) ${text}`, values, rowMode: 'array',
      });
      times.push(row[0][0]['Planning Time']);
    }
    return summary(times).value;
  }
}

/** The statements of a round: both claims are settled. */
const ROUND = ['enqueue', 'look', 'settle', 'further', 'settle'];
const KINDS = [...new Set(ROUND)];

/** By subject and kind: ms of a statement, the tables in turn. */
async function timesOf (subjects, rounds) {
  const times = subjects.map(() => Object.fromEntries(KINDS.map(kind => [kind, []])));
  // The first rounds plan, and warm up.
  for (let round = -WARM_ROUNDS; round < rounds; round++) {
    for (const [i, subject] of subjects.entries()) {
      for (const kind of ROUND) {
        const ms = await subject.run(kind);
        if (round >= 0) times[i][kind].push(ms);
      }
    }
  }
  return times;
}

/** ms and bytes of WAL for the oldest partition to go, and the lock of the whole table for that. */
async function drop (url, { client, schema, table }) {
  await client.query('CHECKPOINT');
  const [wal, began] = [await walBytes(url), performance.now()];
  await client.query('BEGIN');
  await client.query(`DROP TABLE ${schema}.part_0`);
  const { rows: [{ mode }] } = await client.query(`SELECT mode FROM pg_locks
    WHERE relation = '${table}'::regclass AND pid = pg_backend_pid()
    ORDER BY mode = 'AccessExclusiveLock' DESC LIMIT 1`);
  await client.query('COMMIT');
  return { ms: performance.now() - began, wal: await walBytes(url) - wal, mode };
}

async function eachKind (measured) {
  const found = {};
  for (const kind of KINDS) found[kind] = await measured(kind);
  return found;
}

/**
 * @param {{ history: number, waiting: number, rounds: number, counts: number[] }} options messages
 *   that were sent, and that wait; `counts` of partitions
 * @returns {Promise<object[]>} of the table as it is, and in so many partitions: for each kind of
 *   statement its median time and the ratio to that of the table as it is, locks and planning
 */
async function trial ({ history, waiting, rounds, counts }) {
  const server = await startPostgres();
  const subjects = [];
  try {
    const url = await server.createDatabase();
    const database = await openDatabase({ url });
    await migrate(database);
    await database.close();
    for (const partitions of [1, ...counts]) {
      const schema = partitions === 1 ? 'sekering' : `parted_${partitions}`;
      const subject = await new Subject().open(url, schema);
      subjects.push(subject);
      if (partitions > 1) await makeParted(subject.client, schema, { partitions, history });
      await fill(subject.client, subject.table, { history, waiting });
    }
    await server.query('VACUUM ANALYZE', url);
    await server.query('CHECKPOINT', url);
    const times = await timesOf(subjects, rounds);
    const found = [];
    for (const [i, subject] of subjects.entries()) {
      found.push({
        partitions: [1, ...counts][i],
        ms: await eachKind(kind => summary(times[i][kind]).value),
        ratio: await eachKind(kind =>
          summary(times[i][kind].map((ms, round) => ms / times[0][kind][round]))),
        locks: await eachKind(kind => subject.locksOf(kind)),
        planning: await eachKind(kind => subject.planningOf(kind)),
        dropped: i === 0 ? undefined : await drop(url, subject),
      });
    }
    return found;
  } finally {
    for (const { client } of subjects) await client.end();
    await server.close();
  }
}

module.exports = { KINDS, trial };
