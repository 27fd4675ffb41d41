'use strict';

// The package in each runtime: what users do with it (uses.js), and the suites of what it stands
// in for, under the test runner that works there. Nothing may end the process or warn.

const path = require('node:path');

const { cleanEnv, run } = require('../support/sandbox');
const { ROOT, buildPrebuild } = require('../support/setup');
const { BUN, DENO, nodeOf } = require('../support/platforms');

jest.setTimeout(600_000);

const USES = path.join(__dirname, 'uses.js');
const JEST = path.join(ROOT, 'node_modules', 'jest', 'bin', 'jest.js');

const ANSWERS = {
  'three lines': 'order-1 is queued',
  'opens, and is tried again': ['EOPENBREAKER', true, 'up', true],
  'timeout': ['ETIMEDOUT', 1],
  'many calls at once': [199_990_000, 20_000, 20_000],
  'drop-ins': ['down', true, 3, 3],
  'retry': 'down',
  'policy': [2, 'instead of down'],
  'a client over HTTP': ['pending', 1],
  'scopes': ['passed', 'process'],
  'worker threads': [[42, 1, true], [42, 1, true], [42, 1, true]],
};
const NO_SCOPES = { ...ANSWERS, scopes: ['passed', 'instance'] };
const WARNING = /^\(node:\d+\) \[SEKERING_SCOPE\] .*\n(\(Use `.*\n)?$/;

/** The suites of the drop-ins, and of what they stand on. */
const SUITES = ['breaker-calls', 'breaker-events', 'breaker-states', 'breaker-timeout', 'operation',
  'policy', 'retry'].map(name => `test/unit/${name}.test.js`);

/** What the program found. It warns only of scopes that cannot be had. */
async function answersOf (command, args, env, answers = NO_SCOPES) {
  const { code, stdout, stderr } = await run(command, args, { env: cleanEnv(env) });
  const pattern = answers === NO_SCOPES ? WARNING : /^$/;
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringMatching(pattern) });
  return JSON.parse(stdout);
}

beforeAll(buildPrebuild);

describe.each(['20', '22', '24', '26'])('Node.js %s', version => {
  test.each([['native', ANSWERS], ['wasm', NO_SCOPES]])('on the engine %s',
    async (engine, answers) => {
      const env = { PREBUILDS_ONLY: '1', SEKERING_ENGINE: engine };
      expect(await answersOf(nodeOf(version), [USES], env, answers))
        .toEqual({ engine, ...answers });
    });
});

test('Node.js with --jitless, which has no WebAssembly: the binary works', async () => {
  // undici, which the clients use, needs WebAssembly.
  const { 'a client over HTTP': http, ...answers } = ANSWERS;
  const { code, stdout, stderr } = await run(nodeOf('22'),
    ['--jitless', USES, ...Object.keys(answers)], { env: cleanEnv() });
  expect(JSON.parse(stdout)).toEqual({ engine: 'native', ...answers });
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringMatching(/^Warning: .*\n$/) });
});

describe('Bun', () => {
  test.each(['native', 'wasm'])('on the engine %s', async engine => {
    expect(await answersOf(BUN, [USES], { SEKERING_ENGINE: engine }))
      .toEqual({ engine, ...NO_SCOPES });
  });

  // Each file in a process of its own, as in Jest.
  test.each(SUITES)('its test runner runs %s', async file => {
    const { code, stderr } = await run(BUN, ['test', '--timeout', '300000', `./${file}`]);
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    expect(Number(stderr.match(/^ *(\d+) pass$/m)[1])).toBeGreaterThan(5);
    expect(stderr).toMatch(/^ *0 fail$/m);
  });
});

describe('Deno', () => {
  test('on WebAssembly', async () => {
    expect(await answersOf(DENO, ['run', '-A', USES])).toEqual({ engine: 'wasm', ...NO_SCOPES });
  });

  test('Jest runs the suites', async () => {
    const { code, stdout, stderr } = await run(DENO, ['run', '-A', JEST, '--runInBand', '--json',
      '--selectProjects', 'unit', '--runTestsByPath', ...SUITES]);
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    const { numFailedTests, numPassedTests } = JSON.parse(stdout.slice(stdout.indexOf('{')));
    expect(numFailedTests).toBe(0);
    expect(numPassedTests).toBeGreaterThan(150);
  });
});
