'use strict';

// Hedged calls: when they are made once more, which answer counts, and what ends them.

const { RetryBudget, hedge, policy, protect } = require('../..');
const { setTimer } = require('../../lib/base/clock');
const native = require('../../lib/base/native');
const { useVirtualClock } = require('../../lib/testing/virtual-clock');
const { HedgeModel, delayAfter } = require('../support/hedge-model');
const { Dice, seedsOf } = require('../support/random');

const settle = promise => promise.then(value => ({ value }), error => ({ error }));
const safeToRepeat = true;
const of = options => hedge({ safeToRepeat, delay: 100, budget: null, ...options });

/** Resolves or rejects after `ms`. */
const after = (ms, value) => new Promise((resolve, reject) => {
  setTimer(() => (value instanceof Error ? reject(value) : resolve(value)), ms);
});

/** A function whose attempts do what `plans` says: [ms, value or error] each. */
function acting (...plans) {
  const attempts = [];
  const fn = context => {
    attempts.push({ ...context, at: time.now });
    return after(...plans[attempts.length - 1]);
  };
  return { attempts, fn };
}

let time;
beforeEach(() => { time = useVirtualClock(); });
afterEach(() => time.restore());

describe('a call', () => {
  test('that is answered before the delay is made once', async () => {
    const { fn, attempts } = acting([99, 'first']);
    const made = of();
    const call = made.execute(fn);
    await time.advanceAsync(99);
    expect(await call).toBe('first');
    await time.advanceAsync(1000);
    expect(attempts).toHaveLength(1);
    expect(made.stats).toEqual({ calls: 1, hedges: 0, wins: 0, denied: 0 });
  });

  test('without an answer is made once more; the first answer counts', async () => {
    const { fn, attempts } = acting([1000, 'first'], [50, 'second']);
    const made = of();
    const call = made.execute(fn);
    await time.advanceAsync(150);
    expect(await call).toBe('second');
    expect(attempts.map(({ hedge: number }) => number)).toEqual([0, 1]);
    expect(attempts[1].at - attempts[0].at).toBe(100);
    expect(attempts[0].signal.reason)
      .toMatchObject({ name: 'AbortError', message: 'Another attempt was faster' });
    expect(attempts[1].signal.aborted).toBe(false);
    expect(made.stats).toEqual({ calls: 1, hedges: 1, wins: 1, denied: 0 });
  });

  test('that answers late may still be the first to do so', async () => {
    const { fn, attempts } = acting([120, 'first'], [50, 'second']);
    const made = of();
    const call = made.execute(fn);
    await time.advanceAsync(120);
    expect(await call).toBe('first');
    expect(attempts.map(({ signal }) => signal.aborted)).toEqual([false, true]);
    expect(made.stats).toEqual({ calls: 1, hedges: 1, wins: 0, denied: 0 });
  });

  test('is made again after each delay, up to maxHedges', async () => {
    const { fn, attempts } = acting([1000, 0], [1000, 1], [1000, 2], [10, 3]);
    const call = of({ maxHedges: 2 }).execute(fn);
    await time.advanceAsync(1000);
    expect(await call).toBe(0);
    expect(attempts.map(({ at }) => at - attempts[0].at)).toEqual([0, 100, 200]);
  });

  test('with a delay of 0 is made twice at once, unless it answers at once', async () => {
    const made = of({ delay: 0 });
    expect(await made.execute(async () => 'at once')).toBe('at once');
    const { fn, attempts } = acting([10, 'first'], [5, 'second']);
    const call = made.execute(fn);
    await time.advanceAsync(5);
    expect(await call).toBe('second');
    expect(attempts[0].at).toBe(attempts[1].at);
  });

  test('with an endless delay is never made twice', async () => {
    const { fn, attempts } = acting([1e9, 'first']);
    const call = of({ delay: Infinity }).execute(fn);
    await time.advanceAsync(1e9);
    expect(await call).toBe('first');
    expect(attempts).toHaveLength(1);
  });
});

