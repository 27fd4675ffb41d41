'use strict';

// The timeouts of calls. Those of one length are due in the order in which the calls began: a
// linked list, and one timer for the first of them, for all breakers that have that timeout. A call
// that settles in time is taken out of the list; the timer is left to find that out.

const clock = require('../base/clock');
const {
  TICKS_PER_MS, readClock, timedCallBegins, timedCallEnds
} = require('../base/recorder');

// Ticks wrap after 74 hours; calls that may take longer than this have a timer each.
const LIST_MS_MAX = 24 * 3600 * 1000;

// Lists by length. Programs that make up ever new lengths get lists of their own.
const lists = new Map();
const LISTS_MAX = 256;

// Those with a timer, which have all calls in flight among them.
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

  /** @param {number} ms after which a call is told (call.timeOut) */
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

  /** The clock is another: what is in flight goes by the new one from now on. */
  move () {
    if (this.ms > LIST_MS_MAX) return;
    clock.clearTimer(this.timer);
    this.expire();
  }

  /** The clock is gone by which the calls in flight were to be told: they never will be. */
  letGo () {
    clock.clearTimer(this.timer);
    this.timer = undefined;
    while (this.first !== null) {
      const call = this.first;
      this.remove(call);
      call.letGo();
    }
  }
}

clock.onSwitch(isReal => {
  const lists = [...armed];
  if (isReal) armed.clear();
  for (const list of lists) isReal ? list.letGo() : list.move();
});

module.exports = Deadlines;
