'use strict';

// Loads the addon: a build from source if there is one, else the prebuilt binary of the package.
// The folder that SEKERING_PREBUILD names replaces both (bundles, sanitizers, other binaries).

const fs = require('node:fs');
const { createRequire } = require('node:module');
const path = require('node:path');
const loadAddon = require('node-gyp-build');

const { SekeringError } = require('./errors');

const { SEKERING_PREBUILD: chosen } = process.env;
const SOURCES = path.join(__dirname, '..', '..', 'native');

// Tools that collect a program's files find the binary through these calls, so their arguments must
// be expressions of __dirname.
const fromSources = () => loadAddon(path.join(__dirname, '..', '..', 'native'));
const fromPrebuilds = () => loadAddon(path.join(__dirname, '..', '..'));
// The loader would resolve a relative path against its own folder.
const fromChosen = () => createRequire(__filename)(path.resolve(loadAddon.path(chosen)));

function load () {
  const causes = [];
  for (const attempt of chosen ? [fromChosen] : [fromSources, fromPrebuilds]) {
    try {
      return attempt();
    } catch (cause) {
      causes.push(cause);
    }
  }
  throw missing(causes);
}

function missing (causes) {
  // An error about a binary that does not load (an old libc, say) says more than one about a
  // missing binary.
  const found = causes.find(({ message }) => !message.startsWith('No native build was found'));
  const cause = found ?? causes.at(-1);
  const reason = cause.message.split('\n', 1)[0].replace(/\.$/, '');
  return new SekeringError('ERR_NATIVE_MISSING',
    `sekering has no native binary that loads on ${process.platform}-${process.arch} ` +
    `(${reason}). ${remedyOf(cause, found !== undefined)}`,
    { cause });
}

/** Tells the user what to do. */
function remedyOf ({ code }, isFound) {
  if (code === 'ERR_DLOPEN_DISABLED') {
    return process.permission === undefined
      ? 'Node.js was started with --no-addons: start it without that option'
      : 'Node.js was started with its permission model on: add --allow-addons';
  }
  const { bun, deno } = process.versions;
  if (isFound && (bun ?? deno)) return 'This runtime lacks functions of Node.js: use Node.js';
  if (chosen) {
    return `SEKERING_PREBUILD is ${chosen}: it must be a folder with a binary for this system in ` +
      'prebuilds (as in the folder of the installed package) or in build/Release';
  }
  if (!fs.existsSync(path.join(SOURCES, 'binding.gyp'))) {
    return 'This code is in a bundle, without the rest of its package: keep sekering out of the ' +
      'bundle (external), or set the environment variable SEKERING_PREBUILD to the folder of the ' +
      'installed package';
  }
  const unset = process.env.PREBUILDS_ONLY ? ' and unset PREBUILDS_ONLY' : '';
  return `Build it once${unset}, with a C++20 compiler, make and Python 3 installed: ` +
    buildCommand();
}

function buildCommand () {
  const sources = path.relative(process.cwd(), SOURCES) || '.';
  const argument = /^[\w@.:/\\-]+$/.test(sources) ? sources : `"${sources}"`;
  return `npx node-gyp@12 rebuild -C ${argument}`;
}

module.exports = load();
