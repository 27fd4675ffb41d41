'use strict';

// Names what failed in the result files of `npm test`, adds them up, and prints the one closing
// line of the continuous integration. The sanitizers and the other engine run the same tests again:
// of those only failures are counted. A file that is missing stands for a stage that broke, and
// counts as a failure.

const fs = require('node:fs');
const path = require('node:path');
const { stripVTControlCharacters } = require('node:util');

const RESULTS = path.join(__dirname, '..', '..', 'test-results');

/** What failed, and the first lines of why. */
function show (text) {
  const lines = stripVTControlCharacters(text).split('\n');
  console.log(`failed: ${lines.slice(0, 12).join('\n  ')}`);
}

function countJest (text) {
  const report = JSON.parse(text);
  for (const { assertionResults, message, name, status } of report.testResults) {
    const failed = assertionResults.filter(test => test.status === 'failed');
    for (const { fullName, failureMessages } of failed) show(`${fullName}\n${failureMessages[0]}`);
    if (status === 'failed' && failed.length === 0) show(`${name}\n${message}`);
  }
  return {
    passed: report.numPassedTests,
    // A file that could not be loaded has no tests that could fail.
    failed: report.numFailedTests + report.numRuntimeErrorTestSuites,
  };
}

function countGoogleTest (text) {
  for (const [, name] of text.matchAll(/<testcase name="([^"]+)"[^>]*status="fail"/g)) show(name);
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
for (const name of ['native.xml', 'unit.json', 'integration.json', 'store.json', 'gateway.json']) {
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
