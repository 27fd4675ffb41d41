'use strict';

// Hedged requests: a call that has no answer after a while is made once more, and the first answer
// counts. See "The Tail at Scale" (Dean and Barroso, 2013).

const { clearTimer, now, setTimer } = require('../base/clock');
const { inheritDeadline } = require('../base/deadline');
const { invalidOption } = require('../base/errors');
const { read, reasonOf } = require('../base/foreign');
const native = require('../base/native');
const { bag, func, is, optionsOf } = require('../base/options');
const { asked, guarded, warn } = require('../base/warn');
const { RetryBudget } = require('./limits');
const { own } = require('./permits');

const HEDGES_MAX = 10;

const FIXED = is.ms('after which a call is made once more');
const QUANTILE = optionsOf({
  quantile: is.where('of the latencies so far', 'a number between 0 and 1',
    value => typeof value === 'number' && value > 0 && value < 1, { required: true }),
  min: is.ms('at least', { default: 1 }),
  max: is.ms('at most, and while there are too few latencies', { required: true }),
});
const DELAY = `${FIXED.expected}, or { quantile, min, max }`;

/** The numbers of native/core/hedge.h. A fixed delay is one without room between its bounds. */
function readDelay (option, value) {
  if (typeof value === 'number') {
    FIXED.check(option, value);
    return { quantile: 0.5, min: value, max: value };
  }
  if (typeof value !== 'object' || value === null) throw invalidOption(option, DELAY, value);
  const given = QUANTILE.read(value, option);
  if (given.min > given.max) {
    throw invalidOption(`${option}.min`, `at most max (${given.max} ms)`, given.min, RangeError);
  }
  return given;
}

// The first hedges have to be earned, so that they never are a greater share of the calls.
const BUDGET = { ratio: 0.1, reservePerSecond: 0, max: 10 };
const METHODS = ['tryWithdraw', 'deposit'];

function readBudget (option, value) {
  if (METHODS.every(name => typeof read(value, name) === 'function')) return value;
  return new RetryBudget({ ...BUDGET, ...bag(option, value) });
}

const HEDGE = optionsOf({
  // Nothing tells whether a function may be called twice at once.
  safeToRepeat: is.where('that fn may be called again while an earlier call still runs',
    'true (only calls that are safe to repeat can be hedged)', value => value === true,
    { required: true }),
  delay: {
    doc: 'after which a call without an answer is made once more', expected: DELAY, required: true,
    check: readDelay,
  },
  maxHedges: is.integer('of one call', { min: 1, max: HEDGES_MAX, default: 1 }),
  budget: {
    doc: 'no hedge without its leave; null for none',
    expected: 'a RetryBudget (with tryWithdraw and deposit), its options, or null',
    check: (option, value) => (value === null ? null : readBudget(option, value)),
  },
});
const EXECUTE = optionsOf({ signal: is.signal('ends all attempts') });

const overtaken = () => new DOMException('Another attempt was faster', 'AbortError');

/** What all calls of a hedge share. */
class Plan {
  #delay;
  #budget;
  calls = 0;
  hedges = 0;
  wins = 0;
  denied = 0;

  constructor ({ delay: { quantile, min, max }, maxHedges, budget = new RetryBudget(BUDGET) }) {
    this.maxHedges = maxHedges;
    this.#budget = budget;
    this.#delay = own(this, native.createHedgeDelay(quantile, min, max), native.destroyHedgeDelay);
  }

  get delay () { return native.hedgeDelay(this.#delay); }

  measure (ms) { native.addHedgeLatency(this.#delay, ms); }

  begin () {
    this.calls++;
    const budget = this.#budget;
    if (budget !== null) guarded('budget.deposit failed', () => budget.deposit());
  }

  /** Whether there may be a hedge. This is asked from a timer, so a budget must not throw here. */
  allows () {
    if (this.#budget !== null && !this.#withdraw()) {
      this.denied++;
      return false;
    }
    this.hedges++;
    return true;
  }

  #withdraw () {
    const what = 'budget.tryWithdraw failed';
    try {
      return Boolean(asked(what, () => this.#budget.tryWithdraw()));
    } catch (error) {
      warn(what, error);
      return false;
    }
  }
}

/** One call while it runs. */
class Race {
  #plan;
  #fn;
  #signal;
  #delay;
  #timer;
  #startedAt = now();
  #running = new Map(); // The controllers of the attempts, by number.
  #started = 0;
  #firstError;
  #isSettled = false;

  constructor (plan, fn, signal) {
    this.#plan = plan;
    this.#fn = fn;
    this.#signal = signal;
    this.#delay = plan.delay;
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }

  start () {
    this.#signal?.addEventListener('abort', this);
    this.#plan.begin();
    this.#wait();
    this.#attempt();
    return this.promise;
  }

  // As an event listener of the caller's signal; an object needs no closure.
  handleEvent () {
    const reason = reasonOf(this.#signal);
    this.#settle();
    this.reject(reason);
    this.#abort(reason);
  }

  #wait () {
    this.#timer = setTimer(() => this.#repeat(), this.#delay);
  }

  #repeat () {
    if (!this.#plan.allows()) return;
    if (this.#started < this.#plan.maxHedges) this.#wait();
    this.#attempt();
  }

  #attempt () {
    const number = this.#started++;
    const controller = new AbortController();
    inheritDeadline(controller.signal, this.#signal);
    this.#running.set(number, controller);
    const call = async () => this.#fn({ signal: controller.signal, hedge: number });
    call().then(value => this.#succeed(number, value), error => this.#fail(number, error));
  }

  #succeed (number, value) {
    if (this.#isSettled) return;
    // If another attempt answers, the first one takes at least so long.
    if (this.#running.has(0)) this.#plan.measure(now() - this.#startedAt);
    if (number > 0) this.#plan.wins++;
    this.#settle();
    this.resolve(value);
    this.#running.delete(number);
    this.#abort(overtaken());
  }

  /** The call fails when no attempt is left that runs, with the error of the first one. */
  #fail (number, error) {
    if (this.#isSettled) return;
    this.#running.delete(number);
    if (number === 0) this.#firstError = error;
    if (this.#running.size > 0) return;
    this.#settle();
    this.reject(this.#firstError);
  }

  #settle () {
    this.#isSettled = true;
    clearTimer(this.#timer);
    this.#signal?.removeEventListener('abort', this);
  }

  #abort (reason) {
    for (const controller of this.#running.values()) controller.abort(reason);
  }
}

class Hedge {
  #plan;

  /** Options as hedge() has them. */
  constructor (options) {
    this.#plan = new Plan(HEDGE.read(options));
  }

  /** How long the next call may go without an answer, ms. */
  get delay () { return this.#plan.delay; }

  get stats () {
    const { calls, hedges, wins, denied } = this.#plan;
    return { calls, hedges, wins, denied };
  }

  /** Calls `fn({ signal, hedge })`, and once more if there is no answer for a while. */
  async execute (fn, options) {
    func('fn', fn);
    const { signal } = EXECUTE.read(options);
    signal?.throwIfAborted();
    return new Race(this.#plan, fn, signal).start();
  }
}

/** Hedges calls that are safe to repeat. */
const hedge = options => new Hedge(options);

module.exports = { Hedge, hedge };
