'use strict';

// The addresses of a gateway that monitors, scripts and operators already use: the status and the
// members of their answers.

const { once } = require('node:events');
const express = require('express');

const { SessionPool } = require('../../lib/clients/whatsapp');
const { createGateway } = require('../../lib/gateway');
const { problemHandler } = require('../../lib/http');
const { startTcpProxy } = require('../../lib/testing');
const { SECRETS, startAll, until } = require('../support/gateway-helpers');
const { serve } = require('../support/http-app');
const { closeShared, sharedPostgres } = require('../support/postgres');

const { operateToken, readToken } = SECRETS;

afterAll(closeShared);

/** A pool whose instances never connect. */
const deadPool = () => new SessionPool({
  connect: () => { throw new Error('unable to create session'); },
  retry: false, reconnect: false, breaker: { failureCount: 1 },
});

describe('a gateway', () => {
  let it;
  let sessions;
  let letter;
  beforeAll(async () => {
    sessions = deadPool();
    it = await startAll({}, { degradation: { scheme: 'levels' } }, { sessions });
    await sessions.connect('tenant-1').catch(() => {});
    letter = await it.gateway.store.deadLetters.add(
      { channel: 'EMAIL', recipient: 'ana@example.com', body: 'Hello' }, 'EAUTH');
    // Calls each service once, so that the pages have a result of it.
    await it.gateway.health.check();
  });
  afterAll(async () => {
    await it?.close();
    sessions.close();
  });

  const well = 'healthy';
  const number = expect.any(Number);
  const iso = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  const pool = {
    total_instances: 1, active_connections: 0, connecting: 0, circuit_breaker_activations: 1,
    total_retry_attempts: 0, total_recent_failures: 1, health_score: number,
  };

  test.each([
    ['/health', {
      status: well, uptime: number, timestamp: iso, degradation: 'NORMAL',
      services: { database: well, midtrans: well, smtp: well, whatsapp: well, worker: well },
      ...pool,
    }],
    ['/health/', { status: well }],
    ['/health/live', { status: 'alive' }],
    ['/health/ready', { status: 'ready', ready: true }],
    ['/health/detailed', {
      status: well, timestamp: iso,
      checks: { database: { status: well, responseTimeMs: number, checkedAt: iso } },
      degradation: { level: { name: 'NORMAL' } }, deadLetters: { total: 1 }, sessions: pool,
    }],
    ['/health/circuit-breakers', { total: number, breakers: expect.any(Array) }],
    ['/health/degradation', {
      configured: true, level: { name: 'NORMAL', index: 0 },
      levels: ['NORMAL', 'MINOR', 'MODERATE', 'SEVERE', 'CRITICAL'],
    }],
    ['/health/dlq', { configured: true, total: 1, kinds: [{ channel: 'EMAIL', count: 1 }] }],
    ['/api/health/', {
      status: well, timestamp: iso, response_time_ms: number, api: { status: well },
      circuit_breaker: { state: 'open', open: 1 },
    }],
    ['/circuit-breaker-status/tenant-1', {
      id: 'tenant-1', circuit_breaker: 'open', recent_failures: 1,
    }],
    ['/circuit-breaker-status/midtrans', { id: 'midtrans', circuit_breaker: 'closed' }],
  ])('GET %s', async (path, members) => {
    const { status, body } = await it.ask(path, { token: readToken });
    expect(body).toMatchObject(members);
    expect(status).toBe(200);
  });

  const ADMIN = '/admin/reliability';
  // In this order. None of the requests has a body.
  const ACTIONS = () => [
    ['GET', `${ADMIN}/circuit-breakers`, { total: number, breakers: expect.any(Array) }],
    ['POST', `${ADMIN}/circuit-breakers/smtp/reset`, { name: 'smtp', reset: 1 }],
    ['POST', '/reset-circuit-breaker/tenant-1', { name: 'tenant-1', reset: 1 }],
    ['GET', '/circuit-breaker-status/tenant-1', { circuit_breaker: 'closed' }],
    ['POST', `${ADMIN}/degradation/set-level?level=moderate&reason=maintenance`,
      { level: { name: 'MODERATE' }, manual: true, reason: 'maintenance', by: 'ops' }],
    ['GET', `${ADMIN}/degradation`, { level: { name: 'MODERATE' } }],
    ['GET', '/health/degradation', { level: { name: 'MODERATE' } }],
    ['GET', '/health', { degradation: 'MODERATE' }],
    ['POST', `${ADMIN}/degradation?level=Automatic&reason=over`, { level: { name: 'NORMAL' } }],
    ['GET', `${ADMIN}/dlq`, { letters: [{ id: letter.id, channel: 'EMAIL' }] }],
    ['POST', `${ADMIN}/dlq/${letter.id}/retry`, { id: letter.id, retried: true }],
    ['GET', `${ADMIN}/reports/reliability`,
      { generatedAt: iso, status: well, level: { name: 'NORMAL' }, breakers: expect.any(Array) }],
    ['GET', `${ADMIN}/report`, { generatedAt: iso, status: well }],
  ];

  test('the admin API needs neither a body nor a Content-Type', async () => {
    const sent = once(it.gateway.worker, 'sent');
    for (const [method, path, members] of ACTIONS()) {
      const { status, body } = await it.ask(path, { method, token: operateToken });
      expect([path, status, body]).toMatchObject([path, 200, members]);
    }
    await sent;
  });

  test.each([
    '/reset-circuit-breaker/tenant-1',
    `${ADMIN}/circuit-breakers/smtp/reset`,
    `${ADMIN}/degradation/set-level?level=severe&reason=x`,
    `${ADMIN}/dlq/1/retry`,
  ])('a change needs POST and the role of an operator: %s', async path => {
    const asked = await it.ask(path, { token: operateToken });
    expect([asked.status, asked.headers.get('allow')]).toEqual([405, 'POST']);
    expect((await it.ask(path, { method: 'POST' })).status).toBe(401);
    expect((await it.ask(path, { method: 'POST', token: readToken })).status).toBe(403);
    const foreign = { origin: 'https://evil.example' };
    expect((await it.ask(path, { method: 'POST', token: operateToken, headers: foreign })).status)
      .toBe(403);
    expect(it.gateway.degradation.level.name).toBe('NORMAL');
  });

  test('it is ready while it can accept orders', async () => {
    const { midtrans } = it.gateway.breakers;
    midtrans.open();
    expect(it.gateway.degradation.canAcceptOrders()).toBe(false);
    expect(await it.ask('/health/ready')).toMatchObject({
      status: 503, body: { ready: false, failing: ['midtrans'] } });
    midtrans.close();
    expect((await it.ask('/health/ready')).status).toBe(200);
  });
});

