'use strict';

// Every error that sekering makes carries a stable `code`.

const { read } = require('./foreign');

class SekeringError extends Error {
  /**
   * @param {string} code stable, machine-readable
   * @param {string} message
   * @param {{ cause?: unknown }} [options]
   */
  constructor (code, message, options) {
    super(message, options);
    this.code = code;
  }

  get name () { return 'SekeringError'; }
}

/** The name of a function, if it has one that is a text. */
function nameOf (value) {
  const name = read(value, 'name');
  return typeof name === 'string' ? name : undefined;
}

function describe (value) {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'string') return `${JSON.stringify(value)} of type string`;
  if (typeof value === 'function') return `function ${nameOf(value) || '(anonymous)'}`;
  if (typeof value === 'object') {
    return `an instance of ${nameOf(read(value, 'constructor')) ?? 'Object'}`;
  }
  return `${String(value)} of type ${typeof value}`;
}

/** The error for a wrong option: a TypeError, or a RangeError when only the amount is wrong. */
function invalidOption (option, expected, received, Type = TypeError) {
  const error = new Type(`Expected ${expected} for ${option} but received ${describe(received)}`);
  error.code = 'ERR_INVALID_OPTION';
  error.option = option;
  return error;
}

/** An option of a name that there is none of. Its value is not shown: it may be a secret's. */
function unknownOption (option, bag, names) {
  const place = bag === 'options' ? '' : ` in ${bag}`;
  const error = new RangeError(
    `There is no option ${option}${place} (there are ${names.join(', ')})`);
  error.code = 'ERR_INVALID_OPTION';
  error.option = option;
  return error;
}

module.exports = { SekeringError, invalidOption, unknownOption };
