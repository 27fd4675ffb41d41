'use strict';

// Options. Each public class or function has one table of its options: their values, defaults,
// units and purpose. Reading options through the table rejects unknown names, checks every value,
// and fills in the defaults.
//
//   const OPTIONS = optionsOf({
//     timeout: is.ms('for one attempt', { min: 1, default: 5000 }),
//     send: is.func('delivers a message', { required: true }),
//   });
//   const { timeout, send } = OPTIONS.read(options);
//
// The functions below the table check single arguments. All errors are ERR_INVALID_OPTION.

const { setMaxListeners } = require('node:events');
const { isArgumentsObject } = require('node:util/types');

const { invalidOption, isOptionError, optionError, unknownOption } = require('./errors');
const { isA, reasonOf } = require('./foreign');

/**
 * One option.
 * @typedef {object} Option
 * @property {string} doc what it is for, in a few words
 * @property {unknown} [default] used when the option is undefined; it is not checked
 * @property {boolean} [required] whether undefined is an error
 * @property {unknown[]} [or] further values that are allowed, such as false
 * @property {string} [unit] of a number
 * @property {(option: string, value: unknown) => unknown} check returns the value to use
 * @property {string} expected what errors say they expected
 */

/** Makes an option of one kind. `check` gets the full text of what is expected. */
function kind (doc, expected, spec, check) {
  const { or = [] } = spec;
  const said = [expected, ...or.map(shown)].join(' or ');
  return {
    ...spec, doc, expected: said,
    check: (option, value) => (or.includes(value) ? value : check(option, value, said)),
  };
}

/**
 * Returns what `look` returns. `look` reads a value of the user, which may be a Proxy or have
 * getters that throw. Then the error says that the value is not what was expected.
 */
function readable (option, expected, value, look) {
  try {
    return look();
  } catch (error) {
    throw isOptionError(error) ? error : invalidOption(option, expected, value);
  }
}

const shown = value => (typeof value === 'string' ? `'${value}'` : String(value));

/** An option whose values pass `test`. */
const where = (doc, expected, test, spec = {}) =>
  kind(doc, expected, spec, (option, value, said) => {
    if (!test(value)) throw invalidOption(option, said, value);
    return value;
  });

// The signal that stands in for each signal that is not one of Node.js itself.
const standIns = new WeakMap();

/** A real signal that aborts when the foreign one does. The foreign one is not read later. */
function standInFor (signal) {
  let controller = standIns.get(signal);
  if (controller === undefined) {
    controller = new AbortController();
    const own = controller;
    setMaxListeners(0, own.signal);
    signal.addEventListener('abort', () => own.abort(reasonOf(signal)));
    standIns.set(signal, own);
  }
  if (signal.aborted) controller.abort(reasonOf(signal));
  return controller.signal;
}

const isReal = signal => isA(signal, AbortSignal) && !Object.hasOwn(signal, 'aborted');

/**
 * The caller's signal, checked; undefined if there is none. Any number of calls may listen to it at
 * once: by default, Node.js warns of a leak from the eleventh on. A signal that is not Node.js's
 * own may have members that do anything, so a real signal that follows it replaces it.
 */
function readSignal (signal) {
  if (signal === undefined || signal === null) return undefined;
  return readable('signal', 'an AbortSignal', signal, () => {
    const fits = typeof signal.aborted === 'boolean' &&
      ['addEventListener', 'removeEventListener'].every(name => typeof signal[name] === 'function');
    if (!fits) throw invalidOption('signal', 'an AbortSignal', signal);
    if (!isReal(signal)) return standInFor(signal);
    setMaxListeners(0, signal);
    return signal;
  });
}

