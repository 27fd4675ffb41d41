'use strict';

// The way back: how long a circuit stays open, who probes it, and how traffic returns.

const { useVirtualClock } = require('../../lib/testing');
const {
  CircuitBreaker, make, positive, settle, trip, record, namesOf, defer,
} = require('../support/breaker-helpers');

let clock;
beforeEach(() => { clock = useVirtualClock(); });
afterEach(() => clock.restore());

const TRIPS_AT_ONCE = { errorThresholdPercentage: 1, resetTimeout: 1000 };

/** A breaker over calls that end when told: fire() adds a handle to `calls`. */
function makeManual (options) {
  const calls = [];
  const breaker = make(() => {
    const call = defer();
    calls.push(call);
    return call.promise;
  }, { timeout: false, ...TRIPS_AT_ONCE, ...options });
  return { breaker, calls };
}

async function halfOpenNow (breaker, ms = 1000) {
  breaker.open();
  await clock.advance(ms);
  expect(breaker.halfOpen).toBe(true);
}

const isRefused = async breaker => (await settle(breaker.fire(1))).error?.code === 'EOPENBREAKER';

/** How long the circuit stays open after its next trip, found by steps of 100 ms. */
async function openFor (breaker, error = -1) {
  await settle(breaker.fire(error));
  expect(breaker.opened).toBe(true);
  for (let ms = 100; ms <= 100_000; ms += 100) {
    await clock.advance(100);
    if (breaker.halfOpen) return ms;
  }
  return Infinity;
}

test('halfOpenProbes: this many calls may probe at once', async () => {
  const { breaker, calls } = makeManual({ halfOpenProbes: 3 });
  await halfOpenNow(breaker);
  const probes = [breaker.fire(), breaker.fire()];
  expect(breaker.pendingClose).toBe(true);
  probes.push(breaker.fire());
  expect(breaker.pendingClose).toBe(false);
  expect(await isRefused(breaker)).toBe(true);
  expect(calls).toHaveLength(3);
  for (const call of calls) call.resolve('alive');
  expect(await Promise.all(probes)).toEqual(['alive', 'alive', 'alive']);
  expect(breaker.closed).toBe(true);
});

test('halfOpenProbes: one failure among them opens the circuit again', async () => {
  const { breaker, calls } = makeManual({ halfOpenProbes: 2, successThreshold: 2 });
  await halfOpenNow(breaker);
  const probes = [breaker.fire(), breaker.fire()].map(settle);
  calls[0].reject(new Error('dead'));
  await probes[0];
  expect(breaker.opened).toBe(true);
  calls[1].resolve('alive');
  await probes[1];
  expect(breaker.opened).toBe(true);
});

test('a probe that settles after the circuit opened again has no effect', async () => {
  const { breaker, calls } = makeManual({ halfOpenProbes: 2 });
  await halfOpenNow(breaker);
  const probes = [breaker.fire(), breaker.fire()].map(settle);
  calls[0].reject(new Error('dead'));
  await probes[0];
  await clock.advance(1000);
  expect(breaker.halfOpen).toBe(true);
  calls[1].reject(new Error('dead too'));
  await probes[1];
  expect(breaker.halfOpen).toBe(true);
  expect(breaker.pendingClose).toBe(true);
});

test('successThreshold: this many probes must succeed', async () => {
  const breaker = make(positive, { ...TRIPS_AT_ONCE, successThreshold: 3 });
  const seen = record(breaker, ['open', 'halfOpen', 'close']);
  await trip(breaker);
  await clock.advance(1000);
  await breaker.fire(1);
  await breaker.fire(1);
  expect(breaker.halfOpen).toBe(true);
  expect(breaker.pendingClose).toBe(true);
  await breaker.fire(1);
  expect(breaker.closed).toBe(true);
  expect(namesOf(seen)).toEqual(['open', 'halfOpen', 'close']);
});

test('successThreshold: a failure in between resets the count', async () => {
  const breaker = make(positive, { ...TRIPS_AT_ONCE, successThreshold: 2 });
  await trip(breaker);
  await clock.advance(1000);
  await breaker.fire(1);
  await trip(breaker);
  expect(breaker.opened).toBe(true);
  await clock.advance(1000);
  await breaker.fire(1);
  expect(breaker.halfOpen).toBe(true);
  await breaker.fire(1);
  expect(breaker.closed).toBe(true);
});

