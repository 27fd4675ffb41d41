'use strict';

// The hand-written types: they compile for both kinds of modules under both ways to resolve them,
// they say what the consumers in this folder expect, and they name exactly what the package has.

const { spawnSync } = require('node:child_process');
const path = require('node:path');
const ts = require('typescript');

const { ROOT } = require('../support/setup');

jest.setTimeout(120_000);

function run (tool, ...args) {
  const { status, stdout, stderr } = spawnSync(path.join(ROOT, 'node_modules', '.bin', tool), args,
    { cwd: ROOT, encoding: 'utf8' });
  return { status, output: `${stdout}${stderr}`.trim() };
}

test.each(['tsconfig.json', 'tsconfig.node16.json'])('consumers compile with %s', config => {
  expect(run('tsc', '--project', `test/types/${config}`)).toEqual({ status: 0, output: '' });
});

test('publint finds nothing to say', () => {
  const { status, output } = run('publint', 'run', '--strict');
  expect(output).toMatch('All good!');
  expect(status).toBe(0);
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
    const value = require(path.join(ROOT, target.default));
    const names = declaredNames(path.join(ROOT, target.types));
    if (typeof value === 'function') {
      // A drop-in: every declared static is there; others may be inherited or private.
      expect(names.filter(own => !(own in value))).toEqual([]);
    } else {
      expect(names).toEqual(Object.keys(value).toSorted());
    }
  });
});
