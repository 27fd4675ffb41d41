'use strict';

// The store behind PgBouncer: it works in session and transaction mode, and is not opened in
// statement mode.

const { once } = require('node:events');

const { Client, Pool } = require('pg');

const { CircuitBreaker } = require('../../lib');
const { openStore } = require('../../lib/store');
const { keep } = require('../support/keep');
const { events } = require('../support/outbox-helpers');
const { startPgBouncer } = require('../support/pgbouncer');
const { closeShared, sharedPostgres } = require('../support/postgres');

const OPENINGS = 5;

let server;
beforeAll(async () => { server = await sharedPostgres(); });
afterAll(closeShared);

async function behind (settings) {
  const bouncer = keep(await startPgBouncer(server, settings));
  return bouncer.throughOf(await server.createDatabase());
}

/** Others who use the pooler all the time, each of them one connection. */
async function makeLoad (url, count) {
  const load = { isOver: false };
  const clients = await Promise.all(Array.from({ length: count }, async () => {
    const client = new Client({ connectionString: url });
    // After a test that has failed, the pooler may end first.
    client.on('error', () => {});
    await client.connect();
    return client;
  }));
  const work = clients.map(async client => {
    while (!load.isOver) await client.query('SELECT 1');
    await client.end();
  });
  return async () => {
    load.isOver = true;
    await Promise.all(work);
  };
}

describe('in session mode', () => {
  test('the store opens, sends, is notified, and does work once', async () => {
    const url = await behind({ pool_mode: 'session', default_pool_size: 40 });
    const channels = { JOB: {} };
    const one = keep(await openStore({ url, channels }));
    const two = keep(await openStore({ url, channels }));
    const sent = [];
    // Only news can wake it within the time of this test.
    const worker = one.outbox.createWorker({
      channels: { JOB: async ({ body }) => { sent.push(body); } }, pollInterval: 600_000,
    });
    await worker.start();
    keep(worker, () => worker.stop());
    for (const body of ['a', 'b', 'c']) {
      const arrival = events(worker, 'sent');
      await two.outbox.enqueue({ channel: 'JOB', recipient: 'x', body });
      await arrival;
    }
    expect(sent).toEqual(['a', 'b', 'c']);
    const work = jest.fn(async () => 'done');
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) =>
      [one, two][i % 2].idempotency.run('key', work, { wait: 60_000 })));
    expect(answers.map(({ value }) => value)).toEqual(Array(20).fill('done'));
    expect(work).toHaveBeenCalledTimes(1);
  });

  test('the timeouts are those of a direct connection', async () => {
    const url = await behind({ pool_mode: 'session' });
    const store = keep(await openStore({ url, timeout: 7000 }));
    const { rows } = await store.query(`SELECT current_setting('statement_timeout') AS statement,
      current_setting('idle_in_transaction_session_timeout') AS idle`);
    expect(rows).toEqual([{ statement: '7s', idle: '2min' }]);
  });

  test('connections that others have used work as new ones', async () => {
    const url = await behind({ pool_mode: 'session', default_pool_size: 3 });
    for (let i = 0; i < 5; i++) {
      const store = await openStore({ url, connections: 1 });
      await store.outbox.enqueue({ channel: 'EMAIL', recipient: 'a@b.c', subject: 's', body: 'b' });
      await store.close();
    }
  });
});

/** A pooler that switches server connections as badly as it can, and shares them with others. */
const IN_TURN = {
  pool_mode: 'transaction', default_pool_size: 5, min_pool_size: 5, server_round_robin: 1,
};

/** What is left in the sessions behind a pooler; each is asked several times. */
async function leftovers (url) {
  const client = new Client({ connectionString: url });
  await client.connect();
  const found = new Set();
  for (let i = 0; i < 25; i++) {
    const { rows: [row] } = await client.query(`SELECT
      current_setting('statement_timeout') AS limit,
      current_setting('datestyle') AS style, current_setting('search_path') AS path,
      (SELECT count(*)::int FROM pg_prepared_statements) AS prepared,
      (SELECT count(*)::int FROM pg_listening_channels()) AS listening`);
    found.add(JSON.stringify(row));
  }
  await client.end();
  return [...found].map(text => JSON.parse(text));
}

