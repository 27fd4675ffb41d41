'use strict';

// Two stores in two schemas of one database: their rows have the same ids and keys, and each sees
// only its own.

const { once } = require('node:events');

const { Client } = require('pg');

const { CircuitBreaker } = require('../..');
const { Schedule } = require('../../lib/gateway/schedule');
const { openStore } = require('../../lib/store');
const { prefixOf } = require('../../lib/store/sql-client');
const { keep } = require('../support/keep');
const { events, gate, until } = require('../support/outbox-helpers');
const { closeShared, sharedPostgres } = require('../support/postgres');

const SCHEMAS = ['sekering', 'Its "twin"'];
const CHANNELS = { JOB: { maxAttempts: 1 } };
// Nobody finds a message by looking while a test lasts: workers have to hear of it.
const NEVER_MS = 3_600_000;

let url;
let stores;

beforeEach(async () => {
  url = await (await sharedPostgres()).createDatabase();
  stores = [];
});
afterAll(closeShared);

async function open (schema) {
  const store = keep(await openStore({ url, schema, channels: CHANNELS }));
  stores.push(store);
  return store;
}

const openBoth = async () => [await open(SCHEMAS[0]), await open(SCHEMAS[1])];

/** A worker, with what it has sent. */
async function startWorker (store, send = () => {}, options = {}) {
  const sent = [];
  const worker = store.outbox.createWorker({
    channels: { JOB: async message => {
      sent.push(message.body);
      await send(message);
    } }, pollInterval: NEVER_MS, ...options,
  });
  keep(worker, () => worker.stop({ timeout: 0 }));
  await worker.start();
  return { worker, sent };
}

const messages = (name, count) => Array.from({ length: count }, (_, i) => ({
  channel: 'JOB', recipient: 'a', body: `${name} ${i}`, dedupeKey: `key ${i}`, orderKey: 'order',
}));

test('each worker hears of, claims and sends the messages of its own store', async () => {
  const [one, two] = await openBoth();
  const listener = new Client({ connectionString: url });
  await listener.connect();
  keep(listener, () => listener.end());
  const heard = [];
  listener.on('notification', ({ channel }) => heard.push(channel));
  const topics = SCHEMAS.map(schema => `${prefixOf(schema)}outbox`);
  expect(topics[0]).not.toBe(topics[1]);
  for (const topic of topics) await listener.query(`LISTEN "${topic}"`);

  const blocked = gate();
  keep(blocked, () => blocked.resolve());
  const first = await startWorker(one, () => blocked.promise);
  const second = await startWorker(two);

  // The first store's order waits for its first message, the second store's order does not.
  const ids = await one.outbox.enqueue(messages('one', 3));
  await until(() => first.sent.length === 1);
  await listener.query('SELECT 1');
  expect(new Set(heard.splice(0))).toEqual(new Set([topics[0]]));
  const over = events(second.worker, 'sent', 3);
  expect(await two.outbox.enqueue(messages('two', 3))).toEqual(ids);
  await over;
  await listener.query('SELECT 1');
  expect(new Set(heard)).toEqual(new Set([topics[1]]));
  expect(first.sent).toEqual(['one 0']);
  expect(second.sent).toEqual(['two 0', 'two 1', 'two 2']);
  const counts = async store => (await store.outbox.stats({ exact: true })).channels.JOB;
  expect(await counts(one)).toMatchObject({ PENDING: 2, SENDING: 1, SENT: 0 });
  expect(await counts(two)).toMatchObject({ PENDING: 0, SENDING: 0, SENT: 3 });

  const rest = events(first.worker, 'sent', 3);
  blocked.resolve();
  await rest;
  expect(first.sent).toEqual(['one 0', 'one 1', 'one 2']);
  expect(second.sent).toHaveLength(3);
  expect([first, second].map(({ worker }) => worker.stats().fenced)).toEqual([0, 0]);
});

