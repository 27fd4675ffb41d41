'use strict';

// The command `sekering`, as a user runs it, with a server of its own. Starting a process takes
// longer than most commands, so that only some run in one: each way to end, and what runs on.

const { fork, spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');

const { regions } = require('../../lib');
const { startSmtpFake } = require('../../lib/testing');
const { until } = require('../support/gateway-helpers');

const CLI = path.join(__dirname, '..', '..', 'lib', 'cli', 'index.js');
const RUNNER = path.join(__dirname, '..', 'support', 'cli-runner.js');
const TOKEN = 'operator-token-of-the-tests';
const SHOP = 'shop-token-of-the-tests';
const PASSWORD = 'planted-secret-password';

let folder;
let smtp;
let server;
let runner;
let url;
/** What the server has said. */
let words;

for (const name of ['TOKEN', 'URL', 'CONFIG']) delete process.env[`SEKERING_${name}`];

function start (args, env = {}) {
  return spawn(process.execPath, [CLI, ...args], { cwd: folder, env: { ...process.env, ...env } });
}

/** A command without a process of its own. */
async function run (args, env = {}) {
  runner.send({ args, env });
  const [answer] = await once(runner, 'message');
  return answer;
}

async function spawned (args, env) {
  const child = start(args, env);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', text => { stdout += text; });
  child.stderr.on('data', text => { stderr += text; });
  const [code] = await once(child, 'close');
  return { code, stdout, stderr };
}

/** A command that asks the server, answered in JSON. */
async function ask (...args) {
  const { code, stdout, stderr } = await run(['--config', 'server.toml', '--json', ...args]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout);
}

/** The server allows 600 requests in a minute. */
const untilAsked = check => until(check, 15_000, 250);

const show = async (...args) => (await run(['--config', 'server.toml', ...args])).stdout;

async function post (body) {
  const response = await fetch(`${url}/notifications`, {
    method: 'POST',
    headers: { authorization: `Bearer ${SHOP}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  expect(response.status).toBe(202);
  return response.json();
}

const linesOf = child => child.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false });

/** The address that a server says it listens on. */
async function listening (child) {
  let stderr = '';
  child.stderr.on('data', text => { stderr += text; });
  for await (const line of linesOf(child)) {
    const found = /http:\S+/.exec(line);
    if (found !== null) return found[0];
  }
  throw new Error(`It has ended: ${stderr}`);
}

beforeAll(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-cli-'));
  runner = fork(RUNNER, { cwd: folder });
  smtp = await startSmtpFake();
  const config = port => `
    profile = "testing"
    server = { port = ${port}, tokens = [{ name = "shop", token = "${SHOP}" }] }
    store = { memory = true }
    admin = { tokens = [{ name = "ops", role = "operate", token = "env:OPS_TOKEN" }] }
    smtp = { host = "127.0.0.1", port = ${smtp.port}, ignore_tls = true, from = "a@example.com" }
  `;
  fs.writeFileSync(path.join(folder, 'first.toml'), config(0));
  server = start(['serve', '--config', 'first.toml'], { OPS_TOKEN: TOKEN });
  words = '';
  server.stdout.on('data', text => { words += text; });
  url = await listening(server);
  const { port } = new URL(url);
  fs.writeFileSync(path.join(folder, 'server.toml'), config(port).replace('env:OPS_TOKEN', TOKEN));
});

afterAll(async () => {
  const closed = server.exitCode === null ? once(server, 'close') : [server.exitCode];
  server.kill('SIGTERM');
  runner.disconnect();
  const [code] = await closed;
  await smtp.close();
  fs.rmSync(folder, { recursive: true });
  expect(code).toBe(0);
});

test('serve says what is off, and how it is turned on', async () => {
  await until(() => words.includes('  off'));
  expect(words.split('\n').filter(line => line.startsWith('  off'))).toEqual(
    ['midtrans', 'whatsapp'].map(name => `  off        ${name}: there is no section ${name}`));
});

test('breakers list and reset', async () => {
  const { breakers } = await ask('breakers', 'list');
  expect(breakers.map(({ name, state }) => `${name} ${state}`).sort())
    .toEqual(['database closed', 'smtp closed']);
  expect(await show('breakers', 'list')).toMatch(/^NAME +STATE.*\n(.*\n)*smtp +closed/);
  expect(await ask('breakers', 'reset', 'smtp', '--reason', 'a test'))
    .toEqual({ name: 'smtp', reset: 1 });
});

test('tail prints what happens, until it is interrupted', async () => {
  const child = start(['--config', 'server.toml', '--json', 'tail']);
  smtp.set({ stage: 'mail', code: 530, message: 'Authentication required' });
  const [{ id }] = await post(
    [{ channel: 'EMAIL', recipient: 'b@example.com', subject: 's', body: 'b' }]);
  let text = '';
  for await (const chunk of linesOf(child)) {
    text += chunk;
    if (text.includes('dead-letter') || text.includes('breaker')) break;
  }
  smtp.set(null);
  const { type, data } = JSON.parse(text.split('\n')[0]);
  expect(typeof data.at).toBe('number');
  expect(['breaker', 'dead-letter']).toContain(type);
  child.kill('SIGINT');
  expect(await once(child, 'close')).toEqual([0, null]);
  await ask('breakers', 'reset', 'smtp');
  await untilAsked(async () => (await ask('outbox', 'show', id)).status === 'SENT');
});

test('dlq list, show, retry and purge; outbox stats', async () => {
  smtp.set({ stage: 'rcpt', code: 550, message: 'No such \x1b[31mmailbox' });
  for (const name of ['c', 'd', 'e']) {
    await post({ channel: 'EMAIL', recipient: `${name}@example.com`, subject: 's', body: 'b' });
  }
  let letters;
  await untilAsked(async () => {
    ({ letters } = await ask('dlq', 'list', '--search', '@example.com'));
    return letters.length === 3;
  });
  const [{ id, reason, lastError }] = letters;
  expect(reason).toBe('Permanent failure');
  expect(lastError).toContain('mailbox');
  const list = await show('dlq', 'list');
  expect(list).toMatch(/ID +CHANNEL +RECIPIENT .* REASON +ERROR/);
  expect(list).toMatch(/Permanent failure +Can't send mail/);
  const shown = await show('dlq', 'show', id);
  expect(shown).toMatch(/^reason +Permanent failure\nlastError +.*mailbox/m);
  expect(shown).not.toContain('\x1b');
  smtp.set(null);
  const sent = smtp.messages.length;
  expect(await ask('dlq', 'retry', id)).toMatchObject({ retried: true });
  expect(await ask('dlq', 'retry', '--search', 'd@')).toEqual({ retried: 1 });
  await untilAsked(async () => (await ask('outbox', 'stats')).waiting === 0);
  expect(smtp.messages).toHaveLength(sent + 2);
  const { purged } = await ask('dlq', 'purge', '--all', '--reason', 'a test');
  expect(purged).toBeGreaterThanOrEqual(1);
  expect(await show('dlq', 'list')).toBe('No dead letters.\n');
});

test('outbox list and show', async () => {
  const [{ id }] = await post([
    { channel: 'EMAIL', recipient: 'f@example.com', subject: 'Tickets', body: 'b' },
  ]);
  let message;
  await untilAsked(async () => (message = await ask('outbox', 'show', id)).status === 'SENT');
  expect(message).toMatchObject({ recipient: 'f@example.com', delivery: null });
  const { messages } = await ask('outbox', 'list', '--status', 'SENT', '--search', 'f@example');
  expect(messages).toMatchObject([{ id, delivery: null }]);
  expect(await show('outbox', 'undelivered')).toBe('No undelivered messages.\n');
  expect(await show('outbox', 'list')).toMatch(/ID +CHANNEL +RECIPIENT +STATUS +DELIVERY/);
  expect(await show('outbox', 'show', id)).toMatch(/^id +\d+\n(.*\n)*subject +Tickets\n/);
});

test('report, as JSON and as a page', async () => {
  expect(await ask('report')).toMatchObject({ status: expect.any(String) });
  expect(await show('report')).toMatch(
    /^\S+Z: \w+.*\nLevel [A-Z]+ since(.*\n)+NAME +STATE(.*\n)+CHANNEL/);
  expect(await show('report', '--html')).toMatch(/^<!doctype html>/);
});

const REMOTE = ['--url', 'http://127.0.0.1:9', 'breakers', 'list'];

const ENDS = [
  ['an unknown command', ['fly'], 2, /unknown command/],
  ['a server that is not there', REMOTE, 3, /ERR_CLI_UNREACHABLE/, { SEKERING_TOKEN: 'x' }],
  ['no such breaker', ['-c', 'server.toml', 'breakers', 'reset', 'none'], 4, /NOT_FOUND/],
];
const FAULTS = [
  ['a wrong number', ['dlq', 'list', '--limit', '0'], 2, /whole number from 1 to 500/],
  ['an event that is misspelt', ['trigger', 'midtrans', 'setlement'], 2, /mean settlement\?/],
  ['a part that is misspelt', ['init', 'x.toml', '--with', 'midtran'], 2, /mean midtrans\?/],
  ['an event that is missing', ['trigger', 'midtrans'], 2, /settlement, deny, expire/],
  ['a server without a configuration', ['serve'], 2, /ERR_CONFIG: No configuration.+sekering init/],
  ['a trigger without a configuration', ['trigger', 'order'], 2, /ERR_CLI_TOKEN: .+sekering init/],
  ['a state that there is not', ['breakers', 'list', '--state', 'shut'], 2, /half-open/],
  ['a payment without its order', ['trigger', 'midtrans', 'deny'], 2, /--order/],
  ['no id', ['dlq', 'show', 'first'], 2, /id of a message/],
  ['a page before no message', ['outbox', 'list', '--before', 'x'], 2, /id of a message/],
  ['letters before no message', ['dlq', 'list', '--before', 'x'], 2, /id of a message/],
  ['no address', ['--url', 'nope', 'breakers', 'list'], 2, /ERR_CLI_USAGE: .+ for --url/],
  ['an address of another kind', ['--url', 'ftp://x', 'report'], 2, /http:\/\/localhost:3000/],
  ['no number', ['demo', '--seconds', 'soon'], 2, /--seconds/],
  ['too short a demonstration', ['demo', '--seconds', '1'], 2, /--seconds/],
  ['an unknown option', ['demo', '--fast'], 2, /--fast/],
  ['a retry of nothing', ['-c', 'server.toml', 'dlq', 'retry'], 2, /ERR_CLI_USAGE/],
  ['a purge of nothing', ['-c', 'server.toml', 'dlq', 'purge', '--reason', 'x'], 2,
    /ERR_CLI_USAGE/],
  ['a configuration that is not there', ['-c', 'no.toml', 'check'], 2,
    /ERR_CONFIG: There is no file no.toml/],
  ['no token', REMOTE, 2, /SEKERING_TOKEN/],
  ['no such message', ['-c', 'server.toml', 'outbox', 'show', '999999'], 4, /NOT_FOUND/],
  ['no such letter', ['-c', 'server.toml', 'dlq', 'show', '999999'], 4, /NOT_FOUND/],
];

test.each([
  ...ENDS.map(([what, args, code, words, env = {}]) => [what, spawned, args, code, words, env]),
  ...FAULTS.map(([what, args, code, words]) => [what, run, args, code, words, {}]),
])('%s ends with its exit code', async (_, by, args, code, words, env) => {
  const result = await by(args, env);
  expect(result).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(words) });
});

test('a token that is not accepted', async () => {
  const { code, stderr } = await run(['--url', url, 'breakers', 'list'],
    { SEKERING_TOKEN: 'wrong-wrong-wrong-wrong' });
  expect({ code, stderr }).toEqual({ code: 3, stderr: expect.stringMatching(/ERR_CLI_TOKEN/) });
});

test('init writes what check and migrate accept, and overwrites nothing', async () => {
  expect(await run(['init', 'made.toml'])).toMatchObject({ code: 0 });
  expect(fs.statSync(path.join(folder, 'made.toml')).mode & 0o777).toBe(0o600);
  expect(await run(['init', 'made.toml'])).toMatchObject({ code: 1 });
  const checked = await run(['--config', 'made.toml', '--json', 'migrate']);
  expect(checked).toMatchObject({ code: 0, stderr: '' });
  expect(JSON.parse(checked.stdout).applied.length).toBeGreaterThan(0);
  expect(JSON.parse((await run(['-c', 'made.toml', '--json', 'check'])).stdout).results)
    .toEqual([
      { name: 'engine', ok: true, note: 'the binary' },
      { name: 'regions', ok: true, note: regions.directory() }, { name: 'store', ok: true },
    ]);
});

test('init makes the folder, and names the variables that have to be set', async () => {
  const { code, stdout } = await run(['init', 'shop/mail.toml', '--with', 'smtp,midtrans']);
  expect(stdout).toMatch(/^On: {2}smtp, midtrans\nOff: whatsapp\. .+ see its section in shop/m);
  expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(
    /^Set these environment variables: MIDTRANS_SERVER_KEY, SMTP_USER\n/m) });
  expect((await run(['-v'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});

// On a terminal of script(1), which every Linux has.
(process.platform === 'linux' ? describe : describe.skip)('init on a terminal', () => {
  /** Answers its questions in turn. */
  async function asked (file, answers) {
    const child = spawn('script',
      ['-qec', `exec ${process.execPath} ${CLI} init ${file}`, '/dev/null'], { cwd: folder });
    let text = '';
    let seen = 0;
    child.stdout.setEncoding('utf8').on('data', chunk => {
      text += chunk;
      const questions = text.match(/\[y\/n\]/gi) ?? [];
      if (questions.length > seen && answers.length > 0) child.stdin.write(answers.shift());
      seen = questions.length;
    });
    const [code] = await once(child, 'close');
    return { code, text };
  }

  test('asks what is wanted', async () => {
    const { code, text } = await asked('asked.toml',
      ['y\n', 'perhaps\n', 'no\n', '\n', '\n', 'n\n']);
    expect(code).toBe(0);
    expect(text).toMatch(/^On: {2}midtrans, whatsapp\r?$/m);
    expect(text).toMatch(/^Off: smtp\. /m);
    const made = fs.readFileSync(path.join(folder, 'asked.toml'), 'utf8');
    expect(made.match(/^\[(\w|\.)+\]$/gm)).toEqual(
      expect.arrayContaining(['[midtrans]', '[whatsapp.cloud]']));
    expect(made).toMatch(/^# \[smtp\]$/m);
  });

  test.each([['Ctrl-C', '\x03'], ['the end of the input', '\x04']])(
    '%s writes nothing', async (_, key) => {
      const { code, text } = await asked('stopped.toml', ['y\n', key]);
      expect(code).toBe(1);
      expect(text).toMatch('Nothing was written');
      expect(fs.existsSync(path.join(folder, 'stopped.toml'))).toBe(false);
    });
});

test('every line that init writes as a comment is a setting that there is', async () => {
  await run(['init', 'all.toml']);
  const file = path.join(folder, 'all.toml');
  const text = fs.readFileSync(file, 'utf8').replace(/^# (\[|\w+ = )/gm, '$1')
    .replace('directory = "sekering-data"\n', '');
  fs.writeFileSync(file, text);
  const { code, stderr } = await run(['-c', 'all.toml', 'breakers', 'list']);
  expect(code).toBe(2);
  const faults = stderr.trim().split('\n').slice(1);
  expect(faults.length).toBeGreaterThan(5);
  expect(faults.filter(line =>
    !/environment variable \w+ is not set|The file \S+ cannot be read/.test(line))).toEqual([]);
});

test('check says what cannot be reached, without secrets', async () => {
  fs.writeFileSync(path.join(folder, 'unreachable.toml'), `
    store = { url = "postgres://u:${PASSWORD}@127.0.0.1:9/x" }
    [smtp]
    host = "127.0.0.1"
    port = 9
    user = "env:SMTP_USER"
    password = "file:secret.txt"
    from = "a@b.co"
  `);
  fs.writeFileSync(path.join(folder, 'secret.txt'), `${PASSWORD}\n`);
  const { code, stdout, stderr } = await run(['-c', 'unreachable.toml', 'check'],
    { SMTP_USER: 'u' });
  expect(stdout).toMatch(/smtp\.user +env:SMTP_USER\nsmtp\.password +file:secret\.txt\n/);
  expect(code).toBe(1);
  expect(stdout).toMatch(/store +no +ERR_STORE_UNREACHABLE/);
  expect(stdout).toMatch(/smtp +no/);
  expect(stdout + stderr).not.toContain(PASSWORD);
});

// The last one: it ends the server.
test('signals that come again do not cut off what is in flight', async () => {
  const request = http.request(`${url}/notifications`, { method: 'POST', headers: {
    authorization: `Bearer ${SHOP}`, 'content-type': 'application/json', expect: '100-continue',
  } });
  request.flushHeaders();
  await once(request, 'continue');
  server.kill('SIGTERM');
  await until(() => fetch(`${url}/health/live`).then(() => false, () => true));
  // npm, for one, passes on what a terminal has sent to all of its group.
  for (const signal of ['SIGTERM', 'SIGINT']) server.kill(signal);
  const answer = once(request, 'response');
  request.end('[]');
  const [{ statusCode, headers }] = await answer;
  // Whoever sent another request on this connection would not know what became of it.
  expect([statusCode, headers.connection]).toEqual([202, 'close']);
});
