'use strict';

// A Midtrans Snap server for tests and demonstrations: real HTTP on loopback, a ledger of the
// orders it made, and switches for the ways in which the real one fails.

const crypto = require('node:crypto');
const http = require('node:http');

const clock = require('../base/clock');
const { invalidOption } = require('../base/errors');
const { bag, number, oneOf } = require('../base/options');

const BODY_BYTES_MAX = 1 << 20;
const ORDERS_MAX_DEFAULT = 1_000_000;
const ORDER_ID = /^[A-Za-z0-9\-_~.]{1,50}$/;
const FAULT_KINDS = ['hang', 'reset', 'error', 'html', 'slow', 'drop'];
const FAULT_STATUS_DEFAULT = { error: 500, html: 502 };

const UNAUTHORIZED = 'Access denied due to unauthorized transaction, ' +
  'please check client or server key';
const SERVER_TROUBLE = "Sorry, we've encountered an unexpected error";

/**
 * @typedef {object} MidtransFault what goes wrong while it is set; a kind alone may be given as a
 *   string.
 * @property {'hang'|'reset'|'error'|'html'|'slow'|'drop'} kind hang: never answers. reset: cuts the
 *   connection before anything is made. error: a JSON error. html: an error page of a proxy in
 *   between. slow: makes the order, late. drop: makes the order, then cuts without an answer.
 * @property {number} [status] of error (500) and html (502)
 * @property {number} [delayMs] of slow (ms, default 3000)
 * @property {number} [every] strikes each n-th request only (default 1: all of them)
 */

function checkedFault (fault) {
  if (fault === null || fault === undefined) return null;
  const given = typeof fault === 'string' ? { kind: fault } : bag('fault', fault);
  const kind = oneOf('fault.kind', given.kind, FAULT_KINDS);
  const { status = FAULT_STATUS_DEFAULT[kind], delayMs = 3000, every = 1 } = given;
  if (status !== undefined) number('fault.status', status, { min: 400, max: 599, integer: true });
  number('fault.delayMs', delayMs, { min: 0 });
  number('fault.every', every, { min: 1, integer: true });
  return { kind, status, delayMs, every, seen: 0 };
}

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

async function textOf (request) {
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parsed (text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

class MidtransFake {
  /** Every order made, by order_id, oldest first. Past `ordersMax` no more are made. */
  orders = new Map();

  /** How requests ended; `requests` is their sum, with those in flight or left hanging. */
  counts = { requests: 0, created: 0, refused: 0, unauthorized: 0, faulted: 0 };

  #server;
  #credentials;
  #fault = null;
  #latency;
  #ordersMax;

  constructor ({
    serverKey = 'SB-Mid-server-fake', fault, latencyMs = 0, ordersMax = ORDERS_MAX_DEFAULT
  }) {
    if (typeof serverKey !== 'string' || serverKey === '') {
      throw invalidOption('serverKey', 'a non-empty string', serverKey);
    }
    this.#credentials = `Basic ${Buffer.from(`${serverKey}:`).toString('base64')}`;
    this.#latency = checkedLatency(latencyMs);
    this.#ordersMax = number('ordersMax', ordersMax, { min: 1, integer: true });
    this.set(fault);
    this.#server = http.createServer((request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
  }

  /** Where it listens, as in `http://127.0.0.1:38211`, without a slash at the end. */
  get url () {
    const { address, family, port } = this.#server.address();
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  /** The fault in force, or null. */
  get fault () {
    return this.#fault?.kind ?? null;
  }

  /**
   * Sets what goes wrong from now on; null mends everything. Requests already left hanging stay so.
   * @param {MidtransFault | string | null} fault
   */
  set (fault) {
    this.#fault = checkedFault(fault);
  }

  listen (port, host) {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => resolve(this));
    });
  }

  /** Stops listening and cuts every connection, the hanging ones too. */
  close () {
    return new Promise(resolve => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #serve (request, response) {
    this.counts.requests += 1;
    const fault = this.#strikes();
    // The body is taken in first, as a server does: the caller has sent all of it when it fails.
    const text = await textOf(request);
    if (text === undefined) return this.#refuse(response, 413, 'Request body is too large');
    if (fault !== null) this.counts.faulted += 1;
    switch (fault?.kind) {
      case 'hang': return;
      case 'reset': return request.socket.resetAndDestroy();
      case 'error': return answer(response, fault.status, { error_messages: [SERVER_TROUBLE] });
      case 'html': return answerPage(response, fault.status);
      case 'slow': await pause(fault.delayMs); break;
      case 'drop':
        this.#route(request, text);
        return request.socket.resetAndDestroy();
    }
    const { min, max } = this.#latency;
    if (max > 0) await pause(min + (max - min) * Math.random());
    const [status, body] = this.#route(request, text);
    answer(response, status, body);
  }

  /** The fault that strikes this request, or null. */
  #strikes () {
    const fault = this.#fault;
    if (fault === null) return null;
    fault.seen += 1;
    return fault.seen % fault.every === 0 ? fault : null;
  }

  #route (request, text) {
    const path = request.url.split('?', 1)[0];
    if (path !== '/snap/v1/transactions') return this.#refusal(404, 'Not found');
    if (request.method !== 'POST') return this.#refusal(405, 'Method not allowed');
    if (!this.#authorized(request.headers.authorization)) {
      this.counts.unauthorized += 1;
      return [401, { error_messages: [UNAUTHORIZED] }];
    }
    return this.#create(parsed(text));
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

function pause (ms) {
  return new Promise(resolve => { clock.setTimer(resolve, ms, false); });
}

function answer (response, status, body) {
  if (response.destroyed) return;
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' });
  response.end(JSON.stringify(body));
}

function answerPage (response, status) {
  const reason = http.STATUS_CODES[status] ?? 'Error';
  response.writeHead(status, { 'content-type': 'text/html' });
  response.end(`<html>\n<head><title>${status} ${reason}</title></head>\n` +
    `<body>\n<center><h1>${status} ${reason}</h1></center>\n</body>\n</html>\n`);
}

/**
 * Starts a Midtrans Snap server: `POST /snap/v1/transactions` with Basic authentication answers
 * 201 `{ token, redirect_url }`, or `{ error_messages: [...] }` with the status that Midtrans uses.
 * @param {object} [options]
 * @param {number} [options.port] 0 (default) takes a free one
 * @param {string} [options.host] default '127.0.0.1'
 * @param {string} [options.serverKey] default 'SB-Mid-server-fake'
 * @param {MidtransFault | string | null} [options.fault] what goes wrong from the start
 * @param {number | [number, number]} [options.latencyMs] how long it thinks (ms, default 0)
 * @param {number} [options.ordersMax] bound of the ledger, default 1,000,000
 * @returns {Promise<MidtransFake>}
 * @throws {TypeError | RangeError} ERR_INVALID_OPTION
 */
async function startMidtransFake (options) {
  const given = bag('options', options);
  const { port = 0, host = '127.0.0.1' } = given;
  number('port', port, { min: 0, max: 65535, integer: true });
  return new MidtransFake(given).listen(port, host);
}

module.exports = { startMidtransFake };
