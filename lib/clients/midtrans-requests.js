'use strict';

// The requests of Midtrans's API: what each may contain, where it goes, its idempotency key, and
// how GET status shows whether it was carried out. What Midtrans would reject or misunderstand is
// rejected here.

const crypto = require('node:crypto');

const { messageOf } = require('../base/foreign');
const { Faults, isObject, readInput } = require('./client-error');
const { amountOf } = require('./midtrans-states');

// ---- Input -------------------------------------------------------------------------------------

const ORDER_ID = /^[A-Za-z0-9\-_~.]{1,50}$/;
const ORDER_ID_TEXT = '1 to 50 characters of A-Z a-z 0-9 - _ ~ .';
const TEXT_CHARACTERS_MAX = 255;
const ITEMS_MAX = 10_000;

// As segments of a path, these two name another place.
const isOrderId = value =>
  typeof value === 'string' && ORDER_ID.test(value) && value !== '.' && value !== '..';

// Ids in what Midtrans tells may be of other systems of its account, and of any form.
const INCOMING_ID = /^[^\p{C}\p{Zl}\p{Zp}]{1,255}$/u;
const INCOMING_ID_TEXT = '1 to 255 printable characters, neither . nor ..';

const isIncomingId = value => typeof value === 'string' && INCOMING_ID.test(value);

/** Whether an id can be one segment of a path, once it is encoded: no encoding hides these two. */
const isSegment = value => isIncomingId(value) && value !== '.' && value !== '..';

const isAmount = value => Number.isSafeInteger(value) && value >= 1;

function checkOrderId (faults, path, value) {
  if (!isOrderId(value)) faults.add(path, ORDER_ID_TEXT, value);
}

function checkAmount (faults, path, value) {
  if (!isAmount(value)) faults.add(path, 'an integer of at least 1', value);
}

function checkText (faults, path, value) {
  const fits = typeof value === 'string' && value !== '' && value.length <= TEXT_CHARACTERS_MAX;
  if (!fits) faults.add(path, `1 to ${TEXT_CHARACTERS_MAX} characters`, value);
}

function checkItems (faults, items, amount) {
  if (!Array.isArray(items) || items.length === 0 || items.length > ITEMS_MAX) {
    faults.add('item_details', `an array of 1 to ${ITEMS_MAX} items`, items);
    return;
  }
  let sum = 0;
  for (const [i, item] of items.entries()) {
    if (!isObject(item)) {
      faults.add(`item_details[${i}]`, 'an object', item);
      continue;
    }
    const { price, quantity } = item;
    // A discount is an item with a negative price.
    if (!Number.isSafeInteger(price)) {
      faults.add(`item_details[${i}].price`, 'an integer', price);
    }
    if (!isAmount(quantity)) {
      faults.add(`item_details[${i}].quantity`, 'an integer of at least 1', quantity);
    }
    sum += price * quantity;
  }
  if (isAmount(amount) && Number.isFinite(sum) && sum !== amount) {
    faults.add('transaction_details.gross_amount', `the sum of item_details (${sum})`, amount);
  }
}

function checkOrder (faults, body) {
  const details = body.transaction_details;
  if (!isObject(details)) {
    faults.add('transaction_details', 'an object', details);
    return;
  }
  checkOrderId(faults, 'transaction_details.order_id', details.order_id);
  checkAmount(faults, 'transaction_details.gross_amount', details.gross_amount);
  if (body.item_details !== undefined) checkItems(faults, body.item_details, details.gross_amount);
}

/** The body as it will be sent; undefined, and a fault, if it cannot be. */
function toJson (faults, body) {
  try {
    return JSON.stringify(body);
  } catch (error) {
    faults.add('body', `an object that JSON can express (${messageOf(error)})`, body);
    return undefined;
  }
}

const checks = {
  createTransaction: checkOrder,

  charge (faults, body) {
    checkText(faults, 'payment_type', body.payment_type);
    checkOrder(faults, body);
  },

  capture (faults, body) {
    checkOrderId(faults, 'transaction_id', body.transaction_id);
    checkAmount(faults, 'gross_amount', body.gross_amount);
  },
};

/** Checks an order_id or transaction_id. */
function checkId (call, id) {
  const faults = new Faults(call);
  checkOrderId(faults, 'id', id);
  faults.throwIfAny();
}

/** Checks an id that may be from Midtrans. */
function checkIncomingId (call, id) {
  const faults = new Faults(call);
  if (!isSegment(id)) faults.add('id', INCOMING_ID_TEXT, id);
  faults.throwIfAny();
}

/** Checks a refund, all of whose fields are optional. */
function checkRefund (call, id, body) {
  const faults = new Faults(call);
  checkOrderId(faults, 'id', id);
  if (!isObject(body)) faults.add('body', 'an object', body);
  const { refund_key: key, amount, reason } = isObject(body) ? body : {};
  if (key !== undefined) checkText(faults, 'refund_key', key);
  if (amount !== undefined) checkAmount(faults, 'amount', amount);
  if (reason !== undefined) checkText(faults, 'reason', reason);
  faults.throwIfAny();
}

/** Checks the body of the call of this name, and makes JSON of it. */
function readBody (call, body) {
  return readInput(call, 'body', () => {
    const faults = new Faults(call);
    let json;
    if (isObject(body)) {
      checks[call](faults, body);
      json = toJson(faults, body);
    } else {
      faults.add('body', 'an object', body);
    }
    faults.throwIfAny();
    return json;
  });
}

// ---- Requests ----------------------------------------------------------------------------------

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
  const { order_id: orderId } = JSON.parse(json).transaction_details;
  return {
    operation: 'createTransaction', orderId, method: 'POST',
    path, json, mutating: true, core: false, idempotencyKey: idempotencyKey(path, json)
  };
}

function chargeRequest (body) {
  const json = readBody('charge', body);
  const { order_id: orderId, gross_amount: amount } = JSON.parse(json).transaction_details;
  return coreRequest('charge', orderId, '/v2/charge', json, judgeCharge(amount));
}

function captureRequest (body) {
  const json = readBody('capture', body);
  return coreRequest('capture', JSON.parse(json).transaction_id, '/v2/capture', json,
    judgeState('capture', 'settlement'));
}

/** approve, deny, cancel, expire. */
function changeRequest (operation, id) {
  checkId(operation, id);
  return coreRequest(operation, id, `/v2/${id}/${operation}`, undefined, judges[operation]);
}

/** Without a refund_key of the caller's, each call is a refund of its own. */
function refundRequest (operation, id, body = {}) {
  const [refundKey, json] = readInput(operation, 'body', () => {
    checkRefund(operation, id, body);
    const key = body.refund_key ?? `sekering-${crypto.randomUUID()}`;
    return [key, JSON.stringify({ ...body, refund_key: key })];
  });
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
  captureRequest, changeRequest, chargeRequest, isIncomingId, isOrderId, isSegment, readBody,
  refundRequest, snapRequest, statusRequest,
};
