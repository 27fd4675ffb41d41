'use strict';

// Commands that ask a running server: sekering breakers, dlq, outbox and report.

const { CliError, EXIT, choice, integer, messageId, withSession } = require('./session');
const { duration, plain, table } = require('./terminal');

const STATES = ['open', 'half-open', 'closed', 'disabled'];
const STATUSES = ['PENDING', 'SENDING', 'RETRYING', 'SENT', 'DLQ', 'CANCELLED'];
const DAY_MS = 86_400_000;
// Of a message that is shown by itself.
const TEXT_MAX = 1000;

// ---- Lists -------------------------------------------------------------------------------------

/** The last status that the provider reported, with its error code. */
const fateOf = ({ delivery }) => (delivery === null ? null
  : [delivery.status, delivery.errorCode].filter(Boolean).join(' '));

const round = value => (value === null ? '-' : `${Math.round(value)} ms`);

/**
 * A command that shows a list of the server, filtered by the options of the command line. A column
 * is the name of a field, or a function.
 */
const listing = (path, key, none, columns, query) => async (session, options) => {
  const answer = await session.admin.get(path, { ...options, ...query });
  session.answer(answer, ({ [key]: rows }) => table(Object.keys(columns), rows.map(row =>
    Object.values(columns).map(column => (typeof column === 'string' ? row[column] : column(row)))
  )) || none);
};

const listBreakers = listing('/circuit-breakers', 'breakers', 'There are no breakers.', {
  NAME: 'name',
  STATE: 'state',
  SCOPE: 'scope',
  CALLS: 'fires',
  FAILED: 'failures',
  ERRORS: ({ errorRate }) => `${Math.round(errorRate)} %`,
  P50: ({ latency }) => round(latency.p50),
  P99: ({ latency }) => round(latency.p99),
  SINCE: ({ state, openedAt }) => (state === 'closed' ? null : openedAt),
}, { limit: 500 });

const listLetters = listing('/dlq', 'letters', 'No dead letters.', {
  ID: 'id', CHANNEL: 'channel', RECIPIENT: 'recipient', KIND: 'kind', ATTEMPTS: 'attemptCount',
  DIED: 'diedAt', REASON: 'reason', ERROR: 'lastError',
});

const listMessages = listing('/outbox', 'messages', 'No messages.', {
  ID: 'id', CHANNEL: 'channel', RECIPIENT: 'recipient', STATUS: 'status', DELIVERY: fateOf,
  ATTEMPTS: 'attemptCount', CREATED: 'createdAt', ERROR: 'lastError',
});

const listUndelivered = listing('/undelivered', 'failures', 'No undelivered messages.', {
  ID: 'id', CHANNEL: 'channel', RECIPIENT: 'recipient', CODE: 'errorCode',
  AT: ({ at, heardAt }) => at ?? heardAt, 'PROVIDER ID': 'providerMessageId', REASON: 'error',
});

// ---- Breakers ----------------------------------------------------------------------------------

async function resetBreaker (session, name, { reason }) {
  const answer = await session.admin.post(
    `/circuit-breakers/${encodeURIComponent(name)}/reset`, { reason });
  session.answer(answer, () => `Closed ${plain(answer.name)}`);
}

const wordsOf = ({ type, data }) => Object.entries(data)
  .filter(([key]) => key !== 'at')
  .map(([key, value]) => [key, typeof value === 'object' ? JSON.stringify(value) : value])
  .map(([key, value]) => `${key}=${plain(value)}`)
  .join(' ') || type;

function lineOf (event) {
  const { at = Date.now() } = event.data;
  return `${new Date(at).toISOString()} ${plain(event.type)} ${wordsOf(event)}`;
}

