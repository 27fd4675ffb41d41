'use strict';

// Orders and how they are paid: made at Midtrans or deferred, moved by its notifications and by
// what it answers, held when nobody but a person can say what is right.

const Emitter = require('../base/emitter');
const { SekeringError, invalidOption } = require('../base/errors');
const { isA, read, textOf } = require('../base/foreign');
const { bag } = require('../base/options');
const { Batcher } = require('./batcher');
const { Book, HOOK_CHANNEL, ORDER_CHANNEL } = require('./payment-book');
const { Inbox } = require('./payment-inbox');
const input = require('./payment-input');
const { Ledger } = require('./payment-ledger');
const { News } = require('./payment-news');
const { Pages, isUnmade, missing } = require('./payment-pages');
const { Review } = require('./payment-review');
const { Samples } = require('./payment-samples');
const { StoreError } = require('./store-errors');

// Midtrans may be away for long; while a breaker is open no attempt is counted anyway.
const ORDER_ATTEMPTS = 100;
const HOOK_ATTEMPTS = 20;
// As long as the client's own attempts take together.
const ORDER_TIMEOUT_MS = 120_000;

// Orders that come together share a statement up to this.
const GROUP = { count: 100, weight: 1024 * 1024, writers: 1 };

/** Whether Midtrans will not make an order, however often it is asked. Our key can be mended. */
const isRefusal = error => read(error, 'retryable') === false &&
  !read(error, 'ambiguous') && read(error, 'code') !== 'ERR_MIDTRANS_UNAUTHORIZED';

class Payments extends Emitter {
  #database;
  #ledger;
  #book;
  #options;
  #pages;
  #inbox;
  #news;
  #review;
  #samples;
  #newcomers;
  #leavers;
  #leftovers;

