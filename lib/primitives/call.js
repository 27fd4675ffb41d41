'use strict';

// One call in flight that needs more than its promise: a timeout, a permit, a key, a signal.

const { ticks } = require('../base/recorder');

class Call {
  /**
   * @param breaker the CircuitBreaker
   * @param {unknown[]} args the action's arguments
   * @param {number} period in which it was admitted
   * @param {number} probe its lease of a half-open circuit, or NO_PROBE
   */
  constructor (breaker, args, period, probe) {
    this.breaker = breaker;
    this.args = args;
    this.period = period;
    this.probe = probe;
    this.started = ticks();
    this.timed = false;
    this.settled = false;
    this.resolve = undefined;
    this.reject = undefined;
    // Places in the list of deadlines.
    this.previous = null;
    this.next = null;
    // What only some calls have: { semaphore, key, controller, unlink, promise }.
    this.extra = null;
  }

  /** Follows the action's promise; the result is the caller's. */
  follow (promise, deadlines) {
    const settled = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    if (deadlines !== null) {
      this.timed = true;
      deadlines.add(this);
    }
    promise.then(value => this.succeed(value), error => this.fail(error));
    return settled;
  }

  /** Takes the call off all lists. Whoever comes second finds it settled. */
  finish () {
    this.settled = true;
    if (this.timed) this.breaker._deadlines.remove(this);
    if (this.extra !== null) {
      this.extra.semaphore?.release();
      this.extra.unlink?.();
    }
  }

  succeed (value) {
    if (this.settled) return;
    this.finish();
    const { breaker, extra } = this;
    breaker._succeeded(value, (ticks() - this.started) | 0, this.period, this.probe);
    if (extra !== null && extra.key !== undefined) breaker._keep(extra, value);
    this.resolve?.(value);
  }

  fail (error) {
    if (this.settled) return;
    this.finish();
    this.end(error, false);
    if (this.extra !== null) this.breaker._forget(this.extra.key, 'error');
  }

  /** The deadline has passed, and the list of deadlines has let go of the call. */
  timeOut () {
    if (this.settled) return;
    const { breaker, extra } = this;
    this.timed = false;
    this.finish();
    this.end(breaker._timeoutError(), true);
    if (extra === null) return;
    breaker._forget(extra.key, 'timeout');
    extra.controller?.abort(new DOMException('The call timed out', 'TimeoutError'));
    if (breaker._usesAbort()) breaker.getAbortController().abort();
  }

  /** The caller gave up: neither a success nor a failure of the upstream. */
  cancel (reason) {
    if (this.settled) return;
    this.finish();
    this.breaker._cancelled(this.period, this.probe);
    this.extra.controller?.abort(reason);
    this.reject?.(reason);
  }

  end (error, timedOut) {
    const elapsed = (ticks() - this.started) | 0;
    const fallback = this.breaker._failed(
      error, this.args, elapsed, this.period, this.probe, timedOut);
    if (fallback === undefined) this.reject(error);
    else this.resolve(fallback);
  }
}

module.exports = Call;
