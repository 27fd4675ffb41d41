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

// The shop has at least a part of the money.
const HAS_MONEY = ['paid', 'partially_charged_back', 'partially_refunded'];
// The order can no longer be paid.
const FAILED = ['denied', 'cancelled', 'expired', 'failed'];
// Money goes back: states of transactions.
const RETURNED = ['partial_refund', 'refund', 'partial_chargeback', 'chargeback'];

// How much is known about an order that has no page yet.
const KNOWLEDGE = { failed: 0, queued: 1, unknown: 2, created: 3 };

const MINOR_DIGITS = 2;
const TIME = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/;
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

/** The refunds of a body; the id of one is the same in all bodies. */
function refundsOf (body) {
  if (!Array.isArray(body.refunds)) return [];
  return body.refunds.map(refund => {
    const { refund_key: key, refund_chargeback_id: id, created_at: at } = Object(refund);
    const amountMinor = minorOf(refund?.refund_amount) ?? 0n;
    const known = [key, id].find(value => typeof value === 'string' || typeof value === 'number');
    return {
      id: String(known ?? `${at}:${amountMinor}`), amountMinor,
      key: typeof key === 'string' ? key : null,
    };
  });
}

const sumOf = refunds => refunds.reduce((sum, { amountMinor }) => sum + amountMinor, 0n);
const maxOf = (a, b) => (a > b ? a : b);
const minOf = (a, b) => (a < b ? a : b);

/** What a body says was refunded and charged back so far; undefined if it does not say. */
function returnedOf (body) {
  const refunds = refundsOf(body);
  const refundedMinor = maxOf(minorOf(body.refund_amount) ?? 0n, sumOf(refunds));
  return {
    refunds,
    refundedMinor: refundedMinor || undefined,
    chargedBackMinor: minorOf(body.chargeback_amount) || undefined,
  };
}

/**
 * The sums of a transaction after news of it. They never get less, and each is never more than what
 * was paid; together they are more if a bank took what was refunded. What the news does not say
 * stays as it was; a full refund or chargeback without an amount is all that was left.
 * @returns {{ refundedMinor: bigint, chargedBackMinor: bigint | undefined }} chargedBackMinor:
 *   undefined if no chargeback is known, 0n if its amount is unknown
 */
function sumsOf (known, { state, grossAmount, ...incoming }) {
  const paid = minorOf(grossAmount) ?? 0n;
  const { refundedMinor: refunded = 0n, chargedBackMinor: taken } = known ?? {};
  const grow = (before, said, left) => maxOf(before, minOf(said ?? before, left));
  const refundedMinor = grow(refunded,
    incoming.refundedMinor ?? (state === 'refund' ? paid : undefined), paid - (taken ?? 0n));
  if (!isChargeback({ state }) && (incoming.chargedBackMinor ?? taken) === undefined) {
    return { refundedMinor, chargedBackMinor: undefined };
  }
  const chargedBackMinor = incoming.chargedBackMinor === undefined
    ? grow(taken ?? 0n, state === 'chargeback' ? paid : undefined, paid - refundedMinor)
    : grow(taken ?? 0n, incoming.chargedBackMinor, paid);
  return { refundedMinor, chargedBackMinor };
}

/** What a bank took of the money that the shop had not refunded. */
const takenOf = ({ grossAmount, refundedMinor, chargedBackMinor = 0n }) =>
  minOf(chargedBackMinor, maxOf((minorOf(grossAmount) ?? 0n) - refundedMinor, 0n));

/**
 * The transaction that a status body or a notification describes.
 * @returns {{ transactionId: string, state: string, fraud: string | null, statusCode: string,
 *   grossAmount: string, amountMinor: bigint | undefined, refundedMinor: bigint | undefined,
 *   chargedBackMinor: bigint | undefined, refunds: object[], currency: string,
 *   paymentType: string | null, madeAt: string | null, orderId: string }} madeAt: as Midtrans
 *   writes it, in GMT+7
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
    ...returnedOf(body),
    currency: body.currency ?? 'IDR',
    paymentType: typeof body.payment_type === 'string' ? body.payment_type : null,
    madeAt: TIME.test(body.transaction_time) ? body.transaction_time : null,
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
 * @returns {{ changed: boolean, fits: boolean, fault?: string }} fits: it is what we know, or
 *   follows it; fault: why a person has to look at it
 */
