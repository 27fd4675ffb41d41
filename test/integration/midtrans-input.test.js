'use strict';

// What the Midtrans client refuses before anything is sent.

const { MidtransClient } = require('../../lib/clients/midtrans');
const { KEY, charge, closeAll, settle, start } = require('../support/midtrans-helpers');

afterEach(closeAll);

test('all faults of a call at once, and nothing is sent', async () => {
  const { fake, client } = await start();
  const { error: failure } = await settle(client.charge({
    payment_type: '', transaction_details: { order_id: 'a b', gross_amount: 10.5 },
    item_details: [{ price: '5', quantity: 0 }, null]
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

const details = more => ({ transaction_details: { order_id: 'a', gross_amount: 5, ...more } });
const cyclic = details();
cyclic.self = cyclic;
test.each([
  ['createTransaction', [undefined]], ['createTransaction', [[]]], ['createTransaction', [{}]],
  ['createTransaction', [details({ order_id: 'x'.repeat(51) })]],
  ['createTransaction', [details({ order_id: '..' })]],
  ['createTransaction', [details({ order_id: 5 })]],
  ['createTransaction', [details({ gross_amount: '5' })]],
  ['createTransaction', [details({ gross_amount: 0 })]],
  ['createTransaction', [details({ gross_amount: NaN })]],
  ['createTransaction', [{ ...details(), item_details: [{ price: 2, quantity: 2 }] }]],
  ['createTransaction', [{ ...details(), item_details: [] }]],
  ['createTransaction', [{ ...details(), item_details: {} }]],
  ['createTransaction', [cyclic]], ['createTransaction', [{ ...details(), n: 1n }]],
  ['charge', [details()]], ['charge', [null]],
  ['capture', [{}]], ['capture', [{ transaction_id: 'a', gross_amount: -1 }]],
  ['status', ['']], ['status', ['a/b']], ['status', ['.']], ['status', ['..']],
  ['status', ['a?b']], ['status', [undefined]], ['cancel', ['a\r\nb']], ['expire', [5]],
  ['approve', [null]], ['deny', ['%2e']],
  ['refund', ['a', { amount: 1.5 }]], ['refund', ['a', { refund_key: '' }]],
  ['refund', ['a', []]], ['directRefund', ['a', { reason: 5 }]]
])('%s refuses %j', async (method, args) => {
  const { fake, client } = await start();
  await expect(client[method](...args)).rejects.toMatchObject({ code: 'ERR_INVALID_INPUT' });
  expect(fake.counts.requests).toBe(0);
});

const given = { serverKey: KEY };
test.each([
  [undefined], [{}], [{ serverKey: '' }], [{ serverKey: 5 }], [{ ...given, isProduction: true }],
  [{ ...given, production: 'yes' }], [{ ...given, baseUrls: { snap: 'app' } }],
  [{ ...given, baseUrls: { core: 'http://user:secret@host' } }],
  [{ ...given, baseUrls: { core: 'ftp://host' } }], [{ ...given, timeout: -1 }],
  [{ ...given, retry: { retries: -1 } }], [{ ...given, retry: [1, 2] }],
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
  await expect(client.status('o', 5)).rejects.toMatchObject({ code });
});
