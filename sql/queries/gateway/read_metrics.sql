-- Every sample of the views metrics and health, those of one name together: the text of a Prometheus
-- exposition names each metric once. `family` is the name without what a histogram adds.
SELECT m.name, CASE m.kind WHEN 'histogram' THEN regexp_replace(m.name, '_(bucket|sum|count)$', '') ELSE m.name END AS family,
    m.kind, m.help, m.labels::text AS labels, m.value
FROM (
    SELECT v.nth, v.name, v.kind, v.help, v.labels, v.value FROM metrics AS v
    UNION ALL
    SELECT 2, 'tocsin_health', 'gauge', 'Whether a check of the view health is well.',
        jsonb_build_object('check', h."check"), h.ok::int
    FROM health AS h) AS m
WHERE m.value IS NOT NULL
ORDER BY m.nth, 2, m.labels - 'le', m.name, (m.labels ->> 'le')::float8
