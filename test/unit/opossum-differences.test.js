'use strict';

// What the guide says of opossum and the drop-in, row by row: each is seen of both, except where
// opossum would end the process or never settle.

const fs = require('node:fs');
const path = require('node:path');
const { inspect } = require('node:util');
const Opossum = require('opossum');
const OpossumSemaphore = require('opossum/lib/semaphore');

const DropIn = require('../../lib/primitives/opossum');
const { useVirtualClock } = require('../../lib/testing');

const GUIDE = path.join(__dirname, '..', '..', 'docs', 'migrating.md');

/** The rows of the table: [what opossum does, what the drop-in does]. */
function rowsOfGuide () {
  const guide = fs.readFileSync(GUIDE, 'utf8');
  const [, table] = guide.split('| opossum | `sekering/opossum` | why |\n');
  return table.split('\n\n')[0].split('\n').slice(1)
    .map(row => row.split(' | ').map(cell => cell.replaceAll(/^\| | \|$/g, '')));
}

const ok = async value => value;
const fail = async () => { throw new Error('failed'); };
const settle = promise => promise.then(value => ({ value }), error => ({ error: error.message }));
const turns = async () => { for (let i = 0; i < 20; i++) await null; };

/** What `fire` throws, or what becomes of its promise. */
async function outcome (breaker, ...args) {
  try {
    const promise = breaker.fire(...args);
    return typeof promise?.then === 'function' ? await settle(promise) : { returned: promise };
  } catch (error) {
    return { thrown: error.message };
  }
}

let warnings;
const warned = async () => {
  await new Promise(resolve => setImmediate(resolve));
  return warnings.mock.calls.some(([, options]) => options?.type === 'SekeringWarning');
};

const made = [];
function make (Breaker, action, options) {
  const breaker = new Breaker(action, options);
  made.push(breaker);
  return breaker;
}

/** Waits until a time limit of 1 ms is over. As short a one that began earlier is over, too. */
async function aShortLimitPasses (Breaker) {
  await outcome(make(Breaker, () => new Promise(() => {}), { timeout: 1 }));
}

/** Waits until the circuit is half open, which it is at once after it has opened. */
async function halfOpen (breaker) {
  breaker.close();
  breaker.options.resetTimeout = 1;
  const keepAlive = setInterval(() => {}, 1000);
  const half = new Promise(resolve => { breaker.once('halfOpen', resolve); });
  breaker.open();
  await half;
  clearInterval(keepAlive);
  breaker.options.resetTimeout = 1e6;
}

/** A breaker on a virtual clock that is half open. Only the drop-in can be moved so. */
async function halfOpened (clock, options) {
  const breaker = make(DropIn, kind => kind, { resetTimeout: 100, ...options });
  breaker.open();
  await clock.advance(100);
  expect(breaker.halfOpen).toBe(true);
  return breaker;
}

let clock;
beforeEach(() => {
  warnings = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
});
afterEach(() => {
  warnings.mockRestore();
  for (const breaker of made.splice(0)) breaker.shutdown();
  clock?.restore();
  clock = undefined;
});

const undefinedThen = /undefined \(reading 'then'\)/;

