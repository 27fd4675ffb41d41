'use strict';

// An SMTP server for tests and demonstrations: the smtp-server package on loopback, a list of what
// it took in, and a switch that fails at any stage of the conversation.

const clock = require('../base/clock');
const { invalidOption } = require('../base/errors');
const { bag, number, oneOf } = require('../base/options');
const { requirePeer } = require('../base/peer');
const { Faults } = require('./faults');

const MESSAGE_BYTES_MAX = 1 << 20;
const MESSAGES_MAX_DEFAULT = 10_000;
const STAGES = ['connect', 'auth', 'mail', 'rcpt', 'data'];
const KINDS = ['reply', 'hang', 'reset', 'drop'];
const TLS = [false, 'starttls', 'implicit'];
const REPLY_DEFAULT = { connect: 421, auth: 454, mail: 451, rcpt: 450, data: 451 };

/**
 * @typedef {object} SmtpFault what goes wrong while it is set
 * @property {'connect'|'auth'|'mail'|'rcpt'|'data'} stage where it strikes
 * @property {'reply'|'hang'|'reset'|'drop'} [kind] reply (default): an error code. hang: never
 *   answers. reset: cuts the connection. drop (at data only): takes the message in, then cuts
 *   before saying so.
 * @property {number} [code] of a reply, 400 to 599 (a passing one of the stage by default)
 * @property {string} [message] of a reply
 * @property {number} [every] strikes each n-th time only (default 1: always)
 * @property {number} [times] strikes so many times, and then no more
 * @property {boolean} [once] strikes an envelope (a recipient, at rcpt) the first time only, as
 *   greylisting does
 * @property {string[]} [recipients] strikes these recipients only, at rcpt; all others are taken
 */

function checkedFault (fault) {
  const given = bag('fault', fault);
  const stage = oneOf('fault.stage', given.stage, STAGES);
  const { kind = 'reply', code = REPLY_DEFAULT[stage] } = given;
  oneOf('fault.kind', kind, stage === 'data' ? KINDS : KINDS.filter(k => k !== 'drop'));
  number('fault.code', code, { min: 400, max: 599, integer: true });
  const message = String(given.message ?? (code < 500 ? 'Try again later' : 'Refused'));
  const { recipients } = given;
  if (recipients !== undefined && (!Array.isArray(recipients) || stage !== 'rcpt')) {
    throw invalidOption('fault.recipients', 'an array of addresses, at rcpt', recipients);
  }
  return { stage, kind, code, message, recipients: recipients && new Set(recipients) };
}

function replyOf ({ code, message }) {
  const error = new Error(message);
  error.responseCode = code;
  return error;
}

/** The value of one header of a raw message, unfolded; undefined when it has none. */
function headerOf (raw, name) {
  const end = raw.indexOf('\r\n\r\n');
  const head = (end < 0 ? raw : raw.slice(0, end)).replace(/\r\n[ \t]+/g, ' ');
  const prefix = `${name.toLowerCase()}:`;
  const line = head.split('\r\n').find(l => l.toLowerCase().startsWith(prefix));
  return line?.slice(prefix.length).trim();
}

class SmtpFake {
  /** What was taken in, oldest first: the newest `messagesMax` of them. */
  messages = [];

  counts = { connections: 0, accepted: 0, faulted: 0 };

  #server;
  #sockets = new Map();
  #faults;
  #auth;
  #messagesMax;
  #latencyMs;

