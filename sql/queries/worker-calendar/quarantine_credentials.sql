-- Calendars with which three processes in a row died, or hung for over $1 ms, are left alone for
-- a day; the failure on the row says so.
UPDATE calendar_credentials
SET failures = failures + 1, rescues = 0, next_sync_at = now() + interval '1 day',
    failure = jsonb_build_object('code', 'quarantined', 'detail', 'three processes died or hung with it in hand'),
    locked_at = NULL, locked_by = NULL, fence = NULL
WHERE revoked_at IS NULL AND dead_at IS NULL AND next_sync_at <= now() AND rescues >= 3
    AND (locked_at IS NULL OR daemon_is_dead(locked_by)
        OR locked_at < now() - $1::bigint * interval '1 millisecond')
RETURNING id, user_id
