-- Brings a sync's outcome into the tables and gives the claim back, in one transaction.
SELECT applied, created, skipped, updated, cancelled, opened, incidents
FROM calendar_apply($1::bigint, $2::bigint, $3::jsonb, $4::boolean,
    to_timestamp($5::bigint), to_timestamp($6::bigint), $7::text, $8::text, $9::text, $10::text,
    $11::bigint * interval '1 millisecond', $12::bigint * interval '1 millisecond')
