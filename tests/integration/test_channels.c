/*
 * Slack, Vapi and email, by a worker as its own role: what reached the provider, how often, and
 * what its answers led to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fake/fake_smtp.h"
#include "tests/support/certificate.h"
#include "tests/support/reach_world.h"
#include "tests/support/tls_smtp.h"

#define SOON_MS REACH_SOON_MS
#define POST    "/api/chat.postMessage"

struct channels_world {
    struct reach_world *reach;
    struct fake_smtp *smtp;
};

static int setup(void **state)
{
    struct channels_world *w = calloc(1, sizeof *w);
    void *reach = NULL;

    if (!w || reach_world_setup(&reach) != 0)
        return -1;
    w->reach = reach;
    *state = w;
    return fake_slack(w->reach->fake, "xoxb-token") != 0 || fake_vapi(w->reach->fake, "key") != 0 ||
           fake_smtp_new(&w->smtp) != 0;
}

static int teardown(void **state)
{
    struct channels_world *w = *state;
    void *reach = w->reach;
    int err = reach_world_teardown(&reach);

    fake_smtp_free(w->smtp);
    free(w);
    return err;
}

/* The owner, reached through `channel` at `address`, then through the console. */
static void add_owner(struct reach_world *w, const char *channel, const char *address)
{
    harness_execf(w->h,
        "INSERT INTO users (id, name) VALUES (1, 'owner');"
        "INSERT INTO contact_method (id, user_id, channel, modes, address, position, verified_at)"
        " VALUES (1, 1, '%s', '{message,call}', '%s', 1, now()),"
        " (2, 1, 'console', '{message,call}', 'owner', 2, now())",
        channel, address);
}

static struct harness_proc *start_worker(struct channels_world *w, const char *more)
{
    const char *url = fake_provider_url(w->reach->fake);
    char slack[128], vapi[128], smtp[128];

    assert_true(snprintf(slack, sizeof slack, "SLACK_API_URL=%s", url) < (int)sizeof slack);
    assert_true(snprintf(vapi, sizeof vapi, "VAPI_API_URL=%s", url) < (int)sizeof vapi);
    assert_true(snprintf(smtp, sizeof smtp, "SMTP_URL=smtp://127.0.0.1:%d",
                    fake_smtp_port(w->smtp)) < (int)sizeof smtp);
    return reach_world_worker(
        w->reach, (const char *const[]){slack, "SLACK_TOKEN=xoxb-token", vapi, "VAPI_API_KEY=key",
                      "VAPI_ASSISTANT_ID=a-1", "VAPI_PHONE_NUMBER_ID=p-1", smtp,
                      "SMTP_FROM=alerts@example.org", more ? more : "SMTP_ALLOW_PLAIN=true", NULL});
}

static void await_accepted(struct channels_world *w, int n)
{
    harness_awaitf(
        w->reach->h, SOON_MS, "SELECT count(*) = %d FROM notification WHERE state = 'accepted'", n);
}

/* --- Slack ---------------------------------------------------------------------------------- */

static void test_updates_go_into_the_thread_of_the_first(void **state)
{
    struct channels_world *w = *state;
    struct reach_world *r = w->reach;
    struct harness_proc *p;

    add_owner(r, "slack", "C0001");
    reach_world_meeting(r, "11 minutes");
    p = start_worker(w, NULL);
    assert_true(fake_wait_deliveries(r->fake, 1, SOON_MS));
    await_accepted(w, 1);
    reach_world_advance(r, "10 minutes");
    await_accepted(w, 2);
    reach_world_advance(r, "2 minutes");
    await_accepted(w, 3);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(fake_delivered(r->fake, "slack", "C0001"), 3);
    assert_null(strstr(fake_request_at(r->fake, 0)->body, "thread_ts"));
    for (size_t i = 1; i < 3; i++)
        assert_non_null(
            strstr(fake_request_at(r->fake, i)->body, fake_delivery_at(r->fake, 0)->id));
    assert_string_equal(
        fake_request_header(fake_request_at(r->fake, 0), "Authorization"), "Bearer xoxb-token");
    assert_false(harness_proc_logged(p, "xoxb-token"));
}

