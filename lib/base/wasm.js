'use strict';

// The engine for where no addon loads: the core as WebAssembly (native/wasm/exports.cc), with the
// functions that the addon has. It shares nothing with other threads, so it has no regions.
//
// WebAssembly sees only its own memory. The arrays of recorder.js stay outside, where the hot path
// costs what it costs with the addon, and are copied here.

const { performance } = require('node:perf_hooks');
// Not the global ones, which tests replace.
const { clearInterval, setImmediate, setInterval } = require('node:timers');

// As in recorder.js.
const RING_HEAD = 0;
const CLOCK_BUDGET = 2;
const TIMED_IN_FLIGHT = 4;
const LOOP_HELD = 5;
const CELLS_PER_CHUNK = 1024;

// As in native/core/breakers.h: the numbers of stats before its latencies.
const STATS_FIXED = 13 + 1 + 9;
// Of kConfigFields and kRetryNumbers, the larger.
const RULES_MAX = 20;
// RegionError::kUnsupported of native/core/region_file.h.
const UNSUPPORTED = -8;
// How long a process may outlive its last call that has a timeout, at worst.
const HELD_LOOK_MS = 1000;

/** Functions that take a breaker's id and numbers, by what they return. */
const OF_BREAKERS = {
  number: ['admit', 'poll', 'openFor', 'epoch', 'bucketCount', 'repairs'],
  boolean: ['success', 'failure', 'hasFreeProbe', 'isWarming'],
  nothing: ['abandon', 'trip', 'moveTo', 'forget', 'rotate', 'count', 'addLatency',
    'setBucketCount'],
};
/** The same of limits, which take numbers. */
const OF_LIMITS = {
  number: ['createBulkhead', 'bulkheadInUse', 'bulkheadHeld', 'bulkheadRepairs',
    'createTokenBucket', 'takeTokens', 'waitForTokens', 'tokensAvailable', 'createRetryBudget',
    'retryBudgetBalance', 'createAdaptiveLimit', 'beginAdaptive', 'adaptiveLimit',
    'adaptiveActive', 'adaptiveBaseLatency', 'nextFault', 'faultDelay', 'faultCount',
    'createHedgeDelay', 'hedgeDelay', 'createLoadShedder', 'loadPressure', 'loadDelay'],
  boolean: ['acquireBulkhead', 'acquireBulkheadForLine', 'mustYieldBulkhead', 'releaseBulkhead',
    'withdrawRetryBudget', 'endAdaptive', 'admitLoad'],
  nothing: ['destroyBulkhead', 'destroyTokenBucket', 'destroyRetryBudget', 'depositRetryBudget',
    'destroyAdaptiveLimit', 'destroyFaultInjector', 'destroyHedgeDelay', 'addHedgeLatency',
    'destroyLoadShedder', 'addLoopDelay'],
};
const CONVERT = { number: value => value, boolean: value => value !== 0, nothing () {} };

/** Calls `each(name, convert)`. */
function eachOf (table, each) {
  for (const [type, names] of Object.entries(table)) {
    for (const name of names) each(name, CONVERT[type]);
  }
}

/** Our own JavaScript may pass anything; WebAssembly would take null for 0. */
const idOf = id => (typeof id === 'number' ? id : -1);

function instantiate () {
  const { base64 } = require('./wasm-core');
  // The host's monotonic clock, as the addon reads it. This costs less than to ask for it.
  const zero = Number(process.hrtime.bigint()) / 1e6 - performance.now();
  const wasm = new WebAssembly.Module(Buffer.from(base64, 'base64'));
  const { exports } = new WebAssembly.Instance(wasm, {
    sekering: { now: () => performance.now() + zero },
    // The C++ library asks for it, but uses it for nothing here.
    wasi_snapshot_preview1: { random_get: () => 0 },
  });
  exports._initialize();
  return exports;
}

class WasmEngine {
  #core = instantiate();
  #head = this.#core.headAddress() / 4;
  #ringAt = this.#core.ringAddress() / 4;
  #answerAt = this.#core.answerAddress() / 8;
  #rulesAt = this.#core.rulesAddress() / 8;
  // Views of the core's memory.
  #words = new Uint32Array(this.#core.memory.buffer);
  #doubles = new Float64Array(this.#core.memory.buffer);

  #control = new Int32Array(LOOP_HELD + 1);
  #ring = new Uint32Array(0);
  #answer = new Float64Array(0);
  /** The arrays of periods, and where the core has its own. */
  #chunks = [];

  #isWatching = false;
  #holder;

  constructor () {
    const core = this.#core;
    eachOf(OF_BREAKERS, (name, convert) => {
      const call = core[name];
      this[name] = (id, a, b, c, d) => {
        this.#feed();
        const value = this.#checked(call(idOf(id), a, b, c, d));
        this.#publish(id);
        return convert(value);
      };
    });
    eachOf(OF_LIMITS, (name, convert) => {
      const call = core[name];
      this[name] = (handle, a, b, c) => convert(this.#checked(call(idOf(handle), a, b, c)));
    });
  }

  // ---- Memory ----------------------------------------------------------------------------------

  /** A memory that grows has a new buffer. Views of the old one are empty. */
  #refresh () {
    if (this.#words.length !== 0) return;
    this.#words = new Uint32Array(this.#core.memory.buffer);
    this.#doubles = new Float64Array(this.#core.memory.buffer);
  }

  /** Hands over what was recorded. The core's function that is called next must drain it. */
  #feed () {
    const head = this.#control[RING_HEAD];
    if (head === 0) return;
    this.#refresh();
    const [words, ring, at] = [this.#words, this.#ring, this.#ringAt];
    for (let i = 0; i < head; i++) words[at + i] = ring[i];
    words[this.#head] = head;
    this.#control[RING_HEAD] = 0;
  }

  #publish (id) {
    this.#refresh();
    const { cells, address } = this.#chunks[Math.floor(id / CELLS_PER_CHUNK)];
    const at = id % CELLS_PER_CHUNK;
    cells[at] = this.#words[address + at];
  }

  /** NaN stands for a wrong call. */
  #checked (result) {
    if (!Number.isNaN(result)) return result;
    this.#refresh();
    const bytes = Buffer.from(this.#words.buffer, this.#core.faultAddress());
    throw new TypeError(bytes.toString('latin1', 0, bytes.indexOf(0)));
  }

  /** Copies a configuration or rules. Returns their length; what is none has none. */
  #pass (numbers) {
    if (!(numbers instanceof Float64Array)) return 0;
    this.#refresh();
    this.#doubles.set(numbers.subarray(0, RULES_MAX), this.#rulesAt);
    return numbers.length;
  }

