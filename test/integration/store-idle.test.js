'use strict';

// What idle gateways cost their database. Their time is that of the virtual clock, so a second has
// as many polls as it should on any machine. The log of the server tells what they asked.

const { startAll } = require('../support/gateway-helpers');
const { until } = require('../support/outbox-helpers');
const { startPostgres } = require('../support/postgres');
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

test('two connections each, and less than one transaction a second', async () => {
  server = await startPostgres(LOG);
  const url = await server.createDatabase();
  const database = new URL(url).pathname.slice(1);
  const sessions = async condition => (await server.query(`SELECT pid FROM pg_stat_activity
    WHERE datname = '${database}' AND ${condition}`)).rowCount;
  clock = useVirtualClock();
  for (let i = 0; i < GATEWAYS; i++) {
    all.push(await startAll({ url }, { outbox: { pollInterval: 1000 } }));
  }
  /** A second after the other, each once nothing is under way any more. */
  async function pass (seconds) {
    for (let i = 0; i < seconds; i++) {
      await clock.advanceAsync(1000);
      await until(async () => await sessions("state <> 'idle'") === 0);
    }
  }

  await pass(WARM_SECONDS);
  const before = transactionsIn(server.log(), database);
  await pass(SECONDS);
  const found = transactionsIn(server.log(), database) - before;
  expect(found).toBeGreaterThan(0);
  expect(found / SECONDS / GATEWAYS).toBeLessThan(1);
  // Those that nobody uses are closed after a while.
  await until(async () => await sessions('true') <= 2 * GATEWAYS);
});
