'use strict';

// The circuit breaker: opossum's interface over the core. `fire` does everything by itself while
// nothing unusual is configured and the circuit is closed. Everything else takes `_slowPath`.

const Emitter = require('../base/emitter');
const clock = require('../base/clock');
const { Deadlines, hadItsTime, inheritDeadline, isDeadline } = require('../base/deadline');
const {
  BreakerError, invalidOption, isBreakerError, optionError, timedOut
} = require('../base/errors');
const {
  isA, isPlainPromise, likeFunction, nameOf, promiseOf, read, reasonOf
} = require('../base/foreign');
const native = require('../base/native');
const { func, is, optionsOf, readable } = require('../base/options');
const {
  CELL, COUNTER, answer, attachBreaker, createBreaker, millis, record, recordSuccess, ticks
} = require('../base/recorder');
const { attachPlace, inScope, isShared } = require('../base/regions');
const { asked, guarded, warn } = require('../base/warn');
const MemoryCache = require('./memory-cache');
const Semaphore = require('./semaphore');
const Status = require('./status');
const {
  CORE_NAMES, checkAction, checkSharing, coreConfig, filterNothing, isAbsent, readOptions,
  resolvedOptions, shownOptions, slowTicks, windowOf, withOption
} = require('./breaker-options');
const { retryAfterMs } = require('./classify');
const { Buckets, importStats, readStats } = require('./stats');

const RUN_OPTIONS = optionsOf({
  signal: is.signal('a call that its caller aborts counts for nothing'),
  countsAbort: is.func('whether it counts as a timeout all the same: (reason); default: at a ' +
    'deadline, if the call had half of the time limit of the breaker'),
});

// A call that neither cache nor coalescing may answer: their keys do not name the function.
const UNCACHED = Object.freeze({});

// The lease of a call that does not probe a half-open circuit.
const NO_PROBE = 16;
const FIRES = COUNTER.fires;
const REJECTS = COUNTER.rejects;

// A failure to count an outcome must not affect the caller's promise.
const NOT_COUNTED = 'The outcome of a call was not counted';

// An upstream's Retry-After does not keep a circuit open for longer than this.
const RETRY_AFTER_MS_MAX = 3600 * 1000;

const HEALTH_INTERVAL_MS = 5000;

const VOLUME_MAX = 2 ** 31 - 1;

// The states in the low bits of a period, as in native/core/breaker.h.
const CLOSED = 0;
const OPEN = 1;
const HALF_OPEN = 2;
const RAMPING = 3;
const STATE = 3;

// Bits of a breaker's mode. While no bit of SLOW_PATH is set and the circuit is closed, `fire` does
// everything by itself.
const DISABLED = 1;
const SHUT_DOWN = 2;
const CACHE = 4;
const COALESCE = 8;
const LIMITED = 16;
const ABORTABLE = 32;
const ON_FIRE = 64;
const ON_SUCCESS = 128;
const SLOW_PATH = 255;
// Which of the other events have listeners.
const ON_FAILURE = 256;
const ON_TIMEOUT = 512;
const ON_REJECT = 1024;
const ON_FALLBACK = 2048;
const HAS_FALLBACK = 4096;
// Every event goes through `emit`, even if nobody listens: the program has an `emit` of its own.
const ALL_EVENTS = 8192;
const EVENT_BITS = [
  ['fire', ON_FIRE], ['success', ON_SUCCESS], ['failure', ON_FAILURE], ['timeout', ON_TIMEOUT],
  ['reject', ON_REJECT], ['fallback', ON_FALLBACK]
];

const COUNTED_EVENTS = [
  'success', 'failure', 'fallback', 'timeout', 'fire', 'reject', 'cacheHit', 'cacheMiss',
  'coalesceCacheHit', 'coalesceCacheMiss', 'open', 'close', 'semaphoreLocked'
];

// Promises that breakers have put into caches. If a cache returns one of them, that is a hit. Other
// promises come from an asynchronous cache, and may prove to be a miss.
const storedPromises = new WeakSet();

// ---- Arguments ---------------------------------------------------------------------------------

/**
 * Several arguments of a call. Most calls have one, which is kept as it is: a list for every call
 * would be garbage, and only failures and listeners need it. So `args` is either an ArgumentList or
 * the only argument.
 */
class ArgumentList {
  constructor (list) { this.list = list; }
}

/** An argument may be a Proxy whose traps throw. */
const isList = args => isA(args, ArgumentList);

/** The arguments as an array. */
const listOf = args => (isList(args) ? args.list : [args]);

// ---- A call in flight --------------------------------------------------------------------------

const UNTIMED = 0;
const TIMED = 1;
const SETTLED = 2;

// A timeout of such a breaker calls the user's code, which needs the caller's async context.
const TIMEOUT_CALLS_USER = HAS_FALLBACK | ON_FAILURE | ON_TIMEOUT;

/** A call in flight that needs more than its promise: a timeout, a permit, a key, a signal. */
class Call {
  /** `probe` is its lease as a probe of a half-open circuit, or NO_PROBE. */
  constructor (breaker, args, period, probe) {
    this.breaker = breaker;
    this.args = args;
    this.period = period;
    this.probe = probe;
    this.started = ticks();
    this.phase = UNTIMED;
    // Settles the caller's promise. There is no `reject`: resolving with a rejected promise does
    // the same, and saves a function per call.
    this.resolve = undefined;
    // The list of deadlines that it is in, and its neighbours there.
    this.deadlines = null;
    this.previous = null;
    this.next = null;
    // What only some calls have: { semaphore, key, controller, countsAbort, unlink, promise,
    // isShared }.
    this.extra = null;
  }

