'use strict';

// The bench of shards in small: two databases, each with its gateway, and one of them goes away.
// Times are the bench's to judge; here nothing may be lost, made twice, or come to another shard.
// SEKERING_CHAOS_SECONDS: it also stands still, which takes as long as its gateway waits for it.

const { trial } = require('../bench/shards/partitions');
const { periods, turns, vacuumsOf } = require('../bench/shards/retention');
const { shardOf } = require('../bench/shards/routes');
const { absence, costs, strangers } = require('../bench/shards/runs');
const { openShards } = require('../bench/shards/servers');

const WAYS = process.env.SEKERING_CHAOS_SECONDS ? ['stopped', 'frozen'] : ['stopped'];

let shards;
beforeAll(async () => { shards = await openShards({ count: 2 }); });
afterAll(() => shards?.close());

/** Ids of so many orders of a shard. */
function idsOf (prefix, shard, count) {
  const ids = [];
  for (let n = 0; ids.length < count; n++) {
    const id = `${prefix}-${n}`;
    if (shardOf(id, shards.count) === shard) ids.push(id);
  }
  return ids;
}

/**
 * Orders for the second shard and then for the first: few at first, and then, while the second one
 * is away, so many that its gateway gives up on its database before the others come.
 */
function loads () {
  let count = 4;
  return async prefix => {
    const ids = [...idsOf(prefix, 1, count), ...idsOf(prefix, 0, count)];
    count = 24;
    return shards.load.ask('again', { urls: shards.urls(), ids, concurrency: 8 });
  };
}

test('what an order costs is measured on one shard and on two', async () => {
  const [one, two] = await costs(shards,
    { counts: [1, 2], rounds: 1, orders: () => 20, concurrency: () => 1 });
  expect(one.ratios.statements).toMatchObject({ value: 1 });
  expect(two).toMatchObject({ count: 2, rate: expect.any(Number) });
  expect(two.times).toHaveLength(20);
});

test('no statement names an order of another shard', async () => {
  const found = await strangers(shards, 40);
  expect(found).toMatchObject({ orders: 40, strangers: 0, elsewhere: 0 });
  expect(found.named).toBeGreaterThan(40);
});

test.each(WAYS)('while a database is %s only its own orders wait', async way => {
  const found = await absence(shards, { way, shard: 1, load: loads() });
  expect(found.its).toMatchObject({ orders: 24, taken: 0, statuses: { 503: 24 } });
  expect(found.others).toMatchObject({ orders: 24, taken: 24 });
  expect(found).toMatchObject({ missing: 0, wrong: 0, elsewhere: 0 });
  expect(found.sums).toMatchObject({ open: 0, lost: 0, unmade: 0, others: 0, twice: 0 });
});

test('retention deletes while messages are sent', async () => {
  const found = await turns({ size: 5000, count: 1000, rounds: 1, every: 200 });
  expect(found.deletedShare).toBeGreaterThan(0);
  expect(found.alone.deleted).toBeGreaterThan(0);
  const { found: sizes } = await periods({ size: 5000, count: 2, every: 200 });
  expect(sizes.map(({ period }) => period)).toEqual([0, 1, 2]);
  expect(sizes.at(-1).rows).toBeLessThan(15_000);
});

test('what PostgreSQL 15 writes down of a vacuum is read', () => {
  const vacuum = table => `2026 UTC [7] LOG:  automatic vacuum of table "${table}": index scans: 1
  pages: 0 removed, 24051 remain, 2565 scanned (10.66% of total)
  tuples: 20568 removed, 972894 remain, 300 are dead but not yet removable
  index "notification_outbox_pkey": pages: 3398 in total, 41 newly deleted, 68 currently deleted
  buffer usage: 10150 hits, 3560 misses, 2912 dirtied
  WAL usage: 6004 records, 2504 full page images, 9786123 bytes
  system usage: CPU: user: 0.11 s, system: 0.02 s, elapsed: 0.62 s
`;
  const [ours, other] = ['test_1.sekering.notification_outbox', 'test_1.pg_toast.pg_toast_16']
    .map(vacuum);
  expect(vacuumsOf(ours + other + ours)).toEqual({
    runs: 2, pages: 5130, rows: 41_136, wal: 19_572_246, cpu: 0.26, seconds: 1.24,
  });
});

test('a partitioned outbox is claimed and settled by the same statements', async () => {
  const found = await trial({ history: 1000, waiting: 3000, rounds: 1, counts: [4] });
  expect(found.map(({ partitions }) => partitions)).toEqual([1, 4]);
  expect(found[1].locks.look.all).toBeGreaterThan(found[0].locks.look.all);
  expect(found[1].dropped).toMatchObject({ mode: 'AccessExclusiveLock' });
});
