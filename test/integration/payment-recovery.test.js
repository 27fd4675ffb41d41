'use strict';

// Orders after a fault: processes that are killed, connections that are cut, notifications that
// never came. With SEKERING_CHAOS_SECONDS connections are cut at every byte.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');

const { startTcpProxy } = require('../../lib/testing');
const { clientOf, count, keep, order, start } = require('../support/midtrans-helpers');
const { createdBy, endTest, messagesOf, openShared, pay, placed, until, work } =
  require('../support/payment-helpers');
const { describeEngines, sharedPostgres } = require('../support/postgres');

const ACTOR = path.join(__dirname, '..', 'support', 'payment-actor.js');

const IS_LONG = Number(process.env.SEKERING_CHAOS_SECONDS ?? 0) > 0;
if (IS_LONG) jest.setTimeout(1_800_000);

describeEngines('reconciliation', ({ place }) => {
  let database;

  beforeAll(async () => { database = await openShared(await place()); });
  afterEach(() => endTest(database));
  afterAll(() => database.close());

  const messages = orderId => messagesOf(database, orderId);

  const age = (id, hours) => database.query(`UPDATE ${database.schema}.payment_orders
    SET asked_at = asked_at - $2::float8 * interval '1 hour' WHERE order_id = $1`, [id, hours]);
  const reconcile = ({ payments }) => payments.reconcile({ olderThan: 0, limit: 1000 });

  beforeEach(() => database.query(`DELETE FROM ${database.schema}.payment_transactions;`)
    .then(() => database.query(`DELETE FROM ${database.schema}.payment_orders`)));

  test('it finds what was never notified', async () => {
    const setup = await pay(database);
    const { payments, fake, deliver } = setup;
    for (const id of ['silent-1', 'silent-2', 'silent-3']) await placed(setup, id);
    fake.settle('silent-1');
    fake.settle('silent-2', 'expire');
    expect(await payments.reconcile()).toEqual({ checked: 0, changed: 0, failed: 0 });
    expect(await reconcile(setup)).toEqual({ checked: 3, changed: 3, failed: 0 });
    const states = (await payments.list({ search: 'silent' })).map(({ state }) => state);
    expect(states).toEqual(['pending', 'expired', 'paid']);
    expect(await reconcile(setup)).toEqual({ checked: 1, changed: 0, failed: 0 });
    // A late notification says nothing new.
    const answers = [];
    for (const body of fake.notifications('silent-1')) answers.push(await deliver(body));
    expect(answers.map(({ outcome }) => outcome)).toEqual(['stale', 'already_processed']);
    expect(await payments.events('silent-1')).toMatchObject([
      { source: 'status', outcome: 'applied' }, { source: 'notification', outcome: 'stale' },
    ]);
  });

  test('no transaction: the order waits until its page can no longer be used', async () => {
    const setup = await pay(database, { hooks: { onFailed () {} } });
    const { payments } = setup;
    await payments.open(order('unused'));
    const expiry = { page_expiry: { duration: 2, unit: 'hours' } };
    await payments.open({ ...order('unused-short'), ...expiry });
    for (const id of ['unused', 'unused-short']) await age(id, 2.9);
    expect(await reconcile(setup)).toEqual({ checked: 2, changed: 0, failed: 0 });
    for (const id of ['unused', 'unused-short']) await age(id, 0.2);
    expect(await reconcile(setup)).toEqual({ checked: 2, changed: 1, failed: 0 });
    expect(await payments.get('unused-short')).toMatchObject({ state: 'expired' });
    await age('unused', 21.8);
    expect(await reconcile(setup)).toEqual({ checked: 1, changed: 0, failed: 0 });
    await age('unused', 0.2);
    expect(await reconcile(setup)).toEqual({ checked: 1, changed: 1, failed: 0 });
    expect(await payments.get('unused')).toMatchObject({ state: 'expired' });
    expect(await messages('unused')).toMatchObject([{ channel: 'PAYMENT_HOOK' }]);
  });

  test('a page that an earlier release called denied is asked about while it can be used',
    async () => {
      const setup = await pay(database, { hooks: { onPaid () {} } });
      const { payments, fake } = setup;
      for (const id of ['pays', 'ends']) await payments.open(order(id));
      await database.query(`UPDATE ${database.schema}.payment_orders SET state = 'denied'`);
      fake.choose('pays');
      fake.settle('pays');
      expect(await reconcile(setup)).toEqual({ checked: 2, changed: 1, failed: 0 });
      expect(await payments.get('pays')).toMatchObject({ state: 'paid' });
      await age('ends', 26);
      expect(await reconcile(setup)).toEqual({ checked: 1, changed: 0, failed: 0 });
      expect(await reconcile(setup)).toEqual({ checked: 0, changed: 0, failed: 0 });
      expect(await payments.get('ends')).toMatchObject({ state: 'denied' });
    });

  test('a look-up for one order does not apply the payment of another', async () => {
    const setup = await pay(database, { hooks: { onPaid () {} } });
    const { payments, fake, deliver } = setup;
    for (const id of ['mine', 'theirs']) await placed(setup, id);
    const [pending] = fake.notifications('mine');
    expect(await deliver({ ...pending, transaction_id: 'later' }))
      .toMatchObject({ outcome: 'held' });
    fake.settle('theirs');
    fake.transactions.get('theirs').transaction_id = 'later';
    fake.transactions.set('later', fake.transactions.get('theirs'));
    await reconcile(setup);
    expect(await payments.get('mine')).toMatchObject({ state: 'pending', held: false });
    expect(await payments.get('theirs')).toMatchObject({ state: 'paid' });
  });

  test('an unknown order is asked for again, and never called failed', async () => {
    const setup = await pay(database, { midtrans: { retry: { retries: 0 } } });
    const { payments, fake, seen } = setup;
    // As if the process had died before Midtrans was asked.
    await payments.createOrder({
      orderId: 'died', amountMinor: 1_000_000, body: order('died'), state: 'unknown',
    });
    fake.set({ kind: 'error', status: 503 });
    expect(await reconcile(setup)).toEqual({ checked: 1, changed: 0, failed: 1 });
    expect(seen.warning).toMatchObject([{ code: 'ERR_MIDTRANS_SERVER' }]);
    expect(await payments.get('died')).toMatchObject({ state: 'unknown' });
    fake.set(null);
    for (let i = 0; i < 2; i += 1) await reconcile(setup);
    expect(await messages('died')).toMatchObject([{ channel: 'MIDTRANS_ORDER' }]);
    await work(setup);
    await createdBy(setup, 'died');
  });

  test('several at once share the orders', async () => {
    const setup = await pay(database);
    for (let i = 0; i < 20; i += 1) {
      await setup.payments.createOrder({ orderId: `share-${i}`, amountMinor: 1_000_000 });
    }
    const all = await Promise.all([1, 2, 3].map(() =>
      setup.payments.reconcile({ olderThan: 60_000 })));
    expect(all.map(({ checked }) => checked)).toEqual([0, 0, 0]);
    await database.query(`UPDATE ${database.schema}.payment_orders
      SET silent_since = silent_since - interval '1 hour'`);
    const shared = await Promise.all([1, 2, 3].map(() =>
      setup.payments.reconcile({ olderThan: 60_000 })));
    expect(shared.reduce((sum, { checked }) => sum + checked, 0)).toBe(20);
    expect(count(setup.fake, 'GET', /status$/)).toBe(20);
  });
});

