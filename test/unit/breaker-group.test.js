'use strict';

// A breaker per key: made on demand, bounded, let go when idle. And the list of all breakers.

const native = require('../../lib/base/native');
const { BreakerGroup } = require('../../lib/primitives/group');
const { breakers } = require('../../lib/primitives/breaker');
const { useVirtualClock } = require('../../lib/testing');
const { policy } = require('../../lib/primitives/policy');
const {
  CircuitBreaker, defer, make, positive, settle, never
} = require('../support/breaker-helpers');

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

test('one key’s failures do not affect the others', async () => {
  const group = fragileGroup();
  await settle(group.fire('bad', -1));
  expect(group.get('bad').opened).toBe(true);
  expect((await settle(group.fire('bad', 1))).error.code).toBe('EOPENBREAKER');
  expect(await group.fire('good', 1)).toBe(1);
  expect(group.get('good').closed).toBe(true);
});

test('each key has its own counts, cache and capacity', async () => {
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

test('any value may be a key, and each has its own breaker', async () => {
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

test('listeners on the group and on a breaker are both called, whenever added', async () => {
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

test('reset closes one key’s breaker and clears its counts', async () => {
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

test('max: beyond it the least recently used breaker is evicted', async () => {
  const group = makeGroup(positive, { max: 3, idleTtl: 8000 });
  for (const key of ['a', 'b', 'c']) {
    group.get(key);
    await clock.advance(2000);
  }
  group.get('a');
  group.get('d');
  expect(group.keys().sort()).toEqual(['a', 'c', 'd']);
});

test('max: an open breaker stays as long as another can be evicted', async () => {
  const group = fragileGroup({ max: 2 });
  await settle(group.fire('down', -1));
  group.get('b');
  group.get('c');
  expect(group.has('down')).toBe(true);
  expect(group.has('b')).toBe(false);
});

test('max: closed breakers are evicted before open ones, even if those are older', async () => {
  const group = fragileGroup({ max: 100, resetTimeout: 1e6 });
  const open = Array.from({ length: 90 }, (_, i) => `down ${i}`);
  for (const key of open) await settle(group.fire(key, -1));
  for (let i = 0; i < 200; i++) await group.fire(`up ${i}`, 1);
  expect(group.size).toBe(100);
  expect(open.filter(key => group.has(key) && group.get(key).opened)).toEqual(open);
  expect(group.keys().slice(90)).toEqual(Array.from({ length: 10 }, (_, i) => `up ${190 + i}`));
});

test('max: without a closed breaker, a half-open one is evicted before open ones', async () => {
  const group = fragileGroup({ max: 3 });
  await settle(group.fire('half open', -1));
  await clock.advance(1000);
  await settle(group.fire('a', -1));
  await settle(group.fire('b', -1));
  expect(group.get('half open').halfOpen).toBe(true);
  group.get('c');
  expect(group.keys()).toEqual(['a', 'b', 'c']);
});

test('max: half-open breakers without calls do not keep others from tripping', async () => {
  const group = fragileGroup({ max: 20, volumeThreshold: 5 });
  const left = Array.from({ length: 20 }, (_, i) => `left ${i}`);
  for (const key of left) for (let i = 0; i < 5; i++) await settle(group.fire(key, -1));
  await clock.advance(1000);
  expect(left.every(key => group.get(key).halfOpen)).toBe(true);
  await clock.advance(1000);
  for (let i = 0; i < 10; i++) for (const key of ['a', 'b']) await settle(group.fire(key, -1));
  expect(['a', 'b'].map(key => group.get(key).opened)).toEqual([true, true]);
  expect(['a', 'b'].map(key => group.get(key).stats.failures)).toEqual([5, 5]);
});

test('max: if all are open, the least recently used one is evicted', async () => {
  const group = fragileGroup({ max: 3, resetTimeout: 1e6, idleTtl: 8000 });
  for (const key of ['a', 'b', 'c']) await settle(group.fire(key, -1));
  await clock.advance(2000);
  expect((await settle(group.fire('a', 1))).error.code).toBe('EOPENBREAKER');
  group.get('d');
  expect(group.keys()).toEqual(['a', 'c', 'd']);
});

test('max: a breaker that has closed again can be evicted', async () => {
  const group = fragileGroup({ max: 2 });
  await settle(group.fire('a', -1));
  await settle(group.fire('b', -1));
  group.get('a').close();
  group.get('c');
  expect(group.keys()).toEqual(['b', 'c']);
});

test('max is never exceeded, whatever is open', async () => {
  const group = fragileGroup({ max: 5 });
  for (let i = 0; i < 50; i++) await settle(group.fire(i, -1));
  expect(group.size).toBe(5);
  expect(group.get(49).opened).toBe(true);
});

test('idleTtl: a breaker that was not used for so long is evicted', async () => {
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

test('idleTtl: an open breaker is not evicted', async () => {
  const group = fragileGroup({ idleTtl: 1000, resetTimeout: 60_000 });
  await settle(group.fire('down', -1));
  await clock.advance(5000);
  expect(group.size).toBe(1);
  expect((await settle(group.fire('down', 1))).error.code).toBe('EOPENBREAKER');
});

/** The breakers of a group that are in use anywhere. */
const inUse = group => breakers().filter(breaker => breaker.group === group.name);

test('an evicted breaker has no timer, emits nothing, and is in no list', async () => {
  const group = fragileGroup({ name: 'crowd', max: 20 });
  const heard = [];
  for (let i = 0; i < 1000; i++) await settle(group.fire(i, -1));
  for (const event of ['open', 'halfOpen', 'close']) group.on(event, key => heard.push(key));
  expect(inUse(group)).toHaveLength(20);
  await clock.advance(1000);
  expect(heard).toEqual(group.keys());
  expect(heard).toHaveLength(20);
});

test('max also limits native memory, before any garbage collection', async () => {
  const group = fragileGroup({ max: 20, resetTimeout: 1e9 });
  await settle(group.fire('first', -1));
  const before = native.liveBreakers.length;
  // The event loop does not turn, so no dropped breaker is collected meanwhile.
  for (let i = 0; i < 5000; i++) await settle(group.fire(i, -1));
  expect(group.keys()).toHaveLength(20);
  // Ids of removed breakers are reused: this is the highest id so far.
  expect(native.liveBreakers.length - before).toBeLessThanOrEqual(25);
});

test('an evicted breaker shows only the counts of the current breaker of its key', async () => {
  const group = fragileGroup({ max: 1 });
  const kept = group.get('a');
  await group.fire('a', 1);
  const { status } = kept;
  for (const key of ['b', 'c']) await settle(group.fire(key, -1));
  expect(kept.stats).toMatchObject({ fires: 0, successes: 0, failures: 0 });
  expect(status.stats).toMatchObject({ fires: 1, successes: 1 });
  expect(status.window).toHaveLength(10);
  expect(kept.status.stats).toMatchObject({ fires: 0 });
  await kept.fire(1);
  expect(kept.stats).toMatchObject({ fires: 1, successes: 1, failures: 0 });
  expect(kept.toJSON().state).toMatchObject({ name: kept.name, shutdown: true });
  for (const key of ['d', 'e', 'f']) await group.fire(key, 1);
  expect(status.stats).toMatchObject({ fires: 1, successes: 1 });
});

test('late failures of evicted breakers do not open other breakers', async () => {
  const gates = [];
  const group = makeGroup(() => {
    gates.push(defer());
    return gates.at(-1).promise;
  }, { name: 'late', max: 1, errorThresholdPercentage: 1, timeout: false });
  const calls = Array.from({ length: 50 }, (_, i) => settle(group.fire(i)));
  const kept = group.get(0);
  for (const gate of gates) gate.reject(new Error('late'));
  await Promise.all(calls);
  expect(kept.opened).toBe(false);
  const opened = inUse(group).filter(breaker => breaker.opened);
  expect(opened).toEqual([]);
  expect(group.get('new').closed).toBe(true);
});

test('a breaker that a listener of its failure evicts does not open', async () => {
  const group = fragileGroup({ max: 1 });
  const heard = [];
  group.on('open', key => heard.push(key));
  group.on('failure', key => { if (key === 'a') group.get('b'); });
  await settle(group.fire('a', -1));
  expect(group.keys()).toEqual(['b']);
  for (let i = 0; i < 3; i++) await settle(group.fire(`c ${i}`, -1));
  expect(heard).toEqual(['c 0', 'c 1', 'c 2']);
});

test('a breaker evicted when idle has no timer and no events either', async () => {
  const group = fragileGroup({ name: 'idlers', idleTtl: 1000 });
  const [up, down] = [group.get('up'), group.get('down')];
  await settle(group.fire('down', -1));
  up.healthCheck(() => Promise.reject(new Error('ill')), 5000);
  await clock.advance(1000);
  up.close();
  await clock.advance(1000);
  expect(group.size).toBe(0);
  expect([up.isShutdown, down.isShutdown]).toEqual([true, true]);
  expect(inUse(group)).toEqual([]);
  const heard = jest.fn();
  group.on('open', heard);
  await clock.advance(10_000);
  expect(heard).not.toHaveBeenCalled();
});

test.each([
  ['succeeds', 'resolve', { value: 'done' }],
  ['fails', 'reject', { error: 'done' }],
])('a call in flight whose breaker makes room %s as it would have', async (_, way, outcome) => {
  for (const options of [{ timeout: false }, { timeout: 1e6 }, { capacity: 1 }]) {
    const calls = [];
    const group = makeGroup(() => {
      const call = defer();
      calls.push(call);
      return call.promise;
    }, { max: 1, errorThresholdPercentage: 1, ...options });
    const heard = [];
    for (const event of ['success', 'failure', 'open']) {
      group.on(event, key => heard.push([event, key]));
    }
    const promise = settle(group.fire('a'));
    const controller = new AbortController();
    const left = settle(group.get('b').run(never, { signal: controller.signal }));
    group.get('c');
    expect(group.keys()).toEqual(['c']);
    controller.abort('left');
    calls[0][way]('done');
    expect(await promise).toEqual(outcome);
    expect(await left).toEqual({ error: 'left' });
    expect(heard).toEqual([[way === 'resolve' ? 'success' : 'failure', 'a']]);
    expect(group.get('c').closed).toBe(true);
  }
});

test('a call in flight of an evicted breaker still times out', async () => {
  const group = makeGroup(never, { max: 1, timeout: 100 });
  const call = settle(group.fire('a'));
  group.get('b');
  await clock.advance(100);
  expect((await call).error.code).toBe('ETIMEDOUT');
});

test('calls through an evicted breaker go to the current breaker of its key', async () => {
  const group = fragileGroup({ max: 1 });
  const kept = group.get('a');
  group.get('b');
  expect(kept.isShutdown).toBe(true);
  expect(await kept.fire(1)).toBe(1);
  expect(await kept.call(null, 2)).toBe(2);
  expect(await kept.run(() => 3)).toBe(3);
  expect(group.keys()).toEqual(['a']);
  expect(group.get('a').stats.fires).toBe(3);
  await settle(kept.fire(-1));
  expect(group.get('a').opened).toBe(true);
  expect((await settle(kept.fire(1))).error.code).toBe('EOPENBREAKER');
  expect(await policy({ breaker: kept, fallback: () => 'instead' }).execute(() => 1))
    .toBe('instead');
});

test('calls through an evicted breaker reject after it or its group was shut down', async () => {
  const group = fragileGroup({ max: 1 });
  const [kept, ended] = [group.get('a'), group.get('b')];
  group.get('c');
  ended.shutdown();
  expect((await settle(ended.fire(1))).error.code).toBe('ESHUTDOWN');
  group.shutdown();
  expect((await settle(kept.fire(1))).error.code).toBe('ESHUTDOWN');
  expect(group.size).toBe(0);
});

test('evicting one breaker does not clear a cache that keys share', async () => {
  const cacheTransport = { get () {}, set () {}, flush: jest.fn() };
  const group = makeGroup(positive, { cache: true, cacheTransport, max: 1 });
  cacheTransport.flush.mockClear();
  for (let i = 0; i < 10; i++) await group.fire(i, i);
  expect(cacheTransport.flush).not.toHaveBeenCalled();
});

test('a new key costs the same however many breakers are open', async () => {
  const looks = [];
  const look = jest.spyOn(CircuitBreaker.prototype, '_period');
  for (const open of [10, 1000]) {
    const group = fragileGroup({ max: open + 10, idleTtl: 1000, resetTimeout: 1e9 });
    for (let i = 0; i < open; i++) group.get(i).open();
    // All of them are idle, and the others are many enough for some to make room.
    await clock.advance(5000);
    look.mockClear();
    for (let i = 0; i < 50; i++) group.get(`new ${i}`);
    looks.push(look.mock.calls.length);
    expect(group.keys()).toHaveLength(open + 10);
  }
  look.mockRestore();
  expect(looks[0]).toBeGreaterThan(0);
  expect(looks[1]).toBe(looks[0]);
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
  await expect(group.fire('a', 1)).rejects.toMatchObject({ code: 'ESHUTDOWN' });
  await expect(group.fire('b', 1)).rejects.toMatchObject({ code: 'ESHUTDOWN' });
  expect(() => group.get('b')).toThrow(expect.objectContaining({ code: 'ESHUTDOWN' }));
  expect(group.size).toBe(0);
  expect(group.eventNames()).toEqual([]);
});

test.each([
  ['action', undefined, {}], ['action', 'text', {}],
  ['max', positive, { max: 0 }], ['max', positive, { max: 1.5 }], ['max', positive, { max: '7' }],
  ['idleTtl', positive, { idleTtl: 0 }], ['idleTtl', positive, { idleTtl: NaN }],
  ['timeout', positive, { timeout: 'long' }], ['rampUp', positive, { rampUp: -1 }],
])('a wrong %s is rejected when the group is made', (option, action, options) => {
  let error;
  try {
    new BreakerGroup(action, options).shutdown();
  } catch (thrown) {
    error = thrown;
  }
  expect(error?.code).toBe('ERR_INVALID_OPTION');
  expect(error.message).toContain(option);
});

test('breakers() lists breakers in use, including members of groups', () => {
  const single = make(positive, { name: 'single' });
  const member = makeGroup(positive, { name: 'many' }).get('a');
  const found = breakers();
  expect(found.includes(single)).toBe(true);
  expect(found.includes(member)).toBe(true);
  // Those of another test file of this worker may be among them, of a class of their own.
  expect(found.every(breaker => typeof breaker.fire === 'function')).toBe(true);
});

test('breakers() leaves out breakers that were shut down', () => {
  const breaker = make(positive);
  expect(breakers().includes(breaker)).toBe(true);
  breaker.shutdown();
  expect(breakers().includes(breaker)).toBe(false);
});
