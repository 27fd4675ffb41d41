'use strict';

// Exports that are loaded on first use, so that a program pays only for the parts it uses.

const { read } = require('./foreign');

function defineLazy (exports, loaders) {
  for (const [name, load] of Object.entries(loaders)) {
    const become = value =>
      Object.defineProperty(exports, name, { value, writable: true, enumerable: true });
    Object.defineProperty(exports, name, {
      get () {
        try {
          return become(load())[name];
        } catch (error) {
          if (read(error, 'code') !== 'ERR_MISSING_PEER') throw error;
          // `import` reads all names, and hides what a getter throws.
          return () => { throw error; };
        }
      },
      set: become,
      enumerable: true,
      configurable: true,
    });
  }
}

module.exports = { defineLazy };
