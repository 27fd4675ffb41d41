'use strict';

// A number of permits, counted by the native bulkhead.

const { own } = require('./handle');
const native = require('./native');

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

module.exports = { Permits };
