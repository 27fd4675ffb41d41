'use strict';

// Every place where the package takes an object of ours: read from its type declarations, which a
// test compares with the exports.

const path = require('node:path');
const ts = require('typescript');

const { ROOT } = require('./setup');

const LIB = path.join(ROOT, 'lib');

/** Walks from the exports through everything that they return. */
class Walk {
  #checker;
  #seen = new Set();
  /** Names such as `new smtp:SmtpClient(options)` and `Outbox.enqueue(message)`. */
  found = new Set();

  constructor (checker) {
    this.#checker = checker;
  }

  /** An export, a property, or a result. */
  visit (name, type) {
    if (type.isUnion()) {
      for (const part of type.types) this.visit(name, part);
      return;
    }
    if (type.symbol?.name === 'Promise') {
      this.visit(name, this.#checker.getTypeArguments(type)[0]);
      return;
    }
    if (!isOurs(type) || this.#seen.has(type)) return;
    this.#seen.add(type);
    this.#signatures(`new ${name}`, type.getConstructSignatures());
    this.#signatures(name, type.getCallSignatures());
    const owner = type.isClassOrInterface() ? type.symbol.name : name;
    for (const property of type.getProperties()) {
      const place = property.valueDeclaration ?? property.declarations?.[0];
      if (place === undefined) continue;
      this.visit(`${owner}.${property.name}`,
        this.#checker.getTypeOfSymbolAtLocation(property, place));
    }
  }

  #signatures (name, signatures) {
    for (const signature of signatures) {
      for (const parameter of signature.getParameters()) {
        const place = parameter.valueDeclaration;
        if (place === undefined) continue;
        const type = this.#checker.getTypeOfSymbolAtLocation(parameter, place);
        if (this.#isObjectOfOurs(type)) this.found.add(`${name}(${parameter.name})`);
      }
      this.visit(`${name}()`, signature.getReturnType());
    }
  }

  /** Whether the type is described by us as an object with certain properties. */
  #isObjectOfOurs (type) {
    if (type.isTypeParameter()) {
      const constraint = this.#checker.getBaseConstraintOfType(type);
      return constraint !== undefined && this.#isObjectOfOurs(constraint);
    }
    if (type.isUnionOrIntersection()) return type.types.some(part => this.#isObjectOfOurs(part));
    if (!isOurs(type) || type.isClass()) return false;
    if (this.#checker.isArrayType(type) || this.#checker.isTupleType(type)) return false;
    if (type.getCallSignatures().length > 0) return false;
    return type.getProperties().length > 0;
  }
}

function isOurs (type) {
  if (!(type.flags & ts.TypeFlags.Object)) return false;
  const declarations = (type.aliasSymbol ?? type.symbol)?.declarations ?? [];
  return declarations.some(node => node.getSourceFile().fileName.startsWith(LIB));
}

/** @returns {string[]} sorted */
function listEntrances () {
  const { exports: subpaths } = require(path.join(ROOT, 'package.json'));
  const modules = Object.entries(subpaths).filter(([, { types }]) => types !== undefined)
    .map(([subpath, { types }]) => [subpath, path.join(ROOT, types)]);
  const program = ts.createProgram(modules.map(([, file]) => file), {
    module: ts.ModuleKind.Node16, moduleResolution: ts.ModuleResolutionKind.Node16,
    target: ts.ScriptTarget.ES2022, strict: true, skipLibCheck: true,
  });
  const checker = program.getTypeChecker();
  const walk = new Walk(checker);
  for (const [subpath, file] of modules) {
    const source = program.getSourceFile(file);
    const names = checker.getExportsOfModule(checker.getSymbolAtLocation(source));
    for (const name of names) {
      const isAlias = name.flags & ts.SymbolFlags.Alias;
      const symbol = isAlias ? checker.getAliasedSymbol(name) : name;
      if (!(symbol.flags & ts.SymbolFlags.Value)) continue;
      walk.visit(`${subpath.slice(2)}:${name.name}`,
        checker.getTypeOfSymbolAtLocation(symbol, symbol.valueDeclaration ?? source));
    }
  }
  return [...walk.found].toSorted();
}

module.exports = { listEntrances };
