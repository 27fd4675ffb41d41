'use strict';

// Settings of a role or a server: the store works as it does without them, and sessions of the user
// keep them. Other tests of the store run on a server with such settings, too.

const { setImmediate: turn } = require('node:timers/promises');

const { Client, Pool } = require('pg');

const { openStore } = require('../../lib/store');
const { keep } = require('../support/keep');
const { closeAll, order, start } = require('../support/midtrans-helpers');
const { events } = require('../support/outbox-helpers');
const {
  HOSTILE, anotherSchema, closeShared, sharedPostgres, startPostgres,
} = require('../support/postgres');

const BODY = 'Quotes \' " and \\x41 \\101\nkäse ☕';
const CHANNELS = { JOB: {} };

let server;
let roles = 0;
beforeAll(async () => { server = await sharedPostgres(); });
// After what is kept.
afterEach(closeAll);
afterAll(closeShared);

/** The address of an empty database for a role with these settings, on top of the server's. */
async function addressOf (settings) {
  const role = `role_${++roles}`;
  await server.query(`CREATE ROLE ${role} SUPERUSER LOGIN`);
  for (const [name, value] of Object.entries(settings)) {
    await server.query(`ALTER ROLE ${role} SET ${name} = ${value}`);
  }
  const { pathname } = new URL(await server.createDatabase());
  return server.urlOf(pathname.slice(1), role);
}

function makePool (url, options) {
  const pool = new Pool({ connectionString: url, max: 10, ...options });
  return keep(pool, () => pool.end());
}

const WAYS = { url: url => ({ url }), pool: url => ({ pool: makePool(url) }) };

async function open (way, settings, more) {
  const url = await addressOf(settings);
  return keep(await openStore({ ...WAYS[way](url), channels: CHANNELS, ...more }));
}

/** A worker that must not warn. */
async function startWorker (store, send) {
  const worker = store.outbox.createWorker({ channels: { JOB: send }, pollInterval: 50 });
  const warnings = [];
  worker.on('warning', error => warnings.push(error));
  keep(worker, async () => {
    await worker.stop();
    expect(warnings).toEqual([]);
  });
  await worker.start();
  return worker;
}

/** What PostgreSQL comes with. */
const PLAIN = {
  datestyle: 'ISO', extra_float_digits: 1, array_nulls: 'on', standard_conforming_strings: 'on',
  default_transaction_isolation: "'read committed'",
};

const SETTINGS = [
  {}, { datestyle: "'SQL, DMY'" },
  { datestyle: "'Postgres, DMY'", timezone: "'America/St_Johns'" },
  { datestyle: "'ISO, DMY'", default_transaction_isolation: "'repeatable read'" },
  { search_path: "''" },
];

/** Messages are sent or die as they are, and concurrent calls are answered. */
async function isUseful (store) {
  const began = Date.now();
  const isOfNow = time => Math.abs(time.getTime() - began) < 3_600_000;
  const sent = [];
  const worker = await startWorker(store, async message => {
    if (message.recipient === 'bad') throw Object.assign(new Error('no'), { retryable: false });
    sent.push(message);
  });
  const over = Promise.all([events(worker, 'sent', 3), events(worker, 'dead')]);
  await store.outbox.enqueue(['a', 'b', 'c', 'bad'].map(recipient =>
    ({ channel: 'JOB', recipient, body: BODY })));
  await over;
  expect(sent.map(({ body }) => body)).toEqual([BODY, BODY, BODY]);
  expect(sent.every(({ createdAt }) => isOfNow(createdAt))).toBe(true);
  const [letter] = await store.deadLetters.list();
  expect(letter).toMatchObject({ recipient: 'bad', body: BODY, attemptCount: 1 });
  expect(isOfNow(letter.diedAt)).toBe(true);
  // Calls that come together: under one key, and under one each.
  const work = jest.fn(async () => ({ made: true }));
  const same = await Promise.all(Array.from({ length: 20 }, () =>
    store.idempotency.run('key', work, { wait: 30_000 })));
  expect(same.map(({ value }) => value)).toEqual(Array(20).fill({ made: true }));
  expect(work).toHaveBeenCalledTimes(1);
  await Promise.all(Array.from({ length: 20 }, (_, i) => store.idempotency.run(`key ${i}`,
    ({ client }) => client.query('SELECT 1').then(() => i), { transaction: true })));
  expect((await store.idempotency.get('key')).createdAt).toBeInstanceOf(Date);
}

describe.each(Object.keys(WAYS).flatMap(way => SETTINGS.map(settings => [way, settings])))(
  'a %s of a role with %j', (way, settings) => {
    test('messages are sent or die as they are, and concurrent calls are answered',
      async () => isUseful(await open(way, settings)));
  });

