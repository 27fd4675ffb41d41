'use strict';

// No text from outside may cost more than linear time, whatever is in it. Each reader of such text
// gets the shapes on which careless parsers are slow, and eight times as much of them.

const { EventEmitter } = require('node:events');
const fs = require('node:fs');
const { ServerResponse } = require('node:http');
const os = require('node:os');
const path = require('node:path');

const { main } = require('../../lib/cli');
const { plain, table } = require('../../lib/cli/terminal');
const { Faults, clean, redactor } = require('../../lib/clients/client-error');
const { isSignedTransaction } = require('../../lib/clients/midtrans-notices');
const { classifySmtpError } = require('../../lib/clients/smtp-errors');
const { readAddresses, readMessage } = require('../../lib/clients/smtp-message');
const { numberOf, readChat, readCloudMessage } = require('../../lib/clients/whatsapp-input');
const {
  handshake, isAuthorized, isSigned, readCloudWebhook, readGreenWebhook
} = require('../../lib/clients/whatsapp-webhook');
const { readConfig } = require('../../lib/gateway/config');
const { createLogger } = require('../../lib/gateway/logger');
const { reportPage, wordsOf } = require('../../lib/gateway/report');
const { FIELDS, readInput } = require('../../lib/http/admin');
const { createAdminAccess, createPageAccess, ownSiteOnly } = require('../../lib/http/admin-auth');
const { printable } = require('../../lib/http/audit');
const { callerOf, keyOf } = require('../../lib/http/idempotency');
const { createMetrics } = require('../../lib/http/metrics');
const { problemOf } = require('../../lib/http/problem');
const { retryAfterMs } = require('../../lib/primitives/classify');
const { readDeadlineHeaders } = require('../../lib/primitives/deadline');
const { canonical, jsonFault } = require('../../lib/store/json');
const { toRows } = require('../../lib/store/outbox-message');
const { minorOf, readTransaction } = require('../../lib/store/payment-states');
const { storeError } = require('../../lib/store/store-errors');
const { fill, fillHtml } = require('../../lib/store/template');
const { RATIO_MAX, growthOf } = require('../support/growth');
const { LOOPS, SHAPES, makerOf } = require('../support/hostile-text');

const N = 16 * 1024;

const config = readConfig({
  midtrans: { serverKey: 'a-server-key-of-tests' },
  smtp: { host: 'x', from: 'a@b.example', password: 'aaaaaaaaaaaa' },
}, { env: {} });
const log = createLogger(config, { info () {} });
const redact = redactor('aaaaaaaaaaaa', '            ');
const channels = new Map([['mail', { maxAttempts: 3 }]]);
const { enter, knows } = createAdminAccess({ tokens: [
  { name: 'shop', role: 'operate', token: 'a-token-of-the-tests' }] });
const pages = createPageAccess({ access: 'token', tokens: [] });

/** What a middleware makes of a request that has these headers. */
function pass (use, { ip = '127.0.0.1', ...headers }) {
  const req = { method: 'POST', headers, ip, socket: { remoteAddress: ip } };
  use(req, Object.assign(new ServerResponse(req), { locals: {} }), () => {});
}

const sources = new EventEmitter();
/** The metrics of what has this name, as they are shown. */
async function metricsOf (name) {
  const metrics = createMetrics({ retries: { [name]: { stats: { retries: 1 } } },
    fallbacks: sources, store: { deadLetters: sources } });
  try {
    const error = Object.assign(new Error(name), { code: name });
    sources.emit('fallback', { name, error });
    sources.emit('arrival', { channel: name, kind: name });
    await metrics.registry.metrics();
  } finally {
    metrics.close();
  }
}

/** Runs the command line, which says on stderr what is wrong. */
async function run (...args) {
  await main([process.execPath, 'sekering', ...args]);
  expect(process.exitCode).toBeGreaterThan(0);
  process.exitCode = undefined;
}
beforeAll(() => {
  jest.spyOn(process.stderr, 'write').mockReturnValue(true);
  jest.spyOn(console, 'error').mockReturnValue();
});
afterAll(() => jest.restoreAllMocks());

