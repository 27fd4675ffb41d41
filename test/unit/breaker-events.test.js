'use strict';

// The events of each kind of call: their arguments, and the order in which they come.

const {
  CircuitBreaker, make, positive, never, fragile, halfOpened, record, namesOf, settle, trip, once,
  defer, sleep,
} = require('../support/breaker-helpers');

const ms = expect.any(Number);

test('success: fire, success', async () => {
  const breaker = make(positive);
  const seen = record(breaker);
  await breaker.fire(1, 'b');
  expect(seen).toEqual([['fire', [1, 'b']], ['success', 1, ms]]);
});

test('success carries the latency in milliseconds', async () => {
  const breaker = make(() => sleep(20).then(() => 'slept'));
  const heard = once(breaker, 'success');
  await breaker.fire();
  const [result, latency] = await heard;
  expect(result).toBe('slept');
  expect(latency).toBeGreaterThan(15);
  // Microseconds would be more.
  expect(latency).toBeLessThan(15_000);
});

test('failure: fire, failure', async () => {
  const breaker = make(positive, { errorThresholdPercentage: 100 });
  const seen = record(breaker);
  const error = await trip(breaker, -1, 'b');
  expect(seen).toEqual([['fire', [-1, 'b']], ['failure', error, ms, [-1, 'b']]]);
});

test('failure that opens: failure, open, fallback', async () => {
  const breaker = fragile().fallback(() => 'instead');
  const seen = record(breaker);
  expect(await breaker.fire(-1)).toBe('instead');
  const error = seen[1][1];
  expect(error.message).toBe('-1 is negative');
  expect(seen).toEqual([
    ['fire', [-1]], ['failure', error, ms, [-1]], ['open'], ['fallback', 'instead', error],
  ]);
});

test('timeout: timeout, failure, open, fallback, then the abort', async () => {
  const abortController = new AbortController();
  const breaker = make(never, { timeout: 10, errorThresholdPercentage: 1, abortController });
  breaker.fallback(() => 'instead');
  const seen = record(breaker);
  abortController.signal.addEventListener('abort', () => seen.push(['abort']));
  expect(await breaker.fire('a')).toBe('instead');
  const error = seen[1][1];
  expect(error).toMatchObject({ message: 'Timed out after 10ms', code: 'ETIMEDOUT' });
  expect(CircuitBreaker.isOurError(error)).toBe(true);
  expect(seen).toEqual([
    ['fire', ['a']], ['timeout', error, ms, ['a']], ['failure', error, ms, ['a']], ['open'],
    ['fallback', 'instead', error], ['abort'],
  ]);
});

test('open: fire, reject, fallback', async () => {
  const breaker = make(positive);
  breaker.open();
  breaker.fallback(() => 'instead');
  const seen = record(breaker);
  expect(await breaker.fire(1)).toBe('instead');
  const error = seen[1][1];
  expect(error).toMatchObject({ message: 'Breaker is open', code: 'EOPENBREAKER' });
  expect(seen).toEqual([['fire', [1]], ['reject', error], ['fallback', 'instead', error]]);
});

test('open without a fallback: the rejection is the error of the reject event', async () => {
  const breaker = make(positive);
  breaker.open();
  const seen = record(breaker);
  const { error } = await settle(breaker.fire(1));
  expect(seen).toEqual([['fire', [1]], ['reject', error]]);
});

test('semaphore locked: fire, semaphoreLocked, fallback', async () => {
  const held = defer();
  const breaker = make(x => (x === 'hold' ? held.promise : positive(x)),
    { capacity: 1, errorThresholdPercentage: 100 });
  breaker.fallback(() => 'instead');
  const first = breaker.fire('hold');
  const seen = record(breaker);
  expect(await breaker.fire(2)).toBe('instead');
  const error = seen[1][1];
  expect(error).toMatchObject({ message: 'Semaphore locked', code: 'ESEMLOCKED' });
  expect(CircuitBreaker.isOurError(error)).toBe(true);
  const apart = seen.filter(([name]) => name !== 'failure');
  expect(apart).toEqual([
    ['fire', [2]], ['semaphoreLocked', error, ms], ['fallback', 'instead', error],
  ]);
  held.resolve();
  await first;
});

test('semaphore locked, filtered: no failure and no fallback', async () => {
  const breaker = make(never, {
    capacity: 1, timeout: 0, errorFilter: ({ code }) => code === 'ESEMLOCKED',
  });
  breaker.fallback(() => 'instead');
  breaker.fire(1);
  const seen = record(breaker);
  const { error } = await settle(breaker.fire(2));
  expect(seen).toEqual([
    ['fire', [2]], ['semaphoreLocked', error, ms], ['success', error, ms],
  ]);
});

test('half open: the event carries resetTimeout', async () => {
  const breaker = fragile({ resetTimeout: 25 });
  const seen = record(breaker, ['open', 'halfOpen']);
  await trip(breaker);
  await once(breaker, 'halfOpen');
  expect(seen).toEqual([['open'], ['halfOpen', 25]]);
});

test('probe success: close comes before the success listeners', async () => {
  const breaker = await halfOpened();
  const seen = record(breaker);
  breaker.on('success', () => seen.push(['closed?', breaker.closed]));
  await breaker.fire(1);
  expect(seen).toEqual([['fire', [1]], ['close'], ['success', 1, ms], ['closed?', true]]);
});

