'use strict';

// The notifications of Midtrans: what each is about, and whether its signature is right. All
// signatures are compared in constant time.

const { createHash, timingSafeEqual } = require('node:crypto');

const { copyOf } = require('../base/foreign');
const { isObject } = require('./client-error');
const { parseJson } = require('./http');
const { isIncomingId } = require('./midtrans-requests');

const STATUS_CODE = /^[2-5]\d\d$/;
const GROSS_AMOUNT = /^(0|[1-9]\d{0,14})\.\d\d$/;
const ACCOUNT_STATUS = /^[A-Z_]{1,32}$/i;
const SIGNATURE = /^[0-9a-fA-F]{128}$/;

const isText = (value, pattern) => typeof value === 'string' && pattern.test(value);

/** Whether a text is the SHA-512, in hex, of these parts joined. */
function isDigest (signature, ...parts) {
  if (!isText(signature, SIGNATURE)) return false;
  const hash = createHash('sha512');
  for (const part of parts) hash.update(part);
  return timingSafeEqual(hash.digest(), Buffer.from(signature, 'hex'));
}

// ---- Signatures --------------------------------------------------------------------------------

/**
 * Whether the signature of a notification about a transaction is right.
 *
 * The signature covers order_id, status_code and gross_amount, joined without separators, and
 * nothing else: a true notice of a cancellation can be rewritten to one of a settlement and still
 * verifies, and digits can move from one part to the next where the grammar of the parts allows it.
 * So a right signature says that Midtrans has sent something, not what has happened.
 */
function isSignedTransaction (notification, serverKey, pattern) {
  const {
    order_id: orderId, status_code: statusCode, gross_amount: amount, signature_key: signature
  } = copyOf(notification);
  return isIncomingId(orderId) && isText(statusCode, STATUS_CODE) &&
    isText(amount, GROSS_AMOUNT) && (pattern === undefined || pattern.test(orderId)) &&
    isDigest(signature, orderId, statusCode, amount, serverKey);
}

/**
 * Whether the signature of a notification about a linked account is right. No text can be both this
 * and that of a transaction, which ends with an amount, not with a status code.
 */
function isSignedAccount (notification, serverKey) {
  const {
    account_id: id, account_status: status, status_code: statusCode, signature_key: signature
  } = copyOf(notification);
  return isIncomingId(id) && isText(status, ACCOUNT_STATUS) && isText(statusCode, STATUS_CODE) &&
    isDigest(signature, id, status, statusCode, serverKey);
}

/** Whether the header Iris-Signature of a notification about a payout is right. */
const isSignedPayout = (bytes, signature, merchantKey) => isDigest(signature, bytes, merchantKey);

/** A notification as an object; it may come as JSON. */
const bodyOf = notification =>
  copyOf(typeof notification === 'string' ? parseJson(notification) : notification);

// ---- Kinds -------------------------------------------------------------------------------------

const has = (body, ...names) => names.every(name => body[name] !== undefined);

// In this order. `id`: what the notice is about.
const KINDS = {
  transaction: {
    fits: body => has(body, 'order_id', 'gross_amount', 'signature_key'),
    id: body => body.order_id,
  },
  payout: {
    // A top-up of Iris has no reference_no.
    fits: body => has(body, 'status') && (has(body, 'reference_no') || body.status === 'topup'),
    id: body => body.reference_no ?? body.order_id,
  },
  subscription: {
    fits: body => isObject(body.subscription) || (isObject(body.schedule) && has(body, 'id')),
    id: body => (body.subscription ?? body).id,
  },
  account: {
    fits: body => has(body, 'account_id', 'account_status'),
    id: body => body.account_id,
  },
  // One that lacks something, so that it can be said what.
  incomplete: {
    fits: body => ['order_id', 'transaction_id', 'transaction_status', 'gross_amount']
      .some(name => has(body, name)),
  },
  unknown: {
    fits: body => ['status_code', 'merchant_id', 'signature_key']
      .some(name => typeof body[name] === 'string'),
    id: () => undefined,
  },
};

/**
 * What a notification is about.
 * @param {unknown} body
 * @returns {{ kind: 'payout' | 'subscription' | 'account' | 'unknown', id?: string } | undefined}
 *   undefined: it is about a transaction, or it is none of Midtrans's
 */
function noticeOf (body) {
  if (!isObject(body)) return undefined;
  const kind = Object.keys(KINDS).find(name => KINDS[name].fits(body));
  if (kind === undefined || kind === 'transaction' || kind === 'incomplete') return undefined;
  const id = KINDS[kind].id(body);
  return { kind, id: isIncomingId(id) ? id : undefined };
}

const TEST_ID = /^payment_notif_test_/;
// A payment link's order has the link's id and the time, in seconds or milliseconds.
const LINK_ID = /.-1\d{9}(?:\d{3})?$/;

/** What a transaction may be about whose order is not ours, to judge by its id. */
function foreignKindOf (orderId) {
  if (TEST_ID.test(orderId)) return 'test';
  if (orderId.startsWith('SUBS-')) return 'subscription';
  return LINK_ID.test(orderId) ? 'payment_link' : 'unknown_order';
}

const SIGNED = {
  transaction: ['order_id', 'status_code', 'gross_amount'],
  account: ['account_id', 'account_status', 'status_code'],
};

/** The fields that the signature of a notice covers. Anybody may have changed the others. */
const signedOf = (kind, body) => Object.fromEntries(SIGNED[kind].map(name => [name, body[name]]));

const AMOUNT_DIGITS = 2;

/**
 * The body with its signed fields as texts, which is how Midtrans writes and signs them. Some
 * parsers make numbers of them.
 */
function withTexts (body) {
  const { order_id: id, account_id: account, status_code: code, gross_amount: amount } = body;
  return {
    ...body,
    ...Number.isSafeInteger(id) && { order_id: String(id) },
    ...Number.isSafeInteger(account) && { account_id: String(account) },
    ...Number.isSafeInteger(code) && { status_code: String(code) },
    ...Number.isFinite(amount) && { gross_amount: amount.toFixed(AMOUNT_DIGITS) },
  };
}

module.exports = {
  bodyOf, foreignKindOf, isSignedAccount, isSignedPayout, isSignedTransaction, noticeOf, signedOf,
  withTexts,
};
