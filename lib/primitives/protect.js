'use strict';

// A client object whose methods are protected by a policy, and which is otherwise as it was.

const { invalidOption } = require('../base/errors');
const { likeFunction } = require('../base/foreign');
const { is, readable } = require('../base/options');
const { POLICY, Policy } = require('./policy');
const { keyOf } = require('./stale-cache');

const METHODS_MAX = 1000;

const isListOfNames = value => Array.isArray(value) && value.length > 0 &&
  value.length <= METHODS_MAX && value.every(path => typeof path === 'string' && path !== '');

const OPTIONS = POLICY.with({
  methods: is.where("their names; 'transaction.status' names a method of an object in the client",
    'an array of names of methods', isListOfNames, { required: true }),
  callbacks: is.boolean('whether the methods also take a callback (error, value) at the end',
    { default: false }),
  key: is.func('of the copy in the cache: (...args); default: method and arguments as JSON'),
  signal: is.func('of the call: (...args)'),
  // One word for all methods would be said too easily: some of them charge, send or create.
  hedge: is.where('no part of it', 'no hedge (a policy around one function may have it)',
    value => value === false || value === null),
});

/** Listed paths by their first name: `{ sendMail: [], transaction: ['status', 'cancel'] }`. */
function group (paths) {
  const names = new Map();
  for (const path of paths) {
    const [name, ...rest] = path.split('.');
    if (!names.has(name)) names.set(name, []);
    names.get(name).push(rest.join('.'));
  }
  return names;
}

/** Checks that the methods exist and can be replaced. */
function checkMethods (client, paths) {
  for (const path of paths) {
    const names = path.split('.');
    const last = names.pop();
    const holder = names.reduce((object, name) => object?.[name], client);
    if (typeof holder?.[last] !== 'function') {
      throw invalidOption('methods', `methods of the client (${path} is not one)`, holder?.[last]);
    }
    if (isFixed(holder, last)) {
      throw invalidOption('methods', `methods that can be replaced (${path} is frozen)`, holder);
    }
  }
}

/** Calls a method that takes a callback as one that returns a promise. */
function promised (method, target, args) {
  return new Promise((resolve, reject) => {
    const callback = (error, value) => (error ? reject(error) : resolve(value));
    method.call(target, ...args, callback);
  });
}

class Handler {
  #names;
  #policy;
  #options;
  #made = new Map(); // The replacement of each function or object, so that it is always the same.

  constructor (paths, policy, options) {
    this.#names = group(paths);
    this.#policy = policy;
    this.#options = options;
  }

  get (target, name, proxy) {
    // Accessors run on the client itself, which private fields require.
    const value = Reflect.get(target, name, target);
    const paths = this.#names.get(name);
    const kind = typeof value;
    if (kind !== 'function' && (paths === undefined || kind !== 'object' || value === null)) {
      return value;
    }
    if (kind === 'function' && (name === 'constructor' || isFixed(target, name))) return value;
    const made = this.#made.get(name);
    if (made !== undefined && made.value === value) return made.replacement;
    const replacement = this.#replace(target, name, value, paths, proxy);
    this.#made.set(name, { value, replacement });
    return replacement;
  }

  set (target, name, value) {
    return Reflect.set(target, name, value, target);
  }

  #replace (target, name, value, paths, proxy) {
    const place = `${this.#options.place}${String(name)}`;
    if (typeof value === 'object') {
      const options = { ...this.#options, place: `${place}.` };
      return new Proxy(value, new Handler(paths, this.#policy, options));
    }
    if (paths?.includes('')) return this.#protect(target, value, place);
    return bind(target, value, proxy);
  }

  #protect (target, method, place) {
    const policy = this.#policy;
    const { callbacks, signal, key = (...args) => keyOf(place, args) } = this.#options;
    const protectedMethod = policy.wrap((...args) => method.apply(target, args), { key, signal });
    const calledBack = policy.wrap((...args) => promised(method, target, args), { key, signal });
    function replacement (...args) {
      if (!callbacks || typeof args.at(-1) !== 'function') return protectedMethod(...args);
      const callback = args.pop();
      calledBack(...args).then(value => callback(null, value), error => callback(error));
      return undefined;
    }
    return likeFunction(replacement, method);
  }
}

/** A property that a Proxy must return as it is. */
function isFixed (target, name) {
  const descriptor = Object.getOwnPropertyDescriptor(target, name);
  return descriptor?.configurable === false && descriptor.writable === false;
}

/** The client's other methods run on the client; one that returns it returns the protected one. */
function bind (target, method, proxy) {
  function bound (...args) {
    if (new.target !== undefined) return Reflect.construct(method, args);
    const result = method.apply(target, args);
    return result === target ? proxy : result;
  }
  likeFunction(bound, method);
  // What hangs on the function itself: statics, or a class's prototype.
  return Object.keys(method).length === 0 ? bound : Object.setPrototypeOf(bound, method);
}

/**
 * Protects the methods of a client object that return promises.
 * The result has the client's prototype, properties and types, and works on the client itself,
 * which stays as it was. All its methods share the parts of one policy.
 */
function protect (client, options) {
  if (client === null || (typeof client !== 'object' && typeof client !== 'function')) {
    throw invalidOption('client', 'an object', client);
  }
  const { methods, callbacks, key, signal, ...parts } = OPTIONS.read(options);
  readable('client', 'an object that can be read', client, () => checkMethods(client, methods));
  return new Proxy(client, new Handler(methods, new Policy(parts),
    { callbacks, key, signal, place: '' }));
}

module.exports = { protect };
