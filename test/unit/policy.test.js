'use strict';

// The parts of a policy together: their order, what the breaker hears, and what ends a call.

const { CircuitBreaker } = require('../../lib/primitives/breaker');
const { chaos } = require('../../lib/primitives/chaos');
const { hedge } = require('../../lib/primitives/hedge');
const { AdaptiveLimiter, Bulkhead, RateLimiter, Timeout } = require('../../lib/primitives/limits');
const { policy } = require('../../lib/primitives/policy');
const { presets, retryPresets } = require('../../lib/primitives/presets');
const { staleCache } = require('../../lib/primitives/stale-cache');
const { useVirtualClock } = require('../../lib/testing/virtual-clock');

const settle = promise => promise.then(value => ({ value }), error => ({ error }));
const never = () => new Promise(() => {});
const error = new Error('down');
const down = async () => { throw error; };

let time;
beforeEach(() => { time = useVirtualClock(); });
afterEach(() => time.restore());

describe('the order', () => {
  test('each attempt passes breaker, limits and timeout; the rest is outside', async () => {
    const seen = [];
    const see = (name, instance, method) => {
      const real = instance[method];
      instance[method] = function (...args) { seen.push(name); return real.apply(this, args); };
      return instance;
    };
    const call = async () => {};
    const parts = {
      fallback: () => seen.push('fallback'),
      cache: see('cache', staleCache(), 'fetch'),
      retry: { retries: 1, minTimeout: 10, randomize: false },
      hedge: see('hedge', hedge({ safeToRepeat: true, delay: 50 }), 'execute'),
      breaker: see('breaker', new CircuitBreaker(call, { volumeThreshold: 10 }), 'run'),
      rateLimit: see('rateLimit', new RateLimiter({ limit: 9, interval: 9 }), 'execute'),
      bulkhead: see('bulkhead', new Bulkhead({ maxConcurrent: 1 }), 'execute'),
      adaptiveLimit: see('adaptiveLimit', new AdaptiveLimiter(), 'execute'),
      timeout: see('timeout', new Timeout(50), 'execute'),
      chaos: see('chaos', chaos({ faults: [{ rate: 0, latency: 1 }] }), 'execute'),
    };
    const outcome = policy(parts).execute(({ attempt }) => {
      seen.push(attempt);
      throw error;
    }, { key: 'k' });
    await time.advanceAsync(10);
    await outcome;
    const attempt =
      ['hedge', 'breaker', 'rateLimit', 'bulkhead', 'adaptiveLimit', 'timeout', 'chaos'];
    expect(seen).toEqual(['cache', ...attempt, 1, ...attempt, 2, 'fallback']);
  });

  test('fn gets the number of the attempt and a signal, whatever the parts', async () => {
    const all = {
      fallback: () => 0, cache: {}, retry: { retries: 1 }, breaker: {},
      rateLimit: { limit: 1, interval: 1 }, bulkhead: { maxConcurrent: 1 }, adaptiveLimit: {},
      timeout: 5, hedge: { safeToRepeat: true, delay: 5 },
      chaos: { faults: [{ rate: 0, latency: 1 }] },
    };
    for (const name of [...Object.keys(all), undefined]) {
      const given = await policy(name ? { [name]: all[name] } : {}).execute(async c => c);
      expect(given.attempt).toBe(1);
      expect(given.signal).toBeInstanceOf(AbortSignal);
      expect(given.signal.aborted).toBe(false);
    }
  });

  test('parts that are off are no parts', async () => {
    const off = policy({
      fallback: undefined, cache: null, retry: false, breaker: false, rateLimit: false,
      bulkhead: null, adaptiveLimit: false, timeout: 0, hedge: false, chaos: null,
    });
    await expect(off.execute(down)).rejects.toBe(error);
    expect([off.cache, off.hedge, off.breaker, off.adaptiveLimit, off.timeout, off.chaos])
      .toEqual(Array(6).fill(undefined));
  });
});

