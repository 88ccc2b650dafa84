-- When, mended: what an edit finds on its way leaves no slot behind, and what a stranger's transaction
-- holds does not hold the others.

-- Makes the runs of slots: the one path for the schedule's own firing, run-now and recovery. A
-- NULL slot is a run that no slot asked for. Pairs of schedule and slot are distinct. Tells for
-- each how many runs were made, or why none. What depends on a job whose run its overlap holds back
-- waits for the run that is under way.
CREATE OR REPLACE FUNCTION schedule_fire(schedule_ids bigint[], fire_slots timestamptz[], fire_trigger text,
    hint boolean)
RETURNS TABLE (schedule_id bigint, slot timestamptz, runs int, reason text)
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    held text[];
    planned int[];
    made_of int[];
    made bigint[];
    queues text[];
    in_waves boolean;
    held_of int[]; -- jobs that got no run, as they forbid overlap
    held_jobs text[];
    standing bigint[]; -- the runs of those jobs that are under way
    standing_of int[];
BEGIN
    SELECT array_agg(CASE
            WHEN w.slot IS NOT NULL AND EXISTS (
                SELECT FROM schedule_slot l
                WHERE l.schedule_id = s.id AND l.slot = w.slot AND l.outcome = 'fired') THEN 'duplicate'
            WHEN s.flag IS NOT NULL AND EXISTS (
                SELECT FROM feature_flag f WHERE f.name = s.flag AND NOT f.enabled) THEN 'flag'
            WHEN s.overlap = 'forbid' AND (w.nth > 1
                OR EXISTS (SELECT FROM job_run r WHERE r.schedule_key = s.key AND r.slot IS NOT NULL)
                OR EXISTS (SELECT FROM job_run r WHERE r.schedule_key = s.key AND r.slot IS NULL))
                THEN 'overlap'
        END ORDER BY w.n)
    INTO held
    FROM (
        SELECT u.id, u.slot, u.n, row_number() OVER (PARTITION BY u.id ORDER BY u.n) AS nth
        FROM unnest(schedule_ids, fire_slots) WITH ORDINALITY AS u (id, slot, n)) AS w
    JOIN job_schedule s ON s.id = w.id;

    WITH wanted AS (
        SELECT u.n::int AS n, u.slot, s.key, s.target_kind, s.target, s.stagger_ms, s.max_batch
        FROM unnest(schedule_ids, fire_slots, held) WITH ORDINALITY AS u (id, slot, held, n)
        JOIN job_schedule s ON s.id = u.id
        WHERE u.held IS NULL
    ), target AS (
        SELECT w.n, j.key FROM wanted w JOIN job j ON j.key = w.target
        WHERE w.target_kind = 'job' AND j.retired_at IS NULL
        UNION ALL
        SELECT w.n, j.key FROM wanted w JOIN job j ON j.group_name = w.target
        WHERE w.target_kind = 'group' AND j.retired_at IS NULL
        UNION ALL
        SELECT w.n, j.key FROM wanted w CROSS JOIN job j
        WHERE w.target_kind = 'all' AND j.retired_at IS NULL
    ), planned AS (
        SELECT w.n, w.slot, w.key AS schedule_key, w.stagger_ms, w.max_batch, j.key AS job_key, j.queue,
            j.priority, j.handler, j.payload, j.max_attempts, j.backoff_ms, j.timeout_ms, j.overlap, j.depends_on,
            row_number() OVER (PARTITION BY w.n ORDER BY cardinality(j.depends_on) > 0, j.key) - 1 AS nth
        FROM target t JOIN wanted w ON w.n = t.n JOIN job j ON j.key = t.key
    ), made AS (
        INSERT INTO job_run AS r (queue, priority, run_at, handler, job_key, payload, trigger, schedule_key,
            slot, max_attempts, backoff_ms, timeout_ms, exclusive)
        SELECT p.queue, p.priority, now() + p.nth / p.max_batch * p.stagger_ms * interval '1 ms', p.handler,
            p.job_key, p.payload, fire_trigger, p.schedule_key, p.slot, p.max_attempts, p.backoff_ms,
            p.timeout_ms, p.overlap = 'forbid'
        FROM planned p
        ORDER BY p.n, p.nth
        ON CONFLICT DO NOTHING
        RETURNING r.id, r.schedule_key, r.slot, r.queue, r.job_key
    ), made_of_one AS (
        SELECT m.id, w.n, m.queue, m.job_key
        FROM made m JOIN wanted w ON w.key = m.schedule_key AND w.slot IS NOT DISTINCT FROM m.slot
    ), without AS (
        SELECT p.n, p.job_key FROM planned p
        WHERE p.overlap = 'forbid'
            AND NOT EXISTS (SELECT FROM made_of_one m WHERE m.n = p.n AND m.job_key = p.job_key)
    )
    SELECT (SELECT array_agg(DISTINCT p.n) FROM planned p), (SELECT bool_or(p.depends_on <> '{}') FROM planned p),
        (SELECT array_agg(x.n) FROM without x), (SELECT array_agg(x.job_key) FROM without x),
        array_agg(m.id), array_agg(m.n), array_agg(DISTINCT m.queue)
    INTO planned, in_waves, held_of, held_jobs, made, made_of, queues
    FROM made_of_one m;

    -- Waves: a run waits for those that it depends on, of the same firing.
    IF in_waves THEN
        -- Locked, so that none ends before it knows that it is waited for.
        SELECT array_agg(l.id), array_agg(l.n) INTO standing, standing_of
        FROM (
            SELECT r.id, h.n
            FROM unnest(held_of, held_jobs) AS h (n, job_key)
            JOIN job_run r ON r.job_key = h.job_key AND r.exclusive
            ORDER BY r.id
            FOR UPDATE OF r) AS l;
        WITH edge AS (
            INSERT INTO job_run_dependency AS d (depends_on_run_id, run_id)
            SELECT b.id, a.id
            FROM unnest(made, made_of) AS ma (id, n)
            JOIN job_run a ON a.id = ma.id
            JOIN job j ON j.key = a.job_key AND j.depends_on <> '{}'
            JOIN unnest(made || standing, made_of || standing_of) AS mb (id, n) ON mb.n = ma.n
            JOIN job_run b ON b.id = mb.id AND b.job_key = ANY (j.depends_on)
            RETURNING d.depends_on_run_id, d.run_id
        ), waits AS (
            SELECT x.id, sum(x.waits)::int AS waits, bool_or(x.has_dependents) AS has_dependents
            FROM (
                SELECT e.run_id AS id, 1 AS waits, false AS has_dependents FROM edge e
                UNION ALL
                SELECT e.depends_on_run_id, 0, true FROM edge e) AS x
            GROUP BY x.id
        )
        UPDATE job_run r
        SET waits_for = r.waits_for + w.waits, has_dependents = r.has_dependents OR w.has_dependents
        FROM waits w WHERE r.id = w.id;
    END IF;

    IF hint THEN
        PERFORM job_run_hint(q) FROM unnest(queues) AS q;
    END IF;

    RETURN QUERY
    SELECT u.id, u.slot, coalesce(m.runs, 0)::int,
        CASE WHEN m.runs > 0 THEN NULL
            WHEN u.held IS NOT NULL THEN u.held
            WHEN NOT u.n = ANY (coalesce(planned, '{}')) THEN 'no_jobs'
            WHEN u.slot IS NOT NULL AND EXISTS (
                SELECT FROM job_schedule s JOIN job_run r ON r.schedule_key = s.key AND r.slot = u.slot
                WHERE s.id = u.id) THEN 'duplicate'
            ELSE 'overlap' END
    FROM unnest(schedule_ids, fire_slots, held) WITH ORDINALITY AS u (id, slot, held, n)
    LEFT JOIN (SELECT x.n, count(*) AS runs FROM unnest(made_of) AS x (n) GROUP BY x.n) AS m ON m.n = u.n
    ORDER BY u.n;
