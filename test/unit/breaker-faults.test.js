'use strict';

// Where this breaker deliberately differs from opossum: each test is a fault that is not kept.

const v8 = require('node:v8');
const vm = require('node:vm');

const {
  CircuitBreaker, Status, make, positive, never, fragile, halfOpened, settle, trip, once, defer,
  sleep, stopTime, flush,
} = require('../support/breaker-helpers');

const quick = ms => sleep(ms).then(() => 'still pending');

/** The warnings that the process is given while `act` runs. */
async function warningsDuring (act) {
  const spy = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
  try {
    await act();
    await flush();
    return spy.mock.calls.map(([message]) => message);
  } finally {
    spy.mockRestore();
  }
}

test('an action that returns undefined succeeds', async () => {
  const breaker = make(() => {});
  expect(await breaker.fire()).toBeUndefined();
  expect(breaker.stats).toMatchObject({ successes: 1, failures: 0 });
  expect(await make(() => null).fire()).toBeNull();
});

test('an action that returns undefined succeeds on a disabled breaker too', async () => {
  expect(await make(() => {}, { enabled: false }).fire()).toBeUndefined();
});

test.each([
  ['success', 1], ['failure', -1], ['open', -1], ['fallback', -1], ['fire', 1],
])('a listener of %s that throws leaves no call unsettled', async (event, x) => {
  const breaker = fragile().fallback(() => 'instead');
  breaker.on(event, () => { throw new Error('listener'); });
  const heard = jest.fn();
  breaker.on(event, heard);
  const warnings = await warningsDuring(async () => {
    const result = await Promise.race([settle(breaker.fire(x)), quick(40)]);
    expect(result).toEqual({ value: x > 0 ? 1 : 'instead' });
  });
  expect(heard).toHaveBeenCalledTimes(1);
  expect(warnings).toEqual([expect.stringContaining('listener')]);
});

test('a listener that throws does not turn a success into a failure', async () => {
  const breaker = make(positive);
  breaker.on('success', () => { throw new Error('listener'); });
  await warningsDuring(async () => expect(await breaker.fire(1)).toBe(1));
  expect(breaker.stats).toMatchObject({ successes: 1, failures: 0 });
});

test('an errorFilter that throws counts as false', async () => {
  const breaker = fragile({ errorFilter: () => { throw new Error('filter'); } });
  const warnings = await warningsDuring(async () => {
    const { error } = await Promise.race([settle(breaker.fire(-1)), quick(40)]);
    expect(error.message).toBe('-1 is negative');
  });
  expect(breaker.opened).toBe(true);
  expect(warnings).toHaveLength(1);
});

test('a probe that fails during warm-up opens the circuit again', async () => {
  const breaker = fragile({ allowWarmUp: true, rollingCountTimeout: 60_000 });
  breaker.open();
  await once(breaker, 'halfOpen');
  await trip(breaker);
  expect(breaker.opened).toBe(true);
  await once(breaker, 'halfOpen');
  expect(await breaker.fire(1)).toBe(1);
  expect(breaker.closed).toBe(true);
});

test('a probe that never settles loses its lease', async () => {
  const breaker = make(x => (x === 'hang' ? never() : positive(x)),
    { timeout: false, resetTimeout: 20, errorThresholdPercentage: 1 });
  await trip(breaker);
  await once(breaker, 'halfOpen');
  breaker.fire('hang');
  expect((await settle(breaker.fire(1))).error.code).toBe('EOPENBREAKER');
  await sleep(40);
  expect(breaker.pendingClose).toBe(true);
  expect(await breaker.fire(1)).toBe(1);
  expect(breaker.closed).toBe(true);
});

test('a success from before the trip does not close a half-open circuit', async () => {
  const old = defer();
  const breaker = make(x => (x === 'old' ? old.promise : positive(x)),
    { resetTimeout: 20, errorThresholdPercentage: 1 });
  const early = breaker.fire('old');
  await trip(breaker);
  await once(breaker, 'halfOpen');
  old.resolve('late');
  expect(await early).toBe('late');
  expect(breaker.halfOpen).toBe(true);
  expect(breaker.pendingClose).toBe(true);
});