  /** Waits for the action's promise; returns the caller's. */
  follow (promise) {
    const { breaker } = this;
    const settled = new Promise(resolve => { this.resolve = resolve; });
    if (breaker._deadlines !== null) {
      this.phase = TIMED;
      this.deadlines = breaker._deadlines;
      this.deadlines.add(this);
      if ((breaker._mode & TIMEOUT_CALLS_USER) !== 0) this.keepContext();
    }
    try {
      promise.then(value => this.succeed(value), error => { this.fail(error); });
    } catch (error) {
      // A promise whose `then` was replaced by one that throws.
      this.fail(error);
    }
    return settled;
  }

  /** A timeout will be handled in the caller's async context, not in that of the shared timer. */
  keepContext () {
    new Promise(resolve => { this.enterContext = resolve; }).then(elapsed => this.expire(elapsed));
  }

  finish () {
    if (this.phase === TIMED) this.deadlines.remove(this);
    this.phase = SETTLED;
    if (this.extra === null) return;
    this.extra.semaphore?.release();
    this.extra.unlink?.();
  }

  succeed (value) {
    if (this.phase === SETTLED) return;
    this.finish();
    const { breaker, extra } = this;
    breaker._succeeded(value, (ticks() - this.started) | 0, this.period, this.probe);
    if (extra !== null && extra.key !== undefined) breaker._store(extra);
    if (this.resolve !== undefined) this.resolve(value);
  }

  /** The action failed: returns the promise for the caller. */
  fail (error) {
    if (this.phase === SETTLED) return undefined;
    this.finish();
    const result = this.end(error, (ticks() - this.started) | 0, false);
    if (this.extra !== null) this.breaker._endSharing(this.extra, 'error');
    return result;
  }

  /** The deadline has passed. Called by Deadlines, which has removed the call. */
  timeOut () {
    this.phase = UNTIMED;
    const elapsed = (ticks() - this.started) | 0;
    if (this.enterContext === undefined) this.expire(elapsed);
    else this.enterContext(elapsed);
  }

  /** The deadline was dropped. Called by Deadlines, which has removed the call. */
  loseDeadline () {
    this.phase = UNTIMED;
  }

  expire (elapsed) {
    if (this.phase === SETTLED) return;
    const { breaker, extra } = this;
    this.finish();
    this.end(timedOut(breaker._shownTimeout(this.deadlines.ms), BreakerError), elapsed, true);
    if (extra === null) return;
    breaker._endSharing(extra, 'timeout');
    extra.controller?.abort(new DOMException('The call timed out', 'TimeoutError'));
    if ((breaker._mode & ABORTABLE) !== 0) {
      guarded('abortController.abort failed', () => breaker.getAbortController().abort());
    }
  }

  /** The caller gave up, which mostly says nothing about the upstream. */
  cancel (reason) {
    if (this.phase === SETTLED) return;
    const { breaker, extra } = this;
    const elapsed = (ticks() - this.started) | 0;
    const counts = this.countsAbort(reason, elapsed);
    this.finish();
    if (counts) breaker._countAbort(reason, this.args, elapsed, this.period, this.probe);
    else native.abandon(breaker._id, this.period, this.probe);
    extra.controller?.abort(reason);
    this.resolve?.(Promise.reject(reason));
  }

  countsAbort (reason, elapsed) {
    const { countsAbort } = this.extra;
    if (countsAbort === undefined) {
      return this.phase === TIMED && isDeadline(reason) &&
        hadItsTime(millis(elapsed), this.deadlines.ms);
    }
    try {
      return asked('countsAbort failed', () => countsAbort(reason)) === true;
    } catch (error) {
      warn('countsAbort failed', error);
      return false;
    }
  }

  /** Cancels the call when the caller's signal aborts. */
  listenTo (signal) {
    const onAbort = () => this.cancel(reasonOf(signal));
    try {
      signal.addEventListener('abort', onAbort, { once: true });
    } catch (error) {
      this.fail(error);
      return;
    }
    this.extra.unlink = () => signal.removeEventListener('abort', onAbort);
    if (signal.aborted) onAbort(); // While the action began.
  }

  end (error, elapsed, isTimeout) {
    const fallback = this.breaker._failed(
      error, this.args, elapsed, this.period, this.probe, isTimeout);
    const result = fallback ?? Promise.reject(error);
    if (this.resolve !== undefined) this.resolve(result);
    return result;
  }
}

// ---- All breakers ------------------------------------------------------------------------------

// By id. The addon exists once in an environment, this module perhaps more than once.
const live = (native.liveBreakers ??= []);
const finalizer = new FinalizationRegistry(id => {
  live[id] = undefined;
  native.destroyBreaker(id);
});

/** This environment's breakers that are still in use. */
function breakers () {
  return live.map(reference => reference?.deref()).filter(breaker => breaker !== undefined);
}

// Called when other threads or processes have changed a shared breaker.
native.onNews(id => live[id]?.deref()?._announce());

const hex = digits => Math.floor(Math.random() * 16 ** digits).toString(16).padStart(digits, '0');

/**
 * A UUID of version 4 (RFC 9562) from Math.random, which is enough for names that need not be
 * secret. Loading node:crypto takes longer than loading all of this package.
 */
