'use strict';

// The drop-in for midtrans-client: what it does beyond the official client, which the comparison in
// midtrans-client-differential.test.js leaves out.

const { execFile } = require('node:child_process');
const { EventEmitter, once } = require('node:events');
const http = require('node:http');
const https = require('node:https');
const { Readable } = require('node:stream');
const { inspect, promisify } = require('node:util');
const zlib = require('node:zlib');

const official = require('midtrans-client');
const tlsOptions = require('smtp-server/lib/tls-options');

const { CircuitBreaker, getCircuitBreaker, isRetryable, retry } = require('../..');
const {
  CoreApi, Iris, MidtransError, Snap, SnapBi, SnapBiConfig
} = require('../../lib/clients/midtrans-client');
const { startMidtransFake, useVirtualClock } = require('../../lib/testing');
const { Dice } = require('../support/random');
const { ROOT } = require('../support/setup');

const SERVER_KEY = 'SB-Mid-server-Planted0Secret';
const KEYS = { isProduction: false, serverKey: SERVER_KEY, clientKey: 'client' };
const STORIES = Number(process.env.SEKERING_STORIES ?? 60);
const RETRY = { minTimeout: 1, randomize: false };

const order = (orderId, amount = 10_000) =>
  ({ transaction_details: { order_id: orderId, gross_amount: amount } });
const charge = (orderId, amount) => ({ payment_type: 'bank_transfer', ...order(orderId, amount) });

let fake;
let server;
let requests;
let answer;

beforeAll(async () => {
  fake = await startMidtransFake({ serverKey: SERVER_KEY });
  server = http.createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray()).toString('utf8');
    const { method, url, headers } = request;
    requests.push({ method, url, headers, body });
    const found = answer({ method, url, body, number: requests.length });
    if (found === 'cut') request.socket.resetAndDestroy();
    else if (found !== 'hang') response.writeHead(found[0], found[2]).end(found[1]);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
});

beforeEach(() => {
  requests = [];
  fake.set(null);
});

afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await fake.close();
});

const serverUrl = () => `http://127.0.0.1:${server.address().port}`;

function pointTo (url, client) {
  client.apiConfig.getCoreApiBaseUrl = () => url;
  client.apiConfig.getSnapApiBaseUrl = () => `${url}/snap/v1`;
  client.apiConfig.getIrisApiBaseUrl = () => `${url}/iris/api/v1`;
  return client;
}

const make = (Client, url, protection) =>
  pointTo(url, new Client(KEYS, { retry: RETRY, breaker: false, ...protection }));

const gzip = (text, headers) =>
  [200, zlib.gzipSync(text), { 'content-encoding': 'gzip', ...headers }];

const failureOf = promise => promise.then(
  value => { throw new Error(`No error, but ${inspect(value)}`); }, error => error);

// ---- Money moves once --------------------------------------------------------------------------