async function watchEvents (session) {
  const end = new AbortController();
  const stop = () => end.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    await session.admin.follow('/events', event => session.answer(event, lineOf), end.signal);
  } catch (error) {
    // The user has interrupted it.
    if (!end.signal.aborted) throw error;
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

// ---- Messages ----------------------------------------------------------------------------------

const filterOf = ({ channel, kind, search }) => ({ channel, kind, search });
const isFiltered = options => Object.values(filterOf(options)).some(value => value !== undefined);

/** A command that shows one message. */
const showing = (path, fields) => async (session, id) => {
  const message = await session.admin.get(`${path}/${encodeURIComponent(id)}`);
  session.answer(message, () => details(message, fields));
};

const showLetter = showing('/dlq',
  ['kind', 'reason', 'lastError', 'createdAt', 'diedAt', 'dedupeKey', 'orderKey']);
const showMessage = showing('/outbox',
  ['status', 'createdAt', 'sentAt', 'nextRetryAt', 'dedupeKey', 'orderKey']);

/** A message, one field a line. */
function details (message, fields) {
  const { delivery, errorHistory: errors } = message;
  const omitted = errors.at(-1)?.omitted ?? 0;
  const line = (name, value) => `${name.padEnd(10)} ${plain(value, TEXT_MAX)}`;
  return [
    ...['id', 'channel', 'recipient', 'subject', ...fields].map(name => line(name, message[name])),
    `attempts   ${message.attemptCount} of ${message.maxAttempts}`,
    ...delivery === null ? [] : [
      line('delivery', [fateOf(message), delivery.at, delivery.error].filter(Boolean).join(' ')),
    ],
    ...omitted === 0 ? []
      : [`errors     ${errors.length + omitted}, of which the last ${errors.length} follow`], '',
    ...errors.map(({ attempt, at: when, code, message: words }) =>
      `${attempt}. ${plain(when)} ${plain(code)}: ${plain(words, TEXT_MAX)}`),
  ].join('\n').trimEnd();
}

async function retryLetters (session, id, { limit, rate, reason, all, ...options }) {
  if ((id !== undefined) === Boolean(all || isFiltered(options))) {
    throw new CliError('ERR_CLI_USAGE', 'Pass an id, --all, or a filter such as --channel',
      EXIT.usage);
  }
  const answer = id === undefined
    ? await session.admin.post('/dlq/retry', { ...filterOf(options), limit, rate, reason })
    : await session.admin.post(`/dlq/${encodeURIComponent(id)}/retry`, { reason });
  session.answer(answer, ({ retried }) => `Retrying ${retried === true ? 1 : retried}`);
}

async function purgeLetters (session, { all, olderThan, reason, ...options }) {
  const filter = { ...filterOf(options), olderThan: olderThan && olderThan * DAY_MS };
  if (Boolean(all) === (isFiltered(options) || olderThan !== undefined)) {
    throw new CliError('ERR_CLI_USAGE', 'Pass either --all, or a filter such as --channel',
      EXIT.usage);
  }
  const answer = await session.admin.post('/dlq/purge', { ...all ? { all } : filter, reason });
  session.answer(answer, ({ purged }) => `Deleted ${purged}`);
}

function outboxText ({ channels, waiting, oldestMs, sampled }) {
  const [statuses = {}] = Object.values(channels);
  return [
    table(['CHANNEL', ...Object.keys(statuses)], Object.entries(channels)
      .map(([channel, counts]) => [channel, ...Object.values(counts)])), '',
    `${waiting} waiting${oldestMs > 0 ? `, the oldest for ${duration(oldestMs)}` : ''}`,
    ...sampled ? ['SENT, CANCELLED and counts of thousands are estimates.'] : [],
  ].join('\n');
}

async function showStats (session) {
  session.answer(await session.admin.get('/outbox/stats'), outboxText);
}

const REPORT = {
  breakers: ['name', 'state', 'fires', 'failures', 'rejects', 'errorRate', 'p50Ms', 'p99Ms',
    'opened'],
  deadLetters: ['channel', 'kind', 'count'],
  schedule: ['job', 'startedAt', 'durationMs', 'error'],
};

/** A part of the report: a table, or the error of the database. */
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
    `${generatedAt}: ${status}, up for ${duration(uptimeMs)}`,
    `Level ${level.name} since ${level.since}: ${plain(level.reason, TEXT_MAX)}`,
    part('Breakers', REPORT.breakers, rest.breakers),
    '\nOutbox', outbox.error === undefined ? outboxText(outbox) : plain(outbox.error),
    part('Dead letters', REPORT.deadLetters, deadLetters.summary ?? deadLetters),
    `\nPayments that wait for a review: ${plain(payments.held ?? payments.error)}`,
    part('Schedule', REPORT.schedule, rest.schedule),
  ].join('\n');
}

