'use strict';

// The hand-written types: they compile for both kinds of modules under both ways to resolve them,
// they say what the consumers in this folder expect, and they name exactly what the package has.

const { spawnSync } = require('node:child_process');
const { EventEmitter } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const ts = require('typescript');

const sekering = require('../..');
const { operation } = require('../../lib/primitives/operation');
const { ROOT } = require('../support/setup');

const { CircuitBreaker } = sekering;

function run (tool, ...args) {
  const { status, stdout, stderr } = spawnSync(path.join(ROOT, 'node_modules', '.bin', tool), args,
    { cwd: ROOT, encoding: 'utf8' });
  return { status, output: `${stdout}${stderr}`.trim() };
}

test.each(['tsconfig.json', 'tsconfig.node16.json'])('consumers compile with %s', config => {
  expect(run('tsc', '--project', `test/types/${config}`)).toEqual({ status: 0, output: '' });
});

// Many programs still resolve modules as Node.js did before packages had exports.
test('a program compiles with the old resolution of modules', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-types-'));
  try {
    const modules = path.join(folder, 'node_modules');
    fs.mkdirSync(modules);
    fs.symlinkSync(ROOT, path.join(modules, 'sekering'));
    fs.symlinkSync(path.join(ROOT, 'node_modules', '@types'), path.join(modules, '@types'));
    fs.writeFileSync(path.join(folder, 'program.ts'), OLD_PROGRAM);
    const flags = ['--module', 'commonjs', '--moduleResolution', 'node10', '--strict', '--noEmit',
      '--target', 'es2022', '--types', 'node', '--experimentalDecorators'];
    const file = path.join(folder, 'program.ts');
    expect(run('tsc', ...flags, file)).toEqual({ status: 0, output: '' });
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});

const OLD_PROGRAM = `
  import * as CircuitBreaker from 'sekering/opossum';
  import Status = require('sekering/opossum/lib/status');
  import Semaphore = require('sekering/opossum/lib/semaphore');
  import MemoryCache = require('sekering/opossum/lib/cache');
  import retry = require('sekering/async-retry');
  import { circuitBreaker, retry as retries } from 'sekering/decorators';
  import { operation } from 'sekering/retry';
  import { useVirtualClock } from 'sekering/testing';
  import { policy } from 'sekering';
  const breaker = new CircuitBreaker(async (n: number) => n, { cacheTransport: new MemoryCache() });
  const status: Status = breaker.status;
  const fired: Promise<number> = retry(() => breaker.fire(1));
  class Films {
    @retries({ retries: 2 }) @circuitBreaker({ timeout: 1000 })
    async load (id: number): Promise<number> { return id; }
    @circuitBreaker() static async list (): Promise<string[]> { return []; }
    // @ts-expect-error a method that returns no promise would return one
    @circuitBreaker() title (): string { return ''; }
  }
  export { Films, status, fired, operation, useVirtualClock, policy, Semaphore };
`;

test('publint finds nothing to say', () => {
  const { status, output } = run('publint', 'run', '--strict');
  expect(output).toMatch('All good!');
  expect(status).toBe(0);
});

