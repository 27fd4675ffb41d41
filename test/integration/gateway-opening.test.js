'use strict';

// A gateway that starts before its database: one that says so, one that says nothing, one that
// restarts in the middle of the migrations.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');

const { Client } = require('pg');

const { createGateway } = require('../../lib/gateway');
const { startTcpProxy } = require('../../lib/testing/tcp-proxy');
const { collector } = require('../support/gateway-helpers');
const { keep } = require('../support/keep');
const { until } = require('../support/outbox-helpers');
const { startPostgres } = require('../support/postgres');

const CLI = path.join(__dirname, '..', '..', 'lib', 'cli', 'index.js');
const WAITING = 'The database cannot be reached: trying again';
const SECRET = 'planted-password';

let server;
beforeAll(async () => { server = await startPostgres({ fsync: 'off' }); });
afterAll(() => server.close());

const through = ({ port }, url) => url.replace(/@127\.0\.0\.1:\d+/, `:${SECRET}@127.0.0.1:${port}`);

/** Opens a gateway; `warned` are the errors that it has logged while it waits. */
function open (url, { timeout = 60_000, ...parts } = {}) {
  const log = collector();
  const config = { profile: 'testing', store: { url, timeout, startTimeout: 600_000 } };
  const opening = createGateway(config, { logger: log, ...parts });
  let isOver = false;
  opening.then(() => { isOver = true; }, () => { isOver = true; });
  return {
    opening,
    /** Resolves once it has warned so often; rejects if it does not wait. */
    async waits (count = 1) {
      await until(() => isOver || this.warned.length >= count);
      if (isOver) throw new Error('It did not wait', { cause: await opening });
    },
    get warned () {
      return log.lines.filter(({ message }) => message === WAITING).map(({ err }) => err);
    },
  };
}

const field = (letter, text) => `${letter}${text}\0`;

/** PostgreSQL as it starts up or recovers: it answers every startup with 57P03. */
async function startStarting () {
  const text = [field('S', 'FATAL'), field('V', 'FATAL'), field('C', '57P03'),
    field('M', 'the database system is starting up'), '\0'].join('');
  const answer = Buffer.concat([Buffer.from('E\0\0\0\0'), Buffer.from(text)]);
  answer.writeInt32BE(answer.length - 1, 1);
  const it = { isUp: false };
  const sockets = new Set();
  const front = net.createServer(socket => {
    sockets.add(socket);
    socket.on('error', () => {});
    if (!it.isUp) {
      socket.once('data', () => socket.end(answer));
      return;
    }
    const onward = net.connect(server.port, '127.0.0.1');
    onward.on('error', () => {});
    for (const [from, to] of [[socket, onward], [onward, socket]]) {
      from.pipe(to);
      from.on('close', () => to.destroy());
    }
  }).listen(0, '127.0.0.1');
  await once(front, 'listening');
  it.port = front.address().port;
  keep(front, () => {
    front.close();
    for (const socket of sockets) socket.destroy();
  });
  return it;
}

test('one that is starting up is waited for, and that is said', async () => {
  const starting = await startStarting();
  const it = open(through(starting, await server.createDatabase()));
  await it.waits(2);
  expect(it.warned[0]).toMatchObject({
    code: 'ERR_STORE_UNREACHABLE', message: expect.stringContaining('starting up'),
  });
  starting.isUp = true;
  const gateway = await it.opening;
  expect(await gateway.store.health()).toMatchObject({ ok: true });
  await gateway.stop();
  expect(it.warned.map(({ message }) => message).join()).not.toMatch(SECRET);
});

test('one that recovers from a crash is waited for', async () => {
  const url = await server.createDatabase();
  await server.stop('immediate');
  const it = open(url);
  const [gateway] = await Promise.all([it.opening, server.start()]);
  expect(await gateway.store.health()).toMatchObject({ ok: true });
  await gateway.stop();
});

