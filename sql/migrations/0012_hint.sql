-- Hints that cost an enqueuer next to nothing: what its session knows already is not looked up again.

-- Hints a queue, at most once in 100 ms: every NOTIFY takes a lock of the whole cluster at its
-- commit. Nobody waits here: where another transaction is just hinting, this one leaves the row
-- alone and hints too. Its session remembers when the queue was last hinted, as queue@epoch in the
-- setting tocsin.hinted, which a transaction that is rolled back forgets together with its hint.
CREATE FUNCTION job_run_hint_now(queue_name text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_catalog, pg_temp AS $$
DECLARE
    last timestamptz;
    this timestamptz := clock_timestamp();
BEGIN
    SELECT h.hinted_at INTO last FROM public.queue_hint AS h WHERE h.queue = queue_name;
    IF last > this - interval '100 milliseconds' AND last <= this THEN
        PERFORM set_config('tocsin.hinted', queue_name || '@' || extract(epoch FROM last), false);
        RETURN false;
    END IF;
    IF last IS NOT NULL THEN
        UPDATE public.queue_hint AS h SET hinted_at = this
        WHERE h.queue = (SELECT k.queue FROM public.queue_hint AS k WHERE k.queue = queue_name
            FOR UPDATE SKIP LOCKED);
    ELSIF pg_try_advisory_xact_lock(hashtextextended('tocsin.queue_hint', 0)) THEN
        INSERT INTO public.queue_hint (queue, hinted_at) VALUES (queue_name, this)
        ON CONFLICT DO NOTHING;
    END IF;
    PERFORM set_config('tocsin.hinted', queue_name || '@' || extract(epoch FROM this), false);
    PERFORM pg_notify('tocsin_' || queue_name, '');
    RETURN true;
END
$$;
REVOKE ALL ON FUNCTION job_run_hint_now(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION job_run_hint_now(text) TO tocsin_scheduler;

-- One expression, which the planner puts in place of the call.
CREATE OR REPLACE FUNCTION job_run_hint(queue_name text) RETURNS boolean
LANGUAGE sql AS $$
    SELECT CASE
        WHEN current_setting('tocsin.notify', true) = 'off' THEN false
        WHEN split_part(current_setting('tocsin.hinted', true), '@', 1) = queue_name
            AND extract(epoch FROM clock_timestamp())
                - nullif(split_part(current_setting('tocsin.hinted', true), '@', 2), '')::numeric
                BETWEEN 0 AND 0.1 THEN false
        ELSE job_run_hint_now(queue_name) END
$$;