describe('errors', () => {
  const one = new Error('one');
  const two = new Error('two');

  test('of the only attempt end the call at once: that is what retries are for', async () => {
    const { fn, attempts } = acting([10, one]);
    const call = settle(of().execute(fn));
    await time.advanceAsync(10);
    expect(await call).toEqual({ error: one });
    await time.advanceAsync(1000);
    expect(attempts).toHaveLength(1);
    expect(await settle(of().execute(() => { throw two; }))).toEqual({ error: two });
  });

  test('of one attempt are no answer while another one runs', async () => {
    for (const plans of [[[110, one], [50, 'answer']], [[150, 'answer'], [10, two]]]) {
      const { fn } = acting(...plans);
      const call = of().execute(fn);
      await time.advanceAsync(150);
      expect(await call).toBe('answer');
    }
  });

  test('of all attempts: the call fails with that of the first one', async () => {
    for (const plans of [[[110, one], [50, two]], [[150, one], [10, two]]]) {
      const { fn, attempts } = acting(...plans);
      const call = settle(of({ maxHedges: 5 }).execute(fn));
      await time.advanceAsync(150);
      expect(await call).toEqual({ error: one });
      await time.advanceAsync(1000);
      expect(attempts).toHaveLength(2);
    }
  });
});

describe('the signal', () => {
  const reason = new Error('gave up');

  test('of the caller ends all attempts at once', async () => {
    const { fn, attempts } = acting([1000, 0], [1000, 1]);
    const controller = new AbortController();
    const call = settle(of({ maxHedges: 3 }).execute(fn, { signal: controller.signal }));
    await time.advanceAsync(100);
    controller.abort(reason);
    expect(await call).toEqual({ error: reason });
    expect(attempts.map(({ signal }) => signal.reason)).toEqual([reason, reason]);
    await time.advanceAsync(1000);
    expect(attempts).toHaveLength(2);
  });

  test('that was aborted before: the call is not made, and does not count', async () => {
    const fn = jest.fn();
    const made = of();
    await expect(made.execute(fn, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(fn).not.toHaveBeenCalled();
    expect(made.stats.calls).toBe(0);
  });

  test('that aborts later changes nothing, and is not listened to any more', async () => {
    const controller = new AbortController();
    const { getEventListeners } = require('node:events');
    const { fn, attempts } = acting([10, 'first']);
    const call = of().execute(fn, { signal: controller.signal });
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(1);
    await time.advanceAsync(10);
    expect(await call).toBe('first');
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    controller.abort(reason);
    expect(attempts[0].signal.aborted).toBe(false);
  });
});

describe('the budget', () => {
  /** Makes calls one after the other that only a hedge would answer soon. */
  async function slowCalls (made, count) {
    let calls = 0;
    for (let i = 0; i < count; i++) {
      const call = made.execute(() => {
        calls++;
        return after(200, 'answer');
      });
      await time.advanceAsync(200);
      await call;
    }
    return calls - count;
  }

  test('by default, there is one hedge for ten calls', async () => {
    const made = hedge({ safeToRepeat, delay: 100 });
    expect(await slowCalls(made, 9)).toBe(0);
    expect(await slowCalls(made, 91)).toBe(10);
    expect(made.stats).toEqual({ calls: 100, hedges: 10, wins: 0, denied: 90 });
  });

  test('by default, hedges that were not needed are kept for later: ten', async () => {
    const made = hedge({ safeToRepeat, delay: 100 });
    for (let i = 0; i < 1000; i++) await made.execute(() => 'at once');
    expect(await slowCalls(made, 15)).toBe(11); // These calls have earned one more.
  });

  test('its options have these defaults, too', async () => {
    const made = hedge({ safeToRepeat, delay: 100, budget: { ratio: 0.5 } });
    expect(await slowCalls(made, 100)).toBe(50);
    await time.advanceAsync(1e6);
    expect(await slowCalls(made, 1)).toBe(0);
  });

  test('may be shared, or be of the user', async () => {
    const budget = new RetryBudget({ ratio: 1, reservePerSecond: 0 });
    const made = hedge({ safeToRepeat, delay: 100, budget });
    budget.deposit();
    expect(await slowCalls(made, 1)).toBe(1);
    expect(budget.balance()).toBe(1);
    const asked = { deposit: jest.fn(), tryWithdraw: jest.fn(() => false) };
    const refused = hedge({ safeToRepeat, delay: 100, maxHedges: 3, budget: asked });
    expect(await slowCalls(refused, 2)).toBe(0);
    expect(asked.deposit).toHaveBeenCalledTimes(2);
    expect(asked.tryWithdraw).toHaveBeenCalledTimes(2); // What is denied is not asked for again.
  });

  test('one that fails is reported, and allows nothing', async () => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const boom = () => { throw new Error('boom'); };
    const made = hedge({ safeToRepeat, delay: 100, budget: { deposit: boom, tryWithdraw: boom } });
    expect(await slowCalls(made, 1)).toBe(0);
    expect(warn.mock.calls.map(([text]) => text))
      .toEqual(['budget.deposit failed: boom', 'budget.tryWithdraw failed: boom']);
    warn.mockRestore();
  });
});

describe('a delay that follows the latencies', () => {
  const delay = { quantile: 0.9, min: 10, max: 500 };

  test('is the greatest until twenty calls were answered; then it is their quantile', async () => {
    const made = of({ delay });
    for (let i = 1; i <= 20; i++) {
      expect(made.delay).toBe(500);
      const call = made.execute(() => after(i * 2, 'answer'));
      await time.advanceAsync(i * 2);
      await call;
    }
    expect(made.delay).toBe(36); // The 18th of 20.
  });

  test('counts how long an attempt ran that was overtaken, but no failures', async () => {
    const made = of({ delay: { quantile: 0.5, max: 500 } });
    for (let i = 0; i < 20; i++) {
      settle(made.execute(() => { throw new Error('at once'); }));
      const { fn } = acting([1000, 'first'], [40, 'second']);
      made.execute(fn);
      await time.advanceAsync(540);
    }
    expect(made.stats.wins).toBe(20);
    expect(made.delay).toBe(500); // Twenty of 540.
    const call = made.execute(acting([1000, new Error('late')], [1000, 'second']).fn);
    await time.advanceAsync(1500);
    expect(await call).toBe('second'); // The first one has failed: nothing to measure.
    expect(made.delay).toBe(500);
  });

  test('stays within its bounds', async () => {
    const fast = of({ delay });
    for (let i = 0; i < 100; i++) await fast.execute(() => 'at once');
    expect(fast.delay).toBe(10);
    const least = of({ delay: { quantile: 0.5, max: 500 } });
    for (let i = 0; i < 100; i++) await least.execute(() => 'at once');
    expect(least.delay).toBe(1);
  });

  test('is that of the last 500 to 1000 calls', () => {
    const dice = new Dice(3);
    const latencies = [];
    const handle = native.createHedgeDelay(0.95, 0, 1e6);
    for (let i = 0; i < 2600; i++) {
      const ms = dice.below(dice.pick([50, 500, 50_000]));
      latencies.push(ms);
      native.addHedgeLatency(handle, ms);
      if (i % 7 !== 0) continue;
      expect(native.hedgeDelay(handle))
        .toBe(delayAfter(latencies, { quantile: 0.95, min: 0, max: 1e6 }));
    }
    native.destroyHedgeDelay(handle);
  });
});

describe('options', () => {
  const good = { safeToRepeat, delay: 100 };
  test.each([
    [undefined, 'safeToRepeat'], [{ delay: 100 }, 'safeToRepeat'],
    [{ ...good, safeToRepeat: false }, 'safeToRepeat'],
    [{ ...good, safeToRepeat: 'yes' }, 'safeToRepeat'],
    [{ safeToRepeat }, 'delay'], [{ safeToRepeat, delay: -1 }, 'delay'],
    [{ safeToRepeat, delay: NaN }, 'delay'], [{ safeToRepeat, delay: '5' }, 'delay'],
    [{ safeToRepeat, delay: null }, 'delay'], [{ safeToRepeat, delay: {} }, 'delay.quantile'],
    [{ safeToRepeat, delay: { quantile: 1, max: 5 } }, 'delay.quantile'],
    [{ safeToRepeat, delay: { quantile: 0, max: 5 } }, 'delay.quantile'],
    [{ safeToRepeat, delay: { quantile: 0.5 } }, 'delay.max'],
    [{ safeToRepeat, delay: { quantile: 0.5, min: 6, max: 5 } }, 'delay.min'],
    [{ ...good, maxHedges: 0 }, 'maxHedges'], [{ ...good, maxHedges: 11 }, 'maxHedges'],
    [{ ...good, maxHedges: 1.5 }, 'maxHedges'], [{ ...good, budget: 1 }, 'budget'],
    [{ ...good, budget: { ratio: -1 } }, 'ratio'],
  ])('%j is refused, because of %s', (options, option) => {
    expect(() => hedge(options))
      .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION', option }));
  });

  test('without safeToRepeat, the error says what it is about', () => {
    expect(() => policy({ hedge: { delay: 100 } })).toThrow('only calls that are safe to repeat');
  });

  test('native code takes nothing else', () => {
    for (const rules of [[0, 0, 1], [1, 0, 1], [NaN, 0, 1], [0.5, -1, 1], [0.5, 2, 1],
      [0.5, 0, NaN], [0.5]]) {
      expect(() => native.createHedgeDelay(...rules)).toThrow('These are not rules of hedges');
    }
  });
});

describe('in a policy', () => {
  const parts = { hedge: { safeToRepeat, delay: 100, budget: null } };

  test('each attempt passes breaker, limits and timeout; all of them are one attempt of a retry',
    async () => {
      const seen = [];
      const guarded = policy({
        ...parts,
        retry: { retries: 1, minTimeout: 0, randomize: false },
        breaker: { volumeThreshold: 10 },
        rateLimit: { limit: 10, interval: 1e6 },
        bulkhead: { maxConcurrent: 2 },
        timeout: 500,
      });
      const call = guarded.execute(({ attempt, hedge: number, signal }) => {
        seen.push([attempt, number, guarded.bulkhead.active, signal.aborted]);
        if (attempt === 1) return after(150, new Error('down'));
        return after(number === 0 ? 400 : 50, 'answer');
      });
      await time.advanceAsync(401); // The retry waits for a millisecond.
      expect(await call).toBe('answer');
      expect(seen).toEqual([[1, 0, 1, false], [1, 1, 2, false], [2, 0, 1, false],
        [2, 1, 2, false]]);
      expect(guarded.rateLimit.available).toBeCloseTo(6, 1);
      expect(guarded.bulkhead.active).toBe(0);
      // The attempt that was overtaken counts for nothing.
      expect(guarded.breaker.stats).toMatchObject({ successes: 1, failures: 2, timeouts: 0 });
      expect(guarded.retryStats).toMatchObject({ calls: 1, attempts: 2 });
      expect(guarded.hedge.stats).toEqual({ calls: 2, hedges: 2, wins: 1, denied: 0 });
    });

  test('the timeout of an attempt counts from its own start', async () => {
    const guarded = policy({ ...parts, timeout: 120 });
    const call = guarded.execute(({ hedge: number }) =>
      (number === 0 ? new Promise(() => {}) : after(110, 'answer')));
    await time.advanceAsync(210);
    expect(await call).toBe('answer');
  });

  test('an open breaker, or a limit that is reached, refuses the hedge only', async () => {
    const full = policy({ ...parts, bulkhead: { maxConcurrent: 1 } });
    const call = full.execute(() => after(300, 'answer'));
    await time.advanceAsync(300);
    expect(await call).toBe('answer');
    expect(full.hedge.stats).toMatchObject({ hedges: 1, wins: 0 });
    const open = policy({ ...parts, breaker: {} });
    const slow = open.execute(() => after(300, 'answer'));
    await time.advanceAsync(50);
    open.breaker.open();
    await time.advanceAsync(250);
    expect(await slow).toBe('answer');
    await expect(open.execute(() => 'answer')).rejects.toMatchObject({ code: 'EOPENBREAKER' });
    expect(open.hedge.stats).toMatchObject({ calls: 2, hedges: 1 });
  });

  test('aborting the call ends all attempts', async () => {
    const guarded = policy({ ...parts, breaker: { volumeThreshold: 1 } });
    const controller = new AbortController();
    const signals = [];
    const call = settle(guarded.execute(({ signal }) => {
      signals.push(signal);
      return new Promise(() => {});
    }, { signal: controller.signal }));
    await time.advanceAsync(100);
    const reason = new Error('gave up');
    controller.abort(reason);
    expect(await call).toEqual({ error: reason });
    expect(signals.map(({ reason: told }) => told)).toEqual([reason, reason]);
    expect(guarded.breaker.stats).toMatchObject({ successes: 0, failures: 0 });
  });

  test('a hedge of its own, and none', () => {
    const made = hedge(parts.hedge);
    expect(policy({ hedge: made }).hedge).toBe(made);
    for (const none of [undefined, null, false]) {
      expect(policy({ hedge: none }).hedge).toBeUndefined();
    }
  });

  test('protect has no hedge: its methods may charge, send or create', () => {
    const client = { pay: async () => 'paid' };
    for (const value of [parts.hedge, hedge(parts.hedge), true]) {
      expect(() => protect(client, { methods: ['pay'], hedge: value }))
        .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'hedge' }));
    }
    protect(client, { methods: ['pay'], hedge: null });
  });
});

