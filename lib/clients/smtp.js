'use strict';

// sekering/smtp: sends each mail once, to the recipients that can be reached, and none while the
// server cannot take any.

const net = require('node:net');

const { withDeadline } = require('../base/deadline');
const { invalidOption } = require('../base/errors');
const { isA, read } = require('../base/foreign');
const { NAMES, bag, is, optionsOf, readable } = require('../base/options');
const { requirePeer } = require('../base/peer');
const { presets } = require('../primitives/presets');
const { DELIVERY_OPTIONS, DeliveryClient, Route } = require('./delivery');
const { isBreaker } = require('./protection');
const { SmtpError, classifySmtpError, pausedError } = require('./smtp-errors');
const { readMessage, readSender } = require('./smtp-message');

const CONNECTIONS = 5;
const SECURE_PORT = 465;
// These would send in clear text what `requireTls` protects.
const IN_CLEAR = ['ignoreTLS', 'opportunisticTLS'];
const VERIFY_TIMEOUT_MS = 10_000;
const RELAYS_MAX = 10;

// What each relay may have of its own.
const RELAY = {
  transport: is.having('made by nodemailer.createTransport(); it stays its owner\'s',
    ['sendMail'], { expected: 'a transport of nodemailer' }),
  smtp: is.where('what nodemailer.createTransport() takes, in place of a transport',
    'an object or an address', value =>
      typeof value === 'string' || (typeof value === 'object' && value !== null)),
  requireTls: is.boolean('whether to send nothing without TLS (default: unless on this machine)'),
  from: is.any('sender of messages that name none'),
  maxConnections: is.integer('mails on their way at once (default 5)', { min: 1 }),
  breaker: DELIVERY_OPTIONS.breaker,
};

