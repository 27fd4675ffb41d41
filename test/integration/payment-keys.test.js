'use strict';

// Orders under an idempotency key: the key is claimed with the order, and its result is stored with
// the order's page.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');

const { closeAll, keep, order } = require('../support/midtrans-helpers');
const { gate } = require('../support/outbox-helpers');
const { endTest, openKeyed, openShared, pay, until } = require('../support/payment-helpers');
const { describeEngines, sharedPostgres } = require('../support/postgres');

const ACTOR = path.join(__dirname, '..', 'support', 'payment-actor.js');

const codeOf = promise => promise.then(({ value }) => value, ({ code }) => code);

/** The keys and orders that the same transaction wrote last. */
const writtenTogether = async database => (await database.query(`SELECT o.order_id, o.state,
    k.status, k.key, k.xmin = o.xmin AS together
  FROM ${database.schema}.payment_orders o, ${database.schema}.idempotency_store k
  WHERE k.key = 'key of ' || o.order_id ORDER BY o.order_id`)).rows;

describeEngines('an order with a key', ({ name, place }) => {
  let database;

  beforeAll(async () => { database = await openShared(await place()); });
  afterEach(async () => {
    await endTest(database);
    for (const table of ['payment_orders', 'idempotency_store']) {
      await database.query(`DELETE FROM ${database.schema}.${table}`);
    }
  });
  afterAll(() => database.close());

  const keyed = (setup, id, options) => openKeyed(setup, `key of ${id}`, order(id), options);
  const endLocks = () => database.query(`UPDATE ${database.schema}.idempotency_store
    SET locked_until = clock_timestamp() WHERE status = 'in_progress'`);

  /** A setup whose page is made when a test says so. */
  async function paused () {
    const [asked, go] = [gate(), gate()];
    const base = await pay(database);
    const midtrans = {
      verifyNotification: body => base.midtrans.verifyNotification(body),
      status: (...args) => base.midtrans.status(...args),
      async createTransaction (...args) {
        asked.resolve();
        await go.promise;
        return base.midtrans.createTransaction(...args);
      },
    };
    const setup = await pay(database, { payments: { midtrans } });
    return { ...setup, fake: base.fake, asked, go };
  }

  test('its key is claimed, and its result is stored, in the same transactions', async () => {
    const setup = await paused();
    const ids = Array.from({ length: 5 }, (_, i) => `order-${i}`);
    const all = Promise.all([...ids.map(id => keyed(setup, id)),
      setup.payments.open(order('without'))]);
    await setup.asked.promise;
    expect(await writtenTogether(database)).toEqual(ids.map(id => ({
      order_id: id, state: 'unknown', status: 'in_progress', key: `key of ${id}`, together: true,
    })));
    setup.go.resolve();
    const answers = await all;
    expect(await writtenTogether(database)).toEqual(ids.map(id => ({
      order_id: id, state: 'created', status: 'done', key: `key of ${id}`, together: true,
    })));
    for (const [i, id] of ids.entries()) {
      const { token } = setup.fake.orders.get(id);
      expect(answers[i]).toEqual({
        value: { queued: false, orderId: id, state: 'created', token }, replayed: false,
      });
      expect(await keyed(setup, id)).toEqual({ value: answers[i].value, replayed: true });
    }
    expect(answers.at(-1).order.state).toBe('created');
    expect([...setup.fake.orders.keys()].sort()).toEqual([...ids, 'without']);
  });

  test('many calls at once with one key: one page, and the same answer for all', async () => {
    const setup = await pay(database);
    const answers = await Promise.all(Array.from({ length: 50 }, () =>
      keyed(setup, 'many', { wait: 300_000 })));
    expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
    for (const { value } of answers) expect(value).toEqual(answers[0].value);
    expect([...setup.fake.orders.keys()]).toEqual(['many']);
    expect(await setup.payments.get('many')).toMatchObject({ state: 'created', history: [{}, {}] });
  });

  test('in flight: an error at once; another request with the key leaves no order', async () => {
    const setup = await paused();
    const other = { ...order('other'), custom_field1: 'x' };
    // Both go into one statement.
    const [first, second] = [keyed(setup, 'first'), openKeyed(setup, 'key of first', other)];
    expect(await codeOf(second)).toBe('ERR_IDEMPOTENCY_MISMATCH');
    expect(await codeOf(keyed(setup, 'first'))).toBe('ERR_IDEMPOTENCY_IN_PROGRESS');
    expect(await codeOf(openKeyed(setup, 'key of first', other))).toBe('ERR_IDEMPOTENCY_MISMATCH');
    setup.go.resolve();
    expect(await first).toMatchObject({ replayed: false });
    expect(await codeOf(openKeyed(setup, 'key of first', other))).toBe('ERR_IDEMPOTENCY_MISMATCH');
    expect(await setup.payments.get('other')).toBeUndefined();
    expect([...setup.fake.orders.keys()]).toEqual(['first']);
  });

  test('a result that has expired is no answer; the order keeps its page', async () => {
    const setup = await pay(database);
    const { value } = await keyed(setup, 'old');
    await database.query(`UPDATE ${database.schema}.idempotency_store
      SET expires_at = clock_timestamp()`);
    expect(await keyed(setup, 'old')).toEqual({ value, replayed: false });
    expect(await keyed(setup, 'old')).toEqual({ value, replayed: true });
    expect([...setup.fake.orders.keys()]).toEqual(['old']);
  });

  test('an order that is there: two keys get its page', async () => {
    const setup = await pay(database);
    await setup.payments.open(order('shared'));
    const answers = await Promise.all([1, 2].map(i =>
      openKeyed(setup, `key ${i}`, order('shared'))));
    const { token } = setup.fake.orders.get('shared');
    for (const { value, replayed } of answers) {
      expect([value.token, replayed]).toEqual([token, false]);
    }
    expect(await codeOf(openKeyed(setup, 'key 3', order('shared', 7)))).toBe('ERR_PAYMENT_ORDER');
    // That was no result: the key is free.
    expect(await openKeyed(setup, 'key 3', order('shared'))).toMatchObject({ value: { token } });
  });

  test('Midtrans is away: the answer that it waits is kept', async () => {
    const setup = await pay(database, { midtrans: { retry: { retries: 0 } } });
    setup.fake.set({ kind: 'error', status: 503 });
    const first = await keyed(setup, 'queued');
    expect(first).toMatchObject({ value: { queued: true, token: null }, replayed: false });
    setup.fake.set(null);
    expect(await keyed(setup, 'queued')).toEqual({ value: first.value, replayed: true });
    const deferred = await setup.idempotency.runJointly('left', async ({ joint }) => {
      const { state } = await setup.payments.defer(order('left'), {}, joint);
      expect(joint.isHeld).toBe(true);
      return state;
    });
    expect(deferred).toEqual({ value: 'queued', replayed: false });
  });

  test('a hook hears of the page: it is told once, and the answer is kept', async () => {
    const setup = await pay(database, { hooks: { onTransition () {} } });
    const first = await keyed(setup, 'told');
    expect(await keyed(setup, 'told')).toEqual({ ...first, replayed: true });
    expect(await setup.outbox.list({ search: 'told' })).toHaveLength(1);
  });

  test('work that needs no key in the end has one all the same', async () => {
    const { idempotency } = await pay(database);
    const work = jest.fn(async () => 'nothing to do');
    const run = payload => idempotency.runJointly('idle', work, { payload });
    expect(await run(1)).toEqual({ value: 'nothing to do', replayed: false });
    expect(await run(1)).toEqual({ value: 'nothing to do', replayed: true });
    expect(await codeOf(run(2))).toBe('ERR_IDEMPOTENCY_MISMATCH');
    const fail = idempotency.runJointly('failing', async () => { throw new Error('no'); });
    await expect(fail).rejects.toThrow('no');
    expect(await idempotency.get('failing')).toBeUndefined();
  });

  test('a holder that lost its key while Midtrans was asked gets what the next one got',
    async () => {
      const setup = await paused();
      const first = keyed(setup, 'stale');
      await setup.asked.promise;
      await endLocks();
      const next = setup.idempotency.run('key of stale', async () => 'the next',
        { payload: order('stale') });
      expect(await next).toEqual({ value: 'the next', replayed: false });
      setup.go.resolve();
      expect(await first).toEqual({ value: 'the next', replayed: true });
      expect(await setup.payments.get('stale')).toMatchObject({ state: 'created' });
    });

  if (name !== 'postgresql') return;

  test('a key that another transaction has locked: the order moves, and the result waits',
    async () => {
      const setup = await paused();
      const first = keyed(setup, 'locked');
      await setup.asked.promise;
      const [taken, give] = [gate(), gate()];
      const holding = database.transaction(async client => {
        await client.query(`SELECT FROM ${database.schema}.idempotency_store FOR UPDATE`);
        taken.resolve();
        await give.promise;
      });
      await taken.promise;
      setup.go.resolve();
      await until(async () => (await setup.payments.get('locked')).state === 'created');
      expect(await setup.idempotency.get('key of locked')).toMatchObject({ status: 'in_progress' });
      give.resolve();
      await holding;
      expect(await first).toMatchObject({ value: { state: 'created' }, replayed: false });
      expect(await keyed(setup, 'locked')).toMatchObject({ replayed: true });
    });
});

