'use strict';

// Faults that are injected: which calls get them, what they do, and what ends them.

const { chaos, protect } = require('../..');
const { setTimer } = require('../../lib/base/clock');
const native = require('../../lib/base/native');
const { policy } = require('../../lib/primitives/policy');
const { useVirtualClock } = require('../../lib/testing/virtual-clock');
const { ChaosModel, splitMix } = require('../support/chaos-model');
const { Dice, seedsOf } = require('../support/random');

const settle = promise => promise.then(value => ({ value }), error => ({ error }));
const failure = new Error('injected');
const always = fault => ({ faults: [{ rate: 1, ...fault }] });

let time;
beforeEach(() => { time = useVirtualClock(); });
afterEach(() => time.restore());

describe('a fault', () => {
  test('an error or a result comes in place of the call', async () => {
    const fn = jest.fn(() => 'real');
    await expect(chaos(always({ error: failure })).execute(fn)).rejects.toBe(failure);
    await expect(chaos(always({ error: () => new TypeError('made') })).execute(fn))
      .rejects.toEqual(new TypeError('made'));
    const broken = () => { throw failure; };
    await expect(chaos(always({ error: broken })).execute(fn)).rejects.toBe(failure);
    const fake = { id: 1 };
    expect(await chaos(always({ result: fake })).execute(fn)).toBe(fake);
    expect(await chaos(always({ result: null })).execute(fn)).toBeNull();
    expect(await chaos(always({ result: async () => undefined })).execute(fn)).toBeUndefined();
    await expect(chaos(always({ result: broken })).execute(fn)).rejects.toBe(failure);
    expect(fn).not.toHaveBeenCalled();
  });

  test('latency delays the call', async () => {
    const fn = jest.fn(() => 'real');
    const call = chaos(always({ latency: 100 })).execute(fn);
    await time.advanceAsync(99);
    expect(fn).not.toHaveBeenCalled();
    await time.advanceAsync(1);
    expect(await call).toBe('real');
  });

  test('latency delays an error and a result, too', async () => {
    const outcomes = [];
    for (const fault of [{ error: failure }, { result: 'fake' }]) {
      settle(chaos(always({ latency: 100, ...fault })).execute(() => 'real'))
        .then(outcome => outcomes.push(outcome));
    }
    await time.advanceAsync(99);
    expect(outcomes).toEqual([]);
    await time.advanceAsync(1);
    expect(outcomes).toEqual([{ error: failure }, { value: 'fake' }]);
  });

  test('a range has both its ends, and nothing outside', async () => {
    const slow = chaos({ seed: 5, ...always({ latency: [10, 12] }) });
    const waits = [];
    for (let i = 0; i < 60; i++) {
      let wait = 0;
      slow.execute(() => waits.push(wait));
      while (wait < 20) {
        wait++;
        await time.advanceAsync(1);
      }
    }
    expect(new Set(waits)).toEqual(new Set([10, 11, 12]));
  });

  test('aborting ends the delay at once, and the call is not made', async () => {
    const fn = jest.fn();
    for (const latency of [100, Infinity]) {
      const controller = new AbortController();
      const call = settle(chaos(always({ latency })).execute(fn, { signal: controller.signal }));
      await time.advanceAsync(50);
      controller.abort(failure);
      expect(await call).toEqual({ error: failure });
    }
    await time.advanceAsync(1000);
    expect(fn).not.toHaveBeenCalled();
  });

  test('a call that was aborted before gets none, and does not count', async () => {
    const made = chaos(always({ result: 'fake' }));
    const call = made.execute(() => 1, { signal: AbortSignal.abort(failure) });
    await expect(call).rejects.toBe(failure);
    expect(made.stats).toEqual({ calls: 0, faults: { result: 0 } });
  });

  test('a call that is aborted as its delay ends is not made', async () => {
    const fn = jest.fn();
    const controller = new AbortController();
    const call = settle(chaos(always({ latency: 100 })).execute(fn, { signal: controller.signal }));
    setTimer(() => controller.abort(failure), 100); // Right after the end of the delay.
    time.advance(100);
    expect(await call).toEqual({ error: failure });
    expect(fn).not.toHaveBeenCalled();
  });

  test('a call that gets none is the call itself', async () => {
    const made = chaos({ faults: [{ rate: 0, error: failure }] });
    const { signal } = new AbortController();
    expect(await made.execute(context => context, { signal })).toEqual({ signal });
    await expect(made.execute(() => { throw failure; })).rejects.toBe(failure);
    expect(made.stats).toEqual({ calls: 2, faults: { error: 0 } });
  });

  test('wrap passes this and the arguments on, and keeps name and length', async () => {
    const made = chaos({ faults: [{ rate: 0, error: failure }] });
    const object = { sum: made.wrap(function sum (a, b) { return [this, a + b]; }) };
    expect(await object.sum(1, 2)).toEqual([object, 3]);
    expect([object.sum.name, object.sum.length]).toEqual(['sum', 2]);
    const failing = chaos(always({ error: failure })).wrap(() => 'real');
    await expect(failing()).rejects.toBe(failure);
  });
});

