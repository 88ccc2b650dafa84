/*
 * The health view: each check is well at first, fails for its reason, and for no other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/harness.h"

/* A process start that lives as long as the test moves no clock past it: pid 0 is nobody's. */
#define ADD_DAEMON                                                                                 \
    "INSERT INTO daemon (executable, host, pid, version, flags)"                                   \
    " VALUES ('worker-escalation', 'h', 0, '1', '{\"alerts\": true, \"checkin\": false}');"
#define ADD_USER "INSERT INTO users (id, name) VALUES (1, 'owner');"
#define ADD_SCHEDULE                                                                               \
    "INSERT INTO job (key, handler, queue) VALUES ('j', 'cleanup', 'worker-cleanup');"             \
    "INSERT INTO job_schedule (key, definition, target_kind, target) VALUES ('s', '{}', 'job', "   \
    "'j');"
#define ADD_NOTIFICATION(gate, late)                                                               \
    "INSERT INTO notification (user_id, channel, mode, kind, gate, policy, due_at,"                \
    " next_attempt_at, useless_after, idempotency_key)"                                            \
    " VALUES (1, 'console', 'message', 'k', '" gate "', 'at_most_once', now(), now() - interval "  \
    "'" late "', now() + interval '1 hour', 'key-" gate "');"

struct fault {
    const char *check;
    const char *sql;
    const char *detail; /* a part of it */
};

static const struct fault faults[] = {
    {"heartbeat", ADD_DAEMON "UPDATE daemon SET heartbeat_at = now() - interval '301 seconds'",
        "worker-escalation on h (pid 0)"},
    {"schedule_overdue",
        ADD_SCHEDULE "UPDATE job_schedule SET enabled = true;"
                     "UPDATE job_schedule SET next_run_at = now() - interval '3 minutes'",
        "s"},
    {"schedule_next_run",
        ADD_SCHEDULE "UPDATE job_schedule SET enabled = true;"
                     "UPDATE job_schedule SET awaits_next = false",
        "s"},
    {"schedule_definition",
        ADD_SCHEDULE "UPDATE job_schedule SET enabled = true;"
                     "UPDATE job_schedule SET next_run_at = 'infinity', fault = 'no such zone'",
        "s: no such zone"},
    {"run_overdue",
        "INSERT INTO job_run (queue, handler, run_at) VALUES ('q', 'h', now() - interval '6 min')",
        "q run 1"},
    {"notification_overdue", ADD_USER ADD_DAEMON ADD_NOTIFICATION("alerts", "3 minutes"), "k 1"},
    {"stale_lock",
        ADD_USER "INSERT INTO calendar_credentials (user_id, provider, source, locked_at,"
                 " locked_by, fence) VALUES (1, 'ics', 'file:/x', now() - interval '6 min', 99, 1)",
        "calendar_credentials 1"},
    {"stale_lock",
        "INSERT INTO job_run (queue, handler, locked_at, locked_by, fence)"
        " VALUES ('q', 'h', now() - interval '6 min', 99, 1)",
        "job_run 1"},
    {"stale_lock",
        ADD_USER ADD_NOTIFICATION(
            "alerts", "0 s") "UPDATE notification SET state = 'sending', attempts = 1,"
                             " locked_at = now() - interval '6 min', locked_by = 99, fence = 1",
        "notification 1"},
    {"stale_lock",
        ADD_SCHEDULE "UPDATE job_schedule SET locked_at = now() - interval '6 min', locked_by = 99,"
                     " fence = 1",
        "job_schedule s"},
    {"circuit_open",
        "INSERT INTO circuit (name, state, opened_at, open_until)"
        " VALUES ('twilio_sms', 'open', now(), now())",
        "twilio_sms (open since"},
    {"run_quarantined",
        "INSERT INTO job_run_quarantine (id, org_id, queue, priority, run_at, handler, payload,"
        " trigger, attempt, max_attempts, backoff_ms, timeout_ms, rescues, waits_for, created_at,"
        " has_dependents, exclusive, reason, quarantined_at) VALUES (5, 1, 'q', 5, now(), 'h', "
        "'{}',"
        " 'api', 3, 3, '{1}', 1, 0, 0, now(), false, false, 'last attempt failed', now())",
        "h 5: last attempt failed"},
    {"credential_dead",
        ADD_USER "INSERT INTO calendar_credentials (user_id, provider, source, dead_at)"
                 " VALUES (1, 'ics', 'file:/x', now())",
        "ics of user 1"},
    {"partition_missing",
        "DO $$ BEGIN EXECUTE 'DROP TABLE job_run_done_' ||"
        " to_char((now() AT TIME ZONE 'UTC') + interval '1 day', 'YYYYMMDD'); END $$",
        "job_run_done_"},
};

