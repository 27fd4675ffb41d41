'use strict';

// sekering/midtrans: a client of Midtrans (Snap and Core) for which a failed call is never a reason
// to take the money twice.

const { createHash, timingSafeEqual } = require('node:crypto');
const { isRegExp } = require('node:util/types');

const Emitter = require('../base/emitter');
const { SekeringError, invalidOption } = require('../base/errors');
const { copyOf, isA, read, reasonOf } = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { presets, retryPresets } = require('../primitives/presets');
const { Timeout } = require('../primitives/limits');
const { RetryPlan } = require('../primitives/retry-run');
const { redactor } = require('./client-error');
const { HttpClient, baseUrl, httpOptions, parseJson } = require('./http');
const { MidtransCall } = require('./midtrans-call');
const {
  MidtransError, blamesUpstream, errorOfAnswer, errorOfTransport
} = require('./midtrans-errors');
const requests = require('./midtrans-requests');
const {
  advance, amountOf, canMove, isFinalState, isPaid, transactionStates
} = require('./midtrans-states');
const { callThrough, isBreaker, readBreaker, readRetry } = require('./protection');

// ---- Options -----------------------------------------------------------------------------------

const CONNECTIONS = 64;

const OPTIONS = optionsOf({
  serverKey: is.text('of the account', {
    pattern: /./s, expected: 'a text that is not empty', required: true,
  }),
  production: is.boolean("whether to use Midtrans's production, not its sandbox", {
    default: false,
  }),
  baseUrls: is.table('other addresses, for tests and proxies', optionsOf({
    snap: baseUrl('of Snap'), core: baseUrl('of Core'),
  })),
  timeout: is.any('ms for one request, a growing timeout, or false for no limit', {
    default: presets.midtrans.timeout,
  }),
  retry: is.any('options of retry(), laid over retryPresets.payment; false for one attempt'),
  breaker: is.any('a breaker, or its options, laid over presets.midtrans; false for none'),
  ...httpOptions(CONNECTIONS),
  orderIdPattern: is.where("the form of this shop's own order ids", 'a regular expression',
    isRegExp),
});

const signal = is.signal('ends the call');
const CALL = optionsOf({
  signal,
  resume: is.boolean('whether an earlier call with the same input may have got through', {
    default: false,
  }),
  timeout: is.ms("for each request, where that is less than the client's", { min: 1 }),
});
const PING = optionsOf({ signal });
const VERIFY = optionsOf({
  anyOrder: is.boolean('whether to accept ids that do not fit orderIdPattern', { default: false }),
});

const HOSTS = {
  production: { snap: 'https://app.midtrans.com', core: 'https://api.midtrans.com' },
  sandbox: { snap: 'https://app.sandbox.midtrans.com', core: 'https://api.sandbox.midtrans.com' },
};

/** The addresses of Snap and Core. The official client has paths in them. */
function hostsOf ({ production, baseUrls }) {
  const { snap, core } = HOSTS[production ? 'production' : 'sandbox'];
  const at = ({ origin, prefix }, path) => ({ origin, prefix: prefix.replace(path, '') });
  return {
    snap: at(baseUrls?.snap ?? { origin: snap, prefix: '' }, /\/snap\/v1$/),
    core: at(baseUrls?.core ?? { origin: core, prefix: '' }, /\/v2$/),
  };
}

/** A plan of retries: whatever the options say, only what may be sent again is. */
function planOf (value) {
  const options = readRetry(value, retryPresets.payment);
  const { attemptTimeout, shouldRetry } = options;
  if (attemptTimeout !== undefined) {
    throw invalidOption('retry.attemptTimeout', 'none (the client has a timeout)', attemptTimeout);
  }
  return new RetryPlan({
    ...options,
    shouldRetry: (error, attempt) => isA(error, MidtransError) && read(error, 'retryable') &&
      (shouldRetry ? shouldRetry(error, attempt) : true),
  });
}

function breakerOf (value) {
  if (value === false || value === null) return undefined;
  // The request has the time limit, as it knows whether anything was sent.
  return readBreaker(value, { ...presets.midtrans, timeout: false, name: 'midtrans' });
}

const ELABORATE = ['timeout', 'cache', 'coalesce', 'fallback', 'abortController',
  'autoRenewAbortController'];

