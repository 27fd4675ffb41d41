'use strict';

// The circuit breaker: opossum's interface over the core. What happens to a call while nothing
// unusual is configured is in `fire`; everything else is in `_careful` and what it calls.

const clock = require('../base/clock');
const { isBreakerError, timedOut } = require('../base/errors');
const { isA, promiseOf } = require('../base/foreign');
const native = require('../base/native');
const { bag, func } = require('../base/options');
const { CELL, millis, record, recordSuccess, ticks } = require('../base/recorder');
const { readSignal, reasonOf } = require('../base/signal');
const { guarded, warn } = require('../base/warn');
const Call = require('./call');
const errors = require('./breaker-errors');
const MemoryCache = require('./memory-cache');
const Semaphore = require('./semaphore');
const Status = require('./status');
const { defaultKey } = require('./breaker-options');
const { retryAfterMs } = require('./classify');
const {
  ABORTABLE, CACHE, CAREFUL, CLOSED, COALESCE, Circuit, DISABLED, LIMITED, ON_FAILURE, ON_FALLBACK,
  ON_FIRE, ON_REJECT, ON_SUCCESS, ON_TIMEOUT, OPEN, SHUT_DOWN, STATE, breakers
} = require('./circuit');
const { COUNTER } = require('./stats');
const { Many, isMany, listOf } = require('./given');

const NO_PROBE = 16;
const {
  cacheHits: CACHE_HITS,
  cacheMisses: CACHE_MISSES,
  coalesceCacheHits: COALESCE_CACHE_HITS,
  coalesceCacheMisses: COALESCE_CACHE_MISSES,
  fallbacks: FALLBACKS,
  fires: FIRES,
  rejects: REJECTS,
  semaphoreRejections: SEMAPHORE_REJECTIONS
} = COUNTER;

// A failure to count an outcome must not affect the caller's promise.
const NOT_COUNTED = 'The outcome of a call was not counted';

// An upstream's Retry-After does not keep a circuit open for longer than this.
const RETRY_AFTER_MS_MAX = 3600 * 1000;

// Promises that were put into a cache: what it answers with one of them needs no waiting.
const kept = new WeakSet();

class CircuitBreaker extends Circuit {
  static isOurError (error) { return isBreakerError(error); }

  static newStatus (options) { return new Status(options); }

  // ---- Calls -----------------------------------------------------------------------------------

  /**
   * Calls the action with the arguments, if the circuit lets it pass.
   * @returns {Promise} of the action's result, the fallback's, or rejected
   */
  fire (first) {
    return arguments.length === 1 ? this._fire(first) : this._fireMany(...arguments);
  }

  _fireMany (...args) { return this._fire(new Many(args)); }

  _fire (given) {
    const period = this._cells[this._id & CELL];
    if ((this._mode & CAREFUL) !== 0) {
      return this._careful(this.action, this.action, given, null);
    }
    record(this._id, FIRES);
    if ((period & STATE) !== CLOSED) return this._admit(this.action, this.action, given);
    if (this._deadlines !== null) return this._timed(given, period);
    const started = ticks();
    try {
      const result = this._act(given);
      if (result instanceof Promise) return this._follow(result, given, started, period);
      if (typeof result?.then === 'function') {
        return this._follow(adopt(result), given, started, period);
      }
      this._pass(result, started, period);
      return Promise.resolve(result);
    } catch (error) {
      const elapsed = (ticks() - started) | 0;
      return this._failed(error, given, elapsed, period, NO_PROBE, false) ?? Promise.reject(error);
    }
  }

  _act (given) {
    const action = this.action;
    return isMany(given) ? action.apply(action, given.list) : action.call(action, given);
  }

