'use strict';

// An event emitter whose listeners cannot harm the emitter: if one throws, or returns a promise
// that rejects, that becomes a process warning, and the others are still called.

const { EventEmitter } = require('node:events');

const { read } = require('./foreign');
const { guarded, warn, watch } = require('./warn');

const failed = event => `A listener of '${String(event)}' failed`;

class Emitter extends EventEmitter {
  constructor () {
    super();
    // Node.js makes its table of listeners when the first one is added. Without the table, an
    // emitter is a third of the size.
    this._events = undefined;
  }

  emit (event, ...args) {
    // Node.js keeps a single listener as a function, several as a list.
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
    const entries = typeof read(emitter, 'on') === 'function' ? Object.entries(listeners) : [];
    const each = method => guarded('An emitter could not be followed', () => {
      for (const [event, listener] of entries) emitter[method](event, listener);
    });
    each('on');
    return () => each('off');
  }

  /** Called whenever listeners were added or removed. */
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
