'use strict';

// The files behind shared breakers: made once, private, and healed when damaged.

const { randomBytes } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const { CircuitBreaker, regions } = require('../../lib');
const {
  all, cleanUp, newNamespace, startProcess, startProcesses
} = require('../support/shared-peers');

afterEach(cleanUp);

const action = async works => { if (!works) throw new Error('refused'); };
const options = more =>
  ({ scope: 'host', namespace: newNamespace(), name: 'upstream', timeout: false, ...more });
const make = (context, given) => context.make(given);
const entryOf = namespace => regions.list().find(entry => entry.namespace === namespace);

/** Where the region of a namespace will be. */
function fileOf (namespace) {
  const probe = newNamespace();
  const breaker = new CircuitBreaker(action, { scope: 'host', namespace: probe, name: 'x' });
  const { file } = entryOf(probe);
  breaker.shutdown();
  return file.slice(0, -probe.length) + namespace;
}

test('regions are listed and removed', async () => {
  const given = options();
  expect(entryOf(given.namespace)).toBeUndefined();
  const peer = await startProcess();
  await peer.run(make, given);
  const entry = entryOf(given.namespace);
  const { mode, uid } = fs.statSync(entry.file);
  expect([mode & 0o777, uid]).toEqual([0o600, process.getuid()]);
  expect(entry.bytes).toBeGreaterThan(4096);
  expect(entry.bytes).toBeLessThan(2 ** 20);
  expect(Date.now() - entry.modified).toBeLessThan(60_000);

  await peer.run(({ breaker }) => breaker.open());
  expect(regions.remove(given.namespace)).toBe(true);
  expect(regions.remove(given.namespace)).toBe(false);
  expect(entryOf(given.namespace)).toBeUndefined();
  expect(await peer.run(({ breaker }) => breaker.opened)).toBe(true);
  expect(new CircuitBreaker(action, given).closed).toBe(true);
  for (const bad of ['../x', '', 'a/b', undefined]) {
    expect(() => regions.remove(bad)).toThrow(expect.objectContaining(
      { code: 'ERR_INVALID_OPTION' }));
  }
});

test('a namespace may look like an unfinished file', () => {
  const namespace = `${newNamespace()}.12.stable`;
  const breaker = new CircuitBreaker(action, { scope: 'host', namespace, name: 'x' });
  expect(entryOf(namespace)).toMatchObject({ namespace });
  regions.remove(namespace);
  breaker.shutdown();
});

test('fifty processes at once make one region', async () => {
  const given = options();
  const peers = await startProcesses(50);
  await all(peers, make, given);
  await all(peers, context => context.fire(10, true));
  const stats = await all(peers, ({ breaker }) => [breaker.stats.fires, breaker.stats.local.fires]);
  expect(stats).toEqual(peers.map(() => [500, 10]));
  const { file } = entryOf(given.namespace);
  const rest = fs.readdirSync(path.dirname(file)).filter(name =>
    name.startsWith(path.basename(file)));
  expect(rest).toEqual([path.basename(file)]);
}, 120_000);

describe('a file that is no region of ours', () => {
  const attempt = given => {
    try {
      return new CircuitBreaker(action, given);
    } catch (error) {
      return error;
    }
  };

  test.each([
    ['a symbolic link', file => fs.symlinkSync('/dev/null', file)],
    ['a symbolic link to a region', file => {
      const other = options();
      new CircuitBreaker(action, other).shutdown();
      fs.symlinkSync(entryOf(other.namespace).file, file);
    }],
    ['a folder', file => fs.mkdirSync(file)],
    ['one that others may read', file => fs.writeFileSync(file, '', { mode: 0o644 })]
  ])('%s is refused, and left alone', (_, prepare) => {
    const given = options();
    const file = fileOf(given.namespace);
    prepare(file);
    const { ino } = fs.lstatSync(file);
    const error = attempt(given);
    expect(error.message).toContain(file);
    expect(['ERR_REGION_FOREIGN', 'ERR_REGION_SYSTEM']).toContain(error.code);
    expect(fs.lstatSync(file).ino).toBe(ino);
    fs.rmSync(file, { recursive: true });
    expect(attempt(given).closed).toBe(true);
  });

  const asRoot = process.getuid() === 0 ? test : test.skip;
  asRoot('one of another user is refused', () => {
    const given = options();
    const file = fileOf(given.namespace);
    fs.writeFileSync(file, '', { mode: 0o600 });
    fs.chownSync(file, 65534, 65534);
    expect(attempt(given)).toMatchObject({ code: 'ERR_REGION_FOREIGN' });
    fs.rmSync(file);
  });
});

