'use strict';

// The WhatsApp clients against both APIs on loopback.

const http = require('node:http');
const util = require('node:util');

const { CloudApiClient, GreenApiClient } = require('../../lib/clients/whatsapp');
const { useVirtualClock } = require('../../lib/testing/virtual-clock');
const { startWhatsAppFake } = require('../../lib/testing/whatsapp-fake');
const { passTime } = require('../support/passing-time');

const QUICK = { retries: 3, minTimeout: 1, maxTimeout: 5, randomize: false };
const TO = '+6281234567890';
const DIGITS = '6281234567890';
const SECRETS = {
  accessToken: 'EAAplanted-access-token', appSecret: 'planted-app-secret',
  verifyToken: 'planted-verify-token', token: 'planted/green+token'
};

const opened = [];
const keep = thing => { opened.push(thing); return thing; };
afterEach(async () => {
  for (const thing of opened.splice(0)) await thing.close();
});

const start = options => startWhatsAppFake({ ...SECRETS, ...options }).then(keep);
const settings = { timeout: 5000, retry: QUICK, breaker: { volumeThreshold: 100 } };
const cloudOf = (fake, options) => keep(new CloudApiClient(
  { ...fake.cloud, ...settings, ...options }));
const greenOf = (fake, options) => keep(new GreenApiClient(
  { ...fake.green, ...settings, ...options }));

function alertsOf (client) {
  const alerts = [];
  client.on('alert', alert => alerts.push(alert));
  return alerts;
}