describe('a charge', () => {
  test('whose answer is lost is looked up, and not sent again', async () => {
    const core = make(CoreApi, fake.url);
    fake.set({ kind: 'drop', on: 'charge', times: 1 });
    const transaction = await core.charge(charge('lost-1'));
    expect(transaction).toMatchObject({ order_id: 'lost-1', transaction_status: 'pending' });
    expect(fake.transactions.get('lost-1').charges).toBe(1);
  });

  test('with text for amounts is looked up, too', async () => {
    answer = ({ method }) => (method === 'POST' ? 'cut' : [200, JSON.stringify({
      status_code: '201', transaction_status: 'pending', order_id: '12345',
      gross_amount: '10000.00',
    })]);
    const core = make(CoreApi, serverUrl());
    const transaction = await core.charge(JSON.stringify(charge(12345, '10000')));
    expect(transaction.transaction_status).toBe('pending');
    expect(requests.map(({ method, url }) => `${method} ${url}`))
      .toEqual(['POST /v2/charge', 'GET /v2/12345/status']);
  });

  test('that never arrived is sent again', async () => {
    const core = make(CoreApi, fake.url);
    fake.set({ kind: 'reset', on: 'charge', times: 1 });
    expect(await core.charge(charge('again-1'))).toMatchObject({ order_id: 'again-1' });
    expect(fake.transactions.get('again-1').charges).toBe(1);
  });

  test('after a 500 of a server that did nothing is sent again with the same key', async () => {
    const core = make(CoreApi, fake.url);
    fake.set({ kind: 'error', on: 'charge', times: 2 });
    await core.charge(charge('again-2'));
    await core.charge(charge('again-3'));
    const keys = fake.log.filter(({ method, text }) => method === 'POST' && /again-[23]/.test(text))
      .map(({ headers }) => headers['idempotency-key']);
    expect(keys).toHaveLength(4);
    expect(new Set(keys)).toEqual(new Set([keys[0], keys[3]]));
    expect(keys[0]).not.toBe(keys[3]);
  });

  test('whose answer is a page is looked up', async () => {
    answer = ({ method }) => (method === 'POST' ? [200, '<html></html>'] : [200, JSON.stringify({
      status_code: '201', transaction_status: 'pending', gross_amount: '10000.00',
    })]);
    expect(await make(CoreApi, serverUrl()).charge(charge('page-1')))
      .toMatchObject({ transaction_status: 'pending' });
    expect(requests).toHaveLength(2);
  });

  test("uses the program's own key", async () => {
    answer = () => [200, '{"status_code":"201"}'];
    const core = make(CoreApi, serverUrl());
    core.httpClient.http_client.defaults.headers.post['Idempotency-Key'] = 'mine';
    await core.charge(charge('a'));
    expect(requests[0].headers['idempotency-key']).toBe('mine');
  });

  test('whose outcome cannot be looked up is reported as a failed connection', async () => {
    answer = () => 'cut';
    const error = await failureOf(make(CoreApi, serverUrl()).charge(charge('unknown-1')));
    expect(error).toBeInstanceOf(MidtransError);
    expect(error).toMatchObject({
      httpStatusCode: null, ApiResponse: null, code: 'ERR_MIDTRANS_UNKNOWN_OUTCOME',
      ambiguous: true, orderId: 'unknown-1',
    });
    expect(error.message).toMatch(/^Midtrans API request failed\. HTTP response not found, likely/);
    expect(requests.filter(({ method }) => method === 'POST')).toHaveLength(1);
  });

  test.each([[[200, '<html></html>']], [[200, '{}']], [[404, '<html></html>']], [[500, '{}']]])(
    'whose look-up is answered by %j does not take that for its own answer', async found => {
      answer = ({ method }) => (method === 'POST' ? 'cut' : found);
      const error = await failureOf(make(CoreApi, serverUrl()).charge(charge('unknown-2')));
      expect(error).toMatchObject({ httpStatusCode: null, code: 'ERR_MIDTRANS_UNKNOWN_OUTCOME' });
      expect(requests.filter(({ method }) => method === 'POST')).toHaveLength(1);
    });

  test('whose order_id turns out to be taken has the error of a taken order_id', async () => {
    answer = ({ method }) => (method === 'POST' ? 'cut' : [200, JSON.stringify({
      status_code: '200', transaction_status: 'settlement', gross_amount: '77.00',
    })]);
    const error = await failureOf(make(CoreApi, serverUrl()).charge(charge('taken-1', 10_000)));
    expect(error).toMatchObject({ httpStatusCode: '406', code: 'ERR_MIDTRANS_CONFLICT' });
    expect(error.ApiResponse).toMatchObject({ status_code: '406', gross_amount: '77.00' });
  });

  test.each([
    ['no order', { payment_type: 'gopay' }], ['odd ids', charge({ a: 1 })], ['a list', [1]],
    ['null', null],
  ])('that cannot be looked up is sent once: %s', async (name, body) => {
    answer = () => [500, '{"status_code":"500"}'];
    const error = await failureOf(make(CoreApi, serverUrl()).charge(body));
    expect(error).toMatchObject({
      httpStatusCode: 500, ApiResponse: { status_code: '500' },
      code: 'ERR_MIDTRANS_UNKNOWN_OUTCOME', ambiguous: true,
    });
    expect(requests).toHaveLength(1);
  });
});

