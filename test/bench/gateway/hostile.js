#!/usr/bin/env node
'use strict';

// Attacks: `npm run bench:hostile`. Orders at a steady rate, while strangers send webhooks without
// a signature, or guess tokens. And what the slowest text takes that a parser can be given.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { Client } = require('pg');

const { Faults } = require('../../../lib/clients/client-error');
const { readAddresses } = require('../../../lib/clients/smtp-message');
const { fill, fillHtml } = require('../../../lib/store/template');
const { LOOPS, SHAPES, makerOf } = require('../../support/hostile-text');
const { main } = require('./command');
const { openFleet } = require('./fleet');
const { markdownOf } = require('./hostile-report');
const { start } = require('./processes');
const { countOf, prefix, quantile } = require('./runs');

const USAGE = `Usage: npm run bench:hostile -- [options]

  --seconds N    of each attack; orders alone take half of it; default 60
  --rate N       orders a second, default 20
  --write        write their part of test/bench/GATEWAY-RESULTS.md
  --help         print this
`;

const CONNECTIONS = 50;
const GUESSES_PER_SECOND = 1000;
const WARM_MS = 10_000;
const SAMPLE_MS = 1000;

const TEXT_CHARACTERS = 1_048_576;
const TEXT_RUNS = 3;
const PARSERS = {
  templates: text => fill(text, { a: 'x' }),
  'templates of HTML': text => fillHtml(text, { a: 'x' }),
  'mail addresses': text => readAddresses(text, 'to', new Faults('send')),
};
const FILLERS = { 'templates with data': fill, 'templates of HTML with data': fillHtml };

/** CPU of the fastest of some runs, in ms. A text that is refused is read, too. */
function cpuMsOf (parse, text) {
  const runs = Array.from({ length: TEXT_RUNS }, () => {
    const began = process.cpuUsage();
    try {
      parse(text);
    } catch (error) {
      if (error.code === undefined) throw error;
    }
    const { user, system } = process.cpuUsage(began);
    return (user + system) / 1000;
  });
  return Math.min(...runs);
}

const slowestOf = (name, makers, parse) => Object.entries(makers)
  .map(([shape, make]) => ({ name, shape, ms: cpuMsOf(parse, make(TEXT_CHARACTERS)) }))
  .reduce((slowest, row) => (row.ms > slowest.ms ? row : slowest));

/** Of each parser, the text that takes longest. */
function slowestTexts () {
  const makers = Object.fromEntries(
    Object.entries(SHAPES).map(([shape, parts]) => [shape, makerOf(parts)]));
  return [
    ...Object.entries(PARSERS).map(([name, parse]) => slowestOf(name, makers, parse)),
    ...Object.entries(FILLERS).map(([name, how]) =>
      slowestOf(name, LOOPS, ({ template, data }) => how(template, data))),
  ];
}

/** Bytes of what strangers could fill: the table of notifications, and the log. */
async function diskOf ({ database, log }) {
  const client = new Client({ connectionString: database });
  await client.connect();
  try {
    const { rows: [{ bytes }] } = await client.query(
      "SELECT pg_total_relation_size('sekering.payment_events')::int AS bytes");
    return bytes + fs.statSync(log).size;
  } finally {
    await client.end();
  }
}

/** The memory of the second and of the last third of a run: by then caches and heaps are warm. */
function memoryOf (samples) {
  const third = Math.floor(samples.length / 3);
  return [samples.slice(third, 2 * third), samples.slice(2 * third)]
    .map(part => quantile(part, 0.5));
}

/** Asks for the memory of a service until it is stopped. */
function watchMemory (service) {
  const samples = [];
  let asking = Promise.resolve();
  const timer = setInterval(() => {
    asking = service.ask('memory').then(bytes => samples.push(bytes));
  }, SAMPLE_MS);
  return async () => {
    clearInterval(timer);
    await asking;
    return samples;
  };
}

/** Orders for a while, and an attack beside them. */
async function run (fleet, service, { ms, rate }, attack = () => undefined) {
  const before = await diskOf(service);
  const stop = watchMemory(service);
  const [orders, sent] = await Promise.all([
    fleet.load.ask('open', { url: service.url, prefix: prefix(), perSecond: rate, ms }),
    attack(),
  ]);
  const memory = memoryOf(await stop());
  return {
    ms, sent, counts: countOf(orders.answers), p50: quantile(orders.times, 0.5),
    p99: quantile(orders.times, 0.99), disk: await diskOf(service) - before, memory,
  };
}

async function openService (fleet, folder, name, server) {
  const log = path.join(folder, `${name}.log`);
  const service = await fleet.service('gateway', {
    server, logging: { console: false, file: log },
    admin: { tokens: [{ name: 'ops', role: 'operate', token: 'a-token-of-the-operators' }] },
  });
  return { ...service, log };
}

async function measure ({ seconds, rate }) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-hostile-'));
  const fleet = await openFleet();
  const strangers = await start('attack.js');
  try {
    const ms = seconds * 1000;
    const rows = [];
    for (const trustProxy of [false, 1]) {
      const service = await openService(fleet, folder, `proxy-${trustProxy}`, { trustProxy });
      const { url } = service;
      await run(fleet, service, { ms: WARM_MS, rate });
      const quiet = await run(fleet, service, { ms: ms / 2, rate });
      const add = async (name, command, more) => {
        const found = await run(fleet, service, { ms, rate },
          () => strangers.ask(command, { url, ms, ...more }));
        rows.push({ name, trustProxy, quiet, ...found });
      };
      const guess = { perSecond: GUESSES_PER_SECOND };
      if (trustProxy === false) {
        await add('webhooks', 'webhooks', { connections: CONNECTIONS });
        await add('guesses from one address', 'guesses', { ...guess, addresses: 0 });
      }
      await add('guesses that claim 100,000 addresses', 'guesses',
        { ...guess, addresses: 100_000 });
    }
    return {
      rows, seconds, rate, connections: CONNECTIONS, perSecond: GUESSES_PER_SECOND,
      texts: slowestTexts(),
    };
  } finally {
    await strangers.stop();
    await fleet.close();
    fs.rmSync(folder, { recursive: true });
  }
}

main({ usage: USAGE, numbers: { seconds: '60', rate: '20' }, part: 1, measure, markdownOf });
