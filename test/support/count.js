'use strict';

// Adds up the result files of `npm test` and prints the one closing line of the continuous
// integration. The sanitizers and the other engine run the same tests again: of those only failures
// are counted. A file that is missing stands for a stage that broke, and counts as a failure.

const fs = require('node:fs');
const path = require('node:path');

const RESULTS = path.join(__dirname, '..', '..', 'test-results');

function countJest (text) {
  const report = JSON.parse(text);
  return {
    passed: report.numPassedTests,
    // A file that could not be loaded has no tests that could fail.
    failed: report.numFailedTests + report.numRuntimeErrorTestSuites,
  };
}

function countGoogleTest (text) {
  const suite = text.match(/<testsuite\b[^>]*>/)[0];
  const number = name => Number(suite.match(new RegExp(`\\b${name}="(\\d+)"`))[1]);
  const failed = number('failures');
  const idle = number('disabled') + number('skipped');
  return { passed: number('tests') - failed - idle, failed };
}

function count (name) {
  try {
    const text = fs.readFileSync(path.join(RESULTS, name), 'utf8');
    return name.endsWith('.xml') ? countGoogleTest(text) : countJest(text);
  } catch (error) {
    console.log(`No result of ${name}: ${error.message}`);
    return { passed: 0, failed: 1 };
  }
}

const total = { passed: 0, failed: 0 };
for (const name of ['native.xml', 'unit.json', 'integration.json', 'services.json']) {
  const { passed, failed } = count(name);
  total.passed += passed;
  total.failed += failed;
}
for (const name of ['address.xml', 'thread.xml', 'workers.json']) {
  total.failed += count(path.join('sanitize', name)).failed;
}
for (const name of ['wasm.json', 'fuzz/fuzz.json']) total.failed += count(name).failed;
console.log(`${total.passed} passed, ${total.failed} failed`);
if (total.failed > 0 || total.passed === 0) process.exitCode = 1;
