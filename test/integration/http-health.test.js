'use strict';

const { execFileSync } = require('node:child_process');
const { EventEmitter, once } = require('node:events');
const path = require('node:path');
const express = require('express');

const { CircuitBreaker } = require('../..');
const { createDegradation, createHealth, healthChecks } = require('../../lib/gateway');
const { createHealthRouter, notFound, problemHandler } = require('../../lib/http');
const { MidtransClient } = require('../../lib/clients/midtrans');
const { SessionPool } = require('../../lib/clients/whatsapp');
const { openStore } = require('../../lib/store');
const { startMidtransFake, startTcpProxy, useVirtualClock } = require('../../lib/testing');
const { until } = require('../support/gateway-helpers');
const { serve } = require('../support/http-app');
const { closeShared, sharedPostgres, startPostgres } = require('../support/postgres');

const SECRET = 'SB-Mid-server-hunter2hunter2';
const PAGES = ['/health', '/health/live', '/health/ready', '/health/detailed',
  '/health/circuit-breakers', '/health/degradation', '/health/dlq', '/api/health',
  '/circuit-breaker-status/planted'];

const ends = [];
const keep = (each, end) => {
  ends.push(() => each[end]());
  return each;
};
afterEach(async () => { for (const end of ends.splice(0).reverse()) await end(); });
afterAll(closeShared);

const breakerOf = (name, options) => keep(new CircuitBreaker(async error => {
  if (error) throw error;
}, { name, ...options }), 'shutdown');

/** An error such as a driver's, whose words quote what nobody may see. */
const leaky = () => Object.assign(new Error(`connect postgres://app:${SECRET}@10.0.0.7/shop`),
  { code: 'ECONNREFUSED', config: { password: SECRET } });

function appWith (...routers) {
  const app = express();
  for (const router of routers) app.use(router);
  app.use(notFound);
  app.use(problemHandler({ onError: () => {} }));
  return serve(app);
}

