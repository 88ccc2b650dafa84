/*
 * PostgreSQL goes away and comes back while each executable works: it reconnects and goes on with
 * the same row in `daemon`, or ends with 75 when its patience is over. What worker-calendar and
 * worker-escalation have in hand meanwhile is in test_worker_calendar.c and test_delivery_kill.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/harness.h"

#define SOON_MS      20000
#define EXECUTABLES  5
#define OUTAGES      3
#define RUNS_PER_ONE 40
/* A slot a second, and each a run of the queue that cleans up. */
#define DEFINITIONS                                                                                \
    "{\"jobs\":{\"j\":{\"handler\":\"cleanup\",\"queue\":\"worker-cleanup\"}},"                    \
    "\"schedules\":{\"fast\":{\"every\":\"1s\",\"job\":\"j\"}}}"

static const char *const executables[EXECUTABLES] = {
    "scheduler", "worker-calendar", "worker-escalation", "worker-cleanup", "gateway"};

/* Starts one with the definitions and three settings, of which any may be NULL. */
static struct harness_proc *spawn(struct harness *h, const char *executable, const char *first,
    const char *second, const char *third)
{
    char *schedules = NULL;

    assert_true(asprintf(&schedules, "SCHEDULES_FILE=%s",
                    harness_write_file(h, "schedules.json", DEFINITIONS)) > 0);
    struct harness_proc *p = harness_spawn(h, executable, NULL,
        (const char *const[]){schedules, "GATEWAY_LISTEN=127.0.0.1:0", first, second, third, NULL});
    free(schedules);
    return p;
}

/* All of them, ready, with that patience. */
static void spawn_all(struct harness *h, const char *patience, struct harness_proc **ret_procs)
{
    for (size_t i = 0; i < EXECUTABLES; i++)
        ret_procs[i] = spawn(h, executables[i], patience, NULL, NULL);
    for (size_t i = 0; i < EXECUTABLES; i++)
        harness_proc_await_log(ret_procs[i], "is ready", SOON_MS);
}

/* Work for every queue, in the middle of which the database goes. */
static void enqueue_work(struct harness *h)
{
    harness_execf(h,
        "SELECT job_run_enqueue(w.queue, w.handler) FROM generate_series(1, %d),"
        " (VALUES ('worker-calendar', 'calendar_sync'), ('worker-calendar', 'occasions_plan'),"
        " ('worker-escalation', 'delivery_audit'), ('worker-cleanup', 'cleanup')) AS w (queue, "
        "handler)",
        RUNS_PER_ONE);
}

struct told {
    struct harness_proc *proc;
    const char *text;
    int times;
};

static bool is_told(void *arg)
{
    const struct told *t = arg;

    return harness_proc_count_log(t->proc, t->text) >= t->times;
}

/* Until each of them has said it so many times. */
static void await_told(
    struct harness *h, struct harness_proc *const *procs, const char *text, int times)
{
    for (size_t i = 0; i < EXECUTABLES; i++) {
        struct told t = {procs[i], text, times};
        harness_await_that(h, SOON_MS, is_told, &t, text);
    }
}