END
$$;

-- The jobs of schedules that a file changes or leaves out while a slot of them is due: they stay as they
-- are until that slot has fired, as it has to find what it fires.
CREATE FUNCTION schedule_waiting_jobs(schedules jsonb) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
    WITH waiting AS (
        SELECT DISTINCT s.target_kind, s.target
        FROM job_schedule s
        WHERE s.enabled AND coalesce(s.next_run_at <= now(), true)
            AND NOT EXISTS (
                SELECT FROM jsonb_array_elements(schedules) AS f
                WHERE f.value ->> 'key' = s.key AND f.value -> 'definition' = s.definition)
    )
    SELECT j.key FROM waiting w JOIN job j ON j.key = w.target
    WHERE w.target_kind = 'job' AND j.retired_at IS NULL
    UNION
    SELECT j.key FROM waiting w JOIN job j ON j.group_name = w.target
    WHERE w.target_kind = 'group' AND j.retired_at IS NULL
    UNION
    SELECT j.key FROM waiting w CROSS JOIN job j
    WHERE w.target_kind = 'all' AND j.retired_at IS NULL
$$;

-- What the definitions of a file would change, and what they change: new, changed, back, retired.
-- `waits`: a slot of the schedule is due under its old definition, or may be: it has no next run yet; or
-- the job is one that such a slot fires. What is due is fired first, and the change comes with the next
-- synchronisation. Jobs come as rows of `job`, schedules as rows of `job_schedule`, both without their
-- state.
CREATE OR REPLACE FUNCTION schedule_diff(jobs jsonb, schedules jsonb)
RETURNS TABLE (kind text, key text, change text, detail text)
LANGUAGE sql STABLE AS $$
    WITH pair AS (
        SELECT 'job' AS kind, coalesce(f.value ->> 'key', j.key) AS key, f.value AS new,
            to_jsonb(j) - 'retired_at' AS old, j.retired_at IS NOT NULL AS was_retired,
            w.key IS NOT NULL AS due
        FROM jsonb_array_elements(jobs) AS f FULL JOIN job j ON j.key = f.value ->> 'key'
        LEFT JOIN schedule_waiting_jobs(schedules) AS w (key) ON w.key = j.key
        UNION ALL
        SELECT 'schedule', coalesce(f.value ->> 'key', s.key), f.value -> 'definition', s.definition,
            s.retired_at IS NOT NULL, s.enabled AND coalesce(s.next_run_at <= now(), true)
        FROM jsonb_array_elements(schedules) AS f FULL JOIN job_schedule s ON s.key = f.value ->> 'key'
    ), told AS (
        SELECT p.kind, p.key, p.due, p.new, p.old, CASE
                WHEN p.old IS NULL THEN 'new'
                WHEN p.new IS NULL AND NOT p.was_retired THEN 'retired'
                WHEN p.new IS NOT NULL AND p.was_retired THEN 'back'
                WHEN p.new <> p.old THEN 'changed' END AS change
        FROM pair p
    )
    SELECT t.kind, t.key, CASE WHEN t.due THEN 'waits' ELSE t.change END,
        CASE WHEN t.new IS NOT NULL AND t.old IS NOT NULL THEN (
            SELECT string_agg(format('%s: %s → %s', k, coalesce((t.old -> k)::text, 'none'),
                coalesce((t.new -> k)::text, 'none')), '; ' ORDER BY k)
            FROM jsonb_object_keys(t.old || t.new) AS k
            WHERE t.old -> k IS DISTINCT FROM t.new -> k) END
    FROM told t
    WHERE t.change IS NOT NULL
    ORDER BY t.kind, t.key
