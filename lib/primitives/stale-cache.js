'use strict';

// A cache that keeps copies for longer than they are fresh, for the time when nothing newer is to
// be had. Its answers say which they are.

const { wall } = require('../base/clock');
const { invalidOption } = require('../base/errors');
const { bag, func, number } = require('../base/options');
const { readSignal, reasonOf } = require('../base/signal');
const { warn } = require('../base/warn');

const OPTIONS = ['ttl', 'staleTtl', 'max', 'store', 'staleIf'];
const TTL_MS = 15 * 60 * 1000;
const STALE_TTL_MS = 24 * 3600 * 1000;
const MAX = 1000;
const MAX_LIMIT = 1e6;

/** A store in memory that forgets what was not used for the longest time. */
function memoryStore (max) {
  const { LRUCache } = require('lru-cache'); // Nobody else needs it.
  return new LRUCache({ max });
}

function checkStore (store) {
  const fits = typeof store === 'object' && store !== null &&
    ['get', 'set', 'delete'].every(name => typeof store[name] === 'function');
  if (!fits) throw invalidOption('store', 'an object with get, set and delete', store);
  return store;
}

/** Whether it is an entry of ours: a store may be shared, or return what somebody put there. */
function isEntry (entry) {
  return typeof entry === 'object' && entry !== null && Number.isFinite(entry.storedAt) &&
    'value' in entry;
}

/** One load that several callers may wait for. It is given up when the last of them has left. */
class Flight {
  waiting = 0;
  controller = new AbortController();

  /** `empty` is called when the last one has left. */
  begin (load, empty) {
    this.empty = empty;
    this.promise = load({ signal: this.controller.signal });
    this.promise.catch(() => {}); // Whoever waits hears of it.
  }

  async join (signal) {
    this.waiting++;
    if (signal === undefined) return this.promise; // It never leaves.
    let leave;
    const left = new Promise((resolve, reject) => {
      leave = () => reject(reasonOf(signal));
      signal.addEventListener('abort', leave, { once: true });
    });
    try {
      return await Promise.race([this.promise, left]);
    } finally {
      signal.removeEventListener('abort', leave);
      if (--this.waiting === 0 && signal.aborted) {
        this.empty();
        this.controller.abort(reasonOf(signal));
      }
    }
  }
}

class StaleCache {
  #store;
  #flights = new Map();
  #staleIf;

  /** Options as staleCache has them. */
  constructor (options) {
    const {
      ttl = TTL_MS, staleTtl = Math.max(STALE_TTL_MS, ttl), max = MAX, store, staleIf
    } = bag('options', options, OPTIONS);
    this.ttl = number('ttl', ttl, { min: 0, unit: 'ms' });
    this.staleTtl = number('staleTtl', staleTtl, { min: ttl, unit: 'ms' });
    number('max', max, { min: 1, max: MAX_LIMIT, integer: true });
    if (staleIf !== undefined) func('staleIf', staleIf);
    this.#staleIf = staleIf ?? (() => true);
    this.#store = store === undefined ? memoryStore(max) : checkStore(store);
  }

  /**
   * The copy of `key`, fresh or not.
   * @returns {Promise<{ value: unknown, stale: boolean, ageMs: number } | undefined>} undefined
   *   when there is none, or none that is younger than staleTtl, or when the store fails
   */
  async get (key) {
    try {
      const entry = await this.#store.get(key);
      return isEntry(entry) ? await this.#look(key, entry) : undefined;
    } catch (error) {
      warn('The store of a stale cache failed', error);
      return undefined;
    }
  }

  async #look (key, entry) {
    const age = wall() - entry.storedAt;
    const ageMs = Math.max(age, 0);
    // One from the future was kept by a clock that was wrong by so much: it is not fresh for ever.
    const distance = Math.abs(age);
    if (distance < this.ttl) return { value: entry.value, stale: false, ageMs };
    if (distance < this.staleTtl) return { value: entry.value, stale: true, ageMs };
    await this.#store.delete(key);
    return undefined;
  }

  /** Keeps a copy. A store that fails is reported as a process warning. */
  async set (key, value) {
    try {
      await this.#store.set(key, { value, storedAt: wall() });
    } catch (error) {
      warn('The store of a stale cache failed', error);
    }
  }

  /** Forgets a copy; rejects when the store fails, since the copy may still be there. */
  async delete (key) {
    await this.#store.delete(key);
  }

  /**
   * A fresh copy; else what `load` gets, which is kept; else, when that fails, an old copy.
   * Callers that ask for the same key at the same time share one load.
   * @template T
   * @param {unknown} key
   * @param {(context: { signal: AbortSignal }) => T | PromiseLike<T>} load
   * @param {{ signal?: AbortSignal }} [options] whoever aborts leaves; the load goes on for others
   * @returns {Promise<{ value: T, stale: boolean, ageMs: number, error?: unknown }>} `error` is why
   *   a copy is stale. Rejects with the error of `load` when there is no copy.
   */
  async fetch (key, load, options) {
    func('load', load);
    const signal = readSignal(bag('options', options).signal);
    signal?.throwIfAborted();
    const flight = this.#flights.get(key) ?? this.#take(key, load);
    return flight.join(signal);
  }

  #take (key, load) {
    const flight = new Flight();
    const end = () => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    };
    this.#flights.set(key, flight);
    flight.begin(context => this.#fetch(key, load, context).finally(end), end);
    return flight;
  }

  async #fetch (key, load, context) {
    const copy = await this.get(key);
    if (copy !== undefined && !copy.stale) return copy;
    return this.#load(key, load, context, copy);
  }

  async #load (key, load, context, copy) {
    let value;
    try {
      value = await load(context);
    } catch (error) {
      // The copy may have grown too old while the load was tried.
      const left = copy === undefined || context.signal.aborted ? undefined : await this.get(key);
      if (left === undefined || !this.#staleIf(error)) throw error;
      return { ...left, error };
    }
    await this.set(key, value);
    return { value, stale: false, ageMs: 0 };
  }
}

/**
 * A cache whose copies outlive their freshness:
 *
 *     const pages = staleCache({ ttl: 15 * 60e3, staleTtl: 24 * 3600e3, max: 1000 });
 *     const { value, stale, ageMs } = await pages.fetch(url, () => load(url));
 *
 * @param {object} [options]
 * @param {number} [options.ttl=900000] ms for which a copy is fresh
 * @param {number} [options.staleTtl=86400000] ms, counted from when it was kept, for which a copy
 *   may still be answered when nothing newer is to be had; at least ttl
 * @param {number} [options.max=1000] copies in memory, 1 to 1000000; the least recently used one
 *   makes room
 * @param {{ get: Function, set: Function, delete: Function }} [options.store] where copies are kept
 *   instead: a Map, or anything else that has get(key), set(key, entry) and delete(key), promises
 *   allowed. An entry is { value, storedAt } and survives JSON if its value does. A store that
 *   forgets by itself should not do so before staleTtl.
 * @param {(error: unknown) => boolean} [options.staleIf] which failures may be answered with an old
 *   copy; default all
 * @returns {StaleCache}
 * @throws {TypeError|RangeError} ERR_INVALID_OPTION
 */
const staleCache = options => new StaleCache(options);

module.exports = { StaleCache, staleCache };
