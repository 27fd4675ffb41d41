'use strict';

// Migrations: each is applied once, in order, whole or not at all, and never backwards.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { Client } = require('pg');

const { CircuitBreaker } = require('../..');
const { migrateStore, openStore } = require('../../lib/store');
const { prefixOf } = require('../../lib/store/sql-client');
const { openDatabase } = require('../../lib/store/database');
const { migrate } = require('../../lib/store/migrate');
const { describeEngines, sharedPostgres } = require('../support/postgres');

const OWN = path.join(__dirname, '..', '..', 'lib', 'store', 'sql');

const folders = [];
const opened = [];
afterAll(async () => {
  await Promise.all(opened.map(database => database.close()));
  for (const folder of folders) fs.rmSync(folder, { recursive: true });
});

const open = async options => {
  const database = await openDatabase(options);
  opened.push(database);
  return database;
};

/** A folder of migrations: name → SQL. */
function makeFolder (files) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-migrations-'));
  folders.push(folder);
  for (const [name, text] of Object.entries(files)) {
    fs.writeFileSync(path.join(folder, name), text);
  }
  return folder;
}

const FIRST = "-- It's in {schema}.\nCREATE TABLE {schema}.a (x int);" +
  ' CREATE INDEX ON {schema}.a (x);';
const FILES = {
  '002-second.sql': 'ALTER TABLE {schema}.a ADD y int;\nINSERT INTO {schema}.a VALUES (1, 2);',
  '001-first.sql': FIRST,
  'notes.txt': 'Not one of them.',
};
const MISMATCH = { code: 'ERR_STORE_SCHEMA_VERSION', retryable: false };

describeEngines('migrations', ({ place }) => {
  let database;
  beforeEach(async () => { database = await open({ ...await place(), schema: 'We"ird; name' }); });

  test('are applied in order, once, and never to the schema of a later release', async () => {
    const folder = makeFolder(FILES);
    await expect(migrate(database, { folder, dryRun: true })).rejects
      .toMatchObject({ code: 'ERR_STORE_NOT_MIGRATED', message: expect.stringMatching('needs 2') });
    expect(await migrate(database, { folder }))
      .toEqual({ applied: ['001-first', '002-second'], version: 2 });
    expect(await migrate(database, { folder })).toEqual({ applied: [], version: 2 });

    fs.writeFileSync(path.join(folder, '003-third.sql'), 'DELETE FROM {schema}.a;');
    expect(await migrate(database, { folder })).toEqual({ applied: ['003-third'], version: 3 });
    const { rows } = await database.query(
      `SELECT version, name FROM ${database.schema}.migrations ORDER BY version`);
    expect(rows.map(({ version, name }) => `${version} ${name}`))
      .toEqual(['1 001-first', '2 002-second', '3 003-third']);

    for (const dryRun of [true, false]) {
      const older = makeFolder(FILES);
      await expect(migrate(database, { folder: older, dryRun })).rejects
        .toMatchObject({ ...MISMATCH, message: expect.stringMatching(/version 3.*than 2/) });
    }
    fs.writeFileSync(path.join(folder, '001-first.sql'), `${FIRST} `);
    await expect(migrate(database, { folder })).rejects
      .toMatchObject({ ...MISMATCH, message: expect.stringMatching('001-first') });
  });

  test('that fail leave nothing behind', async () => {
    const folder = makeFolder({ ...FILES, '003-third.sql': 'DROP TABLE {schema}.nothing;' });
    await expect(migrate(database, { folder })).rejects.toMatchObject({ sqlState: '42P01' });
    const { rows } = await database.query('SELECT to_regnamespace($1) AS schema',
      [database.schema]);
    expect(rows).toEqual([{ schema: null }]);
    fs.rmSync(path.join(folder, '003-third.sql'));
    expect((await migrate(database, { folder })).version).toBe(2);
  });
});

/** A database with the migrations before the one with this name. */
async function before (name, place) {
  const files = fs.readdirSync(OWN);
  const index = files.findIndex(file => file.includes(name));
  const folder = makeFolder(Object.fromEntries(files.slice(0, index)
    .map(file => [file, fs.readFileSync(path.join(OWN, file), 'utf8')])));
  const database = await open(place);
  await migrate(database, { folder });
  return database;
}

