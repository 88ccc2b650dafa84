/*
 * Throttles, bundles, quiet hours, STOP: what is held back, what passes, and that it stays visible.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/reach_world.h"

#define SOON_MS REACH_SOON_MS

static const char *const bundling[] = {"BUNDLE_MESSAGES=true", NULL};

/* Every ladder gets a last rung, so that the rungs before it do not pass everything. */
static void add_last_rungs(struct reach_world *w)
{
    harness_exec(w->h, "INSERT INTO ladder_rung (ladder_id, position, after, mode, gate, target,"
                       " useful_for) SELECT id, 99, '5 hours', 'message', 'escalation', 'others',"
                       " '1 hour' FROM ladder");
}

static void throttle(struct reach_world *w)
{
    harness_exec(w->h, "INSERT INTO throttle_rule (channel, at_most, within)"
                       " VALUES ('twilio_sms', 1, '1 minute'), ('twilio_sms', 2, '15 minutes'),"
                       " ('twilio_voice', 1, '15 minutes')");
}

static void test_a_throttle_holds_and_says_so(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", NULL);
    reach_world_alerts(w, 1);
    add_last_rungs(w);
    throttle(w);
    p = reach_world_worker(w, NULL);
    harness_await(w->h, SOON_MS, "SELECT state = 'accepted' FROM notification");
    harness_exec(w->h, "INSERT INTO incident (kind, user_id, event_id, starts_at, title, ladder_id)"
                       " SELECT kind, user_id, 2, starts_at, 'Second', ladder_id FROM incident;"
                       "SELECT incident_plan(array_agg(id)) FROM incident");
    harness_await(w->h, SOON_MS,
        "SELECT state = 'scheduled' AND next_attempt_at > now()"
        " AND reason = 'throttle of twilio_sms: at most 1 in 00:01:00'"
        " FROM notification WHERE incident_id = 2 AND kind = 'meeting_alert'");
    assert_true(
        harness_bool(w->h, "SELECT detail LIKE '%: throttle of twilio_sms: at most 1 in%' FROM"
                           " why('notification', (SELECT min(id) FROM notification"
                           " WHERE incident_id = 2)) WHERE step = 'now'"));
    assert_int_equal(reach_world_delivered(w, NULL), 1);
    reach_world_advance(w, "61 seconds");
    assert_true(fake_wait_deliveries(w->fake, 2, SOON_MS));
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    /* What held it stays known when it has long been sent. */
    assert_string_equal(
        harness_rows(w->h, "SELECT step, regexp_replace(detail, '^until .*? UTC', 'until …')"
                           " FROM why('notification', (SELECT min(id) FROM notification"
                           " WHERE incident_id = 2)) WHERE step IN ('held', 'sending → accepted')"),
        "held|until …: throttle of twilio_sms: at most 1 in 00:01:00\nsending → accepted|");
}

/* Of what is due in one moment only so much leaves as the throttle lets pass: first what a person
 * hears of an incident for the first time, then the rest, then notices. */
