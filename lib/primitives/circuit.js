'use strict';

// The circuit of a breaker: its options, its state, and the events and views of that state. The
// calls that pass through it are in breaker.js.

const Emitter = require('../base/emitter');
const clock = require('../base/clock');
const { optionError } = require('../base/errors');
const native = require('../base/native');
const { randomName } = require('../base/random-name');
const { CELL, answer, attachBreaker, createBreaker } = require('../base/recorder');
const { guarded, warn } = require('../base/warn');
const Deadlines = require('./deadlines');
const MemoryCache = require('./memory-cache');
const Semaphore = require('./semaphore');
const Status = require('./status');
const {
  checkSharing, coreConfig, differences, readOptions, resolvedOptions, slowTicks,
  windowOf
} = require('./breaker-options');
const { attachPlace, isShared } = require('./sharing');
const { importStats, markBucket, readStats } = require('./stats');

// The states in the low bits of a period, as in native/core/breaker.h.
const CLOSED = 0;
const OPEN = 1;
const HALF_OPEN = 2;
const RAMPING = 3;
const STATE = 3;

// Bits of a breaker's mode. While none of SLOW_PATH is set and the circuit is closed, `fire` does
// all by itself.
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
const EVENT_BITS = [
  ['fire', ON_FIRE], ['success', ON_SUCCESS], ['failure', ON_FAILURE], ['timeout', ON_TIMEOUT],
  ['reject', ON_REJECT], ['fallback', ON_FALLBACK]
];

const COUNTED_EVENTS = [
  'success', 'failure', 'fallback', 'timeout', 'fire', 'reject', 'cacheHit', 'cacheMiss',
  'coalesceCacheHit', 'coalesceCacheMiss', 'open', 'close', 'semaphoreLocked'
];

const HEALTH_INTERVAL_MS = 5000;

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

/** A native breaker of one's own, or the shared one of that name. */
function makeNative (options, name) {
  const config = coreConfig(options);
  if (!isShared(options)) return createBreaker(config);
  const { scope, namespace } = options;
  let attached;
  const attach = (...place) => (attached = attachBreaker(...place)).id;
  attachPlace('breaker', { scope, namespace, name }, config, attach, differences);
  return attached;
}

/** State of a breaker that was open, or was looked at closely: most never need it. */
class RareState {
  name = undefined;
  options = undefined;
  status = null;
  semaphore = null;
  /** Calls that others may share. */
  coalesceCache = undefined;
  /** Of the call whose action is being called. */
  signal = null;
  /** Transitions that were not announced yet. */
  queue = null;
  ramping = false;
  openedAt = undefined;
  openFor = 0;
  /** Which buckets the circuit opened or closed in, by epoch. */
  _marks = undefined;
  resetTimer = undefined;
  healthTimer = undefined;
  /** The error of an open circuit, and a promise that is rejected with it. */
  rejection = null;
  /** The period in which it was shut down. */
  shutDownIn = undefined;
}

class Circuit extends Emitter {
  /** How options are read: `sekering/opossum` has another way. */
  static _readOptions (given) { return readOptions(given); }

  constructor (action, given) {
    super();
    const options = new.target._readOptions(given);
    checkSharing(options, options.name || action?.name);
    if (!action) {
      throw optionError(TypeError, 'action', 'No action provided. Cannot construct a ' +
        'CircuitBreaker without an invocable action.');
    }
    this.action = typeof action === 'function' ? action : () => Promise.resolve(action);
    if (typeof action !== 'function' && action.name) options.name ??= action.name;
    const { id, cells } = makeNative(options, options.name || action.name);
    // There may be thousands of breakers: what few of them need is in RareState.
    this._options = options;
    this._id = id;
    this._cells = cells;
    this._announced = this._period();
    this._mode = 0;
    this._slow = slowTicks(options.slowCallDuration);
    this._deadlines = options.timeout > 0 ? Deadlines.of(options.timeout) : null;
    this._fallback = null;
    this._rareOrNull = null;
    live[id] = new WeakRef(this);
    finalizer.register(this, id);
    if (isShared(options)) this._catchUp();
    this._configure(options);
  }

  get _rare () { return (this._rareOrNull ??= new RareState()); }

  /** Others may have opened the circuit. If they are gone, this breaker has to reset it. */
  _catchUp () {
    const state = this._announced & STATE;
    if (state === RAMPING) this._rare.ramping = true;
    if (state !== OPEN) return;
    this._rare.openedAt = clock.wall();
    this._openUntilReset();
  }

  _configure (options) {
    if (options.cache) {
      options.cacheTransport ??= new MemoryCache(options.cacheSize);
      this._mode |= CACHE;
    }
    if (options.coalesce) {
      this._rare.coalesceCache = new MemoryCache(options.coalesceSize);
      this._mode |= COALESCE;
    }
    if (options.capacity !== undefined) this._mode |= LIMITED;
    if (options.autoRenewAbortController) options.abortController ||= new AbortController();
    if (options.abortController) this._mode |= ABORTABLE;
    if (!options.enabled) this._mode |= DISABLED;
    if (options.fallback) this.fallback(options.fallback);
    if (options.status) this._takeStatus(options.status);
    if (options.rotateBucketController) this.status.startListeneningForRotateEvent();
    if (options.state) this._takeState(options.state);
  }

  /** Goes on from the counts of another breaker: its Status, or its stats. */
  _takeStatus (status) {
    const isStatus = status instanceof Status;
    importStats(this._id, isStatus ? status.stats : status);
    if (!isStatus) return;
    status._adopt(this._id, this);
    this._rare.status = status;
  }

