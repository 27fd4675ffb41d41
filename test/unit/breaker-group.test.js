'use strict';

// A breaker per key: made on demand, bounded, let go when idle. And the list of all breakers.

const { BreakerGroup } = require('../../lib/primitives/group');
const { breakers } = require('../../lib/primitives/breaker');
const { useVirtualClock } = require('../../lib/testing');
const { CircuitBreaker, make, positive, settle, never } = require('../support/breaker-helpers');

let clock;
let groups;
beforeEach(() => {
  clock = useVirtualClock();
  groups = [];
});
afterEach(() => {
  for (const group of groups) group.shutdown();
  clock.restore();
});

function makeGroup (action, options) {
  const group = new BreakerGroup(action, options);
  groups.push(group);
  return group;
}

const fragileGroup = options =>
  makeGroup(positive, { errorThresholdPercentage: 1, resetTimeout: 1000, ...options });

test('fire passes everything after the key to the action', async () => {
  const group = makeGroup(async (...args) => args);
  expect(await group.fire('a', 1, 'two')).toEqual([1, 'two']);
  expect(await group.fire('b')).toEqual([]);
});

test('a breaker is made with the first use of its key, and kept', async () => {
  const group = fragileGroup();
  expect(group.has('a')).toBe(false);
  const breaker = group.get('a');
  expect(breaker).toBeInstanceOf(CircuitBreaker);
  expect(group.get('a')).toBe(breaker);
  expect(group.has('a')).toBe(true);
  await group.fire('b', 1);
  expect(group.keys()).toEqual(['a', 'b']);
  expect(group.size).toBe(2);
  expect(group.entries()).toEqual([['a', breaker], ['b', group.get('b')]]);
});

test('one key’s failures leave the others alone', async () => {
  const group = fragileGroup();
  await settle(group.fire('bad', -1));
  expect(group.get('bad').opened).toBe(true);
  expect((await settle(group.fire('bad', 1))).error.code).toBe('EOPENBREAKER');
  expect(await group.fire('good', 1)).toBe(1);
  expect(group.get('good').closed).toBe(true);
});

test('each key has its own figures, cache and capacity', async () => {
  const group = makeGroup(x => (x === 0 ? never() : positive(x)), {
    cache: true, capacity: 1, timeout: false,
  });
  await group.fire('a', 1);
  await group.fire('a', 1);
  await group.fire('b', 1);
  expect(group.get('a').stats).toMatchObject({ fires: 2, cacheHits: 1 });
  expect(group.get('b').stats).toMatchObject({ fires: 1, cacheHits: 0 });
  group.fire('a', 0);
  expect((await settle(group.fire('a', 2))).error.code).toBe('ESEMLOCKED');
  expect(await group.fire('b', 2)).toBe(2);
});

test('breakers carry the names of the group and of their key', () => {
  const group = makeGroup(positive, { name: 'session' });
  expect(group.get('42')).toMatchObject({ name: 'session/42', group: 'session', key: '42' });
  expect(makeGroup(positive).get('x').name).toBe('positive/x');
});

test('any value may be a key, and each is its own', async () => {
  const group = makeGroup(positive);
  const keys = ['1', 1, 0, '', null, undefined, NaN, Symbol('key'), {}, '__proto__'];
  for (const key of keys) expect(await group.fire(key, 1)).toBe(1);
  expect(group.size).toBe(keys.length);
  for (const key of keys) expect(group.get(key).stats.fires).toBe(1);
});

test('events carry the key before opossum’s arguments', async () => {
  const group = fragileGroup({ fallback: () => 'instead' });
  const seen = [];
  for (const event of ['fire', 'success', 'failure', 'open', 'fallback', 'halfOpen', 'close']) {
    group.on(event, (...args) => seen.push([event, ...args]));
  }
  await group.fire('a', 1);
  await group.fire('b', -1);
  const ms = expect.any(Number);
  const error = expect.objectContaining({ message: '-1 is negative' });
  expect(seen.splice(0)).toEqual([
    ['fire', 'a', [1]], ['success', 'a', 1, ms],
    ['fire', 'b', [-1]], ['failure', 'b', error, ms, [-1]], ['open', 'b'],
    ['fallback', 'b', 'instead', error],
  ]);
  await clock.advance(1000);
  await group.fire('b', 1);
  expect(seen).toEqual([
    ['halfOpen', 'b', 1000], ['fire', 'b', [1]], ['close', 'b'], ['success', 'b', 1, ms],
  ]);
});

test('listeners on the group and on a breaker both hear, whenever they were added', async () => {
  const group = makeGroup(positive);
  const breaker = group.get('a');
  const heard = { group: jest.fn(), breaker: jest.fn() };
  group.on('success', heard.group);
  breaker.on('success', heard.breaker);
  await group.fire('a', 1);
  expect(heard.group).toHaveBeenCalledTimes(1);
  expect(heard.breaker).toHaveBeenCalledTimes(1);
  group.off('success', heard.group);
  await group.fire('a', 1);
  expect(heard.group).toHaveBeenCalledTimes(1);
  expect(heard.breaker).toHaveBeenCalledTimes(2);
});

