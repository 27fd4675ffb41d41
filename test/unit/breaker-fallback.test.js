'use strict';

// What answers instead when the action does not.

const {
  CircuitBreaker, make, positive, never, fragile, record, settle, defer,
} = require('../support/breaker-helpers');

test('fallback() returns the breaker', () => {
  const breaker = make(positive);
  expect(breaker.fallback(() => {})).toBe(breaker);
});

test('a fallback gets the arguments, then the error, and its value is the result', async () => {
  const fallback = jest.fn((a, b) => `${a}/${b}`);
  const breaker = fragile().fallback(fallback);
  expect(await breaker.fire(-1, 'b')).toBe('-1/b');
  const [[first, second, error, ...rest]] = fallback.mock.calls;
  expect([first, second, rest]).toEqual([-1, 'b', []]);
  expect(error.message).toBe('-1 is negative');
  expect(breaker.stats).toMatchObject({ failures: 1, fallbacks: 1 });
});

test('a fallback is not used for a success', async () => {
  const fallback = jest.fn();
  await make(positive).fallback(fallback).fire(1);
  expect(fallback).not.toHaveBeenCalled();
});

test.each([0, '', null, undefined, false])('a fallback may answer %p', async value => {
  expect(await fragile().fallback(() => value).fire(-1)).toBe(value);
});

test('a fallback may answer with a promise, and the event shows that promise', async () => {
  const breaker = fragile().fallback(async x => x * 10);
  const seen = record(breaker, ['fallback']);
  expect(await breaker.fire(-1)).toBe(-10);
  expect(seen[0][1]).toBeInstanceOf(Promise);
  expect(await seen[0][1]).toBe(-10);
});

test('a fallback also answers when open, after a timeout and at capacity', async () => {
  const codes = [];
  const fallback = (...args) => codes.push(args.at(-1).code);
  const open = make(positive).fallback(fallback);
  open.open();
  await open.fire(1);
  await make(never, { timeout: 10 }).fallback(fallback).fire();
  const held = defer();
  const full = make(() => held.promise, { capacity: 1 }).fallback(fallback);
  const first = full.fire();
  await full.fire();
  held.resolve();
  await first;
  expect(codes).toEqual(['EOPENBREAKER', 'ETIMEDOUT', 'ESEMLOCKED']);
});

test('if a fallback rejects, the call rejects with that error', async () => {
  const breaker = fragile().fallback(() => Promise.reject(new Error('neither')));
  expect((await settle(breaker.fire(-1))).error.message).toBe('neither');
  expect((await settle(breaker.fire(1))).error.message).toBe('neither');
  expect(breaker.stats.fallbacks).toBe(2);
});

test('if a fallback throws, the call rejects with that error', async () => {
  const breaker = fragile().fallback(() => { throw new Error('neither'); });
  expect((await settle(breaker.fire(-1))).error.message).toBe('neither');
  expect((await settle(breaker.fire(1))).error.message).toBe('neither');
});

test('another breaker may be the fallback', async () => {
  const spare = make((x, error) => `spare for ${x}: ${error.message}`);
  const breaker = fragile().fallback(spare);
  expect(await breaker.fire(-1)).toBe('spare for -1: -1 is negative');
  expect(spare.stats).toMatchObject({ fires: 1, successes: 1 });
});

test('if a breaker as fallback fails, the call rejects with that error', async () => {
  const breaker = fragile().fallback(fragile());
  expect((await settle(breaker.fire(-1))).error.message).toBe('-1 is negative');
});

test('the last fallback that was set is used', async () => {
  const breaker = fragile().fallback(() => 'first').fallback(() => 'second');
  expect(await breaker.fire(-1)).toBe('second');
});

test('when a call times out and then fails, the fallback runs once', async () => {
  const late = defer();
  const fallback = jest.fn(() => 'instead');
  const breaker = make(() => late.promise, { timeout: 10 }).fallback(fallback);
  expect(await breaker.fire()).toBe('instead');
  late.reject(new Error('too late'));
  await settle(late.promise);
  expect(fallback).toHaveBeenCalledTimes(1);
  expect(breaker.stats).toMatchObject({ failures: 1, fallbacks: 1, timeouts: 1 });
});

test('a disabled breaker does not fall back', async () => {
  const breaker = fragile({ enabled: false }).fallback(() => 'instead');
  expect((await settle(breaker.fire(-1))).error.message).toBe('-1 is negative');
});

test('a breaker that is shut down does not fall back', async () => {
  const breaker = fragile().fallback(() => 'instead');
  breaker.shutdown();
  const { error } = await settle(breaker.fire(1));
  expect(error.code).toBe('ESHUTDOWN');
  expect(CircuitBreaker.isOurError(error)).toBe(true);
});
