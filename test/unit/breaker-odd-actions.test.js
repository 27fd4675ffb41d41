'use strict';

// Actions, listeners and fallbacks that misbehave: every call settles, once, and is counted once.

const {
  make, positive, fragile, settle, sleep, flush, trip, once, never,
} = require('../support/breaker-helpers');
const { ERRORS } = require('../support/hostile');

const lenient = { errorThresholdPercentage: 100 };
const soon = promise => Promise.race([settle(promise), sleep(200).then(() => 'unsettled')]);

let warn;
beforeEach(() => { warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {}); });
afterEach(() => warn.mockRestore());

const boom = new Error('boom');

const THENABLES = [
  ['resolves at once', { then (ok) { ok('fine'); } }, { value: 'fine' }],
  ['resolves later', { then (ok) { setImmediate(ok, 'fine'); } }, { value: 'fine' }],
  ['rejects at once', { then (ok, fail) { fail(boom); } }, { error: boom }],
  ['rejects with undefined', { then (ok, fail) { fail(); } }, { error: undefined }],
  ['throws', { then () { throw boom; } }, { error: boom }],
  ['resolves, then throws', { then (ok) { ok('fine'); throw boom; } }, { value: 'fine' }],
  ['rejects, then throws', { then (ok, fail) { fail(boom); throw new Error(); } }, { error: boom }],
  ['resolves twice', { then (ok) { ok('fine'); ok('again'); } }, { value: 'fine' }],
  ['resolves and rejects', { then (ok, fail) { ok('fine'); fail(boom); } }, { value: 'fine' }],
  ['rejects and resolves', { then (ok, fail) { fail(boom); ok('fine'); } }, { error: boom }],
  ['resolves with a promise', { then (ok) { ok(Promise.resolve('fine')); } }, { value: 'fine' }],
  ['resolves with a rejection', { then (ok) { ok(Promise.reject(boom)); } }, { error: boom }],
];

test.each(THENABLES)('a thenable that %s', async (_, thenable, outcome) => {
  for (const options of [{ timeout: false }, { timeout: 1000 }, { capacity: 1 }]) {
    const breaker = make(() => thenable, { ...options, ...lenient });
    expect(await soon(breaker.fire())).toEqual(outcome);
    const failed = 'error' in outcome ? 1 : 0;
    expect(breaker.stats).toMatchObject({ fires: 1, failures: failed, successes: 1 - failed });
  }
});

test('a result whose `then` is a getter that throws is a failure', async () => {
  const result = {};
  Object.defineProperty(result, 'then', { get () { throw boom; } });
  for (const options of [{ timeout: false }, { timeout: 1000 }, { capacity: 1 }]) {
    const breaker = make(() => result, { ...options, ...lenient });
    let call;
    expect(() => { call = breaker.fire(); }).not.toThrow();
    expect(await soon(call)).toEqual({ error: boom });
    expect(breaker.stats).toMatchObject({ failures: 1, successes: 0 });
  }
});

test('a function with a `then` is a thenable', async () => {
  const result = Object.assign(() => {}, { then (ok) { ok('fine'); } });
  expect(await soon(make(() => result).fire())).toEqual({ value: 'fine' });
});

test.each([undefined, null, 0, '', false, NaN, Symbol('reason'), 'text', { code: 7 }])(
  'a rejection with %p comes through', async reason => {
    for (const options of [{ timeout: false }, { timeout: 1000 }, { capacity: 1 }]) {
      const breaker = make(() => Promise.reject(reason), { ...options, ...lenient });
      expect(await soon(breaker.fire())).toEqual({ error: reason });
      expect(breaker.stats).toMatchObject({ failures: 1, successes: 0 });
    }
  });

test('a promise subclass is a promise', async () => {
  class Traced extends Promise {}
  const breaker = make(() => Traced.resolve('fine'));
  expect(await soon(breaker.fire())).toEqual({ value: 'fine' });
});

