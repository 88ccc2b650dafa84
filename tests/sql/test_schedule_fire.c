/*
 * Firing in SQL: what a slot becomes, what holds it back, waves of dependent runs, and
 * the functions that an operator calls.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/harness.h"

/* Jobs a ← b ← c of a group, one that forbids overlap, and a schedule for each target. */
#define WORLD                                                                                      \
    "INSERT INTO job (key, handler, queue, group_name, depends_on, on_dependency_failure) VALUES"  \
    " ('a', 'ha', 'worker-calendar', 'g', '{}', 'cancel'),"                                        \
    " ('b', 'hb', 'worker-calendar', 'g', '{a}', 'cancel'),"                                       \
    " ('c', 'hc', 'worker-cleanup', 'g', '{a,b}', 'run'),"                                         \
    " ('solo', 'hs', 'worker-calendar', NULL, '{}', 'cancel');"                                    \
    "UPDATE job SET overlap = 'forbid' WHERE key = 'solo';"                                        \
    "INSERT INTO job_schedule (key, definition, target_kind, target) VALUES"                       \
    " ('one', '{}', 'job', 'a'), ('solo', '{}', 'job', 'solo'), ('group', '{}', 'group', 'g'),"    \
    " ('all', '{}', 'all', NULL), ('none', '{}', 'job', 'gone');"                                  \
    "INSERT INTO schedule_preview (schedule_id, revision) SELECT id, 1 FROM job_schedule;"

#define FIRE(key, slot)                                                                            \
    "SELECT runs, coalesce(reason, '') FROM schedule_fire(ARRAY[schedule_id('" key "')],"          \
    " ARRAY['" slot "'::timestamptz], 'schedule', true)"
#define SLOT "2026-11-22 20:00:00Z"

static int setup(void **state)
{
    int err = harness_setup(state);

    if (err == 0)
        harness_exec(*state, WORLD);
    return err;
}

static void test_targets(void **state)
{
    struct harness *h = *state;

    assert_string_equal(harness_rows(h, FIRE("one", SLOT)), "1|");
    assert_string_equal(harness_rows(h, FIRE("group", SLOT)), "3|");
    assert_string_equal(harness_rows(h, FIRE("all", SLOT)), "4|");
    assert_string_equal(harness_rows(h, FIRE("none", SLOT)), "0|no_jobs");
    harness_exec(h, "UPDATE job SET retired_at = now() WHERE key = 'a'");
    assert_string_equal(harness_rows(h, FIRE("one", "2026-11-22 20:01Z")), "0|no_jobs");
    assert_string_equal(harness_rows(h, "SELECT queue, handler, job_key, trigger, schedule_key, "
                                        "extract(epoch FROM slot)::bigint"
                                        " FROM job_run WHERE schedule_key = 'one'"),
        "worker-calendar|ha|a|schedule|one|1795377600");
}

static void test_a_slot_has_its_runs_once(void **state)
{
    struct harness *h = *state;

    assert_string_equal(harness_rows(h, FIRE("one", SLOT)), "1|");
    assert_string_equal(harness_rows(h, FIRE("one", SLOT)), "0|duplicate");
    /* Also when its run has long been done, by the ledger. */
    harness_exec(h, "DELETE FROM job_run;"
                    "INSERT INTO schedule_slot (schedule_id, slot, last_slot, outcome, runs)"
                    " VALUES (schedule_id('one'), '" SLOT "', '" SLOT "', 'fired', 1)");
    assert_string_equal(harness_rows(h, FIRE("one", SLOT)), "0|duplicate");
}

