'use strict';

// The interface of the `retry` package.

const operations = require('../../lib/primitives/operation');
const { gaps, time, withClock } = require('../support/retry-helpers');

const { operation, timeouts, createTimeout, wrap } = operations;

withClock();
afterEach(() => jest.restoreAllMocks());

describe('timeouts', () => {
  test('double from one second, ten times', () => {
    expect(timeouts()).toEqual(Array.from({ length: 10 }, (_, i) => 1000 * 2 ** i));
    expect(timeouts(null)).toHaveLength(10);
  });

  test('follow the options', () => {
    expect(timeouts({ retries: 4, factor: 3, minTimeout: 5, maxTimeout: 50 }))
      .toEqual([5, 15, 45, 50]);
    expect(timeouts({ retries: 0 })).toEqual([]);
    expect(timeouts({ retries: null })).toEqual([]);
    expect(timeouts({ retries: 1.5, minTimeout: 1 })).toEqual([1, 2]);
  });

  test('ascend', () => {
    expect(timeouts({ retries: 4, factor: 0.5 })).toEqual([125, 250, 500, 1000]);
    for (let i = 0; i < 20; i++) {
      const list = timeouts({ retries: 20, factor: 1, randomize: true });
      expect(list).toEqual(list.toSorted((a, b) => a - b));
    }
  });

  test('of an array are a copy of it', () => {
    const list = [30, 10, 20];
    expect(timeouts(list)).toEqual(list);
    expect(timeouts(list)).not.toBe(list);
  });

  test('are one at least for an operation without an end', () => {
    expect(timeouts({ retries: 0, forever: true, minTimeout: 7 })).toEqual([7]);
  });

  test('have an end, whatever the number of retries', () => {
    expect(timeouts({ retries: Infinity, maxTimeout: 9000 })).toHaveLength(100);
    expect(timeouts({ retries: 1e15 })).toHaveLength(100_000);
  });

  test('do not depend on their receiver', () => {
    expect((0, timeouts)({ retries: 1 })).toEqual([1000]);
  });

  test('reject contradictory options, and nothing else', () => {
    let error;
    try {
      timeouts({ minTimeout: 2, maxTimeout: 1 });
    } catch (caught) {
      error = caught;
    }
    expect(error).toMatchObject({
      name: 'Error', message: 'minTimeout is greater than maxTimeout',
      code: 'ERR_INVALID_OPTION', option: 'minTimeout',
    });
    expect(timeouts({ retries: -1 })).toEqual([]);
    expect(timeouts({ retries: '2', factor: 'x' })).toEqual([1000, NaN]);
  });
});

describe('createTimeout', () => {
  const options = { minTimeout: 100, maxTimeout: 1000, factor: 2 };

  test('gives the delay of one attempt, counted from 0', () => {
    expect([0, 1, 2, 3, 4, 50].map(attempt => createTimeout(attempt, options)))
      .toEqual([100, 200, 400, 800, 1000, 1000]);
  });

  test('takes one millisecond for the least', () => {
    expect(createTimeout(0, { ...options, minTimeout: 0 })).toBe(1);
  });

  test('multiplies by 1 to 2 if asked to', () => {
    jest.spyOn(Math, 'random').mockReturnValue(0.25);
    expect(createTimeout(1, { ...options, randomize: true })).toBe(250);
  });

  test('gives what the formula gives', () => {
    const random = jest.spyOn(Math, 'random');
    const pick = (...choices) => choices[Math.floor(Math.sin(++seed) ** 2 * choices.length)];
    let seed = 0;
    for (let i = 0; i < 2000; i++) {
      const chance = Math.sin(++seed) ** 2;
      random.mockReturnValue(chance);
      const set = {
        factor: pick(1, 1.5, 1.1, 2, 3, 10), minTimeout: pick(0, 1, 7.5, 100, 999, 1e6),
        maxTimeout: pick(1e6, 1e9, Infinity), randomize: pick(true, false),
      };
      const attempt = pick(0, 1, 2, 3, 5, 8, 12);
      const spread = set.randomize ? chance + 1 : 1;
      const grown = Math.round(spread * Math.max(set.minTimeout, 1) * set.factor ** attempt);
      expect([set, createTimeout(attempt, set)]).toEqual([set, Math.min(grown, set.maxTimeout)]);
    }
  });
});

