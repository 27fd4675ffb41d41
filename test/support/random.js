'use strict';

// Chance that can be repeated: the same seed gives the same numbers.

/** @returns {() => number} numbers from 0 to 1 (mulberry32) */
function random (seed) {
  let state = seed;
  return () => {
    state = (state + 0x6D2B79F5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Random choices by one seed. */
class Dice {
  constructor (seed) { this.next = random(seed); }

  /** An integer from 0 to `count` - 1. */
  below (count) { return Math.floor(this.next() * count); }

  between (min, max) { return min + this.below(max - min + 1); }

  chance (probability) { return this.next() < probability; }

  pick (list) { return list[this.below(list.length)]; }

  /** Removes one of the list, and returns it. */
  take (list) { return list.splice(this.below(list.length), 1)[0]; }
}

module.exports = { Dice };
