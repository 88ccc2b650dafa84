-- Puts the definitions of the file in force: jobs $1, schedules $2. Answers what it changed.
SELECT c.kind, c.key, c.change, c.detail FROM schedule_sync($1, $2) AS c