/** By opossum's behaviour: `see` of a breaker, and what that is there and here. */
const ROWS = {
  'an action that returns `undefined`, and no promise, has failed': {
    see: Breaker => outcome(make(Breaker, () => {})),
    there: { error: expect.stringMatching(undefinedThen) },
    here: { value: undefined },
  },
  'a thenable without `catch` has failed': {
    see: Breaker => outcome(make(Breaker, () => ({
      then (resolve) { setImmediate(resolve, 7); },
    }))),
    there: { error: expect.stringContaining("reading 'catch'") },
    here: { value: 7 },
  },
  'a listener, or an overridden `emit`, that throws makes a success a failure': {
    see: async Breaker => {
      const breaker = make(Breaker, ok);
      breaker.on('success', () => { throw new Error('of the listener'); });
      const listened = await outcome(breaker, 1);
      class Loud extends Breaker {
        emit (event, ...args) {
          if (event === 'success') throw new Error('of emit');
          return super.emit(event, ...args);
        }
      }
      return [listened, await outcome(make(Loud, ok), 1), await warned()];
    },
    there: [{ error: 'of the listener' }, { error: 'of emit' }, false],
    here: [{ value: 1 }, { value: 1 }, true],
  },
  'an `errorFilter` that throws, or is no function, leaves the call unsettled': {
    see: async Breaker => {
      const throws = make(Breaker, fail, { errorFilter: () => { throw new Error('of it'); } });
      const none = make(Breaker, fail, { errorFilter: 'none' });
      return [await outcome(throws), await outcome(none), throws.stats.failures, await warned()];
    },
    here: [{ error: 'failed' }, { error: 'failed' }, 1, true],
  },
  'a probe that fails during warm-up leaves the circuit half open for ever': {
    see: async () => {
      clock = useVirtualClock();
      const breaker = await halfOpened(clock, { allowWarmUp: true });
      await outcome(breaker, Promise.reject(new Error('probe')));
      return [breaker.warmUp, breaker.opened];
    },
    here: [true, true],
  },
  'a probe that never settles, without a `timeout`, leaves the circuit half open for ever': {
    see: async () => {
      clock = useVirtualClock();
      const breaker = await halfOpened(clock, { timeout: false, resetTimeout: 100 });
      breaker.fire(new Promise(() => {}));
      await clock.advance(99);
      const before = await outcome(breaker, 1);
      await clock.advance(2);
      return [before, await outcome(breaker, 2), breaker.closed];
    },
    here: [{ error: 'Breaker is open' }, { value: 2 }, true],
  },
  'a call from before the circuit moved closes a half-open one, or opens it': {
    see: async Breaker => {
      const calls = [];
      const breaker = make(Breaker, () => new Promise((resolve, reject) => {
        calls.push({ resolve, reject });
      }), { state: { closed: true } });
      const [late, lost] = [outcome(breaker), outcome(breaker)];
      await halfOpen(breaker);
      calls[0].resolve('late');
      const seen = [await late, breaker.closed];
      await halfOpen(breaker);
      calls[1].reject(new Error('lost'));
      return [...seen, await lost, breaker.opened, breaker.stats.successes, breaker.stats.failures];
    },
    there: [{ value: 'late' }, true, { error: 'lost' }, true, 1, 1],
    here: [{ value: 'late' }, false, { error: 'lost' }, false, 1, 1],
  },
  'calls that `capacity` rejects are failures, and open the circuit': {
    see: async Breaker => {
      const breaker = make(Breaker, ok, { capacity: 0 });
      const { error } = await outcome(breaker, 1);
      return [error, breaker.stats.failures, breaker.stats.semaphoreRejections, breaker.opened];
    },
    there: ['Semaphore locked', 1, 1, true],
    here: ['Semaphore locked', 0, 1, false],
  },
  'a probe that `capacity` rejects opens the circuit again': {
    see: async Breaker => {
      const breaker = make(Breaker, ok, { capacity: 1 });
      await halfOpen(breaker);
      breaker.semaphore.test();
      const { error } = await outcome(breaker, 1);
      breaker.semaphore.release();
      return [error, breaker.halfOpen, breaker.pendingClose];
    },
    there: ['Semaphore locked', false, false],
    here: ['Semaphore locked', true, true],
  },
  'later calls share one that `capacity` rejected': {
    see: async Breaker => {
      const breaker = make(Breaker, ok,
        { coalesce: true, capacity: 1, cacheGetKey: x => x, errorThresholdPercentage: 100 });
      breaker.semaphore.test();
      await outcome(breaker, 'a');
      breaker.semaphore.release();
      return outcome(breaker, 'a');
    },
    there: { error: 'Semaphore locked' },
    here: { value: 'a' },
  },
  "with `coalesceResetOn: ['error']`, later calls share one that threw synchronously": {
    see: async Breaker => {
      let calls = 0;
      const breaker = make(Breaker, () => { throw new Error(`call ${++calls}`); },
        { coalesce: true, coalesceResetOn: ['error'], errorThresholdPercentage: 100 });
      return [await outcome(breaker, 1), await outcome(breaker, 1)];
    },
    there: [{ error: 'call 1' }, { error: 'call 1' }],
    here: [{ error: 'call 1' }, { error: 'call 2' }],
  },
  '`lastTimerAt` of `toJSON()` is when the breaker was made': {
    see: Breaker => {
      const breaker = make(Breaker, ok);
      const before = breaker.toJSON().state.lastTimerAt;
      breaker.open();
      return [typeof before, typeof breaker.toJSON().state.lastTimerAt];
    },
    there: ['number', 'number'],
    here: ['undefined', 'number'],
  },
  '`enabled: false` does nothing beside a `state`': {
    see: Breaker => make(Breaker, ok, { enabled: false, state: { closed: true } }).enabled,
    there: true,
    here: false,
  },
  '`breaker.options` is the object that was given, which gets the defaults': {
    see: Breaker => {
      const options = { name: 'a' };
      const breaker = make(Breaker, ok, options);
      return [breaker.options === options, Object.keys(options).length > 1,
        { ...breaker.options }.timeout];
    },
    there: [true, true, 10000],
    here: [false, false, 10000],
  },
  'breakers that are made from one object of options share a cache': {
    see: async Breaker => {
      const options = { cache: true };
      const [one, other] = ['one', 'other'].map(x => make(Breaker, async () => x, options));
      return [await one.fire(1), await other.fire(1)];
    },
    there: ['one', 'one'],
    here: ['one', 'other'],
  },
  'counts that are given as `status` get a window of 10 s': {
    see: Breaker => {
      const { status } = make(Breaker, ok, { status: { fires: 3 }, rollingCountBuckets: 4 });
      return [status.stats.fires, status.window.length];
    },
    there: [3, 10],
    here: [3, 4],
  },
  'an asynchronous `cacheTransport` always hits': {
    see: Breaker => outcome(make(Breaker, ok, {
      cache: true, cacheTransport: { get: async () => undefined, set () {}, flush () {} },
    }), 5),
    there: { value: undefined },
    here: { value: 5 },
  },
  'a `cacheTransport` that rejects, or whose `set` throws, fails the call or ends the process': {
    see: async Breaker => {
      const broken = { set () { throw new Error('of set'); }, flush () {} };
      const rejecting = make(Breaker, ok,
        { cache: true, cacheTransport: { ...broken, get: () => settleLater() } });
      const missing = make(Breaker, ok,
        { cache: true, cacheTransport: { ...broken, get: () => undefined } });
      return [await outcome(rejecting, 1), await outcome(missing, 2), missing.stats.failures,
        await warned()];
      async function settleLater () { throw new Error('of get'); }
    },
    there: [{ error: 'of get' }, { value: 2 }, 1, false],
    here: [{ value: 1 }, { value: 2 }, 0, true],
  },
  'what a `cacheTransport` returns is returned as it is': {
    see: Breaker => outcome(make(Breaker, ok,
      { cache: true, cacheTransport: { get: () => 'kept', set () {}, flush () {} } })),
    there: { returned: 'kept' },
    here: { value: 'kept' },
  },
  '`0`, `\'\'` and `false` of a `cacheTransport` are a miss': {
    see: async Breaker => {
      const breaker = make(Breaker, ok,
        { cache: true, cacheTransport: { get: () => 0, set () {}, flush () {} } });
      return outcome(breaker, 5);
    },
    there: { value: 5 },
    here: { value: 0 },
  },
  'a `cacheGetKey`, or a `get` of a `cacheTransport`, that throws makes `fire()` throw': {
    see: async Breaker => {
      const throws = message => () => { throw new Error(message); };
      return [
        await outcome(make(Breaker, ok, { cache: true, cacheGetKey: throws('of the key') })),
        await outcome(make(Breaker, ok,
          { cache: true, cacheTransport: { get: throws('of get'), set () {}, flush () {} } })),
      ];
    },
    there: [{ thrown: 'of the key' }, { thrown: 'of get' }],
    here: [{ error: 'of the key' }, { error: 'of get' }],
  },
  '`options.cache` or `options.coalesce` that is turned on later makes `fire()` throw': {
    see: async Breaker => {
      const [cached, coalesced] = [make(Breaker, ok), make(Breaker, ok)];
      cached.options.cache = true;
      coalesced.options.coalesce = true;
      const seen = [await outcome(cached, 1), await outcome(coalesced, 2)];
      cached.options.cache = false; // opossum's shutdown() would throw, too.
      return seen;
    },
    there: [{ thrown: expect.stringContaining("'get'") },
      { thrown: expect.stringContaining("'get'") }],
    here: [{ value: 1 }, { value: 2 }],
  },
  'a disabled breaker throws what the action throws, and when it returns `undefined`': {
    see: async Breaker => {
      const options = { enabled: false };
      return [
        await outcome(make(Breaker, () => { throw new Error('thrown'); }, options)),
        await outcome(make(Breaker, () => {}, options)),
      ];
    },
    there: [{ thrown: 'thrown' }, { thrown: expect.stringMatching(undefinedThen) }],
    here: [{ error: 'thrown' }, { value: undefined }],
  },
  'a health check goes on after `shutdown()`, and may open the circuit': {
    see: async () => {
      clock = useVirtualClock();
      let checks = 0;
      const breaker = make(DropIn, ok);
      breaker.healthCheck(async () => { checks++; throw new Error('sick'); }, 100);
      breaker.shutdown();
      await clock.advance(1000);
      return [checks, breaker.isShutdown];
    },
    here: [1, true],
  },
  'a health check that throws, or returns no promise, makes `healthCheck()` or its timer throw': {
    see: async Breaker => {
      const seen = [];
      for (const check of [() => { throw new Error('sick'); }, () => 'well']) {
        const breaker = make(Breaker, ok);
        breaker.on('healthCheckFailed', error => seen.push(error.message));
        try {
          breaker.healthCheck(check, 1e6);
        } catch (error) {
          seen.push(error.constructor.name);
        }
        await turns();
        seen.push(breaker.opened);
      }
      return seen;
    },
    // Jest's own Error is another class.
    there: ['Error', false, 'TypeError', false],
    here: ['sick', true, false],
  },
  'a timeout aborts all calls in flight, by the one `abortController`': {
    see: async Breaker => {
      const signals = [];
      const breaker = make(Breaker, function () {
        signals.push(breaker.getSignal());
        return new Promise(() => {});
      }, { timeout: 1, abortController: new AbortController() });
      const calls = [outcome(breaker), outcome(breaker)];
      const keepAlive = setInterval(() => {}, 1000);
      await Promise.all(calls);
      clearInterval(keepAlive);
      return [signals[0] === signals[1], breaker.options.abortController.signal.aborted,
        signals.every(signal => signal.aborted)];
    },
    there: [true, true, true],
    here: [false, true, true],
  },
  'times of 2³¹ ms and more, and `Infinity`, are over at once': {
    see: async Breaker => {
      let end;
      const breaker = make(Breaker, () => new Promise(resolve => { end = resolve; }),
        { errorThresholdPercentage: 100 });
      const ends = [];
      for (const timeout of [2 ** 31, Infinity]) {
        breaker.options.timeout = timeout;
        const ended = outcome(breaker);
        await aShortLimitPasses(Breaker);
        end(1);
        ends.push(await ended);
      }
      return ends;
    },
    there: [{ error: 'Timed out after 2147483648ms' }, { error: 'Timed out after Infinityms' }],
    here: [{ value: 1 }, { value: 1 }],
  },
  'an error cannot change how long the circuit stays open': {
    see: async Breaker => {
      const error = Object.assign(new Error('busy'), { retryAfter: 3_600_000 });
      const breaker = make(Breaker, () => Promise.reject(error), { resetTimeout: 1 });
      await outcome(breaker);
      // One that opens later, for as short a time, is half open later.
      await halfOpen(make(Breaker, ok));
      return breaker.halfOpen;
    },
    there: true,
    here: false,
  },
  '`removeAllListeners()` also ends the counting, and an open circuit stays open for ever': {
    see: async Breaker => {
      const breaker = make(Breaker, ok);
      let seen = 0;
      breaker.on('success', () => seen++);
      breaker.removeAllListeners();
      await breaker.fire(1);
      return [seen, breaker.stats.fires];
    },
    there: [0, 0],
    here: [0, 1],
  },
  '`listeners()` and `listenerCount()` include opossum\'s own': {
    see: Breaker => {
      const breaker = make(Breaker, ok).on('success', () => {});
      return [breaker.listenerCount('success'), breaker.listeners('open').length];
    },
    there: [3, 2],
    here: [1, 0],
  },
  'an event that a program emits counts, and moves the circuit': {
    see: Breaker => {
      const breaker = make(Breaker, ok);
      breaker.emit('failure', new Error('of the program'), 5);
      return breaker.stats.failures;
    },
    there: 1,
    here: 0,
  },
  'an event that an own `emit` keeps to itself does not count': {
    see: async Breaker => {
      class Silent extends Breaker {
        emit () { return false; }
      }
      const breaker = make(Silent, ok);
      await breaker.fire(1);
      return [breaker.stats.fires, breaker.stats.successes];
    },
    there: [0, 0],
    here: [1, 1],
  },
  'an `emit` that is replaced while a call is in flight sees its success': {
    see: async Breaker => {
      const breaker = make(Breaker, ok);
      const call = breaker.fire(1);
      const { emit } = breaker;
      const events = [];
      breaker.emit = function (...args) {
        events.push(args[0]);
        return emit.apply(this, args);
      };
      await call;
      await breaker.fire(2);
      return events;
    },
    there: ['success', 'fire', 'success'],
    here: ['fire', 'success'],
  },
  'a breaker counts by `status.increment()`, which can be replaced': {
    see: async Breaker => {
      const breaker = make(Breaker, ok);
      const counted = [];
      breaker.status.increment = name => counted.push(name);
      await breaker.fire(1);
      return counted;
    },
    there: ['fires', 'successes'],
    here: [],
  },
  'each failure above the threshold calls `open()`, also while the circuit is open': {
    see: async Breaker => {
      const breaker = make(Breaker, fail, { errorThresholdPercentage: 1 });
      let calls = 0;
      breaker.open = function () {
        calls++;
        Breaker.prototype.open.call(this);
      };
      await Promise.all([outcome(breaker), outcome(breaker)]);
      return calls;
    },
    there: 2,
    here: 1,
  },
  'a rejection, and a result that is no promise, count some turns of promises later': {
    see: async Breaker => {
      const breaker = make(Breaker, x => x);
      const seen = [];
      breaker.on('success', () => seen.push('success'));
      const call = breaker.fire(1);
      seen.push('returned');
      await call;
      return seen;
    },
    there: ['returned', 'success'],
    here: ['success', 'returned'],
  },
  'each call that an open circuit rejects has its own error': {
    see: async Breaker => {
      const breaker = make(Breaker, ok);
      breaker.open();
      const errors = [await breaker.fire().catch(e => e), await breaker.fire().catch(e => e)];
      return [errors[0] === errors[1], errors[0].code];
    },
    there: [false, 'EOPENBREAKER'],
    here: [true, 'EOPENBREAKER'],
  },
  'errors of the breaker are of the class `Error`': {
    see: async Breaker => {
      const breaker = make(Breaker, ok);
      breaker.shutdown();
      const error = await breaker.fire().catch(thrown => thrown);
      return [String(error), error.name, error instanceof Error,
        Object.getPrototypeOf(error) === Error.prototype];
    },
    there: ['Error: The circuit has been shutdown.', 'Error', true, true],
    here: ['Error: The circuit has been shutdown.', 'Error', true, false],
  },
  'latencies are stored one by one, and sorted at every failure and every read of `stats`': {
    see: Breaker => {
      const { status } = make(Breaker, ok);
      status.increment('successes', 63);
      status.increment('successes', 1003);
      return status.stats.latencyTimes;
    },
    there: [63, 1003],
    here: [63, expect.closeTo(1003, -1.5)],
  },
  '`latencyTimes` of a bucket can be changed, and is filled without percentiles too': {
    see: Breaker => {
      const { status } = make(Breaker, ok);
      status.window[0].latencyTimes.push(5);
      const without = make(Breaker, ok, { rollingPercentilesEnabled: false }).status;
      without.increment('successes', 5);
      return [status.stats.latencyTimes, without.window[0].latencyTimes];
    },
    there: [[5], [5]],
    here: [[], []],
  },
  'a window may have any number of buckets': {
    see: async Breaker => {
      const { status } = make(Breaker, ok, { rollingCountBuckets: 2000, rollingCountTimeout: 4e6 });
      return status.window.length;
    },
    there: 2000,
    here: 1000,
  },
  '`rollingCountBuckets` that is text but no number fails at the first call': {
    see: async Breaker => {
      try {
        const breaker = make(Breaker, ok, { rollingCountBuckets: 'some' });
        return await outcome(breaker, 1);
      } catch (error) {
        return error.code;
      }
    },
    there: { thrown: expect.any(String) },
    here: 'ERR_INVALID_OPTION',
  },
  '`status` emits `snapshot` from the start': {
    see: async () => {
      clock = useVirtualClock();
      const breaker = make(DropIn, ok, { rollingCountTimeout: 1000, rollingCountBuckets: 10 });
      await clock.advance(50);
      let snapshots = 0;
      breaker.status.on('snapshot', () => snapshots++);
      await clock.advance(99);
      const before = snapshots;
      await clock.advance(1);
      return [before, snapshots];
    },
    here: [0, 1],
  },
  'after `shutdown()` the counts stay for ever': {
    see: async () => {
      clock = useVirtualClock();
      const breaker = make(DropIn, ok, { rollingCountTimeout: 1000 });
      await breaker.fire(1);
      breaker.shutdown();
      const before = breaker.stats.fires;
      await clock.advance(1000);
      return [before, breaker.stats.fires];
    },
    here: [1, 0],
  },
  'without `capacity`, `semaphore.count` is less for each call in flight': {
    see: async Breaker => {
      const breaker = make(Breaker, ok);
      const first = breaker.fire(1);
      const counts = [breaker.semaphore.count];
      const second = breaker.fire(2);
      counts.push(breaker.semaphore.count);
      await Promise.all([first, second]);
      return counts.map(count => Number.MAX_SAFE_INTEGER - count);
    },
    there: [1, 2],
    here: [0, 1],
  },
  'a `Semaphore`: a `take` that times out removes the one that has waited longest': {
    see: async Breaker => {
      const semaphore = (Breaker === Opossum ? OpossumSemaphore : DropIn.Semaphore)(1);
      semaphore.test();
      let first = false;
      semaphore.take().then(() => { first = true; });
      const second = await settle(semaphore.take(1));
      semaphore.release();
      await turns();
      return [first, second.error];
    },
    there: [false, 'Timed out after 1ms'],
    here: [true, 'Timed out after 1ms'],
  },
  'a `Semaphore`: more `release()` than `take()` add permits': {
    see: Breaker => {
      const { semaphore } = make(Breaker, ok, { capacity: 1 });
      semaphore.release();
      return semaphore.count;
    },
    there: 2,
    here: 1,
  },
  '`Semaphore` and `MemoryCache` take anything for a number': {
    see: Breaker => {
      const { Semaphore, MemoryCache } = Breaker === Opossum
        ? { Semaphore: OpossumSemaphore, MemoryCache: require('opossum/lib/cache') }
        : Breaker;
      return [() => Semaphore('some'), () => new MemoryCache('some')].map(construct => {
        try {
          return typeof construct();
        } catch (error) {
          return error.code;
        }
      });
    },
    there: ['object', 'object'],
    here: ['ERR_INVALID_OPTION', 'ERR_INVALID_OPTION'],
  },
  'what is private has symbols for names': {
    see: Breaker => {
      const names = Object.getOwnPropertyNames(make(Breaker, ok));
      return names.some(name => /^_[a-z]+$/.test(name) && !name.startsWith('_events'));
    },
    there: false,
    here: true,
  },
  'the class has no `run`, `reset`, `breakers`': {
    see: async Breaker => {
      const breaker = make(Breaker, ok);
      if (breaker.run === undefined) return [breaker.reset, Breaker.breakers];
      await settle(breaker.run(fail));
      breaker.open();
      breaker.reset();
      return [breaker.closed, breaker.stats.fires, DropIn.breakers().includes(breaker)];
    },
    there: [undefined, undefined],
    here: [true, 0, true],
  },
};

