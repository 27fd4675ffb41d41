#!/usr/bin/env node
'use strict';

// What a fleet costs its database: `npm run bench:fleet`, on a PostgreSQL of its own. Processes
// with a store, a worker and a breaker of the fleet, while nothing happens, and when the breaker
// trips. And many hosts, each of them an object of one process.

const { fork } = require('node:child_process');
const { on, once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const { setImmediate: nextTurn, setTimeout: pause } = require('node:timers/promises');
const { parseArgs } = require('node:util');

const { CircuitBreaker } = require('../..');
const { createFleet } = require('../../lib/store/fleet');
const { migrate } = require('../../lib/store/migrate');
const { openDatabase } = require('../../lib/store/database');
const { startPostgres } = require('../support/postgres');
const { machineOf } = require('./report');

const RESULTS = path.join(__dirname, 'FLEET-RESULTS.md');
/** Of the breaker that all share. */
const BREAKER = { name: 'upstream', consecutiveFailures: 2, resetTimeout: 3_600_000 };

const PROCESSES = 50;
const HOSTS = 1000;
// Until channels without messages are polled less often, and for how long is counted.
const WARM_MS = 60_000;
const IDLE_MS = 60_000;

/** What the server has counted: transactions of the database, and its connections. */
async function countersOf (postgres, database) {
  const { rows: [counters] } = await postgres.query(`SELECT
      (SELECT xact_commit + xact_rollback FROM pg_stat_database
        WHERE datname = '${database}')::float8 AS transactions,
      (SELECT count(*) FROM pg_stat_activity
        WHERE datname = '${database}')::float8 AS connections`);
  return counters;
}

/** The messages of a process, one after the other. */
function start (url) {
  const child = fork(path.join(__dirname, 'fleet-process.js'), [url]);
  const messages = on(child, 'message');
  return { child, next: async () => (await messages.next()).value[0] };
}

async function measureProcesses (postgres) {
  const url = await postgres.createDatabase();
  const database = new URL(url).pathname.slice(1);
  const all = Array.from({ length: PROCESSES }, () => start(url));
  try {
    await Promise.all(all.map(({ next }) => next()));
    await pause(WARM_MS);
    const before = await countersOf(postgres, database);
    await pause(IDLE_MS);
    const after = await countersOf(postgres, database);
    const opened = Promise.all(all.map(({ next }) => next()));
    const began = Date.now();
    all[0].child.send('trip');
    const times = (await opened).map(({ openedAt }) => openedAt - began);
    return {
      perSecond: (after.transactions - before.transactions) / (IDLE_MS / 1000),
      connections: after.connections,
      knownMs: Math.max(...times),
    };
  } finally {
    for (const { child } of all) child.send('end');
    await Promise.all(all.map(({ child }) => once(child, 'exit')));
  }
}

/** Counts the statements of a database; `settled()` waits for those that are under way. */
function countStatements (database) {
  const { query } = database;
  const underWay = [];
  const counter = {
    count: 0,
    async settled () {
      while (underWay.length > 0) {
        await Promise.allSettled(underWay.splice(0));
        await nextTurn();
      }
    },
  };
  database.query = function (...args) {
    counter.count++;
    const answer = query.apply(this, args);
    underWay.push(answer);
    return answer;
  };
  return counter;
}

/** @param {number} trips how many of the hosts trip at once; the others hear of it */
async function measureHosts (postgres, trips) {
  const database = await openDatabase({ url: await postgres.createDatabase(), timeout: 60_000 });
  await migrate(database);
  const hosts = [];
  for (let i = 0; i < HOSTS; i++) {
    const breaker = new CircuitBreaker(async () => { throw new Error('down'); }, BREAKER);
    const fleet = createFleet({ database });
    await fleet.join(breaker);
    hosts.push({ breaker, fleet });
  }
  let notifications = 0;
  await database.listen(`${database.prefix}fleet`, () => { notifications++; });
  const heard = new Promise(resolve => { database.listen('bench_end', resolve); });
  await database.query('SELECT 1');
  const statements = countStatements(database);
  const opened = Promise.all(hosts.map(({ breaker }) => once(breaker, 'open')));
  for (const { breaker } of hosts.slice(0, trips)) {
    for (let i = 0; i < BREAKER.consecutiveFailures; i++) breaker.fire().catch(() => {});
  }
  await opened;
  await statements.settled();
  const { count } = statements;
  // Notifications come in their order.
  await database.query('NOTIFY bench_end');
  await heard;
  for (const { breaker, fleet } of hosts) {
    breaker.shutdown();
    await fleet.close();
  }
  await database.close();
  return { notifications, statements: count };
}

const textOf = ({ notifications, statements }) => `${notifications}, ${statements}`;

async function measure () {
  const postgres = await startPostgres();
  try {
    const { perSecond, connections, knownMs } = await measureProcesses(postgres);
    const one = await measureHosts(postgres, 1);
    const all = await measureHosts(postgres, HOSTS);
    return [
      [`${PROCESSES} processes that do nothing: transactions per second and process`,
        (perSecond / PROCESSES).toFixed(2)],
      [`${PROCESSES} processes that do nothing: connections of each`,
        (connections / PROCESSES).toFixed(1)],
      [`${PROCESSES} processes, one trips: until all are open`, `${knownMs} ms`],
      [`${HOSTS} hosts, one trips: notifications, statements`, textOf(one)],
      [`${HOSTS} hosts, all trip at once: notifications, statements`, textOf(all)],
    ];
  } finally {
    await postgres.close();
  }
}

function markdownOf (rows) {
  const table = [['what', 'measured'], ['---', '---'], ...rows];
  return ['# The fleet and its database', '',
    '`npm run bench:fleet -- --write`, PostgreSQL 15 on the same machine.', '',
    `Machine: ${machineOf()}`, '',
    'Each process has a store, a worker with one channel and a breaker of the fleet. Their',
    `transactions are counted over ${IDLE_MS / 1000} s, after ${WARM_MS / 1000} s. The hosts are ` +
      'objects of one process, with a',
    'breaker each, and share its connections: notifications and statements are as many as those of',
    'real hosts.', '',
    ...table.map(cells => `| ${cells.join(' | ')} |`), ''].join('\n');
}

async function main () {
  const { values: options } = parseArgs({ options: { write: { type: 'boolean' } } });
  const text = markdownOf(await measure());
  process.stdout.write(text);
  if (options.write) fs.writeFileSync(RESULTS, text);
}

module.exports = { BREAKER };

if (require.main === module) main();
