'use strict';

// AdaptiveLimiter: places, its line, how the ends of calls count, and, on the virtual clock, what
// limit it finds for upstreams that are simulated.

const { AdaptiveLimiter, Timeout } = require('../../lib/primitives/limits');
const { RetryableError, isOverload } = require('../../lib/primitives/classify');
const { useVirtualClock } = require('../../lib/testing/virtual-clock');
const { Dice } = require('../support/random');
const { UpstreamModel } = require('../support/upstream-model');

const settle = promise => promise.then(value => ({ value }), error => ({ error }));
const turns = async () => { for (let i = 0; i < 20; i++) await undefined; };

let time;
beforeEach(() => { time = useVirtualClock(); });
afterEach(() => time.restore());

/** An action whose calls are held until they are released, one by one. */
function held () {
  const calls = [];
  const action = () => {
    const call = {};
    call.promise = new Promise(resolve => { call.resolve = resolve; });
    calls.push(call);
    return call.promise;
  };
  return { calls, action };
}

/** `count` calls, one after the other. Each ends as `fn` does. */
async function run (limiter, count, fn) {
  for (let i = 0; i < count; i++) await settle(limiter.execute(fn));
}

describe('places', () => {
  test('as many calls as the limit run at once; another is rejected', async () => {
    const limiter = new AdaptiveLimiter({ initial: 2, maxQueue: 0 });
    const { calls, action } = held();
    const running = [limiter.execute(action), limiter.execute(action)];
    expect([limiter.limit, limiter.active, limiter.queued]).toEqual([2, 2, 0]);
    await expect(limiter.execute(action)).rejects
      .toMatchObject({ code: 'EBULKHEADFULL', message: 'Adaptive limiter is full' });
    for (const { resolve } of calls) resolve('done');
    expect(await Promise.all(running)).toEqual(['done', 'done']);
    expect(limiter.active).toBe(0);
  });

  test.each([
    ['returns', () => 5, { value: 5 }],
    ['resolves', async () => 5, { value: 5 }],
    ['throws', () => { throw 6; }, { error: 6 }],
    ['rejects', async () => { throw undefined; }, { error: undefined }],
    ['times out', async () => { throw Object.assign(new Error('x'), { code: 'ETIMEDOUT' }); },
      { error: expect.objectContaining({ code: 'ETIMEDOUT' }) }],
  ])('a call that %s gives its place back', async (_, fn, expected) => {
    const limiter = new AdaptiveLimiter({ initial: 1, max: 1 });
    for (let i = 0; i < 3; i++) expect(await settle(limiter.execute(fn))).toEqual(expected);
    expect(limiter.active).toBe(0);
  });

  test('the defaults and the bounds', () => {
    const figures = ({ limit, min, max, maxQueue, baseLatency }) =>
      ({ limit, min, max, maxQueue, baseLatency });
    expect(figures(new AdaptiveLimiter()))
      .toEqual({ limit: 20, min: 1, max: 200, maxQueue: 100, baseLatency: undefined });
    expect(figures(new AdaptiveLimiter({ min: 30, maxQueue: 7 })))
      .toEqual({ limit: 30, min: 30, max: 200, maxQueue: 7, baseLatency: undefined });
    expect(figures(new AdaptiveLimiter({ max: 5 }))).toMatchObject({ limit: 5, max: 5 });
    expect(figures(new AdaptiveLimiter({ min: 300 })))
      .toMatchObject({ limit: 300, min: 300, max: 300 });
  });

  test.each([
    [{ initial: 0 }, 'initial'], [{ initial: 1.5 }, 'initial'], [{ initial: NaN }, 'initial'],
    [{ initial: 201 }, 'initial'], [{ initial: 2, min: 3 }, 'initial'],
    [{ initial: 5, max: 4 }, 'initial'],
    [{ min: 0 }, 'min'], [{ min: 1e6 + 1 }, 'min'], [{ min: 5, max: 4 }, 'max'],
    [{ max: Infinity }, 'max'], [{ max: '9' }, 'max'],
    [{ tolerance: 0.9 }, 'tolerance'], [{ tolerance: Infinity }, 'tolerance'],
    [{ maxQueue: -1 }, 'maxQueue'], [{ queueTimeout: 0 }, 'queueTimeout'],
    [{ isOverload: true }, 'isOverload'], [{ scope: 'host' }, 'scope'], [null, 'options'],
  ])('options that are wrong: %p', (options, option) => {
    expect(() => new AdaptiveLimiter(options)).toThrow(expect.objectContaining({
      code: 'ERR_INVALID_OPTION', option,
    }));
  });

  test.each([
    ['fn', [5]], ['options', [() => 1, 'signal']], ['signal', [() => 1, { signal: null }]],
  ])('execute refuses a bad %s', async (option, args) => {
    const limiter = new AdaptiveLimiter();
    await expect(limiter.execute(...args)).rejects
      .toMatchObject({ code: 'ERR_INVALID_OPTION', option });
    expect(limiter.active).toBe(0);
  });
});

