'use strict';

// Packs the package and installs it in projects of its own, on a PATH without a compiler.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { findHeaders, ROOT } = require('../support/setup');
const { cleanEnv, run, makeFolder, makeBareBin, pack, makeProject } = require('../support/sandbox');

const SMOKE = path.join(ROOT, 'test', 'support', 'smoke.js');
const ENGINE = "console.log(require('sekering').engine)";
// As `npm run prebuild:all` builds them: how many, and what one takes.
const PLATFORMS = 8;
const BINARY_BYTES = 280_000;
const ANSWERS = ['first', 'down', 'down again', 'open', 'EOPENBREAKER', 'attempt 3'];

let folder;
let tarball;
let bare;
let fromSources;

beforeAll(async () => {
  folder = makeFolder();
  tarball = await pack(folder);
  bare = cleanEnv({ PATH: makeBareBin(folder) });
  // It takes longest, and goes on beside the others.
  fromSources = buildFromSources();
  fromSources.catch(() => {});
});

afterAll(async () => {
  await fromSources.catch(() => {});
  fs.rmSync(folder, { recursive: true, force: true });
});

async function npm (project, ...args) {
  const quiet = ['--no-audit', '--no-fund'];
  const result = await run('npm', [...args, ...quiet], { cwd: project, env: bare });
  if (result.code !== 0) throw new Error(result.stderr);
  return result;
}

async function evaluate (project, code, ...flags) {
  const result = await run(process.execPath, [...flags, '-e', code], { cwd: project, env: bare });
  if (result.code !== 0) throw new Error(result.stderr);
  return result.stdout.trim();
}

/** Installs the package without its binary, tries it, and builds it as the README says. */
async function buildFromSources () {
  const project = makeProject(folder, 'sources');
  await npm(project, 'install', tarball.file);
  fs.rmSync(path.join(project, 'node_modules', 'sekering', 'prebuilds'), { recursive: true });
  await expectToWork(project);
  const before = await evaluate(project, ENGINE);
  const readme = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8');
  const [, headers, command] = /^npm (install --no-save .*)\n(npx node-gyp.*)$/m.exec(readme);
  await npm(project, ...headers.split(' '));
  // The compiler is there now; npx may download node-gyp, and headers come with Node.js here. What
  // is built need not be fast.
  const more = { npm_config_nodedir: findHeaders(), CXXFLAGS: '-O0', JOBS: 'max' };
  const env = cleanEnv({ npm_config_yes: 'true', ...more });
  const [tool, ...args] = command.split(' ');
  return { project, before, result: await run(tool, args, { cwd: project, env }) };
}

async function expectToWork (project) {
  const { stdout, stderr } = await run(process.execPath, [SMOKE], { cwd: project, env: bare });
  expect(stderr).toBe('');
  const { answers } = JSON.parse(stdout);
  expect(answers.slice(0, ANSWERS.length)).toEqual(ANSWERS);
}

test('the tarball holds a binary for this platform', () => {
  const { header: { glibcVersionRuntime } } = process.report.getReport();
  const libc = glibcVersionRuntime ? 'glibc' : 'musl';
  const tag = process.platform === 'linux' ? `.${libc}` : '';
  expect(tarball.names.filter(name => name.endsWith('.node')))
    .toContain(`prebuilds/${process.platform}-${os.arch()}/sekering${tag}.node`);
});