/* What must not be called a fault. */
static const struct fault innocent[] = {
    {"heartbeat",
        ADD_DAEMON "UPDATE daemon SET heartbeat_at = now() - interval '6 min', stopped_at = now()",
        NULL},
    {"heartbeat",
        ADD_DAEMON "UPDATE daemon SET heartbeat_at = now() - interval '6 min',"
                   " started_at = now() - interval '1 hour';" ADD_DAEMON,
        NULL},
    {"schedule_next_run", ADD_SCHEDULE "UPDATE job_schedule SET enabled = true", NULL},
    {"schedule_overdue",
        ADD_SCHEDULE "UPDATE job_schedule SET next_run_at = now() - interval '1 day'", NULL},
    {"run_overdue",
        "INSERT INTO job_run (queue, handler, run_at, waits_for)"
        " VALUES ('q', 'h', now() - interval '6 min', 1)",
        NULL},
    {"notification_overdue", ADD_USER ADD_DAEMON ADD_NOTIFICATION("checkin", "3 minutes"), NULL},
    {"notification_overdue",
        ADD_USER ADD_DAEMON ADD_NOTIFICATION("alerts",
            "3 minutes") "INSERT INTO feature_flag (name, enabled) VALUES ('alerts', false)",
        NULL},
    {"stale_lock",
        ADD_DAEMON "INSERT INTO job_run (queue, handler, locked_at, locked_by, fence)"
                   " SELECT 'q', 'h', now() - interval '6 min', id, 1 FROM daemon",
        NULL},
    {"credential_dead",
        ADD_USER "INSERT INTO calendar_credentials (user_id, provider, source, dead_at, revoked_at)"
                 " VALUES (1, 'ics', 'file:/x', now(), now())",
        NULL},
};

static void assert_healthy(struct harness *h)
{
    assert_string_equal(harness_rows(h, "SELECT \"check\", detail FROM health WHERE NOT ok"), "");
}

static void test_fresh_database_is_well(void **state)
{
    struct harness *h = *state;

    assert_healthy(h);
    assert_true(harness_int(h, "SELECT count(*) FROM health") >= 11);
}

static void test_each_fault_fails_its_check_alone(void **state)
{
    struct harness *h = *state;

    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        harness_exec(h, "BEGIN");
        harness_exec(h, faults[i].sql);
        assert_string_equal(
            harness_rows(h, "SELECT \"check\" FROM health WHERE NOT ok"), faults[i].check);
        assert_non_null(
            strstr(harness_text(h, "SELECT detail FROM health WHERE NOT ok"), faults[i].detail));
        harness_exec(h, "ROLLBACK; ALTER SEQUENCE job_run_id_seq RESTART;"
                        "ALTER SEQUENCE notification_id_seq RESTART;"
                        "ALTER SEQUENCE calendar_credentials_id_seq RESTART");
    }
    assert_healthy(h);
}

static void test_what_is_meant_is_no_fault(void **state)
{
    struct harness *h = *state;

    for (size_t i = 0; i < sizeof innocent / sizeof *innocent; i++) {
        harness_exec(h, "BEGIN");
        harness_exec(h, innocent[i].sql);
        assert_string_equal(
            harness_rows(h, "SELECT \"check\", detail FROM health WHERE NOT ok"), "");
        harness_exec(h, "ROLLBACK");
    }
}

/* Many faults of one check are one row, which says how many more there are. */
static void test_many_faults_are_one_row(void **state)
{
    struct harness *h = *state;

    harness_exec(h, "INSERT INTO job_run (queue, handler, run_at)"
                    " SELECT 'q', 'h', now() - interval '6 min' FROM generate_series(1, 12)");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM health WHERE NOT ok"), 1);
    assert_non_null(
        strstr(harness_text(h, "SELECT detail FROM health WHERE NOT ok"), "and 7 more"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_fresh_database_is_well),
        TEST(test_each_fault_fails_its_check_alone),
        TEST(test_what_is_meant_is_no_fault),
        TEST(test_many_faults_are_one_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
