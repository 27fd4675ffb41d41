'use strict';

// Refusals that may concern one recipient or all: they concern all when several recipients in a row
// have got the same one.

const clock = require('../base/clock');

const RECIPIENTS = 3;
// Refusals that are further apart than this are unrelated.
const WINDOW_MS = 3_600_000;

class Doubts {
  #code;
  // When each recipient was last refused.
  #refused = new Map();

  /** Whether this refusal, after those before it, concerns everybody. */
  add (code, recipient) {
    const now = clock.now();
    if (code !== this.#code) this.clear();
    this.#code = code;
    for (const [known, at] of this.#refused) {
      if (now - at >= WINDOW_MS) this.#refused.delete(known);
    }
    this.#refused.set(recipient, now);
    if (this.#refused.size < RECIPIENTS) return false;
    this.clear();
    return true;
  }

  /** A message got through. */
  clear () { this.#refused.clear(); }
}

module.exports = { Doubts };
