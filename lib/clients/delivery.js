'use strict';

// Delivers messages: what the SMTP and WhatsApp clients have in common.
//
// A client has one route to its provider, or several that are tried in order. Each route has its
// own places (a limit of concurrent messages), breaker and pause. An attempt waits for a place,
// passes the breaker, and hands the message over. The client's error class classifies failures: a
// failure may count against the route (`verdict.trips`), it may stop the route for a while
// (`verdict.pauses`), and it may rule out another attempt (`bail`). The clients define how a
// message is transmitted and what its errors mean.

const clock = require('../base/clock');
const Emitter = require('../base/emitter');
const { isRefusal, wasNotAsked } = require('../base/errors');
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

// ---- Routes ------------------------------------------------------------------------------------

/** One way to a provider, with places, a breaker and a pause. */
class Route {
  #bulkhead;
  #pause;
  #pausedError;
  #pauseMs;
  #ownsBreaker;

  /** Its name, if there are several. */
  name;
  /** Emits an event on the client, which sets this function. */
  tell = () => {};

  /**
   * `preset` is the breaker's, with a `name`; `pausedError(pause)` makes the error while it is
   * paused; a manual pause ends by itself after `pauseMs`.
   */
  constructor ({ breaker, maxQueue, queueTimeout },
    { name, preset, concurrency, pausedError, pauseMs }) {
    this.name = name;
    this.#bulkhead = new Bulkhead({ maxConcurrent: concurrency, maxQueue, queueTimeout });
    this.#pausedError = pausedError;
    this.#pauseMs = pauseMs;
    this.#ownsBreaker = !isBreaker(breaker);
    this.breaker = readBreaker(breaker, preset);
    this.#pause = new Pause((event, value) => this.tell(event, value));
  }

