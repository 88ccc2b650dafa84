-- Reach, mended: what keeps a phone from ringing, or rings it for nothing.

-- As before; what left in the message of another one may still turn out not to have arrived.
CREATE OR REPLACE FUNCTION notification_rank(state text) RETURNS int
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE state WHEN 'scheduled' THEN 0 WHEN 'sending' THEN 1 WHEN 'accepted' THEN 2 WHEN 'bundled' THEN 2
        WHEN 'confirmed' THEN 4 ELSE 3 END
$$;

-- As before, and: a message that was not delivered fails everything that left in it, and each of that is
-- followed by what takes its place.
CREATE OR REPLACE FUNCTION notification_report(reported bigint, report text, reported_failure jsonb,
    contact_dead boolean, may_redial boolean, OUT state text, OUT successor text)
LANGUAGE plpgsql AS $$
DECLARE
    it notification;
    member bigint;
    follows text;
BEGIN
    SELECT n.* INTO it FROM notification AS n WHERE n.id = reported FOR UPDATE;
    IF NOT FOUND OR it.state <> 'accepted' THEN
        state := it.state;
        RETURN;
    END IF;
    IF report = 'waiting' THEN
        -- Some carriers never tell: after an hour nobody asks any more.
        UPDATE notification AS n
        SET poll_at = CASE WHEN n.sent_at > now() - interval '1 hour'
            THEN now() + greatest(interval '15 seconds', (now() - n.sent_at) / 2) END
        WHERE n.id = reported;
        state := it.state;
        RETURN;
    END IF;
    state := CASE WHEN report IN ('delivered', 'answered') THEN 'delivered' ELSE 'failed' END;
    UPDATE notification AS n
    SET state = notification_report.state, poll_at = NULL, failure = coalesce(reported_failure, n.failure),
        reason = coalesce(reported_failure ->> 'detail', report)
    WHERE n.id = reported;
    IF contact_dead THEN
        UPDATE contact_method AS c SET disabled_at = now(), disabled_reason = reported_failure ->> 'detail'
        WHERE c.id = it.contact_method_id AND c.disabled_at IS NULL;
    END IF;
    IF report = 'unanswered' OR (report = 'answered' AND may_redial) THEN
        IF notification_redial(reported) THEN
            successor := 'redial';
        END IF;
    END IF;
    IF state = 'failed' AND (successor IS NULL OR notification_next_contact(it.incident_id, it.rung_id,
        it.round, it.user_id, it.mode, it.revision) IS NOT NULL) THEN
        successor := coalesce(notification_fail_over(reported), successor);
    END IF;
    IF state <> 'failed' THEN
        RETURN;
    END IF;
    FOR member IN
        UPDATE notification AS n
        SET state = 'failed', failure = reported_failure,
            reason = 'it left in notification ' || reported || ': '
                || coalesce(reported_failure ->> 'detail', report)
        WHERE n.state = 'bundled' AND n.contact_method_id = it.contact_method_id AND n.id = ANY(ARRAY(
            SELECT a.notification_id FROM attempt AS a
            WHERE a.provider_id = it.provider_id AND a.outcome = 'bundled'))
        RETURNING n.id
    LOOP
        follows := notification_fail_over(member);
        successor := coalesce(successor, follows);
    END LOOP;
END
$$;

-- Whether the rung of a notification has already been tried for anybody: then it is a call made again, or
-- another contact of the same person.
CREATE FUNCTION notification_rung_is_begun(of_incident bigint, of_rung bigint, of_round int, of_revision int)
RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM notification AS n
        WHERE n.incident_id = of_incident AND n.rung_id = of_rung AND n.round = of_round
            AND n.revision = of_revision AND n.state NOT IN ('scheduled', 'cancelled'))
$$;

