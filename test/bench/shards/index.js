#!/usr/bin/env node
'use strict';

// Past one database: `npm run bench:shards`. Real shards, as many as fit here; more of them in
// virtual time; and what a database that lives long pays for retention.

const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');

const { trial } = require('./partitions');
const report = require('./report');
const { periods, turns } = require('./retention');
const { absence, costs, strangers, warmUp } = require('./runs');
const { openShards } = require('./servers');
const { byModulo, byOrder, byRendezvous, byTenant, sampled, simulate } = require('./simulation');

const RESULTS = path.join(__dirname, '..', 'SHARDS-RESULTS.md');

const USAGE = `Usage: npm run bench:shards -- [options]

  --only NAME    shards, simulation, retention or partitions
  --write        write test/bench/SHARDS-RESULTS.md, or that part of it
  --help         print this
`;

// Each shard gets as many orders, however many shards there are.
const ALONE = { concurrency: () => 1, orders: count => 120 * count };
const TOGETHER = { concurrency: count => 8 * count, orders: count => 300 * count };
/** Of each shard, so that its gateway's code is compiled. */
const WARM = 1500;

async function withShards (options, work) {
  const shards = await openShards(options);
  try {
    return await work(shards);
  } finally {
    await shards.close();
  }
}

const say = text => process.stderr.write(`${text}\n`);

// ---- Real shards --------------------------------------------------------------------------------

const COUNTS = [1, 2, 4];
const AWAY = { shard: 1, perSecond: 100, ms: 15_000, beforeMs: 10_000 };

async function measureShards () {
  return withShards({ count: COUNTS.at(-1) }, async shards => {
    const load = () => {
      let ms = AWAY.beforeMs;
      return async prefix => {
        const answer = await shards.load.ask('open',
          { urls: shards.urls(), prefix, perSecond: AWAY.perSecond, ms });
        ({ ms } = AWAY);
        return answer;
      };
    };
    await warmUp(shards, WARM * shards.count);
    const found = { away: AWAY, absences: [] };
    for (const [name, kind] of Object.entries({ alone: ALONE, together: TOGETHER })) {
      say(`orders ${name}`);
      found[name] = await costs(shards, { counts: COUNTS, rounds: 5, ...kind });
    }
    found.strangers = await strangers(shards, 400);
    for (const way of ['stopped', 'frozen']) {
      say(`a shard is ${way}`);
      found.absences.push(await absence(shards, { way, shard: AWAY.shard, load: load() }));
    }
    return found;
  });
}

// ---- More of them, in virtual time --------------------------------------------------------------

const SHARDS = [1, 2, 4, 8, 16, 32, 64];
const LOAD = 0.6;
const ORDERS = 200_000;
const NAMINGS = 5;
const TENANTS = 1000;
const IDS = 20_000;

const median = values => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** How shards are chosen, by name. */
const ROUTES = {
  order: count => byOrder(count),
  even: (count, naming) => byTenant(count, { count: TENANTS, exponent: 0, naming }),
  skewed: (count, naming) => byTenant(count, { count: TENANTS, exponent: 1, naming }),
};

/** The medians of several runs, in which tenants have other names and orders come otherwise. */
function simulated (routeOf, { shards, service, meanMs }) {
  const runs = Array.from({ length: NAMINGS }, (_, i) => simulate({
    shards, perSecond: LOAD * shards * 1000 / meanMs, count: ORDERS, service, seed: i + 1,
    route: routeOf(shards, `tenant-${i}`),
  }));
  return Object.fromEntries(['p50', 'p99', 'load', 'share'].map(key =>
    [key, median(runs.map(run => run[key]))]));
}

/**
 * How long an order keeps its gateway's process busy, in ms: its CPU, with the spread of the times
 * in which orders that come alone are answered.
 */
async function measureService () {
  const [alone, together] = await withShards({ count: 1 }, async shards => {
    await warmUp(shards, WARM);
    return [
      await costs(shards, { counts: [1], rounds: 5, ...ALONE }),
      await costs(shards, { counts: [1], rounds: 5, ...TOGETHER }),
    ];
  });
  const meanMs = together[0].gateway / 1000;
  const { times } = alone[0];
  const scale = meanMs / (times.reduce((sum, ms) => sum + ms, 0) / times.length);
  return { meanMs, databaseMs: together[0].database / 1000, samples: times.map(ms => ms * scale) };
}

async function measureSimulation () {
  const { meanMs, databaseMs, samples } = await measureService();
  const service = sampled(samples);
  const rows = SHARDS.map(shards => ({
    shards, perSecond: LOAD * shards * 1000 / meanMs,
    ...Object.fromEntries(Object.entries(ROUTES).map(([name, routeOf]) =>
      [name, simulated(routeOf, { shards, service, meanMs })])),
  }));
  const moves = SHARDS.map(shards => ({
    shards, rendezvous: byRendezvous(shards, IDS), modulo: byModulo(shards, IDS),
  }));
  return {
    load: LOAD, orders: ORDERS, namings: NAMINGS, tenants: TENANTS, ids: IDS, meanMs, databaseMs,
    spread: samples.toSorted((a, b) => a - b), rows, moves,
  };
}

// ---- Retention ----------------------------------------------------------------------------------

const HISTORIES = [100_000, 1_000_000];
const PERIODS = { size: 50_000, count: 20 };

async function measureRetention () {
  const found = [];
  for (const size of HISTORIES) {
    say(`retention beside ${size} messages`);
    found.push(await turns({ size, count: 40_000, rounds: 6 }));
  }
  say(`${PERIODS.count} periods of ${PERIODS.size} messages`);
  return { turns: found, periods: await periods(PERIODS) };
}

const PARTITIONS = { history: 100_000, waiting: 10_000, rounds: 60, counts: [8, 32] };

async function measurePartitions () {
  say('partitions');
  return { ...PARTITIONS, found: await trial(PARTITIONS) };
}

// ---- The page -----------------------------------------------------------------------------------

const PARTS = {
  shards: { measure: measureShards, textOf: report.shardsText },
  simulation: { measure: measureSimulation, textOf: report.simulationText },
  retention: { measure: measureRetention, textOf: report.retentionText },
  partitions: { measure: measurePartitions, textOf: report.partitionsText },
};

/** The parts of the page that is there, each from its heading on; all begin with `## `. */
function writtenParts () {
  if (!fs.existsSync(RESULTS)) return [];
  return fs.readFileSync(RESULTS, 'utf8').split(/^(?=## )/m).slice(1);
}

async function main () {
  const { values: options } = parseArgs({ options: {
    only: { type: 'string' }, write: { type: 'boolean' }, help: { type: 'boolean', short: 'h' },
  } });
  if (options.help) {
    process.stdout.write(USAGE);
    return;
  }
  const names = Object.keys(PARTS);
  if (options.only !== undefined && !names.includes(options.only)) {
    throw new Error(`No part ${options.only}: ${names.join(', ')}`);
  }
  const written = writtenParts();
  for (const [i, [name, { measure, textOf }]] of Object.entries(PARTS).entries()) {
    if (options.only !== undefined && options.only !== name) continue;
    const text = textOf(await measure());
    process.stdout.write(text);
    written[i] = `${text}\n`;
  }
  if (!options.write) return;
  const text = [report.head(), ...names.map((_, i) => written[i] ?? '')].join('');
  fs.writeFileSync(RESULTS, `${text.trimEnd()}\n`);
}

main().catch(error => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
});