function randomName () {
  const variant = '89ab'[Math.floor(Math.random() * 4)];
  return `${hex(8)}-${hex(4)}-4${hex(3)}-${variant}${hex(3)}-${hex(12)}`;
}

function windowIdOf (status) {
  if (status._owner !== undefined && isShared(status._owner._options)) {
    throw invalidOption('status', 'a Status of a breaker without a scope', status);
  }
  return status._buckets.id;
}

/** A new native breaker, or the shared one of that name. `options` get the scope that it has. */
function makeNative (options, name) {
  return inScope('breaker', name, options, () => {
    const config = coreConfig(options);
    const { namespace, scope, status } = options;
    if (!isShared(options)) {
      return createBreaker(config, isA(status, Status) ? windowIdOf(status) : undefined);
    }
    let attached;
    const attach = (...place) => (attached = attachBreaker(...place)).id;
    attachPlace('breaker', { scope, namespace, name }, CORE_NAMES, config, attach);
    return attached;
  });
}

/** A native breaker for the late outcomes of those that have given theirs up. It never opens. */
function grave () {
  return (native.grave ??= createBreaker(coreConfig(readOptions({
    errorThresholdPercentage: 100, volumeThreshold: VOLUME_MAX,
  }))));
}

/** State that only few breakers need: those that have opened or were inspected. */
class RareState {
  name = undefined;
  options = undefined;
  status = null;
  semaphore = null;
  /** Calls that later calls may share. */
  coalesceCache = undefined;
  /** The one of the call whose action is being called. */
  signal = null;
  /** Transitions that were not announced yet. */
  queue = null;
  ramping = false;
  openedAt = undefined;
  openFor = 0;
  /** Those that it counts in. */
  buckets = null;
  resetTimer = undefined;
  healthTimer = undefined;
  /** The error of an open circuit, and a promise that is rejected with it. */
  rejection = null;
  /** The drop-in's: it stays open for longer than its resetTimeout. */
  isLengthened = false;
  /** The drop-in's options, after one was assigned. */
  assigned = undefined;
  /** The drop-in's: what its own open() is called for. */
  trip = null;
  /** The drop-in's: its own close() is to close the half-open circuit. */
  probeSucceeded = false;
  /** The period in which it was shut down. */
  shutDownIn = undefined;
}

// ---- The breaker -------------------------------------------------------------------------------

// A program that lists the fields of a breaker finds those of opossum, and not ours.
const hidden = { value: undefined, writable: true, configurable: true };
const FIELDS = {
  options: {
    get () { return this._getOptions(); },
    set (values) { this._setOptions(values); },
    enumerable: true, configurable: true,
  },
  semaphore: { get () { return this._getSemaphore(); }, enumerable: true, configurable: true },
  action: { ...hidden, enumerable: true },
  _options: hidden, _id: hidden, _cells: hidden, _announced: hidden, _mode: hidden, _slow: hidden,
  _deadlines: hidden, _fallback: hidden, _rareOrNull: hidden,
};

class CircuitBreaker extends Emitter {
  static isOurError (error) { return isBreakerError(error); }

  static newStatus (options) { return new Status(options); }

  /** How the arguments are read: `sekering/opossum` reads them differently. */
  static _readOptions (given, action) {
    checkAction(action, given);
    return readOptions(given);
  }

  constructor (action, given) {
    super();
    Object.defineProperties(this, FIELDS);
    const options = new.target._readOptions(given, action);
    const ownName = nameOf(action);
    checkSharing(options, options.name || ownName);
    if (!action) {
      throw optionError(TypeError, 'action', 'No action provided. Cannot construct a ' +
        'CircuitBreaker without an invocable action.');
    }
    this.action = typeof action === 'function' ? action : () => Promise.resolve(action);
    if (typeof action !== 'function' && ownName) options.name ??= ownName;
    const { id, cells } = makeNative(options, options.name || ownName);
    // There may be thousands of breakers, so what few of them need is in RareState.
    this._options = options;
    this._id = id;
    this._cells = cells;
    this._announced = this._period();
    this._mode = 0;
    this._slow = 0;
    this._deadlines = null;
    this._fallback = null;
    this._rareOrNull = null;
    live[id] = new WeakRef(this);
    finalizer.register(this, id, this);
    if (isShared(options)) this._catchUp();
    this._takeOptions();
    this._begin(options);
  }

  get _rare () { return (this._rareOrNull ??= new RareState()); }

  get _buckets () {
    return (this._rare.buckets ??= new Buckets(this._id, windowOf(this._options).buckets));
  }

  /** Others may have opened the circuit. If they are gone, this breaker must reset it. */
  _catchUp () {
    const state = this._announced & STATE;
    if (state === RAMPING) this._rare.ramping = true;
    if (state !== OPEN) return;
    this._rare.openedAt = clock.wall();
    this._openUntilReset();
  }

  /** What calls go by, of the options that may be assigned later. */
  _takeOptions () {
    const options = this._options;
    this._slow = slowTicks(options.slowCallDuration);
    this._deadlines = options.timeout > 0 ? Deadlines.of(options.timeout) : null;
    if (options.cache) options.cacheTransport ??= new MemoryCache(options.cacheSize);
    if (options.coalesce) this._rare.coalesceCache ??= new MemoryCache(options.coalesceSize);
    if (options.autoRenewAbortController) options.abortController ||= new AbortController();
    this._setMode(CACHE, options.cache);
    this._setMode(COALESCE, options.coalesce);
    this._setMode(ABORTABLE, options.abortController);
  }

