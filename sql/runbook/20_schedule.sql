-- Schedules, for an operator with psql.
DROP VIEW IF EXISTS schedules;
CREATE VIEW schedules AS
SELECT s.key, s.enabled, s.next_run_at, s.last_run_at, s.skipped_runs,
    CASE
        WHEN s.retired_at IS NOT NULL THEN 'retired'
        WHEN s.fault IS NOT NULL THEN 'faulty: ' || s.fault
        WHEN NOT s.enabled THEN 'disabled'
        WHEN s.next_run_at IS NULL THEN 'next run is being computed'
        WHEN s.next_run_at = 'infinity' THEN 'no slot comes any more'
        WHEN s.next_run_at + s.grace_ms * interval '1 ms' < now() THEN 'overdue'
        WHEN s.next_run_at <= now() THEN 'due'
        ELSE 'waits' END AS state,
    coalesce(s.definition ->> 'cron', 'every ' || (s.definition ->> 'every')) AS rule,
    coalesce(s.definition ->> 'timezone', 'UTC') AS time_zone,
    s.target_kind || coalesce(' ' || s.target, '') AS target, s.definition ->> 'description' AS description,
    s.locked_by, s.rescues
FROM job_schedule s
ORDER BY s.key;
COMMENT ON VIEW schedules IS 'Every schedule with what it is doing';

-- For those who know these names: SELECT id, enabled, nextRunAt FROM JobSchedule
DROP VIEW IF EXISTS JobSchedule;
CREATE VIEW JobSchedule AS
SELECT s.key AS id, s.enabled, s.next_run_at AS nextRunAt, s.last_run_at AS lastRunAt,
    s.skipped_runs AS skippedRuns, coalesce(s.definition ->> 'cron', s.definition ->> 'every') AS cronExpression,
    coalesce(s.definition ->> 'timezone', 'UTC') AS timezone, s.locked_at AS lockedAt, s.locked_by AS lockedBy,
    s.created_at AS createdAt
FROM job_schedule s
WHERE s.retired_at IS NULL;

DROP VIEW IF EXISTS JobRun;
CREATE VIEW JobRun AS
SELECT r.id, r.job_key AS jobId, r.schedule_key AS scheduleId, r.slot,
    CASE
        WHEN r.locked_at IS NOT NULL THEN 'running'
        WHEN r.waits_for > 0 THEN 'waiting'
        WHEN r.attempt > 0 THEN 'retrying'
        ELSE 'pending' END AS status,
    r.trigger, r.handler, r.queue, r.attempt, r.run_at AS runAt, r.created_at AS createdAt,
    r.locked_at AS startedAt, NULL::timestamptz AS finishedAt, r.failure ->> 'detail' AS error
FROM job_run r
UNION ALL
SELECT d.id, d.job_key, d.schedule_key, d.slot, d.outcome, d.trigger, d.handler, d.queue, d.attempt, d.run_at,
    d.created_at, d.started_at, d.finished_at, d.failure ->> 'detail'
FROM job_run_done d
UNION ALL
SELECT q.id, q.job_key, q.schedule_key, q.slot, 'quarantined', q.trigger, q.handler, q.queue, q.attempt, q.run_at,
    q.created_at, q.locked_at, q.quarantined_at, concat_ws(': ', q.reason, q.failure ->> 'detail')
FROM job_run_quarantine q;

-- Fails with the keys that there are.
CREATE OR REPLACE FUNCTION schedule_id(schedule_key text) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    found_id bigint;
BEGIN
    SELECT s.id INTO found_id FROM job_schedule s WHERE s.key = schedule_key AND s.retired_at IS NULL;
    IF found_id IS NULL THEN
        RAISE EXCEPTION 'there is no schedule "%"', schedule_key USING ERRCODE = 'no_data_found',
            HINT = coalesce('There are: ' || (
                SELECT string_agg(s.key, ', ' ORDER BY s.key)
                FROM (SELECT x.key FROM job_schedule x WHERE x.retired_at IS NULL ORDER BY x.key LIMIT 20) AS s),
                'Start the scheduler: it brings them from its file.');
    END IF;
    RETURN found_id;
END
$$;