describe('successThreshold 0: no probe is needed', () => {
  const THREE = { failureCount: 3, resetTimeout: 1000, successThreshold: 0 };

  test('the circuit closes by itself, without a call', async () => {
    const breaker = make(positive, THREE);
    const seen = record(breaker, ['open', 'halfOpen', 'close']);
    for (let i = 0; i < 3; i++) await trip(breaker);
    await clock.advance(999);
    expect(breaker.opened).toBe(true);
    await clock.advance(1);
    expect(breaker.closed).toBe(true);
    expect(namesOf(seen)).toEqual(['open', 'close']);
  });

  test.each([{ failureCount: 3 }, { consecutiveFailures: 3 }])('%j: counts restart', async rule => {
    const breaker = make(positive, { ...THREE, failureCount: undefined, ...rule });
    for (let round = 0; round < 3; round++) {
      for (let failure = 1; failure <= 3; failure++) {
        expect(breaker.closed).toBe(true);
        await settle(breaker.fire(-1));
      }
      expect(breaker.opened).toBe(true);
      await clock.advance(1000);
    }
  });

  test('all calls pass at once', async () => {
    const { breaker, calls } = makeManual({ successThreshold: 0 });
    breaker.open();
    await clock.advance(1000);
    const passing = [breaker.fire(), breaker.fire(), breaker.fire()];
    for (const call of calls) call.resolve('alive');
    expect(await Promise.all(passing)).toEqual(['alive', 'alive', 'alive']);
  });

  test('with rampUp a growing share passes', async () => {
    const breaker = make(positive, { ...THREE, rampUp: 1000 });
    const seen = record(breaker, ['open', 'halfOpen', 'close']);
    breaker.open();
    await clock.advance(1000);
    expect(breaker.closed).toBe(true);
    let passed = 0;
    for (let i = 0; i < 1000; i++) passed += (await settle(breaker.fire(1))).error ? 0 : 1;
    expect(passed).toBeGreaterThan(0);
    expect(passed).toBeLessThan(1000);
    expect(namesOf(seen)).toEqual(['open', 'close']);
  });

  test('a saved state whose reset time is over is closed', async () => {
    const first = make(positive, THREE);
    first.open();
    const { state } = first.toJSON();
    expect(make(positive, { ...THREE, state }).opened).toBe(true);
    first.shutdown();
    await clock.advance(2000);
    expect(make(positive, { ...THREE, state }).closed).toBe(true);
  });
});

test('resetTimeout grows with each trip in a row, up to its limit', async () => {
  const breaker = make(positive, {
    errorThresholdPercentage: 1, resetTimeout: { initial: 1000, factor: 2, max: 5000 },
  });
  expect(await openFor(breaker)).toBe(1000);
  expect(await openFor(breaker)).toBe(2000);
  expect(await openFor(breaker)).toBe(4000);
  expect(await openFor(breaker)).toBe(5000);
  expect(await openFor(breaker)).toBe(5000);
});

test('resetTimeout starts at its initial value after the circuit has closed', async () => {
  const breaker = make(positive, {
    errorThresholdPercentage: 0, resetTimeout: { initial: 1000, factor: 3 },
  });
  expect(await openFor(breaker)).toBe(1000);
  expect(await openFor(breaker)).toBe(3000);
  await breaker.fire(1);
  expect(breaker.closed).toBe(true);
  expect(await openFor(breaker)).toBe(1000);
});

test('resetTimeout: the default factor is 2', async () => {
  const breaker = make(positive, { errorThresholdPercentage: 1, resetTimeout: { initial: 500 } });
  expect(await openFor(breaker)).toBe(500);
  expect(await openFor(breaker)).toBe(1000);
});

test('the halfOpen event carries how long the circuit was open', async () => {
  const breaker = make(positive, {
    errorThresholdPercentage: 1, resetTimeout: { initial: 1000, factor: 2 },
  });
  const seen = record(breaker, ['halfOpen']);
  await openFor(breaker);
  await openFor(breaker);
  expect(seen).toEqual([['halfOpen', 1000], ['halfOpen', 2000]]);
});