static void test_every_executable_goes_on(void **state)
{
    struct harness *h = *state;
    struct harness_proc *procs[EXECUTABLES];

    spawn_all(h, "TOCSIN_DATABASE_PATIENCE=5m", procs);
    harness_await(h, SOON_MS, "SELECT count(*) = 1 FROM job_schedule");
    harness_exec(h, "SELECT schedule_enable('fast')");
    for (int outage = 1; outage <= OUTAGES; outage++) {
        harness_await(h, SOON_MS,
            "SELECT count(DISTINCT schedule_id) = 1 AND count(*) >= 2 FROM schedule_slot"
            " WHERE outcome = 'fired'");
        enqueue_work(h);
        /* One that is still on its way back has nothing to lose. */
        await_told(h, procs, "connected to the database", outage);
        /* Cleanly, then as if the machine had failed. */
        if (outage < OUTAGES)
            harness_postgres_stop(h);
        else
            harness_postgres_crash(h);
        await_told(h, procs, "lost the database", outage);
        harness_postgres_start(h);
        harness_exec(h, "CREATE TABLE IF NOT EXISTS seen (outage int, slot timestamptz);"
                        "INSERT INTO seen SELECT coalesce(max(outage), 0) + 1, now() FROM seen");
        harness_await(h, SOON_MS,
            "SELECT max(l.last_slot) > (SELECT max(slot) FROM seen) FROM schedule_slot AS l");
    }
    harness_exec(h, "SELECT schedule_disable('fast')");
    harness_await(h, SOON_MS, "SELECT count(*) = 0 FROM job_run");
    /* Whatever was in flight was carried out, none twice and none in vain. */
    assert_string_equal(harness_rows(h, "SELECT DISTINCT outcome FROM job_run_done"), "succeeded");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run_quarantine"), 0);
    assert_int_equal(
        harness_int(h, "SELECT count(*) FROM (SELECT FROM job_run_done WHERE schedule_key IS NOT"
                       " NULL GROUP BY schedule_key, slot HAVING count(*) > 1) AS twice"),
        0);
    assert_int_equal(harness_int(h, "SELECT count(*) FROM daemon"), EXECUTABLES);
    for (size_t i = 0; i < EXECUTABLES; i++) {
        assert_int_equal(harness_proc_count_log(procs[i], "no connection to the database yet"), 0);
        assert_null(strstr(harness_proc_log(procs[i]), "\nFATAL:"));
        assert_int_equal(harness_proc_stop(procs[i], SOON_MS), 0);
    }
    assert_int_equal(harness_int(h, "SELECT count(*) FROM daemon WHERE stopped_at IS NULL"), 0);
}

static void test_patience_ends_with_75(void **state)
{
    struct harness *h = *state;
    struct harness_proc *procs[EXECUTABLES];

    spawn_all(h, "TOCSIN_DATABASE_PATIENCE=500ms", procs);
    harness_postgres_stop(h);
    for (size_t i = 0; i < EXECUTABLES; i++) {
        assert_int_equal(harness_proc_wait(procs[i], SOON_MS), 75);
        assert_true(harness_proc_logged(procs[i], "no database within 500 ms"));
    }
    harness_postgres_start(h);
}

/* It says at once that it waits, and for how long; not once a try. */
static void test_no_database_at_the_start(void **state)
{
    struct harness *h = *state;
    struct harness_proc *p;

    for (size_t i = 0; i < EXECUTABLES; i++) {
        p = spawn(h, executables[i], "TOCSIN_DATABASE_URL=host=/nonexistent password=sesame",
            "TOCSIN_DATABASE_PATIENCE=1500ms", NULL);
        assert_int_equal(harness_proc_wait(p, SOON_MS), 75);
        assert_int_equal(
            harness_proc_count_log(p, "no connection to the database yet, trying for 1500 ms"), 1);
        assert_true(harness_proc_logged(p, "no database within 1500 ms"));
        assert_false(harness_proc_logged(p, "sesame"));
    }
}

static void expect_idle(struct harness *h, const char *executable, const char *first,
    const char *second, const char *third)
{
    struct harness_proc *p = spawn(h, executable, first, second, third);

    assert_int_equal(harness_proc_wait(p, SOON_MS), 0);
    assert_true(harness_proc_logged(p, "feature flags: scheduler="));
    assert_true(harness_proc_logged(p, "nothing is enabled for "));
    assert_false(harness_proc_logged(p, "database"));
    assert_int_equal(harness_int(h, "SELECT count(*) FROM daemon"), 0);
}

/* Said in one line, and done, before a connection is opened. worker-cleanup has no flag. */
static void test_nothing_enabled_ends_with_0(void **state)
{
    struct harness *h = *state;

    expect_idle(h, "scheduler", "FEATURE_SCHEDULER_ENABLED=false", NULL, NULL);
    expect_idle(h, "worker-calendar", "FEATURE_CALENDAR_ENABLED=false", NULL, NULL);
    expect_idle(h, "worker-escalation", "FEATURE_ALERTS_ENABLED=false",
        "FEATURE_CHECKIN_ENABLED=false", "FEATURE_ESCALATION_ENABLED=false");
}

#define TEST(name)  cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)
#define ALONE(name) cmocka_unit_test_setup_teardown(name, harness_setup_alone, harness_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALONE(test_every_executable_goes_on),
        ALONE(test_patience_ends_with_75),
        TEST(test_no_database_at_the_start),
        TEST(test_nothing_enabled_ends_with_0),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
