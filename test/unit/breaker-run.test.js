'use strict';

// run(): one breaker in front of any function, with a signal that belongs to the call.

const {
  make, positive, fragile, record, namesOf, settle, defer, flush, once,
} = require('../support/breaker-helpers');

const unused = () => { throw new Error('the action is not for run()'); };

/** Resolves with the reason when `signal` aborts. */
const aborted = signal => new Promise(resolve => {
  signal.addEventListener('abort', () => resolve(signal.reason), { once: true });
});

test('run calls the function with a signal, and resolves with its result', async () => {
  const breaker = make(unused);
  const fn = jest.fn(async ({ signal }) => signal.aborted);
  expect(await breaker.run(fn)).toBe(false);
  expect(fn.mock.calls).toEqual([[{ signal: expect.any(AbortSignal) }]]);
  expect(breaker.stats).toMatchObject({ fires: 1, successes: 1 });
});

test('run passes through the state, the counts and the events like fire', async () => {
  const breaker = make(unused, { errorThresholdPercentage: 1 });
  const seen = record(breaker);
  await breaker.run(async () => 'ok');
  const { error } = await settle(breaker.run(async () => { throw new Error('down'); }));
  expect(error.message).toBe('down');
  expect(namesOf(seen)).toEqual(['fire', 'success', 'fire', 'failure', 'open']);
  const fn = jest.fn();
  expect((await settle(breaker.run(fn))).error.code).toBe('EOPENBREAKER');
  expect(fn).not.toHaveBeenCalled();
});

test('run accepts synchronous functions, also those that throw', async () => {
  const breaker = make(unused, { errorThresholdPercentage: 100 });
  expect(await breaker.run(() => 'now')).toBe('now');
  expect((await settle(breaker.run(() => { throw new Error('now'); }))).error.message).toBe('now');
});

test('run falls back with its arguments and the error', async () => {
  const breaker = fragile();
  breaker.fallback((context, error) => [typeof context.signal, error.message]);
  expect(await breaker.run(() => positive(-1))).toEqual(['object', '-1 is negative']);
});

test('the signal aborts on timeout', async () => {
  const breaker = make(unused, { timeout: 10 });
  let reason;
  const call = breaker.run(({ signal }) => {
    reason = aborted(signal);
    return new Promise(() => {});
  });
  expect((await settle(call)).error.code).toBe('ETIMEDOUT');
  expect((await reason).name).toBe('TimeoutError');
  expect(breaker.stats).toMatchObject({ timeouts: 1, failures: 1 });
});

test('each call has a signal of its own', async () => {
  const breaker = make(unused, { timeout: 30, errorThresholdPercentage: 100 });
  const signals = [];
  const start = ms => breaker.run(({ signal }) => {
    signals.push(signal);
    return new Promise(resolve => setTimeout(resolve, ms));
  });
  const [slow, fast] = await Promise.all([start(200), start(5)].map(settle));
  expect(slow.error.code).toBe('ETIMEDOUT');
  expect(fast.error).toBeUndefined();
  await flush();
  expect(signals.map(signal => signal.aborted)).toEqual([true, false]);
});

test('the caller’s signal aborts the call at once, with the caller’s reason', async () => {
  const breaker = make(unused);
  const caller = new AbortController();
  let reason;
  const call = breaker.run(({ signal }) => {
    reason = aborted(signal);
    return new Promise(() => {});
  }, { signal: caller.signal });
  const why = new Error('the user left');
  caller.abort(why);
  expect((await settle(call)).error).toBe(why);
  expect(await reason).toBe(why);
});

test('the caller’s signal may abort while the function is being called', async () => {
  const breaker = make(unused, { timeout: false });
  const caller = new AbortController();
  let signal;
  const call = breaker.run(context => {
    ({ signal } = context);
    caller.abort(new Error('no longer needed'));
    return new Promise(() => {});
  }, { signal: caller.signal });
  expect((await settle(call)).error.message).toBe('no longer needed');
  expect(signal.aborted).toBe(true);
  expect(breaker.stats).toMatchObject({ fires: 1, failures: 0, successes: 0 });
});

