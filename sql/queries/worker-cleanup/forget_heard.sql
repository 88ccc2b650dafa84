-- Deletes at most $2 rows of heard that are older than $1 ms, and tells how
-- many went. Rows that somebody works on are passed over.
SELECT forget_heard($1::bigint * interval '1 ms', $2::int) AS gone
