/*
 * Several schedulers on hosts whose clocks are wrong by ten minutes, and the hand-over of what one
 * of them held when it was killed or stopped: real processes, of which one stands still.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "tests/support/harness.h"

#define DEADLINE_MS 30000
#define STOPS       4
#define CLAIMS      "from=zones to=claim"

static const char definitions[] =
    "{\"jobs\":{\"a\":{\"handler\":\"h\",\"queue\":\"worker-cleanup\"}},"
    "\"schedules\":{"
    "\"second\":{\"cron\":\"* * * * * *\",\"timezone\":\"Europe/Berlin\",\"job\":\"a\"},"
    "\"minute\":{\"every\":\"60s\",\"job\":\"a\"}}}";

struct world {
    struct harness *h;
    struct buf file;
};

static void begin(struct world *w, struct harness *h)
{
    *w = (struct world){.h = h, .file = BUF_INIT(4096)};
    buf_addf(&w->file, "SCHEDULES_FILE=%s", harness_write_file(h, "s.json", definitions));
}

static struct harness_proc *spawn(struct world *w, const char *more, const char *still_more)
{
    const char *const env[] = {buf_str(&w->file), more, still_more, NULL};

    return harness_spawn(w->h, "scheduler", NULL, env);
}

static void enable(struct world *w, const char *key)
{
    harness_await(w->h, DEADLINE_MS, "SELECT count(*) = 2 FROM job_schedule");
    harness_execf(w->h, "SELECT schedule_enable('%s')", key);
    harness_await(w->h, DEADLINE_MS,
        "SELECT bool_and(next_run_at IS NOT NULL) FROM job_schedule WHERE enabled");
}

/* --- clocks that are wrong -------------------------------------------------------------------- */

/* A scheduler whose clock of the day is that many seconds off. */
static struct harness_proc *spawn_off(struct world *w, const char *seconds)
{
    const char *build = getenv("BUILD");
    struct buf shim = BUF_INIT(4096), shift = BUF_INIT(64);

    buf_addf(&shim, "LD_PRELOAD=%s/%s/clock_shift.so", harness_root(w->h), build ? build : "");
    buf_addf(&shift, "CLOCK_SHIFT_S=%s", seconds);
    const char *const env[] = {buf_str(&w->file), buf_str(&shim), buf_str(&shift),
        "ASAN_OPTIONS=exitcode=99:detect_leaks=1:abort_on_error=0:verify_asan_link_order=0", NULL};
    struct harness_proc *p = harness_spawn(w->h, "scheduler", NULL, env);
    harness_proc_await_log(p, "is ready", DEADLINE_MS);
    buf_release(&shim);
    buf_release(&shift);
    return p;
}

/* Its log tells the time of its own clock: the shim works. */
static void assert_off(struct world *w, struct harness_proc *p, const char *seconds)
{
    const char *log = harness_proc_log(p);

    assert_true(harness_intf(w->h,
        "SELECT (abs(extract(epoch FROM '%.*s'::timestamptz - pg_catalog.clock_timestamp()) - %s)"
        " < 120)::int",
        (int)strcspn(log, " "), log, seconds));
}

/* Every slot since it was switched on was fired, once, and not before its time. */
static void assert_no_slot_lost(struct harness *h)
{
    assert_string_equal(
        harness_rows(
            h, "SELECT slot, outcome, slots, reason FROM schedule_slot WHERE outcome <> 'fired'"),
        "");
    assert_string_equal(
        harness_rows(h, "SELECT schedule_key, slot, count(*) FROM job_run GROUP BY 1, 2"
                        " HAVING count(*) > 1 OR min(created_at) < slot"),
        "");
    assert_string_equal(
        harness_rows(h, "SELECT slot, before FROM (SELECT slot, lag(slot) OVER (ORDER BY slot) AS"
                        " before FROM job_run WHERE schedule_key = 'second') AS r"
                        " WHERE slot <> before + interval '1 s'"),
        "");
}

static void without_net(struct harness *h)
{
    harness_exec(h, "DROP INDEX job_run_slot;"
                    "CREATE INDEX job_run_slot ON job_run (schedule_key, slot)");
}