test('a call that its caller aborts counts neither as a success nor as a failure', async () => {
  const breaker = fragile();
  const seen = record(breaker);
  const caller = new AbortController();
  const call = settle(breaker.run(() => new Promise(() => {}), { signal: caller.signal }));
  caller.abort();
  expect((await call).error.name).toBe('AbortError');
  expect(breaker.closed).toBe(true);
  expect(breaker.stats).toMatchObject({ fires: 1, successes: 0, failures: 0 });
  expect(namesOf(seen)).toEqual(['fire']);
});

test('a function that rejects because of the abort does not count a second time', async () => {
  const breaker = fragile();
  const caller = new AbortController();
  const call = settle(breaker.run(async ({ signal }) => { throw await aborted(signal); },
    { signal: caller.signal }));
  caller.abort();
  await call;
  await flush();
  expect(breaker.closed).toBe(true);
  expect(breaker.stats.failures).toBe(0);
});

test('with an aborted signal the function is not called', async () => {
  const breaker = make(unused);
  const fn = jest.fn();
  const { error } = await settle(breaker.run(fn, { signal: AbortSignal.abort() }));
  expect(error.name).toBe('AbortError');
  expect(fn).not.toHaveBeenCalled();
});

test('a call that its caller aborts frees its place and its probe', async () => {
  const breaker = make(unused, { capacity: 1, resetTimeout: 20 });
  breaker.open();
  await once(breaker, 'halfOpen');
  const caller = new AbortController();
  const call = settle(breaker.run(() => new Promise(() => {}), { signal: caller.signal }));
  expect(breaker.pendingClose).toBe(false);
  caller.abort();
  await call;
  expect(breaker.semaphore.count).toBe(1);
  expect(breaker.pendingClose).toBe(true);
  await breaker.run(async () => 'alive');
  expect(breaker.closed).toBe(true);
});

test('no listener stays on the caller’s signal', async () => {
  const breaker = make(unused, { errorThresholdPercentage: 100 });
  const { signal } = new AbortController();
  const added = jest.spyOn(signal, 'addEventListener');
  const removed = jest.spyOn(signal, 'removeEventListener');
  await breaker.run(async () => 'ok', { signal });
  await settle(breaker.run(async () => { throw new Error('down'); }, { signal }));
  expect(added).toHaveBeenCalledTimes(2);
  expect(removed.mock.calls.map(([, listener]) => listener))
    .toEqual(added.mock.calls.map(([, listener]) => listener));
});

test('a late abort changes nothing', async () => {
  const breaker = make(unused);
  const caller = new AbortController();
  const held = defer();
  const call = breaker.run(() => held.promise, { signal: caller.signal });
  held.resolve('done');
  expect(await call).toBe('done');
  caller.abort();
  await flush();
  expect(breaker.stats).toMatchObject({ fires: 1, successes: 1, failures: 0 });
});

test.each([undefined, 'text', 7, {}])('run(%p) is a TypeError', async fn => {
  const breaker = make(unused);
  const { error } = await settle(breaker.run(fn));
  expect(error).toBeInstanceOf(TypeError);
  expect(error.code).toBe('ERR_INVALID_OPTION');
  expect(breaker.stats.fires).toBe(0);
});

test.each([null, 7, 'text', { signal: 7 }, { signal: { aborted: false } }])(
  'run with the options %p rejects, and throws nothing', async options => {
    const breaker = make(unused);
    const { error } = await settle(breaker.run(() => {}, options));
    expect(error.code).toBe('ERR_INVALID_OPTION');
    expect(breaker.stats.fires).toBe(0);
  });

test('run is not cached and not shared', async () => {
  const breaker = make(unused, { cache: true, coalesce: true });
  const fn = jest.fn(async () => 'own');
  await Promise.all([breaker.run(fn), breaker.run(fn)]);
  expect(fn).toHaveBeenCalledTimes(2);
});

test('the option fallback works like the method', async () => {
  const options = { errorThresholdPercentage: 1 };
  const breaker = make(positive, { ...options, fallback: (x, error) => [x, error.message] });
  expect(await breaker.fire(-1)).toEqual([-1, '-1 is negative']);
  expect((await breaker.fire(1))[1]).toBe('Breaker is open');
  const spare = make(async x => `spare ${x}`);
  expect(await make(positive, { ...options, fallback: spare }).fire(-1)).toBe('spare -1');
  expect(await breaker.fallback(() => 'later').fire(1)).toBe('later');
});
