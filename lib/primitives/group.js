'use strict';

// A breaker per key: one bad tenant, instance or host leaves the others alone. Breakers are made on
// demand, bounded in number, and let go when they are idle, all without a timer.

const Emitter = require('../base/emitter');
const clock = require('../base/clock');
const { func, number } = require('../base/options');
const CircuitBreaker = require('./breaker');

const MAX = 10000;
const IDLE_TTL_MS = 10 * 60 * 1000;
// How many of the least recently used a full group looks at for one that is not open.
const CANDIDATES = 32;

/** A breaker that also tells its group what happens, with its key. */
class Member extends CircuitBreaker {
  constructor (action, options, group, key) {
    super(action, options);
    this._group = group;
    this.key = key;
    this._listen();
  }

  emit (event, ...args) {
    const heard = super.emit(event, ...args);
    return this._group?.emit(event, this.key, ...args) || heard;
  }

  _hears (event) {
    return super._hears(event) || this._group?.listenerCount(event) > 0;
  }
}

class BreakerGroup extends Emitter {
  /**
   * @param {(...args: unknown[]) => unknown} action called with the arguments after the key
   * @param {object} [options] of every breaker, and:
   * @param {number} [options.max] breakers kept at once, default 10000; past it the least recently
   *   used one that is not open makes room
   * @param {number} [options.idleTtl] ms, default 600000: a breaker that is closed and was not used
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
    // Key to { breaker, used }, the least recently used first (to an eighth of idleTtl).
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
    const member = this._members.get(key);
    if (member !== undefined) {
      if (now - member.used > this.idleTtl / 8) this._place(key, member, now);
      return member.breaker;
    }
    this._makeRoom(now);
    const breaker = new Member(this.action, {
      ...this._options, name: `${this.name}/${String(key)}`, group: this._options.group || this.name
    }, this, key);
    this._place(key, { breaker, used: now }, now);
    return breaker;
  }

  /** Whether there is a breaker for `key` now. */
  has (key) { return this._members.has(key); }

  /**
   * Closes the breaker of `key` and forgets what it has counted.
   * @returns {boolean} whether there was one
   */
  reset (key) {
    const member = this._members.get(key);
    member?.breaker.reset();
    return member !== undefined;
  }

  /** How many breakers there are. */
  get size () {
    this._letIdleGo(clock.now());
    return this._members.size;
  }

  /** The keys that have a breaker. */
  keys () { return [...this._members.keys()]; }

  /** The breakers with their keys. */
  entries () { return [...this._members].map(([key, { breaker }]) => [key, breaker]); }

  shutdown () {
    for (const { breaker } of this._members.values()) breaker.shutdown();
    this._members.clear();
    this.removeAllListeners();
  }

  _place (key, member, now) {
    member.used = now;
    this._members.delete(key);
    this._members.set(key, member);
  }

  _makeRoom (now) {
    this._letIdleGo(now);
    if (this._members.size < this.max) return;
    let victim;
    let looked = 0;
    for (const [key, { breaker }] of this._members) {
      victim ??= key;
      if (breaker.closed) {
        victim = key;
        break;
      }
      if (++looked === CANDIDATES) break;
    }
    this._members.delete(victim);
  }

  _letIdleGo (now) {
    for (const [key, { breaker, used }] of this._members) {
      if (now - used < this.idleTtl) return;
      // One that is open goes on protecting its upstream.
      if (!breaker.opened) this._members.delete(key);
    }
  }

  _listen () {
    for (const { breaker } of this._members?.values() ?? []) breaker._listen();
  }
}

module.exports = { BreakerGroup };
