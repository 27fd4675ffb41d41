'use strict';

// The Midtrans client over real sockets: its calls, every class of error, and notifications.

const http = require('node:http');
const { inspect } = require('node:util');
const midtransClient = require('midtrans-client');

const { MidtransError } = require('../../lib/clients/midtrans');
const { CircuitBreaker, isRetryable } = require('../../lib');
const {
  KEY, cardCharge, charge, clientOf, closeAll, count, keep, order, settle, start
} = require('../support/midtrans-helpers');

afterEach(closeAll);

describe('calls', () => {
  test('a page of Snap', async () => {
    const { fake, client } = await start();
    const body = { ...order('s-1', 3000), item_details: [
      { id: 'a', price: 2000, quantity: 2, name: 'Ticket' },
      { id: 'd', price: -1000, quantity: 1, name: 'Discount' }
    ] };
    const page = await client.createTransaction(body);
    expect(Object.keys(page)).toEqual(['token', 'redirect_url']);
    expect(fake.orders.get('s-1')).toMatchObject({ grossAmount: 3000, token: page.token, body });
    await expect(client.status('s-1')).rejects.toMatchObject({ statusCode: '404' });
    fake.choose('s-1');
    expect(await client.status('s-1')).toMatchObject({ transaction_status: 'pending' });
  });

  test('a charge, and what follows it', async () => {
    const { fake, client } = await start();
    expect(await client.charge(charge('o-1'))).toMatchObject({
      status_code: '201', transaction_status: 'pending', order_id: 'o-1', gross_amount: '10000.00'
    });
    fake.settle('o-1');
    const { transaction_id: id } = await client.status('o-1');
    expect(await client.status(id)).toMatchObject({ transaction_status: 'settlement' });
    expect(await client.refund('o-1', { refund_key: 'r-1', amount: 4000, reason: 'Late' }))
      .toMatchObject({ transaction_status: 'partial_refund' });
    expect(await client.directRefund('o-1', { refund_key: 'r-2' }))
      .toMatchObject({ transaction_status: 'refund' });
    expect(fake.transactions.get('o-1').refunds).toMatchObject([
      { refund_key: 'r-1', refund_amount: '4000.00', reason: 'Late' },
      { refund_key: 'r-2', refund_amount: '6000.00' }
    ]);
  });

  test('capture, approve, deny, cancel, expire', async () => {
    const { client } = await start();
    const { transaction_id: id } = await client.charge(cardCharge('c', 't', 'authorize'));
    expect(await client.capture({ transaction_id: id, gross_amount: 10000 }))
      .toMatchObject({ transaction_status: 'capture' });
    await client.charge(cardCharge('a', 'challenge'));
    expect(await client.approve('a')).toMatchObject({ fraud_status: 'accept' });
    await client.charge(cardCharge('d', 'challenge'));
    expect(await client.deny('d')).toMatchObject({ transaction_status: 'deny' });
    await client.charge(charge('x'));
    expect(await client.cancel('x')).toMatchObject({ transaction_status: 'cancel' });
    await client.charge(charge('e'));
    expect(await client.expire('e')).toMatchObject({ status_code: '407' });
    expect(await client.status('e')).toMatchObject({ status_code: '407' });
    expect(await client.charge(cardCharge('n', 'deny')))
      .toMatchObject({ status_code: '202', transaction_status: 'deny' });
  });

  test('ping asks past an open breaker, and is refused with a wrong key', async () => {
    const { fake, client } = await start();
    client.breaker.open();
    expect(await client.ping()).toEqual({ ok: true, latencyMs: expect.any(Number) });
    const stranger = clientOf(fake.url, { serverKey: 'SB-Mid-server-another' });
    await expect(stranger.ping()).rejects.toMatchObject({ code: 'ERR_MIDTRANS_UNAUTHORIZED' });
    await fake.close();
    await expect(client.ping()).rejects.toMatchObject({ code: 'ERR_MIDTRANS_NETWORK' });
  });

  test('connections are kept', async () => {
    const { fake, client } = await start();
    const ports = new Set();
    const server = keep(http.createServer((request, response) => {
      ports.add(request.socket.remotePort);
      response.end('{"status_code":"200"}');
    }).listen(0));
    server.keepAliveTimeout = 10_000;
    const pooled = clientOf(`http://127.0.0.1:${server.address().port}`);
    for (let i = 0; i < 5; i++) await pooled.status('x');
    expect(ports.size).toBeLessThan(3);
    expect([fake.counts.requests, client.breaker.name]).toEqual([0, 'midtrans']);
    server.closeAllConnections();
  });
});

