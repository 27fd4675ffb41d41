'use strict';

// Runs programs of other platforms on Linux x64: those for arm64 in QEMU, those for musl with
// musl's own loader, those for Windows in Wine. Emulation keeps the memory order of the host, so
// nothing that runs here shows anything about that of arm64.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');

const { NODE_OF_WINDOWS, bunOfMusl, nodeOfArm64 } = require('./platforms');
const { findZig, sourcesOf } = require('./prebuild-all');
const { cleanEnv, run } = require('./sandbox');
const { ROOT } = require('./setup');

const QEMU = 'qemu-aarch64-static';
/** Debian's libraries of glibc for arm64. */
const ARM64 = '/usr/aarch64-linux-gnu';
const SOURCES = path.join(__dirname, '..', 'platforms', 'musl');
const GOOGLETEST = '/usr/src/googletest/googletest';
const WINE = '/usr/lib/wine/wine64';
const WINE_SERVER = '/usr/lib/wine/wineserver';

const MUSL = {
  x64: {
    target: 'x86_64-linux-musl', emulator: [],
    libc: '/lib/x86_64-linux-musl/libc.so', gcc: '/usr/lib/gcc/x86_64-linux-gnu/12',
  },
  arm64: {
    target: 'aarch64-linux-musl', emulator: [QEMU],
    libc: '/lib/aarch64-linux-musl/libc.so', gcc: '/usr/lib/gcc-cross/aarch64-linux-gnu/12',
  },
};

/** Runs a program that must succeed; answers what it prints. */
async function must (command, args) {
  const { code, stdout, stderr } = await run(command, args);
  if (code !== 0) throw new Error(`${command} ended with ${code}: ${stderr}`);
  return stdout;
}

/** One file that runs a command: fork() takes no more than that. */
function makeProgram (file, command) {
  fs.writeFileSync(file, `#!/bin/sh\nexec ${command.map(word => `'${word}'`).join(' ')} "$@"\n`,
    { mode: 0o755 });
  return file;
}

// ---- glibc, arm64 ------------------------------------------------------------------------------

/** Node.js for arm64, as a program that runs here. */
function makeNodeOfArm64 (folder, version) {
  return makeProgram(path.join(folder, `node-${version}`),
    [QEMU, '-L', ARM64, nodeOfArm64(version)]);
}

// ---- musl --------------------------------------------------------------------------------------

/** The names of dynamic symbols, of the types that nm has for them. */
async function symbolsOf (file, types) {
  const lines = (await must('nm', ['-D', file])).split('\n');
  return lines.map(line => line.trim().split(/\s+/).slice(-2))
    .filter(([type, name]) => name !== undefined && types.includes(type))
    .map(([, name]) => name.replace(/@.*/, ''));
}

/** What a binary asks its libraries for, with their versions. What may be missing is left out. */
async function importsOf (file) {
  const lines = (await must('nm', ['-D', '--undefined-only', file])).split('\n');
  return lines.map(line => line.trim().split(/\s+/)).filter(([type]) => type === 'U')
    .map(([, name]) => name);
}

/**
 * A program that loads the file it is given. It has the functions of Node-API and libuv that the
 * binary asks for; all else must come from musl.
 */
async function makeLoader (folder, arch, binary) {
  const file = path.join(folder, `load-${arch}`);
  const stubs = path.join(folder, `stubs-${arch}.c`);
  const names = (await symbolsOf(binary, 'U')).filter(name => /^(napi|node_api|uv)_/.test(name));
  fs.writeFileSync(stubs, names.map(name => `void ${name}(void) { __builtin_trap(); }\n`).join(''));
  const sources = [path.join(SOURCES, 'load.c'), stubs];
  await (arch === 'x64' ? must('musl-gcc', ['-rdynamic', ...sources, '-o', file])
    : must(findZig(), ['build-exe', ...sources, '-target', MUSL[arch].target, '-lc', '-dynamic',
      '-rdynamic', `-femit-bin=${file}`]));
  return [...MUSL[arch].emulator, file];
}

/** The core's tests of what needs the system: files in memory, locks, sockets. */
async function makeCoreTests (folder, arch) {
  const file = path.join(folder, `core-${arch}`);
  const tests = path.join(ROOT, 'test', 'native');
  const sources = [
    ...sourcesOf().filter(name => name.startsWith('native/core/')),
    ...fs.readdirSync(tests).filter(name => /^(breaker_shared|doorbell|region|shared)/.test(name))
      .map(name => path.join(tests, name)),
    ...['gtest-all.cc', 'gtest_main.cc'].map(name => path.join(GOOGLETEST, 'src', name)),
  ];
  const includes = ['native', tests, GOOGLETEST, path.join(GOOGLETEST, 'include')];
  await must(findZig(), ['build-exe', '-target', MUSL[arch].target, '-lc++', '-dynamic',
    ...includes.map(name => `-I${name}`), '-cflags', '-std=c++20', '-O1', '--', ...sources,
    `-femit-bin=${file}`]);
  return [...MUSL[arch].emulator, file];
}

