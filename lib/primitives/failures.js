'use strict';

// The errors of one series of attempts, and which of them to report.

const { read } = require('../base/foreign');

// The oldest ones beyond this are forgotten.
const ERRORS_MAX = 1000;

/** Adds an error to the list. */
function remember (errors, error) {
  errors.push(error);
  if (errors.length > ERRORS_MAX) errors.shift();
}

/**
 * The most frequent error, compared by message: that is what went wrong, and not what happened
 * to go wrong last. Of several that are equally frequent, the last one.
 */
function mainError (errors) {
  const counts = new Map();
  let found;
  let most = 0;
  for (const error of errors) {
    const message = read(error, 'message');
    const count = (counts.get(message) ?? 0) + 1;
    counts.set(message, count);
    if (count >= most) {
      found = error;
      most = count;
    }
  }
  return found;
}

module.exports = { mainError, remember };
