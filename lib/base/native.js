'use strict';

// Loads the addon: a build from source first, then the prebuilt binary of the package. A directory
// named by SEKERING_PREBUILD stands for both (sanitizer builds, binaries from elsewhere).

const path = require('node:path');
const loadAddon = require('node-gyp-build');

const { SekeringError } = require('./errors');

const ROOT = path.join(__dirname, '..', '..');
const SOURCES = path.join(ROOT, 'native');

function load () {
  const chosen = process.env.SEKERING_PREBUILD;
  const causes = [];
  for (const directory of chosen ? [chosen] : [SOURCES, ROOT]) {
    try {
      return loadAddon(directory);
    } catch (cause) {
      causes.push(cause);
    }
  }
  throw missing(causes);
}

function missing (causes) {
  // A binary that is there and does not load (an old libc, say) tells more than one that is absent.
  const cause = causes.find(({ code }) => code === 'ERR_DLOPEN_FAILED') ?? causes.at(-1);
  const reason = cause.message.split('\n', 1)[0];
  const sources = path.relative(process.cwd(), SOURCES) || '.';
  return new SekeringError('ERR_NATIVE_MISSING',
    `sekering has no native binary that loads on ${process.platform}-${process.arch} ` +
    `(${reason}). Build it once, with a C++20 compiler, make and Python 3 at hand: ` +
    `npx node-gyp@12 rebuild -C ${sources}`,
    { cause });
}

module.exports = load();
