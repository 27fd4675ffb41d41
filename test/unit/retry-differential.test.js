'use strict';

// Compares our drop-ins with async-retry and retry. Both run random programs on the same fake
// timers, and must leave the same log: attempts, delays, arguments, results, pending timers.
// Intended differences are left out; docs/migrating.md lists them.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { inspect } = require('node:util');

const asyncRetry = require('async-retry');
const operations = require('retry');

const ourAsyncRetry = require('../../lib/primitives/async-retry');
const ourOperations = require('../../lib/primitives/operation');
const { clearTimer, setTimer } = require('../../lib/base/clock');

// Thousands take a minute. A failure shows the number of its program.
const PROGRAMS = Number(process.env.SEKERING_STORIES ?? 150);
const FIRINGS_MAX = 25;
const START_MS = 1_750_000_000_000;

/** A sequence of numbers from 0 to 1 that is the same each time. */
function numbers (seed) {
  let state = Math.imul(seed, 2654435761) >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const turn = () => new Promise(resolve => { setImmediate(resolve); });
const pick = (random, list) => list[Math.floor(random() * list.length)];
const times = (n, make) => Array.from({ length: n }, (_, i) => make(i));

// ---- Timers as those of Node.js, but the test says when time passes ----------------------------

let pending;
let now;
let real;

beforeEach(() => {
  real = { setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout };
  jest.useFakeTimers({ doNotFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate',
    'setInterval', 'clearInterval', 'nextTick', 'queueMicrotask', 'performance', 'hrtime'] });
  globalThis.setTimeout = (callback, after, ...args) => {
    const ms = after * 1;
    const delay = ms >= 1 && ms < 2 ** 31 ? Math.trunc(ms) : 1;
    const timer = { at: now + delay, ref: true, run: () => callback(...args) };
    pending.push(timer);
    return Object.assign(timer, { unref () { timer.ref = false; return timer; } });
  };
  globalThis.clearTimeout = timer => { pending = pending.filter(other => other !== timer); };
});

afterEach(() => {
  Object.assign(globalThis, real);
  jest.useRealTimers();
  jest.restoreAllMocks();
});

/** Calls back when so much of the test's own time has passed. */
const afterMs = (ms, callback, ...args) => { setTimeout(callback, ms, ...args); };

async function begin (seed) {
  // Ends what the last program left behind.
  for (let i = 0; i < 5; i++) await turn();
  pending = [];
  setNow(0);
  jest.spyOn(Math, 'random').mockImplementation(numbers(seed));
}

function setNow (ms) {
  now = ms;
  jest.setSystemTime(START_MS + ms);
}

/** Fires the timers one by one, up to a time. */
async function advance (log, until = Infinity) {
  for (let i = 0; i < FIRINGS_MAX; i++) {
    await turn();
    const next = pending.reduce((a, b) => (a === undefined || b.at < a.at ? b : a), undefined);
    if (next === undefined || next.at > until) break;
    clearTimeout(next);
    setNow(next.at);
    log.push(`${now} timer${next.ref ? '' : ' unref'}`);
    try {
      next.run();
    } catch (error) {
      log.push(`thrown ${error.name}`);
    }
  }
  await turn();
  if (until !== Infinity) setNow(Math.max(now, until));
}

/** The same program, run by one after the other. */
async function expectAlike (seed, makeProgram, run, theirs, ours) {
  const logs = [];
  for (const implementation of [theirs, ours]) {
    await begin(seed);
    logs.push([...await run(implementation, makeProgram(numbers(seed)))]);
  }
  const program = inspect(makeProgram(numbers(seed)), { depth: 4 });
  expect({ seed, program, log: logs[1] }).toEqual({ seed, program, log: logs[0] });
  return logs[0];
}

test('the fake timers take delays as those of Node.js, and our clock uses them', async () => {
  await begin(1);
  const log = [];
  clearTimer(setTimer(() => log.push('cleared'), 5));
  for (const ms of [5, '7', NaN, -1, 2 ** 31, [9]]) setTimeout(() => log.push(ms), ms);
  setTimer(() => log.push('ours'), 6, false);
  await advance(log);
  expect(log).toEqual(['1 timer', NaN, '1 timer', -1, '1 timer', 2 ** 31, '5 timer', 5,
    '6 timer unref', 'ours', '7 timer', '7', '9 timer', [9]]);
});

