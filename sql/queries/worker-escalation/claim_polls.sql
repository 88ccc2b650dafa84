-- Takes up to $1 accepted notifications of which the provider is to be asked what became of them.
-- Whoever took a row and dies leaves it to be asked again later: asking twice harms nobody. A provider
-- that does not answer is asked ever more seldom, and after a day no more.
UPDATE notification AS n
SET poll_at = CASE WHEN n.sent_at > now() - interval '1 day'
    THEN now() + greatest(interval '1 minute', (now() - n.sent_at) / 4) END
WHERE n.id = ANY(ARRAY(
    SELECT d.id
    FROM notification AS d
    WHERE d.poll_at <= now()
    ORDER BY d.poll_at
    LIMIT $1::int
    FOR UPDATE SKIP LOCKED))
RETURNING n.id, n.incident_id, n.channel, n.mode, n.kind, n.provider_id
