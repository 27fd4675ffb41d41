'use strict';

// A breaker per key: one bad tenant, instance or host leaves the others alone. Breakers are made on
// demand, bounded in number, and let go when they are idle, all without a timer.

const Emitter = require('../base/emitter');
const clock = require('../base/clock');
const native = require('../base/native');
const { func, number } = require('../base/options');
const CircuitBreaker = require('./breaker');
const { isShared } = require('./sharing');

const MAX = 10000;
const IDLE_TTL_MS = 10 * 60 * 1000;
// Members are in the order of their use to this share of idleTtl, so that most uses move nothing.
const GRAIN = 8;

/** A breaker that also tells its group what happens, with its key. */
class Member extends CircuitBreaker {
  constructor (action, options, group, key) {
    super(action, options);
    this._group = group;
    this.key = key;
    this._isEvicted = false;
    // Its place among those in the same state, and when it was last used, or has changed its state.
    this._line = null;
    this._before = null;
    this._after = null;
    this._used = 0;
    this._listen();
  }

  emit (event, ...args) {
    const heard = super.emit(event, ...args);
    return this._group?.emit(event, this.key, ...args) || heard;
  }

  _hasListener (event) {
    return super._hasListener(event) || this._group?.listenerCount(event) > 0;
  }

  shutdown () {
    super.shutdown();
    this._isEvicted = false;
  }

  _evict () {
    this._isEvicted = true;
    this._retire();
  }

  /** Notices what others who share it have done. */
  _look () {
    if (isShared(this._options)) native.poll(this._id);
    this._announce();
  }

  // Calls in flight when it was evicted may still trip it: nobody needs to hear of that.
  _announce () {
    if (!this._isEvicted) super._announce();
  }

  _entered (state) {
    // First, so that listeners find it where it belongs.
    this._group?._moved(this);
    super._entered(state);
  }

  /** Calls through an evicted breaker go to the current breaker of its key. */
  _slowPath (action, context, args, cancel) {
    if (!this._isEvicted || this._group._isOver) {
      return super._slowPath(action, context, args, cancel);
    }
    let present;
    try {
      present = this._group.get(this.key);
    } catch (error) {
      return Promise.reject(error);
    }
    return present._slowPath(action, context, args, cancel);
  }
}

/** Members in the same state, the least recently used first. All of it is of constant time. */
class Line {
  first = null;
  #last = null;

  add (member) {
    member._line = this;
    member._before = this.#last;
    if (this.#last === null) this.first = member;
    else this.#last._after = member;
    this.#last = member;
  }

  remove (member) {
    const { _before: before, _after: after } = member;
    if (before === null) this.first = after;
    else before._after = after;
    if (after === null) this.#last = before;
    else after._before = before;
    // One that waits for the collector would keep all that came after it.
    member._line = member._before = member._after = null;
  }
}

class BreakerGroup extends Emitter {
  // An open breaker protects an upstream: it is evicted last.
  _closed = new Line();
  _halfOpen = new Line();
  _open = new Line();
  _isOver = false;

  /**
   * @param {(...args: unknown[]) => unknown} action called with the arguments after the key
   * @param {object} [options] of every breaker, and:
   * @param {number} [options.max] breakers kept at once, default 10000; past it the least recently
   *   used one that is not open is evicted, or else the least recently used one
   * @param {number} [options.idleTtl] ms, default 600000: a breaker that was neither used nor open
   *   for so long is let go
   */
  constructor (action, options = {}) {
    super();
    const { max = MAX, idleTtl = IDLE_TTL_MS, ...breakerOptions } = options;
    this.action = func('action', action);
    this.max = number('max', max, { min: 1, max: 1e6, integer: true });
    this.idleTtl = number('idleTtl', idleTtl, { min: 1, unit: 'ms' });
    this.name = breakerOptions.name || action.name || 'group';
    this._options = breakerOptions;
    this._grain = Math.min(idleTtl, IDLE_TTL_MS) / GRAIN;
    this._members = new Map();
    // Wrong options fail here, not with the first key.
    new CircuitBreaker(action, { ...breakerOptions, name: `${this.name}/` }).shutdown();
  }

