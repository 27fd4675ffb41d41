'use strict';

// An SMTP server for tests and demonstrations: the package smtp-server on loopback. It keeps the
// messages that it accepts, and fails at any stage of the conversation.

const clock = require('../base/clock');
const { invalidOption } = require('../base/errors');
const { is, oneOf, optionsOf } = require('../base/options');
const { requirePeer } = require('../base/peer');
const { ADDRESS, FREQUENCY_WITH_ONCE, Faults, cutOff, listen } = require('./fake-server');

const MESSAGE_BYTES_MAX = 1 << 20;
const KINDS = ['reply', 'hang', 'reset', 'drop'];
// A temporary failure of each stage.
const CODE_OF_STAGE = { connect: 421, auth: 454, mail: 451, rcpt: 450, data: 451 };

const OPTIONS = optionsOf({
  ...ADDRESS,
  auth: is.table('what clients must log in with', optionsOf({
    user: is.text('name', { required: true }), pass: is.text('password', { required: true }),
  })),
  tls: is.oneOf('with a self-signed certificate', [false, 'starttls', 'implicit'],
    { default: false }),
  fault: is.any('what goes wrong from the start'),
  latencyMs: is.ms('before a message is accepted', { default: 0 }),
  messagesMax: is.integer('how many messages it keeps', { min: 1, default: 10_000 }),
});

const FAULT = optionsOf({
  ...FREQUENCY_WITH_ONCE,
  stage: is.oneOf('where it strikes', Object.keys(CODE_OF_STAGE), { required: true }),
  kind: is.oneOf('drop (at data only): accepts the message, then cuts before it says so', KINDS,
    { default: 'reply' }),
  code: is.integer('of a reply', { min: 400, max: 599 }),
  message: is.text('of a reply'),
  recipients: is.where('strikes these only, at rcpt', 'an array of addresses', Array.isArray),
});

function readFault (given) {
  const fault = FAULT.read(given, 'fault');
  const { stage, kind, recipients, code = CODE_OF_STAGE[stage] } = fault;
  if (stage !== 'data') oneOf('fault.kind', kind, KINDS.filter(k => k !== 'drop'));
  if (recipients !== undefined && stage !== 'rcpt') {
    throw invalidOption('fault.recipients', 'an array of addresses, at rcpt', recipients);
  }
  const { message = code < 500 ? 'Try again later' : 'Refused' } = fault;
  return { ...fault, code, message, recipients: recipients && new Set(recipients) };
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
  /** The newest `messagesMax` messages that were accepted, oldest first. */
  messages = [];

  counts = { connections: 0, accepted: 0, faulted: 0 };

  #server;
  #sockets = new Map();
  #faults;
  #options;

  constructor (options) {
    const { auth, fault, tls } = options;
    this.#options = options;
    this.set(fault);
    const { SMTPServer } = requirePeer('smtp-server', 'startSmtpFake');
    this.#server = new SMTPServer({
      // The certificate is self-signed, and clients should notice. Without a logger, the server
      // does not warn about it.
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
    // Errors of single connections, such as a client that went away, do not matter here.
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

  /** Sets what goes wrong from now on; null: nothing. */
  set (fault) {
    this.#faults = new Faults(fault, readFault);
  }

  async _listen (address) {
    await listen(this.#server.server, address);
    return this;
  }

  /** Stops listening and cuts all connections. */
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
      if (socket.remotePort === session.remotePort) cutOff(socket);
    }
  }

  /** The fault that strikes here, or null. `key` identifies the envelope. */
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
      const { auth } = this.#options;
      if (given.username === auth?.user && given.password === auth?.pass) {
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
      const { latencyMs } = this.#options;
      clock.setTimer(() => this.#accept(message, fault, session, done), latencyMs, false);
    });
  }

  #accept (message, fault, session, done) {
    this.counts.accepted += 1;
    this.messages.push(message);
    if (this.messages.length > this.#options.messagesMax) this.messages.shift();
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

/** Starts an SMTP server. Needs the package smtp-server. */
async function startSmtpFake (options) {
  const checked = OPTIONS.read(options);
  return new SmtpFake(checked)._listen(checked);
}

module.exports = { startSmtpFake };
