'use strict';

// Webhooks in an application of somebody else's, whose parsers may have read their bodies before,
// and notifications about orders that are not ours.

const { createHash, createHmac } = require('node:crypto');
const { once } = require('node:events');
const http = require('node:http');
const net = require('node:net');
const { buffer } = require('node:stream/consumers');
const { promisify } = require('node:util');
const zlib = require('node:zlib');

const express = require('express');
const express4 = require('express4');
const fastify = require('fastify');
const fastifyExpress = require('@fastify/express');
const Koa = require('koa');

const { createWebhookRouter } = require('../../lib/http');
const { CloudApiClient } = require('../../lib/clients/whatsapp');
const { cleanUp } = require('../../lib/store/retention');
const { serve } = require('../support/http-helpers');
const { KEY, charge, closeAll, keep } = require('../support/midtrans-helpers');
const { endTest, openShared, pay, placed, until, work } = require('../support/payment-helpers');
const { describeEngines } = require('../support/postgres');

const FLOOD = 1000;
const APP_SECRET = 'planted-app-secret';
// The example in Midtrans's documentation.
const PAYOUT = '{"reference_no":"TLtXjaG7LxcbEhgo7S","amount":"12333.0","status":"processed",' +
  '"updated_at":"2023-03-31T10:12:28Z"}';
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
  'all parsers of Express 4': [express4.json(), express4.urlencoded({ extended: true })],
};
// What has thrown away all but the fields.
const FIELDS_ONLY = ['express.json()', 'all parsers of Express 4'];

const readsAll = (req, res, next) => req.resume().on('end', next);

const readsNothing = (req, res, next) => next();

const readsSome = (req, res, next) => {
  req.once('readable', () => {
    req.read(1);
    next();
  });
};

/** A request on serverless platforms: an object with the body, and no stream. */
const withoutStream = (handler, bodyOf) => async (req, res) => {
  const bytes = await buffer(req);
  const { method, url, headers } = req;
  const body = bytes.length === 0 ? {} : bodyOf(bytes);
  await handler({ method, url, headers, ...body }, res);
};

const listen = async server => {
  keep({ close: () => { server.closeAllConnections(); server.close(); } });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return `http://127.0.0.1:${server.address().port}`;
};

/** Servers that use the handler: each resolves with the address before /webhooks. */
const SERVERS = {
  'node:http': make => listen(http.createServer(make())),
  'node:http, under a prefix': async make =>
    `${await listen(http.createServer(make({ prefix: '/api/v1' })))}/api/v1`,
  'Express, under a prefix': async make =>
    `${await listen(http.createServer(express().use('/api', make())))}/api`,
  'Express, in another router': async make => {
    const router = express.Router().use('/hooks', make());
    return `${await listen(http.createServer(express().use('/shop', router)))}/shop/hooks`;
  },
  'Express, after its parsers': make => listen(http.createServer(express()
    .use(express.urlencoded({ extended: true }), express.raw({ type: all }), make()))),
  'Express 4': make => listen(http.createServer(express4().use(make()))),
  'Express 4, under a prefix, after a parser of other types': async make =>
    `${await listen(http.createServer(express4().use(express4.text()).use('/a', make())))}/a`,
  'Fastify, as middleware': async make => {
    const app = keep(fastify());
    await app.register(fastifyExpress);
    app.use('/f', make());
    return `${await app.listen({ port: 0, host: '127.0.0.1' })}/f`;
  },
  Koa: make => {
    const handler = make();
    return listen(http.createServer(new Koa().use(async ctx => {
      ctx.respond = false;
      await handler(ctx.req, ctx.res);
    }).callback()));
  },
  'a platform that gives the bytes': make => listen(http.createServer(
    withoutStream(make(), bytes => ({ rawBody: bytes, body: JSON.parse(bytes) })))),
  'a platform that gives the text': make => listen(http.createServer(
    withoutStream(make(), bytes => ({ rawBody: String(bytes) })))),
  'a platform that gives the text as body': make => listen(http.createServer(
    withoutStream(make(), bytes => ({ rawBody: '', body: String(bytes) })))),
};

