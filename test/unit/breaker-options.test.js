'use strict';

// Wrong options are rejected when the breaker is made, and what opossum takes is taken.

const { EventEmitter } = require('node:events');

const CircuitBreaker = require('../../lib/primitives/breaker');
const {
  make, never, positive, settle, stopTime, testShared,
} = require('../support/breaker-helpers');

const thrownBy = options => {
  try {
    new CircuitBreaker(positive, options).shutdown();
  } catch (error) {
    return error;
  }
  return undefined;
};

const wrong = (option, ...values) => values.map(value => [option, value]);

const NOT_A_NUMBER = ['10', NaN, {}, [], true, () => {}];

const TYPES = [
  ...wrong('timeout', ...NOT_A_NUMBER),
  ...wrong('resetTimeout', '10', NaN, {}, [], true, () => {}),
  ...wrong('errorThresholdPercentage', ...NOT_A_NUMBER),
  ...wrong('rollingCountTimeout', ...NOT_A_NUMBER),
  ...wrong('rollingCountBuckets', ...NOT_A_NUMBER),
  ...wrong('capacity', '10', {}, true),
  ...wrong('volumeThreshold', '10', {}, true),
  ...wrong('cacheTTL', ...NOT_A_NUMBER),
  ...wrong('coalesceTTL', ...NOT_A_NUMBER),
  ...wrong('errorFilter', 'no', 7, {}),
  ...wrong('cacheGetKey', 'no', 7, {}),
  ...wrong('coalesceResetOn', 'error', 7, {}),
  ...wrong('rotateBucketController', 'no', 7, {}),
  ...wrong('status', 'no', 7),
  ...wrong('state', 'no', 7),
  ...wrong('fallback', 'no', 7, {}),
  ...wrong('consecutiveFailures', ...NOT_A_NUMBER),
  ...wrong('failureCount', ...NOT_A_NUMBER),
  ...wrong('slidingWindowSize', ...NOT_A_NUMBER),
  ...wrong('slowCallDuration', ...NOT_A_NUMBER),
  ...wrong('halfOpenProbes', ...NOT_A_NUMBER),
  ...wrong('successThreshold', ...NOT_A_NUMBER),
  ...wrong('rampUp', ...NOT_A_NUMBER),
];

test.each(TYPES)('%s: %p is of the wrong type', (option, value) => {
  const error = thrownBy({ [option]: value });
  expect(error).toBeInstanceOf(TypeError);
  expect(error.code).toBe('ERR_INVALID_OPTION');
  expect(error.message).toContain(option);
});

const RANGES = [
  ...wrong('timeout', -1),
  ...wrong('resetTimeout', -1),
  ...wrong('errorThresholdPercentage', -1, 101),
  ...wrong('rollingCountTimeout', -1),
  ...wrong('rollingCountBuckets', -1, 1.5, 1e9),
  ...wrong('capacity', -1, 1.5),
  ...wrong('volumeThreshold', -1, 1.5),
  ...wrong('cacheTTL', -1),
  ...wrong('cacheSize', 0, -1, 1.5),
  ...wrong('coalesceTTL', -1),
  ...wrong('coalesceSize', 0, -1, 1.5),
  ...wrong('consecutiveFailures', 0, -1, 1.5, Infinity),
  ...wrong('failureCount', 0, -1, 1.5, Infinity),
  ...wrong('slidingWindowSize', 0, -1, 1.5, 1e9, Infinity),
  ...wrong('slowCallDuration', 0, -1),
  ...wrong('halfOpenProbes', 0, -1, 1.5, 1e9),
  ...wrong('successThreshold', -1, 1.5, Infinity),
  ...wrong('rampUp', -1),
];

test.each(RANGES)('%s: %p is out of range', (option, value) => {
  const error = thrownBy({ [option]: value });
  expect(error).toBeInstanceOf(RangeError);
  expect(error.code).toBe('ERR_INVALID_OPTION');
  expect(error.message).toContain(option);
  expect(error.message).toContain(String(value));
});

test.each([
  'timeout', 'resetTimeout', 'errorThresholdPercentage', 'rollingCountTimeout',
  'rollingCountBuckets', 'cacheTTL', 'coalesceTTL',
])('%s must be finite', option => {
  for (const value of [NaN, Infinity, '1000']) {
    expect(thrownBy({ [option]: value }).message).toMatch(/must be a finite number/);
  }
});

