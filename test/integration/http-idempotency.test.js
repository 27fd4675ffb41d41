'use strict';

// The header Idempotency-Key over HTTP, with Express on a real PostgreSQL.

const { once } = require('node:events');
const http = require('node:http');
const { buffer } = require('node:stream/consumers');

const express = require('express');

const { idempotent, problemHandler } = require('../../lib/http');
const { openDatabase } = require('../../lib/store/database');
const { createIdempotency } = require('../../lib/store/idempotency');
const { migrate } = require('../../lib/store/migrate');
const { closeShared, sharedPostgres } = require('../support/postgres');

let database;
let idempotency;
let postgres;
const opened = [];

beforeAll(async () => {
  postgres = await sharedPostgres();
  database = await openDatabase({ url: await postgres.createDatabase() });
  await migrate(database);
  idempotency = createIdempotency({ database });
});

afterEach(() => {
  for (const server of opened.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

afterAll(async () => {
  await database.close();
  await closeShared();
});

/** A server whose POST /orders is answered by `handler`. */
async function serve (handler, options, { parser = express.json() } = {}) {
  const app = express();
  app.use((req, res, next) => {
    res.setHeader('x-request-id', String(Math.random()));
    next();
  });
  if (parser) app.use(parser);
  const work = jest.fn(handler);
  app.use(['/orders', '/others'], idempotent({ idempotency, ...options }), work);
  app.use(problemHandler({ onError: () => {} }));
  const server = app.listen(0, '127.0.0.1');
  opened.push(server);
  await once(server, 'listening');
  return { work, url: `http://127.0.0.1:${server.address().port}` };
}

const keyed = (key, body, headers) => ({
  method: 'POST',
  headers: {
    ...key !== undefined && { 'idempotency-key': key }, 'content-type': 'application/json',
    ...headers
  },
  body: JSON.stringify(body ?? { amount: 1 }),
});

/** Sends a request; headers that differ from one answer to the next are left out. */
async function send (url, request) {
  const response = await fetch(url, request);
  const headers = Object.fromEntries(response.headers);
  for (const name of ['date', 'x-request-id', 'idempotency-replayed', 'keep-alive', 'connection']) {
    delete headers[name];
  }
  return {
    status: response.status, headers, body: Buffer.from(await response.arrayBuffer()),
    replayed: response.headers.get('idempotency-replayed') === 'true',
  };
}

const problemIn = ({ headers, body, status }) => {
  expect(headers['content-type']).toBe('application/problem+json');
  const members = JSON.parse(body);
  expect(members).toMatchObject({ status, title: expect.any(String) });
  return `${status} ${members.code}`;
};

let keys = 0;
const newKey = () => `"key-${keys += 1}"`;

test.each([
  ['JSON', res => res.status(201).location('/orders/7').json({ id: 7, text: 'Größe "L"' })],
  ['parts', res => {
    res.writeHead(202, 'Taken', { 'Content-Type': 'text/csv', 'X-Own': ['a', 'b'] });
    res.write('a;b\r\n');
    res.write(Buffer.from([0, 255, 13, 10]));
    res.end('end', 'latin1');
  }],
  ['bytes', res => res.type('application/pdf').send(Buffer.from([37, 80, 68, 70, 0, 200]))],
  ['nothing', res => res.sendStatus(204)],
  ['a refusal', res => res.status(402).json({ error: 'no money' })],
])('%s comes again byte for byte, with status and headers', async (_, answer) => {
  const { work, url } = await serve((req, res) => { answer(res); });
  const request = keyed(newKey());
  const first = await send(`${url}/orders`, request);
  const second = await send(`${url}/orders`, request);
  expect(first.replayed).toBe(false);
  expect(second).toEqual({ ...first, replayed: true });
  expect(work).toHaveBeenCalledTimes(1);
});

test('cookies and the headers of other middleware are not repeated', async () => {
  const { url } = await serve((req, res) => { res.cookie('session', 'secret').json({}); });
  const request = keyed(newKey());
  const first = await fetch(`${url}/orders`, request);
  const second = await fetch(`${url}/orders`, request);
  expect(first.headers.get('set-cookie')).toContain('secret');
  expect(second.headers.get('set-cookie')).toBe(null);
  expect(second.headers.get('x-request-id')).toMatch(/^0\.\d+$/);
  expect(second.headers.get('x-request-id')).not.toBe(first.headers.get('x-request-id'));
});

test('a handler that throws after its answer changes nothing of it', async () => {
  const { url } = await serve((req, res) => {
    res.status(201).json({ id: 1 });
    throw new Error('too late');
  });
  const request = keyed(newKey());
  const first = await send(`${url}/orders`, request);
  expect(first).toMatchObject({ status: 201, body: Buffer.from('{"id":1}') });
  expect(await send(`${url}/orders`, request)).toEqual({ ...first, replayed: true });
});

test.each([
  ['gets the answer of the next holder', true, 201],
  ['is told so, if there is none yet', false, 409],
])('a handler that has lost its key can ask, and its client %s', async (_, isDone, status) => {
  const request = keyed(newKey());
  const bodies = [];
  let isFirst = true;
  const { url, work } = await serve(async (req, res) => {
    const isLate = isFirst;
    isFirst = false;
    if (isLate && isDone) {
      // Its process stands still, and the client asks again.
      await database.query(
        `UPDATE ${database.schema}.idempotency_store SET locked_until = clock_timestamp()`);
      bodies.push((await send(`${url}/orders`, request)).body);
    } else if (isLate) {
      await database.query(`DELETE FROM ${database.schema}.idempotency_store`);
    }
    await req.idempotency.confirm();
    expect(req.idempotency).toMatchObject({
      token: expect.stringMatching(/^\d+$/), signal: { aborted: false },
    });
    res.status(201).json({ by: isLate ? 'the first' : 'the second' });
  });
  const answer = await send(`${url}/orders`, request);
  expect(answer).toMatchObject({ status, replayed: isDone });
  if (isDone) expect(bodies).toEqual([answer.body]);
  else expect(problemIn(answer)).toBe('409 ERR_IDEMPOTENCY_LOST');
  expect(await send(`${url}/orders`, request))
    .toMatchObject({ status: 201, body: Buffer.from('{"by":"the second"}') });
  expect(work).toHaveBeenCalledTimes(2);
});

test('100 at once: one is carried out; the others get its answer, or 409', async () => {
  const { work, url } = await serve(async (req, res) => { res.json({ id: 1 }); });
  const request = keyed(newKey());
  const early = await Promise.all(Array.from({ length: 20 }, () => send(`${url}/orders`, request)));
  const good = early.filter(({ status }) => status === 200);
  expect(good.length).toBeGreaterThan(0);
  for (const each of early.filter(({ status }) => status !== 200)) {
    expect(problemIn(each)).toBe('409 ERR_IDEMPOTENCY_IN_PROGRESS');
    expect(each.headers['retry-after']).toBe('1');
  }
  const patient = await serve(async (req, res) => { res.json({ id: 1 }); }, { wait: 10_000 });
  const other = keyed(newKey());
  const all = await Promise.all(Array.from({ length: 100 }, () =>
    send(`${patient.url}/orders`, other)));
  expect(all.filter(({ replayed }) => !replayed)).toHaveLength(1);
  expect(new Set(all.map(({ status, body }) => `${status} ${body}`)).size).toBe(1);
  expect([work, patient.work].map(({ mock }) => mock.calls.length)).toEqual([1, 1]);
});

test('another body, URL or method under the same key: 422', async () => {
  const { work, url } = await serve((req, res) => { res.json({}); });
  const key = newKey();
  await send(`${url}/orders`, keyed(key, { a: 1, b: 2 }));
  const others = [
    [`${url}/orders`, keyed(key, { a: 1, b: 3 })], [`${url}/others`, keyed(key, { a: 1, b: 2 })],
    [`${url}/orders?now=1`, keyed(key, { a: 1, b: 2 })],
    [`${url}/orders`, { ...keyed(key, { a: 1, b: 2 }), method: 'PATCH' }],
  ];
  for (const [address, request] of others) {
    expect(problemIn(await send(address, request))).toBe('422 ERR_IDEMPOTENCY_MISMATCH');
  }
  expect(await send(`${url}/orders`, keyed(key, { b: 2, a: 1 }))).toMatchObject({ replayed: true });
  expect(work).toHaveBeenCalledTimes(1);
});

test('without a key: passes, or 400 where it is required; other methods pass', async () => {
  const free = await serve((req, res) => { res.json({}); });
  const strict = await serve((req, res) => { res.json({}); }, { required: true });
  expect(await send(`${free.url}/orders`, keyed())).toMatchObject({ status: 200 });
  expect(problemIn(await send(`${strict.url}/orders`, keyed())))
    .toBe('400 ERR_IDEMPOTENCY_KEY_MISSING');
  expect(await send(`${strict.url}/orders`)).toMatchObject({ status: 200 });
  expect(await send(`${strict.url}/orders`, { ...keyed(), method: 'PUT' }))
    .toMatchObject({ status: 200 });
});

test.each([
  'abc', '', '""', '"a', 'a"', '"a" "b"', '"a", "b"', "'a'", '"a\\b"', '"a"b', '"a";', '"a";=1',
  '"a"; B=1', '?1', '(a)', `"${'a'.repeat(256)}"`,
])('the key %s is malformed', async key => {
  const { work, url } = await serve((req, res) => { res.json({}); });
  expect(problemIn(await send(`${url}/orders`, keyed(key))))
    .toBe('400 ERR_IDEMPOTENCY_KEY_MALFORMED');
  expect(work).not.toHaveBeenCalled();
});

test('escapes and parameters of a key are understood', async () => {
  const { url } = await serve((req, res) => { res.json({}); });
  await send(`${url}/orders`, keyed('"q\\"\\\\"'));
  expect(await send(`${url}/orders`, keyed(' "q\\"\\\\";a;b=2;c="d"'))).toMatchObject({
    replayed: true,
  });
});

test('nobody gets the answer of another caller', async () => {
  const answer = (req, res) => { res.json({ for: req.headers.authorization ?? 'nobody' }); };
  const byToken = await serve(answer);
  const key = newKey();
  for (const authorization of ['Bearer a', 'Bearer b', undefined]) {
    const headers = authorization && { authorization };
    const { body, replayed } = await send(`${byToken.url}/orders`, keyed(key, {}, headers));
    expect([JSON.parse(body).for, replayed]).toEqual([authorization ?? 'nobody', false]);
  }
  const byUser = await serve(answer, { scope: async req => req.headers['x-user'] });
  const other = newKey();
  const of = user => send(`${byUser.url}/orders`, keyed(other, {}, { 'x-user': user }));
  expect([await of('a'), await of('b'), await of('a')].map(({ replayed }) => replayed))
    .toEqual([false, false, true]);
});

test('a caller is the same however the header is written', async () => {
  const { work, url } = await serve((req, res) => { res.json({}); });
  const key = newKey();
  const ask = authorization => send(`${url}/orders`, keyed(key, {}, { authorization }));
  const answers = [];
  for (const header of ['Bearer Abc', 'bearer Abc', 'BEARER   Abc', 'Bearer abc']) {
    answers.push((await ask(header)).replayed);
  }
  expect(answers).toEqual([false, true, true, false]);
  expect(work).toHaveBeenCalledTimes(2);
});

test('server errors are not stored, unless it is asked for', async () => {
  for (const storeServerErrors of [false, true]) {
    const { work, url } = await serve((req, res) => {
      if (work.mock.calls.length === 1) res.status(503).json({ error: 'later' });
      else throw new Error('broken');
    }, { storeServerErrors });
    const request = keyed(newKey());
    const statuses = [];
    for (let i = 0; i < 3; i += 1) statuses.push((await send(`${url}/orders`, request)).status);
    expect(statuses).toEqual(storeServerErrors ? [503, 503, 503] : [503, 500, 500]);
    expect(work).toHaveBeenCalledTimes(storeServerErrors ? 1 : 3);
  }
});

test.each([[false], [true]])(
  'an answer that is too large goes out, and is known of by then (length told: %s)',
  async isLengthTold => {
    const { work, url } = await serve((req, res) => {
      res.type('text/plain');
      if (isLengthTold) res.set('Content-Length', '5007');
      for (let i = 0; i < 10; i += 1) res.write('x'.repeat(500));
      res.end('the end', 'utf8');
    }, { maxResponse: 1024 });
    for (let round = 0; round < 10; round += 1) {
      const request = keyed(newKey());
      const { status, body } = await send(`${url}/orders`, request);
      expect([status, body.length, String(body).slice(-8)]).toEqual([200, 5007, 'xthe end']);
      expect(problemIn(await send(`${url}/orders`, request)))
        .toBe('409 ERR_IDEMPOTENCY_NOT_KEPT');
      expect(work).toHaveBeenCalledTimes(round + 1);
    }
  });

test('a store that keeps failures keeps no server error either', async () => {
  const keeping = createIdempotency({ database, options: { storeFailures: true } });
  let status = 500;
  const { url } = await serve((req, res) => res.status(status).end(), { idempotency: keeping });
  const request = keyed(newKey());
  expect((await send(`${url}/orders`, request)).status).toBe(500);
  status = 201;
  expect((await send(`${url}/orders`, request)).status).toBe(201);
});

test('a client that goes away: the next one gets the answer', async () => {
  let answer;
  const { work, url } = await serve(async (req, res) => {
    await new Promise(resolve => { answer = resolve; work.begun(); });
    res.json({ id: 1 });
  }, { wait: 5000 });
  const begun = new Promise(resolve => { work.begun = resolve; });
  const request = keyed(newKey());
  const controller = new AbortController();
  const lost = fetch(`${url}/orders`, { ...request, signal: controller.signal });
  await begun;
  controller.abort();
  await expect(lost).rejects.toThrow();
  const again = send(`${url}/orders`, request);
  answer();
  expect(await again).toMatchObject({ status: 200, replayed: true });
  expect(work).toHaveBeenCalledTimes(1);
});

test('a handler that stops with its client frees the key', async () => {
  const { work, url } = await serve((req, res) => {
    if (work.mock.calls.length > 1) res.json({});
    else work.begun();
  }, { lockTimeout: 1000, wait: 20_000 });
  const begun = new Promise(resolve => { work.begun = resolve; });
  const request = keyed(newKey());
  const controller = new AbortController();
  const lost = fetch(`${url}/orders`, { ...request, signal: controller.signal }).catch(() => {});
  await begun;
  controller.abort();
  await lost;
  expect(await send(`${url}/orders`, request)).toMatchObject({ status: 200, replayed: false });
});

test('bodies: bytes count as they are; without a parser 415; too deep ones 400', async () => {
  const raw = await serve((req, res) => { res.json({}); }, {}, { parser: express.raw() });
  const bytes = (key, body) => ({
    method: 'POST', body,
    headers: { 'idempotency-key': key, 'content-type': 'application/octet-stream' },
  });
  const key = newKey();
  await send(`${raw.url}/orders`, bytes(key, 'abc'));
  expect(await send(`${raw.url}/orders`, bytes(key, 'abc'))).toMatchObject({ replayed: true });
  expect(await send(`${raw.url}/orders`, bytes(key, 'abd'))).toMatchObject({ status: 422 });
  const none = await serve((req, res) => { res.json({}); }, {}, { parser: null });
  expect(problemIn(await send(`${none.url}/orders`, keyed(newKey()))))
    .toBe('415 ERR_IDEMPOTENCY_BODY');
  expect(await send(`${none.url}/orders`, {
    method: 'POST', headers: { 'idempotency-key': newKey() }
  })).toMatchObject({ status: 200 });
  const json = await serve((req, res) => { res.json({}); });
  const deep = { ...keyed(newKey()), body: `${'['.repeat(20_000)}${']'.repeat(20_000)}` };
  expect(problemIn(await send(`${json.url}/orders`, deep))).toBe('400 ERR_IDEMPOTENCY_BODY');
});

test('while the database is away nothing is carried out: 503', async () => {
  const { work, url } = await serve((req, res) => { res.json({}); });
  const request = keyed(newKey());
  await postgres.stop('immediate');
  const away = await send(`${url}/orders`, request);
  expect(problemIn(away)).toBe('503 ERR_STORE_UNREACHABLE');
  expect(away.headers['retry-after']).toBe('1');
  expect(work).not.toHaveBeenCalled();
  await postgres.start();
  expect(await send(`${url}/orders`, request)).toMatchObject({ status: 200 });
});

test('without Express', async () => {
  const handle = idempotent({ idempotency });
  const server = http.createServer(async (req, res) => {
    req.rawBody = await buffer(req);
    handle(req, res, () => { res.end(`got ${req.rawBody}`); });
  }).listen(0, '127.0.0.1');
  opened.push(server);
  await once(server, 'listening');
  const url = `http://127.0.0.1:${server.address().port}/`;
  const request = keyed(newKey());
  const first = await send(url, request);
  expect(String(first.body)).toBe('got {"amount":1}');
  expect(await send(url, request)).toEqual({ ...first, replayed: true });
});

test.each([
  [{}], [{ idempotency: {} }], [{ methods: 'POST' }], [{ methods: ['post'] }], [{ required: 1 }],
  [{ scope: 'a' }], [{ maxResponse: -1 }], [{ maxResponse: 2 ** 30 }], [{ storeServerErrors: 1 }],
  [{ store: 1 }], [{ lockTimeout: 999 }], [{ ttl: 0 }], [{ wait: -1 }],
])('%j is refused', options => {
  const given = Object.keys(options).length === 0 || 'idempotency' in options
    ? options : { idempotency, ...options };
  expect(() => idempotent(given)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
});
