/*
 * Definitions put in force: new ones are disabled, an edit keeps what an operator
 * decided and neither fires nor loses a slot, what is gone is retired.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/buf.h"
#include "tests/support/harness.h"

#define JOB                                                                                        \
    "[{\"key\":\"j\",\"handler\":\"h\",\"queue\":\"worker-cleanup\",\"group_name\":null,"          \
    "\"depends_on\":[],\"on_dependency_failure\":\"cancel\",\"payload\":{},\"priority\":5,"        \
    "\"max_attempts\":3,\"backoff_ms\":[1000],\"timeout_ms\":60000,\"overlap\":\"allow\"}]"
#define SCHEDULE(key, cron)                                                                        \
    "{\"key\":\"" key "\",\"definition\":{\"cron\":\"" cron "\"},\"target_kind\":\"job\","         \
    "\"target\":\"j\",\"flag\":null,\"overlap\":\"allow\",\"stagger_ms\":0,\"max_batch\":1,"       \
    "\"grace_ms\":60000}"
#define HOURLY "0 * * * *"
#define DAILY  "0 4 * * *"

static const char *changes(struct harness *h, const char *function, const char *schedules)
{
    struct buf sql = BUF_INIT(65536);

    buf_addf(
        &sql, "SELECT kind, key, change, detail FROM %s('%s', '[%s]')", function, JOB, schedules);
    const char *rows = harness_rows(h, buf_str(&sql));
    buf_release(&sql);
    return rows;
}

static const char *state_of(struct harness *h, const char *key)
{
    struct buf sql = BUF_INIT(4096);

    buf_addf(&sql,
        "SELECT definition ->> 'cron', revision, enabled, awaits_next, next_run_at IS NULL, "
        "retired_at IS NOT NULL FROM job_schedule WHERE key = '%s'",
        key);
    const char *rows = harness_rows(h, buf_str(&sql));
    buf_release(&sql);
    return rows;
}

static void test_new_schedules_are_disabled(void **state)
{
    struct harness *h = *state;

    assert_string_equal(
        changes(h, "schedule_sync", SCHEDULE("s", HOURLY)), "job|j|new|\nschedule|s|new|");
    assert_string_equal(state_of(h, "s"), HOURLY "|1|f|f|t|f");
    assert_string_equal(changes(h, "schedule_sync", SCHEDULE("s", HOURLY)), "");
    assert_string_equal(state_of(h, "s"), HOURLY "|1|f|f|t|f");
}

static void test_diff_changes_nothing(void **state)
{
    struct harness *h = *state;

    (void)changes(h, "schedule_sync", SCHEDULE("s", HOURLY) "," SCHEDULE("t", DAILY));
    assert_string_equal(changes(h, "schedule_diff", SCHEDULE("s", DAILY) "," SCHEDULE("u", DAILY)),
        "schedule|s|changed|cron: \"" HOURLY "\" → \"" DAILY
        "\"\nschedule|t|retired|\nschedule|u|new|");
    assert_string_equal(state_of(h, "s"), HOURLY "|1|f|f|t|f");
    assert_string_equal(state_of(h, "t"), DAILY "|1|f|f|t|f");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_schedule"), 2);
}

static void test_an_edit_keeps_enabled_and_its_accounts(void **state)
{
    struct harness *h = *state;

    (void)changes(h, "schedule_sync", SCHEDULE("s", HOURLY));
    harness_exec(h,
        "SELECT schedule_enable('s');"
        "UPDATE job_schedule SET accounted_until = now() - interval '10 min', awaits_next = false,"
        " next_run_at = now() + interval '50 min', locked_at = now(), locked_by = 1, fence = 7");
    assert_string_equal(changes(h, "schedule_sync", SCHEDULE("s", DAILY)),
        "schedule|s|changed|cron: \"" HOURLY "\" → \"" DAILY "\"");
    assert_string_equal(state_of(h, "s"), DAILY "|2|t|t|t|f");
    /* The accounts go on from now, so that the new rule neither fires at once nor leaves a hole;
     * and a claim of the old revision is lost. */
    assert_true(
        harness_bool(h, "SELECT accounted_until > now() - interval '1 min' AND locked_by IS NULL"
                        " FROM job_schedule"));
}