test.each([
  ['resetTimeout', { resetTimeout: { factor: 2 } }],
  ['resetTimeout.initial', { resetTimeout: { initial: -1 } }],
  ['resetTimeout.initial', { resetTimeout: { initial: '1 s' } }],
  ['resetTimeout.factor', { resetTimeout: { initial: 10, factor: 0.5 } }],
  ['resetTimeout.factor', { resetTimeout: { initial: 10, factor: NaN } }],
  ['resetTimeout.max', { resetTimeout: { initial: 10, max: 5 } }],
  ['minimumCalls', { slidingWindowSize: 10, minimumCalls: 0 }],
  ['minimumCalls', { slidingWindowSize: 10, minimumCalls: '5' }],
  ['slowCallThresholdPercentage', { slowCallDuration: 10, slowCallThresholdPercentage: 101 }],
  ['slowCallThresholdPercentage', { slowCallDuration: 10, slowCallThresholdPercentage: -1 }],
])('%s is wrong in %j', (option, options) => {
  const error = thrownBy(options);
  expect(error.code).toBe('ERR_INVALID_OPTION');
  expect(error.message).toContain(option);
});

test.each([
  ['minimumCalls without slidingWindowSize', { minimumCalls: 5 }, /slidingWindowSize/],
  ['minimumCalls above slidingWindowSize', { slidingWindowSize: 5, minimumCalls: 6 },
    /minimumCalls/],
  ['slowCallThresholdPercentage without slowCallDuration', { slowCallThresholdPercentage: 5 },
    /slowCallDuration/],
])('contradicting options: %s', (_, options, message) => {
  const error = thrownBy(options);
  expect(error.code).toBe('ERR_INVALID_OPTION');
  expect(error.message).toMatch(message);
});

test('the message names the option, the expected and the received value', () => {
  expect(thrownBy({ rampUp: 'slowly' }).message)
    .toMatch(/^Expected a number.* for rampUp but received "slowly" of type string$/);
});

test.each(['options', 7, true])('options may not be %p', options => {
  expect(thrownBy(options)?.code).toBe('ERR_INVALID_OPTION');
});

