'use strict';

// Who guesses tokens of a gateway locks nobody out, and nobody chooses the address that is noted.

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