describe('retry and breaker', () => {
  test('an open breaker ends the retry at once', async () => {
    const guarded = policy({
      retry: { retries: 10, minTimeout: 1, randomize: false },
      breaker: { consecutiveFailures: 2, errorThresholdPercentage: 100 },
    });
    const action = jest.fn(down);
    const outcome = settle(guarded.execute(action));
    await time.advanceAsync(1);
    await time.advanceAsync(2);
    expect((await outcome).error).toMatchObject({ code: 'EOPENBREAKER' });
    expect(action).toHaveBeenCalledTimes(2);
    await expect(guarded.execute(action)).rejects.toMatchObject({ code: 'EOPENBREAKER' });
    expect(guarded.breaker.stats).toMatchObject({ failures: 2, rejects: 2 });
    expect(guarded.retryStats).toMatchObject({ calls: 2, attempts: 4, failures: 2 });
  });

  test('shouldRetry, onRetry, bail and a list of delays are those of retry()', async () => {
    const seen = [];
    const count = async (retry, action = down) => {
      const fn = jest.fn(action);
      const outcome = settle(policy({ retry }).execute(fn));
      await time.advanceAsync(100);
      await outcome;
      return fn.mock.calls.length;
    };
    expect(await count([5, 5, 5])).toBe(4);
    expect(await count({ retries: 3, minTimeout: 1, shouldRetry: (e, n) => n < 2 })).toBe(2);
    expect(await count({ retries: 3, minTimeout: 1 }, async () => {
      throw Object.assign(new Error('final'), { bail: true });
    })).toBe(1);
    await count({ retries: 1, minTimeout: 1, onRetry: (...args) => seen.push(args) });
    expect(seen).toEqual([[error, 1]]);
  });

  test('retryStats count the trips of the breaker, also those of a last attempt', async () => {
    const down = async () => { throw new Error('down'); };
    const guarded = policy({ retry: [1], breaker: { consecutiveFailures: 2, resetTimeout: 1000 } });
    for (let i = 0; i < 3; i++) {
      const outcome = settle(guarded.execute(down));
      await time.advanceAsync(10);
      await outcome;
    }
    expect(guarded.retryStats).toMatchObject({ calls: 3, attempts: 4, circuitBreakerTrips: 1 });
    await time.advanceAsync(1000);
    const outcome = settle(guarded.execute(down));
    await time.advanceAsync(10);
    await outcome;
    expect(guarded.retryStats).toMatchObject({ calls: 4, circuitBreakerTrips: 2 });
  });

  test('shouldRetry takes lists; an error whose `retryable` is false is not retried', async () => {
    const attempts = async (retry, detail) => {
      const fn = jest.fn(async () => { throw Object.assign(new Error('x'), detail); });
      const guarded = policy({ retry: { retries: 2, minTimeout: 1, ...retry } });
      const outcome = settle(guarded.execute(fn));
      await time.advanceAsync(100);
      await outcome;
      return fn.mock.calls.length;
    };
    const shouldRetry = { statuses: [503] };
    expect(await attempts({ shouldRetry }, { status: 503 })).toBe(3);
    expect(await attempts({ shouldRetry }, { status: 404 })).toBe(1);
    expect(await attempts({}, { status: 404 })).toBe(3);
    expect(await attempts({}, { retryable: false })).toBe(1);
    expect(() => policy({ retry: { shouldRetry: { statuses: [99] } } }))
      .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
  });

  test('attemptTimeout grows, and the breaker hears of it', async () => {
    const guarded = policy({ retry: retryPresets.pageFetch, breaker: presets.movieApi });
    const codes = [];
    guarded.breaker.on('failure', failure => codes.push(failure.code));
    const outcome = settle(guarded.execute(never));
    for (const ms of [15000, 1000, 20000, 2000, 25000, 4000, 29999]) await time.advanceAsync(ms);
    expect(codes).toEqual(['ETIMEDOUT', 'ETIMEDOUT', 'ETIMEDOUT']);
    await time.advanceAsync(1);
    expect((await outcome).error.message).toBe('Timed out after 30000ms');
    expect(codes).toHaveLength(4);
  });

  test('a breaker made from options leaves the time to the timeout, unless it names one', () => {
    expect(policy({ breaker: {}, timeout: 5 }).breaker.options.timeout).toBe(false);
    expect(policy({ breaker: {} }).breaker.options.timeout).toBe(10000);
    expect(policy({ breaker: { timeout: 7 }, timeout: 5 }).breaker.options.timeout).toBe(7);
  });

  test('a disabled breaker lets everything pass, and signals too', async () => {
    const guarded = policy({ breaker: { enabled: false } });
    const controller = new AbortController();
    const { signal } = await guarded.execute(async c => c, { signal: controller.signal });
    controller.abort();
    expect(signal.aborted).toBe(true);
  });
});

