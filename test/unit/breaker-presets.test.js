'use strict';

// The figures of services in production, each as one story told through the public API. The names
// in brackets are the rows of the list of requirements.

const { BreakerGroup, CircuitBreaker, preset, presets } = require('../../lib');
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

/** Whether the circuit is open for exactly `ms`. */
async function staysOpenFor (breaker, ms) {
  await clock.advance(ms - 1);
  if (!breaker.opened) return false;
  await clock.advance(1);
  return breaker.halfOpen;
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

test('[A1] midtrans: half of the calls fail, operations hear of it, a minute later it recovers',
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

test('[A1] midtrans: the window is ten seconds in ten buckets', async () => {
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

test.each(Object.entries(SERVICES))('[A2] %s', async (name, service) => {
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

test('[B3] movieApi: five failures in a row open it for five minutes', async () => {
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

test('[C1] whatsappSession: a breaker per instance, thousands of them', async () => {
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

test('[C2] whatsappSession: fifteen failures in five minutes open it for ten', async () => {
  const breaker = make(positive, presets.whatsappSession);
  await fireAll(breaker, ...times(14, -1), ...times(100, 1));
  expect(breaker.closed).toBe(true);
  await clock.advance(6 * MINUTE);
  await fireAll(breaker, ...times(14, -1));
  expect(breaker.closed).toBe(true);
  await clock.advance(4 * MINUTE);
  await fireAll(breaker, -1);
  expect(breaker.opened).toBe(true);
  expect(await staysOpenFor(breaker, 10 * MINUTE)).toBe(true);
  await breaker.fire(1);
  expect(breaker.closed).toBe(true);
});

test('[D1] apiClient: five failures in a row open it, three successes close it', async () => {
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

test('[E1] messaging: the last hundred calls, ten at least', async () => {
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

test('[E1] messaging: five failures in a row, and a timeout of 30 s', async () => {
  const breaker = make(positive, presets.messaging);
  await fireAll(breaker, ...times(90, 1), ...times(4, -1));
  expect(breaker.closed).toBe(true);
  await fireAll(breaker, -1);
  expect(breaker.opened).toBe(true);
  expect(await timesOutAfter(presets.messaging, 30 * SECOND)).toBe(true);
});

test.each([
  ['greenApi', 5, 60], ['aiProvider', 3, 120], ['databaseService', 10, 30],
])('[E8] %s: %d failures in a row open it for %d s', async (name, failures, seconds) => {
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
