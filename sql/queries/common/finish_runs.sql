-- Moves runs $1 with fences $2 that daemon $3 holds to the history as succeeded. Runs whose claim
-- was lost stay as they are; the command tag counts the others. The ids alone lead through the index;
-- IS TRUE keeps the pairs a filter, which no plan can turn into a join that reads the whole table.
WITH finished AS (
    DELETE FROM job_run r
    WHERE r.id = ANY ($1::bigint[]) AND r.locked_by = $3
        AND ((r.id, r.fence) IN (
            SELECT mine.id, mine.fence
            FROM unnest($1::bigint[], $2::bigint[]) AS mine (id, fence))) IS TRUE
    RETURNING r.id, r.org_id, r.queue, r.priority, r.run_at, r.handler, r.job_key, r.payload,
        r.trigger, r.schedule_key, r.slot, r.attempt, r.locked_by, r.created_at, r.locked_at,
        r.has_dependents
), settled AS (
    SELECT job_run_settle_dependents(array_agg(f.id), array_agg(true)) AS let_go
    FROM finished f
    WHERE f.has_dependents
    HAVING count(*) > 0
)
INSERT INTO job_run_done (id, org_id, queue, priority, run_at, handler, job_key, payload, trigger,
    schedule_key, slot, attempt, outcome, daemon_id, created_at, started_at, finished_at)
SELECT id, org_id, queue, priority, run_at, handler, job_key, payload, trigger, schedule_key, slot,
    attempt, 'succeeded', locked_by, created_at, locked_at, now()
FROM finished
WHERE (SELECT count(*) FROM settled) >= 0
