'use strict';

// A store that has been in use for long.

const { openStore } = require('../../lib/store');

const CHANNELS = Array.from({ length: 10 }, (_, i) => `SHOP-${i}`);

/** @param {number} n rows of each kind */
const fillings = n => [
  ...["'SENT'", "'DLQ'", "'PENDING'"].map(status => `
    INSERT INTO sekering.notification_outbox (channel, recipient, subject, body, status, sent_at,
      died_at, dead_kind, dead_reason, last_error, next_retry_at)
    SELECT 'SHOP-' || i % 10, 'customer-' || i || '@example.com', 'Order ' || i, 'Thank you',
      ${status}, CASE WHEN ${status} = 'SENT' THEN now() END,
      CASE WHEN ${status} = 'DLQ' THEN now() END, CASE WHEN ${status} = 'DLQ' THEN 'E' || i % 5 END,
      CASE WHEN ${status} = 'DLQ' THEN 'refused' END,
      CASE WHEN ${status} = 'DLQ' THEN '550 no such user' END, now() - i * interval '1 ms'
    FROM generate_series(1, ${n}) AS i`),
  `INSERT INTO sekering.payment_orders (order_id, amount_minor, currency, state, created_at)
    SELECT 'order-' || i, 10000 + i, 'IDR',
      CASE WHEN i = 1 THEN 'charged_back' WHEN i % 3 = 0 THEN 'pending' ELSE 'paid' END,
      now() - i * interval '1 ms'
    FROM generate_series(1, ${n}) AS i`,
  `INSERT INTO sekering.payment_events (fingerprint, source, outcome, order_id, body)
    SELECT 'f' || i, 'notification', 'applied', 'order-' || i, ''
    FROM generate_series(1, ${n}) AS i`,
  `INSERT INTO sekering.idempotency_store (key, fingerprint, status, created_at, expires_at,
      locked_until)
    SELECT 'key-' || i, '', 'done', now(), now() + interval '1 day', now()
    FROM generate_series(1, ${n}) AS i`,
  'VACUUM ANALYZE',
];

/**
 * A store with that many messages sent, as many dead and as many waiting, that many orders with a
 * notification each, and that many keys.
 */
async function openFilled (postgres, size, options) {
  process.stderr.write(`filling: ${size} rows of each kind\n`);
  const channels = Object.fromEntries(CHANNELS.map(name => [name, {}]));
  const url = await postgres.createDatabase();
  // To fill it takes a while.
  const store = await openStore({ url, channels, timeout: 600_000, ...options });
  for (const text of fillings(size)) await store.query(text);
  return store;
}

module.exports = { CHANNELS, openFilled };
