'use strict';

// sekering/smtp: mails through a pool of connections, each of them once, to those who can be
// reached, and not at all while the server cannot.

const Emitter = require('../base/emitter');
const { read } = require('../base/foreign');
const { bag, boolean, number } = require('../base/options');
const { Bulkhead } = require('../primitives/limits');
const { presets } = require('../primitives/presets');
const { retry } = require('../primitives/retry');
const { Timeout } = require('../primitives/timeout');
const { Pause } = require('./pause');
const { Passage, readBreaker, readRetry } = require('./protection');
const { readMessage } = require('./smtp-message');
const { SmtpError, classifySmtpError, isRefusal, pausedError } = require('./smtp-errors');
const { checkTransportOptions, makeTransport, poolSizeOf } = require('./smtp-transport');

const OPTIONS = [
  'transport', 'smtp', 'from', 'defaults', 'maxConnections', 'maxQueue', 'queueTimeout', 'timeout',
  'retry', 'breaker', 'resendAmbiguous', 'requireTls', 'resumeAfter',
];
const CONNECTIONS_MAX = 5;
const QUEUE_MAX = 1000;
const VERIFY_TIMEOUT_MS = 10_000;
// Quotas are by the day, and end at any hour.
const RESUME_AFTER_MS = 3_600_000;
// Of a pace that was too quick, which is counted in seconds or minutes.
const RATE_MS = 30_000;

// A message is told that its last line goes out by the envelope that it was handed over with.
const letters = new WeakMap();
const watched = new WeakSet();

/** Has the letters told when their last line is on its way. False where that cannot be. */
function watchTransport (transport) {
  if (typeof transport.use !== 'function') return false;
  if (watched.has(transport)) return true;
  watched.add(transport);
  transport.use('stream', (mail, done) => {
    const letter = letters.get(mail.data.envelope);
    if (letter !== undefined) {
      mail.message.processFunc(input => input.once('end', () => letter.handOver()));
    }
    done();
  });
  return true;
}

class SmtpClient extends Emitter {
  #transport;
  #ownsTransport;
  #ownsBreaker;
  #hasSignals;
  #isWatched;
  #bulkhead;
  #retry;
  #defaults;
  #resendAmbiguous;
  #resumeAfter;
  #pause = new Pause((event, value) => this.emit(event, value));

  /**
   * @param {object} options
   * @param {object} [options.transport] one that nodemailer.createTransport() made; it stays the
   *   caller's. Otherwise the client makes one of `smtp`, which needs the package nodemailer
   * @param {object|string} [options.smtp] what nodemailer.createTransport() takes: host, port,
   *   secure, auth, tls, or an address such as smtps://user:password@host
   * @param {boolean} [options.requireTls] whether nothing, and no password, is sent without TLS;
   *   true unless the host is this machine (localhost, 127.0.0.0/8, ::1). It says nothing about
   *   `secure`, which begins with TLS
   * @param {string|object} [options.from] sender of messages that name none
   * @param {object} [options.defaults] laid under every message
   * @param {number} [options.maxConnections=5] mails on their way at once; the others wait their
   *   turn, which does not count towards `timeout`
   * @param {number} [options.maxQueue=1000] mails that may wait
   * @param {number} [options.queueTimeout=Infinity] ms that a mail may wait
   * @param {number} [options.timeout=5000] ms of one attempt
   * @param {object|number[]|false} [options.retry] options of retry(), over retryPresets.email
   * @param {CircuitBreaker|object|false} [options.breaker] or its options, over presets.smtp
   *   and a volumeThreshold of 5
   * @param {boolean} [options.resendAmbiguous=true] whether to try again when the server fell
   *   silent with the whole message in its hands: it may then arrive twice, under one Message-ID
   * @param {number} [options.resumeAfter=3600000] ms after which a pause for a quota that is used
   *   up ends by itself
   * @throws {TypeError|RangeError} ERR_INVALID_OPTION
   * @throws {SekeringError} ERR_MISSING_PEER
   */
  constructor (options) {
    super();
    const {
      transport, smtp, from, defaults, maxConnections, maxQueue = QUEUE_MAX, queueTimeout, timeout,
      retry: retryOptions, breaker, resendAmbiguous = true, requireTls,
      resumeAfter = RESUME_AFTER_MS,
    } = bag('options', options, OPTIONS);
    if (timeout !== undefined) number('timeout', timeout, { min: 1, unit: 'ms' });
    this.#resendAmbiguous = boolean('resendAmbiguous', resendAmbiguous);
    this.#defaults = { ...bag('defaults', defaults), ...from !== undefined && { from } };
    this.#retry = readRetry(retryOptions);
    this.#resumeAfter = number('resumeAfter', resumeAfter, { min: 1, unit: 'ms' });
    checkTransportOptions({ transport, requireTls });
    const size = number('maxConnections',
      maxConnections ?? (transport && poolSizeOf(transport)) ?? CONNECTIONS_MAX,
      { min: 1, integer: true });
    this.#bulkhead = new Bulkhead({ maxConcurrent: size, maxQueue, queueTimeout });
    this.#ownsTransport = transport === undefined;
    this.#transport = transport ?? makeTransport(smtp, size, requireTls);
    this.#hasSignals = this.#transport.transporter?.supportsAbortSignal === true;
    this.#isWatched = watchTransport(this.#transport);
    this.#ownsBreaker = typeof breaker?.run !== 'function';
    this.breaker = readBreaker(breaker, {
      ...presets.smtp, name: 'smtp', ...timeout !== undefined && { timeout }
    });
  }

