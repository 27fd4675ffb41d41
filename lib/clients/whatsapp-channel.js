'use strict';

// What the clients of the Cloud API and of Green API have in common: requests over HTTP, a pace for
// recipients that got too many messages, and refusals that may concern one recipient or all.

const clock = require('../base/clock');
const { invalidOption, wasNotAsked } = require('../base/errors');
const { isA, promiseOf, read, reasonOf } = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { KeyedRateLimiter } = require('../primitives/limits');
const { redactor } = require('./client-error');
const { DELIVERY_OPTIONS, DeliveryClient } = require('./delivery');
const { HttpClient, baseUrl, httpOptions } = require('./http');
const {
  WhatsAppError, errorOfAnswer, errorOfTransport, ofEverybody, pausedError, refusedError
} = require('./whatsapp-errors');
const { COUNTRY_CODE } = require('./whatsapp-input');
const { WebhookMemory, newsOf } = require('./whatsapp-webhook');

const CONNECTIONS = 16;
const INTERVAL_MS_MAX = 3_600_000;
const RECIPIENTS_MAX = 10_000;
// A message does not wait longer for the pace of its recipient.
const PACE_WAIT_MS_MAX = 60_000;

// ---- Options -----------------------------------------------------------------------------------

/** The options of both clients. `preset` is that of the breaker. */
const channelOptions = (address, preset) => ({
  ...DELIVERY_OPTIONS,
  ...httpOptions(CONNECTIONS),
  baseUrl: baseUrl('of the API, for tests and proxies', address),
  timeout: is.ms('for one attempt; false for no limit', {
    min: 1, or: [false], default: preset.timeout,
  }),
  countryCode: COUNTRY_CODE,
  recipientInterval: is.ms('between messages to a number that had too many; 0 for none', {
    max: INTERVAL_MS_MAX, default: 6000,
  }),
  paceAlways: is.boolean('whether to keep that interval from the beginning', { default: false }),
  resumeAfter: is.ms('after which a pause ends by itself', { min: 1, default: Infinity }),
});

const SECRET = 'a text without spaces';

/** An option that can stand in a header or a path, and whose value is never shown. */
const secret = (doc, { pattern = /^[!-~]{1,1000}$/, expected = SECRET, ...spec } = {}) => ({
  ...spec,
  doc,
  expected,
  check (option, value) {
    if (typeof value === 'string' && pattern.test(value)) return value;
    throw invalidOption(option, expected, typeof value === 'string' ? {} : value);
  },
});

/** The options of a call. */
const CALL = optionsOf({ signal: is.signal('ends the call') });

const RECEIVE = optionsOf({
  deliveries: is.having('stores statuses, and knows what other processes have told', ['record'],
    { expected: 'store.deliveries' }),
  onNews: is.func('gets what is new'),
});

/** The error when an option is missing that webhooks need. */
const needed = option => invalidOption(option, 'a text (webhooks need it)', undefined);

// ---- Refusals ----------------------------------------------------------------------------------

const DOUBTFUL_RECIPIENTS = 3;
const DOUBTFUL_WINDOW_MS = 3_600_000;

/**
 * Refusals that may concern one recipient or all of them. If several recipients in a row have got
 * the same one within an hour, it concerns all.
 */
class DoubtfulRefusals {
  #code;
  // When each recipient was last refused.
  #refused = new Map();

