'use strict';

// Many sessions, one for each instance: connected when they are needed, with a breaker for each, so
// that a bad instance leaves the others alone and never ends the process.

const clock = require('../base/clock');
const Emitter = require('../base/emitter');
const { SekeringError, isOptionError } = require('../base/errors');
const { isA, read, reasonOf } = require('../base/foreign');
const { bag, is, optionsOf } = require('../base/options');
const { BreakerGroup } = require('../primitives/group');
const { presets, retryPresets } = require('../primitives/presets');
const { stateOf } = require('../primitives/stats');
const { readRetry } = require('./protection');
const {
  COUNTRY_CODE, checkId, readSessionKey, readSessionMessage
} = require('./whatsapp-input');
const {
  Session, SessionError, isCallersFault, needsPerson, operatorMessage, troubleOf
} = require('./whatsapp-session');

const RECONNECT_MS = 1000;
// If a connection is lost again and again, the delay before the next one grows up to this.
const RECONNECT_MS_MAX = 10_000;
// Restarts in a row that do not count as failures. WhatsApp asks for one after pairing.
const RESTARTS_MAX = 3;
// A closed breaker that nobody used for a day is dropped.
const IDLE_TTL_MS = 24 * 60 * 60 * 1000;
// What the health loses when all instances are open, down, or failing.
const WEIGHTS = { open: 50, down: 30, failing: 20 };

const WHEN_OPEN = ['throw', 'null', 'object'];
const whenOpen = spec => is.oneOf('what send() answers while the breaker is open', WHEN_OPEN, spec);
const signal = is.signal('ends the call');

const OPTIONS = optionsOf({
  connect: is.func('makes the socket of an instance', { required: true }),
  breaker: is.object('options of each breaker, laid over presets.whatsappSession'),
  timeout: is.ms('to connect, and to send', { min: 1, default: 20_000 }),
  retry: is.any('options of retry() for connecting, laid over retryPresets.email; false for none'),
  reconnect: is.boolean('whether to connect again before it is needed', { default: true }),
  whenOpen: whenOpen({ default: 'throw' }),
  countryCode: COUNTRY_CODE,
  max: is.integer('instances', { min: 1, max: 1e6, default: 10_000 }),
});
const SEND = optionsOf({ signal, whenOpen: whenOpen() });
const CONNECT = optionsOf({ signal });
const MARK_READ = optionsOf({
  signal, typing: is.boolean('whether to show that an answer is being written', { default: false }),
});

const call = fn => fn();

class SessionPool extends Emitter {
  #sessions = new Map();
  // What all sessions have in common, see Session.
  #owner;
  #max;
  #whenOpen;
  #countryCode;
  #reconnect;
  #reconnectMs;
  #reconnectFactor;
  #activations = 0;
  #retries = 0;
  #failureCount;
  #timers = new Set();
  #closed = false;

  constructor (options) {
    super();
    const { connect, breaker, timeout, max, ...settings } = OPTIONS.read(options);
    const retry = readRetry(settings.retry, retryPresets.email);
    this.#max = max;
    this.#whenOpen = settings.whenOpen;
    this.#countryCode = settings.countryCode;
    this.#reconnect = settings.reconnect;
    this.#reconnectMs = retry.minTimeout ?? RECONNECT_MS;
    this.#reconnectFactor = retry.retries === 0 ? 1 : retry.factor ?? 1;
    const breakers = {
      ...presets.whatsappSession, timeout, name: 'whatsapp', ...bag('breaker', breaker)
    };
    this.#failureCount = breakers.failureCount ?? presets.whatsappSession.failureCount;
    this.breakers = new BreakerGroup(call, { idleTtl: IDLE_TTL_MS, ...breakers, max });
    this.#follow();
    this.#owner = {
      connect,
      retry: { ...retry, onRetry: (...args) => this.#onRetry(retry, ...args) },
      guard: ({ id }, fn, signal) => this.#guard(id, fn, signal),
      onUp: (session, event) => this.#onUp(session, event),
      onStatus: ({ id }, status) => this.emit('status', id, status),
      onDown: (session, details) => this.#onDown(session, details),
    };
  }

