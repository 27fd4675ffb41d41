'use strict';

// Bulkhead, rate limiter and retry budget, at the ends of their limits.

const {
  AdaptiveLimiter, Bulkhead, RateLimiter, RetryBudget,
} = require('../../lib/primitives/limits');
const { useVirtualClock } = require('../../lib/testing/virtual-clock');

/** What became of a promise: { value } or { error }. */
const settle = promise => promise.then(value => ({ value }), error => ({ error }));

/** A promise with its handles outside. */
function defer () {
  const handles = {};
  handles.promise = new Promise((resolve, reject) => Object.assign(handles, { resolve, reject }));
  return handles;
}

/** Lets everything run that waits for settled promises only. */
const turns = async () => { for (let i = 0; i < 20; i++) await undefined; };

let time;
beforeEach(() => { time = useVirtualClock(); });
afterEach(() => time.restore());

describe.each([
  ['Bulkhead', options => new Bulkhead({ maxConcurrent: 1, maxQueue: 0, ...options })],
  ['Adaptive limiter', options => new AdaptiveLimiter({ max: 1, maxQueue: 0, ...options })],
])('priorities of a %s', (name, make) => {
  const never = () => new Promise(() => {});

  /** Calls that wait behind one that runs; they log their name. Returns what became of them. */
  function queueUp (limit, calls) {
    const order = [];
    const running = defer();
    limit.execute(() => running.promise);
    const outcomes = calls.map(([call, priority]) =>
      settle(limit.execute(() => { order.push(call); }, { priority })));
    const end = () => {
      running.resolve();
      return Promise.all(outcomes);
    };
    return { order, outcomes, end };
  }

  test('higher ones begin first, and equal ones in turn; the default is 5', async () => {
    const { order, end } = queueUp(make({ maxQueue: 20 }), [
      ['a', 5], ['b', 0], ['c', 9], ['d', undefined], ['e', 6], ['f', 9], ['g', 4], ['h', 0],
    ]);
    await end();
    expect(order.join('')).toBe('cfeadgbh');
  });

  test('in a full line, a higher one takes the place of the last of the lowest', async () => {
    const limit = make({ maxQueue: 3 });
    const { order, outcomes, end } = queueUp(limit, [
      ['a', 3], ['b', 1], ['c', 1], ['equal', 1], ['lower', 0], ['d', 2],
      ['late', 1],
    ]);
    await turns();
    expect(limit.queued).toBe(3);
    const errors = (await end()).map(({ error }) => error?.message);
    expect(order.join('')).toBe('adb');
    const full = `${name} is full`;
    const displaced = `${full}: a call of higher priority waits instead`;
    expect(errors).toEqual(
      [undefined, undefined, displaced, full, full, undefined, full]);
    expect((await outcomes[2]).error.code).toBe('EBULKHEADFULL');
    expect([limit.active, limit.queued]).toEqual([0, 0]);
  });

  test('a call that has begun keeps its place', async () => {
    const limit = make();
    limit.execute(never, { priority: 0 });
    await expect(limit.execute(never, { priority: 9 })).rejects
      .toMatchObject({ code: 'EBULKHEADFULL', message: `${name} is full` });
  });

  test('those that abort, time out or are displaced leave nothing behind', async () => {
    const limit = make({ maxQueue: 2, queueTimeout: 100 });
    const controller = new AbortController();
    limit.execute(never);
    const aborted = settle(limit.execute(never, { priority: 9, signal: controller.signal }));
    const displaced = settle(limit.execute(never, { priority: 1 }));
    const late = settle(limit.execute(never, { priority: 2 }));
    controller.abort('enough');
    await time.advance(100);
    expect(await aborted).toEqual({ error: 'enough' });
    expect((await displaced).error.message).toContain('higher priority');
    expect((await late).error.message).toContain('within 100ms');
    expect(limit.queued).toBe(0);
  });

  test.each([-1, 10, 1.5, NaN, '5', null])('%p is none', async priority => {
    await expect(make().execute(never, { priority })).rejects
      .toMatchObject({ code: 'ERR_INVALID_OPTION', option: 'priority' });
  });
});

