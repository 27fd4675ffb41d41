'use strict';

// The page of results.

const { version } = require('../../../package.json');
const { machineOf } = require('../report');
const { isRight } = require('./runs');

const GATE = 0.9;
const KEYED_GATE = 0.8;
const OUTAGE_GATE = 1.5;

const NAMES = {
  gateway: 'sekering', shop: 'the same service without it', bare: '… and without a database',
  keyed: 'sekering, each order with an Idempotency-Key',
};

const peers = () => ['express', 'pg', 'undici', 'pino']
  .map(name => `${name} ${require(`${name}/package.json`).version}`).join(', ');

const METHOD = `
Two workers of a cluster serve POST /orders on one port; the fake Midtrans, which answers at once,
PostgreSQL 15, which syncs its files, and the load are processes of their own on the same machine.
All services check a bearer token, parse JSON, ask Midtrans by undici, write a line of access log
with pino (to /dev/null), and give the same answer. "The same service without it" is an Express
application that keeps each order by one INSERT once Midtrans has answered, over 10 connections:
an order whose process dies in between is lost, and nothing is tried again. sekering writes each
order down before it asks, and again when it has the page; orders that come together share
statements. With an Idempotency-Key, each request's key and its answer are written as well, by the
same statements.

32 requests are under way at any time. Slices of 1.5 s of each service take turns; a figure is the
median of its slices, a ratio the median of the ratios within each round, and the range beside it
holds the middle half of them; a tilde marks one that spreads over more than 15 % of the median.
CPU is that of both workers, and of all processes of PostgreSQL, for each order. Statements are
what the workers ask of pg, each of which is a round trip and, here, a transaction; WAL is what the
database writes. From both is taken what the same service causes in the same time without orders.

While Midtrans is away orders come at a fixed rate, and the time of an answer counts from when its
request was due. The breaker's resetTimeout is 5 s here; all else is the default. It opens when
half of the calls of the last 10 s have failed, and on a Midtrans that hangs when the first ones
have waited for maxWait (5 s): until then, customers wait for Midtrans. "Shut" are the requests
that were due after the first answer that said so. At the end every order that was answered with
201 or 202 has to be in the database with its page, which has to be the one page that Midtrans has
of it. "Without it" is the p99 of the same service without sekering, which gets orders at the same
rate for the 10 s before, with Midtrans there.`;

/** The ratio the other way round. */
const inverse = ({ value, low, high, noisy }) =>
  ({ value: 1 / value, low: 1 / high, high: 1 / low, noisy });

const ms = value => `${value.toFixed(1)} ms`;

function loadTable ({ rows }) {
  return [
    '| | orders/s | p50 | p99 | CPU of the workers | CPU of the database |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows.map(row => `| ${NAMES[row.name]} | ${row.rate.toFixed(0)} | ${ms(row.p50)} | ` +
      `${ms(row.p99)} | ${row.cpuUs.toFixed(0)} µs | ${row.databaseUs.toFixed(0)} µs |`),
  ];
}

function ratioLines ({ ratios }) {
  const text = ({ value, low, high, noisy }) =>
    `${noisy ? '~' : ''}${value.toFixed(2)} × (${low.toFixed(2)} … ${high.toFixed(2)})`;
  const verdict = ({ value }, gate) => (Number(value.toFixed(2)) >= gate ? 'reached' : 'missed');
  const keyed = inverse(ratios.keyed);
  return [
    '- Rate beside the same service without sekering: ' +
      `**${text(ratios.shop)}**, gate ≥ ${GATE} ×: ${verdict(ratios.shop, GATE)}`,
    '- Rate with an Idempotency-Key beside that without one: ' +
      `**${text(keyed)}**, gate ≥ ${KEYED_GATE} ×: ${verdict(keyed, KEYED_GATE)}`,
    `- Rate beside that without a database, for information: ${text(ratios.bare)}`,
  ];
}

function costTable (asked) {
  return [
    '| for each order | statements, one order at a time | statements, 32 orders at a time | WAL |',
    '| --- | --- | --- | --- |',
    ...asked.map(({ name, alone, together }) => `| ${NAMES[name]} | ` +
      `${alone.statements.toFixed(1)} | ${together.statements.toFixed(2)} | ` +
      `${together.wal.toFixed(0)} B |`),
  ];
}

function outageTable (outages) {
  const head = ['Midtrans', 'p99 without it', 'p99 before', 'open after', 'p50 shut', 'p99 shut',
    'p99 of all', 'longest', 'taken in', 'lost', 'made twice', 'all made after'];
  return [
    `| ${head.join(' | ')} |`, `|${' --- |'.repeat(head.length)}`,
    ...outages.map(({ fault, peerP99, healthyP99, shutMs, p50Shut, p99Shut, p99, max, sums }) =>
      `| ${fault} | ${ms(peerP99)} | ${ms(healthyP99)} | ${(shutMs / 1000).toFixed(1)} s | ` +
      `${ms(p50Shut)} | ${ms(p99Shut)} | ${ms(p99)} | ${ms(max)} | ${sums.accepted} | ` +
      `${sums.lost + sums.unmade + sums.open} | ${sums.twice + sums.others} | ` +
      `${(sums.settledMs / 1000).toFixed(1)} s |`),
  ];
}

function outageLines (outages) {
  const share = ({ p99Shut, peerP99 }) => p99Shut / peerP99;
  const slow = outages.filter(outage => share(outage) > OUTAGE_GATE).map(({ fault }) => fault);
  const shares = outages.map(outage => share(outage).toFixed(2)).join(', ');
  const wrong = outages.filter(({ sums, refused }) => refused > 0 || !isRight(sums));
  return [
    `- p99 of an answer while shut beside that without sekering: ${shares} ×, ` +
      `gate ≤ ${OUTAGE_GATE} ×: ` +
      (slow.length === 0 ? 'reached' : `missed (${slow.join(', ')})`),
    '- Nothing refused, nothing lost, nothing made twice: ' +
      (wrong.length === 0 ? 'so it is' : `missed (${wrong.map(({ fault }) => fault).join(', ')})`),
  ];
}

/** What durability costs, and when customers wait. */
function lossLines ({ rows: [ours, shop] }, outages) {
  const costs = row => row.cpuUs + row.databaseUs;
  const slowest = outages.reduce((a, b) => (a.max > b.max ? a : b));
  return [
    `- CPU of an order, database included: ${(costs(ours) / costs(shop)).toFixed(2)} × that of ` +
      'the same service without sekering, which writes each order once and not twice.',
    `- The database alone: ${(ours.databaseUs / shop.databaseUs).toFixed(2)} ×.`,
    '- Until the breaker opens, customers wait for Midtrans: ' +
      `${(slowest.max / 1000).toFixed(1)} s at most (${slowest.fault}).`,
  ];
}

/** The page, as Markdown. */
function markdownOf ({ load, asked, outages, rounds, rate }) {
  return `${[
    '# Load on the gateway', '',
    'Written by `npm run bench:gateway -- --write`.', '',
    `- sekering ${version}; ${peers()}`, `- Machine: ${machineOf()}`, '',
    METHOD.trim(), '', `## Orders, ${rounds} rounds`, '',
    ...loadTable(load), '', ...ratioLines(load), '', ...costTable(asked), '',
    `## Midtrans away, ${rate} orders/s`, '',
    ...outageTable(outages), '', ...outageLines(outages), '',
    '## Where it loses', '', ...lossLines(load, outages),
  ].join('\n')}\n`;
}

module.exports = { markdownOf };