describe('the line', () => {
  test('first come, first served', async () => {
    const limiter = new AdaptiveLimiter({ initial: 1, max: 1, maxQueue: 2 });
    const { calls, action } = held();
    const order = [];
    const all = ['a', 'b', 'c'].map(name => limiter.execute(action).then(() => order.push(name)));
    expect([limiter.active, limiter.queued]).toEqual([1, 2]);
    await expect(limiter.execute(action)).rejects.toMatchObject({ code: 'EBULKHEADFULL' });
    for (let i = 0; i < 3; i++) {
      calls[i].resolve();
      await turns();
    }
    await Promise.all(all);
    expect(order).toEqual(['a', 'b', 'c']);
    expect([limiter.active, limiter.queued]).toEqual([0, 0]);
  });

  test('a place goes to the first in the line, not to a newcomer', async () => {
    const limiter = new AdaptiveLimiter({ initial: 1, max: 1, maxQueue: 1 });
    const { calls, action } = held();
    const order = [];
    const first = limiter.execute(action);
    const second = limiter.execute(() => { order.push('second'); });
    const late = first.then(() => settle(limiter.execute(() => { order.push('late'); })));
    calls[0].resolve();
    await Promise.all([second, late]);
    expect(order).toEqual(['second', 'late']);
  });

  test('a limit that has risen lets several in', async () => {
    const limiter = new AdaptiveLimiter({ initial: 4, maxQueue: 1000, queueTimeout: Infinity });
    const { calls, action } = held();
    for (let i = 0; i < 1000; i++) limiter.execute(action);
    expect([limiter.active, limiter.queued]).toEqual([4, 996]);
    const seen = [];
    while (limiter.queued > 100) {
      await time.advance(50);
      for (const call of calls.splice(0)) call.resolve();
      await turns();
      seen.push(limiter.active);
      expect(calls).toHaveLength(limiter.active);
      expect(limiter.active).toBeLessThanOrEqual(limiter.limit);
    }
    // In a probe only a quarter of the limit runs.
    expect(Math.min(...seen)).toBe(1);
    expect(Math.max(...seen)).toBe(limiter.limit);
    expect(limiter.limit).toBeGreaterThan(12);
    while (limiter.active > 0) {
      for (const call of calls.splice(0)) call.resolve();
      await turns();
    }
    expect(limiter.queued).toBe(0);
  });

  test('a call waits no longer than queueTimeout', async () => {
    const limiter = new AdaptiveLimiter({ max: 1, queueTimeout: 100 });
    const { action } = held();
    limiter.execute(action);
    const late = settle(limiter.execute(action));
    await time.advance(99);
    expect(limiter.queued).toBe(1);
    await time.advance(1);
    expect((await late).error).toMatchObject({
      code: 'EBULKHEADFULL', message: 'Adaptive limiter is full: no place within 100ms',
    });
    expect(limiter.queued).toBe(0);
    const patient = new AdaptiveLimiter({ max: 1 });
    patient.execute(action);
    const waiting = settle(patient.execute(action));
    await time.advance(999);
    expect(patient.queued).toBe(1);
    await time.advance(1);
    expect((await waiting).error.message).toContain('no place within 1000ms');
  });

  test('a caller that aborts leaves the line, before and after it was served', async () => {
    const limiter = new AdaptiveLimiter({ initial: 1, max: 1, maxQueue: 5 });
    const { calls, action } = held();
    const reason = new Error('no more');
    const never = jest.fn();
    limiter.execute(action);
    const [waiting, served] = [new AbortController(), new AbortController()];
    const one = settle(limiter.execute(never, { signal: waiting.signal }));
    waiting.abort(reason);
    expect(await one).toEqual({ error: reason });
    const two = settle(limiter.execute(never, { signal: served.signal }));
    const three = limiter.execute(() => 'third');
    // Runs right after the limiter's own reaction, which hands the place over.
    calls[0].promise.then(() => {
      expect(limiter.queued).toBe(1);
      served.abort(reason);
    });
    calls[0].resolve();
    expect(await two).toEqual({ error: reason });
    expect(await three).toBe('third');
    expect(never).not.toHaveBeenCalled();
    expect([limiter.active, limiter.queued]).toEqual([0, 0]);
    const aborted = limiter.execute(never, { signal: AbortSignal.abort(reason) });
    await expect(aborted).rejects.toBe(reason);
  });

  test('fn gets the signal', async () => {
    const { signal } = new AbortController();
    const limiter = new AdaptiveLimiter();
    expect(await limiter.execute(given => given, { signal })).toEqual({ signal });
    expect(await limiter.execute(given => given)).toEqual({ signal: undefined });
  });
});

