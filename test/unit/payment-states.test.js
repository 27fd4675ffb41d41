'use strict';

// Whether the shop has money of an order: then it is not paid for the first time.

const { enter, hooksOf, readTransaction } = require('../../lib/store/payment-states');

/** An order, and what becomes of it: the hooks and the fault of each news. */
function orderWith () {
  let order = {
    orderId: 'a', amountMinor: 1_000_000n, currency: 'IDR', state: 'created', transactionId: null,
    refundedMinor: 0n, chargedBackMinor: 0n, history: [], token: 'x', redirectUrl: null, body: null,
  };
  const transactions = new Map();
  return {
    get state () { return order.state; },
    hear: (id, state, more) => {
      const incoming = readTransaction({
        transaction_id: id, order_id: 'a', transaction_status: state, status_code: '200',
        gross_amount: '10000.00', ...more,
      });
      const { transaction, change, news, fault, hadMoney } =
        enter(order, [...transactions.values()], incoming, { confirmed: true });
      transactions.set(id, transaction);
      const hooks = hooksOf(order.state, change.to, news, hadMoney).map(({ hook }) => hook);
      order = { ...order, ...change, state: change.to };
      return [order.state, fault, hooks.includes('onPaid')];
    },
  };
}

const PARTS = { refund_amount: '7000.00', chargeback_amount: '3000.00' };

test('an order all of whose money has gone back in parts may be paid again', () => {
  const it = orderWith();
  expect(it.hear('one', 'settlement')).toEqual(['paid', undefined, true]);
  it.hear('one', 'partial_refund', { refund_amount: '7000.00' });
  expect(it.hear('one', 'partial_chargeback', PARTS))
    .toEqual(['partially_charged_back', undefined, false]);
  expect(it.hear('two', 'settlement')).toEqual(['paid', undefined, true]);
});

test('an order of which something is left may not', () => {
  const it = orderWith();
  it.hear('one', 'settlement');
  it.hear('one', 'partial_refund', { refund_amount: '6999.99' });
  it.hear('one', 'partial_chargeback', { ...PARTS, refund_amount: '6999.99' });
  expect(it.hear('two', 'settlement')).toEqual(['paid', 'paid_twice', false]);
});
