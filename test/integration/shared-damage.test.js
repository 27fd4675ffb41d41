'use strict';

// A record that was damaged while processes use it: whoever comes next begins it anew, and all who
// have it go over to the new one, with what they hold.

const { randomBytes } = require('node:crypto');
const fs = require('node:fs');

const { fileOf } = require('../../lib/base/regions');
const {
  all, cleanUp, newNamespace, startProcesses
} = require('../support/shared-peers');

afterEach(cleanUp);

const place = () => ({ scope: 'host', namespace: newNamespace(), name: 'the-only-upstream' });

/** Damages what leads to the cells of that name, and leaves them as they are. */
function damage ({ scope, namespace, name }) {
  const fd = fs.openSync(fileOf(scope, namespace), 'r+');
  const beginning = Buffer.alloc(400_000);
  fs.readSync(fd, beginning, 0, beginning.length, 0);
  let at = beginning.indexOf(name);
  expect(at).toBeGreaterThan(0);
  // Whoever came second to the name has left a record that nobody finds.
  for (; at > 0; at = beginning.indexOf(name, at + 1)) fs.writeSync(fd, randomBytes(8), 0, 8, at);
  fs.closeSync(fd);
}

test('a breaker: state and counts are shared again, and all get events', async () => {
  const given = { ...place(), timeout: false, consecutiveFailures: 4, resetTimeout: 60_000 };
  const [first, second, late] = await startProcesses(3);
  await all([first, second], (context, o) => context.make(o), given);
  await first.run(context => context.fire(2, false));
  damage(given);
  await late.run((context, o) => context.make(o), given);
  const peers = [first, second, late];
  for (const peer of peers) expect(await peer.run(context => context.fire(1, false))).toBe(1);
  expect(await all(peers, ({ breaker }) => breaker.stats.failures)).toEqual([3, 3, 3]);
  await second.run(context => context.fire(1, false));
  await all(peers, context => context.until(() => context.breaker.opened));
  expect(await all(peers, context => context.fire(2, true))).toEqual([0, 0, 0]);
  const heard = await all(peers, ({ events }) => events.at(-1));
  expect(heard).toEqual(['open', 'open', 'open']);
  const warned = (await late.run(({ warnings }) => warnings)).join();
  expect(warned).toContain('A damaged place in a region was replaced');
});

test('an open circuit starts again as closed, for all', async () => {
  const given = { ...place(), timeout: false, resetTimeout: 60_000 };
  const [first, second, late] = await startProcesses(3);
  await all([first, second], (context, o) => context.make(o), given);
  await first.run(({ breaker }) => breaker.open());
  await second.run(context => context.until(() => context.breaker.opened));
  damage(given);
  await late.run((context, o) => context.make(o), given);
  await all([first, second], context => context.until(() => context.events.includes('close')));
  expect(await all([first, second, late], context => context.fire(1, true))).toEqual([1, 1, 1]);
});

test('a process with other options does not change the breaker of the others', async () => {
  const given = { ...place(), timeout: false, consecutiveFailures: 2, resetTimeout: 60_000 };
  const [first, second, late] = await startProcesses(3);
  await all([first, second], (context, o) => context.make(o), given);
  damage(given);
  await late.run((context, o) => context.make(o), { ...given, rollingCountBuckets: 50 });
  await first.run(context => context.fire(2, false));
  await second.run(context => context.until(() => context.breaker.opened));
  expect(await late.run(({ breaker }) => breaker.closed)).toBe(true);
});

test('a bulkhead: slots in use stay in use', async () => {
  const given = { ...place(), maxConcurrent: 3 };
  const [first, second, late] = await startProcesses(3);
  const hold = (context, o, count) => {
    context.bulkhead ??= new context.Bulkhead(o);
    context.ends ??= [];
    for (let i = 0; i < count; i++) {
      context.bulkhead.execute(() => new Promise(resolve => { context.ends.push(resolve); }));
    }
  };
  await first.run(hold, given, 1);
  await second.run(hold, given, 1);
  damage(given);
  await late.run(hold, given, 0);
  // Both are told, without being asked for anything.
  await late.run(async ({ bulkhead }) => {
    while (bulkhead.active !== 2) await new Promise(resolve => { setImmediate(resolve); });
  });
  await late.run(hold, given, 1);
  const refused = await late.run(({ bulkhead }) => bulkhead.execute(() => {}).catch(e => e.code));
  expect(refused).toBe('EBULKHEADFULL');
  await first.run(({ ends }) => ends.forEach(end => end()));
  expect(await second.run(({ bulkhead }) => bulkhead.active)).toBe(2);
});

test('a rate limiter and a retry budget are shared again', async () => {
  const limit = { ...place(), limit: 1, interval: 1e6, burst: 10 };
  const budget = { ...place(), name: 'the-only-budget', ratio: 1, reservePerSecond: 0, max: 10 };
  const [first, late] = await startProcesses(2);
  const makeBoth = (context, l, b) => {
    context.limiter = new context.RateLimiter(l);
    context.budget = new context.RetryBudget(b);
  };
  await first.run(makeBoth, limit, budget);
  damage(limit);
  damage(budget);
  await late.run(makeBoth, limit, budget);
  expect(await first.run(({ limiter }) => limiter.tryTake(6))).toBe(true);
  expect(await late.run(({ limiter }) => limiter.tryTake(6))).toBe(false);
  await first.run(({ budget: own }) => { for (let i = 0; i < 3; i++) own.deposit(); });
  expect(await late.run(({ budget: own }) => own.balance())).toBe(3);
});
