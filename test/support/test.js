'use strict';

// `npm test`: prepares the checkout, runs every stage even when one before it failed, and leaves
// the results in test-results/ for the continuous integration to count.
//
//   npm test                  all stages
//   npm test -- unit lint     only these

const fs = require('node:fs');
const path = require('node:path');

const { ROOT, prepare } = require('./setup');
const { runTool, runNativeTests, startTool } = require('./tools');

const RESULTS = path.join(ROOT, 'test-results');

const STAGES = {
  native: () => runNativeTests({ folder: 'build-native', results: result('native.xml') }),
  unit: () => jest('unit', {}, '--maxWorkers=2'),
  wasm: runOnWasm,
  integration: runIntegration,
  lint: () => runTool('npm', ['run', '--silent', 'lint']),
};

/** Where a stage leaves its results. What an earlier run left there goes. */
function result (name) {
  const file = path.join(RESULTS, name);
  fs.rmSync(file, { force: true });
  return file;
}

function jest (project, { output = project, ...options }, ...args) {
  return startTool('node_modules/.bin/jest', ['--selectProjects', project, ...args, '--json',
    `--outputFile=${result(`${output}.json`)}`], options);
}

// What has nothing to do with the core, and takes long.
const NOT_OF_THE_CORE = 'unit/(config|guides|linear-time|outbox-scheduler|shards|template|tidy)';

/** The same unit tests, on the core as WebAssembly. */
function runOnWasm () {
  const env = { SEKERING_ENGINE: 'wasm' };
  return jest('unit', { output: 'wasm', env }, '--maxWorkers=2', '--silent',
    `--testPathIgnorePatterns=${NOT_OF_THE_CORE}`, '--testPathPatterns=test/unit/');
}

/** Three lanes, in each one file at a time: they wait more than they compute. */
async function runIntegration () {
  const passed = await Promise.all(['integration', 'store', 'gateway'].map((name, i) =>
    jest(name, { quiet: i > 0 }, '--runInBand')));
  return passed.every(Boolean);
}

async function main (names) {
  const unknown = names.filter(name => !(name in STAGES));
  if (unknown.length > 0) throw new Error(`Unknown stage ${unknown}: ${Object.keys(STAGES)}`);
  prepare('test');
  fs.mkdirSync(RESULTS, { recursive: true });
  const report = [];
  for (const name of names.length > 0 ? names : Object.keys(STAGES)) {
    const start = Date.now();
    const passed = await STAGES[name]();
    const seconds = Math.round((Date.now() - start) / 1000);
    report.push(`${passed ? 'ok    ' : 'FAILED'} ${name} (${seconds} s)`);
    if (!passed) process.exitCode = 1;
  }
  console.log(report.join('\n'));
}

main(process.argv.slice(2));