test('reset closes one key’s breaker and forgets its figures', async () => {
  const group = fragileGroup();
  await settle(group.fire('a', -1));
  await settle(group.fire('b', -1));
  expect(group.reset('a')).toBe(true);
  expect(group.get('a').closed).toBe(true);
  expect(group.get('a').stats.failures).toBe(0);
  expect(await group.fire('a', 1)).toBe(1);
  expect(group.get('b').opened).toBe(true);
  expect(group.reset('unknown')).toBe(false);
  expect(group.has('unknown')).toBe(false);
});

test('max: past it the least recently used makes room', async () => {
  const group = makeGroup(positive, { max: 3, idleTtl: 8000 });
  for (const key of ['a', 'b', 'c']) {
    group.get(key);
    await clock.advance(2000);
  }
  group.get('a');
  group.get('d');
  expect(group.keys().sort()).toEqual(['a', 'c', 'd']);
});

test('max: a breaker that is open stays as long as another can go', async () => {
  const group = fragileGroup({ max: 2 });
  await settle(group.fire('down', -1));
  group.get('b');
  group.get('c');
  expect(group.has('down')).toBe(true);
  expect(group.has('b')).toBe(false);
});

test('max is kept whatever is open', async () => {
  const group = fragileGroup({ max: 5 });
  for (let i = 0; i < 50; i++) await settle(group.fire(i, -1));
  expect(group.size).toBe(5);
  expect(group.get(49).opened).toBe(true);
});

test('idleTtl: a breaker that was not used for so long is let go', async () => {
  const group = makeGroup(positive, { idleTtl: 1000 });
  group.get('idle');
  await clock.advance(600);
  group.get('busy');
  await clock.advance(600);
  expect(group.size).toBe(1);
  expect(group.has('busy')).toBe(true);
});

test('idleTtl: use keeps a breaker', async () => {
  const group = makeGroup(positive, { idleTtl: 1000 });
  const breaker = group.get('a');
  for (let i = 0; i < 10; i++) {
    await clock.advance(500);
    await group.fire('a', 1);
  }
  expect(group.size).toBe(1);
  expect(group.get('a')).toBe(breaker);
});

test('idleTtl: one that is open goes on protecting', async () => {
  const group = fragileGroup({ idleTtl: 1000, resetTimeout: 60_000 });
  await settle(group.fire('down', -1));
  await clock.advance(5000);
  expect(group.size).toBe(1);
  expect((await settle(group.fire('down', 1))).error.code).toBe('EOPENBREAKER');
});

test('thousands of keys', async () => {
  const group = makeGroup(positive, { max: 3000, errorThresholdPercentage: 1 });
  for (let i = 0; i < 3000; i++) await settle(group.fire(i, i % 10 === 0 ? -1 : 1));
  expect(group.size).toBe(3000);
  expect(group.entries().filter(([, { opened }]) => opened)).toHaveLength(300);
  await group.fire('one more', 1);
  expect(group.size).toBe(3000);
});

test('shutdown ends the group and its breakers', async () => {
  const group = makeGroup(positive);
  const breaker = group.get('a');
  group.on('open', () => {});
  group.shutdown();
  expect(breaker.isShutdown).toBe(true);
  expect(group.size).toBe(0);
  expect(group.eventNames()).toEqual([]);
});

test.each([
  ['action', undefined, {}], ['action', 'text', {}],
  ['max', positive, { max: 0 }], ['max', positive, { max: 1.5 }], ['max', positive, { max: '7' }],
  ['idleTtl', positive, { idleTtl: 0 }], ['idleTtl', positive, { idleTtl: NaN }],
  ['timeout', positive, { timeout: 'long' }], ['rampUp', positive, { rampUp: -1 }],
])('a wrong %s is refused when the group is made', (option, action, options) => {
  let error;
  try {
    new BreakerGroup(action, options).shutdown();
  } catch (thrown) {
    error = thrown;
  }
  expect(error?.code).toBe('ERR_INVALID_OPTION');
  expect(error.message).toContain(option);
});

test('breakers() lists those in use, group members among them', () => {
  const single = make(positive, { name: 'single' });
  const member = makeGroup(positive, { name: 'many' }).get('a');
  const found = breakers();
  expect(found.includes(single)).toBe(true);
  expect(found.includes(member)).toBe(true);
  // Those of another test file of this worker may be among them, of a class of their own.
  expect(found.every(breaker => typeof breaker.fire === 'function')).toBe(true);
});

test('breakers() leaves out what was shut down', () => {
  const breaker = make(positive);
  expect(breakers().includes(breaker)).toBe(true);
  breaker.shutdown();
  expect(breakers().includes(breaker)).toBe(false);
});
