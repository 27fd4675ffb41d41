'use strict';

// A database that takes no writes, or no connections: a standby, a primary that was made read-only,
// a full server. The store says so, loses nothing, and works again by itself.

const { once } = require('node:events');
const net = require('node:net');

const { Client, Pool } = require('pg');

const { openStore } = require('../../lib/store');
const { SECRETS, order, startAll, until } = require('../support/gateway-helpers');
const { keep } = require('../support/keep');
const { HOSTILE, startPostgres } = require('../support/postgres');

const READ_ONLY = { code: 'ERR_STORE_READ_ONLY', retryable: true };

// A hot standby has no serializable transactions, whatever is the default.
const SERVERS = [['usual settings', {}], ['hostile settings', HOSTILE]];

const CHANNELS = { JOB: { backoff: { strategy: 'fixed', minTimeout: 20 } } };
// The server allows 600 requests in a minute.
const PATIENCE_MS = 120_000;

const MESSAGE = { channel: 'JOB', recipient: 'a', body: 'x' };

/** An address that moves from server to server, as that of a cluster does. */
async function startAddress () {
  const sockets = new Set();
  const address = { port: undefined };
  const listener = net.createServer(socket => {
    const upstream = net.connect(address.port, '127.0.0.1');
    for (const [one, other] of [[socket, upstream], [upstream, socket]]) {
      sockets.add(one);
      one.on('error', () => {}).on('close', () => {
        sockets.delete(one);
        other.destroy();
      }).pipe(other);
    }
  }).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  keep({ close: () => {
    for (const socket of sockets) socket.destroy();
    listener.close();
  } });
  return Object.assign(address, {
    urlOf: database => `postgres://postgres@127.0.0.1:${listener.address().port}/${database}`,
  });
}

const databaseOf = url => new URL(url).pathname.slice(1);

/** A worker on a store, what it has sent, and the warnings of both. */
async function startWorker (store, send = () => {}) {
  const sent = [];
  const warnings = [];
  const worker = store.outbox.createWorker({ channels: { JOB: async ({ recipient }) => {
    sent.push(recipient);
    await send();
  } }, pollInterval: 50 });
  for (const one of [worker, store]) one.on('warning', error => warnings.push(error));
  await worker.start();
  keep({ close: () => worker.stop() });
  return { sent, warnings };
}

