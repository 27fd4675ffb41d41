'use strict';

// Switching a breaker off and on, watching its dependency's health, and shutting it down.

const { EventEmitter } = require('node:events');

const {
  CircuitBreaker, make, positive, never, fragile, record, namesOf, settle, trip, once, defer,
  sleep, flush,
} = require('../support/breaker-helpers');

test('a disabled breaker lets every call through, unprotected', async () => {
  const breaker = fragile({ timeout: 10, capacity: 1 });
  breaker.disable();
  expect(breaker.enabled).toBe(false);
  for (let i = 0; i < 3; i++) expect((await trip(breaker)).message).toBe('-1 is negative');
  expect(breaker.closed).toBe(true);
  expect(breaker.stats).toMatchObject({ fires: 3, failures: 0 });
});

test('a disabled breaker has no timeout and no capacity', async () => {
  const breaker = make(() => sleep(30).then(() => 'slow'),
    { timeout: 5, capacity: 1, enabled: false });
  expect(await Promise.all([breaker.fire(), breaker.fire()])).toEqual(['slow', 'slow']);
});

test('a disabled breaker lets calls through even if it is open', async () => {
  const breaker = make(positive);
  breaker.open();
  breaker.disable();
  expect(await breaker.fire(1)).toBe(1);
  expect(breaker.opened).toBe(true);
});

test('a disabled breaker returns a promise for a plain value', async () => {
  const breaker = make(x => x, { enabled: false });
  const result = breaker.fire(1);
  expect(result).toBeInstanceOf(Promise);
  expect(await result).toBe(1);
});

test('enable() brings the protection back', async () => {
  const breaker = fragile({ enabled: false });
  await trip(breaker);
  breaker.enable();
  expect(breaker.enabled).toBe(true);
  await trip(breaker);
  expect(breaker.opened).toBe(true);
});

test('shutdown ends a breaker', async () => {
  const breaker = fragile();
  const seen = record(breaker, ['shutdown', 'open', 'close']);
  breaker.shutdown();
  expect(namesOf(seen)).toEqual(['shutdown']);
  expect(breaker.isShutdown).toBe(true);
  expect(breaker.enabled).toBe(false);
  expect([breaker.closed, breaker.opened, breaker.halfOpen]).toEqual([false, false, false]);
  const { error } = await settle(breaker.fire(1));
  expect(error.message).toBe('The circuit has been shutdown.');
  expect(error.code).toBe('ESHUTDOWN');
  expect(CircuitBreaker.isOurError(error)).toBe(true);
});

test('shutdown removes the listeners, of the breaker and of its status', () => {
  const breaker = make(positive);
  breaker.on('fire', () => {});
  breaker.status.on('snapshot', () => {});
  breaker.shutdown();
  expect(breaker.eventNames()).toEqual([]);
  expect(breaker.status.eventNames()).toEqual([]);
});

test('shutdown cancels the change to half open', async () => {
  const breaker = fragile({ resetTimeout: 15 });
  await trip(breaker);
  breaker.shutdown();
  await sleep(35);
  expect(breaker.halfOpen).toBe(false);
  expect(breaker.isShutdown).toBe(true);
});

test('shutdown may be called twice', () => {
  const breaker = make(positive);
  breaker.shutdown();
  breaker.shutdown();
  expect(breaker.isShutdown).toBe(true);
});

test('a call in flight at shutdown still settles', async () => {
  const held = defer();
  const breaker = make(() => held.promise);
  const call = breaker.fire();
  breaker.shutdown();
  held.resolve('after');
  expect(await call).toBe('after');
});

test('a call in flight at shutdown still times out', async () => {
  const breaker = make(never, { timeout: 15 });
  const call = settle(breaker.fire());
  breaker.shutdown();
  expect((await call).error.code).toBe('ETIMEDOUT');
});

test('a hundred breakers leave no listener behind', () => {
  const rotateBucketController = new EventEmitter();
  for (let i = 0; i < 100; i++) {
    const breaker = new CircuitBreaker(positive, { rotateBucketController });
    breaker.fire(1);
    expect(rotateBucketController.listenerCount('rotate')).toBe(1);
    breaker.shutdown();
  }
  expect(rotateBucketController.listenerCount('rotate')).toBe(0);
});

test('healthCheck calls the function at once, on the breaker', async () => {
  const breaker = make(positive);
  const check = jest.fn(async () => {});
  breaker.healthCheck(check, 60_000);
  expect(check).toHaveBeenCalledTimes(1);
  expect(check.mock.contexts[0]).toBe(breaker);
  await flush();
  expect(breaker.closed).toBe(true);
});

test('healthCheck calls it again after each interval', async () => {
  const breaker = make(positive);
  const thrice = defer();
  let calls = 0;
  breaker.healthCheck(async () => {
    calls++;
    if (calls === 3) thrice.resolve();
  }, 10);
  await thrice.promise;
  expect(calls).toBe(3);
});

test('a failed health check emits healthCheckFailed and opens the breaker', async () => {
  const breaker = make(positive);
  const seen = record(breaker);
  const reason = new Error('no pulse');
  breaker.healthCheck(() => Promise.reject(reason), 60_000);
  await once(breaker, 'open');
  expect(seen).toEqual([['healthCheckFailed', reason], ['open']]);
  expect(breaker.opened).toBe(true);
});

test('the breaker still trips on its own while the health check succeeds', async () => {
  const breaker = fragile();
  breaker.healthCheck(async () => {}, 60_000);
  await trip(breaker);
  expect(breaker.opened).toBe(true);
});

test('healthCheck requires a function and a number', () => {
  const breaker = make(positive);
  expect(() => breaker.healthCheck('pulse'))
    .toThrow(new TypeError('Health check function must be a function'));
  expect(() => breaker.healthCheck(async () => {}, 'often'))
    .toThrow(new TypeError('Health check interval must be a number'));
});