  _follow (promise, given, started, period) {
    return promise.then(
      value => {
        this._pass(value, started, period);
        return value;
      },
      error => {
        const elapsed = (ticks() - started) | 0;
        return this._failed(error, given, elapsed, period, NO_PROBE, false) ?? promise;
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
    return this._careful(this.action, context, new Many(args), null);
  }

  /**
   * Calls `fn({ signal })` in the action's place. The signal aborts on timeout and on the caller's.
   * @param {(context: { signal: AbortSignal }) => unknown} fn
   * @param {{ signal?: AbortSignal }} [options] a call that its caller aborts counts for nothing
   * @returns {Promise} as `fire`; rejects with ERR_INVALID_OPTION
   */
  run (fn, options) {
    let signal;
    try {
      func('fn', fn);
      signal = readSignal(bag('options', options).signal);
      if (signal?.aborted) return Promise.reject(reasonOf(signal));
    } catch (error) {
      return Promise.reject(error);
    }
    const controller = new AbortController();
    const context = { signal: controller.signal };
    return this._careful(fn, undefined, context, { controller, signal });
  }

  _timed (given, period) {
    const call = new Call(this, given, period, NO_PROBE);
    try {
      const result = this._act(given);
      if (result instanceof Promise) return call.follow(result, this._deadlines);
      if (typeof result?.then === 'function') return call.follow(adopt(result), this._deadlines);
      this._pass(result, call.started, period);
      return Promise.resolve(result);
    } catch (error) {
      return call.fail(error);
    }
  }

  _careful (action, context, given, cancel) {
    if (this._mode & SHUT_DOWN) return Promise.reject(errors.shutdown());
    record(this._id, FIRES);
    if (this._mode & ON_FIRE) this.emit('fire', listOf(given));
    if (this._mode & DISABLED) return bypass(action, context, listOf(given));
    if (this._mode & (CACHE | COALESCE) && cancel === null) {
      return this._keyed(action, context, given);
    }
    return this._admit(action, context, given, undefined, cancel);
  }

  _keyed (action, context, given) {
    let key;
    let cached;
    try {
      key = (this._given.cacheGetKey ?? defaultKey).apply(this, listOf(given));
      if (this._mode & CACHE) cached = this._given.cacheTransport.get(key);
    } catch (error) {
      return Promise.reject(error);
    }
    const proceed = () => this._coalesced(action, context, given, key);
    if (!(this._mode & CACHE)) return proceed();
    if (isA(cached, Promise) && !kept.has(cached)) return this._looked(cached, proceed);
    return absent(cached) ? this._missed(proceed) : this._hit(cached);
  }

  /** An asynchronous transport: whether this is a hit shows later. */
  _looked (cached, proceed) {
    const failed = error => {
      warn('cacheTransport.get failed', error);
      return this._missed(proceed);
    };
    try {
      return cached.then(
        value => (absent(value) ? this._missed(proceed) : this._hit(value)), failed);
    } catch (error) {
      return failed(error);
    }
  }

  _hit (value) {
    record(this._id, CACHE_HITS);
    this.emit('cacheHit');
    return promiseOf(value);
  }

  _missed (proceed) {
    record(this._id, CACHE_MISSES);
    this.emit('cacheMiss');
    return proceed();
  }

  _coalesced (action, context, given, key) {
    if (!(this._mode & COALESCE)) return this._admit(action, context, given, key, null);
    const calls = this._given.coalesceCache;
    const present = calls.get(key);
    if (present !== undefined) {
      record(this._id, COALESCE_CACHE_HITS);
      this.emit('coalesceCacheHit');
      return present;
    }
    record(this._id, COALESCE_CACHE_MISSES);
    this.emit('coalesceCacheMiss');
    const ttl = this._given.coalesceTTL ?? this._deadlines?.ms;
    return this._admit(action, context, given, key, null, promise => {
      calls.set(key, promise, ttl > 0 ? clock.wall() + ttl : 0);
    });
  }

  /** Lets the call pass if state and permits allow it; `onStart` gets the promise of one. */
  _admit (action, context, given, key, cancel, onStart) {
    let probe = NO_PROBE;
    let period = this._period();
    if ((period & STATE) !== CLOSED) {
      // Whoever opened a shared circuit may have died before it told anybody.
      this._announce();
      if ((this._period() & STATE) === OPEN) return this._refuse(given);
      probe = native.admit(this._id, Math.random());
      period = this._period();
      this._announce();
      if (probe < 0) return this._refuse(given);
    }
    const semaphore = this._mode & LIMITED ? this.semaphore : null;
    if (semaphore !== null && !semaphore.test()) return this._saturated(given, period, probe);
    const call = new Call(this, given, period, probe);
    const controller = cancel?.controller ??
      (this._mode & ABORTABLE ? new AbortController() : null);
    call.extra = {
      semaphore, key, controller, unlink: undefined, promise: undefined, forgotten: false
    };
    const promise = this._start(call, action, context);
    if (!call.settled && cancel?.signal) link(call, cancel.signal);
    if (!call.extra.forgotten) onStart?.(promise);
    return promise;
  }

  _start (call, action, context) {
    const { extra } = call;
    const aside = this._rare;
    const outer = aside.signal;
    aside.signal = extra.controller?.signal ?? null;
    try {
      const result = action.apply(context, listOf(call.given));
      if (typeof result?.then === 'function') {
        extra.promise = result instanceof Promise ? result : adopt(result);
        return call.follow(extra.promise, this._deadlines);
      }
      extra.promise = Promise.resolve(result);
      call.succeed(result);
      return extra.promise;
    } catch (error) {
      return call.fail(error);
    } finally {
      aside.signal = outer;
    }
  }

  // ---- Outcomes --------------------------------------------------------------------------------

  _succeeded (value, elapsed, period, probe) {
    try {
      this._countSuccess(value, elapsed, period, probe);
    } catch (thrown) {
      warn(NOT_COUNTED, thrown);
    }
  }

  _countSuccess (value, elapsed, period, probe) {
    let trips = false;
    if (this._period() === period && (period & STATE) === CLOSED && elapsed < this._slow) {
      recordSuccess(this._id, elapsed);
    } else {
      trips = native.success(this._id, elapsed, period, probe);
      this._announce();
    }
    if (this._mode & ON_SUCCESS) this.emit('success', value, millis(elapsed));
    if (trips) this._trip(period, 0);
  }

  /** Records a failure. Returns the fallback's promise, or undefined when the call must reject. */
  _failed (error, given, elapsed, period, probe, timedOut) {
    try {
      return this._countFailure(error, given, elapsed, period, probe, timedOut);
    } catch (thrown) {
      warn(NOT_COUNTED, thrown);
      return undefined;
    }
  }

  _countFailure (error, given, elapsed, period, probe, timedOut) {
    const told = timedOut && (this._mode & ON_TIMEOUT) !== 0;
    if (told) {
      // Who listens finds it counted.
      this.status.increment('timeouts', millis(elapsed));
      this.emit('timeout', error, millis(elapsed), listOf(given));
    }
    if (this._isFiltered(error, given)) {
      if (timedOut && !told) this.status.increment('timeouts', millis(elapsed));
      this._countSuccess(error, elapsed, period, probe);
      return undefined;
    }
    const trips = native.failure(this._id, elapsed, period, probe, timedOut && !told ? 1 : 0);
    if (this._mode & ON_FAILURE) this.emit('failure', error, millis(elapsed), listOf(given));
    if (trips) this._trip(period, Math.min(retryAfterMs(error) ?? 0, RETRY_AFTER_MS_MAX));
    return this._fallback === null ? undefined : this._fallBack(error, given);
  }

  _isFiltered (error, given) {
    const { errorFilter } = this._given;
    if (!errorFilter) return false;
    try {
      return Boolean(errorFilter(error, ...listOf(given)));
    } catch (thrown) {
      warn('errorFilter failed', thrown);
      return false;
    }
  }

  _fallBack (error, given) {
    const fallback = this._fallback;
    let result;
    try {
      result = isMany(given)
        ? fallback.apply(fallback, [...given.list, error])
        : fallback.call(fallback, given, error);
    } catch (thrown) {
      return Promise.reject(thrown);
    }
    record(this._id, FALLBACKS);
    if (this._mode & ON_FALLBACK) this.emit('fallback', result, error);
    return promiseOf(result);
  }

  _refuse (given) {
    record(this._id, REJECTS);
    // One error for the whole time that the circuit is open: making one costs more than all else.
    const { error, promise } = (this._rare.refusal ??= errors.refusal());
    if (this._mode & ON_REJECT) this.emit('reject', error);
    return this._fallback === null ? promise.then() : this._fallBack(error, given);
  }

  /** No permit: this process is busy, which says nothing about the upstream. */
  _saturated (given, period, probe) {
    native.abandon(this._id, period, probe);
    record(this._id, SEMAPHORE_REJECTIONS);
    const error = errors.locked();
    this.emit('semaphoreLocked', error, 0);
    if (this._isFiltered(error, given)) {
      if (this._mode & ON_SUCCESS) this.emit('success', error, 0);
      return Promise.reject(error);
    }
    if (this._mode & ON_FAILURE) this.emit('failure', error, 0, listOf(given));
    return this._fallback === null ? Promise.reject(error) : this._fallBack(error, given);
  }

  _cancelled (period, probe) {
    native.abandon(this._id, period, probe);
  }

  _timeoutError () { return timedOut(this._deadlines.ms); }

  _usesAbort () { return (this._mode & ABORTABLE) !== 0; }

  /** Stores what a call with a key resolved with. */
  _keep (extra) {
    if (this._mode & CACHE) {
      const ttl = this._given.cacheTTL ?? 0;
      kept.add(extra.promise);
      guarded('cacheTransport.set failed', () => this._given.cacheTransport.set(
        extra.key, extra.promise, ttl > 0 ? clock.wall() + ttl : 0));
    }
    this._forget(extra, 'success');
  }

  /** Ends the sharing of a call that has settled, if its end is one of coalesceResetOn. */
  _forget (extra, event) {
    const { coalesceCache, coalesceResetOn } = this._given;
    if (coalesceCache === undefined || !coalesceResetOn.includes(event)) return;
    extra.forgotten = true;
    coalesceCache.delete(extra.key);
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
  const onAbort = () => call.cancel(reasonOf(signal));
  signal.addEventListener('abort', onAbort, { once: true });
  call.extra.unlink = () => signal.removeEventListener('abort', onAbort);
  if (signal.aborted) onAbort(); // While the action began.
}

module.exports = Object.assign(CircuitBreaker, {
  CircuitBreaker, MemoryCache, Semaphore, Status, breakers
});
