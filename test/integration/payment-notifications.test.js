'use strict';

// Notifications that are malformed, forged, repeated, out of order, or that come while something
// is down. SEKERING_CHAOS_SECONDS makes it the long form: 10,000 forgeries, and lives of up to five
// events in every order.

const { createHash } = require('node:crypto');

const { canMove, transactionStates } = require('../../lib/clients/midtrans');
const { KEY, order } = require('../support/midtrans-helpers');
const { endTest, listen, openShared, pay, placed, until } = require('../support/payment-helpers');
const { describeEngines, sharedPostgres } = require('../support/postgres');
const { forgeries } = require('../support/payment-forgeries');

const IS_LONG = Number(process.env.SEKERING_CHAOS_SECONDS ?? 0) > 0;
// Much of it is the same code on both engines: the short form has more of it on PostgreSQL.
const sizes = engine => {
  if (IS_LONG) return { forgeryCount: 10_000, eventsMax: 5 };
  return engine === 'postgresql' ? { forgeryCount: 1000, eventsMax: 3 }
    : { forgeryCount: 120, eventsMax: 2 };
};
const PARALLEL = 8;
if (IS_LONG) jest.setTimeout(1_800_000);

const STARTS = ['pending', 'authorize', 'capture', 'settlement', 'deny'];
const STATES = {
  pending: 'pending', authorize: 'authorize', capture: 'paid', settlement: 'paid', deny: 'denied',
  cancel: 'cancelled', expire: 'expired', refund: 'refunded', chargeback: 'charged_back',
  partial_refund: 'partially_refunded', partial_chargeback: 'partially_charged_back',
};
const CODES = { pending: '201', deny: '202', expire: '407' };

/** Every life that a transaction may have, of up to `max` events. */
function lives (max, life) {
  if (life === undefined) return STARTS.flatMap(start => lives(max, [start]));
  if (life.length === max) return [life];
  const next = transactionStates.filter(state => state !== life.at(-1) &&
    canMove(life.at(-1), state) && !(life.includes('refund') && state.endsWith('refund')));
  return [life, ...next.flatMap(state => lives(max, [...life, state]))];
}

/** What has gone back at the `n`-th event of a life, of 5000. */
function returnedAt (life, n) {
  let refunded = 0;
  let taken = 0;
  for (const state of life.slice(0, n + 1)) {
    if (state === 'partial_refund') refunded += 100;
    if (state === 'refund') refunded = 5000 - taken;
    if (state === 'partial_chargeback') taken += 100;
    if (state === 'chargeback') taken = 5000 - refunded;
  }
  return {
    ...refunded > 0 && { refund_amount: `${refunded}.00` },
    ...taken > 0 && { chargeback_amount: `${taken}.00` },
  };
}

/** Whether the shop has had money of an order: it was paid when it first heard of any. */
function isPaid (moves, life) {
  const first = moves.find(({ to }) => /paid|refunded|charged_back/.test(to))?.to;
  // A bank takes money back after a full refund: nothing was left of it.
  const isOver = first === 'partially_charged_back' && life.at(-2) === 'refund';
  return first === 'paid' || (first?.startsWith('partially') === true && !isOver);
}

/**
 * Whether money goes back twice at the end of a life. Undefined if it depends on what was heard
 * before: a full chargeback takes all that a refund has left.
 */
function isTwice (life) {
  const isBanks = ['chargeback', 'partial_chargeback'].includes(life.at(-1));
  if (life.at(-2) !== 'refund' || !isBanks) return false;
  return life.at(-1) === 'chargeback' && life.includes('partial_chargeback') ? undefined : true;
}

/** Every order in which `count` events can come in `length` deliveries, each at least once. */
function deliveries (count, length, made = []) {
  if (made.length === length) return new Set(made).size === count ? [made] : [];
  return Array.from({ length: count }, (_, i) => deliveries(count, length, [...made, i])).flat();
}

function sign (body) {
  const { order_id: id, status_code: code, gross_amount: amount } = body;
  const text = `${id}${code}${amount}${KEY}`;
  return { ...body, signature_key: createHash('sha512').update(text).digest('hex') };
}

async function inParallel (items, work) {
  const queue = [...items.entries()].reverse();
  await Promise.all(Array.from({ length: PARALLEL }, async () => {
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      await work(next[1], next[0]);
    }
  }));
}

