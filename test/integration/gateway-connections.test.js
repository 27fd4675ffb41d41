'use strict';

// Orders for which no connection to Midtrans is free.

const { SECRETS, order, startAll, until } = require('../support/gateway-helpers');

test('an order that finds no connection to Midtrans free is stored for later', async () => {
  const it = await startAll({}, {
    midtrans: { connections: 1, timeout: 600_000 }, retry: { fallback: { maxWait: 1000 } },
  });
  it.midtrans.set('hang');
  // This one keeps the only connection until it is let go.
  const leave = new AbortController();
  const first = it.gateway.store.payments.open(order('first'), { signal: leave.signal })
    .catch(() => {});
  await until(() => it.midtrans.log.length > 0);
  const { status, body } =
    await it.ask('/orders', { token: SECRETS.shopToken, body: order('second') });
  expect([status, body.queued, body.state]).toEqual([202, true, 'queued']);
  expect(it.midtrans.log.filter(({ text }) => text.includes('"second"'))).toEqual([]);
  it.midtrans.set(null);
  leave.abort();
  await first;
  await until(() => it.midtrans.orders.has('second'));
  await it.close();
});
