'use strict';

// Optional packages: loaded when a feature that needs them is first used, never before.

const { createRequire } = require('node:module');
const path = require('node:path');

const { SekeringError } = require('./errors');
const { messageOf, read } = require('./foreign');

// In a bundle, too, optional packages are looked for where it runs. webpack has a name of its own
// for the function that does so.
/* global __webpack_require__, __non_webpack_require__ */
const load = typeof __webpack_require__ === 'function' ? __non_webpack_require__ : require;

const PGLITE = '@electric-sql/pglite';
// What each part of the gateway needs, besides a database.
const SERVICE = ['croner', 'mustache', 'pino', 'smol-toml', 'zod'];
const SERVER = ['express', 'htm', 'prom-client', 'uplot'];
const CLIENTS = ['nodemailer', 'undici'];
// The whole of it, with the embedded database, as the guides install it.
const GATEWAY = [...SERVICE, ...SERVER, ...CLIENTS].sort().concat(PGLITE);

/** A package as an argument of `npm install`, in a version that works. */
function specOf (name) {
  const range = require('../../package.json').peerDependencies[name];
  const [, version] = /^\^?(\d[\d.]*)$/.exec(range) ?? [];
  if (version === undefined) return name;
  return `${name}@${range.startsWith('^') ? version.split('.', 1)[0] : version}`;
}

/** Whether the program's folder has this package: npx may have put it elsewhere. */
function isInProject () {
  try {
    return Boolean(createRequire(path.join(process.cwd(), 'index.js')).resolve('sekering'));
  } catch {
    return false;
  }
}

/** The command that installs packages into the present folder. */
function installLine (names) {
  return ['npm install', ...isInProject() ? [] : ['sekering'], ...names.map(specOf)].join(' ');
}

function missing (names, feature, options) {
  const what = names.length === 1 ? `package ${names[0]}` : `packages ${names.join(', ')}`;
  return new SekeringError('ERR_MISSING_PEER',
    `${feature} needs the ${what}. Install ${names.length === 1 ? 'it' : 'them'}: ` +
    installLine(names), options);
}

// Under this name Bun has a module of its own, without pools; a path leads to the package.
const pathOf = name =>
  (name === 'undici' && process.versions.bun !== undefined ? 'undici/index.js' : name);

/**
 * Loads an optional package. Errors of the package itself pass through.
 * @param {string} name
 * @param {string} feature
 * @param {string[]} [together] packages that are installed together: if this one is missing, the
 *   error names all of them that are
 */
function requirePeer (name, feature, together = []) {
  const file = pathOf(name);
  try {
    return load(file);
  } catch (cause) {
    if (!isMissing(cause, file)) throw cause;
    // Of the two databases, one is enough.
    const others = together.filter(other =>
      other !== name && (other !== PGLITE || !isInstalled('pg')));
    throw missing([name, ...missingOf(others)], feature, { cause });
  }
}

function isInstalled (name) {
  try {
    load.resolve(name);
    return true;
  } catch (cause) {
    return !isMissing(cause, name);
  }
}

const missingOf = names => names.filter(name => !isInstalled(name));

/** For features that need several packages: the error names all that are not installed. */
function checkPeers (names, feature) {
  const absent = missingOf(names);
  if (absent.length > 0) throw missing(absent, feature);
}

// A package that is installed but lacks a dependency is broken: that is another error.
function isMissing (error, name) {
  return read(error, 'code') === 'MODULE_NOT_FOUND' && messageOf(error).includes(`'${name}'`);
}

module.exports = {
  GATEWAY, PGLITE, SERVER, SERVICE, checkPeers, installLine, missingOf, requirePeer,
};