function judge (order, known, incoming, { confirmed, force = false }) {
  const held = fault => ({ changed: false, fits: false, fault });
  if (!isKnownState(incoming.state)) return held('edge');
  if (!isOwn(order, incoming) || (known !== undefined && known.orderId !== order.orderId)) {
    return held('other_order');
  }
  if (force) return { changed: true, fits: true };
  const verdict = judgeState(known, incoming, confirmed);
  if (verdict === 'stale') return { changed: false, fits: false };
  const fault = verdict === 'refused' ? 'edge' : differenceOf(order, incoming);
  if (fault === undefined) return { changed: verdict === 'changed', fits: true };
  return verdict === 'same' ? { changed: false, fits: false } : held(fault);
}

/** Whether a transaction was made for an order, on its first page or a later one. */
function isOwn ({ orderId, pages = 1 }, { orderId: id }) {
  if (id === orderId) return true;
  return Array.from({ length: pages }, (_, i) => pageId(orderId, i + 1)).includes(id);
}

/** The id by which Midtrans knows an order's n-th page. */
const pageId = (orderId, page) => (page === 1 ? orderId : `${orderId}~${page}`);

/** How the amount or the currency of a transaction differs from its order's, if it does. */
function differenceOf (order, { amountMinor, currency }) {
  if (amountMinor !== order.amountMinor) return 'amount';
  return currency === order.currency ? undefined : 'currency';
}

/** @returns {'changed' | 'same' | 'stale' | 'refused'} */
function judgeState (known, incoming, confirmed) {
  if (RETURNED.includes(known?.state) && RETURNED.includes(incoming.state)) {
    return judgeReturned(known, incoming);
  }
  const { verdict, changed } = advance(known?.state, incoming.state, { confirmed });
  if (changed || (confirmed && isDenial(known, incoming))) return 'changed';
  if (verdict !== 'same') return verdict === 'stale' ? 'stale' : 'refused';
  return incoming.fraud === known.fraud ? 'same' : judgeFraud(known.fraud, incoming.fraud);
}

/** What goes back is only ever more: of two states, the one with the larger sums is the later. */
function judgeReturned (known, incoming) {
  if (isTooMuch(incoming, known)) return 'refused';
  if (isMore(incoming, known)) return 'changed';
  return incoming.state === known.state && isSaid(incoming, known) ? 'same' : 'stale';
}

/** Whether a refund is more than what a bank has left of the payment: it went back twice. */
function isTooMuch ({ state, grossAmount, refundedMinor = 0n }, known) {
  const { chargedBackMinor: taken = 0n } = known;
  return !isChargeback({ state }) && state !== known.state && taken > 0n &&
    refundedMinor > known.refundedMinor && refundedMinor > (minorOf(grossAmount) ?? 0n) - taken;
}

/** Whether what a body says of the sums is all of what is known. */
const isSaid = (incoming, known) =>
  (incoming.refundedMinor ?? known.refundedMinor) >= known.refundedMinor &&
  (incoming.chargedBackMinor ?? known.chargedBackMinor ?? 0n) >= (known.chargedBackMinor ?? 0n);

/** Whether more money went back than before, or went back in a way that was not known. */
function isMore (later, earlier) {
  const { refundedMinor, chargedBackMinor } = sumsOf(earlier, later);
  if (refundedMinor > earlier.refundedMinor ||
    (chargedBackMinor ?? 0n) > (earlier.chargedBackMinor ?? 0n)) return true;
  if (isChargeback(later)) return isFirst(later, earlier);
  return earlier.state === 'partial_chargeback' && earlier.refundedMinor === 0n;
}

const isChargeback = ({ state }) => state === 'chargeback' || state === 'partial_chargeback';
const isFull = ({ state }) => state === 'chargeback';

/** Whether no chargeback was known, or not that all was charged back. */
const isFirst = (later, earlier) => earlier?.chargedBackMinor === undefined ||
  (isFull(later) && !isFull(earlier));

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
  if (RETURNED.includes(claim.state) && RETURNED.includes(truth.state)) {
    return isMore(claim, { ...truth, ...sumsOf(undefined, truth) }) ? 'ahead' : 'agrees';
  }
  if (claim.state === truth.state) {
    const doubted = claim.fraud === 'accept' && truth.fraud !== 'accept' && truth.fraud !== null;
    return doubted ? 'ahead' : 'agrees';
  }
  if (leads(claim, truth)) return 'agrees';
  return leads(truth, claim) ? 'ahead' : 'contradicts';
}

