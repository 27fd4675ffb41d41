'use strict';

// The options `retry` and `breaker` of the clients that send messages.

const { invalidOption } = require('../base/errors');
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

module.exports = { readBreaker, readRetry };