static void test_a_due_slot_comes_before_the_edit(void **state)
{
    struct harness *h = *state;

    (void)changes(h, "schedule_sync", SCHEDULE("s", HOURLY));
    harness_exec(h, "SELECT schedule_enable('s');"
                    "UPDATE job_schedule SET next_slot = now(), next_run_at = now()");
    assert_string_equal(changes(h, "schedule_sync", SCHEDULE("s", DAILY)),
        "schedule|s|waits|cron: \"" HOURLY "\" → \"" DAILY "\"");
    assert_string_equal(state_of(h, "s"), HOURLY "|1|t|t|f|f");
    assert_string_equal(changes(h, "schedule_sync", ""), "schedule|s|waits|");
    assert_string_equal(state_of(h, "s"), HOURLY "|1|t|t|f|f");
    harness_exec(h, "UPDATE job_schedule SET next_run_at = now() + interval '1 hour'");
    (void)changes(h, "schedule_sync", SCHEDULE("s", DAILY));
    assert_string_equal(state_of(h, "s"), DAILY "|2|t|t|t|f");
}

static int64_t heard(PGconn *conn)
{
    PGnotify *n;
    int64_t count = 0;

    PQclear(PQexec(conn, "SELECT 1"));
    while ((n = PQnotifies(conn)) != NULL) {
        count++;
        PQfreemem(n);
    }
    return count;
}

/* A scheduler listens to itself: what only waits wakes nobody, so that it does not turn in circles.
 */
static void test_what_waits_wakes_nobody(void **state)
{
    struct harness *h = *state;
    PGconn *listener = harness_connect(h, NULL);

    (void)changes(h, "schedule_sync", SCHEDULE("s", HOURLY));
    harness_exec(h, "SELECT schedule_enable('s');"
                    "UPDATE job_schedule SET next_slot = now(), next_run_at = now()");
    PQclear(PQexec(listener, "LISTEN tocsin_scheduler"));
    assert_string_equal(changes(h, "schedule_sync", SCHEDULE("s", DAILY)),
        "schedule|s|waits|cron: \"" HOURLY "\" → \"" DAILY "\"");
    assert_int_equal(heard(listener), 0);
    harness_exec(h, "UPDATE job_schedule SET next_run_at = now() + interval '1 hour'");
    (void)changes(h, "schedule_sync", SCHEDULE("s", DAILY));
    assert_int_equal(heard(listener), 1);
}

/* What a due slot is to fire goes only after it. */
static void test_a_due_slot_finds_its_job(void **state)
{
    struct harness *h = *state;

    (void)changes(h, "schedule_sync", SCHEDULE("s", HOURLY));
    harness_exec(h, "SELECT schedule_enable('s');"
                    "UPDATE job_schedule SET next_slot = now(), next_run_at = now()");
    assert_string_equal(harness_rows(h, "SELECT kind, key, change FROM schedule_diff('[]', '[]')"),
        "job|j|waits\nschedule|s|waits");
    harness_exec(h, "SELECT schedule_sync('[]', '[]')");
    assert_string_equal(
        harness_rows(h, "SELECT f.runs, f.reason FROM job_schedule s,"
                        " schedule_fire(ARRAY[s.id], ARRAY[s.next_slot], 'schedule', false) AS f"),
        "1|");
    harness_exec(h, "UPDATE job_schedule SET next_slot = now() + interval '1 hour',"
                    " next_run_at = now() + interval '1 hour'");
    assert_string_equal(harness_rows(h, "SELECT kind, key, change FROM schedule_sync('[]', '[]')"),
        "job|j|retired\nschedule|s|retired");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job WHERE retired_at IS NULL"), 0);
}

/* The slot has come, its run leaves half a minute later by its jitter. */
static void jittered(struct harness *h)
{
    (void)changes(h, "schedule_sync", SCHEDULE("s", HOURLY));
    harness_exec(h, "SELECT schedule_enable('s');"
                    "UPDATE job_schedule SET next_slot = date_trunc('second', now()),"
                    " next_run_at = date_trunc('second', now()) + interval '30 s';"
                    "CREATE TABLE jittered AS SELECT next_slot FROM job_schedule");
}

#define JITTERED                                                                                   \
    "SELECT r.slot = t.next_slot, r.run_at - r.slot, l.outcome, l.runs, s.skipped_runs,"           \
    " s.accounted_until >= t.next_slot FROM jittered t, job_run r, schedule_slot l, job_schedule " \
    "s"

static void test_an_edit_keeps_a_slot_that_its_jitter_holds(void **state)
{
    struct harness *h = *state;

    jittered(h);
    (void)changes(h, "schedule_sync", SCHEDULE("s", HOURLY));
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run"), 0); /* no edit of it */
    assert_string_equal(changes(h, "schedule_sync", SCHEDULE("s", DAILY)),
        "schedule|s|changed|cron: \"" HOURLY "\" → \"" DAILY "\"");
    assert_string_equal(harness_rows(h, JITTERED), "t|00:00:30|fired|1|0|t");
    assert_string_equal(state_of(h, "s"), DAILY "|2|t|t|t|f");
}

