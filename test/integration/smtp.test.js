'use strict';

// The SMTP client against a real server on loopback that fails in every way.

const net = require('node:net');
const util = require('node:util');
const nodemailer = require('nodemailer');

const { SmtpClient } = require('../../lib/clients/smtp');
const { startSmtpFake } = require('../../lib/testing/smtp-fake');
const { verdictOn } = require('../../lib/store/outbox-verdict');
const CircuitBreaker = require('../../lib/primitives/breaker');

const QUICK = { retries: 3, minTimeout: 1, maxTimeout: 5, randomize: false };
const LETTER = { to: 'ann@example.com', subject: 'Receipt', text: 'Thank you' };
const AUTH = { user: 'shop', pass: 'planted-secret-5309' };

const opened = [];
const keep = thing => { opened.push(thing); return thing; };
afterEach(async () => {
  for (const thing of opened.splice(0).reverse()) await thing.close();
});

const start = options => startSmtpFake(options).then(keep);

function clientOf ({ host, port }, { smtp, ...options } = {}) {
  return keep(new SmtpClient({
    smtp: { host, port, ignoreTLS: true, ...smtp }, from: 'Shop <shop@example.com>',
    timeout: 5000, retry: QUICK, ...options
  }));
}

/** A server of few words: what `talk` does with each connection. */
async function listen (talk) {
  const sockets = new Set();
  const server = net.createServer(socket => {
    sockets.add(socket);
    socket.on('error', () => {});
    talk(socket);
  });
  await new Promise(resolve => { server.listen(0, '127.0.0.1', resolve); });
  keep({
    close: () => new Promise(resolve => {
      server.close(resolve);
      for (const socket of sockets) socket.destroy();
    })
  });
  return { host: '127.0.0.1', port: server.address().port };
}

