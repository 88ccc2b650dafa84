/*
 * Many schedulers at once, killed anywhere, on a clock that jumps: at most one run a
 * (schedule, slot, job), every slot accounted for, next_run_at strictly increasing.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "sql/scheduler.h"
#include "tests/support/dice.h"
#include "tests/support/harness.h"
#include "tests/support/schedule_books.h"

#define DEADLINE_MS 30000
#define DAEMONS_MAX 8
#define TURNS       30

/* Each schedule by its interval, so that SQL can count its slots without knowing cron. */
static const char definitions[] =
    "{\"jobs\":{"
    "\"a\":{\"handler\":\"h\",\"queue\":\"worker-cleanup\",\"group\":\"g\"},"
    "\"b\":{\"handler\":\"h\",\"queue\":\"worker-cleanup\",\"group\":\"g\",\"depends_on\":[\"a\"]}}"
    ","
    "\"schedules\":{"
    "\"s3\":{\"every\":\"3s\",\"job\":\"a\"},"
    "\"s7\":{\"every\":\"7s\",\"group\":\"g\",\"grace\":\"0s\"},"
    "\"s10\":{\"every\":\"10s\",\"job\":\"b\",\"grace\":\"1h\"},"
    "\"s13\":{\"every\":\"13s\",\"all\":true,\"catch_up\":\"run_once\",\"grace\":\"20s\"},"
    "\"s17\":{\"every\":\"17s\",\"job\":\"a\",\"jitter\":\"5s\"},"
    "\"s31\":{\"every\":\"31s\",\"job\":\"b\",\"catch_up\":\"run_all\",\"catch_up_window\":\"5m\","
    "\"catch_up_cap\":4,\"grace\":\"1s\"},"
    "\"s60\":{\"every\":\"60s\",\"group\":\"g\"}}}";

struct world {
    struct harness *h;
    const char *env[2];
    struct buf file;
    struct harness_proc *daemons[DAEMONS_MAX];
    int n;
    struct dice dice; /* the same order of events in every run, as far as processes let it be */
};

static int below(struct world *w, int n)
{
    return (int)dice_below(&w->dice, n);
}

static struct harness_proc *spawn(struct world *w)
{
    return harness_spawn(w->h, "scheduler", NULL, w->env);
}

static void begin(struct world *w, struct harness *h, int n)
{
    *w = (struct world){.h = h, .n = n, .dice = {(uint64_t)n}, .file = BUF_INIT(4096)};
    buf_addf(&w->file, "SCHEDULES_FILE=%s", harness_write_file(h, "s.json", definitions));
    w->env[0] = buf_str(&w->file);
    schedule_books_open(h);
    for (int i = 0; i < n; i++)
        w->daemons[i] = spawn(w);
    harness_await(h, DEADLINE_MS, "SELECT count(*) = 7 FROM job_schedule");
    schedule_books_begin(h);
    harness_await(h, DEADLINE_MS, "SELECT bool_and(next_run_at IS NOT NULL) FROM job_schedule");
}

static void pass(struct world *w, int seconds)
{
    struct buf interval = BUF_INIT(64);

    buf_addf(&interval, "%d s", seconds);
    harness_clock_advance(w->h, buf_str(&interval));
    harness_exec(w->h, "NOTIFY tocsin_scheduler");
    buf_release(&interval);
}

/* Past the longest lock of a killed one, and until nothing is due. */
static void settle(struct world *w)
{
    harness_await(w->h, DEADLINE_MS,
        "SELECT count(*) = 0 FROM job_schedule WHERE next_run_at <= now() AND locked_by IS NULL");
    pass(w, 31);
    harness_await(w->h, DEADLINE_MS,
        "SELECT count(*) = 0 FROM job_schedule WHERE next_run_at <= now() - interval '2 s'");
    /* Held still, the books can be read as one. */
    for (int i = 0; i < w->n; i++)
        harness_proc_kill(w->daemons[i]);
    harness_await(w->h, DEADLINE_MS,
        "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'scheduler'"
        " AND datname = current_database()");
}

