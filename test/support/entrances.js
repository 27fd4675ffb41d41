'use strict';

// Every function of the package that takes arguments, and every place where it takes one of our
// objects. They are read from the type declarations, which a test compares with the exports.

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
  /** The same functions with the names of their parameters, and those of the objects' members. */
  functions = new Map();

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
      signature.getParameters().forEach((parameter, i) => {
        const place = parameter.valueDeclaration;
        if (place === undefined) return;
        const type = this.#checker.getTypeOfSymbolAtLocation(parameter, place);
        if (this.#isObjectOfOurs(type)) this.found.add(`${name}(${parameter.name})`);
        if (!this.functions.has(name)) this.functions.set(name, []);
        const known = (this.functions.get(name)[i] ??=
          { takesFunction: false, members: new Map() });
        known.takesFunction ||= isFunction(type);
        for (const [member, is] of this.#membersOf(type, place)) known.members.set(member, is);
      });
      this.visit(`${name}()`, signature.getReturnType());
    }
  }

  /** The members of an object of ours, and whether they may be functions. */
  #membersOf (type, place) {
    if (type.isTypeParameter()) {
      const constraint = this.#checker.getBaseConstraintOfType(type);
      return constraint === undefined ? [] : this.#membersOf(constraint, place);
    }
    if (type.isUnion()) return type.types.flatMap(part => this.#membersOf(part, place));
    if (!this.#isObjectOfOurs(type)) return [];
    return type.getProperties().map(property => [property.name,
      isFunction(this.#checker.getTypeOfSymbolAtLocation(property, place))]);
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

function isFunction (type) {
  if (type.isUnion()) return type.types.some(isFunction);
  return type.getCallSignatures().length > 0;
}

function isOurs (type) {
  if (!(type.flags & ts.TypeFlags.Object)) return false;
  const declarations = (type.aliasSymbol ?? type.symbol)?.declarations ?? [];
  return declarations.some(node => node.getSourceFile().fileName.startsWith(LIB));
}

/** Walks through everything that the package exports. */
function walkExports () {
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
  return walk;
}

/** @returns {string[]} sorted */
const listEntrances = () => [...walkExports().found].toSorted();

/**
 * The functions by name, with their parameters.
 * @returns {Record<string, { takesFunction: boolean, members: [string, boolean][] }[]>} the members
 *   of an object of ours, and whether they may be functions
 */
const listFunctions = () => Object.fromEntries([...walkExports().functions].toSorted()
  .map(([name, parameters]) => [name, parameters.map(({ takesFunction, members }) =>
    ({ takesFunction, members: [...members] }))]));

module.exports = { listEntrances, listFunctions };
