'use strict';

// What the tests of the Midtrans client share: a fake, a client of it, orders, settled promises.

const { MidtransClient } = require('../../lib/clients/midtrans');
const { startMidtransFake } = require('../../lib/testing');

const KEY = 'SB-Mid-server-Planted0Secret';

const opened = [];
const keep = thing => { opened.push(thing); return thing; };

/** Closes what the test has opened, the newest first. */
async function closeAll () {
  for (const thing of opened.splice(0).reverse()) await thing.close();
}

/** A fake and a client of it that retries at once. */
async function start ({ fake: fakeOptions, url, ...options } = {}) {
  const fake = keep(await startMidtransFake({ serverKey: KEY, ...fakeOptions }));
  return { fake, client: clientOf(url ?? fake.url, options) };
}

function clientOf (url, options) {
  return keep(new MidtransClient({
    serverKey: KEY, baseUrls: { snap: url, core: url }, timeout: 10_000,
    ...options, retry: options?.retry ?? { retries: 3, minTimeout: 1, randomize: false },
  }));
}

const order = (orderId, amount = 10000) => ({
  transaction_details: { order_id: orderId, gross_amount: amount }
});
const charge = (orderId, amount) => ({ payment_type: 'bank_transfer', ...order(orderId, amount) });
const cardCharge = (orderId, token = 'token', type) => ({
  ...order(orderId), payment_type: 'credit_card',
  credit_card: { token_id: token, ...type && { type } }
});

const settle = promise => promise.then(value => ({ value }), error => ({ error }));

/** How many requests of a kind have reached the fake. */
const count = (fake, method, pattern) =>
  fake.log.filter(entry => entry.method === method && pattern.test(entry.path)).length;

module.exports = {
  KEY, cardCharge, charge, clientOf, closeAll, count, keep, order, settle, start
};