describe('hostile settings that are not those of the server', () => {
  let plain;
  beforeAll(async () => {
    plain = await startPostgres({ fsync: 'off' });
    await plain.query(anotherSchema(), plain.urlOf('template1'));
  });
  afterAll(() => plain.close());

  const quoted = value => `'${value}'`;
  const alter = async (what, name, settings) => {
    for (const [setting, value] of settings) {
      await plain.query(`ALTER ${what} ${name} SET ${setting} = ${
        setting === 'search_path' ? value : quoted(value)}`);
    }
  };
  const SETTERS = {
    'ALTER DATABASE': async (url, settings) => {
      await alter('DATABASE', new URL(url).pathname.slice(1), settings);
      return url;
    },
    'ALTER ROLE': async (url, settings) => {
      const role = `hostile_${++roles}`;
      await plain.query(`CREATE ROLE ${role} SUPERUSER LOGIN`);
      await alter('ROLE', role, settings);
      return url.replace('postgres@', `${role}@`);
    },
    'options in the address': async (url, settings) => {
      const options = settings.map(([name, value]) => `-c ${name}=${value}`).join(' ');
      return `${url}?options=${encodeURIComponent(options)}`;
    },
  };

  test.each(Object.keys(SETTERS).flatMap(setter => Object.keys(WAYS).map(way => [setter, way])))(
    '%s, and a %s', async (setter, way) => {
      const { client: midtrans, fake } = await start();
      const url = await SETTERS[setter](await plain.createDatabase(), Object.entries(HOSTILE));
      const { rows: [shown] } = await plain.query(`SELECT current_setting('datestyle') AS style,
        current_setting('search_path') AS path, current_setting('array_nulls') AS nulls`, url);
      expect(shown).toEqual({
        style: expect.stringMatching('German'), path: expect.stringMatching('another'),
        nulls: 'off',
      });
      const payments = { midtrans };
      const store = keep(await openStore({ ...WAYS[way](url), channels: CHANNELS, payments }));
      await isUseful(store);
      await store.payments.open(order('paid'));
      fake.choose('paid');
      fake.settle('paid');
      const [notice] = fake.notifications('paid', { latest: true });
      const bytes = Buffer.from(JSON.stringify({ ...notice, x: BODY }));
      expect(await store.payments.handleNotification(bytes)).toMatchObject({ status: 200 });
      expect(await store.payments.get('paid')).toMatchObject({ state: 'paid' });
      const kept = await store.payments.events('paid');
      expect(Buffer.from(kept[0].body)).toEqual(bytes);
      const [letter] = await store.deadLetters.list();
      expect(await store.deadLetters.retry(letter.id)).toBe(true);
      expect(await store.cleanUp({ sent: 0 })).toMatchObject({ sent: expect.any(Number) });
      expect(await store.migrate()).toMatchObject({ applied: [] });
      expect(await store.health()).toMatchObject({ ok: true });
    });
});

describe.each(Object.keys(WAYS))('a %s', way => {
  test('keeps the bytes of payment notifications', async () => {
    const { client: midtrans, fake } = await start();
    const store = await open(way, {}, { payments: { midtrans } });
    await store.payments.open(order('paid'));
    fake.choose('paid');
    const bytes = Buffer.from(JSON.stringify({ ...fake.notifications('paid')[0], x: BODY }));
    expect(await store.payments.handleNotification(bytes)).toMatchObject({ status: 200 });
    const [event] = await store.payments.events('paid');
    expect(Buffer.from(event.body)).toEqual(bytes);
    expect(event.receivedAt).toBeInstanceOf(Date);
  });

  test('returns values to the user unchanged', async () => {
    const store = await open(way, {});
    const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const text = `SELECT $1::bytea AS bytes, $2::timestamptz AS time,
      '1800-01-01 00:00:00Z'::timestamptz AS early, 0.1::float8 AS number,
      '-1 day -2 hours'::interval AS span, '2026-02-03'::date AS day, $3::text[] = ARRAY['NULL',
      NULL] AS same`;
    const given = [all, new Date(1_700_000_000_250), ['NULL', null]];
    const row = {
      bytes: all, time: given[1], early: new Date('1800-01-01T00:00:00Z'), number: 0.1,
      span: '-1 days -02:00:00', day: '2026-02-03', same: true,
    };
    expect((await store.query(text, given)).rows).toEqual([row]);
    await store.transaction(async client => {
      expect((await client.query(text, given)).rows).toEqual([row]);
    });
  });

  test('transactions are READ COMMITTED, unless the user asks for more', async () => {
    const store = await open(way, {});
    const isolation = async client => (await client.query(
      "SELECT current_setting('transaction_isolation') AS is")).rows[0].is;
    expect(await isolation(store)).toBe('read committed');
    expect(await store.transaction(isolation)).toBe('read committed');
    expect(await store.transaction(async client => {
      await client.query('SET TRANSACTION ISOLATION LEVEL SERIALIZABLE');
      return isolation(client);
    })).toBe('serializable');
  });
});

