'use strict';

// Where the breaker and its parts are found: what a program requires in place of opossum's modules.

const sekering = require('../../lib');
const { exports: paths } = require('../../package.json');

const load = subpath => require(`../../${paths[subpath].default}`);

const action = async x => x;

describe('sekering/opossum', () => {
  const CircuitBreaker = load('./opossum');

  test('is the class of sekering to instanceof, and in its statics', () => {
    const [dropIn, own] = [CircuitBreaker, sekering.CircuitBreaker].map(Class => new Class(action));
    for (const breaker of [dropIn, own]) {
      expect(breaker).toBeInstanceOf(sekering.CircuitBreaker);
      expect(breaker).toBeInstanceOf(CircuitBreaker);
      expect(sekering.breakers()).toContain(breaker);
    }
    expect({}).not.toBeInstanceOf(CircuitBreaker);
    expect(CircuitBreaker.name).toBe('CircuitBreaker');
    expect(CircuitBreaker.CircuitBreaker).toBe(CircuitBreaker);
    expect(CircuitBreaker.breakers).toBe(sekering.breakers);
    // TypeScript's import * copies what is the class's own.
    for (const name of ['isOurError', 'newStatus', 'Status', 'breakers', 'CircuitBreaker']) {
      expect(Object.getOwnPropertyNames(CircuitBreaker)).toContain(name);
    }
    expect(CircuitBreaker.isOurError).toBe(sekering.CircuitBreaker.isOurError);
    for (const name of ['Status', 'Semaphore', 'MemoryCache', 'newStatus']) {
      expect(CircuitBreaker[name]).toBe(sekering.CircuitBreaker[name]);
    }
    for (const breaker of [dropIn, own]) breaker.shutdown();
  });

  test('a class that extends it tells its own breakers apart', () => {
    class Own extends CircuitBreaker {}
    const [own, other] = [new Own(action), new CircuitBreaker(action)];
    expect(own).toBeInstanceOf(Own);
    expect(own).toBeInstanceOf(CircuitBreaker);
    expect(other).not.toBeInstanceOf(Own);
    own.shutdown();
    other.shutdown();
  });

  test('ignores unknown options, and shows them; sekering rejects them', async () => {
    const options = { timeOut: 5, timeout: 1000 };
    const breaker = new CircuitBreaker(action, options);
    expect(breaker.options).toMatchObject(options);
    expect(await breaker.fire(1)).toBe(1);
    breaker.shutdown();
    expect(() => new sekering.CircuitBreaker(action, options)).toThrow(expect.objectContaining({
      code: 'ERR_INVALID_OPTION', option: 'timeOut',
      message: expect.stringContaining('Did you mean timeout?')
    }));
  });

  test('an option named __proto__ is ignored', () => {
    const options = JSON.parse('{ "__proto__": { "timeout": 1 } }');
    const breaker = new CircuitBreaker(action, options);
    expect(breaker.options.timeout).toBe(10000);
    breaker.shutdown();
  });

  test('a cache that is turned on later lasts while other options are assigned', async () => {
    let calls = 0;
    const breaker = new CircuitBreaker(async () => ++calls);
    breaker.options.cache = true;
    expect(await breaker.fire(1)).toBe(1);
    breaker.options.timeout = 20;
    breaker.options.cacheTTL = 1000;
    expect(await breaker.fire(1)).toBe(1);
    breaker.options.cache = false;
    expect(await breaker.fire(1)).toBe(2);
    breaker.options.cache = true;
    expect(await breaker.fire(1)).toBe(1);
    breaker.shutdown();
  });

  test('a value that cannot be read is rejected, and changes nothing', () => {
    const breaker = new CircuitBreaker(action, { timeout: 5 });
    expect(() => { breaker.options.timeout = Symbol('hostile'); }).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'timeout' }));
    expect(breaker.options.timeout).toBe(5);
    breaker.shutdown();
  });

  test('an own emit that throws keeps neither the fallback nor the reset from a call', async () => {
    const warned = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    try {
      const breaker = new CircuitBreaker(async () => { throw new Error('failed'); },
        { resetTimeout: 1 }).fallback(() => 'instead');
      const half = new Promise(resolve => {
        breaker.emit = event => {
          if (event === 'halfOpen') resolve();
          throw new Error('of emit');
        };
      });
      expect(await breaker.fire()).toBe('instead');
      expect(breaker.opened).toBe(true);
      await half;
      expect(breaker.halfOpen).toBe(true);
      expect(warned).toHaveBeenCalledWith(expect.stringContaining("emit('open') failed"),
        expect.anything());
      breaker.shutdown();
    } finally {
      warned.mockRestore();
    }
  });

  test('options of sekering alone do nothing', async () => {
    const breaker = new CircuitBreaker(async () => { throw new Error('failed'); }, {
      errorThresholdPercentage: 100, consecutiveFailures: 1, fallback: () => 'unused',
      scope: 'host', preset: 'no preset', resetTimeout: 100,
    });
    await expect(breaker.fire()).rejects.toThrow('failed');
    expect(breaker.closed).toBe(true);
    breaker.shutdown();
  });
});

