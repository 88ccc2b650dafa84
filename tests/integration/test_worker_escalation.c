/*
 * worker-escalation as its own role: what reaches whom, when, through what, and how often.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/reach_world.h"

#define SOON_MS        REACH_SOON_MS
#define REACH_CALLS_OF "/2010-04-01/Accounts/AC1/Calls/*"

static void test_the_whole_ladder(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "console", NULL);
    reach_world_meeting(w, "12 minutes 30 seconds");
    p = reach_world_worker(w, NULL);
    harness_proc_await_log(p, "ready", SOON_MS);
    assert_false(harness_proc_logged(p, "MESSAGE"));
    reach_world_advance(w, "30 seconds");
    harness_proc_await_log(p, "MESSAGE  owner    \"Stand-up\" starts in 12 min", SOON_MS);
    harness_proc_await_log(p, "Alert message to owner accepted (console)", SOON_MS);
    reach_world_advance(w, "10 minutes");
    harness_proc_await_log(p, "CALL     owner    \"Stand-up\" starts in 2 min", SOON_MS);
    reach_world_advance(w, "2 minutes");
    harness_proc_await_log(p, "\"Stand-up\" starts now", SOON_MS);
    reach_world_advance(w, "2 minutes");
    harness_proc_await_log(
        p, "MESSAGE  second   owner has not answered: \"Stand-up\" started 2 min ago", SOON_MS);
    harness_await(w->h, SOON_MS, "SELECT climbed_position = 4 FROM incident");
    reach_world_advance(w, "3 minutes");
    harness_proc_await_log(p, "CALL     second   owner has not answered", SOON_MS);
    reach_world_await_done(w);
    assert_int_equal(
        harness_int(w->h, "SELECT count(*) FROM attempt WHERE outcome = 'accepted'"), 5);
    assert_int_equal(harness_proc_count_log(p, "MESSAGE  "), 3);
    assert_int_equal(harness_proc_count_log(p, "CALL  "), 2);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

/* As an exporter reads it. */
static void test_lateness_by_kind_and_channel(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "console", NULL);
    reach_world_alerts(w, 2);
    harness_clock_advance(w->h, "1 minute");
    harness_exec(w->h, "SELECT notification_tell(1, 'greeting', 'k', 'Hello')");
    p = reach_world_worker(w, NULL);
    reach_world_await_done(w);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_string_equal(
        harness_rows(w->h, "SELECT s ->> 'kind', s ->> 'channel', s ->> 'count', b.le_ms, b.n"
                           " FROM daemon AS d CROSS JOIN LATERAL jsonb_array_elements(d.metrics"
                           " #> '{lateness,series}') AS s CROSS JOIN LATERAL ROWS FROM ("
                           "  jsonb_array_elements_text(d.metrics #> '{lateness,bounds_ms}'),"
                           "  jsonb_array_elements_text(s -> 'buckets')) AS b (le_ms, n)"
                           " WHERE b.le_ms IN ('30000', '120000') ORDER BY 1, 4 DESC"),
        "greeting|console|1|30000|1\ngreeting|console|1|120000|1\n"
        "meeting_alert|console|2|30000|0\nmeeting_alert|console|2|120000|2");
    assert_true(harness_bool(w->h, "SELECT (s ->> 'sum_ms')::bigint BETWEEN 120000 AND 200000"
                                   " FROM daemon, jsonb_array_elements(metrics"
                                   " #> '{lateness,series}') AS s WHERE s ->> 'count' = '2'"));
}

static void test_an_acknowledgement_ends_it(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", NULL);
    reach_world_meeting(w, "11 minutes");
    p = reach_world_worker(w, NULL);
    assert_true(fake_wait_deliveries(w->fake, 1, SOON_MS));
    harness_proc_await_log(p, "Alert message to owner accepted (twilio_sms)", SOON_MS);
    assert_string_equal(harness_text(w->h, "SELECT incident_acknowledge(1, 'owner')"),
        "incident 1 acknowledged by owner: 4 pending cancelled");
    reach_world_advance(w, "15 minutes");
    harness_proc_await_log(p, "ready", SOON_MS);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(reach_world_delivered(w, NULL), 1);
}

