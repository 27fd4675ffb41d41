'use strict';

// Orders on their way to Midtrans: a page is made for each, at once or, if that cannot be, by the
// worker later.

const { StoreError } = require('./store-errors');
const { pageId } = require('./payment-ledger');

// Orders for which a page may still be asked for.
const UNMADE = ['queued', 'unknown'];

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

  /** @param {object} parts { database, ledger, book, midtrans, news, emit } */
  constructor ({ database, ledger, book, midtrans, news, emit }) {
    this.#database = database;
    this.#ledger = ledger;
    this.#book = book;
    this.#midtrans = midtrans;
    this.#news = news;
    this.#emit = emit;
  }

  /**
   * Makes the page of an order, if it has none.
   * @param {object} [options]
   * @param {AbortSignal} [options.signal]
   * @param {boolean} [options.fresh] whether it was taken in just now, so that nobody has asked
   *   for its page before
   * @returns {Promise<object>} the order
   * @throws what Midtrans's client throws; the order stays queued or unknown, or has failed
   */
  async make (orderId, { signal, fresh = false } = {}) {
    let order = await this.#ledger.findOrder(this.#database, orderId);
    if (order === undefined) throw missing(orderId);
    let { pages: page } = order;
    let resume = order.asked && !fresh;
    while (isUnmade(order)) {
      if (!fresh) await this.#ledger.ask(this.#database, orderId, page);
      try {
        const made = await this.#midtrans.createTransaction(bodyOf(order, page),
          { resume, signal });
        return await this.#opened(orderId, made);
      } catch (error) {
        order = await this.#failed(order, { page, resume, error });
      }
      page += 1;
      resume = fresh = false;
    }
    return order;
  }

  /** @returns {Promise<object>} the order, if it has been made, or if its next page is to be */
  async #failed (order, { page, resume, error }) {
    const { orderId } = order;
    if (error?.code === 'ERR_MIDTRANS_CONFLICT' && error.response?.transaction_id !== undefined) {
      return this.#landed(order, error);
    }
    const isSure = !error?.ambiguous && !resume;
    if (isSure) await this.#ledger.unask(this.#database, orderId);
    const to = stateAfter(error, isSure);
    await this.move(orderId, { to, by: 'midtrans', reason: String(error) });
    if (error?.code === 'ERR_MIDTRANS_REFUSED') throw error;
    // The page is there, but nobody has its token, nor will: it can only be replaced.
    const next = page + 1;
    const fits = next <= PAGES_MAX && pageId(orderId, next).length <= PAGE_ID_CHARACTERS_MAX;
    if (!error?.tokenLost || !fits) throw error;
    return order;
  }

  /** The customer has begun to pay: the page is there, and somebody has its address. */
  async #landed (order, error) {
    const { fault } = await this.#news.learn(order.orderId, error.response, 'midtrans');
    const found = await this.#ledger.findOrder(this.#database, order.orderId);
    if (fault !== undefined || isUnmade(found)) throw error;
    return found;
  }

  async #opened (orderId, { token, redirect_url: redirectUrl }) {
    const { order } = await this.#change(orderId, async (client, locked) => {
      await this.#ledger.setPage(client, orderId, { token, redirectUrl });
      return isUnmade(locked) ? this.#book.move(client, locked,
        { to: 'created', by: 'midtrans' }) : undefined;
    });
    return order;
  }

  /** Moves an order that has no page yet. Whoever was faster, with better news, is right. */
  async move (orderId, change) {
    return this.#change(orderId, (client, order) => (isUnmade(order) && order.state !== change.to
      ? this.#book.move(client, order, change) : undefined));
  }

  async #change (orderId, change) {
    const moved = await this.#database.transaction(async client => {
      const order = await this.#ledger.findOrder(client, orderId, { lock: true });
      return await change(client, order) ?? { order };
    });
    if (moved.transition !== undefined) this.#emit('transition', moved.order, moved.transition);
    return moved;
  }
}

/** What an order is when its page could not be made. */
function stateAfter (error, isSure) {
  if (error?.code === 'ERR_MIDTRANS_REFUSED') return 'failed';
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