describe('each class of error', () => {
  // What goes wrong, how the first attempt ends, whether it is tried again, counts, alerts.
  const retried = { kind: 'retry', attempts: 4, trips: true };
  const permanent = { kind: 'permanent', attempts: 1, trips: false };
  const ours = { kind: 'ours', attempts: 1, trips: true, alerts: 1 };
  test.each([
    ['421 as a greeting', { stage: 'connect' }, { ...ours, alert: 'refused', code: 'EPROTOCOL' }],
    ['a reset in place of a greeting', { stage: 'connect', kind: 'reset' }, retried],
    ['no greeting', { stage: 'connect', kind: 'hang' }, { ...retried, code: 'ETIMEDOUT' }],
    ['454 to the sign-in', { stage: 'auth' }, { ...retried, code: 'EAUTH' }],
    ['535 to the sign-in', { stage: 'auth', code: 535 }, { ...ours, code: 'EAUTH' }],
    ['451 to the sender', { stage: 'mail' }, { ...retried, code: 'EENVELOPE' }],
    ['553 to the sender', { stage: 'mail', code: 553 }, { ...permanent, code: 'EENVELOPE' }],
    ['530 to the sender', { stage: 'mail', code: 530 }, { ...ours, code: 'EENVELOPE' }],
    ['450 to the recipient', { stage: 'rcpt' },
      { ...retried, trips: false, code: 'EENVELOPE' }],
    ['550 to the recipient', { stage: 'rcpt', code: 550 }, { ...permanent, code: 'EENVELOPE' }],
    ['a reset at the recipient', { stage: 'rcpt', kind: 'reset' }, retried],
    ['451 to the message', { stage: 'data' }, { ...retried, code: 'EMESSAGE' }],
    ['554 to the message', { stage: 'data', code: 554 }, { ...permanent, code: 'EMESSAGE' }],
    ['silence after the message', { stage: 'data', kind: 'hang' },
      { ...retried, code: 'ETIMEDOUT', ambiguous: true }],
    ['a reset after the message', { stage: 'data', kind: 'reset' },
      { ...retried, ambiguous: true }]
  ])('%s', async (_, fault, expected) => {
    const { code, kind, attempts, trips, alerts = 0, ambiguous = false } = expected;
    const { alert = 'credentials' } = expected;
    const fake = await start({ auth: AUTH, fault });
    const client = clientOf(fake, {
      smtp: { auth: AUTH }, timeout: fault.kind === 'hang' ? 1000 : 10_000,
      breaker: { volumeThreshold: 100 }
    });
    const told = [];
    client.on('alert', alert => told.push(alert));
    const error = await client.send(LETTER).catch(e => e);
    expect(error).toMatchObject({ name: 'SmtpError', kind, attempts, ambiguous });
    if (code !== undefined) expect(error.code).toBe(code);
    expect(error.messageId).toMatch(/^<.+@example\.com>$/);
    expect(client.breaker.stats.failures > 0 || client.breaker.opened).toBe(trips);
    expect(client.breaker.opened).toBe(kind === 'ours');
    expect(told.length).toBe(alerts);
    if (alerts > 0) expect(told[0]).toMatchObject({ kind: alert, error: { kind } });
    expect(fake.messages).toHaveLength(0);

    fake.set(null);
    client.breaker.reset();
    await expect(client.send(LETTER)).resolves.toMatchObject({ accepted: ['ann@example.com'] });
  });

  test('nobody listens: ESOCKET with ECONNREFUSED is tried again', async () => {
    const fake = await startSmtpFake();
    const { host, port } = fake;
    await fake.close();
    const client = clientOf({ host, port }, { breaker: { volumeThreshold: 100 } });
    await expect(client.send(LETTER)).rejects.toMatchObject({
      code: 'ESOCKET', kind: 'retry', attempts: 4, ambiguous: false
    });
  });

  test.each([['implicit', { secure: true }], ['starttls', { requireTLS: true }]])(
    'a certificate signed by nobody (%s) is an alert, and opens', async (tls, s) => {
      const fake = await start({ tls });
      const client = clientOf(fake, { smtp: { ignoreTLS: false, ...s } });
      const alert = new Promise(resolve => client.once('alert', resolve));
      await expect(client.send(LETTER)).rejects.toMatchObject({ kind: 'ours', attempts: 1 });
      expect((await alert).kind).toBe('certificate');
      expect(client.breaker.opened).toBe(true);
      const trusting = clientOf(fake, {
        smtp: { ignoreTLS: false, ...s, tls: { rejectUnauthorized: false } }, timeout: 10_000
      });
      await expect(trusting.send(LETTER)).resolves.toMatchObject({ attempts: 1 });
    });

  test('no such host: EDNS is tried again', async () => {
    const client = clientOf({ host: 'no-such-host.invalid', port: 25 },
      {
        smtp: { ignoreTLS: false }, timeout: 5000, retry: { ...QUICK, retries: 1 },
        breaker: { volumeThreshold: 100 },
      });
    await expect(client.send(LETTER)).rejects.toMatchObject({
      code: 'EDNS', kind: 'retry', attempts: 2
    });
  });

  test('what speaks no SMTP may pass', async () => {
    const strange = await listen(socket => socket.write('HTTP/1.1 400 Bad Request\r\n'));
    const client = clientOf(strange, { breaker: { volumeThreshold: 100 } });
    await expect(client.send(LETTER)).rejects.toMatchObject({
      code: 'EPROTOCOL', kind: 'retry', attempts: 4
    });
  });
});

