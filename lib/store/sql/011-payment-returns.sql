-- What banks took back, each refund, and when Midtrans made a transaction: its news may come out of
-- order. An event that was held may be decided by later news.

ALTER TABLE {schema}.payment_orders ADD COLUMN charged_back_minor bigint NOT NULL DEFAULT 0;

ALTER TABLE {schema}.payment_transactions
  -- Null: no chargeback is known. 0: its amount is unknown.
  ADD COLUMN charged_back_minor bigint,
  -- Pairs of an id and an amount, in minor units.
  ADD COLUMN refunds jsonb NOT NULL DEFAULT '[]',
  -- As Midtrans writes it, in GMT+7.
  ADD COLUMN made_at text;

ALTER TABLE {schema}.payment_events DROP CONSTRAINT payment_events_outcome_check;

ALTER TABLE {schema}.payment_events ADD CONSTRAINT payment_events_outcome_check
  CHECK (outcome IN ('applied', 'stale', 'held', 'released', 'dismissed', 'unknown_order', 'forged',
    'invalid', 'unavailable')) NOT VALID;

-- Midtrans is asked again about orders that are held.
UPDATE {schema}.payment_orders SET silent_since = clock_timestamp()
WHERE held AND silent_since IS NULL;

UPDATE {schema}.payment_transactions SET charged_back_minor = 0
WHERE state = 'partial_chargeback';

UPDATE {schema}.payment_transactions t
SET charged_back_minor = greatest(o.amount_minor - t.refunded_minor, 0)
FROM {schema}.payment_orders o
WHERE o.order_id = t.order_id AND t.state = 'chargeback';

UPDATE {schema}.payment_orders o SET charged_back_minor = t.charged_back_minor
FROM (SELECT order_id, sum(charged_back_minor) AS charged_back_minor
  FROM {schema}.payment_transactions WHERE state = 'chargeback' GROUP BY order_id) t
WHERE o.order_id = t.order_id;

-- One denied attempt used to end an order, though its page may have been paid in another way.
UPDATE {schema}.payment_orders SET silent_since = clock_timestamp()
WHERE state = 'denied' AND silent_since IS NULL
  AND coalesce(token, redirect_url, body) IS NOT NULL
  AND updated_at > clock_timestamp() - interval '30 days';
