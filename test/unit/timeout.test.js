'use strict';

const { spawnSync } = require('node:child_process');
const path = require('node:path');

const { Timeout } = require('../../lib/primitives/limits');
const { useVirtualClock } = require('../../lib/testing/virtual-clock');

const settle = promise => promise.then(value => ({ value }), error => ({ error }));
const never = () => new Promise(() => {});

let time;
beforeEach(() => { time = useVirtualClock(); });
afterEach(() => time.restore());

test('an attempt that is in time answers, and leaves no timer', async () => {
  const limit = new Timeout(50);
  await expect(limit.execute(async ({ attempt }) => attempt)).resolves.toBe(1);
  await expect(limit.execute(() => { throw new Error('no'); })).rejects.toThrow('no');
  await time.advance(100);
});

test('one that is not rejects with ETIMEDOUT, and its signal aborts with that', async () => {
  let given;
  const outcome = settle(new Timeout(50).execute(({ signal }) => {
    given = signal;
    return never();
  }));
  await time.advance(49);
  expect(given.aborted).toBe(false);
  await time.advance(1);
  const { error } = await outcome;
  expect(error).toMatchObject({ code: 'ETIMEDOUT', message: 'Timed out after 50ms' });
  expect(given.reason).toBe(error);
});

test('each attempt may take longer, up to max', async () => {
  const limit = new Timeout({ initial: 15000, increment: 5000, max: 22000 });
  expect([1, 2, 3, 4].map(n => limit.limitOf(n))).toEqual([15000, 20000, 22000, 22000]);
  const outcome = settle(limit.execute(never, { attempt: 2 }));
  await time.advance(20000);
  expect((await outcome).error.message).toBe('Timed out after 20000ms');
});

test('a caller that aborts ends the attempt with the reason', async () => {
  const controller = new AbortController();
  let given;
  const outcome = settle(new Timeout(50).execute(({ signal }) => {
    given = signal;
    return never();
  }, { signal: controller.signal }));
  await undefined;
  controller.abort('enough');
  expect(await outcome).toEqual({ error: 'enough' });
  expect(given.reason).toBe('enough');
  const called = jest.fn();
  const { signal } = controller;
  await expect(new Timeout(5).execute(called, { signal })).rejects.toBe('enough');
  expect(called).not.toHaveBeenCalled();
});

test('Infinity is no limit', async () => {
  const outcome = settle(new Timeout(Infinity).execute(async () => 'late'));
  await time.advance(1e9);
  expect(await outcome).toEqual({ value: 'late' });
});

test.each([
  ['text', '5', TypeError], ['0', 0, RangeError], ['NaN', NaN, TypeError],
  ['null', null, TypeError],
  ['no initial', {}, TypeError], ['a negative increment', { initial: 1, increment: -1 }, RangeError]
])('refuses %s', (_, limit, Type) => {
  expect(() => new Timeout(limit)).toThrow(Type);
  expect(() => new Timeout(limit)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
});

test('refuses an fn that is none, and a signal that is none', async () => {
  const limit = new Timeout(5);
  await expect(limit.execute(5)).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
  await expect(limit.execute(never, { signal: {} }))
    .rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
});

// In a process of its own, as Jest keeps the warnings of Node.js to itself.
test('calls that share a signal are not taken for a leak', () => {
  const script = `
    const {
      AdaptiveLimiter, Bulkhead, CircuitBreaker, Timeout, policy, retry,
    } = require('./lib');
    const { signal } = new AbortController();
    const each = [
      call => new CircuitBreaker(call).run(call, { signal }),
      call => new Timeout(1000).execute(call, { signal }),
      call => new Bulkhead({ maxConcurrent: 1 }).execute(call, { signal }),
      call => new AdaptiveLimiter({ initial: 1, maxQueue: 20 }).execute(call, { signal }),
      call => policy({ retry: {}, timeout: 1000 }).execute(call, { signal }),
      call => retry(call, { signal }),
    ];
    for (const way of each) for (let i = 0; i < 20; i++) way(() => new Promise(setImmediate));
  `;
  const { status, stderr } = spawnSync(process.execPath, ['-e', script], {
    cwd: path.join(__dirname, '../..'), encoding: 'utf8', timeout: 100_000
  });
  expect([status, stderr]).toEqual([0, '']);
});
