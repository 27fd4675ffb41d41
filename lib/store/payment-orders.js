'use strict';

// Orders on their way to Midtrans. Each is recorded, and its page is made at once or, if that is
// not possible, later by the worker. If Midtrans is silent about an order, we ask.

const { isA, read, textOf } = require('../base/foreign');
const { wasNotAsked } = require('../base/errors');
const { tokenLost } = require('../clients/midtrans-errors');
const { Batcher } = require('./batcher');
const { canExpire, hasFailed, isUnmade, pageId, recordAgain } = require('./payment-states');
const { StoreError } = require('./store-errors');

// At most this many orders that arrive together share a statement.
const GROUP = { count: 100, weight: 1024 * 1024, writers: 1 };
const MOVES = { count: 100, weight: 1024 * 1024, writers: 1 };

const PAGES_MAX = 9;
const PAGE_ID_CHARACTERS_MAX = 50;

// How long a page can be used, unless its order says otherwise.
const PAGE_LIFE_MS = 24 * 3600 * 1000;
// Clocks differ, and a customer may begin to pay at the last moment.
const PAGE_GRACE_MS = 3600 * 1000;
const UNIT_MS = { minute: 60_000, hour: 3_600_000, day: 86_400_000 };

const LOOKUPS_AT_ONCE = 5;

const missing = orderId => new StoreError('ERR_PAYMENT_ORDER', `There is no order ${orderId}`);

class PaymentOrders {
  #context;
  #newOrders;
  #deferredOrders;
  #failedOrders;
  #moves;

  /** @param {object} context of Payments */
  constructor (context) {
    this.#context = context;
    const { database, ledger } = context;
    // An order is durable before Midtrans is asked. If a crash of the database lost it, its shop
    // would be told that the id is taken, and its page could not be replaced.
    this.#newOrders = new Batcher(orders => ledger.insertOrders(database, orders), GROUP);
    this.#deferredOrders = new Batcher(orders => ledger.insertAndLeave(orders), GROUP);
    this.#failedOrders = new Batcher(orderIds => this.#leave(orderIds), GROUP);
    this.#moves = new Batcher(moves => ledger.moveAll(moves), MOVES);
  }

  // ---- Recording -------------------------------------------------------------------------------

  /**
   * Records an order, in a transaction of the caller's if there is one.
   * @param {object} given { orderId, amountMinor, currency, state, body, token, redirectUrl }
   * @param {{ client?: object, leave?: boolean, joint?: object }} [options] leave: to the worker.
   *   joint: of Idempotency, not with a client
   * @returns {Promise<{ order: object, isNew: boolean }>}
   */
  async record (given, { client, joint, leave = given.state === 'queued' } = {}) {
    const { database, ledger } = this.#context;
    if (client !== undefined) return this.#recordWith(database.wrap(client), given, leave);
    const order = await this.#insert(leave ? this.#deferredOrders : this.#newOrders, given, joint);
    if (order !== undefined) return { order, isNew: true };
    const recorded = await database.transaction(own => this.#recordWith(own, given, leave));
    ledger.announce(recorded.move);
    return recorded;
  }

  /** Inserts an order together with others, once it has its key. */
  async #insert (group, given, joint) {
    const item = { ...given, weight: given.body?.length };
    if (joint !== undefined) {
      const order = await group.add({ ...item, claim: joint.claim() });
      if (joint.isHeld) return order;
      await joint.take();
    }
    return group.add(item);
  }

