'use strict';

// The binaries for other platforms, in emulators: Linux arm64 (glibc and musl), Linux x64 with
// musl, Windows x64. Those for macOS and for Windows arm64 cannot run here; what that for macOS
// does with the system is tried on Linux.

const fs = require('node:fs');
const path = require('node:path');

const { fileOf } = require('../../lib/base/regions');
const {
  Windows, importsOf, makeBunOfMusl, makeCoreTests, makeLoader, makeNodeOfArm64, symbolsOf,
  symbolsOfMac
} = require('../support/emulators');
const { buildPortable } = require('../support/prebuild-all');
const { RESOLVER_OF_ARM64 } = require('../support/platforms');
const { cleanEnv, makeFolder, run } = require('../support/sandbox');
const { PREBUILDS, ROOT } = require('../support/setup');
const { cleanUp, newNamespace, startProcess } = require('../support/shared-peers');
const {
  ANSWERS, LIBRARY, SUITES, answerOf, answersIn, expectBunPassed, expectProcessesShare,
  expectThreadsShare
} = require('./answers');

const BUILDING_MS_MAX = 3_600_000;
jest.setTimeout(900_000);

const JEST = path.join(ROOT, 'node_modules', 'jest', 'bin', 'jest.js');
const USES = path.join(__dirname, 'uses.js');
const BINARY = { PREBUILDS_ONLY: '1', SEKERING_ENGINE: 'native' };

let folder;

beforeAll(async () => {
  folder = makeFolder();
  const { code, stderr } = await run(process.execPath, [
    path.join(ROOT, 'test', 'support', 'prebuild-all.js'),
    'linux-arm64', 'linux-x64', 'win32-x64', 'darwin-x64', 'darwin-arm64',
  ]);
  if (code !== 0) throw new Error(stderr);
}, BUILDING_MS_MAX);

afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

describe.each(['20', '24'])('Linux arm64, Node.js %s', version => {
  let node;
  beforeAll(() => { node = makeNodeOfArm64(folder, version); });
  afterEach(cleanUp);

  const start = () => startProcess({ execPath: node, env: cleanEnv(BINARY) });
  const make = (context, given, action) => context.make(given, action);
  const options = more => ({
    namespace: newNamespace(), name: 'upstream', strictScope: true, resetTimeout: 600_000, ...more
  });

  test('what users do with the package works', async () => {
    const outcome = await run(node, [USES], { env: cleanEnv(BINARY) });
    expect(answersIn(outcome, ANSWERS)).toEqual({ engine: 'native', ...ANSWERS });
  });

  test('threads of a process share a breaker', async () => {
    const given = options({ scope: 'process' });
    const peer = await start();
    await peer.run(make, given);
    const seen = await peer.run((context, library, shared) => {
      const { Worker } = context.require('node:worker_threads');
      context.breaker.open();
      context.worker = new Worker(`
        const { parentPort, workerData: { library, shared } } = require('node:worker_threads');
        const { CircuitBreaker } = require(library);
        const breaker = new CircuitBreaker(async () => {}, shared);
        parentPort.postMessage([process.arch, breaker.scope, breaker.opened]);
        parentPort.once('message', () => breaker.close());`,
      { eval: true, workerData: { library, shared } });
      return new Promise((resolve, reject) => {
        context.worker.once('message', resolve).once('error', reject);
      });
    }, path.join(ROOT, 'lib'), given);
    expect(seen).toEqual(['arm64', 'process', true]);
    await peer.run(context => {
      context.worker.postMessage('close');
      return context.until(() => context.events.includes('close'));
    });
    // One region for both, which neither has removed.
    const names = fs.readdirSync(path.dirname(fileOf('host', 'any')));
    expect(names.filter(name => name.includes(`-p${peer.pid}.`))).toHaveLength(1);
  });

  test('processes share a breaker, and hear of its changes', async () => {
    const given = options({ scope: 'host' });
    const [one, other] = await Promise.all([start(), start()]);
    await one.run(make, given);
    await other.run(make, given);
    expect(await one.run(context => context.fire(5, false))).toBeGreaterThan(0);
    await other.run(context => context.until(() => context.events.includes('open')));
    expect(await other.run(context => context.fire(1, true))).toBe(0);
    expect(await other.run(({ breaker }) => [process.arch, breaker.scope]))
      .toEqual(['arm64', 'host']);
  });

  test("a killed process's probe is over at once", async () => {
    const given = options({ scope: 'host', resetTimeout: 50, timeout: 600_000 });
    const [owner, other] = await Promise.all([start(), start()]);
    await owner.run(make, given, 'hang');
    await other.run(make, given);
    await owner.run(async context => {
      context.breaker.open();
      await context.until(() => context.events.includes('halfOpen'));
      context.breaker.fire().catch(() => {});
    });
    await other.run(context => context.until(() => context.breaker.halfOpen));
    expect(await other.run(context => context.fire(1, true))).toBe(0);
    await owner.kill();
    expect(await other.run(context => context.fire(1, true))).toBe(1);
  });

  test('a process of the other architecture shares it, too', async () => {
    const given = options({ scope: 'host' });
    const [emulated, usual] = await Promise.all([start(), startProcess()]);
    await emulated.run(make, given);
    await usual.run(make, given);
    await usual.run(({ breaker }) => breaker.open());
    await emulated.run(context => context.until(() => context.events.includes('open')));
    await emulated.run(({ breaker }) => breaker.close());
    await usual.run(context => context.until(() => context.events.includes('close')));
  });
});

