'use strict';

// Who guesses tokens of a gateway locks nobody out, and nobody chooses the address that is noted.
// Metrics and health pages with details are for those whom the configuration names.

const http = require('node:http');

const { SECRETS, order, startAll } = require('../support/gateway-helpers');

const GUESSES = 1000;

let it;
afterEach(() => it?.close());

test('a thousand wrong tokens from an address refuse no right one of it', async () => {
  // However busy the machine is, an order is made and not queued.
  it = await startAll({}, {
    midtrans: { timeout: 60_000 }, retry: { fallback: { maxWait: 60_000 } },
  });
  const { shopToken, readToken, operateToken } = SECRETS;
  const session = '/admin/reliability/session';
  const refused = new Map();
  const right = [];
  const guess = async (i, path, body) => {
    const { status } = await it.ask(path, { token: `guess-${i}-0123456789`, body });
    refused.set(status, (refused.get(status) ?? 0) + 1);
  };
  for (let i = 0; i < GUESSES; i += 2) {
    await Promise.all([guess(i, session), guess(i + 1, '/orders', order(`stolen-${i}`))]);
    if (i % 50 !== 0) continue;
    const answers = await Promise.all([
      it.ask('/orders', { token: shopToken, body: order(`access-${i}`) }),
      it.ask(session, { token: readToken }), it.ask(session, { token: operateToken }),
      it.ask('/orders/access-0', { token: shopToken }),
    ]);
    right.push(...answers.map(({ status }) => status));
  }
  expect(right).toEqual(Array(GUESSES / 50).fill([201, 200, 200, 200]).flat());
  expect([...refused.keys()].sort()).toEqual([401, 429]);
  expect(refused.get(429)).toBeGreaterThan(refused.get(401));
  expect([...it.midtrans.orders.keys()].filter(id => id.startsWith('stolen'))).toEqual([]);
});

test.each([
  // The proxy wrote the last address, and the client those before it.
  [false, '127.0.0.1'],
  [1, '203.0.113.9'],
  [2, '192.0.2.66'],
  ['loopback', '203.0.113.9'],
  [['loopback', '203.0.113.0/24'], '192.0.2.66'],
])('with trust_proxy %j the audit log has %s', async (trustProxy, address) => {
  it = await startAll({}, { server: { port: 0, trustProxy } });
  const token = SECRETS.operateToken;
  const headers = { 'x-forwarded-for': '198.51.100.1, 192.0.2.66, 203.0.113.9' };
  const body = { level: null, reason: 'a look' };
  const path = '/admin/reliability';
  expect((await it.ask(`${path}/degradation`, { token, headers, body })).status).toBe(200);
  const { body: { entries } } = await it.ask(`${path}/audit`, { token, headers });
  expect(entries).toMatchObject([{ action: 'degradation.set', address }]);
});

// ---- Metrics and health pages ------------------------------------------------------------------

const PLAIN = ['/health', '/health/live', '/health/ready', '/api/health'];
const DETAILED = ['/health/detailed', '/health/circuit-breakers', '/health/degradation',
  '/health/dlq', '/circuit-breaker-status/midtrans'];
const { shopToken, readToken, operateToken } = SECRETS;
const monitorToken = 'planted-monitor-token-0123456789';
const admin = {
  tokens: [
    { name: 'prometheus', role: 'monitor', token: monitorToken },
    { name: 'watch', role: 'read', token: readToken },
    { name: 'ops', role: 'operate', token: operateToken },
  ],
};

const statusesOf = async (paths, options) => new Set(await Promise.all(
  paths.map(async path => (await it.ask(path, options)).status)));

test('by default metrics and details need a token; the plain status does not', async () => {
  it = await startAll({}, { admin });
  expect(await statusesOf(PLAIN)).toEqual(new Set([200]));
  for (const token of [undefined, shopToken]) {
    expect(await statusesOf(['/metrics', ...DETAILED], { token })).toEqual(new Set([401]));
  }
  for (const token of [monitorToken, readToken, operateToken]) {
    expect(await statusesOf(['/metrics', ...DETAILED], { token })).toEqual(new Set([200]));
  }
  expect(await it.ask('/admin/reliability/session', { token: monitorToken }))
    .toMatchObject({ status: 403, body: { code: 'ERR_ADMIN_FORBIDDEN' } });
});