test('probe failure: fire, failure, open', async () => {
  const breaker = await halfOpened();
  const seen = record(breaker);
  await trip(breaker);
  expect(namesOf(seen)).toEqual(['fire', 'failure', 'open']);
});

test('filtered error: success with the error, no fallback, and a rejection', async () => {
  const fallback = jest.fn();
  const breaker = fragile({ errorFilter: () => true }).fallback(fallback);
  const seen = record(breaker);
  const { error } = await settle(breaker.fire(-1));
  expect(error.message).toBe('-1 is negative');
  expect(seen).toEqual([['fire', [-1]], ['success', error, ms]]);
  expect(fallback).not.toHaveBeenCalled();
});

test('a filtered error of a probe: close, success', async () => {
  const breaker = await halfOpened({ errorFilter: error => error.message.startsWith('-2') });
  const seen = record(breaker);
  await settle(breaker.fire(-2));
  expect(namesOf(seen)).toEqual(['fire', 'close', 'success']);
});

test('cache: a miss comes before the call, a hit ends it', async () => {
  const breaker = make(positive, { cache: true });
  const seen = record(breaker);
  await breaker.fire(1);
  expect(seen.splice(0)).toEqual([['fire', [1]], ['cacheMiss'], ['success', 1, ms]]);
  expect(await breaker.fire(1)).toBe(1);
  expect(seen).toEqual([['fire', [1]], ['cacheHit']]);
});

test('cache: a hit is served while open, a miss is rejected', async () => {
  const breaker = make(positive, { cache: true });
  await breaker.fire(1);
  breaker.open();
  const seen = record(breaker);
  expect(await breaker.fire(1)).toBe(1);
  expect(namesOf(seen.splice(0))).toEqual(['fire', 'cacheHit']);
  expect((await settle(breaker.fire(2))).error.code).toBe('EOPENBREAKER');
  expect(namesOf(seen)).toEqual(['fire', 'cacheMiss', 'reject']);
});

test('coalesce: the second caller joins the first', async () => {
  const breaker = make(positive, { coalesce: true });
  const seen = record(breaker);
  const results = await Promise.all([breaker.fire(1), breaker.fire(1)]);
  expect(results).toEqual([1, 1]);
  expect(seen).toEqual([
    ['fire', [1]], ['coalesceCacheMiss'], ['fire', [1]], ['coalesceCacheHit'], ['success', 1, ms],
  ]);
});

test('cache is asked before coalescing', async () => {
  const breaker = make(positive, { cache: true, coalesce: true });
  const seen = record(breaker);
  await breaker.fire(1);
  await breaker.fire(1);
  expect(namesOf(seen)).toEqual([
    'fire', 'cacheMiss', 'coalesceCacheMiss', 'success', 'fire', 'cacheHit',
  ]);
});

test('disabled: fire, and nothing else', async () => {
  const breaker = make(positive, { enabled: false, cache: true, coalesce: true });
  const seen = record(breaker);
  await breaker.fire(1);
  await settle(breaker.fire(-1));
  expect(seen).toEqual([['fire', [1]], ['fire', [-1]]]);
});

test('shutdown: one event, and none afterwards', async () => {
  const breaker = make(positive);
  const seen = record(breaker);
  breaker.shutdown();
  await settle(breaker.fire(1));
  expect(seen).toEqual([['shutdown']]);
  expect(breaker.listenerCount('fire')).toBe(0);
});

test('the events come before the promise settles', async () => {
  const breaker = fragile();
  const seen = record(breaker);
  breaker.fire(1).then(() => seen.push(['resolved']));
  await once(breaker, 'success');
  await settle(breaker.fire(-1).catch(error => {
    seen.push(['rejected']);
    throw error;
  }));
  expect(namesOf(seen)).toEqual([
    'fire', 'success', 'resolved', 'fire', 'failure', 'open', 'rejected',
  ]);
});

test('fire is emitted synchronously', () => {
  const breaker = make(positive);
  const seen = record(breaker);
  const call = breaker.fire(1);
  expect(namesOf(seen)).toEqual(['fire']);
  return call;
});

test('eventNames lists all events even without listeners, because metrics adapters use it', () => {
  const breaker = make(positive);
  expect(breaker.eventNames()).toEqual([
    'success', 'failure', 'fallback', 'timeout', 'fire', 'reject', 'cacheHit', 'cacheMiss',
    'coalesceCacheHit', 'coalesceCacheMiss', 'open', 'close', 'semaphoreLocked',
  ]);
  breaker.on('halfOpen', () => {}).on('fire', () => {});
  expect(breaker.eventNames()).toHaveLength(14);
  expect(breaker.eventNames()).toContain('halfOpen');
  breaker.shutdown();
  expect(breaker.eventNames()).toEqual([]);
});

test('listeners may be added and removed while the breaker is in use', async () => {
  const breaker = make(positive);
  const heard = jest.fn();
  await breaker.fire(1);
  breaker.on('success', heard);
  await breaker.fire(2);
  breaker.off('success', heard);
  await breaker.fire(3);
  expect(heard.mock.calls).toEqual([[2, ms]]);
});
