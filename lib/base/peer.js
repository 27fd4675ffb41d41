'use strict';

// Optional packages: loaded when a feature that needs them is first used, never before.

const { SekeringError } = require('./errors');
const { messageOf, read } = require('./foreign');

/** A package as an argument of `npm install`, with its version if only that one works. */
function specOf (name) {
  const range = require('../../package.json').peerDependencies[name];
  return /^\d/.test(range) ? `${name}@${range}` : name;
}

function missing (names, feature, options) {
  const specs = names.map(specOf).join(' ');
  const what = names.length === 1 ? `package ${names[0]}` : `packages ${names.join(', ')}`;
  return new SekeringError('ERR_MISSING_PEER',
    `${feature} needs the ${what}. Install ${names.length === 1 ? 'it' : 'them'}: ` +
    `npm install ${specs}`, options);
}

/** Loads an optional package. Errors of the package itself pass through. */
function requirePeer (name, feature) {
  try {
    return require(name);
  } catch (cause) {
    if (!isMissing(cause, name)) throw cause;
    throw missing([name], feature, { cause });
  }
}

/** For features that need several packages: the error names all that are not installed. */
function checkPeers (names, feature) {
  const absent = names.filter(name => {
    try {
      require.resolve(name);
      return false;
    } catch (cause) {
      return isMissing(cause, name);
    }
  });
  if (absent.length > 0) throw missing(absent, feature);
}

// A package that is installed but lacks a dependency is broken: that is another error.
function isMissing (error, name) {
  return read(error, 'code') === 'MODULE_NOT_FOUND' && messageOf(error).includes(`'${name}'`);
}

module.exports = { checkPeers, requirePeer };