describe('a damaged file', () => {
  const damages = {
    'an empty one': file => fs.truncateSync(file, 0),
    'a truncated one': file => fs.truncateSync(file, 100_000),
    'one that is too long': file => fs.truncateSync(file, fs.statSync(file).size + 4096),
    'one with another beginning': file => {
      const fd = fs.openSync(file, 'r+');
      fs.writeSync(fd, randomBytes(64), 0, 64, 0);
      fs.closeSync(fd);
    }
  };

  test.each(Object.entries(damages))('%s is replaced, with a warning', async (_, damage) => {
    const given = options();
    const gone = await startProcess();
    await gone.run(make, given);
    await gone.kill();
    damage(entryOf(given.namespace).file);
    const peers = await startProcesses(2);
    await all(peers, make, given);
    await all(peers, context => context.fire(10, true));
    expect(await all(peers, ({ breaker }) => breaker.stats.fires)).toEqual([20, 20]);
    const warnings = (await all(peers, context => context.warnings)).flat();
    expect(warnings).toEqual([expect.stringContaining('A damaged region was replaced')]);
  });
});

describe('random bytes in a region that is in use', () => {
  const HOT_BYTES = 300_000; // The header, the table and the records of a young region.

  test.each([['anywhere', 0], ['among the records', 130_000]])('%s', async (_, from) => {
    const given = options({ resetTimeout: 50, consecutiveFailures: 3, timeout: 100 });
    const peers = await startProcesses(2);
    await all(peers, make, given);
    const { file } = entryOf(given.namespace);
    const fd = fs.openSync(file, 'r+');
    for (let round = 0; round < 40; round++) {
      for (let i = 0; i < 200; i++) {
        // The magic number stays: a file without it is not opened but replaced.
        const at = Math.max(8, from + Math.floor(Math.random() * (HOT_BYTES - from)));
        fs.writeSync(fd, randomBytes(8), 0, 8, at);
      }
      await all(peers, async context => {
        await context.fire(5, true);
        await context.fire(5, false);
        return context.breaker.stats.fires; // Damage may look like millions of latencies.
      });
    }
    fs.closeSync(fd);
    // Whatever the state is: it is not for long, and failures open the circuit.
    await all(peers, async context => {
      const pause = ms => new Promise(resolve => { setTimeout(resolve, ms); });
      for (let i = 0; i < 100 && !context.breaker.closed; i++) {
        await context.fire(1, true);
        await pause(20);
      }
      if (!context.breaker.closed) throw new Error('It does not recover');
    });
    expect(await peers[0].run(context => context.fire(20, false))).toBeLessThan(20);
    // Another name finds its place.
    const late = await startProcess();
    const answer = await late.run((context, others) => {
      context.make(others);
      return context.fire(3, true);
    }, { ...given, name: 'another' });
    expect(answer).toBe(3);
  });
});

test('another layout of the same namespace stays as it is', async () => {
  const given = options();
  const file = fileOf(given.namespace);
  const other = file.replace(/-v1\.[0-9a-f]{8}-/, '-v1.00000000-');
  expect(other).not.toBe(file);
  const content = randomBytes(4096);
  fs.writeFileSync(other, content, { mode: 0o600 });
  const peers = await startProcesses(2);
  await all(peers, make, given);
  await peers[0].run(({ breaker }) => breaker.open());
  expect(regions.list().map(entry => entry.file)).not.toContain(other);
  expect(regions.remove(given.namespace)).toBe(true);
  expect(fs.readFileSync(other)).toEqual(content);
  fs.rmSync(other);
});

describe('files that nobody uses any more', () => {
  /** Where the region of another process namespace and boot would be. */
  const elsewhere = namespace =>
    fileOf(namespace).replace(/^(.*sekering-\d+-)\d+-[\da-f]+-/, '$11-0123abcd-');
  const join = (context, file) => context.require('../../lib/base/native').joinRegion(file);

  test.each(['host', `p${process.pid}.1`])(
    'of another process namespace (%s) are removed, and not before', async owner => {
      const file = elsewhere(newNamespace()).replace('-host-', `-${owner}-`);
      const member = await startProcess();
      expect(await member.run(join, file)).toBeGreaterThanOrEqual(0);
      const [first, second] = await startProcesses(2);
      await first.run(make, options());
      expect(fs.existsSync(file)).toBe(true);
      await member.kill();
      await second.run(make, options());
      expect(fs.existsSync(file)).toBe(false);
    });

  test('of this process namespace stay: their state outlives their processes', async () => {
    const given = options({ resetTimeout: 3_600_000 });
    const gone = await startProcess();
    await gone.run(make, given);
    await gone.run(({ breaker }) => breaker.open());
    await gone.kill();
    const [other, late] = await startProcesses(2);
    await other.run(make, options());
    await late.run(make, given);
    expect(await late.run(({ breaker }) => breaker.opened)).toBe(true);
  });

  test('do not prevent other processes from starting if they cannot be removed', async () => {
    const file = elsewhere(newNamespace());
    const foreign = file.replace('-host-', '-p1.1-');
    fs.mkdirSync(file);
    fs.writeFileSync(foreign, '', { mode: 0o644 });
    const peer = await startProcess();
    await peer.run(make, options());
    expect([file, foreign].map(it => fs.existsSync(it))).toEqual([true, true]);
    fs.rmdirSync(file);
    fs.rmSync(foreign);
  });
});
