'use strict';

// A clock that stands still until a test moves it: for all timers and readings of this package, in
// JavaScript and in the native core of this thread. The user's own timers are not touched.

const { performance } = require('node:perf_hooks');
const { setImmediate } = require('node:timers');

const clock = require('../base/clock');
const { SekeringError } = require('../base/errors');
const native = require('../base/native');
const { bag, number } = require('../base/options');

// Timers that set timers without letting time pass would go on for ever.
const CALLBACKS_MAX = 100_000;

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

/** What lib/base/clock.js reads while it is installed. */
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

  /** Time does not go back: not when a callback has moved it further already. */
  moveTo (elapsed) {
    if (this.stopped) return;
    this.elapsed = Math.max(this.elapsed, elapsed);
    native.setClock(this.startNative + this.elapsed);
  }

  stop () {
    this.stopped = true;
    this.timers.clear();
  }

  /** Runs the first timer that is due by `time`. False if there is none. */
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

/** Lets promises, and callbacks that promises set for the next turn, do what they have to do. */
async function settle () {
  await new Promise(resolve => { setImmediate(resolve); });
  await new Promise(resolve => { setImmediate(resolve); });
}

function tooMany () {
  return new SekeringError('ERR_VIRTUAL_CLOCK_LOOP',
    `${CALLBACKS_MAX} timers ran without an end: is one set again and again without a delay?`);
}

function checkMs (ms) {
  number('ms', ms, { min: 0, max: Number.MAX_SAFE_INTEGER });
}

/**
 * Stops the time of this package. Only one virtual clock can be in use at a time in one thread.
 *
 *     const clock = useVirtualClock();
 *     const result = retry(flaky, { retries: 3 });
 *     await clock.advanceAsync(15_000);
 *     clock.restore();
 *
 * - `now`, `wall`: the time, in ms (since some start, and of the calendar)
 * - `advance(ms)`: time passes at once: all timers due by then run in their order, before it
 *   returns. What they settle is dealt with when the promise that it returns resolves.
 * - `advanceAsync(ms)`: the same, but what each timer settles is dealt with before the next one
 *   runs, so that a timer that is set meanwhile takes its turn.
 * - `restore()`: gives the real time back; timers that still wait never run.
 *
 * @param {{ wall?: number }} [options] what the calendar shows at first, in ms since 1970
 * @throws {SekeringError} ERR_VIRTUAL_CLOCK if one is in use already
 */
function useVirtualClock (options) {
  const { wall = Date.now() } = bag('options', options);
  number('wall', wall, { min: -8.64e15, max: 8.64e15 });
  if (active !== null) {
    throw new SekeringError('ERR_VIRTUAL_CLOCK',
      'A virtual clock is in use already: call its restore() first');
  }
  const source = new Source(wall);
  active = source;
  clock.setVirtual(source);

  return {
    get now () { return source.now; },
    get wall () { return source.wall; },

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