describe('the requests are those of the official client', () => {
  const details = { order_id: 'o-1', gross_amount: 10000 };
  const refund = { refund_key: 'k', amount: 5, reason: 'r' };
  const capture = { transaction_id: 'o-1', gross_amount: 10000 };
  test.each([
    ['createTransaction', [{ transaction_details: details }], 'snap.createTransaction'],
    ['charge', [{ payment_type: 'gopay', transaction_details: details }], 'core.charge'],
    ['capture', [capture], 'core.capture'],
    ['status', ['o-1'], 'core.transaction.status'],
    ['approve', ['o-1'], 'core.transaction.approve'],
    ['deny', ['o-1'], 'core.transaction.deny'],
    ['cancel', ['o-1'], 'core.transaction.cancel'],
    ['expire', ['o-1'], 'core.transaction.expire'],
    ['refund', ['o-1', refund], 'core.transaction.refund'],
    ['directRefund', ['o-1', refund], 'core.transaction.refundDirect'],
  ])('%s', async (method, args, path) => {
    const { fake, client } = await start();
    const keys = { isProduction: false, serverKey: KEY, clientKey: '' };
    const official = {
      snap: new midtransClient.Snap(keys), core: new midtransClient.CoreApi(keys)
    };
    official.snap.apiConfig.getSnapApiBaseUrl = () => `${fake.url}/snap/v1`;
    official.core.apiConfig.getCoreApiBaseUrl = () => fake.url;
    await settle(client[method](...args));
    const names = path.split('.');
    const last = names.pop();
    await settle(names.reduce((object, name) => object[name], official)[last](...args));
    const [ours, theirs] = fake.log.map(({ method: verb, path: to, headers, text }) => ({
      verb, to, accept: headers.accept, authorization: headers.authorization,
      // Theirs sends a body with GET, and the word null where there is none.
      ...verb === 'POST' && {
        body: text && text !== 'null' ? JSON.parse(text) : undefined, type: headers['content-type']
      }
    }));
    expect(ours).toEqual(theirs);
    const { headers } = fake.log[0];
    const mutating = method !== 'status';
    expect(headers['idempotency-key']).toEqual(mutating ? expect.any(String) : undefined);
    if (mutating) expect(headers['idempotency-key']).toMatch(/^[\w-]{36}$/);
  });

  const keysOf = fake => fake.log.filter(({ method }) => method === 'POST')
    .map(({ headers }) => headers['idempotency-key']);

  test('each call has a key of its own, which all its attempts send', async () => {
    const { fake, client } = await start();
    const ask = async (...calls) => { for (const call of calls) await settle(call()); };
    await ask(() => client.charge(charge('a')), () => client.charge(charge('a')),
      () => client.cancel('a'), () => client.cancel('a'), () => client.refund('a'));
    expect(new Set(keysOf(fake)).size).toBe(5);
    fake.set({ kind: 'reset', on: 'charge', times: 2 });
    await client.charge(charge('b'));
    expect(new Set(keysOf(fake).slice(-3)).size).toBe(1);
  });

  test('equal calls at the same time are one call', async () => {
    const { fake, client } = await start({ fake: { uniqueOrders: false, latencyMs: 50 } });
    const charges = await Promise.all([1, 2, 3].map(() => client.charge(charge('a'))));
    expect(new Set(charges.map(({ transaction_id: id }) => id)).size).toBe(1);
    expect(fake.transactions.get('a').charges).toBe(1);
    expect(new Set(keysOf(fake)).size).toBe(1);
  });

  test('an equal charge after the end of the first one is a new one', async () => {
    const { fake, client } = await start();
    const another = clientOf(fake.url);
    for (const by of [client, another]) {
      const first = await client.charge(charge('a'));
      await by.expire('a');
      const second = await client.charge(charge('a'));
      expect(second.transaction_id).not.toBe(first.transaction_id);
      expect(second.transaction_status).toBe('pending');
      await client.expire('a');
    }
  });

  test('a call with an unknown outcome keeps its key until its transaction has ended',
    async () => {
      const { fake, client } = await start({ retry: false });
      fake.set([{ kind: 'drop', on: 'charge' }, { kind: 'reset', on: 'status' }]);
      await settle(client.charge(charge('a')));
      await settle(client.charge(charge('a')));
      expect(new Set(keysOf(fake)).size).toBe(1);
      fake.set(null);
      await client.expire('a');
      const { transaction_id: id } = await client.charge(charge('a'));
      expect(fake.transactions.get('a')).toMatchObject({
        transaction_id: id, transaction_status: 'pending'
      });
    });

  test('resume after the first transaction has expired charges again', async () => {
    const { fake, client } = await start({ retry: false });
    fake.set([{ kind: 'drop', on: 'charge' }, { kind: 'reset', on: 'status' }]);
    await settle(client.charge(charge('a')));
    fake.set(null);
    fake.settle('a', 'expire');
    const { transaction_id: id } = await client.charge(charge('a'), { resume: true });
    expect(fake.transactions.get('a')).toMatchObject({
      transaction_id: id, transaction_status: 'pending'
    });
  });
});