const leads = (from, to) => isDenial(from, to) ||
  advance(from.state, to.state, { confirmed: true }).changed;

/** Whether a notification tells more than Midtrans's answer, which may be late. */
const isAhead = (claim, truth) => isKnownState(claim.state) && compare(claim, truth) === 'ahead';

/**
 * The outcome of a notification after Midtrans's answer has been entered. If the answer is late and
 * has a fault, the notification has to come again, and the answer is held.
 */
function conclude ({ changed, fault, claim, truth }) {
  const relation = truth !== undefined && isKnownState(claim.state) ? compare(claim, truth)
    : undefined;
  // The answer may be older than the notification: Midtrans has to send it again.
  if (relation === 'ahead') return { outcome: 'unavailable', reason: 'unconfirmed' };
  if (fault !== undefined) return { outcome: 'held', reason: fault };
  if (relation === undefined) return { outcome: 'held', reason: 'edge' };
  if (relation === 'contradicts') return { outcome: 'held', reason: 'contradicted' };
  return { outcome: changed ? 'applied' : 'stale', reason: null };
}

/** What is stored of a transaction: sums never get less, and each refund is kept once. */
function merge (known, incoming, { force }) {
  const { refunds = [] } = known ?? {};
  const ids = new Set(refunds.map(({ id }) => id));
  // News of a refund that came before a full chargeback, or after it, does not undo it.
  const isBehind = !force && known !== undefined && isFull(known);
  return {
    ...incoming,
    state: isBehind ? known.state : incoming.state,
    createdAt: known?.createdAt,
    madeAt: incoming.madeAt ?? known?.madeAt ?? null,
    refunds: [...refunds, ...incoming.refunds.filter(({ id }) => !ids.has(id))],
    ...sumsOf(known, incoming),
  };
}

/** The refunds that are new; together they are as much as the sum has grown. */
function newRefunds (known, merged) {
  const grown = merged.refundedMinor - (known?.refundedMinor ?? 0n);
  if (grown <= 0n) return [];
  const fresh = merged.refunds.slice(known?.refunds.length ?? 0);
  while (sumOf(fresh) > grown) fresh.shift();
  return sumOf(fresh) === grown ? fresh : [{ key: null, amountMinor: grown }];
}

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

/** Whether customers have a page, on which they can pay in another way if one was denied. */
const hasPage = ({ token, redirectUrl, body }) =>
  token !== null || redirectUrl !== null || body !== null;

const timeOf = madeAt => Date.parse(`${madeAt.replace(' ', 'T')}+07:00`);

// Midtrans's clock, which shows whole seconds, may be this much behind ours.
const SKEW_MS = 5000;

/** An expired order that is recorded again begins a new life. */
const isReopening = ({ from, by }) => from === 'expired' && by === 'order';

/**
 * Whether a transaction belongs to an earlier life of its order, and has not paid this one. Without
 * a time it may, so it cannot end this one: the page's own end does.
 */
function isOfBefore ({ history, state, transactionId }, { transactionId: id, createdAt, madeAt }) {
  const reopened = history.findLast(isReopening);
  const hasPaid = id === transactionId && HAS_MONEY.includes(state);
  if (reopened === undefined || hasPaid) return false;
  const at = Date.parse(reopened.at);
  return (createdAt !== undefined && createdAt < at) || madeAt === null ||
    timeOf(madeAt) < at - SKEW_MS;
}

/** Whether an order was paid in its present life. */
function wasPaid ({ history }) {
  const life = history.slice(history.findLastIndex(isReopening) + 1);
  return life.some(({ to }) => HAS_MONEY.includes(to));
}

/** The oldest first. Only Midtrans's times say so if its news comes out of order. */
const byTime = transactions => transactions.toSorted((a, b) => (
  a.madeAt === null || b.madeAt === null || a.madeAt === b.madeAt ? 0
    : a.madeAt < b.madeAt ? -1 : 1));

/**
 * What an order is, given its transactions.
 * @param {object} order as it was
 * @param {object[]} transactions in the sequence in which we heard of them, at least one
 * @returns {{ state: string, transactionId: string | null, refundedMinor: bigint,
 *   chargedBackMinor: bigint, payments: number }} transactionId: of the transaction that counts;
 *   payments: how many transactions have brought money that the shop still has
 */
