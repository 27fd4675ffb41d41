'use strict';

// A breaker per key: one bad tenant, instance or host leaves the others alone. Breakers are made on
// demand, bounded in number, and evicted when they are idle, all without a timer.

const Emitter = require('../base/emitter');
const clock = require('../base/clock');
const { BreakerError } = require('../base/errors');
const { nameOf } = require('../base/foreign');
const { LinkedList } = require('../base/linked-list');
const native = require('../base/native');
const { bag, func, is, optionsOf, readable } = require('../base/options');
const { isShared } = require('../base/regions');
const CircuitBreaker = require('./breaker');
const { OPTIONS } = require('./breaker-options');

const IDLE_TTL_MS = 10 * 60 * 1000;
const GROUP_OPTIONS = optionsOf({
  max: is.integer('breakers at once; beyond it, the least recently used one is evicted, open ' +
    'ones last', { min: 1, max: 1e6, default: 10000 }),
  idleTtl: is.ms('after which a breaker is evicted that was neither used nor open',
    { min: 1, default: IDLE_TTL_MS }),
});
const NAMES = [...GROUP_OPTIONS.names, ...OPTIONS.names];

// Members are kept in order of use, but only to this fraction of idleTtl: most uses move nothing.
const GRAIN = 8;

/** A breaker whose events are also emitted by its group, with its key. */
class Member extends CircuitBreaker {
  constructor (action, options, group, key) {
    super(action, options);
    this._group = group;
    this.key = key;
    this._isEvicted = false;
    // The list of its state, its neighbours there, and when it was last used or changed its state.
    this._list = null;
    this._previous = null;
    this._next = null;
    this._used = 0;
    this._listen();
  }

  emit (event, ...args) {
    const hadListeners = super.emit(event, ...args);
    return this._group?.emit(event, this.key, ...args) || hadListeners;
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
    this._bury();
  }

  /** Those of the current breaker of its key, because calls go there. */
  get stats () {
    if (!this._isBuried) return super.stats;
    const present = this._group._members.get(this.key);
    if (present !== undefined) return present.stats;
    native.forget(this._id);
    return super.stats;
  }

  // A listener of `failure` may have caused the eviction of this breaker.
  _trip (period, resetMin) {
    if (!this._isBuried) super._trip(period, resetMin);
  }

  /** Announces what others who share it have changed. */
  _refresh () {
    if (isShared(this._options)) native.poll(this._id);
    this._announce();
  }

  // Calls that were in flight when it was evicted may still trip it: that is not announced.
  _announce () {
    if (!this._isEvicted) super._announce();
  }

  _entered (state) {
    // First, so that listeners find it in its new place.
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

class BreakerGroup extends Emitter {
  // Members by state, the least recently used first. An open breaker protects an upstream: it is
  // evicted last.
  _closed = new LinkedList();
  _halfOpen = new LinkedList();
  _open = new LinkedList();
  _isOver = false;

  constructor (action, options) {
    super();
    const { max, idleTtl, ...breakerOptions } = bag('options', options, NAMES);
    Object.assign(this, GROUP_OPTIONS.read({ max, idleTtl }));
    this.action = func('action', action);
    const { name } = breakerOptions;
    this.name = (name && OPTIONS.check('name', name)) || nameOf(action) || 'group';
    this._options = breakerOptions;
    this._grain = Math.min(this.idleTtl, IDLE_TTL_MS) / GRAIN;
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

  /** The breaker of `key`, made if there is none; throws ESHUTDOWN after shutdown(). */
  get (key) {
    const now = clock.now();
    const present = this._members.get(key);
    if (present !== undefined) {
      if (now - present._used > this._grain) this._place(present, now);
      return present;
    }
    if (this._isOver) throw new BreakerError('ESHUTDOWN');
    const text = readable('key', 'a key that can become text', key, () => String(key));
    this._makeRoom(now);
    const breaker = new Member(this.action, {
      ...this._options, name: `${this.name}/${text}`, group: this._options.group || this.name
    }, this, key);
    this._members.set(key, breaker);
    this._place(breaker, now);
    return breaker;
  }

  /** Whether there is a breaker for `key` now. */
  has (key) { return this._members.has(key); }

  /** Closes the breaker of `key` and forgets what it has counted. */
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
      breaker._list?.remove(breaker);
      breaker._list = null;
    }
    this._members.clear();
    this.removeAllListeners();
  }

  /** Moves a breaker to the end of the list of its state. */
  _place (breaker, now) {
    breaker._list?.remove(breaker);
    breaker._used = now;
    breaker._list = this._listOf(breaker);
    breaker._list.add(breaker);
  }

  _listOf (breaker) {
    if (breaker.opened) return this._open;
    return breaker.halfOpen ? this._halfOpen : this._closed;
  }

  /** A breaker has changed its state. */
  _moved (breaker) {
    const { _list: list } = breaker;
    if (list !== null && list !== this._listOf(breaker)) this._place(breaker, clock.now());
  }

  _makeRoom (now) {
    this._evictIdle(now);
    while (this._members.size >= this.max) {
      const first = this._leastUsed() ?? this._open.first;
      if (this._isStillListed(first)) this._evict(first);
    }
  }

  /**
   * The least recently used one of those that are not open. A half-open breaker that nobody calls
   * protects nothing, so its state is no reason to keep it.
   */
  _leastUsed () {
    const [closed, halfOpen] = [this._closed.first, this._halfOpen.first];
    if (closed === null || halfOpen === null) return closed ?? halfOpen;
    return halfOpen._used < closed._used ? halfOpen : closed;
  }

  _evictIdle (now) {
    // An open breaker still protects its upstream.
    for (const list of [this._closed, this._halfOpen]) {
      while (list.first !== null && now - list.first._used >= this.idleTtl) {
        const { first } = list;
        if (this._isStillListed(first)) this._evict(first);
      }
    }
  }

  /** Whether a breaker is still in the state of its list, which others may have changed. */
  _isStillListed (breaker) {
    const { _list: list } = breaker;
    breaker._refresh();
    return list !== null && breaker._list === list;
  }

  _evict (breaker) {
    this._members.delete(breaker.key);
    breaker._list.remove(breaker);
    breaker._list = null;
    breaker._evict();
  }

  _listen () {
    for (const breaker of this._members?.values() ?? []) breaker._listen();
  }
}

module.exports = { BreakerGroup };
