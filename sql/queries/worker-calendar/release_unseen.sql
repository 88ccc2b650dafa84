-- Gives back what daemon $1 claimed without ever learning of it: fences above the highest it knows ($2).
UPDATE calendar_credentials SET locked_at = NULL, locked_by = NULL, fence = NULL
WHERE locked_by = $1::bigint AND fence > $2::bigint
