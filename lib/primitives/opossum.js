'use strict';

// `sekering/opossum`, the drop-in: the breaker of `sekering`, but unknown options are ignored, as
// opossum does.

const Breaker = require('./breaker');
const { readOptions } = require('./breaker-options');

class CircuitBreaker extends Breaker {
  static _readOptions (given) { return readOptions(given, true); }

  // A breaker that `sekering` made is one of these, too.
  static [Symbol.hasInstance] (value) {
    return Function.prototype[Symbol.hasInstance].call(
      this === CircuitBreaker ? Breaker : this, value);
  }
}

// Tools that copy a module (TypeScript's import * among them) copy what is its own.
for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(Breaker))) {
  if (!Object.hasOwn(CircuitBreaker, name)) Object.defineProperty(CircuitBreaker, name, property);
}

module.exports = Object.assign(CircuitBreaker, { CircuitBreaker });
