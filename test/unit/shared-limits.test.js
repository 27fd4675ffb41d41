'use strict';

// Bulkheads, rate limiters and retry budgets with a scope, in one process on a virtual clock: two
// objects of one name stand for two environments.

const clock = require('../../lib/base/clock');
const { regions } = require('../../lib/base/regions');
const { Bulkhead, RateLimiter, RetryBudget } = require('../../lib/primitives/limits');
const { useVirtualClock } = require('../../lib/testing/virtual-clock');
const { testShared } = require('../support/breaker-helpers');

/** What became of a promise: { value } or { error }. */
const settle = promise => promise.then(value => ({ value }), error => ({ error }));

/** A promise with its handles outside. */
function defer () {
  const handles = {};
  handles.promise = new Promise((resolve, reject) => Object.assign(handles, { resolve, reject }));
  return handles;
}

let time;
let source;
beforeEach(() => {
  const installed = jest.spyOn(clock, 'setVirtual');
  time = useVirtualClock();
  [[source]] = installed.mock.calls;
  installed.mockRestore();
});
afterEach(() => time.restore());

const namespace = `limits-${process.pid}`;
afterAll(() => regions.remove(namespace));
let count = 0;
let place;
beforeEach(() => { place = { scope: 'host', namespace, name: `limit-${++count}` }; });

testShared('bulkheads with one name share one limit', async () => {
  const options = { ...place, maxConcurrent: 2 };
  const [one, other] = [new Bulkhead(options), new Bulkhead(options)];
  const alone = new Bulkhead({ ...options, scope: 'instance' });
  const [first, second] = [defer(), defer()];
  const running = [one.execute(() => first.promise), other.execute(() => second.promise)];
  expect([one.active, other.active, alone.active]).toEqual([2, 2, 0]);
  expect([one.local, alone.local]).toEqual([{ active: 2 }, { active: 0 }]);
  await expect(one.execute(() => {})).rejects.toMatchObject({ code: 'EBULKHEADFULL' });
  second.resolve();
  await running[1];
  expect(await one.execute(() => 'now')).toBe('now');
  first.reject(new Error('failed'));
  await settle(running[0]);
  expect(other.active).toBe(0);
});

testShared('a queue gets slots that are released elsewhere', async () => {
  const options = { ...place, maxConcurrent: 1, maxQueue: 2 };
  const [one, other] = [new Bulkhead(options), new Bulkhead(options)];
  const call = defer();
  const running = one.execute(() => call.promise);
  const order = [];
  const waiting = ['a', 'b'].map(name => other.execute(() => { order.push(name); }));
  await time.advance(1000);
  expect([other.queued, order]).toEqual([2, []]);
  call.resolve();
  await running;
  expect(order).toEqual([]);
  await time.advance(16);
  await Promise.all(waiting);
  expect([other.queued, order]).toEqual([0, ['a', 'b']]);
  expect(one.active).toBe(0);
});

testShared('without waiting calls there is no polling', async () => {
  const options = { ...place, maxConcurrent: 1, maxQueue: 2, queueTimeout: 50 };
  const [one, other] = [new Bulkhead(options), new Bulkhead(options)];
  const call = defer();
  const running = one.execute(() => call.promise);
  const timers = jest.spyOn(source, 'setTimer');
  const controller = new AbortController();
  const aborted = settle(other.execute(() => {}, { signal: controller.signal }));
  const late = settle(other.execute(() => {}));
  await time.advance(49);
  expect(timers.mock.calls.length).toBeGreaterThan(4);
  controller.abort(new Error('gave up'));
  await time.advance(1);
  expect(await aborted).toEqual({ error: new Error('gave up') });
  expect((await late).error).toMatchObject({ code: 'EBULKHEADFULL' });
  timers.mockClear();
  await time.advance(1000);
  expect(timers).not.toHaveBeenCalled();
  call.resolve();
  await running;
});

testShared('rate limiters with one name share one rate', async () => {
  const options = { ...place, limit: 10, interval: 1000, burst: 3 };
  const [one, other] = [new RateLimiter(options), new RateLimiter(options)];
  expect([one.tryTake(2), other.tryTake(2), other.tryTake(1)]).toEqual([true, false, true]);
  await expect(one.execute(() => {})).rejects
    .toMatchObject({ code: 'ERATELIMITED', retryAfterMs: 100 });
  await time.advance(100);
  expect([other.tryTake(), one.tryTake()]).toEqual([true, false]);
});

