'use strict';

// Webhooks in an application of somebody else's, whose parsers may have read their bodies before,
// and notifications about orders that are not ours.

const { createHmac } = require('node:crypto');
const express = require('express');

const { createWebhookRouter } = require('../../lib/http');
const { CloudApiClient } = require('../../lib/clients/whatsapp');
const { cleanUp } = require('../../lib/store/retention');
const { serve } = require('../support/http-helpers');
const { closeAll, keep } = require('../support/midtrans-helpers');
const { openShared, pay, placed } = require('../support/payment-helpers');
const { describeEngines } = require('../support/postgres');

const FLOOD = 2000;
const APP_SECRET = 'planted-app-secret';
const all = () => true;
const PARSERS = {
  nothing: [],
  'express.json()': [express.json()],
  'express.json() that keeps the bytes': [express.json({
    verify: (req, res, bytes) => { req.rawBody = bytes; },
  })],
  'express.json() that keeps the text': [express.json({
    verify: (req, res, bytes) => { req.rawBody = bytes.toString(); },
  })],
  'express.raw()': [express.raw({ type: all })],
  'express.text()': [express.text({ type: all })],
  'a parser of other types': [express.text(), express.urlencoded()],
};
// What has thrown away all but the fields.
const FIELDS_ONLY = 'express.json()';

const readsAll = (req, res, next) => req.resume().on('end', next);

const cloud = () => keep(new CloudApiClient({
  accessToken: 'token', phoneNumberId: '1', appSecret: APP_SECRET, verifyToken: 'verify',
}));

/** An application with these parsers before the router. */
async function startApp (before, options) {
  const news = [];
  const errors = [];
  const router = createWebhookRouter({
    onNews: each => news.push(each), onError: error => errors.push(error), ...options,
  });
  const server = keep(await serve(...before, router));
  const post = async (path, text, headers) => {
    const response = await fetch(`${server.url}${path}`, {
      method: 'POST', body: text, headers: { 'content-type': 'application/json', ...headers },
    });
    const answer = await response.text();
    return { status: response.status, type: response.headers.get('content-type'), text: answer };
  };
  return { url: server.url, post, news, errors };
}

/** Rows of payment events by outcome, and how often they came. */
async function countsOf (database) {
  const { rows } = await database.query(`SELECT outcome, count(*)::integer AS rows,
    sum(times)::integer AS times FROM ${database.schema}.payment_events GROUP BY outcome`);
  return Object.fromEntries(rows.map(({ outcome, ...counts }) => [outcome, counts]));
}

// Spaces and escapes that JSON.stringify would write in another way.
const WHATSAPP = '{ "entry": [ {"changes": [ {"field": "messages", "value": ' +
  '{"statuses": [ {"id": "wamid.1", "status": "sent", "note": "caf\\u00e9" } ] } } ] } ] }';
const signature = `sha256=${createHmac('sha256', APP_SECRET).update(WHATSAPP).digest('hex')}`;

test.each([
  [{ payment: {} }, 'Unknown option payment. Did you mean payments?'],
  [{ payments: {} }, 'Expected store.payments for payments'],
  [{ maxBody: 0 }, 'Expected an integer from 1 to 16777216 (bytes) for maxBody'],
  [{ deliveries: {} }, 'Expected store.deliveries for deliveries'],
  [{ onNews: 1 }, 'Expected a function for onNews'],
])('%j is rejected', (options, message) => {
  const make = () => createWebhookRouter(options);
  expect(make).toThrow(message);
  expect(make).toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
});

describe('WhatsApp', () => {
  afterEach(closeAll);

  test.each(Object.keys(PARSERS).filter(name => name !== FIELDS_ONLY))(
    'is taken behind %s', async name => {
      const { post, news, errors } = await startApp(PARSERS[name], { whatsapp: cloud() });
      const signed = { 'x-hub-signature-256': signature };
      expect((await post('/webhooks/whatsapp', WHATSAPP, signed)).status).toBe(200);
      expect((await post('/webhooks/whatsapp', `${WHATSAPP} `, signed)).status).toBe(403);
      expect(news).toMatchObject([{ statuses: [{ messageId: 'wamid.1', status: 'sent' }] }]);
      expect(errors).toEqual([]);
    });

  test.each([
    [FIELDS_ONLY, PARSERS[FIELDS_ONLY]], ['what leaves nothing', [readsAll]],
  ])('behind %s an error tells the cause and the cure', async (name, before) => {
    const { post, news, errors } = await startApp(before, { whatsapp: cloud() });
    const { status, type, text } = await post('/webhooks/whatsapp', WHATSAPP,
      { 'x-hub-signature-256': signature });
    expect([status, type]).toEqual([500, 'application/problem+json']);
    const { code, detail } = JSON.parse(text);
    expect(code).toBe('ERR_WEBHOOK_BODY');
    expect(detail).toMatch('Something has read the body of this webhook before');
    expect(detail).toMatch('put app.use(router) before express.json()');
    expect(detail).toMatch('express.json({ verify: (req, res, buf) => { req.rawBody = buf } })');
    expect(errors).toMatchObject([{ code, message: detail }]);
    expect(news).toEqual([]);
  });
});

