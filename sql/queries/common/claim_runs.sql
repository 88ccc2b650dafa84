-- Claims up to $2 due runs of queue $1 for daemon $3, the most urgent first, then the oldest, and counts
-- the attempt. Rows that another claim holds are passed over, not waited for. One priority after the
-- other, so that runs of the future are never read. A locked row stays where it is: its ctid leads
-- to it without an index, and one that moved just before the lock is left to the next claim.
-- Where it begins: at the run that fell due at $6 (microseconds since 1970) and has id $7; else it looks
-- back $4 ms; NULL: at everything. While a snapshot is held, what was finished since stands dead at the
-- head of the index; a claim just after another need not read it again. oldest_us and oldest_id tell
-- where this one began to find.
-- Unless $5, nobody waits for the disk: a claim that the server forgets when it crashes is as if it had
-- never been made, and settle_claims takes it again. With the finish of other runs in one transaction
-- it has to be durable.
WITH lazily AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true) WHERE NOT $5::boolean
), due AS MATERIALIZED (
    SELECT d.place, d.run_at, d.id
    FROM generate_series(0, 9) AS p (priority)
    CROSS JOIN LATERAL (
        SELECT r.ctid AS place, r.run_at, r.id
        FROM job_run r
        WHERE r.queue = $1 AND r.priority = p.priority AND r.run_at <= now()
            AND (r.run_at, r.id) >= (
                coalesce('epoch'::timestamptz + $6::bigint * interval '1 microsecond',
                    now() - $4::bigint * interval '1 millisecond', '-infinity'),
                coalesce($7::bigint, 0))
            AND r.locked_at IS NULL AND r.waits_for = 0
        ORDER BY r.run_at, r.id
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    ) AS d
    LIMIT $2
), oldest AS MATERIALIZED (
    SELECT (extract(epoch FROM d.run_at) * 1000000)::bigint AS us, d.id
    FROM due d
    ORDER BY d.run_at, d.id
    LIMIT 1
)
UPDATE job_run
SET locked_at = now(), locked_by = $3, fence = (SELECT nextval('fence_seq')), attempt = attempt + 1
WHERE ctid = ANY (ARRAY(SELECT d.place FROM due d)) AND (SELECT count(*) FROM lazily) >= 0
RETURNING id, fence, handler, payload, trigger, schedule_key,
    to_char(slot AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS slot,
    attempt, max_attempts, timeout_ms,
    (SELECT o.us FROM oldest o) AS oldest_us, (SELECT o.id FROM oldest o) AS oldest_id
