'use strict';

// The figures: stats, the window they come from, snapshots, percentiles, and the Status class.

const { EventEmitter } = require('node:events');

const {
  CircuitBreaker, Status, make, positive, never, settle, sleep, stopTime, once, defer,
} = require('../support/breaker-helpers');

const COUNTS = [
  'failures', 'fallbacks', 'successes', 'rejects', 'fires', 'timeouts', 'cacheHits',
  'cacheMisses', 'coalesceCacheHits', 'coalesceCacheMisses', 'semaphoreRejections',
];
const PERCENTILES = [0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 1];
const lenient = { errorThresholdPercentage: 100 };

const every = value => Object.fromEntries(PERCENTILES.map(p => [p, value]));

test('before the first call every count is 0', () => {
  const { stats } = make(positive);
  expect(stats).toEqual({
    ...Object.fromEntries(COUNTS.map(name => [name, 0])),
    percentiles: every(0), latencyTimes: [], latencyMean: 0,
  });
});

test('each outcome is counted under its name', async () => {
  const held = defer();
  const action = x => (x === 'hold' ? held.promise : x === 'hang' ? never() : positive(x));
  const breaker = make(action, { capacity: 2, timeout: 15, cache: true, ...lenient });
  breaker.fallback(() => 'instead');
  await breaker.fire(1);
  await breaker.fire(1);
  await breaker.fire(-1);
  const calls = [breaker.fire('hold'), breaker.fire('hang'), breaker.fire('locked out')];
  held.resolve();
  await Promise.all(calls);
  breaker.open();
  await breaker.fire(2);
  expect(breaker.stats).toMatchObject({
    fires: 7, successes: 2, cacheHits: 1, cacheMisses: 6, timeouts: 1, semaphoreRejections: 1,
    rejects: 1, fallbacks: 4,
  });
});

test('a timeout is also a failure', async () => {
  const breaker = make(never, { timeout: 10, ...lenient });
  await settle(breaker.fire());
  expect(breaker.stats).toMatchObject({ timeouts: 1, failures: 1 });
});

test('counts are up to date inside listeners', async () => {
  const breaker = make(positive, lenient);
  const seen = [];
  for (const [event, name] of [['fire', 'fires'], ['success', 'successes'],
    ['failure', 'failures']]) {
    breaker.on(event, () => seen.push([name, breaker.stats[name]]));
  }
  await breaker.fire(1);
  await settle(breaker.fire(-1));
  expect(seen).toEqual([['fires', 1], ['successes', 1], ['fires', 2], ['failures', 1]]);
});

test('stats are a copy', async () => {
  const breaker = make(positive);
  await breaker.fire(1);
  const { stats } = breaker;
  await breaker.fire(2);
  expect(stats.fires).toBe(1);
  breaker.stats.fires = 99;
  expect(breaker.stats.fires).toBe(2);
});

test('latencyTimes has one time per success and failure, ascending', async () => {
  const breaker = make(ms => sleep(ms).then(() => ms), { timeout: 1000 });
  await Promise.all([breaker.fire(30), breaker.fire(5), breaker.fire(15)]);
  const { latencyTimes, latencyMean, percentiles } = breaker.stats;
  expect(latencyTimes).toHaveLength(3);
  expect(latencyTimes.toSorted((a, b) => a - b)).toEqual(latencyTimes);
  expect(latencyTimes[0]).toBeGreaterThanOrEqual(4);
  expect(latencyTimes[2]).toBeGreaterThanOrEqual(29);
  const sum = latencyTimes.reduce((a, b) => a + b);
  expect(Math.abs(latencyMean - sum / 3)).toBeLessThanOrEqual(1);
  expect(percentiles[0]).toBe(latencyTimes[0]);
  expect(percentiles[0.5]).toBe(latencyTimes[1]);
  expect(percentiles[1]).toBe(latencyTimes[2]);
});

