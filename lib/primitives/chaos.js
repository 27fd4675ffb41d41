'use strict';

// Faults that are injected into calls on purpose, to see what the rest of the program does: some
// calls are late, fail, or get a made-up result. The core decides which (native/core/chaos.h).

const { isNativeError } = require('node:util/types');

const { pause } = require('../base/deadline');
const { SekeringError, invalidOption } = require('../base/errors');
const { isA, isList, likeFunction } = require('../base/foreign');
const native = require('../base/native');
const { NAMES, func, is, optionsOf } = require('../base/options');
const { own } = require('./permits');

const FAULTS_MAX = 100;
const RANGE_MS_MAX = 2 ** 31 - 1;
// Rates such as 0.8, 0.05, 0.05 and 0.1 add up to 1, but their doubles to more.
const RATES_MAX = 1 + 1e-9;

const FIXED = is.integer('of every call', { min: 0, unit: 'ms' });
const BOUND = is.integer('of a call, at random', { min: 0, max: RANGE_MS_MAX, unit: 'ms' });
const LATENCY = `${FIXED.expected}, or [min, max]`;

/** The bounds of a delay. */
function readLatency (option, value) {
  if (!isList(value)) {
    if (typeof value !== 'number') throw invalidOption(option, LATENCY, value);
    return [FIXED.check(option, value), value];
  }
  if (value.length !== 2) throw invalidOption(option, LATENCY, value);
  const [min, max] = Array.from(value, (ms, i) => BOUND.check(`${option}[${i}]`, ms));
  if (min > max) throw invalidOption(`${option}[1]`, `at least ${min} (ms)`, max, RangeError);
  return [min, max];
}

const isError = value =>
  typeof value === 'function' || isNativeError(value) || isA(value, Error);

const FAULT = optionsOf({
  rate: is.number('share of the calls that get it', { min: 0, max: 1, required: true }),
  latency: {
    doc: 'how much later the call goes on, or how late its error or result comes; Infinity: never',
    expected: LATENCY, check: readLatency,
  },
  error: is.where('what the call fails with', 'an Error, or a function that makes one', isError),
  result: is.any('what the call is answered with; a function makes it'),
  name: is.text('in the stats; default: error, result or latency', NAMES),
});
const CHAOS = optionsOf({
  faults: is.list('a call gets one of them, or none', is.table('a fault', FAULT),
    { min: 1, max: FAULTS_MAX, of: 'faults', required: true }),
  enabled: is.boolean('whether faults are injected from the start', { default: true }),
  seed: is.integer('the same one gives the same faults; default: at random',
    { min: 0, max: Number.MAX_SAFE_INTEGER }),
  allowInProduction: is.boolean('whether it may be made where NODE_ENV is production',
    { default: false }),
});
const EXECUTE = optionsOf({ signal: is.signal('ends the delay') });

const KINDS = ['error', 'result', 'latency'];

/** What a fault does, checked as a whole. */
function faultOf (given, place) {
  const kind = KINDS.find(name => given[name] !== undefined);
  if (kind === undefined) throw invalidOption(place, 'latency, error or result', given);
  if (given.error !== undefined && given.result !== undefined) {
    throw invalidOption(`${place}.result`, 'no value (error is set)', given.result);
  }
  const { name = kind, latency = [0, 0] } = given;
  return { ...given, kind, name, latency };
}

function readFaults (list) {
  const faults = list.map((given, i) => faultOf(given, `faults[${i}]`));
  const rates = faults.reduce((sum, { rate }) => sum + rate, 0);
  if (rates > RATES_MAX) {
    throw invalidOption('faults', 'rates that add up to 1 at most', rates, RangeError);
  }
  const names = faults.map(({ name }) => name);
  const twice = names.findIndex((name, i) => names.indexOf(name) !== i);
  if (twice !== -1) {
    throw invalidOption(`faults[${twice}].name`, 'a name that no other fault has', names[twice]);
  }
  return faults;
}

const made = value => (typeof value === 'function' ? value() : value);

class Chaos {
  #faults;
  #injector;
  #enabled;
  #seed;

  /** Options as chaos() has them. */
  constructor (options) {
    const { faults, enabled, seed, allowInProduction } = CHAOS.read(options);
    this.#faults = readFaults(faults);
    if (process.env.NODE_ENV === 'production' && !allowInProduction) {
      throw new SekeringError('ERR_CHAOS_IN_PRODUCTION');
    }
    this.#enabled = enabled;
    this.#seed = seed ?? Math.floor(Math.random() * 2 ** 32);
    const numbers = this.#faults.flatMap(({ rate, latency }) => [rate, ...latency]);
    this.#injector = own(this,
      native.createFaultInjector(this.#seed, Float64Array.from(numbers)),
      native.destroyFaultInjector);
  }

  get enabled () { return this.#enabled; }

  get seed () { return this.#seed; }

  /** Of the calls while it was enabled. */
  get stats () {
    const countOf = i => native.faultCount(this.#injector, i);
    return {
      calls: countOf(-1),
      faults: Object.fromEntries(this.#faults.map(({ name }, i) => [name, countOf(i)])),
    };
  }

  /** Calls that have got their fault keep it. */
  enable () { this.#enabled = true; }

  disable () { this.#enabled = false; }

  /** Calls `fn({ signal })`, unless a fault comes in its place. */
  async execute (fn, options) {
    func('fn', fn);
    const { signal } = EXECUTE.read(options);
    return this.#pass(() => fn({ signal }), signal);
  }

  /** A function that calls `fn` with its arguments, unless a fault comes in its place. */
  wrap (fn) {
    func('fn', fn);
    const pass = call => this.#pass(call);
    async function wrapped (...args) {
      return pass(() => fn.apply(this, args));
    }
    return likeFunction(wrapped, fn);
  }

  async #pass (call, signal) {
    signal?.throwIfAborted();
    const fault = this.#enabled ? this.#faults[native.nextFault(this.#injector)] : undefined;
    if (fault === undefined) return call();
    const delay = native.faultDelay(this.#injector);
    if (delay > 0) {
      await pause(delay, signal);
      signal?.throwIfAborted(); // Aborted after the delay, but before this went on.
    }
    if (fault.kind === 'error') throw made(fault.error);
    return fault.kind === 'result' ? made(fault.result) : call();
  }
}

/** Injects faults into calls: for tests, and for exercises of those who run the program. */
const chaos = options => new Chaos(options);

module.exports = { Chaos, chaos };
