'use strict';

// Odd functions and callbacks: no call stays unsettled, nothing is tried in the background, and
// nothing escapes as an unhandled rejection.

const { once } = require('node:events');
const { Worker } = require('node:worker_threads');

const retry = require('../../lib/primitives/retry');
const { failsUntil, never, outcome, settled, time, withClock } =
  require('../support/retry-helpers');

withClock();

let unhandled;
const note = reason => unhandled.push(reason);
beforeEach(() => {
  unhandled = [];
  process.on('unhandledRejection', note);
});
afterEach(async () => {
  await time().advanceAsync(0);
  process.off('unhandledRejection', note);
  expect(unhandled).toEqual([]);
});

describe('bail ends everything', () => {
  test.each([
    ['in the first attempt', 1],
    ['in a later attempt', 3],
  ])('even if the function throws afterwards, %s', async (when, at) => {
    let attempts = 0;
    const onRetry = jest.fn();
    const { error } = await outcome(retry(async (bail, n) => {
      attempts++;
      if (n === at) bail(new Error('Wont retry'));
      throw new Error(`attempt ${n}`);
    }, { onRetry }));
    expect(error.message).toBe('Wont retry');
    expect(attempts).toBe(at);
    expect(onRetry).toHaveBeenCalledTimes(at - 1);
  });

  test('even if the function throws synchronously afterwards', async () => {
    let attempts = 0;
    const { error } = await outcome(retry(bail => {
      attempts++;
      bail(new Error('Wont retry'));
      throw new Error('other');
    }));
    expect(error.message).toBe('Wont retry');
    expect(attempts).toBe(1);
  });

  test.each([
    ['that takes bail', bail => { bail(new Error('end')); return never(); }],
    ['that finds bail in its arguments', (...all) => { all[0](new Error('end')); return never(); }],
    ['that calls bail late', async bail => {
      await null;
      bail(new Error('end'));
      await never();
    }],
    ['that calls bail late, from its arguments', async (...all) => {
      await null;
      all[0](new Error('end'));
      await never();
    }],
  ])('at once, for a function %s and never returns', async (what, fn) => {
    const promise = retry(fn);
    expect(await settled(promise)).toBe(true);
    await expect(promise).rejects.toThrow('end');
  });

  test('in a later attempt that never returns', async () => {
    const { error } = await outcome(retry((bail, n) => {
      if (n === 1) throw new Error('first');
      bail(new Error('end'));
      return never();
    }));
    expect(error.message).toBe('end');
  });

  test('during the pause, with the bail of the attempt before', async () => {
    let bail;
    let attempts = 0;
    const promise = retry(async given => {
      attempts++;
      bail = given;
      throw new Error('first');
    });
    await time().advanceAsync(500);
    bail(new Error('changed my mind'));
    expect((await outcome(promise)).error.message).toBe('changed my mind');
    expect(attempts).toBe(1);
  });
});

describe('errors that are no errors', () => {
  test.each([[undefined], [null], [0], [''], [false], ['text'], [NaN]])(
    'rejecting with %p is a failure like any other', async reason => {
      let attempts = 0;
      const { error } = await outcome(retry(() => { attempts++; return Promise.reject(reason); },
        { retries: 2 }));
      expect(attempts).toBe(3);
      expect(error).toBe(reason);
    });

  test.each([[undefined], [null], [0], ['text']])('so is throwing %p', async reason => {
    let attempts = 0;
    const { error } = await outcome(retry(() => { attempts++; throw reason; }, { retries: 2 }));
    expect(attempts).toBe(3);
    expect(error).toBe(reason);
  });

  test('an error without a prototype is one too', async () => {
    const bare = Object.create(null);
    expect((await outcome(retry(() => Promise.reject(bare), { retries: 1 }))).error).toBe(bare);
  });

  test('an error whose bail cannot be read is one like others', async () => {
    const trap = Object.defineProperty(new Error('trap'), 'bail', {
      get () { throw new Error('no looking'); },
    });
    let attempts = 0;
    const fn = () => {
      attempts++;
      return Promise.reject(trap);
    };
    expect((await outcome(retry(fn, { retries: 1 }))).error).toBe(trap);
    expect(attempts).toBe(2);
  });

  test('a budget whose deposit throws does not keep the result back', async () => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const budget = { tryWithdraw: () => true, deposit () { throw new Error('no deposit'); } };
    expect(await outcome(retry(() => 'fine', { budget }))).toEqual({ value: 'fine' });
    expect(warn).toHaveBeenCalledTimes(1);
    warn.mockRestore();
  });

  test('messages that are names of methods are counted like others', async () => {
    const errors = ['constructor', 'constructor', 'toString'].map(message => new Error(message));
    const { error } = await outcome(retry((bail, n) => Promise.reject(errors[n - 1]),
      { retries: 2 }));
    expect(error).toBe(errors[1]);
  });
});