test('percentiles: the smallest time that covers the percentage', () => {
  const status = new Status({});
  for (let ms = 60; ms >= 1; ms--) status.increment('successes', ms);
  const { percentiles, latencyMean, latencyTimes } = status.stats;
  expect(percentiles).toEqual({
    0: 1, 0.25: 15, 0.5: 30, 0.75: 45, 0.9: 54, 0.95: 57, 0.99: 60, 0.995: 60, 1: 60,
  });
  expect(latencyMean).toBe(30.5);
  expect(latencyTimes).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
  status.shutdown();
});

test('large percentiles are exact within 1.6 %', () => {
  const status = new Status({});
  for (let i = 1; i <= 1000; i++) status.increment('failures', i * 37);
  const { percentiles, latencyMean } = status.stats;
  const share = { 0: 0.001, 0.25: 0.25, 0.5: 0.5, 0.75: 0.75, 0.9: 0.9, 0.99: 0.99, 1: 1 };
  for (const [p, part] of Object.entries(share)) {
    expect(Math.abs(percentiles[p] / (part * 37000) - 1)).toBeLessThanOrEqual(0.016);
  }
  expect(Math.abs(latencyMean / (500.5 * 37) - 1)).toBeLessThanOrEqual(0.016);
  status.shutdown();
});

test('rollingPercentilesEnabled: false shows -1 and keeps no times', async () => {
  const breaker = make(positive, { rollingPercentilesEnabled: false });
  await breaker.fire(1);
  expect(breaker.status.rollingPercentilesEnabled).toBe(false);
  expect(breaker.stats).toMatchObject({
    successes: 1, latencyMean: -1, percentiles: every(-1), latencyTimes: [],
  });
  expect(make(positive).status.rollingPercentilesEnabled).toBe(true);
});

test('the window has one entry per bucket, the newest first', async () => {
  const breaker = make(positive, { rollingCountTimeout: 60_000, rollingCountBuckets: 6 });
  await breaker.fire(1);
  const { window } = breaker.status;
  expect(Array.isArray(window)).toBe(true);
  expect(window).toHaveLength(6);
  expect(window[0]).toMatchObject({ fires: 1, successes: 1, failures: 0 });
  expect(window[0].latencyTimes).toHaveLength(1);
  expect(window[5].fires).toBe(0);
  for (const bucket of window) expect(Object.keys(bucket)).toEqual(expect.arrayContaining(COUNTS));
});

test('old buckets leave the window', async () => {
  const pass = stopTime();
  const breaker = make(positive, { rollingCountTimeout: 80, rollingCountBuckets: 2 });
  await breaker.fire(1);
  await pass(50);
  expect(breaker.status.window[0].fires).toBe(0);
  await breaker.fire(2);
  await pass(150);
  expect(breaker.stats).toMatchObject({ fires: 0, successes: 0 });
  expect(breaker.status.window).toHaveLength(2);
});

test('the newest bucket tells whether the breaker opened', async () => {
  const breaker = make(positive);
  breaker.open();
  expect(breaker.status.window[0].isCircuitBreakerOpen).toBe(true);
  breaker.close();
  expect(breaker.status.window[0].isCircuitBreakerOpen).toBe(false);
});

test('each bucket of a Status shows whether it opened or closed', () => {
  const rotateBucketController = new EventEmitter();
  const breaker = make(positive, { rotateBucketController, rollingCountBuckets: 3 });
  const seen = [];
  for (const move of ['open', 'close', 'fire', 'open', 'close']) {
    breaker[move]();
    seen.push(breaker.status.window.map(({ isCircuitBreakerOpen: open }) => open));
    rotateBucketController.emit('rotate');
  }
  expect(seen).toEqual([
    [true, undefined, undefined], [false, true, undefined], [undefined, false, true],
    [true, undefined, false], [false, true, undefined],
  ]);
});

test('in a timeout listener the timeout is counted, but not yet the failure', async () => {
  const breaker = make(never, { timeout: 10 });
  const seen = [];
  const look = () => seen.push([breaker.stats.timeouts, breaker.stats.failures]);
  breaker.on('timeout', look).on('failure', look);
  await settle(breaker.fire());
  expect(seen).toEqual([[1, 0], [1, 1]]);
  expect(breaker.stats.latencyTimes).toHaveLength(2);
});

