'use strict';

// One breaker in several processes: its counts, its state and its probes.

const fs = require('node:fs');

const {
  all, cleanUp, newNamespace, startProcesses
} = require('../support/shared-peers');

afterEach(cleanUp);

const base = () => ({
  scope: 'host', namespace: newNamespace(), name: 'upstream', timeout: false,
  rollingCountTimeout: 60_000, errorThresholdPercentage: 100
});
const make = (context, options, action) => context.make(options, action);

test('the counts of four processes add up; stats.local is one\'s own', async () => {
  const options = base();
  const peers = await startProcesses(4);
  await all(peers, make, options);
  await Promise.all(peers.map((peer, i) => peer.run(async (context, successes) => {
    for (let n = 0; n < successes; n++) await context.breaker.fire(true);
    for (let n = 0; n < 10; n++) await context.breaker.fire(false).catch(() => {});
  }, 1000 * (i + 1))));
  const stats = await all(peers, ({ breaker }) => breaker.stats);
  stats.forEach(({ fires, successes, failures, local, latencyTimes }, i) => {
    expect({ fires, successes, failures })
      .toEqual({ fires: 10_040, successes: 10_000, failures: 40 });
    expect(latencyTimes).toHaveLength(10_040);
    expect(local).toMatchObject({
      fires: 1000 * (i + 1) + 10, successes: 1000 * (i + 1), failures: 10
    });
  });
});

test('the last counts of a process that exits at once are kept', async () => {
  const options = base();
  const [leaving, staying] = await startProcesses(2);
  await all([leaving, staying], make, options);
  leaving.run(({ breaker }) => {
    for (let i = 0; i < 100; i++) breaker.fire(true);
    process.exit();
  }).catch(() => {});
  await leaving.gone;
  expect(await staying.run(({ breaker }) => breaker.stats.fires)).toBe(100);
});

test('a process\'s failures open the circuit for all', async () => {
  const options = { ...base(), consecutiveFailures: 3, resetTimeout: 60_000 };
  const peers = await startProcesses(3);
  await all(peers, make, options);
  expect(await peers[0].run(context => context.fire(2, false))).toBe(2);
  expect(await peers[1].run(context => context.fire(2, false))).toBe(1);
  await all(peers, context => context.until(() => context.breaker.opened));
  expect(await all(peers, context => context.fire(5, true))).toEqual([0, 0, 0]);
});

test('one process\'s probe closes the circuit for all', async () => {
  const options = { ...base(), resetTimeout: 100 };
  const peers = await startProcesses(2);
  await all(peers, make, options);
  await peers[0].run(({ breaker }) => breaker.open());
  await peers[1].run(context => context.until(() => context.breaker.halfOpen));
  expect(await peers[1].run(context => context.fire(1, true))).toBe(1);
  await peers[0].run(context => context.until(() => context.breaker.closed));
});

test('a process that starts while the circuit is open probes after resetTimeout', async () => {
  const options = { ...base(), resetTimeout: 4000 };
  const [first, late] = await startProcesses(2);
  await first.run(make, options);
  await first.run(({ breaker }) => breaker.open());
  await first.kill();
  await late.run(make, options);
  await late.run(context => context.until(() => context.breaker.halfOpen));
  expect(await late.run(context => context.fire(1, true))).toBe(1);
  expect(await late.run(({ events }) => events)).toEqual(['halfOpen', 'close']);
});

describe('a probe that never settles', () => {
  const options = () => ({ ...base(), resetTimeout: 50 });

  /** Whether a process is stopped. */
  const isStopped = ({ pid }) => / T /.test(fs.readFileSync(`/proc/${pid}/stat`, 'utf8'));

  async function withProbe (timeout, stops = false) {
    const given = { ...options(), timeout };
    const [owner, other] = await startProcesses(2);
    await owner.run(make, given, 'hang');
    await other.run(make, given, 'given');
    const begun = owner.run(async (context, isLast) => {
      context.breaker.open();
      await context.until(() => context.breaker.halfOpen);
      context.breaker.fire().catch(() => {});
      // At once: later its timeout could be faster.
      if (isLast) process.kill(process.pid, 'SIGSTOP');
    }, stops);
    if (stops) while (!isStopped(owner)) await new Promise(resolve => { setTimeout(resolve, 5); });
    else await begun;
    await other.run(context => context.until(() => context.breaker.halfOpen));
    expect(await other.run(context => context.fire(3, true))).toBe(0);
    return { owner, other };
  }

  test('is over at once when its process is killed', async () => {
    const { owner, other } = await withProbe(600_000);
    await owner.kill();
    expect(await other.run(context => context.fire(1, true))).toBe(1);
    expect(await other.run(({ breaker }) => breaker.closed)).toBe(true);
  });

  test('is over when its lease ends, even if its process is only stopped', async () => {
    // The lease is a second longer than the timeout.
    const { owner, other } = await withProbe(3000, true);
    const began = performance.now();
    const passed = await other.run(async context => {
      const pause = () => new Promise(resolve => { setTimeout(resolve, 20); });
      while (await context.fire(1, true) === 0) await pause();
      return context.breaker.closed;
    });
    expect(passed).toBe(true);
    expect(performance.now() - began).toBeGreaterThan(500);
    owner.signal('SIGCONT');
    // Its own end comes late, belongs to an earlier period, and changes nothing.
    await owner.run(context => context.until(() => context.breaker.closed));
    expect(await other.run(({ breaker }) => breaker.closed)).toBe(true);
  });

  test('all processes together never have more probes than halfOpenProbes', async () => {
    const given = { ...base(), resetTimeout: 50, halfOpenProbes: 3, timeout: 600_000 };
    const peers = await startProcesses(3);
    await all(peers, make, given, 'hang');
    await peers[0].run(({ breaker }) => breaker.open());
    await all(peers, context => context.until(() => context.breaker.halfOpen));
    const begun = await all(peers, async ({ breaker }) => {
      let refused = 0;
      for (let i = 0; i < 5; i++) breaker.fire().catch(() => { refused += 1; });
      await new Promise(resolve => { setImmediate(resolve); });
      return 5 - refused;
    });
    expect(begun.reduce((sum, n) => sum + n)).toBe(3);
  });
});

describe('shareTrip: { processes: 2 }', () => {
  test('failures in one process do not open the circuit, in two they do', async () => {
    const options = {
      ...base(), consecutiveFailures: 3, shareTrip: { processes: 2 }, resetTimeout: 60_000
    };
    const [sick, well] = await startProcesses(2);
    await all([sick, well], make, options);
    expect(await sick.run(context => context.fire(50, false))).toBe(50);
    expect(await well.run(({ breaker }) => breaker.closed)).toBe(true);
    expect(await well.run(context => context.fire(5, false))).toBe(1);
    await sick.run(context => context.until(() => context.breaker.opened));
  });

  test('the failures that a process saw before the window do not count', async () => {
    const options = {
      ...base(), consecutiveFailures: 2, shareTrip: { processes: 2 }, resetTimeout: 60_000,
      rollingCountTimeout: 400, rollingCountBuckets: 2
    };
    const [one, other] = await startProcesses(2);
    await all([one, other], make, options);
    await one.run(context => context.fire(2, false));
    await new Promise(resolve => { setTimeout(resolve, 700); });
    expect(await other.run(context => context.fire(10, false))).toBe(10);
    // Failures of both within a window open it. On a machine that pauses, this may take more tries.
    while (await other.run(({ breaker }) => breaker.closed)) {
      await other.run(context => context.fire(2, false));
      await one.run(context => context.fire(1, false));
    }
  });
});