test('a promise whose `then` was replaced by one that throws is a failure', async () => {
  const broken = Promise.resolve('fine');
  broken.then = () => { throw boom; };
  for (const options of [{ timeout: false }, { timeout: 1000 }, { capacity: 1 }]) {
    const breaker = make(() => broken, { ...options, ...lenient });
    expect(await soon(breaker.fire())).toEqual({ error: boom });
    expect(breaker.stats).toMatchObject({ failures: 1, successes: 0 });
  }
});

test('calls that never settle time out, all of them', async () => {
  const breaker = make(() => new Promise(() => {}), { timeout: 15, ...lenient });
  const calls = await Promise.all(Array.from({ length: 20 }, () => soon(breaker.fire())));
  expect(new Set(calls.map(({ error }) => error.code))).toEqual(new Set(['ETIMEDOUT']));
});

const EVENT_CALLS = [
  ['fire', 1, {}], ['success', 1, {}], ['failure', -1, {}], ['open', -1, {}], ['fallback', -1, {}],
  ['cacheMiss', 1, { cache: true }], ['coalesceCacheMiss', 1, { coalesce: true }],
];

test.each(EVENT_CALLS)('a listener of %s that throws', async (event, x, options) => {
  for (const listener of [
    () => { throw boom; }, () => { throw undefined; }, async () => { throw boom; },
    () => ({ then (ok, fail) { fail(boom); } }), () => ({ then () { throw boom; } }),
  ]) {
    const breaker = fragile(options).fallback(() => 'instead');
    breaker.on(event, listener);
    expect(await soon(breaker.fire(x))).toEqual({ value: x > 0 ? 1 : 'instead' });
    await flush();
  }
  expect(warn).toHaveBeenCalledTimes(5);
});

test('an abortController whose abort throws lets all calls time out', async () => {
  const abortController = Object.assign(new AbortController(), { abort () { throw boom; } });
  const breaker = make(never, { timeout: 15, abortController, ...lenient });
  const calls = await Promise.all([1, 2, 3].map(() => soon(breaker.fire())));
  expect(calls.map(({ error }) => error.code)).toEqual(['ETIMEDOUT', 'ETIMEDOUT', 'ETIMEDOUT']);
});

test('calls settle even if an overridden emit throws', async () => {
  for (const x of [1, -1]) {
    const breaker = fragile({ capacity: 1 }).on('success', () => {}).on('failure', () => {});
    breaker.emit = () => { throw boom; };
    const { value = 'rejected' } = await soon(breaker.fire(x));
    delete breaker.emit;
    expect(value).toBe(x > 0 ? 1 : 'rejected');
  }
});

test('listeners of reject, semaphoreLocked, timeout, halfOpen and close that throw', async () => {
  const hang = new Promise(() => {});
  const breaker = make(x => (x === 0 ? hang : positive(x)),
    { capacity: 1, timeout: 20, resetTimeout: 20, errorThresholdPercentage: 1 });
  for (const event of ['reject', 'semaphoreLocked', 'timeout', 'halfOpen', 'close']) {
    breaker.on(event, () => { throw boom; });
  }
  const hanging = soon(breaker.fire(0));
  expect((await soon(breaker.fire(1))).error.code).toBe('ESEMLOCKED');
  expect((await hanging).error.code).toBe('ETIMEDOUT');
  expect((await soon(breaker.fire(1))).error.code).toBe('EOPENBREAKER');
  await once(breaker, 'halfOpen');
  expect(await soon(breaker.fire(1))).toEqual({ value: 1 });
  expect(breaker.closed).toBe(true);
  expect(warn).toHaveBeenCalledTimes(5);
});

test('a listener that throws during open() and shutdown() does not stop them', () => {
  const breaker = make(positive);
  breaker.on('open', () => { throw boom; }).on('shutdown', () => { throw boom; });
  breaker.open();
  expect(breaker.opened).toBe(true);
  breaker.shutdown();
  expect(breaker.isShutdown).toBe(true);
});

test('once listeners are called once', async () => {
  const breaker = make(positive);
  const heard = jest.fn();
  breaker.once('success', heard);
  await breaker.fire(1);
  await breaker.fire(2);
  expect(heard).toHaveBeenCalledTimes(1);
});