  constructor ({ database, outbox, options }) {
    super();
    this.#options = input.readOptions(options);
    outbox.registerChannel(ORDER_CHANNEL, { maxAttempts: ORDER_ATTEMPTS });
    outbox.registerChannel(HOOK_CHANNEL, { maxAttempts: HOOK_ATTEMPTS });
    const ledger = new Ledger(database);
    const book = new Book({ ledger, outbox, hooks: this.#options.hooks });
    const emit = (event, ...args) => this.emit(event, ...args);
    const parts = { ...this.#options, database, ledger, book, emit };
    this.#database = database;
    this.#ledger = ledger;
    this.#book = book;
    this.#news = parts.news = new News(parts);
    this.#pages = new Pages(parts);
    this.#samples = parts.samples = new Samples(parts);
    this.#inbox = new Inbox(parts);
    this.#review = new Review(parts);
    // On the disk before Midtrans is asked: of an order that a crash of the database took back its
    // shop would be told that somebody else has it, and nobody could replace its page.
    this.#newcomers = new Batcher(orders => ledger.insertOrders(database, orders), GROUP);
    this.#leavers = new Batcher(orders => book.insertAndLeave(database, orders), GROUP);
    this.#leftovers = new Batcher(orderIds => this.#leave(orderIds), GROUP);
  }

  async createOrder (order, options) {
    const given = input.readOrder(order);
    const { client } = bag('options', options);
    return (await this.#take(given, client)).order;
  }

  async defer (body, options) {
    const { client, reason } = bag('options', options);
    const state = read(reason, 'ambiguous') === true ? 'unknown' : 'queued';
    const given = input.readOrderOf(body, state);
    return (await this.#take(given, client, { leave: true })).order;
  }

  async open (body, options) {
    const { signal, timeout } = bag('options', options);
    this.#needMidtrans();
    const given = input.readOrderOf(body, 'unknown');
    const { order: taken, isNew } = await this.#take(given);
    const { orderId } = taken;
    try {
      const order = await this.#pages.make(taken, { signal, timeout, fresh: isNew });
      return { order, queued: false };
    } catch (error) {
      // What has become of the order is for `reconcile` to find out.
      if (isA(error, StoreError)) throw error;
      if (isRefusal(error)) {
        await this.#pages.move(orderId, { to: 'failed', by: 'open', reason: textOf(error) });
        throw error;
      }
      return { order: await this.#leftovers.add(orderId), queued: true, error };
    }
  }

  senders () {
    const { midtrans } = this.#options;
    return {
      [ORDER_CHANNEL]: {
        send: (message, { signal }) => this.#sendOrder(message, signal),
        breaker: midtrans?.breaker, timeout: ORDER_TIMEOUT_MS,
      },
      [HOOK_CHANNEL]: { send: (message, { signal }) => this.#runHook(message.data, signal) },
    };
  }

  // The headers are not signed, so that nothing in them matters.
  async handleNotification (rawBody) {
    const bytes = input.readBytes(rawBody);
    this.#needMidtrans();
    return this.#inbox.take(bytes);
  }

  async get (orderId) {
    input.readOrderId('orderId', orderId);
    return this.#ledger.findOrder(this.#database, orderId);
  }

  async list (filter) {
    return this.#ledger.listOrders(this.#database, input.readFilter(filter));
  }

  async events (orderId) {
    input.readOrderId('orderId', orderId);
    return this.#ledger.eventsOf(this.#database, orderId);
  }

  async listEvents (filter) {
    return this.#ledger.listEvents(this.#database, input.readEventFilter(filter));
  }

  async reconcile (options) {
    const given = input.readReconcile(options);
    this.#needMidtrans();
    return this.#news.reconcile(given);
  }

  async review (orderId, decision, options) {
    const how = input.readReview(orderId, decision, options);
    this.#needMidtrans();
    return this.#review.end(orderId, decision, how);
  }

  /** Writes down what has only been counted. */
  async close () { await this.#samples.close(); }

  // ---- Inside ----------------------------------------------------------------------------------

  #needMidtrans () {
    if (this.#options.midtrans !== undefined) return;
    throw invalidOption('payments.midtrans', 'a MidtransClient', undefined);
  }

  /** Takes an order in, in a transaction of the caller's if there is one. */
  async #take (given, client, { leave = given.state === 'queued' } = {}) {
    if (client !== undefined) return this.#takeWith(this.#database.wrap(client), given, leave);
    const line = leave ? this.#leavers : this.#newcomers;
    const order = await line.add({ ...given, weight: given.body?.length });
    if (order !== undefined) return { order, isNew: true };
    const taken = await this.#database.transaction(own => this.#takeWith(own, given, leave));
    if (taken.transition !== undefined) this.emit('transition', taken.order, taken.transition);
    return taken;
  }

  async #takeWith (client, given, leave) {
    const { orderId } = given;
    const [made] = await this.#ledger.insertOrders(client, [given]);
    const { transition } = made === undefined ? await this.#takeAgain(client, given) : {};
    if (leave) await this.#book.leave(client, [orderId]);
    const order = made ?? await this.#ledger.findOrder(client, orderId);
    return { order, isNew: made !== undefined, transition };
  }

  async #leave (orderIds) {
    const ids = [...new Set(orderIds)].sort();
    const orders = await this.#database.transaction(async client => {
      await this.#book.leave(client, ids);
      return this.#ledger.findOrders(client, ids);
    });
    return orderIds.map(orderId => orders.get(orderId));
  }

  /** An order that is there already: more is known of it now. */
  async #takeAgain (client, { orderId, amountMinor, currency, state, body, token, redirectUrl }) {
    const order = await this.#ledger.findOrder(client, orderId, { lock: true });
    if (order.amountMinor !== amountMinor || order.currency !== currency) {
      throw new StoreError('ERR_PAYMENT_ORDER', `${orderId} is an order of another amount`);
    }
    // Midtrans lets the id of an order be used again that was not paid in time.
    const isReopened = order.state === 'expired';
    if (body !== null && (isReopened || isUnmade(order))) {
      await this.#ledger.setBody(client, orderId, body);
    }
    if (token !== null || isReopened) {
      await this.#ledger.setPage(client, orderId, { token, redirectUrl });
    }
    const isMoved = isReopened || (isUnmade(order) && RANKS[state] > RANKS[order.state]);
    return isMoved ? this.#book.move(client, order, { to: state, by: 'order' }) : {};
  }

  async #sendOrder ({ data: { orderId } }, signal) {
    try {
      await this.#pages.makeLater(orderId, signal);
    } catch (error) {
      // Nothing was sent this time: the worker is to wait for the breaker.
      const isShut = read(error, 'code') === 'ERR_MIDTRANS_UNKNOWN_OUTCOME' &&
        read(read(error, 'cause'), 'code') === 'EOPENBREAKER';
      throw isShut ? read(error, 'cause') : error;
    }
  }

  async #runHook ({ hook, orderId, transition }, signal) {
    const run = this.#options.hooks[hook];
    if (run === undefined) {
      throw new SekeringError('ERR_PAYMENT_HOOK', `This process has no ${hook}`);
    }
    const order = await this.#ledger.findOrder(this.#database, orderId);
    if (order === undefined) throw missing(orderId);
    await run(order, transition, { signal });
  }
}

// How much is known of an order whose page has not been made.
const RANKS = { failed: 0, queued: 1, unknown: 2, created: 3 };

const createPayments = settings => new Payments(settings);

module.exports = { createPayments };