testShared('a call that loses its token to others waits no longer than maxWait', async () => {
  const options = { ...place, limit: 10, interval: 1000, burst: 1 };
  const one = new RateLimiter({ ...options, maxWait: 1000 });
  const other = new RateLimiter({ ...options, maxWait: 150 });
  one.tryTake();
  const first = one.execute(() => 'first');
  const loser = settle(other.execute(() => 'second'));
  await time.advance(100);
  expect(await first).toBe('first');
  await time.advance(50);
  expect(other.queued).toBe(1);
  await time.advance(1);
  expect((await loser).error).toMatchObject({ code: 'ERATELIMITED', retryAfterMs: 49 });
  const inTime = settle(other.execute(() => 'third'));
  await time.advance(49);
  expect(await inTime).toEqual({ value: 'third' });
});

testShared('retry budgets with one name share one balance', () => {
  const options = { ...place, reservePerSecond: 0, ratio: 0.5 };
  const [one, other] = [new RetryBudget(options), new RetryBudget(options)];
  one.deposit();
  other.deposit();
  expect([one.balance(), other.balance()]).toEqual([1, 1]);
  expect([other.tryWithdraw(), one.tryWithdraw()]).toEqual([true, false]);
});

const rate = { limit: 5, interval: 1000 };
testShared.each([
  [Bulkhead, { maxConcurrent: 5 }, { maxConcurrent: 6 }, 'bulkhead'],
  [RateLimiter, rate, { limit: 6, interval: 100, burst: 5 }, 'rate limiter'],
  [RateLimiter, rate, { ...rate, burst: 4 }, 'rate limiter'],
  [RetryBudget, {}, { ratio: 0.2, reservePerSecond: 1, max: 5 }, 'retry budget'],
])('%p of %p is not shared with %p', (Class, options, others, kind) => {
  const differing = Object.keys(others).filter(name =>
    others[name] !== { burst: 5, ...options }[name]);
  const first = new Class({ ...place, ...options });
  expect(() => new Class({ ...place, ...others })).toThrow(expect.objectContaining({
    code: 'ERR_OPTIONS_MISMATCH',
    options: differing,
    message: `The ${kind} '${place.name}' exists (scope 'host', namespace '${namespace}') ` +
      `with other options: ${differing.join(', ')}`,
  }));
  expect(first).toBeInstanceOf(Class);
});

testShared('options of one thread may differ', () => {
  const bulkhead = { ...place, maxConcurrent: 1 };
  new Bulkhead(bulkhead);
  expect(new Bulkhead({ ...bulkhead, maxQueue: 5, queueTimeout: 7 }).maxQueue).toBe(5);
  const limiter = { ...place, ...rate, name: `${place.name}-rate` };
  new RateLimiter(limiter);
  expect(new RateLimiter({ ...limiter, maxWait: 100, burst: 5 }).burst).toBe(5);
});

testShared('a name cannot be used for two kinds of things', () => {
  new Bulkhead({ ...place, maxConcurrent: 1 });
  const taken = expect.objectContaining({ code: 'ERR_NAME_TAKEN' });
  expect(() => new RateLimiter({ ...place, ...rate })).toThrow(taken);
  expect(() => new RetryBudget(place)).toThrow(taken);
});

testShared.each([
  [{ scope: 'fleet' }, 'scope'],
  [{ scope: null }, 'scope'],
  [{ name: undefined }, 'name'],
  [{ name: '' }, 'name'],
  [{ name: 5 }, 'name'],
  [{ name: '\u00e9'.repeat(128) }, 'name'],
  [{ namespace: '../x' }, 'namespace'],
  [{ namespace: 5 }, 'namespace'],
  [{ namespace: '' }, 'namespace'],
])('refuses %p', (wrong, option) => {
  const refused = expect.objectContaining({ code: 'ERR_INVALID_OPTION', option });
  expect(() => new Bulkhead({ ...place, maxConcurrent: 1, ...wrong })).toThrow(refused);
  expect(() => new RateLimiter({ ...place, ...rate, ...wrong })).toThrow(refused);
  expect(() => new RetryBudget({ ...place, ...wrong })).toThrow(refused);
});
