/*
 * Processes that race for the same notifications: each is delivered once, whoever gets it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sql/worker-escalation.h"
#include "tests/support/reach_world.h"

#define ALERTS        160
#define PROCESSES_MAX 8
/* What one process may have under way, and how much of it through one channel. */
#define IN_FLIGHT         "16"
#define IN_FLIGHT_CHANNEL 12

static void assert_each_once(struct reach_world *w)
{
    int seen[ALERTS + 1] = {0};

    for (size_t i = 0; i < fake_delivery_count(w->fake); i++) {
        const char *title = strstr(fake_delivery_at(w->fake, i)->text, "Meeting ");
        long n = title ? strtol(title + strlen("Meeting "), NULL, 10) : 0;
        assert_in_range(n, 1, ALERTS);
        seen[n]++;
    }
    for (int n = 1; n <= ALERTS; n++) {
        if (seen[n] != 1)
            fail_msg("meeting %d was told %d times", n, seen[n]);
    }
}

/* The provider answers nobody until every process has its hands full, so that none can take all
 * before another wakes. */
static void race(struct reach_world *w, int processes)
{
    static const char *const env[] = {"MAX_IN_FLIGHT=" IN_FLIGHT, "SEND_TIMEOUT=60s", NULL};
    int held = processes * IN_FLIGHT_CHANNEL;
    struct harness_proc *p[PROCESSES_MAX];

    reach_world_people(w, "twilio_sms", NULL);
    reach_world_alerts(w, ALERTS);
    harness_exec(w->h, "UPDATE notification SET next_attempt_at = now() + interval '1 hour'");
    for (int i = 0; i < processes; i++)
        p[i] = reach_world_worker(w, env);
    reach_world_expect(w, &(struct fake_rule){.method = "POST",
                              .path = REACH_MESSAGES,
                              .times = held,
                              .accept = true,
                              .fault = FAKE_HANG});
    harness_awaitf(w->h, REACH_SOON_MS, "SELECT count(*) = %d FROM daemon", processes);
    harness_exec(w->h, "UPDATE notification SET next_attempt_at = now();"
                       "SELECT pg_notify('tocsin_worker-escalation', '')");
    assert_true(fake_wait_requests(w->fake, (size_t)held, REACH_SOON_MS));
    fake_release(w->fake);
    harness_await(w->h, 60000, "SELECT NOT EXISTS (SELECT FROM notification WHERE pending)");
    for (int i = 0; i < processes; i++)
        assert_int_equal(harness_proc_stop(p[i], REACH_SOON_MS), 0);
    assert_each_once(w);
    assert_int_equal(harness_int(w->h, "SELECT count(*) FROM attempt"), ALERTS);
    assert_int_equal(harness_int(w->h, "SELECT count(DISTINCT daemon_id) FROM attempt"), processes);
}

static void test_two_processes(void **state)
{
    race(*state, 2);
}

static void test_eight_processes(void **state)
{
    race(*state, PROCESSES_MAX);
}

/* A claim whose row was taken over meanwhile changes nothing when it comes back late. */
static void test_a_late_finish_is_thrown_away(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *late, *other;

    reach_world_people(w, "twilio_sms", NULL);
    reach_world_alerts(w, 1);
    reach_world_expect(w, &(struct fake_rule){.method = "POST",
                              .path = REACH_MESSAGES,
                              .times = 1,
                              .accept = true,
                              .fault = FAKE_HANG});
    late = reach_world_worker(w, (const char *const[]){"SEND_TIMEOUT=60s", NULL});
    assert_true(fake_wait_requests(w->fake, 1, REACH_SOON_MS));
    harness_clock_advance(w->h, "3 minutes");
    other = reach_world_worker(w, NULL);
    reach_world_await_done(w);
    fake_release(w->fake);
    harness_proc_await_log(late, "the claim was lost", REACH_SOON_MS);
    assert_int_equal(harness_proc_stop(late, REACH_SOON_MS), 0);
    assert_int_equal(harness_proc_stop(other, REACH_SOON_MS), 0);
    assert_int_equal(reach_world_delivered(w, NULL), 1);
    assert_string_equal(harness_rows(w->h, "SELECT number, outcome FROM attempt ORDER BY number"),
        "1|lost\n2|accepted");
}

/* While more questions are due than are asked at a time, a claim has nothing to come back for: it
 * would come back at once, as long as the provider takes to answer. */
static void test_a_question_that_is_due_wakes_no_claim(void **state)
{
    static const char *const args[] = {
        "1", "8", "{alerts,checkin,escalation}", "{}", "25000", "{}", "{}", "6"};
    struct reach_world *w = *state;
    PGconn *conn = harness_connect(w->h, "tocsin_worker_escalation");
    PGresult *r;

    reach_world_people(w, "twilio_sms", NULL);
    reach_world_alerts(w, 2);
    harness_exec(w->h, "UPDATE notification SET state = 'sending', attempts = 1;"
                       "UPDATE notification SET state = 'accepted', pending = false,"
                       " sent_at = now(), poll_at = now() + (id - 1.5) * interval '1 minute'");
    r = PQexecParams(conn, SQL_claim_notifications.text, 8, NULL, args, NULL, NULL, 0);
    assert_int_equal(PQntuples(r), 1);
    assert_string_equal(PQgetvalue(r, 0, PQfnumber(r, "polls_due")), "t");
    assert_in_range(strtol(PQgetvalue(r, 0, PQfnumber(r, "next_in_ms")), NULL, 10), 1, 30000);
    PQclear(r);
    harness_disconnect(w->h, conn);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, reach_world_setup, reach_world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_two_processes),
        TEST(test_eight_processes),
        TEST(test_a_late_finish_is_thrown_away),
        TEST(test_a_question_that_is_due_wakes_no_claim),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