  /** Whether this refusal, after those before it, concerns everybody. */
  add (code, recipient) {
    const now = clock.now();
    if (code !== this.#code) this.clear();
    this.#code = code;
    for (const [known, at] of this.#refused) {
      if (now - at >= DOUBTFUL_WINDOW_MS) this.#refused.delete(known);
    }
    this.#refused.set(recipient, now);
    if (this.#refused.size < DOUBTFUL_RECIPIENTS) return false;
    this.clear();
    return true;
  }

  /** A message got through. */
  clear () { this.#refused.clear(); }
}

// ---- The channel -------------------------------------------------------------------------------

/**
 * The delivery of a request: a message, an upload or a check on its way. A request is { method,
 * path, headers, body }, `baseUrl` if that is another one, `timeout`: the least time that an
 * attempt gets (ms), `isRepeatable`: whether twice does no harm, and `recipient` and `reference` of
 * a message.
 */
function deliveryOf (request) {
  const { reference, recipient } = request;
  return {
    method: 'POST', timeout: 0, ...request, about: { reference, recipient }, attempts: 0,
    ambiguous: false,
  };
}

/** Tells an error what is known of its delivery. */
const finish = (error, { attempts, ambiguous, reference }) =>
  Object.assign(error, { attempts, ambiguous, reference });

/**
 * A subclass has these methods.
 *
 * - `_requestOf(message)` checks a message. Returns its request, see deliveryOf(), with `idOf`,
 *   which finds the message's id in the answer; throws ERR_INVALID_INPUT.
 * - `_read(response, redact, request)` returns the body of an answer, or throws the WhatsAppError
 *   that the answer is.
 * - `_readWebhook(body, headers, redact)` returns the entries of a webhook; throws if it does not
 *   prove who sent it.
 * - `_heed(entry)` reacts to a new entry.
 */
class WhatsAppChannel extends DeliveryClient {
  #http;
  #baseUrl;
  #timeout;
  #limiter;
  #paceAlways;
  #doubtful = new DoubtfulRefusals();
  #redact;
  #name;
  #memory = new WebhookMemory();

  constructor (options, { name, preset, secrets, source = name }) {
    const { connections, recipientInterval, resumeAfter, timeout } = options;
    super(options, {
      Failure: WhatsAppError,
      pausedError,
      concurrency: connections,
      // The request has the time limit, as it knows whether anything was sent.
      preset: { ...preset, timeout: false, name },
      pauseMs: resumeAfter,
    });
    this.#http = new HttpClient('sekering/whatsapp', options);
    this.#baseUrl = options.baseUrl;
    this.#timeout = timeout || Infinity;
    this.#paceAlways = options.paceAlways;
    this.#name = source;
    this.#redact = redactor(...secrets);
    if (recipientInterval === 0) return;
    const interval = Math.max(recipientInterval, 1);
    this.#limiter = new KeyedRateLimiter({
      limit: 1,
      interval,
      maxWait: PACE_WAIT_MS_MAX,
      keysMax: RECIPIENTS_MAX,
      // A recipient is no longer paced when it got nothing for an interval in which it could have.
      idleMs: 2 * interval,
    });
  }

  /** Sends a message in the form of the provider. */
  async send (message, options) {
    const request = this._requestOf(message);
    const { recipient, reference, idOf } = request;
    const { answer, attempts, ambiguous } = await this._send(request, options);
    return { messageId: idOf(answer), recipient, reference, attempts, ambiguous, response: answer };
  }

  /** Checks a message as send() does, and sends nothing. */
  check (message) { this._requestOf(message); }

  /**
   * Reads a webhook, and emits an event for each entry that is new, as far as this process
   * remembers. Returns all entries, including repeated ones.
   */
  handleWebhook (body, headers) {
    const entries = this._readWebhook(body, headers, this.#redact);
    this.#tell(this.#memory.take(entries));
    return newsOf(entries);
  }

  /**
   * The same, but stores the statuses and calls `onNews` before it emits. If either fails, this
   * rejects, and the entries of the repeated webhook count as new again. `deliveries` of a store
   * remember across processes and restarts. Resolves with what was new.
   */
  async receiveWebhook (body, headers, options) {
    const { deliveries, onNews } = RECEIVE.read(options);
    const entries = this._readWebhook(body, headers, this.#redact);
    let told = [];
    const work = async fresh => {
      const news = newsOf(fresh);
      if (news.statuses.length > 0) await deliveries?.record(news.statuses);
      if (onNews !== undefined) await promiseOf(onNews(news));
      this.#tell(fresh);
      told = fresh;
    };
    const nameOf = ({ key }) => key && `${this.#name} ${key}`;
    const knowsAll = typeof read(deliveries, 'handleOnce') === 'function';
    await this.#memory.handle(entries, fresh =>
      (knowsAll ? deliveries.handleOnce(fresh, nameOf, work) : work(fresh)));
    return newsOf(told);
  }

  /** Closes the connections, once the messages on them are done, and the breaker if it is ours. */
  async close () {
    this._shutdownBreaker();
    await this.#http.close();
  }

  toJSON () {
    const { paused } = this;
    return { ...super.toJSON(), paused: paused && paused.reason };
  }

  // ---- For the subclasses -----------------------------------------------------------------------

  /** Sends a request, see deliveryOf(); again where that makes sense. */
  async _send (request, options) {
    const { signal } = CALL.read(options);
    const delivery = deliveryOf(request);
    const answer = await this._deliver(delivery, signal);
    const { attempts, ambiguous } = delivery;
    return { answer, attempts, ambiguous };
  }

  /** Sends one request past queue, breaker and retry: for checks. */
  async _ask (request, options) {
    const { signal } = CALL.read(options);
    return this.#request(deliveryOf(request), signal);
  }

  /** Reacts to what a webhook says about a message or the account, just as to an answer. */
  _hear ({ code, title, message = title, details, verdict }, { recipient, reference } = {}) {
    const error = errorOfAnswer({ status: undefined, headers: {} }, verdict,
      { providerCode: code, message, details });
    return this._react(Object.assign(error, { reference }), { recipient });
  }

  // ---- For DeliveryClient -----------------------------------------------------------------------

  /** Waits until a message may go to its recipient. */
  _ready ({ recipient }, signal) {
    if (recipient === undefined || this.#limiter === undefined) return undefined;
    if (!this.#paceAlways && !this.#limiter.has(recipient)) return undefined;
    return this.#limiter.execute(recipient, () => {}, { signal });
  }

  async _transmit (delivery, signal) {
    delivery.attempts += 1;
    const answer = await this.#request(delivery, signal);
    if (delivery.recipient !== undefined) this.#doubtful.clear();
    return answer;
  }

  _errorOf (error, delivery) {
    if (isA(error, WhatsAppError)) return finish(error, delivery);
    if (wasNotAsked(error)) return finish(refusedError(error), delivery);
    // A breaker of the user's may have a time limit of its own.
    if (read(error, 'code') !== 'ETIMEDOUT') return error;
    delivery.ambiguous = true;
    return finish(errorOfTransport(error, true), delivery);
  }

  _onFailure (failure, delivery) {
    const { recipient } = delivery;
    const { kind, doubtful } = failure.verdict;
    delivery.ambiguous ||= failure.ambiguous;
    if (recipient === undefined) return failure;
    if (kind === 'recipient') this.#limiter?.drain(recipient);
    const isForAll = doubtful && this.#doubtful.add(failure.providerCode, recipient);
    return isForAll ? ofEverybody(failure) : failure;
  }

  // ---- Inside -----------------------------------------------------------------------------------

  #tell (entries) {
    for (const entry of entries) {
      this.emit(entry.kind, entry.value);
      this._heed(entry);
    }
  }

  async #request (delivery, signal) {
    const { method, path, headers, body, timeout, baseUrl: own = this.#baseUrl } = delivery;
    const { origin, prefix } = own;
    let sent = false;
    let response;
    try {
      response = await this.#http.request(
        { origin, method, path: prefix + path, headers, body },
        { timeoutMs: Math.max(this.#timeout, timeout), signal, onSent: () => { sent = true; } });
    } catch (cause) {
      if (read(cause, 'code') === 'ESHUTDOWN') throw refusedError(cause);
      delivery.ambiguous ||= sent;
      throw signal?.aborted ? reasonOf(signal) : errorOfTransport(cause, sent);
    }
    return this._read(response, this.#redact, delivery);
  }
}

module.exports = { WhatsAppChannel, channelOptions, needed, secret };
