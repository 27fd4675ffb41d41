'use strict';

// A store that has been in use for long.

const { openStore } = require('../../lib/store');

const SHOPS = { prefix: 'SHOP-', count: 10 };
const TENANTS = { prefix: 'TENANT-', count: 1000 };
const namesOf = ({ prefix, count }) => Array.from({ length: count }, (_, i) => `${prefix}${i}`);

const CHANNELS = namesOf(SHOPS);
const MANY_CHANNELS = namesOf(TENANTS);
/** The channel of messages with an orderKey. */
const ORDERED = 'ORDERED';
/** The ids below are free: for rows that came before all others. */
const ID_MIN = 1_000_000;

const startIds =
  `ALTER TABLE sekering.notification_outbox ALTER COLUMN id RESTART WITH ${ID_MIN}`;

/** @param {number} n messages of each kind */
const messages = (n, { prefix, count }) => [
  startIds,
  ...["'SENT'", "'DLQ'", "'PENDING'"].map(status => `
    INSERT INTO sekering.notification_outbox (channel, recipient, subject, body, status, sent_at,
      died_at, dead_kind, dead_reason, last_error, next_retry_at)
    SELECT '${prefix}' || i % ${count},
      'customer-' || i || '@example.com', 'Order ' || i, 'Thank you', ${status},
      CASE WHEN ${status} = 'SENT' THEN now() END,
      CASE WHEN ${status} = 'DLQ' THEN now() END, CASE WHEN ${status} = 'DLQ' THEN 'E' || i % 5 END,
      CASE WHEN ${status} = 'DLQ' THEN 'refused' END,
      CASE WHEN ${status} = 'DLQ' THEN '550 no such user' END, now() - i * interval '1 ms'
    FROM generate_series(1, ${n}) AS i`),
  `INSERT INTO sekering.notification_outbox (channel, recipient, subject, body, order_key)
    SELECT '${ORDERED}', 'customer-' || i || '@example.com', 'Order ' || i, 'Thank you', 'key-' || i
    FROM generate_series(1, ${n}) AS i`,
];

const ordersAndKeys = n => [
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
];

async function open (postgres, channels, texts, options) {
  const url = await postgres.createDatabase();
  // To fill it takes a while.
  const store = await openStore({
    url, channels: Object.fromEntries([...channels, ORDERED].map(name => [name, {}])),
    timeout: 600_000, ...options,
  });
  for (const text of [...texts, 'VACUUM ANALYZE']) await store.query(text);
  return store;
}

/**
 * A store with that many messages sent, as many dead, as many waiting, as many waiting with a key
 * of their own each; that many orders with a notification each, and that many keys.
 */
function openFilled (postgres, size, options) {
  process.stderr.write(`filling: ${size} rows of each kind\n`);
  return open(postgres, CHANNELS, [...messages(size, SHOPS), ...ordersAndKeys(size)], options);
}

/** A store with as many messages in a thousand channels, and nothing else. */
function openChannels (postgres, size) {
  process.stderr.write(`filling: ${size} messages of each kind, 1,000 channels\n`);
  return open(postgres, MANY_CHANNELS, messages(size, TENANTS));
}

module.exports = { CHANNELS, ID_MIN, MANY_CHANNELS, ORDERED, openChannels, openFilled };