async function showReport (session, { html }) {
  const answer = await session.admin.get('/report', { format: html ? 'html' : 'json' });
  if (html) process.stdout.write(`${answer}\n`);
  else session.answer(answer, reportText);
}

// ---- Definitions -------------------------------------------------------------------------------

const filters = {
  channel: command => command.option('--channel <name>', 'only this channel'),
  kind: command => command.option('--kind <code>', 'only this kind of failure'),
  search: command => command.option('--search <text>',
    'only if the recipient, subject or error contains this'),
};
const filtered = command => filters.search(filters.kind(filters.channel(command)));

/** A list of which only so many are shown. */
const limited = command => command
  .option('--limit <n>', 'how many, 1 to 500', integer(1, 500), 100);
/** A list that is shown page by page. */
const paged = command => limited(command)
  .option('--before <id>', 'only older than this one', messageId);

const withReason = command => command.option('--reason <text>', 'for the audit log');

function addBreakers (breakers) {
  breakers.command('list').description('list breakers and their states')
    .option('--state <state>', STATES.join(', '), choice(STATES))
    .action(withSession(listBreakers));
  withReason(breakers.command('reset').description('close a breaker and clear its counts')
    .argument('<name>')).action(withSession(resetBreaker));
  breakers.command('watch').description('print events until interrupted')
    .action(withSession(watchEvents));
}

function addLetters (dlq) {
  paged(filtered(dlq.command('list').description('list dead letters, newest first')))
    .action(withSession(listLetters));
  dlq.command('show').description('show one with its errors').argument('<id>', 'its id', messageId)
    .action(withSession(showLetter));
  withReason(filtered(dlq.command('retry')
    .description('retry one or many, with a fresh attempt count'))
    .argument('[id]', 'its id', messageId)
    .option('--all', 'all dead letters')
    .option('--limit <n>', 'how many at most', integer(1, 10_000))
    .option('--rate <n>', 'messages per second', integer(1, 10_000)))
    .action(withSession(retryLetters));
  filtered(dlq.command('purge').description('delete permanently'))
    .option('--all', 'all dead letters')
    .option('--older-than <days>', 'only those that died at least this many days ago',
      integer(0, 3650))
    .requiredOption('--reason <text>', 'for the audit log')
    .action(withSession(purgeLetters));
}

function addOutbox (outbox) {
  outbox.command('stats').description('count messages by channel and status')
    .action(withSession(showStats));
  paged(filters.search(filters.channel(outbox.command('list')
    .description('list messages, newest first')
    .option('--status <status>', STATUSES.join(', '), choice(STATUSES)))))
    .action(withSession(listMessages));
  limited(outbox.command('undelivered')
    .description('list messages that were sent but not delivered'))
    .option('--before <id>', 'only older than the one with this provider id')
    .action(withSession(listUndelivered));
  outbox.command('show').description('show one with its errors')
    .argument('<id>', 'its id', messageId)
    .action(withSession(showMessage));
}

function addServerCommands (program) {
  addBreakers(program.command('breakers').description('circuit breakers of the running server'));
  addLetters(program.command('dlq').description('dead letters'));
  addOutbox(program.command('outbox').description('messages and their delivery'));
  program.command('tail')
    .description('print what happens until interrupted: payments, dead letters, breakers, levels')
    .action(withSession(watchEvents));
  program.command('report').description('the reliability report')
    .option('--html', 'as an HTML page').action(withSession(showReport));
}

module.exports = { addServerCommands };
