'use strict';

const { once } = require('node:events');
const net = require('node:net');
const express = require('express');

const { SekeringError } = require('../..');
const { createBreakerMiddleware, problem, problemHandler, problemOf } = require('../../lib/http');
const { serve } = require('../support/http-app');

/** An application whose answers are told by the query: ?status=, ?wait=, ?throw, ?late. */
async function makeApp (options, { onError = () => {} } = {}) {
  const app = express();
  const guard = createBreakerMiddleware({
    prefixes: ['/api/orders', '/api'], ...options,
    breaker: { errorThresholdPercentage: 50, volumeThreshold: 2, ...options?.breaker },
  });
  const served = [];
  const late = [];
  app.use(guard);
  app.use(async (req, res) => {
    served.push(req.originalUrl);
    const { status = '200', wait, silent } = req.query;
    if ('throw' in req.query) throw new Error('down');
    if ('drop' in req.query) {
      res.once('close', () => app.emit('left'));
      app.emit('dropped');
      return;
    }
    if (wait !== undefined) await new Promise(resolve => setTimeout(resolve, Number(wait)));
    try {
      res.status(Number(status)).set('X-Answer', 'late').json({ status: Number(status), silent });
    } catch (error) {
      late.push(error);
    }
    late.push('done');
    app.emit('answered', req.originalUrl);
  });
  app.use(problemHandler({ onError }));
  const server = await serve(app);
  return { ...server, app, guard, served, late };
}

describe('prefixes', () => {
  test('each has a breaker; a failing one is answered at once, the others go on', async () => {
    const { get, served, guard } = await makeApp();
    const began = performance.now();
    for (let i = 0; i < 2; i++) expect((await get('/api/orders/1?status=502')).status).toBe(502);
    const count = served.length;
    const refused = await get('/api/orders/2');
    expect(refused.status).toBe(503);
    expect(refused.headers.get('content-type')).toBe('application/problem+json');
    expect(refused.body)
      .toMatchObject({ status: 503, code: 'EOPENBREAKER', circuit_breaker: true });
    const retryAfter = Number(refused.headers.get('retry-after'));
    expect(retryAfter).toBe(refused.body.retryAfter);
    const seconds = (performance.now() - began) / 1000;
    expect(retryAfter).toBeGreaterThanOrEqual(Math.floor(30 - seconds));
    expect(retryAfter).toBeLessThanOrEqual(30);
    expect(served).toHaveLength(count);
    for (const path of ['/api/other', '/api/ordersome', '/elsewhere', '/']) {
      expect([path, (await get(path)).status]).toEqual([path, 200]);
    }
    expect(guard.breakers.entries().map(([prefix, breaker]) => [prefix, breaker.opened]))
      .toEqual([['/api/orders', true], ['/api', false]]);
  });

  test('are found whatever the case and the query, and under a mounted router', async () => {
    const { get, guard } = await makeApp();
    for (const path of ['/API/Orders?status=500', '/api/orders/?status=500']) await get(path);
    expect((await get('/aPi/oRders/7')).status).toBe(503);
    guard.breakers.reset('/api/orders');
    expect((await get('/api/orders')).status).toBe(200);

    const app = express();
    const mounted = createBreakerMiddleware({ prefixes: ['/v1/pay'] });
    app.use('/v1', mounted, (req, res) => res.status(500).end());
    const { get: other } = await serve(app);
    await other('/v1/pay/1');
    expect(mounted.breakers.keys()).toEqual(['/v1/pay']);
    expect((await other('/v1/pay/1')).status).toBe(503);
  });

  test('close again by a request that succeeds', async () => {
    const { get, guard } = await makeApp({ breaker: { resetTimeout: 50 } });
    await get('/api?status=500');
    const breaker = guard.breakers.get('/api');
    const halfOpen = once(breaker, 'halfOpen');
    await get('/api?status=500');
    await halfOpen;
    expect((await get('/api')).status).toBe(200);
    expect(breaker.closed).toBe(true);
  });
});

describe('what is a failure', () => {
  test.each([
    ['2xx and 4xx are none', ['?status=200', '?status=404', '?status=429'], 0],
    ['5xx are', ['?status=500', '?status=200', '?status=503'], 2],
    ['so is what is thrown', ['?throw', '?status=200'], 1],
  ])('%s', async (_, queries, failures) => {
    const { get, guard } = await makeApp({ breaker: { volumeThreshold: 10 } });
    for (const query of queries) await get(`/api${query}`);
    expect(guard.breakers.get('/api').stats)
      .toMatchObject({ fires: queries.length, failures, successes: queries.length - failures });
  });

  test('a judgement of one\'s own', async () => {
    const { get, guard } = await makeApp({
      isFailure: res => res.statusCode === 429, breaker: { volumeThreshold: 10 },
    });
    for (const query of ['?status=429', '?status=500']) await get(`/api${query}`);
    expect(guard.breakers.get('/api').stats).toMatchObject({ failures: 1, successes: 1 });
  });

  test('no answer in time: 504, and what the handler writes later goes nowhere', async () => {
    const errors = [];
    const onError = error => errors.push(error);
    const { get, guard, late, app } =
      await makeApp({ breaker: { timeout: 1000, volumeThreshold: 10 } }, { onError });
    const answered = once(app, 'answered');
    const answer = await get('/api?wait=1500');
    expect(answer.status).toBe(504);
    expect(answer.body).toMatchObject({ code: 'ETIMEDOUT', status: 504 });
    expect(guard.breakers.get('/api').stats).toMatchObject({ failures: 1, timeouts: 1 });
    await answered;
    expect(late).toEqual(['done']);
    expect(errors).toEqual([]);
    expect((await get('/api')).status).toBe(200); // The connection is of use still.
  });

  test('a client that leaves counts for nothing, and its probe is free again', async () => {
    const { url, guard, app, get } = await makeApp({ breaker: { resetTimeout: 50 } });
    await get('/api?status=500');
    const breaker = guard.breakers.get('/api');
    const halfOpen = once(breaker, 'halfOpen');
    await get('/api?status=500');
    await halfOpen;
    const dropped = once(app, 'dropped');
    const socket = net.connect(Number(new URL(url).port), '127.0.0.1');
    socket.write('GET /api?drop HTTP/1.1\r\nHost: a\r\n\r\n');
    await dropped;
    expect((await get('/api')).status).toBe(503); // The only probe is on its way.
    const left = once(app, 'left');
    socket.destroy();
    await left;
    await new Promise(setImmediate);
    expect(breaker.halfOpen).toBe(true);
    expect((await get('/api')).status).toBe(200);
    expect(breaker.closed).toBe(true);
    expect(breaker.stats).toMatchObject({ failures: 2, successes: 1, timeouts: 0 });
  });

  test('an answer that goes on for longer than the limit is not cut', async () => {
    const app = express();
    const guard = createBreakerMiddleware({ prefixes: ['/'], breaker: { timeout: 50 } });
    app.use(guard, (req, res) => {
      res.write('a');
      setTimeout(() => res.end('b'), 120);
    });
    const { get } = await serve(app);
    expect((await get('/stream')).text).toBe('ab');
    expect(guard.breakers.get('/').stats).toMatchObject({ successes: 1, failures: 0 });
  });
});