  /** How many instances there are. */
  get size () { return this.#sessions.size; }

  /** The ids of the instances. */
  ids () { return [...this.#sessions.keys()]; }

  /**
   * Sends a message by an instance, which is connected first if it is not. If the connection turns
   * out to be closed before anything was written, the message is sent over a new one, once. After
   * any other failure of sendMessage it is not sent again, as it may be on its way: the error says
   * so by `ambiguous`.
   */
  async send (id, to, content, options) {
    const { signal, whenOpen = this.#whenOpen } = SEND.read(options);
    const chat = readSessionMessage(id, to, content, this.#countryCode);
    try {
      const session = this.#sessionOf(id);
      let outcome = await session.send(chat, content, signal);
      if ('unsent' in outcome && this.#sessions.get(id) === session) {
        outcome = await session.send(chat, content, signal);
      }
      if ('unsent' in outcome) throw outcome.unsent;
      return outcome.value;
    } catch (error) {
      if (signal?.aborted) throw reasonOf(signal);
      const failure = this.#failureOf(id, error);
      if (!failure.circuit_breaker || whenOpen === 'throw') throw failure;
      return whenOpen === 'null' ? null : { circuit_breaker: true, error: failure.message };
    }
  }

  /**
   * Marks a message that somebody has sent to an instance as read. `key` is `message.key` of
   * Baileys, or `message.id` of whatsapp-web.js. `typing`: also shows that an answer is being
   * written.
   */
  async markRead (id, key, options) {
    const { signal, typing } = MARK_READ.read(options);
    const { chat, ...message } = readSessionKey(id, key);
    await this.#call(id, 'readMessages', [[{ ...message, remoteJid: chat }]], signal);
    if (typing) await this.#call(id, 'sendPresenceUpdate', ['composing', chat], signal);
  }

  /** Shows in a chat that a message is being written. */
  async sendTyping (id, to, options) {
    const { signal } = CONNECT.read(options);
    const chat = readSessionMessage(id, to, 'x', this.#countryCode);
    await this.#call(id, 'sendPresenceUpdate', ['composing', chat], signal);
  }

  /** Connects an instance. Answers a `qr` when one has to be scanned. */
  async connect (id, options) {
    const { signal } = CONNECT.read(options);
    checkId(id);
    return this.#connect(id, signal);
  }

  /**
   * For a user who asks for a new QR code: the breaker is reset, the old connection ends, and a new
   * one begins.
   */
  async requestQr (id, options) {
    const { signal } = CONNECT.read(options);
    checkId(id);
    const session = this.#sessionOf(id);
    session.restart();
    this.reset(id);
    return this.#connect(id, signal);
  }

  /** Closes an instance's breaker by hand. Returns whether the instance is known. */
  reset (id) {
    this.#sessions.get(id)?.allow();
    const isKnown = this.breakers.reset(id) || this.#sessions.has(id);
    if (isKnown) this.emit('reset', id);
    return isKnown;
  }

  /** Ends an instance and forgets it. Returns whether there was one. */
  remove (id) {
    const session = this.#sessions.get(id);
    if (session === undefined) return false;
    session.wanted = false;
    this.#sessions.delete(id);
    session.abandon();
    return true;
  }

  /** One instance, for the operator; undefined if it is not known. */
  status (id) {
    const session = this.#sessions.get(id);
    if (session === undefined) return undefined;
    const breaker = this.breakers.has(id) ? this.breakers.get(id) : undefined;
    const { state, isOpen, lastError } = session;
    return {
      id,
      state,
      connected: isOpen,
      circuit_breaker: breaker === undefined ? 'closed' : stateOf(breaker),
      recent_failures: breaker?.stats.failures ?? 0,
      last_error: lastError === undefined ? null : operatorMessage(lastError, id),
    };
  }

  /**
   * Figures of all instances, and their health: 100 less 50 times the share of open breakers, less
   * 30 times that of instances that are wanted and not connected, less 20 times that of the
   * failures that would open every breaker.
   */
  health () {
    const counts = { active: 0, connecting: 0, down: 0, open: 0, failures: 0 };
    for (const session of this.#sessions.values()) {
      if (session.isOpen) counts.active += 1;
      else if (session.isConnecting) counts.connecting += 1;
      else if (session.wanted) counts.down += 1;
    }
    for (const [, breaker] of this.breakers.entries()) {
      if (breaker.opened) counts.open += 1;
      counts.failures += breaker.stats.failures;
    }
    const share = count => Math.min(count / Math.max(this.size, 1), 1);
    const score = 100 - WEIGHTS.open * share(counts.open) - WEIGHTS.down * share(counts.down) -
      WEIGHTS.failing * share(counts.failures / this.#failureCount);
    return {
      total_instances: this.size,
      active_connections: counts.active,
      connecting: counts.connecting,
      circuit_breaker_activations: this.#activations,
      total_retry_attempts: this.#retries,
      total_recent_failures: counts.failures,
      health_score: Math.round(score),
    };
  }

  /** Ends all connections. */
  close () {
    this.#closed = true;
    for (const timer of this.#timers) clock.clearTimer(timer);
    for (const id of this.ids()) this.remove(id);
    this.breakers.shutdown();
  }

  // ---- Instances --------------------------------------------------------------------------------

  #sessionOf (id) {
    if (this.#closed) throw new SekeringError('ESHUTDOWN', 'The pool is closed');
    const known = this.#sessions.get(id);
    if (known !== undefined) return known;
    if (this.#sessions.size >= this.#max) this.#makeRoom();
    const session = new Session(id, this.#owner);
    this.#sessions.set(id, session);
    return session;
  }

  /** An instance that is not connected makes room for a new one. */
  #makeRoom () {
    for (const [id, session] of this.#sessions) {
      if (!session.isOpen && !session.isAwaited) return this.remove(id);
    }
    throw new SekeringError('ERR_SESSION_LIMIT', `All ${this.#max} instances are connected`);
  }

  async #call (id, name, args, signal) {
    try {
      await this.#sessionOf(id).call(name, args, signal);
    } catch (error) {
      if (signal?.aborted) throw reasonOf(signal);
      throw isOptionError(error) ? error : this.#failureOf(id, error);
    }
  }

  async #connect (id, signal) {
    try {
      const session = this.#sessionOf(id);
      await session.connect(signal);
      return session.isOpen ? { connected: true } : { connected: false, qr: session.qr };
    } catch (error) {
      if (signal?.aborted) throw reasonOf(signal);
      throw this.#failureOf(id, error);
    }
  }

  /** The error as the caller gets it; the operator hears of it, too. */
  #failureOf (id, error) {
    const failure = isA(error, SessionError) ? error : new SessionError(id, error);
    if (!failure.circuit_breaker) {
      this.emit('trouble', { id, message: failure.message, error: failure });
    }
    return failure;
  }

  // ---- What sessions tell -----------------------------------------------------------------------

  #onRetry ({ onRetry }, id, error, attempt, delay) {
    this.#retries += 1;
    this.emit('retry', id, { attempt, error, delay });
    return onRetry?.(error, attempt);
  }

  #onUp ({ id, qr }, event) {
    if (event === 'open') this.emit('connected', id);
    else this.emit('qr', id, qr);
  }

  #onDown (session, { error, wasOpen, isCounted }) {
    const { id, losses } = session;
    const trouble = troubleOf(error);
    const message = operatorMessage(error, id);
    this.emit('disconnected', id, { error, message });
    if (needsPerson(error)) {
      this.emit('alert', { kind: trouble, id, message });
      return;
    }
    if (!wasOpen && trouble !== 'restart') return;
    // No call has failed, but the connection has: that counts as well.
    if (!isCounted) this.#guard(id, () => Promise.reject(error)).catch(() => {});
    this.#reconnectSoon(id, losses);
  }

  #reconnectSoon (id, losses) {
    if (!this.#reconnect || this.#closed) return;
    const longest = Math.max(RECONNECT_MS_MAX, this.#reconnectMs);
    const delay = Math.min(this.#reconnectMs * this.#reconnectFactor ** (losses - 1), longest);
    const timer = clock.setTimer(() => {
      this.#timers.delete(timer);
      this.#reconnectNow(id);
    }, delay, false);
    this.#timers.add(timer);
  }

  /** Connects an instance that is wanted, although no call waits for it. */
  #reconnectNow (id) {
    const session = this.#sessions.get(id);
    if (!this.#reconnect || this.#closed || !session?.wanted || session.isOpen) return;
    this.#connect(id).catch(error => {
      // An open breaker says itself when it is time.
      if (read(error, 'circuit_breaker') === true || !session.wanted) return;
      session.losses += 1;
      this.#reconnectSoon(id, session.losses);
    });
  }

  // ---- Breakers ---------------------------------------------------------------------------------

  /** Through the instance's breaker. An error that is the caller's fault passes it as a value. */
  async #guard (id, fn, signal) {
    const outcome = await this.breakers.get(id).run(async context => {
      try {
        return { value: await fn(context) };
      } catch (error) {
        const isNoFailure = isCallersFault(error) || needsPerson(error) ||
          this.#isOrdinaryRestart(id, error) || read(error, 'code') === 'ESHUTDOWN';
        if (isNoFailure) return { error };
        throw error;
      }
    }, { signal });
    if ('error' in outcome) throw outcome.error;
    return outcome.value;
  }

  #isOrdinaryRestart (id, error) {
    return troubleOf(error) === 'restart' && this.#sessions.get(id)?.restarts <= RESTARTS_MAX;
  }

  #follow () {
    this.breakers.on('open', id => {
      this.#activations += 1;
      this.emit('open', id);
      const message = operatorMessage(new SekeringError('EOPENBREAKER'), id);
      this.emit('alert', { kind: 'circuit-breaker', id, message });
    });
    for (const event of ['halfOpen', 'close']) {
      this.breakers.on(event, id => {
        this.emit(event, id);
        this.#reconnectNow(id);
      });
    }
  }
}

module.exports = { SessionPool };
