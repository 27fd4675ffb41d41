'use strict';

// What the continuous integration makes of the result files.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const COUNT = require.resolve('../support/count');
const MAY_BE_SKIPPED = 'kill -9 while the very first database is made';
const FILES = ['native.xml', 'unit.json', 'integration.json', 'store.json', 'gateway.json',
  'platforms.json', 'sanitize/address.xml', 'sanitize/thread.xml', 'sanitize/workers.json',
  'wasm.json', 'fuzz/fuzz.json'];

let folder;
beforeEach(() => { folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-count-')); });
afterEach(() => fs.rmSync(folder, { recursive: true }));

/** As Jest writes it. `tests` has the state of each test by its full name. */
function jestOf (tests) {
  const assertionResults = Object.entries(tests)
    .map(([fullName, status]) => ({ fullName, status, failureMessages: ['Why'] }));
  const count = wanted => assertionResults.filter(({ status }) => status === wanted).length;
  return JSON.stringify({
    numPassedTests: count('passed'), numFailedTests: count('failed'), numRuntimeErrorTestSuites: 0,
    testResults: [{ name: 'a file', status: 'passed', message: '', assertionResults }],
  });
}

/** As CTest writes it. */
function ctestOf (tests) {
  const states = Object.values(tests);
  const count = wanted => states.filter(status => status === wanted).length;
  const cases = Object.entries(tests).map(([name, status]) =>
    `<testcase name="${name}" classname="${name}" time="0.1" status="${status}"></testcase>`);
  return `<testsuite name="Linux" tests="${states.length}" failures="${count('fail')}" ` +
    `disabled="${count('disabled')}" skipped="${count('notrun')}">${cases.join('\n')}</testsuite>`;
}

/** Counts eleven files, each with one test that has passed, besides those that are given. */
function count (given, env = { CI: 'true' }) {
  for (const name of FILES) {
    const file = path.join(folder, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    const tests = { ...name.endsWith('.xml') ? { one: 'run' } : { one: 'passed' }, ...given[name] };
    fs.writeFileSync(file, name.endsWith('.xml') ? ctestOf(tests) : jestOf(tests));
  }
  const { CI: _, ...rest } = process.env;
  const { status, stdout } = spawnSync(process.execPath, [COUNT, folder],
    { encoding: 'utf8', env: { ...rest, ...env } });
  return { status, lines: stdout.trim().split('\n') };
}

test('what passed is added up', () => {
  expect(count({})).toEqual({ status: 0, lines: ['6 passed, 0 failed'] });
});

test.each([
  ['unit.json', 'failed'], ['gateway.json', 'failed'], ['native.xml', 'fail'],
  ['wasm.json', 'failed'], ['sanitize/thread.xml', 'fail'],
])('%s: a test that failed', (name, state) => {
  const { status, lines } = count({ [name]: { two: state } });
  expect([status, lines.at(-1)]).toEqual([1, '6 passed, 1 failed']);
  expect(lines[0]).toMatch(/^failed: two/);
});

describe('a test that was skipped', () => {
  test.each([
    ['unit.json', 'pending'], ['integration.json', 'pending'], ['store.json', 'todo'],
    ['native.xml', 'notrun'], ['native.xml', 'disabled'],
  ])('%s: counts as a failure in the continuous integration (%s)', (name, state) => {
    const { status, lines } = count({ [name]: { two: state } });
    expect([status, lines.at(-1)]).toEqual([1, '6 passed, 1 failed']);
    expect(lines.join('\n')).toMatch(/^failed: two\n +It was skipped/);
    expect(count({ [name]: { two: state } }, {}).status).toBe(0);
  });

  test('is no failure if it may be, or if the same tests ran elsewhere', () => {
    expect(count({
      'gateway.json': { [MAY_BE_SKIPPED]: 'pending' }, 'wasm.json': { two: 'pending' },
    })).toEqual({ status: 0, lines: ['6 passed, 0 failed'] });
  });
});

test('a file that is missing is a failure', () => {
  const { status, stdout } = spawnSync(process.execPath, [COUNT, folder], { encoding: 'utf8' });
  expect([status, stdout.trim().split('\n').at(-1)]).toEqual([1, '0 passed, 11 failed']);
});
