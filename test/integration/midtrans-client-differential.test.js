'use strict';

// Compares the drop-in with the official client. Both run the same programs against the same
// server, and must send the same requests and get the same results and errors. Intended differences
// are left out; docs/migrating.md lists them.

const { createHash, createSign, generateKeyPairSync } = require('node:crypto');
const { EventEmitter, once } = require('node:events');
const http = require('node:http');

const official = require('midtrans-client');

const ours = require('../../lib/clients/midtrans-client');
const { Dice } = require('../support/random');

// Thousands take a minute. A failure shows the number of its program.
const PROGRAMS = Number(process.env.SEKERING_STORIES ?? 300);
const KEYS = {
  isProduction: false, serverKey: 'SB-Mid-server-Planted0Secret', clientKey: 'client'
};

// ---- The server --------------------------------------------------------------------------------

const HEADERS = ['accept', 'authorization', 'content-type', 'x-shop', 'x-override-notification'];
const JSON_TYPE = { 'content-type': 'application/json' };

let server;
let shownHeaders = HEADERS;
let log;
let answerTo;
const arrivals = new EventEmitter();

beforeAll(async () => {
  server = http.createServer(async (request, response) => {
    const chunks = await request.toArray();
    const { method, url, headers } = request;
    const body = Buffer.concat(chunks).toString('utf8');
    // Only our own look-ups are without a body.
    const isLookUp = method === 'GET' && body === '';
    if (!isLookUp) {
      const shown = Object.fromEntries(shownHeaders.map(name => [name, headers[name]]));
      log.push({ method, url, body, ...shown });
      arrivals.emit('request');
    }
    const [status, text, type] = isLookUp
      ? [404, '{"status_code":"404","status_message":"Transaction doesn\'t exist."}']
      : answerTo({ method, url, body });
    if (status === 'cut') request.socket.resetAndDestroy();
    else response.writeHead(status, type ?? JSON_TYPE).end(text);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
});

beforeEach(() => { log = []; });

afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

/** Makes a client call the server, in a way that both packages allow. */
function redirect (client, url = `http://127.0.0.1:${server.address().port}`) {
  client.apiConfig.getCoreApiBaseUrl = () => url;
  client.apiConfig.getSnapApiBaseUrl = () => `${url}/snap/v1`;
  client.apiConfig.getIrisApiBaseUrl = () => `${url}/iris/api/v1`;
  return client;
}

const make = (pkg, name, keys = KEYS) => redirect(pkg === ours
  ? new pkg[name](keys, { retry: false, breaker: false })
  : new pkg[name](keys));

// ---- What is compared --------------------------------------------------------------------------

const plain = value => JSON.parse(JSON.stringify(value ?? null));

function describeRaw (raw) {
  if (raw === null || raw === undefined) return raw;
  const { status, statusText, headers, data } = raw;
  return status === undefined
    ? { code: raw.code, message: raw.message, isError: raw instanceof Error }
    : { status, statusText, data, type: headers['content-type'] };
}

/** How a call ends. It may also throw at once. */
async function outcome (pkg, call) {
  let promise;
  try {
    promise = call();
  } catch (error) {
    return { thrown: error.name, message: error.message };
  }
  try {
    return { value: await promise };
  } catch (error) {
    return {
      name: error.name, className: error.constructor.name, message: error.message,
      isMidtransError: error instanceof pkg.MidtransError, isError: error instanceof Error,
      httpStatusCode: error.httpStatusCode, ApiResponse: error.ApiResponse,
      raw: describeRaw(error.rawHttpClientData),
    };
  }
}

const byText = (one, other) => (JSON.stringify(one) < JSON.stringify(other) ? -1 : 1);

/** Runs a program with one of the packages; its calls may be concurrent. */
async function run (pkg, program) {
  log = [];
  const results = await program(pkg);
  return { results, log: log.toSorted(byText) };
}

async function compare (program) {
  const theirs = await run(official, program);
  const own = await run(ours, program);
  expect(own).toEqual(theirs);
  return theirs;
}

// ---- The calls ---------------------------------------------------------------------------------

const ORDER = { transaction_details: { order_id: 'order-1', gross_amount: 200000 } };
const CHARGE = { payment_type: 'gopay', ...ORDER };

/** Every method, with valid arguments. */
const CALLS = [
  ['Snap', 'createTransaction', [ORDER]],
  ['Snap', 'createTransactionToken', [ORDER]],
  ['Snap', 'createTransactionRedirectUrl', [ORDER]],
  ['CoreApi', 'charge', [CHARGE]],
  ['CoreApi', 'capture', [{ transaction_id: 'transaction-1', gross_amount: 5000 }]],
  ['CoreApi', 'cardRegister', [{ card_number: '4811111111111114', client_key: 'client' }]],
  ['CoreApi', 'cardToken', [{ card_number: '4811 1111', card_cvv: '123', 'a b': 'x&y=z:$,' }]],
  ['CoreApi', 'cardPointInquiry', ['token-1']],
  ['CoreApi', 'linkPaymentAccount', [{ gopay_partner: { phone_number: '8' } }]],
  ['CoreApi', 'getPaymentAccount', ['account-1']],
  ['CoreApi', 'unlinkPaymentAccount', ['account-1']],
  ['CoreApi', 'createSubscription', [{ amount: '14000', schedule: { interval: 1 } }]],
  ['CoreApi', 'getSubscription', ['subscription-1']],
  ['CoreApi', 'disableSubscription', ['subscription-1']],
  ['CoreApi', 'enableSubscription', ['subscription-1']],
  ['CoreApi', 'updateSubscription', ['subscription-1', { amount: '300000' }]],
  ['Iris', 'ping', []],
  ['Iris', 'createBeneficiaries', [{ name: 'Budi', bank: 'bca', alias_name: 'budi' }]],
  ['Iris', 'updateBeneficiaries', ['budi', { name: 'Budi S' }]],
  ['Iris', 'getBeneficiaries', []],
  ['Iris', 'createPayouts', [{ payouts: [{ amount: '10000.00', notes: 'x' }] }]],
  ['Iris', 'approvePayouts', [{ reference_nos: ['r1'], otp: '335163' }]],
  ['Iris', 'rejectPayouts', [{ reference_nos: ['r1'], reject_reason: 'x' }]],
  ['Iris', 'getPayoutDetails', ['r1']],
  ['Iris', 'getTransactionHistory', [{ from_date: '2018-01-01', to_date: '2018-01-02' }]],
  ['Iris', 'getTopupChannels', []],
  ['Iris', 'getBalance', []],
  ['Iris', 'getFacilitatorBankAccounts', []],
  ['Iris', 'getFacilitatorBalance', ['mandiri1']],
  ['Iris', 'getBeneficiaryBanks', []],
  ['Iris', 'validateBankAccount', [{ bank: 'mandiri', account: '1111222333333' }]],
  ...['Snap', 'CoreApi', 'Iris'].flatMap(name => [
    [name, 'transaction.status', ['order-1']],
    [name, 'transaction.statusb2b', ['order-1']],
    [name, 'transaction.approve', ['order-1']],
    [name, 'transaction.deny', ['order-1']],
    [name, 'transaction.cancel', ['order-1']],
    [name, 'transaction.expire', ['order-1']],
    [name, 'transaction.refund', ['order-1', { refund_key: 'key-1', amount: 5000, reason: 'x' }]],
    [name, 'transaction.refundDirect', ['order-1', { refund_key: 'key-1', amount: 5000 }]],
    [name, 'transaction.notification', [{ transaction_id: 'transaction-1', order_id: 'order-1' }]],
  ]),
];

/** Calls `transaction.status` or `charge` of a client. */
function invoke (client, path, args) {
  const [name, ...rest] = path.split('.').toReversed();
  const owner = rest.length === 0 ? client : client[rest[0]];
  return owner[name](...args);
}

const ANSWERS = {
  good: [200, '{"status_code":"200","token":"t","redirect_url":"u","transaction_status":"x"}'],
  created: [201, '{"token":"t","redirect_url":"https://pay.example/t"}'],
  pending: [200, '{"status_code":"201","transaction_status":"pending","gross_amount":"200000.00"}'],
  denied: [200, '{"status_code":"202","transaction_status":"deny"}'],
  'in work': [202, '{"status_code":"202","status_message":"being processed"}'],
  'no content': [204, undefined],
  empty: [200, ''],
  text: [200, 'pong', { 'content-type': 'text/plain' }],
  page: [200, '<html>Well</html>', { 'content-type': 'text/html' }],
  'half a body': [200, '{"status_code":"20'],
  'a list': [200, '[{"bank":"bca"}]'],
  'null': [200, 'null'],
  number: [200, '5'],
  text2: [200, '"quoted"'],
  yes: [200, 'true'],
  expired: [200, '{"status_code":"407","transaction_status":"expire"}'],
  'expired as a number': [200, '{"status_code":407}'],
  'HTTP 407': [407, '{"status_code":"407","transaction_status":"expire"}'],
  'business 400': [200, '{"status_code":"400","validation_messages":["no"]}'],
  'business 404': [200, '{"status_code":"404","status_message":"Transaction doesn\'t exist."}'],
  'business 406': [200, '{"status_code":"406","status_message":"taken"}'],
  'business 412 as a number': [200, '{"status_code":412}'],
  'business 500': [200, '{"status_code":"500","status_message":"trouble"}'],
  'an odd code': [200, '{"status_code":"600"}'],
  'a code that is none': [200, '{"status_code":"none"}'],
  'code null': [200, '{"status_code":null}'],
  'HTTP 400': [400, '{"error_messages":["transaction_details.gross_amount is required"]}'],
  'HTTP 401': [401, '{"status_code":"401","status_message":"Access denied","id":"x"}'],
  'HTTP 404': [404, '{"status_code":"404","status_message":"not found"}'],
  'HTTP 404 page': [404, '<html>nginx</html>', { 'content-type': 'text/html' }],
  'HTTP 403 empty': [403, ''],
  'HTTP 429': [429, '{"status_code":"429"}'],
  'HTTP 500': [500, '{"status_code":"500","status_message":"trouble"}'],
  'HTTP 500 Snap': [500, '{"error_messages":["Sorry"]}'],
  'HTTP 502 page': [502, '<html>Bad Gateway</html>', { 'content-type': 'text/html' }],
  'HTTP 503 empty': [503, ''],
  'HTTP 504 as business 200': [504, '{"status_code":"200"}'],
};

test('the list of calls has every method of the official client', () => {
  const methods = owner => Object.getOwnPropertyNames(owner).filter(name => name !== 'constructor');
  for (const name of ['Snap', 'CoreApi', 'Iris']) {
    const { prototype } = official[name];
    const listed = CALLS.filter(([owner]) => owner === name).map(([, method]) => method);
    const expected = [...methods(prototype),
      ...methods(Object.getPrototypeOf(make(official, name).transaction))
        .map(method => `transaction.${method}`)];
    expect(listed.toSorted()).toEqual(expected.toSorted());
    for (const method of methods(prototype)) {
      expect(ours[name].prototype[method].length).toBe(prototype[method].length);
    }
  }
});

describe('every method', () => {
  test.each(Object.keys(ANSWERS))('with the answer: %s', async name => {
    answerTo = () => ANSWERS[name];
    await compare(async pkg => {
      const results = [];
      for (const [owner, method, args] of CALLS) {
        const client = make(pkg, owner);
        results.push([owner, method, await outcome(pkg, () => invoke(client, method, args))]);
      }
      return results;
    });
  });
});

// ---- Input -------------------------------------------------------------------------------------

class Money { constructor () { this.amount = 5; } toJSON () { return `${this.amount}.00`; } }

const BODIES = [
  undefined, {}, [], null, 5, true, 'null', '{}', '[1]', '"text"', '5',
  JSON.stringify(CHARGE), ` ${JSON.stringify(CHARGE)} `, Object('{"a":1}'),
  { ...CHARGE, transaction_details: { order_id: 12345, gross_amount: '200000' } },
  { ...CHARGE, transaction_details: { order_id: 'a', gross_amount: '200000.00' } },
  { ...CHARGE, transaction_details: null }, { ...CHARGE, item_details: [] },
  { transaction_details: [] }, { transaction_details: { order_id: {} } },
  { a: undefined, b: null, c: NaN, d: [undefined], e: new Date(0), f: 'é — 日本 😀', g: { h: [] } },
  { money: new Money(), text: 'line\nbreak', big: 1e21, __proto__: { inherited: 1 } },
];

const IDS = [
  undefined, '', 'order-1', 'A_b~c.d', 12345, 0, true, null, 'SUBS-1', 'caf\u00e9', 'a b', 'a"b',
  'x@y:z', 'a%2Fb', ['a'], '$&+,;=',
];

const PARAMS = [
  undefined, {}, null, '{"bank":"bca"}', { bank: 'b c', account: 5, yes: true, no: false },
  { a: null, b: undefined, c: '' }, { list: ['a', 'b'], deep: { a: { b: 1 } }, when: new Date(0) },
  { mixed: [{ a: 1 }, { a: 2 }] }, 'null', 5, [1, 2], { 'a[b': "it's (1)!*~", '日': '本' },
];

test.each([
  ['CoreApi', 'charge', BODIES.map(body => [body])],
  ['CoreApi', 'updateSubscription', BODIES.map(body => ['subscription-1', body])],
  ['Snap', 'createTransaction', BODIES.map(body => [body])],
  ['Snap', 'createTransactionToken', BODIES.map(body => [body])],
  ['Iris', 'createPayouts', BODIES.map(body => [body])],
  ['Iris', 'getTransactionHistory', BODIES.map(body => [body])],
  ['Iris', 'validateBankAccount', PARAMS.map(params => [params])],
  ['CoreApi', 'cardToken', PARAMS.map(params => [params])],
  ['Snap', 'transaction.refund', BODIES.map(body => ['order-1', body])],
  ['Snap', 'transaction.status', IDS.map(id => [id])],
  ['Snap', 'transaction.cancel', IDS.map(id => [id])],
  ['CoreApi', 'getSubscription', IDS.map(id => [id])],
  ['Iris', 'updateBeneficiaries', IDS.map(id => [id])],
  ['Iris', 'getFacilitatorBalance', IDS.map(id => [id])],
  ['Snap', 'transaction.status', [[Symbol('id')], [{ toString () { throw new Error('odd'); } }]]],
  ['Snap', 'transaction.notification', [[undefined], [{}], [{ transaction_id: 5 }],
    ['{"transaction_id":"t"}'], [Object('{"transaction_id":"t"}')], [null],
    ['null'], [5], [{ order_id: 'forged', signature_key: 'x', transaction_id: 'y' }]]],
])('%s.%s with all kinds of input', async (owner, method, argumentLists) => {
  answerTo = () => ANSWERS.good;
  await compare(async pkg => {
    const results = [];
    for (const args of argumentLists) {
      const client = make(pkg, owner);
      results.push(plain(await outcome(pkg, () => invoke(client, method, args))));
    }
    return results;
  });
});

test('text that is not JSON is rejected with the same error, but nothing is sent', async () => {
  answerTo = () => ANSWERS.good;
  const program = async pkg => [
    await outcome(pkg, () => make(pkg, 'CoreApi').charge('not json')),
    await outcome(pkg, () => make(pkg, 'CoreApi').cardToken('not json')),
    await outcome(pkg, () => make(pkg, 'CoreApi').transaction.notification('not json')),
  ];
  const theirs = await run(official, program);
  // The official client sends two of them after it has rejected.
  while (log.length < 2) await once(arrivals, 'request');
  const own = await run(ours, program);
  expect(own.results).toEqual(theirs.results);
  expect(own.log).toEqual([]);
});

// ---- Settings ----------------------------------------------------------------------------------

test.each([
  ['none', []], ['undefined', [undefined]], ['null', [null]], ['empty', [{}]], ['text', ['keys']],
  ['a number', [5]], ['an array', [[]]],
  ['undefined values', [{ serverKey: undefined, isProduction: undefined }]],
  ['null values', [{ serverKey: null, clientKey: null, isProduction: null }]],
  ['a number for a key', [{ serverKey: 12345 }]], ['an umlaut', [{ serverKey: 'schlüssel' }]],
  ['unknown names', [{ ...KEYS, timeout: 5, merchantId: 'x' }]],
  ['text for production', [{ ...KEYS, isProduction: 'false' }]],
  ['inherited ones', [Object.create(KEYS)]],
])('settings: %s', async (name, args) => {
  answerTo = () => ANSWERS.good;
  await compare(async pkg => {
    const results = [];
    for (const owner of ['Snap', 'CoreApi', 'Iris']) {
      const client = new pkg[owner](...args);
      const { apiConfig } = client;
      results.push(apiConfig.get(), apiConfig.serverKey, apiConfig.getCoreApiBaseUrl(),
        apiConfig.getSnapApiBaseUrl(), apiConfig.getIrisApiBaseUrl());
      results.push(await outcome(pkg, () => redirect(client).transaction.status('a')));
      apiConfig.set({ serverKey: 'another' });
      results.push(apiConfig.get());
      apiConfig.set();
      apiConfig.set({ isProduction: true, nonsense: 1 });
      results.push(apiConfig.get());
      apiConfig.isProduction = 0;
      apiConfig.serverKey = 'assigned';
      apiConfig.clientKey = 'assigned too';
      results.push(apiConfig.get(), await outcome(pkg, () => client.transaction.status('a')));
    }
    return results;
  });
});

test('the addresses are those of the official client', () => {
  const constants = pkg => Object.fromEntries(
    Object.entries(new pkg.Snap().apiConfig.constructor).filter(([name]) => /URL$/.test(name)));
  expect(constants(ours)).toEqual(constants(official));
});

test('headers of a program are sent, with the same precedence as in axios', async () => {
  answerTo = () => ANSWERS.good;
  await compare(async pkg => {
    const client = make(pkg, 'CoreApi');
    const { headers } = client.httpClient.http_client.defaults;
    headers.common['X-Override-Notification'] = 'https://shop.example/notice';
    headers.common['Content-Type'] = 'text/plain';
    headers.common.ACCEPT = 'text/html';
    headers.common.Authorization = 'Bearer mine';
    const results = [await outcome(pkg, () => client.charge(CHARGE))];
    headers.post['x-shop'] = 'posted';
    headers.get['x-shop'] = 'got';
    results.push(await outcome(pkg, () => client.charge(CHARGE)));
    results.push(await outcome(pkg, () => client.transaction.status('a')));
    headers['X-Shop'] = 'direct';
    results.push(await outcome(pkg, () => client.charge(CHARGE)));
    headers.common['X-Override-Notification'] = undefined;
    headers['X-Shop'] = 5;
    results.push(await outcome(pkg, () => client.charge(CHARGE)));
    return results;
  });
});

test('interceptors see and change requests and responses', async () => {
  answerTo = ({ url }) => (url.includes('bad') ? ANSWERS['HTTP 404'] : ANSWERS.good);
  await compare(async pkg => {
    const { httpClient, transaction } = make(pkg, 'CoreApi');
    const { interceptors } = httpClient.http_client;
    const seen = [];
    interceptors.request.use(config => {
      seen.push(['first', config.method, new URL(config.url).pathname, plain(config.data)]);
      config.headers['X-Shop'] = 'intercepted';
      return config;
    });
    interceptors.request.use(config => { seen.push('second'); return config; });
    const gone = interceptors.request.use(() => { throw new Error('ejected'); });
    interceptors.request.eject(gone);
    interceptors.response.use(response => {
      seen.push([response.status, response.data, response.headers['content-type']]);
      return response;
    }, error => {
      seen.push([error.message, error.response.status]);
      return Promise.reject(error);
    });
    const results = [await outcome(pkg, () => transaction.status('a')),
      await outcome(pkg, () => transaction.status('bad'))];
    const body = interceptors.request.use(config => ({ ...config, data: ' {"mine":1} ' }));
    results.push(await outcome(pkg, () => transaction.cancel('a')));
    interceptors.request.eject(body);
    interceptors.request.use(() => { throw new Error('not today'); });
    results.push(await outcome(pkg, () => transaction.status('a')));
    interceptors.request.clear();
    interceptors.response.use(response => ({ ...response, data: { replaced: true } }));
    results.push(await outcome(pkg, () => transaction.status('a')));
    return [results, seen];
  });
});

test('bodies of every kind that axios sends', async () => {
  answerTo = () => ANSWERS.good;
  const json = JSON.stringify(CHARGE);
  const bytes = new TextEncoder().encode('{"a":1}');
  const bodies = [Buffer.from(json), Buffer.from('no JSON'), Buffer.alloc(0), bytes, bytes.buffer,
    new URLSearchParams({ a: '1', b: 'x y&z' }), new URLSearchParams()];
  await compare(async pkg => {
    const results = [];
    for (const body of bodies) {
      const core = make(pkg, 'CoreApi');
      results.push(await outcome(pkg, () => core.charge(body)),
        await outcome(pkg, () => core.updateSubscription('subscription-1', body)));
    }
    return results;
  });
});

test('http_client by itself: create, addresses, types of bodies', async () => {
  answerTo = () => ANSWERS.good;
  const base = `http://127.0.0.1:${server.address().port}/base`;
  const ask = async promise => {
    const { status, data, config } = await promise;
    return { status, data, sent: String(config.data), method: config.method, url: config.url };
  };
  await compare(async pkg => {
    const { http_client: client } = make(pkg, 'CoreApi').httpClient;
    client.interceptors.request.use(() => { throw new Error('not inherited'); });
    client.defaults.headers.common['X-Shop'] = 'first';
    const made =
      client.create({ baseURL: `${base}/`, headers: { 'X-Override-Notification': 'a' } });
    client.defaults.headers.common['X-Shop'] = 'later';
    made.defaults.headers.common.Accept = 'application/json';
    const plainOne = client.create();
    plainOne.defaults.headers.common.Accept = 'application/json';
    const posted = [{ a: 1 }, 'a=1', Buffer.from('x'), new URLSearchParams({ a: '1' }), '{"a":1}'];
    const results = [];
    for (const data of posted) {
      results.push(await ask(made.post('/pay', data)),
        await ask(plainOne({ method: 'POST', url: `${base}/pay`, data })));
    }
    results.push(await ask(made(`${base}/x`, { method: 'put', data: { b: 2 } })),
      await ask(made.request({ url: 'y', method: 'patch', data: null })));
    return results;
  });
});

test('a response in an interceptor can be copied with its config', async () => {
  answerTo = () => ANSWERS.good;
  await compare(async pkg => {
    const core = make(pkg, 'CoreApi');
    const seen = [];
    core.httpClient.http_client.interceptors.response.use(response => ({ ...response }));
    core.httpClient.http_client.interceptors.response.use(response => {
      seen.push(response.config.method, JSON.parse(response.config.data));
      return response;
    });
    return [await outcome(pkg, () => core.charge(CHARGE)), seen];
  });
});

test('a call by httpClient.request', async () => {
  answerTo = () => ANSWERS.good;
  await compare(async pkg => {
    const { httpClient } = make(pkg, 'CoreApi');
    const url = `http://127.0.0.1:${server.address().port}/v2/odd?x=1#y`;
    const calls = [['get', 'key', url, { a: 1 }], ['GET', 'key', url], ['post', 'key', url, [1]],
      ['Post', 'key', url, { a: 1 }, { b: 2 }], ['post', undefined, url], ['put', 'key', url, '{}'],
      ['get', 'key', 'no address'], [5, 'key', url]];
    const results = [];
    for (const args of calls) results.push(await outcome(pkg, () => httpClient.request(...args)));
    return results;
  });
});

test('a server that does not exist', async () => {
  const dead = http.createServer().listen(0, '127.0.0.1');
  await once(dead, 'listening');
  const url = `http://127.0.0.1:${dead.address().port}`;
  dead.close();
  await once(dead, 'close');
  const { results } = await compare(async pkg => {
    const client = redirect(make(pkg, 'CoreApi'), url);
    return [await outcome(pkg, () => client.charge(CHARGE)),
      await outcome(pkg, () => client.transaction.status('a'))];
  });
  expect(results[0].message).toMatch(/^Midtrans API request failed\. HTTP response not found/);
});

test('an answer that is cut off', async () => {
  answerTo = () => ['cut'];
  await compare(async pkg => [
    await outcome(pkg, () => make(pkg, 'Iris').getBalance()),
    await outcome(pkg, () => make(pkg, 'Iris').createPayouts({ payouts: [] })),
  ]);
});

// ---- Snap BI -----------------------------------------------------------------------------------

const { privateKey, publicKey } = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  publicKeyEncoding: { type: 'spki', format: 'pem' },
});
const TIME = '2026-01-02T03:04:05.000Z';
const BI_HEADERS = ['accept', 'content-type', 'authorization', 'x-partner-id', 'x-external-id',
  'x-device-id', 'channel-id', 'debug-id', 'x-timestamp', 'x-signature', 'x-client-key', 'x-more'];

