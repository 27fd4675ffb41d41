'use strict';

// Delays between attempts: the options are read here, the arithmetic is the core's.

const { invalidOption } = require('../base/errors');
const native = require('../base/native');
const { number, oneOf, bag } = require('../base/options');

// The positions are the values of BackoffStrategy and Jitter in native/core/backoff.h.
const STRATEGIES = ['exponential', 'linear', 'fixed', 'fibonacci', 'decorrelated'];
const JITTERS = ['none', 'full', 'equal', 'proportional', 'randomize'];

// A list of delays is not longer than this; retries beyond it wait as long as its last one.
const DELAYS_MAX = 1000;
// An endless list is not written down further than this: it has long reached its limit by then.
const ENDLESS_DELAYS = 100;

/** A number, or text that is one, which the packages this stands in for take as well. */
function amount (option, value, fallback, bounds) {
  if (value === undefined) return fallback;
  const written = typeof value === 'string' && value.trim() !== '' && !Number.isNaN(Number(value));
  return number(option, written ? Number(value) : value, bounds);
}

const AT_LEAST_0 = { min: 0 };
const MILLISECONDS = { min: 0, unit: 'ms' };
const FINITE = { min: 0, max: Number.MAX_SAFE_INTEGER, unit: 'ms' };

/** `retries` as a whole number or Infinity; null means none, a fraction counts as a whole one. */
function readRetries (value) {
  return value === null ? 0 : Math.ceil(amount('retries', value, 10, AT_LEAST_0));
}

/** The name of the jitter and, for a number, its share. */
function readJitter (value, randomize) {
  if (value === undefined) return [randomize ? 'randomize' : 'none', 0];
  if (typeof value === 'number') {
    return ['proportional', number('jitter', value, { min: 0, max: 1 })];
  }
  if (value !== 'none' && value !== 'full' && value !== 'equal') {
    throw invalidOption('jitter', "'none', 'full', 'equal' or a number from 0 to 1", value,
      typeof value === 'string' ? RangeError : TypeError);
  }
  return [value, 0];
}

/** One way to compute delays, with all options resolved. */
class Backoff {
  /**
   * @param {object} options see createBackoff
   * @param {boolean} randomize what counts when neither strategy, jitter nor randomize is given
   */
  constructor (options, randomize) {
    const { strategy, jitter } = options;
    const own = strategy !== undefined || jitter !== undefined;
    this.strategy = strategy === undefined ? 'exponential'
      : oneOf('strategy', strategy, STRATEGIES);
    this.randomize = Boolean('randomize' in options ? options.randomize : randomize && !own);
    [this.jitter, this.proportion] = readJitter(jitter, this.randomize);
    this.minTimeout = amount('minTimeout', options.minTimeout, 1000, MILLISECONDS);
    this.maxTimeout = amount('maxTimeout', options.maxTimeout, Infinity, MILLISECONDS);
    this.factor = amount('factor', options.factor, 2, AT_LEAST_0);
    this.strategyCode = STRATEGIES.indexOf(this.strategy);
    this.jitterCode = JITTERS.indexOf(this.jitter);
    this.check();
  }

  check () {
    if (this.minTimeout > this.maxTimeout) {
      // The message is part of what callers of the `retry` package know.
      const error = new RangeError('minTimeout is greater than maxTimeout');
      throw Object.assign(error, { code: 'ERR_INVALID_OPTION', option: 'minTimeout' });
    }
    if (this.randomize && this.jitter !== 'randomize') {
      throw invalidOption('jitter', 'no value beside randomize: true', this.jitter, RangeError);
    }
    if (this.strategy === 'decorrelated' && this.jitter !== 'none') {
      throw invalidOption('strategy', 'one other than decorrelated, which is random by itself, ' +
        `beside ${this.randomize ? 'randomize: true' : 'jitter'}`, this.strategy, RangeError);
    }
  }

  /**
   * @param {number} retry 0 for the first retry
   * @param {number} [previous] the delay before the retry before this one, ms
   * @returns {number} ms
   */
  delay (retry, previous = 0) {
    return native.backoffDelay(this.strategyCode, this.jitterCode, retry, this.minTimeout,
      this.maxTimeout, this.factor, this.proportion, Math.random(), previous);
  }

  /** Whether the delays are those of the `retry` package, which are sorted and end in the last. */
  get classic () {
    if (this.strategy !== 'exponential') return false;
    return this.jitter === 'none' || this.jitter === 'randomize';
  }

  /** The first `count` delays, ms. */
  list (count) {
    const delays = [];
    let previous = 0;
    for (let i = 0; i < count; i++) {
      previous = this.delay(i, previous);
      delays.push(previous);
    }
    return this.classic ? delays.sort((a, b) => a - b) : delays;
  }

  /**
   * A function for the delays after the list, as long as its last one. By chance alone that one
   * may be very short, so it is drawn anew unless chance can only make it longer.
   */
  beyond (list) {
    let previous = list.length > 0 ? list[list.length - 1] : this.delay(0);
    if (this.classic) return () => previous;
    const retry = Math.max(list.length - 1, 0);
    return () => (previous = this.delay(retry, previous));
  }
}

/** How many of so many retries have a delay that is written down in advance. */
const listLength = retries =>
  (retries === Infinity ? ENDLESS_DELAYS : Math.min(retries, DELAYS_MAX));

/** Checks delays that the user wrote down, and copies them. */
const readDelays = delays =>
  Array.from(delays, (delay, i) => amount(`delays[${i}]`, delay ?? null, 0, FINITE));

/**
 * The delays of one series of attempts: `list` is written down, `further` more are got by
 * calling `beyond`.
 * @param {object|number[]} options as the user gave them
 * @param {boolean} randomize what counts when nothing is said about it
 * @returns {{ list: number[], further: number, beyond: () => number }}
 */
function planDelays (options, randomize) {
  if (Array.isArray(options)) {
    const list = readDelays(options);
    const last = list.length > 0 ? list[list.length - 1] : 1;
    return { list, further: options.forever ? Infinity : 0, beyond: () => last };
  }
  const backoff = new Backoff(options, randomize);
  const retries = readRetries(options.retries);
  const length = listLength(retries);
  const list = backoff.list(options.forever ? Math.max(length, 1) : length);
  const further = options.forever ? Infinity : Math.max(retries - list.length, 0);
  return { list, further, beyond: backoff.beyond(list) };
}

/**
 * A function that computes delays, for loops of your own.
 *
 *     const delay = createBackoff({ minTimeout: 1000, maxTimeout: 60000 });
 *     delay(0); // 1000
 *     delay(3); // 8000
 *
 * @param {object} [options]
 * @param {string} [options.strategy] 'exponential' (default), 'linear', 'fixed', 'fibonacci' or
 *   'decorrelated'
 * @param {string|number} [options.jitter] 'none' (default), 'full', 'equal' or p from 0 to 1
 *   for ±p
 * @param {boolean} [options.randomize=false] multiplies by 1 to 2, as async-retry does it
 * @param {number} [options.minTimeout=1000] the unit, ms
 * @param {number} [options.maxTimeout=Infinity] no delay is longer, ms
 * @param {number} [options.factor=2] of the exponential strategy
 * @returns {(retry: number, previous?: number) => number} `retry` counts from 0; `previous`, the
 *   delay before, is used by 'decorrelated' only
 * @throws {TypeError|RangeError} ERR_INVALID_OPTION
 */
function createBackoff (options) {
  const backoff = new Backoff(bag('options', options), false);
  return (retry, previous) => backoff.delay(retry, previous);
}

module.exports = {
  createBackoff, planDelays, Backoff, amount, readDelays, readRetries,
};