describe('an adaptive limit', () => {
  /** Calls that never end, until they are told to. */
  const heeds = ({ signal }) => new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason));
  });

  test.each([
    ['the timeout', { timeout: 50 }],
    ['the time limit of the breaker outside', { breaker: { timeout: 50, volumeThreshold: 1e6 } }],
    ['the attemptTimeout of the retry', { retry: { retries: 0, attemptTimeout: 50 } }],
  ])('falls by calls that end by %s', async (_, parts) => {
    const guarded = policy({ ...parts, adaptiveLimit: { maxQueue: 0 } });
    for (let i = 0; i < 10; i++) {
      const calls = Array.from({ length: 20 }, () => settle(guarded.execute(heeds)));
      await time.advance(50);
      for (const { error: reason } of await Promise.all(calls)) {
        expect(['ETIMEDOUT', 'EBULKHEADFULL']).toContain(reason.code);
      }
    }
    expect(guarded.adaptiveLimit.limit).toBeLessThan(10);
    expect(guarded.adaptiveLimit.active).toBe(0);
  });

  test('does not fall by calls whose callers abort', async () => {
    const guarded = policy({ timeout: 1000, adaptiveLimit: {} });
    for (let i = 0; i < 200; i++) {
      const controller = new AbortController();
      const call = settle(guarded.execute(heeds, { signal: controller.signal }));
      await time.advance(1);
      controller.abort(new Error('enough'));
      await call;
    }
    expect(guarded.adaptiveLimit.limit).toBe(20);
  });

  test('one limiter may be part of several policies', async () => {
    const adaptiveLimit = new AdaptiveLimiter({ max: 1, maxQueue: 0 });
    const [one, other] = [policy({ adaptiveLimit }), policy({ adaptiveLimit, timeout: 100 })];
    one.execute(never);
    expect(one.adaptiveLimit).toBe(adaptiveLimit);
    await expect(other.execute(never)).rejects.toMatchObject({ code: 'EBULKHEADFULL' });
  });

  test('waiting in the other limits is not measured', async () => {
    const guarded = policy({
      rateLimit: { limit: 1, interval: 100, burst: 1, maxWait: 1e6 },
      bulkhead: { maxConcurrent: 3, maxQueue: 100 }, adaptiveLimit: {},
    });
    const calls = Array.from({ length: 20 }, () => guarded.execute(async () => 1));
    await time.advanceAsync(2000);
    await Promise.all(calls);
    // The least that is told apart.
    expect(guarded.adaptiveLimit.baseLatency).toBe(0.1);
  });
});

describe('priorities', () => {
  test.each(['bulkhead', 'adaptiveLimit'])('reach the %s, however it is called', async name => {
    const options = { bulkhead: { maxConcurrent: 1, maxQueue: 9 }, adaptiveLimit: { max: 1 } };
    const guarded = policy({
      retry: { retries: 0 }, breaker: {}, rateLimit: { limit: 99, interval: 1 },
      [name]: options[name],
    });
    const order = [];
    let release;
    const first = guarded.execute(() => new Promise(resolve => { release = resolve; }));
    const calls = [
      guarded.execute(() => { order.push('standard'); }),
      guarded.execute(() => { order.push('low'); }, { priority: 1 }),
      guarded.answer(() => { order.push('high'); }, { priority: 8 }),
      guarded.wrap(() => { order.push('highest'); }, { priority: 9 })(),
    ];
    await time.advance(0);
    release();
    await Promise.all([first, ...calls]);
    expect(order).toEqual(['highest', 'high', 'standard', 'low']);
  });

  test('are checked, whatever the parts', async () => {
    const code = 'ERR_INVALID_OPTION';
    await expect(policy({}).execute(never, { priority: 10 })).rejects.toMatchObject({ code });
    expect(() => policy({}).wrap(never, { priority: -1 }))
      .toThrow(expect.objectContaining({ code, option: 'priority' }));
  });
});

