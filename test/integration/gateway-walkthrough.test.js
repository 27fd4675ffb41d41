'use strict';

// docs/walkthrough.md: its commands run in the order of the page, and print what it says.

const { execFile, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');

const { SECRETS, order, startAll } = require('../support/gateway-helpers');
const { ROOT } = require('../support/setup');

const execute = promisify(execFile);
const page = fs.readFileSync(path.join(ROOT, 'docs', 'walkthrough.md'), 'utf8');
const blocks = [...page.matchAll(/^```(\w+)\n([^]*?)^```/gm)]
  .map(([, kind, text]) => ({ kind, text: text.trimEnd() }));

/** Each command with what it prints. */
const steps = blocks.flatMap(({ kind, text }, i) =>
  (kind === 'sh' ? [[text, blocks[i + 1]?.kind === 'text' ? blocks[i + 1].text : '']] : []));

/** What is defined once and used later: variables and functions. */
const definitions = steps.flatMap(([text]) => [
  ...text.match(/^[A-Z]+=.*$/gm) ?? [], ...text.match(/^\w+ \(\) \{[^]*?^\}/gm) ?? [],
]).join('\n');

const matches = (printed, expected) => {
  const parts = expected.split('…').map(part => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`, 's').test(printed);
};

let it;
let env;
beforeAll(async () => {
  // No answer is too late.
  it = await startAll({}, {
    midtrans: { timeout: 60_000 }, retry: { fallback: { maxWait: 60_000 } },
  });
  env = {
    ...process.env, URL: it.server.url, SHOP_TOKEN: SECRETS.shopToken,
    OPERATOR_TOKEN: SECRETS.operateToken, MIDTRANS_SERVER_KEY: SECRETS.serverKey,
  };
});
afterAll(() => it?.close());

/** A customer chooses how to pay, and a transaction begins. */
function choose (id) {
  it.midtrans.choose(id);
  return it.midtrans.notifications(id, { latest: true })[0].transaction_id;
}

/** What happens between the commands, before the first one that names it. */
const EVENTS = {
  async TRANSACTION () {
    const transaction = choose('A-1');
    it.midtrans.settle('A-1');
    return transaction;
  },
  async LATE_TRANSACTION () {
    const late = { token: SECRETS.shopToken, body: order('A-2', 150_000) };
    expect((await it.ask('/orders', late)).status).toBe(201);
    const transaction = choose('A-2');
    it.midtrans.settle('A-2', 'expire');
    await it.midtrans.notify(`${it.server.url}/webhooks/midtrans`, 'A-2', { latest: true });
    it.midtrans.settle('A-2');
    return transaction;
  },
};

test('the commands print what the page says', async () => {
  expect(spawnSync('curl', ['--version']).status).toBe(0);
  expect(steps.length).toBeGreaterThan(10);
  const faults = [];
  for (const [text, expected] of steps) {
    for (const [name, happens] of Object.entries(EVENTS)) {
      if (text.includes(`$${name}"`) && env[name] === undefined) env[name] = await happens();
    }
    const { stdout } = await execute('bash', ['-ec', `${definitions}\n${text}`], { env });
    if (!matches(stdout.trim(), expected)) faults.push({ text, expected, printed: stdout });
  }
  expect(faults).toEqual([]);
});

test('what differs from the page would be noticed', () => {
  expect(matches('{"a":1,"b":2}', '{"a":…}')).toBe(true);
  expect(matches('{"a":1,"b":2}', '{"a":…,"c":…}')).toBe(false);
});
