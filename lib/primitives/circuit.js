'use strict';

// The circuit of a breaker: what it was configured with, its state, and what it tells about itself.
// The calls that pass through it are in breaker.js.

const { randomUUID } = require('node:crypto');

const Emitter = require('../base/emitter');
const clock = require('../base/clock');
const native = require('../base/native');
const { bag } = require('../base/options');
const { TICKS_PER_MS, answer, createBreaker } = require('../base/recorder');
const { guarded } = require('../base/warn');
const Deadlines = require('./deadlines');
const MemoryCache = require('./memory-cache');
const Semaphore = require('./semaphore');
const Status = require('./status');
const { check, coalesceResetOn, nativeConfig, resolve } = require('./breaker-options');
const { importStats, readStats } = require('./stats');

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

const TICKS_MAX = 2 ** 31 - 1;
const HEALTH_CHECK_MS = 5000;

const live = [];
const left = new FinalizationRegistry(id => {
  live[id] = undefined;
  native.destroyBreaker(id);
});

/** This environment's breakers that are still in use. */
function breakers () {
  return live.map(reference => reference?.deref()).filter(breaker => breaker !== undefined);
}

/** Above which latency a success may trip. A small integer, as every call is compared with it. */
const slowTicks = ms => (ms > 0 ? Math.min(Math.floor(ms * TICKS_PER_MS), TICKS_MAX) : TICKS_MAX);

class Circuit extends Emitter {
  constructor (action, options) {
    super();
    const own = { ...bag('options', options) };
    if (own.autoRenewAbortController && !own.abortController) {
      own.abortController = new AbortController();
    }
    check(own);
    if (!action) {
      throw Object.assign(new TypeError('No action provided. Cannot construct a CircuitBreaker ' +
        'without an invocable action.'), { code: 'ERR_INVALID_OPTION' });
    }
    this.action = typeof action === 'function' ? action : () => Promise.resolve(action);
    const { id, cells, at } = createBreaker(nativeConfig(own));
    this._given = own;
    this._id = id;
    this._word = id * 16;
    this._cells = cells;
    this._at = at;
    this._seen = cells[at];
    this._queue = null;
    this._name = own.name || action.name || undefined;
    this._timeoutMs = own.timeout ?? 10000;
    this._deadlines = this._timeoutMs > 0 ? new Deadlines(this._timeoutMs) : null;
    this._slow = slowTicks(own.slowCallDuration);
    this._filter = own.errorFilter ?? null;
    this._fallback = null;
    this._refusal = null;
    this._timer = undefined;
    this._openedAt = undefined;
    this._status = null;
    this._semaphore = null;
    this._mark = undefined;
    this._signal = null;
    this._mode = 0;
    live[id] = new WeakRef(this);
    left.register(this, id);
    this._configure(own);
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
    if (options.status) this._importStatus(options.status);
    if (options.rotateBucketController) this.status.startListeneningForRotateEvent();
    if (options.state) this._importState(options.state);
  }

  _importStatus (status) {
    const counted = status instanceof Status ? status : { stats: status };
    importStats(this._id, counted.stats);
    if (status instanceof Status) {
      status._adopt(this._id, this);
      this._status = status;
    }
  }

  _importState (state) {
    if (state.enabled === false) this._mode |= DISABLED;
    if (state.shutdown) {
      this.shutdown();
    } else if (state.closed === false) {
      const due = clock.wall() - state.lastTimerAt > this._resetMs();
      native.moveTo(this._id, state.halfOpen || due ? HALF_OPEN : OPEN);
      this._announce();
    }
  }

  /** Emits the transitions since the last look, in order, each once. */
  _announce () {
    if (this._cells[this._at] === this._seen) return;
    const count = native.transitions(this._id);
    this._seen = this._cells[this._at];
    this._queue ??= [];
    for (let i = 0; i < count; i++) this._queue.push(answer[1 + i]);
    // A listener may cause the next transition; it finds the rest of the queue here and goes on.
    while (this._queue !== null && this._queue.length > 0) this._entered(this._queue.shift());
    this._queue = null;
  }

  _entered (state) {
    const wasRamping = this._ramping === true;
    this._ramping = state === RAMPING;
    clock.clearTimer(this._timer);
    this._timer = undefined;
    this._refusal = null;
    if (state === OPEN) {
      this._openedAt = clock.wall();
      this._markBucket(true);
      this._waitForReset(native.poll(this._id));
      this.emit('open');
    } else if (state === HALF_OPEN) {
      this._renewAbortController();
      this.emit('halfOpen', this._resetMs());
    } else if (!wasRamping) {
      this._markBucket(false);
      this._renewAbortController();
      this.emit('close');
    }
  }

