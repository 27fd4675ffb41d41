'use strict';

// Closed, open, half open: when a breaker changes between them, by itself and by hand.

const {
  make, positive, fragile, halfOpened, trip, settle, once, defer, record, namesOf, sleep,
  stopTime,
} = require('../support/breaker-helpers');

const stateOf = ({ closed, opened, halfOpen, pendingClose }) =>
  [closed && 'closed', opened && 'open', halfOpen && 'halfOpen', pendingClose && 'pending']
    .filter(Boolean).join(' ');

/** Fires each number in turn. */
async function fireAll (breaker, ...numbers) {
  for (const x of numbers) await settle(breaker.fire(x));
}

test('one failure of one call is 100 % and opens a breaker of the default 50 %', async () => {
  const breaker = make(positive);
  await trip(breaker);
  expect(stateOf(breaker)).toBe('open');
});

test('the threshold must be exceeded, not reached', async () => {
  const breaker = make(positive);
  await fireAll(breaker, 1, -1);
  expect(breaker.stats).toMatchObject({ fires: 2, failures: 1 });
  expect(breaker.closed).toBe(true);
  await fireAll(breaker, -1);
  expect(breaker.opened).toBe(true);
});

test('errorThresholdPercentage 0 opens on any failure, 100 never', async () => {
  const strict = make(positive, { errorThresholdPercentage: 0 });
  await fireAll(strict, ...Array(20).fill(1), -1);
  expect(strict.opened).toBe(true);
  const lenient = make(positive, { errorThresholdPercentage: 100 });
  await fireAll(lenient, ...Array(20).fill(-1));
  expect(lenient.closed).toBe(true);
});

test('the rate is checked on failures only, and successes lower it', async () => {
  const breaker = make(positive, { errorThresholdPercentage: 20 });
  await fireAll(breaker, 1, 1, 1, 1, -1);
  expect(breaker.closed).toBe(true);
  await fireAll(breaker, 1, 1, 1, 1, -1);
  expect(breaker.closed).toBe(true);
  await fireAll(breaker, -1);
  expect(breaker.opened).toBe(true);
});

test('calls in flight count among the fires', async () => {
  const slow = defer();
  const breaker = make(x => (x === 0 ? slow.promise : positive(x)));
  const pending = breaker.fire(0);
  await trip(breaker);
  expect(breaker.closed).toBe(true);
  slow.resolve();
  await pending;
});

test('cache hits count among the fires', async () => {
  const breaker = make(positive, { cache: true });
  await fireAll(breaker, 1, 1, -1);
  expect(breaker.stats).toMatchObject({ fires: 3, cacheHits: 1, failures: 1 });
  await fireAll(breaker, -1);
  expect(breaker.closed).toBe(true);
});

test('volumeThreshold: the failure that reaches it opens the circuit, none before', async () => {
  const breaker = make(positive, { volumeThreshold: 3 });
  await fireAll(breaker, -1, -1);
  expect(breaker.closed).toBe(true);
  await fireAll(breaker, -1);
  expect(breaker.opened).toBe(true);
});

test('volumeThreshold does not protect a half-open breaker', async () => {
  const pass = stopTime();
  const breaker = fragile({ volumeThreshold: 2, rollingCountTimeout: 20, resetTimeout: 40 });
  const halfOpen = once(breaker, 'halfOpen');
  await fireAll(breaker, -1, -1);
  await pass(40);
  await halfOpen;
  expect(breaker.stats.fires).toBe(0);
  await trip(breaker);
  expect(breaker.opened).toBe(true);
});

test('no failure opens the circuit until warm-up ends after rollingCountTimeout', async () => {
  const pass = stopTime();
  const breaker = fragile({ allowWarmUp: true, rollingCountTimeout: 30 });
  expect(breaker.warmUp).toBe(true);
  await fireAll(breaker, -1, -1, -1);
  expect(breaker.closed).toBe(true);
  await pass(45);
  expect(breaker.warmUp).toBe(false);
  await trip(breaker);
  expect(breaker.opened).toBe(true);
});

test('an open breaker turns half open by itself after resetTimeout', async () => {
  const breaker = fragile({ resetTimeout: 30 });
  await trip(breaker);
  const start = performance.now();
  await once(breaker, 'halfOpen');
  expect(performance.now() - start).toBeGreaterThan(25);
  expect(stateOf(breaker)).toBe('halfOpen pending');
});

test('when half open, one call is admitted and the others are rejected', async () => {
  const probe = defer();
  const breaker = make(x => (x === 'probe' ? probe.promise : positive(x)),
    { errorThresholdPercentage: 1, resetTimeout: 20 });
  await trip(breaker);
  await once(breaker, 'halfOpen');
  const first = breaker.fire('probe');
  expect(stateOf(breaker)).toBe('halfOpen');
  const { error } = await settle(breaker.fire(1));
  expect(error.code).toBe('EOPENBREAKER');
  expect(breaker.halfOpen).toBe(true);
  probe.resolve('done');
  expect(await first).toBe('done');
  expect(stateOf(breaker)).toBe('closed');
});