describe.each(Object.keys(WAYS))('time limits of a role, and a %s', way => {
  const LIMIT_MS = 1000;
  const LIMITS = { statement_timeout: LIMIT_MS, lock_timeout: LIMIT_MS / 2 };

  /** Holds a lock until somebody has waited for it longer than the role's limits allow. */
  async function holdUp (url, lock, work) {
    const client = new Client({ connectionString: url });
    await client.connect();
    await client.query(`SET statement_timeout = 0; SET lock_timeout = 0; BEGIN; ${lock}`);
    const done = work();
    try {
      for (let isLong = false; !isLong;) {
        ({ rows: [{ isLong }] } = await server.query(`SELECT count(*) > 0 AS "isLong"
          FROM pg_stat_activity WHERE wait_event_type = 'Lock'
            AND clock_timestamp() - query_start > ${1.5 * LIMIT_MS} * interval '1 ms'`));
        const isOver = await Promise.race([done.then(() => true), turn(false)]);
        if (isOver) throw new Error('It did not wait');
      }
    } finally {
      await client.query('COMMIT').finally(() => client.end());
    }
    return done;
  }

  test('break neither migrations nor statements', async () => {
    const url = await addressOf(LIMITS);
    const store = keep(await holdUp(url, `SELECT pg_advisory_xact_lock(
      hashtextextended('sekering.migrate.sekering', 0))`,
    () => openStore({ ...WAYS[way](url), timeout: 60_000, channels: CHANNELS })));
    const lock = 'LOCK TABLE sekering.notification_outbox IN ACCESS EXCLUSIVE MODE';
    const message = { channel: 'JOB', recipient: 'a', body: BODY };
    const { id } = await holdUp(url, lock, () => store.outbox.enqueue(message));
    expect(await holdUp(url, lock, () => store.cleanUp())).toMatchObject({ sent: 0 });
    expect(await holdUp(url, lock, () => store.outbox.get(id))).toMatchObject({ body: BODY });
    await holdUp(url, lock, () => store.transaction(client => client.query(
      'SELECT FROM sekering.notification_outbox')));
  });

  test('are those that the store has', async () => {
    const store = await open(way, { ...LIMITS, idle_session_timeout: 3_600_000 });
    const limitsOf = async client => (await client.query(`SELECT current_setting('lock_timeout')
      AS lock, current_setting('statement_timeout') AS statement`)).rows[0];
    const expected = { lock: '0', statement: '10s' };
    expect(await limitsOf(store)).toEqual(expected);
    expect(await store.transaction(limitsOf)).toEqual(expected);
    const { rows: [{ idle }] } =
      await store.query("SELECT current_setting('idle_session_timeout') AS idle");
    expect(idle).toBe(way === 'url' ? '0' : '1h');
  });
});

test('plans are not compiled in sessions of ours', async () => {
  const url = await addressOf({ jit: 'on', jit_above_cost: 0 });
  const store = keep(await openStore({ url, channels: CHANNELS }));
  const look = async client => (await client.query('SHOW jit')).rows;
  expect(await look(store)).toEqual([{ jit: 'off' }]);
  expect(await store.transaction(look)).toEqual([{ jit: 'off' }]);
});

test('a search_path cannot hide functions of PostgreSQL', async () => {
  const url = await addressOf({ search_path: 'evil, pg_catalog, public' });
  await server.query(`CREATE SCHEMA evil; CREATE TABLE evil.own (x int);
    CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS
      $$ SELECT '1970-01-01'::timestamptz $$`, url);
  const store = keep(await openStore({ url, channels: CHANNELS }));
  const { id } = await store.outbox.enqueue({ channel: 'JOB', recipient: 'a', body: BODY });
  expect((await store.outbox.get(id)).nextRetryAt.getTime()).toBeGreaterThan(0);
  expect((await store.query('SELECT * FROM own')).rows).toEqual([]);
});