describe('beside a model', () => {
  /** Plays random calls and aborts; what differs from the model is a failure. */
  async function play (seed) {
    const dice = new Dice(seed);
    const fixed = dice.pick([1, 10, 30, Infinity]);
    const delay = dice.chance(0.4) ? fixed
      : { quantile: dice.pick([0.5, 0.9, 0.95]), min: dice.pick([1, 8]), max: 40 };
    const budget = dice.chance(0.3) ? null
      : { ratio: dice.pick([0.1, 0.5, 1]), max: dice.between(1, 5) };
    const options = { delay, maxHedges: dice.between(1, 3), budget };
    const made = hedge({ safeToRepeat, ...options });
    const model = new HedgeModel(options);
    const controllers = [];
    const calls = [];
    let now = 0;
    // Attempts end between the whole milliseconds at which all other things happen.
    const planOf = () =>
      ({ ms: dice.below(dice.pick([5, 30, 90])) + 0.5, fails: dice.chance(0.3) });
    const begin = () => {
      const plans = Array.from({ length: 4 }, planOf);
      const call = { outcome: 'pending', attempts: [] };
      const controller = new AbortController();
      calls.push(call);
      controllers.push(controller);
      made.execute(({ signal, hedge: number }) => {
        const attempt = [time.now - startedAt, 'runs'];
        call.attempts.push(attempt);
        expect(call.attempts).toHaveLength(number + 1);
        signal.addEventListener('abort', () => {
          if (attempt[1] !== 'over') {
            attempt[1] = signal.reason.message === 'Another attempt was faster' ? 'overtaken'
              : 'aborted';
          }
        });
        const { ms, fails } = plans[number];
        return new Promise((resolve, reject) => {
          setTimer(() => {
            if (attempt[1] === 'runs') attempt[1] = 'over';
            if (fails) reject(new Error(`error ${number}`));
            else resolve(`answer ${number}`);
          }, ms);
        });
      }, { signal: controller.signal }).then(
        value => { call.outcome = value; },
        error => { call.outcome = error.name === 'AbortError' ? 'aborted' : error.message; });
      model.call(plans);
    };
    const startedAt = time.now;
    const deeds = {
      call: begin,
      abort () {
        if (calls.length === 0) return;
        const index = dice.between(Math.max(0, calls.length - 5), calls.length - 1);
        controllers[index].abort();
        model.abort(index);
      },
      async advance () {
        const ms = dice.below(30);
        await time.advanceAsync(ms);
        now += ms;
        model.advance(ms);
      },
    };
    for (let step = 0; step < 120; step++) {
      await deeds[dice.pick(['call', 'call', 'call', 'abort', 'advance', 'advance'])]();
      await time.advanceAsync(0);
      expect({ step, now, calls, stats: made.stats, delay: made.delay }).toEqual(
        { step, now, calls: model.view(), stats: model.stats, delay: model.delay });
    }
  }

  test.each([...seedsOf(40)])('seed %i', seed => play(seed));
});