describe('recipients', () => {
  const to = ['ann@example.com', 'bob@example.com', 'cat@example.com'];

  test('only those that were deferred get it again, under one Message-ID', async () => {
    const fake = await start({
      fault: [
        { stage: 'rcpt', code: 450, recipients: ['bob@example.com'], once: true },
        { stage: 'rcpt', code: 550, recipients: ['cat@example.com'] }
      ]
    });
    const client = clientOf(fake);
    const retries = [];
    client.on('retry', ({ messageId: id, attempt, delay }) => retries.push([id, attempt, delay]));
    const result = await client.send({ ...LETTER, to });
    expect(result).toMatchObject({
      accepted: ['ann@example.com', 'bob@example.com'], rejected: ['cat@example.com'],
      deferred: [], attempts: 2, ambiguous: false
    });
    expect(result.recipients[2]).toEqual({
      address: 'cat@example.com', status: 'rejected', responseCode: 550, response: '550 Refused'
    });
    expect(fake.messages.map(message => message.to)).toEqual([[to[0]], [to[1]]]);
    expect(fake.messages.map(message => message.messageId))
      .toEqual([result.messageId, result.messageId]);
    // Those who got it see the same headers.
    expect(fake.messages[1].raw).toBe(fake.messages[0].raw);
    expect(retries).toEqual([[result.messageId, 1, 1]]);
    expect(client.breaker.stats.failures).toBe(0);
  });

  test('who is deferred to the end is named in the result', async () => {
    const fake = await start({ fault: { stage: 'rcpt', recipients: ['bob@example.com'] } });
    const result = await clientOf(fake).send({ ...LETTER, to });
    expect(result).toMatchObject({
      accepted: [to[0], to[2]], rejected: [], deferred: [to[1]], attempts: 4
    });
    expect(result.recipients[1]).toMatchObject({ status: 'deferred', responseCode: 450 });
    expect(fake.messages).toHaveLength(1);
  });

  test('none accepted: deferred ones make it worth another try, and are named', async () => {
    const fake = await start({
      fault: [{ stage: 'rcpt', code: 550, recipients: [to[0]] }, { stage: 'rcpt', code: 451 }]
    });
    const error = await clientOf(fake).send({ ...LETTER, to }).catch(e => e);
    expect(error).toMatchObject({
      kind: 'retry', retryable: true, attempts: 4, rejected: [{ address: to[0] }],
      deferred: [{ address: to[1], responseCode: 451 }, { address: to[2] }]
    });
    // Whoever was refused for good is not asked again.
    expect(fake.counts.faulted).toBe(3 + 3 * 2);
  });

  test('refused recipients, however many, never open the breaker', async () => {
    const fake = await start({ fault: { stage: 'rcpt', code: 550 } });
    const client = clientOf(fake);
    for (let i = 0; i < 30; i++) {
      await expect(client.send(LETTER)).rejects.toMatchObject({ kind: 'permanent' });
    }
    expect(client.breaker.closed).toBe(true);
    expect(client.breaker.stats).toMatchObject({ failures: 0, successes: 30 });
    // Their connections are used again.
    expect(fake.counts.connections).toBeLessThan(5);
  });
});

describe('an outage', () => {
  test('opens the breaker, which then refuses at once; the error says so', async () => {
    const fake = await start({ fault: { stage: 'mail', code: 451 } });
    const client = clientOf(fake, { retry: false });
    for (let i = 0; i < 5; i++) {
      expect(client.breaker.closed).toBe(true);
      await expect(client.send(LETTER)).rejects.toMatchObject({ code: 'EENVELOPE' });
    }
    expect(client.breaker.opened).toBe(true);
    const { faulted } = fake.counts;
    await expect(client.send(LETTER)).rejects.toMatchObject({
      name: 'SmtpError', code: 'EOPENBREAKER', kind: 'retry', retryable: true, attempts: 0
    });
    expect(fake.counts.faulted).toBe(faulted);
  });

  test('whoever waits in the line when it opens is not sent into the void', async () => {
    const fake = await start({ fault: { stage: 'mail', code: 451 } });
    const client = clientOf(fake, { retry: false, maxConnections: 1 });
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, () => client.send(LETTER).catch(error => error.code)));
    expect(outcomes.filter(code => code === 'EOPENBREAKER')).toHaveLength(15);
  });

  test('535 alerts once for all mails in flight', async () => {
    const fake = await start({ auth: { ...AUTH, pass: 'another' } });
    const client = clientOf(fake, { smtp: { auth: AUTH }, maxConnections: 4 });
    let alerts = 0;
    client.on('alert', () => { alerts += 1; });
    const codes = await Promise.all(
      Array.from({ length: 12 }, () => client.send(LETTER).catch(error => error.code)));
    expect(new Set(codes)).toEqual(new Set(['EAUTH', 'EOPENBREAKER']));
    expect(alerts).toBe(1);
  });
});

