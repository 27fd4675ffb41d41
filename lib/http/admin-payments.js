'use strict';

// Payments and their history, in the admin API.

const { viewEvent, viewOrder } = require('./admin-views');

const LIST_DEFAULT = 100;
const BY_NAME = { id: 'orderId' };

/** Which of these orders are ours. */
async function knownOrders (store, ids) {
  const { rows } = await store.query(`SELECT order_id AS id FROM ${store.schema}.payment_orders
    WHERE order_id = ANY ($1::text[])`, [ids]);
  return new Set(rows.map(({ id }) => id));
}

function paymentActions (store) {
  const { payments } = store;
  if (payments === undefined) return [];
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
    params: BY_NAME,
    show: async ({ params: { id } }) => {
      const order = await payments.get(id);
      return order && viewOrder(order);
    },
  }, {
    path: '/payments/:id/events',
    params: BY_NAME,
    show: async ({ params: { id } }) => ({ events: (await payments.events(id)).map(viewEvent) }),
  }, {
    path: '/payments/:id/review',
    params: BY_NAME,
    body: 'review',
    action: 'payment.review',
    change: async ({ params: { id }, body: { decision, reason }, actor }) => {
      const order = await payments.review(id, decision, { by: actor.name, reason });
      // What was held may have been of an order that is not ours.
      return order === undefined ? { orderId: id } : viewOrder(order);
    },
  }];
}

module.exports = { paymentActions };
