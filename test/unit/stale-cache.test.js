'use strict';

// Fresh copies, old copies, none; one load for all; stores of all kinds.

const { LRUCache } = require('lru-cache');

const MemoryCache = require('../../lib/primitives/memory-cache');
const { staleCache } = require('../../lib/primitives/stale-cache');
const { useVirtualClock } = require('../../lib/testing/virtual-clock');

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const settle = promise => promise.then(value => ({ value }), error => ({ error }));
const down = async () => { throw new Error('down'); };

function defer () {
  const handles = {};
  handles.promise = new Promise((resolve, reject) => Object.assign(handles, { resolve, reject }));
  return handles;
}

let time;
beforeEach(() => { time = useVirtualClock(); });
afterEach(() => time.restore());

describe('fetch', () => {
  test('loads once, then answers a fresh copy for ttl', async () => {
    const cache = staleCache();
    const load = jest.fn(async () => 'page');
    expect(await cache.fetch('/', load)).toEqual({ value: 'page', stale: false, ageMs: 0 });
    await time.advance(15 * MINUTE - 1);
    expect(await cache.fetch('/', load))
      .toEqual({ value: 'page', stale: false, ageMs: 15 * MINUTE - 1 });
    expect(load).toHaveBeenCalledTimes(1);
    await time.advance(1);
    expect(await cache.fetch('/', async () => 'newer'))
      .toEqual({ value: 'newer', stale: false, ageMs: 0 });
  });

  test('a load that fails is answered with the old copy, marked, for staleTtl', async () => {
    const cache = staleCache();
    await cache.fetch('/', async () => 'page');
    await time.advance(24 * HOUR - 1);
    expect(await cache.fetch('/', down)).toEqual({
      value: 'page', stale: true, ageMs: 24 * HOUR - 1, error: new Error('down')
    });
    await time.advance(1);
    await expect(cache.fetch('/', down)).rejects.toThrow('down');
    expect(await cache.get('/')).toBeUndefined();
  });

  test('a copy that becomes too old while the load is tried is not answered', async () => {
    const cache = staleCache({ ttl: 10, staleTtl: 100 });
    await cache.set('k', 1);
    await time.advance(90);
    const load = defer();
    const outcome = settle(cache.fetch('k', () => load.promise));
    await time.advance(20);
    load.reject(new Error('late'));
    expect((await outcome).error.message).toBe('late');
  });

  test('staleIf tells which failures an old copy may answer', async () => {
    const cache = staleCache({ ttl: 0, staleIf: error => error.message !== 'gone' });
    await cache.set('k', 1);
    expect(await cache.fetch('k', down)).toMatchObject({ value: 1, stale: true });
    const gone = async () => { throw new Error('gone'); };
    await expect(cache.fetch('k', gone)).rejects.toThrow('gone');
  });

  test('callers at the same time share one load; the next ones load again', async () => {
    const cache = staleCache({ ttl: 0 });
    const load = defer();
    const loader = jest.fn(() => load.promise);
    const both = [cache.fetch('k', loader), cache.fetch('k', loader)];
    load.resolve('one');
    expect((await Promise.all(both)).map(({ value }) => value)).toEqual(['one', 'one']);
    expect(loader).toHaveBeenCalledTimes(1);
    await cache.fetch('k', loader);
    expect(loader).toHaveBeenCalledTimes(2);
  });

  test('who aborts leaves at once; the load is given up when the last one has left', async () => {
    const cache = staleCache();
    const [a, b] = [new AbortController(), new AbortController()];
    let given;
    const loader = ({ signal }) => { given = signal; return new Promise(() => {}); };
    const first = settle(cache.fetch('k', loader, { signal: a.signal }));
    const second = settle(cache.fetch('k', loader, { signal: b.signal }));
    await time.advance(0);
    a.abort('a');
    expect(await first).toEqual({ error: 'a' });
    expect(given.aborted).toBe(false);
    b.abort('b');
    expect(await second).toEqual({ error: 'b' });
    expect(given.reason).toBe('b');
    // The next caller starts afresh.
    expect(await cache.fetch('k', async () => 'new')).toMatchObject({ value: 'new' });
    await expect(cache.fetch('k', loader, { signal: a.signal })).rejects.toBe('a');
  });

  test('a load that throws, and values that are nothing', async () => {
    const cache = staleCache();
    await expect(cache.fetch('k', () => { throw new Error('sync'); })).rejects.toThrow('sync');
    const load = jest.fn();
    expect(await cache.fetch('u', load)).toEqual({ value: undefined, stale: false, ageMs: 0 });
    expect(await cache.fetch('u', load)).toMatchObject({ value: undefined });
    expect(load).toHaveBeenCalledTimes(1);
  });
});

