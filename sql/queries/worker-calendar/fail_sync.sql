-- Finishes a sync that failed: counted, put off by $4 ms, the claim given back; see calendar_fail().
SELECT calendar_fail($1::bigint, $2::bigint, $3::jsonb, $4::bigint * interval '1 millisecond', $5::boolean)
    AS settled
