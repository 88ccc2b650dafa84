/* Precedence, every kind of fault at once, and what is printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/config.h"

#define FAULTS_MAX 65536

struct target {
    char *name;
    char *url;
    char *token;
    bool flag;
    int64_t count;
    int64_t wait_ms;
    int64_t size;
    int shape;
};

#define AT(field) .offset = offsetof(struct target, field)

static const struct config_key keys[] = {
    {.key = "T_NAME",
        .type = CONFIG_STRING,
        AT(name),
        .fallback = "plain",
        .min = 2,
        .max = 10,
        .help = "What it is called."},
    {.key = "T_URL", .type = CONFIG_URL, AT(url), .help = "Where it lives."},
    {.key = "T_TOKEN",
        .type = CONFIG_STRING,
        AT(token),
        .secret = true,
        .required = true,
        .min = 8,
        .max = 64,
        .help = "What lets it in."},
    {.key = "T_FLAG", .type = CONFIG_BOOL, AT(flag), .fallback = "true", .help = "Whether."},
    {.key = "T_COUNT",
        .type = CONFIG_INT,
        AT(count),
        .fallback = "5",
        .min = -3,
        .max = 9,
        .help = "How many."},
    {.key = "T_WAIT",
        .type = CONFIG_DURATION,
        AT(wait_ms),
        .fallback = "10s",
        .min = 100,
        .max = 60000,
        .help = "How long."},
    {.key = "T_SIZE",
        .type = CONFIG_SIZE,
        AT(size),
        .fallback = "64k",
        .min = 1,
        .max = 1 << 20,
        .help = "How large."},
    {.key = "T_SHAPE",
        .type = CONFIG_CHOICE,
        AT(shape),
        .fallback = "json",
        .choices = "logfmt|json|plain",
        .help = "Which shape."},
};
#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

struct world {
    struct target target;
    struct config_section section;
    struct config_file *file;
    struct buf faults;
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof(*w));

    if (!w)
        return -1;
    w->section = (struct config_section){"Things", keys, N_KEYS, &w->target};
    buf_init(&w->faults, FAULTS_MAX);
    for (size_t i = 0; i < N_KEYS; i++)
        (void)unsetenv(keys[i].key);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    config_release(&w->section, 1);
    config_file_free(w->file);
    buf_release(&w->faults);
    free(w);
    return 0;
}

static int load(struct world *w, const char *file_text)
{
    if (file_text)
        assert_int_equal(
            config_file_parse(file_text, strlen(file_text), "t.conf", &w->faults, &w->file), 0);
    return config_load(&w->section, 1, w->file, NULL, &w->faults);
}

static void assert_says(const struct world *w, const char *text)
{
    if (!strstr(buf_str(&w->faults), text))
        fail_msg("not said: %s\nin:\n%s", text, buf_str(&w->faults));
}

static void test_fallbacks(void **state)
{
    struct world *w = *state;

    (void)setenv("T_TOKEN", "12345678", 1);
    assert_int_equal(load(w, NULL), 0);
    assert_string_equal(w->target.name, "plain");
    assert_null(w->target.url);
    assert_string_equal(w->target.token, "12345678");
    assert_true(w->target.flag);
    assert_int_equal(w->target.count, 5);
    assert_int_equal(w->target.wait_ms, 10000);
    assert_int_equal(w->target.size, 65536);
    assert_int_equal(w->target.shape, 1);
    assert_string_equal(buf_str(&w->faults), "");
}

static void test_environment_before_file_before_table(void **state)
{
    struct world *w = *state;

    (void)setenv("T_COUNT", "7", 1);
    (void)setenv("T_URL", "HTTPS://example.org/a//", 1);
    assert_int_equal(load(w, "T_COUNT=8\nT_WAIT=250ms\nT_TOKEN=abcdefgh\nT_SHAPE=Plain\n"), 0);
    assert_int_equal(w->target.count, 7);
    assert_int_equal(w->target.wait_ms, 250);
    assert_int_equal(w->target.shape, 2);
    assert_string_equal(w->target.url, "HTTPS://example.org/a");
    assert_true(w->target.flag);
}

static void test_empty_values(void **state)
{
    struct world *w = *state;

    (void)setenv("T_NAME", "", 1);
    (void)setenv("T_COUNT", "", 1);
    (void)setenv("T_FLAG", "", 1);
    assert_int_equal(load(w, "T_TOKEN=abcdefgh\nT_SHAPE=\n"), 0);
    assert_null(w->target.name);
    assert_int_equal(w->target.count, 5);
    assert_true(w->target.flag);
    assert_int_equal(w->target.shape, 1);
}

static void test_empty_does_not_meet_a_need(void **state)
{
    struct world *w = *state;

    (void)setenv("T_TOKEN", "", 1);
    assert_int_equal(load(w, "T_TOKEN=abcdefgh\n"), ERR_INVALID);
    assert_says(w, "T_TOKEN (from the environment): needed, but not set; give text from 8 to 64");
}

static void test_every_fault_at_once(void **state)
{
    struct world *w = *state;

    (void)setenv("T_NAME", "a\nname that is too long", 1);
    (void)setenv("T_URL", "ftp://example.org", 1);
    (void)setenv("T_TOKEN", "hunter2", 1);
    (void)setenv("T_FLAG", "maybe", 1);
    assert_int_equal(
        load(w, "T_COUNT=10\nT_WAIT=10\n\nT_SIZE=2M\nT_SHAPE=xml\nT_SHAP=json\n"), ERR_INVALID);
    assert_says(w, "T_NAME=\"a?name that is too long\" (from the environment): "
                   "expected text from 2 to 10 bytes; without it, plain\n");
    assert_says(w, "T_URL=\"ftp://example.org\" (from the environment): expected an address");
    assert_says(w, "T_TOKEN=(hidden) (from the environment): expected text from 8 to 64 bytes\n");
    assert_says(w, "T_FLAG=\"maybe\" (from the environment): expected true or false");
    assert_says(
        w, "T_COUNT=\"10\" (t.conf:1): expected a whole number from -3 to 9; without it, 5");
    assert_says(w, "T_WAIT=\"10\" (t.conf:2): expected a duration such as 250ms");
    assert_says(w, "from 100ms to 1m; without it, 10s");
    assert_says(w, "T_SIZE=\"2M\" (t.conf:4): expected a size");
    assert_says(w, "T_SHAPE=\"xml\" (t.conf:5): expected one of logfmt, json and plain");
    assert_says(w, "t.conf:6: unknown key \"T_SHAP\"");
    assert_null(strstr(buf_str(&w->faults), "hunter2"));
    size_t lines = 0;
    for (const char *at = buf_str(&w->faults); *at; at++)
        lines += *at == '\n';
    assert_int_equal(lines, 9);
    assert_null(w->target.name);
    assert_null(w->target.token);
}

static void test_unknown_may_be_known_elsewhere(void **state)
{
    static const char text[] = "T_TOKEN=abcdefgh\nOTHER=1\n";
    static const char *const known[] = {"ANOTHER", "OTHER", NULL};
    struct world *w = *state;

    assert_int_equal(config_file_parse(text, strlen(text), "f", &w->faults, &w->file), 0);
    assert_int_equal(config_load(&w->section, 1, w->file, known, &w->faults), 0);
}

static void test_urls(void **state)
{
    static const struct {
        const char *text, *kept;
    } rows[] = {
        {"http://a", "http://a"},
        {"https://a.example:8443/x/?y=/", "https://a.example:8443/x/?y="},
        {"http://[::1]:80", "http://[::1]:80"},
        {"http://a///", "http://a"},
        {"http://", NULL},
        {"http:///x", NULL},
        {"https://?x", NULL},
        {"//a", NULL},
        {"a.example", NULL},
        {"http://a b", NULL},
        {"http://a\n", NULL},
        {" http://a", NULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world *w = *state;
        (void)setenv("T_TOKEN", "abcdefgh", 1);
        (void)setenv("T_URL", rows[i].text, 1);
        assert_int_equal(load(w, NULL), rows[i].kept ? 0 : ERR_INVALID);
        if (rows[i].kept)
            assert_string_equal(w->target.url, rows[i].kept);
        config_release(&w->section, 1);
    }
}

static void test_numbers(void **state)
{
    static const struct {
        const char *text;
        int64_t integer, ms, bytes; /* -1: refused */
    } rows[] = {
        {"0", 0, 0, 0},
        {"12", 12, -1, 12},
        {"-5", -5, -1, -1},
        {"", -1, -1, -1},
        {"-", -1, -1, -1},
        {"+1", -1, -1, -1},
        {" 1", -1, -1, -1},
        {"1 ", -1, -1, -1},
        {"1-", -1, -1, -1},
        {"0x10", -1, -1, -1},
        {"1.5s", -1, -1, -1},
        {"ms", -1, -1, -1},
        {"250ms", -1, 250, -1},
        {"10s", -1, 10000, -1},
        {"5m", -1, 300000, 5 << 20},
        {"24h", -1, 86400000, -1},
        {"7d", -1, 604800000, -1},
        {"1S", -1, -1, -1},
        {"64k", -1, -1, 65536},
        {"10M", -1, -1, 10 << 20},
        {"1G", -1, -1, 1 << 30},
        {"1T", -1, -1, -1},
        {"9223372036854775807", INT64_MAX, -1, INT64_MAX},
        {"9223372036854775808", -1, -1, -1},
        {"9223372036854775807ms", -1, INT64_MAX, -1},
        {"9223372036854775807s", -1, -1, -1},
        {"9223372036854775807k", -1, -1, -1},
        {"99999999999999999999d", -1, -1, -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t value = -1;
        int err = config_parse_int(rows[i].text, &value);
        assert_int_equal(value, rows[i].integer);
        assert_int_equal(err, rows[i].integer == -1 ? ERR_INVALID : 0);
        value = -1;
        err = config_parse_duration(rows[i].text, &value);
        assert_int_equal(value, rows[i].ms);
        assert_int_equal(err, rows[i].ms == -1 ? ERR_INVALID : 0);
        value = -1;
        err = config_parse_size(rows[i].text, &value);
        assert_int_equal(value, rows[i].bytes);
        assert_int_equal(err, rows[i].bytes == -1 ? ERR_INVALID : 0);
    }
}

