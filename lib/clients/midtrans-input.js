'use strict';

// Checks of the input of calls: rejects what Midtrans would reject or misunderstand.

const { Faults } = require('./input');

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

const isObject = value => typeof value === 'object' && value !== null && !Array.isArray(value);
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
    faults.add('body', `an object that JSON can express (${error.message})`, body);
    return undefined;
  }
}

/** Checks a body with `check`, and makes JSON of it. */
function checkBody (call, body, check) {
  const faults = new Faults(call);
  let json;
  if (isObject(body)) {
    check(faults, body);
    json = toJson(faults, body);
  } else {
    faults.add('body', 'an object', body);
  }
  faults.throwIfAny();
  return json;
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

/** Checks an id that Midtrans may have told us. */
function checkIncomingId (call, id) {
  const faults = new Faults(call);
  if (!isSegment(id)) faults.add('id', INCOMING_ID_TEXT, id);
  faults.throwIfAny();
}

/** Checks what a refund is given, all of which may be left out. */
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

/**
 * Checks the body of a call that is named after it.
 * @returns {string} the body as JSON
 * @throws {TypeError} ERR_INVALID_INPUT
 */
const readBody = (call, body) => checkBody(call, body, checks[call]);

module.exports = {
  ORDER_ID, checkId, checkIncomingId, checkRefund, isIncomingId, isOrderId, isSegment, readBody
};
