'use strict';

// A counting semaphore in the shape of opossum's, with and without `new`.

const { timedOut } = require('../base/errors');
const { number } = require('../base/options');
const { Permits, Waiters } = require('./permits');

/**
 * From Number.MAX_SAFE_INTEGER on, a count stands for any number; below 1, for none. The methods
 * work without `this`.
 */
function Semaphore (count) {
  number('count', count, { integer: true });
  const permits = new Permits(count);
  const line = new Waiters();

  // The permit goes straight to the first who waits, so that no newcomer takes it.
  function release () {
    if (permits.inUse === 0) return;
    if (!line.serve()) permits.release();
  }

  // What `take` resolves with: it gives back that one permit, and only once.
  function grant () {
    let released = false;
    return () => {
      if (released) return;
      released = true;
      release();
    };
  }

  function take (timeout) {
    if (permits.acquire()) return Promise.resolve(grant());
    const wait = timeout ? number('timeout', timeout, { min: 0, unit: 'ms' }) : Infinity;
    return line.join({ timeout: wait, timedOut: () => timedOut(timeout) }).then(grant);
  }

  const semaphore = { take, release, test: () => permits.acquire() };
  Object.defineProperty(semaphore, 'count', {
    get: () => count - permits.inUse,
    enumerable: true
  });
  return semaphore;
}

module.exports = Semaphore;
