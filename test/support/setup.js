'use strict';

// Prepares a checkout: npm packages, Debian packages, the addon. It runs before node_modules exists
// and so needs nothing but Node, does only what is missing or stale, and is fast otherwise.
//
//   node test/support/setup.js [start | test | emulators | bench | build | prebuild]

const { spawnSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const ROOT = path.join(__dirname, '..', '..');
const NATIVE = path.join(ROOT, 'native');
const PREBUILDS = path.join(ROOT, 'prebuilds');
const BINARY = path.join(NATIVE, 'build', 'Release', 'sekering.node');

/** What each step needs from the system: a Debian package and a file that shows it is there. */
const COMPILER = { 'g++': 'g++', make: 'make', python3: 'python3' };
const TESTERS = {
  cmake: 'cmake', 'clang-format': 'clang-format', 'libgtest-dev': '/usr/include/gtest/gtest.h',
  clang: 'clang++', 'libclang-rt-14-dev': '/usr/lib/llvm-14/lib/clang/14.0.6/lib/linux',
  chromium: 'chromium', postfix: '/usr/sbin/postfix',
  'postgresql-15': '/usr/lib/postgresql/15/bin/postgres', pgbouncer: '/usr/sbin/pgbouncer',
  prometheus: 'promtool', systemd: 'systemd-analyze', 'nginx-light': '/usr/sbin/nginx',
  curl: 'curl', openssl: 'openssl',
};
/** Emulators, and the C and C++ libraries of the platforms whose programs run in them. */
const EMULATORS = {
  'qemu-user-static': 'qemu-aarch64-static',
  'libc6-arm64-cross': '/usr/aarch64-linux-gnu/lib/libc.so.6',
  'libstdc++6-arm64-cross': '/usr/aarch64-linux-gnu/lib/libstdc++.so.6',
  'musl-tools': 'musl-gcc', 'musl:arm64': '/lib/ld-musl-aarch64.so.1',
  'libstdc++-12-pic': '/usr/lib/gcc/x86_64-linux-gnu/12/libstdc++_pic.a',
  'libstdc++-12-pic-arm64-cross': '/usr/lib/gcc-cross/aarch64-linux-gnu/12/libstdc++_pic.a',
  googletest: '/usr/src/googletest/googletest/src/gtest-all.cc',
  wine64: '/usr/lib/wine/wine64',
};
const NEEDS = {
  start: COMPILER, bench: COMPILER, build: COMPILER, prebuild: COMPILER,
  test: { ...COMPILER, ...TESTERS }, emulators: { ...COMPILER, ...EMULATORS },
};

function run (command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit', ...options });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with status ${status}`);
}

function isPresent (file) {
  const folders = path.isAbsolute(file) ? [''] : process.env.PATH.split(path.delimiter);
  return folders.some(folder => fs.existsSync(path.join(folder, file)));
}

function installDebianPackages (needs) {
  const missing = Object.keys(needs).filter(name => !isPresent(needs[name]));
  if (missing.length === 0) return;
  const hint = `sekering needs these programs: ${missing.join(', ')} (Debian package names)`;
  if (process.getuid?.() !== 0 || !isPresent('apt-get')) throw new Error(hint);
  console.error(`${hint}; installing`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  // dpkg knows no packages of another architecture until it is told of that.
  for (const name of missing.filter(other => other.includes(':'))) {
    run('dpkg', ['--add-architecture', name.split(':')[1]]);
  }
  run('apt-get', ['update', '-qq'], { env });
  run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...missing], { env });
}

/** Whether node_modules holds what the lock file says, packages of other platforms aside. */
function hasNpmPackages () {
  const read = file => JSON.parse(fs.readFileSync(path.join(ROOT, file), 'utf8')).packages;
  try {
    const installed = read('node_modules/.package-lock.json');
    return Object.entries(read('package-lock.json')).every(([name, { version, optional }]) =>
      name === '' || optional || installed[name]?.version === version);
  } catch {
    return false;
  }
}