static void test_what_holds_a_slot_back(void **state)
{
    struct harness *h = *state;

    /* A job that forbids overlap has one unfinished run, whoever asked for it. */
    assert_int_equal(harness_int(h, "SELECT schedule_run_now('solo')"), 1);
    assert_string_equal(harness_rows(h, FIRE("solo", SLOT)), "0|overlap");
    assert_string_equal(harness_rows(h, FIRE("all", SLOT)), "3|");
    harness_exec(h, "DELETE FROM job_run");
    assert_string_equal(harness_rows(h, FIRE("solo", SLOT)), "1|");
    /* A schedule that forbids it waits for its own runs, with or without a slot. */
    harness_exec(
        h, "DELETE FROM job_run; UPDATE job_schedule SET overlap = 'forbid' WHERE key = 'one'");
    assert_int_equal(harness_int(h, "SELECT schedule_run_now('one')"), 1);
    assert_string_equal(harness_rows(h, FIRE("one", SLOT)), "0|overlap");
    harness_exec(h, "DELETE FROM job_run");
    assert_string_equal(harness_rows(h, FIRE("one", SLOT)), "1|");
    assert_string_equal(harness_rows(h, FIRE("one", "2026-11-22 20:01Z")), "0|overlap");
    /* A flag that is off; a row that says on, or no row, lets pass. */
    harness_exec(h, "UPDATE job_schedule SET flag = 'calendar' WHERE key = 'group';"
                    "INSERT INTO feature_flag (name, enabled) VALUES ('calendar', false)");
    assert_string_equal(harness_rows(h, FIRE("group", SLOT)), "0|flag");
    assert_int_equal(harness_int(h, "SELECT schedule_run_now('group')"), 0);
    harness_exec(h, "UPDATE feature_flag SET enabled = true");
    assert_string_equal(harness_rows(h, FIRE("group", SLOT)), "3|");
}

static void test_stagger(void **state)
{
    struct harness *h = *state;

    harness_exec(h, "UPDATE job_schedule SET stagger_ms = 2000, max_batch = 2 WHERE key = 'all'");
    assert_string_equal(harness_rows(h, FIRE("all", SLOT)), "4|");
    assert_string_equal(harness_rows(h, "SELECT job_key, extract(epoch FROM run_at - "
                                        "created_at)::int FROM job_run ORDER BY id"),
        "a|0\nsolo|0\nb|2\nc|2");
}

/* Ends the run of a job as the worker's statement does. */
static void end_run(struct harness *h, const char *job, bool well)
{
    harness_execf(h,
        "WITH gone AS (DELETE FROM job_run WHERE job_key = '%s' RETURNING id, has_dependents)"
        " SELECT job_run_settle_dependents(ARRAY[id], ARRAY[%s]) FROM gone WHERE has_dependents",
        job, well ? "true" : "false");
}

#define WAITING "SELECT job_key, waits_for FROM job_run ORDER BY job_key"

static void test_waves(void **state)
{
    struct harness *h = *state;

    assert_string_equal(harness_rows(h, FIRE("group", SLOT)), "3|");
    assert_string_equal(harness_rows(h, WAITING), "a|0\nb|1\nc|2");
    end_run(h, "a", true);
    assert_string_equal(harness_rows(h, WAITING), "b|0\nc|1");
    end_run(h, "b", true);
    assert_string_equal(harness_rows(h, WAITING), "c|0");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run_dependency"), 0);
}

/* The run before it is under way still, and there is no second one: what depends on it waits for
 * that. */
static void test_a_dependency_that_its_overlap_holds_back(void **state)
{
    struct harness *h = *state;

    harness_exec(h, "UPDATE job SET overlap = 'forbid' WHERE key = 'a'");
    assert_string_equal(harness_rows(h, FIRE("one", SLOT)), "1|");
    assert_string_equal(harness_rows(h, FIRE("group", SLOT)), "2|");
    assert_string_equal(harness_rows(h, WAITING), "a|0\nb|1\nc|2");
    assert_string_equal(harness_rows(h, FIRE("group", "2026-11-22 20:01Z")), "2|");
    assert_string_equal(harness_rows(h, WAITING), "a|0\nb|1\nb|1\nc|2\nc|2");
    end_run(h, "a", true);
    assert_string_equal(harness_rows(h, WAITING), "b|0\nb|0\nc|1\nc|1");
}

