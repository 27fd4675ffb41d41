'use strict';

// Refusals that may be one recipient's or everybody's: they are everybody's when several recipients
// in a row have met with the same.

const clock = require('../base/clock');

const RECIPIENTS = 3;
// What is further apart has nothing to do with each other.
const WINDOW_MS = 3_600_000;

class Doubts {
  #code;
  // Recipient to when it last was refused.
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
