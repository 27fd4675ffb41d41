'use strict';

// How many calls may be in flight: the capacity option and the semaphore behind it.

const {
  CircuitBreaker, Semaphore, make, never, positive, settle, defer, record, sleep,
} = require('../support/breaker-helpers');

const lenient = { errorThresholdPercentage: 100 };

test('calls beyond capacity are rejected', async () => {
  const held = defer();
  const breaker = make(() => held.promise, { capacity: 2, ...lenient });
  const first = breaker.fire();
  const second = breaker.fire();
  expect(breaker.semaphore.count).toBe(0);
  const { error } = await settle(breaker.fire());
  expect(error.message).toBe('Semaphore locked');
  expect(error.code).toBe('ESEMLOCKED');
  expect(CircuitBreaker.isOurError(error)).toBe(true);
  expect(breaker.stats).toMatchObject({ fires: 3, semaphoreRejections: 1, rejects: 0 });
  held.resolve('done');
  expect(await Promise.all([first, second])).toEqual(['done', 'done']);
  expect(breaker.semaphore.count).toBe(2);
});

test.each([
  ['success', x => positive(x), 1],
  ['failure', x => positive(x), -1],
  ['synchronous result', x => x, 1],
  ['synchronous throw', () => { throw new Error('thrown'); }, 1],
])('a place is free again after %s', async (_, action, x) => {
  const breaker = make(action, { capacity: 1, ...lenient });
  await settle(breaker.fire(x));
  expect(breaker.semaphore.count).toBe(1);
  await settle(breaker.fire(x));
  expect(breaker.stats.semaphoreRejections).toBe(0);
});

test('a place is free again after a timeout, and stays so when the call ends', async () => {
  const late = defer();
  const breaker = make(() => late.promise, { capacity: 1, timeout: 10, ...lenient });
  await settle(breaker.fire());
  expect(breaker.semaphore.count).toBe(1);
  late.resolve();
  await late.promise;
  await sleep(5);
  expect(breaker.semaphore.count).toBe(1);
});

test('a rejected call takes no place, and neither does an open breaker', async () => {
  const held = defer();
  const breaker = make(() => held.promise, { capacity: 1, ...lenient });
  const first = breaker.fire();
  await settle(breaker.fire());
  await settle(breaker.fire());
  expect(breaker.semaphore.count).toBe(0);
  held.resolve();
  await first;
  breaker.open();
  await settle(breaker.fire());
  expect(breaker.semaphore.count).toBe(1);
});

test('the event carries the error and a latency', async () => {
  const held = defer();
  const breaker = make(() => held.promise, { capacity: 1, ...lenient });
  const first = breaker.fire();
  const seen = record(breaker, ['semaphoreLocked']);
  const { error } = await settle(breaker.fire());
  expect(seen).toEqual([['semaphoreLocked', error, expect.any(Number)]]);
  held.resolve();
  await first;
});

test('capacity 0 rejects every call', async () => {
  const breaker = make(positive, { capacity: 0, ...lenient });
  expect((await settle(breaker.fire(1))).error.code).toBe('ESEMLOCKED');
});

test('without capacity there is no limit', async () => {
  const breaker = make(never, { timeout: 20, ...lenient });
  const calls = Array.from({ length: 500 }, () => settle(breaker.fire()));
  const codes = (await Promise.all(calls)).map(({ error }) => error.code);
  expect(new Set(codes)).toEqual(new Set(['ETIMEDOUT']));
  expect(breaker.stats).toMatchObject({ timeouts: 500, semaphoreRejections: 0 });
});

test('without capacity the count goes down with each call after it was first read', async () => {
  const held = defer();
  const breaker = make(() => held.promise, { timeout: 60_000 });
  const unseen = breaker.fire();
  expect(breaker.semaphore.count).toBe(Number.MAX_SAFE_INTEGER);
  const calls = [breaker.fire(), breaker.fire()];
  expect(breaker.semaphore.count).toBe(Number.MAX_SAFE_INTEGER - 2);
  held.resolve('done');
  expect(await Promise.all([unseen, ...calls])).toEqual(['done', 'done', 'done']);
  expect(breaker.semaphore.count).toBe(Number.MAX_SAFE_INTEGER);
  expect(breaker.stats).toMatchObject({ successes: 3, semaphoreRejections: 0 });
});

test('Semaphore: take and release move the count', async () => {
  const semaphore = Semaphore(2);
  expect(semaphore.count).toBe(2);
  const release = await semaphore.take();
  await semaphore.take();
  expect(semaphore.count).toBe(0);
  release();
  semaphore.release();
  expect(semaphore.count).toBe(2);
});

test('Semaphore: take waits in order', async () => {
  const semaphore = Semaphore(1);
  await semaphore.take();
  const order = [];
  const waiting = ['first', 'second'].map(name =>
    semaphore.take().then(() => order.push(name)));
  semaphore.release();
  await waiting[0];
  expect(order).toEqual(['first']);
  expect(semaphore.count).toBe(0);
  semaphore.release();
  await waiting[1];
  expect(order).toEqual(['first', 'second']);
});

test('Semaphore: take gives up after its timeout', async () => {
  const semaphore = Semaphore(1);
  await semaphore.take();
  const { error } = await settle(semaphore.take(10));
  expect(error.message).toBe('Timed out after 10ms');
  expect(error.code).toBe('ETIMEDOUT');
});

test('Semaphore: test takes a permit if one is left', () => {
  const semaphore = Semaphore(1);
  expect(semaphore.test()).toBe(true);
  expect(semaphore.count).toBe(0);
  expect(semaphore.test()).toBe(false);
  semaphore.release();
  expect(semaphore.test()).toBe(true);
});

test('Semaphore: the count is read-only', () => {
  const semaphore = Semaphore(1);
  expect(() => { semaphore.count = 4; }).toThrow(TypeError);
  expect(semaphore.count).toBe(1);
});
