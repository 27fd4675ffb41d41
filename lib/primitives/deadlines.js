'use strict';

// The timeouts of calls. Calls with the same timeout expire in the order in which they began. So
// they are in one linked list, for all breakers that have that timeout, with one timer for the
// first of them. A call that settles in time is removed from the list; the timer stays.

const clock = require('../base/clock');
const {
  TICKS_PER_MS, readClock, timedCallBegins, timedCallEnds
} = require('../base/recorder');

// Ticks wrap after 74 hours; calls that may take longer than this have a timer each.
const LIST_MS_MAX = 24 * 3600 * 1000;

// Lists by length. Beyond the limit, each new length gets a list that nobody else uses.
const lists = new Map();
const LISTS_MAX = 256;

// Lists with a timer: all that have calls in flight.
const armed = new Set();

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
    this.timer = clock.setTimer(this.onTimer, ms, false);
    armed.add(this);
  }

  alarm (call) {
    call.timer = clock.setTimer(() => this.timeOut(call), this.ms, false);
    armed.add(this);
  }

  remove (call) {
    timedCallEnds();
    if (this.ms > LIST_MS_MAX) clock.clearTimer(call.timer);
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
    // Timers count whole milliseconds and may be a fraction of one early.
    const length = this.ms * TICKS_PER_MS - TICKS_PER_MS / 2;
    while (this.first !== null && ((now - this.first.started) | 0) >= length) {
      this.timeOut(this.first);
    }
    if (this.first !== null && this.timer === undefined) {
      const left = this.ms - ((now - this.first.started) | 0) / TICKS_PER_MS;
      this.arm(Math.max(Math.ceil(left), 1));
    }
  }

  /** Continues under another clock. */
  move () {
    if (this.ms > LIST_MS_MAX) return;
    clock.clearTimer(this.timer);
    this.expire();
  }

  /** Drops the deadlines of calls in flight, as their clock is gone. */
  drop () {
    clock.clearTimer(this.timer);
    this.timer = undefined;
    while (this.first !== null) {
      const call = this.first;
      this.remove(call);
      call.loseDeadline();
    }
  }
}

clock.onSwitch(isReal => {
  const lists = [...armed];
  if (isReal) armed.clear();
  for (const list of lists) isReal ? list.drop() : list.move();
});

module.exports = Deadlines;