  async #recordWith (client, given, leave) {
    const { ledger } = this.#context;
    const { orderId } = given;
    const [made] = await ledger.insertOrders(client, [given]);
    const move = made === undefined ? await this.#recordAgain(client, given) : undefined;
    if (leave) await ledger.leave(client, [orderId]);
    const order = made ?? await ledger.findOrder(client, orderId);
    return { order, isNew: made !== undefined, move: move && { ...move, order } };
  }

  /** Adds to an order what is now known about it. @returns {Promise<object|undefined>} its move */
  async #recordAgain (client, given) {
    const { ledger } = this.#context;
    const { orderId, amountMinor, currency, state, body, token, redirectUrl } = given;
    const order = await ledger.findOrder(client, orderId, { lock: true });
    if (order.amountMinor !== amountMinor || order.currency !== currency) {
      throw new StoreError('ERR_PAYMENT_ORDER', `Order ${orderId} exists with another amount`);
    }
    const changes = recordAgain(order, given);
    if (changes.body) await ledger.setBody(client, orderId, body);
    if (changes.page) await ledger.setPage(client, orderId, { token, redirectUrl });
    return changes.state ? ledger.move(client, order, { to: state, by: 'order' }) : undefined;
  }

  async #leave (orderIds) {
    const { database, ledger } = this.#context;
    const ids = [...new Set(orderIds)].sort();
    const orders = await database.transaction(async client => {
      await ledger.leave(client, ids);
      return ledger.findOrders(client, ids);
    });
    return orderIds.map(orderId => orders.get(orderId));
  }

  // ---- Pages -----------------------------------------------------------------------------------

  /** Records an order and makes its page; see `open` of Payments. */
  async open (given, { signal, timeout, joint }) {
    const { order, isNew } = await this.record(given, { joint });
    const { orderId } = order;
    try {
      const opened = await this.#makePage(order, {
        signal, timeout, isNew, joint: joint?.after(made => ({ order: made, queued: false })),
      });
      return { order: opened, queued: false };
    } catch (error) {
      // `reconcile` finds out what happened to the order.
      if (isA(error, StoreError)) throw error;
      if (isRefusal(error)) {
        await this.#moveUnmade(orderId, { to: 'failed', by: 'open', reason: textOf(error) });
        throw error;
      }
      return { order: await this.#failedOrders.add(orderId), queued: true, error };
    }
  }

  /** Makes the page of an order that was left to the worker. */
  async makeLater (orderId, signal) {
    const order = await this.#context.ledger.get(orderId);
    if (order === undefined) throw missing(orderId);
    try {
      await this.#makePage(order, { signal });
    } catch (error) {
      const cause = read(error, 'cause');
      const isUnsent = read(error, 'code') === 'ERR_MIDTRANS_UNKNOWN_OUTCOME' && wasNotAsked(cause);
      // An earlier attempt made the outcome unknown. This time nothing was sent, and the worker
      // needs to know why.
      throw isUnsent ? cause : error;
    }
  }

  /**
   * Makes the page of an order, if it has none. A page whose token is lost is replaced once: if
   * answers go on being lost, the next attempt goes on, so that one outage does not use up all the
   * pages that an order may have.
   * @param {object} given the order
   * @param {object} options
   * @param {AbortSignal} [options.signal]
   * @param {number} [options.timeout] ms for each request to Midtrans
   * @param {boolean} [options.isNew] whether it was recorded just now, so that nobody has asked for
   *   its page before
   * @param {object} [options.joint] of Idempotency: a key that is settled with the order
   * @returns {Promise<object>} the order
   * @throws what Midtrans's client throws, or that the token is lost; the order stays queued or
   *   unknown, or has failed
   */
  async #makePage (given, { signal, timeout, joint, isNew = false }) {
    const { ledger } = this.#context;
    let order = given;
    let { pages: page, askedAt } = order;
    // Whether Midtrans may have made this page before.
    let resume = false;
    let isSetAsked = isNew;
    while (isUnmade(order)) {
      if (!isSetAsked) ({ resume, askedAt } = await ledger.setAsked(order.orderId, page));
      const { made, error } = await this.#createPage(order, page, { resume, signal, timeout });
      if (made !== undefined) return this.#pageMade(order, made, joint);
      const isFirst = page === given.pages;
      order = await this.#pageFailed(order, { page, isFirst, resume, askedAt, error });
      page += 1;
      resume = isSetAsked = false;
    }
    return order;
  }

  async #createPage (order, page, options) {
    try {
      const made = await this.#context.midtrans.createTransaction(bodyOf(order, page), options);
      return { made };
    } catch (error) {
      return { error };
    }
  }

  async #pageMade (order, { token, redirect_url: redirectUrl }, joint) {
    const { ledger } = this.#context;
    const { orderId } = order;
    const change = { to: 'created', by: 'midtrans', token, redirectUrl };
    const moved = await this.#moveInGroup(order, change, joint);
    if (moved !== undefined) return moved;
    return this.#change(orderId, async (client, locked) => {
      if (isUnmade(locked)) return ledger.move(client, locked, change);
      // Another call may have made a page meanwhile. A customer has that one, and nobody has ours.
      if (locked.token === null) await ledger.setPage(client, orderId, { token, redirectUrl });
      return undefined;
    });
  }

  /** @returns {Promise<object>} the order, if it has a page after all, or needs the next one now */
  async #pageFailed (order, { page, isFirst, resume, askedAt, error }) {
    const { orderId } = order;
    const code = read(error, 'code');
    const transactionId = read(read(error, 'response'), 'transaction_id');
    if (code === 'ERR_MIDTRANS_CONFLICT' && transactionId !== undefined) {
      return this.#paidAlready(order, error);
    }
    const isLost = read(error, 'tokenLost') || (code === 'ERR_MIDTRANS_CONFLICT' &&
      await this.#isAskedBesides(orderId, askedAt));
    const isSure = !read(error, 'ambiguous') && !resume && !isLost;
    await this.#setBack(order, {
      to: stateAfter(error, isSure), by: 'midtrans', reason: textOf(error), unask: isSure
    });
    if (!isLost) throw error;
    // The page is there, and only a page with another id can replace it, unless another call has
    // its token, and has recorded it.
    const found = await this.#context.ledger.get(orderId);
    const next = page + 1;
    const fits = next <= PAGES_MAX && pageId(orderId, next).length <= PAGE_ID_CHARACTERS_MAX;
    if (!isUnmade(found) || (fits && isFirst)) return found;
    throw tokenLost(error,
      { operation: 'createTransaction', orderId: pageId(orderId, page), retryable: fits });
  }

  /** Whether another call has asked for the page meanwhile, so that it may have made it. */
  async #isAskedBesides (orderId, askedAt) {
    const order = await this.#context.ledger.get(orderId);
    return !isUnmade(order) || Number(order.askedAt) !== Number(askedAt);
  }

  /** The customer has begun to pay: the page exists, and somebody has its address. */
  async #paidAlready ({ orderId }, error) {
    const { inbox, ledger } = this.#context;
    const { fault } = await inbox.learn(orderId, read(error, 'response'), 'midtrans');
    const found = await ledger.get(orderId);
    if (fault !== undefined || isUnmade(found)) throw error;
    return found;
  }

  /** Notes that a page could not be made. */
  async #setBack (order, change) {
    const { orderId } = order;
    const isMoved = change.to !== order.state &&
      await this.#moveInGroup(order, change) !== undefined;
    if (isMoved) return;
    if (change.unask) await this.#context.ledger.unsetAsked(orderId);
    if (change.to !== order.state) await this.#moveUnmade(orderId, change);
  }

  // ---- Moves -----------------------------------------------------------------------------------

  /**
   * Moves an order together with others.
   * @returns {Promise<object|undefined>} the order; undefined if it has to be moved alone: it is
   *   locked or was moved meanwhile, or a hook hears of the state
   */
  async #moveInGroup (order, change, joint) {
    const { ledger } = this.#context;
    if (ledger.hasHooks(order.state, change.to)) return undefined;
    const settlement = joint?.settlement(ledger.moved(order, change));
    const move = await this.#moves.add({ order, change, settlement, weight: settlement?.weight });
    ledger.announce(move);
    return move?.order;
  }

  /** Moves an order that still has no page. If it has got one in the meantime, that is fine. */
  async #moveUnmade (orderId, change) {
    return this.#change(orderId, (client, order) => (isUnmade(order) && order.state !== change.to
      ? this.#context.ledger.move(client, order, change) : undefined));
  }

  /** @returns {Promise<object>} the order after `work`, which returns its move */
  async #change (orderId, work) {
    const { ledger } = this.#context;
    const { order } = await ledger.change(orderId, async (client, locked) => {
      const move = await work(client, locked);
      return { move, order: move?.order ?? await ledger.findOrder(client, orderId) };
    });
    return order;
  }

  // ---- Reconciliation --------------------------------------------------------------------------

  /** @returns {Promise<{ checked: number, changed: number, failed: number }>} */
  async reconcile ({ olderThan, limit }) {
    const { ledger, emit } = this.#context;
    const open = await ledger.claimSilent({ olderThan, limit });
    const counts = { checked: open.length, changed: 0, failed: 0 };
    const work = async () => {
      for (let entry = open.shift(); entry !== undefined; entry = open.shift()) {
        try {
          if (await this.#lookUp(entry)) counts.changed += 1;
        } catch (error) {
          counts.failed += 1;
          emit('warning', error);
        }
      }
    };
    await Promise.all(Array.from({ length: LOOKUPS_AT_ONCE }, work));
    return counts;
  }

  /** @returns {Promise<boolean>} whether the order has changed */
  async #lookUp ({ order, openMs }) {
    const { inbox } = this.#context;
    const { orderId, pages, held } = order;
    let isFound = false;
    let hasChanged = held && await inbox.askAgain(orderId);
    for (let page = 1; page <= pages; page += 1) {
      const body = await inbox.ask(pageId(orderId, page));
      if (body === undefined) continue;
      isFound = true;
      const { changed } = await inbox.learn(orderId, body, 'reconcile');
      hasChanged ||= changed;
    }
    const isDone = await this.#withoutPayment(order, { openMs, isFound });
    return isDone || hasChanged;
  }

  /**
   * Midtrans knows no transaction. That is normal until the customer begins to pay, whether or not
   * the order has a page; and it is like that if all attempts were denied.
   */
  async #withoutPayment (order, { openMs, isFound }) {
    const { database, ledger } = this.#context;
    const { orderId, state, body } = order;
    if (openMs > pageLifeMs(body) + PAGE_GRACE_MS) {
      if (canExpire(order)) return this.#expire(orderId);
      if (hasFailed(order)) await this.#forget(orderId);
    }
    if (!isFound && state === 'unknown' && body !== null) {
      await database.transaction(client => ledger.leave(client, [orderId]));
    }
    return false;
  }

  /** An earlier release called an order failed while it had a page, which is over now. */
  async #forget (orderId) {
    const { ledger } = this.#context;
    await ledger.change(orderId, async (client, { held }) => {
      if (!held) await ledger.setHeld(client, orderId, false);
      return {};
    });
  }

  async #expire (orderId) {
    const { ledger } = this.#context;
    const change = { to: 'expired', by: 'reconcile', reason: 'Its page has expired' };
    const { move } = await ledger.change(orderId, async (client, order) => ({
      move: canExpire(order) ? await ledger.move(client, order, change) : undefined,
    }));
    return move !== undefined;
  }
}

