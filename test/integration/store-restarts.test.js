'use strict';

// Restarts of the database, and bad connections: nothing that was acknowledged is lost, no process
// ends, nothing waits past its deadline. With SEKERING_CHAOS_SECONDS there are ten restarts
// of each kind.

const { fork } = require('node:child_process');
const { once } = require('node:events');
const net = require('node:net');
const path = require('node:path');

const { openDatabase } = require('../../lib/store/database');
const { startTcpProxy } = require('../../lib/testing');
const { closeShared, sharedPostgres } = require('../support/postgres');

const ROUNDS = process.env.SEKERING_CHAOS_SECONDS ? 10 : 1;
const BACK_MS_MAX = 20_000;
const ACTOR = path.join(__dirname, '..', 'support', 'store-load-actor.js');
const LOST = { code: 'ERR_STORE_UNREACHABLE', retryable: true };

jest.setTimeout(900_000 + ROUNDS * 20_000);

let postgres;
let child;
beforeAll(async () => { postgres = await sharedPostgres(); });
afterAll(async () => {
  child?.kill('SIGKILL');
  await closeShared();
});

const later = ms => new Promise(resolve => { setTimeout(resolve, ms); });

/** Resolves with the first message that has `key`. */
function hear (process, key) {
  return new Promise((resolve, reject) => {
    const onExit = code => reject(new Error(`It ended with ${code}`));
    process.on('message', function look (message) {
      if (!(key in message)) return;
      process.off('message', look);
      process.off('close', onExit);
      resolve(message);
    });
    // What it had said is heard before it is closed.
    process.on('close', onExit);
  });
}

