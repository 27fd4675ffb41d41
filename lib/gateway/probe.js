'use strict';

// A check of something that may be slow, or hang. It has a time limit and never runs twice at once;
// its answer is kept for a while.

const clock = require('../base/clock');
const { withDeadline } = require('../base/deadline');

// A check that has timed out and still runs holds off the next one for this many time limits: what
// hangs is not asked again and again, but it is not given up for ever.
const PATIENCE = 10;

// Callers wait this long for a new answer, and then get the last one. A load balancer that gives
// up on a slow page would otherwise think that the service is dead.
const RENEWAL_MS = 50;

class Probe {
  #check;
  #timeout;
  #cacheMs;
  #report;
  #last = undefined;
  #takenAt = -Infinity;
  #running = undefined;
  #blockedUntil = -Infinity;

  /**
   * @param {(context: { signal: AbortSignal }) => unknown} check
   * @param {object} options
   * @param {number} options.timeout ms
   * @param {number} options.cacheMs that an answer is kept
   * @param {(answer: object) => void} [options.report] gets each answer once
   */
  constructor (check, { timeout, cacheMs, report = () => {} }) {
    this.#check = check;
    this.#timeout = timeout;
    this.#cacheMs = cacheMs;
    this.#report = report;
  }

  /**
   * The answer. The first one takes up to the time limit, later ones up to 50 ms: if the new answer
   * is not there by then, it is the last one.
   * @returns {Promise<{ ok: boolean, value?: unknown, error?: unknown, ms: number, at: number }>}
   *   `at` is wall-clock time; it does not reject
   */
  get () {
    const now = clock.now();
    if (now - this.#takenAt < this.#cacheMs || now < this.#blockedUntil) {
      return this.#soon(this.#running);
    }
    return this.#soon(this.#running ??= this.#look(now));
  }

  #soon (running = Promise.resolve(this.#last)) {
    const last = this.#last;
    if (last === undefined) return running;
    return new Promise(resolve => {
      const timer = clock.setTimer(() => resolve(last), RENEWAL_MS, false);
      running.then(answer => {
        clock.clearTimer(timer);
        resolve(answer);
      });
    });
  }

  async #look (started) {
    const answer = await this.#ask();
    this.#takenAt = clock.now();
    this.#last = { ...answer, ms: this.#takenAt - started, at: clock.wall() };
    this.#running = undefined;
    this.#report(this.#last);
    return this.#last;
  }

  async #ask () {
    let isOver = false;
    const check = async signal => {
      try {
        return await this.#check({ signal });
      } finally {
        isOver = true;
        this.#blockedUntil = -Infinity;
      }
    };
    try {
      return { ok: true, value: await withDeadline(undefined, this.#timeout, check) };
    } catch (error) {
      if (!isOver) this.#blockedUntil = clock.now() + PATIENCE * this.#timeout;
      return { ok: false, error };
    }
  }
}

module.exports = { Probe };
