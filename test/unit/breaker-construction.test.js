'use strict';

// What a breaker is made from, and what it shows before its first call.

const { EventEmitter } = require('node:events');

const {
  CircuitBreaker, Status, Semaphore, make, positive,
} = require('../support/breaker-helpers');
const { CircuitBreaker: Sekering } = require('../..');
const DropIn = require('../../lib/primitives/opossum');

test('a breaker is an event emitter, closed, enabled and idle', () => {
  const breaker = make(positive);
  expect(breaker).toBeInstanceOf(CircuitBreaker);
  expect(breaker).toBeInstanceOf(EventEmitter);
  expect(breaker.closed).toBe(true);
  expect(breaker.opened).toBe(false);
  expect(breaker.halfOpen).toBe(false);
  expect(breaker.pendingClose).toBe(false);
  expect(breaker.enabled).toBe(true);
  expect(breaker.isShutdown).toBe(false);
  expect(breaker.warmUp).toBe(false);
  expect(breaker.volumeThreshold).toBe(0);
});

test('action is the function passed to the constructor', () => {
  expect(make(positive).action).toBe(positive);
});

test('a value that is not a function becomes an action that resolves with it', async () => {
  const breaker = make('constant');
  expect(typeof breaker.action).toBe('function');
  expect(await breaker.fire('ignored')).toBe('constant');
  expect(await make({ answer: 42 }).fire()).toEqual({ answer: 42 });
});

test('the action may be a promise', async () => {
  const breaker = make(Promise.resolve('later'));
  expect(await breaker.fire()).toBe('later');
  expect(await breaker.fire()).toBe('later');
});

test.each([undefined, null, 0, '', false])('%p is not a valid action', action => {
  expect(() => new CircuitBreaker(action)).toThrow(new TypeError(
    'No action provided. Cannot construct a CircuitBreaker without an invocable action.'));
});

describe('options in the place of the action', () => {
  const said = 'The first argument is the action, the second one its options: ' +
    'new CircuitBreaker(action, options)';

  test.each([
    [[{ timeout: 3000, errorThresholdPercentage: 50 }], 'timeout'],
    [[{ name: 'midtrans', failureThreshold: 5 }], 'name'],
    [[{ timeout: 3000 }, positive], 'timeout'],
  ])('%p', (args, option) => {
    expect(() => new Sekering(...args)).toThrow(expect.objectContaining({
      name: 'TypeError', code: 'ERR_INVALID_OPTION', option: 'action',
      message: `${said}. Option ${option} is in the first one; ` +
        'if that is a value, pass () => value',
    }));
  });

  test('also when none of their names is known', () => {
    expect(() => new Sekering({ failureThreshold: 5 }, positive)).toThrow(new TypeError(said));
  });

  test('other values and promises are still actions', async () => {
    class Film { timeout = 1; }
    for (const value of [{ id: 7 }, new Film(), [1], 'text', Promise.resolve(7)]) {
      expect(await new Sekering(value).fire()).toEqual(await value);
    }
    expect(await new Sekering(() => ({ timeout: 1 })).fire()).toEqual({ timeout: 1 });
  });

  test('are accepted as an action by the drop-in, as in opossum', async () => {
    expect(await new DropIn({ timeout: 3000 }).fire()).toEqual({ timeout: 3000 });
  });
});

const DEFAULTS = {
  timeout: 10000,
  resetTimeout: 30000,
  errorThresholdPercentage: 50,
  rollingCountTimeout: 10000,
  rollingCountBuckets: 10,
  rollingPercentilesEnabled: true,
  capacity: Number.MAX_SAFE_INTEGER,
  cacheTTL: 0,
  enableSnapshots: true,
  coalesce: false,
  coalesceTTL: 10000,
  coalesceResetOn: [],
};

test.each(Object.entries(DEFAULTS))('option %s is %p when not given', (name, value) => {
  expect(make(positive).options[name]).toEqual(value);
  expect(make(positive, { [name]: undefined }).options[name]).toEqual(value);
});

