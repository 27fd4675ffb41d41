'use strict';

// What claims cost: statements, transactions, and the rows that they look at.

const { Pool } = require('pg');

const { openStore } = require('../../lib/store');
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
    const worker = await it.worker({ JOB: { send: async () => {}, concurrency: 8 } },
      { batchSize: 1 });
    await events(worker, 'sent', count);
    // Looks at everything, which come by time, settle nothing; so a few are settled alone.
    expect(await writes() - before).toBeLessThan(1.25 * count);
    expect(await it.statuses()).toEqual(Array(count).fill('SENT'));
  });

  test('are one at a time where there is little to claim', async () => {
    const worker = await it.worker({ JOB: { send: async () => {}, concurrency: 50 } },
      { batchSize: 1, pollInterval: 60_000 });
    await until(() => worker.lastBeat > 0);
    const claim = worker.claim;
    let beside = 0;
    let most = 0;
    let count = 0;
    worker.claim = async (...args) => {
      count++;
      most = Math.max(most, ++beside);
      return claim.apply(worker, args).finally(() => { beside--; });
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

  if (name === 'postgresql') {
    test('whose answer is lost have settled all the same', async () => {
      let lost = 0;
      const pool = new Pool({ connectionString: it.place.url });
      pool.on('error', () => {});
      pool.on('connect', client => {
        client.on('error', () => {});
        const query = client.query;
        client.query = async function (given, ...rest) {
          const answer = await query.call(this, given, ...rest);
          if (given.name?.endsWith('outbox_exchange') && ++lost % 10 === 1) {
            throw Object.assign(new Error('lost'), { code: 'ECONNRESET' });
          }
          return answer;
        };
      });
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
      expect(lost).toBeGreaterThan(0);
      expect(worker.stats()).toMatchObject({ sent: 100, fenced: 0 });
      // What was claimed by an answer that was lost had not been sent: it came back with its lease.
      expect([...seen.values()]).toEqual(Array(100).fill(1));
      expect(await it.statuses()).toEqual(Array(100).fill('SENT'));
    });
  }
});
