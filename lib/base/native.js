'use strict';

// Loads the addon: build/Release of a checkout or a source build first, then the prebuilt binary.

const path = require('node:path');
const loadAddon = require('node-gyp-build');

const { SekeringError } = require('./errors');

function load () {
  const root = path.join(__dirname, '..', '..');
  const packaged = path.join(root, 'native');
  const causes = [];
  for (const directory of [root, packaged]) {
    try {
      return loadAddon(directory);
    } catch (cause) {
      causes.push(cause);
    }
  }
  throw new SekeringError('ERR_NATIVE_MISSING',
    `sekering has no native binary for ${process.platform}-${process.arch}. ` +
    'Build it once with a C++20 compiler and Python: ' +
    'npx node-gyp rebuild -C node_modules/sekering/native ' +
    '(in a checkout of sekering itself: npm run build)',
    { cause: causes[0] });
}

module.exports = load();
