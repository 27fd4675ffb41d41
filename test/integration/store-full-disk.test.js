'use strict';

// PostgreSQL on a full disk: messages that were taken in wait, those for which there is no room are
// rejected as a whole, and all goes on once there is room. Only root can mount a small disk.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { openStore } = require('../../lib/store');
const { events, until } = require('../support/outbox-helpers');
const { startPostgres } = require('../support/postgres');

const disk = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-disk-'));
const isMounted =
  spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=32m', 'tmpfs', disk]).status === 0;
const filler = path.join(disk, 'filler');

let postgres;
let store;
beforeAll(async () => { postgres = await startPostgres(); });
afterAll(async () => {
  await store?.close();
  await postgres.close();
  if (isMounted) spawnSync('umount', ['-l', disk]);
  fs.rmSync(disk, { recursive: true });
});

/** Leaves no more than so many bytes. */
function fill (left) {
  const { bavail, bsize } = fs.statfsSync(disk);
  fs.writeFileSync(filler, Buffer.alloc(Math.max(bavail * bsize - left, 0)));
}

const jobs = (count, recipient) => Array.from({ length: count },
  () => ({ channel: 'JOB', recipient, body: 'x'.repeat(1500) }));

(isMounted ? test : test.skip)('a full disk delays messages, and loses none', async () => {
  const folder = path.join(disk, 'data');
  fs.mkdirSync(folder);
  const { uid, gid } = fs.statSync(postgres.socketDir);
  fs.chownSync(folder, uid, gid);
  await postgres.query(`CREATE TABLESPACE small LOCATION '${folder}'`);
  await postgres.query('CREATE DATABASE small TABLESPACE small');
  store = await openStore({ url: postgres.urlOf('small'), channels: { JOB: {} } });
  const count = async () => (await store.query(
    'SELECT count(*)::int AS count FROM sekering.notification_outbox')).rows[0].count;

  const taken = await store.outbox.enqueue(jobs(500, 'before'));
  fill(256 * 1024);
  let fault;
  while (fault === undefined) {
    await store.outbox.enqueue(jobs(100, 'while')).then(ids => taken.push(...ids),
      error => { fault = error; });
  }
  expect(fault).toMatchObject({ code: 'ERR_STORE_QUERY', sqlState: '53100', retryable: true });
  expect(fault.message).toMatch('No space left on device');
  expect(await count()).toBe(taken.length);
  await expect(store.transaction(async client => {
    await store.outbox.enqueue(jobs(1, 'alone'), { client });
    await store.outbox.enqueue(jobs(100, 'alone'), { client });
  })).rejects.toMatchObject({ sqlState: '53100' });
  expect(await count()).toBe(taken.length);

  const seen = new Map();
  const worker = store.outbox.createWorker({
    channels: { JOB: async ({ id }) => { seen.set(id, (seen.get(id) ?? 0) + 1); } },
    pollInterval: 50,
  });
  const warned = events(worker, 'warning');
  await worker.start();
  const [[warning]] = await warned;
  expect(warning).toMatchObject({ sqlState: '53100' });
  expect((await store.health()).ok).toBe(true);

  fs.rmSync(filler);
  taken.push(...await store.outbox.enqueue(jobs(100, 'after')));
  await until(() => worker.stats().sent === taken.length);
  await worker.stop();
  expect(await count()).toBe(taken.length);
  expect([...seen.keys()].sort()).toEqual(taken.map(({ id }) => id).sort());
  expect([...seen.values()].every(times => times === 1)).toBe(true);
});
