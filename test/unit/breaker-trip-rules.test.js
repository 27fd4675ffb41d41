'use strict';

// What opens a breaker besides the share of errors: counts, streaks, the last calls, slow calls.

const { useVirtualClock } = require('../../lib/testing');
const { make, positive, never, settle, defer, flush } = require('../support/breaker-helpers');

const MINUTE = 60_000;

let clock;
beforeEach(() => { clock = useVirtualClock(); });
afterEach(() => clock.restore());

/** Fires each number in turn; the result tells whether the circuit is then closed. */
async function isClosedAfter (breaker, ...numbers) {
  for (const x of numbers) await settle(breaker.fire(x));
  return breaker.closed;
}

const times = (n, x) => Array(n).fill(x);

/** A breaker whose calls take the time that they are fired with, and `take` to fire one. */
function makeTimed (options) {
  let current;
  const breaker = make(() => current.promise, { timeout: false, ...options });
  const take = async (ms, how = 'resolve') => {
    current = defer();
    const { [how]: end } = current;
    const call = settle(breaker.fire());
    await clock.advance(ms);
    end(new Error('slow and failed'));
    await call;
  };
  return { breaker, take };
}

test('consecutiveFailures: trips at this many in a row, and not at one fewer', async () => {
  const breaker = make(positive, { consecutiveFailures: 3 });
  expect(await isClosedAfter(breaker, -1, -1)).toBe(true);
  expect(await isClosedAfter(breaker, -1)).toBe(false);
});

test('consecutiveFailures: a success in between resets the count', async () => {
  const breaker = make(positive, { consecutiveFailures: 3 });
  expect(await isClosedAfter(breaker, -1, -1, 1, -1, -1, 1, -1, -1)).toBe(true);
  expect(await isClosedAfter(breaker, -1)).toBe(false);
});

test('consecutiveFailures: time does not matter', async () => {
  const breaker = make(positive, { consecutiveFailures: 2 });
  expect(await isClosedAfter(breaker, -1)).toBe(true);
  await clock.advance(60 * MINUTE);
  expect(await isClosedAfter(breaker, -1)).toBe(false);
});

test('consecutiveFailures: timeouts count, filtered errors end the streak', async () => {
  const breaker = make(x => (x === 0 ? never() : positive(x)), {
    consecutiveFailures: 3, timeout: 10, errorFilter: error => error.message === '-2 is negative',
  });
  const timeOut = async () => {
    const call = settle(breaker.fire(0));
    await clock.advance(10);
    expect((await call).error.code).toBe('ETIMEDOUT');
  };
  expect(await isClosedAfter(breaker, -1, -1, -2, -1)).toBe(true);
  await timeOut();
  expect(breaker.closed).toBe(true);
  await timeOut();
  expect(breaker.opened).toBe(true);
});

test('consecutiveFailures: calls that capacity rejected do not count', async () => {
  const held = defer();
  const breaker = make(x => (x === 'hold' ? held.promise : positive(x)),
    { consecutiveFailures: 2, capacity: 1 });
  const first = breaker.fire('hold');
  expect(await isClosedAfter(breaker, 1, 1, 1)).toBe(true);
  expect(breaker.stats.semaphoreRejections).toBe(3);
  held.resolve();
  await first;
});

test('consecutiveFailures: closing the circuit resets the count', async () => {
  const breaker = make(positive, { consecutiveFailures: 2, resetTimeout: 1000 });
  expect(await isClosedAfter(breaker, -1, -1)).toBe(false);
  await clock.advance(1000);
  expect(await isClosedAfter(breaker, 1, -1)).toBe(true);
  expect(await isClosedAfter(breaker, -1)).toBe(false);
});

test('failureCount: trips at this many in the window, whatever else succeeds', async () => {
  const breaker = make(positive, { failureCount: 3 });
  expect(await isClosedAfter(breaker, -1, ...times(50, 1), -1, ...times(50, 1))).toBe(true);
  expect(await isClosedAfter(breaker, -1)).toBe(false);
});

test('failureCount: failures that have left the window do not count', async () => {
  const breaker = make(positive, { failureCount: 3, rollingCountTimeout: 10_000 });
  expect(await isClosedAfter(breaker, -1, -1)).toBe(true);
  await clock.advance(10_001);
  expect(await isClosedAfter(breaker, -1, -1)).toBe(true);
  await clock.advance(5000);
  expect(await isClosedAfter(breaker, -1)).toBe(false);
});

test('failureCount: failures from before the circuit closed do not count', async () => {
  const breaker = make(positive, {
    failureCount: 3, rollingCountTimeout: 60 * MINUTE, resetTimeout: 1000,
  });
  expect(await isClosedAfter(breaker, -1, -1, -1)).toBe(false);
  await clock.advance(1000);
  expect(await isClosedAfter(breaker, 1, -1, -1)).toBe(true);
  expect(breaker.stats.failures).toBe(5);
  expect(await isClosedAfter(breaker, -1)).toBe(false);
});

test('slidingWindowSize: the failure rate of the last calls', async () => {
  const breaker = make(positive, {
    slidingWindowSize: 4, minimumCalls: 4, errorThresholdPercentage: 50,
  });
  expect(await isClosedAfter(breaker, -1, -1, 1, 1)).toBe(true);
  expect(await isClosedAfter(breaker, -1, 1, -1)).toBe(true);
  expect(await isClosedAfter(breaker, -1)).toBe(false);
});

