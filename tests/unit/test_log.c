/* The three shapes of a line, byte by byte; what is escaped, cut, coloured, left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/json_read.h"
#include "base/log.h"
#include "base/log_line.h"
#include "base/utf8.h"

#define AT_UNIX_S 1795378702 /* 2026-11-22T20:18:22Z */

static void format(struct log_line *line, enum log_format shape, enum log_level level,
    const char *msg, const struct log_field *fields, size_t n)
{
    const struct log_event event = {
        .unix_s = AT_UNIX_S,
        .ms = 7,
        .level = level,
        .exe = "scheduler",
        .msg = msg,
        .fields = {fields},
        .n_fields = {n},
    };

    log_line_format(line, shape, &event);
}

struct row {
    const char *msg;
    struct log_field fields[4];
    size_t n;
    const char *logfmt, *json, *plain; /* what follows the level */
};

static const struct row rows[] = {
    {"ready", {{0}}, 0, "msg=\"ready\"\n", "\"msg\":\"ready\"}\n", "ready\n"},
    {"a \"b\" \\ c", {{0}}, 0, "msg=\"a \\\"b\\\" \\\\ c\"\n", "\"msg\":\"a \\\"b\\\" \\\\ c\"}\n",
        "a \"b\" \\ c\n"},
    {"a\nb\tc\x01\x1B[31m\x7F", {{0}}, 0, "msg=\"a\\nb\\tc\\u0001\\u001b[31m\\u007f\"\n",
        "\"msg\":\"a\\nb\\tc\\u0001\\u001b[31m\\u007f\"}\n", "a b c  [31m \n"},
    {"\xC3\xA9 \xFF \xC2\x9B", {{0}}, 0, "msg=\"\xC3\xA9 " UTF8_REPLACEMENT " \\u009b\"\n",
        "\"msg\":\"\xC3\xA9 " UTF8_REPLACEMENT " \\u009b\"}\n",
        "\xC3\xA9 " UTF8_REPLACEMENT "  \n"},
    {"m", {{"n", LOG_TYPE_INT, {.i = INT64_MIN}}, {"t", LOG_TYPE_BOOL, {.b = true}}}, 2,
        "msg=\"m\" n=-9223372036854775808 t=true\n",
        "\"msg\":\"m\",\"n\":-9223372036854775808,\"t\":true}\n",
        "m  n=-9223372036854775808 t=true\n"},
    {"m",
        {{"a", LOG_TYPE_STR, {.s = "x"}}, {"b", LOG_TYPE_STR, {.s = NULL}},
            {"c", LOG_TYPE_STR, {.s = ""}}, {"d", LOG_TYPE_STR, {.s = "x y=\"z\""}}},
        4, "msg=\"m\" a=x c=\"\" d=\"x y=\\\"z\\\"\"\n",
        "\"msg\":\"m\",\"a\":\"x\",\"c\":\"\",\"d\":\"x y=\\\"z\\\"\"}\n",
        "m  a=x c=\"\" d=\"x y=\\\"z\\\"\"\n"},
    /* Plain leaves out what the message tells: "user 7", but not the 7 of "17", "71" or "7
     * created".
     */
    {"synced for user 7: 7 created", {{"user_id", LOG_TYPE_INT, {.i = 7}}}, 1,
        "msg=\"synced for user 7: 7 created\" user_id=7\n",
        "\"msg\":\"synced for user 7: 7 created\",\"user_id\":7}\n",
        "synced for user 7: 7 created\n"},
    {"user 17: 7 created", {{"user_id", LOG_TYPE_INT, {.i = 7}}}, 1,
        "msg=\"user 17: 7 created\" user_id=7\n", "\"msg\":\"user 17: 7 created\",\"user_id\":7}\n",
        "user 17: 7 created  user_id=7\n"},
    {"user 71: 7 created", {{"user_id", LOG_TYPE_INT, {.i = 7}}}, 1,
        "msg=\"user 71: 7 created\" user_id=7\n", "\"msg\":\"user 71: 7 created\",\"user_id\":7}\n",
        "user 71: 7 created  user_id=7\n"},
    {"schedule calendar-sync is on", {{"key", LOG_TYPE_STR, {.s = "calendar-sync"}}}, 1,
        "msg=\"schedule calendar-sync is on\" key=calendar-sync\n",
        "\"msg\":\"schedule calendar-sync is on\",\"key\":\"calendar-sync\"}\n",
        "schedule calendar-sync is on\n"},
};

static void test_shapes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *r = &rows[i];
        struct log_line line;
        char expected[400];

        format(&line, LOG_FORMAT_LOGFMT, LOG_LEVEL_INFO, r->msg, r->fields, r->n);
        (void)snprintf(
            expected, sizeof(expected), "2026-11-22T20:18:22.007Z info scheduler %s", r->logfmt);
        assert_string_equal(line.data, expected);

        format(&line, LOG_FORMAT_JSON, LOG_LEVEL_WARN, r->msg, r->fields, r->n);
        (void)snprintf(expected, sizeof(expected),
            "{\"time\":\"2026-11-22T20:18:22.007Z\",\"level\":\"warn\",\"exe\":\"scheduler\",%s",
            r->json);
        assert_string_equal(line.data, expected);

        format(&line, LOG_FORMAT_PLAIN, LOG_LEVEL_INFO, r->msg, r->fields, r->n);
        (void)snprintf(expected, sizeof(expected), "20:18:22 scheduler          %s", r->plain);
        assert_string_equal(line.data, expected);
        assert_int_equal(strlen(line.data), line.len);
    }
}

