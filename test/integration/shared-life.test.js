'use strict';

// Shared breakers and the life of processes and threads: nothing is held, left behind, kept busy.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const {
  all, cleanUp, newNamespace, startProcess, startProcesses, startThread
} = require('../support/shared-peers');
const { regions } = require('../../lib');
const { fileOf } = require('../../lib/base/regions');

afterEach(cleanUp);

const options = more => ({
  scope: 'host', namespace: newNamespace(), name: 'upstream', resetTimeout: 60_000, ...more
});
const make = (context, given) => context.make(given);

/** The process-wide region files of this process id. */
function filesOf (pid) {
  const namespace = newNamespace();
  const { CircuitBreaker } = require('../../lib');
  new CircuitBreaker(async () => {}, { scope: 'host', namespace, name: 'x' }).shutdown();
  const folder = path.dirname(regions.list()[0].file);
  return fs.readdirSync(folder).filter(name => name.includes(`-p${pid}.`) &&
    !/~p\d{3}$/.test(name)); // A lock, where locks have files.
}

test.each(['host', 'process'])('a shared breaker (%s) keeps no process alive', scope => {
  const given = JSON.stringify(options({ scope }));
  const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', `
    const { CircuitBreaker } = require(${JSON.stringify(require.resolve('../../lib'))});
    const breaker = new CircuitBreaker(async () => {}, ${given});
    breaker.on('close', () => {});
    breaker.fire().then(() => { breaker.open(); console.log('opened'); });
  `], { encoding: 'utf8', timeout: 100_000 });
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'opened\n', stderr: '' });
});

test('while nothing happens, no thread wakes up', async () => {
  const given = options();
  const peers = await startProcesses(2);
  await all(peers, make, given);
  await peers[0].run(({ breaker }) => breaker.open());
  await all(peers, context => context.until(() => context.breaker.opened));
  const idle = await all(peers, async context => {
    const { readFileSync, readdirSync } = context.require('node:fs');
    const pause = ms => new Promise(resolve => { setTimeout(resolve, ms); });
    const waits = () => readdirSync('/proc/self/task')
      .filter(id => Number(id) !== process.pid)
      .map(id => Number(/\nvoluntary_ctxt_switches:\s+(\d+)/.exec(
        readFileSync(`/proc/self/task/${id}/status`, 'utf8'))[1]));
    await pause(500);
    let seen;
    // The engine's own threads may clean up a little, for longer where there is little time for
    // it; a poll would show each time.
    for (let round = 0; round < 5; round++) {
      const before = waits();
      const cpu = process.cpuUsage();
      await pause(2000);
      const { user, system } = process.cpuUsage(cpu);
      const wakes = waits().reduce((sum, n, i) => sum + n - before[i], 0);
      seen = { ms: (user + system) / 1000, wakes };
      if (seen.ms < 40 && wakes < 10) break;
    }
    return seen;
  });
  for (const { ms, wakes } of idle) {
    expect(wakes).toBeLessThan(10);
    expect(ms).toBeLessThan(40);
  }
});

describe("scope 'process'", () => {
  test('its file is deleted when the process ends', async () => {
    const peer = await startProcess();
    await peer.run(make, options({ scope: 'process' }));
    expect(filesOf(peer.pid)).toHaveLength(1);
    peer.run(() => process.exit()).catch(() => {});
    await peer.gone;
    expect(filesOf(peer.pid)).toEqual([]);
  });

  test('the file of a killed process is deleted by the next one', async () => {
    const [killed, alive] = await startProcesses(2);
    await all([killed, alive], make, options({ scope: 'process' }));
    expect(filesOf(killed.pid)).toHaveLength(1);
    await killed.kill();
    // Any other process that joins a region here may be the next one.
    const next = await startProcess();
    await next.run(make, options({ scope: 'process' }));
    expect(filesOf(killed.pid)).toEqual([]);
    expect(filesOf(alive.pid)).toHaveLength(1);
  });

  test('a process with the pid of a dead one does not share its breakers', async () => {
    const [owner, next] = await startProcesses(2);
    await owner.run(make, options({ scope: 'process' }));
    const [own] = filesOf(owner.pid);
    // As a process of that number would have left it that began earlier.
    const left = own.replace(/-p(\d+)\.\d+-/, '-p$1.1-');
    expect(left).not.toBe(own);
    const folder = path.dirname(fileOf('process', 'any'));
    fs.writeFileSync(path.join(folder, left), '', { mode: 0o600 });
    await next.run(make, options({ scope: 'process' }));
    expect(filesOf(owner.pid)).toEqual([own]);
  });

  test('processes do not share it', async () => {
    const given = options({ scope: 'process' });
    const peers = await startProcesses(2);
    await all(peers, make, given);
    await peers[0].run(({ breaker }) => breaker.open());
    expect(await peers[1].run(async context => {
      await context.fire(1, true);
      return context.breaker.closed;
    })).toBe(true);
  });

  test('a terminated thread\'s probe is over at once', async () => {
    const given = options({ scope: 'process', resetTimeout: 50, timeout: 600_000 });
    const [owner, other] = [await startThread(), await startThread()];
    await owner.run((context, o) => context.make(o, 'hang'), given);
    await other.run(make, given);
    await owner.run(async context => {
      context.breaker.open();
      await context.until(() => context.breaker.halfOpen);
      context.breaker.fire().catch(() => {});
    });
    await other.run(context => context.until(() => context.breaker.halfOpen));
    expect(await other.run(context => context.fire(1, true))).toBe(0);
    await owner.kill();
    expect(await other.run(context => context.fire(1, true))).toBe(1);
  });
});

test('fifty threads start and are terminated during their calls', async () => {
  const given = options({ scope: 'process', consecutiveFailures: 1e9 });
  const peer = await startProcess();
  await peer.run(make, given);
  const result = await peer.run(async (context, o) => {
    const { Worker } = context.require('node:worker_threads');
    const { join } = context.require('../../lib/base/regions');
    const native = context.require('../../lib/base/native');
    const source = `
      const { parentPort } = require('node:worker_threads');
      const { CircuitBreaker } = require(${JSON.stringify(context.require.resolve('../../lib'))});
      const breaker = new CircuitBreaker(async x => x, ${JSON.stringify(o)});
      breaker.on('open', () => {});
      for (let i = 0; i < 100; i++) breaker.fire(i);
      parentPort.postMessage('fired');
      (async () => { for (;;) await breaker.fire(1); })();`;
    for (let round = 0; round < 10; round++) {
      await Promise.all(Array.from({ length: 5 }, async () => {
        const worker = new Worker(source, { eval: true });
        await new Promise((resolve, reject) => {
          worker.once('message', resolve);
          worker.once('error', reject);
        });
        await worker.terminate();
      }));
      // News travel while threads end.
      context.breaker.open();
      context.breaker.close();
    }
    const { participants } = native.regionInfo(join(o.scope, o.namespace));
    return { participants, fires: context.breaker.stats.fires };
  }, given);
  expect(result.participants).toBe(1);
  expect(result.fires).toBeGreaterThanOrEqual(5000);
});
