'use strict';

// Hosts whose clocks are wrong by minutes, and answers that are lost: only the database's time
// counts, and what was committed is not done again.

const { fork, execFile } = require('node:child_process');
const { once } = require('node:events');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');

const { openStore } = require('../../lib/store');
const { until } = require('../support/gateway-helpers');
const { keep } = require('../support/keep');
const { closeShared, sharedPostgres } = require('../support/postgres');

const SUPPORT = path.join(__dirname, '..', 'support');
const OFFSETS_MS = [-600_000, 600_000];
const MESSAGE = { channel: 'JOB', recipient: 'a', body: 'x' };
const CHANNELS = { JOB: {} };

afterAll(closeShared);

const optionsOf = offsetMs => ({
  env: { ...process.env, SEKERING_CLOCK_MS: String(offsetMs) },
  execArgv: ['--require', path.join(SUPPORT, 'odd-clock.js')],
});

/** A server that takes what workers send, and holds back its answers until it is released. */
async function startEffects () {
  const it = { urls: [], isHeld: true, release: undefined };
  const released = new Promise(resolve => { it.release = resolve; });
  const server = http.createServer(async (request, response) => {
    it.urls.push(request.url);
    if (it.isHeld) await released;
    response.end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  keep({ close: () => {
    server.close();
    server.closeAllConnections();
  } });
  return Object.assign(it, { url: `http://127.0.0.1:${server.address().port}` });
}

test('workers whose clocks are wrong send each message once', async () => {
  const url = await (await sharedPostgres()).createDatabase();
  const store = keep(await openStore({ url, channels: CHANNELS }));
  const effects = await startEffects();
  const fenced = [];
  const start = async offsetMs => {
    const child = fork(path.join(SUPPORT, 'outbox-actor.js'), [JSON.stringify({
      url, effects: effects.url, worker: { leaseMs: 2000, pollInterval: 50 }, concurrency: 5,
    })], optionsOf(offsetMs));
    child.on('message', ({ event }) => { if (event === 'fenced') fenced.push(event); });
    keep({ close: () => child.kill('SIGKILL') });
    await once(child, 'message');
  };
  await start(OFFSETS_MS[0]);
  // The first one holds these for several leases, while the second one looks for lapsed ones.
  await store.outbox.enqueue(Array(5).fill(MESSAGE));
  await until(() => effects.urls.length === 5);
  await start(OFFSETS_MS[1]);
  const from = (await store.query('SELECT now() AS at')).rows[0].at;
  await until(async () => {
    const { rows: [{ isLong }] } = await store.query(
      `SELECT now() > $1::timestamptz + interval '6 s' AS "isLong"`, [from]);
    return isLong;
  });
  effects.isHeld = false;
  effects.release();
  await store.outbox.enqueue(Array(20).fill(MESSAGE));
  await until(async () =>
    (await store.outbox.list({ limit: 100 })).every(({ status }) => status === 'SENT'));
  expect(effects.urls).toHaveLength(25);
  expect(new Set(effects.urls).size).toBe(25);
  expect(fenced).toEqual([]);
});

test('work under a key is done once, whatever the clocks of the hosts say', async () => {
  const server = await sharedPostgres();
  const url = await server.createDatabase();
  await (await openStore({ url })).close();
  await server.query('CREATE TABLE effects (pid int)', url);
  const outputs = await Promise.all([...OFFSETS_MS, 0].map(offsetMs => {
    const { env, execArgv } = optionsOf(offsetMs);
    return new Promise((resolve, reject) => {
      execFile(process.execPath, [...execArgv, path.join(SUPPORT, 'idempotency-actor.js'),
        JSON.stringify({ url, key: 'one', calls: 3, options: { wait: 60_000 } })], { env },
      (error, stdout) => (error ? reject(error) : resolve(stdout)));
    });
  }));
  const answers = outputs.flatMap(text => text.trim().split('\n')).map(line => JSON.parse(line));
  expect(new Set(answers.map(({ value }) => value.pid)).size).toBe(1);
  expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
  expect((await server.query('SELECT 1 FROM effects', url)).rowCount).toBe(1);
});

/** A host with a wrong clock: `ask` has it do something, `until` waits for an event of it. */
async function startHost (url, offsetMs, more) {
  const child = fork(path.join(SUPPORT, 'clock-actor.js'), [JSON.stringify({ url, ...more })],
    optionsOf(offsetMs));
  keep({ close: () => child.kill('SIGKILL') });
  const seen = [];
  child.on('message', event => seen.push(event));
  const it = {
    seen,
    until: name => until(() => seen.find(({ event }) => event === name)),
    ask: async (what, argument) => {
      child.send({ what, argument });
      const { value } = await it.until(what);
      seen.splice(seen.findIndex(({ event }) => event === what), 1);
      return value;
    },
  };
  await it.until('started');
  return it;
}

describe('on hosts whose clocks are twenty minutes apart', () => {
  let url;
  let store;
  beforeEach(async () => {
    url = await (await sharedPostgres()).createDatabase();
    store = keep(await openStore({ url, channels: CHANNELS }));
  });

  const startBoth = more => Promise.all(OFFSETS_MS.map(offsetMs => startHost(url, offsetMs, more)));

  test.each([['slow', 0], ['fast', 1]])('the %s one sends what is due, and nothing else',
    async (_, index) => {
      const sender = await startHost(url, OFFSETS_MS[index], { failures: 1 });
      const enqueuer = await startHost(url, OFFSETS_MS[1 - index]);
      const message = { channel: 'JOB', recipient: 'a' };
      await enqueuer.ask('enqueue', { ...message, body: 'later', delay: 300_000 });
      await enqueuer.ask('enqueue', { ...message, body: 'soon', delay: 100 });
      await sender.ask('enqueue', { ...message, body: 'own', delay: 300_000 });
      await sender.ask('work');
      // Its first attempt fails, and the second one is due soon after.
      await sender.until('sent');
      expect(sender.seen).toMatchObject([
        { event: 'started' }, { event: 'retry' }, { event: 'sent', value: 'soon' }]);
      const { rows } = await store.query(`SELECT body, status,
        next_retry_at - created_at BETWEEN interval '4 min' AND interval '6 min' AS due
        FROM sekering.notification_outbox WHERE body <> 'soon' ORDER BY id`);
      expect(rows).toEqual(['later', 'own'].map(body => ({ body, status: 'PENDING', due: true })));
    });

  test('breakers of the fleet follow each other', async () => {
    const [slow, fast] = await startBoth();
    for (const [one, other] of [[slow, fast], [fast, slow]]) {
      await one.ask('trip');
      await other.until('open');
      // Circuits that are still open bind whoever joins.
      const late = await startHost(url, 0);
      expect(await late.ask('state')).toBe(true);
      await one.ask('close');
      await Promise.all([other, late].map(host => host.until('closed')));
      for (const host of [slow, fast]) host.seen.length = 0;
    }
  });

  test('jobs run on demand on any host, and never twice at once', async () => {
    const [slow, fast] = await startBoth();
    expect(await fast.ask('run')).toBe(true);
    expect(await slow.ask('run')).toBe(true);
    expect(await fast.ask('run')).toBe(true);
    await fast.ask('hold');
    await fast.until('begun');
    expect(await slow.ask('run')).toBe(false);
  });

  test('each time of a schedule is taken once, in their order, when the database says so',
    async () => {
      await store.query(`CREATE TABLE public.slots
        (id bigserial, slot timestamptz, at timestamptz)`);
      const start = (await store.query("SELECT date_trunc('second', now()) AS at")).rows[0].at;
      await startBoth({ pattern: '* * * * * *' });
      const rows = await until(async () => {
        const { rows } = await store.query('SELECT slot, at FROM public.slots ORDER BY id');
        return rows.length >= 4 && rows;
      });
      const slots = rows.map(({ slot }) => slot.getTime());
      expect(slots).toEqual([...new Set(slots)].sort((a, b) => a - b));
      expect(rows.every(({ slot, at }) => start <= slot && slot <= at)).toBe(true);
    });
});

/** Passes everything on, except the answer to the next COMMIT once it is armed. */
async function startThief (port) {
  const it = { isArmed: false, thefts: 0 };
  const server = net.createServer(client => {
    const upstream = net.connect(port, '127.0.0.1');
    let steals = false;
    for (const [one, other] of [[client, upstream], [upstream, client]]) {
      one.on('error', () => {}).on('close', () => other.destroy());
    }
    client.on('data', data => {
      if (it.isArmed && data.includes('COMMIT')) {
        steals = true;
        it.isArmed = false;
      }
      upstream.write(data);
    });
    upstream.on('data', data => {
      if (!steals) {
        client.write(data);
        return;
      }
      it.thefts++;
      client.destroy();
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  keep({ close: () => server.close() });
  return Object.assign(it, { port: server.address().port });
}

test('what was committed is not done again when the answer to COMMIT is lost', async () => {
  const postgres = await sharedPostgres();
  const url = await postgres.createDatabase();
  const thief = await startThief(postgres.port);
  const store = keep(await openStore({
    url: url.replace(`:${postgres.port}`, `:${thief.port}`), channels: CHANNELS,
  }));
  store.on('warning', () => {});
  await postgres.query('CREATE TABLE effects (n int)', url);
  const lost = { code: 'ERR_STORE_UNREACHABLE', retryable: true };

  const work = async ({ client }) => {
    thief.isArmed = true;
    await client.query('INSERT INTO effects VALUES (1)');
    return 'done';
  };
  await expect(store.idempotency.run('key', work, { transaction: true })).rejects
    .toMatchObject(lost);
  thief.isArmed = false;
  expect(await store.idempotency.run('key', work, { transaction: true, wait: 60_000 }))
    .toEqual({ value: 'done', replayed: true });
  expect((await store.query('SELECT 1 FROM effects')).rowCount).toBe(1);

  const message = { ...MESSAGE, dedupeKey: 'once' };
  const enqueue = isArmed => store.transaction(async client => {
    const answer = await store.outbox.enqueue(message, { client });
    thief.isArmed = isArmed;
    return answer;
  });
  await expect(enqueue(true)).rejects.toMatchObject(lost);
  await enqueue(false);
  expect(await store.outbox.list()).toHaveLength(1);
  expect(thief.thefts).toBe(2);
});
