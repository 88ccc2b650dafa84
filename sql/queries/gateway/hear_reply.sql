-- Through channel $1 came from address $2 the text $3; $4 as in hear_status.
SELECT h.outcome, h.say FROM hear_reply($1, $2, $3, $4) AS h
