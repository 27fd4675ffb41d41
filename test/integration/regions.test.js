'use strict';

// The files behind shared breakers: made once, private, and healed when damaged.

const { spawn, spawnSync } = require('node:child_process');
const { randomBytes } = require('node:crypto');
const { once } = require('node:events');
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

/** Where the region of another process namespace and boot would be. */
const elsewhere = namespace =>
  fileOf(namespace).replace(/^(.*sekering-\d+-)\d+-[\da-f]+-/, '$11-0123abcd-');

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
});

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
    const given = options({ strictScope: true });
    const file = fileOf(given.namespace);
    prepare(file);
    const { ino } = fs.lstatSync(file);
    const error = attempt(given);
    expect(error.message).toContain(file);
    expect(['ERR_REGION_FOREIGN', 'ERR_REGION_SYSTEM']).toContain(error.code);
    expect(attempt({ ...given, strictScope: false }).scope).toBe('process');
    expect(fs.lstatSync(file).ino).toBe(ino);
    fs.rmSync(file, { recursive: true });
    expect(attempt(given).closed).toBe(true);
  });

  const asRoot = process.getuid() === 0 ? test : test.skip;
  asRoot('one of another user is refused', () => {
    const given = options({ strictScope: true });
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

describe('what else there may be in the folder', () => {
  const inFolder = name => path.join(regions.directory(), name);
  const rest = [];
  afterEach(() => { for (const file of rest.splice(0)) fs.rmSync(file, { recursive: true }); });
  const put = (file, work) => {
    work(file);
    rest.push(file);
    return file;
  };

  test('files and folders of other programs are ignored, and stay', async () => {
    const found = regions.list();
    const odd = [
      put(inFolder('notes.txt'), file => fs.writeFileSync(file, 'x')),
      put(inFolder('sekering-'), file => fs.mkdirSync(file)),
      put(fileOf(newNamespace()), file => fs.mkdirSync(file)),
      put(inFolder('sekering-bell-0123456789abcdef'), file => fs.symlinkSync('/dev/null', file)),
      put(`${fileOf(newNamespace())}~x`, file => fs.writeFileSync(file, '')),
    ];
    expect(regions.list()).toHaveLength(found.length + 2); // Those that fileOf() makes.
    const peer = await startProcess();
    await peer.run(make, options());
    expect(await peer.run(context => context.fire(3, true))).toBe(3);
    expect(odd.map(file => fs.lstatSync(file, { throwIfNoEntry: false }) !== undefined))
      .toEqual(odd.map(() => true));
  });

  test('a lock of flock(1) on a region holds up nobody', async () => {
    const given = options();
    const first = await startProcess();
    await first.run(make, given);
    const { file } = entryOf(given.namespace);
    const holder = spawn('flock',
      ['--no-fork', '-x', file, 'sh', '-c', 'echo held; exec sleep 300']);
    await once(holder.stdout, 'data');
    const late = await startProcess();
    await late.run(make, given);
    await first.run(({ breaker }) => breaker.open());
    await late.run(context => context.until(() => context.breaker.opened));
    const ended = once(holder, 'exit');
    holder.kill();
    await ended;
  });

  test('a sparse file of the right size is replaced; holes in a region are filled', async () => {
    const given = options();
    const gone = await startProcess();
    await gone.run(make, given);
    await gone.kill();
    const { file } = entryOf(given.namespace);
    const { size, blocks } = fs.statSync(file);
    const magic = Buffer.alloc(8);
    const fd = fs.openSync(file, 'r');
    fs.readSync(fd, magic, 0, magic.length, 0);
    fs.closeSync(fd);
    fs.truncateSync(file, 0);
    fs.truncateSync(file, size);
    const one = await startProcess();
    await one.run(make, given);
    expect(await one.run(context => context.warnings))
      .toEqual([expect.stringContaining('A damaged region was replaced')]);
    await one.kill();

    // Only its beginning has come through.
    fs.truncateSync(file, 0);
    fs.writeFileSync(file, magic, { flag: 'r+' });
    fs.truncateSync(file, size);
    expect(fs.statSync(file).blocks).toBeLessThan(blocks);
    const other = await startProcess();
    await other.run(make, given);
    expect(fs.statSync(file).blocks).toBeGreaterThanOrEqual(33 * 8);
    expect(await other.run(context => context.fire(3, true))).toBe(3);
  });

  test('a hard link to a region leads to it, and does not outlive its removal', async () => {
    const given = options();
    const peer = await startProcess();
    await peer.run(make, given);
    const { file } = entryOf(given.namespace);
    const link = put(inFolder('a link'), it => fs.linkSync(file, it));
    const late = await startProcess();
    await late.run(make, given);
    await peer.run(({ breaker }) => breaker.open());
    await late.run(context => context.until(() => context.breaker.opened));
    expect(regions.remove(given.namespace)).toBe(true);
    expect(fs.existsSync(link)).toBe(true);
    const next = await startProcess();
    await next.run(make, given);
    expect(await next.run(({ breaker }) => breaker.opened)).toBe(false);
  });

  const asRoot = process.getuid() === 0 ? test : test.skip;
  asRoot('a hard link to a file of another user is not used', () => {
    const given = options({ strictScope: true });
    const foreign = put(inFolder('foreign'), file => {
      fs.writeFileSync(file, '', { mode: 0o600 });
      fs.chownSync(file, 65534, 65534);
    });
    put(fileOf(given.namespace), file => fs.linkSync(foreign, file));
    expect(() => new CircuitBreaker(action, given))
      .toThrow(expect.objectContaining({ code: 'ERR_REGION_FOREIGN' }));
    expect(fs.statSync(foreign).size).toBe(0);
  });
});

describe('regions of another release', () => {
  const ofOther = file => file.replace(/-v1\.[\da-f]{8}-/, '-v1.00000000-');
  const join = (context, file) => context.require('../../lib/base/native').joinRegion(file);
  const DAY_MS = 24 * 3_600_000;
  const age = (file, ms) => fs.utimesSync(file, new Date(), new Date(Date.now() - ms));
  const sweep = async () => {
    const peer = await startProcess();
    await peer.run(make, options());
  };

  test('are removed after a day, if nobody uses them', async () => {
    const file = ofOther(fileOf(newNamespace()));
    const member = await startProcess();
    await member.run(join, file);
    age(file, DAY_MS + 60_000);
    await sweep();
    expect(fs.existsSync(file)).toBe(true);
    await member.kill();
    age(file, DAY_MS - 600_000);
    await sweep();
    expect(fs.existsSync(file)).toBe(true);
    age(file, DAY_MS + 60_000);
    await sweep();
    expect(fs.existsSync(file)).toBe(false);
  });

  test('and of containers and single processes are listed by `sekering regions`', async () => {
    const given = options();
    const namespaces = Array.from({ length: 4 }, newNamespace);
    const member = await startProcess();
    await member.run(make, given);
    await member.run(make, { ...given, scope: 'process', namespace: namespaces[0] });
    await member.run(join, ofOther(fileOf(namespaces[1])));
    const foreign = elsewhere(namespaces[3]);
    await member.run(join, foreign);
    const idle = await startProcess();
    await idle.run(make, { ...given, namespace: namespaces[2] });
    await idle.kill();
    const { stdout, stderr } = spawnSync(process.execPath,
      [require.resolve('../../lib/cli'), '--json', 'regions'], { encoding: 'utf8' });
    expect(stderr).toBe('');
    const { folder, regions: found } = JSON.parse(stdout);
    expect(folder).toBe(regions.directory());
    const of = name => found.find(({ namespace }) => namespace === name);
    const common = { isHere: true, isOfRelease: true, scope: 'host', isUsed: true };
    expect(of(given.namespace)).toMatchObject(common);
    expect(of(namespaces[0])).toMatchObject({ ...common, scope: 'process', pid: member.pid });
    expect(of(namespaces[1])).toMatchObject({ ...common, isOfRelease: false });
    expect(of(namespaces[2])).toMatchObject({ ...common, isUsed: false });
    expect(of(namespaces[3])).toMatchObject({ ...common, isHere: false, file: foreign });
    fs.rmSync(of(namespaces[1]).file);

    const text = spawnSync(process.execPath, [require.resolve('../../lib/cli'), 'regions'],
      { encoding: 'utf8' }).stdout;
    expect(text).toContain(`Folder: ${regions.directory()}`);
    expect(text).toMatch(new RegExp(`${given.namespace} +host +yes +\\d+ `));
    const lineOf = name => text.split('\n').find(line => line.includes(name));
    expect(lineOf(namespaces[3])).toContain('another container or boot');
    expect(lineOf(given.namespace)).not.toContain('another container or boot');
  });
});

describe('files that nobody uses any more', () => {
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

describe('the sockets by which participants wake each other', () => {
  // A folder of their own: in the other one, processes of other tests come and go.
  let folder;
  beforeEach(() => { folder = fs.mkdtempSync('/dev/shm/sekering-bells-'); });
  afterEach(() => fs.rmSync(folder, { recursive: true }));
  const start = () => startProcess({ env: { ...process.env, SEKERING_REGIONS: folder } });
  const bells = () => fs.readdirSync(folder).filter(name => name.startsWith('sekering-bell-'));
  const inFolder = name => path.join(folder, name);
  const makeOld = name => fs.lutimesSync(inFolder(name), new Date(0), new Date(0));

  test('only their user can ring', async () => {
    const peer = await start();
    await peer.run(make, options());
    const [bell] = bells();
    const { uid, mode } = fs.lstatSync(inFolder(bell));
    expect([uid, mode & 0o777]).toEqual([process.getuid(), 0o600]);
    expect(fs.lstatSync(regions.directory()).mode & 0o777).toBe(0o700);
  });

  test('go with a process that ends', async () => {
    const peer = await start();
    await peer.run(make, options());
    expect(bells()).toHaveLength(1);
    const { gone } = peer;
    await peer.run(() => { setImmediate(() => process.exit()); });
    await gone;
    expect(bells()).toEqual([]);
  });

  test('of killed processes are removed, of others not, however old', async () => {
    const [killed, stopped] = await Promise.all([start(), start()]);
    await killed.run(make, options());
    const [dead] = bells();
    await stopped.run(make, options());
    const alive = bells().find(name => name !== dead);
    await killed.kill();
    stopped.signal('SIGSTOP');
    [dead, alive].forEach(makeOld);
    const other = `sekering-bell-${randomBytes(8).toString('hex')}`;
    fs.writeFileSync(inFolder(other), '');
    makeOld(other);
    const next = await start();
    await next.run(make, options());
    expect(bells()).not.toContain(dead);
    expect(bells()).toEqual(expect.arrayContaining([alive, other]));
  });

  const whoMayUnshare = spawnSync('unshare', ['--net', 'true']).status === 0 ? test : test.skip;
  whoMayUnshare('wake processes of other network namespaces', async () => {
    const given = options({ resetTimeout: 3_600_000 });
    const outside = await startProcess();
    await outside.run(make, given);
    const inside = await startProcess({
      execPath: 'unshare', execArgv: ['--net', process.execPath]
    });
    await inside.run(make, given);
    const opened = inside.run(({ breaker }) => new Promise(resolve => {
      breaker.once('open', () => resolve(true));
    }));
    await inside.run(() => {});
    await outside.run(({ breaker }) => breaker.open());
    expect(await opened).toBe(true);
  });
});
