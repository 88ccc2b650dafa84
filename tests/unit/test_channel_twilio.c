/* What Twilio is asked, and what its answers mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "worker-escalation/channel.h"
#include "worker-escalation/twilio.h"

#define LIST "/2010-04-01/Accounts/AC1/"

static const struct reach_config config = {
    .twilio_url = (char *)"https://api.twilio.com",
    .twilio_account_sid = (char *)"AC1",
    .twilio_auth_token = (char *)"token",
    .twilio_from = (char *)"+15550001",
    .twilio_whatsapp_from = (char *)"+15550002",
};

static const struct message message = {
    .notification_id = 5,
    .attempt_id = 9,
    .incident_id = 2,
    .channel = "twilio_sms",
    .mode = "message",
    .kind = "meeting_alert",
    .gate = "alerts",
    .address = "+15551234",
    .person = "owner",
    .title = "Stand-up",
    .incident_kind = "meeting",
    .starts_local = "10:30",
    .starts_in_s = 720,
    .useful_s = 700,
};

static void build(const struct channel *c, const struct reach_config *with, const char *address,
    int expected, struct channel_request *r)
{
    struct message m = message;

    m.address = address;
    channel_request_init(r);
    assert_int_equal(c->build(with, &m, r), expected);
    if (expected == 0)
        assert_int_equal(channel_request_seal(r), 0);
}

static void test_sms(void **state)
{
    struct channel_request r;

    (void)state;
    build(&channel_twilio_sms, &config, "+15551234", 0, &r);
    assert_string_equal(r.http.method, "POST");
    assert_string_equal(r.http.url, "https://api.twilio.com" LIST "Messages.json");
    assert_string_equal(r.http.user, "AC1");
    assert_string_equal(r.http.body, "To=%2B15551234&From=%2B15550001&"
                                     "Body=%22Stand-up%22%20starts%20in%2012%20min%20%2810%3A30%29%"
                                     "20%5B%235%5D&ValidityPeriod=700");
    channel_request_release(&r);
}

/* A late page dies at Twilio too, within Twilio's bounds. */
static void test_how_long_it_is_valid(void **state)
{
    static const struct {
        int64_t useful_s;
        const char *validity;
    } cases[] = {{-5, "6"}, {3, "6"}, {6, "6"}, {7, "7"}, {36000, "36000"}, {86400, "36000"}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct message m = message;
        struct channel_request r;
        const char *at;

        m.useful_s = cases[i].useful_s;
        channel_request_init(&r);
        assert_int_equal(channel_twilio_sms.build(&config, &m, &r), 0);
        assert_int_equal(channel_request_seal(&r), 0);
        at = strstr(r.http.body, "&ValidityPeriod=");
        assert_non_null(at);
        assert_string_equal(at + strlen("&ValidityPeriod="), cases[i].validity);
        channel_request_release(&r);
    }
}

/* How long a form's value is, decoded. */
static size_t value_len(const char *body, const char *name)
{
    const char *at = strstr(body, name);
    size_t n = 0;

    assert_non_null(at);
    for (at += strlen(name); *at && *at != '&'; at += *at == '%' ? 3 : 1)
        n++;
    return n;
}

/* Twilio refuses what is longer, and a bundle would be lost whole. */
static void test_a_body_fits_however_much_there_is_to_say(void **state)
{
    struct reach_config with = config;
    char title[MESSAGE_TEXT_MAX + 1], reference[32];

    (void)state;
    memset(title, 'x', sizeof title - 1);
    title[sizeof title - 1] = '\0';
    with.public_url = (char *)"https://a-host-with-a-name.of-some-length.example.org/and/a/path";
    with.link_secret = (char *)"0123456789abcdef0123456789abcdef";
    for (int n = 1; n <= 6; n++) {
        struct message all[6];
        struct channel_request r;

        for (int i = 0; i < n; i++) {
            all[i] = message;
            all[i].notification_id = 100000 + i;
            all[i].incident_kind = "manual";
            all[i].title = title;
            all[i].also = i + 1 < n ? &all[i + 1] : NULL;
        }
        channel_request_init(&r);
        assert_int_equal(channel_twilio_sms.build(&with, &all[0], &r), 0);
        assert_int_equal(channel_request_seal(&r), 0);
        assert_in_range(value_len(r.http.body, "&Body="), 1400, 1600);
        for (int i = 0; i < n; i++) {
            assert_true(snprintf(reference, sizeof reference, "%%5B%%23%d%%5D", 100000 + i) > 0);
            assert_non_null(strstr(r.http.body, reference));
        }
        assert_int_equal(strstr(r.http.body, "%2Fa%2F100000-") != NULL, n == 1);
        channel_request_release(&r);
    }
}

