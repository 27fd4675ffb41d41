'use strict';

// Optional packages: loaded when a feature that needs them is first used, never before.

const { SekeringError } = require('./errors');

/**
 * Loads an optional package.
 * @param {string} name of the package
 * @param {string} feature what needs it, for the message
 * @throws {SekeringError} ERR_MISSING_PEER when it is not installed; any other fault of the
 *   package passes through
 */
function requirePeer (name, feature) {
  try {
    return require(name);
  } catch (cause) {
    if (!isMissing(cause, name)) throw cause;
    throw new SekeringError('ERR_MISSING_PEER',
      `${feature} needs the package ${name}. Install it: npm install ${name}`, { cause });
  }
}

// A package that is there but lacks a dependency of its own is broken, which is another matter.
function isMissing (error, name) {
  return error?.code === 'MODULE_NOT_FOUND' && error.message.includes(`'${name}'`);
}

module.exports = { requirePeer };
