'use strict';

// What both WhatsApp providers need: one message at a time through line, breaker and retry, a pace
// per number, and a pause of the whole channel when no message can get through.

const crypto = require('node:crypto');

const Emitter = require('../base/emitter');
const { invalidOption } = require('../base/errors');
const { read } = require('../base/foreign');
const { bag, boolean, number } = require('../base/options');
const { Bulkhead } = require('../primitives/limits');
const { retry } = require('../primitives/retry');
const { HttpClient, readBaseUrl } = require('./http');
const { Pause } = require('./pause');
const { Passage, readBreaker, readRetry } = require('./protection');
const { Doubts } = require('./whatsapp-doubts');
const {
  WhatsAppError, errorOfTransport, ofEverybody, pausedError, refusedError
} = require('./whatsapp-errors');
const { Pacer } = require('./whatsapp-pacer');

const CONNECTIONS = 16;
const QUEUE_MAX = 1000;
const RECIPIENT_INTERVAL_MS = 6000;
const REFUSALS = new Set(['EOPENBREAKER', 'ESHUTDOWN', 'EBULKHEADFULL', 'ERATELIMITED']);
// What both clients are given, whose own options come on top.
const OPTIONS = [
  'timeout', 'retry', 'breaker', 'connections', 'maxQueue', 'queueTimeout', 'dispatcher',
  'recipientInterval', 'paceAlways', 'resumeAfter', 'resendAmbiguous', 'baseUrl',
];
// A token that is shorter is a test's, and would be found in every other word.
const SECRET_CHARACTERS_MIN = 6;

/** A text that is not empty and can stand in a header or a path. */
function secret (option, value) {
  if (typeof value !== 'string' || !/^[!-~]{1,1000}$/.test(value)) {
    // It is not shown: it may be nearly right.
    throw invalidOption(option, 'a text without spaces', typeof value === 'string' ? {} : value);
  }
  return value;
}

/** Takes secrets out of what others say, also as they are written in an address. */
function redactor (...secrets) {
  const words = secrets.filter(word => word?.length >= SECRET_CHARACTERS_MIN)
    .flatMap(word => [word, encodeURIComponent(word)]);
  return text => words.reduce((rest, word) => rest.replaceAll(word, '[secret]'), String(text));
}

/** One message on its way. */
class Delivery {
  attempts = 0;
  ambiguous = false;

  constructor (recipient, request, reference) {
    this.recipient = recipient;
    this.request = request;
    this.reference = reference;
  }

  finish (error) {
    error.attempts = this.attempts;
    error.ambiguous = this.ambiguous;
    error.reference = this.reference;
    return error;
  }
}

class WhatsAppChannel extends Emitter {
  #http;
  #bulkhead;
  #retry;
  #timeout;
  #pacer;
  #doubts = new Doubts();
  #pause = new Pause((event, value) => this.emit(event, value));
  #resumeAfter;
  #resendAmbiguous;
  #ownsBreaker;
  #origin;
  #redact;

  /**
   * @param {object} options of the client
   * @param {{ name: string, preset: object, baseUrl: string, secrets: string[] }} own
   */
  constructor (options, { name, preset, baseUrl, secrets }) {
    super();
    const {
      timeout = preset.timeout, retry: retryOptions, breaker, connections = CONNECTIONS,
      maxQueue = QUEUE_MAX, queueTimeout, dispatcher, recipientInterval = RECIPIENT_INTERVAL_MS,
      paceAlways = false, resumeAfter = Infinity, resendAmbiguous = true,
    } = options;
    number('timeout', timeout === false ? Infinity : timeout, { min: 1, unit: 'ms' });
    this.#timeout = timeout || Infinity;
    this.#retry = readRetry(retryOptions);
    number('recipientInterval', recipientInterval, { min: 0, max: 3_600_000, unit: 'ms' });
    this.#pacer = new Pacer(recipientInterval, boolean('paceAlways', paceAlways));
    this.#resumeAfter = number('resumeAfter', resumeAfter, { min: 1, unit: 'ms' });
    this.#resendAmbiguous = boolean('resendAmbiguous', resendAmbiguous);
    this.#origin = readBaseUrl('baseUrl', options.baseUrl ?? baseUrl);
    this.#redact = redactor(...secrets);
    this.#http = new HttpClient({ feature: 'sekering/whatsapp', dispatcher, connections });
    this.#bulkhead = new Bulkhead({ maxConcurrent: connections, maxQueue, queueTimeout });
    this.#ownsBreaker = typeof breaker?.run !== 'function';
    // The time limit is the request's, which knows whether anything was sent.
    this.breaker = readBreaker(breaker, { ...preset, timeout: false, name });
  }

