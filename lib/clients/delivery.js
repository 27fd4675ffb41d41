'use strict';

// Delivers messages through one upstream: what the SMTP and WhatsApp clients have in common.
//
// Each attempt waits for a place, passes the breaker, and hands the message over. A failure is
// classified by the client's error class: it may count against the upstream (`verdict.trips`), it
// may stop all messages for a while (`verdict.pauses`), and it may be worth another attempt
// (`bail`). The clients say how a message is transmitted and what its errors mean.

const clock = require('../base/clock');
const Emitter = require('../base/emitter');
const { invalidOption, wasNotAsked } = require('../base/errors');
const { isA, read, reasonOf, textOf } = require('../base/foreign');
const { is } = require('../base/options');
const { Bulkhead } = require('../primitives/limits');
const { retryPresets } = require('../primitives/presets');
const { retry } = require('../primitives/retry');
const { callThrough, isBreaker, readBreaker, readRetry } = require('./protection');

const HOUR_MS = 3_600_000;
const QUEUE_MAX = 1000;

/** The options that all clients have. */
const DELIVERY_OPTIONS = {
  retry: is.any('options of retry(), laid over retryPresets.email; false for one attempt'),
  breaker: is.any("a breaker, or its options, laid over the client's preset; false for none"),
  maxQueue: is.integer('messages that may wait for a place', { min: 0, default: QUEUE_MAX }),
  queueTimeout: is.ms('that a message may wait for a place', { min: 1, default: Infinity }),
  resendAmbiguous: is.boolean('whether to send again what may have been delivered', {
    default: true,
  }),
};

/** A time in which nothing is sent. It begins with one alert. */
class Pause {
  #emit;
  #now = null;
  #lastAlert = { what: undefined, at: -Infinity };

  constructor (emit) {
    this.#emit = emit;
  }

  /** { reason, since (ms as Date.now() counts), error }; null if there is no pause. */
  get current () {
    const now = this.#now;
    if (now !== null && clock.now() >= now.ends) this.#end();
    return this.#now && { reason: now.reason, since: now.since, error: now.error };
  }

  /**
   * Begins a pause of so many ms, unless a current one has the same reason or ends later. Emits
   * `paused`, and with an error `alert`.
   */
  begin (reason, error, ms) {
    const ends = clock.now() + ms;
    const { current } = this;
    if (current !== null && (current.reason === reason || ends <= this.#now.ends)) return;
    this.#now = { reason, error, since: clock.wall(), ends };
    this.#emit('paused', this.current);
    if (error !== undefined && this.#isNewAlert(reason, error)) {
      this.#emit('alert', { kind: reason, error });
    }
  }

  /** Ends the pause by hand. Returns whether there was one. */
  end () {
    if (this.current === null) return false;
    // Somebody has fixed the cause: if it happens again, alert again.
    this.#lastAlert.what = undefined;
    this.#end();
    return true;
  }

  #end () {
    const { reason } = this.#now;
    this.#now = null;
    this.#emit('resumed', { reason });
  }

  /** The same alert is repeated once an hour at most. */
  #isNewAlert (reason, error) {
    const what = `${reason} ${textOf(read(error, 'providerCode') ?? '')}`;
    const now = clock.now();
    if (this.#lastAlert.what === what && now - this.#lastAlert.at < HOUR_MS) return false;
    this.#lastAlert = { what, at: now };
    return true;
  }
}

/**
 * A client that delivers messages. A subclass has these methods; a `delivery` is its object for one
 * message on its way, with `ambiguous`, `isRepeatable` (whether sending twice does no harm) and
 * `about` (its data for the event `retry`).
 *
 * - `_transmit(delivery, signal)` hands the message over once. Resolves with the answer, or rejects
 *   with the client's error.
 * - `_errorOf(error, delivery)` is the error to reject with when an attempt failed for any reason.
 * - `_onFailure(failure, delivery)` reacts to a failure, and returns the failure to continue with.
 */
class DeliveryClient extends Emitter {
  #Failure;
  #pausedError;
  #bulkhead;
  #retry;
  #resendAmbiguous;
  #pauseMs;
  #ownsBreaker;
  #pause = new Pause((event, value) => this.emit(event, value));

  /**
   * `options` were read by a table with DELIVERY_OPTIONS. `Failure` is the client's class of
   * errors, with `verdict` and `bail`; `pausedError(pause)` makes the error while it is paused;
   * `preset` is the breaker's, with a `name`; a manual pause ends by itself after `pauseMs`.
   */
  constructor (options, { Failure, pausedError, concurrency, preset, pauseMs }) {
    super();
    const { maxQueue, queueTimeout, breaker } = options;
    this.#Failure = Failure;
    this.#pausedError = pausedError;
    this.#retry = readRetry(options.retry, retryPresets.email);
    this.#bulkhead = new Bulkhead({ maxConcurrent: concurrency, maxQueue, queueTimeout });
    this.#resendAmbiguous = options.resendAmbiguous;
    this.#pauseMs = pauseMs;
    this.#ownsBreaker = !isBreaker(breaker);
    this.breaker = readBreaker(breaker, preset);
  }

