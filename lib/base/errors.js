'use strict';

// The errors. Each has a stable `code`; what a code means is in ./error-codes.

const { CODES } = require('./error-codes');
const { isA, nameOf, read, textOf } = require('./foreign');

const mark = name => Symbol.for(`sekering.${name}`);

class SekeringError extends Error {
  constructor (code, message = CODES[code]?.message, options) {
    super(message === undefined ? message : textOf(message), options);
    this.code = code;
  }

  /**
   * Gives a class its name, which no minifier changes, and makes `instanceof` true for errors of
   * other copies of this package, too.
   */
  static define (Class, name) {
    const own = mark(name);
    Object.defineProperties(Class.prototype, {
      // An error, or a class that extends this one, may have its own name.
      name: { value: name, writable: true, configurable: true }, [own]: { value: true },
    });
    Object.defineProperty(Class, Symbol.hasInstance, {
      value (error) {
        // A class that extends this one inherits the method, but must match its own errors only.
        if (this !== Class) return Function.prototype[Symbol.hasInstance].call(this, error);
        return typeof error === 'object' && error !== null && read(error, own) === true;
      },
    });
  }
}

SekeringError.define(SekeringError, 'SekeringError');

/** The error that a breaker itself rejects with. It has the name of opossum's errors. */
class BreakerError extends SekeringError {}

SekeringError.define(BreakerError, 'BreakerError');
Object.defineProperty(BreakerError.prototype, 'name', { value: 'Error', writable: true });

/** The error for a call that took too long. */
const timedOut = (ms, Type = SekeringError) =>
  new Type('ETIMEDOUT', `Timed out after ${textOf(ms)}ms`);

/** Whether an error says that the upstream was never asked, so that nothing can have happened. */
const wasNotAsked = error => NOT_ASKED.has(read(error, 'code'));

/** Whether, in addition, a retry would be rejected, too: the breaker is open or shut down. */
const isRefusal = error => REFUSALS.has(read(error, 'code'));

/** Whether a breaker made the error, and not its action. */
const isBreakerError = error => isA(error, BreakerError);

const codesWhere = test => new Set(Object.keys(CODES).filter(code => test(CODES[code])));
const NOT_ASKED = codesWhere(({ asked }) => asked === false);
const REFUSALS = codesWhere(({ asked, retryable }) => asked === false && retryable === false);

// ---- Options -----------------------------------------------------------------------------------

function describe (value) {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'string') return `${JSON.stringify(value)} of type string`;
  if (typeof value === 'function') return `function ${nameOf(value) || '(anonymous)'}`;
  if (typeof value === 'object') {
    return `an instance of ${nameOf(read(value, 'constructor')) ?? 'Object'}`;
  }
  return `${textOf(value)} of type ${typeof value}`;
}

/** The error for an option, with the caller's own message. */
function optionError (Type, option, message) {
  return Object.assign(new Type(message), { code: 'ERR_INVALID_OPTION', option });
}

/** Whether it is the error for an option, or another one of ours for what the user gave. */
const isOptionError = error =>
  isA(error, Error) && Object.hasOwn(CODES, textOf(read(error, 'code')));

/** The error for a wrong option: a TypeError, or a RangeError when only the amount is wrong. */
function invalidOption (option, expected, received, Type = TypeError) {
  return optionError(Type, option,
    `Expected ${expected} for ${option} but received ${describe(received)}`);
}

/** The error for an unknown option. Its value is not shown: it may be a secret. */
function unknownOption (option, place, names) {
  const where = place === 'options' ? '' : ` in ${place}`;
  const meant = nearest(option, names);
  const hint = meant === undefined ? '' : ` Did you mean ${meant}?`;
  return optionError(RangeError, where === '' ? option : `${place}.${option}`,
    `Unknown option ${option}${where}.${hint} Known options: ${names.join(', ') || 'none'}`);
}

/** The name that was probably meant, if one is close enough. */
function nearest (given, names) {
  let best;
  let least = Math.max(1, Math.floor(given.length / 3)) + 1;
  for (const name of names) {
    const edits = distance(given.toLowerCase(), name.toLowerCase());
    if (edits < least) [best, least] = [name, edits];
  }
  return best;
}

const LENGTH_MAX = 64;

/** The number of edits between two words (Levenshtein). */
function distance (a, b) {
  if (a.length > LENGTH_MAX) return Infinity;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      next[j] = Math.min(change, row[j] + 1, next[j - 1] + 1);
    }
    row = next;
  }
  return row[b.length];
}

module.exports = {
  BreakerError, SekeringError, invalidOption, isBreakerError, isOptionError, isRefusal, nearest,
  optionError, timedOut, unknownOption, wasNotAsked,
};
