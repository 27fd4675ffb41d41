'use strict';

// Where room ends: places for participants, space on the disk, memory. Each end is a clear error
// with strictScope, and a smaller scope without. Those who are there already go on.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { failure } = require('../../lib/base/regions');
const {
  all, cleanUp, newNamespace, startProcess, startProcesses
} = require('../support/shared-peers');

const folders = [];
afterEach(async () => {
  await cleanUp();
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true });
});

/** A folder that only this user can access. It is removed after the test. */
function makeFolder () {
  folders.push(fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-regions-')));
  return folders.at(-1);
}

const options = more => ({
  scope: 'host', namespace: newNamespace(), name: 'upstream', timeout: false,
  resetTimeout: 60_000, strictScope: true, ...more
});
const make = (context, given) => context.make(given);

test('256 participants share a breaker; the next is rejected until one has left', async () => {
  const given = options();
  const [first, many, last, late] = await startProcesses(4);
  await first.run(make, given);
  await many.run((context, { scope, namespace }) => {
    const native = context.require('../../lib/base/native');
    const { fileOf } = context.require('../../lib/base/regions');
    for (let i = 0; i < 254; i++) native.joinRegion(fileOf(scope, namespace));
  }, given);
  await last.run(make, given);
  await expect(late.run(make, given)).rejects.toMatchObject({
    code: 'ERR_REGION_PARTICIPANTS', message: expect.stringContaining('256 participants')
  });
  const scope = await late.run((context, given) => {
    context.make(given);
    return context.breaker.scope;
  }, { ...given, strictScope: false });
  expect(scope).toBe('process');
  await first.run(({ breaker }) => breaker.open());
  await last.run(context => context.until(() => context.breaker.opened));
  await many.kill();
  await late.run(make, given);
  await last.run(({ breaker }) => breaker.close());
  await all([first, late], context => context.until(() => context.breaker.closed));
});

/** Runs `code` by a shell that sets the limits; what it prints. */
function limited (shell, code) {
  const program = `
    const { CircuitBreaker, regions } = require(${JSON.stringify(require.resolve('../../lib'))});
    const fs = require('node:fs');
    let strictScope = true;
    const namespace = ${JSON.stringify(newNamespace())};
    const make = name => new CircuitBreaker(async ms => {
      if (ms < 0) throw new Error('refused');
      await new Promise(resolve => { setTimeout(resolve, ms); });
    }, { scope: 'host', strictScope, namespace, name, consecutiveFailures: 1, timeout: false });
    const left = () => fs.readdirSync(regions.directory()).filter(name => name.endsWith(namespace));
    (async () => {
      let result;
      ${code}
      console.log(JSON.stringify(result));
    })().finally(() => regions.remove(namespace));`;
  const { status, signal, stdout, stderr } = spawnSync('unshare',
    ['--mount', 'sh', '-c', `${shell} && exec "$0" -e "$1"`, process.execPath, program],
    { encoding: 'utf8', timeout: 100_000 });
  if (status !== 0) throw new Error(`${signal ?? status}: ${stderr}`);
  return JSON.parse(stdout);
}

const ATTEMPT = `
  const attempt = name => {
    try {
      return make(name);
    } catch (error) {
      return { code: error.code, message: error.message };
    }
  };`;
const withDisk = size => `mount -t tmpfs -o size=${size} tmpfs /dev/shm`;
// Without the right to mount, a user can still limit how long a file may be.
const canMount = spawnSync('unshare', ['--mount', 'true']).status === 0;
const whoMayMount = canMount ? test : test.skip;

describe('a full disk (needs the right to mount one)', () => {
  whoMayMount('too small for a region: none is made, and nothing left', () => {
    expect(limited(withDisk('64k'), `${ATTEMPT}
      const { code } = attempt('a');
      result = [code, left()];`)).toEqual(['ERR_REGION_NO_SPACE', []]);
  });

  whoMayMount('too small for a region: breakers work alone, and one warning says so', () => {
    expect(limited(withDisk('64k'), `
      strictScope = false;
      const warnings = [];
      process.on('warning', ({ code, message }) => warnings.push([code, message]));
      const [one, other] = [make('a'), make('a')];
      await one.fire(-1).catch(() => {});
      await new Promise(setImmediate);
      result = [one.scope, one.opened, other.opened, left(), warnings];`)).toEqual([
      'instance', true, false, [], [['SEKERING_SCOPE', expect.stringMatching(
        /there is no space left .*'a' works in scope 'instance' instead of 'host'/)]]
    ]);
  });

  whoMayMount('too small for all breakers: those that found room go on', () => {
    const { refused, ...rest } = limited(withDisk('300k'), `${ATTEMPT}
      const breakers = [];
      let next;
      while ((next = attempt('n' + breakers.length)) instanceof CircuitBreaker) breakers.push(next);
      const again = attempt('one more').code;
      await Promise.all(breakers.flatMap(one => [0, 1, 30, 200].map(ms => one.fire(ms))));
      await Promise.all(breakers.map(one => one.fire(-1).catch(() => {})));
      const { fires, successes, failures } = breakers.at(-1).stats;
      result = { refused: next, again, many: breakers.length > 10, fires, successes, failures,
        opened: breakers.every(breaker => breaker.opened) };`);
    expect(refused).toEqual({
      code: 'ERR_REGION_NO_SPACE', message: expect.stringContaining('no space left')
    });
    expect(rest).toEqual({
      again: 'ERR_REGION_NO_SPACE', many: true, fires: 5, successes: 4, failures: 1, opened: true
    });
  });
});

const READ_ONLY = `${withDisk('64k')} && mount -o remount,ro /dev/shm`;
// Another /dev, with what programs need only.
const MISSING = 'mount -t tmpfs -o mode=755 tmpfs /mnt && cp -a /dev/null /dev/urandom /mnt && ' +
  'mount --bind /mnt /dev';
const WITHOUT_MEMORY = [
  ['that nobody can write to', READ_ONLY, [], '/dev/shm cannot be written to'],
  ['that is missing', MISSING, 'ENOENT', '/dev/shm is no folder'],
];

const OWN = `/tmp/sekering-${process.getuid()}`;

whoMayMount.each(WITHOUT_MEMORY)(
  'with a /dev/shm %s, all processes use /tmp, whatever TMPDIR is, and say so once',
  (_, shell, content, why) => {
    expect(limited(shell, `
      const { execFileSync } = require('node:child_process');
      const warnings = [];
      process.on('warning', ({ name, code, message }) => warnings.push([name, code, message]));
      let before;
      try {
        before = fs.readdirSync('/dev/shm');
      } catch ({ code }) {
        before = code;
      }
      make('a').open();
      make('b');
      const { file } = regions.list().find(entry => entry.namespace === namespace);
      const isOpen = execFileSync(process.execPath, ['-e', \`
        const { CircuitBreaker } = require(${JSON.stringify(require.resolve('../../lib'))});
        console.log(new CircuitBreaker(async () => {}, { scope: 'host', name: 'a',
          namespace: '\${namespace}', consecutiveFailures: 1, timeout: false }).opened);
      \`], { env: { ...process.env, TMPDIR: '/var/tmp' }, encoding: 'utf8', stdio: 'pipe' }).trim();
      await new Promise(setImmediate);
      result = [before, regions.directory(), require('node:path').dirname(file), isOpen, warnings];`
    )).toEqual([content, OWN, OWN, 'true', [['SekeringWarning', 'SEKERING_REGIONS',
      expect.stringContaining(`files in ${OWN}, because ${why}`)]]]);
  });

whoMayMount.each(WITHOUT_MEMORY)(
  'with a /dev/shm %s, a folder that the user has set is used without a warning', (_, shell) => {
    const folder = makeFolder();
    expect(limited(`${shell} && export SEKERING_REGIONS=${folder}`, `
      const warnings = [];
      process.on('warning', warning => warnings.push(warning));
      const { opened } = make('a');
      const { file } = regions.list().find(entry => entry.namespace === namespace);
      await new Promise(setImmediate);
      result = [opened, regions.directory(), require('node:path').dirname(file), warnings];`
    )).toEqual([false, folder, folder, []]);
  });

describe('SEKERING_REGIONS', () => {
  const attempt = folder => {
    const { stdout, status } = spawnSync(process.execPath, ['-e', `
      const { CircuitBreaker } = require(${JSON.stringify(require.resolve('../../lib'))});
      try {
        const options = { scope: 'host', name: 'a' };
        if (new CircuitBreaker(async () => {}, options).scope !== 'host') throw new Error('alone');
        console.log(JSON.stringify({}));
      } catch ({ code, message }) {
        console.log(JSON.stringify({ code, message }));
      }`], { encoding: 'utf8', env: { ...process.env, SEKERING_REGIONS: folder } });
    expect(status).toBe(0);
    return JSON.parse(stdout);
  };

  test('processes with the same folder share breakers; others do not see them', () => {
    const folder = makeFolder();
    expect(attempt(folder)).toEqual({});
    expect(fs.readdirSync(folder)).toEqual([expect.stringMatching(/^sekering-.*-host-default$/)]);
  });

  test.each([
    ['a folder that is not there', () => '/no/such/folder'],
    ['a relative path', () => 'test'],
    ['a file', () => {
      const file = path.join(makeFolder(), 'file');
      fs.writeFileSync(file, '');
      return file;
    }],
    ['a path that leaves no room for the names of sockets', () => {
      const folder = path.join(makeFolder(), 'x'.repeat(60));
      fs.mkdirSync(folder, { mode: 0o700 });
      return folder;
    }],
  ])('%s is rejected', (_, place) => {
    const folder = place();
    expect(attempt(folder)).toEqual({
      code: 'ERR_REGION_SYSTEM', message: expect.stringContaining(`SEKERING_REGIONS is ${folder}:`)
    });
  });

  test('a folder in which others can replace files is rejected', () => {
    const folder = makeFolder();
    fs.chmodSync(folder, 0o777);
    expect(attempt(folder).code).toBe('ERR_REGION_FOREIGN');
    fs.chmodSync(folder, 0o1777);
    expect(attempt(folder)).toEqual({});
  });

  const asRoot = process.getuid() === 0 ? test : test.skip;
  asRoot('a folder of another user is rejected', () => {
    const folder = makeFolder();
    fs.chownSync(folder, 65534, 65534);
    expect(attempt(folder)).toEqual({
      code: 'ERR_REGION_FOREIGN', message: expect.stringContaining('a folder of this user')
    });
  });
});

describe('a region holds as many breakers as the guide says', () => {
  const guide = fs.readFileSync(path.join(__dirname, '..', '..', 'docs', 'shared.md'), 'utf8');
  const rows = [...guide.matchAll(/^\| (\d+)(?: \(default\))? \| ([\d,]+) \|$/gm)]
    .map(([, buckets, count]) => [Number(buckets), Number(count.replace(',', ''))]);

  test('its table has several rows', () => expect(rows.length).toBeGreaterThan(3));

  test.each(rows)('with %d buckets: %d, and those keep working', async (buckets, count) => {
    const peer = await startProcess();
    const answer = await peer.run(async (context, given) => {
      const { CircuitBreaker } = context.require('../../lib');
      const breakers = [];
      try {
        for (;;) {
          const name = String(breakers.length);
          breakers.push(new CircuitBreaker(async () => name, { ...given, name }));
        }
      } catch ({ code }) {
        const last = breakers.at(-1);
        return [breakers.length, code, await last.fire(), last.stats.successes];
      }
    }, options({ rollingCountBuckets: buckets, rollingCountTimeout: 60_000 }));
    expect(answer).toEqual([count, 'ERR_REGION_FULL', String(count - 1), 1]);
  });
});

test('a limit on file size is named in the error', () => {
  const { status, stdout } = spawnSync('sh', ['-c', 'ulimit -f 1000 && exec "$0" -e "$1"',
    process.execPath, `
      const { CircuitBreaker } = require(${JSON.stringify(require.resolve('../../lib'))});
      try {
        new CircuitBreaker(async () => {}, ${JSON.stringify(options())});
      } catch ({ code, message }) {
        console.log(code, message);
      }`], { encoding: 'utf8', timeout: 100_000 });
  expect(status).toBe(0);
  expect(stdout).toMatch(/^ERR_REGION_SYSTEM The shared region .* cannot be opened \(EFBIG\)/);
});

test('a limit on open files is named in the error', async () => {
  const peer = await startProcess();
  const outcome = await peer.run((context, given) => {
    const fs = context.require('node:fs');
    context.make({ ...given, scope: 'instance' }); // All code is loaded.
    const open = [];
    const { execFileSync } = context.require('node:child_process');
    execFileSync('prlimit', ['--pid', String(process.pid), '--nofile=64']);
    try {
      for (;;) open.push(fs.openSync('/dev/null'));
    } catch {
      // Now there are none.
    }
    try {
      context.make(given);
    } catch ({ code, message }) {
      return [code, message];
    } finally {
      open.forEach(fd => fs.closeSync(fd));
    }
    return context.breaker.state;
  }, options());
  expect(outcome).toEqual(['ERR_REGION_SYSTEM', expect.stringContaining('(EMFILE)')]);
  await peer.run(make, options());
});

test('every answer of native code has an error with a code', () => {
  const answers = [1, 2, 3, 4, 5, 6, 7, 102, 1024];
  const errors = answers.map(answer => failure(-answer, '/dev/shm/file'));
  expect(errors.map(({ code }) => code)).toEqual(['ERR_REGION_SYSTEM', 'ERR_REGION_CORRUPT',
    'ERR_REGION_FOREIGN', 'ERR_REGION_PARTICIPANTS', 'ERR_REGION_FULL', 'ERR_REGION_NO_SPACE',
    'ERR_NAME_TAKEN', 'ERR_REGION_MEMORY', 'ERR_REGION_SYSTEM']);
  for (const { message } of errors) expect(message).toContain('/dev/shm/file');
});