const OPTIONS = optionsOf({
  ...DELIVERY_OPTIONS,
  ...RELAY,
  relays: is.list('tried in order, in place of smtp or transport', is.table('a relay', optionsOf({
    name: is.text('of the relay (default: its place in the list)', NAMES), ...RELAY,
  })), { min: 1, max: RELAYS_MAX, of: 'relays' }),
  defaults: is.object('laid under every message'),
  timeout: is.ms('for one attempt at one relay', { min: 1, default: presets.smtp.timeout }),
  resumeAfter: is.ms('after which a pause for a quota ends (default: by the period of the quota)',
    { min: 1 }),
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

/** Whether a connection begins with TLS. */
const isSecure = ({ port, secure = Number(port) === SECURE_PORT }) => secure;

/** Whether nodemailer must not go on without STARTTLS. The settings are as it has read them. */
function isTlsRequired (requireTls, settings, place) {
  // nodemailer takes localhost where no host is given.
  const { host = 'localhost' } = settings;
  const required = requireTls ?? settings.requireTLS ??
    (!isSecure(settings) && !isLoopback(host || 'localhost'));
  const contrary = IN_CLEAR.find(name => settings[name]);
  if (required && contrary !== undefined) {
    throw invalidOption(`${place}requireTls`, `false when ${contrary} is set`,
      requireTls ?? settings.requireTLS ?? undefined);
  }
  return Boolean(required);
}

/** How many connections a transport opens at most, if it has a pool of them. */
function poolSizeOf (transport) {
  const { pool, maxConnections } = transport.transporter?.options ?? transport.options ?? {};
  return pool || maxConnections ? maxConnections : undefined;
}

function makeTransport (smtp, { maxConnections, requireTls, place }) {
  const { createTransport } = requirePeer('nodemailer', 'SmtpClient');
  const settings = typeof smtp === 'string' ? { url: smtp } : smtp;
  // nodemailer itself reads an address or the name of a service, so that there are no two opinions
  // about the host. What it has read replaces both.
  const { url, service, ...read } = createTransport({ ...settings, pool: true, maxConnections })
    .transporter.options;
  return createTransport({ ...read, requireTLS: isTlsRequired(requireTls, read, place) });
}

// A new error each time, because nodemailer changes it.
const overdue = () => new Error('The check is over');

/** Destroys a socket when a signal aborts, whatever the socket is waiting for. */
function endWith (signal, socket) {
  // nodemailer does not listen while it looks up a name.
  socket.on('error', () => {});
  const end = () => socket.destroy(overdue());
  if (signal.aborted) end();
  else signal.addEventListener('abort', end, { once: true });
}

/** A socket for nodemailer that a signal destroys, even during a long DNS look-up. */
class SignalSocket extends net.Socket {
  #signal;
  #localAddress;

  constructor (signal, localAddress) {
    super();
    this.#signal = signal;
    this.#localAddress = localAddress;
    endWith(signal, this);
  }

  connect (port, host, done) {
    if (this.#signal.aborted) throw overdue();
    return super.connect({ port, host, localAddress: this.#localAddress }, done);
  }
}

/** A relay: nodemailer's pool of connections to it, and its places, breaker and pause. */
class Relay extends Route {
  #transport;
  #isOwn;
  #isWatched;
  /** Whether it stops sending when a signal aborts. */
  canAbort;
  /** The sender of messages that name none, if it has one of its own: { name, address }. */
  sender;

  /**
   * `options` are those of the client, overridden by the relay's; in errors, `place` comes before
   * their names.
   */
  constructor (options, { name, place = '', sender }) {
    const { transport, smtp, requireTls, maxConnections, timeout } = options;
    const isOwn = transport === undefined;
    if (isOwn && smtp === undefined) {
      throw invalidOption(`${place}smtp`, 'an object or an address (or pass a transport)', smtp);
    }
    if (!isOwn && requireTls !== undefined) {
      throw invalidOption(`${place}requireTls`, 'no value (the transport has its own settings)',
        requireTls);
    }
    const concurrency = maxConnections ?? (transport && poolSizeOf(transport)) ?? CONNECTIONS;
    super(options, {
      name, concurrency, pausedError, pauseMs: Infinity,
      preset: { ...presets.smtp, name: name === undefined ? 'smtp' : `smtp.${name}`, timeout },
    });
    this.sender = sender;
    this.#isOwn = isOwn;
    this.#transport = transport ??
      makeTransport(smtp, { maxConnections: concurrency, requireTls, place });
    this.canAbort = this.#transport.transporter?.supportsAbortSignal === true;
    this.#isWatched = watch(this.#transport);
  }

  /** Hands a letter over to those who have not got it. Resolves with nodemailer's answer. */
  async send (letter, signal) {
    const data = letter.begin(this, this.canAbort ? signal : undefined);
    letters.set(data.envelope, letter);
    if (!this.#isWatched) letter.handOver();
    return await this.#transport.sendMail(data) ?? {};
  }

  /** Connects, logs in and disconnects, without the breaker: checks whether mails can be sent. */
  async verify (options) {
    const { timeout } = VERIFY.read(options);
    const ended = new AbortController();
    try {
      await withDeadline(undefined, timeout, async signal => {
        signal.addEventListener('abort', () => ended.abort(), { once: true });
        await (this.#isOwn ? this.#proof(ended.signal, timeout) : this.#transport).verify();
      });
      return true;
    } catch (error) {
      throw new SmtpError(error, { relay: this.name });
    } finally {
      // QUIT has been sent. We do not wait for the answer, which may never come.
      setImmediate(() => ended.abort());
    }
  }

  /** Ends the connections, unless the transport is the user's. */
  close () {
    if (this.#isOwn) this.#transport.close();
  }

  /** A transport for one connection, which ends with the signal. */
  #proof (signal, timeout) {
    const { options } = this.#transport.transporter;
    const { connectionTimeout = Infinity, localAddress, tls } = options;
    const { createTransport } = requirePeer('nodemailer', 'SmtpClient');
    const proof = createTransport({
      ...options,
      connectionTimeout: Math.min(connectionTimeout, timeout),
      ...isSecure(options)
        ? { tls: { ...tls, signal } } : { socket: new SignalSocket(signal, localAddress) },
    });
    // The user's own, or that of a proxy.
    const getSocket = proof.getSocket || proof.transporter.getSocket;
    proof.getSocket = (settings, done) =>
      getSocket.call(proof.transporter, settings, (error, given) => {
        if (given?.connection) endWith(signal, given.connection);
        done(error, given);
      });
    return proof;
  }
}

/** The relays of a client, in order. */
function relaysOf (settings) {
  const { relays, ...general } = settings;
  if (relays === undefined) {
    const option = general.transport === undefined ? 'smtp' : 'transport';
    return [readable(option, 'the settings of nodemailer, or a transport of its own',
      general[option], () => new Relay(general, {}))];
  }
  for (const option of ['smtp', 'transport']) {
    if (general[option] !== undefined) {
      throw invalidOption(option, 'no value (each of the relays has its own)', general[option]);
    }
  }
  if (isBreaker(general.breaker)) {
    throw invalidOption('breaker', 'options, or false (each of the relays has a breaker)',
      general.breaker);
  }
  const names = relays.map(({ name }, i) => name ?? String(i + 1));
  return relays.map((own, i) => {
    const place = `relays[${i}]`;
    if (names.indexOf(names[i]) !== i) {
      throw invalidOption(`${place}.name`, 'a name that no other relay uses', names[i], RangeError);
    }
    return readable(place, 'the settings of nodemailer, or a transport of its own', own,
      () => relayOf(general, own, { name: names[i], place: `${place}.` }));
  });
}

/** A relay of the list: its options override those that the client has for all. */
function relayOf (general, own, naming) {
  const given = Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined));
  const requireTls = own.transport === undefined ? general.requireTls : undefined;
  const isLaid = [own.breaker, general.breaker].every(value => value && !isBreaker(value));
  const breaker = isLaid ? { ...bag('breaker', general.breaker), ...bag('breaker', own.breaker) }
    : own.breaker ?? general.breaker;
  const { from, ...rest } = given;
  const sender = from === undefined ? undefined : readSender(from, `${naming.place}from`);
  return new Relay({ ...general, requireTls, ...rest, breaker }, { ...naming, sender });
}

// ---- The client --------------------------------------------------------------------------------

class SmtpClient extends DeliveryClient {
  #relays;
  #defaults;
  #resendAmbiguous;
  #resumeAfter;

  constructor (options) {
    const settings = OPTIONS.read(options);
    const { from, defaults, resumeAfter } = settings;
    const relays = relaysOf(settings);
    super(settings, { Failure: SmtpError, name: 'smtp', routes: relays });
    this.#relays = relays;
    const { sender } = relays[0];
    this.#defaults = {
      ...sender !== undefined && { from: sender }, ...bag('defaults', defaults),
      ...from !== undefined && { from },
    };
    this.#resendAmbiguous = settings.resendAmbiguous;
    this.#resumeAfter = resumeAfter;
  }

  /** The relays, in the order in which they are tried, even if there is only one. */
  get relays () { return [...this.#relays]; }

  /** Sends a message, and sends it again to recipients that could not get it at once. */
  async send (message, options) {
    const { signal } = SEND.read(options);
    const letter = readMessage(message, this.#defaults);
    letter.resendAmbiguous = this.#resendAmbiguous;
    try {
      await this._deliver(letter, signal);
    } catch (error) {
      if (!letter.hasArrived || !isA(error, SmtpError)) throw error;
    }
    return letter.toResult();
  }

  /** Checks a message as send() does, and sends nothing. */
  check (message) { readMessage(message, this.#defaults); }

  /** Connects to every relay, logs in and disconnects. Rejects if that fails with one of them. */
  async verify (options) {
    const answers = await Promise.allSettled(this.#relays.map(relay => relay.verify(options)));
    const failed = answers.find(({ status }) => status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    return true;
  }

  /** Closes its own connections and breakers. Mails in flight are finished. */
  close () {
    this._shutdownBreaker();
    for (const relay of this.#relays) relay.close();
  }

  toJSON () {
    const relays = this.#relays;
    return { ...super.toJSON(), ...relays.length > 1 && { relays: relays.map(r => r.toJSON()) } };
  }

  // ---- For DeliveryClient -----------------------------------------------------------------------

  /** One attempt for those who have not got the message; fails while somebody is left. */
  async _transmit (letter, signal, relay) {
    try {
      letter.settle(await relay.send(letter, signal));
    } catch (error) {
      throw letter.fail(error, relay);
    }
    if (letter.isPending) throw letter.deferral(relay);
  }

  _errorOf (error, letter, relay) {
    if (isA(error, SmtpError)) return error;
    // We gave up, but could not stop the transport.
    if (!relay.canAbort && read(error, 'code') === 'ETIMEDOUT') letter.handOver();
    return letter.fail(error, relay);
  }

  _pauseMsOf ({ verdict: { reason, pauseMs } }) {
    return reason === 'quota' ? this.#resumeAfter ?? pauseMs : pauseMs;
  }

  /** A fault on our side stops all mails until it is fixed, with one alert, not one per mail. */
  _onFailure (failure, letter, relay) {
    const { alert, pauses } = failure.verdict;
    if (!alert || pauses) return failure;
    const { breaker } = relay;
    const isNew = !breaker.enabled || !breaker.opened;
    if (breaker.enabled) breaker.open();
    if (isNew) relay.tell('alert', { kind: failure.reason, error: failure });
    return failure;
  }
}

module.exports = { SmtpClient, SmtpError, classifySmtpError };
