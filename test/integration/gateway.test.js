'use strict';

const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { setImmediate: turn } = require('node:timers/promises');

const { createGateway } = require('../../lib/gateway');
const { startServer } = require('../../lib/http');
const { useVirtualClock } = require('../../lib/testing');
const { describeEngines, startPostgres } = require('../support/postgres');
const {
  SECRETS, collector, configFor, order, startAll, startFakes, until
} = require('../support/gateway-helpers');

// How long Midtrans is waited for; customers wait for a quarter of it.
const MIDTRANS_MS = 8000;

const { shopToken, readToken, operateToken } = SECRETS;

describeEngines('a gateway', ({ place }) => {
  let it;
  const paid = [];
  beforeAll(async () => {
    it = await startAll(await place(), {
      upstreams: {
        films: { preset: 'movieApi', cache: true, retry: { retries: 0 } },
        words: { preset: 'aiProvider', default: 'We will answer soon.', retry: { retries: 0 } },
        other: { retry: { retries: 0 } }
      },
      // A busy machine must not take an order that was made for one that hangs.
      midtrans: { timeout: MIDTRANS_MS },
      retry: { fallback: { maxWait: MIDTRANS_MS / 4 } },
      degradation: { hysteresis: 0 },
    }, { hooks: { onPaid: ({ orderId }) => { paid.push(orderId); } } });
  });
  afterAll(() => it?.close());

  const post = (body, headers) => it.ask('/orders', { token: shopToken, body, headers });
  const mended = async () => {
    it.midtrans.set(null);
    await until(async () => {
      if (it.gateway.breakers.midtrans.closed) return true;
      await it.gateway.clients.midtrans.status('probe').catch(() => {});
      return it.gateway.breakers.midtrans.closed;
    });
  };

  test('an order is answered with its page, and the same one again with the same', async () => {
    const first = await post(order('shop-1'));
    expect(first.status).toBe(201);
    expect(first.headers.get('location')).toBe('/orders/shop-1');
    expect(first.body).toEqual({
      queued: false, orderId: 'shop-1', state: 'created',
      token: it.midtrans.orders.get('shop-1').token,
      redirectUrl: it.midtrans.orders.get('shop-1').redirectUrl
    });
    expect((await post(order('shop-1'))).body).toEqual(first.body);
    expect((await it.ask('/orders/shop-1', { token: shopToken })).body)
      .toMatchObject({ state: 'created', amountMinor: '1000000', token: first.body.token });
    expect((await post(order('shop-1', 5))).status).toBe(409);
    expect((await it.ask('/orders/none', { token: shopToken })).status).toBe(404);
    for (const odd of ['%00', '..%2f..', 'x'.repeat(51)]) {
      expect((await it.ask(`/orders/${odd}`, { token: shopToken })).status).toBe(400);
    }
  });

  test('a key of idempotency: the same answer, byte for byte, and one order', async () => {
    const headers = { 'idempotency-key': '"key-1"' };
    const first = await post(order('shop-2'), headers);
    const again = await post(order('shop-2'), headers);
    expect(again.text).toBe(first.text);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect(first.headers.get('idempotency-replayed')).toBe(null);
    for (const name of ['location', 'content-type', 'cache-control', 'x-content-type-options']) {
      expect([name, again.headers.get(name)]).toEqual([name, first.headers.get(name)]);
    }
    expect((await post(order('shop-3'), headers)).status).toBe(422);
    expect(it.midtrans.orders.has('shop-3')).toBe(false);
    // Nor may a body with mistakes have the key; a key of its own gets the refusal again.
    expect((await post({}, headers)).status).toBe(422);
    const refusals = [];
    for (let i = 0; i < 2; i += 1) {
      const { status, text, headers: got } = await post({}, { 'idempotency-key': '"key-wrong"' });
      refusals.push([status, text, got.get('idempotency-replayed')]);
    }
    expect(refusals).toEqual([[400, refusals[0][1], null], [400, refusals[0][1], 'true']]);
  });

  test('many at once with one key: one order, whose answer all others get, or 409', async () => {
    const headers = { 'idempotency-key': '"key-many"' };
    const answers = await Promise.all(Array.from({ length: 20 }, () =>
      post(order('shop-many'), headers)));
    const replayed = ({ headers: got }) => got.get('idempotency-replayed') === 'true';
    const made = answers.filter(({ status }) => status === 201);
    expect(made.filter(answer => !replayed(answer))).toHaveLength(1);
    for (const { text } of made) expect(text).toBe(made[0].text);
    for (const { status, body } of answers.filter(answer => !made.includes(answer))) {
      expect([status, body.code]).toEqual([409, 'ERR_IDEMPOTENCY_IN_PROGRESS']);
    }
    expect(it.midtrans.orders.has('shop-many')).toBe(true);
    expect(it.midtrans.orders.has('shop-many~2')).toBe(false);
  });

  test('while Midtrans is known to be away, the answer to a key is that the order waits',
    async () => {
      const headers = { 'idempotency-key': '"key-away"' };
      it.gateway.breakers.midtrans.open();
      const first = await post(order('shop-away'), headers);
      expect([first.status, first.body.queued]).toEqual([202, true]);
      await mended();
      const again = await post(order('shop-away'), headers);
      expect([again.status, again.text]).toEqual([202, first.text]);
      expect(again.headers.get('idempotency-replayed')).toBe('true');
      expect((await post(order('shop-other'), headers)).status).toBe(422);
    });

  test('while the database is known to be away, a key is not used', async () => {
    const headers = { 'idempotency-key': '"key-shut"' };
    const { database } = it.gateway.breakers;
    database.open();
    const { status, body } = await post(order('shop-shut'), headers);
    expect([status, body.code]).toEqual([503, 'EOPENBREAKER']);
    database.close();
    expect((await post(order('shop-shut'), headers)).status).toBe(201);
  });

  test('nobody posts without a token, and nonsense is refused as a problem', async () => {
    for (const path of ['/orders', '/notifications']) {
      expect((await it.ask(path, { body: {} })).status).toBe(401);
      expect((await it.ask(path, { body: {}, token: operateToken })).status).toBe(401);
    }
    const wrong = [
      [{}, 400], ['{', 400], [order('a b'), 400], [order('x', 1.5), 400],
      [{ ...order('x'), padding: 'x'.repeat(70_000) }, 413]
    ];
    for (const [body, status] of wrong) {
      const answer = await post(body);
      expect([answer.status, answer.headers.get('content-type')])
        .toEqual([status, 'application/problem+json']);
      expect(answer.body.status).toBe(status);
    }
    expect(it.midtrans.orders.has('x')).toBe(false);
  });

  test('when the database is back, an order that waits for Midtrans keeps no other', async () => {
    const { database } = it.gateway.breakers;
    const shut = once(database, 'halfOpen');
    database.open();
    await expect(it.gateway.payments.createOrder(order('shut-1')))
      .rejects.toMatchObject({ code: 'EOPENBREAKER' });
    await shut;
    it.midtrans.set('mute');
    const { requests } = it.midtrans.counts;
    const first = it.gateway.payments.createOrder(order('probe-1'));
    await until(() => it.midtrans.counts.requests > requests);
    const second = it.gateway.payments.createOrder(order('probe-2'));
    expect(await Promise.all([first, second])).toMatchObject([{ queued: true }, { queued: true }]);
    await mended();
  });

  test('Midtrans hangs: the customer waits no longer than maxWait, and the order is made',
    async () => {
      it.midtrans.set('mute');
      const began = performance.now();
      const { status, body, headers } = await post(order('late-1'));
      expect(performance.now() - began).toBeLessThan(MIDTRANS_MS);
      expect(status).toBe(202);
      expect(body).toMatchObject({ queued: true, orderId: 'late-1', status: '/orders/late-1' });
      expect(headers.get('retry-after')).toBe('60');
      await mended();
      const made = await until(async () => {
        const { body: now } = await it.ask('/orders/late-1', { token: shopToken });
        return now.token && now;
      });
      // The first page's token was never heard of: another one was made, and the first is no use.
      const pages = [...it.midtrans.orders.values()].filter(page => /^late-1\b/.test(page.orderId));
      expect(pages.map(({ token }) => token)).toContain(made.token);
    });

  test('Midtrans is down: the breaker opens, orders are queued at once, and all are made later',
    async () => {
      it.midtrans.set('error');
      const { midtrans: breaker } = it.gateway.breakers;
      const ids = [];
      const take = async () => {
        ids.push(`down-${ids.length}`);
        const { status, body } = await post(order(ids.at(-1)));
        expect(status).toBe(202);
        return body.error;
      };
      let probes = 0;
      const hear = () => { probes += 1; };
      breaker.on('halfOpen', hear);
      // The first failures open it; after that nobody asks Midtrans but a probe now and then.
      while (await take() !== 'EOPENBREAKER') expect(ids.length).toBeLessThan(100);
      const errors = [];
      while (errors.length < 10) errors.push(await take());
      breaker.off('halfOpen', hear);
      expect(errors.filter(code => code !== 'EOPENBREAKER').length).toBeLessThanOrEqual(probes);
      it.midtrans.set(null);
      await until(() => ids.every(id => it.midtrans.orders.has(id)), 30_000);
      for (const id of ids) {
        const order = await until(async () => {
          const found = await it.gateway.store.payments.get(id);
          return found.token && found;
        });
        expect(order.token).toBe(it.midtrans.orders.get(id).token);
      }
    });

  test('an order that Midtrans refuses is not queued', async () => {
    await mended();
    it.midtrans.set({ kind: 'error', status: 400 });
    const { status, body } = await post(order('bad-1'));
    expect([status, body.code]).toEqual([422, 'ERR_MIDTRANS_REFUSED']);
    it.midtrans.set(null);
    expect(await it.gateway.store.payments.get('bad-1')).toMatchObject({ state: 'failed' });
  });

  test('notifications are sent under one reference, however many attempts it takes', async () => {
    it.smtp.set({ stage: 'data', kind: 'drop', once: true });
    it.whatsapp.set({ kind: 'drop', once: true });
    const { status, body } = await it.ask('/notifications', {
      token: shopToken,
      body: [
        { channel: 'EMAIL', recipient: 'ann@customers.example', subject: 'Paid',
          template: 'Thank you, {{name}}', data: { name: 'Ann', html: '<b>Thank you</b>' } },
        { channel: 'WHATSAPP', recipient: '+6281234567890', body: 'Paid' }
      ]
    });
    expect(status).toBe(202);
    const ids = body.map(({ id }) => id);
    const sent = await until(async () => {
      const rows = await Promise.all(ids.map(id => it.gateway.store.outbox.get(id)));
      return rows.every(row => row.status === 'SENT') && rows;
    });
    it.smtp.set(null);
    it.whatsapp.set(null);
    // On a busy machine an attempt may fail by itself.
    for (const { attemptCount } of sent) expect(attemptCount).toBeGreaterThanOrEqual(2);
    const references = it.smtp.messages.map(({ messageId }) => messageId);
    expect(references.length).toBeGreaterThanOrEqual(2);
    expect(new Set(references)).toEqual(new Set([sent[0].providerMessageId]));
    expect(it.smtp.messages[0].raw).toContain('Thank you, Ann');
    expect(it.smtp.messages[0].messageId).toMatch(/@shop\.example>$/);
    const [one, two] = it.whatsapp.messages;
    expect(one.reference).toMatch(new RegExp(`^${ids[1]}\\.`));
    expect(two.reference).toBe(one.reference);
    expect((await it.ask('/notifications', {
      token: shopToken, body: { channel: 'PIGEON', recipient: 'x' }
    })).body.code).toBe('ERR_OUTBOX_CHANNEL');
  });

  test('webhooks of Midtrans move the order, once; forged ones are answered 403', async () => {
    await mended();
    await post(order('hook-1'));
    const url = `${it.server.url}/webhooks/midtrans`;
    it.midtrans.choose('hook-1');
    it.midtrans.settle('hook-1');
    const answers = await it.midtrans.notify(url, 'hook-1', { repeat: 3, order: 'shuffled' });
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    expect((await it.gateway.store.payments.get('hook-1')).state).toBe('paid');
    await until(() => paid.length > 0);
    expect(paid).toEqual(['hook-1']);
    const forged = await it.midtrans.notify(url, 'hook-1', { forge: 'signature', latest: true });
    expect(forged.map(({ status }) => status)).toEqual([403]);
    const { text: metrics } = await it.ask('/metrics', { token: readToken });
    for (const outcome of ['applied', 'already_processed', 'forged']) {
      expect(metrics).toMatch(new RegExp(
        `^payment_notifications_total\\{outcome="${outcome}"\\} [1-9]`, 'm'));
    }
    expect((await fetch(url, { method: 'POST', body: 'x'.repeat(100_000) })).status).toBe(413);
  });

  test('webhooks of WhatsApp: handshake, signature, statuses', async () => {
    const path = '/webhooks/whatsapp';
    const challenge = token =>
      it.ask(`${path}?hub.mode=subscribe&hub.verify_token=${token}&hub.challenge=7`);
    expect(await challenge(SECRETS.verifyToken)).toMatchObject({ status: 200, text: '7' });
    expect((await challenge('wrong')).status).toBe(403);
    const news = once(it.gateway, 'whatsapp');
    const body = it.whatsapp.statusOf({ id: 'wamid.1', to: '628123' }, 'delivered');
    expect(await it.whatsapp.notify(it.server.url + path, body)).toBe(200);
    expect((await news)[0].statuses).toMatchObject([{ messageId: 'wamid.1', status: 'delivered' }]);
    expect(await it.whatsapp.notify(it.server.url + path, body, { signature: 'sha256=00' }))
      .toBe(403);
  });

  test('upstreams: an old answer, a default, or the error itself', async () => {
    let isDown = false;
    const load = async id => {
      if (isDown) throw Object.assign(new Error('down'), { code: 'ECONNREFUSED' });
      return `film ${id}`;
    };
    const films = it.gateway.upstream('films', load, { key: id => id });
    const words = it.gateway.upstream('words', load);
    const other = it.gateway.upstream('other', load);
    expect(await films(1)).toBe('film 1');
    isDown = true;
    expect(await films(1)).toBe('film 1');
    expect(await films.answer(1)).toMatchObject({ source: 'fallback' });
    await expect(films(2)).rejects.toThrow('down');
    expect(await words(1)).toBe('We will answer soon.');
    await expect(other(1)).rejects.toThrow('down');
    // The caller's signal ends a call, also one that does not heed it.
    const caller = new AbortController();
    const hanging = it.gateway.upstream('other', () => new Promise(() => {}),
      { signal: signal => signal })(caller.signal);
    caller.abort(new Error('gone'));
    await expect(hanging).rejects.toThrow('gone');
    expect(Object.keys(it.gateway.breakers))
      .toEqual(['database', 'midtrans', 'smtp', 'whatsapp', 'films', 'words', 'other']);
    expect(() => it.gateway.upstream('none', load)).toThrow(expect.objectContaining({
      code: 'ERR_INVALID_OPTION'
    }));
  });

  test('a job runs once at a time, and what it did is kept', async () => {
    await it.gateway.store.query(`INSERT INTO sekering.admin_audit
      (at, actor, role, address, action, result)
      SELECT now() - days * interval '1 day', 'Ani', 'operate', '::1', 'breaker.reset', 'done'
      FROM unnest(ARRAY[364, 366]) AS days`);
    const done = once(it.gateway, 'job');
    const runs = await Promise.all([1, 2, 3].map(() => it.gateway.schedule.run('cleanUp')));
    expect(runs.filter(Boolean)).toEqual([true]);
    expect((await done)[0]).toMatchObject({ job: 'cleanUp', result: { audit: 1, deliveries: 0 } });
    expect(await it.gateway.schedule.run('nothing')).toBe(false);
    expect(await it.gateway.schedule.run('reconcile')).toBe(true);
    expect(await it.gateway.schedule.last()).toMatchObject([
      { job: 'cleanUp', error: null, durationMs: expect.any(Number) },
      { job: 'reconcile', error: null }
    ]);
    expect(Object.values(it.gateway.schedule.next()).every(next => next > new Date())).toBe(true);
  });

  test('health, metrics, report, admin and dashboard are all there', async () => {
    await mended();
    const operator = { token: operateToken };
    expect((await it.ask('/health/live')).status).toBe(200);
    expect((await it.ask('/health/ready')).body).toMatchObject({ status: 'ready' });
    expect((await it.ask('/health/detailed', { token: readToken })).body.checks).toMatchObject({
      database: { status: 'healthy' }, midtrans: { status: 'healthy' },
      smtp: { status: 'healthy' }, whatsapp: { status: 'healthy' }, worker: { status: 'healthy' }
    });
    const { text: metrics } = await it.ask('/metrics', { token: readToken });
    expect(metrics).toMatch(/circuit_breaker_state\{[^}]*midtrans/);
    // Orders that were queued, and answers in place of upstreams.
    expect(metrics).toMatch(/^fallback_usage_total\{name="midtrans",reason="open"\} [1-9]/m);
    expect(metrics).toMatch(/^fallback_activations\{name="films"\} 2$/m);
    expect(metrics).toMatch(/^retry_calls_total\{name="films"\} 4$/m);
    expect((await it.ask('/dashboard/')).status).toBe(200);
    // What earlier tests left to the worker has to be done before there is nothing to report.
    await until(async () => (await it.gateway.store.outbox.stats()).waiting === 0);
    const { body } = await it.ask('/admin/reliability/report', operator);
    expect(body).toMatchObject({
      level: { name: 'NORMAL' }, outbox: { waiting: 0 }, deadLetters: { total: 0 },
      breakers: expect.arrayContaining([
        expect.objectContaining({ name: 'midtrans', state: 'closed', opened: expect.any(Number) })
      ])
    });
    expect(body.breakers.find(({ name }) => name === 'midtrans').opened).toBeGreaterThan(0);
    const page = await it.ask('/admin/reliability/report?format=html', { token: readToken });
    expect(page.text).toContain('<h2>Circuit breakers</h2>');
    expect((await it.ask('/admin/reliability/circuit-breakers/midtrans/reset',
      { token: readToken, body: {} })).status).toBe(403);
    const nothing = await it.ask('/nothing');
    expect([nothing.status, nothing.headers.get('x-powered-by')]).toEqual([404, null]);
  });

  test('no planted secret is in a page, a metric, an error or a log', async () => {
    const pages = ['/health', '/health/detailed', '/metrics', '/dashboard/', '/health/dlq',
      '/admin/reliability/circuit-breakers', '/admin/reliability/report?format=html',
      '/admin/reliability/outbox', '/admin/reliability/payments', '/admin/reliability/audit',
      '/admin/reliability/dlq', '/orders/shop-1', '/nothing'];
    // Whatever somebody else says may have one in it.
    it.gateway.log.error({ err: new Error(`refused: ${SECRETS.serverKey}`) }, SECRETS.accessToken);
    it.midtrans.set({ kind: 'error', status: 401 });
    const texts = [(await post(order('secret-1'))).text];
    await mended();
    for (const page of pages) {
      const token = page.startsWith('/orders') ? shopToken : operateToken;
      const { text, headers } = await it.ask(page, { token });
      texts.push(text, JSON.stringify([...headers]));
    }
    expect(it.log.lines.length).toBeGreaterThan(70);
    const all = [...texts, ...it.log.lines.map(line => JSON.stringify(line))];
    const encoded = Buffer.from(`${SECRETS.serverKey}:`).toString('base64');
    for (const secret of [...Object.values(SECRETS), encoded]) {
      expect(all.filter(text => text.includes(secret))).toEqual([]);
    }
    expect(it.log.lines.some(({ message }) => message === '[secret]')).toBe(true);
  });
});