test('the rows of the guide are those that are tested, each with its reason', () => {
  const rows = rowsOfGuide();
  expect(rows.map(([there]) => there)).toEqual(Object.keys(ROWS));
  for (const [there, here, why] of rows) {
    expect([there, here?.length > 5, why?.length > 5]).toEqual([there, true, true]);
  }
});

describe.each(Object.entries(ROWS))('%s', (name, { see, there, here }) => {
  if (there !== undefined) {
    test('opossum', async () => expect(await see(Opossum)).toEqual(there));
  }
  test('the drop-in', async () => expect(await see(DropIn)).toEqual(here));
});

describe.each([['opossum', Opossum], ['the drop-in', DropIn]])('alike: %s', (_, Breaker) => {
  test('a program sees the fields that opossum has', () => {
    const breaker = make(Breaker, ok);
    const keys = ['_events', '_eventsCount', '_maxListeners', 'options', 'semaphore', 'action'];
    expect(Object.keys(breaker)).toEqual(keys);
    const enumerated = [];
    for (const key in breaker) enumerated.push(key);
    expect(enumerated).toEqual(expect.arrayContaining(keys));
    expect(inspect(breaker)).toMatch(/^CircuitBreaker \{/);
    expect(inspect(breaker.status.window[0])).toContain('failures: 0');
    expect(inspect(breaker.options)).toContain('timeout: 10000');
  });

  test('the options can be listed, copied and written as JSON', () => {
    const breaker = make(Breaker, ok, { name: 'a', odd: 1 });
    const { options } = breaker;
    expect(Object.keys(options)).toEqual([
      'name', 'odd', 'timeout', 'resetTimeout', 'errorThresholdPercentage', 'rollingCountTimeout',
      'rollingCountBuckets', 'rollingPercentilesEnabled', 'capacity', 'errorFilter', 'cacheTTL',
      'cacheGetKey', 'enableSnapshots', 'rotateBucketController', 'coalesce', 'coalesceTTL',
      'coalesceResetOn',
    ]);
    Object.assign(options, { timeout: 20, cache: false, other: 2 });
    expect({ ...options }).toMatchObject({ name: 'a', timeout: 20, cache: false, other: 2 });
    expect(JSON.parse(JSON.stringify(options))).toMatchObject({ timeout: 20, coalesceTTL: 10000 });
  });

  test.each([
    ['a negative time', -5], ['NaN', NaN],
    ['text', '1'], ['text that is no number', 'soon'], ['null', null], ['false', false], ['0', 0],
    ['no text', ''],
  ])('timeout: %s', async (name, timeout) => {
    const noLimit = !timeout;
    let end;
    const breaker = make(Breaker, () => new Promise(resolve => { end = resolve; }), { timeout: 1 });
    breaker.options.timeout = timeout;
    const keepAlive = setInterval(() => {}, 1000);
    const ended = outcome(breaker);
    if (noLimit) {
      await aShortLimitPasses(Breaker);
      end('done');
    }
    expect(await ended)
      .toEqual(noLimit ? { value: 'done' } : { error: `Timed out after ${timeout}ms` });
    clearInterval(keepAlive);
  });

  test.each([[-5], [NaN], ['1'], ['soon'], [null], [false], [0], [{ initial: 5 }]])(
    'resetTimeout: %p', async resetTimeout => {
      const breaker = make(Breaker, ok);
      breaker.options.resetTimeout = resetTimeout;
      const half = new Promise(resolve => { breaker.once('halfOpen', resolve); });
      const keepAlive = setInterval(() => {}, 1000);
      breaker.open();
      expect(await half).toBe(resetTimeout);
      expect(await outcome(breaker, 1)).toEqual({ value: 1 });
      clearInterval(keepAlive);
    });

  test.each([['open'], ['close'], ['emit'], ['fallback'], ['call'], ['fire'], ['enable']])(
    'a method of the class that is patched while breakers exist is called: %s', async method => {
      class Own extends Breaker {}
      const breaker = make(Own, async fails => { if (fails) throw new Error('failed'); });
      const calls = [];
      Own.prototype[method] = function (...args) {
        calls.push(method);
        return Breaker.prototype[method].apply(this, args);
      };
      breaker.fallback(() => 'instead');
      await breaker.fire(true);
      expect(breaker.opened).toBe(true);
      breaker.enable();
      breaker.close();
      expect(calls.length).toBeGreaterThan(0);
    });

  test('an own open() or close() that does nothing leaves the circuit as it is', async () => {
    class Cautious extends Breaker {
      open () { if (this.mayMove) super.open(); }
      close () { if (this.mayMove) super.close(); }
    }
    const breaker = make(Cautious, async fails => { if (fails) throw new Error('failed'); });
    await outcome(breaker, true);
    expect(breaker.closed).toBe(true);
    breaker.mayMove = true;
    await halfOpen(breaker);
    breaker.mayMove = false;
    await breaker.fire(false);
    expect(breaker.halfOpen).toBe(true);
    breaker.mayMove = true;
    breaker.close();
    await halfOpen(breaker);
    await breaker.fire(false);
    expect(breaker.closed).toBe(true);
  });

  test('an own emit sees every event, the success that closes the circuit first', async () => {
    const events = [];
    class Told extends Breaker {
      emit (event, ...args) {
        events.push(event);
        return super.emit(event, ...args);
      }
    }
    const breaker = make(Told, async fails => { if (fails) throw new Error('failed'); });
    breaker.on('close', () => events.push('listener of close'));
    breaker.on('success', () => events.push('listener of success'));
    await outcome(breaker, true);
    await halfOpen(breaker);
    events.length = 0;
    await breaker.fire(false);
    expect(events).toEqual(['fire', 'success', 'close', 'listener of close',
      'listener of success']);
  });

  test('two breakers that share a Status trip together', async () => {
    const one = make(Breaker, fail, { errorThresholdPercentage: 100 });
    const other = make(Breaker, fail, { status: one.status, errorThresholdPercentage: 60 });
    expect(other.status).toBe(one.status);
    one.status.window[0].fires = 3;
    await outcome(one);
    await outcome(one);
    expect([one.opened, other.opened, other.stats.failures]).toEqual([false, false, 2]);
    one.status.window[0].failures += 8;
    await outcome(other);
    expect([one.opened, other.opened, one.stats.failures]).toEqual([false, true, 11]);
  });
});

describe('what a program may do to a breaker of the drop-in', () => {
  const hang = () => new Promise(() => {});
  const failing = async () => { throw new Error('failed'); };

  test('a timeout that cannot become text ends its call, and no other waits', async () => {
    const odd = { valueOf: () => 20, toString () { throw new Error('no text'); } };
    const calls = [new DropIn(hang, { timeout: odd }), new DropIn(hang, { timeout: 20 })]
      .map(breaker => breaker.fire());
    const ends = await Promise.allSettled(calls);
    expect(ends.map(({ reason }) => reason.code)).toEqual(['ETIMEDOUT', 'ETIMEDOUT']);
  });

  test('a status of its own loses no timeout', async () => {
    class Named extends DropIn { get status () { return 'up'; } }
    const breaker = new Named(hang, { timeout: 10 });
    breaker.on('timeout', () => {});
    breaker.fallback(() => 'instead');
    expect(await breaker.fire()).toBe('instead');
    expect([breaker.opened, breaker.stats.timeouts, breaker.stats.failures]).toEqual([true, 1, 1]);
    breaker.close();
  });

  test('through its own open, a circuit stays open for as long as a Retry-After asks', async () => {
    const busy = async () => {
      throw Object.assign(new Error('busy'), { headers: { 'retry-after': '60' } });
    };
    const breaker = new DropIn(busy, { resetTimeout: 1 });
    const { open } = breaker;
    breaker.open = function () { return open.call(this); };
    await breaker.fire().catch(() => {});
    const after = new DropIn(failing, { resetTimeout: 1 });
    after.open();
    await new Promise(resolve => { after.on('halfOpen', resolve); });
    expect(breaker.opened).toBe(true);
    breaker.close();
    after.close();
  });

  test('an open or close that throws keeps neither fallback nor listeners waiting', async () => {
    const warned = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const throwing = () => { throw new Error('mine'); };
    const opens = new DropIn(failing);
    opens.open = throwing;
    opens.fallback(() => 'instead');
    expect(await opens.fire()).toBe('instead');
    const closes = new DropIn(async () => 1, { resetTimeout: 1 });
    closes.close = throwing;
    closes.open();
    await new Promise(resolve => { closes.on('halfOpen', resolve); });
    const heard = jest.fn();
    closes.on('success', heard);
    expect(await closes.fire()).toBe(1);
    expect(heard).toHaveBeenCalledTimes(1);
    expect(warned).toHaveBeenCalledTimes(2);
    warned.mockRestore();
    delete closes.close;
    closes.close();
  });

  test('its status becomes JSON, and counts stay within what the core has', () => {
    const breaker = new DropIn(failing);
    breaker.status.on('snapshot', () => {});
    expect(JSON.parse(JSON.stringify(breaker.status))).toMatchObject({ enableSnapshots: true });
    const [bucket] = breaker.status.window;
    bucket.fires = 1e12;
    expect(bucket.fires).toBe(2 ** 32 - 1);
    bucket.fires = Infinity;
    expect(bucket.fires).toBe(2 ** 32 - 1);
    breaker.shutdown();
  });
});