describeEngines('notifications', ({ name, place }) => {
  const { forgeryCount, eventsMax } = sizes(name);
  let database;

  beforeAll(async () => { database = await openShared(await place()); });
  afterEach(() => endTest(database));
  afterAll(() => database.close());

  const messagesOf = async orderId => (await database.query(
    `SELECT body_data->>'hook' AS hook FROM ${database.schema}.notification_outbox
     WHERE channel = 'PAYMENT_HOOK' AND recipient = $1`, [orderId])).rows.map(({ hook }) => hook);
  const nothing = () => {};

  test(`${forgeryCount} malformed or forged ones: none is accepted`, async () => {
    const setup = await pay(database);
    const { payments, fake, deliver, seen } = setup;
    await placed(setup, 'forged-200');
    await placed(setup, 'other-1');
    const [body] = fake.notifications('forged-200');
    const answers = {};
    await inParallel([...forgeries(body, forgeryCount)], async forgery => {
      const { status, outcome } = await payments.handleNotification(forgery);
      answers[`${status} ${outcome}`] = (answers[`${status} ${outcome}`] ?? 0) + 1;
    });
    // Digits that have moved make it a true notification about an order that nobody has.
    expect(Object.keys(answers).toSorted())
      .toEqual(['200 unknown_order', '400 invalid', '403 forged', '413 invalid']);
    expect(seen.warning).toEqual([]);
    expect(await payments.get('forged-200')).toMatchObject({ state: 'created', held: false });
    // They have not stood in the way of the true one.
    expect(await deliver(body)).toMatchObject({ status: 200, outcome: 'applied' });
    // All are counted.
    await payments.close();
    const { rows } = await database.query(`SELECT outcome, sum(times) AS times
      FROM ${database.schema}.payment_events GROUP BY outcome`);
    const counts = Object.fromEntries(rows.map(({ outcome, times }) => [outcome, Number(times)]));
    expect(counts).toEqual({
      applied: 1, forged: answers['403 forged'],
      invalid: answers['400 invalid'] + answers['413 invalid'],
      unknown_order: answers['200 unknown_order'],
    });
  });

  // PGlite does one thing after another.
  if (name === 'postgresql') {
    test('one that is just being counted is waited for in the end', async () => {
      const { payments } = await pay(database);
      const counted = async () => (await database.query(`SELECT sum(times)::integer AS times
        FROM ${database.schema}.payment_events WHERE outcome = 'invalid'`)).rows[0].times;
      const before = await counted();
      let isClosed = false;
      let closing;
      await database.transaction(async client => {
        await client.query(`LOCK TABLE ${database.schema}.payment_events IN EXCLUSIVE MODE`);
        payments.handleNotification('{');
        await until(async () => (await database.query(`SELECT FROM pg_locks WHERE NOT granted
          AND relation = '${database.schema}.payment_events'::regclass`)).rowCount > 0);
        closing = payments.close().then(() => { isClosed = true; });
        await client.query('SELECT 1');
        expect(isClosed).toBe(false);
      });
      await closing;
      expect(await counted()).toBe(before + 1);
    });
  }

  test('what the signature does not cover is not believed', async () => {
    const setup = await pay(database);
    const { payments, fake, deliver, seen } = setup;
    for (const id of ['rewritten', 'another']) await placed(setup, id);
    const [pending] = fake.notifications('rewritten');
    // A payment that has not been made: Midtrans may be late, so that it has to come again.
    expect(await deliver({ ...pending, transaction_status: 'settlement' }))
      .toMatchObject({ status: 503, outcome: 'unavailable' });
    expect(await payments.get('rewritten')).toMatchObject({ state: 'pending', held: false });
    expect(await deliver({ ...pending, transaction_id: fake.transactions.get('another')
      .transaction_id })).toMatchObject({ status: 403, outcome: 'forged' });
    expect(await deliver({ ...pending, transaction_id: 'none' }))
      .toMatchObject({ status: 200, outcome: 'held' });
    fake.settle('rewritten', 'cancel');
    const [cancel] = fake.notifications('rewritten', { latest: true });
    const [forged] = fake.notifications('rewritten', { latest: true, forge: 'status' });
    expect(await deliver(forged)).toMatchObject({ status: 200, outcome: 'held' });
    expect(await payments.get('rewritten')).toMatchObject({ state: 'cancelled', held: true });
    expect(await deliver(cancel)).toMatchObject({ status: 200, outcome: 'stale' });
    for (const state of ['refund', 'unheard_of', 'chargeback']) {
      expect(await deliver({ ...cancel, transaction_status: state }))
        .toMatchObject({ status: 200, outcome: 'held' });
    }
    expect(await payments.get('rewritten')).toMatchObject({ state: 'cancelled' });
    expect(seen.held).toEqual(['not_found', 'contradicted', 'contradicted', 'edge',
      'contradicted']);
    expect(seen.forged).toHaveLength(1);
  });

  // `late`: Midtrans knows the end from the start. Otherwise it knows no more than what was sent.
  test.each([['late', true], ['as it goes', false]])(
    `each life of up to ${eventsMax} events, in each order, with repeats (GET status: %s)`,
    async (when, late) => {
      const truths = new Map();
      const { midtrans, outbox } = await pay(database);
      const provider = {
        verifyNotification: body => midtrans.verifyNotification(body),
        createTransaction: nothing,
        status: async id => truths.get(id),
      };
      const { payments } = await pay(database, {
        payments: { midtrans: provider }, hooks: { onPaid: nothing, onTransition: nothing },
      });
      expect(outbox.channels).toContain('PAYMENT_HOOK');
      const runs = lives(eventsMax).flatMap(life =>
        Array.from({ length: eventsMax + 1 - life.length }, (_, i) => life.length + i)
          .flatMap(length => deliveries(life.length, length))
          .map(arrivals => ({ life, arrivals })))
        // The short form has each of them once.
        .filter((_, i) => IS_LONG || i % 2 === Number(late));
      expect(runs.length).toBeGreaterThanOrEqual(20);
      const go = async ({ life, arrivals }, i) => {
        const id = `life-${when.length}-${i}`;
        await payments.createOrder({ orderId: id, amountMinor: 500_000n });
        const bodies = life.map((state, n) => sign({
          order_id: id, transaction_id: `tx-${id}`, transaction_status: state, currency: 'IDR',
          status_code: CODES[state] ?? '200', gross_amount: '5000.00', payment_type: 'qris',
          ...returnedAt(life, n),
        }));
        let known = late ? life.length - 1 : 0;
        for (const n of arrivals) {
          known = Math.max(known, n);
          truths.set(`tx-${id}`, bodies[known]);
          const { status } = await payments.handleNotification(JSON.stringify(bodies[n]));
          if (status !== 200) throw new Error(`${id}: ${status} to ${life[n]}`);
        }
        const { state, held, history } = await payments.get(id);
        const moves = history.slice(1);
        const hooks = await messagesOf(id);
        const count = hook => hooks.filter(each => each === hook).length;
        const found = {
          state, held, paid: count('onPaid') === Number(isPaid(moves, life)),
          each: moves.length === count('onTransition'), once: count('onPaid') <= 1,
        };
        const expected = {
          state: STATES[life.at(-1)], held: isTwice(life) ?? held, paid: true, each: true,
          once: true,
        };
        const isRight = JSON.stringify(found) === JSON.stringify(expected);
        return isRight ? [] : [{ life, arrivals, found }];
      };
      const faults = [];
      await inParallel(runs, async (run, i) => { faults.push(...await go(run, i)); });
      expect(faults).toEqual([]);
    });

  test('one event over 50 connections at once: one transition, one message', async () => {
    const setup = await pay(database, { hooks: { onPaid: nothing } });
    const { payments, fake, seen } = setup;
    await placed(setup, 'fifty');
    fake.settle('fifty');
    const url = await listen(payments);
    const answers = (await Promise.all(Array.from({ length: 50 }, () =>
      fake.notify(url, 'fifty', { latest: true })))).flat().map(({ status, text }) =>
      `${status} ${JSON.parse(text).status}`);
    expect(answers.filter(answer => answer === '200 applied')).toHaveLength(1);
    expect(answers.filter(answer => answer === '200 already_processed')).toHaveLength(49);
    expect(seen.transition.filter(text => text.startsWith('fifty'))).toEqual([
      'fifty: unknown > created', 'fifty: created > paid',
    ]);
    expect(await messagesOf('fifty')).toEqual(['onPaid']);
    expect(await payments.events('fifty')).toMatchObject([{ times: 50, outcome: 'applied' }]);
  });

  test('automatic fees are not the order\'s', async () => {
    const setup = await pay(database, { midtrans: { fake: { fees: 4000 } } });
    const { payments, fake, deliver } = setup;
    await placed(setup, 'fees');
    fake.settle('fees');
    const [body] = fake.notifications('fees', { latest: true });
    expect(body.gross_amount).toBe('14000.00');
    expect(await deliver(body)).toMatchObject({ outcome: 'applied' });
    expect(await payments.get('fees')).toMatchObject({ state: 'paid', amountMinor: 1_000_000n });
  });

  test('another amount or currency is held for a person; an unknown order can be reviewed',
    async () => {
      const setup = await pay(database, { hooks: { onPaid: nothing } });
      const { payments, fake, deliver, seen } = setup;
      for (const id of ['held-a', 'held-b', 'held-c']) {
        await setup.midtrans.createTransaction(order(id));
        fake.choose(id);
        fake.settle(id);
      }
      await payments.createOrder({ orderId: 'held-a', amountMinor: 900_000 });
      await payments.createOrder({ orderId: 'held-b', amountMinor: 1_000_000, currency: 'USD' });
      for (const id of ['held-a', 'held-b', 'held-c']) {
        const [body] = fake.notifications(id, { latest: true });
        const [first, again] = id === 'held-c' ? ['unknown_order', 'unknown_order']
          : ['held', 'already_processed'];
        expect(await deliver(body)).toMatchObject({ status: 200, outcome: first });
        expect(await deliver(body)).toMatchObject({ status: 200, outcome: again });
      }
      expect(seen.held).toEqual(['amount', 'currency']);
      expect(await payments.list({ held: true, search: 'held-' }))
        .toMatchObject([{ orderId: 'held-b' }, { orderId: 'held-a' }]);
      expect(await payments.listEvents({ outcome: 'held', limit: 2 })).toMatchObject([
        { orderId: 'held-b', reason: 'currency' }, { orderId: 'held-a', reason: 'amount' },
      ]);
      expect(await payments.listEvents({ outcome: 'unknown_order', limit: 1 }))
        .toMatchObject([{ orderId: 'held-c', times: 2, reason: null }]);
      const how = { by: 'alice', reason: 'seen the bank account' };
      expect(await payments.review('held-a', 'apply', how)).toMatchObject({
        state: 'paid', held: false,
        history: expect.arrayContaining([
          expect.objectContaining({ by: 'review:alice', reason: 'seen the bank account' }),
        ]),
      });
      expect(await payments.review('held-b', 'dismiss', how))
        .toMatchObject({ state: 'created', held: false });
      expect(await payments.review('held-c', 'apply', how))
        .toMatchObject({ state: 'paid', held: false, amountMinor: 1_000_000n });
      expect(await payments.events('held-b')).toMatchObject([
        { outcome: 'dismissed', reason: 'currency; alice: seen the bank account' },
      ]);
      for (const id of ['held-a', 'held-b', 'held-c']) {
        await expect(payments.review(id, 'apply', how)).rejects.toMatchObject({
          code: 'ERR_PAYMENT_ORDER', message: `No event of order ${id} is held`,
        });
      }
      expect(await messagesOf('held-a')).toEqual(['onPaid']);
      const [again] = fake.notifications('held-b', { latest: true });
      expect(await deliver(again)).toMatchObject({ outcome: 'already_processed' });
    });

  test('an order that is recorded late loses nothing', async () => {
    const setup = await pay(database);
    const { payments, fake, deliver, seen } = setup;
    for (const id of ['late-1', 'late-2']) {
      await setup.midtrans.createTransaction(order(id));
      fake.choose(id);
      fake.settle(id);
      const asked = fake.log.length;
      const [body] = fake.notifications(id, { latest: true });
      expect(await deliver(body)).toMatchObject({ status: 200, outcome: 'unknown_order' });
      expect(fake.log).toHaveLength(asked);
      await payments.createOrder({ orderId: id, amountMinor: 1_000_000 });
    }
    // Nothing is held of an order that is there.
    await expect(payments.review('late-1', 'apply', { by: 'alice', reason: 'late' }))
      .rejects.toMatchObject({ code: 'ERR_PAYMENT_ORDER' });
    const [again] = fake.notifications('late-1', { latest: true });
    expect(await deliver(again)).toMatchObject({ status: 200, outcome: 'applied' });
    await payments.reconcile({ olderThan: 0, limit: 10_000 });
    for (const id of ['late-1', 'late-2']) {
      expect(await payments.get(id)).toMatchObject({ state: 'paid', held: false });
    }
    expect(seen.held).toEqual([]);
  });

  test('a transaction with an impossible id is held, and the true one is applied', async () => {
    const setup = await pay(database);
    const { payments, fake, deliver, seen } = setup;
    await placed(setup, 'dots');
    const [body] = fake.notifications('dots');
    const asked = fake.log.length;
    const outcomes = [];
    const tell = async id => {
      outcomes.push((await deliver({ ...body, transaction_id: id })).outcome);
    };
    for (const id of ['.', '..']) await tell(id);
    expect(fake.log).toHaveLength(asked);
    await tell('../../v2/charge');
    expect(fake.log.at(-1).path).toBe('/v2/..%2F..%2Fv2%2Fcharge/status');
    // The transaction is not signed: whatever it says, it is one event and one alarm.
    expect(outcomes).toEqual(['held', 'already_processed', 'already_processed']);
    expect(seen.held).toEqual(['not_found']);
    expect(await deliver(body)).toMatchObject({ status: 200, outcome: 'applied' });
    expect(await payments.get('dots')).toMatchObject({ state: 'pending' });
  });

  test('a denied challenge, an accepted one; a bank that takes a transfer back', async () => {
    const setup = await pay(database);
    const { payments, fake, midtrans, deliver } = setup;
    const states = [];
    const tell = async id => {
      for (const body of fake.notifications(id)) await deliver(body);
      states.push((await payments.get(id)).state);
    };
    for (const id of ['challenge-1', 'challenge-2']) {
      await payments.createOrder({ orderId: id, amountMinor: 1_000_000 });
      await midtrans.charge({
        transaction_details: { order_id: id, gross_amount: 10_000 },
        payment_type: 'credit_card', credit_card: { token_id: 'challenge' },
      });
      await tell(id);
    }
    await midtrans.deny('challenge-1');
    await tell('challenge-1');
    await midtrans.approve('challenge-2');
    await tell('challenge-2');
    await placed(setup, 'taken-back');
    fake.settle('taken-back');
    await tell('taken-back');
    fake.settle('taken-back', 'deny');
    await tell('taken-back');
    expect(states).toEqual(['authorize', 'authorize', 'denied', 'paid', 'paid', 'denied']);
    expect(await payments.list({ held: true, search: 'challenge' })).toEqual([]);
  });

  test('an order that expired and was opened again has a transaction of its own', async () => {
    const setup = await pay(database);
    const { payments, fake, deliver } = setup;
    await placed(setup, 'twice');
    fake.settle('twice', 'expire');
    const [expired] = fake.notifications('twice', { latest: true });
    await deliver(expired);
    expect(await payments.get('twice')).toMatchObject({ state: 'expired' });
    await payments.createOrder({ orderId: 'twice', amountMinor: 1_000_000, token: 'second' });
    expect(await payments.get('twice')).toMatchObject({ state: 'created', token: 'second' });
    fake.choose('twice');
    fake.settle('twice');
    await deliver(fake.notifications('twice', { latest: true })[0]);
    expect(await deliver(expired)).toMatchObject({ outcome: 'already_processed' });
    expect(await payments.get('twice')).toMatchObject({
      state: 'paid', transactionId: fake.transactions.get('twice').transaction_id,
    });
  });

  test('Midtrans or the database is away: 503, and the next notification is applied', async () => {
    const setup = await pay(database, { midtrans: { retry: { retries: 0 } } });
    const { payments, fake, deliver, seen } = setup;
    await placed(setup, 'away');
    fake.settle('away');
    const [body] = fake.notifications('away', { latest: true });
    fake.set({ kind: 'error', status: 503, on: 'status' });
    expect(await deliver(body)).toMatchObject({ status: 503, outcome: 'unavailable' });
    expect(await payments.events('away')).toMatchObject([{ outcome: 'unavailable' }]);
    fake.set(null);
    if (name === 'postgresql') {
      const postgres = await sharedPostgres();
      await postgres.stop('immediate');
      expect(await deliver(body)).toMatchObject({ status: 503, outcome: 'unavailable' });
      expect(await deliver({ ...body, signature_key: '0' })).toMatchObject({ status: 403 });
      await postgres.start();
      expect(seen.warning.map(({ code }) => code)).toContain('ERR_STORE_UNREACHABLE');
    }
    expect(await deliver(body)).toMatchObject({ status: 200, outcome: 'applied' });
    expect(await payments.events('away')).toContainEqual(
      expect.objectContaining({ outcome: 'applied', times: 2 }));
  });
});
