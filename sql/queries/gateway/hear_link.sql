-- The link of notification $1 was opened, or its button pressed ($2).
SELECT h.outcome, h.title, h.starts_local, h.person FROM hear_link($1::bigint, $2::boolean) AS h
