-- Whether all is well: one row a check. It is the one source for the probe, for the gateway and
-- for the system's own alert.
--
--     SELECT * FROM health WHERE NOT ok;
DROP VIEW IF EXISTS health;
CREATE VIEW health AS
WITH RECURSIVE queue AS (
    (SELECT r.queue FROM job_run AS r ORDER BY r.queue LIMIT 1)
    UNION ALL
    SELECT (SELECT r.queue FROM job_run AS r WHERE r.queue > q.queue ORDER BY r.queue LIMIT 1)
    FROM queue AS q WHERE q.queue IS NOT NULL
), head AS MATERIALIZED (
    -- Claims take the oldest of each priority first: what is overdue or held stands among the first. A
    -- look costs the same however many runs wait behind them.
    SELECT r.id, r.queue, r.run_at, r.locked_at, r.locked_by, r.waits_for
    FROM queue AS q CROSS JOIN generate_series(0, 9) AS p (priority)
    CROSS JOIN LATERAL (
        SELECT r.id, r.queue, r.run_at, r.locked_at, r.locked_by, r.waits_for
        FROM job_run AS r
        WHERE r.queue = q.queue AND r.priority = p.priority AND r.run_at <= now()
        ORDER BY r.run_at, r.id
        LIMIT 10000) AS r
), process AS (
    SELECT d.id, d.executable, d.host, d.pid, d.started_at, d.heartbeat_at, d.stopped_at, d.flags,
        d.stopped_at IS NULL AND d.heartbeat_at > now() - interval '5 minutes' AS alive
    FROM daemon AS d
    WHERE NOT d.superseded
), silent AS (
    -- A process that was killed and started again on its host is no fault any more.
    SELECT format('%s on %s (pid %s), last heard of %s', p.executable, p.host, p.pid,
        to_char(p.heartbeat_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')) AS item
    FROM process AS p
    WHERE p.stopped_at IS NULL AND NOT p.alive AND NOT EXISTS (
        SELECT FROM process AS q
        WHERE q.alive AND q.executable = p.executable AND q.host = p.host
            AND q.started_at > p.heartbeat_at)
), overdue_schedule AS (
    SELECT s.key AS item
    FROM job_schedule AS s
    WHERE s.enabled AND s.next_run_at < now() - interval '2 minutes'
), schedule_without_next_run AS (
    -- For a moment after it was enabled a schedule has none yet.
    SELECT s.key AS item
    FROM job_schedule AS s
    WHERE s.enabled AND s.next_run_at IS NULL
        AND NOT (s.awaits_next AND s.accounted_until > now() - interval '1 minute')
), schedule_fault AS (
    SELECT format('%s: %s', s.key, s.fault) AS item
    FROM job_schedule AS s
    WHERE s.enabled AND s.fault IS NOT NULL
), overdue_run AS (
    SELECT r.queue || ' run ' || r.id AS item
    FROM head AS r
    WHERE r.run_at < now() - interval '5 minutes' AND r.locked_at IS NULL AND r.waits_for = 0
), sender AS (
    -- Those that live, else the one that lived last: a gate that it had off is off on purpose.
    SELECT p.flags FROM process AS p
    WHERE p.executable = 'worker-escalation' AND p.alive
    UNION ALL
    (SELECT p.flags FROM process AS p
    WHERE p.executable = 'worker-escalation' AND NOT EXISTS (
        SELECT FROM process AS q WHERE q.executable = 'worker-escalation' AND q.alive)
    ORDER BY p.started_at DESC LIMIT 1)
), gate AS (
    SELECT g.name
    FROM unnest('{alerts,checkin,escalation}'::text[]) AS g (name)
    WHERE NOT EXISTS (SELECT FROM feature_flag AS f WHERE f.name = g.name AND NOT f.enabled)
        AND (NOT EXISTS (SELECT FROM sender)
            OR EXISTS (SELECT FROM sender AS s WHERE (s.flags ->> g.name)::boolean))
), overdue_notification AS (
    SELECT format('%s %s', n.kind, n.id) AS item
    FROM notification AS n JOIN gate AS g ON g.name = n.gate
    WHERE n.pending AND n.next_attempt_at < now() - interval '2 minutes'
), stale_lock AS (
    SELECT held.item
    FROM (
        SELECT 'job_run ' || r.id, r.locked_by, r.locked_at FROM head AS r WHERE r.locked_at IS NOT NULL
        UNION ALL
        SELECT 'notification ' || n.id, n.locked_by, n.locked_at
        FROM notification AS n WHERE n.pending AND n.locked_at IS NOT NULL
        UNION ALL
        SELECT 'calendar_credentials ' || c.id, c.locked_by, c.locked_at
        FROM calendar_credentials AS c WHERE c.locked_at IS NOT NULL
        UNION ALL
        SELECT 'job_schedule ' || s.key, s.locked_by, s.locked_at
        FROM job_schedule AS s WHERE s.locked_at IS NOT NULL) AS held (item, locked_by, locked_at)
    WHERE held.locked_at < now() - interval '5 minutes' AND NOT EXISTS (
        SELECT FROM process AS p WHERE p.id = held.locked_by AND p.alive)
), open_circuit AS (
    SELECT format('%s (%s since %s)', c.name, c.state,
        to_char(c.opened_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')) AS item
    FROM circuit AS c
    WHERE c.state <> 'closed'
), quarantined_run AS (
    SELECT format('%s %s: %s', q.handler, q.id, q.reason) AS item FROM job_run_quarantine AS q
), dead_credential AS (
    SELECT format('%s of user %s', c.provider, c.user_id) AS item
    FROM calendar_credentials AS c
    WHERE c.dead_at IS NOT NULL AND c.revoked_at IS NULL
), missing_partition AS (
    SELECT wanted.name AS item
    FROM (
        SELECT 'job_run_done_' || to_char((now() AT TIME ZONE 'UTC') + n * interval '1 day', 'YYYYMMDD')
        FROM generate_series(0, 1) AS n) AS wanted (name)
    WHERE to_regclass(wanted.name) IS NULL
), fault (check_name, item) AS (
    SELECT 'heartbeat', item FROM silent
    UNION ALL SELECT 'schedule_overdue', item FROM overdue_schedule
    UNION ALL SELECT 'schedule_next_run', item FROM schedule_without_next_run
    UNION ALL SELECT 'schedule_definition', item FROM schedule_fault
    UNION ALL SELECT 'run_overdue', item FROM overdue_run
    UNION ALL SELECT 'notification_overdue', item FROM overdue_notification
    UNION ALL SELECT 'stale_lock', item FROM stale_lock
    UNION ALL SELECT 'circuit_open', item FROM open_circuit
    UNION ALL SELECT 'run_quarantined', item FROM quarantined_run
    UNION ALL SELECT 'credential_dead', item FROM dead_credential
    UNION ALL SELECT 'partition_missing', item FROM missing_partition
), meaning (nth, check_name, wrong, fine) AS (
    VALUES (1, 'heartbeat', 'no heartbeat for 5 minutes', 'every process is heard of'),
        (2, 'schedule_overdue', 'overdue by 2 minutes', 'no schedule is overdue'),
        (3, 'schedule_next_run', 'enabled without next_run_at', 'every enabled schedule has next_run_at'),
        (4, 'schedule_definition', 'unusable definition', 'every enabled schedule can be used'),
        (5, 'run_overdue', 'claimable for 5 minutes', 'no run waits'),
        (6, 'notification_overdue', 'overdue by 2 minutes', 'no notification is overdue'),
        (7, 'stale_lock', 'lock of a dead process', 'no lock is stale'),
        (8, 'circuit_open', 'not closed', 'every circuit is closed'),
        (9, 'run_quarantined', 'in quarantine', 'quarantine is empty'),
        (10, 'credential_dead', 'a person has to consent again', 'no credential is dead'),
        (11, 'partition_missing', 'missing: worker-cleanup makes them ahead',
            'partitions of today and tomorrow are there')
)
SELECT m.check_name AS "check", count(f.item) = 0 AS ok,
    CASE count(f.item)
        WHEN 0 THEN m.fine
        ELSE format('%s: %s%s', m.wrong, array_to_string((array_agg(f.item ORDER BY f.item))[1:5], ', '),
            CASE WHEN count(f.item) > 5 THEN format(' and %s more', count(f.item) - 5) END)
    END AS detail
FROM meaning AS m LEFT JOIN fault AS f USING (check_name)
GROUP BY m.nth, m.check_name, m.wrong, m.fine
ORDER BY m.nth;

COMMENT ON VIEW health IS 'Whether all is well: one row a check';
GRANT SELECT ON health TO tocsin_probe, tocsin_gateway, tocsin_worker_escalation;
