'use strict';

// Each bound of docs/security.md: what is as large is taken, and one more is refused, cut or
// replaced, as the guide says. A new line of the guide needs a row here.

const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');

const { createMetrics } = require('../../lib/http');
const { HttpClient } = require('../../lib/clients/http');
const { Faults } = require('../../lib/clients/client-error');
const { readBody } = require('../../lib/clients/midtrans-requests');
const { readAddresses, readMessage } = require('../../lib/clients/smtp-message');
const { numberOf, readCloudMessage } = require('../../lib/clients/whatsapp-input');
const { readConfig } = require('../../lib/gateway/config');
const { createLogger } = require('../../lib/gateway/logger');
const { createAdminAccess } = require('../../lib/http/admin-auth');
const { toRows } = require('../../lib/store/outbox-message');
const { fill } = require('../../lib/store/template');
const { SECRETS, order, startAll, until } = require('../support/gateway-helpers');
const { ROOT } = require('../support/setup');

const CALL_BYTES = 64 * 1024 * 1024;
const ADMIN = '/admin/reliability';

let it;
beforeAll(async () => {
  it = await startAll({}, {
    server: { port: 0, trustProxy: 1, tokens: [{ name: 'shop', token: SECRETS.shopToken }] },
  });
  it.gateway.store.outbox.registerChannel('JOB');
});
afterAll(() => it.close());

const text = n => 'x'.repeat(n);
const list = (n, of = () => 'x') => Array.from({ length: n }, (_, i) => of(i));

/** Rejects with the status unless it is a success. */
async function ask (...request) {
  const { status, body, headers } = await it.ask(...request);
  if (status >= 400) throw Object.assign(new Error(`status ${status}`), { code: body.code });
  return { body, headers };
}
const admin = (query, more) => ask(`${ADMIN}${query}`, { token: SECRETS.operateToken, ...more });
const orderWith = (id, headers) =>
  ask('/orders', { token: SECRETS.shopToken, body: order(id), headers });
const store = message =>
  it.gateway.store.outbox.enqueue({ channel: 'JOB', recipient: 'a', ...message });
const rowsOf = messages => toRows(
  messages.map(message => ({ channel: 'JOB', recipient: 'a', ...message })),
  new Map([['JOB', {}]]), true);
const nested = n => list(n).reduce(inside => ({ a: inside }), 1);
const mail = more => readMessage({ from: 'a@b.example', to: 'c@d.example', text: 'x', ...more });

/** An upstream whose answer has so many bytes. */
async function answerOf (n) {
  const server = http.createServer((req, res) => res.end(text(n))).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = new HttpClient('a test', { connections: 1 });
  try {
    const origin = `http://127.0.0.1:${server.address().port}`;
    return await client.request({ origin, method: 'GET', path: '/', headers: {} },
      { timeoutMs: Infinity });
  } finally {
    await client.close();
    server.close();
  }
}

/** Headers that have so many bytes, with the path. */
async function headersOf (n) {
  const socket = net.connect(it.server.port, '127.0.0.1');
  let answer = '';
  socket.setEncoding('latin1').on('data', chunk => { answer += chunk; }).on('error', () => {});
  const [first, ...rest] = ['GET /health/live HTTP/1.1', 'Host: a', 'Connection: close', 'X-A: '];
  const head = [first, ...rest].join('\r\n');
  // Node.js counts path, names and values, not what is between them.
  const counted = ['/health/live', 'Host', 'a', 'Connection', 'close', 'X-A'].join('').length;
  socket.write(`${head}${text(n - counted)}\r\n\r\n`);
  await once(socket, 'close');
  if (!answer.startsWith('HTTP/1.1 200')) throw Object.assign(new Error(answer), { code: 'HEAD' });
}

/** What the log says of a request. */
async function lineOf (headers) {
  const id = `line-${it.log.lines.length}`;
  await it.ask('/', { headers: { 'x-request-id': id, ...headers } });
  return until(() => it.log.lines.find(({ request }) => request === id));
}