describe.each([['cut', null], [[500, '{"error_message":"trouble"}'], 500],
  [[502, '<html></html>'], 502]])('after %j', (failing, status) => {
  test.each([
    ['createPayouts', Iris, ({ payouts }) => [{ payouts }]],
    ['approvePayouts', Iris, () => [{ reference_nos: ['a'] }]],
    ['rejectPayouts', Iris, () => [{ reference_nos: ['a'], reject_reason: 'x' }]],
    ['createBeneficiaries', Iris, () => [{ name: 'Budi' }]],
    ['createSubscription', CoreApi, () => [{ name: 'MONTHLY' }]],
    ['disableSubscription', CoreApi, () => ['subscription-1']],
    ['enableSubscription', CoreApi, () => ['subscription-1']],
    ['linkPaymentAccount', CoreApi, () => [{}]],
    ['unlinkPaymentAccount', CoreApi, () => ['account-1']],
  ])('%s is not sent again', async (method, Client, argumentsOf) => {
    answer = () => failing;
    const client = make(Client, serverUrl());
    const error = await failureOf(client[method](...argumentsOf({ payouts: [{ amount: '1' }] })));
    expect(error).toBeInstanceOf(MidtransError);
    expect(error).toMatchObject({
      httpStatusCode: status, code: 'ERR_MIDTRANS_UNKNOWN_OUTCOME', ambiguous: true,
    });
    expect(requests.filter(request => request.method === 'POST')).toHaveLength(1);
  });

  test.each([
    ['updateBeneficiaries', Iris, 'budi'], ['updateSubscription', CoreApi, 'subscription-1'],
  ])('%s, which may be repeated, is repeated', async (method, Client, id) => {
    answer = ({ number }) => (number < 3 ? failing : [200, '{"status":"updated"}']);
    expect(await make(Client, serverUrl())[method](id, { name: 'Budi' }))
      .toEqual({ status: 'updated' });
    expect(requests).toHaveLength(3);
  });

  test('a refund without a refund_key is not sent again', async () => {
    answer = () => failing;
    const error = await failureOf(make(Snap, serverUrl()).transaction.refund('a', { amount: 5 }));
    expect(error.code).toBe('ERR_MIDTRANS_UNKNOWN_OUTCOME');
    expect(requests).toHaveLength(1);
  });

  test('reads are repeated until they succeed', async () => {
    answer = ({ number }) => (number < 3 ? failing : [200, '{"balance":"5"}']);
    expect(await make(Iris, serverUrl()).getBalance()).toEqual({ balance: '5' });
    expect(requests).toHaveLength(3);
  });
});

test('a refund with a key is looked up, and sent again if it is not listed', async () => {
  let tries = 0;
  answer = ({ method }) => {
    if (method === 'GET') {
      return [200, '{"status_code":"200","transaction_status":"settlement","refunds":[]}'];
    }
    tries += 1;
    return tries === 1 ? 'cut' : [200, '{"status_code":"200","refund_key":"key"}'];
  };
  const { transaction } = make(Snap, serverUrl());
  const refund = await transaction.refund('order 1', { refund_key: 'key', amount: 5 });
  expect(refund.refund_key).toBe('key');
  expect(requests.map(({ method, url }) => `${method} ${url}`)).toEqual([
    'POST /v2/order%201/refund', 'GET /v2/order%201/status', 'GET /v2/order%201/status',
    'POST /v2/order%201/refund',
  ]);
});

test('a payout that was carried out is not sent again, although its answer was lost', async () => {
  const created = new Date().toISOString();
  answer = ({ method }) => (method === 'POST' ? 'cut' : [200, JSON.stringify([
    { beneficiary_account: '123', amount: '5000.0', created_at: created, status: 'queued' },
  ])]);
  const iris = make(Iris, serverUrl());
  const error = await failureOf(iris.createPayouts({
    payouts: [{ beneficiary_account: '123', amount: '5000' }],
  }));
  expect(error).toMatchObject({ code: 'ERR_MIDTRANS_UNKNOWN_OUTCOME', httpStatusCode: null });
  expect(error.message).toMatch(/socket|ECONNRESET/);
  expect(error.idempotencyKey).toBe(requests[0].headers['x-idempotency-key']);
  expect(requests.filter(({ method }) => method === 'POST')).toHaveLength(1);
});

test('retry() around a call does not repeat what must not be repeated', async () => {
  answer = () => 'cut';
  const iris = make(Iris, serverUrl(), { retry: false });
  const error = await failureOf(retry(() => iris.createPayouts({ payouts: [] }), RETRY));
  expect(error).toMatchObject({ code: 'ERR_MIDTRANS_UNKNOWN_OUTCOME', retryable: false });
  expect(requests.filter(({ method }) => method === 'POST')).toHaveLength(1);
});

