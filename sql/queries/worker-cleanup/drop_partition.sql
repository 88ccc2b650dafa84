-- Drops the oldest partition of job_run_done that ended $1 ms ago or earlier; NULL when there is
-- none.
SELECT job_run_done_drop($1::bigint * interval '1 ms') AS name
