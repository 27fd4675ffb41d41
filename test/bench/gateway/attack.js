'use strict';

// What strangers send, in a process of its own: webhooks without a valid signature as fast as they
// are answered, or wrong tokens at a fixed rate.

const { randomBytes } = require('node:crypto');

const { Pool } = require('undici');

const { atRate, serve } = require('./processes');

/** A notification that Midtrans has not sent; no two are alike. */
const rubbish = n => JSON.stringify({
  transaction_status: 'settlement', status_code: '200', gross_amount: '50000.00',
  fraud_status: 'accept',
  order_id: `stolen-${n}-${randomBytes(6).toString('hex')}`, transaction_id: `${n}`,
  transaction_time: '2026-01-01 00:00:00', payment_type: 'bank_transfer',
  signature_key: randomBytes(64).toString('hex'), padding: randomBytes(1024).toString('hex'),
});

const addressOf = n => `10.${n >> 16}.${n >> 8 & 255}.${n & 255}`;

function countsOf (statuses) {
  const counts = {};
  for (const status of statuses) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

/** One request; its status, or the code of the error. */
async function send (pool, request) {
  try {
    const { statusCode, body } = await pool.request(request);
    await body.dump();
    return statusCode;
  } catch (error) {
    return error.code ?? error.name;
  }
}

async function webhooks ({ url, connections, ms }) {
  const pool = new Pool(url, { connections, pipelining: 1 });
  const statuses = [];
  const began = performance.now();
  const headers = { 'content-type': 'application/json' };
  const loop = async () => {
    while (performance.now() - began < ms) {
      statuses.push(await send(pool, {
        path: '/webhooks/midtrans', method: 'POST', headers, body: rubbish(statuses.length),
      }));
    }
  };
  await Promise.all(Array.from({ length: connections }, loop));
  await pool.close();
  return { sent: statuses.length, counts: countsOf(statuses), ms: performance.now() - began };
}

/** `addresses` is the number of addresses that X-Forwarded-For claims; 0: it is not sent. */
async function guesses ({ url, perSecond, ms, addresses }) {
  // So many that answers which come late do not slow it down.
  const pool = new Pool(url, { connections: 1500, pipelining: 1 });
  const began = performance.now();
  const paths = ['/orders/none', '/admin/reliability/session', '/metrics'];
  const statuses = await atRate(perSecond, ms, (_, n) => send(pool, {
    path: paths[n % paths.length],
    method: 'GET',
    headers: {
      authorization: `Bearer a-wrong-token-${n}`,
      ...addresses > 0 && { 'x-forwarded-for': addressOf(n % addresses) },
    },
  }));
  await pool.close();
  return { sent: statuses.length, counts: countsOf(statuses), ms: performance.now() - began };
}

serve({ webhooks, guesses });