function deriveOrder (order, transactions) {
  const rated = byTime(transactions).map(each => ({ ...each, state: stateOf(each) }));
  const isAttempt = ({ state }) => state === 'denied' && hasPage(order);
  const counts = PRECEDENCE.map(state => rated.find(each => each.state === state)).find(Boolean) ??
    rated.findLast(each => !isAttempt(each) && !isOfBefore(order, each));
  const sum = amountOf => transactions.reduce((total, each) => total + amountOf(each), 0n);
  return {
    state: counts?.state ?? stateWithout(order, rated.some(isAttempt)),
    transactionId: (counts ?? rated.findLast(isAttempt))?.transactionId ?? null,
    refundedMinor: sum(each => each.refundedMinor),
    chargedBackMinor: sum(takenOf),
    payments: transactions.filter(hasMoney).length,
  };
}

/** The state of an order none of whose transactions counts. */
function stateWithout (order, isTried) {
  const { state } = order;
  if (FAILED.includes(state)) return state;
  // A bank took its payment back: the page was used, and ends with it.
  if (wasPaid(order)) return 'denied';
  return FIRST_STATES.includes(state) && !isTried ? state : 'created';
}

/**
 * What an order becomes by the true state of one of its transactions.
 * @param {object} order
 * @param {object[]} transactions its own, the oldest first, and any other with the same id
 * @param {object} incoming of readTransaction
 * @param {{ confirmed: boolean, force?: boolean }} options of judge
 * @returns {{ changed: boolean, fits: boolean, fault?: string, payments: number, truth: object,
 *   transaction?: object, change?: object, news?: object[], hadMoney?: boolean }} truth: `incoming`
 *   with the sums that it does not say; transaction: what to store; change: of the order, if it
 *   moves; news: what happened to the transaction; hadMoney: whether the shop had money before
 */
function enter (order, transactions, incoming, options) {
  const own = transactions.filter(({ orderId }) => orderId === order.orderId);
  const isIt = ({ transactionId }) => transactionId === incoming.transactionId;
  const known = transactions.find(isIt);
  const judged = judge(order, known, incoming, options);
  const truth = { ...incoming, ...sumsOf(known, incoming) };
  const before = own.length === 0 ? 0 : deriveOrder(order, own).payments;
  if (!judged.changed) return { ...judged, truth, payments: before };
  const transaction = { ...merge(known, incoming, options), orderId: order.orderId };
  const after = known === undefined ? [...own, transaction]
    : own.map(each => (isIt(each) ? transaction : each));
  const { payments, ...derived } = deriveOrder(order, after);
  const news = newsOf(known, transaction);
  const moves = news.length > 0 || derived.state !== order.state ||
    derived.refundedMinor !== order.refundedMinor ||
    derived.chargedBackMinor !== order.chargedBackMinor;
  const { state: to, ...sums } = derived;
  const isSecond = payments > 1 && payments > before;
  const twice = isSecond ? 'paid_twice'
    : isReturnedTwice(known, transaction) ? 'returned_twice' : undefined;
  return {
    changed: true, fits: true, fault: options.force ? undefined : twice, payments, truth,
    transaction,
    change: moves ? { to, ...sums, reason: reasonOf(order, to, news) } : undefined, news,
    // An earlier release stored no transactions.
    hadMoney: HAS_MONEY.includes(order.state) && (own.length === 0 || before > 0),
  };
}

/** Whether the shop has money of a transaction. All of it may have gone back in parts. */
function hasMoney (transaction) {
  const state = stateOf(transaction);
  return state === 'paid' || (HAS_MONEY.includes(state) && leftOf(transaction) > 0n);
}

const leftOf = ({ grossAmount, refundedMinor, chargedBackMinor = 0n }) =>
  (minorOf(grossAmount) ?? 0n) - refundedMinor - chargedBackMinor;

/** Whether a bank took money that had gone back before: the customer has it twice. */
function isReturnedTwice (known, transaction) {
  const excess = -leftOf(transaction);
  if (excess > 0n && (known === undefined || excess > -leftOf(known))) return true;
  const left = leftOf({ ...transaction, chargedBackMinor: known?.chargedBackMinor });
  return left <= 0n && isChargeback(transaction) && isFirst(transaction, known);
}

const hadMoney = known =>
  known !== undefined && (hasMoney(known) || RETURNED.includes(known.state));

