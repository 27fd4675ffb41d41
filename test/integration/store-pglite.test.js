'use strict';

// The embedded store: kill -9 loses nothing that was acknowledged, a folder has one process, and a
// thread that ends is started again. SEKERING_CHAOS_SECONDS kills for that long.

const { execFileSync, fork, spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { createGateway } = require('../../lib/gateway');
const { migrateStore, openStore } = require('../../lib/store');
const { openDatabase } = require('../../lib/store/database');
const { lockDirectory } = require('../../lib/store/pglite-lock');

const SECONDS = Number(process.env.SEKERING_CHAOS_SECONDS ?? 0);
const KILLS_MIN = 3;
const ACTOR = path.join(__dirname, '..', 'support', 'store-pglite-actor.js');
const LOCKED = { code: 'ERR_STORE_DIRECTORY_LOCKED', retryable: true };

jest.setTimeout(900_000 + SECONDS * 1000);

const children = new Set();
const folders = [];
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  for (const folder of folders) fs.rmSync(folder, { recursive: true });
});

function makeFolder () {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-pglite-'));
  folders.push(folder);
  return folder;
}

function start (task, directory, env = {}) {
  const child = fork(ACTOR, [task, directory], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'], env: { ...process.env, ...env },
  });
  children.add(child);
  child.on('exit', () => children.delete(child));
  return child;
}