$$;

-- The slots of schedules that a file changes or leaves out which have come, and whose runs leave later
-- by their jitter: they leave then, as the old definition has it.
CREATE FUNCTION schedule_fire_jittered(schedules jsonb) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    ids bigint[];
    slots timestamptz[];
    fired record;
BEGIN
    SELECT array_agg(p.id), array_agg(p.next_slot) INTO ids, slots
    FROM (
        SELECT s.id, s.next_slot
        FROM job_schedule s
        WHERE s.enabled AND s.next_slot <= now() AND s.next_run_at > now()
            AND NOT EXISTS (
                SELECT FROM jsonb_array_elements(schedules) AS f
                WHERE f.value ->> 'key' = s.key AND f.value -> 'definition' = s.definition)
        ORDER BY s.id
        FOR UPDATE) AS p;
    IF ids IS NULL THEN
        RETURN;
    END IF;
    FOR fired IN SELECT f.schedule_id, f.slot, f.runs, f.reason
        FROM schedule_fire(ids, slots, 'schedule', true) AS f LOOP
        IF fired.reason IS NULL THEN
            UPDATE job_run r SET run_at = r.run_at + (s.next_run_at - now())
            FROM job_schedule s
            WHERE s.id = fired.schedule_id AND r.schedule_key = s.key AND r.slot = fired.slot;
            INSERT INTO schedule_slot (schedule_id, slot, last_slot, outcome, runs)
            VALUES (fired.schedule_id, fired.slot, fired.slot, 'fired', fired.runs);
        ELSE
            PERFORM schedule_keep_skipped(ARRAY[fired.schedule_id], ARRAY[fired.slot], ARRAY[fired.slot],
                ARRAY[1::bigint], ARRAY[fired.reason]);
        END IF;
    END LOOP;
    UPDATE job_schedule s
    SET next_slot = NULL, accounted_until = greatest(s.accounted_until, s.next_slot), last_run_at = now()
    WHERE s.id = ANY (ids);
