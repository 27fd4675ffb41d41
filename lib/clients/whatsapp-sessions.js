'use strict';

// Many sessions, one socket each: connected when they are needed, with a breaker for each of them,
// so that a bad instance leaves the others alone and never takes the process with it.

const clock = require('../base/clock');
const Emitter = require('../base/emitter');
const { read } = require('../base/foreign');
const { bag, func, number, oneOf } = require('../base/options');
const { BreakerGroup } = require('../primitives/group');
const { presets } = require('../primitives/presets');
const { retry } = require('../primitives/retry');
const { readRetry } = require('./protection');
const { checkId, checkMessage } = require('./whatsapp-numbers');
const { Session, endSocket, givenUp, orAborted } = require('./whatsapp-session');
const {
  SessionError, isCallersFault, isUnsent, operatorMessage, statusOf, troubleOf
} = require('./whatsapp-session-errors');
const { describe, healthOf } = require('./whatsapp-session-health');

const SESSIONS_MAX = 10_000;
const TIMEOUT_MS = 20_000;
const RECONNECT_MS = 1000;
const WHEN_OPEN = ['throw', 'null', 'object'];
// A closed breaker that nobody used for a day is let go.
const IDLE_TTL_MS = 24 * 60 * 60 * 1000;
// What Baileys closes with when it only wants to begin anew (after pairing).
const RESTART = 515;

const call = fn => fn();

class SessionPool extends Emitter {
  #connect;
  #sessions = new Map();
  #retry;
  #max;
  #whenOpen;
  #reconnect;
  #activations = 0;
  #retries = 0;
  #failureCount;
  #timers = new Set();
  #closed = false;

  /**
   * @param {object} options
   * @param {(id: string, context: { signal: AbortSignal, fresh: boolean }) => object}
   *   options.connect makes the socket of an instance: { sendMessage(jid, content), and events }.
   *   `fresh`: a new QR code was asked for
   * @param {object} [options.breaker] of each instance, over presets.whatsappSession
   * @param {number} [options.timeout=20000] ms to connect, and to send
   * @param {object|false} [options.retry] of connecting, over retryPresets.email
   * @param {boolean} [options.reconnect=true] whether a connection that is lost is made anew before
   *   it is needed again
   * @param {'throw'|'null'|'object'} [options.whenOpen='throw'] what `send` answers while the
   *   breaker is open: it rejects with SessionError; null; { circuit_breaker: true, error }
   * @param {number} [options.max=10000] instances
   * @throws {TypeError|RangeError} ERR_INVALID_OPTION
   */
  constructor (options) {
    super();
    const {
      connect, breaker, timeout = TIMEOUT_MS, retry: retryOptions, reconnect = true,
      whenOpen = 'throw', max = SESSIONS_MAX,
    } = bag('options', options);
    this.#connect = func('connect', connect);
    this.#retry = readRetry(retryOptions);
    this.#max = number('max', max, { min: 1, max: 1e6, integer: true });
    this.#whenOpen = oneOf('whenOpen', whenOpen, WHEN_OPEN);
    this.#reconnect = Boolean(reconnect);
    number('timeout', timeout, { min: 1, unit: 'ms' });
    const settings = {
      ...presets.whatsappSession, timeout, name: 'whatsapp', ...bag('breaker', breaker)
    };
    this.#failureCount = settings.failureCount ?? presets.whatsappSession.failureCount;
    this.breakers = new BreakerGroup(call, { idleTtl: IDLE_TTL_MS, ...settings, max });
    this.#follow();
  }

