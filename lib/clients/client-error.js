'use strict';

// What the errors of all clients have in common.

const { SekeringError } = require('../base/errors');
const { read, textOf } = require('../base/foreign');

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

  /**
   * Gives a class its name, which no minifier changes, and a mark by which `instanceof` is true for
   * the errors of another copy of this package as well.
   */
  static define (Class, name) {
    const mark = Symbol.for(`sekering.${name}`);
    Object.defineProperties(Class.prototype, { name: { value: name }, [mark]: { value: true } });
    Object.defineProperty(Class, Symbol.hasInstance, {
      value: error => typeof error === 'object' && error !== null && read(error, mark) === true,
    });
  }
}

module.exports = { ClientError, clean };
