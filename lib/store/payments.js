'use strict';

// Payments: orders, their pages at Midtrans, its notifications, and the hooks that hear of them.
// This is the public face: it checks what it is given. All parts share one context.

const Emitter = require('../base/emitter');
const { SekeringError, invalidOption } = require('../base/errors');
const { isA, read } = require('../base/foreign');
const { is, oneOf, optionsOf, readable } = require('../base/options');
const { isOrderId, readBody } = require('../clients/midtrans-requests');
const { timeOption } = require('./pages');
const { PaymentInbox } = require('./payment-inbox');
const { HOOK_CHANNEL, ORDER_CHANNEL, OUTCOMES, PaymentLedger } = require('./payment-ledger');
const { PaymentOrders, missing } = require('./payment-orders');
const { FIRST_STATES, STATES, minorOf } = require('./payment-states');

// Midtrans may be down for long; while its breaker is open no attempt is counted.
const ORDER_ATTEMPTS = 100;
const HOOK_ATTEMPTS = 20;
// As long as all attempts of the client take together.
const ORDER_TIMEOUT_MS = 120_000;

const AMOUNT_MAX = 10n ** 17n;
const CURRENCY = 'IDR';
const AGE_MS_MAX = 366 * 86_400_000;

// ---- Options -----------------------------------------------------------------------------------

const textOption = (doc, max, spec) => is.where(doc, `a text of 1 to ${max} characters`, value =>
  typeof value === 'string' && value !== '' && value.length <= max && !value.includes('\0'), spec);

const orderIdOption = (doc, spec) =>
  is.where(doc, '1 to 50 characters of A-Z a-z 0-9 - _ ~ .', isOrderId, spec);

const limitOption = (doc, max) => is.integer(doc, { min: 1, max, default: 100 });

const HOOKS = optionsOf({
  onPaid: is.func('the order was paid'),
  onDenied: is.func('one attempt to pay was denied'),
  onFailed: is.func('it can no longer be paid: it was denied or cancelled, has expired or failed'),
  onRefund: is.func('for each refund, with its key and amount'),
  onRefunded: is.func('money was refunded; once for each transition'),
  onChargeback: is.func('for each time a bank took money back'),
  onTransition: is.func('any transition'),
  onNotification: is.func('a notification about something else than an order of the store'),
});

const OPTIONS = optionsOf({
  midtrans: is.having('makes pages and confirms notifications; orders can be recorded without it',
    ['verifyNotification', 'status', 'createTransaction'], { expected: 'a MidtransClient' }),
  maxBody: is.integer('of a notification',
    { min: 1024, max: 16 << 20, default: 65_536, unit: 'bytes' }),
  irisMerchantKey: is.text('signs the notifications of payouts',
    { pattern: /./s, expected: 'a text that is not empty' }),
  confirm: is.boolean('whether Midtrans is asked before anything changes', { default: true }),
  hooks: is.table('run by a worker, once for each transition', HOOKS, { default: {} }),
});

const CLIENT = { client: is.any('a transaction in which the order is recorded') };
const CREATE_OPTIONS = optionsOf(CLIENT);
const DEFER_OPTIONS = optionsOf({
  ...CLIENT, reason: is.any('the error because of which; if it is ambiguous, the order is unknown'),
});
const OPEN_OPTIONS = optionsOf({
  signal: is.signal('ends the requests to Midtrans'),
  timeout: is.ms('for each request to Midtrans', { min: 1 }),
});

const ORDER = optionsOf({
  orderId: orderIdOption('at Midtrans', { required: true }),
  amountMinor: {
    doc: 'hundredths of the currency\'s unit', required: true,
    expected: `an integer from 1 to ${AMOUNT_MAX}`, check: readAmount,
  },
  currency: is.text('of the amount',
    { pattern: /^[A-Z]{3}$/, expected: 'three letters A-Z', default: CURRENCY }),
  state: is.oneOf('what is known of it', FIRST_STATES, { default: 'created' }),
  body: is.any('what Midtrans is asked for', { default: null }),
  token: textOption('of the page', 2000, { or: [null], default: null }),
  redirectUrl: textOption('the address of the page', 2000, { or: [null], default: null }),
});

