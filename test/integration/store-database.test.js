'use strict';

// The database under the store: both engines give the same answers, and reject the same options.

const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { Client, Pool } = require('pg');

const { StoreError, openStore } = require('../../lib/store');
const { openDatabase } = require('../../lib/store/database');
const { useVirtualClock } = require('../../lib/testing');
const { describeEngines, sharedPostgres } = require('../support/postgres');

const opened = [];
const open = async options => {
  const database = await openDatabase(options);
  opened.push(database);
  return database;
};
afterAll(() => Promise.all(opened.map(database => database.close())));

describeEngines('the database', ({ name, place }) => {
  let database;
  let options;
  beforeAll(async () => {
    options = await place();
    database = await open(options);
    await database.query('CREATE TABLE t (x int PRIMARY KEY)');
  });
  beforeEach(() => database.query('DELETE FROM t'));

  const numbers = async () =>
    (await database.query('SELECT x FROM t ORDER BY x')).rows.map(({ x }) => x);
  const insert = (client, x) => client.query('INSERT INTO t VALUES ($1)', [x]);

  test('tells its engine, schema and health', async () => {
    expect(database.engine).toBe(name);
    expect(database.schema).toBe('"sekering"');
    expect(await database.health()).toEqual({
      ok: true, engine: name, latencyMs: expect.any(Number),
    });
  });

  test('both engines return the same types', async () => {
    const { rows, rowCount } = await database.query(`SELECT 1::int2 AS a, -2::int4 AS b,
      9223372036854775807 AS c, 1.50::numeric AS d, 0.5::float8 AS e, true AS f, false AS g,
      '\\x00ff'::bytea AS h, '{"k": [1, null]}'::jsonb AS i, '[2]'::json AS j, NULL::int AS k,
      '2026-02-03 04:05:06.789123+07'::timestamptz AS l, 'infinity'::timestamptz AS m,
      'käse'::text AS n, '2026-02-03'::date AS o, ARRAY['a', NULL] AS p`);
    expect(rowCount).toBe(1);
    expect(rows).toEqual([{
      a: 1, b: -2, c: '9223372036854775807', d: '1.50', e: 0.5, f: true, g: false,
      h: Buffer.from([0, 255]), i: { k: [1, null] }, j: [2], k: null,
      l: new Date('2026-02-02T21:05:06.789Z'), m: 'infinity', n: 'käse', o: '2026-02-03',
      p: '{a,NULL}',
    }]);
  });

  test('dates do not depend on the time zone of the session', async () => {
    await database.transaction(async client => {
      for (const zone of ['Asia/Jakarta', 'Asia/Kathmandu', 'America/St_Johns', 'UTC']) {
        await client.query(`SET LOCAL TIME ZONE '${zone}'`);
        const { rows: [{ at }] } = await client.query('SELECT to_timestamp(1700000000.25) AS at');
        expect(at.getTime()).toBe(1700000000250);
      }
    });
  });

  test('both engines take the same values, whatever they contain', async () => {
    const texts = ['', ' ', '"', '\\', "'", '{a,b}', 'NULL', 'käse\n☕', null];
    const now = new Date('2026-02-03T04:05:06.789Z');
    const { rows } = await database.query(`SELECT $1::text[] = ARRAY(
        SELECT e.value #>> '{}' FROM jsonb_array_elements($2::jsonb) e) AS same,
      $3::timestamptz AS date, $4::bytea AS bytes, $5::jsonb AS json, $6::int8 + 1 AS big,
      $7::bool AS yes, $8::text AS nothing, $9::int[][] AS nested`,
    [texts, JSON.stringify(texts), now, Buffer.from('é'), { a: { b: [now] } }, 2n ** 60n, true,
      undefined, [[1, 2], [3, 4]]]);
    expect(rows).toEqual([{
      same: true, date: now, bytes: Buffer.from('é'), json: { a: { b: [now.toISOString()] } },
      big: '1152921504606846977', yes: true, nothing: null, nested: '{{1,2},{3,4}}',
    }]);
  });

  test('rows are counted, and of several statements the last one answers', async () => {
    expect((await database.query('INSERT INTO t SELECT generate_series(1, 5)')).rowCount).toBe(5);
    expect((await database.query('UPDATE t SET x = -x WHERE x > 2')).rowCount).toBe(3);
    expect((await database.query('DELETE FROM t WHERE x = 99')).rowCount).toBe(0);
    const { rows } = await database.query('SELECT 1 AS a; SELECT 2 AS b');
    expect(rows).toEqual([{ b: 2 }]);
  });

  test('a named statement is prepared once', async () => {
    for (const value of [1, 2, 3]) {
      const { rows } = await database.query({
        name: 'twice', text: 'SELECT $1::int * 2 AS y', values: [value],
      });
      expect(rows).toEqual([{ y: value * 2 }]);
    }
    const { rows } = await database.query(
      "SELECT count(*)::int AS n FROM pg_prepared_statements WHERE name LIKE '%twice'");
    // PostgreSQL has one for each connection that was used.
    expect(rows[0].n).toBe(1);
  });

  test('a prepared statement works again after its table has changed', async () => {
    const ask = () => database.query({ name: 'all', text: 'SELECT * FROM changing' });
    await database.query('CREATE TABLE changing (a int)');
    await ask();
    await ask();
    await database.query('ALTER TABLE changing ADD b int');
    await ask().catch(error => expect(error).toMatchObject({ retryable: true }));
    expect((await ask()).rowCount).toBe(0);
  });

  test('a transaction is committed with its result, or rolled back with its error', async () => {
    expect(await database.transaction(async client => {
      await insert(client, 1);
      return 'done';
    })).toBe('done');
    const fault = new Error('no');
    await expect(database.transaction(async client => {
      await insert(client, 2);
      throw fault;
    })).rejects.toBe(fault);
    expect(await numbers()).toEqual([1]);
  });

  test('nothing is committed after a failed statement, even if its error is ignored', async () => {
    await expect(database.transaction(async client => {
      await insert(client, 1);
      await insert(client, 1).catch(() => {});
    })).rejects.toMatchObject({ code: 'ERR_STORE_QUERY' });
    expect(await numbers()).toEqual([]);
  });

  test('a transaction that has ended rejects statements', async () => {
    let kept;
    await database.transaction(async client => { kept = client; });
    await expect(insert(kept, 1)).rejects.toMatchObject({ code: 'ERR_STORE_QUERY' });
    await expect(database.transaction(async client => {
      kept = client;
      throw new Error('no');
    })).rejects.toThrow('no');
    await expect(insert(kept, 1)).rejects.toMatchObject({ code: 'ERR_STORE_QUERY' });
  });

  test('callbacks run after the commit, and not after a rollback', async () => {
    const calls = [];
    await database.transaction(async client => {
      expect(client.onCommit(() => calls.push('committed'))).toBe(true);
      await insert(client, 1);
      expect(calls).toEqual([]);
    });
    await database.transaction(async client => {
      client.onCommit(() => calls.push('never'));
      throw new Error('no');
    }).catch(() => {});
    expect(calls).toEqual(['committed']);
  });

  test('a transaction that runs no statement for a minute is rolled back', async () => {
    const clock = useVirtualClock();
    try {
      let begun;
      const beginning = new Promise(resolve => { begun = resolve; });
      let kept;
      const stuck = expect(database.transaction(async client => {
        kept = client;
        await insert(client, 1);
        begun();
        return new Promise(() => {});
      })).rejects.toMatchObject({ code: 'ERR_STORE_QUERY' });
      await beginning;
      await clock.advance(60_000);
      await stuck;
      await expect(insert(kept, 2)).rejects.toMatchObject({ code: 'ERR_STORE_QUERY' });
    } finally {
      clock.restore();
    }
    expect(await numbers()).toEqual([]);
  });

  test('transactions do not see each other half done', async () => {
    await insert(database, 0);
    await Promise.all(Array.from({ length: 20 }, () => database.transaction(async client => {
      const { rows: [{ x }] } = await client.query('SELECT x FROM t FOR UPDATE');
      await client.query('UPDATE t SET x = $1', [x + 1]);
    })));
    expect(await numbers()).toEqual([20]);
  });

  test('listeners hear what was committed, until they stop', async () => {
    const heard = [];
    let next;
    const listen = () => database.listen('Some "channel"', payload => {
      heard.push(payload);
      next?.();
    });
    const notify = payload =>
      database.query('SELECT pg_notify($1, $2)', ['Some "channel"', payload]);
    const hears = async (count, work) => {
      const enough = new Promise(resolve => {
        next = () => { if (heard.length === count) resolve(); };
      });
      await work();
      await enough;
    };
    const stops = [await listen(), await listen()];
    await hears(2, () => notify('a'));
    await stops[0]();
    await database.transaction(async client => {
      await client.query('SELECT pg_notify($1, $2)', ['Some "channel"', 'rolled back']);
      throw new Error('no');
    }).catch(() => {});
    await hears(3, () => notify('b'));
    await stops[1]();
    await notify('nobody');
    stops.push(await listen());
    await hears(4, () => notify(''));
    expect(heard).toEqual(['a', 'a', 'b', '']);
    await stops[2]();
  });

  test('the error of a refused statement says what the database said', async () => {
    await insert(database, 1);
    const error = await insert(database, 1).catch(e => e);
    expect(error).toBeInstanceOf(StoreError);
    expect(error).toMatchObject({
      name: 'StoreError', code: 'ERR_STORE_QUERY', sqlState: '23505', retryable: false,
    });
    expect(error.message).toContain('t_pkey');
    await expect(database.query('SELEC 1')).rejects.toMatchObject({ sqlState: '42601' });
    await expect(database.query('SELECT $1::int', ['x'])).rejects
      .toMatchObject({ sqlState: '22P02' });
    await expect(database.query({ text: 1 })).rejects
      .toMatchObject({ code: 'ERR_INVALID_OPTION' });
  });

  test('a client of another store is rejected', async () => {
    const other = await open(name === 'pglite' ? { memory: true } : options);
    await other.transaction(async client => {
      expect(other.wrap(client)).toBe(client);
      for (const wrong of [client, null, {}, 'client', database]) {
        expect(() => database.wrap(wrong))
          .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'client' }));
      }
    });
  });

  test('a closed database rejects all calls', async () => {
    const other = await openDatabase(await place());
    const last = other.query('SELECT 1 AS a');
    await last;
    await Promise.all([other.close(), other.close()]);
    const calls = [other.query('SELECT 1'), other.transaction(async () => {}),
      other.listen('a', () => {})];
    for (const call of calls) {
      await expect(call).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' });
    }
    const error = expect.stringMatching('closed');
    expect(await other.health()).toMatchObject({ ok: false, error });
  });

  test('closing waits for what is under way', async () => {
    const other = await openDatabase(options);
    let begun;
    const beginning = new Promise(resolve => { begun = resolve; });
    const work = other.transaction(async client => {
      begun();
      await client.query('SELECT pg_sleep(0.1)');
      return 'done';
    });
    await beginning;
    await other.close();
    expect(await work).toBe('done');
  });
});