  /** Messages on their way. */
  get active () { return this.#bulkhead.active; }

  /** Messages that wait for a place. */
  get queued () { return this.#bulkhead.queued; }

  /** The pause: { reason, since (ms as Date.now() counts), error }; null if there is none. */
  get paused () { return this.#pause.current; }

  /**
   * Sends nothing until resume(). Waiting messages are rejected, and can be sent again later. With
   * an error, also emits `alert`.
   */
  pause (reason = 'manual', error = undefined) {
    if (typeof reason !== 'string') throw invalidOption('reason', 'a text', reason);
    this.#pause.begin(reason, error, this.#pauseMs);
  }

  /** Sends again. Returns whether it was paused. */
  resume () { return this.#pause.end(); }

  /** Figures only: the configuration holds credentials. */
  toJSON () {
    return { name: this.breaker.name, active: this.active, queued: this.queued };
  }

  // ---- For the subclasses -----------------------------------------------------------------------

  /** Delivers a message, with retries where they make sense; resolves as _transmit(). */
  async _deliver (delivery, signal) {
    let last;
    const attempt = () => this.#attempt(delivery, signal).catch(error => {
      last = error;
      throw error;
    });
    try {
      return await retry(attempt, this.#retryFor(delivery, signal));
    } catch (error) {
      // The caller gave up, or the caller's callback failed.
      if (error !== last && !isA(error, this.#Failure)) throw error;
      throw last;
    }
  }

  /** Reacts to a failure. Returns the failure to continue with. */
  _react (failure, delivery) {
    const final = this._onFailure(failure, delivery);
    const { pauses, reason } = final.verdict;
    if (pauses) this.#pause.begin(reason, final, this._pauseMsOf(final));
    return final;
  }

  _onFailure (failure) { return failure; }

  /** How long a pause for this failure lasts, ms. */
  _pauseMsOf () { return this.#pauseMs; }

  /** A promise to wait for before an attempt, if there is one. */
  _ready () { return undefined; }

  _shutdownBreaker () {
    if (this.#ownsBreaker) this.breaker.shutdown();
  }

  // ---- Inside -----------------------------------------------------------------------------------

  #retryFor (delivery, signal) {
    const { shouldRetry, onRetry } = this.#retry;
    return {
      ...this.#retry,
      signal,
      shouldRetry: (error, attempt) => this.#isWorthAnother(error, delivery) &&
        (shouldRetry ? shouldRetry(error, attempt) : true),
      onRetry: (error, attempt, delay) => {
        this.emit('retry', { ...delivery.about, attempt, error, delay });
        return onRetry?.(error, attempt);
      },
    };
  }

  #isWorthAnother (error, delivery) {
    if (!isA(error, this.#Failure) || read(error, 'bail') || wasNotAsked(error)) return false;
    return this.#resendAmbiguous || !delivery.ambiguous || delivery.isRepeatable === true;
  }

  #throwIfPaused () {
    const { paused } = this;
    if (paused !== null) throw this.#pausedError(paused);
  }

  async #attempt (delivery, signal) {
    try {
      this.#throwIfPaused();
      const ready = this._ready(delivery, signal);
      if (ready !== undefined) await ready;
      // The queue comes before the breaker, which may open while a message waits.
      return await this.#bulkhead.execute(() => this.#pass(delivery, signal), { signal });
    } catch (error) {
      if (signal?.aborted) throw reasonOf(signal);
      throw this._errorOf(error, delivery);
    }
  }

  /** Through the breaker. A failure that is not the upstream's fault passes it as a value. */
  async #pass (delivery, outer) {
    this.#throwIfPaused();
    const { breaker } = this;
    const { answer, failure } = await callThrough(breaker, async context => {
      try {
        // A breaker that is off has no signal of its own.
        const signal = breaker.enabled ? context.signal : outer;
        return { answer: await this._transmit(delivery, signal) };
      } catch (error) {
        if (!isA(error, this.#Failure)) throw error;
        const failure = this._react(error, delivery);
        if (failure.verdict.trips) throw failure;
        return { failure };
      }
    }, outer);
    if (failure !== undefined) throw failure;
    return answer;
  }
}

module.exports = { DELIVERY_OPTIONS, DeliveryClient };
