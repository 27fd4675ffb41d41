'use strict';

const { once } = require('node:events');

const { createDegradation, createGateway, createSharedLevel } = require('../../lib/gateway');
const { openStore } = require('../../lib/store');
const { startTcpProxy } = require('../../lib/testing');
const { describeEngines, sharedPostgres } = require('../support/postgres');

const opened = [];

afterEach(async () => {
  for (const end of opened.splice(0).reverse()) await end();
});

/** A process of the application: its own degradation over a store. */
async function startProcess (store, options) {
  const degradation = createDegradation(options);
  const shared = createSharedLevel({ store, degradation });
  const warnings = [];
  shared.on('warning', error => warnings.push(error));
  opened.push(() => shared.stop());
  await shared.start();
  return { degradation, shared, warnings };
}

/** Resolves once a level was taken by hand there, whoever did it. */
const taken = async ({ degradation }) => (await once(degradation, 'manual'))[0];

/** Resolves once the row holds this; what a process tells is written behind its back. */
async function rowWith (store, wanted) {
  for (;;) {
    const { rows } = await store.query(`SELECT * FROM ${store.schema}.degradation_level`);
    const isThere = ([name, value]) => rows[0][name] === value;
    if (rows.length > 0 && Object.entries(wanted).every(isThere)) return rows;
  }
}

describeEngines('a level set by hand', ({ name: engine, place }) => {
  let one;
  let two;

  // Two pools where there can be two: PGlite has one process only.
  beforeAll(async () => {
    const where = await place();
    one = await openStore(where);
    two = engine === 'pglite' ? one : await openStore(where);
  });

  afterAll(() => Promise.all([one, two].map(store => store.close())));

  beforeEach(() => one.query(`DELETE FROM ${one.schema}.degradation_level`));

  test('applies to all, with name and reason, until another process takes it back', async () => {
    const [a, b] = [await startProcess(one), await startProcess(two)];
    const followed = taken(b);
    a.degradation.setLevel('SEVERE', { reason: 'moving "the" database', by: 'ana' });
    await expect(followed).resolves.toEqual(
      { level: 'SEVERE', reason: 'moving "the" database', by: 'ana' });
    expect(b.degradation.snapshot()).toMatchObject(
      { level: { name: 'SEVERE' }, manual: true, by: 'ana', reason: 'moving "the" database' });
    const released = taken(a);
    b.degradation.setLevel(null, { by: 'budi' });
    await expect(released).resolves.toMatchObject({ level: null, by: 'budi' });
    expect(a.degradation.snapshot()).toMatchObject({ level: { name: 'NORMAL' }, manual: false });
    // Nobody answers an echo.
    expect(await rowWith(one, { actor: 'budi' })).toMatchObject([{ generation: '2' }]);
    expect([...a.warnings, ...b.warnings]).toEqual([]);
  });

  test('applies to processes that start later, with its time', async () => {
    const a = await startProcess(one);
    a.degradation.setLevel('DEGRADED', { reason: 'sale', by: 'ana' });
    await a.shared.stop();
    const [{ since }] = await rowWith(one, { level: 'DEGRADED' });
    const { degradation } = await startProcess(two);
    expect(degradation.snapshot()).toMatchObject({
      level: { name: 'DEGRADED' }, manual: true, reason: 'sale', by: 'ana',
      since: since.toISOString(),
    });
  });

  test('after it was taken back, processes that start later follow their rules', async () => {
    const a = await startProcess(one);
    a.degradation.setLevel('DEGRADED', { reason: 'sale' });
    a.degradation.setLevel(null, { reason: 'over' });
    await a.shared.stop();
    expect(await rowWith(one, { level: null })).toMatchObject([{ reason: 'over' }]);
    const { degradation } = await startProcess(two);
    expect(degradation.snapshot()).toMatchObject({ manual: false, by: 'automatic' });
  });

  test('a level set before the start is shared at the start; the newer of two wins', async () => {
    const [early, late] = [createDegradation(), createDegradation()];
    const first = createSharedLevel({ store: one, degradation: early });
    const second = createSharedLevel({ store: two, degradation: late });
    opened.push(() => first.stop(), () => second.stop());
    early.setLevel('EMERGENCY', { reason: 'older' });
    await new Promise(resolve => setTimeout(resolve, 100));
    late.setLevel('DEGRADED', { reason: 'newer' });
    await second.start();
    await first.start();
    expect(early.snapshot()).toMatchObject({ level: { name: 'DEGRADED' }, reason: 'newer' });
    expect(await rowWith(one, { reason: 'newer' })).toMatchObject([{ generation: '1' }]);
  });

  test('all agree on one level when all set one at the same time', async () => {
    const all = await Promise.all([one, two, one, two].map(store => startProcess(store)));
    const names = ['NORMAL', 'DEGRADED', 'SEVERE', 'EMERGENCY'];
    for (let i = 0; i < 20; i++) {
      all[i % 4].degradation.setLevel(names[i % 3], { reason: `decision ${i}` });
    }
    const reasons = () => all.map(({ degradation }) => degradation.snapshot().reason);
    for (let last; ; last = reasons()) {
      const [{ reason }] = await rowWith(one, {}); // Any.
      if (last?.every(each => each === reason)) break;
    }
    const followed = Promise.all(all.slice(1).map(taken));
    all[0].degradation.setLevel('EMERGENCY', { reason: 'the last one' });
    await followed;
    expect(reasons()).toEqual(all.map(() => 'the last one'));
  });

  test('a level of another scheme is reported and ignored', async () => {
    const a = await startProcess(one, { scheme: 'levels' });
    const b = await startProcess(two);
    const warned = once(b.shared, 'warning');
    a.degradation.setLevel('CRITICAL', { reason: 'all is lost' });
    await expect(warned).resolves.toMatchObject([{ code: 'ERR_INVALID_OPTION' }]);
    expect(b.degradation.snapshot()).toMatchObject({ level: { name: 'NORMAL' }, manual: false });
    const followed = taken(b);
    a.degradation.setLevel('SEVERE', { reason: 'much is lost' });
    await expect(followed).resolves.toMatchObject({ level: 'SEVERE' });
  });

  test('after stop() it neither shares nor follows levels', async () => {
    const [a, b, c] = [await startProcess(one), await startProcess(two), await startProcess(two)];
    await a.shared.stop();
    a.degradation.setLevel('EMERGENCY', { reason: 'alone' });
    const followed = taken(c);
    b.degradation.setLevel('SEVERE', { reason: 'together' });
    await followed;
    expect(a.degradation.snapshot()).toMatchObject({ reason: 'alone' });
    expect(await rowWith(one, { reason: 'together' })).toMatchObject([{ generation: '1' }]);
  });

  test('rejects a wrong store or degradation', () => {
    const degradation = createDegradation();
    expect(() => createSharedLevel({ store: {}, degradation })).toThrow(/^Expected .* for store/);
    expect(() => createSharedLevel({ store: one })).toThrow(/for degradation/);
  });
});

