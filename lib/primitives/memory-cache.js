'use strict';

// A cache in memory, in the shape of opossum's: the default `cacheTransport` of a breaker.
//
// Entries are in a list from oldest to newest beside the Map. The first key of a Map that often
// loses its first key is not cheap to find: with 100,000 entries that takes 0.1 ms.

const { wall } = require('../base/clock');
const { number } = require('../base/options');

// V8 allows no larger Map.
const ENTRIES_MAX = 2 ** 24 - 1;

class MemoryCache {
  #oldest = undefined;
  #newest = undefined;

  /**
   * @param {number} [maxEntries] how many are kept, 16,777,215 unless given; a new one beyond that
   *   replaces the oldest
   * @throws {TypeError | RangeError} ERR_INVALID_OPTION
   */
  constructor (maxEntries) {
    this.cache = new Map();
    this.maxEntries = number('maxEntries', maxEntries ?? ENTRIES_MAX, { min: 0, integer: true });
    if (this.maxEntries > ENTRIES_MAX) this.maxEntries = ENTRIES_MAX;
  }

  /**
   * @param {unknown} key
   * @returns {unknown} the value; undefined only when there is none, or none that is still good
   */
  get (key) {
    const entry = this.cache.get(key);
    if (entry === undefined) return undefined;
    if (entry.expiresAt === 0 || entry.expiresAt > wall()) return entry.value;
    this.#remove(entry);
    return undefined;
  }

  /**
   * @param {unknown} key
   * @param {unknown} value
   * @param {number} [expiresAt] ms of the calendar (as Date.now() counts); 0 for never
   */
  set (key, value, expiresAt = 0) {
    const present = this.cache.get(key);
    if (present !== undefined) {
      // A new value leaves the entry as old as it was.
      present.value = value;
      present.expiresAt = expiresAt;
      return;
    }
    if (this.maxEntries === 0) return;
    if (this.cache.size >= this.maxEntries) this.#remove(this.#oldest);
    this.#append({ key, value, expiresAt, older: this.#newest, newer: undefined });
  }

  delete (key) {
    const entry = this.cache.get(key);
    if (entry !== undefined) this.#remove(entry);
  }

  flush () {
    this.cache.clear();
    this.#oldest = undefined;
    this.#newest = undefined;
  }

  #append (entry) {
    if (this.#newest === undefined) this.#oldest = entry;
    else this.#newest.newer = entry;
    this.#newest = entry;
    this.cache.set(entry.key, entry);
  }

  #remove (entry) {
    const { key, older, newer } = entry;
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    this.cache.delete(key);
    // An old entry that waits for the collector would keep all that came after it.
    entry.older = undefined;
    entry.newer = undefined;
  }
}

module.exports = MemoryCache;
