'use strict';

// What an operator can see and change through the admin API. An action is one of
//
//   { path, query, params, show: ({ query, params, req, res }) => answer }
//   { path, body, params, action, change: ({ body, params, actor }) => answer }
//
// query, body and params name schemas of ./admin-input; `action` is the name in the audit log. The
// answer undefined means 404, null that `show` has answered by itself.

const clock = require('../base/clock');
const { SekeringError } = require('../base/errors');
const { listBreakers, viewBreaker } = require('./breaker-views');

const LIST_DEFAULT = 100;
const BODY_MAX = 8192;

// With a valid signature anybody could forge notifications.
const SIGNATURES = /[0-9a-f]{128}/gi;

function without (object, ...names) {
  return Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)));
}

// ---- Breakers and the level --------------------------------------------------------------------

function breakerActions ({ breakers, sessions, history }) {
  const named = name => breakers().filter(breaker => breaker.name === name && !breaker.isShutdown);

  function resetNamed (name) {
    const found = named(name);
    for (const breaker of found) breaker.reset();
    return found.length === 0 ? undefined : { name, reset: found.length };
  }

  const resetSession = id => (sessions?.reset(id) === true ? { name: id, reset: 1 } : undefined);

  return [...(history === undefined ? [] : [{
    path: '/breaker-history', query: 'breakers', show: ({ query }) => history.read(query),
  }]), {
    path: '/circuit-breakers',
    query: 'breakers',
    show: ({ query }) => ({ at: clock.wall(), ...listBreakers(breakers, query) }),
  }, {
    path: '/circuit-breakers/:name',
    params: { name: 'name' },
    show: ({ params: { name } }) => {
      const found = named(name);
      return found.length === 0 ? undefined : { name, breakers: found.map(viewBreaker) };
    },
  }, {
    path: '/circuit-breakers/:name/reset',
    params: { name: 'name' },
    action: 'breaker.reset',
    change: ({ params: { name } }) => resetNamed(name) ?? resetSession(name),
  }, {
    // At /reset-circuit-breaker/:id. An instance of the session pool comes first.
    path: '/:id',
    alone: true,
    params: { id: 'name' },
    action: 'breaker.reset',
    change: ({ params: { id } }) => resetSession(id) ?? resetNamed(id),
  }];
}

function levelActions ({ degradation }) {
  return [{
    path: '/degradation', show: () => degradation.snapshot(),
  }, {
    path: '/degradation',
    body: 'level',
    action: 'degradation.set',
    change: ({ body: { level, reason }, actor }) => {
      const { levels } = degradation.snapshot();
      if (level !== null && !levels.includes(level)) {
        throw new SekeringError('ERR_INVALID_INPUT',
          `level: must be one of ${levels.join(', ')}, or null`);
      }
      degradation.setLevel(level, { reason, by: actor.name });
      return degradation.snapshot();
    },
  }];
}

// ---- Dead letters and the outbox ---------------------------------------------------------------

/** Lists leave out the texts of messages. */
function viewMessage (message) {
  return {
    ...without(message, 'body', 'data', 'template', 'errorHistory'),
    errors: message.errorHistory?.length ?? 0,
  };
}

/** Adds to each message the last status that its provider reported. */
async function withDelivery (deliveries, messages) {
  const found = await deliveries.of(messages);
  return messages.map(message => ({ ...message, delivery: found.get(message.id) ?? null }));
}

const listing = (deliveries, list) => async ({ query: { limit = LIST_DEFAULT, ...filter } }) =>
  (await withDelivery(deliveries, await list({ ...filter, limit }))).map(viewMessage);

const showing = (deliveries, get) => async ({ params }) => {
  const message = await get(params.id);
  return message && (await withDelivery(deliveries, [message]))[0];
};

function letterActions ({ store: { deadLetters, deliveries } }) {
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
    path: '/dlq/:id',
    params: { id: 'id' },
    show: showing(deliveries, id => deadLetters.get(id)),
  }, {
    path: '/dlq/:id/retry',
    params: { id: 'id' },
    action: 'dlq.retry',
    change: async ({ params: { id } }) => {
      if (await deadLetters.retry(id)) return { id, retried: true };
      if (await deadLetters.get(id) === undefined) return undefined;
      throw new SekeringError('ERR_OUTBOX_MESSAGE',
        'Another message with the same key is waiting to be sent');
    },
  }];
}

