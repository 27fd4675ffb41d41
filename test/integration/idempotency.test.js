'use strict';

// Work under idempotency keys: once, whoever asks and whoever dies.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');

const { openDatabase } = require('../../lib/store/database');
const { createIdempotency } = require('../../lib/store/idempotency');
const { migrate } = require('../../lib/store/migrate');
const { cleanUp } = require('../../lib/store/retention');
const { openStore } = require('../../lib/store/store');
const { useVirtualClock } = require('../../lib/testing');
const { until } = require('../support/outbox-helpers');
const { closeShared, describeEngines, sharedPostgres } = require('../support/postgres');

const ACTOR = path.join(__dirname, '..', 'support', 'idempotency-actor.js');

const opened = [];

async function open (place) {
  const database = await openDatabase(place);
  opened.push(database);
  await migrate(database);
  return { database, idempotency: createIdempotency({ database }) };
}

afterAll(async () => {
  for (const database of opened) await database.close();
  await closeShared();
});

/** Work that counts how often it was done, and goes on when it is told to. */
function counted (value = { made: true }) {
  const work = jest.fn(async () => {
    work.begun();
    await work.gate;
    return value;
  });
  work.started = new Promise(resolve => { work.begun = resolve; });
  return work;
}

/** Runs the actor. @returns {Promise<{ answers: object[], signal: string | null }>} */
async function act (options) {
  const child = spawn(process.execPath, [ACTOR, JSON.stringify(options)],
    { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', part => { text += part; });
  const [, signal] = await once(child, 'close');
  return { answers: text.split('\n').filter(Boolean).map(line => JSON.parse(line)), signal };
}

describeEngines('idempotency', ({ place }) => {
  let database;
  let idempotency;

  beforeAll(async () => { ({ database, idempotency } = await open(await place())); });

  test('100 concurrent calls: one execution, the same value for all', async () => {
    const work = counted({ orderId: 'a', amounts: [1, 2.5, -3], nothing: null });
    const results = await Promise.all(Array.from({ length: 100 }, () =>
      idempotency.run('hundred', work, { payload: { a: 1 }, wait: 10_000 })));
    expect(work).toHaveBeenCalledTimes(1);
    expect(results.filter(({ replayed }) => !replayed)).toHaveLength(1);
    for (const { value } of results) expect(value).toEqual(results[0].value);
  });

  test('a key in flight: an error at once, which says when to try again', async () => {
    const work = counted();
    let open;
    work.gate = new Promise(resolve => { open = resolve; });
    const first = idempotency.run('flight', work);
    await work.started;
    const error = await idempotency.run('flight', work).catch(e => e);
    expect(error).toMatchObject({ code: 'ERR_IDEMPOTENCY_IN_PROGRESS', retryable: true });
    expect(error.retryAfterMs).toBeGreaterThan(50_000);
    expect(await idempotency.get('flight')).toMatchObject({ status: 'in_progress' });
    open();
    expect(await first).toEqual({ value: { made: true }, replayed: false });
    expect(await idempotency.run('flight', work))
      .toEqual({ value: { made: true }, replayed: true });
    expect(await idempotency.get('flight'))
      .toMatchObject({ status: 'done', failed: false, response: { made: true } });
    expect(work).toHaveBeenCalledTimes(1);
  });

  test('another payload is refused, during the work and after; the order of members is none',
    async () => {
      const work = counted();
      let open;
      work.gate = new Promise(resolve => { open = resolve; });
      const first = idempotency.run('payload', work, { payload: { a: 1, b: { c: 2, d: 3 } } });
      await work.started;
      const other = { payload: { a: 1, b: { c: 2, d: 4 } } };
      const mismatch = { code: 'ERR_IDEMPOTENCY_MISMATCH', retryable: false };
      await expect(idempotency.run('payload', work, other)).rejects.toMatchObject(mismatch);
      open();
      await first;
      await expect(idempotency.run('payload', work, other)).rejects.toMatchObject(mismatch);
      expect(await idempotency.run('payload', work, { payload: { b: { d: 3, c: 2 }, a: 1 } }))
        .toMatchObject({ replayed: true });
    });

  test('a failure frees the key; storeFailures keeps it', async () => {
    const fail = jest.fn(async () => {
      throw Object.assign(new RangeError('no stock'), { code: 'ERR_STOCK' });
    });
    for (const key of ['a', 'b']) {
      for (let i = 0; i < 2; i += 1) {
        await expect(idempotency.run(`failure-${key}`, fail, { storeFailures: key === 'b' }))
          .rejects.toMatchObject({ name: 'RangeError', message: 'no stock', code: 'ERR_STOCK' });
      }
    }
    expect(fail).toHaveBeenCalledTimes(3);
    expect(await idempotency.get('failure-a')).toBeUndefined();
    expect(await idempotency.get('failure-b')).toMatchObject({ failed: true });
  });

  test.each([
    ['a date', () => ({ at: new Date(0) }), 'result.at is an instance of Date'],
    ['a bigint', () => ({ list: [1, 2n] }), 'result.list[1] is of type bigint'],
    ['not a number', () => NaN, 'result is NaN'],
    ['a map', () => new Map(), 'result is an instance of Map'],
    ['a function', () => ({ f () {} }), 'result.f is of type function'],
    ['nothing in an array', () => [undefined], 'result[0] is of type undefined'],
    ['a cycle', () => { const a = {}; a.a = a; return a; }, 'contains itself'],
    ['too much', () => 'x'.repeat((4 << 20) + 1), 'longer than 4194304 characters'],
  ])('a result with %s: an error, also for the next, and the work is not done again',
    async (name, make, message) => {
      const work = jest.fn(async () => make());
      for (let i = 0; i < 2; i += 1) {
        await expect(idempotency.run(`result-${name}`, work)).rejects.toMatchObject({
          name: 'StoreError', code: 'ERR_IDEMPOTENCY_RESULT',
          message: expect.stringContaining(message),
        });
      }
      expect(work).toHaveBeenCalledTimes(1);
    });

  test.each([['no value', undefined], ['null', null], ['text', 'a\0"\ud800\u2028'], ['0', 0]])(
    '%s comes back as it was', async (name, value) => {
      const key = `value-${name}`;
      expect(await idempotency.run(key, async () => value)).toEqual({ value, replayed: false });
      expect(await idempotency.run(key, async () => 'another')).toEqual({ value, replayed: true });
    });

  test('a result is kept for its ttl by the clock of the database', async () => {
    const work = counted();
    await idempotency.run('ttl', work, { payload: 1 });
    await database.query(`UPDATE ${database.schema}.idempotency_store
      SET expires_at = clock_timestamp() WHERE key = 'ttl'`);
    expect(await idempotency.get('ttl')).toBeUndefined();
    // Another request may have the key now.
    expect(await idempotency.run('ttl', work, { payload: 2 })).toMatchObject({ replayed: false });
    const { expiresAt, createdAt } = await idempotency.get('ttl');
    expect(Math.abs(expiresAt - createdAt - 3_600_000)).toBeLessThan(5000);
    expect(work).toHaveBeenCalledTimes(2);
  });

  test('a key is deleted 24 hours after it was taken', async () => {
    await idempotency.run('day', async () => 1);
    await idempotency.run('week', async () => 1, { ttl: 7 * 86_400_000 });
    // Moves a key into the past: its `hours`, and the row is as it would be then.
    const age = (key, hours) => database.query(`UPDATE ${database.schema}.idempotency_store
      SET created_at = created_at - $2 * interval '1 h',
        expires_at = expires_at - $2 * interval '1 h',
        locked_until = locked_until - $2 * interval '1 h' WHERE key = $1`, [key, hours]);
    const left = async options => {
      await cleanUp(database, options);
      const { rows } = await database.query(`SELECT key FROM ${database.schema}.idempotency_store
        WHERE key IN ('day', 'week', 'busy') ORDER BY key`);
      return rows.map(({ key }) => key);
    };
    const work = counted(3);
    let finish;
    work.gate = new Promise(resolve => { finish = resolve; });
    const working = idempotency.run('busy', work);
    await work.started;
    await age('busy', 48);
    await database.query(`UPDATE ${database.schema}.idempotency_store
      SET locked_until = now() + interval '1 min' WHERE key = 'busy'`);
    await age('day', 23.9);
    await age('week', 24.1);
    expect(await left()).toEqual(['busy', 'day', 'week']);
    await age('day', 0.2);
    expect(await left({ idempotency: false })).toEqual(['busy', 'day', 'week']);
    // A result that can still be replayed stays, and so does work under way.
    expect(await left()).toEqual(['busy', 'week']);
    expect(await idempotency.run('week', async () => 2)).toEqual({ value: 1, replayed: true });
    finish();
    expect(await working).toEqual({ value: 3, replayed: false });
    await age('week', 7 * 24);
    expect(await left()).toEqual(['busy']);
  });

  describe('the lock', () => {
    const LOCK = 60_000;
    let clock;
    beforeEach(() => { clock = useVirtualClock(); });
    afterEach(() => clock.restore());

    const lockOf = async key => (await database.query(`SELECT token,
      extract(epoch FROM locked_until - clock_timestamp())::float8 * 1000 AS ms
      FROM ${database.schema}.idempotency_store WHERE key = $1`, [key])).rows[0];
    const endLock = key => database.query(`UPDATE ${database.schema}.idempotency_store
      SET locked_until = clock_timestamp() WHERE key = $1`, [key]);
    /** Waits until a lock that had ended is one again. */
    const extended = async key => { while ((await lockOf(key)).ms <= 0); };

    test('is extended by its holder for as long as it works', async () => {
      const work = counted();
      let open;
      work.gate = new Promise(resolve => { open = resolve; });
      const first = idempotency.run('long', work);
      await work.started;
      for (let i = 0; i < 5; i += 1) {
        await endLock('long');
        await clock.advanceAsync(LOCK / 3);
        await extended('long');
        expect(await idempotency.run('long', work).catch(({ code }) => code))
          .toBe('ERR_IDEMPOTENCY_IN_PROGRESS');
      }
      open();
      expect(await first).toEqual({ value: { made: true }, replayed: false });
      expect(work).toHaveBeenCalledTimes(1);
    });

    test('lasts from when the key was asked for, however late the answer comes', async () => {
      // In the way of the claim: the same key, or on PGlite the only session.
      let give;
      const given = new Promise(resolve => { give = resolve; });
      let taken;
      const taking = new Promise(resolve => { taken = resolve; });
      const other = database.transaction(async client => {
        await client.query(`INSERT INTO ${database.schema}.idempotency_store
          (key, fingerprint, status, created_at, expires_at, locked_until)
          VALUES ('slow', '', 'in_progress', now(), now(), now())`);
        taken();
        await given;
        throw new Error('rolled back');
      }).catch(() => {});
      await taking;
      const work = counted();
      let open;
      work.gate = new Promise(resolve => { open = resolve; });
      const first = idempotency.run('slow', work);
      await clock.advanceAsync(LOCK / 2);
      give();
      await other;
      await work.started;
      await endLock('slow');
      // The extension is overdue already.
      await clock.advanceAsync(0);
      await extended('slow');
      open();
      expect(await first).toEqual({ value: { made: true }, replayed: false });
    });

    /** Work whose database does not extend the lock in time. It holds the key all the same. */
    const stuck = end => {
      let give;
      const given = new Promise(resolve => { give = resolve; });
      return idempotency.run('stuck', async ({ signal }) => {
        let taken;
        const taking = new Promise(resolve => { taken = resolve; });
        const other = database.transaction(async client => {
          await client.query(`SELECT FROM ${database.schema}.idempotency_store
            WHERE key = 'stuck' FOR UPDATE`);
          taken();
          await given;
        });
        await taking;
        // Less than the time after which a transaction that says nothing is ended.
        await clock.advanceAsync(10_000);
        expect(signal.aborted).toBe(false);
        await clock.advanceAsync(20_000);
        expect(signal.reason).toMatchObject({ code: 'ERR_IDEMPOTENCY_LOST' });
        give();
        await other;
        return end(signal);
      }, { lockTimeout: 30_000, storeFailures: true });
    };

    test('if the database does not extend it in time, the work is aborted', async () => {
      await expect(stuck(signal => signal.throwIfAborted()))
        .rejects.toMatchObject({ code: 'ERR_IDEMPOTENCY_LOST' });
      // That is no result: somebody else may do the work.
      expect(await idempotency.get('stuck')).toBeUndefined();
      expect(await stuck(() => 'done all the same'))
        .toEqual({ value: 'done all the same', replayed: false });
    });

    /** Takes the key from its holder, as if that had been stopped for longer than its lock. */
    const steal = async key => {
      await endLock(key);
      return idempotency.run(key, async () => 'thief');
    };

    test('if it is lost, its holder changes nothing and gets what the others get', async () => {
      const result = await idempotency.run('stale', async ({ signal }) => {
        expect(await steal('stale')).toEqual({ value: 'thief', replayed: false });
        const told = new Promise(resolve => { signal.addEventListener('abort', resolve); });
        await clock.advanceAsync(LOCK / 3);
        await told;
        return 'stale';
      });
      expect(result).toEqual({ value: 'thief', replayed: true });
      expect(await idempotency.run('stale', async () => 1)).toMatchObject({ value: 'thief' });
    });

    test('if it is lost or extended too late, the store warns', async () => {
      const store = await openStore(await place());
      opened.push(store);
      const warnings = [];
      store.on('warning', ({ code, message }) => warnings.push(`${code}: ${message}`));
      const lost = await store.idempotency.run('lost', async () => {
        await store.query(`UPDATE ${store.schema}.idempotency_store
          SET locked_until = clock_timestamp() WHERE key = 'lost'`);
        await store.idempotency.run('lost', async () => 'thief');
        return 'twice';
      });
      expect(lost).toEqual({ value: 'thief', replayed: true });
      expect(warnings.splice(0)).toEqual([expect.stringMatching(/^ERR_IDEMPOTENCY_LOST: /)]);

      clock.restore();
      const lockTimeout = 1000;
      await store.idempotency.run('late', async () => {
        const warned = once(store, 'warning');
        // The process stands still.
        for (const end = performance.now() + lockTimeout; performance.now() < end;);
        await warned;
      }, { lockTimeout });
      expect(warnings[0])
        .toMatch(/^ERR_IDEMPOTENCY_LATE: .* lasts 1000 ms, .* only after [1-9]\d{3,} ms/);
    });
  });

  test('a call whose key was forgotten stores nothing', async () => {
    const lost = idempotency.run('forgotten', async () => {
      expect(await idempotency.forget('forgotten')).toBe(true);
      return 'stale';
    });
    await expect(lost).rejects.toMatchObject({ code: 'ERR_IDEMPOTENCY_LOST', retryable: true });
    expect(await idempotency.get('forgotten')).toBeUndefined();
    expect(await idempotency.forget('forgotten')).toBe(false);
  });

  test.each([['succeeds', 'a'], ['fails', undefined]])(
    'work that is under way when the store closes keeps its key, and %s',
    async (_, value) => {
      const where = await place();
      const store = await openStore({ ...where, idempotency: { lockTimeout: 1000 } });
      const other = where.url && await openStore(where);
      let end;
      let signal;
      const gate = new Promise(resolve => { end = resolve; });
      const begun = new Promise(resolve => {
        store.idempotency.run('closing', async given => {
          ({ signal } = given);
          resolve();
          await gate;
          if (value === undefined) throw new Error('no luck');
          return value;
        }).then(resolve, resolve);
      });
      await begun;
      await store.close();
      await expect(store.idempotency.run('another', async () => {}))
        .rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' });
      if (other === undefined) {
        end();
        return;
      }
      const lock = async () => (await other.query(`SELECT locked_until AS until
        FROM sekering.idempotency_store WHERE key = 'closing'`)).rows[0]?.until;
      const first = await lock();
      while (await lock() <= first) await new Promise(setImmediate);
      expect(signal.aborted).toBe(false);
      await expect(other.idempotency.run('closing', async () => 'twice'))
        .rejects.toMatchObject({ code: 'ERR_IDEMPOTENCY_IN_PROGRESS' });
      end();
      if (value === undefined) {
        while (await other.idempotency.get('closing') !== undefined) {
          await new Promise(setImmediate);
        }
      } else {
        while ((await other.idempotency.get('closing')).status !== 'done') {
          await new Promise(setImmediate);
        }
        expect(await other.idempotency.run('closing', async () => 'twice'))
          .toEqual({ value, replayed: true });
      }
      await other.close();
    });

  test('in a transaction, work and result are committed together or not at all', async () => {
    await database.query('CREATE TABLE IF NOT EXISTS made (key text)');
    const make = (key, end) => idempotency.run(key, async ({ client }) => {
      await client.query('INSERT INTO made (key) VALUES ($1)', [key]);
      return end();
    }, { transaction: true });
    const countOf = async key => (await database.query(
      'SELECT FROM made WHERE key = $1', [key])).rowCount;
    await make('tx-good', () => 'value');
    expect(await make('tx-good', () => 'another')).toEqual({ value: 'value', replayed: true });
    expect(await countOf('tx-good')).toBe(1);
    await expect(make('tx-bad', () => { throw new Error('no'); })).rejects.toThrow('no');
    await expect(make('tx-odd', () => 5n)).rejects
      .toMatchObject({ code: 'ERR_IDEMPOTENCY_RESULT' });
    for (const key of ['tx-bad', 'tx-odd']) {
      expect(await countOf(key)).toBe(0);
      expect(await idempotency.get(key)).toBeUndefined();
    }
  });

  test.each([[false], [true]])('work can confirm that it holds the key (transaction: %s)',
    async transaction => {
      const key = `confirm-${transaction}`;
      const late = {};
      const kept = await idempotency.run(key, async ({ confirm, signal }) => {
        await confirm();
        await confirm();
        expect(signal.aborted).toBe(false);
        late.confirm = confirm;
        return 1;
      }, { transaction });
      expect(kept).toEqual({ value: 1, replayed: false });
      // The work has ended, and nobody holds the key.
      await expect(late.confirm()).rejects
        .toMatchObject({ code: transaction ? 'ERR_STORE_QUERY' : 'ERR_IDEMPOTENCY_LOST' });

      const lost = idempotency.run(`${key}-lost`, async ({ confirm, signal }) => {
        if (database.engine === 'pglite' && transaction) throw new Error('has the only session');
        await idempotency.forget(`${key}-lost`);
        const error = await confirm().catch(e => e);
        expect(error).toMatchObject({ code: 'ERR_IDEMPOTENCY_LOST', retryable: true });
        expect(signal.reason).toBe(error);
        await expect(confirm()).rejects.toBe(error);
        throw new Error('stopped');
      }, { transaction });
      await expect(lost).rejects.toThrow(/stopped|only session/);
    });

  test.each([
    ['an empty key', () => idempotency.run('', async () => 1)],
    ['a long key', () => idempotency.run('k'.repeat(513), async () => 1)],
    ['a key with NUL', () => idempotency.run('a\0', async () => 1)],
    ['no work', () => idempotency.run('k')],
    ['a negative ttl', () => idempotency.run('k', async () => 1, { ttl: -1 })],
    ['a lock that a pause outlasts', () =>
      idempotency.run('k', async () => 1, { lockTimeout: 999 })],
    ['an unknown option', () => idempotency.run('k', async () => 1, { tll: 1 })],
    ['a payload that is no JSON', () => idempotency.run('k', async () => 1, { payload: 1n })],
    ['a payload that has no end', () => {
      const payload = [];
      payload.push(payload);
      return idempotency.run('k', async () => 1, { payload });
    }],
  ])('%s is refused', async (_, call) => {
    await expect(call()).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
  });

  test('the options of one call replace those of the store', async () => {
    const own = createIdempotency({ database, options: { storeFailures: true } });
    let runs = 0;
    const fail = () => { runs += 1; throw new Error('no'); };
    for (const options of [undefined, {}, { storeFailures: undefined }]) {
      await expect(own.run('own-options', fail, options)).rejects.toThrow('no');
    }
    expect(runs).toBe(1);
    for (let i = 0; i < 2; i += 1) {
      await expect(own.run('call-options', fail, { storeFailures: false })).rejects.toThrow('no');
    }
    expect(runs).toBe(3);
    expect(() => createIdempotency({ database, options: { ttll: 1 } }))
      .toThrow('Unknown option ttll in idempotency. Did you mean ttl?');
    expect(() => createIdempotency({ database, options: { payload: 1 } }))
      .toThrow('Unknown option payload in idempotency');
  });

  test('keyOf', () => {
    expect(idempotency.keyOf({ a: 1, b: [1, { d: 1, c: 2 }] }))
      .toBe(idempotency.keyOf({ b: [1, { c: 2, d: 1 }], a: 1, e: undefined }));
    expect(idempotency.keyOf({ a: 1 })).toMatch(/^[0-9a-f]{64}$/);
    const all = [undefined, null, 1, '1', [1], ['1'], { 1: 1 }, [], {}, 'null', [[1], 2], [1, 2]];
    expect(new Set(all.map(payload => idempotency.keyOf(payload))).size).toBe(all.length);
    expect(idempotency.keyOf(new Date(0))).toBe(idempotency.keyOf('1970-01-01T00:00:00.000Z'));
    expect(() => idempotency.keyOf(new Set())).toThrow('for payload');
  });
});

describe('idempotency, many processes', () => {
  let url;
  let database;
  let idempotency;
  const effects = async () => (await database.query('SELECT FROM effects')).rowCount;

  beforeAll(async () => {
    url = await (await sharedPostgres()).createDatabase();
    ({ database, idempotency } = await open({ url }));
    await database.query('CREATE TABLE effects (pid int)');
  });

  beforeEach(() => database.query('TRUNCATE effects'));

  test('100 calls of 4 processes: one execution', async () => {
    const options = { wait: 20_000 };
    const ended = await Promise.all(Array.from({ length: 4 }, () =>
      act({ url, key: 'processes', calls: 25, options })));
    const answers = ended.flatMap(end => end.answers);
    expect(await effects()).toBe(1);
    expect(answers).toHaveLength(100);
    expect(new Set(answers.map(({ value }) => JSON.stringify(value))).size).toBe(1);
    expect(answers.filter(({ replayed }) => replayed)).toHaveLength(99);
  });

  // How often the work's effect is there when another has taken over. What a process did outside
  // of the database just before it died, the next one does again.
  test.each([
    ['before', false, 1], ['after', false, 2], ['stored', false, 1],
    ['before', true, 1], ['after', true, 1], ['stored', true, 1],
  ])('a holder that is killed at the step "%s" (transaction: %s) frees the key after its lock',
    async (crash, transaction, expected) => {
      const key = `crash-${crash}-${transaction}`;
      const options = { lockTimeout: 1000, transaction };
      expect(await act({ url, key, crash, options })).toMatchObject({ signal: 'SIGKILL' });
      const work = async ({ client = database }) => {
        await client.query('INSERT INTO effects (pid) VALUES ($1)', [process.pid]);
        return { pid: process.pid };
      };
      // Their own lock is the long one: whoever is paused must not lose it.
      const ask = more => idempotency.run(key, work, { transaction, ...more })
        .then(({ value }) => JSON.stringify(value), ({ code }) => code);
      // While the lock lasts, nobody else begins.
      const early = await ask();
      const late = await Promise.all(Array.from({ length: 5 }, () => ask({ wait: 20_000 })));
      expect(await effects()).toBe(expected);
      expect(new Set(late).size).toBe(1);
      expect(late[0]).toMatch(/^\{"pid":\d+/);
      expect([late[0], 'ERR_IDEMPOTENCY_IN_PROGRESS']).toContain(early);
    });

  test('a database that restarts before the result is stored does not lose it', async () => {
    const postgres = await sharedPostgres();
    const work = jest.fn(async () => {
      await postgres.restart('immediate');
      return 'survived';
    });
    expect(await idempotency.run('restart', work)).toEqual({ value: 'survived', replayed: false });
    expect(await idempotency.run('restart', work)).toEqual({ value: 'survived', replayed: true });
    expect(work).toHaveBeenCalledTimes(1);
  });

  test('an answer reads no more of a table that grew after its plan was made', async () => {
    const own = await (await sharedPostgres()).createDatabase();
    const store = await openStore({ url: own, connections: 2 });
    const table = 'sekering.idempotency_store';
    let keys = 0;
    const ask = async count => {
      for (let i = 0; i < count; i++) {
        await store.idempotency.run('key', async () => 'once');
        await store.idempotency.run(`new ${keys++}`, async () => 'once');
      }
    };
    await store.query(`ALTER TABLE ${table} SET (autovacuum_enabled = off)`);
    await ask(1);
    await store.query(`ANALYZE ${table}`);
    // So often that every connection keeps its plans.
    await ask(30);
    await store.query(`INSERT INTO ${table}
        (key, fingerprint, status, created_at, expires_at, locked_until)
      SELECT 'other ' || i, fingerprint, status, created_at, expires_at, locked_until
      FROM ${table}, generate_series(1, 20000) AS i WHERE key = 'key'`);
    await ask(10);
    await store.close();
    const look = await openDatabase({ url: own, connections: 1 });
    opened.push(look);
    const count = async text => Number((await look.query(text)).rows[0].count);
    // Backends tell what they did when they end at the latest.
    await until(async () => await count(`SELECT count(*) FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid() AND
      backend_type = 'client backend'`) === 0);
    // Ten answers that each read all of it would read 200,000 rows.
    expect(await count(`SELECT seq_tup_read AS count FROM pg_stat_user_tables
      WHERE relid = '${table}'::regclass`)).toBeLessThan(20_000);
  });
});