/** The kinds of options. `spec` is as Option, plus what the kind needs. */
const is = {
  /** Anything at all. */
  any: (doc, spec = {}) => kind(doc, 'a value', spec, (_, value) => value),
  where,
  /** `spec` has min and max, both inclusive. */
  number: (doc, spec = {}) => kind(doc, rangeText(spec), spec,
    (option, value, said) => numberWithin(option, value, spec, said)),
  integer: (doc, spec = {}) => is.number(doc, { ...spec, integer: true }),
  /** Milliseconds, at least 0 unless `min` says otherwise. */
  ms: (doc, spec = {}) => is.number(doc, { min: 0, unit: 'ms', ...spec }),
  boolean: (doc, spec) => where(doc, 'true or false', value => typeof value === 'boolean', spec),
  func: (doc, spec) => where(doc, 'a function', value => typeof value === 'function', spec),
  /** A string; `spec` may have a `pattern`, with `expected` to describe it. */
  text: (doc, spec = {}) => where(doc, spec.expected ?? 'a string',
    value => typeof value === 'string' && (spec.pattern?.test(value) ?? true), spec),
  oneOf: (doc, choices, spec = {}) => kind(doc, choicesText(choices), spec,
    (option, value) => oneOf(option, value, choices)),
  object: (doc, spec) => where(doc, 'an object',
    value => typeof value === 'object' && value !== null, spec),
  /** An object with these methods, which the user provides. */
  having: (doc, methods, spec = {}) => where(doc,
    spec.expected ?? `an object with ${methods.join(', ')}`,
    value => methods.every(name => typeof value?.[name] === 'function'), spec),
  signal: (doc, spec = {}) => kind(doc, 'an AbortSignal', spec, (_, value) => readSignal(value)),
  /** The arguments of a call: an array, or `arguments`. */
  args: doc => kind(doc, 'an array', { default: Object.freeze([]) }, (option, value, said) => {
    if (Array.isArray(value) || isArgumentsObject(value)) return Array.from(value);
    throw invalidOption(option, said, value);
  }),
  /** Options within the options, with a table of their own. */
  table: (doc, table, spec = {}) => kind(doc, 'an object', spec,
    (option, value) => table.read(value, option)),
  /**
   * An object whose keys the user chooses, with values as `each` says. `spec.names` may restrict
   * the keys, as NAMES does.
   */
  record: (doc, each, spec = {}) => kind(doc, 'an object', spec, (option, value) => {
    const { names } = spec;
    return Object.fromEntries(Object.entries(bag(option, value)).map(([name, member]) => {
      if (names?.pattern.test(name) === false) throw invalidOption(option, names.expected, name);
      return [name, each.check(`${option}.${name}`, member)];
    }));
  }),
  /** An array with elements as `each` says; `spec` may have a min and max length. */
  list: (doc, each, spec = {}) => kind(doc, listText(spec), spec, (option, value, said) => {
    const { min = 0, max = Infinity } = spec;
    if (!Array.isArray(value) || value.length < min || value.length > max) {
      throw invalidOption(option, said, value);
    }
    return value.map((element, i) => each.check(`${option}[${i}]`, element));
  }),
};

/** Names for `is.record` that fit into logs, labels and paths. */
const NAMES = {
  pattern: /^[\w.-]{1,64}$/,
  expected: 'names of 1 to 64 letters, digits, dots, dashes or underscores',
};

function listText ({ min = 0, max = Infinity, of = 'elements' }) {
  if (max === Infinity) return min === 0 ? 'an array' : `an array of at least ${min} ${of}`;
  return min === 0 ? `an array of at most ${max} ${of}` : `an array of ${min} to ${max} ${of}`;
}

class Options {
  #entries;

  constructor (entries) {
    this.#entries = Object.entries(entries);
    /** @type {readonly string[]} */
    this.names = Object.freeze(Object.keys(entries));
    /** @type {Readonly<Record<string, Option>>} */
    this.entries = Object.freeze(entries);
  }

  /** Every option, checked, or its default. Errors name `place`, such as `channels.EMAIL`. */
  read (given, place = 'options') {
    checkNames(place, given, this.names);
    return this.#resolve(given, place);
  }