describe('PostgreSQL', () => {
  let url;
  beforeAll(async () => { url = await (await sharedPostgres()).createDatabase(); });

  test('works with a client that is in a transaction of the user', async () => {
    const database = await open({ url });
    await database.query('CREATE TABLE own (x int)');
    const client = new Client({ connectionString: url });
    await client.connect();
    await client.query('BEGIN');
    const wrapped = database.wrap(client);
    expect(wrapped.onCommit(() => {})).toBe(false);
    await wrapped.query('INSERT INTO own VALUES ($1)', [1]);
    expect((await wrapped.query('SELECT 1::int8 AS x')).rows).toEqual([{ x: '1' }]);
    await expect(wrapped.query('SELEC')).rejects.toMatchObject({ sqlState: '42601' });
    await client.query('ROLLBACK');
    await client.end();
    expect((await database.query('SELECT * FROM own')).rows).toEqual([]);
  });

  test('a pool of the user stays open, and is not taken for a client', async () => {
    const pool = new Pool({ connectionString: url, max: 2 });
    // What the user has set for all of pg does not reach the store.
    pool.options.types = { getTypeParser: () => () => 'spoilt' };
    const database = await openDatabase({ pool });
    expect(() => database.wrap(pool)).toThrow(expect.objectContaining({ option: 'client' }));
    expect((await database.query('SELECT 1::int8 AS x')).rows).toEqual([{ x: '1' }]);
    const stop = await database.listen('x', () => {});
    expect((await database.query('SELECT 1 AS x')).rows).toEqual([{ x: 1 }]);
    await stop();
    await database.close();
    expect((await pool.query('SELECT 1 AS x')).rowCount).toBe(1);
    expect(pool.listenerCount('error')).toBe(0);
    await pool.end();
  });

  test('a statement that takes too long is cancelled, and others go on', async () => {
    const database = await open({ url, timeout: 3000 });
    const began = performance.now();
    await expect(database.query('SELECT pg_sleep(60)')).rejects
      .toMatchObject({ code: 'ERR_STORE_UNREACHABLE', retryable: true });
    expect(performance.now() - began).toBeLessThan(30_000);
    expect((await database.query('SELECT 1 AS x')).rowCount).toBe(1);
  });

  test('a wrong password, an unknown database and a closed port', async () => {
    const { port } = await sharedPostgres();
    const at = (where, code) => [where, code];
    const faults = [
      at(`postgres://nobody:geheim@127.0.0.1:${port}/postgres`, { retryable: false }),
      at(`postgres://postgres:geheim@127.0.0.1:${port}/geheim_none`, { sqlState: '3D000' }),
      at('postgres://postgres:geheim@127.0.0.1:1/postgres', { retryable: true }),
    ];
    for (const [where, expected] of faults) {
      const error = await openStore({ url: where }).catch(e => e);
      expect(error).toMatchObject({ code: 'ERR_STORE_UNREACHABLE', ...expected });
      expect(`${error.stack}${JSON.stringify(error)}`).not.toMatch(/geheim(?!_none)/);
    }
  });

  test('a certificate that cannot be read is named, and nothing else of the URL', async () => {
    const where = 'postgres://a:geheim@127.0.0.1:1/b?sslrootcert=/nowhere/ca.pem';
    const error = await openStore({ url: where }).catch(e => e);
    expect(error).toMatchObject({ code: 'ERR_INVALID_OPTION', option: 'url' });
    expect(error.message).toMatch('the file of sslrootcert cannot be read: "/nowhere/ca.pem"');
    expect(`${error.stack}${JSON.stringify(error)}`).not.toMatch('geheim');
  });

  test('an address with several hosts says that it takes one', async () => {
    for (const hosts of ['a,b', 'a:1,b:2', 'u:geheim@a,b', 'u:geheim@/x?host=a,b']) {
      const where = `postgres://${hosts}${hosts.includes('?') ? '' : '/x'}`;
      const error = await openStore({ url: where }).catch(e => e);
      expect(error).toMatchObject({ code: 'ERR_INVALID_OPTION', option: 'url' });
      expect(error.message).toMatch('one host only');
      expect(`${error.stack}${JSON.stringify(error)}`).not.toMatch('geheim');
    }
    const one = `${url}?target_session_attrs=read-write&sslmode=disable`;
    expect((await (await open({ url: one })).query('SELECT 1 AS x')).rowCount).toBe(1);
  });

  test('a server without TLS, and an address that asks for it', async () => {
    const error = await openStore({ url: `${url}?sslmode=verify-full` }).catch(e => e);
    expect(error).toMatchObject({
      code: 'ERR_STORE_UNREACHABLE', retryable: false, message: expect.stringContaining('SSL'),
    });
  });

  test('sockets, and what the environment says', async () => {
    const { port, socketDir } = await sharedPostgres();
    const database = new URL(url).pathname;
    const user = `host=${encodeURIComponent(socketDir)}&user=postgres&port=${port}`;
    for (const where of [`//${database}?${user}`, `//postgres:x@${database}?${user}`]) {
      expect((await (await open({ url: `postgres:${where}` })).query('SELECT 1 AS x')).rowCount)
        .toBe(1);
    }
    const env = { PGHOST: '127.0.0.1', PGPORT: String(port), PGUSER: 'postgres' };
    const before = { ...process.env };
    try {
      Object.assign(process.env, env);
      const { rows } = await (await open({ url: `postgres://${database}` })).query(
        'SELECT current_database() AS name, inet_server_port() AS port');
      expect(rows).toEqual([{ name: database.slice(1), port }]);
    } finally {
      for (const name of Object.keys(env)) delete process.env[name];
      Object.assign(process.env, before);
    }
  });

  test('passwords with any characters', async () => {
    const server = await sharedPostgres();
    const file = path.join(server.socketDir, 'data', 'pg_hba.conf');
    fs.writeFileSync(file, `host all guarded all scram-sha-256\n${fs.readFileSync(file, 'utf8')}`);
    await server.query('CREATE ROLE guarded LOGIN');
    await server.query('SELECT pg_reload_conf()');
    const { host, pathname } = new URL(url);
    const works = async (password, written) => {
      await server.query(`ALTER ROLE guarded PASSWORD $text$${password}$text$`);
      const database = await open({ url: `postgres://guarded:${written}@${host}${pathname}` });
      expect(await database.health()).toMatchObject({ ok: true });
    };
    const all = '%@/?#:, +&=\'"\\[]{}|^~`$ %2F ä☕';
    await works(all, encodeURIComponent(all));
    for (const plain of ['a%', 'a%zz', 'a@b', 'a:b', 'a,b', 'käse☕', '%', 'a b']) {
      await works(plain, plain);
    }
    await works('/ %x', '%2F %x');
    const error = await openStore({ url: `postgres://guarded:geheim@${host}${pathname}` })
      .catch(e => e);
    expect(error).toMatchObject({ code: 'ERR_STORE_UNREACHABLE', retryable: false });
    expect(`${error.stack}${JSON.stringify(error)}`).not.toMatch('geheim');
  });

  test('a server that accepts connections and never answers', async () => {
    const silent = net.createServer(() => {}).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const database = await open({
      url: `postgres://postgres@127.0.0.1:${silent.address().port}/x`, timeout: 200,
    });
    const began = performance.now();
    expect(await database.health()).toMatchObject({ ok: false, engine: 'postgresql' });
    expect(performance.now() - began).toBeLessThan(10_000);
    silent.close();
  });
});

