-- The schema that the database has.
SELECT coalesce(max(version), 0) AS version FROM schema_migration