describe('without the database', () => {
  let url;
  let proxy;
  let direct;
  let cut;

  beforeAll(async () => {
    url = await (await sharedPostgres()).createDatabase();
    const { port } = new URL(url);
    proxy = await startTcpProxy({ target: Number(port) });
    direct = await openStore({ url });
    cut = await openStore({ url: url.replace(`:${port}/`, `:${proxy.port}/`), timeout: 5000 });
    cut.on('warning', () => {});
  });

  afterAll(async () => {
    await Promise.all([direct.close(), cut.close()]);
    await proxy.close();
  });

  const goAway = () => {
    proxy.set({ refuse: true });
    proxy.cutAll();
  };

  afterEach(() => proxy.set(null));

  test('a level applies where it was set, and is shared when the database is back', async () => {
    const [a, b] = [await startProcess(cut), await startProcess(direct)];
    goAway();
    const warned = once(a.shared, 'warning');
    a.degradation.setLevel('SEVERE', { reason: 'no database', by: 'ana' });
    await warned;
    expect([a, b].map(({ degradation }) => degradation.level.name)).toEqual(['SEVERE', 'NORMAL']);
    const followed = taken(b);
    proxy.set(null);
    await expect(followed).resolves.toEqual(
      { level: 'SEVERE', reason: 'no database', by: 'ana' });
  });

  test('a newer decision of another process in the meantime wins', async () => {
    const [a, b] = [await startProcess(cut), await startProcess(direct)];
    goAway();
    const warned = once(a.shared, 'warning');
    a.degradation.setLevel('EMERGENCY', { reason: 'older' });
    await warned;
    await once(a.shared, 'warning');
    b.degradation.setLevel('DEGRADED', { reason: 'newer' });
    await rowWith(direct, { reason: 'newer' });
    const followed = taken(a);
    proxy.set(null);
    await expect(followed).resolves.toMatchObject({ reason: 'newer' });
    expect(b.degradation.snapshot()).toMatchObject({ level: { name: 'DEGRADED' } });
  });

  test('a process that starts meanwhile takes the level when the database is back', async () => {
    const b = await startProcess(direct);
    b.degradation.setLevel('SEVERE', { reason: 'set before', by: 'ana' });
    await rowWith(direct, { reason: 'set before' });
    goAway();
    const a = await startProcess(cut);
    expect(a.warnings).toMatchObject([{ code: 'ERR_STORE_UNREACHABLE' }]);
    expect(a.degradation.snapshot().manual).toBe(false);
    const followed = taken(a);
    proxy.set(null);
    await expect(followed).resolves.toMatchObject({ level: 'SEVERE', by: 'ana' });
  });
});

test('gateways that share a store share the level, also after a restart', async () => {
  const url = await (await sharedPostgres()).createDatabase();
  const start = async () => {
    const logger = Object.fromEntries(['debug', 'info', 'warn', 'error'].map(n => [n, () => {}]));
    const gateway = await createGateway({ profile: 'testing', store: { url } }, { logger });
    opened.push(() => gateway.stop());
    await gateway.start();
    return gateway;
  };
  const [a, b] = [await start(), await start()];
  const changed = once(b, 'level');
  a.degradation.setLevel('SEVERE', { reason: 'stock-taking', by: 'ana' });
  await expect(changed).resolves.toEqual(
    [{ from: 'NORMAL', to: 'SEVERE', reason: 'stock-taking', by: 'ana' }]);
  await Promise.all([a.stop(), b.stop()]);
  const again = await start();
  expect(again.degradation.snapshot()).toMatchObject(
    { level: { name: 'SEVERE' }, manual: true, reason: 'stock-taking', by: 'ana' });
});
