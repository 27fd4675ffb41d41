'use strict';

// Decorators of methods: programs in TypeScript, compiled and run here.

const path = require('node:path');
const ts = require('typescript');
const vm = require('node:vm');

const sekering = require('../..');
const decorators = require('../../lib/primitives/decorators');
const DropIn = require('../../lib/primitives/opossum');

const { breakers, circuitBreakers, getCircuitBreaker } = sekering;
const MODULES = { sekering, 'sekering/decorators': decorators, 'sekering/opossum': DropIn };
const HEAD = "import { circuitBreaker, retry } from 'sekering/decorators';\n" +
  "import { CircuitBreaker, getCircuitBreaker } from 'sekering';\n" +
  "import * as DropIn from 'sekering/opossum';\n";

/** Runs a program; returns its exports. */
function run (program, options = {}) {
  const { outputText } = ts.transpileModule(HEAD + program, {
    fileName: path.join(__dirname, 'program.ts'),
    compilerOptions: {
      module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022, ...options,
    },
  });
  const exports = {};
  vm.runInThisContext(`(function (exports, require) {${outputText}\n})`)(
    exports, name => MODULES[name]);
  return exports;
}

const named = name => breakers().filter(breaker => breaker.name === name);

afterEach(() => {
  for (const breaker of circuitBreakers()) breaker.shutdown();
});

describe('@circuitBreaker', () => {
  test('one breaker for a method of all objects, named after class and method', async () => {
    const { Payments } = run(`
      export class Payments {
        down = false;
        constructor (readonly shop: string) {}
        @circuitBreaker({ consecutiveFailures: 2 })
        async charge (order: string, amount: number) {
          if (this.down) throw new Error('down');
          return [this.shop, order, amount];
        }
      }`);
    const [a, b] = [new Payments('a'), new Payments('b')];
    expect(await a.charge('order-1', 10)).toEqual(['a', 'order-1', 10]);
    expect(await b.charge('order-2', 20)).toEqual(['b', 'order-2', 20]);
    expect([a.charge.name, a.charge.length]).toEqual(['charge', 2]);
    const [breaker, ...others] = named('Payments.charge');
    expect(others).toEqual([]);
    a.down = true;
    await expect(a.charge()).rejects.toThrow('down');
    await expect(a.charge()).rejects.toThrow('down');
    expect(breaker.opened).toBe(true);
    await expect(b.charge()).rejects.toMatchObject({ code: 'EOPENBREAKER' });
  });

  test('an inherited method has the name of the class that defines it', () => {
    const { Base, Left, Right } = run(`
      export class Base { @retry() @circuitBreaker() async load () {} }
      export class Left extends Base {}
      export class Right extends Base {}`);
    expect([new Left(), new Right(), new Base()]).toHaveLength(3);
    expect(named('Base.load')).toHaveLength(1);
    expect([...named('Left.load'), ...named('Right.load')]).toEqual([]);
  });

  test('a method and the one that overrides it have breakers of their own', async () => {
    const { Derived } = run(`
      export class Parent { @circuitBreaker() async load () { return ['parent']; } }
      export class Derived extends Parent {
        @circuitBreaker() async load () { return [...await super.load(), 'derived']; }
      }`);
    expect(await new Derived().load()).toEqual(['parent', 'derived']);
    expect([named('Parent.load').length, named('Derived.load').length]).toEqual([1, 1]);
  });

  test('static and private methods', async () => {
    const { Films, key } = run(`
      export const key = Symbol('key');
      export class Films {
        static base = 'films';
        #count = 0;
        @circuitBreaker() static async list () { return this.base; }
        @circuitBreaker() async #load (id: number) { this.#count += 1; return [id, this.#count]; }
        @circuitBreaker() async [key] () { return 'by symbol'; }
        load (id: number) { return this.#load(id); }
      }`);
    expect(named('Films.list')).toHaveLength(1);
    expect(await Films.list()).toBe('films');
    const films = new Films();
    expect(await films.load(7)).toEqual([7, 1]);
    expect(await films.load(8)).toEqual([8, 2]);
    expect(await films[key]()).toBe('by symbol');
    expect(named('Films.#load')).toHaveLength(1);
    expect(named('Films.Symbol(key)')).toHaveLength(1);
  });

  test('a name is looked up with getCircuitBreaker; a given breaker is used', async () => {
    const { Shop } = run(`
      const own = new CircuitBreaker(async () => {}, { name: 'own', consecutiveFailures: 1 });
      const dropIn = new DropIn(async () => {}, { name: 'drop-in' });
      export class Shop {
        @circuitBreaker(dropIn) async mail () { return 'sent'; }
        @circuitBreaker({ name: 'midtrans', timeout: 1000 }) async charge () {}
        @circuitBreaker(getCircuitBreaker('midtrans')) async refund () {}
        @circuitBreaker(own) async stock () { throw new Error('down'); }
      }`);
    const shop = new Shop();
    await Promise.all([shop.charge(), shop.refund()]);
    expect(getCircuitBreaker('midtrans').stats.successes).toBe(2);
    expect(await shop.mail()).toBe('sent');
    await expect(shop.stock()).rejects.toThrow('down');
    expect(named('own')[0].opened).toBe(true);
    expect(() => run(`
      class Other { @circuitBreaker({ name: 'midtrans', timeout: 2000 }) async charge () {} }`))
      .toThrow('timeout is 1000, not 2000');
  });

  test('a method that is called before any object exists', async () => {
    const { Early } = run('export class Early { @circuitBreaker() async load () { return 1; } }');
    expect(await Early.prototype.load()).toBe(1);
    expect(named('Early.load')).toHaveLength(1);
    const { Loose } = run('export class Loose { @circuitBreaker() async alone () { return 2; } }');
    const { alone } = Loose.prototype;
    expect(await alone()).toBe(2);
    expect(named('alone')).toHaveLength(1);
  });
});

