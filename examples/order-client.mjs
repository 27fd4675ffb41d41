// A shop's client of the gateway, made from its API document. What it sends and reads is checked
// against the types of that document:
//
//   npm install openapi-fetch && npm install --save-dev openapi-typescript typescript
//   npx openapi-typescript http://127.0.0.1:3000/openapi.json -o api.d.ts
//   SEKERING_URL=http://127.0.0.1:3000 SEKERING_TOKEN=… node order-client.mjs
import { randomUUID } from 'node:crypto';
import createClient from 'openapi-fetch';

/** @type {import('openapi-fetch').Client<import('./api.d.ts').paths>} */
const gateway = createClient({
  baseUrl: process.env.SEKERING_URL,
  headers: { authorization: `Bearer ${process.env.SEKERING_TOKEN}` },
});

/**
 * @param {string} id
 * @param {number} amount
 * @param {string} key the same for each repetition of a request
 */
async function order (id, amount, key = randomUUID()) {
  const { data, error, response } = await gateway.POST('/orders', {
    params: { header: { 'Idempotency-Key': `"${key}"` } },
    body: { transaction_details: { order_id: id, gross_amount: amount } },
  });
  if (error !== undefined) {
    console.log(response.status, error.code, error.faults);
  } else if (data.queued) {
    console.log(response.status, `${data.orderId} is queued (${data.error}): ask ${data.status}`);
  } else {
    const hasPage = data.redirectUrl !== '';
    console.log(response.status, `${data.orderId} can be paid at its page: ${hasPage}`);
  }
}

const key = randomUUID();
await order('order-1', 150_000, key);
// The connection broke before the answer came? Send it again: it is executed once.
await order('order-1', 150_000, key);
await order('no spaces please', 150_000);

const { data: shown } = await gateway.GET('/orders/{id}', { params: { path: { id: 'order-1' } } });
console.log(shown?.state, shown?.currency, shown?.amountMinor);

const { data: sent, response } = await gateway.POST('/notifications', {
  body: { channel: 'EMAIL', recipient: 'ani@example.com', subject: 'Order 1', body: 'Thank you.' },
});
console.log(response.status, sent !== undefined && !Array.isArray(sent) && sent.duplicate);
