-- Deletes at most $2 rows of webhook_delivery_log that are older than $1 ms, and tells how
-- many went. Rows that somebody works on are passed over.
SELECT forget_webhook_deliveries($1::bigint * interval '1 ms', $2::int) AS gone
