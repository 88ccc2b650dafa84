-- Frees runs of queue $1 whose lock is stale: the daemon is dead, or the run's own time-out passed
-- half a minute ago. The third rescue quarantines. Claims take the oldest first, so that
-- locked rows stand among the first of each priority: what is read is bounded.
WITH head AS (
    SELECT first.id
    FROM generate_series(0, 9) AS p (priority)
    CROSS JOIN LATERAL (
        SELECT r.id, r.locked_at, r.locked_by, r.timeout_ms
        FROM job_run r
        WHERE r.queue = $1 AND r.priority = p.priority AND r.run_at <= now()
        ORDER BY r.run_at
        LIMIT 10000
    ) AS first
    WHERE first.locked_at IS NOT NULL
        AND (first.locked_at + interval '1 millisecond' * first.timeout_ms + interval '30 seconds' < now()
            OR daemon_is_dead(first.locked_by))
), stale AS (
    SELECT r.id, r.rescues + 1 AS rescues
    FROM job_run r
    WHERE r.id IN (SELECT head.id FROM head) AND r.locked_at IS NOT NULL
    FOR UPDATE SKIP LOCKED
), freed AS (
    UPDATE job_run r
    SET locked_at = NULL, locked_by = NULL, fence = NULL, rescues = stale.rescues,
        attempt = r.attempt - 1
    FROM stale
    WHERE r.id = stale.id AND stale.rescues < 3
    RETURNING r.id
), gone AS (
    DELETE FROM job_run r
    USING stale
    WHERE r.id = stale.id AND stale.rescues >= 3
    RETURNING r.id, r.org_id, r.queue, r.priority, r.run_at, r.handler, r.job_key, r.payload,
        r.trigger, r.schedule_key, r.slot, r.attempt, r.max_attempts, r.backoff_ms, r.timeout_ms,
        stale.rescues, r.failure, r.created_at, r.has_dependents, r.exclusive
), quarantined AS (
    INSERT INTO job_run_quarantine (id, org_id, queue, priority, run_at, handler, job_key, payload,
        trigger, schedule_key, slot, attempt, max_attempts, backoff_ms, timeout_ms, rescues,
        waits_for, has_dependents, exclusive, failure, created_at, reason, quarantined_at)
    SELECT id, org_id, queue, priority, run_at, handler, job_key, payload, trigger, schedule_key,
        slot, attempt, max_attempts, backoff_ms, timeout_ms, rescues, 0, false, exclusive, failure,
        created_at,
        'rescued three times', now()
    FROM gone
    RETURNING id
), settled AS (
    SELECT job_run_settle_dependents(array_agg(g.id), array_agg(false)) AS let_go
    FROM gone g
    WHERE g.has_dependents
    HAVING count(*) > 0
)
SELECT (SELECT count(*) FROM freed) AS freed, (SELECT count(*) FROM quarantined) AS quarantined
WHERE (SELECT count(*) FROM settled) >= 0
