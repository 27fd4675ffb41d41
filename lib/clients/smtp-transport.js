'use strict';

// The transport of an SmtpClient: nodemailer's pool of connections. It neither signs in nor sends
// a mail in clear text, and it tells a letter when its last line is on its way.

const net = require('node:net');

const { invalidOption } = require('../base/errors');
const { requirePeer } = require('../base/peer');

const CONNECTIONS = 5;
const SECURE_PORT = 465;
// These would send in clear text what `requireTls` protects.
const IN_CLEAR = ['ignoreTLS', 'opportunisticTLS'];

// A letter is found by the envelope that nodemailer got with it.
const letters = new WeakMap();
const watched = new WeakSet();

/** Has letters told when their last line is on its way. False if the transport cannot tell. */
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

/**
 * Whether nodemailer must not go on without STARTTLS.
 * @param {boolean|undefined} requireTls
 * @param {object} settings as nodemailer has read them
 */
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

class SmtpTransport {
  #transport;
  #isOwn;
  #isWatched;

  /**
   * @param {object} options of the client: transport, smtp, requireTls, maxConnections
   * @throws {TypeError} ERR_INVALID_OPTION
   * @throws {SekeringError} ERR_MISSING_PEER
   */
  constructor ({ transport, smtp, requireTls, maxConnections }) {
    this.#isOwn = transport === undefined;
    if (this.#isOwn && smtp === undefined) {
      throw invalidOption('smtp', 'an object or an address (or give a transport)', smtp);
    }
    if (!this.#isOwn && requireTls !== undefined) {
      throw invalidOption('requireTls', 'no value beside a transport, which has its own settings',
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

module.exports = { SmtpTransport };