function listFiles (folder, skip) {
  return fs.readdirSync(folder, { withFileTypes: true })
    .filter(entry => !skip.includes(entry.name))
    .flatMap(entry => {
      const file = path.join(folder, entry.name);
      return entry.isDirectory() ? listFiles(file, skip) : [file];
    }).sort();
}

/** A digest of everything that the binary is made from. */
function digestSources () {
  const hash = createHash('sha256');
  for (const file of listFiles(NATIVE, ['build'])) {
    hash.update(path.relative(NATIVE, file)).update('\0').update(fs.readFileSync(file));
  }
  const api = require.resolve('node-addon-api/package.json', { paths: [ROOT] });
  return hash.update(fs.readFileSync(api)).update(process.arch).digest('hex');
}

function isFresh (stamp, digest) {
  return fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === digest;
}

/** Headers that came with this Node.js spare node-gyp the download. */
function findHeaders () {
  const prefix = path.resolve(process.execPath, '..', '..');
  return fs.existsSync(path.join(prefix, 'include', 'node', 'uv.h')) ? prefix : undefined;
}

function nodeGypEnv () {
  const env = { ...process.env, JOBS: process.env.JOBS ?? String(os.availableParallelism()) };
  const headers = findHeaders();
  if (headers) env.npm_config_nodedir = headers;
  return env;
}

function nodeGyp (...args) {
  const script = require.resolve('node-gyp/bin/node-gyp.js', { paths: [ROOT] });
  run(process.execPath, [script, ...args, '--loglevel', 'warn'], { env: nodeGypEnv() });
}

/**
 * Builds native/build/Release/sekering.node, and of it what has changed: the old binary stays in
 * place for those who are using it until the new one is linked.
 */
function buildAddon () {
  const stamp = path.join(NATIVE, 'build', 'sources.sha256');
  const digest = digestSources();
  if (fs.existsSync(BINARY) && isFresh(stamp, digest)) return;
  nodeGyp('configure', 'build', '-C', 'native');
  fs.writeFileSync(stamp, digest);
}

/** The name that the loader looks for: with its C library where there may be several. */
function nameOfPrebuild () {
  if (process.platform !== 'linux') return 'sekering.node';
  const { glibcVersionRuntime } = process.report.getReport().header;
  return `sekering.${glibcVersionRuntime ? 'glibc' : 'musl'}.node`;
}

/** Puts the addon, without its symbols, where a package has it: prebuilds/<platform>-<arch>/. */
function buildPrebuild () {
  buildAddon();
  const stamp = path.join(PREBUILDS, '.sources.sha256');
  const digest = digestSources();
  if (isFresh(stamp, digest)) return;
  const folder = path.join(PREBUILDS, `${process.platform}-${process.arch}`);
  fs.mkdirSync(folder, { recursive: true });
  const file = path.join(folder, nameOfPrebuild());
  // Test files that run beside each other may all do this, or be reading the file.
  const temporary = `${file}~${process.pid}`;
  fs.copyFileSync(BINARY, temporary);
  if (process.platform !== 'win32') run('strip', ['-S', '-x', temporary]);
  fs.renameSync(temporary, file);
  fs.writeFileSync(stamp, digest);
}

function prepare (goal) {
  if (!(goal in NEEDS)) throw new Error(`Unknown goal ${goal}: ${Object.keys(NEEDS).join(', ')}`);
  installDebianPackages(NEEDS[goal]);
  if (!hasNpmPackages()) run('npm', ['ci', '--no-audit', '--no-fund']);
  if (goal === 'prebuild') buildPrebuild();
  else buildAddon();
  // Made at the first use, which takes longer than a test may.
  if (goal === 'test') makeEmbeddedDatabase();
}

function makeEmbeddedDatabase () {
  run(process.execPath, ['-e', "require('./lib/store/pglite-template').loadTemplate()"]);
}

module.exports = {
  prepare, buildPrebuild, digestSources, findHeaders, listFiles, run, PREBUILDS, ROOT
};

if (require.main === module) {
  try {
    prepare(process.argv[2] ?? 'start');
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
