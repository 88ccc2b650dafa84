/* What Vapi is asked, and what its answers mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "worker-escalation/channel.h"

static const struct reach_config config = {
    .vapi_url = (char *)"https://api.vapi.ai",
    .vapi_api_key = (char *)"key",
    .vapi_assistant_id = (char *)"a-1",
    .vapi_phone_number_id = (char *)"p-1",
};

static const struct message message = {
    .notification_id = 5,
    .attempt_id = 9,
    .incident_id = 2,
    .channel = "vapi_voice",
    .mode = "call",
    .kind = "meeting_call",
    .gate = "alerts",
    .address = "+15551234",
    .person = "owner",
    .title = "Stand-up",
    .incident_kind = "meeting",
    .starts_in_s = 120,
    .unsettled_for_s = 20,
};

static void test_a_call(void **state)
{
    struct channel_request r;

    (void)state;
    channel_request_init(&r);
    assert_int_equal(channel_vapi_voice.build(&config, &message, &r), 0);
    assert_int_equal(channel_request_seal(&r), 0);
    assert_string_equal(r.http.url, "https://api.vapi.ai/call");
    assert_string_equal(r.http.headers[0], "Authorization: Bearer key");
    assert_string_equal(r.http.body,
        "{\"assistantId\":\"a-1\",\"phoneNumberId\":\"p-1\",\"customer\":{\"number\":\"+15551234\"}"
        ","
        "\"assistantOverrides\":{\"firstMessage\":\"Stand-up starts in 2 minutes\","
        "\"firstMessageMode\":\"assistant-speaks-first\",\"variableValues\":"
        "{\"message\":\"Stand-up starts in 2 minutes\",\"person\":\"owner\"},"
        "\"metadata\":{\"attempt_id\":\"9\",\"notification_id\":\"5\",\"incident_id\":\"2\"}}}");
    channel_request_release(&r);
}

static void test_what_is_no_number_is_refused(void **state)
{
    struct message m = message;
    struct channel_request r;

    (void)state;
    m.address = "15551234";
    channel_request_init(&r);
    assert_int_equal(channel_vapi_voice.build(&config, &m, &r), ERR_INVALID);
    channel_request_release(&r);
}

static struct http_response response_of(long status, const char *body)
{
    return (struct http_response){
        .status = status, .detail = "", .sent = true, .body = body, .body_len = strlen(body)};
}

static void test_answers(void **state)
{
    static const struct {
        long status;
        const char *body;
        enum outcome_kind kind;
        bool provider_failed, contact_dead;
    } cases[] = {
        {201, "{\"id\":\"c-1\",\"status\":\"queued\"}", OUTCOME_ACCEPTED, false, false},
        {201, "{}", OUTCOME_AMBIGUOUS, true, false},
        {201, "{\"id\":\"c 1\"}", OUTCOME_AMBIGUOUS, true, false},
        {201, "<html>", OUTCOME_AMBIGUOUS, true, false},
        {400, "{\"message\":[\"customer.number must be a valid phone number\"]}", OUTCOME_FINAL,
            false, true},
        {400, "{\"message\":\"assistantOverrides is wrong\"}", OUTCOME_FINAL, false, false},
        {401, "{\"message\":\"Invalid Key\"}", OUTCOME_FINAL, true, false},
        {402, "{}", OUTCOME_FINAL, true, false},
        {404, "<html>", OUTCOME_FINAL, true, false},
        {429, "{}", OUTCOME_PASSING, true, false},
        {500, "{}", OUTCOME_AMBIGUOUS, true, false},
        {503, "{}", OUTCOME_PASSING, true, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct http_response response = response_of(cases[i].status, cases[i].body);
        struct outcome out;

        outcome_init(&out);
        channel_vapi_voice.judge(&response, &out);
        if (out.kind != cases[i].kind || out.provider_failed != cases[i].provider_failed ||
            out.contact_dead != cases[i].contact_dead)
            fail_msg("case %zu: %s, provider failed %d, contact dead %d: %s", i,
                outcome_name(out.kind), out.provider_failed, out.contact_dead, out.failure.detail);
        assert_int_equal(out.failure.code != 0, out.kind != OUTCOME_ACCEPTED);
        assert_string_equal(out.provider_id, i == 0 ? "c-1" : "");
    }
}

/* --- asking --------------------------------------------------------------------------------- */

