'use strict';

const { CircuitBreaker } = require('../..');
const { createHealth, healthChecks } = require('../../lib/gateway');
const { useVirtualClock } = require('../../lib/testing');

let clock;

beforeEach(() => { clock = useVirtualClock({ wall: Date.UTC(2026, 0, 1) }); });
afterEach(() => clock.restore());

const SECRET = 'hunter2-hunter2';
const refused = () => Object.assign(
  new Error(`connect postgres://app:${SECRET}@db`), { code: 'ECONNREFUSED' });

describe('status', () => {
  const well = () => {};
  const half = () => ({ status: 'degraded' });
  const ill = () => { throw refused(); };

  test.each([
    ['all well', { a: well, b: { check: well, critical: true } }, 'healthy', true],
    ['no checks', {}, 'healthy', true],
    ['one degraded', { a: half, b: well }, 'degraded', true],
    ['one ill that is not critical', { a: ill, b: well }, 'degraded', true],
    ['a critical one degraded', { a: { check: half, critical: true } }, 'degraded', true],
    ['a critical one ill', { a: { check: ill, critical: true }, b: half }, 'unhealthy', false],
    ['false', { a: { check: () => false, critical: true } }, 'unhealthy', false],
  ])('%s', async (_, checks, status, ready) => {
    const health = createHealth({ checks });
    expect((await health.check()).status).toBe(status);
    expect((await health.ready()).ready).toBe(ready);
  });

  test('strict: all checks decide the status; readiness does not change',
    async () => {
      const health = createHealth({ strict: true, checks: { a: ill, b: well } });
      expect((await health.check()).status).toBe('unhealthy');
      expect((await health.ready()).ready).toBe(true);
      expect((await createHealth({ strict: true, checks: { a: half } }).check()).status)
        .toBe('degraded');
    });

  test('a check may be critical and not needed to be ready, and the other way round', async () => {
    const critical = createHealth({ checks: { a: { check: ill, critical: true, ready: false } } });
    expect((await critical.check()).status).toBe('unhealthy');
    expect(await critical.ready()).toMatchObject({ ready: true, failing: [] });
    const needed = createHealth({ checks: { a: { check: ill, ready: true } } });
    expect((await needed.check()).status).toBe('degraded');
    expect(await needed.ready()).toMatchObject({ ready: false, failing: ['a'] });
  });

  test('tells each answer, how long it took and when, and no words of errors', async () => {
    const errors = [];
    const health = createHealth({
      checks: {
        database: { check: ill, critical: true },
        smtp: { check: async () => { await clock.advance(120); return { queued: 3 }; } },
        odd: () => Promise.reject(Object.assign(new Error(SECRET), { code: `42 ${SECRET}` })),
      },
    });
    health.on('check', (result, error) => errors.push([result.name, error?.message]));
    const report = await health.check();
    expect(report).toEqual({
      status: 'unhealthy',
      checks: {
        database: { status: 'unhealthy', critical: true, responseTimeMs: expect.any(Number),
          checkedAt: expect.any(String), error: 'ECONNREFUSED' },
        smtp: { status: 'healthy', critical: false, responseTimeMs: 120,
          checkedAt: '2026-01-01T00:00:00.120Z', details: { queued: 3 } },
        odd: { status: 'unhealthy', critical: false, responseTimeMs: expect.any(Number),
          checkedAt: expect.any(String), error: 'ERR_CHECK_FAILED' },
      },
    });
    expect(JSON.stringify(report)).not.toContain(SECRET);
    expect(errors.toSorted()).toEqual([
      ['database', refused().message], ['odd', SECRET], ['smtp', undefined]]);
  });

  test('details that cannot become JSON do not hide the others', async () => {
    const cyclic = {};
    cyclic.self = cyclic;
    const deep = { get reason () { throw new Error(SECRET); } };
    const health = createHealth({ checks: { odd: () => ({ cyclic, deep, rows: 7n, queued: 3 }) } });
    const { checks: { odd } } = await health.check();
    const unshown = 'a value that cannot become JSON';
    expect(odd).toMatchObject({
      status: 'healthy', details: { cyclic: unshown, deep: unshown, rows: 7n, queued: 3 },
    });
  });

  test('changes are events', async () => {
    let ok = true;
    const changes = [];
    const health = createHealth({ checks: { a: () => ok }, cacheMs: 0 });
    health.on('status', change => changes.push(change));
    for (ok of [true, true, false, false, true]) await health.check();
    expect(changes).toEqual([
      { from: 'healthy', to: 'degraded' }, { from: 'degraded', to: 'healthy' }]);
  });
});

