'use strict';

// A Midtrans server (Snap and Core) for tests and demonstrations: real HTTP on loopback, a ledger
// of what it made, and switches for the ways in which the real one fails.

const crypto = require('node:crypto');

const clock = require('../base/clock');
const { invalidOption } = require('../base/errors');
const { bag, boolean, number } = require('../base/options');
const { HttpFake, answer, answerPage, bytesOf, parse, pause, startFake } = require('./http-fake');
const { CoreLedger } = require('./midtrans-core');
const { checkedFault, faultAnswer } = require('./midtrans-faults');
const { notificationsOf, send, testNotificationOf } = require('./midtrans-notifier');

const ORDERS_MAX_DEFAULT = 1_000_000;
const ORDER_ID = /^[A-Za-z0-9\-_~.]{1,50}$/;
const LOG_MAX = 1000;
const CORE_PATH =
  /^\/v2\/([^/]+)\/(status|approve|deny|cancel|expire|refund\/online\/direct|refund)$/;

const UNAUTHORIZED = 'Access denied due to unauthorized transaction, ' +
  'please check client or server key';

function checkedLatency (latencyMs) {
  const [min, max] = Array.isArray(latencyMs) ? latencyMs : [latencyMs, latencyMs];
  number('latencyMs', min, { min: 0 });
  number('latencyMs', max, { min });
  return { min, max };
}

/** The faults of a Snap request body, in Midtrans's words; empty when the order can be made. */
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