describe('a process that is killed', () => {
  afterEach(closeAll);

  test.each(['asked', 'made', 'settled'])('while it makes an order (%s)', async crash => {
    const url = await (await sharedPostgres()).createDatabase();
    const database = keep(await openShared({ url }));
    const setup = await pay(database);
    const child = spawn(process.execPath, [ACTOR, JSON.stringify({
      url, midtrans: setup.fake.url, crash, keyed: order(crash),
    })], { stdio: ['ignore', 'ignore', 'inherit'] });
    keep({ close: () => child.kill('SIGKILL') });
    expect((await once(child, 'exit'))[1]).toBe('SIGKILL');
    const again = () => openKeyed(setup, crash, order(crash));
    if (crash !== 'settled') {
      // The order and its key are there, and nobody else begins while the lock lasts.
      expect(await codeOf(again())).toBe('ERR_IDEMPOTENCY_IN_PROGRESS');
      expect(await setup.payments.get(crash)).toMatchObject({ state: 'unknown' });
      await database.query('UPDATE sekering.idempotency_store SET locked_until = now()');
    }
    const { value, replayed } = await again();
    expect(replayed).toBe(crash === 'settled');
    // A page whose token died with the process is replaced; nobody can pay on it.
    const pages = crash === 'made' ? [crash, `${crash}~2`] : [crash];
    expect([...setup.fake.orders.keys()]).toEqual(pages);
    const { token } = setup.fake.orders.get(pages.at(-1));
    expect(value).toMatchObject({ queued: false, token });
    expect(await again()).toEqual({ value, replayed: true });
  });
});