// ---- Options -----------------------------------------------------------------------------------

const ODD = ['x', '', NaN, null, undefined, true, {}];
const VALUES = {
  retries: [0, 1, 2, 3, 5, 1.5, '3', -1, [2], ...ODD],
  factor: [1, 2, 1.5, 0.5, 3, '2', 0, -1, -2, ...ODD],
  minTimeout: [0, 1, 10, 100, 1000, 7.5, '50', -5, ...ODD],
  maxTimeout: [50, 1000, 60_000, '700', 0, -1, Infinity, ...ODD],
  randomize: [true, false, 'yes', 0, undefined],
  unref: [true, false, 1, undefined],
  maxRetryTime: [100, 5000, '150', 0, -1, Infinity, ...ODD],
  forever: [false, 0, undefined, true, 'yes'],
};
// Options that only sekering has: the drop-ins ignore them.
const OWN = {
  strategy: 'fixed', jitter: 'full', shouldRetry: () => false, signal: AbortSignal.abort(),
  attemptTimeout: 1, maxRetryAfter: 1, budget: null, retryTimeout: 2000,
};
const PRIMITIVES = [null, undefined, false, 0, ''];

function makeOptions (random) {
  const kind = random();
  if (kind < 0.08) return pick(random, PRIMITIVES);
  if (kind < 0.2) {
    const delays = times(Math.floor(random() * 5),
      () => pick(random, [0, 5, 80, '20', -3, null, 7]));
    return random() < 0.2 ? Object.assign(delays, { forever: true, unref: true }) : delays;
  }
  const options = {};
  // Mostly valid values, so that few programs end at once.
  const isOdd = random() < 0.5;
  for (const [name, values] of Object.entries(VALUES)) {
    if (random() < 0.55) continue;
    options[name] = pick(random, isOdd ? values : values.slice(0, 3));
  }
  if (random() < 0.2) Object.assign(options, OWN);
  return random() < 0.1 ? Object.create(options) : options;
}

// ---- retry.timeouts and retry.createTimeout ----------------------------------------------------

/**
 * The result of a call, or the name of its error. The message is included only for intended errors.
 */
function outcomeOf (call) {
  try {
    return call();
  } catch (error) {
    return error.name === 'TypeError' ? 'TypeError' : error.message;
  }
}

test('delays are the same', () => {
  let errors = 0;
  for (let seed = 1; seed <= 4 * PROGRAMS; seed++) {
    const random = numbers(seed);
    const options = random() < 0.05
      ? pick(random, [5, 'text', true, () => {}])
      : makeOptions(random);
    const attempt = pick(random, [0, 1, 2, 5, 0.5, -1, '2', undefined]);
    const [theirs, ours] = [operations, ourOperations].map(module => {
      jest.spyOn(Math, 'random').mockImplementation(numbers(seed));
      return [outcomeOf(() => module.timeouts(options)),
        outcomeOf(() => module.createTimeout(attempt, options))];
    });
    expect({ seed, options, found: ours }).toEqual({ seed, options, found: theirs });
    if (theirs[0] === 'minTimeout is greater than maxTimeout') errors++;
  }
  expect(errors).toBeGreaterThan(0);
});

// ---- async-retry -------------------------------------------------------------------------------

const ENDS = {
  return: () => 'value',
  resolve: async () => 'value',
  thenable: () => ({ then: yes => yes('value') }),
  later: async () => { await turn(); return 'value'; },
  never: () => new Promise(() => {}),
  slow: () => new Promise(resolve => { afterMs(40, resolve, 'value'); }),
  throw: (bail, error) => { throw error; },
  reject: async (bail, error) => { throw error; },
  rejectLater: async (bail, error) => { await turn(); throw error; },
  rejectSlowly: (bail, error) => new Promise((_, no) => { afterMs(60, no, error); }),
  thenableRejects: () => ({ then: (yes, no) => no(new Error('thenable')) }),
  thenableThrows: () => ({ then () { throw new Error('then'); } }),
  errorBails: async (bail, error) => { throw Object.assign(Object(error), { bail: true }); },
  bail: (bail, error) => bail(error),
  bailNothing: async bail => bail(),
  bailAndReturn: (bail, error) => { bail(error); return 'value'; },
  bailAndThrow: (bail, error) => { bail(error); throw new Error('after bail'); },
  bailLate: async (bail, error) => { await turn(); bail(error); },
  bailInThePause: async (bail, error) => { afterMs(3, bail, error); throw error; },
};
const FAILING = ['throw', 'reject', 'rejectLater', 'rejectSlowly', 'thenableRejects',
  'thenableThrows'];
