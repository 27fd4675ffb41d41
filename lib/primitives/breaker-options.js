'use strict';

// The options of a breaker: what each may be, their defaults, and what the core makes of them.

const { invalidOption, optionError, unknownOption } = require('../base/errors');
const { read } = require('../base/foreign');
const { bag, is, member, number, optionsOf, readable } = require('../base/options');
const { TICKS_PER_MS } = require('../base/recorder');
const { PLACE, checkPlace, isShared } = require('../base/regions');
const { preset } = require('./presets');

const BUCKETS_MAX = 1000;
const PROBES_MAX = 16;
const PROCESSES_MAX = 16;
const SLIDING_WINDOW_MAX = 10000;
const COUNT_MAX = 2 ** 32 - 1;
const FACTOR_MAX = 1000;
const TICKS_MAX = 2 ** 31 - 1;
const MINIMUM_CALLS = 10;
const ERROR_THRESHOLD = 50;
// The time limit of calls is not exact: a probe's lease lasts this much longer.
const LEASE_MARGIN_MS = 1000;

// opossum's message for an option that it no longer has.
const DEPRECATED = 'options.maxFailures is deprecated. Please use options.errorThresholdPercentage';

const isAbsent = value => value === undefined || value === null;

// ---- Kinds -------------------------------------------------------------------------------------

/** A number that is not infinite; the message has opossum's words for it. */
function finite (option, value, bounds) {
  if (!Number.isFinite(value)) {
    throw invalidOption(option, `a number (${option} must be a finite number)`, value);
  }
  return number(option, value, bounds);
}

/** An option that is a finite number. `or` lists further values. */
function finiteNumber (doc, spec = {}) {
  const bounds = { min: 0, ...spec };
  const check = (option, value) => (
    spec.or?.includes(value) ? value : finite(option, value, bounds));
  return { ...is.number(doc, bounds), check };
}

const finiteMs = (doc, spec) => finiteNumber(doc, { unit: 'ms', ...spec });

const count = (doc, spec) => is.integer(doc, { min: 1, max: COUNT_MAX, ...spec });

/** A number of entries; Infinity stands for as many as memory holds. */
const entries = doc => is.integer(doc, { min: 1, max: Infinity });

/** An option whose checked values are converted. */
const converted = (kind, convert) => ({
  ...kind, check: (option, value) => convert(kind.check(option, value)),
});

const GROWING_TIME = optionsOf({
  initial: finiteMs('after the first trip', { required: true }),
  factor: is.number('by which it grows with each trip without closing',
    { min: 1, max: FACTOR_MAX, default: 2 }),
  max: is.ms('at most', { default: Infinity }),
});

function checkResetTimeout (option, value) {
  if (typeof value !== 'object') return finite(option, value, { min: 0, unit: 'ms' });
  const given = bag(option, value, GROWING_TIME.names);
  const present = GROWING_TIME.names.map(name => [name, given[name] ?? undefined]);
  const growing = GROWING_TIME.read(Object.fromEntries(present), option);
  if (growing.max >= growing.initial) return growing;
  throw invalidOption(`${option}.max`, `at least ${option}.initial (${growing.initial})`,
    growing.max, RangeError);
}

function isShareTrip (value) {
  const { processes } = Object(value);
  return value === 'any' ||
    (Number.isInteger(processes) && processes >= 1 && processes <= PROCESSES_MAX);
}

const RESET_EVENTS = ['error', 'success', 'timeout'];

const defaultKey = (...args) => JSON.stringify(args);
const filterNothing = () => false;

// ---- The table ---------------------------------------------------------------------------------

