/*
 * Eight sessions, then eight processes, ask for the probe of an open circuit at the same moment:
 * one gets it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/harness.h"
#include "tests/support/reach_world.h"

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

/* --- eight processes ------------------------------------------------------------------------- */

#define PROCESSES 8
#define ALERTS    64

/* None of them has heard of the circuit before it is open: none sends while it is, one alone when
 * it is half open, all when it is closed. */
static void test_one_probe_of_eight_processes(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *processes[PROCESSES];

    reach_world_people(w, "twilio_sms", NULL);
    harness_exec(w->h, "INSERT INTO circuit (name, state, failures, opened_at, open_until)"
                       " VALUES ('twilio_sms', 'open', 3, now(), now() + interval '1 minute')");
    reach_world_expect(w, &(struct fake_rule){.method = "POST",
                              .path = REACH_MESSAGES,
                              .times = 1,
                              .accept = true,
                              .fault = FAKE_HANG});
    for (int i = 0; i < PROCESSES; i++)
        processes[i] = reach_world_worker(
            w, (const char *const[]){"SEND_TIMEOUT=60s", "MAX_IN_FLIGHT=8", NULL});
    for (int i = 0; i < PROCESSES; i++)
        harness_proc_await_log(processes[i], "is ready", REACH_SOON_MS);
    reach_world_alerts(w, ALERTS);
    harness_awaitf(w->h, REACH_SOON_MS,
        "SELECT count(DISTINCT notification_id) = %d FROM attempt WHERE outcome = 'diverted'",
        ALERTS);
    assert_int_equal(fake_request_count(w->fake), 0);

    reach_world_advance(w, "2 minutes");
    assert_true(fake_wait_requests(w->fake, 1, REACH_SOON_MS));
    harness_awaitf(w->h, REACH_SOON_MS,
        "SELECT count(DISTINCT notification_id) = %d AND count(DISTINCT daemon_id) > 1"
        " FROM attempt WHERE number > 1 AND outcome = 'diverted'",
        ALERTS - 1);
    assert_int_equal(fake_request_count(w->fake), 1);
    assert_int_equal(
        harness_int(w->h, "SELECT count(*) FROM notification WHERE state = 'accepted'"), 0);

    fake_release(w->fake);
    harness_await(w->h, REACH_SOON_MS, "SELECT state = 'closed' FROM circuit");
    reach_world_await_done(w);
    for (int i = 0; i < PROCESSES; i++)
        assert_int_equal(harness_proc_stop(processes[i], REACH_SOON_MS), 0);
    assert_int_equal(reach_world_delivered(w, REACH_OWNER), ALERTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_one_probe_in_the_whole_system, harness_setup, harness_teardown),
        cmocka_unit_test_setup_teardown(
            test_three_failures_in_a_row_whoever_saw_them, harness_setup, harness_teardown),
        cmocka_unit_test_setup_teardown(
            test_one_probe_of_eight_processes, reach_world_setup, reach_world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
