'use strict';

// How long one attempt may take.

const { withDeadline } = require('../base/deadline');
const { bag, func, number } = require('../base/options');
const { readSignal } = require('../base/signal');

const LONGER_THAN_0 = { min: 1, unit: 'ms' };
const MILLISECONDS = { min: 0, unit: 'ms' };

/** Ends attempts that take too long, each of them alone. */
class Timeout {
  /**
   * @param {number|{ initial: number, increment?: number, max?: number }} limit ms, from 1;
   *   Infinity for none. With `increment`, each attempt may take so much longer than the one before
   *   it, up to `max`.
   * @throws {TypeError|RangeError} ERR_INVALID_OPTION
   */
  constructor (limit) {
    const growing = typeof limit === 'object' && limit !== null;
    const { initial, increment = 0, max = Infinity } = growing ? limit : { initial: limit };
    this.initial = number(growing ? 'timeout.initial' : 'timeout', initial, LONGER_THAN_0);
    this.increment = number('timeout.increment', increment, MILLISECONDS);
    this.max = number('timeout.max', max, LONGER_THAN_0);
  }

  /** How long attempt number `attempt` may take, ms; it counts from 1. */
  limitOf (attempt) {
    return Math.min(this.initial + this.increment * (attempt - 1), this.max);
  }

  /**
   * Calls `fn({ signal, attempt })` and waits for it as long as the attempt may take.
   * @template T
   * @param {(context: { signal: AbortSignal, attempt: number }) => T | PromiseLike<T>} fn its
   *   signal aborts when the time is over, and when the caller's does
   * @param {{ signal?: AbortSignal, attempt?: number }} [options]
   * @returns {Promise<T>} rejects with code ETIMEDOUT when the time is over, with the signal's
   *   reason when that aborts
   */
  async execute (fn, options) {
    func('fn', fn);
    const { signal, attempt = 1 } = bag('options', options);
    number('attempt', attempt, { min: 1, integer: true });
    const outer = readSignal(signal);
    outer?.throwIfAborted();
    return withDeadline(outer, this.limitOf(attempt), own => fn({ signal: own, attempt }));
  }
}

module.exports = { Timeout };
