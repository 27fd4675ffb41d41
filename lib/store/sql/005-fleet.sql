-- Breakers of the fleet: the last transition that a host has told of.

CREATE TABLE {schema}.fleet_breakers (
  name text PRIMARY KEY,
  state text NOT NULL CHECK (state IN ('open', 'closed')),
  -- Grows with each transition, so that late news are told from new ones.
  generation bigint NOT NULL DEFAULT 1,
  -- While it lies in the future, `open` binds hosts that join.
  open_until timestamptz NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT now()
);