describe('the Cloud API', () => {
  test('a text arrives, with a reference that comes back in its statuses', async () => {
    const fake = await start();
    const client = cloudOf(fake);
    const result = await client.sendText(TO, 'Your tickets');
    expect(result).toMatchObject({
      messageId: fake.messages[0].id, recipient: DIGITS, attempts: 1, ambiguous: false
    });
    expect(fake.messages[0]).toMatchObject({ api: 'cloud', to: DIGITS });
    expect(fake.messages[0].body).toEqual({
      messaging_product: 'whatsapp', recipient_type: 'individual', to: DIGITS, type: 'text',
      text: { body: 'Your tickets' }, biz_opaque_callback_data: result.reference
    });
    await client.sendTemplate(DIGITS, { name: 'tickets', language: 'id' });
    expect(fake.messages[1].body.template).toEqual({ name: 'tickets', language: { code: 'id' } });
    await expect(client.ping()).resolves.toEqual({ ok: true });

    const server = http.createServer(async (request, response) => {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      const header = request.headers['x-hub-signature-256'];
      try {
        client.handleWebhook(Buffer.concat(chunks), header);
        response.end();
      } catch {
        response.writeHead(403).end();
      }
    });
    await new Promise(resolve => { server.listen(0, '127.0.0.1', resolve); });
    keep({ close: () => new Promise(resolve => { server.close(resolve); }) });
    const url = `http://127.0.0.1:${server.address().port}/`;
    const news = [];
    client.on('status', ({ status, reference }) => news.push([status, reference]));
    for (const status of ['read', 'sent', 'sent']) {
      expect(await fake.notify(url, fake.statusOf(fake.messages[0], status))).toBe(200);
    }
    const forged = fake.statusOf(fake.messages[0], 'failed');
    expect(await fake.notify(url, forged, { signature: `sha256=${'0'.repeat(64)}` })).toBe(403);
    const { reference } = result;
    expect(news).toEqual([['read', reference], ['sent', reference]]);
  });

  test.each([
    ...[1, 2, 4, 80007, 130429, 131000, 131016, 131057, 133004].map(code => [code]),
    // Whatever HTTP says beside it.
    ...[4, 17, 32, 341, 613, 80007, 130429, 132069].flatMap(code => [[code, 400], [code, 403]]),
  ])(
    '%d: back off, try again, count it', async (code, ...[status]) => {
      const fake = await start({ fault: { kind: 'code', code, status } });
      const client = cloudOf(fake);
      const alerts = alertsOf(client);
      await expect(client.sendText(TO, 'x')).rejects.toMatchObject({
        name: 'WhatsAppError', kind: 'retry', providerCode: code, attempts: 4, ambiguous: false
      });
      expect(client.breaker.stats.failures).toBe(4);
      fake.set({ kind: 'code', code, once: true });
      await expect(client.sendText(TO, 'x')).resolves.toMatchObject({ attempts: 2 });
      expect(alerts).toEqual([]);
    });

  test.each([0, 3, 10, 190, 200, 299, 368, 131031, 131037, 131042, 131048, 133010])(
    '%d: pauses the channel and alerts', async code => {
      const fake = await start({ fault: code });
      const client = cloudOf(fake);
      const alerts = alertsOf(client);
      await expect(client.sendText(TO, 'x')).rejects.toMatchObject({
        kind: 'pause', code: 'ERR_WHATSAPP_PAUSED', providerCode: code, attempts: 1, retryable: true
      });
      expect(client.paused).toMatchObject({ error: { providerCode: code } });
      expect(alerts).toHaveLength(1);
      fake.set(null);
      await expect(client.sendText(TO, 'x')).rejects.toMatchObject({
        code: 'ERR_WHATSAPP_PAUSED', providerCode: code, attempts: 0
      });
      expect(fake.counts.requests).toBe(1);
      expect(client.breaker.stats.failures).toBe(0);
      expect(client.resume()).toBe(true);
      await expect(client.sendText(TO, 'x')).resolves.toMatchObject({ attempts: 1 });
      expect(client.resume()).toBe(false);
    });

  test.each([100, 131008, 131009, 131021, 131026, 131047, 131049, 131051, 132001, 132015, 130497])(
    '%d: straight to the dead letters', async code => {
      const fake = await start({ fault: code });
      const client = cloudOf(fake);
      await expect(client.sendText(TO, 'x')).rejects.toMatchObject({
        kind: 'dead', code: 'ERR_WHATSAPP_REFUSED', providerCode: code, attempts: 1,
        retryable: false, needsTemplate: code === 131047
      });
      expect(client.breaker.stats).toMatchObject({ failures: 0, successes: 1 });
      expect(client.paused).toBeNull();
    });

  test('131056: this number waits its 6 s, shortened here, and no other does', async () => {
    const fake = await start({ recipientIntervalMs: 180 });
    const client = cloudOf(fake, { recipientInterval: 200 });
    await client.sendText(TO, 'first');
    const late = [client.sendText(TO, 'second'), client.sendText(TO, 'third')];
    const other = client.sendText('+6281234567891', 'other');
    expect(await Promise.race([other, ...late])).toBe(await other);
    expect((await other).attempts).toBe(1);
    await Promise.all(late);
    const times = fake.messages.filter(({ to }) => to === DIGITS).map(({ at }) => at);
    expect(times).toHaveLength(3);
    expect(times[1] - times[0]).toBeGreaterThanOrEqual(180);
    expect(times[2] - times[1]).toBeGreaterThanOrEqual(180);
    expect(client.breaker.stats.failures).toBe(0);
  });

  test('a number may be paced from the beginning; then there is no complaint', async () => {
    const fake = await start({ recipientIntervalMs: 80 });
    const client = cloudOf(fake, { recipientInterval: 100, paceAlways: true });
    const clock = useVirtualClock();
    const results = await passTime(clock,
      Promise.all([1, 2, 3].map(i => client.sendText(TO, `${i}`)))).finally(clock.restore);
    expect(results.map(({ attempts }) => attempts)).toEqual([1, 1, 1]);
    expect(fake.counts.refused).toBe(0);
    const bored = cloudOf(fake, { recipientInterval: 40_000, paceAlways: true });
    const other = '+6281234567899';
    await bored.sendText(other, '1');
    const waiting = bored.sendText(other, '2', { signal: AbortSignal.timeout(50) });
    // Who would have to wait for over a minute need not wait at all.
    await expect(bored.sendText(other, '3')).rejects.toMatchObject({ code: 'ERATELIMITED' });
    await expect(waiting).rejects.toMatchObject({ name: 'TimeoutError' });
  });

  test('a pause can end by itself', async () => {
    const fake = await start({ fault: 131048 });
    const client = cloudOf(fake, { resumeAfter: 50 });
    await expect(client.sendText(TO, 'x')).rejects.toMatchObject({ kind: 'pause' });
    fake.set(null);
    while (client.paused !== null) await new Promise(resolve => setTimeout(resolve, 5));
    await expect(client.sendText(TO, 'x')).resolves.toMatchObject({ attempts: 1 });
  });

  test('a pause ends what waits for its turn', async () => {
    const fake = await start({ latencyMs: 40 });
    const client = cloudOf(fake, { connections: 1 });
    const sends = [1, 2, 3].map(i => client.sendText(TO, `${i}`).catch(error => error.code));
    while (client.queued < 2) await new Promise(resolve => setImmediate(resolve));
    client.pause();
    expect(client.paused.reason).toBe('manual');
    const [first, ...rest] = await Promise.all(sends);
    expect(first.attempts).toBe(1);
    expect(rest).toEqual(['ERR_WHATSAPP_PAUSED', 'ERR_WHATSAPP_PAUSED']);
  });
});