test('Linux arm64: Jest runs the suites', async () => {
  const report = path.join(folder, 'jest.json');
  const { code, stdout, stderr } = await run(makeNodeOfArm64(folder, '20'), [JEST, '--runInBand',
    '--json', `--outputFile=${report}`, '--selectProjects', 'unit', '--runTestsByPath', ...SUITES],
  { env: cleanEnv({ ...BINARY, NAPI_RS_NATIVE_LIBRARY_PATH: RESOLVER_OF_ARM64 }) });
  if (code !== 0) throw new Error(`${stdout}\n${stderr}`);
  const { numFailedTests, numPassedTests } = JSON.parse(fs.readFileSync(report, 'utf8'));
  expect(numFailedTests).toBe(0);
  expect(numPassedTests).toBeGreaterThan(150);
});

test('a binary for glibc asks it for nothing that came after version 2.17', async () => {
  const names = await importsOf(path.join(PREBUILDS, 'linux-arm64', 'sekering.glibc.node'));
  expect(names.length).toBeGreaterThan(50);
  const ofNode = /^(napi|node_api|uv)_\w+$/;
  expect(names.filter(name => !ofNode.test(name) && !name.endsWith('@GLIBC_2.17'))).toEqual([]);
});

describe.each(['x64', 'arm64'])('Linux %s, musl', arch => {
  const binary = path.join(PREBUILDS, `linux-${arch}`, 'sekering.musl.node');

  describe('its loader', () => {
    let command;
    beforeAll(async () => { command = await makeLoader(folder, arch, binary); });

    const load = file => run(command[0], [...command.slice(1), file], { env: cleanEnv() });

    test('finds all that the binary needs', async () => {
      expect(await load(binary)).toEqual({ code: 0, stdout: '9\n', stderr: '' });
    });

    test('tells of a function that musl does not have', async () => {
      const content = fs.readFileSync(binary).toString('latin1');
      const spoilt = content.replaceAll('\0fallocate\0', '\0fallocat_\0');
      expect(spoilt).not.toBe(content);
      const file = path.join(folder, `spoilt-${arch}.node`);
      fs.writeFileSync(file, spoilt, 'latin1');
      expect(await load(file)).toEqual(
        { code: 1, stdout: '', stderr: expect.stringContaining('fallocat_: symbol not found') });
    });
  });

  // npm has no Node.js for musl, whose loop would watch the bells.
  test('the core shares memory between processes', async () => {
    const [command, ...args] = await makeCoreTests(folder, arch);
    // In QEMU a process that maps and unmaps regions this often takes gigabytes. One of some thirty
    // runs failed there without a known cause.
    const filter = arch === 'x64' ? '*' : '-RegionFile.IsNotRemovedFromThoseWhoJoin';
    const { code, stdout } = await run(command, [...args, '--gtest_brief=1',
      `--gtest_filter=${filter}`], { env: cleanEnv() });
    expect({ code, stdout: code === 0 ? '' : stdout }).toEqual({ code: 0, stdout: '' });
    expect(Number(stdout.match(/\[ {2}PASSED {2}\] (\d+) tests/)[1])).toBeGreaterThan(50);
  }, BUILDING_MS_MAX);

  describe('Bun', () => {
    let bun;
    beforeAll(async () => { bun = await makeBunOfMusl(folder, arch); });

    test('loads this binary', async () => {
      const { code, stdout, stderr } = await run(bun, ['-e', `
        const { engine } = require('./lib');
        const maps = require('node:fs').readFileSync('/proc/self/maps', 'utf8');
        const files = [...new Set(maps.match(/\\S+[.]node$/gm))];
        console.log(JSON.stringify([process.arch, engine, files]));`],
      { env: cleanEnv(BINARY) });
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(JSON.parse(stdout)).toEqual([arch, 'native', [binary]]);
    });

    test('what users do with the package works', async () => {
      const outcome = await run(bun, [USES], { env: cleanEnv(BINARY) });
      expect(answersIn(outcome, ANSWERS)).toEqual({ engine: 'native', ...ANSWERS });
    });

    const start = args => run(bun, args, { env: cleanEnv(BINARY) });

    test('threads of a process share a breaker', () => expectThreadsShare(start));

    test('processes share breakers and limits, and what a killed one held is free',
      () => expectProcessesShare(start, path.join(folder, `room-${arch}`)));

    test.each(SUITES)('its test runner runs %s', async file => {
      expectBunPassed(await run(bun, ['test', '--timeout', '300000', `./${file}`],
        { env: cleanEnv(BINARY) }));
    });
  });
});

