'use strict';

// No password and no mail goes to a server without TLS, unless that is this machine or somebody
// wants it so.

const net = require('node:net');

const { SmtpClient } = require('../../lib/clients/smtp');
const { createGateway } = require('../../lib/gateway');
const { startSmtpFake } = require('../../lib/testing');
const { SECRETS, configFor, startFakes } = require('../support/gateway-helpers');
const { AUTH, LETTER, closeAll, keep, start } = require('../support/smtp-script');

afterEach(closeAll);

const clientOf = (smtp, options) => keep(new SmtpClient({ smtp, retry: false, ...options }));
const verbsOf = ({ lines }) => lines.map(line => line.split(' ', 1)[0]);
/** Settings for a server of this name, whose connections lead to the script. */
const leadingTo = (script, more) => ({
  ...more,
  getSocket: (options, done) => {
    const connection = net.connect(script.port, script.host, () => done(null, { connection }));
  },
});

test('a server without TLS gets neither password nor mail; somebody is told', async () => {
  const script = await start();
  const { host, port } = script;
  const client = clientOf({ host, port, auth: AUTH }, { requireTls: true });
  const alerts = [];
  client.on('alert', alert => alerts.push(alert));
  const error = await client.send(LETTER).catch(e => e);
  expect(error).toMatchObject({
    name: 'SmtpError', code: 'ERR_SMTP_TLS_REQUIRED', kind: 'ours', reason: 'tls', retryable: true,
    responseCode: 502, command: 'STARTTLS', message: expect.stringMatching(/no TLS/),
  });
  await expect(client.verify()).rejects.toMatchObject({ code: 'ERR_SMTP_TLS_REQUIRED' });
  expect(verbsOf(script)).toEqual(['EHLO', 'STARTTLS', 'EHLO', 'STARTTLS']);
  expect(alerts).toEqual([{ kind: 'tls', error }]);
  expect(client.breaker.opened).toBe(true);
});

test('one that knows no EHLO, and so no TLS, gets neither', async () => {
  const script = await start({ EHLO: '502 what?' });
  const { host, port } = script;
  const client = clientOf({ host, port, auth: AUTH }, { requireTls: true });
  await expect(client.send(LETTER)).rejects.toMatchObject({
    code: 'ERR_SMTP_TLS_REQUIRED', kind: 'ours', responseCode: 502,
  });
  expect(verbsOf(script)).toEqual(['EHLO']);
});

test('one that cannot have TLS for now is tried again later', async () => {
  const script = await start({ STARTTLS: '454 4.7.0 TLS not available' });
  const { host, port } = script;
  const client = clientOf({ host, port, auth: AUTH }, { requireTls: true });
  await expect(client.send(LETTER)).rejects.toMatchObject({ kind: 'retry', responseCode: 454 });
  expect(verbsOf(script)).toEqual(['EHLO', 'STARTTLS']);
});

describe('whoever sits in between', () => {
  /** Takes STARTTLS out of what the server offers; `talk` may answer a line in its place. */
  async function strip (fake, talk = () => undefined) {
    const lines = [];
    const sockets = new Set();
    const server = net.createServer(socket => {
      const onward = net.connect(fake.port, fake.host);
      for (const end of [socket, onward]) {
        sockets.add(end);
        end.on('error', () => {}).on('close', () => [socket, onward].forEach(s => s.destroy()));
      }
      onward.on('data', chunk => socket.write(
        chunk.includes('STARTTLS') ? chunk.toString().replace(/250-STARTTLS\r\n/, '') : chunk));
      socket.on('data', chunk => {
        lines.push(chunk.toString('latin1'));
        const answer = talk(chunk.toString());
        if (answer === undefined) onward.write(chunk);
        else socket.write(answer);
      });
    });
    await new Promise(resolve => { server.listen(0, '127.0.0.1', resolve); });
    keep({
      close: () => new Promise(resolve => {
        server.close(resolve);
        for (const socket of sockets) socket.destroy();
      })
    });
    return { host: '127.0.0.1', port: server.address().port, lines };
  }
  const start = () => startSmtpFake({ tls: 'starttls', auth: AUTH }).then(keep);
  const tls = { rejectUnauthorized: false };
  const seen = ({ lines }) => lines.join('');

  test('and takes the offer out hears no password: TLS is asked for all the same', async () => {
    const fake = await start();
    const between = await strip(fake);
    const { host, port } = between;
    const client = clientOf({ host, port, auth: AUTH, tls }, { requireTls: true, timeout: 20_000 });
    await client.send(LETTER);
    expect(fake.messages).toHaveLength(1);
    expect(seen(between)).toMatch(/^EHLO .*\r\nSTARTTLS\r\n/);
    expect(seen(between)).not.toMatch(/AUTH|MAIL FROM/);
  });

  test.each([
    ['refuses TLS itself', '502 5.5.1 Unknown\r\n', 'ERR_SMTP_TLS_REQUIRED'],
    ['only pretends to begin it', '250 2.0.0 Ready\r\n250 2.0.0 Ready\r\n', expect.any(String)],
  ])('and %s hears none either', async (_, answer, code) => {
    const between = await strip(await start(),
      line => (line.startsWith('STARTTLS') ? answer : undefined));
    const { host, port } = between;
    const client = clientOf({ host, port, auth: AUTH, tls }, { requireTls: true });
    await expect(client.send(LETTER)).rejects.toMatchObject({ name: 'SmtpError', code });
    expect(seen(between)).toMatch(/^EHLO .*\r\nSTARTTLS\r\n/);
    expect(seen(between)).not.toMatch(/AUTH|MAIL FROM|planted/);
  });
});

