'use strict';

// The worker: what it sends, when, how often, and what becomes of what it could not send.

const { NonRetryableError } = require('../../lib/primitives/classify');
const { useVirtualClock } = require('../../lib/testing');
const { events, gate, outboxOf, until } = require('../support/outbox-helpers');
const { passTime } = require('../support/passing-time');
const { describeEngines } = require('../support/postgres');

const job = (recipient = 'x', more = {}) => ({ channel: 'JOB', recipient, ...more });
const failing = more => Object.assign(new Error('no luck'), more);

describeEngines('the worker', ({ place }) => {
  const it = outboxOf(place);
  const enqueue = (...args) => it.store.outbox.enqueue(...args);
  const sql = (...args) => it.store.query(...args);

  describe('sends', () => {
    test('a message, with its template filled in, and keeps the id of the provider', async () => {
      const got = [];
      const worker = await it.worker({
        JOB: async (...args) => {
          got.push(args);
          return { providerMessageId: 'p1' };
        },
      });
      const { id } = await enqueue(job('käse', {
        template: '{{ name }}, {{order.id}}: {{n}} {{flag}} {name} $& <b>',
        data: { name: '<Ani> $1', order: { id: 'A1' }, n: 0, flag: false },
      }));
      await events(worker, 'sent');
      const [[message, context]] = got;
      expect(message).toMatchObject({
        id, recipient: 'käse', body: '<Ani> $1, A1: 0 false {name} $& <b>',
        reference: expect.stringMatching(/^\d+\.[0-9a-z]+$/),
      });
      expect(context.attempt).toBe(1);
      expect(context.signal.aborted).toBe(false);
      expect(await it.store.outbox.get(id)).toMatchObject({
        status: 'SENT', attemptCount: 1, providerMessageId: 'p1', sentAt: expect.any(Date),
        body: null,
      });
    });

    test('each message once, with four workers', async () => {
      const count = 2000;
      const seen = new Map();
      const all = gate();
      const send = async ({ id }) => {
        seen.set(id, (seen.get(id) ?? 0) + 1);
        await all.promise;
      };
      for (let i = 0; i < count; i += 1000) {
        await enqueue(Array.from({ length: 1000 }, (_, n) => job(`r${i + n}`)));
      }
      const workers = await Promise.all(Array.from({ length: 4 },
        () => it.worker({ JOB: { send, concurrency: 20 } }, { batchSize: 50 })));
      // Each of them gets some.
      await until(() => workers.every(({ inFlight }) => inFlight > 0));
      all.resolve();
      const sent = () => workers.map(worker => worker.stats().sent);
      await until(() => sent().reduce((a, b) => a + b) === count);
      expect([...seen.values()].every(times => times === 1)).toBe(true);
      expect(seen.size).toBe(count);
    });

    test('by priority, then by age; and later what is due later', async () => {
      await enqueue([job('low', { priority: -5 }), job('a'), job('b'),
        job('high', { priority: 50 }), job('later', { priority: 90, delay: 60_000 })]);
      const order = [];
      const worker = await it.worker({
        JOB: { send: async ({ recipient }) => { order.push(recipient); }, concurrency: 1 },
      }, { batchSize: 1 });
      await events(worker, 'sent', 4);
      expect(order).toEqual(['high', 'a', 'b', 'low']);
      const sent = events(worker, 'sent');
      await sql('UPDATE sekering.notification_outbox SET next_retry_at = now()');
      await sent;
      expect(order.at(-1)).toBe('later');
    });

    test('within 100 ms of the commit, although it sleeps', async () => {
      const worker = await it.worker({ JOB: async () => {} }, { pollInterval: 60_000 });
      await enqueue(job());
      await events(worker, 'idle');
      const sent = events(worker, 'sent');
      await it.store.transaction(client => enqueue(job(), { client }));
      // The bench measures it; this only shows that nothing is polled, which would take longer
      // than this test may.
      await sent;
    });

    test('no more at once than it may, of a channel and of all', async () => {
      let inFlight = 0;
      const most = { JOB: 0, EMAIL: 0, all: 0 };
      const now = { JOB: 0, EMAIL: 0 };
      const send = async ({ channel }) => {
        most.all = Math.max(most.all, ++inFlight);
        most[channel] = Math.max(most[channel], ++now[channel]);
        await new Promise(resolve => { setTimeout(resolve, 10); });
        inFlight--;
        now[channel]--;
      };
      await enqueue(Array.from({ length: 60 }, (_, i) =>
        ({ channel: i % 2 ? 'JOB' : 'EMAIL', recipient: 'x' })));
      const worker = await it.worker({
        JOB: { send, concurrency: 3 }, EMAIL: { send, concurrency: 8 },
      }, { concurrency: 6 });
      await events(worker, 'sent', 60);
      expect(most.JOB).toBe(3);
      expect(most.EMAIL).toBeLessThanOrEqual(6);
      expect(most.all).toBe(6);
      expect(worker.inFlight).toBe(0);
    });

    test('no more per second than its rate', async () => {
      const times = [];
      await enqueue(Array.from({ length: 15 }, () => job()));
      const clock = useVirtualClock();
      try {
        const worker = await it.worker({
          JOB: {
            send: async () => { times.push(clock.now); }, rate: { limit: 10, interval: 500 },
          },
        });
        await until(() => times.length === 10);
        expect(times[9] - times[0]).toBe(0);
        await passTime(clock, until(() => worker.stats().sent === 15));
        expect(times[14] - times[0]).toBeGreaterThanOrEqual(240);
      } finally {
        await it.workers.pop().stop();
        clock.restore();
      }
    });
  });

  test.each([['no key', null], ['a key', 'k']])(
    'what was enqueued long before it is due is sent then, with %s', async (what, key) => {
      const rows = await sql(`INSERT INTO sekering.notification_outbox
          (channel, recipient, order_key, next_retry_at)
        VALUES ('JOB', 'now', NULL, now()), ('JOB', 'later', $1, now() + interval '100 s')
        RETURNING id`, [key]);
      expect(rows.rowCount).toBe(2);
      const clock = useVirtualClock();
      try {
        const worker = await it.worker({ JOB: async () => {} }, { pollInterval: 3_600_000 });
        await events(worker, 'sent');
        await clock.advanceAsync(90_000);
        // Nobody tells the worker of this. The time of the database does not pass as ours does.
        await sql(`UPDATE sekering.notification_outbox SET next_retry_at = now()
          WHERE recipient = 'later'`);
        const sent = events(worker, 'sent');
        await clock.advanceAsync(20_000);
        expect((await sent)[0][0]).toMatchObject({ recipient: 'later' });
      } finally {
        await it.workers.pop().stop();
        clock.restore();
      }
    });

  describe('messages of one key', () => {
    test('go one after the other, after the first that fails; other keys go on', async () => {
      await enqueue([job('a1', { orderKey: 'a' }), job('a2', { orderKey: 'a', priority: 90 }),
        job('a3', { orderKey: 'a' }), job('b1', { orderKey: 'b' }), job('c'),
        { channel: 'EMAIL', recipient: 'other channel', orderKey: 'a' }]);
      const order = [];
      let fails = 2;
      const send = async ({ recipient }) => {
        order.push(recipient);
        if (recipient === 'a1' && fails-- > 0) throw failing();
      };
      const worker = await it.worker({ JOB: send, EMAIL: send });
      await events(worker, 'sent', 6);
      expect(order.filter(recipient => recipient.startsWith('a')))
        .toEqual(['a1', 'a1', 'a1', 'a2', 'a3']);
      expect(order.indexOf('b1')).toBeLessThan(order.indexOf('a2'));
      expect(order).toContain('other channel');
    });

    test('follow each other at once', async () => {
      await enqueue(Array.from({ length: 20 }, (_, i) => job(`${i}`, { orderKey: 'k' })));
      const worker = await it.worker({ JOB: async () => {} }, { pollInterval: 3_600_000 });
      const sent = await events(worker, 'sent', 20);
      expect(sent.map(([{ recipient }]) => Number(recipient))).toEqual([...Array(20).keys()]);
    });

    test('hold up nobody else, however many they are', async () => {
      await enqueue(Array.from({ length: 500 }, (_, i) => job(`k${i}`, { orderKey: 'k' })));
      const hold = gate();
      const send = ({ recipient }) => recipient === 'k0' && hold.promise;
      const worker = await it.worker({ JOB: send }, { batchSize: 5 });
      await until(() => worker.inFlight === 1);
      await enqueue(Array.from({ length: 20 }, (_, i) => job(`free${i}`)));
      await events(worker, 'sent', 20);
      expect(worker.inFlight).toBe(1);
      hold.resolve();
      await events(worker, 'sent', 3);
    });

    test('go on when the first one dies', async () => {
      await enqueue([job('1', { orderKey: 'k' }), job('2', { orderKey: 'k' })]);
      const worker = await it.worker({
        JOB: async ({ recipient }) => { if (recipient === '1') throw new NonRetryableError('x'); },
      });
      await events(worker, 'sent');
      expect(await it.statuses()).toEqual(['DLQ', 'SENT']);
    });
  });

  describe('what failed', () => {
    test('is tried again by its channel\'s backoff, as the same message', async () => {
      const got = [];
      const worker = await it.worker({
        JOB: async ({ reference, attemptCount }, { attempt }) => {
          got.push([reference, attemptCount, attempt]);
          if (got.length < 3) throw failing({ code: 'E_X' });
        },
      });
      const retries = events(worker, 'retry', 2);
      const { id } = await enqueue(job());
      await events(worker, 'sent');
      expect(got).toEqual([[got[0][0], 0, 1], [got[0][0], 1, 2], [got[0][0], 2, 3]]);
      expect((await retries).map(([message, error, delay]) => [message.id, error.code, delay]))
        .toEqual([[id, 'E_X', 20], [id, 'E_X', 20]]);
      const row = await it.store.outbox.get(id);
      expect(row).toMatchObject({ status: 'SENT', attemptCount: 3, lastError: 'no luck' });
      expect(row.errorHistory).toEqual([1, 2].map(attempt => ({
        attempt, name: 'Error', code: 'E_X', message: 'no luck',
        at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      })));
    });

    test('waits 2, 4, 8 and 16 s, and fails for good at the fifth attempt', async () => {
      const worker = await it.worker({ EMAIL: async () => { throw failing(); } });
      const dead = events(it.store.deadLetters, 'arrival');
      let retry = events(worker, 'retry');
      await enqueue({ channel: 'EMAIL', recipient: 'x' });
      for (const seconds of [2, 4, 8, 16]) {
        expect((await retry)[0][2]).toBe(seconds * 1000);
        retry = events(worker, 'retry');
        // From the end of the attempt, which was a moment ago.
        const { rows: [row] } = await sql(`UPDATE sekering.notification_outbox
          SET next_retry_at = now() WHERE status = 'RETRYING'
          AND next_retry_at BETWEEN created_at + $1 * interval '1 s'
            AND now() + $1 * interval '1 s' RETURNING attempt_count`, [seconds]);
        expect(row).toBeDefined();
      }
      expect((await dead)[0][0]).toMatchObject({
        status: 'DLQ', attemptCount: 5, reason: 'Max retries (5) exceeded', lastError: 'no luck',
        kind: 'Error',
      });
    });

    test('waits as long as it says', async () => {
      const worker = await it.worker({
        EMAIL: async () => { throw failing({ retryAfter: 90_000 }); },
      });
      const retry = events(worker, 'retry');
      await enqueue({ channel: 'EMAIL', recipient: 'x' });
      expect((await retry)[0][2]).toBe(90_000);
      const { rows: [row] } = await sql(`SELECT status,
          round(extract(epoch FROM next_retry_at - now()))::int AS seconds
        FROM sekering.notification_outbox`);
      expect(row.status).toBe('RETRYING');
      expect(row.seconds).toBeGreaterThan(60);
    });

    test('dies after its attempts, or at once where another could not help', async () => {
      const errors = {
        plain: failing(), refused: failing({ status: 422 }), final: new NonRetryableError('never'),
        told: failing({ retryable: false, code: 'ERR_OWN' }),
      };
      const worker = await it.worker({
        JOB: async ({ recipient }) => { throw errors[recipient]; },
      });
      const arrivals = events(it.store.deadLetters, 'arrival', 4);
      await enqueue(Object.keys(errors).map(recipient => job(recipient, { maxAttempts: 3 })));
      const dead = await events(worker, 'dead', 4);
      expect(dead.map(([letter, error]) => [letter.recipient, letter.attemptCount, letter.kind,
        error.message]).toSorted()).toEqual([
        ['final', 1, 'ERR_NON_RETRYABLE', 'never'], ['plain', 3, 'Error', 'no luck'],
        ['refused', 1, 'Error', 'no luck'], ['told', 1, 'ERR_OWN', 'no luck']]);
      expect((await arrivals).map(([{ id }]) => id)).toEqual(dead.map(([{ id }]) => id));
      expect(Object.fromEntries(dead.map(([letter]) =>
        [letter.recipient, [letter.reason, letter.lastError]]))).toEqual({
        plain: ['Max retries (3) exceeded', 'no luck'], refused: ['Permanent failure', 'no luck'],
        final: ['Permanent failure', 'never'], told: ['Permanent failure', 'no luck'],
      });
      expect(dead[0][0]).toMatchObject({ status: 'DLQ', diedAt: expect.any(Date) });
    });

    test('leaves all attempts in the history, in words that the database can hold', async () => {
      const message = `a\0\ud800${'x'.repeat(5000)}`;
      await enqueue(job('x', { maxAttempts: 100 }));
      // What is older than the last hundred leaves.
      await sql(`UPDATE sekering.notification_outbox SET error_history =
        '[{ "attempt": -1 }, { "attempt": 0 }]'`);
      const worker = await it.worker({ JOB: async () => { throw failing({ message }); } });
      const [[letter]] = await events(worker, 'dead');
      expect(letter.errorHistory.map(({ attempt }) => attempt))
        .toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
      expect(letter.lastError.length).toBeLessThanOrEqual(1000);
    });

    test('says how many errors of a long life are no longer there', async () => {
      await enqueue(job('x', { maxAttempts: 60 }));
      const worker = await it.worker({ JOB: async () => { throw failing(); } });
      const { deadLetters } = it.store;
      const [[{ id, errorHistory: first }]] = await events(worker, 'dead');
      expect(first.filter(entry => 'omitted' in entry)).toEqual([]);
      for (const [kept, errors] of [[100, 120], [100, 180]]) {
        const dead = events(worker, 'dead');
        await deadLetters.retry(id);
        const [[{ errorHistory }]] = await dead;
        expect(errorHistory).toHaveLength(kept);
        expect(errorHistory.at(-1)).toMatchObject({ attempt: 60, omitted: errors - kept });
        expect(await deadLetters.list({ content: false })).toMatchObject([{ id, errors }]);
      }
    });

    test('counts among the bytes that a worker holds', async () => {
      const count = 30;
      await enqueue(Array.from({ length: count }, (_, i) => job(`r${i}`)));
      // 100 kB each, which cannot be compressed.
      await sql(`UPDATE sekering.notification_outbox SET error_history = (
        SELECT jsonb_agg(jsonb_build_object('attempt', a, 'message', (
          SELECT string_agg(md5(id * 10000 + a * 100 + part || ''), '')
          FROM generate_series(1, 31) AS part))) FROM generate_series(1, 100) AS a)`);
      const all = gate();
      const worker = await it.worker({ JOB: { send: () => all.promise, concurrency: count } },
        { heldBytes: 1024 * 1024, concurrency: count });
      await until(() => worker.inFlight > 0);
      const statuses = await it.statuses();
      expect(statuses.filter(status => status === 'SENDING').length).toBeLessThanOrEqual(11);
      const sent = events(worker, 'sent', count);
      all.resolve();
      await sent;
    });

    test.each([undefined, null, 'text', 5, {}])('may be anything: %p', async thrown => {
      const worker = await it.worker({ JOB: async () => { throw thrown; } });
      await enqueue(job('x', { maxAttempts: 1 }));
      await events(worker, 'dead');
    });

    test('with what cannot even be read is an attempt like any other', async () => {
      const thrown = [Object.create(null), { message: Object.create(null) },
        { get code () { throw new Error('not to be read'); } }];
      await enqueue(thrown.map((_, i) => job(`${i}`, { channel: 'SLOW' })));
      const send = async ({ recipient }) => { throw thrown[recipient]; };
      const worker = await it.worker({ SLOW: send });
      await until(() => worker.stats().retried === thrown.length);
      expect(await it.statuses()).toEqual(thrown.map(() => 'RETRYING'));
    });

    test('because of its template dies at once', async () => {
      const wrong = [['{{a}} {{gone}}', '{"a":1}'], ['{{a}}', '{"a":{}}'], ['{{x}}', null],
        ['{{constructor}} {{__proto__}}', '{}']];
      await enqueue([...wrong.map((_, i) => job(`${i + 1}`)), job('ok')]);
      // The door lets none of these in: another program has.
      for (const [i, [template, data]] of wrong.entries()) {
        await sql(`UPDATE sekering.notification_outbox SET body_template = $1, body_data = $2
          WHERE recipient = $3`, [template, data, `${i + 1}`]);
      }
      const worker = await it.worker({ JOB: async () => {} });
      const dead = await events(worker, 'dead', 4);
      expect(dead.map(([{ kind }]) => kind)).toEqual(Array(4).fill('ERR_OUTBOX_TEMPLATE'));
      await until(async () => (await it.statuses())[4] === 'SENT');
    });

    test('because nobody was asked is no attempt, and moves that message alone', async () => {
      let turned = 0;
      const worker = await it.worker({
        JOB: async ({ recipient }) => {
          if (recipient !== 'busy' || turned++ === 3) return;
          throw failing({ code: 'ERATELIMITED', retryAfterMs: 30 });
        },
      });
      const { id } = await enqueue(job('busy', { maxAttempts: 1 }));
      await enqueue([job(), job()]);
      await events(worker, 'sent', 3);
      expect(turned).toBe(4);
      expect(await it.store.outbox.get(id)).toMatchObject({ attemptCount: 1, errorHistory: [] });
    });

    test('because it took too long is told so by its signal, and tried again', async () => {
      const reasons = [];
      const worker = await it.worker({
        JOB: {
          timeout: 50,
          send: (message, { signal, attempt }) => attempt > 1 || new Promise(() => {
            signal.addEventListener('abort', () => reasons.push(signal.reason.code));
          }),
        },
      });
      await enqueue(job());
      const [[, error]] = await events(worker, 'retry');
      expect(error).toMatchObject({ name: 'TimeoutError', code: 'ETIMEDOUT' });
      await events(worker, 'sent');
      expect(reasons).toEqual(['ETIMEDOUT']);
    });

    test('and is of no known channel dies, once it has waited for an hour', async () => {
      await sql(`INSERT INTO sekering.notification_outbox
          (channel, recipient, order_key, crash_count, next_retry_at)
        SELECT channel, 'x', order_key, crash_count, due
        FROM (VALUES ('FAX', now() - interval '61 min'), ('FAX', now()), ('JOB', now()))
            AS given (channel, due),
          (VALUES (NULL, 0), ('k', 0), (NULL, 1), ('k', 1)) AS kinds (order_key, crash_count)`);
      const arrivals = events(it.store.deadLetters, 'arrival', 4);
      const worker = await it.worker({ JOB: async () => {} });
      await events(worker, 'sent', 4);
      for (const [letter] of await arrivals) {
        expect(letter).toMatchObject({ channel: 'FAX', kind: 'ERR_OUTBOX_CHANNEL' });
      }
      const { rows } = await sql(`SELECT channel, status, count(*)::int AS count
        FROM sekering.notification_outbox GROUP BY channel, status ORDER BY channel, status`);
      expect(rows.map(Object.values))
        .toEqual([['FAX', 'DLQ', 4], ['FAX', 'PENDING', 4], ['JOB', 'SENT', 4]]);
    });
  });

  test('options that are wrong are refused', () => {
    const make = options => () => it.store.outbox.createWorker(options);
    const send = async () => {};
    for (const options of [undefined, {}, { channels: {} }, { channels: { FAX: send } },
      { channels: { JOB: 1 } }, { channels: { JOB: {} } },
      { channels: { JOB: { send, breaker: {} } } }, { channels: { JOB: { send, concurrency: 0 } } },
      { channels: { JOB: { send, rate: { limit: 0, interval: 1 } } } },
      { channels: { JOB: { send, timeout: 0 } } }, { channels: { JOB: send }, batchSize: 1001 },
      { channels: { JOB: send }, leaseMs: 999 }, { channels: { JOB: send }, concurrency: 0 },
      { channels: { JOB: send }, pollInterval: 1 }]) {
      expect(make(options)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
    }
  });
});
