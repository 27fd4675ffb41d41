'use strict';

// The store behind PgBouncer: it works in session mode, and is not opened in the other ones.

const { Client, Pool } = require('pg');

const { openStore } = require('../../lib/store');
const { events } = require('../support/outbox-helpers');
const { startPgBouncer } = require('../support/pgbouncer');
const { closeShared, sharedPostgres } = require('../support/postgres');

const OPENINGS = 20;

const opened = [];
const keep = (it, end = () => it.close()) => {
  opened.push(end);
  return it;
};

let server;
beforeAll(async () => { server = await sharedPostgres(); });
afterEach(async () => {
  for (const end of opened.splice(0).reverse()) await end();
});
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

describe.each(['transaction', 'statement'])('in %s mode', mode => {
  const refused = { name: 'StoreError', code: 'ERR_STORE_POOLER', retryable: false };

  test.each([[1, 0], [1, 4], [2, 0], [2, 8], [20, 0], [20, 30]])(
    'with %i connections and %i other clients, each opening is rejected', async (size, others) => {
      const url = await behind({ pool_mode: mode, default_pool_size: size });
      const stop = await makeLoad(url, others);
      try {
        for (let i = 0; i < OPENINGS; i++) {
          const error = await openStore({ url, timeout: 60_000 }).catch(e => e);
          expect(error).toMatchObject(refused);
          expect(error.message).toMatch(/session mode/);
        }
      } finally {
        await stop();
      }
    });

  test('a pooler that takes its connections in turn is noticed', async () => {
    const url = await behind({
      pool_mode: mode, default_pool_size: 5, min_pool_size: 5, server_round_robin: 1,
    });
    for (const others of [2, 3, 5]) {
      const stop = await makeLoad(url, others);
      await expect(openStore({ url, timeout: 60_000 })).rejects.toMatchObject(refused);
      await stop();
      await expect(openStore({ url, timeout: 60_000 })).rejects.toMatchObject(refused);
    }
  });

  test('a pool of the user is rejected as well, and no settings of others change', async () => {
    const url = await behind({ pool_mode: mode, default_pool_size: 1 });
    const pool = new Pool({ connectionString: url, max: 2 });
    keep(pool, () => pool.end());
    await expect(openStore({ pool })).rejects.toMatchObject(refused);
    await expect(openStore({ url, connections: 1 })).rejects.toMatchObject(refused);
    const { rows } = await pool.query('SHOW statement_timeout');
    expect(rows).toEqual([{ statement_timeout: '0' }]);
  });
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
