'use strict';

// The options `retry` and `breaker` of the clients that send messages, and the way through it.

const { SekeringError, invalidOption } = require('../base/errors');
const { bag } = require('../base/options');
const CircuitBreaker = require('../primitives/breaker');
const { retryPresets } = require('../primitives/presets');
const { RetryPlan, WITH_DELAY } = require('../primitives/retry-plan');

// One failure alone is no outage, and a message that failed once is to be tried again.
const VOLUME_MIN = 5;

const call = fn => fn();

/** Options of retry(), over retryPresets.email; false or null for one attempt only. */
function readRetry (given) {
  if (given === false || given === null) {
    return { ...retryPresets.email, retries: 0, [WITH_DELAY]: true };
  }
  if (Array.isArray(given)) throw invalidOption('retry', 'an object or false', given);
  const options = { ...retryPresets.email, ...bag('retry', given), [WITH_DELAY]: true };
  new RetryPlan(options); // Checks them.
  return options;
}

/** A breaker, the user's or one of these options; false or null for one that only calls. */
function readBreaker (given, options) {
  if (typeof given?.run === 'function') return given;
  if (given === false || given === null) {
    return new CircuitBreaker(call, { name: options.name, enabled: false });
  }
  return new CircuitBreaker(call, {
    volumeThreshold: VOLUME_MIN, ...options, ...bag('breaker', given)
  });
}

/** What a breaker has kept to itself: that it ran out of time, or let nothing pass. */
const refusal = asked => (asked
  ? new SekeringError('ETIMEDOUT', 'Timed out')
  : new SekeringError('EOPENBREAKER', 'Breaker is open'));

/**
 * The way through a breaker of which little is known: what `ask` is, is called by the breaker, and
 * `read` takes what the breaker answers. What its own fallback answers is no answer of the
 * upstream's: the failure behind it is what the caller gets.
 */
class Passage {
  #asked = false;
  #answer;
  #failure;

  /** @param {(context: { signal?: AbortSignal }) => Promise<unknown>} fn */
  constructor (fn) {
    this.ask = async context => {
      this.#asked = true;
      try {
        return this.#answer = { value: await fn(context) };
      } catch (error) {
        // The breaker has stopped waiting, and says why.
        if (!context?.signal?.aborted) this.#failure = { error };
        throw error;
      }
    };
  }

  /** What fn has answered. */
  read (outcome) {
    if (this.#answer !== undefined && outcome === this.#answer) return this.#answer.value;
    throw this.#failure === undefined ? refusal(this.#asked) : this.#failure.error;
  }
}

module.exports = { Passage, readBreaker, readRetry };
