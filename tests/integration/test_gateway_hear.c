/*
 * What providers and people answer, through a real gateway, beside a real worker: what it changes
 * in the database, and what reaches the provider after it.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/gateway_world.h"

#define SOON_MS REACH_SOON_MS

static const char *attempt_target(const char *what, int64_t attempt)
{
    static char target[128];

    (void)snprintf(target, sizeof(target), "/hooks/twilio/%s?attempt=%" PRId64, what, attempt);
    return target;
}

/* The provider's id of the n-th delivery, as a parameter. */
static const char *sid_param(struct gateway_world *w, const char *name, size_t n)
{
    static char param[128];

    assert_non_null(fake_delivery_at(w->reach->fake, n));
    (void)snprintf(param, sizeof(param), "%s=%s", name, fake_delivery_at(w->reach->fake, n)->id);
    return param;
}

static int tell_message(
    struct gateway_world *w, int64_t attempt, size_t delivery, const char *status)
{
    char param[64];

    (void)snprintf(param, sizeof(param), "MessageStatus=%s", status);
    return gateway_world_twilio(w, attempt_target("message", attempt),
        (const char *const[]){
            sid_param(w, "MessageSid", delivery), param, "ErrorCode=30003", NULL});
}

static int press(struct gateway_world *w, int64_t attempt, size_t delivery, const char *digit)
{
    char param[64];

    (void)snprintf(param, sizeof(param), "Digits=%s", digit);
    return gateway_world_twilio(w, attempt_target("digits", attempt),
        (const char *const[]){sid_param(w, "CallSid", delivery), param, NULL});
}

static int reply(struct gateway_world *w, const char *from, const char *text, const char *sid)
{
    char from_param[64], body[256], sid_text[64];

    (void)snprintf(from_param, sizeof(from_param), "From=%s", from);
    (void)snprintf(body, sizeof(body), "Body=%s", text);
    (void)snprintf(sid_text, sizeof(sid_text), "MessageSid=%s", sid);
    return gateway_world_twilio(
        w, "/hooks/twilio/reply", (const char *const[]){from_param, body, sid_text, NULL});
}

static void assert_says(struct gateway_world *w, const char *text)
{
    if (!strstr(buf_str(&w->answer), text))
        fail_msg("\"%s\" is not in: %s", text, buf_str(&w->answer));
}

static int64_t last_attempt(struct gateway_world *w)
{
    return harness_int(w->h, "SELECT max(id) FROM attempt");
}

static void await_accepted(struct gateway_world *w, int n)
{
    harness_awaitf(
        w->h, SOON_MS, "SELECT count(*) = %d FROM notification WHERE state = 'accepted'", n);
}

/* --- callbacks ------------------------------------------------------------------------------- */

/* Whatever the order, and however often: states move up alone. */
static void test_callbacks_in_any_order(void **state)
{
    static const char *const orders[][3] = {{"sent", "delivered", "sent"},
        {"delivered", "sent", "queued"}, {"queued", "sent", "delivered"},
        {"delivered", "delivered", "delivered"}};
    struct gateway_world *w = *state;
    size_t n = sizeof(orders) / sizeof(*orders);

    reach_world_people(w->reach, "twilio_sms", NULL);
    reach_world_alerts(w->reach, (int)n);
    gateway_world_start(w, NULL);
    (void)gateway_world_worker(w);
    await_accepted(w, (int)n);
    for (size_t i = 0; i < n; i++) {
        int64_t attempt = harness_intf(w->h, "SELECT id FROM attempt WHERE provider_id = '%s'",
            fake_delivery_at(w->reach->fake, i)->id);
        for (size_t k = 0; k < 3; k++)
            assert_int_equal(tell_message(w, attempt, i, orders[i][k]), 204);
    }
    assert_int_equal(
        harness_int(w->h, "SELECT count(*) FROM notification WHERE state = 'delivered'"), n);
    assert_int_equal(harness_int(w->h, "SELECT count(*) FROM heard WHERE outcome = 'moved'"), n);
    assert_int_equal(reach_world_delivered(w->reach, NULL), n);
}

