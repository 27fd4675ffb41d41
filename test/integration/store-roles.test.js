'use strict';

// Who owns the schema and who uses it may be two roles: the second one needs the rights that
// `sekering grants` prints, and no others.

const { execFile } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { CircuitBreaker } = require('../..');
const { openStore } = require('../../lib/store');
const { SECRETS, order, startAll, until } = require('../support/gateway-helpers');
const { closeShared, sharedPostgres } = require('../support/postgres');

const CLI = path.join(__dirname, '..', '..', 'lib', 'cli', 'index.js');
const { operateToken, shopToken } = SECRETS;

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-roles-'));
let server;
let urls;
let database;
let it;

beforeAll(async () => {
  server = await sharedPostgres();
  const url = await server.createDatabase();
  database = new URL(url).pathname.slice(1);
  await server.query('CREATE ROLE "the owner" LOGIN; CREATE ROLE "App-1" LOGIN');
  await server.query(`REVOKE ALL ON DATABASE ${database} FROM PUBLIC;
    GRANT CREATE, CONNECT ON DATABASE ${database} TO "the owner";
    GRANT CONNECT ON DATABASE ${database} TO "App-1"; REVOKE ALL ON SCHEMA public FROM PUBLIC`,
  url);
  urls = { owner: server.urlOf(database, 'the%20owner'), app: server.urlOf(database, 'App-1') };
});
afterAll(async () => {
  await it?.close();
  await closeShared();
  fs.rmSync(folder, { recursive: true });
});

/** @returns {Promise<{ code: number, stdout: string, stderr: string }>} */
function sekering (args, config = `store = { url = "${urls.app}", migrate = false }`) {
  const file = path.join(folder, 'sekering.toml');
  fs.writeFileSync(file, config);
  const env = { ...process.env, OWNER_URL: urls.owner };
  for (const name of ['TOKEN', 'URL', 'CONFIG']) delete env[`SEKERING_${name}`];
  return new Promise(resolve => {
    execFile(process.execPath, [CLI, '-c', file, ...args], { env },
      (error, stdout, stderr) => resolve({ code: error?.code ?? 0, stdout, stderr }));
  });
}

const ask = async path => {
  const { status, body } = await it.ask(`/admin/reliability${path}`, { token: operateToken });
  expect([path, status]).toEqual([path, 200]);
  return body;
};

