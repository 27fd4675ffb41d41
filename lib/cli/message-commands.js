'use strict';

// sekering dlq …, outbox … and report

const { CliError, EXIT } = require('./admin-client');
const { duration, plain, table } = require('./tables');

const DAY_MS = 86_400_000;
// Of one that is shown by itself.
const TEXT_MAX = 1000;
const STATUSES = ['PENDING', 'SENDING', 'RETRYING', 'SENT', 'DLQ', 'CANCELLED'];

const filterOf = ({ channel, kind, search }) => ({ channel, kind, search });
const isFiltered = options => Object.values(filterOf(options)).some(value => value !== undefined);
const at = id => `/dlq/${encodeURIComponent(id)}`;

/** What the provider told last, in a word or two. */
const fateOf = ({ delivery }) => (delivery === null ? null
  : [delivery.status, delivery.errorCode].filter(Boolean).join(' '));

async function list (session, { limit, before, ...options }) {
  const answer = await session.admin.get('/dlq', { ...filterOf(options), limit, before });
  session.answer(answer, ({ letters }) => table(
    ['ID', 'CHANNEL', 'RECIPIENT', 'KIND', 'TRIED', 'DIED', 'REASON'],
    letters.map(({ id, channel, recipient, kind, attemptCount, diedAt, reason }) =>
      [id, channel, recipient, kind, attemptCount, diedAt, reason])) || 'There are none.');
}

async function show (session, id) {
  const letter = await session.admin.get(at(id));
  session.answer(letter, () => details(letter,
    ['kind', 'reason', 'createdAt', 'diedAt', 'dedupeKey', 'orderKey']));
}

/** A message in lines, with the fields of this name. */
function details (message, fields) {
  const { delivery } = message;
  const line = (name, value) => `${name.padEnd(10)} ${plain(value, TEXT_MAX)}`;
  return [
    ...['id', 'channel', 'recipient', 'subject', ...fields].map(name => line(name, message[name])),
    `attempts   ${message.attemptCount} of ${message.maxAttempts}`,
    ...delivery === null ? [] : [
      line('delivery', [fateOf(message), delivery.at, delivery.error].filter(Boolean).join(' ')),
    ], '',
    ...message.errorHistory.map(({ attempt, at: when, code, message: words }) =>
      `${attempt}. ${plain(when)} ${plain(code)}: ${plain(words, TEXT_MAX)}`),
  ].join('\n').trimEnd();
}

async function messages (session, { limit, before, status, channel, search }) {
  const answer = await session.admin.get('/outbox', { status, channel, search, limit, before });
  session.answer(answer, ({ messages: found }) => table(
    ['ID', 'CHANNEL', 'RECIPIENT', 'STATUS', 'DELIVERY', 'TRIED', 'MADE', 'ERROR'],
    found.map(message => [message.id, message.channel, message.recipient, message.status,
      fateOf(message), message.attemptCount, message.createdAt, message.lastError])) ||
    'There are none.');
}

async function undelivered (session, { limit, before }) {
  const answer = await session.admin.get('/undelivered', { limit, before });
  session.answer(answer, ({ failures }) => table(
    ['ID', 'CHANNEL', 'RECIPIENT', 'CODE', 'AT', 'PROVIDER ID', 'WHY'],
    failures.map(({ id, channel, recipient, errorCode, at: when, heardAt, error, ...others }) =>
      [id, channel, recipient, errorCode, when ?? heardAt, others.providerMessageId, error])) ||
    'There are none.');
}

async function message (session, id) {
  const found = await session.admin.get(`/outbox/${encodeURIComponent(id)}`);
  session.answer(found, () => details(found,
    ['status', 'createdAt', 'sentAt', 'nextRetryAt', 'dedupeKey', 'orderKey']));
}

async function retry (session, id, { limit, rate, reason, all, ...options }) {
  if ((id !== undefined) === Boolean(all || isFiltered(options))) {
    throw new CliError('ERR_CLI_USAGE', 'Give either an id, or --all, or what they have in common',
      EXIT.usage);
  }
  const answer = id === undefined
    ? await session.admin.post('/dlq/retry', { ...filterOf(options), limit, rate, reason })
    : await session.admin.post(`${at(id)}/retry`, { reason });
  session.answer(answer, ({ retried }) => `${retried === true ? 1 : retried} to be sent again`);
}

async function purge (session, { all, olderThan, reason, ...options }) {
  const given = { ...filterOf(options), olderThan: olderThan && olderThan * DAY_MS, reason };
  if (Boolean(all) === (isFiltered(options) || olderThan !== undefined)) {
    throw new CliError('ERR_CLI_USAGE', 'Give either --all, or what they have in common',
      EXIT.usage);
  }
  const answer = await session.admin.post('/dlq/purge', all ? { all, reason } : given);
  session.answer(answer, ({ purged }) => `${purged} deleted`);
}

const outboxText = ({ channels, waiting, oldestMs, sampled }) => [
  table(['CHANNEL', ...STATUSES], Object.entries(channels).map(([channel, counts]) =>
    [channel, ...STATUSES.map(status => counts[status])])), '',
  `${waiting} waiting${oldestMs > 0 ? `, the oldest for ${duration(oldestMs)}` : ''}`,
  ...sampled ? ['SENT and CANCELLED are estimates: there are many.'] : [],
].join('\n');

async function stats (session) {
  session.answer(await session.admin.get('/outbox/stats'), outboxText);
}

const REPORT = {
  breakers: ['name', 'state', 'fires', 'failures', 'rejects', 'errorRate', 'p50Ms', 'p99Ms',
    'opened'],
  deadLetters: ['channel', 'kind', 'count'],
  schedule: ['job', 'startedAt', 'durationMs', 'error'],
};

/** A part of the report: a table, or that the database had nothing to say. */
function part (title, names, rows) {
  const list = Array.isArray(rows) ? rows : undefined;
  const text = list === undefined ? plain(rows?.error)
    : table(names.map(name => name.toUpperCase()), list.map(row => names.map(name =>
      (typeof row[name] === 'number' ? Math.round(row[name]) : row[name]))));
  return `\n${title}\n${text || 'none'}`;
}

function reportText ({ generatedAt, uptimeMs, status, level, outbox, payments, ...rest }) {
  const { deadLetters } = rest;
  return [
    `${generatedAt}: ${status}, for ${duration(uptimeMs)}`,
    `Level ${level.name} since ${level.since}: ${plain(level.reason, TEXT_MAX)}`,
    part('Breakers', REPORT.breakers, rest.breakers),
    '\nOutbox', outbox.error === undefined ? outboxText(outbox) : plain(outbox.error),
    part('Dead letters', REPORT.deadLetters, deadLetters.summary ?? deadLetters),
    `\nPayments that wait for a person: ${plain(payments.held ?? payments.error)}`,
    part('Schedule', REPORT.schedule, rest.schedule),
  ].join('\n');
}

async function report (session, { html }) {
  const answer = await session.admin.get('/report', { format: html ? 'html' : 'json' });
  if (html) process.stdout.write(`${answer}\n`);
  else session.answer(answer, reportText);
}

module.exports = { list, message, messages, purge, report, retry, show, stats, undelivered };