describe('callbacks that fail', () => {
  test('onRetry that throws ends the call with what it threw', async () => {
    const fn = failsUntil(Infinity);
    const onRetry = () => { throw new Error('listener'); };
    expect((await outcome(retry(fn, { onRetry }))).error.message).toBe('listener');
    expect(fn.log).toHaveLength(1);
  });

  test('so does one that rejects, and it is not waited for', async () => {
    const fn = failsUntil(Infinity);
    const onRetry = async () => { throw new Error('listener'); };
    expect((await outcome(retry(fn, { onRetry }))).error.message).toBe('listener');
    expect(fn.log).toHaveLength(1);
    expect(await outcome(retry(failsUntil(2), { onRetry: never }))).toEqual({ value: 'attempt 2' });
  });

  test('shouldRetry that throws or rejects ends the call with that', async () => {
    const fn = failsUntil(Infinity);
    const sync = () => { throw new Error('judge'); };
    const async = () => Promise.reject(new Error('judge'));
    expect((await outcome(retry(fn, { shouldRetry: sync }))).error.message).toBe('judge');
    expect((await outcome(retry(fn, { shouldRetry: async }))).error.message).toBe('judge');
    expect(fn.log).toHaveLength(2);
  });

  test('a budget that throws ends the call with that', async () => {
    const budget = { tryWithdraw () { throw new Error('bank'); }, deposit () {} };
    const { error } = await outcome(retry(failsUntil(2), { budget }));
    expect(error.message).toBe('bank');
  });

  test('bail within a callback ends the call', async () => {
    let bail;
    const fn = async given => {
      bail = given;
      throw new Error('no');
    };
    const stop = () => { bail(new Error('stop')); return true; };
    expect((await outcome(retry(fn, { shouldRetry: stop }))).error.message).toBe('stop');
    expect((await outcome(retry(fn, { onRetry: stop }))).error.message).toBe('stop');
  });
});

describe('odd results', () => {
  test('a thenable that settles twice, or throws after settling, counts once', async () => {
    const twice = { then (yes, no) { yes(1); no(new Error('no')); throw new Error('no'); } };
    expect(await outcome(retry(() => twice))).toEqual({ value: 1 });
  });

  test('a thenable whose then cannot be read is a failure', async () => {
    const trap = { get then () { throw new Error('trap'); } };
    expect((await outcome(retry(() => trap, { retries: 1 }))).error.message).toBe('trap');
  });

  test('a promise whose own then fails is a failure', async () => {
    const odd = () => Object.assign(Promise.resolve(1), { then () { throw new Error('odd'); } });
    expect((await outcome(retry(odd, { retries: 1 }))).error.message).toBe('odd');
  });

  test('a promise of another realm is waited for', async () => {
    const foreign = require('node:vm').runInNewContext('Promise.resolve(5)');
    expect(foreign).not.toBeInstanceOf(Promise);
    expect(await retry(() => foreign)).toBe(5);
  });

  test('what changes the options into wrong ones in between ends the call', async () => {
    const options = { retries: 3 };
    const { error } = await outcome(retry(async () => {
      options.retries = NaN;
      throw new Error('no');
    }, options));
    expect(error.code).toBe('ERR_INVALID_OPTION');
  });
});

describe('no end', () => {
  test.each([[{ retries: Infinity }], [{ forever: true }], [{ retries: Number.MAX_SAFE_INTEGER }]])(
    '%p needs no more memory than others', async options => {
      const fn = failsUntil(1200);
      const promise = retry(fn, { ...options, minTimeout: 1, maxTimeout: 1 });
      for (let i = 0; i < 1200; i++) await time().advanceAsync(1);
      expect(await promise).toBe('attempt 1200');
    });

  test('retries: Infinity waits as the formula says until the limit is reached', async () => {
    const fn = failsUntil(9);
    await outcome(retry(fn,
      { retries: Infinity, minTimeout: 1, maxTimeout: 20, randomize: false }));
    expect(fn.log.map(at => at - fn.log[0])).toEqual([0, 1, 3, 7, 15, 31, 51, 71, 91]);
  });

  test('growth without a limit never makes a delay that fires at once', async () => {
    const fn = failsUntil(Infinity);
    retry(fn, { retries: 2000, factor: 1e300 });
    await time().advanceAsync(1e12);
    expect(fn.log).toHaveLength(2);
  });
});

test('nothing keeps the process waiting with unref, and something does without', async () => {
  const code = unref => `
    const { parentPort } = require('node:worker_threads');
    const retry = require(${JSON.stringify(require.resolve('../../lib/primitives/retry'))});
    const fn = (bail, n) => { if (n > 1) return; throw new Error('no'); };
    retry(fn, { unref: ${unref}, minTimeout: ${unref ? 3_600_000 : 20}, randomize: false })
      .then(() => parentPort.postMessage('done'));`;
  const messages = async unref => {
    const worker = new Worker(code(unref), { eval: true });
    const seen = [];
    worker.on('message', message => seen.push(message));
    await once(worker, 'exit');
    return seen;
  };
  expect(await messages(true)).toEqual([]);
  expect(await messages(false)).toEqual(['done']);
});
