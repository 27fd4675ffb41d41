'use strict';

// The life of a transaction: every pair of states, and news that comes late, twice or never.

const {
  advance, amountOf, canMove, isFinalState, isPaid, transactionStates
} = require('../../lib/clients/midtrans-states');

// As Midtrans documents it, written once more by hand.
const MOVES = `
  authorize -> capture cancel deny expire
  capture -> settlement cancel
  pending -> capture settlement deny cancel expire
  settlement -> refund partial_refund chargeback partial_chargeback
  partial_refund -> partial_refund refund partial_chargeback chargeback
  refund -> partial_chargeback chargeback
  partial_chargeback -> partial_chargeback chargeback partial_refund refund`;
const IF_CONFIRMED = `
  settlement -> deny
  pending -> failure
  authorize -> failure`;

const pairs = text => new Set(text.trim().split('\n').flatMap(line => {
  const [from, to] = line.trim().split(' -> ');
  return to.split(' ').map(state => `${from} ${state}`);
}));
const moves = pairs(MOVES);
const confirmedMoves = pairs(IF_CONFIRMED);

test('every pair of states: exactly the documented moves', () => {
  for (const from of transactionStates) {
    for (const to of transactionStates) {
      const pair = `${from} ${to}`;
      expect([pair, canMove(from, to)]).toEqual([pair, moves.has(pair)]);
      expect([pair, canMove(from, to, { confirmed: true })])
        .toEqual([pair, moves.has(pair) || confirmedMoves.has(pair)]);
    }
  }
});

test('deny, cancel, expire, failure and chargeback are final', () => {
  expect(transactionStates.filter(isFinalState).toSorted())
    .toEqual(['cancel', 'chargeback', 'deny', 'expire', 'failure']);
  expect([isFinalState('nothing'), isFinalState('toString')]).toEqual([false, false]);
});

test('whatever comes, in whatever order: the state never goes back, nor out of an end', () => {
  for (const from of transactionStates) {
    for (const to of transactionStates) {
      for (const confirmed of [false, true]) {
        const { state, changed, verdict } = advance(from, to, { confirmed });
        expect(changed).toBe(['moved', 'caught-up'].includes(verdict));
        expect(state).toBe(changed ? to : from);
        if (isFinalState(from)) expect(changed).toBe(false);
        // A state that was left is not entered again. For money that went back, amounts decide.
        const isReturned = [from, to].every(state => /refund|chargeback/.test(state));
        if (changed && !isReturned) expect(advance(to, from, { confirmed }).changed).toBe(false);
      }
    }
  }
});

test.each([
  [undefined, 'pending', {}, 'first', 'pending'],
  [null, 'settlement', {}, 'first', 'settlement'],
  ['pending', 'settlement', {}, 'moved', 'settlement'],
  ['settlement', 'pending', {}, 'stale', 'settlement'],
  ['settlement', 'settlement', {}, 'same', 'settlement'],
  ['partial_refund', 'partial_refund', {}, 'same', 'partial_refund'],
  ['expire', 'settlement', {}, 'refused', 'expire'],
  ['expire', 'settlement', { confirmed: true }, 'refused', 'expire'],
  ['cancel', 'settlement', {}, 'refused', 'cancel'], // A cancel notice rewritten.
  ['settlement', 'deny', {}, 'unconfirmed', 'settlement'],
  ['settlement', 'deny', { confirmed: true }, 'moved', 'deny'],
  ['pending', 'refund', {}, 'unconfirmed', 'pending'],
  ['pending', 'refund', { confirmed: true }, 'caught-up', 'refund'],
  ['refund', 'partial_refund', {}, 'stale', 'refund'],
  ['refund', 'partial_refund', { confirmed: true }, 'stale', 'refund'],
  ['refund', 'chargeback', {}, 'moved', 'chargeback'],
  ['partial_refund', 'partial_chargeback', {}, 'moved', 'partial_chargeback'],
  ['partial_chargeback', 'partial_refund', {}, 'moved', 'partial_refund'],
  ['partial_chargeback', 'partial_chargeback', {}, 'same', 'partial_chargeback'],
  ['chargeback', 'refund', { confirmed: true }, 'stale', 'chargeback'],
  ['chargeback', 'settlement', { confirmed: true }, 'stale', 'chargeback'],
  ['pending', 'paid', {}, 'refused', 'pending'],
  [undefined, 'constructor', {}, 'refused', undefined],
])('from %s, %s with %j: %s', (current, incoming, options, verdict, state) => {
  expect(advance(current, incoming, options)).toMatchObject({ state, verdict });
});

test('a state of ours that is none is an error', () => {
  expect(() => advance('paid', 'settlement'))
    .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
});

test.each([
  ['200', 'settlement', undefined, true], ['200', 'settlement', 'accept', true],
  ['200', 'capture', 'accept', true], ['200', 'capture', undefined, true],
  ['200', 'capture', 'challenge', false], ['200', 'capture', 'deny', false],
  ['201', 'pending', undefined, false], ['201', 'capture', 'challenge', false],
  ['202', 'deny', undefined, false], ['200', 'cancel', undefined, false],
  ['200', 'refund', undefined, false], ['407', 'expire', undefined, false],
  ['404', undefined, undefined, false], ['200', 'authorize', 'accept', false],
])('status_code %s, %s, fraud %s: paid is %s', (code, state, fraud, paid) => {
  expect(isPaid({
    status_code: code, transaction_status: state, ...fraud && { fraud_status: fraud }
  })).toBe(paid);
});

test('nothing is not paid', () => {
  expect([isPaid(null), isPaid(undefined), isPaid({})]).toEqual([false, false, false]);
});

test('the amount is that of the order, without fees added to it', () => {
  const fees = { extra_info: { gross_amount_info: { original_amount: '10000.00' } } };
  expect(amountOf({ gross_amount: '10000.00' })).toBe(10000);
  expect(amountOf({ gross_amount: '14500.00', metadata: fees })).toBe(10000);
  expect(amountOf({ gross_amount: 'x' })).toBeUndefined();
  expect([amountOf({}), amountOf(null), amountOf({ gross_amount: '' })])
    .toEqual([undefined, undefined, undefined]);
});