function messageActions ({ store: { outbox, deliveries } }) {
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
    path: '/outbox/:id',
    params: { id: 'id' },
    show: showing(deliveries, id => outbox.get(id)),
  }];
}

// ---- Payments ----------------------------------------------------------------------------------

// With the token anybody could pay, or see what is to be paid.
function viewOrder (order) {
  return { ...without(order, 'token', 'redirectUrl'), hasToken: order.token != null };
}

function viewEvent (event) {
  const body = String(event.body ?? '').slice(0, BODY_MAX).replace(SIGNATURES, '(signature)');
  return { ...event, body };
}

/** Which of these orders are in the store. */
async function knownOrders (store, ids) {
  const { rows } = await store.query(`SELECT order_id AS id FROM ${store.schema}.payment_orders
    WHERE order_id = ANY ($1::text[])`, [ids]);
  return new Set(rows.map(({ id }) => id));
}

function paymentActions ({ store }) {
  const { payments } = store;
  return [{
    path: '/payments',
    query: 'orders',
    show: async ({ query: { limit = LIST_DEFAULT, ...filter } }) =>
      ({ payments: (await payments.list({ ...filter, limit })).map(viewOrder) }),
  }, {
    path: '/payment-events',
    query: 'paymentEvents',
    show: async ({ query: { limit = LIST_DEFAULT, ...filter } }) => {
      const events = await payments.listEvents({ ...filter, limit });
      const known = await knownOrders(store, events.map(e => e.orderId ?? ''));
      return { events: events.map(e => ({ ...viewEvent(e), isOurs: known.has(e.orderId) })) };
    },
  }, {
    path: '/payments/:id',
    params: { id: 'orderId' },
    show: async ({ params: { id } }) => {
      const order = await payments.get(id);
      return order && viewOrder(order);
    },
  }, {
    path: '/payments/:id/events',
    params: { id: 'orderId' },
    show: async ({ params: { id } }) => ({ events: (await payments.events(id)).map(viewEvent) }),
  }, {
    path: '/payments/:id/review',
    params: { id: 'orderId' },
    body: 'review',
    action: 'payment.review',
    change: async ({ params: { id }, body: { decision, reason }, actor }) => {
      const order = await payments.review(id, decision, { by: actor.name, reason });
      // A held notification may be about an order that is not in the store.
      return order === undefined ? { orderId: id } : viewOrder(order);
    },
  }];
}

// ---- The rest ----------------------------------------------------------------------------------

function generalActions ({ audit, parts }) {
  return [{
    path: '/session',
    show: ({ res }) => ({
      name: res.locals.actor.name, role: res.locals.actor.role, parts, time: new Date()
    }),
  }, {
    path: '/audit', query: 'page', show: ({ query }) => audit.list(query),
  }];
}

const eventsAction = events => ({
  path: '/events',
  show: ({ req, res }) => {
    events.handle(req, res);
    return null;
  },
});

const reportAction = report => ({
  path: '/report',
  query: 'report',
  show: async ({ query, req, res }) => {
    const format = query.format ?? (req.accepts(['json', 'html']) || 'json');
    const value = await report({ format });
    if (format === 'json') return value;
    res.setHeader('Content-Security-Policy', "default-src 'none'; style-src 'unsafe-inline'");
    res.setHeader('X-Content-Type-Options', 'nosniff');
    res.setHeader('Cache-Control', 'no-store');
    res.type('html').end(String(value));
    return null;
  },
});

/**
 * @param {object} options of createAdminRouter, with `parts`: which of them there are
 * @returns {object[]} all actions that these parts allow
 */
function actionsOf (options) {
  const { parts, events, health, report } = options;
  const when = (isThere, actions) => (isThere ? actions() : []);
  return [
    ...breakerActions(options),
    ...when(parts.degradation, () => levelActions(options)),
    ...when(parts.store, () => [...letterActions(options), ...messageActions(options)]),
    ...when(parts.payments, () => paymentActions(options)),
    ...generalActions(options),
    ...when(parts.events, () => [eventsAction(events)]),
    ...when(parts.health, () => [{ path: '/health', show: () => health.check() }]),
    ...when(parts.report, () => [reportAction(report)]),
  ];
}

module.exports = { actionsOf };
