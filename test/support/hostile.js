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

module.exports = { ERRORS, RESULTS, boom };