  /** Mails on their way. */
  get active () { return this.#bulkhead.active; }

  /** Mails that wait for their turn. */
  get queued () { return this.#bulkhead.queued; }

  /** Why nothing is sent for now: { reason, since (ms as Date.now() counts), error }; or null. */
  get paused () { return this.#pause.current; }

  /**
   * Sends nothing until resume(). Mails that wait are rejected, and can be sent again later.
   * @param {string} [reason]
   */
  pause (reason = 'manual') { this.#pause.begin(reason); }

  /** Goes on sending. Whether it was paused. */
  resume () { return this.#pause.end(); }

  /**
   * Sends a message, and again what the server could not take at once.
   *
   * Emits `retry` ({ messageId, attempt, error }) before each further attempt, and `alert`
   * ({ kind, error }) when no message will get through for now, or before somebody mends something.
   * A quota that is used up pauses the client: it emits `paused` ({ reason, since, error }), and
   * `resumed` ({ reason }) when that is over.
   *
   * @param {object} message in nodemailer's form; bodies and attachments may not be streams
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<object>} when at least one recipient's server took it: { messageId,
   *   accepted, rejected, deferred (addresses), recipients: [{ address, status, responseCode,
   *   response }], attempts, ambiguous, response }
   * @throws {TypeError} ERR_INVALID_INPUT with `faults`, before anything is sent
   * @throws {SmtpError} when nobody got it
   */
  async send (message, options) {
    const { signal } = bag('options', options);
    const letter = readMessage(message, this.#defaults);
    let last;
    try {
      await retry(() => this.#attempt(letter, signal).catch(error => {
        last = error;
        throw error;
      }), this.#retryFor(letter, signal));
    } catch (error) {
      // The caller gave up, or a callback of the caller's failed.
      if (error !== last && !(error instanceof SmtpError)) throw error;
      if (letter.hasArrived) return letter.toResult();
      throw last;
    }
    return letter.toResult();
  }

  /**
   * Checks a message as send() does, and sends nothing.
   * @throws {TypeError} ERR_INVALID_INPUT with `faults`
   */
  check (message) { readMessage(message, this.#defaults); }

  /**
   * Connects, signs in and leaves: whether mails could be sent. It passes the breaker by.
   * @param {{ timeout?: number }} [options] ms, default 10000
   * @returns {Promise<true>}
   * @throws {SmtpError}
   */
  async verify (options) {
    const { timeout = VERIFY_TIMEOUT_MS } = bag('options', options);
    number('timeout', timeout, { min: 1, unit: 'ms' });
    try {
      await new Timeout(timeout).execute(() => this.#transport.verify());
      return true;
    } catch (error) {
      throw new SmtpError(error);
    }
  }

  /** Ends the connections and the breaker that are its own. Mails on their way are finished. */
  close () {
    if (this.#ownsBreaker) this.breaker.shutdown();
    if (this.#ownsTransport) this.#transport.close();
  }

  /** Only figures: what it was configured with holds credentials. */
  toJSON () {
    return { name: this.breaker.name, active: this.active, queued: this.queued };
  }

  #retryFor (letter, signal) {
    const { shouldRetry, onRetry } = this.#retry;
    return {
      ...this.#retry,
      signal,
      shouldRetry: (error, attempt) => this.#isWorthAnother(error, letter) &&
        (shouldRetry ? shouldRetry(error, attempt) : true),
      onRetry: (error, attempt, delay) => {
        this.emit('retry', { messageId: letter.messageId, attempt, error, delay });
        return onRetry?.(error, attempt);
      },
    };
  }

  #isWorthAnother (error, letter) {
    if (!(error instanceof SmtpError) || error.kind !== 'retry' || isRefusal(error)) return false;
    return this.#resendAmbiguous || !letter.ambiguous;
  }

  #throwIfPaused () {
    const { paused } = this;
    if (paused !== null) throw pausedError(paused);
  }

  /** One attempt for those who have not got the message; fails while somebody is left. */
  async #attempt (letter, signal) {
    try {
      this.#throwIfPaused();
      // In front of the breaker: whoever waited while it opened is not sent into the void.
      const failure = await this.#bulkhead.execute(() => this.#pass(letter, signal), { signal });
      if (failure !== undefined) throw failure;
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (error instanceof SmtpError) throw error;
      // We gave up, but nobody could stop it.
      if (!this.#hasSignals && read(error, 'code') === 'ETIMEDOUT') letter.handOver();
      throw letter.fail(error);
    }
  }

  async #pass (letter, signal) {
    this.#throwIfPaused();
    const passage = new Passage(context => this.#transmit(letter, context, signal));
    return passage.read(await this.breaker.run(passage.ask, { signal }));
  }

  /** What is not the server's fault is handed back as a value: the breaker need not hear of it. */
  async #transmit (letter, context, outer) {
    // A breaker that is off has no signal of its own.
    const signal = this.breaker.enabled ? context.signal : outer;
    const failure = await this.#hand(letter, signal);
    if (failure === undefined) return undefined;
    const { alert, pauses, trips } = failure.verdict;
    if (pauses) this.#rest(failure);
    else if (alert) this.#alert(failure);
    if (trips) throw failure;
    return failure;
  }

  /** Hands the message over: what went wrong, for all of those whom it is for or for some. */
  async #hand (letter, signal) {
    const data = letter.begin(this.#hasSignals ? signal : undefined);
    letters.set(data.envelope, letter);
    if (!this.#isWatched) letter.handOver();
    try {
      letter.settle(await this.#transport.sendMail(data) ?? {});
    } catch (error) {
      return letter.fail(error);
    }
    return letter.isPending ? letter.deferral() : undefined;
  }

  /** The account has sent as much as it may. */
  #rest (error) {
    this.#pause.begin(error.reason, error, error.reason === 'rate' ? RATE_MS : this.#resumeAfter);
  }

  /** A fault of ours: no mail gets through until it is mended. Told once, not by every mail. */
  #alert (error) {
    const { breaker } = this;
    const isNews = !breaker.enabled || !breaker.opened;
    if (breaker.enabled) breaker.open();
    if (isNews) this.emit('alert', { kind: error.reason, error });
  }
}

module.exports = { SmtpClient, SmtpError, classifySmtpError };
