'use strict';

// Breakers and the life of a process: what keeps it alive, and what must not end it.

const { spawnSync } = require('node:child_process');

const BREAKER = require.resolve('../../lib/primitives/breaker');
const TESTING = require.resolve('../../lib/testing/virtual-clock');

/** Runs a script that has `CircuitBreaker` and `print`; the lines that it printed. */
function run (body) {
  const script = `
    const CircuitBreaker = require(${JSON.stringify(BREAKER)});
    const print = (...args) => console.log(...args);
    const positive = async x => { if (x < 0) throw new Error('negative'); return x; };
    ${body}`;
  const { stdout, stderr, status, signal } = spawnSync(process.execPath, ['-e', script], {
    encoding: 'utf8', timeout: 100_000,
  });
  if (status !== 0) throw new Error(`ended with ${status ?? signal}: ${stderr}`);
  return stdout.split('\n').filter(Boolean);
}

test('breakers and their timers do not keep a process alive', () => {
  expect(run(`
    const breaker = new CircuitBreaker(positive, { allowWarmUp: true, cache: true });
    breaker.status.on('snapshot', () => {});
    breaker.healthCheck(async () => {});
    breaker.fire(-1).catch(() => { breaker.open(); print('opened'); });
  `)).toEqual(['opened']);
});

test('the timeout of a call that has ended does not keep a process alive', () => {
  const start = performance.now();
  expect(run(`
    const breaker = new CircuitBreaker(positive, { timeout: 600000 });
    breaker.fire(1).then(print);
  `)).toEqual(['1']);
  expect(performance.now() - start).toBeLessThan(60_000);
});

test('a call in flight keeps the process alive until it times out', () => {
  expect(run(`
    const breaker = new CircuitBreaker(() => new Promise(() => {}), { timeout: 50 });
    breaker.fire().catch(error => print(error.code));
  `)).toEqual(['ETIMEDOUT']);
});

test('a call with a virtual timeout does not, after the virtual clock is restored', () => {
  expect(run(`
    const { useVirtualClock } = require(${JSON.stringify(TESTING)});
    const clock = useVirtualClock();
    for (const timeout of [60_000, 25 * 3600 * 1000]) {
      new CircuitBreaker(() => new Promise(() => {}), { timeout }).fire();
    }
    clock.restore();
    print('restored');
  `)).toEqual(['restored']);
});

// One process for all of them: whichever ends it, those after it are missing.
const HARMLESS = [
  ['a listener that throws', "b.on('failure', () => { throw new Error('listener'); })"],
  ['a listener that rejects', "b.on('failure', async () => { throw new Error('listener'); })"],
  ['a listener that throws undefined', "b.on('failure', () => { throw undefined; })"],
  ['a fallback that throws', "b.fallback(() => { throw new Error('fallback'); })"],
  ['a fallback that rejects', 'b.fallback(() => Promise.reject())'],
  ['a fallback event whose promise nobody handles',
    "b.fallback(async () => { throw 1; }).on('fallback', () => {})"],
  ['a health check that throws', "b.healthCheck(() => { throw new Error('ill'); })"],
  ['a health check that rejects', 'b.healthCheck(async () => { throw undefined; })'],
  ['a snapshot listener that throws', "b.status.on('snapshot', () => { throw new Error('s'); })"],
];

test('no user callback crashes the process', () => {
  const scripts = HARMLESS.map(([name, prepare]) => `{
    const b = new CircuitBreaker(positive, {
      errorThresholdPercentage: 1, rollingCountTimeout: 20, rollingCountBuckets: 2,
    });
    ${prepare};
    const print = what => said.push(${JSON.stringify(name)} + ': ' + what);
    b.fire(-1).then(() => print('resolved'), () => print('rejected'));
  }`);
  const [text] = run(`
    const said = [];
    ${scripts.join('\n')}
    setTimeout(() => print(JSON.stringify(said)), 60);
  `);
  expect(JSON.parse(text).toSorted()).toEqual(HARMLESS.map(([name, , end = 'rejected']) =>
    `${name}: ${end}`).toSorted());
});

const HANDLED = [
  ['fires that are open and handled', 'b.open(); await b.fire(1).catch(() => {});'],
  ['an open breaker whose refusals are all handled',
    'b.open(); for (let i = 0; i < 100; i++) await b.fire(i).catch(() => {});'],
  ['a coalesced failure, handled by each caller',
    'await Promise.allSettled([b.fire(-1), b.fire(-1)]);'],
  ['a cached success', 'await b.fire(1); await b.fire(1);'],
  ['a failure after the timeout', 'await t.fire().catch(() => {});'],
  ['a failure after the caller gave up',
    'const c = new AbortController(); const p = b.run(() => late(), { signal: c.signal });' +
    'c.abort(); await p.catch(() => {});'],
];

test('a rejection that the caller handles is never reported as unhandled', () => {
  const scripts = HANDLED.map(([name, body]) => `async () => {
    const late = () => new Promise((_, fail) => setTimeout(fail, 30, new Error('late')));
    const b = new CircuitBreaker(positive, {
      cache: true, coalesce: true, errorThresholdPercentage: 100,
    });
    const t = new CircuitBreaker(late, { timeout: 5 });
    current = ${JSON.stringify(name)};
    ${body}
  }`);
  expect(run(`
    let current;
    process.on('unhandledRejection', error => print(current, error));
    (async () => {
      for (const script of [${scripts.join(', ')}]) {
        await script();
        await new Promise(resolve => setTimeout(resolve, 60));
      }
      print('done');
    })();
  `)).toEqual(['done']);
});

test('an unhandled rejection is reported once per call', () => {
  expect(run(`
    process.on('unhandledRejection', error => print(error.message));
    for (const timeout of [false, 1000]) {
      const breaker = new CircuitBreaker(positive, { timeout, errorThresholdPercentage: 100 });
      breaker.fire(-1);
      breaker.open();
      breaker.fire(1);
    }
  `).sort()).toEqual(['Breaker is open', 'Breaker is open', 'negative', 'negative']);
});

test('a thousand unreferenced breakers are garbage-collected', () => {
  const [line] = run(`
    const v8 = require('node:v8');
    v8.setFlagsFromString('--expose-gc');
    const gc = require('node:vm').runInNewContext('gc');
    const { breakers } = CircuitBreaker;
    for (let i = 0; i < 1000; i++) {
      const breaker = new CircuitBreaker(positive, { cache: true });
      breaker.fire(1);
      if (i % 2) breaker.stats;
    }
    const look = () => { gc(); return breakers().length; };
    const before = breakers().length;
    let rounds = 20;
    const check = () => {
      const now = look();
      if (now < 10 || rounds-- === 0) print(before, now < 10);
      else setTimeout(check, 10);
    };
    setTimeout(check, 10);
  `);
  expect(line).toBe('1000 true');
});
