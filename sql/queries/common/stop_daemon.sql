-- A clean stop of daemon $1 with its last metrics $2: whatever it still held may be rescued at once.
UPDATE daemon SET stopped_at = now(), heartbeat_at = now(), metrics = $2::jsonb WHERE id = $1