describeEngines('gateways of one fleet', ({ name, place }) => {
  const test2 = name === 'postgresql' ? test : test.skip;

  test2('each time of a job is taken by one of them', async () => {
    const where = await place();
    const fakes = await startFakes();
    const over = { schedule: { breakers: '* * * * * *', health: false } };
    const gateways = await Promise.all([1, 2, 3].map(() =>
      createGateway(configFor(fakes, where, over), { logger: collector() })));
    const runs = gateways.map(() => 0);
    gateways.forEach((gateway, i) => gateway.on('job', ({ job, error }) => {
      expect([job, error]).toEqual(['breakers', undefined]);
      runs[i] += 1;
    }));
    const began = Date.now();
    await Promise.all(gateways.map(gateway => gateway.start()));
    await until(() => runs[0] + runs[1] + runs[2] >= 3);
    const seconds = (Date.now() - began) / 1000;
    expect(runs[0] + runs[1] + runs[2]).toBeLessThanOrEqual(Math.ceil(seconds) + 1);
    await Promise.all(gateways.map(gateway => gateway.stop()));
    await fakes.close();
  });

  test('stopping finishes the request in flight; it is not ready from then on', async () => {
    const it = await startAll(await place(), { server: { port: 0, tokens: [
      { name: 'shop', token: shopToken }
    ] }, midtrans: { timeout: 20_000 },
    retry: { fallback: { maxWait: 20_000 } } });
    it.midtrans.set({ kind: 'slow', delayMs: 300 });
    const answer = it.ask('/orders', { token: shopToken, body: order('last-1') });
    await until(() => it.midtrans.counts.requests > 0);
    const closed = it.server.close();
    expect(await it.gateway.health.ready()).toMatchObject({ ready: false, draining: true });
    expect((await answer).body).toMatchObject({ queued: false, orderId: 'last-1' });
    await closed;
    await expect(fetch(it.server.url)).rejects.toThrow();
    await expect(it.gateway.notify({ channel: 'EMAIL', recipient: 'x' })).rejects.toThrow();
    await expect(it.gateway.start()).rejects.toMatchObject({ code: 'ESHUTDOWN' });
    await it.close();
  });
});

