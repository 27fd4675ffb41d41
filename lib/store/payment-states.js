'use strict';

// From transactions to orders: what one transaction's news change, and what they make of its order.
// Pure functions.

const { advance, isPaid, transactionStates } = require('../clients/midtrans-states');

// States of an order, by the state of the transaction that counts.
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

// Of several transactions of an order, the one that says most about its money counts.
const RANKS = ['paid', 'partially_charged_back', 'partially_refunded', 'charged_back', 'refunded',
  'authorize', 'pending'];

const MINOR_DIGITS = 2;
const AMOUNT = /^(\d{1,15})(?:\.(\d{1,2}))?$/;

/** An amount as Midtrans writes it ("10000.00") in minor units; undefined if it is none. */
function minorOf (written) {
  if (typeof written !== 'string' && typeof written !== 'number') return undefined;
  const [, whole, fraction = ''] = AMOUNT.exec(String(written)) ?? [];
  return whole === undefined ? undefined : BigInt(whole + fraction.padEnd(MINOR_DIGITS, '0'));
}

/** What the order is about, without the fees that Midtrans may have added to it. */
function amountMinorOf (body) {
  const info = body.metadata?.extra_info?.gross_amount_info;
  return minorOf(info?.original_amount ?? body.gross_amount);
}

/** What has been given back so far. */
function refundedMinorOf (body) {
  const written = minorOf(body.refund_amount);
  if (written !== undefined) return written;
  const refunds = Array.isArray(body.refunds) ? body.refunds : [];
  return refunds.reduce((sum, refund) => sum + (minorOf(refund?.refund_amount) ?? 0n), 0n);
}

/**
 * What a status body or a notification says of a transaction.
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

/**
 * What news do to a transaction.
 * @param {{ state: string, fraud: string | null, refundedMinor: bigint } | undefined} known
 * @param {object} news of readTransaction
 * @param {boolean} confirmed whether they are Midtrans's answer to a question of ours
 * @returns {'changed' | 'stale' | 'refused'}
 */
function judge (known, news, confirmed) {
  const { verdict, changed } = advance(known?.state, news.state, { confirmed });
  if (changed || (confirmed && isDenial(known, news))) return 'changed';
  if (verdict !== 'same') return verdict === 'stale' ? 'stale' : 'refused';
  if (news.fraud !== known.fraud) return judgeFraud(known.fraud, news.fraud);
  return news.refundedMinor > known.refundedMinor ? 'changed' : 'stale';
}

/** A payment that was in doubt, and that the merchant has refused. */
const isDenial = (known, news) =>
  known?.state === 'capture' && known.fraud === 'challenge' && news.state === 'deny';

/** A doubt is removed or confirmed; it does not come back. */
function judgeFraud (known, news) {
  if (known === null || known === 'challenge') return news === null ? 'stale' : 'changed';
  return news === null || news === 'challenge' ? 'stale' : 'refused';
}

/**
 * How a claim stands to what Midtrans answers: 'agrees' (it is the same, or earlier), 'ahead' (the
 * answer may be late), 'contradicts'.
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

/** The state of an order that has this one transaction. */
function stateOf ({ state, fraud, statusCode }) {
  const paid = isPaid({
    transaction_status: state, fraud_status: fraud, status_code: statusCode,
  });
  if (paid) return 'paid';
  if (Object.hasOwn(ORDER_STATES, state)) return ORDER_STATES[state];
  // Captured or settled, but in doubt: the merchant has to decide.
  return fraud === 'deny' ? 'denied' : 'authorize';
}

/**
 * The state of an order.
 * @param {object[]} transactions oldest first, at least one
 * @returns {{ state: string, transaction: object, paidTwice: boolean }} `transaction`: the one
 *   that counts
 */
function derive (transactions) {
  const rated = transactions.map(transaction => ({ transaction, state: stateOf(transaction) }));
  const paidTwice = rated.filter(({ state }) => state === 'paid').length > 1;
  for (const rank of RANKS) {
    const found = rated.find(({ state }) => state === rank);
    if (found !== undefined) return { ...found, paidTwice };
  }
  return { ...rated.at(-1), paidTwice };
}

const isKnownState = state => transactionStates.includes(state);

module.exports = { compare, derive, isKnownState, judge, minorOf, readTransaction };