  _setMode (bit, isOn) {
    if (isOn) this._mode |= bit;
    else this._mode &= ~bit;
  }

  /** Other options, from the next call on. */
  _changeOptions (options) {
    this._options = options;
    this._takeOptions();
    if (!this._isBuried) native.configure(this._id, coreConfig(options));
  }

  _begin (options) {
    if (options.capacity !== undefined) this._mode |= LIMITED;
    if (!options.enabled) this._mode |= DISABLED;
    if (options.fallback) this.fallback(options.fallback);
    if (options.status) readable('status', 'the counts of a breaker', options.status,
      () => this._takeStatus(options.status));
    if (options.rotateBucketController) this.status.startListeneningForRotateEvent();
    if (options.state) readable('state', 'what toJSON() returns', options.state,
      () => this._takeState(options.state));
  }

  /** Counts in the window of a Status, or goes on from the stats of another breaker. */
  _takeStatus (status) {
    if (!isA(status, Status)) {
      importStats(this._id, status);
      return;
    }
    this._rare.status = status;
    this._rare.buckets = status._buckets;
  }

  /** Continues from the state of another breaker, as toJSON() gives it. */
  _takeState (state) {
    if (state.enabled === false) this._mode |= DISABLED;
    if (state.shutdown) {
      this.shutdown();
    } else if (state.closed !== false) {
      this.close();
    } else {
      const { resetTimeout } = this._options;
      const isDue = clock.wall() - state.lastTimerAt > (resetTimeout.initial ?? resetTimeout);
      if (state.halfOpen || isDue) this._move(HALF_OPEN);
      else this.open();
    }
  }

  // ---- Calls -----------------------------------------------------------------------------------

  /** Calls the action with the arguments, if the circuit allows it. */
  fire (first) {
    return arguments.length === 1 ? this._fire(first) : this._fireMany(...arguments);
  }

  _fireMany (...args) { return this._fire(new ArgumentList(args)); }

  _fire (args) {
    const period = this._cells[this._id & CELL];
    if ((this._mode & SLOW_PATH) !== 0) {
      return this._slowPath(this.action, this.action, args, null);
    }
    record(this._id, FIRES);
    if ((period & STATE) !== CLOSED) return this._admit(this.action, this.action, args);
    if (this._deadlines !== null) return this._fireTimed(args, period);
    const started = ticks();
    try {
      const result = this._act(args);
      if (isPlainPromise(result)) return this._follow(result, args, started, period);
      if (typeof result?.then === 'function') {
        return this._follow(adopt(result), args, started, period);
      }
      this._pass(result, started, period);
      return Promise.resolve(result);
    } catch (error) {
      const elapsed = (ticks() - started) | 0;
      return this._failed(error, args, elapsed, period, NO_PROBE, false) ?? Promise.reject(error);
    }
  }

  _fireTimed (args, period) {
    const call = new Call(this, args, period, NO_PROBE);
    try {
      const result = this._act(args);
      if (isPlainPromise(result)) return call.follow(result);
      if (typeof result?.then === 'function') return call.follow(adopt(result));
      this._pass(result, call.started, period);
      return Promise.resolve(result);
    } catch (error) {
      return call.fail(error);
    }
  }

  _act (args) {
    const action = this.action;
    return isList(args) ? action.apply(action, args.list) : action.call(action, args);
  }

  _follow (promise, args, started, period) {
    return promise.then(
      value => {
        this._pass(value, started, period);
        return value;
      },
      error => {
        const elapsed = (ticks() - started) | 0;
        return this._failed(error, args, elapsed, period, NO_PROBE, false) ?? promise;
      });
  }

  /** Records the success of an ordinary call. */
  _pass (value, started, period) {
    const elapsed = (ticks() - started) | 0;
    if (this._cells[this._id & CELL] === period && (this._mode & ON_SUCCESS) === 0 &&
        elapsed < this._slow) {
      recordSuccess(this._id, elapsed);
    } else {
      this._succeeded(value, elapsed, period, NO_PROBE);
    }
  }

  /** As `fire`, with `this` of the action. */
  call (context, ...args) {
    return this._slowPath(this.action, context, new ArgumentList(args), null);
  }

  /**
   * Calls `fn({ signal })` instead of the action. The signal aborts on timeout, or when the
   * caller's signal does.
   */
  run (fn, options) {
    let signal;
    let countsAbort;
    try {
      func('fn', fn);
      if (options !== undefined) ({ signal, countsAbort } = RUN_OPTIONS.read(options));
      if (signal?.aborted) return Promise.reject(reasonOf(signal));
    } catch (error) {
      return Promise.reject(error);
    }
    const controller = new AbortController();
    inheritDeadline(controller.signal, signal);
    const context = { signal: controller.signal };
    return this._slowPath(fn, undefined, context, { controller, signal, countsAbort });
  }

  /** A function that calls `fn` with its arguments and its `this`, through this breaker. */
  wrap (fn) {
    func('fn', fn);
    const breaker = this;
    function wrapped (...args) {
      return breaker._slowPath(fn, this, new ArgumentList(args), UNCACHED);
    }
    return likeFunction(wrapped, fn);
  }

  // ---- The slow path: cache, coalescing, probes, permits, signals ------------------------------

