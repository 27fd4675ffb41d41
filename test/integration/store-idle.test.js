'use strict';

// What idle gateways cost their database. Both are counted over twenty seconds: a slow machine only
// has less to count.

const { setTimeout: sleep } = require('node:timers/promises');

const { startAll } = require('../support/gateway-helpers');
const { startPostgres } = require('../support/postgres');

const GATEWAYS = 3;
const SECONDS = 20;
// By then, channels that have found nothing are polled less often, and connections of the start
// that nobody uses are closed.
const QUIET_MS = 22_000;

let server;
const all = [];
afterAll(async () => {
  for (const it of all) await it.close();
  await server?.close();
});

test('two connections each, and less than one transaction a second', async () => {
  // Its transactions would be counted, too.
  server = await startPostgres({ autovacuum: 'off' });
  const url = await server.createDatabase();
  for (let i = 0; i < GATEWAYS; i++) {
    all.push(await startAll({ url }, { outbox: { pollInterval: 1000 } }));
  }
  const look = async () => (await server.query(`SELECT numbackends AS connections,
      (xact_commit + xact_rollback)::int AS transactions,
      extract(epoch FROM clock_timestamp())::float8 AS at
    FROM pg_stat_database WHERE datname = '${new URL(url).pathname.slice(1)}'`)).rows[0];
  await sleep(QUIET_MS);
  const looks = [await look()];
  for (let i = 0; i < SECONDS; i++) {
    await sleep(1000);
    looks.push(await look());
  }
  const [first, last] = [looks[0], looks.at(-1)];
  // On a busy machine statements may meet, and then there is one more for ten seconds.
  expect(Math.min(...looks.map(({ connections }) => connections)))
    .toBeLessThanOrEqual(2 * GATEWAYS);
  expect(last.transactions - first.transactions)
    .toBeLessThan((last.at - first.at) * GATEWAYS);
});
