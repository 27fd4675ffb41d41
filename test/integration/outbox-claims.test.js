'use strict';

// What claims cost: statements, transactions, and the rows that they look at.

const { Client, Pool } = require('pg');

const { openStore } = require('../../lib/store');
const { leaseStatements } = require('../../lib/store/outbox-leases');
const { OutboxTable } = require('../../lib/store/outbox-table');
const { CHANNELS, events, outboxOf, until } = require('../support/outbox-helpers');
const { describeEngines } = require('../support/postgres');

const jobs = (count, more = {}) => Array.from({ length: count },
  (_, i) => ({ channel: 'JOB', recipient: `r${i}`, ...more }));

describeEngines('claims', ({ name, place }) => {
  const it = outboxOf(place);
  const enqueue = (...args) => it.store.outbox.enqueue(...args);

  /** How many transactions have written something so far. */
  async function writes () {
    const { rows } = await it.store.query(
      'SELECT txid_snapshot_xmax(txid_current_snapshot())::float8 AS count');
    return rows[0].count;
  }

  test('of one take about one transaction per message, settling included', async () => {
    const count = 200;
    await enqueue(jobs(count));
    const before = await writes();
    await it.worker({ JOB: { send: async () => {}, concurrency: 8 } },
      { batchSize: 1, pollInterval: 60_000 });
    await until(async () => (await it.statuses()).every(status => status === 'SENT'));
    // Looks at everything settle nothing; so a few are settled alone.
    expect(await writes() - before).toBeLessThan(1.25 * count);
    expect(await it.statuses()).toHaveLength(count);
  });

  test('are one at a time where there is little to claim', async () => {
    const worker = await it.worker({ JOB: { send: async () => {}, concurrency: 50 } },
      { batchSize: 1, pollInterval: 60_000 });
    await until(() => worker.lastBeat > 0);
    const { leases } = worker;
    const claim = leases.claim;
    let beside = 0;
    let most = 0;
    let count = 0;
    leases.claim = async (...args) => {
      count++;
      most = Math.max(most, ++beside);
      return claim.apply(leases, args).finally(() => { beside--; });
    };
    const look = async () => {
      count = 0;
      it.store.outbox.announce(['JOB']);
      await until(() => count > 0 && beside === 0);
    };
    await look();
    expect(most).toBe(1);
    const idle = events(worker, 'idle');
    await enqueue(jobs(1));
    await idle;
    // What was found once is looked for again, by two; and not by fifty.
    expect(most).toBeLessThanOrEqual(2);
    most = 0;
    await until(() => beside === 0);
    await look();
    expect(most).toBe(1);
  });

  test('settle each message once, whatever its priority', async () => {
    const given = jobs(300).map((job, i) => ({ ...job, priority: i % 7 - 3 }));
    await enqueue(given);
    const seen = [];
    const worker = await it.worker({
      JOB: { send: async ({ recipient }) => { seen.push(recipient); }, concurrency: 4 },
    }, { batchSize: 3 });
    await events(worker, 'sent', given.length);
    expect(new Set(seen).size).toBe(given.length);
    expect(seen.length).toBe(given.length);
    expect(worker.stats()).toMatchObject({ sent: given.length, fenced: 0 });
  });

  /** What a claim of 50 did. */
  async function planOf50 () {
    const { claim } = leaseStatements(new OutboxTable('sekering'));
    const { text, values } = claim('JOB', 'me', 1, 60_000, 50, 5, 25, '', 2 ** 24);
    const { rows: [row] } = await it.store.query(
      `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${text}`, values);
    const [{ Plan: plan }] = row['QUERY PLAN'];
    expect(plan['Actual Rows']).toBe(50);
    return plan;
  }

  /** How many rows it looked at in tables and indexes. */
  function rowsOf (plan) {
    const { Plans: parts = [], 'Rows Removed by Filter': removed = 0 } = plan;
    const rows = (plan['Actual Rows'] + removed) * plan['Actual Loops'];
    const own = plan['Relation Name'] === undefined ? 0 : rows;
    return parts.reduce((sum, part) => sum + rowsOf(part), own);
  }

  test.each([
    ['messages of a key', "'a'"], ['keys', "'x' || i"]
  ])('look at no more beside many %s', async (what, key) => {
    const add = (from, to, orderKey) => it.store.query(`INSERT INTO sekering.notification_outbox
        (channel, recipient, order_key)
      SELECT 'JOB', 'r', ${orderKey} FROM generate_series(${from}::int, ${to}::int) AS i`);
    await add(1, 20, key);
    await add(1, 200, "'k' || i");
    // One of them is being sent that is not the first.
    await it.store.query(`UPDATE sekering.notification_outbox SET status = 'SENDING',
      lease_owner = 'other', lease_until = now() + interval '1 hour' WHERE id = 10`);
    const before = rowsOf(await planOf50());
    await add(21, 10_000, key);
    expect(rowsOf(await planOf50())).toBeLessThan(2 * before);
  });

  test('look at no more beside sent and dead messages', async () => {
    const pages = async () => {
      const plan = await planOf50();
      return plan['Shared Hit Blocks'] + plan['Shared Read Blocks'];
    };
    await enqueue(jobs(200));
    const before = await pages();
    await it.store.query(`INSERT INTO sekering.notification_outbox (channel, recipient, status)
      SELECT 'JOB', 'old', CASE WHEN i % 2 = 0 THEN 'SENT' ELSE 'DLQ' END
      FROM generate_series(1, 20000) AS i`);
    await enqueue(jobs(200));
    // Its own rows, and more pages for each where the index of all ids is deeper.
    expect(await pages()).toBeLessThan(before + 4 * 50);
  });

  describe('the look at all channels', () => {
    const { peek } = leaseStatements(new OutboxTable('sekering'));
    const HOUR_MS = 3_600_000;

    test('tells where a claim may find something, and when', async () => {
      const ask = async () => {
        const { text, values } = peek();
        const { rows } = await it.store.query(text, values);
        return Object.fromEntries(rows.map(({ channel, dueIn }) => [channel, dueIn]));
      };
      expect(await ask()).toEqual({});
      await enqueue([{ channel: 'SLOW', recipient: 'r', delay: HOUR_MS, priority: 3 }]);
      await enqueue(jobs(1, { delay: HOUR_MS, priority: 9 }));
      const later = await ask();
      expect(Object.keys(later).toSorted()).toEqual(['JOB', 'SLOW']);
      for (const dueIn of Object.values(later)) {
        expect(dueIn).toBeGreaterThan(0);
        expect(dueIn).toBeLessThanOrEqual(HOUR_MS);
      }
      // Less urgent, and due.
      await enqueue(jobs(1, { priority: -9 }));
      const now = await ask();
      expect([now.JOB <= 0, now.SLOW > 0]).toEqual([true, true]);
      await it.store.query("UPDATE sekering.notification_outbox SET status = 'SENT'");
      expect(await ask()).toEqual({});
      // Of these only a claim can tell.
      await enqueue(jobs(1, { delay: HOUR_MS, orderKey: 'k' }));
      await it.store.query(`INSERT INTO sekering.notification_outbox
        (channel, recipient, crash_count) VALUES ('SLOW', 'r', 1)`);
      expect(await ask()).toEqual({ JOB: 0, SLOW: 0 });
    });

    test('looks at no more rows beside any number of messages', async () => {
      const add = (status, key, crashes) => it.store.query(`INSERT INTO
          sekering.notification_outbox (channel, recipient, status, order_key, crash_count)
        SELECT 'C' || i % 20, 'r', $1, CASE WHEN $2 THEN 'k' || i END, $3::int
        FROM generate_series(1, 3000) AS i`, [status, key, crashes]);
      await add('PENDING', false, 0);
      await add('RETRYING', false, 0);
      await add('SENT', false, 0);
      await add('DLQ', true, 0);
      await add('PENDING', true, 0);
      await add('PENDING', false, 1);
      const { text, values } = peek();
      const { rows: [row] } = await it.store.query(
        `EXPLAIN (ANALYZE, FORMAT JSON) ${text}`, values);
      const [{ Plan: plan }] = row['QUERY PLAN'];
      expect(plan['Actual Rows']).toBe(20);
      // For each of the channels two of plain ones, and one of each other kind. The last step of
      // each kind finds none, which the plan's rounded averages count as one.
      expect(rowsOf(plan)).toBeLessThanOrEqual(20 * 4 + 3);
    });
  });

  if (name === 'postgresql') {
    test('find what is due behind any number of keys that have to wait', async () => {
      await it.store.query(`INSERT INTO sekering.notification_outbox
          (channel, recipient, order_key, next_retry_at)
        SELECT 'JOB', 'later', 'k' || i, now() + interval '1 day'
        FROM generate_series(1, 25000) AS i`);
      await enqueue([{ channel: 'JOB', recipient: 'now', orderKey: 'z' }]);
      const worker = await it.worker({ JOB: async () => {} }, { pollInterval: 60_000 });
      const [[message]] = await events(worker, 'sent');
      expect(message).toMatchObject({ recipient: 'now' });
      expect(Object.keys(message)).not.toContain('lastKey');
    });

    test('read no more of a table that grew after their plans were made', async () => {
      const url = (await place()).url;
      const store = await openStore({ url, channels: CHANNELS, connections: 2 });
      await store.query(
        'ALTER TABLE sekering.notification_outbox SET (autovacuum_enabled = off)');
      const worker = store.outbox.createWorker({
        channels: { JOB: { send: async () => {}, concurrency: 2 } }, batchSize: 20,
      });
      await worker.start();
      const send = async count => {
        const sent = events(worker, 'sent', count);
        await store.outbox.enqueue(jobs(count));
        await sent;
      };
      // So often that every connection keeps its plans.
      for (let i = 0; i < 15; i++) await send(4);
      await store.query(`INSERT INTO sekering.notification_outbox (channel, recipient, status)
        SELECT 'JOB', 'old', 'SENT' FROM generate_series(1, 20000)`);
      await send(1000);
      await worker.stop();
      await store.close();
      // Backends tell what they did when they end at the latest.
      const client = new Client({ connectionString: url });
      await client.connect();
      const count = async text => Number((await client.query(text)).rows[0].count);
      await until(async () => await count(`SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend'`) === 1);
      const read = await count(`SELECT seq_tup_read AS count FROM pg_stat_user_tables
        WHERE relid = 'sekering.notification_outbox'::regclass`);
      await client.end();
      // Fifty claims that each read all of it would read a million.
      expect(read).toBeLessThan(100_000);
    });

    /** A pool in which every tenth answer to a statement is lost, beginning with the first. */
    function losing (name) {
      const pool = new Pool({ connectionString: it.place.url });
      pool.lost = 0;
      pool.on('error', () => {});
      pool.on('connect', client => {
        client.on('error', () => {});
        const query = client.query;
        client.query = async function (given, ...rest) {
          const answer = await query.call(this, given, ...rest);
          if (given.name?.includes(name) && ++pool.lost % 10 === 1) {
            throw Object.assign(new Error('lost'), { code: 'ECONNRESET' });
          }
          return answer;
        };
      });
      return pool;
    }

    test('whose death is told in an answer that is lost are told of in full', async () => {
      const pool = losing('outbox_settleUnsent');
      const store = await openStore({ pool, channels: CHANNELS });
      await enqueue(jobs(1, { recipient: 'dead' }));
      const arrival = events(store.deadLetters, 'arrival');
      const worker = store.outbox.createWorker({
        channels: { JOB: async () => { throw Object.assign(new Error('No'), { bail: true }); } },
      });
      await worker.start();
      const [[letter]] = await arrival;
      await worker.stop();
      await store.close();
      await pool.end();
      expect(letter).toMatchObject({ channel: 'JOB', recipient: 'dead', lastError: 'No' });
    });

    test('whose answer is lost have settled all the same', async () => {
      const pool = losing('outbox_exchange');
      const store = await openStore({ pool, channels: CHANNELS });
      await enqueue(jobs(100));
      const seen = new Map();
      const worker = store.outbox.createWorker({
        channels: {
          JOB: {
            send: async ({ id }) => { seen.set(id, (seen.get(id) ?? 0) + 1); }, concurrency: 4,
          },
        },
        batchSize: 1, leaseMs: 1000, pollInterval: 50,
      });
      await worker.start();
      await until(async () => worker.stats().sent === 100);
      await worker.stop();
      await store.close();
      await pool.end();
      expect(pool.lost).toBeGreaterThan(0);
      expect(worker.stats()).toMatchObject({ sent: 100, fenced: 0 });
      // What was claimed by an answer that was lost had not been sent: it came back with its lease.
      expect([...seen.values()]).toEqual(Array(100).fill(1));
      expect(await it.statuses()).toEqual(Array(100).fill('SENT'));
    });
  }
});