test('stopping does not wait for a sender that never ends, and says which message it was at',
  async () => {
    const log = collector();
    let begun;
    const sending = new Promise(resolve => { begun = resolve; });
    const gateway = await createGateway({ profile: 'testing', store: { memory: true } }, {
      logger: log, senders: { SMS: () => new Promise(() => { begun(); }) },
    });
    await gateway.start();
    const { id } = await gateway.notify({ channel: 'SMS', recipient: '1', body: 'Hello' });
    await sending;
    await gateway.stop({ timeout: 0 });
    expect(log.lines.find(({ message }) => message === 'Worker warning').err).toMatchObject({
      code: 'ERR_OUTBOX_LEFT_BEHIND', message: expect.stringContaining(`(ids ${id})`),
    });
    expect(log.lines.at(-1)).toMatchObject({ message: 'Gateway stopped' });
  });

test('outbox.heldBytes limits what its worker holds', async () => {
  let now = 0;
  let peak = 0;
  let sent = 0;
  const gateway = await createGateway({
    profile: 'testing', store: { memory: true }, outbox: { heldBytes: 1024 },
  }, {
    senders: { SMS: { concurrency: 20, send: async () => {
      peak = Math.max(peak, ++now);
      await gateway.store.query('SELECT 1');
      now--;
      sent++;
    } } },
  });
  await gateway.store.outbox.enqueue(Array.from({ length: 20 }, () =>
    ({ channel: 'SMS', recipient: '1', body: 'x'.repeat(1000) })));
  await gateway.start();
  await until(() => sent === 20);
  expect(peak).toBeLessThan(5);
  await gateway.stop();
});

