-- After a reconnect, with no row in hand: gives back what daemon $1 claimed without learning of it.
-- Nothing of it has left.
WITH given_back AS (
    UPDATE notification AS n
    SET locked_at = NULL, locked_by = NULL, fence = NULL
    WHERE n.pending AND n.next_attempt_at <= now() AND n.locked_by = $1::bigint
    RETURNING n.id, n.attempts
)
UPDATE attempt AS a
SET finished_at = now(), outcome = 'released'
FROM given_back AS g
WHERE a.notification_id = g.id AND a.number = g.attempts
