'use strict';

// What idle gateways cost their database. Their time is that of the virtual clock, so a second has
// as many polls as it should on any machine. The log of the server tells what they asked.

const { startAll } = require('../support/gateway-helpers');
const { until } = require('../support/outbox-helpers');
const { startPostgres } = require('../support/postgres');
const { openStore } = require('../../lib/store');
const { useVirtualClock } = require('../../lib/testing');

const GATEWAYS = 3;
// Until channels that have found nothing are polled less often.
const WARM_SECONDS = 60;
const SECONDS = 120;
const LOG = {
  log_statement: 'all', log_min_messages: 'log', log_line_prefix: "'%p %d '", autovacuum: 'off',
};

let server;
let clock;
const all = [];
afterAll(async () => {
  clock?.restore();
  for (const it of all) await it.close();
  await server?.close();
});

/** How many transactions the log of a database has: each begins with BEGIN, or is one statement. */
function transactionsIn (log, database) {
  const open = new Set();
  let count = 0;
  const line = new RegExp(`^(\\d+) ${database} LOG: {2}(?:statement|execute [^:]*): (\\w+)`, 'gm');
  for (const [, session, verb] of log.matchAll(line)) {
    if (verb === 'BEGIN') open.add(session);
    if (verb === 'COMMIT' || verb === 'ROLLBACK') open.delete(session);
    else if (verb === 'BEGIN' || !open.has(session)) count++;
  }
  return count;
}

beforeAll(async () => {
  server = await startPostgres(LOG);
  clock = useVirtualClock();
}, 60_000);

/** A database; what runs on it is given so many seconds, and its transactions are counted. */
async function createPlace () {
  const url = await server.createDatabase();
  const database = new URL(url).pathname.slice(1);
  const sessions = async condition => (await server.query(`SELECT pid FROM pg_stat_activity
    WHERE datname = '${database}' AND ${condition}`)).rowCount;
  return {
    url, sessions, transactions: () => transactionsIn(server.log(), database),
    /** A second after the other, each once nothing is under way any more. */
    pass: async seconds => {
      for (let i = 0; i < seconds; i++) {
        await clock.advanceAsync(1000);
        await until(async () => await sessions("state <> 'idle'") === 0);
      }
    },
  };
}

test('gateways: two connections each, and less than 0.8 transactions a second', async () => {
  const { url, sessions, transactions, pass } = await createPlace();
  for (let i = 0; i < GATEWAYS; i++) {
    all.push(await startAll({ url }, { outbox: { pollInterval: 1000 } }));
  }
  await pass(WARM_SECONDS);
  const before = transactions();
  await pass(SECONDS);
  const found = transactions() - before;
  expect(found).toBeGreaterThan(0);
  expect(found / SECONDS / GATEWAYS).toBeLessThan(0.8);
  // Those that nobody uses are closed after a while.
  await until(async () => await sessions('true') <= 2 * GATEWAYS);
  for (const it of all.splice(0)) await it.close();
});

test('a worker with a thousand channels: less than 0.8 transactions a second', async () => {
  const { url, transactions, pass } = await createPlace();
  const names = Array.from({ length: 1000 }, (_, i) => `SHOP-${i}`);
  const store = await openStore({ url, channels: Object.fromEntries(names.map(n => [n, {}])) });
  all.push(store);
  const sent = [];
  const worker = store.outbox.createWorker({
    channels: Object.fromEntries(names.map(name => [name, async ({ id }) => { sent.push(id); }])),
    pollInterval: 1000,
  });
  await worker.start();
  await pass(WARM_SECONDS);
  const before = transactions();
  await pass(SECONDS);
  expect((transactions() - before) / SECONDS).toBeLessThan(0.8);
  // They are still awake: what is announced, and what is not.
  const [{ id }] = await store.outbox.enqueue([{ channel: 'SHOP-7', recipient: 'a', body: 'b' }]);
  await store.query(`INSERT INTO sekering.notification_outbox (channel, recipient, body)
    VALUES ('SHOP-999', 'a', 'b')`);
  await pass(10);
  await until(() => sent.length === 2);
  expect(sent).toContain(id);
  await worker.stop();
});
