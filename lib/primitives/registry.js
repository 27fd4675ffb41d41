'use strict';

// Breakers by name: in one thread, the same name always gives the same breaker. The names are those
// of a program's upstreams. For names that come from requests, use BreakerGroup, which has a limit.

const { inspect, isDeepStrictEqual } = require('node:util');

const { SekeringError, invalidOption } = require('../base/errors');
const { func, is } = require('../base/options');
const { warn } = require('../base/warn');
const CircuitBreaker = require('./breaker');
const { OPTIONS, errorThreshold, isPlain, readOptions } = require('./breaker-options');

// No program has that many upstreams.
const SUSPICIOUS = 1000;

const NAME = is.where('of the breaker', 'a string that is not empty',
  value => typeof value === 'string' && value !== '');

/** By name: the breaker, and the options that it was made from. */
const registry = new Map();

/** The action of these breakers: `fire` takes the function, and its arguments. */
const call = (fn, ...args) => func('fn', fn)(...args);

/** The entry of a name; a breaker that was shut down has none. */
function find (name) {
  const entry = registry.get(name);
  if (entry?.breaker.isShutdown) registry.delete(name);
  return registry.get(name);
}

function readFor (name, given) {
  const options = readOptions(given);
  if ((options.name || name) !== name) {
    throw invalidOption('options.name', `'${name}', or no value`, options.name);
  }
  // By default the key is the arguments as JSON, which do not say which function is called.
  if ((options.cache || options.coalesce) && !Object.hasOwn(options, 'cacheGetKey')) {
    throw invalidOption('options.cacheGetKey', 'a function, since the breaker calls different ' +
      'functions, and with cache or coalesce one would get the answer of another', undefined);
  }
  return options;
}

// ---- Differences -------------------------------------------------------------------------------

// A preset is compared by its values.
const COMPARED = OPTIONS.names.filter(name => !['name', 'preset', 'maxFailures'].includes(name));

/** The default of errorThresholdPercentage depends on other options. */
const valueOf = (options, name) =>
  (name === 'errorThresholdPercentage' ? errorThreshold(options) : options[name]);

const hasValue = value => isPlain(value) || Array.isArray(value) || Object(value) !== value;

/** Compares by value; functions and instances of classes by identity. */
const isSame = (one, other) => Object.is(one, other) ||
  (hasValue(one) && hasValue(other) && isDeepStrictEqual(one, other));

const shown = value => (hasValue(value)
  ? inspect(value, { depth: 1, breakLength: Infinity, customInspect: false })
  : `a certain ${typeof value}`);

const describe = (name, before, after) => (shown(before) === shown(after)
  ? `${name} is another ${typeof before}`
  : `${name} is ${shown(before)}, not ${shown(after)}`);

function checkSame (name, before, after) {
  const differing = COMPARED.filter(each => !isSame(valueOf(before, each), valueOf(after, each)));
  if (differing.length === 0) return;
  const list = differing.map(each => describe(each, valueOf(before, each), valueOf(after, each)));
  const error = new SekeringError('ERR_OPTIONS_MISMATCH',
    `The breaker '${name}' exists with other options: ${list.join('; ')}. Pass its ` +
    'options in one place, before other modules get it without options');
  throw Object.assign(error, { options: differing });
}

// ------------------------------------------------------------------------------------------------

/** The breaker of this name in this thread; created if there is none. */
function getCircuitBreaker (name, options) {
  NAME.check('name', name);
  const entry = find(name);
  if (entry !== undefined) {
    if (options !== undefined) checkSame(name, entry.options, readFor(name, options));
    return entry.breaker;
  }
  const own = readFor(name, options);
  const breaker = new CircuitBreaker(call, { ...own, name });
  registry.set(name, { breaker, options: own });
  if (registry.size === SUSPICIOUS) {
    warn(`getCircuitBreaker has made ${SUSPICIOUS} breakers, which stay until their shutdown()`,
      new Error('use a BreakerGroup for names that come from requests'));
  }
  return breaker;
}

/** All breakers that getCircuitBreaker has created, except those that were shut down. */
function circuitBreakers () {
  return [...registry.keys()].flatMap(name => find(name)?.breaker ?? []);
}

/** Closes a breaker and clears its counts; false if there is none of this name. */
function resetCircuitBreaker (name) {
  const breaker = find(NAME.check('name', name))?.breaker;
  breaker?.reset();
  return breaker !== undefined;
}

/** Closes all these breakers and clears their counts. */
function resetCircuitBreakers () {
  for (const breaker of circuitBreakers()) breaker.reset();
}

module.exports = {
  circuitBreakers, getCircuitBreaker, resetCircuitBreaker, resetCircuitBreakers,
};
