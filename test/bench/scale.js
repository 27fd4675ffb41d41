#!/usr/bin/env node
'use strict';

// How the store grows: `npm run bench:scale`, on a PostgreSQL of its own. Each size has a database
// with that many messages sent, dead and waiting, that many orders, and that many keys.

const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');

const { heldPayments } = require('../../lib/gateway/report');
const { startPostgres } = require('../support/postgres');
const { CHANNELS, openFilled } = require('./filling');
const { machineOf } = require('./report');

const RESULTS = path.join(__dirname, 'SCALE-RESULTS.md');

const SIZES = [10_000, 100_000, 1_000_000];
const RUNS = 7;
// Per factor of ten, unless it stays below what is lost in the noise.
const GROWTH_MAX = 1.3;
const FLOOR_MS = 5;
const PAGE_MS_MAX = 200;

const message = { channel: CHANNELS[0], recipient: 'a@example.com', body: 'b' };

/** What is measured; `page`: somebody waits for it in front of a page. */
const ROWS = [
  ['enqueue', ({ outbox }) => outbox.enqueue(message)],
  ['claim and send 100', claimSome],
  ['idempotent call', ({ idempotency }, i) => idempotency.run(`new-${i}`, async () => 'done')],
  ['messages, first page', ({ outbox }) => outbox.list({ limit: 50 }), 'page'],
  ['messages, of a channel', ({ outbox }) => outbox.list({ limit: 50, channel: CHANNELS[3] }),
    'page'],
  ['messages, of a rare channel', ({ outbox }) => outbox.list({ limit: 50, channel: 'NONE' }),
    'page'],
  ['messages, of a rare status', ({ outbox }) => outbox.list({ limit: 50, status: 'CANCELLED' }),
    'page'],
  ['messages, search with hits', ({ outbox }) => outbox.list({ limit: 50, search: 'customer' }),
    'page'],
  ['messages, search without a hit', ({ outbox }) => outbox.list({ limit: 50, search: 'nobody' }),
    'page'],
  ['dead letters, first page', ({ deadLetters }) => deadLetters.list({ limit: 50 }), 'page'],
  ['dead letters, search without a hit',
    ({ deadLetters }) => deadLetters.list({ limit: 50, search: 'nobody' }), 'page'],
  ['orders, first page', ({ payments }) => payments.list({ limit: 50 }), 'page'],
  ['orders, of a rare state', ({ payments }) => payments.list({ limit: 50, state: 'charged_back' }),
    'page'],
  ['orders, search without a hit', ({ payments }) => payments.list({ limit: 50, search: 'nobody' }),
    'page'],
  ['health', store => store.health(), 'page'],
  ['outbox.stats (metrics, report)', ({ outbox }) => outbox.stats(), 'page'],
  ['summary of dead letters (metrics, report)', ({ deadLetters }) => deadLetters.summary(), 'page'],
  ['held payments (metrics, report)', heldPayments, 'page'],
  ['clean-up with nothing to delete', store => store.cleanUp(), 'page'],
].map(([name, work, page]) => ({ name, work, isPage: page !== undefined }));

/** A worker that starts, sends a hundred of those that wait, and stops. */
async function claimSome ({ outbox }) {
  let left = 100;
  let done;
  const finished = new Promise(resolve => { done = resolve; });
  const worker = outbox.createWorker({
    channels: { [CHANNELS[1]]: { send: async () => { if (--left === 0) done(); } } },
    batchSize: 100,
  });
  await worker.start();
  await finished;
  await worker.stop();
}

const median = values => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** By size; the sizes take turns, so that a busy minute of the machine is in all of them. */
async function timesOf ({ name, work }, stores) {
  const runs = stores.map(() => []);
  for (let i = 0; i <= RUNS; i++) {
    for (const [place, store] of stores.entries()) {
      const began = performance.now();
      await work(store, `${name}-${i}`);
      // The first one warms up.
      if (i > 0) runs[place].push(performance.now() - began);
    }
  }
  const times = runs.map(median);
  process.stderr.write(`${name}: ${times.map(ms => ms.toFixed(1)).join(', ')} ms\n`);
  return times;
}

/** By row: its times by size. */
async function measure (sizes, rows) {
  const postgres = await startPostgres();
  const stores = [];
  try {
    for (const size of sizes) stores.push(await openFilled(postgres, size));
    const found = [];
    for (const row of rows) found.push(await timesOf(row, stores));
    return found;
  } finally {
    for (const store of stores) await store.close();
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
has that many messages sent, as many dead and as many waiting, in ten channels; as many orders with
a notification each; as many keys. Growth: the largest from one size to the next, where less than
${FLOOR_MS} ms counts as ${FLOOR_MS}. Gates: growth of at most ${GROWTH_MAX} × per factor of ten,
and no page takes over ${PAGE_MS_MAX} ms.`;

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
