'use strict';

// A Midtrans server (Snap and Core) for tests and demonstrations: real HTTP on loopback. It keeps
// the orders that it makes, and fails in the ways of the real one.

const crypto = require('node:crypto');

const clock = require('../base/clock');
const { invalidOption } = require('../base/errors');
const { is, optionsOf } = require('../base/options');
const {
  ADDRESS, FREQUENCY, HttpFake, answer, answerPage, delay, parse, pause, randomBetween, readBody,
} = require('./fake-server');
const {
  CoreLedger, NOTIFY_OPTIONS, notificationsOf, sendNotifications, testNotificationOf,
} = require('./midtrans-core');

const ORDER_ID = /^[A-Za-z0-9\-_~.]{1,50}$/;
const LOG_MAX = 1000;
const CORE_PATH =
  /^\/v2\/([^/]+)\/(status|approve|deny|cancel|expire|refund\/online\/direct|refund)$/;
const OPERATIONS = [
  'createTransaction', 'charge', 'capture', 'status', 'approve', 'deny', 'cancel', 'expire',
  'refund', 'directRefund'
];
const FAULT_STATUS_DEFAULT = { error: 500, html: 502, business: 500 };
const SERVER_TROUBLE = "Sorry, we've encountered an unexpected error";
const UNAUTHORIZED = 'Access denied due to unauthorized transaction, ' +
  'please check client or server key';

const OPTIONS = optionsOf({
  ...ADDRESS,
  serverKey: is.text('clients log in with it', {
    pattern: /./s, expected: 'a non-empty string', default: 'SB-Mid-server-fake',
  }),
  fault: is.any('what goes wrong from the start'),
  latencyMs: delay('before each answer'),
  ordersMax: is.integer('how many orders it makes', { min: 1, default: 1_000_000 }),
  trueStatus: is.boolean('errors of Core have their own HTTP status, not 200', { default: false }),
  uniqueOrders: is.boolean('false: an order can be charged more than once', { default: true }),
  idempotency: is.boolean('false: Idempotency-Key is ignored', { default: true }),
  fees: is.integer('added to each amount', { min: 0, default: 0 }),
});

const FAULT = optionsOf({
  ...FREQUENCY,
  kind: is.oneOf('what happens',
    ['hang', 'reset', 'error', 'html', 'slow', 'drop', 'mute', 'business', 'in-flight'],
    { required: true }),
  status: is.integer('HTTP status of error (500), html (502) and business (500)',
    { min: 400, max: 599 }),
  delayMs: is.ms('of slow', { default: 3000 }),
  on: is.oneOf('strikes this call only', OPERATIONS),
  headers: is.object('of the answer, such as Retry-After'),
});

/** A string stands for a kind. */
function readFault (given) {
  const fault = FAULT.read(typeof given === 'string' ? { kind: given } : given, 'fault');
  return { ...fault, status: fault.status ?? FAULT_STATUS_DEFAULT[fault.kind] };
}

/** The status and the body of the error that a fault causes. */
function faultAnswer ({ kind, status }, call) {
  if (kind === 'in-flight') {
    return [202, { status_code: '202', status_message: 'The request is being processed' }];
  }
  if (!call?.core) return [status, { error_messages: [SERVER_TROUBLE] }];
  const body = { status_code: String(status), status_message: SERVER_TROUBLE };
  return [kind === 'business' ? 200 : status, body];
}

/** What is wrong with the body of a Snap request, in Midtrans's words; empty if nothing is. */
function faultsOfOrder (body) {
  const details = body?.transaction_details;
  const orderId = details?.order_id;
  const amount = details?.gross_amount;
  const faults = [];
  if (orderId === undefined || orderId === '') {
    faults.push('transaction_details.order_id is required');
  } else if (typeof orderId !== 'string' || !ORDER_ID.test(orderId)) {
    faults.push('transaction_details.order_id is not valid');
  }
  if (amount === undefined) faults.push('transaction_details.gross_amount is required');
  else if (!Number.isInteger(amount)) {
    faults.push('transaction_details.gross_amount is not a number');
  } else if (amount < 1) {
    faults.push('transaction_details.gross_amount must be greater than or equal to 1');
  } else if (Array.isArray(body.item_details) && sumOf(body.item_details) !== amount) {
    faults.push('transaction_details.gross_amount is not equal to the sum of item_details');
  }
  return faults;
}