static void test_clocks_that_are_wrong(void **state)
{
    static const char *const shifts[] = {"600", "-600", "0"};
    struct world w;
    struct harness *h = *state;
    struct harness_proc *daemons[3];

    begin(&w, h);
    without_net(h);
    for (int i = 0; i < 3; i++) {
        daemons[i] = spawn_off(&w, shifts[i]);
        assert_off(&w, daemons[i], shifts[i]);
    }
    enable(&w, "second");
    harness_await(h, DEADLINE_MS, "SELECT count(*) >= 4 FROM job_run");
    harness_proc_kill(daemons[2]);
    harness_await(h, DEADLINE_MS, "SELECT count(*) >= 8 FROM job_run");
    /* Each of the wrong ones alone, too. */
    for (int i = 0; i < 2; i++) {
        harness_proc_signal(daemons[1 - i], SIGSTOP);
        harness_clock_advance(h, "3 s");
        harness_exec(h, "NOTIFY tocsin_scheduler");
        int64_t before = harness_int(h, "SELECT count(*) FROM job_run");
        harness_clock_advance(h, "31 s"); /* what the one that stands still may have held */
        harness_exec(h, "NOTIFY tocsin_scheduler");
        harness_awaitf(
            h, DEADLINE_MS, "SELECT count(*) > %lld + 31 FROM job_run", (long long)before);
        harness_proc_signal(daemons[1 - i], SIGCONT);
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(harness_proc_stop(daemons[i], DEADLINE_MS), 0);
    assert_no_slot_lost(h);
    buf_release(&w.file);
}

/* --- hand-over -------------------------------------------------------------------------------- */

/* Has `first` claim a slot of `minute` and hang in the statement that fires it. */
static PGconn *hang_in_fire(struct world *w)
{
    PGconn *lock = harness_connect(w->h, NULL);

    PQclear(PQexec(lock, "BEGIN; LOCK TABLE schedule_slot IN ACCESS EXCLUSIVE MODE"));
    harness_clock_advance(w->h, "60 s");
    harness_exec(w->h, "NOTIFY tocsin_scheduler");
    harness_await(w->h, DEADLINE_MS,
        "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'scheduler'"
        " AND datname = current_database() AND wait_event_type = 'Lock'");
    return lock;
}

/* The survivor takes the claim once it is 30 s old, by its own timer: nobody wakes it. */
static void test_a_killed_one_is_replaced_when_its_lock_is_old(void **state)
{
    struct world w;
    struct harness *h = *state;

    begin(&w, h);
    struct harness_proc *victim = spawn(&w, NULL, NULL);
    enable(&w, "minute");
    struct harness_proc *survivor = spawn(&w, NULL, NULL);
    harness_proc_await_log(survivor, "is ready", DEADLINE_MS);
    harness_proc_signal(survivor, SIGSTOP);
    PGconn *lock = hang_in_fire(&w);
    harness_proc_kill(victim);
    harness_exec(h, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name"
                    " = 'scheduler' AND datname = current_database() AND wait_event_type = 'Lock'");
    harness_disconnect(h, lock);
    assert_int_equal(
        harness_int(h, "SELECT count(*) FROM job_schedule WHERE locked_by IS NOT NULL"), 1);
    harness_exec(h, "UPDATE job_schedule SET locked_at = now() - interval '26 s' WHERE enabled");
    const char *locked_at = harness_text(h, "SELECT locked_at FROM job_schedule WHERE enabled");
    harness_proc_signal(survivor, SIGCONT);
    harness_exec(h, "NOTIFY tocsin_scheduler");
    harness_await(h, DEADLINE_MS, "SELECT count(*) = 1 FROM job_run");
    harness_proc_await_log(survivor, "Claim of minute taken over from daemon", DEADLINE_MS);
    /* It looks every 15 s in any case: it did not only happen to. */
    assert_true(harness_intf(h,
        "SELECT (created_at BETWEEN '%s'::timestamptz + interval '30 s' AND '%s'::timestamptz +"
        " interval '38 s')::int FROM job_run",
        locked_at, locked_at));
    buf_release(&w.file);
}

/* What one holds does not keep the other from its own slots, nor from sleeping between them. */
static void test_beside_a_claim_that_is_held(void **state)
{
    struct world w;
    struct harness *h = *state;

    begin(&w, h);
    without_net(h);
    struct harness_proc *first = spawn(&w, NULL, NULL);
    enable(&w, "minute");
    struct harness_proc *other = spawn(&w, NULL, NULL);
    harness_proc_await_log(other, "is ready", DEADLINE_MS);
    harness_proc_signal(other, SIGSTOP);
    PGconn *lock = hang_in_fire(&w);
    harness_proc_signal(first, SIGSTOP);
    harness_disconnect(h, lock);
    harness_await(h, DEADLINE_MS, "SELECT count(*) = 1 FROM job_run");
    harness_exec(h, "UPDATE job_schedule SET locked_at = now(), fence = nextval('fence_seq'),"
                    " locked_by = (SELECT min(id) FROM daemon),"
                    " next_run_at = now() - interval '1 s' WHERE key = 'minute'");
    harness_proc_signal(other, SIGCONT);
    harness_exec(h, "SELECT schedule_enable('second')");
    harness_await(h, DEADLINE_MS, "SELECT count(*) = 2 FROM job_run");
    int rounds = harness_proc_count_log(other, CLAIMS);
    harness_await(h, DEADLINE_MS, "SELECT count(*) >= 6 FROM job_run");
    rounds = harness_proc_count_log(other, CLAIMS) - rounds;
    assert_in_range(rounds, 3, 20);
    assert_string_equal(
        harness_rows(h, "SELECT DISTINCT schedule_key, count(*) FROM job_run GROUP BY 1, slot"),
        "minute|1\nsecond|1");
    buf_release(&w.file);
}

/* Stopped while it holds a claim for a slot that is about to come, again and again: the other one
 * goes on with the next slot, and no time has to pass. */
static void test_a_clean_stop_hands_over_at_once(void **state)
{
    struct world w;
    struct harness *h = *state;

    begin(&w, h);
    without_net(h);
    struct harness_proc *runs = spawn(&w, NULL, NULL);
    enable(&w, "second");
    for (int i = 0; i < STOPS; i++) {
        struct harness_proc *next = spawn(&w, NULL, NULL);
        harness_proc_await_log(next, "is ready", DEADLINE_MS);
        harness_proc_signal(next, SIGSTOP);
        int64_t before = harness_int(h, "SELECT count(*) FROM job_run");
        harness_awaitf(h, DEADLINE_MS,
            "SELECT (SELECT count(*) FROM job_run) > %lld AND EXISTS (SELECT FROM job_schedule"
            " WHERE locked_by IS NOT NULL AND next_run_at > now())",
            (long long)before);
        assert_int_equal(harness_proc_stop(runs, DEADLINE_MS), 0);
        before = harness_int(h, "SELECT count(*) FROM job_run");
        harness_proc_signal(next, SIGCONT);
        harness_awaitf(h, DEADLINE_MS, "SELECT count(*) > %lld FROM job_run", (long long)before);
        assert_int_equal(harness_proc_count_log(next, "taken over"), 0);
        runs = next;
    }
    assert_int_equal(harness_proc_stop(runs, DEADLINE_MS), 0);
    assert_no_slot_lost(h);
    buf_release(&w.file);
}

/* One that cannot finish what it holds within its time gives it up; the other takes it over without
 * waiting for the age of the lock. */
static void test_a_stop_that_cannot_finish_hands_over_at_once(void **state)
{
    struct world w;
    struct harness *h = *state;

    begin(&w, h);
    struct harness_proc *first = spawn(&w, "TOCSIN_DRAIN_TIMEOUT=500ms", NULL);
    enable(&w, "minute");
    struct harness_proc *next = spawn(&w, NULL, NULL);
    harness_proc_await_log(next, "is ready", DEADLINE_MS);
    harness_proc_signal(next, SIGSTOP);
    PGconn *lock = hang_in_fire(&w);
    (void)harness_proc_stop(first, DEADLINE_MS);
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run"), 0);
    harness_disconnect(h, lock);
    harness_proc_signal(next, SIGCONT);
    harness_exec(h, "NOTIFY tocsin_scheduler");
    harness_await(h, DEADLINE_MS, "SELECT count(*) = 1 FROM job_run");
    assert_string_equal(
        harness_rows(h, "SELECT outcome, slots, runs FROM schedule_slot"), "fired|1|1");
    harness_await(h, DEADLINE_MS, "SELECT locked_by IS NULL FROM job_schedule WHERE enabled");
    buf_release(&w.file);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_clocks_that_are_wrong),
        TEST(test_a_killed_one_is_replaced_when_its_lock_is_old),
        TEST(test_beside_a_claim_that_is_held),
        TEST(test_a_clean_stop_hands_over_at_once),
        TEST(test_a_stop_that_cannot_finish_hands_over_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
