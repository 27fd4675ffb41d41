'use strict';

// `sekering/decorators`: retry and circuitBreaker as decorators of methods. They work as ECMAScript
// decorators and with TypeScript's experimentalDecorators.

const { isGeneratorFunction } = require('node:util/types');

const { optionError } = require('../base/errors');
const { isA, likeFunction } = require('../base/foreign');
const CircuitBreaker = require('./breaker');
const { checkSharing, readOptions } = require('./breaker-options');
const { Policy } = require('./policy');
const { getCircuitBreaker } = require('./registry');

/** A decorator of methods. `decorate(method, context)` returns the method that replaces it. */
function ofMethods (name, decorate) {
  const checked = (method, context) => {
    if (!isGeneratorFunction(method)) return decorate(method, context);
    throw optionError(TypeError, 'decorator', `@${name}() is for methods that return a promise, ` +
      `but ${String(context.name)} is a generator`);
  };
  return (value, context, descriptor) => {
    if (context?.kind === 'method') return checked(value, context);
    if (typeof descriptor?.value === 'function') {
      return { ...descriptor, value: checked(descriptor.value, olderContext(value, context)) };
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
    const className = classOf(self, context, decorated);
    const name = [className, String(context.name)].filter(Boolean).join('.');
    wrapped = new CircuitBreaker(method, { ...options, name }).wrap(method);
  };
  const decorated = likeFunction(function (...args) {
    prepare(this);
    return wrapped.apply(this, args);
  }, method);
  context.addInitializer(function () { prepare(this); });
  return decorated;
}

/**
 * The name of the class that defines the method: the class of the object, or a superclass of it,
 * whose method it may override. With a decorator around this one, only the method's name is known.
 */
function classOf (self, { name, static: isStatic }, decorated) {
  if (isStatic) return self?.name;
  const holders = [];
  for (let next = self ?? null; next !== null; next = Object.getPrototypeOf(next)) {
    if (Object.hasOwn(next, name)) holders.push(next);
  }
  const isHere = holder => Object.getOwnPropertyDescriptor(holder, name).value === decorated;
  // For a private method, the class that defines it cannot be found.
  return (holders.find(isHere) ?? holders[0] ?? self)?.constructor?.name;
}

module.exports = { circuitBreaker, retry };
