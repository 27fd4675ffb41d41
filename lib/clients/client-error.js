'use strict';

// What the errors of all clients have in common.

const { SekeringError } = require('../base/errors');
const { textOf } = require('../base/foreign');

const TEXT_CHARACTERS_MAX = 300;

/** Text from outside, fit for a message or a log: short, and on one line. */
const clean = text => textOf(text).replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ')
  .slice(0, TEXT_CHARACTERS_MAX);

/** An error that says itself whether it may be tried again: `retryable`. */
class ClientError extends SekeringError {
  // What isRetryable() looks at.
  get [Symbol.for('sekering.RetryableError')] () { return this.retryable; }
  get [Symbol.for('sekering.NonRetryableError')] () { return !this.retryable; }

  toJSON () {
    return { name: this.name, code: this.code, message: this.message, ...this };
  }
}

module.exports = { ClientError, clean };
