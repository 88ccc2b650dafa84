-- One call of an http job in the delivery log. Parameters: run, address without its query, attempt,
-- status (0: none), milliseconds, failure as JSON.
INSERT INTO webhook_delivery_log (job_run_id, url, attempt, http_status, elapsed_ms, failure)
VALUES ($1, $2, $3, nullif($4::int, 0), $5, $6::jsonb)
