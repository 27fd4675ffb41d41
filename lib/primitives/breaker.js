'use strict';

// The circuit breaker: opossum's interface over the core. What happens to a call while nothing
// unusual is configured is in `fire`; everything else is in `_careful` and what it calls.

const clock = require('../base/clock');
const native = require('../base/native');
const { millis, record, recordSuccess, ticks } = require('../base/recorder');
const { guarded, warn } = require('../base/warn');
const Call = require('./call');
const errors = require('./breaker-errors');
const MemoryCache = require('./memory-cache');
const Semaphore = require('./semaphore');
const Status = require('./status');
const { defaultKey } = require('./breaker-options');
const { retryAfterMs } = require('./classify');
const {
  ABORTABLE, CACHE, CLOSED, COALESCE, Circuit, DISABLED, LIMITED, ON_FIRE, ON_SUCCESS, OPEN,
  SHUT_DOWN, STATE, breakers
} = require('./circuit');
const { COUNTER } = require('./stats');

const NO_PROBE = 16;

// An upstream's Retry-After does not keep a circuit open for longer than this.
const RETRY_AFTER_MS_MAX = 3600 * 1000;

// Promises that were put into a cache: what it answers with one of them needs no waiting.
const kept = new WeakSet();

class CircuitBreaker extends Circuit {
  static isOurError (error) { return errors.isOurError(error); }

  static newStatus (options) { return new Status(options); }

  // ---- Calls -----------------------------------------------------------------------------------

  /**
   * Calls the action with `args`, if the circuit lets it pass.
   * @returns {Promise} of the action's result, the fallback's, or rejected
   */
  fire (...args) {
    const period = this._cells[this._at];
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
      if (!(result instanceof Promise)) {
        if (typeof result?.then !== 'function') return this._sync(result, started, period);
        result = adopt(result);
      }
      return result.then(
        value => {
          const elapsed = (ticks() - started) | 0;
          if (this._cells[this._at] === period && this._mode === 0 && elapsed < this._slow) {
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
    } catch (error) {
      return this._rejected(error, args, (ticks() - started) | 0, period);
    }
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
      if (!(result instanceof Promise)) {
        if (typeof result?.then !== 'function') return this._sync(result, call.started, period);
        result = adopt(result);
      }
    } catch (error) {
      return call.fail(error);
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

  /** Lets the call pass if state and permits allow it; `onStart` gets the promise of one. */
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
    const controller = cancel?.controller ??
      (this._mode & ABORTABLE ? new AbortController() : null);
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
      return call.fail(error);
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

  _trip (period, resetMin) {
    native.trip(this._id, period, resetMin);
    this._announce();
  }
}

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

module.exports = Object.assign(CircuitBreaker, {
  CircuitBreaker, MemoryCache, Semaphore, Status, breakers
});
