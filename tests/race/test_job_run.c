/*
 * The queue under several real processes: each run is worked once, crashes lose nothing,
 * failures retry and end in quarantine.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "tests/support/harness.h"

#define RUNS        4000
#define DEADLINE_MS 20000
#define PROCS_MAX   8

static const char *worker_path(void)
{
    const char *build = getenv("BUILD");
    static char path[4096];

    (void)snprintf(path, sizeof(path), "%s/noop-worker", build ? build : "build/debug");
    return path;
}

static struct harness_proc *spawn_worker_with(
    struct harness *h, const char *trace, const char *setting)
{
    struct buf dsn = BUF_INIT(4096), file = BUF_INIT(4096);

    buf_addf(&dsn, "TOCSIN_DATABASE_URL=%s", harness_dsn(h, "tocsin_worker_calendar"));
    buf_addf(&file, "NOOP_TRACE=%s", trace);
    const char *const env[] = {buf_str(&dsn), buf_str(&file), "LOG_LEVEL=info", setting, NULL};
    struct harness_proc *p = harness_spawn_path(h, worker_path(), NULL, env);
    buf_release(&dsn);
    buf_release(&file);
    return p;
}

static struct harness_proc *spawn_worker(struct harness *h, const char *trace)
{
    return spawn_worker_with(h, trace, NULL);
}

/* How many lines the trace has, and how many different runs stand in it. */
static void read_trace(const char *path, int *ret_lines, int *ret_runs)
{
    static unsigned char seen[RUNS * 4];
    FILE *f = fopen(path, "r");
    char line[128];

    memset(seen, 0, sizeof(seen));
    *ret_lines = *ret_runs = 0;
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        long long id = strtoll(line, NULL, 10);
        assert_in_range(id, 1, sizeof(seen) - 1);
        *ret_runs += !seen[id];
        seen[id] = 1;
        ++*ret_lines;
    }
    (void)fclose(f);
}

static void enqueue(struct harness *h, const char *handler, int n)
{
    harness_execf(h,
        "INSERT INTO job_run (queue, handler, backoff_ms) "
        "SELECT 'bench', '%s', '{50,50,50}' FROM generate_series(1, %d)",
        handler, n);
}

static void race(struct harness *h, int n_procs)
{
    struct harness_proc *procs[PROCS_MAX];
    const char *trace = harness_write_file(h, "trace", "");
    int lines, runs;

    for (int i = 0; i < n_procs; i++)
        procs[i] = spawn_worker(h, trace);
    for (int i = 0; i < n_procs; i++)
        harness_proc_await_log(procs[i], "is ready", DEADLINE_MS);
    for (int i = 0; i < 4; i++) {
        enqueue(h, "noop", RUNS / 4);
        harness_exec(h, "NOTIFY tocsin_bench");
    }
    harness_awaitf(h, DEADLINE_MS, "SELECT count(*) = %d FROM job_run_done", RUNS);
    for (int i = 0; i < n_procs; i++)
        assert_int_equal(harness_proc_stop(procs[i], DEADLINE_MS), 0);
    read_trace(trace, &lines, &runs);
    assert_int_equal(lines, RUNS);
    assert_int_equal(runs, RUNS);
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run"), 0);
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run_done WHERE attempt <> 1"), 0);
    assert_int_equal(harness_int(h, "SELECT sum((metrics->>'runs_lost')::int) FROM daemon"), 0);
}

static void test_two_processes_work_each_run_once(void **state)
{
    race(*state, 2);
}

static void test_eight_processes_work_each_run_once(void **state)
{
    race(*state, 8);
}

/* The most urgent first, then the oldest, through many batches; what is older and less urgent than
 * where a batch began is found all the same. */
static void test_the_most_urgent_first(void **state)
{
    struct harness *h = *state;
    const char *trace = harness_write_file(h, "trace", "");
    int lines, runs;

    harness_exec(h,
        "INSERT INTO job_run (queue, handler, priority, run_at)"
        " SELECT 'bench', 'noop', p.priority, now() - p.age - n * interval '1 millisecond'"
        " FROM (VALUES (9, interval '3 hours'), (5, '2 hours'), (0, '1 hour')) AS p (priority, "
        "age),"
        " generate_series(1, 1500) AS n ORDER BY random()");
    struct harness_proc *p = spawn_worker(h, trace);
    harness_await(h, DEADLINE_MS, "SELECT count(*) = 4500 FROM job_run_done");
    assert_int_equal(harness_proc_stop(p, DEADLINE_MS), 0);
    read_trace(trace, &lines, &runs);
    assert_int_equal(lines, 4500);
    assert_int_equal(runs, 4500);
    /* Runs of one batch start together; no batch has anything that should have gone before. */
    assert_string_equal(
        harness_rows(h,
            "SELECT priority FROM job_run_done GROUP BY priority ORDER BY min(started_at),"
            " priority"),
        "0\n5\n9");
    assert_int_equal(
        harness_int(h,
            "SELECT count(*) FROM job_run_done AS a JOIN job_run_done AS b"
            " ON a.priority = b.priority AND a.run_at < b.run_at AND a.started_at > b.started_at"),
        0);
}