describe('probes', () => {
  test('are kept for 30 s, and shared by all who ask at once', async () => {
    let asked = 0;
    let answer;
    const health = createHealth({ checks: {
      slow: { check: () => {
        asked += 1;
        return new Promise(resolve => { answer = resolve; });
      }, critical: true },
    } });
    const reports = Array.from({ length: 1000 },
      (_, i) => (i % 2 ? health.check() : health.ready()));
    await clock.advance(10);
    expect(asked).toBe(1);
    answer();
    expect(new Set((await Promise.all(reports)).map(r => r.status ?? r.ready)))
      .toEqual(new Set(['healthy', true]));
    await clock.advance(29_999);
    await health.check();
    expect(asked).toBe(1);
    await clock.advance(1);
    const again = health.check();
    expect(asked).toBe(2);
    answer();
    await again;
  });

  test('have a time limit, and one that hangs is not called again at once', async () => {
    const settle = [];
    const health = createHealth({ cacheMs: 1000, checks: {
      hangs: { check: () => new Promise(resolve => settle.push(resolve)), timeout: 2000 },
      quick: () => {},
    } });
    const first = health.check();
    await clock.advance(2000);
    expect((await first).checks).toMatchObject({
      hangs: { status: 'unhealthy', error: 'ETIMEDOUT', responseTimeMs: 2000 },
      quick: { status: 'healthy' },
    });
    for (let i = 0; i < 9; i++) {
      await clock.advance(2000);
      expect((await health.check()).checks.hangs.error).toBe('ETIMEDOUT');
    }
    expect(settle).toHaveLength(1);
    settle[0](); // It did come back, so it is asked again.
    await clock.advance(0);
    const second = health.check();
    expect(settle).toHaveLength(2);
    settle[1]();
    expect((await second).checks.hangs.status).toBe('healthy');
  });

  test('one that never comes back is called again after ten time limits', async () => {
    let asked = 0;
    const health = createHealth({ cacheMs: 1000, checks: {
      hangs: { check: () => { asked += 1; return new Promise(() => {}); }, timeout: 2000 },
    } });
    const first = health.check();
    await clock.advance(2000);
    await first;
    await clock.advance(20_000);
    health.check();
    expect(asked).toBe(2);
  });

  test('that are slow to answer again are shown as they were, for as long as they may take',
    async () => {
      let pending = false;
      const health = createHealth({ cacheMs: 1000, checks: { a: {
        critical: true, timeout: 2000, check: () => (pending ? new Promise(() => {}) : true)
      } } });
      expect((await health.check()).status).toBe('healthy');
      pending = true;
      await clock.advance(1000);
      let report;
      const asked = health.check().then(answer => { report = answer; });
      await clock.advance(49);
      expect(report).toBeUndefined();
      await clock.advance(1);
      await asked;
      expect(report.checks.a).toMatchObject({
        status: 'healthy', checkedAt: '2026-01-01T00:00:00.000Z'
      });
      await clock.advance(1950);
      expect((await health.check()).status).toBe('unhealthy');
    });

  test('readiness needs a fresh result: at most 500 ms old, and within 1.5 s', async () => {
    let pending = false;
    let asked = 0;
    const health = createHealth({ checks: { a: { critical: true, check: () => {
      asked += 1;
      return pending ? new Promise(() => {}) : true;
    } } } });
    expect((await health.ready()).ready).toBe(true);
    pending = true;
    await clock.advance(499);
    expect((await health.ready()).ready).toBe(true);
    expect(asked).toBe(1);
    await clock.advance(1);
    let answer;
    const all = Array.from({ length: 100 },
      () => health.ready().then(ready => { answer = ready; }));
    await clock.advance(1499);
    expect(answer).toBeUndefined();
    await clock.advance(1);
    await Promise.all(all);
    expect(answer).toEqual({ ready: false, draining: false, failing: ['a'] });
    // A check that hangs is not called again meanwhile.
    await clock.advance(3500);
    for (let i = 0; i < 10; i++) expect((await health.ready()).ready).toBe(false);
    expect(asked).toBe(2);
  });

  test('get a signal that aborts at the limit', async () => {
    let signal;
    const health = createHealth({ checks: {
      a: { timeout: 100, check: context => {
        ({ signal } = context);
        return new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason));
        });
      } },
    } });
    const report = health.check();
    expect(signal.aborted).toBe(false);
    await clock.advance(100);
    expect((await report).checks.a.error).toBe('ETIMEDOUT');
    expect(signal.reason.code).toBe('ETIMEDOUT');
  });
});

