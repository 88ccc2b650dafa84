-- A clean stop: whatever the process still held may be rescued at once.
UPDATE daemon SET stopped_at = now(), heartbeat_at = now() WHERE id = $1