describe('chance', () => {
  const faults = [
    { rate: 0.2, latency: [0, 3] }, { rate: 0.1, error: failure }, { rate: 0.3, result: 'fake' },
  ];

  test('the same seed gives the same faults; it can be read when it was chosen', async () => {
    const play = async made => {
      const outcomes = [];
      for (let i = 0; i < 100; i++) {
        const call = settle(made.execute(() => 'real'));
        await time.advanceAsync(3);
        outcomes.push(await call);
      }
      return outcomes;
    };
    const first = chaos({ faults });
    const outcomes = await play(first);
    expect(first.seed).toEqual(expect.any(Number));
    const again = chaos({ faults, seed: first.seed });
    expect(await play(again)).toEqual(outcomes);
    expect(again.stats).toEqual(first.stats);
    expect(await play(chaos({ faults, seed: first.seed + 1 }))).not.toEqual(outcomes);
  });

  test('other delays do not change which calls get a fault', async () => {
    const errorsOf = latency => {
      const made = chaos({ seed: 3, faults: [{ rate: 0.3, latency }, ...faults.slice(1)] });
      return Promise.all(Array.from({ length: 100 }, async () => {
        const before = made.stats.faults.error;
        settle(made.execute(() => 'real'));
        return made.stats.faults.error - before;
      }));
    };
    expect(await errorsOf(1)).toEqual(await errorsOf([0, 1000]));
  });

  test('each fault gets its share, one at most for each call', async () => {
    const made = chaos({ seed: 1, faults });
    for (let i = 0; i < 10_000; i++) settle(made.execute(() => 'real'));
    const { calls, faults: { latency, error, result } } = made.stats;
    expect(calls).toBe(10_000);
    // Ten times the standard deviation, and the seed is always the same.
    expect(latency).toBeGreaterThan(1600);
    expect(latency).toBeLessThan(2400);
    expect(error).toBeGreaterThan(700);
    expect(error).toBeLessThan(1300);
    expect(result).toBeGreaterThan(2540);
    expect(result).toBeLessThan(3460);
  });

  test('rates that add up to 1 leave no call without a fault', async () => {
    // Their doubles add up to a little more than 1.
    const all = [0.8, 0.05, 0.05, 0.1].map((rate, i) => ({ rate, result: 'fake', name: `r${i}` }));
    const made = chaos({ seed: 1, faults: all });
    for (let i = 0; i < 1000; i++) expect(await made.execute(() => 'real')).toBe('fake');
  });

  test('the generator is SplitMix64', () => {
    // The first numbers of its reference implementation for the seed 1234567.
    const draw = splitMix(1234567);
    expect([draw(), draw()])
      .toEqual([6457827717110365317n, 3203168211198807973n].map(n => Number(n >> 11n) / 2 ** 53));
  });
});

describe('switched on and off', () => {
  test('while it is off, calls get no faults, do not count, and draw nothing', async () => {
    const options = { seed: 9, faults: [{ rate: 0.5, result: 'fake' }] };
    const plain = chaos(options);
    const switched = chaos({ ...options, enabled: false });
    expect(switched.enabled).toBe(false);
    expect(await switched.execute(() => 'real')).toBe('real');
    for (let i = 0; i < 50; i++) {
      switched.enable();
      expect(switched.enabled).toBe(true);
      expect(await switched.execute(() => 'real')).toBe(await plain.execute(() => 'real'));
      switched.disable();
      expect(await switched.execute(() => 'real')).toBe('real');
    }
    expect(switched.stats).toEqual(plain.stats);
  });

  test('a call that is delayed keeps its fault', async () => {
    const made = chaos(always({ latency: 10, error: failure }));
    const call = settle(made.execute(() => 'real'));
    made.disable();
    await time.advanceAsync(10);
    expect(await call).toEqual({ error: failure });
  });
});