/* The number does not work: the next contact is tried at once, and no other number of it. */
static void test_undelivered_moves_on(void **state)
{
    struct gateway_world *w = *state;

    reach_world_people(w->reach, "twilio_sms", "webhook");
    reach_world_alerts(w->reach, 1);
    gateway_world_start(w, NULL);
    (void)gateway_world_worker(w);
    await_accepted(w, 1);
    assert_int_equal(tell_message(w, last_attempt(w), 0, "undelivered"), 204);
    assert_true(fake_wait_deliveries(w->reach->fake, 2, SOON_MS));
    assert_string_equal(fake_delivery_at(w->reach->fake, 1)->kind, "webhook");
    assert_string_equal(
        harness_rows(w->h, "SELECT state, reason FROM notification WHERE channel = 'twilio_sms'"),
        "failed|Twilio 30003: unreachable handset: switched off, or without signal");
}

/* Killed between the provider's taking it and its own knowing so: the callback says what became of
 * it, and nobody sends it again. */
static void test_a_callback_settles_what_a_killed_worker_left(void **state)
{
    struct gateway_world *w = *state;
    struct harness_proc *worker;

    reach_world_people(w->reach, "twilio_sms", NULL);
    reach_world_alerts(w->reach, 1);
    reach_world_expect(w->reach, &(struct fake_rule){.method = "POST",
                                     .path = REACH_MESSAGES,
                                     .times = 1,
                                     .accept = true,
                                     .fault = FAKE_HANG});
    gateway_world_start(w, NULL);
    worker = gateway_world_worker(w);
    assert_true(fake_wait_deliveries(w->reach->fake, 1, SOON_MS));
    harness_proc_kill(worker);
    assert_string_equal(harness_text(w->h, "SELECT state FROM notification"), "sending");
    assert_int_equal(tell_message(w, last_attempt(w), 0, "sent"), 204);
    assert_string_equal(
        harness_rows(w->h, "SELECT n.state, a.outcome, n.provider_id = a.provider_id,"
                           " n.locked_by IS NULL FROM notification AS n"
                           " JOIN attempt AS a ON a.notification_id = n.id"),
        "accepted|accepted|t|t");
    harness_clock_advance(w->h, "6 minutes");
    (void)gateway_world_worker(w);
    harness_await(w->h, SOON_MS,
        "SELECT count(*) = 1 FROM daemon WHERE executable ="
        " 'worker-escalation' AND heartbeat_at > now() - interval '1 min'");
    assert_int_equal(tell_message(w, last_attempt(w), 0, "delivered"), 204);
    assert_string_equal(harness_text(w->h, "SELECT state FROM notification"), "delivered");
    assert_int_equal(reach_world_delivered(w->reach, NULL), 1);
    assert_true(harness_bool(w->h, "SELECT bool_or(step = 'heard: status') FROM why('notification',"
                                   " (SELECT id FROM notification))"));
}

/* The callback overtakes the answer: the process that comes after it finds it done. */
static void test_a_callback_before_the_answer(void **state)
{
    struct gateway_world *w = *state;
    struct harness_proc *worker;

    reach_world_people(w->reach, "twilio_sms", NULL);
    reach_world_alerts(w->reach, 1);
    reach_world_expect(w->reach, &(struct fake_rule){.method = "POST",
                                     .path = REACH_MESSAGES,
                                     .times = 1,
                                     .accept = true,
                                     .fault = FAKE_HANG});
    gateway_world_start(w, NULL);
    worker = reach_world_worker(
        w->reach, (const char *const[]){"SEND_TIMEOUT=60s", "PUBLIC_URL=" GATEWAY_PUBLIC, NULL});
    assert_true(fake_wait_deliveries(w->reach->fake, 1, SOON_MS));
    assert_int_equal(tell_message(w, last_attempt(w), 0, "delivered"), 204);
    assert_string_equal(harness_text(w->h, "SELECT state FROM notification"), "delivered");
    fake_release(w->reach->fake);
    assert_int_equal(harness_proc_stop(worker, SOON_MS), 0);
    assert_string_equal(
        harness_rows(w->h, "SELECT n.state, count(a.id) FROM notification AS n"
                           " JOIN attempt AS a ON a.notification_id = n.id GROUP BY n.id"),
        "delivered|1");
    assert_int_equal(reach_world_delivered(w->reach, NULL), 1);
}

