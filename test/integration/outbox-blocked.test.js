'use strict';

// A message that blocks the event loop for longer than its lease, in processes that live on. Where
// others take it back, again and again, it becomes a dead letter that says so, and all others are
// sent.

const { fork } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { openStore } = require('../../lib/store');
const { keep } = require('../support/keep');
const { until } = require('../support/outbox-helpers');
const { closeShared, sharedPostgres } = require('../support/postgres');

const ACTOR = path.join(__dirname, '..', 'support', 'poison-actor.js');
// By then it is always sent alone; attempts that failed are none.
const CRASHES_MAX = 5;
/** Of the workers. */
const LEASE_MS = 1000;

let folder;
let children;
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-blocked-'));
  children = [];
});
afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  fs.rmSync(folder, { recursive: true, force: true });
});
afterAll(closeShared);

const CHILD = { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] };
const JOBS = ['stall', ...Array(20).fill('x')].map(recipient => ({ channel: 'JOB', recipient }));

function start (place, jobs) {
  const child = fork(ACTOR, [JSON.stringify({ place, folder })], CHILD);
  children.push(child);
  child.on('message', ({ event }) => {
    if (event === 'opened') child.send({ enqueue: jobs, large: 0 });
  });
  return child;
}

/** Calls `letGo(name)` for each time that a process blocks, until `isOver`. */
async function watchBlocks (letGo, isOver) {
  const seen = new Set();
  await until(async () => {
    for (const name of fs.readdirSync(folder)) {
      if (!name.endsWith('asked') || seen.has(name)) continue;
      seen.add(name);
      await letGo(name);
      fs.writeFileSync(path.join(folder, name.replace('asked', 'go')), '');
    }
    return isOver();
  });
  return seen.size;
}

test('it dies, and its letter says that the event loop stood still', async () => {
  const place = { url: await (await sharedPostgres()).createDatabase() };
  const store = keep(await openStore({ ...place, channels: { JOB: { maxAttempts: 3 } } }));
  // Before both: a process that finds nothing ends, and cannot take anything back.
  await store.outbox.enqueue(JOBS);
  const sent = new Set();
  const over = [0, 1].map(async () => {
    const child = start(place, []);
    child.on('message', ({ event, id }) => { if (event === 'sent') sent.add(id); });
    return once(child, 'close');
  });
  const letter = async () => (await store.deadLetters.list())[0];
  /** Whether this process still holds it. Nobody takes it back before its lease is over. */
  const holds = async pid => (await store.query(`SELECT FROM sekering.notification_outbox
    WHERE recipient = 'stall' AND status = 'SENDING' AND lease_owner LIKE '%:${pid}:%'`))
    .rowCount > 0;
  const blocks = await watchBlocks(
    name => until(async () => !await holds(name.split('-')[0])), letter);
  await Promise.all(over);
  expect(sent.size).toBeGreaterThanOrEqual(20);
  expect(blocks).toBeLessThanOrEqual(CRASHES_MAX);
  const { kind, errorHistory } = await letter();
  expect(kind).toBe('ERR_OUTBOX_CRASHED');
  const codes = errorHistory.map(({ code }) => code);
  expect(codes).toContain('ERR_OUTBOX_BLOCKED');
  expect(codes.filter(code => code === 'ERR_OUTBOX_CRASHED').length)
    .toBeLessThanOrEqual(CRASHES_MAX);
});

test('on PGlite it is sent once: no other process could take it back', async () => {
  const child = start({ directory: path.join(folder, 'store') }, JOBS);
  const sent = [];
  let result;
  child.on('message', ({ event, id, ...more }) => {
    if (event === 'sent') sent.push(id);
    else if (event === 'over') result = more;
  });
  // Nobody can look from outside. By the clock its lease is over.
  const letGo = () => {
    const end = performance.now() + 2 * LEASE_MS;
    return until(() => performance.now() > end);
  };
  expect(await watchBlocks(letGo, () => result)).toBe(1);
  expect(result.letters).toEqual([]);
  expect(result.list.map(({ status, errorHistory }) => [status, errorHistory]))
    .toEqual(JOBS.map(() => ['SENT', []]));
  expect(new Set(sent).size).toBe(sent.length);
  expect(sent).toHaveLength(JOBS.length);
});
