'use strict';

// sekering/midtrans: a client of Midtrans (Snap and Core) for which a failed call is never a reason
// to take the money twice.

const Emitter = require('../base/emitter');
const { SekeringError, invalidOption } = require('../base/errors');
const { read } = require('../base/foreign');
const { bag, boolean, number } = require('../base/options');
const { readSignal } = require('../base/signal');
const CircuitBreaker = require('../primitives/breaker');
const { presets, retryPresets } = require('../primitives/presets');
const { Timeout } = require('../primitives/timeout');
const { HttpClient, readBaseUrl } = require('./http');
const { MidtransCall, makePlan } = require('./midtrans-call');
const {
  MidtransError, blamesUpstream, errorOfAnswer, errorOfTransport
} = require('./midtrans-errors');
const { isSigned } = require('./midtrans-notification');
const requests = require('./midtrans-requests');
const states = require('./midtrans-states');
const { Passage } = require('./protection');

const OPTIONS = [
  'serverKey', 'production', 'baseUrls', 'timeout', 'retry', 'breaker', 'connections', 'dispatcher',
  'orderIdPattern'
];

const HOSTS = {
  production: { snap: 'https://app.midtrans.com', core: 'https://api.midtrans.com' },
  sandbox: { snap: 'https://app.sandbox.midtrans.com', core: 'https://api.sandbox.midtrans.com' },
};

// No order has this id: the answer that there is none shows that Midtrans is there and knows us.
const PING_ID = 'sekering-ping';

// A key that is shorter is a test's, and would be found in every other word.
const REDACTED_CHARACTERS_MIN = 8;

// One failed call alone is no reason to stop all payments.
const VOLUME_THRESHOLD = 5;

/** What came of a request that says nothing bad of Midtrans: a body, or a caller's error. */
class Outcome {
  constructor (body, error) {
    this.body = body;
    this.error = error;
  }
}

function checkOptions (options) {
  const { serverKey, production = false, orderIdPattern } = options;
  if (typeof serverKey !== 'string' || serverKey === '') {
    throw invalidOption('serverKey', 'a text that is not empty', serverKey);
  }
  boolean('production', production);
  if (orderIdPattern !== undefined && !(orderIdPattern instanceof RegExp)) {
    throw invalidOption('orderIdPattern', 'a regular expression', orderIdPattern);
  }
}

/** Addresses with or without the paths that the official client has in them. */
function readHosts ({ production = false, baseUrls }) {
  const given = { ...HOSTS[production ? 'production' : 'sandbox'], ...bag('baseUrls', baseUrls) };
  const snap = readBaseUrl('baseUrls.snap', given.snap);
  const core = readBaseUrl('baseUrls.core', given.core);
  snap.prefix = snap.prefix.replace(/\/snap\/v1$/, '');
  core.prefix = core.prefix.replace(/\/v2$/, '');
  return { snap, core };
}

function readRetry (value) {
  if (value === false || value === null) return makePlan({ retries: 0 });
  if (Array.isArray(value)) throw invalidOption('retry', 'an object', value);
  const { signal, attemptTimeout } = bag('retry', value);
  if (signal !== undefined) throw invalidOption('retry.signal', 'none: calls take one', signal);
  if (attemptTimeout !== undefined) {
    throw invalidOption('retry.attemptTimeout', 'none: the client has a timeout', attemptTimeout);
  }
  return makePlan({ ...retryPresets.payment, ...value });
}

function readBreaker (value) {
  if (value === false || value === null) return undefined;
  if (typeof value?.run === 'function') return value;
  // The time limit is the request's, which knows whether anything was sent.
  return new CircuitBreaker(call => call(), {
    ...presets.midtrans, volumeThreshold: VOLUME_THRESHOLD, timeout: false, name: 'midtrans',
    ...bag('breaker', value)
  });
}

/**
 * Whether the breaker is one that was made here and does no more than a breaker does: then a call
 * without a signal can go through it by its shortest way.
 */
function isPlain (value) {
  if (typeof value?.run === 'function') return false;
  return !value?.timeout && !value?.cache && !value?.coalesce && !value?.fallback &&
    !value?.abortController && !value?.autoRenewAbortController;
}