describe('pages', () => {
  /** A service whose parts can be broken. */
  async function makeService ({ critical = true } = {}) {
    const fake = keep(await startMidtransFake({ serverKey: SECRET }), 'close');
    const midtrans = keep(new MidtransClient({
      serverKey: SECRET, baseUrls: { snap: fake.url, core: fake.url },
      breaker: { name: 'midtrans' },
    }), 'close');
    const broken = new Set();
    const breakers = [midtrans.breaker, breakerOf('database'), breakerOf('smtp')];
    const health = createHealth({
      cacheMs: 0,
      checks: {
        database: { critical, check: () => { if (broken.has('database')) throw leaky(); } },
        midtrans: healthChecks.ping(midtrans),
        api: () => ({ status: broken.has('api') ? 'degraded' : 'healthy' }),
        cache: () => ({ entries: 3 }),
      },
    });
    const degradation = keep(createDegradation({
      services: { midtrans: breakers[0], database: breakers[1] }, features: { writes: 'NORMAL' },
    }), 'stop');
    await degradation.start();
    const deadLetters = { summary: async () => {
      if (broken.has('letters')) throw leaky();
      return [{ channel: 'EMAIL', kind: 'EAUTH', count: 2 },
        { channel: 'WHATSAPP', kind: '131026', count: 3 }];
    } };
    const server = await appWith(
      createHealthRouter({ health, degradation, breakers: () => breakers, deadLetters }));
    return { ...server, broken, breakers, health, fake };
  }

  test('/health: 200 while well or degraded, 503 while unhealthy', async () => {
    const { get, broken, fake } = await makeService();
    const well = await get('/health');
    expect(well.status).toBe(200);
    expect(well.headers.get('cache-control')).toBe('no-store');
    expect(well.body).toMatchObject({ status: 'healthy', checks: {
      database: { status: 'healthy' }, midtrans: { status: 'healthy' } } });
    expect(well.body.checks.midtrans.responseTimeMs).toBeGreaterThan(0);
    expect(well.body).toMatchObject({
      uptime: expect.any(Number), degradation: 'NORMAL',
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      services: { database: 'healthy', midtrans: 'healthy', api: 'healthy', cache: 'healthy' },
    });

    await fake.close();
    // What is slow to answer again is shown as it was last.
    const degraded = await until(async () => {
      const answer = await get('/health/');
      return answer.body.status === 'degraded' && answer;
    });
    expect(degraded.status).toBe(200);
    expect(degraded.body.checks.midtrans.status).toBe('unhealthy');

    broken.add('database');
    const unhealthy = await get('/health');
    expect([unhealthy.status, unhealthy.body.status]).toEqual([503, 'unhealthy']);
  });

  test('/health answers at once, however the line to the database is', async () => {
    const postgres = await sharedPostgres();
    const proxy = keep(await startTcpProxy({ target: postgres.port }), 'close');
    const store = keep(await openStore({
      url: `postgres://postgres@127.0.0.1:${proxy.port}/postgres`, timeout: 4000,
    }), 'close');
    const health = createHealth({
      cacheMs: 0, checks: { database: { ...healthChecks.database(store), timeout: 8000 } },
    });
    const { get } = await appWith(createHealthRouter({ health }));
    expect((await get('/health')).body.status).toBe('healthy');
    for (const faults of [
      { delayMs: [200, 400] }, { refuse: true, reset: true }, { cutDown: 50 }, { halfClose: 'up' },
      { dropAnswers: true }
    ]) {
      proxy.set(faults);
      proxy.cutAll();
      const times = [];
      for (let i = 0; i < 10; i++) {
        const began = performance.now();
        await get('/health');
        times.push(performance.now() - began);
      }
      // 50 ms and the way there and back; a busy machine makes some of them late. Whoever waited
      // for the database would need 4 s and more.
      expect(times.toSorted((a, b) => a - b)[5]).toBeLessThan(3000);
    }
    await until(async () => (await get('/health')).body.status === 'unhealthy');
    proxy.set(null);
    await until(async () => (await get('/health')).body.status === 'healthy');
  });

  test('/health/ready follows the critical checks and draining; /health/live nothing', async () => {
    const { get, broken, health } = await makeService();
    expect(await get('/health/ready')).toMatchObject({
      status: 200, body: { status: 'ready', ready: true, draining: false, failing: [] } });
    broken.add('database');
    expect(await get('/health/ready')).toMatchObject({
      status: 503, body: { status: 'not ready', ready: false, failing: ['database'] } });
    broken.clear();
    health.drain();
    expect(await get('/health/ready')).toMatchObject({
      status: 503, body: { status: 'not ready', draining: true } });
    expect(await get('/health/live')).toMatchObject({ status: 200, body: { status: 'alive' } });
  });

  test('/health/detailed has every part', async () => {
    const { get, breakers } = await makeService();
    breakers[2].open();
    expect((await get('/health/detailed')).body).toMatchObject({
      status: 'healthy',
      checks: { database: { critical: true, status: 'healthy', checkedAt: expect.any(String) },
        cache: { details: { entries: 3 } } },
      breakers: { state: 'open', open: 1, half_open: 0, closed: 2 },
      degradation: { level: { name: 'NORMAL' } },
      deadLetters: { total: 5 },
      sessions: null,
    });
  });

  test('/health/circuit-breakers shows the open ones first', async () => {
    const { get, breakers } = await makeService();
    breakers[2].open();
    const { body } = await get('/health/circuit-breakers');
    expect(body).toMatchObject({ total: 3, counts: { open: 1, closed: 2 } });
    expect(body.breakers.map(({ name, state }) => [name, state])).toEqual([
      ['smtp', 'open'], ['database', 'closed'], ['midtrans', 'closed']]);
  });

  test('/health/degradation and /health/dlq', async () => {
    const { get, breakers, broken } = await makeService();
    breakers[0].open();
    expect((await get('/health/degradation')).body).toMatchObject({
      configured: true, level: { name: 'DEGRADED', index: 1 },
      services: { midtrans: 'down', database: 'up' },
      features: { writes: false }, canAcceptOrders: false });
    broken.add('letters');
    const failed = await get('/health/dlq');
    expect([failed.status, failed.headers.get('content-type')])
      .toEqual([503, 'application/problem+json']);
    expect(failed.text).not.toContain(SECRET);
  });

  test('/api/health has API, cache and breakers: 200, 200, 503', async () => {
    const { get, broken, breakers } = await makeService();
    breakers[1].open();
    expect(await get('/api/health/')).toMatchObject({ status: 200, body: {
      status: 'healthy', response_time_ms: expect.any(Number),
      api: { status: 'healthy', response_time_ms: expect.any(Number) },
      cache: { status: 'healthy', entries: 3 },
      circuit_breaker: { state: 'open', open: 1, half_open: 0, closed: 2 },
    } });
    broken.add('api');
    expect(await get('/api/health/')).toMatchObject({ status: 200, body: { status: 'degraded' } });
    broken.add('database');
    expect(await get('/api/health/'))
      .toMatchObject({ status: 503, body: { status: 'unhealthy' } });
  });

  test('pages of missing parts say so; an unknown breaker is not found', async () => {
    // Not all that live in this process: other test files may have left some.
    const { get } = await appWith(
      createHealthRouter({ health: createHealth(), breakers: () => [] }));
    expect(await get('/health/degradation')).toMatchObject({
      status: 200, body: { configured: false, level: { name: 'NORMAL', index: 0 } } });
    expect(await get('/health/dlq')).toMatchObject({
      status: 200, body: { configured: false, total: 0, kinds: [] } });
    expect((await get('/circuit-breaker-status/none')).body).toEqual({
      type: 'about:blank', title: 'Not Found', status: 404, code: 'ERR_NOT_FOUND' });
    expect((await get('/health')).body).toMatchObject({
      status: 'healthy', checks: {}, services: {}, degradation: 'NORMAL' });
  });

  test('change nothing, whatever the method', async () => {
    const { get, breakers } = await makeService();
    breakers[2].open();
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
      for (const page of PAGES) expect((await get(page, { method })).status).toBe(404);
    }
    expect((await get('/health', { method: 'HEAD' })).text).toBe('');
    expect(breakers[2].opened).toBe(true);
  });

  test('show no planted secret, however their parts fail', async () => {
    const { broken, breakers, url } = await makeService();
    for (const part of ['database', 'letters', 'api']) broken.add(part);
    breakers[1].open();
    await breakers[2].fire(leaky()).catch(() => {});
    const answers = await Promise.all([...PAGES, '/health?x=%00%0d%0aSet-Cookie:a', '/health/%ff']
      .map(async page => {
        const response = await fetch(url + page);
        return [...response.headers].join('\n') + await response.text();
      }));
    expect(answers.filter(text => /hunter2|10\.0\.0\.7|set-cookie/i.test(text))).toEqual([]);
    expect(answers.filter(text => /at .*\.js:\d+/.test(text))).toEqual([]);
  });

  test('a slow check is asked once for many requests at once', async () => {
    let asked = 0;
    let answer;
    const slow = new Promise(resolve => { answer = resolve; });
    const health = createHealth({ checks: { slow: () => { asked += 1; return slow; } } });
    const { get } = await appWith(createHealthRouter({ health }));
    const all = Promise.all(Array.from({ length: 50 }, () => get('/health')));
    await get('/health/live');
    answer();
    expect((await all).every(({ status }) => status === 200)).toBe(true);
    expect(asked).toBe(1);
  });
});

