'use strict';

// Reads foreign values: errors that were thrown, results, options, signals. Any of them may be a
// Proxy, or have getters that throw, but the call must still settle. So such values are read only
// here. Nothing here throws.

const { isPromise } = require('node:util/types');

const { then } = Promise.prototype;

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

/** `Array.isArray(value)`; false if that cannot be determined. */
function isList (value) {
  try {
    return Array.isArray(value);
  } catch {
    return false;
  }
}

/** A copy of an object's own members; an empty one if they cannot be read. */
function copyOf (object) {
  try {
    return { ...object };
  } catch {
    return {};
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

/**
 * Whether the value seems to be an ordinary promise: its `then` and `constructor` are those of
 * Promise. It may still be an object that only inherits them; calling that `then` throws.
 */
function isPlainPromise (value) {
  try {
    return value?.then === then && value.constructor === Promise;
  } catch {
    return false;
  }
}

/** The value as an ordinary promise: itself if it is one. */
function promiseOf (value) {
  // Promise.resolve() trusts the value's own `then`, and throws if `constructor` cannot be read.
  return isPlainPromise(value) && isPromise(value) ? value
    : new Promise(resolve => { resolve(value); });
}

/** Why a signal was aborted. */
function reasonOf (signal) {
  const reason = read(signal, 'reason');
  return reason === undefined
    ? new DOMException('This operation was aborted', 'AbortError')
    : reason;
}

/** The name of a function or a class, if it is a string. */
function nameOf (value) {
  const name = read(value, 'name');
  return typeof name === 'string' ? name : undefined;
}

/** Gives a wrapper the name and the length of the function that it calls. */
function likeFunction (wrapper, original) {
  const length = read(original, 'length');
  return Object.defineProperties(wrapper, {
    name: { value: nameOf(original) ?? '', configurable: true },
    length: { value: typeof length === 'number' ? length : 0, configurable: true },
  });
}

module.exports = {
  copyOf, isA, isList, isPlainPromise, likeFunction, messageOf, nameOf, promiseOf, read, reasonOf,
  textOf,
};
