'use strict';

const { SekeringError } = require('../base/errors');

/** An error of the store; `retryable` says whether the same call may succeed later. */
class StoreError extends SekeringError {
  constructor (code, message, { retryable = false, ...options } = {}) {
    super(code, message, options);
    this.retryable = retryable;
  }

  get name () { return 'StoreError'; }
}

module.exports = { StoreError };
