'use strict';

// The real bundlers and tracers: what they make of a program runs outside of the project, where
// there are no packages. A bundle runs on WebAssembly, without a warning, and on the binary if it
// is told where that is.

const fs = require('node:fs');
const path = require('node:path');

const { cleanEnv, makeFolder, makeProject, pack, run } = require('../support/sandbox');
const { TOOLS } = require('../support/platforms');

jest.setTimeout(600_000);

const BODY = `
const breaker = new CircuitBreaker(async x => {
  if (x) throw new Error('down');
  return 'done';
}, { timeout: 10_000 });
(async () => {
  const answers = [engine, await breaker.fire(0)];
  for (let i = 0; i < 3; i++) await breaker.fire(1).catch(() => {});
  await breaker.fire(0).catch(({ code }) => answers.push(code));
  answers.push(await retry((bail, attempt) => {
    if (attempt < 3) throw new Error('again');
    return 'attempt ' + attempt;
  }, { minTimeout: 1 }));
  const clock = useVirtualClock();
  const limited = new Timeout(1000).execute(() => new Promise(() => {})).catch(({ code }) => code);
  await clock.advance(1000);
  clock.restore();
  answers.push(await limited);
  console.log(JSON.stringify(answers));
})();`;
const NAMES = '{ CircuitBreaker, Timeout, engine, retry }';
const MODULE = `import ${NAMES} from 'sekering';
import { useVirtualClock } from 'sekering/testing';${BODY}`;
const COMMONJS = `const ${NAMES} = require('sekering');
const { useVirtualClock } = require('sekering/testing');${BODY}`;
// As the documentation of Node.js has it.
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';
// That of a single executable knows no files, and warns of it.
const REQUIRE = 'require = require("node:module").createRequire(process.execPath);';
const ANSWERS = ['done', 'EOPENBREAKER', 'attempt 3', 'ETIMEDOUT'];

let folder;
let project;

beforeAll(async () => {
  folder = makeFolder();
  const tarball = await pack(folder);
  project = makeProject(folder, 'project');
  fs.writeFileSync(path.join(project, 'app.mjs'), MODULE);
  fs.writeFileSync(path.join(project, 'app.js'), COMMONJS);
  const { code, stderr } = await run('npm', ['install', tarball.file, '--no-audit', '--no-fund'],
    { cwd: project });
  if (code !== 0) throw new Error(stderr);
});

afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

const installed = () => path.join(project, 'node_modules', 'sekering');

/** An empty folder, far from the packages of the project. */
function makeOutput (name) {
  const output = path.join(folder, 'output', name, 'dist');
  fs.mkdirSync(output, { recursive: true });
  return output;
}

/** What a program prints, which must end well and without a warning. */
async function answersOf (command, args, { cwd = folder, env } = {}) {
  const { code, stdout, stderr } = await run(command, args, { cwd, env: cleanEnv(env) });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout);
}

async function expectToRun (command, ...args) {
  expect(await answersOf(command, args)).toEqual(['wasm', ...ANSWERS]);
  const env = { SEKERING_PREBUILD: installed() };
  expect(await answersOf(command, args, { env })).toEqual(['native', ...ANSWERS]);
}

async function esbuild (output, ...flags) {
  expect(await run(path.join(TOOLS, 'esbuild', 'bin', 'esbuild'), ['app.mjs', '--bundle',
    '--platform=node', '--log-level=warning', `--outfile=${output}`, ...flags], { cwd: project }))
    .toEqual({ code: 0, stdout: '', stderr: '' });
}

/** Runs a program that uses one of the tools; it must have nothing to say. */
async function runTool (script, ...args) {
  expect(await run(process.execPath, ['-e', script, ...args],
    { cwd: project, env: cleanEnv({ NODE_PATH: TOOLS }) }))
    .toEqual({ code: 0, stdout: '', stderr: '' });
}

