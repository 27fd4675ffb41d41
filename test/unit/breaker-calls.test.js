'use strict';

// fire() and call(): what reaches the action, and what comes back.

const { promisify } = require('node:util');

const { CircuitBreaker, make, positive, settle, trip } = require('../support/breaker-helpers');

test('fire passes its arguments to the action and resolves with its result', async () => {
  const breaker = make(async (...args) => args);
  expect(await breaker.fire(1, 'two', { three: 3 })).toEqual([1, 'two', { three: 3 }]);
  expect(await breaker.fire()).toEqual([]);
});

test('fire always returns a promise', async () => {
  for (const action of [positive, x => x, 'constant']) {
    const result = make(action).fire(1);
    expect(typeof result.then).toBe('function');
    await result;
  }
});

test('a plain value, a promise and a thenable all resolve', async () => {
  expect(await make(x => x + 1).fire(1)).toBe(2);
  expect(await make(x => Promise.resolve(x)).fire(1)).toBe(1);
  const thenable = {
    then (resolve) {
      resolve('thenable');
      return Promise.resolve();
    },
  };
  expect(await make(() => thenable).fire()).toBe('thenable');
});

test.each([0, '', false, NaN])('a result of %p is a success', async value => {
  const breaker = make(async () => value);
  expect(await breaker.fire()).toBe(value);
  expect(breaker.stats.successes).toBe(1);
  expect(breaker.stats.failures).toBe(0);
});

test('a promise of undefined is a success', async () => {
  const breaker = make(async () => {});
  expect(await breaker.fire()).toBeUndefined();
  expect(breaker.stats.successes).toBe(1);
});

test('a rejection comes through unchanged and counts as a failure', async () => {
  const reason = new Error('refused');
  const breaker = make(() => Promise.reject(reason));
  expect((await settle(breaker.fire())).error).toBe(reason);
  expect(breaker.stats.failures).toBe(1);
});

test('a synchronous throw is a rejection', async () => {
  const reason = new Error('thrown');
  const breaker = make(() => { throw reason; });
  expect((await settle(breaker.fire())).error).toBe(reason);
  expect(breaker.stats.failures).toBe(1);
});

test('a rejection need not be an error', async () => {
  const breaker = make(() => Promise.reject('text'));
  expect((await settle(breaker.fire())).error).toBe('text');
  expect(CircuitBreaker.isOurError('text')).toBe(false);
});

test('callback functions work when promisified', async () => {
  const add = promisify((a, b, done) => done(null, a + b));
  expect(await make(add).fire(3, 4)).toBe(7);
  const fail = promisify((a, done) => done(new Error(`no ${a}`)));
  expect((await settle(make(fail).fire('luck'))).error.message).toBe('no luck');
});

test('under fire, `this` is the action itself', async () => {
  async function self () { return this; }
  expect(await make(self).fire()).toBe(self);
});

test('call(context, …) sets `this` and passes the rest', async () => {
  const context = { tax: 11 };
  const breaker = make(async function (price) { return price + this.tax; });
  expect(await breaker.call(context, 100)).toBe(111);
  await expect(make(async function () { return this.tax; }).call(context)).resolves.toBe(11);
});

test('call(context, …) sets `this` on a disabled breaker too', async () => {
  const breaker = make(async function (x) { return [this.id, x]; }, { enabled: false });
  expect(await breaker.call({ id: 7 }, 'x')).toEqual([7, 'x']);
});

test('an open breaker rejects without calling the action', async () => {
  const action = jest.fn(positive);
  const breaker = make(action, { errorThresholdPercentage: 1 });
  await trip(breaker);
  expect(breaker.opened).toBe(true);
  const { error } = await settle(breaker.fire(1));
  expect(error).toBeInstanceOf(Error);
  expect(error.message).toBe('Breaker is open');
  expect(error.code).toBe('EOPENBREAKER');
  expect(CircuitBreaker.isOurError(error)).toBe(true);
  expect(action).toHaveBeenCalledTimes(1);
});

test('isOurError tells the breaker’s errors from the action’s', async () => {
  const { error } = await settle(make(positive).fire(-1));
  expect(error.message).toBe('-1 is negative');
  expect(CircuitBreaker.isOurError(error)).toBe(false);
});

test('many calls in flight settle each with its own result', async () => {
  const breaker = make(async x => {
    await new Promise(resolve => setImmediate(resolve));
    return positive(x);
  }, { errorThresholdPercentage: 100 });
  const calls = Array.from({ length: 50 }, (_, i) => settle(breaker.fire(i % 2 ? i : -i - 1)));
  const results = await Promise.all(calls);
  results.forEach(({ value, error }, i) => {
    if (i % 2) expect(value).toBe(i);
    else expect(error.message).toBe(`${-i - 1} is negative`);
  });
  expect(breaker.stats).toMatchObject({ fires: 50, successes: 25, failures: 25 });
});

test('later changes of the caller’s array do not change the arguments', async () => {
  const breaker = make(async (...args) => args.length);
  const args = [1, 2];
  const result = breaker.fire(...args);
  args.push(3);
  expect(await result).toBe(2);
});

test('a breaker may fire itself', async () => {
  const breaker = make(async n => (n === 0 ? 'bottom' : breaker.fire(n - 1)));
  expect(await breaker.fire(5)).toBe('bottom');
  expect(breaker.stats).toMatchObject({ fires: 6, successes: 6 });
});