describe('trouble on the way', () => {
  test.each([
    ['hang', 'ERR_WHATSAPP_TIMEOUT', true, 0], ['reset', 'ERR_WHATSAPP_NETWORK', true, 0],
    ['html', 'ERR_WHATSAPP_UNAVAILABLE', true, 0], ['drop', 'ERR_WHATSAPP_NETWORK', true, 4]
  ])('%s: tried again under one reference, and marked', async (kind, code, ambiguous, taken) => {
    const fake = await start({ fault: kind });
    const client = cloudOf(fake, { timeout: kind === 'hang' ? 100 : 10_000 });
    const retries = [];
    const delays = [];
    client.on('retry', ({ reference, delay }) => {
      retries.push(reference);
      delays.push(delay);
    });
    const error = await client.sendText(TO, 'x').catch(e => e);
    expect(delays).toEqual(Array(3).fill(expect.any(Number)));
    expect(error).toMatchObject({ code, ambiguous, attempts: 4, kind: 'retry' });
    expect(client.breaker.stats.failures).toBe(4);
    expect(new Set([...retries, error.reference]).size).toBe(1);
    expect(fake.messages.map(({ reference }) => reference))
      .toEqual(Array(taken).fill(error.reference));
  });

  test('a message for which the breaker has no place can be sent again later', async () => {
    const fake = await start({ latencyMs: 40 });
    const client = cloudOf(fake, { breaker: { capacity: 1 } });
    const first = client.sendText(TO, '1');
    await expect(client.sendText(TO, '2')).rejects.toMatchObject({
      name: 'WhatsAppError', code: 'ESEMLOCKED', kind: 'retry', retryable: true, ambiguous: false,
      attempts: 0
    });
    await expect(first).resolves.toMatchObject({ attempts: 1 });
  });

  test('an ambiguous outcome can be left to the caller', async () => {
    const fake = await start({ fault: 'drop' });
    const client = cloudOf(fake, { resendAmbiguous: false });
    await expect(client.sendText(TO, 'x')).rejects.toMatchObject({ ambiguous: true, attempts: 1 });
    expect(fake.messages).toHaveLength(1);
  });

  test('nobody listens: nothing is ambiguous', async () => {
    const fake = await startWhatsAppFake(SECRETS);
    const { cloud } = fake;
    await fake.close();
    const client = keep(new CloudApiClient({ ...cloud, ...settings }));
    await expect(client.sendText(TO, 'x')).rejects.toMatchObject({
      code: 'ERR_WHATSAPP_NETWORK', ambiguous: false, attempts: 4, cause: { code: 'ECONNREFUSED' }
    });
  });

  test('an outage opens the breaker, which refuses at once', async () => {
    const fake = await start({ fault: 'html' });
    const client = cloudOf(fake, { breaker: { volumeThreshold: 5 }, retry: false });
    for (let i = 0; i < 5; i++) {
      await expect(client.sendText(TO, 'x')).rejects.toMatchObject({ httpStatus: 502 });
    }
    expect(client.breaker.opened).toBe(true);
    await expect(client.sendText(TO, 'x')).rejects.toMatchObject({
      name: 'WhatsAppError', code: 'EOPENBREAKER', retryable: true, attempts: 0
    });
    expect(fake.counts.requests).toBe(5);
  });

  test('the line does not count towards the time of an attempt, and is bounded', async () => {
    const fake = await start({ latencyMs: 300 });
    const client = cloudOf(fake, { connections: 2, timeout: 2400, maxQueue: 18 });
    const to = i => `+62812345678${i}`;
    const clock = useVirtualClock();
    const sends = Array.from({ length: 21 }, (_, i) => client.sendText(to(10 + i), 'x'));
    const outcomes = await passTime(clock, Promise.allSettled(sends)).finally(clock.restore);
    const refused = outcomes.filter(({ status }) => status === 'rejected');
    expect(refused.map(({ reason }) => reason.code)).toEqual(['EBULKHEADFULL']);
    expect(fake.messages).toHaveLength(20);
    expect(client.breaker.stats.timeouts).toBe(0);
  });

  test('a caller who gives up is not counted', async () => {
    const fake = await start({ fault: 'hang' });
    const client = cloudOf(fake, { timeout: 20_000 });
    const controller = new AbortController();
    const sending = client.sendText(TO, 'x', { signal: controller.signal });
    while (fake.counts.faulted < 1) await new Promise(resolve => setImmediate(resolve));
    controller.abort(new Error('never mind'));
    await expect(sending).rejects.toThrow('never mind');
    expect(client.breaker.stats.failures).toBe(0);
    expect(client.active).toBe(0);
  });
});