test.each([
  [{ strict: true }, 503, 'unhealthy'],
  [{ critical: ['worker', 'whatsapp'] }, 503, 'unhealthy'],
  [{ critical: ['smtp'] }, 200, 'degraded'],
  [{}, 200, 'degraded'],
])('WhatsApp is down, and the configuration says %j: /health is %d', async (health, ...seen) => {
  const it = await startAll({}, { health });
  try {
    await it.whatsapp.close();
    const { status, body } = await it.ask('/health');
    expect([status, body.status, body.services.whatsapp]).toEqual([...seen, 'unhealthy']);
    expect((await it.ask('/health/ready')).status).toBe(200);
  } finally {
    await it.close();
  }
});

test('an unknown name in health.critical is rejected', async () => {
  const config = { store: { memory: true }, health: { critical: ['worker', 'smtp'] } };
  await expect(createGateway(config)).rejects.toMatchObject({
    code: 'ERR_INVALID_OPTION', name: 'RangeError',
    message: expect.stringMatching(
      /\(database, worker, breakers\) for health\.critical\[1\] .*smtp/),
  });
});

test('a gateway whose database dies is not ready, and its level follows at once',
  async () => {
    const postgres = await sharedPostgres();
    const url = new URL(await postgres.createDatabase());
    const proxy = await startTcpProxy({ target: Number(url.port) });
    url.port = proxy.port;
    const it = await startAll({ url: url.href });
    const { degradation } = it.gateway;
    try {
      expect((await it.ask('/health/ready')).status).toBe(200);
      proxy.set({ refuse: true, reset: true });
      proxy.cutAll();
      const { body } = await until(async () => {
        const answer = await it.ask('/health/ready');
        return answer.status === 503 && answer;
      });
      expect(body.failing).toEqual(['database']);
      // The level does not wait for the next regular check, half a minute later.
      await until(() => degradation.conditionOf('database') === 'down');
      proxy.set(null);
      await until(async () => (await it.ask('/health/ready')).status === 200);
      expect(degradation.canAcceptOrders()).toBe(true);
    } finally {
      await it.close();
      await proxy.close();
    }
  });

test('while the breaker of an instance is open, send gives a value or a clear error', async () => {
  const sessions = deadPool();
  try {
    const app = express();
    app.post('/send/:id', async ({ params, query }, res) => res.json(
      await sessions.send(params.id, '6281234567890', { text: 'Hello' }, query)));
    app.use(problemHandler());
    const { get } = await serve(app);
    await sessions.connect('tenant-1').catch(() => {});
    const send = whenOpen => get(`/send/tenant-1?whenOpen=${whenOpen}`, { method: 'POST' });
    expect(await send('object')).toMatchObject({
      status: 200, body: { circuit_breaker: true, error: expect.any(String) } });
    expect(await send('null')).toMatchObject({ status: 200, body: null });
    expect(await send('throw')).toMatchObject({
      status: 503, body: { code: 'EOPENBREAKER', circuit_breaker: true } });
  } finally {
    sessions.close();
  }
});