test('one that accepts connections and says nothing is waited for', async () => {
  const proxy = keep(await startTcpProxy({ target: server.port, faults: { dropAnswers: true } }));
  const it = open(through(proxy, await server.createDatabase()), { timeout: 1000 });
  await it.waits();
  expect(it.warned[0]).toMatchObject({ code: 'ERR_STORE_UNREACHABLE' });
  proxy.set(null);
  const gateway = await it.opening;
  expect(gateway.running).toBe(false);
  await gateway.stop();
});

test('a restart in the middle of the migrations leaves none of them half-made', async () => {
  const url = await server.createDatabase();
  // In the middle of a migration, its second table waits for a lock that somebody else has.
  await server.query(`CREATE FUNCTION public.hold () RETURNS event_trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF to_regclass('sekering.payment_transactions') IS NOT NULL THEN
          PERFORM pg_advisory_xact_lock(42);
        END IF;
      END $$;
    CREATE EVENT TRIGGER hold ON ddl_command_end EXECUTE FUNCTION public.hold()`, url);
  const holder = new Client({ connectionString: url });
  holder.on('error', () => {});
  await holder.connect();
  await holder.query('SELECT pg_advisory_lock(42)');
  const it = open(url);
  await until(async () => (await server.query(`SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND objid = 42 AND NOT granted`)).rowCount > 0);
  await server.restart('immediate');
  const gateway = await it.opening;
  expect(it.warned.map(({ code }) => code)).toContain('ERR_STORE_UNREACHABLE');
  expect(await gateway.store.migrate()).toMatchObject({ applied: [] });
  await gateway.store.outbox.enqueue({ channel: 'EMAIL', recipient: 'a@b.co', body: 'x' });
  await gateway.stop();
});

describe('the wait ends', () => {
  test('with a signal, whether an attempt is under way or not', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const url = await server.createDatabase();
    // Somebody else migrates, so the second one is in the middle of an attempt.
    const holder = new Client({ connectionString: url });
    await holder.connect();
    await holder.query("SELECT pg_advisory_lock(hashtextextended('sekering.migrate.sekering', 0))");
    const waiting = open(through(await startStarting(), url), { signal });
    const migrating = open(url, { signal });
    await waiting.waits();
    await until(async () => (await server.query(
      "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")).rowCount > 0);
    const reason = new Error('enough');
    controller.abort(reason);
    for (const { opening } of [waiting, migrating]) await expect(opening).rejects.toBe(reason);
    // The attempt comes to its end.
    await holder.end();
    await until(async () => (await server.query(
      "SELECT FROM pg_stat_activity WHERE application_name = 'sekering'")).rowCount === 0);
    await expect(open(url, { signal: AbortSignal.abort(reason) }).opening).rejects.toBe(reason);
  });

  test('an embedded database that was being opened is closed again', async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-opening-'));
    keep(folder, () => fs.rmSync(folder, { recursive: true }));
    const directory = path.join(folder, 'data');
    const config = { profile: 'testing', store: { directory } };
    const begin = parts => createGateway(config, { logger: collector(), ...parts });
    const controller = new AbortController();
    const opening = begin({ signal: controller.signal });
    await until(() => fs.existsSync(directory));
    controller.abort(new Error('enough'));
    await expect(opening).rejects.toThrow('enough');
    // Nobody else can open it before that.
    const gateway = await until(() => begin().catch(({ code }) => {
      expect(code).toBe('ERR_STORE_DIRECTORY_LOCKED');
    }));
    await gateway.stop();
  });

  test('of sekering serve, with SIGTERM', async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-opening-'));
    keep(folder, () => fs.rmSync(folder, { recursive: true }));
    const url = through(await startStarting(), server.url);
    fs.writeFileSync(path.join(folder, 'sekering.toml'), `[store]\nurl = "${url}"\n`);
    const child = spawn(process.execPath, [CLI, 'serve', '--port', '0'], { cwd: folder });
    keep(child, () => child.kill('SIGKILL'));
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', it => { output += it; });
    await until(() => output.includes(WAITING) || child.exitCode !== null);
    expect(output).toMatch(WAITING);
    child.kill('SIGTERM');
    await once(child, 'close');
    expect(output).not.toMatch(SECRET);
  });
});
