-- Of the messages of one channel and key, never two are sent at once.

-- Nobody claims any until the index is there.
LOCK TABLE {schema}.notification_outbox IN SHARE ROW EXCLUSIVE MODE;

-- Those that are being sent side by side at this moment go on, all but the first without a key: if
-- they were taken from their workers, they would be sent a second time.
UPDATE {schema}.notification_outbox o SET order_key = NULL
WHERE status = 'SENDING' AND EXISTS (
  SELECT FROM {schema}.notification_outbox e
  WHERE e.status = 'SENDING' AND e.channel = o.channel AND e.order_key = o.order_key
    AND e.id < o.id);

CREATE UNIQUE INDEX outbox_sending ON {schema}.notification_outbox (channel, order_key)
  WHERE status = 'SENDING' AND order_key IS NOT NULL;