describeEngines('the migration to sums of what went back', ({ place }) => {
  test('fills them, and has Midtrans asked about denied orders that have a page', async () => {
    const database = await before('-payment-returns', await place());
    const { schema } = database;
    await database.query(`INSERT INTO ${schema}.payment_orders
        (order_id, state, amount_minor, refunded_minor, currency, token) VALUES
      ('all', 'charged_back', 1000, 0, 'IDR', 't'), ('rest', 'charged_back', 1000, 300, 'IDR', 't'),
      ('page', 'denied', 1000, 0, 'IDR', 't'), ('charge', 'denied', 1000, 0, 'IDR', NULL)`);
    await database.query(`INSERT INTO ${schema}.payment_transactions
        (transaction_id, order_id, state, status_code, gross_amount, refunded_minor)
      SELECT order_id, order_id, 'chargeback', '200', '10.00', refunded_minor
      FROM ${schema}.payment_orders WHERE state = 'charged_back'`);
    await migrate(database);
    const { rows } = await database.query(`SELECT o.order_id, o.charged_back_minor::int AS taken,
        t.charged_back_minor::int AS own, o.silent_since IS NOT NULL AS asked
      FROM ${schema}.payment_orders o LEFT JOIN ${schema}.payment_transactions t USING (order_id)
      ORDER BY o.order_id`);
    expect(rows.map(({ order_id: id, taken, own, asked }) => [id, taken, own, asked])).toEqual([
      ['all', 1000, 1000, false], ['charge', 0, null, false], ['page', 0, null, true],
      ['rest', 700, 700, false]]);
  });
});

describeEngines('the migration to one message of a key at a time', ({ place }) => {
  test('leaves only one message of a key in SENDING with its key', async () => {
    const database = await before('-outbox-order', await place());
    await database.query(`INSERT INTO ${database.schema}.notification_outbox
        (channel, recipient, order_key, status, lease_owner, lease_token)
      SELECT channel, recipient, 'k', status, 'old', 1 FROM (VALUES
        ('JOB', 'first', 'SENDING'), ('JOB', 'waits', 'PENDING'), ('JOB', 'second', 'SENDING'),
        ('JOB', 'third', 'SENDING'), ('EMAIL', 'other', 'SENDING'), ('JOB', 'sent', 'SENT')
      ) AS given (channel, recipient, status)`);
    await migrate(database);
    const { rows } = await database.query(`SELECT recipient, status, order_key AS key
      FROM ${database.schema}.notification_outbox ORDER BY id`);
    expect(rows.map(({ recipient, status, key }) => `${recipient} ${status} ${key}`)).toEqual([
      'first SENDING k', 'waits PENDING k', 'second SENDING null', 'third SENDING null',
      'other SENDING k', 'sent SENT k']);
    await expect(database.query(`UPDATE ${database.schema}.notification_outbox
      SET status = 'SENDING' WHERE recipient = 'waits'`)).rejects
      .toMatchObject({ sqlState: '23505' });
  });
});