describe('in transaction mode', () => {
  test.each([[1, 0], [1, 4], [2, 0], [2, 8], [20, 0], [20, 30]])(
    'with %i connections and %i other clients, it is noticed and works', async (size, others) => {
      const url = await behind({ pool_mode: 'transaction', default_pool_size: size });
      const stop = await makeLoad(url, others);
      for (let i = 0; i < 5; i++) {
        const store = await openStore({ url, timeout: 60_000, channels: { JOB: {} } });
        expect(await store.health()).toMatchObject({ ok: true, pooled: true });
        await store.outbox.enqueue({ channel: 'JOB', recipient: 'x', body: String(i) });
        expect(await store.outbox.list()).toHaveLength(i + 1);
        await store.close();
      }
      await stop();
    });

  test('messages are sent once, and work is done once, whoever else uses it', async () => {
    const url = await behind(IN_TURN);
    const stop = await makeLoad(url, 3);
    const channels = { JOB: {} };
    const stores = [];
    for (let i = 0; i < 2; i++) {
      stores.push(keep(await openStore({ url, channels, timeout: 60_000 })));
    }
    const sent = [];
    const workers = stores.map(({ outbox }) => outbox.createWorker({
      channels: { JOB: { send: async ({ body }) => { sent.push(body); }, concurrency: 5 } },
    }));
    const all = new Promise(resolve => {
      let settled = 0;
      for (const worker of workers) worker.on('sent', () => { if (++settled === 200) resolve(); });
    });
    for (const worker of workers) {
      worker.on('warning', error => { throw error; });
      await worker.start();
      keep(worker, () => worker.stop());
    }
    const bodies = Array.from({ length: 200 }, (_, i) => String(i));
    await Promise.all(bodies.map((body, i) =>
      stores[i % 2].outbox.enqueue({ channel: 'JOB', recipient: 'x', body, dedupeKey: body })));
    const work = jest.fn(async () => 'done');
    const answers = await Promise.all(Array.from({ length: 30 }, (_, i) =>
      stores[i % 2].idempotency.run('key', work, { wait: 60_000 })));
    expect(answers.map(({ value }) => value)).toEqual(Array(30).fill('done'));
    expect(work).toHaveBeenCalledTimes(1);
    await all;
    // Leaves time for messages to be sent twice by mistake.
    await stop();
    for (const worker of workers) await worker.stop();
    expect(sent.sort()).toEqual(bodies.sort());
    expect(await stores[0].outbox.list({ status: 'SENT', limit: 1000 })).toHaveLength(200);
  });

  test('sessions of others stay unchanged, and their settings do no harm', async () => {
    const url = await behind(IN_TURN);
    const before = await leftovers(url);
    expect(before).toHaveLength(1);
    const store = keep(await openStore({ url, channels: { JOB: {} } }));
    const at = new Date('2026-02-03T04:05:06.789Z');
    await Promise.all(Array.from({ length: 20 }, () =>
      store.outbox.enqueue({ channel: 'JOB', recipient: 'x', body: 'y' })));
    expect(await leftovers(url)).toEqual(before);
    const rude = new Client({ connectionString: url });
    await rude.connect();
    for (let i = 0; i < 25; i++) {
      await rude.query('SET datestyle = \'German\'; SET search_path = public, pg_catalog');
      const { rows } = await store.query('SELECT $1::timestamptz AS at', [at]);
      expect(rows).toEqual([{ at }]);
      const { createdAt } = (await store.outbox.list())[0];
      expect(createdAt).toBeInstanceOf(Date);
    }
    await rude.end();
  });

  test('a pool of the user works as well', async () => {
    const url = await behind(IN_TURN);
    const pool = new Pool({ connectionString: url, max: 3 });
    keep(pool, () => pool.end());
    const before = await leftovers(url);
    const store = keep(await openStore({ pool, channels: { JOB: {} } }));
    await Promise.all(Array.from({ length: 20 }, (_, i) =>
      store.outbox.enqueue({ channel: 'JOB', recipient: 'x', body: String(i) })));
    expect(await store.outbox.list()).toHaveLength(20);
    expect(await leftovers(url)).toEqual(before);
  });

  test('without directUrl processes poll, and warn once', async () => {
    const url = await behind(IN_TURN);
    const [one, two] = [await openStore({ url }), await openStore({ url })].map(it => keep(it));
    const warnings = [];
    two.on('warning', error => warnings.push(error));
    const [mine, theirs] = ['a', 'b'].map(() => new CircuitBreaker(async () => {}, { name: 'x' }));
    await one.fleet.join(mine);
    await two.fleet.join(theirs);
    await two.listen('other', () => {});
    const opened = once(theirs, 'open');
    mine.open();
    await opened;
    expect(warnings.map(({ code }) => code)).toEqual(['ERR_STORE_DEAF']);
    for (const breaker of [mine, theirs]) breaker.shutdown();
  });

  test('with directUrl they are notified', async () => {
    const directUrl = await server.createDatabase();
    const { throughOf } = keep(await startPgBouncer(server, IN_TURN));
    const store = keep(await openStore({ url: throughOf(directUrl), directUrl }));
    store.on('warning', error => { throw error; });
    let hear;
    const heard = new Promise(resolve => { hear = resolve; });
    await store.listen('news', hear);
    await store.query('SELECT pg_notify($1, $2)', ['news', 'good']);
    expect(await heard).toBe('good');
    await expect(openStore({ url: throughOf(directUrl), directUrl: throughOf(directUrl) })).rejects
      .toMatchObject({ code: 'ERR_INVALID_OPTION', option: 'directUrl' });
    await expect(openStore({ memory: true, directUrl })).rejects
      .toMatchObject({ code: 'ERR_INVALID_OPTION', option: 'directUrl' });
  });
});

