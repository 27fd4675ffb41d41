'use strict';

// sekering/smtp: sends each mail once, to the recipients that can be reached, and none while the
// server cannot take any.

const { withDeadline } = require('../base/deadline');
const { read } = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { presets } = require('../primitives/presets');
const { DELIVERY_OPTIONS, DeliveryClient } = require('./delivery');
const { SmtpError, classifySmtpError, pausedError } = require('./smtp-errors');
const { readMessage } = require('./smtp-message');
const { SmtpTransport } = require('./smtp-transport');

const VERIFY_TIMEOUT_MS = 10_000;
// Quotas are per day, and end at any hour.
const RESUME_AFTER_MS = 3_600_000;
// A sending rate that was exceeded is measured in seconds or minutes.
const RATE_PAUSE_MS = 30_000;

const OPTIONS = optionsOf({
  ...DELIVERY_OPTIONS,
  transport: is.having('made by nodemailer.createTransport(); it stays its owner\'s',
    ['sendMail'], { expected: 'a transport of nodemailer' }),
  smtp: is.where('what nodemailer.createTransport() takes, in place of a transport',
    'an object or an address', value =>
      typeof value === 'string' || (typeof value === 'object' && value !== null)),
  requireTls: is.boolean('whether to send nothing without TLS (default: unless on this machine)'),
  from: is.any('sender of messages that name none'),
  defaults: is.object('laid under every message'),
  maxConnections: is.integer('mails on their way at once (default 5)', { min: 1 }),
  timeout: is.ms('for one attempt', { min: 1, default: presets.smtp.timeout }),
  resumeAfter: is.ms('after which a pause for a quota ends by itself', {
    min: 1, default: RESUME_AFTER_MS,
  }),
});

const SEND = optionsOf({ signal: is.signal('ends the call') });
const VERIFY = optionsOf({
  timeout: is.ms('for all of it', { min: 1, default: VERIFY_TIMEOUT_MS }),
});

class SmtpClient extends DeliveryClient {
  #transport;
  #defaults;
  #resumeAfter;

  /**
   * @param {object} options see OPTIONS
   * @throws {TypeError|RangeError} ERR_INVALID_OPTION
   * @throws {SekeringError} ERR_MISSING_PEER
   */
  constructor (options) {
    const settings = OPTIONS.read(options);
    const { from, defaults, timeout, resumeAfter } = settings;
    const transport = new SmtpTransport(settings);
    super(settings, {
      Failure: SmtpError,
      concurrency: transport.size,
      preset: { ...presets.smtp, name: 'smtp', timeout },
      pauseMs: Infinity,
    });
    this.#transport = transport;
    this.#defaults = { ...defaults, ...from !== undefined && { from } };
    this.#resumeAfter = resumeAfter;
  }

  /**
   * Sends a message, and sends it again to recipients that could not get it at once.
   *
   * Emits `retry` ({ messageId, attempt, error, delay }) before each further attempt, and `alert`
   * ({ kind, error }) when no message gets through, for a while or until somebody fixes it. A quota
   * that is used up pauses the client, which emits `paused` ({ reason, since, error }), and
   * `resumed` ({ reason }) at the end.
   *
   * @param {object} message in nodemailer's form; bodies and attachments may not be streams
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<object>} when the server took it for at least one recipient: { messageId,
   *   accepted, rejected, deferred (addresses), recipients: [{ address, status, responseCode,
   *   response }], attempts, ambiguous, response }
   * @throws {TypeError} ERR_INVALID_INPUT with `faults`, before anything is sent
   * @throws {SmtpError} when nobody got it
   */
  async send (message, options) {
    const { signal } = SEND.read(options);
    const letter = readMessage(message, this.#defaults);
    try {
      await this._deliver(letter, signal);
    } catch (error) {
      if (!letter.hasArrived || !(error instanceof SmtpError)) throw error;
    }
    return letter.toResult();
  }

  /**
   * Checks a message as send() does, and sends nothing.
   * @throws {TypeError} ERR_INVALID_INPUT with `faults`
   */
  check (message) { readMessage(message, this.#defaults); }

  /**
   * Connects, signs in and leaves, past the breaker: whether mails could be sent.
   * @param {{ timeout?: number }} [options]
   * @returns {Promise<true>}
   * @throws {SmtpError}
   */
  async verify (options) {
    const { timeout } = VERIFY.read(options);
    try {
      await withDeadline(undefined, timeout, () => this.#transport.verify());
      return true;
    } catch (error) {
      throw new SmtpError(error);
    }
  }

  /** Ends its own connections and breaker. Mails on their way are finished. */
  close () {
    this._shutdownBreaker();
    this.#transport.close();
  }

  // ---- For DeliveryClient -----------------------------------------------------------------------

  /** One attempt for those who have not got the message; fails while somebody is left. */
  async _transmit (letter, signal) {
    try {
      letter.settle(await this.#transport.send(letter, signal));
    } catch (error) {
      throw letter.fail(error);
    }
    if (letter.isPending) throw letter.deferral();
  }

  _errorOf (error, letter) {
    if (error instanceof SmtpError) return error;
    // We gave up, but could not stop the transport.
    if (!this.#transport.canAbort && read(error, 'code') === 'ETIMEDOUT') letter.handOver();
    return letter.fail(error);
  }

  _pausedError (pause) { return pausedError(pause); }

  _pauseMsOf ({ reason }) { return reason === 'rate' ? RATE_PAUSE_MS : this.#resumeAfter; }

  /** A fault on our side stops all mails until it is fixed. It is told once, not for every mail. */
  _onFailure (failure) {
    const { alert, pauses } = failure.verdict;
    if (!alert || pauses) return failure;
    const { breaker } = this;
    const isNews = !breaker.enabled || !breaker.opened;
    if (breaker.enabled) breaker.open();
    if (isNews) this.emit('alert', { kind: failure.reason, error: failure });
    return failure;
  }
}

module.exports = { SmtpClient, SmtpError, classifySmtpError };
