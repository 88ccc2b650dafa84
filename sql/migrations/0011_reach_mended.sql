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
