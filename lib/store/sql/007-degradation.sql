-- The degradation level that was set by hand last, for all who share this store: one row at most.

CREATE TABLE {schema}.degradation_level (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  -- NULL: the rules decide.
  level text,
  reason text NOT NULL,
  actor text NOT NULL,
  -- When it was decided, which is earlier than when it was told if the database was away.
  since timestamptz NOT NULL,
  -- Grows with each decision, so that each process knows whether it has heard of this one.
  generation bigint NOT NULL DEFAULT 1
);