test('resetTimeout 0 half-opens at the next turn', async () => {
  const breaker = make(positive, { errorThresholdPercentage: 1, resetTimeout: 0 });
  const seen = record(breaker, ['open', 'halfOpen', 'close']);
  await trip(breaker);
  await clock.advance(1);
  expect(breaker.halfOpen).toBe(true);
  expect(await breaker.fire(1)).toBe(1);
  expect(seen).toEqual([['open'], ['halfOpen', 0], ['close']]);
});

test.each([
  ['retryAfter in ms', { retryAfter: 7000 }],
  ['a Retry-After header in seconds', { headers: { 'Retry-After': '7' } }],
  ['the headers of a response', { response: { headers: new Headers({ 'retry-after': '7' }) } }],
])('resetTimeout is lengthened by %s', async (_, properties) => {
  const breaker = make(error => Promise.reject(error), TRIPS_AT_ONCE);
  expect(await openFor(breaker, Object.assign(new Error('busy'), properties))).toBe(7000);
});

test('resetTimeout is not shortened by a Retry-After', async () => {
  const breaker = make(error => Promise.reject(error), TRIPS_AT_ONCE);
  expect(await openFor(breaker, Object.assign(new Error('busy'), { retryAfter: 10 }))).toBe(1000);
});

test('rampUp: after closing, a growing share of the calls is admitted', async () => {
  const breaker = make(positive, {
    ...TRIPS_AT_ONCE, rampUp: 10_000, errorThresholdPercentage: 100,
  });
  await halfOpenNow(breaker);
  await breaker.fire(1);
  expect(breaker.closed).toBe(true);
  const admitted = async () => {
    let count = 0;
    for (let i = 0; i < 1000; i++) if (!await isRefused(breaker)) count++;
    return count;
  };
  await clock.advance(2000);
  const early = await admitted();
  await clock.advance(4000);
  const late = await admitted();
  // A share of 0.2 and of 0.6 of 1,000 calls; five standard deviations are below 80.
  expect(early).toBeGreaterThan(120);
  expect(early).toBeLessThan(280);
  expect(late).toBeGreaterThan(520);
  expect(late).toBeLessThan(680);
  await clock.advance(4000);
  expect(await admitted()).toBe(1000);
  expect(breaker.stats.rejects).toBe(1000 - early + 1000 - late);
});

test('rampUp: a call that is held back is rejected as by an open breaker', async () => {
  const breaker = make(positive, { ...TRIPS_AT_ONCE, rampUp: 1e9, errorThresholdPercentage: 100 });
  await halfOpenNow(breaker);
  await breaker.fire(1);
  let error;
  for (let i = 0; i < 500 && error === undefined; i++) ({ error } = await settle(breaker.fire(1)));
  expect(error.code).toBe('EOPENBREAKER');
  expect(CircuitBreaker.isOurError(error)).toBe(true);
});

test('rampUp: the breaker is closed, emits close once, and can trip', async () => {
  const breaker = make(positive, { ...TRIPS_AT_ONCE, rampUp: 1000 });
  const seen = record(breaker, ['open', 'halfOpen', 'close']);
  await halfOpenNow(breaker);
  await breaker.fire(1);
  await clock.advance(1500);
  await breaker.fire(1);
  expect(namesOf(seen.splice(0))).toEqual(['open', 'halfOpen', 'close']);
  await halfOpenNow(breaker);
  await breaker.fire(1);
  expect(breaker.closed).toBe(true);
  for (let i = 0; i < 500 && breaker.closed; i++) await trip(breaker);
  expect(breaker.opened).toBe(true);
  expect(namesOf(seen)).toEqual(['open', 'halfOpen', 'close', 'open']);
});

test('without rampUp all calls are admitted at once', async () => {
  const breaker = make(positive, TRIPS_AT_ONCE);
  await halfOpenNow(breaker);
  await breaker.fire(1);
  for (let i = 0; i < 100; i++) expect(await breaker.fire(i)).toBe(i);
});

test('a probe that neither ends nor times out loses its lease', async () => {
  const { breaker, calls } = makeManual();
  await halfOpenNow(breaker);
  breaker.fire();
  expect(await isRefused(breaker)).toBe(true);
  await clock.advance(1001);
  const second = breaker.fire();
  calls[1].resolve('alive');
  expect(await second).toBe('alive');
  expect(breaker.closed).toBe(true);
});