static void test_the_question(void **state)
{
    struct channel_request r;

    (void)state;
    channel_request_init(&r);
    assert_int_equal(channel_vapi_voice.build_ask(&config, &message, &r), 0);
    assert_int_equal(channel_request_seal(&r), 0);
    assert_string_equal(r.http.method, "GET");
    assert_non_null(strstr(r.http.url, "https://api.vapi.ai/call?limit=100&createdAtGe=20"));
    assert_non_null(strstr(r.http.url, "&assistantId=a-1"));
    channel_request_release(&r);
}

static enum outcome_kind asked(
    const struct message *m, long status, const char *body, struct outcome *out)
{
    struct http_response response = response_of(status, body);

    outcome_init(out);
    channel_vapi_voice.judge_ask(m, &response, out);
    return out->kind;
}

#define CALL(id, number, notification)                                                             \
    "{\"id\":\"" id "\",\"customer\":{\"number\":\"" number "\"},\"assistantOverrides\":"          \
    "{\"metadata\":{\"notification_id\":\"" notification "\"}}}"

static void test_asked(void **state)
{
    struct message m = message;
    struct outcome out;
    struct buf many = BUF_INIT(4096);

    (void)state;
    assert_int_equal(asked(&m, 200, "[" CALL("c-7", "+15551234", "5") "]", &out), OUTCOME_ACCEPTED);
    assert_string_equal(out.provider_id, "c-7");
    assert_int_equal(
        asked(&m, 200, "[" CALL("c-7", "+15551234", "55") "]", &out), OUTCOME_NOT_THERE);
    assert_int_equal(
        asked(&m, 200, "[" CALL("c-7", "+15559999", "5") "]", &out), OUTCOME_NOT_THERE);
    assert_int_equal(asked(&m, 200, "[]", &out), OUTCOME_NOT_THERE);
    m.known_ids = "c-6 c-7";
    assert_int_equal(
        asked(&m, 200, "[" CALL("c-7", "+15551234", "5") "]", &out), OUTCOME_NOT_THERE);
    m.known_ids = "c-70";
    assert_int_equal(asked(&m, 200, "[" CALL("c-7", "+15551234", "5") "]", &out), OUTCOME_ACCEPTED);
    assert_int_equal(asked(&m, 500, "", &out), OUTCOME_AMBIGUOUS);
    assert_int_equal(asked(&m, 200, "{}", &out), OUTCOME_AMBIGUOUS);
    buf_add_char(&many, '[');
    for (int i = 0; i < 100; i++)
        buf_addf(&many, "%s{\"id\":\"c-%d\"}", i ? "," : "", i);
    buf_add_char(&many, ']');
    assert_int_equal(asked(&m, 200, buf_str(&many), &out), OUTCOME_AMBIGUOUS);
    buf_release(&many);
}

static void test_how_a_call_went(void **state)
{
    static const struct {
        const char *body;
        enum report_kind report;
    } cases[] = {
        {"{\"status\":\"queued\"}", REPORT_WAITING},
        {"{\"status\":\"in-progress\"}", REPORT_WAITING},
        {"{\"status\":\"ended\",\"endedReason\":\"customer-ended-call\"}", REPORT_ANSWERED},
        {"{\"status\":\"ended\",\"endedReason\":\"voicemail\"}", REPORT_UNANSWERED},
        {"{\"status\":\"ended\",\"endedReason\":\"customer-did-not-answer\"}", REPORT_UNANSWERED},
        {"{\"status\":\"ended\",\"endedReason\":\"call.start.error-get-org\"}", REPORT_UNANSWERED},
        {"{\"status\":\"ended\"}", REPORT_UNANSWERED},
        {"{}", REPORT_UNKNOWN},
        {"<html>", REPORT_UNKNOWN},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct http_response response = response_of(200, cases[i].body);
        struct outcome out;

        outcome_init(&out);
        assert_int_equal(channel_vapi_voice.judge_poll(&response, &out), cases[i].report);
        assert_int_equal(out.failure.code != 0, cases[i].report == REPORT_UNANSWERED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_call),
        cmocka_unit_test(test_what_is_no_number_is_refused),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_the_question),
        cmocka_unit_test(test_asked),
        cmocka_unit_test(test_how_a_call_went),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
