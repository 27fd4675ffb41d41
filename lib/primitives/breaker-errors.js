'use strict';

// The errors that a breaker itself rejects with. CircuitBreaker.isOurError tells them from others.

const { read } = require('../base/foreign');

const OUR_ERROR = Symbol.for('sekering.our-error');

function ourError (message, code) {
  const error = new Error(message);
  error.code = code;
  Object.defineProperty(error, OUR_ERROR, { value: true });
  return error;
}

/** The error of an open breaker, and the promise that is rejected with it. */
function refusal () {
  const error = ourError('Breaker is open', 'EOPENBREAKER');
  const promise = Promise.reject(error);
  promise.catch(() => {});
  return { error, promise };
}

module.exports = {
  isOurError: error => Boolean(read(error, OUR_ERROR)),
  locked: () => ourError('Semaphore locked', 'ESEMLOCKED'),
  refusal,
  shutdown: () => ourError('The circuit has been shutdown.', 'ESHUTDOWN'),
  timedOut: ms => ourError(`Timed out after ${ms}ms`, 'ETIMEDOUT')
};
