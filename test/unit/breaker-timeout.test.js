'use strict';

// The time limit of a call, and the abort signals that go with it.

const {
  CircuitBreaker, make, positive, never, settle, once, defer, sleep, stopTime, flush, halfOpened,
  fragile,
} = require('../support/breaker-helpers');

test('a call that takes longer than timeout is rejected', async () => {
  const breaker = make(never, { timeout: 15 });
  const start = performance.now();
  const { error } = await settle(breaker.fire());
  expect(performance.now() - start).toBeGreaterThan(13);
  expect(error).toBeInstanceOf(Error);
  expect(error.message).toBe('Timed out after 15ms');
  expect(error.code).toBe('ETIMEDOUT');
  expect(CircuitBreaker.isOurError(error)).toBe(true);
  expect(breaker.stats).toMatchObject({ fires: 1, timeouts: 1, failures: 1, successes: 0 });
});

test('the latency of the timeout event is at least the timeout', async () => {
  const breaker = make(never, { timeout: 15 });
  const heard = once(breaker, 'timeout');
  breaker.fire('a').catch(() => {});
  const [, latency, args] = await heard;
  expect(latency).toBeGreaterThanOrEqual(14);
  expect(args).toEqual(['a']);
});

test.each([0, false])('timeout %p is none', async timeout => {
  const breaker = make(() => sleep(30).then(() => 'slow'), { timeout });
  expect(await breaker.fire()).toBe('slow');
  expect(breaker.stats.timeouts).toBe(0);
});

test.each(['resolve', 'reject'])('a late %s after the timeout changes nothing', async how => {
  const late = defer();
  const breaker = make(() => late.promise, { timeout: 10, errorThresholdPercentage: 100 });
  expect((await settle(breaker.fire())).error.code).toBe('ETIMEDOUT');
  late[how](new Error('late'));
  await settle(late.promise);
  await flush();
  expect(breaker.stats)
    .toMatchObject({ fires: 1, timeouts: 1, failures: 1, successes: 0 });
  expect(breaker.semaphore.count).toBe(Number.MAX_SAFE_INTEGER);
});

test('each call has its own limit', async () => {
  const pass = stopTime();
  const held = defer();
  const breaker = make(x => (x === 'hang' ? never() : x === 'hold' ? held.promise : x),
    { timeout: 40, errorThresholdPercentage: 100 });
  const slow = settle(breaker.fire('hang'));
  const fast = breaker.fire('fast');
  await pass(20);
  const other = breaker.fire('hold');
  expect(await fast).toBe('fast');
  await pass(20);
  expect((await slow).error.code).toBe('ETIMEDOUT');
  held.resolve('other');
  expect(await other).toBe('other');
  expect(breaker.stats).toMatchObject({ fires: 3, timeouts: 1, successes: 2 });
});

test('many calls time out together', async () => {
  const breaker = make(never, { timeout: 10, errorThresholdPercentage: 100 });
  const calls = await Promise.all(Array.from({ length: 100 }, () => settle(breaker.fire())));
  expect(calls.every(({ error }) => error.code === 'ETIMEDOUT')).toBe(true);
  expect(breaker.stats).toMatchObject({ fires: 100, timeouts: 100, failures: 100 });
});

test('the call no longer counts towards capacity inside the timeout listener', async () => {
  const breaker = make(never, { timeout: 10, capacity: 2 });
  const heard = once(breaker, 'timeout').then(() => breaker.semaphore.count);
  breaker.fire().catch(() => {});
  expect(breaker.semaphore.count).toBe(1);
  expect(await heard).toBe(2);
});

test('without a controller there is no signal', () => {
  const breaker = make(positive);
  expect(breaker.getSignal()).toBeUndefined();
  expect(breaker.getAbortController()).toBeUndefined();
});

test('a timeout aborts the given controller', async () => {
  const abortController = new AbortController();
  const breaker = make(never, { timeout: 10, abortController });
  expect(breaker.getAbortController()).toBe(abortController);
  expect(breaker.getSignal()).toBe(abortController.signal);
  await settle(breaker.fire());
  await flush();
  expect(abortController.signal.aborted).toBe(true);
});

test('success and failure do not abort it', async () => {
  const abortController = new AbortController();
  const breaker = make(positive, { abortController, timeout: 1000 });
  await breaker.fire(1);
  await settle(breaker.fire(-1));
  expect(abortController.signal.aborted).toBe(false);
});

test('the action can listen to the signal', async () => {
  const abortController = new AbortController();
  const aborted = defer();
  const breaker = make(signal => new Promise(() => {
    signal.addEventListener('abort', () => aborted.resolve('aborted'));
  }), { abortController, timeout: 10 });
  settle(breaker.fire(breaker.getSignal()));
  expect(await aborted.promise).toBe('aborted');
});

test('autoRenewAbortController makes a controller when none is given', () => {
  const breaker = make(positive, { autoRenewAbortController: true });
  expect(breaker.getAbortController()).toBeInstanceOf(AbortController);
  expect(breaker.getSignal().aborted).toBe(false);
});

test('autoRenewAbortController gives a fresh signal when half open', async () => {
  const breaker = make(never, {
    autoRenewAbortController: true, timeout: 10, resetTimeout: 20, errorThresholdPercentage: 1,
  });
  const first = breaker.getSignal();
  const renewed = once(breaker, 'halfOpen').then(() => breaker.getSignal());
  await settle(breaker.fire());
  expect(first.aborted).toBe(true);
  expect(breaker.getSignal()).toBe(first);
  const second = await renewed;
  expect(second).not.toBe(first);
  expect(second.aborted).toBe(false);
});

test('autoRenewAbortController gives a fresh signal on close()', async () => {
  const breaker = fragile({ autoRenewAbortController: true });
  breaker.open();
  breaker.getAbortController().abort();
  breaker.close();
  expect(breaker.getSignal().aborted).toBe(false);
});

test('a controller that is not aborted is not replaced', async () => {
  const breaker = await halfOpened({ autoRenewAbortController: true });
  const controller = breaker.getAbortController();
  await breaker.fire(1);
  expect(breaker.closed).toBe(true);
  expect(breaker.getAbortController()).toBe(controller);
});

test('without autoRenewAbortController the aborted signal stays', async () => {
  const abortController = new AbortController();
  const breaker = await halfOpened({ abortController });
  abortController.abort();
  breaker.close();
  expect(breaker.getSignal().aborted).toBe(true);
});