async function kill (child) {
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

const later = ms => new Promise(resolve => { setTimeout(resolve, ms); });
const random = (from, to) => from + Math.random() * (to - from);

describe('kill -9', () => {
  /**
   * Starts a writer and kills it when `end` fulfils. It is heard to its end: what it had told
   * before it died counts.
   * @param {(child: object, told: { found?: object, last?: number }) => Promise} end
   * @returns {Promise<{ found?: object, last?: number }>} what it had found, and its last row
   */
  async function killWriter (directory, end, env) {
    const child = start('write', directory, env);
    const told = {};
    child.on('message', ({ found, id }) => {
      told.found ??= found;
      told.last = id ?? told.found.last;
    });
    const closed = once(child, 'close');
    await Promise.race([end(child, told), closed]);
    child.kill('SIGKILL');
    await closed;
    return told;
  }

  /** Kills a start after so many ms; on a fast machine it may have written by then. */
  const killStart = (directory, ms, env) => killWriter(directory, () => later(ms), env);

  const wrote = count => async (child, told) => {
    while (!(told.last >= told.found?.last + count)) await once(child, 'message');
  };

  test('every acknowledged row is back, and a start that is killed leaves nothing', async () => {
    const directory = path.join(makeFolder(), 'data folder');
    const end = performance.now() + SECONDS * 1000;
    let { last: promised = 0 } = await killStart(directory, random(0, 300));
    ({ last: promised = promised } = await killStart(directory, random(300, 1500)));
    for (let kills = 0; kills < KILLS_MIN || performance.now() < end; kills++) {
      const { found, last } = await killWriter(directory, wrote(Math.floor(random(1, 60))));
      // At most the one row under way was written and not told.
      expect(found.last - promised).toBeLessThanOrEqual(1);
      expect(found.last).toBeGreaterThanOrEqual(promised);
      expect(found.count).toBe(found.last);
      promised = last;
      if (SECONDS === 0) continue;
      ({ last: promised = promised } = await killStart(directory, random(0, 2000)));
    }
    // Of the starts that were killed nothing is left.
    expect(fs.readdirSync(directory).filter(name => name.startsWith('data'))).toEqual(['data']);
    expect(promised).toBeGreaterThanOrEqual(KILLS_MIN);
  });

  // Making the empty database takes many seconds.
  (SECONDS > 0 ? test : test.skip)('while the very first database is made', async () => {
    const directory = path.join(makeFolder(), 'data');
    const env = { XDG_CACHE_HOME: makeFolder() };
    let promised = 0;
    for (let ms = 500; ms < 8000; ms += 1500) {
      ({ last: promised = promised } = await killStart(directory, ms, env));
    }
    const { found } = await killWriter(directory, wrote(1), env);
    expect(found.count).toBe(found.last);
    expect([promised, promised + 1]).toContain(found.last);
    const [cached] = fs.readdirSync(path.join(env.XDG_CACHE_HOME, 'sekering'));
    expect(cached).toMatch(/^pglite-[\d.]+-\d+\.tar\.gz$/);
  });
});

describe('one process per folder', () => {
  test('a second one is rejected within a second, and served once the first is gone', async () => {
    const directory = makeFolder();
    const child = start('write', directory);
    await once(child, 'message');
    const times = [];
    for (let i = 0; i < 5; i++) {
      const began = performance.now();
      await expect(openDatabase({ directory })).rejects.toMatchObject({
        ...LOCKED, message: expect.stringMatching(String(child.pid)),
      });
      times.push(performance.now() - began);
    }
    // A busy machine makes some of them late, but not all.
    expect(Math.min(...times)).toBeLessThan(1000);
    await kill(child);
    const database = await openDatabase({ directory });
    await expect(openDatabase({ directory })).rejects.toMatchObject(LOCKED);
    await database.close();
    await (await lockDirectory(directory)).release();
  });

  test('when many find the lock of a dead process, one gets it', async () => {
    const directory = makeFolder();
    const contenders = Array.from({ length: 5 }, () => start('lock', directory));
    await Promise.all(contenders.map(child => once(child, 'message')));
    while (contenders.length > 1) {
      const answers = contenders.map(child => once(child, 'message'));
      for (const child of contenders) child.send('go');
      const locks = (await Promise.all(answers)).map(([{ lock }]) => lock);
      expect(locks.toSorted())
        .toEqual([...Array(locks.length - 1).fill('ERR_STORE_DIRECTORY_LOCKED'), 'mine']);
      const [winner] = contenders.splice(locks.indexOf('mine'), 1);
      await kill(winner);
    }
    await kill(contenders[0]);
    expect(fs.readdirSync(directory)).toEqual([expect.stringMatching(/^lock\.4$/)]);
  });

  describe('the lock of a process that cannot be looked at', () => {
    const owner = JSON.stringify({
      host: 'elsewhere', boot: 'x', namespace: 'pid:[1]', pid: 1, begin: '1',
    });

    test('counts while it is touched', async () => {
      const directory = makeFolder();
      const file = path.join(directory, 'lock.7');
      fs.writeFileSync(file, owner);
      const touching = setInterval(() => fs.utimesSync(file, new Date(), new Date()), 50);
      await expect(lockDirectory(directory)).rejects.toMatchObject(LOCKED);
      clearInterval(touching);
    });

    test('is taken over when it has not been touched for long', async () => {
      const directory = makeFolder();
      const file = path.join(directory, 'lock.7');
      fs.writeFileSync(file, owner);
      fs.utimesSync(file, new Date(), new Date(Date.now() - 60_000));
      const lock = await lockDirectory(directory);
      expect(fs.readdirSync(directory)).toEqual(['lock.8']);
      lock.release();
    });

    test('is free if it is older than the last restart of this machine', async () => {
      const directory = makeFolder();
      fs.writeFileSync(path.join(directory, 'lock.7'),
        JSON.stringify({ ...JSON.parse(owner), host: os.hostname() }));
      (await lockDirectory(directory)).release();
    });

    test('is free if it is damaged, or if another process has its id', async () => {
      const directory = makeFolder();
      fs.writeFileSync(path.join(directory, 'lock.7'), '{"pid');
      (await lockDirectory(directory)).release();
      const file = path.join(directory, 'lock.8');
      const mine = await lockDirectory(directory);
      const text = fs.readFileSync(path.join(directory, 'lock.9'), 'utf8');
      expect(fs.existsSync(file)).toBe(false);
      mine.release();
      fs.writeFileSync(path.join(directory, 'lock.9'),
        JSON.stringify({ ...JSON.parse(text), begin: '1' }));
      (await lockDirectory(directory)).release();
    });
  });
});

// Where the parent of a process that was killed does not look after it, as in many containers.
describe('a folder that another process took because its owner was suspended', () => {
  /** Takes the folder as a process of another container does when the owner seems dead. */
  function take (directory) {
    const [name] = fs.readdirSync(directory).filter(file => file.startsWith('lock.'));
    const next = `lock.${Number(name.slice('lock.'.length)) + 1}`;
    fs.writeFileSync(path.join(directory, next), JSON.stringify({ host: 'elsewhere', pid: 7 }));
    fs.rmSync(path.join(directory, name));
    return next;
  }

  test.each(['at once', 'when it finds out'])('is no longer written to: %s', async when => {
    const directory = makeFolder();
    let onWarning;
    const warned = new Promise(resolve => { onWarning = resolve; });
    const database = await openDatabase({ directory, onWarning });
    await database.query('CREATE TABLE t (a int)');
    const owner = take(directory);
    if (when === 'at once') {
      // Its own clock shows that it was suspended, before any timer can fire.
      const now = Date.now() + 60_000;
      const spy = jest.spyOn(Date, 'now').mockReturnValue(now);
      const query = database.query('INSERT INTO t VALUES (1)');
      await expect(query).rejects.toMatchObject({
        ...LOCKED, message: expect.stringContaining('process 7 on elsewhere'),
      });
      spy.mockRestore();
    }
    expect(await warned).toMatchObject(LOCKED);
    await expect(database.query('SELECT 1')).rejects.toMatchObject(LOCKED);
    await expect(database.transaction(async () => {})).rejects.toMatchObject(LOCKED);
    await database.close();
    expect(fs.readdirSync(directory).filter(name => name.startsWith('lock.'))).toEqual([owner]);
    expect(JSON.parse(fs.readFileSync(path.join(directory, owner), 'utf8')).pid).toBe(7);
  });

  test('a process that was suspended goes on if nobody took its folder', async () => {
    const directory = makeFolder();
    const database = await openDatabase({ directory });
    const spy = jest.spyOn(Date, 'now').mockReturnValue(Date.now() + 60_000);
    await database.query('CREATE TABLE t (a int)');
    spy.mockRestore();
    await database.query('INSERT INTO t VALUES (1)');
    await database.close();
    (await lockDirectory(directory)).release();
  });
});

test('the lock of a zombie process is free', async () => {
  const directory = makeFolder();
  // The child ends once its parent has become a program that does not look after it.
  const parent = spawn('sh', ['-c', 'until [ "$(cat /proc/$$/comm)" = sleep ]; do sleep 0.1; ' +
    'done & echo $!; exec sleep 60']);
  children.add(parent);
  const pid = Number(await once(parent.stdout, 'data'));
  const stat = () => fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  while (stat()[0] !== 'Z') await later(20);
  const mine = await lockDirectory(directory);
  const text = fs.readFileSync(path.join(directory, 'lock.1'), 'utf8');
  mine.release();
  fs.writeFileSync(path.join(directory, 'lock.1'),
    JSON.stringify({ ...JSON.parse(text), pid, begin: stat()[19] }));
  (await lockDirectory(directory)).release();
  parent.kill('SIGKILL');
});

describe('the thread', () => {
  test('keeps no process alive, and a process that ends keeps no lock', async () => {
    const directory = makeFolder();
    const [code] = await once(start('leave', directory), 'exit');
    expect(code).toBe(0);
    const database = await openDatabase({ directory });
    await database.close();
  });

  test('is ended by a statement that takes too long, and another takes over', async () => {
    const directory = makeFolder();
    const warnings = [];
    const database = await openDatabase({
      directory, timeout: 2000, onWarning: error => warnings.push(error.code),
    });
    await database.query('CREATE TABLE t (x int)');
    await database.query('INSERT INTO t VALUES (1)');
    const heard = [];
    let reconnected;
    const reconnecting = new Promise(resolve => { reconnected = resolve; });
    await database.listen('news', payload => heard.push(payload), reconnected);
    const lost = { code: 'ERR_STORE_UNREACHABLE', retryable: true };
    await expect(database.transaction(async client => {
      await client.query('INSERT INTO t VALUES (2)');
      await client.query('SELECT count(*) FROM generate_series(1, 1000000000)');
    })).rejects.toMatchObject(lost);

    expect((await database.query('SELECT x FROM t')).rows).toEqual([{ x: 1 }]);
    await reconnecting;
    await database.query("SELECT pg_notify('news', 'again')");
    expect(heard).toEqual(['again']);
    expect(warnings).toEqual(['ERR_STORE_UNREACHABLE']);
    await database.close();
  });

  test('a folder of another version is rejected', async () => {
    const directory = makeFolder();
    fs.mkdirSync(path.join(directory, 'data'));
    fs.writeFileSync(path.join(directory, 'data', 'PG_VERSION'), '17\n');
    await expect(openDatabase({ directory })).rejects.toMatchObject({
      code: 'ERR_STORE_UNREACHABLE', retryable: false,
      message: expect.stringMatching('PostgreSQL 17'),
    });
    (await lockDirectory(directory)).release();
  });
});

// A small disk of its own, which only root can have.
(SECONDS > 0 && process.getuid() === 0 ? test : test.skip)('a full disk', async () => {
  const disk = makeFolder();
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=120m', 'tmpfs', disk]);
  try {
    const database = await openDatabase({ directory: path.join(disk, 'store') });
    await database.query('CREATE TABLE t (x int) WITH (fillfactor = 10)');
    await database.query('INSERT INTO t VALUES (0)');
    const write = x => database.query({ name: 'w', text: 'UPDATE t SET x = $1', values: [x] });
    const filler = path.join(disk, 'filler');
    const { bavail, bsize } = fs.statfsSync(disk);
    fs.writeFileSync(filler, Buffer.alloc(bavail * bsize - 4e6));
    let last = 0;
    const fault = await (async () => {
      while (true) await write(last + 1).then(() => { last++; });
    })().catch(error => error);
    expect(fault).toMatchObject({ sqlState: '53100', retryable: true });
    await expect(write(-1)).rejects.toMatchObject({ retryable: true });
    fs.rmSync(filler);
    // What was refused may have been written all the same.
    const { rows: [{ x }] } = await database.query('SELECT x FROM t');
    expect([last, last + 1, -1]).toContain(x);
    await write(-2);
    await database.close();
  } finally {
    execFileSync('umount', ['-l', disk]);
  }
});

test('it warns in production; old rows are vacuumed, and the log is cut', async () => {
  const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
  const before = process.env.NODE_ENV;
  process.env.NODE_ENV = 'production';
  const database = await openDatabase({ memory: true });
  process.env.NODE_ENV = before;
  expect(warn).toHaveBeenCalledWith(expect.stringMatching('one process'),
    { type: 'SekeringWarning', code: 'SEKERING_PGLITE' });
  warn.mockRestore();
  await database.query('CREATE SCHEMA sekering');
  await database.query('CREATE TABLE sekering.t (x int, filler text)');
  await database.query(
    "INSERT INTO sekering.t SELECT i, repeat('x', 1000) FROM generate_series(1, 5000) i");
  const size = async () => (await database.query(`SELECT pg_relation_size('sekering.t')::int AS t,
    (pg_current_wal_lsn() - redo_lsn)::int AS log FROM pg_control_checkpoint()`)).rows[0];
  const first = await size();
  for (let i = 0; i < 20; i++) await database.query('UPDATE sekering.t SET x = x + 1');
  const after = await size();
  expect(after.t).toBeLessThan(10 * first.t);
  expect(after.log).toBeLessThan(100e6);
  await database.close();
});

test('listening to a database that is busy at first', async () => {
  const warnings = [];
  const database = await openDatabase({
    memory: true, timeout: 2000, onWarning: error => warnings.push(error.code),
  });
  const heard = [];
  let hears;
  const hearing = new Promise(resolve => { hears = resolve; });
  await database.transaction(() => database.listen('news', text => heard.push(text), hears));
  await hearing;
  await database.query("SELECT pg_notify('news', 'at last')");
  expect(heard).toEqual(['at last']);
  expect(warnings).toEqual(['ERR_STORE_UNREACHABLE']);
  await database.close();
});

test.each([
  [{ channels: { JOB: { backoff: { minTimeout: -1 } } } }, 'minTimeout'],
  [{ channels: { 'a b': {} } }, 'channels'], [{ idempotency: { ttll: 1 } }, 'idempotency.ttll'],
  [{ payments: { hooks: { onPayed () {} } } }, 'payments.hooks.onPayed'],
])('an option that a part does not take, %j: no folder is made', async (more, option) => {
  const directory = path.join(makeFolder(), 'store');
  const error = expect.objectContaining({ code: 'ERR_INVALID_OPTION', option });
  await expect(openStore({ directory, ...more })).rejects.toEqual(error);
  await expect(migrateStore({ directory, ...more })).rejects.toEqual(error);
  expect(fs.existsSync(directory)).toBe(false);
});

test('hooks that a gateway does not have: no folder is made', async () => {
  const directory = path.join(makeFolder(), 'store');
  await expect(createGateway({ store: { directory }, logging: { level: 'silent' } },
    { hooks: { onPayed () {} } })).rejects
    .toMatchObject({ code: 'ERR_INVALID_OPTION', option: 'parts.hooks.onPayed' });
  expect(fs.existsSync(directory)).toBe(false);
});
