'use strict';

const http = require('node:http');
const nodemailer = require('nodemailer');

const { startMidtransFake } = require('../../lib/testing/midtrans-fake');
const { startSmtpFake } = require('../../lib/testing/smtp-fake');

const opened = [];
const keep = thing => { opened.push(thing); return thing; };
afterEach(async () => {
  for (const thing of opened.splice(0)) await thing.close();
});

const basic = key => `Basic ${Buffer.from(`${key}:`).toString('base64')}`;

/** One request as a plain HTTP client sends it; resolves with the status, the body, the type. */
function send (url, { method = 'POST', path = '/snap/v1/transactions', key, body, signal } = {}) {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    if (key !== undefined) headers.authorization = basic(key);
    const request = http.request(url + path, { method, headers, agent: false, signal });
    request.on('error', reject);
    request.on('response', async response => {
      let text = '';
      for await (const chunk of response) text += chunk;
      const type = response.headers['content-type'];
      resolve({
        status: response.statusCode, type, body: /json/.test(type) ? JSON.parse(text) : text
      });
    });
    request.end(typeof body === 'string' ? body : JSON.stringify(body));
  });
}

const orderOf = (orderId, amount = 10000, more) => ({
  transaction_details: { order_id: orderId, gross_amount: amount }, ...more
});