describe('/health/ready and a dead database', () => {
  // The clock of the checks stands still, unless a test advances it.
  let clock;
  afterEach(() => clock.restore());

  /** A health page that checks a real database, and an emitter that tells when it does. */
  async function makeProbe () {
    const postgres = keep(await startPostgres(), 'close');
    const proxy = keep(await startTcpProxy({ target: postgres.port }), 'close');
    const store = keep(await openStore({
      url: `postgres://postgres@127.0.0.1:${proxy.port}/postgres`,
    }), 'close');
    clock = useVirtualClock();
    const asks = new EventEmitter();
    const { check, ...database } = healthChecks.database(store);
    const health = createHealth({ checks: { database: { ...database, check: context => {
      asks.emit('ask');
      return check(context);
    } } } });
    const { get } = await appWith(createHealthRouter({ health }));
    return { postgres, proxy, asks, get };
  }

  test.each([
    ['is behind a line that swallows everything',
      ({ proxy }) => proxy.set({ dropAnswers: true }), ({ proxy }) => proxy.set(null)],
    ['has been stopped',
      ({ postgres }) => postgres.stop('immediate'), ({ postgres }) => postgres.start()],
  ])('a database that %s is noticed within 2 s, though answers are kept for 30 s',
    async (_, kill, revive) => {
      const probe = await makeProbe();
      const { asks, get, proxy } = probe;
      expect(await get('/health/ready')).toMatchObject({ status: 200, body: { ready: true } });
      await kill(probe);
      proxy.cutAll();
      await clock.advance(500);
      const asked = once(asks, 'ask');
      const answer = get('/health/ready');
      await asked;
      await clock.advance(1500);
      expect(await answer).toMatchObject({
        status: 503, body: { ready: false, failing: ['database'] } });
      await revive(probe);
      proxy.cutAll();
      await until(async () => {
        const back = get('/health/ready');
        await clock.advance(500);
        return (await back).status === 200;
      });
    });

  test('concurrent probes share one query of the database, and so do those soon after',
    async () => {
      clock = useVirtualClock();
      let asked = 0;
      let answer;
      const health = createHealth({ checks: { database: {
        critical: true,
        check: () => {
          asked += 1;
          return new Promise(done => { answer = done; });
        },
      } } });
      let arrived = 0;
      let allArrived;
      const all = new Promise(resolve => { allArrived = resolve; });
      const { get } = await appWith((req, res, next) => {
        next();
        if (++arrived === 50) allArrived();
      }, createHealthRouter({ health }));
      const answers = Promise.all(Array.from({ length: 50 }, () => get('/health/ready')));
      await all;
      answer();
      expect(new Set((await answers).map(({ status }) => status))).toEqual(new Set([200]));
      for (let i = 0; i < 10; i++) await get('/health/ready');
      expect(asked).toBe(1);
    });

  test('a program that takes orders is ready while orders can be accepted', async () => {
    const breakers = ['midtrans', 'database'].map(name => breakerOf(name));
    const [midtrans, database] = breakers;
    clock = useVirtualClock();
    const degradation = keep(createDegradation({ services: { midtrans, database } }), 'stop');
    await degradation.start();
    const { get } = await appWith(
      createHealthRouter({ health: createHealth(), degradation, breakers: () => breakers }));
    const ready = async () => {
      const { status, body } = await get('/health/ready');
      expect([body.ready, status]).toEqual(
        degradation.canAcceptOrders() ? [true, 200] : [false, 503]);
      return body.failing;
    };
    expect(await ready()).toEqual([]);
    midtrans.open();
    expect(await ready()).toEqual(['midtrans']);
    database.open();
    expect(await ready()).toEqual(['midtrans', 'database']);
    for (const breaker of breakers) breaker.close();
    expect(await ready()).toEqual([]);
  });
});

