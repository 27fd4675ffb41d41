'use strict';

// A line of callers that wait for something, first come first served. Whoever times out or aborts
// leaves the line from wherever it stands, in constant time; whoever is served or leaves takes its
// timer and its listener with it. The caller bounds the length.

const { clearTimer, setTimer } = require('./clock');
const { reasonOf } = require('./signal');

class Waiter {
  constructor (line, weight) {
    this.line = line;
    this.weight = weight;
    this.before = undefined;
    this.after = undefined;
    this.timer = undefined;
    this.signal = undefined;
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }

  // As an event listener of the signal; an object needs no closure.
  handleEvent () {
    this.line.leave(this, reasonOf(this.signal));
  }
}

class Waiters {
  size = 0;
  /** The sum of what those in the line wait for. */
  weight = 0;
  first = undefined;
  #last = undefined;
  #left;

  /** @param {(waiter: { weight: number }) => void} [left] called when one gave up */
  constructor (left) {
    this.#left = left;
  }

  /**
   * Joins the end of the line.
   * @param {object} [options]
   * @param {number} [options.weight] how much it waits for, 1 unless given
   * @param {number} [options.timeout] ms; Infinity waits for ever
   * @param {() => Error} [options.timedOut] makes the error of the timeout
   * @param {AbortSignal} [options.signal] not yet aborted; its reason is the rejection
   * @returns {Promise<unknown>} what serve was given
   */
  join ({ weight = 1, timeout = Infinity, timedOut, signal } = {}) {
    const waiter = new Waiter(this, weight);
    waiter.before = this.#last;
    if (this.#last === undefined) this.first = waiter;
    else this.#last.after = waiter;
    this.#last = waiter;
    this.size++;
    this.weight += weight;
    if (timeout !== Infinity) {
      waiter.timer = setTimer(() => this.leave(waiter, timedOut()), timeout);
    }
    if (signal !== undefined) {
      waiter.signal = signal;
      signal.addEventListener('abort', waiter);
    }
    return waiter.promise;
  }

  /** Resolves the first in the line. Returns false when there is none. */
  serve (value) {
    const waiter = this.first;
    if (waiter === undefined) return false;
    this.#unlink(waiter);
    waiter.resolve(value);
    return true;
  }

  /** Takes one out of the line and rejects it. */
  leave (waiter, reason) {
    this.#unlink(waiter);
    waiter.reject(reason);
    this.#left?.(waiter);
  }

  #unlink (waiter) {
    const { before, after } = waiter;
    if (before === undefined) this.first = after;
    else before.after = after;
    if (after === undefined) this.#last = before;
    else after.before = before;
    // One that waits for the collector would keep all that came after it.
    waiter.before = undefined;
    waiter.after = undefined;
    this.size--;
    this.weight -= waiter.weight;
    clearTimer(waiter.timer);
    waiter.signal?.removeEventListener('abort', waiter);
  }
}

module.exports = { Waiters };
