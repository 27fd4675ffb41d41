'use strict';

// What the Midtrans client refuses before anything is sent, and where it sends the rest.

const { Agent } = require('undici');

const { MidtransClient } = require('../../lib/clients/midtrans');
const { KEY, charge, closeAll, keep, settle, start } = require('../support/midtrans-helpers');

afterEach(closeAll);

test('all faults of a call at once, and nothing is sent', async () => {
  const { fake, client } = await start();
  const { error: failure } = await settle(client.charge({
    payment_type: '', transaction_details: { order_id: 'a b', gross_amount: 10.5 },
    item_details: [{ price: '5.5', quantity: 0 }, null]
  }));
  expect(failure).toBeInstanceOf(TypeError);
  expect(failure.code).toBe('ERR_INVALID_INPUT');
  expect(failure.faults.map(({ path }) => path)).toEqual([
    'payment_type', 'transaction_details.order_id', 'transaction_details.gross_amount',
    'item_details[0].price', 'item_details[0].quantity', 'item_details[1]'
  ]);
  for (const { message } of failure.faults) expect(failure.message).toContain(message);
  expect(fake.counts.requests).toBe(0);
});

test.each([
  ['refund', ['', { amount: -1, reason: 5, refund_key: 'a b\n' }],
    ['id', 'refund_key', 'amount', 'reason']],
  ['updateSubscription', ['', 5], ['id', 'body']],
  ['updateSubscription', ['..', { amount: 0 }], ['id', 'amount']],
  ['request', ['HEAD', 'v2/a', 5, { again: 'x' }], ['method', 'path', 'again', 'body']],
  ['request', ['HEAD', '/v2/a', undefined, { api: 'x' }], ['method', 'api']],
  ['request', ['GET', 'x?y', { a: {} }], ['path', 'a']],
])('%s(%j): the faults of all arguments are in one error', async (method, args, paths) => {
  const { fake, client } = await start();
  const { error } = await settle(client[method](...args));
  expect(error).toBeInstanceOf(TypeError);
  expect(error.code).toBe('ERR_INVALID_INPUT');
  expect(error.faults.map(({ path }) => path)).toEqual(paths);
  expect(fake.counts.requests).toBe(0);
});

test('wrong options of a request, and nothing else, are ERR_INVALID_OPTION', async () => {
  const { client } = await start();
  await expect(client.request('GET', '/v2/a', undefined, { again: 'x' })).rejects
    .toMatchObject({ code: 'ERR_INVALID_OPTION', option: 'again' });
});

const details = more => ({ transaction_details: { order_id: 'a', gross_amount: 5, ...more } });
const cyclic = details();
cyclic.self = cyclic;
test.each([
  ['createTransaction', [undefined]], ['createTransaction', [[]]], ['createTransaction', [{}]],
  ['createTransaction', [details({ order_id: 'x'.repeat(51) })]],
  ['createTransaction', [details({ order_id: '..' })]],
  ['createTransaction', [details({ order_id: 5.5 })]],
  ['createTransaction', [details({ order_id: -5 })]],
  ['createTransaction', [details({ gross_amount: '5.50' })]],
  ['createTransaction', [details({ gross_amount: '1e3' })]],
  ['createTransaction', [details({ gross_amount: ' 5' })]],
  ['createTransaction', [details({ gross_amount: 0 })]],
  ['createTransaction', [details({ gross_amount: NaN })]],
  ['createTransaction', [{ ...details(), item_details: [{ price: 2, quantity: 2 }] }]],
  ['createTransaction', [{ ...details(), item_details: {} }]],
  ['createTransaction', [cyclic]], ['createTransaction', [{ ...details(), n: 1n }]],
  ['charge', [details()]], ['charge', [null]],
  ['capture', [{}]], ['capture', [{ transaction_id: 'a', gross_amount: -1 }]],
  ['status', ['']], ['status', ['a\nb']], ['status', ['.']], ['status', ['..']],
  ['status', ['a'.repeat(256)]], ['status', ['\ud800']], ['status', [undefined]],
  ['cancel', ['a\r\nb']], ['expire', [5.5]],
  ['approve', [null]], ['deny', ['..']],
  ['refund', ['a', { amount: 1.5 }]], ['refund', ['a', { refund_key: '' }]],
  ['refund', ['a', { refund_key: 'a b\n' }]], ['refund', ['a', { refund_key: 'a\u2028b' }]],
  ['refund', ['a', []]], ['directRefund', ['a', { reason: 5 }]]
])('%s refuses %j', async (method, args) => {
  const { fake, client } = await start();
  await expect(client[method](...args)).rejects.toMatchObject({ code: 'ERR_INVALID_INPUT' });
  expect(fake.counts.requests).toBe(0);
});

