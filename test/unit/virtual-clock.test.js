'use strict';

// The clock that tests move by hand.

const clock = require('../../lib/base/clock');
const CircuitBreaker = require('../../lib/primitives/breaker');
const { useVirtualClock } = require('../../lib/testing/virtual-clock');

let time;
beforeEach(() => { time = useVirtualClock(); });
afterEach(() => time.restore());

test('stands still', async () => {
  const [now, wall] = [clock.now(), clock.wall()];
  await new Promise(resolve => { setTimeout(resolve, 20); });
  expect(clock.now()).toBe(now);
  expect(clock.wall()).toBe(wall);
  expect([time.now, time.wall]).toEqual([now, wall]);
});

test('begins where the real clocks are, or where it is told to', () => {
  expect(Math.abs(time.wall - Date.now())).toBeLessThan(5000);
  expect(Math.abs(time.now - performance.now())).toBeLessThan(5000);
  time.restore();
  time = useVirtualClock({ wall: Date.UTC(2030, 0, 1) });
  expect(new Date(clock.wall()).toISOString()).toBe('2030-01-01T00:00:00.000Z');
});

test('moves when it is told to', () => {
  const [now, wall] = [clock.now(), clock.wall()];
  time.advance(1500);
  expect([clock.now() - now, clock.wall() - wall]).toEqual([1500, 1500]);
});

describe('advance', () => {
  test('runs what is due, in order and on time, before it returns', () => {
    const start = clock.now();
    const log = [];
    const note = name => () => log.push([name, clock.now() - start]);
    clock.setTimer(note('c'), 30);
    clock.setTimer(note('a'), 10);
    clock.setTimer(note('b1'), 20);
    clock.setTimer(note('b2'), 20);
    clock.setTimer(note('later'), 31);
    time.advance(30);
    expect(log).toEqual([['a', 10], ['b1', 20], ['b2', 20], ['c', 30]]);
    time.advance(1);
    expect(log.at(-1)).toEqual(['later', 31]);
  });

  test('runs timers that timers set', () => {
    let count = 0;
    const again = () => { count++; clock.setTimer(again, 10); };
    clock.setTimer(again, 10);
    time.advance(100);
    expect(count).toBe(10);
  });

  test('leaves out what was cleared', () => {
    const log = [];
    const first = clock.setTimer(() => log.push('first'), 10);
    const second = clock.setTimer(() => { log.push('second'); clock.clearTimer(third); }, 10);
    const third = clock.setTimer(() => log.push('third'), 10);
    clock.clearTimer(first);
    time.advance(10);
    clock.clearTimer(second);
    clock.clearTimer(undefined);
    expect(log).toEqual(['second']);
  });

  test('of 0 runs what is due at once', () => {
    const fn = jest.fn();
    clock.setTimer(fn, 0);
    clock.setTimer(fn, -5);
    clock.setTimer(fn, NaN);
    time.advance(0);
    expect(fn).toHaveBeenCalledTimes(3);
  });

  test('never runs what waits for ever', () => {
    const fn = jest.fn();
    clock.setTimer(fn, Infinity);
    time.advance(Number.MAX_SAFE_INTEGER / 4);
    expect(fn).not.toHaveBeenCalled();
  });

  test('resolves when promises have been dealt with', async () => {
    const log = [];
    clock.setTimer(() => {
      Promise.resolve().then(() => Promise.resolve()).then(() => log.push('promise'));
      setImmediate(() => log.push('turn'));
    }, 10);
    const done = time.advance(10);
    expect(log).toEqual([]);
    await done;
    expect(log).toEqual(['promise', 'turn']);
  });

  test('adds up', () => {
    const fn = jest.fn();
    clock.setTimer(fn, 100);
    for (let i = 0; i < 99; i++) time.advance(1);
    expect(fn).not.toHaveBeenCalled();
    time.advance(1);
    expect(fn).toHaveBeenCalledTimes(1);
  });

  test('may be called by what it runs', () => {
    const start = clock.now();
    clock.setTimer(() => time.advance(100), 10);
    time.advance(20);
    expect(clock.now() - start).toBe(110);
  });

  test('passes on what a callback throws, and can go on afterwards', () => {
    const fn = jest.fn();
    clock.setTimer(() => { throw new Error('thrown'); }, 10);
    clock.setTimer(fn, 10);
    expect(() => time.advance(10)).toThrow('thrown');
    time.advance(0);
    expect(fn).toHaveBeenCalledTimes(1);
  });

  test('does not run for ever', () => {
    const again = () => clock.setTimer(again, 0);
    again();
    expect(() => time.advance(1)).toThrow(
      expect.objectContaining({ code: 'ERR_VIRTUAL_CLOCK_LOOP' }));
  });

  test.each([[-1], [NaN], ['5'], [undefined], [Infinity]])('refuses %p', async ms => {
    const wrong = expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'ms' });
    expect(() => time.advance(ms)).toThrow(wrong);
    await expect(time.advanceAsync(ms)).rejects.toEqual(wrong);
  });
});

describe('advanceAsync', () => {
  test('lets each timer have its consequences before the next', async () => {
    const start = clock.now();
    const log = [];
    const pause = ms => new Promise(resolve => { clock.setTimer(resolve, ms); });
    (async () => {
      for (let i = 0; i < 4; i++) {
        await pause(10);
        log.push(clock.now() - start);
      }
    })();
    await time.advanceAsync(35);
    expect(log).toEqual([10, 20, 30]);
    expect(clock.now() - start).toBe(35);
    await time.advanceAsync(5);
    expect(log).toEqual([10, 20, 30, 40]);
  });

  test('sees timers that promises set before it was called', async () => {
    const fn = jest.fn();
    Promise.resolve().then(() => clock.setTimer(fn, 10));
    await time.advanceAsync(10);
    expect(fn).toHaveBeenCalledTimes(1);
  });
});

