-- Step by step, what was due, who claimed it, what held it back, what came of it.
--
--     SELECT * FROM why('incident', 42);
--     SELECT * FROM why('schedule', 'calendar-sync');
--
-- Each kind has a function of its own, why_<kind>.
DROP FUNCTION IF EXISTS why(text, text);
CREATE FUNCTION why(kind text, key text)
RETURNS TABLE (at timestamptz, step text, detail text)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    CASE kind
    WHEN 'incident' THEN RETURN QUERY SELECT w.at, w.step, w.detail FROM why_incident(key::bigint) AS w;
    WHEN 'notification' THEN RETURN QUERY SELECT w.at, w.step, w.detail FROM why_notification(key::bigint) AS w;
    WHEN 'schedule' THEN RETURN QUERY SELECT w.at, w.step, w.detail FROM why_schedule(key) AS w;
    ELSE RAISE EXCEPTION 'why: "%" is not incident, notification or schedule', kind
        USING ERRCODE = 'invalid_parameter_value';
    END CASE;
END
$$;
DROP FUNCTION IF EXISTS why(text, bigint);
CREATE FUNCTION why(kind text, id bigint)
RETURNS TABLE (at timestamptz, step text, detail text)
LANGUAGE sql STABLE AS $$
    SELECT w.at, w.step, w.detail FROM why(kind, id::text) AS w
$$;