test('what a gateway has no section for is refused, and so is a hook that somebody makes up',
  async () => {
    const config = {
      profile: 'testing', store: { memory: true },
      server: { port: 0, tokens: [{ name: 'shop', token: shopToken }] },
    };
    const gateway = await createGateway(config, { senders: { SMS: async () => {} } });
    const server = await startServer(gateway);
    const post = async (path, body) => {
      const response = await fetch(server.url + path, {
        method: 'POST', body: JSON.stringify(body),
        headers: { authorization: `Bearer ${shopToken}`, 'content-type': 'application/json' },
      });
      return { status: response.status, body: await response.json() };
    };
    const hook = {
      channel: 'PAYMENT_HOOK', recipient: 'paid-1',
      data: { hook: 'onPaid', orderId: 'paid-1', transition: { id: '1', to: 'paid' } },
    };
    const sms = { channel: 'SMS', recipient: '1', body: 'Hello' };
    for (const messages of [hook, [sms, hook], { ...sms, channel: 'EMAIL' }]) {
      expect(await post('/notifications', messages)).toMatchObject({
        status: 400,
        body: {
          code: 'ERR_OUTBOX_CHANNEL',
          detail: expect.stringContaining("Expected one of 'SMS' for channel"),
        },
      });
    }
    expect(await post('/orders', order('none-1')))
      .toMatchObject({ status: 404, body: { code: 'ERR_GATEWAY_NO_CLIENT' } });
    expect((await post('/notifications', sms)).status).toBe(202);
    expect((await gateway.store.outbox.list()).map(({ channel }) => channel)).toEqual(['SMS']);
    await server.close();
  });