test('a failure from before the trip does not open a half-open circuit', async () => {
  const old = defer();
  const breaker = make(x => (x === 'old' ? old.promise : positive(x)),
    { resetTimeout: 20, errorThresholdPercentage: 1 });
  const early = settle(breaker.fire('old'));
  await trip(breaker);
  await once(breaker, 'halfOpen');
  old.reject(new Error('late'));
  await early;
  expect(breaker.halfOpen).toBe(true);
  expect(await breaker.fire(1)).toBe(1);
  expect(breaker.closed).toBe(true);
});

test('a rejection because of capacity does not trip the breaker', async () => {
  const held = defer();
  const breaker = make(() => held.promise, { capacity: 1, errorThresholdPercentage: 1 });
  const first = breaker.fire();
  for (let i = 0; i < 10; i++) {
    expect((await settle(breaker.fire())).error.code).toBe('ESEMLOCKED');
  }
  expect(breaker.closed).toBe(true);
  expect(breaker.stats).toMatchObject({ semaphoreRejections: 10, failures: 0 });
  held.resolve('done');
  expect(await first).toBe('done');
});

test('if capacity rejects a probe, the next call is the probe', async () => {
  const held = defer();
  const breaker = make(x => (x === 'hold' ? held.promise : positive(x)),
    { capacity: 1, resetTimeout: 20, errorThresholdPercentage: 1 });
  const first = breaker.fire('hold');
  breaker.open();
  await once(breaker, 'halfOpen');
  expect((await settle(breaker.fire(1))).error.code).toBe('ESEMLOCKED');
  expect(breaker.halfOpen).toBe(true);
  held.resolve();
  await first;
  expect(await breaker.fire(1)).toBe(1);
  expect(breaker.closed).toBe(true);
});

test('later calls are not coalesced with one that capacity rejected', async () => {
  const held = defer();
  const breaker = make(x => (x === 'hold' ? held.promise : x), { capacity: 1, coalesce: true });
  const first = breaker.fire('hold');
  expect((await settle(breaker.fire(1))).error.code).toBe('ESEMLOCKED');
  held.resolve();
  await first;
  expect(await breaker.fire(1)).toBe(1);
});

test('lastTimerAt is the time when the circuit opened, not when it was made', async () => {
  const breaker = fragile();
  const made = Date.now();
  while (Date.now() < made + 30) await flush();
  await trip(breaker);
  const { lastTimerAt } = breaker.toJSON().state;
  expect(lastTimerAt - made).toBeGreaterThan(20);
});

test('enabled: false disables even with a state', () => {
  expect(make(positive, { enabled: false, state: { enabled: true } }).enabled).toBe(false);
});

test('breakers made from one options object share no cache, and do not change it', async () => {
  const options = { cache: true, coalesce: true };
  const first = make(async () => 'first', options);
  const second = make(async () => 'second', options);
  expect(await first.fire(1)).toBe('first');
  await flush();
  expect(await second.fire(1)).toBe('second');
  expect(options).toEqual({ cache: true, coalesce: true });
});

test('coalesceResetOn error stops sharing a call that threw synchronously', async () => {
  const action = jest.fn(() => { throw new Error('thrown'); });
  const breaker = make(action, {
    coalesce: true, coalesceResetOn: ['error'], errorThresholdPercentage: 100,
  });
  await settle(breaker.fire(1));
  await settle(breaker.fire(1));
  expect(action).toHaveBeenCalledTimes(2);
});

test('an asynchronous transport is awaited', async () => {
  const store = new Map();
  const cacheTransport = {
    get: async key => store.get(key),
    set: async (key, value) => store.set(key, await value),
    flush: async () => store.clear(),
  };
  const action = jest.fn(positive);
  const breaker = make(action, { cache: true, cacheTransport });
  expect(await breaker.fire(1)).toBe(1);
  await flush();
  expect([...store]).toEqual([['[1]', 1]]);
  expect(await breaker.fire(1)).toBe(1);
  expect(action).toHaveBeenCalledTimes(1);
  expect(breaker.stats).toMatchObject({ cacheHits: 1, cacheMisses: 1 });
});

