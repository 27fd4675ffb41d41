'use strict';

// sekering/smtp: sends each mail once, to the recipients that can be reached, and none while the
// server cannot take any.

const net = require('node:net');

const { withDeadline } = require('../base/deadline');
const { invalidOption } = require('../base/errors');
const { isA, read } = require('../base/foreign');
const { bag, is, optionsOf, readable } = require('../base/options');
const { requirePeer } = require('../base/peer');
const { presets } = require('../primitives/presets');
const { DELIVERY_OPTIONS, DeliveryClient } = require('./delivery');
const { SmtpError, classifySmtpError, pausedError } = require('./smtp-errors');
const { readMessage } = require('./smtp-message');

const CONNECTIONS = 5;
const SECURE_PORT = 465;
// These would send in clear text what `requireTls` protects.
const IN_CLEAR = ['ignoreTLS', 'opportunisticTLS'];
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

// ---- The transport -----------------------------------------------------------------------------

// A letter is found by the envelope that nodemailer got with it.
const letters = new WeakMap();
const watched = new WeakSet();

/** Tells letters when their last line is on its way. Returns whether the transport can do that. */
function watch (transport) {
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

/** Whether a host is this machine by its name alone: other names may resolve to anything. */
function isLoopback (host) {
  const name = String(host).toLowerCase().replace(/^\[(.*)\]$/, '$1');
  if (name === 'localhost' || name === '::1') return true;
  return net.isIPv4(name.replace(/^::ffff:/, '')) && /^(::ffff:)?127\./.test(name);
}

/** Whether nodemailer must not go on without STARTTLS. The settings are as it has read them. */
function isTlsRequired (requireTls, settings) {
  // nodemailer takes localhost where no host is given.
  const { host = 'localhost', port, secure = Number(port) === SECURE_PORT } = settings;
  const required = requireTls ?? settings.requireTLS ??
    (!secure && !isLoopback(host || 'localhost'));
  const contrary = IN_CLEAR.find(name => settings[name]);
  if (required && contrary !== undefined) {
    throw invalidOption('requireTls', `false when ${contrary} is set`,
      requireTls ?? settings.requireTLS ?? undefined);
  }
  return Boolean(required);
}

/** How many connections a transport opens at most, if it has a pool of them. */
function poolSizeOf (transport) {
  const { pool, maxConnections } = transport.transporter?.options ?? transport.options ?? {};
  return pool || maxConnections ? maxConnections : undefined;
}

function makeTransport (smtp, maxConnections, requireTls) {
  const { createTransport } = requirePeer('nodemailer', 'SmtpClient');
  const settings = typeof smtp === 'string' ? { url: smtp } : smtp;
  // nodemailer itself reads an address or the name of a service, so that there are no two opinions
  // about the host. What it has read replaces both.
  const { url, service, ...read } = createTransport({ ...settings, pool: true, maxConnections })
    .transporter.options;
  return createTransport({ ...read, requireTLS: isTlsRequired(requireTls, read) });
}

/** nodemailer's pool of connections. It neither signs in nor sends a mail in clear text. */
class SmtpTransport {
  #transport;
  #isOwn;
  #isWatched;

  constructor ({ transport, smtp, requireTls, maxConnections }) {
    this.#isOwn = transport === undefined;
    if (this.#isOwn && smtp === undefined) {
      throw invalidOption('smtp', 'an object or an address (or give a transport)', smtp);
    }
    if (!this.#isOwn && requireTls !== undefined) {
      throw invalidOption('requireTls', 'no value (the transport has its own settings)',
        requireTls);
    }
    /** How many mails it takes at once. */
    this.size = maxConnections ?? (transport && poolSizeOf(transport)) ?? CONNECTIONS;
    this.#transport = transport ?? makeTransport(smtp, this.size, requireTls);
    /** Whether it stops sending when a signal aborts. */
    this.canAbort = this.#transport.transporter?.supportsAbortSignal === true;
    this.#isWatched = watch(this.#transport);
  }

  /** Hands a letter over to those who have not got it. Resolves with nodemailer's answer. */
  async send (letter, signal) {
    const data = letter.begin(this.canAbort ? signal : undefined);
    letters.set(data.envelope, letter);
    if (!this.#isWatched) letter.handOver();
    return await this.#transport.sendMail(data) ?? {};
  }

  /** Connects, signs in and leaves. */
  verify () { return this.#transport.verify(); }

  /** Ends the connections, unless the transport is the user's. */
  close () {
    if (this.#isOwn) this.#transport.close();
  }
}

// ---- The client --------------------------------------------------------------------------------

class SmtpClient extends DeliveryClient {
  #transport;
  #defaults;
  #resumeAfter;

  constructor (options) {
    const settings = OPTIONS.read(options);
    const { from, defaults, timeout, resumeAfter } = settings;
    const option = settings.transport === undefined ? 'smtp' : 'transport';
    const transport = readable(option, 'the settings of nodemailer, or a transport of its own',
      settings[option], () => new SmtpTransport(settings));
    super(settings, {
      Failure: SmtpError,
      pausedError,
      concurrency: transport.size,
      preset: { ...presets.smtp, name: 'smtp', timeout },
      pauseMs: Infinity,
    });
    this.#transport = transport;
    this.#defaults = { ...bag('defaults', defaults), ...from !== undefined && { from } };
    this.#resumeAfter = resumeAfter;
  }

  /** Sends a message, and sends it again to recipients that could not get it at once. */
  async send (message, options) {
    const { signal } = SEND.read(options);
    const letter = readMessage(message, this.#defaults);
    try {
      await this._deliver(letter, signal);
    } catch (error) {
      if (!letter.hasArrived || !isA(error, SmtpError)) throw error;
    }
    return letter.toResult();
  }

  /** Checks a message as send() does, and sends nothing. */
  check (message) { readMessage(message, this.#defaults); }

  /** Connects, signs in and leaves, past the breaker: whether mails could be sent. */
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
    if (isA(error, SmtpError)) return error;
    // We gave up, but could not stop the transport.
    if (!this.#transport.canAbort && read(error, 'code') === 'ETIMEDOUT') letter.handOver();
    return letter.fail(error);
  }

  _pauseMsOf ({ reason }) { return reason === 'rate' ? RATE_PAUSE_MS : this.#resumeAfter; }

  /** A fault on our side stops all mails until it is fixed, with one alert, not one per mail. */
  _onFailure (failure) {
    const { alert, pauses } = failure.verdict;
    if (!alert || pauses) return failure;
    const { breaker } = this;
    const isNew = !breaker.enabled || !breaker.opened;
    if (breaker.enabled) breaker.open();
    if (isNew) this.emit('alert', { kind: failure.reason, error: failure });
    return failure;
  }
}

module.exports = { SmtpClient, SmtpError, classifySmtpError };