describe('sessions', () => {
  test('their figures are in /health, and each has a page', async () => {
    const pool = keep(new SessionPool({
      connect: () => { throw new Error('unable to create session'); },
      retry: false, reconnect: false, breaker: { failureCount: 2, name: 'wa' },
    }), 'close');
    const { get } = await appWith(createHealthRouter({
      health: createHealth(), sessions: pool, breakers: () => [],
    }));
    for (let i = 0; i < 2; i++) await pool.connect('tenant-1').catch(() => {});
    expect((await get('/health')).body).toMatchObject({
      total_instances: 1, active_connections: 0, connecting: 0, circuit_breaker_activations: 1,
      total_retry_attempts: 0, total_recent_failures: 2, health_score: 0,
    });
    expect((await get('/circuit-breaker-status/tenant-1')).body).toMatchObject({
      id: 'tenant-1', circuit_breaker: 'open', recent_failures: 2, connected: false });
    expect((await get('/circuit-breaker-status/tenant-2')).status).toBe(404);
    expect((await get('/circuit-breaker-status/%ff')).status).toBe(400);
  });

  test('without them a breaker is found by its name', async () => {
    const breaker = breakerOf('Midtrans Snap', { volumeThreshold: 100 });
    await breaker.fire(new Error('down')).catch(() => {});
    const { get } = await appWith(
      createHealthRouter({ health: createHealth(), breakers: () => [breaker] }));
    expect((await get('/circuit-breaker-status/Midtrans%20Snap')).body)
      .toEqual({ id: 'Midtrans Snap', circuit_breaker: 'closed', recent_failures: 1 });
  });
});