/** By the line of the guide: parts of it, each with its bound. */
const ROWS = {
  'answer of an upstream': [['bytes', 1_048_576, answerOf]],
  'headers together, with the path and the query': [['bytes', 16_383, headersOf]],
  'Idempotency-Key': [['characters', 255, n => orderWith(`key-${n}`, {
    'idempotency-key': `"${text(n)}"`,
  })]],
  'admin API: `search`; `limit`; `ids`; `reason`': [
    ['search', 200, n => admin(`/outbox?search=${text(n)}`)],
    ['limit', 500, n => admin(`/outbox?limit=${n}`)],
    ['ids', 1000, n => admin('/dlq/retry', { body: { ids: list(n, i => `${i + 1}`) } })],
    ['reason', 500, n => admin('/degradation', { body: { level: null, reason: text(n) } })],
  ],
  'token; tokens of the gateway': [
    ['token', 512, n => createAdminAccess({
      tokens: [{ name: 'a', role: 'read', token: text(n) }],
    })],
    ['tokens', 100, n => createAdminAccess({
      tokens: list(n, i => ({ name: 'a', role: 'read', token: `${text(20)}${i}` })),
    })],
  ],
  'message: recipient; recipients; subject': [
    ['recipient', 512, n => store({ recipient: text(n) })],
    ['recipients', 1000, n => store({ recipient: list(n, i => `r${i}`) })],
    ['subject', 1000, n => store({ subject: text(n) })],
  ],
  'message: body; data': [
    ['body', 262_144, n => store({ body: text(n) })],
    ['data', 262_144, n => store({ data: text(n - 2) })],
  ],
  'message: `dedupeKey`; `orderKey`': [
    ['dedupeKey', 255, n => store({ dedupeKey: text(n) })],
    ['orderKey', 255, n => store({ orderKey: text(n) })],
  ],
  'messages of one call: rows, one for each recipient; together, with what templates give': [
    ['rows', 10_000, n => rowsOf([...list(9, () => 1000), n - 9000].map(count => ({
      body: 'x', recipient: list(count, i => `r${i}`) })))],
    ['bytes of rows', CALL_BYTES, n => {
      const [{ weight }] = rowsOf([{ body: '' }]);
      const whole = 256 * 1024;
      const count = Math.floor(n / (weight + whole));
      const rest = n - count * (weight + whole) - weight;
      rowsOf([...list(count, () => whole), rest].map(size => ({ body: text(size) })));
    }],
    ['bytes of results', CALL_BYTES, n => {
      const begin = rowsOf([{ body: '' }])[0].json.indexOf('"subject"');
      const whole = { template: '{{a}}'.repeat(8), data: { a: text(130_000) } };
      const rest = n - 64 * 1_040_000 - 65 * begin;
      rowsOf([...list(64, () => whole), {
        template: '{{a}}{{a}}{{a}}{{a}}{{b}}', data: { a: text(100_000), b: text(rest - 400_000) },
      }]);
    }],
  ],
  'levels of data in data': [['levels', 500, n => store({ data: nested(n) })]],
  'template: a tag; sections in sections; result': [
    ['tag', 255, n => fill(`{{${text(n)}}}`, { [text(n)]: 1 })],
    ['sections', 32, n => fill(`${'{{#a}}'.repeat(n)}${'{{/a}}'.repeat(n)}`, { a: true })],
    ['result', 1_048_576, n => fill('{{a}}', { a: text(n) })],
  ],
  'template: steps, one for each part of a name and each turn of a loop': [
    // A name within the item takes one step for each of its parts; so does the loop's own name.
    ['steps', 100_000, n => fill('{{#l}}{{/l}}', { l: list(n - 1) })],
    ['parts', 100_000, n => {
      const name = count => `{{^${list(count, () => 'a').join('.')}}}{{/${
        list(count, () => 'a').join('.')}}}`;
      fill(name(100).repeat(999) + name(n - 99_900), nested(100));
    }],
  ],
  'items of an order': [['items', 10_000, n => readBody('createTransaction', {
    ...order('many', n),
    item_details: list(n, () => ({ name: 'x', price: 1, quantity: 1 })),
  })]],
  'mail address; its part before the @': [
    ['address', 254, n => {
      const domain = [63, 63, 62].map(text).join('.');
      return mail({ to: `${text(n - domain.length - 1)}@${domain}` });
    }],
    ['local part', 64, n => mail({ to: `${text(n)}@b.example` })],
  ],
  'recipients of a mail; a text of addresses': [
    ['recipients', 100, n => mail({ to: list(n, i => `r${i}@b.example`) })],
    ['characters', 65_536, n => {
      const faults = new Faults('send');
      readAddresses(`a@b.example${','.repeat(n - 11)}`, 'to', faults);
      faults.throwIfAny();
    }],
  ],
  'telephone number, as it is written': [['characters', 60, n => {
    const number = numberOf(`+6281234567890${' '.repeat(n - 14)}`, '62');
    if (number !== '+6281234567890') throw Object.assign(new Error(), { code: 'NO_NUMBER' });
  }]],
  'text of WhatsApp': [['characters', 4096, n => readCloudMessage(
    { to: '+6281234567890', type: 'text', text: { body: text(n) } })]],
  'admin API: a note; a name in a filter or a path': [
    ['note', 2000, n => admin('/circuit-breakers/midtrans/note', { body: { note: text(n) } })],
    ['name in a filter', 255, n => admin(`/notes?target=${text(n)}`)],
    ['name in a path', 255, n => admin(`/circuit-breakers/${text(n)}/silence`,
      { body: { minutes: 0, reason: 'x' } })],
  ],
};