describe('esbuild', () => {
  // For the require of CommonJS packages, as esbuild's users have it in modules.
  const banner = "import { createRequire } from 'node:module'; " +
    'const require = createRequire(import.meta.url);';

  test.each([
    ['CommonJS', 'app.cjs', []],
    ['CommonJS, minified', 'app.min.cjs', ['--minify']],
    ['an ES module', 'app.mjs', ['--format=esm', `--banner:js=${banner}`]],
  ])('bundles %s', async (_name, file, flags) => {
    const output = path.join(makeOutput('esbuild'), file);
    await esbuild(output, ...flags);
    await expectToRun(process.execPath, output);
  });

  test('with sekering outside of the bundle, it has its binary', async () => {
    const output = path.join(project, 'external.cjs');
    await esbuild(output, '--external:sekering');
    expect(await answersOf(process.execPath, [output])).toEqual(['native', ...ANSWERS]);
  });
});

test('a single executable runs by itself', async () => {
  const output = makeOutput('executable');
  await esbuild(path.join(output, 'app.cjs'), `--banner:js=${REQUIRE}`);
  fs.writeFileSync(path.join(output, 'sea.json'), JSON.stringify(
    { main: 'app.cjs', output: 'app.blob', disableExperimentalSEAWarning: true }));
  const program = path.join(output, 'app');
  fs.copyFileSync(process.execPath, program);
  const postject = path.join(TOOLS, 'postject', 'dist', 'cli.js');
  for (const args of [
    ['--experimental-sea-config', 'sea.json'],
    [postject, program, 'NODE_SEA_BLOB', 'app.blob', '--sentinel-fuse', FUSE],
  ]) {
    const { code, stderr } = await run(process.execPath, args, { cwd: output, env: cleanEnv() });
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  }
  await expectToRun(program);
  // Not the Node.js that it was made from.
  expect((await run(program, ['--version'], { env: cleanEnv() })).stdout).toMatch('EOPENBREAKER');
});

describe('webpack', () => {
  const SCRIPT = `
    const [context, folder] = process.argv.slice(1);
    require('webpack')({
      mode: 'production', target: 'node', context, entry: './app.mjs',
      output: { path: folder, filename: 'app.cjs' },
    }, (error, stats) => {
      if (error) throw error;
      process.stderr.write(stats.toString({ all: false, errors: true, warnings: true }));
    });`;

  test('bundles for Node.js, without a warning', async () => {
    const output = makeOutput('webpack');
    await runTool(SCRIPT, project, output);
    await expectToRun(process.execPath, path.join(output, 'app.cjs'));
  });
});

describe('rollup', () => {
  const SCRIPT = `
    const { rollup } = require('rollup');
    const plugin = name => {
      const made = require('@rollup/plugin-' + name);
      return (made.default ?? made)({ preferBuiltins: true });
    };
    const [input, ...outputs] = process.argv.slice(1);
    (async () => {
      const bundle = await rollup({
        input, plugins: ['node-resolve', 'commonjs', 'json'].map(plugin),
        onwarn ({ message }) { console.error(message); },
      });
      for (const file of outputs) {
        const format = file.endsWith('.mjs') ? 'es' : 'cjs';
        await bundle.write({ file, format, inlineDynamicImports: true });
      }
    })();`;

  test('bundles CommonJS and ES modules, without a warning', async () => {
    const output = makeOutput('rollup');
    const files = ['app.cjs', 'app.mjs'].map(name => path.join(output, name));
    await runTool(SCRIPT, path.join(project, 'app.mjs'), ...files);
    for (const file of files) await expectToRun(process.execPath, file);
  });
});

describe('@vercel/nft, which Next.js and others trace with', () => {
  const SCRIPT = `
    const fs = require('node:fs');
    const path = require('node:path');
    const [base, output] = process.argv.slice(1);
    require(${JSON.stringify(require.resolve('@vercel/nft'))})
      .nodeFileTrace([path.join(base, 'app.js')], { base }).then(({ fileList }) => {
        for (const file of fileList) fs.cpSync(path.join(base, file), path.join(output, file));
      });`;

  test('copies the binary of this platform, and WebAssembly', async () => {
    const output = makeOutput('nft');
    await runTool(SCRIPT, project, output);
    expect(fs.readdirSync(output, { recursive: true }).filter(file => file.endsWith('.node')))
      .toHaveLength(1);
    for (const engine of ['native', 'wasm']) {
      const env = { SEKERING_ENGINE: engine };
      expect(await answersOf(process.execPath, [path.join(output, 'app.js')], { env }))
        .toEqual([engine, ...ANSWERS]);
    }
  });
});
