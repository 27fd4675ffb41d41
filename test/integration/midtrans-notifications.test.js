'use strict';

// Notifications: signed, forged, repeated and out of order.

const { createHash } = require('node:crypto');
const http = require('node:http');
const { once } = require('node:events');

const { IrisClient, advance } = require('../../lib/clients/midtrans');
const { KEY, charge, clientOf, closeAll, keep, start } = require('../support/midtrans-helpers');

afterEach(closeAll);

async function notified (...args) {
  const { fake, client } = await start(...args);
  await client.charge(charge('order-1'));
  fake.settle('order-1');
  return { fake, client };
}

test('those of Midtrans verify, parsed or as JSON', async () => {
  const { fake, client } = await notified();
  for (const body of fake.notifications('order-1')) {
    expect(client.verifyNotification(body)).toBe(true);
    expect(client.verifyNotification(JSON.stringify(body))).toBe(true);
    const upper = { ...body, signature_key: body.signature_key.toUpperCase() };
    expect(client.verifyNotification(upper)).toBe(true);
  }
});

test('a wrong signature, amount, order or key does not', async () => {
  const { fake, client } = await notified();
  for (const forge of ['signature', 'amount', 'order']) {
    const [body] = fake.notifications('order-1', { forge });
    expect(client.verifyNotification(body)).toBe(false);
  }
  const stranger = clientOf(fake.url, { serverKey: 'SB-Mid-server-another' });
  expect(stranger.verifyNotification(fake.notifications('order-1')[0])).toBe(false);
});

test.each([
  ['no body', () => undefined], ['text', () => '{'], ['a number', () => 5], ['null', () => null],
  ['no signature', body => ({ ...body, signature_key: undefined })],
  ['a short one', body => ({ ...body, signature_key: body.signature_key.slice(1) })],
  ['an array for it', body => ({ ...body, signature_key: [body.signature_key] })],
  ['a number for the amount', body => ({ ...body, gross_amount: 10000 })],
  ['an amount without cents', body => ({ ...body, gross_amount: '10000' })],
  ['a number for the code', body => ({ ...body, status_code: 200 })],
  ['an order_id of another form', body => ({ ...body, order_id: 'a b' })],
])('%s does not verify', async (_, change) => {
  const { fake, client } = await notified();
  expect(client.verifyNotification(change(fake.notifications('order-1')[0]))).toBe(false);
});

test('digits that move between the parts: only your own form of ids keeps them out', async () => {
  const { fake, client } = await start();
  await client.charge(charge('order-1200'));
  fake.settle('order-1200');
  const [forged] = fake.notifications('order-1200', { latest: true, forge: 'order' });
  expect(forged).toMatchObject({ order_id: 'order-1', gross_amount: '20010000.00' });
  expect(client.verifyNotification(forged)).toBe(true);
  const strict = clientOf(fake.url, { orderIdPattern: /^order-\d{4}$/g });
  for (let i = 0; i < 3; i++) {
    expect(strict.verifyNotification(forged)).toBe(false);
    expect(strict.verifyNotification(fake.notifications('order-1200')[0])).toBe(true);
  }
  // And GET status, in any case.
  await expect(client.confirmNotification(forged))
    .rejects.toMatchObject({ code: 'ERR_MIDTRANS_SIGNATURE' });
});

test('confirmNotification asks Midtrans, and believes no more than that', async () => {
  const { fake, client } = await notified({ fake: { fees: 500 } });
  const [pending, settled] = fake.notifications('order-1');
  for (const body of [pending, settled]) {
    expect(await client.confirmNotification(body))
      .toMatchObject({ state: 'settlement', paid: true, amount: 10000 });
  }
  await client.charge(charge('order-2'));
  await client.cancel('order-2');
  const [rewritten] = fake.notifications('order-2', { latest: true, forge: 'status' });
  expect(rewritten).toMatchObject({ transaction_status: 'settlement', status_code: '200' });
  expect(client.verifyNotification(rewritten)).toBe(true);
  expect(await client.confirmNotification(rewritten))
    .toMatchObject({ state: 'cancel', paid: false });
  await expect(client.confirmNotification({ ...settled, gross_amount: '1.00' }))
    .rejects.toMatchObject({ code: 'ERR_MIDTRANS_SIGNATURE', operation: 'notification' });
});

test('repeated, out of order and forged: the state is right in the end', async () => {
  const { fake, client } = await notified();
  fake.settle('order-1', 'partial_refund');
  fake.settle('order-1', 'refund');
  let state;
  const shop = keep(http.createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    const valid = client.verifyNotification(text);
    if (valid) {
      const confirmed = await client.confirmNotification(text);
      ({ state } = advance(state, confirmed.state, { confirmed: true }));
    }
    response.writeHead(valid ? 200 : 403).end();
  }).listen(0));
  await once(shop, 'listening');
  const url = `http://127.0.0.1:${shop.address().port}/`;
  const answers = [
    ...await fake.notify(url, 'order-1', { order: 'reversed' }),
    ...await fake.notify(url, 'order-1', { repeat: 3, order: 'shuffled' }),
    ...await fake.notify(url, 'order-1', { forge: 'amount' }),
  ];
  expect(answers.map(({ status }) => status))
    .toEqual([...Array(16).fill(200), ...Array(4).fill(403)]);
  expect(state).toBe('refund');
  shop.closeAllConnections();
});

test('the key is never part of what verifies', async () => {
  const { fake } = await notified();
  expect(JSON.stringify(fake.notifications('order-1'))).not.toContain(KEY);
});

test('a notification of a payout is signed by all of its bytes', () => {
  const merchantKey = 'IRIS-merchant-key';
  const options = { apiKey: 'IRIS-key', merchantKey };
  const iris = keep(new IrisClient(options));
  const body = '{"reference_no":"r-1","amount":"5000.0","status":"completed","name":"Budi \u00e9"}';
  const signature = createHash('sha512').update(body + merchantKey).digest('hex');
  expect(iris.verifyNotification(body, signature)).toBe(true);
  expect(iris.verifyNotification(Buffer.from(body), signature.toUpperCase())).toBe(true);
  expect(iris.verifyNotification(`${body} `, signature)).toBe(false);
  for (const wrong of [undefined, null, '', 5, [signature], `${signature}0`, 'z'.repeat(128),
    createHash('sha512').update(body).digest('hex')]) {
    expect(iris.verifyNotification(body, wrong)).toBe(false);
  }
  for (const parsed of [JSON.parse(body), undefined, null]) {
    expect(() => iris.verifyNotification(parsed, signature))
      .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'rawBody' }));
  }
  const without = keep(new IrisClient({ apiKey: 'IRIS-key' }));
  expect(() => without.verifyNotification(body, signature))
    .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'merchantKey' }));
});
