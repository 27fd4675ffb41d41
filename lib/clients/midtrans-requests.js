'use strict';

// The requests of Midtrans's API: where each goes, its idempotency key, and how GET status shows
// whether it was carried out.

const crypto = require('node:crypto');

const { checkId, checkIncomingId, checkRefund, readBody } = require('./midtrans-input');
const { amountOf } = require('./midtrans-states');

// Midtrans silently ignores longer keys.
const KEY_CHARACTERS_MAX = 46;

/** The same for each attempt of a call, and for each call with the same input. */
function idempotencyKey (path, json = '') {
  return crypto.hash('sha256', `${path}\n${json}`, 'base64url').slice(0, KEY_CHARACTERS_MAX);
}

function coreRequest (operation, orderId, path, json, judge, more) {
  return {
    operation, orderId, path, json, judge, method: 'POST', mutating: true, core: true,
    idempotencyKey: idempotencyKey(path, json), ...more
  };
}

/** A transaction of this order: ours, unless the amount is another. */
function judgeCharge (amount) {
  return body => {
    // The order_id of a transaction that expired may be used again.
    if (body.transaction_status === 'expire') return 'again';
    const found = amountOf(body);
    return found === undefined || found === amount ? 'done' : 'conflict';
  };
}

const judgeState = (...states) => body =>
  (states.includes(body.transaction_status) ? 'done' : 'again');

const judges = {
  approve: body => (body.fraud_status === 'accept' ? 'done' : 'again'),
  deny: judgeState('deny'),
  cancel: judgeState('cancel'),
  expire: judgeState('expire'),
};

/** A refund that is listed. Some methods of payment do not list what they have given back. */
const judgeRefund = key => body => {
  const { refunds, transaction_status: state } = body;
  if (!Array.isArray(refunds)) return /refund$/.test(state) ? 'unclear' : 'again';
  return refunds.some(refund => refund?.refund_key === key) ? 'done' : 'again';
};

/**
 * A Snap page. GET status does not know it until the customer has chosen how to pay. Nothing here
 * relies on Snap honouring the idempotency key; where it does, a lost token comes back.
 */
function snapRequest (body) {
  const json = readBody('createTransaction', body);
  const path = '/snap/v1/transactions';
  return {
    operation: 'createTransaction', orderId: body.transaction_details.order_id, method: 'POST',
    path, json, mutating: true, core: false, idempotencyKey: idempotencyKey(path, json)
  };
}

function chargeRequest (body) {
  const json = readBody('charge', body);
  const { order_id: orderId, gross_amount: amount } = body.transaction_details;
  return coreRequest('charge', orderId, '/v2/charge', json, judgeCharge(amount));
}

function captureRequest (body) {
  const json = readBody('capture', body);
  return coreRequest('capture', body.transaction_id, '/v2/capture', json,
    judgeState('capture', 'settlement'));
}

/** approve, deny, cancel, expire. */
function changeRequest (operation, id) {
  checkId(operation, id);
  return coreRequest(operation, id, `/v2/${id}/${operation}`, undefined, judges[operation]);
}

/** Without a refund_key of the caller's, each call is a refund of its own. */
function refundRequest (operation, id, body = {}) {
  checkRefund(operation, id, body);
  const refundKey = body.refund_key ?? `sekering-${crypto.randomUUID()}`;
  const json = JSON.stringify({ ...body, refund_key: refundKey });
  const path = `/v2/${id}/refund${operation === 'directRefund' ? '/online/direct' : ''}`;
  return coreRequest(operation, id, path, json, judgeRefund(refundKey), { refundKey });
}

function statusRequest (id) {
  checkIncomingId('status', id);
  return {
    operation: 'status', orderId: id, method: 'GET', path: `/v2/${encodeURIComponent(id)}/status`,
    json: undefined, mutating: false, core: true
  };
}

module.exports = {
  captureRequest, changeRequest, chargeRequest, refundRequest, snapRequest, statusRequest
};
