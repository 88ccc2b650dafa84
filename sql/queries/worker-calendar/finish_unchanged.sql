-- Finishes a sync of calendar $1 that found nothing new; skipped is how many events stand as they were.
UPDATE calendar_credentials AS c
SET last_success_at = now(), next_sync_at = c.locked_at + $3::bigint * interval '1 millisecond',
    failures = 0, failure = NULL, rescues = 0, locked_at = NULL, locked_by = NULL, fence = NULL
WHERE c.id = $1::bigint AND c.fence = $2::bigint
RETURNING (SELECT count(*) FROM calendar_event AS e
    WHERE e.credential_id = c.id AND e.status <> 'cancelled' AND e.ends_at > now()) AS skipped