static void test_booleans(void **state)
{
    static const char *const yes[] = {"true", "1", "yes", "on", "TRUE", "On"};
    static const char *const no[] = {"false", "0", "no", "off", "False"};
    static const char *const neither[] = {"", "2", "y", "truely", " true"};
    bool value;

    (void)state;
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        value = false;
        assert_int_equal(config_parse_bool(yes[i], &value), 0);
        assert_true(value);
    }
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        value = true;
        assert_int_equal(config_parse_bool(no[i], &value), 0);
        assert_false(value);
    }
    for (size_t i = 0; i < sizeof(neither) / sizeof(neither[0]); i++)
        assert_int_equal(config_parse_bool(neither[i], &value), ERR_INVALID);
}

/* What is printed by `print`; the caller frees it. */
static char *printed(
    const struct world *w, void (*print)(const struct config_section *, size_t, FILE *))
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    assert_non_null(out);
    print(&w->section, 1, out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void test_show_reads_back(void **state)
{
    struct world *w = *state;
    struct world again = {.section = {"Things", keys, N_KEYS, NULL}};

    (void)setenv("T_NAME", "a\"b\\\n", 1);
    (void)setenv("T_TOKEN", "hunter2hunter2", 1);
    (void)setenv("T_WAIT", "1500ms", 1);
    (void)setenv("T_SIZE", "1000", 1);
    (void)setenv("T_COUNT", "-2", 1);
    (void)setenv("T_URL", "http://a/b", 1);
    assert_int_equal(load(w, NULL), 0);
    _cleanup_(freep) char *text = printed(w, config_show);
    assert_null(strstr(text, "hunter2"));
    assert_non_null(strstr(text, "T_TOKEN=(set)\n"));
    assert_non_null(strstr(text, "\nT_WAIT=1500ms\n"));
    assert_non_null(
        strstr(text, "# How many.\n# a whole number from -3 to 9; default 5\nT_COUNT=-2"));

    for (size_t i = 0; i < N_KEYS; i++) {
        if (strcmp(keys[i].key, "T_TOKEN") != 0)
            (void)unsetenv(keys[i].key);
    }
    again.section.target = &again.target;
    buf_init(&again.faults, FAULTS_MAX);
    assert_int_equal(load(&again, text), 0);
    assert_string_equal(again.target.name, w->target.name);
    assert_string_equal(again.target.url, w->target.url);
    assert_int_equal(again.target.wait_ms, 1500);
    assert_int_equal(again.target.size, 1000);
    assert_int_equal(again.target.count, -2);
    assert_int_equal(again.target.shape, w->target.shape);
    config_release(&again.section, 1);
    config_file_free(again.file);
    buf_release(&again.faults);
}

static void test_help_and_manual(void **state)
{
    static const struct config_key odd[] = {
        {.key = "T_ODD", .help = ".dot \\ and - 'quote'", .fallback = "x"}};
    struct world *w = *state;

    _cleanup_(freep) char *help = printed(w, config_help);
    for (size_t i = 0; i < N_KEYS; i++) {
        assert_non_null(strstr(help, keys[i].key));
        assert_non_null(strstr(help, keys[i].help));
    }
    assert_non_null(strstr(help, "T_TOKEN\n      What lets it in.\n      text from 8 to 64 bytes; "
                                 "needed\n"));

    w->section.keys = odd;
    w->section.n_keys = 1;
    _cleanup_(freep) char *manual = printed(w, config_manual);
    assert_string_equal(manual, ".SS Things\n.TP\n.B T_ODD\n\\&.dot \\e and \\- 'quote'\n"
                                "Takes text; default x.\n");
    w->section.keys = keys;
    w->section.n_keys = N_KEYS;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_fallbacks),
        TEST(test_environment_before_file_before_table),
        TEST(test_empty_values),
        TEST(test_empty_does_not_meet_a_need),
        TEST(test_every_fault_at_once),
        TEST(test_unknown_may_be_known_elsewhere),
        TEST(test_urls),
        TEST(test_numbers),
        TEST(test_booleans),
        TEST(test_show_reads_back),
        TEST(test_help_and_manual),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
