'use strict';

// getCircuitBreaker(): one breaker per name.

const {
  CircuitBreaker, breakers, circuitBreakers, getCircuitBreaker, presets,
  resetCircuitBreaker, resetCircuitBreakers,
} = require('../..');
const { testShared } = require('../support/breaker-helpers');

const fail = async () => { throw new Error('down'); };

afterEach(() => {
  for (const breaker of circuitBreakers()) breaker.shutdown();
});

describe('the same name', () => {
  test('is the same breaker, with the options that it was made from', async () => {
    const breaker = getCircuitBreaker('midtrans', presets.midtrans);
    expect(breaker).toBeInstanceOf(CircuitBreaker);
    expect(breaker).toMatchObject({ name: 'midtrans', group: 'midtrans' });
    expect(breaker.options).toMatchObject(presets.midtrans);
    expect(getCircuitBreaker('midtrans')).toBe(breaker);
    expect(getCircuitBreaker('midtrans', presets.midtrans)).toBe(breaker);
    expect(getCircuitBreaker('smtp')).not.toBe(breaker);
    expect(getCircuitBreaker('smtp').options.timeout).toBe(10_000);
  });

  test('options count by their values, and functions by identity', () => {
    const errorFilter = () => false;
    const breaker = getCircuitBreaker('stock', {
      errorFilter, resetTimeout: { initial: 100, factor: 2 }, coalesceResetOn: ['error'],
    });
    const same = { errorFilter, coalesceResetOn: ['error'], name: 'stock', timeout: 10_000 };
    expect(getCircuitBreaker('stock', {
      ...same, resetTimeout: { initial: 100, factor: 2, max: Infinity },
    })).toBe(breaker);
    expect(() => getCircuitBreaker('stock', {
      ...same, resetTimeout: { initial: 100 }, errorFilter: () => false,
    })).toThrow(expect.objectContaining({
      code: 'ERR_OPTIONS_MISMATCH', options: ['errorFilter'],
      message: expect.stringContaining('errorFilter is another function'),
    }));
  });

  test('a preset by its name is the same as its values', () => {
    const breaker = getCircuitBreaker('mail', { preset: 'smtp' });
    expect(getCircuitBreaker('mail', presets.smtp)).toBe(breaker);
    expect(getCircuitBreaker('mail', { ...presets.smtp })).toBe(breaker);
    const plain = getCircuitBreaker('plain');
    expect(getCircuitBreaker('plain', { errorThresholdPercentage: 50 })).toBe(plain);
  });
});

describe('other options for the same name', () => {
  test('are rejected, and the error names each option with its old and its new value', () => {
    getCircuitBreaker('midtrans', presets.midtrans);
    expect(() => getCircuitBreaker('midtrans', presets.smtp)).toThrow(expect.objectContaining({
      name: 'SekeringError',
      code: 'ERR_OPTIONS_MISMATCH',
      options: ['timeout', 'errorThresholdPercentage', 'resetTimeout', 'rollingCountTimeout',
        'rollingCountBuckets'],
      message: expect.stringContaining("'midtrans' exists with other options: timeout is 10000, " +
        'not 5000; errorThresholdPercentage is 50, not 60; resetTimeout is 60000, not 120000; '),
    }));
    expect(getCircuitBreaker('midtrans').options.timeout).toBe(10_000);
  });

  test('also when one side left the option out', () => {
    getCircuitBreaker('early');
    expect(() => getCircuitBreaker('early', { consecutiveFailures: 5 }))
      .toThrow('consecutiveFailures is undefined, not 5');
    getCircuitBreaker('strict', { resetTimeout: { initial: 10 } });
    expect(() => getCircuitBreaker('strict', {}))
      .toThrow('resetTimeout is { initial: 10, factor: 2, max: Infinity }, not 30000');
  });

  test('functions and objects are not shown', () => {
    const fallback = () => 'planted-secret';
    getCircuitBreaker('hidden', { fallback });
    expect(() => getCircuitBreaker('hidden', {}))
      .toThrow('fallback is a certain function, not undefined. ');
    expect(() => getCircuitBreaker('hidden', { fallback: new CircuitBreaker(fallback) }))
      .toThrow('fallback is a certain function, not a certain object. ');
  });

  test('an object that was changed meanwhile counts as other options', () => {
    const options = { timeout: 1000 };
    getCircuitBreaker('changed', options);
    options.timeout = 2000;
    expect(() => getCircuitBreaker('changed', options)).toThrow('timeout is 1000, not 2000');
  });
});

