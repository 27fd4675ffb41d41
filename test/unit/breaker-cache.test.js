'use strict';

// Remembered results: the cache, its transports, and coalescing of calls in flight.

const {
  MemoryCache, make, positive, settle, stopTime, defer, flush, record, namesOf,
} = require('../support/breaker-helpers');

/** A transport over a Map that notes what it is called with. */
function mapTransport () {
  const map = new Map();
  const calls = [];
  return {
    map,
    calls,
    get: key => map.get(key),
    set: (key, value, ttl) => {
      calls.push([key, ttl]);
      map.set(key, value);
    },
    flush: () => map.clear(),
  };
}

test('a result is remembered for the same arguments', async () => {
  const action = jest.fn(positive);
  const breaker = make(action, { cache: true });
  expect(await breaker.fire(1)).toBe(1);
  expect(await breaker.fire(1)).toBe(1);
  expect(await breaker.fire(2)).toBe(2);
  expect(action).toHaveBeenCalledTimes(2);
  expect(breaker.stats).toMatchObject({ fires: 3, cacheHits: 1, cacheMisses: 2, successes: 2 });
});

test.each([0, '', false, null, undefined])('a result of %p is remembered', async value => {
  const action = jest.fn(async () => value);
  const breaker = make(action, { cache: true });
  expect(await breaker.fire()).toBe(value);
  expect(await breaker.fire()).toBe(value);
  expect(action).toHaveBeenCalledTimes(1);
});

test('without the option nothing is remembered or counted', async () => {
  const breaker = make(positive);
  await breaker.fire(1);
  await breaker.fire(1);
  expect(breaker.stats).toMatchObject({ cacheHits: 0, cacheMisses: 0, successes: 2 });
});

test('failures are not remembered', async () => {
  const breaker = make(positive, { cache: true, errorThresholdPercentage: 100 });
  await settle(breaker.fire(-1));
  await settle(breaker.fire(-1));
  expect(breaker.stats).toMatchObject({ cacheHits: 0, cacheMisses: 2, failures: 2 });
});

test('filtered errors and fallbacks are not remembered', async () => {
  const filtered = make(positive, { cache: true, errorFilter: () => true });
  await settle(filtered.fire(-1));
  await settle(filtered.fire(-1));
  expect(filtered.stats.cacheHits).toBe(0);
  const fallen = make(positive, { cache: true, errorThresholdPercentage: 100 });
  fallen.fallback(() => 'instead');
  await fallen.fire(-1);
  await fallen.fire(-1);
  expect(fallen.stats).toMatchObject({ cacheHits: 0, fallbacks: 2 });
});

test('cacheTTL bounds the age of what is served', async () => {
  const pass = stopTime();
  const breaker = make(positive, { cache: true, cacheTTL: 30 });
  await breaker.fire(1);
  await breaker.fire(1);
  await pass(45);
  await breaker.fire(1);
  expect(breaker.stats).toMatchObject({ cacheHits: 1, cacheMisses: 2 });
});

test('cacheSize bounds the number of entries; the oldest goes first', async () => {
  const breaker = make(positive, { cache: true, cacheSize: 2 });
  for (const x of [1, 2, 3]) await breaker.fire(x);
  expect(breaker.options.cacheTransport).toBeInstanceOf(MemoryCache);
  expect(breaker.options.cacheTransport.cache.size).toBe(2);
  await breaker.fire(3);
  await breaker.fire(2);
  await breaker.fire(1);
  expect(breaker.stats).toMatchObject({ cacheHits: 2, cacheMisses: 4 });
});

test('cacheGetKey makes the key', async () => {
  const breaker = make(x => x.value, { cache: true, cacheGetKey: x => x.id });
  expect(await breaker.fire({ id: 'a', value: 1 })).toBe(1);
  expect(await breaker.fire({ id: 'a', value: 2 })).toBe(1);
  expect(await breaker.fire({ id: 'b', value: 3 })).toBe(3);
  expect([...breaker.options.cacheTransport.cache.keys()]).toEqual(['a', 'b']);
});