/** The same, but here only the fields are left. */
const PARSED = {
  'a platform that gives the fields': make => listen(http.createServer(
    withoutStream(make(), bytes => ({ body: JSON.parse(bytes) })))),
  'Fastify, as a route': async (make, payments) => {
    const app = keep(fastify());
    app.post('/webhooks/midtrans', async (request, reply) => {
      const { status, body } = await payments.handleNotification(request.body, request.headers);
      return reply.code(status).send(body);
    });
    return app.listen({ port: 0, host: '127.0.0.1' });
  },
};

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

  test.each(Object.keys(PARSERS).filter(name => !FIELDS_ONLY.includes(name)))(
    'is taken behind %s', async name => {
      const { post, news, errors } = await startApp(PARSERS[name], { whatsapp: cloud() });
      const signed = { 'x-hub-signature-256': signature };
      expect((await post('/webhooks/whatsapp', WHATSAPP, signed)).status).toBe(200);
      expect((await post('/webhooks/whatsapp', `${WHATSAPP} `, signed)).status).toBe(403);
      expect(news).toMatchObject([{ statuses: [{ messageId: 'wamid.1', status: 'sent' }] }]);
      expect(errors).toEqual([]);
    });

  test.each([
    ...FIELDS_ONLY.map(name => [name, PARSERS[name]]),
    ['a parser that leaves nothing', [readsAll]], ['one that read a part', [readsSome]],
  ])('behind %s an error tells the cause and the cure', async (name, before) => {
    const { post, news, errors } = await startApp(before, { whatsapp: cloud() });
    const send = () => post('/webhooks/whatsapp', WHATSAPP, { 'x-hub-signature-256': signature });
    const { status, type, text } = await send();
    // WhatsApp sends it again. The operator hears of it once.
    expect([status, type]).toEqual([503, 'application/problem+json']);
    expect((await send()).status).toBe(503);
    const { code, detail } = JSON.parse(text);
    expect(code).toBe('ERR_WEBHOOK_BODY');
    expect(detail).toMatch('Something has read the body of this webhook before');
    expect(detail).toMatch('put app.use(router) before express.json()');
    expect(detail).toMatch('express.json({ verify: (req, res, buf) => { req.rawBody = buf } })');
    expect(errors).toMatchObject([{ code, message: detail }]);
    expect(news).toEqual([]);
  });
});

describe('in servers of all kinds', () => {
  afterEach(closeAll);

  test.each(Object.entries(SERVERS))('WhatsApp is accepted in %s', async (name, start) => {
    const news = [];
    const url = await start(more => createWebhookRouter({
      whatsapp: cloud(), onNews: each => news.push(each), ...more,
    }));
    const post = async body => (await fetch(`${url}/webhooks/whatsapp`, {
      method: 'POST', body, headers: { 'x-hub-signature-256': signature },
    })).status;
    expect([await post(WHATSAPP), await post(`${WHATSAPP} `)]).toEqual([200, 403]);
    expect(news).toMatchObject([{ statuses: [{ messageId: 'wamid.1' }] }]);
    const query = 'hub.mode=subscribe&hub.challenge=7&hub.verify_token';
    const shake = token => fetch(`${url}/webhooks/whatsapp/?${query}=${token}`);
    expect(await (await shake('verify')).text()).toBe('7');
    expect((await shake('other')).status).toBe(403);
  });

  test('without a router it answers 404 to other paths, and 405 to other methods', async () => {
    const url = await listen(http.createServer(createWebhookRouter({ whatsapp: cloud() })));
    const ask = async (path, method) => {
      const { status, headers } = await fetch(`${url}${path}`, { method });
      return [status, headers.get('allow')];
    };
    expect(await ask('/', 'GET')).toEqual([404, null]);
    expect(await ask('/webhooks/midtrans', 'POST')).toEqual([404, null]);
    expect(await ask('/webhooks/constructor', 'POST')).toEqual([404, null]);
    expect(await ask('/webhooks/whatsapp', 'PUT')).toEqual([405, 'GET, HEAD, POST']);
  });

  test('compressed bodies, and bodies that are too large before or after', async () => {
    const { url, post, news, errors } = await startApp([], { whatsapp: cloud() });
    const signed = { 'x-hub-signature-256': signature };
    const send = async (body, encoding) => (await post('/webhooks/whatsapp', body,
      { ...signed, 'content-encoding': encoding })).status;
    const compressors = { gzip: 'gzip', GZIP: 'gzip', deflate: 'deflate', br: 'brotliCompress' };
    for (const [encoding, compressor] of Object.entries(compressors)) {
      expect(await send(await promisify(zlib[compressor])(WHATSAPP), encoding)).toBe(200);
    }
    expect(await send(WHATSAPP, 'identity')).toBe(200);
    // All were the same webhook, whose event is emitted once.
    expect(news).toHaveLength(1);
    expect(await send(WHATSAPP, 'gzip')).toBe(400);
    expect(await send(WHATSAPP, 'compress')).toBe(415);
    expect(await send(WHATSAPP, 'constructor')).toBe(415);
    const huge = Buffer.alloc(2 << 20, 32);
    expect(await send(huge, 'identity')).toBe(413);
    expect(await send(await promisify(zlib.gzip)(huge), 'gzip')).toBe(413);
    const stream = new Blob([huge]).stream();
    const { status } = await fetch(`${url}/webhooks/whatsapp`,
      { method: 'POST', body: stream, duplex: 'half', headers: signed });
    expect(status).toBe(413);
    expect(errors).toEqual([]);
  });

  test('a client that disconnects is no error; a listener that throws is reported', async () => {
    const errors = [];
    const handler = createWebhookRouter({
      whatsapp: cloud(), onError: error => errors.push(error),
      onNews: () => { throw new Error('mine'); },
    });
    let served;
    const server = http.createServer();
    server.on('request', (req, res) => { served = handler(req, res); });
    const url = await listen(server);
    const { status } = await fetch(`${url}/webhooks/whatsapp`, {
      method: 'POST', body: WHATSAPP, headers: { 'x-hub-signature-256': signature },
    });
    expect([status, errors.splice(0)]).toEqual([500, [new Error('mine')]]);
    const begun = once(server, 'request');
    const request = http.request(`${url}/webhooks/whatsapp`,
      { method: 'POST', headers: { 'content-length': 100 } });
    request.on('error', () => {});
    request.write('{');
    await begun;
    request.destroy();
    await served;
    expect(errors).toEqual([]);
  });
});