static void test_a_slot_that_its_jitter_holds_outlives_its_schedule(void **state)
{
    struct harness *h = *state;

    jittered(h);
    assert_string_equal(harness_rows(h, "SELECT kind, key, change FROM schedule_sync('[]', '[]')"),
        "job|j|retired\nschedule|s|retired");
    assert_string_equal(harness_rows(h, JITTERED), "t|00:00:30|fired|1|0|t");
}

/* Two versions side by side: the one that started last decides, whichever comes last. */
static void test_an_older_process_puts_nothing_back(void **state)
{
    struct harness *h = *state;

    harness_exec(h, "SELECT schedule_sync('" JOB "', '[" SCHEDULE("s", HOURLY) "]', 1)");
    harness_exec(h, "SELECT schedule_sync('" JOB "', '[" SCHEDULE("s", DAILY) "]', 2)");
    assert_string_equal(
        harness_rows(h, "SELECT change FROM schedule_sync('[]', '[" SCHEDULE("s", HOURLY) "]', 1)"),
        "");
    assert_string_equal(state_of(h, "s"), DAILY "|2|f|f|t|f");
    harness_exec(h, "SELECT schedule_sync('" JOB "', '[" SCHEDULE("s", HOURLY) "]', 3)");
    assert_string_equal(state_of(h, "s"), HOURLY "|3|f|f|t|f");
}

static void test_what_is_gone_is_retired_and_may_come_back(void **state)
{
    struct harness *h = *state;

    (void)changes(h, "schedule_sync", SCHEDULE("s", HOURLY));
    harness_exec(h, "SELECT schedule_enable('s'); INSERT INTO schedule_slot (schedule_id, slot, "
                    "last_slot, outcome)"
                    " VALUES (schedule_id('s'), now(), now(), 'fired')");
    /* Switched on and not computed yet: a slot may have passed since. */
    assert_string_equal(changes(h, "schedule_sync", ""), "schedule|s|waits|");
    assert_string_equal(state_of(h, "s"), HOURLY "|1|t|t|t|f");
    harness_exec(h, "UPDATE job_schedule SET next_run_at = now() + interval '1 hour'");
    assert_string_equal(changes(h, "schedule_sync", ""), "schedule|s|retired|");
    assert_string_equal(state_of(h, "s"), HOURLY "|1|f|f|t|t");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM schedule_slot"), 1);
    harness_refused(h, NULL, "P0002", "SELECT schedule_enable('s')");
    assert_string_equal(changes(h, "schedule_sync", SCHEDULE("s", HOURLY)), "schedule|s|back|");
    assert_string_equal(state_of(h, "s"), HOURLY "|2|f|f|t|f");
    assert_string_equal(harness_text(h, "SELECT schedule_enable('s')"), "s is enabled");
}

static void test_its_role_may_do_all_of_it(void **state)
{
    struct harness *h = *state;
    PGconn *conn = harness_connect(h, "tocsin_scheduler");
    PGresult *r = PQexec(
        conn, "SELECT count(*) FROM schedule_sync('" JOB "', '[" SCHEDULE("s", HOURLY) "]')");

    assert_int_equal(PQresultStatus(r), PGRES_TUPLES_OK);
    PQclear(r);
    harness_refused(h, "tocsin_scheduler", "42501", "SELECT count(*) FROM calendar_credentials");
    harness_refused(h, "tocsin_scheduler", "42501", "DELETE FROM job_schedule");
    harness_refused(h, "tocsin_scheduler", "42501", "DELETE FROM job_run");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_new_schedules_are_disabled, harness_setup, harness_teardown),
        cmocka_unit_test_setup_teardown(test_diff_changes_nothing, harness_setup, harness_teardown),
        cmocka_unit_test_setup_teardown(
            test_an_edit_keeps_enabled_and_its_accounts, harness_setup, harness_teardown),
        cmocka_unit_test_setup_teardown(
            test_a_due_slot_comes_before_the_edit, harness_setup, harness_teardown),
        cmocka_unit_test_setup_teardown(
            test_what_waits_wakes_nobody, harness_setup, harness_teardown),
        cmocka_unit_test_setup_teardown(
            test_a_due_slot_finds_its_job, harness_setup, harness_teardown),
        cmocka_unit_test_setup_teardown(
            test_an_edit_keeps_a_slot_that_its_jitter_holds, harness_setup, harness_teardown),
        cmocka_unit_test_setup_teardown(test_a_slot_that_its_jitter_holds_outlives_its_schedule,
            harness_setup, harness_teardown),
        cmocka_unit_test_setup_teardown(
            test_an_older_process_puts_nothing_back, harness_setup, harness_teardown),
        cmocka_unit_test_setup_teardown(
            test_what_is_gone_is_retired_and_may_come_back, harness_setup, harness_teardown),
        cmocka_unit_test_setup_teardown(
            test_its_role_may_do_all_of_it, harness_setup, harness_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
