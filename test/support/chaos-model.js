'use strict';

// What injected faults must do, as plainly as it can be said: each call's fate is worked out anew
// from what has happened to it.

const MASK = (1n << 64n) - 1n;

/** SplitMix64, in numbers from 0 to 1. */
function splitMix (seed) {
  let state = BigInt(seed);
  return () => {
    state = (state + 0x9E3779B97F4A7C15n) & MASK;
    let mixed = state;
    mixed = ((mixed ^ (mixed >> 30n)) * 0xBF58476D1CE4E5B9n) & MASK;
    mixed = ((mixed ^ (mixed >> 27n)) * 0x94D049BB133111EBn) & MASK;
    mixed ^= mixed >> 31n;
    return Number(mixed >> 11n) / 2 ** 53;
  };
}

class ChaosModel {
  enabled;
  #draw;
  #faults;
  #calls = [];
  #stats;

  /** Faults with a name, and latency as [min, max]. */
  constructor ({ seed, faults, enabled }) {
    this.#draw = splitMix(seed);
    this.#faults = faults;
    this.enabled = enabled;
    this.#stats = {
      calls: 0, faults: Object.fromEntries(faults.map(({ name }) => [name, 0])),
    };
  }

  get stats () { return structuredClone(this.#stats); }

  /** A call of a function that takes `ms`, at a time. */
  call (time, ms) {
    const call = { time, ms, delay: 0, fault: undefined, abortedAt: Infinity };
    this.#calls.push(call);
    if (!this.enabled) return;
    this.#stats.calls += 1;
    const chosen = this.#draw();
    const within = this.#draw();
    let rates = 0;
    call.fault = this.#faults.find(({ rate }) => chosen < (rates += rate));
    if (call.fault === undefined) return;
    this.#stats.faults[call.fault.name] += 1;
    const [min, max] = call.fault.latency;
    call.delay = min === max ? min : min + Math.floor(within * (max - min + 1));
  }

  /** The signal of call number `index` aborts. What is due at that time has happened before. */
  abort (index, time) {
    const call = this.#calls[index];
    call.abortedAt = Math.min(call.abortedAt, time);
  }

  /** What has become of each call by a time. */
  fates (time) {
    return this.#calls.map(call => {
      const goesOn = call.time + call.delay;
      if (call.abortedAt < goesOn) return 'aborted';
      if (goesOn > time) return 'delayed';
      if (call.fault?.error) return 'error';
      if (call.fault?.result) return 'fake';
      return goesOn + call.ms > time ? 'called' : 'done';
    });
  }
}

module.exports = { ChaosModel, splitMix };
