'use strict';

// PostgreSQL over TLS: who is trusted, what is encrypted, and what an error says about the rest.

const fs = require('node:fs');
const { fork } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');

const { openStore } = require('../../lib/store');
const { makeAuthority } = require('../support/certificates');
const { keep } = require('../support/keep');
const { until } = require('../support/outbox-helpers');
const { startPostgres } = require('../support/postgres');

const RUNNER = path.join(__dirname, '..', 'support', 'cli-runner.js');

let ours;
let strange;
let server;
let certificate;
let url;
let runner;
beforeAll(async () => {
  [ours, strange] = [makeAuthority(), makeAuthority()];
  certificate = ours.sign('database');
  server = await startPostgres({ fsync: 'off' }, { ssl: { ...certificate, ca: ours.file } });
  await server.query('CREATE ROLE carded SUPERUSER LOGIN; CREATE ROLE hidden SUPERUSER LOGIN');
  await server.allow('hostnossl all hidden all reject', 'hostssl all carded all cert');
  url = await server.createDatabase();
  runner = fork(RUNNER, { stdio: 'ignore', execArgv: ['--no-warnings'] });
});
afterAll(async () => {
  runner.kill();
  await server.close();
  for (const authority of [ours, strange]) authority.close();
});

/** Lets the server have another certificate until the test is over. */
async function serve (other) {
  await server.setCertificate(other);
  keep(server, () => server.setCertificate(certificate));
}

/** The address with these parameters, after those that trust our authority. */
const at = ({ user = 'postgres:geheim', host = '127.0.0.1', ...parameters }) => {
  const all = { sslmode: 'verify-full', sslrootcert: ours.file, ...parameters };
  const query = Object.entries(all).filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
  return `${url.replace('postgres@127.0.0.1', `${user}@${host}`)}?${query}`;
};

const withCard = ({ cert, key }) => ({ user: 'carded:geheim', sslcert: cert, sslkey: key });

/** What `sekering migrate` ends with. */
async function migrate (address) {
  runner.send({ args: ['--url', address, 'migrate'], env: {} });
  const [answer] = await once(runner, 'message');
  expect(`${answer.stdout}${answer.stderr}`).not.toMatch('geheim');
  return answer;
}

/** That both refuse an address, in the same words, and do not wait. */
async function isRefused (address, expected, words) {
  const error = await openStore({ url: address }).catch(e => e);
  expect(error).toMatchObject({ name: 'StoreError', code: 'ERR_STORE_UNREACHABLE', ...expected });
  expect(error.message).toMatch(words);
  expect(error.message).not.toMatch('\n');
  expect(`${error.stack}${JSON.stringify(error)}`).not.toMatch('geheim');
  const { code, stderr } = await migrate(address);
  expect({ code, stderr }).toEqual({ code: 1, stderr: `${error.code}: ${error.message}\n` });
}

const NEVER = { retryable: false };

/** Whether a store's connections are encrypted: those of the pool, and the one that listens. */
async function connectionsOf (store) {
  const stop = await store.listen('news', () => {});
  const { rows } = await store.query(`SELECT DISTINCT ssl, query LIKE 'LISTEN%' AS listens
    FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)
    WHERE application_name = 'sekering' AND datname = current_database() ORDER BY listens`);
  await stop();
  return rows;
}
const both = ssl => [{ ssl, listens: false }, { ssl, listens: true }];

describe('is encrypted', () => {
  test.each([
    ['prefer', '127.0.0.1'], ['require', '127.0.0.1'], ['verify-ca', '127.0.0.1'],
    ['verify-full', '127.0.0.1'], ['verify-full', 'localhost'],
  ])('with sslmode=%s and the right authority, at %s', async (sslmode, host) => {
    const address = at({ sslmode, host });
    expect(await connectionsOf(keep(await openStore({ url: address })))).toEqual(both(true));
    expect(await migrate(address)).toMatchObject({ code: 0, stderr: '' });
  });

  test('with sslmode=no-verify, whoever has signed the certificate', async () => {
    await serve(strange.sign('database', { names: 'DNS:db.example.com', days: -1 }));
    const store = keep(await openStore({ url: at({ sslmode: 'no-verify' }) }));
    expect(await connectionsOf(store)).toEqual(both(true));
  });

  test('with a certificate of the client', async () => {
    const address = at(withCard(ours.sign('carded')));
    expect(await connectionsOf(keep(await openStore({ url: address })))).toEqual(both(true));
    expect(await migrate(address)).toMatchObject({ code: 0, stderr: '' });
  });

  test('not without sslmode, nor with sslmode=disable', async () => {
    for (const sslmode of [undefined, 'disable']) {
      const store = keep(await openStore({ url: at({ sslmode, sslrootcert: undefined }) }));
      expect(await connectionsOf(store)).toEqual(both(false));
    }
    await isRefused(at({ user: 'hidden', sslmode: undefined, sslrootcert: undefined }), NEVER,
      /no encryption.*sslmode=verify-full/);
  });
});