test('ids that Midtrans has told are asked about whatever they hold, as one part of a path',
  async () => {
    const { fake, client } = await start();
    for (const id of ['a/b', 'a?b#c', '../x y', '%2e%2e', 'p\u00e9\u{1f4b8}', 'a'.repeat(255)]) {
      await expect(client.status(id)).rejects.toMatchObject({ code: 'ERR_MIDTRANS_NOT_FOUND' });
      expect(fake.log.at(-1).path).toBe(`/v2/${encodeURIComponent(id)}/status`);
    }
  });

const given = { serverKey: KEY };
test.each([
  [undefined], [{}], [{ serverKey: '' }], [{ serverKey: 5 }],
  [{ ...given, production: false, isProduction: true }],
  [{ ...given, production: 'yes' }], [{ ...given, baseUrls: { snap: 'app' } }],
  [{ ...given, baseUrls: { core: 'http://user:secret@host' } }],
  [{ ...given, baseUrls: { core: 'ftp://host' } }], [{ ...given, timeout: -1 }],
  [{ ...given, retry: { retries: -1 } }], [{ ...given, retry: [1, 2] }],
  [{ ...given, retry: { attemptTimeout: 5 } }], [{ ...given, retry: { signal: {} } }],
  [{ ...given, breaker: { timeout: 'x' } }], [{ ...given, connections: 0 }],
  [{ ...given, dispatcher: {} }], [{ ...given, orderIdPattern: '^a' }]
])('the client refuses the options %j', options => {
  let failure;
  try {
    new MidtransClient(options);
  } catch (error) {
    failure = error;
  }
  expect(failure?.code).toBe('ERR_INVALID_OPTION');
  expect(failure.message).not.toContain('secret');
});

test('options of a call', async () => {
  const { client } = await start();
  const code = 'ERR_INVALID_OPTION';
  await expect(client.charge(charge('o'), { signal: 5 })).rejects.toMatchObject({ code });
  await expect(client.charge(charge('o'), { resume: 'x' })).rejects.toMatchObject({ code });
  // What may move money is never sent past the breaker.
  await expect(client.charge(charge('o'), { once: true })).rejects.toMatchObject({ code });
  await expect(client.status('o', 5)).rejects.toMatchObject({ code });
});

test('without undici the error says what to install', () => {
  jest.isolateModules(() => {
    jest.doMock('undici', () => {
      throw Object.assign(new Error("Cannot find module 'undici'"), { code: 'MODULE_NOT_FOUND' });
    });
    const isolated = require('../../lib/clients/midtrans');
    expect(() => new isolated.MidtransClient(given)).toThrow(expect.objectContaining({
      code: 'ERR_MISSING_PEER',
      message: 'sekering/midtrans needs the package undici. Install it: npm install undici@7'
    }));
    jest.dontMock('undici');
  });
});

describe('where requests go', () => {
  /** A dispatcher that sends nothing. */
  function makeDispatcher () {
    const seen = [];
    const dispatch = (options, handler) => {
      seen.push(`${options.method} ${options.origin}${options.path}`);
      handler.onResponseError(undefined, new Error('not sent'));
    };
    return { seen, dispatch };
  }

  test.each([
    [{}, 'https://app.sandbox.midtrans.com', 'https://api.sandbox.midtrans.com'],
    [{ production: true }, 'https://app.midtrans.com', 'https://api.midtrans.com'],
    [{ baseUrls: { snap: 'https://app.example/snap/v1/', core: 'https://api.example/v2' } },
      'https://app.example', 'https://api.example'],
    [{ baseUrls: { core: 'http://proxy.example:8080/midtrans/' } },
      'https://app.sandbox.midtrans.com', 'http://proxy.example:8080/midtrans'],
  ])('%j', async (options, snap, core) => {
    const dispatcher = makeDispatcher();
    const client = new MidtransClient({ ...given, ...options, dispatcher, retry: false });
    await settle(client.createTransaction(details()));
    await settle(client.status('a'));
    expect(dispatcher.seen)
      .toEqual([`POST ${snap}/snap/v1/transactions`, `GET ${core}/v2/a/status`]);
  });

  test('a dispatcher that is given stays its owner\'s', async () => {
    const { fake } = await start();
    const dispatcher = keep(new Agent());
    const baseUrls = { snap: fake.url, core: fake.url };
    const client = new MidtransClient({ ...given, baseUrls, dispatcher });
    await client.charge(charge('o'));
    await client.close();
    expect(dispatcher.closed).toBe(false);
  });
});