describe('in production', () => {
  const before = process.env.NODE_ENV;
  afterEach(() => { process.env.NODE_ENV = before; });

  test('it is refused, unless that is said to be wanted', async () => {
    process.env.NODE_ENV = 'production';
    const refused = expect.objectContaining({
      code: 'ERR_CHAOS_IN_PRODUCTION', message: expect.stringContaining('allowInProduction'),
    });
    const options = always({ result: 'fake' });
    expect(() => chaos(options)).toThrow(refused);
    expect(() => chaos({ ...options, enabled: false })).toThrow(refused);
    expect(() => policy({ chaos: options })).toThrow(refused);
    const allowed = chaos({ ...options, allowInProduction: true });
    expect(await allowed.execute(() => 'real')).toBe('fake');
    process.env.NODE_ENV = 'development';
    expect(await chaos(options).execute(() => 'real')).toBe('fake');
  });
});

describe('options', () => {
  const fault = { rate: 0.1, error: failure };
  const wrong = [
    [undefined, 'faults'], [{}, 'faults'], [{ faults: [] }, 'faults'],
    [{ faults: Array(101).fill(fault) }, 'faults'],
    [{ faults: [{ error: failure }] }, 'faults[0].rate'],
    [{ faults: [{ rate: 1.1, error: failure }] }, 'faults[0].rate'],
    [{ faults: [fault, { rate: 0.1 }] }, 'faults[1]'],
    [{ faults: [{ ...fault, result: 1 }] }, 'faults[0].result'],
    [{ faults: [{ ...fault, error: 'text' }] }, 'faults[0].error'],
    [{ faults: [fault, fault] }, 'faults[1].name'],
    [{ faults: [{ ...fault, name: 'a b' }] }, 'faults[0].name'],
    [{ faults: [{ ...fault, rate: 0.6 }, { rate: 0.5, latency: 1 }] }, 'faults'],
    [{ faults: [{ rate: 1, latency: '5' }] }, 'faults[0].latency'],
    [{ faults: [{ rate: 1, latency: -1 }] }, 'faults[0].latency'],
    [{ faults: [{ rate: 1, latency: 0.5 }] }, 'faults[0].latency'],
    [{ faults: [{ rate: 1, latency: [1] }] }, 'faults[0].latency'],
    [{ faults: [{ rate: 1, latency: [1, Infinity] }] }, 'faults[0].latency[1]'],
    [{ faults: [{ rate: 1, latency: [2, 1] }] }, 'faults[0].latency[1]'],
    [{ faults: [fault], seed: -1 }, 'seed'], [{ faults: [fault], seed: 0.5 }, 'seed'],
    [{ faults: [fault], seed: Infinity }, 'seed'], [{ faults: [fault], seed: 2 ** 53 }, 'seed'],
    [{ faults: [fault], enabled: 1 }, 'enabled'],
    [{ faults: [fault], allowInProduction: 'yes' }, 'allowInProduction'],
  ];

  test.each(wrong)('%j is refused, because of %s', (options, option) => {
    expect(() => chaos(options))
      .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION', option }));
  });

  test('names, and the greatest values', () => {
    const faults = [{ ...fault, name: '__proto__' }, { ...fault, name: 'other' }];
    const { stats } = chaos({ faults, seed: Number.MAX_SAFE_INTEGER });
    expect(Object.entries(stats.faults)).toEqual([['__proto__', 0], ['other', 0]]);
  });

  test('native code takes nothing else', () => {
    const faults = [[], [1], [1, 0, 0, 1], [2, 0, 0], [-1, 0, 0], [NaN, 0, 0], [1, -1, 0],
      [1, 0.5, 0.5], [1, 2, 1], [1, 0, Infinity], [1, NaN, NaN], [0.6, 0, 0, 0.5, 0, 0]];
    for (const numbers of faults) {
      expect(() => native.createFaultInjector(0, Float64Array.from(numbers)))
        .toThrow('These are not faults');
    }
    for (const seed of [-1, 0.5, NaN, 2 ** 53, Infinity, undefined]) {
      expect(() => native.createFaultInjector(seed, Float64Array.of(1, 0, 0)))
        .toThrow('These are not faults');
    }
  });
});