test('clearCache clears cached results', async () => {
  const breaker = make(positive, { cache: true });
  await breaker.fire(1);
  breaker.clearCache();
  await breaker.fire(1);
  expect(breaker.stats).toMatchObject({ cacheHits: 0, cacheMisses: 2 });
  make(positive).clearCache();
});

test('a synchronous transport is asked, filled and flushed', async () => {
  const cacheTransport = mapTransport();
  const breaker = make(positive, { cache: true, cacheTransport });
  expect(await breaker.fire(1)).toBe(1);
  await flush();
  expect(cacheTransport.calls).toEqual([['[1]', 0]]);
  expect(await cacheTransport.map.get('[1]')).toBe(1);
  expect(await breaker.fire(1)).toBe(1);
  expect(breaker.stats).toMatchObject({ cacheHits: 1, cacheMisses: 1 });
  breaker.clearCache();
  expect(cacheTransport.map.size).toBe(0);
});

test('a transport gets the time at which an entry expires', async () => {
  const cacheTransport = mapTransport();
  const breaker = make(positive, { cache: true, cacheTTL: 5000, cacheTransport });
  const before = Date.now();
  await breaker.fire(1);
  await flush();
  const [[, expiresAt]] = cacheTransport.calls;
  expect(expiresAt).toBeGreaterThanOrEqual(before + 5000);
  expect(expiresAt).toBeLessThanOrEqual(Date.now() + 5000);
});

test('results that another process stored in the transport are served', async () => {
  const action = jest.fn(positive);
  const cacheTransport = mapTransport();
  cacheTransport.map.set('[1]', 'from elsewhere');
  const breaker = make(action, { cache: true, cacheTransport });
  expect(await breaker.fire(1)).toBe('from elsewhere');
  expect(action).not.toHaveBeenCalled();
});

test('shutdown flushes the cache', async () => {
  const cacheTransport = mapTransport();
  const breaker = make(positive, { cache: true, cacheTransport });
  await breaker.fire(1);
  breaker.shutdown();
  expect(cacheTransport.map.size).toBe(0);
});

test('calls in flight with the same arguments share one call', async () => {
  const held = defer();
  const action = jest.fn(() => held.promise);
  const breaker = make(action, { coalesce: true });
  const calls = [breaker.fire(1), breaker.fire(1), breaker.fire(1)];
  held.resolve('shared');
  expect(await Promise.all(calls)).toEqual(['shared', 'shared', 'shared']);
  expect(action).toHaveBeenCalledTimes(1);
  expect(breaker.stats).toMatchObject({
    fires: 3, successes: 1, coalesceCacheHits: 2, coalesceCacheMisses: 1, cacheHits: 0,
  });
});

test('calls in flight share a failure and a fallback too', async () => {
  const options = { coalesce: true, errorThresholdPercentage: 100 };
  const failing = make(positive, options);
  const results = await Promise.all([failing.fire(-1), failing.fire(-1)].map(settle));
  expect(results[0].error).toBe(results[1].error);
  const fallback = jest.fn(() => 'instead');
  const fallen = make(positive, options).fallback(fallback);
  expect(await Promise.all([fallen.fire(-1), fallen.fire(-1)])).toEqual(['instead', 'instead']);
  expect(fallback).toHaveBeenCalledTimes(1);
});

test('different arguments are different calls', async () => {
  const action = jest.fn(positive);
  const breaker = make(action, { coalesce: true });
  expect(await Promise.all([breaker.fire(1), breaker.fire(2)])).toEqual([1, 2]);
  expect(action).toHaveBeenCalledTimes(2);
});

test('a settled call is shared until coalesceTTL has passed', async () => {
  const pass = stopTime();
  const breaker = make(positive, { coalesce: true, coalesceTTL: 30 });
  await breaker.fire(1);
  await breaker.fire(1);
  expect(breaker.stats.coalesceCacheHits).toBe(1);
  await pass(45);
  await breaker.fire(1);
  expect(breaker.stats).toMatchObject({ coalesceCacheHits: 1, coalesceCacheMisses: 2 });
});

