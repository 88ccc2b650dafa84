-- Zones $1 have rules that hash to $2. Where they were others, what was computed by them is computed
-- again; a slot that is due already stays. Answers which zones these are.
WITH known AS (
    SELECT u.name, u.rules, z.rules AS before
    FROM unnest($1::text[], $2::bigint[]) AS u (name, rules) LEFT JOIN schedule_zone z ON z.name = u.name
), kept AS (
    INSERT INTO schedule_zone AS z (name, rules)
    SELECT k.name, k.rules FROM known k WHERE k.before IS DISTINCT FROM k.rules ORDER BY k.name
    ON CONFLICT (name) DO UPDATE SET rules = excluded.rules
), again AS (
    UPDATE job_schedule s
    SET next_slot = NULL, next_run_at = NULL, awaits_next = true, locked_at = NULL, locked_by = NULL, fence = NULL
    FROM known k
    WHERE k.before <> k.rules AND s.enabled AND s.next_run_at > now()
        AND (s.definition ->> 'timezone' = k.name OR s.definition ->> 'window' LIKE '%' || k.name)
    RETURNING s.id
), stale AS (
    UPDATE schedule_preview v SET wanted = true
    FROM job_schedule s, known k
    WHERE v.schedule_id = s.id AND k.before <> k.rules
        AND (s.definition ->> 'timezone' = k.name OR s.definition ->> 'window' LIKE '%' || k.name)
)
SELECT k.name, (SELECT count(*) FROM again) AS schedules FROM known k WHERE k.before <> k.rules
