'use strict';

// A counting semaphore in the shape of opossum's, with and without `new`.

const { SekeringError } = require('../base/errors');
const { number } = require('../base/options');
const { Permits } = require('../base/permits');
const { Waiters } = require('../base/waiters');

/**
 * @param {number} count how many may be taken at once; from Number.MAX_SAFE_INTEGER on any number,
 *   below 1 none
 * @returns {{ take: Function, release: Function, test: Function, count: number }}
 *   `count` is how many are left. All of it works without `this`.
 * @throws {TypeError | RangeError} ERR_INVALID_OPTION for a count that is no whole number
 */
function Semaphore (count) {
  number('count', count, { integer: true });
  const permits = new Permits(count);
  const line = new Waiters();

  // Whoever waits is handed the permit as it is, so that no newcomer comes first.
  function release () {
    if (permits.inUse === 0) return;
    if (!line.serve()) permits.release();
  }

  // What take resolves with gives back that one permit, however often it is called.
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
    const timedOut = () => new SekeringError('ETIMEDOUT', `Timed out after ${timeout}ms`);
    return line.join({ timeout: wait, timedOut }).then(grant);
  }

  const semaphore = { take, release, test: () => permits.acquire() };
  Object.defineProperty(semaphore, 'count', {
    get: () => count - permits.inUse,
    enumerable: true
  });
  return semaphore;
}

module.exports = Semaphore;