  _markBucket (open) {
    this._mark = { epoch: native.epoch(this._id), open };
  }

  _waitForReset (ms) {
    if (!(ms > 0) || this.isShutdown) return;
    this._timer = clock.setTimer(() => {
      this._timer = undefined;
      const remaining = native.poll(this._id);
      this._announce();
      this._waitForReset(remaining);
    }, Math.ceil(ms), false);
  }

  _resetMs () {
    const reset = this._given.resetTimeout ?? 30000;
    return typeof reset === 'number' ? reset : reset.initial;
  }

  _renewAbortController () {
    const { autoRenewAbortController, abortController } = this._given;
    if (autoRenewAbortController && abortController.signal.aborted) {
      this._given.abortController = new AbortController();
      if (this._options !== undefined) this._options.abortController = this._given.abortController;
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
    this._status?.startListeneningForRotateEvent();
  }

  disable () {
    this._mode |= DISABLED;
    this._status?.removeRotateBucketControllerListener();
  }

  shutdown () {
    this.emit('shutdown');
    this.disable();
    this.removeAllListeners();
    clock.clearTimer(this._timer);
    clock.clearTimer(this._health);
    this._timer = this._health = undefined;
    this._status?.shutdown();
    this._mode |= SHUT_DOWN;
    this._shutIn = this._cells[this._at];
    this.clearCache();
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
    const ms = interval || HEALTH_CHECK_MS;
    if (typeof func !== 'function') throw new TypeError('Health check function must be a function');
    if (isNaN(ms)) throw new TypeError('Health check interval must be a number');
    const ill = error => {
      if (this._mode & SHUT_DOWN) return;
      this.emit('healthCheckFailed', error);
      this.open();
    };
    const examine = () => {
      if (this._mode & SHUT_DOWN) return;
      this._health = clock.setTimer(examine, Number(ms), false);
      try {
        Promise.resolve(func.apply(this)).catch(ill);
      } catch (error) {
        ill(error);
      }
    };
    examine();
  }

  /** What to call when the action fails or may not be called: a function, or another breaker. */
  fallback (func) {
    this._fallback = typeof func?.fire === 'function'
      ? (...args) => func.fire(...args)
      : func;
    return this;
  }

  get options () { return (this._options ??= resolve(this._given)); }
  get name () { return (this._name ??= randomUUID()); }
  get group () { return this._given.group || this.name; }
  get enabled () { return (this._mode & DISABLED) === 0; }
  get isShutdown () { return (this._mode & SHUT_DOWN) !== 0; }
  get opened () { return this._state() === OPEN; }
  get halfOpen () { return this._state() === HALF_OPEN; }
  get closed () { return this._state() === CLOSED || this._state() === RAMPING; }

  get pendingClose () { return this.halfOpen && native.hasFreeProbe(this._id); }
  get warmUp () { return native.isWarming(this._id); }
  get volumeThreshold () { return this._given.volumeThreshold ?? 0; }
  get semaphore () {
    return (this._semaphore ??= new Semaphore(this._given.capacity ?? Number.MAX_SAFE_INTEGER));
  }

  get status () {
    if (this._status === null) {
      this._status = new Status({ ...this._given, stats: undefined, nativeId: this._id });
      this._status._adopt(this._id, this);
    }
    return this._status;
  }

  get stats () {
    return readStats(this._id, this._given.rollingPercentilesEnabled !== false);
  }

  /** A shut-down breaker is in no state, but calls that were in flight can still trip it. */
  _state () {
    const period = this._cells[this._at];
    return this._mode & SHUT_DOWN && period === this._shutIn ? -1 : period & STATE;
  }

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
        lastTimerAt: this._openedAt
      },
      status: this.stats
    };
  }

  /** The signal of the abortController option; inside an action, that of its own call. */
  getSignal () { return this._signal ?? this._given.abortController?.signal; }

  getAbortController () { return this._given.abortController; }

  _listen () {
    this._mode &= ~(ON_FIRE | ON_SUCCESS);
    if (this._hears('fire')) this._mode |= ON_FIRE;
    if (this._hears('success')) this._mode |= ON_SUCCESS;
  }

  _hears (event) { return this.listenerCount(event) > 0; }
}

module.exports = {
  ABORTABLE,
  CACHE,
  CLOSED,
  COALESCE,
  Circuit,
  DISABLED,
  LIMITED,
  ON_FIRE,
  ON_SUCCESS,
  OPEN,
  SHUT_DOWN,
  STATE,
  breakers
};