/**
 * Whether the breaker was made here and does no more than a breaker does: then a call without a
 * signal takes the shortest way through it.
 */
const isPlain = value => !isBreaker(value) && !ELABORATE.some(option => read(value, option));

// ---- Notifications -----------------------------------------------------------------------------

const STATUS_CODE = /^[2-5]\d\d$/;
const GROSS_AMOUNT = /^(0|[1-9]\d{0,14})\.\d\d$/;
const SIGNATURE = /^[0-9a-fA-F]{128}$/;

const isText = (value, pattern) => typeof value === 'string' && pattern.test(value);

/**
 * Whether the signature of a notification is right. Takes the same time for every wrong signature.
 *
 * The signature covers order_id, status_code and gross_amount, joined without separators, and
 * nothing else: a true notice of a cancellation can be rewritten to one of a settlement and still
 * verifies, and digits can move from one part to the next where the grammar of the parts allows it.
 * So a right signature says that Midtrans has sent something, not what has happened.
 */
function isSigned (notification, serverKey, pattern) {
  const {
    order_id: orderId, status_code: statusCode, gross_amount: amount, signature_key: signature
  } = copyOf(notification);
  const fits = requests.isIncomingId(orderId) && isText(statusCode, STATUS_CODE) &&
    isText(amount, GROSS_AMOUNT) && isText(signature, SIGNATURE) &&
    (pattern === undefined || pattern.test(orderId));
  if (!fits) return false;
  const expected = createHash('sha512').update(orderId + statusCode + amount + serverKey).digest();
  return timingSafeEqual(expected, Buffer.from(signature, 'hex'));
}

/** A notification as an object; it may come as JSON. */
const bodyOf = notification =>
  copyOf(typeof notification === 'string' ? parseJson(notification) : notification);

// ---- The client --------------------------------------------------------------------------------

// No order has this id. That Midtrans says so shows that it is up and accepts our key.
const PING_ID = 'sekering-ping';

class MidtransClient extends Emitter {
  #http;
  #hosts;
  #headers;
  #redact;
  #plain;
  #plan;
  #timeout;
  #isSigned;
  #transport;

