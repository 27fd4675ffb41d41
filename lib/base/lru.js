'use strict';

// A map that forgets what was not used for the longest time.

class LruMap {
  // A Map keeps the order of insertion: what is used is inserted again.
  #entries = new Map();
  #max;
  #sizeOf;
  #size = 0;

  /**
   * @param {number} max the sum of all sizes
   * @param {(value: unknown, key: unknown) => number} [sizeOf] by default each counts as 1
   */
  constructor (max, sizeOf = () => 1) {
    this.#max = max;
    this.#sizeOf = sizeOf;
  }

  get (key) {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  /** What is larger than the whole map is not kept. */
  set (key, value) {
    this.delete(key);
    const size = this.#sizeOf(value, key);
    if (size > this.#max) return;
    this.#entries.set(key, { value, size });
    this.#size += size;
    for (const [oldest] of this.#entries) {
      if (this.#size <= this.#max) return;
      this.delete(oldest);
    }
  }

  delete (key) {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#size -= entry.size;
  }
}

module.exports = { LruMap };