function parse (text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Takes the key out of what others say. */
function redactor (serverKey, credentials) {
  if (serverKey.length < REDACTED_CHARACTERS_MIN) return text => text;
  return text => text.replaceAll(serverKey, '[server key]').replaceAll(credentials, '[server key]');
}

class MidtransClient extends Emitter {
  #http;
  #hosts;
  #headers;
  #redact;
  #plain;
  #retry;
  #timeout;
  #verify;
  #transport;

  /** Options as the types describe them; README has them too. */
  constructor (options) {
    super();
    const given = bag('options', options, OPTIONS);
    checkOptions(given);
    const { serverKey, timeout = presets.midtrans.timeout, orderIdPattern } = given;
    const credentials = Buffer.from(`${serverKey}:`).toString('base64');
    // Names and values in turn, which is how undici sends them on.
    const headers = [
      'accept', 'application/json', 'authorization', `Basic ${credentials}`,
      'user-agent', 'sekering'
    ];
    this.#headers = {
      GET: headers,
      POST: [...headers, 'content-type', 'application/json', 'idempotency-key'],
    };
    this.#redact = redactor(serverKey, credentials);
    this.#hosts = readHosts(given);
    this.#retry = readRetry(given.retry);
    this.#timeout = new Timeout(timeout === false ? Infinity : timeout);
    const { connections, dispatcher } = given;
    this.#http = new HttpClient({ feature: 'sekering/midtrans', connections, dispatcher });
    this.breaker = readBreaker(given.breaker);
    this.#plain = isPlain(given.breaker);
    // Without the flags that make a pattern remember.
    const pattern = orderIdPattern && new RegExp(orderIdPattern, orderIdPattern.flags
      .replace(/[gy]/g, ''));
    const isOurs = orderId => pattern === undefined || pattern.test(orderId);
    this.#verify = (notification, anyOrder) =>
      isSigned(notification, serverKey, anyOrder ? () => true : isOurs);
    this.#transport = {
      send: (request, call) => this.#send(request, call),
      look: (id, options) => this.#look(id, options),
      onRetry: details => this.emit('retry', details),
      onUnknown: error => this.emit('alert', { kind: 'unknown-outcome', error }),
      isClosed: () => this.#http.closed,
      runs: new Set(),
    };
  }

  // ---- Calls -----------------------------------------------------------------------------------

  /**
   * Snap: makes a payment page. Resolves with `{ token, redirect_url }`.
   *
   * Whether a page was made whose answer was lost, GET status cannot tell before the customer has
   * chosen how to pay. What is done then moves no money twice: the order is sent again under the
   * same order_id, of which Snap makes one page only. If it says that the order is taken, the page
   * is there and its token is lost: ERR_MIDTRANS_UNKNOWN_OUTCOME with `tokenLost`. Nobody else has
   * that token unless another call made the page; only a caller who knows that none did may ask
   * for a page under another order_id.
   */
  async createTransaction (body, options) {
    return this.#call(requests.snapRequest(body), options);
  }

  /** Core: charges an order. */
  async charge (body, options) {
    return this.#call(requests.chargeRequest(body), options);
  }

  /** Core: takes what was authorized: `{ transaction_id, gross_amount }`. */
  async capture (body, options) {
    return this.#call(requests.captureRequest(body), options);
  }

  /** Core: the state of a transaction, by its id or its order's. */
  async status (id, options) {
    return this.#call(requests.statusRequest(id), options);
  }

  async approve (id, options) { return this.#change('approve', id, options); }
  async deny (id, options) { return this.#change('deny', id, options); }
  async cancel (id, options) { return this.#change('cancel', id, options); }
  async expire (id, options) { return this.#change('expire', id, options); }

  /** Core: gives money back: `{ refund_key, amount, reason }`, all of which may be left out. */
  async refund (id, body, options) {
    return this.#call(requests.refundRequest('refund', id, body), options);
  }

  /** Core: the same, for the methods of payment that are refunded online. */
  async directRefund (id, body, options) {
    return this.#call(requests.refundRequest('directRefund', id, body), options);
  }

  /**
   * Whether Midtrans answers and accepts the key. Asks once, past the breaker, which hears nothing.
   * @returns {Promise<{ ok: true, latencyMs: number }>}
   */
  async ping ({ signal } = {}) {
    const began = performance.now();
    await this.#look(PING_ID, { signal: readSignal(signal), operation: 'ping' });
    return { ok: true, latencyMs: performance.now() - began };
  }

  // ---- Notifications ---------------------------------------------------------------------------

  /**
   * Whether the signature of a notification is right. It covers the order, the status code and the
   * amount, NOT the state: ask GET status before the state of an order is changed, as
   * confirmNotification does.
   * @param {object|string} notification the body, parsed or as JSON
   * @param {{ anyOrder?: boolean }} [options] anyOrder: whatever the form of its order id
   */
  verifyNotification (notification, options) {
    const { anyOrder = false } = bag('options', options, ['anyOrder']);
    boolean('anyOrder', anyOrder);
    const body = typeof notification === 'string' ? parse(notification) : notification;
    return this.#verify(body, anyOrder);
  }

  /**
   * Verifies a notification and asks Midtrans what is true.
   * @returns {Promise<{ transaction: object, state: string, paid: boolean, amount: number }>}
   * @throws {MidtransError} ERR_MIDTRANS_SIGNATURE
   */
  async confirmNotification (notification, options) {
    const body = typeof notification === 'string' ? parse(notification) : notification;
    if (!this.#verify(body)) throw this.#forged('is not signed by Midtrans', body);
    const transaction = await this.status(body.transaction_id ?? body.order_id, options);
    if (transaction.order_id !== body.order_id) {
      throw this.#forged('names a transaction of another order', body);
    }
    return {
      transaction,
      state: transaction.transaction_status,
      paid: states.isPaid(transaction),
      amount: states.amountOf(transaction),
    };
  }

  #forged (what, body) {
    const orderId = typeof body?.order_id === 'string' ? body.order_id.slice(0, 50) : undefined;
    return new MidtransError('ERR_MIDTRANS_SIGNATURE', `A notification ${what}`,
      { operation: 'notification', orderId });
  }

  /**
   * Closes the connections, once the requests on them are done. No others are begun: a call that
   * waits for its next attempt ends with ESHUTDOWN, or as unknown if it may have got through.
   */
  async close () {
    const closing = this.#http.close();
    for (const run of this.#transport.runs) {
      if (run.running === 0) run.stop(new SekeringError('ESHUTDOWN', 'The client is closed'));
    }
    await closing;
  }

  // ---- Inside ----------------------------------------------------------------------------------

  #change (operation, id, options) {
    return this.#call(requests.changeRequest(operation, id), options);
  }

  #call (request, options) {
    const { signal, resume = false, timeout } = bag('options', options);
    boolean('resume', resume);
    if (timeout !== undefined) {
      request.timeout = number('timeout', timeout, { min: 1, unit: 'ms' });
    }
    return new MidtransCall(this.#transport, request, resume).run(this.#retry, readSignal(signal));
  }

  /** One request through the breaker. Errors that are the caller's fault count as successes. */
  async #send (request, call) {
    const outcome = await this.#through(request, call);
    if (outcome.error !== undefined) throw outcome.error;
    return outcome.body;
  }

  #through (request, call) {
    const { breaker } = this;
    const { signal } = call;
    if (!breaker?.enabled) return this.#ask(request, signal, call);
    return this.#plain && signal === undefined
      ? breaker.fire(() => this.#ask(request, undefined, call))
      : this.#throughAny(breaker, request, call);
  }

  /** Through a breaker that may give up by itself, or answer in our place. */
  async #throughAny (breaker, request, call) {
    const passage = new Passage(context => this.#ask(request, context.signal, call));
    return passage.read(await breaker.run(passage.ask, { signal: call.signal }));
  }

  /**
   * Asks for the status, past the breaker: whoever does not know what has become of his money is
   * not to be told that the circuit is open.
   * @returns {Promise<object|undefined>} undefined when there is no such transaction
   */
  async #look (id, { signal, timeout, operation = 'status' }) {
    const request = { ...requests.statusRequest(id), operation, timeout };
    const { body, error } = await this.#ask(request, signal);
    if (read(error, 'code') === 'ERR_MIDTRANS_NOT_FOUND') return undefined;
    if (error !== undefined) throw error;
    return body;
  }

  /** One request. `call`: the MidtransCall whose attempt it is; none if it only looks. */
  async #ask (request, signal, call) {
    const limit = this.#timeout.limitOf(call?.attempt ?? 1);
    let answer;
    try {
      answer = await this.#http.request(this.#describe(request), {
        timeoutMs: Math.min(limit, request.timeout ?? Infinity),
        signal,
        onSent: call && (() => call.onSent()),
      });
    } catch (cause) {
      if (signal?.aborted) throw signal.reason;
      if (read(cause, 'code') === 'ESHUTDOWN') return new Outcome(undefined, cause);
      throw errorOfTransport(cause, request, call?.sent ?? false);
    }
    const { status: httpStatus, headers, text } = answer;
    const body = parse(text);
    const error = errorOfAnswer({ httpStatus, headers, body }, request, this.#redact);
    if (error === undefined) return new Outcome(body);
    if (error.code === 'ERR_MIDTRANS_UNAUTHORIZED') {
      this.emit('alert', { kind: 'unauthorized', error });
    }
    if (blamesUpstream(error)) throw error;
    return new Outcome(undefined, error);
  }

  /** As undici takes it. */
  #describe ({ method, path, json, core, idempotencyKey }) {
    const { origin, prefix } = this.#hosts[core ? 'core' : 'snap'];
    const known = this.#headers[method];
    const headers = method === 'POST' ? [...known, idempotencyKey] : known;
    return { origin, method, path: prefix + path, headers, body: json };
  }
}

const { advance, amountOf, canMove, isFinalState, isPaid, transactionStates } = states;

module.exports = {
  MidtransClient,
  MidtransError,
  advance,
  amountOf,
  canMove,
  isFinalState,
  isPaid,
  transactionStates,
};