const reportOf = name => ({
  generatedAt: name, status: name, uptimeMs: 1, level: { name, since: name, reason: name },
  breakers: [{ name, state: name }], outbox: { channels: { [name]: {} }, waiting: 0 },
  deadLetters: { summary: [{ channel: name, kind: name, count: 1 }] }, payments: { held: name },
  schedule: [{ job: name, startedAt: 0, durationMs: 1, error: name }],
});

const mail = more => readMessage({ from: 'a@b.example', to: 'c@d.example', text: 'x', ...more });

const READERS = {
  'templates': text => fill(text, { a: 'x' }),
  'templates of HTML': text => fillHtml(text, { a: 'x' }),
  'values of templates': text => fillHtml('{{a}}', { a: text }),
  'mail addresses': text => readAddresses(text, 'to', new Faults('send')),
  'subjects of mails': text => mail({ subject: text }),
  'headers of mails': text => mail({ headers: { 'X-A': text, [text]: 'a' } }),
  'message ids and lists of mails': text => mail({ messageId: text, list: { help: text } }),
  'telephone numbers': text => numberOf(text, '62'),
  'chats': text => readChat('to', text, '62'),
  'replies of relays': text =>
    classifySmtpError(Object.assign(new Error(text), { responseCode: 550, response: text })),
  'grpc-timeout': text => readDeadlineHeaders({ 'grpc-timeout': text }),
  'Retry-After': text => retryAfterMs({ headers: { 'retry-after': text } }),
  'durations': text => readConfig({ server: { shutdownTimeout: text } }, { env: {} }),
  'addresses in the configuration': text =>
    readConfig({ store: { url: text }, server: { trustProxy: text } }, { env: {} }),
  'names in the configuration': text => readConfig({ [text]: 1 }, { env: {} }),
  'references in the configuration': text => readConfig({ store: { url: `env:${text}` } },
    { env: {} }),
  'signatures of WhatsApp': text => isSigned(text, text, 'secret'),
  'handshakes of WhatsApp': text => handshake(
    { 'hub.mode': 'subscribe', 'hub.challenge': text, 'hub.verify_token': text }, 'token'),
  'authorization': text => isAuthorized(text, 'Bearer token'),
  'webhooks of WhatsApp': text => readCloudWebhook({ entry: [{ changes: [{
    field: 'messages',
    value: { metadata: { phone_number_id: text }, statuses: [{ id: text, status: text,
      errors: [{ code: 1, title: text, message: text }] }] }
  }] }] }, redact),
  'webhooks of Green API': text => readGreenWebhook(
    { typeWebhook: 'outgoingMessageStatus', idMessage: text, status: text, description: text }),
  'notices of Midtrans': text => isSignedTransaction({
    order_id: text, status_code: text, gross_amount: text, signature_key: text
  }, 'key'),
  'transactions of Midtrans': text => readTransaction({
    transaction_id: text, order_id: text, transaction_status: text, status_code: text,
    gross_amount: text, transaction_time: text, refunds: [{ refund_key: text, refund_amount: text }]
  }),
  'amounts': text => minorOf(text),
  'messages of the outbox': text => toRows([{
    channel: 'mail', recipient: text, subject: text, body: text, dedupeKey: text, orderKey: text
  }], channels),
  'errors of databases': text => storeError(Object.assign(new Error(text), { code: text })),
  'errors of clients': text => clean(redact(text)),
  'logs': text => log.info({ text, [text]: text, error: new Error(text) }, text),
  'entries of the audit': text => printable(text),
  'Idempotency-Key': text => keyOf(text),
  'Idempotency-Key with parameters': text => keyOf(`"a"${text}`),
  'callers': text => callerOf({ headers: { authorization: text } }),
  'tokens': text => knows({ headers: { authorization: text } }),
  'addresses of clients': text => pass(enter, { ip: text }),
  'origins': text => pass(ownSiteOnly, { origin: text, host: text }),
  'names in Host': text => pass(pages.note, { host: text, forwarded: text }),
  'filters of the admin API': text => ['id', 'name', 'orderId', 'limit', 'reason', 'search']
    .map(field => FIELDS[field].safeParse(text)),
  'input of the admin API': text => readInput(FIELDS.search, text),
  'labels of metrics': metricsOf,
  'reports': text => reportPage({ ...reportOf(text), summary: wordsOf(reportOf(text)) }),
  'commands': text => run(text),
  'options of the command line': text => run(`--${text}`),
  'values on the command line': text => run('dlq', 'list', '--limit', text),
  'files on the command line': text => run('--config', text, 'check'),
  'problems': text => problemOf(Object.assign(new Error(text), { code: text, status: 400 })),
  'cells of the command line': text => table([text], [[text], [plain(text)]]),
};

