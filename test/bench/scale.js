#!/usr/bin/env node
'use strict';

// How the store grows: `npm run bench:scale`, on a PostgreSQL of its own. Each size has a database
// with that many messages sent, dead, waiting and waiting with an orderKey, that many orders and
// that many keys; and one with as many messages in a thousand channels.

const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');

const { heldPayments } = require('../../lib/gateway/report');
const { startPostgres } = require('../support/postgres');
const {
  CHANNELS, ID_MIN, MANY_CHANNELS, ORDERED, openChannels, openFilled,
} = require('./filling');
const { machineOf } = require('./report');

const RESULTS = path.join(__dirname, 'SCALE-RESULTS.md');

const SIZES = [10_000, 100_000, 1_000_000];
const RUNS = 7;
// Per factor of ten, unless it stays below what is lost in the noise.
const GROWTH_MAX = 1.3;
const FLOOR_MS = 5;
const PAGE_MS_MAX = 200;

const message = { channel: CHANNELS[0], recipient: 'a@example.com', body: 'b' };
const ofTenant = { ...message, channel: MANY_CHANNELS[0] };

const searchAll = { limit: 50, search: 'nobody' };

/**
 * What is measured. `isPage`: somebody waits for it in front of a page; `of`: the kind of store;
 * `prepare`: comes before each run and is not measured; `per`: what the time is divided by.
 */
const ROWS = [
  { name: 'enqueue', work: ({ outbox }) => outbox.enqueue(message) },
  { name: 'claim and send 100', work: claiming([CHANNELS[1]]) },
  { name: 'claim and send 100, of as many order keys', work: claiming([ORDERED]) },
  { name: 'idempotent call',
    work: ({ idempotency }, i) => idempotency.run(`new-${i}`, async () => 'done') },
  ...pages({
    'messages, first page': ({ outbox }) => outbox.list({ limit: 50 }),
    'messages, of a channel': ({ outbox }) => outbox.list({ limit: 50, channel: CHANNELS[3] }),
    'messages, of a rare channel': ({ outbox }) => outbox.list({ limit: 50, channel: 'NONE' }),
    'messages, of a rare status': ({ outbox }) => outbox.list({ limit: 50, status: 'CANCELLED' }),
    'messages, search with hits': ({ outbox }) => outbox.list({ limit: 50, search: 'customer' }),
    'messages, search without a hit': ({ outbox }) => outbox.list(searchAll),
    'messages that wait, first page': ({ outbox }) =>
      outbox.list({ limit: 50, status: 'PENDING' }),
    'messages that wait, search without a hit': ({ outbox }) =>
      outbox.list({ ...searchAll, status: 'PENDING' }),
    'messages that are retried, none among those that wait': ({ outbox }) =>
      outbox.list({ limit: 50, status: 'RETRYING' }),
    'dead letters, first page': ({ deadLetters }) => deadLetters.list({ limit: 50 }),
    'dead letters, search without a hit': ({ deadLetters }) => deadLetters.list(searchAll),
    'orders, first page': ({ payments }) => payments.list({ limit: 50 }),
    'orders, of a rare state': ({ payments }) =>
      payments.list({ limit: 50, state: 'charged_back' }),
    'orders, search without a hit': ({ payments }) => payments.list(searchAll),
    health: store => store.health(),
    'outbox.stats (metrics, report)': ({ outbox }) => outbox.stats(),
    'summary of dead letters (metrics, report)': ({ deadLetters }) => deadLetters.summary(),
    'held payments (metrics, report)': heldPayments,
    'clean-up with nothing to delete': store => store.cleanUp(),
  }),
  { name: 'clean-up of a tenth, for 1,000 messages and 1,000 keys', prepare: makeOld,
    work: deleteOld, per: size => size / 10 / 1000 },
  { name: 'enqueue, 1,000 channels', of: openChannels,
    work: ({ outbox }) => outbox.enqueue(ofTenant) },
  { name: 'claim and send 100, 1,000 channels', of: openChannels,
    work: claiming(MANY_CHANNELS, 10) },
  ...pages({
    'outbox.stats, 1,000 channels': ({ outbox }) => outbox.stats(),
    'summary of dead letters, 1,000 channels': ({ deadLetters }) => deadLetters.summary(),
  }, openChannels),
];

function pages (works, of) {
  return Object.entries(works).map(([name, work]) => ({ name, work, of, isPage: true }));
}

/** A worker that starts, sends a hundred of those that wait, and stops. */
function claiming (channels, batchSize = 100) {
  return async ({ outbox }) => {
    let left = 100;
    let done;
    const finished = new Promise(resolve => { done = resolve; });
    const send = async () => { if (--left === 0) done(); };
    const worker = outbox.createWorker({
      channels: Object.fromEntries(channels.map(name => [name, { send }])), batchSize,
    });
    await worker.start();
    await finished;
    await worker.stop();
  };
}