  /**
   * @param {{ controller?: AbortController, signal?: AbortSignal, countsAbort?: Function } | null}
   *   cancel of `run` and `wrap`, whose calls are not cached
   */
  _slowPath (action, context, args, cancel) {
    if (this._mode & SHUT_DOWN) return Promise.reject(new BreakerError('ESHUTDOWN'));
    record(this._id, FIRES);
    if (this._mode & ON_FIRE) this._emit('fire', listOf(args));
    if (this._mode & DISABLED) return callDirectly(action, context, listOf(args));
    if (this._mode & (CACHE | COALESCE) && cancel === null) {
      return this._withKey(action, context, args);
    }
    return this._admit(action, context, args, undefined, cancel);
  }

  _withKey (action, context, args) {
    let key;
    let cached;
    try {
      const { cacheGetKey } = this._options;
      key = asked('cacheGetKey failed', () => cacheGetKey.apply(this, listOf(args)));
      if (this._mode & CACHE) cached = this._options.cacheTransport.get(key);
    } catch (error) {
      return Promise.reject(error);
    }
    const proceed = () => this._coalesce(action, context, args, key);
    if (!(this._mode & CACHE)) return proceed();
    if (isA(cached, Promise) && !storedPromises.has(cached)) {
      return this._awaitCache(cached, proceed);
    }
    return isAbsent(cached) ? this._cacheMiss(proceed) : this._cacheHit(cached);
  }

  /** For an asynchronous transport: whether it is a hit is known only later. */
  _awaitCache (cached, proceed) {
    const onFailure = error => {
      warn('cacheTransport.get failed', error);
      return this._cacheMiss(proceed);
    };
    return promiseOf(cached).then(
      value => (isAbsent(value) ? this._cacheMiss(proceed) : this._cacheHit(value)), onFailure);
  }

  _cacheHit (value) {
    record(this._id, COUNTER.cacheHits);
    this._emit('cacheHit');
    return promiseOf(value);
  }

  _cacheMiss (proceed) {
    record(this._id, COUNTER.cacheMisses);
    this._emit('cacheMiss');
    return proceed();
  }

  _coalesce (action, context, args, key) {
    if (!(this._mode & COALESCE)) return this._admit(action, context, args, key, null);
    const { coalesceCache } = this._rare;
    const shared = coalesceCache.get(key);
    if (shared !== undefined) {
      record(this._id, COUNTER.coalesceCacheHits);
      this._emit('coalesceCacheHit');
      return shared;
    }
    record(this._id, COUNTER.coalesceCacheMisses);
    this._emit('coalesceCacheMiss');
    const { timeout, coalesceTTL = timeout } = this._options;
    return this._admit(action, context, args, key, null, promise => {
      coalesceCache.set(key, promise, coalesceTTL > 0 ? clock.wall() + coalesceTTL : 0);
    });
  }

  /** Lets the call pass if state and permits allow it; `onStart` gets its promise. */
  _admit (action, context, args, key, cancel, onStart) {
    let probe = NO_PROBE;
    let period = this._period();
    if ((period & STATE) !== CLOSED) {
      // A process that opened a shared circuit may have died before it told the others.
      this._announce();
      if ((this._period() & STATE) === OPEN) return this._reject(args);
      probe = native.admit(this._id, Math.random());
      period = this._period();
      this._announce();
      if (probe < 0) return this._reject(args);
    }
    const semaphore = this._mode & LIMITED ? this.semaphore : null;
    if (semaphore !== null && !semaphore.test()) return this._rejectBusy(args, period, probe);
    const call = new Call(this, args, period, probe);
    const controller = cancel?.controller ??
      (this._mode & ABORTABLE ? new AbortController() : null);
    call.extra = {
      semaphore, key, controller, countsAbort: cancel?.countsAbort, unlink: undefined,
      promise: undefined, isShared: true
    };
    const promise = this._start(call, action, context);
    if (call.phase !== SETTLED && cancel?.signal) call.listenTo(cancel.signal);
    if (call.extra.isShared) onStart?.(promise);
    return promise;
  }

  _start (call, action, context) {
    const { extra } = call;
    const rare = this._rare;
    const outer = rare.signal;
    rare.signal = extra.controller?.signal ?? null;
    try {
      const result = action.apply(context, listOf(call.args));
      if (typeof result?.then === 'function') {
        extra.promise = isPlainPromise(result) ? result : adopt(result);
        return call.follow(extra.promise);
      }
      extra.promise = Promise.resolve(result);
      call.succeed(result);
      return extra.promise;
    } catch (error) {
      return call.fail(error);
    } finally {
      rare.signal = outer;
    }
  }

  _reject (args) {
    record(this._id, REJECTS);
    // One error for the whole time that the circuit is open: making one costs more than the rest.
    const { error, promise } = (this._rare.rejection ??= openRejection());
    if (this._mode & ON_REJECT) this._emit('reject', error);
    return this._fallback === null ? promise.then() : this._fallBack(error, args);
  }

  /** No permit: this process is busy, which says nothing about the upstream. */
  _rejectBusy (args, period, probe) {
    native.abandon(this._id, period, probe);
    record(this._id, COUNTER.semaphoreRejections);
    const error = new BreakerError('ESEMLOCKED');
    this._emit('semaphoreLocked', error, 0);
    if (this._isFiltered(error, args)) {
      if (this._mode & ON_SUCCESS) this._emit('success', error, 0);
      return Promise.reject(error);
    }
    if (this._mode & ON_FAILURE) this._emit('failure', error, 0, listOf(args));
    return this._fallback === null ? Promise.reject(error) : this._fallBack(error, args);
  }