/* Killed while runs are in hand: their rows are rescued, their attempts not counted. */
static void test_a_killed_process_loses_nothing(void **state)
{
    struct harness *h = *state;
    const char *trace = harness_write_file(h, "trace", "");
    struct harness_proc *first = spawn_worker(h, trace);

    enqueue(h, "hang", 20);
    harness_exec(h, "NOTIFY tocsin_bench");
    harness_await(h, DEADLINE_MS, "SELECT count(*) = 20 FROM job_run WHERE locked_by IS NOT NULL");
    harness_proc_kill(first);
    harness_exec(h, "UPDATE job_run SET handler = 'noop'");
    harness_clock_advance(h, "6 minutes");
    struct harness_proc *second = spawn_worker(h, trace);
    harness_await(h, DEADLINE_MS, "SELECT count(*) = 20 FROM job_run_done");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run_done WHERE attempt = 1"), 20);
    harness_proc_await_log(second, "rescued 20 stalled runs", DEADLINE_MS);
}

static void test_the_third_rescue_quarantines(void **state)
{
    struct harness *h = *state;
    const char *trace = harness_write_file(h, "trace", "");

    enqueue(h, "hang", 1);
    for (int i = 0; i < 3; i++) {
        struct harness_proc *p = spawn_worker(h, trace);
        harness_await(h, DEADLINE_MS,
            "SELECT locked_by IS NOT NULL AND daemon_is_dead(locked_by) = false FROM job_run");
        harness_proc_kill(p);
        harness_clock_advance(h, "6 minutes");
    }
    (void)spawn_worker(h, trace);
    harness_await(h, DEADLINE_MS, "SELECT EXISTS (SELECT FROM job_run_quarantine)");
    assert_string_equal(harness_rows(h, "SELECT reason, rescues, attempt FROM job_run_quarantine"),
        "rescued three times|3|1");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run"), 0);
}

static void test_failures_retry_then_quarantine(void **state)
{
    struct harness *h = *state;
    const char *trace = harness_write_file(h, "trace", "");
    int lines, runs;

    (void)spawn_worker(h, trace);
    enqueue(h, "fail", 1);
    enqueue(h, "nobody", 1);
    harness_exec(h, "NOTIFY tocsin_bench");
    harness_await(h, DEADLINE_MS, "SELECT count(*) = 2 FROM job_run_quarantine");
    assert_string_equal(harness_rows(h, "SELECT handler, reason, attempt, failure->>'detail' FROM "
                                        "job_run_quarantine ORDER BY id"),
        "fail|last attempt failed|3|told to fail\n"
        "nobody|final failure|1|no worker of queue \"bench\" handles \"nobody\"");
    read_trace(trace, &lines, &runs);
    assert_int_equal(lines, 3);
}

/* A claim that was rescued meanwhile: the late finish changes nothing. */
static void test_a_late_finish_is_thrown_away(void **state)
{
    struct harness *h = *state;
    const char *trace = harness_write_file(h, "trace", "");
    struct harness_proc *p = spawn_worker(h, trace);

    harness_exec(
        h, "INSERT INTO job_run (queue, handler, timeout_ms) VALUES ('bench', 'hang', 1500)");
    harness_exec(h, "NOTIFY tocsin_bench");
    harness_await(h, DEADLINE_MS, "SELECT locked_by IS NOT NULL FROM job_run");
    harness_exec(h, "UPDATE job_run SET locked_by = locked_by + 1000, fence = fence + 1000");
    harness_proc_await_log(p, "claim of a run was lost", DEADLINE_MS);
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run WHERE locked_by > 1000"), 1);
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run_quarantine"), 0);
}

/* What was done is not done again because its end could not be written once: a lock that somebody
 * holds for longer than the statement's time-out. */
static void test_a_finish_that_fails_is_sent_again(void **state)
{
    struct harness *h = *state;
    const char *trace = harness_write_file(h, "trace", "");
    struct harness_proc *p = spawn_worker_with(h, trace, "TOCSIN_STATEMENT_TIMEOUT=200ms");
    PGconn *lock = harness_connect(h, NULL);
    int lines, runs;

    harness_proc_await_log(p, "is ready", DEADLINE_MS);
    PQclear(PQexec(lock, "BEGIN; LOCK TABLE job_run_done, job_run_quarantine"));
    enqueue(h, "tell", 2);
    harness_exec(h, "NOTIFY tocsin_bench");
    harness_proc_await_log(p, "a run could not be finished", DEADLINE_MS);
    PQclear(PQexec(lock, "COMMIT"));
    harness_await(h, DEADLINE_MS, "SELECT count(*) = 2 FROM job_run_done");
    assert_string_equal(
        harness_rows(h, "SELECT DISTINCT outcome, attempt, result FROM job_run_done"),
        "succeeded|1|{\"told\": true}");
    read_trace(trace, &lines, &runs);
    assert_int_equal(lines, 2);
    assert_int_equal(harness_proc_stop(p, DEADLINE_MS), 0);
}