static void test_a_failed_dependency_cancels_or_lets_pass(void **state)
{
    struct harness *h = *state;

    assert_string_equal(harness_rows(h, FIRE("group", SLOT)), "3|");
    end_run(h, "a", false);
    assert_string_equal(harness_rows(h, WAITING), "c|0");
    assert_string_equal(
        harness_rows(h, "SELECT job_key, outcome FROM job_run_done"), "b|cancelled");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run_dependency"), 0);
    /* One alone has nobody to wait for. */
    harness_exec(h, "DELETE FROM job_run; UPDATE job_schedule SET target = 'c' WHERE key = 'one'");
    assert_string_equal(harness_rows(h, FIRE("one", SLOT)), "1|");
    assert_string_equal(harness_rows(h, WAITING), "c|0");
}

static void test_switching(void **state)
{
    struct harness *h = *state;

    assert_string_equal(harness_text(h, "SELECT schedule_enable('one')"), "one is enabled");
    assert_string_equal(
        harness_text(h, "SELECT schedule_enable('one')"), "one was enabled already");
    assert_string_equal(harness_rows(h, "SELECT enabled, awaits_next, accounted_until <= now() "
                                        "FROM job_schedule WHERE key = 'one'"),
        "t|t|t");
    /* A slot that is due when it is switched off is not lost from the books. */
    harness_exec(
        h, "UPDATE job_schedule SET next_slot = now(), next_run_at = now() WHERE key = 'one'");
    assert_string_equal(harness_text(h, "SELECT schedule_disable('one')"), "one is disabled");
    assert_string_equal(
        harness_rows(h, "SELECT outcome, reason, slots FROM schedule_slot"), "skipped|disabled|1");
    assert_string_equal(
        harness_rows(
            h, "SELECT enabled, next_run_at, skipped_runs FROM job_schedule WHERE key = 'one'"),
        "f||1");
    harness_refused(h, NULL, "P0002", "SELECT schedule_enable('nobody')");
}

/* A slot that has come and waits for its jitter to pass is not lost from the books either. */
static void test_switching_off_within_the_jitter(void **state)
{
    struct harness *h = *state;

    harness_exec(h, "SELECT schedule_enable('one');"
                    "UPDATE job_schedule SET next_slot = date_trunc('second', now()), next_run_at ="
                    " now() + interval '1 min' WHERE key = 'one';"
                    "SELECT schedule_disable('one'), schedule_enable('one')");
    assert_string_equal(
        harness_rows(h, "SELECT outcome, reason, slots FROM schedule_slot"), "skipped|disabled|1");
    assert_int_equal(harness_int(h, "SELECT schedule_run_missed('one')"), 1);
}

/* Two who run it at once: the second waits for the first, and then finds its run. */
static void test_run_now_twice_at_once(void **state)
{
    struct harness *h = *state;
    PGconn *first = harness_connect(h, NULL), *second = harness_connect(h, NULL);

    harness_exec(h, "UPDATE job_schedule SET overlap = 'forbid' WHERE key = 'one'");
    PQclear(PQexec(first, "BEGIN"));
    PQclear(PQexec(first, "SELECT schedule_run_now('one')"));
    assert_int_equal(PQsendQuery(second, "SELECT schedule_run_now('one')"), 1);
    harness_awaitf(h, 10000,
        "SELECT state <> 'active' OR wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %d",
        PQbackendPID(second));
    PQclear(PQexec(first, "COMMIT"));
    PGresult *r = PQgetResult(second);
    assert_string_equal(PQgetvalue(r, 0, 0), "0");
    PQclear(r);
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run"), 1);
}