  /** Stores the result of a call with a key. */
  _store (extra) {
    if (this._mode & CACHE) {
      const { cacheTTL, cacheTransport } = this._options;
      storedPromises.add(extra.promise);
      guarded('cacheTransport.set failed', () => cacheTransport.set(
        extra.key, extra.promise, cacheTTL > 0 ? clock.wall() + cacheTTL : 0));
    }
    this._endSharing(extra, 'success');
  }

  /** Ends the sharing of a call that has settled, if coalesceResetOn has that event. */
  _endSharing (extra, event) {
    if (!(this._mode & COALESCE) || !this._options.coalesceResetOn?.includes(event)) return;
    extra.isShared = false;
    this._rare.coalesceCache.delete(extra.key);
  }

  // ---- Outcomes --------------------------------------------------------------------------------

  _succeeded (value, elapsed, period, probe) {
    try {
      let trips = false;
      if (this._period() === period && (period & STATE) === CLOSED && elapsed < this._slow) {
        recordSuccess(this._id, elapsed);
      } else {
        trips = native.success(this._id, elapsed, period, probe);
        this._announceSuccess();
      }
      if (this._mode & ON_SUCCESS) this._emit('success', value, millis(elapsed));
      if (trips) this._trip(period, 0);
    } catch (thrown) {
      warn(NOT_COUNTED, thrown);
    }
  }

  /** A probe may have closed the circuit: listeners are told so before they hear of its success. */
  _announceSuccess () { this._announce(); }

  /** Records a failure. Returns the fallback's promise, or undefined when the call must reject. */
  _failed (error, args, elapsed, period, probe, isTimeout) {
    try {
      const isAnnounced = isTimeout && (this._mode & ON_TIMEOUT) !== 0;
      if (isAnnounced) {
        // Listeners must find it already counted.
        this._countTimeout(elapsed);
        this._emit('timeout', error, millis(elapsed), listOf(args));
      }
      if (this._isFiltered(error, args)) {
        if (isTimeout && !isAnnounced) this._countTimeout(elapsed);
        this._succeeded(error, elapsed, period, probe);
        return undefined;
      }
      const countsTimeout = isTimeout && !isAnnounced ? 1 : 0;
      this._countFailure(error, args, elapsed, period, probe, countsTimeout);
      return this._fallback === null ? undefined : this._fallBack(error, args);
    } catch (thrown) {
      warn(NOT_COUNTED, thrown);
      return undefined;
    }
  }

  _countFailure (error, args, elapsed, period, probe, timeouts) {
    const trips = native.failure(this._id, elapsed, period, probe, timeouts);
    if (this._mode & ON_FAILURE) this._emit('failure', error, millis(elapsed), listOf(args));
    if (trips) this._trip(period, Math.min(retryAfterMs(error) ?? 0, RETRY_AFTER_MS_MAX));
  }

  /** Records a call that its caller ended as a timeout. Nobody waits for its fallback. */
  _countAbort (reason, args, elapsed, period, probe) {
    try {
      this._countFailure(reason, args, elapsed, period, probe, 1);
    } catch (thrown) {
      warn(NOT_COUNTED, thrown);
    }
  }

  _countTimeout (elapsed) {
    native.count(this._id, COUNTER.timeouts, 1);
    native.addLatency(this._id, millis(elapsed), 1);
  }

  _isFiltered (error, args) {
    const { errorFilter } = this._options;
    if (errorFilter === filterNothing) return false;
    try {
      const self = this._shownOptions;
      const filter = () => Reflect.apply(errorFilter, self, [error, ...listOf(args)]);
      return Boolean(asked('errorFilter failed', filter));
    } catch (thrown) {
      warn('errorFilter failed', thrown);
      return false;
    }
  }

  _trip (period, resetMin) {
    native.trip(this._id, period, resetMin);
    this._announce();
  }

  _fallBack (error, args) {
    const fallback = this._fallback;
    let result;
    try {
      result = isList(args)
        ? fallback.apply(fallback, [...args.list, error])
        : fallback.call(fallback, args, error);
    } catch (thrown) {
      return Promise.reject(thrown);
    }
    record(this._id, COUNTER.fallbacks);
    if (this._mode & ON_FALLBACK) this._emit('fallback', result, error);
    return promiseOf(result);
  }

  // ---- Transitions -----------------------------------------------------------------------------

  /** Emits the transitions since the last time, in order, each once. */
  _announce () {
    if (this._period() === this._announced) return;
    const count = native.transitions(this._id);
    this._announced = this._period();
    const rare = this._rare;
    rare.queue ??= [];
    const missed = answer[0];
    for (let i = 0; i < count; i++) rare.queue.push(answer[1 + i]);
    if (missed > 0) this._emit('missed', missed);
    if (missed < 0) warn('A damaged state was repaired', new Error(`breaker '${this.name}'`));
    // A listener may cause the next transition: it then finds the rest of the queue here.
    while (rare.queue !== null && rare.queue.length > 0) this._entered(rare.queue.shift());
    rare.queue = null;
  }