/** Runs an operation that fails each time, until it gives up or has made `most` attempts. */
async function exhaust (op, most = Infinity) {
  const log = [];
  let again;
  op.attempt(attempt => {
    log.push(time().now);
    again = attempt < most && op.retry(new Error(`attempt ${attempt}`));
  });
  await time().advanceAsync(1e9);
  return { log, again };
}

describe('an operation', () => {
  test('attempts at once, and again after each delay', async () => {
    const op = operation({ retries: 3, minTimeout: 10 });
    const { log, again } = await exhaust(op);
    expect(gaps(log)).toEqual([10, 20, 40]);
    expect(again).toBe(false);
    expect(op.attempts()).toBe(4);
    expect(op.errors().map(error => error.message))
      .toEqual(['attempt 1', 'attempt 2', 'attempt 3', 'attempt 4']);
    expect(op.mainError().message).toBe('attempt 4');
  });

  test('does not go on without an error', () => {
    const op = operation();
    op.attempt(() => {});
    for (const none of [undefined, null, false, 0, '']) expect(op.retry(none)).toBe(false);
    expect(op.errors()).toEqual([]);
    expect(op.mainError()).toBe(null);
  });

  test('reports the most frequent error', () => {
    const op = operation();
    const [a, b, c] = ['x', 'y', 'x'].map(message => new Error(message));
    op.errors().push(a, b, c);
    expect(op.mainError()).toBe(c);
  });

  test('stops', async () => {
    const op = operation({ retries: 3, minTimeout: 10 });
    const log = [];
    op.attempt(attempt => {
      log.push(attempt);
      op.retry(new Error('no'));
    });
    op.stop();
    await time().advanceAsync(1e6);
    expect(log).toEqual([1]);
    expect(op.retry(new Error('no'))).toBe(false);
  });

  test('can be reset', async () => {
    const op = operation([1, 2, 3]);
    await exhaust(op);
    expect(op.retry(new Error('no'))).toBe(false);
    op.reset();
    expect(op.attempts()).toBe(1);
    expect(gaps((await exhaust(op)).log)).toEqual([1, 2, 3]);
  });

  test('tells when an attempt takes too long, and only then', async () => {
    const op = operation({ retries: 2, minTimeout: 100 });
    const late = [];
    const start = time().now;
    op.attempt(attempt => {
      if (attempt === 2) return;
      setImmediate(() => op.retry(new Error('no')));
    }, { timeout: 50, cb: () => late.push(time().now - start) });
    await time().advanceAsync(1000);
    expect(late).toEqual([150]);
  });

  test('plans nothing after maxRetryTime', async () => {
    const op = operation({ maxRetryTime: 100, minTimeout: 40, maxTimeout: 40 });
    const { log } = await exhaust(op);
    expect(gaps(log)).toEqual([40, 40, 40]);
    expect(op.errors()[0].message).toBe('RetryOperation timeout occurred');
    expect(op.mainError().message).toBe('attempt 4');
  });

  test.each([
    [{ forever: true, retries: 2, minTimeout: 10 }, [10, 20, 20, 20, 20]],
    [{ forever: true, retries: null, minTimeout: 10 }, [10, 10, 10, 10, 10]],
    [{ retries: Infinity, minTimeout: 10, maxTimeout: 60 }, [10, 20, 40, 60, 60]],
  ])('goes on without an end and keeps the last error: %p', async (options, delays) => {
    const op = operation(options);
    const { log } = await exhaust(op, 6);
    expect(gaps(log)).toEqual(delays);
    if (options.forever) expect(op.errors()).toHaveLength(1);
  });

  test('keeps a thousand errors at most', () => {
    const op = operation({ retries: 5000 });
    op.attempt(() => {});
    for (let i = 0; i < 1500; i++) expect(op.retry(new Error(`${i}`))).toBe(true);
    expect(op.errors()).toHaveLength(1000);
    expect(op.errors()[999].message).toBe('1499');
  });

  test('may be made from a list of delays', async () => {
    const list = Object.assign([5, 6], { forever: true });
    expect(gaps((await exhaust(operation(list), 5)).log)).toEqual([5, 6, 6, 6]);
    expect(Array.from(list)).toEqual([5, 6]);
  });

  test('ends after stop() and reset(), even with forever', async () => {
    const op = operation({ retries: 1, minTimeout: 10, forever: true });
    op.attempt(() => {});
    op.stop();
    op.reset();
    expect([1, 2].map(() => op.retry(new Error('no')))).toEqual([true, false]);
  });

  test('ignores `callback`, which the published types have', async () => {
    const op = operation({ retries: 1, minTimeout: 10 });
    const [cb, callback] = [jest.fn(), jest.fn()];
    op.attempt(() => {}, { timeout: 5, callback });
    await time().advanceAsync(100);
    op.attempt(() => {}, { timeout: 5, cb });
    await time().advanceAsync(100);
    op.retry(new Error('no'));
    await time().advanceAsync(100);
    expect(callback).not.toHaveBeenCalled();
    expect(cb.mock.calls).toEqual([[], [2]]);
  });

  test('has the fields that programs read of one of the `retry` package', async () => {
    const op = operation({ retries: 3, minTimeout: 10, maxRetryTime: 1000 });
    expect(op).toMatchObject({ _timeouts: [10, 20, 40], _originalTimeouts: [10, 20, 40] });
    expect(op._maxRetryTime).toBe(1000);
    op.attempt(() => {});
    op.retry(new Error('no'));
    expect(op).toMatchObject({ _timeouts: [20, 40], _originalTimeouts: [10, 20, 40] });
    op.stop();
    expect(op._timeouts).toEqual([]);
    op.reset();
    expect(op._timeouts).toEqual([10, 20, 40]);
    expect(operation()._maxRetryTime).toBe(Infinity);
  });

  test('waits longer than 2^31 ms if told to', async () => {
    const op = operation([2 ** 31 + 10]);
    expect(gaps((await exhaust(op)).log)).toEqual([]);
    await time().advanceAsync(2 ** 31);
    expect(op.attempts()).toBe(2);
  });

  test.each(['try', 'start'])('%s() is an old name of attempt()', name => {
    const warn = jest.spyOn(process, 'emitWarning').mockReturnValue();
    const op = operation();
    const fn = jest.fn();
    op[name](fn);
    expect(fn).toHaveBeenCalledWith(1);
    expect(warn.mock.calls[0][0]).toContain(`${name}() is deprecated`);
  });
});