describe('each profile', () => {
  let clock;
  let fakes;
  let gateway;
  beforeEach(async () => {
    clock = useVirtualClock();
    fakes = await startFakes();
  });
  afterEach(async () => {
    await fakes.close();
    await gateway?.stop({ timeout: 0 });
    clock.restore();
  });

  test.each([
    ['production', { midtrans: 10_000, smtp: 5000, whatsapp: 8000 }],
    ['development', { midtrans: 3000, smtp: 3000, whatsapp: 3000 }],
    ['testing', { midtrans: 1000, smtp: 1000, whatsapp: 1000 }],
  ])('gives the clients its time limits: %s', async (profile, limits) => {
    const retry = { circuitBreaker: { scope: 'instance' } };
    gateway = await createGateway(configFor(fakes, {}, { profile, retry }),
      { logger: collector() });
    const { midtrans, smtp, whatsapp } = gateway.clients;
    fakes.smtp.set({ stage: 'data', kind: 'hang' });
    fakes.whatsapp.set({ kind: 'hang' });
    fakes.midtrans.set({ kind: 'hang' });
    const mail = { to: 'a@example.com', subject: 'x', text: 'x' };
    const text = { to: '628123456789', type: 'text', text: { body: 'x' } };
    // How an attempt ends; then the call to Midtrans is repeated.
    const ends = {
      midtrans: once(midtrans, 'retry').then(([{ error }]) => error),
      smtp: smtp.send(mail).catch(error => error),
      whatsapp: whatsapp.send(text).catch(error => error),
    };
    midtrans.status('slow-1').catch(() => {});
    const ended = [];
    for (const [name, end] of Object.entries(ends)) end.then(() => ended.push(name));
    await until(() => Object.keys(limits).every(name => fakes[name].counts.faulted === 1));
    let passed = 0;
    for (const limit of [...new Set(Object.values(limits))].sort((a, b) => a - b)) {
      const before = Object.keys(limits).filter(name => limits[name] < limit);
      await clock.advanceAsync(limit - 1 - passed);
      expect(ended.toSorted()).toEqual(before.toSorted());
      passed = limit - 1;
      await clock.advanceAsync(1);
      passed = limit;
      for (const name of Object.keys(limits).filter(key => limits[key] === limit)) {
        expect((await ends[name]).code).toMatch(/TIMEDOUT|TIMEOUT/);
      }
    }
  });
});

