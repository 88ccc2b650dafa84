-- Key $3 was pressed in the call of attempt $1, which Twilio calls $2; $4 as in hear_status.
SELECT h.outcome, h.say FROM hear_digit($1::bigint, $2, $3, $4) AS h