const ERRORS = [
  message => new Error(message), message => new Error(message),
  message => Object.assign(new Error(message), { bail: 0, code: 'ECONNRESET' }),
  message => Object.assign(new Error(message), { retryAfter: 7000, retryable: false, status: 404 }),
  message => message, () => ({}), () => 5, () => ({ message: { toString: () => 'a' } }),
];

function makeCall (random) {
  const steps = times(10, () => ({
    end: pick(random, random() < 0.75 ? FAILING : Object.keys(ENDS)),
    error: pick(random, ERRORS)(pick(random, ['a', 'a', 'b', 'c'])),
  }));
  const options = random() < 0.02 ? pick(random, [5, 'text', true]) : makeOptions(random);
  return { steps, options, listens: random() < 0.7 };
}

const textOf = error => {
  if (error?.name === 'TypeError') return 'TypeError';
  return error !== null && typeof error === 'object' ? `${error.message}` : String(error);
};

/** Everything that can be observed of a call until it settles: in `bail`, or later. */
async function call (implementation, { steps, options, listens }) {
  const log = [];
  const after = [];
  let settled = false;
  const note = text => (settled ? after : log).push(`${now} ${text}`);
  const fn = (...args) => {
    const attempt = args[1];
    const { end, error } = steps[(attempt - 1) % steps.length];
    note(`attempt ${attempt} of ${args.length} arguments`);
    const bail = reason => {
      args[0](reason);
      settled = true;
    };
    return ENDS[end](bail, error);
  };
  let given = options;
  if (listens && Object(options) === options) {
    given = Array.isArray(options) ? Object.assign([...options], { ...options })
      : Object.assign(Object.create(options), options);
    given.onRetry = function (error, ...rest) {
      note(`retry ${textOf(error)} ${rest} ${this === given}`);
    };
  }
  const end = text => {
    settled = true;
    log.push(`${now} ${text}`);
  };
  implementation(fn, given)
    .then(value => end(`value ${value}`), error => end(`error ${textOf(error)}`));
  // Timers that fire after the end belong to retries in the background.
  await advance({ push: text => (settled ? after : log).push(text) });
  if (implementation === ourAsyncRetry) expect(after.join()).not.toMatch(/attempt|retry/);
  return log;
}

test('calls behave as in async-retry, and ours leave nothing running', async () => {
  const ends = new Set();
  for (let seed = 1; seed <= PROGRAMS; seed++) {
    const log = await expectAlike(seed, makeCall, call, asyncRetry, ourAsyncRetry);
    ends.add(log.at(-1)?.split(' ')[1]);
  }
  for (const end of ['value', 'error', 'attempt']) expect(ends).toContain(end);
});

// ---- retry.operation ---------------------------------------------------------------------------

const ACTIONS = ['attempt', 'attempt', 'retry', 'retry', 'retry', 'retry', 'none', 'look', 'look',
  'wait', 'wait', 'wait', 'wait', 'stop', 'reset', 'push'];

function makeScript (random) {
  return {
    options: random() < 0.05 ? pick(random, [5, 'text', true]) : makeOptions(random),
    timeout: pick(random, [undefined, undefined, null, {}, { timeout: 30 },
      { timeout: 30, cb: true }, { cb: true }, { timeout: '25', cb: true },
      { timeout: NaN, cb: true }, { timeout: 20, callback: true }]),
    // Whether an attempt asks for the next one by itself, and with what.
    steps: times(10, () => random() < 0.7),
    actions: times(12, () => ({
      what: pick(random, ACTIONS), ms: Math.floor(random() * 200),
      message: pick(random, ['a', 'a', 'b', 'c']),
    })),
  };
}