const OPTIONS = optionsOf({
  // Calls.
  timeout: finiteMs('after which a call has failed', { or: [false], default: 10000 }),
  capacity: converted(
    is.integer('calls in flight at once', { min: 0, max: Number.MAX_SAFE_INTEGER, or: [Infinity] }),
    capacity => (capacity === Infinity ? undefined : capacity)),
  fallback: is.where('called when the action fails or may not be called',
    'a function, or a breaker',
    value => typeof value === 'function' || typeof value?.fire === 'function'),
  errorFilter: is.func('whether an error is not the fault of the upstream',
    { default: filterNothing }),

  // When the circuit opens. The default of errorThresholdPercentage depends on other rules.
  errorThresholdPercentage: finiteNumber('of failures that opens the circuit',
    { max: 100, unit: '%' }),
  volumeThreshold: is.integer('calls below which no percentage counts',
    { min: 0, max: COUNT_MAX, default: 0 }),
  allowWarmUp: is.boolean('whether the first rollingCountTimeout opens nothing',
    { default: false }),
  consecutiveFailures: count('in a row that open the circuit'),
  failureCount: count('failures in the window that open the circuit'),
  slidingWindowSize: count('calls that percentages are of, in place of the window of time',
    { max: SLIDING_WINDOW_MAX }),
  minimumCalls: count('of the sliding window, before percentages count',
    { max: SLIDING_WINDOW_MAX }),
  slowCallDuration: is.ms('from which a call is slow', { min: 0.001 }),
  slowCallThresholdPercentage: is.number('of slow calls that opens the circuit',
    { min: 0, max: 100, unit: '%' }),

  // How it closes again.
  resetTimeout: {
    doc: 'how long it stays open', expected: 'a number of ms, or { initial, factor, max }',
    check: checkResetTimeout, default: 30000,
  },
  halfOpenProbes: count('calls at once that probe a half-open circuit',
    { max: PROBES_MAX, default: 1 }),
  successThreshold: count('successful probes that close it; 0: it closes by itself',
    { min: 0, default: 1 }),
  rampUp: is.ms('during which a closed circuit admits more and more calls', { default: 0 }),

  // What is counted.
  rollingCountTimeout: finiteMs('the window; 0: the default', { min: 1, or: [0], default: 10000 }),
  rollingCountBuckets: finiteNumber('of the window; 0: the default',
    { min: 1, max: BUCKETS_MAX, integer: true, or: [0], default: 10 }),
  rollingPercentilesEnabled: is.boolean('whether latencies are kept', { default: true }),
  enableSnapshots: is.boolean('whether status emits snapshots', { default: true }),
  rotateBucketController: is.having('its rotate events begin new buckets',
    ['on', 'removeListener', 'listeners']),
  status: is.object('counts to begin with'),
  state: is.object('of toJSON(), to go on from'),

  // Names.
  name: is.text('of the breaker'),
  group: is.text('of breakers, for metrics'),
  enabled: is.boolean('whether calls pass the circuit', { default: true }),
  preset: is.any('the name of a preset'), // Checked by preset().

  // Sharing.
  scope: PLACE.scope,
  strictScope: PLACE.strictScope,
  namespace: PLACE.namespace,
  shareTrip: is.where('how many processes must see failures',
    `'any' or { processes: an integer from 1 to ${PROCESSES_MAX} }`, isShareTrip,
    { default: 'any' }),

  // Cache and coalescing.
  cache: is.boolean('whether results are kept', { default: false }),
  cacheTTL: finiteMs('for which a result is served; 0: for ever', { default: 0 }),
  cacheSize: entries('results that are kept'),
  cacheGetKey: is.func('the key of a call', { default: defaultKey }),
  cacheTransport: is.any('where results are kept'), // Checked by checkTogether().
  coalesce: is.boolean('whether calls of the same key share one call', { default: false }),
  coalesceTTL: finiteMs('for which a call is shared; default: timeout', { or: [false] }),
  coalesceSize: entries('calls that are shared'),
  coalesceResetOn: converted(
    is.where('ends of a call that end its sharing', 'an array of strings', Array.isArray),
    events => events.filter(event => RESET_EVENTS.includes(event))),

  // Cancelling.
  abortController: {
    doc: 'aborted when a call times out', expected: 'an AbortController',
    check: checkAbortController,
  },
  autoRenewAbortController: is.boolean('whether an aborted controller is replaced',
    { default: false }),

  maxFailures: is.any('deprecated, without effect'),
});

function checkAbortController (option, value) {
  if (!value || typeof value.abort === 'function') return value;
  // opossum's message.
  throw optionError(TypeError, option, 'AbortController does not contain `abort()` method');
}

// ---- Reading -----------------------------------------------------------------------------------

