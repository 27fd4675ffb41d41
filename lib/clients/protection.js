'use strict';

// The options `retry` and `breaker` of the clients, and the way through a breaker.

const { SekeringError, invalidOption } = require('../base/errors');
const { bag } = require('../base/options');
const CircuitBreaker = require('../primitives/breaker');
const { RetryPlan, WITH_DELAY } = require('../primitives/retry-run');

// One failure alone is no outage.
const VOLUME_THRESHOLD = 5;

// The options of retry() that a client takes. RetryPlan checks their values; `signal` is an option
// of each call.
const RETRY = [
  'retries', 'forever', 'minTimeout', 'maxTimeout', 'factor', 'randomize', 'strategy', 'jitter',
  'maxRetryTime', 'maxRetryAfter', 'unref', 'onRetry', 'shouldRetry', 'budget', 'attemptTimeout',
];

const call = fn => fn();

/**
 * The options for retry().
 * @param {unknown} value of the option `retry`: options laid over the preset; false or null for one
 *   attempt only
 * @param {object} preset
 * @throws {TypeError|RangeError} ERR_INVALID_OPTION
 */
function readRetry (value, preset) {
  const isOff = value === false || value === null;
  if (Array.isArray(value)) throw invalidOption('retry', 'an object or false', value);
  const own = isOff ? { retries: 0 } : bag('retry', value, RETRY);
  const options = { ...preset, ...own, [WITH_DELAY]: true };
  new RetryPlan(options); // Checks them.
  return options;
}

/** Whether the option `breaker` is a breaker, which stays its owner's. */
const isBreaker = value => typeof value?.run === 'function';

/**
 * @param {unknown} value of the option `breaker`: a breaker, or options laid over the preset; false
 *   or null for one that only calls
 * @param {object} preset has a `name`
 * @returns {CircuitBreaker} its action calls a function
 * @throws {TypeError|RangeError} ERR_INVALID_OPTION
 */
function readBreaker (value, preset) {
  if (isBreaker(value)) return value;
  if (value === false || value === null) {
    return new CircuitBreaker(call, { name: preset.name, enabled: false });
  }
  return new CircuitBreaker(call, {
    volumeThreshold: VOLUME_THRESHOLD, ...preset, ...bag('breaker', value)
  });
}

/**
 * One call through a breaker that may be the user's. Its fallback may answer in our place, and it
 * may give up by itself; neither is an answer of the upstream. Then the caller gets the failure
 * behind it.
 */
class Passage {
  #asked = false;
  #answer;
  #failure;

  /** @param {(context: { signal?: AbortSignal }) => Promise<unknown>} fn */
  constructor (fn) {
    /** What the breaker has to call. */
    this.ask = async context => {
      this.#asked = true;
      try {
        return this.#answer = { value: await fn(context) };
      } catch (error) {
        // If the breaker has stopped waiting, it says why itself.
        if (!context?.signal?.aborted) this.#failure = { error };
        throw error;
      }
    };
  }

  /** What fn answered. @param {unknown} outcome what the breaker answered */
  read (outcome) {
    if (this.#answer !== undefined && outcome === this.#answer) return this.#answer.value;
    if (this.#failure !== undefined) throw this.#failure.error;
    throw new SekeringError(this.#asked ? 'ETIMEDOUT' : 'EOPENBREAKER');
  }
}

module.exports = { Passage, isBreaker, readBreaker, readRetry };
