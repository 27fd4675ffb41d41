-- Who changed what through the admin interface, and why.

CREATE TABLE {schema}.admin_audit (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT now(),
  actor text NOT NULL,
  role text NOT NULL,
  address text NOT NULL,
  action text NOT NULL,
  target text,
  reason text,
  result text NOT NULL,
  detail jsonb
);
