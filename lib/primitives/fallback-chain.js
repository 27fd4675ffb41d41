'use strict';

// What to answer when a call has failed: strategies that are asked in turn until one answers.

const { invalidOption } = require('../base/errors');
const { isA, isList, read } = require('../base/foreign');
const { func, is, optionsOf, readable } = require('../base/options');
const { asked, guarded, warn } = require('../base/warn');
const { StaleCache, keyOf } = require('./stale-cache');

const STRATEGIES_MAX = 100;

/** What a strategy returns that does not want to answer. */
const declined = Symbol.for('sekering.declined');

const putOf = queue =>
  (typeof queue === 'function' ? queue : read(queue, 'enqueue') ?? read(queue, 'push'));

const COMMON = {
  when: is.func('false declines: (error, ...args)'),
  name: is.text('for reports; default: the kind'),
};

/**
 * The kinds of strategies. Each has an option of its own name. `make` returns how a strategy
 * answers `(error, { args, key })`; that function may have a method `remember(value, call)`.
 */
const KINDS = {
  value: {
    table: optionsOf({ value: is.any('the answer'), ...COMMON }),
    make: ({ value }) => () => ({ value }),
  },

  use: {
    table: optionsOf({ use: is.func('answers: (...args, error)', { required: true }), ...COMMON }),
    make: ({ use }) => async (error, { args }) => ({ value: await use(...args, error) }),
  },

  cache: {
    table: optionsOf({
      cache: is.object('a StaleCache, or its options'),
      key: is.func('of a copy: (...args); default: the key of the call, or its arguments as JSON'),
      ...COMMON,
    }),
    make ({ cache, key }) {
      const copies = isA(cache, StaleCache) ? cache : new StaleCache(cache);
      const keyFor = call => (key === undefined
        ? call.key ?? keyOf(undefined, call.args)
        : asked('key of a fallback failed', () => key(...call.args)));
      const answer = async (error, call) => {
        const own = keyFor(call);
        return (own === undefined ? undefined : await copies.get(own)) ?? { value: declined };
      };
      const remember = (value, call) => {
        const own = keyFor(call);
        return own === undefined ? undefined : copies.set(own, value);
      };
      return Object.assign(answer, { remember });
    },
  },

  queue: {
    table: optionsOf({
      queue: is.where('takes the call for later', 'a function, or an object with enqueue or push',
        queue => typeof putOf(queue) === 'function', { required: true }),
      ...COMMON,
    }),
    make: ({ queue }) => async (error, { args }) => {
      const put = putOf(queue);
      const job = await put.apply(queue, typeof queue === 'function' ? [...args, error] : args);
      return { value: { queued: true, error, ...job !== undefined && { job } } };
    },
  },
};

const CHAIN = optionsOf({
  onError: is.func('told of strategies that fail: (error, name); default: a process warning'),
});
const CALL = optionsOf({
  args: is.args('of the call'),
  key: is.any('of the copy in a cache'),
});

function readStrategy (given, index) {
  const place = `strategies[${index}]`;
  const strategy = Object(typeof given === 'function' ? { use: given } : given);
  const kinds = Object.keys(KINDS).filter(kind => Object.hasOwn(strategy, kind));
  if (kinds.length !== 1) {
    throw invalidOption(place,
      `a function, or an object with one of ${Object.keys(KINDS).join(', ')}`, given);
  }
  const [kind] = kinds;
  const { table, make } = KINDS[kind];
  const options = table.read(strategy, place);
  return { name: options.name ?? kind, when: options.when, answer: make(options) };
}

class Chain {
  constructor (strategies, options) {
    const count = isList(strategies) ? read(strategies, 'length') : 0;
    if (!(count >= 1 && count <= STRATEGIES_MAX)) {
      throw invalidOption('strategies', `an array of 1 to ${STRATEGIES_MAX}`, strategies);
    }
    this.onError = CHAIN.read(options).onError;
    this.strategies = readable('strategies', 'an array that can be read', strategies,
      () => Array.from(strategies, readStrategy));
  }

  async answer (error, options) {
    const { args, key } = CALL.read(options);
    for (const { name, when, answer } of this.strategies) {
      try {
        const mayAnswer = when === undefined ||
          asked(`when of the fallback '${name}' failed`, () => when(error, ...args));
        if (!mayAnswer) continue;
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

  async remember (value, options) {
    const { args, key } = CALL.read(options);
    if (key === undefined && args.length === 0) return;
    for (const { name, answer } of this.strategies) {
      try {
        await answer.remember?.(value, { args, key });
      } catch (failure) {
        this.report(failure, name);
      }
    }
  }

  async execute (fn, options) {
    func('fn', fn);
    const { args, key } = CALL.read(options);
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
 */
function fallbackChain (strategies, options) {
  const chain = new Chain(strategies, options);
  const fallback = async (...args) => {
    const error = args.pop();
    return (await chain.answer(error, { args })).value;
  };
  return Object.assign(fallback, {
    answer: (error, call) => chain.answer(error, call),
    remember: (value, call) => chain.remember(value, call),
    execute: (fn, call) => chain.execute(fn, call),
  });
}

fallbackChain.declined = declined;

module.exports = { fallbackChain };
