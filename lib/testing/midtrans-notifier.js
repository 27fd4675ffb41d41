'use strict';

// The Midtrans fake's notifications: signed as Midtrans signs, sent several times, out of order, or
// forged.

const { createHash, randomUUID } = require('node:crypto');

const { bag, number, oneOf } = require('../base/options');

const TIMEOUT_MS = 15_000; // Midtrans waits so long.
const REPEAT_MAX = 1000;
const TEST_ORDER = 'payment_notif_test_G123456789_1b2c3d4e-5f60-7a8b-9c0d-1e2f3a4b5c6d';
const ORDERS = ['sent', 'reversed', 'shuffled'];
const FORGERIES = ['signature', 'status', 'amount', 'order'];

function signatureOf ({ order_id: orderId, status_code: code, gross_amount: amount }, serverKey) {
  return createHash('sha512').update(`${orderId}${code}${amount}${serverKey}`).digest('hex');
}

/** A body with its signature; the signature of a forgery is that of the true one, where it can. */
function sign (body, serverKey, forge) {
  const signed = { ...body, signature_key: signatureOf(body, serverKey) };
  switch (forge) {
    case 'signature': return { ...signed, signature_key: '0'.repeat(128) };
    // What the signature does not cover: this one verifies.
    case 'status': return { ...signed, transaction_status: 'settlement', fraud_status: 'accept' };
    case 'amount': return { ...signed, gross_amount: `9${signed.gross_amount}` };
    // Digits that move from the order to the amount. This one verifies if the order ends with 200.
    case 'order': return {
      ...signed, order_id: signed.order_id.slice(0, -3),
      gross_amount: `${signed.order_id.slice(-3)}${signed.gross_amount}`
    };
    default: return signed;
  }
}

/** What the button "Test notification URL" of Midtrans's dashboard sends. */
function testNotificationOf (serverKey, { orderId = TEST_ORDER } = {}) {
  return sign({
    transaction_time: '2023-11-15 18:45:13',
    transaction_status: 'settlement',
    transaction_id: randomUUID(),
    status_message: 'midtrans payment notification',
    status_code: '200',
    payment_type: 'credit_card',
    order_id: orderId,
    merchant_id: 'G123456789',
    gross_amount: '105000.00',
    fraud_status: 'accept',
    currency: 'IDR',
  }, serverKey);
}

function arrange (bodies, order) {
  if (order === 'reversed') return bodies.toReversed();
  if (order !== 'shuffled') return bodies;
  return bodies.map(body => [Math.random(), body]).toSorted(([a], [b]) => a - b).map(([, b]) => b);
}

/**
 * Builds the notifications of a transaction.
 * @param {object[]} history its states so far, oldest first
 * @param {string} serverKey
 * @param {object} options see MidtransFake.notify
 */
function notificationsOf (history, serverKey, options) {
  const { repeat = 1, order = 'sent', forge, latest = false } = bag('options', options);
  number('repeat', repeat, { min: 1, max: REPEAT_MAX, integer: true });
  oneOf('order', order, ORDERS);
  if (forge !== undefined) oneOf('forge', forge, FORGERIES);
  const bodies = (latest ? history.slice(-1) : history)
    .map(body => sign(body, serverKey, forge))
    .flatMap(body => Array.from({ length: repeat }, () => body));
  return arrange(bodies, order);
}

/** Sends notifications one after the other. */
async function send (url, bodies) {
  const answers = [];
  for (const body of bodies) {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    answers.push({ body, status: response.status, text: await response.text() });
  }
  return answers;
}

module.exports = { notificationsOf, send, testNotificationOf };