test('what takes quadratic time is noticed', async () => {
  const slow = text => / +$/.test(`${text}a`);
  expect(await growthOf(makerOf(' '), slow, N / 3)).toBeGreaterThan(RATIO_MAX);
});

// Each reader does its work: it takes something that is right.
const RIGHT = {
  'durations': '1h30m', 'mail addresses': '"A" <a@b.example>, c@d.example', 'templates': '{{a}}!',
  'templates of HTML': '{{{a}}}', 'subjects of mails': 'Hello', 'headers of mails': 'X-Text',
  'telephone numbers': '0812 3456 7890', 'chats': '+62 (0)812 3456 7890', 'amounts': '10000.00',
  'message ids and lists of mails': '<a@b.example>', 'messages of the outbox': 'a@b.example',
};

test.each(Object.entries(RIGHT))('%s: what is right is taken', async (reader, text) => {
  await READERS[reader](text);
});

describe.each(Object.entries(READERS))('%s', (_, read) => {
  test.each(Object.entries(SHAPES))('%s', async (__, shape) => {
    expect(await growthOf(makerOf(shape), read, N)).toBeLessThanOrEqual(RATIO_MAX);
  });
});

describe('TOML', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-toml-'));
  const file = path.join(folder, 'sekering.toml');
  afterAll(() => fs.rmSync(folder, { recursive: true }));
  const read = text => {
    fs.writeFileSync(file, text);
    readConfig(file, { env: {} });
  };

  test.each(Object.entries({
    ...SHAPES, 'nested lists': ['a = ', '[', ''], 'nested tables': ['a = ', '{a=', ''],
    'many tables': '[[a]]\n', 'open text': ['a = "', '\\', ''],
    'long text': ['a = """', '\\\n', '"""'], 'long numbers': ['a = ', '1_1', ''],
  }))('%s', async (_, shape) => {
    expect(await growthOf(makerOf(shape), read, N)).toBeLessThanOrEqual(RATIO_MAX);
  });

  // Makes tables within tables. V8 collects that garbage in linear time only from this size on.
  test('long paths', async () => {
    const make = makerOf(['', 'a.', 'a = 1']);
    expect(await growthOf(make, read, 16 * N)).toBeLessThanOrEqual(RATIO_MAX);
  });
});

describe.each([['templates with data', fill], ['templates of HTML with data', fillHtml]])('%s', (
  _, how) => {
  const read = ({ template, data }) => how(template, data);
  test.each(Object.entries(LOOPS))('%s', async (__, make) => {
    expect(await growthOf(make, read, 4 * N)).toBeLessThanOrEqual(RATIO_MAX);
  });
});

