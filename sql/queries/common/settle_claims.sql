-- After a reconnect: makes the locks of queue $1 agree with what daemon $2 has in its hands, which are
-- runs $3 with fences $4. What it claimed without learning of it goes back. A claim that the server
-- forgot in a crash is taken again, unless somebody else has the run by now (fence 0: not that one,
-- its attempt is over). How many of each.
WITH given_back AS (
    UPDATE job_run r
    SET locked_at = NULL, locked_by = NULL, fence = NULL, attempt = r.attempt - 1
    WHERE r.queue = $1 AND r.locked_by = $2 AND NOT r.id = ANY ($3::bigint[])
    RETURNING r.id
), taken_again AS (
    UPDATE job_run r
    SET locked_at = now(), locked_by = $2, fence = mine.fence, attempt = r.attempt + 1
    FROM unnest($3::bigint[], $4::bigint[]) AS mine (id, fence)
    WHERE r.id = mine.id AND r.locked_by IS NULL AND mine.fence > 0
    RETURNING r.id
)
SELECT (SELECT count(*) FROM given_back) AS given_back, (SELECT count(*) FROM taken_again) AS taken_again
