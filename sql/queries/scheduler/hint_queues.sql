-- Wakes the workers of every queue that a job is on.
SELECT count(pg_notify('tocsin_' || q.queue, '')) AS queues
FROM (SELECT DISTINCT j.queue FROM job j WHERE j.retired_at IS NULL) AS q