-- Switches a schedule on. The scheduler computes its next run within a second.
CREATE OR REPLACE FUNCTION schedule_enable(schedule_key text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    changed bigint;
BEGIN
    UPDATE job_schedule s SET enabled = true WHERE s.id = schedule_id(schedule_key) AND NOT s.enabled
    RETURNING s.id INTO changed;
    RETURN schedule_key || CASE WHEN changed IS NULL THEN ' was enabled already' ELSE ' is enabled' END;
END
$$;

-- Switches a schedule off. Its runs in the queue go on.
CREATE OR REPLACE FUNCTION schedule_disable(schedule_key text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    changed bigint;
BEGIN
    UPDATE job_schedule s SET enabled = false WHERE s.id = schedule_id(schedule_key) AND s.enabled
    RETURNING s.id INTO changed;
    RETURN schedule_key || CASE WHEN changed IS NULL THEN ' was disabled already' ELSE ' is disabled' END;
END
$$;

-- Runs what a schedule would run, now, whether it is enabled or not. How many runs that made.
CREATE OR REPLACE FUNCTION schedule_run_now(schedule_key text) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    wanted bigint := schedule_id(schedule_key);
    fired record;
BEGIN
    -- Whoever else fires it just now is waited for: it may forbid overlap.
    PERFORM FROM job_schedule s WHERE s.id = wanted FOR UPDATE;
    SELECT f.runs, f.reason INTO fired
    FROM schedule_fire(ARRAY[wanted], ARRAY[NULL::timestamptz], 'manual', true) AS f;
    IF fired.reason IS NOT NULL THEN
        RAISE NOTICE 'no run was made: %', CASE fired.reason
            WHEN 'flag' THEN 'its feature flag is off'
            WHEN 'overlap' THEN 'the run before it is not finished, and it forbids overlap'
            ELSE 'its target names no job' END;
    END IF;
    RETURN fired.runs;
END
$$;

-- Runs the newest slot that a schedule missed and nobody has recovered. How many runs that made.
CREATE OR REPLACE FUNCTION schedule_run_missed(schedule_key text) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    wanted bigint := schedule_id(schedule_key);
    missed timestamptz;
    fired record;
BEGIN
    PERFORM FROM job_schedule s WHERE s.id = wanted FOR UPDATE;
    SELECT max(l.last_slot) INTO missed
    FROM schedule_slot l
    WHERE l.schedule_id = wanted AND l.outcome = 'skipped' AND l.recovered_at IS NULL;
    IF missed IS NULL THEN
        RAISE NOTICE 'no slot of % was missed', schedule_key;
        RETURN 0;
    END IF;
    SELECT f.runs, f.reason INTO fired
    FROM schedule_fire(ARRAY[wanted], ARRAY[missed], 'recovery', true) AS f;
    IF fired.reason IS NOT NULL AND fired.reason <> 'duplicate' THEN
        RAISE NOTICE 'no run was made: %', fired.reason;
        RETURN 0;
    END IF;
    UPDATE schedule_slot l SET recovered_at = now()
    WHERE l.schedule_id = wanted AND l.outcome = 'skipped' AND l.recovered_at IS NULL;
    RETURN fired.runs;
END
$$;

-- The next n slots of a schedule, as the scheduler computes them; of a disabled one those that it
-- would have. `moved` tells what a change of clocks does to one: gap or overlap.
CREATE OR REPLACE FUNCTION schedule_preview(schedule_key text, n int DEFAULT 10)
RETURNS TABLE (slot timestamptz, run_at timestamptz, local_time text, moved text)
LANGUAGE plpgsql AS $$
DECLARE
    found_id bigint := schedule_id(schedule_key);
    told int;
BEGIN
    RETURN QUERY
    SELECT u.slot, u.run_at,
        to_char(u.slot AT TIME ZONE coalesce(s.definition ->> 'timezone', 'UTC'), 'YYYY-MM-DD HH24:MI:SS'), u.moved
    FROM job_schedule s
    JOIN schedule_preview v ON v.schedule_id = s.id AND v.revision = s.revision
    CROSS JOIN unnest(v.slots, v.run_at, v.moved) AS u (slot, run_at, moved)
    WHERE s.id = found_id AND u.slot > CASE WHEN s.enabled THEN s.accounted_until ELSE now() END
    ORDER BY u.slot
    LIMIT n;
    GET DIAGNOSTICS told = ROW_COUNT;
    IF told < n THEN
        UPDATE schedule_preview v SET wanted = true WHERE v.schedule_id = found_id AND NOT v.wanted;
        PERFORM pg_notify('tocsin_scheduler', '');
        RAISE NOTICE 'the scheduler has been asked for more: ask again (it keeps up to 64)';
    END IF;
END
$$;

-- Puts a quarantined run back into the queue, its attempts counted from the start; and with it those of
-- its firing that were cancelled because it had failed, unless another that they depend on has failed, or
-- was cancelled, too.
CREATE OR REPLACE FUNCTION job_run_requeue(run_id bigint) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    back record;
    fellows bigint[];
BEGIN
    WITH gone AS (
        DELETE FROM job_run_quarantine q WHERE q.id = run_id
        RETURNING q.id, q.org_id, q.queue, q.priority, q.handler, q.job_key, q.payload, q.trigger, q.schedule_key,
            q.slot, q.max_attempts, q.backoff_ms, q.timeout_ms, q.exclusive, q.failure, q.created_at
    )
    INSERT INTO job_run AS r (id, org_id, queue, priority, handler, job_key, payload, trigger, schedule_key, slot,
        max_attempts, backoff_ms, timeout_ms, exclusive, failure, created_at)
    OVERRIDING SYSTEM VALUE
    SELECT g.id, g.org_id, g.queue, g.priority, g.handler, g.job_key, g.payload, g.trigger, g.schedule_key, g.slot,
        g.max_attempts, g.backoff_ms, g.timeout_ms, g.exclusive, g.failure, g.created_at
    FROM gone g
    RETURNING r.queue, r.handler, r.job_key, r.schedule_key, r.slot, r.created_at INTO back;
    IF back IS NULL THEN
        RAISE EXCEPTION 'no run % is in quarantine', run_id USING ERRCODE = 'no_data_found',
            HINT = 'SELECT id, reason, failure FROM job_run_quarantine';
    END IF;

    WITH RECURSIVE below (key, above) AS ( -- the jobs below the failed one, each with one that it depends on
        SELECT j.key, d.key FROM job j CROSS JOIN unnest(j.depends_on) AS d (key)
        WHERE back.job_key = ANY (j.depends_on) AND j.retired_at IS NULL
        UNION
        SELECT j.key, d.key FROM below b JOIN job j ON b.key = ANY (j.depends_on)
        CROSS JOIN unnest(j.depends_on) AS d (key)
        WHERE j.retired_at IS NULL
    ), barred (key) AS (
        SELECT b.key FROM below b
        JOIN job_run_quarantine q ON q.job_key = b.above AND q.schedule_key = back.schedule_key
            AND q.slot IS NOT DISTINCT FROM back.slot AND q.created_at = back.created_at
        UNION
        SELECT b.key FROM below b
        JOIN job_run_done d ON d.job_key = b.above AND d.schedule_key = back.schedule_key
            AND d.slot IS NOT DISTINCT FROM back.slot AND d.created_at = back.created_at
        WHERE d.finished_at >= back.created_at AND d.outcome = 'cancelled'
            AND b.above NOT IN (SELECT o.key FROM below o)
        UNION
        SELECT b.key FROM barred x JOIN below b ON b.above = x.key
    ), gone AS (
        DELETE FROM job_run_done d
        WHERE d.finished_at >= back.created_at AND d.outcome = 'cancelled' AND d.schedule_key = back.schedule_key
            AND d.slot IS NOT DISTINCT FROM back.slot AND d.created_at = back.created_at
            AND d.job_key IN (SELECT b.key FROM below b) AND d.job_key NOT IN (SELECT x.key FROM barred x)
        RETURNING d.id, d.org_id, d.queue, d.priority, d.handler, d.job_key, d.payload, d.trigger, d.schedule_key,
            d.slot, d.created_at
    ), again AS (
        INSERT INTO job_run AS r (id, org_id, queue, priority, handler, job_key, payload, trigger, schedule_key,
            slot, max_attempts, backoff_ms, timeout_ms, exclusive, created_at)
        OVERRIDING SYSTEM VALUE
        SELECT g.id, g.org_id, g.queue, g.priority, g.handler, g.job_key, g.payload, g.trigger, g.schedule_key,
            g.slot, j.max_attempts, j.backoff_ms, j.timeout_ms, j.overlap = 'forbid', g.created_at
        FROM gone g JOIN job j ON j.key = g.job_key
        RETURNING r.id
    )
    SELECT array_agg(a.id) INTO fellows FROM again a;

    IF fellows IS NOT NULL THEN
        PERFORM FROM job_run r -- none ends before it knows that it is waited for
        WHERE r.schedule_key = back.schedule_key AND r.slot IS NOT DISTINCT FROM back.slot
            AND r.created_at = back.created_at
        ORDER BY r.id FOR UPDATE;
        WITH edge AS (
            INSERT INTO job_run_dependency AS e (depends_on_run_id, run_id)
            SELECT b.id, a.id
            FROM job_run a JOIN job j ON j.key = a.job_key
            JOIN job_run b ON b.job_key = ANY (j.depends_on) AND b.schedule_key = back.schedule_key
                AND b.slot IS NOT DISTINCT FROM back.slot AND b.created_at = back.created_at
            WHERE a.id = ANY (fellows)
            RETURNING e.depends_on_run_id, e.run_id
        )
        UPDATE job_run r
        SET waits_for = r.waits_for + (SELECT count(*) FROM edge e WHERE e.run_id = r.id),
            has_dependents = r.has_dependents OR EXISTS (SELECT FROM edge e WHERE e.depends_on_run_id = r.id)
        WHERE r.id IN (SELECT e.run_id FROM edge e UNION SELECT e.depends_on_run_id FROM edge e);
    END IF;
    PERFORM job_run_hint(back.queue);
    RETURN format('run %s (%s) is back in the queue of %s', run_id, back.handler, back.queue)
        || CASE WHEN fellows IS NULL THEN ''
            ELSE format(', and %s that wait for it', cardinality(fellows)) END;
EXCEPTION WHEN unique_violation THEN
    RAISE EXCEPTION 'run % stays in quarantine: a run of its job, or of one that waits for it, is not finished and forbids overlap', run_id
        USING ERRCODE = 'object_in_use', HINT = 'Requeue it when that one has ended.';
END
$$;

-- What has become of a schedule's slots and what holds it, the newest first.
DROP FUNCTION IF EXISTS why_schedule(text);
CREATE FUNCTION why_schedule(schedule_key text)
RETURNS TABLE (at timestamptz, step text, detail text)
LANGUAGE sql STABLE AS $$
    WITH s AS (SELECT x.id, x.key, x.enabled, x.fault, x.flag, x.next_run_at, x.locked_at, x.locked_by FROM job_schedule x WHERE x.id = schedule_id(schedule_key))
    SELECT told.at, told.step, told.detail FROM (
        SELECT s.next_run_at AS at, 'next run' AS step,
            CASE
                WHEN s.fault IS NOT NULL THEN 'never: ' || s.fault
                WHEN NOT s.enabled THEN format('none: it is disabled; SELECT schedule_enable(%L)', s.key)
                WHEN s.next_run_at IS NULL THEN 'being computed by the scheduler'
                WHEN s.next_run_at = 'infinity' THEN 'no slot comes any more'
                WHEN s.next_run_at <= now() AND NOT EXISTS (
                    SELECT FROM daemon d WHERE d.executable = 'scheduler' AND NOT daemon_is_dead(d.id))
                    THEN 'due, but no scheduler is alive'
                WHEN s.next_run_at <= now() THEN 'due for ' || date_trunc('second', now() - s.next_run_at)
                ELSE 'in ' || date_trunc('second', s.next_run_at - now()) END
            || CASE WHEN s.flag IS NOT NULL AND EXISTS (
                SELECT FROM feature_flag f WHERE f.name = s.flag AND NOT f.enabled)
                THEN format('; its flag %s is off, so that slots are skipped', s.flag) ELSE '' END AS detail
        FROM s
        UNION ALL
        SELECT s.locked_at, 'claimed', format('by daemon %s of %s (%s), %s', s.locked_by, d.host, d.pid,
            CASE WHEN daemon_is_dead(s.locked_by) THEN 'which is dead: the next scheduler takes it over'
                ELSE 'which is alive' END)
        FROM s LEFT JOIN daemon d ON d.id = s.locked_by
        WHERE s.locked_by IS NOT NULL
        UNION ALL
        SELECT l.recorded_at, l.outcome, CASE
                WHEN l.outcome = 'fired' THEN format('slot %s: %s runs', l.slot, l.runs)
                WHEN l.slots = 1 THEN format('slot %s: %s', l.slot, l.reason)
                ELSE format('%s slots from %s to %s: %s', l.slots, l.slot, l.last_slot, l.reason) END
            || CASE WHEN l.recovered_at IS NOT NULL THEN ', recovered at ' || l.recovered_at ELSE '' END
        FROM s CROSS JOIN LATERAL (
            SELECT y.recorded_at, y.outcome, y.slot, y.last_slot, y.slots, y.reason, y.runs, y.recovered_at
            FROM schedule_slot y WHERE y.schedule_id = s.id ORDER BY y.slot DESC LIMIT 20) AS l
        UNION ALL
        SELECT r.created_at, 'in the queue', format('run %s of %s on %s, attempt %s%s', r.id, r.job_key, r.queue,
            r.attempt, CASE WHEN r.waits_for > 0 THEN format(', waits for %s others', r.waits_for)
                WHEN r.locked_by IS NOT NULL THEN format(', worked on by daemon %s', r.locked_by) ELSE '' END)
        FROM s JOIN job_run r ON r.schedule_key = s.key
        UNION ALL
        SELECT q.quarantined_at, 'quarantined', format('run %s of %s: %s; SELECT job_run_requeue(%s)', q.id,
            q.job_key, q.reason, q.id)
        FROM s JOIN job_run_quarantine q ON q.schedule_key = s.key
    ) AS told
    ORDER BY told.at DESC NULLS FIRST
$$;

GRANT SELECT ON schedules, JobSchedule, JobRun TO tocsin_probe, tocsin_gateway;
