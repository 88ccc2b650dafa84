-- Keeps the slots to come of schedules $1 in revision $2: slot i ($4, $5 with jitter, $6 moved) is of
-- schedule $3[i]. Once the slot $7 has passed, more are wanted. An older revision is thrown away.
UPDATE schedule_preview v
SET slots = coalesce(p.slots, '{}'), run_at = coalesce(p.run_at, '{}'), moved = coalesce(p.moved, '{}'),
    low_at = o.low_at, wanted = false
FROM unnest($1::bigint[], $2::int[], $7::timestamptz[]) AS o (id, revision, low_at)
LEFT JOIN (
    SELECT u.id, array_agg(u.slot ORDER BY u.slot) AS slots, array_agg(u.run_at ORDER BY u.slot) AS run_at,
        array_agg(u.moved ORDER BY u.slot) AS moved
    FROM unnest($3::bigint[], $4::timestamptz[], $5::timestamptz[], $6::text[]) AS u (id, slot, run_at, moved)
    GROUP BY u.id) AS p ON p.id = o.id
WHERE v.schedule_id = o.id AND v.revision = o.revision