test('a transport that fails is a cache miss, not a failed call', async () => {
  const fail = async () => { throw new Error('transport'); };
  const breaker = new CircuitBreaker(positive, {
    cache: true, cacheTransport: { get: fail, set: fail, flush: fail },
  });
  const warnings = await warningsDuring(async () => {
    expect(await breaker.fire(1)).toBe(1);
    await flush();
    breaker.clearCache();
    await flush();
    breaker.shutdown();
  });
  expect(warnings).toEqual(['get', 'set', 'flush', 'flush'].map(method =>
    `cacheTransport.${method} failed: transport`));
});

test('a health check ends with its breaker', async () => {
  const breaker = make(positive);
  const check = jest.fn(async () => {});
  breaker.healthCheck(check, 5);
  breaker.shutdown();
  await sleep(25);
  expect(check).toHaveBeenCalledTimes(1);
});

test('a health check may throw, and need not return a promise', async () => {
  const breaker = make(positive);
  breaker.healthCheck(() => {}, 60_000);
  await flush();
  expect(breaker.closed).toBe(true);
  const opened = once(breaker, 'open');
  breaker.healthCheck(() => { throw new Error('no pulse'); }, 60_000);
  await opened;
});

test('one call’s timeout does not abort the signal of another', async () => {
  const pass = stopTime();
  const signals = [];
  const held = defer();
  const breaker = make(() => {
    signals.push(breaker.getSignal());
    return held.promise;
  }, { timeout: 30, abortController: new AbortController() });
  const slow = settle(breaker.fire());
  await pass(20);
  const other = breaker.fire();
  await pass(20);
  expect((await slow).error.code).toBe('ETIMEDOUT');
  await flush();
  expect(signals.map(({ aborted }) => aborted)).toEqual([true, false]);
  held.resolve();
  await other;
});

test('times of 2^31 ms and more are that long', async () => {
  const breaker = make(() => sleep(20).then(() => 'done'), { timeout: 2 ** 31 });
  expect(await breaker.fire()).toBe('done');
  const open = fragile({ resetTimeout: 2 ** 32 });
  await trip(open);
  await sleep(10);
  expect(open.opened).toBe(true);
  const counting = make(positive, { rollingCountTimeout: 2 ** 35 });
  await counting.fire(1);
  await sleep(10);
  expect(counting.stats.fires).toBe(1);
});

test('rejecting with undefined is a failure like any other', async () => {
  const breaker = make(() => Promise.reject(), { errorThresholdPercentage: 100 });
  const result = await Promise.race([settle(breaker.fire()), quick(40)]);
  expect(result).toEqual({ error: undefined });
  expect(breaker.stats.failures).toBe(1);
  expect(await breaker.fallback(() => 'instead').fire()).toBe('instead');
  expect(CircuitBreaker.isOurError(undefined)).toBe(false);
  expect(CircuitBreaker.isOurError(null)).toBe(false);
});

test('a cacheGetKey that throws rejects the call', async () => {
  const breaker = make(positive, { cache: true });
  const circular = {};
  circular.self = circular;
  let call;
  expect(() => { call = breaker.fire(circular); }).not.toThrow();
  expect((await settle(call)).error).toBeInstanceOf(TypeError);
});

test('a disabled breaker turns a synchronous throw into a rejection', async () => {
  const breaker = make(() => { throw new Error('thrown'); }, { enabled: false });
  let call;
  expect(() => { call = breaker.fire(); }).not.toThrow();
  expect((await settle(call)).error.message).toBe('thrown');
});

test('latencies take the same memory however many calls there are', () => {
  v8.setFlagsFromString('--expose-gc');
  const gc = vm.runInNewContext('gc');
  const status = new Status({});
  const count = calls => {
    for (let i = 0; i < calls; i++) status.increment('successes', i % 500);
    gc();
    return process.memoryUsage().heapUsed;
  };
  const before = count(1000);
  expect(count(400_000) - before).toBeLessThan(1_000_000);
  expect(status.stats.successes).toBe(401_000);
  status.shutdown();
});

test('shutdown clears the timers of a probe, and stays', async () => {
  const breaker = await halfOpened();
  breaker.shutdown();
  breaker.open();
  breaker.close();
  expect(breaker.isShutdown).toBe(true);
  expect((await settle(breaker.fire(1))).error.code).toBe('ESHUTDOWN');
});
