'use strict';

// What retry() offers beyond async-retry, and which options it refuses.

const retry = require('../../lib/primitives/retry');
const { createBackoff } = require('../../lib/primitives/backoff');
const { isRetryable, NonRetryableError } = require('../../lib/primitives/classify');
const { failsUntil, gaps, outcome, time, withClock } = require('../support/retry-helpers');

withClock();
afterEach(() => jest.restoreAllMocks());

/** The delays of a call with these options that fails every time. */
async function delaysOf (options) {
  const fn = failsUntil(Infinity);
  await outcome(retry(fn, options));
  return gaps(fn.log);
}

const chance = value => jest.spyOn(Math, 'random').mockReturnValue(value);

describe('strategies', () => {
  test.each([
    ['exponential', [100, 200, 400, 800, 1600]],
    ['linear', [100, 200, 300, 400, 500]],
    ['fixed', [100, 100, 100, 100, 100]],
    ['fibonacci', [100, 100, 200, 300, 500]],
  ])('%s', async (strategy, delays) => {
    expect(await delaysOf({ strategy, minTimeout: 100, retries: 5 })).toEqual(delays);
  });

  test('decorrelated: between the first delay and three times the last one', async () => {
    const options = { strategy: 'decorrelated', minTimeout: 100, maxTimeout: 5000, retries: 50 };
    const delays = await delaysOf(options);
    delays.forEach((delay, i) => {
      expect(delay).toBeGreaterThanOrEqual(100);
      expect(delay).toBeLessThanOrEqual(Math.min(3 * (delays[i - 1] ?? 100), 5000));
    });
    expect(new Set(delays).size).toBeGreaterThan(10);
  });

  test('decorrelated, with known chance', async () => {
    chance(0.5);
    expect(await delaysOf({ strategy: 'decorrelated', minTimeout: 1000, retries: 4 }))
      .toEqual([2000, 3500, 5750, 9125]);
  });

  test('all keep to maxTimeout', async () => {
    for (const strategy of ['exponential', 'linear', 'fixed', 'fibonacci', 'decorrelated']) {
      const delays = await delaysOf({ strategy, minTimeout: 10, maxTimeout: 25, retries: 8 });
      expect(Math.max(...delays)).toBeLessThanOrEqual(25);
    }
  });

  test('go on for ever with their last delay', async () => {
    const fn = failsUntil(7);
    await outcome(retry(fn, { strategy: 'linear', minTimeout: 10, retries: 3, forever: true }));
    expect(gaps(fn.log)).toEqual([10, 20, 30, 30, 30, 30]);
  });

  test('go on for ever with a new draw each time if there is chance in them', async () => {
    const fn = failsUntil(60);
    await outcome(retry(fn, { jitter: 'full', minTimeout: 1000, retries: 2, forever: true }));
    const late = gaps(fn.log).slice(10);
    expect(new Set(late).size).toBeGreaterThan(10);
    expect(Math.max(...late)).toBeLessThanOrEqual(2000);
  });
});

describe('jitter', () => {
  test.each([
    ['none', 0.9, [1000, 2000, 4000]],
    ['full', 0, [0, 0, 0]],
    ['full', 0.5, [500, 1000, 2000]],
    ['equal', 0, [500, 1000, 2000]],
    ['equal', 0.5, [750, 1500, 3000]],
    [0.1, 0, [900, 1800, 3600]],
    [0.1, 0.5, [1000, 2000, 4000]],
    [0.1, 0.75, [1050, 2100, 4200]],
    [0, 0.75, [1000, 2000, 4000]],
  ])('%p at chance %p', async (jitter, random, delays) => {
    chance(random);
    expect(await delaysOf({ jitter, retries: 3 })).toEqual(delays);
  });

  test('goes with every strategy but decorrelated', async () => {
    chance(0.5);
    const options = { jitter: 'full', minTimeout: 100, retries: 3 };
    expect(await delaysOf({ ...options, strategy: 'linear' })).toEqual([50, 100, 150]);
    expect(await delaysOf({ ...options, strategy: 'fixed' })).toEqual([50, 50, 50]);
    expect(await delaysOf({ ...options, strategy: 'fibonacci' })).toEqual([50, 50, 100]);
  });

  test('randomize may be asked for beside a strategy', async () => {
    chance(0.5);
    expect(await delaysOf({ strategy: 'linear', randomize: true, minTimeout: 10, retries: 3 }))
      .toEqual([15, 30, 45]);
  });

  test('delays that chance made are not sorted', async () => {
    jest.spyOn(Math, 'random').mockReturnValueOnce(0.9).mockReturnValueOnce(0.1);
    expect(await delaysOf({ jitter: 'full', retries: 2 })).toEqual([900, 200]);
  });
});