test('a listener may change the state that its event reports', async () => {
  const breaker = fragile();
  const seen = [];
  breaker.on('open', () => {
    seen.push('open');
    if (seen.length < 5) breaker.close();
  });
  breaker.on('close', () => seen.push('close'));
  await trip(breaker);
  expect(seen).toEqual(['open', 'close']);
  expect(breaker.closed).toBe(true);
  expect(await breaker.fire(1)).toBe(1);
});

test('a listener may close the breaker that rejects a call', async () => {
  const breaker = fragile();
  breaker.open();
  breaker.on('reject', () => breaker.close());
  expect((await settle(breaker.fire(1))).error.code).toBe('EOPENBREAKER');
  expect(await breaker.fire(1)).toBe(1);
});

test('a listener may fire the breaker', async () => {
  const breaker = fragile();
  const nested = new Promise(resolve => {
    breaker.once('open', () => resolve(settle(breaker.fire(1))));
  });
  await trip(breaker);
  expect((await nested).error.code).toBe('EOPENBREAKER');
});

test('a listener may shut the breaker down', async () => {
  for (const event of ['fire', 'success', 'failure', 'open']) {
    const breaker = fragile();
    breaker.on(event, () => breaker.shutdown());
    const outcome = await soon(breaker.fire(event === 'success' || event === 'fire' ? 1 : -1));
    expect(outcome).not.toBe('unsettled');
    expect(breaker.isShutdown).toBe(true);
  }
});

test.each([
  ['throws an error', () => { throw boom; }, { error: boom }],
  ['throws undefined', () => { throw undefined; }, { error: undefined }],
  ['rejects with undefined', () => Promise.reject(), { error: undefined }],
  ['gives a thenable', () => ({ then (ok) { ok('fine'); } }), { value: 'fine' }],
  ['gives a thenable that throws', () => ({ then () { throw boom; } }), { error: boom }],
])('a fallback that %s', async (_, fallback, outcome) => {
  const breaker = fragile().fallback(fallback);
  expect(await soon(breaker.fire(-1))).toEqual(outcome);
  expect(await soon(breaker.fire(1))).toEqual(outcome);
});

test('an errorFilter that throws, rejects or returns nonsense', async () => {
  for (const errorFilter of [
    () => { throw boom; }, () => { throw undefined; }, () => null, () => NaN,
  ]) {
    const breaker = fragile({ errorFilter });
    expect((await soon(breaker.fire(-1))).error.message).toBe('-1 is negative');
    expect(breaker.opened).toBe(true);
  }
});

test('an action that opens, closes or shuts down its own breaker', async () => {
  for (const method of ['open', 'close', 'shutdown', 'disable', 'clearCache']) {
    for (const options of [{ timeout: false }, { timeout: 1000 }, { capacity: 1 }]) {
      const breaker = make(async () => {
        breaker[method]();
        return 'done';
      }, options);
      expect(await soon(breaker.fire())).toEqual({ value: 'done' });
    }
  }
});

test('arguments and results are passed by identity', async () => {
  const argument = Object.freeze({ frozen: true });
  const breaker = make(x => x, { timeout: false });
  expect(await breaker.fire(argument)).toBe(argument);
  expect(await make(async x => x).fire(argument)).toBe(argument);
});

test.each(ERRORS)('an argument that cannot be read is passed on, and to the fallback: %s',
  async (_, give) => {
    const argument = give();
    for (const timeout of [false, 1000]) {
      const got = [];
      const breaker = make(first => {
        got.push(first);
        throw new Error('down');
      }, { timeout, errorThresholdPercentage: 1 }).fallback(first => { got.push(first); });
      breaker.on('fire', () => {});
      await breaker.fire(argument);
      await breaker.fire(argument, 2); // It is open by now.
      expect(got).toHaveLength(3);
      expect(got.every(one => Object.is(one, argument))).toBe(true);
    }
  });

test('ten thousand arguments and a thousand nested calls', async () => {
  const many = Array.from({ length: 10_000 }, (_, i) => i);
  expect(await make((...args) => args.length).fire(...many)).toBe(10_000);
  const breaker = make(n => (n === 0 ? 'bottom' : breaker.fire(n - 1)), { timeout: false });
  expect(await breaker.fire(1000)).toBe('bottom');
});
