'use strict';

// Taking a breaker's state and figures out, and starting another one from them.

const {
  CircuitBreaker, Status, make, positive, fragile, halfOpened, settle, trip, once, stopTime,
} = require('../support/breaker-helpers');

test('toJSON shows the state and the stats', async () => {
  const breaker = make(positive, { name: 'snap' });
  await breaker.fire(1);
  const json = breaker.toJSON();
  expect(Object.keys(json)).toEqual(['state', 'status']);
  expect(json.state).toMatchObject({
    name: 'snap', enabled: true, closed: true, open: false, halfOpen: false, warmUp: false,
    shutdown: false,
  });
  expect(json.state).toHaveProperty('lastTimerAt');
  expect(json.status).toEqual(breaker.stats);
});

test('JSON.stringify takes it', async () => {
  const breaker = make(positive);
  await breaker.fire(1);
  const { state, status } = JSON.parse(JSON.stringify(breaker));
  expect(state.closed).toBe(true);
  expect(status.successes).toBe(1);
});

test.each([
  ['open', breaker => breaker.open(), { closed: false, open: true, halfOpen: false }],
  ['disabled', breaker => breaker.disable(), { enabled: false, closed: true }],
  ['shut down', breaker => breaker.shutdown(), { shutdown: true, closed: false }],
])('toJSON of a breaker that is %s', (_, change, state) => {
  const breaker = make(positive);
  change(breaker);
  expect(breaker.toJSON().state).toMatchObject(state);
});

test('toJSON of a breaker that is half open', async () => {
  const breaker = await halfOpened();
  expect(breaker.toJSON().state).toMatchObject({ closed: false, open: false, halfOpen: true });
});

test('lastTimerAt is the time of a trip', async () => {
  const breaker = fragile();
  const before = Date.now();
  await trip(breaker);
  const { lastTimerAt } = breaker.toJSON().state;
  // One millisecond is the grain of the calendar clock.
  expect(lastTimerAt).toBeLessThanOrEqual(Date.now());
  expect(before - lastTimerAt).toBeLessThan(1000);
});

test('a breaker starts closed from a closed state and from an empty one', async () => {
  for (const state of [{ closed: true }, {}]) {
    const breaker = make(positive, { state, errorThresholdPercentage: 1 });
    expect(breaker.closed).toBe(true);
    expect(breaker.enabled).toBe(true);
    await trip(breaker);
    expect(breaker.opened).toBe(true);
  }
});

test('a breaker starts open from a state that is not closed, and recovers', async () => {
  const breaker = fragile({ state: { closed: false } });
  expect(breaker.opened).toBe(true);
  expect((await settle(breaker.fire(1))).error.code).toBe('EOPENBREAKER');
  await once(breaker, 'halfOpen');
  expect(await breaker.fire(1)).toBe(1);
  expect(breaker.closed).toBe(true);
});

test('a breaker whose reset time has already passed starts half open', async () => {
  const breaker = fragile({ state: { closed: false, lastTimerAt: Date.now() - 60_000 } });
  expect(breaker.halfOpen).toBe(true);
  expect(breaker.pendingClose).toBe(true);
  expect(await breaker.fire(1)).toBe(1);
  expect(breaker.closed).toBe(true);
});

test('a breaker that was half open is half open again, with one probe', async () => {
  const breaker = fragile({ state: { closed: false, halfOpen: true }, resetTimeout: 60_000 });
  expect([breaker.halfOpen, breaker.pendingClose, breaker.opened]).toEqual([true, true, false]);
  await trip(breaker);
  expect(breaker.opened).toBe(true);
});

test('a breaker that was shut down stays shut down', async () => {
  const breaker = make(positive, { state: { closed: false, shutdown: true } });
  expect(breaker.isShutdown).toBe(true);
  expect(breaker.enabled).toBe(false);
  expect((await settle(breaker.fire(1))).error.code).toBe('ESHUTDOWN');
});

test('enabled and warmUp are restored', async () => {
  const pass = stopTime();
  expect(make(positive, { state: { enabled: false } }).enabled).toBe(false);
  const warming = fragile({ state: { warmUp: true }, rollingCountTimeout: 30 });
  expect(warming.warmUp).toBe(true);
  await trip(warming);
  expect(warming.closed).toBe(true);
  await pass(45);
  expect(warming.warmUp).toBe(false);
});

test('status may be a plain object with some of the counts', async () => {
  const status = { fires: 10, failures: 4, successes: 6 };
  const breaker = make(positive, { status });
  expect(breaker.stats).toMatchObject({ ...status, rejects: 0, timeouts: 0 });
  await breaker.fire(1);
  expect(breaker.stats).toMatchObject({ fires: 11, successes: 7 });
});

test('restored counts count towards the trip', async () => {
  const breaker = make(positive, { status: { fires: 9, failures: 5 } });
  await trip(breaker);
  expect(breaker.opened).toBe(true);
  const healthy = make(positive, { status: { fires: 99, failures: 5 } });
  await trip(healthy);
  expect(healthy.closed).toBe(true);
});

test('status may be a Status', async () => {
  const status = CircuitBreaker.newStatus({ stats: { fires: 3, successes: 3 } });
  const breaker = make(positive, { status });
  expect(breaker.status).toBe(status);
  await breaker.fire(1);
  expect(status.stats).toMatchObject({ fires: 4, successes: 4 });
});

test('breakers with the same Status count together, and trip alone', async () => {
  const rules = { volumeThreshold: 4, errorThresholdPercentage: 40 };
  const one = make(positive, { ...rules, rollingCountBuckets: 3 });
  const other = make(positive, { ...rules, status: one.status });
  expect(other.status).toBe(one.status);
  for (const x of [1, 2, -3]) await settle(one.fire(x));
  expect([one.closed, other.stats.fires, other.status.window.length]).toEqual([true, 3, 3]);
  await trip(other);
  expect([one.opened, other.opened]).toEqual([false, true]);
  expect(one.stats).toEqual(other.stats);
  expect(one.stats).toMatchObject({ fires: 4, failures: 2, successes: 2 });
  one.status.window[0].failures = 0;
  expect(other.stats.failures).toBe(0);
});

test('a shared window lasts as long as its last breaker', async () => {
  const breaker = (() => {
    const first = make(positive);
    const second = make(positive, { status: first.status });
    first.shutdown();
    return second;
  })();
  await breaker.fire(1);
  expect(breaker.stats.fires).toBe(1);
});

test('a Status has the window, whatever the options say', async () => {
  const pass = stopTime();
  const status = new Status({ rollingCountTimeout: 100, rollingCountBuckets: 2 });
  const breaker = make(positive, { status, rollingCountTimeout: 10_000 });
  await breaker.fire(1);
  await pass(100);
  expect(breaker.stats.fires).toBe(0);
});

test('a breaker that others share on the host has no Status of another', () => {
  const status = new Status();
  expect(() => make(positive, { name: 'shared-status', scope: 'process', status }))
    .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'status' }));
});

test('state and status together restore a breaker', async () => {
  const original = fragile({ resetTimeout: 60_000 });
  await original.fire(1);
  await trip(original);
  await settle(original.fire(2));
  const { state, status } = JSON.parse(JSON.stringify(original));
  const copy = fragile({ resetTimeout: 60_000, state, status });
  expect(copy.opened).toBe(true);
  expect(copy.stats).toMatchObject({ fires: 3, successes: 1, failures: 1, rejects: 1 });
  expect(copy.stats.latencyTimes).toHaveLength(2);
  expect(copy.toJSON().state).toMatchObject({ name: state.name, closed: false, open: true });
});