  /** Messages on their way. */
  get active () { return this.#bulkhead.active; }

  /** Messages that wait for their turn. */
  get queued () { return this.#bulkhead.queued; }

  /** Why the channel is paused: { reason, since (ms as Date.now() counts), error }; else null. */
  get paused () { return this.#pause.current; }

  /**
   * Sends nothing until resume(). Messages that wait are rejected, and can be sent again later.
   * @param {string} [reason]
   * @param {WhatsAppError} [error] that led to it
   */
  pause (reason = 'manual', error = undefined) {
    this.#pause.begin(reason, error, this.#resumeAfter);
  }

  /** Goes on sending. Whether it was paused. */
  resume () { return this.#pause.end(); }

  /** Closes the connections, once the messages on them are done, and the breaker if it is ours. */
  async close () {
    if (this.#ownsBreaker) this.breaker.shutdown();
    await this.#http.close();
  }

  /** Only figures: what it was configured with holds credentials. */
  toJSON () {
    const { active, queued, paused } = this;
    return { name: this.breaker.name, active, queued, paused: paused && paused.reason };
  }

  // ---- For the clients -------------------------------------------------------------------------

  /** A name of our own for a message, by which its later news is known again. */
  _newReference () { return crypto.randomUUID(); }

  _slow (recipient) {
    if (recipient !== undefined) this.#pacer.slow(recipient);
  }

  /** Does what an error asks for beyond its message; the error to go on with. */
  _heed (failure, recipient) {
    const { verdict, providerCode } = failure;
    if (verdict.kind === 'recipient') this._slow(recipient);
    if (verdict.doubtful && recipient !== undefined && this.#doubts.add(providerCode, recipient)) {
      return this._heed(ofEverybody(failure), recipient);
    }
    if (verdict.pauses) this.pause(verdict.reason, failure);
    return failure;
  }

  /**
   * Sends one message, again where that makes sense.
   * @param {object} message { recipient, path, headers, body, reference }; `timeout` is the least
   *   time that an attempt is given (ms), `isRepeatable` whether it does no harm twice; _read()
   *   gets the rest of it
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<{ answer: unknown, delivery: Delivery }>}
   */
  async _deliver (message, options) {
    const { signal } = bag('options', options);
    const { recipient, reference, ...request } = message;
    const delivery = new Delivery(recipient, request, reference);
    const { shouldRetry, onRetry } = this.#retry;
    let last;
    const attempt = () => this.#attempt(delivery, signal).catch(error => {
      last = error;
      throw error;
    });
    try {
      const answer = await retry(attempt, {
        ...this.#retry,
        signal,
        shouldRetry: (error, i) => this.#isWorthAnother(error, delivery) &&
          (shouldRetry ? shouldRetry(error, i) : true),
        onRetry: (error, i, delay) => {
          this.emit('retry', { reference, recipient, attempt: i, error, delay });
          return onRetry?.(error, i);
        },
      });
      return { answer, delivery };
    } catch (error) {
      // The caller gave up, or a callback of the caller's failed.
      if (error !== last && !(error instanceof WhatsAppError)) throw error;
      throw last;
    }
  }

  /** One request past line, breaker and retry: for checks. */
  async _ask (request, signal) {
    const { answer, failure } = await this.#ask(new Delivery(undefined, request), signal);
    if (failure !== undefined) throw failure;
    return answer;
  }

  // ---- Inside ----------------------------------------------------------------------------------

  #isWorthAnother (error, delivery) {
    if (!(error instanceof WhatsAppError) || error.bail || REFUSALS.has(error.code)) return false;
    return this.#resendAmbiguous || !delivery.ambiguous || delivery.request.isRepeatable === true;
  }

  #throwIfPaused () {
    const { paused } = this;
    if (paused !== null) throw pausedError(paused);
  }

  async #attempt (delivery, signal) {
    try {
      this.#throwIfPaused();
      if (delivery.recipient !== undefined) await this.#pacer.wait(delivery.recipient, signal);
      // In front of the breaker: whoever waited while it opened is not sent into the void.
      return await this.#bulkhead.execute(() => this.#pass(delivery, signal), { signal });
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (error instanceof WhatsAppError) throw delivery.finish(error);
      if (REFUSALS.has(read(error, 'code'))) throw delivery.finish(refusedError(error));
      // A breaker of the user's may have a time limit of its own.
      if (read(error, 'code') !== 'ETIMEDOUT') throw error;
      delivery.ambiguous = true;
      throw delivery.finish(errorOfTransport(error, true));
    }
  }

  /** What is not the provider's fault is handed back as a value: no breaker need hear of it. */
  async #pass (delivery, outer) {
    this.#throwIfPaused();
    const { breaker } = this;
    const passage = new Passage(context => {
      delivery.attempts += 1;
      return this.#ask(delivery, breaker.enabled ? context.signal : outer);
    });
    const outcome = await breaker.run(passage.ask, { signal: outer });
    const { answer, failure } = passage.read(outcome);
    if (failure !== undefined) throw this._heed(failure, delivery.recipient);
    if (delivery.recipient !== undefined) this.#doubts.clear();
    return answer;
  }

  async #ask (delivery, signal) {
    const { origin, prefix } = this.#origin;
    const { method = 'POST', path, headers, body, timeout = 0 } = delivery.request;
    let sent = false;
    let response;
    try {
      response = await this.#http.request(
        { origin, method, path: prefix + path, headers, body },
        { timeoutMs: Math.max(this.#timeout, timeout), signal, onSent: () => { sent = true; } });
    } catch (cause) {
      if (read(cause, 'code') === 'ESHUTDOWN') return { failure: refusedError(cause) };
      delivery.ambiguous ||= sent;
      throw signal?.aborted ? signal.reason : errorOfTransport(cause, sent);
    }
    const answer = this._read(response, this.#redact, delivery.request);
    if (!(answer instanceof WhatsAppError)) return { answer };
    delivery.ambiguous ||= answer.ambiguous;
    if (answer.verdict.trips) throw answer;
    return { failure: answer };
  }
}

module.exports = { OPTIONS, WhatsAppChannel, secret };
