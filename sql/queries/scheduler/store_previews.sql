-- Keeps the slots to come of schedules $1 in revision $2: of schedule $4[i] the slot $5[i] (UTC
-- seconds), whose run leaves at $6[i] (UTC milliseconds) and which a change of clocks moves as $7[i]
-- says. Once the slot $3 has passed (0: never), more are wanted. What is of an older revision is
-- thrown away.
UPDATE schedule_preview v
SET slots = coalesce(p.slots, '{}'), run_at = coalesce(p.run_at, '{}'), moved = coalesce(p.moved, '{}'),
    low_at = to_timestamp(nullif(o.low_s, 0)), wanted = false
FROM unnest($1::bigint[], $2::int[], $3::bigint[]) AS o (id, revision, low_s)
LEFT JOIN (
    SELECT u.id, array_agg(to_timestamp(u.slot_s) ORDER BY u.slot_s) AS slots,
        array_agg(to_timestamp(u.run_ms::float8 / 1000) ORDER BY u.slot_s) AS run_at,
        array_agg(u.moved ORDER BY u.slot_s) AS moved
    FROM unnest($4::bigint[], $5::bigint[], $6::bigint[], $7::text[]) AS u (id, slot_s, run_ms, moved)
    GROUP BY u.id) AS p ON p.id = o.id
WHERE v.schedule_id = o.id AND v.revision = o.revision
