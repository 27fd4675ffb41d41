-- What banks took back, each refund, and when Midtrans made a transaction: its news may come out of
-- order. An event that was held may be decided by later news.

ALTER TABLE {schema}.payment_orders ADD COLUMN charged_back_minor bigint NOT NULL DEFAULT 0;

ALTER TABLE {schema}.payment_transactions
  ADD COLUMN charged_back_minor bigint NOT NULL DEFAULT 0,
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