END
$$;

-- Which scheduler's file is in force: of the one that started last.
CREATE TABLE schedule_decided (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    daemon_id bigint NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON schedule_decided TO tocsin_scheduler;

-- Puts the definitions of a file in force, under a lock that one process holds at a time. New
-- schedules are disabled; what the file no longer has is retired; an edit keeps `enabled`, and the
-- accounts go on from now(), so that it neither fires nor loses a slot. Nothing changes when one that
-- started later than by_daemon has put its own in force. A lock is waited for half a second at most.
DROP FUNCTION schedule_sync(jsonb, jsonb);
CREATE FUNCTION schedule_sync(jobs jsonb, schedules jsonb, by_daemon bigint DEFAULT NULL)
RETURNS TABLE (kind text, key text, change text, detail text)
LANGUAGE plpgsql SET lock_timeout = '500ms' AS $$
#variable_conflict use_column
DECLARE
    waiting text[];
    edited bigint;
    retired bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('tocsin'), hashtext('schedule_sync'));
    IF by_daemon IS NOT NULL THEN
        INSERT INTO schedule_decided AS d (daemon_id) VALUES (by_daemon)
        ON CONFLICT (only_one) DO UPDATE SET daemon_id = excluded.daemon_id
            WHERE d.daemon_id <= excluded.daemon_id;
        IF NOT FOUND THEN
            RETURN;
        END IF;
    END IF;
    RETURN QUERY SELECT d.kind, d.key, d.change, d.detail FROM schedule_diff(jobs, schedules) AS d;
    waiting := ARRAY(SELECT schedule_waiting_jobs(schedules));
    PERFORM schedule_fire_jittered(schedules);

    INSERT INTO job AS j (key, handler, queue, group_name, depends_on, on_dependency_failure, payload, priority,
        max_attempts, backoff_ms, timeout_ms, overlap)
    SELECT f.key, f.handler, f.queue, f.group_name, f.depends_on, f.on_dependency_failure, f.payload, f.priority,
        f.max_attempts, f.backoff_ms, f.timeout_ms, f.overlap
    FROM jsonb_populate_recordset(NULL::job, jobs) AS f
    WHERE NOT f.key = ANY (waiting)
        AND NOT EXISTS (SELECT FROM job j WHERE to_jsonb(j) = to_jsonb(f)) -- no lock on what stays as it is
    ON CONFLICT (key) DO UPDATE
    SET handler = excluded.handler, queue = excluded.queue, group_name = excluded.group_name,
        depends_on = excluded.depends_on, on_dependency_failure = excluded.on_dependency_failure,
        payload = excluded.payload, priority = excluded.priority, max_attempts = excluded.max_attempts,
        backoff_ms = excluded.backoff_ms, timeout_ms = excluded.timeout_ms, overlap = excluded.overlap,
        retired_at = NULL;
    UPDATE job j SET retired_at = now()
    WHERE j.retired_at IS NULL AND NOT j.key = ANY (waiting)
        AND NOT EXISTS (SELECT FROM jsonb_array_elements(jobs) AS f WHERE f.value ->> 'key' = j.key);

    WITH changed AS (
        INSERT INTO job_schedule AS s (key, definition, target_kind, target, flag, overlap, stagger_ms, max_batch,
            grace_ms)
        SELECT f.key, f.definition, f.target_kind, f.target, f.flag, f.overlap, f.stagger_ms, f.max_batch, f.grace_ms
        FROM jsonb_populate_recordset(NULL::job_schedule, schedules) AS f
        WHERE NOT EXISTS (
            SELECT FROM job_schedule s
            WHERE s.key = f.key AND s.definition = f.definition AND s.retired_at IS NULL AND s.fault IS NULL)
        ON CONFLICT (key) DO UPDATE
        SET definition = excluded.definition, target_kind = excluded.target_kind, target = excluded.target,
            flag = excluded.flag, overlap = excluded.overlap, stagger_ms = excluded.stagger_ms,
            max_batch = excluded.max_batch, grace_ms = excluded.grace_ms, revision = s.revision + 1,
            accounted_until = CASE WHEN s.enabled THEN greatest(s.accounted_until, now()) ELSE s.accounted_until END,
            awaits_next = s.enabled, next_slot = NULL, next_run_at = NULL, fault = NULL, retired_at = NULL,
            locked_at = NULL, locked_by = NULL, fence = NULL
        WHERE NOT (s.enabled AND coalesce(s.next_run_at <= now(), true))
        RETURNING s.id, s.revision
    )
    INSERT INTO schedule_preview AS v (schedule_id, revision)
    SELECT c.id, c.revision FROM changed c
    ON CONFLICT (schedule_id) DO UPDATE
    SET revision = excluded.revision, slots = '{}', run_at = '{}', moved = '{}', low_at = NULL, wanted = true;
    GET DIAGNOSTICS edited = ROW_COUNT;

    UPDATE job_schedule s SET enabled = false, retired_at = now()
    WHERE s.retired_at IS NULL AND NOT (s.enabled AND coalesce(s.next_run_at <= now(), true))
        AND NOT EXISTS (SELECT FROM jsonb_array_elements(schedules) AS f WHERE f.value ->> 'key' = s.key);
    GET DIAGNOSTICS retired = ROW_COUNT;
    IF edited + retired > 0 THEN -- else the one that waits would wake itself, over and over
        PERFORM pg_notify('tocsin_scheduler', '');
    END IF;
