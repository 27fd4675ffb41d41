-- Lists of what is rare. Each index holds only rows of states that few messages and orders reach,
-- so the usual way of a message or an order writes none of them.

CREATE INDEX outbox_cancelled ON {schema}.notification_outbox (id) WHERE status = 'CANCELLED';

CREATE INDEX payment_orders_rare ON {schema}.payment_orders (state, created_at, order_id)
  WHERE state NOT IN ('queued', 'created', 'pending', 'paid', 'expired');