describe('Snap BI', () => {
  const configs = [official.SnapBiConfig, ours.SnapBiConfig];

  beforeEach(() => {
    for (const config of configs) {
      Object.assign(config, {
        snapBiClientId: 'id', snapBiPrivateKey: privateKey, snapBiClientSecret: 'secret',
        snapBiPartnerId: 'partner', snapBiChannelId: 'channel', snapBiPublicKey: publicKey,
      });
      config.getBaseUrl = () => `http://127.0.0.1:${server.address().port}`;
    }
    shownHeaders = BI_HEADERS;
  });

  afterEach(() => { shownHeaders = HEADERS; });

  test.each([
    ['good', [200, '{"responseCode":"2005400","accessToken":"token"}']],
    ['refused', [401, '{"responseCode":"4017300","responseMessage":"Unauthorized"}']],
    ['failed', [500, '{"responseCode":"500"}']], ['a page', [502, '<html></html>']],
    ['empty', [400, '']], ['cut', ['cut']],
  ])('every call, with the answer: %s', async (name, answer) => {
    answerTo = () => answer;
    await compare(async pkg => {
      const results = [];
      for (const kind of ['directDebit', 'va', 'qris', 'notification']) {
        for (const action of ['createPayment', 'getStatus', 'refund', 'cancel']) {
          const call = pkg.SnapBi[kind]().withBody({ amount: { value: '1.00' } })
            .withTimeStamp(TIME).withDeviceId('device').withDebugId('debug')
            .withTransactionHeader({ 'X-More': 'yes' })
            .withAccessTokenHeader({ 'debug-id': 'another' });
          const result = await outcome(pkg, () => call[action]('external'));
          results.push(kind, action, result, call.accessToken, call.apiPath);
        }
      }
      const known = pkg.SnapBi.va().withAccessToken('known').withTimeStamp(TIME).withTimeout(60_000)
        .withClientId('id2').withClientSecret('s2').withPartnerId('p2').withChannelId('c2');
      results.push(await outcome(pkg, () => known.getStatus('external')));
      results.push(await outcome(pkg, () => pkg.SnapBi.va().withTimeStamp(TIME).getAccessToken()));
      return results;
    });
  });

  test('signatures of notifications', async () => {
    const payload = { amount: { value: '1500.00' }, name: 'é' };
    const hash = createHash('sha256').update(JSON.stringify(payload)).digest('hex');
    const signature = createSign('SHA256').update(`POST:/notice:${hash}:${TIME}`)
      .sign(privateKey, 'base64');
    const { results } = await compare(async pkg => {
      const verify = (path, key = publicKey) => {
        pkg.SnapBiConfig.snapBiPublicKey = key;
        return outcome(pkg, async () => pkg.SnapBi.notification().withNotificationPayload(payload)
          .withSignature(signature).withTimeStamp(TIME).withNotificationUrlPath(path)
          .isWebhookNotificationVerified());
      };
      return [await verify('/notice'), await verify('/other'), await verify('/notice', null)];
    });
    expect(results.slice(0, 2)).toEqual([{ value: true }, { value: false }]);
  });

  test('the members are those of the official client', () => {
    const members = ({ SnapBi, SnapBiConfig }) => [
      Object.entries(SnapBi).toSorted(), Object.getOwnPropertyNames(SnapBi.prototype)
        .filter(name => name !== 'accessToken').toSorted(),
      SnapBiConfig.SNAP_BI_SANDBOX_BASE_URL, SnapBiConfig.SNAP_BI_PRODUCTION_BASE_URL,
    ];
    expect(members(ours)).toEqual(members(official));
    expect(Object.keys(ours)).toEqual(Object.keys(official));
  });
});

