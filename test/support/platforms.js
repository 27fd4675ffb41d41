'use strict';

// `npm run test:platforms`: the package in other runtimes, in bundles, under other test runners and
// with Prisma, and its binaries for other platforms. The programs come from npm, at the versions of
// test/platforms/package-lock.json; emulators and C libraries come from Debian.
//
//   npm run test:platforms                  all of it
//   npm run test:platforms -- bundlers      only the named test files

const { spawnSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const { ROOT, prepare, run } = require('./setup');

const FOLDER = path.join(ROOT, 'test', 'platforms');
/** Where the runtimes and tools are. */
const TOOLS = path.join(FOLDER, 'node_modules');

/** The program of a version of Node.js, such as '22'. */
const nodeOf = version => path.join(TOOLS, `node-${version}`, 'bin', 'node');
const BUN = path.join(TOOLS, 'bun-linux-x64', 'bin', 'bun');
const DENO = path.join(TOOLS, 'deno-linux-x64', 'deno');
// Programs of other platforms: test/support/emulators.js runs them. npm has no Node.js for musl.
const nodeOfArm64 = version => path.join(TOOLS, `node-arm64-${version}`, 'bin', 'node');
// What Jest finds modules with, and installs for the machine's own architecture only.
const RESOLVER_OF_ARM64 = path.join(TOOLS, 'resolver-arm64', 'resolver.linux-arm64-gnu.node');
const NODE_OF_WINDOWS = path.join(TOOLS, 'node-win-20', 'bin', 'node.exe');
const bunOfMusl = arch => path.join(TOOLS, `bun-linux-${arch}-musl`, 'bin', 'bun');

/** Installs what the lock file of test/platforms says, whatever system it is for. */
function installTools () {
  const lock = path.join(FOLDER, 'package-lock.json');
  const stamp = path.join(TOOLS, '.lock.sha256');
  const digest = createHash('sha256').update(fs.readFileSync(lock)).digest('hex');
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === digest) return;
  run('npm', ['install', '--no-save', '--force', '--ignore-scripts', '--no-audit', '--no-fund',
    '--loglevel=error'],
  { cwd: FOLDER });
  const programs = [DENO, BUN, bunOfMusl('x64'), bunOfMusl('arm64')];
  for (const program of programs) fs.chmodSync(program, 0o755);
  fs.writeFileSync(stamp, digest);
}

function main (names) {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error('The programs of test/platforms are for Linux x64');
  }
  const needsEmulators = names.length === 0 || names.includes('binaries');
  prepare(needsEmulators ? 'emulators' : 'build');
  installTools();
  const results = path.join(ROOT, 'test-results');
  fs.mkdirSync(results, { recursive: true });
  const patterns = names.flatMap(name => ['--testPathPatterns', `test/platforms/${name}`]);
  const jest = path.join(ROOT, 'node_modules', 'jest', 'bin', 'jest.js');
  const { status } = spawnSync(process.execPath, [jest, '--selectProjects', 'platforms',
    ...patterns, '--maxWorkers=2', '--json',
    `--outputFile=${path.join(results, 'platforms.json')}`], { cwd: ROOT, stdio: 'inherit' });
  process.exitCode = status ?? 1;
}

module.exports = {
  BUN, DENO, NODE_OF_WINDOWS, RESOLVER_OF_ARM64, TOOLS, bunOfMusl, nodeOf, nodeOfArm64
};

if (require.main === module) main(process.argv.slice(2));
