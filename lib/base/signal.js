'use strict';

// The signals of callers.

const { setMaxListeners } = require('node:events');

const { invalidOption } = require('./errors');
const { isA, read } = require('./foreign');

const METHODS = ['addEventListener', 'removeEventListener'];

/**
 * The caller's signal, checked; undefined if there is none. It may be shared by any number of calls
 * at once, each of which listens to it: Node.js would warn of a leak from the eleventh on.
 */
function readSignal (signal) {
  if (signal === undefined || signal === null) return undefined;
  const fits = typeof read(signal, 'aborted') === 'boolean' &&
    METHODS.every(name => typeof read(signal, name) === 'function');
  if (!fits) throw invalidOption('signal', 'an AbortSignal', signal);
  if (isA(signal, EventTarget)) setMaxListeners(0, signal);
  return signal;
}

/** Why a signal was aborted. */
function reasonOf (signal) {
  const reason = read(signal, 'reason');
  return reason === undefined
    ? new DOMException('This operation was aborted', 'AbortError')
    : reason;
}

module.exports = { readSignal, reasonOf };
