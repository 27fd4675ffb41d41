'use strict';

// The figures of services in production: each is one scenario, run through the public API.

const {
  BreakerGroup, CircuitBreaker, preset, presets, profile, profiles, retryPresets
} = require('../../lib');
const { useVirtualClock } = require('../../lib/testing');
const { make, positive, never, settle, record } = require('../support/breaker-helpers');

const SECOND = 1000;
const MINUTE = 60 * SECOND;

let clock;
beforeEach(() => { clock = useVirtualClock(); });
afterEach(() => clock.restore());

async function fireAll (breaker, ...numbers) {
  for (const x of numbers) await settle(breaker.fire(x));
}

const times = (n, x) => Array(n).fill(x);

/** Checks that the circuit is open for exactly `ms`, and then in the state `after`. */
async function staysOpenFor (breaker, ms, after = 'halfOpen') {
  await clock.advance(ms - 1);
  if (!breaker.opened) return false;
  await clock.advance(1);
  return breaker[after];
}

async function timesOutAfter (options, ms) {
  const breaker = make(never, options);
  const call = settle(breaker.fire());
  let done = false;
  call.then(() => { done = true; });
  await clock.advance(ms - 1);
  const early = done;
  await clock.advance(1);
  return !early && done;
}

test('midtrans: half of the calls fail, an alert is sent, a minute later it recovers',
  async () => {
    const breaker = make(positive, presets.midtrans);
    const alerts = record(breaker, ['open', 'halfOpen', 'close']);
    await fireAll(breaker, 1, 1, -1, -1);
    expect(breaker.closed).toBe(true);
    await fireAll(breaker, -1);
    expect(breaker.opened).toBe(true);
    expect((await settle(breaker.fire(1))).error.code).toBe('EOPENBREAKER');
    expect(await staysOpenFor(breaker, 60 * SECOND)).toBe(true);
    expect(await breaker.fire(1)).toBe(1);
    expect(alerts).toEqual([['open'], ['halfOpen', 60 * SECOND], ['close']]);
    expect(await timesOutAfter(presets.midtrans, 10 * SECOND)).toBe(true);
  });

test('midtrans: the window is ten seconds in ten buckets', async () => {
  const breaker = make(positive, presets.midtrans);
  expect(breaker.status.window).toHaveLength(10);
  await fireAll(breaker, 1, 1, 1, -1, -1);
  await clock.advance(9 * SECOND);
  expect(breaker.stats.failures).toBe(2);
  await clock.advance(SECOND);
  expect(breaker.stats.fires).toBe(0);
});

const SERVICES = {
  midtrans: { timeout: 10, percent: 50, reset: 60, window: 10, buckets: 10 },
  smtp: { timeout: 5, percent: 60, reset: 120, window: 30, buckets: 30 },
  whatsapp: { timeout: 8, percent: 70, reset: 300, window: 60, buckets: 60 },
  database: { timeout: 3, percent: 50, reset: 10, window: 5, buckets: 5 },
};

test.each(Object.entries(SERVICES))('%s', async (name, service) => {
  const breaker = make(positive, presets[name]);
  expect(breaker.status.window).toHaveLength(service.buckets);
  const failures = service.percent / 10;
  await fireAll(breaker, ...times(10 - failures, 1), ...times(failures, -1));
  expect(breaker.closed).toBe(true);
  await fireAll(breaker, -1);
  expect(breaker.opened).toBe(true);
  expect(await staysOpenFor(breaker, service.reset * SECOND)).toBe(true);
  expect(await timesOutAfter(presets[name], service.timeout * SECOND)).toBe(true);
  const counting = make(positive, presets[name]);
  await counting.fire(1);
  await clock.advance((service.window - service.window / service.buckets) * SECOND);
  expect(counting.stats.fires).toBe(1);
  await clock.advance(service.window / service.buckets * SECOND);
  expect(counting.stats.fires).toBe(0);
});

test('movieApi: five failures in a row open it for five minutes', async () => {
  const breaker = make(positive, presets.movieApi);
  const failures = record(breaker, ['failure']);
  await fireAll(breaker, -1, -1, -1, -1, 1, -1, -1, -1, -1);
  expect(breaker.closed).toBe(true);
  await fireAll(breaker, -1);
  expect(breaker.opened).toBe(true);
  expect(failures).toHaveLength(9);
  expect(await staysOpenFor(breaker, 5 * MINUTE)).toBe(true);
  expect(await breaker.fire(1)).toBe(1);
  expect(breaker.closed).toBe(true);
});

