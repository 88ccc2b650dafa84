-- Deletes at most $2 rows of notification_transition that are older than $1 ms, and tells how
-- many went. Rows that somebody works on are passed over.
SELECT forget_transitions($1::bigint * interval '1 ms', $2::int) AS gone
