'use strict';

// The figures by name, and that a breaker and a retry take each of them as they are.

const { CircuitBreaker } = require('../../lib/primitives/breaker');
const { preset, presets, profile, profiles, retryPresets } =
  require('../../lib/primitives/presets');
const { RetryPlan } = require('../../lib/primitives/retry-run');

const window = (timeout, percentage, reset, length, buckets) => ({
  timeout,
  errorThresholdPercentage: percentage,
  volumeThreshold: 5,
  resetTimeout: reset,
  rollingCountTimeout: length,
  rollingCountBuckets: buckets,
});

test.each([
  ['midtrans', window(10000, 50, 60000, 10000, 10)],
  ['smtp', window(5000, 60, 120000, 30000, 30)],
  ['whatsapp', window(8000, 70, 300000, 60000, 60)],
  ['database', window(3000, 50, 10000, 5000, 5)],
])('%s', (name, figures) => {
  expect(preset(name)).toEqual(figures);
});

test.each([
  ['movieApi', { consecutiveFailures: 5, resetTimeout: 300000 }],
  ['whatsappSession', {
    failureCount: 15, rollingCountTimeout: 300000, resetTimeout: 600000, successThreshold: 0,
  }],
  ['apiClient', { consecutiveFailures: 5, resetTimeout: 60000, successThreshold: 3 }],
  ['messaging', {
    consecutiveFailures: 5,
    resetTimeout: 60000,
    successThreshold: 3,
    timeout: 30000,
    slidingWindowSize: 100,
    minimumCalls: 10,
  }],
  ['greenApi', { consecutiveFailures: 5, resetTimeout: 60000 }],
  ['aiProvider', { consecutiveFailures: 3, resetTimeout: 120000 }],
  ['databaseService', { consecutiveFailures: 10, resetTimeout: 30000 }],
])('%s', (name, figures) => {
  expect(presets[name]).toMatchObject(figures);
});

test.each([
  ['payment', { retries: 5, factor: 2, minTimeout: 1000, maxTimeout: 60000, randomize: true }],
  ['email', { retries: 3 }],
  ['statusCheck', { retries: 5, minTimeout: 2000, maxTimeout: 30000 }],
  ['pageFetch', { retries: 3, minTimeout: 1000, factor: 2, randomize: false,
    attemptTimeout: { initial: 15000, increment: 5000 } }],
  ['apiClient', { retries: 3, minTimeout: 1000, maxTimeout: 30000, jitter: 0.1 }],
  ['outbox', { retries: 4, minTimeout: 2000, maxTimeout: 60000 }],
])('retry %s', (name, figures) => {
  expect(retryPresets[name]).toMatchObject(figures);
});

test.each(Object.keys(presets))('a breaker takes %s, with and without a profile', (name) => {
  const layers = [{}, ...Object.values(profiles).map(({ breaker }) => breaker)];
  for (const layer of layers) {
    const breaker = new CircuitBreaker(async () => 1, { ...presets[name], ...layer });
    expect(breaker.options).toMatchObject({ ...presets[name], ...layer });
    breaker.shutdown();
  }
});

test.each(Object.keys(retryPresets))('a retry takes %s, with and without a profile', (name) => {
  expect(new RetryPlan(retryPresets[name]).retries).toBe(retryPresets[name].retries);
  for (const { retry } of Object.values(profiles)) {
    expect(() => new RetryPlan({ ...retryPresets[name], ...retry })).not.toThrow();
  }
});

test('none of them can be changed', () => {
  for (const table of [presets, retryPresets, profiles]) {
    expect(Object.isFrozen(table)).toBe(true);
    for (const entry of Object.values(table)) expect(Object.isFrozen(entry)).toBe(true);
  }
  expect(Object.isFrozen(retryPresets.pageFetch.attemptTimeout)).toBe(true);
  expect(Object.isFrozen(profiles.testing.retry)).toBe(true);
});

test.each([
  [preset, 'paypal', RangeError, 'midtrans'],
  [preset, undefined, TypeError, 'whatsappSession'],
  [preset, 'toString', RangeError, 'smtp'],
  [profile, 'staging', RangeError, 'production'],
])('%p of an unknown name lists those there are', (find, name, Type, listed) => {
  let error;
  try {
    find(name);
  } catch (caught) {
    error = caught;
  }
  expect(error).toBeInstanceOf(Type);
  expect(error.code).toBe('ERR_INVALID_OPTION');
  expect(error.message).toContain(`'${listed}'`);
});

test('profiles by name', () => {
  expect(profile('testing').breaker.timeout).toBe(1000);
  expect(Object.keys(profiles)).toEqual(['production', 'development', 'testing']);
});