/** Everything that can be observed of an operation. */
async function operate ({ operation }, { options, timeout, steps, actions }) {
  const log = [];
  const note = text => log.push(`${now} ${text}`);
  let op;
  try {
    op = operation(options);
  } catch (error) {
    return [error.message];
  }
  const onTime = function (...args) { note(`late ${args} ${this === op}`); };
  const limits = timeout && Object.fromEntries(Object.entries(timeout)
    .map(([name, value]) => [name, value === true ? onTime : value]));
  const fn = function (...args) {
    note(`attempt ${args} ${this === op}`);
    if (steps[args[0] % 10]) note(`asks ${op.retry(new Error(`no ${args[0] % 3}`))}`);
  };
  const look = () => note([op.attempts(), op.errors().map(error => error.message),
    op.mainError()?.message, op._timeouts.map(ms => (ms >= 1 ? Number(ms) : 1)),
    op._maxRetryTime].join('; '));
  const acts = {
    attempt: () => op.attempt(fn, limits),
    retry: message => op.retry(new Error(message)),
    none: () => op.retry(),
    stop: () => op.stop(),
    reset: () => op.reset(),
    push: message => op.errors().push(new Error(message)),
    look,
  };
  acts.attempt();
  for (const { what, ms, message } of actions) {
    if (what === 'wait') await advance(log, now + ms);
    else note(`${what} ${acts[what](message)}`);
  }
  look();
  await advance(log);
  look();
  return log;
}

test('operations behave as in retry', async () => {
  for (let seed = 1; seed <= 2 * PROGRAMS; seed++) {
    await expectAlike(seed, makeScript, operate, operations, ourOperations);
  }
});

// ---- retry.wrap --------------------------------------------------------------------------------

function makeClient (random) {
  return {
    options: pick(random, [makeOptions(random), makeOptions(random), ['load'], [],
      ['save', 'none']]),
    methods: pick(random, [undefined, null, [], ['load'], ['load', 'save'], 'x']),
    steps: times(8, () => ({ fails: random() < 0.6, sync: random() < 0.5,
      message: pick(random, ['a', 'b']) })),
    calls: times(3, () => pick(random, ['load', 'save', 'inherited', 'wait'])),
  };
}

/** Everything that can be observed of an object whose methods have been wrapped. */
async function useClient ({ wrap }, { options, methods, steps, calls }) {
  const log = [];
  const note = text => log.push(`${now} ${text}`);
  let attempts = 0;
  function act (name, self, args) {
    const { fails, sync, message } = steps[attempts++ % steps.length];
    const callback = args.at(-1);
    note(`${name} ${args.length} ${self === object}`);
    const answer = () => (fails
      ? callback.call(self, new Error(message), 'rest', 1)
      : callback.call(self, null, 'value', ...args.slice(0, -1)));
    if (sync) answer();
    else afterMs(5, answer);
  }
  class Base {}
  Base.prototype.inherited = function (...args) { act('inherited', this, args); };
  class Client extends Base { hidden () { return 'hidden'; } }
  const object = Object.assign(new Client(), {
    load (...args) { act('load', this, args); }, save (...args) { act('save', this, args); },
    field: 5,
  });
  const { hidden } = object;
  note(outcomeOf(() => wrap(object, options, methods)));
  for (const name of ['load', 'save', 'inherited', 'none', 'x']) {
    const method = object[name];
    note(`${name} ${method?.name} ${method?.length} ${method?.options === options} ${
      Object.hasOwn(object, name)}`);
  }
  note(`${object.hidden === hidden} ${object.field} ${Object.keys(object)} ${
    Object.keys(Client.prototype)}`);
  for (const name of calls) {
    if (name === 'wait') {
      await advance(log, now + 50);
      continue;
    }
    note(outcomeOf(() => object[name](1, 'two', function (error, ...rest) {
      note(`called ${error?.message} ${rest} of ${arguments.length} ${this === object}`);
    })));
  }
  await advance(log);
  return log;
}

test('wrapped objects behave as in retry', async () => {
  for (let seed = 1; seed <= PROGRAMS; seed++) {
    await expectAlike(seed, makeClient, useClient, operations, ourOperations);
  }
});

test('a replaced createTimeout, timeouts or operation of the module is used', () => {
  for (const module of [operations, ourOperations]) {
    const createTimeout = jest.spyOn(module, 'createTimeout').mockReturnValue(3);
    expect(module.operation({ retries: 2 })._timeouts).toEqual([3, 3]);
    createTimeout.mockRestore();
    const timeouts = jest.spyOn(module, 'timeouts').mockReturnValue([4]);
    expect(module.operation()._timeouts).toEqual([4]);
    timeouts.mockRestore();
    const operation = jest.spyOn(module, 'operation');
    const object = { load: callback => callback(null, 1) };
    module.wrap(object);
    object.load(() => {});
    expect(operation).toHaveBeenCalledTimes(1);
    operation.mockRestore();
  }
});