test.each([
  [{}, /Expected an array of 1 to 1000 paths for prefixes/],
  [{ prefixes: ['api'] }, /Expected a path that begins with '\/' for prefixes\[0\]/],
  [{ prefixes: ['/a'], isFailure: 500 }, /Expected a function for isFailure/],
  [{ prefixes: ['/a'], breaker: { timeout: 'x' } }, /for timeout/],
  [{ prefixes: ['/a'], breaker: { fallback: () => 1 } }, /Expected no value for breaker\.fallback/],
])('%j is refused', (options, message) => {
  expect(() => createBreakerMiddleware(options)).toThrow(message);
});

describe('problems', () => {
  test('have the members of RFC 9457 and their own', async () => {
    const app = express();
    app.get('/', (req, res) => problem(res, 429, {
      type: 'https://example.com/slow-down', title: 'Slow down', detail: 'Too quick.',
      instance: '/orders/1', retryAfter: 1.2, limit: 5,
    }));
    const { get } = await serve(app);
    const { status, headers, body } = await get('/');
    expect([status, headers.get('content-type'), headers.get('retry-after')])
      .toEqual([429, 'application/problem+json', '2']);
    expect(body).toEqual({
      type: 'https://example.com/slow-down', title: 'Slow down', status: 429,
      detail: 'Too quick.', instance: '/orders/1', retryAfter: 1.2, limit: 5,
    });
    const head = await get('/', { method: 'HEAD' });
    expect([head.status, head.text]).toEqual([429, '']);
  });

  test('an error shows what helps the client, and nothing of the inside', async () => {
    const app = express();
    const secret = 'hunter2';
    const errors = {
      known: new SekeringError('EOPENBREAKER', secret),
      limited: Object.assign(new SekeringError('ERATELIMITED', secret), { retryAfterMs: 1500 }),
      foreign: Object.assign(new Error(secret), { status: 404, code: 'ENOENT' }),
      proto: Object.assign(new Error(secret), { code: 'constructor' }),
      nothing: null,
    };
    app.get('/:name', req => Promise.reject(errors[req.params.name]));
    app.post('/', express.json({ limit: 10 }));
    const told = [];
    app.use(problemHandler({ onError: error => told.push(error) }));
    const { get } = await serve(app);
    expect((await get('/known')).body)
      .toMatchObject({ status: 503, code: 'EOPENBREAKER', circuit_breaker: true });
    expect(await get('/limited')).toMatchObject({ status: 429, body: { retryAfter: 2 } });
    for (const name of ['foreign', 'proto']) {
      const { status, text } = await get(`/${name}`);
      expect([status, text.includes(secret)]).toEqual([500, false]);
    }
    expect(told).toEqual([errors.foreign, errors.proto]);
    const post = body =>
      get('/', { method: 'POST', body, headers: { 'content-type': 'application/json' } });
    expect((await post(`{"${secret}`)).body).toEqual({
      type: 'about:blank', title: 'Bad Request', status: 400, code: 'ERR_REQUEST_JSON',
      detail: 'Expected a JSON object or array as the body.',
    });
    expect(await post(JSON.stringify('x'.repeat(20)))).toMatchObject(
      { status: 413,
        body: { code: 'ERR_REQUEST_TOO_LARGE', detail: expect.stringMatching('10 b') } });
    expect(problemOf(undefined)).toEqual({ status: 500, members: { code: 'ERR_INTERNAL' } });
    expect(problemOf(new SekeringError('ERR_IDEMPOTENCY_LOST', secret)).status).toBe(409);
    // The work was done, and would not be done again.
    expect(problemOf(new SekeringError('ERR_IDEMPOTENCY_RESULT', secret)).status).toBe(500);
  });

  test('an error after the answer began ends it so that it shows', async () => {
    const app = express();
    app.get('/', (req, res) => {
      res.write('half');
      throw new Error('lost');
    });
    app.use(problemHandler({ onError: () => {} }));
    const { get } = await serve(app);
    await expect(get('/')).rejects.toThrow();
  });
});
