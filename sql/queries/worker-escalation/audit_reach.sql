-- Finds what should have been sent or climbed $1 milliseconds ago and was not, records it, repairs
-- it once, and returns it, as long as it stands. $2: the gates that are on.
SELECT f.kind, f.incident_id, f.notification_id, f.detail, f.is_new
FROM reach_audit($1::bigint * interval '1 millisecond', $2::text[]) AS f