test.each([undefined, null, '', 7, {}])('%p is not a name', name => {
  const refused = expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'name' });
  expect(() => getCircuitBreaker(name)).toThrow(refused);
  expect(() => resetCircuitBreaker(name)).toThrow(refused);
});

test('invalid options create no breaker', () => {
  const wrong = [{ timeout: 'long' }, { tiemout: 1 }, { name: 'other' }, null, 'midtrans'];
  for (const options of wrong) {
    expect(() => getCircuitBreaker('wrong', options))
      .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
    expect(() => getCircuitBreaker('fine') && getCircuitBreaker('fine', options))
      .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
  }
  expect(circuitBreakers().map(({ name }) => name)).toEqual(['fine']);
});

test.each(['cache', 'coalesce'])('%s needs a key that names the function', async option => {
  expect(() => getCircuitBreaker(`keys-${option}`, { [option]: true }))
    .toThrow(expect.objectContaining({
      code: 'ERR_INVALID_OPTION', option: 'options.cacheGetKey',
    }));
  const breaker = getCircuitBreaker(`keys-${option}`,
    { [option]: true, cacheGetKey: (fn, id) => `${fn.name} ${id}` });
  async function user (id) { return `user ${id}`; }
  async function order (id) { return `order ${id}`; }
  expect(await Promise.all([breaker.fire(user, 7), breaker.fire(order, 7)]))
    .toEqual(['user 7', 'order 7']);
});

testShared('with a scope, it shares the state of others, and must have their options', async () => {
  const place = { scope: 'process', namespace: 'registry-test' };
  const other = new CircuitBreaker(fail, { ...place, name: 'shared', resetTimeout: 1000 });
  expect(() => getCircuitBreaker('shared', place))
    .toThrow(expect.objectContaining({ code: 'ERR_OPTIONS_MISMATCH', options: ['resetTimeout'] }));
  const breaker = getCircuitBreaker('shared', { ...place, resetTimeout: 1000 });
  const opened = new Promise(resolve => { breaker.once('open', resolve); });
  other.open();
  await opened;
  expect(breaker.opened).toBe(true);
  other.shutdown();
});

test('its calls go through run, wrap or fire', async () => {
  const breaker = getCircuitBreaker('calls', { consecutiveFailures: 2, fallback: () => 'later' });
  expect(await breaker.run(async ({ signal }) => signal.aborted)).toBe(false);
  expect(await breaker.wrap(async (a, b) => a + b)(1, 2)).toBe(3);
  expect(await breaker.fire((a, b) => a * b, 3, 4)).toBe(12);
  expect(await breaker.run(fail)).toBe('later');
  expect(await breaker.fire('no function')).toBe('later');
  expect(breaker.opened).toBe(true);
});

test('circuitBreakers() lists these breakers, breakers() lists all', () => {
  const other = new CircuitBreaker(fail);
  const [a, b] = [getCircuitBreaker('a'), getCircuitBreaker('b')];
  expect(circuitBreakers()).toEqual([a, b]);
  expect(breakers()).toEqual(expect.arrayContaining([a, b, other]));
  other.shutdown();
});

test('resets one breaker, or all', async () => {
  const [a, b] = ['a', 'b'].map(name => getCircuitBreaker(name, { consecutiveFailures: 1 }));
  const trip = () => Promise.allSettled([a.run(fail), b.run(fail)]);
  await trip();
  expect([a.opened, b.opened]).toEqual([true, true]);
  expect(resetCircuitBreaker('a')).toBe(true);
  expect(resetCircuitBreaker('nobody')).toBe(false);
  expect([a.opened, a.stats.failures, b.opened]).toEqual([false, 0, true]);
  await trip();
  resetCircuitBreakers();
  expect([a.closed, b.closed, b.stats.failures]).toEqual([true, true, 0]);
});

test('a breaker that was shut down frees its name', () => {
  const first = getCircuitBreaker('again', { timeout: 1 });
  first.shutdown();
  expect(circuitBreakers()).toEqual([]);
  expect(resetCircuitBreaker('again')).toBe(false);
  const second = getCircuitBreaker('again', { timeout: 2 });
  expect(second).not.toBe(first);
  expect(second.options.timeout).toBe(2);
});

test('very many names cause one warning, which points to BreakerGroup', () => {
  const warn = jest.spyOn(process, 'emitWarning').mockReturnValue();
  for (let i = 0; i < 1001; i++) getCircuitBreaker(`customer-${i}`);
  expect(warn.mock.calls).toEqual([
    [expect.stringMatching(/1000 breakers.*BreakerGroup/), expect.anything()],
  ]);
  warn.mockRestore();
});
