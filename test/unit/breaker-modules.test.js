'use strict';

// Where the breaker and its parts are found: what a program requires in place of opossum's modules.

const sekering = require('../../lib');
const { exports: paths } = require('../../package.json');

const load = subpath => require(`../../${paths[subpath].default}`);

test('sekering/opossum is the class that sekering exports', () => {
  const CircuitBreaker = load('./opossum');
  expect(CircuitBreaker).toBe(sekering.CircuitBreaker);
  expect(new CircuitBreaker(async () => {})).toBeInstanceOf(sekering.CircuitBreaker);
  expect(CircuitBreaker.breakers).toBe(sekering.breakers);
});

test.each([
  ['status', 'Status'], ['semaphore', 'Semaphore'], ['cache', 'MemoryCache'],
])('sekering/opossum/lib/%s is the class’s %s, with and without .js', (file, name) => {
  expect(load(`./opossum/lib/${file}`)).toBe(sekering.CircuitBreaker[name]);
  expect(load(`./opossum/lib/${file}.js`)).toBe(sekering.CircuitBreaker[name]);
});

test('a breaker is made of them', () => {
  const { CircuitBreaker } = sekering;
  const breaker = new CircuitBreaker(async () => {}, { cache: true });
  expect(breaker.status).toBeInstanceOf(CircuitBreaker.Status);
  expect(breaker.options.cacheTransport).toBeInstanceOf(CircuitBreaker.MemoryCache);
  breaker.shutdown();
});
