'use strict';

// The rules of style that a machine can check. Each test collects every fault before it fails.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const { builtinModules } = require('node:module');
const path = require('node:path');

const { digestWasm } = require('../support/prebuild-all');
const { ROOT } = require('../support/setup');
const { filesOfProject, readSources, cppFunctions } = require('../support/source-files');

const sources = readSources();
const manifest = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8'));
const select = pattern => sources.filter(({ name }) => pattern.test(name));
const without = (files, pattern) => files.filter(({ name }) => !pattern.test(name));

/** Every match of `pattern` in the files, as "name:line found". */
function find (files, pattern) {
  return files.flatMap(({ name, lines }) => lines.flatMap((line, i) =>
    pattern.test(line) ? [`${name}:${i + 1} ${line.trim()}`] : []));
}

describe('directions', () => {
  // Which folders of lib a folder may require from, itself aside. lib/*.js may use them all.
  const below = {
    base: [],
    primitives: ['base'],
    clients: ['base', 'primitives'],
    store: ['base', 'primitives', 'clients'],
    testing: ['base', 'primitives', 'clients'],
    gateway: ['base', 'primitives', 'clients', 'store'],
    http: ['base', 'primitives', 'clients', 'store', 'gateway'],
    cli: ['base', 'primitives', 'clients', 'store', 'gateway', 'http', 'testing', 'index'],
    browser: [],
  };
  const modules = select(/^lib\/.*\.(js|mjs)$/);
  const comment = /^\s*(\/\/|\/\*|\*).*/gm;
  const request = /(?:require(?:\.resolve)?\(|from |import\()['"]([^'"]+)['"]/g;
  const requires = modules.flatMap(({ name, text }) =>
    [...text.replace(comment, '').matchAll(request)].map(([, target]) => ({ name, target })));

  test('every folder of lib has a place in the order', () => {
    const folders = new Set(modules.map(({ name }) => name.split('/')).filter(p => p.length > 2)
      .map(parts => parts[1]));
    expect([...folders].filter(folder => !(folder in below))).toEqual([]);
  });

  test('a module of lib requires nothing above it, and nothing outside lib', () => {
    const faults = requires.filter(({ name, target }) => {
      if (!target.startsWith('.')) return false;
      const [room, from] = path.posix.join(path.posix.dirname(name), target).split('/');
      const own = name.split('/')[1];
      if (room === 'package.json') return false;
      if (room !== 'lib') return true;
      return own in below && from !== own && !below[own].includes(from);
    });
    expect(faults).toEqual([]);
  });

  test('no module of lib requires itself, however long the way', () => {
    const files = new Set(modules.map(({ name }) => name));
    const targetsOf = name => requires.filter(r => r.name === name && r.target.startsWith('.'))
      .map(({ target }) => path.posix.join(path.posix.dirname(name), target))
      .map(file => [file, `${file}.js`, `${file}/index.js`].find(found => files.has(found)))
      .filter(file => file !== undefined);
    const finished = new Set();
    const circles = [];
    const visit = (name, way) => {
      if (way.includes(name)) circles.push([...way.slice(way.indexOf(name)), name].join(' > '));
      else if (!finished.has(name)) targetsOf(name).forEach(file => visit(file, [...way, name]));
      finished.add(name);
    };
    for (const name of files) visit(name, []);
    expect(circles).toEqual([]);
  });

  test('every folder of lib says in a README what lives there', () => {
    const folders = Object.keys(below).map(folder => `lib/${folder}/README.md`);
    expect(folders.filter(file => !fs.existsSync(path.join(ROOT, file)))).toEqual([]);
  });

  test('HACKING and the READMEs of folders name files that exist', () => {
    const texts = ['HACKING.md', ...Object.keys(below).map(folder => `lib/${folder}/README.md`)];
    const faults = texts.flatMap(name => {
      const text = fs.readFileSync(path.join(ROOT, name), 'utf8');
      const paths = [...text.matchAll(/`((?:[a-z-]+\/)*[\w.-]+\.(?:js|cc|h|sql|toml))`/g)]
        .map(([, file]) => file);
      return paths.filter(file => !sources.some(source => `/${source.name}`.endsWith(`/${file}`)))
        .map(file => `${name}: ${file}`);
    });
    expect(faults).toEqual([]);
  });

  test('a module of lib requires only Node.js itself and declared packages', () => {
    const declared = { ...manifest.dependencies, ...manifest.peerDependencies };
    const faults = requires.filter(({ target }) => {
      if (target.startsWith('.')) return false;
      if (target.startsWith('node:')) return !builtinModules.includes(target.slice(5));
      const name = /^(@[^/]+\/)?[^/]+/.exec(target)[0];
      return !(name in declared);
    });
    expect(faults).toEqual([]);
  });

  test('the core includes only itself and the standard library', () => {
    const core = select(/^native\/core\/.*\.(cc|h)$/);
    expect(core.length).toBeGreaterThan(0);
    expect(find(core, /#include "(?!core\/)/)).toEqual([]);
    expect(find(core, /#include <(napi|node|js_native|uv|v8)/)).toEqual([]);
  });

  // The rest of the core runs without an operating system, in WebAssembly for one.
  test('only regions and their bells use files, sockets and what includes them', () => {
    const core = select(/^native\/core\/.*\.(cc|h)$/);
    const system = /^native\/core\/(region_file|region_locks|doorbell|host|windows_user)[._]/;
    const ofRegions =
      /^native\/core\/(region|region_(file|layout)|shared_regions|doorbell|host|windows_user)[._]/;
    expect(find(without(core, system), /#include <((sys|linux)\/|\w+\.h>|cerrno)/)).toEqual([]);
    expect(find(without(core, ofRegions),
      /#include (<cstdio>|"core\/(region|shared_regions|doorbell|host|windows))/)).toEqual([]);
  });

  // The explorer (test/native/support/explorer.h) knows these two orders, and no weak stores.
  test('words that are shared are accessed in one order, or a comment says why not', () => {
    const core = select(/^native\/core\/.*\.(cc|h)$/);
    expect(find(core, /memory_order_(acquire|release|acq_rel|consume)|atomic_thread_fence/))
      .toEqual([]);
    expect(find(without(core, /\/cell\.h$/), /std::atomic|\bvolatile\b/)).toEqual([]);
    const unexplained = without(core, /\/cell\.h$/).flatMap(({ name, text }) => {
      const lines = text.split('\n');
      return lines.flatMap((line, at) => {
        const before = lines.slice(Math.max(0, at - 12), at).join('\n');
        const reason = /\/\/.*\brelaxed\b/i.test(before.slice(before.lastIndexOf('\n}') + 1));
        if (reason || !line.includes('memory_order_relaxed')) return [];
        return [`${name}:${at + 1}`];
      });
    });
    expect(unexplained).toEqual([]);
  });

  test('the module of WebAssembly includes the core without those', () => {
    const faults =
      /#include (<(napi|node|uv|sys)|"(?!core\/)|"core\/(region|shared_r|doorbell|host))/;
    expect(find(select(/^native\/wasm\//), faults)).toEqual([]);
  });

  test('the binding includes the core, Node-API and libuv, and never V8', () => {
    const binding = select(/^native\/binding\/.*\.(cc|h)$/);
    expect(binding.length).toBeGreaterThan(0);
    expect(find(binding, /#include "(?!core\/|binding\/)/)).toEqual([]);
    expect(find(binding, /#include <(node\.h|node_|v8)/)).toEqual([]);
  });
});

describe('sizes', () => {
  // What a test or a tool has left in the folder must not become a part of the project.
  test('no file has more than half a megabyte', () => {
    const large = filesOfProject().filter(file => fs.statSync(file).size > 2 ** 19);
    expect(large.map(file => path.relative(ROOT, file))).toEqual([]);
  });

  test('no line is longer than 100 columns', () => {
    const files = select(/\.(js|mjs|ts|mts|cts|cc|h|gyp|gypi|txt|sql|css)$/);
    expect(find(files, /^.{101}/)).toEqual([]);
  });

  // JavaScript functions are measured by ESLint (max-lines-per-function).
  test('no C++ function is longer than 70 lines', () => {
    const faults = select(/^native\/.*\.(cc|h)$/).flatMap(({ name, text }) =>
      cppFunctions(text).filter(({ length }) => length > 70)
        .map(({ line, length }) => `${name}:${line}: ${length}`));
    expect(faults).toEqual([]);
  });

  // CMake compiles several of them as one file, and which ones changes when a file is added.
  test('no two files of the tests of the core use a name of their own for two things', () => {
    const files = select(/^test\/native\/(?!model_)\w+\.cc$/);
    const type = /^(?:class|struct|enum class|using) (\w+)/;
    const other = /^\w[\w:<>,&* ]*[ &*](\w+)(?=[({[;]| [={])/;
    const skipped = /^(TEST|using namespace|namespace|struct|class)\b/;
    const users = new Map();
    for (const { name: file, text } of files) {
      const own = new Set(text.split('\n').map(line => type.exec(line)?.[1] ??
        (skipped.test(line) ? undefined : other.exec(line)?.[1])).filter(Boolean));
      for (const each of own) users.set(each, [...users.get(each) ?? [], path.basename(file)]);
    }
    expect(users.size).toBeGreaterThan(100);
    expect([...users].filter(([, list]) => list.length > 1)).toEqual([]);
  });

  test('the length of a C++ function is found', () => {
    const text = ['namespace a {', 'class B {', '  int C(int d) const {', '    if (d) {',
      '      return 1;', '    }', '    return "{"[0];', '  }', '};', 'B E() { return {}; }', '}'];
    expect(cppFunctions(text.join('\n')))
      .toEqual([{ line: 3, length: 6 }, { line: 10, length: 1 }]);
  });
});

describe('the C++ sources', () => {
  const list = fs.readFileSync(path.join(ROOT, 'native', 'addon.gypi'), 'utf8');
  const listed = [...list.matchAll(/'([a-z]+\/[^']+)'/g)].map(([, file]) => `native/${file}`);
  const present = select(/^native\/(core|binding)\/.*\.cc$/).map(({ name }) => name);

  test('are those that addon.gypi lists', () => {
    expect(listed.toSorted()).toEqual(present.toSorted());
  });

  test('are those that the module of WebAssembly was made from', () => {
    // If not: npm run prebuild:all -- wasm
    expect(require('../../lib/base/wasm-core').digest).toBe(digestWasm());
  });

  test('are linked with the same options by node-gyp and CMake', () => {
    const [gyp, cmake] = ['native/binding.gyp', 'CMakeLists.txt'].map(name =>
      fs.readFileSync(path.join(ROOT, name), 'utf8').match(/-Wl,[\w,=-]+/g));
    expect(gyp).toEqual(['-Wl,-z,nodelete', '-Wl,-z,now']);
    expect(cmake).toEqual(gyp);
  });

  test('have a header each, and those of the core a test', () => {
    const names = new Set(sources.map(({ name }) => name));
    // One header is for the files of all systems.
    const subjects = present.map(name => name.replace(/_(posix|windows|flock|ofd)\.cc$/, '.cc'));
    const headers = subjects.map(name => name.replace(/cc$/, 'h'));
    const tests = subjects.filter(name => name.startsWith('native/core/'))
      .map(name => `test/native/${path.basename(name, '.cc')}_test.cc`);
    const exempt = [
      'native/binding/addon.h', // The entry point, which nothing includes.
      // Tests of regions show what these do; Windows is tried in Wine.
      'test/native/region_locks_test.cc', 'test/native/windows_user_test.cc',
    ];
    expect([...headers, ...tests].filter(name => !names.has(name) && !exempt.includes(name)))
      .toEqual([]);
  });

  test('have snake_case names, and those of JavaScript kebab-case ones', () => {
    const names = files => files.map(({ name }) => name);
    const cpp = names(select(/\.(cc|h)$/));
    expect(cpp.filter(name => !/^[a-z0-9_/]+\.(cc|h)$/.test(name))).toEqual([]);
    const javascript = names(select(/^(lib|test)\/.*\.js$/));
    expect(javascript.filter(name => !/^[a-z0-9/-]+(\.test)?\.js$/.test(name))).toEqual([]);
  });
});

describe('the package', () => {
  test('runs nothing when it is installed', () => {
    const hooks = ['preinstall', 'install', 'postinstall', 'prepare', 'prepublish', 'preprepare',
      'postprepare'];
    expect(Object.keys(manifest.scripts).filter(name => hooks.includes(name))).toEqual([]);
    expect(manifest.gypfile).toBe(false);
    // A binding.gyp at the package's root would be built at every installation.
    expect(manifest.files).not.toContain('binding.gyp');
  });

  test('holds these files and no others', () => {
    const [{ files }] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json'],
      { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
    const allowed = [
      /^(package\.json|LICENSE|[A-Z-]+\.md|docs\/[a-z-]+\.md|test\/bench\/[A-Z-]+\.md)$/,
      /^docs\/pictures\/[a-z\d-]+\.webp$/,
      /^(examples\/[a-z-]+\.(m?js|prisma|toml)|deploy\/[\w.-]+)$/,
      /^lib\/(browser\/package\.json|cli\/sekering\.toml)$/,
      /^lib\/.+\.(js|mjs|d\.ts|d\.mts|sql|html|css|svg)$/,
      /^native\/(core|binding)\/[a-z0-9_]+\.(cc|h)$/,
      /^native\/(addon\.gypi|binding\.gyp)$/,
      /^prebuilds\/[a-z0-9]+-[a-z0-9]+\/sekering(\.[a-z0-9]+)*\.node$/,
    ];
    const names = files.map(file => file.path);
    expect(names.filter(name => !allowed.some(pattern => pattern.test(name)))).toEqual([]);
    for (const name of ['package.json', 'LICENSE', 'SECURITY.md', 'docs/security.md',
      'deploy/Dockerfile', 'lib/index.js', 'native/binding.gyp', 'native/addon.gypi',
      'native/core/units.h', 'native/binding/addon.cc']) {
      expect(names).toContain(name);
    }
  });

  test('exports only files that exist, each with its types', () => {
    const targets = Object.entries(manifest.exports)
      .flatMap(([name, target]) => name === './package.json' ? [target] : Object.entries(target));
    const faults = targets.flatMap(target => {
      if (typeof target === 'string') return target === './package.json' ? [] : [target];
      const [condition, file] = target;
      const fits = condition === 'types' ? /\.d\.ts$/ : /\.js$/;
      return fits.test(file) && fs.existsSync(path.join(ROOT, file)) ? [] : [file];
    });
    expect(faults).toEqual([]);
    for (const target of Object.values(manifest.exports).filter(t => typeof t === 'object')) {
      expect(Object.keys(target)).toEqual(['types', 'default']);
    }
  });

  test('has a lock file without download addresses', () => {
    const { packages } = JSON.parse(fs.readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8'));
    const faults = Object.entries(packages).filter(([, entry]) => entry.resolved);
    expect(faults).toEqual([]);
    // npm writes an incomplete file when the registry lacks packages of other platforms.
    const missing = Object.values(packages).flatMap(entry =>
      Object.keys(entry.optionalDependencies ?? {}))
      .filter(name => !Object.keys(packages).some(file => file.endsWith(`node_modules/${name}`)));
    expect(missing).toEqual([]);
    expect(packages[''].devDependencies).toEqual(manifest.devDependencies);
    expect(packages[''].dependencies).toEqual(manifest.dependencies);
  });
});

describe('words', () => {
  // Put together from parts, so that this file does not find itself.
  const word = (...parts) => new RegExp(`\\b(${parts.map(p => p.join('')).join('|')})\\b`);

  test('no test is singled out or left out', () => {
    const tests = select(/^test\/.*\.test\.js$/);
    expect(find(tests, /\b(describe|test|it)\.only\b|\b[fx](describe|test|it)\(/)).toEqual([]);
  });

  test('nothing is left to do later', () => {
    const text = sources.filter(({ name }) => name !== 'package-lock.json');
    expect(find(text, word(['TO', 'DO'], ['FIX', 'ME'], ['X', 'XX']))).toEqual([]);
  });

  test('no path of one machine, and no host of a package registry', () => {
    const text = sources.filter(({ name }) => name !== 'package-lock.json');
    expect(find(text, /(?<![\w.])\/(work|root|home|Users)\/\w/)).toEqual([]);
    expect(find(text, word(['npmjs', '\\.'], ['deb', '\\.debian'], ['registry', '\\.npm'])))
      .toEqual([]);
  });
});