describe('Windows x64, Node.js 20', () => {
  let windows;
  beforeAll(async () => {
    windows = new Windows(folder);
    await windows.start();
  });
  afterAll(() => windows.end());

  test('what users do with the package works', async () => {
    // undici, which the clients use, cannot connect: Wine has no keep-alive times of sockets.
    const { 'a client over HTTP': http, ...answers } = ANSWERS;
    const outcome = await windows.run([USES, ...Object.keys(answers)], BINARY);
    expect(answersIn(outcome, answers)).toEqual({ engine: 'native', ...answers });
  });

  const start = args => windows.run(args, BINARY);

  test('threads of a process share a breaker', () => expectThreadsShare(start));

  test('processes share breakers and limits, and what a killed one held is free',
    () => expectProcessesShare(start, path.join(folder, 'room')));

  test('what is shared has no files, and ends with those who share it', async () => {
    const program = path.join(folder, 'life.js');
    fs.writeFileSync(program, `
      const { CircuitBreaker, regions } = require(${JSON.stringify(LIBRARY)});
      const breaker = new CircuitBreaker(() => {}, { scope: 'host', name: 'a', strictScope: true });
      const { opened } = breaker;
      breaker.open();
      console.log(JSON.stringify([opened, regions.list(), regions.remove('default')]));`);
    for (const run of [1, 2]) {
      const answer = await answerOf(windows.run([program], BINARY));
      expect([run, answer]).toEqual([run, [false, [], false]]);
    }
  });
});

