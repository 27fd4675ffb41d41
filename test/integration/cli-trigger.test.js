'use strict';

// A gateway with fakes, as `init --fakes` and `serve --fakes` make it, and `trigger`, which sends
// it what comes from outside.

const { fork, spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { Session } = require('../../lib/cli/session');
const { readConfig } = require('../../lib/gateway');
const { until } = require('../support/gateway-helpers');

const CLI = path.join(__dirname, '..', '..', 'lib', 'cli', 'index.js');
const RUNNER = path.join(__dirname, '..', 'support', 'cli-runner.js');

let folder;
let runner;
let server;
let words;

async function run (...args) {
  runner.send({ args, env: {} });
  const [answer] = await once(runner, 'message');
  return answer;
}

async function ask (...args) {
  const { code, stdout, stderr } = await run('--json', ...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout);
}

const chunksOf = child => child.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false });

/** What serve has printed once it listens; undefined if somebody has taken one of its ports. */
async function serving (...options) {
  server = spawn(process.execPath, [CLI, 'serve', ...options], { cwd: folder });
  let text = '';
  server.stderr.on('data', chunk => { text += chunk; });
  for await (const chunk of chunksOf(server)) {
    text += chunk;
    if (/^ {2}on {2}.*\n/m.test(text)) {
      server.stdout.resume();
      return text;
    }
  }
  if (text.includes('ERR_LISTEN')) return undefined;
  throw new Error(text);
}

beforeAll(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-trigger-'));
  runner = fork(RUNNER, { cwd: folder });
  const file = path.join(folder, 'sekering.toml');
  for (words = undefined; words === undefined;) {
    fs.rmSync(file, { force: true });
    const { stdout } = await run('init', '--fakes');
    expect(stdout).toMatch('Next: npx sekering serve --fakes');
    // A busy machine makes event loops late, and other tests' gateways trip breakers of this host.
    fs.writeFileSync(file, fs.readFileSync(file, 'utf8')
      .replace('[server]\n', '[server]\nmax_loop_delay = false\n')
      .replace('[retry.circuit_breaker]\n', '[retry.circuit_breaker]\nscope = "instance"\n')
      .replace('directory = "sekering-data"', 'memory = true'));
    words = await serving('--fakes');
  }
});

afterAll(async () => {
  const closed = server.exitCode === null ? once(server, 'close') : [server.exitCode];
  server.kill('SIGTERM');
  runner.disconnect();
  const [code] = await closed;
  fs.rmSync(folder, { recursive: true });
  expect(code).toBe(0);
});

test('serve says where everything is, and what is on; GET / leads to the dashboard', async () => {
  const [, url] = /^Listening on (\S+)$/m.exec(words);
  expect(words).toContain(`dashboard  ${url}/dashboard/  (token "operations" of sekering.toml)`);
  expect(words).toContain(`webhooks   ${url}/webhooks/midtrans`);
  expect(words).toMatch(/^ {2}on +database in memory, midtrans \(fake\), smtp \(fake\), whatsapp/m);
  const { status, headers } = await fetch(`${url}/`, { redirect: 'manual' });
  expect([status, headers.get('location')]).toEqual([302, '/dashboard/']);
});

test.each([
  ['paid', ['settlement']], ['expired', ['expire']], ['cancelled', ['cancel']],
  ['refunded', ['settlement', 'refund']], ['charged_back', ['settlement', 'chargeback']],
])('trigger makes an order %s', async (state, events) => {
  const id = `order-${state}`;
  expect(await ask('trigger', 'order', '--order', id)).toMatchObject({ state: 'created' });
  for (const event of events) {
    expect(await ask('trigger', 'midtrans', event, '--order', id))
      .toMatchObject({ status: 200, answer: { status: 'applied', order_id: id } });
  }
  const { admin } = new Session({ config: path.join(folder, 'sekering.toml') });
  expect(await admin.get(`/payments/${id}`)).toMatchObject({ state });
});

test('trigger denies a payment, sends the test notification, and knows its orders', async () => {
  await ask('trigger', 'order', '--order', 'denied');
  expect(await ask('trigger', 'midtrans', 'deny', '--order', 'denied'))
    .toMatchObject({ status: 200, answer: { status: 'applied' } });
  expect(await ask('trigger', 'midtrans', 'test')).toMatchObject({ status: 200 });
  expect(await run('trigger', 'midtrans', 'settlement', '--order', 'none'))
    .toMatchObject({ code: 4, stderr: expect.stringMatching(/NOT_FOUND: .+: \/payments\/none\n/) });
});

