-- Jobs of the schedule: each time of each job is taken by one process of the fleet.

CREATE TABLE {schema}.schedule_jobs (
  job text PRIMARY KEY,
  -- The time of the schedule that was taken last, which is not when it ran.
  slot timestamptz NOT NULL,
  -- Until then it runs, or whoever took it has died.
  busy_until timestamptz NOT NULL,
  started_at timestamptz NOT NULL,
  duration_ms double precision,
  error text
);
