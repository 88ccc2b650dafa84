/*
 * SIGKILL at every state of a delivery, then recovery by another process: what reached the
 * provider is counted. Nothing is lost, nothing is sent twice.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/reach_world.h"

#define SOON_MS   REACH_SOON_MS
#define POST_ONCE .method = "POST", .path = REACH_MESSAGES, .times = 1

/* A worker whose answers may take for ever, so that it is killed and does not time out. */
static struct harness_proc *patient_worker(struct reach_world *w)
{
    return reach_world_worker(w, (const char *const[]){"SEND_TIMEOUT=60s", NULL});
}

static void start_alert(struct reach_world *w)
{
    reach_world_people(w, "twilio_sms", NULL);
    reach_world_alerts(w, 1);
}

/* The one who was killed is dead for good; another takes over and ends it. */
static void recover(struct reach_world *w)
{
    struct harness_proc *p;

    fake_release(w->fake);
    harness_clock_advance(w->h, "6 minutes");
    p = reach_world_worker(w, NULL);
    harness_proc_await_log(p, "is ready", SOON_MS);
    reach_world_await_done(w);
    assert_string_equal(harness_text(w->h, "SELECT state FROM notification"), "accepted");
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(reach_world_delivered(w, REACH_OWNER), 1);
}

static void test_while_the_claim_is_not_committed(void **state)
{
    struct reach_world *w = *state;
    PGconn *blocker = harness_connect(w->h, NULL);
    struct harness_proc *p;

    start_alert(w);
    PQclear(PQexec(blocker, "BEGIN; LOCK TABLE attempt IN SHARE MODE"));
    p = patient_worker(w);
    harness_await(w->h, SOON_MS,
        "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted"
        " AND relation = 'attempt'::regclass)");
    harness_proc_kill(p);
    harness_disconnect(w->h, blocker);
    recover(w);
    assert_int_equal(harness_int(w->h, "SELECT rescues FROM notification"), 0);
}

static void test_while_the_provider_has_it_and_did_not_take_it(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    start_alert(w);
    reach_world_expect(w, &(struct fake_rule){POST_ONCE, .fault = FAKE_HANG});
    p = patient_worker(w);
    assert_true(fake_wait_requests(w->fake, 1, SOON_MS));
    harness_proc_kill(p);
    recover(w);
    assert_int_equal(harness_int(w->h, "SELECT rescues FROM notification"), 1);
}

static void test_while_the_provider_has_taken_it(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    start_alert(w);
    reach_world_expect(w, &(struct fake_rule){POST_ONCE, .accept = true, .fault = FAKE_HANG});
    p = patient_worker(w);
    assert_true(fake_wait_deliveries(w->fake, 1, SOON_MS));
    harness_proc_kill(p);
    recover(w);
    assert_string_equal(harness_rows(w->h, "SELECT number, outcome FROM attempt ORDER BY number"),
        "1|lost\n2|accepted");
}

static void test_while_its_outcome_is_written(void **state)
{
    struct reach_world *w = *state;
    PGconn *blocker = harness_connect(w->h, NULL);
    struct harness_proc *p;

    start_alert(w);
    reach_world_expect(w, &(struct fake_rule){POST_ONCE, .accept = true, .fault = FAKE_HANG});
    p = patient_worker(w);
    assert_true(fake_wait_deliveries(w->fake, 1, SOON_MS));
    PQclear(PQexec(blocker, "BEGIN; SELECT id FROM notification FOR UPDATE"));
    fake_release(w->fake);
    harness_await(w->h, SOON_MS, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)");
    harness_proc_kill(p);
    harness_await(w->h, SOON_MS,
        "SELECT NOT EXISTS (SELECT FROM pg_stat_activity"
        " WHERE datname = current_database()"
        " AND application_name = 'worker-escalation'"
        " AND wait_event_type IS DISTINCT FROM 'Lock')");
    harness_disconnect(w->h, blocker);
    recover(w);
}

static void test_while_it_waits_for_its_next_try(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    start_alert(w);
    reach_world_expect(w, &(struct fake_rule){POST_ONCE, .status = 503});
    p = patient_worker(w);
    harness_proc_await_log(p, "not delivered yet", SOON_MS);
    harness_proc_kill(p);
    recover(w);
    assert_int_equal(harness_int(w->h, "SELECT rescues FROM notification"), 0);
}

static void test_while_it_asks_what_became_of_it(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    start_alert(w);
    reach_world_expect(w, &(struct fake_rule){POST_ONCE, .accept = true, .fault = FAKE_CLOSE});
    reach_world_expect(
        w, &(struct fake_rule){
               .method = "GET", .path = REACH_MESSAGES, .times = 1, .fault = FAKE_HANG});
    p = patient_worker(w);
    assert_true(fake_wait_requests(w->fake, 2, SOON_MS));
    harness_proc_kill(p);
    recover(w);
}

