-- Dead letters by channel and kind are counted group by group, and a group is found without the
-- others. The index holds dead letters only, so messages that are sent do not write it.

CREATE INDEX outbox_dead_kinds ON {schema}.notification_outbox
  (channel, (coalesce(dead_kind, '')), id) WHERE status = 'DLQ';