test.each([
  [{ metrics: { access: 'public' } }, 200, 401],
  [{ health: { access: 'public' } }, 401, 200],
  [{ metrics: { access: 'off' } }, 404, 401],
  [{ health: { access: 'off' } }, 401, 404],
])('%j: metrics answer strangers with %d, details with %d', async (over, ...seen) => {
  it = await startAll({}, { admin, ...over });
  const [metrics, details] = seen.map(status => new Set([status]));
  expect([await statusesOf(['/metrics']), await statusesOf(DETAILED)]).toEqual([metrics, details]);
  expect(await statusesOf(PLAIN)).toEqual(new Set([200]));
  const off = seen.map(status => new Set([status === 404 ? 404 : 200]));
  const token = monitorToken;
  expect([await statusesOf(['/metrics'], { token }), await statusesOf(DETAILED, { token })])
    .toEqual(off);
});

test('reasons, errors and operators\' names are only for callers with a token', async () => {
  const reason = 'the relay of the reseller is on fire';
  it = await startAll({}, {
    admin, metrics: { access: 'public' }, health: { access: 'public' },
    upstreams: { stock: { retry: { retries: 0 } } },
  });
  const stock = it.gateway.upstream('stock', async () => { throw new Error('the shelf fell'); });
  await expect(stock()).rejects.toThrow('shelf');
  it.gateway.degradation.setLevel('SEVERE', { reason, by: 'Ani of operations' });
  const read = async token => (await Promise.all(['/metrics', ...PLAIN, ...DETAILED].map(
    async path => (await it.ask(path, { token })).text))).join('\n');
  const publicly = await read();
  expect(publicly).toContain('SEVERE');
  expect(publicly).not.toMatch(/on fire|Ani|shelf/);
  expect(await read('a-guess-of-some-length')).not.toMatch(/on fire|Ani|shelf/);
  const all = await read(monitorToken);
  for (const text of ['on fire', 'Ani', 'shelf']) expect(all).toContain(text);
});

/** The status of a request with exactly these headers. */
function statusOf (path, headers) {
  return new Promise((resolve, reject) => {
    http.get({ host: '127.0.0.1', port: it.server.port, path, headers, agent: false }, res => {
      res.resume().on('end', () => resolve(res.statusCode));
    }).on('error', reject);
  });
}

test('without tokens, only programs on this machine see the details', async () => {
  it = await startAll({}, { admin: { tokens: [] }, server: { port: 0, trustProxy: 1 } });
  it.gateway.degradation.setLevel('SEVERE', { reason: 'on fire', by: 'Ani' });
  const ours = [`127.0.0.1:${it.server.port}`, 'localhost', 'LOCALHOST:3000', '[::1]:3000'];
  for (const path of ['/metrics', ...DETAILED]) {
    for (const host of ours) expect(await statusOf(path, { host })).toBe(200);
    expect((await it.ask(path)).text).not.toMatch(/on fire|Ani/);
  }
  const others = [
    // A page whose name leads here now, and requests that a proxy has passed on.
    { host: 'evil.example' }, { host: 'evil.example:3000' }, { host: '127.0.0.1.evil.example' },
    { host: 'localhost.evil.example' }, { host: '10.0.0.1' }, { host: '[::2]' },
    { host: 'localhost', 'x-forwarded-for': '127.0.0.1' }, { host: 'localhost', via: '1.1 proxy' },
    { host: 'localhost', forwarded: 'for=127.0.0.1' }, { host: 'localhost', 'x-real-ip': '::1' },
  ];
  for (const headers of others) expect([headers, await statusOf('/metrics', headers)])
    .toEqual([headers, 401]);
});
