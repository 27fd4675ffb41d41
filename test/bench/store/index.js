#!/usr/bin/env node
'use strict';

// The store's benchmark: `npm run bench:store`, on a PostgreSQL of its own.

const { fork } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');

const { startPostgres } = require('../../support/postgres');
const { ROOT } = require('../../support/setup');
const { machineOf } = require('../report');
const kills = require('./kills');
const writes = require('./writes');

const RESULTS = path.join(__dirname, '..', 'STORE-RESULTS.md');

const MANY = { count: 20_000, batchSize: 500 };
const FEW = { count: 3000, batchSize: 1 };
const CLIENTS = { clients: 10, ms: 3000 };

// A row is compared with the best of `against`; `gate` is what the ratio, or the value where there
// is nothing to compare with, has to reach.
const ROWS = [
  ['drain, claim of many', 'graphile', 'drain', MANY, { label: 'graphile, local queue 500' }],
  ['drain, claim of many', 'boss', 'drain', { count: 5000, batchSize: 50 },
    { label: 'pg-boss, fetch 50' }],
  ['drain, claim of many', 'ours', 'drain', MANY,
    { label: 'sekering, unsettled 500', gate: 1, stretch: 1.5 }],
  ['drain, claim of one', 'graphile', 'drain', FEW, { label: 'graphile, as it comes' }],
  ['drain, claim of one', 'boss', 'drain', { count: 1000, batchSize: 1 },
    { label: 'pg-boss, fetch 1' }],
  ['drain, claim of one', 'ours', 'drain', FEW, { label: 'sekering, batchSize 1', gate: 1 }],
  ['drain, claim of one', 'ours', 'drain', { count: 20_000, unsettled: 0 },
    { label: 'sekering, as it comes', gate: 1 }],
  ['enqueue, 10 clients', 'bare', 'enqueue', CLIENTS, { label: 'a bare INSERT', peer: false }],
  ['enqueue, 10 clients', 'graphile', 'enqueue', CLIENTS, { label: 'graphile' }],
  ['enqueue, 10 clients', 'boss', 'enqueue', CLIENTS, { label: 'pg-boss' }],
  ['enqueue, 10 clients', 'ours', 'enqueue', CLIENTS,
    { label: 'sekering', gate: 2, stretch: 3 }],
  ['claim beside 1,000,000 rows, × as long', 'ours', 'growth', { status: 'SENT' },
    { label: 'sent', atMost: 1.3, unit: '×' }],
  ['claim beside 1,000,000 rows, × as long', 'ours', 'growth', { status: 'DLQ' },
    { label: 'dead', atMost: 1.3, unit: '×' }],
  ['commit to sender, idle worker', 'ours', 'wake', { share: 0.5 },
    { label: 'median', atMost: 20, unit: 'ms' }],
  ['commit to sender, idle worker', 'ours', 'wake', { share: 0.99 },
    { label: 'p99', atMost: 20, unit: 'ms' }],
  ['four workers, none sent twice', 'ours', 'four', { count: 20_000 }, { label: 'processes' }],
  ['an old snapshot elsewhere, share of the rate', 'ours', 'pinned', { count: 20_000 },
    { label: 'sekering', atLeast: 0.5, unit: '×' }],
  ['PGlite, claim of one', 'bare', 'drain', { count: 2000, batchSize: 1 },
    { label: 'bare claims of 1', place: 'pglite' }],
  ['PGlite, claim of one', 'ours', 'drain', { count: 2000, batchSize: 1 },
    { label: 'sekering, batchSize 1', gate: 0.94, place: 'pglite' }],
  ['PGlite, claim of many', 'bare', 'drain', { count: 20_000, batchSize: 50 },
    { label: 'bare claims of 50', place: 'pglite' }],
  ['PGlite, claim of many', 'ours', 'drain', { count: 20_000 },
    { label: 'sekering, unsettled 500', gate: 0.97, place: 'pglite' }],
  ['PGlite, enqueue', 'ours', 'enqueue', CLIENTS, { label: '10 clients', place: 'pglite' }],
].map(([group, subject, row, options, more]) => ({ group, subject, row, options, ...more }));

const median = values => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

