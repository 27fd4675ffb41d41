'use strict';

// The part of the page of results that is about attacks.

const { machineOf } = require('../report');

const P99_GATE = 2;
const DISK_GATE = 1_048_576;
const MEMORY_GATE = 0.1;
const TEXT_MS_GATE = 50;

const growthOf = ({ memory: [before, after] }) => after / before - 1;
/** What the attack has added: orders alone also take room. */
const diskOf = ({ disk, ms, quiet }) => Math.max(disk - quiet.disk * ms / quiet.ms, 0);
const isAnswered = ({ counts }) => Object.keys(counts).every(status => status === '201');

const GATES = [
  [`p99 of an order, gate ≤ ${P99_GATE} × the quiet one`,
    ({ p99, quiet }) => p99 <= P99_GATE * quiet.p99],
  ['Every order answered with 201', isAnswered],
  ['Disk that the attack adds, gate ≤ 1 MiB', row => diskOf(row) <= DISK_GATE],
  ['Memory, gate: grows less than 10 % from the second third of an attack to the last',
    row => growthOf(row) < MEMORY_GATE],
];

const list = counts => Object.entries(counts).map(([status, n]) => `${n} × ${status}`).join(', ');

function rowOf (row) {
  const { name, trustProxy, sent, quiet, p50, p99, counts, memory } = row;
  return [
    name, String(trustProxy), (sent.sent * 1000 / sent.ms).toFixed(0), list(sent.counts),
    `${quiet.p50.toFixed(1)} → ${p50.toFixed(1)} ms`,
    `${quiet.p99.toFixed(1)} → ${p99.toFixed(1)} ms`, list(counts),
    `${(diskOf(row) / 1024).toFixed(0)} KiB`,
    `${memory.map(bytes => (bytes / 1_048_576).toFixed(0)).join(' → ')} MiB`,
  ];
}

const verdictOf = missed =>
  (missed.length === 0 ? 'reached' : `missed (${missed.join(', ')})`);

/** The part, as Markdown. */
function markdownOf ({ rows, seconds, rate, connections, perSecond, texts }) {
  const slow = texts.filter(({ ms }) => ms > TEXT_MS_GATE).map(({ name }) => name);
  const head = ['attack', 'trust_proxy', 'requests/s', 'answers', 'p50 of orders', 'p99 of orders',
    'orders', 'disk', 'memory'];
  return `${[
    '\n# Attacks\n',
    'Written by `npm run bench:hostile -- --write`.', '',
    `- Machine: ${machineOf()}`, '',
    `Two workers take ${rate} orders a second, ${seconds / 2} s alone and then beside an attack:`,
    `${seconds} s of webhooks without a valid signature over ${connections} connections, each`,
    'body distinct, as fast as they are answered; or of',
    `${perSecond.toLocaleString('en')} wrong tokens a second, from one address or with an`,
    'X-Forwarded-For of 100,000. The attack runs on the same machine. Disk',
    'is the table of notifications and the log, less what the orders alone take in the same time;',
    'memory is that of both workers, the medians of the second third and of the last one.', '',
    `| ${head.join(' | ')} |`, `|${' --- |'.repeat(head.length)}`,
    ...rows.map(row => `| ${rowOf(row).join(' | ')} |`), '',
    ...GATES.map(([text, holds]) => {
      const missed = rows.filter(row => !holds(row)).map(({ name }) => name);
      return `- ${text}: ${verdictOf(missed)}`;
    }),
    '', 'What takes longest of the texts of 1 MiB in test/support/hostile-text.js, in CPU:', '',
    '| read as | text | time |', '| --- | --- | --- |',
    ...texts.map(({ name, shape, ms }) => `| ${name} | ${shape} | ${ms.toFixed(1)} ms |`), '',
    `- Each text is read or refused, gate ≤ ${TEXT_MS_GATE} ms: ${verdictOf(slow)}`,
  ].join('\n')}\n`;
}

module.exports = { markdownOf };
