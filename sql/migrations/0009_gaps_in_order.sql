-- The ledger of slots, mended: its gaps follow each other.

-- Writes skipped slots down: a gap goes on where the newest row of its schedule is a gap for the same
-- reason and no older slot is written down with it, so that one darkness is one row and no row lies within
-- the span of another. Answers each with the schedule's count of all.
CREATE OR REPLACE FUNCTION schedule_keep_skipped(schedule_ids bigint[], firsts timestamptz[], lasts timestamptz[],
    counts bigint[], reasons text[])
RETURNS TABLE (key text, slot timestamptz, last_slot timestamptz, slots bigint, reason text, skipped_runs bigint)
LANGUAGE sql SET plan_cache_mode = force_custom_plan AS $$
    WITH skipped AS (
        SELECT u.id, u.slot, u.last_slot, u.slots, u.reason
        FROM unnest(schedule_ids, firsts, lasts, counts, reasons) AS u (id, slot, last_slot, slots, reason)
    ), counted AS (
        UPDATE job_schedule s SET skipped_runs = s.skipped_runs + k.slots
        FROM (SELECT k.id, sum(k.slots)::bigint AS slots FROM skipped k GROUP BY k.id) AS k
        WHERE s.id = k.id
        RETURNING s.id, s.key, s.skipped_runs
    ), merged AS (
        UPDATE schedule_slot l
        SET last_slot = greatest(l.last_slot, k.last_slot), slots = l.slots + k.slots, recorded_at = now()
        FROM skipped k
        WHERE l.schedule_id = k.id AND l.outcome = 'skipped' AND l.reason = k.reason
            AND l.recovered_at IS NULL
            AND l.slot = (SELECT max(x.slot) FROM schedule_slot x WHERE x.schedule_id = k.id)
            AND NOT EXISTS (SELECT FROM skipped o WHERE o.id = k.id AND o.slot < k.slot)
        RETURNING l.schedule_id, l.reason
    ), added AS (
        INSERT INTO schedule_slot AS l (schedule_id, slot, last_slot, slots, outcome, reason)
        SELECT k.id, k.slot, k.last_slot, k.slots, 'skipped', k.reason
        FROM skipped k
        WHERE NOT EXISTS (SELECT FROM merged m WHERE m.schedule_id = k.id AND m.reason = k.reason)
        ON CONFLICT DO NOTHING
    )
    SELECT c.key, k.slot, k.last_slot, k.slots, k.reason, c.skipped_runs
    FROM skipped k JOIN counted c ON c.id = k.id
    ORDER BY k.slot, c.key
$$;
