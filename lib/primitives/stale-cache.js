'use strict';

// A cache whose copies stay for longer than they are fresh: an old copy is the answer when nothing
// newer can be had. Answers say which they are.

const { randomUUID } = require('node:crypto');

const { wall } = require('../base/clock');
const { withDeadline } = require('../base/deadline');
const { invalidOption } = require('../base/errors');
const { nameOf, reasonOf } = require('../base/foreign');
const { LruMap } = require('../base/lru');
const { func, is, optionsOf } = require('../base/options');
const { asked, warn } = require('../base/warn');

const STALE_TTL_MS = 24 * 3600 * 1000;

const OPTIONS = optionsOf({
  ttl: is.ms('for which a copy is fresh', { default: 15 * 60 * 1000 }),
  staleTtl: is.ms('for which a copy may be answered in need; default: a day, or ttl if longer'),
  max: is.integer('copies in memory; the least recently used one makes room',
    { min: 1, max: 1e6, default: 1000 }),
  // Promises are allowed. An entry is { value, storedAt }, and survives JSON if its value does. A
  // store that forgets by itself should not do so before staleTtl.
  store: is.having('where copies are kept instead, such as a Map', ['get', 'set', 'delete']),
  staleIf: is.func('which errors may be answered with an old copy; default: all',
    { default: () => true }),
});
const FETCH = optionsOf({ signal: is.signal('leaves; the load goes on for other callers') });

/** Whether it is an entry of ours: a store may hold other things, too. */
function isEntry (entry) {
  return typeof entry === 'object' && entry !== null && Number.isFinite(entry.storedAt) &&
    'value' in entry;
}

/** One load that several callers may wait for. It is aborted when the last of them has left. */
class Flight {
  waiting = 0;
  controller = new AbortController();

  /** `empty` is called when the last one has left. */
  begin (load, empty) {
    this.empty = empty;
    this.promise = load({ signal: this.controller.signal });
    this.promise.catch(() => {}); // Those who wait get the error.
  }

  async join (signal) {
    this.waiting++;
    if (signal === undefined) return this.promise; // It never leaves.
    try {
      return await withDeadline(signal, Infinity, () => this.promise);
    } finally {
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
    const { ttl, staleTtl = Math.max(STALE_TTL_MS, ttl), max, store, staleIf } =
      OPTIONS.read(options);
    if (staleTtl < ttl) {
      throw invalidOption('staleTtl', `at least ttl (${ttl} ms)`, staleTtl, RangeError);
    }
    this.ttl = ttl;
    this.staleTtl = staleTtl;
    this.#staleIf = staleIf;
    this.#store = store ?? new LruMap(max);
  }

  /** The copy of `key`, fresh or not. */
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
    // A copy from the future was stored under a wrong clock, and must not stay fresh for ever.
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
   */
  async fetch (key, load, options) {
    func('load', load);
    const { signal } = FETCH.read(options);
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
      if (left === undefined || !asked('staleIf failed', () => this.#staleIf(error))) throw error;
      return { ...left, error };
    }
    await this.set(key, value);
    return { value, stale: false, ageMs: 0 };
  }
}

const staleCache = options => new StaleCache(options);

// ---- Keys of copies ----------------------------------------------------------------------------

const identities = new WeakMap();
let seen = 0;

/** A text for this very object; no other process has the same for another one. */
function identityOf (object) {
  if (!identities.has(object)) identities.set(object, `${process.pid}/${randomUUID()}/${++seen}`);
  return identities.get(object);
}

/** As a replacer of JSON.stringify: throws for what JSON may not tell from another value. */
function plainOnly (_name, value) {
  const isPlain = typeof value !== 'object' || value === null || Array.isArray(value) ||
    [Object.prototype, null].includes(Object.getPrototypeOf(value));
  const isText = typeof value !== 'function' && typeof value !== 'symbol';
  if (isPlain && isText && !Number.isNaN(value) && Math.abs(value) !== Infinity) return value;
  throw new TypeError('JSON cannot tell this value from others');
}

/**
 * The key of a call's answer: the name of the function, its arguments as JSON, and the very object
 * that it was called on. A function without a name or without arguments is known by itself, as
 * what it asks for may be in its closure. Undefined if JSON cannot tell the arguments from others,
 * such as a Map or an object of a class: then there must be no copy.
 * @param {Function | string} [fn] or a name that stands for it
 */
function keyOf (fn, args, self) {
  const parts = [...args];
  if (typeof fn === 'string') parts.unshift(fn);
  else if (fn !== undefined) parts.unshift((args.length > 0 && nameOf(fn)) || identityOf(fn));
  try {
    const key = JSON.stringify(parts, plainOnly);
    const isOwn = typeof self === 'function' || (typeof self === 'object' && self !== null);
    return isOwn && self !== globalThis ? `${identityOf(self)} ${key}` : key;
  } catch {
    return undefined;
  }
}

module.exports = { StaleCache, keyOf, staleCache };
