'use strict';

// What the database writes for each message, from its own log (WAL): nothing here is timed.

const { Client } = require('pg');

const COUNT = 5000;

const SUBJECTS = [
  { label: 'sekering', subject: 'ours' },
  { label: 'graphile, local queue 500', subject: 'graphile' },
  { label: 'pg-boss, fetch 50', subject: 'boss', options: { batchSize: 50 } },
];

// Without images of whole pages: how many there are depends on when the last checkpoint was.
const WRITTEN = `
  SELECT count(*) FILTER (WHERE resource_manager = 'Heap' AND record_type ~ '^(INSERT|MULTI)')::int
      AS inserts,
    count(*) FILTER (WHERE resource_manager = 'Heap' AND record_type ~ 'UPDATE')::int AS updates,
    count(*) FILTER (WHERE resource_manager = 'Heap' AND record_type ~ '^DELETE')::int AS deletes,
    count(*) FILTER (WHERE resource_manager = 'Btree' AND record_type ~ '^INSERT')::int AS entries,
    sum(record_length - fpi_length)::int AS bytes
  FROM pg_get_wal_records_info($1, $2)`;

async function withClient (url, work) {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

const place = async client =>
  (await client.query('SELECT pg_current_wal_flush_lsn() AS lsn')).rows[0].lsn;

/** What `work` has the database write, for each message. */
async function written (client, work) {
  const from = await place(client);
  await work();
  const { rows: [row] } = await client.query(WRITTEN, [from, await place(client)]);
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, value / COUNT]));
}

async function measureWrites (postgres) {
  const rows = [];
  for (const { label, subject, options } of SUBJECTS) {
    const url = await postgres.createDatabase();
    const { open, fill, drain } = require(`./${subject}`);
    const handle = await open({ url });
    try {
      rows.push({ label, ...await withClient(url, async client => {
        await client.query('CREATE EXTENSION pg_walinspect');
        const enqueued = await written(client, () => fill(handle, COUNT));
        const done = await written(client, () => drain(handle, { count: COUNT, ...options }));
        return { enqueued, done };
      }) });
    } finally {
      await handle.close();
    }
  }
  return rows;
}

const METHOD = `What PostgreSQL writes for each message, counted in its log over
${COUNT.toLocaleString('en')} of them: changes of rows (inserted, updated, deleted), entries of
indexes, and bytes of the log without images of whole pages. They are enqueued in batches, and taken
many at a time. sekering keeps each message, with when it was sent, and an entry for each list in
which it stands.`;

const HEADER = ['for each message', 'rows, enqueued', 'index entries', 'bytes', 'rows, done',
  'index entries', 'bytes', 'bytes in all'];

function rowsOf (found) {
  const changes = ({ inserts, updates, deletes }) => (inserts + updates + deletes).toFixed(1);
  const cells = part => [changes(part), part.entries.toFixed(1), part.bytes.toFixed(0)];
  return found.length === 0 ? [] : [HEADER, ...found.map(({ label, enqueued, done }) =>
    [label, ...cells(enqueued), ...cells(done), (enqueued.bytes + done.bytes).toFixed(0)])];
}

module.exports = { METHOD, measureWrites, rowsOf };
