'use strict';

// The circuit of a breaker: what it was configured with, its state, and what it tells about itself.
// The calls that pass through it are in breaker.js.

const Emitter = require('../base/emitter');
const clock = require('../base/clock');
const native = require('../base/native');
const { bag } = require('../base/options');
const { randomName } = require('../base/random-name');
const { CELL, answer, createBreaker } = require('../base/recorder');
const { guarded, warn } = require('../base/warn');
const Aside = require('./aside');
const Deadlines = require('./deadlines');
const MemoryCache = require('./memory-cache');
const Semaphore = require('./semaphore');
const Status = require('./status');
const { BUCKETS, nativeConfig, pack, slowTicks } = require('./breaker-config');
const { check, coalesceResetOn, resolve } = require('./breaker-options');
const { watchHealth } = require('./health-check');
const { preset } = require('./presets');
const { attach, checkSharing, isShared, onNews } = require('./sharing');
const { note, readStats } = require('./stats');
const { takeState, takeStatus } = require('./carry-over');

// The states in the low bits of a period, as in native/core/breaker.h.
const CLOSED = 0;
const OPEN = 1;
const HALF_OPEN = 2;
const RAMPING = 3;
const STATE = 3;

// Why a call may need care. While a breaker's mode is 0 and it is closed, `fire` does all.
const DISABLED = 1;
const SHUT_DOWN = 2;
const CACHE = 4;
const COALESCE = 8;
const LIMITED = 16;
const ABORTABLE = 32;
const ON_FIRE = 64;
const ON_SUCCESS = 128;
const CAREFUL = 255;
// Which of the other events somebody listens to.
const ON_FAILURE = 256;
const ON_TIMEOUT = 512;
const ON_REJECT = 1024;
const ON_FALLBACK = 2048;
const HAS_FALLBACK = 4096;
const LISTENED = [
  ['fire', ON_FIRE], ['success', ON_SUCCESS], ['failure', ON_FAILURE], ['timeout', ON_TIMEOUT],
  ['reject', ON_REJECT], ['fallback', ON_FALLBACK]
];

const COUNTED_EVENTS = [
  'success', 'failure', 'fallback', 'timeout', 'fire', 'reject', 'cacheHit', 'cacheMiss',
  'coalesceCacheHit', 'coalesceCacheMiss', 'open', 'close', 'semaphoreLocked'
];

const RESET_MS = 30000;

// By id. The addon exists once in an environment, this module perhaps more than once.
const live = (native.liveBreakers ??= []);
const left = new FinalizationRegistry(id => {
  live[id] = undefined;
  native.destroyBreaker(id);
});

/** This environment's breakers that are still in use. */
function breakers () {
  return live.map(reference => reference?.deref()).filter(breaker => breaker !== undefined);
}

onNews(id => live[id]?.deref()?._announce());

function makeNative (options, action) {
  const config = pack(nativeConfig(options));
  return isShared(options)
    ? attach(options, options.name || action.name, config)
    : createBreaker(config);
}

class Circuit extends Emitter {
  constructor (action, options) {
    super();
    const given = bag('options', options);
    const own = { ...(given.preset === undefined ? {} : preset(given.preset)), ...given };
    if (own.autoRenewAbortController && !own.abortController) {
      own.abortController = new AbortController();
    }
    check(own);
    checkSharing(own, action?.name);
    if (!action) {
      throw Object.assign(new TypeError('No action provided. Cannot construct a CircuitBreaker ' +
        'without an invocable action.'), { code: 'ERR_INVALID_OPTION' });
    }
    this.action = typeof action === 'function' ? action : () => Promise.resolve(action);
    if (typeof action !== 'function' && action.name) own.name ??= action.name;
    const { id, cells } = makeNative(own, action);
    const timeout = own.timeout ?? 10000;
    // There may be thousands of breakers: what few of them need is in `_aside`.
    this._given = own;
    this._id = id;
    this._cells = cells;
    this._seen = this._period();
    this._mode = 0;
    this._slow = slowTicks(own.slowCallDuration);
    this._deadlines = timeout > 0 ? Deadlines.of(timeout) : null;
    this._fallback = null;
    this._aside = null;
    live[id] = new WeakRef(this);
    left.register(this, id);
    if (isShared(own)) this._catchUp();
    this._configure(own);
  }

