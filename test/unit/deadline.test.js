'use strict';

// Deadlines of callers: how they travel with signals, what they end, what is not begun any more,
// and what a breaker makes of it.

const {
  AdaptiveLimiter, Bulkhead, CircuitBreaker, RateLimiter, RetryBudget, deadlineHeaders, hedge,
  policy, protect, readDeadlineHeaders, retry, retryable, timeLeft, withDeadline
} = require('../..');
const { useVirtualClock } = require('../../lib/testing/virtual-clock');

const settle = promise => promise.then(value => ({ value }), error => ({ error }));
const passed = { code: 'EDEADLINE', message: 'The deadline of the call has passed' };
const never = () => new Promise(() => {});
const failure = new Error('down');
const failing = async () => { throw failure; };

let time;
beforeEach(() => { time = useVirtualClock(); });
afterEach(() => time.restore());

/** How a promise has settled when `ms` have gone by; undefined if it has not. */
async function after (ms, promise) {
  let outcome;
  settle(promise).then(settled => { outcome = settled; });
  await time.advanceAsync(ms);
  return outcome;
}

describe('withDeadline', () => {
  test('ends the work, and its signal, when the time is over', async () => {
    let signal;
    const call = withDeadline(100, context => {
      ({ signal } = context);
      return never();
    });
    expect(await after(99, call)).toBeUndefined();
    expect([signal.aborted, timeLeft(signal)]).toEqual([false, 1]);
    const { error } = await after(1, call);
    expect(error).toMatchObject(passed);
    expect(signal.reason).toBe(error);
    expect(timeLeft(signal)).toBe(0);
    await time.advanceAsync(100);
    expect(timeLeft(signal)).toBe(0);
  });

  test('work that ends in time keeps its result or its error, and its signal', async () => {
    const signals = [];
    const keeping = fn => context => {
      signals.push(context.signal);
      return fn();
    };
    expect(await withDeadline(100, keeping(() => 5))).toBe(5);
    await expect(withDeadline(100, keeping(failing))).rejects.toBe(failure);
    await expect(withDeadline(100, keeping(() => { throw failure; }))).rejects.toBe(failure);
    await time.advanceAsync(100);
    expect(signals.map(({ aborted }) => aborted)).toEqual([false, false, false]);
  });

  test('an absolute time, and times that are over already', async () => {
    time.restore();
    time = useVirtualClock({ wall: 1_000_000 });
    expect(await withDeadline(new Date(1_000_250), ({ signal }) => timeLeft(signal))).toBe(250);
    const started = jest.fn();
    for (const end of [new Date(1_000_000), new Date(0), 0]) {
      await expect(withDeadline(end, started)).rejects.toMatchObject(passed);
    }
    expect(started).not.toHaveBeenCalled();
  });

  test('the earlier of two deadlines holds, whichever is inside', async () => {
    const leftIn = (outer, inner) => withDeadline(outer, ({ signal }) =>
      withDeadline(inner, own => timeLeft(own.signal), { signal }));
    expect(await leftIn(100, 50)).toBe(50);
    expect(await leftIn(50, 100)).toBe(50);
    expect(await leftIn(50, Infinity)).toBe(50);
    expect(await leftIn(Infinity, 50)).toBe(50);
    expect(await leftIn(Infinity, Infinity)).toBe(Infinity);
  });

  test("the caller's signal ends it with its reason", async () => {
    const controller = new AbortController();
    const call = withDeadline(100, never, { signal: controller.signal });
    controller.abort(failure);
    await expect(call).rejects.toBe(failure);
    await expect(withDeadline(100, never, { signal: controller.signal })).rejects.toBe(failure);
  });

  test.each([
    ['text', 'soon'], ['no number', NaN], ['less than 0', -1], ['nothing', undefined],
    ['an object', {}], ['an invalid Date', new Date(NaN)],
    ['an object like a Date', Object.create(Date.prototype)],
  ])('the end cannot be %s', async (_, value) => {
    await expect(withDeadline(value, never))
      .rejects.toMatchObject({ code: 'ERR_INVALID_OPTION', option: 'end' });
  });

  test('other wrong arguments', async () => {
    const code = 'ERR_INVALID_OPTION';
    await expect(withDeadline(1)).rejects.toMatchObject({ code, option: 'fn' });
    await expect(withDeadline(1, never, { signal: 1 })).rejects.toMatchObject({ code });
    expect(() => timeLeft({})).toThrow(expect.objectContaining({ code }));
    expect(timeLeft(undefined)).toBe(Infinity);
    expect(timeLeft(new AbortController().signal)).toBe(Infinity);
  });
});