static void test_callbacks_only_with_a_public_address(void **state)
{
    struct reach_config with = config;
    struct channel_request r;

    (void)state;
    with.public_url = (char *)"https://t.example";
    build(&channel_twilio_sms, &with, "+15551234", 0, &r);
    assert_non_null(strstr(r.http.body,
        "&StatusCallback=https%3A%2F%2Ft.example%2Fhooks%2Ftwilio%2Fmessage%3Fattempt%3D9"));
    channel_request_release(&r);
}

static void test_whatsapp(void **state)
{
    struct channel_request r;

    (void)state;
    build(&channel_twilio_whatsapp, &config, "+15551234", 0, &r);
    assert_non_null(strstr(r.http.body, "To=whatsapp%3A%2B15551234&From=whatsapp%3A%2B15550002&"));
    channel_request_release(&r);
}

static void test_call(void **state)
{
    struct reach_config with = config;
    struct channel_request r;

    (void)state;
    build(&channel_twilio_voice, &config, "+15551234", 0, &r);
    assert_string_equal(r.http.url, "https://api.twilio.com" LIST "Calls.json");
    assert_non_null(strstr(r.http.body, "&Twiml=%3CResponse%3E%3CSay"));
    assert_null(strstr(r.http.body, "StatusCallback"));
    /* Who answered is told only where no key can be. */
    assert_non_null(strstr(r.http.body, "&MachineDetection=Enable&AsyncAmd=true&"));
    channel_request_release(&r);
    with.public_url = (char *)"https://t.example";
    build(&channel_twilio_voice, &with, "+15551234", 0, &r);
    assert_null(strstr(r.http.body, "MachineDetection"));
    channel_request_release(&r);
}

/* What Twilio says of a call that it made. */
static void test_calls_that_were_made(void **state)
{
    static const struct {
        const char *body;
        enum report_kind report;
    } cases[] = {
        {"{\"status\":\"completed\"}", REPORT_ANSWERED},
        {"{\"status\":\"completed\",\"answered_by\":null}", REPORT_ANSWERED},
        {"{\"status\":\"completed\",\"answered_by\":\"human\"}", REPORT_ANSWERED},
        {"{\"status\":\"completed\",\"answered_by\":\"unknown\"}", REPORT_ANSWERED},
        {"{\"status\":\"completed\",\"answered_by\":\"machine\"}", REPORT_UNANSWERED},
        {"{\"status\":\"completed\",\"answered_by\":\"machine_end_beep\"}", REPORT_UNANSWERED},
        {"{\"status\":\"completed\",\"answered_by\":\"fax\"}", REPORT_UNANSWERED},
        {"{\"status\":\"busy\"}", REPORT_UNANSWERED},
        {"{\"status\":\"no-answer\"}", REPORT_UNANSWERED},
        {"{\"status\":\"failed\"}", REPORT_UNANSWERED},
        {"{\"status\":\"canceled\"}", REPORT_UNANSWERED},
        {"{\"status\":\"in-progress\",\"answered_by\":\"machine_start\"}", REPORT_WAITING},
        {"{\"status\":\"odd\"}", REPORT_UNKNOWN},
        {"{\"status\":", REPORT_UNKNOWN},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct http_response response = {
            .detail = "", .status = 200, .body = cases[i].body, .body_len = strlen(cases[i].body)};
        struct outcome out;

        outcome_init(&out);
        if (twilio_judge_call(&response, &out) != cases[i].report)
            fail_msg("%s", cases[i].body);
    }
}