describe('the Midtrans fake', () => {
  const key = 'SB-Mid-server-test';
  const start = options => startMidtransFake({ serverKey: key, ...options }).then(keep);

  test('makes an order: 201, token, redirect_url, and the ledger holds it', async () => {
    const fake = await start();
    const { status, body } = await send(fake.url, { key, body: orderOf('order-1', 150000) });
    expect(status).toBe(201);
    expect(Object.keys(body)).toEqual(['token', 'redirect_url']);
    expect(body.redirect_url).toContain(body.token);
    expect(fake.orders.get('order-1')).toMatchObject({
      orderId: 'order-1', grossAmount: 150000, token: body.token
    });
    expect(fake.counts).toEqual({
      requests: 1, created: 1, refused: 0, unauthorized: 0, faulted: 0
    });
  });

  test.each([
    ['no order_id', { transaction_details: { gross_amount: 1 } }, /order_id is required/],
    ['a space in order_id', orderOf('a b'), /order_id is not valid/],
    ['an order_id of 51 characters', orderOf('x'.repeat(51)), /order_id is not valid/],
    ['an amount with a fraction', orderOf('a', 1.5), /gross_amount is not a number/],
    ['an amount of 0', orderOf('a', 0), /gross_amount must be greater/],
    ['items of another sum', orderOf('a', 3, { item_details: [{ price: 1, quantity: 2 }] }),
      /not equal to the sum of item_details/],
    ['no JSON', '{', /not valid JSON/]
  ])('refuses %s with 400 and error_messages', async (_, body, message) => {
    const fake = await start();
    const answer = await send(fake.url, { key, body });
    expect(answer.status).toBe(400);
    expect(answer.body.error_messages.join()).toMatch(message);
    expect(fake.orders.size).toBe(0);
  });

  test('refuses a repeated order_id and keeps the first order', async () => {
    const fake = await start();
    await send(fake.url, { key, body: orderOf('twice', 1000) });
    const { status, body } = await send(fake.url, { key, body: orderOf('twice', 2000) });
    expect(status).toBe(400);
    expect(body).toEqual({
      error_messages: ['transaction_details.order_id has already been taken']
    });
    expect(fake.orders.get('twice').grossAmount).toBe(1000);
  });

  test('answers 401 to another key and to none, 404 and 405 elsewhere', async () => {
    const fake = await start();
    const ask = options => send(fake.url, { body: orderOf('a'), ...options });
    expect((await ask({ key: 'another' })).status).toBe(401);
    const none = await ask({});
    expect(none.status).toBe(401);
    expect(none.body.error_messages[0]).toMatch(/^Access denied/);
    expect((await ask({ key, path: '/v9/nothing' })).status).toBe(404);
    expect((await ask({ key, method: 'PUT' })).status).toBe(405);
    expect(fake.counts).toMatchObject({ unauthorized: 2, refused: 2, created: 0 });
  });

  test('refuses a body of over a mebibyte', async () => {
    const fake = await start();
    const body = JSON.stringify({ ...orderOf('big'), note: 'x'.repeat(1 << 20) });
    const outcome = await send(fake.url, { key, body }).then(a => a.status, e => e.code);
    // The cut may reach the caller before it has read the answer.
    expect([413, 'EPIPE', 'ECONNRESET']).toContain(outcome);
    expect(fake.orders.size).toBe(0);
  });

  test('error and html: a JSON error, and the page of a proxy', async () => {
    const fake = await start({ fault: 'error' });
    const error = await send(fake.url, { key, body: orderOf('a') });
    expect(error.status).toBe(500);
    expect(error.body.error_messages).toHaveLength(1);
    fake.set({ kind: 'html', status: 504 });
    const page = await send(fake.url, { key, body: orderOf('a') });
    expect(page).toMatchObject({ status: 504, type: 'text/html' });
    expect(page.body).toContain('504 Gateway Timeout');
    fake.set(null);
    expect((await send(fake.url, { key, body: orderOf('a') })).status).toBe(201);
    expect(fake.counts).toMatchObject({ requests: 3, faulted: 2, created: 1 });
  });

  test('reset cuts without making the order, drop after making it', async () => {
    const fake = await start({ fault: 'reset' });
    await expect(send(fake.url, { key, body: orderOf('cut') }))
      .rejects.toMatchObject({ code: 'ECONNRESET' });
    fake.set('drop');
    await expect(send(fake.url, { key, body: orderOf('dropped') }))
      .rejects.toMatchObject({ code: 'ECONNRESET' });
    expect([...fake.orders.keys()]).toEqual(['dropped']);
  });

  test('hang never answers, and close cuts what hangs', async () => {
    const fake = await start({ fault: 'hang' });
    const controller = new AbortController();
    const hanging = send(fake.url, { key, body: orderOf('a'), signal: controller.signal });
    const left = send(fake.url, { key, body: orderOf('b') });
    while (fake.counts.faulted < 2) await new Promise(resolve => setImmediate(resolve));
    controller.abort();
    await expect(hanging).rejects.toMatchObject({ name: 'AbortError' });
    await Promise.all([
      fake.close(),
      expect(left).rejects.toMatchObject({ code: 'ECONNRESET' })
    ]);
    expect(fake.orders.size).toBe(0);
  });

  test('slow makes the order late', async () => {
    const fake = await start({ fault: { kind: 'slow', delayMs: 60 } });
    const began = performance.now();
    expect((await send(fake.url, { key, body: orderOf('late') })).status).toBe(201);
    expect(performance.now() - began).toBeGreaterThan(55);
  });

  test('every: 3 strikes each third request only', async () => {
    const fake = await start({ fault: { kind: 'error', every: 3 } });
    const statuses = [];
    for (let i = 0; i < 6; i++) {
      statuses.push((await send(fake.url, { key, body: orderOf(`o${i}`) })).status);
    }
    expect(statuses).toEqual([201, 201, 500, 201, 201, 500]);
  });

  test.each([
    [{ fault: 'explode' }, RangeError], [{ fault: { kind: 'error', status: 200 } }, RangeError],
    [{ serverKey: '' }, TypeError], [{ latencyMs: -1 }, RangeError], [{ port: '80' }, TypeError],
    [{ latency: 5 }, RangeError], [{ fault: { kind: 'slow', delay: 5 } }, RangeError],
  ])('rejects the options %j', async (options, Type) => {
    const failure = await startMidtransFake(options).catch(error => error);
    expect(failure).toBeInstanceOf(Type);
    expect(failure.code).toBe('ERR_INVALID_OPTION');
  });
});