describe('how calls end', () => {
  const failing = error => () => { throw error; };
  const coded = code => Object.assign(new Error(code), { code });
  const status = number => Object.assign(new Error('x'), { status: number });

  const OVERLOADS = [
    coded('ETIMEDOUT'), coded('UND_ERR_HEADERS_TIMEOUT'), status(429), status(503), status(504),
    status(408), { response: { status: 503 } }, new DOMException('x', 'TimeoutError'),
    new Error('outer', { cause: coded('ESOCKETTIMEDOUT') }),
    Object.assign(new RetryableError('later'), { httpStatus: 429 }),
  ];
  const OTHERS = [
    coded('ECONNREFUSED'), coded('EBULKHEADFULL'), coded('EOPENBREAKER'), status(400), status(500),
    new DOMException('x', 'AbortError'), new Error('x'), undefined, null, 'ETIMEDOUT', 503,
  ];

  test('timeouts and statuses of overload make the limit fall', async () => {
    for (const error of OVERLOADS) {
      expect(isOverload(error)).toBe(true);
      const limiter = new AdaptiveLimiter();
      await run(limiter, 200, failing(error));
      expect(limiter.limit).toBe(1);
    }
  });

  test('other errors change nothing, however long they take', async () => {
    for (const error of OTHERS) {
      expect(isOverload(error)).toBe(false);
      const limiter = new AdaptiveLimiter();
      await run(limiter, 200, failing(error));
      expect([limiter.limit, limiter.baseLatency]).toEqual([20, undefined]);
    }
  });

  test('an isOverload of the user decides, and what it returns must be true', async () => {
    const isMine = error => error === 'mine';
    for (const [error, decide, limit] of [
      ['mine', isMine, 1], [coded('ETIMEDOUT'), isMine, 20], ['x', async () => true, 20],
    ]) {
      const limiter = new AdaptiveLimiter({ isOverload: decide });
      await run(limiter, 200, failing(error));
      expect(limiter.limit).toBe(limit);
    }
  });

  test('if isOverload fails, the caller gets the error of the call', async () => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const limiter = new AdaptiveLimiter({ isOverload () { throw new Error('broken'); } });
    const error = new Error('of the call');
    await expect(limiter.execute(failing(error))).rejects.toBe(error);
    expect([limiter.active, limiter.limit]).toEqual([0, 20]);
    expect(warn.mock.calls.map(([message]) => message)).toEqual(['isOverload failed: broken']);
    warn.mockRestore();
  });

  test('successes tell their latency, by the clock of the package', async () => {
    const limiter = new AdaptiveLimiter();
    const { calls, action } = held();
    for (let i = 0; i < 20; i++) limiter.execute(action);
    await time.advance(80);
    for (const { resolve } of calls) resolve();
    await turns();
    expect(limiter.baseLatency).toBe(80);
  });
});

// ---- Simulations -------------------------------------------------------------------------------

/** Callers that call again as soon as they have an answer; refused ones wait in the line. */
class Load {
  #limiter;
  #call;
  #wanted = 0;
  #running = 0;
  /** Calls that the limiter did not let pass. */
  rejected = 0;

  constructor (limiter, upstream, { timeout } = {}) {
    this.#limiter = limiter;
    const limit = timeout === undefined ? undefined : new Timeout(timeout);
    this.#call = limit === undefined
      ? context => upstream.call(context)
      : context => limit.execute(inner => upstream.call(inner), context);
  }

  /** Changes how many callers there are. */
  set (count) {
    this.#wanted = count;
    while (this.#running < this.#wanted) {
      this.#running++;
      this.#repeat();
    }
  }

  async #repeat () {
    while (this.#running <= this.#wanted) {
      const { error } = await settle(this.#limiter.execute(this.#call));
      if (error?.code === 'EBULKHEADFULL') this.rejected++;
    }
    this.#running--;
  }
}

/** Lets `ms` pass in steps. Returns the limits seen between the steps. */
async function limitsDuring (limiter, ms, steps = 20) {
  const limits = [];
  for (let i = 0; i < steps; i++) {
    await time.advanceAsync(ms / steps);
    limits.push(limiter.limit);
  }
  return limits;
}

/**
 * What each call takes, in ms, and between which multiples of the capacity the limit stays: a
 * latency that varies by itself is not measured as well.
 */
const UPSTREAMS = [
  ['the same latency', () => () => 50, { least: 1, most: 1.75 }],
  ['latencies that vary by half', dice => () => dice.between(25, 75), { least: 0.9, most: 2 }],
  ['latencies that vary much', dice => () => Math.ceil(-50 * Math.log(1 - dice.next())),
    { least: 0.6, most: 3 }],
];