  constructor ({
    auth, fault, latencyMs = 0, messagesMax = MESSAGES_MAX_DEFAULT, tls = false
  }) {
    this.#auth = auth;
    this.#messagesMax = number('messagesMax', messagesMax, { min: 1, integer: true });
    this.#latencyMs = number('latencyMs', latencyMs, { min: 0 });
    this.set(fault);
    oneOf('tls', tls, TLS);
    const { SMTPServer } = requirePeer('smtp-server', 'startSmtpFake');
    this.#server = new SMTPServer({
      // Its certificate is signed by nobody, which clients should notice. Without the logger it
      // does not warn of it.
      secure: tls === 'implicit',
      logger: false,
      disabledCommands: [
        ...auth === undefined ? ['AUTH'] : [], ...tls === 'starttls' ? [] : ['STARTTLS']
      ],
      authOptional: auth === undefined,
      allowInsecureAuth: true,
      disableReverseLookup: true,
      size: MESSAGE_BYTES_MAX,
      closeTimeout: 1,
      onConnect: (session, done) => this.#stage('connect', session, session.id, done),
      onAuth: (given, session, done) => this.#authenticate(given, session, done),
      onMailFrom: (address, session, done) =>
        this.#stage('mail', session, address.address, done),
      onRcptTo: (address, session, done) => this.#stage('rcpt', session, address.address, done),
      onData: (stream, session, done) => this.#data(stream, session, done)
    });
    // Errors of single connections (a client that went away) are no concern of the server's.
    this.#server.on('error', () => {});
    this.#server.server.on('connection', socket => this.#remember(socket));
  }

  get port () {
    return this.#server.server.address().port;
  }

  get host () {
    return this.#server.server.address().address;
  }

  /** The stage of the (first) fault in force, or null. */
  get fault () {
    return this.#faults.first?.stage ?? null;
  }

  /**
   * Sets what goes wrong from now on; null mends everything.
   * @param {SmtpFault | SmtpFault[] | null} fault
   */
  set (fault) {
    this.#faults = new Faults(fault, checkedFault);
  }

  listen (port, host) {
    return new Promise((resolve, reject) => {
      this.#server.server.once('error', reject);
      this.#server.listen(port, host, () => resolve(this));
    });
  }

  /** Stops listening and cuts every connection, the hanging ones too. */
  close () {
    return new Promise(resolve => {
      this.#server.close(() => resolve());
      for (const socket of this.#sockets.values()) socket.destroy();
    });
  }

  #remember (socket) {
    const key = `${socket.remoteAddress} ${socket.remotePort}`;
    this.counts.connections += 1;
    this.#sockets.set(key, socket);
    socket.once('close', () => this.#sockets.delete(key));
  }

  #cut (session) {
    for (const socket of this.#sockets.values()) {
      if (socket.remotePort === session.remotePort) socket.resetAndDestroy();
    }
  }

  /** The fault that strikes here, or null. `key` tells one envelope from the other. */
  #strikes (stage, key) {
    const fault = this.#faults.strike(
      ({ stage: at, recipients }) => at === stage && recipients?.has(key) !== false, key);
    if (fault !== null) this.counts.faulted += 1;
    return fault;
  }

  #stage (stage, session, key, done) {
    const fault = this.#strikes(stage, key);
    if (fault === null) return done();
    if (fault.kind === 'reset') return this.#cut(session);
    if (fault.kind === 'reply') done(replyOf(fault));
  }

  #authenticate (given, session, done) {
    this.#stage('auth', session, session.id, error => {
      if (error) return done(error);
      if (given.username === this.#auth?.user && given.password === this.#auth?.pass) {
        return done(null, { user: given.username });
      }
      done(replyOf({ code: 535, message: 'Authentication failed' }));
    });
  }

  #data (stream, session, done) {
    const chunks = [];
    stream.on('data', chunk => { chunks.push(chunk); });
    stream.on('end', () => {
      if (stream.sizeExceeded) return done(replyOf({ code: 552, message: 'Message too big' }));
      const message = this.#read(Buffer.concat(chunks).toString('utf8'), session.envelope);
      const fault = this.#strikes('data', [message.from, ...message.to].join(' '));
      if (fault?.kind === 'hang') return;
      if (fault?.kind === 'reset') return this.#cut(session);
      if (fault?.kind === 'reply') return done(replyOf(fault));
      clock.setTimer(() => this.#accept(message, fault, session, done), this.#latencyMs, false);
    });
  }

  #accept (message, fault, session, done) {
    this.counts.accepted += 1;
    this.messages.push(message);
    if (this.messages.length > this.#messagesMax) this.messages.shift();
    if (fault?.kind === 'drop') return this.#cut(session);
    done(null, `OK: queued as ${this.counts.accepted}`);
  }

  #read (raw, envelope) {
    return {
      from: envelope.mailFrom.address,
      to: envelope.rcptTo.map(recipient => recipient.address),
      messageId: headerOf(raw, 'message-id'),
      subject: headerOf(raw, 'subject'),
      at: clock.wall(),
      raw
    };
  }
}

/**
 * Starts an SMTP server. Needs the package smtp-server.
 * @param {object} [options]
 * @param {number} [options.port] 0 (default) takes a free one
 * @param {string} [options.host] default '127.0.0.1'
 * @param {{ user: string, pass: string }} [options.auth] required of clients when given
 * @param {SmtpFault | SmtpFault[] | null} [options.fault] what goes wrong from the start
 * @param {false | 'starttls' | 'implicit'} [options.tls] default false; its certificate is signed
 *   by nobody
 * @param {number} [options.latencyMs] how long it thinks about a message (ms, default 0)
 * @param {number} [options.messagesMax] how many messages it keeps, default 10,000
 * @returns {Promise<SmtpFake>}
 * @throws {TypeError | RangeError} ERR_INVALID_OPTION
 * @throws {Error} ERR_MISSING_PEER without smtp-server
 */
async function startSmtpFake (options) {
  const given = bag('options', options);
  const { port = 0, host = '127.0.0.1' } = given;
  number('port', port, { min: 0, max: 65535, integer: true });
  return new SmtpFake(given).listen(port, host);
}

module.exports = { startSmtpFake };