describe('every class of error', () => {
  const business = status => ({ kind: 'business', status, on: 'charge' });
  const error = status => ({ kind: 'error', status, on: 'charge' });
  // What goes wrong with a charge once; the code; retried (a second request is sent); counts
  // against the breaker.
  test.each([
    ['400 in the body', business(400), 'ERR_MIDTRANS_REFUSED', false, false],
    ['HTTP 400', error(400), 'ERR_MIDTRANS_REFUSED', false, false],
    ['401 in the body', business(401), 'ERR_MIDTRANS_UNAUTHORIZED', false, false],
    ['HTTP 401', error(401), 'ERR_MIDTRANS_UNAUTHORIZED', false, false],
    ['402', business(402), 'ERR_MIDTRANS_REFUSED', false, false],
    ['404', business(404), 'ERR_MIDTRANS_NOT_FOUND', false, false],
    ['406', business(406), 'ERR_MIDTRANS_CONFLICT', false, false],
    ['410', business(410), 'ERR_MIDTRANS_REFUSED', false, false],
    ['411', business(411), 'ERR_MIDTRANS_REFUSED', false, false],
    ['412', business(412), 'ERR_MIDTRANS_CANNOT_MODIFY', false, false],
    ['413', business(413), 'ERR_MIDTRANS_REFUSED', false, false],
    ['414', business(414), 'ERR_MIDTRANS_REFUSED', false, false],
    ['429 in the body', business(429), 'ERR_MIDTRANS_RATE_LIMITED', true, true],
    ['HTTP 429', error(429), 'ERR_MIDTRANS_RATE_LIMITED', true, true],
    ['HTTP 408', error(408), 'ERR_MIDTRANS_TIMEOUT', true, true],
    ['500 in the body', business(500), 'ERR_MIDTRANS_SERVER', true, true],
    ['503 in the body', business(503), 'ERR_MIDTRANS_SERVER', true, true],
    ['HTTP 500', error(500), 'ERR_MIDTRANS_SERVER', true, true],
    ['HTTP 503', error(503), 'ERR_MIDTRANS_SERVER', true, true],
    ['a page of a proxy', { kind: 'html', on: 'charge' }, 'ERR_MIDTRANS_SERVER', true, true],
    ['HTTP 202', { kind: 'in-flight', on: 'charge' }, 'ERR_MIDTRANS_IN_FLIGHT', true, false],
    ['a cut connection', { kind: 'reset', on: 'charge' }, 'ERR_MIDTRANS_NETWORK', true, true],
    ['no answer', { kind: 'hang', on: 'charge' }, 'ERR_MIDTRANS_TIMEOUT', true, true],
  ])('%s', async (_, fault, code, retried, counts) => {
    const timeout = fault.kind === 'hang' ? 2000 : 10_000;
    const { fake, client } = await start({ timeout });
    const seen = [];
    const options = { retries: 1, minTimeout: 1, onRetry: e => seen.push(e) };
    const retrying = clientOf(fake.url, { timeout, retry: options });
    const told = [];
    retrying.on('retry', details => told.push(details));
    fake.set({ ...fault, times: 1 });
    const outcome = await settle(retrying.charge(charge('o')));
    if (retried) {
      expect(outcome.value).toMatchObject({ transaction_status: 'pending' });
      expect(seen).toMatchObject([{ code, retryable: true }]);
      expect(told).toEqual([{
        operation: 'charge', orderId: 'o', attempt: 1, error: seen[0], delay: expect.any(Number)
      }]);
    } else {
      expect(told).toEqual([]);
      expect(outcome.error).toBeInstanceOf(MidtransError);
      expect(outcome.error).toMatchObject({
        name: 'MidtransError', code, retryable: false, ambiguous: false, operation: 'charge',
        orderId: 'o', statusCode: String(fault.status)
      });
      expect(isRetryable(outcome.error)).toBe(false);
    }
    expect(count(fake, 'POST', /charge/)).toBe(retried ? 2 : 1);
    expect(retrying.breaker.stats.failures).toBe(counts ? 1 : 0);
    expect(client.breaker.stats.fires).toBe(0);
  });

  test.each([
    ['404', async client => client.status('nobody'), 'ERR_MIDTRANS_NOT_FOUND', 0],
    ['503', async client => client.status('nobody'), 'ERR_MIDTRANS_SERVER', 4],
  ])('GET status, %s: never ambiguous', async (status, call, code, failures) => {
    const { fake, client } = await start();
    if (status === '503') fake.set({ kind: 'error', status: 503 });
    const { error: failure } = await settle(call(client));
    expect(failure).toMatchObject({ code, ambiguous: false, statusCode: status });
    expect(isRetryable(failure)).toBe(failures > 0);
    expect(client.breaker.stats.failures).toBe(failures);
  });

  test('errors that come with their own HTTP status', async () => {
    const { client } = await start({ fake: { trueStatus: true } });
    await expect(client.status('nobody'))
      .rejects.toMatchObject({ httpStatus: 404, statusCode: '404' });
    await client.charge(charge('e'));
    await client.expire('e');
    expect(await client.status('e')).toMatchObject({ transaction_status: 'expire' });
  });

  test('all messages of a refusal', async () => {
    const { client } = await start();
    await client.createTransaction(order('s'));
    const { error: failure } = await settle(client.createTransaction(order('s')));
    expect(failure).toMatchObject({
      code: 'ERR_MIDTRANS_CONFLICT', httpStatus: 400, ambiguous: false,
      validationMessages: ['transaction_details.order_id has already been taken']
    });
    expect(failure.message).toMatch(/400 to createTransaction of s: .*already been taken$/);
  });

  test('nobody listens: nothing was sent, so nothing is ambiguous', async () => {
    const { fake, client } = await start();
    await fake.close();
    const { error: failure } = await settle(client.charge(charge('o')));
    expect(failure).toMatchObject({
      code: 'ERR_MIDTRANS_NETWORK', retryable: true, ambiguous: false,
      cause: { code: 'ECONNREFUSED' }
    });
  });

  test.each([
    ['half a body', '{"status_code":"20', { 'content-length': 500 }],
    ['no JSON', 'OK', {}], ['an array', '[]', {}], ['nothing of Midtrans', '{}', {}],
    ['nothing', '', {}], ['too much', 'x'.repeat(2 << 20), {}]
  ])('an answer that is none: %s', async (_, text, headers) => {
    const server = keep(http.createServer((request, response) => {
      response.writeHead(200, headers);
      if (headers['content-length'] === undefined) response.end(text);
      else response.write(text, () => request.socket.destroy());
    }).listen(0));
    const retry = { retries: 1, minTimeout: 1 };
    const client = clientOf(`http://127.0.0.1:${server.address().port}`, { retry });
    const { error: failure } = await settle(client.charge(charge('o')));
    expect(failure).toMatchObject({ code: 'ERR_MIDTRANS_UNKNOWN_OUTCOME', ambiguous: true });
    expect(failure.cause.code).toMatch(/ERR_MIDTRANS_(RESPONSE|NETWORK)/);
    server.closeAllConnections();
  });

  test('Retry-After is waited for', async () => {
    const { fake, client } = await start();
    fake.set({ kind: 'error', status: 429, times: 1, headers: { 'retry-after': '0.2' } });
    const began = performance.now();
    await client.charge(charge('o'));
    expect(performance.now() - began).toBeGreaterThan(195);
  });
});