const LIST_FILTER = optionsOf({
  state: is.oneOf('of the order', STATES),
  held: is.boolean('whether it waits for a person'),
  search: textOption('part of the id of an order or a transaction', 100),
  since: timeOption('that were made then or later'),
  until: timeOption('that were made before that'),
  before: orderIdOption('only older orders'),
  limit: limitOption('orders', 1000),
});

const EVENT_FILTER = optionsOf({
  outcome: is.oneOf('of the event', OUTCOMES),
  before: is.where('only older events', "an event's id", value => /^\d{1,18}$/.test(value)),
  limit: limitOption('events', 1000),
});

const RECONCILE_OPTIONS = optionsOf({
  olderThan: is.ms('without news from Midtrans', { max: AGE_MS_MAX, default: 900_000 }),
  limit: limitOption('orders', 10_000),
});

const REVIEW_OPTIONS = optionsOf({
  by: textOption('who has decided', 100, { required: true }),
  reason: textOption('why', 2000, { required: true }),
});

function readAmount (option, value) {
  const amount = Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof amount !== 'bigint' || amount < 1n || amount > AMOUNT_MAX) {
    throw invalidOption(option, `an integer from 1 to ${AMOUNT_MAX}`, value,
      typeof amount === 'bigint' ? RangeError : TypeError);
  }
  return amount;
}

function checkOrderId (value) { ORDER.entries.orderId.check('orderId', value); }

/** The body for Midtrans as JSON; it has to describe this order. */
function readOrderBody (order) {
  const json = readBody('createTransaction', order.body);
  const { order_id: id, gross_amount: amount } = order.body.transaction_details;
  if (id !== order.orderId) throw invalidOption('order.body', `the order ${order.orderId}`, id);
  if (minorOf(amount) !== order.amountMinor) {
    throw invalidOption('order.body', `a gross_amount of ${order.amountMinor} minor units`, amount,
      RangeError);
  }
  return json;
}

/** An order that is made elsewhere. */
function readOrder (given) {
  const order = ORDER.read(given, 'order');
  if (order.body !== null) return { ...order, body: readOrderBody(order) };
  if (order.state === 'queued') throw invalidOption('order.body', 'an object', given.body);
  return order;
}

/** An order that is given as the body for Midtrans. */
function orderOf (body, state) {
  const json = readBody('createTransaction', body);
  const { order_id: id, gross_amount: amount } = JSON.parse(json).transaction_details;
  return {
    orderId: id, amountMinor: readAmount('amountMinor', minorOf(amount)), state, currency: CURRENCY,
    body: json, token: null, redirectUrl: null,
  };
}

const isRaw = value => typeof value === 'string' || isA(value, Uint8Array);

/** The header Iris-Signature, of Node.js's headers, or others' in any case, or a Headers object. */
function signatureOf (headers) {
  try {
    if (typeof headers?.get === 'function') return headers.get('iris-signature') ?? undefined;
    const name = Object.keys(headers ?? {}).find(key => key.toLowerCase() === 'iris-signature');
    return name && headers[name];
  } catch {
    return undefined;
  }
}

/** The bytes of a notification. An object from a parser will do: Midtrans signs fields. */
function readBytes (rawBody) {
  if (typeof rawBody === 'string') return Buffer.from(rawBody);
  if (isRaw(rawBody)) {
    return readable('rawBody', 'bytes that can be read', rawBody,
      () => Buffer.from(rawBody.buffer, rawBody.byteOffset, rawBody.byteLength));
  }
  if (typeof rawBody !== 'object' || rawBody === null) {
    throw invalidOption('rawBody', 'a body as bytes, text or a parsed object', rawBody);
  }
  try {
    return Buffer.from(JSON.stringify(rawBody));
  } catch {
    throw invalidOption('rawBody', 'an object that JSON can express', rawBody);
  }
}

/** The amounts in a hook's transition, which JSON could not hold. */
function withAmounts ({ ...transition }) {
  for (const name of ['refund', 'chargeback']) {
    const { amountMinor, ...more } = transition[name] ?? {};
    if (amountMinor === undefined) continue;
    transition[name] = { ...more, amountMinor: amountMinor === null ? null : BigInt(amountMinor) };
  }
  return transition;
}

// ---- Payments ----------------------------------------------------------------------------------

