'use strict';

// What payments are given, at the door.

const { invalidOption } = require('../base/errors');
const { bag, boolean, func, number, oneOf } = require('../base/options');
const { isOrderId, readBody } = require('../clients/midtrans-input');
const { OUTCOMES } = require('./payment-ledger');
const { minorOf } = require('./payment-states');

const BODY_BYTES = 65_536;
const BODY_BYTES_MAX = 16 << 20;
const AMOUNT_MAX = 10n ** 17n;
const CURRENCY = 'IDR';
const TEXT_CHARACTERS_MAX = 2000;
const AGE_MS_MAX = 366 * 86_400_000;

const HOOKS = ['onPaid', 'onFailed', 'onRefunded', 'onTransition'];
const OPTIONS = ['midtrans', 'maxBody', 'confirm', 'hooks'];
const FIRST_STATES = ['queued', 'created', 'unknown'];
const STATES = [...FIRST_STATES, 'pending', 'authorize', 'paid', 'denied', 'cancelled', 'expired',
  'failed', 'partially_refunded', 'refunded', 'partially_charged_back', 'charged_back'];

const optional = (value, check) => (value === undefined || value === null ? null : check(value));

function text (option, value, max = TEXT_CHARACTERS_MAX) {
  const fits = typeof value === 'string' && value !== '' && value.length <= max &&
    !value.includes('\0');
  if (!fits) throw invalidOption(option, `a text of 1 to ${max} characters`, value);
  return value;
}

/** PaymentsOptions with their defaults. */
function readOptions (options) {
  const given = bag('payments', options, OPTIONS);
  const { midtrans, maxBody = BODY_BYTES, confirm = true } = given;
  number('maxBody', maxBody, { min: 1024, max: BODY_BYTES_MAX, integer: true, unit: 'bytes' });
  boolean('confirm', confirm);
  if (midtrans !== undefined) {
    for (const name of ['verifyNotification', 'status', 'createTransaction']) {
      func(`midtrans.${name}`, midtrans?.[name]);
    }
  }
  const hooks = bag('hooks', given.hooks, HOOKS);
  for (const [name, hook] of Object.entries(hooks)) if (hook !== undefined) func(name, hook);
  return { midtrans, maxBody, confirm, hooks };
}

function readOrderId (option, value) {
  if (!isOrderId(value)) {
    throw invalidOption(option, '1 to 50 characters of A-Z a-z 0-9 - _ ~ .', value);
  }
  return value;
}

function readAmount (value) {
  const amount = Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof amount !== 'bigint' || amount < 1n || amount > AMOUNT_MAX) {
    throw invalidOption('amountMinor', `an integer from 1 to ${AMOUNT_MAX}`, value,
      typeof amount === 'bigint' ? RangeError : TypeError);
  }
  return amount;
}

function readCurrency (value) {
  if (typeof value !== 'string' || !/^[A-Z]{3}$/.test(value)) {
    throw invalidOption('currency', 'three letters A-Z', value);
  }
  return value;
}

/** The body for Midtrans as JSON; it has to be about this order. */
function readOrderBody (orderId, amountMinor, body) {
  const json = readBody('createTransaction', body);
  const { order_id: id, gross_amount: amount } = body.transaction_details;
  if (id !== orderId) throw invalidOption('body', `the order ${orderId} in it`, id);
  if (minorOf(amount) !== amountMinor) {
    throw invalidOption('body', `a gross_amount of ${amountMinor} minor units`, amount, RangeError);
  }
  return json;
}

/** What createOrder is given, as the ledger takes it. */
function readOrder (order) {
  const { orderId, currency = CURRENCY, state = 'created', token, redirectUrl, body } =
    bag('order', order);
  readOrderId('orderId', orderId);
  const amountMinor = readAmount(order.amountMinor);
  oneOf('state', state, FIRST_STATES);
  if (state === 'queued' && body === undefined) throw invalidOption('body', 'an object', body);
  return {
    orderId, amountMinor, state,
    currency: readCurrency(currency),
    body: optional(body, value => readOrderBody(orderId, amountMinor, value)),
    token: optional(token, value => text('token', value)),
    redirectUrl: optional(redirectUrl, value => text('redirectUrl', value)),
  };
}

/** An order that is given as what Midtrans is asked for, as the ledger takes it. */
function readOrderOf (body, state) {
  const json = readBody('createTransaction', body);
  const { order_id: orderId, gross_amount: amount } = body.transaction_details;
  return {
    orderId, amountMinor: readAmount(minorOf(amount)), state, currency: CURRENCY, body: json,
    token: null, redirectUrl: null,
  };
}

function readFilter (filter) {
  const given = bag('filter', filter, ['state', 'held', 'search', 'before', 'limit']);
  const { state, held, search, before, limit = 100 } = given;
  if (state !== undefined) oneOf('state', state, STATES);
  if (held !== undefined) boolean('held', held);
  if (search !== undefined) text('search', search, 100);
  if (before !== undefined) readOrderId('before', before);
  number('limit', limit, { min: 1, max: 1000, integer: true });
  return { state, held, search, before, limit };
}

function readEventFilter (filter) {
  const given = bag('filter', filter, ['outcome', 'before', 'limit']);
  const { outcome, before, limit = 100 } = given;
  if (outcome !== undefined) oneOf('outcome', outcome, OUTCOMES);
  if (before !== undefined && !/^\d{1,18}$/.test(before)) {
    throw invalidOption('before', "an event's id", before);
  }
  number('limit', limit, { min: 1, max: 1000, integer: true });
  return { outcome, before, limit };
}

function readReconcile (options) {
  const { olderThan = 900_000, limit = 100 } = bag('options', options);
  number('olderThan', olderThan, { min: 0, max: AGE_MS_MAX, unit: 'ms' });
  number('limit', limit, { min: 1, max: 10_000, integer: true });
  return { olderThan, limit };
}

function readReview (orderId, decision, options) {
  readOrderId('orderId', orderId);
  oneOf('decision', decision, ['apply', 'dismiss']);
  const { by, reason } = bag('options', options);
  return { by: text('by', by, 100), reason: text('reason', reason) };
}

/** The bytes of a body; a parsed object will do as well, since Midtrans signs fields. */
function readBytes (rawBody) {
  if (typeof rawBody === 'string') return Buffer.from(rawBody);
  if (rawBody instanceof Uint8Array) {
    return Buffer.from(rawBody.buffer, rawBody.byteOffset, rawBody.byteLength);
  }
  if (typeof rawBody === 'object' && rawBody !== null) return bytesOf(rawBody);
  throw invalidOption('rawBody', 'a body as bytes, text or a parsed object', rawBody);
}

function bytesOf (parsed) {
  try {
    return Buffer.from(JSON.stringify(parsed));
  } catch {
    throw invalidOption('rawBody', 'an object that JSON can express', parsed);
  }
}

module.exports = {
  readBytes, readEventFilter, readFilter, readOptions, readOrder, readOrderId, readOrderOf,
  readReconcile, readReview
};
