'use strict';

// AbortSignal and attemptTimeout: what is ended from outside.

const { getEventListeners } = require('node:events');

const retry = require('../../lib/primitives/retry');
const { failsUntil, gaps, never, outcome, settled, time, withClock } =
  require('../support/retry-helpers');

withClock();

describe('a signal', () => {
  test('that is aborted already: nothing is tried', async () => {
    const fn = jest.fn();
    const reason = new Error('too late');
    await expect(retry(fn, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(fn).not.toHaveBeenCalled();
  });

  test('ends an attempt at once, even if that never settles', async () => {
    const controller = new AbortController();
    const promise = retry(never, { signal: controller.signal });
    expect(await settled(promise)).toBe(false);
    controller.abort(new Error('enough'));
    await expect(promise).rejects.toThrow('enough');
  });

  test('ends a pause at once', async () => {
    const controller = new AbortController();
    const fn = failsUntil(Infinity);
    const promise = retry(fn, { signal: controller.signal });
    await time().advanceAsync(500);
    controller.abort(new Error('enough'));
    expect((await outcome(promise)).error.message).toBe('enough');
    expect(fn.log).toHaveLength(1);
  });

  test('ends the wait for shouldRetry', async () => {
    const controller = new AbortController();
    const promise = retry(failsUntil(2), { signal: controller.signal, shouldRetry: never });
    await time().advanceAsync(500);
    controller.abort(new Error('enough'));
    expect((await outcome(promise)).error.message).toBe('enough');
  });

  test('may be aborted by the function and the callbacks', async () => {
    for (const where of ['fn', 'shouldRetry', 'onRetry']) {
      const controller = new AbortController();
      const abort = place => { if (place === where) controller.abort(new Error(where)); };
      let attempts = 0;
      const { error } = await outcome(retry(() => {
        attempts++;
        abort('fn');
        throw new Error('no');
      }, {
        signal: controller.signal,
        shouldRetry: () => { abort('shouldRetry'); return true; },
        onRetry: () => abort('onRetry'),
      }));
      expect(error.message).toBe(where);
      expect(attempts).toBe(1);
    }
  });

  test('gives an AbortError when it was aborted without a reason', async () => {
    const controller = new AbortController();
    const promise = retry(never, { signal: controller.signal });
    controller.abort();
    await expect(promise).rejects.toMatchObject({ name: 'AbortError' });
  });

  test('of another kind, without a reason, gives an AbortError as well', async () => {
    const signal = Object.assign(new EventTarget(), { aborted: true });
    await expect(retry(never, { signal })).rejects.toMatchObject({ name: 'AbortError' });
  });

  test('is handed to the function', async () => {
    const { signal } = new AbortController();
    const contexts = [];
    await outcome(retry(async (bail, n, context) => {
      contexts.push(context.signal);
      if (n < 3) throw new Error('no');
    }, { signal }));
    expect(contexts).toEqual([signal, signal, signal]);
  });

  test('has no listeners left, however the call ends', async () => {
    const { signal } = new AbortController();
    const listeners = () => getEventListeners(signal, 'abort').length;
    const ends = [
      () => 1,
      async () => 1,
      () => { throw new Error('no'); },
      bail => { bail(new Error('no')); return never(); },
      bail => bail(),
    ];
    for (const fn of ends) {
      await outcome(retry(fn, { signal, retries: 2 }));
      expect(listeners()).toBe(0);
    }
    const controller = new AbortController();
    const promise = retry(never, { signal: controller.signal });
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(1);
    controller.abort(new Error('no'));
    await expect(promise).rejects.toThrow('no');
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });
});

describe('attemptTimeout', () => {
  test('fails the attempt with ETIMEDOUT, and the next one is made', async () => {
    const told = [];
    const fn = (bail, n) => (n < 3 ? never() : 'at last');
    const result = await outcome(retry(fn, {
      attemptTimeout: 50, onRetry: error => told.push([error.code, error.message]),
    }));
    expect(result).toEqual({ value: 'at last' });
    expect(told).toEqual(Array(2).fill(['ETIMEDOUT', 'Timed out after 50ms']));
  });

  test('ends the call after the last one', async () => {
    const { error } = await outcome(retry(never, { attemptTimeout: 50, retries: 1 }));
    expect(error).toMatchObject({ code: 'ETIMEDOUT', message: 'Timed out after 50ms' });
  });

  test('aborts the signal of that attempt only', async () => {
    const signals = [];
    await outcome(retry((bail, n, { signal }) => {
      signals.push(signal);
      return n < 2 ? never() : 'done';
    }, { attemptTimeout: 50 }));
    expect(signals.map(signal => signal.aborted)).toEqual([true, false]);
    expect(signals[0].reason).toMatchObject({ code: 'ETIMEDOUT' });
  });

  test('grows with each retry, up to a limit', async () => {
    const fn = failsUntil(Infinity);
    const start = time().now;
    const ends = [];
    await outcome(retry(() => { fn.log.push(time().now); return never(); }, {
      attemptTimeout: { initial: 100, increment: 50, max: 180 },
      retries: 3,
      minTimeout: 0,
      maxTimeout: 0,
      onRetry: error => ends.push(error.message),
    }));
    expect(gaps([start, ...fn.log])).toEqual([0, 100, 150, 180]);
    expect(ends).toEqual([100, 150, 180].map(ms => `Timed out after ${ms}ms`));
  });

  test('lets an attempt that is quick enough be, and leaves no timer', async () => {
    const promise = retry(async () => 'quick', { attemptTimeout: 50 });
    expect(await promise).toBe('quick');
    const onRetry = jest.fn();
    await retry(async () => 'quick', { attemptTimeout: 50, onRetry });
    await time().advanceAsync(100);
    expect(onRetry).not.toHaveBeenCalled();
  });

  test('what an attempt does after its time is of no account', async () => {
    const finish = [];
    const onRetry = jest.fn();
    const promise = retry(() => new Promise((resolve, reject) => {
      finish.push({ resolve, reject });
    }), { attemptTimeout: 50, randomize: false, onRetry });
    await time().advanceAsync(60); // The first one has been given up.
    finish[0].reject(new Error('late'));
    await time().advanceAsync(1000); // The second one runs.
    expect(onRetry).toHaveBeenCalledTimes(1);
    await time().advanceAsync(60); // The second one has been given up as well.
    finish[1].resolve('late');
    await time().advanceAsync(2000);
    finish[2].resolve('in time');
    expect(await promise).toBe('in time');
    expect(onRetry).toHaveBeenCalledTimes(2);
  });

  test('bail of an attempt that was given up still ends the call', async () => {
    let first;
    const promise = retry((bail, n) => {
      if (n === 1) first = bail;
      return never();
    }, { attemptTimeout: 50, retries: 1, minTimeout: 1000 });
    await time().advanceAsync(100);
    first(new Error('I know now'));
    expect((await outcome(promise)).error.message).toBe('I know now');
  });

  test.each([[0], [false], [null], [undefined]])('of %p means none', async attemptTimeout => {
    const promise = retry(never, { attemptTimeout });
    await time().advanceAsync(1e9);
    expect(await settled(promise)).toBe(false);
  });

  test('goes together with a signal', async () => {
    const controller = new AbortController();
    const seen = [];
    const promise = retry((bail, n, { signal }) => {
      seen.push(signal);
      return never();
    }, { attemptTimeout: 50, randomize: false, signal: controller.signal });
    await time().advanceAsync(1060);
    const reason = new Error('enough');
    controller.abort(reason);
    await expect(promise).rejects.toBe(reason);
    expect(seen.map(signal => signal.reason.message))
      .toEqual(['Timed out after 50ms', 'enough']);
  });
});
