'use strict';

// One message per interval to a number that the provider has complained about; the others are not
// held up.

const clock = require('../base/clock');
const { SekeringError } = require('../base/errors');
const { reasonOf } = require('../base/signal');

const NUMBERS_MAX = 10_000;
const WAIT_MS_MAX = 60_000;

class Pacer {
  // Number to when the next message may go to it, the earliest complaint first.
  #next = new Map();
  #interval;
  #always;

  /**
   * @param {number} interval ms; 0 paces nobody
   * @param {boolean} always whether numbers are paced before there is a complaint
   */
  constructor (interval, always) {
    this.#interval = interval;
    this.#always = always;
  }

  /** How many numbers are paced at present. */
  get size () {
    this.#forget();
    return this.#next.size;
  }

  /** From now on this number is paced. */
  slow (number) {
    if (this.#interval === 0) return;
    const from = Math.max(this.#next.get(number) ?? 0, clock.now() + this.#interval);
    this.#place(number, from);
  }

  /**
   * Waits until a message may go to the number.
   * @returns {Promise<void>|undefined} undefined when it may go at once. Rejects with ERATELIMITED
   *   when it would have to wait for more than a minute, with the signal's reason
   */
  wait (number, signal) {
    const now = clock.now();
    const next = this.#next.get(number);
    if (next === undefined || next <= now) {
      // Whoever has been quiet for an interval is paced no longer.
      if (this.#always) this.#place(number, now + this.#interval);
      else if (next !== undefined && now - next >= this.#interval) this.#next.delete(number);
      else if (next !== undefined) this.#place(number, now + this.#interval);
      return undefined;
    }
    const ms = Math.ceil(next - now);
    if (ms > WAIT_MS_MAX) throw tooMany(ms);
    this.#place(number, next + this.#interval);
    return pause(ms, signal);
  }

  #place (number, from) {
    if (this.#interval === 0) return;
    this.#next.delete(number);
    if (this.#next.size >= NUMBERS_MAX) this.#forget();
    if (this.#next.size >= NUMBERS_MAX) this.#next.delete(this.#next.keys().next().value);
    this.#next.set(number, from);
  }

  #forget () {
    const now = clock.now();
    for (const [number, next] of this.#next) {
      if (now - next >= this.#interval) this.#next.delete(number);
    }
  }
}

function tooMany (ms) {
  const error = new SekeringError('ERATELIMITED',
    `Too many messages wait for this number: retry in ${ms}ms`);
  error.retryAfterMs = ms;
  return error;
}

function pause (ms, signal) {
  return new Promise((resolve, reject) => {
    const leave = () => {
      clock.clearTimer(timer);
      reject(reasonOf(signal));
    };
    const timer = clock.setTimer(() => {
      signal?.removeEventListener('abort', leave);
      resolve();
    }, ms);
    signal?.addEventListener('abort', leave, { once: true });
  });
}

module.exports = { Pacer };
