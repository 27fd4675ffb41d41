'use strict';

// Permits: how many calls may run at once, counted by the native bulkhead.

const { own } = require('./handle');
const native = require('./native');
const { warn } = require('./warn');

class Permits {
  #capacity;
  #handle;
  #taken = 0;

  /** @param {number} capacity how many may be in use; no limit from Number.MAX_SAFE_INTEGER on */
  constructor (capacity) {
    this.#capacity = capacity;
  }

  // Most breakers have no limit: they need a count, but no native memory.
  get #unlimited () { return this.#capacity >= Number.MAX_SAFE_INTEGER; }

  get capacity () { return this.#capacity; }

  /** How many of those in use belong to this environment. */
  get held () { return this.inUse; }

  get inUse () {
    return this.#handle === undefined ? this.#taken : native.bulkheadInUse(this.#handle);
  }

  /** @returns {boolean} whether there was one left */
  acquire () {
    if (this.#handle !== undefined) return native.acquireBulkhead(this.#handle);
    if (this.#unlimited) return ++this.#taken > 0;
    if (this.#capacity < 1) return false;
    this.#handle = own(this, native.createBulkhead(this.#capacity), native.destroyBulkhead);
    return native.acquireBulkhead(this.#handle);
  }

  /** @returns {boolean} whether one was in use */
  release () {
    if (this.#handle !== undefined) return native.releaseBulkhead(this.#handle);
    if (this.#taken === 0) return false;
    this.#taken--;
    return true;
  }
}

/** Permits that this environment shares with others, in a region. */
class SharedPermits {
  #name;
  #capacity;
  #handle;
  #repairs;

  /** @param {number} handle from native.attachBulkhead; destroyed together with this object */
  constructor (name, capacity, handle) {
    this.#name = name;
    this.#capacity = capacity;
    this.#handle = own(this, handle, native.destroyBulkhead);
    this.#repairs = native.bulkheadRepairs(handle);
  }

  get capacity () { return this.#capacity; }

  get held () { return native.bulkheadHeld(this.#handle); }

  get inUse () { return native.bulkheadInUse(this.#handle); }

  /** @returns {boolean} whether one was left; permits of dead participants are taken back first */
  acquire () {
    return this.#acquired(native.acquireBulkhead(this.#handle));
  }

  /** As acquire, for a waiting caller: other environments learn that this one waits. */
  acquireForLine () {
    return this.#acquired(native.acquireBulkheadForLine(this.#handle));
  }

  /** Whether it is the turn of other environments: then the permit must be released to all. */
  mustYield () { return native.mustYieldBulkhead(this.#handle); }

  /** @returns {boolean} whether one was in use here */
  release () { return native.releaseBulkhead(this.#handle); }

  #acquired (acquired) {
    const repairs = native.bulkheadRepairs(this.#handle);
    if (repairs !== this.#repairs) {
      this.#repairs = repairs;
      warn('Damaged counts of permits were repaired', new Error(`bulkhead '${this.#name}'`));
    }
    return acquired;
  }
}

module.exports = { Permits, SharedPermits };
