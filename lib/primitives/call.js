'use strict';

// One call in flight that needs more than its promise: a timeout, a permit, a key, a signal.

const { ticks } = require('../base/recorder');
const { guarded } = require('../base/warn');
const { HAS_FALLBACK, ON_FAILURE, ON_TIMEOUT } = require('./circuit');

const UNTIMED = 0;
const TIMED = 1;
const SETTLED = 2;

// Code of the user's is called when a call times out, and may mind in which async context.
const MINDFUL = HAS_FALLBACK | ON_FAILURE | ON_TIMEOUT;

class Call {
  /**
   * @param breaker the CircuitBreaker
   * @param given the action's arguments (see ./given)
   * @param {number} period in which it was admitted
   * @param {number} probe its lease of a half-open circuit, or NO_PROBE
   */
  constructor (breaker, given, period, probe) {
    this.breaker = breaker;
    this.given = given;
    this.period = period;
    this.probe = probe;
    this.started = ticks();
    this.phase = UNTIMED;
    // Settles the caller's promise. There is no `reject`: resolving with a rejected promise does
    // the same, and a function less is made for every call.
    this.resolve = undefined;
    // Places in the list of deadlines.
    this.previous = null;
    this.next = null;
    // What only some calls have: { semaphore, key, controller, unlink, promise, forgotten }.
    this.extra = null;
  }

  get settled () { return this.phase === SETTLED; }

  /** Follows the action's promise; the result is the caller's. */
  follow (promise, deadlines) {
    const settled = new Promise(resolve => { this.resolve = resolve; });
    if (deadlines !== null) {
      this.phase = TIMED;
      deadlines.add(this);
      if ((this.breaker._mode & MINDFUL) !== 0) this.mindContext();
    }
    try {
      promise.then(value => this.succeed(value), error => { this.fail(error); });
    } catch (error) {
      // A promise whose `then` was replaced by one that throws.
      this.fail(error);
    }
    return settled;
  }

  /** Has the deadline dealt with in the async context of the caller. */
  mindContext () {
    new Promise(resolve => { this.ring = resolve; }).then(elapsed => this.expire(elapsed));
  }

  /** Takes the call off all lists. Whoever comes second finds it settled. */
  finish () {
    if (this.phase === TIMED) this.breaker._deadlines.remove(this);
    this.phase = SETTLED;
    if (this.extra !== null) this.release(this.extra);
  }

  release ({ semaphore, unlink }) {
    if (semaphore !== null) semaphore.release();
    unlink?.();
  }

  succeed (value) {
    if (this.phase === SETTLED) return;
    this.finish();
    const { breaker, extra } = this;
    breaker._succeeded(value, (ticks() - this.started) | 0, this.period, this.probe);
    if (extra !== null && extra.key !== undefined) breaker._keep(extra, value);
    if (this.resolve !== undefined) this.resolve(value);
  }

  /** The action failed: returns what the caller gets. */
  fail (error) {
    if (this.phase === SETTLED) return undefined;
    this.finish();
    const result = this.end(error, (ticks() - this.started) | 0, false);
    if (this.extra !== null) this.breaker._forget(this.extra, 'error');
    return result;
  }

  /** The deadline has passed, and the list of deadlines has let go of the call. */
  timeOut () {
    this.phase = UNTIMED;
    // The timer is shared, and so in the async context of whoever started it.
    const elapsed = (ticks() - this.started) | 0;
    if (this.ring === undefined) this.expire(elapsed);
    else this.ring(elapsed);
  }

  expire (elapsed) {
    if (this.phase === SETTLED) return;
    const { breaker, extra } = this;
    this.finish();
    this.end(breaker._timeoutError(), elapsed, true);
    if (extra === null) return;
    breaker._forget(extra, 'timeout');
    extra.controller?.abort(new DOMException('The call timed out', 'TimeoutError'));
    if (breaker._usesAbort()) {
      guarded('abortController.abort failed', () => breaker.getAbortController().abort());
    }
  }

  /** There is no deadline any more. */
  letGo () {
    this.phase = UNTIMED;
  }

  /** The caller gave up: neither a success nor a failure of the upstream. */
  cancel (reason) {
    if (this.phase === SETTLED) return;
    this.finish();
    this.breaker._cancelled(this.period, this.probe);
    this.extra.controller?.abort(reason);
    this.resolve?.(Promise.reject(reason));
  }

  end (error, elapsed, timedOut) {
    const fallback = this.breaker._failed(
      error, this.given, elapsed, this.period, this.probe, timedOut);
    const result = fallback ?? Promise.reject(error);
    if (this.resolve !== undefined) this.resolve(result);
    return result;
  }
}

module.exports = Call;
