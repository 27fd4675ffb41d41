'use strict';

// A user's callback that fails must not take a call, or the process, with it: it is reported here.

/** Reports an error thrown by a listener or a callback of the user's as a process warning. */
function warn (what, error) {
  const reason = error instanceof Error ? error.message : String(error);
  process.emitWarning(`${what}: ${reason}`, { type: 'SekeringWarning', code: 'SEKERING_CALLBACK' });
}

/** Watches the promise that a callback may have returned. */
function watch (what, result) {
  if (typeof result?.then === 'function') {
    result.then(undefined, error => warn(what, error));
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

module.exports = { guarded, warn, watch };
