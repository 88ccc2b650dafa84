-- A process starts: its row, whose id stands in every lock that it takes.
INSERT INTO daemon (executable, host, pid, version, flags)
VALUES ($1, $2, $3::int, $4, $5::jsonb)
RETURNING id