describe('what gets the signal knows the deadline', () => {
  const left = ({ signal }) => timeLeft(signal);
  test.each([
    ['a policy', signal => policy({}).execute(left, { signal })],
    ['its timeout', signal => policy({ timeout: 500 }).execute(left, { signal })],
    ['its retry', signal => policy({ retry: [1], timeout: 500 }).execute(left, { signal })],
    ['its breaker', signal => policy({ breaker: {} }).execute(left, { signal })],
    ['its limits', signal => policy({
      breaker: {}, rateLimit: { limit: 5, interval: 5 }, bulkhead: { maxConcurrent: 1 },
      adaptiveLimit: {}, timeout: 500,
    }).execute(left, { signal })],
    ['its hedge', signal =>
      policy({ hedge: { safeToRepeat: true, delay: 500 } }).execute(left, { signal })],
    ['its chaos', signal => policy({ chaos: { faults: [{ rate: 1, latency: 0 }] } })
      .execute(left, { signal })],
    ['a policy in a policy', signal => policy({ timeout: 500 }).execute(
      inner => policy({ breaker: {} }).execute(left, { signal: inner.signal }), { signal })],
    ['run', signal => new CircuitBreaker(never).run(left, { signal })],
    ['retry', signal => retry((_, __, context) => left(context), { signal })],
    ['its attemptTimeout', signal =>
      retry((_, __, context) => left(context), { signal, attemptTimeout: 500 })],
    ['a hedge', signal => hedge({ safeToRepeat: true, delay: 500 }).execute(left, { signal })],
    ['a bulkhead', signal => new Bulkhead({ maxConcurrent: 1 }).execute(left, { signal })],
    ['an adaptive limiter', signal => new AdaptiveLimiter().execute(left, { signal })],
  ])('%s', async (_, call) => {
    expect(await withDeadline(100, ({ signal }) => call(signal))).toBe(100);
    expect(await call(new AbortController().signal)).toBe(Infinity);
  });

  test("a policy's own deadline", async () => {
    expect(await policy({ deadline: 80 }).execute(left)).toBe(80);
    expect(await policy({ deadline: false }).execute(left)).toBe(Infinity);
    const both = ms => withDeadline(ms, context =>
      policy({ deadline: 80 }).execute(left, context));
    expect([await both(50), await both(100)]).toEqual([50, 80]);
  });

  test('a wrapped function and a protected method find it in their arguments', async () => {
    const seen = [];
    const fn = async (id, { signal }) => seen.push([id, timeLeft(signal)]);
    const find = { signal: (id, options) => options?.signal };
    const wrapped = policy({ timeout: 500 }).wrap(fn, find);
    const client = protect({ ask: fn }, { methods: ['ask'], timeout: 500, ...find });
    await withDeadline(100, async ({ signal }) => {
      await wrapped(1, { signal });
      await client.ask(2, { signal });
    });
    expect(seen).toEqual([[1, 100], [2, 100]]);
    const stuck = policy({}).wrap(never, find);
    expect(await after(10, withDeadline(10, ({ signal }) => stuck(1, { signal }))))
      .toMatchObject({ error: passed });
    await expect(policy({}).wrap(fn, { signal: () => 5 })(1))
      .rejects.toMatchObject({ code: 'ERR_INVALID_OPTION', option: 'signal' });
    await expect(policy({}).wrap(fn, { signal: () => { throw failure; } })(1))
      .rejects.toBe(failure);
  });
});

