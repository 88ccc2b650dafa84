-- The heartbeat of daemon $1 with its metrics $2. Tells whether the row still stands for this
-- process, whether an operator has superseded it, which features are switched off at runtime, and
-- how many milliseconds remain until the next run of queue $3 that nobody holds falls due (NULL:
-- none is waiting).
WITH beat AS (
    UPDATE daemon
    SET heartbeat_at = now(), metrics = $2::jsonb
    WHERE id = $1 AND stopped_at IS NULL AND NOT superseded
    RETURNING id
)
SELECT EXISTS (SELECT FROM beat) AS alive,
    EXISTS (SELECT FROM daemon WHERE id = $1 AND superseded) AS superseded,
    coalesce((SELECT string_agg(f.name, ',') FROM feature_flag f WHERE NOT f.enabled), '') AS off,
    (SELECT ceil(extract(epoch FROM min(first.run_at) - now()) * 1000)::bigint
        FROM generate_series(0, 9) AS p (priority)
        CROSS JOIN LATERAL (
            SELECT r.run_at
            FROM job_run r
            WHERE r.queue = $3 AND r.priority = p.priority AND r.locked_at IS NULL AND r.waits_for = 0
            ORDER BY r.run_at
            LIMIT 1
        ) AS first) AS next_run_in_ms