describe('guards', () => {
  test('a feature that is off is answered 503 with Retry-After', async () => {
    const degradation = keep(createDegradation({
      services: {}, features: { writes: 'NORMAL', recommendations: 'NORMAL' },
    }), 'stop');
    const app = express();
    const writes = { methods: ['POST', 'PUT', 'PATCH', 'DELETE'] };
    app.use('/orders', degradation.guard('writes', writes));
    app.use('/orders', degradation.guard(() => degradation.canAcceptOrders(), writes));
    app.all('/orders', (req, res) => res.json({ ok: true }));
    app.get('/tips', degradation.guard('recommendations', { retryAfter: 5 }),
      (req, res) => res.json({ ok: true }));
    const { get } = await serve(app);
    expect((await get('/tips')).status).toBe(200);
    degradation.setLevel('DEGRADED', { reason: 'drill' });
    const refused = await get('/orders', { method: 'POST' });
    expect(refused.status).toBe(503);
    expect(refused.headers.get('content-type')).toBe('application/problem+json');
    expect(refused.headers.get('retry-after')).toBe('60');
    expect(refused.body).toMatchObject({
      status: 503, code: 'ERR_DEGRADED', level: 'DEGRADED', retryAfter: 60 });
    expect((await get('/tips')).headers.get('retry-after')).toBe('5');
    expect((await get('/orders')).status).toBe(200); // Read-only: what only reads goes on.
    degradation.setLevel(null);
    // Writes are on again, but neither midtrans nor database is known to be up.
    expect((await get('/orders', { method: 'POST' })).status).toBe(503);
    expect((await get('/tips')).status).toBe(200);
  });

  test('a function that fails is the error handler\'s matter', async () => {
    const degradation = createDegradation();
    const errors = [];
    const app = express();
    app.use(degradation.guard(async () => { throw leaky(); }));
    app.use(problemHandler({ onError: error => errors.push(error.code) }));
    const { get } = await serve(app);
    const answer = await get('/');
    expect(answer.body).toEqual({
      type: 'about:blank', title: 'Internal Server Error', status: 500, code: 'ERR_INTERNAL' });
    expect(errors).toEqual(['ECONNREFUSED']);
  });
});

test('if a required service is down, problemHandler and Express answer 503', async () => {
  const midtrans = breakerOf('midtrans');
  midtrans.open();
  const degradation = keep(createDegradation({ services: { midtrans } }), 'stop');
  const route = () => { degradation.requireService('midtrans', { retryAfter: 7 }); };

  const { get } = await appWith(route);
  const { status, headers, body } = await get('/');
  expect([status, headers.get('retry-after')]).toEqual([503, '7']);
  expect(body).toMatchObject({ code: 'ERR_SERVICE_DOWN', status: 503, retryAfter: 7 });
  expect(JSON.stringify(body)).not.toContain('midtrans');

  const plain = express();
  plain.set('env', 'test'); // Express logs errors otherwise.
  plain.get('/', route);
  const answer = await (await serve(plain)).get('/');
  expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '7']);
});

test('what needs a package loads it by its first use, and says so when it is missing', () => {
  const lib = path.join(__dirname, '..', '..', 'lib');
  const program = `
    const http = require(${JSON.stringify(path.join(lib, 'http'))});
    const gateway = require(${JSON.stringify(path.join(lib, 'gateway'))});
    const { CircuitBreaker } = require(${JSON.stringify(lib)});
    gateway.createDegradation().guard(() => true);
    http.createBreakerMiddleware({ prefixes: ['/'] });
    http.problemHandler();
    const peers = ['express', 'prom-client', '@opentelemetry/api', 'pg', 'pino'];
    const loaded = peers.filter(name => Object.keys(require.cache)
      .some(file => file.includes('/node_modules/' + name + '/')));
    const Module = require('node:module');
    const load = Module._load;
    Module._load = (name, ...rest) => {
      if (peers.includes(name)) {
        throw Object.assign(new Error("Cannot find module '" + name + "'"),
          { code: 'MODULE_NOT_FOUND' });
      }
      return load(name, ...rest);
    };
    const codes = [() => http.createHealthRouter({ health: gateway.createHealth() }),
      () => http.createMetrics(), () => http.createTracing()].map(make => {
      try { make(); } catch (error) { return error.code + ': ' + error.message; }
    });
    console.log(JSON.stringify({ loaded, codes }));`;
  const { loaded, codes } = JSON.parse(
    execFileSync(process.execPath, ['-e', program], { encoding: 'utf8' }));
  expect(loaded).toEqual([]);
  expect(codes).toEqual(['express', 'prom-client', '@opentelemetry/api'].map(name =>
    expect.stringMatching(`^ERR_MISSING_PEER: .*npm install ${name}@\\d+$`)));
});

test('checks that never settle do not keep a process from ending', () => {
  const lib = path.join(__dirname, '..', '..', 'lib');
  const program = `
    const { createDegradation, createHealth } =
      require(${JSON.stringify(path.join(lib, 'gateway'))});
    const check = () => new Promise(() => {});
    const health = createHealth({ checks: { a: { check, critical: true, timeout: 86_400_000 } } });
    health.check();
    health.ready();
    const degradation = createDegradation({ services: { a: check }, rules: [],
      timeout: 86_400_000 });
    degradation.start();
    degradation.stop();
    console.log('done');`;
  expect(execFileSync(process.execPath, ['-e', program], { encoding: 'utf8' })).toBe('done\n');
});
