'use strict';

// Workers that are killed, stopped and poisoned, a PostgreSQL that restarts, a network that fails:
// nothing is lost, and what is repeated is bounded. npm run test:chaos makes it many times more.

const { fork } = require('node:child_process');
const { once } = require('node:events');
const http = require('node:http');
const path = require('node:path');

const CircuitBreaker = require('../../lib/primitives/breaker');
const { openStore } = require('../../lib/store');
const { useVirtualClock } = require('../../lib/testing');
const { startTcpProxy } = require('../../lib/testing/tcp-proxy');
const { events, until } = require('../support/outbox-helpers');
const { startPostgres } = require('../support/postgres');

const ACTOR = path.join(__dirname, '..', 'support', 'outbox-actor.js');
const LONG = Number(process.env.SEKERING_CHAOS_SECONDS ?? 0) > 0;
const TIMES = LONG
  ? { kills: 200, stops: 50, restarts: 10, faults: 20 }
  : { kills: 10, stops: 3, restarts: 2, faults: 1 };

const CHANNELS = { JOB: { maxAttempts: 3, backoff: { strategy: 'fixed', minTimeout: 20 } } };
const IN_FLIGHT = 10;
const LEASE_MS = 1000;
const FREE_MS_MAX = 30_000;
const BACK_MS_MAX = 20_000;
const GIVEN_UP_MS_MAX = 20_000;

if (LONG) jest.setTimeout(1_800_000);

let postgres;
let server;
let effects;
const actors = new Set();
const stores = [];
beforeAll(async () => {
  postgres = await startPostgres();
  server = http.createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://x');
    const id = pathname.slice(1);
    if (!effects.has(id)) effects.set(id, []);
    effects.get(id).push(searchParams.get('reference'));
    effects.count++;
    response.end();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
});
beforeEach(() => { effects = Object.assign(new Map(), { count: 0 }); });
afterEach(async () => {
  await Promise.all([...actors].map(kill));
  await Promise.all(stores.splice(0).map(store => store.close()));
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await postgres.close();
});

async function open (url, more) {
  const store = await openStore({ url, channels: CHANNELS, ...more });
  store.on('warning', () => {});
  stores.push(store);
  return store;
}

