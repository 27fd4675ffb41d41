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

/**
 * The seeds of a test: 1 to `count`, or to SEKERING_SEEDS; or only SEKERING_SEED; or 1 to `count`
 * and then new ones until SEKERING_CHAOS_SECONDS are over, counted from the first.
 * @returns {Iterable<number> & { length: number, isLong: boolean }} length: Infinity if it is timed
 */
function seedsOf (count) {
  const {
    SEKERING_SEED: one, SEKERING_SEEDS: many, SEKERING_CHAOS_SECONDS: seconds,
  } = process.env;
  if (one !== undefined) return Object.assign([Number(one)], { isLong: false });
  const isTimed = many === undefined && Number(seconds ?? 0) > 0;
  if (!isTimed) {
    const length = Number(many ?? count);
    return Object.assign(Array.from({ length }, (_, i) => i + 1), { isLong: length > count });
  }
  return {
    length: Infinity, isLong: true,
    [Symbol.iterator]: () => seedsUntil(performance.now() + Number(seconds) * 1000, count),
  };
}

function* seedsUntil (end, count) {
  for (let seed = 1; seed <= count && performance.now() < end; seed++) yield seed;
  for (let seed = Math.floor(Date.now() / 1000); performance.now() < end; seed++) yield seed;
}

/** Does work for all items: each lane does one after the other, until `isOver`. */
async function inLanes (lanes, items, work, isOver = () => false) {
  const queue = items[Symbol.iterator]();
  await Promise.all(lanes.map(async lane => {
    for (const item of queue) {
      await work(lane, item);
      if (isOver()) break;
    }
  }));
}

/** Leaves out whatever is not needed for a failure. It may need chance: each try is repeated. */
async function shorten (operations, hasFailed, { tries = 60, repeats = 3 } = {}) {
  const failsAgain = async list => {
    for (let i = 0; i < repeats && tries > 0; i++, tries--) if (await hasFailed(list)) return true;
    return false;
  };
  let left = operations;
  for (let size = Math.ceil(left.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < left.length;) {
      const shorter = left.toSpliced(at, size);
      if (await failsAgain(shorter)) left = shorter;
      else at += size;
    }
  }
  return left;
}

module.exports = { Dice, inLanes, seedsOf, shorten };
