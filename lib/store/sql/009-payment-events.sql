-- A signed notification about an order that is not ours is an outcome of its own. The rows that are
-- there have none but those of before, so that nobody has to wait until all are looked at.

ALTER TABLE {schema}.payment_events DROP CONSTRAINT payment_events_outcome_check;

ALTER TABLE {schema}.payment_events ADD CONSTRAINT payment_events_outcome_check
  CHECK (outcome IN ('applied', 'stale', 'held', 'dismissed', 'unknown_order', 'forged', 'invalid',
    'unavailable')) NOT VALID;
