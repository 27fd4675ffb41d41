'use strict';

// What has become of the money: calls whose answer was lost.

const { MidtransError } = require('../../lib/clients/midtrans');
const { retry } = require('../../lib');
const {
  cardCharge, charge, clientOf, closeAll, count, order, settle, start
} = require('../support/midtrans-helpers');

afterEach(closeAll);

const unknown = { code: 'ERR_MIDTRANS_UNKNOWN_OUTCOME', ambiguous: true };

describe('a charge whose answer is lost', () => {
  // Midtrans itself would charge twice here: only the look keeps it from that.
  const careless = { uniqueOrders: false, idempotency: false };

  test.each(['drop', 'mute'])('%s: it is looked up, and not sent again', async kind => {
    const timeout = kind === 'mute' ? 2000 : 10_000;
    const { fake, client } = await start({ fake: careless, timeout });
    fake.set({ kind, on: 'charge' });
    expect(await client.charge(charge('o'))).toMatchObject({
      status_code: '201', transaction_status: 'pending', order_id: 'o'
    });
    expect(fake.transactions.get('o').charges).toBe(1);
    expect([count(fake, 'POST', /charge/), count(fake, 'GET', /status/)]).toEqual([1, 1]);
  });

  test.each(['reset', 'error', 'html', 'hang', 'business'])(
    '%s: it was not carried out; looked up, then sent again', async kind => {
      const timeout = kind === 'hang' ? 2000 : 10_000;
      const { fake, client } = await start({ fake: careless, timeout });
      fake.set({ kind, on: 'charge', times: 1 });
      expect(await client.charge(charge('o'))).toMatchObject({ transaction_status: 'pending' });
      expect(fake.transactions.get('o').charges).toBe(1);
      const paths = fake.log.map(entry => entry.path);
      expect(paths.at(0)).toBe('/v2/charge');
      expect(paths.slice(1, -1).every(path => path === '/v2/o/status')).toBe(true);
      expect(paths.at(-1)).toBe('/v2/charge');
    });

  test('nothing is sent again while the look fails; the outcome stays unknown', async () => {
    const { fake, client } = await start({ fake: careless });
    const alerts = [];
    client.on('alert', alert => alerts.push(alert));
    fake.set({ kind: 'error', status: 500 });
    const { error } = await settle(client.charge(charge('o')));
    expect(error).toMatchObject({ ...unknown, retryable: false, operation: 'charge' });
    expect(error).toBeInstanceOf(MidtransError);
    expect(count(fake, 'POST', /charge/)).toBe(1);
    expect(alerts).toEqual([{ kind: 'unknown-outcome', error }]);
  });

  test('without retries it is looked up once', async () => {
    const { fake, client } = await start({ fake: careless, retry: false });
    fake.set({ kind: 'drop', on: 'charge' });
    expect(await client.charge(charge('o'))).toMatchObject({ transaction_status: 'pending' });
    fake.set({ kind: 'reset', on: 'charge' });
    expect((await settle(client.charge(charge('p')))).error).toMatchObject(unknown);
    expect(fake.transactions.has('p')).toBe(false);
  });

  test('an outer retry does not repeat what is unknown, unless it resumes', async () => {
    const { fake, client } = await start({ fake: careless, retry: false });
    fake.set({ kind: 'reset', on: 'charge', times: 2 });
    const options = { retries: 5, minTimeout: 1 };
    await expect(retry(() => client.charge(charge('o')), options)).rejects.toMatchObject(unknown);
    expect(count(fake, 'POST', /charge/)).toBe(1);
    const resuming = async (bail, attempt) => {
      const outcome = await settle(client.charge(charge('p'), { resume: attempt > 1 }));
      if (outcome.value) return outcome.value;
      throw new Error('again', { cause: outcome.error });
    };
    expect(await retry(resuming, options)).toMatchObject({ transaction_status: 'pending' });
    expect(fake.transactions.get('p').charges).toBe(1);
  });

  test('resume finds what an earlier call, or process, has done', async () => {
    const { fake, client } = await start({ fake: careless });
    await client.charge(charge('o'));
    fake.settle('o');
    const later = clientOf(fake.url);
    expect(await later.charge(charge('o'), { resume: true }))
      .toMatchObject({ transaction_status: 'settlement' });
    expect(await later.charge(charge('p'), { resume: true }))
      .toMatchObject({ transaction_status: 'pending' });
    expect([...fake.transactions.values()].map(t => t.charges)).toEqual([1, 1]);
  });

  test('the look goes past a breaker that has opened', async () => {
    const breaker = { volumeThreshold: 0, errorThresholdPercentage: 1 };
    const { fake, client } = await start({ fake: careless, breaker });
    fake.set({ kind: 'drop', on: 'charge' });
    expect(await client.charge(charge('o'))).toMatchObject({ transaction_status: 'pending' });
    expect(client.breaker.opened).toBe(true);
    client.breaker.close();
    fake.set({ kind: 'reset', on: 'charge' });
    expect((await settle(client.charge(charge('p')))).error)
      .toMatchObject({ ...unknown, cause: { code: 'EOPENBREAKER' } });
  });

  test('406 on a retry is looked up; on the first attempt it is a refusal', async () => {
    const { fake, client } = await start({ fake: { idempotency: false } });
    // Two looks find nothing yet of a charge that was carried out.
    fake.set([
      { kind: 'drop', on: 'charge', times: 1 },
      { kind: 'business', status: 404, on: 'status', times: 2 }
    ]);
    expect(await client.charge(charge('o'))).toMatchObject({ transaction_status: 'pending' });
    expect(fake.log.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'POST /v2/charge', 'GET /v2/o/status', 'GET /v2/o/status', 'POST /v2/charge',
      'GET /v2/o/status'
    ]);
    await expect(client.charge(charge('o')))
      .rejects.toMatchObject({ code: 'ERR_MIDTRANS_CONFLICT', ambiguous: false });
    expect(fake.transactions.get('o').charges).toBe(1);
  });

  test('406 on a retry, and still not to be found: it stays unknown', async () => {
    const { fake, client } = await start({ fake: { idempotency: false } });
    fake.set([
      { kind: 'drop', on: 'charge', times: 1 }, { kind: 'business', status: 404, on: 'status' }
    ]);
    expect((await settle(client.charge(charge('o')))).error)
      .toMatchObject({ ...unknown, cause: { code: 'ERR_MIDTRANS_CONFLICT' } });
  });

  test('while an earlier request is still being worked on, it is waited for', async () => {
    const { fake } = await start({ fake: { uniqueOrders: false } });
    const client = clientOf(fake.url, {
      timeout: 500, retry: { retries: 100, minTimeout: 100, factor: 1, randomize: false }
    });
    fake.set({ kind: 'slow', delayMs: 3000, on: 'charge', times: 1 });
    expect(await client.charge(charge('o'))).toMatchObject({ transaction_status: 'pending' });
    expect(fake.transactions.get('o').charges).toBe(1);
    expect(count(fake, 'POST', /charge/)).toBeGreaterThan(1); // Which HTTP 202 answered.
  });

  test('a page of a proxy that says 404 is not taken for Midtrans\'s word', async () => {
    const { fake, client } = await start({ fake: careless });
    fake.set([
      { kind: 'drop', on: 'charge' }, { kind: 'html', status: 404, on: 'status', times: 3 }
    ]);
    expect(await client.charge(charge('o'))).toMatchObject({ transaction_status: 'pending' });
    expect(count(fake, 'POST', /charge/)).toBe(1);
  });

  test('another transaction of the same order_id is not taken for ours', async () => {
    const { fake, client } = await start();
    await client.charge(charge('o', 500));
    fake.set({ kind: 'reset', on: 'charge', times: 1 });
    const { error } = await settle(client.charge(charge('o', 900)));
    expect(error).toMatchObject({ code: 'ERR_MIDTRANS_CONFLICT', ambiguous: false });
    expect(error.response).toMatchObject({ gross_amount: '500.00' });
  });

  test('with automatic fees the amount of the order is compared', async () => {
    const { fake, client } = await start({ fake: { fees: 4500 } });
    fake.set({ kind: 'drop', on: 'charge' });
    expect(await client.charge(charge('o'))).toMatchObject({ gross_amount: '14500.00' });
  });

  test('the order_id of an expired transaction is used again', async () => {
    const { fake, client } = await start({ fake: { idempotency: false } });
    await client.charge(charge('o'));
    await client.expire('o');
    fake.set({ kind: 'reset', on: 'charge', times: 1 });
    expect(await client.charge(charge('o'))).toMatchObject({ transaction_status: 'pending' });
  });

  test('a charge that was denied is no success', async () => {
    const { fake, client } = await start();
    fake.set({ kind: 'drop', on: 'charge' });
    expect(await client.charge(cardCharge('o', 'deny')))
      .toMatchObject({ status_code: '202', transaction_status: 'deny' });
  });
});