describe('@retry', () => {
  test('calls the method again, with its this and its arguments', async () => {
    const { Site } = run(`
      export class Site {
        attempts = 0;
        @retry({ retries: 2, minTimeout: 1 })
        async load (path: string) {
          this.attempts += 1;
          if (this.attempts < 3) throw new Error('down');
          return path + ' after ' + this.attempts;
        }
      }`);
    const site = new Site();
    expect(await site.load('/a')).toBe('/a after 3');
    expect([site.load.name, site.load.length]).toEqual(['load', 1]);
  });

  test('above a breaker, each attempt counts, and an open one ends it', async () => {
    const { Site } = run(`
      export class Site {
        attempts = 0;
        @retry({ retries: 10, minTimeout: 1 })
        @circuitBreaker({ name: 'site', consecutiveFailures: 3 })
        async load () { this.attempts += 1; throw new Error('down'); }
      }`);
    const site = new Site();
    await expect(site.load()).rejects.toMatchObject({ code: 'EOPENBREAKER' });
    expect(site.attempts).toBe(3);
    expect(getCircuitBreaker('site').stats).toMatchObject({ failures: 3, rejects: 1 });
  });
});

describe('mistakes are reported when the class is defined', () => {
  test.each([
    ['@retry({ tries: 3 })', 'Unknown option tries'],
    ["@retry({ retries: 'many' })", 'retries'],
    ['@circuitBreaker({ tiemout: 3 })', 'Unknown option tiemout. Did you mean timeout?'],
    ["@circuitBreaker({ scope: 'host' })", "Expected 1 to 255 bytes (scope is 'host') for name"],
    ['@circuitBreaker', 'Expected an object for options but received function load'],
    ['@retry', 'Expected an object for retry but received function load'],
  ])('%s', (decorator, message) => {
    expect(() => run(`class Site { ${decorator} async load () {} }`)).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_OPTION', message: expect.stringContaining(message),
      }));
  });

  test.each([
    ['class Site { @retry() get page () { return 1; } }',
      '@retry() is for methods, but it is on a getter'],
    ['class Site { @circuitBreaker() load = async () => {}; }',
      '@circuitBreaker() is for methods, but it is on a field'],
    ['@circuitBreaker() class Site {}', '@circuitBreaker() is for methods, but it is on a class'],
    ['class Site { @retry() async *pages () {} }',
      '@retry() is for methods that return a promise, but pages is a generator'],
  ])('%s', (program, message) => {
    expect(() => run(program)).toThrow(expect.objectContaining({
      code: 'ERR_INVALID_OPTION', option: 'decorator', message,
    }));
  });

  test.each([
    ['class Site { @retry() get page () { return 1; } }', 'a property or accessor'],
    ['class Site { @retry() load = async () => {}; }', 'a property or accessor'],
    ['@retry() class Site {}', 'a class'],
  ])('with experimentalDecorators: %s', (program, found) => {
    expect(() => run(program, { experimentalDecorators: true }))
      .toThrow(`@retry() is for methods, but it is on ${found}`);
  });
});

test('with experimentalDecorators everything is the same', async () => {
  const { Older } = run(`
    export class Older {
      attempts = 0;
      static base = 'films';
      @retry({ retries: 1, minTimeout: 1 })
      @circuitBreaker({ consecutiveFailures: 5 })
      async load (id: number) {
        this.attempts += 1;
        if (this.attempts === 1) throw new Error('down');
        return [id, this.attempts];
      }
      @circuitBreaker() static async list () { return this.base; }
    }`, { experimentalDecorators: true });
  const [one, other] = [new Older(), new Older()];
  expect(await one.load(7)).toEqual([7, 2]);
  expect(await other.load(8)).toEqual([8, 2]);
  expect([one.load.name, one.load.length]).toEqual(['load', 1]);
  expect(Object.keys(Older.prototype)).toEqual([]);
  expect(named('Older.load').map(({ stats }) => stats.fires)).toEqual([4]);
  expect(await Older.list()).toBe('films');
  expect(named('Older.list')).toHaveLength(1);
});
