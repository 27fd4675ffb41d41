'use strict';

// The engine: the core as the addon (a build from source if there is one, else the prebuilt binary
// of the package), or as WebAssembly where no addon loads. SEKERING_ENGINE chooses one of them.
// The folder that SEKERING_PREBUILD names replaces the other two places of the addon (bundles,
// sanitizers, other binaries).

const { createRequire } = require('node:module');
const path = require('node:path');
const loadAddon = require('node-gyp-build');

const { SekeringError } = require('./errors');

const { SEKERING_ENGINE: engine, SEKERING_PREBUILD: chosen } = process.env;
const ENGINES = ['native', 'wasm'];

// Tools that collect a program's files find the binary through these calls, so their arguments must
// be expressions of __dirname.
const fromSources = () => loadAddon(path.join(__dirname, '..', '..', 'native'));
const fromPrebuilds = () => loadAddon(path.join(__dirname, '..', '..'));
// A function of our own that requires, since that of a single executable knows no files.
const fromChosen = () => createRequire(path.resolve('sekering.js'))(
  path.resolve(loadAddon.path(chosen)));

function load () {
  if (engine && !ENGINES.includes(engine)) {
    throw new SekeringError('ERR_ENGINE',
      `SEKERING_ENGINE is ${engine}: expected native or wasm, or nothing`);
  }
  if (engine === 'wasm') return fromWasm('SEKERING_ENGINE is wasm');
  const causes = [];
  for (const attempt of chosen ? [fromChosen] : [fromSources, fromPrebuilds]) {
    try {
      return Object.assign(attempt(), { engine: 'native' });
    } catch (cause) {
      causes.push(cause);
    }
  }
  // An error about a binary that does not load (an old libc, say) says more than one about a
  // missing binary.
  const found = causes.find(({ message }) => !message.startsWith('No native build was found'));
  const reason = reasonOf(found ?? causes.at(-1));
  if (engine === 'native') {
    throw new SekeringError('ERR_ENGINE', 'SEKERING_ENGINE is native, but no binary of sekering ' +
      `loads on ${process.platform}-${process.arch}: ${reason}`, { cause: found ?? causes.at(-1) });
  }
  // No news to anybody: a bundle that is an ES module has no folder, so no binary; Deno lacks
  // functions of libuv.
  const isOrdinary = found === undefined || found.code === 'ERR_DLOPEN_DISABLED' ||
    typeof __dirname === 'undefined' || process.versions.deno !== undefined;
  if (chosen || !isOrdinary) report(reason);
  return fromWasm(reason);
}

/** `whyWasm` says why it is not the binary, for `sekering check`. */
function fromWasm (whyWasm) {
  return Object.assign(require('./wasm').loadWasm(), { engine: 'wasm', whyWasm });
}

function reasonOf ({ code, message }) {
  if (code === 'ERR_DLOPEN_DISABLED') {
    return process.permission === undefined
      ? 'Node.js was started with --no-addons'
      : 'Node.js was started with its permission model on, without --allow-addons';
  }
  return message.split('\n', 1)[0].replace(/\.$/, '');
}

/** There is a binary, but it is not used: somebody may want to know. */
function report (reason) {
  const where = chosen ? ` of SEKERING_PREBUILD (${chosen})` : '';
  process.emitWarning(`The binary${where} does not load on ${process.platform}-${process.arch} ` +
    `(${reason}). sekering runs on WebAssembly; scopes other than 'instance' need the binary`,
  { type: 'SekeringWarning', code: 'SEKERING_ENGINE' });
}

module.exports = load();