describe('stores', () => {
  test('memory keeps max copies, and forgets what was not used for the longest time', async () => {
    const cache = staleCache({ max: 2 });
    await cache.set('a', 1);
    await cache.set('b', 2);
    await cache.get('a');
    await cache.set('c', 3);
    expect(await cache.get('b')).toBeUndefined();
    expect(await cache.get('a')).toMatchObject({ value: 1 });
    await cache.delete('a');
    expect(await cache.get('a')).toBeUndefined();
  });

  class Remote {
    texts = new Map();
    async get (key) { return JSON.parse(this.texts.get(key) ?? 'null'); }
    async set (key, entry) { this.texts.set(key, JSON.stringify(entry)); }
    async delete (key) { this.texts.delete(key); }
  }

  test.each([
    ['a Map', () => new Map()], ['MemoryCache', () => new MemoryCache()],
    ['lru-cache', () => new LRUCache({ max: 5 })], ['one that is remote', () => new Remote()]
  ])('%s works', async (_, make) => {
    const store = make();
    const cache = staleCache({ ttl: 10, staleTtl: 20, store });
    expect(await cache.fetch('k', async () => ({ a: 1 }))).toMatchObject({ value: { a: 1 } });
    await time.advance(15);
    // A second cache over the same store, as in another process.
    expect(await staleCache({ ttl: 10, staleTtl: 20, store }).fetch('k', down))
      .toMatchObject({ value: { a: 1 }, stale: true, ageMs: 15 });
    await time.advance(5);
    expect(await cache.get('k')).toBeUndefined();
    expect(await store.get('k')).toBeFalsy(); // It was deleted.
  });

  test('what somebody else put there is no copy', async () => {
    const store = new Map([['a', 'text'], ['b', { storedAt: 'x', value: 1 }], ['c', null]]);
    const cache = staleCache({ store });
    for (const key of store.keys()) expect(await cache.get(key)).toBeUndefined();
  });

  test('one that fails is a warning, and the call works without it', async () => {
    const warn = jest.spyOn(process, 'emitWarning').mockReturnValue();
    const broken = { get: down, set: () => { throw new Error('full'); }, delete: down };
    const cache = staleCache({ store: broken });
    expect(await cache.fetch('k', async () => 5)).toMatchObject({ value: 5 });
    const mine = async () => { throw new Error('mine'); };
    await expect(cache.fetch('k', mine)).rejects.toThrow('mine');
    await expect(cache.delete('k')).rejects.toThrow('down');
    expect(warn.mock.calls.map(([text]) => text).slice(0, 2)).toEqual([
      'The store of a stale cache failed: down', 'The store of a stale cache failed: full'
    ]);
    warn.mockRestore();
  });

  test('a clock that was set back does not make a copy older or newer than it is', async () => {
    const store = new Map([['k', { value: 1, storedAt: time.wall + 5000 }]]);
    expect(await staleCache({ store }).get('k')).toEqual({ value: 1, stale: false, ageMs: 0 });
  });

  test('a copy of a clock that was wrong by years is not fresh for years', async () => {
    const store = new Map([['k', { value: 1, storedAt: time.wall + 5000 }]]);
    const cache = staleCache({ store, ttl: 4000, staleTtl: 6000 });
    expect(await cache.get('k')).toEqual({ value: 1, stale: true, ageMs: 0 });
    expect(await staleCache({ store, ttl: 10, staleTtl: 20 }).get('k')).toBeUndefined();
  });
});

test.each([
  [{ ttl: -1 }, RangeError], [{ ttl: '5' }, TypeError], [{ ttl: NaN }, TypeError],
  [{ ttl: 10, staleTtl: 5 }, RangeError], [{ max: 0 }, RangeError], [{ max: 1.5 }, RangeError],
  [{ store: { get () {} } }, TypeError], [{ store: null }, TypeError], [{ staleIf: 1 }, TypeError],
  [5, TypeError]
])('refuses the options %j', (options, Type) => {
  expect(() => staleCache(options)).toThrow(Type);
  expect(() => staleCache(options))
    .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
});