describe('the SMTP fake', () => {
  const start = options => startSmtpFake(options).then(keep);
  const mailer = (fake, options) => keep(nodemailer.createTransport({
    host: fake.host, port: fake.port, secure: false, ignoreTLS: true, ...options
  }));
  const letter = { from: 'shop@example.com', to: 'a@example.com', subject: 'Receipt', text: 'x' };

  test('takes a message in and lists it', async () => {
    const fake = await start();
    await mailer(fake).sendMail({ ...letter, messageId: '<one@example.com>' });
    expect(fake.messages).toHaveLength(1);
    expect(fake.messages[0]).toMatchObject({
      from: 'shop@example.com', to: ['a@example.com'], messageId: '<one@example.com>',
      subject: 'Receipt'
    });
    expect(fake.counts).toEqual({ connections: 1, accepted: 1, faulted: 0 });
  });

  test.each([
    ['connect', 'EPROTOCOL', 421], ['auth', 'EAUTH', 454], ['mail', 'EENVELOPE', 451],
    ['rcpt', 'EENVELOPE', 450], ['data', 'EMESSAGE', 451]
  ])('fails at %s with %s %d, and works again when mended', async (stage, code, responseCode) => {
    const auth = { user: 'shop', pass: 'secret' };
    const fake = await start({ auth, fault: { stage } });
    const transport = mailer(fake, { auth });
    await expect(transport.sendMail(letter)).rejects.toMatchObject({ code, responseCode });
    expect(fake.messages).toHaveLength(0);
    fake.set(null);
    await transport.sendMail(letter);
    expect(fake.counts).toMatchObject({ accepted: 1, faulted: 1 });
  });

  test.each(['connect', 'mail', 'rcpt', 'data'])('hangs and resets at %s', async stage => {
    const fake = await start({ fault: { stage, kind: 'hang' } });
    const impatient = mailer(fake, { greetingTimeout: 300, socketTimeout: 300 });
    await expect(impatient.sendMail(letter)).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    fake.set({ stage, kind: 'reset' });
    await expect(mailer(fake).sendMail(letter)).rejects.toThrow();
    expect(fake.counts).toMatchObject({ accepted: 0, faulted: 2 });
  });

  test('drop takes the message in and says nothing', async () => {
    const fake = await start({ fault: { stage: 'data', kind: 'drop' } });
    await expect(mailer(fake).sendMail(letter)).rejects.toThrow();
    expect(fake.messages).toHaveLength(1);
  });

  test('a wrong password is 535', async () => {
    const fake = await start({ auth: { user: 'shop', pass: 'secret' } });
    const transport = mailer(fake, { auth: { user: 'shop', pass: 'wrong' } });
    await expect(transport.sendMail(letter)).rejects.toMatchObject({
      code: 'EAUTH', responseCode: 535
    });
  });

  test('once refuses an envelope the first time only', async () => {
    const fake = await start({ fault: { stage: 'rcpt', once: true } });
    const transport = mailer(fake, { pool: true, maxConnections: 1 });
    await expect(transport.sendMail(letter)).rejects.toMatchObject({ responseCode: 450 });
    await transport.sendMail(letter);
    await expect(transport.sendMail({ ...letter, to: 'b@example.com' }))
      .rejects.toMatchObject({ responseCode: 450 });
    expect(fake.counts.accepted).toBe(1);
  });

  test('keeps the newest messagesMax messages and counts all', async () => {
    const fake = await start({ messagesMax: 2 });
    const transport = mailer(fake, { pool: true, maxConnections: 1 });
    for (const subject of ['1', '2', '3']) await transport.sendMail({ ...letter, subject });
    expect(fake.messages.map(message => message.subject)).toEqual(['2', '3']);
    expect(fake.counts.accepted).toBe(3);
  });

  test.each([
    [{ fault: { stage: 'quit' } }, RangeError], [{ fault: { stage: 'rcpt', kind: 'drop' } },
      RangeError], [{ fault: { stage: 'data', code: 250 } }, RangeError], [5, TypeError],
    [{ auth: { user: 'shop', password: 'secret' } }, RangeError],
  ])('rejects the options %j', async (options, Type) => {
    const failure = await startSmtpFake(options).catch(error => error);
    expect(failure).toBeInstanceOf(Type);
    expect(failure.code).toBe('ERR_INVALID_OPTION');
  });
});
