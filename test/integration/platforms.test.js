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
  const native = readSources().filter(({ name }) => /^native\/.*\.(cc|h)$/.test(name));
  const forLinux = /^#ifdef __linux__[^]*?^#(else|endif)/gm;
  const headers = [...new Set(native.flatMap(({ text }) =>
    [...text.replace(forLinux, '').matchAll(/^#include <(.+)>/gm)].map(([, header]) => header)))];

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

  test('headers outside the standard library are included on Linux only', () => {
    expect(headers.filter(header => !/^[a-z_]+$/.test(header))).toEqual(['napi.h', 'uv.h']);
  });
});

const describeOnLinux = process.platform === 'linux' ? describe : describe.skip;

describeOnLinux('in a runtime that lacks a function of libuv', () => {
  test('the binary resolves every symbol when it is loaded, and is never unloaded', () => {
    const flags = execFileSync('readelf', ['-dW', BINARY], { encoding: 'utf8' });
    expect(flags).toMatch(/\(FLAGS\).*BIND_NOW/);
    expect(flags).toMatch(/\(FLAGS_1\).*NOW.*NODELETE/);
  });

  test('loading the package fails with an error that can be caught and names the function',
    async () => {
      const release = path.join(folder, 'build', 'Release');
      fs.mkdirSync(release, { recursive: true });
      const content = fs.readFileSync(BINARY).toString('latin1');
      const spoilt = content.replaceAll('uv_prepare_init\0', 'uv_prepare_none\0');
      expect(spoilt).not.toBe(content);
      fs.writeFileSync(path.join(release, 'sekering.node'), spoilt, 'latin1');
      const { code, stdout, stderr } = await run(process.execPath, ['-e', `
        try { require(${JSON.stringify(ROOT)}); } catch (error) {
          console.log(JSON.stringify({ code: error.code, message: error.message }));
        }`], { env: cleanEnv({ SEKERING_PREBUILD: folder }) });
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(JSON.parse(stdout)).toEqual({
        code: 'ERR_NATIVE_MISSING', message: expect.stringContaining('uv_prepare_none'),
      });
    });
});

describe('a runtime other than Node.js', () => {
  /** What a program prints as JSON that runs where process.versions names such a runtime. */
  async function evaluate (name, program) {
    const script = `
      Object.defineProperty(process, 'versions', { value: { ...process.versions, ${name}: '1' } });
      const answer = action => {
        try { return action(); } catch ({ code, message }) { return { code, message }; }
      };
      const { CircuitBreaker, Bulkhead, RateLimiter, RetryBudget } = require('./lib');
      (async () => console.log(JSON.stringify(await (${program})())))();`;
    const { stdout, stderr } = await run(process.execPath, ['-e', script]);
    expect(stderr).toBe('');
    return JSON.parse(stdout);
  }

  test.each([['bun', 'Bun'], ['deno', 'Deno']])('%s: scopes are refused, with what to do',
    async (name, title) => {
      const refused = await evaluate(name, `() => ['process', 'host'].flatMap(scope => [
        () => new CircuitBreaker(() => {}, { scope, name: 'a' }),
        () => new Bulkhead({ maxConcurrent: 1, scope, name: 'b' }),
        () => new RateLimiter({ limit: 1, interval: 1000, scope, name: 'c' }),
        () => new RetryBudget({ scope, name: 'd' }),
      ].map(answer))`);
      expect(refused).toEqual(['process', 'host'].flatMap(scope => new Array(4).fill({
        code: 'ERR_SCOPE_UNSUPPORTED',
        message: `Scope '${scope}' is not supported on ${title}: use scope 'instance', or Node.js`,
      })));
    });

  test('a breaker that is not shared works there, and is the default of the gateway', async () => {
    expect(await evaluate('bun', `async () => {
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

describe('an addon that may not be loaded', () => {
  const program = `
    try { require('./lib'); } catch ({ code, message }) {
      console.log(JSON.stringify({ code, message }));
    }`;
  const permission = process.allowedNodeEnvironmentFlags.has('--permission')
    ? '--permission'
    : '--experimental-permission';

  test.each([
    ['--no-addons', ['--no-addons'], /started with --no-addons: start it without that option$/],
    ['the permission model', [permission, '--allow-fs-read=*'],
      /permission model on: add --allow-addons$/],
  ])('%s: the error says how Node.js must be started', async (_name, flags, remedy) => {
    const { stdout } = await run(process.execPath, [...flags, '-e', program]);
    expect(JSON.parse(stdout)).toEqual({
      code: 'ERR_NATIVE_MISSING', message: expect.stringMatching(remedy),
    });
  });

  test('with --allow-addons it is loaded', async () => {
    const flags = [permission, '--allow-fs-read=*', '--allow-addons'];
    expect(await run(process.execPath, [...flags, '-e', program]))
      .toMatchObject({ code: 0, stdout: '' });
  });
});
