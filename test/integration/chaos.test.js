'use strict';

// Processes with two threads each share a breaker while they are killed, stopped, continued and
// started again at random. SEKERING_CHAOS_SECONDS says for how long (npm run test:chaos: 60).

const { fork } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { setTimeout: patience } = require('node:timers/promises');

const { cleanUp, newNamespace } = require('../support/shared-peers');

const ACTOR = path.join(__dirname, '..', 'support', 'shared-chaos-actor.js');
const SECONDS = Number(process.env.SEKERING_CHAOS_SECONDS ?? 6);
const PROCESSES = 4;
const PROBES = 2;
const PATIENCE_MS = 60_000;
const NEXT = { open: ['halfOpen', 'close'], halfOpen: ['open', 'close'], close: ['open'] };

const pause = ms => new Promise(resolve => { setTimeout(resolve, ms); });
const pick = list => list[Math.floor(Math.random() * list.length)];

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-chaos-'));
const actors = new Set();
const crashes = [];
let files = 0;
afterAll(async () => {
  await Promise.all([...actors].map(end));
  await cleanUp();
  fs.rmSync(folder, { recursive: true });
});

function start (options) {
  const file = path.join(folder, `${++files}.log`);
  const child = fork(ACTOR, [JSON.stringify({ file, options })], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc']
  });
  const actor = { child, stopped: false, killedAt: Infinity, file };
  child.on('exit', (code, signal) => {
    actors.delete(actor);
    if (signal !== 'SIGKILL') crashes.push(`${child.pid} ended with ${signal ?? code}`);
  });
  actors.add(actor);
  return actor;
}

async function end (actor) {
  const gone = once(actor.child, 'exit');
  actor.child.kill('SIGKILL');
  await gone;
}

async function disturb (options) {
  const actor = pick([...actors]);
  const stopped = [...actors].filter(({ stopped: is }) => is);
  const dice = Math.random();
  if (dice < 0.3) {
    await end(actor);
    start(options);
  } else if (dice < 0.6 && stopped.length < PROCESSES - 1) {
    actor.child.kill('SIGSTOP');
    actor.stopped = true;
  } else if (stopped.length > 0) {
    const one = pick(stopped);
    one.child.kill('SIGCONT');
    one.stopped = false;
  }
}

/** Asks every thread; all have to answer. */
async function ask (message, ms) {
  const asked = [...actors].map(({ child }) => child);
  const answers = [];
  let hear;
  const done = new Promise(resolve => {
    hear = answer => {
      if (answer.message === message) answers.push(answer);
      if (answers.length === 2 * asked.length) resolve();
    };
  });
  for (const child of asked) {
    child.on('message', hear);
    child.send(message);
  }
  await Promise.race([done, patience(ms, undefined, { ref: false })]);
  for (const child of asked) child.off('message', hear);
  return answers;
}

/** What each environment wrote, in its order. */
function readLogs () {
  const logs = new Map();
  for (const name of fs.readdirSync(folder)) {
    // Of a process that was killed while it wrote, the last line may be missing, not broken.
    const lines = fs.readFileSync(path.join(folder, name), 'utf8').split('\n').filter(Boolean);
    for (const line of lines) {
      const entry = JSON.parse(line);
      if (!logs.has(entry.environment)) logs.set(entry.environment, []);
      logs.get(entry.environment).push(entry);
    }
  }
  return logs;
}

function illegalSteps (entries) {
  const faults = [];
  let last;
  for (const entry of entries) {
    if (entry.what === 'missed') last = undefined;
    if (!(entry.what in NEXT)) continue;
    if (last !== undefined && !NEXT[last.what].includes(entry.what)) faults.push([last, entry]);
    last = entry;
  }
  return faults;
}

/** A slow machine takes longer until enough has happened. */
function isQuiet (logs) {
  const entries = [...logs.values()].flat();
  const count = what => entries.filter(entry => entry.what === what).length;
  return logs.size < 2 * PROCESSES || count('open') <= SECONDS / 2 ||
    count('probe ends') <= SECONDS / 4 || mostProbes(logs) < PROBES;
}

/** The most probes of one period at one time, of threads that did not die in theirs. */
function mostProbes (logs) {
  const periods = new Map();
  for (const entries of logs.values()) {
    const begun = new Map();
    for (const { what, number, period, at } of entries) {
      if (what === 'probe begins') begun.set(number, { period, at });
      if (what !== 'probe ends' || !begun.has(number)) continue;
      const first = begun.get(number);
      if (!periods.has(first.period)) periods.set(first.period, []);
      periods.get(first.period).push([first.at, 1], [at, -1]);
    }
  }
  return Math.max(0, ...[...periods.values()].map(changes => {
    changes.sort(([a, up], [b, down]) => a - b || up - down);
    let now = 0;
    return changes.reduce((most, [, change]) => Math.max(most, now += change), 0);
  }));
}

test(`${PROCESSES} processes with two threads each, for ${SECONDS} s`, async () => {
  const options = {
    scope: 'host', namespace: newNamespace(), name: 'upstream', resetTimeout: 100,
    // A lease is a second longer: a process that is stopped in a probe does not lose it here.
    timeout: 120_000, consecutiveFailures: 4, halfOpenProbes: PROBES, successThreshold: 2,
    rollingCountTimeout: 2000
  };
  for (let i = 0; i < PROCESSES; i++) start(options);
  await pause(1000);
  const until = performance.now() + SECONDS * 1000;
  while (performance.now() < until || isQuiet(readLogs())) {
    await disturb(options);
    await pause(60 * Math.random());
  }
  for (const actor of actors) actor.child.kill('SIGCONT');
  await pause(1000);

  // Everybody answers, and after a last transition all come to see the same state.
  expect(await ask('rest', PATIENCE_MS)).toHaveLength(2 * PROCESSES);
  await pause(300);
  const [actor] = actors;
  actor.child.send('open');
  // The reset timeout passes.
  const seen = async () => (await ask('state', PATIENCE_MS)).map(({ state }) => state);
  const end = performance.now() + PATIENCE_MS;
  let states = await seen();
  while (states.some(state => state !== 'halfOpen') && performance.now() < end) {
    await pause(100);
    states = await seen();
  }
  expect(states).toEqual(Array(2 * PROCESSES).fill('halfOpen'));

  const logs = readLogs();
  const entries = [...logs.values()].flat();
  expect([...logs.values()].flatMap(illegalSteps)).toEqual([]);
  expect(mostProbes(logs)).toBe(PROBES);
  expect(crashes).toEqual([]);
  expect(entries.filter(({ what }) => what === 'crash' || what === 'warning')).toEqual([]);
}, (SECONDS + 240) * 1000);