test('a payout that certainly was not sent is tried again', async () => {
  const dead = http.createServer().listen(0, '127.0.0.1');
  await once(dead, 'listening');
  const url = `http://127.0.0.1:${dead.address().port}`;
  dead.close();
  await once(dead, 'close');
  const attempts = [];
  const onRetry = (error, attempt) => { attempts.push(attempt); };
  const iris = make(Iris, url, { retry: { ...RETRY, onRetry } });
  const error = await failureOf(iris.createPayouts({ payouts: [] }));
  expect(attempts).toEqual([1, 2]);
  expect(error).toMatchObject({
    code: 'ERR_MIDTRANS_NETWORK', ambiguous: false, rawHttpClientData: { code: 'ECONNREFUSED' },
  });
  expect(isRetryable(error)).toBe(true);
});

test('a Snap page whose token is lost says so; its order is never made twice', async () => {
  const strict = await startMidtransFake({ serverKey: SERVER_KEY, idempotency: false });
  try {
    strict.set({ kind: 'drop', times: 1 });
    const error = await failureOf(make(Snap, strict.url).createTransactionToken(order('page-1')));
    expect(error).toMatchObject({
      httpStatusCode: 400, tokenLost: true, code: 'ERR_MIDTRANS_UNKNOWN_OUTCOME',
    });
    expect(error.ApiResponse.error_messages).toEqual(
      ['transaction_details.order_id has already been taken']);
    expect(strict.counts.created).toBe(1);
  } finally {
    await strict.close();
  }
});

test('no order is charged twice, whatever goes wrong', async () => {
  // This server would charge an order again, and ignores idempotency keys.
  const reckless = await startMidtransFake({
    serverKey: SERVER_KEY, uniqueOrders: false, idempotency: false,
  });
  const kinds = ['drop', 'reset', 'error', 'html', 'business', 'in-flight'];
  const operations = ['charge', 'status', undefined];
  try {
    for (let seed = 1; seed <= STORIES; seed++) {
      const dice = new Dice(seed);
      reckless.set(Array.from({ length: dice.between(1, 3) }, () => {
        const on = dice.pick(operations);
        return {
          kind: dice.pick(kinds), every: dice.between(1, 3), times: dice.between(1, 6),
          ...on && { on },
        };
      }));
      const core = make(CoreApi, reckless.url);
      await Promise.all(Array.from({ length: 4 }, async (_, i) => {
        const orderId = `story-${seed}-${i}`;
        const body = i % 2 ? charge(orderId) : JSON.stringify(charge(orderId));
        const { value, error } = await core.charge(body).then(
          result => ({ value: result }), thrown => ({ error: thrown }));
        const charges = reckless.transactions.get(orderId)?.charges ?? 0;
        const isUnsure = error === undefined
          ? value.order_id !== orderId : error.ambiguous !== false;
        expect({ seed, orderId, charges, isUnsure, error }).toEqual({
          seed, orderId, error, isUnsure,
          charges: isUnsure ? Math.min(charges, 1) : Number(error === undefined),
        });
      }));
    }
  } finally {
    await reckless.close();
  }
});

// ---- The examples of the official client -------------------------------------------------------

test('a shop that was written for the official client', async () => {
  const snap = make(Snap, fake.url);
  const core = make(CoreApi, fake.url);
  const { token, redirect_url: url } = await snap.createTransaction({
    ...order('shop-1', 200_000), credit_card: { secure: true },
  });
  expect(url).toContain(token);
  expect(await snap.createTransactionRedirectUrl(order('shop-2'))).toMatch(/^http/);
  await core.charge(charge('shop-3'));
  fake.settle('shop-3');
  const [notice] = fake.notifications('shop-3').slice(-1);
  const paid = await snap.transaction.notification(notice);
  expect(paid).toMatchObject({ order_id: 'shop-3', transaction_status: 'settlement' });
  expect(await core.transaction.notification(JSON.stringify(notice))).toEqual(paid);
  expect(await snap.transaction.refund('shop-3', { refund_key: 'r-1', amount: 5000, reason: 'x' }))
    .toMatchObject({ transaction_status: 'partial_refund' });
  await core.charge(charge('shop-4'));
  expect(await core.transaction.cancel('shop-4')).toMatchObject({ transaction_status: 'cancel' });
  const error = await failureOf(snap.transaction.status('shop-unknown'));
  expect(error).toMatchObject({
    name: 'MidtransError', httpStatusCode: '404', code: 'ERR_MIDTRANS_NOT_FOUND',
    ApiResponse: { status_code: '404', status_message: "Transaction doesn't exist." },
    rawHttpClientData: { status: 200, statusText: 'OK' },
  });
});

