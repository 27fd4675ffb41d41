'use strict';

// The outbox and the dead letters, in the admin API.

const { SekeringError } = require('../base/errors');
const { viewMessage, without } = require('./admin-views');

const LIST_DEFAULT = 100;
const BY_ID = { id: 'id' };

/** Messages with the last that their provider told of each. */
async function delivered (deliveries, messages) {
  const found = await deliveries.of(messages);
  return messages.map(message => ({ ...message, delivery: found.get(message.id) ?? null }));
}

/** Answers a list of messages, or one of them. */
const listing = (deliveries, list) => async ({ query: { limit = LIST_DEFAULT, ...filter } }) =>
  (await delivered(deliveries, await list({ ...filter, limit }))).map(viewMessage);
const showing = (deliveries, get) => async ({ params }) => {
  const message = await get(params.id);
  return message && (await delivered(deliveries, [message]))[0];
};

function letterActions ({ deadLetters, deliveries }) {
  const list = listing(deliveries, filter => deadLetters.list(filter));
  return [{
    path: '/dlq',
    query: 'letters',
    show: async request => ({ letters: await list(request) }),
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
    path: '/dlq/:id', params: BY_ID, show: showing(deliveries, id => deadLetters.get(id)),
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

function messageActions ({ outbox, deliveries }) {
  const list = listing(deliveries, filter => outbox.list(filter));
  return [{
    path: '/outbox/stats', show: () => outbox.stats(),
  }, {
    path: '/undelivered',
    query: 'failures',
    show: async ({ query }) => ({ failures: await deliveries.failures(query) }),
  }, {
    path: '/outbox',
    query: 'messages',
    show: async request => ({ messages: await list(request) }),
  }, {
    path: '/outbox/:id', params: BY_ID, show: showing(deliveries, id => outbox.get(id)),
  }];
}

module.exports = { letterActions, messageActions };
