-- After a reconnect: gives back the runs of queue $1 that daemon $2 claimed without learning of it,
-- which are those it holds beyond the ones in its hands ($3).
UPDATE job_run r
SET locked_at = NULL, locked_by = NULL, fence = NULL, attempt = r.attempt - 1
WHERE r.queue = $1 AND r.locked_by = $2 AND NOT r.id = ANY ($3::bigint[])