test('keys that are set later', async () => {
  const snap = pointTo(fake.url, new Snap(undefined, { retry: false, breaker: false }));
  expect(await failureOf(snap.createTransaction(order('later-1')))).toMatchObject({
    httpStatusCode: 401, code: 'ERR_MIDTRANS_UNAUTHORIZED',
  });
  snap.apiConfig.serverKey = SERVER_KEY;
  expect(await snap.createTransactionToken(order('later-1'))).toEqual(expect.any(String));
});

test('a class that extends a client, and a replaced method', async () => {
  answer = () => [201, '{"token":"t"}'];
  class Shop extends Snap {
    createTransaction (parameter) { return super.createTransaction({ ...parameter, shop: 1 }); }
  }
  const shop = make(Shop, serverUrl());
  expect(shop).toBeInstanceOf(Snap);
  expect(await shop.createTransactionToken({})).toBe('t');
  expect(requests[0].body).toBe('{"shop":1}');
  shop.httpClient.request = async (...args) => args;
  expect(await shop.createTransaction({})).toEqual(
    ['post', SERVER_KEY, `${serverUrl()}/snap/v1/transactions`, { shop: 1 }]);
});

// ---- Beyond the official client ----------------------------------------------------------------

test('an id cannot lead to another address', async () => {
  answer = () => [200, '{}'];
  const { transaction } = make(Snap, serverUrl());
  for (const id of ['a/b', 'a?b=c', 'a#b', '../x', 'a%2Fb', '100%', '\ud800']) {
    await transaction.status(id);
  }
  expect(requests.map(({ url }) => url)).toEqual(['/v2/a%2Fb/status', '/v2/a%3Fb=c/status',
    '/v2/a%23b/status', '/v2/..%2Fx/status', '/v2/a%2Fb/status', '/v2/100%25/status',
    '/v2/%EF%BF%BD/status']);
});

test('a time limit, which the program can change as with axios', async () => {
  answer = () => 'hang';
  const iris = make(Iris, serverUrl(), { retry: false });
  const { defaults } = iris.httpClient.http_client;
  expect(defaults.timeout).toBe(10_000);
  const endless = make(Iris, serverUrl(), { timeout: false });
  expect(endless.httpClient.http_client.defaults.timeout).toBe(0);
  defaults.timeout = 20;
  const theirs = pointTo(serverUrl(), new official.Iris(KEYS));
  theirs.httpClient.http_client.defaults.timeout = 20;
  const ours = await failureOf(iris.getBalance());
  const expected = await failureOf(theirs.getBalance());
  expect(ours.message).toBe(expected.message);
  expect(ours.rawHttpClientData.code).toBe(expected.rawHttpClientData.code);
  expect(ours).toMatchObject({ code: 'ERR_MIDTRANS_TIMEOUT', retryable: true });
  const unsure = await failureOf(iris.createPayouts({}));
  expect(unsure).toMatchObject({ code: 'ERR_MIDTRANS_UNKNOWN_OUTCOME', ambiguous: true });
});

test('all clients share the breaker of a host', async () => {
  const url = `http://localhost:${server.address().port}`;
  answer = () => [503, ''];
  const clients = [1, 2].map(() => pointTo(url, new Snap(KEYS, { retry: false })));
  const [one, other] = clients;
  expect(one.breaker).toBeInstanceOf(CircuitBreaker);
  expect(one.breaker).toBe(other.breaker);
  expect(one.breaker.name).toBe(`midtrans ${new URL(url).host}`);
  expect(one.breaker).not.toBe(make(Snap, url, { breaker: {} }).breaker);
  for (let i = 0; i < 5; i++) await failureOf(clients[i % 2].transaction.status('a'));
  expect(other.breaker.opened).toBe(true);
  const error = await failureOf(new CoreApiAt(url).charge(charge('a')));
  expect(error).toMatchObject({ code: 'EOPENBREAKER', httpStatusCode: null, ApiResponse: null });
  expect(error.message).toMatch(/^Midtrans API request failed\..*Breaker is open/);
  expect(requests).toHaveLength(5);
  one.breaker.close();
});