describe('what the breaker does not hear of', () => {
  test('a full bulkhead and a rate limit', async () => {
    // No time limit: the first call is left where it is when the test ends.
    const guarded = policy({ breaker: { timeout: false }, bulkhead: { maxConcurrent: 1 } });
    guarded.execute(never);
    await expect(guarded.execute(never)).rejects.toMatchObject({ code: 'EBULKHEADFULL' });
    const limited = policy({ breaker: {}, rateLimit: { limit: 1, interval: 1000 } });
    await limited.execute(async () => 1);
    await expect(limited.execute(async () => 1)).rejects.toMatchObject({ code: 'ERATELIMITED' });
    for (const { breaker } of [guarded, limited]) {
      expect(breaker.stats.failures).toBe(0);
      expect(breaker.closed).toBe(true);
    }
    expect(limited.breaker.stats.successes).toBe(1);
  });

  test('a full adaptive limiter; a retry tries again', async () => {
    const guarded = policy({
      retry: { retries: 1, minTimeout: 10, randomize: false }, breaker: {},
      adaptiveLimit: { max: 1, maxQueue: 0 },
    });
    let release;
    const first = guarded.execute(() => new Promise(resolve => { release = resolve; }));
    const called = jest.fn(async () => 'second');
    const second = guarded.execute(called);
    await time.advance(0);
    expect([guarded.adaptiveLimit.active, called.mock.calls.length]).toEqual([1, 0]);
    release('first');
    expect(await first).toBe('first');
    await time.advance(10);
    expect(await second).toBe('second');
    expect(guarded.breaker.stats).toMatchObject({ successes: 2, failures: 0 });

    const late = policy({ breaker: {}, adaptiveLimit: { max: 1, maxQueue: 0 } });
    late.execute(never);
    await expect(late.execute(called)).rejects.toMatchObject({ code: 'EBULKHEADFULL' });
    expect(late.breaker.stats.failures).toBe(0);
  });

  test('a probe that the bulkhead did not let pass leaves the probe to the next call', async () => {
    const bulkhead = new Bulkhead({ maxConcurrent: 1 });
    const guarded = policy({ breaker: { resetTimeout: 10 }, bulkhead });
    await settle(guarded.execute(down));
    expect(guarded.breaker.opened).toBe(true);
    await time.advance(10);
    let release;
    bulkhead.execute(() => new Promise(resolve => { release = resolve; }));
    await expect(guarded.execute(async () => 1)).rejects.toMatchObject({ code: 'EBULKHEADFULL' });
    expect(guarded.breaker.halfOpen).toBe(true);
    release();
    await time.advance(0);
    expect(await guarded.execute(async () => 1)).toBe(1);
    expect(guarded.breaker.closed).toBe(true);
  });
});

describe('a caller that aborts', () => {
  const parts = {
    fn: {}, breaker: { breaker: {} }, timeout: { timeout: 100 }, cache: { cache: {} },
    fallback: { fallback: () => 'never' },
    all: {
      fallback: () => 'never', cache: {}, retry: { retries: 3 }, breaker: {},
      rateLimit: { limit: 5, interval: 5 }, bulkhead: { maxConcurrent: 5 }, adaptiveLimit: {},
      timeout: 100
    }
  };

  test.each(Object.keys(parts))('ends a call at once that ignores its signal: %s', async name => {
    const guarded = policy(parts[name]);
    const controller = new AbortController();
    const outcome = settle(guarded.execute(never, { signal: controller.signal, key: 'k' }));
    await time.advance(1);
    controller.abort('enough');
    expect(await outcome).toEqual({ error: 'enough' });
    if (guarded.breaker) expect(guarded.breaker.stats).toMatchObject({ failures: 0, successes: 0 });
  });

  test('ends waiting: for a retry, for a place, for tokens', async () => {
    const aborted = async (guarded, fn) => {
      const controller = new AbortController();
      const called = jest.fn(fn);
      const outcome = settle(guarded.execute(called, { signal: controller.signal }));
      await time.advance(1);
      controller.abort('enough');
      expect(await outcome).toEqual({ error: 'enough' });
      return called.mock.calls.length;
    };
    const retrying = policy({ retry: { retries: 5, minTimeout: 1000 }, breaker: {
      volumeThreshold: 5 } });
    expect(await aborted(retrying, down)).toBe(1);
    expect(retrying.breaker.stats.failures).toBe(1);
    const untimed = { timeout: false };
    const queued = policy({ breaker: untimed, bulkhead: { maxConcurrent: 1, maxQueue: 1 } });
    queued.execute(never);
    expect(await aborted(queued, never)).toBe(0);
    const adaptive = policy({ breaker: untimed, adaptiveLimit: { max: 1 } });
    adaptive.execute(never);
    expect(await aborted(adaptive, never)).toBe(0);
    expect(adaptive.adaptiveLimit.queued).toBe(0);
    const limited = policy({ breaker: {}, rateLimit: { limit: 1, interval: 1e6, maxWait: 1e6 } });
    await limited.execute(async () => 1);
    expect(await aborted(limited, never)).toBe(0);
    expect([queued.bulkhead.queued, limited.rateLimit.queued]).toEqual([0, 0]);
    expect(limited.breaker.stats.failures).toBe(0);
  });

  test('before the call: nothing is called', async () => {
    const called = jest.fn();
    const guarded = policy({ fallback: called, breaker: {} });
    await expect(guarded.execute(called, { signal: AbortSignal.abort('no') })).rejects.toBe('no');
    expect(called).not.toHaveBeenCalled();
    expect(guarded.breaker.stats.fires).toBe(0);
  });

  test('fn hears of it, through all parts', async () => {
    const controller = new AbortController();
    let given;
    const outcome = settle(policy(parts.all).execute(({ signal }) => {
      given = signal;
      return never();
    }, { signal: controller.signal }));
    await time.advance(1);
    controller.abort('enough');
    await outcome;
    expect(given.reason).toBe('enough');
  });
});

