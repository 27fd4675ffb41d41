'use strict';

// Counts of messages, where there are many: they take no longer than where there are half as many,
// what is rare is counted exactly, and what is not is about right.

const { Pool } = require('pg');

const { openStore } = require('../../lib/store');
const { closeShared, sharedPostgres } = require('../support/postgres');

const ABOUT = 0.15;
const MANY = 30_000;

let pool;
let store;
/** What a sample or a count was asked for. */
let asked = [];

beforeAll(async () => {
  pool = new Pool({ connectionString: await (await sharedPostgres()).createDatabase() });
  pool.on('connect', client => {
    const query = client.query;
    client.query = function (given, ...rest) {
      if (/TABLESAMPLE|dead_kind/.test(given.text)) asked.push(given);
      return query.call(this, given, ...rest);
    };
  });
  store = await openStore({ pool, channels: { BIG: {}, SMALL: {}, NONE: {} } });
  const add = (count, channel, status, more = {}) => store.query(`
    INSERT INTO sekering.notification_outbox (channel, recipient, body, status, order_key,
      crash_count, urgency, dead_kind, next_retry_at)
    SELECT '${channel}', 'r', repeat('x', 300), '${status}', ${more.key ?? 'NULL'},
      ${more.crashes ?? 0}, ${more.urgency ?? 0}, ${more.kind ?? 'NULL'},
      now() - ${more.seconds ?? 1} * interval '1 s' + (i % 100) * interval '1 ms'
    FROM generate_series(1, ${count}) AS i`);
  await add(MANY, 'BIG', 'PENDING');
  await add(7, 'BIG', 'RETRYING', { urgency: 5, seconds: 900 });
  await add(MANY, 'BIG', 'PENDING', { key: "'k' || i" });
  await add(MANY, 'BIG', 'DLQ', { kind: "'A'" });
  await add(MANY, 'BIG', 'SENT');
  await add(5, 'SMALL', 'PENDING', { urgency: -100 });
  await add(4, 'SMALL', 'RETRYING', { crashes: 2 });
  await add(3, 'SMALL', 'RETRYING', { key: "'k' || i" });
  await add(2, 'SMALL', 'SENDING', { key: "'s' || i" });
  await add(2, 'SMALL', 'DLQ', { kind: "'B'" });
  await store.query('ANALYZE sekering.notification_outbox');
});
afterAll(async () => {
  await store?.close();
  await pool?.end();
  await closeShared();
});
beforeEach(() => { asked = []; });

function expectAbout (found, expected) {
  expect(Math.abs(found / expected - 1)).toBeLessThan(ABOUT);
}

/** How many rows of the table the statements looked at that were asked for. */
async function rowsRead () {
  const rowsOf = ({ Plans: parts = [], ...plan }) =>
    parts.reduce((sum, part) => sum + rowsOf(part), plan['Relation Name'] === undefined ? 0
      : (plan['Actual Rows'] + (plan['Rows Removed by Filter'] ?? 0)) * plan['Actual Loops']);
  let sum = 0;
  for (const { text, values } of [...asked]) {
    const { rows: [row] } = await pool.query(`EXPLAIN (ANALYZE, FORMAT JSON) ${text}`, values);
    sum += rowsOf(row['QUERY PLAN'][0].Plan);
  }
  return sum;
}

const none = { PENDING: 0, SENDING: 0, RETRYING: 0, SENT: 0, DLQ: 0, CANCELLED: 0 };

test('what is rare is exact, what is not is about right', async () => {
  const { channels: { BIG, SMALL, NONE }, waiting, oldestMs, sampled } = await store.outbox.stats();
  expect(sampled).toBe(true);
  expect(SMALL).toEqual({ ...none, PENDING: 5, RETRYING: 7, SENDING: 2, DLQ: 2 });
  expect(NONE).toEqual(none);
  expectAbout(BIG.PENDING, 2 * MANY);
  expect(BIG.RETRYING).toBe(7);
  expectAbout(BIG.DLQ, MANY);
  expectAbout(BIG.SENT, MANY);
  expectAbout(waiting, 2 * MANY);
  // Of the lowest priority, behind all others.
  expect(oldestMs).toBeGreaterThanOrEqual(899_000);
});

test('all of the table, if that is asked for', async () => {
  const { channels: { BIG, SMALL }, waiting, sampled } = await store.outbox.stats({ exact: true });
  expect(sampled).toBe(false);
  expect(BIG).toEqual({ ...none, PENDING: 2 * MANY, RETRYING: 7, DLQ: MANY, SENT: MANY });
  expect(SMALL).toEqual({ ...none, PENDING: 5, RETRYING: 7, SENDING: 2, DLQ: 2 });
  expect(waiting).toBe(2 * MANY + 7 + 14);
});

test('dead letters by channel and kind', async () => {
  const [big, small, ...rest] = await store.deadLetters.summary();
  expect(rest).toEqual([]);
  expect(small).toEqual({ channel: 'SMALL', kind: 'B', count: 2 });
  expect(big).toMatchObject({ channel: 'BIG', kind: 'A' });
  expectAbout(big.count, MANY);
});

test('they read no more rows when there are twice as many', async () => {
  const count = async () => {
    await store.outbox.stats();
    await store.deadLetters.summary();
    return rowsRead();
  };
  const before = await count();
  await store.query(`INSERT INTO sekering.notification_outbox (channel, recipient, body, status,
      order_key, crash_count, urgency, dead_kind, next_retry_at)
    SELECT channel, recipient, body, status, order_key || 'again', crash_count, urgency, dead_kind,
      next_retry_at FROM sekering.notification_outbox WHERE channel = 'BIG'`);
  await store.query('ANALYZE sekering.notification_outbox');
  asked = [];
  expect(await count()).toBeLessThan(before * 1.1);
  const { channels: { BIG, SMALL } } = await store.outbox.stats();
  expectAbout(BIG.PENDING, 4 * MANY);
  expect(SMALL).toMatchObject({ PENDING: 5, RETRYING: 7, SENDING: 2, DLQ: 2 });
});
