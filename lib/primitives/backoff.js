'use strict';

// Delays between attempts. The options are read here; the arithmetic is the core's.

const { invalidOption, optionError } = require('../base/errors');
const native = require('../base/native');
const { is, number, optionsOf, readable } = require('../base/options');

// The positions are the values of BackoffStrategy and Jitter in native/core/backoff.h.
const STRATEGIES = ['exponential', 'linear', 'fixed', 'fibonacci', 'decorrelated'];
const JITTERS = ['none', 'full', 'equal', 'proportional', 'randomize'];

/** The same option, whose values go through `change` before its check. */
const changed = (option, change) =>
  ({ ...option, check: (name, value) => option.check(name, change(value)) });

/** A number, or text that is one, as in an environment variable. */
const amount = (doc, spec) => changed(is.number(doc, spec), value => {
  const isText = typeof value === 'string' && value.trim() !== '';
  return isText && !Number.isNaN(Number(value)) ? Number(value) : value;
});

// The same message as that of the `retry` package, because programs may compare it.
const CONTRADICTION = 'minTimeout is greater than maxTimeout';

const JITTER_EXPECTED = "'none', 'full', 'equal' or a number from 0 to 1";

function checkJitter (option, value) {
  if (typeof value === 'number') return number(option, value, { min: 0, max: 1 });
  if (value === 'none' || value === 'full' || value === 'equal') return value;
  throw invalidOption(option, JITTER_EXPECTED, value,
    typeof value === 'string' ? RangeError : TypeError);
}

const BACKOFF = {
  strategy: is.oneOf('how delays grow', STRATEGIES, { default: 'exponential' }),
  jitter: {
    doc: 'how chance changes them; a number p for ±p', expected: JITTER_EXPECTED,
    check: checkJitter,
  },
  randomize: is.any('multiplies each delay by 1 to 2'),
  minTimeout: amount('the first delay', { min: 0, default: 1000, unit: 'ms' }),
  maxTimeout: amount('no delay is longer', { min: 0, default: Infinity, unit: 'ms' }),
  factor: amount('by which exponential delays grow', { min: 0, default: 2 }),
};
const BACKOFF_OPTIONS = optionsOf(BACKOFF);

const ATTEMPTS = amount('how often at most; null for none', { min: 0, default: 10 });
const TIME = amount('no retry is planned later; 0 for no limit',
  { min: 0, default: Infinity, unit: 'ms' });

/** The options of a series of attempts. */
const SERIES = {
  ...BACKOFF,
  retries: { ...ATTEMPTS, check: (name, value) => Math.ceil(ATTEMPTS.check(name, value ?? 0)) },
  forever: is.any('no end of retries', { default: false }),
  maxRetryTime: changed(TIME, value => value || Infinity),
};

/** The name of the jitter, and the share for a number. */
function jitterOf (jitter, randomize) {
  if (jitter === undefined) return [randomize ? 'randomize' : 'none', 0];
  return typeof jitter === 'number' ? ['proportional', jitter] : [jitter, 0];
}

function checkTogether ({ strategy, minTimeout, maxTimeout }, jitter, randomize) {
  if (minTimeout > maxTimeout) throw optionError(RangeError, 'minTimeout', CONTRADICTION);
  if (randomize && jitter !== 'randomize') {
    throw invalidOption('jitter', 'no value (randomize is true)', jitter, RangeError);
  }
  if (strategy === 'decorrelated' && jitter !== 'none') {
    throw invalidOption('strategy', 'one other than decorrelated, which is random by itself, ' +
      `beside ${randomize ? 'randomize: true' : 'jitter'}`, strategy, RangeError);
  }
}

// Their index among the numbers that rulesOf() returns.
const RETRIES = 6;

/**
 * The numbers by which the core computes delays and decides on retries (RetryRulesOf in
 * native/core/retry.h).
 */
function rulesOf (options, randomize) {
  const [jitter, proportion] = jitterOf(options.jitter, randomize);
  checkTogether(options, jitter, randomize);
  const { strategy, minTimeout, maxTimeout, factor, forever, retries = 0 } = options;
  const { maxRetryTime = Infinity, maxRetryAfter = 0 } = options;
  return Float64Array.of(STRATEGIES.indexOf(strategy), JITTERS.indexOf(jitter), minTimeout,
    maxTimeout, factor, proportion, forever ? Infinity : retries, maxRetryTime, maxRetryAfter);
}

const delayOf = (rules, retry, previous = 0) =>
  native.backoffDelay(rules, retry, Math.random(), previous);

