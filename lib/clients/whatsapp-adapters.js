'use strict';

// Makes the sockets of a SessionPool from those of Baileys and the clients of whatsapp-web.js.

const { EventEmitter } = require('node:events');

const { withDeadline } = require('../base/deadline');
const { SekeringError, invalidOption } = require('../base/errors');
const { promiseOf, read, textOf } = require('../base/foreign');
const { func } = require('../base/options');

const DESTROY_MS = 10_000;

const isText = value => typeof value === 'string';
const methodOf = (value, name) => typeof read(value, name) === 'function';

const unable = why => new SekeringError('ERR_SESSION', `Unable to create session: ${why}`);

function checkMethods (value, library, names) {
  if (names.every(name => methodOf(value, name))) return value;
  throw unable(`no ${library} with ${names.join(', ')}`);
}

// ---- Baileys -----------------------------------------------------------------------------------

const PERSON = /@c\.us$/;

/** A chat in the domain of Baileys. */
const toBaileys = chat => chat.replace(PERSON, '@s.whatsapp.net');

function fromBaileys (makeSocket) {
  func('makeSocket', makeSocket);
  return async (id, context) => {
    const made = await promiseOf(makeSocket(id, context));
    const socket = checkMethods(made, 'socket', ['sendMessage']);
    checkMethods(socket.ev, 'socket with `ev`', ['on']);
    // It would never tell.
    if (read(read(socket, 'ws'), 'isClosed') === true) throw unable('its connection is closed');
    return {
      ev: socket.ev,
      sendMessage: (chat, content) =>
        socket.sendMessage(toBaileys(chat), isText(content) ? { text: content } : content),
      readMessages: keys => socket.readMessages(
        keys.map(key => ({ ...key, remoteJid: toBaileys(key.remoteJid) }))),
      sendPresenceUpdate: (presence, chat) => socket.sendPresenceUpdate(presence, toBaileys(chat)),
      end: () => socket.end?.(undefined),
    };
  };
}

// ---- whatsapp-web.js ---------------------------------------------------------------------------

// Reasons for `disconnected`, as the status with which Baileys closes. Other reasons are transient.
const REASONS = {
  LOGOUT: 401, UNPAIRED: 401, UNPAIRED_IDLE: 401, TOS_BLOCK: 403, SMB_TOS_BLOCK: 403,
  DEPRECATED_VERSION: 411, CONFLICT: 440,
};
const AUTH_FAILURE = 500;
const PASSING = 428;
const NOT_FOUND = 404;

// MessageAck of whatsapp-web.js.
const ACKS = { '-1': 'failed', 1: 'sent', 2: 'delivered', 3: 'read', 4: 'read' };

const failure = (message, statusCode) =>
  Object.assign(new Error(message), { output: { statusCode } });

const toWeb = chat => chat.replace(/@s\.whatsapp\.net$/, '@c.us');

/** The arguments of the client's sendMessage(): a content, and options. */
function contentOf (content) {
  const { text, media, ...options } = isText(content) ? { text: content } : content;
  if (media !== undefined) return [media, options];
  return isText(text) ? [text, options] : [content];
}

/** A client as a socket with the events `open`, `close`, `qr` and `status`. */
class WebSocketOfClient extends EventEmitter {
  #client;
  #listeners;
  #hasEnded = false;
  /** Resolves when the client is destroyed. */
  ended;

  constructor (client) {
    super();
    this.#client = client;
    this.#listeners = {
      qr: code => this.emit('qr', code),
      ready: () => this.#opened(),
      auth_failure: () => this.#close(failure('The stored session was rejected', AUTH_FAILURE)),
      disconnected: reason => this.#close(failure(`Connection Closed (${textOf(reason)})`,
        Object.hasOwn(REASONS, reason) ? REASONS[reason] : PASSING)),
      message_ack: (message, ack) => this.#acknowledge(message, ack),
    };
    for (const [event, listener] of Object.entries(this.#listeners)) client.on(event, listener);
    // It may have been ready before.
    this.isOpen = read(client, 'info') !== undefined && read(client, 'info') !== null;
    if (!this.isOpen) setImmediate(() => this.#initialize());
  }

  async #initialize () {
    try {
      if (!this.#hasEnded) await this.#client.initialize();
    } catch (error) {
      this.#close(error);
    }
    // The browser came too late.
    if (this.#hasEnded) this.ended = this.#destroy();
  }

  #opened () {
    // If the browser dies, the client emits no event.
    const browser = read(this.#client, 'pupBrowser');
    if (methodOf(browser, 'once')) {
      browser.once('disconnected',
        () => this.#close(failure('Connection Closed (browser)', PASSING)));
    }
    this.emit('open');
  }

  #close (error) {
    if (!this.#hasEnded) this.emit('close', error);
  }

  #acknowledge (message, ack) {
    const key = read(message, 'id');
    const [messageId, status] = [read(key, '_serialized'), ACKS[textOf(ack)]];
    if (!isText(messageId) || status === undefined || read(key, 'fromMe') !== true) return;
    const to = read(message, 'to');
    this.emit('status', {
      messageId, status, recipient: isText(to) ? to : undefined, reference: undefined,
      at: undefined, phoneNumberId: undefined, errors: [],
    });
  }

  async sendMessage (chat, content) {
    const message = await this.#client.sendMessage(toWeb(chat), ...contentOf(content));
    if (message === undefined || message === null) throw failure('No such chat', NOT_FOUND);
    return message;
  }

  async readMessages (keys) {
    for (const { remoteJid } of keys) await this.#client.sendSeen(toWeb(remoteJid));
  }

  async sendPresenceUpdate (presence, chat) {
    await (await this.#client.getChatById(toWeb(chat))).sendStateTyping();
  }

  end () {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    for (const [event, listener] of Object.entries(this.#listeners)) {
      (this.#client.off ?? this.#client.removeListener)?.call(this.#client, event, listener);
    }
    this.ended = this.#destroy();
  }

  /** Destroys the client; kills its browser if that hangs. */
  async #destroy () {
    try {
      await withDeadline(undefined, DESTROY_MS, async () => this.#client.destroy(), { ref: false });
    } catch {
      try {
        this.#client.pupBrowser?.process?.()?.kill('SIGKILL');
      } catch {
        // There is no browser, or it runs on another machine.
      }
    }
  }
}

function fromWhatsappWeb (client) {
  const isMaker = typeof client === 'function';
  if (!isMaker && !methodOf(client, 'initialize')) {
    throw invalidOption('client', 'a client of whatsapp-web.js or a function that makes one',
      client);
  }
  // The last socket of each instance: two browsers cannot share the files of a session.
  const sockets = new Map();
  let isUsed = false;
  return async (id, context) => {
    await read(sockets.get(id), 'ended');
    if (!isMaker && isUsed) {
      throw unable('a client connects only once; pass a function that makes clients');
    }
    isUsed = true;
    const made = checkMethods(await promiseOf(isMaker ? client(id, context) : client), 'client',
      ['on', 'initialize', 'sendMessage', 'destroy']);
    const socket = new WebSocketOfClient(made);
    sockets.set(id, socket);
    return socket;
  };
}

module.exports = { fromBaileys, fromWhatsappWeb };