test.each([
  'timeout', 'resetTimeout', 'errorThresholdPercentage', 'rollingCountTimeout',
  'rollingCountBuckets',
])('option %s may be 0, and null means the default', name => {
  expect(make(positive, { [name]: 0 }).options[name]).toBe(0);
  expect(make(positive, { [name]: null }).options[name]).toBe(DEFAULTS[name]);
});

test('breaker.options shows the given options', () => {
  const given = {
    timeout: 123,
    resetTimeout: 456,
    errorThresholdPercentage: 7,
    rollingCountTimeout: 5000,
    rollingCountBuckets: 5,
    rollingPercentilesEnabled: false,
    capacity: 3,
    cacheTTL: 9,
    enableSnapshots: false,
    coalesce: true,
    coalesceTTL: 11,
    errorFilter: () => true,
    cacheGetKey: () => 'key',
  };
  expect(make(positive, given).options).toMatchObject(given);
});

test('timeout: false means none, also for coalesceTTL', () => {
  const { options } = make(positive, { timeout: false });
  expect(options.timeout).toBe(false);
  expect(make(positive, { timeout: 250 }).options.coalesceTTL).toBe(250);
});

test('coalesceResetOn keeps only the outcomes it knows', () => {
  const { options } = make(positive, { coalesceResetOn: ['error', 'bogus', 'timeout'] });
  expect(options.coalesceResetOn).toEqual(['error', 'timeout']);
});

test('default functions: no error is filtered, the cache key is the arguments as JSON', () => {
  const { options } = make(positive);
  expect(options.errorFilter(new Error('any'))).toBe(false);
  expect(options.cacheGetKey(1, { a: 2 }, 'x')).toBe('[1,{"a":2},"x"]');
});

test('volumeThreshold is read through its getter', () => {
  expect(make(positive, { volumeThreshold: 12 }).volumeThreshold).toBe(12);
});

test('the name is the option, else the name of the function, else something unique', () => {
  expect(make(positive, { name: 'snap' }).name).toBe('snap');
  expect(make(positive).name).toBe('positive');
  const [first, second] = [make((() => async () => 1)()), make((() => async () => 2)())];
  expect(first.name)
    .toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(second.name).not.toBe(first.name);
});

test('the group is the option, else the name', () => {
  expect(make(positive, { group: 'payments' }).group).toBe('payments');
  expect(make(positive, { name: 'snap' }).group).toBe('snap');
});

test('enabled: false starts a breaker that lets everything pass', () => {
  expect(make(positive, { enabled: false }).enabled).toBe(false);
});

test('semaphore counts the free places', () => {
  const breaker = make(positive, { capacity: 4 });
  expect(breaker.semaphore.count).toBe(4);
  expect(Object.keys(breaker.semaphore).sort()).toEqual(Object.keys(Semaphore(1)).sort());
});

test('status is a Status, and stats are its stats', () => {
  const breaker = make(positive);
  expect(breaker.status).toBeInstanceOf(Status);
  expect(breaker.stats).toEqual(breaker.status.stats);
});

test('maxFailures is accepted and ignored, with a deprecation warning', () => {
  const log = jest.spyOn(console, 'error').mockImplementation(() => {});
  try {
    make(positive, { maxFailures: 3 });
    expect(log.mock.calls).toEqual([[
      'options.maxFailures is deprecated. Please use options.errorThresholdPercentage',
    ]]);
  } finally {
    log.mockRestore();
  }
});

test.each(['text', 7, {}, { get () {}, set () {} }, { get () {}, flush () {} }])(
  'cacheTransport %p is refused when the cache is on', cacheTransport => {
    expect(() => new CircuitBreaker(positive, { cache: true, cacheTransport })).toThrow(
      new TypeError(
        'options.cacheTransport should be an object with `get`, `set` and `flush` methods'));
  });

test('abortController must be able to abort', () => {
  expect(() => new CircuitBreaker(positive, { abortController: {} }))
    .toThrow(new TypeError('AbortController does not contain `abort()` method'));
});