  /** How many instances there are. */
  get size () { return this.#sessions.size; }

  /** The ids of the instances. */
  ids () { return [...this.#sessions.keys()]; }

  /**
   * Sends a message by an instance, which is connected first if it is not. When the line turns out
   * to be dead before anything was written, the message is sent over a new one, once. Any other
   * failure of sendMessage is not tried again, as the message may be on its way: the error says so
   * by `ambiguous`.
   * @param {string} id of the instance
   * @param {string} to a number of E.164 or a chat (…@s.whatsapp.net, …@g.us)
   * @param {object} content as the socket's sendMessage takes it
   * @param {{ signal?: AbortSignal, whenOpen?: 'throw'|'null'|'object' }} [options]
   * @returns {Promise<unknown>} what sendMessage answers; see `whenOpen`
   * @throws {TypeError} ERR_INVALID_INPUT
   * @throws {SessionError}
   */
  async send (id, to, content, options) {
    const { signal, whenOpen = this.#whenOpen } = bag('options', options);
    oneOf('whenOpen', whenOpen, WHEN_OPEN);
    const chat = checkMessage(id, to, content);
    try {
      const session = this.#sessionOf(id);
      let outcome = await this.#handOver(session, chat, content, signal);
      if ('unsent' in outcome && this.#sessions.get(id) === session) {
        outcome = await this.#handOver(session, chat, content, signal);
      }
      if ('unsent' in outcome) throw outcome.unsent;
      return outcome.value;
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      return this.#answer(id, error, whenOpen);
    }
  }

  /**
   * Connects an instance.
   * @returns {Promise<{ connected: boolean, qr?: string }>} `qr` when one has to be scanned
   * @throws {SessionError}
   */
  async connect (id, options) {
    const { signal } = bag('options', options);
    checkId(id);
    try {
      const session = this.#sessionOf(id);
      await this.#linked(session, signal);
      return session.isOpen ? { connected: true } : { connected: false, qr: session.qr };
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw this.#told(id, error);
    }
  }

  /**
   * What a user who asks for a new QR code gets: the breaker forgets, the old connection ends, and
   * a new one begins.
   * @returns {Promise<{ connected: boolean, qr?: string }>}
   * @throws {SessionError}
   */
  async requestQr (id, options) {
    checkId(id);
    const session = this.#sessionOf(id);
    this.reset(id);
    session.abandon();
    session.connecting = undefined;
    session.fresh = true;
    return this.connect(id, options);
  }

  /** Closes an instance's breaker by hand. Whether the instance is known. */
  reset (id) {
    const isKnown = this.breakers.reset(id) || this.#sessions.has(id);
    if (isKnown) this.emit('reset', id);
    return isKnown;
  }

  /** Ends an instance and forgets it. Whether there was one. */
  remove (id) {
    const session = this.#sessions.get(id);
    if (session === undefined) return false;
    session.wanted = false;
    this.#sessions.delete(id);
    session.abandon();
    return true;
  }

  /** What is known of one instance; undefined if it is not. */
  status (id) {
    const session = this.#sessions.get(id);
    if (session === undefined) return undefined;
    return describe(session, this.breakers.has(id) ? this.breakers.get(id) : undefined);
  }

  /** Figures of all instances, and their health from 0 to 100. */
  health () {
    return healthOf(this.#sessions, this.breakers, this.#failureCount, {
      activations: this.#activations, retries: this.#retries,
    });
  }

  /** Ends all connections. */
  close () {
    this.#closed = true;
    for (const timer of this.#timers) clock.clearTimer(timer);
    for (const id of this.ids()) this.remove(id);
    this.breakers.shutdown();
  }

  // ---- Inside ----------------------------------------------------------------------------------

  #follow () {
    this.breakers.on('open', id => {
      this.#activations += 1;
      const error = Object.assign(new Error('Breaker is open'), { code: 'EOPENBREAKER' });
      this.emit('open', id);
      this.emit('alert', { kind: 'circuit-breaker', id, message: operatorMessage(error, id) });
    });
    this.breakers.on('halfOpen', id => {
      this.emit('halfOpen', id);
      this.#again(id);
    });
    this.breakers.on('close', id => this.emit('close', id));
  }

  #sessionOf (id) {
    if (this.#closed) throw Object.assign(new Error('The pool is closed'), { code: 'ESHUTDOWN' });
    const known = this.#sessions.get(id);
    if (known !== undefined) return known;
    if (this.#sessions.size >= this.#max) this.#makeRoom();
    const session = new Session(id, (from, news) => this.#hear(from, news));
    this.#sessions.set(id, session);
    return session;
  }

  /** An instance that is not connected makes room for a new one. */
  #makeRoom () {
    for (const [id, session] of this.#sessions) {
      if (!session.isOpen && session.connecting === undefined) return this.remove(id);
    }
    throw Object.assign(new Error(`All ${this.#max} instances are connected`),
      { code: 'ERR_SESSION_LIMIT' });
  }

  /** Resolves with { value }, or with { unsent: error } if nothing can have been written. */
  async #handOver (session, chat, content, signal) {
    const socket = await this.#ready(session, signal);
    let isHanded = false;
    const sendMessage = () => {
      isHanded = true;
      return socket.sendMessage(chat, content);
    };
    try {
      return { value: await this.#guarded(session.id, sendMessage, signal) };
    } catch (error) {
      if (!isHanded || signal?.aborted) throw error;
      if (!isUnsent(error)) throw new SessionError(session.id, error, !isCallersFault(error));
      // Its failure has been counted.
      if (session.socket === socket) this.#lost(session, error, false);
      return { unsent: error };
    }
  }

  /** The socket of a session that is open. */
  async #ready (session, signal) {
    if (session.isOpen) return session.socket;
    await this.#linked(session, signal);
    if (session.isOpen) return session.socket;
    throw Object.assign(new Error('Its QR code has to be scanned first'),
      { code: 'ERR_SESSION_QR' });
  }

  /** Connects a session, unless it is; for all who want that at the moment together. */
  #linked (session, signal) {
    if (session.isOpen || session.state === 'qr') return undefined;
    session.connecting ??= this.#establish(session);
    return orAborted(session.connecting, signal);
  }

  #establish (session) {
    session.wanted = true;
    const { era } = session;
    const attempt = async () => {
      if (session.era !== era) throw givenUp();
      return this.#guarded(session.id, context => this.#open(session, context.signal));
    };
    const { shouldRetry, onRetry } = this.#retry;
    const connecting = retry(attempt, {
      ...this.#retry,
      shouldRetry: (error, i) => session.era === era &&
        !['open', 'logged-out'].includes(troubleOf(error)) &&
        (shouldRetry ? shouldRetry(error, i) : true),
      onRetry: (error, i, delay) => {
        this.#retries += 1;
        this.emit('retry', session.id, { attempt: i, error, delay });
        return onRetry?.(error, i);
      },
    });
    const done = () => {
      if (session.connecting === connecting) session.connecting = undefined;
    };
    connecting.then(done, done);
    return connecting;
  }

  /** One attempt to connect: until the session is open, or shows a QR code. */
  async #open (session, signal) {
    const { id, fresh = false } = session;
    session.fresh = false;
    session.drop('connecting');
    const settled = new Promise((resolve, reject) => { session.waiting = { resolve, reject }; });
    settled.catch(() => {});
    const giveUp = () => session.waiting?.reject(signal.reason);
    signal.addEventListener('abort', giveUp, { once: true });
    const { waiting } = session;
    let made;
    try {
      made = this.#connect(id, { signal, fresh });
      const socket = await Promise.race([made, settled]);
      if (typeof socket?.sendMessage !== 'function') {
        throw new Error('Unable to create session: connect() gave no socket');
      }
      // Somebody else has begun anew meanwhile.
      if (session.waiting !== waiting) throw givenUp();
      session.adopt(socket);
      await settled;
    } catch (error) {
      session.lastError = error;
      // It may still come.
      if (session.socket === undefined) Promise.resolve(made).then(endSocket, () => {});
      if (session.waiting === waiting) {
        session.drop(troubleOf(error) === 'logged-out' ? 'logged-out' : 'closed');
      }
      throw error;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  /** What a socket tells of its connection. */
  #hear (session, { type, qr, error }) {
    const { id, waiting } = session;
    if (type === 'open') {
      waiting?.resolve();
      this.emit('connected', id);
    } else if (type === 'qr') {
      waiting?.resolve();
      this.emit('qr', id, qr);
    } else this.#lost(session, error);
  }

  #lost (session, error, isNews = true) {
    const { id, waiting } = session;
    const wasUp = session.isOpen;
    const isOver = troubleOf(error) === 'logged-out';
    // A code that nobody scans is not made for ever.
    if (isOver || session.state === 'qr') session.wanted = false;
    session.drop(isOver ? 'logged-out' : 'closed');
    this.emit('disconnected', id, { error, message: operatorMessage(error, id) });
    if (isOver) {
      this.emit('alert', { kind: 'logged-out', id, message: operatorMessage(error, id) });
    }
    waiting?.reject(error);
    if (!wasUp) return;
    // It was nobody's call that failed, and yet it counts.
    const counts = isNews && !isOver && statusOf(error) !== RESTART;
    if (counts) this.#guarded(id, () => Promise.reject(error)).catch(() => {});
    this.#againSoon(id);
  }