END
$$;

-- Switching a schedule on starts its accounts at now(); the scheduler computes the next slot. A slot
-- that has come when it is switched off is written down, also when its jitter had yet to pass.
CREATE OR REPLACE FUNCTION job_schedule_switched() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.enabled THEN
        NEW.accounted_until = greatest(OLD.accounted_until, now());
    ELSIF OLD.next_slot <= now() THEN
        INSERT INTO schedule_slot (schedule_id, slot, last_slot, outcome, reason)
        VALUES (OLD.id, OLD.next_slot, OLD.next_slot, 'skipped', 'disabled')
        ON CONFLICT DO NOTHING;
        NEW.accounted_until = greatest(OLD.accounted_until, OLD.next_slot);
        NEW.skipped_runs = OLD.skipped_runs + 1;
    END IF;
    NEW.awaits_next = NEW.enabled;
    NEW.next_slot = NULL;
    NEW.next_run_at = NULL;
    NEW.locked_at = NULL;
    NEW.locked_by = NULL;
    NEW.fence = NULL;
    NEW.rescues = 0;
    UPDATE schedule_preview SET wanted = true WHERE schedule_id = NEW.id AND NOT wanted;
    PERFORM pg_notify('tocsin_scheduler', '');
    RETURN NEW;
END
$$;

