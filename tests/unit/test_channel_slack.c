/* What Slack is asked, and what its answers mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "worker-escalation/channel.h"

static const struct reach_config config = {
    .slack_url = (char *)"https://slack.com",
    .slack_token = (char *)"xoxb-secret",
};

static const struct message message = {
    .notification_id = 5,
    .attempt_id = 9,
    .incident_id = 2,
    .channel = "slack",
    .mode = "message",
    .kind = "meeting_alert",
    .gate = "alerts",
    .address = "C0001",
    .person = "owner",
    .title = "Q&A <all>",
    .incident_kind = "meeting",
    .starts_local = "10:30",
    .starts_in_s = 720,
};

static void build(const struct message *m, struct channel_request *r)
{
    channel_request_init(r);
    assert_int_equal(channel_slack.build(&config, m, r), 0);
    assert_int_equal(channel_request_seal(r), 0);
}

static void test_a_message(void **state)
{
    struct channel_request r;

    (void)state;
    build(&message, &r);
    assert_string_equal(r.http.method, "POST");
    assert_string_equal(r.http.url, "https://slack.com/api/chat.postMessage");
    assert_string_equal(r.http.headers[0], "Authorization: Bearer xoxb-secret");
    assert_string_equal(r.http.body,
        "{\"channel\":\"C0001\",\"text\":\"\\\"Q&amp;A &lt;all&gt;\\\" starts in 12 min (10:30)\","
        "\"mrkdwn\":false,\"unfurl_links\":false}");
    channel_request_release(&r);
}

static void test_what_follows_goes_into_the_thread(void **state)
{
    struct message m = message;
    struct channel_request r;

    (void)state;
    m.address = "U0001";
    m.thread_id = "D0007:1700000000.000001";
    build(&m, &r);
    assert_non_null(strstr(r.http.body, "\"channel\":\"D0007\""));
    assert_non_null(strstr(r.http.body, "\"thread_ts\":\"1700000000.000001\""));
    assert_null(strstr(r.http.body, "U0001"));
    channel_request_release(&r);
}

static void test_without_a_token_it_is_off(void **state)
{
    static const struct reach_config none = {.slack_url = (char *)"https://slack.com"};

    (void)state;
    assert_non_null(channel_slack.missing(&none));
    assert_null(channel_slack.missing(&config));
}

static void test_answers(void **state)
{
    static const struct {
        long status;
        const char *body;
        enum outcome_kind kind;
        bool provider_failed, contact_dead;
    } cases[] = {
        {200, "{\"ok\":true,\"channel\":\"C1\",\"ts\":\"1.2\"}", OUTCOME_ACCEPTED, false, false},
        {200, "{\"ok\":true}", OUTCOME_ACCEPTED, false, false},
        {200, "{\"ok\":false,\"error\":\"channel_not_found\"}", OUTCOME_FINAL, false, true},
        {200, "{\"ok\":false,\"error\":\"is_archived\"}", OUTCOME_FINAL, false, true},
        {200, "{\"ok\":false,\"error\":\"not_in_channel\"}", OUTCOME_FINAL, false, false},
        {200, "{\"ok\":false,\"error\":\"msg_too_long\"}", OUTCOME_FINAL, false, false},
        {200, "{\"ok\":false,\"error\":\"account_inactive\"}", OUTCOME_FINAL, true, false},
        {200, "{\"ok\":false,\"error\":\"invalid_auth\"}", OUTCOME_FINAL, true, false},
        {200, "{\"ok\":false,\"error\":\"ratelimited\"}", OUTCOME_PASSING, true, false},
        {200, "{\"ok\":false,\"error\":\"rate_limited\"}", OUTCOME_PASSING, true, false},
        {200, "{\"ok\":false,\"error\":\"internal_error\"}", OUTCOME_AMBIGUOUS, true, false},
        {200, "{\"ok\":false}", OUTCOME_FINAL, false, false},
        {200, "<html>", OUTCOME_AMBIGUOUS, true, false},
        {200, "{}", OUTCOME_AMBIGUOUS, true, false},
        {404, "not here", OUTCOME_FINAL, true, false},
        {429, "", OUTCOME_PASSING, true, false},
        {500, "{\"ok\":false,\"error\":\"fatal_error\"}", OUTCOME_AMBIGUOUS, true, false},
        {503, "", OUTCOME_PASSING, true, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct http_response response = {.status = cases[i].status,
            .detail = "",
            .sent = true,
            .body = cases[i].body,
            .body_len = strlen(cases[i].body)};
        struct outcome out;

        outcome_init(&out);
        channel_slack.judge(&response, &out);
        if (out.kind != cases[i].kind || out.provider_failed != cases[i].provider_failed ||
            out.contact_dead != cases[i].contact_dead)
            fail_msg("case %zu: %s, provider failed %d, contact dead %d: %s", i,
                outcome_name(out.kind), out.provider_failed, out.contact_dead, out.failure.detail);
        assert_int_equal(out.failure.code != 0, out.kind != OUTCOME_ACCEPTED);
        assert_int_equal(out.failure.final, out.kind == OUTCOME_FINAL);
        assert_string_equal(out.provider_id, i == 0 ? "C1:1.2" : "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_message),
        cmocka_unit_test(test_what_follows_goes_into_the_thread),
        cmocka_unit_test(test_without_a_token_it_is_off),
        cmocka_unit_test(test_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