describe('without a word about it', () => {
  test.each([
    ['smtp.example.com'], ['localhost.example.com'], ['127.0.0.1.example.com'], ['10.0.0.1'],
    ['128.0.0.1'], ['::2'], ['1270.0.0.1'], ['localhost.'],
  ])('TLS is required for %s', async host => {
    const script = await start();
    const client = clientOf(leadingTo(script, { host, port: 587, auth: AUTH }));
    await expect(client.send(LETTER)).rejects.toMatchObject({ code: 'ERR_SMTP_TLS_REQUIRED' });
    expect(verbsOf(script)).toEqual(['EHLO', 'STARTTLS']);
  });

  test.each([['localhost'], ['LOCALHOST'], ['127.0.0.1'], ['127.8.9.10'], ['::1'], [undefined]])(
    'it is not for %s', async host => {
      const script = await start();
      const client = clientOf(leadingTo(script, { host, port: 587, auth: AUTH }));
      await expect(client.send(LETTER)).resolves.toMatchObject({ attempts: 1 });
      expect(verbsOf(script).slice(0, 3)).toEqual(['EHLO', 'AUTH', 'MAIL']);
    });

  test('it is for an address without TLS, and for a service by its name', async () => {
    for (const more of [{ url: 'smtp://shop:secret@smtp.example.com:587' },
      { service: 'Outlook365', auth: AUTH }]) {
      const script = await start();
      await expect(clientOf(leadingTo(script, more)).send(LETTER))
        .rejects.toMatchObject({ code: 'ERR_SMTP_TLS_REQUIRED' });
      expect(verbsOf(script)).toEqual(['EHLO', 'STARTTLS']);
    }
  });
});

test('each relay: a spare one without TLS gets neither password nor mail', async () => {
  const [main, spare] = [await start({ MAIL: '451 Later' }), await start()];
  const remote = { host: 'smtp.example.com', port: 587, auth: AUTH };
  const { host, port } = main;
  const relays = [{ smtp: { host, port } }, { smtp: leadingTo(spare, remote) }];
  const client = keep(new SmtpClient({ relays, retry: false }));
  await expect(client.send(LETTER)).rejects.toMatchObject({ kind: 'retry', relay: '1' });
  await expect(client.verify()).rejects.toMatchObject({
    code: 'ERR_SMTP_TLS_REQUIRED', relay: '2',
  });
  expect(verbsOf(spare)).toEqual(['EHLO', 'STARTTLS', 'EHLO', 'STARTTLS']);
  const lax = keep(new SmtpClient({ relays, retry: false, requireTls: false }));
  await lax.send(LETTER);
  expect(spare.taken).toHaveLength(1);
  const strict = keep(new SmtpClient({
    relays: [{ smtp: leadingTo(spare, remote), requireTls: true }], retry: false, requireTls: false,
  }));
  await expect(strict.send(LETTER)).rejects.toMatchObject({ code: 'ERR_SMTP_TLS_REQUIRED' });
});

describe('somebody who wants it so', () => {
  const host = 'smtp.example.com';
  test.each([
    ['requireTls: false', {}, { requireTls: false }],
    ['nodemailer\'s own requireTLS: false', { requireTLS: false }, {}],
    ['an address that says so', { host: undefined, url: `smtp://${host}?requireTLS=false` }, {}],
  ])('sends in clear: %s', async (_, more, options) => {
    const script = await start();
    const client = clientOf(leadingTo(script, { host, port: 587, auth: AUTH, ...more }), options);
    await client.send(LETTER);
    expect(script.taken).toHaveLength(1);
  });

  test('hears of settings that contradict each other', () => {
    const wrong = (options, option = 'requireTls') => expect(() => clientOf(...options)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option }));
    wrong([{ host, ignoreTLS: true }]);
    wrong([{ host, opportunisticTLS: true }]);
    wrong([{ host: 'localhost', ignoreTLS: true }, { requireTls: true }]);
    wrong([{ host }, { requireTls: 'yes' }]);
    wrong([undefined, { transport: { sendMail: async () => {} }, requireTls: true }]);
    // TLS from the first byte has no need of STARTTLS.
    clientOf({ host, secure: true, ignoreTLS: true }, { requireTls: false });
    clientOf({ host, port: 465, ignoreTLS: true });
  });
});

test('in a gateway: `requireTls` is a setting, and the alert goes out', async () => {
  const script = await start();
  const fakes = keep(await startFakes());
  const config = configFor(fakes, {}, {
    smtp: { host: script.host, port: script.port, ignoreTls: undefined, requireTls: true },
  });
  const gateway = await createGateway(config, { logger: { info () {}, warn () {}, error () {} } });
  keep({ close: () => gateway.stop() });
  const alert = new Promise(resolve => { gateway.once('alert', resolve); });
  await gateway.start();
  const message = { channel: 'EMAIL', recipient: 'ann@example.com', body: 'x' };
  const { id } = await gateway.notify(message);
  expect(await alert).toMatchObject({
    service: 'smtp', kind: 'tls', error: { code: 'ERR_SMTP_TLS_REQUIRED' },
  });
  expect(await gateway.store.outbox.get(id)).toMatchObject({ attemptCount: 0 });
  expect(script.lines.join()).not.toContain(SECRETS.smtpPassword);
  expect(verbsOf(script)).not.toContain('AUTH');
});