  /** Others may have opened the circuit before: if they are gone, its time is up to this one. */
  _catchUp () {
    const state = this._seen & STATE;
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
      options.coalesceCache = new MemoryCache(options.coalesceSize);
      options.coalesceResetOn = coalesceResetOn(options);
      this._mode |= COALESCE;
    }
    if (Number.isInteger(options.capacity)) this._mode |= LIMITED;
    if (options.abortController) this._mode |= ABORTABLE;
    if (options.enabled === false) this._mode |= DISABLED;
    if (options.fallback) this.fallback(options.fallback);
    if (options.status) takeStatus(this, options.status);
    if (options.rotateBucketController) this.status.startListeneningForRotateEvent();
    if (options.state) takeState(this, options.state);
  }

  /** Emits the transitions since the last look, in order, each once. */
  _announce () {
    if (this._period() === this._seen) return;
    const count = native.transitions(this._id);
    this._seen = this._period();
    const aside = this._rare;
    aside.queue ??= [];
    const missed = answer[0];
    for (let i = 0; i < count; i++) aside.queue.push(answer[1 + i]);
    if (missed > 0) this.emit('missed', missed);
    if (missed < 0) warn('A damaged state was repaired', new Error(`breaker '${this.name}'`));
    // A listener may cause the next transition; it finds the rest of the queue here and goes on.
    while (aside.queue !== null && aside.queue.length > 0) {
      this._entered(aside.queue.shift(), aside);
    }
    aside.queue = null;
  }

  _entered (state, aside) {
    const wasRamping = aside.ramping;
    aside.ramping = state === RAMPING;
    aside.refusal = null;
    clock.clearTimer(aside.timer);
    aside.timer = undefined;
    if (state === OPEN) {
      aside.openedAt = clock.wall();
      note(aside, this._id, true, this._given.rollingCountBuckets || BUCKETS);
      // What can wait comes after those who listen. One of them may have moved the circuit on.
      this.emit('open');
      if (this._state() === OPEN && aside.timer === undefined) this._openUntilReset();
    } else if (state === HALF_OPEN) {
      this._renewAbortController();
      this.emit('halfOpen', this._wasOpenFor());
    } else if (!wasRamping) {
      note(aside, this._id, false, this._given.rollingCountBuckets || BUCKETS);
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
    const aside = this._rare;
    aside.timer = clock.setTimer(() => {
      aside.timer = undefined;
      const remaining = native.poll(this._id);
      this._announce();
      this._waitForReset(remaining);
    }, Math.ceil(ms), false);
  }

  /** The resetTimeout, or how long it was made by repeated trips or a Retry-After. */
  _wasOpenFor () {
    const reset = this._given.resetTimeout ?? RESET_MS;
    const openFor = Math.round(this._rare.openFor);
    return typeof reset === 'number' ? Math.max(reset, openFor) : openFor;
  }

  _resetMs () {
    const reset = this._given.resetTimeout ?? RESET_MS;
    return typeof reset === 'number' ? reset : reset.initial;
  }

  _renewAbortController () {
    const { autoRenewAbortController, abortController } = this._given;
    if (autoRenewAbortController && abortController.signal.aborted) {
      this._given.abortController = new AbortController();
      const shown = this._aside?.options;
      if (shown) shown.abortController = this._given.abortController;
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
    this._aside?.status?.startListeneningForRotateEvent();
  }

  disable () {
    this._mode |= DISABLED;
    this._aside?.status?.removeRotateBucketControllerListener();
  }

  shutdown () {
    this.emit('shutdown');
    this.disable();
    this.removeAllListeners();
    this._retire();
    this.clearCache();
  }

  /** Ends its timers, and takes no more calls. Those in flight end normally. */
  _retire () {
    const aside = this._rare;
    clock.clearTimer(aside.timer);
    clock.clearTimer(aside.health);
    aside.timer = aside.health = undefined;
    aside.status?.shutdown();
    this._mode |= SHUT_DOWN;
    aside.shutIn = this._period();
    live[this._id] = undefined;
  }

  clearCache () {
    const { cacheTransport, coalesceCache } = this._given;
    if (this._mode & CACHE) guarded('cacheTransport.flush failed', () => cacheTransport.flush());
    coalesceCache?.flush();
  }

  /**
   * Calls `func` now and every `interval` ms until shutdown; when it rejects, the circuit opens.
   * @param {() => Promise<unknown>} func
   * @param {number} [interval] ms, default 5000
   */
  healthCheck (func, interval) {
    watchHealth(this, func, interval);
  }

  /** What to call when the action fails or may not be called: a function, or another breaker. */
  fallback (func) {
    this._fallback = typeof func?.fire === 'function'
      ? (...args) => func.fire(...args)
      : func;
    this._mode |= HAS_FALLBACK;
    return this;
  }

  get options () { return (this._rare.options ??= resolve(this._given)); }
  get name () {
    return this._given.name || this.action.name || (this._rare.name ??= randomName());
  }

  get group () { return this._given.group || this.name; }
  get enabled () { return (this._mode & DISABLED) === 0; }
  get isShutdown () { return (this._mode & SHUT_DOWN) !== 0; }
  get opened () { return this._state() === OPEN; }
  get halfOpen () { return this._state() === HALF_OPEN; }
  get closed () { return this._state() === CLOSED || this._state() === RAMPING; }

  get pendingClose () { return this.halfOpen && native.hasFreeProbe(this._id); }
  get warmUp () { return native.isWarming(this._id); }
  get volumeThreshold () { return this._given.volumeThreshold ?? 0; }
  /** Without `capacity` calls are counted from the first look on; until then it costs nothing. */
  get semaphore () {
    const aside = this._rare;
    if (aside.semaphore === null) {
      aside.semaphore = new Semaphore(this._given.capacity ?? Number.MAX_SAFE_INTEGER);
      this._mode |= LIMITED;
    }
    return aside.semaphore;
  }

  get status () {
    const aside = this._rare;
    if (aside.status === null) {
      aside.status = new Status({ ...this._given, stats: undefined, nativeId: this._id });
      aside.status._adopt(this._id, this);
    }
    return aside.status;
  }

  get stats () {
    const percentiles = this._given.rollingPercentilesEnabled !== false;
    const stats = readStats(this._id, percentiles);
    // The host's, or the process's; and what this thread alone has counted.
    if (isShared(this._given)) stats.local = readStats(this._id, percentiles, true);
    return stats;
  }

  /** A shut-down breaker is in no state, but calls that were in flight can still trip it. */
  _state () {
    const period = this._period();
    return this._mode & SHUT_DOWN && period === this._aside.shutIn ? -1 : period & STATE;
  }

  /** The present period, as the core keeps it current. */
  _period () { return this._cells[this._id & CELL]; }

  get _rare () { return (this._aside ??= new Aside()); }

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
        lastTimerAt: this._aside?.openedAt
      },
      status: this.stats
    };
  }

  /** The signal of the abortController option; inside an action, that of its own call. */
  getSignal () { return this._aside?.signal ?? this._given.abortController?.signal; }

  getAbortController () { return this._given.abortController; }

  _listen () {
    for (const [event, bit] of LISTENED) {
      if (this._hears(event)) this._mode |= bit;
      else this._mode &= ~bit;
    }
  }

  /** The events that opossum itself listens to come first: adapters of metrics go by this list. */
  eventNames () {
    const heard = super.eventNames();
    return this.isShutdown ? heard : [...new Set([...COUNTED_EVENTS, ...heard])];
  }

  _hears (event) { return this.listenerCount(event) > 0; }
}

module.exports = {
  ABORTABLE,
  CACHE,
  CAREFUL,
  CLOSED,
  COALESCE,
  Circuit,
  DISABLED,
  HAS_FALLBACK,
  LIMITED,
  ON_FAILURE,
  ON_FALLBACK,
  ON_FIRE,
  ON_REJECT,
  ON_SUCCESS,
  ON_TIMEOUT,
  OPEN,
  SHUT_DOWN,
  STATE,
  breakers
};
