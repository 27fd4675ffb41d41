'use strict';

// What the errors of all clients have in common, and how text from outside gets into them.

const { SekeringError } = require('../base/errors');
const { textOf } = require('../base/foreign');

const TEXT_CHARACTERS_MAX = 300;
// A shorter secret is a test's, and would be found in every other word.
const SECRET_CHARACTERS_MIN = 6;

/** Makes text from outside fit for a message or a log: short, and on one line. */
const clean = text => textOf(text).replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ')
  .slice(0, TEXT_CHARACTERS_MAX);

/** Returns a function that takes the secrets out of a text, also where they are URL-encoded. */
function redactor (...secrets) {
  const words = secrets.filter(word => word?.length >= SECRET_CHARACTERS_MIN)
    .flatMap(word => [word, encodeURIComponent(word)]);
  return text => words.reduce((rest, word) => rest.replaceAll(word, '[secret]'), String(text));
}

/** An error that says by `retryable` whether the same call may succeed later. */
class ClientError extends SekeringError {
  // What isRetryable() looks at.
  get [Symbol.for('sekering.RetryableError')] () { return this.retryable; }
  get [Symbol.for('sekering.NonRetryableError')] () { return !this.retryable; }

  toJSON () {
    return { name: this.name, code: this.code, message: this.message, ...this };
  }
}

module.exports = { ClientError, clean, redactor };