/** What is not refused, but cut or replaced. */
const CUT = {
  'names in `X-Request-Id`; address of a client in the log and the limits': async () => {
    for (const [n, isKept] of [[64, true], [65, false]]) {
      const { headers } = await it.ask('/health/live', { headers: { 'x-request-id': text(n) } });
      expect(headers.get('x-request-id') === text(n)).toBe(isKept);
    }
    const { address } = await lineOf({ 'x-forwarded-for': text(65) });
    expect(address).toBe(text(64));
  },
  'metrics: values of a label; each value': async () => {
    const retries = Object.fromEntries(list(201, i =>
      [`${i}-${text(i === 0 ? 101 : 96)}`, { stats: { retries: 1 } }]));
    const metrics = createMetrics({ retries });
    const page = await metrics.registry.metrics();
    metrics.close();
    const names = new Set([...page.matchAll(/"(\d+-x+|other)"/g)].map(([, name]) => name));
    expect(names).toContain('other');
    expect(names.size).toBe(201);
    expect(Math.max(...[...names].map(name => name.length))).toBe(100);
  },
  'line of a log: a text; values': () => {
    const lines = [];
    const log = createLogger(readConfig({}, { env: {} }), { info: fields => lines.push(fields) });
    log.info({ a: text(4000), b: text(4001) });
    log.info({ list: list(9999) });
    log.info({ list: list(10_000) });
    expect([lines[0].a.length, lines[0].b.length]).toEqual([4000, 4000]);
    expect(lines[1].list.at(-1)).toBe('x');
    expect(lines[2].list.at(-1)).toBe('[more]');
  },
};

test('each line of the guide is shown here', () => {
  const guide = fs.readFileSync(path.join(ROOT, 'docs', 'security.md'), 'utf8');
  const [, table] = /## Bounds\n[^|]*((?:\|.*\n)+)/.exec(guide);
  const lines = table.trim().split('\n').slice(2).map(line => line.split('|')[1].trim());
  expect([...Object.keys(ROWS), ...Object.keys(CUT)].toSorted()).toEqual(lines.toSorted());
});

describe.each(Object.entries(ROWS))('%s', (_, parts) => {
  test.each(parts)('%s: %i, and no more', async (_name, n, use) => {
    await (async () => use(n))();
    await expect((async () => use(n + 1))()).rejects
      .toMatchObject({ code: expect.stringMatching(/^[A-Z]/) });
  });
});

test.each(Object.entries(CUT))('%s', (_, check) => check());
