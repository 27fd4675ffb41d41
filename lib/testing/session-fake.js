'use strict';

// WhatsApp sessions without WhatsApp: sockets that connect, show a QR code, disconnect or never
// answer, as the test decides.

const { EventEmitter } = require('node:events');

const clock = require('../base/clock');
const { invalidOption } = require('../base/errors');
const { isA, textOf } = require('../base/foreign');
const { oneOf } = require('../base/options');

const FAULTS = ['connect-throws', 'connect-rejects', 'connect-hangs', 'never-opens', 'closes', 'qr',
  'send-rejects', 'send-hangs', 'destroy-hangs'];

/** An error like those of Baileys, with a status in it. */
function boom (message, statusCode) {
  return Object.assign(new Error(message), { output: { statusCode } });
}

/**
 * A client like those of whatsapp-web.js: it emits `ready` instead of `open`, cannot be used after
 * `disconnected`, and may hang when it is destroyed.
 */
class FakeWebClient extends EventEmitter {
  info = undefined;
  ended = false;

  constructor (id, fake) {
    super();
    this.id = id;
    this.fake = fake;
  }

  async initialize () {
    const fault = this.fake.faultOf(this.id);
    if (fault?.kind === 'connect-hangs') return new Promise(() => {});
    if (fault?.kind === 'connect-rejects') throw fault.error ?? new Error('Navigation failed');
    setImmediate(() => this.#begin(fault));
    return undefined;
  }

  #begin (fault) {
    if (fault?.kind === 'never-opens' || this.ended) return;
    if (fault?.kind === 'closes') this.emit('auth_failure', 'Session restore failed');
    else if (fault?.kind === 'qr') this.emit('qr', `2@${this.id}`);
    else this.open();
  }

  open () {
    this.emit('authenticated');
    this.info = { wid: { _serialized: `${this.id}@c.us` } };
    this.emit('ready');
  }

  async sendMessage (chat, content, options) {
    const fault = this.fake.faultOf(this.id);
    if (fault?.kind === 'send-hangs') return new Promise(() => {});
    if (fault?.kind === 'send-rejects') throw fault.error ?? new Error('Evaluation failed');
    const { messages } = this.fake;
    messages.push({ id: this.id, jid: chat, content, options, at: clock.wall() });
    return { id: { _serialized: `true_${chat}_MSG${messages.length}`, fromMe: true }, to: chat };
  }

  async sendSeen (chat) {
    this.fake.receipts.push({ id: this.id, seen: chat });
  }

  async getChatById (chat) {
    return {
      sendStateTyping: async () => { this.fake.receipts.push({ id: this.id, typing: chat }); },
    };
  }

  async destroy () {
    this.ended = true;
    if (this.fake.faultOf(this.id)?.kind === 'destroy-hangs') return new Promise(() => {});
    return undefined;
  }
}

/** A socket like those of Baileys: its events are on `ev`. */
class FakeSocket {
  ev = new EventEmitter();
  ended = false;

  constructor (id, fake) {
    this.id = id;
    this.fake = fake;
  }

  async sendMessage (jid, content) {
    const fault = this.fake.faultOf(this.id);
    if (fault?.kind === 'send-hangs') return new Promise(() => {});
    if (fault?.kind === 'send-rejects') throw fault.error ?? boom('Timed Out', 408);
    if (this.ended) throw boom('Connection Closed', 428);
    const message = { id: this.id, jid, content, at: clock.wall() };
    this.fake.messages.push(message);
    return { key: { remoteJid: jid, id: `MSG${this.fake.messages.length}` } };
  }

  async readMessages (keys) {
    this.fake.receipts.push({ id: this.id, keys });
  }

  async sendPresenceUpdate (presence, jid) {
    this.fake.receipts.push({ id: this.id, presence, jid });
  }

  update (update) {
    this.ev.emit('connection.update', update);
  }

  end () {
    this.ended = true;
  }
}

class SessionFake {
  /** The messages that were sent, oldest first: { id, jid, content, at }. */
  messages = [];

  /** Calls that mark a message as read or show typing, oldest first. */
  receipts = [];

  /** How often each instance was connected. */
  connects = new Map();

  #faults = new Map();
  #sockets = new Map();

  /** The option `connect` of a SessionPool. */
  connect = id => {
    this.connects.set(id, (this.connects.get(id) ?? 0) + 1);
    const fault = this.faultOf(id);
    switch (fault?.kind) {
      case 'connect-throws': throw fault.error ?? new Error('Unable to create session');
      case 'connect-rejects': return Promise.reject(fault.error ?? new Error('WebSocket Error ()'));
      case 'connect-hangs': return new Promise(() => {});
    }
    const socket = new FakeSocket(id, this);
    this.#sockets.set(id, socket);
    setImmediate(() => this.#begin(socket, fault));
    return Promise.resolve(socket);
  };

  /** Makes a client like those of whatsapp-web.js, for fromWhatsappWeb(). */
  makeClient = id => {
    this.connects.set(id, (this.connects.get(id) ?? 0) + 1);
    const client = new FakeWebClient(id, this);
    this.#sockets.set(id, client);
    return client;
  };

  /** Sets what goes wrong with an instance, or with all of them (`*`); null: nothing. */
  set (id, kind, error) {
    if (kind === null) this.#faults.delete(id);
    else this.#faults.set(id, { kind: oneOf('kind', kind, FAULTS), error });
  }

  faultOf (id) {
    return this.#faults.get(id) ?? this.#faults.get('*');
  }

  /** The newest socket of an instance. */
  socketOf (id) {
    return this.#sockets.get(id);
  }

  /** Simulates a scan of the QR code. */
  scan (id) {
    const socket = this.#connected(id);
    if (isA(socket, FakeWebClient)) socket.open();
    else socket.update({ connection: 'open' });
  }

  /**
   * Cuts an instance's connection; 401 ends its session for good. A client of whatsapp-web.js gets
   * the message as its reason.
   */
  disconnect (id, statusCode = 428, message = 'Connection Closed') {
    const socket = this.#connected(id);
    if (isA(socket, FakeWebClient)) {
      socket.emit('disconnected', textOf(message));
      return;
    }
    const error = boom(textOf(message), statusCode);
    socket.update({ connection: 'close', lastDisconnect: { error } });
  }

  #connected (id) {
    const socket = this.#sockets.get(id);
    if (socket === undefined) throw invalidOption('id', 'an instance that was connected', id);
    return socket;
  }

  #begin (socket, fault) {
    if (fault?.kind === 'never-opens' || socket.ended) return;
    if (fault?.kind === 'closes') {
      const error = fault.error ?? boom('Connection Failure', 503);
      socket.update({ connection: 'close', lastDisconnect: { error } });
    } else if (fault?.kind === 'qr') socket.update({ qr: `2@${socket.id}` });
    else socket.update({ connection: 'open' });
  }
}

/** Makes sessions for tests: `new SessionPool({ connect: fake.connect })`. */
const startSessionFake = () => new SessionFake();

module.exports = { startSessionFake };
