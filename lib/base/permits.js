'use strict';

// A number of permits, counted by the native bulkhead.

const { own } = require('./handle');
const native = require('./native');
const { warn } = require('./warn');

class Permits {
  #capacity;
  #handle;
  #taken = 0;

  /** @param {number} capacity how many may be in use; from Number.MAX_SAFE_INTEGER on: no limit */
  constructor (capacity) {
    this.#capacity = capacity;
  }

  // Most breakers have no limit, and need a count but no native memory.
  get #unlimited () { return this.#capacity >= Number.MAX_SAFE_INTEGER; }

  get capacity () { return this.#capacity; }

  /** Of those in use, how many this environment has. */
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

/** Permits that other environments take as well, from a region. */
class SharedPermits {
  #name;
  #capacity;
  #handle;
  #repairs;

  /** @param {number} handle of native.attachBulkhead; given back with the permits it holds */
  constructor (name, capacity, handle) {
    this.#name = name;
    this.#capacity = capacity;
    this.#handle = own(this, handle, native.destroyBulkhead);
    this.#repairs = native.bulkheadRepairs(handle);
  }

  get capacity () { return this.#capacity; }

  get held () { return native.bulkheadHeld(this.#handle); }

  get inUse () { return native.bulkheadInUse(this.#handle); }

  /** @returns {boolean} whether there was one left; those of the dead are taken back for it */
  acquire () {
    return this.#acquired(native.acquireBulkhead(this.#handle));
  }

  /** As acquire, for somebody who waits: others learn of it. */
  acquireForLine () {
    return this.#acquired(native.acquireBulkheadForLine(this.#handle));
  }

  /** Whether the turn of other environments has come: a permit must be released to all. */
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
