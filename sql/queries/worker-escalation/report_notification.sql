-- What the provider said of notification $1: $2 the report, $3 the failure as JSON, $4 whether the
-- contact itself is dead, $5 whether an answered call is made again. Answers the state that it has
-- now, and what follows a failure.
SELECT r.state, r.successor
FROM notification_report($1::bigint, $2::text, $3::jsonb, $4::boolean, $5::boolean) AS r
