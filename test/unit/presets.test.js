'use strict';

// The figures by name, and that a breaker and a retry take each of them as they are.

const { SmtpClient } = require('../../lib/clients/smtp');
const { CircuitBreaker } = require('../../lib/primitives/breaker');
const { preset, presets, profile, profiles, retryPresets } =
  require('../../lib/primitives/presets');
const { NonRetryableError, RetryableError } = require('../../lib/primitives/classify');
const { retry } = require('../../lib/primitives/retry');
const { RetryPlan } = require('../../lib/primitives/retry-run');
const { failsUntil, gaps, outcome, withClock } = require('../support/retry-helpers');

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

const coded = code => Object.assign(new Error(code), { code });

describe('which errors a retry preset retries', () => {
  withClock();

  const OK = {
    payment: [500, 503, 599, 429, 408], email: [500, 503, 429, 408], statusCheck: [502, 429, 408],
    pageFetch: [500, 502, 503, 504, 521], apiClient: [429, 500, 502, 503, 504],
    outbox: [500, 429, 408],
  };
  const FINAL = {
    payment: [400, 401, 403, 404, 409, 422], email: [400, 404], statusCheck: [400, 401, 404],
    pageFetch: [400, 401, 403, 404, 408, 410, 429, 499], apiClient: [400, 401, 403, 404, 408, 501],
    outbox: [400, 422],
  };
  async function attemptsOf (name, error) {
    let attempts = 0;
    await outcome(retry(async () => { attempts++; throw error; }, retryPresets[name]));
    return attempts;
  }

  test.each(Object.keys(retryPresets))('%s', async name => {
    const all = retryPresets[name].retries + 1;
    const passing = [
      ...OK[name].map(status => Object.assign(new Error('HTTP'), { status })),
      ...['ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN', 'ECONNRESET', 'ECONNREFUSED'].map(coded),
      new TypeError('fetch failed', { cause: coded('ECONNRESET') }), new RetryableError('x'),
      new Error('says nothing'),
    ];
    for (const error of passing) {
      expect([error, await attemptsOf(name, error)]).toEqual([error, all]);
    }
    const final = [
      ...FINAL[name].map(status => Object.assign(new Error('HTTP'), { response: { status } })),
      coded('EOPENBREAKER'), new NonRetryableError('x'),
      Object.assign(new Error('x'), { retryable: false }),
    ];
    for (const error of final) expect([error, await attemptsOf(name, error)]).toEqual([error, 1]);
  });

  test('pageFetch waits 1, 2 and 4 s', async () => {
    const fn = failsUntil(Infinity);
    await outcome(retry(fn, retryPresets.pageFetch));
    expect(gaps(fn.log)).toEqual([1000, 2000, 4000]);
  });
});

describe('a client decides for itself, whatever its retry preset says', () => {
  withClock();

  test.each([
    [retryPresets.email, 4],
    [{ ...retryPresets.email, shouldRetry: { predicate: () => false } }, 1],
    [{ shouldRetry: { statuses: [] } }, 4],
  ])('%j', async (options, attempts) => {
    const sendMail = jest.fn(async () => { throw coded('ECONNREFUSED'); });
    const client = new SmtpClient({ transport: { sendMail }, retry: options });
    await outcome(client.send({ from: 'a@shop.example', to: 'b@shop.example', text: 'x' }));
    expect(sendMail).toHaveBeenCalledTimes(attempts);
    client.close();
  });
});

test('none of them can be changed', () => {
  for (const table of [presets, retryPresets, profiles]) {
    expect(Object.isFrozen(table)).toBe(true);
    for (const entry of Object.values(table)) expect(Object.isFrozen(entry)).toBe(true);
  }
  expect(Object.isFrozen(retryPresets.pageFetch.attemptTimeout)).toBe(true);
  expect(Object.isFrozen(retryPresets.pageFetch.shouldRetry.statuses)).toBe(true);
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
