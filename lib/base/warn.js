'use strict';

// A user's callback that fails must not break a call or the process. It is reported here.

const { messageOf, read } = require('./foreign');

/** Reports an error of a user's listener or callback as a process warning. */
function warn (what, error) {
  process.emitWarning(`${what}: ${messageOf(error)}`,
    { type: 'SekeringWarning', code: 'SEKERING_CALLBACK' });
}

/** Watches the promise that a callback may have returned. */
function watch (what, result) {
  if (typeof read(result, 'then') !== 'function') return;
  try {
    result.then(undefined, error => warn(what, error));
  } catch (error) {
    warn(what, error);
  }
}

/** Runs a callback whose result nobody waits for. */
function guarded (what, callback) {
  try {
    watch(what, callback());
  } catch (error) {
    warn(what, error);
  }
}

/**
 * Returns the answer of a callback that should return a boolean or a key. If it returns a promise
 * by mistake, the process must not end when that promise rejects.
 */
function asked (what, callback) {
  const answer = callback();
  if (typeof answer === 'object' && answer !== null) watch(what, answer);
  return answer;
}

module.exports = { asked, guarded, warn, watch };
