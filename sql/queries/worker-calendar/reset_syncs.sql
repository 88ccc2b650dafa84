-- Asks for a full sync of every calendar, spread evenly over $1 ms so that providers see no
-- stampede; until its turn comes a calendar is synced as usual.
WITH reset AS (
    UPDATE calendar_credentials
    SET full_sync_at = now() + random() * $1::bigint * interval '1 millisecond'
    WHERE revoked_at IS NULL AND dead_at IS NULL
    RETURNING id
)
SELECT count(*) AS calendars FROM reset
