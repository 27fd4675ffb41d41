'use strict';

// The body of a notification, read with mistrust: its size, its bytes, its grammar. Whether it is
// signed, and whether it is true, is asked later.

const { createHash } = require('node:crypto');

const { isIncomingId } = require('../clients/midtrans-input');

const UNSIGNED_BYTES_KEPT = 4096;
const REFUNDS_MAX = 1000;

const text = (value, pattern) => typeof value === 'string' && pattern.test(value);
const optional = (value, pattern) => value === undefined || value === null || text(value, pattern);

// Each field that is acted upon, and its grammar. The signature's is the client's matter: whatever
// is wrong with it, the notification is a forged one.
const GRAMMAR = {
  // They may be of another system of the same account.
  order_id: isIncomingId,
  transaction_id: isIncomingId,
  status_code: value => text(value, /^\d{3}$/),
  gross_amount: value => text(value, /^\d{1,15}\.\d{2}$/),
  transaction_status: value => text(value, /^[a-z_]{1,32}$/),
  fraud_status: value => optional(value, /^[a-z_]{1,32}$/),
  currency: value => optional(value, /^[A-Z]{3}$/),
  refunds: value => value === undefined || value === null ||
    (Array.isArray(value) && value.length <= REFUNDS_MAX),
};

const sha256 = data => createHash('sha256').update(data).digest('hex');

/** What is the same for all copies of one piece of news. */
function fingerprintOf (body) {
  const refunds = (body.refunds ?? null) && sha256(JSON.stringify(body.refunds));
  const parts = [body.order_id, body.transaction_id, body.transaction_status,
    body.fraud_status ?? null, String(body.status_code), String(body.gross_amount), refunds];
  return `signed:${sha256(JSON.stringify(parts))}`;
}

function parse (bytes) {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}

function faultOf (body) {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return 'not_json';
  return Object.keys(GRAMMAR).find(name => !GRAMMAR[name](body[name]));
}

/**
 * Reads a notification.
 * @param {Buffer} bytes
 * @param {number} maxBody
 * @returns {{ event: object, body?: object, fault?: string }} `event` is what anybody may have
 *   sent; `fault`: why it is no notification: 'too_large', 'not_json', or the name of a field
 */
function readNotification (bytes, maxBody) {
  const event = {
    source: 'notification', orderId: null, transactionId: null, transactionStatus: null, bytes,
  };
  if (bytes.length > maxBody) return { event, fault: 'too_large' };
  const body = parse(bytes);
  const fault = faultOf(body);
  if (fault !== undefined) return { event, fault };
  Object.assign(event, {
    orderId: body.order_id, transactionId: body.transaction_id,
    transactionStatus: body.transaction_status,
  });
  return { event, body };
}

/** The same event, once its signature has been verified. */
const signedEvent = (event, body) => ({ ...event, fingerprint: fingerprintOf(body) });

/**
 * The same event, of which only what is signed can be believed: whoever has seen one notification
 * can change the rest as often as he likes, and it is one event all the same.
 * @param {string} why
 */
function coarseEvent (event, body, why) {
  const parts = [body.order_id, String(body.status_code), String(body.gross_amount)];
  return { ...event, fingerprint: `${why}:${sha256(JSON.stringify(parts))}` };
}

/** What GET status said, as an event: of the same fingerprint as the notification about it. */
function statusEvent (body) {
  return {
    source: 'status', fingerprint: fingerprintOf(body), orderId: body.order_id,
    transactionId: body.transaction_id, transactionStatus: body.transaction_status,
    bytes: Buffer.from(JSON.stringify(body)),
  };
}

/** Whether an answer of GET status can be worked with. */
const isStatus = body => isIncomingId(body?.transaction_id) && isIncomingId(body.order_id) &&
  typeof body.transaction_status === 'string';

module.exports = {
  UNSIGNED_BYTES_KEPT, coarseEvent, isStatus, readNotification, signedEvent, statusEvent
};
