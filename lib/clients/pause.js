'use strict';

// A pause of a client through which nothing gets for a while: all calls wait, with one alert.

const clock = require('../base/clock');

// The same alert is repeated only after this.
const TOLD_AGAIN_MS = 3_600_000;

class Pause {
  #emit;
  #now = null;
  #told = { what: undefined, at: -Infinity };

  /** @param {(event: string, value: object) => void} emit */
  constructor (emit) {
    this.#emit = emit;
  }

  /** Why there is one: { reason, since (ms as Date.now() counts), error }; else null. */
  get current () {
    const now = this.#now;
    if (now !== null && clock.now() >= now.ends) this.#end();
    return this.#now && { reason: now.reason, since: now.since, error: now.error };
  }

  /**
   * Begins one, in place of one for another reason that would end earlier. Emits `paused`, and
   * with an error `alert`.
   * @param {string} reason
   * @param {Error} [error] that led to it
   * @param {number} [ms] after which it ends by itself
   */
  begin (reason, error, ms = Infinity) {
    const ends = clock.now() + ms;
    const { current } = this;
    if (current !== null && (current.reason === reason || ends <= this.#now.ends)) return;
    this.#now = { reason, error, since: clock.wall(), ends };
    this.#emit('paused', this.current);
    if (error !== undefined && this.#isNews(reason, error)) {
      this.#emit('alert', { kind: reason, error });
    }
  }

  /** Ends it by hand. Whether there was one. */
  end () {
    if (this.current === null) return false;
    // Somebody has fixed it: if it happens again, that is news.
    this.#told.what = undefined;
    this.#end();
    return true;
  }

  #end () {
    const { reason } = this.#now;
    this.#now = null;
    this.#emit('resumed', { reason });
  }

  /** A pause that ended too early, and begins again, is not news. */
  #isNews (reason, { providerCode = '' }) {
    const what = `${reason} ${providerCode}`;
    const now = clock.now();
    if (this.#told.what === what && now - this.#told.at < TOLD_AGAIN_MS) return false;
    this.#told = { what, at: now };
    return true;
  }
}

module.exports = { Pause };