-- Brings a rung that has not begun forward to now; the rounds in which it comes again keep their distance.
-- Returns how many people are asked now.
CREATE FUNCTION incident_bring_forward(of_incident bigint, of_revision int, at_position int, why_now text)
RETURNS int LANGUAGE sql AS $$
    WITH ahead AS (
        SELECT n.id, n.due_at - min(n.due_at) OVER () AS later
        FROM notification AS n JOIN ladder_rung AS r ON r.id = n.rung_id
        WHERE n.incident_id = of_incident AND n.revision = of_revision AND r.position = at_position
            AND n.state = 'scheduled' AND n.due_at > now()
            AND NOT notification_rung_is_begun(n.incident_id, n.rung_id, n.round, n.revision)
    ), moved AS (
        UPDATE notification AS n
        SET due_at = now() + a.later, next_attempt_at = now() + a.later, reason = why_now
        FROM ahead AS a
        WHERE n.id = a.id AND n.state = 'scheduled'
        RETURNING n.due_at
    )
    SELECT count(*)::int FROM moved AS m WHERE m.due_at <= now()
$$;

-- As before, and:
-- - Of a rung that repeats only the first round comes at once, and what has begun is not taken for the next
--   rung.
-- - A notice or a greeting takes the person's next contact too, but not where it may have arrived.
-- - Where nothing is left, what failed only because its provider did is tried again after as long as a circuit
--   is open: 'again'. Of several contacts of a person it is the one that was not tried for longest.
CREATE OR REPLACE FUNCTION notification_fail_over(failed_id bigint) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    failed notification;
    at_position int;
BEGIN
    SELECT n.* INTO STRICT failed FROM notification AS n WHERE n.id = failed_id;
    IF failed.incident_id IS NULL THEN
        INSERT INTO notification (org_id, user_id, contact_method_id, channel, mode, kind, gate, policy, body,
            due_at, next_attempt_at, useless_after, idempotency_key)
        SELECT failed.org_id, failed.user_id, c.contact_method_id, c.channel, c.mode, failed.kind, failed.gate,
            failed.policy, failed.body, failed.due_at, now(), failed.useless_after,
            format('%s:c%s', failed.idempotency_key, c.contact_method_id)
        FROM contact_order(failed.user_id, failed.mode) AS c
        WHERE failed.useless_after > now() AND failed.kind <> 'contact_verification'
            AND NOT EXISTS (SELECT FROM attempt AS a
                WHERE a.notification_id = failed.id AND a.outcome IN ('ambiguous', 'lost'))
            AND NOT EXISTS (SELECT FROM notification AS n
                WHERE n.contact_method_id = c.contact_method_id AND n.incident_id IS NULL
                    AND starts_with(failed.idempotency_key, n.idempotency_key))
        ORDER BY c.ordinal
        LIMIT 1
        ON CONFLICT (idempotency_key) DO NOTHING;
        RETURN CASE WHEN FOUND THEN 'next_channel' END;
    END IF;
    PERFORM FROM incident AS i WHERE i.id = failed.incident_id AND i.status = 'open'
        AND i.revision = failed.revision FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO notification (org_id, incident_id, rung_id, round, user_id, contact_method_id, channel,
        mode, kind, gate, policy, revision, body, due_at, next_attempt_at, useless_after, idempotency_key)
    SELECT failed.org_id, failed.incident_id, failed.rung_id, failed.round, failed.user_id, c.id, c.channel,
        CASE WHEN failed.mode = ANY(c.modes) THEN failed.mode ELSE c.modes[1] END,
        failed.kind, failed.gate, failed.policy, failed.revision, failed.body,
        failed.due_at, now(), failed.useless_after,
        format('incident:%s:%s:%s:%s:%s:c%s', failed.incident_id, coalesce(failed.rung_id, 0),
            failed.round, failed.user_id, failed.revision, c.id)
    FROM contact_method AS c
    WHERE failed.useless_after > now() AND c.id = notification_next_contact(failed.incident_id,
        failed.rung_id, failed.round, failed.user_id, failed.mode, failed.revision)
    ON CONFLICT (idempotency_key) DO NOTHING;
    IF FOUND THEN
        RETURN 'next_channel';
    END IF;
    SELECT r.position INTO at_position FROM ladder_rung AS r WHERE r.id = failed.rung_id;
    IF NOT EXISTS (
        SELECT FROM notification AS n
        WHERE n.incident_id = failed.incident_id AND n.rung_id = failed.rung_id
            AND n.round = failed.round AND n.id <> failed.id AND n.revision = failed.revision AND n.state NOT IN ('failed', 'expired', 'cancelled')) THEN
        PERFORM incident_bring_forward(failed.incident_id, failed.revision, (
                SELECT min(r.position)
                FROM notification AS n JOIN ladder_rung AS r ON r.id = n.rung_id
                WHERE n.incident_id = failed.incident_id AND n.revision = failed.revision
                    AND n.state = 'scheduled' AND r.position > at_position
                    AND NOT notification_rung_is_begun(n.incident_id, n.rung_id, n.round, n.revision)),
            'brought forward: the rung before reached nobody');
    END IF;
    IF EXISTS (SELECT FROM notification AS n WHERE n.incident_id = failed.incident_id AND n.pending
        AND n.id <> failed.id) THEN
        RETURN 'next_rung';
    END IF;
    INSERT INTO notification (org_id, incident_id, rung_id, round, user_id, contact_method_id, channel,
        mode, kind, gate, policy, revision, body, due_at, next_attempt_at, useless_after, idempotency_key)
    SELECT DISTINCT ON (l.user_id) l.org_id, l.incident_id, l.rung_id, l.round, l.user_id, l.contact_method_id,
        l.channel, l.mode, l.kind, l.gate, l.policy, l.revision, l.body, l.due_at,
        now() + interval '30 seconds', l.useless_after,
        format('incident:%s:%s:%s:%s:%s:c%s:a%s', l.incident_id, coalesce(l.rung_id, 0), l.round, l.user_id,
            l.revision, l.contact_method_id, l.id)
    FROM (
        SELECT DISTINCT ON (n.user_id, n.contact_method_id) n.*
        FROM notification AS n JOIN contact_method AS c ON c.id = n.contact_method_id
        WHERE n.incident_id = failed.incident_id AND n.revision = failed.revision
            AND n.useless_after > now() + interval '30 seconds'
            AND contact_method_usable(c.channel, c.verified_at, c.disabled_at, c.stopped_at)
        ORDER BY n.user_id, n.contact_method_id, n.id DESC) AS l
    WHERE l.state = 'failed' AND l.sent_at IS NULL AND l.attempts > 0 AND l.rescues < 3
        AND NOT coalesce((l.failure ->> 'final')::boolean, false)
        -- What may have arrived was sent again before, four times.
        AND NOT EXISTS (SELECT FROM attempt AS a
            WHERE a.notification_id = l.id AND a.outcome IN ('ambiguous', 'lost'))
    ORDER BY l.user_id, l.id
    ON CONFLICT (idempotency_key) DO NOTHING;
    RETURN CASE WHEN FOUND THEN 'again' ELSE 'nobody' END;