/* A gap goes on where nothing lies between, and no row spans another. */
static void test_gaps_follow_each_other(void **state)
{
    struct harness *h = *state;

    harness_exec(h,
        "INSERT INTO schedule_slot (schedule_id, slot, last_slot, slots, outcome, reason) VALUES"
        " (schedule_id('one'), '2026-11-22 20:00Z', '2026-11-22 20:02Z', 3, 'skipped', 'overlap');"
        "SELECT schedule_keep_skipped(ARRAY[schedule_id('one'), schedule_id('one')],"
        " '{2026-11-22 20:03Z,2026-11-22 20:05Z}', '{2026-11-22 20:04Z,2026-11-22 20:06Z}',"
        " '{2,2}', '{late,overlap}');"
        "SELECT schedule_keep_skipped(ARRAY[schedule_id('one')], '{2026-11-22 20:07Z}',"
        " '{2026-11-22 20:07Z}', '{1}', '{overlap}')");
    assert_string_equal(
        harness_rows(h, "SELECT to_char(slot AT TIME ZONE 'UTC', 'MI'),"
                        " to_char(last_slot AT TIME ZONE 'UTC', 'MI'), slots, reason"
                        " FROM schedule_slot ORDER BY slot"),
        "00|02|3|overlap\n03|04|2|late\n05|07|3|overlap");
}

static void test_missed_slots_are_run_by_hand(void **state)
{
    struct harness *h = *state;

    assert_int_equal(harness_int(h, "SELECT schedule_run_missed('one')"), 0);
    harness_exec(h,
        "INSERT INTO schedule_slot (schedule_id, slot, last_slot, slots, outcome, reason) VALUES"
        " (schedule_id('one'), '2026-11-22 20:00Z', '2026-11-22 20:30Z', 31, 'skipped', 'late')");
    assert_int_equal(harness_int(h, "SELECT schedule_run_missed('one')"), 1);
    assert_string_equal(
        harness_rows(h, "SELECT trigger, extract(epoch FROM slot)::bigint FROM job_run"),
        "recovery|1795379400");
    assert_int_equal(harness_int(h, "SELECT schedule_run_missed('one')"), 0);
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run"), 1);
}

static void test_requeue(void **state)
{
    struct harness *h = *state;

    assert_string_equal(harness_rows(h, FIRE("solo", SLOT)), "1|");
    harness_exec(h,
        "WITH gone AS (DELETE FROM job_run RETURNING *)"
        " INSERT INTO job_run_quarantine SELECT gone.*, 'last attempt failed', now() FROM gone");
    assert_string_equal(harness_rows(h, "SELECT status, jobId, error FROM JobRun"),
        "quarantined|solo|last attempt failed");
    harness_execf(h, "SELECT job_run_requeue(%lld)",
        (long long)harness_int(h, "SELECT id FROM job_run_quarantine"));
    assert_string_equal(harness_rows(h, "SELECT status, jobId, scheduleId, attempt FROM JobRun"),
        "pending|solo|solo|0");
    /* It is the one unfinished run again. */
    assert_string_equal(harness_rows(h, FIRE("solo", "2026-11-22 20:01Z")), "0|overlap");
    harness_refused(h, NULL, "P0002", "SELECT job_run_requeue(4711)");
}

/* Ends the run of a job as one that has failed for good. */
static void quarantine(struct harness *h, const char *job)
{
    harness_execf(h,
        "WITH gone AS (DELETE FROM job_run WHERE job_key = '%s' RETURNING *), kept AS ("
        " INSERT INTO job_run_quarantine SELECT gone.*, 'last attempt failed', now() FROM gone)"
        " SELECT job_run_settle_dependents(array_agg(id), array_agg(false)) FROM gone"
        " WHERE has_dependents HAVING count(*) > 0",
        job);
}

static const char *requeue(struct harness *h, const char *job)
{
    harness_execf(
        h, "SELECT job_run_requeue(id) FROM job_run_quarantine WHERE job_key = '%s'", job);
    return harness_rows(h, WAITING);
}