describe('without a compiler', () => {
  let project;

  beforeAll(async () => {
    for (const tool of ['cc', 'gcc', 'g++', 'clang', 'make', 'python3']) {
      expect((await run(tool, ['--version'], { env: bare })).code).toBe('ENOENT');
    }
    project = makeProject(folder, 'bare');
    await npm(project, 'install', tarball.file);
  });

  const installed = () => path.join(project, 'node_modules', 'sekering');

  test('npm install gives a package that works, and runs no script', async () => {
    await expectToWork(project);
    expect(fs.existsSync(path.join(installed(), 'native', 'build'))).toBe(false);
    expect(fs.existsSync(path.join(installed(), 'build'))).toBe(false);
  });

  test.each([
    ['npm ci', async () => {
      fs.rmSync(path.join(project, 'node_modules'), { recursive: true });
      await npm(project, 'ci');
    }],
    ['npm rebuild', () => npm(project, 'rebuild')],
    ['a second npm install', () => npm(project, 'install')],
  ])('%s leaves a package that works', async (_name, install) => {
    await install();
    await expectToWork(project);
  });

  test('every entry point loads by require, and no file beside them', async () => {
    const manifest = require('../../package.json');
    const ids = Object.keys(manifest.exports).map(name => path.posix.join('sekering', name));
    const said = await Promise.all(ids.map(id =>
      evaluate(project, `require(${JSON.stringify(id)})`)));
    expect(said).toEqual(ids.map(() => ''));
    await expect(evaluate(project, "require('sekering/lib/base/native')"))
      .rejects.toThrow('ERR_PACKAGE_PATH_NOT_EXPORTED');
  });

  test('npm install brings at most 3 packages, and 6 MB', () => {
    const modules = path.join(project, 'node_modules');
    const { packages } = JSON.parse(
      fs.readFileSync(path.join(modules, '.package-lock.json'), 'utf8'));
    expect(Object.keys(packages).map(name => name.replace('node_modules/', '')))
      .toEqual(['commander', 'node-gyp-build', 'sekering']);
    const bytes = fs.readdirSync(modules, { recursive: true })
      .map(name => fs.lstatSync(path.join(modules, name)))
      .reduce((sum, stat) => sum + (stat.isFile() ? stat.size : 0), 0);
    // The package that is published has binaries for all platforms.
    const missing = PLATFORMS - tarball.names.filter(name => name.endsWith('.node')).length;
    expect(bytes + missing * BINARY_BYTES).toBeLessThanOrEqual(6_000_000);
  });

  test.each([
    ['sekering/gateway', 'createGateway', '{}'],
    ['sekering/gateway', 'readConfig', '{}'],
    ['sekering/http', 'createAdminRouter', '{}'],
    ['sekering/http', 'startServer', '{ config: { server: {} } }'],
  ])('%s without its packages: %s says how to install all of them, after require and import',
    async (id, name, argument) => {
      const call = `Promise.resolve().then(() => ${name}(${argument}))
        .catch(error => console.log(error.code, error.message.replace(/.*: npm/, 'npm')));`;
      const said = [
        await evaluate(project, `const { ${name} } = require('${id}'); ${call}`),
        await evaluate(project, `import { ${name} } from '${id}'; ${call}`, '--input-type=module'),
      ];
      for (const line of said) {
        expect(line).toMatch(/^ERR_MISSING_PEER npm install (\S+ )*zod@4( |$)/);
        expect(line).toContain(' express@5 ');
      }
    });

  test('the drop-ins have the shapes of what they stand for', async () => {
    const shapes = await evaluate(project, `
      const CircuitBreaker = require('sekering/opossum');
      const { operation, timeouts, createTimeout, wrap } = require('sekering/retry');
      console.log(JSON.stringify([
        new CircuitBreaker(async () => {}) instanceof require('sekering').CircuitBreaker,
        require('sekering/opossum/lib/status') === CircuitBreaker.Status,
        require('sekering/opossum/lib/semaphore') === CircuitBreaker.Semaphore,
        require('sekering/opossum/lib/cache') === CircuitBreaker.MemoryCache,
        typeof require('sekering/async-retry') === 'function',
        [operation, timeouts, createTimeout, wrap].every(f => typeof f === 'function'),
        typeof require('sekering/midtrans-client').Snap === 'function',
      ]));`);
    expect(JSON.parse(shapes)).toEqual([true, true, true, true, true, true, true]);
  });

  test('every export has a name that import knows, and is the same object', async () => {
    const names = Object.keys(require('../../lib')).join(', ');
    const same = await evaluate(project, `
      import { createRequire } from 'node:module';
      import { ${names} } from 'sekering';
      import opossum from 'sekering/opossum';
      import retryDefault from 'sekering/async-retry';
      import midtransClient, { CoreApi } from 'sekering/midtrans-client';
      const all = createRequire(process.cwd() + '/x.js')('sekering');
      const mine = { ${names} };
      console.log(Object.keys(all).every(name => all[name] === mine[name]),
        opossum.prototype instanceof all.CircuitBreaker, typeof retryDefault === 'function',
        midtransClient.CoreApi === CoreApi);`,
    '--input-type=module');
    expect(same).toBe('true true true true');
  });

  test('require loads the package, its loader and nothing else', async () => {
    const loaded = JSON.parse(await evaluate(project, `require('sekering');
      console.log(JSON.stringify(Object.keys(require.cache)))`));
    const modules = path.join(fs.realpathSync(project), 'node_modules');
    const packages = loaded.map(file => path.relative(modules, file).split(path.sep)[0]);
    expect([...new Set(packages)].toSorted()).toEqual(['node-gyp-build', 'sekering']);
    const folders = loaded.map(file => path.relative(path.join(modules, 'sekering', 'lib'), file)
      .split(path.sep)[0]).filter(name => name !== '..');
    expect(folders.filter(name => !['index.js', 'base', 'primitives'].includes(name))).toEqual([]);
  });

  const PROGRAM = `
    const { CircuitBreaker } = require('sekering');
    new CircuitBreaker(async () => 'done').fire().then(console.log);`;

  test('the files that a tool traces from a small program are enough to run it', async () => {
    fs.writeFileSync(path.join(project, 'small.js'), PROGRAM);
    const trace = `require('@vercel/nft').nodeFileTrace(['small.js'], { base: '.' })
      .then(({ fileList }) => console.log(JSON.stringify([...fileList])))`;
    // The tool is the checkout's; the program and what it requires are not.
    const { stdout, stderr } = await run(process.execPath, ['-e', trace],
      { cwd: project, env: { ...bare, NODE_PATH: path.join(ROOT, 'node_modules') } });
    expect(stderr).toBe('');
    const files = JSON.parse(stdout);
    expect(files.filter(file => file.endsWith('.node'))).toHaveLength(1);
    const copy = path.join(folder, 'traced');
    for (const file of files) fs.cpSync(path.join(project, file), path.join(copy, file));
    expect(await run(process.execPath, ['small.js'], { cwd: copy, env: bare }))
      .toEqual({ code: 0, stdout: 'done\n', stderr: '' });
  });

  test('a bundle, which has no binary, runs on WebAssembly, or on the binary that it is told of',
    async () => {
      // What a bundler takes along of the package, and of what it requires: JavaScript.
      const bundle = path.join(folder, 'bundle');
      for (const name of ['sekering/package.json', 'sekering/lib', 'node-gyp-build']) {
        fs.cpSync(path.join(project, 'node_modules', name),
          path.join(bundle, 'node_modules', name), { recursive: true });
      }
      const start = async more => {
        const { code, stdout, stderr } = await run(process.execPath, ['-e', `${ENGINE};${PROGRAM}`],
          { cwd: bundle, env: { ...bare, ...more } });
        return { code, answers: stdout.split('\n', 2), stderr };
      };
      expect(await start()).toEqual({ code: 0, answers: ['wasm', 'done'], stderr: '' });
      for (const place of [installed(), path.relative(bundle, installed())]) {
        expect(await start({ SEKERING_PREBUILD: place }))
          .toEqual({ code: 0, answers: ['native', 'done'], stderr: '' });
      }
      expect(await start({ SEKERING_PREBUILD: folder })).toEqual({
        code: 0, answers: ['wasm', 'done'],
        stderr: expect.stringContaining(`of SEKERING_PREBUILD (${folder}) does not load`),
      });
    });

  test('require takes under 15 ms', async () => {
    // Processor time, since other processes stretch the clock's. In turn with an empty script, as
    // the machine's speed changes: where 15 ms are 15 ms, an empty script takes 18 ms.
    const report = `process.on('exit', () => {
      const { user, system } = process.cpuUsage();
      console.log((user + system) / 1000);
    });`;
    fs.writeFileSync(path.join(project, 'empty.js'), report);
    fs.writeFileSync(path.join(project, 'loads.js'), `${report} require('sekering');`);
    const time = async script =>
      Number((await run(process.execPath, [script], { cwd: project, env: bare })).stdout);
    const ratios = [];
    for (let i = 0; i < 21; i++) ratios.push(await time('loads.js') / await time('empty.js'));
    expect(ratios.toSorted((one, other) => one - other)[10]).toBeLessThan(1 + 15 / 18);
  });
});

describe('without a prebuilt binary', () => {
  test('the package runs on WebAssembly, until the command in the README has built one',
    async () => {
      const { project, before, result: { code, stderr } } = await fromSources;
      expect(before).toBe('wasm');
      expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
      await expectToWork(project);
      expect(await evaluate(project, ENGINE)).toBe('native');
    });
});