test('slidingWindowSize: older calls do not count', async () => {
  const breaker = make(positive, {
    slidingWindowSize: 10, minimumCalls: 1, errorThresholdPercentage: 40,
  });
  expect(await isClosedAfter(breaker, ...times(10, 1), ...times(4, -1))).toBe(true);
  expect(await isClosedAfter(breaker, ...times(10, 1), ...times(4, -1))).toBe(true);
  expect(await isClosedAfter(breaker, -1)).toBe(false);
});

test('slidingWindowSize: calls count by number, not by age', async () => {
  const breaker = make(positive, {
    slidingWindowSize: 5, minimumCalls: 5, errorThresholdPercentage: 50,
  });
  expect(await isClosedAfter(breaker, 1, 1, -1, -1)).toBe(true);
  await clock.advance(24 * 60 * MINUTE);
  expect(await isClosedAfter(breaker, -1)).toBe(false);
});

test('minimumCalls: with fewer calls nothing trips', async () => {
  const breaker = make(positive, {
    slidingWindowSize: 100, minimumCalls: 10, errorThresholdPercentage: 50,
  });
  expect(await isClosedAfter(breaker, ...times(9, -1))).toBe(true);
  expect(await isClosedAfter(breaker, -1)).toBe(false);
});

test('slidingWindowSize: a closed circuit begins with an empty window', async () => {
  const breaker = make(positive, {
    slidingWindowSize: 10, minimumCalls: 4, errorThresholdPercentage: 50, resetTimeout: 1000,
  });
  expect(await isClosedAfter(breaker, ...times(4, -1))).toBe(false);
  await clock.advance(1000);
  expect(await isClosedAfter(breaker, 1, -1, -1, -1)).toBe(true);
  expect(await isClosedAfter(breaker, -1)).toBe(false);
});

test('slowCallDuration: slow successes trip at the percentage', async () => {
  const { breaker, take } = makeTimed({ slowCallDuration: 100, slowCallThresholdPercentage: 50 });
  await take(10);
  await take(99);
  await take(10);
  await take(150);
  expect(breaker.closed).toBe(true);
  await take(150);
  expect(breaker.closed).toBe(true);
  await take(100);
  expect(breaker.opened).toBe(true);
  expect(breaker.stats).toMatchObject({ successes: 6, failures: 0 });
});

test('slowCallDuration: the call that trips still resolves with its result', async () => {
  const breaker = make(async () => {
    await clock.advance(200);
    return 'slow';
  }, { slowCallDuration: 100, slowCallThresholdPercentage: 1 });
  const seen = [];
  breaker.on('success', () => seen.push('success')).on('open', () => seen.push('open'));
  expect(await breaker.fire()).toBe('slow');
  expect(breaker.opened).toBe(true);
  expect(seen).toEqual(['success', 'open']);
});

test('slowCallDuration alone trips when every call is slow', async () => {
  const { breaker, take } = makeTimed({ slowCallDuration: 100 });
  await take(10);
  for (let i = 0; i < 5; i++) await take(500);
  expect(breaker.closed).toBe(true);
  const all = makeTimed({ slowCallDuration: 100, volumeThreshold: 3 });
  await all.take(500);
  await all.take(500);
  expect(all.breaker.closed).toBe(true);
  await all.take(500);
  expect(all.breaker.opened).toBe(true);
});

test('slowCallDuration: slow failures are slow too', async () => {
  const { breaker, take } = makeTimed({
    slowCallDuration: 100, slowCallThresholdPercentage: 100, errorThresholdPercentage: 100,
    volumeThreshold: 2,
  });
  await take(200, 'reject');
  expect(breaker.closed).toBe(true);
  await take(200, 'reject');
  expect(breaker.opened).toBe(true);
});

test('slow calls are counted among the last calls when slidingWindowSize is set', async () => {
  const { breaker, take } = makeTimed({
    slowCallDuration: 100, slowCallThresholdPercentage: 60, slidingWindowSize: 5, minimumCalls: 5,
  });
  for (const ms of [200, 200, 10, 10, 10, 10]) await take(ms);
  expect(breaker.closed).toBe(true);
  await take(200);
  await take(200);
  expect(breaker.closed).toBe(true);
  await take(200);
  expect(breaker.opened).toBe(true);
});

test('with a count, the default rate of 50 % is not a rule', async () => {
  expect(await isClosedAfter(make(positive, { consecutiveFailures: 5 }), -1, -1)).toBe(true);
  expect(await isClosedAfter(make(positive, { failureCount: 5 }), -1, -1)).toBe(true);
});

test('any of several rules may trip', async () => {
  const options = {
    errorThresholdPercentage: 90, consecutiveFailures: 3, failureCount: 4, volumeThreshold: 2,
  };
  const streak = make(positive, options);
  expect(await isClosedAfter(streak, ...times(10, 1), -1, -1)).toBe(true);
  expect(await isClosedAfter(streak, -1)).toBe(false);
  const count = make(positive, options);
  expect(await isClosedAfter(count, 1, -1, 1, -1, 1, -1, 1)).toBe(true);
  expect(await isClosedAfter(count, -1)).toBe(false);
  const share = make(positive, options);
  expect(await isClosedAfter(share, -1)).toBe(true);
  expect(await isClosedAfter(share, -1)).toBe(false);
});

test('during warm-up no rule trips', async () => {
  const breaker = make(positive, {
    allowWarmUp: true, rollingCountTimeout: 1000, consecutiveFailures: 2, failureCount: 2,
    slidingWindowSize: 2, minimumCalls: 1, errorThresholdPercentage: 1,
  });
  expect(await isClosedAfter(breaker, -1, -1, -1)).toBe(true);
  expect(breaker.warmUp).toBe(true);
  await clock.advance(1000);
  await flush();
  expect(breaker.warmUp).toBe(false);
  expect(await isClosedAfter(breaker, -1)).toBe(false);
});
