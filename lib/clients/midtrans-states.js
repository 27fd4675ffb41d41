'use strict';

// The life of a Midtrans transaction, as pure functions. Notifications are repeated and come out of
// order: these functions decide what one of them may change.

const { invalidOption } = require('../base/errors');
const { copyOf, read, textOf } = require('../base/foreign');
const { is, optionsOf } = require('../base/options');

// Which states may follow each state, as Midtrans documents it. Money may also go back in several
// steps: a bank takes back the rest after a partial refund, or a merchant refunds the rest after a
// partial chargeback.
const NEXT = {
  authorize: ['capture', 'cancel', 'deny', 'expire'],
  pending: ['capture', 'settlement', 'deny', 'cancel', 'expire'],
  capture: ['settlement', 'cancel'],
  settlement: ['refund', 'partial_refund', 'chargeback', 'partial_chargeback'],
  partial_refund: ['partial_refund', 'refund', 'partial_chargeback', 'chargeback'],
  partial_chargeback: ['partial_chargeback', 'chargeback', 'partial_refund', 'refund'],
  deny: [],
  cancel: [],
  expire: [],
  failure: [],
  refund: ['partial_chargeback', 'chargeback'],
  chargeback: [],
};

// Rare transitions, which are believed only if GET status confirms them: some bank transfers are
// denied within minutes of their settlement, and a transaction may fail before it begins.
const NEXT_IF_CONFIRMED = {
  authorize: ['failure'],
  pending: ['failure'],
  settlement: ['deny'],
};

const OPTIONS = optionsOf({
  confirmed: is.boolean('whether GET status says so', { default: false }),
});

const transactionStates = Object.freeze(Object.keys(NEXT));

const later = new Map(transactionStates.map(state => [state, reachable(state)]));

/** All states that a transaction may be in some time after `state`. */
function reachable (state) {
  const found = new Set();
  const open = [state];
  while (open.length > 0) {
    for (const next of NEXT[open.pop()]) {
      if (found.has(next)) continue;
      found.add(next);
      open.push(next);
    }
  }
  return found;
}

const isState = state => typeof state === 'string' && Object.hasOwn(NEXT, state);

/** Whether a transaction may go from one state to the other in one step. */
function canMove (from, to, options) {
  const { confirmed } = OPTIONS.read(options);
  if (!isState(from) || !isState(to)) return false;
  return NEXT[from].includes(to) ||
    (confirmed && (NEXT_IF_CONFIRMED[from] ?? []).includes(to));
}

/** Whether nothing follows a state. */
const isFinalState = state => isState(state) && NEXT[state].length === 0;

/**
 * What a notification (or an answer of GET status) does to the state that is known; the verdicts
 * are in midtrans.d.ts. `same` may be another partial refund or chargeback. Refunds and partial
 * chargebacks may follow each other, so only the amounts tell which of two is the later one.
 */
function advance (current, incoming, options) {
  const { confirmed } = OPTIONS.read(options);
  const known = current ?? undefined;
  if (known !== undefined && !isState(known)) {
    throw invalidOption('current', 'a state of a transaction', current);
  }
  const stay = verdict => ({ state: known, changed: false, verdict });
  const move = verdict => ({ state: incoming, changed: true, verdict });
  if (!isState(incoming)) return stay('refused');
  if (known === undefined) return move('first');
  if (known === incoming) return stay('same');
  if (canMove(known, incoming)) return move('moved');
  if (canMove(known, incoming, { confirmed: true })) {
    return confirmed ? move('moved') : stay('unconfirmed');
  }
  if (later.get(incoming).has(known)) return stay('stale');
  if (!later.get(known).has(incoming)) return stay('refused');
  return confirmed ? move('caught-up') : stay('unconfirmed');
}

/**
 * Whether a status body or a notification says that the money is there: status_code 200, settlement
 * or capture, and no doubt about fraud. Of a notification only the amount, the order and the status
 * code are signed: ask GET status before believing it.
 */
function isPaid (transaction) {
  const { status_code: code, transaction_status: state, fraud_status: fraud } = copyOf(transaction);
  return textOf(code) === '200' && (state === 'settlement' || state === 'capture') &&
    (fraud === undefined || fraud === null || fraud === 'accept');
}

/** The amount of the order, without the fees that Midtrans may have added to it. */
function amountOf (transaction) {
  const info = ['metadata', 'extra_info', 'gross_amount_info'].reduce(read, transaction);
  const written = read(info, 'original_amount') ?? read(transaction, 'gross_amount');
  if (typeof written !== 'string' && typeof written !== 'number') return undefined;
  const amount = written === '' ? NaN : Number(written);
  return Number.isFinite(amount) ? amount : undefined;
}

module.exports = { advance, amountOf, canMove, isFinalState, isPaid, transactionStates };
