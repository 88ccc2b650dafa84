-- Hear, mended: rows are locked so that nobody waits for the gateway while it waits for them, and what is
-- answered to the message that climbed last is never too late.

-- Takes a notification and its incident for the rest of the transaction. Whoever sends has the notification
-- first (a claim, a finish, a report), whoever acknowledges, escalates or plans has the incident first: this
-- waits for the one with nothing in hand and takes the other only where it is free, else the other way
-- round, so that it closes no circle with either.
CREATE FUNCTION hear_hold(of_notification bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    of_incident bigint := (SELECT n.incident_id FROM notification AS n WHERE n.id = of_notification);
    incident_first boolean := false;
    has_one boolean;
BEGIN
    LOOP
        BEGIN
            has_one := false;
            IF incident_first THEN
                PERFORM FROM incident AS i WHERE i.id = of_incident FOR NO KEY UPDATE;
                has_one := true;
                PERFORM FROM notification AS n WHERE n.id = of_notification FOR NO KEY UPDATE NOWAIT;
            ELSE
                PERFORM FROM notification AS n WHERE n.id = of_notification FOR NO KEY UPDATE;
                has_one := true;
                PERFORM FROM incident AS i WHERE i.id = of_incident FOR NO KEY UPDATE NOWAIT;
            END IF;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            IF NOT has_one THEN
                RAISE; -- lock_timeout
            END IF;
            incident_first := NOT incident_first; -- what it had is free again
        END;
    END LOOP;
END
$$;

-- As before; the notification's row and its incident's are held until the end of the transaction.
CREATE OR REPLACE FUNCTION hear_settle(of_attempt bigint, sid text, OUT notification bigint, OUT settled boolean)
LANGUAGE plpgsql AS $$
DECLARE
    it notification;
    tried attempt;
BEGIN
    settled := false;
    PERFORM hear_hold((SELECT a.notification_id FROM attempt AS a WHERE a.id = of_attempt));
    SELECT a.* INTO tried FROM attempt AS a WHERE a.id = of_attempt FOR NO KEY UPDATE;
    SELECT n.* INTO it FROM notification AS n WHERE n.id = tried.notification_id;
    IF it.id IS NULL OR tried.provider_id <> sid THEN
        RETURN;
    END IF;
    notification := it.id;
    IF tried.outcome IS DISTINCT FROM 'accepted' THEN
        UPDATE attempt AS a
        SET finished_at = coalesce(a.finished_at, now()), outcome = 'accepted', provider_id = sid
        WHERE a.id = of_attempt;
    END IF;
    IF it.state <> 'sending' THEN
        RETURN;
    END IF;
    settled := true;
    UPDATE notification AS n
    SET state = 'accepted', pending = false, locked_at = NULL, locked_by = NULL, fence = NULL,
        unsettled_since = NULL, provider_id = sid, sent_at = now(), poll_at = now() + interval '1 minute',
        failure = NULL, reason = 'a callback of the provider told that it has it'
    WHERE n.id = it.id;
    UPDATE incident AS i
    SET climbed_at = now(), climbed_position = r.position
    FROM ladder_rung AS r
    WHERE i.id = it.incident_id AND it.gate = 'escalation' AND r.id = it.rung_id
        AND coalesce(i.climbed_position, -1) < r.position;
END
$$;

-- As before; only looking locks nothing, so that whoever opens a link never waits.
CREATE OR REPLACE FUNCTION hear_acknowledge(of_incident bigint, who text, as_of timestamptz, does boolean) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    it incident;
BEGIN
    IF does THEN
        SELECT i.* INTO it FROM incident AS i WHERE i.id = of_incident FOR NO KEY UPDATE;
    ELSE
        SELECT i.* INTO it FROM incident AS i WHERE i.id = of_incident;
    END IF;
    IF it.id IS NULL THEN
        RETURN 'unknown';
    ELSIF it.status = 'acknowledged' THEN
        RETURN 'acknowledged';
    ELSIF it.status <> 'open' THEN
        RETURN 'over';
    ELSIF as_of < it.climbed_at THEN
        RETURN 'stale';
    ELSIF NOT does THEN
        RETURN 'open';
    END IF;
    PERFORM incident_acknowledge(it.id, who, as_of);
    RETURN 'acknowledged';
END
$$;

-- As before, and:
-- - A key answers a call as of when the provider took it. The call that climbs is what moves climbed_at, so
--   as of its attempt's begin everybody who was called by it would be too late.
-- - A key that comes twice is answered as it was the first time.
CREATE OR REPLACE FUNCTION hear_digit(of_attempt bigint, sid text, digit text, event_key text,
    OUT outcome text, OUT say text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_catalog, pg_temp AS $$
DECLARE
    known record;
    it record;
BEGIN
    SELECT s.notification INTO known FROM hear_settle(of_attempt, sid) AS s;
    IF known.notification IS NULL THEN
        outcome := 'unknown';
        RETURN;
    END IF;
    SELECT n.id, n.incident_id, n.contact_method_id, u.name AS person, i.title, i.status,
        coalesce(n.sent_at, a.started_at) AS made_at
    INTO it
    FROM notification AS n JOIN users AS u ON u.id = n.user_id JOIN attempt AS a ON a.id = of_attempt
    LEFT JOIN incident AS i ON i.id = n.incident_id
    WHERE n.id = known.notification;
    IF it.incident_id IS NULL THEN
        outcome := 'over';
    ELSIF digit = '1' THEN
        outcome := hear_acknowledge(it.incident_id, it.person, it.made_at, true);
    ELSIF digit = '2' AND it.status IN ('open', 'acknowledged') THEN
        IF hear_once('twilio', event_key) THEN
            outcome := CASE WHEN incident_escalate(it.incident_id, it.person, true) LIKE 'refused:%'
                THEN 'nobody' ELSE 'escalated' END;
        ELSE
            SELECT h.outcome INTO outcome FROM heard AS h
            WHERE h.notification_id = it.id AND h.kind = 'digit' AND h.outcome IN ('nobody', 'escalated')
            ORDER BY h.id DESC LIMIT 1;
            outcome := coalesce(outcome, 'escalated');
        END IF;
    ELSIF digit = '2' THEN
        outcome := 'over';
    ELSIF digit = '3' THEN
        outcome := 'repeat';
        say := it.title;
    ELSE
        outcome := 'again';
    END IF;
    say := coalesce(say, hear_words(outcome));
    IF outcome IN ('acknowledged', 'escalated') THEN
        UPDATE notification AS n SET state = 'confirmed', poll_at = NULL, reason = 'answered by key ' || digit
        WHERE n.id = it.id AND n.state IN ('accepted', 'delivered');
    END IF;
    INSERT INTO heard (kind, attempt_id, notification_id, incident_id, contact_method_id, said, outcome)
    VALUES ('digit', of_attempt, it.id, it.incident_id, it.contact_method_id, left('key ' || digit, 200), outcome);
END
$$;

-- As before; the button holds its notification and the incident before it changes either, and a zone that
-- nobody knows is told in UTC.
CREATE OR REPLACE FUNCTION hear_link(of_notification bigint, presses boolean,
    OUT outcome text, OUT title text, OUT starts_local text, OUT person text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_catalog, pg_temp AS $$
DECLARE
    it record;
    zone text;
BEGIN
    IF presses THEN
        PERFORM hear_hold(of_notification);
    END IF;
    SELECT n.id, n.incident_id, n.contact_method_id, coalesce(n.sent_at, n.due_at) AS made_at, u.name, u.time_zone,
        i.title, i.starts_at
    INTO it
    FROM notification AS n JOIN users AS u ON u.id = n.user_id JOIN incident AS i ON i.id = n.incident_id
    WHERE n.id = of_notification;
    IF NOT FOUND THEN
        outcome := 'unknown';
        RETURN;
    END IF;
    outcome := hear_acknowledge(it.incident_id, it.name, it.made_at, presses);
    title := it.title;
    person := it.name;
    zone := CASE WHEN zone_is_known(it.time_zone) THEN it.time_zone ELSE 'UTC' END;
    starts_local := to_char(it.starts_at AT TIME ZONE zone, 'Dy DD Mon, HH24:MI') || ' ' || zone;
    IF presses THEN
        UPDATE notification AS n SET state = 'confirmed', poll_at = NULL, reason = 'answered by its link'
        WHERE n.id = it.id AND n.state IN ('accepted', 'delivered') AND outcome = 'acknowledged';
        INSERT INTO heard (kind, notification_id, incident_id, contact_method_id, said, outcome)
        VALUES ('link', it.id, it.incident_id, it.contact_method_id, 'the button', outcome);
    END IF;
END
$$;

-- The gateway has one session: a row that somebody holds for long must not stand before all that is heard
-- of others. It tries again.
ALTER FUNCTION hear_status(bigint, text, text, jsonb, boolean, text) SET lock_timeout = '500ms';
ALTER FUNCTION hear_digit(bigint, text, text, text) SET lock_timeout = '500ms';
ALTER FUNCTION hear_link(bigint, boolean) SET lock_timeout = '500ms';

REVOKE ALL ON FUNCTION hear_hold(bigint) FROM PUBLIC;
