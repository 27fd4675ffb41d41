'use strict';

// `sekering/decorators`: retry and circuitBreaker as decorators of methods. They are decorators of
// ECMAScript, and also of TypeScript's experimentalDecorators.

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

/** The method, tried again until it succeeds. An open breaker inside ends that at once. */
function retry (options) {
  const policy = new Policy({ retry: options ?? {} });
  return ofMethods('retry', method => policy.wrap(method));
}

/**
 * The method through a breaker: one that exists, or one made from options. That is the one of
 * getCircuitBreaker if the options have a name, otherwise one of this method's own.
 */
function circuitBreaker (given) {
  if (isA(given, CircuitBreaker)) {
    // One of the drop-in has no `wrap` of its own.
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

/** The breaker is made with the first object of the class: only then is the class known. */
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

/** The name of the class that has the method, which may be above the class of the object. */
function classOf (self, { name, static: isStatic }) {
  if (isStatic) return self?.name;
  let holder = self ?? null;
  while (holder !== null && !Object.hasOwn(holder, name)) holder = Object.getPrototypeOf(holder);
  // Nothing shows which class has a private method.
  return (holder ?? self)?.constructor?.name;
}

module.exports = { circuitBreaker, retry };