test('whatsappSession: a breaker per instance, thousands of them', async () => {
  const group = new BreakerGroup(async (x, id) => `${id}: ${await positive(x)}`, {
    ...presets.whatsappSession, max: 5000, idleTtl: 30 * MINUTE,
  });
  for (let i = 0; i < 2000; i++) expect(await group.fire(`i${i}`, 1, i)).toBe(`${i}: 1`);
  for (let i = 0; i < 15; i++) await settle(group.fire('i7', -1));
  expect(group.get('i7').opened).toBe(true);
  expect(await group.fire('i8', 1, 8)).toBe('8: 1');
  expect(group.entries().filter(([, { opened }]) => opened).map(([key]) => key)).toEqual(['i7']);
  await clock.advance(31 * MINUTE);
  expect(group.size).toBeLessThan(2);
  group.shutdown();
});

test('whatsappSession: fifteen failures in 5 minutes open it for 10; then its counts start again',
  async () => {
    const breaker = make(positive, presets.whatsappSession);
    const seen = record(breaker, ['open', 'halfOpen', 'close']);
    await fireAll(breaker, ...times(14, -1), ...times(100, 1));
    expect(breaker.closed).toBe(true);
    await clock.advance(6 * MINUTE);
    await fireAll(breaker, ...times(14, -1));
    expect(breaker.closed).toBe(true);
    await clock.advance(4 * MINUTE);
    await fireAll(breaker, -1);
    expect(breaker.opened).toBe(true);
    expect(await staysOpenFor(breaker, 10 * MINUTE, 'closed')).toBe(true);
    expect(seen).toEqual([['open'], ['close']]);
    await fireAll(breaker, ...times(14, -1));
    expect(breaker.closed).toBe(true);
    await fireAll(breaker, -1);
    expect(breaker.opened).toBe(true);
  });

test('whatsappSession: with a probe, if that is preferred', async () => {
  const breaker = make(positive, { ...presets.whatsappSession, successThreshold: 1 });
  await fireAll(breaker, ...times(15, -1));
  expect(await staysOpenFor(breaker, 10 * MINUTE)).toBe(true);
});

// How many failures open it, and within which time. Infinity: failures in a row, whenever.
const COUNTS = [
  ['midtrans', 5, 10 * SECOND], ['smtp', 5, 30 * SECOND], ['whatsapp', 5, MINUTE],
  ['database', 5, 5 * SECOND], ['movieApi', 5, Infinity], ['whatsappSession', 15, 5 * MINUTE],
  ['apiClient', 5, Infinity], ['messaging', 5, Infinity], ['greenApi', 5, Infinity],
  ['aiProvider', 3, Infinity], ['databaseService', 10, Infinity],
];

test('these are all presets', () => {
  expect(COUNTS.map(([name]) => name)).toEqual(Object.keys(presets));
});

describe.each(COUNTS)('%s: only the last of %d failures opens it', (name, count, window) => {
  test('at once', async () => {
    const breaker = make(positive, presets[name]);
    await fireAll(breaker, ...times(count - 1, -1));
    expect(breaker.closed).toBe(true);
    await fireAll(breaker, -1);
    expect(breaker.opened).toBe(true);
  });

  test(`within ${window} ms`, async () => {
    const breaker = make(positive, presets[name]);
    await fireAll(breaker, -1);
    // A window moves by one bucket at a time, so up to a bucket of it may be missing.
    const buckets = presets[name].rollingCountBuckets ?? 10;
    const span = window === Infinity ? 24 * 60 * MINUTE : window - window / buckets;
    for (let i = 1; i < count; i++) {
      expect(breaker.closed).toBe(true);
      await clock.advance(Math.floor(span / (count - 1)));
      await fireAll(breaker, -1);
    }
    expect(breaker.opened).toBe(true);
  });

  if (window !== Infinity) {
    test('not over a longer time', async () => {
      const breaker = make(positive, presets[name]);
      for (let i = 0; i < 3 * count; i++) {
        await fireAll(breaker, -1);
        await clock.advance(window / (count - 1));
      }
      expect(breaker.closed).toBe(true);
    });
  }

  test('with its time limit, if it has one', async () => {
    const { timeout = 10 * SECOND } = presets[name];
    if (timeout > 0) expect(await timesOutAfter(presets[name], timeout)).toBe(true);
  });
});