describe('a session of the user', () => {
  /** What the user's own statements see. */
  const SEEN = `SELECT current_setting('datestyle') AS style, current_setting('intervalstyle') AS i,
    current_setting('bytea_output') AS bytes, current_setting('transaction_isolation') AS level`;

  test.each([[{}], [{ datestyle: "'SQL, DMY'" }]])(
    'with %j serves a transaction, and keeps its settings', async settings => {
      const url = await addressOf(settings);
      const store = keep(await openStore({ pool: makePool(url), channels: CHANNELS }));
      const client = new Client({ connectionString: url });
      await client.connect();
      keep(client, () => client.end());
      const seen = async () => (await client.query(SEEN)).rows;
      const before = await seen();
      await client.query('BEGIN');
      const message = { channel: 'JOB', recipient: 'a', body: BODY };
      // All at once, as they may be in the user's code.
      const [{ id }, letter, paid] = await Promise.all([
        store.outbox.enqueue(message, { client }),
        store.deadLetters.add(message, 'why', { client }),
        store.payments.createOrder({ orderId: 'a', amountMinor: 1n }, { client }),
      ]);
      expect(letter.diedAt).toBeInstanceOf(Date);
      expect(paid.createdAt).toBeInstanceOf(Date);
      expect(await seen()).toEqual(before);
      await client.query('COMMIT');
      expect(await seen()).toEqual(before);
      expect(await store.outbox.get(id)).toMatchObject({ body: BODY, status: 'PENDING' });
    });

  test('of a pool is unchanged after the store has used it', async () => {
    const url = await addressOf({});
    const pool = makePool(url, { max: 2 });
    const seen = async () => (await pool.query(SEEN)).rows;
    const before = await seen();
    const store = keep(await openStore({ pool, channels: CHANNELS }));
    await store.outbox.enqueue({ channel: 'JOB', recipient: 'a', body: BODY });
    await store.transaction(client => client.query('SELECT 1'));
    await expect(store.query('SELECT 1 / 0')).rejects.toMatchObject({ sqlState: '22012' });
    for (let i = 0; i < 4; i++) expect(await seen()).toEqual(before);
  });

  test('may be changed by the user at any time', async () => {
    const pool = makePool(await addressOf(PLAIN), { max: 2 });
    const store = keep(await openStore({ pool, channels: CHANNELS }));
    for (const style of ['German', 'ISO', 'SQL']) {
      const clients = [await pool.connect(), await pool.connect()];
      for (const client of clients) await client.query(`SET datestyle = ${style}`);
      for (const client of clients) client.release();
      const { rows: [{ time }] } = await store.query('SELECT to_timestamp(5) AS time');
      expect(time).toEqual(new Date(5000));
    }
  });
});

test.each(['UTC', 'Asia/Jakarta', 'Asia/Kolkata', 'America/St_Johns', 'Europe/Amsterdam'])(
  'times of all centuries are read as they are meant in %s', async zone => {
    const store = await open('url', {}, { connections: 1 });
    const { rows } = await store.transaction(async client => {
      await client.query(`SET LOCAL timezone = '${zone}'`);
      return client.query(`SELECT t, floor(extract(epoch FROM t) * 1000)::text AS ms
        FROM generate_series(0, 3000) AS i, LATERAL (SELECT to_timestamp(i * 87654321.0 - 6.0e10 +
          (ARRAY[0, 0.1, 0.1234, 0.654321])[1 + i % 4]) AS t) AS times`);
    });
    const wrong = rows.filter(({ t, ms }) => t.getTime() !== Number(ms));
    expect(wrong).toEqual([]);
  });

test('a time that cannot be read is an error, and the next statement works', async () => {
  const store = await open('url', {}, { connections: 1 });
  await store.query('SET datestyle = German');
  await expect(store.query('SELECT now() AS time')).rejects
    .toMatchObject({ name: 'StoreError', code: 'ERR_STORE_VALUE', retryable: false });
  expect((await store.query('SELECT to_timestamp(5) AS t')).rows).toEqual([{ t: new Date(5000) }]);
});

test('a store whose values do not come back as they were sent is not opened', async () => {
  const pool = makePool(await addressOf({}), { binary: true });
  await expect(openStore({ pool })).rejects
    .toMatchObject({ code: 'ERR_STORE_VALUE', retryable: false });
});

test('a message whose time fits into no Date does not stop the others', async () => {
  const store = await open('url', {});
  const ids = await store.outbox.enqueue(['a', 'b', 'c'].map(recipient =>
    ({ channel: 'JOB', recipient, body: BODY })));
  await store.query(`UPDATE sekering.notification_outbox SET created_at = '-infinity',
    next_retry_at = '-infinity' WHERE id = $1`, [ids[1].id]);
  const sent = [];
  const worker = store.outbox.createWorker({
    channels: { JOB: async ({ recipient }) => { sent.push(recipient); } }, pollInterval: 50,
  });
  const all = events(worker, 'sent', 3);
  await worker.start();
  keep(worker, () => worker.stop());
  await all;
  expect(sent.sort()).toEqual(['a', 'b', 'c']);
});
