-- Forget: what worker-cleanup may remove. It calls these functions and has no other right: an age
-- never counts as less than an hour, a batch never as more than 1000 rows, and a row that somebody
-- works on is passed over.
--
-- The functions run as their owner; tables carry their schema, so that nobody can put others first.

CREATE INDEX notification_age ON notification (created_at);
CREATE INDEX incident_age ON incident (created_at);
CREATE INDEX attempt_age ON attempt (started_at);
CREATE INDEX notification_transition_age ON notification_transition (moved_at);
CREATE INDEX job_run_done_default_age ON job_run_done_default (finished_at);

CREATE FUNCTION forget_before(age interval) RETURNS timestamptz
LANGUAGE sql STABLE AS $$ SELECT now() - greatest(age, interval '1 hour') $$;

CREATE FUNCTION forget_webhook_events(age interval, batch int) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
SET search_path = public, pg_catalog, pg_temp AS $$
    WITH gone AS (
        DELETE FROM public.processed_webhook_events WHERE ctid = ANY (ARRAY(
            SELECT e.ctid FROM public.processed_webhook_events AS e
            WHERE e.received_at < public.forget_before(age)
            ORDER BY e.received_at LIMIT least(batch, 1000) FOR UPDATE SKIP LOCKED))
        RETURNING 1)
    SELECT count(*) FROM gone
$$;

CREATE FUNCTION forget_webhook_deliveries(age interval, batch int) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
SET search_path = public, pg_catalog, pg_temp AS $$
    WITH gone AS (
        DELETE FROM public.webhook_delivery_log WHERE id = ANY (ARRAY(
            SELECT l.id FROM public.webhook_delivery_log AS l
            WHERE l.logged_at < public.forget_before(age)
            ORDER BY l.logged_at LIMIT least(batch, 1000) FOR UPDATE SKIP LOCKED))
        RETURNING 1)
    SELECT count(*) FROM gone
$$;

-- Notifications go from the leaves: transitions, attempts, the rows themselves, their incident.
CREATE FUNCTION forget_transitions(age interval, batch int) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
SET search_path = public, pg_catalog, pg_temp AS $$
    WITH gone AS (
        DELETE FROM public.notification_transition WHERE id = ANY (ARRAY(
            SELECT t.id FROM public.notification_transition AS t
            WHERE t.moved_at < public.forget_before(age)
            ORDER BY t.moved_at LIMIT least(batch, 1000) FOR UPDATE SKIP LOCKED))
        RETURNING 1)
    SELECT count(*) FROM gone
$$;

CREATE FUNCTION forget_attempts(age interval, batch int) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
SET search_path = public, pg_catalog, pg_temp AS $$
    WITH gone AS (
        DELETE FROM public.attempt WHERE id = ANY (ARRAY(
            SELECT a.id FROM public.attempt AS a
            WHERE a.started_at < public.forget_before(age) AND a.finished_at IS NOT NULL
            ORDER BY a.started_at LIMIT least(batch, 1000) FOR UPDATE SKIP LOCKED))
        RETURNING 1)
    SELECT count(*) FROM gone
$$;

CREATE FUNCTION forget_notifications(age interval, batch int) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
SET search_path = public, pg_catalog, pg_temp AS $$
    WITH gone AS (
        DELETE FROM public.notification WHERE id = ANY (ARRAY(
            SELECT n.id FROM public.notification AS n
            WHERE n.created_at < public.forget_before(age) AND n.useless_after < public.forget_before(age)
                AND NOT n.pending AND n.locked_at IS NULL
                AND NOT EXISTS (SELECT FROM public.attempt AS a WHERE a.notification_id = n.id)
                AND NOT EXISTS (
                    SELECT FROM public.notification_transition AS t WHERE t.notification_id = n.id)
            ORDER BY n.created_at LIMIT least(batch, 1000) FOR UPDATE OF n SKIP LOCKED))
        RETURNING 1)
    SELECT count(*) FROM gone
$$;

CREATE FUNCTION forget_incidents(age interval, batch int) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
SET search_path = public, pg_catalog, pg_temp AS $$
    WITH gone AS (
        DELETE FROM public.incident WHERE id = ANY (ARRAY(
            SELECT i.id FROM public.incident AS i
            WHERE i.created_at < public.forget_before(age) AND i.starts_at < public.forget_before(age)
                AND NOT EXISTS (SELECT FROM public.notification AS n WHERE n.incident_id = i.id)
            ORDER BY i.created_at LIMIT least(batch, 1000) FOR UPDATE OF i SKIP LOCKED))
        RETURNING 1)
    SELECT count(*) FROM gone
$$;

CREATE FUNCTION forget_events(age interval, batch int) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
SET search_path = public, pg_catalog, pg_temp AS $$
    WITH gone AS (
        DELETE FROM public.calendar_event WHERE id = ANY (ARRAY(
            SELECT e.id FROM public.calendar_event AS e
            WHERE e.starts_at < public.forget_before(age) AND e.ends_at < public.forget_before(age)
            ORDER BY e.starts_at LIMIT least(batch, 1000) FOR UPDATE SKIP LOCKED))
        RETURNING 1)
    SELECT count(*) FROM gone