-- Moves claimed schedules on, as schedule_advance_all() does. Where that fails, each is moved on by
-- itself, so that one that cannot be, as a transaction that somebody left open holds what it needs, keeps
-- nobody else waiting: it stays due, and is told as a row with 0 slots whose reason is the error. Locks
-- are not waited for long, and after ten in vain hardly at all. Every row without a key tells of schedules
-- that moved on.
ALTER FUNCTION schedule_advance(bigint, bigint[], bigint[], int[], timestamptz[], bigint[], bigint[], bigint[],
    boolean[], text[], bigint[], bigint[], bigint[], bigint[], boolean[], boolean) RENAME TO schedule_advance_all;
CREATE FUNCTION schedule_advance(daemon_id bigint, schedule_ids bigint[], fences bigint[],
    revisions int[], claimed timestamptz[], accounted bigint[], next_slots bigint[], next_runs bigint[],
    run_now boolean[], faults text[], entry_ids bigint[], first_slots bigint[], last_slots bigint[], counts bigint[],
    fires boolean[], hint boolean)
RETURNS TABLE (key text, slot timestamptz, last_slot timestamptz, slots bigint, runs int, reason text,
    skipped_runs bigint)
LANGUAGE plpgsql SET lock_timeout = '500ms' AS $$
#variable_conflict use_column
DECLARE
    in_vain int := 0;
    own int[]; -- the entries of one
BEGIN
    BEGIN
        RETURN QUERY SELECT a.key, a.slot, a.last_slot, a.slots, a.runs, a.reason, a.skipped_runs
        FROM schedule_advance_all(daemon_id, schedule_ids, fences, revisions, claimed, accounted, next_slots,
            next_runs, run_now, faults, entry_ids, first_slots, last_slots, counts, fires, hint) AS a;
        RETURN;
    EXCEPTION WHEN OTHERS THEN
        PERFORM set_config('lock_timeout', '100ms', true);
    END;
    FOR n IN 1 .. cardinality(schedule_ids) LOOP
        own := array_positions(entry_ids, schedule_ids[n]);
        BEGIN
            RETURN QUERY SELECT a.key, a.slot, a.last_slot, a.slots, a.runs, a.reason, a.skipped_runs
            FROM schedule_advance_all(daemon_id, schedule_ids[n:n], fences[n:n], revisions[n:n], claimed[n:n],
                accounted[n:n], next_slots[n:n], next_runs[n:n], run_now[n:n], faults[n:n],
                entry_ids[own[1]:own[cardinality(own)]], first_slots[own[1]:own[cardinality(own)]],
                last_slots[own[1]:own[cardinality(own)]], counts[own[1]:own[cardinality(own)]],
                fires[own[1]:own[cardinality(own)]], hint) AS a;
        EXCEPTION WHEN OTHERS THEN
            RETURN QUERY SELECT s.key, NULL::timestamptz, NULL::timestamptz, 0::bigint, 0, SQLERRM, s.skipped_runs
            FROM job_schedule s WHERE s.id = schedule_ids[n];
            in_vain := in_vain + 1;
            IF in_vain = 10 THEN
                PERFORM set_config('lock_timeout', '1ms', true);
            END IF;
        END;
    END LOOP;
END
$$;
