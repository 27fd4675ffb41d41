'use strict';

// Twenty workers that are killed one after the other, each with ten jobs in flight: what stays
// locked, when it comes back, and what is done twice. All subjects at once, since nothing is timed
// but the way back.

const { fork } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');

const { Client } = require('pg');

const KILLS = 20;
const COUNT = 6000;
// Jobs that a worker has done when it is killed; or it found none for so long.
const DONE = 50;
const RUN_MS = 2000;
const WAIT_MS = 30_000;

const SUBJECTS = [
  { label: 'sekering, leaseMs 5000', subject: 'ours', options: { leaseMs: 5000 } },
  { label: 'graphile', subject: 'graphile', told: '4 h' },
  { label: 'graphile, local queue 500', subject: 'graphile', options: { batchSize: 500 },
    told: '4 h' },
  { label: 'pg-boss', subject: 'boss', told: '15 min' },
];

/** The ids of the jobs that were done, in order: workers append each before they say it is. */
const doneIn = file => fs.readFileSync(file, 'utf8').split('\n').slice(0, -1);

async function startWorker ({ subject, options }, url, file) {
  const child = fork(path.join(__dirname, 'victim.js'),
    [JSON.stringify({ subject, options, url, file })],
    { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  await Promise.race([once(child, 'message'),
    once(child, 'exit').then(() => { throw new Error(`A worker of ${subject} ended`); })]);
  return child;
}

async function kill (child) {
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

/** Kills workers that have begun, until as many are dead. */
async function killAll (given, url, file) {
  for (let i = 0; i < KILLS; i++) {
    const goal = doneIn(file).length + DONE;
    const child = await startWorker(given, url, file);
    const ends = performance.now() + RUN_MS;
    while (doneIn(file).length < goal && performance.now() < ends) await sleep(5);
    await kill(child);
  }
}

/**
 * Starts one more worker, and looks at what dead ones hold until they hold nothing and what they
 * held is done, or for as long as that may take.
 */
async function recover (given, { client, url, file }) {
  const { LOCKED } = require(`./${given.subject}`);
  const held = async () =>
    new Map((await client.query(LOCKED)).rows.map(({ id, owner }) => [id, owner]));
  const locked = await held();
  const child = await startWorker(given, url, file);
  const began = performance.now();
  let backMs;
  let left;
  let isDone = false;
  while (!isDone && performance.now() - began < WAIT_MS) {
    await sleep(100);
    const now = await held();
    left = [...locked].filter(([id, owner]) => now.get(id) === owner).length;
    if (left === 0) backMs ??= performance.now() - began;
    const done = new Set(doneIn(file));
    isDone = left === 0 && [...locked.keys()].every(id => done.has(id));
  }
  await kill(child);
  return { locked: locked.size, left, backMs };
}

/**
 * @returns {Promise<{ locked: number, left: number, backMs: number | undefined, twice: number }>}
 */
async function measureOne (given, url, folder) {
  const { open, fill } = require(`./${given.subject}`);
  const file = path.join(folder, given.label);
  fs.writeFileSync(file, '');
  const handle = await open({ url });
  await fill(handle, COUNT);
  await handle.close();
  await killAll(given, url, file);
  const client = new Client({ connectionString: url });
  await client.connect();
  const found = await recover(given, { client, url, file });
  await client.end();
  const done = doneIn(file);
  return { ...found, twice: done.length - new Set(done).size };
}

/** @returns {Promise<object[]>} what became of each subject */
async function measureKills (postgres) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-kills-'));
  try {
    return await Promise.all(SUBJECTS.map(async given =>
      ({ ...given, ...await measureOne(given, await postgres.createDatabase(), folder) })));
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

const HEADER = [`${KILLS} × kill -9, 10 in flight`, 'left locked', 'back by itself', 'done twice'];

function cellsOf ({ label, locked, backMs, left, told, twice }) {
  const back = left === 0
    ? `all, after ${(backMs / 1000).toFixed(1)} s`
    : `${left} still locked after ${WAIT_MS / 1000} s, given back after ${told}`;
  return [label, `${locked} of ${COUNT}`, back, twice];
}

const METHOD = `Each worker is killed when it has done ${DONE} jobs of 5 ms, or after
${RUN_MS / 1000} s if there are no more. A job that was done and not yet noted is done again. Then
one more worker runs, until what was locked after the last kill is not, and has been done, or for
${WAIT_MS / 1000} s. What gives the rest back is the time that each has for it: four hours of
graphile-worker, \`expireInSeconds\` of pg-boss. sekering holds what it sends in 100 ms besides
what is in flight.`;

const rowsOf = results => results.length === 0 ? [] : [HEADER, ...results.map(cellsOf)];

module.exports = { METHOD, measureKills, rowsOf };