async function measure ({ subject, row, options, place }, postgres) {
  const given = place === 'pglite' ? { memory: true } : { url: await postgres.createDatabase() };
  const child = fork(path.join(__dirname, 'child.js'),
    [JSON.stringify({ subject, row, options, place: given })],
    { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const [answer] = await Promise.race([once(child, 'message'),
    once(child, 'exit').then(([code]) => [new Error(`ended with ${code}`)])]);
  return answer;
}

function judge (row, rows) {
  const value = median(row.values);
  if (row.atMost !== undefined) return [value <= row.atMost, `≤ ${row.atMost}`, ''];
  if (row.atLeast !== undefined) return [value >= row.atLeast, `≥ ${row.atLeast}`, ''];
  if (row.gate === undefined) return [undefined, '', ''];
  const peers = rows.filter(other => other.group === row.group && other.gate === undefined &&
    other.peer !== false && other.values.length > 0);
  const best = row.label === 'sekering, as it comes' || row.group.startsWith('enqueue')
    ? peers.filter(({ subject }) => subject === 'graphile')
    : peers;
  const ratio = value / Math.max(...best.map(({ values }) => median(values)));
  const stretch = row.stretch === undefined ? '' : `, stretch ${row.stretch}`;
  const target = `≥ ${row.gate} × ${best[0]?.subject}${stretch}`;
  return [ratio >= row.gate, target, `${ratio.toFixed(2)} ×`];
}

function figure ({ unit, values }) {
  const value = median(values);
  return unit === undefined ? `${Math.round(value)} /s` : `${value.toFixed(2)} ${unit}`;
}

function cellsOf (row, rows) {
  if (row.values.length === 0) return [row.group, row.label, 'failed', '', '', '', ''];
  const [isMet, target, ratio] = judge(row, rows);
  const digits = row.unit === undefined ? 0 : 2;
  const range = [Math.min(...row.values), Math.max(...row.values)].map(v => v.toFixed(digits));
  return [row.group, row.label, figure(row), range.join(' … '), target, ratio,
    isMet === undefined ? '' : isMet ? 'met' : 'missed'];
}

/** Which rows miss their targets. */
function lossesOf (rows) {
  const missed = rows.filter(row => row.values.length === 0 || judge(row, rows)[0] === false)
    .map(({ group, label }) => `${group}, ${label}`);
  return missed.length === 0 ? 'Every target is met.' : `Targets missed: ${missed.join('; ')}.`;
}

const HEADER = ['what', 'who', 'median', 'range', 'target', 'ratio', 'verdict'];

const METHOD = `Each figure is measured in a process and a database of its own, in turn with the
others, and the median of the rounds is shown. PostgreSQL syncs every commit; sekering keeps history
and leases. A job does nothing. Ten are in flight; in the rows of many, jobs that are done wait for
their settling without holding a place (\`unsettled: 500\`), as graphile-worker's do with
\`completeJobBatchDelay: 0\`. Enqueueing: ten clients, each of which waits for its row to be durable
before the next; sekering puts what comes together into one statement. graphile-worker and pg-boss
delete or move what is done. PGlite (in memory) has no peer; its targets, 600 and 6,000 /s, were set
where bare claims with a lease reached 639 and 6,211, and stand here as that share of bare claims,
measured in turn: what these reach depends on the machine's speed of the hour alone.`;

const tableOf = ([header, ...rows]) => [header, header.map(() => '---'), ...rows]
  .map(cells => `| ${cells.join(' | ')} |`);

const sectionOf = ({ METHOD: method, rowsOf }, found) =>
  (found.length > 0 ? [method, '', ...tableOf(rowsOf(found)), ''] : []);

function markdownOf (rows, { written, killed }, rounds) {
  const version = name => JSON.parse(fs.readFileSync(
    path.join(ROOT, 'node_modules', name, 'package.json'), 'utf8')).version;
  return ['# The store, measured', '', `\`npm run bench:store -- --write\`, ${rounds} rounds.`, '',
    `graphile-worker ${version('graphile-worker')}, pg-boss ${version('pg-boss')}, ` +
    `pg ${version('pg')}, PGlite ${version('@electric-sql/pglite')}, PostgreSQL 15.`, '',
    `Machine: ${machineOf()}`, '', METHOD, '',
    ...tableOf([HEADER, ...rows.map(row => cellsOf(row, rows))]), '', lossesOf(rows), '',
    ...sectionOf(writes, written), ...sectionOf(kills, killed),
  ].join('\n');
}

async function main () {
  const { values: options } = parseArgs({ options: {
    only: { type: 'string' }, rounds: { type: 'string', default: '3' }, write: { type: 'boolean' },
  } });
  const rows = ROWS.filter(({ group, label }) => !options.only ||
    `${group}, ${label}`.includes(options.only)).map(row => ({ ...row, values: [] }));
  const postgres = await startPostgres();
  const special = { written: [], killed: [] };
  try {
    for (let round = 0; round < Number(options.rounds); round++) {
      for (const row of rows) {
        const value = await measure(row, postgres);
        if (typeof value === 'number') row.values.push(value);
        process.stderr.write(`${row.group}, ${row.label}: ${value}\n`);
      }
    }
    const isAsked = name => name.includes(options.only ?? '');
    if (isAsked('writes')) special.written = await writes.measureWrites(postgres);
    if (isAsked('kill -9')) special.killed = await kills.measureKills(postgres);
  } finally {
    await postgres.close();
  }
  const lines = [...rows.map(row => cellsOf(row, rows)), ...writes.rowsOf(special.written),
    ...kills.rowsOf(special.killed)];
  for (const cells of lines) process.stdout.write(`${cells.join(' | ')}\n`);
  if (options.write) fs.writeFileSync(RESULTS, markdownOf(rows, special, options.rounds));
}

main();
