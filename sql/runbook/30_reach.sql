-- Reach, from psql: acknowledge, escalate, look ahead, look back.

-- Ends what is pending of an incident and says what that did.
--
--     SELECT incident_acknowledge(42, 'owner');
--
-- as_of is when the message was made that somebody answers. An answer that is older than the last
-- climb is refused: others have been asked since, and whoever answers has to know it.
CREATE OR REPLACE FUNCTION incident_acknowledge(incident_id bigint, who text, as_of timestamptz DEFAULT NULL)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    it incident;
    ended int;
    in_flight int;
BEGIN
    SELECT i.* INTO it FROM incident AS i WHERE i.id = incident_acknowledge.incident_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN format('refused: there is no incident %s', incident_id);
    ELSIF coalesce(who, '') = '' THEN
        RETURN 'refused: an acknowledgement says who';
    ELSIF it.status = 'acknowledged' THEN
        RETURN format('incident %s was acknowledged before, by %s at %s', it.id, it.acknowledged_by,
            to_char(it.acknowledged_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'));
    ELSIF it.status <> 'open' THEN
        RETURN format('refused: incident %s is %s', it.id, it.status);
    ELSIF as_of < it.climbed_at THEN
        RETURN format('refused: incident %s has climbed since, at %s', it.id,
            to_char(it.climbed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'));
    END IF;
    UPDATE incident AS i
    SET status = 'acknowledged', acknowledged_at = now(), acknowledged_by = who,
        ack_expires_at = now() + (SELECT l.ack_expires_after FROM ladder AS l WHERE l.id = i.ladder_id)
    WHERE i.id = it.id;
    ended := incident_cancel_pending(ARRAY[it.id], 'acknowledged by ' || who);
    SELECT count(*) INTO in_flight FROM notification AS n WHERE n.incident_id = it.id AND n.pending;
    RETURN format('incident %s acknowledged by %s: %s pending cancelled%s', it.id, who, ended,
        CASE WHEN in_flight > 0 THEN format(', %s on their way to a provider right now', in_flight) ELSE '' END);
END
$$;

-- Climbs now: brings the next rung that is not due yet forward and says what it was. An incident that
-- somebody has acknowledged opens again and goes on with the rung after the last that went out. `to_others`
-- passes over rungs of the owner's own.
--
--     SELECT incident_escalate(42, 'second');
DROP FUNCTION IF EXISTS incident_escalate(bigint);
DROP FUNCTION IF EXISTS incident_escalate(bigint, text);
CREATE OR REPLACE FUNCTION incident_escalate(incident_id bigint, who text DEFAULT 'hand', to_others boolean DEFAULT false)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    it incident;
    next_position int;
    climbed int;
BEGIN
    SELECT i.* INTO it FROM incident AS i WHERE i.id = incident_escalate.incident_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN format('refused: there is no incident %s', incident_id);
    ELSIF it.status = 'acknowledged' THEN
        PERFORM FROM incident_resume(it.id);
        SELECT i.* INTO it FROM incident AS i WHERE i.id = it.id;
        PERFORM pg_notify('tocsin_worker-escalation', '');
        RETURN format('incident %s is open again, escalated by %s, from rung %s', it.id, who, it.resumed_position);
    ELSIF it.status <> 'open' THEN
        RETURN format('refused: incident %s is %s', it.id, it.status);
    END IF;
    SELECT min(r.position) INTO next_position
    FROM notification AS n JOIN ladder_rung AS r ON r.id = n.rung_id
    WHERE n.incident_id = it.id AND n.revision = it.revision AND n.state = 'scheduled' AND n.due_at > now()
        AND (n.gate = 'escalation' OR NOT to_others)
        AND NOT notification_rung_is_begun(n.incident_id, n.rung_id, n.round, n.revision);
    IF next_position IS NULL THEN
        RETURN format('refused: incident %s has no rung left', it.id);
    END IF;
    climbed := incident_bring_forward(it.id, it.revision, next_position, 'brought forward by ' || who);
    PERFORM pg_notify('tocsin_worker-escalation', '');
    RETURN format('incident %s climbs to rung %s: %s due now', it.id, next_position, climbed);
END
$$;

-- Opens an incident by hand and plans its ladder. Returns its id.
--
--     SELECT incident_open('The shop is down', 7);
CREATE OR REPLACE FUNCTION incident_open(title text, owner bigint, ladder_key text DEFAULT 'default',
    starts_at timestamptz DEFAULT now())
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    org bigint := (SELECT u.org_id FROM users AS u WHERE u.id = owner);
    ladder bigint;
    opened bigint;
BEGIN
    IF org IS NULL THEN
        RAISE EXCEPTION 'incident_open: there is no user %', owner USING ERRCODE = 'no_data_found';
    END IF;
    SELECT l.id INTO ladder FROM ladder AS l
    WHERE l.key = ladder_key AND l.org_id IN (org, 1) ORDER BY l.org_id = org DESC LIMIT 1;
    IF ladder IS NULL THEN
        RAISE EXCEPTION 'incident_open: there is no ladder "%"', ladder_key USING ERRCODE = 'no_data_found';
    END IF;
    INSERT INTO incident (org_id, kind, user_id, starts_at, title, ladder_id)
    VALUES (org, 'manual', owner, incident_open.starts_at, incident_open.title, ladder)
    RETURNING id INTO opened;
    PERFORM incident_plan(ARRAY[opened]);
    RETURN opened;
END
$$;

-- What will happen to an incident and when, before it happens: whom, through what, in the local
-- time of each person; what has happened stands beside it.
--
--     SELECT * FROM ladder_plan(42);
DROP FUNCTION IF EXISTS ladder_plan(bigint);
CREATE FUNCTION ladder_plan(incident_id bigint)
RETURNS TABLE ("position" int, due_at timestamptz, local_time text, person text, mode text,
    channel text, gate text, state text, notification_id bigint, note text)
LANGUAGE sql STABLE AS $$
    SELECT r.position, n.due_at, to_char(n.due_at AT TIME ZONE u.time_zone, 'Dy HH24:MI') || ' ' || u.time_zone,
        u.name, n.mode, n.channel, n.gate, n.state, n.id,
        CASE WHEN NOT n.pending THEN n.reason
            WHEN n.next_attempt_at > greatest(n.due_at, now()) THEN concat_ws(': ', 'held until '
                || to_char(n.next_attempt_at AT TIME ZONE u.time_zone, 'HH24:MI:SS'), n.reason) END
    FROM notification AS n
    JOIN users AS u ON u.id = n.user_id
    LEFT JOIN ladder_rung AS r ON r.id = n.rung_id
    WHERE n.incident_id = ladder_plan.incident_id
    UNION ALL
    SELECT p.position, p.due_at, to_char(p.due_at AT TIME ZONE u.time_zone, 'Dy HH24:MI') || ' ' || u.time_zone,
        u.name, p.mode, p.channel, p.gate, 'not planned', NULL, NULL
    FROM incident_rungs(ARRAY[ladder_plan.incident_id]) AS p
    JOIN users AS u ON u.id = p.user_id
    WHERE NOT EXISTS (
        SELECT FROM notification AS n
        WHERE n.incident_id = p.incident_id AND n.rung_id = p.rung_id AND n.round = p.round
            AND n.user_id = p.user_id AND n.state <> 'cancelled')
    ORDER BY 2, 1, 4
$$;

-- What happened to one notification, step by step.
DROP FUNCTION IF EXISTS why_notification(bigint);
CREATE FUNCTION why_notification(notification_id bigint)
RETURNS TABLE (at timestamptz, step text, detail text)
LANGUAGE sql STABLE AS $$
    WITH it AS (SELECT n.id, n.due_at, n.created_at, n.kind, n.mode, n.channel, n.gate, n.state, n.reason,
            n.next_attempt_at, n.pending, n.locked_at, n.locked_by, n.useless_after, u.name AS person
        FROM notification AS n JOIN users AS u ON u.id = n.user_id
        WHERE n.id = why_notification.notification_id)
    SELECT s.at, s.step, s.detail
    FROM (
        SELECT it.created_at AS at, 0 AS rank, 'planned' AS step,
            format('%s: %s to %s through %s, due %s, of use until %s', it.kind, it.mode, it.person, it.channel,
                to_char(it.due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'),
                to_char(it.useless_after AT TIME ZONE 'UTC', 'HH24:MI:SS "UTC"')) AS detail
        FROM it
        UNION ALL
        SELECT a.started_at, 2, format('attempt %s', a.number),
            format('claimed by daemon %s (%s, pid %s) for %s, deadline %s', a.daemon_id,
                coalesce(d.host, 'gone'), coalesce(d.pid::text, '-'), a.circuit,
                to_char(a.deadline_at AT TIME ZONE 'UTC', 'HH24:MI:SS "UTC"'))
        FROM attempt AS a LEFT JOIN daemon AS d ON d.id = a.daemon_id
        WHERE a.notification_id = why_notification.notification_id
        UNION ALL
        SELECT a.finished_at, 3, format('attempt %s ended', a.number),
            concat_ws(', ', a.outcome, 'provider id ' || a.provider_id, 'status ' || a.http_status,
                a.failure ->> 'detail')
        FROM attempt AS a
        WHERE a.notification_id = why_notification.notification_id AND a.finished_at IS NOT NULL
        UNION ALL
        SELECT t.moved_at, CASE WHEN t.from_state <> t.to_state AND t.to_state = 'sending' THEN 1 ELSE 4 END,
            CASE WHEN t.from_state <> t.to_state THEN t.from_state || ' → ' || t.to_state
                WHEN t.held_until <= t.moved_at THEN 'due'
                WHEN t.from_state = 'sending' THEN 'waits' ELSE 'held' END,
            concat_ws(': ', CASE WHEN t.held_until > t.moved_at THEN format('until %s',
                to_char(t.held_until AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')) END, t.reason)
        FROM notification_transition AS t
        WHERE t.notification_id = why_notification.notification_id
        UNION ALL
        SELECT h.at, 3, 'heard: ' || h.kind, format('%s: %s', h.said, h.outcome)
        FROM heard AS h
        WHERE h.notification_id = why_notification.notification_id
        UNION ALL
        SELECT now(), 5, 'now', CASE
            WHEN NOT it.pending THEN it.state || coalesce(': ' || it.reason, '')
            WHEN it.locked_at IS NOT NULL THEN format('in the hands of daemon %s', it.locked_by)
            WHEN it.next_attempt_at > now() THEN format('held until %s%s',
                to_char(it.next_attempt_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'),
                coalesce(': ' || it.reason, CASE WHEN it.next_attempt_at = it.due_at THEN ': not due yet' ELSE '' END))
            WHEN EXISTS (SELECT FROM feature_flag AS f WHERE f.name = it.gate AND NOT f.enabled)
                THEN format('held: the flag %s is off', it.gate)
            ELSE format('due, waiting for a process with the flag %s', it.gate) END
        FROM it) AS s
    ORDER BY s.at, s.rank
$$;

-- What happened to an incident, and what of it is still to come.
DROP FUNCTION IF EXISTS why_incident(bigint);
CREATE FUNCTION why_incident(incident_id bigint)
RETURNS TABLE (at timestamptz, step text, detail text)
LANGUAGE sql STABLE AS $$
    SELECT s.at, s.step, s.detail
    FROM (
        SELECT i.created_at AS at, 0::bigint AS rank, 'incident ' || i.id AS step,
            format('"%s" of %s, starts %s, ladder %s, revision %s, %s', i.title, coalesce(u.name, 'nobody'),
                to_char(i.starts_at AT TIME ZONE coalesce(u.time_zone, 'UTC'), 'YYYY-MM-DD HH24:MI')
                    || ' ' || coalesce(u.time_zone, 'UTC'), l.key, i.revision, i.status) AS detail
        FROM incident AS i JOIN ladder AS l ON l.id = i.ladder_id LEFT JOIN users AS u ON u.id = i.user_id
        WHERE i.id = why_incident.incident_id
        UNION ALL
        SELECT w.at, n.id, 'notification ' || n.id || ' ' || w.step, w.detail
        FROM notification AS n CROSS JOIN LATERAL why_notification(n.id) AS w
        WHERE n.incident_id = why_incident.incident_id AND (n.pending OR w.step <> 'now')
        UNION ALL
        SELECT h.at, 0, 'heard: ' || h.kind, format('"%s" from %s: %s', h.said, u.name, h.outcome)
        FROM heard AS h JOIN contact_method AS c ON c.id = h.contact_method_id JOIN users AS u ON u.id = c.user_id
        WHERE h.incident_id = why_incident.incident_id AND h.notification_id IS NULL
        UNION ALL
        SELECT i.climbed_at, 0, 'climbed', format('rung %s reached people who had not been asked before', i.climbed_position)
        FROM incident AS i WHERE i.id = why_incident.incident_id AND i.climbed_at IS NOT NULL
        UNION ALL
        SELECT i.acknowledged_at, 0, 'acknowledged', 'by ' || i.acknowledged_by
        FROM incident AS i WHERE i.id = why_incident.incident_id AND i.acknowledged_at IS NOT NULL
        UNION ALL
        SELECT i.resumed_at, 0, 'went on', format('the acknowledgement has expired: from rung %s', i.resumed_position)
        FROM incident AS i WHERE i.id = why_incident.incident_id AND i.resumed_at IS NOT NULL) AS s
    ORDER BY s.at, s.rank
$$;

-- The system's own alert: a check of `health` that fails for a minute becomes an incident with the
-- ladder 'health', and one that is well again closes it. Returns what it did, in words. One session
-- at a time: the others find nothing to do.
DROP FUNCTION IF EXISTS health_watch();
CREATE FUNCTION health_watch()
RETURNS TABLE (incident_id bigint, "check" text, what text)
LANGUAGE plpgsql AS $$
DECLARE
    opened bigint[];
    closed bigint[];
    failing text[];
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('tocsin health_watch')) THEN
        RETURN;
    END IF;
    SELECT coalesce(array_agg(h."check"), '{}') INTO failing FROM health AS h WHERE NOT h.ok;
    DELETE FROM health_failing AS f WHERE f.check_name <> ALL(failing);
    INSERT INTO health_failing (check_name) SELECT unnest(failing) ON CONFLICT DO NOTHING;
    WITH well AS (
        UPDATE incident AS i
        SET status = 'closed', ack_expires_at = NULL
        WHERE i.kind = 'health' AND i.status IN ('open', 'acknowledged') AND i.health_check <> ALL(failing)
        RETURNING i.id
    )
    SELECT array_agg(w.id) INTO closed FROM well AS w;
    PERFORM incident_cancel_pending(closed, 'it is well again');
    WITH made AS (
        INSERT INTO incident (org_id, kind, starts_at, title, ladder_id, health_check)
        SELECT l.org_id, 'health', now(), format('Tocsin, %s: %s', h."check", h.detail), l.id, h."check"
        FROM health AS h
        JOIN health_failing AS f ON f.check_name = h."check"
        JOIN ladder AS l ON l.key = 'health' AND l.org_id = 1
        WHERE NOT h.ok AND f.since <= now() - interval '50 seconds'
        ON CONFLICT DO NOTHING
        RETURNING id
    )
    SELECT array_agg(m.id) INTO opened FROM made AS m;
    PERFORM incident_plan(opened);
    RETURN QUERY SELECT i.id, i.health_check,
            CASE WHEN i.id = ANY(opened) THEN i.title ELSE 'well again' END
        FROM incident AS i WHERE i.id = ANY(opened || closed);
END
$$;
