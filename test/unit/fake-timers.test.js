'use strict';

// Jest's fake timers drive the time of this package. (test/platforms does the same with vitest.)

const { CircuitBreaker, RateLimiter, Timeout, retry } = require('../../lib');
const clock = require('../../lib/base/clock');
const { useVirtualClock } = require('../../lib/testing');

const follow = () => useVirtualClock({ timers: 'fake' });

beforeEach(() => { jest.useFakeTimers(); });
afterEach(() => { jest.useRealTimers(); });

const makeBreaker = (options = {}) => new CircuitBreaker(async fails => {
  if (fails) throw new Error('down');
  return 'up';
}, options);

async function open (breaker) {
  for (let i = 0; i < 5; i++) await breaker.fire(true).catch(() => {});
  expect(breaker.opened).toBe(true);
}

test('a circuit is tried again after its time, and counts leave the window', async () => {
  follow();
  const breaker = makeBreaker({ resetTimeout: 3_600_000, rollingCountTimeout: 60_000 });
  await open(breaker);
  jest.advanceTimersByTime(3_599_999);
  expect(breaker.opened).toBe(true);
  jest.advanceTimersByTime(1);
  expect(breaker.opened).toBe(false);
  expect(await breaker.fire(false)).toBe('up');
  expect(breaker.closed).toBe(true);
  expect(breaker.stats.successes).toBe(1);
  expect(breaker.stats.failures).toBe(0);
  await jest.advanceTimersByTimeAsync(60_000);
  expect(breaker.stats.successes).toBe(0);
  breaker.shutdown();
});

test('without it, the core does not notice that fake timers have moved', async () => {
  const breaker = makeBreaker({ resetTimeout: 3_600_000 });
  await open(breaker);
  jest.advanceTimersByTime(3_600_000);
  expect(breaker.opened).toBe(true);
  breaker.shutdown();
});

test('timeouts, retries, limits and latencies have the time of the fake timers', async () => {
  follow();
  const late = new Timeout(1000).execute(() => new Promise(() => {})).catch(({ code }) => code);
  let attempts = 0;
  const retried = retry(async () => {
    if (++attempts < 4) throw new Error('down');
    return Date.now();
  }, { randomize: false });
  const start = Date.now();
  const limiter = new RateLimiter({ limit: 1, interval: 10_000 });
  expect([limiter.tryTake(), limiter.tryTake()]).toEqual([true, false]);
  let finish;
  const slow = new CircuitBreaker(() => new Promise(resolve => { finish = resolve; }),
    { timeout: false });
  const called = slow.fire();
  await jest.advanceTimersByTimeAsync(2500);
  finish();
  await called;
  await jest.advanceTimersByTimeAsync(4500);
  expect(await late).toBe('ETIMEDOUT');
  expect(await retried).toBe(start + 7000);
  // A histogram's midpoint.
  expect(Math.abs(slow.stats.latencyMean - 2500)).toBeLessThan(50);
  expect(limiter.tryTake()).toBe(false);
  await jest.advanceTimersByTimeAsync(3000);
  expect(limiter.tryTake()).toBe(true);
  slow.shutdown();
});

test('every way of Jest to run timers moves it', async () => {
  const time = follow();
  const start = time.now;
  const passed = () => time.now - start;
  const { signal, abort } = { signal: [], abort: ms => setTimeout(() => signal.push(ms), ms) };
  abort(10);
  jest.runAllTimers();
  expect(passed()).toBe(10);
  abort(20);
  jest.advanceTimersToNextTimer();
  expect(passed()).toBe(30);
  abort(30);
  await jest.runOnlyPendingTimersAsync();
  expect(passed()).toBe(60);
  await time.advance(40);
  await time.advanceAsync(50);
  expect(passed()).toBe(150);
  expect(clock.now()).toBe(time.now);
});

test('a blocked event loop makes timers late', async () => {
  const time = follow();
  const start = time.now;
  const log = [];
  for (const ms of [10, 20, 101]) clock.setTimer(() => log.push([ms, time.now - start]), ms);
  await time.block(100);
  expect(log).toEqual([[10, 100], [20, 100]]);
  await time.advance(1);
  expect(log.at(-1)).toEqual([101, 101]);
});

test('setting the calendar takes no time, and time never goes back', async () => {
  const time = follow();
  const breaker = makeBreaker({ resetTimeout: 1000 });
  await open(breaker);
  const start = time.now;
  jest.setSystemTime(Date.UTC(2030, 0, 1));
  expect([time.now, time.wall]).toEqual([start, Date.UTC(2030, 0, 1)]);
  expect(clock.wall()).toBe(Date.UTC(2030, 0, 1));
  jest.setSystemTime(0);
  jest.advanceTimersByTime(999);
  expect(breaker.opened).toBe(true);
  jest.advanceTimersByTime(1);
  expect(breaker.opened).toBe(false);
  jest.clearAllTimers(); // Sets the clock of the fake timers back.
  expect(time.now).toBe(start + 1000);
  breaker.shutdown();
});

test('it ends with the fake timers, or before', async () => {
  follow();
  jest.useRealTimers();
  const times = [performance.now(), clock.now(), performance.now()];
  expect(times).toEqual(times.toSorted((a, b) => a - b));
  jest.useFakeTimers();
  const time = follow();
  time.restore();
  const { now } = time;
  jest.advanceTimersByTime(1000); // The fake timers go on.
  expect(time.now).toBe(now);
  follow().restore();
});

test('a timer that is longer than Node.js allows fires at its time', () => {
  follow();
  const fn = jest.fn();
  clock.setTimer(fn, 2 ** 31 + 1000);
  clock.setTimer(fn, Infinity);
  jest.advanceTimersByTime(2 ** 31 + 999);
  expect(fn).not.toHaveBeenCalled();
  jest.advanceTimersByTime(1);
  expect(fn).toHaveBeenCalledTimes(1);
});

test('there is one clock at a time', () => {
  follow();
  expect(follow).toThrow(expect.objectContaining({ code: 'ERR_VIRTUAL_CLOCK' }));
});

describe('rejected', () => {
  test('without fake timers, or with some that lack what it needs', () => {
    const refusal = expect.objectContaining({ code: 'ERR_VIRTUAL_CLOCK_TIMERS' });
    jest.useRealTimers();
    expect(follow).toThrow(refusal);
    jest.useFakeTimers({ doNotFake: ['setTimeout'] });
    expect(follow).toThrow(refusal);
    jest.useFakeTimers({ doNotFake: ['Date'] });
    expect(follow).toThrow(refusal);
    jest.useFakeTimers();
    follow(); // What was rejected is not in use.
  });

  test.each([[{ timers: 'jest' }], [{ timers: true }], [{ timers: 'fake', wall: 0 }]])('%p',
    options => {
      expect(() => useVirtualClock(options))
        .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
    });
});
