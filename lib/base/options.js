'use strict';

// Checks of option values. Each returns the value it was given, or throws ERR_INVALID_OPTION.

const { invalidOption, unknownOption } = require('./errors');

/**
 * @param {string} option name as the user wrote it
 * @param {unknown} value
 * @param {{ min?: number, max?: number, integer?: boolean, unit?: string }} [bounds] inclusive
 */
function number (option, value, bounds = {}) {
  const { min = -Infinity, max = Infinity, integer = false, unit = '' } = bounds;
  const kind = integer ? 'an integer' : 'a number';
  const range = max === Infinity
    ? (min === -Infinity ? '' : ` of at least ${min}`)
    : ` from ${min} to ${max}`;
  const expected = `${kind}${range}${unit && ` (${unit})`}`;
  if (typeof value !== 'number' || Number.isNaN(value)) {
    throw invalidOption(option, expected, value);
  }
  if (integer && !Number.isInteger(value) && value !== max) {
    throw invalidOption(option, expected, value, RangeError);
  }
  if (value < min || value > max) throw invalidOption(option, expected, value, RangeError);
  return value;
}

/** As `number`, but neither infinite; the message has opossum's words for it. */
function finite (option, value, bounds) {
  if (!Number.isFinite(value)) {
    throw invalidOption(option, `a number (${option} must be a finite number)`, value);
  }
  return number(option, value, bounds);
}

function func (option, value) {
  if (typeof value !== 'function') throw invalidOption(option, 'a function', value);
  return value;
}

function boolean (option, value) {
  if (typeof value !== 'boolean') throw invalidOption(option, 'true or false', value);
  return value;
}

function oneOf (option, value, choices) {
  if (!choices.includes(value)) {
    throw invalidOption(option, `one of ${choices.map(c => `'${c}'`).join(', ')}`, value,
      typeof value === 'string' ? RangeError : TypeError);
  }
  return value;
}

/**
 * An options bag: an object, or undefined which stands for an empty one. Drop-ins take whatever
 * they are given, as what they stand for does; elsewhere a name that is none of `names` is refused.
 * @param {string[]} [names]
 */
function bag (option, value, names) {
  if (value === undefined) return {};
  if (value === null || typeof value !== 'object') throw invalidOption(option, 'an object', value);
  if (names === undefined) return value;
  for (const name of Object.keys(value)) {
    if (!names.includes(name)) throw unknownOption(name, option, names);
  }
  return value;
}

module.exports = { finite, number, func, boolean, oneOf, bag };
