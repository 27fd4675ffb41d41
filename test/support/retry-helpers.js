'use strict';

// What the tests of retry() share. Each test of a file that calls withClock() has a virtual clock.

const { useVirtualClock } = require('../../lib/testing/virtual-clock');

let clock;

/** The virtual clock of the test that runs. */
const time = () => clock;

function withClock () {
  beforeEach(() => { clock = useVirtualClock(); });
  afterEach(() => clock.restore());
}

const never = () => new Promise(() => {});

/** A function that fails until attempt number `n`; its `log` says when it was called. */
function failsUntil (n) {
  const log = [];
  return Object.assign(async (bail, attempt) => {
    log.push(clock.now);
    if (attempt < n) throw new Error(`attempt ${attempt}`);
    return `attempt ${attempt}`;
  }, { log });
}

/** The delays between the attempts. */
const gaps = log => log.slice(1).map((at, i) => at - log[i]);

/** Lets time pass until the promise settles, and gives back how it did. */
async function outcome (promise, ms = 1e9) {
  const result = promise.then(value => ({ value }), error => ({ error }));
  await clock.advanceAsync(ms);
  return result;
}

/** Whether a promise has settled by the end of this turn. */
async function settled (promise) {
  let is = false;
  promise.then(() => { is = true; }, () => { is = true; });
  await clock.advanceAsync(0);
  return is;
}

module.exports = { failsUntil, gaps, never, outcome, settled, time, withClock };
