'use strict';

// The states of transactions and orders: what Midtrans may change, and what an order becomes.
// Pure functions.

const { advance, isPaid, transactionStates } = require('../clients/midtrans-states');

/** The states in which an order can be recorded. */
const FIRST_STATES = ['queued', 'created', 'unknown'];

const STATES = [...FIRST_STATES, 'pending', 'authorize', 'paid', 'denied', 'cancelled', 'expired',
  'failed', 'partially_refunded', 'refunded', 'partially_charged_back', 'charged_back'];

// An order's state for each state of the transaction that counts.
const ORDER_STATES = {
  pending: 'pending',
  authorize: 'authorize',
  deny: 'denied',
  cancel: 'cancelled',
  expire: 'expired',
  failure: 'failed',
  partial_refund: 'partially_refunded',
  refund: 'refunded',
  partial_chargeback: 'partially_charged_back',
  chargeback: 'charged_back',
};

// If an order has several transactions, the one that says most about its money counts.
const PRECEDENCE = ['paid', 'partially_charged_back', 'partially_refunded', 'charged_back',
  'refunded', 'authorize', 'pending'];

// How much is known about an order that has no page yet.
const KNOWLEDGE = { failed: 0, queued: 1, unknown: 2, created: 3 };

const MINOR_DIGITS = 2;
const AMOUNT = /^(\d{1,15})(?:\.(\d{1,2}))?$/;

// ---- What Midtrans says ------------------------------------------------------------------------

/** An amount as Midtrans writes it ("10000.00"), in minor units; undefined if it is invalid. */
function minorOf (written) {
  if (typeof written !== 'string' && typeof written !== 'number') return undefined;
  const [, whole, fraction = ''] = AMOUNT.exec(String(written)) ?? [];
  return whole === undefined ? undefined : BigInt(whole + fraction.padEnd(MINOR_DIGITS, '0'));
}

/** The amount of the order, without the fees that Midtrans may have added. */
function amountMinorOf (body) {
  const info = body.metadata?.extra_info?.gross_amount_info;
  return minorOf(info?.original_amount ?? body.gross_amount);
}

/** What has been refunded so far. */
function refundedMinorOf (body) {
  const written = minorOf(body.refund_amount);
  if (written !== undefined) return written;
  const refunds = Array.isArray(body.refunds) ? body.refunds : [];
  return refunds.reduce((sum, refund) => sum + (minorOf(refund?.refund_amount) ?? 0n), 0n);
}

/**
 * The transaction that a status body or a notification describes.
 * @returns {{ transactionId: string, state: string, fraud: string | null, statusCode: string,
 *   grossAmount: string, amountMinor: bigint | undefined, refundedMinor: bigint, currency: string,
 *   paymentType: string | null, orderId: string }}
 */
function readTransaction (body) {
  return {
    transactionId: body.transaction_id,
    orderId: body.order_id,
    state: body.transaction_status,
    fraud: body.fraud_status ?? null,
    statusCode: String(body.status_code),
    grossAmount: String(body.gross_amount),
    amountMinor: amountMinorOf(body),
    refundedMinor: refundedMinorOf(body),
    currency: body.currency ?? 'IDR',
    paymentType: typeof body.payment_type === 'string' ? body.payment_type : null,
  };
}

const isKnownState = state => transactionStates.includes(state);

// ---- Transactions ------------------------------------------------------------------------------

/**
 * Whether a transaction of an order may become what Midtrans says it is.
 * @param {object} order
 * @param {object | undefined} known the transaction so far
 * @param {object} incoming of readTransaction
 * @param {{ confirmed: boolean, force?: boolean }} options confirmed: Midtrans answered a question
 *   of ours; force: a person has decided, so neither the amount nor the state machine is checked
 * @returns {{ changed: boolean, fault?: string }} fault: why a person has to look at it
 */
function judge (order, known, incoming, { confirmed, force = false }) {
  if (known !== undefined && known.orderId !== order.orderId) {
    return { changed: false, fault: 'other_order' };
  }
  if (force) return { changed: true };
  const verdict = judgeState(known, incoming, confirmed);
  if (verdict === 'stale') return { changed: false };
  const fault = verdict === 'refused' ? 'edge' : differenceOf(order, incoming);
  return { changed: fault === undefined, fault };
}

