'use strict';

// The switches of the fakes: which faults are in force, whom they strike, and how often.

const { number } = require('../base/options');

/** How often a fault strikes: what all kinds of them have in common. */
function checkedOften ({ every = 1, times = Infinity, once = false }) {
  number('fault.every', every, { min: 1, integer: true });
  number('fault.times', times, { min: 1, integer: true });
  return { every, times, once: Boolean(once) };
}

class Faults {
  #list;

  /**
   * @param {object | string | number | Array | null | undefined} given one fault or several
   * @param {(fault: unknown) => object} check what a fault comes to
   */
  constructor (given, check) {
    const list = Array.isArray(given) ? given : [given];
    this.#list = list.filter(fault => fault !== null && fault !== undefined).map(fault => {
      const checked = check(fault);
      return { ...checked, ...checkedOften(Object(fault)), seen: 0, struck: 0, keys: new Set() };
    });
  }

  /** The first one; undefined if all is well. */
  get first () { return this.#list[0]; }

  /**
   * The first fault that strikes, which is counted; null if none does.
   * @param {(fault: object) => boolean} fits
   * @param {string} [key] whom a fault with `once` strikes only once
   */
  strike (fits, key) {
    return this.#list.find(fault => fits(fault) && isDue(fault, key)) ?? null;
  }
}

function isDue (fault, key) {
  if (fault.keys.has(key)) return false;
  fault.seen += 1;
  if (fault.seen % fault.every !== 0 || fault.struck >= fault.times) return false;
  fault.struck += 1;
  if (fault.once) fault.keys.add(key);
  return true;
}

module.exports = { Faults };