/** Whether Midtrans will never accept the order. A wrong server key can be corrected. */
const isRefusal = error => read(error, 'retryable') === false &&
  !read(error, 'ambiguous') && read(error, 'code') !== 'ERR_MIDTRANS_UNAUTHORIZED';

/** The state of an order whose page could not be made. */
function stateAfter (error, isSure) {
  if (read(error, 'code') === 'ERR_MIDTRANS_REFUSED') return 'failed';
  return isSure ? 'queued' : 'unknown';
}

/** What Midtrans is asked for. */
function bodyOf ({ orderId, body }, page) {
  if (body === null) {
    throw new StoreError('ERR_PAYMENT_ORDER', `Order ${orderId} has no body for a page`);
  }
  const given = JSON.parse(body);
  const details = { ...given.transaction_details, order_id: pageId(orderId, page) };
  return { ...given, transaction_details: details };
}

/** How long the page of an order can be used. */
function pageLifeMs (body) {
  const { page_expiry: expiry } = body === null ? {} : JSON.parse(body);
  const unit = UNIT_MS[String(expiry?.unit).replace(/s$/, '')];
  return unit !== undefined && expiry.duration > 0 ? expiry.duration * unit : PAGE_LIFE_MS;
}

module.exports = { PaymentOrders, missing };