/* The connection is cut between the claim and its finish; nothing is worked twice or lost. */
static void test_a_cut_connection_loses_nothing(void **state)
{
    struct harness *h = *state;
    const char *trace = harness_write_file(h, "trace", "");
    struct harness_proc *p = spawn_worker(h, trace);

    harness_proc_await_log(p, "is ready", DEADLINE_MS);
    for (int i = 0; i < 10; i++) {
        enqueue(h, "noop", RUNS / 10);
        harness_exec(h, "NOTIFY tocsin_bench");
        harness_exec(h, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE application_name = 'noop-worker' AND datname = current_database()");
    }
    harness_awaitf(h, DEADLINE_MS, "SELECT count(*) = %d FROM job_run_done", RUNS);
    assert_int_equal(harness_int(h, "SELECT count(DISTINCT id) FROM job_run_done"), RUNS);
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run"), 0);
    assert_true(harness_proc_logged(p, "lost the database"));
    assert_int_equal(harness_proc_stop(p, DEADLINE_MS), 0);
}

static bool three_have_started(void *trace)
{
    int lines, runs;

    read_trace(trace, &lines, &runs);
    return runs == 3;
}

/* A claim is not waited for until it is on disk. One that the server forgot in a crash is taken
 * again by the process that has the run in its hands: nobody else starts it. */
static void test_a_claim_that_the_server_forgot(void **state)
{
    struct harness *h = *state;
    const char *trace = harness_write_file(h, "trace", "");
    int lines, runs;

    /* Only what is committed durably reaches the disk before the crash. */
    harness_exec(h, "ALTER SYSTEM SET synchronous_commit = on");
    harness_exec(h, "ALTER SYSTEM SET wal_writer_delay = '10s'");
    harness_exec(h, "ALTER SYSTEM SET wal_writer_flush_after = '1GB'");
    harness_exec(h, "SELECT pg_reload_conf()");
    harness_await(h, DEADLINE_MS,
        "SELECT current_setting('wal_writer_delay') = '10s'"
        " AND current_setting('synchronous_commit') = 'on'");
    struct harness_proc *p = spawn_worker(h, trace);
    harness_proc_await_log(p, "is ready", DEADLINE_MS);
    enqueue(h, "hang", 3);
    harness_exec(h, "NOTIFY tocsin_bench");
    harness_await_that(
        h, DEADLINE_MS, three_have_started, (void *)trace, "three runs have started");
    harness_postgres_crash(h);
    harness_postgres_start(h);
    harness_proc_await_log(p, "they are taken again", DEADLINE_MS);
    struct harness_proc *other = spawn_worker(h, trace);
    harness_proc_await_log(other, "is ready", DEADLINE_MS);
    enqueue(h, "noop", 1);
    harness_exec(h, "NOTIFY tocsin_bench");
    harness_await(h, DEADLINE_MS, "SELECT count(*) = 1 FROM job_run_done");
    read_trace(trace, &lines, &runs);
    assert_int_equal(lines, 4);
    assert_int_equal(runs, 4);
    assert_string_equal(
        harness_rows(h, "SELECT r.attempt, d.pid IS NOT NULL FROM job_run AS r"
                        " LEFT JOIN daemon AS d ON d.id = r.locked_by AND d.stopped_at IS NULL"),
        "1|t\n1|t\n1|t");
}

/* SIGTERM gives back at once what has not been started, and ends what has. */
static void test_drain_leaves_no_lock(void **state)
{
    struct harness *h = *state;
    const char *trace = harness_write_file(h, "trace", "");
    struct harness_proc *p = spawn_worker(h, trace);

    harness_proc_await_log(p, "is ready", DEADLINE_MS);
    enqueue(h, "noop", RUNS);
    harness_exec(h, "NOTIFY tocsin_bench");
    harness_await(h, DEADLINE_MS, "SELECT count(*) > 0 FROM job_run_done");
    assert_int_equal(harness_proc_stop(p, DEADLINE_MS), 0);
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run WHERE locked_by IS NOT NULL"), 0);
    assert_int_equal(harness_int(h, "SELECT count(*) FROM daemon WHERE stopped_at IS NULL"), 0);
    assert_int_equal(
        harness_int(
            h, "SELECT (SELECT count(*) FROM job_run) + (SELECT count(*) FROM job_run_done)"),
        RUNS);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, harness_setup, harness_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_two_processes_work_each_run_once),
        CASE(test_eight_processes_work_each_run_once),
        CASE(test_the_most_urgent_first),
        CASE(test_a_killed_process_loses_nothing),
        CASE(test_the_third_rescue_quarantines),
        CASE(test_failures_retry_then_quarantine),
        CASE(test_a_late_finish_is_thrown_away),
        CASE(test_a_finish_that_fails_is_sent_again),
        CASE(test_a_cut_connection_loses_nothing),
        CASE(test_drain_leaves_no_lock),
        cmocka_unit_test_setup_teardown(
            test_a_claim_that_the_server_forgot, harness_setup_alone, harness_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