test('a second server says which port of its fakes is taken', async () => {
  const { port } = new URL(readConfig(path.join(folder, 'sekering.toml')).midtrans.coreUrl);
  expect(await run('serve', '--fakes')).toEqual({ code: 1, stdout: '', stderr:
    `ERR_LISTEN: The fake of midtrans cannot listen on 127.0.0.1:${port} (EADDRINUSE)\n` });
});

test('a server whose port is taken says so, and ends with its fakes', async () => {
  const { server: { port } } = readConfig(path.join(folder, 'sekering.toml'));
  const other = path.join(folder, 'other');
  await run('init', path.join('other', 'sekering.toml'), '--fakes');
  const child = spawn(process.execPath, [CLI, 'serve', '--fakes', '--port', String(port)],
    { cwd: other });
  let stderr = '';
  child.stderr.on('data', chunk => { stderr += chunk; });
  const [code] = await once(child, 'close');
  expect(code).toBe(1);
  expect(stderr).toContain(`ERR_LISTEN: Cannot listen on 127.0.0.1:${port} (EADDRINUSE)`);
});

/** Sends a message. @returns {Promise<string>} its id */
async function sendMessage (recipient) {
  const { server: { tokens, port } } = readConfig(path.join(folder, 'sekering.toml'));
  const response = await fetch(`http://127.0.0.1:${port}/notifications`, {
    method: 'POST',
    headers: { authorization: `Bearer ${tokens[0].token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ channel: 'WHATSAPP', recipient, body: 'Hello' }),
  });
  const { id } = await response.json();
  await until(async () => (await ask('outbox', 'show', id)).status === 'SENT', 60_000, 250);
  return id;
}

test('trigger reports WhatsApp messages as delivered and as failed', async () => {
  expect(await run('trigger', 'whatsapp', 'delivered')).toMatchObject({ code: 4 });
  const ids = [await sendMessage('+6281234567890'), await sendMessage('+6281234567891')];
  expect(await ask('trigger', 'whatsapp', 'failed', '--message', ids[0]))
    .toMatchObject({ status: 200 });
  // The newest one.
  expect(await ask('trigger', 'whatsapp', 'delivered')).toMatchObject({ status: 200 });
  const [failed, delivered] = [await ask('outbox', 'show', ids[0]),
    await ask('outbox', 'show', ids[1])];
  expect(failed.delivery).toMatchObject({ status: 'failed', errorCode: '131026' });
  expect(delivered.delivery).toMatchObject({ status: 'delivered' });
});

// It ends the server.
test('serve ends when the shell between it and npx dies of the signal', async () => {
  server.kill('SIGTERM');
  expect(await once(server, 'close')).toEqual([0, null]);
  const child = spawn('sh', ['-c', `"${process.execPath}" "${CLI}" serve --fakes & echo; wait`],
    { cwd: folder, env: { ...process.env, npm_command: 'exec' } });
  let text = '';
  for await (const chunk of chunksOf(child)) {
    text += chunk;
    if (/^ {2}on {2}.*\n/m.test(text)) break;
  }
  const [, url] = /^Listening on (\S+)$/m.exec(text);
  child.stdout.resume();
  child.kill('SIGTERM');
  await until(() => fetch(`${url}/health/live`).then(() => false, () => true), 60_000);
});

// It has a server of its own.
test('without fakes, trigger says why an event is not accepted', async () => {
  const [, url] = /^Listening on (\S+)$/m.exec(await serving('--port', '0'));
  const order = await run('--url', url, 'trigger', 'order', '--order', 'unpaid');
  expect(order).toMatchObject({ code: 0, stdout: 'Order unpaid: queued\n' });
  const { code, stdout } =
    await run('--url', url, 'trigger', 'midtrans', 'settlement', '--order', 'unpaid');
  expect(code).toBe(1);
  expect(stdout).toMatch('POST /webhooks/midtrans: 503 unavailable\nMidtrans has not confirmed it');
  expect(stdout).toMatch('--fakes');
});