// The answer is cut off at some byte, or the question is: whatever has become of the page, the
// customer gets one that can be paid, and the order is paid once.
describeEngines('a connection that is cut', ({ name, place }) => {
  const STEP = IS_LONG ? 1 : 60;
  const BYTES = 600;
  let database;

  beforeAll(async () => { database = await openShared(await place()); });
  afterEach(() => endTest(database));
  afterAll(() => database.close());

  test.each(['cutUp', 'cutDown'])('%s', async direction => {
    const { fake } = await start();
    const proxy = keep(await startTcpProxy({ target: fake.url }));
    const client = clientOf(proxy.url, { breaker: false, retry: { retries: 0 } });
    const setup = await pay(database, { payments: { midtrans: client } });
    const { payments } = setup;
    await work(setup);
    for (let at = 0; at <= BYTES; at += STEP) {
      const id = `${name}-${direction}-${at}`;
      let isFirst = true;
      proxy.cutAll();
      proxy.set(() => {
        const faults = isFirst ? { [direction]: at, reset: at % 2 === 0 } : undefined;
        isFirst = false;
        return faults;
      });
      const { queued } = await payments.open(order(id));
      const made = queued ? await createdBy(setup, id) : await payments.get(id);
      const [page] = [...fake.orders.values()].filter(({ token }) => token === made.token);
      fake.choose(page.orderId);
      fake.settle(page.orderId);
      const [notification] = fake.notifications(page.orderId, { latest: true });
      // The same connection may be cut now, while Midtrans is asked: then it comes again.
      let { outcome } = await setup.deliver(notification);
      if (outcome === 'unavailable') ({ outcome } = await setup.deliver(notification));
      const charged = [...fake.transactions.values()].filter(each => each.order_id.startsWith(id) &&
        /^(~\d)?$/.test(each.order_id.slice(id.length)));
      expect([id, outcome, (await payments.get(id)).state, charged.length])
        .toEqual([id, 'applied', 'paid', 1]);
    }
  });
});

