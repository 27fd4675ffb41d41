'use strict';

// Time limits: for one piece of work (withDeadline), for very many calls (Deadlines), and those of
// callers, which travel with their signals.

// The real one, even while it is faked.
const { setImmediate } = require('node:timers');

const { clearTimer, now, onSwitch, setTimer } = require('./clock');
const { SekeringError, timedOut } = require('./errors');
const { read, reasonOf } = require('./foreign');
const { guarded } = require('./warn');
const {
  TICKS_PER_MS, readClock, timedCallBegins, timedCallEnds
} = require('./recorder');

// ---- Deadlines of callers ----------------------------------------------------------------------

// The signals that carry a deadline, and its time as clock.now() counts. There is none in most
// programs, and then nothing is looked up.
let ends;

/** Gives a signal a deadline: its `ms` from now. */
function setDeadline (signal, ms) {
  ends ??= new WeakMap();
  ends.set(signal, now() + ms);
}

/** Gives a signal the deadline of the one that it follows, if that has one. */
function inheritDeadline (signal, outer) {
  const end = ends?.get(outer);
  if (end !== undefined) ends.set(signal, end);
}

/** How long until the deadline that a signal carries, ms; Infinity if there is none. */
function msUntilDeadline (signal) {
  const end = ends?.get(signal);
  return end === undefined ? Infinity : Math.max(end - now(), 0);
}

const deadlinePassed = () => new SekeringError('EDEADLINE');

/** Whether this is why a call ended, or its signal aborted. */
const isDeadline = reason => read(reason, 'code') === 'EDEADLINE';

/**
 * Whether a call that ended at its caller's deadline is a timeout of the upstream, too. If it had
 * less than half of the time that it may take by itself, that says nothing about the upstream: the
 * caller was in a hurry, or the time went by before the upstream was asked.
 */
const hadItsTime = (elapsed, limit) => limit !== Infinity && elapsed >= limit / 2;

// ---- One piece of work -------------------------------------------------------------------------

/** One piece of work. Its own result, the timer or the caller ends it. */
class Deadline {
  constructor (outer, ms, ref, error) {
    this.controller = new AbortController();
    inheritDeadline(this.controller.signal, outer);
    this.outer = outer;
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    outer?.addEventListener('abort', this);
    this.timer = setTimer(() => this.end(error ?? this.lateness(ms)), ms, ref);
  }

  lateness (ms) { return timedOut(ms); }

  // As an event listener of the caller's signal; an object needs no closure.
  handleEvent () {
    this.end(reasonOf(this.outer));
  }

  end (reason) {
    this.release();
    this.reject(reason);
    this.controller.abort(reason);
  }

  release () {
    clearTimer(this.timer);
    this.outer?.removeEventListener('abort', this);
  }

  async run (work) {
    try {
      const value = await work(this.controller.signal);
      this.release();
      this.resolve(value);
    } catch (error) {
      this.release();
      this.reject(error);
    }
  }
}

/** That of a caller travels with the signal. It cannot put off an earlier one of `outer`. */
class CallersDeadline extends Deadline {
  constructor (outer, ms) {
    super(outer, ms, true);
    if (ms < msUntilDeadline(outer)) setDeadline(this.controller.signal, ms);
  }

  lateness () { return deadlinePassed(); }

  // Work that heeds the signal may have more to say, such as that the outcome is unknown.
  end (reason) {
    this.release();
    this.controller.abort(reason);
    setImmediate(() => this.reject(reason));
  }
}

/**
 * Calls `work(signal)` and waits for it, for `ms` at most (Infinity for no limit). The signal
 * aborts when the time is over, or when `outer` aborts: the caller's signal, which must not be
 * aborted yet. Later results of `work` are ignored. Rejects as `work` does, with the signal's
 * reason, or on timeout with `error` (ETIMEDOUT by default). `ref`: whether the timer keeps the
 * process alive.
 */
function withDeadline (outer, ms, work, { error, ref = true } = {}) {
  const deadline = new Deadline(outer, ms, ref, error);
  deadline.run(work);
  return deadline.promise;
}

/**
 * The same for the deadline of a caller: then the error is EDEADLINE, unless `work` still rejects
 * with its own at once.
 */
