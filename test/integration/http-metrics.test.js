'use strict';

const { fork, spawnSync } = require('node:child_process');
const { EventEmitter, once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { Writable } = require('node:stream');
const v8 = require('node:v8');
const vm = require('node:vm');
const express = require('express');
const client = require('prom-client');

const { BreakerGroup, CircuitBreaker, policy, regions, retryable } = require('../..');
const { createDegradation, createHealth, healthChecks } = require('../../lib/gateway');
const { createHealthRouter, createMetrics } = require('../../lib/http');
const { openStore } = require('../../lib/store');
const { serve } = require('../support/http-app');
const { until } = require('../support/outbox-helpers');
const { ROOT } = require('../support/setup');

const SECRET = 'hunter2hunter2';

const ends = [];
const keep = (each, end) => {
  ends.push(() => each[end]());
  return each;
};
afterEach(async () => { for (const end of ends.splice(0).reverse()) await end(); });

const breakerOf = (name, options) => keep(new CircuitBreaker(async error => {
  if (error) throw error;
}, { name, volumeThreshold: 1000, ...options }), 'shutdown');

/** Serves metrics; `read()` answers { 'name{labels}': value } as they are on the page. */
async function serveMetrics (options) {
  const metrics = keep(createMetrics(options), 'close');
  const { get } = await serve(express().use(metrics.router()));
  const read = async () => parse((await get('/metrics')).text);
  return { metrics, get, read };
}

function parse (text) {
  return Object.fromEntries(text.split('\n').filter(line => line !== '' && !line.startsWith('#'))
    .map(line => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]));
}

test('every family is there from the start, in a format that Prometheus reads', async () => {
  const store = { outbox: { stats: async () => ({ channels: {}, oldestMs: 0 }) } };
  const { get } = await serveMetrics({ breakers: () => [], store });
  const { status, headers, text } = await get('/metrics');
  expect(status).toBe(200);
  expect(headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
  expect([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]))
    .toEqual([
      ['circuit_breaker_requests_total', 'counter'],
      ['circuit_breaker_failures_total', 'counter'],
      ['circuit_breaker_response_time', 'histogram'],
      ['circuit_breaker_state', 'gauge'],
      ['fallback_activations', 'counter'],
      ['fallback_usage_total', 'counter'],
      ['retry_calls_total', 'counter'],
      ['retry_attempts_total', 'counter'],
      ['retry_success_rate', 'gauge'],
      ['retry_delay_seconds', 'histogram'],
      ['health_check_duration_seconds', 'histogram'],
      ['health_check_status', 'gauge'],
      ['health_check_total', 'counter'],
      ['system_degradation_level', 'gauge'],
      ['degradation_events_total', 'counter'],
      ['dlq_messages_total', 'gauge'],
      ['dlq_messages_added_total', 'counter'],
      ['dlq_processing_duration_seconds', 'histogram'],
      ['message_delivery_failures_total', 'counter'],
      ['payment_notifications_total', 'counter'],
      ['payments_held', 'gauge'],
      ['outbox_messages', 'gauge'],
      ['outbox_oldest_message_seconds', 'gauge'],
    ]);
  // 1 is for what cannot be read; 3 only for the choice of a name.
  const { status: verdict, stderr } = spawnSync('promtool', ['check', 'metrics'],
    { input: text, encoding: 'utf8' });
  expect([[0, 3].includes(verdict), stderr]).toEqual([true, expect.any(String)]);
});

