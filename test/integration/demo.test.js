'use strict';

const { spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { Demo, sumsOf } = require('../../lib/cli/demo/scenario');
const { openStore } = require('../../lib/store');
const { dependencies } = require('../../package.json');
const { launchBrowser } = require('../support/browser');
const { until } = require('../support/gateway-helpers');
const { ROOT } = require('../support/setup');

const CLI = path.join(ROOT, 'lib', 'cli', 'index.js');
const SECONDS = 5;

let folder;
beforeAll(() => { folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-demo-')); });
afterAll(() => fs.rmSync(folder, { recursive: true }));

// All of these runs have one folder after the other, as runs of a user have.
const argsOf = (...more) =>
  [CLI, 'demo', '--port', '0', '--directory', path.join(folder, 'runs'), ...more];

/** Runs the demonstration; `watch(line, child)` sees its lines as they come. */
function run (args, { watch = () => {}, env = {}, command = process.execPath } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: { ...process.env, ...env } });
    let stdout = '';
    let stderr = '';
    let rest = '';
    child.stdout.setEncoding('utf8').on('data', text => {
      stdout += text;
      const lines = (rest + text).split('\n');
      rest = lines.pop();
      for (const line of lines) watch(line, child);
    });
    child.stderr.setEncoding('utf8').on('data', text => { stderr += text; });
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

const parsed = stdout => stdout.trim().split('\n').map(line => JSON.parse(line));

test('--json: the story, in order, with sums that add up, and what a run that was killed in the ' +
  'middle of the outage took in is delivered', async () => {
  let seen;
  const first = await run(argsOf('--json', '--seconds', '6'), {
    watch: (line, child) => {
      if (!line.startsWith('{"type":"state"')) return;
      const { orders } = JSON.parse(line);
      // What its customers were told is queued.
      if (orders.queued - orders.later < 5) return;
      seen ??= orders.queued - orders.later;
      child.kill('SIGKILL');
    }
  });
  expect(first.signal).toBe('SIGKILL');
  const { code, stdout, stderr } = await run(argsOf('--json', '--seconds', String(SECONDS)));
  expect(stderr).toBe('');
  const lines = parsed(stdout);
  expect([code, lines.at(-1).checks?.filter(({ ok }) => !ok)]).toEqual([0, []]);
  expect(lines[0]).toMatchObject({ type: 'start', seconds: SECONDS, divisor: 25 });
  const events = lines.filter(line => line.type === 'event' && line.upstream === 'midtrans')
    .map(line => line.event);
  // On a slow machine the circuit may have opened before, since calls took too long.
  expect(events.join(' ')).toMatch(/fault .*open .*mended .*halfOpen close/);
  const summary = lines.at(-1);
  expect(summary).toMatchObject({ type: 'summary', ok: true, waiting: 0 });
  const { orders, emails, messages } = summary;
  // More where the outage had to last longer until the breaker opened.
  expect(orders.in).toBeGreaterThanOrEqual(SECONDS * 10);
  expect(orders.queued).toBeGreaterThan(0);
  expect(orders.before).toBeGreaterThanOrEqual(seen);
  expect(orders.later).toBe(orders.queued + orders.before);
  expect(orders.atOnce + orders.queued).toBe(orders.in);
  expect(messages.in).toBeGreaterThanOrEqual(orders.in + seen);
  expect(emails.in).toBeGreaterThanOrEqual(messages.in);
  const others = lines.filter(line => line.type === 'event' && line.upstream !== 'midtrans');
  expect(others.map(line => line.event)).toEqual(
    expect.arrayContaining(['fault', 'mended']));
  expect(summary.breakers.midtrans.state).toBe('closed');
});

/** A folder in which so much was sent that the store only estimates it. */
async function makeLargeFolder (directory) {
  const store = await openStore({ directory });
  await store.query(`INSERT INTO sekering.notification_outbox
      (channel, recipient, status, sent_at, body)
    SELECT CASE WHEN i % 2 = 0 THEN 'EMAIL' ELSE 'WHATSAPP' END, 'x', 'SENT', now(),
      repeat('x', 1800)
    FROM generate_series(1, 16000) AS i`);
  const stats = await store.outbox.stats();
  await store.close();
  return stats;
}

/** How many messages the folder still has. */
async function sentIn (directory) {
  const store = await openStore({ directory });
  const { rows: [{ count }] } =
    await store.query('SELECT count(*)::int AS count FROM sekering.notification_outbox');
  await store.close();
  return count;
}

test('while it runs, it deletes what was sent, and its sums still add up', async () => {
  const directory = path.join(folder, 'small');
  const demo = new Demo({ seconds: SECONDS, directory, forgetMs: 200 });
  try {
    await demo.open();
    await demo.run();
    const { emails, messages } = demo.work;
    expect([sumsOf(demo).checks.filter(({ ok }) => !ok), sumsOf(demo).ok]).toEqual([[], true]);
    const { channels } = await demo.gateway.store.outbox.stats({ exact: true });
    expect(channels.EMAIL.SENT + channels.WHATSAPP.SENT).toBeLessThan(emails.sent + messages.sent);
  } finally {
    await demo.close();
  }
});

/** Runs the command in a project that has the package, what comes with it, and `packages`. */
function runInProject (name, packages, ...args) {
  const modules = path.join(folder, name, 'node_modules');
  const installed = path.join(modules, 'sekering');
  for (const part of ['lib', 'package.json']) {
    fs.cpSync(path.join(ROOT, part), path.join(installed, part), { recursive: true });
  }
  for (const other of [...Object.keys(dependencies), ...packages]) {
    fs.mkdirSync(path.dirname(path.join(modules, other)), { recursive: true });
    fs.symlinkSync(path.join(ROOT, 'node_modules', other), path.join(modules, other));
  }
  return run([path.join(installed, 'lib', 'cli', 'index.js'), ...args],
    { env: { SEKERING_PREBUILD: path.join(ROOT, 'native') } });
}

/** The packages of the README's line that installs what the demonstration needs. */
function packagesOfReadme () {
  const readme = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8');
  const [, line] = /^npm install sekering (.+)\nnpx sekering demo$/m.exec(readme);
  return line.split(' ');
}

test('into a pipe: plain lines without escapes, ended by SIGTERM with sums', async () => {
  let ended = false;
  const { code, stdout } = await run(argsOf(), {
    watch: (line, child) => {
      // Once: the second time would mean at once.
      if (!ended && / 1\.\d\d s /.test(line)) ended = child.kill('SIGTERM');
    }
  });
  expect(code).toBe(0);
  expect(stdout).not.toContain('\x1b');
  expect(stdout).toMatch(/midtrans: opens above 50 %, timeout 500 ms, tries again after 3.0 s/);
  expect(stdout).toMatch(/\/dashboard\/ {2}token \S+/);
  expect(stdout).toMatch(/✓ orders: \d+ in = \d+ with a page at once/);
});

test('without a terminal, with the packages of the README, on a folder in which more than 10,000 ' +
  'messages were sent: ends by itself with sums that add up', async () => {
  const directory = path.join(folder, 'large');
  expect(await makeLargeFolder(directory)).toMatchObject({ sampled: true });
  const names = packagesOfReadme().map(name => name.replace(/(.)@.*$/, '$1'));
  const { code, stdout, stderr } =
    await runInProject('complete', names, 'demo', '--port', '0', '--directory', directory);
  expect(stderr).toBe('');
  expect(stdout).toMatch(/✓ e-mails: \d{3} in = \d{3} sent \+ 0 still waiting \+ 0 dead/);
  expect(stdout).toMatch('The numbers add up, and nothing was lost.');
  expect(code).toBe(0);
  expect(await sentIn(directory)).toBeLessThan(10_000);
});

test('without a terminal it takes orders for half a minute at most', async () => {
  let start;
  const { code } = await run(argsOf('--json'), {
    watch: (line, child) => {
      if (start !== undefined) return;
      start = JSON.parse(line);
      child.kill('SIGTERM');
    }
  });
  expect(code).toBe(0);
  expect(start).toMatchObject({ type: 'start', seconds: expect.any(Number) });
  expect(start.seconds).toBeLessThanOrEqual(30);
});

test('all packages that are missing are named at once, as the README names them', async () => {
  const { code, stderr } = await runInProject('bare', [], 'demo');
  expect(code).toBe(1);
  expect(stderr).toMatch(/^ERR_MISSING_PEER: sekering demo needs the packages croner, /);
  const [, command] = /Install them: npm install (.+)$/m.exec(stderr);
  expect(command.split(' ')).toEqual(packagesOfReadme());
});

// A real terminal from script(1), which every Linux has. Without exec the shell between would get
// the interrupt as well, and some shells then answer with 130 whatever their child did.
function onTerminal (env) {
  const args = argsOf().join(' ');
  let interrupted = false;
  return run(['-qec', `stty cols 80 rows 40; exec ${process.execPath} ${args}`, '/dev/null'], {
    command: 'script',
    env: { TERM: 'xterm', ...env },
    watch: (line, child) => {
      // It would go on for ever.
      if (interrupted || !/[1-9]\.\d s, Ctrl-C stops it/.test(line)) return;
      interrupted = true;
      child.stdin.write('\x03');
    }
  });
}

(process.platform === 'linux' ? test : test.skip)(
  'on a terminal: repaints in place within its width, and gives the cursor back', async () => {
    const { code, stdout } = await onTerminal({ NO_COLOR: '' });
    expect(code).toBe(0);
    expect(stdout).toContain('\x1b[?25l');
    expect(stdout.lastIndexOf('\x1b[?25h')).toBeGreaterThan(stdout.lastIndexOf('\x1b[?25l'));
    expect(stdout).toContain('\x1b[32m● closed');
    const frame = stdout.slice(0, stdout.lastIndexOf('\x1b[?25h'));
    const widths = frame.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, '').split(/[\r\n]+/)
      .map(line => line.length);
    expect(Math.max(...widths)).toBeLessThanOrEqual(80);
  });

describe('the shop', () => {
  const directory = () => path.join(folder, 'shop');
  let demo;

  beforeAll(async () => {
    demo = new Demo({ seconds: 1, directory: directory() });
    await demo.open();
  });
  afterAll(() => demo.close());

  test('a page at once, a queued order, an old list, the switches', async () => {
    const api = `${demo.url}/shop/api`;
    const post = (place, body, headers) => fetch(`${api}/${place}`, {
      method: 'POST', body: JSON.stringify(body),
      headers: { 'content-type': 'application/json', ...headers }
    });
    const films = async () => (await fetch(`${api}/films`)).json();
    expect(await films()).toMatchObject({ stale: false, films: expect.any(Array) });
    const paged = await (await post('orders', { film: 'f1' })).json();
    expect(paged).toMatchObject({ queued: false, redirectUrl: expect.stringContaining('http') });
    for (const name of ['midtrans', 'films']) {
      expect((await post(`upstreams/${name}`, { broken: true })).status).toBe(200);
    }
    expect(await films()).toMatchObject({ stale: true, why: 'ECONNREFUSED' });
    const queued = await post('orders', { film: 'f2' });
    expect(queued.status).toBe(202);
    const { orderId } = await queued.json();
    expect((await fetch(`${api}/orders/${orderId}`)).status).toBe(503);
    await post('upstreams/midtrans', { broken: false });
    await until(async () => (await fetch(`${api}/orders/${orderId}`)).ok);
    expect((await post('orders', { film: 'none' })).status).toBe(400);
    expect((await post('upstreams/sun', { broken: true })).status).toBe(400);
    const foreign = { origin: 'http://elsewhere.example', 'sec-fetch-site': 'cross-site' };
    expect((await post('upstreams/smtp', { broken: true }, foreign)).status).toBe(403);
    expect((await fetch(`${demo.url}/shop/`)).headers.get('content-security-policy'))
      .toContain("default-src 'none'");
    const { token } = await (await fetch(`${api}/state`)).json();
    const session = await fetch(`${demo.url}/admin/reliability/session`,
      { headers: { authorization: `Bearer ${token}` } });
    expect(await session.json()).toMatchObject({ role: 'operate' });
  });

  test('in a browser: an order that was queued becomes one to pay; the dashboard', async () => {
    let browser;
    try {
      browser = await launchBrowser();
      const page = await browser.newPage();
      const faults = [];
      page.on('pageerror', error => faults.push(error.message));
      await page.goto(`${demo.url}/`);
      await page.click('button[aria-label="Break midtrans"]');
      await page.waitForSelector('button[aria-label="Mend midtrans"]');
      await page.click('#films button');
      await page.waitForSelector('#order >> text=was queued');
      await page.click('button[aria-label="Mend midtrans"]');
      await page.waitForSelector('#order >> a:has-text("Pay")');
      await page.waitForFunction('document.getElementById("dashboard").onclick !== null');
      await page.click('#dashboard');
      await page.waitForSelector('text=may operate');
      expect(faults).toEqual([]);
    } finally {
      await browser?.close();
    }
  });

  test('has its folder for itself', () => {
    const args = [CLI, 'demo', '--port', '0', '--directory', directory()];
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    expect([status, stderr]).toEqual([1, expect.stringContaining('ERR_STORE_DIRECTORY_LOCKED')]);
  });

  test('ends with sums that notice whatever is lost or doubled on either side', async () => {
    await demo.run();
    expect(sumsOf(demo)).toMatchObject({ ok: true, waiting: 0 });
    const { midtrans, smtp, whatsapp } = demo.upstreams;
    const { orders, tokens, waitingOrders, sent } = demo;
    const [id, page] = midtrans.orders.entries().next().value;
    const [reference] = sent.messages;
    const spoils = [
      [() => midtrans.orders.delete(id), () => midtrans.orders.set(id, page)],
      [() => midtrans.orders.set('stray', { ...page, orderId: 'stray', token: 'x' }),
        () => midtrans.orders.delete('stray')],
      [() => midtrans.orders.set(id, { ...page, token: 'x' }), () => midtrans.orders.set(id, page)],
      [() => { orders.in += 1; }, () => { orders.in -= 1; }],
      [() => { orders.later -= 1; }, () => { orders.later += 1; }],
      [() => waitingOrders.add('left'), () => waitingOrders.delete('left')],
      [() => tokens.set('more', page.token), () => tokens.delete('more')],
      [() => smtp.messages.push({ messageId: '<stray>' }), () => smtp.messages.pop()],
      [() => sent.messages.delete(reference), () => sent.messages.add(reference)],
      [() => whatsapp.messages.push({ reference: 'stray' }), () => whatsapp.messages.pop()]
    ];
    for (const [spoil, mend] of spoils) {
      spoil();
      expect([spoil.toString(), sumsOf(demo).ok]).toEqual([spoil.toString(), false]);
      mend();
    }
    expect(sumsOf(demo).ok).toBe(true);
  });
});
