'use strict';

const { once } = require('node:events');

const { CircuitBreaker } = require('../..');
const { startTcpProxy } = require('../../lib/testing');
const { createFleet } = require('../../lib/store/fleet');
const { migrate } = require('../../lib/store/migrate');
const { openDatabase } = require('../../lib/store/database');
const { cleanUp } = require('../../lib/store/retention');
const { describeEngines, sharedPostgres } = require('../support/postgres');

const OPTIONS = { consecutiveFailures: 2, resetTimeout: 60_000 };

// Each test has a breaker name of its own, as they share the databases.
let name;
let tests = 0;
beforeEach(() => { name = `midtrans-${++tests}`; });

const opened = [];

afterEach(async () => {
  for (const end of opened.splice(0).reverse()) await end();
});

async function openAt (place) {
  const database = await openDatabase(place);
  await migrate(database);
  return database;
}

/** A host: a breaker of its own in a fleet of its own. */
async function host (database, options = {}) {
  const upstream = { isUp: false };
  const breaker = new CircuitBreaker(async () => {
    if (!upstream.isUp) throw new Error('down');
  }, { ...OPTIONS, name, ...options });
  const fleet = createFleet({ database });
  await fleet.join(breaker);
  opened.push(async () => {
    breaker.shutdown();
    await fleet.close();
  });
  const fail = async times => {
    for (let i = 0; i < times; i++) await breaker.fire().catch(() => {});
  };
  return { breaker, fleet, upstream, fail };
}

describeEngines('a breaker of the fleet', ({ name: engine, place }) => {
  let one;
  let two;

  // Two pools where there can be two: PGlite has one process only.
  beforeAll(async () => {
    const where = await place();
    one = await openAt(where);
    two = engine === 'pglite' ? one : await openAt(where);
  });

  afterAll(() => Promise.all([one, two].map(database => database.close())));

  test('what trips on one host opens on the other, and closes on both', async () => {
    const a = await host(one, { resetTimeout: 50 });
    const b = await host(two, { resetTimeout: 60_000 });
    const isOpen = once(b.breaker, 'open');
    await a.fail(2);
    await isOpen;
    expect(b.breaker.stats.failures).toBe(0);
    if (!a.breaker.halfOpen) await once(a.breaker, 'halfOpen');
    const isClosed = once(b.breaker, 'close');
    a.upstream.isUp = true;
    await a.breaker.fire();
    await isClosed;
    expect([a.breaker.closed, b.breaker.closed]).toEqual([true, true]);
  });

  test('a host that joins an open circuit opens', async () => {
    const a = await host(one);
    await a.fail(2);
    await expect(listed(a.fleet)).resolves.toMatchObject(
      { namespace: 'default', name, state: 'open' });
    const b = await host(two);
    expect(b.breaker.opened).toBe(true);
  });

  test('two that trip at once make one transition, and nobody echoes it', async () => {
    const [a, b] = [await host(one), await host(two)];
    await Promise.all([a.fail(2), b.fail(2)]);
    await listed(a.fleet);
    const first = await written();
    a.breaker.close();
    if (!b.breaker.closed) await once(b.breaker, 'close');
    expect(await written())
      .toEqual({ state: 'closed', generation: String(BigInt(first.generation) + 1n) });
  });

  test('what is over is cleaned up, and what comes later is news to all', async () => {
    const [a, b] = [await host(one, { resetTimeout: 1 }), await host(two)];
    const opens = once(b.breaker, 'open');
    await a.fail(2);
    await opens;
    const closes = once(b.breaker, 'close');
    a.breaker.close();
    await closes;
    const lasting = await host(one, { name: `${name}-lasting` });
    await lasting.fail(2);
    await listed(lasting.fleet, `${name}-lasting`);
    expect(await cleanUp(one, { fleet: false })).toMatchObject({ fleet: 0 });
    expect((await cleanUp(one, { fleet: 0, batchSize: 1 })).fleet).toBeGreaterThan(0);
    expect((await a.fleet.list()).filter(row => row.name.startsWith(name)))
      .toMatchObject([{ name: `${name}-lasting`, state: 'open' }]);
    // It has not heard of the earlier transitions.
    const c = await host(one);
    const opensAgain = [a, b].map(({ breaker }) => once(breaker, 'open'));
    await c.fail(2);
    await Promise.all(opensAgain);
  });

  test('a breaker that has left goes on by itself', async () => {
    const [a, b] = [await host(one), await host(two)];
    a.fleet.leave(a.breaker);
    await a.fail(2);
    const c = await host(one, { name: `${name}-other` });
    await c.fail(2);
    await listed(c.fleet, `${name}-other`);
    expect((await b.fleet.list()).filter(row => row.name === name)).toEqual([]);
    expect(b.breaker.closed).toBe(true);
  });

  test('rejects what is not a breaker, a name that has joined, and a wrong namespace', async () => {
    const { breaker, fleet } = await host(one);
    await expect(fleet.join({})).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
    await expect(fleet.join(breaker)).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
    await expect(fleet.join(new CircuitBreaker(async () => {}), { namespace: 'a/b' }))
      .rejects.toThrow(/namespace/);
  });

  async function written () {
    const { rows: [row] } = await one.query(
      `SELECT state, generation FROM ${one.schema}.fleet_breakers WHERE name = $1`,
      [`default/${name}`]);
    return row;
  }

  /** The row, once it is there: what a breaker does is written behind its back. */
  async function listed (fleet, wanted = name) {
    for (;;) {
      const row = (await fleet.list()).find(one => one.name === wanted);
      if (row !== undefined) return row;
    }
  }
});

test('without the database each host goes on alone, and writes its state afterwards', async () => {
  const url = await (await sharedPostgres()).createDatabase();
  const direct = await openAt({ url });
  opened.push(() => direct.close());
  const port = Number(new URL(url).port);
  const proxy = await startTcpProxy({ target: port });
  opened.push(() => proxy.close());
  const cut = await openAt({ url: url.replace(`:${port}/`, `:${proxy.port}/`), timeout: 5000 });
  opened.push(() => cut.close());
  const [a, b] = [await host(cut), await host(direct)];
  proxy.set({ refuse: true });
  proxy.cutAll();
  const warned = once(a.fleet, 'warning');
  // A listener that throws does not harm the fleet.
  a.fleet.on('warning', () => { throw new Error('expected'); });
  await a.fail(2);
  await warned;
  expect([a.breaker.opened, b.breaker.opened]).toEqual([true, false]);
  const isOpen = once(b.breaker, 'open');
  proxy.set(null);
  await isOpen;
});