function differenceOf (order, { amountMinor, currency }) {
  if (amountMinor !== order.amountMinor) return 'amount';
  return currency === order.currency ? undefined : 'currency';
}

/** @returns {'changed' | 'stale' | 'refused'} */
function judgeState (known, incoming, confirmed) {
  const { verdict, changed } = advance(known?.state, incoming.state, { confirmed });
  if (changed || (confirmed && isDenial(known, incoming))) return 'changed';
  if (verdict !== 'same') return verdict === 'stale' ? 'stale' : 'refused';
  if (incoming.fraud !== known.fraud) return judgeFraud(known.fraud, incoming.fraud);
  return incoming.refundedMinor > known.refundedMinor ? 'changed' : 'stale';
}

/** Whether the merchant has refused a payment that was challenged. */
const isDenial = (known, incoming) =>
  known?.state === 'capture' && known.fraud === 'challenge' && incoming.state === 'deny';

/** A challenge is accepted or denied; it does not come back. */
function judgeFraud (known, incoming) {
  if (known === null || known === 'challenge') return incoming === null ? 'stale' : 'changed';
  return incoming === null || incoming === 'challenge' ? 'stale' : 'refused';
}

/**
 * Compares what a notification claims with what Midtrans answers: 'agrees' (the claim is the same,
 * or earlier), 'ahead' (the answer may be late), 'contradicts'.
 */
function compare (claim, truth) {
  if (claim.state === truth.state) {
    const doubted = claim.fraud === 'accept' && truth.fraud !== 'accept' && truth.fraud !== null;
    return doubted ? 'ahead' : 'agrees';
  }
  if (leads(claim, truth)) return 'agrees';
  return leads(truth, claim) ? 'ahead' : 'contradicts';
}

const leads = (from, to) => isDenial(from, to) ||
  advance(from.state, to.state, { confirmed: true }).changed;

// ---- Orders ------------------------------------------------------------------------------------

/** The state of an order that has only this transaction. */
function stateOf ({ state, fraud, statusCode }) {
  const paid = isPaid({
    transaction_status: state, fraud_status: fraud, status_code: statusCode,
  });
  if (paid) return 'paid';
  if (Object.hasOwn(ORDER_STATES, state)) return ORDER_STATES[state];
  // Captured or settled, but challenged: the merchant must decide.
  return fraud === 'deny' ? 'denied' : 'authorize';
}

/**
 * What an order is, given its transactions.
 * @param {object[]} transactions oldest first, at least one
 * @returns {{ state: string, transactionId: string, refundedMinor: bigint, paidTwice: boolean }}
 *   transactionId: of the transaction that counts
 */
function deriveOrder (transactions) {
  const rated = transactions.map(transaction => ({ ...transaction, state: stateOf(transaction) }));
  const counts = PRECEDENCE.map(state => rated.find(each => each.state === state)).find(Boolean) ??
    rated.at(-1);
  return {
    state: counts.state,
    transactionId: counts.transactionId,
    refundedMinor: transactions.reduce((sum, { refundedMinor }) => sum + refundedMinor, 0n),
    paidTwice: rated.filter(({ state }) => state === 'paid').length > 1,
  };
}

/** Whether a page may still be made for an order. */
const isUnmade = order => order.state === 'queued' || order.state === 'unknown' ||
  (order.state === 'failed' && order.transactionId === null && order.token === null);

/** Whether an order expires with its page: the customer has not begun to pay. */
const canExpire = ({ state }) => state === 'created' || state === 'unknown';

/**
 * What an order takes over when it is recorded again.
 * @param {object} order as it is
 * @param {{ state: string, body: string | null, token: string | null }} again
 * @returns {{ body: boolean, page: boolean, state: boolean }}
 */
function recordAgain (order, { state, body, token }) {
  // Midtrans accepts the id of an expired order again.
  const isReopened = order.state === 'expired';
  return {
    body: body !== null && (isReopened || isUnmade(order)),
    page: token !== null || isReopened,
    state: isReopened || (isUnmade(order) && KNOWLEDGE[state] > KNOWLEDGE[order.state]),
  };
}

module.exports = {
  FIRST_STATES, STATES, compare, deriveOrder, isKnownState, isUnmade, canExpire, judge, minorOf,
  readTransaction, recordAgain,
};
