'use strict';

// What the report of a gateway says in sentences.

const { wordsOf } = require('../../lib/gateway/report');

const CALM = {
  status: 'healthy', uptimeMs: 90_000, level: { name: 'NORMAL', reason: 'all services are up' },
  breakers: [{ name: 'smtp', state: 'closed', errorRate: 0, opened: 0 }],
  outbox: { waiting: 0 }, deadLetters: { total: 0 }, payments: { held: 0 },
  schedule: [{ job: 'cleanUp', error: null }],
};
const TROUBLED = {
  status: 'degraded', uptimeMs: 2 * 86_400_000,
  level: { name: 'SEVERE', manual: true, reason: 'The relay moves.' },
  breakers: [
    { name: 'smtp', state: 'open', errorRate: 83.3, opened: 2 },
    { name: 'midtrans', state: 'half-open', errorRate: 50, opened: 1 },
    { name: 'whatsapp', state: 'closed', errorRate: 0, opened: 0 },
  ],
  outbox: { waiting: 1200, oldestMs: 7_200_000 }, deadLetters: { total: 1 },
  payments: { held: 1 }, schedule: [{ job: 'reconcile', error: 'timed out' }],
};

test('a calm service', () => {
  expect(wordsOf(CALM)).toEqual([
    'The service is healthy.', 'The level is NORMAL, by the rules: all services are up.',
    'All breakers are closed.', 'No message waits to be sent.', 'No message was given up.',
    'No payment needs a review.', 'This process has run for 2 minutes.',
  ]);
});

test('a service in trouble', () => {
  expect(wordsOf(TROUBLED)).toEqual([
    'The service works, but something that it uses does not.',
    'The level is SEVERE, set by hand: The relay moves.',
    'The breaker smtp is open: 83.3 % of its last calls failed. ' +
      'It has opened 2 times since the start.',
    'The breaker midtrans is half-open: 50 % of its last calls failed. ' +
      'It has opened 1 time since the start.',
    '1,200 messages wait to be sent, the oldest for 2 hours.',
    '1 message was given up: retry or delete it.', '1 payment notification needs a review.',
    'The job reconcile failed when it ran last: timed out', 'This process has run for 2 days.',
  ]);
});

test('a database that does not answer', () => {
  const error = 'ERR_STORE_UNREACHABLE';
  const report = {
    ...CALM, breakers: [], outbox: { error }, deadLetters: { error }, payments: { error },
    schedule: { error },
  };
  expect(wordsOf(report)).toEqual([
    'The service is healthy.', 'The level is NORMAL, by the rules: all services are up.',
    'The database does not answer (ERR_STORE_UNREACHABLE).', 'This process has run for 2 minutes.',
  ]);
});
