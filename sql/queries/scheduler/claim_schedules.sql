-- Claims up to $2 schedules for daemon $1 that are due, or have no next run (they are repaired), and
-- tells when the next one falls due: always at least one row, with a NULL id when nothing was
-- claimed. When none is due, those of the next instant are claimed ahead if it is at most 250 ms away:
-- the scheduler works them out and fires them at that instant. A lock is taken over when it is of $1
-- itself (a claim whose answer was lost), of a daemon that is dead, or older than 30 s: a claim is held
-- for milliseconds. wait_ms is NULL when nothing is to come, and 0 when more is due than was claimed;
-- held_ms is when the oldest lock on what is due will be 30 s old, NULL when there is none.
-- former_daemon is whose lock was taken over, else NULL; rescues counts how often that happened since
-- the schedule last moved on. claimed is text that every session reads alike, however it writes dates.
WITH horizon AS (
    SELECT greatest(now(), least(now() + interval '250 milliseconds', (
        SELECT s.next_run_at
        FROM job_schedule s
        WHERE s.enabled AND (s.locked_by IS NULL OR s.locked_by = $1
            OR s.locked_at < now() - interval '30 seconds' OR daemon_is_dead(s.locked_by))
        ORDER BY s.next_run_at
        LIMIT 1))) AS until
), due AS (
    SELECT s.id, s.locked_by
    FROM job_schedule s
    WHERE s.enabled AND s.next_run_at <= (SELECT h.until FROM horizon h)
        AND (s.locked_by IS NULL OR s.locked_by = $1
            OR s.locked_at < now() - interval '30 seconds' OR daemon_is_dead(s.locked_by))
    ORDER BY s.next_run_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
), missing AS (
    SELECT s.id, s.locked_by
    FROM job_schedule s
    WHERE s.enabled AND s.next_run_at IS NULL
        AND (s.locked_by IS NULL OR s.locked_by = $1
            OR s.locked_at < now() - interval '30 seconds' OR daemon_is_dead(s.locked_by))
    ORDER BY s.next_run_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE job_schedule s
    SET locked_at = now(), locked_by = $1, fence = nextval('fence_seq'),
        rescues = s.rescues + CASE WHEN s.locked_by <> $1 THEN 1 ELSE 0 END
    WHERE s.id = ANY (ARRAY(SELECT due.id FROM due UNION ALL SELECT missing.id FROM missing))
    RETURNING s.id, s.key, s.definition, s.revision, s.fence, s.next_run_at, s.accounted_until, s.awaits_next,
        s.grace_ms, s.rescues
), ahead AS (
    SELECT
        CASE WHEN (SELECT count(*) FROM due) >= $2 OR (SELECT count(*) FROM missing) >= $2 THEN 0
        ELSE (
            SELECT ceil(extract(epoch FROM s.next_run_at - now()) * 1000)
            FROM job_schedule s
            WHERE s.enabled AND s.next_run_at > (SELECT h.until FROM horizon h) AND s.next_run_at < 'infinity'
            ORDER BY s.next_run_at
            LIMIT 1) END AS wait_ms,
        (SELECT ceil(extract(epoch FROM min(l.locked_at) + interval '30 seconds' - now()) * 1000)
            FROM (
                SELECT s.locked_at
                FROM job_schedule s
                WHERE s.enabled AND s.next_run_at <= (SELECT h.until FROM horizon h)
                ORDER BY s.next_run_at
                LIMIT 1000) AS l
            WHERE l.locked_at >= now() - interval '30 seconds') AS held_ms,
        EXISTS (SELECT FROM schedule_preview v WHERE v.wanted) AS previews_wanted,
        floor(extract(epoch FROM now()) * 1000)::bigint AS now_ms
)
SELECT c.id, c.key, c.definition, c.revision, c.fence,
    to_char(c.next_run_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS claimed,
    ceil(extract(epoch FROM c.next_run_at) * 1000)::bigint AS due_ms, c.awaits_next, c.grace_ms,
    c.rescues, f.locked_by AS former_daemon, floor(extract(epoch FROM c.accounted_until))::bigint AS accounted_s,
    a.now_ms, a.wait_ms::bigint AS wait_ms, a.held_ms::bigint AS held_ms,
    a.previews_wanted
FROM ahead a LEFT JOIN claimed c ON true
LEFT JOIN (
    SELECT due.id, due.locked_by FROM due WHERE due.locked_by <> $1
    UNION ALL
    SELECT missing.id, missing.locked_by FROM missing WHERE missing.locked_by <> $1) AS f ON f.id = c.id
ORDER BY c.next_run_at, c.id