/** What has happened to a transaction that is of interest besides the state of its order. */
function newsOf (known, transaction) {
  const { transactionId, paymentType, state } = transaction;
  const isNew = known?.state !== state;
  const isPayment = hasMoney(transaction) && !hadMoney(known) && leftOf(transaction) > 0n;
  const news = isPayment ? [{ hook: 'onPaid' }] : [];
  news.push(...newRefunds(known, transaction).map(({ key, amountMinor }) =>
    ({ hook: 'onRefund', transactionId, refund: { key, amountMinor } })));
  const grown = transaction.refundedMinor - (known?.refundedMinor ?? 0n);
  const taken = (transaction.chargedBackMinor ?? 0n) - (known?.chargedBackMinor ?? 0n);
  const counted = takenOf(transaction) - (known === undefined ? 0n : takenOf(known));
  const isRefund = state === 'refund' || state === 'partial_refund';
  if (isRefund && isNew && grown === 0n && taken === 0n) {
    news.push({ hook: 'onRefund', transactionId, refund: { key: null, amountMinor: null } });
  }
  if (taken > 0n || (isChargeback(transaction) && isFirst(transaction, known))) {
    const amountMinor = counted > 0n ? counted : null;
    news.push({ hook: 'onChargeback', transactionId, chargeback: { amountMinor } });
  }
  const wasDenied = known !== undefined && stateOf(known) === 'denied';
  if (stateOf(transaction) === 'denied' && !wasDenied) {
    news.push({ hook: 'onDenied', transactionId, attempt: { paymentType } });
  }
  return news;
}

/** A denied attempt that changes nothing else is noted all the same. */
const reasonOf = ({ state }, to, news) => (
  to === state && news.some(({ hook }) => hook === 'onDenied') ? 'An attempt was denied'
    : undefined);

/**
 * The hooks of a move, in the sequence in which they run.
 * @param {string} from the state of the order before
 * @param {string} to
 * @param {object[]} [news] of enter
 * @param {boolean} [hadMoney] of enter
 * @returns {object[]} { hook, ...details }
 */
function hooksOf (from, to, news = [], hadMoney = HAS_MONEY.includes(from)) {
  const hasCome = to === 'paid' || news.some(({ hook }) => hook === 'onPaid');
  const hooks = [
    ...hasCome && !hadMoney ? [{ hook: 'onPaid' }] : [],
    ...news.filter(({ hook }) => hook !== 'onPaid'),
    ...news.some(({ hook }) => hook === 'onRefund') ? [{ hook: 'onRefunded' }] : [],
    ...FAILED.includes(to) && !FAILED.includes(from) ? [{ hook: 'onFailed' }] : [],
  ];
  return [...hooks, { hook: 'onTransition' }];
}

/**
 * Whether what Midtrans says now about a transaction decides about an event that is held.
 * @param {object} event of the same order
 * @param {object} incoming of readTransaction
 * @param {{ fits: boolean, payments: number }} entered of enter
 */
function decides ({ reason, transactionId, body }, incoming, { fits, payments }) {
  if (!fits) return false;
  if (reason === 'paid_twice') return payments < 2;
  if (reason === 'returned_twice') return false;
  if (transactionId === incoming.transactionId) return true;
  if (reason !== 'not_found' && reason !== 'other_transaction') return false;
  // Only its order, code and amount were signed: it is a copy of the notification about this one.
  const { status_code: code, gross_amount: amount } = JSON.parse(body);
  return String(code) === incoming.statusCode && String(amount) === incoming.grossAmount;
}

/** Whether a page may still be made for an order. */
const isUnmade = order => order.state === 'queued' || order.state === 'unknown' ||
  (order.state === 'failed' && order.token === null && wasRefused(order));

/**
 * Whether Midtrans has refused to make a page. An order that was opened again keeps the transaction
 * of before; only a refusal has a reason.
 */
function wasRefused ({ transactionId, history }) {
  const { by, reason } = history.at(-1) ?? {};
  return transactionId === null || (reason !== undefined && (by === 'open' || by === 'midtrans'));
}

/** Whether an order has failed. It can be paid all the same as long as it has a page. */
const hasFailed = ({ state }) => FAILED.includes(state);

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

/** Whether a hold for this reason stays, whatever else is wrong with its event. */
const isLasting = reason => reason === 'paid_twice' || reason === 'returned_twice';

module.exports = {
  FIRST_STATES, STATES, canExpire, conclude, decides, differenceOf, enter, hasFailed, hooksOf,
  isAhead, isLasting, isOwn, isUnmade, minorOf, pageId, readTransaction, recordAgain,
};
