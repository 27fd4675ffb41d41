-- What providers told of messages after they had taken them in: the last status of each.

CREATE TABLE {schema}.message_deliveries (
  provider_message_id text PRIMARY KEY,
  -- The message's own reference. It is known also of an attempt whose answer was lost.
  reference text,
  status text NOT NULL CHECK (status IN ('accepted', 'sent', 'failed', 'delivered', 'read')),
  -- When it became so, by the provider's clock.
  at timestamptz,
  recipient text,
  error_code text,
  error text,
  heard_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX message_deliveries_reference ON {schema}.message_deliveries (reference)
  WHERE reference IS NOT NULL;
CREATE INDEX message_deliveries_heard ON {schema}.message_deliveries (heard_at);
CREATE INDEX message_deliveries_failed ON {schema}.message_deliveries (heard_at)
  WHERE status = 'failed';

-- The audit log is not kept for ever.
CREATE INDEX admin_audit_at ON {schema}.admin_audit (at);
