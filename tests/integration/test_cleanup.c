/*
 * worker-cleanup as its own role: what goes, what stays, and what it may not do.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/harness.h"

#define PEOPLE                                                                                     \
    "INSERT INTO users (id, name) VALUES (1, 'owner');"                                            \
    "INSERT INTO ladder (id, key) VALUES (900, 'l');"                                              \
    "INSERT INTO calendar_credentials (id, user_id, provider, source) VALUES (1, 1, 'ics', "       \
    "'file:/x');"

/* One old and one young row of everything that is kept for a while. `%s` is the age. */
static void add_rows(struct harness *h, const char *age)
{
    harness_execf(h,
        "INSERT INTO processed_webhook_events (provider, event_id, received_at)"
        " VALUES ('p', '%s', now() - interval '%s');"
        "INSERT INTO webhook_delivery_log (url, attempt, logged_at)"
        " VALUES ('u', 1, now() - interval '%s');"
        "INSERT INTO calendar_event (credential_id, user_id, uid, title, starts_at, ends_at)"
        " VALUES (1, 1, '%s', 't', now() - interval '%s', now() - interval '%s');"
        "INSERT INTO daemon (executable, host, pid, version, heartbeat_at)"
        " VALUES ('x', 'h', 0, '1', now() - interval '%s');"
        "INSERT INTO job_run_done_default (id, org_id, queue, priority, run_at, handler, payload,"
        " trigger, attempt, outcome, created_at, finished_at) VALUES (1, 1, 'q', 5, now(), 'h', "
        "'{}',"
        " 'api', 1, 'succeeded', now(), now() - interval '%s' - interval '20 days')",
        age, age, age, age, age, age, age, age);
}

static void add_incident(struct harness *h, const char *age)
{
    harness_execf(h,
        "WITH i AS (INSERT INTO incident (kind, user_id, starts_at, title, ladder_id, created_at)"
        "  VALUES ('manual', 1, now() - interval '%s', 't', 900, now() - interval '%s') RETURNING "
        "id),"
        " n AS (INSERT INTO notification (incident_id, user_id, channel, mode, kind, gate, policy,"
        "  due_at, next_attempt_at, useless_after, idempotency_key, state, pending, created_at)"
        "  SELECT id, 1, 'console', 'message', 'k', 'alerts', 'at_most_once', now(), now(),"
        "  now() - interval '%s', 'i' || id, 'expired', false, now() - interval '%s' FROM i"
        "  RETURNING id),"
        " t AS (INSERT INTO notification_transition (notification_id, from_state, to_state, "
        "moved_at)"
        "  SELECT id, 'scheduled', 'expired', now() - interval '%s' FROM n)"
        "INSERT INTO attempt (notification_id, number, circuit, daemon_id, fence, started_at,"
        " deadline_at, finished_at, outcome)"
        " SELECT id, 1, 'c', 1, 1, now() - interval '%s', now(), now(), 'final' FROM n",
        age, age, age, age, age, age);
}

static struct harness_proc *run_once(struct harness *h, const char *const *env)
{
    struct harness_proc *p;

    harness_exec(h, "SELECT job_run_enqueue('worker-cleanup', 'cleanup')");
    p = harness_spawn(h, "worker-cleanup", (const char *const[]){"--once", NULL}, env);
    assert_int_equal(harness_proc_wait(p, 60000), 0);
    return p;
}

static void assert_left(struct harness *h, const char *table, int64_t rows)
{
    int64_t left = harness_intf(h, "SELECT count(*) FROM %s", table);

    if (left != rows)
        fail_msg("%s has %lld rows, not %lld", table, (long long)left, (long long)rows);
}

static const char *const TABLES[] = {"processed_webhook_events", "webhook_delivery_log",
    "calendar_event", "incident", "notification", "notification_transition", "attempt",
    "job_run_done_default"};

static void test_old_rows_go_and_young_ones_stay(void **state)
{
    struct harness *h = *state;
    struct harness_proc *p;

    harness_exec(h, PEOPLE);
    add_rows(h, "40 days");
    add_rows(h, "1 hour");
    add_incident(h, "91 days");
    add_incident(h, "89 days");
    p = run_once(h, NULL);
    for (size_t i = 0; i < sizeof TABLES / sizeof *TABLES; i++)
        assert_left(h, TABLES[i], 1);
    assert_left(h, "daemon WHERE executable = 'x'", 1);
    assert_true(harness_proc_logged(p, "Cleanup completed: 1 webhook_events"));
    assert_int_equal(harness_int(h, "SELECT (result ->> 'incidents')::int FROM job_run_done"
                                    " WHERE handler = 'cleanup'"),
        1);
}

/* What is still to be sent is not forgotten, however old it is. */
static void test_pending_work_stays(void **state)
{
    struct harness *h = *state;

    harness_exec(h, PEOPLE);
    add_incident(h, "200 days");
    harness_exec(h, "ALTER TABLE notification DISABLE TRIGGER notification_only_up;"
                    "UPDATE notification SET state = 'scheduled', pending = true");
    (void)run_once(h, NULL);
    assert_left(h, "notification", 1);
    assert_left(h, "incident", 1);
}

static void test_batches_are_bounded(void **state)
{
    struct harness *h = *state;

    harness_exec(h, "INSERT INTO processed_webhook_events (provider, event_id, received_at)"
                    " SELECT 'p', n, now() - interval '2 days' FROM generate_series(1, 2501) AS n");
    assert_int_equal(
        harness_int(h, "SELECT forget_webhook_events(interval '1 day', 100000)"), 1000);
    (void)run_once(h, (const char *const[]){"CLEANUP_BATCH=200", NULL});
    assert_left(h, "processed_webhook_events", 0);
}

