'use strict';

// Load shedding: while this process has more to do than it can, it rejects calls of low priority
// at once. The core decides (native/core/load_shedder.h). Here the delay of the event loop is
// measured, by a timer: so it is what the program's timers have, on both engines.

const { now, onSwitch, setTimer } = require('../base/clock');
const { SekeringError } = require('../base/errors');
const native = require('../base/native');
const { func, is, optionsOf } = require('../base/options');
const { PRIORITY } = require('./limits');
const { own } = require('./permits');

const MS_MAX = 60_000;
// As kFall of native/core/load_shedder.h, whose pressure is counted in thousandths.
const FALL = 0.25;

const OPTIONS = optionsOf({
  maxDelay: is.ms('that the event loop may be late', { min: 1, max: MS_MAX, default: 50 }),
  interval: is.ms('between measurements', { min: 10, max: MS_MAX, default: 100 }),
});
const EXECUTE = optionsOf({
  signal: is.signal('passed on; a call whose signal has aborted is not begun'),
  priority: PRIORITY,
});

// Timers of an earlier clock may go on, and measure nothing.
let clocks = 0;
onSwitch(() => { clocks += 1; });

class LoadShedder {
  #handle;
  #interval;
  // { calls, shed } of each priority that there were calls of.
  #byPriority = {};
  // The measurement that is under way: when it is due, and by which clock.
  #due = Infinity;
  #clock;
  // Whether there were calls since the last one.
  #isUsed = false;

  constructor (options) {
    const { maxDelay, interval } = OPTIONS.read(options);
    this.#interval = interval;
    this.#handle = own(this, native.createLoadShedder(maxDelay), native.destroyLoadShedder);
  }

  /** How late the event loop was when it was measured last, ms; 0 while nothing is measured. */
  get delay () { return native.loadDelay(this.#handle); }

  /** 0 to 9: calls of lower priority are rejected; of that between, a part. */
  get pressure () { return native.loadPressure(this.#handle) / 1000; }

  get stats () {
    const byPriority = Object.fromEntries(
      Object.entries(this.#byPriority).map(([priority, counts]) => [priority, { ...counts }]));
    const sumOf = name => Object.values(byPriority).reduce((sum, counts) => sum + counts[name], 0);
    return { calls: sumOf('calls'), shed: sumOf('shed'), byPriority };
  }

  /** Calls `fn({ signal })`, unless the process is too busy for calls of its priority. */
  async execute (fn, options) {
    func('fn', fn);
    const { signal, priority } = EXECUTE.read(options);
    signal?.throwIfAborted();
    const counts = (this.#byPriority[priority] ??= { calls: 0, shed: 0 });
    counts.calls++;
    this.#isUsed = true;
    if (this.#due === Infinity || this.#clock !== clocks) this.#begin();
    if (!native.admitLoad(this.#handle, priority)) {
      counts.shed++;
      throw this.#tooBusy(priority);
    }
    return fn({ signal });
  }

  /** The error says when the pressure can have fallen so far that such a call is taken. */
  #tooBusy (priority) {
    const error = new SekeringError('ELOADSHED');
    error.retryAfterMs = Math.ceil((this.pressure - priority) / FALL) * this.#interval;
    return error;
  }

  /** What was measured last may be long ago, and is not one of two in a row any more. */
  #begin () {
    native.addLoopDelay(this.#handle, 0);
    this.#measure();
  }

  #measure () {
    const clock = this.#clock = clocks;
    this.#due = now() + this.#interval;
    setTimer(() => { if (clock === clocks) this.#measured(); }, this.#interval, false);
  }

  #measured () {
    native.addLoopDelay(this.#handle, Math.max(now() - this.#due, 0));
    this.#due = Infinity;
    // Nothing is measured for a shedder that nobody uses.
    if (this.#isUsed || this.pressure > 0) this.#measure();
    else native.addLoopDelay(this.#handle, 0);
    this.#isUsed = false;
  }
}

module.exports = { LoadShedder };