describe('breaker and retry', () => {
  test('an open breaker ends the retry at once, and nothing is sent', async () => {
    const { fake, client } = await start({ retry: { retries: 20, minTimeout: 1 } });
    fake.set({ kind: 'error', status: 500 });
    const { error: failure } = await settle(client.status('o'));
    expect(failure.code).toBe('EOPENBREAKER');
    expect(fake.counts.requests).toBe(5);
    await expect(client.createTransaction(order('s')))
      .rejects.toMatchObject({ code: 'EOPENBREAKER' });
    expect(fake.counts.requests).toBe(5);
  });

  test('a breaker of the user, with a fallback and a timeout', async () => {
    const fallback = () => ({ status_code: '200', transaction_status: 'settlement' });
    const breaker = new CircuitBreaker(() => {}, { fallback, timeout: 2000, volumeThreshold: 9 });
    const { fake, client } = await start({ breaker, retry: false });
    fake.set({ kind: 'mute', on: 'charge' });
    // It was carried out, and the look shows it.
    expect(await client.charge(charge('o'))).toMatchObject({ transaction_status: 'pending' });
    fake.set({ kind: 'hang', on: 'charge' });
    await expect(client.charge(charge('p')))
      .rejects.toMatchObject({ code: 'ERR_MIDTRANS_UNKNOWN_OUTCOME' });
    breaker.open();
    await expect(client.charge(charge('q'))).rejects.toMatchObject({ code: 'EOPENBREAKER' });
  });

  test('no breaker, and one that is disabled', async () => {
    for (const breaker of [false, { enabled: false }]) {
      const { fake, client } = await start({ breaker, retry: false });
      fake.set({ kind: 'error', status: 500, on: 'status' });
      for (let i = 0; i < 20; i++) await settle(client.status('o'));
      expect(count(fake, 'GET', /status/)).toBe(20);
      expect(await client.charge(charge('o'))).toMatchObject({ status_code: '201' });
    }
  });

  test('a time limit that grows with each attempt', async () => {
    const retry = { retries: 1, minTimeout: 1 };
    const { fake, client } = await start({ timeout: { initial: 100, increment: 5000 }, retry });
    fake.set({ kind: 'slow', delayMs: 300, on: 'status' });
    await expect(client.status('o')).rejects.toMatchObject({ code: 'ERR_MIDTRANS_NOT_FOUND' });
  });

  test('401 is an alert, once per answer', async () => {
    const { fake } = await start();
    const client = clientOf(fake.url, { serverKey: 'SB-Mid-server-another' });
    const alerts = [];
    client.on('alert', alert => alerts.push(alert));
    const { error: failure } = await settle(client.charge(charge('o')));
    expect(alerts).toEqual([{ kind: 'unauthorized', error: failure }]);
    expect(client.breaker.closed).toBe(true);
  });
});

