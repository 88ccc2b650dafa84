/*
 * Eight sessions ask for the probe of an open circuit at the same moment: one gets it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/harness.h"

#define SESSIONS 8
#define ROUNDS   25

/* How many of the sessions' questions were answered with the probe. */
static int ask_at_once(struct harness *h, PGconn *const *sessions)
{
    int granted = 0;

    for (int i = 0; i < SESSIONS; i++) {
        char *sql = NULL;
        assert_true(asprintf(&sql,
                        "SELECT c.probe_by = %d AND c.changed_at = now()"
                        " FROM circuit_tell('sms', 0, false, true, %d) AS c",
                        i + 1, i + 1) > 0);
        assert_int_equal(PQsendQuery(sessions[i], sql), 1);
        free(sql);
    }
    for (int i = 0; i < SESSIONS; i++) {
        PGresult *r = PQgetResult(sessions[i]);
        assert_int_equal(PQresultStatus(r), PGRES_TUPLES_OK);
        granted += PQgetvalue(r, 0, 0)[0] == 't';
        PQclear(r);
        assert_null(PQgetResult(sessions[i]));
    }
    (void)h;
    return granted;
}

static void test_one_probe_in_the_whole_system(void **state)
{
    struct harness *h = *state;
    PGconn *sessions[SESSIONS];

    for (int i = 0; i < SESSIONS; i++)
        sessions[i] = harness_connect(h, "tocsin_worker_escalation");
    harness_exec(h, "SELECT circuit_tell('sms', 3, false, false, 1)");
    assert_int_equal(ask_at_once(h, sessions), 0); /* not before its time */
    for (int round = 0; round < ROUNDS; round++) {
        int64_t prober;
        harness_clock_advance(h, "31 seconds");
        assert_int_equal(ask_at_once(h, sessions), 1);
        assert_int_equal(ask_at_once(h, sessions), 0);
        prober = harness_int(h, "SELECT probe_by FROM circuit");
        harness_execf(h, "SELECT circuit_tell('sms', 1, false, false, %lld)",
            (long long)(prober % SESSIONS + 1)); /* what another one says decides nothing */
        assert_string_equal(harness_text(h, "SELECT state FROM circuit"), "half_open");
        if (round % 2 == 0) /* the prober dies: its time passes */
            continue;
        harness_execf(h, "SELECT circuit_tell('sms', 1, false, false, %lld)", (long long)prober);
        assert_string_equal(harness_text(h, "SELECT state FROM circuit"), "open");
    }
    harness_clock_advance(h, "31 seconds");
    assert_int_equal(ask_at_once(h, sessions), 1);
    harness_exec(h, "SELECT circuit_tell('sms', 0, true, false, probe_by) FROM circuit");
    assert_string_equal(harness_rows(h, "SELECT state, failures FROM circuit"), "closed|0");
}

static void test_three_failures_in_a_row_whoever_saw_them(void **state)
{
    struct harness *h = *state;

    harness_exec(h, "SELECT circuit_tell('sms', 1, false, false, 1),"
                    " circuit_tell('sms', 1, false, false, 2)");
    assert_string_equal(harness_rows(h, "SELECT state, failures FROM circuit"), "closed|2");
    harness_exec(h, "SELECT circuit_tell('sms', 0, true, false, 1)");
    harness_exec(h, "SELECT circuit_tell('sms', 1, true, false, 1),"
                    " circuit_tell('sms', 1, false, false, 2)");
    assert_string_equal(harness_rows(h, "SELECT state, failures FROM circuit"), "closed|2");
    harness_exec(h, "SELECT circuit_tell('sms', 1, false, false, 3)");
    assert_string_equal(harness_rows(h, "SELECT state, failures FROM circuit"), "open|3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_one_probe_in_the_whole_system, harness_setup, harness_teardown),
        cmocka_unit_test_setup_teardown(
            test_three_failures_in_a_row_whoever_saw_them, harness_setup, harness_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
