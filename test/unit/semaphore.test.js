'use strict';

// The semaphore of opossum's shape: take, release, test, count.

const { setTimeout: sleep } = require('node:timers/promises');

const { Permits } = require('../../lib/primitives/permits');
const Semaphore = require('../../lib/primitives/semaphore');
const native = require('../../lib/base/native');

test('works with and without new, and without this', async () => {
  for (const semaphore of [Semaphore(2), new Semaphore(2)]) {
    expect(Object.keys(semaphore).sort()).toEqual(['count', 'release', 'take', 'test']);
    const { take, release, test: tryTake } = semaphore;
    await take();
    expect(tryTake()).toBe(true);
    expect(tryTake()).toBe(false);
    release();
    expect(semaphore.count).toBe(1);
  }
});

test('count is what is left, and cannot be set', async () => {
  const semaphore = Semaphore(2);
  expect(semaphore.count).toBe(2);
  semaphore.take();
  expect(semaphore.count).toBe(1);
  expect(() => { semaphore.count = 4; }).toThrow(TypeError);
  expect(semaphore.count).toBe(1);
});

test('take resolves with a function that gives that permit back, once', async () => {
  const semaphore = Semaphore(2);
  const release = await semaphore.take();
  await semaphore.take();
  expect(semaphore.count).toBe(0);
  release();
  release();
  expect(semaphore.count).toBe(1);
});

test('release beyond the count changes nothing', async () => {
  const semaphore = Semaphore(1);
  semaphore.release();
  semaphore.release();
  expect(semaphore.count).toBe(1);
  expect(semaphore.test()).toBe(true);
  expect(semaphore.test()).toBe(false);
});

test('those who wait are served in order, and the count stays at 0 meanwhile', async () => {
  const semaphore = Semaphore(1);
  await semaphore.take();
  const served = [];
  const waiting = [1, 2, 3].map(i => semaphore.take().then(() => served.push(i)));
  await sleep(0);
  expect(served).toEqual([]);
  for (let i = 1; i <= 3; i++) {
    semaphore.release();
    expect(semaphore.test()).toBe(false);
    await waiting[i - 1];
    expect(served).toHaveLength(i);
    expect(semaphore.count).toBe(0);
  }
  expect(served).toEqual([1, 2, 3]);
  semaphore.release();
  expect(semaphore.count).toBe(1);
});

test('a wait that times out rejects, and takes nobody else out of the line', async () => {
  const semaphore = Semaphore(1);
  await semaphore.take();
  const patient = semaphore.take();
  await expect(semaphore.take(5)).rejects
    .toMatchObject({ code: 'ETIMEDOUT', message: 'Timed out after 5ms' });
  semaphore.release();
  await patient;
  expect(semaphore.count).toBe(0);
  semaphore.release();
  expect(semaphore.count).toBe(1);
});

test('the timer of a wait that was served is gone', async () => {
  const timers = () => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length;
  const before = timers();
  const semaphore = Semaphore(1);
  await semaphore.take();
  const waiting = semaphore.take(60000);
  expect(timers()).toBe(before + 1);
  semaphore.release();
  await waiting;
  expect(timers()).toBe(before);
});

test('without a limit it counts', async () => {
  for (const count of [Number.MAX_SAFE_INTEGER, Infinity]) {
    const semaphore = Semaphore(count);
    for (let i = 0; i < 1000; i++) expect(semaphore.test()).toBe(true);
    expect(semaphore.count).toBe(count - 1000);
    for (let i = 0; i < 1001; i++) semaphore.release();
    expect(semaphore.count).toBe(count);
  }
});

test('native memory is taken when it is first needed', () => {
  // Enough handles to use up those that came back, so that the next one is the highest.
  const handles = Array.from({ length: 200 }, () => native.createBulkhead(1));
  const highest = Math.max(...handles);
  new Permits(Infinity).acquire();
  new Permits(5);
  new Permits(0).acquire();
  const next = native.createBulkhead(1);
  expect(next).toBeLessThanOrEqual(highest + 1);
  for (const handle of [...handles, next]) native.destroyBulkhead(handle);
});

test.each([0, -1])('%d permits are none', async (count) => {
  const semaphore = Semaphore(count);
  expect(semaphore.count).toBe(count);
  expect(semaphore.test()).toBe(false);
  await expect(semaphore.take(1)).rejects.toMatchObject({ code: 'ETIMEDOUT' });
  semaphore.release();
  expect(semaphore.count).toBe(count);
});

test('the largest limited count is exact', () => {
  const count = Number.MAX_SAFE_INTEGER - 1;
  const semaphore = Semaphore(count);
  expect(semaphore.test()).toBe(true);
  expect(semaphore.count).toBe(count - 1);
});

test.each([[undefined], ['2'], [NaN], [1.5], [null], [{}]])('a count of %p is refused', (count) => {
  expect(() => Semaphore(count)).toThrow(expect.objectContaining({
    code: 'ERR_INVALID_OPTION', option: 'count',
  }));
});

test('20,000 waiters time out in constant time each', async () => {
  const semaphore = Semaphore(1);
  await semaphore.take();
  const waiting = Array.from({ length: 20000 }, () => semaphore.take(1).catch(e => e.code));
  const codes = new Set(await Promise.all(waiting));
  expect([...codes]).toEqual(['ETIMEDOUT']);
  semaphore.release();
  expect(semaphore.count).toBe(1);
});

test('handles of collected semaphores are used again', async () => {
  const { setFlagsFromString } = require('node:v8');
  setFlagsFromString('--expose-gc');
  const gc = require('node:vm').runInNewContext('gc');
  // So many that none is left of those that came back.
  const handles = Array.from({ length: 5000 }, () => native.createBulkhead(1));
  const highest = Math.max(...handles);
  const count = 500;
  for (let i = 0; i < count; i++) Semaphore(1).test();
  // Only the collector gives back those of the semaphores. When it does is up to the engine.
  for (let found = false; !found;) {
    gc();
    await new Promise(setImmediate);
    const handle = native.createBulkhead(1);
    handles.push(handle);
    found = handle > highest && handle <= highest + count;
  }
  for (const handle of handles) native.destroyBulkhead(handle);
});
