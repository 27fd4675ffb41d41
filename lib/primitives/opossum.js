'use strict';

// `sekering/opossum`, the drop-in: the breaker of `sekering`, but unknown options are ignored and
// the action may be any value, as in opossum.

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

// opossum has no such method.
Object.defineProperty(CircuitBreaker.prototype, 'wrap', { value: undefined, writable: true });

// Tools that copy a module (TypeScript's import * among them) copy what is its own.
for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(Breaker))) {
  if (!Object.hasOwn(CircuitBreaker, name)) Object.defineProperty(CircuitBreaker, name, property);
}

module.exports = Object.assign(CircuitBreaker, { CircuitBreaker });