describe('the server is refused', () => {
  test('if no trusted authority has signed its certificate', async () => {
    const words = /self-signed certificate in certificate chain \(sslrootcert has to name/;
    await isRefused(at({ sslrootcert: undefined }), NEVER, words);
    for (const sslmode of ['prefer', 'require', 'verify-ca', 'verify-full']) {
      await isRefused(at({ sslmode, sslrootcert: strange.file }), NEVER, words);
    }
  });

  test('if its certificate has expired', async () => {
    await serve(ours.sign('database', { days: -1 }));
    await isRefused(at({}), NEVER, /certificate has expired .*renewed/);
  });

  test('if its certificate has other names, unless somebody wants less', async () => {
    await serve(ours.sign('database', { names: 'DNS:db.example.com' }));
    for (const sslmode of ['prefer', 'require', 'verify-ca', 'verify-full']) {
      await isRefused(at({ sslmode }), NEVER, /127\.0\.0\.1.*the host has to be a name/);
    }
    const lax = { uselibpqcompat: 'true', sslmode: 'verify-ca' };
    expect(await connectionsOf(keep(await openStore({ url: at(lax) })))).toEqual(both(true));
    await isRefused(at({ ...lax, sslrootcert: strange.file }), NEVER, /sslrootcert has to name/);
  });

  test('if it has no TLS', async () => {
    await server.query('ALTER SYSTEM SET ssl = off');
    await server.reload();
    keep(server, async () => {
      await server.query('ALTER SYSTEM RESET ssl');
      await server.reload();
    });
    for (const sslmode of ['prefer', 'require', 'verify-full']) {
      await isRefused(at({ sslmode }), NEVER, /not support SSL connections \(turn on TLS/);
    }
  });
});

describe('the client is refused', () => {
  const CARD = /valid client certificate.*sslcert and sslkey/;

  test('without a certificate, or with one that the server does not accept', async () => {
    await isRefused(at({ user: 'carded:geheim' }), { ...NEVER, sqlState: '28000' }, CARD);
    await isRefused(at(withCard(ours.sign('other'))), { ...NEVER, sqlState: '28000' }, 'carded');
  });

  test.each([['a stranger', () => strange.sign('carded')],
    ['an expired one', () => ours.sign('carded', { days: -1 })]])(
    'with the certificate of %s', async (_, make) => {
      const error = await openStore({ url: at(withCard(make())) }).catch(e => e);
      expect(error).toMatchObject({ code: 'ERR_STORE_UNREACHABLE' });
      // The server closes the connection behind its alert, which may overtake it.
      if (error.cause.code === 'ECONNRESET') return;
      expect(error).toMatchObject(NEVER);
      expect(error.message).toMatch(/\(the server rejects the certificate of sslcert\)$/);
    });

  test('with a key that belongs to another certificate, or files of something else', async () => {
    const [card, other] = [ours.sign('carded'), ours.sign('carded')];
    const words = /sslcert and sslkey have to name a certificate and its key/;
    await isRefused(at(withCard({ ...card, key: other.key })), NEVER, words);
    await isRefused(at(withCard({ ...card, cert: __filename })), NEVER, words);
  });
});

test('a file that is missing is named, and nothing else of the address', async () => {
  for (const name of ['sslrootcert', 'sslcert', 'sslkey']) {
    const address = at({ [name]: '/nowhere/x.pem' });
    const error = await openStore({ url: address }).catch(e => e);
    expect(error).toMatchObject({ code: 'ERR_INVALID_OPTION', option: 'url' });
    expect(error.message).toMatch(`the file of ${name} cannot be read: "/nowhere/x.pem"`);
    expect(`${error.stack}${JSON.stringify(error)}`).not.toMatch('geheim');
    expect(await migrate(address)).toMatchObject({
      code: 2, stderr: expect.stringContaining(`the file of ${name} cannot be read`),
    });
  }
});

describe('a store that is open', () => {
  /** Ends its connections. */
  const cut = () => server.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'sekering'`);

  test('warns of a certificate that has expired, and goes on when it is renewed', async () => {
    const store = keep(await openStore({ url: at({}) }));
    const warnings = [];
    store.on('warning', error => warnings.push(error));
    const heard = [];
    await store.listen('news', payload => heard.push(payload), () => heard.push('again'));
    await serve(ours.sign('database', { days: -1 }));
    await cut();
    const message = expect.stringMatching('renewed');
    const expired = expect.objectContaining({ ...NEVER, message });
    await until(() => warnings.filter(({ retryable }) => !retryable).length > 1);
    expect(warnings).toContainEqual(expired);
    await expect(store.query('SELECT 1')).rejects.toEqual(expired);
    expect(await store.health()).toMatchObject({ ok: false, error: message });
    await server.setCertificate(certificate);
    await until(() => heard.includes('again'));
    expect((await store.query('SELECT 1 AS x')).rows).toEqual([{ x: 1 }]);
  });

  test('reads its files again, and lives on while they are away', async () => {
    const file = path.join(ours.folder, 'renewed.crt');
    fs.copyFileSync(ours.file, file);
    const store = keep(await openStore({ url: at({ sslrootcert: file }), connections: 1 }));
    store.on('warning', () => {});
    const stop = await store.listen('news', () => {});
    // Its only other connection is busy, so that one more statement waits for it.
    const sleep = store.query('SELECT pg_sleep(600)').catch(e => e);
    const waiting = store.query('SELECT 1 AS x');
    await until(async () => (await server.query(
      "SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'")).rowCount > 0);
    fs.rmSync(file);
    await cut();
    expect(await sleep).toMatchObject({ code: 'ERR_STORE_UNREACHABLE', retryable: true });
    expect((await waiting).rows).toEqual([{ x: 1 }]);
    await stop();
    // Another authority takes over, in the same file.
    await serve(strange.sign('database'));
    fs.copyFileSync(strange.file, file);
    await cut();
    await until(async () => (await store.health()).ok);
  });
});