describe('Green API', () => {
  test('a text arrives', async () => {
    const fake = await start();
    const client = greenOf(fake);
    const result = await client.sendText(TO, 'Your tickets');
    expect(result).toMatchObject({
      messageId: fake.messages[0].id, recipient: `${DIGITS}@c.us`, attempts: 1
    });
    await client.send({ to: '120363041234567890@g.us', message: 'To all', quotedMessageId: 'AB1' });
    expect(fake.messages.map(({ body }) => body)).toEqual([
      { chatId: `${DIGITS}@c.us`, message: 'Your tickets' },
      { chatId: '120363041234567890@g.us', message: 'To all', quotedMessageId: 'AB1' }
    ]);
    await expect(client.ping()).resolves.toEqual({ ok: true, state: 'authorized' });
  });

  test.each([
    [{ kind: 'status', status: 466 }, 'pause', 1], [{ kind: 'status', status: 401 }, 'pause', 1],
    [{ kind: 'status', status: 429 }, 'retry', 4], [{ kind: 'status', status: 400 }, 'retry', 4],
    [{ kind: 'status', status: 500 }, 'retry', 4], [{ kind: 'html' }, 'retry', 4],
    [{ kind: 'status', status: 400, message: 'Validation failed' }, 'dead', 1]
  ])('%j is for %s', async (fault, kind, attempts) => {
    const fake = await start({ fault });
    const client = greenOf(fake);
    const alerts = alertsOf(client);
    await expect(client.sendText(TO, 'x')).rejects.toMatchObject({ kind, attempts });
    expect(client.paused !== null).toBe(kind === 'pause');
    expect(alerts).toHaveLength(kind === 'pause' ? 1 : 0);
    expect(client.breaker.stats.failures).toBe(kind === 'retry' ? 4 : 0);
    fake.set(null);
    client.resume();
    await expect(client.sendText(TO, 'x')).resolves.toMatchObject({ attempts: 1 });
  });

  test('a wrong token pauses the channel', async () => {
    const fake = await start();
    const client = greenOf(fake, { token: 'another-token' });
    await expect(client.ping()).rejects.toMatchObject({ kind: 'pause' });
    await expect(client.sendText(TO, 'x')).rejects.toMatchObject({ kind: 'pause' });
    expect(client.paused).toMatchObject({ reason: 'credentials' });
    expect(fake.counts.unauthorized).toBe(2);
  });
});

test('no secret is shown, whatever goes wrong', async () => {
  const fake = await start();
  const options = { timeout: 100, breaker: false };
  const clients = [cloudOf(fake, options), greenOf(fake, options)];
  const things = [...clients];
  for (const client of clients) {
    for (const event of ['alert', 'paused', 'retry']) client.on(event, news => things.push(news));
    for (const fault of ['hang', 'reset', 'html', 190, { kind: 'status', status: 466 },
      { kind: 'status', status: 400, message: 'x' }, { kind: 'status', status: 500 }]) {
      fake.set(fault);
      client.resume();
      const error = await client.sendText(TO, 'x').catch(e => e);
      expect(error).toBeInstanceOf(Error);
      things.push(error, client.paused);
    }
  }
  const shown = things.flatMap(thing => [
    util.inspect(thing, { depth: 20, showHidden: true }), JSON.stringify(thing), thing?.stack
  ]).join();
  for (const secret of Object.values(SECRETS)) {
    expect(shown).not.toContain(secret);
    expect(shown).not.toContain(encodeURIComponent(secret));
  }
  expect(shown).toContain('[secret]');
});

