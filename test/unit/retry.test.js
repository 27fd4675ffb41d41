'use strict';

// What retry() has in common with async-retry: options, messages, the order of events.

const asyncRetry = require('../../lib/primitives/async-retry');
const retry = require('../../lib/primitives/retry');
const { failsUntil, gaps, never, outcome, time, withClock } = require('../support/retry-helpers');

withClock();

describe('an attempt that succeeds', () => {
  test('gives its value, whether asynchronous, synchronous or a thenable', async () => {
    expect(await retry(async () => 1)).toBe(1);
    expect(await retry(() => 2)).toBe(2);
    expect(await retry(() => ({ then: resolve => resolve(3) }))).toBe(3);
    expect(await retry(() => undefined)).toBe(undefined);
    expect(await retry(() => null)).toBe(null);
    const object = {};
    expect(await retry(() => object)).toBe(object);
  });

  test('is called once, with bail and the number 1, and no receiver', async () => {
    const calls = [];
    await retry(function (...args) { calls.push([this, ...args]); });
    expect(calls).toEqual([[undefined, expect.any(Function), 1]]);
  });

  test('is called at once', () => {
    let called = false;
    retry(() => { called = true; });
    expect(called).toBe(true);
  });

  test('gives a promise in any case', async () => {
    expect(retry(() => 1)).toBeInstanceOf(Promise);
    await expect(retry(() => { throw new Error('no'); }, [])).rejects.toThrow('no');
  });
});

describe('attempts that fail', () => {
  test('are repeated until one succeeds', async () => {
    const fn = failsUntil(4);
    expect(await outcome(retry(fn))).toEqual({ value: 'attempt 4' });
    expect(fn.log).toHaveLength(4);
  });

  test('may throw before they return a promise, each time', async () => {
    let attempts = 0;
    const result = await outcome(retry(() => { throw new Error(`Test ${++attempts}`); },
      { retries: 2 }));
    expect(result.error.message).toBe('Test 3');
    expect(attempts).toBe(3);
  });

  test('may be thenables that reject', async () => {
    const fn = (bail, n) => ({ then: (yes, no) => (n < 3 ? no(new Error('not yet')) : yes(n)) });
    expect(await outcome(retry(fn))).toEqual({ value: 3 });
  });

  test('are followed by 10 more by default', async () => {
    const fn = failsUntil(Infinity);
    const { error } = await outcome(retry(fn));
    expect(error.message).toBe('attempt 11');
    expect(fn.log).toHaveLength(11);
  });

  test.each([0, 1, 3])('are followed by %i more', async retries => {
    const fn = failsUntil(Infinity);
    await outcome(retry(fn, { retries }));
    expect(fn.log).toHaveLength(retries + 1);
  });

  test('get the same bail and a rising number', async () => {
    const calls = [];
    await outcome(retry((...args) => { calls.push(args); throw new Error('no'); }, { retries: 2 }));
    expect(calls.map(([, attempt]) => attempt)).toEqual([1, 2, 3]);
    expect(calls.every(([bail]) => bail === calls[0][0])).toBe(true);
  });

  test('make the call reject with the most frequent error, the last of that kind', async () => {
    const errors = ['a', 'b', 'b', 'a', 'b', 'c'].map(message => new Error(message));
    const { error } = await outcome(retry((bail, n) => Promise.reject(errors[n - 1]),
      { retries: 5 }));
    expect(error).toBe(errors[4]);
  });

  test('make the call reject with the last error when all are equally frequent', async () => {
    const { error } = await outcome(retry(failsUntil(Infinity), { retries: 3 }));
    expect(error.message).toBe('attempt 4');
  });
});