test('orders of an earlier run are looked up again soon after Midtrans is back', async () => {
  const clock = useVirtualClock();
  const fakes = await startFakes();
  const maxWait = 1000;
  const gateway = await createGateway(configFor(fakes, {}, { retry: { fallback: { maxWait } } }),
    { logger: collector() });
  try {
    // Time passes here, but not in the database.
    const pass = async () => {
      await gateway.store.query(
        "UPDATE sekering.payment_orders SET silent_since = now() - interval '1 hour'");
      await clock.advanceAsync(maxWait + 1000);
    };
    await gateway.store.payments.createOrder(
      { orderId: 'early-1', amountMinor: 100n, state: 'unknown' });
    await pass();
    fakes.midtrans.set({ kind: 'error', on: 'status' });
    const asked = () => fakes.midtrans.log.filter(({ path }) => path.includes('early-1')).length;
    const fails = () => once(gateway.store.payments, 'warning');
    let failure = fails();
    await gateway.start();
    await failure;
    await turn();
    failure = fails();
    await pass();
    await failure;
    await turn();
    expect(asked()).toBe(2);
    fakes.midtrans.set(null);
    gateway.breakers.midtrans.open();
    gateway.breakers.midtrans.close();
    // The next look would be after twice as long.
    await pass();
    await until(() => asked() === 3);
  } finally {
    await gateway.stop();
    await fakes.close();
    clock.restore();
  }
});