describe('what is refused before anything is sent', () => {
  test.each(['081234567890', '+0812345678', '62812', '+62 812 3456 789a', '1234567890123456',
    '6281234567890@c.us', 6281234567890, undefined, '+62812345678\n', ''
  ])('the number %j', async to => {
    const fake = await start();
    await expect(cloudOf(fake).sendText(to, 'x')).rejects.toMatchObject({
      code: 'ERR_INVALID_INPUT', faults: [{ path: 'to' }]
    });
    expect(fake.counts.requests).toBe(0);
  });

  test.each([
    [{ to: TO, type: 'text', text: { body: '' } }, ['text.body']],
    [{ to: '0812', type: 'text', text: { body: 'x'.repeat(4097) } }, ['to', 'text.body']],
    [{ to: TO, type: 'fax' }, ['type']], [{ to: TO, type: 'image' }, ['image']],
    [{ to: TO, type: 'image', image: {} }, ['image']],
    [{ to: TO, type: 'image', image: { id: '1', link: 'https://x.test/' } }, ['image']],
    [{ to: TO, type: 'video', video: { id: 7 } }, ['video.id']],
    [{ to: TO, type: 'audio', audio: { link: 'file:///etc/x' } }, ['audio.link']],
    [{ to: TO, type: 'contacts', contacts: {} }, ['contacts']],
    [{ type: 'template', template: { name: 'A b' } },
      ['to', 'template.name', 'template.language.code']],
    [{ to: TO, type: 'text', text: { body: 'x' }, biz_opaque_callback_data: 'x'.repeat(513) },
      ['biz_opaque_callback_data']],
    [{ to: TO, type: 'text', text: { body: 'x' }, n: 1n }, ['message']],
    [{ to: TO, type: 'text', text: { body: 'x' }, more: 'x'.repeat(70_000) }, ['message']],
    [null, ['message']], ['x', ['message']]
  ])('a message with all its faults at once (%#)', async (message, paths) => {
    const fake = await start();
    const error = await cloudOf(fake).send(message).catch(e => e);
    expect(error.code).toBe('ERR_INVALID_INPUT');
    expect(error.faults.map(({ path }) => path)).toEqual(paths);
    expect(fake.counts.requests).toBe(0);
  });

  test('by Green API as well', async () => {
    const fake = await start();
    const error = await greenOf(fake).send({ to: '0812', message: '', quotedMessageId: 5 })
      .catch(e => e);
    expect(error.faults.map(({ path }) => path)).toEqual(['to', 'message', 'quotedMessageId']);
    expect(fake.counts.requests).toBe(0);
  });

  test.each([
    [{}], [{ accessToken: 'a b', phoneNumberId: '1' }], [{ accessToken: 'a' }],
    [{ accessToken: 'a', phoneNumberId: '1/../2' }], [undefined],
    [{ accessToken: 'a', phoneNumberId: '1', version: '../x' }],
    [{ accessToken: 'a', phoneNumberId: '1', baseUrl: 'ftp://x' }],
    [{ accessToken: 'a', phoneNumberId: '1', timeout: -1 }],
    [{ accessToken: 'a', phoneNumberId: '1', retry: [1] }],
    [{ accessToken: 'a', phoneNumberId: '1', recipientInterval: 'x' }],
    [{ accessToken: 'a', phoneNumberId: '1', resumeAfter: 0 }]
  ])('the options (%#)', options => {
    expect(() => new CloudApiClient(options)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
  });

  test('the options of Green API, and a wrong secret is not shown', () => {
    for (const options of [{}, { instanceId: 'x', token: 'y' }, { instanceId: 1, token: '' }]) {
      expect(() => new GreenApiClient(options)).toThrow(
        expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
    }
    expect(() => new GreenApiClient({ instanceId: 1, token: 'nearly right' }))
      .toThrow(expect.objectContaining({ message: expect.not.stringContaining('nearly') }));
  });
});