test('a probe that succeeds closes the breaker', async () => {
  const breaker = await halfOpened();
  expect(await breaker.fire(1)).toBe(1);
  expect(stateOf(breaker)).toBe('closed');
  expect(await breaker.fire(2)).toBe(2);
});

test('a probe that fails opens it again, for another resetTimeout', async () => {
  const breaker = await halfOpened();
  expect((await trip(breaker)).message).toBe('-1 is negative');
  expect(stateOf(breaker)).toBe('open');
  await once(breaker, 'halfOpen');
  expect(await breaker.fire(1)).toBe(1);
  expect(breaker.closed).toBe(true);
});

test('a probe that fails with a filtered error closes it', async () => {
  const breaker = await halfOpened({ errorFilter: error => error.message === '-2 is negative' });
  await fireAll(breaker, -2);
  expect(breaker.closed).toBe(true);
});

test('a probe that times out opens it again', async () => {
  const breaker = make(x => (x < 0 ? positive(x) : new Promise(() => {})),
    { errorThresholdPercentage: 1, resetTimeout: 20, timeout: 10 });
  await trip(breaker);
  await once(breaker, 'halfOpen');
  expect((await settle(breaker.fire(1))).error.code).toBe('ETIMEDOUT');
  expect(breaker.opened).toBe(true);
});

test('several failures in flight open it once', async () => {
  const breaker = fragile();
  const seen = record(breaker, ['open']);
  await Promise.all([breaker.fire(-1), breaker.fire(-2), breaker.fire(-3)].map(settle));
  expect(namesOf(seen)).toEqual(['open']);
});

test('a call from before the trip that succeeds leaves the breaker open', async () => {
  const slow = defer();
  const breaker = make(x => (x === 'slow' ? slow.promise : positive(x)),
    { errorThresholdPercentage: 1 });
  const old = breaker.fire('slow');
  await trip(breaker);
  await trip(breaker);
  expect(breaker.opened).toBe(true);
  slow.resolve('late');
  expect(await old).toBe('late');
  expect(breaker.opened).toBe(true);
});

test('open() and close() change the state at once and emit one event', async () => {
  const breaker = make(positive);
  const seen = record(breaker, ['open', 'close']);
  breaker.open();
  expect(stateOf(breaker)).toBe('open');
  breaker.open();
  expect((await settle(breaker.fire(1))).error.code).toBe('EOPENBREAKER');
  breaker.close();
  expect(stateOf(breaker)).toBe('closed');
  breaker.close();
  expect(await breaker.fire(1)).toBe(1);
  expect(namesOf(seen)).toEqual(['open', 'close']);
});

test('an open() by hand also ends after resetTimeout, unless close() cancels it', async () => {
  const breaker = fragile({ resetTimeout: 20 });
  const seen = record(breaker, ['halfOpen']);
  breaker.open();
  await once(breaker, 'halfOpen');
  breaker.close();
  breaker.open();
  breaker.close();
  await sleep(40);
  expect(seen).toHaveLength(1);
  expect(breaker.closed).toBe(true);
});

test('a breaker opened during a fire event rejects that call', async () => {
  const breaker = make(positive);
  breaker.once('fire', () => breaker.open());
  expect((await settle(breaker.fire(1))).error.code).toBe('EOPENBREAKER');
});

test('errorFilter is asked with the error and the arguments', async () => {
  const errorFilter = jest.fn(() => true);
  const breaker = fragile({ errorFilter });
  const { error } = await settle(breaker.fire(-1, 'b', 'c'));
  expect(errorFilter.mock.calls).toEqual([[error, -1, 'b', 'c']]);
  expect(breaker.closed).toBe(true);
});

test('a filtered error rejects the call but counts as a success', async () => {
  const breaker = fragile({ errorFilter: () => true });
  await fireAll(breaker, -1, -1);
  expect(breaker.closed).toBe(true);
  expect(breaker.stats).toMatchObject({ fires: 2, successes: 2, failures: 0 });
});

test('timeouts are put to the filter too', async () => {
  const breaker = make(() => new Promise(() => {}), {
    timeout: 10, errorThresholdPercentage: 1, errorFilter: error => error.code === 'ETIMEDOUT',
  });
  expect((await settle(breaker.fire())).error.code).toBe('ETIMEDOUT');
  expect(breaker.closed).toBe(true);
  expect(breaker.stats).toMatchObject({ timeouts: 1, failures: 0, successes: 1 });
});
