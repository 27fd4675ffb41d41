'use strict';

// Reads foreign values: errors that were thrown, results, reasons of signals. Any of them may be a
// Proxy, or have getters that throw, but the call must still settle. So such values are read only
// here. Nothing here throws.

/** `object[name]`; undefined if it does not exist or cannot be read. */
function read (object, name) {
  try {
    return object?.[name];
  } catch {
    return undefined;
  }
}

/** `value instanceof Type`; false if that cannot be determined. */
function isA (value, Type) {
  try {
    return value instanceof Type;
  } catch {
    return false;
  }
}

/** The value as text. */
function textOf (value) {
  try {
    return String(value);
  } catch {
    return 'a value that cannot be read';
  }
}

/** What an error says: its message, or else the whole error as text. */
function messageOf (error) {
  const message = read(error, 'message');
  return typeof message === 'string' ? message : textOf(error);
}

/** The value as a promise: itself if it is one. */
function promiseOf (value) {
  // Promise.resolve() throws if the promise's `constructor` cannot be read.
  return isA(value, Promise) ? value : new Promise(resolve => { resolve(value); });
}

/** Why a signal was aborted. */
function reasonOf (signal) {
  const reason = read(signal, 'reason');
  return reason === undefined
    ? new DOMException('This operation was aborted', 'AbortError')
    : reason;
}

/** Gives a wrapper the name and the length of the function that it calls. */
function likeFunction (wrapper, { name, length }) {
  return Object.defineProperties(wrapper, {
    name: { value: name, configurable: true },
    length: { value: length, configurable: true },
  });
}

module.exports = { isA, likeFunction, messageOf, promiseOf, read, reasonOf, textOf };
