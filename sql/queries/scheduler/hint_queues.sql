-- Wakes the workers of every queue that a job is on.
SELECT count(job_run_hint(q.queue)) AS queues
FROM (SELECT DISTINCT j.queue FROM job j WHERE j.retired_at IS NULL) AS q
