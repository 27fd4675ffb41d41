'use strict';

// WhatsApp in a gateway, over HTTP: what webhooks tell of messages is kept, shown, told of and
// heeded; sessions are seen, and reset.

const { SessionPool } = require('../../lib/clients/whatsapp');
const { startSessionFake } = require('../../lib/testing');
const { readEvents } = require('../support/http-helpers');
const { SECRETS, startAll, until } = require('../support/gateway-helpers');

const { operateToken, readToken, shopToken } = SECRETS;
const ADMIN = '/admin/reliability';
const ERRORS = [{ code: 131026, title: 'Message undeliverable' }];

const sockets = startSessionFake();
const sessions = new SessionPool({
  connect: sockets.connect, breaker: { failureCount: 2 }, retry: false, reconnect: false,
});

let it;
let alerts;
beforeAll(async () => {
  it = await startAll({}, { schedule: { deadLetters: false } }, { sessions });
  it.gateway.on('alert', alert => alerts.push(alert));
});
beforeEach(() => { alerts = []; });
afterAll(async () => {
  await it?.close();
  // It is the caller's.
  expect(sessions.listenerCount('alert')).toBe(0);
  sessions.close();
});

const get = async path => (await it.ask(ADMIN + path, { token: readToken })).body;
const enqueue = async (recipient, more) => (await it.ask('/notifications', {
  token: shopToken, body: { channel: 'WHATSAPP', recipient, body: 'Paid', ...more },
})).body.id;
const isSent = id => until(async () => (await it.gateway.store.outbox.get(id)).status === 'SENT');
const tell = (message, status, errors) => it.whatsapp.notify(
  `${it.server.url}/webhooks/whatsapp`, it.whatsapp.statusOf(message, status, errors));

async function send (recipient) {
  const id = await enqueue(recipient);
  await isSent(id);
  return { id, message: it.whatsapp.messages.at(-1) };
}

test('the last status stands beside the message', async () => {
  const { id, message } = await send('+6281234567001');
  expect((await get(`/outbox/${id}`)).delivery).toBeNull();
  for (const status of ['delivered', 'sent', 'read', 'delivered', 'read']) {
    expect(await tell(message, status)).toBe(200);
  }
  expect((await get(`/outbox/${id}`)).delivery)
    .toMatchObject({ status: 'read', providerMessageId: message.id, errorCode: null });
});

test('what is not signed is not believed', async () => {
  const { id, message } = await send('+6281234567002');
  const url = `${it.server.url}/webhooks/whatsapp`;
  expect(await it.whatsapp.notify(url, it.whatsapp.statusOf(message, 'read'),
    { signature: `sha256=${'0'.repeat(64)}` })).toBe(403);
  expect((await get(`/outbox/${id}`)).delivery).toBeNull();
});

test('a failure is shown, counted and told of, once', async () => {
  const stream = await readEvents(`${it.server.url}${ADMIN}/events`,
    { authorization: `Bearer ${readToken}` });
  const { id, message } = await send('+6281234567003');
  expect(await Promise.all([1, 2, 3].map(() => tell(message, 'failed', ERRORS))))
    .toEqual([200, 200, 200]);
  expect(alerts).toEqual([
    { service: 'outbox', kind: 'undelivered', id, channel: 'WHATSAPP', code: '131026' },
  ]);
  const { messages } = await get('/outbox?search=6281234567003');
  expect(messages).toMatchObject([{ id, status: 'SENT', delivery: {
    status: 'failed', errorCode: '131026', error: 'Message undeliverable', at: expect.any(String),
  } }]);
  expect((await get('/undelivered?limit=1')).failures)
    .toMatchObject([{ id, channel: 'WHATSAPP', errorCode: '131026', recipient: '6281234567003' }]);
  expect((await it.ask('/metrics', { token: SECRETS.readToken })).text)
    .toMatch('message_delivery_failures_total{channel="WHATSAPP",code="131026"} 1\n');
  let event;
  do event = await stream.next(); while (event.type !== 'delivery-failed');
  expect(event.data).toMatchObject({ id, code: '131026', recipient: '6281234567003' });
  stream.close();
});

test('failures that were told at once are paged without a gap', async () => {
  const statuses = ['a', 'b', 'c', 'd', 'e'].map(id =>
    ({ messageId: `wamid.page-${id}`, status: 'failed', recipient: '628', errors: ERRORS }));
  await it.gateway.store.deliveries.record(statuses);
  const seen = [];
  for (let before = ''; before !== null;) {
    const { failures, next } = await get(`/undelivered?limit=2${before && `&before=${before}`}`);
    seen.push(...failures.map(({ providerMessageId }) => providerMessageId));
    before = next;
  }
  expect(seen.slice(0, 5)).toEqual(statuses.map(({ messageId }) => messageId).reverse());
  expect(new Set(seen).size).toBe(seen.length);
});

