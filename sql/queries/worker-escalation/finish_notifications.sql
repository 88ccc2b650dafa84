-- Ends attempts, guarded by daemon and fence, and says what became of each row: a late process
-- changes nothing ('lost'), a repeated report neither ('already'). What may pass is tried again
-- after 1, 2 and 4 seconds; then, when it cannot pass, and when this was the failure that opened the
-- circuit, the next contact method or the next rung takes over in this same statement.
-- Parameters: daemon; then arrays: ids, fences, outcomes, provider ids, HTTP statuses, failures as
-- JSON, Retry-After in ms (-1: none), ms until the provider is asked (-1: never), whether the
-- contact itself is dead, milliseconds that the request took, addresses for the delivery log.
WITH given AS MATERIALIZED (
    -- A call that the provider made belongs to one notification: a second one that finds it asks
    -- again. Messages tell by their text whose they are.
    SELECT g.id, g.fence, CASE WHEN s.taken THEN 'ambiguous' ELSE g.outcome END AS outcome,
        CASE WHEN NOT s.taken THEN g.provider_id END AS provider_id, g.http_status, g.failure,
        g.retry_after_ms, g.poll_ms, g.contact_dead, g.elapsed_ms, g.url
    FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::int[], $7::jsonb[],
            $8::bigint[], $9::bigint[], $10::boolean[], $11::bigint[], $12::text[])
        WITH ORDINALITY AS g (id, fence, outcome, provider_id, http_status, failure, retry_after_ms,
            poll_ms, contact_dead, elapsed_ms, url, ordinal)
    CROSS JOIN LATERAL (
        SELECT g.outcome = 'accepted' AND g.provider_id IS NOT NULL AND EXISTS (
            SELECT FROM notification AS n WHERE n.id = g.id AND n.mode = 'call') AND (
            array_position($5::text[], g.provider_id) < g.ordinal
            OR EXISTS (SELECT FROM attempt AS a
                WHERE a.provider_id = g.provider_id AND a.notification_id <> g.id)) AS taken) AS s
), mine AS MATERIALIZED (
    SELECT n.id, n.org_id, n.incident_id, n.rung_id, n.round, n.user_id, n.mode, n.revision,
        n.contact_method_id, n.useless_after, n.tries, n.attempts, g.outcome, g.provider_id, g.failure,
        g.http_status, g.retry_after_ms, g.poll_ms, g.contact_dead, g.elapsed_ms, g.url
    FROM given AS g JOIN notification AS n ON n.id = g.id
    WHERE n.locked_by = $1::bigint AND n.fence = g.fence
    ORDER BY n.id
    FOR UPDATE OF n
), weighed AS MATERIALIZED (
    SELECT m.id, m.org_id, m.useless_after, m.tries + 1 AS tries, m.outcome, m.provider_id, m.failure,
        m.http_status, m.poll_ms, m.contact_dead, m.elapsed_ms, m.url, m.attempts, m.contact_method_id,
        coalesce(i.status = 'open' AND i.revision = m.revision, true) AS wanted,
        greatest(m.retry_after_ms, (2 ^ least(m.tries, 2)) * 1000 * (0.75 + random() / 2)) AS delay_ms,
        m.outcome IN ('passing', 'diverted') AND notification_next_contact(
            m.incident_id, m.rung_id, m.round, m.user_id, m.mode, m.revision) IS NOT NULL AS has_next,
        CASE WHEN m.outcome IN ('passing', 'diverted') THEN (
            SELECT CASE k.state WHEN 'open' THEN extract(epoch FROM k.open_until - now()) * 1000
                    WHEN 'half_open' THEN 2000 END
                FROM circuit AS k WHERE k.name = (SELECT a.circuit FROM attempt AS a
                    WHERE a.notification_id = m.id AND a.number = m.attempts)) END AS circuit_ms
    FROM mine AS m
    LEFT JOIN incident AS i ON i.id = m.incident_id
), decided AS MATERIALIZED (
    SELECT w.id, w.org_id, w.outcome, w.provider_id, w.failure, w.http_status, w.poll_ms, w.contact_dead,
        w.elapsed_ms, w.url, w.attempts, w.contact_method_id, w.delay_ms, w.circuit_ms,
        CASE
            WHEN w.outcome IN ('accepted', 'bundled') THEN w.outcome
            WHEN w.outcome = 'final' THEN 'failed'
            WHEN w.outcome = 'ambiguous' THEN CASE WHEN w.tries > 3 THEN 'failed' ELSE 'sending' END
            WHEN NOT w.wanted THEN 'cancelled'
            WHEN w.useless_after <= now() THEN 'expired'
            WHEN w.outcome = 'released' THEN 'sending'
            WHEN w.outcome = 'diverted' THEN CASE WHEN w.has_next THEN 'failed' ELSE 'sending' END
            WHEN w.tries > 3 OR ((w.delay_ms > 15000 OR w.circuit_ms IS NOT NULL) AND w.has_next)
                OR w.useless_after <= now() + w.delay_ms * interval '1 millisecond' THEN 'failed'
            ELSE 'sending'
        END AS state
    FROM weighed AS w
), moved AS (
    UPDATE notification AS n
    SET state = d.state,
        pending = d.state = 'sending',
        locked_at = NULL, locked_by = NULL, fence = NULL,
        tries = n.tries + CASE WHEN d.outcome IN ('passing', 'ambiguous') THEN 1 ELSE 0 END,
        next_attempt_at = CASE
            WHEN d.state <> 'sending' OR d.outcome = 'released' THEN n.next_attempt_at
            WHEN d.outcome = 'diverted' THEN now() + greatest(d.circuit_ms, 1000) * interval '1 millisecond'
            ELSE now() + d.delay_ms * interval '1 millisecond' END,
        unsettled_since = CASE
            WHEN d.state <> 'sending' THEN NULL
            WHEN d.outcome = 'ambiguous' THEN coalesce(n.unsettled_since, (SELECT a.started_at
                FROM attempt AS a WHERE a.notification_id = d.id AND a.number = d.attempts))
            WHEN d.outcome IN ('released', 'diverted') THEN n.unsettled_since END,
        provider_id = coalesce(d.provider_id, n.provider_id),
        sent_at = CASE WHEN d.state = 'accepted' THEN now() END,
        poll_at = CASE WHEN d.state = 'accepted' AND d.poll_ms >= 0 THEN now() + d.poll_ms * interval '1 millisecond' END,
        failure = d.failure,
        reason = CASE
            WHEN d.state = 'cancelled' THEN 'no longer wanted'
            WHEN d.state = 'expired' THEN 'too late to be of use'
            WHEN d.outcome = 'bundled' THEN 'left in one message with others'
            WHEN d.outcome = 'diverted' THEN 'the circuit of ' || n.channel || ' is open'
            WHEN d.outcome = 'ambiguous' THEN 'the outcome of an attempt is not known yet'
            ELSE d.failure ->> 'detail' END
    FROM decided AS d
    WHERE n.id = d.id
    RETURNING n.id, n.state, n.channel, n.incident_id, n.rung_id, n.due_at, n.sent_at, n.next_attempt_at, n.gate
), ended AS (
    UPDATE attempt AS a
    SET finished_at = now(), outcome = d.outcome, provider_id = d.provider_id,
        http_status = nullif(d.http_status, 0), failure = d.failure
    FROM decided AS d
    WHERE a.notification_id = d.id AND a.number = d.attempts
), climbed AS (
    UPDATE incident AS i
    SET climbed_at = now(), climbed_position = c.position
    FROM (SELECT m.incident_id, max(r.position) AS position
        FROM moved AS m JOIN ladder_rung AS r ON r.id = m.rung_id
        WHERE m.state IN ('accepted', 'bundled') AND m.gate = 'escalation'
        GROUP BY m.incident_id) AS c
    WHERE i.id = c.incident_id AND coalesce(i.climbed_position, -1) < c.position
), disabled AS (
    UPDATE contact_method AS c
    SET disabled_at = now(), disabled_reason = d.failure ->> 'detail'
    FROM decided AS d
    WHERE d.contact_dead AND c.id = d.contact_method_id AND c.disabled_at IS NULL
), logged AS (
    INSERT INTO webhook_delivery_log (org_id, notification_id, url, attempt, http_status, elapsed_ms, failure)
    SELECT d.org_id, d.id, d.url, d.attempts, nullif(d.http_status, 0), d.elapsed_ms, d.failure
    FROM decided AS d
    WHERE d.url IS NOT NULL
)
SELECT g.id,
    CASE WHEN m.id IS NOT NULL THEN 'done'
        WHEN EXISTS (SELECT FROM attempt AS a WHERE a.notification_id = g.id AND a.fence = g.fence AND a.outcome = g.outcome) THEN 'already'
        ELSE 'lost' END AS result,
    m.state,
    floor(extract(epoch FROM m.sent_at - m.due_at) * 1000)::bigint AS lateness_ms,
    ceil(extract(epoch FROM m.next_attempt_at - now()) * 1000)::bigint AS retry_in_ms,
    CASE WHEN m.state = 'failed' THEN notification_fail_over(m.id) END AS successor
FROM given AS g
LEFT JOIN moved AS m ON m.id = g.id
