-- Puts the definitions of the file of daemon $3 in force: jobs $1, schedules $2. Answers what it changed.
SELECT c.kind, c.key, c.change, c.detail FROM schedule_sync($1, $2, $3) AS c
