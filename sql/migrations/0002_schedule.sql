-- When: the runtime state of schedules. Definitions are code (deploy/schedules.json).

CREATE TABLE job_schedule (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL UNIQUE,
    definition jsonb NOT NULL, -- as in the file, after substitution
    enabled boolean NOT NULL DEFAULT false,
    next_run_at timestamptz,
    last_run_at timestamptz,
    skipped_runs bigint NOT NULL DEFAULT 0,
    grace_ms bigint NOT NULL DEFAULT 60000,
    locked_at timestamptz,
    locked_by bigint,
    fence bigint,
    retired_at timestamptz, -- gone from the file; its history stays
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((locked_at IS NULL) = (locked_by IS NULL) AND (locked_at IS NULL) = (fence IS NULL))
) WITH (fillfactor = 50);
CREATE INDEX job_schedule_due ON job_schedule (next_run_at) WHERE enabled;
