'use strict';

// The one place from which the breaker tests take the breaker. With SEKERING_ORACLE=opossum the
// tests of the shared contract run against that package instead, which shows that the tests
// themselves are right.

const { once } = require('node:events');

const { canShare } = require('../../lib/base/regions');
const { useVirtualClock } = require('../../lib/testing/virtual-clock');

const oracle = process.env.SEKERING_ORACLE;

const CircuitBreaker = require(oracle || '../../lib/primitives/breaker');
const Status = require(oracle ? `${oracle}/lib/status` : '../../lib/primitives/status');
const Semaphore = require(oracle ? `${oracle}/lib/semaphore` : '../../lib/primitives/semaphore');
const MemoryCache = require(oracle ? `${oracle}/lib/cache` : '../../lib/primitives/memory-cache');

/** Every event of a breaker, in the order of the documentation. */
const EVENTS = [
  'fire', 'success', 'failure', 'timeout', 'reject', 'fallback', 'semaphoreLocked', 'halfOpen',
  'healthCheckFailed', 'open', 'close', 'shutdown', 'cacheHit', 'cacheMiss', 'coalesceCacheHit',
  'coalesceCacheMiss',
];

const made = [];
let clock;

/** A breaker that is shut down when the test ends. */
function make (action, options) {
  const breaker = new CircuitBreaker(action, options);
  made.push(breaker);
  return breaker;
}

afterEach(() => {
  for (const breaker of made.splice(0)) breaker.shutdown();
  clock?.restore();
});

/** Listens to all events; the result fills with [name, ...arguments] as they happen. */
function record (breaker, names = EVENTS) {
  const seen = [];
  for (const name of names) breaker.on(name, (...args) => seen.push([name, ...args]));
  return seen;
}

const namesOf = seen => seen.map(([name]) => name);

/** What became of a promise: { value } or { error }. */
const settle = promise => promise.then(value => ({ value }), error => ({ error }));

/** A promise with its handles outside. */
function defer () {
  const handles = {};
  handles.promise = new Promise((resolve, reject) => Object.assign(handles, { resolve, reject }));
  return handles;
}

/** Resolves with `x`, or rejects with an error that names it when it is negative. */
async function positive (x) {
  if (x < 0) throw new Error(`${x} is negative`);
  return x;
}

const never = () => new Promise(() => {});

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

/**
 * Stops the time of this test, so that what happens in it is not late on a busy machine.
 * @returns {(ms: number) => Promise<void>} lets time pass; the oracle has only the real one
 */
function stopTime () {
  if (oracle) return sleep;
  clock = useVirtualClock();
  return ms => clock.advanceAsync(ms);
}

/** Lets promise callbacks and immediates run. */
const flush = () => new Promise(resolve => setImmediate(resolve));

/** Fails one call, which opens a breaker of one-failure options. */
async function trip (breaker, ...args) {
  const { error } = await settle(breaker.fire(...(args.length > 0 ? args : [-1])));
  return error;
}

/** A breaker over `positive` that opens on the first failure and probes after `resetTimeout`. */
const fragile = options =>
  make(positive, { errorThresholdPercentage: 1, resetTimeout: 20, ...options });

/** The same, already half open. */
async function halfOpened (options) {
  const breaker = fragile(options);
  const opened = once(breaker, 'halfOpen');
  await trip(breaker);
  await opened;
  return breaker;
}

/** For what needs a scope, which not every engine has. */
const testShared = canShare ? test : test.skip;

module.exports = {
  CircuitBreaker, Status, Semaphore, MemoryCache, EVENTS, make, record, namesOf, settle, defer,
  positive, never, sleep, stopTime, flush, trip, fragile, halfOpened, once,
  testShared,
};
