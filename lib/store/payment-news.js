'use strict';

// What Midtrans answers when it is asked about an order without having notified us, and the
// reconciliation of orders about which it has been silent for too long.

const { SekeringError } = require('../base/errors');
const { read } = require('../base/foreign');
const { isStatus, statusEvent } = require('./payment-notification');
const { pageId } = require('./payment-ledger');
const { readTransaction } = require('./payment-states');

// The life of a Snap page on which nobody has chosen how to pay, unless its order says otherwise.
const PAGE_LIFE_MS = 24 * 3600 * 1000;
// Clocks differ, and a customer may have chosen at the last moment.
const PAGE_GRACE_MS = 3600 * 1000;
const UNIT_MS = { minute: 60_000, hour: 3_600_000, day: 86_400_000 };

const CONCURRENCY = 5;

/** How long the page of an order can be used. */
function pageLifeMs (body) {
  const { page_expiry: expiry } = body === null ? {} : JSON.parse(body);
  const unit = UNIT_MS[String(expiry?.unit).replace(/s$/, '')];
  return unit !== undefined && expiry.duration > 0 ? expiry.duration * unit : PAGE_LIFE_MS;
}

class News {
  #database;
  #ledger;
  #book;
  #midtrans;
  #emit;

  /** @param {object} parts { database, ledger, book, midtrans, emit } */
  constructor ({ database, ledger, book, midtrans, emit }) {
    this.#database = database;
    this.#ledger = ledger;
    this.#book = book;
    this.#midtrans = midtrans;
    this.#emit = emit;
  }

  /** What Midtrans says of a transaction or an order; undefined if it knows of none. */
  async ask (id, { signal } = {}) {
    try {
      const body = await this.#midtrans.status(id, { signal });
      if (isStatus(body)) return body;
    } catch (error) {
      if (read(error, 'code') === 'ERR_MIDTRANS_NOT_FOUND') return undefined;
      throw error;
    }
    throw new SekeringError('ERR_MIDTRANS_RESPONSE', `Midtrans's status of ${id} is unreadable`);
  }

  /**
   * Enters an answer of GET status about an order.
   * @param {string} by who asked
   * @returns {Promise<{ changed: boolean, fault?: string }>}
   */
  async learn (orderId, body, by) {
    const { changed, fault, move, event } = await this.#database.transaction(async client => {
      const order = await this.#ledger.findOrder(client, orderId, { lock: true });
      const entered = await this.#book.enter(client, order, readTransaction(body),
        { by, confirmed: true });
      return { ...entered, event: await this.#note(client, orderId, body, entered) };
    });
    if (move !== undefined) this.#emit('transition', move.order, move.transition);
    if (event?.times === 1 && fault !== undefined) this.#emit('held', event, fault);
    return { changed, fault };
  }

  /** An answer that says nothing new is no event. */
  async #note (client, orderId, body, { changed, fault }) {
    if (!changed && fault === undefined) return undefined;
    const outcome = fault === undefined ? 'applied' : 'held';
    if (fault !== undefined) await this.#ledger.setHeld(client, orderId, true);
    const { id, times } = await this.#ledger.noteEvent(client, statusEvent(body), outcome, fault);
    const event = await this.#ledger.closeEvent(client, id, { outcome, reason: fault, orderId });
    return { ...event, times };
  }

  /** @returns {Promise<{ checked: number, changed: number, failed: number }>} */
  async reconcile ({ olderThan, limit }) {
    const open = await this.#ledger.claimSilent(this.#database, { olderThan, limit });
    const counts = { checked: open.length, changed: 0, failed: 0 };
    const next = async () => {
      for (let entry = open.shift(); entry !== undefined; entry = open.shift()) {
        try {
          if (await this.#check(entry)) counts.changed += 1;
        } catch (error) {
          counts.failed += 1;
          this.#emit('warning', error);
        }
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, next));
    return counts;
  }

  /** @returns {Promise<boolean>} whether the order has changed */
  async #check ({ order, openMs }) {
    let found = false;
    let hasChanged = false;
    for (let page = 1; page <= order.pages; page += 1) {
      const body = await this.ask(pageId(order.orderId, page));
      if (body === undefined) continue;
      found = true;
      const { changed } = await this.learn(order.orderId, body, 'reconcile');
      hasChanged ||= changed;
    }
    return found ? hasChanged : this.#unheardOf(order, openMs);
  }

  /**
   * Midtrans knows of no transaction. Until the customer has chosen how to pay that is so for every
   * order, whether its page is there or not; afterwards its page can no longer be used.
   */
  async #unheardOf ({ orderId, state, body }, openMs) {
    if (openMs > pageLifeMs(body) + PAGE_GRACE_MS && (state === 'created' || state === 'unknown')) {
      return this.#expire(orderId);
    }
    if (state === 'unknown' && body !== null) {
      await this.#database.transaction(client => this.#book.leave(client, [orderId]));
    }
    return false;
  }

  async #expire (orderId) {
    const move = await this.#database.transaction(async client => {
      const order = await this.#ledger.findOrder(client, orderId, { lock: true });
      if (order.state !== 'created' && order.state !== 'unknown') return undefined;
      return this.#book.move(client, order,
        { to: 'expired', by: 'reconcile', reason: 'Its page was never used' });
    });
    if (move !== undefined) this.#emit('transition', move.order, move.transition);
    return move !== undefined;
  }
}

module.exports = { News };