describe('figures that services use', () => {
  test('payments: five retries from 1 s to 60 s, up to doubled', async () => {
    chance(0.999);
    const options = { retries: 5, minTimeout: 1000, maxTimeout: 60_000, randomize: true };
    expect(await delaysOf(options)).toEqual([1999, 3998, 7996, 15992, 31984]);
    chance(0);
    expect(await delaysOf({ ...options, retries: 7 }))
      .toEqual([1000, 2000, 4000, 8000, 16000, 32000, 60000]);
  });

  test('streaming: 1, 2, 4 s, each attempt 5 s longer than the 15 s of the first', async () => {
    const limits = [];
    const start = time().now;
    const promise = retry((bail, n, { signal }) => new Promise(() => {
      signal.addEventListener('abort', () => limits.push([n, signal.reason.message,
        time().now - start]));
    }), { retries: 3, randomize: false, attemptTimeout: { initial: 15_000, increment: 5000 } });
    const { error } = await outcome(promise);
    expect(limits).toEqual([
      [1, 'Timed out after 15000ms', 15_000],
      [2, 'Timed out after 20000ms', 36_000],
      [3, 'Timed out after 25000ms', 63_000],
      [4, 'Timed out after 30000ms', 97_000],
    ]);
    expect(error.code).toBe('ETIMEDOUT');
  });

  test('API client: three retries, 1 s doubling up to 30 s, ±10 %', async () => {
    for (let i = 0; i < 20; i++) {
      const delays = await delaysOf({ retries: 6, maxTimeout: 30_000, jitter: 0.1 });
      delays.forEach((delay, n) => {
        expect(delay).toBeGreaterThanOrEqual(Math.min(1000 * 2 ** n, 30_000) * 0.9);
        expect(delay).toBeLessThanOrEqual(Math.min(1000 * 2 ** n * 1.1, 30_000));
      });
    }
  });

  test('outbox: 1 s doubling up to a minute, for a loop of its own', () => {
    const delay = createBackoff({ minTimeout: 1000, maxTimeout: 60_000 });
    expect([0, 1, 2, 3, 4, 5, 6, 100, 1e9].map(n => delay(n)))
      .toEqual([1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000]);
  });
});

describe('shouldRetry', () => {
  test('false ends the call with the error at hand', async () => {
    const seen = [];
    const { error } = await outcome(retry(async (bail, n) => {
      throw new Error(n < 3 ? 'same' : 'other');
    }, { shouldRetry: (reason, n) => { seen.push([reason.message, n]); return n < 3; } }));
    expect(error.message).toBe('other');
    expect(seen).toEqual([['same', 1], ['same', 2], ['other', 3]]);
  });

  test('may take its time', async () => {
    const fn = failsUntil(Infinity);
    const { error } = await outcome(retry(fn, { shouldRetry: async (reason, n) => n < 2 }));
    expect(error.message).toBe('attempt 2');
  });

  test('is not asked about errors that bail', async () => {
    const shouldRetry = jest.fn(() => true);
    const wrong = new NonRetryableError('no');
    expect((await outcome(retry(() => { throw wrong; }, { shouldRetry }))).error).toBe(wrong);
    expect(shouldRetry).not.toHaveBeenCalled();
  });

  test('with isRetryable tries again what the network spoils, and nothing else', async () => {
    const attempts = async code => {
      let n = 0;
      await outcome(retry(async () => { n++; throw Object.assign(new Error(code), { code }); },
        { retries: 2, shouldRetry: isRetryable }));
      return n;
    };
    expect(await attempts('ECONNRESET')).toBe(3);
    expect(await attempts('EACCES')).toBe(1);
  });
});

describe('Retry-After', () => {
  /** The delay after an error with these details. */
  async function asks (detail, options) {
    const error = Object.assign(new Error('busy'), detail);
    const log = [];
    await outcome(retry(async () => { log.push(time().now); throw error; },
      { retries: 1, randomize: false, ...options }));
    return gaps(log)[0];
  }

  test('makes the delay longer, never shorter', async () => {
    expect(await asks({ retryAfter: 7000 })).toBe(7000);
    expect(await asks({ retryAfter: 10 })).toBe(1000);
    expect(await asks({ response: { headers: { 'Retry-After': '20' } } })).toBe(20_000);
  });

  test('goes beyond maxTimeout, but not beyond maxRetryAfter', async () => {
    expect(await asks({ retryAfter: 7000 }, { maxTimeout: 2000 })).toBe(7000);
    expect(await asks({ retryAfter: 7e9 })).toBe(60_000);
    expect(await asks({ retryAfter: Infinity }, { maxRetryAfter: 90_000 })).toBe(90_000);
  });

  test('is left alone with maxRetryAfter 0', async () => {
    expect(await asks({ retryAfter: 7000 }, { maxRetryAfter: 0 })).toBe(1000);
  });
});

