'use strict';

// A clock that stands still until a test moves it. It replaces the time of this package, in
// JavaScript and in the native core of this thread. The user's own timers are not affected, or they
// and this package share the fake timers of a test runner.

const { setImmediate } = require('node:timers');

const clock = require('../base/clock');
const { SekeringError, invalidOption } = require('../base/errors');
const native = require('../base/native');
const { is, number, optionsOf } = require('../base/options');

// The real one, even while it is faked.
const { hrtime } = process;

// Timers that set timers without a delay would run for ever.
const CALLBACKS_MAX = 100_000;

const OPTIONS = optionsOf({
  wall: is.number('calendar time at the start, in ms since 1970; default: now',
    { min: -8.64e15, max: 8.64e15 }),
  timers: is.oneOf("'own', or 'fake': those of Jest or vitest; default: 'own'", ['own', 'fake']),
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

/** What lib/base/clock.js reads while a virtual clock is in use: a time that never goes back. */
class Time {
  // Whole milliseconds, so that sums of delays come out even.
  elapsed = 0;
  startNow = Math.ceil(clock.now());
  startNative = Math.ceil(Number(hrtime.bigint() / 1_000_000n)) + 1;
  stopped = false;

  get now () { return this.startNow + this.elapsed; }

  moveTo (elapsed) {
    if (this.stopped) return;
    this.elapsed = Math.max(this.elapsed, elapsed);
    native.setClock(this.startNative + this.elapsed);
  }
}

/** Time that this module's user moves, with timers of its own. */
class OwnTime extends Time {
  constructor (wall) {
    super();
    this.startWall = wall;
    this.timers = new Set();
    this.lastId = 0;
    this.moveTo(0);
  }

  get wall () { return this.startWall + this.elapsed; }

  setTimer (callback, ms) {
    const timer = new VirtualTimer(this, callback, this.elapsed + (ms > 0 ? ms : 0), ++this.lastId);
    this.timers.add(timer);
    return timer;
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

  /** Runs what is due within `ms`. */
  advance (ms) {
    const end = this.elapsed + ms;
    let runs = 0;
    while (this.step(end)) {
      if (++runs === CALLBACKS_MAX) throw tooMany();
    }
    this.moveTo(end);
    return settle();
  }

  block (ms) {
    this.moveTo(this.elapsed + ms);
    return this.advance(0);
  }

  async advanceAsync (ms) {
    await settle();
    const end = this.elapsed + ms;
    let runs = 0;
    while (this.step(end)) {
      if (++runs === CALLBACKS_MAX) throw tooMany();
      await settle();
    }
    this.moveTo(end);
    await settle();
  }
}

/**
 * Time that a test runner's fake timers move. Jest and vitest both make them with
 * @sinonjs/fake-timers, whose functions carry the clock that they belong to. It keeps its time in a
 * property, `now`, so all its ways to move time can be heard.
 */
class FakeTime extends Time {
  constructor (fake, ended) {
    super();
    this.fake = fake;
    const { reset, setSystemTime, uninstall } = fake;
    let now = fake.now;
    let isJump = false;
    Object.defineProperty(fake, 'now', {
      configurable: true,
      enumerable: true,
      get: () => now,
      set: value => {
        const moved = value - now;
        now = value;
        if (!isJump) this.moveTo(this.elapsed + moved);
      },
    });
    // What sets the calendar takes no time.
    const asJump = method => (...args) => {
      isJump = true;
      try {
        return method.apply(fake, args);
      } finally {
        isJump = false;
      }
    };
    fake.reset = asJump(reset);
    fake.setSystemTime = asJump(setSystemTime);
    fake.uninstall = (...args) => {
      ended();
      return uninstall.apply(fake, args);
    };
    this.stop = () => {
      this.stopped = true;
      Object.defineProperty(fake, 'now', {
        configurable: true, enumerable: true, writable: true, value: now,
      });
      Object.assign(fake, { reset, setSystemTime, uninstall });
    };
    this.moveTo(0);
  }

  get wall () { return this.fake.now; }

  // Those of the test runner stand in the place of the global ones.
  setTimer (callback, ms, ref) { return clock.startTimer(callback, ms, ref); }

  advance (ms) {
    this.fake.tick(ms);
    return this.fake.tickAsync(0);
  }

  block (ms) {
    this.fake.jump(ms);
    return this.fake.tickAsync(0);
  }

  async advanceAsync (ms) { await this.fake.tickAsync(ms); }
}

/** The clock of the fake timers in use. */
function findFake () {
  const fake = globalThis.setTimeout.clock;
  if (typeof fake?.now !== 'number' || typeof fake.tickAsync !== 'function' ||
      globalThis.Date.clock !== fake) {
    throw new SekeringError('ERR_VIRTUAL_CLOCK_TIMERS');
  }
  return fake;
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
  const { wall, timers } = OPTIONS.read(options);
  if (active !== null) throw new SekeringError('ERR_VIRTUAL_CLOCK');
  if (timers === 'fake' && wall !== undefined) {
    throw invalidOption('wall', "left out with timers: 'fake', whose time it would be", wall);
  }
  const source = timers === 'fake'
    ? new FakeTime(findFake(), restore)
    : new OwnTime(wall ?? Date.now());
  active = source;
  clock.setVirtual(source);

  /** Returns to real time. Timers that still wait never run. */
  function restore () {
    if (active !== source) return;
    active = null;
    source.stop();
    clock.setVirtual(null);
    native.setClock(-1);
  }

  return {
    get now () { return source.now; },
    get wall () { return source.wall; },

    /**
     * Runs all timers that are due by then, in order, before it returns. Its promise resolves when
     * the promises that they settled have been handled.
     */
    advance: ms => source.advance(checkMs(ms)),

    /** The same, but handles the promises after each timer, so new timers run at their own time. */
    advanceAsync: async ms => source.advanceAsync(checkMs(ms)),

    /**
     * Time passes while nothing runs, as when the event loop is blocked. Then each timer that was
     * due runs once, late.
     */
    block: ms => source.block(checkMs(ms)),

    restore,
  };
}

module.exports = { useVirtualClock };
