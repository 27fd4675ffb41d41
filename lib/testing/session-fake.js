'use strict';

// WhatsApp sessions without WhatsApp: sockets that connect, show a QR code, disconnect or never
// answer, as the test decides.

const { EventEmitter } = require('node:events');

const clock = require('../base/clock');
const { invalidOption } = require('../base/errors');
const { textOf } = require('../base/foreign');
const { oneOf } = require('../base/options');

const FAULTS = ['connect-throws', 'connect-rejects', 'connect-hangs', 'never-opens', 'closes', 'qr',
  'send-rejects', 'send-hangs'];

/** An error like those of Baileys, with a status in it. */
function boom (message, statusCode) {
  return Object.assign(new Error(message), { output: { statusCode } });
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
    this.#connected(id).update({ connection: 'open' });
  }

  /** Cuts an instance's connection; 401 ends its session for good. */
  disconnect (id, statusCode = 428, message = 'Connection Closed') {
    const error = boom(textOf(message), statusCode);
    this.#connected(id).update({ connection: 'close', lastDisconnect: { error } });
  }

  #connected (id) {
    const socket = this.#sockets.get(id);
    if (socket === undefined) throw invalidOption('id', 'an instance that was connected', id);
    return socket;
  }

  #begin (socket, fault) {
    if (fault?.kind === 'never-opens' || socket.ended) return;
    if (fault?.kind === 'closes') {
      const error = fault.error ?? boom('Connection Failure', 500);
      socket.update({ connection: 'close', lastDisconnect: { error } });
    } else if (fault?.kind === 'qr') socket.update({ qr: `2@${socket.id}` });
    else socket.update({ connection: 'open' });
  }
}

/** Makes sessions for tests: `new SessionPool({ connect: fake.connect })`. */
const startSessionFake = () => new SessionFake();

module.exports = { startSessionFake };