describe('wrap', () => {
  const client = () => ({
    calls: 0,
    fetch (fails, callback) {
      this.calls++;
      if (this.calls <= fails) callback(new Error(`failure ${this.calls}`));
      else callback(null, 'value', this.calls);
    },
    other () { return 'other'; },
  });

  test('makes methods retry, and passes on all that they give', async () => {
    const object = client();
    wrap(object, { retries: 3, minTimeout: 10 }, ['fetch']);
    const callback = jest.fn();
    object.fetch(2, callback);
    await time().advanceAsync(1000);
    expect(callback.mock.calls).toEqual([[null, 'value', 3]]);
  });

  test('gives the most frequent error in the end', async () => {
    const object = client();
    wrap(object, { retries: 1, minTimeout: 10 }, ['fetch']);
    const callback = jest.fn();
    object.fetch(9, callback);
    await time().advanceAsync(1000);
    expect(callback.mock.calls).toEqual([[new Error('failure 2')]]);
  });

  test('takes options, names, both or neither', () => {
    const [all, named, both] = [client(), client(), client()];
    const { other } = named;
    wrap(all);
    wrap(named, ['fetch']);
    wrap(both, { retries: 2 }, ['fetch']);
    expect([all.fetch.name, all.other.name]).toEqual(Array(2).fill('bound retryWrapper'));
    expect(named.other).toBe(other);
    expect(both.fetch.options).toEqual({ retries: 2 });
    expect(all.calls).toBe(0);
  });
});

test('the module offers what the package offers', () => {
  expect(Object.keys(operations)).toEqual(
    expect.arrayContaining(['operation', 'timeouts', 'createTimeout', 'wrap']));
});