describe('delays', () => {
  test('double from one second', async () => {
    const fn = failsUntil(6);
    await outcome(retry(fn, { randomize: false }));
    expect(gaps(fn.log)).toEqual([1000, 2000, 4000, 8000, 16000]);
  });

  test('are between the plain ones and twice those by default, and ascend', async () => {
    const fn = failsUntil(8);
    await outcome(retry(fn));
    const delays = gaps(fn.log);
    delays.forEach((delay, i) => {
      expect(delay).toBeGreaterThanOrEqual(1000 * 2 ** i);
      expect(delay).toBeLessThanOrEqual(2000 * 2 ** i);
    });
    expect(delays).toEqual(delays.toSorted((a, b) => a - b));
    expect(delays).not.toEqual([1000, 2000, 4000, 8000, 16000, 32000, 64000]);
  });

  test('ascend even where chance would have it otherwise', async () => {
    const fn = failsUntil(11);
    await outcome(retry(fn, { factor: 1 }));
    const delays = gaps(fn.log);
    expect(delays).toHaveLength(10);
    expect(delays).toEqual(delays.toSorted((a, b) => a - b));
  });

  test('follow minTimeout, maxTimeout and factor', async () => {
    const fn = failsUntil(6);
    await outcome(retry(fn, { randomize: false, minTimeout: 10, maxTimeout: 200, factor: 3 }));
    expect(gaps(fn.log)).toEqual([10, 30, 90, 200, 200]);
  });

  test('of nothing are possible', async () => {
    const fn = failsUntil(4);
    await outcome(retry(fn, { minTimeout: 0, maxTimeout: 0 }), 0);
    expect(gaps(fn.log)).toEqual([0, 0, 0]);
  });

  test('may be given as an array, which is not sorted and not changed', async () => {
    const delays = [300, 100, 200];
    const fn = failsUntil(Infinity);
    const { error } = await outcome(retry(fn, delays));
    expect(error.message).toBe('attempt 4');
    expect(gaps(fn.log)).toEqual([300, 100, 200]);
    expect(delays).toEqual([300, 100, 200]);
    expect(Object.keys(delays)).toEqual(['0', '1', '2']);
  });

  test('may be given as an empty array: no retries', async () => {
    const fn = failsUntil(Infinity);
    expect((await outcome(retry(fn, []))).error.message).toBe('attempt 1');
  });

  test('of more than 2^31 ms are waited for', async () => {
    const fn = failsUntil(2);
    const promise = retry(fn, [2 ** 31 + 1000]);
    await time().advanceAsync(2 ** 31);
    expect(fn.log).toHaveLength(1);
    await time().advanceAsync(1000);
    expect(await promise).toBe('attempt 2');
  });
});

describe('bail', () => {
  test('ends the call, and what the function does then is of no account', async () => {
    let attempts = 0;
    const { error } = await outcome(retry(async bail => {
      attempts++;
      bail(new Error('Wont retry'));
    }));
    expect(error.message).toBe('Wont retry');
    expect(attempts).toBe(1);
  });

  test('ends the call in a later attempt', async () => {
    const { error } = await outcome(retry(async (bail, n) => {
      if (n === 2) bail(new Error('Wont retry'));
      else throw new Error('retry');
    }));
    expect(error.message).toBe('Wont retry');
  });

  test('ends the call after the function has waited', async () => {
    const late = async bail => {
      await null;
      await null;
      bail(new Error('woot'));
    };
    await expect(retry(late)).rejects.toThrow('woot');
  });

  test.each([[undefined], [null], [0], ['']])('with %p gives Error("Aborted")', async reason => {
    const { error } = await outcome(retry(bail => bail(reason)));
    expect(error).toBeInstanceOf(Error);
    expect(error.message).toBe('Aborted');
  });

  test('takes any reason', async () => {
    expect((await outcome(retry(bail => bail('a string')))).error).toBe('a string');
  });

  test('counts once', async () => {
    const { error } = await outcome(retry(bail => {
      bail(new Error('first'));
      bail(new Error('second'));
      return never();
    }));
    expect(error.message).toBe('first');
  });

  test('does nothing to a call that has succeeded', async () => {
    let bail;
    expect(await retry(given => { bail = given; return 7; })).toBe(7);
    bail(new Error('late'));
    expect((await outcome(retry(() => 7))).value).toBe(7);
  });

  test('is what a true property of that name on the error means', async () => {
    let attempts = 0;
    const wrong = Object.assign(new Error('Wont retry'), { bail: true });
    const { error } = await outcome(retry(async () => { attempts++; throw wrong; }));
    expect(error).toBe(wrong);
    expect(attempts).toBe(1);
  });

  test('as a property of an error does not let an earlier one prevail', async () => {
    const { error } = await outcome(retry(async (bail, n) => {
      throw Object.assign(new Error(n < 4 ? 'same' : 'end'), { bail: n === 4 });
    }));
    expect(error.message).toBe('end');
  });
});