  _entered (state) {
    const rare = this._rare;
    const wasRamping = rare.ramping;
    rare.ramping = state === RAMPING;
    rare.rejection = null;
    clock.clearTimer(rare.resetTimer);
    rare.resetTimer = undefined;
    if (state === OPEN) {
      rare.openedAt = clock.wall();
      this._buckets.mark(true);
      // Listeners come first, as the timer can wait. One of them may have moved the circuit on.
      this._emit('open');
      if (this._state() === OPEN && rare.resetTimer === undefined) this._openUntilReset();
    } else if (state === HALF_OPEN) {
      this._renewAbortController();
      this._emit('halfOpen', this._wasOpenFor());
    } else if (!wasRamping) {
      this._buckets.mark(false);
      this._renewAbortController();
      this._emit('close');
    }
  }

  _openUntilReset () {
    this._rare.openFor = native.openFor(this._id);
    this._waitForReset(Math.max(this._rare.openFor, 1));
  }

  _waitForReset (ms) {
    if (!(ms > 0) || this.isShutdown) return;
    const rare = this._rare;
    rare.resetTimer = clock.setTimer(() => {
      rare.resetTimer = undefined;
      const remaining = native.poll(this._id);
      this._announce();
      this._waitForReset(remaining);
    }, Math.ceil(ms), false);
  }

  /** The resetTimeout, or the longer time after repeated trips or a Retry-After. */
  _wasOpenFor () {
    const { resetTimeout } = this._options;
    const openFor = Math.round(this._rare.openFor);
    return typeof resetTimeout === 'number' ? Math.max(resetTimeout, openFor) : openFor;
  }

  _renewAbortController () {
    const { autoRenewAbortController, abortController } = this._options;
    if (autoRenewAbortController && read(read(abortController, 'signal'), 'aborted')) {
      this._replaceAbortController(new AbortController());
    }
  }

  _replaceAbortController (controller) {
    this._options.abortController = controller;
    const shown = this._rareOrNull?.options;
    if (shown) guarded('options are frozen', () => { shown.abortController = controller; });
  }

  /** Closes the circuit by hand. */
  close () { this._move(CLOSED); }

  /** Opens the circuit by hand. */
  open () { this._move(OPEN); }

  /** Closes the circuit by hand and resets its counts. */
  reset () {
    native.forget(this._id);
    this.close();
  }

  _move (state) {
    if (this._mode & SHUT_DOWN) return;
    native.moveTo(this._id, state);
    this._announce();
  }

  enable () {
    this._mode &= ~DISABLED;
    this._rareOrNull?.status?.startListeneningForRotateEvent();
  }

  disable () {
    this._mode |= DISABLED;
    this._rareOrNull?.status?.removeRotateBucketControllerListener();
  }

  shutdown () {
    this._emit('shutdown');
    this.disable();
    this.removeAllListeners();
    this._retire();
    this.clearCache();
  }

  /** Stops the timers and accepts no more calls. Calls in flight end normally. */
  _retire () {
    const rare = this._rare;
    clock.clearTimer(rare.resetTimer);
    clock.clearTimer(rare.healthTimer);
    rare.resetTimer = rare.healthTimer = undefined;
    rare.status?.shutdown();
    this._mode |= SHUT_DOWN;
    rare.shutDownIn = this._period();
    live[this._id] = undefined;
  }

  /**
   * After _retire(): frees its part of the core at once. Garbage is collected much later, and until
   * then there may be any number. Outcomes of its calls in flight count where nobody reads them.
   */
  _bury () {
    const rare = this._rare;
    finalizer.unregister(this);
    if (rare.status?._owner === this) rare.status._keepWindow();
    else native.destroyBreaker(this._id);
    rare.status = null;
    rare.buckets = null;
    ({ id: this._id, cells: this._cells } = grave());
    this._announced = rare.shutDownIn = this._period();
  }

  get _isBuried () { return this._id === native.grave?.id; }

  clearCache () {
    const { cacheTransport } = this._options;
    if (this._mode & CACHE) guarded('cacheTransport.flush failed', () => cacheTransport.flush());
    this._rareOrNull?.coalesceCache?.flush();
  }

  /**
   * Calls `func` now and every `interval` ms until shutdown; when it rejects, the circuit opens.
   */
  healthCheck (func, interval) {
    if (typeof func !== 'function') {
      throw optionError(TypeError, 'func', 'Health check function must be a function');
    }
    const ms = readable('interval', 'a number', interval,
      () => Number(interval || HEALTH_INTERVAL_MS));
    if (isNaN(ms)) {
      throw optionError(TypeError, 'interval', 'Health check interval must be a number');
    }
    const onFailure = error => {
      if (this.isShutdown) return;
      this._emit('healthCheckFailed', error);
      this.open();
    };
    const check = () => {
      if (this.isShutdown) return;
      this._rare.healthTimer = clock.setTimer(check, ms, false);
      try {
        promiseOf(func.apply(this)).catch(onFailure);
      } catch (error) {
        onFailure(error);
      }
    };
    check();
  }

  /** What to call when the action fails or may not be called: a function, or another breaker. */
  fallback (func) {
    this._fallback = typeof func?.fire === 'function'
      ? (...args) => func.fire(...args)
      : func || null;
    this._setMode(HAS_FALLBACK, func);
    return this;
  }

  // ---- Views -----------------------------------------------------------------------------------

  _getOptions () {
    const rare = this._rare;
    if (rare.options === undefined) {
      const values = this._optionValues();
      // As in opossum, but not enumerable, so that a copy of the options makes a separate breaker.
      Object.defineProperty(values, 'coalesceCache', { value: rare.coalesceCache });
      rare.options = shownOptions(values,
        (name, value) => this._assignOption(values, name, value));
    }
    return rare.options;
  }