test('what could not be kept comes again', async () => {
  const { id, message } = await send('+6281234567004');
  const { store } = it.gateway;
  await store.query('ALTER TABLE sekering.message_deliveries RENAME TO away');
  expect(await tell(message, 'delivered')).toBe(500);
  await store.query('ALTER TABLE sekering.away RENAME TO message_deliveries');
  expect(await tell(message, 'delivered')).toBe(200);
  expect((await get(`/outbox/${id}`)).delivery).toMatchObject({ status: 'delivered' });
});

describe('a message that has arrived is not sent again because its answer was lost', () => {
  /** As it is after an attempt without an answer, and after a webhook about that. */
  async function tried (recipient, status) {
    const { store } = it.gateway;
    const id = await enqueue(recipient, { delay: 3_600_000 });
    await store.query(`UPDATE sekering.notification_outbox SET attempt_count = 1,
      status = 'RETRYING' WHERE id = $1`, [id]);
    const { createdAt } = await store.outbox.get(id);
    const reference = `${id}.${createdAt.getTime().toString(36)}`;
    await tell({ id: `wamid.${id}`, to: recipient.slice(1), reference }, status, ERRORS);
    return id;
  }
  let before;
  beforeEach(() => { before = it.whatsapp.messages.length; });
  const receivers = () => it.whatsapp.messages.slice(before).map(({ to }) => to);

  test('by the worker', async () => {
    const { store } = it.gateway;
    const arrived = await tried('+6281234567005', 'sent');
    const failed = await tried('+6281234567006', 'failed');
    await store.query('UPDATE sekering.notification_outbox SET next_retry_at = now()');
    await Promise.all([arrived, failed].map(isSent));
    expect(receivers()).toEqual(['6281234567006']);
    expect(await store.outbox.get(arrived))
      .toMatchObject({ providerMessageId: `wamid.${arrived}`, attemptCount: 2 });
  });

  test('from among the dead letters, unless somebody wants it', async () => {
    const { store, schedule } = it.gateway;
    const arrived = await tried('+6281234567007', 'delivered');
    const failed = await tried('+6281234567008', 'failed');
    for (const id of [arrived, failed]) {
      await store.deadLetters.add(id, 'no answer', { kind: 'ETIMEDOUT' });
    }
    // They are young by the database's clock, whatever this host's says.
    const { now } = Date;
    jest.spyOn(Date, 'now').mockImplementation(() => now() + 2 * 86_400_000);
    await schedule.run('deadLetters');
    jest.restoreAllMocks();
    await isSent(failed);
    expect(await get(`/dlq/${arrived}`)).toMatchObject({ delivery: { status: 'delivered' } });
    expect(receivers()).toEqual(['6281234567008']);
    const { status } = await it.ask(`${ADMIN}/dlq/${arrived}/retry`,
      { token: operateToken, body: { reason: 'all the same' } });
    expect(status).toBe(200);
    await isSent(arrived);
    expect(receivers()).toEqual(['6281234567008', '6281234567007']);
  });
});

test('an instance whose breaker opens is seen, told of, and reset by its id', async () => {
  const stream = await readEvents(`${it.server.url}${ADMIN}/events`,
    { authorization: `Bearer ${readToken}` });
  sockets.set('shop-2', 'connect-rejects');
  for (let i = 0; i < 2; i++) await sessions.connect('shop-2').catch(() => {});
  await sessions.send('shop-1', '+6281234567890', { text: 'Halo' });
  expect(alerts).toMatchObject([{ service: 'sessions', kind: 'circuit-breaker', id: 'shop-2' }]);
  const { breakers } = await get('/circuit-breakers?search=shop-2');
  expect(breakers).toMatchObject([{ name: 'whatsapp/shop-2', state: 'open' }]);
  expect((await it.ask('/health')).body)
    .toMatchObject({ total_instances: 2, active_connections: 1, circuit_breaker_activations: 1 });
  let event;
  do event = await stream.next(); while (event.type !== 'session');
  expect(event.data).toMatchObject({ id: 'shop-2', message: expect.any(String) });
  stream.close();
  const reset = () => it.ask(`${ADMIN}/circuit-breakers/shop-2/reset`,
    { token: operateToken, body: { reason: 'paired again' } });
  expect((await reset()).body).toEqual({ name: 'shop-2', reset: 1 });
  expect((await it.ask('/circuit-breaker-status/shop-2', { token: readToken })).body)
    .toMatchObject({ id: 'shop-2', circuit_breaker: 'closed' });
});