test('PostgreSQL restarts under load', async () => {
  const url = await postgres.createDatabase();
  child = fork(ACTOR, [url], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const acknowledged = [];
  const faults = [];
  child.on('message', ({ id, fault }) => {
    if (id) acknowledged.push(id);
    if (fault) faults.push(fault);
  });
  await hear(child, 'ready');
  for (let round = 0; round < 2 * ROUNDS; round++) {
    for (let i = 0; i < 20; i++) await hear(child, 'id');
    const relisten = hear(child, 'again');
    await postgres.stop(round % 2 ? 'fast' : 'immediate');
    await postgres.start();
    const began = performance.now();
    await Promise.all([hear(child, 'id'), relisten]);
    expect(performance.now() - began).toBeLessThan(BACK_MS_MAX);
    const news = hear(child, 'news');
    await postgres.query("SELECT pg_notify('load', 'still there')", url);
    expect(await news).toEqual({ news: 'still there' });
  }
  const exit = once(child, 'exit');
  const last = hear(child, 'warnings');
  child.send('stop');
  expect((await last).warnings).toBeGreaterThan(0);
  expect(await exit).toEqual([0, null]);
  expect(faults).toEqual([]);

  const { rows } = await postgres.query('SELECT id FROM load', url);
  const there = new Set(rows.map(({ id }) => id));
  expect(acknowledged.filter(id => !there.has(id))).toEqual([]);
  expect(acknowledged.length).toBeGreaterThanOrEqual(40 * ROUNDS);
});

test('a server that ends a connection with the same data that begins it', async () => {
  const message = (type, body) => {
    const head = Buffer.alloc(5);
    head.write(type);
    head.writeInt32BE(body.length + 4, 1);
    return Buffer.concat([head, Buffer.from(body, 'latin1')]);
  };
  const begin = [message('R', '\0\0\0\0'), message('Z', 'I')];
  const end = message('E', 'SFATAL\0C57P01\0Mterminating connection\0\0');
  const server = net.createServer(socket => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end(Buffer.concat([...begin, end])));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address();
  const database = await openDatabase({ url: `postgres://postgres@127.0.0.1:${port}/x` });
  try {
    // Not an error that nobody hears: that would end this process.
    await expect(database.query('SELECT 1')).rejects.toMatchObject(LOST);
  } finally {
    await database.close();
    server.close();
  }
});

describe('over a bad connection', () => {
  let proxy;
  const opened = [];
  const open = async options => {
    const database = await openDatabase({
      url: `postgres://postgres@127.0.0.1:${proxy.port}/postgres`, ...options,
    });
    opened.push(database);
    return database;
  };
  beforeAll(async () => { proxy = await startTcpProxy({ target: postgres.port }); });
  afterEach(async () => {
    proxy.set(null);
    await Promise.all(opened.splice(0).map(database => database.close()));
  });
  afterAll(() => proxy.close());

  test('a cut in the middle of a statement', async () => {
    const database = await open();
    const cut = expect(database.query('SELECT pg_sleep(20)')).rejects.toMatchObject(LOST);
    const cutTransaction = expect(database.transaction(async client => {
      await client.query('SELECT 1');
      proxy.cutAll();
      await client.query('SELECT 1');
    })).rejects.toMatchObject(LOST);
    await Promise.all([cut, cutTransaction]);
    expect((await database.query('SELECT 1 AS x')).rows).toEqual([{ x: 1 }]);
  });

  test('a cut of idle connections is a warning', async () => {
    const warnings = [];
    let warned;
    const warning = new Promise(resolve => { warned = resolve; });
    const database = await open({
      onWarning: error => {
        warnings.push(error.code);
        warned();
      },
    });
    await database.query('SELECT 1');
    proxy.cutAll();
    await warning;
    expect(warnings).toEqual(['ERR_STORE_UNREACHABLE']);
    expect((await database.query('SELECT 1 AS x')).rows).toEqual([{ x: 1 }]);
  });

  test('a listener comes back and says that it may have missed something', async () => {
    const database = await open();
    const heard = [];
    let back;
    let news;
    const reconnected = new Promise(resolve => { back = resolve; });
    const hearing = new Promise(resolve => { news = resolve; });
    const stop = await database.listen('line', payload => {
      heard.push(payload);
      news();
    }, back);
    proxy.set({ refuse: true });
    proxy.cutAll();
    await later(300);
    proxy.set(null);
    await reconnected;
    await database.query("SELECT pg_notify('line', 'hello')");
    await hearing;
    expect(heard).toEqual(['hello']);
    await stop();
  });

  test('a listener that cannot connect at first', async () => {
    proxy.set({ refuse: true });
    const database = await open();
    let back;
    const connected = new Promise(resolve => { back = resolve; });
    await database.listen('line', () => {}, back);
    proxy.set(null);
    await connected;
  });

  test('a listener that comes before the next attempt: one connection for all', async () => {
    proxy.set({ refuse: true });
    const database = await open();
    await database.listen('line', () => {});
    proxy.set(null);
    const heard = [];
    let end;
    const ended = new Promise(resolve => { end = resolve; });
    await database.listen('other', payload => (payload === 'end' ? end() : heard.push(payload)));
    // The attempt that was to come.
    await later(300);
    await database.query("SELECT pg_notify('other', 'once'), pg_notify('other', 'end')");
    await ended;
    await database.query('SELECT 1');
    expect(heard).toEqual(['once']);
  });

  test('answers that never come', async () => {
    proxy.set({ dropAnswers: true });
    const database = await open({ timeout: 300 });
    const began = performance.now();
    await expect(database.query('SELECT 1')).rejects.toMatchObject(LOST);
    await expect(database.transaction(() => {})).rejects.toMatchObject(LOST);
    expect(performance.now() - began).toBeLessThan(10_000);
  });

  test('a server that stops in the middle of a connection', async () => {
    const database = await open({ timeout: 3000 });
    const { rows: [{ pid }] } = await database.query('SELECT pg_backend_pid() AS pid');
    process.kill(pid, 'SIGSTOP');
    try {
      const began = performance.now();
      await expect(database.query('SELECT 1')).rejects.toMatchObject(LOST);
      expect((await database.query('SELECT 1 AS x')).rows).toEqual([{ x: 1 }]);
      await database.close();
      expect(performance.now() - began).toBeLessThan(30_000);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
  });

  test('a slow connection is only slow', async () => {
    proxy.set({ delayMs: [5, 30] });
    const database = await open();
    const answers = await Promise.all(Array.from({ length: 30 }, (_, i) =>
      database.transaction(async client => {
        const { rows } = await client.query('SELECT $1::int AS x', [i]);
        return rows[0].x;
      })));
    expect(answers).toEqual(Array.from({ length: 30 }, (_, i) => i));
  });

  test('a cut after any number of bytes, either way', async () => {
    const outcomes = { done: 0, lost: 0 };
    const attempts = [];
    for (let bytes = 1; bytes <= 1201; bytes += 30) {
      attempts.push({ cutUp: bytes }, { cutDown: bytes }, { cutDown: bytes, reset: true });
    }
    for (const faults of attempts) {
      proxy.set(faults);
      const database = await open({ timeout: 2000 });
      await database.transaction(async client => {
        await client.query({ name: 'a', text: 'SELECT $1::text AS x', values: ['y'] });
      }).then(() => outcomes.done++, error => {
        expect(error).toMatchObject(LOST);
        outcomes.lost++;
      });
      await database.close();
      opened.length = 0;
    }
    expect(outcomes.done).toBeGreaterThan(10);
    expect(outcomes.lost).toBeGreaterThan(50);
  });
});
