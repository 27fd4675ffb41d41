'use strict';

// The one source of time and timers. Tests put a virtual clock in its place (sekering/testing).
// Times are milliseconds. `now` is monotonic, `wall` is calendar time.

// A longer delay would overflow Node's 32-bit timers and fire at once, so it is waited in parts.
const DELAY_MS_MAX = 2 ** 31 - 1;

let virtual = null;
const switched = [];

/** A timer that may be longer than 2^31 ms. */
class Timer {
  constructor (callback, ms, ref) {
    this.callback = callback;
    this.remaining = ms;
    this.ref = ref;
    this.handle = undefined;
    this.arm();
  }

  arm () {
    const part = Math.min(this.remaining, DELAY_MS_MAX);
    this.remaining -= part;
    this.handle = setTimeout(fire, part, this);
    if (!this.ref) this.handle.unref?.();
  }
}

function fire (timer) {
  if (timer.remaining > 0) timer.arm();
  else timer.callback();
}

// The global `performance` is loaded on first use, so we do not use it while we are being loaded.
const now = () => (virtual === null ? performance.now() : virtual.now);
const wall = () => (virtual === null ? Date.now() : virtual.wall);

/**
 * Calls `callback` once after `ms`; Infinity never fires. `ref`: whether the timer keeps the
 * process alive. Returns a token for clearTimer.
 */
function setTimer (callback, ms, ref = true) {
  return virtual === null ? startTimer(callback, ms, ref) : virtual.setTimer(callback, ms, ref);
}

/** The same, with the global timers even under a virtual clock. */
function startTimer (callback, ms, ref) {
  return ms === Infinity ? undefined : new Timer(callback, ms, ref);
}

function clearTimer (token) {
  if (token === undefined) return;
  if (token instanceof Timer) clearTimeout(token.handle);
  else token.clear();
}

/**
 * Test hook: all later reads and timers go to `source`, which has `now`, `wall` and `setTimer`;
 * null restores the real clock. Running timers stay with the clock that they were set on.
 */
function setVirtual (source) {
  virtual = source;
  for (const listener of switched) listener(source === null);
}

/** Calls `listener(isReal)` whenever the clock has been replaced. */
function onSwitch (listener) {
  switched.push(listener);
}

module.exports = { now, wall, setTimer, startTimer, clearTimer, setVirtual, onSwitch };