describe('breakers', () => {
  test('calls are counted by their end, and so are fallbacks', async () => {
    const breaker = breakerOf('midtrans', { timeout: 30, fallback: () => 'later', capacity: 1 });
    const { read } = await serveMetrics({ breakers: () => [breaker] });
    for (let i = 0; i < 3; i++) await breaker.fire();
    for (let i = 0; i < 2; i++) await breaker.fire(new Error('down'));
    await Promise.all([breaker.run(() => new Promise(() => {})), breaker.fire()]);
    breaker.open();
    for (let i = 0; i < 4; i++) await breaker.fire();
    const seen = await read();
    const label = 'name="midtrans"';
    expect(seen).toMatchObject({
      [`circuit_breaker_requests_total{${label},result="success"}`]: 3,
      [`circuit_breaker_requests_total{${label},result="failure"}`]: 2,
      [`circuit_breaker_requests_total{${label},result="timeout"}`]: 1,
      [`circuit_breaker_requests_total{${label},result="rejected"}`]: 5,
      [`circuit_breaker_failures_total{${label}}`]: 3,
      [`circuit_breaker_response_time_count{${label}}`]: 6,
      [`circuit_breaker_state{${label}}`]: 2,
      [`fallback_activations{${label}}`]: 8,
      [`fallback_usage_total{${label},reason="failure"}`]: 2,
      [`fallback_usage_total{${label},reason="timeout"}`]: 1,
      [`fallback_usage_total{${label},reason="busy"}`]: 1,
      [`fallback_usage_total{${label},reason="open"}`]: 4,
    });
    expect(seen[`circuit_breaker_response_time_sum{${label}}`]).toBeGreaterThan(0.029);
    expect(seen[`circuit_breaker_response_time_sum{${label}}`]).toBeLessThan(20);
  });

  test('an inner breaker\'s refusal is the outer one\'s failure', async () => {
    const inner = breakerOf('inner', { timeout: 20 });
    const outer = keep(new CircuitBreaker(() => inner.run(() => new Promise(() => {})),
      { name: 'outer', volumeThreshold: 10 }), 'shutdown');
    const { read } = await serveMetrics({ breakers: () => [inner, outer] });
    await outer.fire().catch(() => {});
    expect(await read()).toMatchObject({
      'circuit_breaker_requests_total{name="inner",result="timeout"}': 1,
      'circuit_breaker_requests_total{name="outer",result="failure"}': 1,
    });
  });

  test('what was counted before, or by one that came later, is not lost', async () => {
    const all = [breakerOf('early')];
    for (let i = 0; i < 5; i++) await all[0].fire();
    await all[0].fire(new Error('down')).catch(() => {});
    const { read } = await serveMetrics({ breakers: () => all });
    const late = breakerOf('late');
    all.push(late);
    await late.fire();
    const seen = await read();
    await late.fire();
    await all[0].fire();
    const next = await read();
    const figures = page => ['early', 'late'].map(name =>
      page[`circuit_breaker_requests_total{name="${name}",result="success"}`]);
    expect([figures(seen), figures(next)]).toEqual([[5, 1], [6, 2]]);
    expect(next['circuit_breaker_failures_total{name="early"}']).toBe(1);
  });

  test('of a large group the members are one, of a small one they are told apart', async () => {
    const call = async error => { if (error) throw error; };
    const large = keep(new BreakerGroup(call, { name: 'tenants' }), 'shutdown');
    const small = keep(new BreakerGroup(call, { name: 'paths', max: 5 }), 'shutdown');
    const { read } = await serveMetrics({
      breakers: () => [large, small].flatMap(group => group.entries().map(([, each]) => each)),
    });
    for (let i = 0; i < 150; i++) await large.fire(`+62812${i}`);
    await read();
    for (let i = 0; i < 150; i++) await large.fire(`+62812${i}`);
    large.get('+628121').open();
    for (const key of ['/a', '/a', '/b']) await small.fire(key);
    const seen = await read();
    expect(seen).toMatchObject({
      'circuit_breaker_requests_total{name="tenants",result="success"}': 300,
      'circuit_breaker_state{name="tenants"}': 2,
      'circuit_breaker_requests_total{name="paths//a",result="success"}': 2,
      'circuit_breaker_requests_total{name="paths//b",result="success"}': 1,
    });
    expect(Object.keys(seen).filter(name => name.includes('62812'))).toEqual([]);
  });

  test('a failure with undefined is counted in a group, too', async () => {
    const group = keep(new BreakerGroup(() => Promise.reject(), { name: 'none' }), 'shutdown');
    group.get('a');
    const { read } = await serveMetrics({
      breakers: () => group.entries().map(([, each]) => each),
    });
    await read();
    await group.fire('a').catch(() => {});
    const failures = Object.entries(await read()).filter(([name, value]) =>
      /^circuit_breaker_requests_total.*result="failure"/.test(name) && value > 0);
    expect(failures).toMatchObject([[expect.stringContaining('none'), 1]]);
  });

  test('names are bounded: what comes later is one', async () => {
    const all = Array.from({ length: 50 }, (_, i) => breakerOf(`b${i}`));
    const { read } = await serveMetrics({ breakers: () => all, maxNames: 10 });
    for (const breaker of all) await breaker.fire();
    all[49].open();
    const seen = await read();
    expect(Object.keys(seen).filter(name => name.startsWith('circuit_breaker_state')))
      .toHaveLength(11);
    expect(seen).toMatchObject({
      'circuit_breaker_requests_total{name="b9",result="success"}': 1,
      'circuit_breaker_requests_total{name="other",result="success"}': 40,
      'circuit_breaker_state{name="other"}': 2,
    });
  });

  test('a closed one listens to nothing and leaves the registry', async () => {
    const breaker = breakerOf('left');
    const registry = new client.Registry();
    const metrics = createMetrics({ breakers: () => [breaker], registry, prefix: 'shop_' });
    expect(await registry.metrics()).toContain('\nshop_circuit_breaker_state{name="left"} 0\n');
    expect(breaker.listenerCount('success')).toBe(1);
    metrics.close();
    expect(breaker.listenerCount('success')).toBe(0);
    expect(registry.getMetricsAsArray()).toEqual([]);
  });
});

