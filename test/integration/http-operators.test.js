'use strict';

// What operators see of the whole service and of one order, and what they write down.

const clock = require('../../lib/base/clock');
const Emitter = require('../../lib/base/emitter');
const { createServiceHistory } = require('../../lib/http/service-history');
const { openStore } = require('../../lib/store');
const { breakerOf, endAll, start } = require('../support/admin-helpers');
const { closeAll, order, start: startMidtrans } = require('../support/midtrans-helpers');
const { describeEngines } = require('../support/postgres');

afterEach(endAll);
afterAll(closeAll);

const mail = (recipient, more) =>
  ({ channel: 'EMAIL', recipient, subject: 'Ticket', body: 'Gundala', ...more });

describeEngines('operators', ({ place }) => {
  let store;
  let fake;
  beforeAll(async () => {
    const midtrans = await startMidtrans();
    fake = midtrans.fake;
    store = await openStore({ ...await place(), payments: { midtrans: midtrans.client } });
  }, 60_000);
  afterAll(() => store?.close());

  test('the chart of the service counts orders, messages and errors of all processes', async () => {
    const breaker = breakerOf('chart');
    const worker = new Emitter();
    const parts = { store, worker, breakers: () => [breaker] };
    const one = createServiceHistory(parts);
    const other = createServiceHistory({ ...parts, breakers: () => [] });
    const { get } = await start({ store, service: one });
    expect((await get('/service')).body.totals).toEqual({ orders: 0, messages: 0, errors: 0 });
    const rows = async () => (await store.query(
      `SELECT FROM ${store.schema}.service_minutes`)).rows.length;
    // Without any work there is nothing to keep.
    expect(await rows()).toBe(0);
    await store.payments.open(order('CHART-1'));
    worker.emit('sent', {});
    await breaker.fire(true).catch(() => {});
    await other.flush();
    const { body } = await get('/service');
    // Both processes have heard of the same message here; the order is one.
    expect(body.totals).toEqual({ orders: 1, messages: 2, errors: 1 });
    expect(body.at).toHaveLength(288);
    const sum = line => body[line].reduce((a, b) => a + b * 5, 0);
    expect(sum('errors')).toBeCloseTo(1);
    expect(sum('orders')).toBeCloseTo(1);
    expect((await get('/service')).body.totals).toEqual(body.totals);
    expect(await rows()).toBeLessThanOrEqual(4);
    for (const each of [one, other]) each.close();
    await store.query(`UPDATE ${store.schema}.service_minutes
      SET minute = minute - interval '8 days'`);
    await store.cleanUp();
    expect(await rows()).toBe(0);
  });

  test('counts wait for a store that is away', async () => {
    let isAway = true;
    const query = async (...args) => {
      if (isAway) throw new Error('away');
      return store.query(...args);
    };
    const worker = new Emitter();
    const history = createServiceHistory({
      store: { schema: store.schema, query }, worker, breakers: () => [],
    });
    worker.emit('sent', {});
    await history.flush();
    worker.emit('sent', {});
    await history.flush();
    isAway = false;
    expect((await history.read()).totals).toEqual({ orders: 1, messages: 2, errors: 0 });
    history.close();
    await store.query(`DELETE FROM ${store.schema}.service_minutes`);
  });

  test('breakers are silenced for a while, and noted upon', async () => {
    const breaker = breakerOf('loud');
    const { get, post } = await start({ store, breakers: () => [breaker] });
    expect((await post('/circuit-breakers/loud/silence', { minutes: 30 })).status).toBe(400);
    expect((await post('/circuit-breakers/none/silence', { minutes: 30, reason: 'x' })).status)
      .toBe(404);
    const { body } = await post('/circuit-breakers/loud/silence', { minutes: 30, reason: 'known' });
    expect(body).toMatchObject({ name: 'loud', actor: 'Ani', reason: 'known' });
    expect(new Date(body.until) > clock.wall()).toBe(true);
    expect((await get('/silences')).body.silences).toEqual([body]);
    await post('/circuit-breakers/loud/silence', { minutes: 0, reason: 'fixed' });
    expect((await get('/silences')).body.silences).toEqual([]);

    expect((await post('/circuit-breakers/loud/note', { note: 'a\nb' })).body)
      .toMatchObject({ actor: 'Ani', note: 'a\nb' });
    expect((await post('/circuit-breakers/loud/note', { note: '\u202e' })).status).toBe(400);
    expect((await get('/notes?about=breaker&target=loud')).body.notes)
      .toMatchObject([{ actor: 'Ani', note: 'a\nb' }]);
    const { entries } = (await get('/audit?limit=3')).body;
    expect(entries.map(({ action, target }) => [action, target])).toEqual([
      ['note.add', 'loud'], ['breaker.silence', 'loud'], ['breaker.silence', 'loud']]);
  });

  test('a message that waits is cancelled, no other', async () => {
    const { get, post } = await start({ store });
    const { id } = await store.outbox.enqueue(mail('wait@example.com'));
    expect((await post(`/outbox/${id}/cancel`, { reason: 'wrong show' })).body)
      .toEqual({ id, cancelled: true });
    expect((await get(`/outbox/${id}`)).body.status).toBe('CANCELLED');
    expect((await post(`/outbox/${id}/cancel`, { reason: 'again' })).body.code)
      .toBe('ERR_OUTBOX_MESSAGE');
    expect((await post('/outbox/999999/cancel', { reason: 'none' })).status).toBe(404);
    expect((await post(`/outbox/${id}/note`, { note: 'asked for by phone' })).status).toBe(200);
    expect((await get(`/notes?about=message&target=${id}`)).body.notes).toHaveLength(1);
  });

  test('what belongs to a payment is not cancelled', async () => {
    const { post } = await start({ store });
    await store.payments.defer(order('KEPT-1'), { reason: new Error('later') });
    const [{ id }] = await store.outbox.list({ channel: 'MIDTRANS_ORDER', limit: 1 });
    const { status, body } = await post(`/outbox/${id}/cancel`, { reason: 'no' });
    expect([status, body.detail]).toEqual([400,
      'This message belongs to a payment, which needs it']);
  });

  test('one timeline joins the states, webhooks, messages and notes of an order', async () => {
    const { get, post } = await start({ store });
    await store.payments.open(order('LINE-1'));
    const { id } = await store.deadLetters.add(
      mail('line@example.com', { orderKey: 'LINE-1' }), 'mailbox full', { kind: 'EFULL' });
    fake.choose('LINE-1');
    fake.settle('LINE-1');
    const [notification] = fake.notifications('LINE-1', { latest: true });
    await store.payments.handleNotification(JSON.stringify(notification));
    await post('/payments/LINE-1/note', { note: 'called the customer' });
    const { entries } = (await get('/payments/LINE-1/timeline')).body;
    const words = entries.map(entry => [entry.kind, entry.to ?? entry.event ?? entry.outcome ??
      entry.text]);
    for (const each of [['payment', 'created'], ['message', 'stored'], ['message', 'dead'],
      ['webhook', 'applied'], ['payment', 'paid'], ['note', 'called the customer']]) {
      expect(words).toContainEqual(each);
    }
    const waits = await store.outbox.enqueue(mail('wait@example.com', { orderKey: 'LINE-1' }));
    const later = (await get('/payments/LINE-1/timeline')).body.entries;
    expect(later.filter(entry => entry.id === waits.id).map(({ event }) => event))
      .toEqual(['stored']);
    expect(entries.find(({ kind }) => kind === 'message').id).toBe(id);
    const times = entries.map(({ at }) => Date.parse(at));
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect((await get('/payments/NONE-1/timeline')).status).toBe(404);
    expect((await post('/payments/NONE-1/note', { note: 'x' })).status).toBe(404);
  });

  test('lists begin and end at a time', async () => {
    const { get } = await start({ store });
    await store.query(`DELETE FROM ${store.schema}.notification_outbox`);
    const ids = [];
    for (let i = 0; i < 7; i++) {
      const { id } = await store.outbox.enqueue(mail(`time-${i}@example.com`));
      ids.push(id);
      await store.query(`UPDATE ${store.schema}.notification_outbox
        SET created_at = to_timestamp($2) WHERE id = $1`, [id, 1000 + i * 100]);
    }
    // Gaps among the ids, as retention leaves them.
    await store.query(`DELETE FROM ${store.schema}.notification_outbox WHERE id = ANY ($1)`,
      [[ids[1], ids[4]]]);
    const left = [0, 2, 3, 5, 6];
    for (let time = 950; time <= 1650; time += 50) {
      const before = left.filter(i => 1000 + i * 100 < time).map(i => ids[i]);
      const { messages } = (await get(`/outbox?until=${time * 1000}`)).body;
      expect(messages.map(({ id }) => id)).toEqual(before.toReversed());
    }
    const { messages } = (await get('/outbox?since=1200000&until=1600000')).body;
    expect(messages.map(({ id }) => id)).toEqual([ids[5], ids[3], ids[2]]);
    expect((await get('/outbox?since=yesterday')).status).toBe(400);

    await store.payments.open(order('TIME-1'));
    const { payments } = (await get(`/payments?since=${clock.wall() - 3_600_000}`)).body;
    expect(payments.map(({ orderId }) => orderId)).toContain('TIME-1');
    expect((await get('/payments?until=1000')).body.payments).toEqual([]);
    const future = `since=${clock.wall() + 3_600_000}`;
    expect((await get(`/payments?${future}`)).body).toEqual({ payments: [], next: null });
    expect((await get(`/outbox?${future}`)).body).toEqual({ messages: [], next: null });
    await store.query(`DELETE FROM ${store.schema}.notification_outbox`);
    expect((await get('/outbox?since=0&until=1')).body).toEqual({ messages: [], next: null });
  });

  test('an open breaker tells why, what failed last, and when it tries again', async () => {
    const { createBreakerHistory } = require('../../lib/http');
    const breaker = breakerOf('told');
    const history = createBreakerHistory({ breakers: () => [breaker] });
    const { get } = await start({ breakers: () => [breaker], history });
    const look = async () => (await get('/circuit-breakers/told')).body.breakers[0];
    expect(await look()).toMatchObject({ nextTryAt: null, lastError: null, opened: null });
    await breaker.fire(true).catch(() => {});
    const open = await look();
    expect(open).toMatchObject({
      state: 'open', lastError: { message: expect.any(String) }, opened: { by: 'errors', calls: 1 },
    });
    expect(Date.parse(open.nextTryAt)).toBeGreaterThan(Date.parse(open.openedAt));
    breaker.reset();
    breaker.open();
    expect((await look()).opened).toEqual({ by: 'told' });
    history.close();
  });
});