describe('retries', () => {
  const options = { retries: 5, minTimeout: 100, factor: 1, randomize: false };
  const within = (ms, call) => withDeadline(ms, ({ signal }) => call(signal));

  test('one that would begin at the deadline or later is not begun: the last error ends the call',
    async () => {
      const fn = jest.fn(failing);
      expect(await after(100, within(200, signal => retry(fn, { ...options, signal }))))
        .toEqual({ error: failure });
      expect(fn).toHaveBeenCalledTimes(2);
    });

  test('neither one that the upstream asked to be later', async () => {
    const busy = Object.assign(new Error('busy'), { retryAfter: 500 });
    const fn = jest.fn(async () => { throw busy; });
    const plan = { ...options, minTimeout: 1 };
    expect(await after(0, within(400, signal => retry(fn, { ...plan, signal }))))
      .toMatchObject({ error: { message: 'busy' } });
    expect(fn).toHaveBeenCalledTimes(1);
  });

  test('no budget is spent on it', async () => {
    const budget = new RetryBudget({ reservePerSecond: 1 });
    const balance = budget.balance();
    await after(0, within(50, signal => retry(failing, { ...options, budget, signal })));
    expect(budget.balance()).toBe(balance);
  });

  test('an attempt that runs at the deadline ends with it', async () => {
    const signals = [];
    const call = within(50, signal => retry((_, __, context) => {
      signals.push(context.signal);
      return never();
    }, { ...options, attemptTimeout: 500, signal }));
    expect(await after(50, call)).toMatchObject({ error: passed });
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
  });

  test('retryable and policies do the same', async () => {
    const fn = jest.fn(failing);
    await after(100, within(200, signal => policy({ retry: options }).execute(fn, { signal })));
    expect(fn).toHaveBeenCalledTimes(2);
    await after(100, within(200, signal => retryable(fn, { ...options, signal })()));
    expect(fn).toHaveBeenCalledTimes(4);
  });

  test('a policy whose own deadline is too near falls back at once', async () => {
    const fn = jest.fn(failing);
    const careful = policy({ fallback: () => 'instead', deadline: 200, retry: options });
    expect(await after(100, careful.execute(fn))).toEqual({ value: 'instead' });
    expect(fn).toHaveBeenCalledTimes(2);
  });
});

describe('lines', () => {
  const within = (ms, call) => withDeadline(ms, ({ signal }) => call(signal));

  test.each([
    ['a bulkhead', () => new Bulkhead({ maxConcurrent: 1, maxQueue: 1 })],
    ['an adaptive limiter', () => new AdaptiveLimiter({ max: 1 })],
  ])('nobody waits in that of %s for longer', async (_, make) => {
    const limit = make();
    limit.execute(never);
    const fn = jest.fn();
    const call = within(50, signal => limit.execute(fn, { signal }));
    expect(await after(49, call)).toBeUndefined();
    expect(limit.queued).toBe(1);
    expect(await after(1, call)).toMatchObject({ error: passed });
    expect(limit.queued).toBe(0);
    expect(fn).not.toHaveBeenCalled();
  });

  test('a rate limiter rejects at once what could not have its tokens in time', async () => {
    const limiter = new RateLimiter({ limit: 1, interval: 100, maxWait: 1000 });
    limiter.tryTake();
    const fn = jest.fn(() => 'done');
    expect(await after(0, within(100, signal => limiter.execute(fn, { signal }))))
      .toMatchObject({ error: { code: 'ERATELIMITED', retryAfterMs: 100 } });
    expect(await after(100, within(101, signal => limiter.execute(fn, { signal }))))
      .toEqual({ value: 'done' });
  });
});