describe('other calls whose answer is lost', () => {
  test.each([
    ['capture', 'authorize', c => c.capture, 'capture'],
    ['approve', 'challenge', c => c.approve, 'capture'],
    ['deny', 'challenge', c => c.deny, 'deny'],
    ['cancel', undefined, c => c.cancel, 'cancel'],
    ['expire', undefined, c => c.expire, 'expire'],
  ])('%s', async (operation, begin, methodOf, state) => {
    for (const kind of ['drop', 'reset']) {
      const { fake, client } = await start({ fake: { idempotency: false } });
      const body = begin === undefined ? charge('o')
        : cardCharge('o', begin, begin === 'authorize' ? begin : undefined);
      const { transaction_id: id } = await client.charge(body);
      const arg = operation === 'capture' ? { transaction_id: id, gross_amount: 10000 } : 'o';
      fake.set({ kind, on: operation, times: 1 });
      expect(await methodOf(client).call(client, arg))
        .toMatchObject({ transaction_status: state });
      expect(count(fake, 'POST', new RegExp(operation))).toBe(kind === 'drop' ? 1 : 2);
    }
  });

  test.each(['refund', 'directRefund'])('%s: the money goes back once', async operation => {
    const { fake, client } = await start({ fake: { idempotency: false }, breaker: false });
    await client.charge(charge('o'));
    fake.settle('o');
    for (const kind of ['drop', 'reset']) {
      fake.set({ kind, on: operation, times: 1 });
      await client[operation]('o', { amount: 1000 });
    }
    const { refunds } = fake.transactions.get('o');
    expect(refunds.map(refund => refund.refund_amount)).toEqual(['1000.00', '1000.00']);
    fake.set({ kind: 'reset' });
    const { error } = await settle(client[operation]('o', { amount: 1000 }));
    expect(error).toMatchObject({ ...unknown, refundKey: expect.stringMatching(/^sekering-/) });
    fake.set(null);
    // The caller goes on with the key that the error tells.
    await client[operation]('o', { amount: 1000, refund_key: error.refundKey });
    expect(refunds.at(-1).refund_key).toBe(error.refundKey);
  });

  test('what cannot be done any more is refused, also on a retry', async () => {
    const { fake, client } = await start({ fake: { idempotency: false } });
    await client.charge(charge('o'));
    fake.settle('o');
    fake.set({ kind: 'reset', on: 'cancel', times: 1 });
    await expect(client.cancel('o'))
      .rejects.toMatchObject({ code: 'ERR_MIDTRANS_CANNOT_MODIFY', ambiguous: false });
  });
});

