-- Takes up to $1 accepted notifications of which the provider is to be asked what became of them.
-- Whoever took a row and dies leaves it to be asked again a minute later: asking twice harms nobody.
UPDATE notification AS n
SET poll_at = now() + interval '1 minute'
WHERE n.id = ANY(ARRAY(
    SELECT d.id
    FROM notification AS d
    WHERE d.poll_at <= now()
    ORDER BY d.poll_at
    LIMIT $1::int
    FOR UPDATE SKIP LOCKED))
RETURNING n.id, n.incident_id, n.channel, n.mode, n.kind, n.provider_id