test('a breaker that is shut down emits no snapshots, whenever a listener is added', async () => {
  const pass = stopTime();
  const breaker = make(positive, { rollingCountTimeout: 20, rollingCountBuckets: 2 });
  breaker.shutdown();
  const heard = jest.fn();
  breaker.status.on('snapshot', heard);
  await pass(50);
  expect(heard).not.toHaveBeenCalled();
});

test('status emits a snapshot of the stats for each bucket', async () => {
  const breaker = make(positive, { rollingCountTimeout: 60_000, rollingCountBuckets: 1000 });
  await breaker.fire(1);
  const [snapshot] = await once(breaker.status, 'snapshot');
  expect(snapshot).toMatchObject({ fires: 1, successes: 1, percentiles: expect.any(Object) });
  const start = performance.now();
  await once(breaker.status, 'snapshot');
  expect(performance.now() - start).toBeLessThan(30_000);
});

test('enableSnapshots: false emits no snapshots', async () => {
  const pass = stopTime();
  const breaker = make(positive, {
    rollingCountTimeout: 20, rollingCountBuckets: 2, enableSnapshots: false,
  });
  expect(breaker.status.enableSnapshots).toBe(false);
  expect(make(positive).status.enableSnapshots).toBe(true);
  const heard = jest.fn();
  breaker.status.on('snapshot', heard);
  await pass(50);
  expect(heard).not.toHaveBeenCalled();
});

test('rotateBucketController: buckets move only on its rotate events', async () => {
  const pass = stopTime();
  const rotateBucketController = new EventEmitter();
  const breaker = make(positive, {
    rotateBucketController, rollingCountTimeout: 10, rollingCountBuckets: 2,
  });
  await breaker.fire(1);
  await pass(30);
  expect(breaker.stats.fires).toBe(1);
  rotateBucketController.emit('rotate');
  expect(breaker.status.window.map(({ fires }) => fires)).toEqual([0, 1]);
  rotateBucketController.emit('rotate');
  expect(breaker.stats.fires).toBe(0);
});

test('rotateBucketController: each enabled breaker listens once', () => {
  const rotateBucketController = new EventEmitter();
  const [first, second] = [0, 1].map(() => make(positive, { rotateBucketController }));
  const count = () => rotateBucketController.listenerCount('rotate');
  expect(count()).toBe(2);
  first.enable();
  expect(count()).toBe(2);
  first.disable();
  expect(count()).toBe(1);
  first.enable();
  expect(count()).toBe(2);
  second.shutdown();
  expect(count()).toBe(1);
});

test('newStatus makes a Status with the given counts', () => {
  const status = CircuitBreaker.newStatus({ stats: { fires: 4, failures: 3, rejects: 2 } });
  expect(status).toBeInstanceOf(Status);
  expect(status.stats).toMatchObject({ fires: 4, failures: 3, rejects: 2, successes: 0 });
  expect(status.window).toHaveLength(10);
  status.shutdown();
});

test('a Status counts by itself, in as many buckets as asked for', () => {
  const status = new Status({ rollingCountBuckets: 3, rollingCountTimeout: 60_000 });
  expect(status).toBeInstanceOf(EventEmitter);
  for (const name of COUNTS) status.increment(name);
  status.increment('successes', 12);
  expect(status.stats).toMatchObject({
    ...Object.fromEntries(COUNTS.map(name => [name, 1])), successes: 2,
  });
  status.open();
  expect(status.window[0].isCircuitBreakerOpen).toBe(true);
  status.close();
  expect(status.window[0].isCircuitBreakerOpen).toBe(false);
  expect(status.window).toHaveLength(3);
  status.shutdown();
});

test('a Status that is shut down emits nothing more', async () => {
  const status = new Status({ rollingCountBuckets: 2, rollingCountTimeout: 20 });
  await once(status, 'snapshot');
  const heard = jest.fn();
  status.on('snapshot', heard);
  status.shutdown();
  status.on('snapshot', heard);
  await sleep(40);
  expect(heard).not.toHaveBeenCalled();
});
