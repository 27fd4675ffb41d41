'use strict';

// The cache of opossum's shape, against the calendar and against a model.

const clock = require('../../lib/base/clock');
const MemoryCache = require('../../lib/primitives/memory-cache');

afterEach(() => clock.setVirtual(null));

test('keeps what it was given until that expires', () => {
  const calendar = { wall: 1000 };
  clock.setVirtual(calendar);
  const cache = new MemoryCache();
  cache.set('a', 1, 2000);
  cache.set('b', 2, 0);
  cache.set('c', 3);
  calendar.wall = 1999;
  expect(cache.get('a')).toBe(1);
  calendar.wall = 2000;
  expect(cache.get('a')).toBeUndefined();
  expect(cache.cache.has('a')).toBe(false);
  calendar.wall = 1e15;
  expect(cache.get('b')).toBe(2);
  expect(cache.get('c')).toBe(3);
});

test.each([[null], [0], [''], [false], [NaN]])('keeps %p like any other value', (value) => {
  const cache = new MemoryCache();
  cache.set('key', value);
  expect(cache.get('key')).toBe(value);
});

test('expired entries go although nobody asks for them', () => {
  const calendar = { wall: 1000 };
  clock.setVirtual(calendar);
  const cache = new MemoryCache();
  cache.set('for ever', 1);
  for (let i = 0; i < 20_000; i++) {
    calendar.wall++;
    // This one stays where it is in the order, and never expires.
    cache.set('renewed', i, calendar.wall + 100);
    cache.set(i, i, calendar.wall + 100);
  }
  expect(cache.cache.size).toBeLessThan(400);
  expect([cache.get('for ever'), cache.get('renewed'), cache.get(19_999)])
    .toEqual([1, 19_999, 19_999]);
  expect(cache.get(19_950)).toBe(19_950);
});

test('uses the real calendar', () => {
  const cache = new MemoryCache();
  cache.set('past', 1, Date.now() - 1);
  cache.set('future', 2, Date.now() + 60000);
  expect(cache.get('past')).toBeUndefined();
  expect(cache.get('future')).toBe(2);
});

test('a new entry beyond maxEntries replaces the oldest', () => {
  const cache = new MemoryCache(2);
  cache.set('a', 1);
  cache.set('b', 2);
  cache.set('a', 3);
  expect(cache.get('b')).toBe(2);
  cache.set('c', 4);
  expect([cache.get('a'), cache.get('b'), cache.get('c')]).toEqual([undefined, 2, 4]);
});

test('delete and flush', () => {
  const cache = new MemoryCache(3);
  for (const key of ['a', 'b', 'c']) cache.set(key, key);
  cache.delete('b');
  cache.delete('absent');
  expect([...cache.cache.keys()]).toEqual(['a', 'c']);
  cache.flush();
  expect(cache.cache.size).toBe(0);
  cache.set('d', 1);
  expect(cache.get('d')).toBe(1);
});

test('follows a model in which the oldest key is looked for', () => {
  const calendar = { wall: 0 };
  clock.setVirtual(calendar);
  let seed = 7;
  const random = n => (seed = (seed * 48271) % 2147483647) % n;
  for (let round = 0; round < 50; round++) {
    const max = random(8);
    const cache = new MemoryCache(max);
    const model = [];
    const find = key => model.findIndex(entry => entry.key === key);
    for (let step = 0; step < 400; step++) {
      const key = random(12);
      calendar.wall += random(3);
      const at = find(key);
      if (random(3) === 0) {
        const entry = model[at];
        const good = entry && (entry.expiresAt === 0 || entry.expiresAt > calendar.wall);
        expect(cache.get(key)).toBe(good ? entry.value : undefined);
        if (entry && !good) model.splice(at, 1);
      } else if (random(10) === 0) {
        cache.delete(key);
        if (at >= 0) model.splice(at, 1);
      } else {
        const expiresAt = random(2) === 0 ? 0 : calendar.wall + random(20);
        cache.set(key, step, expiresAt);
        if (at >= 0) Object.assign(model[at], { value: step, expiresAt });
        else model.push({ key, value: step, expiresAt });
        if (model.length > max) model.splice(0, model.length - max);
      }
      expect([...cache.cache.keys()]).toEqual(model.map(entry => entry.key));
    }
  }
});

test('replacing the oldest costs the same however many there are', () => {
  const cost = (size) => {
    const cache = new MemoryCache(size);
    for (let i = 0; i < size; i++) cache.set(i, i);
    const start = process.cpuUsage();
    for (let i = 0; i < 20000; i++) cache.set(-1 - i, i);
    const { user, system } = process.cpuUsage(start);
    return user + system;
  };
  // The quickest of some runs, since garbage is collected in the others.
  const least = size => Math.min(...Array.from({ length: 5 }, () => cost(size)));
  // Looked for in the Map, the second takes a hundred times as long as the first.
  expect(least(100000)).toBeLessThan(least(1000) * 20 + 50000);
});

test.each([['10'], [-1], [1.5], [NaN]])('maxEntries %p is refused', (maxEntries) => {
  expect(() => new MemoryCache(maxEntries)).toThrow(expect.objectContaining({
    code: 'ERR_INVALID_OPTION', option: 'maxEntries',
  }));
});

test('maxEntries of 0 keeps nothing; null and Infinity are the largest there is', () => {
  const none = new MemoryCache(0);
  none.set('a', 1);
  expect(none.get('a')).toBeUndefined();
  expect(new MemoryCache(null).maxEntries).toBe(2 ** 24 - 1);
  expect(new MemoryCache(Infinity).maxEntries).toBe(2 ** 24 - 1);
});
