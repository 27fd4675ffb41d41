'use strict';

// What idle gateways cost their database, counted over twenty seconds, and once more while a busy
// machine has not yet come to rest.

const { setTimeout: sleep } = require('node:timers/promises');

const { startAll } = require('../support/gateway-helpers');
const { startPostgres } = require('../support/postgres');

const GATEWAYS = 3;
const SECONDS = 20;
const TRIES = 6;

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
  /** Connections, and transactions a second, of each gateway. */
  async function measure () {
    const looks = [await look()];
    for (let i = 0; i < SECONDS; i++) {
      await sleep(1000);
      looks.push(await look());
    }
    const [first, last] = [looks[0], looks.at(-1)];
    return {
      // While statements meet, there is one more for ten seconds.
      connections: Math.min(...looks.map(({ connections }) => connections)) / GATEWAYS,
      rate: (last.transactions - first.transactions) / (last.at - first.at) / GATEWAYS,
    };
  }

  const found = [];
  const isQuiet = ({ connections, rate }) => connections <= 2 && rate < 1;
  // In the first seconds channels are polled more often, and connections of the start are open.
  while (found.length < TRIES && !found.some(isQuiet)) found.push(await measure());
  expect({ found, isQuiet: found.some(isQuiet) }).toMatchObject({ isQuiet: true });
});