/* What was cancelled with a run comes back with it, in its place. */
static void test_requeue_brings_back_what_waited(void **state)
{
    struct harness *h = *state;

    harness_exec(h, "UPDATE job SET on_dependency_failure = 'cancel';"
                    "INSERT INTO job (key, handler, queue, group_name, depends_on) VALUES"
                    " ('d', 'hd', 'worker-calendar', 'g', '{}'),"
                    " ('e', 'he', 'worker-calendar', 'g', '{c,d}')");
    assert_string_equal(harness_rows(h, FIRE("group", SLOT)), "5|");
    quarantine(h, "a");
    quarantine(h, "d");
    assert_string_equal(harness_rows(h, WAITING), "");
    /* e has to wait for d as well, which has not been put back. */
    assert_string_equal(requeue(h, "a"), "a|0\nb|1\nc|2");
    end_run(h, "a", true);
    assert_string_equal(requeue(h, "d"), "b|0\nc|1\nd|0\ne|2");
    end_run(h, "d", true);
    end_run(h, "b", true);
    end_run(h, "c", true);
    assert_string_equal(harness_rows(h, WAITING), "e|0");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run_dependency"), 0);
    assert_int_equal(
        harness_int(h, "SELECT count(*) FROM job_run_done WHERE outcome = 'cancelled'"), 0);
}

/* One unfinished run of a job that forbids overlap, also by this way; and said in words. */
static void test_requeue_beside_the_next_run(void **state)
{
    struct harness *h = *state;

    assert_string_equal(harness_rows(h, FIRE("solo", SLOT)), "1|");
    quarantine(h, "solo");
    assert_string_equal(harness_rows(h, FIRE("solo", "2026-11-22 20:01Z")), "1|");
    harness_refused(h, NULL, "55006", "SELECT job_run_requeue(id) FROM job_run_quarantine");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run_quarantine"), 1);
}

static void test_views_for_those_who_know_the_names(void **state)
{
    struct harness *h = *state;

    harness_exec(h, "SELECT id, enabled, nextRunAt FROM JobSchedule");
    harness_exec(h, "SELECT id, enabled, nextRunAt, NOW() FROM JobSchedule WHERE enabled = true");
    harness_exec(
        h, "SELECT id, jobId, status, startedAt FROM JobRun ORDER BY createdAt DESC LIMIT 5");
    /* Switching by hand is switching. */
    harness_exec(h, "UPDATE JobSchedule SET enabled = true WHERE id = 'one'");
    assert_string_equal(harness_rows(h, "SELECT key, state FROM schedules WHERE enabled"),
        "one|next run is being computed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_targets, setup, harness_teardown),
        cmocka_unit_test_setup_teardown(test_a_slot_has_its_runs_once, setup, harness_teardown),
        cmocka_unit_test_setup_teardown(test_what_holds_a_slot_back, setup, harness_teardown),
        cmocka_unit_test_setup_teardown(test_stagger, setup, harness_teardown),
        cmocka_unit_test_setup_teardown(test_waves, setup, harness_teardown),
        cmocka_unit_test_setup_teardown(
            test_a_failed_dependency_cancels_or_lets_pass, setup, harness_teardown),
        cmocka_unit_test_setup_teardown(test_switching, setup, harness_teardown),
        cmocka_unit_test_setup_teardown(
            test_switching_off_within_the_jitter, setup, harness_teardown),
        cmocka_unit_test_setup_teardown(test_run_now_twice_at_once, setup, harness_teardown),
        cmocka_unit_test_setup_teardown(test_gaps_follow_each_other, setup, harness_teardown),
        cmocka_unit_test_setup_teardown(test_missed_slots_are_run_by_hand, setup, harness_teardown),
        cmocka_unit_test_setup_teardown(test_requeue, setup, harness_teardown),
        cmocka_unit_test_setup_teardown(
            test_requeue_brings_back_what_waited, setup, harness_teardown),
        cmocka_unit_test_setup_teardown(test_requeue_beside_the_next_run, setup, harness_teardown),
        cmocka_unit_test_setup_teardown(
            test_a_dependency_that_its_overlap_holds_back, setup, harness_teardown),
        cmocka_unit_test_setup_teardown(
            test_views_for_those_who_know_the_names, setup, harness_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