  /** Messages in flight. */
  get active () { return this.#bulkhead.active; }

  /** Messages that wait for a place. */
  get queued () { return this.#bulkhead.queued; }

  /** The pause: { reason, since (ms as Date.now() counts), error }; null if there is none. */
  get paused () { return this.#pause.current; }

  pause (reason = 'manual', error = undefined, ms = this.#pauseMs) {
    this.#pause.begin(is.text().check('reason', reason), error, ms);
  }

  resume () { return this.#pause.end(); }

  /** Calls fn() when there is a place, unless the route is paused before or by then. */
  async execute (fn, signal) {
    return this.#bulkhead.execute(() => {
      this.throwIfPaused();
      return fn();
    }, { signal });
  }

  throwIfPaused () {
    const { paused } = this;
    if (paused !== null) throw this.#pausedError(paused);
  }

  /** Ends the breaker, unless it is the user's. */
  shutdown () {
    if (this.#ownsBreaker) this.breaker.shutdown();
  }

  /** Figures only: the configuration holds credentials. */
  toJSON () {
    return { name: this.breaker.name, active: this.active, queued: this.queued };
  }
}

/**
 * The breakers of several routes, seen as one. It is open while all of them are, and half-open
 * while none is closed but at least one is half-open. It emits `open`, `halfOpen` and `close` like
 * a breaker.
 */
class RouteBreakers extends Emitter {
  #breakers;
  #state;
  #unfollow;

  isShutdown = false;

  constructor (name, breakers) {
    super();
    this.name = name;
    this.#breakers = breakers;
    this.#state = this.#look();
    const update = () => this.#update();
    this.#unfollow = breakers.map(breaker =>
      Emitter.follow(breaker, { open: update, halfOpen: update, close: update }));
  }

  /** Without a breaker a route takes every message, so all of them do. */
  get enabled () { return this.#breakers.every(({ enabled }) => enabled); }
  get opened () { return this.#look() === 'open'; }
  get halfOpen () { return this.#look() === 'halfOpen'; }
  get closed () { return this.#look() === 'close'; }
  get pendingClose () {
    return this.halfOpen && this.#breakers.some(({ pendingClose }) => pendingClose);
  }

  open () { for (const breaker of this.#breakers) breaker.open(); }
  close () { for (const breaker of this.#breakers) breaker.close(); }
  reset () { for (const breaker of this.#breakers) breaker.reset(); }

  /** Stops following the breakers, which may be the user's. */
  shutdown () {
    for (const unfollow of this.#unfollow.splice(0)) unfollow();
    this.isShutdown = true;
  }

  #look () {
    if (!this.enabled) return 'close';
    if (this.#breakers.every(({ opened }) => opened)) return 'open';
    return this.#breakers.some(({ closed }) => closed) ? 'close' : 'halfOpen';
  }

  #update () {
    const state = this.#look();
    if (state === this.#state) return;
    this.#state = state;
    this.emit(state);
  }
}

// ---- The client --------------------------------------------------------------------------------

/**
 * A client that delivers messages. A subclass has these methods; a `delivery` is its object for one
 * message on its way, with `ambiguous`, `isRepeatable` (whether sending twice does no harm) and
 * `about` (its data for the event `retry`).
 *
 * - `_transmit(delivery, signal, route)` hands the message over once. Resolves with the answer, or
 *   rejects with the client's error.
 * - `_errorOf(error, delivery, route)` is the error to reject with when an attempt failed for any
 *   reason.
 * - `_onFailure(failure, delivery, route)` reacts to a failure, and returns the failure to continue
 *   with.
 */
class DeliveryClient extends Emitter {
  #Failure;
  #routes;
  #retry;
  #resendAmbiguous;

  /**
   * `options` were read by a table with DELIVERY_OPTIONS. `Failure` is the client's class of
   * errors, with `verdict` and `bail`; `name` is that of all routes together; the rest describes
   * the route as for Route, or is a list of `routes`.
   */
  constructor (options, { Failure, name, routes, ...route }) {
    super();
    this.#Failure = Failure;
    this.#routes = routes ?? [new Route(options, route)];
    this.#retry = readRetry(options.retry, retryPresets.email);
    this.#resendAmbiguous = options.resendAmbiguous;
    for (const each of this.#routes) {
      each.tell = (event, value) => this.emit(event,
        each.name === undefined ? value : { ...value, relay: each.name });
    }
    const breakers = this.#routes.map(({ breaker }) => breaker);
    this.breaker = breakers.length === 1 ? breakers[0] : new RouteBreakers(name, breakers);
  }

  /** Messages in flight. */
  get active () { return this.#routes.reduce((sum, { active }) => sum + active, 0); }

  /** Messages that wait for a place. */
  get queued () { return this.#routes.reduce((sum, { queued }) => sum + queued, 0); }

  /**
   * The pause: { reason, since (ms as Date.now() counts), error }; null unless all routes are
   * paused.
   */
  get paused () {
    const pauses = this.#routes.map(({ paused }) => paused);
    return pauses.includes(null) ? null : pauses[0];
  }

  /**
   * Sends nothing until resume(). Waiting messages are rejected, and can be sent again later. With
   * an error, also emits `alert`.
   */
  pause (reason, error) { for (const route of this.#routes) route.pause(reason, error); }

  /** Sends again. Returns whether it was paused. */
  resume () { return this.#routes.map(route => route.resume()).includes(true); }

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
      // Nobody else shall send it again either: it may have arrived.
      if (delivery.ambiguous && !this.#mayRepeat(delivery)) last.retryable = false;
      throw last;
    }
  }

  /** Reacts to a failure. Returns the failure to continue with. */
  _react (failure, delivery, route = this.#routes[0]) {
    const final = this._onFailure(failure, delivery, route);
    const { pauses, reason } = final.verdict;
    if (pauses) route.pause(reason, final, this._pauseMsOf(final));
    return final;
  }

  _onFailure (failure) { return failure; }

  /** How long a pause for this failure lasts, in ms; undefined: as long as a manual pause. */
  _pauseMsOf () { return undefined; }

  /** A promise to wait for before an attempt, if there is one. */
  _ready () { return undefined; }

  _shutdownBreaker () {
    for (const route of this.#routes) route.shutdown();
    if (this.#routes.length > 1) this.breaker.shutdown();
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
    return isA(error, this.#Failure) && !read(error, 'bail') && !wasNotAsked(error) &&
      this.#mayRepeat(delivery);
  }

  /** Whether the message may be sent once more, although it may have been delivered. */
  #mayRepeat (delivery) {
    return this.#resendAmbiguous || !delivery.ambiguous || delivery.isRepeatable === true;
  }

  /**
   * One attempt: through the first route that can take the message. If none can, rejects with the
   * failure of the first route that may be able to soon, or else with that of the first route.
   */
  async #attempt (delivery, signal) {
    const failures = [];
    for (const route of this.#routes) {
      try {
        return await this.#through(route, delivery, signal);
      } catch (error) {
        const mayGoOn = isA(error, this.#Failure) && read(error, 'retryable') &&
          this.#mayRepeat(delivery);
        if (!mayGoOn) throw error;
        failures.push(error);
      }
    }
    throw failures.find(error => !read(error, 'bail') && !isRefusal(error)) ?? failures[0];
  }

  async #through (route, delivery, signal) {
    try {
      route.throwIfPaused();
      const ready = this._ready(delivery, signal);
      if (ready !== undefined) await ready;
      // The queue comes before the breaker, which may open while a message waits.
      return await route.execute(() => this.#pass(route, delivery, signal), signal);
    } catch (error) {
      if (signal?.aborted) throw reasonOf(signal);
      throw this._errorOf(error, delivery, route);
    }
  }

  /** Through the breaker. A failure that is not the upstream's fault passes it as a value. */
  async #pass (route, delivery, outer) {
    const { breaker } = route;
    const { answer, failure } = await callThrough(breaker, async context => {
      try {
        // A breaker that is off has no signal of its own.
        const signal = breaker.enabled ? context.signal : outer;
        return { answer: await this._transmit(delivery, signal, route) };
      } catch (error) {
        if (!isA(error, this.#Failure)) throw error;
        const failure = this._react(error, delivery, route);
        if (failure.verdict.trips) throw failure;
        return { failure };
      }
    }, outer);
    if (failure !== undefined) throw failure;
    return answer;
  }
}

module.exports = { DELIVERY_OPTIONS, DeliveryClient, Route };
