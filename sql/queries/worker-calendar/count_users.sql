-- Whose calendars are enabled, and when this tick started by the database's clock.
SELECT count(DISTINCT user_id) AS users, now() AS started_at
FROM calendar_credentials WHERE revoked_at IS NULL