static void test_what_is_not_signed_changes_nothing(void **state)
{
    struct gateway_world *w = *state;
    const char *target;
    char body[128];

    reach_world_people(w->reach, "twilio_sms", NULL);
    reach_world_alerts(w->reach, 1);
    gateway_world_start(w, NULL);
    (void)gateway_world_worker(w);
    await_accepted(w, 1);
    target = attempt_target("message", last_attempt(w));
    (void)snprintf(body, sizeof(body), "MessageSid=%s&MessageStatus=delivered",
        fake_delivery_at(w->reach->fake, 0)->id);
    assert_int_equal(gateway_world_request(w, "POST", target, NULL, body, SOON_MS), 403);
    assert_says(w, "X-Twilio-Signature");
    assert_int_equal(
        gateway_world_request(w, "POST", target,
            (const char *const[]){"X-Twilio-Signature: 0/KCTR6DLpKmkAf8muzZqo1nDgQ=", NULL}, body,
            SOON_MS),
        403);
    assert_non_null(strstr(buf_str(&w->headers), "application/problem+json"));
    assert_int_equal(gateway_world_request(w, "POST", target, NULL, "a=%zz", SOON_MS), 400);
    assert_int_equal(gateway_world_twilio(w, "/hooks/twilio/message",
                         (const char *const[]){"MessageSid=SM1", "MessageStatus=sent", NULL}),
        400);
    assert_int_equal(gateway_world_twilio(w, "/hooks/twilio/message?attempt=1x",
                         (const char *const[]){"MessageSid=SM1", "MessageStatus=sent", NULL}),
        400);
    assert_int_equal(gateway_world_twilio(w, target,
                         (const char *const[]){"MessageSid=SM1", "MessageStatus=x", NULL}),
        400);
    /* signed, but of no attempt that there is */
    assert_int_equal(gateway_world_twilio(w, "/hooks/twilio/message?attempt=999",
                         (const char *const[]){"MessageSid=SM1", "MessageStatus=delivered", NULL}),
        204);
    assert_string_equal(harness_text(w->h, "SELECT state FROM notification"), "accepted");
    assert_int_equal(harness_int(w->h, "SELECT count(*) FROM heard"), 0);
}

/* The owner's call, due now, and what climbs after it. */
static void call_the_owner(struct gateway_world *w)
{
    reach_world_people(w->reach, "twilio_voice", NULL);
    harness_exec(w->h, "DELETE FROM ladder_rung WHERE position = 1");
    reach_world_meeting(w->reach, "1 minute");
    gateway_world_start(w, NULL);
    (void)gateway_world_worker(w);
    await_accepted(w, 1);
}

/* --- keys --------------------------------------------------------------------------------------
 */

static void test_a_key_acknowledges(void **state)
{
    struct gateway_world *w = *state;
    int64_t attempt;

    call_the_owner(w);
    attempt = last_attempt(w);
    assert_int_equal(press(w, attempt, 0, "7"), 200);
    assert_says(w, "<Gather");
    assert_says(w, "Press 1 to acknowledge");
    assert_int_equal(press(w, attempt, 0, "3"), 200);
    assert_says(w, "Stand-up");
    assert_string_equal(harness_text(w->h, "SELECT status FROM incident"), "open");
    assert_int_equal(press(w, attempt, 0, "1"), 200);
    assert_says(w, "Acknowledged");
    assert_says(w, "<Hangup/>");
    assert_string_equal(
        harness_rows(w->h, "SELECT status, acknowledged_by FROM incident"), "acknowledged|owner");
    assert_int_equal(harness_int(w->h, "SELECT count(*) FROM notification WHERE pending"), 0);
    assert_string_equal(
        harness_text(w->h, "SELECT state FROM notification WHERE sent_at IS NOT NULL"),
        "confirmed");
    assert_int_equal(press(w, attempt, 0, "1"), 200);
    assert_says(w, "Acknowledged");
    assert_int_equal(reach_world_delivered(w->reach, NULL), 1);
}

static void test_a_key_escalates_once(void **state)
{
    struct gateway_world *w = *state;
    int64_t attempt;

    call_the_owner(w);
    attempt = last_attempt(w);
    assert_int_equal(press(w, attempt, 0, "2"), 200);
    assert_says(w, "Others are asked now");
    assert_true(fake_wait_deliveries(w->reach->fake, 2, SOON_MS));
    assert_int_equal(reach_world_delivered(w->reach, REACH_SECOND), 1);
    /* Twilio sends the same call again: no further rung */
    assert_int_equal(press(w, attempt, 0, "2"), 200);
    assert_int_equal(
        harness_int(w->h, "SELECT count(*) FROM notification WHERE due_at <= now()"), 2);
}

/* The ladder has climbed since that call: whoever answers it is told so. */
static void test_a_stale_key_is_refused(void **state)
{
    struct gateway_world *w = *state;
    int64_t attempt;

    call_the_owner(w);
    attempt = last_attempt(w);
    reach_world_advance(w->reach, "7 minutes");
    harness_await(w->h, SOON_MS, "SELECT climbed_at IS NOT NULL FROM incident");
    assert_int_equal(press(w, attempt, 0, "1"), 200);
    assert_says(w, "Too late");
    assert_string_equal(harness_text(w->h, "SELECT status FROM incident"), "open");
}