describe('cache and fallback', () => {
  test('answer tells where the answer is from', async () => {
    const guarded = policy({ cache: { ttl: 10, staleTtl: 50 }, fallback: e => e.message });
    const ask = fn => guarded.answer(fn, { key: 'k' });
    expect(await ask(async () => 1)).toEqual({ value: 1, source: 'call', stale: false, ageMs: 0 });
    await time.advance(5);
    expect(await ask(down)).toEqual({ value: 1, source: 'cache', stale: false, ageMs: 5 });
    await time.advance(5);
    expect(await ask(down)).toEqual({ value: 1, source: 'stale', stale: true, ageMs: 10, error });
    await time.advance(50);
    expect(await ask(down))
      .toEqual({ value: 'down', source: 'fallback', stale: false, ageMs: 0, error });
    expect(await guarded.execute(async () => 2)).toBe(2); // No key: the cache is passed by.
    expect(await guarded.cache.get('k')).toBeUndefined();
  });

  test('an open breaker is answered with the old copy', async () => {
    const guarded = policy({ cache: { ttl: 0 }, breaker: {} });
    await guarded.execute(async () => 'page', { key: '/' });
    guarded.breaker.open();
    expect(await guarded.answer(down, { key: '/' })).toMatchObject({
      value: 'page', stale: true, error: { code: 'EOPENBREAKER' }
    });
  });

  test('a fallback that fails is the rejection; one may be a breaker', async () => {
    const failing = policy({ fallback: () => { throw new Error('also'); } });
    await expect(failing.execute(down)).rejects.toThrow('also');
    const other = new CircuitBreaker(async (...given) => given);
    expect(await policy({ fallback: other }).execute(down, { args: [1] })).toEqual([1, error]);
    expect(await policy({ fallback: { value: 5 } }).execute(down)).toBe(5);
  });
});