  #againSoon (id) {
    if (!this.#reconnect || this.#closed) return;
    const timer = clock.setTimer(() => {
      this.#timers.delete(timer);
      this.#again(id);
    }, this.#retry.minTimeout ?? RECONNECT_MS, false);
    this.#timers.add(timer);
  }

  /** Connects an instance that is wanted, with nobody waiting for it. */
  #again (id) {
    const session = this.#sessions.get(id);
    if (!this.#reconnect || this.#closed || !session?.wanted || session.isOpen) return;
    this.connect(id).catch(error => {
      // An open breaker says itself when it is time.
      if (error.circuit_breaker !== true) this.#againSoon(id);
    });
  }

  /** Through the instance's breaker. What is the caller's fault is handed back as a value. */
  async #guarded (id, fn, signal) {
    const outcome = await this.breakers.get(id).run(async context => {
      try {
        return { value: await fn(context) };
      } catch (error) {
        if (isCallersFault(error) || read(error, 'code') === 'ESHUTDOWN') return { error };
        throw error;
      }
    }, { signal });
    if ('error' in outcome) throw outcome.error;
    return outcome.value;
  }

  #answer (id, error, whenOpen) {
    const failure = this.#told(id, error);
    if (!failure.circuit_breaker || whenOpen === 'throw') throw failure;
    return whenOpen === 'null' ? null : { circuit_breaker: true, error: failure.message };
  }

  /** The error as the caller gets it; the operator hears of it as well. */
  #told (id, error) {
    const failure = error instanceof SessionError ? error : new SessionError(id, error);
    if (!failure.circuit_breaker) {
      this.emit('trouble', { id, message: failure.message, error: failure });
    }
    return failure;
  }
}

module.exports = { SessionPool };
