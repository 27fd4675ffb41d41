'use strict';

// The errors that a breaker itself rejects with. CircuitBreaker.isOurError tells them from others.

const OUR_ERROR = Symbol.for('sekering.our-error');

function ourError (message, code) {
  const error = new Error(message);
  error.code = code;
  Object.defineProperty(error, OUR_ERROR, { value: true });
  return error;
}

module.exports = {
  isOurError: error => Boolean(error?.[OUR_ERROR]),
  locked: () => ourError('Semaphore locked', 'ESEMLOCKED'),
  open: () => ourError('Breaker is open', 'EOPENBREAKER'),
  shutdown: () => ourError('The circuit has been shutdown.', 'ESHUTDOWN'),
  timedOut: ms => ourError(`Timed out after ${ms}ms`, 'ETIMEDOUT')
};