describe("a policy's own deadline", () => {
  test('is for all attempts together; the fallback answers after it', async () => {
    const fn = jest.fn(never);
    const careful = policy({
      fallback: [{ value: 'instead' }], deadline: 250, timeout: 100,
      retry: { retries: 9, minTimeout: 10, factor: 1, randomize: false },
    });
    expect(careful.deadline).toBe(250);
    const call = careful.answer(fn);
    expect(await after(249, call)).toBeUndefined();
    expect(await after(1, call)).toMatchObject(
      { value: { value: 'instead', source: 'fallback', error: passed } });
    expect(fn).toHaveBeenCalledTimes(3);
  });

  test("the caller's deadline has no fallback: the caller waits no longer", async () => {
    const fallback = jest.fn();
    const call = withDeadline(50, ({ signal }) =>
      policy({ fallback, deadline: 100 }).execute(never, { signal }));
    expect(await after(50, call)).toMatchObject({ error: passed });
    expect(fallback).not.toHaveBeenCalled();
  });

  test('an old copy answers after it', async () => {
    const careful = policy({ cache: { ttl: 0, staleTtl: 1000 }, deadline: 50 });
    await careful.execute(() => 'page', { key: 'a' });
    expect(await after(50, careful.answer(never, { key: 'a' })))
      .toMatchObject({ value: { value: 'page', source: 'stale', error: passed } });
  });

  test.each([0, -1, '5', NaN])('it cannot be %p', deadline => {
    expect(() => policy({ deadline })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'deadline' }));
  });
});

describe('a breaker', () => {
  const counts = ({ stats: { failures, timeouts, successes, fires } }) =>
    ({ failures, timeouts, successes, fires });
  const NOTHING = { failures: 0, timeouts: 0, successes: 0, fires: 1 };
  const TIMEOUT = { failures: 1, timeouts: 1, successes: 0, fires: 1 };

  const parts = {
    'timeout in the policy': { timeout: 100 },
    'timeout in the policy, with limits':
      { timeout: 100, bulkhead: { maxConcurrent: 1 }, rateLimit: { limit: 9, interval: 9 } },
    'timeout of the breaker': { breaker: { timeout: 100 } },
    'timeout of the breaker, with limits':
      { breaker: { timeout: 100 }, bulkhead: { maxConcurrent: 1 } },
    'timeout in the policy, with retries and a hedge':
      { timeout: 100, retry: [5], hedge: { safeToRepeat: true, delay: 1000 } },
  };
  test.each(Object.entries(parts))(
    '%s: an attempt that had half of it is a timeout, a shorter one counts for nothing',
    async (_, given) => {
      for (const [ms, expected] of [[49, NOTHING], [50, TIMEOUT], [99, TIMEOUT]]) {
        const guarded = policy({ breaker: {}, ...given });
        const call = withDeadline(ms, ({ signal }) => guarded.execute(never, { signal }));
        expect(await after(ms, call)).toMatchObject({ error: passed });
        expect([ms, counts(guarded.breaker)]).toEqual([ms, expected]);
      }
    });

  test('without a time limit of the attempt it counts for nothing', async () => {
    const guarded = policy({ breaker: { timeout: false } });
    const call = withDeadline(5000, ({ signal }) => guarded.execute(never, { signal }));
    expect(await after(5000, call)).toMatchObject({ error: passed });
    expect(counts(guarded.breaker)).toEqual(NOTHING);
  });

  test('the wait for a place is not time of the upstream', async () => {
    const bulkhead = new Bulkhead({ maxConcurrent: 1, maxQueue: 1 });
    const guarded = policy({ breaker: {}, bulkhead, timeout: 100 });
    let leave;
    const first = bulkhead.execute(() => new Promise(resolve => { leave = resolve; }));
    const fn = jest.fn(never);
    const call = withDeadline(90, ({ signal }) => guarded.execute(fn, { signal }));
    await time.advanceAsync(60);
    leave();
    await first;
    expect(await after(30, call)).toMatchObject({ error: passed });
    expect(fn).toHaveBeenCalledTimes(1);
    expect(counts(guarded.breaker)).toEqual(NOTHING);
  });

  test('it opens for an upstream that hangs, though all calls end by deadlines', async () => {
    const guarded = policy({
      breaker: { consecutiveFailures: 3, resetTimeout: 60_000 }, timeout: 100,
    });
    const call = () => withDeadline(60, ({ signal }) => guarded.execute(never, { signal }));
    for (let i = 0; i < 3; i++) await after(60, call());
    expect(guarded.breaker.opened).toBe(true);
    await expect(call()).rejects.toMatchObject({ code: 'EOPENBREAKER' });
  });

  test('a probe that a deadline ended leaves its place', async () => {
    for (const [ms, isOpen] of [[10, false], [90, true]]) {
      const breaker = new CircuitBreaker(never, { timeout: 100, resetTimeout: 1000 });
      breaker.open();
      await time.advanceAsync(1000);
      expect(breaker.halfOpen).toBe(true);
      const probe = withDeadline(ms, ({ signal }) => breaker.run(never, { signal }));
      expect(await after(ms, probe)).toMatchObject({ error: passed });
      expect([ms, breaker.opened, breaker.pendingClose]).toEqual([ms, isOpen, !isOpen]);
    }
  });

  test('countsAbort decides for any reason', async () => {
    const breaker = new CircuitBreaker(never, { timeout: 100, volumeThreshold: 9 });
    const events = [];
    breaker.on('failure', error => events.push(error));
    for (const counting of [true, false, 1, undefined]) {
      const controller = new AbortController();
      const call = breaker.run(never, {
        signal: controller.signal, ...counting !== undefined && { countsAbort: () => counting },
      });
      controller.abort(failure);
      await expect(call).rejects.toBe(failure);
    }
    expect(counts(breaker)).toEqual({ ...TIMEOUT, fires: 4 });
    expect(events).toEqual([failure]);
    await expect(breaker.run(never, { countsAbort: 1 }))
      .rejects.toMatchObject({ code: 'ERR_INVALID_OPTION', option: 'countsAbort' });
  });

  test('a countsAbort that throws counts for nothing', async () => {
    const warnings = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const breaker = new CircuitBreaker(never);
    const controller = new AbortController();
    const countsAbort = () => { throw failure; };
    const call = breaker.run(never, { signal: controller.signal, countsAbort });
    controller.abort(failure);
    await expect(call).rejects.toBe(failure);
    expect(counts(breaker)).toEqual(NOTHING);
    expect(warnings.mock.calls)
      .toEqual([[expect.stringContaining('countsAbort'), expect.anything()]]);
    warnings.mockRestore();
  });
});