function sumOf (items) {
  return items.reduce((sum, item) => sum + item?.price * item?.quantity, 0);
}

/** The call that a request makes: { operation, id, core, method }; undefined if it is none. */
function callOf (method, path) {
  if (path === '/snap/v1/transactions') {
    return { operation: 'createTransaction', core: false, method: 'POST' };
  }
  if (path === '/v2/charge' || path === '/v2/capture') {
    return { operation: path.slice('/v2/'.length), core: true, method: 'POST' };
  }
  const [, id, action] = CORE_PATH.exec(path) ?? [];
  if (action === undefined) return undefined;
  const operation = action === 'refund/online/direct' ? 'directRefund' : action;
  return {
    operation, id: decoded(id), core: true, method: operation === 'status' ? 'GET' : 'POST'
  };
}

function decoded (text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

class MidtransFake extends HttpFake {
  /** All orders by order_id, oldest first: at most `ordersMax`. */
  orders = new Map();

  /** `requests` is the sum of the others, and of requests in flight or left hanging. */
  counts = { requests: 0, created: 0, refused: 0, unauthorized: 0, faulted: 0 };

  /** The newest requests, oldest first: { method, path, headers, text }. */
  log = [];

  #core;
  #options;
  #credentials;

  constructor (options) {
    super(readFault, options.fault);
    this.#options = options;
    this.#credentials = `Basic ${Buffer.from(`${options.serverKey}:`).toString('base64')}`;
    this.#core = new CoreLedger({ ...options, faultsOfOrder });
  }

  /**
   * The transactions of Core by order_id. `charges` counts how often an order was charged,
   * `history` holds the notifications about it.
   */
  get transactions () {
    return this.#core.transactions;
  }

  /** A customer chooses a payment method on the page of a Snap order. Now Core knows the order. */
  choose (orderId, paymentType = 'bank_transfer') {
    const order = this.orders.get(orderId);
    if (order === undefined) throw invalidOption('orderId', 'the id of an order', orderId);
    this.#core.handle('charge', undefined, { ...order.body, payment_type: paymentType });
  }

  /** Moves a transaction to a state. */
  settle (orderId, state = 'settlement') {
    this.#core.move(this.#transactionOf(orderId), state);
  }

  /** The signed notifications of a transaction. */
  notifications (orderId, options) {
    const checked = NOTIFY_OPTIONS.read(options);
    return notificationsOf(this.#transactionOf(orderId).history, this.#options.serverKey, checked);
  }

  /** Sends the notifications to `url`, one after another. */
  async notify (url, orderId, options) {
    return sendNotifications(url, this.notifications(orderId, options));
  }

  /**
   * Sends the notification of the button "Test notification URL" of Midtrans's dashboard. It is
   * signed, and its order does not exist.
   */
  async notifyTest (url, options) {
    const body = testNotificationOf(this.#options.serverKey, options);
    return (await sendNotifications(url, [body]))[0];
  }

  #transactionOf (orderId) {
    const transaction = this.#core.find(orderId);
    if (transaction === undefined) throw invalidOption('orderId', 'a transaction', orderId);
    return transaction;
  }

  async _serve (request, response) {
    this.counts.requests += 1;
    const path = request.url.split('?', 1)[0];
    const call = callOf(request.method, path);
    const fault = this._strike(({ on }) => on === undefined || on === call?.operation);
    // Reads the body first, as a server does: the caller has sent all of it before the fault.
    const bytes = await readBody(request);
    if (bytes === undefined) return this.#refuse(response, 413, 'Request body is too large');
    const text = bytes.toString('utf8');
    this.#note(request, path, text);
    switch (fault?.kind) {
      case 'hang': return;
      case 'reset': return request.socket.resetAndDestroy();
      case 'error': case 'business': case 'in-flight':
        return answer(response, ...faultAnswer(fault, call), fault.headers);
      case 'html': return answerPage(response, fault.status);
    }
    const { latencyMs } = this.#options;
    const [status, body] = await this.#execute(call, request, text,
      fault?.kind === 'slow' ? fault.delayMs : randomBetween(latencyMs));
    if (fault?.kind === 'mute') return;
    if (fault?.kind === 'drop') return request.socket.resetAndDestroy();
    answer(response, status, body);
  }

  #note ({ method, headers }, path, text) {
    this.log.push({ method, path, headers, text });
    if (this.log.length > LOG_MAX) this.log.shift();
  }

  async #execute (call, request, text, latencyMs) {
    if (call === undefined) return this.#refusal(404, 'Not found');
    if (request.method !== call.method) return this.#refusal(405, 'Method not allowed');
    if (!this.#authorized(request.headers.authorization)) {
      this.counts.unauthorized += 1;
      const message = { status_code: '401', status_message: UNAUTHORIZED };
      return [401, call.core ? message : { error_messages: [UNAUTHORIZED] }];
    }
    const body = text === '' ? {} : parse(text);
    if (call.core) return this.#coreAnswer(call, request, body, latencyMs);
    await pause(latencyMs);
    return this.#create(body);
  }

  async #coreAnswer ({ operation, id, method }, request, body, latencyMs) {
    const key = method === 'POST' ? request.headers['idempotency-key'] : undefined;
    const before = this.#core.begin(key, body);
    if (before === 'in-flight') return faultAnswer({ kind: 'in-flight' });
    if (before !== undefined) return [200, before];
    await pause(latencyMs);
    const result = this.#core.handle(operation, id, body);
    this.#core.end(key, body, result);
    const code = Number(result.status_code);
    // 407 is the code of an expired transaction, not of an error.
    return [this.#options.trueStatus && code >= 400 && code !== 407 ? code : 200, result];
  }

  #authorized (header = '') {
    const given = Buffer.from(header);
    const expected = Buffer.from(this.#credentials);
    return given.length === expected.length && crypto.timingSafeEqual(given, expected);
  }

  #create (body) {
    if (body === undefined) return this.#refusal(400, 'Request body is not valid JSON');
    const faults = faultsOfOrder(body);
    if (faults.length > 0) return this.#refusal(400, ...faults);
    const orderId = body.transaction_details.order_id;
    if (this.orders.has(orderId)) {
      return this.#refusal(400, 'transaction_details.order_id has already been taken');
    }
    if (this.orders.size >= this.#options.ordersMax) {
      return this.#refusal(500, 'The ledger is full');
    }
    const token = crypto.randomUUID();
    const order = {
      orderId,
      grossAmount: body.transaction_details.gross_amount,
      token,
      redirectUrl: `${this.url}/snap/v4/redirection/${token}`,
      at: clock.wall(),
      body
    };
    this.orders.set(orderId, order);
    this.counts.created += 1;
    return [201, { token, redirect_url: order.redirectUrl }];
  }

  #refusal (status, ...messages) {
    this.counts.refused += 1;
    return [status, { error_messages: messages }];
  }

  #refuse (response, status, message) {
    response.shouldKeepAlive = false;
    answer(response, ...this.#refusal(status, message));
  }
}

/**
 * Starts a Midtrans server: Snap, and of Core charge, capture, status, approve, deny, cancel,
 * expire, refund and direct refund. A card whose token_id begins with `deny` or `challenge` is
 * denied or challenged; other payment methods wait for `settle`.
 */
async function startMidtransFake (options) {
  const checked = OPTIONS.read(options);
  return new MidtransFake(checked)._listen(checked);
}

module.exports = { startMidtransFake };
