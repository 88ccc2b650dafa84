-- When: the runtime state of schedules, the ledger of their slots, and the one path by which a
-- slot becomes runs. Definitions are code (deploy/schedules.json).

CREATE TABLE job_schedule (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL UNIQUE,
    definition jsonb NOT NULL, -- as in the file, after substitution, with its holidays' dates
    revision int NOT NULL DEFAULT 1, -- of the definition; a claim of an older one is lost
    target_kind text NOT NULL CHECK (target_kind IN ('job', 'group', 'all')),
    target text, -- the key of a job, or the name of a group
    flag text, -- asked at fire time
    overlap text NOT NULL DEFAULT 'allow' CHECK (overlap IN ('allow', 'forbid')),
    stagger_ms bigint NOT NULL DEFAULT 0 CHECK (stagger_ms >= 0), -- between two batches of runs
    max_batch int NOT NULL DEFAULT 1 CHECK (max_batch > 0), -- runs that a stagger lets go together
    grace_ms bigint NOT NULL DEFAULT 60000 CHECK (grace_ms >= 0),
    enabled boolean NOT NULL DEFAULT false,
    awaits_next boolean NOT NULL DEFAULT false, -- next_run_at is missing on purpose: enabled or edited just now
    accounted_until timestamptz NOT NULL DEFAULT now(), -- every slot up to here was fired or skipped
    next_slot timestamptz, -- the first one later than accounted_until
    next_run_at timestamptz, -- next_slot and its jitter; infinity: no slot comes any more
    last_run_at timestamptz,
    skipped_runs bigint NOT NULL DEFAULT 0,
    fault text, -- why its definition cannot be used by the scheduler that runs
    locked_at timestamptz,
    locked_by bigint,
    fence bigint,
    rescues int NOT NULL DEFAULT 0, -- claims taken from a scheduler that died, since it last moved on
    retired_at timestamptz, -- gone from the file; its history stays
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((target IS NULL) = (target_kind = 'all')),
    CHECK (retired_at IS NULL OR NOT enabled),
    CHECK ((locked_at IS NULL) = (locked_by IS NULL) AND (locked_at IS NULL) = (fence IS NULL))
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000);
-- The one index of a tick. A claim changes none of its columns (HOT).
CREATE INDEX job_schedule_due ON job_schedule (next_run_at) WHERE enabled;

-- What became of each slot that fell due. A gap is one row, however long it was.
CREATE TABLE schedule_slot (
    schedule_id bigint NOT NULL, -- a schedule is retired, never deleted; a foreign key would cost as much as the row
    slot timestamptz NOT NULL,
    last_slot timestamptz NOT NULL, -- of a gap; else the slot itself
    slots bigint NOT NULL DEFAULT 1 CHECK (slots > 0),
    outcome text NOT NULL CHECK (outcome IN ('fired', 'skipped')),
    -- late: later than grace allows; flag: switched off; overlap: the run before it is not finished;
    -- no_jobs: its target names none; duplicate: its runs were there already; disabled: while due
    reason text CHECK (reason IN ('late', 'flag', 'overlap', 'no_jobs', 'duplicate', 'disabled')),
    runs int NOT NULL DEFAULT 0,
    recovered_at timestamptz, -- schedule_run_missed() ran its last slot, or a later one
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schedule_id, slot),
    CHECK ((outcome = 'skipped') = (reason IS NOT NULL))
);
CREATE INDEX schedule_slot_age ON schedule_slot USING brin (recorded_at);

-- The slots to come, as the scheduler computed them: SQL knows no cron.
CREATE TABLE schedule_preview (
    schedule_id bigint PRIMARY KEY REFERENCES job_schedule ON DELETE CASCADE,
    revision int NOT NULL,
    slots timestamptz[] NOT NULL DEFAULT '{}',
    run_at timestamptz[] NOT NULL DEFAULT '{}', -- with jitter
    moved text[] NOT NULL DEFAULT '{}', -- '', gap or overlap: what a change of clocks does to it
    low_at timestamptz, -- once this slot has passed, more of them are wanted
    wanted boolean NOT NULL DEFAULT true
);
CREATE INDEX schedule_preview_wanted ON schedule_preview (schedule_id) WHERE wanted;

-- The rules of zones that the next_run_at were computed by: when a scheduler knows others, it
-- computes again.
CREATE TABLE schedule_zone (
    name text PRIMARY KEY,
    rules bigint NOT NULL -- a hash
);

