'use strict';

// The binaries for other platforms, in emulators: Linux arm64 (glibc and musl), Linux x64 with
// musl, Windows x64. Those for macOS and for Windows arm64 cannot run here.

const fs = require('node:fs');
const path = require('node:path');

const { fileOf } = require('../../lib/base/regions');
const {
  Windows, makeBunOfMusl, makeLoader, makeNodeOfArm64
} = require('../support/emulators');
const { cleanEnv, makeFolder, run } = require('../support/sandbox');
const { PREBUILDS, ROOT } = require('../support/setup');
const { cleanUp, newNamespace, startProcess } = require('../support/shared-peers');
const { ANSWERS, NO_SCOPES, SUITES, WARNING, answersIn, expectBunPassed } = require('./answers');

const BUILDING_MS_MAX = 3_600_000;
jest.setTimeout(900_000);

const USES = path.join(__dirname, 'uses.js');
const BINARY = { PREBUILDS_ONLY: '1', SEKERING_ENGINE: 'native' };

let folder;

beforeAll(async () => {
  folder = makeFolder();
  const { code, stderr } = await run(process.execPath, [
    path.join(ROOT, 'test', 'support', 'prebuild-all.js'),
    'linux-arm64', 'linux-x64/sekering.musl.node', 'win32-x64',
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
    const lib = path.join(ROOT, 'lib');
    const answers = await peer.run(async (context, library, shared) => {
      const { Worker } = context.require('node:worker_threads');
      context.breaker.open();
      const worker = new Worker(`
        const { parentPort, workerData: { library, shared } } = require('node:worker_threads');
        const { CircuitBreaker } = require(library);
        const breaker = new CircuitBreaker(async () => {}, shared);
        parentPort.postMessage([process.arch, breaker.scope, breaker.opened]);
        parentPort.once('message', () => breaker.close());`,
      { eval: true, workerData: { library, shared } });
      const answer = await new Promise((resolve, reject) => {
        worker.once('message', resolve).once('error', reject);
      });
      worker.postMessage('close');
      await context.until(() => context.events.includes('close'));
      return [...answer, context.breaker.closed];
    }, lib, given);
    expect(answers).toEqual(['arm64', 'process', true, true]);
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
      expect(answersIn(outcome)).toEqual({ engine: 'native', ...NO_SCOPES });
    });

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
    const { 'a client over HTTP': http, ...answers } = NO_SCOPES;
    const outcome = await windows.run([USES, ...Object.keys(answers)], BINARY);
    expect(answersIn(outcome, answers)).toEqual({ engine: 'native', ...answers });
  });

  test('scopes cannot be had: one warning says so, and strictScope makes it an error', async () => {
    const program = path.join(folder, 'scopes.js');
    fs.writeFileSync(program, `
      const { CircuitBreaker, Bulkhead, RateLimiter, RetryBudget, engine } =
        require(${JSON.stringify(path.join(ROOT, 'lib'))});
      const make = options => [
        () => new CircuitBreaker(() => {}, { ...options, name: 'a' }),
        () => new Bulkhead({ ...options, maxConcurrent: 1, name: 'b' }),
        () => new RateLimiter({ ...options, limit: 1, interval: 1000, name: 'c' }),
        () => new RetryBudget({ ...options, name: 'd' }),
      ].map(one => {
        try { return one().scope; } catch ({ code, message }) { return [code, message]; }
      });
      console.log(JSON.stringify({ engine, answers: ['process', 'host'].map(scope =>
        [make({ scope }), make({ scope, strictScope: true })]) }));`);
    const { code, stdout, stderr } = await windows.run([program], BINARY);
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringMatching(WARNING) });
    expect(stderr).toMatch("Scope 'process' is not supported on win32");
    const { engine, answers } = JSON.parse(stdout);
    expect(engine).toBe('native');
    expect(answers).toEqual(['process', 'host'].map(scope => [
      new Array(4).fill('instance'),
      new Array(4).fill(['ERR_SCOPE_UNSUPPORTED', `Scope '${scope}' is not supported on win32`]),
    ]));
  });
});
