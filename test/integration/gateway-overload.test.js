'use strict';

// A gateway whose process has more to do than it can: which requests it refuses, in which order,
// and what becomes of them.

const { createGateway } = require('../../lib/gateway');
const { useVirtualClock } = require('../../lib/testing');
const { SECRETS, order, startAll } = require('../support/gateway-helpers');
const { passTime } = require('../support/passing-time');

const { shopToken: token, readToken } = SECRETS;
const LATE = 'The event loop is late: requests of low priority are refused';
const MAX_DELAY = 20;
// What is due after 100 ms is late by as much.
const BLOCKED = 200;

let it;
let time;
// Time stands still, so nothing but the tests makes the event loop late, on any machine.
beforeEach(() => { time = useVirtualClock(); });
afterEach(async () => {
  if (it !== undefined) await passTime(time, it.close());
  it = undefined;
  time.restore();
});

async function start (over) {
  it = await startAll({}, {
    server: { maxLoopDelay: MAX_DELAY },
    // The database does not follow this clock, and would seem to be slow.
    degradation: { interval: '24h' },
    ...over,
  });
}

/** The event loop is late, until the pressure is so high. */
async function overload (pressure) {
  await it.ask('/orders/none', { token });
  while (it.gateway.shedder.pressure < pressure) await time.block(BLOCKED);
  expect(it.gateway.shedder.pressure).toBe(pressure);
}

const keyed = key => ({ 'idempotency-key': `"${key}"` });
const postOrder = id => it.ask('/orders', { token, body: order(id), headers: keyed(id) });
const question = () => it.ask('/orders/first', { token });
const message = { channel: 'EMAIL', recipient: 'ann@customers.example', body: 'Paid' };
const notify = (body = message) =>
  it.ask('/notifications', { token, body, headers: keyed('message') });

/** The statuses of a message, a question and an order. */
async function statuses (id) {
  const answers = [await notify(), await question(), await postOrder(id)];
  return answers.map(({ status }) => status);
}

const linesOf = () => it.log.lines.filter(line => line.message === LATE);

describe('while the event loop is late', () => {
  test('messages are refused first, then questions, then orders; nothing is done', async () => {
    await start();
    expect((await postOrder('first')).status).toBe(201);

    await overload(1);
    const { status, headers, body } = await notify();
    expect([status, headers.get('content-type'), headers.get('retry-after')])
      .toEqual([503, 'application/problem+json', '1']);
    expect(body).toMatchObject({ code: 'ELOADSHED', retryAfter: 1 });
    // Before the body is read, and after the token is checked.
    expect((await notify('{')).body.code).toBe('ELOADSHED');
    expect((await it.ask('/notifications', { body: message })).status).toBe(401);
    expect(await statuses('second')).toEqual([503, 200, 201]);
    await overload(5);
    expect(await statuses('third')).toEqual([503, 503, 201]);
    await overload(9);
    expect(await statuses('fourth')).toEqual([503, 503, 503]);
    expect((await notify()).headers.get('retry-after')).toBe('4');

    // Nothing of what was refused has been done.
    expect(await it.gateway.store.payments.get('fourth')).toBeUndefined();
    expect(it.midtrans.orders.has('fourth')).toBe(false);
    expect(await it.gateway.store.outbox.list({ channel: 'EMAIL' })).toEqual([]);

    // When the loop is in time again, the same keys work.
    await time.advanceAsync(3600);
    expect(it.gateway.shedder.pressure).toBe(0);
    expect(await statuses('fourth')).toEqual([202, 200, 201]);
    const again = await postOrder('fourth');
    expect([again.status, again.headers.get('idempotency-replayed')]).toEqual([201, 'true']);
    expect(it.midtrans.orders.has('fourth')).toBe(true);
    expect(await it.gateway.store.outbox.list({ channel: 'EMAIL' })).toHaveLength(1);
  });

  test('webhooks, health pages, metrics and operators are answered throughout', async () => {
    await start();
    await postOrder('first');
    await overload(9);
    expect(await statuses('second')).toEqual([503, 503, 503]);

    it.midtrans.choose('first');
    it.midtrans.settle('first');
    const notices = await it.midtrans.notify(`${it.server.url}/webhooks/midtrans`, 'first');
    expect(notices.map(notice => notice.status)).toEqual(notices.map(() => 200));
    expect((await it.gateway.store.payments.get('first')).state).toBe('paid');
    const news = it.whatsapp.statusOf({ id: 'wamid.1', to: '628123' }, 'delivered');
    expect(await it.whatsapp.notify(`${it.server.url}/webhooks/whatsapp`, news)).toBe(200);
    const pages = ['/health', '/health/live', '/health/ready', '/api/health', '/openapi.json'];
    for (const page of pages) expect([page, (await it.ask(page)).status]).toEqual([page, 200]);
    const { status } = await it.ask('/admin/reliability/circuit-breakers', { token: readToken });
    expect(status).toBe(200);

    const { text } = await it.ask('/metrics', { token: readToken });
    for (const [family, priority, value] of [
      ['load_shedder_calls_total', 8, 2], ['load_shed_total', 0, 1], ['load_shed_total', 4, 1],
      ['load_shed_total', 8, 1],
    ]) {
      expect(text).toContain(`${family}{name="gateway",priority="${priority}"} ${value}\n`);
    }
    expect(text).toContain('load_pressure{name="gateway"} 9\n');
    expect(text).toContain('load_delay_seconds{name="gateway"} 0.1\n');
  });

  test('it is logged once, and again when it happens again', async () => {
    await start();
    await overload(2);
    await notify();
    await overload(3);
    await notify();
    expect(linesOf()).toMatchObject([{ level: 'warn', delayMs: 100, pressure: 2 }]);
    await time.advanceAsync(70_000);
    await overload(1);
    await notify();
    expect(linesOf()).toHaveLength(2);
  });
});

test('it takes half a second in a row, or what the configuration says; in tests nothing is refused',
  async () => {
    const shedderOf = async (profile, maxLoopDelay) => {
      const gateway = await createGateway({
        profile, store: { memory: true }, server: { maxLoopDelay }, logging: { level: 'silent' },
      });
      await gateway.stop();
      return gateway.shedder;
    };
    expect([await shedderOf('testing'), await shedderOf('production', false)])
      .toEqual([undefined, undefined]);
    for (const [maxLoopDelay, most] of [[undefined, 500], ['1s', 1000]]) {
      const shedder = await shedderOf('production', maxLoopDelay);
      await shedder.execute(() => {});
      const late = async ms => {
        await shedder.execute(() => {});
        // A measurement is due after 100 ms.
        await time.block(100 + ms);
      };
      for (let i = 0; i < 2; i++) await late(most);
      expect([shedder.delay, shedder.pressure]).toEqual([most, 0]);
      for (let i = 0; i < 2; i++) await late(most + 1);
      expect(shedder.pressure).toBeGreaterThan(0);
    }
  });