CREATE TABLE job_run_dependency (
    depends_on_run_id bigint NOT NULL,
    run_id bigint NOT NULL,
    PRIMARY KEY (depends_on_run_id, run_id)
);
CREATE INDEX job_run_dependency_run ON job_run_dependency (run_id);
-- For `overlap: forbid` of a schedule, whose runs with a slot stand in job_run_slot already.
CREATE INDEX job_run_manual ON job_run (schedule_key) WHERE schedule_key IS NOT NULL AND slot IS NULL;

-- Switching a schedule on starts its accounts at now(); the scheduler computes the next slot.
CREATE FUNCTION job_schedule_switched() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.enabled THEN
        NEW.accounted_until = greatest(OLD.accounted_until, now());
    ELSIF OLD.next_slot IS NOT NULL AND OLD.next_run_at <= now() THEN
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
CREATE TRIGGER job_schedule_switched BEFORE UPDATE OF enabled ON job_schedule
    FOR EACH ROW WHEN (OLD.enabled IS DISTINCT FROM NEW.enabled)
    EXECUTE FUNCTION job_schedule_switched();

-- Makes the runs of slots: the one path for the schedule's own firing, run-now and recovery. A
-- NULL slot is a run that no slot asked for. Pairs of schedule and slot are distinct. Tells for
-- each how many runs were made, or why none.
CREATE FUNCTION schedule_fire(schedule_ids bigint[], fire_slots timestamptz[], fire_trigger text,
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
        RETURNING r.id, r.schedule_key, r.slot, r.queue
    )
    SELECT (SELECT array_agg(DISTINCT p.n) FROM planned p), (SELECT bool_or(p.depends_on <> '{}') FROM planned p),
        array_agg(m.id), array_agg(w.n), array_agg(DISTINCT m.queue)
    INTO planned, in_waves, made, made_of, queues
    FROM made m
    JOIN wanted w ON w.key = m.schedule_key AND w.slot IS NOT DISTINCT FROM m.slot;

    -- Waves: a run waits for those that it depends on, of the same firing.
    IF in_waves THEN
        WITH edge AS (
            INSERT INTO job_run_dependency AS d (depends_on_run_id, run_id)
            SELECT b.id, a.id
            FROM unnest(made, made_of) AS ma (id, n)
            JOIN job_run a ON a.id = ma.id
            JOIN job j ON j.key = a.job_key AND j.depends_on <> '{}'
            JOIN unnest(made, made_of) AS mb (id, n) ON mb.n = ma.n
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
        UPDATE job_run r SET waits_for = w.waits, has_dependents = w.has_dependents
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

-- Writes skipped slots down: a gap goes on where the newest row of its schedule is a gap for the same
-- reason, so that one darkness is one row. Answers each with the schedule's count of all.
CREATE FUNCTION schedule_keep_skipped(schedule_ids bigint[], firsts timestamptz[], lasts timestamptz[],
    counts bigint[], reasons text[])
RETURNS TABLE (key text, slot timestamptz, last_slot timestamptz, slots bigint, reason text, skipped_runs bigint)
LANGUAGE sql SET plan_cache_mode = force_custom_plan AS $$
    WITH skipped AS (
        SELECT u.id, u.slot, u.last_slot, u.slots, u.reason
        FROM unnest(schedule_ids, firsts, lasts, counts, reasons) AS u (id, slot, last_slot, slots, reason)
    ), counted AS (
        UPDATE job_schedule s SET skipped_runs = s.skipped_runs + k.slots
        FROM (SELECT k.id, sum(k.slots)::bigint AS slots FROM skipped k GROUP BY k.id) AS k
        WHERE s.id = k.id
        RETURNING s.id, s.key, s.skipped_runs
    ), merged AS (
        UPDATE schedule_slot l
        SET last_slot = greatest(l.last_slot, k.last_slot), slots = l.slots + k.slots, recorded_at = now()
        FROM skipped k
        WHERE l.schedule_id = k.id AND l.outcome = 'skipped' AND l.reason = k.reason
            AND l.recovered_at IS NULL
            AND l.slot = (SELECT max(x.slot) FROM schedule_slot x WHERE x.schedule_id = k.id)
        RETURNING l.schedule_id, l.reason
    ), added AS (
        INSERT INTO schedule_slot AS l (schedule_id, slot, last_slot, slots, outcome, reason)
        SELECT k.id, k.slot, k.last_slot, k.slots, 'skipped', k.reason
        FROM skipped k
        WHERE NOT EXISTS (SELECT FROM merged m WHERE m.schedule_id = k.id AND m.reason = k.reason)
        ON CONFLICT DO NOTHING
    )
    SELECT c.key, k.slot, k.last_slot, k.slots, k.reason, c.skipped_runs
    FROM skipped k JOIN counted c ON c.id = k.id
    ORDER BY k.slot, c.key
$$;

-- Moves claimed schedules on: fires and skips the slots that the scheduler worked out and sets the
-- next one, all or nothing for each. Guarded by the claim, the definition's revision and the
-- next_run_at that was claimed; what does not match is left alone. Slots are UTC seconds, runs UTC
-- milliseconds, 0 for none. Entries belong to schedules by id: a slot that is fired, or a gap that is
-- skipped. Answers how many schedules moved on (`slots` of the row without a key), then each entry.
CREATE FUNCTION schedule_advance(daemon_id bigint, schedule_ids bigint[], fences bigint[],
    revisions int[], claimed timestamptz[], accounted bigint[], next_slots bigint[], next_runs bigint[],
    run_now boolean[], faults text[], entry_ids bigint[], first_slots bigint[], last_slots bigint[], counts bigint[],
    fires boolean[], hint boolean)
RETURNS TABLE (key text, slot timestamptz, last_slot timestamptz, slots bigint, runs int, reason text,
    skipped_runs bigint)
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    moved_ids bigint[];
    fired_ids bigint[];
    fired_slots timestamptz[];
    fired_runs int[];
    fired_reasons text[];
    skipped_ids bigint[];
    skipped_firsts timestamptz[];
    skipped_lasts timestamptz[];
    skipped_counts bigint[];
    skipped_reasons text[];
BEGIN
    WITH m AS (
        UPDATE job_schedule s
        SET accounted_until = greatest(s.accounted_until, to_timestamp(p.accounted)),
            next_slot = to_timestamp(nullif(p.next_slot, 0)),
            next_run_at = coalesce(to_timestamp(nullif(p.next_run, 0)::float8 / 1000), 'infinity'),
            fault = p.fault, awaits_next = false,
            last_run_at = CASE WHEN p.run_now THEN now() ELSE s.last_run_at END,
            locked_at = NULL, locked_by = NULL, fence = NULL, rescues = 0
        FROM unnest(schedule_ids, fences, revisions, claimed, accounted, next_slots, next_runs, run_now, faults)
            AS p (id, fence, revision, claimed, accounted, next_slot, next_run, run_now, fault)
        -- The key finds the row. What guards it is put so that the planner does not take it for rare
        -- and read the whole table for it.
        WHERE s.id = p.id AND CASE
            WHEN s.locked_by = daemon_id AND s.fence = p.fence AND s.revision = p.revision AND s.enabled
                AND s.next_run_at IS NOT DISTINCT FROM p.claimed THEN true ELSE false END
        RETURNING s.id
    )
    SELECT array_agg(m.id) INTO moved_ids FROM m;
    RETURN QUERY SELECT NULL::text, NULL::timestamptz, NULL::timestamptz,
        coalesce(cardinality(moved_ids), 0)::bigint, 0, NULL::text, 0::bigint;

    SELECT array_agg(e.id ORDER BY e.n), array_agg(to_timestamp(e.slot) ORDER BY e.n)
    INTO fired_ids, fired_slots
    FROM unnest(entry_ids, first_slots, fires) WITH ORDINALITY AS e (id, slot, fires, n)
    WHERE e.fires AND e.id = ANY (moved_ids);
    IF fired_ids IS NOT NULL THEN
        SELECT array_agg(f.schedule_id), array_agg(f.slot), array_agg(f.runs), array_agg(f.reason)
        INTO fired_ids, fired_slots, fired_runs, fired_reasons
        FROM schedule_fire(fired_ids, fired_slots, 'schedule', hint) AS f;
        RETURN QUERY
        WITH kept AS (
            INSERT INTO schedule_slot AS l (schedule_id, slot, last_slot, outcome, runs)
            SELECT f.id, f.slot, f.slot, 'fired', f.runs
            FROM unnest(fired_ids, fired_slots, fired_runs, fired_reasons) AS f (id, slot, runs, reason)
            WHERE f.reason IS NULL
            RETURNING l.schedule_id, l.slot, l.runs
        )
        SELECT s.key, k.slot, k.slot, 1::bigint, k.runs, NULL::text, s.skipped_runs
        FROM kept k JOIN job_schedule s ON s.id = k.schedule_id;
    END IF;

    SELECT array_agg(k.id), array_agg(k.slot), array_agg(k.last_slot), array_agg(k.slots), array_agg(k.reason)
    INTO skipped_ids, skipped_firsts, skipped_lasts, skipped_counts, skipped_reasons
    FROM (
        SELECT e.id, to_timestamp(e.slot) AS slot, to_timestamp(e.last_slot) AS last_slot, e.slots, 'late' AS reason
        FROM unnest(entry_ids, first_slots, last_slots, counts, fires) AS e (id, slot, last_slot, slots, fires)
        WHERE NOT e.fires AND e.id = ANY (moved_ids)
        UNION ALL
        SELECT f.id, min(f.slot), max(f.slot), count(*), f.reason
        FROM unnest(fired_ids, fired_slots, fired_reasons) AS f (id, slot, reason)
        WHERE f.reason IS NOT NULL
        GROUP BY f.id, f.reason) AS k;
    IF skipped_ids IS NOT NULL THEN
        RETURN QUERY
        SELECT k.key, k.slot, k.last_slot, k.slots, 0, k.reason, k.skipped_runs
        FROM schedule_keep_skipped(skipped_ids, skipped_firsts, skipped_lasts, skipped_counts, skipped_reasons) AS k;
    END IF;

    UPDATE schedule_preview v SET wanted = true
    FROM job_schedule s
    WHERE v.schedule_id = ANY (moved_ids) AND NOT v.wanted AND s.id = v.schedule_id
        AND v.low_at <= s.accounted_until;
END
$$;

-- The end of runs that others wait for. Each of those waits for one less, or is cancelled with all
-- that waits for it, as its job says. The statement that finishes runs calls it for those with
-- has_dependents. How many runs it lets go.
CREATE FUNCTION job_run_settle_dependents(run_ids bigint[], succeeded boolean[]) RETURNS int
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = public, pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    ended bigint[] := run_ids;
    good boolean[] := succeeded;
    waiting bigint[];
    let_go int := 0;
    more int;
    doomed bigint[];
BEGIN
    WHILE cardinality(ended) > 0 LOOP
        -- In the order of their ids, so that two that finish at once cannot lock each other out.
        waiting := ARRAY(
            SELECT r.id FROM job_run r
            WHERE r.id IN (SELECT d.run_id FROM job_run_dependency d WHERE d.depends_on_run_id = ANY (ended))
            ORDER BY r.id FOR UPDATE);
        SELECT array_agg(r.id) INTO doomed
        FROM job_run r LEFT JOIN job j ON j.key = r.job_key
        WHERE r.id = ANY (waiting) AND coalesce(j.on_dependency_failure, 'cancel') = 'cancel'
            AND EXISTS (
                SELECT FROM job_run_dependency d JOIN unnest(ended, good) AS e (id, good) ON e.id = d.depends_on_run_id
                WHERE d.run_id = r.id AND NOT e.good);

        WITH gone AS (
            DELETE FROM job_run_dependency d WHERE d.depends_on_run_id = ANY (ended) RETURNING d.run_id
        ), let AS (
            UPDATE job_run r SET waits_for = greatest(0, r.waits_for - g.n)
            FROM (SELECT gone.run_id, count(*)::int AS n FROM gone GROUP BY gone.run_id) AS g
            WHERE r.id = g.run_id AND NOT r.id = ANY (coalesce(doomed, '{}'))
            RETURNING r.queue, r.waits_for
        )
        SELECT coalesce(sum(q.runs), 0), count(job_run_hint(q.queue)) INTO more
        FROM (SELECT let.queue, count(*) AS runs FROM let WHERE let.waits_for = 0 GROUP BY let.queue) AS q;
        let_go := let_go + more;

        DELETE FROM job_run_dependency d WHERE d.run_id = ANY (doomed);
        WITH gone AS (
            DELETE FROM job_run r WHERE r.id = ANY (doomed)
            RETURNING r.id, r.org_id, r.queue, r.priority, r.run_at, r.handler, r.job_key, r.payload, r.trigger,
                r.schedule_key, r.slot, r.attempt, r.created_at, r.has_dependents
        ), done AS (
            INSERT INTO job_run_done (id, org_id, queue, priority, run_at, handler, job_key, payload, trigger,
                schedule_key, slot, attempt, outcome, failure, created_at, finished_at)
            SELECT g.id, g.org_id, g.queue, g.priority, g.run_at, g.handler, g.job_key, g.payload, g.trigger,
                g.schedule_key, g.slot, g.attempt, 'cancelled',
                jsonb_build_object('code', 'cancelled', 'detail', 'a run that it depends on failed'),
                g.created_at, now()
            FROM gone g
        )
        SELECT array_agg(g.id), array_agg(false) INTO ended, good FROM gone g WHERE g.has_dependents;
    END LOOP;
    RETURN let_go;
END
$$;

-- What the definitions of a file would change, and what they change: new, changed, back, retired.
-- `waits`: a slot of the schedule is due under its old definition, or may be: it has no next run yet.
-- What is due is fired first, and the change comes with the next synchronisation. Jobs come as rows of `job`, schedules as rows of
-- `job_schedule`, both without their state.
CREATE FUNCTION schedule_diff(jobs jsonb, schedules jsonb)
RETURNS TABLE (kind text, key text, change text, detail text)
LANGUAGE sql STABLE AS $$
    WITH pair AS (
        SELECT 'job' AS kind, coalesce(f.value ->> 'key', j.key) AS key, f.value AS new,
            to_jsonb(j) - 'retired_at' AS old, j.retired_at IS NOT NULL AS was_retired, false AS due
        FROM jsonb_array_elements(jobs) AS f FULL JOIN job j ON j.key = f.value ->> 'key'
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

-- Puts the definitions of a file in force, under a lock that one process holds at a time. New
-- schedules are disabled; what the file no longer has is retired; an edit keeps `enabled`, and the
-- accounts go on from now(), so that it neither fires nor loses a slot.
CREATE FUNCTION schedule_sync(jobs jsonb, schedules jsonb)
RETURNS TABLE (kind text, key text, change text, detail text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('tocsin'), hashtext('schedule_sync'));
    RETURN QUERY SELECT d.kind, d.key, d.change, d.detail FROM schedule_diff(jobs, schedules) AS d;

    INSERT INTO job AS j (key, handler, queue, group_name, depends_on, on_dependency_failure, payload, priority,
        max_attempts, backoff_ms, timeout_ms, overlap)
    SELECT f.key, f.handler, f.queue, f.group_name, f.depends_on, f.on_dependency_failure, f.payload, f.priority,
        f.max_attempts, f.backoff_ms, f.timeout_ms, f.overlap
    FROM jsonb_populate_recordset(NULL::job, jobs) AS f
    WHERE NOT EXISTS (SELECT FROM job j WHERE to_jsonb(j) = to_jsonb(f)) -- no lock on what stays as it is
    ON CONFLICT (key) DO UPDATE
    SET handler = excluded.handler, queue = excluded.queue, group_name = excluded.group_name,
        depends_on = excluded.depends_on, on_dependency_failure = excluded.on_dependency_failure,
        payload = excluded.payload, priority = excluded.priority, max_attempts = excluded.max_attempts,
        backoff_ms = excluded.backoff_ms, timeout_ms = excluded.timeout_ms, overlap = excluded.overlap,
        retired_at = NULL;
    UPDATE job j SET retired_at = now()
    WHERE j.retired_at IS NULL
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

    UPDATE job_schedule s SET enabled = false, retired_at = now()
    WHERE s.retired_at IS NULL AND NOT (s.enabled AND coalesce(s.next_run_at <= now(), true))
        AND NOT EXISTS (SELECT FROM jsonb_array_elements(schedules) AS f WHERE f.value ->> 'key' = s.key);
    PERFORM pg_notify('tocsin_scheduler', '');
END
$$;

GRANT SELECT, INSERT, UPDATE ON job, job_schedule, schedule_zone TO tocsin_scheduler;
GRANT SELECT, INSERT, UPDATE ON schedule_slot, schedule_preview, job_run, job_run_dependency TO tocsin_scheduler;
GRANT SELECT ON feature_flag TO tocsin_scheduler;
GRANT USAGE ON SEQUENCE fence_seq TO tocsin_scheduler;
GRANT SELECT ON job_schedule TO tocsin_gateway;
-- It runs as its owner: whoever may end a run settles what waits for it.
REVOKE ALL ON FUNCTION job_run_settle_dependents(bigint[], boolean[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION job_run_settle_dependents(bigint[], boolean[])
    TO tocsin_worker_calendar, tocsin_worker_escalation, tocsin_worker_cleanup;
