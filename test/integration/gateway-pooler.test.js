'use strict';

// A whole gateway behind PgBouncer in transaction mode, which restarts while it works: with the
// address of the database itself for LISTEN, and without.

const { once } = require('node:events');

const { main } = require('../../lib/cli');
const { SECRETS, order, startAll, until: within } = require('../support/gateway-helpers');
const { keep } = require('../support/keep');
const { gate } = require('../support/outbox-helpers');
const { startPgBouncer } = require('../support/pgbouncer');
const { closeShared, sharedPostgres } = require('../support/postgres');

const { shopToken, operateToken } = SECRETS;
/** Each transaction gets another connection to the server. */
const IN_TURN = {
  pool_mode: 'transaction', default_pool_size: 5, min_pool_size: 5, server_round_robin: 1,
};
const EACH_SECOND = '* * * * * *';
const PATIENCE_MS = 300_000;
const PAUSE_MS = 50;
const ORDERS = 6;
const MESSAGES = 20;

afterAll(closeShared);

const until = check => within(check, PATIENCE_MS, PAUSE_MS);
const numbers = (word, count) => Array.from({ length: count }, (_, i) => `${word}-${i}`);

/** What `sekering migrate` answers. */
async function migrate (url) {
  const write = jest.spyOn(process.stdout, 'write').mockReturnValue(true);
  try {
    await main([process.execPath, 'sekering', '--url', url, '--json', 'migrate']);
    return JSON.parse(write.mock.calls.map(([text]) => text).join(''));
  } finally {
    write.mockRestore();
  }
}

/** A gateway behind a pooler; what its senders and hooks were called with, in order. */
async function startBehind (isDirect) {
  const server = await sharedPostgres();
  const directUrl = await server.createDatabase();
  const pooler = keep(await startPgBouncer(server, IN_TURN));
  const url = pooler.throughOf(directUrl);
  expect((await migrate(url)).applied).not.toEqual([]);
  expect((await migrate(url)).applied).toEqual([]);
  const calls = { sent: [], paid: [], jobs: 0 };
  const held = { started: gate(), release: gate() };
  const send = async ({ body, attempt }) => {
    if (body === 'bad' && calls.isMended !== true) {
      throw Object.assign(new Error('no'), { retryable: false });
    }
    calls.sent.push(body);
    if (body !== 'held') return;
    held.started.resolve(attempt);
    await held.release.promise;
  };
  const it = keep(await startAll({ url }, {
    store: { migrate: false, ...isDirect && { directUrl } },
    schedule: { cleanUp: EACH_SECOND },
  }, {
    senders: { JOB: send }, hooks: { onPaid: ({ orderId }) => { calls.paid.push(orderId); } },
  }));
  it.gateway.on('job', ({ error }) => { if (error === undefined) calls.jobs++; });
  return { ...it, pooler, calls, held };
}

/** As a client does: repeats what was answered with 503, or not at all. */
async function post (it, path, body, headers) {
  return until(async () => {
    const answer = await it.ask(path, { token: shopToken, body, headers }).catch(() => undefined);
    return answer !== undefined && answer.status < 500 && answer;
  });
}

/** Orders with a key that are paid, and messages. Each answer is 2xx. */
async function work (it, name) {
  const pay = async id => {
    const headers = { 'idempotency-key': `"${id}"` };
    const first = await post(it, '/orders', order(id), headers);
    expect(first.status).toBe(201);
    expect((await post(it, '/orders', order(id), headers)).text).toBe(first.text);
    it.midtrans.choose(id);
    it.midtrans.settle(id);
    const [notice] = it.midtrans.notifications(id, { latest: true });
    expect((await post(it, '/webhooks/midtrans', notice)).status).toBe(200);
  };
  const tell = async body => {
    const message = { channel: 'JOB', recipient: 'x', body, dedupeKey: body };
    expect((await post(it, '/notifications', message)).status).toBeLessThan(300);
  };
  await Promise.all([
    ...numbers(`order-${name}`, ORDERS).map(pay), ...numbers(name, MESSAGES).map(tell),
  ]);
}

const sorted = list => [...list].sort();

describe.each([['with direct_url', true], ['without direct_url', false]])('%s', (_, isDirect) => {
  test('nothing is lost or done twice when the pooler restarts', async () => {
    const it = await startBehind(isDirect);
    const { calls, gateway, held, pooler } = it;
    expect(await gateway.store.health()).toMatchObject({ ok: true, pooled: true });
    await work(it, 'before');
    const letter = once(gateway.store.deadLetters, 'arrival');
    await gateway.notify([
      { channel: 'JOB', recipient: 'x', body: 'held' },
      { channel: 'JOB', recipient: 'x', body: 'bad' },
    ]);
    await Promise.all([held.started.promise, letter]);
    // One message is in flight. It is sent while its outcome cannot be recorded.
    await pooler.stop();
    const during = work(it, 'during');
    held.release.resolve();
    await until(() => gateway.breakers.database.opened || gateway.breakers.database.halfOpen);
    await pooler.start();
    await during;
    calls.isMended = true;
    const retry = () => it.ask('/admin/reliability/dlq/retry', {
      token: operateToken, body: { channel: 'JOB' },
    });
    expect(await until(async () => {
      const { status, body } = await retry();
      return status === 200 && body;
    })).toMatchObject({ retried: 1 });
    const { jobs } = calls;
    await work(it, 'after');
    await until(() => calls.jobs > jobs + 1);

    const rounds = ['before', 'during', 'after'];
    const orders = rounds.flatMap(name => numbers(`order-${name}`, ORDERS));
    const count = MESSAGES * rounds.length + 2;
    await until(async () => (await gateway.store.outbox.list({
      channel: 'JOB', status: 'SENT', limit: 500,
    })).length === count);
    await until(() => calls.paid.length >= orders.length);
    expect(sorted(calls.sent)).toEqual(sorted(
      ['held', 'bad', ...rounds.flatMap(name => numbers(name, MESSAGES))]));
    expect(sorted(calls.paid)).toEqual(sorted(orders));
    expect(sorted(it.midtrans.orders.keys())).toEqual(sorted(orders));
    for (const id of orders) {
      expect(await gateway.store.payments.get(id)).toMatchObject({ state: 'paid' });
    }
    const deaf = it.log.lines.filter(({ err }) => err?.code === 'ERR_STORE_DEAF');
    expect(deaf).toHaveLength(isDirect ? 0 : 1);
  });
});
