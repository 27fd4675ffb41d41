'use strict';

// One call of retry(): its attempts, from the first to the one that settles it.

const clock = require('../base/clock');
const { SekeringError } = require('../base/errors');
const { read } = require('../base/foreign');
const { reasonOf } = require('../base/signal');
const { guarded } = require('../base/warn');
const { planDelays } = require('./backoff');
const { retryAfterMs } = require('./classify');
const { mainError, remember } = require('./failures');

/** What the function that is tried gets beside `bail` and the number of the attempt. */
class AttemptContext {
  #controller;
  #outer;

  constructor (outer, own) {
    this.#outer = outer;
    if (own) this.#controller = new AbortController();
  }

  /** Aborted when the attempt takes too long, and when the caller aborts. */
  get signal () {
    return this.#controller === undefined ? this.#outer : this.#controller.signal;
  }

  abort (reason) {
    this.#controller?.abort(reason);
  }
}

// Where the promise that is made next leaves its handles: cheaper than a closure for each.
let resolveNext;
let rejectNext;
const takeHandles = (resolve, reject) => {
  resolveNext = resolve;
  rejectNext = reject;
};

class RetryRun {
  /**
   * @param {(bail: Function, attempt: number, context?: AttemptContext) => unknown} fn
   * @param {RetryPlan} plan
   * @param {RetryStats} [stats]
   */
  constructor (fn, plan, stats) {
    this.fn = fn;
    this.plan = plan;
    this.stats = stats;
    this.promise = new Promise(takeHandles); // Of the whole call.
    this.resolve = resolveNext;
    this.reject = rejectNext;
    this.bail = undefined;
    this.attempt = 0; // The number of the last attempt, which is `running` unless that is 0.
    this.running = 0;
    this.settled = false;
    this.startedAt = 0;
    this.failures = undefined; // From the first one on: { errors, delays }.
    this.timer = undefined; // Of the pause, or of the attempt.
    this.context = undefined;
    this.onAbort = undefined;
  }

  /** Makes the first attempt; the others follow by themselves. */
  start () {
    this.bail = reason => this.stop(reason);
    this.stats?.call();
    if (this.plan.watches) this.watch();
    if (!this.settled) this.run();
    return this.promise;
  }

  /** Goes on after a first attempt that was made outside. `bail` is what it was given. */
  goOn (error, bail) {
    this.bail = bail;
    this.attempt = this.running = 1;
    this.fail(error, 1);
    return this.promise;
  }

  watch () {
    const { signal, maxRetryTime } = this.plan;
    if (maxRetryTime !== Infinity) this.startedAt = clock.wall();
    if (signal === undefined) return;
    if (signal.aborted) {
      this.finish(reasonOf(signal));
      return;
    }
    this.onAbort = () => {
      const reason = reasonOf(signal);
      const { context } = this;
      this.finish(reason);
      context?.abort(reason);
    };
    signal.addEventListener('abort', this.onAbort, { once: true });
  }

  /** Makes one attempt. Never throws. */
  run () {
    const { fn, plan } = this;
    const attempt = ++this.attempt;
    this.running = attempt;
    this.stats?.begin(attempt);
    const plain = plan.signal === undefined && plan.attemptTimeout === undefined;
    try {
      const result = plain ? fn(this.bail, attempt) : fn(this.bail, attempt, this.enter(attempt));
      Promise.resolve(result).then(value => this.succeed(value, attempt),
        error => this.fail(error, attempt));
    } catch (error) {
      this.fail(error, attempt);
    }
  }

  /** What an attempt needs that can be ended from outside. */
  enter (attempt) {
    const { signal, attemptTimeout, unref } = this.plan;
    this.context = new AttemptContext(signal, attemptTimeout !== undefined);
    if (attemptTimeout !== undefined) {
      const ms = this.plan.timeoutOf(attempt);
      this.timer = clock.setTimer(() => this.expire(attempt, ms), ms, !unref);
    }
    return this.context;
  }

