-- Ends one run $1 with fence $2 that daemon $3 holds. $4 is its failure, NULL for success; a failure
-- that is not final ($5) and has attempts left goes back to the queue after the job's back-off,
-- or after $6 ms when the other side asked for longer; one that has none left is quarantined.
-- $7 is its result. One row when the claim still held, none when it was lost.
WITH mine AS (
    SELECT r.id, $4::jsonb IS NOT NULL AND NOT $5::boolean AND r.attempt < r.max_attempts AS again
    FROM job_run r
    WHERE r.id = $1 AND r.fence = $2 AND r.locked_by = $3
    FOR UPDATE
), retried AS (
    UPDATE job_run r
    SET locked_at = NULL, locked_by = NULL, fence = NULL, failure = $4::jsonb,
        run_at = now() + interval '1 millisecond' * greatest($6::bigint,
            r.backoff_ms[least(r.attempt, cardinality(r.backoff_ms))] * (0.75 + random() / 2))
    FROM mine
    WHERE r.id = mine.id AND mine.again
    RETURNING r.id, r.run_at
), gone AS (
    DELETE FROM job_run r
    USING mine
    WHERE r.id = mine.id AND NOT mine.again
    RETURNING r.id, r.org_id, r.queue, r.priority, r.run_at, r.handler, r.job_key, r.payload,
        r.trigger, r.schedule_key, r.slot, r.attempt, r.max_attempts, r.backoff_ms, r.timeout_ms,
        r.rescues, r.created_at, r.locked_at, r.locked_by, r.has_dependents, r.exclusive
), quarantined AS (
    INSERT INTO job_run_quarantine (id, org_id, queue, priority, run_at, handler, job_key, payload,
        trigger, schedule_key, slot, attempt, max_attempts, backoff_ms, timeout_ms, rescues,
        waits_for, has_dependents, exclusive, failure, created_at, reason, quarantined_at)
    SELECT id, org_id, queue, priority, run_at, handler, job_key, payload, trigger, schedule_key,
        slot, attempt, max_attempts, backoff_ms, timeout_ms, rescues, 0, false, exclusive, $4::jsonb,
        created_at,
        CASE WHEN $5::boolean THEN 'final failure' ELSE 'last attempt failed' END, now()
    FROM gone
    WHERE $4::jsonb IS NOT NULL
), done AS (
    INSERT INTO job_run_done (id, org_id, queue, priority, run_at, handler, job_key, payload,
        trigger, schedule_key, slot, attempt, outcome, result, daemon_id, created_at, started_at,
        finished_at)
    SELECT id, org_id, queue, priority, run_at, handler, job_key, payload, trigger, schedule_key,
        slot, attempt, 'succeeded', $7::jsonb, locked_by, created_at, locked_at, now()
    FROM gone
    WHERE $4::jsonb IS NULL
), settled AS (
    SELECT job_run_settle_dependents(ARRAY[g.id], ARRAY[$4::jsonb IS NULL]) AS let_go
    FROM gone g
    WHERE g.has_dependents
)
SELECT mine.again, ceil(extract(epoch FROM retried.run_at - now()) * 1000)::bigint AS retry_in_ms
FROM mine
LEFT JOIN retried USING (id)
WHERE (SELECT count(*) FROM settled) >= 0
