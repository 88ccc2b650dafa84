-- Gives a calendar back unsynced, as due as it was.
UPDATE calendar_credentials SET locked_at = NULL, locked_by = NULL, fence = NULL
WHERE id = $1::bigint AND fence = $2::bigint