// ---- Random programs ---------------------------------------------------------------------------

/** The same answer to the same request, whatever the order in which they arrive. */
function answersOf (seed) {
  const names = Object.keys(ANSWERS);
  return ({ method, url, body }) => {
    let hash = seed;
    for (const character of method + url + body) hash = (hash * 31 + character.codePointAt(0)) | 0;
    return ANSWERS[new Dice(hash).pick(names)];
  };
}

function randomArguments (dice, method, args) {
  return args.map(arg => {
    if (dice.chance(0.6)) return arg;
    if (typeof arg === 'string') return dice.pick(IDS);
    return dice.pick(/^(card|validate)/.test(method) ? PARAMS : BODIES);
  });
}

/** Steps of a program: calls, alone or at the same time, and changes of the settings in between. */
function programOf (seed) {
  const dice = new Dice(seed);
  const steps = [];
  const owner = dice.pick(['Snap', 'CoreApi', 'Iris']);
  const calls = CALLS.filter(([name]) => name === owner);
  for (let left = dice.between(2, 5); left > 0; left--) {
    if (dice.chance(0.3)) {
      const settings = dice.pick([{ serverKey: `k-${seed}` }, { isProduction: true }, {}]);
      steps.push(({ apiConfig }) => { apiConfig.set(settings); return []; });
    }
    if (dice.chance(0.2)) {
      const value = dice.pick(['a', 5, 'https://shop.example/x']);
      steps.push(client => {
        client.httpClient.http_client.defaults.headers.common['X-Shop'] = value;
        return [];
      });
    }
    const burst = Array.from({ length: dice.pick([1, 1, 3]) }, () => {
      const [, method, args] = dice.pick(calls);
      return [method, randomArguments(dice, method, args)];
    });
    steps.push((client, pkg) => Promise.all(burst.map(([method, args]) =>
      outcome(pkg, () => invoke(client, method, args)))));
  }
  return async pkg => {
    const client = make(pkg, owner);
    const results = [];
    for (const step of steps) results.push(plain(await step(client, pkg)));
    return results;
  };
}

test(`${PROGRAMS} random programs`, async () => {
  for (let seed = 1; seed <= PROGRAMS; seed++) {
    answerTo = answersOf(seed);
    const program = programOf(seed);
    const theirs = await run(official, program);
    const own = await run(ours, program);
    expect({ seed, ...own }).toEqual({ seed, ...theirs });
  }
}, 600_000);