  expire (attempt, ms) {
    const { context } = this;
    const error = new SekeringError('ETIMEDOUT', `Timed out after ${ms}ms`);
    this.fail(error, attempt);
    context.abort(error);
  }

  succeed (value, attempt) {
    if (this.settled || this.running !== attempt) return;
    this.release();
    const { budget } = this.plan;
    if (budget !== undefined) guarded('budget.deposit failed', () => budget.deposit());
    this.stats?.succeed(attempt);
    this.resolve(value);
  }

  /** An attempt has failed; what an attempt that was given up does later, is of no account. */
  fail (error, attempt) {
    if (this.settled || this.running !== attempt) return;
    this.running = 0;
    this.context = undefined;
    clock.clearTimer(this.timer);
    try {
      this.decide(error);
    } catch (thrown) {
      this.finish(thrown);
    }
  }

  decide (error) {
    const { shouldRetry } = this.plan;
    const verdict = !read(error, 'bail') &&
      (shouldRetry === undefined || shouldRetry(error, this.attempt));
    if (typeof read(verdict, 'then') !== 'function') {
      this.proceed(error, verdict);
      return;
    }
    Promise.resolve(verdict).then(value => this.proceed(error, value))
      .catch(thrown => this.finish(thrown));
  }

  /** Ends the call, or plans the next attempt. */
  proceed (error, verdict) {
    if (this.settled) return; // By what shouldRetry did.
    if (!verdict) {
      this.finish(error);
      return;
    }
    this.failures ??= { errors: [], delays: planDelays(this.plan.options, true) };
    const { errors } = this.failures;
    remember(errors, error);
    const delay = this.delayAfter(error);
    if (delay === undefined) {
      this.finish(mainError(errors));
      return;
    }
    this.timer = clock.setTimer(() => this.run(), delay, !this.plan.unref);
    this.stats?.pause(delay);
    this.notify(error, delay);
  }

  /** How long to wait for the next attempt, ms; undefined if there is none. */
  delayAfter (error) {
    const { budget, maxRetryAfter, maxRetryTime } = this.plan;
    if (clock.wall() - this.startedAt >= maxRetryTime) return undefined;
    const own = this.nextDelay();
    if (own === undefined) {
      this.stats?.exhaust();
      return undefined;
    }
    if (budget !== undefined && !budget.tryWithdraw()) return undefined;
    const asked = maxRetryAfter === 0 ? 0 : retryAfterMs(error) ?? 0;
    return Math.max(own, Math.min(asked, maxRetryAfter));
  }

  nextDelay () {
    const { delays, errors } = this.failures;
    const i = this.attempt - 1;
    if (i < delays.list.length) return delays.list[i];
    if (i >= delays.list.length + delays.further) return undefined;
    // Whoever retries for ever wants to know of the last error only.
    if (delays.further === Infinity) errors.splice(0, errors.length - 1);
    return delays.beyond();
  }

  notify (error, delay) {
    const { onRetry, options, withDelay } = this.plan;
    if (onRetry === undefined) return;
    const result = withDelay
      ? onRetry.call(options, error, this.attempt, delay)
      : onRetry.call(options, error, this.attempt);
    if (typeof read(result, 'then') === 'function') {
      Promise.resolve(result).catch(thrown => this.finish(thrown));
    }
  }

  /** What the user's bail() does. */
  stop (reason) {
    this.finish(reason || new Error('Aborted'));
  }

  /** Ends the call with an error. */
  finish (error) {
    if (this.settled) return;
    this.release();
    this.stats?.fail();
    this.reject(error);
  }

  release () {
    this.settled = true;
    clock.clearTimer(this.timer);
    if (this.onAbort !== undefined) {
      this.plan.signal.removeEventListener('abort', this.onAbort);
      this.onAbort = undefined;
    }
  }
}

module.exports = { RetryRun };