test('live asks nobody; draining is not ready', async () => {
  const health = createHealth({ checks: { a: () => { throw new Error('asked'); } } });
  await clock.advance(5000);
  expect(health.live()).toEqual({ status: 'alive', uptimeMs: 5000 });
  expect(await health.ready()).toEqual({ ready: true, draining: false, failing: [] });
  health.drain();
  expect(await health.ready()).toEqual({ ready: false, draining: true, failing: [] });
});

describe('ready-made checks', () => {
  const look = async check => (await createHealth({ checks: { it: check } }).check()).checks.it;

  test('database', async () => {
    const answers = [{ ok: true, engine: 'pglite', latencyMs: 1 },
      { ok: false, engine: 'pglite', latencyMs: 1, error: SECRET }];
    const store = { health: async () => answers.shift() };
    expect(await look(healthChecks.database(store)))
      .toMatchObject({ status: 'healthy', critical: true, details: { engine: 'pglite' } });
    const ill = await look(healthChecks.database(store));
    expect(ill).toMatchObject({ status: 'unhealthy', error: 'ERR_STORE_UNREACHABLE' });
    expect(JSON.stringify(ill)).not.toContain(SECRET);
  });

  test('worker', async () => {
    const worker = { running: true, lastBeat: clock.now, inFlight: 2 };
    const check = healthChecks.worker(worker, { silence: 10_000 });
    await clock.advance(10_000);
    expect(await look(check)).toMatchObject({ status: 'healthy',
      details: { running: true, lastBeatMs: 10_000, inFlight: 2 } });
    await clock.advance(1);
    expect(await look(check)).toMatchObject({ status: 'unhealthy' });
    worker.lastBeat = clock.now;
    expect(await look(check)).toMatchObject({ status: 'healthy' });
    worker.running = false;
    expect(await look(check)).toMatchObject({ status: 'unhealthy' });
  });

  test('breakers', async () => {
    const all = ['a', 'b'].map(name => new CircuitBreaker(async () => {}, { name }));
    const check = healthChecks.breakers(() => all);
    expect(await look(check)).toMatchObject({ status: 'healthy', details: { total: 2, open: 0 } });
    all[1].open();
    expect(await look(check)).toMatchObject({ status: 'degraded',
      details: { total: 2, open: 1, halfOpen: 0, names: ['b'] } });
    for (const breaker of all) breaker.shutdown();
  });
});

test.each([
  [{ checks: { a: 1 } }, /Expected an object for checks\.a/],
  [{ checks: { a: {} } }, /Expected a function for checks\.a\.check/],
  [{ checks: { 'a"b': () => {} } }, /Expected names of 1 to 64/],
  [{ checks: { a: { check: () => {}, timeout: 0 } } }, /for checks\.a\.timeout/],
  [{ checks: { a: { check: () => {}, critical: 1 } } }, /for checks\.a\.critical/],
  [{ checks: { a: { check: () => {}, critcal: true } } }, /Unknown option critcal in checks\.a/],
  [{ cacheMs: -1 }, /for cacheMs/],
])('%j is refused', (options, message) => {
  expect(() => createHealth(options)).toThrow(message);
});
