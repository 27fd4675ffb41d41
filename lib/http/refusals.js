'use strict';

// The answers to strangers that this process sends at once, and those that wait: to whoever sends
// webhooks that are not signed, or guesses tokens or paths. One limit for the process, whatever its
// routers.

const clock = require('../base/clock');
const { RateLimiter } = require('../primitives/limits');

// Refusals that this process sends at once. Further ones wait, so that strangers who ask again as
// soon as they have an answer do not keep it busy.
const REFUSALS = { limit: 100, interval: 1000 };
const REFUSAL_DELAY_MS = 1000;
// From half of that to one and a half: those that were refused together do not come back together.
const delay = () => REFUSAL_DELAY_MS * (0.5 + Math.random());
// More than these do not wait: they would fill the connections.
const WAITING_MAX = 500;

class Refusals {
  #limiter = new RateLimiter(REFUSALS);
  // The timers of answers.
  #waiting = new Map();

  /** Whether this answer waits. */
  has (res) { return this.#waiting.has(res); }

  /** Calls `send`, at once or later. If too many wait already, it ends the connection instead. */
  answer (res, send) {
    if (this.#limiter.tryTake()) return send();
    if (this.#waiting.size >= WAITING_MAX) return res.destroy();
    // Whoever goes away makes room for others.
    const leave = () => {
      clock.clearTimer(this.#waiting.get(res));
      this.#waiting.delete(res);
    };
    this.#waiting.set(res, clock.setTimer(() => {
      res.off('close', leave);
      this.#waiting.delete(res);
      send();
    }, delay(), false));
    res.on('close', leave);
  }
}

module.exports = new Refusals();
