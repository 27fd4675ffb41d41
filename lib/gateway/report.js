'use strict';

// The reliability report, as data and as an HTML page that loads nothing else.

const clock = require('../base/clock');
const foreign = require('../base/foreign');
const { stateOf } = require('../primitives/stats');

const PERCENT = 100;

/** Figures of its window: percent of ended calls that failed, and ms; null without calls. */
function figuresOf ({ stats: { successes, failures, latencyMean, percentiles } }) {
  const calls = successes + failures;
  const latency = value => (calls > 0 && value >= 0 ? value : null);
  return {
    errorRate: calls === 0 ? null : failures / calls * PERCENT,
    mean: latency(latencyMean),
    p50: latency(percentiles[0.5]),
    p95: latency(percentiles[0.95]),
    p99: latency(percentiles[0.99]),
  };
}

const rounded = value => (value === null ? null : Math.round(value));

function breakerRow (name, breaker, opened) {
  const { fires, failures, rejects } = breaker.stats;
  const { errorRate, p50, p95, p99 } = figuresOf(breaker);
  return {
    name,
    state: stateOf(breaker),
    fires,
    failures,
    rejects,
    errorRate: Math.round((errorRate ?? 0) * 10) / 10,
    p50Ms: rounded(p50),
    p95Ms: rounded(p95),
    p99Ms: rounded(p99),
    opened: opened[name] ?? 0,
  };
}

/** How many messages a summary of dead letters counts. */
const totalOf = summary => summary.reduce((sum, { count }) => sum + count, 0);

/** What the database answers. While it is away, the report has the error's code instead. */
async function stored (read) {
  try {
    return await read();
  } catch (error) {
    return { error: foreign.read(error, 'code') ?? 'ERR_STORE_QUERY' };
  }
}

/** How many payment notifications wait for a review. */
async function heldPayments (store) {
  const { rows: [{ held }] } = await store.query(`SELECT count(*)::float8 AS held
    FROM ${store.schema}.payment_events WHERE outcome = 'held'`);
  return { held };
}

// ---- In words ----------------------------------------------------------------------------------

const plural = (number, one, many = `${one}s`) =>
  `${number.toLocaleString('en-US')} ${number === 1 ? one : many}`;

const SPANS = [[86_400_000, 'day'], [3_600_000, 'hour'], [60_000, 'minute'], [1000, 'second']];

function span (ms) {
  const [size, unit] = SPANS.find(([least]) => ms >= least) ?? [1000, 'second'];
  return plural(Math.max(Math.round(ms / size), 1), unit);
}

const HEALTH_WORDS = {
  healthy: 'The service is healthy.',
  degraded: 'The service works, but something that it uses does not.',
  unhealthy: 'The service is not healthy: something that it cannot do without does not work.',
};

function breakerWords (breakers) {
  const others = breakers.filter(({ state }) => state !== 'closed');
  if (breakers.length === 0) return [];
  if (others.length === 0) return ['All breakers are closed.'];
  return others.map(({ name, state, errorRate, opened }) => {
    const times = opened > 0 ? ` It has opened ${plural(opened, 'time')} since the start.` : '';
    return `The breaker ${name} is ${state}: ${errorRate} % of its last calls failed.${times}`;
  });
}

function outboxWords ({ error: code, waiting, oldestMs }) {
  if (code !== undefined) return `The database does not answer (${code}).`;
  if (waiting === 0) return 'No message waits to be sent.';
  return `${plural(waiting, 'message waits', 'messages wait')} to be sent` +
    `${oldestMs > 0 ? `, the oldest for ${span(oldestMs)}` : ''}.`;
}

function letterWords ({ total }) {
  if (total === undefined) return [];
  if (total === 0) return ['No message was given up.'];
  return [`${plural(total, 'message was', 'messages were')} given up: retry or delete ` +
    `${total === 1 ? 'it' : 'them'}.`];
}

function paymentWords ({ held }) {
  if (held === undefined) return [];
  return [held === 0 ? 'No payment needs a review.'
    : `${plural(held, 'payment notification needs', 'payment notifications need')} a review.`];
}

function jobWords (jobs) {
  if (!Array.isArray(jobs)) return [];
  return jobs.filter(({ error: text }) => text !== null && text !== undefined)
    .map(({ job, error: text }) => `The job ${job} failed when it ran last: ${text}`);
}

/** What the report says, in sentences: first how things are, then what needs somebody. */
function wordsOf (report) {
  const { status, level, breakers, outbox, deadLetters, payments, schedule, uptimeMs } = report;
  return [
    HEALTH_WORDS[status],
    `The level is ${level.name}, ${level.manual ? 'set by hand' : 'by the rules'}: ${level.reason}.`
      .replace(/\.\.$/, '.'),
    ...breakerWords(breakers), outboxWords(outbox), ...letterWords(deadLetters),
    ...paymentWords(payments), ...jobWords(schedule),
    `This process has run for ${span(uptimeMs)}.`,
  ];
}

