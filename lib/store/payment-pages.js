'use strict';

// Orders on their way to Midtrans: a page is made for each, at once or, if that cannot be, by the
// worker later.

const { read, textOf } = require('../base/foreign');
const { Batcher } = require('./batcher');
const { StoreError } = require('./store-errors');
const { pageId } = require('./payment-ledger');

// Orders for which a page may still be asked for.
const UNMADE = ['queued', 'unknown'];

// Orders that come to be moved while a statement is under way share the next one, up to this.
const GROUP = { count: 100, writers: 1 };

const PAGES_MAX = 9;
const PAGE_ID_CHARACTERS_MAX = 50;

const isUnmade = order => UNMADE.includes(order.state) ||
  (order.state === 'failed' && order.transactionId === null && order.token === null);

const missing = orderId => new StoreError('ERR_PAYMENT_ORDER', `There is no order ${orderId}`);

class Pages {
  #database;
  #ledger;
  #book;
  #midtrans;
  #news;
  #emit;
  #moves;

  /** @param {object} parts { database, ledger, book, midtrans, news, emit } */
  constructor ({ database, ledger, book, midtrans, news, emit }) {
    this.#database = database;
    this.#ledger = ledger;
    this.#book = book;
    this.#midtrans = midtrans;
    this.#news = news;
    this.#emit = emit;
    this.#moves = new Batcher(moves => book.moveAll(database, moves), GROUP);
  }

  /** Makes the page of an order that was left to the worker. */
  async makeLater (orderId, signal) {
    const order = await this.#ledger.findOrder(this.#database, orderId);
    if (order === undefined) throw missing(orderId);
    return this.make(order, { signal });
  }

  /**
   * Makes the page of an order, if it has none.
   * @param {object} given the order
   * @param {object} [options]
   * @param {AbortSignal} [options.signal]
   * @param {number} [options.timeout] ms for each request to Midtrans
   * @param {boolean} [options.fresh] whether it was taken in just now, so that nobody has asked
   *   for its page before
   * @returns {Promise<object>} the order
   * @throws what Midtrans's client throws; the order stays queued or unknown, or has failed
   */
  async make (given, { signal, timeout, fresh = false } = {}) {
    let order = given;
    let { pages: page } = order;
    let resume = order.asked && !fresh;
    let isAsked = fresh;
    while (isUnmade(order)) {
      if (!isAsked) await this.#ledger.ask(this.#database, order.orderId, page);
      const { made, error } = await this.#create(order, page, { resume, signal, timeout });
      if (made !== undefined) return this.#opened(order, made);
      order = await this.#failed(order, { page, resume, error });
      page += 1;
      resume = isAsked = false;
    }
    return order;
  }

  async #create (order, page, options) {
    try {
      return { made: await this.#midtrans.createTransaction(bodyOf(order, page), options) };
    } catch (error) {
      return { error };
    }
  }

  /** @returns {Promise<object>} the order, if it has been made, or if its next page is to be */
  async #failed (order, { page, resume, error }) {
    const { orderId } = order;
    const code = read(error, 'code');
    const transactionId = read(read(error, 'response'), 'transaction_id');
    if (code === 'ERR_MIDTRANS_CONFLICT' && transactionId !== undefined) {
      return this.#landed(order, error);
    }
    const isSure = !read(error, 'ambiguous') && !resume;
    const to = stateAfter(error, isSure);
    await this.#setBack(order, { to, by: 'midtrans', reason: textOf(error), unask: isSure });
    if (code === 'ERR_MIDTRANS_REFUSED') throw error;
    // The page is there, but nobody has its token, nor will: it can only be replaced.
    const next = page + 1;
    const fits = next <= PAGES_MAX && pageId(orderId, next).length <= PAGE_ID_CHARACTERS_MAX;
    if (!read(error, 'tokenLost') || !fits) throw error;
    return order;
  }

  /** The customer has begun to pay: the page is there, and somebody has its address. */
  async #landed (order, error) {
    const { fault } = await this.#news.learn(order.orderId, error.response, 'midtrans');
    const found = await this.#ledger.findOrder(this.#database, order.orderId);
    if (fault !== undefined || isUnmade(found)) throw error;
    return found;
  }

  async #opened (order, { token, redirect_url: redirectUrl }) {
    const { orderId } = order;
    const change = { to: 'created', by: 'midtrans', token, redirectUrl };
    const moved = await this.#moveAlong(order, change);
    if (moved !== undefined) return moved;
    return this.#change(orderId, async (client, locked) => {
      if (isUnmade(locked)) return this.#book.move(client, locked, change);
      await this.#ledger.setPage(client, orderId, { token, redirectUrl });
      return undefined;
    });
  }

  /** A page could not be made. */
  async #setBack (order, change) {
    const { orderId } = order;
    const isMoved = change.to !== order.state &&
      await this.#moveAlong(order, change) !== undefined;
    if (isMoved) return;
    if (change.unask) await this.#ledger.unask(this.#database, orderId);
    if (change.to !== order.state) await this.move(orderId, change);
  }

  /**
   * Moves an order together with others.
   * @returns {Promise<object|undefined>} the order; undefined if somebody else is at it, or hooks
   *   are to hear of it
   */
  async #moveAlong (order, change) {
    if (this.#book.hooksOf(change.to).length > 0) return undefined;
    const moved = await this.#moves.add({ order, change });
    return moved && this.#tell(moved);
  }

  /** Moves an order that has no page yet. Whoever was faster, with better news, is right. */
  async move (orderId, change) {
    return this.#change(orderId, (client, order) => (isUnmade(order) && order.state !== change.to
      ? this.#book.move(client, order, change) : undefined));
  }

  /** @returns {Promise<object>} the order */
  async #change (orderId, change) {
    return this.#tell(await this.#database.transaction(async client => {
      const order = await this.#ledger.findOrder(client, orderId, { lock: true });
      return await change(client, order) ??
        { order: await this.#ledger.findOrder(client, orderId) };
    }));
  }

  #tell ({ order, transition }) {
    if (transition !== undefined) this.#emit('transition', order, transition);
    return order;
  }
}

/** What an order is when its page could not be made. */
function stateAfter (error, isSure) {
  if (read(error, 'code') === 'ERR_MIDTRANS_REFUSED') return 'failed';
  return isSure ? 'queued' : 'unknown';
}

function bodyOf ({ orderId, body }, page) {
  if (body === null) {
    throw new StoreError('ERR_PAYMENT_ORDER', `There is no body to make ${orderId} of`);
  }
  const given = JSON.parse(body);
  const details = { ...given.transaction_details, order_id: pageId(orderId, page) };
  return { ...given, transaction_details: details };
}

module.exports = { Pages, isUnmade, missing };