static void test_the_order_of_what_is_held(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", NULL);
    harness_exec(w->h, "INSERT INTO throttle_rule (channel, at_most, within)"
                       " VALUES ('twilio_sms', 1, '1 minute')");
    harness_exec(w->h, "SELECT notification_tell(1, 'greeting', 'k', 'Hello')");
    reach_world_alerts(w, 2);
    add_last_rungs(w);
    harness_exec(w->h, /* of the first one was told before */
        "INSERT INTO notification (incident_id, user_id, contact_method_id, channel, mode, kind,"
        " gate, policy, due_at, next_attempt_at, useless_after, idempotency_key, state, pending,"
        " sent_at) SELECT incident_id, user_id, contact_method_id, channel, mode, kind, gate, "
        "policy,"
        " now() - interval '2 hours', now() - interval '2 hours', now(), 'before', 'delivered', "
        "false,"
        " now() - interval '2 hours' FROM notification WHERE incident_id = 1;"
        "UPDATE notification SET useless_after = now() + interval '1 hour' WHERE pending");
    p = reach_world_worker(w, NULL);
    for (size_t n = 1; n <= 3; n++) {
        static const char *const texts[] = {"\"Meeting 2.\"", "\"Meeting 1.\"", "Hello"};
        assert_true(fake_wait_deliveries(w->fake, n, SOON_MS));
        assert_non_null(strstr(fake_delivery_at(w->fake, n - 1)->text, texts[n - 1]));
        harness_awaitf(w->h, SOON_MS,
            "SELECT count(*) FILTER (WHERE state = 'accepted') = %zu"
            " AND count(*) FILTER (WHERE state = 'scheduled' AND next_attempt_at > now()"
            "  AND reason = 'throttle of twilio_sms: at most 1 in 00:01:00') = %zu"
            " FROM notification",
            n, 3 - n);
        assert_int_equal(reach_world_delivered(w, NULL), n);
        reach_world_advance(w, "61 seconds");
    }
    reach_world_await_done(w);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

static void test_the_call_before_a_meeting_and_the_last_rung_pass(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", "twilio_voice");
    throttle(w);
    harness_exec(w->h, "UPDATE users SET quiet_from = (now() - interval '1 hour')::time,"
                       " quiet_until = (now() + interval '1 hour')::time;"
                       "INSERT INTO throttle_rule (channel, at_most, within)"
                       " VALUES ('twilio_voice', 1, '1 minute')");
    reach_world_meeting(w, "-6 minutes");
    harness_exec(w->h, "UPDATE ladder_rung SET useful_for = '30 minutes';"
                       "SELECT incident_cancel_pending('{1}', 'test'), incident_plan('{1}')");
    p = reach_world_worker(w, NULL);
    harness_await(w->h, SOON_MS, "SELECT count(*) = 2 FROM notification WHERE sent_at IS NOT NULL");
    assert_string_equal(harness_rows(w->h, "SELECT kind, mode FROM notification"
                                           " WHERE sent_at IS NOT NULL ORDER BY kind"),
        "escalation|call\nmeeting_call|call");
    assert_int_equal(harness_int(w->h, "SELECT count(*) FROM notification WHERE pending"
                                       " AND reason = 'quiet hours of the person'"),
        3);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

/* The call before a meeting cannot be made: the message in its place passes too. */
static void test_what_takes_the_place_of_that_call_passes(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_voice", "twilio_sms");
    add_last_rungs(w);
    harness_exec(w->h, "UPDATE users SET quiet_from = (now() - interval '1 hour')::time,"
                       " quiet_until = (now() + interval '1 hour')::time;"
                       "DELETE FROM ladder_rung WHERE position NOT IN (2, 99)");
    reach_world_meeting(w, "1 minute");
    reach_world_expect(w, &(struct fake_rule){.method = "POST",
                              .path = REACH_CALLS,
                              .times = 1,
                              .status = 400,
                              .body = "{\"code\":21205}"});
    p = reach_world_worker(w, NULL);
    assert_true(fake_wait_deliveries(w->fake, 1, SOON_MS));
    harness_await(w->h, SOON_MS, "SELECT count(*) = 1 FROM notification WHERE state = 'accepted'");
    assert_string_equal(harness_rows(w->h, "SELECT channel, mode, state FROM notification"
                                           " WHERE kind = 'meeting_call' ORDER BY id"),
        "twilio_voice|call|failed\ntwilio_sms|message|accepted");
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

static void test_several_messages_leave_as_one(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;
    const char *text;

    reach_world_people(w, "twilio_sms", NULL);
    reach_world_alerts(w, 4);
    add_last_rungs(w);
    harness_exec(w->h, "UPDATE incident SET status = 'acknowledged', acknowledged_at = now()"
                       " WHERE id = 3"); /* counted again at the moment of sending */
    p = reach_world_worker(w, bundling);
    harness_await(w->h, SOON_MS, "SELECT count(*) = 4 FROM notification WHERE NOT pending");
    assert_int_equal(reach_world_delivered(w, NULL), 1);
    text = fake_delivery_at(w->fake, 0)->text;
    assert_string_equal(harness_rows(w->h, "SELECT state, count(*) FROM notification GROUP BY 1"
                                           " ORDER BY 1"),
        "accepted|1\nbundled|2\ncancelled|1");
    assert_ptr_equal(strstr(text, "3 alerts: \"Meeting "), text);
    for (int n = 1; n <= 4; n++) {
        char title[32];
        assert_true(snprintf(title, sizeof title, "Meeting %d.", n) > 0);
        assert_int_equal(strstr(text, title) != NULL, n != 3);
    }
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

/* Each incident of a bundle has reached the others. */
static void test_a_bundle_climbs(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", NULL);
    reach_world_alerts(w, 3);
    add_last_rungs(w);
    harness_exec(w->h, "UPDATE ladder_rung SET gate = 'escalation' WHERE position = 1;"
                       "UPDATE notification SET gate = 'escalation'");
    p = reach_world_worker(w, bundling);
    harness_await(w->h, SOON_MS,
        "SELECT count(*) = 2 FROM notification WHERE state = 'bundled' AND NOT pending");
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(reach_world_delivered(w, NULL), 1);
    assert_int_equal(
        harness_int(w->h, "SELECT count(*) FROM incident WHERE climbed_position = 1"), 3);
}

/* A bundle that the provider took without an answer: all of it is found again, nothing leaves
 * twice. */
static void test_a_bundle_of_unknown_outcome_is_settled(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", NULL);
    reach_world_alerts(w, 3);
    add_last_rungs(w);
    reach_world_expect(w, &(struct fake_rule){.method = "POST",
                              .path = REACH_MESSAGES,
                              .times = 1,
                              .accept = true,
                              .fault = FAKE_CLOSE});
    p = reach_world_worker(w, bundling);
    harness_await(w->h, SOON_MS, "SELECT count(*) = 3 FROM notification WHERE state = 'accepted'");
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(reach_world_delivered(w, NULL), 1);
}

static void test_a_bundle_that_fails_fails_over_whole(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", "console");
    reach_world_alerts(w, 3);
    add_last_rungs(w);
    reach_world_expect(w, &(struct fake_rule){.method = "POST",
                              .path = REACH_MESSAGES,
                              .times = 1,
                              .status = 400,
                              .body = "{\"code\":21610}"});
    p = reach_world_worker(w, bundling);
    harness_await(w->h, SOON_MS,
        "SELECT count(*) = 3 FROM notification"
        " WHERE channel = 'console' AND incident_id IS NOT NULL AND state = 'accepted'");
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(harness_proc_count_log(p, "MESSAGE  owner    \"Meeting"), 3);
}

/* The carrier tells later that it could not be delivered: that is true of all that was in it. */
static void test_a_bundle_that_is_not_delivered_fails_over_whole(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", "console");
    reach_world_alerts(w, 3);
    add_last_rungs(w);
    p = reach_world_worker(w, bundling);
    harness_await(w->h, SOON_MS,
        "SELECT count(*) = 3 FROM notification WHERE state IN ('accepted', 'bundled')");
    assert_int_equal(
        fake_twilio_set_status(w->fake, fake_delivery_at(w->fake, 0)->id, "undelivered", 30003), 0);
    reach_world_advance(w, "61 seconds");
    harness_await(w->h, SOON_MS,
        "SELECT count(*) = 3 FROM notification WHERE channel = 'console' AND state = 'accepted'");
    assert_string_equal(harness_rows(w->h, "SELECT state, count(*), count(*) FILTER (WHERE reason"
                                           " LIKE 'it left in notification %: Twilio 30003: %')"
                                           " FROM notification WHERE channel = 'twilio_sms'"
                                           " AND incident_id IS NOT NULL AND NOT pending"
                                           " GROUP BY 1"),
        "failed|3|2");
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(harness_proc_count_log(p, "MESSAGE  owner    \"Meeting"), 3);
}

/* What a circuit holds fills no log. */
static void test_what_a_circuit_holds_is_told_at_a_rate(void **state)
{
    enum { MANY = 40 };
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", NULL);
    reach_world_alerts(w, MANY);
    harness_exec(w->h, "INSERT INTO circuit (name, state, opened_at, open_until)"
                       " VALUES ('twilio_sms', 'open', now(), now() + interval '1 hour')");
    p = reach_world_worker(w, NULL);
    harness_awaitf(w->h, SOON_MS,
        "SELECT count(*) = %d FROM notification WHERE reason = 'the circuit of twilio_sms is open'",
        MANY);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_in_range(harness_proc_count_log(p, "held: the circuit of twilio_sms is open"), 1, 3);
}

static void test_stop_and_start(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", "console");
    assert_string_equal(
        harness_text(w->h, "SELECT contact_heard('twilio_sms', '" REACH_OWNER "', ' Stop ')"),
        "stopped");
    reach_world_alerts(w, 1);
    p = reach_world_worker(w, NULL);
    harness_proc_await_log(p, "Alert message to owner accepted (console)", SOON_MS);
    harness_exec(w->h, "SELECT contact_heard('twilio_sms', '" REACH_OWNER "', 'START')");
    harness_exec(w->h, "INSERT INTO incident (kind, user_id, event_id, starts_at, title, ladder_id)"
                       " SELECT kind, user_id, 2, starts_at, 'Second', ladder_id FROM incident;"
                       "SELECT incident_plan(array_agg(id)) FROM incident");
    assert_true(fake_wait_deliveries(w->fake, 1, SOON_MS));
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

/* A zone that the server knew once and knows no more holds up nobody: it is told, and kept quiet,
 * in UTC. */
static void test_a_zone_that_nobody_knows(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", NULL);
    harness_exec(w->h, "ALTER TABLE users DISABLE TRIGGER USER;"
                       "UPDATE users SET time_zone = 'Mars/Olympus',"
                       " quiet_from = ((now() + interval '2 hours') AT TIME ZONE 'UTC')::time,"
                       " quiet_until = ((now() + interval '3 hours') AT TIME ZONE 'UTC')::time");
    reach_world_alerts(w, 1);
    add_last_rungs(w);
    p = reach_world_worker(w, NULL);
    assert_true(fake_wait_deliveries(w->fake, 1, SOON_MS));
    assert_non_null(strstr(fake_delivery_at(w->fake, 0)->text, " UTC)"));
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

static void test_quiet_hours_by_the_persons_clock(void **state)
{
    static const struct {
        const char *zone, *at, *until;
    } cases[] = {
        {"Europe/Berlin", "2030-01-15 21:59+01", ""},
        {"Europe/Berlin", "2030-01-15 22:00+01", "2030-01-16 06:00:00"},
        {"Europe/Berlin", "2030-01-16 06:59+01", "2030-01-16 06:00:00"},
        {"Europe/Berlin", "2030-01-16 07:00+01", ""},
        {"America/New_York", "2030-03-10 04:00Z", "2030-03-10 11:00:00"}, /* summer time begins */
    };
    struct reach_world *w = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char interval[128];
        int64_t seconds = harness_intf(
            w->h, "SELECT extract(epoch FROM timestamptz '%s' - now())::bigint + 2", cases[i].at);
        assert_true(snprintf(interval, sizeof interval, "%lld seconds", (long long)seconds) > 0);
        harness_clock_advance(w->h, interval);
        harness_execf(w->h,
            "CREATE OR REPLACE VIEW quiet AS SELECT to_char(quiet_until('22:00', '07:00', '%s')"
            " AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS until",
            cases[i].zone);
        assert_string_equal(
            harness_text(w->h, "SELECT coalesce(until, '') FROM quiet"), cases[i].until);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, reach_world_setup, reach_world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_throttle_holds_and_says_so),
        TEST(test_the_order_of_what_is_held),
        TEST(test_the_call_before_a_meeting_and_the_last_rung_pass),
        TEST(test_what_takes_the_place_of_that_call_passes),
        TEST(test_several_messages_leave_as_one),
        TEST(test_a_bundle_climbs),
        TEST(test_a_bundle_of_unknown_outcome_is_settled),
        TEST(test_a_bundle_that_fails_fails_over_whole),
        TEST(test_a_bundle_that_is_not_delivered_fails_over_whole),
        TEST(test_what_a_circuit_holds_is_told_at_a_rate),
        TEST(test_stop_and_start),
        TEST(test_a_zone_that_nobody_knows),
        TEST(test_quiet_hours_by_the_persons_clock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
