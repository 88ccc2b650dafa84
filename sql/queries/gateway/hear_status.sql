-- What Twilio says of attempt $1: its id $2, the report $3, the failure $4, whether the contact is dead
-- ($5), and what makes this call the same one when it comes again ($6). May be sent twice.
SELECT h.result FROM hear_status($1::bigint, $2, $3, $4::jsonb, $5::boolean, $6) AS h (result)
