'use strict';

// Values that resist being looked at: what user code, and the libraries that it uses, may throw,
// reject with or return.

/** What the getters and traps of these values throw. */
const boom = new Error('boom');
const fail = () => { throw boom; };

// Whatever any part of the package reads of an error. The stack is first, as it is made of others.
const MEMBERS = [
  'stack', 'bail', 'body', 'cause', 'code', 'command', 'constructor', 'expose', 'faults', 'headers',
  'httpStatus', 'kind', 'message', 'name', 'originalCode', 'output', 'response', 'responseCode',
  'rejectedErrors', 'retryAfter', 'retryAfterMs', 'retryable', 'status', 'statusCode',
  'toString', Symbol.toPrimitive, Symbol.toStringTag, Symbol.for('sekering.RetryableError'),
  Symbol.for('sekering.NonRetryableError'), Symbol.for('sekering.our-error'),
];
const TRAPS = Object.getOwnPropertyNames(Reflect);

const withGetter = name => Object.defineProperty(new Error('trap'), name, { get: fail });

function withGetters () {
  const error = new Error('traps');
  for (const name of MEMBERS) Object.defineProperty(error, name, { get: fail });
  return error;
}

class HttpError extends Error {
  get headers () { return this.response.headers; }
}

function revoked () {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

function cyclic () {
  const error = new Error('cyclic');
  return Object.assign(error, { cause: error, response: error, headers: error });
}

/** A Proxy in which only one trap throws. */
const proxyThat = (trap, target) => new Proxy(target, { [trap]: fail });

const proxy = target => new Proxy(target, Object.fromEntries(TRAPS.map(trap => [trap, fail])));

/** Each makes one value that can be thrown: [name, make]. */
const ERRORS = [
  ...MEMBERS.map(name => [`an error whose ${String(name)} cannot be read`, () => withGetter(name)]),
  ['an error none of whose members can be read', withGetters],
  ['an error of HTTP without a response', () => new HttpError('no response')],
  ['headers whose get throws', () => Object.assign(new Error(), { headers: { get: fail } })],
  ['headers that cannot be listed', () => Object.assign(new Error(), { headers: proxy({}) })],
  ['headers that were revoked', () => Object.assign(new Error(), { headers: revoked() })],
  ['a cause that was revoked', () => new Error('outer', { cause: revoked() })],
  ['a response that is a Proxy', () => Object.assign(new Error(), { response: proxy({}) })],
  ['a Retry-After that is no text', () => ({ headers: { 'retry-after': Object.create(null) } })],
  ['a message that is a symbol', () => Object.assign(new Error(), { message: Symbol('no') })],
  ['a message that is a Proxy', () => Object.assign(new Error(), { message: proxy({}) })],
  ['a code that is a Proxy', () => Object.assign(new Error(), { code: proxy({}) })],
  ['a Proxy whose every trap throws', () => proxy({})],
  ['a function whose every trap throws', () => proxy(() => {})],
  ['a Proxy of an error', () => proxy(new Error('inner'))],
  ['a revoked Proxy', revoked],
  ['an object without a prototype', () => Object.create(null)],
  ['an object whose toString throws', () => ({ toString: fail })],
  ['a frozen error', () => Object.freeze(new Error('frozen'))],
  ['an error that is its own cause', cyclic],
  ['a symbol', () => Symbol('thrown')],
  ['a bigint', () => 7n],
  ['null', () => null],
  ['a text', () => 'text'],
  ['a thenable', () => ({ then: fail })],
  ['an object whose then cannot be read', () => ({ get then () { return fail(); } })],
];

/** Results that are no plain values: [name, make]. Each settles when it is awaited. */
const RESULTS = [
  ['an object whose then cannot be read', () => ({ get then () { return fail(); } })],
  ['a thenable that throws', () => ({ then: fail })],
  ['a thenable that calls both', () => ({ then (yes, no) { yes('fine'); no(boom); } })],
  ['a thenable that calls both, and throws', () =>
    ({ then (yes, no) { no(boom); yes(); fail(); } })],
  ['a function with a then', () => Object.assign(() => {}, { then (yes) { yes('fine'); } })],
  ['a then that is no function', () => ({ then: 7 })],
  ['a promise whose constructor cannot be read', () =>
    Object.defineProperty(Promise.resolve('fine'), 'constructor', { get: fail })],
  ['a promise whose then throws', () => Object.assign(Promise.resolve('fine'), { then: fail })],
  ['what only looks like a promise', () => Object.create(Promise.prototype)],
  ['a Proxy of a promise', () => new Proxy(Promise.resolve('fine'), {})],
  ['a Proxy whose every trap throws', () => proxy({})],
  ['a revoked Proxy', revoked],
  ['a frozen object', () => Object.freeze({})],
  ['a symbol', () => Symbol('result')],
];

class HostilePromise extends Promise {
  static get [Symbol.species] () { return fail(); }
}

class Deaf {
  constructor (executor) { executor(() => {}, () => {}); }

  then () {}
}

/** A promise whose own `then` returns a promise that never settles. */
const withSpecies = (species, value = { [Symbol.species]: species }) =>
  Object.defineProperty(Promise.resolve('fine'), 'constructor', { value });

const signalLike = members =>
  ({ aborted: false, addEventListener () {}, removeEventListener () {}, ...members });

/** Arguments and members of options of the wrong kind: [name, make]. */
const VALUES = [
  ...ERRORS.filter(([name]) => !/^an error whose/.test(name)),
  ...RESULTS,
  ...TRAPS.map(trap => [`an object whose trap ${trap} throws`, () => proxyThat(trap, { a: 1 })]),
  ['an array whose every trap throws', () => proxy([])],
  ['an array that was revoked', () => {
    const { proxy: list, revoke } = Proxy.revocable([], {});
    revoke();
    return list;
  }],
  ['an array with an element that cannot be read', () =>
    Object.defineProperty([1, 2], 0, { get: fail })],
  ['an array of what cannot be read', () => [proxy({}), Object.create(null), Symbol('element')]],
  ['an array whose iterator throws', () => Object.assign([1], { [Symbol.iterator]: fail })],
  ['an object whose members cannot be read', () => ({ a: proxy({}), b: Object.create(null) })],
  ['an object that cannot be JSON', () => ({ toJSON: fail, loop: cyclic() })],
  ['an object with a bigint and a symbol', () => ({ amount: 7n, [Symbol('key')]: Symbol() })],
  ['a function whose name and length cannot be read', () =>
    Object.defineProperties(() => {}, { name: { get: fail }, length: { get: fail } })],
  ['a function without a prototype', () => Object.setPrototypeOf(() => {}, null)],
  ['a class', () => class Foreign {}],
  ['an invalid date', () => new Date(NaN)],
  ['a date whose every trap throws', () => proxy(new Date(0))],
  ['bytes whose every trap throws', () => proxy(new Uint8Array(1))],
  ['NaN', () => NaN],
  ['an endless number', () => Infinity],
  ['a negative number', () => -1],
  ['an empty text', () => ''],
  ['a lone surrogate', () => '\ud800'],
  ['a signal that cannot be read', () => proxy(new AbortController().signal)],
  ['a signal whose aborted cannot be read', () =>
    Object.defineProperty(signalLike(), 'aborted', { get: fail })],
  ['a signal that cannot be listened to', () => signalLike({ addEventListener: fail })],
  ['a signal that cannot be left', () => signalLike({ removeEventListener: fail })],
  ['a signal that was aborted, for a reason that cannot be read', () =>
    Object.defineProperty(signalLike({ aborted: true }), 'reason', { get: fail })],
  ['a map whose get throws', () => Object.assign(new Map(), { get: fail, has: fail, set: fail })],
];

/**
 * Callbacks that fail, or return a value that cannot be read: [name, make]. Each of their calls
 * ends.
 */
const CALLBACKS = [
  ...VALUES.flatMap(([name, make]) => [
    [`a function that throws ${name}`, () => () => { throw make(); }],
    [`a function that returns ${name}`, () => () => make()],
    [`a function that rejects with ${name}`, () => () => Promise.reject(make())],
  ]),
  ['a function that returns a promise of a hostile class',
    () => () => new HostilePromise(yes => yes())],
  ['a function that returns a promise of a hostile species', () => () => withSpecies(Deaf)],
  ['a function whose call and apply throw',
    () => Object.assign(() => 1, { call: fail, apply: fail })],
];

/** Promises that a careless `then()` loses, though `await` does not. */
const LOSSY = [
  ['a promise of a species that hears nothing', () => withSpecies(Deaf)],
  ['a promise of a species that cannot be read',
    () => withSpecies(undefined, { get [Symbol.species] () { return fail(); } })],
];

const OF_MEMBERS = new Set(['a symbol', 'a bigint', 'a Proxy whose every trap throws',
  'a function whose every trap throws', 'a revoked Proxy', 'an object without a prototype',
  'an object whose toString throws', 'an error that is its own cause',
  'an object whose trap get throws', 'an array that was revoked',
  'an array with an element that cannot be read', 'an array of what cannot be read',
  'an object whose members cannot be read', 'a signal that cannot be listened to', 'NaN']);

/** The values that are tried as each member of options. */
const MEMBER_VALUES = VALUES.filter(([name]) => OF_MEMBERS.has(name));

module.exports = { CALLBACKS, ERRORS, LOSSY, MEMBER_VALUES, RESULTS, VALUES, boom };
