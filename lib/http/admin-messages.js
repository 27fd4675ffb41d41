'use strict';

// The outbox and the dead letters, in the admin API.

const { SekeringError } = require('../base/errors');
const { viewMessage, without } = require('./admin-views');

const LIST_DEFAULT = 100;
const BY_ID = { id: 'id' };

function letterActions ({ deadLetters }) {
  return [{
    path: '/dlq',
    query: 'letters',
    show: async ({ query: { limit = LIST_DEFAULT, ...filter } }) =>
      ({ letters: (await deadLetters.list({ ...filter, limit })).map(viewMessage) }),
  }, {
    path: '/dlq/summary',
    show: async () => {
      const summary = await deadLetters.summary();
      return { total: summary.reduce((sum, { count }) => sum + count, 0), summary };
    },
  }, {
    path: '/dlq/retry',
    body: 'retryMany',
    action: 'dlq.retry-many',
    change: ({ body }) => deadLetters.retryMany(without(body, 'reason')),
  }, {
    path: '/dlq/purge',
    body: 'purge',
    action: 'dlq.purge',
    change: async ({ body }) =>
      ({ purged: await deadLetters.purge(without(body, 'reason', 'all')) }),
  }, {
    path: '/dlq/:id', params: BY_ID, show: ({ params }) => deadLetters.get(params.id),
  }, {
    path: '/dlq/:id/retry',
    params: BY_ID,
    action: 'dlq.retry',
    change: async ({ params: { id } }) => {
      if (await deadLetters.retry(id)) return { id, retried: true };
      if (await deadLetters.get(id) === undefined) return undefined;
      throw new SekeringError('ERR_OUTBOX_MESSAGE', 'A message with the same key is waiting');
    },
  }];
}

function messageActions ({ outbox }) {
  return [{
    path: '/outbox/stats', show: () => outbox.stats(),
  }, {
    path: '/outbox',
    query: 'messages',
    show: async ({ query: { limit = LIST_DEFAULT, ...filter } }) =>
      ({ messages: (await outbox.list({ ...filter, limit })).map(viewMessage) }),
  }, {
    path: '/outbox/:id', params: BY_ID, show: ({ params }) => outbox.get(params.id),
  }];
}

module.exports = { letterActions, messageActions };