describe('a process that is killed', () => {
  let database;
  let url;

  beforeAll(async () => {
    url = await (await sharedPostgres()).createDatabase();
    database = await openShared({ url });
    await database.query('CREATE TABLE effects (order_id text)');
  });
  afterEach(() => endTest(database));
  afterAll(() => database.close());

  const effects = async orderId => (await database.query(
    'SELECT FROM effects WHERE order_id = $1', [orderId])).rowCount;

  async function killed (options) {
    const child = spawn(process.execPath, [ACTOR, JSON.stringify({ url, ...options })],
      { stdio: ['ignore', 'ignore', 'inherit'] });
    keep({ close: () => child.kill('SIGKILL') });
    const [, signal] = await once(child, 'exit');
    expect(signal).toBe('SIGKILL');
  }

  test.each(['asked', 'made', 'settled'])('while it makes a deferred order (%s)', async crash => {
    const setup = await pay(database);
    const { payments, fake } = setup;
    const id = `killed-${crash}`;
    await payments.defer(order(id));
    await killed({ midtrans: fake.url, crash });
    await work(setup);
    const made = await createdBy(setup, id);
    // A page whose token died with the process is replaced; nobody can pay on it.
    const pages = crash === 'made' ? [id, `${id}~2`] : [id];
    expect([...fake.orders.keys()]).toEqual(pages);
    expect(made.token).toBe(fake.orders.get(pages.at(-1)).token);
  });

  test.each([['status', false], ['settled', true]])(
    'while it takes a notification (%s)', async (crash, done) => {
      const setup = await pay(database, { hooks: { onPaid: () => {} } });
      const { payments, fake, deliver } = setup;
      const id = `notified-${crash}`;
      await placed(setup, id);
      fake.settle(id);
      const [notification] = fake.notifications(id, { latest: true });
      await killed({ midtrans: fake.url, crash, notification });
      expect(await payments.get(id)).toMatchObject({ state: done ? 'paid' : 'created' });
      // Midtrans was not answered, and comes again.
      expect(await deliver(notification)).toMatchObject({
        status: 200, outcome: done ? 'already_processed' : 'applied',
      });
      const { rowCount } = await database.query(`SELECT FROM ${database.schema}.notification_outbox
        WHERE channel = 'PAYMENT_HOOK' AND recipient = $1`, [id]);
      expect(rowCount).toBe(1);
      // The hook runs in this process, so that the next one finds nothing to do.
      await work(setup);
      await until(async () => (await setup.outbox.list({ channel: 'PAYMENT_HOOK', search: id }))
        .every(({ status }) => status === 'SENT'));
    });

  // What a hook has done is not undone: it runs again if nobody knows that it has ended.
  test('while it runs a hook', async () => {
    const onPaid = ({ orderId }) =>
      database.query('INSERT INTO effects (order_id) VALUES ($1)', [orderId]);
    const setup = await pay(database, { hooks: { onPaid } });
    const { fake, deliver } = setup;
    await placed(setup, 'hooked');
    fake.settle('hooked');
    await deliver(fake.notifications('hooked', { latest: true })[0]);
    await killed({ midtrans: fake.url, crash: 'hook' });
    expect(await effects('hooked')).toBe(1);
    await work(setup);
    await until(async () => await effects('hooked') === 2);
    await until(async () => (await setup.outbox.list({ channel: 'PAYMENT_HOOK', search: 'hooked' }))
      .every(({ status }) => status === 'SENT'));
    expect(await effects('hooked')).toBe(2);
  });
});