describe('bodies that are refused', () => {
  afterEach(closeAll);

  const start = async before => {
    const url = new URL(await listen(http.createServer(express()
      .use(...before, createWebhookRouter({ whatsapp: cloud(), onError: () => {} })))));
    const socket = net.connect(url.port, url.hostname);
    keep({ close: () => socket.destroy() });
    socket.on('error', () => {});
    socket.write('POST /webhooks/whatsapp HTTP/1.1\r\nHost: a\r\n');
    return socket;
  };
  const statuses = socket => {
    let text = '';
    socket.setEncoding('latin1').on('data', more => { text += more; });
    return () => Array.from(text.matchAll(/HTTP\/1.1 (\d+)/g), match => match[1]);
  };
  const chunk = (size, fill = ' ') => `${size.toString(16)}\r\n${fill.repeat(size)}\r\n`;
  const LIMIT = 1 << 20;

  test.each([
    ['too large, in chunks', [readsNothing], 'Transfer-Encoding: chunked', '413',
      `${chunk(LIMIT + 1)}${chunk(300_000)}0\r\n\r\n`],
    ['too large, of known length', [readsNothing], `Content-Length: ${LIMIT + 300_000}`, '413',
      ' '.repeat(LIMIT + 300_000)],
    ['read in part by another', [readsSome], 'Content-Length: 300000', '503',
      ' '.repeat(300_000)],
  ])('%s: the next request on the connection is answered', async (name, before, header, status,
    body) => {
    const socket = await start(before);
    const seen = statuses(socket);
    socket.write(`${header}\r\n\r\n${body}GET /webhooks/whatsapp HTTP/1.1\r\nHost: a\r\n\r\n`);
    await until(() => seen().length === 2);
    expect(seen()).toEqual([status, '403']);
  });

  test.each(['Transfer-Encoding: chunked', `Content-Length: ${1 << 30}`])(
    'one without an end is cut off: %s', async header => {
      const socket = await start([readsNothing]);
      const closed = new Promise(resolve => { socket.on('close', resolve); });
      socket.resume();
      socket.write(`${header}\r\n\r\n`);
      const more = header.startsWith('C') ? ' '.repeat(65_536) : chunk(65_536);
      let sent = 0;
      const write = () => {
        while (!socket.destroyed && sent < 1 << 30) {
          sent += more.length;
          if (!socket.write(more)) return;
        }
      };
      socket.on('drain', write);
      write();
      await closed;
      expect(sent).toBeLessThan(1 << 30);
    });

  test('what is no request says what is missing', async () => {
    const handler = createWebhookRouter({ whatsapp: cloud() });
    const request = { method: 'POST', url: '/webhooks/whatsapp', headers: {} };
    for (const name of Object.keys(request)) {
      await expect(handler({ ...request, [name]: undefined }, {})).rejects.toMatchObject({
        code: 'ERR_INVALID_OPTION', message: expect.stringContaining(`for req.${name}`),
      });
    }
  });
});

