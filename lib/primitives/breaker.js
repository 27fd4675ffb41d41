'use strict';

// The circuit breaker: opossum's interface over the core. What happens to a call while nothing
// unusual is configured is in `fire`; everything else is in `_careful` and what it calls.

const { randomUUID } = require('node:crypto');
const { EventEmitter } = require('node:events');

const clock = require('../base/clock');
const native = require('../base/native');
const {
  answer, createBreaker, millis, record, recordSuccess, ticks
} = require('../base/recorder');
const { guarded, warn, watch } = require('../base/warn');
const Call = require('./call');
const Deadlines = require('./deadlines');
const errors = require('./breaker-errors');
const MemoryCache = require('./memory-cache');
const Semaphore = require('./semaphore');
const Status = require('./status');
const { check, coalesceResetOn, defaultKey, nativeConfig, resolve } = require('./breaker-options');
const { retryAfterMs } = require('./classify');
const { COUNTER, importStats, readStats } = require('./stats');

// The states in the low bits of a period, as in native/core/breaker.h.
const CLOSED = 0;
const OPEN = 1;
const HALF_OPEN = 2;
const RAMPING = 3;
const STATE = 3;
const NO_PROBE = 16;

// Why a call may need care. While a breaker's mode is 0 and it is closed, `fire` does all.
const DISABLED = 1;
const SHUT_DOWN = 2;
const CACHE = 4;
const COALESCE = 8;
const LIMITED = 16;
const ABORTABLE = 32;
const ON_FIRE = 64;
const ON_SUCCESS = 128;

// An upstream's Retry-After does not keep a circuit open for longer than this.
const RETRY_AFTER_MS_MAX = 3600 * 1000;

const HEALTH_CHECK_MS = 5000;

// Promises that were put into a cache: what it answers with one of them needs no waiting.
const kept = new WeakSet();

const live = [];
const left = new FinalizationRegistry(id => {
  live[id] = undefined;
  native.destroyBreaker(id);
});

/** This environment's breakers that are still in use. */
function breakers () {
  return live.map(reference => reference?.deref()).filter(breaker => breaker !== undefined);
}

class CircuitBreaker extends EventEmitter {
  static isOurError (error) { return errors.isOurError(error); }

  static newStatus (options) { return new Status(options); }

