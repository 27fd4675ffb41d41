'use strict';

// Every environment hears of every transition, once and in order, whoever caused it.

const { spawnSync } = require('node:child_process');

const {
  all, cleanUp, newNamespace, startProcess, startProcesses, startThreads
} = require('../support/shared-peers');

afterEach(cleanUp);

const options = (scope, more) => ({
  scope, namespace: newNamespace(), name: 'upstream', timeout: false, consecutiveFailures: 3,
  resetTimeout: 60_000, ...more
});
const make = (context, given) => context.make(given);
const heard = (peers, count) => all(peers, async (context, n) => {
  await context.until(() => context.events.length >= n);
  // Anything that is told twice would come now.
  await new Promise(resolve => { setTimeout(resolve, 50); });
  return context.events;
}, count);

const MIXTURES = {
  'three processes': ['host', () => startProcesses(3)],
  'three threads': ['process', () => startThreads(3)],
  'two processes and two threads': ['host',
    async () => [...await startProcesses(2), ...await startThreads(2)]]
};

describe.each(Object.entries(MIXTURES))('%s', (_, [scope, start]) => {
  test('a trip, a failed probe and a recovery', async () => {
    const given = options(scope, { resetTimeout: 200 });
    const peers = await start();
    await all(peers, make, given);
    await peers[0].run(context => context.fire(3, false));
    await heard(peers, 2);
    await peers[1].run(context => context.fire(1, false));
    await heard(peers, 4);
    await peers[2].run(context => context.fire(1, true));
    const cycle = ['open', 'halfOpen', 'open', 'halfOpen', 'close'];
    expect(await heard(peers, 5)).toEqual(peers.map(() => cycle));
  });

  test('without probes the circuit closes for all, and its counts start again', async () => {
    const given = options(scope, { resetTimeout: 200, successThreshold: 0 });
    const peers = await start();
    await all(peers, make, given);
    await peers[0].run(context => context.fire(3, false));
    expect(await heard(peers, 2)).toEqual(peers.map(() => ['open', 'close']));
    await peers[1].run(context => context.fire(2, false));
    expect(await all(peers, ({ breaker }) => breaker.closed)).toEqual(peers.map(() => true));
    await peers[0].run(context => context.fire(1, false));
    expect(await heard(peers, 4)).toEqual(peers.map(() => ['open', 'close', 'open', 'close']));
  });

  test('transitions by hand, in each process in turn', async () => {
    const given = options(scope);
    const peers = await start();
    await all(peers, make, given);
    const expected = [];
    for (let round = 0; round < 5; round++) {
      for (const peer of peers) {
        await peer.run(({ breaker }) => breaker.open());
        await peers[0].run(({ breaker }) => breaker.close());
        expected.push('open', 'close');
        await heard([peers[1]], expected.length);
      }
    }
    expect(await heard(peers, expected.length)).toEqual(peers.map(() => expected));
  });
});

test('processes that trip at the same time trip once', async () => {
  const given = options('host');
  const peers = await startProcesses(4);
  await all(peers, make, given);
  await all(peers, context => context.fire(20, false));
  expect(await heard(peers, 1)).toEqual(peers.map(() => ['open']));
});

test('a process that joins later gets the events from then on', async () => {
  const given = options('host');
  const [first, late] = await startProcesses(2);
  await first.run(make, given);
  await first.run(({ breaker }) => { breaker.open(); breaker.close(); breaker.open(); });
  await late.run(make, given);
  expect(await late.run(({ breaker }) => breaker.opened)).toBe(true);
  await first.run(({ breaker }) => breaker.close());
  expect(await heard([late], 1)).toEqual([['close']]);
});

/** Makes so many breakers, each with a log of its own; `context.events` has a number for each. */
function makeMany (context, options, count) {
  context.logs = Array.from({ length: count }, () => []);
  context.breakers = context.logs.map((log, i) => {
    const breaker = new context.CircuitBreaker(async () => {}, { ...options, name: `up-${i}` });
    for (const event of ['open', 'close', 'missed']) {
      breaker.on(event, () => {
        log.push(event);
        context.log(i);
      });
    }
    return breaker;
  });
}