describe('wrap', () => {
  test('gives a function of the same arguments, this, name and length', async () => {
    const object = {
      factor: 3,
      times: policy({ breaker: {} }).wrap(async function times (a, b) {
        return this.factor * a * b;
      })
    };
    expect(await object.times(2, 5)).toBe(30);
    expect([object.times.name, object.times.length]).toEqual(['times', 2]);
  });

  test('the key is that of the fallback\'s copies as well, also of a call without arguments',
    async () => {
      let isDown = false;
      const load = policy({ fallback: [{ cache: {} }] }).wrap(
        async () => { if (isDown) throw new Error('down'); return 1; }, { key: () => 'all' });
      expect(await load()).toBe(1);
      isDown = true;
      expect(await load.answer()).toMatchObject({ value: 1, source: 'fallback' });
    });

  test('the fallback gets the arguments and the error', async () => {
    const create = policy({ fallback: (order, e) => ({ queued: true, order, e }) }).wrap(down);
    expect(await create('o1')).toEqual({ queued: true, order: 'o1', e: error });
  });

  test('the cache has the arguments as key, or what the option makes of them', async () => {
    const load = jest.fn(async x => x.id);
    const wrapped = policy({ cache: {} }).wrap(load);
    await wrapped({ id: 1 });
    await wrapped({ id: 1 });
    expect(load).toHaveBeenCalledTimes(1);
    expect(await wrapped.answer({ id: 1 })).toMatchObject({ value: 1, source: 'cache' });
    const keyed = policy({ cache: {} }).wrap(load, { key: x => x.id % 2 });
    expect([await keyed({ id: 3 }), await keyed({ id: 5 }), await keyed({ id: 6 })])
      .toEqual([3, 3, 6]);
  });

  test.each([
    ['in the cache', { cache: {} }], ['of the fallback', { fallback: [{ cache: {} }] }],
  ])('copies %s are told apart by function, object and arguments', async (_, parts) => {
    const shared = policy(parts);
    let isDown = false;
    const answer = async value => {
      if (isDown) throw error;
      return value;
    };
    const user = shared.wrap(async function user (id) { return answer(`user ${id}`); });
    const order = shared.wrap(async function order (id) { return answer(`order ${id}`); });
    const [one, other] = [1, 2].map(n => shared.wrap(async () => answer(`closure ${n}`)));
    class Tenant {
      constructor (name) { this.name = name; }
      load () { return answer(this.name); }
    }
    Tenant.prototype.load = shared.wrap(Tenant.prototype.load);
    const [ann, bob] = [new Tenant('ann'), new Tenant('bob')];
    const size = shared.wrap(async function size (map) { return answer(map.size); });
    const calls = [
      () => user(7), () => order(7), () => user(8), () => one(), () => other(),
      () => ann.load(), () => bob.load(),
    ];
    const before = [];
    for (const call of calls) before.push(await call());
    expect(before).toEqual(
      ['user 7', 'order 7', 'user 8', 'closure 1', 'closure 2', 'ann', 'bob']);
    await size(new Map());
    isDown = true;
    for (const [i, call] of calls.entries()) expect(await call()).toBe(before[i]);
    // JSON cannot tell one Map from another, so there is no copy.
    for (const odd of [new Map([[1, 2]]), new Map(), new Tenant('x'), NaN, [() => 1]]) {
      await expect(size(odd)).rejects.toBe(error);
    }
  });

  test('a function that throws, and one that is not asynchronous', async () => {
    await expect(policy({}).wrap(() => { throw error; })()).rejects.toBe(error);
    expect(await policy({ breaker: {}, timeout: 5 }).wrap(x => x + 1)(1)).toBe(2);
  });
});

describe('bad input', () => {
  test.each([
    [5], [{ retries: 5 }], [{ retry: 5 }], [{ retry: { retries: 'x' } }],
    [{ retry: { signal: AbortSignal.abort() } }], [{ breaker: { timeout: 'x' } }],
    [{ bulkhead: {} }], [{ adaptiveLimit: { max: 0 } }], [{ adaptiveLimit: 5 }],
    [{ rateLimit: { limit: 0 } }], [{ timeout: 'x' }], [{ timeout: -1 }],
    [{ cache: { ttl: -1 } }], [{ fallback: 5 }], [{ fallback: [] }],
    [{ timeout: 5, retry: { attemptTimeout: 5 } }]
  ])('policy refuses %j', options => {
    expect(() => policy(options)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
  });

  test('execute and wrap refuse what is no function, and signals that are none', async () => {
    const guarded = policy({});
    const code = 'ERR_INVALID_OPTION';
    await expect(guarded.execute(5)).rejects.toMatchObject({ code });
    await expect(guarded.execute(never, 5)).rejects.toMatchObject({ code });
    await expect(guarded.execute(never, { signal: {} })).rejects.toMatchObject({ code });
    expect(() => guarded.wrap(5)).toThrow(expect.objectContaining({ code }));
    expect(() => guarded.wrap(never, { key: 5 })).toThrow(expect.objectContaining({ code }));
  });
});

test('the arguments of a call may be `arguments`', async () => {
  const guarded = policy({ fallback: (...args) => args.slice(0, -1) });
  function call () {
    return guarded.execute(() => { throw new Error('down'); }, { args: arguments });
  }
  await expect(call('a', 'b')).resolves.toEqual(['a', 'b']);
});