test('the modules have the same shape', () => {
  expect(Object.keys(ourOperations)).toEqual(Object.keys(operations));
  expect(Object.keys(ourAsyncRetry)).toEqual(Object.keys(asyncRetry));
  expect([ourAsyncRetry.length, typeof ourAsyncRetry]).toEqual([asyncRetry.length, 'function']);
});

// ---- What differs on purpose -------------------------------------------------------------------

/** Runs a call in both until nothing happens any more, and returns the log of each. */
async function both (make) {
  const found = [];
  for (const [retry, module] of [[asyncRetry, operations], [ourAsyncRetry, ourOperations]]) {
    await begin(1);
    const log = [];
    const note = text => log.push(text);
    const result = make({ retry, module, note });
    if (typeof result?.then === 'function') {
      result.then(value => note(`value ${value}`), error => note(`error ${textOf(error)}`));
    } else if (result !== undefined) note(result);
    await advance([]);
    found.push(log);
  }
  return found;
}

/** The same in separate processes, which the call may end. Prints each attempt, then the error. */
function inProcesses (source) {
  const files = ['async-retry', '../../lib/primitives/async-retry'].map(id => require.resolve(id));
  return files.map(file => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', `
      const retry = require(${JSON.stringify(file)});
      const said = [];
      const fails = error => async (bail, n) => { said.push(n); throw error; };
      ${source}.catch(error => console.log(...said, String(error)));`], { encoding: 'utf8' });
    return { status, stdout: stdout.trim(), stderr };
  });
}

const fails = (note, error = new Error('no')) => async (bail, n) => {
  note?.(`attempt ${n}`);
  throw error;
};

/** The behaviour of both, by the first cell of each row in docs/migrating.md. */
const DIFFERENCES = {
  'after `bail`, a failure is still retried, in the background': async () => {
    const [theirs, ours] = await both(({ retry, note }) => retry(async (bail, n) => {
      note(`attempt ${n}`);
      bail(new Error('end'));
      throw new Error('no');
    }, { retries: 1 }));
    expect(theirs).toEqual(['attempt 1', 'error end', 'attempt 2']);
    expect(ours).toEqual(['attempt 1', 'error end']);
  },
  'an `onRetry` that throws or rejects ends the process': () => {
    for (const onRetry of ["() => { throw new Error('mine'); }",
      "async () => { throw new Error('mine'); }"]) {
      const [theirs, ours] = inProcesses(`retry(fails(new Error('no')),
        { retries: 1, minTimeout: 1, onRetry: ${onRetry} })`);
      expect(theirs.status).toBe(1);
      expect(theirs.stderr).toContain('Error: mine');
      expect(ours).toEqual({ status: 0, stdout: '1 Error: mine', stderr: '' });
    }
  },
  'rejecting with `undefined` or `null` ends the process; with `0` or `false`, the call':
  () => {
    for (const reason of ['undefined', 'null', '0', 'false']) {
      const [theirs, ours] = inProcesses(
        `retry(fails(${reason}), { retries: 1, minTimeout: 1 })`);
      if (['undefined', 'null'].includes(reason)) expect(theirs.status).toBe(1);
      else expect(theirs).toEqual({ status: 0, stdout: '1 null', stderr: '' });
      expect(ours).toEqual({ status: 0, stdout: `1 2 ${reason}`, stderr: '' });
    }
  },
  'an `fn` that is not a function is called in each attempt': async () => {
    const [theirs, ours] = await both(({ retry, note }) =>
      retry('x', { retries: 1, onRetry: () => note('again') }));
    expect(theirs).toEqual(['again', 'error TypeError']);
    expect(ours).toEqual(['error TypeError']);
    await expect(ourAsyncRetry('x')).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
    await expect(ourAsyncRetry(() => 1, 'x')).rejects
      .toMatchObject({ name: 'TypeError', code: 'ERR_INVALID_OPTION', option: 'options' });
  },
  '`retries: Infinity`, or a very large number, exhausts memory': () => {
    expect(ourOperations.timeouts({ retries: Infinity })).toHaveLength(100);
    expect(ourOperations.timeouts({ retries: 1e9 })).toHaveLength(100_000);
    const op = ourOperations.operation({ retries: Infinity, minTimeout: 1, maxTimeout: 1 });
    op.attempt(() => {});
    for (let i = 0; i < 200; i++) expect(op.retry(new Error('no'))).toBe(true);
  },
  'a delay of 2³¹ ms or more fires at once': async () => {
    const [theirs, ours] = await both(({ retry, note }) =>
      retry(fails(n => note(`${n} at ${now}`)), [2 ** 31]));
    expect(theirs.slice(0, 2)).toEqual(['attempt 1 at 0', 'attempt 2 at 1']);
    expect(ours.slice(0, 2)).toEqual(['attempt 1 at 0', `attempt 2 at ${2 ** 31}`]);
  },
  'errors whose message is `constructor`, or another name of `Object`, are lost': async () => {
    const [theirs, ours] = await both(({ retry }) =>
      retry(fails(undefined, new Error('constructor')), { retries: 1 }));
    expect([theirs, ours]).toEqual([['error null'], ['error constructor']]);
  },
  'an operation keeps all errors': async () => {
    const [theirs, ours] = await both(({ module }) => {
      const op = module.operation({ retries: 1500, maxTimeout: 1000 });
      op.attempt(() => {});
      for (let i = 0; i < 1500; i++) op.retry(new Error('no'));
      op.stop();
      return op.errors().length;
    });
    expect([theirs, ours]).toEqual([[1500], [1000]]);
  },
  '`randomize: true` is written into the options; if frozen, delays are not random': async () => {
    const [theirs, ours] = await both(({ retry, note }) => {
      const options = { retries: 0 };
      retry(fails(), options).catch(() => note(Object.keys(options).join()));
      const frozen = Object.freeze({ retries: 1, minTimeout: 1e6 });
      return retry(fails(() => note(now > 1e6)), frozen);
    });
    expect(theirs).toEqual([false, 'retries,randomize', false, 'error no']);
    expect(ours).toEqual([false, 'retries', true, 'error no']);
  },
  '`try()` and `start()` write to standard output': async () => {
    const log = jest.spyOn(console, 'log').mockReturnValue();
    const warn = jest.spyOn(process, 'emitWarning').mockReturnValue();
    for (const name of ['try', 'start']) operations.operation()[name](() => {});
    expect([log.mock.calls.length, warn.mock.calls.length]).toEqual([2, 0]);
    for (const name of ['try', 'start']) ourOperations.operation()[name](() => {});
    expect([log.mock.calls.length, warn.mock.calls.length]).toEqual([2, 2]);
    expect(warn.mock.calls.map(call => call[1])).toEqual(Array(2).fill('DeprecationWarning'));
  },
  'an `undefined` in an array of delays makes one `retry()` return false': async () => {
    const [theirs, ours] = await both(({ module }) => {
      const op = module.operation([1, undefined, 3]);
      op.attempt(() => {});
      return times(3, () => op.retry(new Error('no'))).join();
    });
    expect([theirs, ours]).toEqual([['true,false,true'], ['true,false,false']]);
  },
  'changes to the private `_timeouts` of an operation apply': async () => {
    const [theirs, ours] = await both(({ module }) => {
      const op = module.operation([1]);
      op._timeouts.push(2);
      op.attempt(() => {});
      return times(2, () => op.retry(new Error('no'))).join();
    });
    expect([theirs, ours]).toEqual([['true,true'], ['true,false']]);
  },
};

describe('differences', () => {
  test('the guide names each of them, with a reason', () => {
    const guide = fs.readFileSync(path.join(__dirname, '../../docs/migrating.md'), 'utf8');
    const rows = guide.split('### async-retry and retry\n')[1].split('\n#')[0].split('\n')
      .filter(line => line.startsWith('| '))
      .map(line => line.slice(1, -1).split('|').map(cell => cell.trim()));
    expect(rows.shift()).toEqual(['there', 'here', 'why']);
    expect(rows.map(([there]) => there)).toEqual(Object.keys(DIFFERENCES));
    for (const [, here, why] of rows) expect([here, why]).not.toContain('');
  });

  test.each(Object.entries(DIFFERENCES))('%s', (_, prove) => prove());
});
