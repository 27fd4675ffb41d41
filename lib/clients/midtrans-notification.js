'use strict';

// The signature of Midtrans's notifications.
//
// It covers order_id, status_code and gross_amount, joined without separators, and nothing else: a
// true notice of a cancellation can be rewritten to one of a settlement and still verifies, and
// digits can move from one part to the next where the grammar of the parts allows it. A signature
// that is right therefore says that Midtrans has sent something, not what has happened.

const { createHash, timingSafeEqual } = require('node:crypto');

const { isIncomingId } = require('./midtrans-input');

const STATUS_CODE = /^[2-5]\d\d$/;
const GROSS_AMOUNT = /^(0|[1-9]\d{0,14})\.\d\d$/;
const SIGNATURE = /^[0-9a-fA-F]{128}$/;

const isText = (value, pattern) => typeof value === 'string' && pattern.test(value);

/**
 * Whether the signature of a notification is right. Takes the same time for every wrong signature.
 * @param {unknown} notification the body, parsed
 * @param {string} serverKey
 * @param {(orderId: string) => boolean} isOurs tells the form of this shop's own order ids
 */
function isSigned (notification, serverKey, isOurs) {
  const {
    order_id: orderId, status_code: statusCode, gross_amount: amount, signature_key: signature
  } = notification ?? {};
  const fits = isIncomingId(orderId) && isText(statusCode, STATUS_CODE) &&
    isText(amount, GROSS_AMOUNT) && isText(signature, SIGNATURE) && isOurs(orderId);
  if (!fits) return false;
  const expected = createHash('sha512').update(orderId + statusCode + amount + serverKey).digest();
  return timingSafeEqual(expected, Buffer.from(signature, 'hex'));
}

module.exports = { isSigned };