describe('a thousand names', () => {
  const COUNT = 1000;
  // Names in one turn of the loop. Two slices may meet in one of ours.
  const PER_TURN = 100;

  /** Counts the turns of the loop until `stop` is called. */
  function countTurns () {
    const turns = { now: 0, stop: () => clearImmediate(turns.next) };
    (function turn () {
      turns.now++;
      turns.next = setImmediate(turn);
    })();
    return keep(turns, 'stop');
  }

  /** What a call of `add` told, by the turn of the loop in which it was. */
  function byTurn () {
    const turns = countTurns();
    const found = new Map();
    return {
      found, turns,
      add: count => { found.set(turns.now, (found.get(turns.now) ?? 0) + count); },
    };
  }

  const all = Array.from({ length: COUNT }, (_, i) =>
    new CircuitBreaker(async () => {}, { name: `shop-${i}` }));
  afterAll(() => { for (const breaker of all) breaker.shutdown(); });
  const options = { breakers: () => all, maxNames: COUNT };

  test('no turn of the loop looks at many breakers, or writes many rows', async () => {
    const looks = byTurn();
    const rows = byTurn();
    const { get } = await serveMetrics(options);
    const opened = jest.spyOn(CircuitBreaker.prototype, 'opened', 'get')
      .mockImplementation(() => {
        looks.add(1);
        return false;
      });
    const write = jest.spyOn(http.ServerResponse.prototype, 'write');
    const original = write.getMockImplementation() ?? http.OutgoingMessage.prototype.write;
    write.mockImplementation(function (part, ...rest) {
      rows.add(String(part).match(/name="shop-/g)?.length ?? 0);
      return original.call(this, part, ...rest);
    });
    const { text } = await get('/metrics');
    opened.mockRestore();
    write.mockRestore();
    expect(text.match(/^circuit_breaker_state/gm)).toHaveLength(COUNT);
    const sum = ({ found }) => [...found.values()].reduce((a, b) => a + b);
    expect([sum(looks), sum(rows)]).toEqual([COUNT, 27 * COUNT]);
    expect(Math.max(...looks.found.values())).toBeLessThanOrEqual(PER_TURN);
    expect(Math.max(...rows.found.values())).toBeLessThanOrEqual(16 * PER_TURN);
  });

  test('a client that reads nothing holds the page back; one that leaves ends it', async () => {
    const { metrics } = await serveMetrics(options);
    const sink = new Writable({ highWaterMark: 1, write () {} });
    const parts = jest.spyOn(sink, 'write');
    sink.setHeader = () => {};
    const done = metrics.handler({ method: 'GET' }, sink);
    const turns = countTurns();
    await until(() => turns.now > 10 * COUNT);
    // A part that is under way, and few that wait.
    expect(parts.mock.calls.length).toBeGreaterThan(0);
    expect(parts.mock.calls.map(([part]) => part).join('').length).toBeLessThan(20_000);
    sink.destroy();
    await done;
  });

  test.each([client.Registry.PROMETHEUS_CONTENT_TYPE, client.Registry.OPENMETRICS_CONTENT_TYPE])(
    'the page is what the registry writes: %s', async type => {
      const registry = new client.Registry(type);
      registry.setDefaultLabels({ host: 'a"b', name: 'never' });
      const odd = ['quote "', 'line\nend', 'back\\slash', '$&', '\u2028']
        .map(name => breakerOf(name));
      for (const breaker of odd) await breaker.fire();
      const { get } = await serveMetrics(
        { ...options, registry, breakers: () => [...odd, ...all.slice(0, 200)] });
      const { text, headers } = await get('/metrics');
      expect(headers.get('content-type')).toBe(type);
      expect(text).toBe(await registry.metrics());
      expect(text).toContain('name="line\\nend"');
    });

  test('thirty pages leave less behind than one takes', async () => {
    v8.setFlagsFromString('--expose-gc');
    const gc = vm.runInNewContext('gc');
    const { get } = await serveMetrics(options);
    const used = () => {
      gc();
      return process.memoryUsage().heapUsed;
    };
    const { text } = await get('/metrics');
    for (let i = 0; i < 5; i++) await get('/metrics');
    const before = used();
    for (let i = 0; i < 30; i++) await get('/metrics');
    expect(used() - before).toBeLessThan(text.length);
  });

  test('a metric that fails is an error, not half a page', async () => {
    const registry = new client.Registry();
    registry.registerMetric({ name: 'bad', get: async () => { throw new Error(SECRET); } });
    const { get } = await serveMetrics({ ...options, registry });
    const { status, text } = await get('/metrics');
    expect([status, text.includes(SECRET)]).toEqual([500, false]);
  });
});

test('the parts of policies', async () => {
  const calm = policy({
    hedge: { safeToRepeat: true, delay: 1e6 }, adaptiveLimit: { initial: 7 },
    chaos: { faults: [{ name: 'made-up', rate: 1, result: 1 }] }, shed: {},
  });
  const { read, metrics } = await serveMetrics({
    breakers: () => [], policies: { calm, other: policy({ adaptiveLimit: { initial: 3 } }) },
  });
  await calm.execute(() => 2);
  const page = await read();
  expect(page).toMatchObject({
    'hedge_calls_total{name="calm"}': 1, 'hedges_total{name="calm"}': 0,
    'hedge_wins_total{name="calm"}': 0, 'hedges_denied_total{name="calm"}': 0,
    'chaos_faults_total{name="calm",fault="made-up"}': 1,
    'adaptive_limit{name="calm"}': 7, 'adaptive_limit{name="other"}': 3,
    'adaptive_limit_active{name="calm"}': 0, 'adaptive_limit_queued{name="calm"}': 0,
    'load_shedder_calls_total{name="calm",priority="5"}': 1,
    'load_shed_total{name="calm",priority="5"}': 0,
    'load_pressure{name="calm"}': 0, 'load_delay_seconds{name="calm"}': expect.any(Number),
  });
  expect(page).not.toHaveProperty('hedges_total{name="other"}');
  // Over processes: an adaptive limit is one of many, a pressure is that of the worst.
  const aggregatorOf = name => metrics.registry.getSingleMetric(name).aggregator;
  expect(['adaptive_limit', 'load_shed_total', 'load_pressure', 'load_delay_seconds']
    .map(aggregatorOf)).toEqual(['sum', 'sum', 'max', 'max']);
  const guide = fs.readFileSync(path.join(ROOT, 'docs', 'operations.md'), 'utf8');
  expect(metrics.registry.getMetricsAsArray().map(({ name }) => name)
    .filter(name => !guide.includes(`\`${name}\``))).toEqual([]);
  metrics.close();
  expect(metrics.registry.getMetricsAsArray()).toEqual([]);
});

test('retries of functions and clients', async () => {
  const load = retryable(async fails => {
    if (fails.count-- > 0) throw new Error('down');
  }, { retries: 2, minTimeout: 10, randomize: false });
  const [smtp, pool] = [new EventEmitter(), new EventEmitter()];
  const { read } = await serveMetrics({ breakers: () => [], retries: { load, smtp, pool } });
  await load({ count: 0 });
  await load({ count: 1 });
  await load({ count: 9 }).catch(() => {});
  smtp.emit('retry', { attempt: 1, delay: 500 });
  smtp.emit('retry', { attempt: 2, delay: 1000 });
  smtp.emit('retry'); // Of a client that tells no more.
  pool.emit('retry', 'shop', { attempt: 1, delay: 250 });
  expect(await read()).toMatchObject({
    'retry_calls_total{name="load"}': 3,
    'retry_attempts_total{name="load"}': 3,
    'retry_success_rate{name="load"}': 2 / 3,
    'retry_delay_seconds_sum{name="load"}': 0.04,
    'retry_delay_seconds_count{name="load"}': 3,
    'retry_attempts_total{name="smtp"}': 3,
    'retry_delay_seconds_sum{name="smtp"}': 1.5,
    'retry_delay_seconds_count{name="smtp"}': 2,
    'retry_delay_seconds_sum{name="pool"}': 0.25,
    'retry_delay_seconds_bucket{le="0.05",name="load"}': 3,
    'retry_delay_seconds_bucket{le="0.05",name="smtp"}': 0,
    'retry_delay_seconds_bucket{le="0.5",name="smtp"}': 1,
    'retry_delay_seconds_bucket{le="1",name="smtp"}': 2,
    'retry_delay_seconds_bucket{le="10",name="smtp"}': 2,
    'retry_delay_seconds_bucket{le="+Inf",name="smtp"}': 2,
  });
});

test('what answers in place of something else is counted under its name, by why', async () => {
  const fallbacks = new EventEmitter();
  const { read } = await serveMetrics({ breakers: () => [], fallbacks });
  for (const code of ['EOPENBREAKER', 'ETIMEDOUT', 'ERR_MIDTRANS_SERVER', undefined]) {
    fallbacks.emit('fallback', { name: 'midtrans', by: 'queue', error: { code } });
  }
  expect(await read()).toMatchObject({
    'fallback_activations{name="midtrans"}': 4,
    'fallback_usage_total{name="midtrans",reason="open"}': 1,
    'fallback_usage_total{name="midtrans",reason="timeout"}': 1,
    'fallback_usage_total{name="midtrans",reason="failure"}': 2,
  });
});

test('reading metrics looks at the checks, so that no process tells of what it saw long ago',
  async () => {
    let ok = false;
    const health = createHealth({ cacheMs: 0, checks: { database: () => ok } });
    const { read } = await serveMetrics({ breakers: () => [], health });
    const status = 'health_check_status{check="database"}';
    while ((await read())[status] !== 0);
    ok = true;
    while ((await read())[status] !== 1);
  });

test('health checks and the degradation level', async () => {
  let ok = true;
  const health = createHealth({ cacheMs: 0, checks: {
    database: () => ok, cache: () => ({ status: 'degraded' }),
  } });
  const breaker = breakerOf('midtrans');
  const degradation = keep(createDegradation({ services: { midtrans: breaker } }), 'stop');
  await degradation.start();
  const { read } = await serveMetrics({ breakers: () => [], health, degradation });
  await health.check();
  ok = false;
  await health.check();
  breaker.open();
  degradation.setLevel('EMERGENCY', { reason: `drill ${SECRET}`, by: 'ana' });
  const seen = await read();
  expect(seen).toMatchObject({
    'health_check_status{check="database"}': 0,
    'health_check_status{check="cache"}': 0.5,
    'health_check_duration_seconds_count{check="database"}': 2,
    'health_check_total{check="database",status="healthy"}': 1,
    'health_check_total{check="database",status="unhealthy"}': 1,
    'health_check_total{check="cache",status="degraded"}': 2,
    system_degradation_level: 3,
    'degradation_events_total{to="DEGRADED",by="automatic"}': 1,
    'degradation_events_total{to="EMERGENCY",by="manual"}': 1,
  });
});

describe('with a store', () => {
  let store;
  beforeAll(async () => { store = await openStore({ memory: true }); }, 60_000);
  afterAll(() => store.close());

  test('its outbox, its worker and its dead letters', async () => {
    const worker = store.outbox.createWorker({ channels: { EMAIL: async message => {
      if (message.subject === 'bad') throw Object.assign(new Error(SECRET), { code: 'EAUTH' });
    } }, pollInterval: 20 });
    const mail = { channel: 'EMAIL', recipient: 'ana@example.com', body: SECRET };
    await store.outbox.enqueue([
      { ...mail, subject: 'good' }, { ...mail, subject: 'bad', maxAttempts: 1 },
      { ...mail, subject: 'later', delay: 3_600_000 },
    ]);
    const { read, get } = await serveMetrics({ breakers: () => [], store, worker });
    const dead = once(worker, 'dead');
    const sent = once(worker, 'sent');
    await worker.start();
    await Promise.all([dead, sent]);
    await worker.stop();
    await store.deadLetters.recover({ '*': () => 'keep' });
    await store.deliveries.record([{
      messageId: 'wamid.1', status: 'failed', errors: [{ code: 131026, message: SECRET }],
    }]);
    expect(await read()).toMatchObject({
      'retry_calls_total{name="outbox/EMAIL"}': 2,
      'retry_success_rate{name="outbox/EMAIL"}': 0.5,
      'dlq_messages_total{channel="EMAIL",kind="EAUTH"}': 1,
      'dlq_messages_added_total{channel="EMAIL",kind="EAUTH"}': 1,
      dlq_processing_duration_seconds_count: 1,
      'message_delivery_failures_total{channel="none",code="131026"}': 1,
      payments_held: 0,
      'outbox_messages{channel="EMAIL",status="SENT"}': 1,
      'outbox_messages{channel="EMAIL",status="PENDING"}': 1,
      outbox_oldest_message_seconds: 0,
    });
    const { text } = await get('/metrics');
    expect(text).not.toContain(SECRET);
    expect(text).not.toContain('example.com');
  });

  test('without an answer of the store there are no old values', async () => {
    const broken = { stats: async () => { throw new Error(SECRET); } };
    const { get } = await serveMetrics({
      breakers: () => [], store: { outbox: broken, deadLetters: store.deadLetters },
    });
    const { status, text } = await get('/metrics');
    expect(status).toBe(200);
    expect(text).not.toMatch(/^outbox_/m);
    expect(text).not.toContain(SECRET);
  });

  test('its health, its worker\'s, and the page of its dead letters', async () => {
    const worker = store.outbox.createWorker({
      channels: { WHATSAPP: async () => {} }, pollInterval: 20,
    });
    await worker.start();
    await store.deadLetters.purge();
    const letter = { channel: 'WHATSAPP', recipient: '+6281234567890', body: SECRET };
    for (const kind of ['131026', '131026', '470']) {
      await store.deadLetters.add(letter, SECRET, { kind });
    }
    const health = createHealth({ cacheMs: 0, checks: {
      database: healthChecks.database(store), worker: healthChecks.worker(worker),
    } });
    const { get } = await serve(express().use(
      createHealthRouter({ health, deadLetters: store.deadLetters, breakers: () => [] })));
    expect(await get('/health/detailed')).toMatchObject({ status: 200, body: {
      status: 'healthy', checks: {
        database: { status: 'healthy', details: { engine: 'pglite' } },
        worker: { status: 'healthy', details: { running: true, inFlight: 0 } },
      } } });
    const page = await get('/health/dlq');
    expect(page.body).toEqual({ configured: true, total: 3, kinds: [
      { channel: 'WHATSAPP', kind: '131026', count: 2 },
      { channel: 'WHATSAPP', kind: '470', count: 1 }] });
    await worker.stop();
    expect(await get('/health')).toMatchObject({ status: 200, body: { status: 'degraded' } });
    await store.close();
    const closed = await get('/health/detailed');
    expect(closed).toMatchObject({ status: 503, body: {
      status: 'unhealthy', checks: { database: { status: 'unhealthy' } } } });
    expect(page.text + closed.text).not.toMatch(/hunter2|6281234567890/);
  });
});

test('secrets in names do not become labels', async () => {
  const all = [breakerOf(`https://app:${SECRET}@db.internal/shop?key=${SECRET}`)];
  const { get } = await serveMetrics({ breakers: () => all });
  await all[0].fire(new Error(SECRET)).catch(() => {});
  const { text } = await get('/metrics');
  expect(text).toContain('circuit_breaker_state{name="https://db.internal/shop"} 0');
  expect(text).not.toContain(SECRET);
});

test('of two processes with one breaker nothing is counted twice', async () => {
  const namespace = `metrics-${process.pid}`;
  const child = fork(path.join(__dirname, '..', 'support', 'metrics-worker.js'), {
    env: { ...process.env, NAMESPACE: namespace }, stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  ends.push(() => { regions.remove(namespace); }, () => { child.kill('SIGKILL'); });
  const exit = once(child, 'exit');
  const [found] = await Promise.race([once(child, 'message'), exit]);
  expect(await exit).toEqual([0, null]);
  const sums = parse(found.ours);
  expect(sums).toMatchObject({
    'circuit_breaker_requests_total{name="midtrans",result="success"}': 40,
    'circuit_breaker_requests_total{name="midtrans",result="failure"}': 20,
    'circuit_breaker_failures_total{name="midtrans"}': 20,
    'fallback_activations{name="midtrans"}': 20,
    'circuit_breaker_state{name="midtrans"}': 2,
    'retry_success_rate{name="load"}': 0.25,
    system_degradation_level: 1,
  });
  // prom-client's own sums, of which no part is larger than it has to be.
  expect(sums).toEqual(parse(found.theirs));
  expect(found.ours.match(/^# .*/gm).toSorted()).toEqual(found.theirs.match(/^# .*/gm).toSorted());
  expect(found.lines).toBeGreaterThan(100);
  expect(found.lines).toBeLessThanOrEqual(16 * 50 + 10);
  expect(found.ofOneThatLeft).toBe(500);
  expect(parse(found.ofTheOther)).toMatchObject({
    'circuit_breaker_requests_total{name="midtrans",result="success"}': 20,
  });
});

test('a registry in another format cannot be added up', () => {
  const registry = new client.Registry(client.Registry.OPENMETRICS_CONTENT_TYPE);
  expect(() => createMetrics({ registry, cluster: true })).toThrow(/the format of Prometheus/);
  expect(registry.getMetricsAsArray()).toEqual([]);
});

test.each([
  [{ prefix: 'a-b' }, /for prefix/],
  [{ maxNames: 0 }, /for maxNames/],
  [{ breakers: [] }, /Expected a function for breakers/],
  [{ policies: { a: {} } }, /Expected a policy for policies\.a/],
  [{ policies: { 'a b': policy({}) } }, /Expected names/],
  [{ retries: { a: {} } }, /Expected a retryable function or a client for retries\.a/],
])('%j is refused', (options, message) => {
  const registry = new client.Registry();
  expect(() => createMetrics({ registry, ...options })).toThrow(message);
  expect(registry.getMetricsAsArray()).toEqual([]);
});
