'use strict';

// The signals of callers.

const { setMaxListeners } = require('node:events');

const { invalidOption } = require('./errors');

/**
 * The caller's signal, checked; undefined if there is none. It may be shared by any number of calls
 * at once, each of which listens to it: Node.js would warn of a leak from the eleventh on.
 */
function readSignal (signal) {
  if (signal === undefined || signal === null) return undefined;
  if (typeof signal.aborted !== 'boolean' || typeof signal.addEventListener !== 'function') {
    throw invalidOption('signal', 'an AbortSignal', signal);
  }
  if (signal instanceof EventTarget) setMaxListeners(0, signal);
  return signal;
}

module.exports = { readSignal };