describe('Bulkhead', () => {
  /** An action whose calls are held until they are released, one by one. */
  function held () {
    const calls = [];
    const action = () => {
      const call = defer();
      calls.push(call);
      return call.promise;
    };
    return { calls, action };
  }

  test('runs maxConcurrent at once and rejects the rest', async () => {
    const bulkhead = new Bulkhead({ maxConcurrent: 2 });
    const { calls, action } = held();
    const running = [bulkhead.execute(action), bulkhead.execute(action)];
    expect(calls).toHaveLength(2);
    expect(bulkhead.active).toBe(2);
    await expect(bulkhead.execute(action)).rejects
      .toMatchObject({ code: 'EBULKHEADFULL', message: 'Bulkhead is full' });
    calls[0].resolve('a');
    calls[1].reject(new Error('b'));
    expect(await Promise.all(running.map(settle)))
      .toEqual([{ value: 'a' }, { error: new Error('b') }]);
    expect(bulkhead.active).toBe(0);
  });

  test('a place comes back after every outcome', async () => {
    const bulkhead = new Bulkhead({ maxConcurrent: 1 });
    const thenable = { then: resolve => resolve('thenable') };
    const outcomes = [
      [() => 'value', { value: 'value' }],
      [() => undefined, { value: undefined }],
      [() => { throw new Error('thrown'); }, { error: new Error('thrown') }],
      [() => Promise.reject(undefined), { error: undefined }],
      [() => thenable, { value: 'thenable' }],
    ];
    for (const [fn, expected] of outcomes) {
      expect(await settle(bulkhead.execute(fn))).toEqual(expected);
      expect(bulkhead.active).toBe(0);
    }
  });

  test('the line is bounded, and served in order', async () => {
    const bulkhead = new Bulkhead({ maxConcurrent: 1, maxQueue: 2 });
    const { calls, action } = held();
    const order = [];
    const all = ['a', 'b', 'c'].map(name => bulkhead.execute(action).then(() => order.push(name)));
    expect([bulkhead.active, bulkhead.queued]).toEqual([1, 2]);
    await expect(bulkhead.execute(action)).rejects.toMatchObject({ code: 'EBULKHEADFULL' });
    for (let i = 0; i < 3; i++) {
      expect(calls).toHaveLength(i + 1);
      calls[i].resolve();
      await all[i];
      await turns();
    }
    expect(order).toEqual(['a', 'b', 'c']);
    expect([bulkhead.active, bulkhead.queued]).toEqual([0, 0]);
  });

  test('nobody who comes later takes the place that one in the line was handed', async () => {
    const bulkhead = new Bulkhead({ maxConcurrent: 1, maxQueue: 1 });
    const order = [];
    const first = defer();
    const done = bulkhead.execute(() => first.promise);
    const second = bulkhead.execute(() => { order.push('second'); });
    done.then(() => settle(bulkhead.execute(() => { order.push('late'); })));
    first.resolve();
    await Promise.all([done, second]);
    await turns();
    expect(order[0]).toBe('second');
  });

  test('queueTimeout takes a call out of the line', async () => {
    const bulkhead = new Bulkhead({ maxConcurrent: 1, maxQueue: 5, queueTimeout: 100 });
    const { calls, action } = held();
    bulkhead.execute(action);
    const early = settle(bulkhead.execute(action));
    await time.advance(60);
    const late = settle(bulkhead.execute(action));
    await time.advance(40);
    expect((await early).error)
      .toMatchObject({ code: 'EBULKHEADFULL', message: 'Bulkhead is full: no place within 100ms' });
    expect(bulkhead.queued).toBe(1);
    calls[0].resolve();
    await turns();
    expect(calls).toHaveLength(2);
    await time.advance(1000);
    calls[1].resolve('in time');
    expect(await late).toEqual({ value: 'in time' });
  });

  test('aborting takes a waiting call out of the line, from any place', async () => {
    const bulkhead = new Bulkhead({ maxConcurrent: 1, maxQueue: 5 });
    const { calls, action } = held();
    bulkhead.execute(action);
    const controllers = [0, 1, 2, 3].map(() => new AbortController());
    const all = controllers.map(({ signal }) => settle(bulkhead.execute(action, { signal })));
    controllers[1].abort(new Error('gave up'));
    controllers[3].abort(new Error('so did I'));
    expect(bulkhead.queued).toBe(2);
    expect(await all[1]).toEqual({ error: new Error('gave up') });
    expect(await all[3]).toEqual({ error: new Error('so did I') });
    calls[0].resolve();
    await turns();
    calls[1].resolve('first');
    expect(await all[0]).toEqual({ value: 'first' });
    await turns();
    calls[2].resolve('third');
    expect(await all[2]).toEqual({ value: 'third' });
    expect([bulkhead.active, bulkhead.queued]).toEqual([0, 0]);
  });

  test('a call that is aborted when it is handed its place gives it to the next', async () => {
    const bulkhead = new Bulkhead({ maxConcurrent: 1, maxQueue: 2 });
    const { calls, action } = held();
    const controller = new AbortController();
    const first = bulkhead.execute(action);
    const never = jest.fn();
    const second = settle(bulkhead.execute(never, { signal: controller.signal }));
    const third = bulkhead.execute(() => 'third');
    // Runs right after the bulkhead's own reaction, which hands the place over.
    calls[0].promise.then(() => {
      expect(bulkhead.queued).toBe(1);
      controller.abort(new Error('too late'));
    });
    calls[0].resolve();
    await first;
    expect(await second).toEqual({ error: new Error('too late') });
    expect(await third).toBe('third');
    expect(never).not.toHaveBeenCalled();
    expect(bulkhead.active).toBe(0);
  });

  test('an aborted signal is never let in; others are passed on and left alone', async () => {
    const bulkhead = new Bulkhead({ maxConcurrent: 1, maxQueue: 1 });
    const fn = jest.fn(() => 1);
    const reason = new Error('before');
    await expect(bulkhead.execute(fn, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(fn).not.toHaveBeenCalled();
    const { signal } = new AbortController();
    await bulkhead.execute(fn, { signal });
    expect(fn).toHaveBeenCalledWith({ signal });
    await bulkhead.execute(fn);
    expect(fn).toHaveBeenLastCalledWith({ signal: undefined });
  });
});

describe('RateLimiter', () => {
  test('takes the burst at once and then as tokens arrive', async () => {
    const limiter = new RateLimiter({ limit: 10, interval: 1000, burst: 3 });
    expect([1, 2, 3, 4].map(() => limiter.tryTake())).toEqual([true, true, true, false]);
    await time.advance(99);
    expect(limiter.tryTake()).toBe(false);
    await time.advance(1);
    expect(limiter.tryTake()).toBe(true);
    await time.advance(200);
    expect(limiter.available).toBeCloseTo(2);
    expect(limiter.tryTake(3)).toBe(false);
    expect(limiter.tryTake(2)).toBe(true);
    await time.advance(3600000);
    expect(limiter.available).toBe(3);
  });

  test('without maxWait, a call that has no token is told when to come back', async () => {
    const limiter = new RateLimiter({ limit: 1, interval: 1000 });
    expect(await limiter.execute(() => 'first')).toBe('first');
    await time.advance(250);
    await expect(limiter.execute(() => 'second')).rejects.toMatchObject({
      code: 'ERATELIMITED', retryAfterMs: 750, message: 'Rate limit reached: retry in 750ms',
    });
    await time.advance(750);
    expect(await limiter.execute(() => 'third')).toBe('third');
  });

  test('with maxWait, calls wait in order, and no longer than that', async () => {
    const limiter = new RateLimiter({ limit: 10, interval: 1000, burst: 1, maxWait: 250 });
    const order = [];
    const call = name => limiter.execute(() => { order.push(name); });
    const all = ['a', 'b', 'c'].map(call);
    await expect(call('d')).rejects.toMatchObject({ code: 'ERATELIMITED', retryAfterMs: 300 });
    expect(limiter.queued).toBe(2);
    expect(limiter.tryTake()).toBe(false);
    await time.advance(99);
    expect(order).toEqual(['a']);
    await time.advance(1);
    expect(order).toEqual(['a', 'b']);
    await time.advance(100);
    expect(order).toEqual(['a', 'b', 'c']);
    await Promise.all(all);
    expect(limiter.queued).toBe(0);
  });

  test('a call may cost several tokens, and then keeps those behind it waiting', async () => {
    const limiter = new RateLimiter({ limit: 10, interval: 1000, burst: 5, maxWait: 5000 });
    const order = [];
    limiter.tryTake(5);
    const call = (name, tokens) => limiter.execute(() => { order.push(name); }, { tokens });
    const all = [call('big', 5), call('small', 1)];
    await time.advance(499);
    expect(order).toEqual([]);
    await time.advance(1);
    expect(order).toEqual(['big']);
    await time.advance(100);
    expect(order).toEqual(['big', 'small']);
    await Promise.all(all);
  });

  test('aborting takes a call out of the line, and the next moves up', async () => {
    const limiter = new RateLimiter({ limit: 1, interval: 1000, burst: 2, maxWait: 9000 });
    limiter.tryTake(2);
    const controller = new AbortController();
    const order = [];
    const big = settle(limiter.execute(() => { order.push('big'); },
      { tokens: 2, signal: controller.signal }));
    const small = limiter.execute(() => { order.push('small'); });
    await time.advance(500);
    controller.abort(new Error('gave up'));
    expect(await big).toEqual({ error: new Error('gave up') });
    await time.advance(500);
    expect(order).toEqual(['small']);
    await small;
    await expect(limiter.execute(() => 1, { signal: AbortSignal.abort(new Error('no')) }))
      .rejects.toThrow('no');
  });

  test('over any stretch of time no more than limit and burst are let in', async () => {
    const limiter = new RateLimiter({ limit: 7, interval: 1000, burst: 4 });
    const taken = [];
    for (let ms = 0; ms < 5000; ms += 9) {
      if (limiter.tryTake()) taken.push(ms);
      await time.advance(9);
    }
    expect(taken.length).toBe(4 + 34);
    for (let i = 11; i < taken.length; i++) {
      expect(taken[i] - taken[i - 11]).toBeGreaterThanOrEqual(1000);
    }
  });

  test('works on the real clock', async () => {
    time.restore();
    const limiter = new RateLimiter({ limit: 100, interval: 1000, burst: 1, maxWait: 1000 });
    const start = performance.now();
    await Promise.all([1, 2, 3, 4, 5].map(() => limiter.execute(() => {})));
    const took = performance.now() - start;
    expect(took).toBeGreaterThan(39);
  });
});

describe('RetryBudget', () => {
  test('ten successes pay for one retry', () => {
    const budget = new RetryBudget({ reservePerSecond: 0 });
    for (let i = 0; i < 10; i++) {
      expect(budget.tryWithdraw()).toBe(false);
      budget.deposit();
    }
    expect(budget.balance()).toBeCloseTo(1);
    expect([budget.tryWithdraw(), budget.tryWithdraw()]).toEqual([true, false]);
  });

  test('a reserve comes by itself', async () => {
    const budget = new RetryBudget({ ratio: 0, reservePerSecond: 2 });
    expect([1, 2, 3].map(() => budget.tryWithdraw())).toEqual([true, true, false]);
    await time.advance(500);
    expect([budget.tryWithdraw(), budget.tryWithdraw()]).toEqual([true, false]);
    await time.advance(60000);
    expect(budget.balance()).toBe(2);
  });

  test('at most max are saved', () => {
    const budget = new RetryBudget({ ratio: 1, reservePerSecond: 0, max: 3 });
    for (let i = 0; i < 100; i++) budget.deposit();
    expect(budget.balance()).toBe(3);
  });

  test('has defaults', () => {
    const budget = new RetryBudget();
    expect(budget.balance()).toBe(10);
    for (let i = 0; i < 5000; i++) budget.deposit();
    expect(budget.balance()).toBe(110);
  });
});

describe('bad input', () => {
  const rate = { limit: 1, interval: 1000 };
  test.each([
    [Bulkhead, undefined, 'maxConcurrent'],
    [Bulkhead, null, 'options'],
    [Bulkhead, { maxConcurrent: 0 }, 'maxConcurrent'],
    [Bulkhead, { maxConcurrent: 1.5 }, 'maxConcurrent'],
    [Bulkhead, { maxConcurrent: '2' }, 'maxConcurrent'],
    [Bulkhead, { maxConcurrent: 1, maxQueue: -1 }, 'maxQueue'],
    [Bulkhead, { maxConcurrent: 1, queueTimeout: 0 }, 'queueTimeout'],
    [Bulkhead, { maxConcurrent: 1, queueTimeout: NaN }, 'queueTimeout'],
    [RateLimiter, undefined, 'limit'],
    [RateLimiter, { ...rate, limit: 0 }, 'limit'],
    [RateLimiter, { ...rate, limit: Infinity }, 'limit'],
    [RateLimiter, { ...rate, interval: 0 }, 'interval'],
    [RateLimiter, { ...rate, interval: 2 ** 31 }, 'interval'],
    [RateLimiter, { ...rate, burst: 0 }, 'burst'],
    [RateLimiter, { ...rate, burst: '1' }, 'burst'],
    [RateLimiter, { ...rate, maxWait: -1 }, 'maxWait'],
    [RateLimiter, { ...rate, maxWait: Infinity }, 'maxWait'],
    [RetryBudget, 5, 'options'],
    [RetryBudget, { ratio: -0.1 }, 'ratio'],
    [RetryBudget, { reservePerSecond: NaN }, 'reservePerSecond'],
    [RetryBudget, { max: '9' }, 'max'],
  ])('%p of %p', (Class, options, option) => {
    expect(() => new Class(options)).toThrow(expect.objectContaining({
      code: 'ERR_INVALID_OPTION', option,
    }));
  });

  test.each([
    ['fn', [5]],
    ['fn', []],
    ['options', [() => 1, 'signal']],
    ['signal', [() => 1, { signal: {} }]],
    ['signal', [() => 1, { signal: null }]],
  ])('execute refuses a bad %s', async (option, args) => {
    for (const limit of [new Bulkhead({ maxConcurrent: 1 }), new RateLimiter(rate)]) {
      await expect(limit.execute(...args)).rejects
        .toMatchObject({ code: 'ERR_INVALID_OPTION', option });
      expect(limit.active ?? 0).toBe(0);
    }
  });

  test('more tokens than the burst can never be had', async () => {
    const limiter = new RateLimiter({ ...rate, burst: 5, maxWait: 1000 });
    expect(() => limiter.tryTake(6)).toThrow(expect.objectContaining({ option: 'tokens' }));
    await expect(limiter.execute(() => 1, { tokens: 0 })).rejects
      .toMatchObject({ option: 'tokens' });
    expect(limiter.available).toBe(5);
  });
});