/** Which call a request is: { operation, id, core }; undefined if it is none. */
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
  /** Every order made, by order_id, oldest first. Past `ordersMax` no more are made. */
  orders = new Map();

  /** How requests ended; `requests` is their sum, with those in flight or left hanging. */
  counts = { requests: 0, created: 0, refused: 0, unauthorized: 0, faulted: 0 };

  /** The newest requests, oldest first: { method, path, headers, text }. */
  log = [];

  #core;
  #serverKey;
  #trueStatus;
  #credentials;
  #latency;
  #ordersMax;

  constructor ({
    serverKey = 'SB-Mid-server-fake', fault, latencyMs = 0, ordersMax = ORDERS_MAX_DEFAULT,
    trueStatus = false, uniqueOrders = true, idempotency = true, fees = 0
  }) {
    super(checkedFault, fault);
    if (typeof serverKey !== 'string' || serverKey === '') {
      throw invalidOption('serverKey', 'a non-empty string', serverKey);
    }
    this.#credentials = `Basic ${Buffer.from(`${serverKey}:`).toString('base64')}`;
    this.#latency = checkedLatency(latencyMs);
    this.#ordersMax = number('ordersMax', ordersMax, { min: 1, integer: true });
    this.#serverKey = serverKey;
    this.#trueStatus = boolean('trueStatus', trueStatus);
    this.#core = new CoreLedger({
      uniqueOrders: boolean('uniqueOrders', uniqueOrders),
      idempotency: boolean('idempotency', idempotency),
      fees: number('fees', fees, { min: 0, integer: true }),
      ordersMax,
      faultsOfOrder,
    });
  }

  /**
   * The transactions of Core, by order_id. `charges` counts how often an order was charged,
   * `history` holds what was notified about it.
   */
  get transactions () {
    return this.#core.transactions;
  }

  /**
   * What a customer does on the page of a Snap order: chooses how to pay. From then on Core knows
   * of it.
   * @param {string} orderId
   * @param {string} [paymentType] default 'bank_transfer'
   */
  choose (orderId, paymentType = 'bank_transfer') {
    const order = this.orders.get(orderId);
    if (order === undefined) throw invalidOption('orderId', 'an order', orderId);
    this.#core.handle('charge', undefined, { ...order.body, payment_type: paymentType });
  }

  /** Puts a transaction into a state, as time and customers do: settlement unless given. */
  settle (orderId, state = 'settlement') {
    const transaction = this.#core.find(orderId);
    if (transaction === undefined) throw invalidOption('orderId', 'a transaction', orderId);
    this.#core.move(transaction, state);
  }

  /**
   * The notifications of a transaction, signed.
   * @param {string} orderId
   * @param {object} [options]
   * @param {number} [options.repeat] how often each (default 1)
   * @param {'sent'|'reversed'|'shuffled'} [options.order] default 'sent'
   * @param {boolean} [options.latest] only the last one
   * @param {'signature'|'status'|'amount'|'order'} [options.forge] what is wrong with them. The
   *   status is not covered by the signature, so that such a forgery verifies.
   */
  notifications (orderId, options) {
    const transaction = this.#core.find(orderId);
    if (transaction === undefined) throw invalidOption('orderId', 'a transaction', orderId);
    return notificationsOf(transaction.history, this.#serverKey, options);
  }

  /**
   * Sends them to `url`, one after the other.
   * @returns {Promise<Array<{ body: object, status: number, text: string }>>}
   */
  notify (url, orderId, options) {
    return send(url, this.notifications(orderId, options));
  }

  /**
   * Sends what the button "Test notification URL" of Midtrans's dashboard does: it is signed, and
   * about an order that nobody has made.
   * @param {string} url
   * @param {{ orderId?: string }} [options] another system's id, say; default: as Midtrans's tests
   * @returns {Promise<{ body: object, status: number, text: string }>}
   */
  async notifyTest (url, options) {
    const body = testNotificationOf(this.#serverKey, bag('options', options, ['orderId']));
    return (await send(url, [body]))[0];
  }

  async _serve (request, response) {
    this.counts.requests += 1;
    const path = request.url.split('?', 1)[0];
    const call = callOf(request.method, path);
    const fault = this._strike(({ on }) => on === undefined || on === call?.operation);
    // The body is taken in first, as a server does: the caller has sent all of it when it fails.
    const bytes = await bytesOf(request);
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
    const thinking = fault?.kind === 'slow' ? fault.delayMs : this.#thinkingTime();
    const [status, body] = await this.#carryOut(call, request, text, thinking);
    if (fault?.kind === 'mute') return;
    if (fault?.kind === 'drop') return request.socket.resetAndDestroy();
    answer(response, status, body);
  }

  #thinkingTime () {
    const { min, max } = this.#latency;
    return min + (max - min) * Math.random();
  }

  #note ({ method, headers }, path, text) {
    this.log.push({ method, path, headers, text });
    if (this.log.length > LOG_MAX) this.log.shift();
  }

  async #carryOut (call, request, text, thinkingMs) {
    if (call === undefined) return this.#refusal(404, 'Not found');
    if (request.method !== call.method) return this.#refusal(405, 'Method not allowed');
    if (!this.#authorized(request.headers.authorization)) {
      this.counts.unauthorized += 1;
      const message = { status_code: '401', status_message: UNAUTHORIZED };
      return [401, call.core ? message : { error_messages: [UNAUTHORIZED] }];
    }
    const body = text === '' ? {} : parse(text);
    if (call.core) return this.#coreAnswer(call, request, body, thinkingMs);
    if (thinkingMs > 0) await pause(thinkingMs);
    return this.#create(body);
  }

  async #coreAnswer ({ operation, id, method }, request, body, thinkingMs) {
    const key = method === 'POST' ? request.headers['idempotency-key'] : undefined;
    const before = this.#core.begin(key, body);
    if (before === 'in-flight') return faultAnswer({ kind: 'in-flight' });
    if (before !== undefined) return [200, before];
    if (thinkingMs > 0) await pause(thinkingMs);
    const result = this.#core.handle(operation, id, body);
    this.#core.end(key, body, result);
    const code = Number(result.status_code);
    // 407 is what an expired transaction has, and no error.
    return [this.#trueStatus && code >= 400 && code !== 407 ? code : 200, result];
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
    if (this.orders.size >= this.#ordersMax) return this.#refusal(500, 'The ledger is full');
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
 * Starts a Midtrans server. Snap: `POST /snap/v1/transactions` with Basic authentication answers
 * 201 `{ token, redirect_url }`, or `{ error_messages: [...] }` with the status that Midtrans uses.
 * Core: charge, capture, status, approve, deny, cancel, expire, refund and direct refund; errors
 * come under HTTP 200 with their code in the body. A card whose token_id begins with `deny` or
 * `challenge` is; other methods of payment wait for `settle`.
 * @param {object} [options]
 * @param {number} [options.port] 0 (default) takes a free one
 * @param {string} [options.host] default '127.0.0.1'
 * @param {string} [options.serverKey] default 'SB-Mid-server-fake'
 * @param {MidtransFault | string | Array | null} [options.fault] what goes wrong from the start
 * @param {number | [number, number]} [options.latencyMs] how long it thinks (ms, default 0)
 * @param {number} [options.ordersMax] bound of the ledger, default 1,000,000
 * @param {boolean} [options.trueStatus] errors of Core come with their own HTTP status
 * @param {boolean} [options.uniqueOrders] false: an order is charged as often as it is asked for
 * @param {boolean} [options.idempotency] false: Idempotency-Key is ignored
 * @param {number} [options.fees] added to each amount, as automatic fees are
 * @returns {Promise<MidtransFake>}
 * @throws {TypeError | RangeError} ERR_INVALID_OPTION
 */
async function startMidtransFake (options) {
  return startFake(MidtransFake, options);
}

module.exports = { startMidtransFake };
