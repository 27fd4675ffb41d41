'use strict';

// A line of callers that wait for something, first come first served. A caller that times out or
// aborts leaves the line in constant time. The user of the line bounds its length.

const { clearTimer, setTimer } = require('./clock');
const { LinkedList } = require('./linked-list');
const { reasonOf } = require('./signal');

class Waiter {
  constructor (line, weight) {
    this.line = line;
    this.weight = weight;
    this._previous = null;
    this._next = null;
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
  /** The sum of the weights of all waiters. */
  weight = 0;
  #list = new LinkedList();
  #left;

  /** @param {(waiter: { weight: number }) => void} [left] called when a waiter has given up */
  constructor (left) {
    this.#left = left;
  }

  /** The first in the line, or null. */
  get first () { return this.#list.first; }

  /**
   * Joins the end of the line.
   * @param {object} [options]
   * @param {number} [options.weight=1] how much it waits for
   * @param {number} [options.timeout=Infinity] how long it waits at most, ms
   * @param {() => Error} [options.timedOut] makes the error of the timeout
   * @param {AbortSignal} [options.signal] must not be aborted yet; rejects with its reason
   * @returns {Promise<unknown>} resolves with what serve() was given
   */
  join ({ weight = 1, timeout = Infinity, timedOut, signal } = {}) {
    const waiter = new Waiter(this, weight);
    this.#list.add(waiter);
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

  /** Resolves the first waiter. Returns false if there is none. */
  serve (value) {
    const waiter = this.first;
    if (waiter === null) return false;
    this.#remove(waiter);
    waiter.resolve(value);
    return true;
  }

  /** Takes a waiter out of the line and rejects it. */
  leave (waiter, reason) {
    this.#remove(waiter);
    waiter.reject(reason);
    this.#left?.(waiter);
  }

  #remove (waiter) {
    this.#list.remove(waiter);
    this.size--;
    this.weight -= waiter.weight;
    clearTimer(waiter.timer);
    waiter.signal?.removeEventListener('abort', waiter);
  }
}

module.exports = { Waiters };
