'use strict';

const { spawn, spawnSync } = require('node:child_process');
const path = require('node:path');

const { Demo } = require('../../lib/cli/demo-scenario');
const { sumsOf } = require('../../lib/cli/demo-sums');

const DEMO = path.join(__dirname, '..', '..', 'lib', 'cli', 'demo.js');
const SECONDS = 5;

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

test('--json: the story, in order, with sums that add up', async () => {
  const { code, stdout, stderr } = await run([DEMO, '--json', '--seconds', String(SECONDS)]);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  const lines = parsed(stdout);
  expect(lines[0]).toEqual({ type: 'start', seconds: SECONDS, divisor: 25 });
  const events = lines.filter(line => line.type === 'event' && line.upstream === 'midtrans')
    .map(line => line.event);
  const story = ['fault', 'open', 'mended', 'halfOpen', 'close', 'drained'];
  expect(events.filter(event => story.includes(event)).join(' '))
    .toMatch(/^fault .*open .*mended .*halfOpen close drained/);
  const summary = lines.at(-1);
  expect(summary).toMatchObject({ type: 'summary', ok: true, waiting: 0 });
  const { orders, emails, messages } = summary;
  expect(orders.in).toBe(SECONDS * 40);
  expect(orders.queued).toBeGreaterThan(0);
  expect(orders.atOnce + orders.later + orders.foundDone).toBe(orders.in);
  expect(emails.atOnce + emails.retried + emails.later).toBe(emails.in);
  expect(messages.queued).toBeGreaterThan(0);
  expect(messages.atOnce + messages.retried + messages.later).toBe(messages.in);
  expect(messages.in).toBe(orders.atOnce + orders.later);
  const whatsapp = lines.filter(line => line.type === 'event' && line.upstream === 'whatsapp');
  expect(whatsapp.map(line => line.event)).toEqual(['fault', 'paused', 'mended', 'resumed']);
  expect(summary.breakers.midtrans.state).toBe('closed');
}, 30_000);

test('Ctrl-C in the middle of the outage ends it at once, and the sums still add up', async () => {
  let stopped;
  const { code, stdout } = await run([DEMO, '--json', '--seconds', '30'], {
    watch: (line, child) => {
      if (!line.includes('"event":"open"') || stopped !== undefined) return;
      stopped = performance.now();
      child.kill('SIGINT');
    }
  });
  expect(code).toBe(0);
  expect(performance.now() - stopped).toBeLessThan(3000);
  const summary = parsed(stdout).at(-1);
  expect(summary).toMatchObject({ type: 'summary', ok: true });
  expect(summary.orders.waiting).toBeGreaterThan(0);
  expect(summary.orders.atOnce + summary.orders.waiting).toBe(summary.orders.in);
}, 30_000);

test('into a pipe: plain lines without escapes, ended by SIGTERM', async () => {
  const { code, stdout } = await run([DEMO, '--seconds', '30'], {
    watch: (line, child) => { if (line.includes('answers nothing')) child.kill('SIGTERM'); }
  });
  expect(code).toBe(0);
  expect(stdout).not.toContain('\x1b');
  expect(stdout).toMatch(/midtrans: opens above 50 %, timeout 500 ms, tries again after 3.0 s/);
  expect(stdout).toMatch(/✓ orders: \d+ in = \d+ tokens at once/);
}, 30_000);

// A real terminal from script(1), which every Linux has. Without exec the shell between would get
// the interrupt as well, and some shells then answer with 130 whatever their child did.
function onTerminal (env) {
  const command = `stty cols 80 rows 24; exec ${process.execPath} ${DEMO} --seconds 5`;
  let interrupted = false;
  return run(['-qec', command, '/dev/null'], {
    command: 'script',
    env: { TERM: 'xterm', ...env },
    watch: (line, child) => {
      if (interrupted || !/1\.\d s of 5 s/.test(line)) return;
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
    const plain = await onTerminal({ NO_COLOR: '1' });
    expect(plain.stdout).not.toMatch(/\x1b\[\d+m/);
    expect(plain.stdout).toContain('● closed');
  }, 30_000);

test.each([['--seconds', 'soon'], ['--seconds', '1'], ['--fast']])(
  'wrong usage ends with 2 and says why: %s %s', (...args) => {
    const { status, stderr } = spawnSync(process.execPath, [DEMO, ...args], { encoding: 'utf8' });
    expect(status).toBe(2);
    expect(stderr).toContain('Usage: npm start');
    expect(stderr).toContain(args[0]);
  });

test('the sums notice whatever is lost or doubled on either side', async () => {
  const demo = new Demo(SECONDS);
  try {
    await demo.run();
    expect(sumsOf(demo)).toMatchObject({ ok: true, waiting: 0 });
    const { midtrans, smtp, whatsapp } = demo.upstreams;
    const { orders, emails, messages } = demo.channels;
    const [id, order] = midtrans.orders.entries().next().value;
    const spoils = [
      [() => midtrans.orders.delete(id), () => midtrans.orders.set(id, order)],
      [() => midtrans.orders.set('stray', order), () => midtrans.orders.delete('stray')],
      [() => midtrans.orders.set(id, { ...order, token: 'x' }),
        () => midtrans.orders.set(id, order)],
      [() => { orders.tally.in += 1; }, () => { orders.tally.in -= 1; }],
      [() => { orders.tally.later -= 1; }, () => { orders.tally.later += 1; }],
      [() => orders.waiting.push({ id: 'left' }), () => orders.waiting.pop()],
      [() => { emails.tally.in += 1; }, () => { emails.tally.in -= 1; }],
      [() => smtp.messages.push({ messageId: '<stray>', to: [] }), () => smtp.messages.pop()],
      [() => { messages.tally.atOnce += 1; }, () => { messages.tally.atOnce -= 1; }],
      [() => whatsapp.messages.push({ reference: 'stray' }), () => whatsapp.messages.pop()]
    ];
    for (const [spoil, mend] of spoils) {
      spoil();
      expect([spoil.toString(), sumsOf(demo).ok]).toEqual([spoil.toString(), false]);
      mend();
    }
    expect(sumsOf(demo).ok).toBe(true);
  } finally {
    await demo.close();
  }
}, 30_000);