/** Old messages come before all others, as they would be there. */
async function makeOld (store, i, size) {
  const old = "now() - interval '400 days'";
  await store.query(`INSERT INTO sekering.notification_outbox
      (id, channel, recipient, body, status, created_at, sent_at)
    SELECT i, '${CHANNELS[0]}', 'a@example.com', 'b', 'SENT', ${old}, ${old}
    FROM generate_series(1, ${Math.min(size / 10, ID_MIN - 1)}) AS i`);
  await store.query(`INSERT INTO sekering.idempotency_store
      (key, fingerprint, status, created_at, expires_at, locked_until)
    SELECT 'old-' || i, '', 'done', ${old}, ${old}, ${old}
    FROM generate_series(1, ${size / 10}) AS i`);
}

async function deleteOld (store, i, size) {
  const { sent, idempotency } = await store.cleanUp();
  if (sent !== size / 10 || idempotency !== size / 10) throw new Error('Not all was deleted');
}

const median = values => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** By size; the sizes take turns, so that a busy minute of the machine is in all of them. */
async function timesOf ({ name, work, prepare, per = () => 1 }, stores) {
  const runs = stores.map(() => []);
  for (let i = 0; i <= RUNS; i++) {
    for (const [place, { store, size }] of stores.entries()) {
      await prepare?.(store, i, size);
      const began = performance.now();
      await work(store, `${name}-${i}`, size);
      // The first one warms up.
      if (i > 0) runs[place].push((performance.now() - began) / per(size));
    }
  }
  const times = runs.map(median);
  process.stderr.write(`${name}: ${times.map(ms => ms.toFixed(1)).join(', ')} ms\n`);
  return times;
}

/** By row: its times by size. */
async function measure (sizes, rows) {
  const postgres = await startPostgres();
  const opened = new Map();
  const openAll = async open => {
    const stores = [];
    opened.set(open, stores);
    for (const size of sizes) stores.push({ size, store: await open(postgres, size) });
    return stores;
  };
  try {
    const found = [];
    for (const row of rows) {
      const { of = openFilled } = row;
      found.push(await timesOf(row, opened.get(of) ?? await openAll(of)));
    }
    return found;
  } finally {
    for (const { store } of [...opened.values()].flat()) await store.close();
    await postgres.close();
  }
}

/** The largest growth from one size to the next; what is lost in the noise does not grow. */
const growthOf = times => Math.max(...times.slice(1).map((ms, i) =>
  Math.max(ms, FLOOR_MS) / Math.max(times[i], FLOOR_MS)));

function judge ({ isPage }, times) {
  const isFlat = times.length < 2 || growthOf(times) <= GROWTH_MAX;
  return isFlat && (!isPage || times.at(-1) <= PAGE_MS_MAX);
}

const cellsOf = (row, times) => [
  row.name, ...times.map(ms => ms.toFixed(1)),
  times.length < 2 ? '' : `${growthOf(times).toFixed(1)} ×`, judge(row, times) ? 'met' : 'missed',
];

const METHOD = `Times in ms, the median of ${RUNS} runs in which the sizes take turns. Each database
has that many messages sent, as many dead, as many waiting, in ten channels, and as many waiting
with an \`orderKey\` of their own; as many orders with a notification each; as many keys. For the
rows of 1,000 channels there are databases with as many messages in these. Growth: the largest from
one size to the next, where less than ${FLOOR_MS} ms counts as ${FLOOR_MS}. Gates: growth of at most
${GROWTH_MAX} × per factor of ten, and no page takes over ${PAGE_MS_MAX} ms.`;

function markdownOf (sizes, lines) {
  const header = ['what', ...sizes.map(size => size.toLocaleString('en')), 'growth', 'verdict'];
  const table = [header, header.map(() => '---'), ...lines]
    .map(cells => `| ${cells.join(' | ')} |`);
  return ['# The store, as it grows', '', '`npm run bench:scale -- --write`, PostgreSQL 15.', '',
    `Machine: ${machineOf()}`, '', METHOD, '', ...table, ''].join('\n');
}

async function main () {
  const { values: options } = parseArgs({ options: {
    max: { type: 'string', default: String(SIZES.at(-1)) }, only: { type: 'string', default: '' },
    write: { type: 'boolean' }, gate: { type: 'boolean' },
  } });
  const sizes = SIZES.filter(size => size <= Number(options.max));
  const rows = ROWS.filter(({ name }) => name.includes(options.only));
  const found = await measure(sizes, rows);
  const lines = rows.map((row, i) => cellsOf(row, found[i]));
  for (const cells of lines) process.stdout.write(`${cells.join(' | ')}\n`);
  if (options.write) fs.writeFileSync(RESULTS, markdownOf(sizes, lines));
  if (options.gate && rows.some((row, i) => !judge(row, found[i]))) process.exitCode = 1;
}

main();
