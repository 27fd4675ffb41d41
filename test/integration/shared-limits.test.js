'use strict';

// Limits of a whole host: bulkheads, rate limiters and retry budgets in several processes and
// threads, some of which are killed or stopped.

const http = require('node:http');
const { once } = require('node:events');

const { Bulkhead, RateLimiter } = require('../../lib');
const {
  all, cleanUp, newNamespace, startProcess, startProcesses, startThread, startThreads
} = require('../support/shared-peers');

afterEach(cleanUp);

const place = (scope = 'host') => ({ scope, namespace: newNamespace(), name: 'upstream' });

/** Takes `count` places there and keeps them; answers how many are in use everywhere. */
const hold = (context, options, count) => {
  const bulkhead = (context.bulkhead ??= new context.Bulkhead(options));
  for (let i = 0; i < count; i++) {
    bulkhead.execute(() => new Promise(resolve => { context.letGo = resolve; }));
  }
  return bulkhead.active;
};

/** An upstream that counts how many calls it serves at once, a few milliseconds each. */
async function startUpstream (together) {
  const seen = { now: 0, most: 0, total: 0 };
  const first = [];
  const server = http.createServer((request, response) => {
    seen.total += 1;
    seen.now += 1;
    seen.most = Math.max(seen.most, seen.now);
    const end = () => setTimeout(() => {
      seen.now -= 1;
      response.end('ok');
    }, 1 + seen.total % 4);
    // The first ones wait until as many are there as may be.
    first.push(end);
    if (seen.total >= together) for (const each of first.splice(0)) each();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, seen, port: server.address().port };
}

describe('Bulkhead', () => {
  test('processes under full load never exceed their shared limit', async () => {
    const { server, seen, port } = await startUpstream(5);
    const peers = await startProcesses(4);
    const options = { ...place(), maxConcurrent: 5, maxQueue: 100 };
    const done = await all(peers, async (context, given, to) => {
      const { Agent, request } = context.require('node:http');
      const agent = new Agent({ keepAlive: true });
      const get = () => new Promise((resolve, reject) => {
        request({ port: to, host: '127.0.0.1', agent }, answer => {
          answer.resume().on('end', resolve);
        }).on('error', reject).end();
      });
      const bulkhead = new context.Bulkhead(given);
      await Promise.all(Array.from({ length: 60 }, () => bulkhead.execute(get)));
      agent.destroy();
      return bulkhead.queued;
    }, options, port);
    server.close();
    expect(done).toEqual([0, 0, 0, 0]);
    expect(seen).toEqual({ now: 0, most: 5, total: 240 });
    expect(new Bulkhead(options).active).toBe(0);
  });

  const ends = {
    'is killed': [startProcess, peer => peer.kill('SIGKILL')],
    'exits': [startProcess, peer => {
      peer.run(() => process.exit()).catch(() => {});
      return peer.gone;
    }],
    'is a thread that is terminated': [startThread, peer => peer.kill()],
  };
  test.each(Object.keys(ends))('the places of one that %s come back', async how => {
    const [start, end] = ends[how];
    const peer = await start();
    const options = { ...place(), maxConcurrent: 5, maxQueue: 1 };
    const mine = new Bulkhead(options);
    expect(await peer.run(hold, options, 5)).toBe(5);
    expect(mine.active).toBe(5);
    expect(mine.local.active).toBe(0);
    // Whoever waits already gets a place as well as whoever comes later.
    const waiting = mine.execute(() => 'waited');
    await expect(mine.execute(() => {})).rejects.toMatchObject({ code: 'EBULKHEADFULL' });
    await end(peer);
    expect(await waiting).toBe('waited');
    const held = Array.from({ length: 5 }, () => mine.execute(() => new Promise(() => {})));
    expect(held).toHaveLength(5);
    expect([mine.active, mine.local.active]).toEqual([5, 5]);
  });

  test('a stopped process keeps its slots, and does not block others', async () => {
    const peer = await startProcess();
    const options = { ...place(), maxConcurrent: 2 };
    await peer.run(hold, options, 1);
    peer.signal('SIGSTOP');
    const mine = new Bulkhead(options);
    const start = performance.now();
    for (let i = 0; i < 100; i++) {
      const first = mine.execute(async () => i);
      await expect(mine.execute(() => {})).rejects.toMatchObject({ code: 'EBULKHEADFULL' });
      expect(await first).toBe(i);
    }
    expect(performance.now() - start).toBeLessThan(5000);
    peer.signal('SIGCONT');
    await peer.run(context => context.letGo());
    expect(await peer.run(({ bulkhead }) => bulkhead.active)).toBe(0);
    expect(await Promise.all([mine.execute(() => 1), mine.execute(() => 2)])).toEqual([1, 2]);
  });

  test('a queue that is never empty leaves slots to other queues', async () => {
    const peer = await startProcess();
    const options = { ...place(), maxConcurrent: 1, maxQueue: 10 };
    await peer.run(async (context, given) => {
      const { setTimeout: pause } = context.require('node:timers/promises');
      const bulkhead = new context.Bulkhead(given);
      const again = () => bulkhead.execute(() => pause(2)).then(again);
      for (let i = 0; i < 5; i++) again();
      await pause(20);
    }, options);
    const mine = new Bulkhead({ ...options, queueTimeout: 15_000 });
    for (let i = 0; i < 5; i++) expect(await mine.execute(() => i)).toBe(i);
  });

  test('threads share a process\'s limit, and other processes have their own', async () => {
    const [one, two] = await startThreads(2);
    const other = await startProcess();
    const options = { ...place('process'), maxConcurrent: 3 };
    const mine = new Bulkhead(options);
    expect(await one.run(hold, options, 2)).toBe(2);
    expect(await two.run(hold, options, 1)).toBe(3);
    expect(mine.active).toBe(3);
    await expect(mine.execute(() => {})).rejects.toMatchObject({ code: 'EBULKHEADFULL' });
    expect(await other.run(hold, options, 1)).toBe(1);
  });

  test('a garbage-collected bulkhead releases slots of calls that never end', async () => {
    const peer = await startProcess();
    const options = { ...place(), maxConcurrent: 1 };
    await peer.run((context, given) => {
      new context.Bulkhead(given).execute(() => new Promise(() => {}));
    }, options);
    const mine = new Bulkhead(options);
    expect(mine.active).toBe(1);
    await peer.run(async (context, given) => {
      context.require('node:v8').setFlagsFromString('--expose-gc');
      const collect = context.require('node:vm').runInNewContext('gc');
      const { setImmediate: turn } = context.require('node:timers/promises');
      const bulkhead = new context.Bulkhead(given);
      for (let i = 0; i < 100 && bulkhead.active > 0; i++) {
        collect();
        await turn();
      }
    }, options);
    expect(mine.active).toBe(0);
  });

  test('without waiting calls the process can end', async () => {
    const peer = await startProcess();
    await peer.run(async (context, options) => {
      const { setTimeout: pause } = context.require('node:timers/promises');
      const bulkhead = new context.Bulkhead({ ...options, maxConcurrent: 1, maxQueue: 5 });
      const controller = new AbortController();
      const calls = [1, 2, 3].map(() => bulkhead.execute(() => pause(5)));
      calls.push(bulkhead.execute(() => {}, { signal: controller.signal }).catch(() => {}));
      controller.abort();
      await Promise.all(calls);
      setImmediate(() => process.disconnect());
    }, place());
    expect(await peer.gone).toBe(0);
  });
});

describe('RateLimiter', () => {
  test('processes together admit no more than the rate and the burst', async () => {
    const RATE = 100;
    const BURST = 10;
    const peers = await startProcesses(3);
    const options = { ...place(), limit: RATE, interval: 1000, burst: BURST };
    const takeAll = async () => (await all(peers, async (context, given) => {
      const limiter = (context.limiter ??= new context.RateLimiter(given));
      const { setTimeout: pause } = context.require('node:timers/promises');
      const now = () => Number(process.hrtime.bigint() / 1000n) / 1000;
      const times = [];
      for (const end = now() + 1000; now() < end; await pause(1)) {
        for (let i = 0; i < 20; i++) {
          const before = now();
          if (limiter.tryTake()) times.push([before, now()]);
        }
      }
      return times;
    }, options)).flat().sort(([a], [b]) => a - b);
    // While all of them stand still nobody takes: then they are asked once more.
    let share = 0;
    for (let round = 0; round < 8 && share <= 0.9; round++) {
      const taken = await takeAll();
      // Each was admitted at some moment between its two times.
      const faults = taken.flatMap(([from]) => taken.flatMap(([, to]) => {
        const inside = taken.filter(([a, b]) => a >= from && b <= to).length;
        const allowed = BURST + RATE * (to - from) / 1000;
        return inside > Math.max(allowed, 0) ? [{ from, to, inside, allowed }] : [];
      }));
      expect(faults).toEqual([]);
      const seconds = (taken.at(-1)[1] - taken[0][0]) / 1000;
      share = taken.length / (BURST + RATE * seconds);
    }
    expect(share).toBeGreaterThan(0.9);
  });

  /** What ten calls at once of each process are told, sorted. */
  async function tenEach (peers, options) {
    const outcomes = await all(peers, (context, given) => {
      const limiter = new context.RateLimiter(given);
      const call = () => limiter.execute(() => 'done').catch(error => error.code);
      return Promise.all(Array.from({ length: 10 }, call));
    }, options);
    return outcomes.flat().sort();
  }

  test('waiting calls share the rate', async () => {
    const peers = await startProcesses(2);
    const options = { ...place(), limit: 50, interval: 1000, burst: 1, maxWait: 600_000 };
    const start = performance.now();
    expect(await tenEach(peers, options)).toEqual(new Array(20).fill('done'));
    // The first of them waits for nothing; the others for 20 ms each.
    expect(performance.now() - start).toBeGreaterThanOrEqual(19 * 20 - 1);
  });

  test('a call that would wait longer than maxWait is refused at once', async () => {
    const peers = await startProcesses(2);
    const options = { ...place(), limit: 1, interval: 1e9, burst: 1, maxWait: 1e6 };
    expect(await tenEach(peers, options)).toEqual([...new Array(19).fill('ERATELIMITED'), 'done']);
  });

  test('tokens of a killed process stay taken', async () => {
    const peer = await startProcess();
    const options = { ...place(), limit: 1, interval: 1e6, burst: 10 };
    await peer.run((context, given) => new context.RateLimiter(given).tryTake(7), options);
    await peer.kill();
    const mine = new RateLimiter(options);
    expect([mine.tryTake(4), mine.tryTake(3), mine.tryTake()]).toEqual([false, true, false]);
  });
});

describe('RetryBudget', () => {
  test('the successes of all processes pay exactly for the retries of all', async () => {
    const peers = await startProcesses(3);
    const options = { ...place(), ratio: 0.1, reservePerSecond: 0, max: 1000 };
    await all(peers, (context, given) => {
      const budget = (context.budget = new context.RetryBudget(given));
      for (let i = 0; i < 1000; i++) budget.deposit();
    }, options);
    expect(await peers[0].run(({ budget }) => budget.balance())).toBeCloseTo(300);
    const spent = await all(peers, ({ budget }) => {
      let count = 0;
      while (budget.tryWithdraw()) count += 1;
      return count;
    });
    expect(spent.reduce((a, b) => a + b)).toBe(300);
  });
});