describeEngines('Midtrans', ({ place }) => {
  let database;

  beforeAll(async () => { database = await openShared(await place()); });
  afterEach(() => endTest(database));
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

  test.each(Object.entries({ ...SERVERS, ...PARSED }))('is accepted in %s', async (name, start) => {
    const setup = await pay(database);
    const { payments, fake } = setup;
    const id = `server-${name.replace(/\W/g, '').slice(0, 40)}`;
    await placed(setup, id);
    fake.settle(id);
    const url = await start(more => createWebhookRouter({ payments, ...more }), payments);
    const path = `${url}/webhooks/midtrans`;
    const [forged] = await fake.notify(path, id, { latest: true, forge: 'signature' });
    expect([forged.status, JSON.parse(forged.text)]).toEqual([403, { status: 'forged' }]);
    const [{ status, text }] = await fake.notify(path, id, { latest: true });
    expect([status, JSON.parse(text)]).toEqual([200, { status: 'applied', order_id: id }]);
  });

  test('fields that a parser made numbers, that occur twice, or are named __proto__', async () => {
    const setup = await pay(database);
    const { fake, payments } = setup;
    await placed(setup, '8200');
    fake.settle('8200');
    const { post, errors } = await startApp([express.json({
      reviver: (key, value) => (/^\d+(\.\d+)?$/.test(value) ? Number(value) : value),
    })], { payments });
    const [body] = fake.notifications('8200', { latest: true });
    const text = JSON.stringify(body);
    expect(JSON.parse((await post('/webhooks/midtrans', text)).text))
      .toEqual({ status: 'applied', order_id: '8200' });
    for (const parsers of [[], [express.json()]]) {
      const app = await startApp(parsers, { payments });
      const send = async json =>
        JSON.parse((await app.post('/webhooks/midtrans', json)).text).status;
      expect(await send(`{"order_id":"8300",${text.slice(1)}`)).toBe('already_processed');
      expect(await send(`${text.slice(0, -1)},"order_id":"8300"}`)).toBe('forged');
      expect(await send(`{"__proto__":{"order_id":"8300"},${text.slice(1)}`))
        .toBe('already_processed');
      const { order_id: id, ...rest } = body;
      expect(await send(`{"__proto__":{"order_id":"${id}"},${JSON.stringify(rest).slice(1)}`))
        .toBe('invalid');
    }
    expect(errors).toEqual([]);
  });

  test('a body that a parser has broken up is sent again, not lost', async () => {
    const setup = await pay(database);
    const { fake, payments } = setup;
    await placed(setup, 'apart');
    fake.settle('apart');
    const text = JSON.stringify(fake.notifications('apart', { latest: true })[0]);
    const empties = (req, res, next) => readsAll(req, res, () => { req.body = {}; next(); });
    const cases = [
      [express.urlencoded({ extended: true }), 'application/x-www-form-urlencoded'],
      [express.urlencoded({ extended: false }), 'application/x-www-form-urlencoded'],
      [empties, 'application/json'],
      [readsSome, 'application/json'],
    ];
    for (const [parser, type] of cases) {
      const { post, errors } = await startApp([parser], { payments });
      expect((await post('/webhooks/midtrans', text, { 'content-type': type })).status).toBe(503);
      expect(errors).toMatchObject([{ code: 'ERR_WEBHOOK_BODY' }]);
    }
    // The fields of a form, and JSON under another name, are all there.
    const form = new URLSearchParams(JSON.parse(text));
    const { post } = await startApp([express.urlencoded()], { payments });
    const answers = [
      await post('/webhooks/midtrans', String(form), { 'content-type': cases[0][1] }),
      await post('/webhooks/midtrans', text, { 'content-type': 'text/plain' }),
    ];
    expect(answers.map(answer => JSON.parse(answer.text).status))
      .toEqual(['applied', 'already_processed']);
  });

  test('what no parser can make an order of is refused as ever', async () => {
    const { payments } = await pay(database);
    for (const before of [[], [express.json({ strict: false })], PARSERS['express.text()']]) {
      const { post } = await startApp(before, { payments });
      for (const text of ['[]', '{}', 'null', '5', '"a"', 'true', '']) {
        expect((await post('/webhooks/midtrans', text)).status).toBe(400);
      }
    }
  });

  test('what no provider has sent raises no alarm, and does not use up that of the true one',
    async () => {
      const { payments } = await pay(database);
      const parsed = await startApp([express.json()], { payments });
      expect((await parsed.post('/webhooks/midtrans', '{ }')).status).toBe(400);
      expect(parsed.errors).toEqual([]);
      const { post, errors } = await startApp([readsAll], { payments });
      expect((await post('/webhooks/midtrans', '{}')).status).toBe(503);
      expect(errors).toEqual([]);
      for (let i = 0; i < 2; i += 1) {
        expect((await post('/webhooks/midtrans', PAYOUT, { 'iris-signature': '0' })).status)
          .toBe(503);
      }
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
      // Refusals wait beyond a hundred a second, so many come at once.
      for (let i = 0; i < FLOOD; i += 100) {
        if (i === FLOOD / 2) {
          const [{ text }] =
            await fake.notify(`${url}/webhooks/midtrans`, 'flood', { latest: true });
          expect(text).toBe('{"status":"applied","order_id":"flood"}');
        }
        await Promise.all(Array.from({ length: 100 }, (_, n) => send(i + n)));
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

  // ---- Notifications that are not about an order of ours ---------------------------------------

  const digest = (...parts) => createHash('sha512').update(parts.join('')).digest('hex');

  /**
   * Payments whose worker runs the hook, behind a server. `subscriptions`: can be asked for;
   * `lag(id)`: asked in place of GET status, if there is anything.
   */
  async function startNotices ({ subscriptions, lag, before = [], ...options } = {}) {
    const notices = [];
    const own = await pay(database);
    const { midtrans } = own;
    const provider = {
      verifyNotification: (...args) => midtrans.verifyNotification(...args),
      createTransaction: (...args) => midtrans.createTransaction(...args),
      status: (...args) => lag?.(args[0]) ?? midtrans.status(...args),
      ...subscriptions && {
        getSubscription: (...args) => midtrans.getSubscription(...args),
      },
    };
    const setup = await pay(database, {
      payments: { midtrans: provider, ...options },
      hooks: { onNotification: (notice, { signal }) => {
        expect(signal).toBeInstanceOf(AbortSignal);
        notices.push(notice);
      } },
    });
    await work(setup);
    const { post } = await startApp(before, { payments: setup.payments });
    /** Sends a body, as JSON or as text, twice; returns both statuses. */
    const send = async (body, headers) => {
      const text = typeof body === 'string' ? body : JSON.stringify(body);
      const answers = [];
      for (let i = 0; i < 2; i += 1) {
        const { status, text: said } = await post('/webhooks/midtrans', text, headers);
        answers.push(`${status} ${JSON.parse(said).status}`);
      }
      return answers;
    };
    const next = count => until(() => notices.length >= count && notices);
    return { ...setup, fake: own.fake, midtrans, notices, next, post, send };
  }

  const KEPT = ['200 unknown_order', '200 unknown_order'];
  const FORGED = ['403 forged', '403 forged'];
  const LATE = ['503 unavailable', '503 unavailable'];

  const makeOld = () => database.query(`UPDATE ${database.schema}.payment_events
    SET received_at = received_at - interval '1 hour' WHERE fingerprint LIKE 'behind:%'`);

  const account = (status, more) => ({
    status_code: '200', payment_type: 'gopay', account_id: 'acc-1', account_status: status,
    signature_key: digest('acc-1', status, '200', KEY), ...more,
  });
  const SCHEDULE = { interval: 1, interval_unit: 'month', current_interval: 0 };
  const SUBSCRIPTION = {
    id: 'sub-1', name: 'MONTHLY', status: 'active', schedule: SCHEDULE, payment_type: 'gopay',
    merchant_id: 'M1', amount: '14000', currency: 'IDR', customer_details: { first_name: 'A\0' },
  };

  test('a linked account: the signature covers its status', async () => {
    const { send, next, notices, seen, payments } = await startNotices();
    expect(await send(account('ENABLED'))).toEqual(KEPT);
    expect(await send(account('DISABLED', { signature_key: account('ENABLED').signature_key })))
      .toEqual(FORGED);
    expect(await send(account('ENABLED', { signature_key: undefined }))).toEqual(FORGED);
    // An order that somebody adds to it is not signed.
    expect(await send({ ...account('ENABLED'), order_id: 'x', transaction_status: 'settlement' }))
      .toEqual(FORGED);
    expect(await send({ ...account('ENABLED'), order_id: 'x', gross_amount: '1.00' }))
      .toEqual(['400 invalid', '400 invalid']);
    await next(1);
    expect(await send(account('DISABLED'))).toEqual(KEPT);
    await next(2);
    expect(notices).toEqual([
      // What else is in them is not signed.
      ...['ENABLED', 'DISABLED'].map(status => {
        const signed = { account_id: 'acc-1', account_status: status, status_code: '200' };
        return { id: expect.any(String), kind: 'account', verified: true, body: signed, signed };
      }),
    ]);
    // The same, whatever else somebody makes of it, or a parser.
    for (const more of [{ metadata: { reference_id: 'user-42' } }, { payment_type: 'qris' },
      { status_code: 200 }, { account_id: 'acc-1E', account_status: 'NABLED' }]) {
      expect(await send(account('ENABLED', more.account_id === undefined ? more
        : { ...more, signature_key: account('ENABLED').signature_key }))).toEqual(KEPT);
    }
    expect(await send(account('EXPIRED', { status_code: 200 }))).toEqual(KEPT);
    await next(3);
    expect(notices).toHaveLength(3);
    expect(notices[2].signed)
      .toEqual({ account_id: 'acc-1', account_status: 'EXPIRED', status_code: '200' });
    expect([seen.held, seen.warning]).toEqual([[], []]);
    expect((await payments.listEvents({ outcome: 'unknown_order', limit: 2 }))
      .map(({ orderId, reason, times }) => [orderId, reason, times]))
      .toEqual([[null, 'account', 2], [null, 'account', 2]]);
  });

  test('a subscription: Midtrans is asked', async () => {
    const { send, next, notices, midtrans } = await startNotices({ subscriptions: true });
    const { id } = await midtrans.createSubscription({
      name: 'MONTHLY', amount: '14000', currency: 'IDR', payment_type: 'credit_card', token: 't',
      schedule: { interval: 1, interval_unit: 'month' },
    });
    const truth = await midtrans.getSubscription(id);
    const created = { ...SUBSCRIPTION, id };
    expect(await send(created)).toEqual(KEPT);
    const charged = {
      transaction: { transaction_status: 'capture', transaction_id: 't-1', status_code: '200' },
      subscription: created,
    };
    await next(1);
    expect(await send(charged)).toEqual(KEPT);
    await next(2);
    expect(await send({ ...SUBSCRIPTION, id: 'sub-2' })).toEqual(FORGED);
    expect(notices).toEqual([created, charged].map(body => (
      { id: expect.any(String), kind: 'subscription', verified: 'asked', body, answer: truth })));
  });

  const MERCHANT_KEY = 'IRIS-merchant-d8709d85-19d6-39c4-7ff5-8eaf81ec31cd';
  const PAYOUT_SIGNATURE = '8b8a8ce380887acf162a17cc4bed7b7ff1c94fc637201ebed7ab1a7f32596810' +
    'cbd9fc78d2db051ef851f97c05cd5f840d10ee34d58021c18d6ef69a793b7116';

  test('a payout: the signature covers the bytes', async () => {
    const irisMerchantKey = MERCHANT_KEY;
    const signed = text => ({ 'Iris-Signature': digest(text, MERCHANT_KEY) });
    expect(signed(PAYOUT)['Iris-Signature']).toBe(PAYOUT_SIGNATURE);
    const { send, next, notices, payments } = await startNotices({ irisMerchantKey });
    expect(await send(PAYOUT, signed(PAYOUT))).toEqual(KEPT);
    expect(await send(`${PAYOUT} `, signed(PAYOUT))).toEqual(FORGED);
    expect(await send(PAYOUT)).toEqual(FORGED);
    const topup = JSON.stringify({
      status: 'topup', order_id: 'T-1', transaction_id: 't', gross_amount: '10.00',
    });
    expect(await send(topup, signed(topup))).toEqual(KEPT);
    await next(2);
    expect(notices.map(({ kind, verified, body }) => [kind, verified, body]))
      .toEqual([['payout', true, JSON.parse(PAYOUT)], ['payout', true, JSON.parse(topup)]]);
    // Headers as other frameworks give them.
    for (const headers of [new Headers(signed(PAYOUT)), signed(PAYOUT)]) {
      expect(await payments.handleNotification(PAYOUT, headers)).toMatchObject({ status: 200 });
    }
    // What a parser makes of it may have the same bytes, or not.
    const parsed = await startNotices({ irisMerchantKey, before: [express.json()] });
    expect(await parsed.send(PAYOUT, signed(PAYOUT))).toEqual(KEPT);
    const spaced = PAYOUT.replace(',', ', ');
    expect(await parsed.send(spaced, signed(spaced)))
      .toEqual(['503 unavailable', '503 unavailable']);
    expect(parsed.seen.warning).toMatchObject([{
      code: 'ERR_WEBHOOK_BODY', message: expect.stringContaining('req.rawBody = buf'),
    }]);
  });

  test('orders of others: the test, a payment link, a subscription, another system', async () => {
    const { send, next, notices, fake, midtrans } = await startNotices();
    const sign = (body, code = '200') => ({
      ...body, status_code: code, gross_amount: '10000.00',
      signature_key: digest(body.order_id, code, '10000.00', KEY),
    });
    const ids = ['pay-me-1700000000000', 'SUBS-MONTHLY-1234567890', 'other-1'];
    for (const [i, id] of ids.entries()) {
      await midtrans.charge(charge(id));
      // One who has seen it says that it is paid. Midtrans may be late; in the end we give up.
      const [pending] = fake.notifications(id);
      expect(await send({ ...pending, transaction_status: 'settlement' })).toEqual(LATE);
      await makeOld();
      expect(await send({ ...pending, transaction_status: 'settlement' })).toEqual(KEPT);
      await next(i + 1);
      expect(notices[i]).toMatchObject({
        kind: ['payment_link', 'subscription', 'unknown_order'][i], verified: 'asked',
        body: { order_id: id, transaction_status: 'settlement' },
        answer: { order_id: id, transaction_status: 'pending' },
      });
    }
    fake.settle('other-1');
    expect(await send(fake.notifications('other-1', { latest: true })[0])).toEqual(KEPT);
    await next(4);
    expect(notices[3]).toMatchObject({ answer: { transaction_status: 'settlement' } });
    const { transaction_id: paid } = fake.transactions.get('other-1');
    const claim = { order_id: 'another', transaction_status: 'settlement' };
    expect(await send(sign({ ...claim, transaction_id: paid }))).toEqual(FORGED);
    expect(await send(sign({ ...claim, transaction_id: 'none' }))).toEqual(LATE);
    await makeOld();
    expect(await send(sign({ ...claim, transaction_id: 'none' }))).toEqual(KEPT);
    await next(5);
    expect(notices[4]).toMatchObject({
      kind: 'unknown_order', verified: false,
      signed: { order_id: 'another', status_code: '200', gross_amount: '10000.00' },
    });
    expect(notices[4].answer).toBeUndefined();
    expect(await send(sign({ ...claim, transaction_id: 'x', order_id: 'payment_notif_test_G1_2' })))
      .toEqual(KEPT);
    await next(6);
    expect(notices[5]).toMatchObject({ kind: 'test', verified: true });
    expect(notices).toHaveLength(6);
  });

  test('a payment link that was paid is told, however late Midtrans says so', async () => {
    const answers = new Map();
    const { send, next, notices, fake, midtrans } =
      await startNotices({ lag: id => answers.get(id) });
    const ids = ['menu-1700000000000', 'menu-1700000000001'];
    for (const id of ids) await midtrans.charge(charge(id));
    const [one, another] = ids.map(id => fake.transactions.get(id).transaction_id);
    answers.set(one, midtrans.status(one)).set(another, midtrans.status('none'));
    await Promise.allSettled(answers.values());
    for (const id of ids) fake.settle(id);
    const paid = ids.map(id => fake.notifications(id, { latest: true })[0]);
    // A host whose clock is wrong gives up no sooner.
    const { now } = Date;
    jest.spyOn(Date, 'now').mockImplementation(() => now() + 7_200_000);
    for (const body of paid) expect(await send(body)).toEqual(LATE);
    jest.restoreAllMocks();
    answers.clear();
    for (const [i, body] of paid.entries()) {
      expect(await send(body)).toEqual(KEPT);
      await next(i + 1);
    }
    expect(notices.map(({ verified, answer }) => [verified, answer.transaction_status]))
      .toEqual([['asked', 'settlement'], ['asked', 'settlement']]);
  });

  test('without confirmation the state of another\'s order is not verified', async () => {
    const { send, next, notices, fake, midtrans } = await startNotices({ confirm: false });
    await midtrans.charge(charge('link-1700000000000'));
    const [pending] = fake.notifications('link-1700000000000');
    expect(await send({ ...pending, transaction_status: 'settlement' })).toEqual(KEPT);
    await next(1);
    expect(notices).toMatchObject([{
      kind: 'payment_link', verified: false,
      signed: { order_id: 'link-1700000000000', status_code: '201' },
    }]);
    expect(Object.keys(notices[0].signed)).toEqual(['order_id', 'status_code', 'gross_amount']);
  });

  test('while Midtrans is away, strangers cannot open its breaker', async () => {
    const { post, fake, midtrans, payments } = await startNotices({ subscriptions: true });
    await placed({ payments, fake }, 'breaker-1');
    await midtrans.charge(charge('breaker-1700000000000'));
    const [link] = fake.notifications('breaker-1700000000000');
    fake.settle('breaker-1');
    const asked = fake.log.length;
    for (const status of [503, 429]) {
      fake.set(['getSubscription', 'status'].map(on => ({ kind: 'error', status, on })));
      for (let i = 0; i < 20; i += 1) {
        const body = { subscription: { id: `x${status}-${i}` } };
        expect((await post('/webhooks/midtrans', JSON.stringify(body))).status).toBe(503);
        const varied = JSON.stringify({ ...link, transaction_id: `x${status}-${i}` });
        expect((await post('/webhooks/midtrans', varied)).status).toBe(503);
      }
    }
    // One request for each, without retries.
    expect(fake.log.length - asked).toBe(80);
    expect(midtrans.breaker.closed).toBe(true);
    expect(midtrans.breaker.stats.failures).toBe(0);
    fake.set(null);
    const [genuine] = fake.notifications('breaker-1', { latest: true });
    expect((await post('/webhooks/midtrans', JSON.stringify(genuine))).status).toBe(200);
  });

  test('a flood of subscriptions delays no other notice, and renews no allowance', async () => {
    const { deliver, fake, midtrans } = await startNotices({ subscriptions: true });
    await midtrans.charge(charge('flooded-1700000000000'));
    const [link] = fake.notifications('flooded-1700000000000');
    const flood = async () => {
      const answers = [];
      for (let i = 0; i < 10_050; i += 1) {
        answers.push((await deliver({ subscription: { id: `f${i}` } })).status);
      }
      return answers;
    };
    // A hundred are asked about at once, and ten more each second.
    expect(await flood()).toContain(503);
    expect(await deliver(link)).toMatchObject({ status: 200 });
    const asked = () => fake.log.filter(({ path }) => path.endsWith('/status')).length;
    const vary = async () => {
      for (let i = 0; i < 120; i += 1) await deliver({ ...link, transaction_id: `x${i}` });
    };
    await vary();
    await flood();
    await vary();
    expect(asked()).toBeLessThanOrEqual(100);
  });

  test('what nobody can verify says so, and comes only so often', async () => {
    const { send, post, next, notices } = await startNotices();
    const unknown = { status_code: '200', saved_token_id: '4811', masked_card: '481111-1114' };
    expect(await send(unknown)).toEqual(KEPT);
    expect(await send(SUBSCRIPTION)).toEqual(KEPT);
    expect(await send(PAYOUT, { 'iris-signature': PAYOUT_SIGNATURE })).toEqual(KEPT);
    await next(3);
    expect(notices.map(({ kind, verified }) => `${kind} ${verified}`).toSorted())
      .toEqual(['payout false', 'subscription false', 'unknown false']);
    expect(await send({ ...unknown, note: 'x'.repeat(5000) }))
      .toEqual(['413 invalid', '413 invalid']);
    const before = await countsOf(database);
    const answers = {};
    for (let i = 0; i < 150; i += 1) {
      const { status } = await post('/webhooks/midtrans', JSON.stringify({ ...unknown, i }));
      answers[status] = (answers[status] ?? 0) + 1;
    }
    expect(answers[200] + answers[503]).toBe(150);
    // One more every 36 s, after those above.
    expect(answers[200]).toBeGreaterThanOrEqual(90);
    expect(answers[200]).toBeLessThan(110);
    const after = await countsOf(database);
    expect(after.unknown_order.rows - before.unknown_order.rows).toBe(answers[200]);
  });

  test('without the hook, unverified notices are not stored', async () => {
    const { payments } = await pay(database);
    const { post } = await startApp([], { payments });
    const before = await countsOf(database);
    for (const body of [SUBSCRIPTION, JSON.parse(PAYOUT), { merchant_id: 'G1' }]) {
      expect(await post('/webhooks/midtrans', JSON.stringify(body)))
        .toMatchObject({ status: 200, text: '{"status":"unknown_order"}' });
    }
    expect(await countsOf(database)).toEqual(before);
    const linked = account('PENDING');
    expect((await post('/webhooks/midtrans', JSON.stringify(linked))).status).toBe(200);
    expect((await countsOf(database)).unknown_order.rows)
      .toBe((before.unknown_order?.rows ?? 0) + 1);
  });

  test('if Midtrans cannot be reached, the notice has to be sent again', async () => {
    const { send, fake, midtrans, next } = await startNotices();
    await midtrans.charge(charge('away-1'));
    const [pending] = fake.notifications('away-1');
    fake.set({ kind: 'error', status: 503, on: 'status' });
    const [first] = await send(pending);
    expect(first).toBe('503 unavailable');
    fake.set(null);
    midtrans.breaker?.close();
    expect(await send(pending)).toEqual(KEPT);
    expect(await next(1)).toMatchObject([{ verified: 'asked' }]);
  });
});