class Payments extends Emitter {
  #midtrans;
  #hooks;
  #ledger;
  #inbox;
  #orders;

  constructor ({ database, outbox, idempotency, options }) {
    super();
    const context = {
      ...OPTIONS.read(options, 'payments'), database, outbox, idempotency,
      emit: (event, ...args) => this.emit(event, ...args),
    };
    outbox.registerChannel(ORDER_CHANNEL, { maxAttempts: ORDER_ATTEMPTS });
    outbox.registerChannel(HOOK_CHANNEL, { maxAttempts: HOOK_ATTEMPTS });
    this.#midtrans = context.midtrans;
    this.#hooks = context.hooks;
    this.#ledger = context.ledger = new PaymentLedger(context);
    this.#inbox = context.inbox = new PaymentInbox(context);
    this.#orders = new PaymentOrders(context);
  }

  async createOrder (order, options) {
    const given = readOrder(order);
    const { client } = CREATE_OPTIONS.read(options);
    return (await this.#orders.record(given, { client })).order;
  }

  /** @param {object} [joint] of Idempotency: a key that is claimed with the order */
  async defer (body, options, joint) {
    const { client, reason } = DEFER_OPTIONS.read(options);
    const given = orderOf(body, read(reason, 'ambiguous') === true ? 'unknown' : 'queued');
    return (await this.#orders.record(given, { client, joint, leave: true })).order;
  }

  /** @param {object} [joint] of Idempotency: a key that is claimed and settled with the order */
  async open (body, options, joint) {
    const { signal, timeout } = OPEN_OPTIONS.read(options);
    this.#needMidtrans();
    return this.#orders.open(orderOf(body, 'unknown'), { signal, timeout, joint });
  }

  senders () {
    return {
      [ORDER_CHANNEL]: {
        send: ({ data: { orderId } }, { signal }) => this.#orders.makeLater(orderId, signal),
        breaker: this.#midtrans?.breaker, timeout: ORDER_TIMEOUT_MS,
      },
      [HOOK_CHANNEL]: { send: (message, { signal }) => this.#runHook(message.data, signal) },
    };
  }

  async #runHook ({ hook, orderId, transition, notice }, signal) {
    const run = this.#hooks[hook];
    if (run === undefined) {
      throw new SekeringError('ERR_PAYMENT_HOOK', `This process has no hook ${hook}`);
    }
    if (notice !== undefined) {
      await run(JSON.parse(notice), { signal });
      return;
    }
    const order = await this.#ledger.get(orderId);
    if (order === undefined) throw missing(orderId);
    await run(order, withAmounts(transition), { signal });
  }

  /** Of the headers only Iris-Signature is read: they are not signed. */
  async handleNotification (rawBody, headers) {
    const bytes = readBytes(rawBody);
    this.#needMidtrans();
    return this.#inbox.take(bytes,
      { signature: signatureOf(headers), isParsed: !isRaw(rawBody) });
  }

  async get (orderId) {
    checkOrderId(orderId);
    return this.#ledger.get(orderId);
  }

  async list (filter) { return this.#ledger.listOrders(LIST_FILTER.read(filter, 'filter')); }

  async events (orderId) {
    checkOrderId(orderId);
    return this.#ledger.eventsOf(orderId);
  }

  async listEvents (filter) { return this.#ledger.listEvents(EVENT_FILTER.read(filter, 'filter')); }

  async reconcile (options) {
    const given = RECONCILE_OPTIONS.read(options);
    this.#needMidtrans();
    return this.#orders.reconcile(given);
  }

  async review (orderId, decision, options) {
    checkOrderId(orderId);
    oneOf('decision', decision, ['apply', 'dismiss']);
    const { by, reason } = REVIEW_OPTIONS.read(options);
    this.#needMidtrans();
    return this.#inbox.review(orderId, decision, { by, reason });
  }

  /** Records the notifications that were only counted. */
  async close () { await this.#inbox.close(); }

  #needMidtrans () {
    if (this.#midtrans !== undefined) return;
    throw invalidOption('payments.midtrans', 'a MidtransClient', undefined);
  }
}

const createPayments = settings => new Payments(settings);

module.exports = { PAYMENT_OPTIONS: OPTIONS, createPayments };
