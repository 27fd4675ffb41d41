'use strict';

// `npm run test:sanitize`: the core's tests under AddressSanitizer with
// UndefinedBehaviorSanitizer, and under ThreadSanitizer; then the addon under AddressSanitizer in
// many workers. ThreadSanitizer is kept away from Node.js, whose own locks it would report.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { ROOT, prepare } = require('./setup');
const { runTool, runNativeTests } = require('./tools');

const RESULTS = path.join(ROOT, 'test-results', 'sanitize');
const ADDRESS = 'build-asan';

function library (name) {
  return execFileSync('gcc', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim();
}

const STAGES = {
  address: () => runNativeTests({
    folder: ADDRESS, results: path.join(RESULTS, 'address.xml'),
    sanitize: 'address,undefined', addon: true,
  }),
  thread: () => runNativeTests({
    folder: 'build-tsan', results: path.join(RESULTS, 'thread.xml'), sanitize: 'thread',
  }),
  workers: () => runTool('node_modules/.bin/jest', ['--runInBand', 'test/integration/workers',
    '--json', `--outputFile=${path.join(RESULTS, 'workers.json')}`], {
    env: {
      SEKERING_PREBUILD: path.join(ROOT, ADDRESS),
      LD_PRELOAD: library('libasan.so'),
      // Node.js itself frees little at its end; what matters here is use after free.
      ASAN_OPTIONS: 'detect_leaks=0',
    },
  }),
};

prepare('test');
fs.rmSync(RESULTS, { recursive: true, force: true });
fs.mkdirSync(RESULTS, { recursive: true });
for (const [name, run] of Object.entries(STAGES)) {
  const passed = run();
  console.log(`${passed ? 'ok    ' : 'FAILED'} sanitize ${name}`);
  if (!passed) process.exitCode = 1;
}