function withCallersDeadline (outer, ms, work) {
  const deadline = new CallersDeadline(outer, ms);
  deadline.run(work);
  return deadline.promise;
}

/** Waits for `ms`. A signal that aborts, and has not aborted yet, ends that with its reason. */
function pause (ms, signal) {
  return new Promise((resolve, reject) => {
    const leave = () => {
      clearTimer(timer);
      reject(reasonOf(signal));
    };
    const timer = setTimer(() => {
      signal?.removeEventListener('abort', leave);
      resolve();
    }, ms);
    signal?.addEventListener('abort', leave, { once: true });
  });
}

// ---- Many calls --------------------------------------------------------------------------------

// Ticks wrap after 74 hours; calls that may take longer than this each have their own timer.
const LIST_MS_MAX = 24 * 3600 * 1000;

// Lists by length. Beyond the limit, each new length gets a list that nobody else uses.
const lists = new Map();
const LISTS_MAX = 256;

// Lists with a timer: those with calls in flight.
const armed = new Set();

/**
 * The timeouts of calls. Calls with the same timeout expire in the order in which they began. So
 * they are in one linked list, for all breakers that have that timeout, with one timer for the
 * first of them. A call that settles in time is removed from the list; the timer stays.
 */
class Deadlines {
  /** The list for timeouts of `ms`. */
  static of (ms) {
    let list = lists.get(ms);
    if (list === undefined) {
      list = new Deadlines(ms);
      if (lists.size < LISTS_MAX) lists.set(ms, list);
    }
    return list;
  }

  /** @param {number} ms after which `timeOut()` of a call is called */
  constructor (ms) {
    this.ms = ms;
    this.first = null;
    this.last = null;
    this.timer = undefined;
    this.onTimer = () => this.expire();
  }

  /** Adds a call that began at `call.started`, in ticks. */
  add (call) {
    timedCallBegins();
    call.previous = this.last;
    if (this.last === null) this.first = call;
    else this.last.next = call;
    this.last = call;
    if (this.ms > LIST_MS_MAX) this.alarm(call);
    else if (this.timer === undefined) this.arm(this.ms);
  }

  arm (ms) {
    this.timer = setTimer(this.onTimer, ms, false);
    armed.add(this);
  }

  alarm (call) {
    call.timer = setTimer(() => this.timeOut(call), this.ms, false);
    armed.add(this);
  }

  remove (call) {
    timedCallEnds();
    if (this.ms > LIST_MS_MAX) clearTimer(call.timer);
    if (call.previous === null) this.first = call.next;
    else call.previous.next = call.next;
    if (call.next === null) this.last = call.previous;
    else call.next.previous = call.previous;
    call.previous = call.next = null;
  }

  timeOut (call) {
    this.remove(call);
    call.timeOut();
  }

  expire () {
    this.timer = undefined;
    armed.delete(this);
    const now = readClock();
    // Timers count whole milliseconds and may fire a fraction of one early.
    const length = this.ms * TICKS_PER_MS - TICKS_PER_MS / 2;
    while (this.first !== null && ((now - this.first.started) | 0) >= length) {
      // One call that cannot be ended must not keep the others waiting.
      guarded('A call could not be timed out', () => this.timeOut(this.first));
    }
    if (this.first !== null && this.timer === undefined) {
      const left = this.ms - ((now - this.first.started) | 0) / TICKS_PER_MS;
      this.arm(Math.max(Math.ceil(left), 1));
    }
  }

  /** Continues under another clock. */
  move () {
    if (this.ms > LIST_MS_MAX) return;
    clearTimer(this.timer);
    this.expire();
  }

  /** Drops the deadlines of calls in flight, as their clock is gone. */
  drop () {
    clearTimer(this.timer);
    this.timer = undefined;
    while (this.first !== null) {
      const call = this.first;
      this.remove(call);
      call.loseDeadline();
    }
  }
}

onSwitch(isReal => {
  const lists = [...armed];
  if (isReal) armed.clear();
  for (const list of lists) isReal ? list.drop() : list.move();
});

module.exports = {
  Deadlines, deadlinePassed, hadItsTime, inheritDeadline, isDeadline, msUntilDeadline, pause,
  withCallersDeadline, withDeadline,
};
