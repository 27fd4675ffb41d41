'use strict';

// One session: the socket that the user's connect() makes, its connection, and messages over it.

const { SekeringError } = require('../base/errors');
const { isA, reasonOf } = require('../base/foreign');
const { retry } = require('../primitives/retry');
const { SessionError, isCallersFault, isUnsent, troubleOf } = require('./whatsapp-session-errors');

/**
 * States: idle, connecting, qr (waits to be scanned), open, closed, logged-out.
 *
 * A socket tells of its connection in either of two ways: as Baileys does, by `connection.update`
 * ({ connection: 'open' | 'close', qr, lastDisconnect: { error } }) on itself or on its `ev`; or by
 * events `open`, `close` (reason), `error` and `qr`. One without events is open from the beginning.
 */
class Session {
  state = 'idle';
  qr = undefined;
  lastError = undefined;
  /** Whether it is to be connected again when it is lost. */
  wanted = false;
  #owner;
  #socket = undefined;
  #listeners = [];
  // The call of retry() that connects it, for all who wait for it.
  #connecting = undefined;
  // Of the attempt to connect that is under way: { resolve, reject }.
  #waiting = undefined;
  // Whether the next attempt is to begin with a new QR code.
  #fresh = false;
  // Grows when the session is abandoned: attempts of an earlier era no longer matter.
  #era = 0;

  /**
   * @param {string} id
   * @param {object} owner
   * @param {Function} owner.connect the user's
   * @param {object} owner.retry options of retry(), for connecting
   * @param {(session: Session, fn: Function, signal?: AbortSignal) => Promise<unknown>} owner.guard
   *   calls fn({ signal }) through the session's breaker
   * @param {(session: Session, event: string) => void} owner.onUp `event`: 'open' or 'qr'
   * @param {(session: Session, details: { error: Error, wasOpen: boolean, isCounted: boolean }) =>
   *   void} owner.onDown `isCounted`: whether the breaker knows of the error
   */
  constructor (id, owner) {
    this.id = id;
    this.#owner = owner;
  }

  get isOpen () { return this.state === 'open'; }

  /** Whether it shows a code, or is about to be open. */
  get isConnecting () { return this.state === 'connecting' || this.state === 'qr'; }