describe('headers', () => {
  const headersIn = ms => withDeadline(ms, ({ signal }) => deadlineHeaders(signal));

  test.each([
    [1500, '1500m'], [1500.9, '1500m'], [0.4, '1m'], [99_999_999, '99999999m'],
    [100_000_000, '100000S'], [1e15, '99999999S'],
  ])('%p ms left are %p', async (ms, expected) => {
    expect(await headersIn(ms)).toEqual({ 'grpc-timeout': expected });
  });

  test('there is none without a deadline', async () => {
    expect(deadlineHeaders(undefined)).toEqual({});
    expect(deadlineHeaders(new AbortController().signal)).toEqual({});
    expect(await headersIn(Infinity)).toEqual({});
  });

  test.each([
    ['1500m', 1500], ['2S', 2000], ['3M', 180_000], ['1H', 3_600_000], ['500u', 0.5],
    ['0m', 0], ['99999999H', 99_999_999 * 3_600_000], [undefined, undefined],
  ])('%p is read as %p', (value, expected) => {
    expect(readDeadlineHeaders({ 'grpc-timeout': value })).toBe(expected);
    const headers = new Headers(value === undefined ? {} : { 'gRPC-Timeout': value });
    expect(readDeadlineHeaders(headers)).toBe(expected);
  });

  test.each(['', '5', 'm', '-5m', '1.5S', '5s', '123456789m', '1m, 2m', ' 1m', ['1m'], 5])(
    '%p cannot be read', value => {
      expect(() => readDeadlineHeaders({ 'grpc-timeout': value })).toThrow(
        expect.objectContaining({ code: 'ERR_INVALID_INPUT' }));
    });

  test('what is written is read again', async () => {
    for (const ms of [1, 250, 1e6, 5e9]) {
      expect(readDeadlineHeaders(await headersIn(ms))).toBe(ms);
    }
  });
});
