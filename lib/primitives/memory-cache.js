'use strict';

// A cache in memory, in the shape of opossum's: the default `cacheTransport` of a breaker.

const { wall } = require('../base/clock');
const { LinkedList } = require('../base/linked-list');
const { number } = require('../base/options');

// V8 allows no larger Map.
const ENTRIES_MAX = 2 ** 24 - 1;

class MemoryCache {
  // The entries, the oldest first.
  #list = new LinkedList();
  /** Whose turn it is to be looked at. */
  #turn;

  constructor (maxEntries) {
    this.cache = new Map();
    this.#turn = this.cache.values();
    this.maxEntries = number('maxEntries', maxEntries ?? ENTRIES_MAX, { min: 0, integer: true });
    if (this.maxEntries > ENTRIES_MAX) this.maxEntries = ENTRIES_MAX;
  }

  get (key) {
    const entry = this.cache.get(key);
    if (entry === undefined) return undefined;
    if (entry.expiresAt === 0 || entry.expiresAt > wall()) return entry.value;
    this.#remove(entry);
    return undefined;
  }

  set (key, value, expiresAt = 0) {
    const present = this.cache.get(key);
    if (present !== undefined) {
      // The entry stays as old as it was.
      present.value = value;
      present.expiresAt = expiresAt;
      return;
    }
    if (this.maxEntries === 0) return;
    // With a limit, expired entries make room in their turn, as in opossum.
    if (this.maxEntries === ENTRIES_MAX) this.#dropExpired();
    if (this.cache.size >= this.maxEntries) this.#remove(this.#list.first);
    const entry = { key, value, expiresAt, _previous: null, _next: null };
    this.#list.add(entry);
    this.cache.set(key, entry);
  }

  delete (key) {
    const entry = this.cache.get(key);
    if (entry !== undefined) this.#remove(entry);
  }

  flush () {
    this.cache.clear();
    this.#list = new LinkedList();
  }

  /** Nobody may ask for an expired entry again: two are looked at for each new one, in turn. */
  #dropExpired () {
    for (let i = 0; i < 2; i++) {
      const { done, value: entry } = this.#turn.next();
      if (done) {
        this.#turn = this.cache.values();
        return;
      }
      if (entry.expiresAt !== 0 && entry.expiresAt <= wall()) this.#remove(entry);
    }
  }

  #remove (entry) {
    this.#list.remove(entry);
    this.cache.delete(entry.key);
  }
}

module.exports = MemoryCache;
