'use strict';

// Exports that are loaded on first use, so that a program pays only for the parts it uses.

function defineLazy (exports, loaders) {
  for (const [name, load] of Object.entries(loaders)) {
    const become = value =>
      Object.defineProperty(exports, name, { value, writable: true, enumerable: true });
    Object.defineProperty(exports, name, {
      get () { return become(load())[name]; },
      set: become,
      enumerable: true,
      configurable: true,
    });
  }
}

module.exports = { defineLazy };