static void test_gates_that_are_off_hold_their_rungs(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "console", NULL);
    reach_world_meeting(w, "-3 minutes");
    p = reach_world_worker(w, (const char *const[]){"FEATURE_ESCALATION_ENABLED=false", NULL});
    harness_proc_await_log(p, "Check-in message to owner accepted", SOON_MS);
    assert_int_equal(harness_int(w->h, "SELECT count(*) FROM notification"
                                       " WHERE gate = 'escalation' AND state = 'scheduled'"),
        2);
    assert_false(harness_proc_logged(p, "MESSAGE  second"));
    reach_world_advance(w, "30 minutes");
    harness_await(w->h, SOON_MS,
        "SELECT count(*) = 2 FROM notification"
        " WHERE gate = 'escalation' AND state = 'expired'");
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

static void test_nothing_is_sent_late(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", NULL);
    reach_world_alerts(w, 3);
    harness_clock_advance(w->h, "12 minutes");
    p = reach_world_worker(w, NULL);
    harness_await(w->h, SOON_MS, "SELECT count(*) = 3 FROM notification WHERE state = 'expired'");
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(reach_world_delivered(w, NULL), 0);
}

static void test_a_moved_meeting_is_told_at_its_new_time_alone(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", NULL);
    reach_world_alerts(w, 1);
    harness_exec(w->h, "UPDATE incident SET revision = 2, title = 'Moved'");
    p = reach_world_worker(w, NULL);
    harness_await(w->h, SOON_MS, "SELECT state = 'cancelled' FROM notification");
    harness_exec(w->h, "SELECT incident_plan('{1}')");
    assert_true(fake_wait_deliveries(w->fake, 1, SOON_MS));
    assert_non_null(strstr(fake_delivery_at(w->fake, 0)->text, "\"Moved\""));
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

/* --- what may pass, what cannot, what nobody knows ------------------------------------------- */

/* One alert through Twilio, whose first answer is so; it must arrive once. */
static void deliver_once(struct reach_world *w, const struct fake_rule *first)
{
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", NULL);
    reach_world_alerts(w, 1);
    reach_world_expect(w, first);
    p = reach_world_worker(w, NULL);
    harness_await(w->h, SOON_MS, "SELECT state = 'accepted' FROM notification");
    fake_release(w->fake);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(reach_world_delivered(w, REACH_OWNER), 1);
    assert_true(harness_bool(w->h, "SELECT provider_id LIKE 'SM%' FROM notification"));
}

#define FIRST_POST .method = "POST", .path = REACH_MESSAGES, .times = 1

#define DELIVERED_ONCE(name, ...)                                                                  \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        deliver_once(*state, &(struct fake_rule){FIRST_POST, __VA_ARGS__});                        \
    }

DELIVERED_ONCE(taken_then_closed, .accept = true, .fault = FAKE_CLOSE)
DELIVERED_ONCE(taken_then_reset, .accept = true, .fault = FAKE_RESET)
DELIVERED_ONCE(taken_then_cut_in_mid_body, .accept = true, .fault = FAKE_CUT)
DELIVERED_ONCE(taken_then_garbage, .accept = true, .fault = FAKE_GARBAGE)
DELIVERED_ONCE(taken_then_500, .accept = true, .status = 500)
DELIVERED_ONCE(taken_then_no_answer, .accept = true, .fault = FAKE_HANG)
DELIVERED_ONCE(not_taken_and_closed, .fault = FAKE_CLOSE)
DELIVERED_ONCE(not_taken_and_no_answer, .fault = FAKE_HANG)
DELIVERED_ONCE(not_taken_and_500, .status = 500)
DELIVERED_ONCE(not_taken_and_503, .status = 503)
DELIVERED_ONCE(too_many_requests, .status = 429,
    .headers = (const char *const[]){"Retry-After: 2", NULL}, .body = "{\"code\":20429}")