test('a gateway that cannot be made leaves nothing open', async () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-gateway-'));
  const config = { profile: 'testing', store: { directory }, logging: { level: 'silent' } };
  const check = { check: () => {}, critcal: true };
  await expect(createGateway(config, { checks: { redis: check } }))
    .rejects.toThrow('Unknown option critcal in checks.redis. Did you mean critical?');
  // The folder would still be locked.
  const gateway = await createGateway(config);
  await gateway.stop();
  fs.rmSync(directory, { recursive: true });
});

test.each([
  [{ chekcs: {} }, 'Unknown option chekcs in parts. Did you mean checks?'],
  [{ fallbacks: { film: () => {} } }, 'Unknown option film in parts.fallbacks'],
  [{ senders: { SMS: 1 } }, 'Expected a function or an object for parts.senders.SMS'],
])('parts %o are rejected', async (parts, message) => {
  const config = { profile: 'testing', store: { memory: true }, upstreams: { films: {} } };
  await expect(createGateway(config, parts)).rejects.toThrow(message);
});

describe('a gateway from a file with the names of another library', () => {
  let folder;
  let fakes;
  beforeAll(async () => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-gateway-'));
    fakes = await startFakes();
  });
  afterAll(async () => {
    await fakes.close();
    fs.rmSync(folder, { recursive: true });
  });

  /** A gateway from a file; the two sections of switches are given. */
  async function gatewayFrom ({ retry = '', breaker = '', fallback = '' }) {
    const { url } = fakes.midtrans;
    const file = path.join(folder, 'sekering.toml');
    fs.writeFileSync(path.join(folder, 'key'), `${SECRETS.serverKey}\n`);
    fs.writeFileSync(file, `
      profile = "testing"
      store = { memory = true, timeout = "30s" }
      logging = { level = "silent" }
      upstreams = { films = {} }
      [midtrans]
      server_key = "file:key"
      snap_url = "${url}"
      core_url = "${url}"
      timeout = "9s"
      [retry]
      max_retries = 3
      initial_delay = "1ms"
      max_delay = "4ms"
      multiplier = 2.0
      jitter = true
      ${retry}
      [retry.circuit_breaker]
      failure_threshold = 6
      success_threshold = 3
      timeout = "1h"
      ${breaker}
      [retry.policy]
      retryable_status_codes = [429, 500, 502, 503, 504]
      retryable_errors = ["connection_timeout", "dns_resolution", "connection_reset"]
      [retry.fallback]
      strategy = ["cache", "degraded"]
      cache_ttl = "1h"
      ${fallback}
    `);
    fakes.midtrans.set(null);
    return createGateway(file, { fallbacks: { films: id => `nothing about ${id}` } });
  }

  /** What an upstream answers, and how often it is called, before and during an outage. */
  async function films (gateway) {
    const server = { calls: 0, error: undefined };
    const load = gateway.upstream('films', async id => {
      server.calls++;
      if (server.error !== undefined) throw server.error;
      return `film ${id}`;
    });
    const ask = id => load(id).catch(({ status, code }) => status ?? code);
    const answers = [await ask(1)];
    server.error = Object.assign(new Error('down'), { status: 503 });
    for (const id of [1, 2, 3, 4]) answers.push(await ask(id));
    return { answers, calls: server.calls };
  }

  const charge = (gateway, id) => gateway.clients.midtrans.charge({
    payment_type: 'bank_transfer', bank_transfer: { bank: 'bca' }, ...order(id),
  });
  const charges = id => fakes.midtrans.log.filter(({ path: asked, text }) =>
    asked.endsWith('/charge') && JSON.parse(text).transaction_details.order_id === id).length;

  test('its upstreams behave as the file says; a payment is charged once', async () => {
    const gateway = await gatewayFrom({});
    expect(await films(gateway)).toEqual({
      answers: ['film 1', 'film 1', 'nothing about 2', 'nothing about 3', 'nothing about 4'],
      calls: 1 + 4 + 2, // Six failures open it.
    });
    expect(gateway.breakers.films.opened).toBe(true);
    // The list has connection_reset, but the charge may have been carried out.
    fakes.midtrans.set({ kind: 'drop', on: 'charge', times: 1 });
    await charge(gateway, 'once');
    expect(charges('once')).toBe(1);
    expect(fakes.midtrans.transactions.get('once').charges).toBe(1);
    await gateway.stop();
  });

  test('without retries each call is made once', async () => {
    const gateway = await gatewayFrom({ retry: 'enabled = false' });
    expect((await films(gateway)).calls).toBe(5);
    fakes.midtrans.set({ kind: 'error', status: 503, on: 'charge' });
    await charge(gateway, 'single').catch(() => {});
    expect(charges('single')).toBe(1);
    await gateway.stop();
  });

  test('without breakers every call passes', async () => {
    const gateway = await gatewayFrom({ breaker: 'enabled = false' });
    expect((await films(gateway)).calls).toBe(17);
    fakes.midtrans.set({ kind: 'error', status: 500, on: 'status' });
    for (let i = 0; i < 8; i++) await gateway.clients.midtrans.status('x').catch(() => {});
    expect(Object.values(gateway.breakers).map(({ opened }) => opened)).not.toContain(true);
    await gateway.stop();
  });

  test('without fallbacks the caller gets the upstream\'s error', async () => {
    const gateway = await gatewayFrom({ fallback: 'enabled = false' });
    expect((await films(gateway)).answers).toEqual(
      ['film 1', 503, 'EOPENBREAKER', 'EOPENBREAKER', 'EOPENBREAKER']);
    await gateway.stop();
  });
});