  /** Goes on from the state of another breaker, as toJSON() gives it. */
  _takeState (state) {
    if (state.enabled === false) this.disable();
    if (state.shutdown) {
      this.shutdown();
    } else if (state.closed === false) {
      const { resetTimeout } = this._options;
      const isDue = clock.wall() - state.lastTimerAt > (resetTimeout.initial ?? resetTimeout);
      this._move(state.halfOpen || isDue ? HALF_OPEN : OPEN);
    }
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
    if (missed > 0) this.emit('missed', missed);
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
      markBucket(rare, this._id, true, windowOf(this._options).buckets);
      // Listeners come first, as the timer can wait. One of them may have moved the circuit on.
      this.emit('open');
      if (this._state() === OPEN && rare.resetTimer === undefined) this._openUntilReset();
    } else if (state === HALF_OPEN) {
      this._renewAbortController();
      this.emit('halfOpen', this._wasOpenFor());
    } else if (!wasRamping) {
      markBucket(rare, this._id, false, windowOf(this._options).buckets);
      this._renewAbortController();
      this.emit('close');
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

  /** The resetTimeout, or what repeated trips or a Retry-After have made of it. */
  _wasOpenFor () {
    const { resetTimeout } = this._options;
    const openFor = Math.round(this._rare.openFor);
    return typeof resetTimeout === 'number' ? Math.max(resetTimeout, openFor) : openFor;
  }

  _renewAbortController () {
    const { autoRenewAbortController, abortController } = this._options;
    if (autoRenewAbortController && abortController.signal.aborted) {
      this._options.abortController = new AbortController();
      const shown = this._rareOrNull?.options;
      if (shown) shown.abortController = this._options.abortController;
    }
  }

  /** Closes the circuit by hand. */
  close () { this._move(CLOSED); }

  /** Opens the circuit by hand. */
  open () { this._move(OPEN); }

  /** Closes the circuit by hand and forgets what was counted, so that it starts afresh. */
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
    this.emit('shutdown');
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

  clearCache () {
    const { cacheTransport } = this._options;
    if (this._mode & CACHE) guarded('cacheTransport.flush failed', () => cacheTransport.flush());
    this._rareOrNull?.coalesceCache?.flush();
  }

  /**
   * Calls `func` now and every `interval` ms until shutdown; when it rejects, the circuit opens.
   * @param {() => Promise<unknown>} func
   * @param {number} [interval] ms, default 5000
   */
  healthCheck (func, interval) {
    if (typeof func !== 'function') {
      throw new TypeError('Health check function must be a function');
    }
    const ms = Number(interval || HEALTH_INTERVAL_MS);
    if (isNaN(ms)) throw new TypeError('Health check interval must be a number');
    const onFailure = error => {
      if (this.isShutdown) return;
      this.emit('healthCheckFailed', error);
      this.open();
    };
    const check = () => {
      if (this.isShutdown) return;
      this._rare.healthTimer = clock.setTimer(check, ms, false);
      try {
        Promise.resolve(func.apply(this)).catch(onFailure);
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
      : func;
    this._mode |= HAS_FALLBACK;
    return this;
  }

  // ---- Views -----------------------------------------------------------------------------------

  get options () {
    const rare = this._rare;
    if (rare.options === undefined) {
      rare.options = resolvedOptions(this._options);
      // As in opossum; but not an option, so that a copy of the options makes another breaker.
      Object.defineProperty(rare.options, 'coalesceCache', { value: rare.coalesceCache });
    }
    return rare.options;
  }

  get name () {
    return this._options.name || this.action.name || (this._rare.name ??= randomName());
  }

  get group () { return this._options.group || this.name; }
  get enabled () { return (this._mode & DISABLED) === 0; }
  get isShutdown () { return (this._mode & SHUT_DOWN) !== 0; }
  get opened () { return this._state() === OPEN; }
  get halfOpen () { return this._state() === HALF_OPEN; }
  get closed () { return this._state() === CLOSED || this._state() === RAMPING; }

  get pendingClose () { return this.halfOpen && native.hasFreeProbe(this._id); }
  get warmUp () { return native.isWarming(this._id); }
  get volumeThreshold () { return this._options.volumeThreshold; }

  /** Without `capacity`, calls are counted from the first use of this getter on. */
  get semaphore () {
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
      rare.status = new Status({ ...this.options, stats: undefined }, this._id);
      rare.status._adopt(this._id, this);
    }
    return rare.status;
  }

  get stats () {
    const percentiles = this._options.rollingPercentilesEnabled;
    const stats = readStats(this._id, percentiles);
    // Of all who share it; `local` is what this thread alone has counted.
    if (isShared(this._options)) stats.local = readStats(this._id, percentiles, true);
    return stats;
  }

  /** A shut-down breaker is in no state, but calls that were in flight can still trip it. */
  _state () {
    const period = this._period();
    return this._mode & SHUT_DOWN && period === this._rareOrNull.shutDownIn ? -1 : period & STATE;
  }

  /** The present period, as the core keeps it current. */
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
    for (const [event, bit] of EVENT_BITS) {
      if (this._hasListener(event)) this._mode |= bit;
      else this._mode &= ~bit;
    }
  }

  /** As in opossum, the events that are counted come first: metrics adapters use this list. */
  eventNames () {
    const own = super.eventNames();
    return this.isShutdown ? own : [...new Set([...COUNTED_EVENTS, ...own])];
  }

  _hasListener (event) { return this.listenerCount(event) > 0; }
}

module.exports = {
  ABORTABLE, CACHE, CLOSED, COALESCE, Circuit, DISABLED, HAS_FALLBACK, LIMITED, ON_FAILURE,
  ON_FALLBACK, ON_FIRE, ON_REJECT, ON_SUCCESS, ON_TIMEOUT, OPEN, SHUT_DOWN, SLOW_PATH, STATE,
  breakers
};