test('a program can make the breaker of a host itself', () => {
  const own = getCircuitBreaker('midtrans shop.example', { volumeThreshold: 7 });
  const snap = pointTo('https://shop.example', new Snap());
  expect(snap.breaker).toBe(own);
  own.shutdown();
  expect(snap.breaker).not.toBe(own);
  snap.breaker.shutdown();
});

class CoreApiAt extends CoreApi {
  constructor (url) {
    super(KEYS, { retry: false });
    pointTo(url, this);
  }
}

test.each([400, 401, 404, 429])('HTTP %i does not open the breaker', async status => {
  answer = () => [status, '{"error_messages":["no"]}'];
  const snap = make(Snap, serverUrl(), { retry: false, breaker: { volumeThreshold: 1 } });
  for (let i = 0; i < 10; i++) await failureOf(snap.createTransaction({}));
  expect(snap.breaker.closed).toBe(true);
});

test('options in the second argument are checked', () => {
  expect(() => new Snap(KEYS, { timeOut: 5 })).toThrow(expect.objectContaining({
    code: 'ERR_INVALID_OPTION', message: expect.stringContaining('Did you mean'),
  }));
  expect(() => new Snap(KEYS, { timeout: '5' })).toThrow(/timeout/);
  expect(() => new Snap(KEYS, { retry: { attemptTimeout: 5 } })).toThrow(/attemptTimeout/);
});

test('neither a client nor an error shows the server key', async () => {
  const credentials = Buffer.from(`${SERVER_KEY}:`).toString('base64');
  answer = ({ url }) => [url.includes('401') ? 401 : 200,
    `{"status_code":"401","echo":"${SERVER_KEY} Basic ${credentials}"}`];
  const core = make(CoreApi, serverUrl(), { retry: false });
  const errors = [await failureOf(core.transaction.status('401')),
    await failureOf(core.charge(charge('a')))];
  answer = () => 'cut';
  errors.push(await failureOf(core.charge(charge('a'))));
  errors.push(await failureOf(core.transaction.status('a')));
  const shown = [core, ...errors].flatMap(value => [
    inspect(value, { depth: 20, getters: true }), String(value.stack)]);
  shown.push(JSON.stringify([errors, core.apiConfig]));
  for (const text of shown) {
    expect(text).not.toContain(SERVER_KEY);
    expect(text).not.toContain(credentials);
  }
  expect(errors[0].ApiResponse.echo).toBe('[secret] Basic [secret]');
});

test('Snap BI shows none of its secrets', () => {
  const secrets = { snapBiPrivateKey: 'Planted-private', snapBiClientSecret: 'Planted-secret' };
  Object.assign(SnapBiConfig, secrets);
  const shown = inspect([SnapBiConfig, SnapBi.va().withAccessToken('Planted-token')], { depth: 9 });
  expect(shown).not.toContain('Planted');
  Object.assign(SnapBiConfig, { snapBiPrivateKey: null, snapBiClientSecret: null });
});

test('Snap BI rejects an untrusted certificate', async () => {
  const { key, cert } = tlsOptions({});
  const stranger = https.createServer({ key, cert }, (request, response) => {
    response.end('{"responseCode":"2002600"}');
  }).listen(0, '127.0.0.1');
  await once(stranger, 'listening');
  const ask = async ({ SnapBi: Bi, SnapBiConfig: config }) => {
    config.snapBiClientSecret = 'secret';
    config.getBaseUrl = () => `https://127.0.0.1:${stranger.address().port}`;
    return Bi.va().withAccessToken('token').getStatus('1');
  };
  expect(await ask(official)).toEqual({ responseCode: '2002600' });
  expect(await ask({ SnapBi, SnapBiConfig })).toEqual({
    message: expect.stringMatching(/certificate/), status: expect.stringMatching(/CERT/),
  });
  stranger.closeAllConnections();
  stranger.close();
});