describe('with a role that only uses the schema', () => {
  test('the commands say what is missing, step by step', async () => {
    expect(await sekering(['check'])).toMatchObject({
      code: 1, stdout: expect.stringMatching(/ERR_STORE_NOT_MIGRATED[^]*version 0/) });
    expect(await sekering(['migrate'])).toMatchObject({
      code: 1, stderr: expect.stringMatching(/ERR_STORE_QUERY: .*CREATE SCHEMA "sekering" AUTH/) });
    const { code, stdout } = await sekering(['--json', 'migrate', '--url', 'env:OWNER_URL']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout).applied[0]).toBe('001-outbox');

    for (const migrate of [true, false]) {
      await expect(openStore({ url: urls.app, migrate })).rejects.toMatchObject({
        code: 'ERR_STORE_QUERY', sqlState: '42501',
        message: expect.stringContaining('sekering grants'),
      });
    }
    const granted = await sekering(['grants']);
    expect(granted).toMatchObject({ code: 0, stdout: expect.stringContaining('TO "App-1";') });
    await server.query(granted.stdout, urls.owner);
    expect(await sekering(['check'])).toMatchObject({ code: 0 });
    expect((await sekering(['grants', '--role', 'x"y'])).stdout).toContain('TO "x""y";');
    expect(await sekering(['grants'], 'store = { memory = true }'))
      .toMatchObject({ code: 2, stderr: expect.stringContaining('--role') });
  }, 600_000);

  test('orders, notifications, messages and dead letters work', async () => {
    const paid = [];
    // Nothing is found by polling: what is announced has to be heard.
    it = await startAll({ url: urls.app }, {
      store: { url: urls.app, migrate: false },
      outbox: { pollInterval: 600_000, maxAttempts: 1 },
      retry: { circuitBreaker: { scope: 'fleet' } },
    }, { hooks: { onPaid: ({ orderId }) => { paid.push(orderId); } } });
    const post = (path, body, headers) => it.ask(path, { token: shopToken, body, headers });
    const key = { 'idempotency-key': '"one"' };
    const first = await post('/orders', order('a-1'), key);
    expect(first.status).toBe(201);
    expect((await post('/orders', order('a-1'), key)).text).toBe(first.text);

    it.midtrans.choose('a-1');
    it.midtrans.settle('a-1');
    const notification = it.midtrans.notifications('a-1').at(-1);
    expect((await it.ask('/webhooks/midtrans', { body: notification })).status).toBe(200);
    await until(() => paid.includes('a-1'));
    await it.gateway.store.payments.reconcile({ olderThan: 0 });
    const messages = ['a@x.example', 'b@x.example'].map(recipient =>
      ({ channel: 'EMAIL', recipient, subject: 'Hello', body: 'Hello' }));
    expect((await post('/notifications', messages)).status).toBe(202);
    await until(() => it.smtp.messages.length === 2);

    it.smtp.set({ stage: 'rcpt', code: 550 });
    expect((await post('/notifications', { ...messages[0], body: 'Later' })).status).toBe(202);
    const letter = await until(async () => (await ask('/dlq')).letters[0]);
    it.smtp.set(null);
    const retried = await it.ask(`/admin/reliability/dlq/${letter.id}/retry`,
      { token: operateToken, body: { reason: 'the mailbox is back' } });
    expect(retried.status).toBe(200);
    await until(() => it.smtp.messages.length === 3);
    await it.gateway.store.deadLetters.add(messages[0], 'a test');
    const purged = await it.ask('/admin/reliability/dlq/purge',
      { token: operateToken, body: { all: true, reason: 'a test' } });
    expect(purged.body).toEqual({ purged: 1 });
  });

  test('so do breakers of the fleet, a shared level, jobs, and retention', async () => {
    const { store, degradation, schedule } = it.gateway;
    const other = await openStore({ url: urls.app, migrate: false });
    const heard = new Promise(resolve => { it.gateway.breakers.smtp.once('open', resolve); });
    const { name, namespace } = it.gateway.breakers.smtp.options;
    const twin = new CircuitBreaker(async () => {}, { name, namespace });
    await other.fleet.join(twin, { namespace });
    twin.open();
    await heard;
    twin.close();
    await until(() => it.gateway.breakers.smtp.closed);
    await other.close();
    twin.shutdown();

    degradation.setLevel('SEVERE', { reason: 'a test', by: 'ana' });
    await until(async () => (await store.query(
      "SELECT 1 FROM sekering.degradation_level WHERE level = 'SEVERE'")).rowCount === 1);
    for (const job of Object.keys(schedule.next())) expect(await schedule.run(job)).toBe(true);
    const ages = Object.fromEntries(['sent', 'dead', 'idempotency', 'deliveries', 'audit',
      'foreignEvents', 'events'].map(kind => [kind, 0]));
    expect((await store.cleanUp(ages)).sent).toBeGreaterThan(0);
  });

  test('so do all pages, and nothing was refused', async () => {
    for (const page of ['/health', '/dlq/summary', '/outbox/stats', '/outbox', '/undelivered',
      '/payments', '/payments/a-1', '/payments/a-1/events', '/payment-events', '/audit',
      '/report?format=json', '/circuit-breakers', '/degradation']) await ask(page);
    expect((await it.ask('/health/ready')).status).toBe(200);
    expect(JSON.stringify(it.log.lines.map(({ err, ...line }) => [line, err?.message])))
      .not.toMatch(/permission denied|refused a statement/);
    expect(server.log()).not.toMatch(/"App-1".*permission denied/);
  });

  test('it makes no tables and records no migrations, and may use those of later releases',
    async () => {
      const as = (who, text) => server.query(text, urls[who]);
      await expect(as('app', 'CREATE TABLE sekering.x (i int)')).rejects
        .toMatchObject({ code: '42501' });
      await expect(as('app', 'DELETE FROM sekering.migrations')).rejects
        .toMatchObject({ code: '42501' });
      await as('owner', 'CREATE TABLE sekering.later (i int GENERATED ALWAYS AS IDENTITY, t text)');
      await as('app', "INSERT INTO sekering.later (t) VALUES ('a'); DELETE FROM sekering.later");
      await as('owner', "DELETE FROM sekering.migrations WHERE name = '012-outbox-html'");
      await expect(openStore({ url: urls.app })).rejects.toMatchObject({
        code: 'ERR_STORE_QUERY', sqlState: '42501',
        message: expect.stringContaining('"sekering migrate"'),
      });
    });
});