test('types and modules are resolved alike by every kind of program', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-types-'));
  try {
    const packed = spawnSync('npm', ['pack', '--json', '--pack-destination', folder],
      { cwd: ROOT, encoding: 'utf8' });
    const [{ filename }] = JSON.parse(packed.stdout);
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', `
      import { readFileSync } from 'node:fs';
      import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
      const bytes = new Uint8Array(readFileSync(process.argv[1]));
      const { problems } = await checkPackage(createPackageFromTarballData(bytes));
      console.log(JSON.stringify(problems));
    `, path.join(folder, filename)], { cwd: ROOT, encoding: 'utf8' });
    expect(stderr).toBe('');
    // The part for pages is an ES module and nothing else.
    expect(JSON.parse(stdout)).toEqual([
      { kind: 'CJSResolvesToESM', entrypoint: './browser', resolutionKind: 'node16-cjs' },
    ]);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});

test('the old resolution of modules finds what exports names', () => {
  const { exports: entries, typesVersions } = require('../../package.json');
  const subpaths = Object.entries(entries).filter(([name, { types }]) => name !== '.' && types);
  expect(typesVersions['*'])
    .toEqual(Object.fromEntries(subpaths.map(([name, { types }]) => [name.slice(2), [types]])));
});

/** What a module exports. Jest cannot load an ES module: of that, the names. */
function load (file) {
  if (!file.includes('/browser/')) return require(file);
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e',
    `import * as all from ${JSON.stringify(file)}; console.log(Object.keys(all).join())`],
  { encoding: 'utf8' });
  return Object.fromEntries(stdout.trim().split(',').map(name => [name, true]));
}

describe('the text that an editor shows', () => {
  const entries = Object.values(require('../../package.json').exports).filter(({ types }) => types);
  const program = ts.createProgram(entries.map(({ types }) => path.join(ROOT, types)),
    { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext });
  const checker = program.getTypeChecker();
  const isMember = node => ts.isPropertySignature(node) || ts.isPropertyDeclaration(node) ||
    ts.isMethodSignature(node) || ts.isMethodDeclaration(node) || ts.isGetAccessor(node);

  /** Members without a text. Those that share a line with others are part of these. */
  function silentMembers (file) {
    const found = [];
    const visit = node => {
      const { line, character } = file.getLineAndCharacterOfPosition(node.getStart());
      const begins = file.text.split('\n')[line].slice(0, character).trim() === '';
      if (isMember(node) && begins) {
        const symbol = checker.getSymbolAtLocation(node.name);
        const isSaid = symbol === undefined || symbol.getDocumentationComment(checker).length > 0 ||
          symbol.getJsDocTags(checker).length > 0;
        if (!isSaid) found.push(`${line + 1} ${node.name.getText()}`);
      }
      ts.forEachChild(node, visit);
    };
    visit(file);
    return found;
  }

  // What a number is of, as its text or its name says.
  const UNIT = new RegExp('\\b(ms|bytes?|seconds?|minutes?|hours?|days?|characters|percentage|' +
    'share|attempts?|retries|calls?|failures|probes|buckets|messages|mails|rows|requests|' +
    'breakers|connections|tokens|keys|copies|readers|entries|instances|orders|times|port|' +
    'multiplied|rupiah|HTTP status|number|how many|so many)\\b|%', 'i');

  /** Whether a type is made of booleans, numbers and fixed texts, and whether of numbers. */
  function kindsOf ({ type }) {
    const kinds = (ts.isUnionTypeNode(type) ? type.types : [type])
      .filter(({ kind }) => kind !== ts.SyntaxKind.UndefinedKeyword);
    const isNumber = ({ kind }) => kind === ts.SyntaxKind.NumberKeyword;
    const isPlain = part => isNumber(part) || part.kind === ts.SyntaxKind.BooleanKeyword ||
      ts.isLiteralTypeNode(part);
    return { isPlain: kinds.every(isPlain), hasNumber: kinds.some(isNumber) };
  }

  /** Options whose text tells no default, or no unit. */
  function vagueOptions (file) {
    const found = [];
    const visit = (node, owner) => {
      const isNamed = ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node);
      const within = isNamed ? node.name.text : owner;
      if (/(Options|Config)$/.test(within) && ts.isPropertySignature(node) && node.questionToken) {
        const text = ts.displayPartsToString(
          checker.getSymbolAtLocation(node.name).getDocumentationComment(checker));
        const { isPlain, hasNumber } = kindsOf(node);
        const name = node.name.getText();
        const words = `${text} ${name.replace(/[A-Z]/g, ' $&')}`;
        const faults = [
          isPlain && !/default|without/i.test(text) && 'default',
          hasNumber && !UNIT.test(words) && 'unit',
        ];
        // Members that share a line have one text.
        if (text !== '') {
          found.push(...faults.filter(Boolean).map(fault => `${within}.${name}: ${fault}`));
        }
      }
      ts.forEachChild(node, child => visit(child, within));
    };
    visit(file, '');
    return found;
  }

  const files = program.getSourceFiles()
    .map(file => [path.relative(ROOT, file.fileName), file])
    .filter(([name]) => name.startsWith('lib/'));

  test('there are types to look at', () => expect(files.length).toBeGreaterThan(30));

  test.each(files)('%s', (_, file) => {
    expect(silentMembers(file)).toEqual([]);
    expect(vagueOptions(file)).toEqual([]);
  });

  test('values have one, too', () => {
    const file = files.find(([name]) => name === path.join('lib', 'primitives', 'presets.d.ts'))[1];
    const values = checker.getExportsOfModule(checker.getSymbolAtLocation(file))
      .filter(({ flags }) => flags & ts.SymbolFlags.Value);
    const names = values.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(['presets', 'profiles', 'retryPresets']));
    const isSilent = symbol => symbol.getDocumentationComment(checker).length === 0 &&
      symbol.getJsDocTags(checker).length === 0;
    expect(values.filter(isSilent).map(({ name }) => name)).toEqual([]);
  });
});

describe('the declared values are those that exist', () => {
  const manifest = require('../../package.json');
  const entries = Object.entries(manifest.exports).filter(([, target]) => target.types);
  const program = ts.createProgram(
    entries.map(([, target]) => path.join(ROOT, target.types)),
    { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext });
  const checker = program.getTypeChecker();

  /** The names that a module declares as values; for `export =` those of the class or function. */
  function declaredNames (file) {
    const module = checker.getSymbolAtLocation(program.getSourceFile(file));
    return checker.getExportsOfModule(module)
      .filter(symbol => {
        const target = symbol.flags & ts.SymbolFlags.Alias
          ? checker.getAliasedSymbol(symbol)
          : symbol;
        return target.flags & ts.SymbolFlags.Value;
      })
      .map(symbol => symbol.name)
      .filter(name => name !== 'prototype' && name !== 'export=')
      .toSorted();
  }

  test.each(entries)('%s', (name, target) => {
    const value = load(path.join(ROOT, target.default));
    const names = declaredNames(path.join(ROOT, target.types));
    if (typeof value === 'function') {
      // A drop-in: every declared static is there; others may be inherited or private.
      expect(names.filter(own => !(own in value))).toEqual([]);
    } else {
      expect(names).toEqual(Object.keys(value).toSorted());
    }
  });

  const members = [
    ['primitives/breaker', 'export=', () => new CircuitBreaker(async () => {})],
    ['primitives/status', 'export=', () => new CircuitBreaker.Status()],
    ['primitives/memory-cache', 'export=', () => new CircuitBreaker.MemoryCache()],
    ['primitives/group', 'BreakerGroup', () => new sekering.BreakerGroup(async () => {})],
    ['primitives/limits', 'Bulkhead', () => new sekering.Bulkhead({ maxConcurrent: 1 })],
    ['primitives/limits', 'AdaptiveLimiter', () => new sekering.AdaptiveLimiter()],
    ['primitives/limits', 'RateLimiter', () =>
      new sekering.RateLimiter({ limit: 1, interval: 1 })],
    ['primitives/limits', 'RetryBudget', () => new sekering.RetryBudget()],
    ['primitives/policy', 'Policy', () => sekering.policy({ timeout: 1 })],
    ['primitives/stale-cache', 'StaleCache', () => sekering.staleCache()],
    ['primitives/load-shedder', 'LoadShedder', () => new sekering.LoadShedder()],
    ['primitives/hedge', 'Hedge', () => sekering.hedge({ safeToRepeat: true, delay: 1 })],
    ['primitives/chaos', 'Chaos',
      () => sekering.chaos({ faults: [{ rate: 0, latency: 1 }] })],
    ['primitives/limits', 'Timeout', () => new sekering.Timeout(1)],
    ['primitives/operation', 'RetryOperation', () => operation()],
  ];

  /** The public names of an object, its own and those of its classes up to Node.js's. */
  function publicNames (object) {
    const names = new Set(Object.keys(object));
    let prototype = Object.getPrototypeOf(object);
    while (prototype !== Object.prototype && prototype !== EventEmitter.prototype) {
      for (const name of Object.getOwnPropertyNames(prototype)) names.add(name);
      prototype = Object.getPrototypeOf(prototype);
    }
    const inherited = name => name in EventEmitter.prototype || name === 'constructor';
    const internal = name => name.startsWith('_');
    return [...names].filter(name => !internal(name) && !inherited(name)).toSorted();
  }

  test.each(members)('members: %s %s', (file, name, make) => {
    const module = checker.getSymbolAtLocation(
      program.getSourceFile(path.join(ROOT, 'lib', `${file}.d.ts`)));
    let symbol = module.exports.get(name);
    if (symbol.flags & ts.SymbolFlags.Alias) symbol = checker.getAliasedSymbol(symbol);
    const declared = checker.getDeclaredTypeOfSymbol(symbol).getProperties()
      .map(property => property.name)
      .filter(property => !property.startsWith('__') && !(property in EventEmitter.prototype));
    const object = make();
    expect(declared.filter(property => !(property in object))).toEqual([]);
    expect(publicNames(object).filter(property => !declared.includes(property))).toEqual([]);
  });
});