test.each([
  ['success', 1], ['error', -1], ['timeout', 0],
])('coalesceResetOn %s stops sharing a call that ended so', async (outcome, x) => {
  const action = y => (y === 0 ? new Promise(() => {}) : positive(y));
  const options = { coalesce: true, timeout: 10, errorThresholdPercentage: 100 };
  const kept = make(action, { ...options, coalesceTTL: 60_000 });
  const reset = make(action, { ...options, coalesceTTL: 60_000, coalesceResetOn: [outcome] });
  for (const breaker of [kept, reset]) {
    await settle(breaker.fire(x));
    await flush();
    await settle(breaker.fire(x));
  }
  expect(kept.stats.coalesceCacheHits).toBe(1);
  expect(reset.stats.coalesceCacheHits).toBe(0);
});

test('coalesceResetOn success stops sharing a call that returned a plain value', async () => {
  const breaker = make(x => x, { coalesce: true, coalesceResetOn: ['success'] });
  await breaker.fire(1);
  await flush();
  await breaker.fire(1);
  expect(breaker.stats).toMatchObject({ coalesceCacheHits: 0, successes: 2 });
});

test('coalesceSize bounds the calls that are shared', async () => {
  const held = defer();
  const breaker = make(() => held.promise, { coalesce: true, coalesceSize: 1 });
  const calls = [1, 2, 1].map(x => breaker.fire(x));
  expect(breaker.stats.coalesceCacheHits).toBe(0);
  held.resolve();
  await Promise.all(calls);
});

test('a rejection because of capacity is not shared', async () => {
  const held = defer();
  const breaker = make(() => held.promise, {
    coalesce: true, capacity: 1, errorThresholdPercentage: 100,
  });
  const first = breaker.fire('a');
  expect((await settle(breaker.fire('b'))).error.code).toBe('ESEMLOCKED');
  held.resolve('free');
  await first;
  await flush();
  expect(breaker.stats.coalesceCacheMisses).toBe(2);
  expect(breaker.semaphore.count).toBe(1);
});

test('clearCache clears shared calls', async () => {
  const breaker = make(positive, { coalesce: true });
  await breaker.fire(1);
  breaker.clearCache();
  await breaker.fire(1);
  expect(breaker.stats.coalesceCacheHits).toBe(0);
});

test('cache and coalescing together: in flight shared, afterwards remembered', async () => {
  const breaker = make(positive, { cache: true, coalesce: true });
  const seen = record(breaker, ['cacheHit', 'cacheMiss', 'coalesceCacheHit', 'coalesceCacheMiss']);
  await Promise.all([breaker.fire(1), breaker.fire(1)]);
  await flush();
  await breaker.fire(1);
  expect(namesOf(seen)).toEqual([
    'cacheMiss', 'coalesceCacheMiss', 'cacheMiss', 'coalesceCacheHit', 'cacheHit',
  ]);
});

test('MemoryCache keeps values until they expire; 0 means for ever', async () => {
  const pass = stopTime();
  const cache = new MemoryCache();
  // The calendar of a time that is stopped may be a little behind.
  cache.set('brief', 1, Date.now() + 200);
  cache.set('lasting', 2, 0);
  expect([cache.get('brief'), cache.get('lasting'), cache.get('none')]).toEqual([1, 2, undefined]);
  await pass(400);
  expect([cache.get('brief'), cache.get('lasting')]).toEqual([undefined, 2]);
  expect(cache.cache.size).toBe(1);
});

test('MemoryCache drops its oldest entry when full, and never for an update', () => {
  const cache = new MemoryCache(2);
  expect(cache.maxEntries).toBe(2);
  cache.set('a', 1, 0);
  cache.set('b', 2, 0);
  cache.set('a', 3, 0);
  expect(cache.cache.size).toBe(2);
  cache.set('c', 4, 0);
  expect([cache.get('a'), cache.get('b'), cache.get('c')]).toEqual([undefined, 2, 4]);
});

test('MemoryCache deletes and flushes', () => {
  const cache = new MemoryCache();
  expect(cache.maxEntries).toBe(2 ** 24 - 1);
  cache.set('a', 1, 0);
  cache.set('b', 2, 0);
  cache.delete('a');
  expect([cache.get('a'), cache.get('b')]).toEqual([undefined, 2]);
  cache.flush();
  expect(cache.cache.size).toBe(0);
});
