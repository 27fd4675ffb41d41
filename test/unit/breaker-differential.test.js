'use strict';

// opossum itself as the model: random stories are told to its breaker and to ours, in lockstep on
// two virtual clocks, and must be told back alike: events, results, states, figures.

const Opossum = require('opossum');

const CircuitBreaker = require('../../lib/primitives/breaker');
const { useVirtualClock } = require('../../lib/testing');

// Hundreds take a minute; any that fails names its number.
const STORIES = Number(process.env.SEKERING_STORIES ?? 20);
const STEPS = 40;
// Calls begin at multiples of 10 ms and end at multiples of 5; timeouts fall in between, so that no
// two things happen at the same time, which the two breakers need not take in the same order.
const TICK_MS = 5;
const COARSE_MS = 200;
const EVENTS = [
  'fire', 'success', 'failure', 'timeout', 'reject', 'fallback', 'halfOpen', 'open', 'close',
  'shutdown', 'cacheHit', 'cacheMiss', 'coalesceCacheHit', 'coalesceCacheMiss',
];

/** A small generator of numbers in [0, 1) that gives the same ones for the same seed. */
function makeRandom (seed) {
  let state = seed * 2654435761 >>> 0;
  return () => {
    state = (state + 0x6D2B79F5) >>> 0;
    let t = Math.imul(state ^ state >>> 15, state | 1);
    t ^= t + Math.imul(t ^ t >>> 7, t | 61);
    return ((t ^ t >>> 14) >>> 0) / 2 ** 32;
  };
}

let clock;
beforeEach(() => {
  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'performance', 'hrtime'] });
  clock = useVirtualClock();
});
afterEach(() => {
  clock.restore();
  jest.useRealTimers();
});

async function advance (ms, tick = TICK_MS) {
  await clock.advance(0);
  for (let i = 0; i < ms; i += tick) {
    await clock.advance(tick);
    await jest.advanceTimersByTimeAsync(tick);
  }
  await clock.advance(0);
}

/** What the breakers protect: it does as it is told. */
function action (kind, ms) {
  if (kind === 'throws') throw new Error('thrown');
  if (kind === 'value') return 'value';
  if (kind === 'hangs') return new Promise(() => {});
  const fails = kind === 'fails' || kind === 'filtered';
  return new Promise((resolve, reject) => {
    const settle = () => (fails ? reject(new Error(kind)) : resolve(kind));
    if (ms === 0) settle();
    else setTimeout(settle, ms);
  });
}

const nameOf = error => `${error.code ?? ''} ${error.message}`;

/** A breaker with the log of what was seen of it. */
class Subject {
  constructor (Breaker, options, fallback) {
    this.breaker = new Breaker(action, { ...options });
    this.log = [];
    this.results = [];
    if (fallback) this.breaker.fallback((kind, ms, error) => `instead of ${error.message}`);
    for (const event of EVENTS) {
      this.breaker.on(event, (...args) => this.log.push([event, ...args.map(plain)]));
    }
  }

  fire (kind, ms) {
    const call = this.results.push('pending') - 1;
    // A disabled opossum throws what its action throws.
    return (async () => this.breaker.fire(kind, ms))().then(
      value => { this.results[call] = value; },
      error => { this.results[call] = nameOf(error); });
  }

  look () {
    const { closed, opened, halfOpen, pendingClose, enabled, isShutdown, warmUp } = this.breaker;
    const { percentiles, latencyTimes, latencyMean, ...counts } = this.breaker.stats;
    return {
      state: { closed, opened, halfOpen, pendingClose, enabled, isShutdown, warmUp },
      counts,
      latencies: [...latencyTimes, latencyMean, ...Object.values(percentiles)],
      results: this.results.join(),
      window: this.breaker.status.window.map(({ fires, failures, successes }) =>
        [fires, failures, successes].join(' ')),
    };
  }
}

const plain = argument => (argument instanceof Error ? nameOf(argument) : argument);

function chooseOptions (random) {
  const pick = (...choices) => choices[Math.floor(random() * choices.length)];
  return {
    errorThresholdPercentage: pick(undefined, 0, 1, 30, 50, 75, 100),
    volumeThreshold: pick(undefined, 0, 3, 6),
    timeout: pick(false, 52, 104),
    resetTimeout: pick(100, 250, 1000),
    rollingCountTimeout: pick(undefined, 500, 1000),
    rollingCountBuckets: pick(undefined, 5),
    rollingPercentilesEnabled: pick(undefined, true, false),
    enabled: pick(undefined, undefined, false),
    cache: pick(undefined, undefined, true),
    cacheTTL: pick(undefined, 200),
    coalesce: pick(undefined, undefined, true),
    coalesceTTL: pick(undefined, 150),
    coalesceResetOn: pick(undefined, ['success'], ['timeout'], ['success', 'timeout']),
    errorFilter: pick(undefined, error => error.message === 'filtered'),
  };
}

/** Calls one after the other, or several at once in a circuit that never half-opens. */
async function tell (seed, concurrent) {
  const random = makeRandom(seed);
  const pick = (...choices) => choices[Math.floor(random() * choices.length)];
  const options = chooseOptions(random);
  if (concurrent) options.resetTimeout = 1e6;
  const fallback = random() < 0.3;
  const subjects = [Opossum, CircuitBreaker].map(B => new Subject(B, options, fallback));
  const each = act => subjects.map(act);
  // Between calls that come one after the other nothing happens that needs small steps.
  const pause = ms => advance(ms, concurrent ? TICK_MS : ms);
  try {
    for (let step = 0; step < STEPS; step++) {
      const kind = pick('fine', 'fine', 'fine', 'value', 'fails', 'fails', 'throws', 'filtered',
        options.timeout === false || options.enabled === false ? 'fine' : 'hangs');
      const ms = pick(0, 0, 5, 15, 75);
      each(subject => subject.fire(kind, ms));
      await advance(concurrent ? pick(0, 10, 40) : kind === 'hangs' || ms === 75 ? 110 : 20);
      const deed = random();
      if (deed < 0.04) each(({ breaker }) => breaker.open());
      else if (deed < 0.08 && !concurrent) each(({ breaker }) => breaker.close());
      else if (deed < 0.1) each(({ breaker }) => breaker.disable());
      else if (deed < 0.14) each(({ breaker }) => breaker.enable());
      else if (deed < 0.16) each(({ breaker }) => breaker.clearCache());
      else if (deed < 0.3) await pause(pick(50, 110, 260));
      compare(subjects, `${concurrent ? 'concurrent' : 'sequential'} story ${seed}, step ${step}`);
    }
    await advance(200);
    await advance(10_000, COARSE_MS);
    compare(subjects, `story ${seed}, end`);
  } finally {
    each(({ breaker }) => breaker.shutdown());
  }
}

function compare (subjects, where) {
  const [theirs, ours] = subjects.map(subject => subject.look());
  expect(ours.latencies).toHaveLength(theirs.latencies.length);
  ours.latencies = ours.latencies.map((ms, i) => snap(ms, theirs.latencies[i]));
  const [told, retold] = subjects.map(({ log }) => log.splice(0));
  expect({ where, log: retold, ...ours }).toEqual({ where, log: told, ...theirs });
}

/** The expected latency if `ms` is as near to it as the histogram promises. */
function snap (ms, expected) {
  return Math.abs(ms - expected) <= Math.max(0.016 * expected, 0.5) ? expected : ms;
}

test('one call after another', async () => {
  for (let seed = 1; seed <= STORIES; seed++) await tell(seed, false);
});

test('several calls at once', async () => {
  for (let seed = 1; seed <= STORIES; seed++) await tell(seed, true);
});
