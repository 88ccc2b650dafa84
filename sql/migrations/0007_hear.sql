-- Hear: what providers say of what was sent, and what people answer. The gateway calls these functions
-- and writes nothing else.

-- Everything that was heard of something we know, in the order in which it came.
CREATE TABLE heard (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('status', 'digit', 'reply', 'link')),
    attempt_id bigint,
    notification_id bigint REFERENCES notification ON DELETE CASCADE,
    incident_id bigint REFERENCES incident ON DELETE CASCADE,
    contact_method_id bigint REFERENCES contact_method ON DELETE CASCADE,
    said text NOT NULL CHECK (length(said) <= 200),
    outcome text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX heard_notification ON heard (notification_id) WHERE notification_id IS NOT NULL;
CREATE INDEX heard_incident ON heard (incident_id) WHERE incident_id IS NOT NULL;
CREATE INDEX heard_contact ON heard (contact_method_id, at) WHERE kind = 'reply';
CREATE INDEX heard_age ON heard (at);

-- The numbers by which a person answers from a phone that several incidents were sent to.
CREATE TABLE reply_number (
    contact_method_id bigint NOT NULL REFERENCES contact_method ON DELETE CASCADE,
    number int NOT NULL CHECK (number > 0),
    incident_id bigint NOT NULL REFERENCES incident ON DELETE CASCADE,
    bound_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (contact_method_id, number)
);

-- Whether this event is new: providers send some of them twice.
CREATE FUNCTION hear_once(provider_name text, event_key text) RETURNS boolean
LANGUAGE sql AS $$
    WITH new AS (
        INSERT INTO processed_webhook_events (provider, event_id) VALUES (provider_name, event_key)
        ON CONFLICT DO NOTHING RETURNING 1
    )
    SELECT EXISTS (SELECT FROM new)
$$;

-- The provider has taken what this attempt sent, whatever its process knows: completes the attempt, and
-- settles a notification that was still on its way. Its row is locked until the end of the transaction;
-- a process that comes late with the same row finds its claim lost, or the same outcome there already.
-- The notification's id, NULL where the attempt is not known or has another id of the provider.
CREATE FUNCTION hear_settle(of_attempt bigint, sid text, OUT notification bigint, OUT settled boolean)
LANGUAGE plpgsql AS $$
DECLARE
    it notification;
    tried attempt;
BEGIN
    settled := false;
    SELECT n.* INTO it FROM notification AS n
    WHERE n.id = (SELECT a.notification_id FROM attempt AS a WHERE a.id = of_attempt) FOR UPDATE;
    SELECT a.* INTO tried FROM attempt AS a WHERE a.id = of_attempt FOR UPDATE;
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