  /** Whether somebody waits for its connection. */
  get isAwaited () { return this.#connecting !== undefined; }

  // ---- Connecting -------------------------------------------------------------------------------

  /** Waits until it is open or shows a QR code; connects it if nobody does yet. */
  async connect (signal) {
    if (this.isOpen || this.state === 'qr') return;
    this.#connecting ??= this.#establish();
    await orAborted(this.#connecting, signal);
  }

  /** Ends the connection, so that the next one begins with a new QR code. */
  restart () {
    this.abandon();
    this.#connecting = undefined;
    this.#fresh = true;
  }

  /** Ends the connection, and rejects whoever waits for it. */
  abandon () {
    this.#drop('idle');
    this.#waiting?.reject(givenUp());
    this.#waiting = undefined;
    this.#era += 1;
  }

  #establish () {
    this.wanted = true;
    const era = this.#era;
    const { guard, retry: options } = this.#owner;
    const connecting = retry(async () => {
      if (this.#era !== era) throw givenUp();
      return guard(this, ({ signal }) => this.#open(signal));
    }, {
      ...options,
      shouldRetry: (error, attempt) => this.#era === era &&
        !['open', 'logged-out'].includes(troubleOf(error)) &&
        (options.shouldRetry ? options.shouldRetry(error, attempt) : true),
      onRetry: (error, attempt, delay) => options.onRetry(this.id, error, attempt, delay),
    });
    const done = () => {
      if (this.#connecting === connecting) this.#connecting = undefined;
    };
    connecting.then(done, done);
    return connecting;
  }

  /** One attempt: until the session is open, or shows a QR code. */
  async #open (signal) {
    const fresh = this.#fresh;
    this.#fresh = false;
    this.#drop('connecting');
    let waiting;
    const settled = new Promise((resolve, reject) => { waiting = { resolve, reject }; });
    settled.catch(() => {});
    this.#waiting = waiting;
    const giveUp = () => this.#waiting?.reject(signal.reason);
    signal.addEventListener('abort', giveUp, { once: true });
    let made;
    try {
      made = this.#owner.connect(this.id, { signal, fresh });
      const socket = await Promise.race([made, settled]);
      if (typeof socket?.sendMessage !== 'function') {
        throw new Error('Unable to create session: connect() gave no socket');
      }
      // Another attempt has begun meanwhile.
      if (this.#waiting !== waiting) throw givenUp();
      this.#adopt(socket);
      await settled;
    } catch (error) {
      this.lastError = error;
      // The socket may still come.
      if (this.#socket === undefined) Promise.resolve(made).then(endSocket, () => {});
      if (this.#waiting === waiting) {
        this.#drop(troubleOf(error) === 'logged-out' ? 'logged-out' : 'closed');
      }
      throw error;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  // ---- Sending ----------------------------------------------------------------------------------

  /**
   * Sends a message, once the session is open.
   * @returns {Promise<{ value: unknown }|{ unsent: Error }>} `unsent`: the connection turned out to
   *   be closed before anything was written
   */
  async send (chat, content, signal) {
    const socket = await this.#ready(signal);
    let isHanded = false;
    const sendMessage = () => {
      isHanded = true;
      return socket.sendMessage(chat, content);
    };
    try {
      return { value: await this.#owner.guard(this, sendMessage, signal) };
    } catch (error) {
      if (!isHanded || signal?.aborted) throw error;
      if (!isUnsent(error)) throw new SessionError(this.id, error, !isCallersFault(error));
      if (this.#socket === socket) this.#lose(error, true);
      return { unsent: error };
    }
  }

  async #ready (signal) {
    if (!this.isOpen) await this.connect(signal);
    if (this.isOpen) return this.#socket;
    throw new SekeringError('ERR_SESSION_QR');
  }

  // ---- The socket -------------------------------------------------------------------------------

  #adopt (socket) {
    this.#socket = socket;
    const source = typeof socket.ev?.on === 'function' ? socket.ev : socket;
    if (typeof source.on !== 'function') {
      this.#opened();
      return;
    }
    const leave = source.off ?? source.removeListener;
    const listen = (event, listener) => {
      source.on(event, listener);
      this.#listeners.push(() => leave?.call(source, event, listener));
    };
    const closed = reason => this.#closed(reason);
    listen('connection.update', update => this.#update(update ?? {}));
    listen('open', () => this.#opened());
    listen('qr', qr => this.#shown(qr));
    listen('close', closed);
    // Without a listener it would end the process.
    listen('error', closed);
    if (socket.isOpen === true || socket.connected === true) this.#opened();
  }

  #update ({ connection, qr, lastDisconnect }) {
    if (qr) this.#shown(qr);
    if (connection === 'open') this.#opened();
    if (connection === 'close') this.#closed(lastDisconnect?.error);
  }

  #opened () {
    if (this.#socket === undefined || this.isOpen) return;
    this.state = 'open';
    this.qr = undefined;
    this.#waiting?.resolve();
    this.#owner.onUp(this, 'open');
  }

  #shown (qr) {
    if (this.#socket === undefined) return;
    this.state = 'qr';
    this.qr = qr;
    this.#waiting?.resolve();
    this.#owner.onUp(this, 'qr');
  }

  #closed (reason) {
    if (this.#socket === undefined) return;
    this.lastError = errorOf(reason);
    this.#lose(this.lastError, false);
  }

  #lose (error, isCounted) {
    const waiting = this.#waiting;
    const wasOpen = this.isOpen;
    const isOver = troubleOf(error) === 'logged-out';
    // A code that nobody scans is not shown again and again.
    if (isOver || this.state === 'qr') this.wanted = false;
    this.#drop(isOver ? 'logged-out' : 'closed');
    this.#owner.onDown(this, { error, wasOpen, isCounted });
    waiting?.reject(error);
  }

  /** Lets go of the socket and ends it. */
  #drop (state) {
    const socket = this.#socket;
    for (const leave of this.#listeners.splice(0)) quietly(leave);
    this.#socket = undefined;
    this.qr = undefined;
    this.state = state;
    if (socket !== undefined) endSocket(socket);
  }
}

/** Calls a function of the user's, and ignores what goes wrong. */
function quietly (fn) {
  try {
    fn()?.catch?.(() => {});
  } catch {
    // The socket was to be given up anyway.
  }
}

/** Ends a socket, and ignores its last errors. */
function endSocket (socket) {
  quietly(() => { socket?.on?.('error', () => {}); });
  quietly(() => (socket?.end ?? socket?.close)?.call(socket));
}

const givenUp = () => new SekeringError('ESHUTDOWN', 'The connection was given up');

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

module.exports = { Session };
