'use strict';

// The options `retry` and `breaker` of the clients, and the way through a breaker.

const { SekeringError, invalidOption } = require('../base/errors');
const { isList, read } = require('../base/foreign');
const { bag } = require('../base/options');
const CircuitBreaker = require('../primitives/breaker');
const { RetryPlan, WITH_DELAY, readShouldRetry } = require('../primitives/retry-run');

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
 * The option `retry`: options laid over the preset; false or null for one attempt only. The client
 * knows better than the preset which errors to retry.
 */
function readRetry (value, preset) {
  const isOff = value === false || value === null;
  if (isList(value)) throw invalidOption('retry', 'an object or false', value);
  const names = read(value, 'signal') === undefined ? [...RETRY, 'signal'] : RETRY;
  const own = isOff ? { retries: 0 } : bag('retry', value, names);
  const options = { ...preset, shouldRetry: undefined, ...own, [WITH_DELAY]: true };
  new RetryPlan(options); // Checks them.
  if (options.shouldRetry) options.shouldRetry = readShouldRetry(options.shouldRetry);
  return options;
}

/** Whether the option `breaker` is a breaker, which stays its owner's. */
const isBreaker = value => typeof read(value, 'run') === 'function';

/**
 * The option `breaker`: a breaker, or options laid over the preset; false or null for one that only
 * calls. The action of the result calls a function.
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
 * Calls fn({ signal }) through a breaker that may be the user's. Its fallback may answer in our
 * place, and it may give up by itself; neither is an answer of the upstream. Then the caller gets
 * the failure behind it. `countsAbort` is as in breaker.run().
 */
async function callThrough (breaker, fn, signal, countsAbort) {
  let asked = false;
  let answer;
  let failure;
  const outcome = await breaker.run(async context => {
    asked = true;
    try {
      return answer = { value: await fn(context) };
    } catch (error) {
      // If the breaker has stopped waiting, it says why itself.
      if (!context?.signal?.aborted) failure = { error };
      throw error;
    }
  }, { signal, countsAbort });
  if (answer !== undefined && outcome === answer) return answer.value;
  if (failure !== undefined) throw failure.error;
  throw new SekeringError(asked ? 'ETIMEDOUT' : 'EOPENBREAKER');
}

module.exports = { callThrough, isBreaker, readBreaker, readRetry };
