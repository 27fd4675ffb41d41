'use strict';

// Payments: notifications of the Midtrans fake, forged, repeated and out of order; deferred orders;
// reconciliation; review.

const { closeAll, order } = require('../support/midtrans-helpers');
const { listen, openShared, pay, placed, until, work } = require('../support/payment-helpers');
const { describeEngines } = require('../support/postgres');

describeEngines('payments', ({ place }) => {
  let database;

  beforeAll(async () => { database = await openShared(await place()); });
  afterEach(closeAll);
  afterAll(() => database.close());

  const outcomes = answers =>
    answers.map(({ status, text }) => `${status} ${JSON.parse(text).status}`);

  test('an order from its page to its payment; each notification several times', async () => {
    const setup = await pay(database);
    const { payments, fake, seen } = setup;
    const { order: made, queued } = await payments.open(order('first'));
    expect(queued).toBe(false);
    expect(made).toMatchObject({
      orderId: 'first', state: 'created', amountMinor: 1_000_000n, currency: 'IDR', held: false,
      token: fake.orders.get('first').token, redirectUrl: expect.stringMatching(/^http/),
      transactionId: null,
    });
    const url = await listen(payments);
    fake.choose('first');
    expect(outcomes(await fake.notify(url, 'first', { repeat: 2 })))
      .toEqual(['200 applied', '200 already_processed']);
    expect(await payments.get('first')).toMatchObject({ state: 'pending' });
    fake.settle('first');
    expect(outcomes(await fake.notify(url, 'first', { repeat: 2 }))).toEqual([
      '200 already_processed', '200 already_processed', '200 applied', '200 already_processed',
    ]);
    const paid = await payments.get('first');
    expect(paid).toMatchObject({
      state: 'paid', transactionId: fake.transactions.get('first').transaction_id,
    });
    expect(paid.history.map(({ from, to, by }) => `${from} > ${to} by ${by}`)).toEqual([
      'null > unknown by order', 'unknown > created by midtrans',
      'created > pending by notification', 'pending > paid by notification',
    ]);
    expect(seen).toMatchObject({
      transition: ['first: unknown > created', 'first: created > pending', 'first: pending > paid'],
      held: [], forged: [], warning: [],
    });
    const events = await payments.events('first');
    expect(events.map(event => [event.transactionStatus, event.outcome, event.times])).toEqual([
      ['pending', 'applied', 4], ['settlement', 'applied', 2],
    ]);
    expect(JSON.parse(events[1].body)).toMatchObject({ gross_amount: '10000.00' });
  });

  test('hooks run in a worker, once for each transition', async () => {
    const calls = [];
    const note = name => ({ orderId, state }, { from, to, id }) =>
      calls.push(`${name} ${orderId} ${state} ${from} > ${to} ${id.startsWith(orderId)}`);
    const setup = await pay(database, {
      hooks: { onPaid: note('paid'), onFailed: note('failed'), onRefunded: note('refunded') },
    });
    const { fake, midtrans, deliver } = setup;
    await placed(setup, 'hooks-1');
    await placed(setup, 'hooks-2');
    fake.settle('hooks-1');
    fake.settle('hooks-2', 'expire');
    for (const id of ['hooks-1', 'hooks-2']) {
      for (const body of fake.notifications(id, { repeat: 3 })) await deliver(body);
    }
    await work(setup);
    await until(() => calls.length >= 2);
    await midtrans.refund('hooks-1', { amount: 4000 });
    for (const body of fake.notifications('hooks-1')) await deliver(body);
    await until(() => calls.length >= 3);
    await midtrans.refund('hooks-1');
    for (const body of fake.notifications('hooks-1')) await deliver(body);
    await until(() => calls.length >= 4);
    expect(calls.toSorted()).toEqual([
      'failed hooks-2 expired created > expired true',
      'paid hooks-1 paid created > paid true',
      'refunded hooks-1 partially_refunded paid > partially_refunded true',
      'refunded hooks-1 refunded partially_refunded > refunded true',
    ]);
    expect(await setup.payments.get('hooks-1')).toMatchObject({ refundedMinor: 1_000_000n });
  });
});
