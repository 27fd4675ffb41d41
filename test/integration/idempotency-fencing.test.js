'use strict';

// What keeps a holder that was too late from its successor's work: tokens that grow with every
// claim of a key, however long a claim has waited, and work that asks whether it holds the key.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { createInterface } = require('node:readline');

const { openDatabase } = require('../../lib/store/database');
const { createIdempotency } = require('../../lib/store/idempotency');
const { migrate } = require('../../lib/store/migrate');
const { keep } = require('../support/keep');
const { gate, until } = require('../support/outbox-helpers');
const { closeShared, sharedPostgres } = require('../support/postgres');

const ACTOR = path.join(__dirname, '..', 'support', 'idempotency-actor.js');

afterAll(closeShared);

async function open () {
  const url = await (await sharedPostgres()).createDatabase();
  const database = keep(await openDatabase({ url }));
  await migrate(database);
  return { url, database, idempotency: createIdempotency({ database }) };
}

/** A transaction that does something and stays open until it is rolled back. */
async function inTheWay (database, text) {
  const [done, end] = [gate(), gate()];
  const whole = database.transaction(async client => {
    await client.query(text);
    done.resolve();
    await end.promise;
    throw new Error('rolled back');
  }).catch(error => done.reject(error));
  await done.promise;
  return async () => {
    end.resolve();
    await whole;
  };
}

const TABLE = 'sekering.idempotency_store';
const END_LOCKS = `UPDATE ${TABLE} SET locked_until = clock_timestamp()`;
const INSERT = `INSERT INTO ${TABLE}
  (key, fingerprint, status, created_at, expires_at, locked_until)
  VALUES ('key', '', 'in_progress', now(), now(), now())`;

describe('a claim that another one overtakes gets the larger token', () => {
  test.each([
    ['a key that is new', false, INSERT],
    ['a key that is free', true, `SELECT FROM ${TABLE} WHERE key = 'key' FOR UPDATE`],
  ])('of %s', async (_, isKnown, obstacle) => {
    const { database, idempotency } = await open();
    const fail = async ({ token }) => { throw Object.assign(new Error('no luck'), { token }); };
    const tokenOf = async () => (await idempotency.run('key', fail).catch(error => error)).token;
    if (isKnown) await tokenOf();

    // The first claim waits, and then the process of the database that does it stands still.
    const clear = await inTheWay(database, obstacle);
    const slow = tokenOf();
    const waiting = async () => (await database.query(`SELECT pid FROM pg_stat_activity
      WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO%'`)).rows[0];
    const { pid } = await until(waiting);
    let fast;
    process.kill(pid, 'SIGSTOP');
    try {
      await clear();
      fast = await tokenOf();
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    expect(BigInt(await slow)).toBeGreaterThan(BigInt(fast));
  });
});

describe('a process whose event loop stands still for longer than its lock lasts', () => {
  const payload = { amount: 1 };

  /** A process that holds the key. @returns {Promise<object>} `wake()` resolves with its end */
  async function stall (url, { transaction, confirms, lockTimeout }) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-stall-'));
    keep(folder, () => fs.rmSync(folder, { recursive: true }));
    const stallUntil = path.join(folder, 'wake');
    const child = spawn(process.execPath, [ACTOR, JSON.stringify({
      url, key: 'key', stallUntil, confirms, options: { payload, transaction, lockTimeout },
    })], { stdio: ['ignore', 'pipe', 'inherit'] });
    keep(child, () => child.kill('SIGKILL'));
    const lines = [];
    const reader = createInterface({ input: child.stdout });
    reader.on('line', line => lines.push(JSON.parse(line)));
    await once(reader, 'line');
    const closed = once(reader, 'close');
    return {
      pid: child.pid,
      wake: async () => {
        fs.writeFileSync(stallUntil, '');
        await closed;
        return { warnings: lines.slice(1, -1), answer: lines.at(-1) };
      },
    };
  }

  async function openWithEffects () {
    const opened = await open();
    await opened.database.query('CREATE TABLE effects (pid int)');
    const pids = async () => (await opened.database.query('SELECT pid FROM effects ORDER BY pid'))
      .rows.map(({ pid }) => pid);
    return { ...opened, pids };
  }

  // The step that must not be done twice is a row in `effects`.
  test.each([
    ['does its work beside the next holder', false, false, true],
    ['stops before its next step, if it asks first', false, true, false],
    ['has its transaction rolled back', true, false, false],
    ['stops in its transaction, if it asks', true, true, false],
  ])('%s, and gets what all others get', async (_, transaction, confirms, isTwice) => {
    const { url, database, idempotency, pids } = await openWithEffects();
    const { pid, wake } = await stall(url, { transaction, confirms, lockTimeout: 1000 });
    const work = async () => {
      await database.query('INSERT INTO effects (pid) VALUES ($1)', [process.pid]);
      return { pid: process.pid };
    };
    expect(await idempotency.run('key', work, { payload, wait: 600_000 }))
      .toEqual({ value: { pid: process.pid }, replayed: false });
    const { warnings, answer } = await wake();
    expect(answer).toEqual({ value: { pid: process.pid }, replayed: true });
    expect(warnings).toContain('ERR_IDEMPOTENCY_LOST');
    expect(await pids()).toEqual(isTwice ? [pid, process.pid].sort((a, b) => a - b)
      : [process.pid]);
  });

  test.each([[false], [true]])('keeps the key if nobody has asked for it (transaction: %s)',
    async transaction => {
      const { url, database, idempotency, pids } = await openWithEffects();
      const { pid, wake } = await stall(url, { transaction, confirms: true });
      await database.query(END_LOCKS);
      const { warnings, answer } = await wake();
      expect(warnings).not.toContain('ERR_IDEMPOTENCY_LOST');
      expect(answer).toMatchObject({ value: { pid }, replayed: false });
      expect(await idempotency.run('key', async () => 'again', { payload }))
        .toMatchObject({ value: { pid }, replayed: true });
      expect(await pids()).toEqual([pid]);
    });
});

test('work that has confirmed in its transaction has the key until that ends', async () => {
  const { url, database } = await open();
  // The claim of the other waits for as long as it takes.
  const patient = keep(await openDatabase({ url, timeout: 300_000 }));
  const other = createIdempotency({ database: patient });
  const warnings = [];
  const idempotency = createIdempotency({ database, onWarning: error => warnings.push(error) });
  let waiting;
  const first = await idempotency.run('key', async ({ confirm, signal }) => {
    // Others see that it has ended until the transaction is committed.
    await database.query(END_LOCKS);
    await confirm();
    waiting = other.run('key', async () => 'second');
    await until(async () => (await database.query(`SELECT FROM pg_stat_activity
      WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO%'`)).rowCount === 1);
    expect(signal.aborted).toBe(false);
    return 'first';
  }, { transaction: true });
  expect(first).toEqual({ value: 'first', replayed: false });
  expect(await waiting).toEqual({ value: 'first', replayed: true });
  expect(warnings).toEqual([]);
});