  constructor (options) {
    super();
    const settings = OPTIONS.read(options);
    const { serverKey, timeout, orderIdPattern } = settings;
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
    this.#hosts = hostsOf(settings);
    this.#plan = planOf(settings.retry);
    this.#timeout = new Timeout(timeout === false ? Infinity : timeout);
    this.#http = new HttpClient('sekering/midtrans', settings);
    this.breaker = breakerOf(settings.breaker);
    this.#plain = isPlain(settings.breaker);
    // Without the flags that make a pattern remember.
    const pattern = orderIdPattern && new RegExp(orderIdPattern, orderIdPattern.flags
      .replace(/[gy]/g, ''));
    this.#isSigned = (body, anyOrder) =>
      isSigned(body, serverKey, anyOrder ? undefined : pattern);
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
   * Snap: makes a payment page.
   *
   * If the answer is lost, GET status cannot tell whether there is a page before the customer has
   * chosen how to pay. So the order is sent again under the same order_id, of which Snap makes one
   * page only: no money moves twice. If Snap says that the order is taken, the page is there and
   * its token is lost: ERR_MIDTRANS_UNKNOWN_OUTCOME with `tokenLost`. Another call may have made
   * that page; only a caller who knows that none did may use another order_id.
   */
  async createTransaction (body, options) {
    return this.#call(requests.snapRequest(body), options);
  }

  async charge (body, options) {
    return this.#call(requests.chargeRequest(body), options);
  }

  async capture (body, options) {
    return this.#call(requests.captureRequest(body), options);
  }

  async status (id, options) {
    return this.#call(requests.statusRequest(id), options);
  }

  async approve (id, options) { return this.#change('approve', id, options); }
  async deny (id, options) { return this.#change('deny', id, options); }
  async cancel (id, options) { return this.#change('cancel', id, options); }
  async expire (id, options) { return this.#change('expire', id, options); }

  async refund (id, body, options) {
    return this.#call(requests.refundRequest('refund', id, body), options);
  }

  async directRefund (id, body, options) {
    return this.#call(requests.refundRequest('directRefund', id, body), options);
  }

  /** Whether Midtrans answers and accepts the key. Asks once, past the breaker. */
  async ping (options) {
    const { signal } = PING.read(options);
    const began = performance.now();
    await this.#look(PING_ID, { signal, operation: 'ping' });
    return { ok: true, latencyMs: performance.now() - began };
  }

  // ---- Notifications ---------------------------------------------------------------------------

  /**
   * Whether the signature of a notification is right. It covers the order, the status code and the
   * amount, NOT the state: ask GET status before the state of an order is changed, as
   * confirmNotification does.
   */
  verifyNotification (notification, options) {
    const { anyOrder } = VERIFY.read(options);
    return this.#isSigned(bodyOf(notification), anyOrder);
  }

  /** Verifies a notification and asks Midtrans what is true. */
  async confirmNotification (notification, options) {
    CALL.read(options);
    const body = bodyOf(notification);
    if (!this.#isSigned(body, false)) throw this.#forged('is not signed by Midtrans', body);
    const transaction = await this.status(body.transaction_id ?? body.order_id, options);
    if (transaction.order_id !== body.order_id) {
      throw this.#forged('names a transaction of another order', body);
    }
    return {
      transaction,
      state: transaction.transaction_status,
      paid: isPaid(transaction),
      amount: amountOf(transaction),
    };
  }

  #forged (what, body) {
    const orderId = typeof body?.order_id === 'string' ? body.order_id.slice(0, 50) : undefined;
    return new MidtransError('ERR_MIDTRANS_SIGNATURE', `A notification ${what}`,
      { operation: 'notification', orderId });
  }

  /** Closes the connections once their requests are done, and ends calls that wait to try again. */
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
    const { signal, resume, timeout } = CALL.read(options);
    if (timeout !== undefined) request.timeout = timeout;
    return new MidtransCall(this.#transport, request, resume).run(this.#plan, signal);
  }

  /** One request through the breaker. Errors that are the caller's fault count as successes. */
  async #send (request, call) {
    const { body, error } = await this.#through(request, call);
    if (error !== undefined) throw error;
    return body;
  }

  #through (request, call) {
    const { breaker } = this;
    const { signal } = call;
    if (!breaker?.enabled) return this.#ask(request, signal, call);
    return this.#plain && signal === undefined
      ? breaker.fire(() => this.#ask(request, undefined, call))
      : callThrough(breaker, context => this.#ask(request, context.signal, call), signal);
  }

  /**
   * Asks for the status, past the breaker: what became of the money has to be found out even while
   * the circuit is open. Answers undefined if there is no such transaction.
   */
  async #look (id, { signal, timeout, operation = 'status' }) {
    const request = { ...requests.statusRequest(id), operation, timeout };
    const { body, error } = await this.#ask(request, signal);
    if (read(error, 'code') === 'ERR_MIDTRANS_NOT_FOUND') return undefined;
    if (error !== undefined) throw error;
    return body;
  }

  /**
   * One request, as an attempt of `call` unless it only looks. Answers the body, or as `error` what
   * does not count against Midtrans; throws what does.
   */
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
      if (signal?.aborted) throw reasonOf(signal);
      if (read(cause, 'code') === 'ESHUTDOWN') return { error: cause };
      throw errorOfTransport(cause, request, call?.sent ?? false);
    }
    const { status: httpStatus, headers, text } = answer;
    const body = parseJson(text);
    const error = errorOfAnswer({ httpStatus, headers, body }, request, this.#redact);
    if (error === undefined) return { body };
    if (error.code === 'ERR_MIDTRANS_UNAUTHORIZED') {
      this.emit('alert', { kind: 'unauthorized', error });
    }
    if (blamesUpstream(error)) throw error;
    return { error };
  }

  /** As undici takes it. */
  #describe ({ method, path, json, core, idempotencyKey }) {
    const { origin, prefix } = this.#hosts[core ? 'core' : 'snap'];
    const known = this.#headers[method];
    const headers = method === 'POST' ? [...known, idempotencyKey] : known;
    return { origin, method, path: prefix + path, headers, body: json };
  }
}

module.exports = {
  MidtransClient, MidtransError, advance, amountOf, canMove, isFinalState, isPaid,
  transactionStates,
};
