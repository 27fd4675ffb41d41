'use strict';

// The package in each runtime: what users do with it (uses.js), and the suites of what it stands
// in for, under the test runner that works there. Nothing may end the process or warn.

const fs = require('node:fs');
const path = require('node:path');

const { cleanEnv, makeFolder, run } = require('../support/sandbox');
const { ROOT, buildPrebuild } = require('../support/setup');
const { BUN, DENO, nodeOf } = require('../support/platforms');
const {
  ANSWERS, NO_SCOPES, SUITES, answersIn, expectBunPassed, expectProcessesShare, expectThreadsShare
} = require('./answers');

jest.setTimeout(600_000);

const USES = path.join(__dirname, 'uses.js');
const JEST = path.join(ROOT, 'node_modules', 'jest', 'bin', 'jest.js');

/** What the program found in a runtime. */
async function answersOf (command, args, env, answers) {
  return answersIn(await run(command, args, { env: cleanEnv(env) }), answers);
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
  test.each([['native', ANSWERS], ['wasm', NO_SCOPES]])('on the engine %s',
    async (engine, answers) => {
      expect(await answersOf(BUN, [USES], { SEKERING_ENGINE: engine }, answers))
        .toEqual({ engine, ...answers });
    });

  const start = args => run(BUN, args, { env: cleanEnv() });

  test('threads of a process share a breaker', () => expectThreadsShare(start));

  test('processes share breakers and limits, and what a killed one held is free', async () => {
    const folder = makeFolder();
    await expectProcessesShare(start, path.join(folder, 'room'));
    fs.rmSync(folder, { recursive: true });
  });

  // Each file in a process of its own, as in Jest.
  test.each(SUITES)('its test runner runs %s', async file => {
    expectBunPassed(await run(BUN, ['test', '--timeout', '300000', `./${file}`]));
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