static void test_a_row_in_use_is_passed_over(void **state)
{
    struct harness *h = *state;
    PGconn *other = harness_connect(h, NULL);

    harness_exec(h, "INSERT INTO processed_webhook_events (provider, event_id, received_at)"
                    " SELECT 'p', n, now() - interval '2 days' FROM generate_series(1, 3) AS n");
    PQclear(PQexec(
        other, "BEGIN; SELECT FROM processed_webhook_events WHERE event_id = '2' FOR UPDATE"));
    (void)run_once(h, NULL);
    assert_string_equal(harness_rows(h, "SELECT event_id FROM processed_webhook_events"), "2");
    PQclear(PQexec(other, "ROLLBACK"));
    (void)run_once(h, NULL);
    assert_left(h, "processed_webhook_events", 0);
}

static const char PARTITIONS[] =
    "SELECT count(*) FROM pg_inherits WHERE inhparent = 'job_run_done'::regclass";

static void test_partitions_are_made_and_dropped(void **state)
{
    struct harness *h = *state;
    struct harness_proc *p;

    assert_int_equal(harness_int(h, PARTITIONS), 9); /* default, today and 7 days */
    harness_clock_advance(h, "35 days");
    p = run_once(h, NULL);
    assert_true(harness_proc_logged(p, "made 8 partitions of job_run_done"));
    /* Of the first eight, those that ended over 30 days ago went. */
    assert_int_equal(
        harness_int(h, "SELECT count(*) FROM pg_class WHERE relname ~ '^job_run_done_\\d+$'"
                       " AND to_date(right(relname, 8), 'YYYYMMDD') + 1 <="
                       " ((now() AT TIME ZONE 'UTC') - interval '30 days')::date"),
        0);
    assert_int_equal(harness_proc_count_log(p, "dropped job_run_done_"), 5);
    assert_int_equal(harness_int(h, PARTITIONS), 9 + 8 - 5);
    assert_true(harness_bool(h, "SELECT ok FROM health WHERE \"check\" = 'partition_missing'"));
}

/* A run that finished on a day nobody had made a partition for keeps its place. */
static void test_a_day_in_the_default_partition_stays_there(void **state)
{
    struct harness *h = *state;

    harness_clock_advance(h, "20 days");
    harness_exec(h,
        "INSERT INTO job_run_done (id, org_id, queue, priority, run_at, handler, payload,"
        " trigger, attempt, outcome, created_at, finished_at) VALUES (77, 1, 'q', 5,"
        " now(), 'h', '{}', 'api', 1, 'succeeded', now(), now())");
    assert_left(h, "job_run_done_default", 1);
    (void)run_once(h, NULL);
    assert_true(harness_int(h, "SELECT count(*) FROM job_run_done_default") >= 1);
    assert_int_equal(harness_int(h, PARTITIONS), 9 + 7);
}

/* Somebody reads the day that is to go: it goes the next time, the rest goes now. */
static void test_a_partition_in_use_waits(void **state)
{
    struct harness *h = *state;
    PGconn *reader = harness_connect(h, NULL);
    struct harness_proc *p;

    harness_exec(h, PEOPLE);
    harness_clock_advance(h, "33 days");
    add_rows(h, "40 days");
    PQclear(PQexec(reader, "BEGIN; SELECT count(*) FROM job_run_done"));
    p = run_once(h, NULL);
    assert_true(harness_proc_logged(p, "old partitions: the history is in use"));
    assert_left(h, "webhook_delivery_log", 0);
    PQclear(PQexec(reader, "ROLLBACK"));
    p = run_once(h, NULL);
    assert_true(harness_proc_logged(p, "dropped job_run_done_"));
}

static void test_it_can_only_forget(void **state)
{
    struct harness *h = *state;
    const char *role = "tocsin_worker_cleanup", *denied = "42501";

    harness_exec(h, "INSERT INTO processed_webhook_events (provider, event_id, received_at)"
                    " VALUES ('p', 'e', now() - interval '59 minutes')");
    harness_refused(h, role, denied, "SELECT sealed FROM calendar_credentials");
    harness_refused(h, role, denied, "DELETE FROM incident");
    harness_refused(h, role, denied, "DELETE FROM notification");
    harness_refused(h, role, denied, "UPDATE users SET name = 'x'");
    harness_refused(h, role, denied, "DROP TABLE job_run_done_default");
    harness_refused(h, "tocsin_scheduler", denied, "SELECT forget_daemons('1 day', 10)");
    /* An age of nothing still spares the last hour. */
    assert_int_equal(harness_int(h, "SELECT forget_webhook_events(interval '0', 10)"), 0);
}

/* Partitions do not depend on a schedule that somebody has to switch on. */
static void test_partitions_are_made_without_a_run(void **state)
{
    struct harness *h = *state;
    struct harness_proc *p;

    harness_clock_advance(h, "3 days");
    p = harness_spawn(h, "worker-cleanup", NULL, NULL);
    harness_proc_await_log(p, "made 3 partitions of job_run_done", 20000);
    assert_int_equal(harness_proc_stop(p, 10000), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_old_rows_go_and_young_ones_stay),
        TEST(test_pending_work_stays),
        TEST(test_batches_are_bounded),
        TEST(test_a_row_in_use_is_passed_over),
        TEST(test_partitions_are_made_and_dropped),
        TEST(test_a_day_in_the_default_partition_stays_there),
        TEST(test_a_partition_in_use_waits),
        TEST(test_it_can_only_forget),
        TEST(test_partitions_are_made_without_a_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
