'use strict';

// A rate limiter for each key, on virtual time.

const { KeyedRateLimiter } = require('../../lib/primitives/limits');
const { useVirtualClock } = require('../../lib/testing');

let clock;
beforeEach(() => { clock = useVirtualClock(); });
afterEach(() => clock.restore());

const limiterOf = options => new KeyedRateLimiter({
  limit: 1, interval: 100, maxWait: 250, keysMax: 3, idleMs: 200, ...options
});

/** Sends a call for a key, and notes its name when its turn comes. */
function callsOf (limiter) {
  const done = [];
  const call = (key, name = key, options) =>
    limiter.execute(key, () => { done.push(name); }, options).catch(error => error);
  return { done, call };
}

test('each key has its own tokens, and its calls keep their order', async () => {
  const limiter = limiterOf();
  const { done, call } = callsOf(limiter);
  const calls = [call('a', 'a1'), call('a', 'a2'), call('a', 'a3'), call('b', 'b1')];
  await calls[3];
  expect(done).toEqual(['a1', 'b1']);
  await clock.advance(100);
  await calls[1];
  expect(done).toEqual(['a1', 'b1', 'a2']);
  await clock.advance(100);
  await calls[2];
  expect(done).toEqual(['a1', 'b1', 'a2', 'a3']);
});

test('a call that would wait too long is rejected; one that is aborted makes room', async () => {
  const limiter = limiterOf();
  const { done, call } = callsOf(limiter);
  await call('a', 'a1');
  const controller = new AbortController();
  const waiting = [call('a', 'a2', { signal: controller.signal }), call('a', 'a3')];
  expect(await call('a', 'a4')).toMatchObject({ code: 'ERATELIMITED', retryAfterMs: 300 });
  controller.abort();
  expect(await waiting[0]).toMatchObject({ name: 'AbortError' });
  await clock.advance(100);
  await waiting[1];
  expect(done).toEqual(['a1', 'a3']);
});

test('a bucket that is drained fills up from then on', async () => {
  const limiter = limiterOf();
  const { done, call } = callsOf(limiter);
  limiter.drain('a');
  await clock.advance(60);
  limiter.drain('a');
  const waiting = call('a');
  await clock.advance(99);
  expect(done).toEqual([]);
  // Calls that wait drain it themselves.
  limiter.drain('a');
  await clock.advance(1);
  await waiting;
  expect(done).toEqual(['a']);
});

test('a key that is idle is forgotten, and so is the least recently used of too many', async () => {
  const limiter = limiterOf();
  const { call } = callsOf(limiter);
  limiter.drain('a');
  await clock.advance(199);
  expect(limiter.has('a')).toBe(true);
  await call('a');
  await clock.advance(199);
  expect(limiter.has('a')).toBe(true);
  await clock.advance(1);
  expect(limiter.has('a')).toBe(false);

  for (const key of ['a', 'b', 'c']) await call(key);
  await clock.advance(100);
  await call('a');
  await call('d');
  expect(['a', 'b', 'c', 'd'].filter(key => limiter.has(key))).toEqual(['a', 'c', 'd']);
});