describeEngines('Midtrans', ({ place }) => {
  let database;

  beforeAll(async () => { database = await openShared(await place()); });
  afterEach(closeAll);
  afterAll(() => database.close());

  test.each(Object.entries(PARSERS))('is taken behind %s', async (name, before) => {
    const setup = await pay(database);
    const { payments, fake, seen } = setup;
    const id = `parser-${name.replace(/\W/g, '')}`;
    await placed(setup, id);
    fake.settle(id);
    const { url, errors } = await startApp(before, { payments });
    const path = `${url}/webhooks/midtrans`;
    const [forged] = await fake.notify(path, id, { latest: true, forge: 'signature' });
    expect([forged.status, JSON.parse(forged.text)]).toEqual([403, { status: 'forged' }]);
    for (const outcome of ['applied', 'already_processed']) {
      const [{ status, text }] = await fake.notify(path, id, { latest: true });
      expect(status).toBe(200);
      expect(JSON.parse(text)).toEqual({ status: outcome, order_id: id });
    }
    expect(await payments.get(id)).toMatchObject({ state: 'paid' });
    expect([seen.held, errors]).toEqual([[], []]);
  });

  test('what no parser can make an order of is refused as ever', async () => {
    const { payments } = await pay(database);
    for (const before of [[], [express.json({ strict: false })], PARSERS['express.text()']]) {
      const { post } = await startApp(before, { payments });
      for (const text of ['[]', '{}', 'null', '5', '"a"', 'true', '']) {
        expect((await post('/webhooks/midtrans', text)).status).toBe(400);
      }
    }
    const { post, errors } = await startApp([readsAll], { payments });
    expect((await post('/webhooks/midtrans', '{}')).status).toBe(500);
    expect(errors).toMatchObject([{ code: 'ERR_WEBHOOK_BODY' }]);
  });

  test('a flood of unsigned notifications: few rows, a right count, and true ones get through',
    async () => {
      const setup = await pay(database);
      const { payments, fake, seen } = setup;
      await placed(setup, 'flood');
      fake.settle('flood');
      const { url, post } = await startApp([], { payments });
      const before = await countsOf(database);
      const [body] = fake.notifications('flood', { latest: true });
      const send = async i => {
        const signature_key = i.toString(16).padStart(128, '0');
        const forged = JSON.stringify({ ...body, signature_key, n: 'x'.repeat(i) });
        const texts = [forged, `{"order_id":"flood","n":${i}`];
        const answers = await Promise.all(texts.map(text => post('/webhooks/midtrans', text)));
        expect(answers.map(({ status }) => status)).toEqual([403, 400]);
      };
      for (let i = 0; i < FLOOD; i += 10) {
        if (i === FLOOD / 2) {
          const [{ text }] =
            await fake.notify(`${url}/webhooks/midtrans`, 'flood', { latest: true });
          expect(text).toBe('{"status":"applied","order_id":"flood"}');
        }
        await Promise.all(Array.from({ length: 10 }, (_, n) => send(i + n)));
      }
      await payments.close();
      const after = await countsOf(database);
      for (const outcome of ['forged', 'invalid']) {
        expect(after[outcome].times - (before[outcome]?.times ?? 0)).toBe(FLOOD);
        expect(after[outcome].rows).toBeLessThanOrEqual(50);
      }
      expect(seen.forged.reduce((sum, count) => sum + count, 0)).toBe(FLOOD);
      // One a second, after the first ones.
      expect(seen.forged.length).toBeLessThan(FLOOD / 4);
      expect(seen.warning).toEqual([]);
      expect(await payments.get('flood')).toMatchObject({ state: 'paid', held: false });
      expect(await payments.events('flood')).toMatchObject([{ outcome: 'applied', times: 1 }]);
      const samples = await payments.listEvents({ outcome: 'forged' });
      expect(samples.every(each => each.orderId === null && each.body.length <= 4096)).toBe(true);
      expect(samples.some(each => each.body.includes('"order_id":"flood"'))).toBe(true);
    });

  test('only so many notifications with one signature are examined', async () => {
    const setup = await pay(database);
    const { fake, deliver } = setup;
    await placed(setup, 'varied');
    const [body] = fake.notifications('varied');
    const isStatus = ({ method }) => method === 'GET';
    const asked = fake.log.filter(isStatus).length;
    const answers = {};
    for (let i = 0; i < 150; i += 1) {
      const refunds = [{ refund_key: String(i) }];
      const { status } = await deliver({ ...body, refunds });
      answers[status] = (answers[status] ?? 0) + 1;
    }
    expect(answers[200] + answers[503]).toBe(150);
    expect(fake.log.filter(isStatus).length - asked).toBe(answers[200]);
    // More come to be allowed as time goes by: one in 36 s.
    expect(answers[200]).toBeGreaterThanOrEqual(100);
    expect(answers[200]).toBeLessThan(115);
    // The next one has a signature of its own.
    fake.settle('varied');
    const [settled] = fake.notifications('varied', { latest: true });
    expect(await deliver(settled)).toMatchObject({ status: 200, outcome: 'applied' });
  });

  test('rows that older releases kept belong to no order, and are deleted in batches', async () => {
    const { payments } = await pay(database);
    const table = `${database.schema}.payment_events`;
    await database.query(`DELETE FROM ${table}`);
    await database.query(`INSERT INTO ${table}
        (fingerprint, source, order_id, outcome, received_at, last_received_at, body)
      SELECT 'unsigned:' || n, 'notification', 'old', (ARRAY['forged', 'invalid'])[n % 2 + 1],
        now() - interval '40 days', now() - interval '40 days', ''
      FROM generate_series(1, 2500) n`);
    await database.query(`INSERT INTO ${table} (fingerprint, source, order_id, outcome, body)
      VALUES ('signed:x', 'notification', 'old', 'stale', ''),
        ('sample:forged:1', 'notification', NULL, 'forged', '')`);
    expect(await payments.events('old')).toMatchObject([{ outcome: 'stale' }]);
    const { foreignEvents } = await cleanUp(database, { batchSize: 100 });
    expect(foreignEvents).toBe(2500);
    expect(await cleanUp(database, { foreignEvents: false })).toMatchObject({ foreignEvents: 0 });
    expect((await payments.listEvents()).map(({ outcome }) => outcome))
      .toEqual(['forged', 'stale']);
    expect(await cleanUp(database, { foreignEvents: 0 })).toMatchObject({ foreignEvents: 1 });
  });

  test('the test of Midtrans\'s dashboard, and orders of others: 200, and no alarm', async () => {
    const midtrans = { orderIdPattern: /^SHOP-/ };
    const { payments, fake, seen } = await pay(database, { midtrans });
    const { url } = await startApp([], { payments });
    const path = `${url}/webhooks/midtrans`;
    const sent = [await fake.notifyTest(path)];
    expect(sent[0].body.order_id).toHaveLength(66);
    const ids = ['a/b', '#7', 'with spaces', 'SUBS-1', '..', '.', '?x=1&y', '%2e', "' OR 1=1 --",
      'SHOP-1', 'pesanan-\u{1f4b8}-\u00e9', 'x'.repeat(255)];
    for (const orderId of ids) sent.push(await fake.notifyTest(path, { orderId }));
    const answers = [sent[0].body.order_id, ...ids]
      .map(id => [200, { status: 'unknown_order', order_id: id }]);
    expect(sent.map(({ status, text }) => [status, JSON.parse(text)])).toEqual(answers);
    const events = await payments.listEvents({ outcome: 'unknown_order' });
    expect(events.map(({ orderId }) => orderId).reverse())
      .toEqual([sent[0].body.order_id, ...ids]);
    expect(events.every(({ reason, times }) => reason === null && times === 1)).toBe(true);
    expect([seen.held, seen.forged, seen.warning]).toEqual([[], [], []]);
    expect(await payments.list({ held: true })).toEqual([]);
    // Midtrans is not asked about what is not ours.
    expect(fake.log.filter(({ method }) => method === 'GET')).toEqual([]);
    for (const orderId of ['x'.repeat(256), 'a\nb', 'a\u0000b', '\u2028', '']) {
      expect((await fake.notifyTest(path, { orderId })).status).toBe(400);
    }
  });
});
