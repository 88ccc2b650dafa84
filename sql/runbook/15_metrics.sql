-- What Prometheus reads beside the view health: one row a sample. Counting is bounded, so that a look costs the same however
-- long a queue is.
--
--     SELECT name, labels, value FROM metrics;
DROP VIEW IF EXISTS metrics;
CREATE VIEW metrics AS
WITH process AS (
    SELECT d.metrics, jsonb_build_object('executable', d.executable, 'host', d.host, 'pid', d.pid::text) AS labels,
        d.heartbeat_at > now() - interval '5 minutes' AS alive
    FROM daemon AS d
    WHERE d.stopped_at IS NULL AND NOT d.superseded AND d.heartbeat_at > now() - interval '1 hour'
), lateness AS (
    SELECT p.labels || jsonb_build_object('kind', s.series ->> 'kind', 'channel', s.series ->> 'channel') AS labels,
        p.metrics #> '{lateness,bounds_ms}' AS bounds, s.series
    FROM process AS p, jsonb_array_elements(
        CASE jsonb_typeof(p.metrics #> '{lateness,series}') WHEN 'array' THEN p.metrics #> '{lateness,series}'
            ELSE '[]' END) AS s (series)
), queue AS (
    SELECT DISTINCT j.queue FROM job AS j WHERE j.retired_at IS NULL
), sample (nth, name, kind, help, labels, value) AS (
    SELECT 1, 'tocsin_up', 'gauge', 'Whether a process has been heard of within 5 minutes.', p.labels,
        p.alive::int::float8
    FROM process AS p
    UNION ALL
    SELECT 3, 'tocsin_queue_due_runs', 'gauge', 'Runs that are due and that nobody has claimed; 10000 and more are 10000.',
        jsonb_build_object('queue', q.queue), (
            SELECT count(*) FROM (
                SELECT FROM generate_series(0, 9) AS p (priority)
                CROSS JOIN LATERAL (
                    SELECT FROM job_run AS r
                    WHERE r.queue = q.queue AND r.priority = p.priority AND r.run_at <= now()
                        AND r.locked_at IS NULL AND r.waits_for = 0
                    ORDER BY r.run_at
                    LIMIT 10000) AS first
                LIMIT 10000) AS due)
    FROM queue AS q
    UNION ALL
    SELECT 4, 'tocsin_quarantined_runs', 'gauge', 'Runs that wait for somebody to decide.', '{}', count(*)
    FROM job_run_quarantine
    UNION ALL
    SELECT 5, 'tocsin_schedules_overdue', 'gauge', 'Enabled schedules whose slot passed over 2 minutes ago.', '{}', count(*)
    FROM job_schedule AS s WHERE s.enabled AND s.next_run_at < now() - interval '2 minutes'
    UNION ALL
    SELECT 6, 'tocsin_notifications_pending', 'gauge', 'Notifications that have not left.', jsonb_build_object('gate', n.gate),
        count(*)
    FROM notification AS n WHERE n.pending GROUP BY n.gate
    UNION ALL
    SELECT 7, 'tocsin_notifications_overdue', 'gauge', 'Notifications that should have left over 2 minutes ago.', '{}',
        count(*)
    FROM notification AS n WHERE n.pending AND n.next_attempt_at < now() - interval '2 minutes'
    UNION ALL
    SELECT 8, 'tocsin_incidents_open', 'gauge', 'Incidents that climb.', jsonb_build_object('kind', i.kind), count(*)
    FROM incident AS i WHERE i.status = 'open' GROUP BY i.kind
    UNION ALL
    SELECT 9, 'tocsin_circuit_open', 'gauge', 'Whether calls of a provider are held back.',
        jsonb_build_object('circuit', c.name), (c.state <> 'closed')::int
    FROM circuit AS c
    UNION ALL
    SELECT 10, 'tocsin_' || m.key, 'untyped', 'daemon.metrics of the process, from its start.', p.labels,
        (m.value #>> '{}')::float8
    FROM process AS p, jsonb_each(p.metrics) AS m
    WHERE jsonb_typeof(m.value) = 'number' AND m.key ~ '^[a-z][a-z0-9_]*$'
    UNION ALL
    SELECT 11, 'tocsin_lateness_ms_bucket', 'histogram', 'Sent after due, of each kind and channel, in milliseconds.',
        l.labels || jsonb_build_object('le', b.bound #>> '{}'), (l.series #>> ARRAY['buckets', (b.n - 1)::text])::float8
    FROM lateness AS l, jsonb_array_elements(l.bounds) WITH ORDINALITY AS b (bound, n)
    UNION ALL
    SELECT 11, 'tocsin_lateness_ms_bucket', 'histogram', 'Sent after due, of each kind and channel, in milliseconds.',
        l.labels || '{"le": "+Inf"}', (l.series ->> 'count')::float8
    FROM lateness AS l
    UNION ALL
    SELECT 11, 'tocsin_lateness_ms_sum', 'histogram', 'Sent after due, of each kind and channel, in milliseconds.',
        l.labels, (l.series ->> 'sum_ms')::float8
    FROM lateness AS l
    UNION ALL
    SELECT 11, 'tocsin_lateness_ms_count', 'histogram', 'Sent after due, of each kind and channel, in milliseconds.',
        l.labels, (l.series ->> 'count')::float8
    FROM lateness AS l
)
SELECT s.nth, s.name, s.kind, s.help, s.labels, s.value FROM sample AS s;
COMMENT ON VIEW metrics IS 'What Prometheus reads beside health: one row a sample';
GRANT SELECT ON metrics TO tocsin_gateway;
