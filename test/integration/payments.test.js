'use strict';

// Orders and how they are paid: recorded, deferred, notified, with their hooks. Notifications that
// must not be believed are in payment-notifications.test.js, crashes and missing notifications in
// payment-recovery.test.js.

const { once } = require('node:events');

const { count, keep, order } = require('../support/midtrans-helpers');
const {
  createdBy, endTest, listen, messagesOf, openShared, pay, placed, until, work,
} = require('../support/payment-helpers');
const { describeEngines } = require('../support/postgres');

const PAGES = /^\/snap\/v1\/transactions$/;

describeEngines('payments', ({ place }) => {
  let database;

  beforeAll(async () => { database = await openShared(await place()); });
  afterEach(() => endTest(database));
  afterAll(() => database.close());

  const outcomes = answers =>
    answers.map(({ status, text }) => `${status} ${JSON.parse(text).status}`);
  const moves = ({ history }) =>
    history.map(({ from, to, by }) => `${from} > ${to} by ${by}`);
  const nothing = () => {};
  const messages = orderId => messagesOf(database, orderId);

  test('an order from its page to its payment; each notification several times', async () => {
    const setup = await pay(database);
    const { payments, fake, seen } = setup;
    const { order: made, queued } = await payments.open(order('first'));
    expect(queued).toBe(false);
    expect(made).toEqual({
      orderId: 'first', state: 'created', amountMinor: 1_000_000n, refundedMinor: 0n,
      chargedBackMinor: 0n, currency: 'IDR', held: false, transactionId: null,
      token: fake.orders.get('first').token,
      redirectUrl: expect.stringMatching(/^http/), createdAt: expect.any(Date),
      updatedAt: expect.any(Date), history: expect.any(Array),
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
    expect(moves(paid)).toEqual([
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
    // The same order again is the same page.
    expect(await payments.open(order('first'))).toMatchObject({
      queued: false, order: { state: 'paid', token: made.token }
    });
    expect(count(fake, 'POST', PAGES)).toBe(1);
  });

  test('calls for one order at the same time give out one page', async () => {
    const setup = await pay(database);
    for (let i = 0; i < 5; i += 1) {
      const id = `at-once-${i}`;
      const opened =
        await Promise.all(Array.from({ length: 4 }, () => setup.payments.open(order(id))));
      const tokens = new Set(opened.map(made => made.order.token));
      expect([...tokens]).toEqual([(await setup.payments.get(id)).token]);
      await setup.payments.defer(order(`${id}-later`));
      const later = await Promise.all(Array.from({ length: 4 }, () =>
        setup.payments.open(order(`${id}-later`))));
      const { token } = await setup.payments.get(`${id}-later`);
      expect(later.map(made => made.order.token)).toEqual([token, token, token, token]);
    }
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
    await midtrans.refund('hooks-1', { amount: 1000 });
    for (const body of fake.notifications('hooks-1')) await deliver(body);
    await until(() => calls.length >= 4);
    expect(await setup.payments.get('hooks-1')).toMatchObject({ refundedMinor: 500_000n });
    await midtrans.refund('hooks-1');
    for (const body of fake.notifications('hooks-1')) await deliver(body);
    await until(() => calls.length >= 5);
    expect(calls.toSorted()).toEqual([
      'failed hooks-2 expired created > expired true',
      'paid hooks-1 paid created > paid true',
      'refunded hooks-1 partially_refunded paid > partially_refunded true',
      'refunded hooks-1 partially_refunded partially_refunded > partially_refunded true',
      'refunded hooks-1 refunded partially_refunded > refunded true',
    ]);
    expect(await setup.payments.get('hooks-1')).toMatchObject({ refundedMinor: 1_000_000n });
  });

  /** Payments whose hooks are noted as they run, and what delivers all news of an order. */
  async function noted (options) {
    const calls = [];
    const names = ['onPaid', 'onDenied', 'onFailed', 'onRefund', 'onRefunded', 'onChargeback'];
    const hooks = Object.fromEntries(names.map(name => [name, (_, transition) => {
      const { refund, chargeback, attempt } = transition;
      const [detail] = [refund?.amountMinor, chargeback?.amountMinor, attempt?.paymentType]
        .filter(value => value !== undefined);
      calls.push(`${name}${detail === undefined ? '' : ` ${detail}`}: ${transition.to}`);
    }]));
    const setup = await pay(database, { ...options, hooks });
    await work(setup);
    const { fake, deliver, payments } = setup;
    const tell = async orderId => {
      for (const body of fake.notifications(orderId)) await deliver(body);
      return payments.get(orderId);
    };
    /** The calls of now, when all of an order's messages were sent. */
    const heard = async orderId => {
      await until(async () => (await messages(orderId)).every(({ status }) => status === 'SENT'));
      return calls.splice(0);
    };
    return { ...setup, tell, heard };
  }

  test('a card is denied on a page: the order stays payable, and another way pays it', async () => {
    const setup = await noted({ midtrans: { fake: { uniqueOrders: false } } });
    const { payments, fake, tell, heard } = setup;
    await placed(setup, 'retried-card');
    await tell('retried-card');
    fake.settle('retried-card', 'deny');
    const denied = fake.transactions.get('retried-card').transaction_id;
    const tried = await tell('retried-card');
    expect(tried).toMatchObject({ state: 'created', transactionId: denied });
    expect(await heard('retried-card')).toEqual(['onDenied bank_transfer: created']);
    fake.choose('retried-card', 'credit_card');
    fake.settle('retried-card', 'deny');
    expect((await tell('retried-card')).history.at(-1)).toMatchObject({
      from: 'created', to: 'created', reason: 'An attempt was denied'
    });
    expect(await heard('retried-card')).toEqual(['onDenied credit_card: created']);
    fake.choose('retried-card');
    fake.settle('retried-card');
    expect(await tell('retried-card')).toMatchObject({
      state: 'paid', transactionId: fake.transactions.get('retried-card').transaction_id
    });
    expect(await heard('retried-card')).toEqual(['onPaid: paid']);
    expect(await payments.list({ held: true, search: 'retried' })).toEqual([]);
  });

  test('a charge without a page is denied: the order has failed', async () => {
    const { payments, fake, tell, heard, midtrans } = await noted();
    await payments.createOrder({ orderId: 'core-card', amountMinor: 1_000_000 });
    await midtrans.charge({
      ...order('core-card'), payment_type: 'credit_card', credit_card: { token_id: 'challenge' }
    });
    await midtrans.deny('core-card');
    expect(await tell('core-card')).toMatchObject({ state: 'denied' });
    expect(await heard('core-card')).toEqual(['onDenied credit_card: denied', 'onFailed: denied']);
    expect(fake.transactions.size).toBe(1);
  });

  test('a page with denied attempts expires', async () => {
    const setup = await noted();
    const { payments, fake, tell, heard } = setup;
    await placed(setup, 'gave-up');
    fake.settle('gave-up', 'deny');
    await tell('gave-up');
    const age = hours => database.query(`UPDATE ${database.schema}.payment_orders
      SET asked_at = asked_at - $2::float8 * interval '1 hour' WHERE order_id = $1`,
    ['gave-up', hours]);
    const end = { olderThan: 0, limit: 10_000 };
    await age(24.9);
    await payments.reconcile(end);
    expect(await payments.get('gave-up')).toMatchObject({ state: 'created' });
    await age(0.2);
    await payments.reconcile(end);
    expect(await payments.get('gave-up')).toMatchObject({ state: 'expired' });
    expect(await heard('gave-up'))
      .toEqual(['onDenied bank_transfer: created', 'onFailed: expired']);
  });

  test('each refund and chargeback is told with its amount, and the sums are right', async () => {
    const setup = await noted();
    const { fake, midtrans, tell, heard } = setup;
    await placed(setup, 'back');
    fake.settle('back');
    await tell('back');
    // Two refunds, of which the store hears together.
    await midtrans.refund('back', { refund_key: 'first', amount: 1000 });
    await midtrans.refund('back', { refund_key: 'second', amount: 2000 });
    expect(await tell('back')).toMatchObject({
      state: 'partially_refunded', refundedMinor: 300_000n, chargedBackMinor: 0n
    });
    expect(await heard('back')).toEqual(['onPaid: paid', 'onRefund 100000: partially_refunded',
      'onRefund 200000: partially_refunded', 'onRefunded: partially_refunded']);
    const takeBack = (amount, state) => {
      fake.transactions.get('back').chargeback_amount = amount;
      fake.settle('back', state);
      return tell('back');
    };
    expect(await takeBack('500.00', 'partial_chargeback')).toMatchObject({
      state: 'partially_charged_back', refundedMinor: 300_000n, chargedBackMinor: 50_000n
    });
    expect(await takeBack('700.00', 'partial_chargeback'))
      .toMatchObject({ state: 'partially_charged_back', chargedBackMinor: 70_000n });
    // Without an amount it is all that was left.
    expect(await takeBack(undefined, 'chargeback')).toMatchObject({
      state: 'charged_back', refundedMinor: 300_000n, chargedBackMinor: 700_000n
    });
    expect(await heard('back')).toEqual(['onChargeback 50000: partially_charged_back',
      'onChargeback 20000: partially_charged_back', 'onChargeback 630000: charged_back']);
    // Midtrans documents no way back: an answer that is late changes nothing.
    fake.settle('back');
    expect(await tell('back')).toMatchObject({ state: 'charged_back', held: false });
  });

  test('a partial chargeback whose amount Midtrans does not say is told without one', async () => {
    const setup = await noted();
    await placed(setup, 'silent-bank');
    for (const state of ['settlement', 'partial_chargeback']) {
      setup.fake.settle('silent-bank', state);
      await setup.tell('silent-bank');
    }
    expect(await setup.payments.get('silent-bank'))
      .toMatchObject({ state: 'partially_charged_back', chargedBackMinor: 0n });
    expect(await setup.heard('silent-bank'))
      .toEqual(['onPaid: paid', 'onChargeback null: partially_charged_back']);
  });

  /** What an order becomes and who hears, when Midtrans says these fields, and only these. */
  async function lived (orderId, said) {
    const setup = await noted();
    await placed(setup, orderId);
    const heard = [];
    for (const { state, ...fields } of said) {
      const transaction = setup.fake.transactions.get(orderId);
      for (const name of ['refund_amount', 'chargeback_amount']) delete transaction[name];
      Object.assign(transaction, { refunds: [], ...fields });
      setup.fake.settle(orderId, state);
      await setup.deliver(setup.fake.notifications(orderId, { latest: true })[0]);
      heard.push(...await setup.heard(orderId));
    }
    const { state, held, refundedMinor, chargedBackMinor } = await setup.payments.get(orderId);
    const hooks = heard.filter(each => !each.startsWith('onRefunded'))
      .map(each => each.replace(/:.*/, ''));
    return [state, held ? 'held' : '', refundedMinor, chargedBackMinor, ...hooks].join(' ').trim();
  }

  const paid = { state: 'settlement' };
  const refunded = amount => ({
    state: amount === 10_000 ? 'refund' : 'partial_refund', refund_amount: `${amount}.00`,
  });
  const fees = {
    gross_amount: '12000.00',
    metadata: { extra_info: { gross_amount_info: { original_amount: '10000.00' } } },
  };
  test.each([
    ['a chargeback after a refund', [paid, refunded(3000), { state: 'chargeback' }],
      'charged_back  300000 700000 onPaid onRefund 300000 onChargeback 700000'],
    ['its amount', [paid, refunded(3000), { state: 'chargeback', chargeback_amount: '7000.00' }],
      'charged_back  300000 700000 onPaid onRefund 300000 onChargeback 700000'],
    ['a chargeback after a full refund', [paid, refunded(10_000), { state: 'chargeback' }],
      'charged_back held 1000000 0 onPaid onRefund 1000000 onChargeback null'],
    ['a partial chargeback after a refund', [paid, refunded(3000), { state: 'partial_chargeback' }],
      'partially_charged_back  300000 0 onPaid onRefund 300000 onChargeback null'],
    ['a refund after a full chargeback', [paid, { state: 'chargeback' }, refunded(10_000)],
      'charged_back held 0 1000000 onPaid onChargeback 1000000'],
    ['a refund of what a chargeback left',
      [paid, { state: 'chargeback', chargeback_amount: '6000.00' }, refunded(4000)],
      'charged_back  400000 600000 onPaid onChargeback 600000 onRefund 400000'],
    ['a refund without an amount, after a partial chargeback',
      [paid, { state: 'partial_chargeback', chargeback_amount: '3000.00' }, { state: 'refund' }],
      'refunded  700000 300000 onPaid onChargeback 300000 onRefund 700000'],
    ['a chargeback of what was paid with fees',
      [{ ...paid, ...fees }, { ...refunded(3000), ...fees }, { state: 'chargeback', ...fees }],
      'charged_back  300000 900000 onPaid onRefund 300000 onChargeback 900000'],
    ['more than was paid',
      [paid, { state: 'chargeback', refund_amount: '8000.00', chargeback_amount: '8000.00' }],
      'charged_back held 800000 200000 onPaid onRefund 800000 onChargeback 200000'],
    ['first news of a refund and a chargeback of all',
      [{ ...refunded(10_000), chargeback_amount: '10000.00' }],
      'refunded held 1000000 0 onRefund 1000000 onChargeback null'],
    ['first news of a chargeback and a refund of all',
      [{ state: 'chargeback', refund_amount: '10000.00', chargeback_amount: '10000.00' }],
      'charged_back held 1000000 0 onRefund 1000000 onChargeback null'],
    ['a partial chargeback after a full refund', [paid, refunded(10_000),
      { state: 'partial_chargeback', refund_amount: '10000.00', chargeback_amount: '3000.00' }],
    'partially_charged_back held 1000000 0 onPaid onRefund 1000000 onChargeback null'],
    ['its amount unknown', [paid, refunded(10_000), { state: 'partial_chargeback' }],
      'partially_charged_back held 1000000 0 onPaid onRefund 1000000 onChargeback null'],
    ['a second partial chargeback, after a refund of the rest', [paid,
      { state: 'partial_chargeback', chargeback_amount: '3000.00' },
      { state: 'refund', refund_amount: '7000.00', chargeback_amount: '3000.00' },
      { state: 'partial_chargeback', refund_amount: '7000.00', chargeback_amount: '5000.00' },
      { state: 'partial_chargeback', refund_amount: '7000.00', chargeback_amount: '6000.00' }],
    'partially_charged_back held 700000 300000 onPaid onChargeback 300000 onRefund 700000 ' +
      'onChargeback null onChargeback null'],
    ['first news of a partial refund', [refunded(100)],
      'partially_refunded  10000 0 onPaid onRefund 10000'],
    ['first news of a full refund', [refunded(10_000)], 'refunded  1000000 0 onRefund 1000000'],
  ])('what Midtrans does not say of the sums is unknown, not zero: %s', async (name, said, end) => {
    expect(await lived(name.replaceAll(/\W/g, '-').slice(0, 48), said)).toBe(end);
  });

  test('a person cannot apply the payment of another order', async () => {
    const setup = await pay(database, { hooks: { onPaid: nothing } });
    const { payments, fake, deliver } = setup;
    await placed(setup, 'V1');
    const [pending] = fake.notifications('V1');
    expect(await deliver({ ...pending, transaction_id: 'V2' })).toMatchObject({ outcome: 'held' });
    await placed(setup, 'V2');
    fake.settle('V2');
    await expect(payments.review('V1', 'apply', { by: 'ann', reason: 'paid' })).rejects
      .toMatchObject({
        code: 'ERR_PAYMENT_ORDER', message: expect.stringContaining('belongs to another order'),
      });
    expect(await payments.get('V1')).toMatchObject({ state: 'created', held: true });
    expect(await messages('V1')).toEqual([]);
    expect(await payments.review('V1', 'dismiss', { by: 'ann', reason: 'forged' }))
      .toMatchObject({ state: 'created', held: false });
  });

  test('a person cannot apply what names no transaction', async () => {
    const setup = await pay(database);
    const { payments, fake, deliver } = setup;
    await placed(setup, 'no-id');
    fake.settle('no-id');
    const [body] = fake.notifications('no-id', { latest: true });
    expect(await deliver({ ...body, transaction_id: '..' })).toMatchObject({ outcome: 'held' });
    const why = { by: 'ann', reason: 'seen' };
    await expect(payments.review('no-id', 'apply', why)).rejects
      .toMatchObject({ code: 'ERR_PAYMENT_ORDER' });
    expect(await payments.review('no-id', 'dismiss', why)).toMatchObject({ held: false });
  });

  test('a person can apply a second payment, on a later page of the same order', async () => {
    const setup = await pay(database);
    const { payments, fake, deliver } = setup;
    await placed(setup, 'two-pages');
    await database.query(`UPDATE ${database.schema}.payment_orders SET pages = 2
      WHERE order_id = 'two-pages'`);
    await setup.midtrans.createTransaction(order('two-pages~2'));
    fake.choose('two-pages~2');
    for (const id of ['two-pages', 'two-pages~2']) {
      fake.settle(id);
      await deliver(fake.notifications(id, { latest: true })[0]);
    }
    expect(await payments.get('two-pages')).toMatchObject({ state: 'paid', held: true });
    expect(await payments.review('two-pages', 'apply', { by: 'ann', reason: 'both' }))
      .toMatchObject({ state: 'paid', held: false });
  });

  test('a person applies only an amount that was shown', async () => {
    const setup = await pay(database);
    const { payments, fake, deliver } = setup;
    for (const id of ['shown', 'hidden']) await placed(setup, id);
    const wrong = async (id, amount) => {
      fake.transactions.get(id).gross_amount = amount;
      fake.settle(id);
      return deliver(fake.notifications(id, { latest: true })[0]);
    };
    const apply = id => payments.review(id, 'apply', { by: 'ann', reason: 'checked' });
    for (const id of ['shown', 'hidden']) {
      expect(await wrong(id, '9000.00')).toMatchObject({ outcome: 'held' });
    }
    expect(await apply('shown')).toMatchObject({ state: 'paid', held: false });
    fake.transactions.get('hidden').gross_amount = '1.00';
    await expect(apply('hidden')).rejects.toMatchObject({ code: 'ERR_PAYMENT_ORDER' });
    expect(await payments.get('hidden')).toMatchObject({ state: 'created', held: true });
  });

  test('a payment that a bank takes back right after it has failed', async () => {
    const setup = await noted();
    await placed(setup, 'bank-denies');
    for (const state of ['settlement', 'deny']) {
      setup.fake.settle('bank-denies', state);
      await setup.tell('bank-denies');
    }
    expect(await setup.payments.get('bank-denies')).toMatchObject({ state: 'denied' });
    expect(await setup.heard('bank-denies'))
      .toEqual(['onPaid: paid', 'onDenied bank_transfer: denied', 'onFailed: denied']);
  });

  test('a hook that fails runs again, with the same transition', async () => {
    const ids = [];
    const setup = await pay(database, {
      hooks: {
        async onPaid (_, { id }, { signal }) {
          expect(signal.aborted).toBe(false);
          ids.push(id);
          if (ids.length < 2) throw new Error('not now');
        },
      },
    });
    await placed(setup, 'again');
    setup.fake.settle('again');
    await setup.deliver(setup.fake.notifications('again', { latest: true })[0]);
    await work(setup);
    await until(() => ids.length >= 2);
    expect(new Set(ids).size).toBe(1);
    await until(async () => (await messages('again'))[0].status === 'SENT');
  });

  test('an order of an outage is queued, and made when Midtrans returns', async () => {
    const setup = await pay(database, { midtrans: { breaker: false } });
    const { payments, fake, deliver } = setup;
    fake.set({ kind: 'reset' });
    const { order: taken, queued, error } = await payments.open(order('outage'));
    expect(taken).toMatchObject({ token: null, state: 'unknown' });
    expect([queued, error.code]).toEqual([true, 'ERR_MIDTRANS_UNKNOWN_OUTCOME']);
    // Asked for again, it is the same order.
    expect(await payments.open(order('outage'))).toMatchObject({ queued: true });
    expect(await messages('outage')).toMatchObject([{ channel: 'MIDTRANS_ORDER' }]);
    await work(setup);
    fake.set(null);
    expect(await createdBy(setup, 'outage')).toMatchObject({
      token: fake.orders.get('outage').token
    });
    fake.choose('outage');
    fake.settle('outage');
    await deliver(fake.notifications('outage', { latest: true })[0]);
    expect(await payments.get('outage')).toMatchObject({ state: 'paid' });
    expect(fake.orders.size).toBe(1);
  });

  test('nothing was sent: queued; the worker waits for the breaker, and uses no attempt',
    async () => {
      const setup = await pay(database, {
        midtrans: {
          retry: { retries: 0 },
          breaker: { resetTimeout: 60_000, volumeThreshold: 1, errorThresholdPercentage: 1 },
        },
      });
      const { payments, fake, midtrans } = setup;
      fake.set({ kind: 'error', status: 503 });
      await expect(midtrans.status('any')).rejects.toThrow();
      expect(midtrans.breaker.opened).toBe(true);
      const { order: taken, error } = await payments.open(order('shut'));
      expect([taken.state, error.code]).toEqual(['queued', 'EOPENBREAKER']);
      const worker = setup.outbox.createWorker({ channels: payments.senders(), pollInterval: 20 });
      keep({ close: () => worker.stop() });
      const paused = once(worker, 'paused');
      await worker.start();
      expect(await paused).toEqual(['MIDTRANS_ORDER']);
      expect(await messages('shut')).toMatchObject([{ attempts: 0 }]);
      fake.set(null);
      midtrans.breaker.close();
      await createdBy(setup, 'shut');
      await until(async () => (await messages('shut'))[0].status === 'SENT');
      expect(await messages('shut')).toMatchObject([{ attempts: 1 }]);
    });

  // The page is there, but its token is lost: the customer gets another page of the same order.
  test.each(['drop', 'mute'])('the answer with the token is lost (%s)', async kind => {
    const timeout = kind === 'mute' ? 2000 : 10_000;
    const setup = await pay(database, { midtrans: { timeout } });
    const { payments, fake, deliver } = setup;
    const id = `lost-${kind}`;
    fake.set({ kind, on: 'createTransaction', times: 1 });
    const opened = await payments.open(order(id));
    await work(setup);
    const made = opened.queued ? await createdBy(setup, id) : opened.order;
    expect([...fake.orders.keys()]).toEqual([id, `${id}~2`]);
    expect(made).toMatchObject({ orderId: id, token: fake.orders.get(`${id}~2`).token });
    fake.choose(`${id}~2`);
    fake.settle(`${id}~2`);
    const [body] = fake.notifications(`${id}~2`, { latest: true });
    expect(await deliver(body)).toMatchObject({ outcome: 'applied', orderId: id });
    expect(await payments.get(id)).toMatchObject({ state: 'paid' });
    expect(await payments.events(id)).toHaveLength(1);
    // An id that only looks like that of a page belongs to no order.
    expect(await payments.get(`${id}~3`)).toBeUndefined();
  });

  describe('answers with tokens go on being lost', () => {
    const PAGES_MAX = 9;
    const pagesOf = (id, count) =>
      Array.from({ length: count }, (_, i) => (i === 0 ? id : `${id}~${i + 1}`));
    const lost = { code: 'ERR_MIDTRANS_UNKNOWN_OUTCOME', ambiguous: true, tokenLost: true };

    /** The client asks twice for each page. The first answer is lost, `times` times. */
    const lose = ({ fake }, times = Infinity) => {
      const fault = { kind: 'drop', on: 'createTransaction' };
      fake.set([{ ...fault, times: 1 }, { ...fault, every: 2, times: times - 1 }]);
    };
    const setUp = () => pay(database, { midtrans: { breaker: false } });

    test('each attempt adds one page at most', async () => {
      const setup = await setUp();
      const { payments, fake } = setup;
      const id = 'lossy';
      lose(setup);
      const { order: taken, queued, error } = await payments.open(order(id));
      expect([taken.state, queued]).toEqual(['unknown', true]);
      expect(error).toMatchObject({ ...lost, retryable: true });
      expect([...fake.orders.keys()]).toEqual(pagesOf(id, 2));
      const { send } = payments.senders().MIDTRANS_ORDER;
      const attempt = () => send({ data: { orderId: id } }, {});
      for (let pages = 3; pages <= PAGES_MAX; pages += 1) {
        // After the last page a person has to decide.
        const retryable = pages < PAGES_MAX;
        await expect(attempt()).rejects.toMatchObject({ ...lost, retryable });
        expect([...fake.orders.keys()]).toEqual(pagesOf(id, pages));
      }
      await expect(attempt()).rejects.toMatchObject({ ...lost, retryable: false });
      expect(fake.orders.size).toBe(PAGES_MAX);
      expect(await payments.get(id)).toMatchObject({ state: 'unknown', token: null });
      // Whoever has one of them can pay all the same.
      fake.set(null);
      fake.choose(`${id}~5`);
      fake.settle(`${id}~5`);
      await payments.reconcile({ olderThan: 0 });
      expect(await payments.get(id)).toMatchObject({ state: 'paid' });
      expect(fake.orders.size).toBe(PAGES_MAX);
    });

    test('the worker asks again, and makes a page once answers arrive', async () => {
      const setup = await setUp();
      const { payments, outbox, fake, deliver } = setup;
      const id = 'lossy-for-a-while';
      outbox.registerChannel('MIDTRANS_ORDER', { maxAttempts: 100, backoff: { minTimeout: 1 } });
      lose(setup, 4);
      expect(await payments.open(order(id))).toMatchObject({ queued: true });
      await work(setup);
      const made = await createdBy(setup, id);
      expect([...fake.orders.keys()]).toEqual(pagesOf(id, 4));
      expect(made.token).toBe(fake.orders.get(`${id}~4`).token);
      await until(async () => (await messages(id))[0].status === 'SENT');
      expect(await messages(id)).toMatchObject([{ attempts: 2 }]);
      fake.choose(`${id}~4`);
      fake.settle(`${id}~4`);
      await deliver(fake.notifications(`${id}~4`, { latest: true })[0]);
      expect(await payments.get(id)).toMatchObject({ state: 'paid' });
    });
  });

  test.each(['drop', 'error'])('an expired order is opened again, and its page fails (%s)',
    async kind => {
      const setup = await pay(database);
      const { payments, fake, deliver } = setup;
      const id = `again-${kind}`;
      await placed(setup, id);
      fake.settle(id, 'expire');
      await deliver(fake.notifications(id, { latest: true })[0]);
      expect(await payments.get(id)).toMatchObject({ state: 'expired' });
      // Midtrans accepts the id again.
      fake.orders.delete(id);
      fake.set({ kind, status: 400, on: 'createTransaction', times: 1 });
      const opened = await payments.open(order(id)).catch(() => payments.open(order(id)));
      const page = kind === 'drop' ? `${id}~2` : id;
      expect(opened).toMatchObject({
        queued: false, order: { state: 'created', token: fake.orders.get(page).token },
      });
    });

  test('the customer has begun to pay on a page that we do not know', async () => {
    const setup = await pay(database);
    const { payments, fake, midtrans } = setup;
    await midtrans.createTransaction(order('landed'));
    fake.choose('landed');
    await payments.defer(order('landed'), { reason: { ambiguous: true } });
    await work(setup);
    await until(async () => (await payments.get('landed')).state === 'pending');
    expect(fake.orders.size).toBe(1);
    await until(async () => (await messages('landed'))[0].status === 'SENT');
  });

  test('an order that Midtrans refuses has failed', async () => {
    const setup = await pay(database, { hooks: { onFailed: nothing } });
    const { payments, fake } = setup;
    fake.set({ kind: 'error', status: 400 });
    await expect(payments.open(order('refused'))).rejects
      .toMatchObject({ code: 'ERR_MIDTRANS_REFUSED' });
    await payments.defer(order('refused-later'));
    await work(setup);
    const failed = await until(async () => {
      const found = await payments.get('refused-later');
      return found.state === 'failed' ? found : undefined;
    });
    expect(failed.history.at(-1)).toMatchObject({
      from: 'queued', to: 'failed', by: 'midtrans', reason: expect.stringContaining('400'),
    });
    expect(await payments.get('refused')).toMatchObject({ state: 'failed' });
    await until(async () => (await messages('refused-later'))
      .some(({ channel, status }) => channel === 'MIDTRANS_ORDER' && status === 'DLQ'));
    // Once the fault is corrected, the shop can try again.
    fake.set(null);
    expect(await payments.open(order('refused'))).toMatchObject({ order: { state: 'created' } });
  });

  test('Midtrans is waited for no longer than `timeout`, whatever the client\'s own', async () => {
    const { payments, fake, midtrans } = await pay(database, {
      midtrans: { timeout: 600_000, retry: false, breaker: false },
    });
    fake.set('hang');
    // Where there was not even time for a connection, nothing is in doubt.
    const late = /^ERR_MIDTRANS_(UNKNOWN_OUTCOME|TIMEOUT)$/;
    await expect(midtrans.createTransaction(order('waited'), { timeout: 100 })).rejects
      .toMatchObject({ code: expect.stringMatching(late) });
    const { order: taken, queued, error } = await payments.open(order('hangs'), { timeout: 100 });
    expect(taken).toMatchObject({ state: expect.stringMatching(/unknown|queued/), token: null });
    expect([queued, error.code]).toEqual([true, expect.stringMatching(late)]);
    expect(await messages('hangs')).toMatchObject([{ status: 'PENDING' }]);
  });

  test('an order is recorded in the caller\'s transaction, or not at all', async () => {
    const { payments } = await pay(database);
    await expect(database.transaction(async client => {
      await payments.defer(order('rolled-back'), { client });
      throw new Error('no');
    })).rejects.toThrow('no');
    expect(await payments.get('rolled-back')).toBeUndefined();
    expect(await messages('rolled-back')).toEqual([]);
    await database.transaction(client => payments.defer(order('committed'), { client }));
    expect(await payments.get('committed')).toMatchObject({ state: 'queued' });
    expect(await messages('committed')).toMatchObject([{ status: 'PENDING' }]);
  });

  test('recording an order again adds what is known; the amount must be the same', async () => {
    const { payments } = await pay(database);
    const given = { orderId: 'known', amountMinor: 5n, currency: 'USD' };
    await payments.createOrder({ ...given, state: 'unknown' });
    await expect(payments.createOrder({ ...given, amountMinor: 6n })).rejects
      .toMatchObject({ code: 'ERR_PAYMENT_ORDER' });
    await expect(payments.createOrder({ ...given, currency: 'IDR' })).rejects
      .toMatchObject({ code: 'ERR_PAYMENT_ORDER' });
    const made = await payments.createOrder({ ...given, token: 't', redirectUrl: 'https://a.b/' });
    expect(made).toMatchObject({ state: 'created', token: 't', redirectUrl: 'https://a.b/' });
    expect(await payments.createOrder({ ...given, state: 'unknown' })).toEqual(made);
    expect(moves(made)).toEqual(['null > unknown by order', 'unknown > created by order']);
  });

  test('recording an order returns what is stored', async () => {
    const { payments } = await pay(database);
    const given = { amountMinor: 5n, token: 't', redirectUrl: 'https://a.b/' };
    const all = [
      await payments.defer(order('deferred')),
      await payments.defer(order('in-doubt'), { reason: { ambiguous: true } }),
      await payments.createOrder({ orderId: 'unmade', amountMinor: 5n, state: 'unknown' }),
      await payments.createOrder({ orderId: 'made', ...given }),
    ];
    for (const each of all) expect(await payments.get(each.orderId)).toStrictEqual(each);
    expect(all.map(({ token }) => token)).toEqual([null, null, null, 't']);
  });

  test('a history keeps its last hundred entries', async () => {
    const { payments } = await pay(database);
    await payments.createOrder({ orderId: 'long', amountMinor: 5n, state: 'unknown' });
    const entry = n => ({ at: `n${n}`, from: 'pending', to: 'pending', by: String(n) });
    const stored = Array.from({ length: 98 }, (_, n) => entry(n));
    await database.query(`UPDATE ${database.schema}.payment_orders
      SET version = 98, history = $2::jsonb WHERE order_id = $1`, ['long', JSON.stringify(stored)]);
    const who = async orderId => (await payments.get(orderId)).history.map(({ by }) => by);
    expect(await who('long')).toEqual(['order', ...stored.map(({ by }) => by)]);
    const move = state => payments.createOrder({ orderId: 'long', amountMinor: 5n, state });
    await move('created');
    expect(await who('long')).toEqual(['order', ...stored.map(({ by }) => by), 'order']);
    await database.query(`UPDATE ${database.schema}.payment_orders
      SET state = 'expired' WHERE order_id = $1`, ['long']);
    await move('created');
    expect(await who('long')).toEqual([...stored.slice(1).map(({ by }) => by), 'order', 'order']);
  });

  test('two transactions of one order that are both paid: held', async () => {
    const setup = await pay(database, { midtrans: { fake: { uniqueOrders: false } } });
    const { payments, fake, deliver, seen } = setup;
    await placed(setup, 'double');
    fake.settle('double');
    const [first] = fake.notifications('double', { latest: true });
    fake.choose('double');
    fake.settle('double');
    const [second] = fake.notifications('double', { latest: true });
    expect(await deliver(first)).toMatchObject({ outcome: 'applied' });
    expect(await deliver(second)).toMatchObject({ outcome: 'held' });
    expect(seen.held).toEqual(['paid_twice']);
    expect(await payments.get('double')).toMatchObject({ state: 'paid', held: true });
    expect(await payments.review('double', 'apply', { by: 'bob', reason: 'refunded by hand' }))
      .toMatchObject({ state: 'paid', held: false });
  });

  test('of a second payment that is refunded: the hold ends, and only the refund is told',
    async () => {
      const setup = await noted({ midtrans: { fake: { uniqueOrders: false } } });
      const { fake, midtrans, payments, tell, heard, seen } = setup;
      for (let i = 0; i < 2; i += 1) {
        if (i === 0) await placed(setup, 'twice-paid'); else fake.choose('twice-paid');
        fake.settle('twice-paid');
        await tell('twice-paid');
      }
      expect(await payments.get('twice-paid')).toMatchObject({ state: 'paid', held: true });
      const second = fake.transactions.get('twice-paid').transaction_id;
      await midtrans.refund(second);
      expect(await tell('twice-paid'))
        .toMatchObject({ state: 'paid', held: false, refundedMinor: 1_000_000n });
      expect(seen.released).toEqual(['twice-paid']);
      expect(await heard('twice-paid'))
        .toEqual(['onPaid: paid', 'onRefund 1000000: paid', 'onRefunded: paid']);
      expect(await payments.listEvents({ outcome: 'released' })).toContainEqual(
        expect.objectContaining({ reason: 'paid_twice; decided by a notification' }));
    });

  test('what is held ends when a later answer of Midtrans decides', async () => {
    const setup = await pay(database, { hooks: { onPaid: nothing } });
    const { payments, fake, deliver, seen } = setup;
    await placed(setup, 'heals');
    fake.settle('heals', 'cancel');
    const [, cancel] = fake.notifications('heals');
    // One contradicts Midtrans, one is about a transaction that Midtrans does not know.
    for (const forged of [{ transaction_status: 'settlement' }, { transaction_id: 'none' }]) {
      expect(await deliver({ ...cancel, ...forged })).toMatchObject({ outcome: 'held' });
    }
    expect(await payments.get('heals')).toMatchObject({ state: 'cancelled', held: true });
    // The true one decides about its copies.
    expect(await deliver(cancel)).toMatchObject({ outcome: 'stale' });
    expect(await payments.get('heals')).toMatchObject({ state: 'cancelled', held: false });
    expect(seen.released).toEqual(['heals']);
    expect((await payments.events('heals')).map(({ outcome, reason }) => `${outcome} ${reason}`))
      .toEqual(['released contradicted; decided by a notification',
        'released not_found; decided by a notification', 'stale null']);
    await expect(payments.review('heals', 'apply', { by: 'bob', reason: 'late' })).rejects
      .toMatchObject({ code: 'ERR_PAYMENT_ORDER' });
    // Again the same: it is looked at again.
    expect(await deliver({ ...cancel, transaction_id: 'none' })).toMatchObject({ outcome: 'held' });
    expect(seen.held).toEqual(['contradicted', 'not_found', 'not_found']);
    // Nobody sends anything more: a look-up decides.
    await payments.reconcile({ olderThan: 0, limit: 10_000 });
    expect(await payments.get('heals')).toMatchObject({ state: 'cancelled', held: false });
    expect(seen.released).toEqual(['heals', 'heals']);
    const { rows } = await database.query(`SELECT silent_since FROM
      ${database.schema}.payment_orders WHERE order_id = 'heals'`);
    expect(rows).toEqual([{ silent_since: null }]);
  });

  test('late news of before an expired order was opened again does not end it', async () => {
    const setup = await pay(database, { hooks: { onFailed: nothing } });
    const { payments, fake, deliver } = setup;
    await placed(setup, 'second-life');
    fake.transactions.get('second-life').transaction_time = '2020-01-31 10:00:00';
    fake.settle('second-life', 'expire');
    const [expired] = fake.notifications('second-life', { latest: true });
    await database.query(`UPDATE ${database.schema}.payment_orders SET state = 'expired'
      WHERE order_id = 'second-life'`);
    await payments.createOrder({ orderId: 'second-life', amountMinor: 1_000_000, token: 'new' });
    expect(await deliver(expired)).toMatchObject({ outcome: 'applied' });
    expect(await payments.get('second-life')).toMatchObject({ state: 'created', token: 'new' });
    expect(await messages('second-life')).toEqual([]);
  });

  const inJakarta = ms => new Date(ms + 7 * 3_600_000).toISOString().slice(0, 19).replace('T', ' ');

  test.each([
    ['made within the same second as the order was opened again', at => inJakarta(at), 'denied'],
    ['made just before it, by Midtrans\'s clock', at => inJakarta(at - 3000), 'denied'],
    ['made a minute before', at => inJakarta(at - 60_000), 'created'],
    ['without a time', () => undefined, 'created'],
  ])('a denial of a transaction %s', async (name, timeOf, state) => {
    const setup = await pay(database, { hooks: { onFailed: nothing } });
    const { payments, fake, deliver } = setup;
    const orderId = name.replaceAll(/\W/g, '-').slice(0, 48);
    const charged = { orderId, amountMinor: 1_000_000 };
    await payments.createOrder(charged);
    await database.query(`UPDATE ${database.schema}.payment_orders SET state = 'expired'
      WHERE order_id = $1`, [orderId]);
    const { history } = await payments.createOrder(charged);
    await setup.midtrans.createTransaction(order(orderId));
    fake.choose(orderId);
    fake.transactions.get(orderId).transaction_time = timeOf(Date.parse(history.at(-1).at));
    fake.settle(orderId, 'deny');
    expect(await deliver(fake.notifications(orderId, { latest: true })[0]))
      .toMatchObject({ outcome: 'applied' });
    expect(await payments.get(orderId)).toMatchObject({ state });
    expect(await messages(orderId)).toHaveLength(state === 'denied' ? 1 : 0);
  });

  test('only a person ends a hold that Midtrans itself causes; two persons at once are safe',
    async () => {
      const setup = await pay(database, { hooks: { onPaid: nothing, onFailed: nothing } });
      const { payments, fake, deliver } = setup;
      await placed(setup, 'late-money');
      fake.settle('late-money', 'expire');
      await deliver(fake.notifications('late-money', { latest: true })[0]);
      fake.settle('late-money');
      await deliver(fake.notifications('late-money', { latest: true })[0]);
      await payments.reconcile({ olderThan: 0, limit: 10_000 });
      expect(await payments.get('late-money')).toMatchObject({ state: 'expired', held: true });
      const reviews = await Promise.allSettled(['ann', 'bob'].map(by =>
        payments.review('late-money', 'apply', { by, reason: 'it is on the account' })));
      expect(reviews.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
      expect(reviews.find(({ status }) => status === 'rejected').reason)
        .toMatchObject({ code: 'ERR_PAYMENT_ORDER' });
      expect(await payments.get('late-money')).toMatchObject({ state: 'paid', held: false });
      expect((await messages('late-money')).map(({ channel }) => channel))
        .toEqual(['PAYMENT_HOOK', 'PAYMENT_HOOK']);
    });

  test('without confirm, the notification itself is believed, step by step', async () => {
    const setup = await pay(database, { payments: { confirm: false } });
    const { payments, fake, deliver } = setup;
    await placed(setup, 'trusting');
    fake.settle('trusting');
    const asked = count(fake, 'GET', /status$/);
    for (const body of fake.notifications('trusting', { order: 'reversed' })) await deliver(body);
    expect(await payments.get('trusting')).toMatchObject({ state: 'paid', held: false });
    fake.settle('trusting', 'deny');
    expect(await deliver(fake.notifications('trusting', { latest: true })[0]))
      .toMatchObject({ outcome: 'held' });
    expect(count(fake, 'GET', /status$/)).toBe(asked);
  });

  test('lists by page, state and part of an id', async () => {
    const { payments } = await pay(database);
    for (let i = 0; i < 7; i += 1) {
      await payments.createOrder({ orderId: `list_${i}`, amountMinor: 1n });
    }
    const ids = async filter => (await payments.list({ search: 'list_', ...filter }))
      .map(({ orderId }) => orderId.slice(5)).join('');
    expect(await ids()).toBe('6543210');
    expect(await ids({ limit: 3 })).toBe('654');
    expect(await ids({ limit: 3, before: 'list_4' })).toBe('321');
    expect(await ids({ state: 'paid' })).toBe('');
    expect(await ids({ state: 'created', held: false })).toBe('6543210');
    // Neither % nor _ is a wildcard.
    expect(await ids({ search: 'list%' })).toBe('');
    expect(await ids({ search: 'ist-' })).toBe('');
  });

  test('unknown options are rejected', async () => {
    const { payments } = await pay(database);
    const made = { orderId: 'misspelt', amountMinor: 1_000_000 };
    const why = { by: 'alice', reason: 'seen' };
    const calls = {
      'order.orderID': () => payments.createOrder({ ...made, orderID: 'a' }),
      Client: () => payments.createOrder(made, { Client: {} }),
      reasn: () => payments.defer(order('misspelt'), { reasn: 1 }),
      time_out: () => payments.open(order('misspelt'), { time_out: 1 }),
      'filter.stat': () => payments.list({ stat: 'paid' }),
      'filter.outcomes': () => payments.listEvents({ outcomes: 'held' }),
      olderThen: () => payments.reconcile({ olderThen: 1 }),
      resaon: () => payments.review('misspelt', 'apply', { ...why, resaon: 'seen' }),
    };
    for (const [option, call] of Object.entries(calls)) {
      await expect(call()).rejects.toMatchObject({
        code: 'ERR_INVALID_OPTION', option, message: expect.stringContaining('Did you mean'),
      });
    }
    await expect(payments.open(order('misspelt'), { timeout: 0 })).rejects
      .toMatchObject({ option: 'timeout' });
    await expect(payments.createOrder({ ...made, state: 'queued', body: null })).rejects
      .toMatchObject({ option: 'order.body' });
    expect(await payments.get('misspelt')).toBeUndefined();
  });

  test('invalid input is rejected', async () => {
    const { payments, outbox } = await pay(database);
    const made = { orderId: 'wrong', amountMinor: 1_000_000 };
    const calls = [
      () => payments.createOrder(), () => payments.createOrder({ ...made, orderId: 'a b' }),
      () => payments.createOrder({ ...made, amountMinor: 0 }),
      () => payments.createOrder({ ...made, amountMinor: 1.5 }),
      () => payments.createOrder({ ...made, amountMinor: '5' }),
      () => payments.createOrder({ ...made, currency: 'idr' }),
      () => payments.createOrder({ ...made, state: 'paid' }),
      () => payments.createOrder({ ...made, state: 'queued' }),
      () => payments.createOrder({ ...made, token: '' }),
      () => payments.createOrder({ ...made, body: order('another') }),
      () => payments.createOrder({ ...made, body: order('wrong', 20_000) }),
      () => payments.createOrder(made, { client: {} }),
      () => payments.get('../x'), () => payments.list({ state: 'lost' }),
      () => payments.listEvents({ outcome: "'" }), () => payments.listEvents({ before: '-1' }),
      () => payments.list({ limit: 0 }), () => payments.list({ order: 1 }),
      () => payments.reconcile({ olderThan: -1 }), () => payments.handleNotification(5),
      () => payments.handleNotification(null), () => payments.handleNotification({ n: 1n }),
      () => payments.review('wrong', 'apply', {}), () => payments.review('wrong', 'yes', {}),
    ];
    for (const call of calls) {
      await expect(call()).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
    }
    await expect(payments.open({})).rejects.toMatchObject({
      code: 'ERR_INVALID_INPUT', faults: expect.any(Array),
    });
    expect(await payments.get('wrong')).toBeUndefined();
    const { createPayments } = require('../../lib/store/payments');
    for (const options of [{ midtrans: {} }, { maxBody: 1 }, { confirm: 1 }, { hooks: { on: 1 } },
      { hooks: { onPaid: 1 } }, { hook: {} }]) {
      expect(() => createPayments({ database, outbox, options }))
        .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
    }
    expect(() => createPayments({ database, outbox, options: { hooks: { onPayed () {} } } }))
      .toThrow('Unknown option onPayed in payments.hooks. Did you mean onPaid?');
    const bare = createPayments({ database, outbox });
    expect(await bare.createOrder({ orderId: 'bare', amountMinor: 1 }))
      .toMatchObject({ held: false });
    await expect(bare.handleNotification('{}')).rejects
      .toMatchObject({ code: 'ERR_INVALID_OPTION', option: 'payments.midtrans' });
  });
});
