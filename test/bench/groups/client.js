'use strict';

// What MidtransClient (breaker, retry, timeout, checks of input and answer) adds to a request over
// HTTP, sent to a fake Midtrans in another process.

const { fork } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');

const { Pool } = require('undici');

const { MidtransClient } = require('../../../lib/clients/midtrans');
const { compare, loopOf } = require('../measure');

const SERVER_KEY = 'SB-Mid-server-fake';
const HEADERS = {
  accept: 'application/json',
  authorization: `Basic ${btoa(`${SERVER_KEY}:`)}`,
  'content-type': 'application/json',
  'user-agent': 'bench'
};

// A call takes hundreds of times as long as those of the other rows, most of it the kernel's.
const SLICES = { sliceMs: 80, warmMs: 1000 };

let orders = 0;

/** An order that nobody has made before. */
function nextOrder () {
  orders += 1;
  return {
    transaction_details: { order_id: `order-${process.pid}-${orders}`, gross_amount: 50_000 },
    item_details: [{ id: 'seat', name: 'Seat A1', price: 25_000, quantity: 2 }],
    customer_details: { first_name: 'Budi', email: 'budi@example.com', phone: '+6281234567890' }
  };
}

/** The same over undici alone, as a careful program would write it: the same request is sent. */
function bareCaller (url) {
  const pool = new Pool(url, { connections: 64, pipelining: 1 });
  const create = async () => {
    const order = nextOrder();
    const headers = { ...HEADERS, 'idempotency-key': order.transaction_details.order_id };
    const { statusCode, body } = await pool.request({
      path: '/snap/v1/transactions', method: 'POST', headers, body: JSON.stringify(order)
    });
    const answer = await body.json();
    if (statusCode !== 201) throw new Error(`Midtrans answered ${statusCode}`);
    return answer;
  };
  return { create, close: () => pool.close() };
}

async function run (options) {
  const child = fork(path.join(__dirname, '..', 'fake-upstream.js'));
  const [url] = await once(child, 'message');
  const bare = bareCaller(url);
  const client = new MidtransClient({ serverKey: SERVER_KEY, baseUrls: { snap: url, core: url } });
  const result = await compare(loopOf(() => client.createTransaction(nextOrder())),
    loopOf(() => bare.create()), { ...options, ...SLICES });
  await Promise.all([client.close(), bare.close()]);
  child.disconnect();
  return { 'client.bare': result };
}

module.exports = { processes: 3, run };