/** Bun for musl, as a program that runs here, with a libstdc++ of its own. */
async function makeBunOfMusl (folder, arch) {
  const { target, emulator, libc, gcc } = MUSL[arch];
  const libraries = path.join(folder, `lib-${arch}`);
  fs.mkdirSync(libraries);
  const bun = bunOfMusl(arch);
  const names = (await symbolsOf(bun, 'UBV'))
    .filter(name => /^(_Z|__cxa_|__once_|__dynamic_cast)/.test(name));
  const archives = ['libstdc++_pic.a', 'libgcc_eh.a', 'libgcc.a'];
  await must(findZig(), ['cc', '-target', target, '-fPIC', '-shared', '-nostdlib',
    ...names.map(name => `-Wl,-u,${name}`), path.join(SOURCES, 'glibc.c'),
    ...archives.map(name => path.join(gcc, name)), libc, '-Wl,-soname,libstdc++.so.6',
    '-o', path.join(libraries, 'libstdc++.so.6')]);
  // On Alpine a file says that musl is the C library; here it is a variable of node-gyp-build.
  return makeProgram(path.join(folder, `bun-${arch}`),
    ['env', `LD_LIBRARY_PATH=${libraries}`, 'LIBC=musl', ...emulator, bun]);
}

// ---- macOS -------------------------------------------------------------------------------------

// Of <mach-o/loader.h> and <mach-o/nlist.h>, for 64 bits.
const MACH_HEADER_BYTES = 32;
const LC_SYMTAB = 2;
const NLIST_BYTES = 16;
const N_TYPE = 0x0e;

/** @returns {{ name: string, isUndefined: boolean }[]} the symbols of a Mach-O file */
function symbolsOfMac (file) {
  const bytes = fs.readFileSync(file);
  let at = MACH_HEADER_BYTES;
  while (bytes.readUInt32LE(at) !== LC_SYMTAB) at += bytes.readUInt32LE(at + 4);
  const [first, count, names] = [8, 12, 16].map(offset => bytes.readUInt32LE(at + offset));
  return Array.from({ length: count }, (_, i) => {
    const entry = first + i * NLIST_BYTES;
    const start = names + bytes.readUInt32LE(entry);
    return {
      name: bytes.toString('latin1', start, bytes.indexOf(0, start)),
      isUndefined: (bytes[entry + 4] & N_TYPE) === 0,
    };
  });
}

// ---- Windows -----------------------------------------------------------------------------------

/** Node.js for Windows in a Wine of its own, which is in the folder. */
class Windows {
  #folder;
  #env;
  #runs = 0;

  constructor (folder) {
    this.#folder = folder;
    this.#env = cleanEnv({
      HOME: folder, TMPDIR: folder, WINEPREFIX: path.join(folder, 'wine'),
      WINEDEBUG: '-all',
      // Neither menus on this desktop, nor offers to install .NET and a browser.
      WINEDLLOVERRIDES: 'winemenubuilder.exe,mscoree,mshtml=',
      NODE_SKIP_PLATFORM_CHECK: '1',
    });
  }

  /** Makes the folders of Windows. */
  async start () {
    const { code, stderr } = await run(WINE, ['wineboot', '--init'], { env: this.#env });
    if (code !== 0) throw new Error(`wineboot ended with ${code}: ${stderr}`);
  }

  /** Runs Node.js to its end. Its output goes to files, as Wine has no pipes that it could use. */
  async run (args, env) {
    this.#runs += 1;
    const files = ['out', 'err'].map(name => path.join(this.#folder, `${this.#runs}.${name}`));
    const [stdout, stderr] = files.map(file => fs.openSync(file, 'w'));
    try {
      const child = spawn(WINE, [NODE_OF_WINDOWS, ...args],
        { stdio: ['ignore', stdout, stderr], env: { ...this.#env, ...env } });
      const [code, signal] = await once(child, 'exit');
      const [out, err] = files.map(file => fs.readFileSync(file, 'utf8'));
      return { code: code ?? signal, stdout: out, stderr: err };
    } finally {
      fs.closeSync(stdout);
      fs.closeSync(stderr);
    }
  }

  /** Ends what Wine has started. */
  async end () {
    await run(WINE_SERVER, ['--kill', '--wait'], { env: this.#env });
  }
}

module.exports = {
  Windows, importsOf, makeBunOfMusl, makeCoreTests, makeLoader, makeNodeOfArm64, symbolsOf,
  symbolsOfMac
};