static void assert_invariants(struct harness *h)
{
    schedule_books_balance(h);
    assert_true(harness_int(h, "SELECT count(*) FROM schedule_slot WHERE outcome = 'fired'") > 100);
    assert_true(harness_int(h, "SELECT count(*) FROM schedule_slot WHERE outcome = 'skipped'") > 3);
}

static void race(struct harness *h, int n)
{
    struct world w;

    begin(&w, h, n);
    for (int turn = 0; turn < TURNS; turn++) {
        pass(&w, below(&w, 10) ? below(&w, 12) : 200 + below(&w, 400));
        if (below(&w, 3) == 0) {
            int victim = below(&w, n);
            harness_proc_kill(w.daemons[victim]);
            w.daemons[victim] = spawn(&w);
        } else if (below(&w, 2)) {
            harness_await(h, DEADLINE_MS,
                "SELECT count(*) = 0 FROM job_schedule WHERE next_run_at <= now() AND locked_by IS "
                "NULL");
        }
    }
    settle(&w);
    assert_invariants(h);
    buf_release(&w.file);
}

static void test_one(void **state)
{
    race(*state, 1);
}

static void test_two(void **state)
{
    race(*state, 2);
}

static void test_eight(void **state)
{
    race(*state, 8);
}

/* --- killed in a certain place ---------------------------------------------------------------- */

#define BLOCKED                                                                                    \
    "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'scheduler'"               \
    " AND datname = current_database() AND wait_event_type = 'Lock'"

/* Leaves one schedule enabled, computed and not due. */
static void only_s60(struct world *w)
{
    harness_exec(w->h, "UPDATE job_schedule SET enabled = key = 's60'");
    harness_await(w->h, DEADLINE_MS,
        "SELECT bool_and(next_run_at IS NOT NULL) FROM job_schedule WHERE enabled");
}

/* To one second after its next slot. */
static void pass_to_slot(struct world *w)
{
    harness_clock_advance(
        w->h, harness_text(w->h, "SELECT (next_run_at - now() + interval '1 s')::text"
                                 " FROM job_schedule WHERE key = 's60'"));
    harness_exec(w->h, "NOTIFY tocsin_scheduler");
}

/* Has the one scheduler claim a slot and hang in the statement that fires it. */
static PGconn *hang_in_fire(struct world *w)
{
    PGconn *lock = harness_connect(w->h, NULL);

    only_s60(w);
    harness_exec(w->h,
        "CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS $$ BEGIN"
        " PERFORM pg_advisory_xact_lock_shared(78); RETURN NULL; END $$;"
        "CREATE TRIGGER hang BEFORE INSERT ON schedule_slot FOR EACH STATEMENT"
        " EXECUTE FUNCTION hang()");
    PQclear(PQexec(lock, "SELECT pg_advisory_lock(78)"));
    pass_to_slot(w);
    harness_await(w->h, DEADLINE_MS, BLOCKED);
    return lock;
}

#define FIRED "SELECT count(*) FROM job_run WHERE schedule_key = 's60'"

static void test_killed_between_claim_and_fire(void **state)
{
    struct world w;

    begin(&w, *state, 1);
    PGconn *lock = hang_in_fire(&w);
    harness_proc_kill(w.daemons[0]);
    harness_exec(w.h, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                      "application_name = 'scheduler'"
                      " AND datname = current_database()");
    harness_disconnect(w.h, lock);
    harness_exec(w.h, "DELETE FROM job_run");
    assert_int_equal(
        harness_int(w.h, "SELECT count(*) FROM job_schedule WHERE locked_by IS NOT NULL"), 1);
    w.daemons[0] = spawn(&w);
    harness_proc_await_log(w.daemons[0], "from=zones to=claim", DEADLINE_MS);
    assert_int_equal(harness_int(w.h, FIRED), 0);
    pass(&w, 31);
    harness_await(w.h, DEADLINE_MS, "SELECT count(*) >= 2 FROM job_run WHERE schedule_key = 's60'");
    assert_string_equal(
        harness_rows(w.h,
            "SELECT DISTINCT outcome, slots, runs FROM schedule_slot WHERE schedule_id ="
            " schedule_id('s60')"),
        "fired|1|2");
    buf_release(&w.file);
}

