'use strict';

// verify() against hosts that stop answering: it ends in time, and leaves nothing behind.

const net = require('node:net');

const { SmtpClient } = require('../../lib/clients/smtp');
const { startSmtpFake, useVirtualClock } = require('../../lib/testing');
const { AUTH, closeAll, keep, start } = require('../support/smtp-script');

const TIMEOUT_MS = 60_000;

let clock;
beforeEach(() => { clock = useVirtualClock(); });
afterEach(async () => {
  clock.restore();
  await closeAll();
});

/**
 * A host that says this, then nothing more. `silent` resolves when it has said all, `closed` when
 * it has lost its client.
 */
async function hostOf (words = []) {
  const it = { host: '127.0.0.1', heard: '' };
  it.silent = new Promise(resolveSilent => {
    it.closed = new Promise(resolve => {
      it.server = net.createServer(socket => {
        const left = [...words];
        const say = () => {
          if (left.length > 0) socket.write(left.shift());
          if (left.length === 0) resolveSilent();
        };
        say();
        socket.on('data', chunk => {
          it.heard += chunk;
          say();
        });
        socket.on('error', () => {}).on('close', resolve);
      });
    });
  });
  await new Promise(resolve => { it.server.listen(0, it.host, resolve); });
  it.port = it.server.address().port;
  it.close = () => new Promise(resolve => { it.server.close(resolve); });
  return keep(it);
}

const EHLO = '250-hello\r\n250 AUTH PLAIN\r\n';
const HOSTS = [
  ['accepts, and says nothing', []],
  ['says half a greeting', ['220-hel']],
  ['falls silent after EHLO', ['220 hello\r\n', '250-hello\r\n']],
  ['falls silent at the sign-in', ['220 hello\r\n', EHLO]],
  ['begins TLS, and says nothing',
    ['220 hello\r\n', '250-hello\r\n250 STARTTLS\r\n', '220 go\r\n']],
];
const optionsOf = ({ host, port }) => ({ host, port, auth: AUTH });

/** Lets the time of a check pass once the hosts have fallen silent; returns its error. */
async function errorOf (check, ...hosts) {
  const failed = check.catch(error => error);
  await Promise.all(hosts.map(({ silent }) => silent));
  await clock.advance(TIMEOUT_MS);
  const error = await failed;
  await Promise.all(hosts.map(({ closed }) => closed));
  return error;
}

/** Timers and sockets that keep this process alive. */
const resources = () => process.getActiveResourcesInfo()
  .filter(name => ['Timeout', 'TCPSocketWrap'].includes(name)).length;

test.each(HOSTS)('a host that %s: verify() ends, and so does the connection', async (_, words) => {
  const host = await hostOf(words);
  const client = keep(new SmtpClient({ smtp: optionsOf(host) }));
  expect(await errorOf(client.verify({ timeout: TIMEOUT_MS }), host)).toMatchObject({
    name: 'SmtpError', code: 'ETIMEDOUT', kind: 'retry',
  });
});

test('a host that sends its greeting slowly for ever', async () => {
  const host = await hostOf(['220-a\r\n']);
  host.server.on('connection', socket => {
    const timer = setInterval(() => socket.write('220-a\r\n'), 20);
    socket.on('close', () => clearInterval(timer));
  });
  const client = keep(new SmtpClient({ smtp: optionsOf(host) }));
  const error = await errorOf(client.verify({ timeout: TIMEOUT_MS }), host);
  expect(error.code).toBe('ETIMEDOUT');
});

test('TLS from the first byte: a silent host, and one without TLS', async () => {
  const host = await hostOf();
  const client = keep(new SmtpClient({ smtp: { ...optionsOf(host), secure: true } }));
  const error = await errorOf(client.verify({ timeout: TIMEOUT_MS }), host);
  expect(error.code).toBe('ETIMEDOUT');
  const fake = keep(await startSmtpFake({ tls: 'implicit', auth: AUTH }));
  const settings = { ...optionsOf(fake), secure: true };
  const strict = keep(new SmtpClient({ smtp: settings }));
  await expect(strict.verify()).rejects.toMatchObject({ kind: 'ours', reason: 'certificate' });
  const tls = { rejectUnauthorized: false };
  const lenient = keep(new SmtpClient({ smtp: { ...settings, tls } }));
  await expect(lenient.verify()).resolves.toBe(true);
});

test('a host that does not answer QUIT: verify() ends, and so does the connection', async () => {
  const host = await hostOf(['220 hello\r\n', EHLO, '235 welcome\r\n']);
  const client = keep(new SmtpClient({ smtp: optionsOf(host) }));
  await expect(client.verify()).resolves.toBe(true);
  await host.closed;
  expect(host.heard).toMatch(/QUIT\r\n$/);
});

test('connections of the user\'s own end, too', async () => {
  const host = await hostOf();
  const client = keep(new SmtpClient({
    smtp: {
      ...optionsOf(host),
      getSocket: (options, done) => {
        const connection = net.connect(host.port, host.host, () => done(null, { connection }));
      },
    }
  }));
  const error = await errorOf(client.verify({ timeout: TIMEOUT_MS }), host);
  expect(error.code).toBe('ETIMEDOUT');
});

test('with several relays it says which one failed, and all connections end', async () => {
  const hosts = await Promise.all(HOSTS.map(([, words]) => hostOf(words)));
  const well = await start();
  const client = keep(new SmtpClient({
    relays: [...hosts, well].map((host, i) => ({ name: `r${i}`, smtp: optionsOf(host) })),
  }));
  const before = resources();
  expect(await errorOf(client.verify({ timeout: TIMEOUT_MS }), ...hosts)).toMatchObject({
    code: 'ETIMEDOUT', relay: 'r0', message: expect.stringMatching(/^Relay r0: /),
  });
  await expect(client.relays.at(-1).verify()).resolves.toBe(true);
  while (well.sockets.size > 0) await new Promise(resolve => setImmediate(resolve));
  expect(resources()).toBeLessThanOrEqual(before);
});
