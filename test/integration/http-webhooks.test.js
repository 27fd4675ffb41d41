'use strict';

// Webhooks in an application of somebody else's, whose parsers may have read their bodies before,
// and notifications about orders that are not ours.

const { createHmac } = require('node:crypto');
const express = require('express');

const { createWebhookRouter } = require('../../lib/http');
const { CloudApiClient } = require('../../lib/clients/whatsapp');
const { serve } = require('../support/http-helpers');
const { closeAll, keep } = require('../support/midtrans-helpers');
const { openShared, pay, placed } = require('../support/payment-helpers');
const { describeEngines } = require('../support/postgres');

jest.setTimeout(60_000);

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

// Spaces and escapes that JSON.stringify would write in another way.
const WHATSAPP = '{ "entry": [ {"changes": [ {"field": "messages", "value": ' +
  '{"statuses": [ {"id": "wamid.1", "status": "sent", "note": "caf\\u00e9" } ] } } ] } ] }';
const signature = `sha256=${createHmac('sha256', APP_SECRET).update(WHATSAPP).digest('hex')}`;

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
    expect([forged.status, JSON.parse(forged.text).status]).toEqual([403, 'forged']);
    for (const outcome of ['applied', 'already_processed']) {
      const [{ status, text }] = await fake.notify(path, id, { latest: true });
      expect([status, JSON.parse(text).status]).toEqual([200, outcome]);
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
    for (const { status, text } of sent) {
      expect([status, text]).toEqual([200, '{"status":"unknown_order"}']);
    }
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