// What macOS has: no locks of bytes that belong to an open file, no files without names.
describe('Linux, with no more of the system than macOS has', () => {
  let env;
  beforeAll(() => {
    const place = path.join(folder, 'portable');
    buildPortable(path.join(place, 'prebuilds', 'linux-x64', 'sekering.glibc.node'));
    env = cleanEnv({ SEKERING_PREBUILD: place, SEKERING_ENGINE: 'native' });
  }, BUILDING_MS_MAX);

  test('threads of a process share a breaker',
    () => expectThreadsShare(args => run(process.execPath, args, { env })));

  test('processes share breakers and limits, and what a killed one held is free', async () => {
    const regions = path.join(folder, 'r');
    fs.mkdirSync(regions, { mode: 0o700 });
    const start = args => run(process.execPath, args,
      { env: { ...env, SEKERING_REGIONS: regions } });
    await expectProcessesShare(start, path.join(folder, 'portable-room'));
    // Places have files: that of the killed process was removed with the region.
    expect(fs.readdirSync(regions).filter(name => name.includes('~'))).toEqual([]);
  });

  test.each(['shared-events', 'shared-state', 'shared-limits', 'shared-life', 'shared-damage'])(
    'the suite %s passes', async suite => {
      const { code, stderr } = await run(process.execPath, [JEST, '--runInBand',
        '--selectProjects', 'integration', '--runTestsByPath', `test/integration/${suite}.test.js`],
      { env });
      expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    });
});

// Functions that libc++ has exported since long before macOS 11: all that the binaries ask it for.
const OF_LIBCXX = [
  '__ZNSt3__111this_thread9sleep_forERKNS_6chrono8durationIxNS_5ratioILl1ELl1000000000EEEEE',
  '__ZNSt3__112basic_stringIcNS_11char_traitsIcEENS_9allocatorIcEEE6appendEmc',
  '__ZNSt3__112basic_stringIcNS_11char_traitsIcEENS_9allocatorIcEEE7reserveEm',
  '__ZNSt3__112basic_stringIcNS_11char_traitsIcEENS_9allocatorIcEEE9push_backEc',
  '__ZNSt3__16__sortIRNS_6__lessIddEEPdEEvT0_S5_T_', '__ZNSt3__19to_stringEy', '__ZdlPv', '__Znwm',
];

describe.each(['x64', 'arm64'])('the binary for macOS %s', arch => {
  const symbols = () => symbolsOfMac(path.join(PREBUILDS, `darwin-${arch}`, 'sekering.node'));
  const asked = () => symbols().filter(({ isUndefined }) => isUndefined).map(({ name }) => name);

  test('asks for what its libraries have', () => {
    const names = asked();
    // Files, locks of files, sockets, and what tells processes apart.
    expect(names).toEqual(expect.arrayContaining(
      ['_flock', '_mmap', '_bind', '_sendto', '_sysctlbyname', '_uv_poll_init']));
    expect(names.filter(name => name.includes('fallocate'))).toEqual([]);
    expect(names.filter(name => name.startsWith('__Z')).toSorted()).toEqual(OF_LIBCXX);
  });

  test('brings no function of C along, which others would call instead of their own', () => {
    const names = symbols().filter(({ isUndefined }) => !isUndefined).map(({ name }) => name);
    expect(names.filter(name => !name.startsWith('__Z')).toSorted())
      .toEqual(['_napi_register_module_v1', '_node_api_module_get_api_version_v1']);
  });
});

test.each(['linux-x64/sekering.glibc', 'linux-x64/sekering.musl', 'linux-arm64/sekering.glibc',
  'linux-arm64/sekering.musl'])('the binary %s shows what Node.js asks it for, and no more',
  async name => {
    expect((await symbolsOf(path.join(PREBUILDS, `${name}.node`), 'ABDRTVW')).toSorted())
      .toEqual(['napi_register_module_v1', 'node_api_module_get_api_version_v1']);
  });
