'use strict';

// A time limit for each attempt.

const { withDeadline } = require('../base/deadline');
const { func, is, optionsOf } = require('../base/options');

const LIMIT = is.ms('for one attempt; Infinity for no limit', { min: 1, required: true });
const GROWING_LIMIT = optionsOf({
  initial: LIMIT,
  increment: is.ms('more for each further attempt', { default: 0 }),
  max: is.ms('at most', { min: 1, default: Infinity }),
});
const EXECUTE = optionsOf({
  signal: is.signal('ends the attempt'),
  attempt: is.integer('number of the attempt', { min: 1, default: 1 }),
});

/** Ends attempts that take too long, each of them alone. */
class Timeout {
  /**
   * @param {number|{ initial: number, increment?: number, max?: number }} limit ms
   * @throws {TypeError|RangeError} ERR_INVALID_OPTION
   */
  constructor (limit) {
    const isGrowing = typeof limit === 'object' && limit !== null;
    const { initial, increment, max } = isGrowing
      ? GROWING_LIMIT.read(limit, 'timeout')
      : { initial: LIMIT.check('timeout', limit), increment: 0, max: Infinity };
    this.initial = initial;
    this.increment = increment;
    this.max = max;
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
    const { signal, attempt } = EXECUTE.read(options);
    signal?.throwIfAborted();
    return withDeadline(signal, this.limitOf(attempt), own => fn({ signal: own, attempt }));
  }
}

module.exports = { Timeout };