static void test_a_number_that_is_no_number_takes_the_next_channel(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", "console");
    reach_world_alerts(w, 1);
    reach_world_expect(w, &(struct fake_rule){FIRST_POST, .status = 400,
                              .body = "{\"code\":21211,\"message\":\"invalid\"}"});
    p = reach_world_worker(w, NULL);
    harness_proc_await_log(p, "Alert message to owner accepted (console)", SOON_MS);
    assert_string_equal(harness_rows(w->h, "SELECT channel, state, attempts FROM notification"
                                           " WHERE incident_id IS NOT NULL"
                                           " ORDER BY id"),
        "twilio_sms|failed|1\nconsole|accepted|1");
    assert_string_equal(harness_text(w->h, "SELECT disabled_reason FROM contact_method"
                                           " WHERE disabled_at IS NOT NULL"),
        "Twilio 21211: invalid 'To' number");
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

static void test_what_keeps_failing_takes_the_next_rung(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", NULL);
    reach_world_meeting(w, "11 minutes");
    reach_world_expect(
        w, &(struct fake_rule){FIRST_POST, .status = 400, .body = "{\"code\":30007}"});
    p = reach_world_worker(w, NULL);
    harness_proc_await_log(p, "the next rung takes over", SOON_MS);
    harness_await(w->h, SOON_MS,
        "SELECT state = 'accepted' FROM notification AS n"
        " JOIN ladder_rung AS r ON r.id = n.rung_id WHERE r.position = 2");
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(reach_world_delivered(w, REACH_OWNER), 1);
}

/* The provider takes it and says nothing, and cannot be asked: a notice is not sent again. */
static void test_at_most_once_is_not_sent_twice(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", NULL);
    reach_world_expect(w, &(struct fake_rule){FIRST_POST, .accept = true, .fault = FAKE_CLOSE});
    reach_world_expect(
        w, &(struct fake_rule){.method = "GET", .path = REACH_MESSAGES, .status = 404});
    harness_exec(w->h, "SELECT notification_tell(1, 'greeting', 'k', 'Hello')");
    p = reach_world_worker(w, NULL);
    harness_await(w->h, SOON_MS, "SELECT state = 'failed' FROM notification");
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(reach_world_delivered(w, NULL), 1);
}

/* --- what became of it ---------------------------------------------------------------------- */

static void test_an_undelivered_message_takes_the_next_channel(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", "console");
    reach_world_alerts(w, 1);
    p = reach_world_worker(w, NULL);
    harness_await(w->h, SOON_MS, "SELECT state = 'accepted' FROM notification");
    assert_int_equal(
        fake_twilio_set_status(w->fake, fake_delivery_at(w->fake, 0)->id, "undelivered", 30005), 0);
    reach_world_advance(w, "61 seconds");
    harness_proc_await_log(p, "Alert message to owner accepted (console)", SOON_MS);
    assert_string_equal(
        harness_rows(w->h, "SELECT channel, state FROM notification WHERE incident_id IS NOT NULL"
                           " ORDER BY id"),
        "twilio_sms|failed\nconsole|accepted");
    assert_int_equal(
        harness_int(w->h, "SELECT count(*) FROM contact_method WHERE disabled_at IS NOT NULL"), 1);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

static void test_a_delivered_message_is_asked_for_no_more(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", NULL);
    reach_world_alerts(w, 1);
    p = reach_world_worker(w, NULL);
    harness_await(w->h, SOON_MS, "SELECT state = 'accepted' FROM notification");
    assert_int_equal(
        fake_twilio_set_status(w->fake, fake_delivery_at(w->fake, 0)->id, "delivered", 0), 0);
    reach_world_advance(w, "61 seconds");
    harness_await(
        w->h, SOON_MS, "SELECT state = 'delivered' AND poll_at IS NULL FROM notification");
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(fake_request_count(w->fake), 2);
}

/* So many at a time, and each. */
static void test_all_are_asked_for(void **state)
{
    enum { MANY = 300 };
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", NULL);
    reach_world_alerts(w, MANY);
    p = reach_world_worker(w, NULL);
    harness_awaitf(
        w->h, SOON_MS, "SELECT count(*) = %d FROM notification WHERE state = 'accepted'", MANY);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(
            fake_twilio_set_status(w->fake, fake_delivery_at(w->fake, i)->id, "delivered", 0), 0);
    reach_world_advance(w, "2 minutes");
    harness_awaitf(
        w->h, SOON_MS, "SELECT count(*) = %d FROM notification WHERE state = 'delivered'", MANY);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(fake_request_count(w->fake), 2 * MANY);
}

/* A call that nobody answers is made again until it is of no more use. */
static void test_redial(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_voice", NULL);
    harness_exec(w->h, "DELETE FROM ladder_rung WHERE position <> 2");
    reach_world_meeting(w, "1 minute");
    p = reach_world_worker(w, NULL);
    for (size_t n = 1; n <= 3; n++) {
        assert_true(fake_wait_deliveries(w->fake, n, SOON_MS));
        harness_awaitf(
            w->h, SOON_MS, "SELECT count(*) = %zu FROM notification WHERE sent_at IS NOT NULL", n);
        assert_int_equal(fake_twilio_set_status(w->fake, fake_delivery_at(w->fake, n - 1)->id,
                             n == 2 ? "busy" : "no-answer", 0),
            0);
        reach_world_advance(w, "41 seconds");
        harness_awaitf(
            w->h, SOON_MS, "SELECT count(*) = %zu FROM notification WHERE state = 'failed'", n);
        reach_world_advance(w, n == 3 ? "5 minutes" : "20 seconds");
    }
    harness_await(w->h, SOON_MS, "SELECT count(*) = 1 FROM notification WHERE state = 'expired'");
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(reach_world_delivered(w, REACH_OWNER), 3);
}

static void test_an_answered_call_without_a_key_is_made_again(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_voice", NULL);
    harness_exec(w->h, "DELETE FROM ladder_rung WHERE position <> 2");
    reach_world_meeting(w, "1 minute");
    p = reach_world_worker(w, (const char *const[]){"PUBLIC_URL=https://t.example", NULL});
    harness_await(w->h, SOON_MS, "SELECT state = 'accepted' FROM notification");
    assert_int_equal(
        fake_twilio_set_status(w->fake, fake_delivery_at(w->fake, 0)->id, "completed", 0), 0);
    reach_world_advance(w, "41 seconds");
    harness_await(w->h, SOON_MS, "SELECT state = 'delivered' FROM notification WHERE id = 1");
    reach_world_advance(w, "20 seconds");
    assert_true(fake_wait_deliveries(w->fake, 2, SOON_MS));
    assert_non_null(strstr(fake_delivery_at(w->fake, 1)->text, "<Gather"));
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

/* Where no key can be pressed, a voice mail is nobody: it is called again, a person is not. */
static void test_a_voice_mail_is_called_again(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_voice", NULL);
    harness_exec(w->h, "DELETE FROM ladder_rung WHERE position <> 2");
    reach_world_meeting(w, "1 minute");
    reach_world_expect(w, &(struct fake_rule){.method = "GET",
                              .path = REACH_CALLS_OF,
                              .times = 1,
                              .status = 200,
                              .body = "{\"status\":\"completed\","
                                      "\"answered_by\":\"machine_start\"}"});
    p = reach_world_worker(w, NULL);
    harness_await(w->h, SOON_MS, "SELECT state = 'accepted' FROM notification");
    reach_world_advance(w, "41 seconds");
    harness_await(w->h, SOON_MS,
        "SELECT state = 'failed' AND reason = 'Twilio: a machine took the"
        " call' FROM notification WHERE id = 1");
    reach_world_advance(w, "20 seconds");
    harness_await(w->h, SOON_MS, "SELECT state = 'accepted' FROM notification WHERE id = 2");
    assert_int_equal(
        fake_twilio_set_status(w->fake, fake_delivery_at(w->fake, 1)->id, "completed", 0), 0);
    reach_world_advance(w, "41 seconds");
    harness_await(w->h, SOON_MS, "SELECT state = 'delivered' FROM notification WHERE id = 2");
    reach_world_advance(w, "30 seconds");
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(reach_world_delivered(w, REACH_OWNER), 2);
    assert_int_equal(harness_int(w->h, "SELECT count(*) FROM notification"), 2);
}

/* --- circuits ------------------------------------------------------------------------------- */

static void add_alert(struct reach_world *w, int event)
{
    harness_execf(w->h,
        "INSERT INTO incident (kind, user_id, event_id, starts_at, title, ladder_id)"
        " SELECT kind, user_id, %d, starts_at, 'Later', ladder_id FROM incident LIMIT 1;"
        "SELECT incident_plan(array_agg(id)) FROM incident",
        event);
}

/* One message after the other, until one of them was the probe. */
static bool closed_or_one_more(void *arg)
{
    struct reach_world *w = arg;

    if (harness_bool(w->h, "SELECT EXISTS (SELECT FROM notification WHERE pending)"))
        return false;
    if (harness_bool(w->h, "SELECT state = 'closed' FROM circuit"))
        return true;
    add_alert(w, 100 + (int)harness_int(w->h, "SELECT count(*) FROM incident"));
    return false;
}

/* The failure that opens the circuit moves its message on in the same statement. */
static void test_the_failure_that_opens_a_circuit_moves_on(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", "console");
    reach_world_alerts(w, 1);
    reach_world_expect(w,
        &(struct fake_rule){.method = "POST", .path = REACH_MESSAGES, .times = 3, .status = 503});
    p = reach_world_worker(w, NULL);
    harness_proc_await_log(p, "Alert message to owner accepted (console)", SOON_MS);
    assert_string_equal(harness_rows(w->h, "SELECT channel, state, attempts FROM notification"
                                           " ORDER BY id"),
        "twilio_sms|failed|3\nconsole|accepted|1");
    assert_string_equal(
        harness_text(w->h, "SELECT string_agg(outcome, ' ' ORDER BY number) FROM attempt"
                           " WHERE circuit = 'twilio_sms'"),
        "passing passing passing");
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

static void test_a_dead_provider_diverts_and_comes_back(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", "console");
    reach_world_alerts(w, 8);
    reach_world_expect(w,
        &(struct fake_rule){.method = "POST", .path = REACH_MESSAGES, .times = 8, .status = 503});
    p = reach_world_worker(w, NULL);
    reach_world_await_done(w);
    assert_int_equal(harness_proc_count_log(p, "MESSAGE  owner"), 8);
    assert_string_equal(harness_text(w->h, "SELECT state FROM circuit"), "open");
    reach_world_advance(w, "31 seconds");
    harness_await_that(w->h, SOON_MS, closed_or_one_more, w, "no probe closed the circuit");
    reach_world_await_done(w);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(
        reach_world_delivered(w, REACH_OWNER) + harness_proc_count_log(p, "MESSAGE  owner"),
        harness_int(w->h, "SELECT count(*) FROM incident"));
    assert_true(reach_world_delivered(w, REACH_OWNER) > 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, reach_world_setup, reach_world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_the_whole_ladder),
        TEST(test_lateness_by_kind_and_channel),
        TEST(test_an_acknowledgement_ends_it),
        TEST(test_gates_that_are_off_hold_their_rungs),
        TEST(test_nothing_is_sent_late),
        TEST(test_a_moved_meeting_is_told_at_its_new_time_alone),
        TEST(test_taken_then_closed),
        TEST(test_taken_then_reset),
        TEST(test_taken_then_cut_in_mid_body),
        TEST(test_taken_then_garbage),
        TEST(test_taken_then_500),
        TEST(test_taken_then_no_answer),
        TEST(test_not_taken_and_closed),
        TEST(test_not_taken_and_no_answer),
        TEST(test_not_taken_and_500),
        TEST(test_not_taken_and_503),
        TEST(test_too_many_requests),
        TEST(test_a_number_that_is_no_number_takes_the_next_channel),
        TEST(test_what_keeps_failing_takes_the_next_rung),
        TEST(test_at_most_once_is_not_sent_twice),
        TEST(test_an_undelivered_message_takes_the_next_channel),
        TEST(test_a_delivered_message_is_asked_for_no_more),
        TEST(test_all_are_asked_for),
        TEST(test_redial),
        TEST(test_an_answered_call_without_a_key_is_made_again),
        TEST(test_a_voice_mail_is_called_again),
        TEST(test_the_failure_that_opens_a_circuit_moves_on),
        TEST(test_a_dead_provider_diverts_and_comes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