$$;

CREATE FUNCTION forget_slots(age interval, batch int) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
SET search_path = public, pg_catalog, pg_temp AS $$
    WITH gone AS (
        DELETE FROM public.schedule_slot WHERE ctid = ANY (ARRAY(
            SELECT s.ctid FROM public.schedule_slot AS s
            WHERE s.recorded_at < public.forget_before(age)
            LIMIT least(batch, 1000) FOR UPDATE SKIP LOCKED))
        RETURNING 1)
    SELECT count(*) FROM gone
$$;

-- Process starts that ended, cleanly or not. A lock whose daemon has no row is stale like any other.
CREATE FUNCTION forget_daemons(age interval, batch int) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
SET search_path = public, pg_catalog, pg_temp AS $$
    WITH gone AS (
        DELETE FROM public.daemon WHERE id = ANY (ARRAY(
            SELECT d.id FROM public.daemon AS d
            WHERE d.heartbeat_at < public.forget_before(age)
            ORDER BY d.id LIMIT least(batch, 1000) FOR UPDATE SKIP LOCKED))
        RETURNING 1)
    SELECT count(*) FROM gone
$$;

-- Runs that finished on a day without a partition of its own.
CREATE FUNCTION forget_runs(age interval, batch int) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
SET search_path = public, pg_catalog, pg_temp AS $$
    WITH gone AS (
        DELETE FROM public.job_run_done_default WHERE ctid = ANY (ARRAY(
            SELECT r.ctid FROM public.job_run_done_default AS r
            WHERE r.finished_at < public.forget_before(age)
            ORDER BY r.finished_at LIMIT least(batch, 1000) FOR UPDATE SKIP LOCKED))
        RETURNING 1)
    SELECT count(*) FROM gone
$$;

-- Makes the partitions of job_run_done for today (UTC) and the days after it, and tells their
-- names. A day of which the default partition holds rows keeps to that one: attaching would have
-- to move them under a lock. One caller at a time; a lock is waited for 2 s at most.
CREATE FUNCTION job_run_done_extend(days int) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER
SET lock_timeout = '2s' SET search_path = public, pg_catalog, pg_temp AS $$
DECLARE
    day timestamptz;
    today timestamp := date_trunc('day', now() AT TIME ZONE 'UTC');
    name text;
BEGIN
    IF NOT pg_try_advisory_xact_lock(1953456996) THEN
        RETURN;
    END IF;
    FOR n IN 0 .. least(days, 62) LOOP
        day := (today + n * interval '1 day') AT TIME ZONE 'UTC';
        name := 'job_run_done_' || to_char(today + n * interval '1 day', 'YYYYMMDD');
        CONTINUE WHEN to_regclass('public.' || name) IS NOT NULL OR EXISTS (
            SELECT FROM public.job_run_done_default AS r
            WHERE r.finished_at >= day AND r.finished_at < day + interval '24 hours');
        EXECUTE format('CREATE TABLE public.%I (LIKE public.job_run_done INCLUDING ALL)', name);
        EXECUTE format('ALTER TABLE public.job_run_done ATTACH PARTITION public.%I '
            'FOR VALUES FROM (%L) TO (%L)', name, day, day + interval '24 hours');
        RETURN NEXT name;
    END LOOP;
END
$$;

-- Drops the oldest partition of job_run_done that ended before `age` (a day at least) and tells
-- its name, NULL when there is none. A lock is waited for 2 s at most.
CREATE FUNCTION job_run_done_drop(age interval) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET lock_timeout = '2s' SET search_path = public, pg_catalog, pg_temp AS $$
DECLARE
    name text;
BEGIN
    SELECT c.relname INTO name
    FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'public.job_run_done'::regclass AND c.relname ~ '^job_run_done_\d{8}$'
        AND to_date(right(c.relname, 8), 'YYYYMMDD') + interval '1 day'
            <= (now() - greatest(age, interval '1 day')) AT TIME ZONE 'UTC'
    ORDER BY c.relname
    LIMIT 1;
    IF name IS NOT NULL THEN
        EXECUTE format('DROP TABLE public.%I', name);
    END IF;
    RETURN name;
END
$$;

SELECT job_run_done_extend(7);

REVOKE ALL ON FUNCTION forget_webhook_events(interval, int), forget_webhook_deliveries(interval, int),
    forget_transitions(interval, int), forget_attempts(interval, int),
    forget_notifications(interval, int), forget_incidents(interval, int), forget_events(interval, int),
    forget_slots(interval, int), forget_daemons(interval, int), forget_runs(interval, int),
    job_run_done_extend(int), job_run_done_drop(interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_webhook_events(interval, int), forget_webhook_deliveries(interval, int),
    forget_transitions(interval, int), forget_attempts(interval, int),
    forget_notifications(interval, int), forget_incidents(interval, int), forget_events(interval, int),
    forget_slots(interval, int), forget_daemons(interval, int), forget_runs(interval, int),
    job_run_done_extend(int), job_run_done_drop(interval) TO tocsin_worker_cleanup;