describe('a Snap page whose answer is lost', () => {
  test('not made: sent again under the same order_id', async () => {
    const { fake, client } = await start();
    fake.set({ kind: 'reset', times: 2 });
    const { token } = await client.createTransaction(order('s'));
    expect(fake.orders.get('s').token).toBe(token);
  });

  test('made: no second page, and the error says that the token is lost', async () => {
    const { fake, client } = await start();
    fake.set({ kind: 'drop', on: 'createTransaction', times: 1 });
    const { error } = await settle(client.createTransaction(order('s')));
    expect(error).toMatchObject({ ...unknown, tokenLost: true, retryable: false });
    expect(fake.orders.size).toBe(1);
  });

  test('still unknown: it may be sent again, with resume', async () => {
    const { fake, client } = await start({ retry: false });
    fake.set({ kind: 'drop', times: 1 });
    const { error } = await settle(client.createTransaction(order('s')));
    expect(error).toMatchObject({ ...unknown, retryable: true });
    await expect(client.createTransaction(order('s'), { resume: true }))
      .rejects.toMatchObject({ ...unknown, tokenLost: true });
    expect(await client.createTransaction(order('t'), { resume: true }))
      .toMatchObject({ token: expect.any(String) });
  });

  test('made after an earlier transaction of the order_id had expired: the token is lost',
    async () => {
      const { fake, client } = await start();
      await client.createTransaction(order('e'));
      fake.choose('e');
      fake.settle('e', 'expire');
      fake.set({ kind: 'reset', on: 'createTransaction', times: 1 });
      const { error } = await settle(client.createTransaction(order('e')));
      expect(error).toMatchObject({ code: 'ERR_MIDTRANS_UNKNOWN_OUTCOME', tokenLost: true });
    });

  test('a customer is paying already: the order is taken', async () => {
    const { fake, client } = await start();
    await client.createTransaction(order('s'));
    fake.choose('s');
    fake.set({ kind: 'reset', on: 'createTransaction', times: 1 });
    const { error } = await settle(client.createTransaction(order('s')));
    expect(error).toMatchObject({ code: 'ERR_MIDTRANS_CONFLICT', ambiguous: false });
    expect(error.response).toMatchObject({ transaction_status: 'pending' });
  });
});