  /** As read(), but unknown names are ignored: for functions that replace another package's. */
  readKnown (given, place = 'options') {
    checkObject(place, given);
    return this.#resolve(given, place);
  }

  #resolve (values = {}, place) {
    const resolved = {};
    for (const [name, option] of this.#entries) {
      const path = place === 'options' ? name : `${place}.${name}`;
      const value = member(path, values, name);
      if (value !== undefined) resolved[name] = checked(path, option, value);
      else if (option.required) throw invalidOption(path, option.expected, value);
      else resolved[name] = option.default;
    }
    return resolved;
  }

  /** One option, checked. */
  check (name, value) { return checked(name, this.entries[name], value); }

  /** A table with further options. */
  with (entries) { return new Options({ ...this.entries, ...entries }); }

  /** The same table, with these values as defaults. */
  withDefaults (values) {
    return new Options(Object.fromEntries(this.#entries.map(([name, option]) =>
      [name, { ...option, default: values[name] ?? option.default }])));
  }
}

/** One of the options that the user gave. */
function member (path, values, name) {
  try {
    return values[name];
  } catch {
    throw optionError(TypeError, path, `Expected a value for ${path} that can be read`);
  }
}

function checked (path, option, value) {
  try {
    return option.check(path, value);
  } catch (error) {
    throw isOptionError(error) ? error : invalidOption(path, option.expected, value);
  }
}

/** @param {Record<string, Option>} entries by name */
const optionsOf = entries => new Options(entries);

function rangeText ({ min = -Infinity, max = Infinity, integer = false, unit = '' }) {
  const range = max === Infinity
    ? (min === -Infinity ? '' : ` of at least ${min}`)
    : ` from ${min} to ${max}`;
  return `${integer ? 'an integer' : 'a number'}${range}${unit && ` (${unit})`}`;
}

function numberWithin (option, value, bounds, expected) {
  const { min = -Infinity, max = Infinity, integer = false } = bounds;
  if (typeof value !== 'number' || Number.isNaN(value)) {
    throw invalidOption(option, expected, value);
  }
  if (integer && !Number.isInteger(value) && value !== max) {
    throw invalidOption(option, expected, value, RangeError);
  }
  if (value < min || value > max) throw invalidOption(option, expected, value, RangeError);
  return value;
}

const choicesText = choices => `one of ${choices.map(shown).join(', ') || 'none'}`;

// ---- Single values -----------------------------------------------------------------------------

/** The bounds `min` and `max` are inclusive. */
const number = (option, value, bounds = {}) =>
  numberWithin(option, value, bounds, rangeText(bounds));

const func = is.func().check;
const boolean = is.boolean().check;

function oneOf (option, value, choices) {
  if (!choices.includes(value)) {
    throw invalidOption(option, choicesText(choices), value,
      typeof value === 'string' ? RangeError : TypeError);
  }
  return value;
}

function checkObject (option, value) {
  if (value === null || (typeof value !== 'object' && value !== undefined)) {
    throw invalidOption(option, 'an object', value);
  }
}

/** Rejects an object that has members of other names. */
function checkNames (option, value, names) {
  checkObject(option, value);
  for (const name of readable(option, 'an object', value, () => Object.keys(value ?? {}))) {
    if (!names.includes(name)) throw unknownOption(name, option, names);
  }
}

/**
 * A copy of an object of options; undefined counts as an empty one. With `names`, other names are
 * rejected. Prefer a table: this is for objects whose keys the user chooses.
 */
function bag (option, value, names) {
  if (names === undefined) checkObject(option, value);
  else checkNames(option, value, names);
  return readable(option, 'an object whose members can be read', value, () => {
    const copy = { ...value };
    for (const name of names ?? []) {
      if (!(name in copy) && value?.[name] !== undefined) copy[name] = value[name]; // Inherited.
    }
    return copy;
  });
}

module.exports = {
  NAMES, bag, boolean, func, is, member, number, oneOf, optionsOf, readSignal, readable
};