static void test_an_error_inside_a_200_takes_the_next_channel(void **state)
{
    struct channels_world *w = *state;
    struct reach_world *r = w->reach;
    struct harness_proc *p;

    add_owner(r, "slack", "C0001");
    reach_world_alerts(r, 1);
    reach_world_expect(
        r, &(struct fake_rule){
               .path = POST, .times = 1, .body = "{\"ok\":false,\"error\":\"channel_not_found\"}"});
    p = start_worker(w, NULL);
    harness_proc_await_log(p, "MESSAGE  owner    \"Meeting 1.\"", SOON_MS);
    harness_proc_await_log(p, "slack to C0001 is switched off: Slack: channel_not_found", SOON_MS);
    assert_string_equal(
        harness_text(r->h, "SELECT disabled_reason FROM contact_method WHERE id = 1"),
        "Slack: channel_not_found");
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(fake_delivered(r->fake, "slack", NULL), 0);
}

static void test_a_dead_token_switches_nobody_off(void **state)
{
    struct channels_world *w = *state;
    struct reach_world *r = w->reach;
    struct harness_proc *p;

    add_owner(r, "slack", "C0001");
    reach_world_alerts(r, 1);
    reach_world_expect(
        r, &(struct fake_rule){
               .path = POST, .times = 1, .body = "{\"ok\":false,\"error\":\"account_inactive\"}"});
    p = start_worker(w, NULL);
    harness_proc_await_log(p, "MESSAGE  owner    \"Meeting 1.\"", SOON_MS);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_true(harness_bool(r->h, "SELECT disabled_at IS NULL FROM contact_method WHERE id = 1"));
}

static void test_slack_asks_for_patience(void **state)
{
    struct channels_world *w = *state;
    struct reach_world *r = w->reach;
    struct harness_proc *p;

    add_owner(r, "slack", "C0001");
    reach_world_alerts(r, 1);
    reach_world_expect(r, &(struct fake_rule){.path = POST,
                              .times = 1,
                              .status = 429,
                              .headers = (const char *const[]){"Retry-After: 2", NULL},
                              .body = "{\"ok\":false,\"error\":\"ratelimited\"}"});
    p = start_worker(w, NULL);
    await_accepted(w, 1);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(fake_delivered(r->fake, "slack", "C0001"), 1);
    assert_true(fake_request_at(r->fake, 1)->at_ms - fake_request_at(r->fake, 0)->at_ms >= 1900);
}

/* --- Vapi ----------------------------------------------------------------------------------- */

static void test_a_call_of_unknown_outcome_is_found_again(void **state)
{
    struct channels_world *w = *state;
    struct reach_world *r = w->reach;
    struct harness_proc *p;

    add_owner(r, "vapi_voice", REACH_OWNER);
    reach_world_alerts(r, 1);
    reach_world_expect(
        r, &(struct fake_rule){
               .method = "POST", .path = "/call", .times = 1, .accept = true, .fault = FAKE_CLOSE});
    p = start_worker(w, NULL);
    await_accepted(w, 1);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(fake_delivered(r->fake, "vapi", REACH_OWNER), 1);
    assert_string_equal(harness_text(r->h, "SELECT provider_id FROM notification"),
        fake_delivery_at(r->fake, 0)->id);
    assert_non_null(
        strstr(fake_delivery_at(r->fake, 0)->text, "\"firstMessage\":\"Meeting 1. starts in 11"));
    assert_non_null(strstr(fake_delivery_at(r->fake, 0)->text, "\"attempt_id\":\"1\""));
}

static void test_a_call_that_nobody_took_is_made_again(void **state)
{
    struct channels_world *w = *state;
    struct reach_world *r = w->reach;
    struct harness_proc *p;

    add_owner(r, "vapi_voice", REACH_OWNER);
    harness_exec(r->h, "DELETE FROM contact_method WHERE id = 2");
    reach_world_alerts(r, 1);
    harness_exec(r->h, "UPDATE notification SET mode = 'call'");
    p = start_worker(w, NULL);
    await_accepted(w, 1);
    assert_int_equal(
        fake_vapi_end(r->fake, fake_delivery_at(r->fake, 0)->id, "customer-did-not-answer"), 0);
    reach_world_advance(r, "2 minutes");
    harness_await(r->h, SOON_MS, "SELECT count(*) = 1 FROM notification WHERE state = 'failed'");
    reach_world_advance(r, "2 minutes");
    assert_true(fake_wait_deliveries(r->fake, 2, SOON_MS));
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(fake_delivered(r->fake, "vapi", REACH_OWNER), 2);
}

