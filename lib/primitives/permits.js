'use strict';

// What limits are made of: permits, the line of callers that wait for one, and the ownership of
// native objects.

const { clearTimer, setTimer } = require('../base/clock');
const { reasonOf } = require('../base/foreign');
const { LinkedList } = require('../base/linked-list');
const native = require('../base/native');
const { warn } = require('../base/warn');

const registry = new FinalizationRegistry(({ destroy, handle }) => destroy(handle));

/**
 * Native objects are integer handles. Destroys `handle` once nothing holds `owner` any more: what
 * still uses the handle must therefore hold that object. Returns the handle.
 */
function own (owner, handle, destroy) {
  registry.register(owner, { destroy, handle });
  return handle;
}

/** How many calls may run at once, counted by the native bulkhead. */
class Permits {
  _handle = undefined; // Made by the first call.
  #taken = 0;

  /** @param {number} capacity how many may be in use; no limit from Number.MAX_SAFE_INTEGER on */
  constructor (capacity) {
    this.capacity = capacity;
  }

  get inUse () {
    return this._handle === undefined ? this.#taken : native.bulkheadInUse(this._handle);
  }

  /** How many of those in use belong to this environment. */
  get held () { return this.inUse; }

  /** Returns whether there was one left. */
  acquire () {
    if (this._handle !== undefined) return native.acquireBulkhead(this._handle);
    // Most breakers have no limit: they need a count, but no native memory.
    if (this.capacity >= Number.MAX_SAFE_INTEGER) return ++this.#taken > 0;
    if (this.capacity < 1) return false;
    this._handle = own(this, native.createBulkhead(this.capacity), native.destroyBulkhead);
    return native.acquireBulkhead(this._handle);
  }

  /** Returns whether one was in use, here if they are shared. */
  release () {
    if (this._handle !== undefined) return native.releaseBulkhead(this._handle);
    if (this.#taken === 0) return false;
    this.#taken--;
    return true;
  }
}

/** Permits that this environment shares with others, in a region. */
class SharedPermits extends Permits {
  #name;
  #repairs;

  /** @param {number} handle from native.attachBulkhead; destroyed together with this object */
  constructor (name, capacity, handle) {
    super(capacity);
    this.#name = name;
    this._handle = own(this, handle, native.destroyBulkhead);
    this.#repairs = native.bulkheadRepairs(handle);
  }

  get held () { return native.bulkheadHeld(this._handle); }

  /** Takes permits of dead participants back first. */
  acquire () {
    return this.#acquired(native.acquireBulkhead(this._handle));
  }

  /** As acquire, for a waiting caller: other environments learn that this one waits. */
  acquireForLine () {
    return this.#acquired(native.acquireBulkheadForLine(this._handle));
  }

  /** Whether it is the turn of other environments: then the permit must be released to all. */
  mustYield () { return native.mustYieldBulkhead(this._handle); }

  #acquired (acquired) {
    const repairs = native.bulkheadRepairs(this._handle);
    if (repairs !== this.#repairs) {
      this.#repairs = repairs;
      warn('Damaged counts of permits were repaired', new Error(`bulkhead '${this.#name}'`));
    }
    return acquired;
  }
}

class Waiter {
  constructor (line, weight, priority) {
    this.line = line;
    this.weight = weight;
    this.priority = priority;
    this._previous = null;
    this._next = null;
    this.timer = undefined;
    this.signal = undefined;
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }

  // As an event listener of the signal; an object needs no closure.
  handleEvent () {
    this.line.leave(this, reasonOf(this.signal));
  }
}

/**
 * A line of callers that wait for something: those of higher priority first, and of one priority
 * first come first served. A caller that times out or aborts leaves the line in constant time. The
 * user of the line bounds its length and the priorities, which are small integers.
 */
class Waiters {
  size = 0;
  /** The sum of the weights of all waiters. */
  weight = 0;
  /** By priority. */
  #lists = [];
  #left;

  /** @param {(waiter: { weight: number }) => void} [left] called when a waiter has given up */
  constructor (left) {
    this.#left = left;
  }

  /** The first in the line, or null. */
  get first () {
    for (let priority = this.#lists.length - 1; priority >= 0; priority--) {
      const first = this.#lists[priority]?.first ?? null;
      if (first !== null) return first;
    }
    return null;
  }

  /** The last in the line, if its priority is below this one; else null. */
  lastBelow (priority) {
    for (let lower = 0; lower < priority; lower++) {
      const last = this.#lists[lower]?.last ?? null;
      if (last !== null) return last;
    }
    return null;
  }

  /**
   * Joins the line, behind those of its priority. `timedOut` makes the error of the timeout;
   * `signal` must not be aborted yet. Resolves with what serve() was given.
   */
  join ({ weight = 1, priority = 0, timeout = Infinity, timedOut, signal } = {}) {
    const waiter = new Waiter(this, weight, priority);
    // This comes first, because it calls code of the caller, which may throw.
    signal?.addEventListener('abort', waiter);
    waiter.signal = signal;
    (this.#lists[priority] ??= new LinkedList()).add(waiter);
    this.size++;
    this.weight += weight;
    if (timeout !== Infinity) {
      waiter.timer = setTimer(() => this.leave(waiter, timedOut()), timeout);
    }
    return waiter.promise;
  }

  /** Resolves the first waiter. Returns false if there is none. */
  serve (value) {
    const waiter = this.first;
    if (waiter === null) return false;
    this.#remove(waiter);
    waiter.resolve(value);
    return true;
  }

  /** Takes a waiter out of the line and rejects it. */
  leave (waiter, reason) {
    this.#remove(waiter);
    waiter.reject(reason);
    this.#left?.(waiter);
  }

  #remove (waiter) {
    this.#lists[waiter.priority].remove(waiter);
    this.size--;
    this.weight -= waiter.weight;
    clearTimer(waiter.timer);
    waiter.signal?.removeEventListener('abort', waiter);
  }
}

module.exports = { Permits, SharedPermits, Waiters, own };