// ---- A series of attempts ----------------------------------------------------------------------

const DELAY_MS_MAX = 1e15; // As kDelayMsMax in native/core/backoff.h.

/** A delay as setTimeout takes it: a value that is not a number, or less than 1, becomes 1. */
const toDelay = value => (value >= 1 ? Math.min(value, DELAY_MS_MAX) : 1);

const DELAY = amount('a delay', { min: 0, max: Number.MAX_SAFE_INTEGER, unit: 'ms' });
const REPEATING = {
  strategy: 'exponential', jitter: undefined, minTimeout: 0, maxTimeout: Infinity, factor: 1,
};

/** The delays of any number of series, and the rules by which the core decides what follows. */
class Series {
  static of (options, randomize) {
    const series = new Series(rulesOf(options, randomize));
    series.length = native.delaysInAdvance(options.retries, options.forever ? 1 : 0);
    return series;
  }

  /** Of delays that the user wrote down. If there are more retries, the last one repeats itself. */
  static ofList (delays, options) {
    const list = Float64Array.from(delays);
    return new Series(rulesOf({ ...options, ...REPEATING, retries: list.length }, false), list);
  }

  /**
   * Makes a series from unchecked delays, for the drop-ins. It ends before the first undefined
   * delay.
   */
  static asGiven (delays, { forever, maxRetryTime }) {
    const end = delays.indexOf(undefined);
    const list = Float64Array.from(end === -1 ? delays : delays.slice(0, end), toDelay);
    const limit = Number(maxRetryTime || Infinity);
    return new Series(rulesOf({
      ...REPEATING, forever, retries: list.length,
      maxRetryTime: Number.isNaN(limit) ? Infinity : limit,
    }, false), list);
  }

  constructor (rules, list) {
    this.rules = rules;
    this.list = list;
    this.length = 0;
  }

  /** The delays of one series, ms: a copy of its own, as decide() may change it. */
  draw () {
    if (this.list !== undefined) return this.list.slice();
    const delays = new Float64Array(this.length);
    for (let i = 0; i < delays.length; i++) delays[i] = Math.random();
    native.drawDelays(this.rules, delays);
    return delays;
  }

  /** Whether there is no end of retries. */
  get endless () { return this.rules[RETRIES] === Infinity; }

  /** Makes an endless series end with its list. */
  end () { this.rules[RETRIES] = this.list.length; }
}

// What the core decides, instead of a delay: minus a RetryStep of native/core/retry.h.
const ASK_BUDGET = -1;
const NOT_RETRYABLE = -2;
const OUT_OF_TIME = -3;
const EXHAUSTED = -4;
// BudgetVerdict of native/core/retry.h.
const NO_BUDGET = 0;
const NOT_ASKED = 1;
const GRANTED = 2;
const DENIED = 3;

/**
 * Asks the core what follows a failed attempt. `attempt` counts from 1; times are ms, `elapsed`
 * since the first attempt began, `retryAfter` as the upstream asked, `left` until the caller's
 * deadline. The budget is asked only if all else allows a retry. Returns how long to wait, ms, or
 * one of the negative constants.
 */
function decide (series, delays, failed) {
  const { attempt, elapsed, retryable = true, retryAfter = 0, left = Infinity, budget } = failed;
  const random = series.list === undefined && attempt > delays.length ? Math.random() : 0;
  const ask = verdict => native.decideRetry(series.rules, delays, attempt, elapsed,
    retryable ? 1 : 0, retryAfter, verdict, random, left);
  const decision = ask(budget === undefined ? NO_BUDGET : NOT_ASKED);
  return decision === ASK_BUDGET ? ask(budget.tryWithdraw() ? GRANTED : DENIED) : decision;
}

/** Checks delays that the user wrote down, and copies them. */
const readDelays = delays => readable('delays', 'an array that can be read', delays,
  () => Array.from(delays, (delay, i) => DELAY.check(`delays[${i}]`, delay ?? null)));

/** A function that computes delays, for loops of your own: `delay(retry, previous)`, from 0. */
function createBackoff (options) {
  const read = BACKOFF_OPTIONS.read(options);
  const rules = rulesOf(read, Boolean(read.randomize));
  return (retry, previous) => delayOf(rules, retry, previous);
}

module.exports = {
  CONTRADICTION, EXHAUSTED, NOT_RETRYABLE, OUT_OF_TIME, SERIES, Series, amount, createBackoff,
  decide, readDelays, toDelay,
};
