'use strict';

// `sekering/decorators`: retry and circuitBreaker as decorators of methods. They work as ECMAScript
// decorators and with TypeScript's experimentalDecorators.

const { optionError } = require('../base/errors');
const { isA, likeFunction } = require('../base/foreign');
const CircuitBreaker = require('./breaker');
const { checkSharing, readOptions } = require('./breaker-options');
const { Policy } = require('./policy');
const { getCircuitBreaker } = require('./registry');

/** A decorator of methods. `decorate(method, context)` returns the method that replaces it. */
function ofMethods (name, decorate) {
  return (value, context, descriptor) => {
    if (context?.kind === 'method') return decorate(value, context);
    if (typeof descriptor?.value === 'function') {
      return { ...descriptor, value: decorate(descriptor.value, olderContext(value, context)) };
    }
    throw optionError(TypeError, 'decorator', `@${name}() is for methods, but it is on a ` +
      (context?.kind ?? (context === undefined ? 'class' : 'property or accessor')));
  };
}

/** With experimentalDecorators, `target` is the class or its prototype, which is complete. */
const olderContext = (target, name) => ({
  name,
  static: typeof target === 'function',
  addInitializer: initialize => initialize.call(target),
});

/** Calls the method again until it succeeds. If a breaker inside is open, the call ends at once. */
function retry (options) {
  const policy = new Policy({ retry: options ?? {} });
  return ofMethods('retry', method => policy.wrap(method));
}

/**
 * Calls the method through a breaker: an existing one, or one made from options. If the options
 * have a name, it is that of getCircuitBreaker; otherwise the method has its own.
 */
function circuitBreaker (given) {
  if (isA(given, CircuitBreaker)) {
    // A breaker of sekering/opossum has no `wrap`.
    const { wrap } = CircuitBreaker.prototype;
    return ofMethods('circuitBreaker', method => wrap.call(given, method));
  }
  const options = readOptions(given);
  if (options.name) {
    const breaker = getCircuitBreaker(options.name, given);
    return ofMethods('circuitBreaker', method => breaker.wrap(method));
  }
  checkSharing(options, options.name);
  return ofMethods('circuitBreaker', (method, context) => withOwnBreaker(method, context, options));
}

/**
 * The breaker is created with the first object of the class, because the class is unknown before.
 */
function withOwnBreaker (method, context, options) {
  let wrapped;
  const prepare = self => {
    if (wrapped !== undefined) return;
    const name = [classOf(self, context), String(context.name)].filter(Boolean).join('.');
    wrapped = new CircuitBreaker(method, { ...options, name }).wrap(method);
  };
  context.addInitializer(function () { prepare(this); });
  return likeFunction(function decorated (...args) {
    prepare(this);
    return wrapped.apply(this, args);
  }, method);
}

/** The name of the class that defines the method; it may be a superclass of the object's class. */
function classOf (self, { name, static: isStatic }) {
  if (isStatic) return self?.name;
  let holder = self ?? null;
  while (holder !== null && !Object.hasOwn(holder, name)) holder = Object.getPrototypeOf(holder);
  // For a private method, the class that defines it cannot be found.
  return (holder ?? self)?.constructor?.name;
}

module.exports = { circuitBreaker, retry };