/* Answered, and nobody pressed a key: that is no acknowledgement, and it rings again. */
static void test_an_answered_call_rings_again(void **state)
{
    struct gateway_world *w = *state;

    call_the_owner(w);
    assert_int_equal(
        gateway_world_twilio(w, attempt_target("call", last_attempt(w)),
            (const char *const[]){sid_param(w, "CallSid", 0), "CallStatus=completed", NULL}),
        204);
    reach_world_advance(w->reach, "21 seconds");
    assert_true(fake_wait_deliveries(w->reach->fake, 2, SOON_MS));
    assert_int_equal(reach_world_delivered(w->reach, REACH_OWNER), 2);
    assert_string_equal(harness_text(w->h, "SELECT status FROM incident"), "open");
}

/* --- replies -----------------------------------------------------------------------------------
 */

static void test_replies(void **state)
{
    struct gateway_world *w = *state;

    reach_world_people(w->reach, "twilio_sms", NULL);
    reach_world_alerts(w->reach, 2);
    gateway_world_start(w, NULL);
    (void)gateway_world_worker(w);
    await_accepted(w, 2);
    assert_int_equal(reply(w, "+15559999", "ack", "SMr0"), 200);
    assert_string_equal(buf_str(&w->answer), "<Response></Response>");
    assert_int_equal(reply(w, REACH_OWNER, "ack", "SMr1"), 200);
    assert_says(w, "1 Meeting 1.");
    assert_says(w, "2 Meeting 2.");
    assert_int_equal(reply(w, REACH_OWNER, "2 ack", "SMr2"), 200);
    assert_says(w, "Acknowledged");
    assert_string_equal(harness_rows(w->h, "SELECT title, status FROM incident ORDER BY title"),
        "Meeting 1.|open\nMeeting 2.|acknowledged");
    /* the number of one that is over stands for nothing else, the other keeps its own */
    assert_int_equal(reply(w, REACH_OWNER, "2", "SMr3"), 200);
    assert_says(w, "Meeting 2. was acknowledged before. Still open: 1.");
    assert_int_equal(reply(w, REACH_OWNER, "OK!", "SMr4"), 200);
    assert_says(w, "Acknowledged");
    assert_int_equal(harness_int(w->h, "SELECT count(*) FROM incident WHERE status = 'open'"), 0);
    assert_true(harness_bool(w->h, "SELECT bool_or(step = 'heard: reply') FROM why('incident',"
                                   " (SELECT id FROM incident WHERE title = 'Meeting 2.'))"));
}

static void test_replies_stop_and_do_not_go_on_for_ever(void **state)
{
    struct gateway_world *w = *state;
    char sid[16];

    reach_world_people(w->reach, "twilio_sms", NULL);
    gateway_world_start(w, NULL);
    for (int i = 0; i < 7; i++) {
        (void)snprintf(sid, sizeof(sid), "SMn%d", i);
        assert_int_equal(reply(w, REACH_OWNER, "hello?", sid), 200);
        if (i < 5)
            assert_says(w, "Nothing is open");
        else
            assert_string_equal(buf_str(&w->answer), "<Response></Response>");
    }
    assert_int_equal(reply(w, REACH_OWNER, "STOP", "SMs1"), 200);
    assert_string_equal(buf_str(&w->answer), "<Response></Response>");
    assert_int_equal(harness_int(w->h, "SELECT count(*) FROM contact_method WHERE stopped_at IS NOT"
                                       " NULL"),
        1);
    assert_int_equal(reply(w, REACH_OWNER, "start", "SMs2"), 200);
    assert_int_equal(harness_int(w->h, "SELECT count(*) FROM contact_method WHERE stopped_at IS NOT"
                                       " NULL"),
        0);
}

/* --- links -------------------------------------------------------------------------------------
 */

/* The path of the link in a message that arrived. */
static const char *link_of(struct gateway_world *w, size_t delivery)
{
    static char path[128];
    const char *at = strstr(fake_delivery_at(w->reach->fake, delivery)->text, GATEWAY_PUBLIC "/a/");

    assert_non_null(at);
    at += strlen(GATEWAY_PUBLIC);
    (void)snprintf(path, sizeof(path), "%.*s", (int)strcspn(at, " \"\n"), at);
    return path;
}