describe('data', () => {
  const nested = n => {
    let value = 1;
    for (let i = 0; i < n / 8; i++) value = i % 2 === 0 ? [value] : { a: value };
    return value;
  };
  const INPUTS = {
    'deep': nested,
    'wide': n => Object.fromEntries(Array.from({ length: n / 8 }, (_, i) => [`a${i}`, i])),
    'a long list': n => Array.from({ length: n / 8 }, (_, i) => [i, {}]),
    'knots': n => {
      const knot = {};
      for (let i = 0; i < n / 1024; i++) knot[`a${i}`] = knot;
      return knot;
    },
  };
  const USES = {
    'log': data => log.info({ data }, 'x'),
    'idempotency scope': data => canonical('payload', data),
    'JSON': data => jsonFault(data, 'result'),
    'message': data => toRows([{
      channel: 'mail', recipient: 'x', template: { text: '{{#a}}{{b}}{{/a}}' }, data
    }], channels),
    'configuration': data => readConfig({ smtp: data }, { env: {} }),
    'webhook of WhatsApp': data => readCloudWebhook({ entry: [{ changes: data }] }, redact),
    'notice of Midtrans': data => isSignedTransaction(data, 'key'),
    'transaction of Midtrans': data => readTransaction({ ...data, refunds: data }),
  };

  describe.each(Object.entries(USES))('%s', (_, use) => {
    test.each(Object.entries(INPUTS))('%s', async (__, make) => {
      expect(await growthOf(make, use, N)).toBeLessThanOrEqual(RATIO_MAX);
    });
  });
});

// The table of docs/security.md, "Bounds": n is taken, n + 1 is not.
describe('bounds', () => {
  const letter = more =>
    toRows([{ channel: 'mail', recipient: 'x', body: 'x', ...more }], channels);
  const list = n => Array.from({ length: n }, (_, i) => `a${i}@b.example`);
  const nested = n => JSON.parse('['.repeat(n) + ']'.repeat(n));
  const addresses = written => {
    const faults = new Faults('send');
    readAddresses(written, 'to', faults);
    faults.throwIfAny();
  };
  // 64 octets, @, and labels of at most 63.
  const address = n =>
    `${'l'.repeat(64)}@${'d'.repeat(63)}.${'d'.repeat(63)}.${'d'.repeat(n - 193)}`;
  const number = n => {
    const written = numberOf(`+62812${' '.repeat(n - 13)}3456789`, '62');
    if (written !== '+628123456789') throw Object.assign(new Error(written), { code: 'none' });
  };
  const tokens = n => Array.from({ length: n }, (_, i) =>
    ({ name: `t${i}`, token: `a-token-of-tests-${i}` }));
  const whatsapp = n => readCloudMessage({ to: '+628123456789', type: 'text',
    text: { body: 'x'.repeat(n) } });

  test.each([
    ['recipient of a message', 512, n => letter({ recipient: 'x'.repeat(n) })],
    ['recipients of a message', 1000, n => letter({ recipient: list(n) })],
    ['subject', 1000, n => letter({ subject: 'x'.repeat(n) })],
    ['body', 262_144, n => letter({ body: 'x'.repeat(n) })],
    ['dedupeKey', 255, n => letter({ dedupeKey: 'x'.repeat(n) })],
    ['orderKey', 255, n => letter({ orderKey: 'x'.repeat(n) })],
    ['levels of data', 500, n => canonical('data', nested(n + 1))],
    ['characters of a tag', 255, n => fill(`{{!${'x'.repeat(n - 1)}}}`, {})],
    ['sections in sections', 32, n => fill('{{#a}}'.repeat(n) + '{{/a}}'.repeat(n), { a: 1 })],
    ['what a template gives', 1_048_576, n => fill('{{a}}', { a: 'x'.repeat(n) })],
    ['local part of a mail address', 64, n => addresses(`${'x'.repeat(n)}@b.example`)],
    ['mail address', 254, n => addresses(address(n))],
    ['text of mail addresses', 65_536, n => addresses(`a@b.example${' '.repeat(n - 11)}`)],
    ['recipients of a mail', 100, n => mail({ to: list(n) })],
    ['telephone number as written', 60, number],
    ['text of WhatsApp', 4096, whatsapp],
    ['tokens of the gateway', 100,
      n => readConfig({ server: { tokens: tokens(n) } }, { env: {} })],
  ])('%s: %d', (_, n, take) => {
    expect(() => take(n)).not.toThrow();
    expect(() => take(n + 1)).toThrow(expect.objectContaining({ code: expect.any(String) }));
  });
});