describe('onRetry', () => {
  test('is told of each failure that another attempt follows', async () => {
    const told = [];
    const options = {
      retries: 2, randomize: false, onRetry (...args) { told.push([this, ...args]); }
    };
    await outcome(retry(failsUntil(Infinity), options));
    expect(told).toEqual([
      [options, new Error('attempt 1'), 1],
      [options, new Error('attempt 2'), 2],
    ]);
  });

  test('is told before the pause', async () => {
    const told = [];
    retry(failsUntil(2), { onRetry: () => told.push(time().now) });
    const start = time().now;
    await time().advanceAsync(0);
    expect(told).toEqual([start]);
  });

  test('is not told of errors that end the call', async () => {
    const told = [];
    const wrong = Object.assign(new Error('no'), { bail: true });
    await outcome(retry(() => { throw wrong; }, { onRetry: error => told.push(error) }));
    expect(told).toEqual([]);
  });
});

describe('forever', () => {
  test('goes on with the last delay when the list is used up', async () => {
    const fn = failsUntil(7);
    const result = await outcome(retry(fn,
      { forever: true, retries: 3, randomize: false, minTimeout: 10 }));
    expect(result.value).toBe('attempt 7');
    expect(gaps(fn.log)).toEqual([10, 20, 40, 40, 40, 40]);
  });

  test('without any retries uses the first delay', async () => {
    const fn = failsUntil(5);
    await outcome(retry(fn, { forever: true, retries: 0, randomize: false, minTimeout: 10 }));
    expect(gaps(fn.log)).toEqual([10, 10, 10, 10]);
  });

  test('goes for an array of delays too', async () => {
    const fn = failsUntil(5);
    await outcome(retry(fn, Object.assign([5, 7], { forever: true })));
    expect(gaps(fn.log)).toEqual([5, 7, 7, 7]);
  });
});

describe('maxRetryTime', () => {
  test('plans no retry once so much time has passed', async () => {
    const fn = failsUntil(Infinity);
    const { error } = await outcome(retry(fn,
      { maxRetryTime: 5000, randomize: false, minTimeout: 1000 }));
    expect(gaps(fn.log)).toEqual([1000, 2000, 4000]);
    expect(error.message).toBe('attempt 4');
  });

  test('of 0 means no limit', async () => {
    const fn = failsUntil(Infinity);
    await outcome(retry(fn, { maxRetryTime: 0 }));
    expect(fn.log).toHaveLength(11);
  });
});

describe('options', () => {
  test('may be missing, null or false', async () => {
    expect(await retry(() => 1, undefined)).toBe(1);
    expect(await retry(() => 1, null)).toBe(1);
    expect(await retry(() => 1, false)).toBe(1);
    expect(await outcome(retry(failsUntil(3), null))).toEqual({ value: 'attempt 3' });
  });

  test('are not changed, and may be frozen', async () => {
    const options = Object.freeze({ retries: 1 });
    await outcome(retry(failsUntil(2), options));
    expect(options).toEqual({ retries: 1 });
  });

  test('that are unknown are rejected, but not by the drop-in', async () => {
    const fn = failsUntil(2);
    await expect(retry(fn, { maxTimeuot: 2000 })).rejects.toMatchObject(
      { code: 'ERR_INVALID_OPTION', message: expect.stringContaining('Did you mean maxTimeout?') });
    expect(fn.log).toEqual([]);
    expect((await outcome(asyncRetry(fn, { maxTimeuot: 2000 }))).value).toBe('attempt 2');
  });

  test('may be inherited', async () => {
    const fn = failsUntil(Infinity);
    await outcome(retry(fn, Object.create({ retries: 1 })));
    expect(fn.log).toHaveLength(2);
  });

  test('may be numbers written as text', async () => {
    const fn = failsUntil(Infinity);
    await outcome(retry(fn, { retries: '2', minTimeout: '10', randomize: false }));
    expect(gaps(fn.log)).toEqual([10, 20]);
  });

  test('that contradict each other reject, and nothing is tried', async () => {
    let called = false;
    const promise = retry(() => { called = true; }, { minTimeout: 100, maxTimeout: 10 });
    await expect(promise).rejects.toThrow('minTimeout is greater than maxTimeout');
    await expect(retry(() => {}, { maxTimeout: 10 })).rejects.toThrow('minTimeout is greater');
    expect(called).toBe(false);
  });
});
