-- Claims at most $2 calendars that were due when the tick started ($3), for daemon $1. A lock is
-- stale when its daemon is dead or it is older than $4 ms; taking it over counts as a rescue.
WITH due AS (
    SELECT id FROM calendar_credentials
    WHERE revoked_at IS NULL AND dead_at IS NULL AND next_sync_at <= $3::timestamptz AND rescues < 3
        AND (locked_at IS NULL OR daemon_is_dead(locked_by)
            OR locked_at < now() - $4::bigint * interval '1 millisecond')
    ORDER BY next_sync_at
    LIMIT $2::int
    FOR UPDATE SKIP LOCKED
)
UPDATE calendar_credentials AS c
SET rescues = c.rescues + (c.locked_at IS NOT NULL)::int,
    locked_at = now(), locked_by = $1::bigint, fence = nextval('fence_seq')
FROM users AS u
WHERE c.id = ANY(ARRAY(SELECT id FROM due)) AND u.id = c.user_id
RETURNING c.id, c.fence, c.user_id, c.provider, c.source, c.sealed, c.etag, c.last_modified,
    c.content_hash, c.sync_token, c.failures, c.rescues, u.time_zone,
    coalesce(c.full_sync_at <= now(), false) AS full_due,
    extract(epoch FROM now())::bigint AS now_s,
    extract(epoch FROM c.window_ends_at)::bigint AS window_ends_s,
    (SELECT json_agg(lower(m.address)) FROM contact_method AS m
        WHERE m.user_id = c.user_id AND m.channel = 'email') AS addresses