test('of many breakers that trip at once, each process hears each event once', async () => {
  const count = 500;
  const given = options('host');
  const peers = await startProcesses(4);
  const [first, second] = peers;
  await all(peers, makeMany, given, count);
  const move = (context, to, from, end) => {
    for (const breaker of context.breakers.slice(from, end)) breaker[to]();
  };
  const reach = total => all(peers, async (context, events) => {
    await context.until(() => context.events.length >= events);
  }, total);
  // Two of them at the same time, a half each.
  await Promise.all([first.run(move, 'open', 0, count / 2), second.run(move, 'open', count / 2)]);
  await reach(count);
  await first.run(move, 'close', 0);
  await reach(2 * count);
  // One more event of each: whatever was told twice has come before it.
  await second.run(move, 'open', 0);
  await reach(3 * count);
  for (const logs of await all(peers, context => context.logs)) {
    expect(logs).toEqual(Array(count).fill(['open', 'close', 'open']));
  }
});

test('of many breakers only those are told of that have tripped', async () => {
  const count = 200;
  const given = options('host');
  const peers = await startProcesses(3);
  const [first, second, third] = peers;
  await all(peers, makeMany, given, count);
  // A breaker that was shut down hears nothing more; those beside it do.
  await second.run(({ breakers }) => breakers[7].shutdown());
  for (const i of [0, 7, 8, count - 1]) await first.run(({ breakers }, n) => breakers[n].open(), i);
  // A process that is woken once for several tells of them in any order.
  const numbers = async (context, wanted) => {
    await context.until(() => context.events.length >= wanted);
    return context.events.sort((a, b) => a - b);
  };
  expect(await third.run(numbers, 4)).toEqual([0, 7, 8, count - 1]);
  expect(await second.run(numbers, 3)).toEqual([0, 8, count - 1]);
});

const canUnshare = spawnSync('unshare', ['--net', 'true']).status === 0;
const whoMayUnshare = canUnshare ? test : test.skip;

whoMayUnshare('in another network (needs the right to make one): by one\'s own calls', async () => {
  const given = options('host');
  const [first, late] = await startProcesses(2);
  const apart = await startProcess({ execPath: 'unshare', execArgv: ['--net', process.execPath] });
  await all([first, apart], make, given);
  await first.run(({ breaker }) => breaker.open());
  // A call that is on its way when the circuit opens may pass; the one after it may not.
  expect(await apart.run(context => context.fire(1, true))).toBeLessThanOrEqual(1);
  expect(await apart.run(context => context.fire(2, true))).toBe(0);
  expect(await heard([apart], 1)).toEqual([['open']]);
  // What it does itself, the others see in the same way.
  await late.run(make, given);
  await apart.run(({ breaker }) => breaker.close());
  await late.run(context => context.fire(1, true));
  expect(await late.run(context => context.fire(1, true))).toBe(1);
});

test('a ramp ends without an event, also for a process that joined during it', async () => {
  const given = options('host', { rampUp: 300 });
  const [first, late] = await startProcesses(2);
  await first.run(make, given);
  await first.run(({ breaker }) => { breaker.open(); breaker.close(); });
  await late.run(make, given);
  await first.run(async context => {
    await new Promise(resolve => { setTimeout(resolve, 350); });
    await context.fire(1, true);
    context.breaker.open();
  });
  expect(await heard([late], 1)).toEqual([['open']]);
});

test('each of 10,000 fast transitions is emitted or counted as missed', async () => {
  const given = options('host');
  const [writer, reader, asleep] = await startProcesses(3);
  await all([writer, reader, asleep], make, given);
  asleep.signal('SIGSTOP');
  await writer.run(({ breaker }) => {
    for (let i = 0; i < 5000; i++) {
      breaker.open();
      breaker.close();
    }
  });
  asleep.signal('SIGCONT');
  const told = await all([reader, asleep], async context => {
    const total = () =>
      context.events.reduce((sum, event) => sum + (event.missed ?? 1), 0);
    await context.until(() => total() >= 10_000);
    return { total: total(), events: context.events };
  });
  for (const { total, events } of told) {
    expect(total).toBe(10_000);
    // Those that are told alternate; what was missed in between keeps the parity.
    let position = 0;
    for (const event of events) {
      position += event.missed ?? 1;
      if (event.missed === undefined) expect(event).toBe(position % 2 === 1 ? 'open' : 'close');
    }
  }
  // A process that slept through it gets what the journal holds, the newest.
  expect(told[1].events.length).toBeLessThan(100);
  expect(await writer.run(({ events }) => events.length)).toBe(10_000);
});
