'use strict';

// What the sources and the binary must be like on systems and runtimes that are not at hand.

const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { findHeaders, ROOT } = require('../support/setup');
const { cleanEnv, makeFolder, run } = require('../support/sandbox');
const { readSources } = require('../support/source-files');

const BINARY = path.join(ROOT, 'native', 'build', 'Release', 'sekering.node');

let folder;
beforeAll(() => { folder = makeFolder(); });
afterAll(() => fs.rmSync(folder, { recursive: true }));

describe('on a Mac', () => {
  const native = readSources()
    .filter(({ name }) => /^native\/.*\.(cc|h)$/.test(name) && !name.includes('windows'));
  // What only other systems compile, and what only a Mac has.
  const ofOthers =
    /^#(ifdef (_WIN32|__APPLE__)|if defined\((__linux__|_WIN32)\))[^]*?^#(else|endif)/gm;
  const headers = [...new Set(native.flatMap(({ text }) =>
    [...text.replace(ofOthers, '').matchAll(/^#include <(.+)>/gm)].map(([, header]) => header)))];
  // POSIX, which a Mac has.
  const POSIX = ['fcntl.h', 'sys/file.h', 'sys/mman.h', 'sys/socket.h', 'sys/stat.h',
    'sys/statvfs.h', 'sys/un.h', 'unistd.h'];

  // There uint64_t and size_t are two types of the same size; here they are one type. So all
  // headers come first, and what follows sees the types of a Mac, and no Linux.
  const prelude = [
    ...headers.map(header => `#include <${header}>`),
    '#undef __linux__',
    'using MacUint64 = unsigned long long;',
    'using MacInt64 = long long;',
    'namespace std { using ::MacUint64; using ::MacInt64; }',
    '#define uint64_t MacUint64',
    '#define int64_t MacInt64',
  ].join('\n');
  const includes = [path.join(ROOT, 'native'), path.dirname(require.resolve('node-addon-api')),
    path.join(findHeaders() ?? '/usr', 'include', 'node')];
  let file;

  beforeAll(() => {
    file = path.join(folder, 'mac.h');
    fs.writeFileSync(file, `${prelude}\n`);
    // Compiled once for all sources.
    expect(compile('-x', 'c++-header', file, '-o', `${file}.gch`)).toEqual([]);
  });

  /** The errors of the compiler. */
  function compile (...args) {
    const { error, status, stderr } = spawnSync('g++', ['-std=c++20', '-fno-exceptions',
      '-fno-rtti', '-DNAPI_VERSION=9', '-DNODE_ADDON_API_DISABLE_CPP_EXCEPTIONS',
      ...includes.map(include => `-I${include}`), ...args], { cwd: ROOT, encoding: 'utf8' });
    if (error) throw error;
    return status === 0 ? [] : stderr.split('\n').filter(line => /error:/.test(line));
  }

  test('all sources compile, with macOS types and the code for systems other than Linux', () => {
    const sources = native.map(({ name }) => name).filter(name => name.endsWith('.cc'));
    expect(sources.length).toBeGreaterThan(0);
    expect(compile('-fsyntax-only', '-include', file, ...sources)).toEqual([]);
  });

  test('this check finds what a compiler on macOS rejects', () => {
    const source = path.join(folder, 'least.cc');
    fs.writeFileSync(source,
      'uint64_t Least(uint64_t a, std::size_t b) { return std::min(a, b); }\n');
    expect(compile('-fsyntax-only', '-include', file, source))
      .toEqual([expect.stringMatching(/no matching function .*min/)]);
    const here = ['cstdint', 'algorithm'].flatMap(header => ['-include', header]);
    expect(compile('-fsyntax-only', ...here, source)).toEqual([]);
  });

  test('headers that a Mac does not have are included on other systems only', () => {
    expect(headers.filter(header => !/^[a-z_]+$/.test(header)).sort())
      .toEqual([...POSIX, 'napi.h', 'uv.h'].sort());
  });
});

/** What a user does first; prints the engine and what happened. */
const PROGRAM = `
  const { CircuitBreaker, engine, retry } = require(${JSON.stringify(ROOT)});
  const breaker = new CircuitBreaker(async x => { if (x) throw new Error('down'); return 'done'; });
  (async () => {
    const answers = [engine, await breaker.fire(0)];
    for (let i = 0; i < 3; i++) await breaker.fire(1).catch(() => {});
    await breaker.fire(0).catch(({ code }) => answers.push(code));
    answers.push(await retry((bail, attempt) => {
      if (attempt < 3) throw new Error('again');
      return 'attempt ' + attempt;
    }, { minTimeout: 1 }));
    console.log(JSON.stringify(answers));
  })();`;
const WORKS = { answers: ['wasm', 'done', 'EOPENBREAKER', 'attempt 3'], warning: '' };

async function answersOf (program, flags, env) {
  const { stdout, stderr } = await run(process.execPath, [...flags, '-e', program], { env });
  return { answers: JSON.parse(stdout), warning: stderr };
}

const describeOnLinux = process.platform === 'linux' ? describe : describe.skip;

describeOnLinux('in a runtime that lacks a function of libuv', () => {
  test('the binary resolves every symbol when it is loaded, and is never unloaded', () => {
    const flags = execFileSync('readelf', ['-dW', BINARY], { encoding: 'utf8' });
    expect(flags).toMatch(/\(FLAGS\).*BIND_NOW/);
    expect(flags).toMatch(/\(FLAGS_1\).*NOW.*NODELETE/);
  });

  test('WebAssembly takes over, and a warning names the function', async () => {
    const release = path.join(folder, 'build', 'Release');
    fs.mkdirSync(release, { recursive: true });
    const content = fs.readFileSync(BINARY).toString('latin1');
    const spoilt = content.replaceAll('uv_prepare_init\0', 'uv_prepare_none\0');
    expect(spoilt).not.toBe(content);
    fs.writeFileSync(path.join(release, 'sekering.node'), spoilt, 'latin1');
    const env = cleanEnv({ SEKERING_PREBUILD: folder });
    expect(await answersOf(PROGRAM, [], env)).toEqual({ ...WORKS, warning: expect.stringMatching(
      /\[SEKERING_ENGINE\] SekeringWarning: .* does not load on .*uv_prepare_none/) });
  });

  test.each([
    ['damaged', content => Buffer.from(content).fill(0, 0, 4096)],
    ['empty', () => Buffer.alloc(0)],
    ['of another architecture', content => {
      const other = Buffer.from(content);
      other.writeUInt16LE(other.readUInt16LE(18) === 62 ? 183 : 62, 18); // e_machine
      return other;
    }],
  ])('so it does for a binary that is %s', async (_name, spoil) => {
    const release = path.join(folder, 'build', 'Release');
    fs.mkdirSync(release, { recursive: true });
    fs.writeFileSync(path.join(release, 'sekering.node'), spoil(fs.readFileSync(BINARY)));
    const env = cleanEnv({ SEKERING_PREBUILD: folder });
    expect(await answersOf(PROGRAM, [], env)).toEqual({
      ...WORKS, warning: expect.stringContaining('SEKERING_ENGINE'),
    });
  });
});

describe('sekering check', () => {
  /** What it says of the engine. The store cannot be reached, which it says quickly. */
  async function engineOf (flags, env) {
    fs.writeFileSync(path.join(folder, 'check.toml'),
      'store = { url = "postgres://nobody@127.0.0.1:9/none" }\n');
    const { stdout } = await run(process.execPath, [...flags, path.join(ROOT, 'lib/cli/index.js'),
      '-c', path.join(folder, 'check.toml'), '--json', 'check'], { env: cleanEnv(env) });
    return JSON.parse(stdout).results.find(({ name }) => name === 'engine');
  }

  test('names the binary', async () => {
    expect(await engineOf([], {})).toEqual({ name: 'engine', ok: true, note: 'the binary' });
  });

  test('says why it is not the binary', async () => {
    const notes = [
      await engineOf(['--no-addons'], {}),
      await engineOf([], { SEKERING_ENGINE: 'wasm' }),
    ].map(({ note }) => note);
    expect(notes).toEqual(['Node.js was started with --no-addons', 'SEKERING_ENGINE is wasm']
      .map(why => `WebAssembly, since the binary is not used: ${why}`));
    const release = path.join(folder, 'build', 'Release');
    fs.mkdirSync(release, { recursive: true });
    fs.writeFileSync(path.join(release, 'sekering.node'), 'damaged');
    expect(await engineOf([], { SEKERING_PREBUILD: folder })).toEqual({
      name: 'engine', ok: true, note: expect.stringMatching(/not used: .*(file too short|ELF)/),
    });
  });
});

describe('a runtime other than Node.js, or another system', () => {
  // Their names for users, by what tells them apart.
  const TITLES = [['deno', 'Deno'], ['freebsd', 'freebsd']];

  /** What a program prints as JSON that runs where `process` names such a runtime or system. */
  async function evaluate (name, program) {
    const [property, value] = name === 'deno'
      ? ['versions', "{ ...process.versions, deno: '1' }"]
      : ['platform', `'${name}'`];
    const script = `
      Object.defineProperty(process, '${property}', { value: ${value} });
      const answer = action => {
        try { return action(); } catch ({ code, message }) { return { code, message }; }
      };
      const { CircuitBreaker, Bulkhead, RateLimiter, RetryBudget } = require('./lib');
      (async () => console.log(JSON.stringify(await (${program})())))();`;
    const { stdout, stderr } = await run(process.execPath, ['-e', script]);
    expect(stderr).toBe('');
    return JSON.parse(stdout);
  }

  const ALL = `[
    more => new CircuitBreaker(() => {}, { ...more, name: 'a' }),
    more => new Bulkhead({ ...more, maxConcurrent: 1, name: 'b' }),
    more => new RateLimiter({ ...more, limit: 1, interval: 1000, name: 'c' }),
    more => new RetryBudget({ ...more, name: 'd' }),
  ]`;

  test.each(TITLES)('%s: scopes cannot be had, and a warning says so',
    async (name, title) => {
      const [scopes, warnings] = await evaluate(name, `async () => {
        const warnings = [];
        process.emitWarning = (message, { code }) => warnings.push([code, message]);
        const scopes = ['process', 'host'].flatMap(scope =>
          ${ALL}.map(make => make({ scope }).scope));
        return [scopes, warnings];
      }`);
      expect(scopes).toEqual(new Array(8).fill('instance'));
      expect(warnings).toEqual([['SEKERING_SCOPE', expect.stringContaining(
        `Scope 'process' is not supported on ${title}. ` +
        "The breaker 'a' works in scope 'instance' instead of 'process'")]]);
    });

  test.each(TITLES)('%s: strictScope makes that an error',
    async (name, title) => {
      const refused = await evaluate(name, `() => ['process', 'host'].flatMap(scope =>
        ${ALL}.map(make => answer(() => make({ scope, strictScope: true }))))`);
      expect(refused).toEqual(['process', 'host'].flatMap(scope => new Array(4).fill({
        code: 'ERR_SCOPE_UNSUPPORTED', message: `Scope '${scope}' is not supported on ${title}`,
      })));
    });

  test('a breaker that is not shared works there, and is the default of the gateway', async () => {
    expect(await evaluate('deno', `async () => {
      const { readConfig } = require('./lib/gateway');
      const { breakerOptions } = require('./lib/gateway/services');
      const config = readConfig({ profile: 'production' });
      return [
        await new CircuitBreaker(async x => x * 2).fire(21),
        breakerOptions(config, 'smtp', {}).scope ?? 'instance',
      ];
    }`)).toEqual([42, 'instance']);
  });
});

test('on a Mac, regions are in the caches of the user, or in /tmp', async () => {
  const directoryOf = async home => {
    const { stdout } = await run(process.execPath, ['-e', `
      Object.defineProperty(process, 'platform', { value: 'darwin' });
      require('node:os').userInfo = () => ({ homedir: ${JSON.stringify(home)} });
      process.env.HOME = '/nowhere';
      console.log(require('./lib').regions.directory());`], { env: cleanEnv() });
    return stdout.trim();
  };
  const own = `sekering-${process.geteuid()}`;
  const caches = path.join(folder, 'Library', 'Caches');
  fs.mkdirSync(caches, { recursive: true });
  expect(await directoryOf(folder)).toBe(path.join(caches, own));
  expect(await directoryOf('/nowhere')).toBe(`/tmp/${own}`);
});

describe('an addon that may not be loaded', () => {
  const permission = process.allowedNodeEnvironmentFlags.has('--permission')
    ? '--permission'
    : '--experimental-permission';

  test.each([
    ['--no-addons', ['--no-addons'], 'wasm'],
    ['the permission model', [permission, '--allow-fs-read=*'], 'wasm'],
    ['the permission model with --allow-addons',
      [permission, '--allow-fs-read=*', '--allow-addons'], 'native'],
  ])('%s: the package works, without a word', async (_name, flags, engine) => {
    const { stdout } = await run(process.execPath, [...flags, '-e', PROGRAM], { env: cleanEnv() });
    expect(JSON.parse(stdout)).toEqual([engine, 'done', 'EOPENBREAKER', 'attempt 3']);
  });
});

describe('SEKERING_ENGINE', () => {
  test('wasm forces WebAssembly', async () => {
    expect(await answersOf(PROGRAM, [], cleanEnv({ SEKERING_ENGINE: 'wasm' }))).toEqual(WORKS);
  });

  test.each([
    ['native', ['--no-addons'], /is native, but no binary of sekering loads on .*--no-addons/],
    ['wsam', [], 'SEKERING_ENGINE is wsam: expected native or wasm, or nothing'],
  ])('%s is refused where it cannot be had', async (engine, flags, message) => {
    const { code, stderr } = await run(process.execPath, [...flags, '-e', PROGRAM],
      { env: cleanEnv({ SEKERING_ENGINE: engine }) });
    expect(code).toBe(1);
    expect(stderr).toMatch('ERR_ENGINE');
    expect(stderr).toMatch(message);
  });
});

describeOnLinux('WebAssembly', () => {
  const evaluate = async script => {
    const { stdout, stderr } = await run(process.execPath, ['-e', script],
      { cwd: ROOT, env: cleanEnv({ SEKERING_ENGINE: 'wasm' }) });
    expect(stderr).toBe('');
    return JSON.parse(stdout);
  };

  test('a call in flight that has a timeout keeps the process alive, and nothing else does',
    async () => {
      expect(await evaluate(`
        const { CircuitBreaker } = require('.');
        const slow = new CircuitBreaker(() => new Promise(() => {}), { timeout: 50 });
        slow.fire().catch(({ code }) => console.log(JSON.stringify(code)));`)).toBe('ETIMEDOUT');
    });

  test('what was recorded is counted before the loop waits, so in its own bucket', async () => {
    expect(await evaluate(`
      const { CircuitBreaker } = require('.');
      const breaker = new CircuitBreaker(async x => x);
      const waiting = () => require('./lib/base/native').recorder.control[0];
      breaker.fire(1);
      const recorded = waiting();
      // After what the call has asked for.
      setImmediate(() => console.log(JSON.stringify([recorded > 0, waiting()])));`))
      .toEqual([true, 0]);
  });

  test('many breakers, whose memory grows, keep their counts and states', async () => {
    expect(await evaluate(`
      const { CircuitBreaker } = require('.');
      const make = () => new CircuitBreaker(async x => { if (x) throw new Error('x'); return x; });
      const all = Array.from({ length: 3000 }, make);
      (async () => {
        for (const breaker of all) await breaker.fire(0);
        for (const breaker of all.slice(0, 1500)) {
          for (let i = 0; i < 3; i++) await breaker.fire(1).catch(() => {});
        }
        console.log(JSON.stringify([
          all.filter(({ opened }) => opened).length, all.filter(({ closed }) => closed).length,
          all.reduce((sum, { stats }) => sum + stats.successes, 0),
        ]));
      })();`)).toEqual([1500, 1500, 3000]);
  });

  test('two copies of the package use one engine; workers have their own', async () => {
    expect(await evaluate(`
      const fs = require('node:fs');
      const { Worker, isMainThread } = require('node:worker_threads');
      const { CircuitBreaker } = require('.');
      for (const file of Object.keys(require.cache)) {
        if (!file.includes('node_modules')) delete require.cache[file];
      }
      const second = require('.');
      const id = breaker => breaker._id;
      const worker = new Worker(\`const { CircuitBreaker, engine } = require('./lib');
        const breaker = new CircuitBreaker(async x => x);
        breaker.fire(7).then(value => require('node:worker_threads').parentPort.postMessage(
          [engine, value, breaker.stats.fires, breaker._id]));\`, { eval: true });
      const first = id(new CircuitBreaker(() => {}));
      const next = id(new second.CircuitBreaker(() => {}));
      worker.on('message', answer => console.log(JSON.stringify(
        [second.CircuitBreaker !== CircuitBreaker, next - first, ...answer])));`))
      .toEqual([true, 1, 'wasm', 7, 1, 0]);
  });

  test.each(['process', 'host'])('scope %s is refused by strictScope', async scope => {
    expect(await evaluate(`
      const { CircuitBreaker } = require('.');
      try {
        new CircuitBreaker(() => {}, { scope: '${scope}', strictScope: true, name: 'a' });
      } catch ({ code, message }) { console.log(JSON.stringify({ code, message })); }`)).toEqual({
      code: 'ERR_SCOPE_UNSUPPORTED', message: `Scope '${scope}' is not supported on WebAssembly`,
    });
  });

  test('without strictScope a breaker of the host works alone, and needs no other process to open',
    async () => {
      expect(await evaluate(`
        const { CircuitBreaker } = require('.');
        process.emitWarning = () => {};
        const make = () => new CircuitBreaker(async () => { throw new Error('down'); }, {
          scope: 'host', name: 'a', consecutiveFailures: 2, shareTrip: { processes: 2 }
        });
        const [one, other] = [make(), make()];
        (async () => {
          for (let i = 0; i < 2; i++) await one.fire().catch(() => {});
          const { scope, options, opened, stats } = one;
          console.log(JSON.stringify([
            scope, options.scope, opened, other.opened, stats.local === undefined
          ]));
        })();`)).toEqual(['instance', 'instance', true, false, true]);
    });

  test('one warning is for all threads, if they start after it', async () => {
    const { stderr } = await run(process.execPath, ['-e', `
      const { Worker, isMainThread } = require('node:worker_threads');
      const { CircuitBreaker } = require('.');
      new CircuitBreaker(() => {}, { scope: 'host', name: 'a' });
      if (isMainThread) new Worker(process._eval, { eval: true });`],
    { cwd: ROOT, env: cleanEnv({ SEKERING_ENGINE: 'wasm' }) });
    expect(stderr.match(/SEKERING_SCOPE/g)).toHaveLength(1);
  });
});