test.each(SERVERS)('%s: a gateway whose database is made read-only says so, and heals', async (
  _, settings) => {
  const server = keep(await startPostgres(settings));
  const url = await server.createDatabase();
  const it = keep(await startAll({ url }, { degradation: { hysteresis: 0 } }));
  const { gateway } = it;
  const make = id => gateway.payments.createOrder(order(id));
  expect(await make('before')).toMatchObject({ queued: false });
  expect((await it.ask('/health/ready')).status).toBe(200);

  await server.query(`ALTER DATABASE ${databaseOf(url)} SET default_transaction_read_only = on`);
  await server.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = '${databaseOf(url)}'`);
  const { body } = await until(async () => {
    const ready = await it.ask('/health/ready');
    const all = await it.ask('/health/detailed', { token: SECRETS.readToken });
    return ready.status === 503 && all.status === 503 && all;
  }, PATIENCE_MS, 500);
  expect(body.status).toBe('unhealthy');
  expect(body.checks.database).toMatchObject({ error: 'ERR_STORE_READ_ONLY', status: 'unhealthy' });
  expect(await gateway.store.health()).toMatchObject({
    ok: false, code: 'ERR_STORE_READ_ONLY', error: expect.stringContaining('read-only'),
  });
  await until(() => gateway.degradation.level.name === 'DEGRADED');
  const refused = await make('meanwhile').catch(error => error);
  expect(['ERR_STORE_READ_ONLY', 'EOPENBREAKER']).toContain(refused.code);
  await expect(openStore({ url })).rejects.toMatchObject(READ_ONLY);
  expect(it.midtrans.orders.has('meanwhile')).toBe(false);

  // Sessions that are open stay read-only.
  await server.query(`ALTER DATABASE ${databaseOf(url)} RESET default_transaction_read_only`);
  await until(async () => (await it.ask('/health/ready')).status === 200, PATIENCE_MS, 500);
  await until(() => gateway.degradation.level.name === 'NORMAL');
  expect(await until(() => make('meanwhile').catch(() => false))).toMatchObject({ queued: false });
});

test.each(SERVERS)(
  '%s: a message that was sent when its database became read-only is not sent again',
  async (_, settings) => {
    const server = keep(await startPostgres(settings));
    const store = keep(await openStore({ url: await server.createDatabase(), channels: CHANNELS }));
    const setReadOnly = async value => {
      const client = new Client({ connectionString: server.url });
      await client.connect();
      await client.query('SET default_transaction_read_only = off');
      await client.query(`ALTER SYSTEM SET default_transaction_read_only = ${value}`);
      await client.query('SELECT pg_reload_conf()');
      await client.end();
    };
    let answer;
    const answered = new Promise(resolve => { answer = resolve; });
    const { sent, warnings } = await startWorker(store, () => answered);
    const { id } = await store.outbox.enqueue(MESSAGE);
    await until(() => sent.length === 1);
    await setReadOnly('on');
    await until(async () => (await store.health()).code === READ_ONLY.code);
    warnings.splice(0);
    answer();
    await until(() => warnings.some(({ code }) => code === READ_ONLY.code));
    await setReadOnly('off');
    await until(async () => (await store.outbox.get(id)).status === 'SENT');
    expect(sent).toEqual(['a']);
  });

test.each(SERVERS)(
  '%s: a failover: on the standby nothing is claimed, and once it is promoted all goes on',
  async (_, settings) => {
    const primary = keep(await startPostgres(settings));
    const database = databaseOf(await primary.createDatabase());
    const address = await startAddress();
    address.port = primary.port;
    const url = address.urlOf(database);
    const store = keep(await openStore({ url, channels: CHANNELS }));
    const recipients = Array.from({ length: 20 }, (_, i) => `before ${i}`);
    await store.outbox.enqueue(recipients.map(recipient => ({ ...MESSAGE, recipient })));
    const standby = keep(await primary.startStandby());
    const { rows: [{ end }] } = await primary.query('SELECT pg_current_wal_lsn() AS end');
    await until(async () => (await standby.query(`SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
      SELECT pg_last_wal_replay_lsn() >= '${end}' AS is`)).at(-1).rows[0].is);

    address.port = standby.port;
    await primary.stop('immediate');
    await until(async () => (await store.health()).code === READ_ONLY.code);
    const { sent, warnings } = await startWorker(store);
    await until(() => warnings.some(({ code }) => code === READ_ONLY.code));
    await expect(store.outbox.enqueue(MESSAGE)).rejects.toMatchObject(READ_ONLY);
    await expect(store.idempotency.run('key', async () => 1)).rejects.toMatchObject(READ_ONLY);
    await expect(openStore({ url })).rejects.toMatchObject(READ_ONLY);
    const pool = keep(new Pool({ connectionString: url }), () => pool.end());
    await expect(openStore({ pool })).rejects.toMatchObject(READ_ONLY);
    expect(sent).toEqual([]);

    await standby.promote();
    await until(async () => (await store.health()).ok);
    const last = { ...MESSAGE, recipient: 'after' };
    await until(() => store.outbox.enqueue(last).catch(() => false));
    await until(() => sent.length === recipients.length + 1);
    expect(sent.sort()).toEqual([...recipients, 'after'].sort());
    expect(await store.idempotency.run('key', async () => 2)).toMatchObject({ value: 2 });
    await (await openStore({ url })).close();
  });

test('a server without a free connection: a clear error, and all goes on later', async () => {
  const server = keep(await startPostgres({
    max_connections: 10, superuser_reserved_connections: 3,
  }));
  const database = databaseOf(await server.createDatabase());
  await server.query(`CREATE ROLE app LOGIN; GRANT CREATE ON DATABASE ${database} TO app`);
  const url = server.urlOf(database, 'app');
  const store = keep(await openStore({ url, channels: CHANNELS }));
  const { sent } = await startWorker(store);
  const others = [];
  const fill = async () => {
    for (;;) {
      const client = new Client({ connectionString: url });
      client.on('error', () => {});
      try {
        await client.connect();
      } catch (error) {
        return error.code;
      }
      others.push(client);
    }
  };
  expect(await fill()).toBe('53300');
  const full = {
    code: 'ERR_STORE_UNREACHABLE', retryable: true, sqlState: '53300',
    message: expect.stringMatching(/cannot be reached: .*connection/),
  };
  await expect(openStore({ url })).rejects.toMatchObject(full);
  const ids = Array.from({ length: 40 }, (_, i) => `${i}`);
  const outcomes = await Promise.allSettled(ids.map(recipient =>
    store.outbox.enqueue({ ...MESSAGE, recipient })));
  for (const { reason } of outcomes) if (reason) expect(reason).toMatchObject(full);
  for (const client of others) await client.end();
  await Promise.all(ids.filter((_, i) => outcomes[i].status === 'rejected').map(recipient =>
    until(() => store.outbox.enqueue({ ...MESSAGE, recipient }).catch(() => false))));
  await until(() => sent.length >= ids.length);
  expect(sent.sort()).toEqual([...ids].sort());
  expect(await store.health()).toMatchObject({ ok: true });
});