test('in statement mode openStore always rejects', async () => {
  const refused = { name: 'StoreError', code: 'ERR_STORE_POOLER', retryable: false };
  for (const [size, others] of [[1, 0], [1, 4], [20, 0], [20, 30]]) {
    const url = await behind({ pool_mode: 'statement', default_pool_size: size });
    const stop = await makeLoad(url, others);
    for (let i = 0; i < OPENINGS; i++) {
      await expect(openStore({ url, timeout: 60_000 })).rejects.toMatchObject(refused);
    }
    await stop();
  }
});

test.each(['session', 'transaction'])(
  'a transaction of the user may go through a pooler in %s mode', async mode => {
    const url = await server.createDatabase();
    const store = keep(await openStore({ url, channels: { JOB: {} } }));
    const { throughOf } = keep(await startPgBouncer(server,
      { pool_mode: mode, default_pool_size: 5, min_pool_size: 5, server_round_robin: 1 }));
    const client = new Client({ connectionString: throughOf(url) });
    await client.connect();
    const stop = await makeLoad(throughOf(url), 2);
    for (let i = 0; i < 20; i++) {
      await client.query('BEGIN');
      await store.outbox.enqueue({ channel: 'JOB', recipient: 'x', body: String(i) }, { client });
      await client.query('COMMIT');
    }
    await stop();
    await client.end();
    expect(await store.outbox.list()).toHaveLength(20);
  });

test('a startup parameter that a pooler rejects is not retryable, a full pooler is', async () => {
  const url = await behind({ pool_mode: 'session' });
  await expect(openStore({ url: `${url}?options=-cjit%3Doff` })).rejects
    .toMatchObject({ code: 'ERR_STORE_UNREACHABLE', sqlState: '08P01', retryable: false });
  const { throughOf } = keep(await startPgBouncer(server,
    { pool_mode: 'session', max_client_conn: 1 }));
  const busy = new Client({ connectionString: throughOf(server.url) });
  await busy.connect();
  await expect(openStore({ url: throughOf(server.url) })).rejects
    .toMatchObject({ code: 'ERR_STORE_UNREACHABLE', sqlState: '08P01', retryable: true });
  await busy.end();
});
