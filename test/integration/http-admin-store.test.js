'use strict';

// The admin API on a store: dead letters, outbox, payments, and the audit log that stays.

const { execFile } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');

const { openStore } = require('../../lib/store');
const { OPERATOR, breakerOf, endAll, later, start } = require('../support/admin-helpers');
const { describeEngines } = require('../support/postgres');

const CLI = path.join(__dirname, '..', '..', 'lib', 'cli', 'index.js');

afterEach(endAll);

describeEngines('the admin API', ({ place }) => {
  let store;
  beforeAll(async () => { store = await openStore(await place()); }, 60_000);
  afterAll(() => store?.close());

  const letter = (recipient, reason, kind = 'ESMTP_REJECTED') => store.deadLetters.add(
    { channel: 'EMAIL', recipient, subject: 'Ticket', body: 'Gundala' }, reason, { kind });

  test('dead letters are listed, shown, retried and deleted', async () => {
    const { get, post } = await start({ store });
    const [a, b, c] = [await letter('a@example.com', 'no such mailbox'),
      await letter('b@example.com', 'mailbox full', 'EFULL'), await letter('c@example.com', 'no')];
    const { letters } = (await get('/dlq')).body;
    expect(letters.map(({ id }) => id)).toEqual([c.id, b.id, a.id]);
    expect(letters[2]).toMatchObject({ recipient: 'a@example.com', reason: 'no such mailbox' });
    expect(letters[2]).not.toHaveProperty('body');
    expect((await get(`/dlq/${a.id}`)).body).toMatchObject({ body: 'Gundala', errorHistory: [] });
    expect((await get('/dlq?kind=EFULL')).body.letters.map(({ id }) => id)).toEqual([b.id]);
    expect((await get(`/dlq?limit=1&before=${b.id}`)).body.letters.map(({ id }) => id))
      .toEqual([a.id]);
    expect((await get('/dlq/summary')).body).toMatchObject({ total: 3 });

    expect((await post(`/dlq/${a.id}/retry`)).body).toEqual({ id: a.id, retried: true });
    expect((await get(`/outbox/${a.id}`)).body).toMatchObject({ status: 'PENDING' });
    expect((await post(`/dlq/${a.id}/retry`)).status).toBe(404);
    expect((await post('/dlq/retry', { kind: 'EFULL', rate: 5 })).body).toEqual({ retried: 1 });

    const { status, body } = await post('/dlq/purge', { reason: 'old' });
    expect([status, body.detail]).toEqual([400, 'needs either a filter or "all": true']);
    expect((await post('/dlq/purge', { all: true, kind: 'x', reason: 'old' })).status).toBe(400);
    expect((await post('/dlq/purge', { ids: [c.id] })).status).toBe(400);
    expect((await post('/dlq/retry', { since: 'today' })).status).toBe(400);
    const soon = Date.now() + 3_600_000;
    expect((await get(`/dlq?since=${soon}`)).body.letters).toEqual([]);
    expect((await post('/dlq/purge', { since: soon, reason: 'old' })).body).toEqual({ purged: 0 });
    // In the query, all is text.
    expect((await post('/dlq/purge?until=1&reason=old')).body).toEqual({ purged: 0 });
    expect((await post('/dlq/retry?limit=5&rate=2.5&kind=none')).body).toEqual({ retried: 0 });
    expect((await post('/dlq/retry?limit=many')).status).toBe(400);
    expect((await post(`/dlq/purge?all=true&reason=old&ids=${c.id}`)).status).toBe(400);
    expect((await post(`/dlq/purge?ids=${c.id},77&olderThan=0&reason=old`)).body)
      .toEqual({ purged: 1 });
    expect((await get('/dlq')).body.letters).toEqual([]);
    for (const id of ['0', '-1', 'a', '9'.repeat(19), '1%20OR%201']) {
      expect((await get(`/dlq/${id}`)).status).toBe(400);
    }
    expect((await get('/dlq/9223372036854775807')).status).toBe(404);
  });

  test('of a letter with more errors than are kept, all are counted', async () => {
    const { get, url } = await start({ store });
    const { id } = await letter('lives@example.com', 'mailbox full');
    await store.query(`UPDATE ${store.schema}.notification_outbox SET error_history = (
      SELECT jsonb_agg(jsonb_build_object('attempt', i, 'at', now(), 'message', 'no', 'omitted', i))
      FROM generate_series(1, 100) AS i) WHERE id = $1`, [id]);
    expect((await get('/dlq')).body.letters).toMatchObject([{ id, errors: 200 }]);
    expect((await get('/outbox?search=lives')).body.messages).toMatchObject([{ id, errors: 200 }]);
    const { stdout } = await promisify(execFile)(process.execPath,
      [CLI, '--url', url, 'dlq', 'show', id],
      { env: { ...process.env, SEKERING_TOKEN: OPERATOR } });
    expect(stdout).toMatch(/^errors +200, of which the last 100 follow$/m);
    await store.deadLetters.purge();
  });

  test('the outbox is shown', async () => {
    const { get } = await start({ store });
    const { id } = await store.outbox.enqueue(
      { channel: 'WHATSAPP', recipient: '6281234567890', body: 'Halo', delay: 60_000 });
    const { channels, waiting } = (await get('/outbox/stats')).body;
    expect(channels.WHATSAPP.PENDING).toBe(1);
    expect(waiting).toBeGreaterThan(0);
    const { messages } = (await get('/outbox?channel=WHATSAPP&status=PENDING')).body;
    expect(messages.map(message => message.id)).toEqual([id]);
    expect(messages[0]).not.toHaveProperty('body');
    expect((await get(`/outbox/${id}`)).body.body).toBe('Halo');
    expect((await get('/outbox?status=LOST')).status).toBe(400);
  });

  test('what a provider told of a message stands beside it', async () => {
    const { get } = await start({ store });
    const { id } = await store.deadLetters.add(
      { channel: 'WHATSAPP', recipient: '6281234567890', body: 'Halo' }, 'no answer');
    const { createdAt } = await store.outbox.get(id);
    // Its answer was lost, so that nobody but the webhook knows that it arrived.
    await store.deliveries.record([{ messageId: 'wamid.1', status: 'delivered', errors: [],
      reference: `${id}.${createdAt.getTime().toString(36)}` }]);
    const delivery = { status: 'delivered', providerMessageId: 'wamid.1' };
    for (const path of [`/dlq/${id}`, `/outbox/${id}`]) {
      expect((await get(path)).body).toMatchObject({ delivery });
    }
    expect((await get('/dlq?channel=WHATSAPP')).body.letters).toMatchObject([{ id, delivery }]);
    expect((await get('/dlq/9223372036854775806')).status).toBe(404);
    await store.deadLetters.purge({ ids: [id] });
  });

  test('payments are shown without what one could pay or sign with', async () => {
    const { get, post } = await start({ store, onError: () => {} });
    await store.payments.createOrder({
      orderId: 'FILM-1', amountMinor: 5_000_000n, token: 'snap-token-1',
      redirectUrl: 'https://example.com/snap-token-1',
    });
    const { text, body } = await get('/payments?search=FILM');
    expect(body.payments).toMatchObject([
      { orderId: 'FILM-1', amountMinor: '5000000', currency: 'IDR', hasToken: true },
    ]);
    expect(text).not.toMatch('snap-token');
    const { text: one } = await get('/payments/FILM-1');
    expect(one).not.toMatch('snap-token');
    expect(one).toMatch('created');
    expect((await get('/payments/FILM-1/events')).body).toEqual({ events: [] });
    expect((await get('/payments?held=true')).body.payments).toEqual([]);
    expect((await get('/payments/FILM-2')).status).toBe(404);
    expect((await get('/payments/FILM%202')).status).toBe(400);
    expect((await get('/payments?state=lost')).status).toBe(400);
    expect((await post('/payments/FILM-1/review', { decision: 'apply' })).status).toBe(400);
  });

  test('the audit log outlives the process', async () => {
    const breaker = breakerOf();
    const { post } = await start({ store, breakers: () => [breaker] });
    const path = `/circuit-breakers/${encodeURIComponent(breaker.name)}/reset`;
    await post(path, { reason: 'said “all is well”' });
    const { get } = await start({ store });
    const { stored, entries } = (await get('/audit?limit=1')).body;
    expect(stored).toBe(true);
    expect(entries).toMatchObject([{
      actor: 'Ani', action: 'breaker.reset', target: breaker.name, reason: 'said “all is well”',
      result: 'done', address: '127.0.0.1',
    }]);
    expect(Date.now() - Date.parse(entries[0].at)).toBeLessThan(60_000);
    const { entries: older } = (await get(`/audit?before=${entries[0].id}`)).body;
    expect(older.every(({ id }) => BigInt(id) < BigInt(entries[0].id))).toBe(true);
    expect((await get('/audit?limit=501')).status).toBe(400);
  });

  test('a change is made and remembered also while the store is away', async () => {
    const breaker = breakerOf();
    const { get, post, log } = await start({ store, breakers: () => [breaker] });
    breaker.open();
    // The last test: to open another one takes its time.
    await store.close();
    const warn = jest.spyOn(process, 'emitWarning').mockReturnValue();
    later(() => warn.mockRestore());
    const path = `/circuit-breakers/${encodeURIComponent(breaker.name)}/reset`;
    expect((await post(path)).status).toBe(200);
    expect(breaker.opened).toBe(false);
    expect(log).toHaveLength(1);
    expect(warn.mock.calls[0][0]).toMatch('audit log could not be stored');
    expect((await get('/dlq')).body).toMatchObject({ status: 503, code: 'ERR_STORE_CLOSED' });
  });
});
