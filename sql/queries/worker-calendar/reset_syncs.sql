-- Makes the next sync of every calendar a full one, spread over half an hour so that providers
-- see no stampede. Calendars that are being backed off keep their time.
WITH reset AS (
    UPDATE calendar_credentials
    SET etag = NULL, last_modified = NULL, content_hash = NULL, sync_token = NULL,
        next_sync_at = greatest(next_sync_at, now() + random() * $1::bigint * interval '1 millisecond')
    WHERE revoked_at IS NULL AND dead_at IS NULL
    RETURNING id
)
SELECT count(*) AS calendars FROM reset
