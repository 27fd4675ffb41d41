'use strict';

// Names what failed in the result files of .ci/run, adds them up, and prints the one closing
// line of the continuous integration. The sanitizers and the other engine run the same tests again:
// of those only failures are counted. A file that is missing stands for a stage that broke, and
// counts as a failure. So does a test that was skipped where CI is set, unless MAY_SKIP has it.
//
//   node test/support/count.js [folder of the result files]

const fs = require('node:fs');
const path = require('node:path');
const { stripVTControlCharacters } = require('node:util');

const RESULTS = process.argv[2] ?? path.join(__dirname, '..', '..', 'test-results');
const isStrict = process.env.CI !== undefined;

// Tests that may be skipped, by their full names.
const MAY_SKIP = new Set([
  // An embedded database has one process.
  'gateways of one fleet, on PGlite each time of a job is taken by one of them',
  // They take minutes, and run in `npm run test:chaos`.
  'kill -9 while the very first database is made',
  'a full disk',
]);

/** What failed, and the first lines of why. */
function show (text) {
  const lines = stripVTControlCharacters(text).split('\n');
  console.log(`failed: ${lines.slice(0, 12).join('\n  ')}`);
}

/** Names a test that was skipped. Returns how many failures that is. */
function countSkipped (name) {
  if (!isStrict || MAY_SKIP.has(name)) return 0;
  show(`${name}\nIt was skipped. Where CI is set, only those of MAY_SKIP in count.js may be`);
  return 1;
}

const countAll = names => names.reduce((sum, name) => sum + countSkipped(name), 0);

function countJest (text, isCounted) {
  const report = JSON.parse(text);
  for (const { assertionResults, message, name, status } of report.testResults) {
    const failed = assertionResults.filter(test => test.status === 'failed');
    for (const { fullName, failureMessages } of failed) show(`${fullName}\n${failureMessages[0]}`);
    if (status === 'failed' && failed.length === 0) show(`${name}\n${message}`);
  }
  const skipped = report.testResults.flatMap(({ assertionResults }) => assertionResults)
    .filter(({ status }) => !['passed', 'failed'].includes(status))
    .map(({ fullName }) => fullName);
  return {
    passed: report.numPassedTests,
    // A file that could not be loaded has no tests that could fail.
    failed: report.numFailedTests + report.numRuntimeErrorTestSuites +
      (isCounted ? countAll(skipped) : 0),
  };
}

function countGoogleTest (text, isCounted) {
  for (const [, name] of text.matchAll(/<testcase name="([^"]+)"[^>]*status="fail"/g)) show(name);
  const suite = text.match(/<testsuite\b[^>]*>/)[0];
  const number = name => Number(suite.match(new RegExp(`\\b${name}="(\\d+)"`))[1]);
  const failed = number('failures');
  const idle = number('disabled') + number('skipped');
  const skipped = [...text.matchAll(/<testcase name="([^"]+)"[^>]*status="(?:notrun|disabled)"/g)]
    .map(([, name]) => name);
  return {
    passed: number('tests') - failed - idle,
    failed: failed + (isCounted ? countAll(skipped) : 0),
  };
}

/** `isCounted`: whether what passed and what was skipped counts too. */
function count (name, isCounted = false) {
  try {
    const text = fs.readFileSync(path.join(RESULTS, name), 'utf8');
    return (name.endsWith('.xml') ? countGoogleTest : countJest)(text, isCounted);
  } catch (error) {
    console.log(`No result of ${name}: ${error.message}`);
    return { passed: 0, failed: 1 };
  }
}

const total = { passed: 0, failed: 0 };
for (const name of ['native.xml', 'unit.json', 'integration.json', 'store.json', 'gateway.json',
  'platforms.json']) {
  const { passed, failed } = count(name, true);
  total.passed += passed;
  total.failed += failed;
}
for (const name of ['address.xml', 'thread.xml', 'workers.json']) {
  total.failed += count(path.join('sanitize', name)).failed;
}
for (const name of ['wasm.json', 'fuzz/fuzz.json']) total.failed += count(name).failed;
console.log(`${total.passed} passed, ${total.failed} failed`);
if (total.failed > 0 || total.passed === 0) process.exitCode = 1;