describe('PGlite', () => {
  test('a call that bypasses the client of its transaction does not wait for ever', async () => {
    const database = await open({ memory: true, timeout: 3000 });
    await expect(database.transaction(() => database.query('SELECT 1'))).rejects
      .toMatchObject({ code: 'ERR_STORE_UNREACHABLE', message: expect.stringMatching('client') });
    expect((await database.query('SELECT 1 AS x')).rowCount).toBe(1);
  });
});

describe('options', () => {
  const name = `${'x'.repeat(63)}x`;
  test.each([
    [{ url: 'http://user:geheim@host/' }, 'url'], [{ url: 'geheim' }, 'url'], [{ url: 5 }, 'url'],
    [{ url: 'postgres://user:geheim@[/x' }, 'url'], [{ url: 'postgres://u:geheim%ff@h/x' }, 'url'],
    [{ url: 'postgres://u:geheim%zz%80@h/x' }, 'url'],
    ...['u:ge/heim@h/x', 'u:ge?heim@h/x', 'u:ge#heim@h/x', 'u:1/geheim@h/x', 'u:geheim@h:abc/x',
      'u:geheim@h/x?sslmode=on', 'u:geheim@h/x?target_session_attrs=standby', '',
    ].map(rest => [{ url: `postgres://${rest}` }, 'url']),
    [{ url: 'postgres://h/x', directUrl: 'postgres://u:geheim@a,b/x' }, 'directUrl'],
    [{ url: 'postgres://h/x', memory: true }, 'memory'], [{ memory: 'yes' }, 'memory'],
    [{ directory: 'x', memory: true }, 'memory'],
    [{ directory: '' }, 'directory'], [{ directory: 1 }, 'directory'],
    [{ pool: {} }, 'pool'], [{ pool: new Pool({ max: 1 }) }, 'pool'],
    [{ memory: true, schema: '' }, 'schema'], [{ memory: true, schema: name }, 'schema'],
    [{ memory: true, schema: 'pg_x' }, 'schema'], [{ memory: true, schema: 'a\0' }, 'schema'],
    [{ memory: true, schema: 'a\ud800' }, 'schema'],
    [{ memory: true, schema: 'information_schema' }, 'schema'],
    [{ memory: true, timeout: 99 }, 'timeout'], [{ memory: true, timeout: '1s' }, 'timeout'],
    [{ memory: true, connections: 0 }, 'connections'],
    [{ memory: true, migrate: 'yes' }, 'migrate'],
    [{ memory: true, colour: 'red' }, 'colour'], [null, 'options'],
  ])('%j is rejected', async (options, option) => {
    const error = await openStore(options).catch(e => e);
    expect(error).toMatchObject({ code: 'ERR_INVALID_OPTION', option });
    expect(error.message).not.toMatch('geheim');
  });

  test('single arguments and unknown names are checked', async () => {
    const store = await openStore({ memory: true });
    const nothing = () => {};
    for (const [option, call] of [
      ['work', () => store.transaction('SELECT 1')],
      ['query.values', () => store.query('SELECT $1::int', 1)],
      ['query.text', () => store.query()],
      ['query.mode', () => store.query({ text: 'SELECT 1', mode: 'array' })],
      ['channel', () => store.listen('x'.repeat(64), nothing)],
      ['onPayload', () => store.listen('x')],
      ['onReconnect', () => store.listen('x', nothing, 'again')],
    ]) {
      await expect(call()).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION', option });
    }
    await store.close();
  });

  test('a path that cannot be a folder', async () => {
    const file = path.join(os.tmpdir(), `sekering-file-${process.pid}`);
    fs.writeFileSync(file, '');
    await expect(openStore({ directory: file })).rejects
      .toMatchObject({ code: 'ERR_STORE_UNREACHABLE', message: expect.stringMatching('EEXIST') });
    await expect(openStore({ directory: path.join(file, 'below') })).rejects
      .toMatchObject({ code: 'ERR_STORE_UNREACHABLE' });
    fs.unlinkSync(file);
  });
});