describe('the line', () => {
  test('waiting for a connection does not count, and no mail is sent twice', async () => {
    // Each takes 200 ms, so that the last one waits for longer than it may take.
    const fake = await start({ latencyMs: 200 });
    const client = clientOf(fake, { maxConnections: 2, timeout: 3000 });
    const results = await Promise.all(Array.from({ length: 40 }, () => client.send(LETTER)));
    expect(results.map(({ attempts }) => attempts)).toEqual(Array(40).fill(1));
    expect(fake.messages).toHaveLength(40);
    expect(fake.counts.connections).toBe(2);
    expect(client.breaker.stats).toMatchObject({ timeouts: 0, failures: 0 });
  });

  test('is bounded', async () => {
    const fake = await start({ latencyMs: 50 });
    const client = clientOf(fake, { maxConnections: 1, maxQueue: 2, retry: QUICK });
    const outcomes = await Promise.all(
      Array.from({ length: 5 }, () => client.send(LETTER).catch(error => error)));
    expect(outcomes.filter(o => o.code === 'EBULKHEADFULL')).toHaveLength(2);
  });

  test('a caller who gives up leaves it, or ends the connection', async () => {
    const fake = await start({ fault: { stage: 'mail', kind: 'hang' } });
    const client = clientOf(fake, { maxConnections: 1, timeout: 20_000 });
    const controller = new AbortController();
    const { signal } = controller;
    const sends = [1, 2].map(() => client.send(LETTER, { signal }));
    while (fake.counts.faulted < 1) await new Promise(resolve => setImmediate(resolve));
    controller.abort(new Error('never mind'));
    for (const send of sends) await expect(send).rejects.toThrow('never mind');
    expect(client.active + client.queued).toBe(0);
    expect(client.breaker.stats.failures).toBe(0);
    fake.set(null);
    await expect(client.send(LETTER)).resolves.toMatchObject({ attempts: 1 });
    await expect(client.send(LETTER, { signal })).rejects.toThrow('never mind');
  });
});

describe('silence after the last line', () => {
  test.each([['hang', false, 2000], ['drop', true, 10_000]])(
    '%s: tried again under one Message-ID, and marked', async (kind, twice, timeout) => {
      const fake = await start({ fault: { stage: 'data', kind, once: true } });
      const result = await clientOf(fake, { timeout }).send(LETTER);
      expect(result).toMatchObject({ ambiguous: true, attempts: 2 });
      expect(fake.messages.map(({ messageId }) => messageId))
        .toEqual(Array(twice ? 2 : 1).fill(result.messageId));
    });

  test('can be left to the caller', async () => {
    const fake = await start({ fault: { stage: 'data', kind: 'drop', once: true } });
    const client = clientOf(fake, { resendAmbiguous: false });
    const messageId = '<order-1@shop.example>';
    await expect(client.send({ ...LETTER, messageId })).rejects.toMatchObject({
      ambiguous: true, kind: 'retry', retryable: false, bail: true, attempts: 1, messageId
    });
    expect(fake.messages).toHaveLength(1);
  });

  test('if left to the caller, an outbox does not send it again', async () => {
    const fake = await start({ fault: { stage: 'data', kind: 'drop', once: true } });
    const client = clientOf(fake, { resendAmbiguous: false });
    const error = await client.send(LETTER).catch(e => e);
    expect(verdictOn(error, { attemptCount: 0, maxAttempts: 5 }, () => 1)).toMatchObject({
      outcome: 'dead', reason: 'May have been delivered, so it is not sent again'
    });
  });

  test('before it, nothing is ambiguous: the message is cut in the middle', async () => {
    // Takes what comes and cuts within the body.
    const server = await listen(socket => {
      socket.write('220 hello\r\n');
      let body = false;
      socket.on('data', chunk => {
        for (const line of chunk.toString().split('\r\n').filter(l => l !== '')) {
          if (body) {
            socket.resetAndDestroy();
            return;
          }
          body = line === 'DATA';
          socket.write(body ? '354 go on\r\n' : '250 OK\r\n');
        }
        if (body) setImmediate(() => socket.resetAndDestroy());
      });
    });
    const text = 'x'.repeat(76).concat('\r\n').repeat(100_000);
    await expect(clientOf(server, { retry: false, timeout: 5000 }).send({ ...LETTER, text }))
      .rejects.toMatchObject({ kind: 'retry', ambiguous: false });
  });
});