test('the gateway waits for a database that is down at the start, and logs it', async () => {
  const server = await startPostgres();
  const store = { url: await server.createDatabase() };
  await server.stop();
  const log = collector();
  const opening = createGateway({ profile: 'testing', store }, { logger: log });
  await until(() => log.lines.some(({ level }) => level === 'warn'));
  await expect(createGateway({ profile: 'testing', store: { ...store, startTimeout: 0 } },
    { logger: collector() })).rejects.toMatchObject({ code: 'ERR_STORE_UNREACHABLE' });
  await server.start();
  const gateway = await opening;
  expect(log.lines).toContainEqual(expect.objectContaining({
    level: 'warn', message: 'The database cannot be reached: trying again',
    err: expect.objectContaining({ code: 'ERR_STORE_UNREACHABLE' }),
  }));
  expect(await gateway.store.health()).toMatchObject({ ok: true });
  await gateway.stop();
  await server.close();
});

test('the gateway does not wait for a store that can never be opened', async () => {
  const server = await startPostgres();
  const store = { url: server.urlOf('nowhere') };
  await expect(createGateway({ profile: 'testing', store }, { logger: collector() })).rejects
    .toMatchObject({ code: 'ERR_STORE_UNREACHABLE', retryable: false });
  await server.close();
});
