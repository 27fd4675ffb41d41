'use strict';

// The end of a holding: somebody has looked at it.

const { readTransaction } = require('./payment-states');
const { StoreError } = require('./store-errors');

class Review {
  #database;
  #ledger;
  #book;
  #news;
  #confirm;
  #emit;

  /** @param {object} parts { database, ledger, book, news, confirm, emit } */
  constructor ({ database, ledger, book, news, confirm, emit }) {
    this.#database = database;
    this.#ledger = ledger;
    this.#book = book;
    this.#news = news;
    this.#confirm = confirm;
    this.#emit = emit;
  }

  /** @param {'apply' | 'dismiss'} decision @param {{ by: string, reason: string }} how */
  async end (orderId, decision, { by, reason }) {
    const known = await this.#ledger.findOrder(this.#database, orderId);
    const held = known === undefined
      ? await this.#ledger.foreignEvents(this.#database, orderId)
      : await this.#ledger.heldEvents(this.#database, orderId);
    // Its events may have been deleted since.
    if (held.length === 0 && !known?.held) {
      throw new StoreError('ERR_PAYMENT_ORDER', `Nothing is held of ${orderId}`);
    }
    const bodies = decision === 'apply' ? await this.#truths(held) : [];
    const { order, moves } = await this.#database.transaction(async client => {
      const locked = await this.#lock(client, orderId, bodies);
      const entered = await this.#enter(client, locked, bodies, { by: `review:${by}`, reason });
      const outcome = decision === 'apply' ? 'applied' : 'dismissed';
      for (const event of held) {
        await this.#ledger.closeEvent(client, event.id,
          { outcome, reason: `${event.reason}; ${by}: ${reason}` });
      }
      const left = await this.#ledger.heldEvents(client, orderId);
      if (locked !== undefined) await this.#ledger.setHeld(client, orderId, left.length > 0);
      return { order: await this.#ledger.findOrder(client, orderId), moves: entered };
    });
    for (const move of moves) this.#emit('transition', move.order, move.transition);
    return order;
  }

  /** What is true now of each transaction that an event was held of. */
  async #truths (held) {
    const bodies = new Map();
    for (const { transactionId, body, source } of held) {
      const needsAsking = this.#confirm || source === 'status';
      const truth = needsAsking ? await this.#news.ask(transactionId) : JSON.parse(body);
      if (truth === undefined) {
        throw new StoreError('ERR_PAYMENT_ORDER',
          `Midtrans knows of no transaction ${transactionId}: this can only be dismissed`);
      }
      bodies.set(transactionId, truth);
    }
    return [...bodies.values()];
  }

  /** The order; one that nobody has told us of is made of what Midtrans says of it. */
  async #lock (client, orderId, [body]) {
    const order = await this.#ledger.findOrder(client, orderId, { lock: true });
    if (order !== undefined || body === undefined) return order;
    const { amountMinor, currency } = readTransaction(body);
    const given = { orderId, state: 'created', amountMinor, currency };
    return (await this.#ledger.insertOrders(client, [given]))[0];
  }

  async #enter (client, locked, bodies, { by, reason }) {
    const moves = [];
    let order = locked;
    for (const body of bodies) {
      const { move, fault } = await this.#book.enter(client, order, readTransaction(body),
        { by, reason, confirmed: true, force: true });
      if (fault !== undefined) {
        throw new StoreError('ERR_PAYMENT_ORDER', `It cannot be applied to ${order.orderId}, ` +
          `as it is still held (${fault})`);
      }
      if (move === undefined) continue;
      moves.push(move);
      order = move.order;
    }
    return moves;
  }
}

module.exports = { Review };
