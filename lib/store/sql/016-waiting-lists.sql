-- Lists of messages that wait, in the order of their ids. A message is in each index once at most
-- for each time that it waits, and ids grow, so a new message is written at the index's end.

CREATE INDEX outbox_pending ON {schema}.notification_outbox (id) WHERE status = 'PENDING';
CREATE INDEX outbox_retrying ON {schema}.notification_outbox (id) WHERE status = 'RETRYING';