/* What a process held that was killed is taken over when its attempt's deadline passes, by one that
 * lives, long before its heartbeat is missed. The clock is the real one here. */
static void test_what_it_held_is_taken_over_at_the_deadline(void **state)
{
    static const char *const hasty[] = {"SEND_TIMEOUT=500ms", "TOCSIN_NOTIFY=off", NULL};
    struct reach_world *w = *state;
    struct harness_proc *p, *other;

    start_alert(w);
    reach_world_expect(w, &(struct fake_rule){POST_ONCE, .fault = FAKE_HANG});
    p = reach_world_worker(w, hasty);
    assert_true(fake_wait_requests(w->fake, 1, SOON_MS));
    harness_proc_kill(p);
    other = reach_world_worker(w, hasty);
    reach_world_await_done(w);
    assert_string_equal(
        harness_rows(w->h,
            "SELECT number, outcome, extract(epoch FROM (SELECT started_at FROM attempt"
            " WHERE number = 2) - deadline_at) BETWEEN 0 AND 8"
            " FROM attempt WHERE number = 1"),
        "1|lost|t");
    assert_int_equal(harness_proc_stop(other, SOON_MS), 0);
    assert_int_equal(reach_world_delivered(w, REACH_OWNER), 1);
}

/* Killed after each of a hundred alerts or so: no alert is lost or doubled. Each one takes up to
 * four of them along, so that the next one always finds enough that nobody holds. */
static void test_again_and_again(void **state)
{
    static const char *const patient[] = {"SEND_TIMEOUT=60s", "MAX_IN_FLIGHT=4", NULL};
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", NULL);
    reach_world_alerts(w, 120);
    for (size_t killed_at = 20; killed_at <= 100; killed_at += 20) {
        p = reach_world_worker(w, patient);
        assert_true(fake_wait_deliveries(w->fake, killed_at, SOON_MS));
        harness_proc_kill(p);
        harness_clock_advance(w->h, "1 minute");
    }
    harness_clock_advance(w->h, "4 minutes");
    p = reach_world_worker(w, (const char *const[]){"SEND_TIMEOUT=10s", NULL});
    harness_await(w->h, 60000, "SELECT NOT EXISTS (SELECT FROM notification WHERE pending)");
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_string_equal(
        harness_rows(w->h, "SELECT kind, state, count(*) FROM notification GROUP BY 1, 2"),
        "meeting_alert|accepted|120");
    for (int n = 1; n <= 120; n++) {
        char title[32];
        int times = 0;
        assert_true(snprintf(title, sizeof title, "\"Meeting %d.\"", n) > 0);
        for (size_t i = 0; i < fake_delivery_count(w->fake); i++)
            times += strstr(fake_delivery_at(w->fake, i)->text, title) != NULL;
        if (times != 1)
            fail_msg("meeting %d was told %d times", n, times);
    }
}

static void test_drain_finishes_what_is_under_way(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    start_alert(w);
    reach_world_expect(w, &(struct fake_rule){POST_ONCE, .accept = true, .delay_ms = 600});
    p = patient_worker(w);
    assert_true(fake_wait_requests(w->fake, 1, SOON_MS));
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_string_equal(harness_text(w->h, "SELECT state FROM notification"), "accepted");
    assert_int_equal(reach_world_delivered(w, REACH_OWNER), 1);
}

static void test_postgres_goes_and_comes_back_in_mid_send(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    start_alert(w);
    reach_world_expect(w, &(struct fake_rule){POST_ONCE, .accept = true, .fault = FAKE_HANG});
    p = patient_worker(w);
    assert_true(fake_wait_requests(w->fake, 1, SOON_MS));
    harness_postgres_stop(w->h);
    fake_release(w->fake);
    harness_postgres_start(w->h);
    harness_await(w->h, SOON_MS, "SELECT state = 'accepted' FROM notification");
    assert_int_equal(harness_int(w->h, "SELECT attempts FROM notification"), 1);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(reach_world_delivered(w, REACH_OWNER), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, reach_world_setup, reach_world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_while_the_claim_is_not_committed),
        TEST(test_while_the_provider_has_it_and_did_not_take_it),
        TEST(test_while_the_provider_has_taken_it),
        TEST(test_while_its_outcome_is_written),
        TEST(test_while_it_waits_for_its_next_try),
        TEST(test_while_it_asks_what_became_of_it),
        TEST(test_what_it_held_is_taken_over_at_the_deadline),
        TEST(test_again_and_again),
        TEST(test_drain_finishes_what_is_under_way),
        cmocka_unit_test_setup_teardown(test_postgres_goes_and_comes_back_in_mid_send,
            reach_world_setup_alone, reach_world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
