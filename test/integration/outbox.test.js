'use strict';

// The outbox's door: what is taken in is durable, once, and in the caller's transaction.

const { Client } = require('pg');

const { openStore } = require('../../lib/store');
const { startTcpProxy } = require('../../lib/testing');
const { outboxOf } = require('../support/outbox-helpers');
const { describeEngines } = require('../support/postgres');

const mail = more => ({ channel: 'EMAIL', recipient: 'a@example.com', ...more });
const KIB_256 = 256 * 1024;

describeEngines('the outbox', ({ name, place }) => {
  const it = outboxOf(place);
  const enqueue = (...args) => it.store.outbox.enqueue(...args);
  const recipients = async () =>
    (await it.store.outbox.list()).map(({ recipient }) => recipient).reverse();

  describe('takes in', () => {
    test('a message, with all that it says', async () => {
      const message = {
        channel: 'EMAIL', recipient: 'käse@example.com', subject: 'Ünïcode 😀', template: '{{a}}',
        data: { a: 'x', n: [1, null, { deep: true }], zero: '\\u0000 is text', q: '"\'\\{}' },
        dedupeKey: 'k', orderKey: 'o', priority: 7, delay: 60_000, maxAttempts: 9,
      };
      const { id, duplicate } = await enqueue(message);
      expect(duplicate).toBe(false);
      const row = await it.store.outbox.get(id);
      const { delay, ...said } = message;
      expect(row).toMatchObject({
        ...said, id, body: null, status: 'PENDING', attemptCount: 0, errorHistory: [],
        lastError: null, sentAt: null, providerMessageId: null,
      });
      expect(row.nextRetryAt - row.createdAt).toBe(delay);
    });

    test('a message with no more than it needs', async () => {
      const { id } = await enqueue(mail());
      expect(await it.store.outbox.get(id)).toMatchObject({
        subject: null, body: null, template: null, data: null, dedupeKey: null, orderKey: null,
        priority: 0, maxAttempts: 5,
      });
    });

    test('many at once: ids in their order; none is nothing', async () => {
      const messages = Array.from({ length: 700 }, (_, i) => mail({ recipient: `r${i}` }));
      const answers = await enqueue(messages);
      const rows = await it.store.query(
        'SELECT id, recipient FROM sekering.notification_outbox ORDER BY id');
      expect(rows.rows).toEqual(answers.map(({ id }, i) => ({ id, recipient: `r${i}` })));
      expect(await enqueue([])).toEqual([]);
    });

    test('calls that come together, each with its own answer', async () => {
      const answers = await Promise.all(Array.from({ length: 300 },
        (_, i) => enqueue(mail({ recipient: `r${i}`, dedupeKey: i % 3 ? undefined : `k${i}` }))));
      for (const [i, { id }] of answers.entries()) {
        expect((await it.store.outbox.get(id)).recipient).toBe(`r${i}`);
      }
    });

    test('all but the one that the database refuses', async () => {
      await it.store.query(`ALTER TABLE sekering.notification_outbox
        ADD CONSTRAINT no_bad CHECK (recipient <> 'bad')`);
      try {
        const outcomes = await Promise.allSettled(['a', 'bad', 'b', 'c'].map(
          recipient => enqueue(mail({ recipient }))));
        expect(outcomes.map(({ status }) => status))
          .toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
        expect(outcomes[1].reason).toMatchObject({ code: 'ERR_STORE_QUERY', retryable: false });
        expect((await recipients()).toSorted()).toEqual(['a', 'b', 'c']);
        await expect(enqueue([mail(), mail({ recipient: 'bad' })])).rejects.toThrow();
        expect(await recipients()).toHaveLength(3);
      } finally {
        await it.store.query(
          'ALTER TABLE sekering.notification_outbox DROP CONSTRAINT no_bad');
      }
    });

    test('texts of 256 KiB, and none that are larger', async () => {
      const { id } = await enqueue(mail({ body: 'é'.repeat(KIB_256 / 2) }));
      expect((await it.store.outbox.get(id)).body).toHaveLength(KIB_256 / 2);
      await enqueue(mail({ data: 'x'.repeat(KIB_256 - 2) }));
      for (const more of [{ body: 'x'.repeat(KIB_256 + 1) }, { body: 'é'.repeat(KIB_256 / 2 + 1) },
        { template: 'x'.repeat(KIB_256 + 1) }, { data: 'x'.repeat(KIB_256 - 1) }]) {
        await expect(enqueue(mail(more))).rejects.toMatchObject({ code: 'ERR_OUTBOX_TOO_LARGE' });
      }
      await expect(enqueue(Array.from({ length: 10_001 }, () => mail())))
        .rejects.toMatchObject({ code: 'ERR_OUTBOX_TOO_LARGE' });
    });
  });

  describe('refuses', () => {
    const cycle = {};
    cycle.self = cycle;
    test.each([
      [null], ['text'], [mail({ recipient: undefined })], [mail({ recipient: '' })],
      [mail({ recipient: 'x'.repeat(513) })], [mail({ recipient: 'a@b.c\r\nBcc: x@y.z' })],
      [mail({ recipient: 5 })], [mail({ subject: 'a\nb' })], [mail({ subject: 'a\u2028b' })],
      [mail({ subject: 'x'.repeat(1001) })], [mail({ body: 5 })], [mail({ body: 'a\0b' })],
      [mail({ body: 'a\ud800b' })], [mail({ body: 'a', template: 'b' })], [mail({ data: cycle })],
      [mail({ data: () => {} })], [mail({ data: { at: NaN } })], [mail({ data: 10n })],
      [mail({ data: 'a\0b' })], [mail({ data: { 'a\udc00': 1 } })], [mail({ delay: -1 })],
      [mail({ delay: 1.5 })], [mail({ delay: Infinity })], [mail({ priority: 101 })],
      [mail({ maxAttempts: 0 })], [mail({ dedupeKey: '' })], [mail({ orderKey: 'x'.repeat(256) })],
      [mail({ recipents: 'x' })],
    ])('a message that is wrong, %#', async message => {
      const error = await enqueue(message).catch(caught => caught);
      expect(error).toMatchObject({ code: 'ERR_OUTBOX_MESSAGE', retryable: false });
      expect(error.message).toMatch(/^Expected/);
      await expect(enqueue([mail(), message])).rejects.toMatchObject({ code: error.code });
      expect(await recipients()).toEqual([]);
    });

    test('channels that are not there, and what a channel refuses', async () => {
      await expect(enqueue(mail({ channel: 'FAX' }))).rejects.toMatchObject({
        code: 'ERR_OUTBOX_CHANNEL',
        message: expect.stringMatching(/^Expected one of 'EMAIL', .* but received "FAX"$/),
      });
      await expect(enqueue(mail({ channel: undefined })))
        .rejects.toMatchObject({ code: 'ERR_OUTBOX_CHANNEL' });
      const validate = ({ recipient }) => { if (recipient !== 'me') throw new Error('no'); };
      it.store.outbox.registerChannel('PICKY', { validate });
      expect(it.store.outbox.channels).toContain('PICKY');
      await expect(enqueue({ channel: 'PICKY', recipient: 'you' })).rejects.toThrow('no');
      await enqueue({ channel: 'PICKY', recipient: 'me' });
      for (const [channel, definition] of [['a b'], [''], ['X', { maxAttempts: 0 }],
        ['X', { validate: 1 }], ['X', { backoff: { factor: -1 } }]]) {
        expect(() => it.store.outbox.registerChannel(channel, definition))
          .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
      }
    });

    test('everything once the store is closed', async () => {
      const store = await openStore(name === 'pglite' ? { memory: true } : it.place);
      await store.close();
      await expect(store.outbox.enqueue(mail()))
        .rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' });
    });
  });

  describe('a list of recipients', () => {
    const three = ['a@x.y', 'b@x.y', 'c@x.y'];

    test('gives each recipient a message, in order', async () => {
      const answers = await enqueue(mail({ recipient: three, subject: 'x', orderKey: 'o' }));
      const rows = await Promise.all(answers.map(({ id }) => it.store.outbox.get(id)));
      expect(rows.map(({ recipient }) => recipient)).toEqual(three);
      for (const row of rows) expect(row).toMatchObject({ subject: 'x', orderKey: 'o' });
      expect(await enqueue([mail({ recipient: three }), mail(), mail({ recipient: ['z'] })]))
        .toHaveLength(5);
      expect(await enqueue(mail({ recipient: ['z'] }))).toEqual(
        [{ id: expect.any(String), duplicate: false }]);
      expect(await recipients()).toEqual(
        [...three, ...three, 'a@example.com', 'z', 'z']);
    });

    test('has one dedupeKey, for each of them', async () => {
      const dedupeKey = 'k'.repeat(255);
      const first = await enqueue(mail({ recipient: three.slice(1), dedupeKey }));
      const again = await enqueue(mail({ recipient: three, dedupeKey }));
      expect(again).toEqual([{ id: expect.any(String), duplicate: false },
        ...first.map(({ id }) => ({ id, duplicate: true }))]);
      expect((await enqueue(mail({ recipient: 'b@x.y', dedupeKey }))).duplicate).toBe(false);
      expect(await recipients()).toHaveLength(4);
    });

    test('is rejected as a whole, with all faults of each recipient', async () => {
      it.store.outbox.registerChannel('PICKY', {
        normalize: text => text.toLowerCase(),
        validate: ({ recipient }) => {
          if (recipient === 'a') return;
          throw Object.assign(new Error('no'), {
            faults: [{ path: 'recipient', message: 'Expected a' }, { path: 'x', message: 'no x' }],
          });
        },
      });
      for (const [recipient, paths] of [
        [['A', 'b', 'c'], ['recipient[1]', 'x', 'recipient[2]']], [[], ['recipient']],
        [['A', 'a'], ['recipient[1]']], [['a', 5, '', ['a']], ['1', '2', '3'].map(
          i => `recipient[${i}]`)], [Array(1001).fill('a'), ['recipient']],
      ]) {
        const error = await enqueue({ channel: 'PICKY', recipient }).catch(caught => caught);
        expect(error.code).toBe('ERR_OUTBOX_MESSAGE');
        expect(error.faults.map(({ path }) => path).filter(path => path !== 'x')).toEqual(
          paths.filter(path => path !== 'x'));
        expect(error.faults.filter(({ path }) => path === 'x').length).toBeLessThan(2);
      }
      await expect(it.store.deadLetters.add({ channel: 'JOB', recipient: three }, 'no'))
        .rejects.toMatchObject({ code: 'ERR_OUTBOX_MESSAGE' });
      const many = Array.from({ length: 1000 }, (_, i) => `${i}`);
      await expect(enqueue(Array.from({ length: 11 }, () => mail({ recipient: many }))))
        .rejects.toMatchObject({ code: 'ERR_OUTBOX_TOO_LARGE' });
      expect(await recipients()).toEqual([]);
      const [{ id }] = await enqueue({ channel: 'PICKY', recipient: ['A'] });
      expect((await it.store.outbox.get(id)).recipient).toBe('a');
    });
  });

  describe('a template of parts', () => {
    const template = { subject: 'To {{n}}', text: 'Hi {{n}}', html: '<p>{{n}}</p>' };
    const data = { n: '<Ann>' };

    test('is filled in at once', async () => {
      const { id } = await enqueue(mail({ template, data }));
      expect(await it.store.outbox.get(id)).toMatchObject({
        template: null, subject: 'To <Ann>', body: 'Hi <Ann>', html: '<p>&lt;Ann&gt;</p>', data,
      });
      const page = await enqueue(mail({ subject: '{{n}}', body: '{{n}}', html: '<b>{{n}}</b>' }));
      expect(await it.store.outbox.get(page.id)).toMatchObject({
        subject: '{{n}}', body: '{{n}}', html: '<b>{{n}}</b>',
      });
      const both = await enqueue(mail({ body: 'x', template: { html: '{{n}}' }, data }));
      expect(await it.store.outbox.get(both.id)).toMatchObject({ body: 'x', html: '&lt;Ann&gt;' });
    });

    test.each([
      [{ template: {} }, ['template']], [{ template: [] }, ['template']],
      [{ template: 5 }, ['template']], [{ template: { body: 'x' } }, ['template.body']],
      [{ template, body: 'x', html: 'x', subject: 'x', data },
        ['template.subject', 'template.text', 'template.html']],
      [{ template }, ['template.subject', 'template.text', 'template.html']],
      [{ template, data: { n: 'a\r\nBcc: b@c.de' } }, ['template.subject']],
      [{ template: { text: '{{', html: 5, subject: null } }, ['template.text', 'template.html']],
      [{ template: { html: 'x'.repeat(KIB_256 + 1) } }, ['template.html']], [{ html: 5 }, ['html']],
      [{ template: '{{n}}', body: 'x', data }, ['template']],
      [{ html: 'x'.repeat(KIB_256 + 1) }, ['html']],
    ])('is refused with all that is wrong, %#', async (more, paths) => {
      const error = await enqueue(mail(more)).catch(caught => caught);
      expect(error.code).toMatch(/^ERR_OUTBOX_(MESSAGE|TEMPLATE|TOO_LARGE)$/);
      expect(error.faults.map(({ path }) => path).toSorted()).toEqual(paths.toSorted());
      expect(await recipients()).toEqual([]);
    });
  });

  describe('a second round', () => {
    // When the first statement of a call has ended, the message that had its key has been sent. The
    // second statement, which inserts the message with that key, does what a test says.
    async function meanwhile (fault) {
      await it.store.query(`CREATE OR REPLACE FUNCTION sekering.free_key() RETURNS trigger
        LANGUAGE plpgsql AS $$ BEGIN
          UPDATE sekering.notification_outbox SET status = 'SENT'
          WHERE recipient = 'first' AND status = 'PENDING';
          RETURN NULL;
        END $$`);
      await it.store.query(`CREATE OR REPLACE FUNCTION sekering.fail_key() RETURNS trigger
        LANGUAGE plpgsql AS $$ BEGIN ${fault}; RETURN NULL; END $$`);
      await it.store.query(`CREATE TRIGGER free_key AFTER INSERT ON sekering.notification_outbox
        FOR EACH STATEMENT EXECUTE FUNCTION sekering.free_key()`);
      await it.store.query(`CREATE TRIGGER fail_key AFTER INSERT ON sekering.notification_outbox
        FOR EACH ROW WHEN (NEW.dedupe_key = 'k') EXECUTE FUNCTION sekering.fail_key()`);
    }
    beforeEach(() => enqueue(mail({ recipient: 'first', dedupeKey: 'k' })));
    afterEach(async () => {
      for (const name of ['free_key', 'fail_key']) {
        await it.store.query(`DROP TRIGGER IF EXISTS ${name} ON sekering.notification_outbox`);
      }
    });

    const list = [mail({ recipient: 'a' }), mail({ recipient: 'b', dedupeKey: 'k' }),
      mail({ recipient: 'c' })];
    const FAULTS = [
      ['an error', "RAISE EXCEPTION 'no'"],
      ...name === 'pglite' ? [] : [
        // As a timeout does.
        ['a cancellation', 'PERFORM pg_cancel_backend(pg_backend_pid()); PERFORM pg_sleep(60)'],
        ['a lost connection', 'PERFORM pg_terminate_backend(pg_backend_pid())']],
    ];

    test('stores what the first one could not', async () => {
      await meanwhile('NULL');
      const answers = await enqueue(list);
      expect(answers.map(({ duplicate }) => duplicate)).toEqual([false, false, false]);
      const rows = await Promise.all(answers.map(({ id }) => it.store.outbox.get(id)));
      expect(rows.map(({ recipient }) => recipient)).toEqual(['a', 'b', 'c']);
      expect(await recipients()).toHaveLength(4);
    });

    test.each(FAULTS)('that fails by %s leaves nothing of a list behind', async (_, fault) => {
      await meanwhile(fault);
      await expect(enqueue(list)).rejects.toMatchObject({ name: 'StoreError' });
      expect(await recipients()).toEqual(['first']);
    });

    test.each(FAULTS)('that fails by %s fails for its call alone', async (_, fault) => {
      await meanwhile(fault);
      const outcomes = await Promise.allSettled(list.map(message => enqueue(message)));
      expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
      // Nothing is stored twice.
      expect((await recipients()).toSorted()).toEqual(['a', 'c', 'first']);
    });

    test('never ends: then a transaction keeps nothing of the list', async () => {
      // A row that is not visible as waiting, but has the key.
      await it.store.transaction(async client => {
        await client.query(`CREATE FUNCTION pg_temp.skip() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN RETURN NULL; END $$`);
        await client.query(`CREATE TRIGGER skip BEFORE INSERT ON sekering.notification_outbox
          FOR EACH ROW WHEN (NEW.dedupe_key = 'other') EXECUTE FUNCTION pg_temp.skip()`);
        await expect(enqueue([mail(), mail({ dedupeKey: 'other' })], { client }))
          .rejects.toMatchObject({ code: 'ERR_STORE_QUERY', retryable: true });
        await client.query('DROP TRIGGER skip ON sekering.notification_outbox');
      });
      expect(await recipients()).toEqual(['first']);
    });

    if (name === 'postgresql') {
      test('wherever the connection is cut, a list is stored whole or not at all', async () => {
        const proxy = await startTcpProxy({ target: it.place.url });
        const url = new URL(it.place.url);
        url.host = `127.0.0.1:${proxy.port}`;
        const store = await openStore({ ...it.place, url: url.href });
        try {
          await meanwhile('NULL');
          const counts = new Set();
          for (let bytes = 0; bytes < 6000; bytes += 151) {
            await it.store.query(`UPDATE sekering.notification_outbox SET status = 'PENDING'
              WHERE recipient = 'first'`);
            proxy.set(bytes % 2 === 0 ? { cutUp: bytes } : { cutDown: bytes });
            proxy.cutAll();
            // The new connection may be cut before the call, within it, or not yet.
            await store.query('SELECT 1').catch(() => {});
            const answer = await store.outbox.enqueue(list).catch(error => error);
            proxy.set(null);
            const { rows: [{ count }] } = await it.store.query(`WITH gone AS (
              DELETE FROM sekering.notification_outbox WHERE recipient <> 'first' RETURNING id
            ) SELECT count(*)::int AS count FROM gone`);
            if (Array.isArray(answer)) expect(count).toBe(3);
            else expect([0, 3]).toContain(count);
            counts.add(count);
          }
          expect(counts).toEqual(new Set([0, 3]));
        } finally {
          await store.close();
          await proxy.close();
        }
      });
    }
  });

  describe('dedupeKey', () => {
    test('a second message is the first one, while that waits', async () => {
      const first = await enqueue(mail({ dedupeKey: 'k' }));
      expect(await enqueue(mail({ dedupeKey: 'k' }))).toEqual({ id: first.id, duplicate: true });
      expect(await enqueue([mail(), mail({ dedupeKey: 'k' }), mail({ dedupeKey: 'new' }),
        mail({ dedupeKey: 'new' })])).toMatchObject([
        { duplicate: false }, { id: first.id, duplicate: true }, { duplicate: false },
        { duplicate: true }]);
      expect(await recipients()).toHaveLength(3);
    });

    test.each(['SENT', 'CANCELLED', 'DLQ'])('%s frees it', async status => {
      const first = await enqueue(mail({ dedupeKey: 'k' }));
      await it.store.query('UPDATE sekering.notification_outbox SET status = $1', [status]);
      const second = await enqueue(mail({ dedupeKey: 'k' }));
      expect(second.duplicate).toBe(false);
      expect(second.id).not.toBe(first.id);
    });

    test('one of fifty calls at once takes it', async () => {
      const answers = await Promise.all(Array.from({ length: 50 },
        () => enqueue(mail({ dedupeKey: 'k' }))));
      expect(answers.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
      expect(new Set(answers.map(({ id }) => id)).size).toBe(1);
    });
  });

  if (name === 'postgresql') {
    test('many keys from two sides in opposite orders', async () => {
      const database = new URL(it.place.url).pathname.slice(1);
      await it.store.query(`ALTER DATABASE ${database} SET deadlock_timeout = '20ms'`);
      const stores = await Promise.all([1, 2].map(() => openStore(it.place)));
      const mails = Array.from({ length: 2000 }, (_, i) => mail({ dedupeKey: `${i}` }));
      const [ones, others] = await Promise.all([stores[0].outbox.enqueue(mails),
        stores[1].outbox.enqueue(mails.toReversed())]);
      expect(ones.map(({ id }) => id)).toEqual(others.map(({ id }) => id).reverse());
      await Promise.all(stores.map(store => store.close()));
    });
  }

  describe('a transaction', () => {
    test('takes the message with it, or back', async () => {
      await expect(it.store.transaction(async client => {
        await enqueue(mail(), { client });
        throw new Error('no');
      })).rejects.toThrow('no');
      expect(await recipients()).toEqual([]);
      await it.store.transaction(client => enqueue([mail(), mail()], { client }));
      expect(await recipients()).toHaveLength(2);
    });

    if (name === 'postgresql') {
      test('may be that of a client of pg', async () => {
        const client = new Client({ connectionString: it.place.url });
        await client.connect();
        const heard = [];
        const worker = await it.worker({ EMAIL: async () => { heard.push(performance.now()); } },
          { pollInterval: 60_000 });
        try {
          await client.query('BEGIN');
          await enqueue(mail({ recipient: 'gone' }), { client });
          await client.query('ROLLBACK');
          await client.query('BEGIN');
          await enqueue(mail({ recipient: 'here' }), { client });
          await enqueue([mail({ recipient: 'there' })], { client });
          expect(await recipients()).toEqual([]);
          const sent = new Promise(resolve => { worker.once('sent', resolve); });
          await client.query('COMMIT');
          // Nothing but the news of the commit can have told the worker.
          expect(await sent).toMatchObject({ recipient: 'here' });
          expect(heard.length).toBeGreaterThan(0);
          expect(client.connection.listenerCount('readyForQuery')).toBe(
            new Client().connection.listenerCount('readyForQuery') + 1);
        } finally {
          await client.end();
        }
      });

      test('is that of a client of pg, and of nothing else', async () => {
        const client = new Client({ connectionString: it.place.url });
        for (const other of [{ query: async () => {} }, 1, null]) {
          await expect(enqueue(mail(), { client: other }))
            .rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
        }
        await expect(enqueue(mail(), { client })).rejects.toThrow();
      });
    }
  });

  describe('shows', () => {
    test('messages, newest first, by what is asked for', async () => {
      const answers = await enqueue([
        mail({ recipient: '100%@a.b' }), mail({ recipient: 'x@a.b', subject: 'Invoice_7' }),
        { channel: 'JOB', recipient: '1000' }]);
      const ids = answers.map(({ id }) => id);
      const list = async filter => (await it.store.outbox.list(filter)).map(({ id }) => id);
      expect(await list()).toEqual(ids.toReversed());
      expect(await list({ limit: 1 })).toEqual([ids[2]]);
      expect(await list({ before: ids[2] })).toEqual([ids[1], ids[0]]);
      expect(await list({ channel: 'EMAIL' })).toEqual([ids[1], ids[0]]);
      expect(await list({ search: '0%' })).toEqual([ids[0]]);
      expect(await list({ search: 'invoice_' })).toEqual([ids[1]]);
      expect(await list({ status: 'SENT' })).toEqual([]);
      await expect(list({ status: 'NEW' })).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
      await expect(list({ limit: 0 })).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
      for (const id of ['', 'x', '1; DROP', '9'.repeat(19), '9'.repeat(30), 1, undefined]) {
        expect(await it.store.outbox.get(id)).toBeUndefined();
      }
    });

    test('figures', async () => {
      await enqueue([mail(), mail(), mail({ delay: 60_000 }), { channel: 'JOB', recipient: 'x' }]);
      await it.store.query(`UPDATE sekering.notification_outbox SET status = 'SENT' WHERE id = 1`);
      await it.store.query(`UPDATE sekering.notification_outbox
        SET next_retry_at = now() - interval '5 s' WHERE id = 2`);
      const { channels, waiting, oldestMs, sampled } = await it.store.outbox.stats();
      expect(sampled).toBe(false);
      expect(channels.EMAIL).toEqual({
        PENDING: 2, SENDING: 0, RETRYING: 0, SENT: 1, DLQ: 0, CANCELLED: 0,
      });
      expect(channels.WHATSAPP.PENDING).toBe(0);
      expect(waiting).toBe(3);
      expect(oldestMs).toBeGreaterThanOrEqual(5000);
      expect(oldestMs).toBeLessThan(60_000);
    });

    test('figures beside many sent ones, which are not all read', async () => {
      await it.store.query(`INSERT INTO sekering.notification_outbox
          (channel, recipient, status, body, order_key, crash_count)
        SELECT CASE WHEN i % 4 = 0 THEN 'FAX' ELSE 'JOB' END, 'x',
          CASE i % 2000 WHEN 1 THEN 'PENDING' WHEN 2 THEN 'RETRYING' WHEN 3 THEN 'SENDING'
            WHEN 5 THEN 'DLQ' ELSE 'SENT' END,
          repeat('x', 1800), CASE WHEN i % 3 = 0 THEN 'k' || i END,
          CASE WHEN i % 2000 = 2 THEN 1 ELSE 0 END
        FROM generate_series(1, 16000) AS i`);
      const { channels, waiting, sampled } = await it.store.outbox.stats();
      expect(sampled).toBe(true);
      expect(channels.JOB).toMatchObject({ PENDING: 8, RETRYING: 8, SENDING: 8, DLQ: 8 });
      expect(waiting).toBe(24);
      expect(Math.abs(channels.JOB.SENT - 12_000)).toBeLessThan(1200);
      expect(Math.abs(channels.FAX.SENT - 4000)).toBeLessThan(400);
      const exact = await it.store.outbox.stats({ exact: true });
      expect(exact).toMatchObject({ waiting: 24, sampled: false });
      expect([exact.channels.JOB.SENT, exact.channels.FAX.SENT]).toEqual([12_000 - 32, 4000]);
      await expect(it.store.outbox.stats({ exact: 1 }))
        .rejects.toMatchObject({ code: 'ERR_INVALID_OPTION', option: 'exact' });
    });

    test('cancelling takes what waits, once', async () => {
      const { id } = await enqueue(mail());
      expect(await it.store.outbox.cancel(id)).toBe(true);
      expect(await it.store.outbox.cancel(id)).toBe(false);
      expect((await it.store.outbox.get(id)).status).toBe('CANCELLED');
      expect(await it.store.outbox.cancel('nothing')).toBe(false);
    });
  });
});