describe('a caller that aborts', () => {
  test('before anything is sent: the reason, and nothing is sent', async () => {
    const { fake, client } = await start();
    const signal = AbortSignal.abort('no');
    await expect(client.charge(charge('o'), { signal })).rejects.toBe('no');
    expect(fake.counts.requests).toBe(0);
  });

  test('while a charge is under way: the outcome is unknown, at once', async () => {
    const { fake, client } = await start({ fake: { fault: 'mute' } });
    const controller = new AbortController();
    const outcome = settle(client.charge(charge('o'), { signal: controller.signal }));
    while (!fake.transactions.has('o')) await new Promise(resolve => { setImmediate(resolve); });
    controller.abort('enough');
    expect((await outcome).error)
      .toMatchObject({ code: 'ERR_MIDTRANS_UNKNOWN_OUTCOME', ambiguous: true, cause: 'enough' });
    expect(client.breaker.stats).toMatchObject({ failures: 0, successes: 0 });
  });

  test('while the status is asked for: the reason', async () => {
    const { fake, client } = await start({ fake: { fault: 'hang' } });
    const controller = new AbortController();
    const outcome = settle(client.status('o', { signal: controller.signal }));
    while (fake.counts.requests < 1) await new Promise(resolve => { setImmediate(resolve); });
    controller.abort('enough');
    expect(await outcome).toEqual({ error: 'enough' });
  });
});

describe('nothing tells the key', () => {
  const secret = [KEY, Buffer.from(`${KEY}:`).toString('base64')];

  test('no client, error, log line or JSON, however the server answers', async () => {
    // A server that sends back all that it got.
    const server = keep(http.createServer((request, response) => {
      response.writeHead(400, { 'content-type': 'application/json' });
      response.end(JSON.stringify({
        status_code: '400', status_message: `no ${request.headers.authorization}\n${KEY}`,
        validation_messages: [request.headers.authorization], everything: request.headers
      }));
    }).listen(0));
    const client = clientOf(`http://127.0.0.1:${server.address().port}`);
    const { error: failure } = await settle(client.charge(charge('o')));
    expect(failure.response.everything.authorization).toContain(secret[1]); // For who asks for it.
    const shown = [
      inspect(client, { depth: 9, showHidden: true }), JSON.stringify({ client }),
      inspect(failure, { depth: 9 }), JSON.stringify(failure), failure.message, failure.stack
    ].join();
    for (const text of secret) expect(shown).not.toContain(text);
    expect(failure.message).not.toMatch(/\n/);
    server.closeAllConnections();
  });
});