  _setOptions (values) { Object.assign(this.options, values); }

  /** What `options` shows. */
  _optionValues () { return resolvedOptions(this._options); }

  /** Takes a new value of an option. Returns what `values` is to show of it. */
  _assignOption (values, name, value) {
    const isSame = value === values[name] || value === this._options[name];
    if (typeof name === 'symbol' || isSame) return value;
    if (isShared(this._options)) {
      throw invalidOption(name,
        'no new value, as all who share the breaker have the same options,', value);
    }
    this._changeOptions(withOption(this._options, name, value));
    Object.assign(values, resolvedOptions(this._options));
    return values[name];
  }

  /** What a timeout's message says, for calls that had `ms`. */
  _shownTimeout (ms) { return ms; }

  get name () {
    return this._options.name || nameOf(this.action) || (this._rare.name ??= randomName());
  }

  get group () { return this._options.group || this.name; }

  get scope () { return this._options.scope; }
  get enabled () { return (this._mode & DISABLED) === 0; }
  get isShutdown () { return (this._mode & SHUT_DOWN) !== 0; }
  get opened () { return this._state() === OPEN; }
  get halfOpen () { return this._state() === HALF_OPEN; }
  get closed () { return this._state() === CLOSED || this._state() === RAMPING; }

  get pendingClose () { return this.halfOpen && native.hasFreeProbe(this._id); }
  get warmUp () { return native.isWarming(this._id); }
  get volumeThreshold () { return this._options.volumeThreshold; }

  /** Without `capacity`, calls are counted from the first use of this getter on. */
  _getSemaphore () {
    const rare = this._rare;
    if (rare.semaphore === null) {
      rare.semaphore = new Semaphore(this._options.capacity ?? Number.MAX_SAFE_INTEGER);
      this._mode |= LIMITED;
    }
    return rare.semaphore;
  }

  get status () {
    const rare = this._rare;
    if (rare.status === null) {
      rare.status = new Status(this._options, this._isBuried ? undefined : this);
    }
    return rare.status;
  }

  get stats () {
    const percentiles =
      (this._rareOrNull?.status ?? this._options).rollingPercentilesEnabled;
    const stats = readStats(this._id, percentiles);
    // The counts of all who share it; `local` has this thread's own counts.
    if (isShared(this._options)) stats.local = readStats(this._id, percentiles, true);
    return stats;
  }

  /** A shut-down breaker is in no state, but calls that were in flight can still trip it. */
  _state () {
    const period = this._period();
    return this._mode & SHUT_DOWN && period === this._rareOrNull.shutDownIn ? -1 : period & STATE;
  }

  /** The current period, which the core updates. */
  _period () { return this._cells[this._id & CELL]; }

  toJSON () {
    return {
      state: {
        name: this.name,
        enabled: this.enabled,
        closed: this.closed,
        open: this.opened,
        halfOpen: this.halfOpen,
        warmUp: this.warmUp,
        shutdown: this.isShutdown,
        lastTimerAt: this._rareOrNull?.openedAt
      },
      status: this.stats
    };
  }

  /** The signal of the abortController option; inside an action, that of its own call. */
  getSignal () { return this._rareOrNull?.signal ?? this._options.abortController?.signal; }

  getAbortController () { return this._options.abortController; }

  _listen () {
    if (this._mode & ALL_EVENTS) return;
    for (const [event, bit] of EVENT_BITS) this._setMode(bit, this._hasListener(event));
  }

  /** Our listeners' errors never come here, but a program's own `emit` may throw. */
  _emit (event, ...args) {
    try {
      this.emit(event, ...args);
    } catch (error) {
      warn(`emit('${event}') failed`, error);
    }
  }

  /** From now on every event goes through `emit`. */
  _emitAll () {
    if (this._mode & ALL_EVENTS) return;
    this._mode |= ALL_EVENTS;
    for (const [, bit] of EVENT_BITS) this._mode |= bit;
  }

  /** As in opossum, the events that are counted come first: metrics adapters use this list. */
  eventNames () {
    const own = super.eventNames();
    return this.isShutdown ? own : [...new Set([...COUNTED_EVENTS, ...own])];
  }

  _hasListener (event) { return this.listenerCount(event) > 0; }
}

/** The error of an open circuit, and a promise that is rejected with it. */
function openRejection () {
  const error = new BreakerError('EOPENBREAKER');
  const promise = Promise.reject(error);
  promise.catch(() => {});
  return { error, promise };
}

/** Wraps a foreign promise, or anything with a `then`, in our own promise. */
function adopt (thenable) {
  return new Promise((resolve, reject) => {
    try {
      thenable.then(resolve, reject);
    } catch (error) {
      reject(error);
    }
  });
}

/** A disabled breaker only calls the action. */
function callDirectly (action, context, args) {
  try {
    const result = action.apply(context, args);
    return typeof result?.then === 'function' ? result : Promise.resolve(result);
  } catch (error) {
    return Promise.reject(error);
  }
}

// For the drop-in (./opossum).
Object.defineProperty(CircuitBreaker, 'states', { value: { HALF_OPEN, STATE } });

module.exports = Object.assign(CircuitBreaker, {
  CircuitBreaker, MemoryCache, Semaphore, Status, breakers
});