describe('in a policy', () => {
  test('it is the innermost part: timeout, breaker and retry see the faults', async () => {
    const fn = jest.fn(() => 'real');
    const guarded = policy({
      retry: { retries: 1, minTimeout: 10, randomize: false },
      breaker: { volumeThreshold: 10 },
      timeout: 50,
      chaos: always({ latency: 100 }),
    });
    const call = settle(guarded.execute(fn));
    await time.advanceAsync(110);
    expect((await call).error).toMatchObject({ code: 'ETIMEDOUT' });
    expect(guarded.breaker.stats).toMatchObject({ failures: 2 });
    expect(guarded.chaos.stats).toEqual({ calls: 2, faults: { latency: 2 } });
    await time.advanceAsync(1000); // The delays have ended with the attempts.
    expect(fn).not.toHaveBeenCalled();
  });

  test('a chaos of its own, errors, and attempts that get none', async () => {
    const made = chaos({ seed: 1, faults: [{ rate: 0.5, error: failure }] });
    const guarded = policy({ retry: { retries: 20, minTimeout: 0 }, chaos: made });
    expect(guarded.chaos).toBe(made);
    const call = guarded.execute(context => context);
    await time.advanceAsync(0);
    const { attempt, signal } = await call;
    expect(attempt).toBe(made.stats.calls);
    expect(made.stats.faults.error).toBe(attempt - 1);
    expect(signal).toBeInstanceOf(AbortSignal);
  });

  test('wrap and protect inject faults; the fallback answers', async () => {
    const parts = { fallback: () => 'instead', chaos: always({ error: failure }) };
    expect(await policy(parts).wrap(() => 'real')()).toBe('instead');
    const client = protect({ ask: async () => 'real' }, { methods: ['ask'], ...parts });
    expect(await client.ask()).toBe('instead');
  });

  test('aborting the call ends it', async () => {
    const controller = new AbortController();
    const guarded = policy({ chaos: always({ latency: Infinity }) });
    const call = settle(guarded.execute(() => 'real', { signal: controller.signal }));
    await time.advanceAsync(1000);
    controller.abort(failure);
    expect(await call).toEqual({ error: failure });
  });
});

describe('beside a model', () => {
  /** Plays random calls, aborts and switches; what differs from the model is a failure. */
  async function play (seed) {
    const dice = new Dice(seed);
    const bounds = () => {
      const min = dice.below(20);
      return dice.chance(0.3) ? [min, min] : [min, min + dice.below(40)];
    };
    const kinds = () => dice.pick([
      { latency: bounds() },
      { latency: [0, 0], error: failure }, { latency: bounds(), error: failure },
      { latency: [0, 0], result: 'fake' }, { latency: bounds(), result: 'fake' },
    ]);
    const count = dice.between(1, 5);
    const faults = Array.from({ length: count }, (_, i) =>
      ({ rate: dice.below(100) / 100 / count, name: `fault-${i}`, ...kinds() }));
    const options = { seed: dice.below(2 ** 31) * 2 ** 21, faults, enabled: dice.chance(0.8) };
    const made = chaos(options);
    const model = new ChaosModel(options);
    const controllers = [];
    const fates = [];
    let now = 0;
    const call = ms => {
      const i = fates.push('delayed') - 1;
      const controller = new AbortController();
      controllers.push(controller);
      const fn = () => {
        fates[i] = 'called';
        if (ms === 0) return 'real';
        return new Promise(resolve => { setTimer(() => resolve('real'), ms); });
      };
      made.execute(fn, { signal: controller.signal }).then(
        value => { fates[i] = value === 'fake' ? 'fake' : 'done'; },
        error => { fates[i] = error === failure ? 'error' : 'aborted'; });
      model.call(now, ms);
    };
    const deeds = {
      call: () => call(dice.pick([0, 0, 5, 30])),
      abort () {
        if (fates.length === 0) return;
        const i = dice.below(fates.length);
        controllers[i].abort();
        model.abort(i, now);
      },
      async advance () {
        const ms = dice.below(25);
        await time.advanceAsync(ms);
        now += ms;
      },
      switch () {
        model.enabled = !model.enabled;
        if (model.enabled) made.enable();
        else made.disable();
      },
    };
    for (let step = 0; step < 80; step++) {
      await deeds[dice.pick(['call', 'call', 'call', 'abort', 'advance', 'advance', 'switch'])]();
      await time.advanceAsync(0);
      expect({ step, fates, stats: made.stats })
        .toEqual({ step, fates: model.fates(now), stats: model.stats });
    }
  }

  test.each([...seedsOf(40)])('seed %i', seed => play(seed));
});
