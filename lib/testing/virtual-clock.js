'use strict';

// A clock that stands still until a test moves it. It replaces the time of this package, in
// JavaScript and in the native core of this thread. The user's own timers are not affected.

const { performance } = require('node:perf_hooks');
const { setImmediate } = require('node:timers');

const clock = require('../base/clock');
const { SekeringError } = require('../base/errors');
const native = require('../base/native');
const { is, number, optionsOf } = require('../base/options');

// Timers that set timers without a delay would run for ever.
const CALLBACKS_MAX = 100_000;

const OPTIONS = optionsOf({
  wall: is.number('calendar time at the start, in ms since 1970; default: now',
    { min: -8.64e15, max: 8.64e15 }),
});

let active = null;

class VirtualTimer {
  constructor (source, callback, due, id) {
    this.source = source;
    this.callback = callback;
    this.due = due;
    this.id = id;
  }

  clear () {
    this.source.timers.delete(this);
  }
}

/** What lib/base/clock.js reads while the virtual clock is in use. */
class Source {
  constructor (wall) {
    // Whole milliseconds, so that sums of delays come out even.
    this.elapsed = 0;
    this.startNow = Math.ceil(performance.now());
    this.startWall = wall;
    this.startNative = Math.ceil(Number(process.hrtime.bigint() / 1_000_000n)) + 1;
    this.timers = new Set();
    this.lastId = 0;
    this.stopped = false;
    this.moveTo(0);
  }

  get now () { return this.startNow + this.elapsed; }
  get wall () { return this.startWall + this.elapsed; }

  setTimer (callback, ms) {
    const timer = new VirtualTimer(this, callback, this.elapsed + (ms > 0 ? ms : 0), ++this.lastId);
    this.timers.add(timer);
    return timer;
  }

  /** Time never goes back, even if a callback has already moved it further. */
  moveTo (elapsed) {
    if (this.stopped) return;
    this.elapsed = Math.max(this.elapsed, elapsed);
    native.setClock(this.startNative + this.elapsed);
  }

  stop () {
    this.stopped = true;
    this.timers.clear();
  }

  /** Runs the first timer that is due by `time`. Returns false if there is none. */
  step (time) {
    let first;
    for (const timer of this.timers) {
      const sooner = first === undefined || timer.due < first.due ||
        (timer.due === first.due && timer.id < first.id);
      if (timer.due <= time && sooner) first = timer;
    }
    if (first === undefined) return false;
    this.timers.delete(first);
    this.moveTo(first.due);
    first.callback();
    return true;
  }
}

/** Waits until promises, and the setImmediate callbacks that they set, have run. */
async function settle () {
  await new Promise(resolve => { setImmediate(resolve); });
  await new Promise(resolve => { setImmediate(resolve); });
}

function tooMany () {
  return new SekeringError('ERR_VIRTUAL_CLOCK_LOOP',
    `${CALLBACKS_MAX} timers ran and there are more: does a timer set itself without a delay?`);
}

const checkMs = ms => number('ms', ms, { min: 0, max: Number.MAX_SAFE_INTEGER });

/** Stops the time of this package. A thread can have one virtual clock at a time. */
function useVirtualClock (options) {
  const { wall = Date.now() } = OPTIONS.read(options);
  if (active !== null) throw new SekeringError('ERR_VIRTUAL_CLOCK');
  const source = new Source(wall);
  active = source;
  clock.setVirtual(source);

  return {
    get now () { return source.now; },
    get wall () { return source.wall; },

    /**
     * Runs all timers that are due by then, in order, before it returns. Its promise resolves when
     * the promises that they settled have been handled.
     */
    advance (ms) {
      checkMs(ms);
      const end = source.elapsed + ms;
      let runs = 0;
      while (source.step(end)) {
        if (++runs === CALLBACKS_MAX) throw tooMany();
      }
      source.moveTo(end);
      return settle();
    },

    /** The same, but handles the promises after each timer, so new timers run at their own time. */
    async advanceAsync (ms) {
      checkMs(ms);
      await settle();
      const end = source.elapsed + ms;
      let runs = 0;
      while (source.step(end)) {
        if (++runs === CALLBACKS_MAX) throw tooMany();
        await settle();
      }
      source.moveTo(end);
      await settle();
    },

    /** Returns to real time. Timers that still wait never run. */
    restore () {
      if (active !== source) return;
      active = null;
      source.stop();
      clock.setVirtual(null);
      native.setClock(-1);
    },
  };
}

module.exports = { useVirtualClock };
