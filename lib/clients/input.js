'use strict';

// Invalid input, which is rejected before anything is sent: one error has all faults of a call.

const { invalidOption } = require('../base/errors');

const FAULTS_MAX = 100;
const RECEIVED_CHARACTERS_MAX = 100;

const clip = text =>
  (text.length > RECEIVED_CHARACTERS_MAX ? `${text.slice(0, RECEIVED_CHARACTERS_MAX)}…` : text);

/** The faults in the input of one call. */
class Faults {
  #call;
  #list = [];

  /** @param {string} call its name, for the message */
  constructor (call) {
    this.#call = call;
  }

  get any () { return this.#list.length > 0; }

  /**
   * @param {string} path where it is, as in `item_details[2].price`
   * @param {string} expected as in `an integer`
   * @param {unknown} received
   */
  add (path, expected, received) {
    if (this.#list.length === FAULTS_MAX) return;
    const shown = typeof received === 'string' ? clip(received) : received;
    this.#list.push({ path, message: invalidOption(path, expected, shown).message });
  }

  /** @throws {TypeError} ERR_INVALID_INPUT with `faults: [{ path, message }]`, if there are any */
  throwIfAny () {
    if (!this.any) return;
    const error = new TypeError(
      `Nothing was sent by ${this.#call}: ${this.#list.map(f => f.message).join('; ')}`);
    // Another attempt with the same input fails in the same way.
    throw Object.assign(error,
      { code: 'ERR_INVALID_INPUT', faults: this.#list, retryable: false });
  }
}

module.exports = { Faults };
