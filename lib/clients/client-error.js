'use strict';

// What the errors of all clients have in common, how text from outside gets into them, and the
// error for invalid input, which is rejected before anything is sent.

const { SekeringError, invalidOption, isOptionError } = require('../base/errors');
const { isA, isList, messageOf, read, textOf } = require('../base/foreign');

const TEXT_CHARACTERS_MAX = 300;
// A shorter secret is a test's, and would be found in every other word.
const SECRET_CHARACTERS_MIN = 6;
const FAULTS_MAX = 100;
const RECEIVED_CHARACTERS_MAX = 100;

const isObject = value => typeof value === 'object' && value !== null && !isList(value);

/** Makes text from outside fit for a message or a log: short, and on one line. */
const clean = text => textOf(text).replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ')
  .slice(0, TEXT_CHARACTERS_MAX);

/** Returns a function that takes the secrets out of a text, also where they are URL-encoded. */
function redactor (...secrets) {
  const words = secrets.filter(word => word?.length >= SECRET_CHARACTERS_MIN)
    .flatMap(word => [word, encodeURIComponent(word)]);
  return text => words.reduce((rest, word) => rest.replaceAll(word, '[secret]'), String(text));
}

/** An error that says by `retryable` whether the same call may succeed later. */
class ClientError extends SekeringError {
  /** `details`: its properties, and `cause`. */
  constructor (code, message, { cause, retryAfter, ...details } = {}) {
    super(code, message, cause === undefined ? undefined : { cause });
    Object.assign(this, details);
    if (retryAfter !== undefined) this.retryAfter = retryAfter;
  }

  // What isRetryable() looks at.
  get [Symbol.for('sekering.RetryableError')] () { return this.retryable; }
  get [Symbol.for('sekering.NonRetryableError')] () { return !this.retryable; }

  toJSON () {
    return { name: this.name, code: this.code, message: this.message, ...this };
  }
}

const clip = text =>
  (text.length > RECEIVED_CHARACTERS_MAX ? `${text.slice(0, RECEIVED_CHARACTERS_MAX)}…` : text);

/** The faults in the input of one call: one error has all of them. */
class Faults {
  #call;
  #list = [];

  /** @param {string} call its name, for the message */
  constructor (call) {
    this.#call = call;
  }

  /** Notes a fault at a path such as `item_details[2].price`. */
  add (path, expected, received) {
    if (this.#list.length === FAULTS_MAX) return;
    const shown = typeof received === 'string' ? clip(received) : received;
    this.#list.push({ path, message: invalidOption(path, expected, shown).message });
  }

  get isEmpty () { return this.#list.length === 0; }

  /** Notes the fault that `check` throws. Returns what it returns. */
  note (path, check) {
    try {
      return check();
    } catch (error) {
      if (!isOptionError(error)) throw error;
      this.#list.push({ path: read(error, 'option') ?? path, message: messageOf(error) });
      return undefined;
    }
  }

  /** Throws ERR_INVALID_INPUT with `faults: [{ path, message }]`, if there are any. */
  throwIfAny () {
    if (this.#list.length === 0) return;
    const error = new TypeError(
      `Nothing was sent by ${this.#call}: ${this.#list.map(f => f.message).join('; ')}`);
    // Another attempt with the same input fails in the same way.
    throw Object.assign(error,
      { code: 'ERR_INVALID_INPUT', faults: this.#list, retryable: false });
  }
}

/**
 * Returns what `look` makes of the input of a call. If a member of the input cannot be read, that
 * is a fault of the input. `call`: its name, or its Faults so far.
 */
function readInput (call, path, look) {
  try {
    return look();
  } catch (error) {
    if (isOptionError(error)) throw error;
    const faults = isA(call, Faults) ? call : new Faults(call);
    faults.add(path, 'a value that can be read', undefined);
    return faults.throwIfAny();
  }
}

/** The faults of a message to be sent, which has to be an object. */
function faultsOfMessage (message) {
  const faults = new Faults('send');
  if (!isObject(message)) faults.add('message', 'an object', message);
  faults.throwIfAny();
  return faults;
}

module.exports = { ClientError, Faults, clean, faultsOfMessage, isObject, readInput, redactor };
