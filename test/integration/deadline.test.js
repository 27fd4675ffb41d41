'use strict';

// Deadlines over sockets: calls to Midtrans that they end, the orders that such calls leave, and
// requests that bring one.

const { once } = require('node:events');
const http = require('node:http');
const express = require('express');

const { deadlineHeaders, timeLeft, withDeadline } = require('../..');
const { createDeadlineMiddleware, problemHandler } = require('../../lib/http');
const { useVirtualClock } = require('../../lib/testing');
const { serve } = require('../support/http-app');
const { charge, clientOf, closeAll, keep, order, settle } = require('../support/midtrans-helpers');
const { endTest, messagesOf, openShared, pay } = require('../support/payment-helpers');
const { describeEngines } = require('../support/postgres');

let time;
beforeEach(() => { time = useVirtualClock(); });
afterEach(() => time.restore());
afterEach(closeAll);

/** A server that never answers. */
async function startSilent () {
  const server = http.createServer().listen(0, '127.0.0.1');
  keep({ close: () => { server.close(); server.closeAllConnections(); } });
  await once(server, 'listening');
  return { server, url: `http://127.0.0.1:${server.address().port}` };
}

/** The outcome of a call that has `ms`, which go by once Midtrans has its request. */
async function ended (silent, ms, call) {
  const asked = once(silent.server, 'request');
  const outcome = settle(withDeadline(ms, call));
  await asked;
  await time.advanceAsync(ms);
  return outcome;
}

describe('a call to Midtrans', () => {
  test('that reads ends at the deadline, and there is no retry', async () => {
    const silent = await startSilent();
    const client = clientOf(silent.url);
    let requests = 0;
    silent.server.on('request', () => { requests += 1; });
    expect(await ended(silent, 1000, context => client.status('o', context)))
      .toMatchObject({ error: { code: 'EDEADLINE' } });
    expect(requests).toBe(1);
  });

  test('that charges has an unknown outcome then: it may have been carried out', async () => {
    const silent = await startSilent();
    const client = clientOf(silent.url);
    expect(await ended(silent, 1000, context => client.charge(charge('o'), context)))
      .toMatchObject({ error: {
        code: 'ERR_MIDTRANS_UNKNOWN_OUTCOME', ambiguous: true, cause: { code: 'EDEADLINE' },
      } });
  });

  test('counts in the breaker if it had half of its time limit', async () => {
    for (const [ms, failures] of [[4999, 0], [5000, 1]]) {
      const silent = await startSilent();
      const client = clientOf(silent.url);
      await ended(silent, ms, context => client.status('o', context));
      expect([ms, client.breaker.stats.failures]).toEqual([ms, failures]);
    }
  });
});

describeEngines('an order', ({ place }) => {
  let database;

  beforeAll(async () => { database = await openShared(await place()); });
  afterEach(() => endTest(database));
  afterAll(() => database.close());

  test('is unknown if it ends while Midtrans is asked, and asked about later', async () => {
    const silent = await startSilent();
    const { payments } = await pay(database, { midtrans: { url: silent.url } });
    let opening;
    expect(await ended(silent, 1000, context => (opening = payments.open(order('late'), context))))
      .toMatchObject({ error: { code: 'EDEADLINE' } });
    expect(await opening).toMatchObject({
      queued: true, order: { orderId: 'late', state: 'unknown' },
      error: { code: 'ERR_MIDTRANS_UNKNOWN_OUTCOME' },
    });
    expect(await payments.get('late')).toMatchObject({ state: 'unknown', token: null });
    expect(await messagesOf(database, 'late')).toHaveLength(1);
  });
});

describe('createDeadlineMiddleware', () => {
  /** An application that tells how much time a request has, or waits for its end. */
  async function makeApp (options) {
    const app = express();
    const seen = [];
    app.use(createDeadlineMiddleware(options));
    app.get('/left', (req, res) => {
      seen.push(req.deadlineSignal);
      res.json(req.deadlineSignal === undefined ? null : timeLeft(req.deadlineSignal));
    });
    app.get('/wait', async (req, res) => {
      const { deadlineSignal: signal } = req;
      await new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
        app.emit('waiting');
      });
      res.end();
    });
    app.use(problemHandler());
    return { ...await serve(app), app, seen };
  }
  const ask = (get, value, path = '/left') =>
    get(path, { headers: value === undefined ? {} : { 'grpc-timeout': value } });

  test('the header is the deadline of the request, at most max', async () => {
    const { get } = await makeApp({ max: 2000 });
    const left = async value => (await ask(get, value)).body;
    expect(await left('1500m')).toBe(1500);
    expect(await left('1H')).toBe(2000);
    expect(await left(undefined)).toBe(2000);
    const without = await makeApp();
    expect((await ask(without.get, undefined)).body).toBe(null);
    expect((await ask(without.get, '1H')).body).toBe(3_600_000);
  });

  test('what another service wrote arrives', async () => {
    const { get } = await makeApp();
    expect(await withDeadline(700, async ({ signal }) =>
      (await get('/left', { headers: deadlineHeaders(signal) })).body)).toBe(700);
  });

  test('a header that cannot be read is 400, no time at all is 504', async () => {
    const { get, seen } = await makeApp();
    expect(await ask(get, 'soon')).toMatchObject({
      status: 400, body: { code: 'ERR_INVALID_INPUT', detail: expect.stringMatching('1500m') },
    });
    expect(await ask(get, '0m'))
      .toMatchObject({ status: 504, body: { code: 'EDEADLINE' } });
    expect(seen).toEqual([]);
  });

  test('a request whose time is over while it is handled is 504', async () => {
    const { get, app } = await makeApp();
    const waiting = once(app, 'waiting');
    const response = ask(get, '100m', '/wait');
    await waiting;
    await time.advanceAsync(100);
    expect(await response).toMatchObject({ status: 504, body: { code: 'EDEADLINE' } });
  });

  test('an answered request leaves nothing behind: its signal never aborts', async () => {
    const { get, seen, server } = await makeApp();
    const closed = new Promise(resolve => {
      server.once('request', (_, res) => res.once('close', () => setImmediate(resolve)));
    });
    await ask(get, '100m');
    await closed;
    await time.advanceAsync(1000);
    expect(seen.map(({ aborted }) => aborted)).toEqual([false]);
  });

  test.each([{ max: 0 }, { max: '5' }, { most: 5 }])('%p is rejected', options => {
    expect(() => createDeadlineMiddleware(options))
      .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
  });
});
