'use strict';

// sekering breakers …

const { plain, table } = require('./tables');

const TITLES = ['NAME', 'STATE', 'SCOPE', 'CALLS', 'FAILED', 'ERRORS', 'P50', 'P99', 'SINCE'];

const round = value => (value === null ? '-' : `${Math.round(value)} ms`);

const rowOf = ({ name, state, scope, fires, failures, errorRate, latency, openedAt }) => [
  name, state, scope, fires, failures, `${Math.round(errorRate)} %`, round(latency.p50),
  round(latency.p99), state === 'closed' ? null : openedAt
];

async function list (session, { state }) {
  const answer = await session.admin.get('/circuit-breakers', { state, limit: 500 });
  session.answer(answer, ({ breakers }) =>
    table(TITLES, breakers.map(rowOf)) || 'There are no breakers.');
}

async function reset (session, name, { reason }) {
  const answer = await session.admin.post(
    `/circuit-breakers/${encodeURIComponent(name)}/reset`, { reason });
  session.answer(answer, () => `${plain(answer.name)} is closed`);
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

async function watch (session) {
  const end = new AbortController();
  const stop = () => end.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    await session.admin.follow('/events', event => session.answer(event, lineOf), end.signal);
  } catch (error) {
    // Whoever interrupts it has seen enough.
    if (!end.signal.aborted) throw error;
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

module.exports = { list, reset, watch };
