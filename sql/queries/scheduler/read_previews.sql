-- Schedules whose slots to come are to be worked out, at most $1.
SELECT s.id, s.key, s.definition, s.revision,
    floor(extract(epoch FROM CASE WHEN s.enabled THEN s.accounted_until ELSE now() END))::bigint AS after_s
FROM schedule_preview v JOIN job_schedule s ON s.id = v.schedule_id
WHERE v.wanted
ORDER BY s.id
LIMIT $1