static void test_plain_levels(void **state)
{
    static const char *const expected[] = {"m\n", "m\n", "warning: m\n", "error: m\n"};
    struct log_line line;

    (void)state;
    for (int level = LOG_LEVEL_DEBUG; level <= LOG_LEVEL_ERROR; level++) {
        format(&line, LOG_FORMAT_PLAIN, (enum log_level)level, "m", NULL, 0);
        assert_string_equal(strchr(line.data, 'r') + 10 + 1, expected[level]);
        assert_null(strchr(line.data, '\x1B'));
    }
}

/* However long, in every shape: one line, valid, with its ellipsis and with its ids. */
static void test_long_lines(void **state)
{
    static char text[3 * LOG_LINE_MAX];

    (void)state;
    for (size_t start = 0; start < 5; start++) {
        memset(text, '.', start);
        for (size_t at = start; at + 3 < sizeof(text); at += 3)
            memcpy(text + at, "\xE2\x82\xAC", 4);
        for (int shape = LOG_FORMAT_LOGFMT; shape <= LOG_FORMAT_PLAIN; shape++) {
            const struct log_field fields[] = {
                F_INT("incident_id", 42), F_STR("body", text), F_STR("after", "x")};
            struct log_line line;
            format(&line, (enum log_format)shape, LOG_LEVEL_INFO, text, fields, 3);
            assert_true(line.cut);
            assert_in_range(line.len, LOG_LINE_MAX - 200, LOG_LINE_MAX - 1);
            assert_ptr_equal(strchr(line.data, '\n'), line.data + line.len - 1);
            assert_non_null(strstr(line.data, UTF8_ELLIPSIS));
            assert_non_null(strstr(line.data, "incident_id"));
            if (shape != LOG_FORMAT_JSON)
                continue;
            _cleanup_(json_decrefp) json_t *j = NULL;
            assert_int_equal(json_read(line.data, line.len, LOG_LINE_MAX, NULL, &j), 0);
            assert_int_equal(json_read_int(j, "incident_id", 0), 42);
        }
    }
}

static void test_long_format(void **state)
{
    static char text[2 * LOG_LINE_MAX];
    int file = memfd_create("stderr", MFD_CLOEXEC);
    int kept = dup(STDERR_FILENO);

    (void)state;
    assert_true(file >= 0 && kept >= 0);
    memset(text, 'x', sizeof(text) - 1);
    (void)dup2(file, STDERR_FILENO);
    log_info(F_NONE, "%s", text);
    (void)dup2(kept, STDERR_FILENO);
    (void)close(kept);

    off_t size = lseek(file, 0, SEEK_END);
    assert_in_range(size, 10000, LOG_LINE_MAX);
    (void)close(file);
}

/* What reaches descriptor 2, as a string; the caller frees it. */
static char *capture(void (*write_some)(void))
{
    int file = memfd_create("stderr", MFD_CLOEXEC);
    int kept = dup(STDERR_FILENO);

    assert_true(file >= 0 && kept >= 0);
    (void)dup2(file, STDERR_FILENO);
    write_some();
    (void)dup2(kept, STDERR_FILENO);
    (void)close(kept);

    off_t size = lseek(file, 0, SEEK_END);
    char *text = calloc(1, (size_t)size + 1);
    assert_non_null(text);
    assert_int_equal(pread(file, text, (size_t)size, 0), size);
    (void)close(file);
    return text;
}

static void write_levels(void)
{
    log_setup("worker-cleanup", LOG_LEVEL_WARN, LOG_FORMAT_LOGFMT);
    log_debug(F_NONE, "one");
    log_info(F_NONE, "two");
    log_warn(F(F_INT("a", 1), F_BOOL("b", false)), "three %d", 3);
    log_error(F_NONE, "four");
}

static void test_levels(void **state)
{
    (void)state;
    _cleanup_(freep) char *text = capture(write_levels);
    assert_null(strstr(text, "one"));
    assert_null(strstr(text, "two"));
    assert_non_null(strstr(text, "Z warn worker-cleanup msg=\"three 3\" a=1 b=false\n"));
    assert_non_null(strstr(text, "Z error worker-cleanup msg=\"four\"\n"));
}

static void write_failures(void)
{
    struct failure f;

    log_setup("w", LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
    failure_set(&f, ERR_PROTOCOL, "refused by %s", "peer");
    f.http_status = 503;
    log_failure(LOG_LEVEL_WARN, &f, F(F_INT("user_id", 9)), "Calendar sync failed for user %d", 9);
    failure_set(&f, ERR_DB, "%s", "");
    memcpy(f.sqlstate, "40001", sizeof(f.sqlstate));
    log_failure(LOG_LEVEL_ERROR, &f, F_NONE, "tick failed");
    log_failure(LOG_LEVEL_DEBUG, &f, F_NONE, "not this");
}

static void test_failures(void **state)
{
    (void)state;
    _cleanup_(freep) char *text = capture(write_failures);
    assert_non_null(strstr(text,
        "warn w msg=\"Calendar sync failed for user 9: refused by peer\" user_id=9 error=protocol "
        "http_status=503\n"));
    assert_non_null(strstr(text, "error w msg=\"tick failed\" error=db sqlstate=40001\n"));
    assert_null(strstr(text, "not this"));
}

static void test_rate(void **state)
{
    struct log_rate r = {0};
    uint64_t held = 99;

    (void)state;
    assert_true(log_rate_allow(&r, INT64_C(86400000), &held));
    assert_int_equal(held, 0);
    for (int i = 0; i < 1000; i++)
        assert_false(log_rate_allow(&r, 1, &held));
    r.next_ms = 0; /* the interval is over */
    assert_true(log_rate_allow(&r, INT64_C(86400000), &held));
    assert_int_equal(held, 1000);
    assert_false(log_rate_allow(&r, 1, &held));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_plain_levels),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_long_format),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_rate),
    };

    (void)setenv("TZ", "UTC", 1);
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