static void test_killed_while_its_statement_goes_on(void **state)
{
    struct world w;

    begin(&w, *state, 1);
    PGconn *lock = hang_in_fire(&w);
    harness_proc_kill(w.daemons[0]);
    w.daemons[0] = spawn(&w);
    pass(&w, 31); /* the lock is old enough to be taken over, but the row is in somebody's hand */
    harness_proc_await_log(w.daemons[0], "from=zones to=claim", DEADLINE_MS);
    harness_disconnect(w.h, lock);
    harness_await(w.h, DEADLINE_MS, "SELECT count(*) >= 2 FROM job_run WHERE schedule_key = 's60'");
    pass(&w, 1);
    harness_await(
        w.h, DEADLINE_MS, "SELECT bool_and(next_run_at > now()) FROM job_schedule WHERE enabled");
    assert_string_equal(
        harness_rows(w.h,
            "SELECT DISTINCT outcome, slots, runs FROM schedule_slot WHERE schedule_id ="
            " schedule_id('s60')"),
        "fired|1|2");
    assert_int_equal(
        harness_int(w.h, FIRED), harness_int(w.h, "SELECT sum(runs) FROM schedule_slot"));
    buf_release(&w.file);
}

/* A scheduler that stood still after its claim, for longer than the lock lasts: the test plays it.
 */
static void test_a_late_fire_is_refused(void **state)
{
    struct world w;
    struct harness *h = *state;
    const char *const claim[] = {"4711", "1000"};

    begin(&w, h, 1);
    only_s60(&w);
    harness_proc_signal(w.daemons[0], SIGSTOP);
    pass_to_slot(&w);
    PGconn *late = harness_connect(h, "tocsin_scheduler");
    PGresult *r = PQexecParams(late, SQL_claim_schedules.text, 2, NULL, claim, NULL, NULL, 0);
    assert_int_equal(PQntuples(r), 1);
    char *id = PQgetvalue(r, 0, PQfnumber(r, "id")),
         *fence = PQgetvalue(r, 0, PQfnumber(r, "fence"));
    char *was = PQgetvalue(r, 0, PQfnumber(r, "claimed"));
    harness_proc_signal(w.daemons[0], SIGCONT);
    pass(&w, 31);
    harness_await(h, DEADLINE_MS, "SELECT count(*) = 2 FROM job_run WHERE schedule_key = 's60'");
    const char *before =
        harness_rows(h, "SELECT next_run_at, fence, skipped_runs FROM job_schedule WHERE enabled");

    const char *slot =
        harness_text(h, "SELECT extract(epoch FROM slot)::bigint FROM job_run LIMIT 1");
    struct buf sql = BUF_INIT(4096);
    buf_addf(&sql,
        "SELECT slots FROM schedule_advance(4711, '{%s}', '{%s}', '{1}', '{\"%s\"}', '{%s}', "
        "'{%s}', '{%s000}', '{t}',"
        " '{NULL}', '{%s}', '{%s}', '{%s}', '{1}', '{t}', true)",
        id, fence, was, slot, slot, slot, id, slot, slot);
    PGresult *fired = PQexec(late, buf_str(&sql));
    assert_int_equal(PQresultStatus(fired), PGRES_TUPLES_OK);
    assert_int_equal(PQntuples(fired), 1);
    assert_string_equal(PQgetvalue(fired, 0, 0), "0");
    assert_int_equal(harness_int(h, FIRED), 2);
    assert_string_equal(
        harness_rows(h, "SELECT next_run_at, fence, skipped_runs FROM job_schedule WHERE enabled"),
        before);
    PQclear(fired);
    PQclear(r);
    buf_release(&sql);
    buf_release(&w.file);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one),
        TEST(test_two),
        TEST(test_eight),
        TEST(test_killed_between_claim_and_fire),
        TEST(test_killed_while_its_statement_goes_on),
        TEST(test_a_late_fire_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
