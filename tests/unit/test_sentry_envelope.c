/* Where an event goes, what it says, what it never says, and when it is not to be sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/json_read.h"
#include "service/sentry_envelope.h"

static void test_dsn(void **state)
{
    static const struct {
        const char *dsn, *url;
    } cases[] = {
        {"https://abc123@o1.ingest.sentry.io/42", "https://o1.ingest.sentry.io/api/42/envelope/"},
        {"http://abc:def@127.0.0.1:9000/7", "http://127.0.0.1:9000/api/7/envelope/"},
        {"https://abc@host/a/b/7", "https://host/a/b/api/7/envelope/"},
        {"https://host/42", NULL},
        {"https://abc@host", NULL},
        {"https://abc@host/", NULL},
        {"https://abc@/42", NULL},
        {"https://@host/42", NULL},
        {"https://a\r\nb@host/42", NULL},
        {"https://abc@host/4?2", NULL},
        {"ftp://abc@host/42", NULL},
        {"nonsense", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf url = BUF_INIT(256), auth = BUF_INIT(256);
        int err = sentry_dsn_parse(cases[i].dsn, &url, &auth);

        if (err != (cases[i].url ? 0 : ERR_INVALID))
            fail_msg("%s: %s", cases[i].dsn, err_name(err));
        assert_string_equal(buf_str(&url), cases[i].url ? cases[i].url : "");
        if (cases[i].url) {
            assert_non_null(strstr(buf_str(&auth), "sentry_version=7"));
            assert_non_null(strstr(buf_str(&auth), "sentry_key=abc"));
            assert_null(strstr(buf_str(&auth), "def"));
        }
        buf_release(&url);
        buf_release(&auth);
    }
}

static void test_an_event(void **state)
{
    static char *secrets[] = {(char *)"hunter2hunter2", (char *)"hunter2", (char *)"a"};
    const struct sentry_source source = {
        .release = "tocsin@1", .server_name = "host", .secrets = secrets, .n_secrets = 3};
    const struct log_field fields[] = {F_INT("id", 7), F_STR("where", "at hunter2hunter2!"),
        F_STR("none", NULL), F_BOOL("late", true)};
    const struct log_event event = {.unix_s = 1795378702,
        .ms = 7,
        .level = LOG_LEVEL_ERROR,
        .exe = "scheduler",
        .fmt = "cannot open %s",
        .msg = "cannot open \"hunter2\"\n",
        .fields = {fields},
        .n_fields = {4}};
    struct buf envelope = BUF_INIT(SENTRY_EVENT_MAX);
    _cleanup_(json_decrefp) json_t *head = NULL, *item = NULL, *json = NULL;
    const char *line[3];

    (void)state;
    assert_int_equal(sentry_envelope_write(&source, &event, 3, &envelope), 0);
    line[0] = buf_str(&envelope);
    line[1] = strchr(line[0], '\n') + 1;
    line[2] = strchr(line[1], '\n') + 1;
    head = json_loadb(line[0], (size_t)(line[1] - line[0]), 0, NULL);
    item = json_loadb(line[1], (size_t)(line[2] - line[1]), 0, NULL);
    assert_string_equal(json_read_str(item, "type"), "event");
    assert_int_equal(json_read_int(item, "length", 0), strlen(line[2]) - 1);
    json = json_loads(line[2], 0, NULL);
    assert_string_equal(json_read_str(json, "event_id"), json_read_str(head, "event_id"));
    assert_int_equal(strlen(json_read_str(json, "event_id")), 32);
    assert_string_equal(json_read_str(json, "timestamp"), "2026-11-22T20:18:22.007Z");
    assert_string_equal(json_read_str(json, "level"), "error");
    assert_string_equal(json_string_value(json_read_get(json, "logentry", "formatted", NULL)),
        "cannot open \"(secret)\"\n");
    assert_string_equal(
        json_string_value(json_read_get(json, "logentry", "message", NULL)), "cannot open %s");
    assert_string_equal(
        json_string_value(json_read_get(json, "extra", "where", NULL)), "at (secret)!");
    assert_int_equal(json_read_int(json_object_get(json, "extra"), "id", 0), 7);
    assert_int_equal(json_read_int(json_object_get(json, "extra"), "dropped_before", 0), 3);
    assert_null(json_read_get(json, "extra", "none", NULL));
    assert_null(strstr(buf_str(&envelope), "hunter2"));
    buf_release(&envelope);
}

static void test_rate_limits(void **state)
{
    static const struct {
        const char *header;
        int64_t ms;
    } cases[] = {
        {"60:error:organization:quota", 60000},
        {"60::organization", 60000},
        {"60:transaction;error:key", 60000},
        {"60:default;error", 60000},
        {"60:transaction:key, 5:error:key", 5000},
        {"5:error:key, 2700:default;session:organization", 2700000},
        {"60:transaction:key", 0},
        {"60:errors:key", 0},
        {"-5:error:key", 0},
        {"99999999999999999999:error:key", 86400000},
        {"", 0},
        {"nonsense", 0},
        {":::,,,", 0},
        {"60", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (sentry_rate_limits_ms(cases[i].header) != cases[i].ms)
            fail_msg("%s", cases[i].header);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dsn),
        cmocka_unit_test(test_an_event),
        cmocka_unit_test(test_rate_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