static void test_what_is_no_number_is_refused(void **state)
{
    static const char *const bad[] = {"15551234", "+", "+0123", "+1555123a", "+1234567890123456"};
    struct channel_request r;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        build(&channel_twilio_sms, &config, bad[i], ERR_INVALID, &r);
        channel_request_release(&r);
        build(&channel_twilio_voice, &config, bad[i], ERR_INVALID, &r);
        channel_request_release(&r);
    }
}

/* --- answers ------------------------------------------------------------------------------ */

static struct outcome judged(int err, bool sent, long status, const char *body)
{
    struct http_response response = {.err = err,
        .detail = err ? "what curl says" : "",
        .status = status,
        .sent = sent,
        .body = body,
        .body_len = strlen(body)};
    struct outcome out;

    outcome_init(&out);
    twilio_judge(&response, &out);
    return out;
}

static void test_answers(void **state)
{
    static const struct {
        int err;
        bool sent;
        long status;
        const char *body;
        enum outcome_kind kind;
        bool provider_failed, contact_dead;
    } cases[] = {
        {0, true, 201, "{\"sid\":\"SM1\",\"status\":\"queued\"}", OUTCOME_ACCEPTED, false, false},
        {0, true, 201, "{\"sid\":\"MM1\",\"status\":\"accepted\"}", OUTCOME_ACCEPTED, false, false},
        {0, true, 201, "{\"sid\":\"SM1\",\"status\":\"failed\",\"error_code\":21610}",
            OUTCOME_FINAL, false, true},
        {0, true, 201, "{}", OUTCOME_AMBIGUOUS, true, false},
        {0, true, 201, "{\"sid\":\"SM 1\"}", OUTCOME_AMBIGUOUS, true, false},
        {0, true, 200, "<html>", OUTCOME_AMBIGUOUS, true, false},
        {0, true, 400, "{\"code\":21211}", OUTCOME_FINAL, false, true},
        {0, true, 400, "{\"code\":30001}", OUTCOME_PASSING, false, false},
        {0, true, 400, "{\"code\":98765}", OUTCOME_FINAL, false, false},
        {0, true, 401, "{\"code\":20003}", OUTCOME_FINAL, true, false},
        {0, true, 403, "<html>", OUTCOME_FINAL, true, false},
        {0, true, 302, "", OUTCOME_FINAL, true, false},
        {0, true, 429, "{\"code\":20429}", OUTCOME_PASSING, true, false},
        {0, true, 503, "", OUTCOME_PASSING, true, false},
        {0, true, 500, "", OUTCOME_AMBIGUOUS, true, false},
        {0, true, 502, "{\"sid\":\"SM1\"}", OUTCOME_AMBIGUOUS, true, false},
        {ERR_IO, false, 0, "", OUTCOME_PASSING, true, false},
        {ERR_IO, true, 0, "", OUTCOME_AMBIGUOUS, true, false},
        {ERR_TIMEOUT, true, 0, "", OUTCOME_AMBIGUOUS, true, false},
        {ERR_PROTOCOL, true, 0, "", OUTCOME_AMBIGUOUS, true, false},
        {ERR_DENIED, false, 0, "", OUTCOME_FINAL, false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct outcome out = judged(cases[i].err, cases[i].sent, cases[i].status, cases[i].body);
        if (out.kind != cases[i].kind || out.provider_failed != cases[i].provider_failed ||
            out.contact_dead != cases[i].contact_dead)
            fail_msg("case %zu: %s, provider failed %d, contact dead %d: %s", i,
                outcome_name(out.kind), out.provider_failed, out.contact_dead, out.failure.detail);
        assert_int_equal(out.failure.code != 0, out.kind != OUTCOME_ACCEPTED);
    }
}

/* --- asking what became of it --------------------------------------------------------------- */

static enum outcome_kind asked(
    const struct message *m, const char *created, const char *more, struct outcome *out)
{
    char *body = NULL;
    struct http_response response = {.detail = "", .status = 200};

    assert_true(asprintf(&body,
                    "{\"messages\":[{\"sid\":\"SM7\",\"direction\":\"outbound-api\","
                    "\"date_created\":\"%s\"%s}]}",
                    created, more) > 0);
    response.body = body;
    response.body_len = strlen(body);
    outcome_init(out);
    channel_twilio_sms.judge_ask(m, &response, out);
    free(body);
    return out->kind;
}

static char *date_ago(int64_t seconds)
{
    time_t at = time(NULL) - (time_t)seconds;
    struct tm tm;
    static char text[64];

    gmtime_r(&at, &tm);
    assert_true(strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S +0000", &tm) > 0);
    return text;
}

static void test_asked(void **state)
{
    struct message m = message;
    struct outcome out;

    (void)state;
    m.unsettled_for_s = 30;
    assert_int_equal(asked(&m, date_ago(20), "", &out), OUTCOME_ACCEPTED);
    assert_string_equal(out.provider_id, "SM7");
    assert_int_equal(asked(&m, date_ago(90), "", &out), OUTCOME_NOT_THERE);
    assert_int_equal(asked(&m, "yesterday", "", &out), OUTCOME_NOT_THERE);
    assert_int_equal(
        asked(&m, date_ago(20), ",\"body\":\"Another [#55]\"", &out), OUTCOME_NOT_THERE);
    assert_int_equal(
        asked(&m, date_ago(20), ",\"body\":\"Stand-up [#5]\"", &out), OUTCOME_ACCEPTED);
    m.known_ids = "SM6 SM7";
    assert_int_equal(asked(&m, date_ago(20), "", &out), OUTCOME_NOT_THERE);
    m.known_ids = "SM70";
    assert_int_equal(asked(&m, date_ago(20), "", &out), OUTCOME_ACCEPTED);
}

/* A page that does not go back far enough proves nothing. */
static void test_asked_with_too_long_a_list(void **state)
{
    struct message m = message;
    struct http_response response = {.detail = "", .status = 200};
    struct outcome out;
    char *body = NULL;

    (void)state;
    m.unsettled_for_s = 30;
    for (int64_t age = 20; age <= 60; age += 40) {
        assert_true(asprintf(&body,
                        "{\"next_page_uri\":\"/2\",\"messages\":[{\"sid\":\"SM8\","
                        "\"body\":\"x\",\"date_created\":\"%s\"}]}",
                        date_ago(age)) > 0);
        response.body = body;
        response.body_len = strlen(body);
        outcome_init(&out);
        channel_twilio_sms.judge_ask(&m, &response, &out);
        assert_int_equal(out.kind, age == 20 ? OUTCOME_AMBIGUOUS : OUTCOME_NOT_THERE);
        free(body);
    }
}

static void test_asked_in_vain(void **state)
{
    static const struct http_response answers[] = {
        {.detail = "", .status = 500, .body = "", .body_len = 0},
        {.detail = "", .status = 200, .body = "{}", .body_len = 2},
        {.detail = "", .status = 401, .body = "", .body_len = 0},
        {.detail = "x", .err = ERR_TIMEOUT, .body = "", .body_len = 0},
    };
    struct outcome out;

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        outcome_init(&out);
        channel_twilio_sms.judge_ask(&message, &answers[i], &out);
        assert_int_equal(out.kind, OUTCOME_AMBIGUOUS);
        assert_int_not_equal(out.failure.code, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sms),
        cmocka_unit_test(test_a_body_fits_however_much_there_is_to_say),
        cmocka_unit_test(test_callbacks_only_with_a_public_address),
        cmocka_unit_test(test_whatsapp),
        cmocka_unit_test(test_how_long_it_is_valid),
        cmocka_unit_test(test_call),
        cmocka_unit_test(test_calls_that_were_made),
        cmocka_unit_test(test_what_is_no_number_is_refused),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_asked),
        cmocka_unit_test(test_asked_with_too_long_a_list),
        cmocka_unit_test(test_asked_in_vain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