// ---- The report --------------------------------------------------------------------------------

/** The report as plain data. `opened` counts, by breaker, since the gateway was made. */
async function makeReport (gateway, { startedAt, opened }) {
  const { store, degradation, health, worker, breakers, schedule } = gateway;
  const { level, since, reason, manual, services } = degradation.snapshot();
  const [checks, outbox, letters, payments, jobs] = await Promise.all([
    health.check(),
    stored(() => store.outbox.stats()),
    stored(() => store.deadLetters.summary()),
    stored(() => heldPayments(store)),
    stored(() => schedule.last()),
  ]);
  const { sent, retried, dead } = worker.stats();
  const report = {
    generatedAt: new Date(clock.wall()).toISOString(),
    uptimeMs: Math.round(clock.wall() - startedAt),
    status: checks.status,
    level: { ...level, since, reason, manual },
    services,
    breakers: Object.entries(breakers)
      .map(([name, breaker]) => breakerRow(name, breaker, opened)),
    outbox,
    worker: { sent, retried, dead },
    deadLetters: Array.isArray(letters)
      ? { total: totalOf(letters), summary: letters }
      : letters,
    payments,
    schedule: jobs,
  };
  return { summary: wordsOf(report), ...report };
}

const escape = value => String(value ?? '–').replace(/[&<>"']/g,
  character => `&#${character.charCodeAt(0)};`);

function table (head, rows) {
  if (rows.length === 0) return '<p>None.</p>';
  const cells = (row, tag) => row.map(cell => `<${tag}>${escape(cell)}</${tag}>`).join('');
  return `<div><table><thead><tr>${cells(head, 'th')}</tr></thead><tbody>${
    rows.map(row => `<tr>${cells(row, 'td')}</tr>`).join('')}</tbody></table></div>`;
}

const STYLE = `body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0
1rem;color-scheme:light dark;overflow-wrap:anywhere}div{overflow-x:auto}h2{margin:1.6rem 0 .4rem;
font-size:1.15rem}th,td{overflow-wrap:normal}@media print{body{margin:0;font-size:11pt}
h2{break-after:avoid}tr{break-inside:avoid}div{overflow:visible}}
table{border-collapse:collapse;width:100%}th,td{text-align:left;
padding:.3rem .8rem .3rem 0;border-bottom:1px solid #8886}td{font-variant-numeric:tabular-nums}`;

const COLUMNS = ['name', 'state', 'fires', 'failures', 'rejects', 'errorRate', 'p50Ms', 'p95Ms',
  'p99Ms', 'opened'];

function outboxRows ({ channels = {} }) {
  return Object.entries(channels).map(([name, counts]) => [
    name, counts.PENDING + counts.RETRYING, counts.SENDING, counts.SENT, counts.DLQ
  ]);
}

const rowsOf = (list, names) =>
  (Array.isArray(list) ? list.map(item => names.map(name => item[name])) : []);

/** The report as a page. */
function reportPage (report) {
  const { outbox, deadLetters, payments } = report;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Reliability report</title>
<style>${STYLE}</style></head><body>
<h1>Reliability report</h1>
<p>${escape(report.generatedAt)}</p>
<ul>${report.summary.map(text => `<li>${escape(text)}</li>`).join('')}</ul>
<h2>Circuit breakers</h2>
${table(['Name', 'State', 'Calls', 'Failures', 'Rejected', 'Errors %', 'p50 ms', 'p95 ms', 'p99 ms',
    'Opened'], rowsOf(report.breakers, COLUMNS))}
<h2>Outbox</h2>
${table(['Channel', 'Waiting', 'Being sent', 'Sent', 'Dead'], outboxRows(outbox))}
<h2>Dead letters</h2>
${table(['Channel', 'Kind', 'Count'], rowsOf(deadLetters.summary, ['channel', 'kind', 'count']))}
<h2>Payments</h2>
<p>Waiting for a review: ${escape(payments.held)}</p>
<h2>Schedule</h2>
${table(['Job', 'Last run', 'ms', 'Error'],
    rowsOf(report.schedule, ['job', 'startedAt', 'durationMs', 'error'])
      .map(([job, at, ms, error]) =>
        [job, new Date(at).toISOString(), ms === null ? null : Math.round(ms), error]))}
</body></html>
`;
}

module.exports = {
  figuresOf, heldPayments, makeReport, reportPage, rounded, totalOf, wordsOf,
};
