'use strict';

// Load shedding: what the core makes of delays of the event loop, and an event loop that is late.

const { LoadShedder, policy } = require('../..');
const native = require('../../lib/base/native');
const { useVirtualClock } = require('../../lib/testing/virtual-clock');
const { Dice, seedsOf } = require('../support/random');

const shed = { code: 'ELOADSHED', message: 'The process is too busy for calls of this priority' };
const turn = () => new Promise(resolve => { setImmediate(resolve); });
const options = { maxDelay: 100, interval: 10 };

/** Keeps the event loop busy. */
function block (ms) {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

/** A load shedder in a process that is overloaded: calls of priority 0 are shed. */
async function makeBusy () {
  const shedder = new LoadShedder(options);
  await shedder.execute(() => {}, { priority: 9 });
  while (shedder.pressure < 1) {
    block(300);
    await turn();
  }
  return shedder;
}

describe('the event loop', () => {
  test('in time: every call is taken', async () => {
    const shedder = new LoadShedder();
    expect(await shedder.execute(() => 5)).toBe(5);
    await expect(shedder.execute(async () => { throw new Error('own'); })).rejects.toThrow('own');
    expect([shedder.pressure, shedder.delay, shedder.stats])
      .toEqual([0, 0, { calls: 2, shed: 0, byPriority: { 5: { calls: 2, shed: 0 } } }]);
  });

  test('late: calls of low priority are rejected, until it is in time again', async () => {
    const shedder = await makeBusy();
    expect(shedder.delay).toBeGreaterThan(options.maxDelay);
    const fn = jest.fn();
    await expect(shedder.execute(fn, { priority: 0 })).rejects.toMatchObject(shed);
    expect(fn).not.toHaveBeenCalled();
    await shedder.execute(fn, { priority: 9 });
    expect(fn).toHaveBeenCalledTimes(1);
    expect(shedder.stats).toEqual({
      calls: 3, shed: 1, byPriority: { 0: { calls: 1, shed: 1 }, 9: { calls: 2, shed: 0 } },
    });
    while (shedder.pressure > 0) await turn();
    await shedder.execute(fn, { priority: 0 });
    expect(shedder.stats).toMatchObject({ calls: 4, shed: 1 });
  });

  test('is still measured after a virtual clock, whose timers are gone', async () => {
    const time = useVirtualClock();
    const shedder = new LoadShedder(options);
    await shedder.execute(() => {});
    time.restore();
    await shedder.execute(() => {});
    while (shedder.pressure === 0) {
      block(300);
      await turn();
    }
    expect(shedder.pressure).toBeGreaterThan(0);
  });

  test('is measured once at a time after a virtual clock has come and gone', async () => {
    const shedder = new LoadShedder(options);
    // Its timer goes on.
    await shedder.execute(() => {});
    const time = useVirtualClock();
    await shedder.execute(() => {});
    time.restore();
    await shedder.execute(() => {});
    while (shedder.pressure < 1) {
      block(300);
      await turn();
    }
  });
});

describe('in virtual time', () => {
  const call = (shedder, priority) => shedder.execute(() => {}, { priority });
  let time;
  beforeEach(() => { time = useVirtualClock(); });
  afterEach(() => time.restore());

  /** A load shedder after so many measurements that were much too late. */
  async function makeLate (count) {
    const shedder = new LoadShedder({ maxDelay: 50, interval: 100 });
    await call(shedder, 9);
    for (let i = 0; i < count; i++) await time.block(1000);
    return shedder;
  }

  test('one long turn changes nothing, neither does another one long after it', async () => {
    const shedder = await makeLate(1);
    expect([shedder.delay, shedder.pressure]).toEqual([900, 0]);
    await time.block(200);
    expect([shedder.delay, shedder.pressure]).toEqual([100, 0.5]);
    const other = await makeLate(0);
    await time.advanceAsync(100);
    // Nobody has asked since the last measurement, so this one is the last for now.
    await time.block(1000);
    expect(other.delay).toBe(0);
    await call(other, 9);
    await time.block(1000);
    expect(other.pressure).toBe(0);
    await time.block(1000);
    expect(other.pressure).toBe(1);
  });

  test('a rejected call is told when such a call is taken at the earliest', async () => {
    const shedder = await makeLate(4);
    expect(shedder.pressure).toBe(3);
    const refusals = [];
    for (const priority of [0, 2]) {
      await call(shedder, priority).catch(error => refusals.push([priority, error.retryAfterMs]));
    }
    expect(refusals).toEqual([[0, 1200], [2, 400]]);
    await time.advanceAsync(399);
    await expect(call(shedder, 0)).rejects.toMatchObject({ ...shed, retryAfterMs: 900 });
    await time.advanceAsync(1);
    await call(shedder, 2);
    await time.advanceAsync(800);
    await call(shedder, 0);
    expect(shedder.pressure).toBe(0);
  });
});

describe('a policy', () => {
  test('rejects a call before its other parts, but not before cache and fallback', async () => {
    const shedder = await makeBusy();
    const fn = jest.fn();
    const parts = { shed: shedder, retry: [1, 1], breaker: {} };
    const plain = policy(parts);
    await expect(plain.execute(fn, { priority: 0 })).rejects.toMatchObject(shed);
    expect([plain.breaker.stats.fires, plain.retryStats.calls, fn.mock.calls]).toEqual([0, 0, []]);
    expect(shedder.stats).toMatchObject({ calls: 2, shed: 1 });
    const careful = policy({ ...parts, fallback: [{ value: 'instead' }] });
    expect(await careful.execute(fn, { priority: 0 })).toBe('instead');
    expect(plain.shed).toBe(shedder);
  });

  test('asks once for a call, whatever its retries', async () => {
    const patient = policy({ shed: {}, retry: [0, 0] });
    await expect(patient.execute(async () => { throw new Error('down'); })).rejects.toThrow('down');
    expect([patient.retryStats.attempts, patient.shed.stats.calls]).toEqual([3, 1]);
  });
});

test.each([
  [{ maxDelay: 0 }, 'maxDelay'], [{ maxDelay: 60_001 }, 'maxDelay'],
  [{ maxDelay: '5' }, 'maxDelay'],
  [{ interval: 9 }, 'interval'], [{ interval: NaN }, 'interval'],
])('%p is rejected', (wrong, option) => {
  expect(() => new LoadShedder(wrong))
    .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION', option }));
});

test('a call that is not valid, or whose caller has aborted, is not counted', async () => {
  const shedder = new LoadShedder();
  const reason = new Error('gone');
  const signal = AbortSignal.abort(reason);
  await expect(shedder.execute(() => {}, { signal })).rejects.toBe(reason);
  await expect(shedder.execute(() => {}, { priority: 10 }))
    .rejects.toMatchObject({ code: 'ERR_INVALID_OPTION', option: 'priority' });
  await expect(shedder.execute()).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
  expect(shedder.stats).toEqual({ calls: 0, shed: 0, byPriority: {} });
});

/** What the core must do; the pressure is in thousandths. */
class Model {
  #last = 0;
  #owed = Array(10).fill(0);
  pressure = 0;

  constructor (target) { this.target = target; }

  measure (delay) {
    const lasting = Math.min(this.#last, delay);
    this.#last = delay;
    const rise = Math.floor(500 * (lasting - this.target) / this.target);
    const change = lasting <= this.target ? -250 : Math.min(Math.max(rise, 100), 1000);
    this.pressure = Math.min(Math.max(this.pressure + change, 0), 9000);
  }

  admits (priority) {
    const share = Math.min(Math.max(this.pressure - 1000 * priority, 0), 1000);
    this.#owed[priority] = share === 0 ? 0 : this.#owed[priority] + share;
    if (this.#owed[priority] < 1000) return true;
    this.#owed[priority] -= 1000;
    return false;
  }
}

test.each(seedsOf(20))('the core does what a slow model does: %i', seed => {
  const dice = new Dice(seed);
  const model = new Model(20);
  const handle = native.createLoadShedder(20);
  for (let i = 0; i < 2000; i++) {
    if (dice.below(10) === 0) {
      const delay = dice.pick([0, 20, 21, 25, 33, 40, 100, 1000]);
      native.addLoopDelay(handle, delay);
      model.measure(delay);
      expect(native.loadPressure(handle)).toBe(model.pressure);
      expect(native.loadDelay(handle)).toBe(delay);
    } else {
      const priority = dice.below(10);
      expect([i, native.admitLoad(handle, priority)]).toEqual([i, model.admits(priority)]);
    }
  }
  native.destroyLoadShedder(handle);
});
