'use strict';

// The errors that a breaker itself rejects with.

const { SekeringError } = require('../base/errors');

/** The error of an open breaker, and the promise that is rejected with it. */
function refusal () {
  const error = new SekeringError('EOPENBREAKER');
  const promise = Promise.reject(error);
  promise.catch(() => {});
  return { error, promise };
}

module.exports = {
  locked: () => new SekeringError('ESEMLOCKED'),
  refusal,
  shutdown: () => new SekeringError('ESHUTDOWN'),
};