  #take (array, from, length) {
    this.#refresh();
    for (let i = 0; i < length; i++) array[i] = this.#doubles[from + i];
  }

  /** Calls `use` with the delays of a series in the core's memory. */
  #withDelays (delays, use) {
    const at = this.#core.delaysAddress(delays.length) / 8;
    this.#refresh();
    this.#doubles.set(delays, at);
    const result = this.#checked(use());
    this.#take(delays, at, delays.length);
    return result;
  }

  // ---- The loop --------------------------------------------------------------------------------

  // libuv calls the addon before the loop waits. Here an immediate does the same: while one is
  // pending, the loop does not wait.
  watchLoop () {
    if (this.#isWatching) return;
    this.#isWatching = true;
    setImmediate(() => {
      this.#isWatching = false;
      this.#clockMoves();
      this.#releaseLoop();
    });
  }

  /** Keeps the process alive until no call with a timeout is in flight. */
  holdLoop () {
    this.#control[LOOP_HELD] = 1;
    this.#holder ??= setInterval(() => this.#releaseLoop(), HELD_LOOK_MS);
  }

  #releaseLoop () {
    const control = this.#control;
    if (control[LOOP_HELD] === 0 || control[TIMED_IN_FLIGHT] !== 0) return;
    control[LOOP_HELD] = 0;
    clearInterval(this.#holder);
    this.#holder = undefined;
  }

  /** What happened so far, happened at the time so far. The next call reads the clock. */
  #clockMoves () {
    this.drain();
    this.#control[CLOCK_BUDGET] = 0;
  }

  // ---- The other functions of the addon --------------------------------------------------------

  attachRecorder (control, ring, answer) {
    this.#control = control;
    this.#ring = ring;
    this.#answer = answer;
  }

  addCells (cells) {
    if (cells.length !== CELLS_PER_CHUNK) {
      throw new TypeError('The array of periods has another length than native code expects');
    }
    const address = this.#core.addPeriods();
    if (address === 0) throw new RangeError('Out of memory for breakers');
    this.#chunks.push({ cells, address: address / 4 });
  }

  drain () {
    if (this.#control[RING_HEAD] === 0) return;
    this.#feed();
    this.#core.drain();
  }

  setClock (ms) {
    this.#clockMoves();
    this.#core.setClock(ms);
  }

  createBreaker (config, windowOf = -1) {
    this.drain();
    const id = this.#checked(this.#core.createBreaker(this.#pass(config), idOf(windowOf)));
    if (id >= 0) this.#publish(id);
    return id;
  }

  destroyBreaker (id) {
    this.#feed();
    this.#checked(this.#core.destroyBreaker(idOf(id)));
  }

  configure (id, config) {
    this.#feed();
    this.#checked(this.#core.configure(idOf(id), this.#pass(config)));
    this.#publish(id);
  }

  transitions (id) {
    this.#feed();
    const known = this.#checked(this.#core.transitions(idOf(id)));
    this.#take(this.#answer, this.#answerAt, 1 + known);
    this.#publish(id);
    return known;
  }

  stats (id, age) {
    this.#feed();
    const latencies = this.#checked(this.#core.stats(idOf(id), age));
    this.#take(this.#answer, this.#answerAt, STATS_FIXED + latencies);
    return latencies;
  }

  backoffDelay (rules, retry, random, previous) {
    return this.#checked(this.#core.backoffDelay(this.#pass(rules), retry, random, previous));
  }

  delaysInAdvance (retries, forever) { return this.#core.delaysInAdvance(retries, forever); }

  drawDelays (rules, delays) {
    const count = this.#pass(rules);
    this.#withDelays(delays, () => this.#core.drawDelays(count));
  }

  decideRetry (rules, delays, ...failed) {
    const count = this.#pass(rules);
    return this.#withDelays(delays, () => this.#core.decideRetry(count, ...failed));
  }

  createFaultInjector (seed, faults) {
    return this.#withDelays(faults, () => this.#core.createFaultInjector(seed));
  }

  regionLayout () { return 'none'; }
  joinRegion () { return UNSUPPORTED; }
  removeUnusedRegion () { return false; }
  regionInfo () { throw new TypeError('There is no region with this handle'); }
  regionRepairs () { throw new TypeError('There is no region with this handle'); }
  onNews () {}
}

/** Copies of this package in one environment share it, as they share the addon. */
function loadWasm () {
  const key = Symbol.for(`sekering.wasm.${require('./wasm-core').digest}`);
  if (!Object.hasOwn(globalThis, key)) {
    Object.defineProperty(globalThis, key, { value: new WasmEngine() });
  }
  return globalThis[key];
}

module.exports = { loadWasm };