  constructor (action, options) {
    super();
    const own = { ...options };
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
    this._slow = own.slowCallDuration ? own.slowCallDuration * 16 : Infinity;
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

  // ---- Calls -----------------------------------------------------------------------------------

  /**
   * Calls the action with `args`, if the circuit lets it pass.
   * @returns {Promise} of the action's result, the fallback's, or rejected
   */
  fire (...args) {
    const cells = this._cells;
    const at = this._at;
    const period = cells[at];
    const action = this.action;
    if (this._mode !== 0 || (period & STATE) !== CLOSED) {
      return this._careful(action, action, args, null);
    }
    record(this._word + COUNTER.fires);
    if (this._deadlines !== null) return this._timed(action, args, period);
    const started = ticks();
    let result;
    try {
      result = action.apply(action, args);
    } catch (error) {
      return this._rejected(error, args, (ticks() - started) | 0, period);
    }
    if (!(result instanceof Promise)) {
      if (typeof result?.then !== 'function') return this._sync(result, started, period);
      result = adopt(result);
    }
    return result.then(
      value => {
        const elapsed = (ticks() - started) | 0;
        if (cells[at] === period && this._mode === 0 && elapsed < this._slow) {
          recordSuccess(this._word + COUNTER.successes, elapsed);
        } else {
          this._succeeded(value, elapsed, period, NO_PROBE);
        }
        return value;
      },
      error => {
        const elapsed = (ticks() - started) | 0;
        return this._failed(error, args, elapsed, period, NO_PROBE, false) ?? result;
      });
  }

  /** As `fire`, with `this` of the action. */
  call (context, ...args) {
    return this._careful(this.action, context, args, null);
  }

  /**
   * Calls `fn({ signal })` in the action's place. The signal aborts on timeout and on the caller's.
   * @param {(context: { signal: AbortSignal }) => unknown} fn
   * @param {{ signal?: AbortSignal }} [options] a call that its caller aborts counts for nothing
   */
  run (fn, { signal } = {}) {
    if (typeof fn !== 'function') return Promise.reject(new TypeError('fn must be a function'));
    if (signal?.aborted) return Promise.reject(signal.reason);
    const controller = new AbortController();
    return this._careful(fn, undefined, [{ signal: controller.signal }], { controller, signal });
  }

  _timed (action, args, period) {
    const call = new Call(this, args, period, NO_PROBE);
    let result;
    try {
      result = action.apply(action, args);
    } catch (error) {
      call.settled = true;
      return this._rejected(error, args, (ticks() - call.started) | 0, period);
    }
    if (!(result instanceof Promise)) {
      if (typeof result?.then !== 'function') return this._sync(result, call.started, period);
      result = adopt(result);
    }
    return call.follow(result, this._deadlines);
  }

  _sync (result, started, period) {
    const elapsed = (ticks() - started) | 0;
    if (this._cells[this._at] === period && this._mode === 0 && elapsed < this._slow) {
      recordSuccess(this._word + COUNTER.successes, elapsed);
    } else {
      this._succeeded(result, elapsed, period, NO_PROBE);
    }
    return Promise.resolve(result);
  }

  _rejected (error, args, elapsed, period) {
    return this._failed(error, args, elapsed, period, NO_PROBE, false) ?? Promise.reject(error);
  }

  _careful (action, context, args, cancel) {
    if (this._mode & SHUT_DOWN) return Promise.reject(errors.shutdown());
    record(this._word + COUNTER.fires);
    if (this._mode & ON_FIRE) this.emit('fire', args);
    if (this._mode & DISABLED) return bypass(action, context, args);
    if (this._mode & (CACHE | COALESCE) && cancel === null) {
      return this._keyed(action, context, args);
    }
    return this._admit(action, context, args, undefined, cancel);
  }

  _keyed (action, context, args) {
    let key;
    let cached;
    try {
      key = (this._given.cacheGetKey ?? defaultKey).apply(this, args);
      if (this._mode & CACHE) cached = this._given.cacheTransport.get(key);
    } catch (error) {
      return Promise.reject(error);
    }
    const proceed = () => this._coalesced(action, context, args, key);
    if (!(this._mode & CACHE)) return proceed();
    if (cached instanceof Promise && !kept.has(cached)) {
      // An asynchronous transport: whether this is a hit shows later.
      return cached.then(
        value => (absent(value) ? this._missed(proceed) : this._hit(value)),
        error => {
          warn('cacheTransport.get failed', error);
          return this._missed(proceed);
        });
    }
    return absent(cached) ? this._missed(proceed) : this._hit(cached);
  }

  _hit (value) {
    record(this._word + COUNTER.cacheHits);
    this.emit('cacheHit');
    return value instanceof Promise ? value : Promise.resolve(value);
  }

  _missed (proceed) {
    record(this._word + COUNTER.cacheMisses);
    this.emit('cacheMiss');
    return proceed();
  }

  _coalesced (action, context, args, key) {
    if (!(this._mode & COALESCE)) return this._admit(action, context, args, key, null);
    const calls = this._given.coalesceCache;
    const present = calls.get(key);
    if (present !== undefined) {
      record(this._word + COUNTER.coalesceCacheHits);
      this.emit('coalesceCacheHit');
      return present;
    }
    record(this._word + COUNTER.coalesceCacheMisses);
    this.emit('coalesceCacheMiss');
    const ttl = this._given.coalesceTTL ?? this._timeoutMs;
    const call = this._admit(action, context, args, key, null, started => {
      calls.set(key, started, ttl > 0 ? clock.wall() + ttl : 0);
    });
    return call;
  }

  /** Lets the call pass if state and permits allow it. `onStart` gets the promise of one that did. */
  _admit (action, context, args, key, cancel, onStart) {
    let probe = NO_PROBE;
    if ((this._cells[this._at] & STATE) !== CLOSED) {
      const open = (this._cells[this._at] & STATE) === OPEN;
      probe = open ? -1 : native.admit(this._id, Math.random());
      this._announce();
      if (probe < 0) return this._refuse(args);
    }
    const period = this._cells[this._at];
    const semaphore = this._mode & LIMITED ? this.semaphore : null;
    if (semaphore !== null && !semaphore.test()) return this._saturated(args, period, probe);
    const call = new Call(this, args, period, probe);
    const controller = cancel?.controller ?? (this._mode & ABORTABLE ? new AbortController() : null);
    call.extra = { semaphore, key, controller, unlink: undefined, promise: undefined };
    const promise = this._start(call, action, context, args);
    if (!call.settled && cancel?.signal) link(call, cancel.signal);
    onStart?.(promise);
    return promise;
  }

  _start (call, action, context, args) {
    let result;
    const outer = this._signal;
    this._signal = call.extra.controller?.signal ?? null;
    try {
      result = action.apply(context, args);
      if (!(result instanceof Promise)) {
        if (typeof result?.then !== 'function') {
          call.extra.promise = Promise.resolve(result);
          call.succeed(result);
          return call.extra.promise;
        }
        result = adopt(result);
      }
    } catch (error) {
      return new Promise((resolve, reject) => {
        call.resolve = resolve;
        call.reject = reject;
        call.fail(error);
      });
    } finally {
      this._signal = outer;
    }
    call.extra.promise = result;
    return call.follow(result, this._deadlines);
  }

  // ---- Outcomes --------------------------------------------------------------------------------

  _succeeded (value, elapsed, period, probe) {
    let trips = false;
    if (this._cells[this._at] === period && (period & STATE) === CLOSED && elapsed < this._slow) {
      recordSuccess(this._word + COUNTER.successes, elapsed);
    } else {
      trips = native.success(this._id, elapsed, period, probe);
      this._announce();
    }
    if (this._mode & ON_SUCCESS) this.emit('success', value, millis(elapsed));
    if (trips) this._trip(period, 0);
  }

  /** Records a failure. Returns the fallback's promise, or undefined when the call must reject. */
  _failed (error, args, elapsed, period, probe, timedOut) {
    if (timedOut) this.emit('timeout', error, millis(elapsed), args);
    if (this._filter !== null && this._isFiltered(error, args)) {
      if (timedOut) this.status.increment('timeouts', millis(elapsed));
      this._succeeded(error, elapsed, period, probe);
      return undefined;
    }
    const trips = native.failure(this._id, elapsed, period, probe, timedOut ? 1 : 0);
    this.emit('failure', error, millis(elapsed), args);
    if (trips) this._trip(period, Math.min(retryAfterMs(error) ?? 0, RETRY_AFTER_MS_MAX));
    return this._fallback === null ? undefined : this._fallBack(error, args);
  }

  _isFiltered (error, args) {
    try {
      return Boolean(this._filter(error, ...args));
    } catch (thrown) {
      warn('errorFilter failed', thrown);
      return false;
    }
  }

  _fallBack (error, args) {
    let result;
    try {
      result = this._fallback.apply(this._fallback, [...args, error]);
    } catch (thrown) {
      return Promise.reject(thrown);
    }
    record(this._word + COUNTER.fallbacks);
    this.emit('fallback', result, error);
    return result instanceof Promise ? result : Promise.resolve(result);
  }

  _refuse (args) {
    record(this._word + COUNTER.rejects);
    // One error for the whole time that the circuit is open: making one costs more than all else.
    if (this._refusal === null) {
      this._refusal = Promise.reject(this._openError = errors.open());
      this._refusal.catch(() => {});
    }
    this.emit('reject', this._openError);
    return this._fallback === null ? this._refusal.then() : this._fallBack(this._openError, args);
  }

  /** No permit: this process is busy, which says nothing about the upstream. */
  _saturated (args, period, probe) {
    native.abandon(this._id, period, probe);
    record(this._word + COUNTER.semaphoreRejections);
    const error = errors.locked();
    this.emit('semaphoreLocked', error, 0);
    this.emit('failure', error, 0, args);
    return this._fallback === null ? Promise.reject(error) : this._fallBack(error, args);
  }

  _cancelled (period, probe) {
    native.abandon(this._id, period, probe);
  }

  _timeoutError () { return errors.timedOut(this._timeoutMs); }

  _usesAbort () { return (this._mode & ABORTABLE) !== 0; }

  /** Stores what a call with a key resolved with. */
  _keep (extra) {
    if (this._mode & CACHE) {
      const ttl = this._given.cacheTTL ?? 0;
      kept.add(extra.promise);
      guarded('cacheTransport.set failed', () => this._given.cacheTransport.set(
        extra.key, extra.promise, ttl > 0 ? clock.wall() + ttl : 0));
    }
    this._forget(extra.key, 'success');
  }

  _forget (key, event) {
    const { coalesceCache, coalesceResetOn } = this._given;
    if (coalesceCache !== undefined && coalesceResetOn.includes(event)) coalesceCache.delete(key);
  }

  // ---- State -----------------------------------------------------------------------------------

  _trip (period, resetMin) {
    native.trip(this._id, period, resetMin);
    this._announce();
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
    this._fallback = func instanceof CircuitBreaker || typeof func?.fire === 'function'
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

  // ---- Events ----------------------------------------------------------------------------------

  /** Calls every listener, whatever another one throws: an error becomes a process warning. */
  emit (event, ...args) {
    if (this.listenerCount(event) === 0) return event === 'error' ? super.emit(event, ...args) : false;
    for (const listener of this.rawListeners(event)) {
      try {
        watch(`A listener of '${String(event)}' failed`, listener.apply(this, args));
      } catch (error) {
        warn(`A listener of '${String(event)}' failed`, error);
      }
    }
    return true;
  }

  _listen () {
    this._mode &= ~(ON_FIRE | ON_SUCCESS);
    if (this.listenerCount('fire') > 0) this._mode |= ON_FIRE;
    if (this.listenerCount('success') > 0) this._mode |= ON_SUCCESS;
    return this;
  }

  on (event, listener) {
    super.on(event, listener);
    return this._listen();
  }

  prependListener (event, listener) {
    super.prependListener(event, listener);
    return this._listen();
  }

  removeListener (event, listener) {
    super.removeListener(event, listener);
    return this._listen();
  }

  removeAllListeners (...events) {
    super.removeAllListeners(...events);
    return this._listen();
  }
}

CircuitBreaker.prototype.addListener = CircuitBreaker.prototype.on;
CircuitBreaker.prototype.off = CircuitBreaker.prototype.removeListener;

const absent = value => value === undefined || value === null;

/** A foreign promise, or anything with a `then`, as a promise of ours. */
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
function bypass (action, context, args) {
  try {
    const result = action.apply(context, args);
    return typeof result?.then === 'function' ? result : Promise.resolve(result);
  } catch (error) {
    return Promise.reject(error);
  }
}

function link (call, signal) {
  const onAbort = () => call.cancel(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  call.extra.unlink = () => signal.removeEventListener('abort', onAbort);
}

module.exports = Object.assign(CircuitBreaker, { CircuitBreaker, MemoryCache, Semaphore, Status, breakers });
