'use strict';

// retryable(): a function that retries by itself and keeps figures.

const CircuitBreaker = require('../../lib/primitives/breaker');
const retry = require('../../lib/primitives/retry');
const { outcome, time, withClock } = require('../support/retry-helpers');

const { retryable } = retry;

withClock();

test('passes its arguments and its receiver on, each time', async () => {
  const seen = [];
  const object = {
    load: retryable(async function (...args) {
      seen.push([this, ...args]);
      if (seen.length < 3) throw new Error('no');
      return 'loaded';
    }),
  };
  expect(await outcome(object.load(1, 'two'))).toEqual({ value: 'loaded' });
  expect(seen).toEqual(Array(3).fill([object, 1, 'two']));
});

test('looks like the function it stands for', () => {
  const fn = retryable(async function load (a, b) { return a + b; });
  expect(fn.name).toBe('load');
  expect(fn).toHaveLength(2);
  expect(retry.retry).toBe(retry);
});

test('follows its options', async () => {
  let attempts = 0;
  const fn = retryable(() => { attempts++; throw new Error('no'); }, { retries: 2 });
  await outcome(fn());
  expect(attempts).toBe(3);
  expect(fn.options).toEqual({ retries: 2 });
});

test('takes delays', async () => {
  let attempts = 0;
  const fn = retryable(() => { attempts++; throw new Error('no'); }, [1, 2]);
  await outcome(fn());
  expect(attempts).toBe(3);
});

test('keeps calls apart', async () => {
  const fn = retryable(async (name, fails) => {
    if (fails.length > 0) throw fails.pop();
    return name;
  }, { retries: 3 });
  const results = Promise.all([
    fn('a', []), fn('b', [new Error(), new Error()]),
    fn('c', Array(9).fill(new Error('c'))).catch(error => error.message),
  ]);
  await time().advanceAsync(1e6);
  expect(await results).toEqual(['a', 'b', 'c']);
});

describe('stats', () => {
  test('begin with nothing', () => {
    expect(retryable(() => {}).stats).toEqual({
      calls: 0, successes: 0, failures: 0, successRate: 1, attempts: 0, retries: 0,
      successfulRetries: 0, failedRetries: 0, maxRetriesReached: 0, circuitBreakerTrips: 0,
      delays: 0, totalDelay: 0, averageDelay: 0,
    });
  });

  test('count attempts, retries, their ends and the delays', async () => {
    const fn = retryable(async (bail, fails) => {
      if (bail) throw Object.assign(new Error('bail'), { bail });
      if (fails.length > 0) throw fails.pop();
    }, { retries: 2, randomize: false });
    const times = n => Array.from({ length: n }, () => new Error('no'));
    await outcome(fn(false, [])); // One attempt.
    await outcome(fn(false, times(1))); // Two: 1 s.
    await outcome(fn(false, times(2))); // Three: 1 s, 2 s.
    await outcome(fn(false, times(3))); // Three, all in vain: 1 s, 2 s.
    await outcome(fn(true)); // One.
    expect(fn.stats).toEqual({
      calls: 5, successes: 3, failures: 2, successRate: 0.6, attempts: 10, retries: 5,
      successfulRetries: 2, failedRetries: 3, maxRetriesReached: 1, circuitBreakerTrips: 0,
      delays: 5, totalDelay: 7000, averageDelay: 1400,
    });
  });

  test('count each open period of a breaker once, however many attempts run into it', async () => {
    const breaker = new CircuitBreaker(async () => { throw new Error('down'); },
      { consecutiveFailures: 2, resetTimeout: 60_000 });
    const fn = retryable(() => breaker.fire(), [1, 1, 1]);
    await outcome(fn(), 10);
    await outcome(fn(), 10);
    expect(fn.stats).toMatchObject({ attempts: 8, circuitBreakerTrips: 1 });
    await time().advanceAsync(60_000); // The next attempt is a probe, which fails.
    await outcome(fn(), 10);
    expect(fn.stats).toMatchObject({ attempts: 12, circuitBreakerTrips: 2 });
    breaker.shutdown();
  });

  test('are a copy', async () => {
    const fn = retryable(() => 1);
    const before = fn.stats;
    await fn();
    expect(before.calls).toBe(0);
    expect(fn.stats.calls).toBe(1);
  });

  test('know calls that are under way', async () => {
    const fn = retryable(() => { throw new Error('no'); });
    const promise = fn();
    expect(fn.stats).toMatchObject({ calls: 1, successes: 0, failures: 0, attempts: 1 });
    await outcome(promise);
    expect(fn.stats).toMatchObject({ calls: 1, failures: 1, attempts: 11, maxRetriesReached: 1 });
  });
});

test('a call that is aborted beforehand counts as one without an attempt', async () => {
  const fn = retryable(() => 1, { signal: AbortSignal.abort() });
  await expect(fn()).rejects.toMatchObject({ name: 'AbortError' });
  expect(fn.stats).toMatchObject({ calls: 1, failures: 1, attempts: 0, retries: 0 });
});

test('wrong options are refused at once', () => {
  expect(() => retryable(() => {}, { retries: -1 }))
    .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
});
