'use strict';

// The same random programs run by async-retry and by retry(): calls, arguments, order of events
// and outcome have to be the same. What is left out here are the faults that are not kept.

const asyncRetry = require('async-retry');

const retry = require('../../lib/primitives/retry');

const PROGRAMS = 400;

/** A sequence of numbers from 0 to 1 that is the same each time. */
function numbers (seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const turn = () => new Promise(resolve => { setImmediate(resolve); });

const ENDS = [
  ['return', 3], ['resolve', 3], ['thenable', 1], ['later', 2],
  ['throw', 8], ['reject', 8], ['rejectLater', 6], ['thenableRejects', 2],
  ['errorBails', 1], ['bail', 1], ['bailNothing', 1], ['bailLate', 1],
];

function pick (random, weighted) {
  let left = random() * weighted.reduce((sum, [, weight]) => sum + weight, 0);
  return weighted.find(([, weight]) => (left -= weight) < 0)[0];
}

function makeProgram (seed) {
  const random = numbers(seed);
  const steps = Array.from({ length: 8 }, () => ({
    end: pick(random, ENDS), message: pick(random, [['a', 3], ['b', 2], ['c', 1]]),
  }));
  const retries = Math.floor(random() * 6);
  const options = pick(random, [
    [{ retries, minTimeout: 0, maxTimeout: 1 }, 4],
    [Array(retries).fill(0), 1],
    [{ forever: true, retries, minTimeout: 0, maxTimeout: 0 }, 1],
  ]);
  // With no end it has to come to one by itself.
  if (options.forever) steps[7].end = 'resolve';
  return { steps, options };
}

/** What an attempt of each kind does. */
const acts = {
  return: () => 'value',
  resolve: async () => 'value',
  thenable: () => ({ then: yes => yes('value') }),
  later: async () => { await turn(); return 'value'; },
  throw: (bail, error) => { throw error; },
  reject: async (bail, error) => { throw error; },
  rejectLater: async (bail, error) => { await turn(); throw error; },
  thenableRejects: (bail, error) => ({ then: (yes, no) => no(error) }),
  errorBails: async (bail, error) => { throw Object.assign(error, { bail: true }); },
  bail: (bail, error) => bail(error),
  bailNothing: async bail => bail(),
  bailLate: async (bail, error) => { await turn(); bail(error); },
};

/** Everything that can be seen of a run. */
async function run (implementation, { steps, options }) {
  const log = [];
  const fn = (bail, attempt, ...rest) => {
    const { end, message } = steps[Math.min(attempt, 8) - 1];
    log.push(`attempt ${attempt} ${rest.length}`);
    return acts[end](bail, Object.assign(new Error(message), { attempt }));
  };
  const given = Array.isArray(options) ? [...options] : { ...options };
  given.onRetry = (error, attempt) => log.push(`retry ${attempt}: ${error.attempt}`);
  await implementation(fn, given).then(
    value => log.push(`value ${value}`),
    error => log.push(`error ${error.message} of ${error.attempt}`));
  for (let i = 0; i < 3; i++) await turn();
  return log;
}

test('random programs run alike', async () => {
  const ends = new Set();
  for (let seed = 1; seed <= PROGRAMS; seed++) {
    const program = makeProgram(seed);
    const [theirs, ours] = await Promise.all([run(asyncRetry, program), run(retry, program)]);
    expect({ seed, ...program, log: ours }).toEqual({ seed, ...program, log: theirs });
    ends.add(theirs.at(-1).split(' ')[0]);
    expect(theirs.length).toBeGreaterThan(0);
  }
  expect(ends).toEqual(new Set(['value', 'error']));
});

test('the delays come from the same formula in the same order', () => {
  const delays = implementation => {
    const random = numbers(7);
    const seen = [];
    jest.spyOn(Math, 'random').mockImplementation(random);
    jest.spyOn(globalThis, 'setTimeout').mockImplementation((callback, ms, ...args) => {
      seen.push(ms);
      queueMicrotask(() => callback(...args));
      return { unref () {}, ref () {} };
    });
    const call = implementation(() => Promise.reject(new Error('no')),
      { retries: 9, factor: 1.3, minTimeout: 77, maxTimeout: 500 });
    return call.catch(() => seen).finally(() => jest.restoreAllMocks());
  };
  return (async () => {
    const theirs = await delays(asyncRetry);
    expect(theirs).toHaveLength(9);
    expect(await delays(retry)).toEqual(theirs);
  })();
});