// A program may have thousands of breakers. Each keeps the options that it was given, and inherits
// the defaults.
const DEFAULTS = Object.fromEntries(OPTIONS.names
  .map(name => [name, OPTIONS.entries[name].default])
  .filter(([, value]) => value !== undefined));

/**
 * Checks the options of a breaker. The result has those that were given, over those of their
 * preset, and inherits the defaults.
 */
function readOptions (given) {
  const own = bag('options', given, OPTIONS.names);
  const options = { __proto__: DEFAULTS };
  if (!isAbsent(own.preset)) Object.assign(options, preset(own.preset));
  for (const name of Object.keys(own)) {
    const value = own[name];
    // JSON.parse() can make a property named __proto__, which must not replace the defaults.
    if (isAbsent(value) || name === '__proto__') continue;
    const checked = OPTIONS.check(name, value);
    if (checked !== undefined) options[name] = checked;
  }
  checkTogether(options);
  if (options.maxFailures) console.error(DEPRECATED);
  return options;
}

/** Whether it is an object of no class. */
function isPlain (value) {
  if (typeof value !== 'object' || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** Rejects options in the place of the action, which may be any value. */
function checkAction (action, given) {
  if (typeof action === 'function') return;
  const found = readable('action', 'a value that can be read', action, () =>
    isPlain(action) && Object.keys(action).find(name => OPTIONS.names.includes(name)));
  if (!found && typeof given !== 'function') return;
  const hint = found
    ? `. Option ${found} is in the first one; if that is a value, pass () => value`
    : '';
  throw optionError(TypeError, 'action', 'The first argument is the action, the second one its ' +
    `options: new CircuitBreaker(action, options)${hint}`);
}

// The options of a breaker that may be assigned later.
const LIVE = [
  'timeout', 'errorFilter', 'errorThresholdPercentage', 'volumeThreshold', 'consecutiveFailures',
  'failureCount', 'slowCallDuration', 'slowCallThresholdPercentage', 'resetTimeout',
  'successThreshold', 'rampUp', 'cacheTTL', 'cacheGetKey', 'coalesceTTL', 'coalesceResetOn',
];

/** The options with another value of one of them; the default, if the value is absent. */
function withOption (options, name, value) {
  if (!Object.hasOwn(OPTIONS.entries, name)) throw unknownOption(name, 'options', OPTIONS.names);
  if (!LIVE.includes(name)) {
    throw invalidOption(name, 'no new value, as it is only read at construction,', value);
  }
  const changed = Object.assign({ __proto__: DEFAULTS }, options);
  delete changed[name];
  if (!isAbsent(value)) changed[name] = OPTIONS.check(name, value);
  checkTogether(changed);
  return changed;
}

// By the values that are shown: the function that takes a new one, and returns what to show of it.
const assigners = new WeakMap();

const SHOWN = {
  defineProperty (values, name, property) {
    // Object.freeze() and the like give no value.
    if (!('value' in property)) return Reflect.defineProperty(values, name, property);
    const value = assigners.get(values)(name, property.value);
    return Reflect.defineProperty(values, name, { ...property, value });
  },
  deleteProperty (values, name) {
    assigners.get(values)(name, undefined);
    return Reflect.deleteProperty(values, name);
  },
};

/** What `breaker.options` is: the values, with a function that is told of new ones. */
function shownOptions (values, assign) {
  assigners.set(values, assign);
  return new Proxy(values, SHOWN);
}

function checkTogether (options) {
  const needs = (name, other) => {
    if (options[name] !== undefined && options[other] === undefined) {
      throw invalidOption(other, `a value (${name} needs it)`, options[other]);
    }
  };
  needs('minimumCalls', 'slidingWindowSize');
  needs('slowCallThresholdPercentage', 'slowCallDuration');
  if (options.minimumCalls > options.slidingWindowSize) {
    throw invalidOption('minimumCalls', `at most slidingWindowSize (${options.slidingWindowSize})`,
      options.minimumCalls, RangeError);
  }
  const { cache, cacheTransport: transport } = options;
  if (cache && transport !== undefined &&
      !(typeof transport === 'object' && transport.get && transport.set && transport.flush)) {
    // opossum's message.
    throw optionError(TypeError, 'cacheTransport',
      'options.cacheTransport should be an object with `get`, `set` and `flush` methods');
  }
}

/** Checks what a shared breaker needs and cannot have. */
function checkSharing (options, name) {
  checkPlace(options, name);
  if (!isShared(options)) return;
  for (const own of ['status', 'state', 'rotateBucketController']) {
    if (options[own]) {
      throw invalidOption(own, `no value (scope is '${options.scope}')`, options[own]);
    }
  }
}

/** The share of failures that trips: opossum's 50 %, unless rules by count replace it. */
function errorThreshold (options) {
  const { consecutiveFailures, failureCount, slidingWindowSize } = options;
  const byCount = (consecutiveFailures ?? failureCount) !== undefined;
  return options.errorThresholdPercentage ??
    (byCount && slidingWindowSize === undefined ? undefined : ERROR_THRESHOLD);
}

/** What `breaker.options` shows: all that were given, and the defaults of the others. */
const resolvedOptions = options => ({
  ...DEFAULTS,
  capacity: Number.MAX_SAFE_INTEGER,
  coalesceTTL: options.timeout,
  coalesceResetOn: [],
  ...options,
  errorThresholdPercentage: errorThreshold(options),
});

// ---- The core's configuration ------------------------------------------------------------------

/** The window of counts. As in opossum, 0 stands for a default, too. */
function windowOf ({ rollingCountTimeout, rollingCountBuckets }) {
  const length = rollingCountTimeout || DEFAULTS.rollingCountTimeout;
  const buckets = rollingCountBuckets || DEFAULTS.rollingCountBuckets;
  return { length, buckets, bucketLength: Math.max(Math.floor(length / buckets), 1) };
}

/** How long a probe may keep others from probing: a little longer than it can take. */
function probeLease ({ timeout, resetTimeout }) {
  return timeout > 0
    ? timeout + LEASE_MARGIN_MS
    : Math.max(resetTimeout.initial ?? resetTimeout, 1);
}

// In the order of native/core/breaker_config.cc: the option, and what native code gets of it.
const CORE_CONFIG = [
  ['rollingCountTimeout', options =>
    (options.rotateBucketController ? 0 : windowOf(options).bucketLength)],
  ['rollingCountBuckets', options => windowOf(options).buckets],
  ['rollingPercentilesEnabled', options => Number(options.rollingPercentilesEnabled)],
  ['errorThresholdPercentage', options => errorThreshold(options) ?? -1],
  ['slowCallThresholdPercentage', ({ slowCallDuration, slowCallThresholdPercentage = 100 }) =>
    (slowCallDuration === undefined ? -1 : slowCallThresholdPercentage)],
  ['volumeThreshold', options => options.volumeThreshold],
  ['consecutiveFailures', options => options.consecutiveFailures ?? 0],
  ['failureCount', options => options.failureCount ?? 0],
  ['slidingWindowSize', options => options.slidingWindowSize ?? 0],
  ['minimumCalls', ({ minimumCalls, slidingWindowSize = 0 }) =>
    minimumCalls ?? Math.min(MINIMUM_CALLS, slidingWindowSize)],
  ['slowCallDuration', options => options.slowCallDuration ?? Infinity],
  ['halfOpenProbes', options => options.halfOpenProbes],
  ['successThreshold', options => options.successThreshold],
  ['timeout', probeLease],
  ['resetTimeout', ({ resetTimeout }) => resetTimeout.initial ?? resetTimeout],
  ['resetTimeout', ({ resetTimeout }) => resetTimeout.factor ?? 1],
  ['resetTimeout', ({ resetTimeout }) => resetTimeout.max ?? resetTimeout],
  ['rampUp', options => options.rampUp],
  ['allowWarmUp', options =>
    (options.allowWarmUp || read(options.state, 'warmUp')
      ? options.warmUpFor ?? windowOf(options).length
      : 0)],
  // One process alone has no others to wait for.
  ['shareTrip', ({ scope, shareTrip }) => (scope === 'host' && shareTrip.processes) || 1],
];

const CORE_NAMES = CORE_CONFIG.map(([name]) => name);

/** What native code takes. */
const coreConfig = options => Float64Array.from(CORE_CONFIG, ([, valueOf]) => valueOf(options));

/** Above which latency a success may trip. A small integer, as every call is compared with it. */
const slowTicks = ms => (ms > 0 ? Math.min(Math.floor(ms * TICKS_PER_MS), TICKS_MAX) : TICKS_MAX);

// ---- As opossum reads them ---------------------------------------------------------------------

/** A time in ms, as a timer of Node.js takes any value: what is no time is the shortest one. */
function timeOf (value) {
  const ms = Math.min(Math.trunc(Number(value)), Number.MAX_SAFE_INTEGER);
  return ms >= 1 ? ms : 1;
}

const WINDOW = ['rollingCountTimeout', 'rollingCountBuckets', 'rollingPercentilesEnabled',
  'enableSnapshots', 'rotateBucketController'];

/** The options of a window. More buckets than the core has are fewer, longer ones. */
function readWindowOptions (object) {
  const given = Object.fromEntries(WINDOW.map(name => [name, member(name, object ?? {}, name)]));
  return readable('rollingCountBuckets', 'an integer from 1', given.rollingCountBuckets,
    () => windowMeaning(given));
}

function windowMeaning (given) {
  const length = given.rollingCountTimeout || DEFAULTS.rollingCountTimeout;
  const wanted = Number(given.rollingCountBuckets || DEFAULTS.rollingCountBuckets);
  if (!(wanted >= 1 && Number.isInteger(wanted))) {
    throw invalidOption('rollingCountBuckets', 'an integer from 1', given.rollingCountBuckets,
      RangeError);
  }
  const buckets = Math.min(wanted, BUCKETS_MAX);
  return {
    __proto__: DEFAULTS,
    rollingCountTimeout: timeOf(Math.floor(length / buckets)) * buckets,
    rollingCountBuckets: buckets,
    rollingPercentilesEnabled: given.rollingPercentilesEnabled !== false,
    enableSnapshots: given.enableSnapshots !== false,
    rotateBucketController: controllerOf(given.rotateBucketController),
  };
}

function controllerOf (controller) {
  if (!controller) return undefined;
  if (['on', 'listeners', 'removeListener'].every(name =>
    typeof read(controller, name) === 'function')) return controller;
  throw invalidOption('rotateBucketController', 'an EventEmitter', controller);
}

const cacheSizeOf = size => (Number.isInteger(size) && size >= 1 ? size : undefined);

/** A share above nothing opens the circuit; what is no number never does. */
function thresholdOf (value) {
  const percentage = Number(value);
  return isNaN(percentage) ? Infinity : Math.max(percentage, 0);
}

const THEIR_NAMES = [
  'timeout', 'resetTimeout', 'errorThresholdPercentage', 'rollingCountTimeout',
  'rollingCountBuckets', 'rollingPercentilesEnabled', 'capacity', 'errorFilter', 'cacheTTL',
  'cacheGetKey', 'enableSnapshots', 'rotateBucketController', 'coalesce', 'coalesceTTL',
  'coalesceResetOn', 'volumeThreshold', 'allowWarmUp', 'cache', 'cacheSize', 'cacheTransport',
  'coalesceSize', 'abortController', 'autoRenewAbortController', 'name', 'group', 'enabled',
  'status', 'state', 'maxFailures',
];

// Those that opossum reads at each call.
const THEIRS_LIVE = [
  'timeout', 'resetTimeout', 'errorThresholdPercentage', 'errorFilter', 'cache', 'cacheTTL',
  'cacheGetKey', 'cacheTransport', 'coalesce', 'coalesceTTL', 'coalesceResetOn',
  'abortController', 'autoRenewAbortController',
];

/** A copy of the options that were given. Their object may have a class. */
function copyOf (given) {
  const copy = bag('options', given);
  for (const name of THEIR_NAMES) {
    if (!(name in copy) && given[name] !== undefined) copy[name] = given[name];
  }
  return copy;
}

/** The values that opossum gives its options, in its order. */
function theirValues (given) {
  const timeout = given.timeout ?? DEFAULTS.timeout;
  return {
    timeout,
    resetTimeout: given.resetTimeout ?? DEFAULTS.resetTimeout,
    errorThresholdPercentage: given.errorThresholdPercentage ?? ERROR_THRESHOLD,
    rollingCountTimeout: given.rollingCountTimeout ?? DEFAULTS.rollingCountTimeout,
    rollingCountBuckets: given.rollingCountBuckets ?? DEFAULTS.rollingCountBuckets,
    rollingPercentilesEnabled: given.rollingPercentilesEnabled !== false,
    capacity: Number.isInteger(given.capacity) ? given.capacity : Number.MAX_SAFE_INTEGER,
    errorFilter: given.errorFilter || filterNothing,
    cacheTTL: given.cacheTTL ?? 0,
    cacheGetKey: given.cacheGetKey ?? defaultKey,
    enableSnapshots: given.enableSnapshots !== false,
    rotateBucketController: given.rotateBucketController,
    coalesce: Boolean(given.coalesce),
    coalesceTTL: given.coalesceTTL ?? timeout,
    coalesceResetOn:
      given.coalesceResetOn?.filter(event => RESET_EVENTS.includes(event)) || [],
  };
}

/**
 * What a breaker makes of opossum's `values`, and of the others that were given. Names that opossum
 * does not have mean nothing.
 */
function meaningOf (values, given) {
  const { capacity, coalesceResetOn } = values;
  const { state } = given;
  const allowWarmUp = given.allowWarmUp === true;
  const { rollingCountTimeout, rollingCountBuckets } = windowMeaning(values);
  return withoutDefaults({
    rollingCountTimeout,
    rollingCountBuckets,
    rollingPercentilesEnabled: values.rollingPercentilesEnabled,
    enableSnapshots: values.enableSnapshots,
    rotateBucketController: values.rotateBucketController || undefined,
    timeout: values.timeout ? timeOf(values.timeout) : 0,
    resetTimeout: timeOf(values.resetTimeout),
    errorThresholdPercentage: thresholdOf(values.errorThresholdPercentage),
    capacity: capacity === Number.MAX_SAFE_INTEGER ? undefined : capacity,
    volumeThreshold: Number.isInteger(given.volumeThreshold) ? given.volumeThreshold : 0,
    allowWarmUp,
    // Even if the window has another length, as for 0.
    warmUpFor: allowWarmUp || state ? timeOf(values.rollingCountTimeout) : 0,
    errorFilter: values.errorFilter,
    cache: Boolean(given.cache),
    cacheTTL: values.cacheTTL,
    cacheSize: cacheSizeOf(given.cacheSize),
    cacheGetKey: values.cacheGetKey,
    cacheTransport: given.cacheTransport ?? undefined,
    coalesce: Boolean(values.coalesce),
    coalesceTTL: values.coalesceTTL ?? 0,
    coalesceSize: cacheSizeOf(given.coalesceSize),
    coalesceResetOn: typeof coalesceResetOn?.includes === 'function' ? coalesceResetOn : [],
    abortController: given.abortController || undefined,
    autoRenewAbortController: Boolean(given.autoRenewAbortController),
    name: given.name || undefined,
    group: given.group || undefined,
    enabled: given.enabled !== false,
    status: given.status || undefined,
    state: state || undefined,
    given,
  });
}

/** There may be thousands of breakers: what is a default is kept once. */
function withoutDefaults (values) {
  const options = { __proto__: DEFAULTS };
  for (const name of Object.keys(values)) {
    if (values[name] !== DEFAULTS[name]) options[name] = values[name];
  }
  return options;
}

/** The options of a breaker as opossum reads them, with a copy of those that were given. */
function readLeniently (object = {}) {
  return readable('options', 'options that can be read', object, () => {
    const given = copyOf(object);
    const options = meaningOf(theirValues(given), given);
    checkTogether(options);
    checkAbortController('abortController', options.abortController);
    if (given.maxFailures) console.error(DEPRECATED);
    return options;
  });
}

/** What a breaker makes of them after one was assigned. */
const readAssigned = (name, values) => readable(String(name), 'a value that can be read',
  values[name], () => meaningOf(values, values));

module.exports = {
  CORE_NAMES, OPTIONS, THEIRS_LIVE, checkAction, checkSharing, coreConfig, errorThreshold,
  filterNothing, isAbsent, isPlain, readAssigned, readLeniently, readOptions, readWindowOptions,
  resolvedOptions, shownOptions, slowTicks, theirValues, windowOf, withOption,
};