  /** Calls the action with `args` through the breaker of `key`; rejects where none can be made. */
  fire (key, ...args) {
    let breaker;
    try {
      breaker = this.get(key);
    } catch (error) {
      return Promise.reject(error);
    }
    return breaker.fire(...args);
  }

  /** The breaker of `key`, made if there is none. */
  get (key) {
    const now = clock.now();
    const present = this._members.get(key);
    if (present !== undefined) {
      if (now - present._used > this._grain) this._place(present, now);
      return present;
    }
    this._makeRoom(now);
    const breaker = new Member(this.action, {
      ...this._options, name: `${this.name}/${String(key)}`, group: this._options.group || this.name
    }, this, key);
    this._members.set(key, breaker);
    this._place(breaker, now);
    return breaker;
  }

  /** Whether there is a breaker for `key` now. */
  has (key) { return this._members.has(key); }

  /**
   * Closes the breaker of `key` and forgets what it has counted.
   * @returns {boolean} whether there was one
   */
  reset (key) {
    const breaker = this._members.get(key);
    breaker?.reset();
    return breaker !== undefined;
  }

  /** How many breakers there are. */
  get size () {
    this._evictIdle(clock.now());
    return this._members.size;
  }

  /** The keys that have a breaker. */
  keys () { return [...this._members.keys()]; }

  /** The breakers with their keys. */
  entries () { return [...this._members]; }

  shutdown () {
    this._isOver = true;
    for (const breaker of this._members.values()) {
      breaker.shutdown();
      breaker._line?.remove(breaker);
    }
    this._members.clear();
    this.removeAllListeners();
  }

  /** Puts a breaker where its state belongs, behind all that were used before it. */
  _place (breaker, now) {
    breaker._line?.remove(breaker);
    breaker._used = now;
    this._lineOf(breaker).add(breaker);
  }

  _lineOf (breaker) {
    if (breaker.opened) return this._open;
    return breaker.halfOpen ? this._halfOpen : this._closed;
  }

  /** A breaker has changed its state. */
  _moved (breaker) {
    const { _line: line } = breaker;
    if (line !== null && line !== this._lineOf(breaker)) this._place(breaker, clock.now());
  }

  _makeRoom (now) {
    this._evictIdle(now);
    while (this._members.size >= this.max) {
      const first = this._leastUsed() ?? this._open.first;
      if (this._isAsItSeems(first)) this._evict(first);
    }
  }

  /**
   * The least recently used one of those that are not open. A half-open one that nobody calls
   * protects nothing: kept for its state, it would take the place of one that is in use.
   */
  _leastUsed () {
    const [closed, halfOpen] = [this._closed.first, this._halfOpen.first];
    if (closed === null || halfOpen === null) return closed ?? halfOpen;
    return halfOpen._used < closed._used ? halfOpen : closed;
  }

  _evictIdle (now) {
    // One that is open goes on protecting its upstream.
    for (const line of [this._closed, this._halfOpen]) {
      while (line.first !== null && now - line.first._used >= this.idleTtl) {
        const { first } = line;
        if (this._isAsItSeems(first)) this._evict(first);
      }
    }
  }

  /** Whether a breaker still is in the state that it was last seen in. */
  _isAsItSeems (breaker) {
    const { _line: line } = breaker;
    breaker._look();
    return line !== null && breaker._line === line;
  }

  _evict (breaker) {
    this._members.delete(breaker.key);
    breaker._line.remove(breaker);
    breaker._evict();
  }

  _listen () {
    for (const breaker of this._members?.values() ?? []) breaker._listen();
  }
}

module.exports = { BreakerGroup };