test('a redirect is not followed: the key would go with it', async () => {
  answer = () => [302, '', { location: `${serverUrl()}/elsewhere` }];
  const error = await failureOf(make(Iris, serverUrl(), { retry: false }).getBalance());
  expect(error).toMatchObject({ httpStatusCode: 302, code: 'ERR_MIDTRANS_RESPONSE' });
  expect(requests.map(({ url }) => url)).toEqual(['/iris/api/v1/balance']);
});

test('interceptors see a call once, however often it is sent', async () => {
  answer = ({ number }) => (number < 3 ? [503, ''] : [200, '{"balance":"5"}']);
  const iris = make(Iris, serverUrl());
  const seen = [];
  const { request, response } = iris.httpClient.http_client.interceptors;
  request.use(config => { seen.push(config.method); return config; });
  response.use(found => { seen.push(found.status); return found; });
  await iris.getBalance();
  expect(requests).toHaveLength(3);
  expect(seen).toEqual(['get', 200]);
  expect(requests[0].headers['user-agent']).toBe('sekering');
});

test('the proxy of the environment is used, as in axios', async () => {
  const asked = [];
  const proxy = http.createServer().on('connect', (request, socket) => {
    asked.push(request.url);
    socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const program = `
    const { Snap } = require('./lib/clients/midtrans-client');
    const snap = new Snap({ serverKey: 'key' }, { retry: false });
    snap.transaction.status('a').catch(error => { console.log(error.code); });`;
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', program], {
    cwd: ROOT,
    env: {
      ...process.env, no_proxy: '', NO_PROXY: '',
      https_proxy: `http://127.0.0.1:${proxy.address().port}`,
    },
  });
  proxy.closeAllConnections();
  proxy.close();
  expect(stdout.trim()).toBe('ERR_MIDTRANS_NETWORK');
  expect(asked).toEqual(['api.sandbox.midtrans.com:443']);
});

test('what programs do with the HTTP client of the official one', async () => {
  const snap = make(Snap, serverUrl());
  const bodies = [];
  snap.httpClient.http_client.interceptors.response.use(response => {
    if (response.config.method === 'post') bodies.push(response.config.data);
    return response;
  });
  answer = () => [201, '{"token":"t","redirect_url":"u"}'];
  expect(await snap.createTransaction(order('text'))).toMatchObject({ token: 't' });
  expect(bodies).toEqual([JSON.stringify(order('text'))]);
  answer = () => [200, '{"a":1}'];
  const { http_client: client } = snap.httpClient;
  expect((await client.get(`${serverUrl()}/x`)).data).toEqual({ a: 1 });
  expect((await client.post(`${serverUrl()}/y`, { b: 2 })).data).toEqual({ a: 1 });
  expect(requests.slice(1).map(({ method, url, body }) => [method, url, body]))
    .toEqual([['GET', '/x', ''], ['POST', '/y', '{"b":2}']]);
  answer = () => [404, '{}'];
  expect(await failureOf(client.get(`${serverUrl()}/z`))).toMatchObject({ isAxiosError: true });
});

test('bodies that cannot be sent are refused with an error that says so', async () => {
  const core = make(CoreApi, serverUrl());
  const bodies = { FormData: new FormData(), Blob: new Blob(['x']), stream: Readable.from(['x']) };
  for (const [name, body] of Object.entries(bodies)) {
    const error = await failureOf(core.charge(body));
    expect(error.message).toContain(`A ${name} cannot be sent as a body`);
    expect(error.rawHttpClientData.code).toBe('ERR_NOT_SUPPORT');
  }
  expect(requests).toEqual([]);
});

test('a charge in bytes is looked up, too', async () => {
  const core = make(CoreApi, fake.url);
  fake.set({ kind: 'drop', on: 'charge', times: 1 });
  await core.charge(Buffer.from(JSON.stringify(charge('bytes-1'))));
  expect(fake.transactions.get('bytes-1').charges).toBe(1);
});

test.each([400, 403, 404, 410])('a page with HTTP %i is the answer to a GET', async status => {
  answer = () => [status, '<html>nginx</html>'];
  const snap = make(Snap, serverUrl(), { breaker: { volumeThreshold: 1 } });
  for (let i = 0; i < 3; i++) {
    expect(await failureOf(snap.transaction.status('a'))).toMatchObject({
      httpStatusCode: status, ApiResponse: '<html>nginx</html>', retryable: false,
    });
  }
  expect(requests).toHaveLength(3);
  expect(snap.breaker.closed).toBe(true);
});

