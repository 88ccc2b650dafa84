-- Gives runs $1 with fences $2 that daemon $3 holds back to the queue; the attempt does not count.
UPDATE job_run r
SET locked_at = NULL, locked_by = NULL, fence = NULL, attempt = r.attempt - 1
FROM unnest($1::bigint[], $2::bigint[]) AS mine (id, fence)
WHERE r.id = mine.id AND r.fence = mine.fence AND r.locked_by = $3