describe('block', () => {
  test('runs what was due late, once, and nothing in between', async () => {
    const start = clock.now();
    const log = [];
    const again = name => () => {
      log.push([name, clock.now() - start]);
      clock.setTimer(again(name), 10);
    };
    clock.setTimer(again('b'), 20);
    clock.setTimer(again('a'), 10);
    clock.setTimer(again('later'), 101);
    const done = time.block(100);
    expect(log).toEqual([['a', 100], ['b', 100]]);
    await done;
    time.advance(1);
    expect(log.slice(2)).toEqual([['later', 101]]);
  });

  test('resolves when promises have been dealt with', async () => {
    const fn = jest.fn();
    clock.setTimer(() => { Promise.resolve().then(() => Promise.resolve()).then(fn); }, 10);
    await time.block(10);
    expect(fn).toHaveBeenCalledTimes(1);
    expect(() => time.block(-1)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
  });
});

describe('restore', () => {
  test('gives the real time back, more than once without harm', () => {
    time.advance(1e9);
    const far = clock.now();
    time.restore();
    time.restore();
    expect(clock.now()).toBeLessThan(far);
    const [before, now] = [performance.now(), clock.now()];
    expect(now).toBeGreaterThanOrEqual(before);
  });

  test('forgets the timers', () => {
    const fn = jest.fn();
    const timer = clock.setTimer(fn, 10);
    time.restore();
    time.advance(100);
    clock.clearTimer(timer);
    expect(fn).not.toHaveBeenCalled();
  });

  test('leaves a clock that came later alone', () => {
    const first = time;
    first.restore();
    time = useVirtualClock();
    const now = clock.now();
    first.restore();
    first.advance(50);
    expect(clock.now()).toBe(now);
  });

  test('ends an advance that goes on', async () => {
    clock.setTimer(() => time.restore(), 10);
    const fn = jest.fn();
    clock.setTimer(fn, 20);
    await time.advanceAsync(100);
    expect(fn).not.toHaveBeenCalled();
  });
});

describe('timeouts of breakers', () => {
  const never = () => new Promise(() => {});
  const codeOf = promise => promise.catch(error => error.code);

  // A length of its own for each: the breakers of one length have one timer.
  test('go by the virtual clock, also those of calls that began before it', async () => {
    time.restore();
    const breaker = new CircuitBreaker(never, { timeout: 77_001 });
    const before = codeOf(breaker.fire());
    time = useVirtualClock();
    const after = codeOf(breaker.fire());
    await time.advance(77_002);
    expect(await Promise.all([before, after])).toEqual(['ETIMEDOUT', 'ETIMEDOUT']);
    breaker.shutdown();
  });

  test.each([30, 25 * 3600 * 1000])('of %d ms, not due by restore(), never are', async ms => {
    let settle;
    const breaker = new CircuitBreaker(() => new Promise(resolve => { settle = resolve; }),
      { timeout: ms });
    const call = codeOf(breaker.fire());
    time.restore();
    const next = new CircuitBreaker(never, { timeout: 30 });
    expect(await codeOf(next.fire())).toBe('ETIMEDOUT');
    settle('late');
    expect(await call).toBe('late');
    expect(breaker.stats).toMatchObject({ successes: 1, timeouts: 0 });
    for (const used of [breaker, next]) used.shutdown();
  });
});

test('reaches the native core: breakers open, half-open and close in virtual time', async () => {
  const breaker = new CircuitBreaker(async fails => {
    if (fails) throw new Error('down');
  }, { name: 'virtual-clock', resetTimeout: 3_600_000, rollingCountTimeout: 60_000 });
  await breaker.fire(true).catch(() => {});
  expect(breaker.opened).toBe(true);
  await time.advanceAsync(3_599_999);
  expect(breaker.opened).toBe(true);
  await time.advanceAsync(1);
  expect(breaker.opened).toBe(false);
  await breaker.fire(false);
  expect(breaker.closed).toBe(true);
  expect(breaker.stats.successes).toBe(1);
  expect(breaker.stats.failures).toBe(0); // It is out of the window.
  await time.advanceAsync(60_000);
  expect(breaker.stats.successes).toBe(0);
  breaker.shutdown();
});

test('there is one at a time', () => {
  expect(() => useVirtualClock()).toThrow(expect.objectContaining({ code: 'ERR_VIRTUAL_CLOCK' }));
});

test('rejects wrong options', () => {
  time.restore();
  for (const options of [5, { wall: 'now' }, { wall: NaN }, { Wall: 0 }]) {
    expect(() => useVirtualClock(options))
      .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
  }
  time = useVirtualClock(); // The rejected one is not in use.
});

describe('the real clock', () => {
  beforeEach(() => time.restore());

  test('fires once, at its time, and can be cleared', async () => {
    const log = [];
    clock.clearTimer(clock.setTimer(() => log.push('cleared'), 1));
    await new Promise(resolve => { clock.setTimer(resolve, 5); });
    expect(log).toEqual([]);
  });

  test('waits for what is longer than its timers can', async () => {
    const fn = jest.fn();
    const timers = [2 ** 31, 2 ** 40, Infinity].map(ms => clock.setTimer(fn, ms));
    await new Promise(resolve => { clock.setTimer(resolve, 5); });
    expect(fn).not.toHaveBeenCalled();
    timers.forEach(clock.clearTimer);
  });
});
