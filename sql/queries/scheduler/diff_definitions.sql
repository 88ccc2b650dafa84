-- What sync_definitions would change: jobs $1, schedules $2. Changes nothing.
SELECT c.kind, c.key, c.change, c.detail FROM schedule_diff($1, $2) AS c
