-- Makes the partitions of job_run_done for today and $1 days after it; one row for each new one.
SELECT name FROM job_run_done_extend($1::int) AS name
