-- What operators see and write. Of each minute, what the processes of this store did: for the chart
-- of the whole service. A process without any work writes no row. Orders have a table already.

CREATE TABLE {schema}.service_minutes (
  minute timestamptz NOT NULL,
  -- The process that counted.
  gateway text NOT NULL,
  messages integer NOT NULL DEFAULT 0,
  errors integer NOT NULL DEFAULT 0,
  PRIMARY KEY (minute, gateway)
);

-- Notes about a breaker, a message or an order.
CREATE TABLE {schema}.operator_notes (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT now(),
  actor text NOT NULL,
  about text NOT NULL CHECK (about IN ('breaker', 'message', 'order')),
  target text NOT NULL,
  note text NOT NULL
);

CREATE INDEX operator_notes_target ON {schema}.operator_notes (about, target, id);
CREATE INDEX operator_notes_at ON {schema}.operator_notes (at);

-- Breakers that nobody needs to look at until some time: one row for each name at most.
CREATE TABLE {schema}.operator_silences (
  name text PRIMARY KEY,
  until timestamptz NOT NULL,
  actor text NOT NULL,
  reason text NOT NULL
);

-- The messages of an order, in its timeline. Those without a key are in no index, as before.
CREATE INDEX outbox_of_key ON {schema}.notification_outbox (order_key, id)
  WHERE order_key IS NOT NULL;
