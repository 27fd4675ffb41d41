'use strict';

// One session: a socket that somebody else makes, and what is known of its connection.

const { isA } = require('../base/foreign');
const { reasonOf } = require('../base/signal');

/** Calls what is the user's, and lives with what it does. */
function quietly (fn) {
  try {
    fn()?.catch?.(() => {});
  } catch {
    // It was to be given up anyway.
  }
}

/**
 * States: idle, connecting, qr (waits to be scanned), open, closed, logged-out.
 *
 * A socket tells of its connection in either of two ways: as Baileys does, by `connection.update`
 * ({ connection: 'open' | 'close', qr, lastDisconnect: { error } }) on itself or on its `ev`; or by
 * events `open`, `close` (reason), `error` and `qr`. One without events is open from the beginning.
 */
class Session {
  state = 'idle';
  socket = undefined;
  qr = undefined;
  /** What waits for the connection, shared by all who do. */
  connecting = undefined;
  lastError = undefined;
  /** Whether it is to be connected again when it is lost. */
  wanted = false;
  /** What waits for an attempt to connect: { resolve, reject }. */
  waiting = undefined;
  /** How often it was given up: an attempt to connect of an earlier era is of no account. */
  era = 0;
  #listeners = [];
  #hear;

  /**
   * @param {string} id
   * @param {(session: Session, news: { type: string, error?: Error }) => void} hear
   */
  constructor (id, hear) {
    this.id = id;
    this.#hear = hear;
  }

  get isOpen () { return this.state === 'open'; }

  get isConnecting () { return this.state === 'connecting' || this.state === 'qr'; }

  /** Takes a socket over. */
  adopt (socket) {
    this.socket = socket;
    const source = typeof socket.ev?.on === 'function' ? socket.ev : socket;
    if (typeof source.on !== 'function') {
      this.#news({ type: 'open' });
      return;
    }
    const leave = source.off ?? source.removeListener;
    const listen = (event, listener) => {
      source.on(event, listener);
      this.#listeners.push(() => leave?.call(source, event, listener));
    };
    listen('connection.update', update => this.#update(update ?? {}));
    listen('open', () => this.#news({ type: 'open' }));
    listen('qr', qr => this.#news({ type: 'qr', qr }));
    listen('close', reason => this.#news({ type: 'close', error: errorOf(reason) }));
    // Without a listener it would end the process.
    listen('error', error => this.#news({ type: 'close', error: errorOf(error) }));
    const isReady = socket.isOpen === true || socket.connected === true;
    if (isReady) this.#news({ type: 'open' });
  }

  /** Lets go of its socket and ends it. */
  drop (state = 'idle') {
    const { socket } = this;
    for (const leave of this.#listeners.splice(0)) quietly(leave);
    this.socket = undefined;
    this.qr = undefined;
    this.state = state;
    if (socket !== undefined) endSocket(socket);
  }

  /** Lets go of all it has, for good: nobody waits for its connection any more. */
  abandon () {
    this.drop();
    this.waiting?.reject(givenUp());
    this.waiting = undefined;
    this.era += 1;
  }

  #update ({ connection, qr, lastDisconnect }) {
    if (qr) this.#news({ type: 'qr', qr });
    if (connection === 'open') this.#news({ type: 'open' });
    if (connection !== 'close') return;
    this.#news({ type: 'close', error: errorOf(lastDisconnect?.error) });
  }

  #news (news) {
    if (this.socket === undefined) return;
    if (news.type === 'open') {
      if (this.state === 'open') return;
      this.state = 'open';
      this.qr = undefined;
    } else if (news.type === 'qr') {
      this.state = 'qr';
      this.qr = news.qr;
    } else {
      this.lastError = news.error;
    }
    this.#hear(this, news);
  }
}

/** Ends a socket; what it still has to complain of is nobody's concern. */
function endSocket (socket) {
  quietly(() => { socket?.on?.('error', () => {}); });
  quietly(() => (socket?.end ?? socket?.close)?.call(socket));
}

const givenUp = () =>
  Object.assign(new Error('The connection was given up'), { code: 'ESHUTDOWN' });

function errorOf (reason) {
  if (isA(reason, Error)) return reason;
  const error = new Error(
    typeof reason === 'string' && reason !== '' ? reason : 'Connection closed');
  try {
    return Object.assign(error, typeof reason === 'object' && reason !== null && reason);
  } catch {
    return error;
  }
}

/** The promise, or the signal's reason if that comes first. */
function orAborted (promise, signal) {
  if (signal === undefined) return promise;
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const leave = () => reject(reasonOf(signal));
    signal.addEventListener('abort', leave, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave));
  });
}

module.exports = { Session, endSocket, givenUp, orAborted };