/* Nobody can press a key in a call of Vapi's, whatever address the gateway has: who has listened to
 * it is not called again and again. */
static void test_a_call_that_somebody_took_is_not_made_again(void **state)
{
    struct channels_world *w = *state;
    struct reach_world *r = w->reach;
    struct harness_proc *p;

    add_owner(r, "vapi_voice", REACH_OWNER);
    reach_world_alerts(r, 1);
    harness_exec(r->h, "UPDATE notification SET mode = 'call'");
    p = start_worker(w, "PUBLIC_URL=https://gate.example.org");
    await_accepted(w, 1);
    assert_int_equal(
        fake_vapi_end(r->fake, fake_delivery_at(r->fake, 0)->id, "customer-ended-call"), 0);
    reach_world_advance(r, "2 minutes");
    harness_await(r->h, SOON_MS, "SELECT state = 'delivered' FROM notification WHERE id = 1");
    assert_int_equal(harness_int(r->h, "SELECT count(*) FROM notification"), 1);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(fake_delivered(r->fake, "vapi", REACH_OWNER), 1);
}

/* --- email ---------------------------------------------------------------------------------- */

/* A header of a mail up to its line's end; fails when there is none. The caller frees it. */
static char *header(struct channels_world *w, size_t mail, const char *name)
{
    const char *at = strstr(fake_smtp_at(w->smtp, mail)->text, name);

    if (!at)
        fail_msg("no %s in mail %zu", name, mail);
    at += strlen(name);
    return strndup(at, strcspn(at, "\r\n"));
}

static void expect_smtp(struct channels_world *w, const struct fake_smtp_rule *rule)
{
    assert_int_equal(fake_smtp_on(w->smtp, rule), 0);
}

static void test_a_mail_and_what_follows_it(void **state)
{
    struct channels_world *w = *state;
    struct reach_world *r = w->reach;
    struct harness_proc *p;
    char *first, *second, *answers;

    add_owner(r, "email", "owner@example.org");
    reach_world_meeting(r, "11 minutes");
    p = start_worker(w, NULL);
    await_accepted(w, 1);
    reach_world_advance(r, "11 minutes");
    harness_await(r->h, SOON_MS,
        "SELECT count(*) = 2 FROM notification WHERE state = 'accepted' AND kind <> "
        "'meeting_call'");
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_string_equal(fake_smtp_at(w->smtp, 0)->to, "owner@example.org");
    assert_string_equal(fake_smtp_at(w->smtp, 0)->from, "alerts@example.org");
    assert_non_null(strstr(fake_smtp_at(w->smtp, 0)->text, "Stand-up"));
    first = header(w, 0, "Message-ID: ");
    second = header(w, 1, "Message-ID: ");
    answers = header(w, 1, "In-Reply-To: ");
    assert_string_equal(first, answers);
    assert_string_not_equal(first, second);
    free(first);
    free(second);
    free(answers);
}

/* The text was taken and the connection ended before the server said so. */
static void test_a_repeat_has_the_same_id(void **state)
{
    struct channels_world *w = *state;
    struct reach_world *r = w->reach;
    struct harness_proc *p;
    char *first, *second;

    add_owner(r, "email", "owner@example.org");
    reach_world_alerts(r, 1);
    expect_smtp(w, &(struct fake_smtp_rule){.command = ".", .times = 1, .drop = true});
    p = start_worker(w, NULL);
    await_accepted(w, 1);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(fake_smtp_count(w->smtp), 2);
    first = header(w, 0, "Message-ID: ");
    second = header(w, 1, "Message-ID: ");
    assert_string_equal(first, second);
    free(first);
    free(second);
    assert_string_equal(
        harness_rows(r->h, "SELECT outcome FROM attempt ORDER BY id"), "ambiguous\naccepted");
}

static void test_refusals_of_a_mail(void **state)
{
    struct channels_world *w = *state;
    struct reach_world *r = w->reach;
    struct harness_proc *p;

    add_owner(r, "email", "owner@example.org");
    reach_world_alerts(r, 1);
    expect_smtp(
        w, &(struct fake_smtp_rule){.command = "RCPT", .times = 1, .reply = "450 4.2.0 try later"});
    expect_smtp(w,
        &(struct fake_smtp_rule){.command = "RCPT", .times = 1, .reply = "550 5.1.1 no such user"});
    p = start_worker(w, NULL);
    harness_proc_await_log(p, "MESSAGE  owner    \"Meeting 1.\"", SOON_MS);
    harness_proc_await_log(p, "email to owner@example.org is switched off", SOON_MS);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(fake_smtp_count(w->smtp), 0);
    assert_string_equal(harness_rows(r->h, "SELECT outcome FROM attempt WHERE circuit = 'email'"
                                           " ORDER BY id"),
        "passing\nfinal");
}