describe('on PostgreSQL', () => {
  test('many that start together migrate once', async () => {
    const url = await (await sharedPostgres()).createDatabase();
    const stores = await Promise.all(Array.from({ length: 8 }, () => openStore({ url })));
    const { rows } = await stores[0].query('SELECT version FROM sekering.migrations');
    expect(new Set(rows.map(({ version }) => version)).size).toBe(rows.length);
    expect(rows.length).toBeGreaterThanOrEqual(3);
    await Promise.all(stores.map(store => store.close()));
  });

  const x = 'x'.repeat(62);
  test.each([
    ['a', 'A'], ['We"ird; $& $$ name', "it's"], [`${x}a`, `${x}b`],
    ['ä☕'.repeat(12), 'sekering.fleet'], ['public', 'a.b'],
  ])('the schemas %j and %j in one database are independent', async (...schemas) => {
    const url = await (await sharedPostgres()).createDatabase();
    const client = new Client({ connectionString: url });
    await client.connect();
    const [a, b] = await Promise.all(schemas.map(schema => openStore({ url, schema })));
    const work = async value => value;
    await a.idempotency.run('key', work.bind(null, 1));
    expect(await b.idempotency.run('key', work.bind(null, 2))).toMatchObject({ value: 2 });

    // Who is told of what.
    const heard = [];
    const told = new Promise(resolve => {
      client.on('notification', ({ channel }) => {
        heard.push(channel);
        if (channel === 'end') resolve();
      });
    });
    const channels = schemas.flatMap(schema =>
      ['outbox', 'fleet'].map(topic => `${prefixOf(schema)}${topic}`));
    expect(new Set(channels).size).toBe(4);
    for (const channel of [...channels, 'end']) await client.query(`LISTEN "${channel}"`);
    await client.query('BEGIN');
    await a.outbox.enqueue({ channel: 'EMAIL', recipient: 'x@y.example', body: 'x' }, { client });
    await client.query('COMMIT');
    const breakers = [a, b].map(() => new CircuitBreaker(async () => {}, { name: 'the same' }));
    await Promise.all([a, b].map((store, i) => store.fleet.join(breakers[i])));
    const isWritten = new Promise(resolve => {
      client.on('notification', ({ channel }) => channel === channels[1] && resolve());
    });
    breakers[0].open();
    await isWritten;
    await client.query("SELECT pg_notify('end', '')");
    await told;
    expect(new Set(heard)).toEqual(new Set([channels[0], channels[1], 'end']));
    expect(breakers[1].closed).toBe(true);
    expect(await a.fleet.list()).toHaveLength(1);
    expect(await b.fleet.list()).toEqual([]);
    expect(await a.outbox.list()).toHaveLength(1);
    expect(await b.outbox.list()).toEqual([]);
    for (const breaker of breakers) breaker.shutdown();
    await Promise.all([a.close(), b.close(), client.end()]);
  });

  test('whoever migrates one schema does not wait for another', async () => {
    const url = await (await sharedPostgres()).createDatabase();
    await (await openStore({ url, schema: 'a' })).close();
    const client = new Client({ connectionString: url });
    await client.connect();
    await client.query('BEGIN; SELECT pg_advisory_xact_lock(hashtextextended(' +
      "'sekering.migrate.a', 0)); LOCK TABLE a.migrations");
    expect((await migrateStore({ url, schema: 'b' })).version).toBeGreaterThan(0);
    await client.end();
  });

  test('a role needs only the rights on its schema', async () => {
    const postgres = await sharedPostgres();
    const url = await postgres.createDatabase();
    const own = url.replace('postgres@', 'app@');
    await postgres.query('CREATE ROLE app LOGIN');
    const refused = await openStore({ url: own }).catch(error => error);
    expect(refused).toMatchObject({ code: 'ERR_STORE_QUERY', sqlState: '42501' });
    expect(refused.message).toContain('CREATE SCHEMA "sekering" AUTHORIZATION');

    await postgres.query('REVOKE ALL ON SCHEMA public FROM PUBLIC, app', url);
    await postgres.query('CREATE SCHEMA sekering AUTHORIZATION app', url);
    const store = await openStore({ url: own });
    await store.outbox.enqueue({ channel: 'EMAIL', recipient: 'x@y.example', body: 'x' });
    expect(await store.outbox.list()).toHaveLength(1);
    await store.close();
  });

  test('with migrate: false nothing is made, only the schema of this release opens', async () => {
    const postgres = await sharedPostgres();
    const url = await postgres.createDatabase();
    const refused = () => openStore({ url, migrate: false }).catch(error => error);
    const latest = Math.max(...fs.readdirSync(OWN).map(file => parseInt(file, 10)));
    const behind = version => ({
      code: 'ERR_STORE_NOT_MIGRATED', retryable: false,
      message: expect.stringMatching(new RegExp(`version ${version}, this release needs ${latest}`))
    });
    expect(await refused()).toMatchObject(behind(0));
    const { rows } = await postgres.query("SELECT to_regnamespace('sekering') AS schema", url);
    expect(rows).toEqual([{ schema: null }]);

    await before('-outbox-order', { url });
    expect(await refused()).toMatchObject(behind(9));
    const { applied, version } = await migrateStore({ url });
    expect([applied[0], version]).toEqual(['010-outbox-order', latest]);
    expect(await migrateStore({ url })).toEqual({ applied: [], version: latest });

    const store = await openStore({ url, migrate: false });
    expect(await store.migrate()).toEqual({ applied: [], version: latest });
    await store.query("INSERT INTO sekering.migrations VALUES (999, '999-later', '')");
    await store.close();
    for (const option of [true, false]) {
      await expect(openStore({ url, migrate: option })).rejects.toMatchObject(MISMATCH);
    }
  });

  test('a table migrations of somebody else is left alone', async () => {
    const postgres = await sharedPostgres();
    const url = await postgres.createDatabase();
    await postgres.query('CREATE TABLE public.migrations (id int)', url);
    for (const option of [true, false]) {
      await expect(openStore({ url, schema: 'public', migrate: option })).rejects
        .toMatchObject({ ...MISMATCH, message: expect.stringContaining('another schema') });
    }
  });
});