-- A status callback of an attempt: `report` as notification_report() takes it. In any order, late, twice:
-- states move up only. 'moved', 'known' (nothing new), 'repeated', 'unknown' (no such attempt, or it is
-- the provider's other).
CREATE FUNCTION hear_status(of_attempt bigint, sid text, report text, reported_failure jsonb,
    contact_dead boolean, event_key text, OUT result text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_catalog, pg_temp AS $$
DECLARE
    known record;
    before notification;
    after text;
BEGIN
    IF NOT hear_once('twilio', event_key) THEN
        result := 'repeated';
        RETURN;
    END IF;
    SELECT s.notification, s.settled INTO known FROM hear_settle(of_attempt, sid) AS s;
    IF known.notification IS NULL THEN
        result := 'unknown';
        RETURN;
    END IF;
    SELECT n.* INTO before FROM notification AS n WHERE n.id = known.notification;
    IF before.provider_id = sid THEN
        SELECT r.state INTO after FROM notification_report(before.id, report, reported_failure, contact_dead, true) AS r;
    END IF;
    result := CASE WHEN known.settled OR after <> before.state THEN 'moved' ELSE 'known' END;
    INSERT INTO heard (kind, attempt_id, notification_id, incident_id, contact_method_id, said, outcome)
    VALUES ('status', of_attempt, before.id, before.incident_id, before.contact_method_id,
        left(concat_ws(', ', report, reported_failure ->> 'detail', sid), 200), result);
    IF result = 'moved' THEN
        PERFORM pg_notify('tocsin_worker-escalation', '');
    END IF;
END
$$;

-- Acknowledges an incident for somebody who answers a message made at `as_of`: 'acknowledged' (also when
-- it was before), 'stale' (it has climbed since), 'over', 'unknown'. Without `does` it tells what would
-- come of it: 'open' where it would be acknowledged.
CREATE FUNCTION hear_acknowledge(of_incident bigint, who text, as_of timestamptz, does boolean) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    it incident;
BEGIN
    SELECT i.* INTO it FROM incident AS i WHERE i.id = of_incident FOR NO KEY UPDATE;
    IF NOT FOUND THEN
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

-- What a phone says, or a message answers, to an outcome.
CREATE FUNCTION hear_words(outcome text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE outcome
        WHEN 'acknowledged' THEN 'Acknowledged. Nobody else is called.'
        WHEN 'escalated' THEN 'Others are asked now.'
        WHEN 'nobody' THEN 'There is nobody left to ask.'
        WHEN 'stale' THEN 'Too late: others have been asked since then.'
        WHEN 'over' THEN 'This is over. There is nothing to do any more.' END
$$;

-- A key pressed in a call: 1 acknowledges for the person who was called, 2 escalates now, 3 says it
-- again; any other asks again. 'acknowledged', 'escalated', 'nobody' (is left to ask), 'repeat', 'again', 'stale', 'over',
-- 'unknown'; `say` is what the phone says to it, with 3 what the call is about.
CREATE FUNCTION hear_digit(of_attempt bigint, sid text, digit text, event_key text,
    OUT outcome text, OUT say text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_catalog, pg_temp AS $$
DECLARE
    known record;
    it record;
    told text := '';
BEGIN
    SELECT s.notification INTO known FROM hear_settle(of_attempt, sid) AS s;
    IF known.notification IS NULL THEN
        outcome := 'unknown';
        RETURN;
    END IF;
    SELECT n.id, n.incident_id, n.contact_method_id, u.name AS person, i.title, i.status, a.started_at INTO it
    FROM notification AS n JOIN users AS u ON u.id = n.user_id JOIN attempt AS a ON a.id = of_attempt
    LEFT JOIN incident AS i ON i.id = n.incident_id
    WHERE n.id = known.notification;
    IF it.incident_id IS NULL THEN
        outcome := 'over';
    ELSIF digit = '1' THEN
        outcome := hear_acknowledge(it.incident_id, it.person, it.started_at, true);
    ELSIF digit = '2' AND it.status IN ('open', 'acknowledged') THEN
        IF hear_once('twilio', event_key) THEN
            told := incident_escalate(it.incident_id, it.person, true);
        END IF;
        outcome := CASE WHEN told LIKE 'refused:%' THEN 'nobody' ELSE 'escalated' END;
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

-- The incidents that are open and of which a phone was told, with their numbers: those that it has, and
-- for the others the smallest that are free.
CREATE FUNCTION reply_numbers(contact bigint) RETURNS SETOF reply_number
LANGUAGE plpgsql AS $$
DECLARE
    open_incident bigint;
BEGIN
    DELETE FROM reply_number AS b
    WHERE b.contact_method_id = contact AND (b.bound_at < now() - interval '24 hours'
        OR NOT EXISTS (SELECT FROM incident AS i WHERE i.id = b.incident_id AND i.status = 'open'));
    FOR open_incident IN
        SELECT i.id FROM incident AS i
        WHERE i.status = 'open'
            AND EXISTS (SELECT FROM notification AS n
                WHERE n.incident_id = i.id AND n.contact_method_id = contact AND n.state IN ('accepted', 'delivered', 'confirmed', 'bundled'))
            AND NOT EXISTS (SELECT FROM reply_number AS b
                WHERE b.contact_method_id = contact AND b.incident_id = i.id)
        ORDER BY i.starts_at, i.id
    LOOP
        INSERT INTO reply_number (contact_method_id, number, incident_id)
        SELECT contact, min(k.number), open_incident
        FROM generate_series(1, 1 + (SELECT count(*)::int FROM reply_number AS b WHERE b.contact_method_id = contact)) AS k (number)
        WHERE NOT EXISTS (SELECT FROM reply_number AS b WHERE b.contact_method_id = contact AND b.number = k.number);
    END LOOP;
    RETURN QUERY SELECT b.* FROM reply_number AS b WHERE b.contact_method_id = contact ORDER BY b.number;
END
$$;

-- A message from a phone. STOP and START are the provider's words too: it answers them itself. A code
-- verifies; "ack" takes the one incident that is open, a number the one that it stands for; with
-- several open, "ack" is answered by their list. Strangers are never answered, and nobody gets more
-- than five answers an hour that do nothing. `say` is the answer, NULL for none.
CREATE FUNCTION hear_reply(from_channel text, from_address text, said text, event_key text,
    OUT outcome text, OUT say text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_catalog, pg_temp AS $$
DECLARE
    contact record;
    word text := lower(btrim(said, E' \t\r\n.!'));
    kept text := left(said, 200);
    wanted int := substring(word FROM '^(?:ack(?:nowledge)? *)?([0-9]{1,4})(?: *ack)?$')::int;
    taken bigint;
    open_count int;
BEGIN
    SELECT c.id, u.name AS person, u.time_zone INTO contact
    FROM contact_method AS c JOIN users AS u ON u.id = c.user_id
    WHERE c.channel = from_channel AND c.address = from_address
    ORDER BY EXISTS (SELECT FROM notification AS n JOIN incident AS i ON i.id = n.incident_id
            WHERE n.contact_method_id = c.id AND i.status = 'open') DESC, c.id
    LIMIT 1 FOR NO KEY UPDATE OF c;
    IF NOT FOUND THEN
        outcome := 'unknown';
        RETURN;
    ELSIF NOT hear_once('twilio', event_key) THEN
        outcome := 'repeated';
        RETURN;
    END IF;
    outcome := contact_heard(from_channel, from_address, said);
    IF outcome IS NULL AND word ~ '^([0-9] *){6}$'
        AND EXISTS (SELECT FROM contact_verification AS v WHERE v.contact_method_id = contact.id) THEN
        kept := 'a code';
        outcome := contact_method_verify(contact.id, word);
        say := CASE outcome WHEN 'verified' THEN 'Thank you: this number is verified.'
            ELSE format('That did not verify this number: %s.', outcome) END;
    ELSIF outcome IS NULL THEN
        SELECT count(*), min(b.incident_id) FILTER (WHERE b.number = wanted) INTO open_count, taken
        FROM reply_numbers(contact.id) AS b;
        IF taken IS NULL AND open_count = 1 AND word IN ('ack', 'ok', 'acknowledge') THEN
            SELECT b.incident_id INTO taken FROM reply_number AS b WHERE b.contact_method_id = contact.id;
        END IF;
        IF taken IS NOT NULL THEN
            outcome := hear_acknowledge(taken, contact.person, (
                SELECT max(coalesce(n.sent_at, n.due_at)) FROM notification AS n
                WHERE n.incident_id = taken AND n.contact_method_id = contact.id), true);
            say := hear_words(outcome);
        ELSIF (SELECT count(*) FROM heard AS h
            WHERE h.kind = 'reply' AND h.contact_method_id = contact.id AND h.at > now() - interval '1 hour'
                AND h.outcome IN ('listed', 'help', 'nothing')) >= 5 THEN
            outcome := 'silent';
        ELSIF open_count = 0 THEN
            outcome := 'nothing';
            say := 'Nothing is open. STOP ends these messages.';
        ELSIF open_count > 1 THEN
            outcome := 'listed';
            SELECT string_agg(format('%s %s (%s)', b.number, left(i.title, 60),
                    local_time_text(i.starts_at, contact.time_zone)), ', ' ORDER BY b.number)
                || '. Answer with a number to acknowledge.' INTO say
            FROM reply_number AS b JOIN incident AS i ON i.id = b.incident_id
            WHERE b.contact_method_id = contact.id;
        ELSE
            outcome := 'help';
            say := 'Answer ACK to acknowledge. STOP ends these messages.';
        END IF;
    END IF;
    INSERT INTO heard (kind, incident_id, contact_method_id, said, outcome)
    VALUES ('reply', taken, contact.id, kept, outcome);
END
$$;

-- The link of a message: what it is about and what has become of it, and with `presses` the button that
-- acknowledges. 'open', 'acknowledged', 'stale', 'over', 'unknown'.
CREATE FUNCTION hear_link(of_notification bigint, presses boolean,
    OUT outcome text, OUT title text, OUT starts_local text, OUT person text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_catalog, pg_temp AS $$
DECLARE
    it record;
BEGIN
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
    starts_local := to_char(it.starts_at AT TIME ZONE it.time_zone, 'Dy DD Mon, HH24:MI') || ' ' || it.time_zone;
    IF presses THEN
        UPDATE notification AS n SET state = 'confirmed', poll_at = NULL, reason = 'answered by its link'
        WHERE n.id = it.id AND n.state IN ('accepted', 'delivered') AND outcome = 'acknowledged';
        INSERT INTO heard (kind, notification_id, incident_id, contact_method_id, said, outcome)
        VALUES ('link', it.id, it.incident_id, it.contact_method_id, 'the button', outcome);
    END IF;
END
$$;

CREATE FUNCTION forget_heard(age interval, batch int) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
SET search_path = public, pg_catalog, pg_temp AS $$
    WITH gone AS (
        DELETE FROM public.heard WHERE id = ANY (ARRAY(
            SELECT h.id FROM public.heard AS h
            WHERE h.at < public.forget_before(age)
            ORDER BY h.at LIMIT least(batch, 1000) FOR UPDATE SKIP LOCKED))
        RETURNING 1)
    SELECT count(*) FROM gone
$$;

REVOKE ALL ON FUNCTION hear_once(text, text), hear_settle(bigint, text), hear_acknowledge(bigint, text, timestamptz, boolean),
    reply_numbers(bigint), hear_status(bigint, text, text, jsonb, boolean, text), hear_digit(bigint, text, text, text),
    hear_reply(text, text, text, text), hear_link(bigint, boolean), forget_heard(interval, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hear_status(bigint, text, text, jsonb, boolean, text), hear_digit(bigint, text, text, text),
    hear_reply(text, text, text, text), hear_link(bigint, boolean) TO tocsin_gateway;
-- The heartbeat of every process tells when the next run of its queue falls due.
GRANT SELECT (queue, priority, run_at, locked_at, waits_for) ON job_run TO tocsin_gateway;
GRANT EXECUTE ON FUNCTION forget_heard(interval, int) TO tocsin_worker_cleanup;