describe('the client', () => {
  test('takes a transport of the caller, and leaves it open', async () => {
    const fake = await start();
    const transport = keep(nodemailer.createTransport({
      host: fake.host, port: fake.port, ignoreTLS: true, pool: true, maxConnections: 3
    }));
    const client = new SmtpClient({ transport, defaults: { from: 'shop@example.com' } });
    await client.send(LETTER);
    await client.verify();
    client.close();
    await transport.sendMail({ ...LETTER, from: 'shop@example.com' });
    expect(fake.messages).toHaveLength(2);
  });

  test('shares a breaker of the caller, which hears nothing of refused recipients', async () => {
    const fake = await start({ fault: { stage: 'rcpt', code: 550 } });
    const breaker = keep(new CircuitBreaker(fn => fn(), { name: 'relay', timeout: 10_000 }));
    breaker.close = breaker.shutdown;
    const client = clientOf(fake, { breaker, timeout: undefined });
    await expect(client.send(LETTER)).rejects.toMatchObject({ kind: 'permanent' });
    expect(breaker.stats).toMatchObject({ fires: 1, failures: 0 });
    client.close();
    expect(breaker.isShutdown).toBe(false);
  });

  test('verify signs in, whatever the breaker thinks', async () => {
    const fake = await start({ auth: AUTH });
    const client = clientOf(fake, { smtp: { auth: AUTH } });
    client.breaker.open();
    await expect(client.verify()).resolves.toBe(true);
    fake.set({ stage: 'auth', code: 535 });
    await expect(client.verify()).rejects.toMatchObject({ name: 'SmtpError', kind: 'ours' });
    fake.set({ stage: 'connect', kind: 'hang' });
    await expect(client.verify({ timeout: 100 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    expect(fake.messages).toHaveLength(0);
  });

  test('works without a breaker and without retries', async () => {
    const fake = await start({ fault: { stage: 'data' } });
    const client = clientOf(fake, { breaker: false, retry: false });
    for (let i = 0; i < 7; i++) {
      await expect(client.send(LETTER)).rejects.toMatchObject({ code: 'EMESSAGE', attempts: 1 });
    }
    expect(client.breaker.opened).toBe(false);
  });

  test('shows its credentials to nobody', async () => {
    const fake = await start({ auth: { ...AUTH, pass: 'another' } });
    const client = clientOf(fake, { smtp: { auth: AUTH } });
    const error = await client.send(LETTER).catch(e => e);
    const shown = [client, error, client.breaker].flatMap(thing =>
      [util.inspect(thing, { depth: 20, showHidden: true }), JSON.stringify(thing)]).join();
    expect(error.kind).toBe('ours');
    expect(shown).not.toContain(AUTH.pass);
    expect(shown).not.toContain(Buffer.from(`\0${AUTH.user}\0${AUTH.pass}`).toString('base64'));
  });

  test('sends nothing of a message with a fault', async () => {
    const fake = await start();
    await expect(clientOf(fake).send({ ...LETTER, subject: 'a\r\nBcc: x@example.com', to: 'bob' }))
      .rejects.toMatchObject({
        code: 'ERR_INVALID_INPUT', faults: [{ path: 'to' }, { path: 'subject' }]
      });
    expect(fake.counts.connections).toBe(0);
  });

  test.each([
    [{}], [{ smtp: 5 }], [{ transport: {} }], [{ smtp: {}, timeout: 0 }],
    [{ smtp: {}, maxConnections: 0 }], [{ smtp: {}, retry: [1, 2] }], [undefined],
    [{ smtp: {}, retry: { factor: -1 } }], [{ smtp: {}, breaker: { timeout: 'soon' } }],
    [{ smtp: {}, resendAmbiguous: 'no' }], [{ smtp: {}, maxQueue: -1 }]
  ])('refuses the options %j', options => {
    expect(() => new SmtpClient(options)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
  });
});
