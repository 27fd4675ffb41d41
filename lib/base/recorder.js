'use strict';

// The JavaScript end of the hot path. Calls are recorded by appending words to a ring that native
// code drains later. Nothing here calls native code unless the ring is full. The other end is
// native/binding/recorder.h, with the same indices, and native/core/breakers.h.

const native = require('./native');
const clock = require('./clock');

const RING_HEAD = 0;
const CLOCK_NOW = 1;
const CLOCK_BUDGET = 2;
const CLOCK_STRIDE = 3;
const TIMED_IN_FLIGHT = 4;
const LOOP_HELD = 5;

const RING_WORDS = 4096;

// In the order of `Counter` in native/core/window.h.
const COUNTER = Object.freeze({
  failures: 0,
  fallbacks: 1,
  successes: 2,
  rejects: 3,
  fires: 4,
  timeouts: 5,
  cacheHits: 6,
  cacheMisses: 7,
  coalesceCacheHits: 8,
  coalesceCacheMisses: 9,
  semaphoreRejections: 10
});
const SUCCESSES = COUNTER.successes;

const CELLS_PER_CHUNK = 1024;
// The bits of a breaker's id that are its place in its chunk.
const CELL = CELLS_PER_CHUNK - 1;

// Latencies are measured in ticks, sixteenths of a millisecond, so that they fit small integers.
const TICKS_PER_MS = 16;
// Reading the clock costs as much as the rest of a call. While less than a quarter of a millisecond
// passes between readings, each serves twice as many calls as the one before, up to this many.
// Native code forces a new reading whenever the loop is about to wait.
const STRIDE_MAX = 63;
const STRIDE_TICKS_MAX = TICKS_PER_MS / 4;

// The addon exists once in an environment, but this module may exist more than once (two copies of
// the package, a test runner's registries). All of them use the arrays of the first.
const { control, ring, answer, chunks } = (native.recorder ??= attach());

function attach () {
  // With its own ArrayBuffer, the memory never moves, as native code needs.
  const arrays = {
    control: new Int32Array(new ArrayBuffer(6 * 4)),
    ring: new Uint32Array(new ArrayBuffer(RING_WORDS * 4)),
    answer: new Float64Array(new ArrayBuffer(8 * 2048)),
    chunks: []
  };
  native.attachRecorder(arrays.control, arrays.ring, arrays.answer);
  return arrays;
}

// Native code looks at the ring before the loop waits. WebAssembly has to be told that there is
// something to look at.
const watchLoop = native.engine === 'wasm' ? () => native.watchLoop() : () => {};

function readClock () {
  watchLoop();
  const now = (clock.now() * TICKS_PER_MS) | 0;
  const moved = (now - control[CLOCK_NOW]) | 0;
  const stride = moved > STRIDE_TICKS_MAX
    ? 0
    : Math.min(control[CLOCK_STRIDE] * 2 + 1, STRIDE_MAX);
  control[CLOCK_NOW] = now;
  control[CLOCK_STRIDE] = stride;
  control[CLOCK_BUDGET] = stride;
  return now;
}

/** The time in ticks. It may be a little old; differences wrap after 74 hours. */
function ticks () {
  return --control[CLOCK_BUDGET] >= 0 ? control[CLOCK_NOW] : readClock();
}

/** Whole milliseconds of a difference of two ticks. */
const millis = elapsed => (elapsed + TICKS_PER_MS / 2) >>> 4;

/** Records one event of a breaker. */
function record (id, counter) {
  const head = control[RING_HEAD];
  if (head === 0) watchLoop();
  ring[head] = (id << 4) + counter;
  control[RING_HEAD] = head + 1;
  if (head >= RING_WORDS - 3) native.drain();
}

/** Records a success and its latency in ticks. */
function recordSuccess (id, elapsed) {
  const head = control[RING_HEAD];
  ring[head] = (id << 4) + SUCCESSES;
  ring[head + 1] = elapsed;
  control[RING_HEAD] = head + 2;
  if (head >= RING_WORDS - 4) native.drain();
}

/** A call in flight that has a timeout keeps the process alive. */
function timedCallBegins () {
  ++control[TIMED_IN_FLIGHT];
  if (control[LOOP_HELD] === 0) native.holdLoop();
}

function timedCallEnds () {
  --control[TIMED_IN_FLIGHT];
}

/**
 * Creates a native breaker. It counts in a window of its own, or in that of breaker `windowOf`.
 * @returns {{ id: number, cells: Int32Array }} cells[id & CELL] holds its current period
 */
function createBreaker (config, windowOf = -1) {
  const created = withCells(() => native.createBreaker(config, windowOf));
  if (created.id < 0) throw new RangeError('Out of memory for breakers');
  return created;
}

/** As createBreaker, for a breaker in a region. If that fails, the id is negative. */
function attachBreaker (region, name, config, stored) {
  return withCells(() => native.attachBreaker(region, name, config, stored));
}

// CreateError::kNoPeriods of native/core/breakers.h.
const NO_CELLS = -100;

function withCells (make) {
  let id = make();
  if (id === NO_CELLS) {
    chunks.push(new Int32Array(new ArrayBuffer(CELLS_PER_CHUNK * 4)));
    native.addCells(chunks[chunks.length - 1]);
    id = make();
  }
  return { id, cells: chunks[Math.floor(id / CELLS_PER_CHUNK)] };
}

module.exports = {
  CELL, COUNTER, TICKS_PER_MS, answer, attachBreaker, createBreaker, millis, readClock, record,
  recordSuccess, ticks, timedCallBegins, timedCallEnds,
};