test.each([408, 429, 502])('a page with HTTP %i is asked about again', async status => {
  answer = ({ number }) => (number < 3 ? [status, '<html></html>'] : [200, '{"balance":"5"}']);
  expect(await make(Iris, serverUrl()).getBalance()).toEqual({ balance: '5' });
});

describe('an answer that is compressed although nobody asked', () => {
  test.each([
    ['gzip', zlib.gzipSync], ['x-gzip', zlib.gzipSync], ['deflate', zlib.deflateSync],
    ['br', zlib.brotliCompressSync], ['identity', Buffer.from], [undefined, zlib.gzipSync],
    ['gzip, br', text => zlib.brotliCompressSync(zlib.gzipSync(text))],
  ])('by %s is decoded', async (encoding, encode) => {
    answer = () => [200, encode('{"balance":"5"}'), encoding && { 'content-encoding': encoding }];
    expect(await make(Iris, serverUrl()).getBalance()).toEqual({ balance: '5' });
    expect(requests).toHaveLength(1);
  });

  test.each([
    ['half of it', [200, zlib.gzipSync('{"status_code":"201"}').subarray(0, 20),
      { 'content-encoding': 'gzip' }]],
    ['an unknown encoding', gzip('{"status_code":"201"}', { 'content-encoding': 'odd' })],
    ['no gzip', [200, '{"status_code":"201"}', { 'content-encoding': 'gzip' }]],
    ['too many encodings', gzip('{}', { 'content-encoding': 'gzip, gzip, gzip' })],
    ['a bomb', gzip(Buffer.alloc(50_000_000))],
  ])('unreadably is looked into after a charge, and never resolves: %s', async (name, found) => {
    answer = ({ method }) => (method === 'POST' ? found : [200, JSON.stringify({
      status_code: '201', transaction_status: 'pending', gross_amount: '10000.00',
    })]);
    const core = make(CoreApi, serverUrl());
    expect(await core.charge(charge('zip-1'))).toMatchObject({ transaction_status: 'pending' });
    expect(requests.map(({ method }) => method)).toEqual(['POST', 'GET']);
    answer = () => found;
    expect(await failureOf(core.transaction.status('zip-1')))
      .toMatchObject({ code: 'ERR_MIDTRANS_RESPONSE', httpStatusCode: null });
    expect(await failureOf(core.charge(charge('zip-2'))))
      .toMatchObject({ code: 'ERR_MIDTRANS_UNKNOWN_OUTCOME', ambiguous: true });
  });
});

describe('an answer that asks for an hour', () => {
  let clock;
  beforeEach(() => {
    clock = useVirtualClock();
    answer = () => [503, '', { 'retry-after': '3600' }];
  });
  afterEach(() => clock.restore());

  test('delays a retry by 2 s', async () => {
    const tries = new EventEmitter();
    const iris = make(Iris, serverUrl(), {
      timeout: false, retry: { ...RETRY, retries: 1, onRetry: error => tries.emit('one', error) },
    });
    const arrival = once(tries, 'one');
    const balance = failureOf(iris.getBalance());
    expect((await arrival)[0].retryAfter).toBe(3_600_000);
    await clock.advance(1999);
    expect(requests).toHaveLength(1);
    await clock.advance(1);
    expect(await balance).toMatchObject({ httpStatusCode: 503, retryAfter: 3_600_000 });
    expect(requests).toHaveLength(2);
  });

  test.each([['of a client', { resetTimeout: 1000, volumeThreshold: 1 }], ['shared', undefined]])(
    'opens a breaker for a minute at most: %s', async (name, breaker) => {
      const snap = pointTo(serverUrl(), new Snap(KEYS, { timeout: false, retry: false, breaker }));
      for (let i = 0; i < 5 && !snap.breaker.opened; i++) {
        await failureOf(snap.transaction.status('a'));
      }
      expect(snap.breaker.opened).toBe(true);
      await clock.advance(59_999);
      expect(snap.breaker.opened).toBe(true);
      await clock.advance(1);
      expect(snap.breaker.halfOpen).toBe(true);
      snap.breaker.shutdown();
    });
});
