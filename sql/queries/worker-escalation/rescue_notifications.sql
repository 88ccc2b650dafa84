-- Frees rows whose process died in mid-send or let the attempt's deadline pass. What became of the
-- request is not known: the next claim settles it. The third rescue fails the row instead.
-- Parameters: limit.
WITH stale AS MATERIALIZED (
    SELECT n.id
    FROM notification AS n
    WHERE n.pending AND n.next_attempt_at <= now() AND n.locked_at IS NOT NULL
        AND (daemon_is_dead(n.locked_by) OR EXISTS (
            SELECT FROM attempt AS a
            WHERE a.notification_id = n.id AND a.number = n.attempts AND a.deadline_at < now()))
    ORDER BY n.next_attempt_at
    LIMIT $1::int
    FOR UPDATE SKIP LOCKED
), freed AS (
    UPDATE notification AS n
    SET state = CASE WHEN n.rescues >= 2 THEN 'failed' ELSE 'sending' END,
        pending = n.rescues < 2,
        rescues = n.rescues + 1,
        locked_at = NULL, locked_by = NULL, fence = NULL,
        unsettled_since = CASE WHEN n.rescues < 2 THEN coalesce(n.unsettled_since, a.started_at) END,
        reason = CASE WHEN n.rescues >= 2 THEN 'quarantined: its process died three times'
            ELSE 'rescued: the outcome of an attempt is not known yet' END
    FROM stale AS s
    JOIN attempt AS a ON a.notification_id = s.id
    WHERE n.id = s.id AND a.number = n.attempts
    RETURNING n.id, n.incident_id, n.channel, n.kind, n.state, n.rescues, a.id AS attempt_id, a.daemon_id
), ended AS (
    UPDATE attempt AS a SET finished_at = now(), outcome = 'lost'
    FROM freed AS f
    WHERE a.id = f.attempt_id
)
SELECT f.id, f.incident_id, f.channel, f.kind, f.state, f.rescues, f.daemon_id,
    CASE WHEN f.state = 'failed' THEN notification_fail_over(f.id) END AS successor
FROM freed AS f
