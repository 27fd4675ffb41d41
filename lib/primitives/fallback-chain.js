'use strict';

// What to answer when a call has failed: strategies that are asked in turn until one does not
// decline.

const { invalidOption } = require('../base/errors');
const { bag, func } = require('../base/options');
const { guarded, warn } = require('../base/warn');
const { StaleCache } = require('./stale-cache');

const KINDS = ['value', 'use', 'cache', 'queue'];
const STRATEGIES_MAX = 100;

/** What a strategy returns that does not want to answer. */
const declined = Symbol.for('sekering.declined');

const keyOf = args => JSON.stringify(args);

/** How each kind of strategy answers `(error, { args, key })`. */
const makers = {
  value: ({ value }) => () => ({ value }),

  use: ({ use }) => {
    func('use', use);
    return async (error, { args }) => ({ value: await use(...args, error) });
  },

  cache: ({ cache, key }) => {
    if (key !== undefined) func('key', key);
    const copies = cache instanceof StaleCache ? cache : new StaleCache(bag('cache', cache));
    const find = call => (key === undefined ? call.key ?? keyOf(call.args) : key(...call.args));
    const answer = async (error, call) => {
      const copy = await copies.get(find(call));
      return copy ?? { value: declined };
    };
    const remember = (value, call) => copies.set(find(call), value);
    return Object.assign(answer, { remember });
  },

  queue: ({ queue }) => {
    const put = typeof queue === 'function' ? queue : queue?.enqueue ?? queue?.push;
    if (typeof put !== 'function') {
      throw invalidOption('queue', 'a function, or an object with enqueue or push', queue);
    }
    return async (error, { args }) => {
      const job = await put.apply(queue, typeof queue === 'function' ? [...args, error] : args);
      return { value: job === undefined ? { queued: true, error } : { queued: true, error, job } };
    };
  },
};

function readStrategy (given, index) {
  const strategy = typeof given === 'function' ? { use: given } : given;
  const kinds = KINDS.filter(kind => strategy !== null && typeof strategy === 'object' &&
    Object.hasOwn(strategy, kind));
  if (kinds.length !== 1) {
    throw invalidOption(`strategies[${index}]`,
      `a function, or an object with one of ${KINDS.join(', ')}`, given);
  }
  const { when, name = kinds[0] } = strategy;
  if (when !== undefined) func('when', when);
  return { name, when, answer: makers[kinds[0]](strategy) };
}

class Chain {
  constructor (strategies, options) {
    const count = Array.isArray(strategies) ? strategies.length : 0;
    if (count < 1 || count > STRATEGIES_MAX) {
      throw invalidOption('strategies', `an array of 1 to ${STRATEGIES_MAX}`, strategies);
    }
    const { onError } = bag('options', options);
    if (onError !== undefined) func('onError', onError);
    this.onError = onError;
    this.strategies = strategies.map(readStrategy);
  }

  async answer (error, { args = [], key } = {}) {
    for (const { name, when, answer } of this.strategies) {
      try {
        if (when !== undefined && !when(error, ...args)) continue;
        const result = await answer(error, { args, key });
        if (result.value !== declined) return { stale: false, ageMs: 0, ...result, by: name };
      } catch (failure) {
        this.report(failure, name);
      }
    }
    throw error;
  }

  // The next strategy may still save the call, but a queue that fails must not go unseen.
  report (failure, name) {
    const what = `The fallback '${name}' failed`;
    if (this.onError === undefined) warn(what, failure);
    else guarded(what, () => this.onError(failure, name));
  }

  async remember (value, { args = [], key } = {}) {
    if (key === undefined && args.length === 0) return;
    for (const { name, answer } of this.strategies) {
      try {
        await answer.remember?.(value, { args, key });
      } catch (failure) {
        this.report(failure, name);
      }
    }
  }

  async execute (fn, { args = [], key } = {}) {
    func('fn', fn);
    let value;
    try {
      value = await fn(...args);
    } catch (error) {
      return (await this.answer(error, { args, key })).value;
    }
    await this.remember(value, { args, key });
    return value;
  }
}

/**
 * Strategies that are asked in turn when a call has failed; the first that does not decline
 * answers. If all decline or fail, the call's own error is what remains.
 *
 *     const fallback = fallbackChain([
 *       { cache: pages, when: error => error.status !== 404 },
 *       { queue: order => outbox.enqueue(order) },   // answers { queued: true, error }
 *       (order, error) => ask(otherService, order),  // may return fallbackChain.declined
 *       { value: [] },
 *     ]);
 *     new CircuitBreaker(load, { fallback });
 *     policy({ fallback, retry, breaker }).wrap(load);
 *
 * @param {Array<Function|object>} strategies 1 to 100 of: `{ value }`; `{ use }`, or the function
 *   alone, called with the call's arguments and then the error; `{ cache, key? }`, a StaleCache or
 *   its options, whose copies may be old, filled by policy() and execute(); `{ queue }`, a function
 *   called like `use`, or an object whose enqueue or push takes the arguments. Each may have
 *   `when(error, ...args)`, which declines by false, and a `name`.
 * @param {{ onError?: (error: unknown, name: string) => void }} [options] told when a strategy
 *   itself fails; a process warning unless given
 * @returns a function `(...args, error)`, with the methods `answer(error, { args, key })` (resolves
 *   with `{ value, by, stale, ageMs }`), `remember(value, { args, key })` and
 *   `execute(fn, { args, key })`
 * @throws {TypeError|RangeError} ERR_INVALID_OPTION
 */
function fallbackChain (strategies, options) {
  const chain = new Chain(strategies, options);
  const fallback = async (...given) => {
    const error = given.pop();
    return (await chain.answer(error, { args: given })).value;
  };
  return Object.assign(fallback, {
    answer: (error, call) => chain.answer(error, call),
    remember: (value, call) => chain.remember(value, call),
    execute: (fn, call) => chain.execute(fn, call),
  });
}

fallbackChain.declined = declined;

module.exports = { fallbackChain };