test.each([
  [{}], [{ cache: true, coalesce: true, resetTimeout: { initial: 5 }, capacity: 3 }],
  [{ preset: 'midtrans', consecutiveFailures: 2, capacity: Infinity }],
])('the options of one breaker make another: %j', options => {
  const { CircuitBreaker } = sekering;
  const one = new CircuitBreaker(action, options);
  const { cacheTransport, ...shown } = one.options;
  const other = new CircuitBreaker(action, one.options);
  expect(other.options).toEqual({ ...shown, ...cacheTransport && { cacheTransport } });
  one.shutdown();
  other.shutdown();
});

test.each([
  ['status', 'Status'], ['semaphore', 'Semaphore'], ['cache', 'MemoryCache'],
])('sekering/opossum/lib/%s is the class’s %s, with and without .js', (file, name) => {
  expect(load(`./opossum/lib/${file}`)).toBe(sekering.CircuitBreaker[name]);
  expect(load(`./opossum/lib/${file}.js`)).toBe(sekering.CircuitBreaker[name]);
});

test('sekering/opossum/lib/circuit is the class, with and without .js', () => {
  expect(load('./opossum/lib/circuit')).toBe(load('./opossum'));
  expect(load('./opossum/lib/circuit.js')).toBe(load('./opossum'));
});

test('Status reads its options as opossum does', () => {
  const Status = load('./opossum/lib/status');
  const status = new Status(Object.create({ rollingCountBuckets: 3, rollingCountTimeout: 300 }));
  expect(status.window).toHaveLength(3);
  expect(new Status({ rollingPercentilesEnabled: 1, enableSnapshots: 0 }))
    .toMatchObject({ rollingPercentilesEnabled: true, enableSnapshots: true });
  status.shutdown();
});

test('a resetTimeout may have getters', () => {
  class Growing {
    get initial () { return 100; }
  }
  expect(new sekering.CircuitBreaker(action, { resetTimeout: new Growing() }).options.resetTimeout)
    .toMatchObject({ initial: 100 });
});

test('a breaker made its errors, and nothing else did', async () => {
  const { CircuitBreaker, SekeringError, Timeout } = sekering;
  const late = await new Timeout(1).execute(() => new Promise(() => {})).catch(error => error);
  expect(late).toMatchObject({ code: 'ETIMEDOUT' });
  expect(CircuitBreaker.isOurError(late)).toBe(false);
  const breaker = new CircuitBreaker(action);
  breaker.open();
  const refused = await breaker.fire().catch(error => error);
  expect(CircuitBreaker.isOurError(refused)).toBe(true);
  expect(refused).toBeInstanceOf(SekeringError);
  expect(String(refused)).toBe('Error: Breaker is open');
  breaker.shutdown();
});

test('a breaker uses these classes', () => {
  const { CircuitBreaker } = sekering;
  const breaker = new CircuitBreaker(async () => {}, { cache: true });
  expect(breaker.status).toBeInstanceOf(CircuitBreaker.Status);
  expect(breaker.options.cacheTransport).toBeInstanceOf(CircuitBreaker.MemoryCache);
  breaker.shutdown();
});