END
$$;

-- What a person answered: STOP and START (Twilio's words for them), in any case. "Yes" is START to somebody who
-- had said STOP, and to anybody else an answer such as any other. START also takes back what Twilio told of
-- STOP: error 21610 of a message. Returns 'stopped', 'started', or NULL for
-- anything else.
CREATE OR REPLACE FUNCTION contact_heard(contact_channel text, contact_address text, said text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    word text := upper(btrim(said));
BEGIN
    IF word IN ('STOP', 'STOPALL', 'UNSUBSCRIBE', 'CANCEL', 'END', 'QUIT') THEN
        UPDATE contact_method AS c SET stopped_at = now()
        WHERE c.channel = contact_channel AND c.address = contact_address AND c.stopped_at IS NULL;
        RETURN 'stopped';
    ELSIF word IN ('START', 'YES', 'UNSTOP') THEN
        UPDATE contact_method AS c
        SET stopped_at = NULL,
            disabled_at = CASE WHEN c.disabled_reason LIKE 'Twilio 21610:%' THEN NULL ELSE c.disabled_at END
        WHERE c.channel = contact_channel AND c.address = contact_address AND (c.stopped_at IS NOT NULL
            OR (c.disabled_at IS NOT NULL AND c.disabled_reason LIKE 'Twilio 21610:%'));
        RETURN CASE WHEN FOUND OR word <> 'YES' THEN 'started' END;
    END IF;
    RETURN NULL;
END
$$;

-- When a person was told what a number stands for; NULL: never.
ALTER TABLE reply_number ADD COLUMN told_at timestamptz;

-- The incidents that are open and of which a phone was told, with their numbers: those that it has, and
-- for the others the smallest that are free. A number that somebody was told is not free for 24 hours, else
-- an answer to one incident would be taken for another.
CREATE OR REPLACE FUNCTION reply_numbers(contact bigint) RETURNS SETOF reply_number
LANGUAGE plpgsql AS $$
DECLARE
    open_incident bigint;
BEGIN
    DELETE FROM reply_number AS b
    WHERE b.contact_method_id = contact AND (coalesce(b.told_at, b.bound_at) < now() - interval '24 hours'
        OR (b.told_at IS NULL
            AND NOT EXISTS (SELECT FROM incident AS i WHERE i.id = b.incident_id AND i.status = 'open')));
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
    RETURN QUERY SELECT b.* FROM reply_number AS b JOIN incident AS i ON i.id = b.incident_id
        WHERE b.contact_method_id = contact AND i.status = 'open' ORDER BY b.number;
END
$$;

-- As before, and:
-- - A reply answers the newest message that has left to that phone: what is still to come is nothing that
--   anybody could answer.
-- - The list of what is open fits a message: the first twelve, and how many there are beyond them.
-- - A row that somebody else holds is waited for half a second; the gateway tries again.
-- - What left in the message of another one is answered as of when it left.
-- - A number that stands for what is open no more says of what, and acknowledges nothing else.
CREATE OR REPLACE FUNCTION hear_reply(from_channel text, from_address text, said text, event_key text,
    OUT outcome text, OUT say text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_catalog, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    contact record;
    word text := lower(btrim(said, E' \t\r\n.!'));
    kept text := left(said, 200);
    wanted int := substring(word FROM '^(?:ack(?:nowledge)? *)?([0-9]{1,4})(?: *ack)?$')::int;
    taken bigint;
    only_one bigint;
    was_over text;
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
        SELECT count(*), min(b.incident_id) INTO open_count, only_one FROM reply_numbers(contact.id) AS b;
        SELECT b.incident_id INTO taken FROM reply_number AS b
        WHERE b.contact_method_id = contact.id AND b.number = wanted;
        IF taken IS NULL AND open_count = 1 AND word IN ('ack', 'ok', 'acknowledge', 'yes') THEN
            taken := only_one;
        END IF;
        IF taken IS NOT NULL THEN
            SELECT format('%s was %s before. Still open: %s.', left(i.title, 60),
                    CASE i.status WHEN 'acknowledged' THEN 'acknowledged' ELSE 'over' END, open_count)
            INTO was_over FROM incident AS i WHERE i.id = taken AND i.status <> 'open';
            outcome := hear_acknowledge(taken, contact.person, (
                SELECT max(coalesce(n.sent_at, left_in.at, CASE n.state WHEN 'bundled' THEN n.due_at END))
                FROM notification AS n
                LEFT JOIN LATERAL (SELECT max(a.finished_at) AS at FROM attempt AS a
                    WHERE a.notification_id = n.id AND a.outcome = 'bundled') AS left_in ON true
                WHERE n.incident_id = taken AND n.contact_method_id = contact.id), true);
            say := coalesce(was_over, hear_words(outcome));
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
                || CASE WHEN open_count > 12 THEN format(', and %s more', open_count - 12) ELSE '' END
                || '. Answer with a number to acknowledge.' INTO say
            FROM (SELECT r.number, r.incident_id FROM reply_number AS r JOIN incident AS o ON o.id = r.incident_id
                WHERE r.contact_method_id = contact.id AND o.status = 'open' ORDER BY r.number LIMIT 12) AS b
            JOIN incident AS i ON i.id = b.incident_id;
            UPDATE reply_number AS b SET told_at = now()
            WHERE b.contact_method_id = contact.id AND b.number = ANY(ARRAY(
                SELECT r.number FROM reply_number AS r JOIN incident AS o ON o.id = r.incident_id
                WHERE r.contact_method_id = contact.id AND o.status = 'open' ORDER BY r.number LIMIT 12));
        ELSE
            outcome := 'help';
            say := 'Answer ACK to acknowledge. STOP ends these messages.';
        END IF;
    END IF;
    INSERT INTO heard (kind, incident_id, contact_method_id, said, outcome)
    VALUES ('reply', taken, contact.id, kept, outcome);
END
$$;

-- As before, and: only what asks somebody who is not on call then is taken back, as a call that is to be made
-- again would not be planned anew; and a rung that had nobody to ask is planned as soon as there is somebody.
CREATE OR REPLACE FUNCTION rotation_replan() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_catalog, pg_temp AS $$
DECLARE
    touched bigint[];
    empty_handed bigint[];
BEGIN
    WITH gone AS (
        UPDATE notification AS n
        SET state = 'cancelled', pending = false, reason = 'who is on call has changed'
        FROM ladder_rung AS r
        WHERE n.rung_id = r.id AND r.target = 'rotation' AND n.state = 'scheduled' AND n.due_at > now()
            AND n.user_id IS DISTINCT FROM rotation_on_call(r.target_id, n.due_at)
        RETURNING n.incident_id
    )
    SELECT array_agg(DISTINCT g.incident_id) INTO touched FROM gone AS g;
    SELECT array_agg(i.id) INTO empty_handed
    FROM incident AS i
    WHERE i.status = 'open' AND i.starts_at > now() - interval '1 day' AND EXISTS (
        SELECT FROM ladder_rung AS r
        WHERE r.ladder_id = i.ladder_id AND r.target = 'rotation' AND NOT EXISTS (
            SELECT FROM notification AS n
            WHERE n.incident_id = i.id AND n.rung_id = r.id AND n.state <> 'cancelled'));
    PERFORM incident_plan(touched || empty_handed);
    RETURN NULL;
END
$$;

-- A contact method that was verified, switched on or started again can be used from now on: what is open and
-- could reach its person through nothing is planned, as for a new one.
CREATE OR REPLACE FUNCTION contact_method_added() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_catalog, pg_temp AS $$
BEGIN
    PERFORM occasions_plan(NEW.user_id);
    PERFORM incident_plan((
        SELECT coalesce(array_agg(id), '{}') FROM incident
        WHERE user_id = NEW.user_id AND status = 'open' AND starts_at > now() - interval '1 day'));
    RETURN NULL;
END
$$;
CREATE TRIGGER contact_method_usable_again AFTER UPDATE OF verified_at, disabled_at, stopped_at ON contact_method
    FOR EACH ROW WHEN (contact_method_usable(NEW.channel, NEW.verified_at, NEW.disabled_at, NEW.stopped_at)
        AND NOT contact_method_usable(OLD.channel, OLD.verified_at, OLD.disabled_at, OLD.stopped_at))
    EXECUTE FUNCTION contact_method_added();

-- A zone that nobody knows is refused where it is written: planning any ladder that asks such a rotation would
-- fail, and with it the sync of every calendar that uses it.
CREATE TRIGGER rotation_check_zone BEFORE INSERT OR UPDATE OF time_zone ON rotation
    FOR EACH ROW EXECUTE FUNCTION users_check_zone();

-- As before, and: an acknowledgement for a meeting that was moved or cancelled does not expire, else the ladder
-- would go on for what is not any more.
CREATE OR REPLACE FUNCTION meeting_withdraw(event_ids bigint[], why_cancelled text) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    withdrawn bigint[];
BEGIN
    UPDATE incident AS i SET ack_expires_at = NULL
    WHERE i.event_id = ANY(event_ids) AND i.kind = 'meeting' AND i.status = 'acknowledged'
        AND i.ack_expires_at IS NOT NULL
        AND NOT EXISTS (
            SELECT FROM calendar_event AS e
            WHERE e.id = i.event_id AND e.starts_at = i.starts_at AND e.status <> 'cancelled'
                AND NOT e.declined AND NOT e.all_day);
    WITH gone AS (
        UPDATE incident AS i SET status = 'cancelled', revision = i.revision + 1
        WHERE i.event_id = ANY(event_ids) AND i.kind = 'meeting' AND i.status = 'open'
            AND NOT EXISTS (
                SELECT FROM calendar_event AS e
                WHERE e.id = i.event_id AND e.starts_at = i.starts_at AND e.status <> 'cancelled'
                    AND NOT e.declined AND NOT e.all_day)
        RETURNING i.id
    )
    SELECT array_agg(id) INTO withdrawn FROM gone;
    IF withdrawn IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM incident_cancel_pending(withdrawn, why_cancelled);
    RETURN cardinality(withdrawn);
END
$$;