describe.each(UPSTREAMS)('an upstream with %s', (name, serviceOf, { least, most }) => {
  /** Whether the upstream is busy, and not many calls wait in it. */
  const fits = servers => limit => limit >= servers * least && limit <= servers * most + 4;

  const simulate = (options, { servers, callers, timeout }) => {
    const limiter = new AdaptiveLimiter({ maxQueue: 1000, queueTimeout: Infinity, ...options });
    const upstream = new UpstreamModel({ servers, service: serviceOf(new Dice(1)) });
    const load = new Load(limiter, upstream, { timeout });
    load.set(callers);
    return { limiter, upstream, load };
  };

  test.each([
    ['from below', 2, 30], ['from above', 150, 30], ['from above, far', 200, 10],
  ])('the limit settles near the capacity, %s', async (_, initial, servers) => {
    const { limiter } = simulate({ initial }, { servers, callers: 250 });
    await limitsDuring(limiter, 15_000);
    const limits = await limitsDuring(limiter, 10_000);
    expect(limits.filter(limit => !fits(servers)(limit))).toEqual([]);
  });

  test('the upstream stays busy', async () => {
    const { limiter, upstream } = simulate({}, { servers: 30, callers: 250 });
    await limitsDuring(limiter, 5000);
    const before = upstream.answered;
    await limitsDuring(limiter, 15_000);
    // 30 servers do 600 calls a second. Probes cost a little.
    expect(upstream.answered - before).toBeGreaterThan(15 * 600 * 0.9);
  });

  test('with the defaults no call is rejected while the base is measured', async () => {
    const limiter = new AdaptiveLimiter();
    const upstream = new UpstreamModel({ servers: 100, service: serviceOf(new Dice(1)) });
    const load = new Load(limiter, upstream);
    load.set(15);
    const active = [];
    for (let i = 0; i < 200; i++) {
      await time.advanceAsync(10);
      active.push(limiter.active);
    }
    expect([Math.min(...active), Math.max(...active)]).toEqual([5, 15]);
    expect(load.rejected).toBe(0);
    expect(upstream.answered).toBeGreaterThan(200);
  });

  test('it falls when half of the capacity is lost, and recovers', async () => {
    const { limiter, upstream } = simulate({}, { servers: 40, callers: 250 });
    await limitsDuring(limiter, 10_000);
    const normal = limiter.limit;
    expect(fits(40)(normal)).toBe(true);
    upstream.servers = 20;
    await limitsDuring(limiter, 10_000);
    const limits = await limitsDuring(limiter, 5000);
    expect(limits.filter(limit => !fits(20)(limit))).toEqual([]);
    upstream.servers = 40;
    await limitsDuring(limiter, 15_000);
    expect(fits(40)(limiter.limit)).toBe(true);
  });

  test('it does not grow while the load is small', async () => {
    const { limiter, upstream } = simulate({ initial: 20 }, { servers: 1000, callers: 8 });
    const limits = await limitsDuring(limiter, 20_000);
    expect(Math.max(...limits)).toBe(20);
    // Nor does it fall below what is used.
    expect(Math.min(...limits)).toBeGreaterThanOrEqual(8);
    expect(upstream.peak).toBe(8);
  });

  test('it grows to its maximum for an upstream without bounds', async () => {
    const { limiter } = simulate({ initial: 5, max: 60 }, { servers: 1000, callers: 250 });
    await limitsDuring(limiter, 20_000);
    const limits = await limitsDuring(limiter, 10_000);
    expect(Math.max(...limits)).toBe(60);
  });

  test('a long overload does not make it drift', async () => {
    const { limiter } = simulate({}, { servers: 5, callers: 250 });
    await limitsDuring(limiter, 30_000);
    const limits = await limitsDuring(limiter, 60_000, 60);
    expect(limits.filter(limit => !fits(5)(limit))).toEqual([]);
  });

  test('an upstream that hangs gets the least, and its calls back when it is well', async () => {
    const { limiter, upstream } = simulate({}, { servers: 40, callers: 250, timeout: 1000 });
    await limitsDuring(limiter, 10_000);
    upstream.servers = 0;
    await limitsDuring(limiter, 60_000);
    expect(limiter.limit).toBeLessThanOrEqual(2);
    upstream.servers = 40;
    await limitsDuring(limiter, 30_000);
    expect(fits(40)(limiter.limit)).toBe(true);
  });

  test('an upstream whose calls all take three times as long keeps its calls', async () => {
    const { limiter, upstream } = simulate({}, { servers: 40, callers: 250 });
    await limitsDuring(limiter, 10_000);
    const { service } = upstream;
    upstream.service = () => 3 * service();
    await limitsDuring(limiter, 30_000);
    const limits = await limitsDuring(limiter, 15_000);
    expect(limits.filter(limit => !fits(40)(limit))).toEqual([]);
  });
});
