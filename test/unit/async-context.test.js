'use strict';

// What is called for a call runs in the async context of that call, also when a shared timer or
// another call's end is what has it run: request ids in logs and spans depend on it.

const { AsyncLocalStorage } = require('node:async_hooks');
const { setTimeout: pause } = require('node:timers/promises');

const {
  AdaptiveLimiter, Bulkhead, CircuitBreaker, RateLimiter, policy, retry
} = require('../..');

const storage = new AsyncLocalStorage();
const IDS = ['a', 'b', 'c'];

/** Runs `fn(id)` for three callers at once, each in a context of its own. */
const callers = fn => Promise.all(IDS.map(id => storage.run(id, () => fn(id))));
const never = () => new Promise(() => {});

test.each([
  ['fire', breaker => breaker.fire(1)],
  ['run', breaker => breaker.run(never)],
  ['call', breaker => breaker.call(null, 1)],
])('the fallback of %s that timed out', async (name, call) => {
  const breaker = new CircuitBreaker(never, { timeout: 30, volumeThreshold: 100 });
  breaker.fallback(() => storage.getStore());
  expect(await callers(() => call(breaker))).toEqual(IDS);
});

test.each(['timeout', 'failure'])('listeners of %s', async event => {
  const breaker = new CircuitBreaker(never, { timeout: 30, volumeThreshold: 100 });
  const heard = [];
  breaker.on(event, () => { heard.push(storage.getStore()); });
  await callers(() => breaker.fire().catch(() => {}));
  expect(heard).toEqual(IDS);
});

test('a call that ends as its deadline is told has one end', async () => {
  const breaker = new CircuitBreaker(async () => {
    await pause(30);
    return 'done';
  }, { timeout: 30, volumeThreshold: 1000 });
  breaker.fallback(() => 'late');
  const results = [];
  for (let i = 0; i < 20; i++) results.push(await breaker.fire());
  const { successes, timeouts, fallbacks } = breaker.stats;
  const late = results.filter(result => result === 'late').length;
  expect({ successes, timeouts, fallbacks })
    .toEqual({ successes: 20 - late, timeouts: late, fallbacks: late });
});

test.each([
  ['bulkhead', new Bulkhead({ maxConcurrent: 1, maxQueue: 10 })],
  ['adaptive limiter', new AdaptiveLimiter({ max: 1, maxQueue: 10 })],
])('what waits for a permit of a %s', async (_, limit) => {
  const inside = () => limit.execute(async () => {
    await pause(5);
    return storage.getStore();
  });
  expect(await callers(inside)).toEqual(IDS);
});

test('what waits for its turn', async () => {
  const limiter = new RateLimiter({ limit: 100, interval: 1000, burst: 1, maxWait: 10_000 });
  expect(await callers(() => limiter.execute(() => storage.getStore()))).toEqual(IDS);
});

test('each attempt, and onRetry', async () => {
  const seen = [];
  await callers(() => retry((bail, attempt) => {
    seen.push(storage.getStore());
    if (attempt < 3) throw new Error('again');
  }, { minTimeout: 5, onRetry: () => { seen.push(storage.getStore()); } }));
  for (const id of IDS) expect(seen.filter(store => store === id)).toHaveLength(5);
});

test('a policy that timed out', async () => {
  const protect = policy({ timeout: 30, fallback: () => storage.getStore() });
  expect(await callers(() => protect.execute(never))).toEqual(IDS);
});
