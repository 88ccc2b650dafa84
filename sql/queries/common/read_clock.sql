-- The database's clock, for log lines and health of the connection.
SELECT now() AS now
