'use strict';

// The options of retry(), checked.

const { invalidOption } = require('../base/errors');
const { func } = require('../base/options');
const { readSignal } = require('../base/signal');
const { Backoff, amount, readDelays, readRetries } = require('./backoff');

const MILLISECONDS = { min: 0, unit: 'ms' };
const LONGER_THAN_0 = { min: 1, unit: 'ms' };
const RETRY_AFTER_MS_MAX = 60_000;

/** A function, or one of the values that stand for none. */
const optional = (option, value) => (value ? func(option, value) : undefined);

/** { initial, increment, max } of the time that an attempt may take; undefined for no limit. */
function readAttemptTimeout (value) {
  if (value === undefined || value === null || value === false || value === 0) return undefined;
  if (typeof value === 'object') {
    return {
      initial: amount('attemptTimeout.initial', value.initial ?? null, 0, LONGER_THAN_0),
      increment: amount('attemptTimeout.increment', value.increment, 0, MILLISECONDS),
      max: amount('attemptTimeout.max', value.max, Infinity, LONGER_THAN_0),
    };
  }
  const initial = amount('attemptTimeout', value, 0, LONGER_THAN_0);
  return { initial, increment: 0, max: Infinity };
}

function readBudget (budget) {
  if (budget === undefined || budget === null) return undefined;
  if (typeof budget.tryWithdraw !== 'function' || typeof budget.deposit !== 'function') {
    throw invalidOption('budget', 'a RetryBudget (with tryWithdraw and deposit)', budget);
  }
  return budget;
}

// Options that matter only when an attempt has failed, and the type that they usually have.
const LATER = {
  __proto__: null,
  retries: 'number',
  factor: 'number',
  minTimeout: 'number',
  maxTimeout: 'number',
  randomize: 'boolean',
  forever: 'boolean',
  unref: 'boolean',
  onRetry: 'function',
  shouldRetry: 'function',
};

/**
 * A quick look at the options: whether they are valid, and none of them matters before the first
 * failure. A false answer says nothing.
 */
function canWait (options) {
  if (typeof options !== 'object' || Array.isArray(options)) return false;
  for (const name in options) {
    const value = options[name];
    const type = LATER[name];
    if (type === undefined || typeof value !== type) return false;
    if (type === 'number' && !(value >= 0)) return false;
  }
  const { maxTimeout } = options;
  return maxTimeout === undefined || (options.minTimeout ?? 1000) <= maxTimeout;
}

/**
 * Set among the options, has onRetry told of the delay, too. async-retry tells it of the error and
 * the attempt only, and some functions mind what else they get.
 */
const WITH_DELAY = Symbol('with delay');

class RetryPlan {
  /** @param {object|number[]} options as the user gave them */
  constructor (options) {
    if (typeof options !== 'object') throw invalidOption('options', 'an object', options);
    this.options = options;
    this.onRetry = optional('onRetry', options.onRetry);
    this.withDelay = options[WITH_DELAY] === true;
    this.shouldRetry = optional('shouldRetry', options.shouldRetry);
    this.maxRetryTime = amount('maxRetryTime', options.maxRetryTime || Infinity, 0, MILLISECONDS);
    this.maxRetryAfter = amount('maxRetryAfter', options.maxRetryAfter, RETRY_AFTER_MS_MAX,
      MILLISECONDS);
    this.attemptTimeout = readAttemptTimeout(options.attemptTimeout);
    this.signal = readSignal(options.signal);
    this.budget = readBudget(options.budget);
    this.unref = Boolean(options.unref);
    // The delays are computed when they are needed; here it is seen to that they can be.
    if (Array.isArray(options)) readDelays(options);
    else this.backoff = new Backoff(options, true);
    this.retries = readRetries(options.retries);
  }

  /** Whether something has to be done for a call that succeeds at once. */
  get watches () {
    return this.signal !== undefined || this.attemptTimeout !== undefined ||
      this.budget !== undefined || this.maxRetryTime !== Infinity;
  }

  /** How long attempt number `attempt` may take, ms; it counts from 1. */
  timeoutOf (attempt) {
    const { initial, increment, max } = this.attemptTimeout;
    return Math.min(initial + increment * (attempt - 1), max);
  }
}

module.exports = { RetryPlan, WITH_DELAY, canWait };