test('a wrong transport or controller is ERR_INVALID_OPTION too', () => {
  expect(thrownBy({ cache: true, cacheTransport: {} }).code).toBe('ERR_INVALID_OPTION');
  expect(thrownBy({ abortController: {} }).code).toBe('ERR_INVALID_OPTION');
  expect(() => new CircuitBreaker(undefined)).toThrow(
    expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
});

test('a rejected constructor leaves nothing behind', () => {
  const rotateBucketController = new EventEmitter();
  expect(thrownBy({ rotateBucketController, rampUp: -1 })).toBeDefined();
  expect(rotateBucketController.listenerCount('rotate')).toBe(0);
});

const ALL = [
  'timeout', 'resetTimeout', 'errorThresholdPercentage', 'rollingCountTimeout',
  'rollingCountBuckets', 'rollingPercentilesEnabled', 'capacity', 'volumeThreshold', 'enabled',
  'allowWarmUp', 'name', 'group', 'errorFilter', 'cache', 'cacheTTL', 'cacheSize', 'cacheGetKey',
  'cacheTransport', 'coalesce', 'coalesceTTL', 'coalesceSize', 'coalesceResetOn',
  'abortController', 'autoRenewAbortController', 'enableSnapshots', 'rotateBucketController',
  'status', 'state', 'consecutiveFailures', 'failureCount', 'slidingWindowSize', 'minimumCalls',
  'slowCallDuration', 'slowCallThresholdPercentage', 'halfOpenProbes', 'successThreshold',
  'rampUp', 'fallback',
];

test('undefined means the default of every option', () => {
  const options = Object.fromEntries(ALL.map(name => [name, undefined]));
  const { stats, closed } = make(positive, options);
  expect([stats.fires, closed]).toEqual([0, true]);
  expect(make(positive, undefined).closed).toBe(true);
});

test.each([
  { timeout: false }, { timeout: 0 }, { timeout: 0.5 }, { resetTimeout: 0 }, { capacity: 0 },
  { rollingCountTimeout: 0 }, { rollingCountBuckets: 0 }, { errorThresholdPercentage: 0 },
  { errorThresholdPercentage: 100 }, { errorThresholdPercentage: 33.3 }, { cacheTTL: 0 },
  { coalesceTTL: 0 }, { coalesceResetOn: [] }, { coalesceResetOn: ['unknown'] },
  { rollingCountTimeout: 7, rollingCountBuckets: 10 }, { volumeThreshold: 0 },
  { timeout: 2 ** 40, resetTimeout: 2 ** 52, rollingCountTimeout: 2 ** 52 },
  { state: {} }, { status: {} },
  { slidingWindowSize: 1, minimumCalls: 1 }, { resetTimeout: { initial: 10 } },
  { rampUp: 0 }, { fallback: () => 'instead' },
])('%j is accepted', async options => {
  const breaker = make(positive, options);
  if (options.capacity !== 0) expect(await breaker.fire(1)).toBe(1);
});

test.each([
  ['enabled', 'yes', true], ['allowWarmUp', 1, false], ['rollingPercentilesEnabled', 0, true],
  ['enableSnapshots', 'false', true],
])('%s: %p works as in opossum, or is rejected', (option, value) => {
  const error = thrownBy({ [option]: value });
  if (error !== undefined) expect(error.code).toBe('ERR_INVALID_OPTION');
});

describe('options that are assigned later', () => {
  const failing = async () => { throw new Error('failed'); };

  test('count from the next call on', async () => {
    const pass = stopTime();
    const breaker = make(never, { timeout: 1000 });
    const first = settle(breaker.fire());
    breaker.options.timeout = 20;
    const second = settle(breaker.fire());
    await pass(20);
    expect((await second).error).toMatchObject({ message: 'Timed out after 20ms' });
    await pass(980);
    expect((await first).error).toMatchObject({ message: 'Timed out after 1000ms' });
    expect(breaker.options).toMatchObject({ timeout: 20, coalesceTTL: 20 });
  });

  test.each([
    ['errorThresholdPercentage', { errorThresholdPercentage: 100 }, 50],
    ['volumeThreshold', { volumeThreshold: 100 }, 1],
    ['consecutiveFailures', { errorThresholdPercentage: 100 }, 1],
    ['failureCount', { errorThresholdPercentage: 100 }, 1],
    ['errorFilter', { errorThresholdPercentage: 1, errorFilter: () => true }, () => false],
  ])('%s', async (name, options, value) => {
    const breaker = make(failing, options);
    await settle(breaker.fire());
    expect(breaker.closed).toBe(true);
    Object.assign(breaker.options, { [name]: value });
    await settle(breaker.fire());
    expect(breaker.opened).toBe(true);
    expect(Object.keys(breaker.options)).toContain(name);
    expect({ ...breaker.options }[name]).toBe(value);
  });

  test('resetTimeout', async () => {
    const pass = stopTime();
    const breaker = make(failing, { resetTimeout: 1000 });
    breaker.options.resetTimeout = 50;
    breaker.open();
    await pass(50);
    expect(breaker.halfOpen).toBe(true);
  });

  test('nothing is the default again', () => {
    const breaker = make(failing, { timeout: 5 });
    breaker.options.timeout = undefined;
    expect(breaker.options.timeout).toBe(10000);
  });

  test('a wrong value is rejected, and changes nothing', () => {
    const breaker = make(failing, { timeout: 5 });
    expect(() => { breaker.options.timeout = 'soon'; }).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'timeout' }));
    expect(breaker.options.timeout).toBe(5);
  });

  test('unknown options, and those that are only read at construction, are rejected', () => {
    const { options } = make(failing, { timeout: 5 });
    expect(() => { options.tiemout = 5; }).toThrow('Did you mean timeout?');
    expect(() => { options.halfOpenProbes = 2; }).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'halfOpenProbes' }));
    expect(() => { options.capacity = 0; }).toThrow('only read at construction');
    expect(Object.assign(options, { ...options })).toMatchObject({ timeout: 5 });
    expect(Object.keys(options)).not.toContain('tiemout');
  });

  test('all ways to change the object count; frozen, it stays as it is', () => {
    const breaker = make(failing, { timeout: 5 });
    Object.defineProperty(breaker.options, 'timeout', { value: 6 });
    expect(breaker.options.timeout).toBe(6);
    breaker.options = { timeout: 7 };
    expect(breaker.options.timeout).toBe(7);
    delete breaker.options.timeout;
    breaker.options.timeout = 8;
    Object.freeze(breaker.options);
    expect(() => { breaker.options.timeout = 9; }).toThrow(TypeError);
    expect(breaker.options.timeout).toBe(8);
  });

  test('spies and replaced values count', async () => {
    const breaker = make(failing, { errorThresholdPercentage: 1, volumeThreshold: 1 });
    const spy = jest.spyOn(breaker.options, 'errorFilter').mockReturnValue(true);
    await settle(breaker.fire());
    expect(spy).toHaveBeenCalledTimes(1);
    expect(breaker.closed).toBe(true);
    const replaced = jest.replaceProperty(breaker.options, 'volumeThreshold', 100);
    expect(breaker.volumeThreshold).toBe(100);
    replaced.restore();
    spy.mockRestore();
    await settle(breaker.fire());
    expect(breaker.opened).toBe(true);
  });

  test('a row of failures begins anew when its rule is switched on', async () => {
    let fails = true;
    const breaker = make(async () => { if (fails) throw new Error('failed'); },
      { consecutiveFailures: 5, errorThresholdPercentage: 100 });
    for (let i = 0; i < 4; i++) await settle(breaker.fire());
    breaker.options.consecutiveFailures = undefined;
    fails = false;
    await breaker.fire();
    breaker.options.consecutiveFailures = 5;
    fails = true;
    await settle(breaker.fire());
    expect(breaker.closed).toBe(true);
  });

  testShared('a Status of a breaker with a scope is rejected', () => {
    const { status } = make(failing, { scope: 'process', name: 'status-of-scope' });
    expect(() => make(failing, { status })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'status' }));
  });

  testShared('those that others share stay as they are', () => {
    const breaker = make(failing, { scope: 'process', name: 'assigned-options' });
    expect(() => { breaker.options.timeout = 5; }).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'timeout' }));
  });
});
