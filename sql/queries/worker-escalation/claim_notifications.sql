-- Takes what is due and begins to send it: each row is committed as 'sending', with its attempt and
-- the attempt's deadline, before any request goes out. What must not be sent any more ends here.
-- Parameters: daemon, limit, gates that are on, channels without room, milliseconds of an attempt,
-- channels whose provider can be asked what became of a request, channels whose messages to one
-- contact leave as one, and how many at most.
-- Every row carries next_in_ms, the time until the next pending row or question to a provider,
-- polls_due, whether such a question is due, and stale_in_ms, the time until the deadline of what
-- another process holds; id is NULL when nothing is to be sent. Of a circuit that is not closed it
-- says so, for a process that has not heard of it yet.
-- The update is HOT: it changes no column that an index holds or asks for.
WITH due AS MATERIALIZED (
    SELECT n.id
    FROM notification AS n
    WHERE n.pending AND n.next_attempt_at <= now() AND n.locked_at IS NULL
        AND (n.gate = ANY($3::text[]) OR n.useless_after <= now())
        AND n.channel <> ALL($4::text[])
    ORDER BY n.next_attempt_at
    LIMIT $2::int
    FOR UPDATE SKIP LOCKED
), seen AS MATERIALIZED (
    -- A webhook's circuit is its host's, so that one that is down hinders no other.
    SELECT n.id, n.channel, n.kind, n.contact_method_id, n.user_id, n.incident_id, n.due_at, n.useless_after,
        CASE n.channel WHEN 'webhook' THEN
            'webhook:' || substring(c.address from '^[a-z]+://(?:[^/?#]*@)?([^/?#]+)') ELSE n.channel END AS circuit,
        n.useless_after > now() AND coalesce(i.status = 'open' AND i.revision = n.revision, true) AS wanted,
        CASE
            WHEN n.unsettled_since IS NOT NULL AND n.channel = ANY($6::text[]) THEN 'settle'
            WHEN n.unsettled_since IS NOT NULL AND n.policy = 'at_most_once' THEN 'unknown'
            WHEN i.status <> 'open' OR i.revision <> n.revision THEN 'cancelled'
            WHEN n.useless_after <= now() THEN 'expired'
            WHEN NOT coalesce(contact_method_usable(c.channel, c.verified_at, c.disabled_at, c.stopped_at), false)
                AND NOT coalesce(n.kind = 'contact_verification' AND c.disabled_at IS NULL
                    AND c.stopped_at IS NULL, false) THEN 'unreachable'
            ELSE 'send'
        END AS verdict,
        -- What passes throttles, bundling and quiet hours: a code that somebody waits for, the call
        -- before a meeting or what takes its place, and whatever is the last rung of its ladder.
        n.kind = 'contact_verification' OR (n.incident_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM ladder_rung AS r JOIN ladder_rung AS later
                ON later.ladder_id = r.ladder_id AND later.position > r.position
            WHERE r.id = n.rung_id AND NOT (r.mode = 'call' AND r.gate = 'alerts'))) AS passes,
        n.attempts = 0 AND n.channel = ANY(ARRAY(SELECT t.channel FROM throttle_rule AS t)) AS has_throttle,
        n.channel = ANY($7::text[]) AND n.incident_id IS NOT NULL AS bundles,
        u.quiet_from, u.quiet_until, u.time_zone, u.name AS person, c.address,
        i.status, i.title, i.kind AS incident_kind, i.starts_at, i.user_id AS owner_id
    FROM due AS d
    JOIN notification AS n ON n.id = d.id
    JOIN users AS u ON u.id = n.user_id
    LEFT JOIN incident AS i ON i.id = n.incident_id
    LEFT JOIN contact_method AS c ON c.id = n.contact_method_id
), zone AS MATERIALIZED (
    -- Once a zone, not once a row. One that nobody knows is told in UTC, and says so.
    SELECT k.time_zone, CASE WHEN zone_is_known(k.time_zone) THEN k.time_zone ELSE 'UTC' END AS zone
    FROM (SELECT DISTINCT s.time_zone FROM seen AS s) AS k
), queued AS MATERIALIZED (
    -- The messages to one contact in their order: the first that a person hears of an incident,
    -- what else there is of incidents, notices. What leaves in one message counts once.
    SELECT m.id, m.contact_method_id, m.channel, m.class,
        dense_rank() OVER (PARTITION BY m.contact_method_id ORDER BY m.leader) - 1 AS ahead
    FROM (
        SELECT p.id, p.contact_method_id, p.channel, p.class, CASE WHEN p.bundles THEN min(p.place) OVER (
                PARTITION BY p.contact_method_id, p.bundles, (p.nth - 1) / $8::int) ELSE p.place END AS leader
        FROM (
            SELECT o.id, o.contact_method_id, o.channel, o.class, o.bundles,
                row_number() OVER (PARTITION BY o.contact_method_id
                    ORDER BY o.priority, o.due_at, o.id) AS place,
                row_number() OVER (PARTITION BY o.contact_method_id, o.bundles
                    ORDER BY o.priority, o.due_at, o.id) AS nth
            FROM (
                SELECT s.id, s.contact_method_id, s.channel, s.bundles, s.due_at,
                    CASE WHEN s.incident_id IS NULL THEN 'notice' ELSE 'alert' END AS class,
                    CASE WHEN s.incident_id IS NULL THEN 3
                        WHEN EXISTS (SELECT FROM notification AS n WHERE n.incident_id = s.incident_id
                            AND n.user_id = s.user_id AND n.sent_at IS NOT NULL) THEN 2
                        ELSE 1 END AS priority
                FROM seen AS s
                WHERE s.verdict = 'send' AND s.has_throttle AND NOT s.passes) AS o) AS p) AS m
), throttled AS MATERIALIZED (
    SELECT q.contact_method_id, q.class, q.ahead, t.until, t.rule
    FROM (SELECT DISTINCT q.contact_method_id, q.channel FROM queued AS q) AS k
    CROSS JOIN LATERAL (
        SELECT array_agg(n.at ORDER BY n.at DESC) AS any,
            array_agg(n.at ORDER BY n.at DESC) FILTER (WHERE n.incident_id IS NOT NULL) AS alert,
            array_agg(n.at ORDER BY n.at DESC) FILTER (WHERE n.incident_id IS NULL) AS notice
        FROM (
            SELECT coalesce(n.sent_at, n.locked_at) AS at, n.incident_id
            FROM notification AS n
            WHERE n.contact_method_id = k.contact_method_id AND n.due_at > now() - interval '2 days'
                AND coalesce(n.sent_at, n.locked_at) > now() - interval '1 day') AS n) AS s
    JOIN (SELECT DISTINCT q.contact_method_id, q.class, q.ahead FROM queued AS q) AS q
        ON q.contact_method_id = k.contact_method_id
    CROSS JOIN LATERAL throttle_until(k.channel, q.class, q.ahead, s.any,
        CASE q.class WHEN 'alert' THEN s.alert ELSE s.notice END) AS t
), judged AS MATERIALIZED (
    SELECT s.id, s.circuit, s.wanted, s.passes, s.person, s.address, s.status, s.title, s.incident_kind,
        s.starts_at, s.owner_id, s.time_zone, z.zone, h.quiet, t.rule,
        CASE WHEN s.verdict = 'send' AND (h.quiet IS NOT NULL OR t.until IS NOT NULL) THEN 'held'
            ELSE s.verdict END AS verdict,
        least(greatest(h.quiet, t.until), s.useless_after) AS held_until
    FROM seen AS s
    JOIN zone AS z ON z.time_zone = s.time_zone
    CROSS JOIN LATERAL (SELECT CASE WHEN s.quiet_from IS NOT NULL AND NOT s.passes
        THEN quiet_until(s.quiet_from, s.quiet_until, z.zone) END AS quiet) AS h
    LEFT JOIN queued AS q ON q.id = s.id
    LEFT JOIN throttled AS t ON t.contact_method_id = q.contact_method_id AND t.class = q.class
        AND t.ahead = q.ahead
), taken AS (
    UPDATE notification AS n
    SET state = CASE j.verdict WHEN 'cancelled' THEN 'cancelled' WHEN 'expired' THEN 'expired'
            WHEN 'send' THEN 'sending' WHEN 'settle' THEN 'sending' WHEN 'held' THEN n.state ELSE 'failed' END,
        pending = j.verdict IN ('send', 'settle', 'held'),
        next_attempt_at = CASE j.verdict WHEN 'held' THEN j.held_until ELSE n.next_attempt_at END,
        locked_at = CASE WHEN j.verdict IN ('send', 'settle') THEN now() END,
        locked_by = CASE WHEN j.verdict IN ('send', 'settle') THEN $1::bigint END,
        fence = CASE WHEN j.verdict IN ('send', 'settle') THEN nextval('fence_seq') END,
        attempts = n.attempts + CASE WHEN j.verdict IN ('send', 'settle') THEN 1 ELSE 0 END,
        unsettled_since = CASE WHEN j.verdict IN ('send', 'settle') THEN n.unsettled_since END,
        reason = CASE j.verdict
            WHEN 'cancelled' THEN CASE WHEN j.status = 'open' THEN 'the event has changed' ELSE 'the incident is ' || j.status END
            WHEN 'expired' THEN 'too late to be of use'
            WHEN 'held' THEN CASE WHEN j.quiet IS NOT NULL THEN 'quiet hours of the person'
                ELSE format('throttle of %s: %s', n.channel, j.rule) END
            WHEN 'unreachable' THEN 'the contact method is gone or not usable'
            WHEN 'unknown' THEN 'the outcome of an attempt is unknown, and this kind is sent at most once' END
    FROM judged AS j
    WHERE n.id = j.id
    RETURNING n.id, n.fence, n.incident_id, n.user_id, n.contact_method_id, n.channel, n.mode, n.kind,
        n.gate, n.policy, n.body, n.attempts, n.due_at, n.useless_after, n.unsettled_since, j.verdict, j.wanted,
        n.idempotency_key, n.created_at, j.passes, j.person, j.address, j.title, j.incident_kind, j.starts_at,
        j.owner_id, j.time_zone, j.zone,
        coalesce(j.circuit, n.channel) AS circuit,
        CASE WHEN j.verdict IN ('send', 'settle') THEN nextval('attempt_id_seq') END AS attempt_id
), begun AS (
    INSERT INTO attempt (id, notification_id, number, circuit, daemon_id, fence, started_at, deadline_at)
    SELECT t.attempt_id, t.id, t.attempts, t.circuit, $1::bigint, t.fence, now(), now() + $5::bigint * interval '1 millisecond'
    FROM taken AS t
    WHERE t.attempt_id IS NOT NULL
), coming AS (
    (SELECT n.next_attempt_at AS at
    FROM notification AS n
    WHERE n.pending AND n.next_attempt_at > now()
    ORDER BY n.next_attempt_at
    LIMIT 1)
    UNION ALL
    -- Questions that are due are told by polls_due, and go on as others end.
    (SELECT n.poll_at
    FROM notification AS n
    WHERE n.poll_at > now()
    ORDER BY n.poll_at
    LIMIT 1)
), front AS (
    -- What a process holds that has died stays at the front, so that a look at it is enough.
    SELECT n.id, n.attempts, n.locked_by
    FROM notification AS n
    WHERE n.pending AND n.next_attempt_at <= now()
    ORDER BY n.next_attempt_at
    LIMIT 32
), broken AS MATERIALIZED (
    SELECT c.name, c.state, c.failures, coalesce(c.probe_by = $1::bigint, false) AS probe_ours,
        ceil(extract(epoch FROM coalesce(c.probe_until, c.open_until) - now()) * 1000)::bigint AS held_ms
    FROM circuit AS c
    WHERE c.state <> 'closed'
)
SELECT (SELECT ceil(extract(epoch FROM min(at) - now()) * 1000)::bigint
        FROM (SELECT at FROM coming UNION ALL SELECT held_until FROM judged WHERE verdict = 'held') AS c) AS next_in_ms,
    EXISTS (SELECT FROM notification AS n WHERE n.poll_at <= now()) AS polls_due,
    (SELECT ceil(extract(epoch FROM min(a.deadline_at) - now()) * 1000)::bigint
        FROM front AS f JOIN attempt AS a ON a.notification_id = f.id AND a.number = f.attempts
        WHERE f.locked_by <> $1::bigint) AS stale_in_ms,
    t.id, t.fence, t.verdict, t.wanted, t.passes, t.contact_method_id, t.incident_id, t.channel, t.circuit, t.mode, t.kind, t.gate, t.policy,
    t.body, t.attempts AS attempt, t.attempt_id, t.address, t.person, o.name AS owner,
    t.title, t.incident_kind, b.state AS circuit_state, b.failures AS circuit_failures,
    b.held_ms AS circuit_held_ms, b.probe_ours AS circuit_probe_ours,
    extract(epoch FROM t.starts_at - now())::bigint AS starts_in_s,
    to_char(t.starts_at AT TIME ZONE t.zone, CASE WHEN t.zone = t.time_zone THEN 'HH24:MI' ELSE 'HH24:MI "UTC"' END)
        AS starts_local,
    floor(extract(epoch FROM t.useless_after - now()))::bigint AS useful_s,
    floor(extract(epoch FROM now() - t.due_at) * 1000)::bigint AS lateness_ms,
    ceil(extract(epoch FROM now() - t.unsettled_since))::bigint AS unsettled_for_s,
    CASE WHEN t.verdict = 'settle' THEN (
        SELECT string_agg(a.provider_id, ' ') FROM notification AS n JOIN attempt AS a ON a.notification_id = n.id
        WHERE n.contact_method_id = t.contact_method_id AND a.provider_id IS NOT NULL
            AND n.due_at > t.unsettled_since - interval '1 day') END AS known_ids,
    t.idempotency_key || ':' || extract(epoch FROM t.created_at) AS message_key,
    -- The first message of this incident to the same address: what follows goes into its thread.
    CASE WHEN t.channel IN ('slack', 'email') THEN (
        SELECT n.provider_id FROM notification AS n JOIN contact_method AS k ON k.id = n.contact_method_id
        WHERE n.incident_id = t.incident_id AND n.channel = t.channel AND k.address = t.address
            AND n.provider_id IS NOT NULL AND n.id <> t.id
        ORDER BY n.sent_at, n.id LIMIT 1) END AS thread_id,
    CASE WHEN t.verdict IN ('unreachable', 'unknown') THEN notification_fail_over(t.id) END AS successor
FROM (SELECT) AS always
LEFT JOIN taken AS t ON true
LEFT JOIN users AS o ON o.id = t.owner_id
LEFT JOIN broken AS b ON b.name = t.circuit
