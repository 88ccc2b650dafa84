-- Moves claimed schedules on in one transaction: runs for the slots that fire, the ledger, the next
-- slot. What is no longer ours, or was switched or edited meanwhile, is left alone. Answers how many
-- moved on (`slots` of the row without a key), then one row a fired slot or skipped gap, for the log.
SELECT a.key, floor(extract(epoch FROM a.slot))::bigint AS slot_s,
    floor(extract(epoch FROM a.last_slot))::bigint AS last_slot_s, a.slots, a.runs, a.reason, a.skipped_runs
FROM schedule_advance($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) AS a