static void test_no_mail_in_the_clear(void **state)
{
    struct channels_world *w = *state;
    struct reach_world *r = w->reach;
    struct harness_proc *p;
    char *said;

    add_owner(r, "email", "owner@example.org");
    reach_world_alerts(r, 1);
    p = start_worker(w, "SMTP_ALLOW_PLAIN=false");
    harness_proc_await_log(p, "MESSAGE  owner    \"Meeting 1.\"", SOON_MS);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(fake_smtp_count(w->smtp), 0);
    said = fake_smtp_commands(w->smtp);
    assert_non_null(said);
    assert_null(strstr(said, "MAIL"));
    free(said);
}

static void test_a_mail_by_starttls(void **state)
{
    struct channels_world *w = *state;
    struct reach_world *r = w->reach;
    struct certificate certificate;
    struct harness_proc *p;
    struct tls_smtp *server;
    char url[64], ca[128], *text;

    if (!certificate_make(&certificate))
        skip();
    server = tls_smtp_start(&certificate);
    assert_true(snprintf(url, sizeof url, "SMTP_URL=smtp://127.0.0.1:%d", tls_smtp_port(server)) <
                (int)sizeof url);
    assert_true(snprintf(ca, sizeof ca, "SMTP_CA_FILE=%s", certificate.path) < (int)sizeof ca);
    add_owner(r, "email", "owner@example.org");
    reach_world_alerts(r, 1);
    p = reach_world_worker(r, (const char *const[]){url, ca, "SMTP_FROM=alerts@example.org", NULL});
    await_accepted(w, 1);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    text = tls_smtp_stop(server);
    assert_non_null(strstr(text, "To: owner@example.org"));
    assert_non_null(strstr(text, "Meeting 1."));
    free(text);
    certificate_remove(&certificate);
}

/* --- contacts ------------------------------------------------------------------------------- */

static void test_a_code_reaches_what_is_not_verified(void **state)
{
    struct channels_world *w = *state;
    struct reach_world *r = w->reach;
    struct harness_proc *p;
    char code[8] = "";
    const char *at;

    add_owner(r, "slack", "C0001");
    harness_exec(r->h, "UPDATE contact_method SET verified_at = NULL WHERE id = 1;"
                       "UPDATE users SET quiet_from = (now() - interval '1 hour')::time,"
                       " quiet_until = (now() + interval '1 hour')::time");
    p = start_worker(w, NULL);
    harness_exec(r->h, "SELECT contact_method_verify_begin(1)");
    await_accepted(w, 1);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_int_equal(fake_delivered(r->fake, "slack", "C0001"), 1);
    at = strstr(fake_delivery_at(r->fake, 0)->text, "Your code is ");
    assert_non_null(at);
    for (int i = 0; i < 6; i++)
        code[i] = at[strlen("Your code is ") + 2 * (size_t)i];
    assert_int_equal(
        harness_intf(r->h, "SELECT (contact_method_verify(1, '%s') = 'verified')::int", code), 1);
    assert_false(harness_bool(r->h, "SELECT body ~ '\\d' FROM notification"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_updates_go_into_the_thread_of_the_first),
        TEST(test_an_error_inside_a_200_takes_the_next_channel),
        TEST(test_a_dead_token_switches_nobody_off),
        TEST(test_slack_asks_for_patience),
        TEST(test_a_call_of_unknown_outcome_is_found_again),
        TEST(test_a_call_that_nobody_took_is_made_again),
        TEST(test_a_call_that_somebody_took_is_not_made_again),
        TEST(test_a_mail_and_what_follows_it),
        TEST(test_a_repeat_has_the_same_id),
        TEST(test_refusals_of_a_mail),
        TEST(test_no_mail_in_the_clear),
        TEST(test_a_mail_by_starttls),
        TEST(test_a_code_reaches_what_is_not_verified),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
