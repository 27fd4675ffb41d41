'use strict';

// opossum itself as the model: random stories are told to its breaker and to ours, in lockstep on
// two virtual clocks, and must be told back alike: events, results, states, figures. The drop-in is
// told whole programs: they assign options, share a Status, override and patch. They leave out what
// the guide says is different.

const Opossum = require('opossum');

const CircuitBreaker = require('../../lib/primitives/breaker');
const DropIn = require('../../lib/primitives/opossum');
const { useVirtualClock } = require('../../lib/testing');

// Hundreds take a minute; any that fails names its number.
const STORIES = Number(process.env.SEKERING_STORIES ?? 20);
const PROGRAMS = Number(process.env.SEKERING_STORIES ??
  (process.env.SEKERING_CHAOS_SECONDS ? 3000 : 60));
const STEPS = 40;
const DEEDS = 30;
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

const plain = argument => {
  if (argument instanceof Promise) return 'a promise';
  return argument instanceof Error ? nameOf(argument) : argument;
};

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
async function tell (Breaker, seed, concurrent) {
  const random = makeRandom(seed);
  const pick = (...choices) => choices[Math.floor(random() * choices.length)];
  const options = chooseOptions(random);
  if (concurrent) options.resetTimeout = 1e6;
  const fallback = random() < 0.3;
  const subjects = [Opossum, Breaker].map(B => new Subject(B, options, fallback));
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
function snap (ms, expected, tolerance = 0.5) {
  return Math.abs(ms - expected) <= Math.max(0.016 * expected, tolerance) ? expected : ms;
}

describe.each([['sekering', CircuitBreaker], ['the drop-in', DropIn]])('%s', (_, Breaker) => {
  test('one call after another', async () => {
    for (let seed = 1; seed <= STORIES; seed++) await tell(Breaker, seed, false);
  });

  test('several calls at once', async () => {
    for (let seed = 1; seed <= STORIES; seed++) await tell(Breaker, seed, true);
  });
});

// ---- Programs ----------------------------------------------------------------------------------

const PATCHED = ['emit', 'open', 'close', 'fallback', 'fire', 'call', 'enable', 'disable'];
const NOT_SHOWN = ['status', 'cacheTransport', 'coalesceCache'];
const LISTENED = [...EVENTS, 'semaphoreLocked'];
const TRANSITIONS = ['open', 'halfOpen', 'close', 'shutdown'];

/** Values of an option, odd ones among them. Times lie between those of the other things. */
const VALUES = {
  timeout: [undefined, false, 0, null, NaN, '', '52', 52, 104, -5, 'soon'],
  resetTimeout: [undefined, 101, 252, '102', 1001, null],
  errorThresholdPercentage: [undefined, 0, 1, 30, '40', 50, 75, 100, 150, -1, NaN, null, 'half'],
  volumeThreshold: [undefined, 0, 3, 6, '4', 2.5, -2, NaN],
  rollingCountTimeout: [undefined, 503, 1003, '703', 0, null],
  rollingCountBuckets: [undefined, 5, '4', 0, 1, null],
  rollingPercentilesEnabled: [undefined, true, false, 0, null],
  capacity: [undefined, '2', 1.5, NaN, Infinity, null],
  enabled: [undefined, undefined, undefined, false, 0, null],
  allowWarmUp: [undefined, undefined, true, 1],
  cache: [undefined, undefined, undefined, true, 1, 0],
  cacheTTL: [undefined, 203, '203', 0, NaN, -1],
  cacheSize: [undefined, 1, 2, 0, '2', NaN],
  coalesce: [undefined, undefined, undefined, true, 1],
  coalesceTTL: [undefined, 153, '153', 0, false, NaN],
  coalesceSize: [undefined, 1, 0],
  coalesceResetOn: [undefined, ['success'], ['timeout', 'no event'], ['success', 'timeout']],
  errorFilter: [undefined, null, false, filterSome, filterSome],
  name: [undefined, 'named', '', 7],
  group: [undefined, 'grouped', ''],
  enableSnapshots: [undefined, false, 0],
  // Names that opossum does not know.
  failureCount: [undefined, 1],
  consecutiveFailures: [undefined, 1],
  slidingWindowSize: [undefined, 2],
  minimumCalls: [undefined, 1],
  successThreshold: [undefined, 3],
  halfOpenProbes: [undefined, 2],
  rampUp: [undefined, 1000],
  scope: [undefined, 'host'],
  preset: [undefined, 'no preset'],
  fallback: [undefined, () => 'unused'],
};
// Options that are assigned later. Some of them then count, and some do not.
const ASSIGNED = [
  'timeout', 'resetTimeout', 'errorThresholdPercentage', 'volumeThreshold', 'capacity',
  'cacheTTL', 'coalesceTTL', 'errorFilter', 'rollingCountTimeout', 'enabled', 'name',
  'allowWarmUp',
];

function filterSome (error) { return error.message === 'filtered'; }

function oddOptions (pick, staysOpen, isWarm) {
  const chosen = pick(0.15, 0.3, 0.6);
  const options = {};
  for (const [name, values] of Object.entries(VALUES)) {
    if (pick(...Array(100).keys()) < chosen * 100) options[name] = pick(...values);
  }
  if (staysOpen) options.resetTimeout = 1e6;
  // opossum stays half open for ever if a probe fails during warm-up.
  if (!isWarm) delete options.allowWarmUp;
  return options;
}

/** One of the two worlds in which a program runs. */
class World {
  constructor (Breaker) {
    this.Breaker = Breaker;
    this.breakers = [];
    this.log = [];
  }

  /** A class of the program's own that overrides methods, all of which call the original ones. */
  extended (methods) {
    const { log, breakers } = this;
    class Extended extends this.Breaker {}
    for (const name of methods) {
      Extended.prototype[name] = function (...args) {
        if (matters(this, name)) {
          log.push([breakers.indexOf(this), 'overridden', name, name === 'emit' ? args[0] : '']);
        }
        return Object.getPrototypeOf(Extended.prototype)[name].apply(this, args);
      };
    }
    return Extended;
  }

  add (options, { methods, status, state }) {
    const Breaker = methods.length > 0 ? this.extended(methods) : this.Breaker;
    const given = { ...options };
    if (status !== undefined) given.status = this.breakers[status].status;
    if (state !== undefined) {
      const { lastTimerAt, ...rest } = this.breakers[state].toJSON().state;
      given.state = rest;
      delete given.enabled;
    }
    const breaker = new Breaker(action, given);
    const number = this.breakers.push(breaker) - 1;
    breaker.results = [];
    return number;
  }

  listen (number, event) {
    this.breakers[number].on(event, (...args) => {
      // As of latencies: of Jest's timers, a time of 1 ms may be none.
      this.log.push([number, event, ...args.map(arg => (arg === 1 ? 0 : plain(arg)))]);
    });
  }

  fire (number, method, kind, ms) {
    const breaker = this.breakers[number];
    const call = breaker.results.push('pending') - 1;
    const args = method === 'call' ? [{ name: 'context' }, kind, ms] : [kind, ms];
    (async () => breaker[method](...args))().then(
      value => { breaker.results[call] = value; },
      error => { breaker.results[call] = nameOf(error); });
  }

  /** Puts a function around a method: assigned, or defined as spies do. */
  patch (number, name, defines) {
    const breaker = this.breakers[number];
    const original = breaker[name];
    const { log } = this;
    const value = function (...args) {
      if (matters(breaker, name)) {
        log.push([number, 'patched', name, name === 'emit' ? args[0] : '']);
      }
      return original.apply(this, args);
    };
    if (!defines) breaker[name] = value;
    else Object.defineProperty(breaker, name, { value, configurable: true, writable: true });
  }

  /** All that a program can see. */
  look () {
    return this.breakers.map(breaker => {
      const { closed, opened, halfOpen, pendingClose, enabled, isShutdown, warmUp } = breaker;
      const { percentiles, latencyTimes, latencyMean, ...counts } = breaker.stats;
      const { state: { lastTimerAt, ...state }, status } = breaker.toJSON();
      return {
        state: { closed, opened, halfOpen, pendingClose, enabled, isShutdown, warmUp },
        json: { ...state, name: shownName(state.name) },
        sameCounts: status.fires === counts.fires,
        counts,
        latencies: [...latencyTimes, latencyMean, ...Object.values(percentiles)],
        results: breaker.results.join(),
        window: breaker.status.window.map(bucket => [
          bucket.fires, bucket.failures, bucket.successes,
          bucket.isCircuitBreakerOpen, Object.keys(bucket).length,
          // Without percentiles, no latencies are kept.
          breaker.status.rollingPercentilesEnabled && bucket.latencyTimes.length].join(' ')),
        names: breaker.eventNames(),
        keys: Object.keys(breaker),
        options: Object.keys(breaker.options).filter(name => !NOT_SHOWN.includes(name)),
        shown: JSON.stringify(breaker.options, (key, value) => (
          NOT_SHOWN.includes(key) ? undefined : value)),
        title: [shownName(breaker.name), shownName(breaker.group), breaker.volumeThreshold],
      };
    });
  }
}

/** opossum also calls open() for failures while it is open. */
const matters = (breaker, name) => name !== 'open' || !breaker.opened;

/** A name that is no random one. */
const shownName = name => (/^[\da-f-]{36}$/.test(name) ? 'random' : name);

async function runProgram (seed) {
  const random = makeRandom(seed + 1e6);
  const pick = (...choices) => choices[Math.floor(random() * choices.length)];
  const worlds = [Opossum, DropIn].map(Breaker => new World(Breaker));
  const each = act => worlds.map(act);
  const told = [];
  let count = 0;
  // Calls from before a transition say nothing about the state after it, unlike in opossum. So
  // either the circuit stays open, or nothing is in flight when it moves.
  const staysOpen = random() < 0.5;
  const isWarm = staysOpen && random() < 0.4;
  const note = (...deed) => told.push(deed.map(part => (
    typeof part === 'object' ? JSON.stringify(part) : String(part))).join(' '));
  const add = () => {
    const options = oddOptions(pick, staysOpen, isWarm);
    const extras = {
      methods: random() < 0.25 ? [pick(...PATCHED), pick(...PATCHED)] : [],
      status: count > 0 && random() < 0.4 ? pick(...Array(count).keys()) : undefined,
      state: count > 0 && !isWarm && random() < 0.1 ? pick(...Array(count).keys()) : undefined,
    };
    note('new', options, extras);
    each(world => world.add(options, extras));
    for (const event of pick([], [], TRANSITIONS, ['failure'], LISTENED)) {
      each(world => world.listen(count, event));
    }
    count++;
  };
  const kinds = ['fine', 'fine', 'fine', 'value', 'fails', 'fails', 'throws', 'filtered'];
  const deeds = {
    fire: number => {
      const call = [pick('fire', 'fire', 'fire', 'call'), pick(...kinds), pick(0, 0, 5, 15, 75)];
      note(number, ...call);
      each(world => world.fire(number, ...call));
    },
    assign: number => {
      const name = pick(...ASSIGNED);
      const value = pick(...VALUES[name]);
      if (name === 'errorFilter' && !value || staysOpen && name === 'resetTimeout') return;
      note(number, 'assign', name, value);
      each(({ breakers }) => Object.assign(breakers[number].options, { [name]: value }));
    },
    patch: number => {
      const name = pick(...PATCHED);
      // A call in flight does not notice another emit.
      if (staysOpen && name === 'emit') return;
      const defines = random() < 0.5;
      note(number, 'patch', name, defines);
      each(world => world.patch(number, name, defines));
    },
    method: number => {
      const name = pick('open', 'close', 'enable', 'disable', 'clearCache', 'open', 'close');
      if (staysOpen && name === 'close') return;
      note(number, name);
      each(({ breakers }) => breakers[number][name]());
    },
    fallback: number => {
      note(number, 'fallback');
      const instead = pick(
        (...args) => `instead of ${args.at(-1).message}`, async () => 'later', undefined,
        () => { throw new Error('no fallback'); });
      each(({ breakers }) => breakers[number].fallback(instead));
    },
    write: number => {
      const name = pick('failures', 'fires', 'successes', 'timeouts');
      const value = pick(0, 1, 5);
      note(number, 'write', name, value);
      each(({ breakers }) => { breakers[number].status.window[0][name] = value; });
    },
    increment: number => {
      const args = pick(
        ['failures', 10], ['fires'], ['successes', 5], ['rejects'], ['timeouts', 52]);
      note(number, 'increment', args);
      each(({ breakers }) => breakers[number].status.increment(...args));
    },
    add: () => { if (count < 3) add(); },
  };
  const names = Object.keys(deeds);
  add();
  try {
    for (let step = 0; step < DEEDS; step++) {
      for (let n = pick(1, 1, 2, 4); n > 0; n--) {
        deeds[random() < 0.5 ? 'fire' : pick(...names)](pick(...Array(count).keys()));
        if (!staysOpen) note('pass', 110);
        // What ends at once does so within some turns, of which opossum takes more.
        await advance(staysOpen ? 0 : 110, TICK_MS);
      }
      const ms = pick(0, 10, 10, 20, 40, 120, 260);
      note('pass', ms);
      await advance(ms, TICK_MS);
      compareWorlds(worlds, { seed, told });
    }
  } finally {
    each(({ breakers }) => { for (const breaker of breakers) breaker.shutdown(); });
    await advance(80);
  }
}

function compareWorlds (worlds, where) {
  const [theirs, ours] = worlds.map(world => world.look());
  for (const [i, breaker] of ours.entries()) {
    // Jest's timers take no time at all for what is no time; those of Node.js take 1 ms.
    breaker.latencies = breaker.latencies.map((ms, n) => snap(ms, theirs[i].latencies[n], 1));
  }
  // What two breakers do at the same time may come in any order.
  const [told, retold] = worlds.map(({ log }) => log.splice(0).toSorted((a, b) => a[0] - b[0]));
  try {
    expect({ log: retold, breakers: ours }).toEqual({ log: told, breakers: theirs });
  } catch (error) {
    error.message += `\nprogram ${where.seed}:\n${where.told.join('\n')}`;
    throw error;
  }
}

test('whole programs of the drop-in', async () => {
  for (let seed = 1; seed <= PROGRAMS; seed++) await runProgram(seed);
});
