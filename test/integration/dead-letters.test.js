'use strict';

// Dead letters: how they come, are looked at, tried again, recovered, and go; and retention.

const { outboxOf, events, until } = require('../support/outbox-helpers');
const { describeEngines } = require('../support/postgres');

const TABLE = 'sekering.notification_outbox';

describeEngines('dead letters', ({ name, place }) => {
  const it = outboxOf(place);
  const enqueue = (...args) => it.store.outbox.enqueue(...args);
  const sql = (...args) => it.store.query(...args);
  const letters = () => it.store.deadLetters;

  /** So many dead ones: of each kind in turn, oldest first. */
  async function bury (count, kinds = ['A'], more = {}) {
    await sql(`INSERT INTO ${TABLE} (channel, recipient, status, attempt_count, dead_kind,
        dead_reason, died_at, last_error)
      SELECT 'JOB', 'r' || i, 'DLQ', 5, ($2::text[])[1 + (i - 1) % cardinality($2::text[])], 'why',
        now() - ${more.age ?? "interval '0'"}, 'error ' || i
      FROM generate_series(1, $1::int) AS i ORDER BY i`, [count, kinds]);
    return (await letters().list({ limit: 1000 })).map(({ id }) => id).reverse();
  }

  describe('come', () => {
    test('as new messages, and as ones that waited', async () => {
      const arrivals = events(letters(), 'arrival', 3);
      const fresh = await letters().add({ channel: 'JOB', recipient: 'x', data: { a: 1 } }, 'why');
      const { id } = await enqueue({ channel: 'JOB', recipient: 'y' });
      const moved = await letters().add(id, 'because', { kind: 'OWN' });
      expect(fresh).toMatchObject({
        recipient: 'x', data: { a: 1 }, status: 'DLQ', reason: 'why',
        kind: 'ERR_OUTBOX_GIVEN_UP', diedAt: expect.any(Date), attemptCount: 0,
      });
      expect(moved).toMatchObject({ id, recipient: 'y', reason: 'because', kind: 'OWN' });
      for (const wrong of [id, 'nothing', { channel: 'JOB' }]) {
        await expect(letters().add(wrong, 'x'))
          .rejects.toMatchObject({ code: 'ERR_OUTBOX_MESSAGE' });
      }
      await it.store.transaction(async client => {
        await letters().add({ channel: 'JOB', recipient: 'z' }, 'tx', { client });
      });
      expect((await arrivals).map(([letter]) => letter.recipient)).toEqual(['x', 'y', 'z']);
      await expect(it.store.transaction(async client => {
        await letters().add({ channel: 'JOB', recipient: 'gone' }, 'tx', { client });
        throw new Error('no');
      })).rejects.toThrow('no');
      expect(await letters().count()).toBe(3);
    });
  });

  describe('are looked at', () => {
    test('newest first, by page and by what is asked for', async () => {
      const ids = await bury(7, ['A', 'B']);
      await enqueue({ channel: 'JOB', recipient: 'waits' });
      const list = async filter => (await letters().list(filter)).map(({ id }) => id);
      expect(await list({ limit: 3 })).toEqual(ids.slice(4).reverse());
      expect(await list({ limit: 3, before: ids[4] })).toEqual(ids.slice(1, 4).reverse());
      expect(await list({ kind: 'B' })).toEqual([ids[5], ids[3], ids[1]]);
      expect(await list({ search: 'ERROR 3' })).toEqual([ids[2]]);
      expect(await list({ channel: 'EMAIL' })).toEqual([]);
      expect(await letters().count({ kind: 'A' })).toBe(4);
      expect(await letters().summary()).toEqual([
        { channel: 'JOB', kind: 'A', count: 4 }, { channel: 'JOB', kind: 'B', count: 3 }]);
      expect(await letters().get(ids[0])).toMatchObject({ id: ids[0], reason: 'why', kind: 'A' });
      expect(await letters().get('8')).toBeUndefined();
      expect(await letters().get('x')).toBeUndefined();
    });
  });

  describe('are tried again', () => {
    test('one, with all attempts, at once', async () => {
      const [id] = await bury(1);
      const worker = await it.worker({ JOB: async () => {} }, { pollInterval: 60_000 });
      await until(() => worker.lastBeat > 0);
      const sent = events(worker, 'sent');
      expect(await letters().retry(id)).toBe(true);
      expect((await sent)[0][0]).toMatchObject({ id, attemptCount: 1, lastError: 'error 1' });
      expect(await letters().retry(id)).toBe(false);
      expect(await letters().retry('x')).toBe(false);
    });

    test('many, by filter, up to a limit, at a rate', async () => {
      const ids = await bury(2500, ['A', 'B', 'A', 'A', 'A']);
      expect(await letters().retryMany({ kind: 'B' })).toEqual({ retried: 500 });
      expect(await letters().retryMany({ ids: [ids[0], ids[2], ids[1], 'x', '999999'] }))
        .toEqual({ retried: 2 });
      const { rows: [{ began }] } = await sql('SELECT clock_timestamp()::text AS began');
      expect(await letters().retryMany({ limit: 1500, rate: 100 })).toEqual({ retried: 1500 });
      const { rows: [seconds] } = await sql(`SELECT
          extract(epoch FROM max(next_retry_at) - $1::timestamptz)::float8 AS after_it_began,
          extract(epoch FROM max(next_retry_at) - now())::float8 AS after_it_ended
        FROM ${TABLE}`, [began]);
      expect(seconds.after_it_began).toBeGreaterThanOrEqual(13);
      expect(seconds.after_it_ended).toBeLessThanOrEqual(15);
      expect(await letters().count()).toBe(2500 - 2002);
      await expect(letters().retryMany({ rate: 0 }))
        .rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
    });

    test('but not beside a waiting one with the same key, and one of several', async () => {
      const add = key => letters().add({ channel: 'JOB', recipient: 'x', dedupeKey: key }, 'why');
      const dead = [await add('taken'), await add('twice'), await add('twice'), await add('free')];
      await enqueue({ channel: 'JOB', recipient: 'x', dedupeKey: 'taken' });
      expect(await letters().retry(dead[0].id)).toBe(false);
      expect(await letters().retryMany()).toEqual({ retried: 2 });
      expect((await letters().list()).map(({ dedupeKey }) => dedupeKey))
        .toEqual(['twice', 'taken']);
    });
  });

  test('are listed, counted, tried again and deleted by the time of their creation', async () => {
    // One came in each of the last four hours.
    const ids = await bury(4);
    await sql(`UPDATE ${TABLE} o SET created_at = now() - (5 - i) * interval '1 h'
      FROM unnest($1::bigint[]) WITH ORDINALITY AS given (id, i) WHERE o.id = given.id`, [ids]);
    const { rows: [{ now }] } = await sql('SELECT extract(epoch FROM now())::float8 * 1000 AS now');
    const ago = hours => Math.floor(now - hours * 3_600_000);
    const left = async filter => (await letters().list(filter)).map(({ id }) => id).reverse();
    expect(await left({ since: ago(3.5) })).toEqual(ids.slice(1));
    expect(await left({ since: ago(3.5), until: ago(1.5) })).toEqual(ids.slice(1, 3));
    expect(await letters().count({ until: ago(1.5) })).toBe(3);
    expect(await letters().retryMany({ since: ago(2.5), until: ago(1.5) })).toEqual({ retried: 1 });
    expect(await left()).toEqual([ids[0], ids[1], ids[3]]);
    expect(await letters().purge({ until: ago(3.5) })).toBe(1);
    expect(await letters().purge({ since: ago(1.5) })).toBe(1);
    expect(await left()).toEqual([ids[1]]);
    await expect(letters().purge({ since: 'yesterday' }))
      .rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
  });

  describe('are recovered by kind', () => {
    test('each as its strategy says', async () => {
      const ids = await bury(250, ['RETRY', 'DROP', 'KEEP', 'NEW', 'BAD', 'OTHER', 'THROWS']);
      const warned = events(letters(), 'warning', 72);
      const kept = [];
      const counts = await letters().recover({
        RETRY: () => 'retry', DROP: async () => 'drop', KEEP: () => 'keep', BAD: () => 'what',
        NEW: ({ recipient }) => ({ channel: 'EMAIL', recipient: `new ${recipient}` }),
        THROWS: () => { throw new Error('no'); },
        '*': letter => { kept.push(letter.kind); return 'keep'; },
      }, { limit: 300 });
      expect(counts).toEqual({ retried: 36, dropped: 36, replaced: 36, kept: 71, failed: 71 });
      expect(new Set(kept)).toEqual(new Set(['OTHER']));
      const by = (await it.store.outbox.stats()).channels;
      expect(by.JOB).toMatchObject({ PENDING: 36, CANCELLED: 72, DLQ: 142 });
      expect(by.EMAIL.PENDING).toBe(36);
      // A strategy that makes what the outbox refuses leaves the letter where it was.
      expect(await letters().recover({ KEEP: () => ({ channel: 'FAX' }) }))
        .toMatchObject({ failed: 36 });
      expect((await warned).length).toBe(72);
      expect(await letters().get(ids[2])).toBeDefined();
      await expect(letters().recover({ A: 'retry' }))
        .rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
    });
  });

  describe('go', () => {
    test('by purge, of a kind or an age, for good', async () => {
      await bury(1200, ['A', 'B']);
      await bury(5, ['OLD'], { age: "interval '2 h'" });
      expect(await letters().purge({ kind: 'B' })).toBe(600);
      expect(await letters().purge({ olderThan: 3_600_000 })).toBe(5);
      const [{ id }] = await letters().list({ limit: 1 });
      expect(await letters().purge({ ids: [id] })).toBe(1);
      expect(await letters().purge()).toBe(599);
      await expect(letters().purge({ ids: 'all' }))
        .rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
    });

    test('by retention, which keeps what waits and what is young', async () => {
      await sql(`INSERT INTO ${TABLE} (channel, recipient, status, created_at, sent_at, died_at)
        SELECT 'JOB', status || age, status, now() - age * interval '1 day',
          CASE status WHEN 'SENT' THEN now() - age * interval '1 day' END,
          CASE status WHEN 'DLQ' THEN now() - age * interval '1 day' END
        FROM unnest(ARRAY['SENT', 'DLQ', 'CANCELLED', 'PENDING', 'RETRYING']) AS status,
          generate_series(1, 40) AS age ORDER BY age DESC`);
      expect(await it.store.cleanUp({ batchSize: 7 })).toMatchObject({ sent: 68, dead: 11 });
      expect(await it.store.cleanUp({ batchSize: 7 })).toMatchObject({ sent: 0, dead: 0 });
      const { rows } = await sql(`SELECT status, count(*)::int AS count FROM ${TABLE}
        GROUP BY status ORDER BY status`);
      expect(rows).toEqual([['CANCELLED', 6], ['DLQ', 29], ['PENDING', 40], ['RETRYING', 40],
        ['SENT', 6]].map(([status, count]) => ({ status, count })));
      expect(await it.store.cleanUp({ sent: false, dead: 0 })).toMatchObject({ sent: 0, dead: 29 });
      expect(await it.store.cleanUp({ sent: 0, dead: false })).toMatchObject({ sent: 12, dead: 0 });
      await expect(it.store.cleanUp({ sent: -1 }))
        .rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
    });

    if (name === 'postgresql') {
      test('without waiting for whoever uses a row', async () => {
        await bury(3, ['A'], { age: "interval '60 days'" });
        await it.store.transaction(async client => {
          await client.query(`SELECT 1 FROM ${TABLE} WHERE recipient = 'r2' FOR UPDATE`);
          expect(await it.store.cleanUp({ dead: 1000 })).toMatchObject({ dead: 2 });
        });
      });
    }
  });
});
