-- Calendars with which three processes in a row died, or hung for over $1 ms, are left alone for
-- one to two hours; the failure on the row says so. Which of those that died together was the
-- cause is not known: spread out, the others come through.
UPDATE calendar_credentials
SET failures = failures + 1, rescues = 0, next_sync_at = now() + (1 + random()) * interval '1 hour',
    failure = jsonb_build_object('code', 'quarantined', 'detail', 'three processes died or hung with it in hand'),
    locked_at = NULL, locked_by = NULL, fence = NULL
WHERE revoked_at IS NULL AND dead_at IS NULL AND next_sync_at <= now() AND rescues >= 3
    AND (locked_at IS NULL OR daemon_is_dead(locked_by)
        OR locked_at < now() - $1::bigint * interval '1 millisecond')
RETURNING id, user_id
