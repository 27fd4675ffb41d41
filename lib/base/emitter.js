'use strict';

// An event emitter whose listeners cannot harm the emitter: one that throws, or returns a promise
// that rejects, becomes a process warning, and the others are called all the same.

const { EventEmitter } = require('node:events');

const { warn, watch } = require('./warn');

const failed = event => `A listener of '${String(event)}' failed`;

class Emitter extends EventEmitter {
  constructor () {
    super();
    // Node.js makes its table of listeners when the first one comes, if there is none; an emitter
    // that nobody listens to is a third of the size without it.
    this._events = undefined;
  }

  emit (event, ...args) {
    // Node.js keeps a single listener as such, more of them as a list.
    const listeners = this._events?.[event];
    if (listeners === undefined) return event === 'error' && super.emit(event, ...args);
    if (typeof listeners === 'function') this._tell(listeners, event, args);
    else for (const listener of [...listeners]) this._tell(listener, event, args);
    return true;
  }

  _tell (listener, event, args) {
    let result;
    try {
      result = listener.apply(this, args);
    } catch (error) {
      warn(failed(event), error);
      return;
    }
    if (result !== undefined) watch(failed(event), result);
  }

  /** Adds listeners, by event, to something that may emit. The returned function removes them. */
  static follow (emitter, listeners) {
    const entries = typeof emitter?.on === 'function' ? Object.entries(listeners) : [];
    for (const [event, listener] of entries) emitter.on(event, listener);
    return () => {
      for (const [event, listener] of entries) emitter.off(event, listener);
    };
  }

  /** Called whenever listeners came or went. */
  _listen () {}
}

for (const name of ['on', 'prependListener', 'removeListener', 'removeAllListeners']) {
  const method = EventEmitter.prototype[name];
  Emitter.prototype[name] = function (...args) {
    method.apply(this, args);
    this._listen();
    return this;
  };
}
Emitter.prototype.addListener = Emitter.prototype.on;
Emitter.prototype.off = Emitter.prototype.removeListener;

module.exports = Emitter;