test('a worker leaves lapsed messages of the other store alone', async () => {
  const [one, two] = await openBoth();
  await one.outbox.enqueue(messages('one', 1));
  await two.outbox.enqueue(messages('two', 1));
  for (const store of stores) {
    await store.query(`UPDATE ${store.schema}.notification_outbox SET status = 'SENDING',
      lease_until = now() - interval '1 h', lease_token = 1, lease_owner = 'dead'`);
  }
  const { worker } = await startWorker(two, undefined, { pollInterval: 20 });
  await until(async () => (await two.outbox.list())[0].status !== 'SENDING');
  await worker.stop();
  expect((await one.outbox.list())[0].status).toBe('SENDING');
});

test('keys, orders, dead letters, breakers and jobs are those of one store', async () => {
  const [one, two] = await openBoth();
  for (const store of stores) {
    const name = store.schema;
    expect(await store.idempotency.run('key', async () => name))
      .toEqual({ value: name, replayed: false });
    await store.payments.createOrder({ orderId: 'a', amountMinor: 1n });
    await store.deadLetters.add(messages(name, 1)[0], 'why');
    expect((await store.deadLetters.list()).map(({ body }) => body)).toEqual([`${name} 0`]);
  }
  const breakers = stores.map(() => new CircuitBreaker(async () => {}, { name: 'same' }));
  keep(breakers, () => breakers.forEach(breaker => breaker.shutdown()));
  for (const [i, store] of stores.entries()) await store.fleet.join(breakers[i]);
  const other = new CircuitBreaker(async () => {}, { name: 'same' });
  keep(other, () => other.shutdown());
  const third = await open(SCHEMAS[0]);
  await third.fleet.join(other);
  // Notifications come in their order: after this one the second store has heard the others.
  const probed = gate();
  await two.listen('probe', () => probed.resolve());
  const isOpen = once(other, 'open');
  breakers[0].open();
  await isOpen;
  await one.query('NOTIFY probe');
  await probed.promise;
  expect(breakers[1].closed).toBe(true);
  expect(await two.fleet.list()).toEqual([]);

  const blocked = gate();
  keep(blocked, () => blocked.resolve());
  const began = gate();
  const scheduleOf = (store, run) => new Schedule({
    store, timezone: 'UTC', jobs: { job: { pattern: false, run } }, onDone: () => {},
  });
  const running = scheduleOf(one, () => {
    began.resolve();
    return blocked.promise;
  }).run('job');
  await began.promise;
  expect(await scheduleOf(two, () => {}).run('job')).toBe(true);
  expect(await scheduleOf(one, () => {}).run('job')).toBe(false);
  blocked.resolve();
  expect(await running).toBe(true);
});

test('migrations and clean-ups of one store leave the other alone', async () => {
  const one = await open(SCHEMAS[0]);
  await one.outbox.enqueue(messages('one', 5));
  const worker = await startWorker(one);
  await until(async () => (await one.outbox.list()).every(({ status }) => status === 'SENT'));
  await worker.worker.stop();
  /** All tables and indexes as they are stored, and all rows of messages and migrations. */
  const seen = async () => [
    (await one.query(`SELECT relname, relfilenode FROM pg_class WHERE relnamespace =
      (SELECT oid FROM pg_namespace WHERE nspname = $1) ORDER BY relname`, [SCHEMAS[0]])).rows,
    (await one.query(`SELECT *, xmin::text FROM ${one.schema}.migrations ORDER BY version`)).rows,
    (await one.query(
      `SELECT *, xmin::text FROM ${one.schema}.notification_outbox ORDER BY id`)).rows,
  ];
  const before = await seen();
  expect(before[2]).toHaveLength(5);

  const two = await open(SCHEMAS[1]);
  await two.outbox.enqueue(messages('two', 5));
  await startWorker(two);
  await until(async () => (await two.outbox.list()).every(({ status }) => status === 'SENT'));
  expect(await two.cleanUp({ sent: 0, dead: 0, idempotency: 0 })).toMatchObject({ sent: 5 });
  expect(await two.outbox.list()).toEqual([]);
  expect(await seen()).toEqual(before);
  await two.query(`DROP SCHEMA ${two.schema} CASCADE`);
  expect(await seen()).toEqual(before);
  await (await open(SCHEMAS[1])).outbox.enqueue(messages('two', 1));
  expect(await seen()).toEqual(before);
});
