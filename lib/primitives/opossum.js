'use strict';

// `sekering/opossum`, the drop-in: the breaker of `sekering`, but it reads options as opossum does,
// and a program's own `emit`, `open` and `close` are called where opossum calls them.

const { read } = require('../base/foreign');
const native = require('../base/native');
const { guarded } = require('../base/warn');
const Breaker = require('./breaker');
const {
  THEIRS_LIVE, coreConfig, readAssigned, readLeniently, theirValues
} = require('./breaker-options');

const { HALF_OPEN, STATE } = Breaker.states;
const { call: CALL, close: CLOSE } = Breaker.prototype;

// A circuit that needs as many successes stays half open until close() is called.
const NEVER = 2 ** 32 - 1;

class CircuitBreaker extends Breaker {
  static _readOptions (given) { return readLeniently(given); }

  // A breaker that `sekering` made is one of these, too.
  static [Symbol.hasInstance] (value) {
    return Function.prototype[Symbol.hasInstance].call(
      this === CircuitBreaker ? Breaker : this, value);
  }

  // ---- A program's own methods, patched or of a class that extends this one --------------------

  fire (first) {
    if (this.emit !== EMIT || this.call !== CALL) return this._fireOwn(arguments);
    return arguments.length === 1 ? this._fire(first) : this._fireMany(...arguments);
  }

  _fireOwn (args) { return this.call(this.action, ...args); }

  _slowPath (action, context, args, cancel) {
    if (this.emit !== EMIT) this._emitAll();
    return super._slowPath(action, context, args, cancel);
  }

  emit (event, ...args) {
    // Now a program's own `emit` has been told of the success that closes the circuit.
    if (event === 'success') this._closeAfterProbe();
    return super.emit(event, ...args);
  }

  _closeAfterProbe () {
    if (this._rareOrNull?.probeSucceeded) {
      this._rareOrNull.probeSucceeded = false;
      guarded('close() failed', () => this.close());
    }
    this._announce();
  }

  _announceSuccess () {
    if (this.emit === EMIT) super._announceSuccess();
  }

  _succeeded (value, elapsed, period, probe) {
    const closesItself = this.close === CLOSE;
    if (closesItself || (period & STATE) !== HALF_OPEN || this._period() !== period) {
      super._succeeded(value, elapsed, period, probe);
      if (this.emit !== EMIT) this._announce();
      return;
    }
    // The core only counts the probe. The program's own close() closes the circuit, or does not.
    this._emitAll();
    this._rare.probeSucceeded = true;
    native.configure(this._id, coreConfig({ __proto__: this._options, successThreshold: NEVER }));
    super._succeeded(value, elapsed, period, probe);
    if (!this._isBuried) native.configure(this._id, coreConfig(this._options));
    this._rare.probeSucceeded = false;
  }

  /** Also what a program's own open() calls for a trip, which may ask for a longer time. */
  open () {
    const trip = this._rareOrNull?.trip;
    if (trip) super._trip(trip.period, trip.resetMin);
    else super.open();
  }

  _trip (period, resetMin) {
    if (this.open === OPEN) {
      super._trip(period, resetMin);
    } else if (this._period() === period) {
      this._rare.trip = { period, resetMin };
      guarded('open() failed', () => this.open());
      this._rare.trip = null;
    }
  }

  // ---- Options ---------------------------------------------------------------------------------

  _optionValues () {
    const { given } = this._options;
    return this._withOwn({ ...given, ...theirValues(given) });
  }

  /** With those that the breaker has made. */
  _withOwn (values) {
    const { cache, cacheTransport, abortController } = this._options;
    if (cache) values.cacheTransport = cacheTransport;
    if (abortController) values.abortController = abortController;
    return values;
  }

  _assignOption (values, name, value) {
    if (!THEIRS_LIVE.includes(name)) return value;
    const present = this._rare.assigned ?? this._optionValues();
    const changed = { ...present, [name]: value };
    this._changeOptions(readAssigned(name, changed));
    this._rare.assigned = this._withOwn(changed);
    values[name] = value;
    return this._withOwn(values)[name];
  }

  /** Another object of options, as opossum's field takes it. */
  _setOptions (values) {
    for (const name of THEIRS_LIVE) this.options[name] = read(values, name);
  }

  /** What an errorFilter has as `this`. */
  get _shownOptions () { return this._rareOrNull?.options ?? this._options.given; }

  _shownTimeout () { return this._options.given.timeout ?? this._options.timeout; }

  _openUntilReset () {
    super._openUntilReset();
    this._rare.isLengthened = Math.round(this._rare.openFor) > this._options.resetTimeout;
  }

  /** As opossum, the option of now, but the time that an upstream's Retry-After has made longer. */
  _wasOpenFor () {
    const { isLengthened, assigned } = this._rare;
    if (isLengthened) return super._wasOpenFor();
    const { given, resetTimeout } = this._options;
    return assigned === undefined ? given.resetTimeout ?? resetTimeout : assigned.resetTimeout;
  }
}

const { emit: EMIT, open: OPEN } = CircuitBreaker.prototype;

// opossum has no such method.
Object.defineProperty(CircuitBreaker.prototype, 'wrap', { value: undefined, writable: true });

// Tools that copy a module (TypeScript's import * among them) copy what is its own.
for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(Breaker))) {
  if (!Object.hasOwn(CircuitBreaker, name)) Object.defineProperty(CircuitBreaker, name, property);
}

module.exports = Object.assign(CircuitBreaker, { CircuitBreaker });

// Never runs. Node.js reads from here which names an ES module can import.
/* eslint-disable no-undef */
0 && (module.exports = {
  CircuitBreaker,
  MemoryCache,
  Semaphore,
  Status,
  breakers,
  isOurError,
  newStatus,
});