async function startActor (url, more = {}) {
  const child = fork(ACTOR, [JSON.stringify({
    url, concurrency: IN_FLIGHT, effects: `http://127.0.0.1:${server.address().port}`,
    worker: { leaseMs: LEASE_MS, pollInterval: 100, ...more },
  })], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  child.fenced = [];
  child.lost = 0;
  child.on('message', ({ event, id }) => {
    if (event !== 'fenced') return;
    child.fenced.push(id);
    child.lost++;
  });
  actors.add(child);
  child.on('exit', () => actors.delete(child));
  const [first] = await Promise.race([once(child, 'message'), once(child, 'exit')]);
  if (first?.event !== 'started' && first !== null) throw new Error(`The actor ended: ${first}`);
  return child;
}

async function kill (child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

const jobs = (count, recipient = 'x') =>
  Array.from({ length: count }, () => ({ channel: 'JOB', recipient }));

const countOf = async (store, condition) => (await store.query(`SELECT count(*)::int AS count
  FROM sekering.notification_outbox WHERE ${condition}`)).rows[0].count;

/** How many effects there were beyond one for each message; each with the same reference. */
function repeated () {
  let sum = 0;
  for (const references of effects.values()) {
    expect(new Set(references).size).toBe(1);
    sum += references.length - 1;
  }
  return sum;
}

test('workers that are killed lose nothing, and repeat no more than was in flight', async () => {
  const url = await postgres.createDatabase();
  const store = await open(url);
  const perKill = 200;
  for (let i = 0; i < TIMES.kills; i++) {
    const worker = await startActor(url);
    const goal = effects.count + perKill / 4;
    await store.outbox.enqueue(jobs(perKill));
    await until(() => effects.count > goal);
    await kill(worker);
  }
  const { pid } = await startActor(url);
  const began = performance.now();
  // What the living one holds goes on for as long as there is something left to send.
  await until(async () => await countOf(store,
    `status = 'SENDING' AND split_part(lease_owner, ':', 2) <> '${pid}'`) === 0);
  expect(performance.now() - began).toBeLessThan(FREE_MS_MAX);
  const total = TIMES.kills * perKill;
  await until(async () => await countOf(store, `status = 'SENT'`) === total);
  expect(effects.size).toBe(total);
  expect(repeated()).toBeLessThanOrEqual(TIMES.kills * IN_FLIGHT);
});

/** Starts a worker after the other until all is sent or dead: how many died of it. */
async function sendAll (store, url) {
  const isOver = async () => await countOf(store, `status NOT IN ('SENT', 'DLQ')`) === 0;
  let deaths = 0;
  while (!await isOver()) {
    const worker = await startActor(url);
    await until(async () => worker.signalCode !== null || await isOver());
    if (worker.signalCode !== null) deaths++;
  }
  return deaths;
}

// In front it kills its worker before anything else that was claimed with it is begun.
test.each([
  ['in front', 0],
  ['among others', 100],
])('a message %s that kills its worker dies; the others are sent', async (_, before) => {
  const url = await postgres.createDatabase();
  const store = await open(url);
  await store.outbox.enqueue([...jobs(before), ...jobs(1, 'killer'), ...jobs(200 - before)]);
  const deaths = await sendAll(store, url);
  const [letter] = await store.deadLetters.list();
  expect(letter).toMatchObject({ recipient: 'killer', kind: 'ERR_OUTBOX_CRASHED' });
  expect(deaths).toBe(3);
  expect(effects.size).toBe(200);
  expect(repeated()).toBeLessThanOrEqual(deaths * IN_FLIGHT);
});

test('on its last chance a message is sent while nothing else is', async () => {
  const url = await postgres.createDatabase();
  const store = await open(url);
  await store.outbox.enqueue(jobs(2));
  // They were with others that killed, twice.
  await store.query('UPDATE sekering.notification_outbox SET crash_count = 2');
  await store.outbox.enqueue([...jobs(20), ...jobs(3, 'killer')]);
  expect(await sendAll(store, url)).toBeGreaterThanOrEqual(3);
  const letters = await store.deadLetters.list();
  expect(letters.map(({ recipient }) => recipient)).toEqual(Array(3).fill('killer'));
  expect(effects.size).toBe(22);
});

test('a worker that was stopped past its lease settles nothing', async () => {
  const url = await postgres.createDatabase();
  const store = await open(url);
  /** Messages that a worker holds, or has held last. */
  const heldBy = async ({ pid }, status) => (await store.query(`SELECT id
    FROM sekering.notification_outbox WHERE status = $1 AND split_part(lease_owner, ':', 2) = $2`,
  [status, String(pid)])).rows.map(({ id }) => id);
  const workers = [await startActor(url), await startActor(url)];
  let total = 0;
  let fenced = 0;
  for (let i = 0; i < TIMES.stops; i++) {
    const stopped = workers[i % 2];
    const goal = effects.count + 20;
    await store.outbox.enqueue(jobs(400));
    total += 400;
    await until(() => effects.count > goal);
    stopped.kill('SIGSTOP');
    const held = await heldBy(stopped, 'SENDING');
    await until(async () => await countOf(store, `status = 'SENT'`) === total);
    // What it had handed to the database before it was stopped has counted.
    const own = new Set(await heldBy(stopped, 'SENT'));
    const stale = held.filter(id => !own.has(id));
    stopped.fenced = [];
    stopped.kill('SIGCONT');
    await until(() => stale.every(id => stopped.fenced.includes(id)));
    expect(new Set(stopped.fenced).size).toBe(stopped.fenced.length);
    expect(stopped.fenced.filter(id => own.has(id))).toEqual([]);
    fenced += stale.length;
  }
  expect(fenced).toBeGreaterThan(0);
  await store.outbox.enqueue(jobs(100));
  await until(async () => await countOf(store, `status = 'SENT'`) === total + 100);
  // Had a stale settle counted, more would have been settled than was sent.
  expect(effects.size).toBe(total + 100);
  const { rows } = await store.query(`SELECT max(attempt_count)::int AS attempts,
    max(crash_count)::int AS crashes FROM sekering.notification_outbox`);
  expect(rows[0]).toEqual({ attempts: 1, crashes: 0 });
  // On a busy machine the other one may have stood still, too.
  const others = workers[0].lost + workers[1].lost - fenced;
  expect(repeated()).toBeLessThanOrEqual(TIMES.stops * IN_FLIGHT + others);
});

test('a PostgreSQL that restarts delays messages, and ends no worker', async () => {
  const own = await startPostgres();
  try {
    const store = await open(own.url, { timeout: 2000 });
    const sent = new Map();
    const worker = store.outbox.createWorker({
      channels: { JOB: async ({ id }) => { sent.set(id, (sent.get(id) ?? 0) + 1); } },
      leaseMs: 2000, pollInterval: 100,
    });
    const warnings = [];
    worker.on('warning', error => warnings.push(error));
    await worker.start();
    const durable = [];
    const over = new AbortController();
    const load = (async () => {
      while (!over.signal.aborted) {
        await store.outbox.enqueue(jobs(5)).then(
          answers => durable.push(...answers.map(({ id }) => id)),
          error => expect(error).toMatchObject({ name: 'StoreError', retryable: true }));
        await new Promise(resolve => { setTimeout(resolve, 5); });
      }
    })();
    for (let i = 0; i < TIMES.restarts * 2; i++) {
      const goal = durable.length + 50;
      await until(() => durable.length > goal);
      await own.restart(i % 2 ? 'immediate' : 'fast');
      const back = performance.now();
      const count = sent.size;
      await until(() => sent.size > count + 20);
      expect(performance.now() - back).toBeLessThan(BACK_MS_MAX);
    }
    over.abort();
    await load;
    await until(async () => await countOf(store, `status <> 'SENT'`) === 0);
    expect(durable.filter(id => !sent.has(id))).toEqual([]);
    expect(worker.running).toBe(true);
    expect(warnings.length).toBeGreaterThan(0);
    expect(warnings.every(({ name, retryable }) => name === 'StoreError' && retryable)).toBe(true);
    await worker.stop();
  } finally {
    await Promise.all(stores.splice(0).map(store => store.close()));
    await own.close();
  }
});

test('an hour with the breaker open: no attempt and no write; then a probe, then all', async () => {
  const count = 10_000;
  const store = await open(await postgres.createDatabase());
  for (let i = 0; i < count; i += 1000) await store.outbox.enqueue(jobs(1000));
  const clock = useVirtualClock();
  try {
    let calls = 0;
    const breaker = new CircuitBreaker(async isUp => {
      calls++;
      if (!isUp) throw new Error('down');
    }, { resetTimeout: 3_600_000, volumeThreshold: 1 });
    await breaker.fire(false).catch(() => {});
    calls = 0;
    // Which rows, by the transactions that wrote them last.
    const versions = async () => (await store.query(`SELECT count(*)::int AS count,
      md5(string_agg(xmin::text || ctid::text, ',' ORDER BY id)) AS all
      FROM sekering.notification_outbox`)).rows[0];
    const before = await versions();
    const worker = store.outbox.createWorker({
      channels: { JOB: { send: () => breaker.fire(true), breaker, concurrency: 20 } },
    });
    await worker.start();
    for (let i = 0; i < 59; i++) await clock.advance(61_000);
    expect(breaker.opened).toBe(true);
    expect(await versions()).toEqual(before);
    expect(calls).toBe(0);
    const firstCalls = new Promise(resolve => { breaker.once('close', () => resolve(calls)); });
    await clock.advance(1000);
    expect(await firstCalls).toBe(1);
    await until(() => worker.stats().sent === count);
    expect(calls).toBe(count);
    await worker.stop();
  } finally {
    clock.restore();
  }
});

test('after the database was away, leases that are over are left for a while', async () => {
  const url = await postgres.createDatabase();
  const direct = await open(url);
  const proxy = await startTcpProxy({ target: postgres.port });
  const store = await open(url.replace(`:${postgres.port}`, `:${proxy.port}`));
  await direct.outbox.enqueue(jobs(1));
  // Of a worker that lives, but could not tell so.
  await direct.query(`UPDATE sekering.notification_outbox SET status = 'SENDING',
    lease_owner = 'another', lease_token = 1, lease_until = now(), crash_count = 1`);
  const worker = store.outbox.createWorker({
    channels: { JOB: async () => {} }, leaseMs: LEASE_MS, pollInterval: 20,
  });
  try {
    proxy.set({ refuse: true });
    proxy.cutAll();
    const warned = once(worker, 'warning');
    await worker.start();
    await warned;
    const sent = events(worker, 'sent');
    const back = performance.now();
    proxy.set(null);
    await sent;
    expect(performance.now() - back).toBeGreaterThanOrEqual(LEASE_MS / 2);
  } finally {
    await worker.stop();
    await proxy.close();
  }
});

test('a network that fails keeps nobody past his deadline', async () => {
  const url = await postgres.createDatabase();
  const direct = await open(url);
  const proxy = await startTcpProxy({ target: postgres.port });
  const store = await open(url.replace(`:${postgres.port}`, `:${proxy.port}`), { timeout: 3000 });
  const worker = store.outbox.createWorker({
    channels: { JOB: async () => {} }, leaseMs: 2000, pollInterval: 50,
  });
  worker.on('warning', () => {});
  await worker.start();
  const faults = [{ delayMs: [1, 30] }, { refuse: true, reset: true }, { cutDown: 300 },
    { cutUp: 200, reset: true }, { dropAnswers: true }, { halfClose: 'up' }];
  try {
    for (const fault of Array.from({ length: TIMES.faults }, () => faults).flat()) {
      proxy.set(fault);
      proxy.cutAll();
      const began = performance.now();
      await store.outbox.enqueue(jobs(3)).catch(error => expect(error.retryable).toBe(true));
      // A connection is tried for as long as the timeout, and then the statement.
      expect(performance.now() - began).toBeLessThan(GIVEN_UP_MS_MAX);
      proxy.set(null);
      proxy.cutAll();
      const { id } = await until(() => store.outbox.enqueue(jobs(1)[0]).catch(() => undefined));
      await until(async () => (await direct.outbox.get(id)).status === 'SENT');
    }
    await until(async () => await countOf(direct, `status <> 'SENT'`) === 0);
    expect(worker.running).toBe(true);
    const idle = events(worker, 'idle');
    await direct.outbox.enqueue(jobs(1));
    await idle;
  } finally {
    await worker.stop();
    await proxy.close();
  }
});
