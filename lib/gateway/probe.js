'use strict';

// A look at something that may be slow, or hang: limited in time, never twice at once, and its
// answer kept for a while.

const clock = require('../base/clock');
const { SekeringError } = require('../base/errors');

// A look that was given up and has not come back holds off the next one for so many time limits:
// what hangs is not asked again and again, nor is it given up for ever.
const PATIENCE = 10;

// Whoever asks again waits for so long, and then gets the last answer: a load balancer that gives
// up on a slow page would take a service for dead whose database is merely slow.
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
   * @param {number} options.cacheMs for which an answer is given again
   * @param {(answer: object) => void} [options.report] gets each answer once
   */
  constructor (check, { timeout, cacheMs, report = () => {} }) {
    this.#check = check;
    this.#timeout = timeout;
    this.#cacheMs = cacheMs;
    this.#report = report;
  }

  /** The last answer, undefined before the first. */
  get last () { return this.#last; }

  /**
   * The answer, at the latest when the time limit is over; if there was one before, within 50 ms,
   * though it may be that one.
   * @returns {Promise<{ ok: boolean, value?: unknown, error?: unknown, ms: number, at: number }>}
   *   `at` of the calendar; it does not reject
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
    const controller = new AbortController();
    const work = (async () => this.#check({ signal: controller.signal }))();
    const answer = await this.#limited(work, controller);
    this.#takenAt = clock.now();
    this.#last = { ...answer, ms: this.#takenAt - started, at: clock.wall() };
    this.#running = undefined;
    this.#report(this.#last);
    return this.#last;
  }

  #limited (work, controller) {
    return new Promise(resolve => {
      const timer = clock.setTimer(() => {
        const error = new SekeringError('ETIMEDOUT', `No answer within ${this.#timeout}ms`);
        this.#blockedUntil = clock.now() + PATIENCE * this.#timeout;
        resolve({ ok: false, error });
        controller.abort(error);
      }, this.#timeout);
      const done = answer => {
        clock.clearTimer(timer);
        this.#blockedUntil = -Infinity;
        resolve(answer);
      };
      work.then(value => done({ ok: true, value }), error => done({ ok: false, error }));
    });
  }
}

module.exports = { Probe };