describe('budget', () => {
  const budgetOf = tokens => ({
    tokens,
    tryWithdraw () { return this.tokens > 0 && this.tokens-- > 0; },
    deposit () { this.tokens++; },
  });

  test('is drawn upon by retries, and ends the call when it is empty', async () => {
    const budget = budgetOf(2);
    const fn = failsUntil(Infinity);
    const { error } = await outcome(retry(fn, { budget }));
    expect(fn.log).toHaveLength(3);
    expect(error.message).toBe('attempt 3');
    expect(budget.tokens).toBe(0);
  });

  test('earns by successes, once for each call', async () => {
    const budget = budgetOf(1);
    await retry(() => 1, { budget });
    expect(budget.tokens).toBe(2);
    await outcome(retry(failsUntil(2), { budget }));
    expect(budget.tokens).toBe(2);
  });

  test('is not drawn upon when no retries are left', async () => {
    const budget = budgetOf(5);
    await outcome(retry(failsUntil(Infinity), { budget, retries: 0 }));
    expect(budget.tokens).toBe(5);
  });
});

describe('wrong options', () => {
  const wrong = [
    ['retries', -1], ['retries', NaN], ['retries', 'many'], ['retries', {}], ['retries', true],
    ['factor', -1], ['factor', NaN], ['factor', 'two'], ['minTimeout', -1], ['minTimeout', '1s'],
    ['minTimeout', NaN], ['minTimeout', null], ['maxTimeout', -1], ['maxTimeout', NaN],
    ['maxTimeout', []], ['maxRetryTime', -1], ['maxRetryTime', 'x'], ['maxRetryAfter', -1],
    ['maxRetryAfter', '1 minute'], ['onRetry', 'x'], ['onRetry', {}], ['shouldRetry', true],
    ['strategy', 'x'], ['strategy', 3], ['strategy', null], ['jitter', 'x'], ['jitter', -0.1],
    ['jitter', 1.1], ['jitter', NaN], ['jitter', null], ['jitter', true], ['attemptTimeout', -1],
    ['attemptTimeout', NaN], ['attemptTimeout', '1s'], ['attemptTimeout', true], ['signal', {}],
    ['signal', 'x'], ['signal', true], ['budget', {}], ['budget', 5],
  ];

  test.each(wrong)('%s: %p', async (name, value) => {
    const fn = jest.fn();
    const error = await retry(fn, { [name]: value }).catch(reason => reason);
    expect([TypeError, RangeError]).toContain(error.constructor);
    expect(error.code).toBe('ERR_INVALID_OPTION');
    expect(error.option).toBe(name);
    expect(error.message).toMatch(new RegExp(`^Expected .* for ${name} but received `));
    expect(fn).not.toHaveBeenCalled();
    expect(() => retry.retryable(fn, { [name]: value })).toThrow(error);
  });

  test.each([
    ['attemptTimeout.initial', { attemptTimeout: {} }],
    ['attemptTimeout.initial', { attemptTimeout: { initial: 0 } }],
    ['attemptTimeout.increment', { attemptTimeout: { initial: 5, increment: -1 } }],
    ['attemptTimeout.max', { attemptTimeout: { initial: 5, max: 'x' } }],
    ['jitter', { jitter: 'full', randomize: true }],
    ['strategy', { strategy: 'decorrelated', jitter: 'full' }],
    ['strategy', { strategy: 'decorrelated', randomize: true }],
    ['minTimeout', { minTimeout: 5, maxTimeout: 4 }],
    ['delays[1]', [1, -1]],
    ['delays[0]', ['soon']],
    ['delays[2]', [1, 2, null]],
    ['delays[0]', [Infinity]],
    ['delays[0]', new Array(1)],
    ['options', 'x'],
    ['options', 5],
    ['options', true],
    ['options', () => {}],
  ])('%s in %p', async (name, options) => {
    await expect(retry(() => 1, options)).rejects.toMatchObject(
      { code: 'ERR_INVALID_OPTION', option: name });
  });

  test.each([[undefined], [null], [5], ['x'], [{}]])('%p for a function', async fn => {
    await expect(retry(fn)).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION', option: 'fn' });
    expect(() => retry.retryable(fn)).toThrow('a function for fn');
  });

  test('undefined stands for the default of each', async () => {
    const names = new Set(wrong.map(([name]) => name));
    const options = Object.fromEntries([...names].map(name => [name, undefined]));
    const fn = failsUntil(Infinity);
    await outcome(retry(fn, options));
    expect(fn.log).toHaveLength(11);
    expect(gaps(fn.log)[0]).toBeGreaterThanOrEqual(1000);
  });
});
