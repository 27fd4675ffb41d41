'use strict';

// Projects of users whose tests run under vitest (threads, forks) and Jest (a registry that is
// reset, fake timers). They use the checkout as a package.

const fs = require('node:fs');
const path = require('node:path');

const { cleanEnv, makeFolder, run } = require('../support/sandbox');
const { ROOT } = require('../support/setup');
const { TOOLS } = require('../support/platforms');

jest.setTimeout(600_000);

const JEST = path.join(ROOT, 'node_modules', 'jest', 'bin', 'jest.js');
const VITEST = path.join(TOOLS, 'vitest', 'vitest.mjs');

/** The tests of the user: `fakes` is vi or jest. */
const useTests = fakes => `
const open = async breaker => {
  for (let i = 0; i < 5; i++) await breaker.fire(true).catch(() => {});
  expect(breaker.opened).toBe(true);
};
const makeBreaker = () => new CircuitBreaker(async fails => {
  if (fails) throw new Error('down');
  return 'up';
}, { resetTimeout: 60_000 });

describe('a breaker', () => {
  afterEach(() => { ${fakes}.useRealTimers(); });

  test('opens; its errors are of our classes', async () => {
    const breaker = makeBreaker();
    await open(breaker);
    const error = await breaker.fire(false).catch(reason => reason);
    expect(error.code).toBe('EOPENBREAKER');
    expect(error).toBeInstanceOf(Error);
    breaker.shutdown();
  });

  test('follows fake timers', async () => {
    ${fakes}.useFakeTimers();
    const clock = useVirtualClock({ timers: 'fake' });
    const breaker = makeBreaker();
    await open(breaker);
    ${fakes}.advanceTimersByTime(59_999);
    expect(breaker.opened).toBe(true);
    ${fakes}.advanceTimersByTime(1);
    expect(breaker.opened).toBe(false);
    expect(await breaker.fire(false)).toBe('up');
    const start = clock.now;
    let attempts = 0;
    const result = retry(async () => {
      if (++attempts < 4) throw new Error('down');
      return clock.now - start;
    }, { randomize: false });
    await ${fakes}.advanceTimersByTimeAsync(7000);
    expect(await result).toBe(7000);
    const wall = clock.wall;
    ${fakes}.setSystemTime(wall + 86_400_000);
    expect(clock.now - start).toBe(7000);
    breaker.shutdown();
  });

  test('has a virtual clock of its own', async () => {
    const clock = useVirtualClock();
    const breaker = makeBreaker();
    await open(breaker);
    await clock.advance(60_000);
    expect(breaker.halfOpen).toBe(true);
    clock.restore();
    breaker.shutdown();
  });

  test('and its copy in a registry that was reset share the state of the thread', async () => {
    ${fakes}.resetModules();
    const again = LOAD;
    expect(again.engine).toBe(engine);
    const breaker = new again.CircuitBreaker(async () => 'up');
    expect(await breaker.fire()).toBe('up');
    expect(await makeBreaker().fire(false)).toBe('up');
    breaker.shutdown();
  });

  test('may be left behind', async () => {
    await makeBreaker().fire(false);
  });
});`;
const NAMES = '{ CircuitBreaker, engine, retry }';

let folder;

beforeAll(() => {
  folder = makeFolder();
  fs.writeFileSync(path.join(folder, 'package.json'), '{ "name": "project", "private": true }');
  fs.mkdirSync(path.join(folder, 'node_modules'));
  fs.symlinkSync(ROOT, path.join(folder, 'node_modules', 'sekering'), 'dir');
  fs.symlinkSync(path.join(TOOLS, 'vitest'), path.join(folder, 'node_modules', 'vitest'), 'dir');
  for (const name of ['first', 'second']) {
    fs.writeFileSync(path.join(folder, `${name}.vitest.mjs`), `
import { afterEach, describe, expect, test, vi } from 'vitest';
import ${NAMES} from 'sekering';
import { useVirtualClock } from 'sekering/testing';
${useTests('vi').replace('LOAD', "await import('sekering')")}`);
    fs.writeFileSync(path.join(folder, `${name}.jest.js`), `
const ${NAMES} = require('sekering');
const { useVirtualClock } = require('sekering/testing');
${useTests('jest').replace('LOAD', "require('sekering')")}`);
  }
});

afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

/** Runs a test runner, and answers the numbers of its report. */
async function count (script, args, report, env) {
  const { code, stdout, stderr } = await run(process.execPath, [script, ...args],
    { cwd: folder, env: cleanEnv(env) });
  if (code !== 0) throw new Error(`${stdout}\n${stderr}`);
  const { numPassedTests, numFailedTests } = JSON.parse(fs.readFileSync(report, 'utf8'));
  return { numPassedTests, numFailedTests };
}

const ALL = { numPassedTests: 10, numFailedTests: 0 };

describe.each(['native', 'wasm'])('on the engine %s', engine => {
  const env = { SEKERING_ENGINE: engine };

  test.each(['threads', 'forks'])('vitest with %s', async pool => {
    const report = path.join(folder, `vitest-${pool}.json`);
    expect(await count(VITEST, ['run', `--pool=${pool}`, '--dir', folder, '--reporter=json',
      `--outputFile=${report}`, '--testTimeout=120000', '--config',
      makeConfig()], report, env)).toEqual(ALL);
  });

  test.each([
    ['one process', ['--runInBand']],
    ['workers', ['--maxWorkers=2']],
    ['modules reset, timers fake from the start', ['--runInBand', '--resetModules',
      '--fakeTimers={"enableGlobally":true}']],
  ])('Jest: %s', async (_name, flags) => {
    const report = path.join(folder, 'jest.json');
    expect(await count(JEST, ['--rootDir', folder, '--testMatch', '**/*.jest.js', '--json',
      `--outputFile=${report}`, '--testTimeout=120000', ...flags], report, env)).toEqual(ALL);
  });
});

function makeConfig () {
  const file = path.join(folder, 'vitest.config.mjs');
  fs.writeFileSync(file, "export default { test: { include: ['*.vitest.mjs'] } };\n");
  return file;
}
