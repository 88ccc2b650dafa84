-- Lets the ladders of incidents go on whose acknowledgement has expired, and returns them.
SELECT r.id FROM incident_resume() AS r (id)
