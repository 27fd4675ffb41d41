'use strict';

// Entries into the book: what is true of a transaction changes its order, and whatever changes an
// order puts its hooks into the outbox, all within one transaction of the database.

const { derive, isKnownState, judge } = require('./payment-states');

const ORDER_CHANNEL = 'MIDTRANS_ORDER';
const HOOK_CHANNEL = 'PAYMENT_HOOK';

const HOOKS = {
  paid: 'onPaid',
  denied: 'onFailed',
  cancelled: 'onFailed',
  expired: 'onFailed',
  failed: 'onFailed',
  partially_refunded: 'onRefunded',
  refunded: 'onRefunded',
};

/** Why news are not to be believed, whatever says them. */
function faultOf (order, { amountMinor, currency }, verdict) {
  if (verdict === 'refused') return 'edge';
  if (amountMinor !== order.amountMinor) return 'amount';
  return currency === order.currency ? undefined : 'currency';
}

class Book {
  #ledger;
  #outbox;
  #hooks;

  /** @param {{ ledger: object, outbox: object, hooks: Record<string, Function> }} parts */
  constructor ({ ledger, outbox, hooks }) {
    this.#ledger = ledger;
    this.#outbox = outbox;
    this.#hooks = hooks;
  }

  /**
   * Enters what is true of a transaction.
   * @param {object} client a transaction that has locked the order
   * @param {object} order
   * @param {object} news of readTransaction
   * @param {object} how { by, reason, confirmed, force }; force: somebody has looked at it, and
   *   neither the amount nor the state machine counts
   * @returns {Promise<{ changed: boolean, fault?: string, move?: object }>} fault: why it has to
   *   be looked at; move: of `move`, if the order has changed as well
   */
  async enter (client, order, news, { by, reason, confirmed, force = false }) {
    if (!isKnownState(news.state)) return { changed: false, fault: 'edge' };
    const known = await this.#ledger.findTransaction(client, news.transactionId);
    if (known !== undefined && known.orderId !== order.orderId) {
      return { changed: false, fault: 'other_order' };
    }
    const verdict = judge(known, news, confirmed);
    if (!force) {
      if (verdict === 'stale') return { changed: false };
      const fault = faultOf(order, news, verdict);
      if (fault !== undefined) return { changed: false, fault };
    }
    await this.#ledger.putTransaction(client, order.orderId, news);
    const transactions = await this.#ledger.transactionsOf(client, order.orderId);
    const { state, transaction, paidTwice } = derive(transactions);
    const refundedMinor = transactions.reduce((sum, each) => sum + each.refundedMinor, 0n);
    const { transactionId } = transaction;
    const move = state === order.state && refundedMinor === order.refundedMinor
      ? undefined
      : await this.move(client, order, { to: state, by, reason, transactionId, refundedMinor });
    return { changed: true, fault: paidTwice && !force ? 'paid_twice' : undefined, move };
  }

  /** The hooks that are to hear of a state. */
  hooksOf (state) {
    return [HOOKS[state], 'onTransition'].filter(hook => this.#hooks[hook] !== undefined);
  }

  /**
   * Moves an order, with its hooks.
   * @param {object} client a transaction that has locked the order; the database itself will do if
   *   there are no hooks
   * @param {object} change { to, by, reason, transactionId, refundedMinor, token, redirectUrl }
   * @returns {Promise<{ order: object, transition: object } | undefined>} undefined if somebody
   *   else has moved it meanwhile
   */
  async move (client, order, change) {
    const [moved] = await this.#ledger.moveOrders(client, [{ order, change }]);
    if (moved === undefined) return undefined;
    const transition = transitionOf(order, moved);
    const { orderId } = moved;
    const messages = this.hooksOf(moved.state).map(hook => ({
      channel: HOOK_CHANNEL,
      recipient: orderId,
      data: { hook, orderId, transition },
      dedupeKey: `payment-hook:${transition.id}:${hook}`,
      orderKey: `payment:${orderId}`,
    }));
    if (messages.length > 0) await this.#outbox.enqueue(messages, { client });
    return { order: moved, transition };
  }

  /**
   * As `move`, of many orders at once, to a state that no hook is to hear of.
   * @param {Array<{ order: object, change: object }>} moves
   */
  async moveAll (client, moves) {
    const orders = await this.#ledger.moveOrders(client, moves);
    return orders.map((moved, i) => moved &&
      { order: moved, transition: transitionOf(moves[i].order, moved) });
  }

  /** Leaves orders to the worker. One that is left to it already is not left twice. */
  async leave (client, orderIds) {
    await this.#outbox.enqueue(orderIds.map(leaving), { client });
  }

  /** Takes new orders in, as the ledger does, and leaves them to the worker. */
  async insertAndLeave (client, orders) {
    const messages = this.#outbox.along(orders.map(({ orderId }) => leaving(orderId)));
    const made = await this.#ledger.insertOrders(client, orders, messages);
    if (made.some(Boolean)) messages.announce();
    return made;
  }
}

/** What has the worker make an order. */
const leaving = orderId => ({
  channel: ORDER_CHANNEL, recipient: orderId, data: { orderId },
  dedupeKey: `midtrans-order:${orderId}`,
});

/** How an order has got from what it was to what it is. */
function transitionOf (before, { orderId, version, state, transactionId }) {
  return { id: `${orderId}:${version}`, from: before.state, to: state, transactionId };
}

module.exports = { Book, HOOK_CHANNEL, ORDER_CHANNEL };