describe.each(Object.keys(profiles))('the profile %s', (name) => {
  const limits = { production: 10 * SECOND, development: 3 * SECOND, testing: SECOND };

  test('gives Midtrans its time limit', async () => {
    const options = { ...presets.midtrans, ...profile(name).breaker };
    expect(await timesOutAfter(options, limits[name])).toBe(true);
  });

  test('does not open a circuit at the first failure', async () => {
    for (const preset of Object.values(presets)) {
      const breaker = make(positive, { ...preset, ...profile(name).breaker });
      await fireAll(breaker, -1);
      expect(breaker.closed).toBe(true);
    }
  });
});

test('profiles: production waits longest, development is the most lenient, testing the shortest',
  () => {
    const [production, development, testing] =
      Object.values(profiles).map(({ breaker, retry }) => ({
        ...presets.midtrans, ...retryPresets.payment, ...breaker, ...retry,
      }));
    for (const name of ['timeout', 'resetTimeout', 'retries', 'minTimeout', 'maxTimeout']) {
      expect(production[name]).toBeGreaterThan(development[name]);
      expect(development[name]).toBeGreaterThan(testing[name]);
    }
    expect(development.volumeThreshold).toBeGreaterThan(production.volumeThreshold);
  });

test('apiClient: five failures in a row open it, three successes close it', async () => {
  const breaker = make(positive, presets.apiClient);
  await fireAll(breaker, ...times(4, -1), 1, ...times(4, -1));
  expect(breaker.closed).toBe(true);
  await fireAll(breaker, -1);
  expect(await staysOpenFor(breaker, 60 * SECOND)).toBe(true);
  await fireAll(breaker, 1, 1);
  expect(breaker.halfOpen).toBe(true);
  await fireAll(breaker, 1);
  expect(breaker.closed).toBe(true);
});

test('messaging: the last hundred calls, at least ten', async () => {
  const breaker = make(positive, presets.messaging);
  await fireAll(breaker, -1, -1, 1, -1, -1, 1, -1, -1, 1);
  expect(breaker.closed).toBe(true);
  await fireAll(breaker, -1);
  expect(breaker.opened).toBe(true);
  expect(await staysOpenFor(breaker, 60 * SECOND)).toBe(true);
  await fireAll(breaker, 1, 1);
  expect(breaker.halfOpen).toBe(true);
  await fireAll(breaker, 1);
  expect(breaker.closed).toBe(true);
});

test('messaging: five failures in a row, and a timeout of 30 s', async () => {
  const breaker = make(positive, presets.messaging);
  await fireAll(breaker, ...times(90, 1), ...times(4, -1));
  expect(breaker.closed).toBe(true);
  await fireAll(breaker, -1);
  expect(breaker.opened).toBe(true);
  expect(await timesOutAfter(presets.messaging, 30 * SECOND)).toBe(true);
});

test.each([
  ['greenApi', 5, 60], ['aiProvider', 3, 120], ['databaseService', 10, 30],
])('%s: %d failures in a row open it for %d s', async (name, failures, seconds) => {
  const breaker = make(positive, presets[name]);
  await fireAll(breaker, ...times(failures - 1, -1), 1, ...times(failures - 1, -1));
  expect(breaker.closed).toBe(true);
  await fireAll(breaker, -1);
  expect(breaker.opened).toBe(true);
  expect(await staysOpenFor(breaker, seconds * SECOND)).toBe(true);
});

test('every preset makes a breaker, and none can be changed', async () => {
  for (const [name, options] of Object.entries(presets)) {
    expect(preset(name)).toBe(options);
    expect(Object.isFrozen(options)).toBe(true);
    expect(await make(positive, options).fire(1)).toBe(1);
    expect(new CircuitBreaker(positive, { ...options, name }).name).toBe(name);
  }
});

test('an unknown preset is an error that lists the known ones', () => {
  expect(() => preset('paypal')).toThrow(expect.objectContaining({
    code: 'ERR_INVALID_OPTION', message: expect.stringContaining("'midtrans'"),
  }));
  expect(() => preset()).toThrow(TypeError);
});
