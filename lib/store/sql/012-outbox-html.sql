-- The HTML version of a message, filled in when it was enqueued.

ALTER TABLE {schema}.notification_outbox ADD COLUMN html text;
