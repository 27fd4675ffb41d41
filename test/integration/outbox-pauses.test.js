'use strict';

// The worker, held up: by a breaker, by a lease that ended, by stopping.

const { EventEmitter } = require('node:events');

const { Client } = require('pg');

const CircuitBreaker = require('../../lib/primitives/breaker');
const { leaseStatements } = require('../../lib/store/outbox-leases');
const { OutboxTable } = require('../../lib/store/outbox-table');
const { useVirtualClock } = require('../../lib/testing');
const { events, gate, outboxOf, until } = require('../support/outbox-helpers');
const { describeEngines } = require('../support/postgres');

const job = (recipient = 'x', more = {}) => ({ channel: 'JOB', recipient, ...more });
const failing = more => Object.assign(new Error('no luck'), more);

describeEngines('the worker', ({ name, place }) => {
  const it = outboxOf(place);
  const enqueue = (...args) => it.store.outbox.enqueue(...args);
  const sql = (...args) => it.store.query(...args);

  describe('a breaker', () => {
    const untouched = `SELECT count(*)::int AS count FROM sekering.notification_outbox
      WHERE status = 'PENDING' AND attempt_count = 0 AND lease_token IS NULL`;
    let clock;
    beforeEach(() => { clock = useVirtualClock(); });
    afterEach(() => clock.restore());

    test('that throws counts as open, with one warning, and stops no other channel', async () => {
      let isBroken = true;
      const breaker = Object.assign(new EventEmitter(), { enabled: true, pendingClose: false });
      Object.defineProperty(breaker, 'opened', {
        get () {
          if (isBroken) throw failing();
          return false;
        },
      });
      const sent = [];
      const note = message => { sent.push(message.channel); };
      const worker = await it.worker({ JOB: { send: note, breaker }, EMAIL: note });
      await enqueue([job(), { channel: 'EMAIL', recipient: 'a@shop.example', body: 'x' }]);
      await until(() => sent.length === 1);
      for (let i = 0; i < 10; i++) await clock.advance(1000);
      expect(sent).toEqual(['EMAIL']);
      expect(it.warnings.splice(0).map(({ message }) => message)).toEqual(['no luck']);
      isBroken = false;
      await until(async () => {
        await clock.advance(1000);
        return sent.length === 2;
      });
      await worker.stop();
    });

    test('wakes its own channel only', async () => {
      const breaker = Object.assign(new EventEmitter(),
        { enabled: true, opened: false, halfOpen: false, pendingClose: false });
      const send = async () => {};
      const worker = await it.worker({ JOB: { send, breaker }, EMAIL: send },
        { pollInterval: 3_600_000 });
      const claims = [];
      const { leases } = worker;
      const { claim } = leases;
      leases.claim = ask => {
        claims.push(ask.channel);
        return claim.call(leases, ask);
      };
      const countOf = channel => claims.filter(name => name === channel).length;
      for (let events = 1; events <= 5; events++) {
        breaker.emit('close');
        await until(() => countOf('JOB') >= events);
      }
      await worker.stop();
      // It may still have been at its first looks.
      expect(countOf('EMAIL')).toBeLessThan(3);
    });

    test('that is open pauses its channel and no other; one probe, then the backlog', async () => {
      let works = false;
      let calls = 0;
      const breaker = new CircuitBreaker(async () => {
        calls++;
        if (!works) throw failing();
      }, { resetTimeout: 3_600_000, volumeThreshold: 1, errorThresholdPercentage: 50 });
      await breaker.fire().catch(() => {});
      expect(breaker.opened).toBe(true);
      calls = 0;
      await enqueue(Array.from({ length: 300 }, () => job()));
      const worker = await it.worker({
        JOB: { send: () => breaker.fire(), breaker, concurrency: 10 }, EMAIL: async () => {},
      }, { pollInterval: 1000 });
      expect(worker.stats().channels.JOB).toEqual({ inFlight: 0, paused: true });
      await clock.advance(3_599_000);
      const sent = events(worker, 'sent');
      await enqueue({ channel: 'EMAIL', recipient: 'x' });
      await sent;
      expect((await sql(untouched)).rows[0].count).toBe(300);
      expect(calls).toBe(0);
      works = true;
      const closed = events(breaker, 'close');
      const resumed = events(worker, 'resumed');
      await clock.advance(1000);
      await closed;
      expect(calls).toBe(1);
      expect((await resumed)[0]).toEqual(['JOB']);
      await until(() => worker.stats().sent === 301);
      expect(calls).toBe(300);
    });

    test('that opens while messages wait here gives them back, unspent', async () => {
      const breaker = new CircuitBreaker(async fails => { if (fails) throw failing(); },
        { resetTimeout: 60_000, volumeThreshold: 3, errorThresholdPercentage: 50 });
      const hold = gate();
      await enqueue(Array.from({ length: 200 }, (_, i) => job(`${i}`)));
      let calls = 0;
      const worker = await it.worker({
        JOB: {
          breaker, concurrency: 3,
          send: async () => {
            calls++;
            if (calls > 50) await hold.promise;
            return breaker.fire(calls > 50);
          },
        },
      });
      await until(() => calls === 53);
      const paused = events(worker, 'paused');
      breaker.open();
      await paused;
      hold.resolve();
      await until(async () => !(await it.statuses()).includes('SENDING'));
      const rows = await it.store.outbox.list({ limit: 1000 });
      expect(rows.filter(({ status }) => status === 'SENT')).toHaveLength(50);
      expect(rows.filter(({ status }) => status === 'PENDING')).toHaveLength(150);
      expect(rows.reduce((sum, { attemptCount }) => sum + attemptCount, 0)).toBe(50);
      expect((await sql(`SELECT max(crash_count) AS most FROM sekering.notification_outbox
        WHERE status = 'PENDING'`)).rows[0].most).toBe(0);
    });

    test('of a client\'s own, and an account that is at fault, rest the channel', async () => {
      const wrong = [failing({ code: 'EOPENBREAKER' }), failing({ kind: 'pause' }),
        failing({ kind: 'ours', code: 'EAUTH' })];
      let calls = 0;
      await enqueue(Array.from({ length: 50 }, () => job('x', { maxAttempts: 1 })));
      const worker = await it.worker({
        JOB: {
          concurrency: 1, send: async () => { if (calls++ < 3) throw wrong[calls - 1]; },
        },
      }, { pollInterval: 60_000 });
      for (const [count, ms] of [[1, 1000], [2, 2000], [3, 4000]]) {
        await until(() => worker.stats().channels.JOB.paused && calls === count &&
          worker.inFlight === 0);
        await until(async () => (await it.statuses()).every(status => status === 'PENDING'));
        await clock.advance(ms - 1);
        expect(calls).toBe(count);
        await clock.advance(1);
      }
      await until(() => worker.stats().sent === 50);
    });

    test('is not kept waiting by one message that is answered so each time', async () => {
      const seen = [];
      const send = async ({ recipient }) => {
        seen.push(recipient);
        if (recipient === 'odd') throw failing({ kind: 'pause' });
      };
      await enqueue(['odd', 'a', 'b', 'c'].map(recipient => job(recipient, { maxAttempts: 1 })));
      const worker = await it.worker({ JOB: { send, concurrency: 1 } }, { pollInterval: 60_000 });
      await until(() => worker.stats().channels.JOB.paused && worker.inFlight === 0);
      await until(async () => (await it.statuses()).every(status => status === 'PENDING'));
      await clock.advance(1000);
      await until(() => worker.stats().sent === 3);
      expect(seen.slice(0, 4)).toEqual(['odd', 'a', 'b', 'c']);
    });
  });

  describe('a lease', () => {
    const lapse = () => sql(`UPDATE sekering.notification_outbox
      SET lease_until = now() - interval '1 ms' WHERE status = 'SENDING'`);

    test('is extended for as long as the work goes on, though all stand still at times',
      async () => {
        const hold = gate();
        let sends = 0;
        const send = () => {
          sends++;
          return hold.promise;
        };
        // So long that a busy machine can extend it in time.
        const leaseMs = 4000;
        const workers = [await it.worker({ JOB: send }, { leaseMs }),
          await it.worker({ JOB: send }, { leaseMs })];
        await enqueue(job());
        await until(() => sends === 1);
        const leaseEnds = async () => (await sql(
          'SELECT lease_until FROM sekering.notification_outbox')).rows[0].lease_until.getTime();
        for (let last = await leaseEnds(), times = 0; times < 4; times++) {
          // Both workers stop now and then, as on a machine that is paused.
          if (times % 2 === 0) {
            Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, leaseMs + 100);
          }
          const before = last;
          last = await until(async () => {
            const now = await leaseEnds();
            return now > before && now;
          });
          expect(sends).toBe(1);
        }
        hold.resolve();
        await Promise.race(workers.map(worker => events(worker, 'sent')));
        expect(sends).toBe(1);
      });

    test('that is over belongs to the next one: the first settles nothing', async () => {
      const holds = [];
      const send = () => {
        holds.push(gate());
        return holds.at(-1).promise;
      };
      const { id } = await enqueue(job());
      // It has no place for another one.
      const first = await it.worker({ JOB: { send, concurrency: 1 } }, { leaseMs: 60_000 });
      await until(() => holds.length === 1);
      await lapse();
      const second = await it.worker({ JOB: send }, { leaseMs: 4000 });
      await until(() => holds.length === 2);
      const fenced = events(first, 'fenced');
      holds[0].resolve('first');
      expect((await fenced)[0][0].id).toBe(id);
      expect((await it.store.outbox.get(id)).status).toBe('SENDING');
      const sent = events(second, 'sent');
      holds[1].resolve('second');
      await sent;
      expect(await it.store.outbox.get(id)).toMatchObject({
        status: 'SENT', providerMessageId: 'second', attemptCount: 1,
      });
      expect([first.stats().fenced, second.stats().fenced]).toEqual([1, 0]);
    });

    if (name === 'postgresql') {
      test('that ended because nothing could be done is nobody\'s crash', async () => {
        await enqueue([job(), job()]);
        let calls = 0;
        const worker = await it.worker({
          JOB: async () => {
            if (++calls > 1) return;
            // Longer than its lease nothing else gets a turn in this thread.
            Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1100);
          },
        }, { leaseMs: 1000 });
        await until(() => worker.stats().sent === 2);
        expect(worker.stats().fenced).toBe(0);
      });
    }

    test('that ended with its worker: suspects go a few at a time, then alone', async () => {
      await enqueue(Array.from({ length: 40 }, (_, i) => job(`${i}`)));
      // As a worker leaves them that was killed with all of them in hand; some for the second time.
      await sql(`UPDATE sekering.notification_outbox SET status = 'SENDING', lease_owner = 'dead',
        lease_token = 1, lease_until = now(), crash_count = CASE WHEN id > 30 THEN 2 ELSE 1 END`);
      const now = { first: 0, again: 0 };
      let most = 0;
      let mixed = false;
      let together = 0;
      const send = async ({ id }) => {
        const kind = Number(id) > 30 ? 'again' : 'first';
        now[kind]++;
        most = Math.max(most, now.first);
        together = Math.max(together, now.again);
        mixed ||= now.first > 0 && now.again > 0;
        await new Promise(resolve => { setTimeout(resolve, 3); });
        now[kind]--;
      };
      const worker = await it.worker({ JOB: { send, concurrency: 8 } }, { leaseMs: 1000 });
      await until(() => worker.stats().sent === 40);
      expect(together).toBe(1);
      expect(mixed).toBe(false);
      expect(most).toBeGreaterThan(1);
      expect(most).toBeLessThanOrEqual(8);
      const { rows } = await sql(
        'SELECT max(crash_count) AS most FROM sekering.notification_outbox');
      expect(rows[0].most).toBe(0);
    });

    test('that ended so for the fifth time is the last', async () => {
      await enqueue([job('killer'), job('once')]);
      await sql(`UPDATE sekering.notification_outbox SET status = 'SENDING', lease_owner = 'dead',
        lease_token = 1, lease_until = now(),
        crash_count = CASE recipient WHEN 'once' THEN 1 ELSE 5 END`);
      const arrival = events(it.store.deadLetters, 'arrival');
      const worker = await it.worker({ JOB: async () => {} }, { leaseMs: 1000 });
      expect((await arrival)[0][0]).toMatchObject({
        recipient: 'killer', kind: 'ERR_OUTBOX_CRASHED', attemptCount: 0,
        reason: expect.stringContaining('5 times'),
      });
      await until(() => worker.stats().sent === 1);
    });

    test('that ended so for the tenth time is the last, but a retried letter begins anew',
      async () => {
        const { id } = await enqueue(job());
        const die = history => sql(`UPDATE sekering.notification_outbox SET status = 'SENDING',
          lease_owner = 'dead', lease_token = 1, lease_until = now(), crash_count = 0,
          error_history = ${history}`);
        await die(`(SELECT jsonb_agg(jsonb_build_object('attempt', n, 'name', 'StoreError',
          'message', 'died', 'at', '2026-01-01T00:00:00.000Z', 'code', 'ERR_OUTBOX_CRASHED'))
          FROM generate_series(1, 9) AS n)`);
        const arrival = events(it.store.deadLetters, 'arrival');
        const worker = await it.worker({ JOB: async () => {} }, { leaseMs: 1000 });
        expect((await arrival)[0][0]).toMatchObject({
          kind: 'ERR_OUTBOX_CRASHED', reason: expect.stringContaining('10 times'),
        });
        await worker.stop();
        await it.store.deadLetters.retry(id);
        await die('error_history');
        await worker.start();
        await until(() => worker.stats().sent === 1);
        const { errorHistory } = await it.store.outbox.get(id);
        expect(errorHistory.map(({ retried = false }) => retried))
          .toEqual([...Array(9).fill(false), true, false]);
      });
  });

  describe('stopping', () => {
    test('finishes what is in flight, and gives the rest back as it was', async () => {
      const hold = gate();
      let begun = 0;
      await enqueue(Array.from({ length: 30 }, () => job()));
      const worker = await it.worker({
        JOB: { concurrency: 2, send: () => (++begun > 20 ? hold.promise : undefined) },
      });
      await until(() => begun === 22);
      const stopped = worker.stop();
      expect(worker.running).toBe(false);
      hold.resolve();
      await stopped;
      const counts = (await it.store.outbox.stats()).channels.JOB;
      expect(counts).toMatchObject({ SENT: 22, PENDING: 8, SENDING: 0 });
      expect(begun).toBe(22);
      await worker.start();
      await until(() => worker.stats().sent === 30);
    });

    test('keeps the leases of what is in flight', async () => {
      const hold = gate();
      const { id } = await enqueue(job());
      const worker = await it.worker({ JOB: () => hold.promise }, { leaseMs: 1000 });
      await until(() => worker.inFlight === 1);
      const leaseOf = async () => (await sql(
        'SELECT lease_until FROM sekering.notification_outbox')).rows[0].lease_until.getTime();
      const first = await leaseOf();
      const stopped = worker.stop({ timeout: 3_600_000 });
      await until(async () => await leaseOf() > first);
      hold.resolve();
      await stopped;
      expect((await it.store.outbox.get(id)).status).toBe('SENT');
    });

    if (name === 'postgresql') {
      test('waits for a claim that is under way, and gives back what it brings', async () => {
        await enqueue([job(), job()]);
        const client = new Client({ connectionString: it.place.url });
        await client.connect();
        try {
          await client.query('BEGIN');
          await client.query('LOCK TABLE sekering.notification_outbox IN SHARE MODE');
          const worker = await it.worker({ JOB: async () => {} });
          await until(async () => (await client.query(
            'SELECT 1 FROM pg_locks WHERE NOT granted AND mode = $1', ['RowExclusiveLock']))
            .rowCount > 0);
          let isStopped = false;
          const stopped = worker.stop({ timeout: 3_600_000 }).then(() => { isStopped = true; });
          await client.query('SELECT pg_sleep(0.1)');
          expect(isStopped).toBe(false);
          await client.query('COMMIT');
          await stopped;
          const { rows } = await client.query(
            'SELECT status, crash_count FROM sekering.notification_outbox');
          expect(rows).toEqual(Array(2).fill({ status: 'PENDING', crash_count: 0 }));
        } finally {
          await client.end();
        }
      });
    }

    test('takes no longer than it may: a sender that heeds its signal gives back', async () => {
      const { id } = await enqueue(job());
      const worker = await it.worker({
        JOB: (message, { signal }) => new Promise((resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason));
        }),
      });
      await until(() => worker.inFlight === 1);
      await worker.stop({ timeout: 50 });
      expect(await it.store.outbox.get(id)).toMatchObject({
        status: 'PENDING', attemptCount: 0, lastError: 'The worker stops',
      });
    });
  });

  if (name === 'postgresql') {
    test('by a snapshot that somebody keeps: it is found', async () => {
      const { oldSnapshot } = leaseStatements(new OutboxTable('sekering'));
      const client = new Client({ connectionString: it.place.url });
      await client.connect();
      const age = async () => Number((await sql(oldSnapshot(200).text, [200])).rows[0].age);
      try {
        await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
        await client.query('SELECT 1');
        await until(async () => await age() > 0);
        await client.query('COMMIT');
        await until(async () => await age() === 0);
      } finally {
        await client.end();
      }
    });
  }
});