static void test_the_link_of_a_message(void **state)
{
    struct gateway_world *w = *state;
    const char *link;
    char other[160];

    reach_world_people(w->reach, "twilio_sms", NULL);
    reach_world_alerts(w->reach, 1);
    gateway_world_start(w, NULL);
    (void)gateway_world_worker(w);
    await_accepted(w, 1);
    link = link_of(w, 0);
    assert_int_equal(gateway_world_get(w, link), 200);
    assert_says(w, "Meeting 1.");
    assert_says(w, "Acknowledge as owner");
    assert_non_null(strstr(buf_str(&w->headers), "default-src 'none'"));
    assert_string_equal(harness_text(w->h, "SELECT status FROM incident"), "open");
    (void)snprintf(other, sizeof(other), "%s", link);
    other[strlen(other) - 1] = other[strlen(other) - 1] == 'A' ? 'B' : 'A';
    assert_int_equal(gateway_world_request(w, "POST", other, NULL, "", SOON_MS), 404);
    assert_string_equal(harness_text(w->h, "SELECT status FROM incident"), "open");
    assert_int_equal(gateway_world_request(w, "POST", link, NULL, "", SOON_MS), 200);
    assert_says(w, "Nobody else is called");
    assert_string_equal(
        harness_rows(w->h, "SELECT status, acknowledged_by FROM incident"), "acknowledged|owner");
    assert_string_equal(harness_text(w->h, "SELECT state FROM notification"), "confirmed");
    assert_int_equal(gateway_world_get(w, link), 200);
    assert_says(w, "Nobody else is called");
}

/* --- an outage ---------------------------------------------------------------------------------
 */

/* What is said while the database is away is worked when it is back, though nobody waits any more.
 */
static void test_nothing_heard_is_lost_in_an_outage(void **state)
{
    struct gateway_world *w = *state;
    struct harness_proc *worker;
    char body[128], target[128];
    struct buf header = BUF_INIT(256), url = BUF_INIT(256);

    reach_world_people(w->reach, "twilio_sms", NULL);
    reach_world_alerts(w->reach, 1);
    gateway_world_start(w, NULL);
    worker = gateway_world_worker(w);
    await_accepted(w, 1);
    (void)snprintf(target, sizeof(target), "%s", attempt_target("message", last_attempt(w)));
    assert_int_equal(harness_proc_stop(worker, SOON_MS), 0);
    harness_postgres_stop(w->h);
    harness_proc_await_log(w->gateway, "lost the database", SOON_MS);
    assert_int_equal(gateway_world_get(w, "/health/live"), 200);
    assert_int_equal(gateway_world_get(w, "/health/ready"), 503);
    assert_int_equal(gateway_world_get(w, "/health"), 503);
    buf_addf(&url, "%s%s", GATEWAY_PUBLIC, target);
    (void)snprintf(body, sizeof(body), "MessageSid=%s&MessageStatus=delivered",
        fake_delivery_at(w->reach->fake, 0)->id);
    buf_add_str(&header, "X-Twilio-Signature: ");
    assert_int_equal(
        fake_twilio_signature(buf_str(&url), "token",
            (const char *const[]){sid_param(w, "MessageSid", 0), "MessageStatus=delivered", NULL},
            &header),
        0);
    assert_int_equal(gateway_world_request(w, "POST", target,
                         (const char *const[]){buf_str(&header), NULL}, body, 300),
        0);
    harness_postgres_start(w->h);
    harness_await(w->h, SOON_MS, "SELECT state = 'delivered' FROM notification");
    assert_int_equal(gateway_world_get(w, "/health/ready"), 200);
    buf_release(&header);
    buf_release(&url);
}

int main(void)
{
#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, gateway_world_setup, gateway_world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_callbacks_in_any_order),
        TEST(test_undelivered_moves_on),
        TEST(test_a_callback_settles_what_a_killed_worker_left),
        TEST(test_a_callback_before_the_answer),
        TEST(test_what_is_not_signed_changes_nothing),
        TEST(test_a_key_acknowledges),
        TEST(test_a_key_escalates_once),
        TEST(test_a_stale_key_is_refused),
        TEST(test_an_answered_call_rings_again),
        TEST(test_replies),
        TEST(test_replies_stop_and_do_not_go_on_for_ever),
        TEST(test_the_link_of_a_message),
        cmocka_unit_test_setup_teardown(test_nothing_heard_is_lost_in_an_outage,
            gateway_world_setup_alone, gateway_world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
